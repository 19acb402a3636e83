/* Training against a scalar loop, and against itself: the same bits for any number of threads, in one call as in many,
 * and for a member alone as among others. */
#include "build.h"
#include "check.h"
#include "random.h"

enum { MOST = 200, ROWS = 700, MEMBERS = 3, BATCH = 128, EPOCHS = 4, STEPS = (ROWS + BATCH - 1) / BATCH };
static int64_t D = MOST; /* so many inputs and outputs; with fewer, blocks of rows make sums of their own */
#define P (D * D + D)

typedef struct {
    fg_program *p;
    int dtype;
    void *x, *y, *parameters, *moments, *best;
    double *weights, running[FG_MAX_RUNNING][MEMBERS], loss[EPOCHS * MEMBERS], seconds[EPOCHS * MEMBERS],
        step_loss[EPOCHS * STEPS * MEMBERS], best_value[MEMBERS], learning_rate[MEMBERS], penalties[4];
    int64_t steps[MEMBERS], epochs[MEMBERS], best_epoch[MEMBERS], stale[MEMBERS];
    int32_t outcome[MEMBERS];
    uint64_t seeds[MEMBERS];
    fg_source sources[2];
    fg_training t;
} problem;

static problem *make_problem(int dtype) {
    problem *q = calloc(1, sizeof *q);
    if (!q)
        abort();
    builder b = regression(dtype, D);
    fg_error error = {""};
    if (!CHECK(create(&b, &q->p, &error) == FG_OK))
        fprintf(stderr, "    %s\n", error.message);
    q->dtype = dtype;
    q->x = exactly(ROWS * D, dtype), q->y = exactly(ROWS * D, dtype), q->weights = exactly(ROWS, FG_FLOAT64);
    q->parameters = exactly(MEMBERS * P, dtype), q->best = exactly(MEMBERS * P, dtype);
    q->moments = exactly(2 * MEMBERS * P, dtype);
    rng r = {11};
    for (int64_t i = 0; i < ROWS * D; i++)
        set(q->x, dtype, i, rng_between(&r, -1, 1)), set(q->y, dtype, i, rng_between(&r, -1, 1));
    for (int64_t i = 0; i < MEMBERS * P; i++)
        set(q->parameters, dtype, i, rng_between(&r, -0.1, 0.1));
    for (int64_t i = 0; i < ROWS; i++)
        q->weights[i] = rng_between(&r, 0.5, 2);
    for (int m = 0; m < MEMBERS; m++) {
        q->seeds[m] = 5u + (uint64_t)m, q->outcome[m] = FG_RUNNING, q->learning_rate[m] = 0.01 * (m + 1);
        for (int k = 0; k < FG_MAX_RUNNING; k++)
            q->running[k][m] = 1;
    }
    q->sources[0] = q->sources[1] = (fg_source){.kind = dtype == FG_FLOAT64 ? FG_DATA_FLOAT64 : FG_DATA_FLOAT32,
                                                .row_stride = D * (int64_t)item_size(dtype),
                                                .scale = 1};
    q->sources[0].data = q->x, q->sources[1].data = q->y;
    static const double adam[] = {0.9, 0.999, 1e-8};
    q->t = (fg_training){.program = q->p,
                         .data = {.sources = q->sources, .n_rows = ROWS},
                         .members = MEMBERS,
                         .batch_size = BATCH,
                         .n_epochs = EPOCHS,
                         .shuffle = 1,
                         .seeds = q->seeds,
                         .update = FG_UPDATE_adam,
                         .settings = adam,
                         .learning_rate = q->learning_rate,
                         .n_leaves = 2,
                         .parameters = q->parameters,
                         .state = {q->moments, (char *)q->moments + MEMBERS * (size_t)P * item_size(dtype)},
                         .running = {q->running[0], q->running[1], q->running[2]},
                         .steps = q->steps,
                         .epochs = q->epochs,
                         .outcome = q->outcome,
                         .best = q->best,
                         .best_value = q->best_value,
                         .best_epoch = q->best_epoch,
                         .stale = q->stale,
                         .patience = -1,
                         .loss = q->loss,
                         .seconds = q->seconds,
                         .step_loss = q->step_loss};
    return q;
}
static void free_problem(problem *q) {
    void *owned[] = {q->x, q->y, q->parameters, q->moments, q->best, q->weights, q};
    fg_program_destroy(q->p);
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}
static void train(problem *q) {
    fg_error error = {""};
    if (!CHECK(fg_train(&q->t, NULL, NULL, &error) == FG_OK))
        fprintf(stderr, "    %s\n", error.message);
}

/* One epoch's order, as train.c has it. */
static void shuffled(uint64_t seed, uint64_t epoch, int64_t *order) {
    const uint64_t key = fg_stream(seed, epoch);
    for (int64_t i = 0; i < ROWS; i++)
        order[i] = i;
    for (int64_t i = ROWS - 1; i > 0; i--) {
        const int64_t j = (int64_t)fg_random_below(key, (uint64_t)i, (uint64_t)i + 1), other = order[j];
        order[j] = order[i], order[i] = other;
    }
}

/* The gradient of rows order[0 .. n - 1] in plain loops; the loss. */
static double plain_gradient(const problem *q, const double *at, const int64_t *order, int64_t n, double *gradient) {
    double loss = 0, all = 0;
    memset(gradient, 0, (size_t)P * sizeof *gradient);
    for (int64_t i = 0; i < n; i++)
        all += q->t.data.weights ? q->weights[order[i]] : 1;
    for (int64_t i = 0; i < n; i++) {
        const double share = (q->t.data.weights ? q->weights[order[i]] : 1) / all;
        for (int64_t o = 0; o < D; o++) {
            double e = at[D * D + o] - get(q->y, q->dtype, order[i] * D + o);
            for (int64_t k = 0; k < D; k++)
                e += get(q->x, q->dtype, order[i] * D + k) * at[k * D + o];
            loss += 0.5 * share * e * e;
            gradient[D * D + o] += share * e;
            for (int64_t k = 0; k < D; k++)
                gradient[k * D + o] += share * e * get(q->x, q->dtype, order[i] * D + k);
        }
    }
    return loss;
}

static void steps_are_those_of_a_plain_loop(int dtype, int is_shuffled, int is_weighted, double clip, double decay) {
    enum { MEMBER = 1 };
    problem *q = make_problem(dtype);
    const double tolerance = dtype == FG_FLOAT64 ? 1e-12 : 2e-5;
    q->t.update = FG_UPDATE_gd, q->t.shuffle = is_shuffled, q->t.clip_norm = clip, q->t.weight_decay = decay;
    q->t.data.weights = is_weighted ? q->weights : NULL;
    q->penalties[0] = 1e-3, q->penalties[1] = 1e-2;
    q->t.penalties = is_weighted ? q->penalties : NULL, q->t.share_penalties = is_shuffled;
    double *at = exactly(P, FG_FLOAT64), *gradient = exactly(P, FG_FLOAT64);
    int64_t order[ROWS];
    for (int64_t i = 0; i < P; i++)
        at[i] = get(q->parameters, dtype, MEMBER * P + i);
    train(q);
    for (int64_t epoch = 0; epoch < EPOCHS; epoch++) {
        double sum = 0, all = 0;
        shuffled(q->seeds[MEMBER], (uint64_t)epoch, order);
        for (int64_t i = 0; !is_shuffled && i < ROWS; i++)
            order[i] = i;
        for (int64_t start = 0; start < ROWS; start += BATCH) {
            const int64_t n = ROWS - start < BATCH ? ROWS - start : BATCH;
            double weight = 0, squares = 0, loss = plain_gradient(q, at, order + start, n, gradient);
            for (int64_t i = 0; i < n; i++)
                weight += is_weighted ? q->weights[order[start + i]] : 1;
            const double unit = is_shuffled ? 1 / weight : 1;
            for (int64_t i = 0; is_weighted && i < D * D; i++) {
                gradient[i] += unit * (q->penalties[0] * (at[i] > 0 ? 1 : -1) + q->penalties[1] * at[i]);
                loss += unit * (q->penalties[0] * fabs(at[i]) + 0.5 * q->penalties[1] * at[i] * at[i]);
            }
            for (int64_t i = 0; i < P; i++)
                squares += gradient[i] * gradient[i];
            const double factor = clip > 0 ? fmin(1, clip / (sqrt(squares) + 1e-6)) : 1;
            const double rate = q->learning_rate[MEMBER];
            for (int64_t i = 0; i < P; i++)
                at[i] = at[i] * (1 - rate * decay) - rate * factor * gradient[i];
            CHECK_CLOSE(q->step_loss[(epoch * STEPS + start / BATCH) * MEMBERS + MEMBER], loss, tolerance * (1 + loss));
            sum += loss * weight, all += weight;
        }
        CHECK_CLOSE(q->loss[epoch * MEMBERS + MEMBER], sum / all, tolerance * (1 + sum / all));
    }
    double worst = 0;
    for (int64_t i = 0; i < P; i++)
        worst = fmax(worst, fabs(at[i] - get(q->parameters, dtype, MEMBER * P + i)));
    CHECK_CLOSE(worst, 0, tolerance);
    free(at);
    free(gradient);
    free_problem(q);
}

static int same(const problem *a, const problem *b, int64_t first, int64_t n) {
    const size_t item = item_size(a->dtype);
    return same_numbers((char *)a->parameters + (size_t)first * (size_t)P * item, (char *)b->parameters, a->dtype,
                        n * P);
}

static void bits_do_not_depend_on_threads(int dtype, double clip) {
    problem *one = make_problem(dtype);
    one->t.clip_norm = clip;
    CHECK(fg_set_num_threads(1, NULL) == FG_OK);
    train(one);
    for (int threads = 2; threads <= 7; threads++) {
        problem *many = make_problem(dtype);
        many->t.clip_norm = clip;
        CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
        train(many);
        CHECK(same(one, many, 0, MEMBERS) && memcmp(one->loss, many->loss, sizeof one->loss) == 0);
        free_problem(many);
    }
    CHECK(fg_set_num_threads(4, NULL) == FG_OK);
    free_problem(one);
}

static void many_calls_are_one(int dtype) {
    problem *one = make_problem(dtype), *many = make_problem(dtype);
    train(one);
    many->t.n_epochs = 1;
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        many->t.loss = many->loss + epoch * MEMBERS;
        many->t.step_loss = NULL;
        train(many);
    }
    CHECK(same(one, many, 0, MEMBERS) && memcmp(one->loss, many->loss, sizeof one->loss) == 0);
    free_problem(one);
    free_problem(many);
}

static void a_member_trains_as_if_alone(int dtype) {
    problem *together = make_problem(dtype);
    train(together);
    for (int64_t m = 0; m < MEMBERS; m++) {
        problem *alone = make_problem(dtype);
        const size_t bytes = (size_t)P * item_size(dtype);
        memmove(alone->parameters, (char *)alone->parameters + (size_t)m * bytes, bytes);
        alone->seeds[0] = together->seeds[m], alone->learning_rate[0] = together->learning_rate[m];
        alone->t.members = 1;
        train(alone);
        CHECK(same(together, alone, m, 1));
        free_problem(alone);
    }
    free_problem(together);
}

static void what_is_not_finite_stops_a_member_at_its_best(void) {
    problem *q = make_problem(FG_FLOAT64);
    q->t.update = FG_UPDATE_gd;
    q->learning_rate[1] = 1e200;
    void *before = exactly(P, FG_FLOAT64);
    memcpy(before, (double *)q->parameters + P, (size_t)P * sizeof(double));
    train(q);
    CHECK(q->outcome[0] == FG_RUNNING && q->outcome[1] == FG_NON_FINITE && q->outcome[2] == FG_RUNNING);
    CHECK(same_numbers(before, (double *)q->parameters + P, FG_FLOAT64, P) && q->epochs[1] == 1);
    free(before);
    free_problem(q);
}

static void patience_ends_and_the_best_is_kept(void) {
    problem *q = make_problem(FG_FLOAT64);
    q->t.patience = 1, q->t.min_delta = 1e9; /* nothing is an improvement */
    train(q);
    for (int m = 0; m < MEMBERS; m++)
        CHECK(q->outcome[m] == FG_NO_PROGRESS && q->epochs[m] == 2 && q->best_epoch[m] == 2);
    CHECK(same_numbers(q->best, q->parameters, FG_FLOAT64, MEMBERS * P));
    free_problem(q);
}

static int stop(void *context, int64_t done) {
    (void)done;
    return ++*(int *)context >= 2;
}

static void a_cancelled_call_says_so(void) {
    problem *q = make_problem(FG_FLOAT64);
    int n_polls = 0;
    q->t.n_epochs = 1000000;
    q->t.loss = calloc(1000000 * MEMBERS, sizeof(double));
    q->t.seconds = calloc(1000000 * MEMBERS, sizeof(double));
    q->t.step_loss = NULL;
    CHECK(fg_train(&q->t, stop, &n_polls, NULL) == FG_CANCELLED && n_polls == 2);
    for (int64_t i = 0; i < MEMBERS * P; i++)
        CHECK(isfinite(((double *)q->parameters)[i]));
    free(q->t.loss);
    free(q->t.seconds);
    free_problem(q);
}

/* Kinds of data, strides and what is not aligned give the numbers of their clean copy. */
static void data_of_any_kind_is_read(int dtype) {
    problem *q = make_problem(dtype), *clean = make_problem(dtype);
    unsigned char *bytes = exactly(ROWS * D, FG_FLOAT32), *shifted = malloc(2 * ROWS * (size_t)D * 8 + 1);
    int64_t offsets[MOST];
    rng r = {5};
    if (!shifted)
        abort();
    for (int64_t k = 0; k < D; k++)
        offsets[k] = 16 * k;
    for (int64_t i = 0; i < ROWS * D; i++) {
        const double value = rng_between(&r, -1, 1);
        bytes[i] = (unsigned char)rng_below(&r, 256);
        memcpy(shifted + 1 + 16 * i, &value, 8);
        set(clean->x, dtype, i, dtype == FG_FLOAT32 ? (double)((float)bytes[i] * 0.5f + 1.0f) : bytes[i] * 0.5 + 1);
        set(clean->y, dtype, i, value);
    }
    q->sources[0] = (fg_source){FG_DATA_UINT8, bytes, D, NULL, 0.5, 1};
    q->sources[1] = (fg_source){FG_DATA_FLOAT64, shifted + 1, 16 * D, offsets, 1, 0};
    train(q);
    train(clean);
    CHECK(same(q, clean, 0, MEMBERS));
    free(bytes);
    free(shifted);
    free_problem(q);
    free_problem(clean);
}

static void a_total_is_the_sum_over_all_rows(int dtype) {
    problem *q = make_problem(dtype);
    double *at = exactly(P, FG_FLOAT64), *gradient = exactly(P, FG_FLOAT64);
    void *outputs[] = {exactly(1, dtype), exactly(D * D, dtype), exactly(D, dtype)};
    const void *leaves[] = {q->parameters, (char *)q->parameters + (size_t)(D * D) * item_size(dtype)};
    int64_t order[ROWS];
    for (int64_t i = 0; i < P; i++)
        at[i] = get(q->parameters, dtype, i);
    for (int64_t i = 0; i < ROWS; i++)
        order[i] = i;
    CHECK(fg_total(q->p, 2, leaves, &q->t.data, outputs, NULL, NULL, NULL) == FG_OK);
    const double tolerance = dtype == FG_FLOAT64 ? 1e-13 : 1e-5, loss = plain_gradient(q, at, order, ROWS, gradient);
    CHECK_CLOSE(get(outputs[0], dtype, 0), loss, tolerance * loss);
    for (int64_t i = 0; i < P; i++)
        CHECK_CLOSE(get(outputs[i < D * D ? 1 : 2], dtype, i < D * D ? i : i - D * D), gradient[i], tolerance);
    for (int i = 0; i < 3; i++)
        free(outputs[i]);
    free(at);
    free(gradient);
    free_problem(q);
}

static void wrong_arguments_are_refused(void) {
    problem *q = make_problem(FG_FLOAT64);
    const fg_training good = q->t;
#define REFUSED(change) \
    q->t = good;        \
    change;             \
    CHECK(fg_train(&q->t, NULL, NULL, NULL) == FG_INVALID_VALUE)
    int64_t rows[] = {0, 1, ROWS};
    REFUSED(q->t.members = 0);
    REFUSED(q->t.batch_size = 0);
    REFUSED(q->t.n_leaves = 1);
    REFUSED(q->t.n_leaves = 3);
    REFUSED(q->t.data.n_rows = 0);
    REFUSED((q->t.shuffle = 0, q->t.data.n_rows = INT64_C(1) << 60));
    REFUSED(q->steps[1] = -1);
    q->steps[1] = 0;
    REFUSED(q->t.evaluation = q->p);
    REFUSED(q->t.monitor = FG_MONITOR_VALIDATION);
    REFUSED((q->t.rows = rows, q->t.n_member_rows = 1));
    free_problem(q);
}

static void every_kind_of_training_is_right(void) {
    for (int dtype = FG_FLOAT64; dtype <= FG_FLOAT32; dtype++) {
        steps_are_those_of_a_plain_loop(dtype, 0, 0, 0, 0);
        steps_are_those_of_a_plain_loop(dtype, 1, 0, 0, 0);
        steps_are_those_of_a_plain_loop(dtype, 0, 1, 0, 0);
        steps_are_those_of_a_plain_loop(dtype, 1, 1, 0, 0);
        steps_are_those_of_a_plain_loop(dtype, 1, 1, 0.05, 0.5);
        bits_do_not_depend_on_threads(dtype, 0);
        bits_do_not_depend_on_threads(dtype, 0.05);
        many_calls_are_one(dtype);
        a_member_trains_as_if_alone(dtype);
        data_of_any_kind_is_read(dtype);
        a_total_is_the_sum_over_all_rows(dtype);
    }
}

int main(void) {
    CHECK(fg_set_num_threads(4, NULL) == FG_OK);
    for (D = 110; D <= MOST; D += MOST - 110)
        every_kind_of_training_is_right();
    D = 110;
    what_is_not_finite_stops_a_member_at_its_best();
    patience_ends_and_the_best_is_kept();
    a_cancelled_call_says_so();
    wrong_arguments_are_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    return check_result();
}
