/* Regular expressions of tokenizer files are written for Oniguruma (Ruby syntax). Most of it means the same
 * to PCRE2; this file rewrites what does not, and refuses what cannot be rewritten simply, so that no text is
 * cut differently in silence:
 *
 *   \s \w \h \v \b and opposites   other characters in PCRE2 (its \s has U+180E, its \h is a space)
 *   \p{Han}, \p{Greek}, ...         PCRE2 takes the script extensions, Oniguruma the script
 *   {n,m}+ and {n}?                 possessive and lazy in PCRE2; in Ruby a second quantifier
 *   {,n}                            literal in PCRE2 before 10.43
 *   (?m:...)                        Ruby's name for "a dot also takes newlines"
 *   ^ $                             always at every line: an option when compiling
 *
 * Classes of characters follow the Unicode tables of the PCRE2 that is installed. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "loader/tokenizer/parts.h"

#define SPACES \
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES                                                                                       \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x84\\x86-\\x9f\\xa1-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}" \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"
/* In Latin-1 Oniguruma counts all numbers as parts of words, elsewhere only decimal digits. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe"
#define HEX  "0-9a-fA-F"

#define DEPTH 64 /* of groups; deeper nesting is not found in tokenizers */

typedef struct {
    const char *regex, *at, *where;
    osv_tok_text *out;
    size_t atom;          /* where the last thing that a quantifier may follow begins in out */
    size_t groups[DEPTH]; /* the same for open groups */
    int depth;
    osv_error *e;
} dialect;

static int refuse(dialect *d, const char *what)
{
    char shown[64];
    return OSV_FAIL(d->e, OSV_BAD_INPUT, "%s: regular expression \"%s\": %s at byte %zu is not supported",
                    d->where, osv_tok_show(d->regex, strlen(d->regex), shown), what,
                    (size_t)(d->at - d->regex));
}

static int put(dialect *d, const char *text, size_t bytes)
{
    return osv_tok_text_add(d->out, text, bytes, d->e);
}

static int say(dialect *d, const char *text)
{
    return put(d, text, strlen(text));
}

/* Copies `bytes` of the input. */
static int copy(dialect *d, size_t bytes)
{
    OSV_TRY(put(d, d->at, bytes));
    d->at += bytes;
    return OSV_OK;
}

/* \p{Name}, \P{Name}, \p{^Name}: general categories have one or two letters. */
static int property(dialect *d)
{
    const char *name = d->at + 3, *end = d->at[2] == '{' ? strchr(name, '}') : NULL;
    if (!end) return refuse(d, "a property without braces");
    bool inverted = *name == '^';
    size_t bytes = (size_t)(end - name) - inverted;
    for (const char *c = name + inverted; c < end; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_- &", *c)) return refuse(d, "this property");
    bool plain = bytes <= 2 || (bytes == 3 && strncmp(name + inverted, "Any", 3) == 0) ||
                 (bytes == 10 && strncmp(name + inverted, "Alphabetic", 10) == 0);
    if (plain) return copy(d, (size_t)(end + 1 - d->at));
    OSV_TRY(put(d, d->at, 3));
    OSV_TRY(say(d, inverted ? "^sc:" : "sc:"));
    d->at = name + inverted;
    return copy(d, bytes + 1);
}

/* \x41, \x{1f600}; \u1234, which PCRE2 writes \x{1234}. */
static int code_point(dialect *d)
{
    if (d->at[1] == 'x' && d->at[2] == '{') {
        const char *end = strchr(d->at, '}');
        if (!end) return refuse(d, "a character number without end");
        return copy(d, (size_t)(end + 1 - d->at));
    }
    size_t digits = d->at[1] == 'u' ? 4 : 2;
    for (size_t i = 0; i < digits; i++)
        if (!isxdigit((unsigned char)d->at[2 + i])) return refuse(d, "a character number");
    OSV_TRY(say(d, "\\x{"));
    OSV_TRY(put(d, d->at + 2, digits));
    d->at += 2 + digits;
    return say(d, "}");
}

/* Escapes that mean the same inside and outside of a class; *done says whether this was one. */
static int common_escape(dialect *d, bool *done)
{
    char c = d->at[1];
    *done = true;
    if (c == 'p' || c == 'P') return property(d);
    if (c == 'x' || c == 'u') return code_point(d);
    if (c == 'v') {
        d->at += 2;
        return say(d, "\\x0b");
    }
    if (c && strchr("nrtfaedD", c)) return copy(d, 2);
    if (c && (unsigned char)c < 0x80 && !isalnum((unsigned char)c)) return copy(d, 2);
    *done = false;
    return OSV_OK;
}

/* An escape in a class; a set (and not a character) cannot be the end of a range. */
static int class_escape(dialect *d, bool *set)
{
    char c = d->at[1];
    *set = c && strchr("sSwhdDpP", c);
    const char *members = c == 's' ? SPACES : c == 'S' ? NO_SPACES : c == 'w' ? WORD : c == 'h' ? HEX : NULL;
    if (members) {
        d->at += 2;
        return say(d, members);
    }
    if (c == 'b') return copy(d, 2); /* backspace */
    bool done;
    OSV_TRY(common_escape(d, &done));
    return done ? OSV_OK : refuse(d, "this escape in a class");
}

static int class_(dialect *d)
{
    OSV_TRY(copy(d, 1));
    if (*d->at == '^') OSV_TRY(copy(d, 1));
    const char *start = d->at;
    bool set = false, range = false; /* the item before was a set, the hyphen of a range */
    while (*d->at != ']' || d->at == start) {
        if (!*d->at) return refuse(d, "a class without end");
        if (*d->at == '[') return refuse(d, "a class within a class");
        if (d->at[0] == '&' && d->at[1] == '&') return refuse(d, "an intersection of classes");
        bool hyphen = *d->at == '-' && d->at > start && d->at[1] != ']';
        bool set_now = false;
        if (*d->at == ']' || (hyphen && set)) OSV_TRY(say(d, "\\")); /* literal: the first one; after a set */
        if (*d->at == '\\')
            OSV_TRY(class_escape(d, &set_now));
        else
            OSV_TRY(copy(d, 1));
        if (set_now && range) return refuse(d, "a set as the end of a range");
        range = hyphen && !set && !range;
        set = set_now;
    }
    return copy(d, 1);
}

static int escape(dialect *d)
{
    bool done;
    OSV_TRY(common_escape(d, &done));
    if (done) return OSV_OK;
    static const struct {
        char letter;
        const char *meaning;
    } table[] = {
        {'s', "[" SPACES "]"},
        {'S', "[^" SPACES "]"},
        {'w', "[" WORD "]"},
        {'W', "[^" WORD "]"},
        {'h', "[" HEX "]"},
        {'H', "[^" HEX "]"},
        {'A', "\\A"},
        {'z', "\\z"},
        {'Z', "\\Z"},
        {'G', "\\G"},
        {'R', "\\R"},
        {'b', "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))"},
        {'B', "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].letter == d->at[1]) {
            d->at += 2;
            return say(d, table[i].meaning);
        }
    return refuse(d, "this escape");
}

/* "(" and what follows a "?" there. */
static int group(dialect *d)
{
    if (d->depth == DEPTH) return refuse(d, "so deep a nesting");
    d->groups[d->depth++] = d->out->bytes;
    if (d->at[1] != '?') return copy(d, 1);
    static const char *const plain[] = {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strncmp(d->at, plain[i], strlen(plain[i])) == 0) return copy(d, strlen(plain[i]));
    const char *c = d->at + 2;
    while (*c && strchr("im-", *c)) c++;
    bool whole = *c == ')' && d->at == d->regex; /* elsewhere the two disagree about its reach */
    if ((*c != ':' && !whole) || c == d->at + 2) return refuse(d, "this kind of group");
    OSV_TRY(copy(d, 2));
    for (; d->at < c; d->at++) OSV_TRY(say(d, *d->at == 'm' ? "s" : *d->at == 'i' ? "i" : "-"));
    if (*c == ')') d->depth--;
    return copy(d, 1);
}

/* {n}, {n,}, {n,m}, {,m}: repeats; *is false where the brace is just a brace. */
static int interval(dialect *d, bool *is)
{
    const char *c = d->at + 1, *low = c;
    while (isdigit((unsigned char)*c)) c++;
    bool has_low = c > low, comma = *c == ',';
    if (comma) c++;
    const char *high = c;
    if (comma)
        while (isdigit((unsigned char)*c)) c++;
    *is = *c == '}' && (has_low || c > high);
    if (!*is) return OSV_OK;
    bool wrap = c[1] == '+' || (c[1] == '?' && !comma);
    if (wrap) { /* a quantifier of the quantified */
        size_t moved = d->out->bytes - d->atom;
        OSV_TRY(say(d, "(?:"));
        memmove(d->out->data + d->atom + 3, d->out->data + d->atom, moved);
        memcpy(d->out->data + d->atom, "(?:", 3);
    }
    OSV_TRY(copy(d, 1));
    if (!has_low) OSV_TRY(say(d, "0"));
    OSV_TRY(copy(d, (size_t)(c + 1 - d->at)));
    return wrap ? say(d, ")") : OSV_OK;
}

static int step(dialect *d)
{
    char c = *d->at;
    bool is = false;
    if (c == '{') OSV_TRY(interval(d, &is));
    if (is) return OSV_OK;
    if (strchr("*+?", c)) return copy(d, 1);
    size_t atom = d->out->bytes;
    if (c == ')') {
        if (d->depth == 0) return refuse(d, "a closing parenthesis without an opening one");
        atom = d->groups[--d->depth];
    }
    if (c == '(') {
        OSV_TRY(group(d));
    } else if (c == '[') {
        OSV_TRY(class_(d));
    } else if (c == '\\') {
        if (!d->at[1]) return refuse(d, "a backslash at the end");
        OSV_TRY(escape(d));
    } else {
        if (c == '{') OSV_TRY(say(d, "\\"));
        size_t length = 1;
        if ((unsigned char)c >= 0x80) osv_tok_char(d->at, &length);
        OSV_TRY(copy(d, length));
    }
    d->atom = atom;
    return OSV_OK;
}

int osv_tok_dialect(osv_tok_text *out, const char *regex, const char *where, osv_error *e)
{
    dialect d = {.regex = regex, .at = regex, .where = where, .out = out, .e = e};
    out->bytes = 0;
    while (*d.at) OSV_TRY(step(&d));
    return osv_tok_text_add(out, "", 1, e);
}
