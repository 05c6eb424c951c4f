#include "tools/tool_model.h"

#include <stdlib.h>
#include <string.h>

#include "engine/rope.h"
#include "kernels/host.h"
#include "loader/file.h"
#include "loader/random_model.h"
#include "tools/program.h"
#include "tools/ranks.h"

/* The hub's cache keeps a model in models--<owner>--<name>/snapshots/<hash>. */
static int name_folder(tool_model *m)
{
    char *path = realpath(m->dir, NULL);
    if (!path) return OSV_FAIL(m->error, OSV_BAD_INPUT, "%s: no such folder", m->dir);
    char *snapshots = strstr(path, "/snapshots/");
    if (snapshots) *snapshots = '\0';
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (snapshots && strncmp(name, "models--", 8) == 0) name += 8;
    m->name = strdup(name);
    free(path);
    if (!m->name) return OSV_FAIL(m->error, OSV_DEVICE, "out of memory");
    char *dashes = snapshots ? strstr(m->name, "--") : NULL;
    if (dashes) {
        *dashes = '/';
        memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
    }
    /* The name goes into files that hold UTF-8 only; a folder's may be any bytes. */
    for (size_t at, all = strlen(m->name); (at = osv_utf8_check(m->name, all)) < all;) m->name[at] = '?';
    return OSV_OK;
}

static int name_model(tool_model *m)
{
    if (!osv_random_is(m->dir)) return name_folder(m);
    m->name = strdup(m->dir);
    return m->name ? OSV_OK : OSV_FAIL(m->error, OSV_DEVICE, "out of memory");
}

static int open_parts(tool_model *m, const char *chat)
{
    osv_error *e = m->error;
    const char *dir = m->dir;
    OSV_TRY(name_model(m));
    OSV_TRY(osv_config_read(&m->config, dir, e));
    osv_tokenizer_open(&m->tokenizer, dir, &m->error_of_tokenizer);
    bool named = strcmp(chat, "auto") != 0;
    int status = osv_chat_open(&m->chat, dir, chat, named ? e : &m->error_of_chat);
    return named ? status : OSV_OK;
}

static void start(tool_model *m, const char *dir, const osv_machine *machine, osv_error *e)
{
    *m = (tool_model){.dir = dir,
                      .error = e,
                      .world = machine->world,
                      .threads = machine->threads > 0 ? machine->threads : ranks_threads(&machine->launch)};
}

int tool_model_open(tool_model *m, const char *dir, const char *chat, const osv_machine *machine,
                    osv_error *e)
{
    start(m, dir, machine, e);
    osv_machine resolved = *machine;
    resolved.threads = m->threads;
    OSV_TRY(osv_backend_footprint(&m->footprint, machine, e));
    OSV_TRY(osv_backend_open(&m->ops, &resolved, e));
    OSV_TRY(osv_backend_comm(&m->comm, m->ops, machine));
    OSV_TRY(osv_backend_sharers(&m->sharers, m->ops, machine));
    osv_program_log("%s on %s, %d thread%s, between ranks %s", m->ops->name, m->ops->hardware, m->threads,
                    m->threads == 1 ? "" : "s", m->comm->name);
    return open_parts(m, chat);
}

int tool_model_plan(tool_model *m, const char *dir, const char *chat, const osv_machine *machine,
                    osv_error *e)
{
    start(m, dir, machine, e);
    OSV_TRY(osv_backend_footprint(&m->footprint, machine, e));
    OSV_TRY(osv_ref_open(&m->ops, OSV_DTYPE_F32, e)); /* it needs nothing, and holds the error */
    OSV_TRY(osv_comm_self_open(&m->comm, e));
    OSV_TRY(osv_comm_self_open(&m->sharers, e));
    return open_parts(m, chat);
}

void tool_model_longest(tool_model *m, int tokens)
{
    if (tokens > m->longest) m->longest = tokens;
    osv_rope_fit(&m->config, m->longest);
}

int tool_model_weights(tool_model *m)
{
    double start = osv_host_seconds();
    OSV_TRY(osv_checkpoint_open(&m->checkpoint, &m->model, m->dir, m->comm->rank, m->comm->size, m->error));
    OSV_TRY(osv_world_agree(m->world, "model", osv_checkpoint_sha256(m->checkpoint), m->error));
    osv_rope_fit(&m->model.config, m->longest);
    OSV_TRY(osv_model_place(&m->model, m->ops));
    osv_program_log("%s: slice %d of %d is there, %.1f s", m->name, m->comm->rank + 1, m->comm->size,
                    osv_host_seconds() - start);
    return OSV_OK;
}

void tool_model_close(tool_model *m)
{
    if (m->sharers) m->sharers->close(m->sharers);
    if (m->comm) m->comm->close(m->comm);
    if (m->checkpoint) osv_model_free(&m->model);
    if (m->ops) m->ops->close(m->ops);
    if (m->checkpoint) osv_checkpoint_close(m->checkpoint);
    if (m->tokenizer) osv_tokenizer_close(m->tokenizer);
    osv_chat_close(m->chat);
    free(m->name);
    *m = (tool_model){0};
}
