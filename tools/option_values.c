/* Values of options: from text, from JSON, and back. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"
#include "tools/options.h"
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

/* The item of a list at `at`, which ends at a comma or at the end; false where it does not fit. */
static bool copy_item(char *item, size_t room, const char *at)
{
    size_t length = strcspn(at, ",");
    if (length >= room) return false;
    memcpy(item, at, length);
    item[length] = '\0';
    return true;
}

static int parse_numbers(const osv_option *o, const char *text, osv_option_numbers *list, osv_error *e)
{
    char item[64];
    list->text = text;
    list->count = 0;
    for (const char *at = text;; at++) {
        double x;
        if (!copy_item(item, sizeof item, at))
            return OSV_FAIL(e, OSV_USAGE, "--%s %.80s...: too long for a number", o->name, at);
        OSV_TRY(parse_number(o, item, &x, e));
        for (int i = 0; i < list->count; i++)
            if (list->value[i] == x)
                return OSV_FAIL(e, OSV_USAGE, "--%s %s: names %s twice", o->name, text, item);
        if (list->count == OSV_OPTION_MOST)
            return OSV_FAIL(e, OSV_USAGE, "--%s %s: more than %d numbers", o->name, text, OSV_OPTION_MOST);
        list->value[list->count++] = x;
        at += strcspn(at, ",");
        if (*at == '\0') return OSV_OK;
    }
}

static int fail_seeds(const osv_option *o, const char *text, osv_error *e)
{
    return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be %s from 0 to %llu%s", o->name, text,
                    o->high == 1 ? "a whole number" : "whole numbers", ULLONG_MAX,
                    o->high == 1 ? "" : " such as 0-23 or 0,3,7-9");
}

static int parse_seeds(const osv_option *o, const char *text, osv_option_seeds *list, osv_error *e)
{
    char item[64];
    *list = (osv_option_seeds){.text = text};
    for (const char *at = text;; at++) {
        unsigned long long first, last;
        if (!copy_item(item, sizeof item, at)) return fail_seeds(o, text, e);
        char *dash = strchr(item, '-');
        if (dash) *dash = '\0';
        if (!parse_seed(item, &first) || !parse_seed(dash ? dash + 1 : item, &last) || last < first)
            return fail_seeds(o, text, e);
        for (int i = 0; i < list->ranges; i++)
            if (first <= list->range[i].last && list->range[i].first <= last)
                return OSV_FAIL(e, OSV_USAGE, "--%s %s: names seed %llu twice", o->name, text,
                                first > list->range[i].first ? first : list->range[i].first);
        if (o->high == 1 && (dash || at[strcspn(at, ",")]))
            return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be one whole number; --%ss takes several", o->name,
                            text, o->name);
        if (list->ranges == OSV_OPTION_MOST || (double)list->count + (double)(last - first) + 1 > o->high)
            return OSV_FAIL(e, OSV_USAGE, "--%s %s: at most %.0f seeds in %d ranges", o->name, text, o->high,
                            OSV_OPTION_MOST);
        list->count += (int)(last - first) + 1;
        list->range[list->ranges].first = first;
        list->range[list->ranges++].last = last;
        at += strcspn(at, ",");
        if (*at == '\0') return OSV_OK;
    }
}

unsigned long long osv_option_seed(const osv_option_seeds *list, int i)
{
    int r = 0;
    while ((unsigned long long)i > list->range[r].last - list->range[r].first)
        i -= (int)(list->range[r].last - list->range[r].first) + 1, r++;
    return list->range[r].first + (unsigned long long)i;
}

void osv_option_one_number(osv_option_numbers *list, int i)
{
    if (list->count <= 1) return;
    list->value[0] = list->value[i];
    list->count = 1;
}

void osv_option_one_seed(osv_option_seeds *list, int i)
{
    unsigned long long seed = osv_option_seed(list, i);
    list->range[0].first = list->range[0].last = seed;
    list->count = list->ranges = 1;
}

static int parse_target(const osv_option *o, const char *text, osv_target *target, osv_error *e)
{
    if (osv_target_parse(target, text)) return OSV_OK;
    target->kind = OSV_TARGET_NATS;
    if (osv_parse_number(text, &target->x)) return OSV_OK;
    return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a finite number, unsteered, or a multiple such as 0.75x",
                    o->name, text);
}

static int add_item(const osv_option *o, const char *text, osv_option_list *list, osv_error *e)
{
    if (list->count == OSV_OPTION_MOST)
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: given more than %d times", o->name, text, OSV_OPTION_MOST);
    list->item[list->count++] = text;
    return OSV_OK;
}

int osv_option_set(const osv_option *o, const char *text, void *values, osv_error *e)
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
    case OSV_OPTION_NUMBERS: return parse_numbers(o, text, field, e);
    case OSV_OPTION_TARGET: return parse_target(o, text, field, e);
    case OSV_OPTION_SEEDS: return parse_seeds(o, text, field, e);
    case OSV_OPTION_CHOICE:
        if ((*(int *)field = parse_choice(o->argument, text)) >= 0) return OSV_OK;
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be one of %s", o->name, text, o->argument);
    }
    return OSV_OK;
}

int osv_split_scale(const char *text, const char *what, char **path, double *scale, osv_error *e)
{
    const char *colon = strrchr(text, ':');
    size_t length = strlen(text);
    double x;
    *scale = 1;
    if (colon && !osv_path_exists(text) && osv_parse_number(colon + 1, &x)) {
        *scale = x;
        length = (size_t)(colon - text);
    }
    *path = strndup(text, length);
    if (!*path) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (length == 0) return OSV_FAIL(e, OSV_USAGE, "%s%s: names no file", what, text);
    return OSV_OK;
}

/* ---- from JSON ---- */

/* A scalar as it would be typed; false for what is none. */
static bool print_scalar(FILE *out, const json_t *value)
{
    char text[OSV_NUMBER_ROOM];
    if (json_is_string(value))
        fputs(json_string_value(value), out);
    else if (json_is_integer(value))
        fprintf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        fputs(osv_show_number(text, json_real_value(value)), out);
    else if (json_is_boolean(value))
        fputs(json_is_true(value) ? "true" : "false", out);
    else
        return false;
    return true;
}

/* What would be typed for this value; a list has commas between. */
static bool print_value(FILE *out, const json_t *value)
{
    if (!json_is_array(value)) return print_scalar(out, value);
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0) fputc(',', out);
        if (!print_scalar(out, json_array_get(value, i))) return false;
    }
    return json_array_size(value) > 0;
}

int osv_option_set_json(const osv_option *o, const json_t *value, char **text, void *values, osv_error *e)
{
    char shown[64];
    size_t bytes;
    *text = NULL;
    if (o->kind == OSV_OPTION_FLAG) {
        *(bool *)((char *)values + o->offset) = json_is_true(value);
        if (json_is_boolean(value)) return OSV_OK;
        return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be true or false", o->name,
                        osv_json_show(value, shown, sizeof shown));
    }
    FILE *out = open_memstream(text, &bytes);
    if (!out) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the value of --%s", o->name);
    bool good = print_value(out, value);
    if (fclose(out)) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the value of --%s", o->name);
    if (good) return osv_option_set(o, *text, values, e);
    return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be a number or a string, or a list of these", o->name,
                    osv_json_show(value, shown, sizeof shown));
}

/* ---- to JSON ---- */

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

static json_t *seed_json(unsigned long long seed)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", seed);
    return seed <= LLONG_MAX ? json_integer((json_int_t)seed) : json_string(text);
}

static json_t *numbers_json(const osv_option_numbers *list)
{
    if (list->count == 0) return json_null();
    return list->count == 1 ? json_real(list->value[0]) : osv_text_json(list->text);
}

/* What takes one seed shows one, what takes several shows several: the same field may be both. */
static json_t *seeds_json(const osv_option *o, const osv_option_seeds *list)
{
    if (o->high == 1) return list->count == 1 ? seed_json(list->range[0].first) : json_null();
    return list->count > 1 ? osv_text_json(list->text) : json_null();
}

static json_t *target_json(const osv_target *target)
{
    char number[OSV_NUMBER_ROOM];
    if (target->kind == OSV_TARGET_NONE) return json_null();
    if (target->kind == OSV_TARGET_NATS) return json_real(target->x);
    if (target->x == 1) return json_string("unsteered");
    return json_sprintf("%sx", osv_show_number(number, target->x));
}

json_t *osv_option_json(const osv_option *o, const void *values)
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
    case OSV_OPTION_SEED: return seed_json(*(const unsigned long long *)field);
    case OSV_OPTION_NUMBERS: return numbers_json(field);
    case OSV_OPTION_SEEDS: return seeds_json(o, field);
    case OSV_OPTION_TARGET: return target_json(field);
    }
    return NULL;
}

json_t *osv_options_json(const osv_option *table, const void *values)
{
    json_t *all = json_object();
    for (const osv_option *o = table; o->name; o++)
        json_object_set_new(all, o->name, osv_option_json(o, values));
    return all;
}
