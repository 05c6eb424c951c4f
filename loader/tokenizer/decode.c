/* Ids -> text: the pieces, one decoder step after the other. */
#include <stdlib.h>
#include <string.h>

#include "loader/tokenizer/parts.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

typedef struct {
    const osv_tokenizer *t;
    osv_tok_text text, next_text; /* of the tokens before and after a step */
    osv_tok_spans tokens, next;   /* may be empty: the place of a token counts */
    osv_tok_search *search;
    osv_error *e;
} decoding;

static int begin(decoding *d)
{
    void *data = d->next.data;
    OSV_TRY(osv_tok_grow(&data, sizeof *d->next.data, d->next.count, 1, &d->next.room, d->e));
    d->next.data = data;
    d->next.data[d->next.count++] =
        (osv_tok_span){.start = d->next_text.bytes, .end = d->next_text.bytes, .id = -1};
    return OSV_OK;
}

static int put(decoding *d, const char *text, size_t bytes)
{
    OSV_TRY(osv_tok_text_add(&d->next_text, text, bytes, d->e));
    d->next.data[d->next.count - 1].end = d->next_text.bytes;
    return OSV_OK;
}

/* Length of the valid character at `s`, negative the bytes to replace by one U+FFFD: as many as begin some
 * valid character (Unicode, "maximal subpart"). */
static int utf8_step(const unsigned char *s, size_t left)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t length = s[0] < 0x80                    ? 1
                    : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                    : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                    : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                   : 0;
    if (s[0] == 0xe0) low = 0xa0;
    if (s[0] == 0xed) high = 0x9f;
    if (s[0] == 0xf0) low = 0x90;
    if (s[0] == 0xf4) high = 0x8f;
    if (length < 2) return length ? 1 : -1;
    for (size_t i = 1; i < length; i++) {
        if (i >= left || s[i] < low || s[i] > high) return -(int)i;
        low = 0x80, high = 0xbf;
    }
    return (int)length;
}

static int byte_level(decoding *d)
{
    osv_tok_text bytes = {0};
    int status = osv_tok_text_reserve(&bytes, d->text.bytes,
                                      d->e); /* a character is at least the byte it stands for */
    for (size_t k = 0; k < d->tokens.count && !status; k++) {
        const char *token = d->text.data + d->tokens.data[k].start;
        size_t count = d->tokens.data[k].end - d->tokens.data[k].start, before = bytes.bytes, length;
        for (size_t i = 0; i < count; i += length) {
            int byte = osv_tok_char_byte(osv_tok_char(token + i, &length));
            if (byte < 0) { /* a token that is not written in the byte alphabet stands for itself */
                bytes.bytes = before;
                status = osv_tok_text_add(&bytes, token, count, d->e);
                break;
            }
            bytes.data[bytes.bytes++] = (char)byte;
        }
    }
    if (!status) status = begin(d);
    for (size_t i = 0; i < bytes.bytes && !status;) {
        int step = utf8_step((const unsigned char *)bytes.data + i, bytes.bytes - i);
        status = step > 0 ? put(d, bytes.data + i, (size_t)step) : put(d, REPLACEMENT, 3);
        i += (size_t)abs(step);
    }
    free(bytes.data);
    return status;
}

/* Spaces for the replacement character; at the very beginning nothing, where encoding has put one there. */
static int metaspace(decoding *d, const osv_tok_decoder *s, const char *token, size_t count, bool first)
{
    size_t done = 0;
    while (done < count) {
        const char *hit = memmem(token + done, count - done, s->content, s->bytes);
        if (!hit) break;
        OSV_TRY(put(d, token + done, (size_t)(hit - token) - done));
        if (!first || !s->start) OSV_TRY(put(d, " ", 1));
        done = (size_t)(hit - token) + s->bytes;
    }
    return put(d, token + done, count - done);
}

static int strip(decoding *d, const osv_tok_decoder *s, const char *token, size_t count)
{
    size_t from = 0, to = count;
    for (int i = 0; i < s->start && to - from >= s->bytes && memcmp(token + from, s->content, s->bytes) == 0;
         i++)
        from += s->bytes;
    for (int i = 0;
         i < s->stop && to - from >= s->bytes && memcmp(token + to - s->bytes, s->content, s->bytes) == 0;
         i++)
        to -= s->bytes;
    return put(d, token + from, to - from);
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int byte_of(const char *token, size_t count)
{
    if (!osv_tok_byte_piece(token, count) || hex(token[3]) < 0 || hex(token[4]) < 0) return -1;
    return 16 * hex(token[3]) + hex(token[4]);
}

/* Runs of byte tokens become text: one token if the run is valid UTF-8, else one U+FFFD for each byte. */
static int byte_fallback(decoding *d)
{
    size_t k = 0;
    while (k < d->tokens.count) {
        const char *token = d->text.data + d->tokens.data[k].start;
        size_t count = d->tokens.data[k].end - d->tokens.data[k].start;
        if (byte_of(token, count) < 0) {
            OSV_TRY(begin(d));
            OSV_TRY(put(d, token, count));
            k++;
            continue;
        }
        OSV_TRY(begin(d));
        size_t start = d->next_text.bytes, bytes = 0;
        for (; k < d->tokens.count; k++, bytes++) {
            int byte = byte_of(d->text.data + d->tokens.data[k].start,
                               d->tokens.data[k].end - d->tokens.data[k].start);
            if (byte < 0) break;
            OSV_TRY(put(d, &(char){(char)byte}, 1));
        }
        bool valid = true;
        for (size_t i = 0; i < bytes && valid;) {
            int step = utf8_step((const unsigned char *)d->next_text.data + start + i, bytes - i);
            valid = step > 0;
            i += (size_t)abs(step);
        }
        if (valid) continue;
        d->next.count--;
        d->next_text.bytes = start;
        for (size_t i = 0; i < bytes; i++) {
            OSV_TRY(begin(d));
            OSV_TRY(put(d, REPLACEMENT, 3));
        }
    }
    return OSV_OK;
}

static int each(decoding *d, const osv_tok_decoder *s)
{
    for (size_t k = 0; k < d->tokens.count; k++) {
        const char *token = d->text.data + d->tokens.data[k].start;
        size_t count = d->tokens.data[k].end - d->tokens.data[k].start;
        if (s->kind != OSV_TOK_DECODE_FUSE || k == 0) OSV_TRY(begin(d));
        switch (s->kind) {
        case OSV_TOK_DECODE_REPLACE:
            OSV_TRY(osv_tok_replace(s->pattern, &d->search, s->content, s->bytes, token, count, &d->next_text,
                                    d->e));
            OSV_TRY(put(d, "", 0));
            break;
        case OSV_TOK_DECODE_METASPACE: OSV_TRY(metaspace(d, s, token, count, k == 0)); break;
        case OSV_TOK_DECODE_STRIP: OSV_TRY(strip(d, s, token, count)); break;
        default: OSV_TRY(put(d, token, count)); break;
        }
    }
    return OSV_OK;
}

static int step(decoding *d, const osv_tok_decoder *s)
{
    switch (s->kind) {
    case OSV_TOK_DECODE_BYTE_LEVEL: return byte_level(d);
    case OSV_TOK_DECODE_BYTE_FALLBACK: return byte_fallback(d);
    default: return each(d, s);
    }
}

static void swap(decoding *d)
{
    osv_tok_text text = d->text;
    osv_tok_spans tokens = d->tokens;
    d->text = d->next_text;
    d->tokens = d->next;
    d->next_text = text;
    d->next = tokens;
    d->next_text.bytes = 0;
    d->next.count = 0;
}

/* The tokens themselves; ids without a piece (a model may have more rows than the tokenizer has ids) are left
 * out. */
static int gather(decoding *d, const int *ids, int count, bool skip_special)
{
    const osv_tokenizer *t = d->t;
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->vocab.size) continue;
        const osv_tok_piece *piece = &t->vocab.pieces[ids[i]];
        if (piece->bytes < 0) continue;
        const osv_tok_added *added = piece->added >= 0 ? &t->added.tokens[piece->added] : NULL;
        if (added && added->special && skip_special) continue;
        OSV_TRY(begin(d));
        if (!t->has_decoder && d->next.count > 1) OSV_TRY(put(d, " ", 1));
        OSV_TRY(added ? put(d, added->match, added->bytes)
                      : put(d, t->vocab.text.data + piece->offset, (size_t)piece->bytes));
    }
    return OSV_OK;
}

int osv_tokenizer_decode(const osv_tokenizer *t, const int *ids, int count, bool skip_special, char **text,
                         size_t *bytes, osv_error *e)
{
    decoding d = {.t = t, .e = e};
    *text = NULL;
    int status = gather(&d, ids, count, skip_special);
    swap(&d);
    for (size_t i = 0; i < t->decoder_count && !status; i++) {
        status = step(&d, &t->decoders[i]);
        swap(&d);
    }
    if (!status) status = osv_tok_text_add(&d.text, "", 1, e);
    if (!status) {
        *text = d.text.data;
        if (bytes) *bytes = d.text.bytes - 1;
        d.text.data = NULL;
    }
    free(d.text.data);
    free(d.next_text.data);
    free(d.tokens.data);
    free(d.next.data);
    osv_tok_search_free(d.search);
    return status;
}
