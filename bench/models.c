#include "bench/models.h"

#include <stdio.h>
#include <string.h>

#include "loader/random_model.h"
#include "tools/options.h"

bool bench_next(const char **list, char *part, size_t room)
{
    if (!*list) return false;
    size_t length = strcspn(*list, ",");
    snprintf(part, room, "%.*s", (int)length, *list);
    *list = (*list)[length] ? *list + length + 1 : NULL;
    return true;
}

static int parse(bench_model *m, const char *text, osv_error *e)
{
    char shape[BENCH_NAME];
    int ranks = 1;
    snprintf(m->name, sizeof m->name, "%s", text);
    snprintf(shape, sizeof shape, "%s", text);
    char *slash = strchr(shape, '/');
    if (slash) {
        *slash = '\0';
        if (!osv_parse_int(slash + 1, 1, 4096, &ranks))
            return OSV_FAIL(e, OSV_USAGE, "--model %s: after / a number of ranks", text);
    }
    OSV_TRY(osv_random_config(&m->config, shape, e));
    return osv_shard_make(&m->shard, &m->config, 0, ranks, e);
}

int bench_models_parse(bench_model *m, int *count, const char *list, osv_error *e)
{
    char part[BENCH_NAME];
    for (*count = 0; bench_next(&list, part, sizeof part); ++*count) {
        if (*count == BENCH_MODELS) return OSV_FAIL(e, OSV_USAGE, "--model: more than %d", BENCH_MODELS);
        OSV_TRY(parse(&m[*count], part, e));
    }
    return OSV_OK;
}

int bench_numbers_parse(int *number, int *count, const char *list, const char *option, osv_error *e)
{
    char part[16];
    for (*count = 0; bench_next(&list, part, sizeof part); ++*count)
        if (*count == BENCH_NUMBERS || !osv_parse_int(part, 1, 1 << 20, &number[*count]))
            return OSV_FAIL(e, OSV_USAGE, "--%s %s: must be at most %d numbers, 1 or more", option, part,
                            BENCH_NUMBERS);
    return OSV_OK;
}

bool bench_listed(const char *list, const char *word)
{
    char part[BENCH_NAME];
    if (!list) return true;
    while (bench_next(&list, part, sizeof part))
        if (strcmp(part, word) == 0) return true;
    return false;
}
