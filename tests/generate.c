/* Parts of osv-generate: text that comes token by token, vector files for use, stop ids, prompts, options;
 * and generation from ids: stop tokens, packing, sampling. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "files.h"
#include "kernels/comm.h"
#include "loader/checkpoint.h"
#include "loader/file.h"
#include "loader/prompts.h"
#include "loader/safetensors.h"
#include "loader/stop_ids.h"
#include "optim/generate.h"
#include "optim/vector_file.h"
#include "tools/generate_options.h"
#include "tools/text_stream.h"

static unsigned state = 1;

static unsigned draw(unsigned below)
{
    state = state * 1664525u + 1013904223u;
    return (unsigned)(((unsigned long long)state * below) >> 32);
}

/* ---- text_stream ---- */

typedef struct {
    const osv_tokenizer *t;
    int size;
    int bytes[256], byte_count; /* ids of byte tokens and of pieces that are parts of characters */
} vocabulary;

/* A token: half of them bytes, so that characters come in parts, whole, broken, and in long runs. */
static int draw_id(const vocabulary *v, bool mostly_bytes)
{
    return v->byte_count && draw(4) < (mostly_bytes ? 3u : 1u) ? v->bytes[draw((unsigned)v->byte_count)]
                                                               : (int)draw((unsigned)v->size);
}

static void find_bytes(vocabulary *v)
{
    osv_error e = {0};
    for (int id = 0; id < v->size && v->byte_count < 256; id++) {
        char *text;
        size_t bytes;
        cr_assert_eq(osv_tokenizer_decode(v->t, &id, 1, true, &text, &bytes, &e), OSV_OK, "%s", e.text);
        const char *piece = osv_tokenizer_piece(v->t, id);
        if (strstr(text, "\xef\xbf\xbd") || (piece && strncmp(piece, "<0x", 3) == 0))
            v->bytes[v->byte_count++] = id;
        free(text);
    }
}

static void check_stream(const char *name, const vocabulary *v, int prompt, int more, bool mostly_bytes)
{
    enum { MOST = 400 };
    int ids[MOST];
    osv_error e = {0};
    for (int i = 0; i < prompt + more; i++) ids[i] = draw_id(v, mostly_bytes);
    char *whole, *together = calloc(1, 1);
    size_t whole_bytes, bytes, used = 0;
    const char *text;
    text_stream s;
    cr_assert_eq(text_of_continuation(&whole, &whole_bytes, v->t, ids, prompt, ids + prompt, more, &e),
                 OSV_OK);
    cr_assert_eq(text_stream_open(&s, v->t, ids, prompt, &e), OSV_OK);
    for (int i = 0; i <= more; i++) {
        int status = i < more ? text_stream_push(&s, ids[prompt + i], &text, &bytes, &e)
                              : text_stream_end(&s, &text, &bytes, &e);
        cr_assert_eq(status, OSV_OK, "%s", e.text);
        cr_assert_eq(osv_utf8_check(text, bytes), bytes, "%s: half a character", name);
        together = realloc(together, used + bytes + 1);
        memcpy(together + used, text, bytes);
        used += bytes;
        together[used] = '\0';
    }
    cr_assert(used == whole_bytes && memcmp(together, whole, used) == 0, "%s: \"%s\", at once \"%s\"", name,
              together, whole);
    /* and what is decoded at once is the end of the text of prompt and continuation together */
    char *all;
    cr_assert_eq(osv_tokenizer_decode(v->t, ids, prompt + more, true, &all, &bytes, &e), OSV_OK);
    cr_assert(bytes >= whole_bytes && memcmp(all + bytes - whole_bytes, whole, whole_bytes) == 0);
    text_stream_close(&s);
    free(all);
    free(whole);
    free(together);
}

Test(generate, text_token_by_token_equals_text_at_once)
{
    static const char *const dirs[] = {"tokenizer/llama2", "tokenizer/llama3",    "tokenizer/gpt2",
                                       "tokenizer/gemma",  "tokenizer/metaspace", "../../organisms/llama-2m"};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char path[512];
        osv_error e = {0};
        osv_tokenizer *t;
        snprintf(path, sizeof path, "%s/%s", OSV_GOLDEN, dirs[i]);
        cr_assert_eq(osv_tokenizer_open(&t, path, &e), OSV_OK, "%s", e.text);
        vocabulary v = {.t = t, .size = osv_tokenizer_size(t)};
        find_bytes(&v);
        for (int k = 0; k < 120; k++)
            check_stream(dirs[i], &v, 1 + (int)draw(12), (int)draw(k % 10 ? 40 : 200), k % 2);
        osv_tokenizer_close(t);
    }
}

static osv_ids encode(const osv_tokenizer *t, const char *text)
{
    osv_ids ids = {0};
    osv_error e = {0};
    cr_assert_eq(osv_tokenizer_encode_continuation(t, text, strlen(text), &ids, &e), OSV_OK, "%s", e.text);
    return ids;
}

/* A character of four byte tokens comes out with its last one, and text that cannot become a character comes
 * out at once. */
Test(generate, characters_come_out_whole)
{
    osv_error e = {0};
    osv_tokenizer *t;
    cr_assert_eq(osv_tokenizer_open(&t, OSV_GOLDEN "/../../organisms/llama-2m", &e), OSV_OK, "%s", e.text);
    osv_ids prompt = encode(t, "The"),
            ids = encode(t, " a\xf0\x9f\x99\x82"); /* U+1F642: four bytes, no piece */
    cr_assert_eq(ids.count, 5);
    static const char *const expected[] = {" a", "", "", "", "\xf0\x9f\x99\x82"};
    text_stream s;
    cr_assert_eq(text_stream_open(&s, t, prompt.data, prompt.count, &e), OSV_OK);
    for (int i = 0; i < ids.count; i++) {
        const char *text;
        size_t bytes;
        cr_assert_eq(text_stream_push(&s, ids.data[i], &text, &bytes, &e), OSV_OK);
        cr_assert(bytes == strlen(expected[i]) && memcmp(text, expected[i], bytes) == 0, "piece %d", i);
    }
    text_stream_close(&s);
    char *text;
    size_t bytes;
    cr_assert_eq(text_of_continuation(&text, &bytes, t, prompt.data, prompt.count, ids.data, 3, &e), OSV_OK);
    cr_assert_str_eq(text, " a\xef\xbf\xbd", "half a character at the very end is U+FFFD");
    free(text);
    osv_ids_free(&prompt);
    osv_ids_free(&ids);
    osv_tokenizer_close(t);
}

/* ---- vector files ---- */

static const float numbers[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* To add a case: names of tensors ("" ends), their length, metadata, and what the message must say, or NULL
 * with the layers that are found. */
static const struct {
    const char *tensor[3];
    int length;
    osv_metadata metadata[4];
    const char *piece;
    int layers, layer[3];
} vector_files[] = {
    {{"vector"}, 4, {{"site", "block_input:12"}}, NULL, 1, {12}},
    {{"vector"}, 4, {{"format", "pt"}}, NULL, 1, {-1}},
    {{"vector"}, 4, {{"site", "block_input:1,3,7"}}, NULL, 3, {1, 3, 7}},
    {{"vector.1", "vector.3"}, 2, {{"site", "block_input:1,3"}}, NULL, 2, {1, 3}},
    {{"vector"}, 4, {{"apply", "clamp"}, {"clamp", "0.5"}}, NULL, 1, {-1}},
    {{"vector"}, 4, {{"apply", "ablate"}}, NULL, 1, {-1}},
    {{"other"}, 4, {{"site", "block_input:1"}}, "has no tensor \"vector.1\"", 0, {0}},
    {{"vector.1"}, 4, {{"site", "block_input:1,3"}}, "has no tensor \"vector.3\"", 0, {0}},
    {{"other"}, 4, {{"format", "pt"}}, "has no tensor \"vector\"", 0, {0}},
    {{"vector"}, 4, {{"format", "osv/2"}}, "format \"osv/2\" is not known", 0, {0}},
    {{"vector"}, 4, {{"site", "mlp:1"}}, "site \"mlp:1\" is not understood", 0, {0}},
    {{"vector"}, 4, {{"site", "block_input:"}}, "is not understood", 0, {0}},
    {{"vector"}, 4, {{"site", "block_input:3,1"}}, "is not understood", 0, {0}},
    {{"vector"}, 4, {{"site", "block_input:1x"}}, "is not understood", 0, {0}},
    {{"vector"}, 4, {{"site", "block_input:99999999999"}}, "is not understood", 0, {0}},
    {{"vector"}, 4, {{"apply", "rotate"}}, "apply \"rotate\" is not known", 0, {0}},
    {{"vector"}, 4, {{"apply", "affine"}}, "an affine map needs a tensor \"left\"", 0, {0}},
    {{"vector", "left"}, 4, {{"apply", "add"}}, "a tensor \"left\" of an affine map, but apply", 0, {0}},
    {{"vector"}, 4, {{"apply", "clamp"}, {"clamp", "1x"}}, "clamp \"1x\" is not a number", 0, {0}},
    {{"vector"}, 4, {{"apply", "clamp"}, {"clamp", "nan"}}, "clamp \"nan\" is not a number", 0, {0}},
};

Test(generate, vector_files, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof vector_files / sizeof *vector_files; i++) {
        osv_error e = {0};
        char row[32];
        const char *path = temp_path("v.safetensors");
        osv_tensor_out tensor[3];
        int tensors = 0, entries = 0;
        for (; tensors < 3 && vector_files[i].tensor[tensors]; tensors++)
            tensor[tensors] = (osv_tensor_out){.name = vector_files[i].tensor[tensors],
                                               .dtype = "F32",
                                               .rank = 1,
                                               .shape = {vector_files[i].length},
                                               .data = numbers + tensors};
        while (entries < 4 && vector_files[i].metadata[entries].key) entries++;
        cr_assert_eq(osv_safetensors_write(path, tensor, tensors, vector_files[i].metadata, entries, &e),
                     OSV_OK);
        osv_vector_file f;
        int status = osv_vector_open(&f, path, &e);
        snprintf(row, sizeof row, "row %zu", i);
        check_failure(row, status, &e, vector_files[i].piece ? OSV_BAD_INPUT : OSV_OK, vector_files[i].piece);
        if (status) continue;
        cr_expect(f.D == vector_files[i].length && f.layers == vector_files[i].layers, "%s", row);
        for (int l = 0; l < f.layers; l++) {
            const float *expected = tensors > 1 ? numbers + l : numbers;
            cr_expect(f.layer[l] == vector_files[i].layer[l], "%s", row);
            cr_expect(memcmp(f.vector + l * f.D, expected, sizeof(float) * (size_t)f.D) == 0, "%s", row);
        }
        osv_vector_free(&f);
    }
}

/* ---- stop ids ---- */

static const struct {
    const char *generation, *config; /* NULL: no such file */
    int count, ids[3];
    const char *piece;
} stops[] = {
    {"{\"eos_token_id\": 7}", "{\"eos_token_id\": 5}", 1, {7}, NULL},
    {"{\"eos_token_id\": [7, 5, 7]}", "{}", 2, {7, 5}, NULL},
    {"{\"eos_token_id\": null}", "{\"eos_token_id\": [5]}", 1, {5}, NULL},
    {NULL, "{\"eos_token_id\": 5}", 1, {5}, NULL},
    {NULL, "{}", 0, {0}, NULL},
    {"{\"eos_token_id\": [7, 100]}", "{}", 1, {7}, NULL}, /* the model has 100 rows */
    {"{\"eos_token_id\": \"</s>\"}", "{}", 0, {0}, "eos_token_id must be an id or a list of ids"},
    {"{\"eos_token_id\": [1.5]}", "{}", 0, {0}, "eos_token_id must be"},
    {"{", "{}", 0, {0}, "generation_config.json:1:"},
};

Test(generate, stop_ids, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        osv_error e = {0};
        osv_ids ids = {0};
        char row[32];
        remove(temp_path("generation_config.json"));
        if (stops[i].generation) temp_text("generation_config.json", stops[i].generation);
        char dir[512];
        snprintf(dir, sizeof dir, "%s", temp_text("config.json", stops[i].config));
        *strrchr(dir, '/') = '\0';
        int status = osv_stop_ids_read(&ids, dir, 100, &e);
        snprintf(row, sizeof row, "row %zu", i);
        check_failure(row, status, &e, stops[i].piece ? OSV_BAD_INPUT : OSV_OK, stops[i].piece);
        if (!status)
            cr_expect(
                ids.count == stops[i].count &&
                    (ids.count == 0 || memcmp(ids.data, stops[i].ids, sizeof(int) * (size_t)ids.count) == 0),
                "%s", row);
        osv_ids_free(&ids);
    }
}

Test(generate, end_of_turn, .init = temp_open, .fini = temp_close)
{
    static const struct {
        const char *format, *end;
    } ends[] = {
        {"raw", ""},
        {"llama2", "</s>"},
        {"mistral", "</s>"},
        {"llama3", "<|eot_id|>"},
        {"llama3.1", "<|eot_id|>"},
        {"gemma", "<end_of_turn>"},
        {"chatml", "<|im_end|>"},
        {"organism", "<|end|>"},
    };
    char dir[512];
    snprintf(dir, sizeof dir, "%s",
             temp_text("tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}"));
    *strrchr(dir, '/') = '\0';
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        osv_error e = {0};
        osv_chat *c;
        cr_assert_eq(osv_chat_open(&c, dir, ends[i].format, &e), OSV_OK, "%s", e.text);
        cr_expect_str_eq(osv_chat_end_of_turn(c), ends[i].end, "%s: \"%s\"", ends[i].format,
                         osv_chat_end_of_turn(c));
        osv_chat_close(c);
    }
}

/* ---- options ---- */

static int parse(generate_options *o, const char *line, osv_error *e)
{
    static char text[512];
    static char *argv[100];
    int argc = 0;
    argv[argc++] = "osv-generate";
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word && argc < 99; word = strtok(NULL, " ")) argv[argc++] = word;
    argv[argc] = NULL;
    return generate_options_parse(o, argc, argv, e);
}

static const struct {
    const char *line, *piece; /* NULL: taken */
} options[] = {
    {"--model m --prompt p", NULL},
    {"--model m --prompts - --vector a:1 --vector b --vector c:-2.5e1", NULL},
    {"--model m --prompt p --apply clamp:-0.5 --positions prompt:-3:", NULL},
    {"--model m --prompt p --apply ablate --positions completion:2:5", NULL},
    {"--help", NULL},
    {"--prompt p", "--model is missing"},
    {"--model m", "no prompt: give --prompt or --prompts"},
    {"--model m --prompt p --prompts f", "both --prompt and --prompts"},
    {"--model m --prompt p --apply clamp:", "--apply clamp:: must be add, add-norm, clamp, clamp:C"},
    {"--model m --prompt p --apply clamp:inf", "must be add"},
    {"--model m --prompt p --apply rotate", "must be add"},
    {"--model m --prompt p --positions all:-3:", "counts from the end of a text that is still being written"},
    {"--model m --prompt p --positions completion:-1", "counts from the end"},
    {"--model m --prompt p --positions last", "is no position"},
    {"--model m --prompt p --vector v --layer 3", NULL},
    {"--model m --prompt p --layer 3", "--layer 3: there is no vector to enter there; give --vector"},
    {"--model m --prompt p --temperature -1", "--temperature -1: must be"},
    {"--model m --prompt p --top-p 0", "--top-p 0: must be a number above 0"},
    {"--model m --prompt p --max-tokens 0", "--max-tokens 0: must be a whole number"},
    {"--model m --prompt p --samples 2", "they would all be the same"},
};

Test(generate, options)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        generate_options o;
        osv_error e = {0};
        int status = parse(&o, options[i].line, &e);
        check_failure(options[i].line, status, &e, options[i].piece ? OSV_USAGE : OSV_OK, options[i].piece);
    }
    generate_options o;
    osv_error e = {0};
    char line[512] = "--model m --prompt p";
    for (int i = 0; i < 33; i++) strcat(line, " --vector v");
    check_failure("33 vectors", parse(&o, line, &e), &e, OSV_USAGE, "more than 32 times");
}

/* ---- generation on ids ---- */

typedef struct {
    osv_error error;
    osv_ops *ops;
    osv_comm *comm;
    osv_model model;
    osv_checkpoint *checkpoint;
} opened;

static void open_model(opened *o, const char *name)
{
    char dir[512];
    memset(o, 0, sizeof *o);
    snprintf(dir, sizeof dir, "%s/models/%s", OSV_GOLDEN, name);
    cr_assert_eq(osv_cpu_open(&o->ops, OSV_DTYPE_F32, 1, &o->error), OSV_OK);
    cr_assert_eq(osv_comm_self_open(&o->comm, &o->error), OSV_OK);
    cr_assert_eq(osv_checkpoint_open(&o->checkpoint, &o->model, dir, 0, 1, &o->error), OSV_OK, "%s",
                 o->error.text);
    cr_assert_eq(osv_model_place(&o->model, o->ops), OSV_OK);
}

static void close_model(opened *o)
{
    osv_model_free(&o->model);
    o->ops->close(o->ops);
    osv_checkpoint_close(o->checkpoint);
    o->comm->close(o->comm);
}

enum { PROMPTS = 5, MORE = 12, SAMPLES = 3 };

typedef struct {
    int count[PROMPTS * SAMPLES], ids[PROMPTS * SAMPLES][MORE];
    osv_text_end end[PROMPTS * SAMPLES];
    double logprob[PROMPTS * SAMPLES], summed[PROMPTS * SAMPLES];
    int samples;
} texts;

static int on_token(void *context, int prompt, int sample, int id, double logprob, osv_error *e)
{
    texts *t = context;
    (void)id, (void)e;
    t->summed[prompt * t->samples + sample] += logprob;
    return OSV_OK;
}

static int on_text(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                   osv_text_end end, osv_error *e)
{
    texts *t = context;
    int i = prompt * t->samples + sample;
    (void)e;
    t->count[i] = count;
    t->end[i] = end;
    t->logprob[i] = logprob;
    memcpy(t->ids[i], ids, (size_t)count * sizeof *ids);
    return OSV_OK;
}

static void generate(opened *o, texts *t, osv_generation g)
{
    static const int id[PROMPTS][8] = {
        {5, 9, 200, 31, 7}, {5, 9, 200, 31, 7, 8}, {5, 9, 100}, {42}, {5, 9, 200, 31, 7}};
    static const int count[PROMPTS] = {5, 6, 3, 1, 5};
    static const uint32_t unsteered[8 + MORE];
    osv_generation_prompt prompt[PROMPTS];
    for (int i = 0; i < PROMPTS; i++) prompt[i] = (osv_generation_prompt){count[i], id[i], unsteered};
    *t = (texts){.samples = g.samples};
    g.ops = o->ops;
    g.comm = o->comm;
    g.model = &o->model;
    g.prompt = prompt;
    g.prompts = PROMPTS;
    g.max_tokens = MORE;
    if (g.top_p == 0) g.top_p = 1;
    g.observer = (osv_text_observer){.context = t, .token = on_token, .text = on_text};
    cr_assert_eq(osv_generate(&g), OSV_OK, "%s", o->error.text);
}

/* A text ends before the first of the stop ids, which counts in its logprob; other texts are as before. */
Test(generate, stop_ids_end_texts)
{
    static opened o;
    static texts free_running, stopped;
    open_model(&o, "llama-tiny");
    generate(&o, &free_running, (osv_generation){.samples = 1});
    for (int i = 0; i < PROMPTS; i++)
        cr_expect(free_running.end[i] == OSV_TEXT_MAX_TOKENS && free_running.count[i] == MORE);
    for (int at = 0; at < MORE; at += 3) {
        const int eos[] = {316, free_running.ids[0][at], free_running.ids[3][at]};
        generate(&o, &stopped, (osv_generation){.samples = 1, .eos = eos, .eos_count = 3});
        for (int i = 0; i < PROMPTS; i++) {
            int expected = 0;
            while (expected < MORE && free_running.ids[i][expected] != eos[0] &&
                   free_running.ids[i][expected] != eos[1] && free_running.ids[i][expected] != eos[2])
                expected++;
            cr_expect_eq(stopped.count[i], expected);
            cr_expect_eq(stopped.end[i], expected < MORE ? OSV_TEXT_EOS : OSV_TEXT_MAX_TOKENS);
            cr_expect(memcmp(stopped.ids[i], free_running.ids[i], sizeof(int) * (size_t)expected) == 0);
            if (expected < MORE)
                cr_expect(stopped.logprob[i] < stopped.summed[i], "the stop token's logprob is counted");
            else
                cr_expect(fabs(stopped.logprob[i] - stopped.summed[i]) <= 1e-6 * fabs(stopped.summed[i]));
        }
    }
    close_model(&o);
}

/* Packed together, two at a time, one by one: the same texts, greedy and drawn. */
static void check_packing(const char *model, osv_generation g)
{
    static opened o;
    static texts packed, pairs, single;
    open_model(&o, model);
    generate(&o, &packed, g);
    g.most_streams = 2;
    generate(&o, &pairs, g);
    g.most_streams = 1;
    generate(&o, &single, g);
    for (int i = 0; i < PROMPTS * g.samples; i++) {
        cr_expect(memcmp(packed.ids[i], single.ids[i], sizeof packed.ids[i]) == 0, "%s, text %d", model, i);
        cr_expect(memcmp(packed.ids[i], pairs.ids[i], sizeof packed.ids[i]) == 0, "%s, text %d", model, i);
        cr_expect(fabs(packed.logprob[i] - single.logprob[i]) <= 1e-4 * fabs(single.logprob[i]));
    }
    close_model(&o);
}

Test(generate, packing_changes_no_text)
{
    check_packing("llama-tiny", (osv_generation){.samples = 1});
    check_packing("gemma2-tiny", (osv_generation){.samples = 1});
    check_packing("llama-tiny", (osv_generation){.samples = SAMPLES, .temperature = 0.8, .seed = 11});
    check_packing(
        "gemma2-tiny",
        (osv_generation){.samples = SAMPLES, .temperature = 1.5, .top_k = 40, .top_p = 0.9, .seed = 3});
}

Test(generate, seeds_and_samples_differ)
{
    static opened o;
    static texts a, b, again, narrow, greedy;
    open_model(&o, "llama-tiny");
    osv_generation g = {.samples = SAMPLES, .temperature = 1, .seed = 1};
    generate(&o, &a, g);
    generate(&o, &again, g);
    g.seed = 2;
    generate(&o, &b, g);
    cr_expect(memcmp(a.ids, again.ids, sizeof a.ids) == 0, "the same seed, other texts");
    cr_expect(memcmp(a.ids, b.ids, sizeof a.ids) != 0, "another seed, the same texts");
    cr_expect(memcmp(a.ids[0], a.ids[1], sizeof a.ids[0]) != 0, "samples of a prompt are the same");
    cr_expect(memcmp(a.ids[0], a.ids[(PROMPTS - 1) * SAMPLES], sizeof a.ids[0]) != 0,
              "prompts that are the same draw the same");
    generate(&o, &greedy, (osv_generation){.samples = 1});
    g.top_k = 1;
    generate(&o, &narrow, g);
    cr_expect(memcmp(narrow.ids[0], greedy.ids[0], sizeof greedy.ids[0]) == 0, "the best of one is greedy");
    close_model(&o);
}

static volatile sig_atomic_t asked;

static int ask_to_stop(void *context, int prompt, int sample, int id, double logprob, osv_error *e)
{
    int *tokens = context;
    (void)prompt, (void)sample, (void)id, (void)logprob, (void)e;
    if (++*tokens == 7) asked = 1;
    return OSV_OK;
}

static int count_interrupted(void *context, int prompt, int sample, const int *ids, int count, double logprob,
                             osv_text_end end, osv_error *e)
{
    int *tokens = context;
    (void)prompt, (void)sample, (void)ids, (void)count, (void)logprob, (void)e;
    tokens[1] += end == OSV_TEXT_INTERRUPTED;
    return OSV_OK;
}

Test(generate, interruption_ends_all_texts)
{
    static opened o;
    int ids[] = {5, 9}, told[2] = {0};
    uint32_t unsteered[2 + MORE] = {0};
    open_model(&o, "llama-tiny");
    osv_generation_prompt prompt[] = {{2, ids, unsteered}, {1, ids, unsteered}};
    osv_generation g = {.ops = o.ops,
                        .comm = o.comm,
                        .model = &o.model,
                        .prompt = prompt,
                        .prompts = 2,
                        .samples = 1,
                        .max_tokens = MORE,
                        .top_p = 1,
                        .observer = {told, ask_to_stop, count_interrupted},
                        .interrupted = &asked};
    cr_assert_eq(osv_generate(&g), OSV_OK, "%s", o.error.text);
    cr_expect(told[0] == 8 && told[1] == 2, "%d tokens, %d texts", told[0], told[1]);
    close_model(&o);
}
