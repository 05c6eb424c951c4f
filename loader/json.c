#include "loader/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"

/* The largest files in use, tokenizers of 256 k entries, have 35 MB. Also keeps jansson's int offsets safe.
 */
static const size_t LIMIT = (size_t)512 << 20;

/* Keeps text from a file on one line of valid, printable characters. */
static void make_printable(char *text)
{
    text[osv_utf8_check(text, strlen(text))] = '\0';
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f) *c = ' ';
}

/* jansson's error; its lines count from 1, its column is 0 at the start of a line. */
static int fail_at(const json_error_t *error, const char *where, int first_line, osv_error *e)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    snprintf(text, sizeof text, "%s", error->text);
    make_printable(text);
    int line = first_line + (error->line > 0 ? error->line - 1 : 0);
    int column = error->column > 0 ? error->column : 1;
    if (json_error_code(error) == json_error_out_of_memory)
        return OSV_FAIL(e, OSV_DEVICE, "%s:%d:%d: no memory for the JSON values", where, line, column);
    const char *hint = json_error_code(error) == json_error_stack_overflow ? " (nested too deeply)" : "";
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d:%d: JSON: %s%s", where, line, column, text, hint);
}

static int fail_utf8(const char *text, size_t bad, const char *where, int first_line, osv_error *e)
{
    int line = first_line, column = 1;
    for (size_t i = 0; i < bad; i++) {
        if (text[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)text[i] & 0xc0) != 0x80) {
            column++; /* columns count characters */
        }
    }
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d:%d: invalid UTF-8 at byte %zu (0x%02x)", where, line, column,
                    bad, (unsigned char)text[bad]);
}

/* Bytes of the string that starts at text[0], its quotes included. */
static size_t string_length(const char *text, size_t bytes)
{
    size_t i = 1;
    while (i < bytes && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
    return i < bytes ? i + 1 : bytes;
}

static size_t number_length(const char *text, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && memchr("0123456789+-.eE", text[i], 15)) i++;
    return i;
}

/* An integer that 64 bits do not hold: jansson would refuse the whole file for it. */
static bool is_huge(const char *number, size_t length)
{
    static const char most[] = "9223372036854775807";
    size_t digits = sizeof most - 1;
    if (length && *number == '-') number++, length--;
    for (size_t i = 0; i < length; i++)
        if (number[i] < '0' || number[i] > '9') return false;
    return length > digits || (length == digits && memcmp(number, most, digits) > 0);
}

/* Makes reals of huge integers: half of all tokenizers have 10^30 as "model_max_length". Their last two
 * digits become an exponent, so that no column moves; a double would not have kept those digits. *copy is
 * NULL where there is nothing to do. */
static int soften_huge(char **copy, const char *text, size_t bytes, const char *where, osv_error *e)
{
    *copy = NULL;
    for (size_t i = 0, length; i < bytes; i += length) {
        bool number = text[i] == '-' || (text[i] >= '0' && text[i] <= '9');
        length = number ? number_length(text + i, bytes - i) : 1;
        if (text[i] == '"') length = string_length(text + i, bytes - i);
        if (!number || !is_huge(text + i, length)) continue;
        if (!*copy && !(*copy = malloc(bytes)))
            return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for %zu bytes of JSON", where, bytes);
        if (*copy != text) {
            memcpy(*copy, text, bytes);
            text = *copy;
        }
        memcpy(*copy + i + length - 2, "e2", 2);
    }
    return OSV_OK;
}

int osv_json_parse(json_t **out, const char *text, size_t bytes, const char *where, int first_line,
                   osv_error *e)
{
    *out = NULL;
    if (bytes > LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %zu bytes of JSON, at most %zu are read", where, bytes, LIMIT);
    if (bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d:1: starts with a byte order mark; save it as plain UTF-8",
                        where, first_line);
    size_t blank = 0;
    while (blank < bytes && memchr(" \t\r\n", text[blank], 4)) blank++;
    if (blank == bytes)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s:%d:1: empty, expected a JSON object", where, first_line);
    size_t bad = osv_utf8_check(text, bytes);
    if (bad < bytes) return fail_utf8(text, bad, where, first_line, e);
    char *copy;
    json_error_t error;
    OSV_TRY(soften_huge(&copy, text, bytes, where, e));
    *out = json_loadb(copy ? copy : text, bytes, JSON_REJECT_DUPLICATES, &error);
    free(copy);
    return *out ? OSV_OK : fail_at(&error, where, first_line, e);
}

int osv_json_read(json_t **out, const char *path, osv_error *e)
{
    *out = NULL;
    char *text;
    size_t bytes;
    OSV_TRY(osv_file_read(&text, &bytes, path, LIMIT, e));
    int status = osv_json_parse(out, text, bytes, path, 1, e);
    free(text);
    return status;
}

int osv_json_read_optional(json_t **out, const char *path, osv_error *e)
{
    *out = NULL;
    if (!osv_path_exists(path)) return OSV_OK;
    OSV_TRY(osv_json_read(out, path, e));
    if (json_is_object(*out)) return OSV_OK;
    json_decref(*out);
    *out = NULL;
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be a JSON object", path);
}

typedef struct {
    char *text;
    size_t used, room;
} show_state;

/* For json_dump_callback: keeps what fits and stops the rest, which may be a whole vocabulary. */
static int show_piece(const char *piece, size_t bytes, void *data)
{
    show_state *s = data;
    size_t fits = bytes < s->room - s->used ? bytes : s->room - s->used;
    memcpy(s->text + s->used, piece, fits);
    s->used += fits;
    return s->used < s->room ? 0 : -1;
}

static bool is_listed(const char *key, const char *list)
{
    size_t length = strlen(key);
    for (const char *word = list;; word += strspn(word, ", ")) {
        size_t n = strcspn(word, ",");
        if (n == length && strncmp(word, key, n) == 0) return true;
        word += n;
        if (!*word) return false;
    }
}

int osv_json_keys(const json_t *object, const char *known, const char *where, osv_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (!is_listed(key, known))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: unknown key \"%.80s\"; known are %s", where, key, known);
    }
    return OSV_OK;
}

const char *osv_json_show(const json_t *value, char *text, size_t room)
{
    show_state s = {text, 0, room};
    bool whole = json_dump_callback(value, show_piece, &s, JSON_ENCODE_ANY | JSON_COMPACT) == 0;
    text[whole ? s.used : room - 4] = '\0';
    make_printable(text);
    if (!whole) strcat(text, "...");
    return text;
}

static int fail_type(const char *key, const char *expected, const json_t *value, const char *where,
                     osv_error *e)
{
    char shown[64];
    return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" must be %s, not %s", where, key, expected,
                    osv_json_show(value, shown, sizeof shown));
}

/* The value of `key`, NULL where it is missing or null. */
static int get(const json_t **value, const json_t *object, const char *key, bool required, const char *where,
               osv_error *e)
{
    *value = json_object_get(object, key);
    if (json_is_null(*value)) *value = NULL;
    if (!*value && required) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"%s\" is missing", where, key);
    return OSV_OK;
}

int osv_json_int(const json_t *object, const char *key, bool required, long low, long high, int *out,
                 const char *where, osv_error *e)
{
    const json_t *value;
    OSV_TRY(get(&value, object, key, required, where, e));
    if (!value) return OSV_OK;
    char expected[96];
    snprintf(expected, sizeof expected, "an integer from %ld to %ld", low, high);
    if (!json_is_integer(value)) return fail_type(key, expected, value, where, e);
    json_int_t integer = json_integer_value(value);
    if (integer < low || integer > high) return fail_type(key, expected, value, where, e);
    *out = (int)integer;
    return OSV_OK;
}

int osv_json_number(const json_t *object, const char *key, bool required, double *out, const char *where,
                    osv_error *e)
{
    const json_t *value;
    OSV_TRY(get(&value, object, key, required, where, e));
    if (!value) return OSV_OK;
    if (!json_is_number(value)) return fail_type(key, "a number", value, where, e);
    *out = json_number_value(value);
    return OSV_OK;
}

int osv_json_bool(const json_t *object, const char *key, bool required, bool *out, const char *where,
                  osv_error *e)
{
    const json_t *value;
    OSV_TRY(get(&value, object, key, required, where, e));
    if (!value) return OSV_OK;
    if (!json_is_boolean(value)) return fail_type(key, "true or false", value, where, e);
    *out = json_is_true(value);
    return OSV_OK;
}

int osv_json_string(const json_t *object, const char *key, bool required, const char **out, const char *where,
                    osv_error *e)
{
    const json_t *value;
    OSV_TRY(get(&value, object, key, required, where, e));
    if (!value) return OSV_OK;
    if (!json_is_string(value)) return fail_type(key, "a string", value, where, e);
    *out = json_string_value(value);
    return OSV_OK;
}
