#include <stdlib.h>
#include <string.h>

#include "loader/tokenizer/parts.h"

/* Puts the pieces of one span together from matches and the text between them, in order. */
typedef struct {
    osv_tok_behavior behavior;
    bool invert;
    size_t start, end; /* the piece that may still grow */
    bool open, was_match;
    size_t base; /* of the text in the stage's text */
    bool first;  /* the span begins the user's text */
    osv_tok_spans *out;
    osv_error *e;
} divider;

static int emit(divider *d)
{
    if (!d->open) return OSV_OK;
    d->open = false;
    return osv_tok_span_add(d->out, d->base + d->start, d->base + d->end, -1, d->first && d->start == 0,
                            d->e);
}

static int part(divider *d, size_t start, size_t end, bool match)
{
    match = match != d->invert;
    bool joins;
    switch (d->behavior) {
    case OSV_TOK_REMOVED:
        if (match) return OSV_OK;
        joins = false;
        break;
    case OSV_TOK_MERGED_WITH_PREVIOUS: joins = match && !d->was_match; break;
    case OSV_TOK_MERGED_WITH_NEXT: joins = !match && d->was_match; break;
    case OSV_TOK_CONTIGUOUS: joins = match == d->was_match; break;
    default: joins = false; break;
    }
    d->was_match = match;
    if (joins && d->open) {
        d->end = end;
        return OSV_OK;
    }
    OSV_TRY(emit(d));
    d->start = start;
    d->end = end;
    d->open = true;
    return OSV_OK;
}

/* Divides text[0, bytes), which lies at `base` of the stage's text, into spans of `out`. */
static int divide(const osv_tok_splitter *s, osv_tok_search **search, const char *text, size_t bytes,
                  size_t base, bool first, osv_tok_spans *out, osv_error *e)
{
    divider d = {
        .behavior = s->behavior, .invert = s->invert, .base = base, .first = first, .out = out, .e = e};
    osv_tok_match m = {0};
    size_t done = 0;
    for (;;) {
        bool found;
        OSV_TRY(osv_tok_pattern_next(s->pattern, search, text, bytes, &m, &found, e));
        if (!found) break;
        if (m.start > done) OSV_TRY(part(&d, done, m.start, false));
        OSV_TRY(part(&d, m.start, m.end, true));
        done = m.end;
    }
    if (done < bytes) OSV_TRY(part(&d, done, bytes, false));
    return emit(&d);
}

static bool prefixed(osv_tok_prepend_scheme scheme, const osv_tok_work *w, osv_tok_span span)
{
    if (w->continuation && span.first) return false;
    return scheme == OSV_TOK_PREPEND_ALWAYS || (scheme == OSV_TOK_PREPEND_FIRST && span.first);
}

/* Spaces become the replacement character, one is put in front, and the text is cut in front of each. */
static int metaspace(const osv_tok_splitter *s, osv_tok_work *w, osv_tok_span span, osv_error *e)
{
    const char *text = w->text.data + span.start;
    size_t bytes = span.end - span.start, base = w->next_text.bytes, room = s->replacement_bytes;
    bool starts = text[0] == ' ' || (bytes >= room && memcmp(text, s->replacement, room) == 0);
    if (!starts && prefixed(s->prepend, w, span))
        OSV_TRY(osv_tok_text_add(&w->next_text, s->replacement, room, e));
    for (size_t i = 0; i < bytes;) {
        const char *space = memchr(text + i, ' ', bytes - i);
        size_t plain = space ? (size_t)(space - text) - i : bytes - i;
        OSV_TRY(osv_tok_text_add(&w->next_text, text + i, plain, e));
        if (space) OSV_TRY(osv_tok_text_add(&w->next_text, s->replacement, room, e));
        i += plain + (space != NULL);
    }
    size_t end = w->next_text.bytes;
    if (!s->pattern) return osv_tok_span_add(&w->next_spans, base, end, -1, span.first, e);
    return divide(s, &w->search, w->next_text.data + base, end - base, base, span.first, &w->next_spans, e);
}

/* Every byte becomes its printable character, after GPT-2's expression has cut the text. */
static int byte_level(const osv_tok_splitter *s, osv_tok_work *w, osv_tok_span span, osv_error *e)
{
    const char *text = w->text.data + span.start;
    size_t bytes = span.end - span.start;
    if (text[0] != ' ' && prefixed(s->prepend, w, span)) {
        w->a.bytes = 0;
        OSV_TRY(osv_tok_text_add(&w->a, " ", 1, e));
        OSV_TRY(osv_tok_text_add(&w->a, text, bytes, e));
        text = w->a.data;
        bytes++;
    }
    size_t from = w->next_spans.count;
    if (s->pattern)
        OSV_TRY(divide(s, &w->search, text, bytes, 0, span.first, &w->next_spans, e));
    else
        OSV_TRY(osv_tok_span_add(&w->next_spans, 0, bytes, -1, span.first, e));

    OSV_TRY(osv_tok_text_reserve(&w->next_text, 2 * bytes, e)); /* the alphabet ends at U+0143 */
    size_t done = 0;
    for (size_t i = from; i < w->next_spans.count; i++) {
        osv_tok_span *piece = &w->next_spans.data[i];
        size_t end = piece->end;
        piece->start = w->next_text.bytes;
        for (; done < end; done++) {
            uint32_t c = osv_tok_byte_char((unsigned char)text[done]);
            char *to = w->next_text.data + w->next_text.bytes;
            if (c >= 0x80) {
                *to++ = (char)(0xc0 | c >> 6);
                c = 0x80 | (c & 0x3f);
                w->next_text.bytes++;
            }
            *to = (char)c;
            w->next_text.bytes++;
        }
        piece->end = w->next_text.bytes;
    }
    return OSV_OK;
}

static int divide_span(const osv_tok_splitter *s, osv_tok_work *w, osv_tok_span span, osv_error *e)
{
    switch (s->kind) {
    case OSV_TOK_METASPACE: return metaspace(s, w, span, e);
    case OSV_TOK_BYTE_LEVEL: return byte_level(s, w, span, e);
    case OSV_TOK_SPLIT: break;
    }
    return divide(s, &w->search, w->text.data + span.start, span.end - span.start, span.start, span.first,
                  &w->next_spans, e);
}

int osv_tok_split(const osv_tokenizer *t, osv_tok_work *w, osv_error *e)
{
    for (size_t i = 0; i < t->splitter_count; i++) {
        const osv_tok_splitter *s = &t->splitters[i];
        w->next_spans.count = 0;
        w->next_text.bytes = 0;
        for (size_t k = 0; k < w->spans.count; k++) {
            osv_tok_span span = w->spans.data[k];
            if (span.id >= 0)
                OSV_TRY(osv_tok_span_add(&w->next_spans, 0, 0, span.id, span.first, e));
            else
                OSV_TRY(divide_span(s, w, span, e));
        }
        osv_tok_spans spans = w->spans;
        w->spans = w->next_spans;
        w->next_spans = spans;
        if (s->kind == OSV_TOK_SPLIT) continue; /* cuts, but changes no text */
        osv_tok_text text = w->text;
        w->text = w->next_text;
        w->next_text = text;
    }
    return OSV_OK;
}
