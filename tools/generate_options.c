#include "tools/generate_options.h"

#include <limits.h>
#include <math.h>

#define FIELD(name) .offset = offsetof(generate_options, name)

static const osv_option table[] = {
    {"model", "DIR", NULL, "model folder as downloaded, or random:SHAPE (random: lists them)",
     OSV_OPTION_TEXT, FIELD(model), .group = "What is written:"},
    {"prompt", "TEXT", NULL, "one prompt, raw text", OSV_OPTION_TEXT, FIELD(prompt)},
    {"prompts", "FILE", NULL, "prompts, JSON Lines (- is standard input): see below", OSV_OPTION_TEXT,
     FIELD(prompts)},
    {"chat", "FORMAT", "auto", "how \"messages\" become text; auto: as the model's own template",
     OSV_OPTION_TEXT, FIELD(chat)},
    {"max-tokens", "N", "64", "longest text, in tokens", OSV_OPTION_INT, FIELD(max_tokens), .low = 1,
     .high = 1 << 20},

    {"vector", "FILE[:SCALE]", NULL, "steering vector, times SCALE (default 1); again for several at once",
     OSV_OPTION_LIST, FIELD(steering.vector), .group = "Steering:"},
    {"layer", "L", NULL, "vectors enter block L (default: the one in the file)", OSV_OPTION_INT,
     FIELD(steering.layer), .low = 0, .high = OSV_MAX_BLOCKS - 1},
    {"positions", "SPEC", NULL, "steered: all | prompt | completion or a slice (default: as trained)",
     OSV_OPTION_TEXT, FIELD(steering.positions)},
    {"apply", "FORM", NULL, "add | clamp[:C] | ablate (default: as trained)", OSV_OPTION_TEXT,
     FIELD(steering.apply)},

    {"temperature", "X", "0", "0: greedy, the likeliest token; above: drawn from softmax(logits / X)",
     OSV_OPTION_NUMBER, FIELD(temperature), .low = 0, .high = INFINITY, .group = "Choice of tokens:"},
    {"top-k", "N", "0", "only from the N likeliest tokens; 0: from all", OSV_OPTION_INT, FIELD(top_k),
     .low = 0, .high = INT_MAX},
    {"top-p", "P", "1", "only from the likeliest tokens that together have probability P", OSV_OPTION_NUMBER,
     FIELD(top_p), .low = 0, .high = 1, .above = true},
    {"seed", "N", "0", "of what is drawn", OSV_OPTION_SEED, FIELD(seed)},
    {"samples", "N", "1", "texts for each prompt", OSV_OPTION_INT, FIELD(samples), .low = 1, .high = 1 << 16},

    TOOL_MACHINE_OPTIONS,
    TOOL_RANK_OPTIONS,

    {"json", NULL, NULL, "one JSON object a line for each text, as it ends", OSV_OPTION_FLAG, FIELD(json),
     .group = "Output:"},
    {"quiet", NULL, NULL, "no notes on standard error", OSV_OPTION_FLAG, FIELD(quiet)},
    {"verbose", NULL, NULL, "each rank says on standard error what it does", OSV_OPTION_FLAG, FIELD(verbose)},
    {"help", NULL, NULL, "this text", OSV_OPTION_FLAG, FIELD(help)},
    {"version", NULL, NULL, "version, commit, compiler, libraries", OSV_OPTION_FLAG, FIELD(version)},
    {0},
};

static int check(const generate_options *o, osv_error *e)
{
    if (!o->model) return OSV_FAIL(e, OSV_USAGE, "--model is missing: the folder of the model");
    if (!o->prompt == !o->prompts)
        return OSV_FAIL(e, OSV_USAGE, "%s: give --prompt or --prompts",
                        o->prompt ? "both --prompt and --prompts" : "no prompt");
    if (o->temperature == 0 && o->samples > 1)
        return OSV_FAIL(e, OSV_USAGE,
                        "--samples %d: with --temperature 0 they would all be the same; give --temperature",
                        o->samples);
    return steering_options_check(&o->steering, e);
}

int generate_options_parse(generate_options *o, int argc, char **argv, osv_error *e)
{
    *o = (generate_options){.machine = TOOL_MACHINE_DEFAULT, .steering.layer = -1};
    OSV_TRY(osv_options_parse(table, argc, argv, o, e));
    return o->help || o->version ? OSV_OK : check(o, e);
}

void generate_options_help(FILE *out)
{
    osv_options_help(
        out, table,
        "osv-generate --model DIR [--vector FILE[:SCALE]]... (--prompt TEXT | --prompts FILE) [options]\n\n"
        "Writes what a language model says after a prompt, steered by vectors or not.\n",
        "\nA line of --prompts is {\"prompt\": \"raw text\"}, {\"prompt\": {\"ids\": [1, 5]}}, or\n"
        "{\"messages\": [{\"role\": \"user\", \"content\": \"...\"}], \"prefill\": \"start of the answer\"}; "
        "\"id\" names\n"
        "it. Training data can be used as they are. Formats with a date (llama3.1 to 3.3) say 26 Jul 2024,\n"
        "whatever the day, so that a run can be repeated. One prompt is written as it comes; several are "
        "printed\n"
        "whole, in order. A text ends before any of the model's end tokens.\n"
        "Positions: completion means the generated tokens; only prompt may be counted from its end\n"
        "(prompt:-5:).\n"
        "--json: {\"id\", \"prompt\", \"text\", \"ids\": [generated], \"stopped\": \"eos|max-tokens\", "
        "\"logprob\"};\n"
        "logprob: natural logarithm of the probability of the generated tokens and of the end token.\n"
        "\nExit status: 0 done, 2 usage, 3 bad input, 4 device or memory, 130 interrupted and 143\n"
        "terminated (after printing what there is).\n");
}
