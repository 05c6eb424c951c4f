#include "tools/options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* getopt_long also takes beginnings of names ("--max"): a script that does would change its meaning with the
 * next option, so the name has to be whole. */
static bool is_spelled_out(const char *given, const char *name)
{
    size_t length = strlen(name);
    return strncmp(given, "--", 2) == 0 && strncmp(given + 2, name, length) == 0 &&
           (given[2 + length] == '\0' || given[2 + length] == '=');
}

/* What is no option. */
typedef struct {
    const char **item; /* NULL: a mistake */
    int count;
} operand_list;

static int parse_argv(const osv_option *table, const struct option *names, int argc, char **argv,
                      void *values, operand_list *operands, osv_error *e)
{
    optind = 0; /* glibc: starts anew, so that tests may parse more than once */
    opterr = 0;
    for (;;) {
        int at = optind ? optind : 1, index = -1;
        /* +: nothing is reordered; -: what is no option comes as 1; : tells a missing argument from an
         * unknown option */
        int c = getopt_long(argc, argv, operands->item ? "-:" : "+:", names, &index);
        if (c == -1) break;
        if (c == 1) {
            operands->item[operands->count++] = optarg;
            continue;
        }
        const char *given = argv[at];
        if (c == ':') return OSV_FAIL(e, OSV_USAGE, "%s needs a value", given);
        if (c == '?' || !is_spelled_out(given, table[index].name)) {
            bool flag_with_value = false;
            for (const osv_option *o = table; o->name; o++)
                flag_with_value |= !o->argument && is_spelled_out(given, o->name);
            if (flag_with_value) return OSV_FAIL(e, OSV_USAGE, "%s: this option takes no value", given);
            return OSV_FAIL(e, OSV_USAGE, "unknown option %s", given);
        }
        OSV_TRY(osv_option_set(&table[index], optarg, values, e));
    }
    while (operands->item && optind < argc) operands->item[operands->count++] = argv[optind++]; /* after -- */
    if (optind < argc) return OSV_FAIL(e, OSV_USAGE, "unexpected argument \"%s\"", argv[optind]);
    return OSV_OK;
}

static int parse(const osv_option *table, int argc, char **argv, void *values, operand_list *operands,
                 osv_error *e)
{
    int count = 0;
    while (table[count].name) count++;
    struct option *names = calloc((size_t)count + 1, sizeof *names);
    if (!names) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    int status = OSV_OK;
    for (int i = 0; i < count && !status; i++) {
        names[i] = (struct option){.name = table[i].name,
                                   .has_arg = table[i].argument ? required_argument : no_argument};
        if (table[i].value) status = osv_option_set(&table[i], table[i].value, values, e);
    }
    if (!status) status = parse_argv(table, names, argc, argv, values, operands, e);
    free(names);
    return status;
}

int osv_options_parse(const osv_option *table, int argc, char **argv, void *values, osv_error *e)
{
    return parse(table, argc, argv, values, &(operand_list){NULL, 0}, e);
}

int osv_options_parse_operands(const osv_option *table, int argc, char **argv, void *values,
                               const char **operand, int *operands, osv_error *e)
{
    operand_list list = {operand, 0};
    int status = parse(table, argc, argv, values, &list, e);
    *operands = list.count;
    return status;
}

const osv_option *osv_options_find(const osv_option *table, const char *name)
{
    for (const osv_option *o = table; o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
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
