#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "kernels/form.h"
#include "kernels/host.h"
#include "loader/file.h"
#include "optim/form.h"
#include "optim/pack.h"
#include "tools/program.h"
#include "tools/text.h"
#include "tools/train_list.h"
#include "tools/train_memory.h"
#include "tools/train_result.h"
#include "tools/train_select.h"
#include "tools/train_unsteered.h"

/* ---- run.json ---- */

/* All options as they came out: "auto" is what it has become. */
static json_t *arguments_json(const train_setup *s)
{
    train_options resolved = *s->options;
    resolved.machine.backend = s->m.ops->name;
    resolved.machine.dtype = (int)s->m.ops->dtype;
    resolved.machine.threads = s->m.threads;
    resolved.machine.tp = s->m.comm->size;
    return osv_options_json(train_option_table, &resolved);
}

static json_t *hardware_json(const train_setup *s)
{
    char name[200];
    osv_host_processor(name, sizeof name);
    int ranks = s->options->machine.launch.size;
    json_int_t bytes = (json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return json_pack("{s:s, s:i, s:i, s:s, s:o, s:o, s:I, s:i, s:I}", "backend", s->m.ops->name, "ranks",
                     ranks, "replicas", ranks / s->m.comm->size, "between_ranks", s->m.comm->name, "device",
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
    const char *sha256 = s->m.checkpoint ? osv_checkpoint_sha256(s->m.checkpoint) : NULL;
    return json_pack("{s:s, s:s?, s:s, s:i, s:i, s:i}", "name", s->m.name, "sha256", sha256, "family",
                     c->family, "blocks", c->N, "width", c->D, "vocabulary", c->V);
}

/* In hex; null after a failure. Ends the digest. */
static json_t *hex_digest(EVP_MD_CTX *digest, bool good)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    good = digest && good && EVP_DigestFinal_ex(digest, raw, &size) == 1;
    for (unsigned i = 0; i < size; i++) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    EVP_MD_CTX_free(digest);
    return good ? json_string(hex) : json_null();
}

static EVP_MD_CTX *begin_digest(void)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1) return digest;
    EVP_MD_CTX_free(digest);
    return NULL;
}

/* Null where there is no such file. */
static json_t *file_sha256(const char *path)
{
    enum { LIMIT = 1 << 30 };
    osv_error ignored = {0};
    char *text;
    size_t bytes;
    if (!path || !osv_path_exists(path) || osv_file_read(&text, &bytes, path, LIMIT, &ignored))
        return json_null();
    EVP_MD_CTX *digest = begin_digest();
    bool good = digest && EVP_DigestUpdate(digest, text, bytes) == 1;
    free(text);
    return hex_digest(digest, good);
}

/* Of the vectors that come from files; null where none does. */
static json_t *inits_sha256(const train_setup *s)
{
    bool any = false;
    for (int k = 0; k < s->sweep.lines; k++)
        any |= s->start[k].init || s->start[k].offset || s->start[k].given;
    if (!any) return json_null();
    EVP_MD_CTX *digest = begin_digest();
    bool good = digest != NULL;
    for (int k = 0; good && k < s->sweep.lines; k++) {
        const train_start *from = &s->start[k];
        size_t init = from->numbers * sizeof *from->init;
        size_t offset = from->offset ? (size_t)s->m.config.D * sizeof *from->offset : 0;
        size_t others = from->orthogonal_numbers * sizeof *from->orthogonal;
        good = EVP_DigestUpdate(digest, &init, sizeof init) == 1 &&
               (init == 0 || EVP_DigestUpdate(digest, from->init, init) == 1) &&
               (offset == 0 || EVP_DigestUpdate(digest, from->offset, offset) == 1) &&
               (others == 0 || EVP_DigestUpdate(digest, from->orthogonal, others) == 1);
    }
    return hex_digest(digest, good);
}

/* Of the vectors that steer teachers, as they do; null where there is no teacher. */
static json_t *teachers_sha256(const train_setup *s)
{
    if (s->teachers.count == 0) return json_null();
    EVP_MD_CTX *digest = begin_digest();
    bool good = digest != NULL;
    for (int i = 0; i < s->teachers.count; i++) {
        const tool_steering *t = &s->teachers.steering[i];
        for (int k = 0; good && k < t->vectors; k++) {
            const steering_vector *v = &t->vector[k];
            char room[OSV_FORM_ROOM];
            const char *form = osv_form_show(room, v->form);
            good = EVP_DigestUpdate(digest, form, strlen(form) + 1) == 1 &&
                   EVP_DigestUpdate(digest, v->positions, strlen(v->positions) + 1) == 1;
            for (int j = v->first; good && j < v->first + v->count; j++) {
                const osv_steering *one = &t->steering[j];
                size_t numbers = (size_t)osv_form_params(one->form) * (size_t)t->D;
                good = EVP_DigestUpdate(digest, &one->layer, sizeof one->layer) == 1 &&
                       EVP_DigestUpdate(digest, one->p, numbers * sizeof *one->p) == 1;
            }
        }
    }
    return hex_digest(digest, good);
}

/* Of what is trained on in the end: names, token ids and which of them are steered, whatever made them:
 * tokenizer, chat template, options. */
static json_t *jobs_sha256(const train_setup *s)
{
    EVP_MD_CTX *digest = begin_digest();
    bool good = digest != NULL;
    for (int c = 0; good && c < s->jobs.completions; c++) {
        const osv_sequence *q = &s->jobs.sequence[c];
        const osv_job *job = &s->jobs.job[q->job];
        const int head[] = {q->job, job->layer, q->count, q->prompt, (int)q->kind};
        const int aim[] = {(int)s->jobs.source[c].completion->kind, q->reverse};
        size_t count = (size_t)q->count;
        good = (!q->logp || EVP_DigestUpdate(digest, aim, sizeof aim) == 1) &&
               EVP_DigestUpdate(digest, job->name, strlen(job->name) + 1) == 1 &&
               EVP_DigestUpdate(digest, head, sizeof head) == 1 &&
               EVP_DigestUpdate(digest, q->ids, count * sizeof *q->ids) == 1 &&
               EVP_DigestUpdate(digest, q->steer, count * sizeof *q->steer) == 1;
    }
    return hex_digest(digest, good);
}

static json_t *jobs_json(const train_setup *s)
{
    json_t *jobs = json_array();
    for (int j = 0; j < s->jobs.jobs; j++) {
        json_t *job = train_job_json(&s->jobs, j, false), *targets = train_targets_json(&s->jobs, j);
        json_object_update(job, targets);
        json_decref(targets);
        json_array_append_new(jobs, job);
    }
    return jobs;
}

typedef struct {
    const osv_training *t;
    json_t *bins; /* [["a", "b"], ["c"]] */
} names;

static int add_names(void *context, const int *job, const osv_bin_size *size)
{
    names *n = context;
    json_t *bin = json_array();
    for (int i = 0; i < size->jobs; i++) json_array_append_new(bin, json_string(n->t->job[job[i]].name));
    json_array_append_new(n->bins, bin);
    return OSV_OK;
}

/* Which jobs are trained together if none ends before the others of its bin. Null as long as there are no
 * weights, and so no memory that is left beside them. */
static json_t *bins_json(const train_setup *s)
{
    osv_training t = train_setup_training(s);
    const osv_units *u = &s->units;
    if (s->memory.bin == 0) return json_null();
    names n = {&t, json_array()};
    int status = u->units == 0 ? osv_pack_each_ready(&t, add_names, &n) : OSV_OK;
    for (int k = 0; k < u->units && !status; k++) {
        train_jobs some;
        status =
            train_jobs_select(&some, &s->jobs, u->job + u->first[k], u->first[k + 1] - u->first[k], s->error);
        t.job = some.job;
        t.jobs = some.jobs;
        if (!status) status = osv_pack_each_ready(&t, add_names, &n);
        train_jobs_free(&some);
    }
    if (!status) return n.bins;
    json_decref(n.bins);
    return NULL;
}

/* What is handed out to replicas together; null where one replica trains all. */
static json_t *units_json(const train_setup *s)
{
    const osv_units *u = &s->units;
    if (u->units == 0) return json_null();
    json_t *units = json_array();
    for (int k = 0; k < u->units; k++) {
        json_t *jobs = json_array();
        for (int i = u->first[k]; i < u->first[k + 1]; i++)
            json_array_append_new(jobs, json_string(s->jobs.name[u->job[i]]));
        json_array_append_new(units, jobs);
    }
    return units;
}

int train_run_json(json_t **out, const train_setup *s)
{
    char *tokenizer; /* one that could not be read is compared all the same */
    if (s->m.tokenizer)
        tokenizer = strdup(osv_tokenizer_path(s->m.tokenizer));
    else
        OSV_TRY(osv_path_join(&tokenizer, s->options->model, "tokenizer.json", s->error));
    if (!tokenizer) return OSV_FAIL(s->error, OSV_DEVICE, "out of memory");
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
        {"sweep_sha256", file_sha256(s->options->sweep)},
        {"init_sha256", inits_sha256(s)},
        {"teacher_sha256", teachers_sha256(s)},
        {"jobs_sha256", jobs_sha256(s)},
        {"jobs", jobs_json(s)},
        {"memory", train_memory_json(&s->memory)},
        {"bins", bins_json(s)},
        {"unit_jobs", units_json(s)},
        {"hardware", hardware_json(s)},
        {"units", json_pack("{s:s, s:s, s:s}", "loss",
                            "nats, natural logarithm; of --melbo minus a distance in the residual stream",
                            "norm", "euclidean, in units of the residual stream", "site",
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

int train_run_agree(const train_setup *s)
{
    json_t *jobs = jobs_sha256(s), *vectors = inits_sha256(s);
    const char *a = json_string_value(jobs), *b = json_string_value(vectors);
    char text[200];
    snprintf(text, sizeof text, "%s %s", a ? a : "unknown", b ? b : "none");
    int status =
        osv_world_agree(s->m.world, "set of jobs and vectors to start from (SHA-256)", text, s->error);
    json_decref(jobs);
    json_decref(vectors);
    return status;
}
