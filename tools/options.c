#include "tools/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/text.h"

bool osv_parse_number(const char *text, double *x)
{
    /* strtod alone would take blanks, "nan", "inf" and hexadecimal */
    if (strspn(text, "+-.0123456789eE") != strlen(text)) return false;
    char *end;
    *x = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*x);
}

bool osv_parse_bytes(const char *text, size_t *bytes)
{
    static const char units[] = "KMGTP";
    char number[32];
    double x;
    size_t length = strspn(text, "0123456789.");
    if (length >= sizeof number) return false;
    memcpy(number, text, length);
    number[length] = '\0';
    if (!osv_parse_number(number, &x)) return false;
    const char *end = text + length, *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        for (const char *u = units; u <= unit; u++) x *= 1024;
        end += end[1] == 'i' ? 2 : 1;
    }
    end += *end == 'B';
    if (*end || x >= 0x1p62) return false;
    *bytes = (size_t)x;
    return true;
}

bool osv_parse_int(const char *text, long low, long high, int *i)
{
    if (!isdigit((unsigned char)*text) && !(*text == '-' && isdigit((unsigned char)text[1]))) return false;
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || *end || n < low || n > high) return false;
    *i = (int)n;
    return true;
}

static bool parse_seed(const char *text, unsigned long long *seed)
{
    if (!isdigit((unsigned char)*text)) return false;
    char *end;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    return !errno && !*end;
}

static int parse_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    int i = 0;
    for (const char *word = choices; *word; i++) {
        size_t n = strcspn(word, "|");
        if (n == length && strncmp(word, text, n) == 0) return i;
        word += n + (word[n] == '|');
    }
    return -1;
}

static int parse_int(const osv_option *o, const char *text, int *i, osv_error *e)
{
    if (osv_parse_int(text, (long)o->low, (long)o->high, i)) return OSV_OK;
    if (o->high < INT_MAX)
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a whole number from %.0f to %.0f", o->name, text,
                        o->low, o->high);
    return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a whole number, %.0f or more", o->name, text, o->low);
}

static int parse_number(const osv_option *o, const char *text, double *x, osv_error *e)
{
    if (osv_parse_number(text, x) && *x >= o->low && *x <= o->high && !(o->above && *x == o->low))
        return OSV_OK;
    if (!isfinite(o->low)) return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a finite number", o->name, text);
    const char *low = o->above ? "above" : "at least";
    if (!isfinite(o->high))
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a finite number %s %g", o->name, text, low, o->low);
    return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a number %s %g and at most %g", o->name, text, low,
                    o->low, o->high);
}

static int add_item(const osv_option *o, const char *text, osv_option_list *list, osv_error *e)
{
    if (list->count == OSV_OPTION_MOST)
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: given more than %d times", o->name, text, OSV_OPTION_MOST);
    list->item[list->count++] = text;
    return OSV_OK;
}

static int set(const osv_option *o, const char *text, void *values, osv_error *e)
{
    void *field = (char *)values + o->offset;
    switch (o->kind) {
    case OSV_OPTION_FLAG: *(bool *)field = true; return OSV_OK;
    case OSV_OPTION_TEXT: *(const char **)field = text; return OSV_OK;
    case OSV_OPTION_LIST: return add_item(o, text, field, e);
    case OSV_OPTION_INT: return parse_int(o, text, field, e);
    case OSV_OPTION_NUMBER: return parse_number(o, text, field, e);
    case OSV_OPTION_BYTES:
        if (osv_parse_bytes(text, field)) return OSV_OK;
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a size such as 500M or 20G", o->name, text);
    case OSV_OPTION_SEED:
        if (parse_seed(text, field)) return OSV_OK;
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a whole number from 0 to %llu", o->name, text,
                        ULLONG_MAX);
    case OSV_OPTION_CHOICE:
        if ((*(int *)field = parse_choice(o->argument, text)) >= 0) return OSV_OK;
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be one of %s", o->name, text, o->argument);
    }
    return OSV_OK;
}

/* getopt_long also takes beginnings of names ("--max"): a script that does would change its meaning with the
 * next option, so the name has to be whole. */
static bool is_spelled_out(const char *given, const char *name)
{
    size_t length = strlen(name);
    return strncmp(given, "--", 2) == 0 && strncmp(given + 2, name, length) == 0 &&
           (given[2 + length] == '\0' || given[2 + length] == '=');
}

static int parse_argv(const osv_option *table, const struct option *names, int argc, char **argv,
                      void *values, osv_error *e)
{
    optind = 0; /* glibc: starts anew, so that tests may parse more than once */
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1, index = -1;
        int c = getopt_long(argc, argv, "+:", names, &index); /* +: nothing is reordered; : tells a missing
                                                                  argument from an unknown option */
        if (c == -1) break;
        const char *given = argv[at];
        if (c == ':') return OSV_FAIL(e, OSV_USAGE, "%s needs a value", given);
        if (c == '?' || !is_spelled_out(given, table[index].name)) {
            bool flag_with_value = false;
            for (const osv_option *o = table; o->name; o++)
                flag_with_value |= !o->argument && is_spelled_out(given, o->name);
            if (flag_with_value) return OSV_FAIL(e, OSV_USAGE, "%s: this option takes no value", given);
            return OSV_FAIL(e, OSV_USAGE, "unknown option %s", given);
        }
        OSV_TRY(set(&table[index], optarg, values, e));
    }
    if (optind < argc) return OSV_FAIL(e, OSV_USAGE, "unexpected argument \"%s\"", argv[optind]);
    return OSV_OK;
}

int osv_options_parse(const osv_option *table, int argc, char **argv, void *values, osv_error *e)
{
    int count = 0;
    while (table[count].name) count++;
    struct option *names = calloc((size_t)count + 1, sizeof *names);
    if (!names) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    int status = OSV_OK;
    for (int i = 0; i < count && !status; i++) {
        names[i] = (struct option){.name = table[i].name,
                                   .has_arg = table[i].argument ? required_argument : no_argument};
        if (table[i].value) status = set(&table[i], table[i].value, values, e);
    }
    if (!status) status = parse_argv(table, names, argc, argv, values, e);
    free(names);
    return status;
}

void osv_options_help(FILE *out, const osv_option *table, const char *head, const char *tail)
{
    fputs(head, out);
    for (const osv_option *o = table; o->name; o++) {
        char left[64];
        if (o->group) fprintf(out, "\n%s\n", o->group);
        snprintf(left, sizeof left, "--%s %s", o->name, o->argument ? o->argument : "");
        fprintf(out, "  %-33s %s", left, o->help);
        if (o->value) fprintf(out, " (default %s)", o->value);
        fputc('\n', out);
    }
    fputs(tail, out);
}

static json_t *choice_json(const char *choices, int index)
{
    for (; index > 0; index--) choices += strcspn(choices, "|") + 1;
    return json_stringn(choices, strcspn(choices, "|"));
}

static json_t *list_json(const osv_option_list *list)
{
    json_t *all = json_array();
    for (int i = 0; i < list->count; i++) json_array_append_new(all, osv_text_json(list->item[i]));
    return all;
}

static json_t *value_json(const osv_option *o, const void *values)
{
    const void *field = (const char *)values + o->offset;
    double x;
    switch (o->kind) {
    case OSV_OPTION_FLAG: return json_boolean(*(const bool *)field);
    case OSV_OPTION_TEXT: return osv_text_json(*(const char *const *)field);
    case OSV_OPTION_LIST: return list_json(field);
    case OSV_OPTION_CHOICE: return choice_json(o->argument, *(const int *)field);
    case OSV_OPTION_INT:
        x = *(const int *)field;
        return x < o->low ? json_null() : json_integer((json_int_t)x);
    case OSV_OPTION_NUMBER: x = *(const double *)field; return x < o->low ? json_null() : osv_number_json(x);
    case OSV_OPTION_BYTES: {
        size_t bytes = *(const size_t *)field;
        return bytes == 0 ? json_null() : json_integer((json_int_t)bytes);
    }
    case OSV_OPTION_SEED: {
        unsigned long long seed = *(const unsigned long long *)field;
        char text[24];
        snprintf(text, sizeof text, "%llu", seed);
        return seed <= LLONG_MAX ? json_integer((json_int_t)seed) : json_string(text);
    }
    }
    return NULL;
}

json_t *osv_options_json(const osv_option *table, const void *values)
{
    json_t *all = json_object();
    for (const osv_option *o = table; o->name; o++) json_object_set_new(all, o->name, value_json(o, values));
    return all;
}
