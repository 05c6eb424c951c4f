#include "tools/text.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"

/* Bytes of the character at `s`, 1 where it is not UTF-8; `plain`: it can be printed as it is. */
static size_t character(const char *s, size_t left, bool *plain)
{
    unsigned char c = (unsigned char)*s;
    size_t length = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    *plain = length <= left && osv_utf8_check(s, length) == length;
    if (!*plain) return 1;
    bool is_c1 = c == 0xc2 && (unsigned char)s[1] < 0xa0; /* U+0080 .. U+009F control terminals too */
    *plain = c >= 0x20 && c != 0x7f && c != '"' && c != '\\' && !is_c1;
    return length;
}

static size_t escape(char *out, size_t room, const char *s, size_t length)
{
    static const struct {
        char c, letter;
    } named[] = {{'\n', 'n'}, {'\t', 't'}, {'\r', 'r'}, {'"', '"'}, {'\\', '\\'}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (*s == named[i].c) return (size_t)snprintf(out, room, "\\%c", named[i].letter);
    size_t used = 0;
    for (size_t i = 0; i < length; i++)
        used += (size_t)snprintf(out + used, room - used, "\\x%02x", (unsigned char)s[i]);
    return used;
}

/* text[from ..], escaped, at most `characters` of it; *from becomes what comes after. */
static size_t show(char *out, size_t room, const char *text, size_t *from, int characters)
{
    enum { ROOM_FOR_ONE = 24 }; /* the longest escape, "...", quotes and the end */
    size_t bytes = strlen(text), used = 0;
    for (int shown = 0; *from < bytes && shown < characters && used + ROOM_FOR_ONE < room; shown++) {
        bool plain;
        size_t length = character(text + *from, bytes - *from, &plain);
        if (plain) {
            memcpy(out + used, text + *from, length);
            used += length;
        } else {
            used += escape(out + used, room - used, text + *from, length);
        }
        *from += length;
    }
    out[used] = '\0';
    return used;
}

const char *osv_show_name(char *out, size_t room, const char *text)
{
    size_t from = 0;
    show(out, room, text, &from, INT_MAX);
    return out;
}

const char *osv_show_text(char *out, size_t room, const char *text, int characters, osv_keep keep)
{
    size_t bytes = strlen(text), from = 0;
    bool plain;
    int count = 0;
    for (size_t i = 0; i < bytes; count++) i += character(text + i, bytes - i, &plain);
    if (keep == OSV_KEEP_TAIL)
        for (int skip = count - characters; skip > 0; skip--)
            from += character(text + from, bytes - from, &plain);

    size_t used = (size_t)snprintf(out, room, "%s\"", from ? "..." : "");
    used += show(out + used, room - used, text, &from, characters);
    snprintf(out + used, room - used, "\"%s", from < bytes ? "..." : "");
    return out;
}

json_t *osv_text_json(const char *text)
{
    if (!text) return json_null();
    size_t bytes = strlen(text);
    if (osv_utf8_check(text, bytes) == bytes) return json_string(text);
    char *escaped = malloc(4 * bytes + 1);
    size_t used = 0;
    bool plain;
    for (size_t i = 0, length; escaped && i < bytes; i += length) {
        length = character(text + i, bytes - i, &plain);
        bool valid = osv_utf8_check(text + i, length) == length;
        if (valid)
            memcpy(escaped + used, text + i, length);
        else
            snprintf(escaped + used, 5, "\\x%02x", (unsigned char)text[i]);
        used += valid ? length : 4;
    }
    json_t *string = escaped ? json_stringn(escaped, used) : NULL;
    free(escaped);
    return string;
}

char *osv_text_plain(const char *text, size_t bytes, size_t *out_bytes)
{
    char *plain = malloc(4 * bytes + 1);
    size_t used = 0;
    bool is_plain;
    for (size_t i = 0, length; plain && i < bytes; i += length) {
        length = character(text + i, bytes - i, &is_plain);
        if (is_plain || memchr("\n\t\"\\", text[i], 4)) {
            memcpy(plain + used, text + i, length);
            used += length;
        } else {
            used += escape(plain + used, 4 * bytes + 1 - used, text + i, length);
        }
    }
    *out_bytes = used;
    return plain;
}

const char *osv_show_number(char text[OSV_NUMBER_ROOM], double x)
{
    /* whole numbers without the exponent that two digits are too few for: 20, not 2e+01 */
    if (fabs(x) < 1e15 && x == floor(x)) {
        snprintf(text, OSV_NUMBER_ROOM, "%.0f", x);
        return text;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, OSV_NUMBER_ROOM, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    return text;
}

json_t *osv_number_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

const char *osv_show_ids(char *out, size_t room, const int *ids, int count, int most)
{
    enum { ROOM_FOR_ONE = 24 };
    size_t used = (size_t)snprintf(out, room, "[");
    for (int i = 0; i < count; i++) {
        bool last = i == most || used + ROOM_FOR_ONE >= room;
        used += last ? (size_t)snprintf(out + used, room - used, "%s...", i ? ", " : "")
                     : (size_t)snprintf(out + used, room - used, "%s%d", i ? ", " : "", ids[i]);
        if (last) break;
    }
    snprintf(out + used, room - used, "]");
    return out;
}

const char *osv_show_bytes(char *out, size_t room, size_t bytes)
{
    static const char units[] = "kMGTP";
    double x = (double)bytes;
    int unit = -1;
    while (x >= 999.95 && units[unit + 1]) x /= 1000, unit++;
    if (unit < 0)
        snprintf(out, room, "%zu B", bytes);
    else
        snprintf(out, room, x < 9.995 ? "%.2f %cB" : "%.1f %cB", x, units[unit]);
    return out;
}
