/* Descent against a scalar loop, and against itself: an instance gets the same bits alone and in any batch, order and
 * number of threads. */
#include "build.h"
#include "check.h"

enum { D = 5, GD = FG_UPDATE_gd, MOMENTUM = FG_UPDATE_momentum, ADAM = FG_UPDATE_adam };

static int64_t n_descents, n_steps;
static double worst;
static const double settings_of[FG_N_UPDATES][FG_MAX_SETTINGS] = {[MOMENTUM] = {0.9},
                                                                  [FG_UPDATE_nesterov] = {0.8},
                                                                  [FG_UPDATE_adagrad] = {0.01, 0.1, 1e-6},
                                                                  [FG_UPDATE_rmsprop] = {0.9, 1e-3, 0.5, 1},
                                                                  [ADAM] = {0.9, 0.999, 1e-8},
                                                                  [FG_UPDATE_amsgrad] = {0.9, 0.99, 1e-8},
                                                                  [FG_UPDATE_nadam] = {0.9, 0.999, 1e-8, 0.004},
                                                                  [FG_UPDATE_lion] = {0.9, 0.99},
                                                                  [FG_UPDATE_rprop] = {0.5, 1.2, 1e-6, 50}};
/* Their steps do not shrink with the gradient at such settings, so that they go to and fro about a minimum. */
static int keeps_going(int update) {
    return update == FG_UPDATE_rmsprop || update == FG_UPDATE_amsgrad || update == FG_UPDATE_lion;
}
/* Near a minimum a rounding error grows from step to step. */
static int is_delicate(int update) {
    return keeps_going(update) || update == FG_UPDATE_nadam || update == FG_UPDATE_rprop;
}
static double sign(double a) { return (a > 0) - (a < 0); }

/* ---- one descent on the quadratic ----------------------------------------------------------------------- */

typedef struct {
    fg_descent d;
    fg_program *p;
    int dtype;
    int64_t n;
    arrays in;
    double *rate;
    void *x, *history_fun, *history_x;
    int64_t *nit;
    int32_t *outcome;
} problem;

/* `n` instances whose starts are at very different distances from their minima, and which want very different numbers
 * of iterations. */
static problem make_problem(int dtype, int update, int64_t n, int64_t maxiter, int64_t record_every, double gtol) {
    builder b = quadratic(dtype, D);
    problem q = {.dtype = dtype, .n = n};
    CHECK(create(&b, &q.p, NULL) == FG_OK);
    rng r = {(uint64_t)update + 5};
    q.in = make_arrays(q.p, n, &r, 0.5, 1.5, 0);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < D; k++) {
            double far = i % 7 == 0 ? 0 : pow(10, (double)(i % 5) - 3);
            set(q.in.in[0], dtype, i * D + k, get(q.in.in[1], dtype, i * D + k) + far * rng_between(&r, -1, 1));
        }
    const int64_t n_records = record_every ? maxiter / record_every + 1 : 0;
    q.rate = exactly(n, FG_FLOAT64);
    for (int64_t i = 0; i < n; i++)
        q.rate[i] = 0.02 * (double)(1 + i % 3);
    q.x = exactly(n * D, dtype);
    q.nit = exactly(n, FG_FLOAT64);
    q.outcome = exactly(n, FG_FLOAT32);
    q.history_fun = exactly(n_records * n, dtype);
    q.history_x = exactly(n_records * n * D, dtype);
    q.d = (fg_descent){.program = q.p,
                       .update = (fg_update)update,
                       .batch = n,
                       .maxiter = maxiter,
                       .record_every = record_every,
                       .n_records = n_records,
                       .gtol = gtol,
                       .ftol = -1,
                       .xtol = -1,
                       .learning_rate = q.rate,
                       .learning_rate_is_lane = 1,
                       .settings = settings_of[update],
                       .inputs = inputs_of(&q.in),
                       .x = q.x,
                       .nit = q.nit,
                       .outcome = q.outcome,
                       .history_fun = record_every ? q.history_fun : NULL,
                       .history_x = record_every ? q.history_x : NULL};
    return q;
}
static void free_problem(problem *q) {
    free_arrays(&q->in);
    void *owned[] = {q->rate, q->x, q->nit, q->outcome, q->history_fun, q->history_x};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    fg_program_destroy(q->p);
}
static void descend(problem *q) {
    fg_error error = {""};
    if (!CHECK(fg_descend(&q->d, NULL, NULL, &error) == FG_OK))
        fprintf(stderr, "    %s\n", error.message);
    n_descents++;
    for (int64_t i = 0; i < q->d.batch; i++)
        n_steps += q->nit[i];
}

/* ---- the scalar loop ------------------------------------------------------------------------------------ */

typedef struct {
    double x[D], fun;
    int64_t nit;
    fg_outcome outcome;
} scalar_result;

static scalar_result scalar_descent(const problem *q, int64_t i, int64_t maxiter) {
    const double *s = q->d.settings, rate = q->rate[q->d.learning_rate_is_lane ? i : 0];
    double u[D] = {0}, w[D] = {0}, v[D] = {0}, product = 1;
    scalar_result r = {.outcome = FG_OUT_OF_ITERATIONS};
    for (int k = 0; k < D; k++)
        r.x[k] = get(q->in.in[0], q->dtype, i * D + k);
    for (;; r.nit++) {
        double gradient[D], largest = 0;
        r.fun = 0;
        for (int k = 0; k < D; k++) {
            const double e = r.x[k] - get(q->in.in[1], q->dtype, i * D + k);
            gradient[k] = get(q->in.in[2], q->dtype, k) * e;
            r.fun += 0.5 * gradient[k] * e;
            largest = fabs(gradient[k]) > largest || isnan(gradient[k]) ? fabs(gradient[k]) : largest;
        }
        if (!isfinite(largest) || !isfinite(r.fun)) {
            r.outcome = FG_NON_FINITE;
            return r;
        }
        if (largest <= q->d.gtol) {
            r.outcome = FG_CONVERGED;
            return r;
        }
        if (r.nit == maxiter)
            return r;
        const double t = (double)(r.nit + 1);
        const double now = s[0] * (1 - 0.5 * pow(0.96, t * s[3])), next = s[0] * (1 - 0.5 * pow(0.96, (t + 1) * s[3]));
        product *= now;
        for (int k = 0; k < D; k++) {
            const double g = gradient[k], mean = s[0] * u[k] + (1 - s[0]) * g,
                         square = s[1] * w[k] + (1 - s[1]) * g * g;
            const double root = sqrt(square / (1 - pow(s[1], t))) + s[2];
            switch (q->d.update) {
            case FG_UPDATE_gd:
                r.x[k] -= rate * g;
                break;
            case FG_UPDATE_momentum:
                u[k] = s[0] * u[k] + g;
                r.x[k] -= rate * u[k];
                break;
            case FG_UPDATE_nesterov:
                u[k] = s[0] * u[k] + g;
                r.x[k] -= rate * (g + s[0] * u[k]);
                break;
            case FG_UPDATE_adagrad:
                u[k] += g * g;
                r.x[k] -= rate / (1 + (t - 1) * s[0]) * g / (sqrt(u[k] + s[1]) + s[2]);
                break;
            case FG_UPDATE_rmsprop:
                u[k] = s[0] * u[k] + (1 - s[0]) * g * g;
                v[k] = s[0] * v[k] + (1 - s[0]) * g;
                w[k] = s[2] * w[k] + g / (sqrt(u[k] - s[3] * v[k] * v[k]) + s[1]);
                r.x[k] -= rate * w[k];
                break;
            case FG_UPDATE_amsgrad:
                u[k] = mean, w[k] = square, v[k] = fmax(v[k], square);
                r.x[k] -= rate * (mean / (1 - pow(s[0], t))) / (sqrt(v[k] / (1 - pow(s[1], t))) + s[2]);
                break;
            case FG_UPDATE_nadam:
                u[k] = mean, w[k] = square;
                r.x[k] -= rate * ((1 - now) / (1 - product) * g + next / (1 - product * next) * mean) / root;
                break;
            case FG_UPDATE_lion:
                r.x[k] -= rate * sign(mean);
                u[k] = s[1] * u[k] + (1 - s[1]) * g;
                break;
            case FG_UPDATE_rprop:
                w[k] = fmin(fmax((t == 1 ? rate : w[k]) * (u[k] * g > 0 ? s[1] : u[k] * g < 0 ? s[0] : 1), s[2]), s[3]);
                u[k] = u[k] * g < 0 ? 0 : g;
                r.x[k] -= w[k] * sign(u[k]);
                break;
            default:
                u[k] = mean, w[k] = square;
                r.x[k] -= rate * (mean / (1 - pow(s[0], t))) / root;
            }
        }
    }
}

static void points_are_those_of_a_scalar_loop(int update, int is_lane) {
    for (int64_t maxiter = 1; maxiter <= 400; maxiter = maxiter * 3 + 1) {
        problem q = make_problem(FG_FLOAT64, update, 37, maxiter, 0, -1);
        q.d.learning_rate_is_lane = is_lane;
        descend(&q);
        for (int64_t i = 0; i < q.n; i++) {
            scalar_result r = scalar_descent(&q, i, maxiter);
            CHECK(q.nit[i] == maxiter && q.outcome[i] == FG_OUT_OF_ITERATIONS);
            for (int k = 0; k < D; k++) {
                const double x = get(q.x, q.dtype, i * D + k);
                /* many rules divide a gradient of rounding errors by itself: a start at the minimum goes anywhere */
                if (update > FG_UPDATE_nesterov && i % 7 == 0)
                    continue;
                if (is_delicate(update) && (maxiter > 20 || i % 5 < 3)) /* nor does one near it stay comparable */
                    continue;
                if (!CHECK_CLOSE(x, r.x[k], 1e-12 * fabs(r.x[k])))
                    fprintf(stderr, "    %s, %s, instance %d after %d steps\n", fg_current_isa(),
                            fg_update_name(update), (int)i, (int)maxiter);
                worst = fmax(worst, fabs(x - r.x[k]) / fabs(r.x[k]));
            }
        }
        free_problem(&q);
    }
}

static void stops_are_those_of_a_scalar_loop(int update) {
    problem q = make_problem(FG_FLOAT64, update, 61, 700, 0, 1e-4);
    descend(&q);
    int64_t least = INT64_MAX, most = 0, n_converged = 0;
    for (int64_t i = 0; i < q.n; i++) {
        scalar_result r = scalar_descent(&q, i, q.d.maxiter);
        CHECK(q.nit[i] == r.nit && q.outcome[i] == (int32_t)r.outcome);
        least = q.nit[i] < least ? q.nit[i] : least;
        most = q.nit[i] > most ? q.nit[i] : most;
        n_converged += q.outcome[i] == FG_CONVERGED;
    }
    CHECK(least == 0 && most > (update == FG_UPDATE_rprop ? 20 : 100)); /* else this tests no refilling */
    CHECK(n_converged > q.n / 2 || keeps_going(update));
    free_problem(&q);
}

/* ---- statuses ------------------------------------------------------------------------------------------- */

static void statuses_are_right(int update, int dtype) {
    problem q = make_problem(dtype, update, 40, 0, 0, 1e-3);
    set(q.in.in[0], dtype, 3 * D + 1, (double)NAN);
    set(q.in.in[0], dtype, 4 * D + 2, (double)INFINITY);
    set(q.in.in[0], dtype, 5 * D, -(double)INFINITY);
    set(q.in.in[1], dtype, 6 * D + 4, (double)NAN);
    for (q.d.maxiter = 0; q.d.maxiter <= 6; q.d.maxiter += 3) {
        descend(&q);
        for (int64_t i = 0; i < q.n; i++) {
            const int broken = i >= 3 && i <= 6;
            if (broken || i % 7 == 0)
                CHECK(q.nit[i] == 0 && q.outcome[i] == (broken ? FG_NON_FINITE : FG_CONVERGED) &&
                      same_numbers((char *)q.x + (size_t)(i * D) * item_size(dtype),
                                   (char *)q.in.in[0] + (size_t)(i * D) * item_size(dtype), dtype, D));
            else if (i % 5 > 2)
                CHECK(q.nit[i] == q.d.maxiter && q.outcome[i] == FG_OUT_OF_ITERATIONS);
        }
    }
    free_problem(&q);
}

static void divergence_is_seen_and_the_best_point_kept(int dtype) {
    for (int best = 0; best <= 1; best++) {
        problem q = make_problem(dtype, GD, 33, 100000, 0, 1e-5);
        for (int64_t i = 0; i < q.n; i++)
            q.rate[i] = i % 2 ? 20 : 0.1; /* times h, at least 0.5: beyond 2 it diverges */
        q.d.keep_best = best;
        descend(&q);
        for (int64_t i = 0; i < q.n; i++) {
            const int at_minimum = i % 7 == 0;
            CHECK(q.outcome[i] == (i % 2 && !at_minimum ? FG_NON_FINITE : FG_CONVERGED));
            if (i % 2 && !at_minimum)
                for (int k = 0; k < D; k++) {
                    const double x = get(q.x, dtype, i * D + k);
                    CHECK(best ? x == get(q.in.in[0], dtype, i * D + k)
                               : !(fabs(x) < 1e10)); /* the start is the best */
                }
        }
        free_problem(&q);
    }
}

static void the_best_point_is_that_of_least_value(int update) {
    problem q = make_problem(FG_FLOAT64, update, 23, 50, 1, -1);
    q.d.keep_best = 1;
    descend(&q);
    for (int64_t i = 0; i < q.n; i++) {
        int64_t best = 0;
        for (int64_t t = 1; t <= 50; t++)
            if (get(q.history_fun, q.dtype, t * q.n + i) < get(q.history_fun, q.dtype, best * q.n + i))
                best = t;
        CHECK(same_numbers((double *)q.x + i * D, (double *)q.history_x + (best * q.n + i) * D, q.dtype, D));
    }
    free_problem(&q);
}

/* ---- independence --------------------------------------------------------------------------------------- */

static void copy_instance(problem *to, int64_t i, const problem *from, int64_t k) {
    const size_t bytes = D * item_size(to->dtype);
    for (int input = 0; input < 2; input++)
        memcpy((char *)to->in.in[input] + (size_t)i * bytes, (char *)from->in.in[input] + (size_t)k * bytes, bytes);
    memcpy(to->in.in[2], from->in.in[2], bytes); /* uniform */
    to->rate[i] = from->rate[k];
}
/* Instance i of `a` is instance k of `b`: point, count, outcome and all rows of the history that it reached. */
static int same_result(const problem *a, int64_t i, const problem *b, int64_t k) {
    const size_t item = item_size(a->dtype), point = D * item;
    int same = a->nit[i] == b->nit[k] && a->outcome[i] == b->outcome[k] &&
               same_numbers((char *)a->x + (size_t)i * point, (char *)b->x + (size_t)k * point, a->dtype, D);
    for (int64_t row = 0; a->d.record_every && row < a->d.n_records; row++) {
        const size_t p = (size_t)(row * a->n + i), r = (size_t)(row * b->n + k);
        same &= same_numbers((char *)a->history_fun + p * item, (char *)b->history_fun + r * item, a->dtype, 1) &&
                same_numbers((char *)a->history_x + p * point, (char *)b->history_x + r * point, a->dtype, D);
    }
    return same;
}

static void an_instance_depends_on_nothing_else(int dtype, int update, int best, int is_lane) {
    enum { N = 700, MAXITER = 300 };
    const double gtol = dtype == FG_FLOAT32 ? 1e-4 : 1e-6;
    problem all = make_problem(dtype, update, N, MAXITER, 50, gtol);
    all.d.keep_best = best, all.d.learning_rate_is_lane = is_lane;
    CHECK(fg_set_num_threads(1, NULL) == FG_OK);
    descend(&all);
    for (int threads = 2; threads <= 16; threads += threads == 2 ? 1 : 13) {
        problem again = make_problem(dtype, update, N, MAXITER, 50, gtol);
        again.d.keep_best = best, again.d.learning_rate_is_lane = is_lane;
        CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
        descend(&again);
        int same = 1;
        for (int64_t i = 0; i < N; i++)
            same &= same_result(&again, i, &all, i);
        CHECK(same); /* for 2, 3 and 16 threads */
        free_problem(&again);
    }
    static const int64_t sizes[] = {1, 2, 15, 16, 17, 33, 257};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s];
        int same = 1;
        for (int64_t first = 0; first < (n == 1 ? 60 : 3); first++) {
            problem few = make_problem(dtype, update, n, MAXITER, 50, gtol);
            few.d.keep_best = best, few.d.learning_rate_is_lane = is_lane;
            for (int64_t i = 0; i < n; i++)
                copy_instance(&few, i, &all, (first * 11 + i * 389) % N); /* 389 and 700 have no common factor */
            few.rate[0] = is_lane ? few.rate[0] : all.rate[0];
            descend(&few);
            for (int64_t i = 0; i < n; i++)
                same &= same_result(&few, i, &all, (first * 11 + i * 389) % N);
            free_problem(&few);
        }
        if (!CHECK(same))
            fprintf(stderr, "    %s, %s, dtype %d, batch of %d\n", fg_current_isa(), fg_update_name(update), dtype,
                    (int)n);
    }
    free_problem(&all);
}

static void the_history_is_the_path(int update) {
    problem path = make_problem(FG_FLOAT64, update, 19, 30, 7, -1);
    CHECK(path.d.n_records == 5);
    descend(&path);
    for (int64_t row = 0; row < 5; row++) {
        problem to = make_problem(FG_FLOAT64, update, 19, 7 * row, 0, -1);
        descend(&to);
        CHECK(same_numbers(to.x, (double *)path.history_x + row * 19 * D, FG_FLOAT64, 19 * D));
        for (int64_t i = 0; i < 19; i++) {
            const double fun = scalar_descent(&path, i, 7 * row).fun;
            CHECK_CLOSE(((double *)path.history_fun)[row * 19 + i], fun, 1e-9 * fabs(fun) + 1e-12);
        }
        free_problem(&to);
    }
    free_problem(&path);
}

static void the_points_may_overwrite_the_start(void) {
    problem a = make_problem(FG_FLOAT64, ADAM, 300, 100, 0, 1e-6),
            b = make_problem(FG_FLOAT64, ADAM, 300, 100, 0, 1e-6);
    descend(&a);
    b.d.x = b.in.in[0];
    descend(&b);
    CHECK(same_numbers(a.x, b.in.in[0], FG_FLOAT64, 300 * D));
    free_problem(&a);
    free_problem(&b);
}

/* ---- what goes with a step, in one call and in several --------------------------------------------------- */

enum { N_FACTORS = 9 };
static const double factors[N_FACTORS] = {0.25, 0.5, 1, 1, 0.9, 0.8, 0.7, 0.6, 0.5};

typedef struct {
    problem q;
    void *lower, *upper, *norm, *step;
    int64_t lane_steps[2];
} rich_problem;

/* Everything at once: the bounds are each instance's own, or the first one's for all. */
static void make_rich(rich_problem *p, int dtype, int update, int64_t n, int64_t maxiter, int own_bounds) {
    p->q = make_problem(dtype, update, n, maxiter, 3, 1e-3);
    fg_descent *d = &p->q.d;
    p->lower = exactly((own_bounds ? n : 1) * D, dtype);
    p->upper = exactly((own_bounds ? n : 1) * D, dtype);
    for (int64_t i = 0; i < (own_bounds ? n : 1) * D; i++) { /* some components are fixed */
        const double middle = get(p->q.in.in[1], dtype, i);
        set(p->lower, dtype, i, middle - (i % 4 ? 0.5 : 0));
        set(p->upper, dtype, i, middle + (i % 4 ? 0.25 * (double)(i % 3) : 0));
    }
    p->norm = exactly(d->n_records * n, dtype);
    p->step = exactly(d->n_records * n, dtype);
    d->ftol = 1e-7, d->xtol = 1e-5;
    d->schedule = factors, d->n_schedule = N_FACTORS;
    d->weight_decay = 0.01, d->clip_value = 0.4, d->clip_norm = 0.6;
    d->lower = p->lower, d->upper = p->upper, d->bounds_are_lane = own_bounds;
    d->history_norm = p->norm, d->history_step = p->step;
    d->lane_steps = p->lane_steps;
}
static void free_rich(rich_problem *p) {
    free_problem(&p->q);
    void *owned[] = {p->lower, p->upper, p->norm, p->step};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
}

static void all_points_are_inside(const rich_problem *p) {
    const fg_descent *d = &p->q.d;
    int inside = 1;
    for (int64_t i = 0; i < d->batch; i++)
        for (int64_t t = 0; t <= p->q.nit[i] / d->record_every; t++)
            for (int64_t k = 0; k < D; k++) {
                const double x = get(p->q.history_x, p->q.dtype, (t * d->batch + i) * D + k);
                const int64_t at = d->bounds_are_lane ? i * D + k : k;
                inside &= x >= get(p->lower, p->q.dtype, at) && x <= get(p->upper, p->q.dtype, at);
            }
    CHECK(inside);
}

static void a_descent_in_parts_is_one_descent(int dtype, int update, int64_t n, int own_bounds) {
    enum { MAXITER = 60 };
    rich_problem whole, parts;
    make_rich(&whole, dtype, update, n, MAXITER, own_bounds);
    make_rich(&parts, dtype, update, n, MAXITER, own_bounds);
    descend(&whole.q);
    all_points_are_inside(&whole);
    int64_t lane_steps = 0;
    for (int64_t i = 0; i < n; i++)
        lane_steps += whole.q.nit[i] + 1;
    CHECK(whole.lane_steps[0] == lane_steps && whole.lane_steps[1] >= lane_steps);
    fg_standing standing = {.n_iterations = 0};
    for (int i = 0; i < FG_MAX_STATES; i++)
        standing.state[i] = i < fg_update_n_states(update) ? exactly(n * D, dtype) : NULL;
    for (int i = 0; i < FG_MAX_RUNNING; i++)
        standing.running[i] = exactly(n, FG_FLOAT64);
    for (int i = 0; i < 3; i++)
        standing.last[i] = exactly(n, dtype);
    parts.q.d.standing = &standing;
    parts.q.d.x = parts.q.in.in[0];
    for (int64_t i = 0; i < n; i++)
        parts.q.outcome[i] = FG_RUNNING;
    int64_t n_running = n;
    for (int call = 0; n_running && CHECK(call < 2 * MAXITER); call++) {
        descend(&parts.q);
        standing.n_iterations = call % 5;
        n_running = 0;
        for (int64_t i = 0; i < n; i++)
            n_running += parts.q.outcome[i] == FG_RUNNING;
    }
    const int64_t rows = whole.q.d.n_records * n;
    CHECK(same_numbers(whole.q.x, parts.q.in.in[0], dtype, n * D));
    CHECK(memcmp(whole.q.nit, parts.q.nit, (size_t)n * sizeof *whole.q.nit) == 0);
    CHECK(memcmp(whole.q.outcome, parts.q.outcome, (size_t)n * sizeof *whole.q.outcome) == 0);
    CHECK(same_numbers(whole.q.history_fun, parts.q.history_fun, dtype, rows));
    CHECK(same_numbers(whole.q.history_x, parts.q.history_x, dtype, rows * D));
    CHECK(same_numbers(whole.norm, parts.norm, dtype, rows) && same_numbers(whole.step, parts.step, dtype, rows));
    for (int i = 0; i < 3; i++) {
        free(standing.state[i]);
        free(standing.running[i]);
        free(standing.last[i]);
    }
    free_rich(&whole);
    free_rich(&parts);
}

/* ---- cancelling and refusing ---------------------------------------------------------------------------- */

static int64_t polls, last_done;
static int cancel_at(void *context, int64_t done) {
    last_done = done;
    return ++polls >= *(int64_t *)context;
}
static void a_long_descent_polls_and_can_be_cancelled(void) {
    for (int threads = 1; threads <= 2; threads++)
        for (int64_t k = 1; k <= 3; k++) {
            problem q = make_problem(FG_FLOAT64, ADAM, 100, INT64_MAX, 0, -1);
            fg_error error = {""};
            CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
            polls = 0;
            CHECK(fg_descend(&q.d, cancel_at, &k, &error) == FG_CANCELLED);
            CHECK(polls == k && last_done == 0);
            q.d.maxiter = 10; /* and everything is usable */
            descend(&q);
            CHECK(q.nit[99] == 10);
            free_problem(&q);
        }
}

static void the_largest_maxiter_does_not_overflow(void) {
    problem q = make_problem(FG_FLOAT64, MOMENTUM, 90, INT64_MAX, 0, 1e-3);
    descend(&q);
    for (int64_t i = 0; i < q.n; i++)
        CHECK(q.outcome[i] == FG_CONVERGED);
    q.d.record_every = 1;
    CHECK(fg_descend(&q.d, NULL, NULL, NULL) == FG_INVALID_VALUE);
    free_problem(&q);
}

static void impossible_descents_are_refused(void) {
    problem q = make_problem(FG_FLOAT64, GD, 3, 10, 2, 0);
    const fg_descent good = q.d;
    fg_error error = {""};
    CHECK(fg_descend(&q.d, NULL, NULL, &error) == FG_OK);
#define REFUSES(change)                                                                      \
    do {                                                                                     \
        error.message[0] = 0;                                                                \
        q.d = good;                                                                          \
        change;                                                                              \
        CHECK(fg_descend(&q.d, NULL, NULL, &error) == FG_INVALID_VALUE && error.message[0]); \
    } while (0)
    REFUSES(q.d.batch = 0);
    REFUSES(q.d.batch = -1);
    REFUSES(q.d.maxiter = -1);
    REFUSES(q.d.record_every = -1);
    REFUSES(q.d.n_records = 5);
    REFUSES(q.d.lower = q.x);
    REFUSES(q.d.upper = q.x);
    REFUSES(q.d.schedule = factors);
    fg_standing standing = {.n_iterations = -1};
    REFUSES(q.d.standing = &standing);
    standing.n_iterations = 1;
    REFUSES((q.d.standing = &standing, q.d.keep_best = 1));
    for (q.nit[1] = -1; q.nit[1] <= 11; q.nit[1] += 12)
        REFUSES(q.d.standing = &standing);
    REFUSES(q.d.update = FG_N_UPDATES);
    REFUSES(q.d.update = (fg_update)-1);
    builder b = {0}; /* a gradient without a value */
    add_simple(&b, FG_OP_copy, FG_FLOAT64, D, 1, add_input(&b, FG_FLOAT64, 1, D), 0);
    add_output(&b, FG_FLOAT64, 1, D);
    fg_program *p = NULL;
    CHECK(create(&b, &p, NULL) == FG_OK);
    REFUSES(q.d.program = p);
    REFUSES((q.d.program = p, q.d.history_fun = NULL, q.d.keep_best = 1));
    REFUSES((q.d.program = p, q.d.history_fun = NULL, q.d.ftol = 0));
    q.d = good, q.d.program = p, q.d.history_fun = NULL;
    CHECK(fg_descend(&q.d, NULL, NULL, &error) == FG_OK);
    fg_program_destroy(p);
    for (int size = D - 1; size <= D + 1; size++)
        for (int is_lane = 0; is_lane <= 1; is_lane++) { /* a gradient that is not like the point */
            b = (builder){0};
            add_input(&b, FG_FLOAT64, 1, D);
            add_output(&b, FG_FLOAT64, is_lane, size);
            CHECK(create(&b, &p, NULL) == FG_OK);
            if (size != D || !is_lane)
                REFUSES((q.d.program = p, q.d.history_fun = NULL));
            fg_program_destroy(p);
        }
    CHECK(fg_update_name(-1) == NULL && fg_update_name(FG_N_UPDATES) == NULL && fg_update_n_settings(ADAM) == 3 &&
          fg_update_n_states(ADAM) == 2 && fg_update_n_states(-1) == 0);
    free_problem(&q);
}

int main(void) {
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        for (int update = 0; update < FG_N_UPDATES; update++) {
            for (int is_lane = 0; is_lane <= 1; is_lane++)
                points_are_those_of_a_scalar_loop(update, is_lane);
            stops_are_those_of_a_scalar_loop(update);
            the_best_point_is_that_of_least_value(update);
            the_history_is_the_path(update);
            for (int dtype = 0; dtype < 2; dtype++) {
                statuses_are_right(update, dtype);
                an_instance_depends_on_nothing_else(dtype, update, 0, 1);
                an_instance_depends_on_nothing_else(dtype, update, 1, 0);
                for (int own_bounds = 0; own_bounds <= 1; own_bounds++) {
                    a_descent_in_parts_is_one_descent(dtype, update, 1, own_bounds);
                    a_descent_in_parts_is_one_descent(dtype, update, 150, own_bounds);
                }
            }
        }
        for (int dtype = 0; dtype < 2; dtype++)
            divergence_is_seen_and_the_best_point_kept(dtype);
    }
    the_points_may_overwrite_the_start();
    a_long_descent_polls_and_can_be_cancelled();
    the_largest_maxiter_does_not_overflow();
    impossible_descents_are_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("descent: %lld calls, %.3g steps, worst relative error %.2g against the scalar loop\n",
           (long long)n_descents, (double)n_steps, worst);
    return check_result();
}
