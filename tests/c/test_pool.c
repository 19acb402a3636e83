/* The pool: every worker runs, callers at the same time do not wait for each other, a forked child starts afresh. */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "build.h"
#include "check.h"

enum { MOST_WORKERS = 16, BATCH = 2000, CALLS = 30 };

/* ---- tasks ---------------------------------------------------------------------------------------------- */

typedef struct {
    _Atomic int runs[MOST_WORKERS + 1], waits;
    _Atomic int64_t next, sum;
    int64_t n;
    int slow;
} work;

static void pause_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }

static void draw(void *context, int worker) {
    work *w = context;
    atomic_fetch_add(&w->runs[worker], 1);
    for (int64_t i; (i = atomic_fetch_add(&w->next, 1)) < w->n;)
        atomic_fetch_add(&w->sum, i);
    if (w->slow && worker == 1)
        pause_ms(80);
}
static int count_wait(void *context, int64_t done) {
    (void)done;
    return atomic_fetch_add(&((work *)context)->waits, 1) >= 3;
}

static void every_worker_runs_once_and_all_work_is_done(void) {
    for (int round = 0; round < 200; round++)
        for (int n = 1; n <= MOST_WORKERS; n++) {
            work w = {.n = 100};
            fg_parallel(n, draw, &w, NULL);
            int once = 1;
            for (int i = 0; i <= MOST_WORKERS; i++)
                once &= w.runs[i] == (i < n);
            CHECK(once);
            CHECK(w.sum == 99 * 100 / 2);
        }
}

static void the_caller_waits_with_open_eyes(void) {
    work w = {.n = 10, .slow = 1};
    fg_watch watch = {.poll = count_wait, .context = &w};
    fg_parallel(2, draw, &w, &watch);
    CHECK(w.waits >= 3 && w.waits <= 9); /* every 10 ms of 80 */
    CHECK(watch.cancelled);              /* the fourth said so */
}

static void nested(void *context, int worker) {
    work inner = {.n = 50};
    fg_parallel(4, draw, &inner, NULL); /* the pool is busy: the caller works alone */
    work *w = context;
    atomic_fetch_add(&w->sum, inner.sum);
    atomic_fetch_add(&w->runs[worker], 1);
}
static void a_task_may_run_tasks(void) {
    work w = {0};
    fg_parallel(4, nested, &w, NULL);
    CHECK(w.sum == 4 * (49 * 50 / 2));
}

/* ---- programs ------------------------------------------------------------------------------------------- */

static fg_program *program;
static arrays expected;

static builder costly(void) {
    builder b = {0};
    const int64_t n = 40;
    int64_t x = add_input(&b, FG_FLOAT64, 1, n), y = add_output(&b, FG_FLOAT64, 1, n);
    add_simple(&b, FG_OP_sin, FG_FLOAT64, n, y, x, x);
    add_simple(&b, FG_OP_exp, FG_FLOAT64, n, y, y, y);
    return b;
}
static int computes_the_same(void) {
    rng r = {1};
    arrays a = make_arrays(program, BATCH, &r, -2, 2, 0);
    int same = fg_evaluate_batch(program, BATCH, inputs_of(&a), a.out, NULL, NULL, NULL) == FG_OK &&
               same_numbers(a.out[0], expected.out[0], FG_FLOAT64, output_length(program, 0, BATCH));
    free_arrays(&a);
    return same;
}
static void *call_often(void *good) {
    for (int i = 0; i < CALLS; i++)
        *(int *)good += computes_the_same();
    return NULL;
}

static void callers_at_the_same_time_get_the_same(void) {
    enum { CALLERS = 3 };
    pthread_t callers[CALLERS];
    int good[CALLERS] = {0};
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&callers[i], NULL, call_often, &good[i]) == 0);
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i], NULL);
        CHECK(good[i] == CALLS);
    }
}

static int child_is_well(int depth) {
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        alarm(20); /* a hang is a failure */
        _exit(computes_the_same() && (depth == 0 || child_is_well(depth - 1)) ? 0 : 1);
    }
    int status = -1;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static void a_forked_child_computes(void) {
    for (int i = 0; i < 10; i++) {
        CHECK(computes_the_same()); /* the threads are up */
        CHECK(child_is_well(1));
    }
    pthread_t caller; /* forks while the pool is in use */
    int good = 0;
    CHECK(pthread_create(&caller, NULL, call_often, &good) == 0);
    for (int i = 0; i < 10; i++)
        CHECK(child_is_well(0));
    pthread_join(caller, NULL);
    CHECK(good == CALLS);
}

static void the_number_of_threads_is_checked(void) {
    const int wrong[] = {0, -1, 1025, INT32_MAX, INT32_MIN};
    fg_error error = {""};
    for (int i = 0; i < 5; i++)
        CHECK(fg_set_num_threads(wrong[i], &error) == FG_INVALID_VALUE && error.message[0]);
    CHECK(fg_set_num_threads(1024, NULL) == FG_OK && fg_get_num_threads() == 1024);
}

int main(void) {
    CHECK(fg_get_num_threads() >= 1);
    every_worker_runs_once_and_all_work_is_done();
    the_caller_waits_with_open_eyes();
    a_task_may_run_tasks();
    builder b = costly();
    rng r = {1};
    CHECK(create(&b, &program, NULL) == FG_OK);
    CHECK(fg_set_num_threads(1, NULL) == FG_OK);
    expected = make_arrays(program, BATCH, &r, -2, 2, 0);
    CHECK(fg_evaluate_batch(program, BATCH, inputs_of(&expected), expected.out, NULL, NULL, NULL) == FG_OK);
    CHECK(fg_set_num_threads(4, NULL) == FG_OK);
    callers_at_the_same_time_get_the_same();
    a_forked_child_computes();
    the_number_of_threads_is_checked();
    double before = fg_clock();
    pause_ms(2);
    CHECK(fg_clock() - before >= 0.002 && fg_clock() - before < 2);
    free_arrays(&expected);
    fg_program_destroy(program);
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("pool: %d workers, %d calls from 3 threads, 30 forks\n", MOST_WORKERS, 3 * CALLS);
    return check_result();
}
