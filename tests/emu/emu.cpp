/* The scheduler of the emulation: a thread of a block is a fiber, a warp's collective is carried out when all
 * 32 lanes stand at it, a barrier when all warps do. Blocks run in parallel, each on one thread of the host,
 * which everything here belongs to; nothing is shared between blocks.
 *
 * Sanitizers know about the fibers. For the thread sanitizer this file is built without -fsanitize=thread but
 * with EMU_TSAN: what the scheduler touches is not the kernel's business. Order between lanes then comes from
 * __syncthreads and __syncwarp alone. */
#include "emu.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "scheduler.h"

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define EMU_ASAN 0
#endif
#ifdef EMU_TSAN
#include <sanitizer/tsan_interface.h>
#define TSAN(call) call
#else
#define TSAN(call) (void)0
#endif

__thread emu::dim threadIdx, blockIdx, blockDim, gridDim;

namespace emu
{
enum {
    LANES = 32,
    MOST_THREADS = 1024,
    STACK = EMU_ASAN ? 256 << 10 : 64 << 10,
    STATIC_LIMIT = 48 << 10,
    SHARED_LIMIT = 163 << 10, /* of sm_80, the smallest device that the backend runs on */
    GAP = 64,                 /* between shared arrays */
    MOST_ARRAYS = 32,
    SHARED_ROOM = SHARED_LIMIT + (MOST_ARRAYS + 2) * GAP * 2,
};

static const uint64_t canary = 0x5ca1ab1e0ddba11u; /* at the low end of each stack */

void die(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fflush(stdout);
    fputs("emulation: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    abort();
}

void poison(void *p, size_t bytes)
{
    (void)p, (void)bytes;
#if EMU_ASAN
    __asan_poison_memory_region(p, bytes);
#endif
}

void unpoison(void *p, size_t bytes)
{
    (void)p, (void)bytes;
#if EMU_ASAN
    __asan_unpoison_memory_region(p, bytes);
#endif
}

/* ---- fibers ---- */

#if defined(__x86_64__) && !defined(EMU_UCONTEXT)

/* Saves the callee-saved registers on the old stack, its pointer in *from, and goes on on the other one. A
 * jump, not a return, which the processor would predict wrongly each time. */
extern "C" void emu_switch(void **from, void *to);
asm(R"(
    .text
    .globl emu_switch
    .hidden emu_switch
    .type emu_switch, @function
emu_switch:
    popq %rdx
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushq %rdx
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %rdx
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    jmp *%rdx
    .size emu_switch, . - emu_switch
)");

typedef void *context;

static void context_make(context *c, char *stack, size_t top, void (*start)())
{
    void **sp = (void **)(stack + top / 16 * 16) - 1; /* as after a call */
    *sp = nullptr;
    for (int i = 0; i < 6; i++) *--sp = nullptr;
    *--sp = (void *)start;
    *c = sp;
}

static void context_switch(context *from, context *to)
{
    emu_switch(from, *to);
}

#else

#include <ucontext.h>
typedef ucontext_t context;

static void context_make(context *c, char *stack, size_t top, void (*start)())
{
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = top;
    c->uc_link = nullptr;
    makecontext(c, start, 0);
}

static void context_switch(context *from, context *to)
{
    swapcontext(from, to);
}

#endif

struct late_copy {
    void *dst;
    const void *src;
    bool valid;
    int group;
};

enum lane_state { READY, COLLECTIVE, BARRIER, DONE };

struct lane {
    context where;
    char *stack;
    lane_state state;
    operation *perform; /* null: __syncwarp */
    void *args;
    const char *file;
    int line;
    int group;                     /* of copies that are still open */
    unsigned barriers, warp_syncs; /* passed so far */
    std::vector<late_copy> copies;
    void *tsan_fiber, *asan_stack;
};

struct array {
    const void *key;
    void *p;
};

struct worker {
    context where; /* the scheduler's */
    lane lanes[MOST_THREADS];
    lane *current;
    const grid *g;
    char *stacks;
    char *room; /* of shared memory: arrays from the front, the dynamic one at the end */
    array arrays[MOST_ARRAYS];
    int array_count;
    size_t room_used, static_bytes;
    uint64_t order, random;
    void *tsan_fiber, *asan_stack;
    const void *asan_bottom;
    size_t asan_size;
    /* what the thread sanitizer orders by */
    char tag_start, tag_end, tag_block[2], tag_warp[MOST_THREADS / LANES][2];

    worker();
    ~worker();
};

static __thread worker *me;

worker::worker() : current(nullptr), asan_stack(nullptr), asan_bottom(nullptr), asan_size(0)
{
    stacks = (char *)mmap(nullptr, (size_t)STACK * MOST_THREADS, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    room = (char *)mmap(nullptr, SHARED_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stacks == MAP_FAILED || room == MAP_FAILED) die("no memory for stacks");
    for (int i = 0; i < MOST_THREADS; i++) {
        lanes[i].stack = stacks + (size_t)i * STACK;
        lanes[i].tsan_fiber = lanes[i].asan_stack = nullptr;
    }
    TSAN(tsan_fiber = __tsan_get_current_fiber());
}

worker::~worker()
{
#ifdef EMU_TSAN
    for (int i = 0; i < MOST_THREADS; i++)
        if (lanes[i].tsan_fiber) __tsan_destroy_fiber(lanes[i].tsan_fiber);
#endif
    unpoison(stacks, (size_t)STACK * MOST_THREADS);
    unpoison(room, SHARED_ROOM);
    munmap(stacks, (size_t)STACK * MOST_THREADS);
    munmap(room, SHARED_ROOM);
}

/* From the running lane back to the scheduler. */
static void leave(lane *l, bool for_ever)
{
    worker *w = me;
    TSAN(__tsan_switch_to_fiber(w->tsan_fiber, 1));
#if EMU_ASAN
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &l->asan_stack, w->asan_bottom, w->asan_size);
#endif
    (void)for_ever;
    context_switch(&l->where, &w->where);
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(l->asan_stack, nullptr, nullptr);
#endif
}

static void lane_main()
{
    worker *w = me;
    lane *l = w->current;
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &w->asan_bottom, &w->asan_size);
#endif
    TSAN(__tsan_acquire(&w->tag_start));
    w->g->thread();
    if (!l->copies.empty())
        die("%s (%s:%d): a thread ended with cp.async pending", w->g->kernel, w->g->file, w->g->line);
    TSAN(__tsan_release(&w->tag_end));
    l->state = DONE;
    leave(l, true);
    die("a thread that had ended went on");
}

static void enter(lane *l, unsigned index)
{
    worker *w = me;
    w->current = l;
    l->state = READY;
    threadIdx.x = index;
    TSAN(__tsan_switch_to_fiber(l->tsan_fiber, 1));
#if EMU_ASAN
    __sanitizer_start_switch_fiber(&w->asan_stack, l->stack, STACK);
#endif
    context_switch(&w->where, &l->where);
#if EMU_ASAN
    __sanitizer_finish_switch_fiber(w->asan_stack, nullptr, nullptr);
#endif
}

static void lane_start(lane *l, int i)
{
    unpoison(l->stack, STACK);
    memcpy(l->stack, &canary, sizeof canary);
    /* Tops of stacks lie apart by more than whole pages, or all of them would share a few sets of the cache.
     */
    context_make(&l->where, l->stack, (size_t)STACK - (size_t)(i % 64) * 192, lane_main);
    l->state = READY;
    l->copies.clear();
    l->group = 0;
    l->barriers = l->warp_syncs = 0;
#ifdef EMU_TSAN
    if (!l->tsan_fiber) l->tsan_fiber = __tsan_create_fiber(0);
#endif
}

/* ---- what lanes call ---- */

/* For the thread sanitizer barriers are two in turn: a lane that has come to the next one must not order the
 * lanes that have not left the last one yet. */

void collective(operation *perform, void *args, const char *file, int line)
{
    lane *l = me->current;
    l->state = COLLECTIVE;
    l->perform = perform;
    l->args = args;
    l->file = file;
    l->line = line;
    unsigned turn = perform ? 0 : l->warp_syncs++ % 2;
    (void)turn;
    TSAN(if (!perform) __tsan_release(&me->tag_warp[threadIdx.x / LANES][turn]));
    leave(l, false);
    TSAN(if (!perform) __tsan_acquire(&me->tag_warp[threadIdx.x / LANES][turn]));
}

void barrier(const char *file, int line)
{
    lane *l = me->current;
    l->state = BARRIER;
    l->file = file;
    l->line = line;
    unsigned turn = l->barriers++ % 2;
    (void)turn;
    TSAN(__tsan_release(&me->tag_block[turn]));
    leave(l, false);
    TSAN(__tsan_acquire(&me->tag_block[turn]));
}

/* A lane's first use makes the array for its block; between arrays is a gap. It is full of NaN already:
 * filled by a lane it would race with the others. */
void *shared(const void *key, size_t bytes, size_t align)
{
    worker *w = me;
    for (int i = 0; i < w->array_count; i++)
        if (w->arrays[i].key == key) return w->arrays[i].p;
    size_t at = (w->room_used + align - 1) / align * align;
    w->static_bytes += bytes;
    if (w->array_count == MOST_ARRAYS || w->static_bytes > STATIC_LIMIT)
        die("%s: more than %d static shared arrays or %d bytes of them", w->g->kernel, MOST_ARRAYS,
            STATIC_LIMIT);
    if (w->static_bytes + w->g->shared_bytes > SHARED_LIMIT)
        die("%s: %zu bytes of shared memory, more than %d", w->g->kernel,
            w->static_bytes + w->g->shared_bytes, SHARED_LIMIT);
    void *p = w->room + at;
    w->arrays[w->array_count++] = {key, p};
    w->room_used = at + bytes + GAP;
    unpoison(p, bytes);
    return p;
}

static char *dynamic_memory(worker *w)
{
    return w->room + (SHARED_ROOM - GAP - w->g->shared_bytes) / 128 * 128;
}

/* Before the first block, and after each: NaN wherever a block has been, out of bounds until asked for. */
static void clear_shared(worker *w, size_t used)
{
    unpoison(w->room, SHARED_ROOM);
    memset(w->room, 0xff, used);
    memset(dynamic_memory(w), 0xff, w->g->shared_bytes);
    poison(w->room, SHARED_ROOM);
    w->array_count = 0;
    w->room_used = GAP;
    w->static_bytes = 0;
}

void *shared_dynamic()
{
    return dynamic_memory(me);
}

void copy_later(void *dst, const void *src, bool valid)
{
    lane *l = me->current;
    l->copies.push_back({dst, src, valid, l->group});
}

void copy_commit()
{
    me->current->group++;
}

/* Copies land as late as allowed. */
void copy_wait(int behind)
{
    lane *l = me->current;
    size_t kept = 0;
    for (size_t i = 0; i < l->copies.size(); i++) {
        late_copy c = l->copies[i];
        if (c.group < l->group - behind)
            copy_now(c.dst, c.src, c.valid);
        else
            l->copies[kept++] = c;
    }
    l->copies.resize(kept);
}

/* ---- collectives of tensor cores ---- */

/* Lane i gave row i % 8 of matrix i / 8 and receives of each matrix row i / 4, columns 2 (i % 4) and the
 * next.
 */
void distribute(void *const args[LANES])
{
    for (int i = 0; i < LANES; i++)
        for (int m = 0; m < 4; m++) {
            const uint16_t *row = ((matrix_rows *)args[8 * m + i / 4])->row + i % 4 * 2;
            ((matrix_rows *)args[i])->r[m] = row[0] | (uint32_t)row[1] << 16;
        }
}

void distribute_transposed(void *const args[LANES])
{
    for (int i = 0; i < LANES; i++)
        for (int m = 0; m < 4; m++) {
            const matrix_rows *first = (matrix_rows *)args[8 * m + i % 4 * 2];
            const matrix_rows *second = (matrix_rows *)args[8 * m + i % 4 * 2 + 1];
            ((matrix_rows *)args[i])->r[m] = first->row[i / 4] | (uint32_t)second->row[i / 4] << 16;
        }
}

static float half_of(uint32_t pair, int high)
{
    return __uint_as_float(high ? pair & 0xffff0000u : pair << 16);
}

/* m16n8k16: the layouts are in kernels/cuda/gpu.cuh. */
void multiply(void *const args[LANES])
{
    float a[16][16], b[8][16];
    for (int i = 0; i < LANES; i++) {
        const product *p = (product *)args[i];
        int g = i / 4, t = i % 4 * 2;
        for (int h = 0; h < 2; h++) {
            a[g][t + h] = half_of(p->a[0], h);
            a[g + 8][t + h] = half_of(p->a[1], h);
            a[g][t + 8 + h] = half_of(p->a[2], h);
            a[g + 8][t + 8 + h] = half_of(p->a[3], h);
            b[g][t + h] = half_of(p->b[0], h);
            b[g][t + 8 + h] = half_of(p->b[1], h);
        }
    }
    for (int i = 0; i < LANES; i++) {
        float *c = ((product *)args[i])->c;
        for (int n = 0; n < 4; n++) {
            const float *row = a[i / 4 + (n >= 2 ? 8 : 0)], *column = b[i % 4 * 2 + n % 2];
            float sum = 0;
            for (int k = 0; k < 16; k++) sum += row[k] * column[k];
            c[n] += sum;
        }
    }
}

/* ---- blocks ---- */

static uint64_t random_word(worker *w)
{
    uint64_t x = w->random += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Lets the lanes of a warp run to their next stop, which has to be the same for all. */
static void run_lanes(worker *w, int warp)
{
    lane *first = &w->lanes[warp * LANES];
    uint64_t word = w->order >= 2 ? random_word(w) : 0;
    for (int n = 0; n < LANES; n++) {
        int i = w->order == 0   ? n
                : w->order == 1 ? LANES - 1 - n
                                : (int)((n * (word | 1) + (word >> 32)) % LANES);
        enter(&first[i], (unsigned)(warp * LANES + i));
        if (memcmp(first[i].stack, &canary, sizeof canary) != 0)
            die("%s: the stack of a thread is too small: large local arrays?", w->g->kernel);
    }
    for (int i = 1; i < LANES; i++) {
        lane *l = &first[i];
        if (l->state == DONE && first->state == DONE) continue;
        if (l->state == DONE || first->state == DONE)
            die("%s: lane %d of warp %d ended while another waits at %s:%d", w->g->kernel,
                l->state == DONE ? i : 0, warp, l->state == DONE ? first->file : l->file,
                l->state == DONE ? first->line : l->line);
        if (l->state != first->state || l->line != first->line || strcmp(l->file, first->file) != 0 ||
            (l->state == COLLECTIVE && l->perform != first->perform))
            die("%s: warp %d diverges: lane 0 is at %s:%d, lane %d at %s:%d", w->g->kernel, warp, first->file,
                first->line, i, l->file, l->line);
    }
}

/* A warp up to its next barrier or its end. */
static void run_warp(worker *w, int warp)
{
    lane *first = &w->lanes[warp * LANES];
    for (;;) {
        run_lanes(w, warp);
        if (first->state != COLLECTIVE) return;
        if (!first->perform) continue;
        void *args[LANES];
        for (int i = 0; i < LANES; i++) args[i] = first[i].args;
        first->perform(args);
    }
}

/* All warps stand at one barrier, or all have ended, which is returned. */
static bool block_ended(const worker *w, int warps)
{
    const lane *first = &w->lanes[0];
    for (int i = 1; i < warps; i++) {
        const lane *l = &w->lanes[i * LANES];
        if (l->state == DONE && first->state == DONE) continue;
        if (l->state == DONE || first->state == DONE)
            die("%s: a warp ended while another waits at the barrier %s:%d", w->g->kernel,
                l->state == DONE ? first->file : l->file, l->state == DONE ? first->line : l->line);
        if (l->line != first->line || strcmp(l->file, first->file) != 0)
            die("%s: warp 0 is at the barrier %s:%d, warp %d at %s:%d", w->g->kernel, first->file,
                first->line, i, l->file, l->line);
    }
    return first->state == DONE;
}

static void run_block(worker *w, unsigned block)
{
    const grid *g = w->g;
    int warps = (int)g->threads / LANES;
    int turn[MOST_THREADS / LANES];
    w->random = w->order * 0x2545f4914f6cdd1du + block;
    unpoison(dynamic_memory(w), g->shared_bytes);
    blockIdx.x = block;
    blockDim.x = g->threads;
    gridDim.x = g->blocks;
    for (unsigned i = 0; i < g->threads; i++) lane_start(&w->lanes[i], (int)i);
    TSAN(__tsan_release(&w->tag_start));
    do {
        for (int i = 0; i < warps; i++) turn[i] = w->order == 1 ? warps - 1 - i : i;
        for (int i = warps - 1; w->order >= 2 && i > 0; i--) {
            int other = (int)(random_word(w) % (unsigned)(i + 1)), swap = turn[i];
            turn[i] = turn[other];
            turn[other] = swap;
        }
        for (int i = 0; i < warps; i++) run_warp(w, turn[i]);
    } while (!block_ended(w, warps));
    TSAN(__tsan_acquire(&w->tag_end));
    clear_shared(w, w->room_used);
}

void run(const grid &g, uint64_t order)
{
    if (g.threads == 0 || g.threads % LANES || g.threads > MOST_THREADS)
        die("%s (%s:%d): %u threads in a block: whole warps, at most %d", g.kernel, g.file, g.line, g.threads,
            MOST_THREADS);
    if (g.shared_bytes > SHARED_LIMIT)
        die("%s (%s:%d): %zu bytes of shared memory, more than %d", g.kernel, g.file, g.line, g.shared_bytes,
            SHARED_LIMIT);
    std::vector<unsigned> turn(g.blocks);
    for (unsigned i = 0; i < g.blocks; i++) turn[i] = order == 1 ? g.blocks - 1 - i : i;
    uint64_t state = order;
    for (unsigned i = g.blocks; order >= 2 && i-- > 1;) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        std::swap(turn[i], turn[(state >> 33) % (i + 1)]);
    }
#pragma omp parallel if (g.blocks > 1)
    {
        static thread_local std::unique_ptr<worker> mine;
        bool is_new = !mine;
        if (is_new) mine.reset(new worker);
        me = mine.get();
        me->g = &g;
        me->order = order;
        if (is_new) clear_shared(me, SHARED_ROOM);
#pragma omp for schedule(dynamic)
        for (unsigned i = 0; i < g.blocks; i++) run_block(me, turn[i]);
    }
}
} /* namespace emu */
