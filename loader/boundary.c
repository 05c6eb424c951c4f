#include "loader/boundary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int append(osv_ids *to, const osv_ids *from, osv_error *e)
{
    for (int i = 0; i < from->count; i++) OSV_TRY(osv_ids_push(to, from->data[i], e));
    return OSV_OK;
}

static int encode_both(osv_ids *ids, const osv_tokenizer *t, osv_source prompt, const char *completion,
                       osv_error *e)
{
    char *both;
    int bytes = asprintf(&both, "%s%s", prompt.text, completion);
    if (bytes < 0) return OSV_FAIL(e, OSV_DEVICE, "no memory to join prompt and completion");
    int status = osv_tokenizer_encode(t, both, (size_t)bytes, !prompt.complete, ids, e);
    free(both);
    return status;
}

/* How many ids the two begin with in common. */
static int common(const osv_ids *a, const osv_ids *b)
{
    int n = 0;
    while (n < a->count && n < b->count && a->data[n] == b->data[n]) n++;
    return n;
}

/* Index of the token of `joint` that holds the prompt's last byte and goes on behind it: the first with which
 * the text decoded so far is longer than the prompt's. Tokens before `from` are the prompt's own. */
static int crossing(const osv_tokenizer *t, const osv_ids *joint, const osv_ids *prompt, int from)
{
    osv_error ignored = {0}; /* the search serves a warning only */
    char *text;
    size_t limit, bytes;
    if (osv_tokenizer_decode(t, prompt->data, prompt->count, true, &text, &limit, &ignored)) return from;
    free(text);
    for (int i = from; i < joint->count; i++) {
        if (osv_tokenizer_decode(t, joint->data, i + 1, true, &text, &bytes, &ignored)) return from;
        free(text);
        if (bytes > limit) return i;
    }
    return from;
}

static int warn(char **warning, const osv_tokenizer *t, const osv_ids *joint, const osv_ids *prompt, int from,
                const char *where, osv_error *e)
{
    int at = crossing(t, joint, prompt, from);
    int id = at < joint->count ? joint->data[at] : -1;
    const char *piece = id < 0 ? NULL : osv_tokenizer_piece(t, id);
    if (asprintf(warning,
                 "%s: token \"%s\" (%d) crosses the boundary of prompt and completion; the completion is "
                 "tokenized as "
                 "a continuation",
                 where, piece ? piece : "?", id) < 0) {
        *warning = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for a warning", where);
    }
    return OSV_OK;
}

static int join(osv_joined *out, const osv_tokenizer *t, osv_boundary boundary, osv_source prompt,
                const osv_ids *prompt_ids, osv_source completion, const char *where, osv_error *e)
{
    out->prompt = prompt_ids->count;
    bool both_text = prompt.text && completion.text;
    if (both_text && boundary != OSV_BOUNDARY_APART) {
        OSV_TRY(encode_both(&out->ids, t, prompt, completion.text, e));
        int same = common(&out->ids, prompt_ids);
        if (boundary == OSV_BOUNDARY_JOINT || same == prompt_ids->count) return OSV_OK;
        OSV_TRY(warn(&out->warning, t, &out->ids, prompt_ids, same, where, e));
        out->ids.count = 0;
    }
    OSV_TRY(append(&out->ids, prompt_ids, e));
    if (!completion.text) return append(&out->ids, completion.ids, e);
    return osv_tokenizer_encode_continuation(t, completion.text, strlen(completion.text), &out->ids, e);
}

int osv_join(osv_joined *out, const osv_tokenizer *tokenizer, osv_boundary boundary, osv_source prompt,
             const osv_ids *prompt_ids, osv_source completion, const char *where, osv_error *e)
{
    *out = (osv_joined){0};
    int status = join(out, tokenizer, boundary, prompt, prompt_ids, completion, where, e);
    if (status) osv_joined_free(out);
    return status;
}

void osv_joined_free(osv_joined *j)
{
    osv_ids_free(&j->ids);
    free(j->warning);
    *j = (osv_joined){0};
}
