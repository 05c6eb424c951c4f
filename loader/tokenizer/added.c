#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/json.h"
#include "loader/tokenizer/parts.h"

/* A search walks at most this many bytes from each place of the text. */
#define CONTENT_LIMIT 4096

static int trie_add(osv_tok_trie *trie, const char *text, size_t bytes, int token, osv_error *e)
{
    int *link = &trie->root[(unsigned char)text[0]];
    for (size_t i = 0; i < bytes; i++) {
        while (*link >= 0 && trie->nodes[*link].byte != (unsigned char)text[i])
            link = &trie->nodes[*link].sibling;
        int node = *link;
        if (node < 0) {
            node = *link = (int)trie->count;
            void *nodes = trie->nodes;
            /* Moves the nodes, and with them what `link` points at, which is written already. */
            OSV_TRY(osv_tok_grow(&nodes, sizeof *trie->nodes, trie->count, 1, &trie->room, e));
            trie->nodes = nodes;
            trie->nodes[trie->count++] = (osv_tok_node){-1, -1, -1, (unsigned char)text[i]};
        }
        if (i + 1 == bytes)
            trie->nodes[node].token = token;
        else
            link = &trie->nodes[node].child;
    }
    return OSV_OK;
}

/* The longest token that starts at text[0]: its index, or -1; *length its bytes. */
static int trie_match(const osv_tok_trie *trie, const char *text, size_t bytes, size_t *length)
{
    int found = -1, node = trie->root[(unsigned char)text[0]];
    for (size_t i = 0; node >= 0;) {
        while (node >= 0 && trie->nodes[node].byte != (unsigned char)text[i])
            node = trie->nodes[node].sibling;
        if (node < 0) break;
        i++;
        if (trie->nodes[node].token >= 0) {
            found = trie->nodes[node].token;
            *length = i;
        }
        if (i == bytes) break;
        node = trie->nodes[node].child;
    }
    return found;
}

static bool inside_word(const char *text, size_t bytes, size_t start, size_t end)
{
    size_t length;
    return (start > 0 && osv_tok_is_word(osv_tok_char(text + osv_tok_before(text, start), &length))) ||
           (end < bytes && osv_tok_is_word(osv_tok_char(text + end, &length)));
}

int osv_tok_added_cut(const osv_tokenizer *t, const osv_tok_trie *trie, const char *text, osv_tok_span whole,
                      osv_tok_spans *out, osv_error *e)
{
    const char *s = text + whole.start;
    size_t bytes = whole.end - whole.start, done = 0, length = 0;
    for (size_t at = 0; trie->count && at < bytes;) {
        int index = trie_match(trie, s + at, bytes - at, &length);
        if (index < 0) {
            at++;
            continue;
        }
        const osv_tok_added *token = &t->added.tokens[index];
        size_t start = at, end = at + length, room;
        at = end;
        if (t->added.split_special && token->special) continue;
        if (token->single_word && inside_word(s, bytes, start, end)) continue;
        if (token->lstrip) {
            while (start > 0) {
                size_t before = osv_tok_before(s, start);
                if (!osv_tok_is_space(osv_tok_char(s + before, &room))) break;
                start = before;
            }
            if (start < done) start = done; /* the token before took them */
        }
        while (token->rstrip && end < bytes && osv_tok_is_space(osv_tok_char(s + end, &room))) end += room;
        if (done < start)
            OSV_TRY(
                osv_tok_span_add(out, whole.start + done, whole.start + start, -1, whole.first && !done, e));
        OSV_TRY(osv_tok_span_add(out, 0, 0, token->id, false, e));
        done = end;
    }
    return osv_tok_span_add(out, whole.start + done, whole.end, -1, whole.first && !done, e);
}

/* The id of a content, as the tokenizers library gives it: the model's if it has one, else the next free one.
 * True where the token is in the list already. */
static bool assign(osv_tokenizer *t, const char *content, size_t bytes, int *id)
{
    uint64_t hash = osv_tok_hash(content, bytes);
    *id = osv_tok_table_find(&t->vocab.added, &t->vocab, content, bytes, hash);
    if (*id >= 0) return true;
    *id = osv_tok_table_find(&t->vocab.model, &t->vocab, content, bytes, hash);
    if (*id < 0) {
        int count = (int)t->vocab.model.count;
        *id = t->added.last >= count ? t->added.last + 1 : count;
    }
    return false;
}

static int read_token(osv_tokenizer *t, const json_t *node, const char *where, osv_error *e)
{
    char shown[64];
    const char *content = NULL;
    osv_tok_added token = {0};
    int declared = -1;
    if (!json_is_object(node)) return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be an object", where);
    OSV_TRY(osv_json_string(node, "content", true, &content, where, e));
    OSV_TRY(osv_json_int(node, "id", false, 0, OSV_TOK_ID_LIMIT - 1, &declared, where, e));
    OSV_TRY(osv_json_bool(node, "special", false, &token.special, where, e));
    token.normalized = !token.special;
    OSV_TRY(osv_json_bool(node, "normalized", false, &token.normalized, where, e));
    OSV_TRY(osv_json_bool(node, "lstrip", false, &token.lstrip, where, e));
    OSV_TRY(osv_json_bool(node, "rstrip", false, &token.rstrip, where, e));
    OSV_TRY(osv_json_bool(node, "single_word", false, &token.single_word, where, e));
    size_t bytes = strlen(content);
    if (bytes == 0) return OSV_OK;
    if (bytes > CONTENT_LIMIT)
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: \"content\" has %zu bytes, at most %d are read", where, bytes,
                        CONTENT_LIMIT);
    bool again = assign(t, content, bytes, &token.id);
    if (declared >= 0 && declared != token.id)
        return OSV_FAIL(e, OSV_BAD_INPUT,
                        "%s: token \"%s\" says id %d, but its place gives %d (ids of added tokens follow the "
                        "vocabulary's "
                        "without a gap)",
                        where, osv_tok_show(content, bytes, shown), declared, token.id);
    if (again) { /* a later entry of the same token replaces its flags; what is special stays so */
        osv_tok_added *old = &t->added.tokens[t->vocab.pieces[token.id].added];
        token.special |= old->special;
        *old = token;
        return OSV_OK;
    }
    OSV_TRY(osv_tok_vocab_set(&t->vocab, token.id, content, bytes, where, e));
    OSV_TRY(osv_tok_table_put(&t->vocab.added, &t->vocab, token.id, e));
    void *tokens = t->added.tokens;
    OSV_TRY(osv_tok_grow(&tokens, sizeof token, t->added.count, 1, &t->added.room, e));
    t->added.tokens = tokens;
    t->vocab.pieces[token.id].added = (int)t->added.count;
    t->added.tokens[t->added.count++] = token;
    if (token.id > t->added.last) t->added.last = token.id;
    return OSV_OK;
}

/* What each token looks like in the text, and the two searches for them. */
static int prepare(osv_tokenizer *t, osv_tok_work *w, osv_error *e)
{
    osv_tok_added_list *list = &t->added;
    for (size_t i = 0; i < list->count; i++) {
        osv_tok_added *token = &list->tokens[i];
        const osv_tok_piece *piece = &t->vocab.pieces[token->id];
        const char *content = t->vocab.text.data + piece->offset;
        osv_tok_text match = {0};
        int status = token->normalized
                         ? osv_tok_normalize(t, w, content, (size_t)piece->bytes, !list->bare, &match, e)
                         : osv_tok_text_add(&match, content, (size_t)piece->bytes, e);
        token->match = match.data;
        token->bytes = match.bytes;
        if (status) return status;
        if (match.bytes == 0) continue; /* the normalizers leave nothing of it that a text could contain */
        OSV_TRY(
            trie_add(token->normalized ? &list->normalized : &list->raw, match.data, match.bytes, (int)i, e));
    }
    return OSV_OK;
}

int osv_tok_added_read(osv_tokenizer *t, const json_t *tokens, const char *where, osv_error *e)
{
    for (int i = 0; i < 256; i++) t->added.raw.root[i] = t->added.normalized.root[i] = -1;
    t->added.last = -1;
    if (tokens && !json_is_array(tokens) && !json_is_null(tokens))
        return OSV_FAIL(e, OSV_BAD_INPUT, "%s: must be an array", where);
    size_t count = json_array_size(tokens);
    for (size_t i = 0; i < count; i++) {
        char place[512];
        snprintf(place, sizeof place, "%s[%zu]", where, i);
        OSV_TRY(read_token(t, json_array_get(tokens, i), place, e));
    }
    osv_tok_work w = {0};
    int status = prepare(t, &w, e);
    osv_tok_work_free(&w);
    return status;
}

void osv_tok_added_free(osv_tok_added_list *list)
{
    for (size_t i = 0; i < list->count; i++) free(list->tokens[i].match);
    free(list->tokens);
    free(list->raw.nodes);
    free(list->normalized.nodes);
}
