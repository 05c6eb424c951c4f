/* The table of characters to replace that sentencepiece files carry: a double array (Darts) of byte strings
 * whose values are places in a text of replacements, each ended by a NUL. Whole: bytes of the array (32 bits,
 * little endian), the array, the text. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "loader/file.h"
#include "loader/tokenizer/parts.h"

#define LABEL(unit)  ((unit) & (1u << 31 | 0xff))
#define OFFSET(unit) (((unit) >> 10) << (((unit) & (1u << 9)) >> 6))
#define LEAF(unit)   ((unit) >> 8 & 1)
#define VALUE(unit)  ((unit)&0x7fffffffu)

/* HF replaces a whole grapheme of fewer bytes than this at once. */
#define GRAPHEME 6

struct osv_tok_charsmap {
    uint32_t *units; /* [count] */
    uint32_t count;
    char *text; /* NUL-terminated as well */
    size_t bytes;
};

int osv_tok_charsmap_read(osv_tok_charsmap **out, const char *data, size_t bytes, const char *where,
                          osv_error *e)
{
    const unsigned char *u = (const unsigned char *)data;
    uint32_t size = 0;
    *out = NULL;
    if (bytes >= 4) size = u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
    if (size == 0 || size % 4 || size > bytes - 4)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: the table of characters is cut off", where);
    osv_tok_charsmap *m = *out = calloc(1, sizeof *m);
    if (m) {
        m->count = size / 4;
        m->bytes = bytes - 4 - size;
        m->units = malloc(size);
        m->text = calloc(m->bytes + 1, 1);
    }
    if (!m || !m->units || !m->text)
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for a table of %zu bytes", where, bytes);
    for (uint32_t i = 0; i < m->count; i++) {
        const unsigned char *at = u + 4 + 4 * (size_t)i;
        m->units[i] = at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    }
    memcpy(m->text, data + 4 + size, m->bytes);
    for (size_t i = 0; i < m->bytes; i += strlen(m->text + i) + 1)
        if (osv_utf8_check(m->text + i, strlen(m->text + i)) < strlen(m->text + i))
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: a replacement in the table of characters is not UTF-8",
                            where);
    return OSV_OK;
}

void osv_tok_charsmap_free(osv_tok_charsmap *m)
{
    if (!m) return;
    free(m->units);
    free(m->text);
    free(m);
}

/* The replacement of the longest (or the shortest) beginning of `text` that the table has, or NULL; *length
 * the bytes that it stands for. */
static const char *match(const osv_tok_charsmap *m, const char *text, size_t bytes, bool longest,
                         size_t *length)
{
    const char *found = NULL;
    uint32_t at = OFFSET(m->units[0]);
    for (size_t i = 0; i < bytes; i++) {
        uint32_t c = (unsigned char)text[i];
        at ^= c;
        if (at >= m->count || LABEL(m->units[at]) != c) break;
        uint32_t unit = m->units[at];
        at ^= OFFSET(unit);
        if (at >= m->count) break;
        if (!LEAF(unit)) continue;
        uint32_t place = VALUE(m->units[at]);
        bool start = place < m->bytes && (place == 0 || m->text[place - 1] == '\0');
        if (!start) continue; /* of a broken table; it might point into a character */
        found = m->text + place;
        *length = i + 1;
        if (!longest) break;
    }
    return found;
}

static size_t grapheme(const char *text, size_t bytes)
{
    size_t at = 0, length;
    utf8proc_int32_t state = 0, before = (utf8proc_int32_t)osv_tok_char(text, &length);
    for (at = length; at < bytes; at += length) {
        utf8proc_int32_t c = (utf8proc_int32_t)osv_tok_char(text + at, &length);
        if (utf8proc_grapheme_break_stateful(before, c, &state)) break;
        before = c;
    }
    return at;
}

/* As the tokenizers library does: a short grapheme whole, by the shortest beginning of it that the table has;
 * else its characters. */
static int by_graphemes(const osv_tok_charsmap *m, const char *text, size_t bytes, osv_tok_text *out,
                        osv_error *e)
{
    for (size_t at = 0; at < bytes;) {
        size_t whole = grapheme(text + at, bytes - at), used, length;
        const char *to = whole < GRAPHEME ? match(m, text + at, whole, false, &used) : NULL;
        if (to) {
            OSV_TRY(osv_tok_text_add(out, to, strlen(to), e));
            at += whole;
            continue;
        }
        for (size_t end = at + whole; at < end; at += length) {
            osv_tok_char(text + at, &length);
            to = match(m, text + at, length, false, &used);
            OSV_TRY(osv_tok_text_add(out, to ? to : text + at, to ? strlen(to) : length, e));
        }
    }
    return OSV_OK;
}

int osv_tok_charsmap_apply(const osv_tok_charsmap *m, bool graphemes, const char *text, size_t bytes,
                           osv_tok_text *out, osv_error *e)
{
    if (graphemes) return by_graphemes(m, text, bytes, out, e);
    for (size_t at = 0, length; at < bytes; at += length) {
        const char *to = match(m, text + at, bytes - at, true, &length);
        /* A broken table may end a match inside a character. */
        if (to && at + length < bytes && ((unsigned char)text[at + length] & 0xc0) == 0x80) to = NULL;
        if (!to) osv_tok_char(text + at, &length);
        OSV_TRY(osv_tok_text_add(out, to ? to : text + at, to ? strlen(to) : length, e));
    }
    return OSV_OK;
}
