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

typedef enum {
    OSV_OPTION_FLAG,   /* bool: no argument */
    OSV_OPTION_TEXT,   /* const char * */
    OSV_OPTION_INT,    /* int in [low, high] */
    OSV_OPTION_SEED,   /* unsigned long long, all of it */
    OSV_OPTION_BYTES,  /* size_t; "500M", "20G", "1.5T": powers of 1024; 0 is "not given" */
    OSV_OPTION_NUMBER, /* double in [low, high], or (low, high] where `above` */
    OSV_OPTION_LIST,   /* osv_option_list: may be given several times */
    OSV_OPTION_CHOICE, /* int: index of the word in `argument`, which lists them as "a|b|c" */
} osv_option_kind;

enum { OSV_OPTION_MOST = 32 };

typedef struct {
    int count;
    const char *item[OSV_OPTION_MOST]; /* in the order given */
} osv_option_list;

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

/* The text of --help: `head`, the groups, `tail`. */
void osv_options_help(FILE *out, const osv_option *table, const char *head, const char *tail);

/* All values by name, as they are in the struct; numbers outside their range, which mean "none", are null. */
json_t *osv_options_json(const osv_option *table, const void *values);

/* Strict numbers: the whole text, finite, no leading blanks. */
bool osv_parse_number(const char *text, double *x);
bool osv_parse_int(const char *text, long low, long high, int *i);
/* "20G", "20GiB" or "20GB", "1.5M", "4096": powers of 1024. */
bool osv_parse_bytes(const char *text, size_t *bytes);

#endif
