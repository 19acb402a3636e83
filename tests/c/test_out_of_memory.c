/* Every allocation of every operation fails once, alone and with all later ones: the status says so, nothing leaks, and
 * the same call afterwards gives the same. Linked with calloc and pthread_create wrapped. */
#include <pthread.h>
#include <stdatomic.h>

#include "build.h"
#include "check.h"

/* ---- failing on demand ---------------------------------------------------------------------------------- */

extern void *__real_calloc(size_t count, size_t size);
extern void *__wrap_calloc(size_t count, size_t size);
extern int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                                 void *context);
extern int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *),
                                 void *context);

static int armed, all_later; /* only while an operation runs, and on one thread: allocations come before the pool */
static int64_t countdown, n_injected;
static _Atomic int threads_left = 1 << 30;

void *__wrap_calloc(size_t count, size_t size) {
    if (armed) {
        const int64_t k = countdown--;
        if (k == 0 || (k < 0 && all_later)) {
            n_injected++;
            return NULL;
        }
    }
    return __real_calloc(count, size);
}
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context) {
    return atomic_fetch_sub(&threads_left, 1) > 0 ? __real_pthread_create(thread, attributes, start, context) : 11;
}

/* ---- operations ----------------------------------------------------------------------------------------- */

enum { BATCH = 70, SIZE = 2100 };
static fg_program *program; /* for the operations that take one */
static fg_machine *machine;
static arrays a;
static double x[BATCH * 5];
static int64_t nit[BATCH];
static int32_t outcome[BATCH];

static int is_loop;
static fg_status create_program(void) {
    builder b = is_loop ? recurrence(FG_FLOAT64, 5, 2, 1, 0) : mixture(FG_FLOAT64);
    fg_program *p = NULL;
    fg_status status = create(&b, &p, NULL);
    CHECK((status == FG_OK) == (p != NULL));
    fg_program_destroy(p);
    return status;
}
static fg_status create_machine(void) {
    fg_machine *m = NULL;
    fg_error error = {""};
    fg_status status = fg_machine_create(program, &m, &error);
    CHECK((status == FG_OK) == (m != NULL) && (status == FG_OK) == !error.message[0]);
    fg_machine_destroy(m);
    return status;
}
static fg_status evaluate(void) { return fg_evaluate(machine, inputs_of(&a), a.out, NULL, NULL, NULL); }
static fg_status evaluate_batch(void) {
    return fg_evaluate_batch(program, BATCH, inputs_of(&a), a.out, NULL, NULL, NULL);
}
static fg_status descend(void) {
    static const double rate = 0.01, settings[] = {0.9, 0.999, 1e-8}, low[5] = {-1, -1, -1, -1, -1}, high[5];
    const fg_descent d = {.program = program,
                          .update = FG_UPDATE_amsgrad,
                          .batch = BATCH,
                          .maxiter = 1000,
                          .gtol = -1,
                          .ftol = -1,
                          .xtol = 1e-20,
                          .learning_rate = &rate,
                          .schedule = &rate,
                          .n_schedule = 1,
                          .settings = settings,
                          .weight_decay = 0.1,
                          .clip_norm = 1,
                          .lower = low,
                          .upper = high,
                          .inputs = inputs_of(&a),
                          .x = x,
                          .nit = nit,
                          .outcome = outcome,
                          .keep_best = 1};
    return fg_descend(&d, NULL, NULL, NULL);
}

static fg_status iterate(void) {
    static double n[BATCH];
    int64_t runs[2];
    const fg_iteration it = {.program = program,
                             .batch = BATCH,
                             .n_state = 2,
                             .inputs = inputs_of(&a),
                             .results = (void *[]){x, n},
                             .outcome = outcome,
                             .max_runs = 20,
                             .counter = 1,
                             .runs = runs};
    return fg_iterate(&it, NULL, NULL, NULL);
}

/* Large enough for an arena, and many enough buffers, that fg_evaluate allocates both; and for tiles. */
static builder spacious(void) {
    const int64_t size = SIZE;
    builder b = {0};
    int64_t in = add_input(&b, FG_FLOAT64, 1, SIZE), out = add_output(&b, FG_FLOAT64, 1, SIZE);
    int64_t t = add_arena(&b, FG_FLOAT64, 1, SIZE);
    add_instruction(&b, FG_OP_sin, FG_FLOAT64, 1, &size, (view[]){{t, 0, {1}}, {in, SIZE - 1, {-1}}});
    add_simple(&b, FG_OP_exp, FG_FLOAT64, SIZE, out, t, t);
    return b;
}
/* The words of a program with `n` idle buffers more. */
static fg_program *with_buffers(const builder *b, int64_t n) {
    int64_t words[MAX_WORDS], *more = exactly(MAX_WORDS + n * FG_BUFFER_WORDS, FG_FLOAT64);
    size_t length = assemble(b, words), head = FG_HEADER_WORDS + (size_t)b->n_buffers * FG_BUFFER_WORDS;
    memcpy(more, words, head * 8);
    for (int64_t i = 0; i < n; i++)
        more[head + (size_t)i * FG_BUFFER_WORDS] = FG_ARENA;
    memcpy(more + head + n * FG_BUFFER_WORDS, words + head, (length - head) * 8);
    more[1] += n;
    fg_program *p = NULL;
    CHECK(fg_program_create(more, length + (size_t)n * FG_BUFFER_WORDS, &p, NULL) == FG_OK);
    free(more);
    return p;
}

/* ---- the sweep ------------------------------------------------------------------------------------------ */

static void survives_every_failure(const char *name, fg_status (*operation)(void), const void *result, int64_t n) {
    const int64_t bytes = fg_live_bytes(), blocks = fg_live_blocks(), before = n_injected;
    CHECK(operation() == FG_OK);
    double *expected = exactly(n, FG_FLOAT64);
    memcpy(expected, result, (size_t)n * 8);
    for (all_later = 0; all_later <= 1; all_later++)
        for (int64_t k = 0; k < 1000; k++) {
            countdown = k, armed = 1;
            fg_status status = operation();
            armed = 0;
            CHECK(fg_live_bytes() == bytes && fg_live_blocks() == blocks);
            if (countdown >= 0) { /* none was left to fail */
                CHECK(status == FG_OK);
                break;
            }
            if (!CHECK(status == FG_OUT_OF_MEMORY))
                fprintf(stderr, "    %s, allocation %lld\n", name, (long long)k);
            CHECK(operation() == FG_OK && same_numbers(result, expected, FG_FLOAT64, n));
        }
    free(expected);
    CHECK(n_injected > before);
}

/* Two members of the regression above, on rows of noise. */
enum { WIDTH = 20, N_PARAMETERS = WIDTH * WIDTH + WIDTH };
static double parameters[2 * N_PARAMETERS];
static const fg_source noise[2] = {{.kind = FG_DATA_NOISE}, {.kind = FG_DATA_NOISE}};

static fg_status train(void) {
    static double moments[2][2 * N_PARAMETERS], best[2 * N_PARAMETERS], best_value[2], loss[4], seconds[4];
    double running[2][2] = {{1, 1}, {1, 1}};
    int64_t steps[2] = {0}, epochs[2] = {0}, best_epoch[2] = {0}, stale[2] = {0};
    int32_t outcomes[2] = {FG_RUNNING, FG_RUNNING};
    memset(moments, 0, sizeof moments);
    for (int i = 0; i < 2 * N_PARAMETERS; i++)
        parameters[i] = 0.1;
    const fg_training t = {.program = program,
                           .data = {.sources = noise, .n_rows = BATCH},
                           .members = 2,
                           .batch_size = 16,
                           .n_epochs = 2,
                           .shuffle = 1,
                           .seeds = (uint64_t[]){1, 2},
                           .update = FG_UPDATE_adam,
                           .settings = (double[]){0.9, 0.999, 1e-8},
                           .learning_rate = (double[]){0.01, 0.02},
                           .n_leaves = 2,
                           .parameters = parameters,
                           .state = {moments[0], moments[1]},
                           .running = {running[0], running[1]},
                           .steps = steps,
                           .epochs = epochs,
                           .outcome = outcomes,
                           .best = best,
                           .best_value = best_value,
                           .best_epoch = best_epoch,
                           .stale = stale,
                           .patience = -1,
                           .loss = loss,
                           .seconds = seconds};
    return fg_train(&t, NULL, NULL, NULL);
}
static double sums[1 + N_PARAMETERS];
static fg_status total(void) {
    const fg_dataset data = {.sources = noise, .n_rows = BATCH};
    for (int i = 0; i < N_PARAMETERS; i++)
        parameters[i] = 0.1;
    return fg_total(program, 2, (const void *[]){parameters, parameters + WIDTH * WIDTH}, &data,
                    (void *[]){sums, sums + 1, sums + 1 + WIDTH * WIDTH}, NULL, NULL, NULL);
}

static double field[BATCH * SIZE];
static fg_status difference(void) {
    static const double weights[] = {-1, 1}, samples[SIZE];
    const int64_t shape[] = {BATCH, SIZE}, in_strides[] = {0, 8}, out_strides[] = {SIZE * 8, 8}, at[] = {0, 1};
    const fg_span spans[] = {{.n_points = SIZE - 1, .n_taps = 2, .at = at, .weights = weights}, {.n_points = 1}};
    const fg_axis axis = {.axis = 1, .n_spans = 2, .spans = spans, .scale = 1};
    const fg_field f = {.dtype = FG_FLOAT64,
                        .n_dims = 2,
                        .shape = shape,
                        .in = samples,
                        .in_strides = in_strides,
                        .out = field,
                        .out_strides = out_strides,
                        .n_axes = 1,
                        .axes = &axis};
    return fg_stencil(&f, NULL, NULL, NULL);
}

static fg_status weigh(void) {
    static double coords[SIZE];
    static int64_t first[SIZE];
    for (int i = 0; i < SIZE; i++)
        coords[i] = i * i;
    return fg_windows(SIZE, 3, coords, 1, first, field, NULL, NULL, NULL);
}

static fg_status solve_ties(void) {
    const int64_t shape[] = {BATCH, SIZE}, strides[] = {SIZE * 8, 8};
    const fg_ties t = {
        .dtype = FG_FLOAT64, .n_dims = 2, .shape = shape, .data = field, .strides = strides, .axis = 1, .tie = 0.25};
    for (int i = 0; i < BATCH * SIZE; i++)
        field[i] = i % 7;
    return fg_solve_ties(&t, NULL, NULL, NULL);
}

static void without_threads_the_result_is_the_same(void) {
    double *expected = exactly(BATCH * 5, FG_FLOAT64);
    CHECK(fg_set_num_threads(1, NULL) == FG_OK && descend() == FG_OK);
    memcpy(expected, x, sizeof x);
    CHECK(fg_set_num_threads(4, NULL) == FG_OK);
    for (int n = 0; n <= 2; n++) { /* none, one, then a second one can be started */
        atomic_store(&threads_left, n > 0);
        CHECK(descend() == FG_OK && same_numbers(x, expected, FG_FLOAT64, BATCH * 5));
    }
    atomic_store(&threads_left, 1 << 30);
    free(expected);
}

int main(void) {
    rng r = {3};
    double nothing = 0;
    survives_every_failure("create a program", create_program, &nothing, 1);

    builder b = quadratic(FG_FLOAT64, 5);
    CHECK(create(&b, &program, NULL) == FG_OK);
    survives_every_failure("create a machine", create_machine, &nothing, 1);
    a = make_arrays(program, BATCH, &r, 0.5, 1.5, 0);
    without_threads_the_result_is_the_same(); /* first: the pool has no threads yet */
    survives_every_failure("descend", descend, x, BATCH * 5);
    free_arrays(&a);
    fg_program_destroy(program);

    b = shrinking(FG_FLOAT64);
    CHECK(create(&b, &program, NULL) == FG_OK);
    a = make_arrays(program, BATCH, &r, 0.5, 0.9, 0);
    survives_every_failure("iterate", iterate, x, BATCH * 3);
    free_arrays(&a);
    fg_program_destroy(program);

    b = regression(FG_FLOAT64, WIDTH);
    CHECK(create(&b, &program, NULL) == FG_OK);
    for (int threads = 1; threads <= 4; threads += 3) {
        CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
        survives_every_failure("train", train, parameters, 2 * N_PARAMETERS);
        survives_every_failure("total", total, sums, 1 + N_PARAMETERS);
        survives_every_failure("differences of a field", difference, field, BATCH * SIZE);
        survives_every_failure("tied values", solve_ties, field, BATCH * SIZE);
        survives_every_failure("weights", weigh, field, SIZE * 3);
    }
    fg_program_destroy(program);

    b = spacious();
    program = with_buffers(&b, 200);
    a = make_arrays(program, BATCH, &r, -1, 1, 0);
    survives_every_failure("create a machine with tiles", create_machine, &nothing, 1);
    CHECK(fg_machine_create(program, &machine, NULL) == FG_OK);
    survives_every_failure("evaluate", evaluate, a.out[0], SIZE);
    fg_machine_destroy(machine);
    for (int threads = 1; threads <= 4; threads += 3) {
        CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
        survives_every_failure("evaluate a batch", evaluate_batch, a.out[0], BATCH * SIZE);
    }
    free_arrays(&a);
    fg_program_destroy(program);

    b = recurrence(FG_FLOAT64, 5, 2, 1, 0); /* a loop in a loop */
    is_loop = 1;
    survives_every_failure("create a program with loops", create_program, &nothing, 1);
    CHECK(create(&b, &program, NULL) == FG_OK);
    a = make_arrays(program, BATCH, &r, -1, 1, 0);
    survives_every_failure("create a machine with loops", create_machine, &nothing, 1);
    survives_every_failure("evaluate a batch with loops", evaluate_batch, a.out[0], BATCH * 15);
    free_arrays(&a);
    fg_program_destroy(program);
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("out of memory: %lld failures injected\n", (long long)n_injected);
    return check_result();
}
