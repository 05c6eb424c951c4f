/* Models of benchmarks on a command line: "llama-3.1-8b,llama-3.1-70b/8", where /8 is the first of 8 ranks.
 */
#ifndef OSV_BENCH_MODELS_H
#define OSV_BENCH_MODELS_H

#include "engine/model.h"

enum { BENCH_NAME = 256 };

/* The next part of a list up to a comma, which *list is moved behind; false where nothing is left. */
bool bench_next(const char **list, char *part, size_t room);

typedef struct {
    char name[BENCH_NAME]; /* as given */
    osv_config config;
    osv_shard shard;
} bench_model;

enum { BENCH_MODELS = 32 };

/* OSV_USAGE with the names where one does not exist. */
int bench_models_parse(bench_model *m, int *count, const char *list, osv_error *e);

/* "1,2,3": numbers of at least 1. `option` is for messages. */
enum { BENCH_NUMBERS = 32 };
int bench_numbers_parse(int *number, int *count, const char *list, const char *option, osv_error *e);

/* True if `list` is NULL, or names `word`. */
bool bench_listed(const char *list, const char *word);

#endif
