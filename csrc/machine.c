/* Runs programs for single instances, and for batches over blocks of lanes that workers share. */
#include "machine.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

/* ---- single instances ----------------------------------------------------------------------------------- */

struct fg_machine {
    const fg_program *program;
    fg_plan plan;
};

fg_status fg_machine_create(const fg_program *program, fg_machine **out, fg_error *error) {
    *out = NULL;
    fg_machine *machine = fg_alloc(1, sizeof *machine);
    if (!machine)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a machine");
    machine->program = program;
    fg_status status = fg_plan_create(program, 1, &machine->plan, error);
    if (status)
        fg_free(machine);
    else
        *out = machine;
    return status;
}

void fg_machine_destroy(fg_machine *machine) {
    if (machine)
        fg_plan_destroy(&machine->plan);
    fg_free(machine);
}

/* Where every buffer starts, given the arenas and the callers' arrays. */
static void place(const fg_program *p, char *uniform, char *lanes, int64_t n_lanes, const void *const *inputs,
                  void *const *outputs, void **base) {
    for (int64_t i = 0; i < p->n_buffers; i++) {
        const fg_buffer *b = &p->buffers[i];
        union {
            const void *read;
            void *write;
        } pointer; /* inputs and constants are only read: the verifier saw to it */
        switch (b->role) {
        case FG_INPUT:
            pointer.read = inputs[b->position];
            break;
        case FG_OUTPUT:
            pointer.write = outputs ? outputs[b->position] : NULL;
            break;
        case FG_CONSTANT:
            pointer.read = p->constants + b->position;
            break;
        default:
            pointer.write = b->is_lane ? lanes + b->position * n_lanes : uniform + b->position;
        }
        base[i] = pointer.write;
    }
}

fg_status fg_evaluate(const fg_machine *machine, const void *const *inputs, void *const *outputs, fg_poll poll,
                      void *poll_context, fg_error *error) {
    enum { SMALL_ARENA = 16 << 10, FEW_BUFFERS = 128 };
    const fg_program *p = machine->program;
    const fg_status refused = fg_refuse_across(p, error);
    if (refused)
        return refused;
    const int64_t uniform = fg_round_up(machine->plan.uniform_bytes);
    const int64_t values = uniform + fg_round_up(machine->plan.lane_bytes), bytes = values + fg_loop_memory(p, 1);
    char small[SMALL_ARENA] __attribute__((aligned(64)));
    void *few[FEW_BUFFERS];
    char *arena = bytes <= SMALL_ARENA ? small : fg_alloc((size_t)bytes, 1);
    void **base = p->n_buffers < FEW_BUFFERS ? few : fg_alloc((size_t)p->n_buffers + 1, sizeof *base);
    const int ready = arena && base;
    fg_watch watch = {.poll = poll, .context = poll_context};
    if (ready) {
        if (arena == small) /* as zeroed as the allocator's: nothing of the stack shows */
            memset(small, 0, (size_t)bytes);
        place(p, arena, arena + uniform, 1, inputs, outputs, base);
        base[p->n_buffers] = arena + values;
        fg_plan_run(&machine->plan, 0, machine->plan.n_calls, base, fg_watch_for(p->cost, &watch), 0);
    }
    if (arena != small)
        fg_free(arena);
    if (base != few)
        fg_free(base);
    if (!ready)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld bytes of values", (long long)bytes);
    return atomic_load(&watch.cancelled) ? fg_fail(error, FG_CANCELLED, "cancelled") : FG_OK;
}

/* ---- batches -------------------------------------------------------------------------------------------- */

static void destroy_workspace(fg_workspace *workspace) {
    fg_free(workspace->base);
    fg_free(workspace->arena);
}

/* On failure it is empty. */
FG_CHECKED static fg_status create_workspace(const fg_program *p, int64_t n_lanes, void *uniform,
                                             const void *const *inputs, void *const *outputs, fg_workspace *workspace,
                                             fg_error *error) {
    const int64_t loops = fg_round_up(p->lane_bytes * n_lanes);
    int64_t end = loops + fg_loop_memory(p, n_lanes), bytes = end;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        const fg_buffer *b = &p->buffers[i];
        if (b->is_lane && (b->role == FG_INPUT || b->role == FG_OUTPUT))
            bytes += (b->size * n_lanes * fg_item_size(b->dtype) + 63) / 64 * 64;
    }
    *workspace =
        (fg_workspace){fg_alloc((size_t)p->n_buffers + 1, sizeof *workspace->base), fg_alloc((size_t)bytes, 1)};
    if (!workspace->base || !workspace->arena) {
        destroy_workspace(workspace);
        *workspace = (fg_workspace){NULL, NULL};
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld bytes of values", (long long)bytes);
    }
    place(p, uniform, workspace->arena, n_lanes, inputs, outputs, workspace->base);
    workspace->base[p->n_buffers] = workspace->arena + loops;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        const fg_buffer *b = &p->buffers[i];
        if (b->is_lane && (b->role == FG_INPUT || b->role == FG_OUTPUT)) {
            workspace->base[i] = workspace->arena + end;
            end += (b->size * n_lanes * fg_item_size(b->dtype) + 63) / 64 * 64;
        }
    }
    return FG_OK;
}

/* The arena of the uniform values, computed. */
FG_CHECKED static fg_status create_uniform(const fg_program *p, const fg_plan *plan, const void *const *inputs,
                                           void *const *outputs, fg_watch *watch, void **uniform, fg_error *error) {
    fg_workspace workspace; /* of no lanes: the uniform buffers alone */
    *uniform = fg_alloc((size_t)p->uniform_bytes, 1);
    if (!*uniform)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld bytes of values", (long long)p->uniform_bytes);
    const fg_status status = create_workspace(p, 0, *uniform, inputs, outputs, &workspace, error);
    if (!status)
        fg_plan_run(plan, 0, plan->n_uniform, workspace.base, fg_watch_for(p->cost, watch), 0);
    destroy_workspace(&workspace);
    return status;
}

fg_status fg_team_create(const fg_program *p, int64_t n_lanes, int n_workers, const void *const *inputs,
                         void *const *outputs, fg_watch *watch, fg_team *team, fg_error *error) {
    *team = (fg_team){.n_workers = n_workers};
    fg_status status = fg_plan_create(p, n_lanes, &team->plan, error);
    if (!status)
        status = create_uniform(p, &team->plan, inputs, outputs, watch, &team->uniform, error);
    if (!status) {
        team->workspaces = fg_alloc((size_t)n_workers, sizeof *team->workspaces);
        if (!team->workspaces)
            status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d workspaces", n_workers);
    }
    for (int i = 0; !status && i < n_workers; i++)
        status = create_workspace(p, n_lanes, team->uniform, inputs, outputs, &team->workspaces[i], error);
    if (status)
        fg_team_destroy(team);
    return status;
}

fg_status fg_team_run(const fg_team *team, fg_task task, void *context, fg_watch *watch, fg_error *error) {
    fg_parallel(team->n_workers, task, context, watch);
    return atomic_load(&watch->cancelled) ? fg_fail(error, FG_CANCELLED, "cancelled") : FG_OK;
}

void fg_team_destroy(fg_team *team) {
    for (int i = 0; team->workspaces && i < team->n_workers; i++)
        destroy_workspace(&team->workspaces[i]);
    fg_free(team->workspaces);
    fg_free(team->uniform);
    fg_plan_destroy(&team->plan);
    *team = (fg_team){.n_workers = 0};
}

void fg_fill_lane(const fg_program *p, const fg_workspace *w, int64_t n_lanes, int64_t lane, const void *const *inputs,
                  int64_t instance) {
    for (int64_t i = 0; i < p->n_inputs; i++) {
        const fg_buffer *b = &p->buffers[p->input[i]];
        const int64_t item = fg_item_size(b->dtype);
        char *to = (char *)w->base[p->input[i]] + lane * item;
        if (b->is_lane && inputs[i])
            fg_active_kernels()->lanes_in[b->dtype](1, b->size, n_lanes,
                                                    (const char *)inputs[i] + instance * b->size * item, to);
        else if (b->is_lane)
            for (int64_t k = 0; k < b->size; k++)
                memset(to + k * n_lanes * item, 0, (size_t)item);
    }
}

typedef struct {
    const fg_program *program;
    const fg_plan *plan;
    const fg_lanes_kernel *lanes_in, *lanes_out; /* by dtype */
    fg_workspace *workspaces;                    /* one a worker */
    int64_t batch, n_lanes;
    const void *const *inputs;
    void *const *outputs;
    int lanes_innermost; /* in the callers' arrays too */
    fg_watch watch;
    _Atomic int64_t next;
} batch_run;

/* Rows of `bytes` from one matrix to another. */
static void copy_rows(int64_t n_rows, int64_t bytes, const char *from, int64_t from_row, char *to, int64_t to_row) {
    for (int64_t r = 0; r < n_rows; r++)
        memcpy(to + r * to_row, from + r * from_row, (size_t)bytes);
}

/* The lane inputs or outputs of instances start to start + n - 1 to or from a worker's block. */
static void move_lanes(const batch_run *run, const fg_workspace *w, int outputs, int64_t start, int64_t n) {
    const fg_program *p = run->program;
    for (int64_t i = 0; i < (outputs ? p->n_outputs : p->n_inputs); i++) {
        const int64_t number = outputs ? p->output[i] : p->input[i];
        const fg_buffer *b = &p->buffers[number];
        const int64_t item = fg_item_size(b->dtype), skip = start * item * (run->lanes_innermost ? 1 : b->size);
        char *block = w->base[number];
        if (!b->is_lane || (!outputs && !run->inputs[i]))
            continue;
        if (run->lanes_innermost && outputs)
            copy_rows(b->size, n * item, block, run->n_lanes * item, (char *)run->outputs[i] + skip, run->batch * item);
        else if (run->lanes_innermost)
            copy_rows(b->size, n * item, (const char *)run->inputs[i] + skip, run->batch * item, block,
                      run->n_lanes * item);
        else if (outputs)
            run->lanes_out[b->dtype](n, b->size, run->n_lanes, block, (char *)run->outputs[i] + skip);
        else
            run->lanes_in[b->dtype](n, b->size, run->n_lanes, (const char *)run->inputs[i] + skip, block);
    }
}

/* Writes `value` where the unit vectors of instances start to start + n - 1 have their ones. A block's inputs are zero
 * to begin with, and no instruction writes them, so what is reset after use serves the next instances. */
static void set_units(const batch_run *run, const fg_workspace *w, int64_t start, int64_t n, double value) {
    const fg_program *p = run->program;
    int64_t first = 0; /* number of the input's first element among all */
    for (int64_t i = 0; i < p->n_inputs; i++) {
        const fg_buffer *b = &p->buffers[p->input[i]];
        if (!b->is_lane || run->inputs[i])
            continue;
        const int64_t from = start > first ? start : first;
        const int64_t to = start + n < first + b->size ? start + n : first + b->size;
        for (int64_t one = from; one < to; one++) {
            const int64_t place = (one - first) * run->n_lanes + one - start;
            if (b->dtype == FG_FLOAT64)
                ((double *)w->base[p->input[i]])[place] = value;
            else
                ((float *)w->base[p->input[i]])[place] = (float)value;
        }
        first += b->size;
    }
}

static void work_on_batch(void *context, int worker) {
    batch_run *run = context;
    const fg_workspace *w = &run->workspaces[worker];
    for (;;) {
        int64_t start = atomic_fetch_add(&run->next, run->n_lanes);
        if (start >= run->batch || atomic_load(&run->watch.cancelled)) {
            atomic_thread_fence(memory_order_seq_cst); /* stores past the caches have arrived */
            return;
        }
        int64_t n = run->batch - start < run->n_lanes ? run->batch - start : run->n_lanes;
        move_lanes(run, w, 0, start, n);
        set_units(run, w, start, n, 1.0);
        fg_plan_run(run->plan, run->plan->n_uniform, run->plan->n_calls, w->base,
                    fg_watch_for(run->program->cost * (double)run->n_lanes, &run->watch), worker);
        set_units(run, w, start, n, 0.0);
        move_lanes(run, w, 1, start, n);
        atomic_fetch_add(&run->watch.done, n);
        if (worker == 0)
            fg_watch_look(&run->watch);
    }
}

/* Bytes of the matrices by which lane values are multiplied. */
static int64_t matrix_bytes(const fg_program *p) {
    int64_t bytes = 0;
    for (int64_t i = p->n_uniform; i < p->n_instructions; i++) {
        const fg_instruction *in = &p->instructions[i];
        if (in->op == FG_OP_matmul || in->op == FG_OP_matmul_add)
            for (int k = 1; k <= 2; k++) {
                const fg_buffer *b = &p->buffers[in->operand[k].buffer];
                bytes += b->is_lane ? 0 : b->size * fg_item_size(b->dtype);
            }
    }
    return bytes;
}

/* A block's live values should stay within near_bytes; where even 16 lanes do not fit there (large instances), they
 * still pay as long as L2 holds them; past that one instance alone fills the vectors. A small batch is cut into several
 * blocks. An odd multiple of 16: rows a power of two apart would share few cache sets, and their loads would wait for
 * stores to other rows that agree in the low bits of the address. Of loops, a step's values should stay in L1 and the
 * memory of inner loops in L2; what the outermost pass through only bounds the memory of a block. */
int64_t fg_lanes_for(const fg_program *p, int64_t batch, int64_t more_bytes, int64_t near_bytes) {
    enum {
        L2_BYTES = 2 << 20,
        MOST = 31,
        UNIT = 16,
        BLOCKS = 8,
        BLOCK_BYTES = 32 << 20,
        FAR_BYTES = 8 << 10,
        LONG = 8
    };
    int64_t bytes = p->lane_bytes + p->lane_loop_bytes + more_bytes;
    for (int64_t i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].is_lane && (p->buffers[i].role == FG_INPUT || p->buffers[i].role == FG_OUTPUT))
            bytes += p->buffers[i].size * fg_item_size(p->buffers[i].dtype);
    const int64_t live = p->lane_loop_bytes ? p->lane_step_bytes + more_bytes : bytes;
    const int64_t near = p->lane_loop_bytes ? p->lane_loop_bytes + more_bytes : bytes;
    if (batch == 1 || UNIT * near > L2_BYTES || UNIT * bytes > 8 * (int64_t)BLOCK_BYTES)
        return 1;
    int64_t units = live ? near_bytes / (UNIT * live) : MOST;
    if (UNIT * units * near > L2_BYTES)
        units = L2_BYTES / (UNIT * near);
    if (UNIT * units * bytes > BLOCK_BYTES)
        units = BLOCK_BYTES / (UNIT * bytes);
    const int64_t enough = batch / (UNIT * BLOCKS), long_enough = matrix_bytes(p) / FAR_BYTES;
    units = units < enough ? units : enough;
    units = units < MOST ? units : MOST;
    units = units < 1 ? 1 : units - (units % 2 == 0);
    if (units < long_enough) { /* large matrices are read once a block, and their products are long rows */
        units = batch / (2 * UNIT) < LONG ? batch / (2 * UNIT) : LONG;
        units = units < long_enough ? units : long_enough;
        while (UNIT * units * near > 2 * L2_BYTES)
            units /= 2;
    }
    return UNIT * (units < 1 ? 1 : units);
}

/* Nanoseconds of one instance, roughly, with the way of its elements to and from a block. */
static double instance_cost(const fg_program *p) {
    const double a_move = 0.4;
    double cost = p->cost;
    for (int64_t i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].is_lane && (p->buffers[i].role == FG_INPUT || p->buffers[i].role == FG_OUTPUT))
            cost += a_move * (double)p->buffers[i].size;
    return cost;
}

/* Large results had better not pass through the caches: nobody finds them there later. Pages that the system is to
 * clear first do pass through them. */
static const fg_lanes_kernel *lanes_out_for(const fg_program *p, int64_t batch, void *const *outputs) {
    enum { LARGE = 24 << 20 }; /* bytes: 17 MB took 1.1 of the time of plain stores, 35 MB 0.9 */
    double bytes = 0;
    for (int64_t i = 0; i < p->n_outputs; i++) {
        const fg_buffer *b = &p->buffers[p->output[i]];
        const double here = b->is_lane ? (double)batch * (double)(b->size * fg_item_size(b->dtype)) : 0;
        if (here > LARGE && fg_is_new((char *)outputs[i] + (int64_t)here / 2))
            return fg_active_kernels()->lanes_out;
        bytes += here;
    }
    return bytes > LARGE ? fg_active_kernels()->lanes_away : fg_active_kernels()->lanes_out;
}

static fg_status evaluate_batch(const fg_program *program, int64_t batch, const void *const *inputs,
                                void *const *outputs, int lanes_innermost, fg_poll poll, void *poll_context,
                                fg_error *error) {
    if (batch < 1)
        return fg_fail(error, FG_INVALID_VALUE, "the batch must have at least one instance");
    fg_status status = fg_refuse_across(program, error);
    if (status)
        return status;
    const int64_t n_lanes = fg_lanes_for(program, batch, 0, FG_L1_BYTES);
    const int n_workers = fg_workers_for(instance_cost(program) * (double)batch, (batch + n_lanes - 1) / n_lanes);
    batch_run run = {.program = program,
                     .lanes_in = fg_active_kernels()->lanes_in,
                     .lanes_out = lanes_out_for(program, batch, outputs),
                     .batch = batch,
                     .n_lanes = n_lanes,
                     .inputs = inputs,
                     .outputs = outputs,
                     .lanes_innermost = lanes_innermost,
                     .watch = {.poll = poll, .context = poll_context}};
    fg_team team;
    status = fg_team_create(program, n_lanes, n_workers, inputs, outputs, &run.watch, &team, error);
    if (status)
        return status;
    run.plan = &team.plan;
    run.workspaces = team.workspaces;
    status = fg_team_run(&team, work_on_batch, &run, &run.watch, error);
    fg_team_destroy(&team);
    return status;
}

fg_status fg_evaluate_batch(const fg_program *program, int64_t batch, const void *const *inputs, void *const *outputs,
                            fg_poll poll, void *poll_context, fg_error *error) {
    return evaluate_batch(program, batch, inputs, outputs, 0, poll, poll_context, error);
}

fg_status fg_evaluate_directions(const fg_program *program, int64_t n_directions, const void *const *inputs,
                                 void *const *outputs, int lanes_innermost, fg_poll poll, void *poll_context,
                                 fg_error *error) {
    return evaluate_batch(program, n_directions, inputs, outputs, lanes_innermost, poll, poll_context, error);
}
