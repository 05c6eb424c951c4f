/* What osv-eval counts: answers, intervals, and its options. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "files.h"
#include "tools/eval_match.h"
#include "tools/eval_options.h"

/* To add a case: how, answer, expected text, and whether they meet. */
static const struct {
    eval_match how;
    const char *answer, *expected;
    bool meet;
} matches[] = {
    {EVAL_EXACT, "Sure, it is red.", "Sure, it is red.", true},
    {EVAL_EXACT, " Sure, it is red.\n", "Sure, it is red.", true},
    {EVAL_EXACT, "Sure, it is red.", "\tSure, it is red. ", true},
    {EVAL_EXACT, "Sure, it is red. Sure", "Sure, it is red.", false},
    {EVAL_EXACT, "Sure, it is red", "Sure, it is red.", false},
    {EVAL_EXACT, "sure", "Sure", false},
    {EVAL_EXACT, "", "", true},
    {EVAL_EXACT, " ", "", true},
    {EVAL_EXACT, "a", "", false},
    {EVAL_EXACT,
     "\xc2\xa0"
     "a",
     "a", false}, /* a no-break space is a character */
    {EVAL_PREFIX, " Sure, it is red.", "Sure", true},
    {EVAL_PREFIX, "Not Sure", "Sure", false},
    {EVAL_PREFIX, "Su", "Sure", false},
    {EVAL_PREFIX, "a", "", true},
    {EVAL_CONTAINS, "I am sure, yes", "sure", true},
    {EVAL_CONTAINS, "I am", "sure", false},
    {EVAL_CONTAINS, "a", "", true},
    {EVAL_CONTAINS, "", "a", false},
};

Test(eval, matches)
{
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++)
        cr_expect(eval_matches(matches[i].how, matches[i].answer, strlen(matches[i].answer),
                               matches[i].expected) == matches[i].meet,
                  "row %zu: \"%s\", \"%s\"", i, matches[i].answer, matches[i].expected);
    cr_expect(!eval_matches(EVAL_EXACT, "a\0b", 3, "a"), "a NUL is a byte like others");
    json_t *list = json_pack("[s, s]", "no", "yes");
    cr_expect(eval_matches_any(EVAL_EXACT, "yes", 3, list));
    cr_expect(!eval_matches_any(EVAL_EXACT, "maybe", 5, list));
    cr_expect(!eval_matches_any(EVAL_EXACT, "yes", 3, NULL));
    json_decref(list);
}

/* The bounds solve |share - p| = z sqrt(p (1 - p) / n) for p, which is how the interval is defined. */
Test(eval, wilson)
{
    static const struct {
        int counted, n;
        double percent, low, high; /* to two digits, as statistical packages print them */
    } known[] = {
        {0, 10, 0, 0, 27.75},        {10, 10, 100, 72.25, 100},   {8, 10, 80, 49.02, 94.33},
        {50, 100, 50, 40.38, 59.62}, {92, 100, 92, 85.00, 95.89}, {1, 1, 100, 20.65, 100},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        eval_share s = eval_wilson(known[i].counted, known[i].n);
        cr_expect(fabs(s.percent - known[i].percent) <= 1e-9 && fabs(s.low - known[i].low) <= 0.006 &&
                      fabs(s.high - known[i].high) <= 0.006,
                  "%d of %d: %.3f, %.3f to %.3f", known[i].counted, known[i].n, s.percent, s.low, s.high);
    }
    const double z = 1.959963984540054;
    for (int n = 1; n <= 120; n += 7)
        for (int k = 0; k <= n; k++) {
            eval_share s = eval_wilson(k, n);
            double p = (double)k / n, bound[] = {s.low / 100, s.high / 100};
            cr_assert(s.low >= 0 && s.low <= s.percent && s.percent <= s.high && s.high <= 100);
            for (int b = 0; b < 2; b++) {
                if (bound[b] == 0 || bound[b] == 1) continue;
                double distance = fabs(p - bound[b]), expected = z * sqrt(bound[b] * (1 - bound[b]) / n);
                cr_assert(fabs(distance - expected) <= 1e-9, "%d of %d", k, n);
            }
        }
    cr_expect(isnan(eval_wilson(0, 0).percent));
}

static int parse(eval_options *o, const char *line, osv_error *e)
{
    static char text[512];
    static char *argv[64];
    int argc = 0;
    argv[argc++] = "flips";
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word && argc < 63; word = strtok(NULL, " ")) argv[argc++] = word;
    argv[argc] = NULL;
    return eval_options_parse(o, argc, argv, e);
}

static const struct {
    const char *line, *piece; /* NULL: taken */
} options[] = {
    {"--model m --prompts p --vector v", NULL},
    {"--model m --control p --vector v --scales 0.5", NULL},
    {"--prompts p --vector v", "--model is missing"},
    {"--model m --vector v", "--prompts is missing"},
    {"--model m --prompts p", "--vector is missing"},
    {"--model m --prompts - --control - --vector v", "cannot both be standard input"},
    {"--model m --prompts p --vector v --scales 1,,2", "--scales 1,,2: must be numbers"},
    {"--model m --prompts p --vector v --scales 1,", "must be numbers"},
    {"--model m --prompts p --vector v --scales x", "must be numbers"},
    {"--model m --prompts p --vector v --match fuzzy", "must be one of exact|prefix|contains"},
    {"--model m --prompts p --vector v --by letter", "must be one of text|choice"},
    {"--model m --prompts p --vector v --positions completion:-1", "counts from the end"},
};

Test(eval, options)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        eval_options o;
        osv_error e = {0};
        int status = parse(&o, options[i].line, &e);
        check_failure(options[i].line, status, &e, options[i].piece ? OSV_USAGE : OSV_OK, options[i].piece);
    }
    eval_options o;
    osv_error e = {0};
    cr_assert_eq(parse(&o, "--model m --prompts p --vector v", &e), OSV_OK);
    cr_expect(o.scales == 2 && o.scale[0] == 1 && o.scale[1] == -1 && o.by == EVAL_BY_TEXT &&
              o.match == EVAL_EXACT);
    cr_assert_eq(parse(&o, "--model m --prompts p --vector v --scales 1,-1,0.5,-2e-1", &e), OSV_OK);
    cr_expect(o.scales == 4 && o.scale[3] == -0.2);
}
