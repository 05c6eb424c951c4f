#include "tools/eval_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "tools/program.h"
#include "tools/text.h"

void eval_count(eval_row *row, const eval_result *result, const eval_options *o)
{
    const eval_set *s = result->set;
    for (int k = 0; k < o->scales; k++) {
        row[k] = (eval_row){.control = s->control, .scale = o->scale[k], .n = s->prompts->count};
        for (int i = 0; i < s->prompts->count; i++) {
            const eval_answer *a = &result->answer[i * (1 + o->scales)];
            bool unsteered = eval_unsteered_counts(s, i, a, (eval_match)o->match);
            row[k].unsteered += unsteered;
            row[k].steered += unsteered && eval_steered_counts(s, i, a + 1 + k, (eval_match)o->match);
        }
        row[k].share = eval_wilson(row[k].steered, row[k].n);
    }
}

static const char *name_of(bool control)
{
    return control ? "control" : "flip";
}

void eval_table_print(const eval_row *row, int rows, const eval_options *o)
{
    bool color = osv_program_color();
    const char *bold = color ? "\033[1m" : "", *plain = color ? "\033[0m" : "";
    printf("%s%-8s %8s %6s %10s %8s %8s   %s%s\n", bold, "set", "scale", "n", "unsteered", "steered",
           "percent", "95 % interval", plain);
    for (int i = 0; i < rows; i++)
        printf("%-8s %8g %6d %10d %8d %s%8.1f%s   %.1f to %.1f\n", name_of(row[i].control), row[i].scale,
               row[i].n, row[i].unsteered, row[i].steered, bold, row[i].share.percent, plain,
               row[i].share.low, row[i].share.high);
    if (o->prompts) printf("flip: the answer changed as expected; steered counts these, percent is of n\n");
    if (o->control) printf("control: the right answer stayed; steered counts these, percent is of n\n");
}

int eval_table_csv(const eval_row *row, int rows, const char *path, osv_error *e)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *f = open_memstream(&text, &bytes);
    if (!f) return OSV_FAIL(e, OSV_DEVICE, "out of memory for the table");
    fputs("set,scale,n,unsteered,steered,percent,low,high\n", f);
    for (int i = 0; i < rows; i++)
        fprintf(f, "%s,%g,%d,%d,%d,%.2f,%.2f,%.2f\n", name_of(row[i].control), row[i].scale, row[i].n,
                row[i].unsteered, row[i].steered, row[i].share.percent, row[i].share.low, row[i].share.high);
    int status = fclose(f) ? OSV_FAIL(e, OSV_DEVICE, "out of memory for the table") : OSV_OK;
    if (!status)
        status = strcmp(path, "-") == 0 ? osv_program_write(text, bytes, e)
                                        : osv_file_write(path, &(osv_piece){text, bytes}, 1, e);
    free(text);
    return status;
}

/* ---- JSON ---- */

static json_t *answer_json(const eval_answer *a)
{
    return a->text ? json_stringn(a->text, a->bytes) : json_integer(a->choice);
}

static json_t *answers_json(const eval_result *result, const eval_options *o)
{
    const eval_set *s = result->set;
    json_t *all = json_array();
    for (int i = 0; i < s->prompts->count; i++) {
        const eval_answer *a = &result->answer[i * (1 + o->scales)];
        bool unsteered = eval_unsteered_counts(s, i, a, (eval_match)o->match);
        json_t *steered = json_array();
        for (int k = 0; k < o->scales; k++)
            json_array_append_new(
                steered, json_pack("{s:f, s:o, s:b}", "scale", o->scale[k], "answer", answer_json(a + 1 + k),
                                   s->control ? "kept" : "flipped",
                                   unsteered && eval_steered_counts(s, i, a + 1 + k, (eval_match)o->match)));
        json_array_append_new(all, json_pack("{s:s, s:o, s:o, s:o, s:b, s:o}", "set", name_of(s->control),
                                             "id", osv_text_json(s->prompts->line[i].id), "prompt",
                                             osv_text_json(s->prompts->line[i].text), "unsteered",
                                             answer_json(a), "counts", unsteered, "steered", steered));
    }
    return all;
}

int eval_table_json(const eval_row *row, int rows, const eval_result *result, int results,
                    const eval_options *o, const char *model, osv_error *e)
{
    static const char *const by[] = {"text", "choice"}, *const match[] = {"exact", "prefix", "contains"};
    json_t *table = json_array(), *answers = json_array(), *vectors = json_array();
    for (int i = 0; i < rows; i++)
        json_array_append_new(table, json_pack("{s:s, s:f, s:i, s:i, s:i, s:f, s:f, s:f}", "set",
                                               name_of(row[i].control), "scale", row[i].scale, "n", row[i].n,
                                               "unsteered", row[i].unsteered, "steered", row[i].steered,
                                               "percent", row[i].share.percent, "low", row[i].share.low,
                                               "high", row[i].share.high));
    for (int i = 0; i < results; i++) {
        json_t *of_set = answers_json(&result[i], o);
        json_array_extend(answers, of_set);
        json_decref(of_set);
    }
    for (int i = 0; i < o->steering.vector.count; i++)
        json_array_append_new(vectors, osv_text_json(o->steering.vector.item[i]));
    json_t *all = json_pack("{s:o, s:o, s:s, s:o, s:o, s:o}", "model", osv_text_json(model), "vectors",
                            vectors, "by", by[o->by], "match",
                            o->by == EVAL_BY_TEXT ? json_string(match[o->match]) : json_null(), "table",
                            table, "answers", answers);
    char *dump = all ? json_dumps(all, JSON_REAL_PRECISION(9)) : NULL;
    int status = dump ? osv_program_write(dump, strlen(dump), e)
                      : OSV_FAIL(e, OSV_DEVICE, "out of memory for the results");
    if (!status) status = osv_program_write("\n", 1, e);
    free(dump);
    json_decref(all);
    return status;
}
