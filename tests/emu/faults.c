/* Does the emulation find what it is there to find? Wrong kernels and wrong host code run in processes of
 * their own, which have to end with the right sentence. Prints TAP. */
#include "tests/emu/faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/emu/device_emu.h"

static int number, failures;

static void report(bool passed, const char *name, const char *said)
{
    printf("%sok %d - %s\n", passed ? "" : "not ", ++number, name);
    if (!passed) printf("# it said: %s\n", said);
    failures += !passed;
}

static osv_device *device;
static float *memory;
static osv_error error;

static void open_device(void)
{
    if (osv_device_open(&device, 0, &error)) exit(1);
    memory = osv_device_alloc(device, FAULT_NUMBERS * sizeof *memory);
    osv_device_fill(device, memory, 0, FAULT_NUMBERS * sizeof *memory);
    osv_device_sync(device, 0);
}

/* ---- what ends the program ---- */

static void launch_and_free(int kind)
{
    fault_launch(device, (fault)kind, memory);
    osv_device_sync(device, 0);
    osv_device_free(device, memory);
}

static void free_twice(int unused)
{
    (void)unused;
    osv_device_free(device, memory);
    osv_device_free(device, memory);
}

static void copy_from_host_to_host(int unused)
{
    (void)unused;
    float x, y = 0;
    osv_device_copy(device, &x, &y, sizeof x, OSV_TO_DEVICE);
}

static void copy_too_much(int unused)
{
    (void)unused;
    static float x[FAULT_NUMBERS + 1];
    osv_device_copy(device, memory, x, sizeof x, OSV_TO_DEVICE);
}

static void host_writes(int unused)
{
    (void)unused;
    *(volatile float *)memory = 1;
}

static void use_after_free(int unused)
{
    (void)unused;
    osv_device_free(device, memory);
    osv_device_fill(device, memory, 0, 4);
}

/* Runs it in a process; true if that was killed, after saying `piece`. */
static void dies(const char *name, void (*act)(int), int argument, const char *piece)
{
    int pipes[2], status = 0;
    char said[4096];
    size_t length = 0;
    fflush(stdout);
    if (pipe(pipes)) exit(1);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], 2);
        dup2(pipes[1], 1);
        close(pipes[0]);
        open_device();
        act(argument);
        _exit(0);
    }
    close(pipes[1]);
    for (ssize_t n;
         length < sizeof said - 1 && (n = read(pipes[0], said + length, sizeof said - 1 - length)) > 0;)
        length += (size_t)n;
    said[length] = 0;
    close(pipes[0]);
    waitpid(child, &status, 0);
    bool killed = WIFSIGNALED(status) || strstr(said, "AddressSanitizer");
    report(child > 0 && killed && strstr(said, piece), name, said);
}

/* ---- what makes wrong numbers ---- */

/* How many of out[0 .. 128) are not what they should be. */
static int wrong_numbers(fault kind, unsigned order)
{
    float out[128];
    int wrong = 0;
    osv_emu_order(order);
    fault_launch(device, kind, memory);
    osv_device_copy(device, out, memory, sizeof out, OSV_TO_HOST);
    osv_device_sync(device, 0);
    for (int i = 0; i < 128; i++) wrong += !(out[i] == (float)((i + 64) % 128));
    return wrong;
}

static void shows(const char *name, fault kind)
{
    int most = 0;
    for (unsigned order = 0; order < 4; order++) {
        int wrong = wrong_numbers(kind, order);
        if (wrong > most) most = wrong;
    }
    report(most > 0, name, "the right numbers in all orders");
}

/* ---- the queue ---- */

static void test_queue(void)
{
    float one = 1, x = 0;
    osv_device_copy(device, memory, &one, sizeof one, OSV_TO_DEVICE);
    osv_device_copy(device, &x, memory, sizeof x, OSV_TO_HOST);
    bool early = x == 0;
    osv_device_sync(device, 0);
    report(early && x == 1, "nothing is done before sync", "");

    float y[3] = {0};
    for (int i = 0; i < 3; i++) {
        osv_device_copy(device, &y[i], memory, sizeof x, OSV_TO_HOST);
        osv_device_mark(device);
    }
    osv_device_sync(device, 1);
    bool left = y[0] == 1 && y[1] == 1 && y[2] == 0;
    osv_device_sync(device, 0);
    report(left && y[2] == 1, "sync leaves the last mark behind", "");

    osv_device_graph_begin(device);
    osv_device_alloc(device, 1);
    report(strstr(error.text, "while a graph is recorded") != NULL, "no memory while a graph is recorded",
           error.text);
    osv_device_graph_free(device, osv_device_graph_end(device));
    error = (osv_error){0};
}

int main(void)
{
    dies("a barrier in a branch", launch_and_free, FAULT_DIVERGENT_BARRIER, "diverges");
    dies("a shuffle in a branch", launch_and_free, FAULT_DIVERGENT_SHUFFLE, "diverges");
    dies("an end before a barrier", launch_and_free, FAULT_EARLY_RETURN, "ended while another waits");
    dies("copies that are not waited for", launch_and_free, FAULT_NO_WAIT, "cp.async pending");
    dies("too much shared memory", launch_and_free, FAULT_TOO_MUCH_SHARED, "static shared arrays");
    dies("a matrix row that is not aligned", launch_and_free, FAULT_UNALIGNED_MATRIX, "not aligned");
    dies("a block of 40 threads", launch_and_free, FAULT_PART_OF_A_WARP, "whole warps");
#ifdef __SANITIZE_ADDRESS__
    dies("a write beyond a buffer", launch_and_free, FAULT_BEYOND_THE_END, "AddressSanitizer");
    dies("the host writes device memory", host_writes, 0, "AddressSanitizer");
#else
    dies("a write beyond a buffer", launch_and_free, FAULT_BEYOND_THE_END, "written beyond its end");
    dies("the host writes device memory", host_writes, 0, "");
#endif
    dies("free twice", free_twice, 0, "not allocated");
    dies("use after free", use_after_free, 0, "was freed");
    dies("a copy in the wrong direction", copy_from_host_to_host, 0, "should be device memory");
    dies("a copy beyond a buffer", copy_too_much, 0, "of a block of");
    open_device();
    shows("a missing barrier before a read", FAULT_NO_BARRIER_BEFORE_READ);
    shows("a missing barrier before an overwrite", FAULT_NO_BARRIER_BEFORE_OVERWRITE);
    shows("a wait that is too short", FAULT_WAIT_TOO_SHORT);
    test_queue();
    osv_device_free(device, memory);
    osv_device_close(device);
    printf("1..%d\n", number);
    return failures > 0;
}
