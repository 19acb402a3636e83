/* Repeating a program until each instance says stop: a worker takes a block of lanes and runs the program on it while
 * it sits in cache. A lane that stops is written out and takes the next instance of the queue, so no lane waits for the
 * slowest. What happens to an instance does not depend on its lane, its block or its neighbours. */
#include <stdatomic.h>

#include "alloc.h"
#include "machine.h"
#include "pool.h"
#include "status.h"

typedef struct {
    fg_workspace workspace;
    int64_t *instance;               /* of each lane, -1 when idle */
    int64_t *n_runs;                 /* of the lane's instance */
    int64_t n_active, active, total; /* lanes now; lane-runs so far */
} block;

typedef struct {
    const fg_iteration *it;
    const fg_plan *plan;
    block *blocks; /* one a worker */
    int64_t n_lanes;
    fg_watch watch;
    _Atomic int64_t next;
} iteration_run;

static const fg_buffer *state_buffer(const fg_program *p, int64_t i) { return &p->buffers[p->input[i]]; }

static double number(const fg_buffer *b, const void *array, int64_t i) {
    return b->dtype == FG_FLOAT32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}

/* Loads the next instance of the queue into a lane; when there is none, the lane idles from then on. */
static void fill_lane(iteration_run *run, block *b, int64_t lane) {
    const fg_iteration *it = run->it;
    const int64_t instance = atomic_fetch_add(&run->next, 1);
    b->instance[lane] = instance < it->batch ? instance : -1;
    b->n_runs[lane] = 0;
    if (instance >= it->batch)
        return;
    b->n_active++;
    fg_fill_lane(it->program, &b->workspace, run->n_lanes, lane, it->inputs, instance);
}

/* A state of a lane as the program's last run left it, to one of the callers' arrays. */
static void copy_out(const iteration_run *run, const block *b, int64_t i, int64_t lane, void *array, int64_t row) {
    const fg_buffer *state = state_buffer(run->it->program, i);
    const int64_t item = fg_item_size(state->dtype);
    fg_active_kernels()->lanes_out[state->dtype](
        1, state->size, run->n_lanes, (const char *)b->workspace.base[run->it->program->output[i]] + lane * item,
        (char *)array + row * state->size * item);
}

static void record(const iteration_run *run, const block *b) {
    const fg_iteration *it = run->it;
    const fg_buffer *counter = state_buffer(it->program, it->counter);
    const void *before = b->workspace.base[it->program->input[it->counter]];
    const void *after = b->workspace.base[it->program->output[it->counter]];
    for (int64_t l = 0; l < run->n_lanes; l++) {
        const double now = number(counter, after, l);
        const int is_first = b->n_runs[l] == 0 && now == 0;
        if (b->instance[l] < 0 || !(is_first || now > number(counter, before, l)))
            continue;
        const int64_t count = (int64_t)now, row = count / it->record_every;
        for (int64_t i = 0; count % it->record_every == 0 && row < it->n_records && i < it->n_state; i++)
            if (it->history[i])
                copy_out(run, b, i, l, it->history[i], row * it->batch + b->instance[l]);
    }
}

/* Writes out the lanes that stop; they idle until they are filled again. */
static void write_stopped(iteration_run *run, block *b) {
    const fg_iteration *it = run->it;
    const fg_buffer *flag = &it->program->buffers[it->program->output[it->n_state]];
    const void *flags = b->workspace.base[it->program->output[it->n_state]];
    for (int64_t l = 0; l < run->n_lanes; l++) {
        const double stop = number(flag, flags, l);
        if (b->instance[l] < 0 || (stop == 0 && ++b->n_runs[l] < it->max_runs))
            continue;
        for (int64_t i = 0; i < it->n_state; i++)
            if (it->results[i])
                copy_out(run, b, i, l, it->results[i], b->instance[l]);
        it->outcome[b->instance[l]] = (int32_t)stop - 1;
        atomic_fetch_add(&run->watch.done, 1);
        b->instance[l] = -1;
        b->n_active--;
    }
}

/* What the last run gave is what the next one starts from. */
static void swap_states(const fg_iteration *it, const block *b) {
    void **base = b->workspace.base;
    for (int64_t i = 0; i < it->n_state; i++) {
        void *before = base[it->program->input[i]];
        base[it->program->input[i]] = base[it->program->output[i]];
        base[it->program->output[i]] = before;
    }
}

static void work_on_iteration(void *context, int worker) {
    iteration_run *run = context;
    const fg_iteration *it = run->it;
    block *b = &run->blocks[worker];
    fg_watch *watch = fg_watch_for(it->program->cost * (double)run->n_lanes, &run->watch);
    for (int64_t l = 0; l < run->n_lanes; l++)
        fill_lane(run, b, l);
    while (b->n_active > 0) {
        fg_plan_run(run->plan, run->plan->n_uniform, run->plan->n_calls, b->workspace.base, watch, worker);
        if (atomic_load_explicit(&run->watch.cancelled, memory_order_relaxed))
            return;
        b->active += b->n_active;
        b->total += run->n_lanes;
        if (it->record_every)
            record(run, b);
        write_stopped(run, b);
        swap_states(it, b);
        for (int64_t l = 0; b->n_active < run->n_lanes && l < run->n_lanes; l++)
            if (b->instance[l] < 0 && atomic_load_explicit(&run->next, memory_order_relaxed) < it->batch)
                fill_lane(run, b, l);
        if (worker == 0)
            fg_watch_look(&run->watch);
    }
}

/* ---- the call ------------------------------------------------------------------------------------------- */

static fg_status check(const fg_iteration *it, fg_error *error) {
    const fg_program *p = it->program;
    if (it->batch < 1 || it->max_runs < 1 || it->record_every < 0)
        return fg_fail(error, FG_INVALID_VALUE, "batch, max_runs and record_every must not be negative or empty");
    if (it->n_state < 1 || it->n_state > p->n_inputs || it->n_state + 1 != p->n_outputs || it->counter < 0 ||
        it->counter >= it->n_state || state_buffer(p, it->counter)->size != 1)
        return fg_fail(error, FG_INVALID_VALUE, "the program's outputs are not a state with a counter, and a flag");
    for (int64_t i = 0; i < it->n_state; i++) {
        const fg_buffer *in = state_buffer(p, i), *out = &p->buffers[p->output[i]];
        if (!in->is_lane || !out->is_lane || in->size != out->size || in->dtype != out->dtype)
            return fg_fail(error, FG_INVALID_VALUE, "state %d is no lane value, or its result is not like it", (int)i);
    }
    const fg_buffer *flag = &p->buffers[p->output[it->n_state]];
    if (!flag->is_lane || flag->size != 1)
        return fg_fail(error, FG_INVALID_VALUE, "the flag is not one element of a lane");
    for (int64_t i = it->n_state; i < p->n_inputs; i++)
        if (!it->inputs[i])
            return fg_fail(error, FG_INVALID_VALUE, "input %d is missing", (int)i);
    return FG_OK;
}

FG_CHECKED static fg_status create_block(const iteration_run *run, fg_workspace workspace, block *b, fg_error *error) {
    b->workspace = workspace;
    b->instance = fg_alloc((size_t)run->n_lanes, sizeof *b->instance);
    b->n_runs = fg_alloc((size_t)run->n_lanes, sizeof *b->n_runs);
    return b->instance && b->n_runs
               ? FG_OK
               : fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a block of %d lanes", (int)run->n_lanes);
}

fg_status fg_iterate(const fg_iteration *it, fg_poll poll, void *poll_context, fg_error *error) {
    fg_status status = fg_refuse_across(it->program, error);
    if (!status)
        status = check(it, error);
    if (status)
        return status;
    const fg_program *p = it->program;
    /* a step of a method is many short instructions: longer rows are worth more than the nearest cache */
    enum { NEAR_BYTES = 512 << 10 };
    iteration_run run = {.it = it,
                         .n_lanes = fg_lanes_for(p, it->batch, 0, NEAR_BYTES),
                         .watch = {.poll = poll, .context = poll_context}};
    /* nobody knows how often: a few dozen times */
    const double guess = 30.0 < (double)it->max_runs ? 30.0 : (double)it->max_runs;
    const int n_workers =
        fg_workers_for(p->cost * (double)it->batch * guess, (it->batch + run.n_lanes - 1) / run.n_lanes);
    fg_team team;
    status = fg_team_create(p, run.n_lanes, n_workers, it->inputs, NULL, &run.watch, &team, error);
    if (status)
        return status;
    run.plan = &team.plan;
    run.blocks = fg_alloc((size_t)n_workers, sizeof *run.blocks);
    if (!run.blocks)
        status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d blocks", n_workers);
    for (int i = 0; !status && i < n_workers; i++)
        status = create_block(&run, team.workspaces[i], &run.blocks[i], error);
    if (!status)
        status = fg_team_run(&team, work_on_iteration, &run, &run.watch, error);
    it->runs[0] = it->runs[1] = 0;
    for (int i = 0; run.blocks && i < n_workers; i++) {
        it->runs[0] += run.blocks[i].active;
        it->runs[1] += run.blocks[i].total;
        fg_free(run.blocks[i].instance);
        fg_free(run.blocks[i].n_runs);
    }
    fg_free(run.blocks);
    fg_team_destroy(&team);
    return status;
}
