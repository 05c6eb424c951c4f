/* vocab.json and merges.txt, as GPT-2 and Qwen 2 came: how a text is divided is up to the class. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/file.h"
#include "loader/json.h"
#include "loader/tokenizer/parts.h"

#define MERGES_LIMIT ((size_t)1 << 28)

/* The lines of merges.txt, without the version; ended by LF or CRLF. */
static int read_lines(json_t *merges, const char *text, size_t bytes, const char *path, osv_error *e)
{
    size_t bad = osv_utf8_check(text, bytes);
    if (bad < bytes) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: not UTF-8 at byte %zu", path, bad);
    for (size_t at = 0; at < bytes;) {
        const char *start = text + at, *end = memchr(start, '\n', bytes - at);
        size_t count = end ? (size_t)(end - start) : bytes - at;
        at += count + (end != NULL);
        if (count && start[count - 1] == '\r') count--;
        if (count == 0 || (count >= 8 && memcmp(start, "#version", 8) == 0)) continue;
        if (memchr(start, '\0', count)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: a NUL at byte %zu", path, at);
        if (json_array_append_new(merges, json_stringn(start, count)))
            return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the merges", path);
    }
    return OSV_OK;
}

static int read_merges(json_t *merges, const char *dir, osv_error *e)
{
    char *path, *text = NULL;
    size_t bytes;
    OSV_TRY(osv_path_join(&path, dir, "merges.txt", e));
    int status = osv_file_read(&text, &bytes, path, MERGES_LIMIT, e);
    if (!status) status = read_lines(merges, text, bytes, path, e);
    free(text);
    free(path);
    return status;
}

int osv_tok_vocab_merges_read(osv_tokenizer *t, osv_tok_class *c, json_t *root, osv_error *e)
{
    char shown[64];
    if (c->kind != OSV_TOK_CLASS_QWEN2 && c->kind != OSV_TOK_CLASS_GPT2)
        return OSV_FAIL(
            e, OSV_BAD_INPUT,
            "%s: with merges.txt the class says how a text is divided; it must be Qwen2Tokenizer or "
            "GPT2Tokenizer (\"tokenizer_class\" in tokenizer_config.json), here it is %s",
            t->path, c->name ? osv_tok_show(c->name, strlen(c->name), shown) : "not said");
    json_t *vocab, *merges = json_array();
    int status = osv_json_read(&vocab, t->path, e);
    if (!status) status = read_merges(merges, c->dir, e);
    json_t *model = status ? NULL
                           : json_pack("{s:s, s:O, s:O}", "type", "BPE", "vocab", vocab, "merges", merges);
    json_decref(vocab);
    json_decref(merges);
    if (status) return status;
    if (json_object_set_new(root, "model", model))
        return OSV_FAIL(e, OSV_DEVICE, "%s: no memory for the tokenizer's parts", t->path);
    return OSV_OK;
}
