/* osv-generate: prompts -> texts, steered by vectors or not. */
#include <stdlib.h>
#include <time.h>

#include "tools/generate_output.h"
#include "tools/program.h"
#include "tools/ranks.h"
#include "tools/tool_prompts.h"

static const char program[] = "osv-generate";

/* Everything that a run opens. */
typedef struct {
    const generate_options *options;
    osv_error *error;
    tool_model m;
    osv_prompts *prompts;
    tool_steering steering;
    osv_ids stop;
    osv_generation_prompt *prompt; /* [prompts] their masks are one array */
    uint32_t *masks;
    generate_output output;
} generate_run;

static int make_masks(generate_run *r)
{
    char where[512];
    int prompts = r->prompts->count, more = r->options->max_tokens;
    size_t total = 0;
    for (int i = 0; i < prompts; i++) total += (size_t)(r->prompts->line[i].ids.count + more);
    r->prompt = calloc((size_t)prompts + 1, sizeof *r->prompt);
    r->masks = calloc(total + 1, sizeof *r->masks);
    if (!r->prompt || !r->masks)
        return OSV_FAIL(r->error, OSV_DEVICE, "out of memory for %d prompts", prompts);
    uint32_t *steer = r->masks;
    for (int i = 0; i < prompts; i++) {
        const osv_prompt_line *p = &r->prompts->line[i];
        OSV_TRY(tool_steering_mask(&r->steering, p->ids.count, more, steer,
                                   tool_prompt_where(where, sizeof where, r->options->prompts, p), r->error));
        r->prompt[i] = (osv_generation_prompt){.count = p->ids.count, .ids = p->ids.data, .steer = steer};
        steer += p->ids.count + more;
    }
    return OSV_OK;
}

static void print_notes(const generate_run *r)
{
    if (r->options->quiet) return;
    for (int i = 0; i < r->steering.notes; i++) fprintf(stderr, "%s: %s\n", program, r->steering.note[i]);
    fprintf(stderr, "%s: %s (%s, %d blocks of width %d), %d prompt%s, %d vector%s, backend %s\n", program,
            r->m.name, r->m.config.family, r->m.config.N, r->m.config.D, r->prompts->count,
            r->prompts->count == 1 ? "" : "s", r->steering.vectors, r->steering.vectors == 1 ? "" : "s",
            r->m.ops->name);
}

static int open_run(generate_run *r, const generate_options *o, osv_error *e)
{
    *r = (generate_run){.options = o, .error = e};
    OSV_TRY(tool_model_open(&r->m, o->model, o->chat, &o->machine, e));
    OSV_TRY(tool_steering_open(&r->steering, &o->steering, &r->m.config, o->model, e));
    OSV_TRY(tool_stop_ids(&r->stop, &r->m, e));
    OSV_TRY(tool_prompts_read(&r->prompts, &r->m, o->prompts, o->prompt, e));
    OSV_TRY(tool_prompts_check(r->prompts, &r->m, o->prompts, o->max_tokens, e));
    OSV_TRY(make_masks(r));
    tool_model_longest(&r->m, tool_prompts_longest(r->prompts) + o->max_tokens);
    OSV_TRY(tool_model_weights(&r->m));
    return tool_steering_check_model(&r->steering, osv_checkpoint_sha256(r->m.checkpoint), o->model, e);
}

static void close_run(generate_run *r)
{
    generate_output_close(&r->output);
    free(r->prompt);
    free(r->masks);
    osv_ids_free(&r->stop);
    osv_prompts_free(r->prompts);
    tool_steering_close(&r->steering);
    tool_model_close(&r->m);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int generate(generate_run *r)
{
    const generate_options *o = r->options;
    OSV_TRY(generate_output_open(&r->output, o, r->prompts, r->m.tokenizer, r->error));
    const osv_generation generation = {
        .ops = r->m.ops,
        .comm = r->m.comm,
        .model = &r->m.model,
        .prompt = r->prompt,
        .prompts = r->prompts->count,
        .samples = o->samples,
        .max_tokens = o->max_tokens,
        .steering = r->steering.steering,
        .steerings = r->steering.steerings,
        .temperature = o->temperature,
        .top_k = o->top_k,
        .top_p = o->top_p,
        .seed = o->seed,
        .eos = r->stop.data,
        .eos_count = r->stop.count,
        .observer = {.context = &r->output, .token = generate_output_token, .text = generate_output_text},
        .interrupted = &osv_program_signal};
    osv_program_catch_signals();
    double start = seconds();
    OSV_TRY(osv_generate(&generation));
    double taken = seconds() - start;
    if (!o->quiet)
        fprintf(stderr, "%s: %ld tokens in %.3g s, %.3g a second\n", program, r->output.tokens, taken,
                (double)r->output.tokens / taken);
    if (r->output.nan_prompt >= 0) {
        char where[512];
        return OSV_FAIL(
            r->error, OSV_BAD_INPUT,
            "%s: after %d generated tokens the logits are not finite numbers; is a vector too long?",
            tool_prompt_where(where, sizeof where, o->prompts, &r->prompts->line[r->output.nan_prompt]),
            r->output.nan_tokens);
    }
    return osv_program_signal == SIGTERM  ? OSV_TERMINATED
           : osv_program_signal == SIGINT ? OSV_INTERRUPTED
                                          : OSV_OK;
}

static int run(const generate_options *o, osv_error *e)
{
    generate_run r;
    int status = open_run(&r, o, e);
    if (!status) {
        print_notes(&r);
        status = generate(&r);
    }
    status = ranks_fail(&o->machine, program, status, e);
    close_run(&r);
    return status;
}

int main(int argc, char **argv)
{
    osv_error error = {0};
    generate_options options;
    osv_program_start();
    int status = generate_options_parse(&options, argc, argv, &error);
    if (!status && !options.help && !options.version)
        status = ranks_find(&options.machine, program, argv, false, &options.quiet, &error);
    if (!status && options.verbose) ranks_be_verbose(&options.machine, program);
    if (!status && options.help) generate_options_help(stdout);
    if (!status && options.version) osv_program_print_version(stdout, program);
    if (!status) status = options.help || options.version ? osv_program_flush(&error) : run(&options, &error);
    if (status == OSV_PIPE_CLOSED) return ranks_end(&options.machine, OSV_OK);
    return ranks_end(&options.machine, error.status ? osv_program_fail(program, &error) : status);
}
