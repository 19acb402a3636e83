/* Repeating a program against a scalar loop, and against itself: an instance gets the same bits alone and in any batch,
 * order and number of threads, and in one call as in many. */
#include "build.h"
#include "check.h"

enum { D = 3, MOST = 1000, EVERY = 3, N_RECORDS = 5 };

static int64_t n_runs;

typedef struct {
    fg_iteration it;
    fg_program *p;
    int dtype;
    int64_t n;
    arrays in;
    void *results[2], *history[2];
    int64_t runs[2];
    int32_t *outcome;
} problem;

static problem make_problem(int dtype, int64_t n) {
    builder b = shrinking(dtype);
    problem q = {.dtype = dtype, .n = n};
    CHECK(create(&b, &q.p, NULL) == FG_OK);
    rng r = {7};
    q.in = make_arrays(q.p, n, &r, 1, 2, 0);
    for (int64_t i = 0; i < n; i++) { /* numbers of runs that differ by a hundred */
        set(q.in.in[1], dtype, i, 0);
        set(q.in.in[2], dtype, i, i % 10 == 3 ? 0.99 : 0.3 + 0.02 * (double)(i % 7));
    }
    set(q.in.in[3], dtype, 0, 1e-4);
    q.results[0] = exactly(n * D, dtype), q.results[1] = exactly(n, dtype);
    q.history[0] = exactly(N_RECORDS * n * D, dtype), q.history[1] = exactly(N_RECORDS * n, dtype);
    q.outcome = exactly(n, FG_FLOAT32);
    return q;
}
/* Points into the problem, which must not move afterwards. */
static void aim(problem *q) {
    q->it = (fg_iteration){.program = q->p,
                           .batch = q->n,
                           .n_state = 2,
                           .inputs = inputs_of(&q->in),
                           .results = q->results,
                           .outcome = q->outcome,
                           .max_runs = MOST,
                           .counter = 1,
                           .record_every = EVERY,
                           .n_records = N_RECORDS,
                           .history = q->history,
                           .runs = q->runs};
}
static void free_problem(problem *q) {
    free_arrays(&q->in);
    void *owned[] = {q->results[0], q->results[1], q->history[0], q->history[1], q->outcome};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    fg_program_destroy(q->p);
}
static void iterate(problem *q) {
    fg_error error = {""};
    if (!CHECK(fg_iterate(&q->it, NULL, NULL, &error) == FG_OK))
        fprintf(stderr, "    %s\n", error.message);
    n_runs += q->runs[0];
}

static void results_are_those_of_a_scalar_loop(int dtype) {
    problem q = make_problem(dtype, 500);
    aim(&q);
    iterate(&q);
    int64_t total = 0;
    for (int64_t i = 0; i < q.n; i++) {
        double x[D], size = 1;
        int64_t count = 0;
        for (int k = 0; k < D; k++)
            x[k] = get(q.in.in[0], dtype, i * D + k);
        for (; size >= get(q.in.in[3], dtype, 0); count++) {
            size = 0;
            for (int k = 0; k < D; k++) {
                x[k] *= get(q.in.in[2], dtype, i);
                size += x[k] * x[k];
            }
            if ((count + 1) % EVERY == 0 && (count + 1) / EVERY < N_RECORDS)
                for (int k = 0; k < D; k++)
                    CHECK_CLOSE(get(q.history[0], dtype, ((count + 1) / EVERY * q.n + i) * D + k), x[k],
                                1e3 * epsilon(dtype));
        }
        CHECK(q.outcome[i] == 0 && get(q.results[1], dtype, i) == (double)count);
        for (int k = 0; k < D; k++)
            CHECK_CLOSE(get(q.results[0], dtype, i * D + k), x[k], 1e3 * epsilon(dtype));
        total += count;
    }
    CHECK(q.runs[0] == total && q.runs[1] >= total);
    free_problem(&q);
}

static void an_instance_depends_on_nothing_else(int dtype) {
    problem all = make_problem(dtype, 700), one = make_problem(dtype, 700);
    aim(&all), aim(&one);
    CHECK(fg_set_num_threads(1, NULL) == FG_OK);
    iterate(&all);
    for (int threads = 2; threads <= 4; threads++) {
        CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
        iterate(&one);
        CHECK(same_numbers(all.results[0], one.results[0], dtype, all.n * D));
        CHECK(same_numbers(all.history[0], one.history[0], dtype, N_RECORDS * all.n * D));
    }
    for (int64_t i = 0; i < all.n; i += 61) { /* alone */
        const void *inputs[4];
        for (int k = 0; k < 3; k++)
            inputs[k] = (const char *)all.in.in[k] + i * (k ? 1 : D) * (int64_t)item_size(dtype);
        inputs[3] = all.in.in[3];
        one.it.inputs = inputs, one.it.batch = 1, one.it.record_every = 0;
        iterate(&one);
        CHECK(same_numbers(one.results[0], (char *)all.results[0] + i * D * (int64_t)item_size(dtype), dtype, D));
    }
    free_problem(&all), free_problem(&one);
}

static void many_calls_go_on_where_the_last_ended(void) {
    problem whole = make_problem(FG_FLOAT64, 100), parts = make_problem(FG_FLOAT64, 100);
    aim(&whole), aim(&parts);
    whole.it.max_runs = 6, parts.it.max_runs = 2;
    iterate(&whole);
    CHECK(whole.outcome[3] == -1 && get(whole.results[1], FG_FLOAT64, 3) == 6);
    parts.it.record_every = 0;
    for (int k = 0; k < 3; k++) {
        const void *inputs[4] = {k ? parts.results[0] : parts.in.in[0], k ? parts.results[1] : NULL, parts.in.in[2],
                                 parts.in.in[3]};
        parts.it.inputs = inputs;
        iterate(&parts);
    }
    CHECK(same_numbers(whole.results[0], parts.results[0], FG_FLOAT64, D * 4)); /* all of them are still running */
    free_problem(&whole), free_problem(&parts);
}

static int64_t n_polls;
static int poll(void *context, int64_t done) {
    (void)context, (void)done;
    return ++n_polls >= 3;
}

static void a_long_iteration_polls_and_can_be_cancelled(void) {
    problem q = make_problem(FG_FLOAT64, 50);
    aim(&q);
    set(q.in.in[3], FG_FLOAT64, 0, -1), q.it.max_runs = INT64_MAX, q.it.record_every = 0;
    CHECK(fg_iterate(&q.it, poll, NULL, NULL) == FG_CANCELLED && n_polls == 3);
    free_problem(&q);
}

static void impossible_iterations_are_refused(void) {
    problem q = make_problem(FG_FLOAT64, 5);
    aim(&q);
    const fg_iteration good = q.it;
    fg_error error;
#define REFUSES(change)                                                                       \
    do {                                                                                      \
        q.it = good, error.message[0] = 0;                                                    \
        change;                                                                               \
        CHECK(fg_iterate(&q.it, NULL, NULL, &error) == FG_INVALID_VALUE && error.message[0]); \
    } while (0)
    REFUSES(q.it.batch = 0);
    REFUSES(q.it.max_runs = 0);
    REFUSES(q.it.record_every = -1);
    REFUSES(q.it.n_state = 0);
    REFUSES(q.it.n_state = 1);
    REFUSES(q.it.n_state = 3);
    REFUSES(q.it.n_state = INT64_MAX);
    REFUSES(q.it.counter = -1);
    REFUSES(q.it.counter = 0);
    REFUSES(q.it.counter = 2);
    const void *none[4] = {q.in.in[0], NULL, NULL, q.in.in[3]};
    REFUSES(q.it.inputs = none);
    for (int is_lane = 0; is_lane <= 1; is_lane++)
        for (int64_t size = 1; size <= 2; size++) { /* a flag that is uniform or too long; a state of another size */
            fg_program *p = NULL;
            builder b = {0};
            add_input(&b, FG_FLOAT64, 1, 1);
            add_output(&b, FG_FLOAT64, 1, 1);
            add_output(&b, FG_FLOAT64, is_lane, size);
            CHECK(create(&b, &p, NULL) == FG_OK);
            if (size != 1 || !is_lane)
                REFUSES((q.it.program = p, q.it.n_state = 1, q.it.counter = 0));
            fg_program_destroy(p);
            b = (builder){0};
            add_input(&b, FG_FLOAT64, is_lane, 1);
            add_output(&b, FG_FLOAT64, 1, size);
            add_output(&b, FG_FLOAT64, 1, 1);
            CHECK(create(&b, &p, NULL) == FG_OK);
            if (size != 1 || !is_lane)
                REFUSES((q.it.program = p, q.it.n_state = 1, q.it.counter = 0));
            fg_program_destroy(p);
        }
    free_problem(&q);
}

int main(void) {
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        for (int dtype = 0; dtype < 2; dtype++) {
            results_are_those_of_a_scalar_loop(dtype);
            an_instance_depends_on_nothing_else(dtype);
        }
    }
    many_calls_go_on_where_the_last_ended();
    a_long_iteration_polls_and_can_be_cancelled();
    impossible_iterations_are_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("iterate: %lld runs of instances\n", (long long)n_runs);
    return check_result();
}
