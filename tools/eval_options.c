#include "tools/eval_options.h"

#include <stdlib.h>
#include <string.h>

#define FIELD(name) .offset = offsetof(eval_options, name)

static const osv_option table[] = {
    {"model", "DIR", NULL, "model folder as downloaded, or random:SHAPE (random: lists them)",
     OSV_OPTION_TEXT, FIELD(model), .group = "What is asked:"},
    {"prompts", "FILE", NULL, "flip set: prompts whose answer should change, JSON Lines", OSV_OPTION_TEXT,
     FIELD(prompts)},
    {"control", "FILE", NULL, "control set: prompts whose answer should stay", OSV_OPTION_TEXT,
     FIELD(control)},
    {"chat", "FORMAT", "auto", "how \"messages\" become text; auto: as the model's own template",
     OSV_OPTION_TEXT, FIELD(chat)},
    {"max-tokens", "N", "64", "longest answer, in tokens", OSV_OPTION_INT, FIELD(max_tokens), .low = 1,
     .high = 1 << 20},

    {"by", "text|choice", "text", "what is judged: the greedy answer, or the likeliest of \"choices\"",
     OSV_OPTION_CHOICE, FIELD(by), .group = "What counts:"},
    {"match", "exact|prefix|contains", "exact", "how an answer meets an expected text", OSV_OPTION_CHOICE,
     FIELD(match)},

    {"vector", "FILE[:SCALE]", NULL, "steering vector, times SCALE (default 1); again for several at once",
     OSV_OPTION_LIST, FIELD(steering.vector), .group = "Steering:"},
    {"scales", "X,Y,...", "1,-1", "each of these times the vectors", OSV_OPTION_TEXT, FIELD(scales_text)},
    {"layer", "L", NULL, "vectors enter block L (default: the one in the file)", OSV_OPTION_INT,
     FIELD(steering.layer), .low = 0, .high = OSV_MAX_BLOCKS - 1},
    {"positions", "SPEC", NULL, "steered: all | prompt | completion or a slice (default: as trained)",
     OSV_OPTION_TEXT, FIELD(steering.positions)},
    {"apply", "FORM", NULL, "add | clamp[:C] | ablate (default: as trained)", OSV_OPTION_TEXT,
     FIELD(steering.apply)},

    TOOL_MACHINE_OPTIONS,
    TOOL_RANK_OPTIONS,

    {"json", NULL, NULL, "one JSON object with the table and every answer", OSV_OPTION_FLAG, FIELD(json),
     .group = "Output:"},
    {"csv", "FILE", NULL, "the table as CSV as well; -: on standard output, in place of the text",
     OSV_OPTION_TEXT, FIELD(csv)},
    {"quiet", NULL, NULL, "no progress and no notes on standard error", OSV_OPTION_FLAG, FIELD(quiet)},
    {"verbose", NULL, NULL, "each rank says on standard error what it does", OSV_OPTION_FLAG, FIELD(verbose)},
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {"version", NULL, NULL, "version, commit, compiler, libraries", OSV_OPTION_FLAG, FIELD(version)},
    {0},
};

static int parse_scales(eval_options *o, osv_error *e)
{
    for (const char *at = o->scales_text;; at++) {
        char number[64];
        size_t length = strcspn(at, ",");
        if (o->scales == EVAL_MOST_SCALES)
            return OSV_FAIL(e, OSV_USAGE, "--scales: more than %d", EVAL_MOST_SCALES);
        if (length >= sizeof number) break;
        memcpy(number, at, length);
        number[length] = '\0';
        if (!osv_parse_number(number, &o->scale[o->scales])) break;
        o->scales++;
        at += length;
        if (*at == '\0') return OSV_OK;
    }
    return OSV_FAIL(e, OSV_USAGE, "--scales %s: must be numbers with commas between, such as 1,-1,0.5",
                    o->scales_text);
}

int eval_options_parse(eval_options *o, int argc, char **argv, osv_error *e)
{
    *o = (eval_options){.machine = TOOL_MACHINE_DEFAULT, .steering.layer = -1};
    OSV_TRY(osv_options_parse(table, argc, argv, o, e));
    if (o->help || o->version) return OSV_OK;
    if (!o->model) return OSV_FAIL(e, OSV_USAGE, "--model is missing: the folder of the model");
    if (!o->prompts && !o->control)
        return OSV_FAIL(e, OSV_USAGE, "--prompts is missing: the file of the flip set (or --control)");
    if (o->steering.vector.count == 0) return OSV_FAIL(e, OSV_USAGE, "--vector is missing: what steers");
    if (o->prompts && o->control && strcmp(o->prompts, "-") == 0 && strcmp(o->control, "-") == 0)
        return OSV_FAIL(e, OSV_USAGE, "--prompts and --control cannot both be standard input");
    if (o->json && o->csv && strcmp(o->csv, "-") == 0)
        return OSV_FAIL(e, OSV_USAGE, "--csv - and --json cannot both have standard output");
    OSV_TRY(parse_scales(o, e));
    return steering_options_check(&o->steering, e);
}

void eval_options_help(FILE *out)
{
    osv_options_help(
        out, table,
        "osv-eval flips --model DIR --vector FILE[:SCALE]... --prompts FILE [--control FILE] [options]\n\n"
        "Asks every prompt without the vectors and with them at each scale, and counts what changes.\n",
        "\nA line of the sets is a prompt as osv-generate takes it, and what it is judged by:\n"
        "  --by text    \"before\": [\"...\"], \"after\": [\"...\"]: answers expected without and with the\n"
        "               vectors. An answer is the greedy text up to an end token or --max-tokens, without\n"
        "               white space at its ends. --match exact: it is one of these texts, whole; prefix: it\n"
        "               begins with one; contains: it holds one. Bytes are compared.\n"
        "  --by choice  \"choices\": [\"...\", \"...\"], \"before\": 0, \"after\": 1: the answer is the "
        "choice with\n"
        "               the highest probability after the prompt (sum of log-probabilities, not divided by\n"
        "               length; the first among equals); before and after are indexes, or lists of them.\n"
        "Flip set: a prompt flips if its unsteered answer is in \"before\" (where that is not given: is not\n"
        "in \"after\") and its steered answer is in \"after\". Control set: a prompt is kept if both "
        "answers\n"
        "are in \"before\".\n"
        "Columns: set, scale, n prompts, unsteered (answers that can flip or be kept), steered (flipped or\n"
        "kept), percent = steered of n, low and high: its 95 % interval (Wilson).\n"
        "\nExit status: 0 done, 2 usage, 3 bad input, 4 device or memory, 130 interrupted, 143 "
        "terminated.\n");
}
