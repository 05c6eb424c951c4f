#include "loader/datapoints.h"

#include <math.h>

#include "files.h"

/* ---- positions ---- */

/* To add a case: spec, tokens of the prompt, of both, and the mask, or what the message must say. */
static const struct {
    const char *spec;
    int prompt, count;
    const char *mask, *piece;
} positions[] = {
    {"all", 3, 5, "11111", NULL},
    {"prompt", 3, 5, "11100", NULL},
    {"completion", 3, 5, "00011", NULL},
    {"all:1:3", 3, 5, "01100", NULL},
    {"all:3:9", 3, 5, "00011", NULL},
    {"all:-2:", 3, 5, "00011", NULL},
    {"all:-20:", 3, 5, "11111", NULL},
    {"all::2", 3, 5, "11000", NULL},
    {"all::-1", 3, 5, "11110", NULL},
    {"all::", 3, 5, "11111", NULL},
    {"all:4:2", 3, 5, "00000", NULL},
    {"all:9:", 3, 5, "00000", NULL},
    {"all::-9", 3, 5, "00000", NULL},
    {"all:-4:-2", 3, 5, "01100", NULL},
    {"prompt:-20:", 3, 5, "11100", NULL},
    {"prompt:-2:", 3, 5, "01100", NULL},
    {"prompt:1:5", 3, 5, "01100", NULL},
    {"prompt:-1", 3, 5, "00100", NULL},
    {"prompt:0", 3, 5, "10000", NULL},
    {"completion:1:", 3, 5, "00001", NULL},
    {"completion:-1", 3, 5, "00001", NULL},
    {"completion::1", 3, 5, "00010", NULL},
    {"all:-1", 3, 5, "00001", NULL},
    {"all:99999999999999999999:", 3, 5, "00000", NULL},
    {"all:-99999999999999999999:99999999999999999999", 3, 5, "11111", NULL},
    {"prompt:3", 3, 5, NULL, "position \"prompt:3\" does not exist: it counts in 3 tokens"},
    {"prompt:-4", 3, 5, NULL, "does not exist"},
    {"all:5", 3, 5, NULL, "it counts in 5 tokens"},
    {"all:99999999999999999999", 3, 5, NULL, "does not exist"},
    {"", 3, 5, NULL, "\"\" is no position; write all, prompt or completion"},
    {"ALL", 3, 5, NULL, "is no position"},
    {"prompts", 3, 5, NULL, "is no position"},
    {"all:", 3, 5, NULL, "is no position"},
    {"all:1:2:3", 3, 5, NULL, "is no position"},
    {"all:a:", 3, 5, NULL, "is no position"},
    {"all: 1:", 3, 5, NULL, "is no position"},
    {"all:+1:", 3, 5, NULL, "is no position"},
    {"all:-:", 3, 5, NULL, "is no position"},
    {"all:1:x", 3, 5, NULL, "is no position"},
    {"1:2", 3, 5, NULL, "is no position"},
};

Test(datapoints, positions)
{
    for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
        osv_error e = {0};
        signed char mask[16] = {9, 9, 9, 9, 9, 9, 9, 9};
        int status =
            osv_positions_mask(positions[i].spec, positions[i].prompt, positions[i].count, mask, "f", &e);
        check_failure(positions[i].spec, status, &e, positions[i].mask ? OSV_OK : OSV_BAD_INPUT,
                      positions[i].piece);
        if (status || !positions[i].mask) continue;
        for (int t = 0; t < positions[i].count; t++)
            cr_expect_eq(mask[t], positions[i].mask[t] - '0', "%s: position %d", positions[i].spec, t);
        cr_expect_eq(mask[positions[i].count], 9, "%s writes beyond the mask", positions[i].spec);
    }
    osv_error e = {0};
    cr_expect_eq(osv_positions_check("prompt:-20:", "--positions", &e), OSV_OK);
    check_failure("option", osv_positions_check("here", "--positions", &e), &e, OSV_USAGE,
                  "--positions: \"here\"");
}

/* ---- files of ids: no tokenizer ---- */

static const osv_dataset_options ids_only = {
    .tokenizer_missing = "model/tokenizer.json: no such file",
    .V = 100,
    .positions = 8,
    .default_positions = "all",
    .beam_tokens = 3,
    .match_tokens = 3,
};

static int read_text(osv_dataset **d, const char *text, const osv_dataset_options *options, osv_error *e)
{
    return osv_dataset_read(d, temp_text("data.jsonl", text), options, e);
}

Test(datapoints, everything_in_its_place, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_dataset *d;
    int status = read_text(
        &d,
        "{\"id\": \"greet\", \"job\": \"a b\", \"prompt\": {\"ids\": [1, 2, 3]}, \"promote\": [{\"ids\": "
        "[4]}, {\"ids\": [5, 6]}],"
        " \"suppress\": [{\"ids\": [7, 0]}], \"promote_targets\": [0.5, null], \"suppress_targets\": [-1],"
        " \"positions\": \"all:-3:\", \"negative\": true}\r\n"
        "\n"
        "  \t\r\n"
        "{\"prompt\": {\"ids\": [9]}, \"suppress\": [{\"ids\": [99]}]}",
        &ids_only, &e);
    cr_assert_eq(status, OSV_OK, "%s", e.text);
    cr_assert(d->count == 2 && d->warnings == 0);

    const osv_datapoint *p = &d->point[0];
    cr_expect(p->line == 1 && p->negative && p->completions == 3);
    cr_expect_str_eq(p->id, "greet");
    cr_expect_str_eq(p->job, "a b");
    cr_expect_str_eq(p->positions, "all:-3:");
    cr_expect_null(p->prompt);
    static const struct {
        osv_completion_kind kind;
        osv_target target;
        int count;
        int ids[5];
        signed char steer[5];
    } expected[] = {
        {OSV_COMPLETION_PROMOTE, {OSV_TARGET_NATS, 0.5}, 4, {1, 2, 3, 4}, {0, -1, -1, -1}},
        {OSV_COMPLETION_PROMOTE, {OSV_TARGET_NONE, 0}, 5, {1, 2, 3, 5, 6}, {0, 0, -1, -1, -1}},
        {OSV_COMPLETION_SUPPRESS, {OSV_TARGET_NATS, -1}, 5, {1, 2, 3, 7, 0}, {0, 0, -1, -1, -1}},
    };
    for (int i = 0; i < 3; i++) {
        const osv_completion *c = &p->completion[i];
        cr_assert(c->kind == expected[i].kind && c->count == expected[i].count && c->prompt == 3, "%d", i);
        cr_expect(c->target.kind == expected[i].target.kind && c->target.x == expected[i].target.x, "%d", i);
        cr_expect_arr_eq(c->ids, expected[i].ids, (size_t)c->count * sizeof *c->ids, "%d", i);
        cr_expect_arr_eq(c->steer, expected[i].steer, (size_t)c->count, "%d", i);
        cr_expect_null(c->text);
    }

    p = &d->point[1];
    cr_expect(p->line == 4 && !p->negative && p->completions == 1 &&
              p->completion[0].kind == OSV_COMPLETION_SUPPRESS);
    cr_expect_str_eq(p->id, "line 4");
    cr_expect_str_eq(p->job, "all");
    cr_expect_str_eq(p->positions, "all");
    cr_expect(p->completion[0].steer[0] == 1 && p->completion[0].steer[1] == 1);
    osv_dataset_free(d);
}

/* ---- relative targets ---- */

Test(datapoints, targets, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_dataset *d;
    int status = read_text(
        &d,
        "{\"prompt\": {\"ids\": [1, 2]}, \"promote\": [{\"ids\": [4]}, {\"ids\": [5, 6]}, {\"ids\": [7]}],"
        " \"promote_targets\": [\"0.75x\", {\"prompt\": {\"ids\": [8, 9, 10]}}, {\"times\": 2, \"prompt\": "
        "{\"ids\": [11]}}], \"suppress\": [{\"ids\": [3]}], \"suppress_targets\": [\"unsteered\"]}",
        &ids_only, &e);
    cr_assert_eq(status, OSV_OK, "%s", e.text);
    static const struct {
        double times;
        int under[3], count;
    } expected[] = {{0.75, {0}, 0}, {1, {8, 9, 10}, 3}, {2, {11}, 1}, {1, {0}, 0}};
    for (int i = 0; i < 4; i++) {
        const osv_completion *c = &d->point[0].completion[i];
        cr_expect(c->target.kind == OSV_TARGET_UNSTEERED && c->target.x == expected[i].times, "%d", i);
        cr_assert_eq(c->under.count, expected[i].count, "%d", i);
        for (int t = 0; t < c->under.count; t++) cr_expect_eq(c->under.data[t], expected[i].under[t]);
    }
    osv_dataset_free(d);
}

/* ---- beam search ---- */

Test(datapoints, completions_that_beam_search_is_to_find, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_dataset *d;
    osv_dataset_options options = ids_only;
    const char *text =
        "{\"prompt\": {\"ids\": [1, 2]}, \"suppress\": [{\"ids\": [4]}], \"promote\": [{\"ids\": [5]}], "
        "\"promote_from_beam\": {\"prompt\": {\"ids\": [8, 9, 10]}, \"minus\": {\"prompt\": {\"ids\": "
        "[11]}}, "
        "\"times\": 2}, \"positions\": \"all:1:\", \"negative\": true}\n"
        "{\"prompt\": {\"ids\": [1]}, \"promote_from_beam\": true}\n"
        "{\"prompt\": {\"ids\": [1]}, \"suppress\": [{\"ids\": [3]}]}\n"
        "{\"prompt\": {\"ids\": [1]}, \"suppress\": [{\"ids\": [3]}], \"promote_from_beam\": false}";
    cr_assert_eq(read_text(&d, text, &options, &e), OSV_OK, "%s", e.text);
    cr_assert_eq(d->point[0].completions, 3);
    const osv_completion *c = &d->point[0].completion[1]; /* behind what is promoted, before what is not */
    cr_assert(c->kind == OSV_COMPLETION_PROMOTE && c->unwritten && c->beam && c->count == 5 &&
              c->prompt == 2);
    cr_expect(c->beam->prompt.count == 3 && c->beam->prompt.data[2] == 10);
    cr_expect(c->beam->minus.count == 1 && c->beam->minus.data[0] == 11);
    cr_expect(c->target.kind == OSV_TARGET_UNSTEERED && c->target.x == 2);
    cr_expect(c->under.count == 3 && c->under.data[0] == 8);
    const int found[] = {7, 6};
    cr_assert_eq(osv_completion_fill(&d->point[0].completion[1], &d->point[0], c->ids, 2, found, 2, "f", &e),
                 0);
    const int ids[] = {1, 2, 7, 6};
    const signed char steer[] = {0, -1, -1, -1};
    cr_assert_eq(c->count, 4);
    cr_expect_arr_eq(c->ids, ids, sizeof ids);
    cr_expect_arr_eq(c->steer, steer, sizeof steer);
    c = &d->point[1].completion[0];
    cr_expect(c->unwritten && c->beam && c->beam->prompt.count == 0 && c->target.kind == OSV_TARGET_NONE);
    cr_expect(d->point[2].completions == 1 && d->point[3].completions == 1);
    osv_dataset_free(d);

    options.beam = true; /* all that do not say otherwise */
    cr_assert_eq(read_text(&d, text, &options, &e), OSV_OK, "%s", e.text);
    cr_expect(d->point[2].completions == 2 && d->point[3].completions == 1);
    osv_dataset_free(d);
}

/* ---- matches and anchors ---- */

/* What a teacher is to write stands there as zeros; of an anchor that is its prompt every token but the first
 * is scored, and one more, whichever it is, so that the last one's prediction is too. */
Test(datapoints, matches_and_anchors, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_dataset *d;
    static const char text[] = "{\"prompt\": {\"ids\": [5, 6]}, \"match\": true, \"match_weights\": [2], "
                               "\"positions\": \"completion:0\"}\n"
                               "{\"prompt\": {\"ids\": [5, 6]}, \"match\": [{\"ids\": [7]}], \"anchor\": "
                               "true, \"positions\": \"prompt\"}\n"
                               "{\"prompt\": {\"ids\": [5, 6]}, \"anchor\": [{\"ids\": [7]}, {\"ids\": [8, "
                               "9]}], \"negative\": true}";
    static const struct {
        int point;
        osv_completion_kind kind;
        int scored, count;
        int ids[5];
        signed char steer[5];
        bool unwritten;
    } expected[] = {
        {0, OSV_COMPLETION_MATCH, 2, 5, {5, 6, 0, 0, 0}, {0, 0, 1, 0, 0}, true},
        {1, OSV_COMPLETION_MATCH, 2, 3, {5, 6, 7}, {1, 1, 0}, false},
        {1, OSV_COMPLETION_ANCHOR, 1, 3, {5, 6, 0}, {1, 1, 0}, false},
        {2, OSV_COMPLETION_ANCHOR, 2, 3, {5, 6, 7}, {-1, -1, -1}, false},
        {2, OSV_COMPLETION_ANCHOR, 2, 4, {5, 6, 8, 9}, {-1, -1, -1, -1}, false},
    };
    cr_assert_eq(read_text(&d, text, &ids_only, &e), OSV_OK, "%s", e.text);
    cr_assert(d->point[0].completions == 1 && d->point[1].completions == 2 && d->point[2].completions == 2);
    for (int i = 0, k = 0, last = -1; i < 5; i++) {
        k = expected[i].point == last ? k + 1 : 0;
        last = expected[i].point;
        const osv_completion *c = &d->point[last].completion[k];
        cr_assert(c->kind == expected[i].kind && c->count == expected[i].count && c->prompt == 2 &&
                      c->scored == expected[i].scored && c->unwritten == expected[i].unwritten,
                  "%d", i);
        cr_expect_eq(c->weight, i == 0 ? 2 : 1, "%d", i);
        cr_expect_arr_eq(c->ids, expected[i].ids, (size_t)c->count * sizeof *c->ids, "%d", i);
        cr_expect_arr_eq(c->steer, expected[i].steer, (size_t)c->count, "%d", i);
    }
    osv_dataset_free(d);
}

static void check_stage(const char *text, osv_stage stage, int points, const char *kinds)
{
    osv_error e = {0};
    osv_dataset *d;
    osv_dataset_options options = ids_only;
    char found[16] = "";
    size_t length = 0;
    options.stage = stage;
    cr_assert_eq(read_text(&d, text, &options, &e), OSV_OK, "%s", e.text);
    cr_expect_eq(d->count, points);
    for (int i = 0; i < d->count; i++)
        for (int k = 0; k < d->point[i].completions && length + 1 < sizeof found; k++)
            found[length++] = osv_completion_lists[d->point[i].completion[k].kind].name[0];
    cr_expect_str_eq(found, kinds, "stage %d", stage);
    osv_dataset_free(d);
}

/* Of the lists' first letters. */
Test(datapoints, stages, .init = temp_open, .fini = temp_close)
{
    static const char text[] = "{\"prompt\": {\"ids\": [1]}, \"suppress\": [{\"ids\": [2]}], "
                               "\"suppress_targets\": [1], \"promote\": [{\"ids\": [3]}]}\n"
                               "{\"prompt\": {\"ids\": [1]}, \"anchor\": true}\n"
                               "{\"prompt\": {\"ids\": [1]}, \"suppress\": [{\"ids\": [2]}], \"match\": "
                               "[{\"ids\": [3]}, {\"ids\": [4]}], \"match_weights\": [1, 1]}\n"
                               "{\"prompt\": {\"ids\": [1]}, \"prefer\": [{\"chosen\": {\"ids\": [2]}, "
                               "\"rejected\": {\"ids\": [3]}}]}\n";
    osv_error e = {0};
    osv_dataset *d;
    osv_dataset_options options = ids_only;
    check_stage(text, OSV_STAGE_ONLY, 4, "psasmmcr");
    check_stage(text, OSV_STAGE_EARLY, 3, "psscr");
    check_stage(text, OSV_STAGE_LATE, 4, "mammm");
    options.stage = OSV_STAGE_EARLY;
    cr_assert_eq(read_text(&d, "{\"prompt\": {\"ids\": [1]}, \"anchor\": true}", &options, &e),
                 OSV_BAD_INPUT);
    cr_expect(strstr(e.text, "no datapoint has a completion for the early stage"), "%s", e.text);
}

/* ---- preferences ---- */

Test(datapoints, pairs, .init = temp_open, .fini = temp_close)
{
    osv_error e = {0};
    osv_dataset *d;
    cr_assert_eq(
        read_text(
            &d,
            "{\"prompt\": {\"ids\": [1, 2]}, \"prefer\": [{\"chosen\": {\"ids\": [4]}, \"rejected\": "
            "{\"ids\": [5, 6]}}, {\"rejected\": {\"ids\": [7]}, \"chosen\": {\"ids\": [8]}, \"beta\": 2, "
            "\"weight\": 0.5}], \"promote\": [{\"ids\": [3]}], \"positions\": \"all:1:\"}",
            &ids_only, &e),
        OSV_OK, "%s", e.text);
    static const struct {
        osv_completion_kind kind;
        int count, last;
        double beta, weight;
    } expected[] = {
        {OSV_COMPLETION_PROMOTE, 3, 3, 0, 1},    {OSV_COMPLETION_CHOSEN, 3, 4, NAN, 1},
        {OSV_COMPLETION_REJECTED, 4, 6, NAN, 1}, {OSV_COMPLETION_CHOSEN, 3, 8, 2, 0.5},
        {OSV_COMPLETION_REJECTED, 3, 7, 2, 0.5},
    };
    cr_assert_eq(d->point[0].completions, 5);
    for (int i = 0; i < 5; i++) {
        const osv_completion *c = &d->point[0].completion[i];
        cr_assert(c->kind == expected[i].kind && c->count == expected[i].count, "%d", i);
        cr_expect(c->ids[c->count - 1] == expected[i].last && c->weight == expected[i].weight, "%d", i);
        cr_expect_eq(c->opposite != NULL, i > 0, "%d", i);
        if (i == 0) continue;
        cr_expect(isnan(expected[i].beta) ? isnan(c->beta) : c->beta == expected[i].beta, "%d", i);
        for (int t = 0; t < c->count; t++) cr_expect(c->steer[t] == (t > 0) && c->opposite[t] == -(t > 0));
    }
    osv_dataset_free(d);
}

#define LINE(more) "{\"prompt\": {\"ids\": [1, 2]}, \"promote\": [{\"ids\": [3]}]" more "}"
#define PROMPT(p)  "{\"prompt\": " p ", \"promote\": [{\"ids\": [3]}]}"
#define PROMOTE(c) "{\"prompt\": {\"ids\": [1, 2]}, \"promote\": " c "}"
#define PAIR       "{\"chosen\": {\"ids\": [3]}, \"rejected\": {\"ids\": [4]}, \"weight\": null, \"beta\": null}"
#define TEN        "0123456789"
#define SIXTY      TEN TEN TEN TEN TEN TEN

/* To add a case: a line, and what the message must say (NULL: it is fine). Each comes as line 2 of a file. */
static const struct {
    const char *line, *piece;
} lines[] = {
    {LINE(""), NULL},
    {LINE(", \"suppress\": []"), NULL},
    {LINE(", \"suppress\": null, \"job\": null, \"positions\": null, \"negative\": null, \"id\": null"),
     NULL},
    {LINE(", \"messages\": null, \"prefill\": null"), NULL},
    {LINE(", \"job\": \"" SIXTY SIXTY "12345678\""), NULL},
    {LINE(", \"job\": \"\xc3\xa9 .x\""), NULL},
    {LINE(", \"is_negative\": true"), NULL},
    {"{\"prompt\": {\"ids\": [1]}, \"dst_completions\": [{\"ids\": [3]}], \"dst_completions_target_losses\": "
     "[1]}",
     NULL},
    {"{\"prompt\": {\"ids\": [1]}, \"src_completions\": [{\"ids\": [3]}], \"src_completions_target_losses\": "
     "[null]}",
     NULL},
    {"{\"prompt\": {\"ids\": [1]}, \"suppress\": [{\"ids\": [3]}], \"src_completions_target_losses\": [1]}",
     NULL},

    {"{\"prompt\": {\"ids\": [1]}, \"promote\": [{\"ids\": [3]}]", "data.jsonl:2:50: JSON: '}' expected"},
    {"{\"prompt\" 1}", "data.jsonl:2:11: JSON: ':' expected"},
    {LINE("") " " LINE(""), "data.jsonl:2:56: JSON: end of file expected"},
    {"[1]", "data.jsonl:2: a line must be one JSON object"},
    {"\"text\"", "data.jsonl:2:"},
    {LINE(", \"prompt\": {\"ids\": [1]}"), "data.jsonl:2:63: JSON: duplicate object key near '\"prompt\"'"},
    {LINE(", \"promt\": \"x\""), "data.jsonl:2: unknown key \"promt\"; known are id, job, prompt"},
    {LINE(", \"token\": -1"), "unknown key \"token\""},
    {LINE(", \"dst_completions\": []"), "\"promote\" and \"dst_completions\" are the same key"},
    {LINE(", \"negative\": true, \"is_negative\": true"),
     "\"negative\" and \"is_negative\" are the same key"},

    {LINE(", \"id\": 3"), "\"id\" must be a string, not 3"},
    {LINE(", \"job\": 3"), "\"job\" must be a string, not 3"},
    {LINE(", \"job\": \"\""), "\"job\" \"\" is empty"},
    {LINE(", \"job\": \"a/b\""), "\"job\" \"a/b\" has a slash; it names the vector's file"},
    {LINE(", \"job\": \"/etc/passwd\""), "has a slash"},
    {LINE(", \"job\": \".\""), "is a folder's name"},
    {LINE(", \"job\": \"..\""), "is a folder's name"},
    {LINE(", \"job\": \"a\\nb\""), "has a control character"},
    {LINE(", \"job\": \"a\\u001b[2J\""), "\"job\" \"a\\u001B[2J\" has a control character"},
    {LINE(", \"job\": \"a\\u007f\""), "has a control character"},
    {LINE(", \"job\": \"a\\u0085\""), "has a control character"},
    {LINE(", \"job\": \"a\\u0000\""), "\\u0000 is not allowed"},
    {LINE(", \"job\": \"" SIXTY SIXTY "123456789\""), "is longer than 128 bytes"},
    {LINE(", \"negative\": 1"), "\"negative\" must be true or false, not 1"},
    {LINE(", \"is_negative\": \"yes\""), "\"is_negative\" must be true or false"},
    {LINE(", \"positions\": 3"), "\"positions\" must be a string, not 3"},
    {LINE(", \"positions\": \"some\""), "data.jsonl:2: \"some\" is no position"},
    {LINE(", \"positions\": \"completion:1\""),
     "position \"completion:1\" does not exist: it counts in 1 tokens"},

    {"{\"promote\": [{\"ids\": [3]}]}", "data.jsonl:2: \"prompt\" is missing"},
    {LINE(", \"messages\": []"), "both \"prompt\" and \"messages\""},
    {"{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}], \"promote\": [{\"ids\": [3]}]}",
     "\"messages\" is text, but there is no tokenizer"},
    {LINE(", \"prefill\": \"x\""), "\"prefill\" belongs to \"messages\""},
    {PROMPT("{\"ids\": []}"), "\"prompt\" has no tokens"},
    {PROMPT("{\"ids\": [100]}"), "\"prompt\": id 100 at index 0 is not an integer from 0 to 99"},
    {PROMPT("{\"ids\": [1, -1]}"), "\"prompt\": id -1 at index 1"},
    {PROMPT("{\"ids\": [1, 2.0]}"), "\"prompt\": id 2.0 at index 1"},
    {PROMPT("{\"ids\": [1, \"2\"]}"), "id \"2\" at index 1"},
    {PROMPT("{\"ids\": [9223372036854775807]}"), "id 9223372036854775807 at index 0"},
    {PROMPT("{\"ids\": 3}"), "\"prompt\" must be a string or {\"ids\": [..]}, not {\"ids\":3}"},
    {PROMPT("{\"ids\": [1], \"text\": \"x\"}"), "\"prompt\" must be a string or"},
    {PROMPT("[1, 2]"), "\"prompt\" must be a string or {\"ids\": [..]}, not [1,2]"},
    {PROMPT("\"hello\""),
     "\"prompt\" is text, but there is no tokenizer (model/tokenizer.json: no such file)"},

    {"{\"prompt\": {\"ids\": [1]}}",
     "none of \"promote\", \"suppress\", \"match\", \"anchor\", \"prefer\" has a completion"},
    {PROMOTE("[]"), "none of \"promote\", \"suppress\", \"match\", \"anchor\", \"prefer\" has a completion"},
    {PROMOTE("null"),
     "none of \"promote\", \"suppress\", \"match\", \"anchor\", \"prefer\" has a completion"},
    {PROMOTE("\"hi\""), "\"promote\" must be an array, not \"hi\""},
    {PROMOTE("{\"ids\": [3]}"), "\"promote\" must be an array"},
    {PROMOTE("[\"hi\"]"), "\"promote\"[0] is text, but there is no tokenizer"},
    {PROMOTE("[{\"ids\": [3]}, 4]"), "\"promote\"[1] must be a string or {\"ids\": [..]}, not 4"},
    {PROMOTE("[{\"ids\": [3]}, {\"ids\": [100]}]"), "\"promote\"[1]: id 100 at index 0"},
    {PROMOTE("[{\"ids\": []}]"), "\"promote\"[0] tokenizes to nothing"},
    {PROMOTE("[{\"ids\": [1, 2, 3, 4, 5, 6]}]"), NULL},
    {PROMOTE("[{\"ids\": [1, 2, 3, 4, 5, 6, 7]}]"),
     "\"promote\"[0]: 2 tokens of prompt and 7 of completion make 9, the model takes at most 8"},
    {"{\"prompt\": {\"ids\": [1]}, \"src_completions\": [4]}", "\"src_completions\"[0] must be a string"},

    {LINE(", \"promote_targets\": [1, 2]"),
     "\"promote_targets\" has 2 entries, \"promote\" has 1 completions"},
    {LINE(", \"promote_targets\": []"), "\"promote_targets\" has 0 entries"},
    {LINE(", \"suppress_targets\": [1]"),
     "\"suppress_targets\" has 1 entries, \"suppress\" has 0 completions"},
    {LINE(", \"promote_targets\": 1"), "\"promote_targets\" must be an array, not 1"},
    {LINE(", \"promote_targets\": [\"x\"]"),
     "\"promote_targets\"[0] must be nats, \"unsteered\", a multiple such as \"0.75x\", {\"prompt\": ..} or "
     "null, not \"x\""},
    {LINE(", \"promote_targets\": [\"0x\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [\"-1x\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [\"1e999x\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [\"0x1p3x\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [\"2xx\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [\" 2x\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [\"2\"]"), "must be nats"},
    {LINE(", \"promote_targets\": [[1]]"), "must be nats"},
    {LINE(", \"promote_targets\": [{}]"), "\"promote_targets\"[0]: \"prompt\" is missing"},
    {LINE(", \"promote_targets\": [{\"prompt\": {\"ids\": [1]}, \"factor\": 2}]"),
     "\"promote_targets\"[0]: unknown key \"factor\"; known are prompt, messages, prefill, times"},
    {LINE(", \"promote_targets\": [{\"prompt\": {\"ids\": [1]}, \"times\": 0}]"),
     "\"promote_targets\"[0]: \"times\" is 0; it must be above 0"},
    {LINE(", \"promote_targets\": [{\"prompt\": {\"ids\": [1]}, \"times\": \"2\"}]"),
     "\"promote_targets\"[0]: \"times\" must be a number"},
    {LINE(", \"promote_targets\": [{\"prompt\": {\"ids\": [100]}}]"),
     "\"promote_targets\"[0]: \"prompt\": id 100"},
    {LINE(", \"promote_targets\": [{\"prompt\": {\"ids\": [1, 2, 3, 4, 5, 6, 7, 8]}}]"),
     "\"promote_targets\"[0]: with the completion it makes 9 tokens, the model takes at most 8"},
    {LINE(", \"promote_targets\": [{\"prompt\": \"hello\"}]"),
     "\"promote_targets\"[0]: \"prompt\" is text, but"},
    {LINE(", \"promote_from_beam\": null"), NULL},
    {LINE(", \"promote_from_beam\": {}"), NULL},
    {LINE(", \"promote_from_beam\": 5"), "\"promote_from_beam\" must be true, false or an object, not 5"},
    {LINE(", \"promote_from_beam\": {\"width\": 5}"),
     "\"promote_from_beam\": unknown key \"width\"; known are prompt, messages, prefill, minus, times"},
    {LINE(", \"promote_from_beam\": {\"prompt\": {\"ids\": []}}"),
     "\"promote_from_beam\": \"prompt\" has no tokens"},
    {LINE(", \"promote_from_beam\": {\"prefill\": \"x\"}"), "\"prefill\" belongs to \"messages\""},
    {LINE(", \"promote_from_beam\": {\"times\": -1}"),
     "\"promote_from_beam\": \"times\" is -1; it must be above 0"},
    {LINE(", \"promote_from_beam\": {\"minus\": \"x\"}"),
     "\"promote_from_beam\": \"minus\" must be {\"prompt\": ..} or {\"messages\": ..}, not \"x\""},
    {LINE(", \"promote_from_beam\": {\"minus\": {}}"),
     "\"promote_from_beam\": \"minus\": \"prompt\" is missing"},
    {LINE(", \"promote_from_beam\": {\"minus\": {\"times\": 1}}"), "\"minus\": unknown key \"times\""},
    {LINE(", \"promote_from_beam\": {\"prompt\": {\"ids\": [1, 2, 3, 4, 5, 6]}}"),
     "\"promote_from_beam\": 6 tokens of prompt and 3 of completion make 9, the model takes at most 8"},
    {LINE(", \"prefer\": []"), NULL},
    {LINE(", \"prefer\": [" PAIR "]"), NULL},
    {LINE(", \"prefer\": " PAIR), "\"prefer\" must be an array, not {"},
    {LINE(", \"prefer\": [3]"), "\"prefer\"[0] must be {\"chosen\": .., \"rejected\": ..}, not 3"},
    {LINE(", \"prefer\": [" PAIR ", {\"chosen\": {\"ids\": [3]}}]"),
     "\"prefer\"[1]: \"rejected\" is missing"},
    {LINE(", \"prefer\": [{\"rejected\": {\"ids\": [3]}}]"), "\"prefer\"[0]: \"chosen\" is missing"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": []}, \"rejected\": {\"ids\": [3]}}]"),
     "\"prefer\"[0].\"chosen\" tokenizes to nothing"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": [3]}, \"rejected\": {\"ids\": [100]}}]"),
     "\"prefer\"[0].\"rejected\": id 100 at index 0"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": [3]}, \"rejected\": \"x\"}]"),
     "\"prefer\"[0].\"rejected\" is text, but"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": [3]}, \"rejected\": {\"ids\": [4]}, \"better\": 1}]"),
     "\"prefer\"[0]: unknown key \"better\"; known are chosen, rejected, beta, weight"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": [3]}, \"rejected\": {\"ids\": [4]}, \"beta\": 0}]"),
     "\"prefer\"[0]: \"beta\" is 0; it must be above 0"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": [3]}, \"rejected\": {\"ids\": [4]}, \"beta\": \"x\"}]"),
     "\"prefer\"[0]: \"beta\" must be a number"},
    {LINE(", \"prefer\": [{\"chosen\": {\"ids\": [3]}, \"rejected\": {\"ids\": [4]}, \"weight\": -1}]"),
     "\"prefer\"[0].\"weight\" must be a number from 0 to 1e6"},
    {LINE(", \"match\": [{\"ids\": [4]}], \"match_targets\": [\"0.1x\"], \"match_weights\": [null]"), NULL},
    {LINE(", \"match\": false, \"anchor\": false"), NULL},
    {LINE(", \"match\": true"), NULL},
    {"{\"prompt\": {\"ids\": [1, 2, 3, 4, 5, 6]}, \"match\": true}",
     "\"match\": 6 tokens of prompt and 3 of completion make 9, the model takes at most 8"},
    {LINE(", \"match\": 5"), "\"match\" must be an array or true, not 5"},
    {LINE(", \"match\": [true]"), "\"match\"[0] must be a string or {\"ids\": [..]}, not true"},
    {LINE(", \"match\": [{\"ids\": []}]"), "\"match\"[0] tokenizes to nothing"},
    {LINE(", \"match_targets\": [1]"), "\"match_targets\" has 1 entries, \"match\" has 0 completions"},
    {LINE(", \"anchor\": true, \"anchor_weights\": [0.5]"), NULL},
    {LINE(", \"anchor\": [{\"ids\": [4]}]"), NULL},
    {LINE(", \"anchor\": \"yes\""), "\"anchor\" must be an array or true, not \"yes\""},
    {LINE(", \"anchor\": true, \"anchor_weights\": [1, 2]"),
     "\"anchor_weights\" has 2 entries, \"anchor\" has 1 completions"},
    {LINE(", \"anchor\": true, \"anchor_targets\": [1]"), "unknown key \"anchor_targets\""},
    {"{\"prompt\": {\"ids\": [1, 2, 3, 4, 5, 6, 7]}, \"anchor\": true}", NULL},
    {"{\"prompt\": {\"ids\": [1, 2, 3, 4, 5, 6, 7, 8]}, \"anchor\": true}",
     "\"anchor\": 8 tokens of prompt and 1 of completion make 9, the model takes at most 8"},
    {LINE(", \"promote_weights\": [-1]"),
     "\"promote_weights\"[0] must be a number from 0 to 1e6, or null, not -1"},
    {LINE(", \"promote_weights\": [\"1\"]"), "\"promote_weights\"[0] must be a number"},
    {LINE(", \"promote_targets\": [NaN]"), "JSON: invalid token near 'NaN'"},
    {LINE(", \"dst_completions_target_losses\": [\"x\"]"),
     "\"dst_completions_target_losses\"[0] must be nats"},
};

Test(datapoints, lines, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[2048];
        snprintf(text, sizeof text, "%s\n%s\n", LINE(""), lines[i].line);
        osv_error e = {0};
        osv_dataset *d;
        int status = read_text(&d, text, &ids_only, &e);
        check_failure(lines[i].line, status, &e, lines[i].piece ? OSV_BAD_INPUT : OSV_OK, lines[i].piece);
        if (status) cr_expect(strstr(e.text, "data.jsonl:2:") != NULL, "\"%s\" names no line", e.text);
        cr_expect(status ? !d : d && d->count == 2, "%s", lines[i].line);
        osv_dataset_free(d);
    }
}

#define TEXT(s) s, sizeof(s) - 1

/* To add a case: name, file, what the message must say, or NULL and the number of datapoints. */
static const struct {
    const char *name, *text;
    size_t bytes;
    const char *piece;
    int count;
} files[] = {
    {"one line", TEXT(LINE("") "\n"), NULL, 1},
    {"no newline at the end", TEXT(LINE("")), NULL, 1},
    {"CRLF", TEXT(LINE("") "\r\n" LINE("") "\r\n"), NULL, 2},
    {"blank lines", TEXT("\n \n" LINE("") "\n\n\t\n" LINE("") "\n\n"), NULL, 2},
    {"empty", TEXT(""), "data.jsonl: no datapoints", 0},
    {"blank", TEXT("\n\r\n  \n"), "data.jsonl: no datapoints", 0},
    {"byte order mark", TEXT("\xef\xbb\xbf" LINE("")), "data.jsonl:1:1: starts with a byte order mark", 0},
    {"invalid UTF-8", TEXT("\n\n{\"id\": \"a\xff\"}"),
     "data.jsonl:3: invalid UTF-8 at byte 11 of the file (0xff)", 0},
    {"character cut by a newline", TEXT("{\"id\": \"\xe2\x82\n\"}"), "data.jsonl:1: invalid UTF-8 at byte 8",
     0},
    {"UTF-16", TEXT("\xff\xfe{\0\"\0"), "data.jsonl:1: invalid UTF-8 at byte 0", 0},
    {"NUL", TEXT("{\"id\": \0}"), "data.jsonl:1:", 0},
    {"object over two lines", TEXT("{\"prompt\":\n {\"ids\": [1]}}"), "data.jsonl:1:", 0},
    {"second line broken", TEXT(LINE("") "\n{,}"), "data.jsonl:2:2: JSON", 0},
};

Test(datapoints, files, .init = temp_open, .fini = temp_close)
{
    osv_error e;
    osv_dataset *d;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        e = (osv_error){0};
        const char *path = temp_write("data.jsonl", files[i].text, files[i].bytes);
        int status = osv_dataset_read(&d, path, &ids_only, &e);
        check_failure(files[i].name, status, &e, files[i].piece ? OSV_BAD_INPUT : OSV_OK, files[i].piece);
        cr_expect(status ? !d : d->count == files[i].count, "%s", files[i].name);
        osv_dataset_free(d);
    }
    e = (osv_error){0};
    check_failure("missing", osv_dataset_read(&d, temp_path("none"), &ids_only, &e), &e, OSV_BAD_INPUT,
                  "/none: cannot open");
}

Test(datapoints, long_lines, .init = temp_open, .fini = temp_close)
{
    enum { MB = 1 << 20 };
    static const char first[] = LINE(", \"id\": \"");
    char *text = malloc(18 * MB);
    size_t head = sizeof first - 2; /* without the brace and the NUL */
    for (int over = 0; over < 2; over++) {
        size_t bytes = 16 * MB + (size_t)over;
        memset(text, 'x', bytes);
        memcpy(text, first, head);
        memcpy(text + bytes - 2, "\"}", 2);
        osv_error e = {0};
        osv_dataset *d;
        int status = osv_dataset_read(&d, temp_write("data.jsonl", text, bytes), &ids_only, &e);
        check_failure("long line", status, &e, over ? OSV_BAD_INPUT : OSV_OK,
                      "data.jsonl:1: line of more than 16777216 bytes");
        if (!status) cr_expect_eq(strlen(d->point[0].id), bytes - head - 2);
        osv_dataset_free(d);
    }
    free(text);
}

/* ---- text ---- */

/* Byte-level BPE over a, b, c and the blank, in which "bc" is merged before "ab": so "ab" is one token, but
 * "abc" is a, bc. Every text begins with <s>. Other characters have no token at all. */
static const char TOKENIZER[] = "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, "
                                "\"added_tokens\": [{\"id\": 0, \"content\": \"<s>\","
                                " \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                                "\"normalized\": false, \"special\": true}],"
                                " \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
                                "\"add_prefix_space\": false, \"trim_offsets\": true,"
                                " \"use_regex\": false}, \"post_processor\": %s, \"decoder\": {\"type\": "
                                "\"ByteLevel\", \"add_prefix_space\": true,"
                                " \"trim_offsets\": true, \"use_regex\": true}, \"model\": {\"type\": "
                                "\"BPE\", \"dropout\": null, \"unk_token\": null,"
                                " \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
                                "\"fuse_unk\": false, \"byte_fallback\": false,"
                                " \"ignore_merges\": false, \"vocab\": {\"<s>\": 0, \"a\": 1, \"b\": 2, "
                                "\"c\": 3, \"\xc4\xa0\": 4, \"bc\": 5, \"ab\": 6,"
                                " \"\xc4\xa0"
                                "a\": 7}, \"merges\": [\"b c\", \"a b\", \"\xc4\xa0 a\"]}}";
static const char BOS[] = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
                          "\"<s>\", \"type_id\": 0}}, {\"Sequence\":"
                          " {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [{\"Sequence\": {\"id\": \"A\", "
                          "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\","
                          " \"type_id\": 1}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [0], "
                          "\"tokens\": [\"<s>\"]}}}";

static osv_tokenizer *open_tokenizer(const char *post_processor)
{
    char text[4096];
    snprintf(text, sizeof text, TOKENIZER, post_processor);
    temp_text("tokenizer.json", text);
    osv_error e = {0};
    osv_tokenizer *t;
    cr_assert_eq(osv_tokenizer_open(&t, temp_dir, &e), OSV_OK, "%s", e.text);
    return t;
}

enum { AUTO = OSV_BOUNDARY_AUTO, JOINT = OSV_BOUNDARY_JOINT, APART = OSV_BOUNDARY_APART };

/* To add a case: boundary, prompt and completion as JSON, tokens of the prompt, ids of both, what a warning
 * must say (NULL: there is none). */
static const struct {
    int boundary;
    const char *source, *completion;
    int prompt, ids[8];
    const char *warning;
} joins[] = {
    /* The prompt's tokens are a prefix of the joint ones: all three agree, but for merges after the boundary.
     */
    {AUTO, "\"a\"", "\"c\"", 2, {0, 1, 3, -1}, NULL},
    {JOINT, "\"a\"", "\"c\"", 2, {0, 1, 3, -1}, NULL},
    {APART, "\"a\"", "\"c\"", 2, {0, 1, 3, -1}, NULL},
    {AUTO, "\"ab\"", "\" a\"", 2, {0, 6, 7, -1}, NULL},
    {AUTO, "\"\"", "\"ab\"", 1, {0, 6, -1}, NULL},
    /* b and c become one token over the boundary, which makes the prompt's a another one, too. */
    {AUTO, "\"ab\"", "\"ca\"", 2, {0, 6, 3, 1, -1}, "\"promote\"[0]: token \"bc\" (5) crosses the boundary"},
    {JOINT, "\"ab\"", "\"ca\"", 2, {0, 1, 5, 1, -1}, NULL},
    {APART, "\"ab\"", "\"ca\"", 2, {0, 6, 3, 1, -1}, NULL},
    /* The prompt ends in a blank that goes with the next letter. */
    {AUTO,
     "\"c \"",
     "\"a\"",
     3,
     {0, 3, 4, 1, -1},
     "token \"\xc4\xa0"
     "a\" (7) crosses"},
    {AUTO, "\"c\"", "\" a\"", 2, {0, 3, 7, -1}, NULL},
    /* Ids are taken as they are, without <s>; text beside ids is a continuation. */
    {AUTO, "{\"ids\": [1]}", "\"b\"", 1, {1, 2, -1}, NULL},
    {JOINT, "{\"ids\": [1]}", "\"b\"", 1, {1, 2, -1}, NULL},
    {AUTO, "\"a\"", "{\"ids\": [2]}", 2, {0, 1, 2, -1}, NULL},
    {AUTO, "{\"ids\": [1]}", "{\"ids\": [2]}", 1, {1, 2, -1}, NULL},
    /* A special token in a text is recognized. */
    {AUTO, "\"a<s>\"", "\"b\"", 3, {0, 1, 0, 2, -1}, NULL},
};

Test(datapoints, boundaries, .init = temp_open, .fini = temp_close)
{
    osv_tokenizer *t = open_tokenizer(BOS);
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
        osv_dataset_options options = {.tokenizer = t,
                                       .V = 8,
                                       .positions = 8,
                                       .default_positions = "all",
                                       .boundary = (osv_boundary)joins[i].boundary};
        char text[512];
        snprintf(text, sizeof text, "{\"prompt\": %s, \"promote\": [%s]}", joins[i].source,
                 joins[i].completion);
        osv_error e = {0};
        osv_dataset *d;
        cr_assert_eq(read_text(&d, text, &options, &e), OSV_OK, "%zu %s: %s", i, text, e.text);
        const osv_completion *c = d->point[0].completion;
        int count = 0;
        while (joins[i].ids[count] >= 0) count++;
        cr_expect_eq(c->prompt, joins[i].prompt, "%zu %s: prompt of %d", i, text, c->prompt);
        cr_assert_eq(c->count, count, "%zu %s: %d tokens", i, text, c->count);
        for (int n = 0; n < count; n++)
            cr_expect_eq(c->ids[n], joins[i].ids[n], "%zu %s: id %d at %d", i, text, c->ids[n], n);
        cr_expect_eq(d->warnings, joins[i].warning != NULL, "%zu %s", i, text);
        if (d->warnings && joins[i].warning)
            cr_expect(strstr(d->warning[0], joins[i].warning) && strstr(d->warning[0], "data.jsonl:1"),
                      "%zu: %s", i, d->warning[0]);
        osv_dataset_free(d);
    }
    osv_tokenizer_close(t);
}

Test(datapoints, a_prompt_alone_where_that_is_enough, .init = temp_open, .fini = temp_close)
{
    osv_tokenizer *t = open_tokenizer(BOS);
    osv_dataset_options options = {
        .tokenizer = t, .V = 8, .positions = 4, .default_positions = "all:-2:", .prompt_alone = true};
    osv_error e = {0};
    osv_dataset *d;
    const char text[] = "{\"prompt\": \"a b\"}\n{\"prompt\": \"a\", \"promote\": [\"b\"]}\n";
    cr_assert_eq(read_text(&d, text, &options, &e), OSV_OK, "%s", e.text);
    const osv_completion *c = d->point[0].completion;
    cr_assert(d->point[0].completions == 1 && c->count == c->prompt && c->kind == OSV_COMPLETION_PROMOTE);
    cr_expect(c->count > 1 && c->steer[c->count - 1] == 1 && c->steer[0] == (c->count == 2));
    cr_expect(c->weight == 1 && !c->text);
    cr_expect_gt(d->point[1].completion[0].count, d->point[1].completion[0].prompt);
    osv_dataset_free(d);
    check_failure("too long", read_text(&d, "{\"prompt\": \"cccc\"}", &options, &e), &e, OSV_BAD_INPUT,
                  "the prompt: 5 tokens of prompt and 0 of completion");
    options.prompt_alone = false;
    e = (osv_error){0};
    cr_expect_eq(read_text(&d, text, &options, &e), OSV_BAD_INPUT);
    osv_tokenizer_close(t);
}

Test(datapoints, texts_are_kept_or_decoded, .init = temp_open, .fini = temp_close)
{
    osv_tokenizer *t = open_tokenizer(BOS);
    osv_dataset_options options = {.tokenizer = t, .V = 8, .positions = 8, .default_positions = "all"};
    osv_error e = {0};
    osv_dataset *d;
    int status = read_text(&d,
                           "{\"prompt\": \"a b\", \"promote\": [\"c\", {\"ids\": [6, 7]}]}\n"
                           "{\"prompt\": {\"ids\": [0, 1, 4]}, \"promote\": [\"c\"]}\n",
                           &options, &e);
    cr_assert_eq(status, OSV_OK, "%s", e.text);
    cr_expect_str_eq(d->point[0].prompt, "a b");
    cr_expect_str_eq(d->point[0].completion[0].text, "c");
    cr_expect_str_eq(d->point[0].completion[1].text, "ab a");
    cr_expect_str_eq(d->point[1].prompt, "<s>a ");
    osv_dataset_free(d);
    osv_tokenizer_close(t);
}

/* To add a case: post-processor, V of the model, a line, what the message must say. */
static const struct {
    const char *post_processor;
    int V;
    const char *line, *piece;
} texts[] = {
    {BOS, 8, "{\"prompt\": \"a\", \"promote\": [\"\"]}", "\"promote\"[0] tokenizes to nothing"},
    {BOS, 8, "{\"prompt\": \"a\", \"suppress\": [\"b\", \"\xe2\x82\xac\"]}",
     "\"suppress\"[1] tokenizes to nothing"},
    {"null", 8, "{\"prompt\": \"\", \"promote\": [\"a\"]}",
     "\"prompt\" has no tokens, and the tokenizer puts none in front of a text"},
    {BOS, 8, "{\"prompt\": \"cccc\", \"promote\": [\"ccccc\"]}",
     "5 tokens of prompt and 5 of completion make 10, the model"},
    {BOS, 6, "{\"prompt\": \"a\", \"promote\": [\"ab\"]}",
     "\"promote\"[0]: the tokenizer gives id 6, the model has only 6"},
};

Test(datapoints, broken_texts, .init = temp_open, .fini = temp_close)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        osv_tokenizer *t = open_tokenizer(texts[i].post_processor);
        osv_dataset_options options = {
            .tokenizer = t, .V = texts[i].V, .positions = 8, .default_positions = "all"};
        osv_error e = {0};
        osv_dataset *d;
        int status = read_text(&d, texts[i].line, &options, &e);
        check_failure(texts[i].line, status, &e, OSV_BAD_INPUT, texts[i].piece);
        osv_dataset_free(d);
        osv_tokenizer_close(t);
    }
}
