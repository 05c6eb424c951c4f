/* A template -> its fingerprint: a hash of its canonical form, in which everything that does not change what
 * the template prints is written in one way. White space control is resolved into the text, as Jinja does
 * with the settings of transformers (trim_blocks, lstrip_blocks); comments are gone; tokens inside tags are
 * separated by one space; strings have one kind of quotes; m['role'] is m.role; {{ 'a' + b }} is a{{ b }}.
 * The default system message of ChatML-like templates and some others, which nearly every model has its own
 * of, is left out and handed over apart.
 *
 * In the canonical form tags are bracketed by control characters, which templates do not contain, so that
 * printed text cannot be taken for a tag. */
#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "loader/chat_parts.h"

#define STATEMENT  '\1'
#define EXPRESSION '\2'
#define TAG_END    '\3'
#define HOLE       "\4" /* the default system message */

typedef enum { WORD, NUMBER, STRING, SIGN } kind;

typedef struct {
    kind kind;
    const char *text; /* STRING: what is between the quotes, escapes and all */
    size_t bytes;
} token;

/* ---- inside a tag */

static bool is_word(int c)
{
    return isalnum(c) || c == '_';
}

/* The next token; false at the end. A string that does not end takes the rest. */
static bool next_token(const char **at, const char *end, token *t)
{
    const char *s = *at;
    while (s < end && isspace((unsigned char)*s)) s++;
    if (s == end) return false;
    const char *start = s;
    if (*s == '\'' || *s == '"') {
        for (s++; s < end && *s != *start; s++)
            if (*s == '\\' && s + 1 < end) s++;
        *t = (token){STRING, start + 1, (size_t)(s - start - 1)};
        *at = s < end ? s + 1 : end;
        return true;
    }
    if (is_word((unsigned char)*s)) {
        bool number = isdigit((unsigned char)*s);
        while (s < end && (is_word((unsigned char)*s) || (number && *s == '.'))) s++;
        *t = (token){number ? NUMBER : WORD, start, (size_t)(s - start)};
    } else {
        bool twice = s + 1 < end && ((s[1] == '=' && strchr("=!<>", *s)) || (s[1] == *s && strchr("/*", *s)));
        s += twice ? 2 : 1;
        *t = (token){SIGN, start, (size_t)(s - start)};
    }
    *at = s;
    return true;
}

static bool is(const token *t, const char *text)
{
    return t->kind != STRING && strlen(text) == t->bytes && memcmp(t->text, text, t->bytes) == 0;
}

static bool is_one_of(const token *t, const char *const *texts)
{
    for (; *texts; texts++)
        if (is(t, *texts)) return true;
    return false;
}

/* A string's content with its escapes resolved; quoted: as a token, else as printed. */
static void put_string(FILE *out, const token *t, bool quoted)
{
    static const char written[] = "ntr\\'\"", meant[] = "\n\t\r\\'\"";
    if (quoted) putc('\'', out);
    for (size_t i = 0; i < t->bytes; i++) {
        char c = t->text[i];
        if (c == '\\' && i + 1 < t->bytes && t->text[i + 1]) {
            const char *known = strchr(written, t->text[i + 1]);
            if (known) {
                c = meant[known - written];
                i++;
            }
        }
        if (quoted && (c == '\'' || c == '\\')) putc('\\', out);
        putc(c, out);
    }
    if (quoted) putc('\'', out);
}

/* ['role'] after something that can be subscripted. */
static bool is_subscript(const token *t, size_t count, size_t i)
{
    if (i == 0 || i + 2 >= count || !is(&t[i], "[") || !is(&t[i + 2], "]") || t[i + 1].kind != STRING)
        return false;
    if (t[i - 1].kind != WORD && !is(&t[i - 1], "]") && !is(&t[i - 1], ")")) return false;
    for (size_t k = 0; k < t[i + 1].bytes; k++)
        if (!islower((unsigned char)t[i + 1].text[k]) && t[i + 1].text[k] != '_') return false;
    return t[i + 1].bytes > 0;
}

static void put_tokens(FILE *out, const token *t, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0) putc(' ', out);
        if (is_subscript(t, count, i)) {
            fprintf(out, ". %.*s", (int)t[i + 1].bytes, t[i + 1].text);
            i += 2;
        } else if (t[i].kind == STRING) {
            put_string(out, &t[i], true);
        } else {
            fwrite(t[i].text, 1, t[i].bytes, out);
        }
    }
}

static void put_tag(FILE *out, char begin, const token *t, size_t count)
{
    putc(begin, out);
    put_tokens(out, t, count);
    putc(TAG_END, out);
}

/* Index after the summand that starts at `start`: of the next + outside brackets, or `count`. */
static size_t summand_end(const token *t, size_t count, size_t start)
{
    int depth = 0;
    for (size_t i = start; i < count; i++) {
        if (t[i].kind == SIGN && strchr("([{", *t[i].text)) depth++;
        if (t[i].kind == SIGN && strchr(")]}", *t[i].text)) depth--;
        if (depth == 0 && is(&t[i], "+")) return i;
    }
    return count;
}

/* Whether an expression is a sum of strings, each of which can be printed by itself: some summand is a
 * literal, and nothing binds as loosely as + or more so. */
static bool is_text_sum(const token *t, size_t count)
{
    static const char *const loose[] = {"-",  "*",  "/",    "~",   "%",  "==",  "!=", "<",  ">", "<=",
                                        ">=", "if", "else", "and", "or", "not", "in", "is", NULL};
    int depth = 0;
    bool literal = false;
    for (size_t i = 0; i < count; i++) {
        if (t[i].kind == SIGN && strchr("([{", *t[i].text)) depth++;
        if (t[i].kind == SIGN && strchr(")]}", *t[i].text)) depth--;
        if (depth == 0 && is_one_of(&t[i], loose)) return false;
    }
    for (size_t i = 0; i < count;) {
        size_t end = summand_end(t, count, i);
        if (end == i || end + 1 == count) return false; /* + with nothing beside it */
        literal = literal || (end == i + 1 && t[i].kind == STRING);
        i = end + 1;
    }
    return literal;
}

static void put_expression(FILE *out, const token *t, size_t count)
{
    if (!is_text_sum(t, count)) {
        put_tag(out, EXPRESSION, t, count);
        return;
    }
    for (size_t i = 0; i < count;) {
        size_t end = summand_end(t, count, i);
        if (end == i + 1 && t[i].kind == STRING)
            put_string(out, &t[i], false);
        else
            put_tag(out, EXPRESSION, t + i, end - i);
        i = end + 1;
    }
}

static int put_body(FILE *out, char kind, const char *at, const char *end, osv_error *e)
{
    token *t = malloc(((size_t)(end - at) + 1) * sizeof *t); /* a token has a byte at least */
    if (!t) return OSV_FAIL(e, OSV_DEVICE, "no memory for a chat template");
    size_t count = 0;
    while (next_token(&at, end, &t[count])) count++;
    if (kind == '%')
        put_tag(out, STATEMENT, t, count);
    else if (kind == '{')
        put_expression(out, t, count);
    free(t);
    return OSV_OK;
}

/* ---- text and tags */

/* The beginning of the next {%, {{ or {#, or the end of the text. */
static const char *find_tag(const char *s)
{
    for (; *s; s++)
        if (*s == '{' && (s[1] == '%' || s[1] == '{' || s[1] == '#')) return s;
    return s;
}

/* Where the tag that starts with {kind ends: at its %}, }} or #}; NULL if it does not. */
static const char *find_end(const char *s, char kind)
{
    if (kind == '#') return strstr(s, "#}");
    char last = kind == '{' ? '}' : kind;
    for (; *s; s++) {
        if (*s == last && s[1] == '}') return s;
        if (*s != '\'' && *s != '"') continue;
        char quote = *s;
        for (s++; *s && *s != quote; s++)
            if (*s == '\\' && s[1]) s++;
        if (!*s) return NULL;
    }
    return NULL;
}

/* How many bytes of the text in front of a tag are printed. `sign` is what follows the opening bracket. */
static size_t text_before(const char *text, size_t bytes, char sign, char kind, bool line_start)
{
    size_t end = bytes;
    while (end > 0 && isspace((unsigned char)text[end - 1]) && (sign == '-' || text[end - 1] != '\n')) end--;
    if (sign == '-') return end;
    /* lstrip_blocks: blanks between the beginning of a line and a statement or comment. */
    bool begins = end > 0 ? text[end - 1] == '\n' : line_start;
    return sign != '+' && kind != '{' && begins ? end : bytes;
}

/* *good false: not a template that Jinja would take. */
static int put_canonical(FILE *out, const char *s, bool *good, osv_error *e)
{
    bool line_start = true;
    *good = true;
    for (;;) {
        const char *tag = find_tag(s);
        if (!*tag) {
            fputs(s, out);
            return OSV_OK;
        }
        char kind = tag[1], sign = tag[2];
        const char *body = tag + 2 + (sign == '-' || sign == '+'), *end = find_end(body, kind);
        if (!end) {
            *good = false;
            return OSV_OK;
        }
        fwrite(s, 1, text_before(s, (size_t)(tag - s), sign, kind, line_start), out);
        char closing = end > body ? end[-1] : ' ';
        bool trimmed = closing == '-' || (closing == '+' && kind != '{');
        OSV_TRY(put_body(out, kind, body, end - trimmed, e));
        s = end + 2;
        if (closing == '-')
            while (isspace((unsigned char)*s)) s++;
        else if (!trimmed && kind != '{' && *s == '\n') /* trim_blocks */
            s++;
        line_start = s[-1] == '\n';
    }
}

/* ---- the whole */

/* Newlines as Jinja reads them: \r\n and \r are \n, one at the end of the file does not count. */
static char *copy_lines(const char *text)
{
    char *copy = malloc(strlen(text) + 1), *to = copy;
    if (!copy) return NULL;
    for (; *text; text++) {
        if (*text == '\r' && text[1] == '\n') continue;
        *to++ = *text == '\r' ? '\n' : *text;
    }
    if (to > copy && to[-1] == '\n') to--;
    *to = '\0';
    return copy;
}

/* Where the default system message stands in the canonical form, and its text. */
typedef struct {
    char *hole, *text; /* malloc'ed; NULL: none */
} lead_place;

/* Plain text, of eight bytes at least, between two others. */
static bool find_plain(lead_place *p, const char *canonical)
{
    static const char *const around[][2] = {
        {"<|im_start|>system\n", "<|im_end|>"},
        {"\1elif reasoning_mode == '/think'\3", "\n\n\1else\3"},
    };
    for (size_t i = 0; i < sizeof around / sizeof *around; i++)
        for (const char *s = canonical; (s = strstr(s, around[i][0])); s++) {
            const char *start = s + strlen(around[i][0]), *end = strstr(start, around[i][1]);
            if (!end || end < start + 8) continue;
            bool plain = true;
            for (const char *c = start; c < end; c++) plain = plain && (unsigned char)*c > 4;
            if (!plain) continue;
            p->hole = strndup(start, (size_t)(end - start));
            p->text = strndup(start, (size_t)(end - start));
            return true;
        }
    return false;
}

/* Behind the string that starts at `s` with its quote, whose text is appended; NULL: there is none. */
static const char *take_string(const char *s, char *text, size_t *used)
{
    if (*s++ != '\'') return NULL;
    for (; *s && *s != '\''; s++) {
        if (*s == '\\' && s[1]) s++;
        text[(*used)++] = *s;
    }
    return *s ? s + 1 : NULL;
}

/* A variable that is set to strings with the day between them. */
static void find_variable(lead_place *p, const char *canonical)
{
    static const char before[] = "\1set default_system_message = ", day[] = " + today";
    const char *start = strstr(canonical, before), *s = start ? start + strlen(before) : NULL;
    size_t used = 0;
    char *text = s ? malloc(strlen(s) + 1) : NULL;
    if (!text) return;
    const char *first = s;
    s = take_string(s, text, &used);
    while (s && strncmp(s, day, strlen(day)) == 0) {
        text[used++] = *OSV_CHAT_DATE;
        s += strlen(day);
        if (strncmp(s, " + '", 4) == 0) s = take_string(s + 3, text, &used);
    }
    text[used] = '\0';
    if (s && *s == TAG_END) {
        p->hole = strndup(first, (size_t)(s - first));
        p->text = text;
    } else {
        free(text);
    }
}

static int hash(const char *canonical, const char *hole_text, char fingerprint[], osv_error *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    for (const char *s = canonical, *hole; good && s; s = hole) {
        hole = hole_text ? strstr(s, hole_text) : NULL;
        good = EVP_DigestUpdate(context, s, hole ? (size_t)(hole - s) : strlen(s)) &&
               (!hole || EVP_DigestUpdate(context, HOLE, 1));
        if (hole) hole += strlen(hole_text);
    }
    good = good && EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    if (!good) return OSV_FAIL(e, OSV_DEVICE, "a chat template cannot be hashed");
    for (int i = 0; i < OSV_CHAT_FINGERPRINT / 2; i++) snprintf(fingerprint + 2 * i, 3, "%02x", digest[i]);
    return OSV_OK;
}

int osv_chat_fingerprint(const char *text, char fingerprint[OSV_CHAT_FINGERPRINT + 1], char **lead,
                         osv_error *e)
{
    char *canonical = NULL, *copy = copy_lines(text);
    size_t bytes;
    FILE *out = copy ? open_memstream(&canonical, &bytes) : NULL;
    *lead = NULL;
    *fingerprint = '\0';
    int status = out ? OSV_OK : OSV_FAIL(e, OSV_DEVICE, "no memory for a chat template");
    bool good = false;
    if (!status) {
        status = put_canonical(out, copy, &good, e);
        if (fclose(out) != 0 && !status) status = OSV_FAIL(e, OSV_DEVICE, "no memory for a chat template");
    }
    for (const char *c = copy; good && c && *c; c++) good = (unsigned char)*c >= ' ' || strchr("\t\n", *c);
    if (!status && good) {
        lead_place place = {0};
        if (!find_plain(&place, canonical)) find_variable(&place, canonical);
        status = hash(canonical, place.hole, fingerprint, e);
        free(place.hole);
        *lead = place.text;
    }
    free(canonical);
    free(copy);
    return status;
}
