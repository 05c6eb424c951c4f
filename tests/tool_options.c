/* The options of osv-train: what is taken, what is refused and in which words, and that the defaults in the
 * table are those of the library. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "files.h"
#include "loader/json.h"
#include "tools/text.h"
#include "tools/train_sweep.h"

enum { MOST_ARGS = 32 };

/* Splits at blanks; an empty word is written as ''. */
static int parse(train_options *o, const char *line, osv_error *e)
{
    static char text[512];
    static char *argv[MOST_ARGS + 1];
    int argc = 0;
    argv[argc++] = "osv-train";
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word && argc < MOST_ARGS; word = strtok(NULL, " ")) {
        if (strcmp(word, "''") == 0) *word = '\0';
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return train_options_parse(o, argc, argv, e);
}

#define REQUIRED "--model m --data d --out r --layer 3 "

Test(tool_options, defaults_are_the_librarys)
{
    train_options o;
    osv_error e = {0};
    cr_assert_eq(parse(&o, REQUIRED, &e), OSV_OK, "%s", e.text);
    osv_job_options a = o.job, b = osv_job_defaults();
    cr_expect(a.lr == b.lr && a.beta1 == b.beta1 && a.beta2 == b.beta2 && a.adam_eps == b.adam_eps);
    cr_expect(a.max_iters == b.max_iters && a.coldness == b.coldness && a.eps == b.eps && a.seed == b.seed);
    cr_expect(a.init_norm == b.init_norm && a.init == NULL && a.max_norm == b.max_norm && a.max_norm < 0);
    cr_expect(a.min_norm_iters == b.min_norm_iters && a.min_norm_lr == b.min_norm_lr);
    cr_expect(a.l1 == b.l1 && a.group_sparsity == b.group_sparsity);
    cr_expect(a.length_norm == b.length_norm && a.satisfice == b.satisfice && isnan(a.target_loss));
    cr_expect(a.target_rule == b.target_rule && a.target_iters == b.target_iters);
    cr_expect(a.plateau_eps == b.plateau_eps && a.plateau_iters == b.plateau_iters);
    cr_expect(strcmp(o.positions, "all") == 0 && strcmp(o.machine.backend, "auto") == 0 && o.layers == 1 &&
              o.layer[0] == 3);
    cr_expect(!o.force && !o.plan && !o.json && !o.quiet && !o.negated && o.machine.threads == 0);
}

Test(tool_options, values)
{
    train_options o;
    osv_error e = {0};
    cr_assert_eq(parse(&o,
                       "--model=m --data d --out r --layer 8-10,2 --lr 1e-3 --betas 0,0.5 "
                       "--seed 18446744073709551615",
                       &e),
                 OSV_OK, "%s", e.text);
    static const int expected[] = {8, 9, 10, 2};
    cr_expect(o.layers == 4 && memcmp(o.layer, expected, sizeof expected) == 0);
    cr_expect(strcmp(o.model, "m") == 0 && o.job.lr == 1e-3 && o.job.beta1 == 0 && o.job.beta2 == 0.5);
    cr_expect(o.job.seed == 18446744073709551615ull);
    cr_assert_eq(
        parse(&o, REQUIRED "--target-rule each --suppress-loss negated --target-loss -2.5 --max-norm 0", &e),
        OSV_OK, "%s", e.text);
    cr_expect(o.job.target_rule == OSV_TARGET_EACH && o.negated && o.job.target_loss == -2.5 &&
              o.job.max_norm == 0);
    cr_assert_eq(parse(&o, REQUIRED "--target-loss 0.75x", &e), OSV_OK, "%s", e.text);
    cr_expect(o.target.kind == OSV_TARGET_UNSTEERED && o.target.x == 0.75 && isnan(o.job.target_loss));
    cr_assert_eq(
        parse(&o, REQUIRED "--parity reference --suppress-loss negated --eps 1e-3 --target-iters 7", &e),
        OSV_OK, "%s", e.text);
    cr_expect(o.job.parity ==
              (OSV_PARITY_EXTRA_STEP | OSV_PARITY_STEP_AFTER_TARGET | OSV_PARITY_PLATEAU_TOTAL));
    cr_expect(!o.negated && o.job.plateau_eps == 1e-3 && o.job.plateau_iters == 7 && !o.form.cut &&
              !o.form.constant_norm);
    cr_assert_eq(parse(&o, REQUIRED "--parity cut,constant-norm --apply clamp --joint shared", &e), OSV_OK,
                 "%s", e.text);
    cr_expect(o.job.parity == 0 && o.form.cut && o.form.constant_norm && o.job.plateau_eps == 1e-6);
    cr_assert_eq(parse(&o, "--help", &e), OSV_OK, "--help asks for nothing else: %s", e.text);
    cr_assert_eq(parse(&o, "--model m --data d --layer 0 --plan", &e), OSV_OK, "--plan needs no --out: %s",
                 e.text);
    cr_assert_eq(parse(&o, "--model m --data d --scan", &e), OSV_OK,
                 "--scan needs neither --layer nor --out: %s", e.text);
    cr_expect(o.scan && o.layers == 0 && o.scan_norm == 0.1 && !o.scan_positions);
}

/* To add a case: what follows the required options, what the message must say. */
static const struct {
    const char *line, *piece;
} refused[] = {
    {"--frobnicate 3", "unknown option --frobnicate"},
    {"--max 3", "unknown option --max"}, /* a beginning of several names */
    {"--coldn 3", "unknown option --coldn"},
    {"-x", "unknown option -x"},
    {"--lr", "--lr needs a value"},
    {"--parity cut,", "--parity cut,: must be reference, or some of"},
    {"--parity cu", "--parity cu: must be reference, or some of"},
    {"--parity ''", "--parity : must be reference, or some of"},
    {"--quiet=yes", "--quiet=yes: this option takes no value"},
    {"more", "unexpected argument \"more\""},
    {"--l1 -1", "--l1 -1: must be a finite number at least 0"},
    {"--group-sparsity 1", "--group-sparsity 1: chooses between the vectors of --joint per-layer"},
    {"--joint shared --group-sparsity 0.5", "--group-sparsity 0.5: chooses between"},
    {"--lr abc", "--lr abc: must be a finite number above 0"},
    {"--lr ''", "--lr : must be"},
    {"--lr 0", "--lr 0: must be"},
    {"--lr -1", "--lr -1: must be"},
    {"--lr nan", "--lr nan: must be"},
    {"--lr inf", "--lr inf: must be"},
    {"--lr 1e999", "--lr 1e999: must be"},
    {"--lr 0x1p-3", "--lr 0x1p-3: must be"},
    {"--lr 1,", "--lr : must be"},
    {"--lr 1,x", "--lr x: must be a finite number above 0"},
    {"--lr 0.1,0.5,0.10", "--lr 0.1,0.5,0.10: names 0.10 twice"},
    {"--init-norm 1,-1", "--init-norm -1: must be a finite number at least 0"},
    {"--seeds 3-1", "--seeds 3-1: must be whole numbers from 0 to"},
    {"--seeds 1,,2", "--seeds 1,,2: must be whole numbers"},
    {"--seeds -1", "--seeds -1: must be"},
    {"--seeds 1-", "--seeds 1-: must be"},
    {"--seeds 1-2-3", "--seeds 1-2-3: must be"},
    {"--seeds 0-9,5-6", "--seeds 0-9,5-6: names seed 5 twice"},
    {"--seeds 5-6,0-9", "names seed 5 twice"},
    {"--seeds 0-100000", "at most 100000 seeds"},
    {"--seeds 0-18446744073709551615", "at most 100000 seeds"},
    {"--seed 1,2", "--seed 1,2: must be one whole number; --seeds takes several"},
    {"--plan --list", "--plan and --list: one of them at a time"},
    {"--max-norm -1", "--max-norm -1: must be a finite number at least 0"},
    {"--target-loss nan",
     "--target-loss nan: must be a finite number, unsteered, or a multiple such as 0.75x"},
    {"--target-loss x", "--target-loss x: must be"},
    {"--target-loss -2x", "--target-loss -2x: must be"},
    {"--eps 2", "--eps 2: must be a number above 0 and at most 1"},
    {"--max-iters 1.5", "--max-iters 1.5: must be a whole number, 0 or more"},
    {"--max-iters -1", "--max-iters -1: must be"},
    {"--max-iters 99999999999", "--max-iters 99999999999: must be"},
    {"--threads 0", "--threads 0: must be a whole number from 1 to"},
    {"--seed -1", "--seed -1: must be"},
    {"--seed 18446744073709551616", "--seed 18446744073709551616: must be"},
    {"--betas 0.9", "--betas 0.9: must be two numbers"},
    {"--betas 0.9,1", "--betas 0.9,1: must be two numbers"},
    {"--betas 0.9,0.9,0.9", "must be two numbers"},
    {"--target-rule any", "--target-rule any: must be one of sum|each"},
    {"--target-rule su", "--target-rule su: must be one of"},
    {"--dtype f16", "--dtype f16: must be one of f32|bf16"},
    {"--layer 3,", "--layer 3,: must be block numbers"},
    {"--layer -1", "--layer -1: must be block numbers"},
    {"--layer 5-3", "--layer 5-3: must be block numbers"},
    {"--layer 3,1-4", "names layer 3 twice"},
    {"--layer 9999", "must be block numbers below"},
    {"--apply rotate", "--apply rotate: must be add, add-norm, clamp, ablate or affine"},
    {"--apply clamp:2", "--apply clamp:2: must be add"},
    {"--clamp 2", "--clamp 2: only --apply clamp has a use for it"},
    {"--apply ablate --clamp 2", "--clamp 2: only --apply clamp"},
    {"--offset f", "--offset f: only --apply clamp has a use for it"},
    {"--rank 2", "--rank 2: only --apply affine has a use for it"},
    {"--apply affine --rank 0", "--rank 0: must be a whole number from 1"},
    {"--joint both", "--joint both: must be shared or per-layer"},
    {"--layer x", "--layer x: must be block numbers"},
    {"--beta 0", "--beta 0: must be a finite number above 0"},
    {"--preference-signs minus", "--preference-signs minus: must be one of plus|both|random"},
    {"--beam-width 0", "--beam-width 0: must be a whole number from 1"},
    {"--beam-tokens 0", "--beam-tokens 0: must be a whole number from 1"},
    {"--beam-rank best", "--beam-rank best: must be one of total|last"},
    {"--scan-norm 2", "--scan-norm: only --scan has a use for it"},
    {"--scan-positions", "--scan-positions: only --scan has a use for it"},
    {"--scan --scan-norm 0", "--scan-norm 0: must be a finite number above 0"},
    {"--scan --plan", "--scan and --plan: one of them at a time"},
    {"--scan --list", "--scan and --list: one of them at a time"},
    {"--scan --sweep s", "--scan and --sweep: one of them at a time"},
};

Test(tool_options, refused)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        char line[256];
        train_options o;
        osv_error e = {0};
        snprintf(line, sizeof line, REQUIRED "%s", refused[i].line);
        check_failure(refused[i].line, parse(&o, line, &e), &e, OSV_USAGE, refused[i].piece);
    }
}

Test(tool_options, several_values)
{
    train_options o, job;
    osv_error e = {0};
    cr_assert_eq(
        parse(&o, "--model m --data d --list --layer 4,2 --seeds 7,0-1 --lr 0.1,1e2 --max-norm 3", &e),
        OSV_OK, "%s", e.text);
    static const unsigned long long seeds[] = {7, 0, 1};
    cr_assert_eq(o.seeds.count, 3);
    for (int i = 0; i < 3; i++) cr_expect_eq(osv_option_seed(&o.seeds, i), seeds[i]);
    cr_expect(o.lr.count == 2 && o.lr.value[1] == 100 && o.init_norm.count == 1 && o.max_norm.count == 1);
    cr_expect(o.job.seed == 7 && o.job.lr == 0.1 && o.job.max_norm == 3, "the first of each");
    cr_assert_eq(train_line_jobs(&o), 12);
    for (int i = 0; i < 12; i++) { /* the layer outermost, then the seed, then the rate */
        train_line_job(&job, &o, i);
        cr_expect(job.layers == 1 && job.layer[0] == (i < 6 ? 4 : 2), "layer of job %d", i);
        cr_expect(job.job.seed == seeds[i / 2 % 3] && job.seeds.count == 1, "seed of job %d", i);
        cr_expect(job.job.lr == (i % 2 ? 100 : 0.1) && job.lr.count == 1, "rate of job %d", i);
        cr_expect(job.job.max_norm == 3 && job.job.init_norm == 1);
    }
    cr_assert_eq(parse(&o, REQUIRED "--seeds 0-99999 --lr 1,2", &e), OSV_OK, "%s", e.text);
    cr_expect_eq(train_line_jobs(&o), -1, "too many together");
    cr_assert_eq(parse(&o, "--model m --data d --out r --sweep s", &e), OSV_OK,
                 "--sweep may have the layers");
}

Test(tool_options, from_json)
{
    static const struct {
        const char *option, *json, *piece; /* what the message must say; NULL: taken */
    } row[] = {
        {"lr", "0.25", NULL},
        {"lr", "\"0.25\"", NULL},
        {"lr", "[1, 0.25]", NULL},
        {"lr", "0", "--lr 0: must be a finite number above 0"},
        {"lr", "[]", "--lr []: must be a number or a string, or a list of these"},
        {"lr", "[[1]]", "--lr [[1]]: must be"},
        {"lr", "{}", "--lr {}: must be"},
        {"lr", "null", "--lr null: must be"},
        {"lr", "[1, 1.0]", "names 1 twice"},
        {"max-iters", "7", NULL},
        {"max-iters", "7.0", NULL},
        {"max-iters", "7.5", "--max-iters 7.5: must be a whole number"},
        {"seeds", "[1, \"4-6\"]", NULL},
        {"seed", "18446744073709551615", "must be a whole number"}, /* a double by then */
        {"seed", "\"18446744073709551615\"", NULL},
        {"satisfice", "true", NULL},
        {"satisfice", "\"yes\"", "--satisfice \"yes\": must be true or false"},
        {"target-rule", "\"each\"", NULL},
        {"target-rule", "1", "--target-rule 1: must be one of sum|each"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        train_options o;
        osv_error e = {0};
        char *text, where[64];
        json_t *all, *value;
        cr_assert_eq(parse(&o, REQUIRED, &e), OSV_OK);
        snprintf(where, sizeof where, "[%s]", row[i].json);
        cr_assert_eq(osv_json_parse(&all, where, strlen(where), "test", 1, &e), OSV_OK, "%s", e.text);
        value = json_array_get(all, 0);
        int status =
            osv_option_set_json(osv_options_find(train_option_table, row[i].option), value, &text, &o, &e);
        check_failure(where, status, &e, row[i].piece ? OSV_USAGE : OSV_OK, row[i].piece);
        if (!row[i].piece && train_options_resolve(&o, &e) == OSV_OK) {
            bool lr = strcmp(row[i].option, "lr") == 0, iters = strcmp(row[i].option, "max-iters") == 0;
            cr_expect(!lr || o.lr.value[o.lr.count - 1] == 0.25, "%s", row[i].json);
            cr_expect(!iters || o.job.max_iters == 7, "%s", row[i].json);
            cr_expect(strcmp(row[i].option, "seeds") != 0 || osv_option_seed(&o.seeds, 3) == 6);
            cr_expect(strcmp(row[i].option, "seed") != 0 || o.job.seed == 18446744073709551615ull);
            cr_expect(strcmp(row[i].option, "target-rule") != 0 || o.job.target_rule == OSV_TARGET_EACH);
            cr_expect(strcmp(row[i].option, "satisfice") != 0 || o.job.satisfice);
        }
        free(text);
        json_decref(all);
    }
}

Test(tool_options, required)
{
    static const char *const lines[][2] = {
        {"--data d --out r --layer 3", "--model is missing"},
        {"--model m --out r --layer 3", "--data is missing"},
        {"--model m --data d --out r", "--layer is missing"},
        {"--model m --data d --layer 3", "--out is missing"},
        {"--model m --data d --scan --dump d", "--scan and --dump: one"},
        {"--model m --data d --scan --resume", "so leave out --resume"},
        {"--model m --data d --scan --profile 1", "so leave out --profile"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        train_options o;
        osv_error e = {0};
        check_failure(lines[i][0], parse(&o, lines[i][0], &e), &e, OSV_USAGE, lines[i][1]);
    }
}

Test(tool_options, as_json)
{
    train_options o;
    osv_error e = {0};
    cr_assert_eq(parse(&o, REQUIRED "--seed 18446744073709551615 --target-rule each --json", &e), OSV_OK);
    json_t *all = osv_options_json(train_option_table, &o);
    cr_expect_eq(json_real_value(json_object_get(all, "lr")), 0.01);
    cr_expect(json_is_null(json_object_get(all, "max-norm")) &&
              json_is_null(json_object_get(all, "target-loss")));
    cr_expect_str_eq(json_string_value(json_object_get(all, "target-rule")), "each");
    cr_expect_str_eq(json_string_value(json_object_get(all, "seed")), "18446744073709551615");
    cr_expect(json_is_null(json_object_get(all, "seeds")), "one seed is in \"seed\"");
    cr_expect(json_is_true(json_object_get(all, "json")) && json_is_null(json_object_get(all, "init")));
    json_decref(all);
    cr_assert_eq(parse(&o, REQUIRED "--seeds 0-3 --max-norm 1,2.5", &e), OSV_OK);
    all = osv_options_json(train_option_table, &o);
    cr_expect_str_eq(json_string_value(json_object_get(all, "seeds")), "0-3");
    cr_expect_str_eq(json_string_value(json_object_get(all, "max-norm")), "1,2.5");
    cr_expect(json_is_null(json_object_get(all, "seed")));
    json_decref(all);
}

/* To add a case: text, characters to show, which end is kept, what comes out. */
static const struct {
    const char *text;
    int characters;
    osv_keep keep;
    const char *shown;
} texts[] = {
    {"Sure,", 10, OSV_KEEP_HEAD, "\"Sure,\""},
    {"Sure,", 4, OSV_KEEP_HEAD, "\"Sure\"..."},
    {"Sure,", 4, OSV_KEEP_TAIL, "...\"ure,\""},
    {"a\nb\t\"\\", 10, OSV_KEEP_HEAD, "\"a\\nb\\t\\\"\\\\\""},
    {"\033[31m", 10, OSV_KEEP_HEAD, "\"\\x1b[31m\""},
    {"\xc2\x9b", 10, OSV_KEEP_HEAD, "\"\\xc2\\x9b\""}, /* a terminal's CSI in one character */
    {"\xc3\xa9\xe2\x82\xac", 1, OSV_KEEP_HEAD, "\"\xc3\xa9\"..."},
    {"\xc3\xa9\xe2\x82\xac", 1, OSV_KEEP_TAIL, "...\"\xe2\x82\xac\""},
    {"\xe2\x82", 10, OSV_KEEP_HEAD, "\"\\xe2\\x82\""},
    {"", 10, OSV_KEEP_TAIL, "\"\""},
};

Test(tool_options, text_for_a_terminal)
{
    char number[OSV_NUMBER_ROOM];
    static const char *const numbers[] = {"0",     "20",      "-2.5",   "0.1",
                                          "1e-05", "1000000", "1e+300", "0.30000000000000004"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        cr_expect_str_eq(osv_show_number(number, strtod(numbers[i], NULL)), numbers[i]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char out[128];
        cr_expect_str_eq(osv_show_text(out, sizeof out, texts[i].text, texts[i].characters, texts[i].keep),
                         texts[i].shown);
    }
    char out[40];
    static const int ids[] = {5, 17, 3};
    cr_expect_str_eq(osv_show_ids(out, sizeof out, ids, 3, 3), "[5, 17, 3]");
    cr_expect_str_eq(osv_show_ids(out, sizeof out, ids, 3, 2), "[5, 17, ...]");
    cr_expect_str_eq(osv_show_ids(out, sizeof out, ids, 0, 2), "[]");
    json_t *escaped = osv_text_json("a\xff\xc3\xa9");
    cr_expect_str_eq(json_string_value(escaped), "a\\xff\xc3\xa9");
    json_decref(escaped);
}
