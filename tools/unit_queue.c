#include "tools/unit_queue.h"

#include <pthread.h>
#include <stdlib.h>

enum { FREE = -1, ENDED = -2 };

typedef struct {
    bool greeted, lost, told; /* told: that it is lost */
} replica;

struct unit_queue {
    pthread_mutex_t lock;
    int replicas;
    replica *replica;
    int run;
    size_t memory; /* the least of those that have greeted */
    int units;
    int *holder; /* [units] the replica that has it, FREE or ENDED */
    bool filled, stopped;
    int status; /* of what was stopped, or of the run before */
};

int unit_queue_open(unit_queue **out, int replicas, osv_error *e)
{
    unit_queue *q = *out = calloc(1, sizeof *q);
    replica *all = calloc((size_t)replicas + 1, sizeof *all);
    if (!q || !all) {
        free(q);
        free(all);
        *out = NULL;
        return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d replicas", replicas);
    }
    q->replica = all;
    q->replicas = replicas;
    pthread_mutex_init(&q->lock, NULL);
    return OSV_OK;
}

void unit_queue_close(unit_queue *q)
{
    if (!q) return;
    pthread_mutex_destroy(&q->lock);
    free(q->replica);
    free(q->holder);
    free(q);
}

/* ---- answers; the lock is held ---- */

static const unit_answer wait = {.unit = UNIT_WAIT};

/* All replicas that are left have to be there before the units can be planned. */
static unit_answer greet(unit_queue *q, int from, size_t memory)
{
    if (!q->replica[from].greeted && (q->memory == 0 || memory < q->memory)) q->memory = memory;
    q->replica[from].greeted = true;
    for (int r = 0; r < q->replicas; r++)
        if (!q->replica[r].greeted && !q->replica[r].lost) return wait;
    return (unit_answer){.memory = q->memory};
}

static int count_ended(const unit_queue *q)
{
    int ended = 0;
    for (int k = 0; k < q->units; k++) ended += q->holder[k] == ENDED;
    return ended;
}

static unit_answer next(const unit_queue *q, int from)
{
    for (int k = 0; k < q->units; k++) {
        if (q->holder[k] != FREE) continue;
        q->holder[k] = from;
        return (unit_answer){.unit = k};
    }
    return wait;
}

static void take_back(const unit_queue *q, int from, const unit_request *r)
{
    bool had = r->unit >= 0 && r->unit < q->units && q->holder[r->unit] == from;
    if (had) q->holder[r->unit] = r->ended ? ENDED : FREE;
}

/* It has nothing any more, and is not waited for. */
static void forget(const unit_queue *q, int from)
{
    q->replica[from].lost = true;
    for (int k = 0; k < q->units; k++)
        if (q->holder[k] == from) q->holder[k] = FREE;
}

static unit_answer leave(const unit_queue *q, int from, int status)
{
    forget(q, from);
    q->replica[from].told = true; /* it says so itself */
    return (unit_answer){.unit = UNIT_OVER, .status = status};
}

static unit_answer answer(unit_queue *q, int from, const unit_request *r)
{
    const unit_answer over = {.unit = UNIT_OVER, .status = q->status};
    if (r->run < q->run) return over;
    if (r->run > q->run)
        return wait; /* it has heard of the end of a run before replica 0 has begun the next */
    if (r->question == UNIT_NEXT || r->question == UNIT_LEAVE) take_back(q, from, r);
    if (from == 0 && q->filled && count_ended(q) == q->units) return (unit_answer){.unit = UNIT_ALL};
    if (q->stopped) return over;
    if (r->question == UNIT_LEAVE) return leave(q, from, r->status);
    if (r->question == UNIT_HELLO) return greet(q, from, r->memory);
    return r->question == UNIT_NEXT && q->filled ? next(q, from) : wait;
}

/* ---- with the lock ---- */

unit_answer unit_queue_answer(unit_queue *q, int from, const unit_request *request)
{
    pthread_mutex_lock(&q->lock);
    unit_answer a = answer(q, from, request);
    pthread_mutex_unlock(&q->lock);
    return a;
}

void unit_queue_lost(unit_queue *q, int from)
{
    pthread_mutex_lock(&q->lock);
    forget(q, from);
    pthread_mutex_unlock(&q->lock);
}

int unit_queue_fill(unit_queue *q, int units, const bool *ended, osv_error *e)
{
    int *holder = malloc((size_t)units * sizeof *holder + 1);
    if (!holder) return OSV_FAIL(e, OSV_DEVICE, "out of memory for %d units", units);
    for (int k = 0; k < units; k++) holder[k] = ended[k] ? ENDED : FREE;
    pthread_mutex_lock(&q->lock);
    free(q->holder);
    q->holder = holder;
    q->units = units;
    q->filled = true;
    pthread_mutex_unlock(&q->lock);
    return OSV_OK;
}

void unit_queue_stop(unit_queue *q, int status)
{
    pthread_mutex_lock(&q->lock);
    q->stopped = true;
    q->status = status;
    pthread_mutex_unlock(&q->lock);
}

bool unit_queue_idle(unit_queue *q)
{
    bool idle = true;
    pthread_mutex_lock(&q->lock);
    for (int k = 0; k < q->units; k++) idle &= q->holder[k] < 0;
    pthread_mutex_unlock(&q->lock);
    return idle;
}

void unit_queue_finish(unit_queue *q, int status)
{
    pthread_mutex_lock(&q->lock);
    q->run++;
    q->status = status;
    q->stopped = q->filled = false;
    q->units = 0;
    q->memory = 0;
    for (int r = 0; r < q->replicas; r++) q->replica[r].greeted = false;
    pthread_mutex_unlock(&q->lock);
}

int unit_queue_count(unit_queue *q, int *units)
{
    pthread_mutex_lock(&q->lock);
    *units = q->units;
    int ended = count_ended(q);
    pthread_mutex_unlock(&q->lock);
    return ended;
}

int unit_queue_news(unit_queue *q)
{
    int found = -1;
    pthread_mutex_lock(&q->lock);
    for (int r = 0; r < q->replicas && found < 0; r++)
        if (q->replica[r].lost && !q->replica[r].told) found = r;
    if (found >= 0) q->replica[found].told = true;
    pthread_mutex_unlock(&q->lock);
    return found;
}
