/* The tree of tokenizer.json -> struct osv_tokenizer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/json.h"
#include "loader/tokenizer/parts.h"

#define WHERE 512
#define TEXT  -1 /* place of the text in the template */

static int add_template(osv_tokenizer *t, int id, osv_error *e)
{
    void *ids = t->template_ids;
    OSV_TRY(osv_tok_grow(&ids, sizeof *t->template_ids, t->template_count, 1, &t->template_room, e));
    t->template_ids = ids;
    t->template_ids[t->template_count++] = id;
    return OSV_OK;
}

/* The ids of a special token that the template names. */
static int add_special(osv_tokenizer *t, const json_t *post, const char *name, const char *where,
                       osv_error *e)
{
    char shown[64];
    const json_t *ids =
        json_object_get(json_object_get(json_object_get(post, "special_tokens"), name), "ids");
    osv_tok_show(name, strlen(name), shown);
    if (!json_is_array(ids))
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: the template names \"%s\", but \"special_tokens\" has no ids for it", where,
                        shown);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *value = json_array_get(ids, i);
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || (size_t)id >= t->vocab.size || t->vocab.pieces[id].bytes < 0)
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: special token \"%s\" has an id that is not in the vocabulary", where, shown);
        OSV_TRY(add_template(t, (int)id, e));
    }
    return OSV_OK;
}

static int read_template(osv_tokenizer *t, const json_t *post, const char *where, osv_error *e)
{
    const json_t *single = json_object_get(post, "single");
    if (!json_is_array(single)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"single\" must be an array", where);
    if (t->template_count)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: a second TemplateProcessing is not supported", where);
    int texts = 0;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const char *special = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        const char *sequence = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        if (special) {
            OSV_TRY(add_special(t, post, special, where, e));
        } else if (sequence && strcmp(sequence, "A") == 0) {
            OSV_TRY(add_template(t, TEXT, e));
            texts++;
        } else {
            char shown[64];
            return OSV_FAIL(e, OSV_BAD_INPUT,
                            "%s: single[%zu] must be a SpecialToken or the Sequence A, not %s", where, i,
                            osv_json_show(item, shown, sizeof shown));
        }
    }
    if (texts != 1)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"single\" has the text %d times, expected once", where,
                        texts);
    return OSV_OK;
}

int osv_tok_read_ends(osv_tokenizer *t, const char *bos, const char *eos, osv_error *e)
{
    const char *const end[2] = {bos, eos};
    int id[2] = {-1, -1};
    char shown[64];
    if (!bos && !eos) return OSV_OK;
    for (int k = 0; k < 2; k++) {
        if (!end[k]) continue;
        size_t bytes = strlen(end[k]);
        uint64_t hash = osv_tok_hash(end[k], bytes);
        id[k] = osv_tok_table_find(&t->vocab.added, &t->vocab, end[k], bytes, hash);
        if (id[k] < 0) id[k] = osv_tok_table_find(&t->vocab.model, &t->vocab, end[k], bytes, hash);
        if (id[k] < 0)
            return OSV_FAIL(e, OSV_BAD_INPUT, "%s: %s \"%s\" is not in the vocabulary", t->path,
                            k ? "eos_token" : "bos_token", osv_tok_show(end[k], bytes, shown));
    }
    if (bos) OSV_TRY(add_template(t, id[0], e));
    OSV_TRY(add_template(t, TEXT, e));
    return eos ? add_template(t, id[1], e) : OSV_OK;
}

static int read_post(osv_tokenizer *t, const json_t *post, const char *where, osv_error *e)
{
    if (!post || json_is_null(post)) return OSV_OK;
    char shown[64], place[WHERE];
    const char *type;
    if (!json_is_object(post)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be an object or null", where);
    OSV_TRY(osv_json_string(post, "type", true, &type, where, e));
    if (strcmp(type, "ByteLevel") == 0) return OSV_OK; /* changes offsets only */
    if (strcmp(type, "TemplateProcessing") == 0) return read_template(t, post, where, e);
    if (strcmp(type, "Sequence") != 0)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: post-processor \"%s\" is not supported (supported: TemplateProcessing, ByteLevel, Sequence)",
            where, osv_tok_show(type, strlen(type), shown));
    const json_t *list = json_object_get(post, "processors");
    if (!json_is_array(list)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"processors\" must be an array", where);
    for (size_t i = 0; i < json_array_size(list); i++) {
        snprintf(place, sizeof place, "%s.processors[%zu]", where, i);
        OSV_TRY(read_post(t, json_array_get(list, i), place, e));
    }
    return OSV_OK;
}

static int read_model(osv_tokenizer *t, const json_t *root, osv_error *e)
{
    char where[WHERE], shown[64];
    snprintf(where, sizeof where, "%s: model", t->path);
    const json_t *model = json_object_get(root, "model");
    if (!json_is_object(model)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"model\" must be an object", t->path);
    const char *type = json_object_get(model, "merges") ? "BPE" : "(no type)"; /* early files leave it out */
    OSV_TRY(osv_json_string(model, "type", false, &type, where, e));
    if (strcmp(type, "BPE") != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: model type \"%s\" is not supported, expected BPE", where,
                        osv_tok_show(type, strlen(type), shown));
    snprintf(where, sizeof where, "%s: model.vocab", t->path);
    if (t->vocab.size == 0) /* no pieces from a file that is not JSON */
        OSV_TRY(osv_tok_vocab_read(&t->vocab, json_object_get(model, "vocab"), where, e));
    snprintf(where, sizeof where, "%s: model", t->path);
    return osv_tok_bpe_read(t, model, where, e);
}

int osv_tok_read(osv_tokenizer *t, const json_t *root, osv_error *e)
{
    char where[WHERE];
    const char *version = "1.0";
    if (!json_is_object(root)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be a JSON object", t->path);
    OSV_TRY(osv_json_string(root, "version", false, &version, t->path, e));
    if (strcmp(version, "1.0") != 0)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"version\" must be \"1.0\"", t->path);
    OSV_TRY(read_model(t, root, e));
    snprintf(where, sizeof where, "%s: normalizer", t->path);
    OSV_TRY(osv_tok_read_normalizers(t, json_object_get(root, "normalizer"), where, e));
    snprintf(where, sizeof where, "%s: pre_tokenizer", t->path);
    OSV_TRY(osv_tok_read_splitters(t, json_object_get(root, "pre_tokenizer"), where, e));
    snprintf(where, sizeof where, "%s: added_tokens",
             t->path); /* after the normalizers, which apply to them */
    OSV_TRY(osv_tok_added_read(t, json_object_get(root, "added_tokens"), where, e));
    snprintf(where, sizeof where, "%s: post_processor", t->path);
    OSV_TRY(read_post(t, json_object_get(root, "post_processor"), where, e));
    snprintf(where, sizeof where, "%s: decoder", t->path);
    return osv_tok_read_decoders(t, json_object_get(root, "decoder"), where, e);
}
