#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/tokenizer/parts.h"

/* An expression that needs more steps than this for one match backtracks without end. Real ones take a
 * handful of steps a character only where they fail; 10 million steps are a fraction of a second. */
#define MATCH_LIMIT   10000000
#define HEAP_LIMIT_KB (256 << 10)
#define JIT_STACK_BYTES \
    ((size_t)64 << 20) /* reserved, used as needed: 32 KB are enough for nearly all texts */
#define REGEX_LIMIT 65536

struct osv_tok_pattern {
    char *literal; /* or NULL */
    size_t bytes;
    pcre2_code *code;
    char *where, *regex; /* for messages */
};

struct osv_tok_search {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

int osv_tok_pattern_literal(osv_tok_pattern **out, const char *text, size_t bytes, osv_error *e)
{
    osv_tok_pattern *p = *out = calloc(1, sizeof *p);
    if (!p || !(p->literal = malloc(bytes + 1)))
        return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for a pattern");
    memcpy(p->literal, text, bytes);
    p->bytes = bytes;
    return OSV_OK;
}

static int compile(osv_tok_pattern *p, const char *translated, osv_error *e)
{
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for a regular expression", p->where);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_set_max_pattern_length(context, REGEX_LIMIT);
    int code;
    PCRE2_SIZE offset;
    p->code = pcre2_compile((PCRE2_SPTR)translated, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &offset,
                            context);
    pcre2_compile_context_free(context);
    if (!p->code) {
        char shown[64], message[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: regular expression \"%s\" does not compile: %s (offset %zu)",
                        p->where, osv_tok_show(p->regex, strlen(p->regex), shown), message, (size_t)offset);
    }
    pcre2_jit_compile(p->code,
                      PCRE2_JIT_COMPLETE); /* where there is no JIT the interpreter gives the same matches */
    return OSV_OK;
}

int osv_tok_pattern_regex(osv_tok_pattern **out, const char *regex, const char *where, osv_error *e)
{
    osv_tok_pattern *p = *out = calloc(1, sizeof *p);
    if (!p || !(p->where = strdup(where)) || !(p->regex = strdup(regex)))
        return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for a pattern");
    osv_tok_text translated = {0};
    int status = osv_tok_dialect(&translated, regex, where, e);
    if (!status) status = compile(p, translated.data, e);
    free(translated.data);
    return status;
}

void osv_tok_pattern_free(osv_tok_pattern *p)
{
    if (!p) return;
    pcre2_code_free(p->code);
    free(p->literal);
    free(p->where);
    free(p->regex);
    free(p);
}

static int search_new(osv_tok_search **out, osv_error *e)
{
    osv_tok_search *s = *out = calloc(1, sizeof *s);
    if (s) {
        s->data = pcre2_match_data_create(1, NULL);
        s->context = pcre2_match_context_create(NULL);
    }
    if (!s || !s->data || !s->context) return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for a search");
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    pcre2_set_heap_limit(s->context, HEAP_LIMIT_KB);
    return OSV_OK;
}

void osv_tok_search_free(osv_tok_search *s)
{
    if (!s) return;
    pcre2_match_data_free(s->data);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

static int run(const osv_tok_pattern *p, osv_tok_search *s, const char *text, size_t bytes, size_t at,
               bool *found, osv_error *e)
{
    int code;
    for (;;) {
        code = pcre2_match(p->code, (PCRE2_SPTR)text, bytes, at, PCRE2_NO_UTF_CHECK, s->data, s->context);
        if (code != PCRE2_ERROR_JIT_STACKLIMIT || s->stack) break;
        s->stack = pcre2_jit_stack_create(64 << 10, JIT_STACK_BYTES, NULL);
        if (!s->stack) return OSV_FAIL(e, OSV_DEVICE, "tokenizer: no memory for the stack of a search");
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    }
    *found = code >= 0; /* 0: more groups than the match data has room for, which nobody reads */
    if (*found || code == PCRE2_ERROR_NOMATCH) return OSV_OK;
    char shown[64], message[128];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
    return OSV_FAIL(e, OSV_BAD_INPUT,
                    "%s: regular expression \"%s\" gives up on this text at byte %zu of a piece: %s",
                    p->where, osv_tok_show(p->regex, strlen(p->regex), shown), at, message);
}

int osv_tok_pattern_next(const osv_tok_pattern *p, osv_tok_search **search, const char *text, size_t bytes,
                         osv_tok_match *m, bool *found, osv_error *e)
{
    if (p->literal) {
        const char *hit = memmem(text + m->at, bytes - m->at, p->literal, p->bytes);
        *found = hit != NULL;
        if (hit) {
            m->start = (size_t)(hit - text);
            m->at = m->end = m->start + p->bytes;
        }
        return OSV_OK;
    }
    if (!*search) OSV_TRY(search_new(search, e));
    for (;;) {
        *found = false;
        if (m->at > bytes) return OSV_OK;
        OSV_TRY(run(p, *search, text, bytes, m->at, found, e));
        if (!*found) return OSV_OK;
        const PCRE2_SIZE *hit = pcre2_get_ovector_pointer((*search)->data);
        size_t start = hit[0], end = hit[1];
        if (start < end || !m->matched || m->end != end) {
            m->start = start;
            m->at = m->end = end;
            m->matched = true;
            return OSV_OK;
        }
        size_t length = 1; /* an empty match where the last one ended: go on one character later */
        if (m->at < bytes) osv_tok_char(text + m->at, &length);
        m->at += length;
    }
}
