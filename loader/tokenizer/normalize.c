#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "loader/tokenizer/parts.h"

static bool ascii(const char *text, size_t bytes)
{
    unsigned char any = 0;
    for (size_t i = 0; i < bytes; i++) any |= (unsigned char)text[i];
    return any < 0x80;
}

/* One of the four Unicode normalization forms. */
static int compose(const char *text, size_t bytes, int form, osv_tok_text *out, osv_error *e)
{
    if (ascii(text, bytes)) return osv_tok_text_add(out, text, bytes, e);
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, &made,
                                      (utf8proc_option_t)(form | UTF8PROC_STABLE));
    if (n < 0) {
        free(made);
        return OSV_FAIL(e, n == UTF8PROC_ERROR_NOMEM ? OSV_DEVICE : OSV_BAD_INPUT,
                        "Unicode normalization: %s", utf8proc_errmsg(n));
    }
    int status = osv_tok_text_add(out, (const char *)made, (size_t)n, e);
    free(made);
    return status;
}

static int lowercase(const char *text, size_t bytes, osv_tok_text *out, osv_error *e)
{
    for (size_t i = 0, length; i < bytes; i += length) {
        uint32_t c = osv_tok_char(text + i, &length);
        if (c == 0x130) { /* the one character whose lower case is two: i and a dot above */
            OSV_TRY(osv_tok_text_add(out, "i\xcc\x87", 3, e));
            continue;
        }
        utf8proc_uint8_t low[4];
        utf8proc_ssize_t n = utf8proc_encode_char(utf8proc_tolower((utf8proc_int32_t)c), low);
        OSV_TRY(osv_tok_text_add(out, (const char *)low, (size_t)n, e));
    }
    return OSV_OK;
}

static int strip(const char *text, size_t bytes, bool left, bool right, osv_tok_text *out, osv_error *e)
{
    size_t start = 0, length;
    while (left && start < bytes && osv_tok_is_space(osv_tok_char(text + start, &length))) start += length;
    while (right && bytes > start) {
        size_t before = osv_tok_before(text, bytes);
        if (!osv_tok_is_space(osv_tok_char(text + before, &length))) break;
        bytes = before;
    }
    return osv_tok_text_add(out, text + start, bytes - start, e);
}

int osv_tok_replace(const osv_tok_pattern *p, osv_tok_search **search, const char *content,
                    size_t content_bytes, const char *text, size_t bytes, osv_tok_text *out, osv_error *e)
{
    osv_tok_match m = {0};
    size_t done = 0;
    while (bytes) {
        bool found;
        OSV_TRY(osv_tok_pattern_next(p, search, text, bytes, &m, &found, e));
        if (!found) break;
        OSV_TRY(osv_tok_text_add(out, text + done, m.start - done, e));
        OSV_TRY(osv_tok_text_add(out, content, content_bytes, e));
        done = m.end;
    }
    return osv_tok_text_add(out, text + done, bytes - done, e);
}

static int apply(const osv_tok_normalizer *n, osv_tok_work *w, const char *text, size_t bytes, bool prefix,
                 osv_tok_text *out, osv_error *e)
{
    switch (n->kind) {
    case OSV_TOK_NFC: return compose(text, bytes, UTF8PROC_COMPOSE, out, e);
    case OSV_TOK_NFD: return compose(text, bytes, UTF8PROC_DECOMPOSE, out, e);
    case OSV_TOK_NFKC: return compose(text, bytes, UTF8PROC_COMPOSE | UTF8PROC_COMPAT, out, e);
    case OSV_TOK_NFKD: return compose(text, bytes, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, out, e);
    case OSV_TOK_LOWERCASE: return lowercase(text, bytes, out, e);
    case OSV_TOK_STRIP: return strip(text, bytes, n->left, n->right, out, e);
    case OSV_TOK_REPLACE:
        if (n->start && !prefix) return osv_tok_text_add(out, text, bytes, e);
        return osv_tok_replace(n->pattern, &w->search, n->content, n->bytes, text, bytes, out, e);
    case OSV_TOK_CHARSMAP: return osv_tok_charsmap_apply(n->charsmap, n->graphemes, text, bytes, out, e);
    case OSV_TOK_PREPEND:
        if (prefix && bytes) OSV_TRY(osv_tok_text_add(out, n->content, n->bytes, e));
        return osv_tok_text_add(out, text, bytes, e);
    }
    return OSV_OK;
}

int osv_tok_normalize(const osv_tokenizer *t, osv_tok_work *w, const char *text, size_t bytes, bool prefix,
                      osv_tok_text *out, osv_error *e)
{
    if (t->normalizer_count == 0) return osv_tok_text_add(out, text, bytes, e);
    for (size_t i = 0; i < t->normalizer_count; i++) {
        bool last = i + 1 == t->normalizer_count;
        osv_tok_text *to = last ? out : i % 2 ? &w->b : &w->a; /* the two scratch texts take turns */
        if (!last) to->bytes = 0;
        OSV_TRY(apply(&t->normalizers[i], w, text, bytes, prefix, to, e));
        text = to->data;
        bytes = to->bytes;
    }
    return OSV_OK;
}
