#include "tools/train_rescue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/host.h"
#include "loader/file.h"
#include "optim/output_folder.h"
#include "tools/ranks.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *folder, *path; /* NULL: nothing is kept */
static osv_packed kept;

static void drop(void)
{
    free(folder);
    free(path);
    free(kept.data);
    folder = path = NULL;
    kept = (osv_packed){0};
}

/* ---- on the watching thread ---- */

static bool there(void)
{
    pthread_mutex_lock(&lock);
    bool is = path != NULL;
    pthread_mutex_unlock(&lock);
    return is;
}

static struct stat look(void)
{
    struct stat info = {0};
    pthread_mutex_lock(&lock);
    if (!path || stat(path, &info)) info = (struct stat){0};
    pthread_mutex_unlock(&lock);
    return info;
}

/* Another rank writes a file of its own in the place of the one that is there. */
static bool wait_for_others(double seconds)
{
    struct stat before = look();
    osv_host_sleep(seconds);
    struct stat after = look();
    return before.st_ino != after.st_ino || before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
           before.st_mtim.tv_nsec != after.st_mtim.tv_nsec;
}

/* The lock is of this replica, which ends here: whoever goes on with the run, on another host perhaps, need
 * not find out whether it is still held. */
static void save(osv_error *e)
{
    osv_error ignored = {0};
    pthread_mutex_lock(&lock);
    const osv_piece piece = {kept.data, kept.bytes};
    if (path && !osv_file_write(path, &piece, 1, e)) osv_output_remove(folder, "lock", &ignored);
    pthread_mutex_unlock(&lock);
}

/* ---- on the main thread ---- */

int train_rescue_keep(const char *in, const char *name, osv_packed checkpoint, osv_error *e)
{
    static const ranks_rescuer rescuer = {there, wait_for_others, save};
    pthread_mutex_lock(&lock);
    drop();
    kept = checkpoint;
    folder = strdup(in);
    int status = folder ? osv_path_join(&path, in, name, e) : OSV_FAIL(e, OSV_DEVICE, "out of memory");
    if (status) drop();
    pthread_mutex_unlock(&lock);
    ranks_rescue_by(&rescuer);
    return status;
}

void train_rescue_forget(void)
{
    pthread_mutex_lock(&lock);
    drop();
    pthread_mutex_unlock(&lock);
}
