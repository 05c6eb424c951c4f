/* Units: what is planned from the shapes of jobs, and who is given what when replicas ask, are lost, or
 * leave. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/ops.h"
#include "optim/units.h"
#include "tests/files.h"
#include "tests/toy.h"
#include "tools/unit_queue.h"

enum { MOST_JOBS = 600, TOKENS = 6 };

static int ids[TOKENS] = {1, 2, 3, 4, 5, 6};
static signed char steer[TOKENS] = {1, 1, 1, 1, 1, 0};
static const osv_sequence sequence = {.count = TOKENS, .prompt = 4, .ids = ids, .steer = steer};

static osv_error error;
static toy model;
static osv_job job[MOST_JOBS];
static char name[MOST_JOBS][12];
static osv_training training;

/* So many jobs, all alike, each with a prompt that no other one has. */
static void make_jobs(int jobs)
{
    static int own[MOST_JOBS][TOKENS];
    static osv_sequence sequences[MOST_JOBS];
    for (int j = 0; j < jobs; j++) {
        snprintf(name[j], sizeof name[j], "j%d", j);
        memcpy(own[j], ids, sizeof ids);
        own[j][0] = j % 37;
        own[j][1] = j / 37 % 37;
        sequences[j] = sequence;
        sequences[j].ids = own[j];
        job[j] = (osv_job){.name = name[j],
                           .layer = 1,
                           .options = osv_job_defaults(),
                           .completions = 1,
                           .sequence = &sequences[j]};
    }
    training.jobs = jobs;
}

static void open_model(void)
{
    osv_ops *ops;
    osv_comm *comm;
    model = toy_make(TOY_LLAMA, 3, 5);
    cr_assert_eq(osv_ref_open(&ops, OSV_DTYPE_F32, &error), OSV_OK);
    cr_assert_eq(osv_comm_self_open(&comm, &error), OSV_OK);
    training = (osv_training){.ops = ops, .comm = comm, .model = &model.model, .on = osv_all_on, .job = job};
}

static void close_model(void)
{
    training.comm->close(training.comm);
    training.ops->close(training.ops);
    toy_free(&model);
}

/* Every job is in one unit, units have jobs, and theirs rise. */
static void check_division(const osv_units *u, int jobs)
{
    bool seen[MOST_JOBS] = {false};
    cr_assert_eq(u->first[0], 0);
    cr_assert_eq(u->first[u->units], jobs);
    for (int k = 0; k < u->units; k++) {
        cr_assert_lt(u->first[k], u->first[k + 1], "unit %d is empty", k);
        for (int i = u->first[k]; i < u->first[k + 1]; i++) {
            cr_assert(!seen[u->job[i]], "job %d twice", u->job[i]);
            seen[u->job[i]] = true;
            cr_assert(i == u->first[k] || u->job[i - 1] < u->job[i]);
        }
    }
}

static int size_of(const osv_units *u, int unit)
{
    return u->first[unit + 1] - u->first[unit];
}

Test(units, equal_jobs_are_divided_evenly, .init = open_model, .fini = close_model)
{
    static const struct {
        int jobs, replicas, units;
    } row[] = {
        {1, 1, 1},    {1, 4, 1}, {3, 4, 3}, {4, 4, 4}, {7, 3, 3}, {60, 4, 4}, /* of 5 rows each: few */
        {600, 2, 8},  /* 3000 rows: all that there may be */
        {600, 4, 11}, /* as each has 256 of them */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        osv_units u;
        make_jobs(row[i].jobs);
        cr_assert_eq(osv_units_plan(&u, &training, row[i].replicas), OSV_OK, "%s", error.text);
        cr_expect_eq(u.units, row[i].units, "%d jobs, %d replicas: %d units", row[i].jobs, row[i].replicas,
                     u.units);
        check_division(&u, row[i].jobs);
        for (int k = 0; k < u.units; k++)
            cr_expect(size_of(&u, 0) - size_of(&u, k) <= 1, "%d jobs, %d units: %d and %d", row[i].jobs,
                      u.units, size_of(&u, 0), size_of(&u, k));
        osv_units_free(&u);
    }
}

Test(units, the_longest_one_comes_first, .init = open_model, .fini = close_model)
{
    osv_units u;
    make_jobs(6);
    for (int j = 0; j < 6; j++) job[j].options.max_iters = 10;
    job[3].options.max_iters = 1000;
    cr_assert_eq(osv_units_plan(&u, &training, 2), OSV_OK, "%s", error.text);
    check_division(&u, 6);
    cr_assert_eq(u.units, 2);
    cr_expect_eq(u.job[u.first[0] + size_of(&u, 0) - 1], 5, "the long job and those behind it");
    cr_expect_eq(u.job[u.first[0]], 3);
    cr_expect_eq(size_of(&u, 1), 3);
    osv_units_free(&u);
    job[3].options.max_iters = 10;
    job[5].options.min_norm_iters = 1000; /* the second phase counts too, */
    cr_assert_eq(osv_units_plan(&u, &training, 2), OSV_OK, "%s", error.text);
    cr_expect_eq(u.job[0], 5);
    osv_units_free(&u);
    job[5].options.min_norm_iters = 0;
    job[0].options.noise = 0.1; /* and every draw */
    job[0].options.noise_draws = 100;
    cr_assert_eq(osv_units_plan(&u, &training, 2), OSV_OK, "%s", error.text);
    cr_expect_eq(size_of(&u, 0), 1);
    cr_expect_eq(u.job[0], 0);
    osv_units_free(&u);
}

Test(units, chains_stay_together, .init = open_model, .fini = close_model)
{
    static const int after_0[] = {0, 4}, after_1[] = {1}, after_5[] = {5};
    osv_units u;
    make_jobs(9);
    job[4].before = after_0; /* 0 4 7, 1 6, 5 8, 2, 3 */
    job[4].befores = 1;
    job[7].before = after_0;
    job[7].befores = 2;
    job[6].before = after_1;
    job[6].befores = 1;
    job[8].before = after_5;
    job[8].befores = 1;
    for (int replicas = 1; replicas < 12; replicas++) {
        cr_assert_eq(osv_units_plan(&u, &training, replicas), OSV_OK, "%s", error.text);
        check_division(&u, 9);
        cr_expect_leq(u.units, 5);
        for (int k = 0; k < u.units; k++) {
            bool in[9] = {false};
            for (int i = u.first[k]; i < u.first[k + 1]; i++) in[u.job[i]] = true;
            cr_expect(in[0] == in[4] && in[4] == in[7] && in[1] == in[6] && in[5] == in[8], "%d replicas",
                      replicas);
        }
        osv_units_free(&u);
    }
}

Test(units, what_does_not_fit_is_said, .init = open_model, .fini = close_model)
{
    osv_units u;
    make_jobs(3);
    training.memory = 100;
    int status = osv_units_plan(&u, &training, 2);
    check_failure("memory", status, &error, OSV_DEVICE, "job \"j0\" needs");
}

Test(units, made_by_hand, .init = open_model, .fini = close_model)
{
    static const int first[] = {0};
    static const struct {
        const char *what;
        int unit[4], units, expected;
        const char *piece;
    } row[] = {
        {"two", {1, 0, 1, 1}, 2, OSV_OK, ""},
        {"a chain apart", {0, 1, 1, 0}, 2, OSV_BAD_INPUT, "job \"j2\" comes after job \"j0\""},
        {"an empty one", {0, 2, 0, 2}, 3, OSV_BAD_INPUT, "unit 1 has no jobs"},
    };
    make_jobs(4);
    job[2].before = first;
    job[2].befores = 1;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        osv_error e = {0};
        osv_units u;
        int status = osv_units_make(&u, job, 4, row[i].unit, row[i].units, &e);
        check_failure(row[i].what, status, &e, row[i].expected, row[i].piece);
        if (!status) check_division(&u, 4);
        osv_units_free(&u);
    }
}

/* ---- the queue ---- */

static unit_queue *queue;

static void open_queue(void)
{
    static const bool ended[4] = {false, true, false, false};
    cr_assert_eq(unit_queue_open(&queue, 3, &error), OSV_OK);
    cr_assert_eq(unit_queue_fill(queue, 4, ended, &error), OSV_OK);
}

static void close_queue(void)
{
    unit_queue_close(queue);
}

/* What the replica is told when it comes with a unit, ended or not. */
static int next(int replica, int unit, bool ended)
{
    return unit_queue_answer(queue, replica,
                             &(unit_request){.question = UNIT_NEXT, .unit = unit, .ended = ended})
        .unit;
}

Test(unit_queue, each_unit_once, .init = open_queue, .fini = close_queue)
{
    int units;
    cr_expect_eq(next(1, -1, false), 0);
    cr_expect_eq(next(0, -1, false), 2); /* 1 has been trained before */
    cr_expect_eq(next(2, -1, false), 3);
    cr_expect_eq(next(1, 0, true), UNIT_WAIT);
    cr_expect_eq(next(2, 3, true), UNIT_WAIT);
    cr_expect_eq(unit_queue_count(queue, &units), 3);
    cr_expect_eq(units, 4);
    cr_expect_not(unit_queue_idle(queue));
    cr_expect_eq(next(0, 2, true), UNIT_ALL);
    cr_expect_eq(next(1, -1, false), UNIT_WAIT); /* they have still to be joined */
    cr_expect(unit_queue_idle(queue));
    unit_queue_finish(queue, OSV_BAD_INPUT);
    unit_answer a = unit_queue_answer(queue, 1, &(unit_request){.question = UNIT_NEXT, .unit = -1});
    cr_expect_eq(a.unit, UNIT_OVER);
    cr_expect_eq(a.status, OSV_BAD_INPUT);
}

Test(unit_queue, a_lost_replica, .init = open_queue, .fini = close_queue)
{
    cr_expect_eq(next(1, -1, false), 0);
    cr_expect_eq(next(2, -1, false), 2);
    unit_queue_lost(queue, 1);
    cr_expect_eq(next(0, -1, false), 0);
    cr_expect_eq(next(1, 0, true), 3, "what it says of a unit that is another one's has no effect");
    cr_expect_eq(next(0, 0, true), UNIT_WAIT);
}

Test(unit_queue, handed_back, .init = open_queue, .fini = close_queue)
{
    cr_expect_eq(next(1, -1, false), 0);
    cr_expect_eq(next(0, -1, false), 2);
    unit_request leave = {.question = UNIT_LEAVE, .unit = 0, .status = OSV_TERMINATED};
    unit_answer a = unit_queue_answer(queue, 1, &leave);
    cr_expect_eq(a.unit, UNIT_OVER);
    cr_expect_eq(a.status, OSV_TERMINATED);
    cr_expect_eq(next(2, -1, false), 0);
    cr_expect_eq(unit_queue_news(queue), -1, "it has said so itself");
    unit_queue_lost(queue, 2);
    cr_expect_eq(unit_queue_news(queue), 2);
    cr_expect_eq(unit_queue_news(queue), -1);
}

Test(unit_queue, stopped, .init = open_queue, .fini = close_queue)
{
    cr_expect_eq(next(1, -1, false), 0);
    unit_request still = {.question = UNIT_STILL, .unit = -1};
    cr_expect_eq(unit_queue_answer(queue, 1, &still).unit, UNIT_WAIT);
    unit_queue_stop(queue, OSV_INTERRUPTED);
    unit_answer a = unit_queue_answer(queue, 1, &still);
    cr_expect_eq(a.unit, UNIT_OVER);
    cr_expect_eq(a.status, OSV_INTERRUPTED);
    cr_expect_not(unit_queue_idle(queue));
    cr_expect_eq(next(1, 0, false), UNIT_OVER);
    cr_expect(unit_queue_idle(queue));
}

/* What the replica is told when it says that it has so much memory. */
static unit_answer greet(int replica, int run, size_t memory)
{
    return unit_queue_answer(
        queue, replica, &(unit_request){.question = UNIT_HELLO, .run = run, .unit = -1, .memory = memory});
}

Test(unit_queue, the_least_memory, .init = open_queue, .fini = close_queue)
{
    cr_expect_eq(greet(1, 0, 70).unit, UNIT_WAIT);
    cr_expect_eq(greet(0, 0, 90).unit, UNIT_WAIT);
    cr_expect_eq(greet(1, 0, 70).unit, UNIT_WAIT);
    cr_expect_eq(greet(2, 0, 80).memory, 70);
    cr_expect_eq(greet(0, 0, 90).memory, 70);
    unit_queue_finish(queue, OSV_OK);
    cr_expect_eq(greet(1, 0, 70).unit, UNIT_OVER, "that run is over");
    cr_expect_eq(greet(1, 1, 95).unit, UNIT_WAIT);
    cr_expect_eq(greet(1, 2, 95).unit, UNIT_WAIT, "that one has not begun");
    unit_queue_lost(queue, 2);
    cr_expect_eq(greet(0, 1, 90).memory, 90);
    unit_queue_finish(queue, OSV_OK);
    cr_expect_eq(greet(0, 2, 90).unit, UNIT_WAIT);
    unit_queue_answer(queue, 1, &(unit_request){.run = 2, .question = UNIT_LEAVE, .unit = -1});
    cr_expect_eq(greet(0, 2, 90).memory, 90, "who has left is not waited for");
}
