/* Long options from a table: parsing into a struct of the tool's own, and the text of --help.
 *
 * A table is constant and ends with an entry without a name. Values are written at `offset` of the struct
 * that the caller passes as void *; strings point into argv or into the table and are never freed. */
#ifndef OSV_TOOLS_OPTIONS_H
#define OSV_TOOLS_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "kernels/error.h"
#include "loader/target.h"

typedef enum {
    OSV_OPTION_FLAG,    /* bool: no argument */
    OSV_OPTION_TEXT,    /* const char * */
    OSV_OPTION_INT,     /* int in [low, high] */
    OSV_OPTION_SEED,    /* unsigned long long, all of it */
    OSV_OPTION_BYTES,   /* size_t; "500M", "20G", "1.5T": powers of 1024; 0 is "not given" */
    OSV_OPTION_NUMBER,  /* double in [low, high], or (low, high] where `above` */
    OSV_OPTION_LIST,    /* osv_option_list: may be given several times */
    OSV_OPTION_NUMBERS, /* osv_option_numbers: as NUMBER, or several, "0.1,0.5" */
    OSV_OPTION_SEEDS,   /* osv_option_seeds: "0-23", "0,3,7-9"; at most `high` of them, 1: no list */
    OSV_OPTION_TARGET,  /* osv_target: nats, "unsteered" or a multiple such as "0.75x" */
    OSV_OPTION_CHOICE,  /* int: index of the word in `argument`, which lists them as "a|b|c" */
} osv_option_kind;

enum { OSV_OPTION_MOST = 32 };

typedef struct {
    int count;
    const char *item[OSV_OPTION_MOST]; /* in the order given */
} osv_option_list;

/* Several values of one option; none twice. */
typedef struct {
    const char *text; /* as given */
    int count;        /* 0: not given */
    double value[OSV_OPTION_MOST];
} osv_option_numbers;

typedef struct {
    const char *text;
    int count; /* of seeds */
    int ranges;
    struct {
        unsigned long long first, last;
    } range[OSV_OPTION_MOST];
} osv_option_seeds;

unsigned long long osv_option_seed(const osv_option_seeds *list, int i);
/* Keeps the i-th value alone. */
void osv_option_one_number(osv_option_numbers *list, int i);
void osv_option_one_seed(osv_option_seeds *list, int i);

typedef struct {
    const char *name;     /* without the dashes; NULL ends the table */
    const char *argument; /* as --help shows it; NULL: a flag */
    const char *value;    /* the default as a user would type it; NULL: left as it is in the struct */
    const char *help;     /* one line, with the unit */
    osv_option_kind kind;
    size_t offset;
    double low, high;
    bool above;
    const char *group; /* heading that starts here in --help; NULL: goes on */
} osv_option;

/* Sets the defaults, then reads argv. What is not understood is OSV_USAGE with the option and the value;
 * options have to be spelled out. */
int osv_options_parse(const osv_option *table, int argc, char **argv, void *values, osv_error *e);
/* The same where there are arguments that are no options, before, between and after them: operand [argc]. */
int osv_options_parse_operands(const osv_option *table, int argc, char **argv, void *values,
                               const char **operand, int *operands, osv_error *e);

const osv_option *osv_options_find(const osv_option *table, const char *name); /* NULL: none */

/* One value, as text (not for flags) or as JSON: a number, a string, true or false for a flag, a list where
 * the text would have commas. What is not understood is OSV_USAGE, in the same words as on a command line.
 * *text is what the value may point to from then on: the caller frees it after the last use, also after a
 * failure. */
int osv_option_set(const osv_option *o, const char *text, void *values, osv_error *e);
int osv_option_set_json(const osv_option *o, const json_t *value, char **text, void *values, osv_error *e);

/* The text of --help: `head`, the groups, `tail`. */
void osv_options_help(FILE *out, const osv_option *table, const char *head, const char *tail);

/* Values as they are in the struct; numbers outside their range, which mean "none", are null, several values
 * in one option are their text. */
json_t *osv_option_json(const osv_option *o, const void *values);
json_t *osv_options_json(const osv_option *table, const void *values);

/* FILE or FILE:SCALE, the scale being 1 where there is none; *path is malloc'ed. A file that exists under the
 * whole name is meant, colon and all. `what` stands in front of the text in messages: "--vector ". */
int osv_split_scale(const char *text, const char *what, char **path, double *scale, osv_error *e);

/* Strict numbers: the whole text, finite, no leading blanks. */
bool osv_parse_number(const char *text, double *x);
bool osv_parse_int(const char *text, long low, long high, int *i);
/* "20G", "20GiB" or "20GB", "1.5M", "4096": powers of 1024. */
bool osv_parse_bytes(const char *text, size_t *bytes);

#endif
