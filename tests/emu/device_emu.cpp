/* kernels/cuda/device.h on the host. The queue is lazy: what is asked for is kept and run by sync, so that a
 * forgotten sync reads old data. Device memory cannot be touched by the host: it is one mapping without
 * access except while the queue runs. It is full of NaN at first, has gaps that nothing may write, and is
 * never used again after free. */
#include "tests/emu/device_emu.h"

#include <cblas.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "emu.h"
#include "kernels/cuda/cuda.h"
#include "kernels/cuda/device.h"
#include "kernels/host.h"
#include "scheduler.h"

using emu::die;

static const size_t reserved = (size_t)64 << 30, /* of addresses */ page = 4096, gap = 256,
                    scratch_bytes = 64 << 10;
static const unsigned char garbage = 0xff; /* NaN as float and bf16 */

static unsigned order;
static osv_emu_counts counts;
static int failing[OSV_EMU_KINDS];
static size_t allocated, memory = reserved, peak;

struct osv_device_graph {
    std::vector<std::function<void()>> node;
};

struct block {
    size_t bytes;
    bool freed;
};

struct osv_device {
    osv_error *error;
    char *base;
    size_t used;
    std::map<char *, block> blocks; /* all that ever were */
    std::map<void *, size_t> host_blocks;
    std::deque<std::function<void()>> queue;
    size_t run;               /* entries taken from the queue so far */
    std::vector<size_t> mark; /* entries queued before each mark */
    osv_device_graph *recording;
    size_t total, taken; /* memory of the device, and what of it is allocated */
    double stamp[OSV_STAMPS];
    int ranges; /* open */
    bool profiled;
};

/* ---- memory ---- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Bytes of the pages of a block: its own and a gap, to the end of a page. */
static size_t pages(size_t bytes)
{
    return round_up(bytes + gap, page);
}

/* One range, whatever lies in it: calls are few, and pages of freed blocks cost nothing. */
static void access(osv_device *d, int protection)
{
    if (d->used && mprotect(d->base, d->used, protection)) die("mprotect of %zu bytes failed", d->used);
}

/* The block that bytes at p lie in; null if p is no device memory. */
static const block *find(osv_device *d, const void *p, size_t bytes, const char *what)
{
    char *at = (char *)p;
    if (at < d->base || at >= d->base + reserved) return nullptr;
    auto it = d->blocks.upper_bound(at);
    if (it == d->blocks.begin()) die("%s: %p is device memory that was never allocated", what, p);
    --it;
    if (it->second.freed) die("%s: %p was freed", what, p);
    if (at + bytes > it->first + it->second.bytes)
        die("%s: %zu bytes at %zu of a block of %zu", what, bytes, (size_t)(at - it->first),
            it->second.bytes);
    return &it->second;
}

static void must_be(osv_device *d, const void *p, size_t bytes, bool device, const char *what)
{
    if ((find(d, p, bytes, what) != nullptr) != device)
        die("%s: %p should be %s memory", what, p, device ? "device" : "host");
}

/* While the memory is accessible. */
static void check_gap(char *p, size_t bytes)
{
    char *end = p + pages(bytes);
    emu::unpoison(p + bytes, (size_t)(end - p) - bytes);
    for (char *at = p + bytes; at < end; at++)
        if ((unsigned char)*at != garbage)
            die("a block of %zu device bytes was written beyond its end", bytes);
}

static bool fails(osv_device *d, osv_emu_kind kind, const char *what)
{
    if (d->error->status) return true;
    counts.calls[kind]++;
    if (failing[kind] > 0 && --failing[kind] == 0) {
        OSV_FAIL(d->error, OSV_DEVICE, "cuda: %s failed: injected by a test", what);
        return true;
    }
    return false;
}

static bool records(osv_device *d, const char *what)
{
    if (!d->recording) return false;
    OSV_FAIL(d->error, OSV_DEVICE, "cuda: %s is not allowed while a graph is recorded", what);
    return true;
}

void *osv_device_alloc(osv_device *d, size_t bytes)
{
    counts.allocations++;
    if (fails(d, OSV_EMU_ALLOC, "an allocation") || records(d, "an allocation")) return nullptr;
    if (bytes > d->total - d->taken || pages(bytes) > reserved - d->used) return nullptr;
    d->taken += bytes;
    if (d->taken > peak) peak = d->taken;
    char *p = d->base + d->used;
    size_t whole = pages(bytes);
    d->used += whole;
    if (mprotect(p, whole, PROT_READ | PROT_WRITE)) die("mprotect of %zu bytes failed", whole);
    memset(p, garbage, whole);
    emu::poison(p + bytes, whole - bytes);
    mprotect(p, whole, PROT_NONE);
    d->blocks[p] = {bytes, false};
    allocated += bytes;
    return p;
}

static void run_all(osv_device *d);

void osv_device_free(osv_device *d, void *p)
{
    if (!p) return;
    auto it = d->blocks.find((char *)p);
    if (it == d->blocks.end() || it->second.freed) die("free of %p, which is not allocated", p);
    if (d->recording) records(d, "a free");
    run_all(d);
    size_t whole = pages(it->second.bytes);
    mprotect(p, whole, PROT_READ | PROT_WRITE);
    check_gap(it->first, it->second.bytes);
    emu::poison(p, whole);
    mprotect(p, whole, PROT_NONE);
    madvise(p, whole, MADV_DONTNEED);
    allocated -= it->second.bytes;
    d->taken -= it->second.bytes;
    it->second.freed = true;
}

void osv_device_memory(osv_device *d, size_t *available, size_t *all)
{
    *available = d->total - d->taken;
    *all = d->total;
}

void *osv_device_host_alloc(osv_device *d, size_t bytes)
{
    if (fails(d, OSV_EMU_HOST_ALLOC, "an allocation of pinned memory") || records(d, "an allocation"))
        return nullptr;
    void *p = aligned_alloc(gap, round_up(bytes + 1, gap));
    if (!p) die("no memory");
    memset(p, garbage, bytes);
    d->host_blocks[p] = bytes;
    allocated += bytes;
    return p;
}

void osv_device_host_free(osv_device *d, void *p)
{
    if (!p) return;
    if (!d->host_blocks.count(p)) die("free of pinned memory %p, which is not allocated", p);
    run_all(d);
    allocated -= d->host_blocks[p];
    d->host_blocks.erase(p);
    free(p);
}

/* ---- the queue ---- */

static void submit(osv_device *d, std::function<void()> work)
{
    if (d->recording)
        d->recording->node.push_back(work);
    else
        d->queue.push_back(work);
}

/* Runs up to entry number `end` of all that were ever queued. After a failure nothing runs any more: host
 * memory of copies may be gone. */
static void run_until(osv_device *d, size_t end)
{
    if (d->error->status) {
        d->run += d->queue.size();
        d->queue.clear();
    }
    if (d->run >= end) return;
    access(d, PROT_READ | PROT_WRITE);
    for (; d->run < end; d->run++) {
        d->queue.front()();
        d->queue.pop_front();
    }
    access(d, PROT_NONE);
}

static void run_all(osv_device *d)
{
    run_until(d, d->run + d->queue.size());
}

void osv_device_copy(osv_device *d, void *dst, const void *src, size_t bytes, osv_direction direction)
{
    counts.copies++;
    if (fails(d, OSV_EMU_COPY, "a copy") || bytes == 0) return;
    must_be(d, dst, bytes, direction != OSV_TO_HOST, "copy");
    must_be(d, src, bytes, direction != OSV_TO_DEVICE, "copy");
    submit(d, [=] { memcpy(dst, src, bytes); });
}

void osv_device_fill(osv_device *d, void *p, unsigned char byte, size_t bytes)
{
    if (fails(d, OSV_EMU_COPY, "a fill") || bytes == 0) return;
    counts.outside += !d->recording;
    must_be(d, p, bytes, true, "fill");
    submit(d, [=] { memset(p, byte, bytes); });
}

void osv_device_call(osv_device *d, osv_host_call *f, void *context, void *x, size_t bytes)
{
    if (fails(d, OSV_EMU_COPY, "a call of the host")) return;
    must_be(d, x, bytes, false, "call of the host");
    submit(d, [=] { f(context, x, bytes); });
}

void osv_device_mark(osv_device *d)
{
    counts.marks++;
    if (d->error->status || records(d, "a mark")) return;
    d->mark.push_back(d->run + d->queue.size());
}

void osv_device_sync(osv_device *d, int behind)
{
    counts.syncs++;
    if (behind < 0 || behind >= OSV_DEVICE_MARKS) die("sync: %d marks behind", behind);
    if (d->error->status || records(d, "a sync")) {
        run_until(d, 0);
        return;
    }
    if (behind == 0)
        run_all(d);
    else if ((size_t)behind < d->mark.size())
        run_until(d, d->mark[d->mark.size() - 1 - (size_t)behind]);
}

void osv_device_graph_begin(osv_device *d)
{
    if (fails(d, OSV_EMU_GRAPH, "the start of a graph")) return;
    if (d->recording) die("a graph is recorded already");
    d->recording = new osv_device_graph;
}

osv_device_graph *osv_device_graph_end(osv_device *d)
{
    osv_device_graph *graph = d->recording;
    d->recording = nullptr;
    if (graph && fails(d, OSV_EMU_GRAPH, "the end of a graph")) {
        delete graph;
        return nullptr;
    }
    return graph;
}

void osv_device_graph_run(osv_device *d, osv_device_graph *graph)
{
    counts.graph_runs++;
    if (fails(d, OSV_EMU_GRAPH, "the start of a recorded graph") || records(d, "a graph in a graph")) return;
    submit(d, [=] {
        for (auto &node : graph->node) node();
    });
}

void osv_device_graph_free(osv_device *d, osv_device_graph *graph)
{
    run_all(d);
    delete graph;
}

/* ---- work ---- */

void emu::enqueue(osv_device *d, unsigned blocks, unsigned threads, size_t shared_bytes, const char *kernel,
                  const char *file, int line, std::function<void()> thread)
{
    if (blocks == 0) return;
    counts.launches++;
    counts.outside += !d->recording;
    if (fails(d, OSV_EMU_LAUNCH, kernel)) return;
    emu::grid g = {blocks, threads, shared_bytes, kernel, file, line, thread};
    submit(d, [=] { emu::run(g, order); });
}

static std::vector<float> widened(const void *p, osv_format format, size_t n)
{
    std::vector<float> x(n);
    for (size_t i = 0; i < n; i++)
        x[i] = format == OSV_F32 ? ((const float *)p)[i] : __bfloat162float(((const bf16 *)p)[i]);
    return x;
}

void osv_device_matmul(osv_device *d, const osv_product *asked)
{
    counts.products++;
    counts.outside += !d->recording;
    osv_product p = *asked;
    if (fails(d, OSV_EMU_LAUNCH, "a matrix product")) return;
    size_t m = (size_t)p.rows, n = (size_t)p.cols, k = (size_t)p.inner;
    if (p.rows < 1 || p.cols < 1 || p.inner < 1) die("matmul: an empty product");
    if (p.format != OSV_F32 && p.format != OSV_BF16) die("matmul: format %d", (int)p.format);
    must_be(d, p.a, m * k * osv_format_bytes(p.format), true, "matmul: a");
    must_be(d, p.b, k * n * osv_format_bytes(p.format), true, "matmul: b");
    must_be(d, p.c, m * n * sizeof(float), true, "matmul: c");
    submit(d, [=] {
        std::vector<float> a = widened(p.a, p.format, m * k), b = widened(p.b, p.format, k * n);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, p.transposed ? CblasTrans : CblasNoTrans, p.rows, p.cols,
                    p.inner, 1, a.data(), p.inner, b.data(), p.transposed ? p.inner : p.cols,
                    p.accumulate ? 1 : 0, p.c, p.cols);
    });
}

/* ---- profilers and clocks ---- */

void osv_device_stamp(osv_device *d, int k)
{
    if (k < 0 || k >= OSV_STAMPS) die("stamp %d of %d", k, (int)OSV_STAMPS);
    if (d->error->status || records(d, "a stamp")) return;
    submit(d, [=] { d->stamp[k] = osv_host_seconds(); });
}

double osv_device_between(osv_device *d, int a, int b)
{
    run_all(d);
    return d->stamp[b] - d->stamp[a];
}

void osv_device_range(osv_device *d, const char *name, int)
{
    d->ranges += name ? 1 : -1;
    if (d->ranges < 0) die("a range ends that never began");
    counts.ranges += name != nullptr;
}

void osv_device_profiler(osv_device *d, bool on)
{
    if (d->profiled == on) die("the profiler is %s already", on ? "on" : "off");
    d->profiled = on;
    counts.profiled += on;
}

/* ---- the device ---- */

int osv_devices(void)
{
    return 1;
}

int osv_device_open(osv_device **out, int number, osv_error *error)
{
    *out = nullptr;
    if (error->status) return error->status;
    if (number != 0) return OSV_FAIL(error, OSV_DEVICE, "cuda: there is no device %d", number);
    void *base = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return OSV_FAIL(error, OSV_DEVICE, "cuda: no address space for the emulation");
    openblas_set_num_threads(1);
    *out = new osv_device{};
    (*out)->error = error;
    (*out)->base = (char *)base;
    (*out)->total = memory;
    return OSV_OK;
}

void osv_device_close(osv_device *d)
{
    if (!d) return;
    run_all(d);
    delete d->recording;
    if (!d->error->status && (d->ranges || d->profiled)) die("a range or the profiler was left open");
    access(d, PROT_READ | PROT_WRITE);
    for (auto &b : d->blocks) {
        if (b.second.freed) continue;
        check_gap(b.first, b.second.bytes);
        allocated -= b.second.bytes;
    }
    emu::unpoison(d->base, d->used);
    munmap(d->base, reserved);
    for (auto &b : d->host_blocks) {
        allocated -= b.second;
        free(b.first);
    }
    delete d;
}

const char *osv_device_name(const osv_device *)
{
    return "CUDA emulated on the host";
}

int osv_device_processors(const osv_device *)
{
    return 3; /* few, so that loops over blocks go round */
}

size_t osv_device_scratch(const osv_device *)
{
    return scratch_bytes; /* little, so that products are cut into pieces */
}

/* ---- for tests ---- */

int osv_emu_open(osv_ops **o, osv_dtype dtype, osv_error *error)
{
    return osv_cuda_open(o, dtype, 0, error);
}

/* OSV_EMU_FAIL=kind:n */
static void fail_as_told(const char *told)
{
    static const char *const names[OSV_EMU_KINDS] = {"alloc", "host", "copy", "launch", "graph"};
    for (int kind = 0; kind < OSV_EMU_KINDS; kind++) {
        size_t n = strlen(names[kind]);
        if (strncmp(told, names[kind], n) == 0 && told[n] == ':') {
            osv_emu_fail((osv_emu_kind)kind, atoi(told + n + 1));
            return;
        }
    }
    die("OSV_EMU_FAIL=%s: no such kind", told);
}

int osv_emu_open_device(osv_ops **o, osv_dtype dtype, int number, osv_error *error)
{
    if (const char *told = getenv("OSV_EMU_ORDER")) osv_emu_order((unsigned)atoi(told));
    if (const char *told = getenv("OSV_EMU_MEMORY")) osv_emu_memory((size_t)atoll(told));
    if (const char *told = getenv("OSV_EMU_FAIL")) fail_as_told(told);
    return osv_cuda_open(o, dtype, number, error);
}

void osv_emu_order(unsigned new_order)
{
    order = new_order;
}

osv_emu_counts osv_emu_count(void)
{
    return counts;
}

void osv_emu_fail(osv_emu_kind kind, int n)
{
    failing[kind] = n;
}

size_t osv_emu_bytes(void)
{
    return allocated;
}

size_t osv_emu_peak(void)
{
    size_t most = peak;
    peak = 0;
    return most;
}

void osv_emu_memory(size_t bytes)
{
    memory = bytes ? bytes : reserved;
}
