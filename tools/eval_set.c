#include "tools/eval_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is expected ---- */

static bool is_expected(const json_t *item, const eval_line *line, eval_by by)
{
    if (by == EVAL_BY_TEXT) return json_is_string(item);
    return json_is_integer(item) && json_integer_value(item) >= 0 && json_integer_value(item) < line->choices;
}

/* A list, or one thing without brackets, of which `made` makes a list. */
static int read_expected(json_t **out, json_t **made, const json_t *object, const char *key,
                         const eval_line *line, eval_by by, const char *where, osv_error *e)
{
    json_t *value = json_object_get(object, key);
    *out = NULL;
    if (!value || json_is_null(value)) return OSV_OK;
    if (!json_is_array(value)) {
        *made = json_pack("[O]", value);
        if (!*made) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
        value = *made;
    }
    bool good = json_array_size(value) > 0;
    for (size_t i = 0; i < json_array_size(value); i++)
        good = good && is_expected(json_array_get(value, i), line, by);
    if (!good)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        by == EVAL_BY_TEXT ? "%s: \"%s\" must be a list of texts"
                                           : "%s: \"%s\" must be an index of \"choices\", or a list of them",
                        where, key);
    *out = value;
    return OSV_OK;
}

static int keep_warning(eval_set *s, char **warning, osv_error *e)
{
    char **wider = realloc(s->warning, ((size_t)s->warnings + 1) * sizeof *wider);
    if (!wider) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    s->warning = wider;
    s->warning[s->warnings++] = *warning;
    *warning = NULL;
    return OSV_OK;
}

static int read_choice(eval_set *s, eval_choice *choice, const osv_prompt_line *p, const json_t *value,
                       const tool_model *m, const char *where, int index, osv_error *e)
{
    char what[32];
    osv_source source;
    osv_ids ids = {0};
    osv_joined joined = {0};
    const osv_prompt_options options = tool_prompt_options(m);
    snprintf(what, sizeof what, "\"choices\"[%d]", index);
    int status = osv_source_read(&source, &ids, value, &options, where, what, e);
    if (!status)
        status = osv_join(&joined, m->tokenizer, OSV_BOUNDARY_AUTO, osv_prompt_source(p), &p->ids, source,
                          where, e);
    if (!status && joined.warning) status = keep_warning(s, &joined.warning, e);
    if (!status && joined.ids.count <= joined.prompt)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s tokenizes to nothing", where, what);
    for (int i = joined.prompt; i < joined.ids.count && !status; i++)
        if (joined.ids.data[i] >= m->config.V)
            status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s: the tokenizer gives id %d, the model has only %d",
                              where, what, joined.ids.data[i], m->config.V);
    if (!status && joined.ids.count > m->config.positions)
        status = OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s: %d tokens with the prompt, the model takes at most %d",
                          where, what, joined.ids.count, m->config.positions);
    if (!status) {
        *choice = (eval_choice){joined.prompt, joined.ids};
        joined.ids = (osv_ids){0};
    }
    osv_joined_free(&joined);
    osv_ids_free(&ids);
    return status;
}

static int read_choices(eval_set *s, eval_line *line, const osv_prompt_line *p, const tool_model *m,
                        const char *where, osv_error *e)
{
    const json_t *list = json_object_get(p->json, "choices");
    size_t count = json_array_size(list);
    if (count < 2 || count > EVAL_MOST_CHOICES)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"choices\" must be a list of 2 to %d texts", where,
                        EVAL_MOST_CHOICES);
    line->choice = calloc(count, sizeof *line->choice);
    if (!line->choice) return OSV_FAIL(e, OSV_DEVICE, "%s: no memory", where);
    for (; line->choices < (int)count; line->choices++)
        OSV_TRY(read_choice(s, &line->choice[line->choices], p, json_array_get(list, (size_t)line->choices),
                            m, where, line->choices, e));
    return OSV_OK;
}

static int read_line(eval_set *s, int index, const tool_model *m, const eval_options *o, osv_error *e)
{
    const osv_prompt_line *p = &s->prompts->line[index];
    eval_line *line = &s->line[index];
    char where[512];
    tool_prompt_where(where, sizeof where, s->file, p);
    eval_by by = (eval_by)o->by;
    if (by == EVAL_BY_CHOICE) OSV_TRY(read_choices(s, line, p, m, where, e));
    OSV_TRY(read_expected(&line->before, &line->made[0], p->json, "before", line, by, where, e));
    OSV_TRY(read_expected(&line->after, &line->made[1], p->json, "after", line, by, where, e));
    if (s->control && !line->before)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"before\" is missing: the right answer of a control prompt",
                        where);
    if (!s->control && !line->after)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: \"after\" is missing: the answer that the vectors should cause", where);
    return OSV_OK;
}

int eval_set_open(eval_set *s, const tool_model *m, const char *file, bool control, const eval_options *o,
                  osv_error *e)
{
    *s = (eval_set){.control = control, .file = file};
    OSV_TRY(tool_prompts_read(&s->prompts, m, file, NULL, e));
    if (o->by == EVAL_BY_TEXT && !m->tokenizer)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: answers are text, but there is no tokenizer (%s); use --by choice", file,
                        m->error_of_tokenizer.text);
    if (o->by == EVAL_BY_TEXT) OSV_TRY(tool_prompts_check(s->prompts, m, file, o->max_tokens, e));
    s->line = calloc((size_t)s->prompts->count, sizeof *s->line);
    if (!s->line) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    for (int i = 0; i < s->prompts->count; i++) OSV_TRY(read_line(s, i, m, o, e));
    return OSV_OK;
}

void eval_set_close(eval_set *s)
{
    for (int i = 0; s->line && i < s->prompts->count; i++) {
        eval_line *line = &s->line[i];
        for (int c = 0; c < line->choices; c++) osv_ids_free(&line->choice[c].ids);
        free(line->choice);
        json_decref(line->made[0]);
        json_decref(line->made[1]);
    }
    for (int i = 0; i < s->warnings; i++) free(s->warning[i]);
    free(s->warning);
    free(s->line);
    osv_prompts_free(s->prompts);
    *s = (eval_set){0};
}

/* ---- what counts ---- */

static bool is_in(const json_t *expected, const eval_answer *a, eval_match how)
{
    if (a->text) return eval_matches_any(how, a->text, a->bytes, expected);
    for (size_t i = 0; i < json_array_size(expected); i++)
        if (json_integer_value(json_array_get(expected, i)) == a->choice) return true;
    return false;
}

bool eval_unsteered_counts(const eval_set *s, int line, const eval_answer *unsteered, eval_match how)
{
    const eval_line *l = &s->line[line];
    return l->before ? is_in(l->before, unsteered, how) : !is_in(l->after, unsteered, how);
}

bool eval_steered_counts(const eval_set *s, int line, const eval_answer *steered, eval_match how)
{
    const eval_line *l = &s->line[line];
    return is_in(s->control ? l->before : l->after, steered, how);
}
