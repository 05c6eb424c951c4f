#include "tools/inspect_options.h"

#include <stdlib.h>

#include "loader/datapoints.h"

#define FIELD(name) .offset = offsetof(inspect_options, name)

static const osv_option table[] = {
    {"data", "FILE", NULL, "datapoints: what training does at each of their tokens", OSV_OPTION_TEXT,
     FIELD(data), .group = "What is shown besides the model:"},

    {"tokenize", "FILE", NULL, "{\"text\": \"...\", \"special\": false} a line -> {\"ids\": [..]}",
     OSV_OPTION_TEXT, FIELD(tokenize), .group = "In place of it, line by line (-: standard input):"},
    {"detokenize", "FILE", NULL, "{\"ids\": [..], \"skip_special\": false} a line -> {\"text\": \"...\"}",
     OSV_OPTION_TEXT, FIELD(detokenize)},
    {"render", "FILE", NULL, "{\"messages\": [..]} a line -> {\"text\": \"...\"} or {\"error\": \"...\"}",
     OSV_OPTION_TEXT, FIELD(render)},

    {"layer", "L", NULL, "the vector enters block L: 12 | 10,12 | 8-14 (default: the middle one)",
     OSV_OPTION_TEXT, FIELD(layer), .group = "As in osv-train:"},
    {"positions", "SPEC", "all",
     "steered: all | prompt | completion, or a slice such as prompt:-20:", OSV_OPTION_TEXT, FIELD(positions)},
    {"chat", "FORMAT", "auto", "how \"messages\" become text; auto: as the model's own template",
     OSV_OPTION_TEXT, FIELD(chat)},
    {"boundary", "auto|joint|apart", "auto", "how text is split between prompt and completion",
     OSV_OPTION_CHOICE, FIELD(boundary)},

    TOOL_MACHINE_OPTIONS,
    {"memory", "SIZE", NULL, "memory for a training run, such as 20G (default: what is free)",
     OSV_OPTION_BYTES, FIELD(memory)},

    {"json", NULL, NULL, "one JSON object; with --data one a line for each completion, and nothing else",
     OSV_OPTION_FLAG, FIELD(json), .group = "Output:"},
    {"quiet", NULL, NULL, "no notes on standard error", OSV_OPTION_FLAG, FIELD(quiet)},
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {"version", NULL, NULL, "version, commit, compiler, libraries", OSV_OPTION_FLAG, FIELD(version)},
    {0},
};

static int check(const inspect_options *o, osv_error *e)
{
    const struct {
        const char *value, *name;
    } modes[] = {
        {o->data, "data"}, {o->tokenize, "tokenize"}, {o->detokenize, "detokenize"}, {o->render, "render"}};
    const char *first = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (!modes[i].value) continue;
        if (first)
            return OSV_FAIL(e, OSV_USAGE, "--%s and --%s: one of them at a time", first, modes[i].name);
        first = modes[i].name;
    }
    return osv_positions_check(o->positions, "--positions", e);
}

int inspect_options_parse(inspect_options *o, int argc, char **argv, osv_error *e)
{
    *o = (inspect_options){.machine = TOOL_MACHINE_DEFAULT};
    const char **operand = calloc((size_t)argc + 1, sizeof *operand);
    int operands = 0;
    if (!operand) return OSV_FAIL(e, OSV_DEVICE, "out of memory");
    int status = osv_options_parse_operands(table, argc, argv, o, operand, &operands, e);
    o->model = operand[0];
    const char *second = operands > 1 ? operand[1] : NULL;
    free(operand);
    if (status || o->help || o->version) return status;
    if (operands == 0)
        return OSV_FAIL(e, OSV_USAGE, "the model is missing: osv-inspect MODEL, a folder or random:SHAPE");
    if (second) return OSV_FAIL(e, OSV_USAGE, "unexpected argument \"%s\": one model at a time", second);
    return check(o, e);
}

void inspect_options_help(FILE *out)
{
    osv_options_help(
        out, table,
        "osv-inspect MODEL [--data FILE | --tokenize FILE | --detokenize FILE | --render FILE] [options]\n\n"
        "Shows a model as osv understands it, without its weights: config, and what is ignored of it;\n"
        "parameters; memory of a training run; tokenizer; chat format. MODEL: a folder as downloaded, or\n"
        "random:SHAPE (random: lists them). For --tokenize, --detokenize and --render the tokenizer's files\n"
        "are enough.\n",
        "\nWith --data each token of each completion has four letters: + or - steered with this sign; h\n"
        "shared, it also serves another completion and is computed once for all; f frozen, it is computed\n"
        "once and not in each iteration; s scored, its probability (of match and anchor: that of every\n"
        "token in its place) is trained. A dot: not so. The flags are those of the batches that osv-train\n"
        "would make of this file, layer and memory. Nothing is computed at a completion's last token: it\n"
        "is only scored. With --json a completion is {\"id\", \"line\", \"job\", \"layer\", \"positions\",\n"
        "\"objective\": \"promote|suppress|..\", \"completion\": its number in the datapoint, \"bin\",\n"
        "\"prompt_tokens\", \"tokens\": [{\"id\", \"piece\", \"pos\", \"steered\": -1|0|1, \"shared\", "
        "\"frozen\",\n"
        "\"scored\"}], \"warnings\": [..]}; ids that a teacher or beam search is to give are null.\n"
        "--tokenize: \"special\" adds the tokens that open a text (BOS). --render also takes\n"
        "\"add_generation_prompt\" (default false), \"prefill\" and \"date_string\"; what the format refuses "
        "is "
        "an\n"
        "\"error\" in the output. Any other bad line ends the program.\n"
        "\nExit status: 0 done, 2 usage, 3 bad input, 4 device or memory.\n");
}
