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
    int n_states, n_settings, n_powers;
} updates[FG_N_UPDATES] = {
#define UPDATE(name, states, settings, powers, c0, c1, statement) {#name, states, settings, powers},
#include "updates.def"
};

const char *fg_update_name(int update) { return update >= 0 && update < FG_N_UPDATES ? updates[update].name : NULL; }
int fg_update_n_settings(int update) { return update >= 0 && update < FG_N_UPDATES ? updates[update].n_settings : 0; }

/* ---- what workers share, and what each owns ------------------------------------------------------------- */

typedef struct {
    fg_workspace workspace;
    int64_t *instance; /* of each lane, -1 when idle */
    int64_t *born;     /* the step at which the lane's instance started */
    double *rate, *power[2];
    char *c[2], *frozen, *stop, *state[2], *best_x, *best_value;
} block;

typedef struct {
    const fg_descent *d;
    const fg_plan *plan;
    const fg_kernels *kernels;
    block *blocks; /* one a worker */
    int64_t n_lanes, size;
    int dtype, item;
    int64_t x, value, gradient; /* buffers; value is -1 when the program has none */
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

/* ---- lanes ---------------------------------------------------------------------------------------------- */

/* Loads the next instance of the queue into a lane; when there is none, the lane idles from then on. */
static void fill_lane(descent_run *run, block *b, int64_t lane, int64_t now) {
    const fg_descent *d = run->d;
    const fg_program *p = d->program;
    const int64_t instance = atomic_fetch_add(&run->next, 1);
    if (instance >= d->batch) {
        b->instance[lane] = -1;
        set_element(run, b->frozen, lane, 1);
        return;
    }
    b->instance[lane] = instance;
    b->born[lane] = now;
    set_element(run, b->frozen, lane, 0);
    for (int64_t i = 0; i < p->n_inputs; i++) {
        const fg_buffer *buffer = &p->buffers[p->input[i]];
        const int64_t item = fg_item_size(buffer->dtype);
        if (buffer->is_lane)
            run->kernels->lanes_in[buffer->dtype](1, buffer->size, run->n_lanes,
                                                  (const char *)d->inputs[i] + instance * buffer->size * item,
                                                  (char *)b->workspace.base[p->input[i]] + lane * item);
    }
    b->rate[lane] = d->learning_rate[d->learning_rate_is_lane ? instance : 0];
    b->power[0][lane] = b->power[1][lane] = 1;
    for (int s = 0; s < updates[d->update].n_states; s++)
        for (int64_t i = 0; i < run->size; i++)
            set_element(run, b->state[s], i * run->n_lanes + lane, 0);
    if (d->keep_best) {
        const char *x = b->workspace.base[run->x];
        set_element(run, b->best_value, lane, __builtin_inf());
        for (int64_t i = lane; i < run->size * run->n_lanes; i += run->n_lanes)
            set_element(run, b->best_x, i, element(run, x, i));
    }
}

static void write_lane(descent_run *run, block *b, int64_t lane, int64_t nit, fg_outcome outcome) {
    const fg_descent *d = run->d;
    const int64_t instance = b->instance[lane];
    const char *x = d->keep_best ? b->best_x : b->workspace.base[run->x];
    run->kernels->lanes_out[run->dtype](1, run->size, run->n_lanes, x + lane * run->item,
                                        (char *)d->x + instance * run->size * run->item);
    d->nit[instance] = nit;
    d->outcome[instance] = (int32_t)outcome;
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

static void record(descent_run *run, block *b, int64_t now) {
    const fg_descent *d = run->d;
    const char *x = b->workspace.base[run->x];
    for (int64_t l = 0; l < run->n_lanes; l++) {
        const int64_t t = now - b->born[l];
        if (b->instance[l] < 0 || t % d->record_every)
            continue;
        const int64_t row = t / d->record_every * d->batch + b->instance[l];
        if (d->history_fun)
            set_element(run, d->history_fun, row, element(run, b->workspace.base[run->value], l));
        if (d->history_x)
            run->kernels->lanes_out[run->dtype](1, run->size, run->n_lanes, x + l * run->item,
                                                (char *)d->history_x + row * run->size * run->item);
    }
}

/* ---- the loop ------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t n_active, first_limit; /* the step at which the first active lane runs out of iterations */
    int together;                  /* all active lanes are at the same iteration */
} lanes_state;

static lanes_state survey(const descent_run *run, block *b) {
    lanes_state s = {.first_limit = INT64_MAX, .together = 1};
    int64_t first = -1;
    for (int64_t l = 0; l < run->n_lanes; l++) {
        if (b->instance[l] < 0)
            continue;
        first = s.n_active++ == 0 ? l : first;
        const int64_t most = INT64_MAX - b->born[l]; /* however large maxiter is */
        const int64_t limit = b->born[l] + (run->d->maxiter < most ? run->d->maxiter : most);
        s.first_limit = limit < s.first_limit ? limit : s.first_limit;
        s.together &= b->born[l] == b->born[first];
    }
    for (int i = 0; s.together && s.n_active && i < 2; i++)
        b->power[i][0] = b->power[i][first];
    return s;
}

/* Freezes the active lanes that stop here or are out of iterations; whether there are any. */
static int stop_lanes(const descent_run *run, block *b, int stops, int64_t now) {
    int any = 0;
    for (int64_t l = 0; !stops && l < run->n_lanes; l++)
        set_element(run, b->stop, l, 0);
    for (int64_t l = 0; l < run->n_lanes; l++)
        if (b->instance[l] >= 0 && (element(run, b->stop, l) != 0 || now - b->born[l] >= run->d->maxiter)) {
            set_element(run, b->frozen, l, 1);
            any = 1;
        }
    return any;
}

/* Writes out the frozen lanes and gives them the next instances. */
static void replace_stopped(descent_run *run, block *b, const lanes_state *state, int64_t now) {
    for (int64_t l = 1; state->together && l < run->n_lanes; l++)
        for (int i = 0; i < 2; i++)
            b->power[i][l] = b->power[i][0];
    for (int64_t l = 0; l < run->n_lanes; l++)
        if (b->instance[l] >= 0 && element(run, b->frozen, l) != 0) {
            const int stop = (int)element(run, b->stop, l);
            write_lane(run, b, l, now - b->born[l], stop ? (fg_outcome)(stop - 1) : FG_OUT_OF_ITERATIONS);
            fill_lane(run, b, l, now + 1);
        }
}

static void work_on_descent(void *context, int worker) {
    descent_run *run = context;
    const fg_descent *d = run->d;
    block *b = &run->blocks[worker];
    void *const *base = b->workspace.base;
    fg_check check = {
        .size = run->size, .n_lanes = run->n_lanes, .gradient = base[run->gradient], .gtol = d->gtol, .stop = b->stop};
    fg_step step = {.size = run->size,
                    .n_lanes = run->n_lanes,
                    .x = base[run->x],
                    .gradient = base[run->gradient],
                    .state = {b->state[0], b->state[1]},
                    .c = {b->c[0], b->c[1]},
                    .settings = d->settings};
    fg_prepare prepare = {.settings = d->settings,
                          .learning_rate = b->rate,
                          .power = {b->power[0], b->power[1]},
                          .c = {b->c[0], b->c[1]}};
    fg_watch *watch = fg_watch_for(d->program->cost * (double)run->n_lanes, &run->watch);
    int64_t now = 0, next_look = 0, look_every = 1;
    double last_look = fg_clock();
    for (int64_t l = 0; l < run->n_lanes; l++)
        fill_lane(run, b, l, 0);
    lanes_state state = survey(run, b);
    int fresh = 1; /* the coefficients are not those of the lanes */
    for (; state.n_active > 0 && !atomic_load_explicit(&run->watch.cancelled, memory_order_relaxed); now++) {
        fg_plan_run(run->plan, run->plan->n_uniform, run->plan->n_calls, base, watch, worker);
        if (d->record_every)
            record(run, b, now);
        if (d->keep_best)
            keep_best(run, b);
        if (fresh || updates[d->update].n_powers) {
            prepare.n = state.together && !d->learning_rate_is_lane ? 1 : run->n_lanes;
            run->kernels->prepare[d->update][run->dtype](&prepare);
            step.c_is_lane = prepare.n > 1;
            fresh = 0;
        }
        check.frozen = state.n_active < run->n_lanes ? b->frozen : NULL;
        const int stops = run->kernels->check[run->dtype](&check);
        const int changes = (stops || now >= state.first_limit) && stop_lanes(run, b, stops, now);
        step.frozen = changes || state.n_active < run->n_lanes ? b->frozen : NULL;
        run->kernels->step[d->update][run->dtype](&step);
        if (changes) {
            replace_stopped(run, b, &state, now);
            state = survey(run, b);
            fresh = 1;
        }
        if (worker == 0 && now >= next_look) { /* a look at the clock every 50 us to 1 ms */
            double time = fg_clock();
            look_every = time - last_look < 5e-5 ? 2 * look_every : time - last_look > 1e-3 ? 1 : look_every;
            last_look = time;
            next_look = now + look_every;
            fg_watch_look(&run->watch);
        }
    }
}

/* ---- the call ------------------------------------------------------------------------------------------- */

static void destroy_block(block *b) {
    fg_workspace_destroy(&b->workspace);
    void *owned[] = {b->instance, b->born, b->rate,     b->power[0], b->power[1], b->c[0],      b->c[1],
                     b->frozen,   b->stop, b->state[0], b->state[1], b->best_x,   b->best_value};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        fg_free(owned[i]);
}

static fg_status create_block(const descent_run *run, void *uniform, void *const *outputs, block *b, fg_error *error) {
    const fg_descent *d = run->d;
    const size_t lanes = (size_t)run->n_lanes, item = (size_t)run->item, point = lanes * (size_t)run->size;
    const int n_states = updates[d->update].n_states;
    fg_status status = fg_workspace_create(d->program, run->n_lanes, uniform, d->inputs, outputs, &b->workspace, error);
    if (status)
        return status;
    b->instance = fg_alloc(lanes, sizeof *b->instance);
    b->born = fg_alloc(lanes, sizeof *b->born);
    b->rate = fg_alloc(lanes, sizeof *b->rate);
    b->frozen = fg_alloc(lanes, item);
    b->stop = fg_alloc(lanes, item);
    b->best_x = fg_alloc(d->keep_best ? point : 0, item);
    b->best_value = fg_alloc(d->keep_best ? lanes : 0, item);
    int complete = b->instance && b->born && b->rate && b->frozen && b->stop && b->best_x && b->best_value;
    for (int i = 0; i < 2; i++) {
        b->power[i] = fg_alloc(lanes, sizeof *b->power[i]);
        b->c[i] = fg_alloc(lanes, item);
        b->state[i] = fg_alloc(i < n_states ? point : 0, item);
        complete = complete && b->power[i] && b->c[i] && b->state[i];
    }
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
    if (!value && (d->keep_best || d->history_fun))
        return fg_fail(error, FG_INVALID_VALUE, "recording or keeping the best needs the value");
    if (d->record_every && d->n_records <= d->maxiter / d->record_every)
        return fg_fail(error, FG_INVALID_VALUE, "the history has too few rows");
    return FG_OK;
}

fg_status fg_descend(const fg_descent *d, fg_poll poll, void *poll_context, fg_error *error) {
    fg_status status = check(d, error);
    if (status)
        return status;
    const fg_program *p = d->program;
    const fg_buffer *x = &p->buffers[p->input[0]];
    const int64_t state_bytes = updates[d->update].n_states * x->size * fg_item_size(x->dtype);
    descent_run run = {.d = d,
                       .kernels = fg_active_kernels(),
                       .n_lanes = fg_lanes_for(p, d->batch, state_bytes),
                       .size = x->size,
                       .dtype = x->dtype,
                       .item = (int)fg_item_size(x->dtype),
                       .x = p->input[0],
                       .value = p->n_outputs == 2 ? p->output[0] : -1,
                       .gradient = p->output[p->n_outputs - 1],
                       .watch = {.poll = poll, .context = poll_context}};
    const int n_workers =
        fg_workers_for(p->cost * (double)d->batch * (double)d->maxiter, (d->batch + run.n_lanes - 1) / run.n_lanes);
    void *no_outputs[2] = {NULL, NULL}; /* they stay in the blocks */
    fg_plan plan = {0};
    void *uniform = NULL;
    status = fg_plan_create(p, run.n_lanes, &plan, error);
    if (!status)
        status = fg_shared_create(p, &plan, d->inputs, no_outputs, &run.watch, &uniform, error);
    if (!status) {
        run.plan = &plan;
        run.blocks = fg_alloc((size_t)n_workers, sizeof *run.blocks);
        if (!run.blocks)
            status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d blocks", n_workers);
        for (int i = 0; !status && i < n_workers; i++)
            status = create_block(&run, uniform, no_outputs, &run.blocks[i], error);
    }
    if (!status) {
        fg_parallel(n_workers, work_on_descent, &run, &run.watch);
        if (atomic_load(&run.watch.cancelled))
            status = fg_fail(error, FG_CANCELLED, "cancelled");
    }
    for (int i = 0; run.blocks && i < n_workers; i++)
        destroy_block(&run.blocks[i]);
    fg_free(run.blocks);
    fg_free(uniform);
    fg_plan_destroy(&plan);
    return status;
}
