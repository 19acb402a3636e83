/* Batched descent: a worker takes a block of lanes and runs the whole optimisation on it while it sits in cache. A lane
 * that stops is written out and takes the next instance of the queue, so no lane waits for the slowest. What happens
 * to an instance does not depend on its lane, its block or its neighbours. */
#include <stdatomic.h>
#include <string.h>

#include "alloc.h"
#include "machine.h"
#include "pool.h"
#include "status.h"

static const struct {
    const char *name;
    int n_states, n_settings, n_running;
} updates[FG_N_UPDATES] = {
#define UPDATE(name, states, settings, running, coefficients, statement) {#name, states, settings, running},
#include "updates.def"
};

const char *fg_update_name(int update) { return update >= 0 && update < FG_N_UPDATES ? updates[update].name : NULL; }
int fg_update_n_states(int update) { return update >= 0 && update < FG_N_UPDATES ? updates[update].n_states : 0; }
int fg_update_n_settings(int update) { return update >= 0 && update < FG_N_UPDATES ? updates[update].n_settings : 0; }

/* ---- what workers share, and what each owns ------------------------------------------------------------- */

enum { VALUE_BEFORE, STEP, SIZE, N_LAST }; /* what fg_standing calls last */

/* Of each lane, or of each lane's point; what a descent does not need has no elements. */
typedef struct {
    fg_workspace workspace;
    int64_t *instance; /* -1 when idle */
    int64_t *born;     /* the step at which the lane's instance would have started */
    int64_t *limit;    /* the step at which it has made all updates of this call */
    double *rate, *scheduled, *running[FG_MAX_RUNNING];
    char *c[FG_MAX_COEFFICIENTS], *frozen, *stop, *state[FG_MAX_STATES], *best_x, *best_value;
    char *lower, *upper, *projected; /* bounds, and what they leave of the gradient */
    char *clipped, *decayed;         /* factors of the gradient and of x */
    char *norm;                      /* what gtol is compared with, to record it */
    char *before, *last[N_LAST];     /* the point before the step; see fg_standing */
    int64_t lane_steps[2];
} block;

typedef struct {
    const fg_descent *d;
    const fg_plan *plan;
    const fg_kernels *kernels;
    block *blocks; /* one a worker */
    int64_t n_lanes, size;
    int dtype, item;
    int64_t x, value, gradient; /* buffers; value is -1 when the program has none */
    int measures;               /* whether the lengths of steps are needed */
    fg_watch watch;
    _Atomic int64_t next;
} descent_run;

static double element(const descent_run *run, const void *array, int64_t i) {
    return run->dtype == FG_FLOAT32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

static void set_element(const descent_run *run, void *array, int64_t i, double value) {
    if (run->dtype == FG_FLOAT32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

/* A point of one lane from, or to, a row of the caller's. */
static void lane_in(const descent_run *run, const void *rows, int64_t row, char *lanes, int64_t lane) {
    run->kernels->lanes_in[run->dtype](1, run->size, run->n_lanes, (const char *)rows + row * run->size * run->item,
                                       lanes + lane * run->item);
}

static void lane_out(const descent_run *run, const char *lanes, int64_t lane, void *rows, int64_t row) {
    run->kernels->lanes_out[run->dtype](1, run->size, run->n_lanes, lanes + lane * run->item,
                                        (char *)rows + row * run->size * run->item);
}

/* ---- lanes ---------------------------------------------------------------------------------------------- */

/* The next instance of the queue that is to run, or -1. */
static int64_t next_instance(descent_run *run) {
    const fg_descent *d = run->d;
    for (;;) {
        const int64_t instance = atomic_fetch_add(&run->next, 1);
        if (instance >= d->batch)
            return -1;
        if (!d->standing || d->outcome[instance] == FG_RUNNING)
            return instance;
        atomic_fetch_add(&run->watch.done, 1);
    }
}

/* What a rule remembers, of the first step or of an earlier call. */
static void fill_memory(const descent_run *run, block *b, int64_t lane, int64_t instance, int is_new) {
    const fg_standing *standing = run->d->standing;
    for (int i = 0; i < updates[run->d->update].n_states; i++) {
        if (!is_new)
            lane_in(run, standing->state[i], instance, b->state[i], lane);
        for (int64_t k = lane; is_new && k < run->size * run->n_lanes; k += run->n_lanes)
            set_element(run, b->state[i], k, 0);
    }
    for (int i = 0; i < FG_MAX_RUNNING; i++)
        b->running[i][lane] = is_new ? 1 : standing->running[i][instance];
    for (int i = 0; i < N_LAST; i++) /* a NaN passes no test */
        set_element(run, b->last[i], lane, is_new ? __builtin_nan("") : element(run, standing->last[i], instance));
}

/* Loads the next instance of the queue into a lane; when there is none, the lane idles from then on. */
static void fill_lane(descent_run *run, block *b, int64_t lane, int64_t now) {
    const fg_descent *d = run->d;
    const int64_t instance = next_instance(run);
    b->instance[lane] = instance;
    set_element(run, b->frozen, lane, instance < 0);
    if (instance < 0)
        return;
    const int64_t nit = d->standing ? d->nit[instance] : 0, left = d->maxiter > nit ? d->maxiter - nit : 0;
    const int64_t here = d->standing && d->standing->n_iterations < left ? d->standing->n_iterations : left;
    b->born[lane] = now - nit;
    b->limit[lane] = here < INT64_MAX - now ? now + here : INT64_MAX; /* however large maxiter is */
    fg_fill_lane(d->program, &b->workspace, run->n_lanes, lane, d->inputs, instance);
    b->rate[lane] = d->learning_rate[d->learning_rate_is_lane ? instance : 0];
    fill_memory(run, b, lane, instance, nit == 0);
    char *x = b->workspace.base[run->x];
    if (d->lower) {
        lane_in(run, d->lower, d->bounds_are_lane ? instance : 0, b->lower, lane);
        lane_in(run, d->upper, d->bounds_are_lane ? instance : 0, b->upper, lane);
        for (int64_t i = lane; i < run->size * run->n_lanes; i += run->n_lanes) {
            const double at = element(run, x, i), low = element(run, b->lower, i), high = element(run, b->upper, i);
            set_element(run, x, i, at < low ? low : at > high ? high : at);
        }
    }
    if (d->keep_best) {
        set_element(run, b->best_value, lane, __builtin_inf());
        for (int64_t i = lane; i < run->size * run->n_lanes; i += run->n_lanes)
            set_element(run, b->best_x, i, element(run, x, i));
    }
}

static void write_lane(descent_run *run, block *b, int64_t lane, int64_t nit, fg_outcome outcome) {
    const fg_descent *d = run->d;
    const int64_t instance = b->instance[lane];
    lane_out(run, d->keep_best ? b->best_x : b->workspace.base[run->x], lane, d->x, instance);
    d->nit[instance] = nit;
    d->outcome[instance] = (int32_t)outcome;
    if (d->standing) {
        for (int i = 0; i < updates[d->update].n_states; i++)
            lane_out(run, b->state[i], lane, d->standing->state[i], instance);
        for (int i = 0; i < FG_MAX_RUNNING; i++)
            d->standing->running[i][instance] = b->running[i][lane];
        for (int i = 0; i < N_LAST; i++)
            set_element(run, d->standing->last[i], instance, element(run, b->last[i], lane));
    }
    atomic_fetch_add(&run->watch.done, 1);
}

static void keep_best(descent_run *run, block *b) {
    const char *value = b->workspace.base[run->value], *x = b->workspace.base[run->x];
    for (int64_t l = 0; l < run->n_lanes; l++)
        if (element(run, value, l) < element(run, b->best_value, l) && element(run, value, l) > -__builtin_inf()) {
            set_element(run, b->best_value, l, element(run, value, l));
            for (int64_t i = l; i < run->size * run->n_lanes; i += run->n_lanes)
                set_element(run, b->best_x, i, element(run, x, i));
        }
}

/* Records the lanes whose turn it is; the step at which that is one's again. */
static int64_t record(descent_run *run, block *b, const char *gradient, int64_t now) {
    const fg_descent *d = run->d;
    int64_t wait = d->record_every;
    if (d->history_norm)
        run->kernels->largest[run->dtype](run->size, run->n_lanes, gradient, b->norm);
    for (int64_t l = 0; l < run->n_lanes; l++) {
        const int64_t t = now - b->born[l], ago = d->record_every > 1 ? t % d->record_every : 0;
        if (b->instance[l] < 0)
            continue;
        wait = d->record_every - ago < wait ? d->record_every - ago : wait;
        if (ago)
            continue;
        const int64_t row = t / d->record_every * d->batch + b->instance[l];
        if (d->history_fun)
            set_element(run, d->history_fun, row, element(run, b->workspace.base[run->value], l));
        if (d->history_norm)
            set_element(run, d->history_norm, row, element(run, b->norm, l));
        if (d->history_step)
            set_element(run, d->history_step, row, t ? __builtin_sqrt(element(run, b->last[STEP], l)) : 0);
        if (d->history_x)
            lane_out(run, b->workspace.base[run->x], l, d->history_x, row);
    }
    return now + wait;
}

/* ---- passes over a block, each made only for a descent that asks for it ----------------------------------- */

typedef union {
    double wide;
    float narrow;
} number; /* in the dtype of the descent */

static number number_of(const descent_run *run, double value) {
    return run->dtype == FG_FLOAT32 ? (number){.narrow = (float)value} : (number){.wide = value};
}

/* out = a op b for n elements, or for one a and n of b (splat 1), or for n of a and one b (splat 2). */
static void apply(const descent_run *run, fg_op op, int64_t n, void *out, void *a, void *b, unsigned splat) {
    const fg_rows rows = {.n_rows = 1, .width = n, .splat = splat};
    run->kernels->rows[op][run->dtype](&rows, (void *const[]){out, a, b});
}

/* Multiplies the components of each lane by the lane's factor. */
static void scale_lanes(const descent_run *run, void *array, void *factor) {
    const int64_t L = run->n_lanes;
    const fg_rows rows = {.n_rows = run->size, .width = L, .stride = {L, L, 0}};
    if (L == 1)
        apply(run, FG_OP_multiply, run->size, array, array, factor, 2);
    else
        run->kernels->rows[FG_OP_multiply][run->dtype](&rows, (void *const[]){array, array, factor});
}

/* out[l] = sum of the squares of lane l's components, in the order of all sums. */
static void square_lanes(const descent_run *run, void *out, void *array) {
    const fg_fold fold = {.n = run->size, .width = run->n_lanes, .stride = {run->n_lanes, run->n_lanes}};
    run->kernels->fold[FG_OP_dot][run->dtype](&fold, (void *const[]){out, array, array});
}

static void clip(const descent_run *run, block *b, void *gradient) {
    const fg_descent *d = run->d;
    const int64_t L = run->n_lanes, all = run->size * L;
    if (d->clip_value > 0) {
        number low = number_of(run, -d->clip_value), high = number_of(run, d->clip_value);
        apply(run, FG_OP_maximum, all, gradient, gradient, &low, 2);
        apply(run, FG_OP_minimum, all, gradient, gradient, &high, 2);
    }
    if (d->clip_norm > 0) { /* as torch: by min(1, clip_norm / (length + 1e-6)) */
        number most = number_of(run, d->clip_norm), small = number_of(run, 1e-6), one = number_of(run, 1);
        square_lanes(run, b->clipped, gradient);
        apply(run, FG_OP_sqrt, L, b->clipped, b->clipped, NULL, 0);
        apply(run, FG_OP_add, L, b->clipped, b->clipped, &small, 2);
        apply(run, FG_OP_divide, L, b->clipped, &most, b->clipped, 1);
        apply(run, FG_OP_minimum, L, b->clipped, b->clipped, &one, 2);
        scale_lanes(run, gradient, b->clipped);
    }
}

/* Points shrink by what the rate says: one for all lanes, or one a lane. Frozen lanes stay. */
static void decay(const descent_run *run, block *b, const double *rate, int rate_is_lane, const void *frozen) {
    char *x = b->workspace.base[run->x];
    for (int64_t l = 0; l < (rate_is_lane || frozen ? run->n_lanes : 1); l++) {
        const int stays = frozen && element(run, frozen, l) != 0;
        set_element(run, b->decayed, l, stays ? 1 : 1 - rate[rate_is_lane ? l : 0] * run->d->weight_decay);
    }
    if (rate_is_lane || frozen)
        scale_lanes(run, x, b->decayed);
    else
        apply(run, FG_OP_multiply, run->size * run->n_lanes, x, x, b->decayed, 2);
}

/* What the next iteration asks about this step. */
static void measure(const descent_run *run, block *b) {
    char *x = b->workspace.base[run->x];
    if (run->measures) {
        apply(run, FG_OP_subtract, run->size * run->n_lanes, b->before, x, b->before, 0);
        square_lanes(run, b->last[STEP], b->before);
        square_lanes(run, b->last[SIZE], x);
    }
    if (run->d->ftol >= 0)
        memcpy(b->last[VALUE_BEFORE], b->workspace.base[run->value], (size_t)(run->n_lanes * run->item));
}

/* ---- the loop ------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t n_active, first_limit; /* the step at which the first active lane runs out of iterations */
    int64_t first;                 /* the first active lane */
    int together;                  /* all active lanes are at the same iteration */
} lanes_state;

static lanes_state survey(const descent_run *run, block *b) {
    lanes_state s = {.first_limit = INT64_MAX, .together = 1};
    for (int64_t l = 0; l < run->n_lanes; l++) {
        if (b->instance[l] < 0)
            continue;
        s.first = s.n_active++ == 0 ? l : s.first;
        s.first_limit = b->limit[l] < s.first_limit ? b->limit[l] : s.first_limit;
        s.together &= b->born[l] == b->born[s.first];
    }
    for (int i = 0; s.together && s.n_active && i < FG_MAX_RUNNING; i++)
        b->running[i][0] = b->running[i][s.first];
    return s;
}

/* Freezes the active lanes that stop here or are out of iterations; whether there are any. */
static int stop_lanes(const descent_run *run, block *b, int stops, int64_t now) {
    int any = 0;
    for (int64_t l = 0; !stops && l < run->n_lanes; l++)
        set_element(run, b->stop, l, 0);
    for (int64_t l = 0; l < run->n_lanes; l++)
        if (b->instance[l] >= 0 && (element(run, b->stop, l) != 0 || now >= b->limit[l])) {
            set_element(run, b->frozen, l, 1);
            any = 1;
        }
    return any;
}

/* Writes out the lanes that stop here, before the step. */
static void write_stopped(descent_run *run, block *b, const lanes_state *state, int64_t now) {
    for (int64_t l = 0; l < run->n_lanes; l++)
        if (b->instance[l] >= 0 && element(run, b->frozen, l) != 0) {
            const int stop = (int)element(run, b->stop, l);
            const int64_t nit = now - b->born[l];
            const fg_outcome at_limit = nit < run->d->maxiter ? FG_RUNNING : FG_OUT_OF_ITERATIONS;
            for (int i = 0; state->together && i < FG_MAX_RUNNING; i++)
                b->running[i][l] = b->running[i][0];
            write_lane(run, b, l, nit, stop ? (fg_outcome)(stop - 1) : at_limit);
        }
}

/* Gives them the next instances, after it. */
static void replace_stopped(descent_run *run, block *b, const lanes_state *state, int64_t now) {
    for (int64_t l = 1; state->together && l < run->n_lanes; l++)
        for (int i = 0; i < FG_MAX_RUNNING; i++)
            b->running[i][l] = b->running[i][0];
    for (int64_t l = 0; l < run->n_lanes; l++)
        if (b->instance[l] >= 0 && element(run, b->frozen, l) != 0)
            fill_lane(run, b, l, now + 1);
}

/* The rates of this iteration, for lanes 0 to n - 1. */
static const double *rates(const descent_run *run, block *b, const lanes_state *state, int64_t n, int64_t now) {
    const fg_descent *d = run->d;
    if (!d->schedule)
        return b->rate;
    for (int64_t l = 0; l < n; l++) {
        const int64_t t = now - b->born[n > 1 ? l : state->first];
        b->scheduled[l] = b->rate[l] * d->schedule[t < d->n_schedule ? t : d->n_schedule - 1];
    }
    return b->scheduled;
}

static void work_on_descent(void *context, int worker) {
    descent_run *run = context;
    const fg_descent *d = run->d;
    block *b = &run->blocks[worker];
    void *const *base = b->workspace.base;
    fg_check check = {
        .size = run->size, .n_lanes = run->n_lanes, .gradient = base[run->gradient], .gtol = d->gtol, .stop = b->stop};
    fg_change change = {.n_lanes = run->n_lanes,
                        .ftol = d->ftol,
                        .xtol = d->xtol,
                        .value = run->value < 0 ? NULL : base[run->value],
                        .value_before = b->last[VALUE_BEFORE],
                        .step = b->last[STEP],
                        .size = b->last[SIZE],
                        .stop = b->stop};
    fg_step step = {.size = run->size,
                    .n_lanes = run->n_lanes,
                    .x = base[run->x],
                    .gradient = base[run->gradient],
                    .state = {b->state[0], b->state[1], b->state[2]},
                    .c = {b->c[0], b->c[1], b->c[2]},
                    .settings = d->settings};
    fg_prepare prepare = {.settings = d->settings,
                          .running = {b->running[0], b->running[1], b->running[2]},
                          .c = {b->c[0], b->c[1], b->c[2]}};
    const int64_t elements = run->size * run->n_lanes;
    const int changes_rates = updates[d->update].n_running || d->schedule, asks = d->ftol >= 0 || d->xtol >= 0;
    const int bounded = d->lower != NULL, clips = d->clip_value > 0 || d->clip_norm > 0, decays = d->weight_decay != 0;
    const int measures = run->measures || d->ftol >= 0;
    int64_t active_steps = 0, all_steps = 0;
    if (bounded)
        check.gradient = b->projected;
    fg_watch *watch = fg_watch_for(d->program->cost * (double)run->n_lanes, &run->watch);
    int64_t now = 0, next_record = 0, next_look = 0, look_every = 1;
    double last_look = fg_clock();
    for (int64_t l = 0; l < run->n_lanes; l++)
        fill_lane(run, b, l, 0);
    lanes_state state = survey(run, b);
    int fresh = 1; /* the coefficients are not those of the lanes */
    for (; state.n_active > 0 && !atomic_load_explicit(&run->watch.cancelled, memory_order_relaxed); now++) {
        fg_plan_run(run->plan, run->plan->n_uniform, run->plan->n_calls, base, watch, worker);
        if (bounded)
            run->kernels->project[run->dtype](elements, b->lower, b->upper, base[run->x], base[run->gradient],
                                              b->projected);
        if (d->record_every && now >= next_record)
            next_record = record(run, b, check.gradient, now);
        if (d->keep_best)
            keep_best(run, b);
        check.frozen = change.frozen = state.n_active < run->n_lanes ? b->frozen : NULL;
        int stops = run->kernels->check[run->dtype](&check);
        if (asks) {
            change.stops = stops;
            stops = run->kernels->change[run->dtype](&change);
        }
        const int changes = (stops || now >= state.first_limit) && stop_lanes(run, b, stops, now);
        if (changes)
            write_stopped(run, b, &state, now);
        step.frozen = changes || state.n_active < run->n_lanes ? b->frozen : NULL;
        if (fresh || changes_rates) {
            prepare.n = state.together && !d->learning_rate_is_lane ? 1 : run->n_lanes;
            prepare.learning_rate = rates(run, b, &state, prepare.n, now);
            run->kernels->prepare[d->update][run->dtype](&prepare);
            step.c_is_lane = prepare.n > 1;
        }
        if (clips)
            clip(run, b, base[run->gradient]);
        if (run->measures)
            memcpy(b->before, base[run->x], (size_t)(elements * run->item));
        if (decays)
            decay(run, b, prepare.learning_rate, step.c_is_lane, step.frozen);
        run->kernels->step[d->update][run->dtype](&step);
        if (bounded) {
            apply(run, FG_OP_maximum, elements, base[run->x], base[run->x], b->lower, 0);
            apply(run, FG_OP_minimum, elements, base[run->x], base[run->x], b->upper, 0);
        }
        if (measures)
            measure(run, b);
        active_steps += state.n_active;
        all_steps += run->n_lanes;
        fresh = changes;
        if (changes) {
            replace_stopped(run, b, &state, now);
            state = survey(run, b);
            next_record = now + 1;
        }
        if (worker == 0 && now >= next_look) { /* a look at the clock every 50 us to 1 ms */
            double time = fg_clock();
            look_every = time - last_look < 5e-5 ? 2 * look_every : time - last_look > 1e-3 ? 1 : look_every;
            last_look = time;
            next_look = now + look_every;
            fg_watch_look(&run->watch);
        }
    }
    b->lane_steps[0] = active_steps;
    b->lane_steps[1] = all_steps;
}

/* ---- the call ------------------------------------------------------------------------------------------- */

static void destroy_block(block *b) {
    void *owned[] = {b->instance,   b->born,  b->limit, b->rate,      b->scheduled, b->frozen,  b->stop,   b->best_x,
                     b->best_value, b->lower, b->upper, b->projected, b->clipped,   b->decayed, b->before, b->norm};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        fg_free(owned[i]);
    for (int i = 0; i < FG_MAX_RUNNING; i++)
        fg_free(b->running[i]);
    for (int i = 0; i < FG_MAX_COEFFICIENTS; i++)
        fg_free(b->c[i]);
    for (int i = 0; i < FG_MAX_STATES; i++)
        fg_free(b->state[i]);
    for (int i = 0; i < N_LAST; i++)
        fg_free(b->last[i]);
}

FG_CHECKED static fg_status create_block(const descent_run *run, fg_workspace workspace, block *b, fg_error *error) {
    const fg_descent *d = run->d;
    const size_t lanes = (size_t)run->n_lanes, item = (size_t)run->item, point = lanes * (size_t)run->size;
    const size_t bounded = d->lower ? point : 0;
    int complete = 1;
    b->workspace = workspace;
#define OWN(array, count, bytes) complete = (b->array = fg_alloc(count, bytes)) && complete
    OWN(instance, lanes, sizeof *b->instance);
    OWN(born, lanes, sizeof *b->born);
    OWN(limit, lanes, sizeof *b->limit);
    OWN(rate, lanes, sizeof *b->rate);
    OWN(scheduled, d->schedule ? lanes : 0, sizeof *b->scheduled);
    OWN(frozen, lanes, item);
    OWN(stop, lanes, item);
    OWN(best_x, d->keep_best ? point : 0, item);
    OWN(best_value, d->keep_best ? lanes : 0, item);
    OWN(lower, bounded, item);
    OWN(upper, bounded, item);
    OWN(projected, bounded, item);
    OWN(clipped, d->clip_norm > 0 ? lanes : 0, item);
    OWN(decayed, d->weight_decay != 0 ? lanes : 0, item);
    OWN(norm, d->history_norm ? lanes : 0, item);
    OWN(before, run->measures ? point : 0, item);
    for (int i = 0; i < FG_MAX_RUNNING; i++)
        OWN(running[i], lanes, sizeof *b->running[i]);
    for (int i = 0; i < FG_MAX_COEFFICIENTS; i++)
        OWN(c[i], lanes, item);
    for (int i = 0; i < FG_MAX_STATES; i++)
        OWN(state[i], i < updates[d->update].n_states ? point : 0, item);
    for (int i = 0; i < N_LAST; i++)
        OWN(last[i], lanes, item);
#undef OWN
    return complete ? FG_OK : fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a block of %d lanes", (int)lanes);
}

static fg_status check(const fg_descent *d, fg_error *error) {
    const fg_program *p = d->program;
    if (d->batch < 1 || d->maxiter < 0 || d->record_every < 0)
        return fg_fail(error, FG_INVALID_VALUE, "batch, maxiter and record_every must not be negative or empty");
    if ((int)d->update < 0 || d->update >= FG_N_UPDATES)
        return fg_fail(error, FG_INVALID_VALUE, "there is no such update rule");
    if (p->n_inputs < 1 || p->n_outputs < 1 || p->n_outputs > 2)
        return fg_fail(error, FG_INVALID_VALUE, "a program that descends gives a gradient, or a value and a gradient");
    const fg_buffer *x = &p->buffers[p->input[0]], *gradient = &p->buffers[p->output[p->n_outputs - 1]];
    const fg_buffer *value = p->n_outputs == 2 ? &p->buffers[p->output[0]] : NULL;
    if (!x->is_lane || !gradient->is_lane || gradient->size != x->size || gradient->dtype != x->dtype ||
        (value && (!value->is_lane || value->size != 1 || value->dtype != x->dtype)))
        return fg_fail(error, FG_INVALID_VALUE, "the gradient is not like the point, or the value is not one number");
    if (!value && (d->keep_best || d->history_fun || d->ftol >= 0))
        return fg_fail(error, FG_INVALID_VALUE, "ftol, recording values and keeping the best need the value");
    if (d->record_every && d->n_records <= d->maxiter / d->record_every)
        return fg_fail(error, FG_INVALID_VALUE, "the history has too few rows");
    if (!d->lower != !d->upper || (d->schedule && d->n_schedule < 1))
        return fg_fail(error, FG_INVALID_VALUE, "half of the bounds is missing, or the schedule is empty");
    if (d->standing && (d->keep_best || d->standing->n_iterations < 0))
        return fg_fail(error, FG_INVALID_VALUE, "to go on later: not with keep_best, nor for less than no iterations");
    for (int64_t i = 0; d->standing && i < d->batch; i++)
        if (d->nit[i] < 0 || d->nit[i] > d->maxiter)
            return fg_fail(error, FG_INVALID_VALUE, "an instance has made less than no updates, or more than maxiter");
    return FG_OK;
}

fg_status fg_descend(const fg_descent *d, fg_poll poll, void *poll_context, fg_error *error) {
    fg_status status = fg_refuse_across(d->program, error);
    if (!status)
        status = check(d, error);
    if (status)
        return status;
    const fg_program *p = d->program;
    const fg_buffer *x = &p->buffers[p->input[0]];
    const int measures = d->xtol >= 0 || d->history_step || d->standing;
    const int points = updates[d->update].n_states + (d->lower ? 3 : 0) + measures;
    const int64_t more_bytes = points * x->size * fg_item_size(x->dtype);
    descent_run run = {.d = d,
                       .kernels = fg_active_kernels(),
                       .n_lanes = fg_lanes_for(p, d->batch, more_bytes, FG_L1_BYTES),
                       .size = x->size,
                       .dtype = x->dtype,
                       .item = (int)fg_item_size(x->dtype),
                       .x = p->input[0],
                       .value = p->n_outputs == 2 ? p->output[0] : -1,
                       .gradient = p->output[p->n_outputs - 1],
                       .measures = measures,
                       .watch = {.poll = poll, .context = poll_context}};
    const int n_workers =
        fg_workers_for(p->cost * (double)d->batch * (double)d->maxiter, (d->batch + run.n_lanes - 1) / run.n_lanes);
    fg_team team;
    status = fg_team_create(p, run.n_lanes, n_workers, d->inputs, NULL, &run.watch, &team, error);
    if (status)
        return status;
    run.plan = &team.plan;
    run.blocks = fg_alloc((size_t)n_workers, sizeof *run.blocks);
    if (!run.blocks)
        status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d blocks", n_workers);
    for (int i = 0; !status && i < n_workers; i++)
        status = create_block(&run, team.workspaces[i], &run.blocks[i], error);
    if (!status)
        status = fg_team_run(&team, work_on_descent, &run, &run.watch, error);
    for (int k = 0; d->lane_steps && k < 2; k++)
        d->lane_steps[k] = 0;
    for (int i = 0; run.blocks && i < n_workers; i++) {
        for (int k = 0; d->lane_steps && k < 2; k++)
            d->lane_steps[k] += run.blocks[i].lane_steps[k];
        destroy_block(&run.blocks[i]);
    }
    fg_free(run.blocks);
    fg_team_destroy(&team);
    return status;
}
