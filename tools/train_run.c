#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/host.h"
#include "loader/file.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/train_memory.h"
#include "tools/train_result.h"

/* ---- run.json ---- */

/* All options as they came out: "auto" is what it has become. */
static json_t *arguments_json(const train_setup *s)
{
    train_options resolved = *s->options;
    resolved.machine.backend = s->m.ops->name;
    resolved.machine.dtype = (int)s->m.ops->dtype;
    resolved.machine.threads = s->m.threads;
    return osv_options_json(train_option_table, &resolved);
}

static json_t *hardware_json(const train_setup *s)
{
    char name[200];
    osv_host_processor(name, sizeof name);
    json_int_t bytes = (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return json_pack("{s:s, s:o, s:o, s:I, s:i, s:I}", "backend", s->m.ops->name, "device",
                     osv_text_json(s->m.ops->hardware), "processor", osv_text_json(name), "processors",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "threads", s->m.threads, "memory_bytes",
                     bytes);
}

static json_t *build_json(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "program", "osv-train", "version",
                     osv_program_version(), "commit", osv_program_commit(), "compiler",
                     osv_program_compiler(), "blas", osv_backend_blas(), "cuda", osv_backend_cuda());
}

static json_t *model_json(const train_setup *s)
{
    const osv_config *c = &s->m.config;
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i}", "name", s->m.name, "sha256",
                     osv_checkpoint_sha256(s->m.checkpoint), "family", c->family, "blocks", c->N, "width",
                     c->D, "vocabulary", c->V);
}

/* SHA-256 of a file in hex; null where there is none. */
static json_t *file_sha256(const char *path)
{
    enum { LIMIT = 1 << 30 };
    osv_error ignored = {0};
    char *text;
    size_t bytes;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!osv_path_exists(path) || osv_file_read(&text, &bytes, path, LIMIT, &ignored)) return json_null();
    bool good = EVP_Digest(text, bytes, digest, &size, EVP_sha256(), NULL) == 1;
    free(text);
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return good ? json_string(hex) : json_null();
}

static json_t *jobs_json(const train_setup *s)
{
    json_t *jobs = json_array();
    for (int j = 0; j < s->jobs.jobs; j++) {
        const osv_job *job = &s->jobs.job[j];
        char objective[96];
        train_job_objective(objective, sizeof objective, &s->jobs, j);
        json_array_append_new(jobs, json_pack("{s:s, s:i, s:i, s:s, s:s}", "name", job->name, "layer",
                                              job->layer, "completions", job->completions, "positions",
                                              train_job_positions(&s->jobs, j), "objective", objective));
    }
    return jobs;
}

int train_run_json(json_t **out, const train_setup *s)
{
    char *tokenizer;
    OSV_TRY(osv_path_join(&tokenizer, s->options->model, "tokenizer.json", s->error));
    const struct {
        const char *key;
        json_t *value;
    } part[] = {
        {"format", json_string("osv-run/1")},
        {"build", build_json()},
        {"arguments", arguments_json(s)},
        {"model", model_json(s)},
        {"tokenizer_sha256", file_sha256(tokenizer)},
        {"data_sha256", file_sha256(s->options->data)},
        {"jobs", jobs_json(s)},
        {"memory", train_memory_json(&s->memory)},
        {"hardware", hardware_json(s)},
        {"units", json_pack("{s:s, s:s, s:s}", "loss", "nats, natural logarithm", "norm",
                            "euclidean, in units of the residual stream", "site",
                            "block_input:L, the input of block L counted from 0")},
    };
    free(tokenizer);
    json_t *run = json_object();
    bool failed = !run;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        failed |= json_object_set_new(run, part[i].key, part[i].value) != 0;
    if (failed) {
        json_decref(run);
        return OSV_FAIL(s->error, OSV_DEVICE, "out of memory for run.json");
    }
    *out = run;
    return OSV_OK;
}
