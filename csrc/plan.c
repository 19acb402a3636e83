/* Binds instructions to kernels and runs them.
 *
 * Binding turns an instruction's axes into loops. In a block of L lanes every stride of a lane value is multiplied by
 * L and one more axis, the lanes, is innermost; from there on lanes are an axis like any other. Axes that lie together
 * in memory are merged, the last ones become the kernel's rows and width, and the rest are loops around it. */
#include "plan.h"

#include <string.h>

#include "across.h"
#include "alloc.h"
#include "loop.h"
#include "status.h"
#include "tiles.h"

/* ---- axes ----------------------------------------------------------------------------------------------- */

enum { MAX_AXES = FG_MAX_DIMS + 1, N_OPERANDS = 1 + FG_MAX_INPUTS };

typedef struct {
    int n;
    int64_t size[MAX_AXES];
    int64_t stride[MAX_AXES][N_OPERANDS]; /* elements */
} axes;

/* The axes of an instruction from `first` to `last` - 1, and the lanes; those of size 1 left out, and those that are
 * one run of memory for every operand merged. */
static axes axes_of(const fg_program *p, const fg_instruction *in, int first, int last, int64_t n_lanes) {
    const int n_operands = 1 + fg_op_arity(in->op);
    axes a = {0};
    for (int d = first; d <= last; d++) {
        int64_t size = d < last ? in->shape[d] : n_lanes, stride[N_OPERANDS] = {0};
        if (size == 1)
            continue;
        for (int i = 0; i < n_operands; i++) {
            int is_lane = p->buffers[in->operand[i].buffer].is_lane;
            stride[i] = d == last ? is_lane : in->operand[i].stride[d] * (is_lane ? n_lanes : 1);
        }
        int merges = a.n > 0;
        for (int i = 0; merges && i < n_operands; i++)
            merges = a.stride[a.n - 1][i] == stride[i] * size;
        if (merges)
            a.size[a.n - 1] *= size;
        else
            a.size[a.n++] = size;
        memcpy(a.stride[a.n - 1], stride, sizeof stride);
    }
    return a;
}

/* Takes the innermost axis off; an axis of size 1 when none is left. */
static int64_t pop(axes *a, int64_t stride[N_OPERANDS]) {
    if (a->n == 0) {
        memset(stride, 0, N_OPERANDS * sizeof *stride);
        return 1;
    }
    a->n--;
    memcpy(stride, a->stride[a->n], N_OPERANDS * sizeof *stride);
    return a->size[a->n];
}

static void set_outer(fg_call *call, const axes *a) {
    call->n_outer = a->n;
    for (int d = 0; d < a->n; d++) {
        call->outer_shape[d] = a->size[d];
        for (int i = 0; i <= call->arity; i++)
            call->outer_step[d][i] = a->stride[d][i] * call->item_size[i];
    }
}

/* ---- running a call ------------------------------------------------------------------------------------- */

static void run_rows(const fg_call *call, void *const *operand) { call->kernel.rows(&call->shape.rows, operand); }
static void run_fold(const fg_call *call, void *const *operand) { call->kernel.fold(&call->shape.fold, operand); }
static void run_core(const fg_call *call, void *const *operand) { call->kernel.core(&call->shape.core, operand); }
static void run_gemm(const fg_call *call, void *const *operand) {
    call->kernel.gemm(&call->shape.gemm, operand[1], operand[2], call->arity == 3 ? operand[3] : NULL, operand[0]);
}

/* The same for a piece of a call over one axis. */
static void rows_piece(const fg_call *call, int64_t n, void *const *operand) {
    fg_rows rows = call->shape.rows;
    rows.width = n;
    call->kernel.rows(&rows, operand);
}

static void fold_piece(const fg_call *call, int64_t n, void *const *operand) {
    fg_fold fold = call->shape.fold;
    fold.n = n;
    call->kernel.fold(&fold, operand);
}

/* Copies n elements between strided places of one element size. */
static void copy_strided(int64_t n, int item, const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    if (item == 8)
        for (int64_t i = 0; i < n; i++)
            memcpy(to + 8 * i * to_stride, from + 8 * i * from_stride, 8);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + 4 * i * to_stride, from + 4 * i * from_stride, 4);
}

/* Elementwise along an axis that some operand does not have contiguous: piece by piece through packed copies, so that
 * the same vector code gives the same bits. */
static void run_packed(const fg_call *call, void *const *operand) {
    enum { PIECE = 256 };
    char packed[N_OPERANDS][PIECE * 8] __attribute__((aligned(64)));
    fg_rows rows = call->shape.rows;
    const int64_t width = rows.width;
    const int item = call->item_size[0];
    for (int64_t start = 0; start < width; start += PIECE) {
        void *place[N_OPERANDS];
        rows.width = width - start < PIECE ? width - start : PIECE;
        for (int i = 0; i <= call->arity; i++) {
            place[i] = (char *)operand[i] + start * call->inner[i] * item;
            if (call->inner[i] == 0 || call->inner[i] == 1)
                continue;
            if (i > 0)
                copy_strided(rows.width, item, place[i], call->inner[i], packed[i], 1);
            place[i] = packed[i];
        }
        call->kernel.rows(&rows, place);
        if (place[0] == packed[0])
            copy_strided(rows.width, item, packed[0], 1, (char *)operand[0] + start * call->inner[0] * item,
                         call->inner[0]);
    }
}

static void cast_piece(const fg_call *call, int64_t n, void *const *operand) {
    const int64_t out = call->inner[0], in = call->inner[1];
    if (call->dtype == FG_FLOAT32)
        for (int64_t i = 0; i < n; i++)
            ((float *)operand[0])[i * out] = (float)((const double *)operand[1])[i * in];
    else
        for (int64_t i = 0; i < n; i++)
            ((double *)operand[0])[i * out] = (double)((const float *)operand[1])[i * in];
}

static void run_cast(const fg_call *call, void *const *operand) { cast_piece(call, call->shape.rows.width, operand); }

static void run_gather(const fg_call *call, void *const *operand) {
    const size_t bytes = (size_t)call->n_lanes * (size_t)call->item_size[0];
    const int64_t *table = operand[2];
    for (int64_t i = 0; i < call->shape.n; i++)
        memcpy((char *)operand[0] + (size_t)i * bytes, (const char *)operand[1] + (size_t)table[i] * bytes, bytes);
}

static void run_scatter_add(const fg_call *call, void *const *operand) {
    const int64_t *table = operand[2], n_lanes = call->n_lanes;
    for (int64_t i = 0; i < call->shape.n; i++)
        for (int64_t l = 0; l < n_lanes; l++)
            if (call->dtype == FG_FLOAT32)
                ((float *)operand[0])[table[i] * n_lanes + l] += ((const float *)operand[1])[i * n_lanes + l];
            else
                ((double *)operand[0])[table[i] * n_lanes + l] += ((const double *)operand[1])[i * n_lanes + l];
}

static void run_chain(const fg_call *call, void *const *operand) {
    const fg_chain *chain = &call->shape.chain;
    if (chain->accumulate)
        copy_strided(chain->width, call->item_size[0], operand[3], call->inner[3], operand[0], 1);
    call->kernel.chain(chain, operand);
}

/* The loops around a kernel. */
static void run_outer(const fg_call *call, int axis, void *const *operand) {
    if (axis == call->n_outer) {
        call->run(call, operand);
        return;
    }
    void *moved[N_OPERANDS];
    memcpy(moved, operand, sizeof moved);
    for (int64_t i = 0; i < call->outer_shape[axis]; i++) {
        run_outer(call, axis + 1, moved);
        for (int k = 0; k <= call->arity; k++)
            moved[k] = (char *)moved[k] + call->outer_step[axis][k];
    }
}

fg_watch *fg_watch_for(double nanoseconds, fg_watch *watch) { return nanoseconds > 1e6 ? watch : NULL; }

void fg_call_run(const fg_call *call, void *const *base) {
    void *operand[N_OPERANDS];
    for (int i = 0; i < N_OPERANDS; i++) /* those past the arity repeat the first input: no branch */
        operand[i] = (char *)base[call->buffer[i]] + call->offset[i];
    if (call->n_outer)
        run_outer(call, 0, operand);
    else
        call->run(call, operand);
}

void fg_plan_run(const fg_plan *plan, int64_t first, int64_t last, void *const *base, fg_watch *watch, int worker) {
    const fg_group *group = plan->groups, *end = group + plan->n_groups;
    while (group < end && group->first < first)
        group++;
    while (first < last) {
        const fg_call *call = &plan->calls[first];
        if (group < end && group->first == first) {
            fg_tiles_run(group, base, watch, worker);
            first = group++->last;
        } else {
            if (call->loop)
                fg_loop_run(call->loop, base, watch, worker);
            else
                fg_call_run(call, base);
            first++;
        }
        if (watch) {
            if (worker == 0)
                fg_watch_look(watch);
            if (atomic_load(&watch->cancelled))
                return;
        }
    }
}

/* ---- binding -------------------------------------------------------------------------------------------- */

static int fits(int64_t stride) { return stride == 0 || stride == 1; }

static void bind_elementwise(fg_call *call, const fg_kernels *kernels, const fg_instruction *in, axes a) {
    fg_rows *rows = &call->shape.rows;
    int64_t stride[N_OPERANDS];
    rows->width = pop(&a, stride);
    memcpy(call->inner, stride, sizeof stride);
    if (in->op == FG_OP_cast) {
        call->run = run_cast;
        call->piece = cast_piece;
        call->flat = a.n == 0 && (rows->width == 1 || (stride[0] == 1 && fits(stride[1]))) ? rows->width : 0;
        set_outer(call, &a);
        return;
    }
    call->kernel.rows = kernels->rows[in->op][in->dtype];
    int direct = rows->width == 1 || stride[0] == 1;
    for (int i = 1; i <= call->arity; i++) {
        direct &= fits(stride[i]);
        rows->splat |= stride[i] == 0 && rows->width > 1 ? 1u << (i - 1) : 0u;
    }
    rows->n_rows = 1;
    call->run = direct ? run_rows : run_packed;
    call->piece = rows_piece;
    call->flat = direct && a.n == 0 ? rows->width : 0;
    if (direct)
        rows->n_rows = pop(&a, rows->stride);
    set_outer(call, &a);
}

/* Takes off the innermost axis if a kernel can have it as its width: contiguous for the result, and for each operand
 * contiguous or, as `splat` tells, not there. */
static int64_t pop_width(axes *a, int arity, unsigned *splat) {
    int64_t stride[N_OPERANDS];
    int wide = a->n > 0 && a->stride[a->n - 1][0] == 1;
    for (int i = 1; wide && i <= arity; i++)
        wide = fits(a->stride[a->n - 1][i]);
    if (!wide)
        return 1;
    const int64_t width = pop(a, stride);
    for (int i = 1; i <= arity; i++)
        *splat |= stride[i] == 0 ? 1u << (i - 1) : 0u;
    return width;
}

static void bind_fold(fg_call *call, const fg_kernels *kernels, const fg_program *p, const fg_instruction *in,
                      int64_t n_lanes) {
    fg_fold *fold = &call->shape.fold;
    axes a = axes_of(p, in, 0, in->n_dims - 1, n_lanes);
    const int reduced = in->n_dims - 1;
    call->run = run_fold;
    call->kernel.fold = kernels->fold[in->op][in->dtype];
    fold->n = in->shape[reduced];
    for (int i = 0; i < 2; i++) {
        const fg_operand *o = &in->operand[i < call->arity ? 1 + i : 1];
        fold->stride[i] = o->stride[reduced] * (p->buffers[o->buffer].is_lane ? n_lanes : 1);
    }
    if (a.n == 0) {
        call->piece = fold_piece;
        call->join = kernels->fold[in->op == FG_OP_dot ? FG_OP_sum : in->op][in->dtype];
        call->flat = fold->n;
        memcpy(&call->inner[1], fold->stride, sizeof fold->stride);
    }
    fold->width = pop_width(&a, call->arity, &fold->splat);
    if (call->arity == 1)
        fold->splat |= fold->splat << 1;
    set_outer(call, &a);
}

static void bind_core(fg_call *call, const fg_kernels *kernels, const fg_program *p, const fg_instruction *in,
                      int64_t n_lanes) {
    fg_core *core = &call->shape.core;
    const int n_core = fg_op_core_axes(in->op), lead = in->n_dims - n_core;
    axes a = axes_of(p, in, 0, lead, n_lanes);
    call->run = run_core;
    call->kernel.core = kernels->core[in->op][in->dtype];
    for (int d = 0; d < n_core; d++) {
        core->size[d] = in->shape[lead + d];
        for (int i = 0; i <= call->arity; i++)
            core->stride[i][d] =
                in->operand[i].stride[lead + d] * (p->buffers[in->operand[i].buffer].is_lane ? n_lanes : 1);
    }
    core->width = pop_width(&a, call->arity, &core->splat);
    set_outer(call, &a);
}

/* The kernel wants a result of contiguous rows. So a lane value must stand right, and a single column is better a row:
 * in both cases the product is computed transposed. */
static void bind_matmul(fg_call *call, const fg_kernels *kernels, const fg_program *p, const fg_instruction *in,
                        int64_t n_lanes) {
    enum { BATCH, ROW, COLUMN, DEPTH };
    int64_t stride[4][4] = {{0}};
    int is_lane[4] = {0};
    for (int i = 0; i <= call->arity; i++) {
        is_lane[i] = n_lanes > 1 && p->buffers[in->operand[i].buffer].is_lane;
        for (int d = 0; d < 4; d++)
            stride[i][d] = in->operand[i].stride[d] * (is_lane[i] ? n_lanes : 1);
    }
    if (is_lane[1] && is_lane[2]) { /* no matrix to load once for all lanes */
        call->run = run_chain;
        call->kernel.chain = kernels->chain[in->dtype];
        call->shape.chain = (fg_chain){.n = in->shape[DEPTH],
                                       .width = n_lanes,
                                       .stride = {stride[1][DEPTH], stride[2][DEPTH]},
                                       .accumulate = call->arity == 3};
        call->inner[3] = is_lane[3];
        call->n_outer = 3;
        for (int d = BATCH; d <= COLUMN; d++) {
            call->outer_shape[d] = in->shape[d];
            for (int k = 0; k <= call->arity; k++)
                call->outer_step[d][k] = stride[k][d] * call->item_size[0];
        }
        return;
    }
    const int rows_are_far = in->shape[ROW] > 1 && stride[0][ROW] != 1;
    const int columns_are_far = in->shape[COLUMN] > 1 ? stride[0][COLUMN] != 1 : in->shape[ROW] > 1;
    const int transposed = is_lane[1] || (!is_lane[2] && columns_are_far && !rows_are_far);
    const int left = transposed ? 2 : 1, right = 3 - left;
    const int row = transposed ? COLUMN : ROW, column = transposed ? ROW : COLUMN;
    if (transposed) {
        int64_t buffer = call->buffer[1], offset = call->offset[1];
        call->buffer[1] = call->buffer[2], call->offset[1] = call->offset[2];
        call->buffer[2] = buffer, call->offset[2] = offset;
    }

    const int64_t step = is_lane[right] ? n_lanes : 1; /* of neighbouring columns in memory */
    const int64_t along_n = stride[right][column];
    /* what the sums start from: alike for all lanes, or going on with them from column to column */
    const int64_t start_column = is_lane[right] ? is_lane[3] : stride[3][column];
    const int starts_fit = is_lane[right] ? stride[3][column] == start_column * step : fits(start_column);
    /* columns as loops around the kernel, when only the lanes are contiguous, or nothing is */
    const int is_apart =
        in->shape[column] > 1 && (stride[0][column] != step || !starts_fit || (is_lane[right] && along_n != step));
    call->kernel.gemm = kernels->gemm[in->dtype];
    call->run = run_gemm;
    call->shape.gemm = (fg_gemm){.m = in->shape[row],
                                 .n = is_apart ? step : in->shape[column] * step,
                                 .k = in->shape[DEPTH],
                                 .a_row = stride[left][row],
                                 .a_column = stride[left][DEPTH],
                                 .b_row = stride[right][DEPTH],
                                 .b_column = is_lane[right] ? 1 : along_n,
                                 .c_row = stride[0][row],
                                 .start_row = stride[3][row],
                                 .start_column = start_column};
    const int loops[2] = {BATCH, column}, operand[4] = {0, left, right, 3};
    for (int i = 0; i < 1 + is_apart; i++)
        if (in->shape[loops[i]] != 1) {
            const int n = call->n_outer++;
            call->outer_shape[n] = in->shape[loops[i]];
            for (int k = 0; k <= call->arity; k++)
                call->outer_step[n][k] = stride[operand[k]][loops[i]] * call->item_size[0];
        }
}

/* Lays out one instruction; 0 when it has nothing to do. */
static int bind(fg_call *call, const fg_kernels *kernels, const fg_program *p, const fg_instruction *in,
                int64_t n_lanes) {
    *call = (fg_call){.arity = fg_op_arity(in->op), .dtype = in->dtype, .n_lanes = n_lanes};
    const fg_op_kind kind = fg_op_kind_of(in->op);
    const int is_sum = fg_op_reduces(in->op);
    for (int d = 0; d < in->n_dims - is_sum; d++)
        if (in->shape[d] == 0)
            return 0;
    for (int i = 0; i < N_OPERANDS; i++) {
        const fg_operand *o = &in->operand[i <= call->arity ? i : 1];
        const fg_buffer *b = &p->buffers[o->buffer];
        call->item_size[i] = (int)fg_item_size(b->dtype);
        call->buffer[i] = o->buffer;
        call->offset[i] = o->offset * call->item_size[i] * (b->is_lane ? n_lanes : 1);
    }
    if (kind == FG_ELEMENTWISE || in->op == FG_OP_cast)
        bind_elementwise(call, kernels, in, axes_of(p, in, 0, in->n_dims, n_lanes));
    else if (in->op == FG_OP_matmul || in->op == FG_OP_matmul_add)
        bind_matmul(call, kernels, p, in, n_lanes);
    else if (kind == FG_GENERALISED)
        bind_core(call, kernels, p, in, n_lanes);
    else if (is_sum)
        bind_fold(call, kernels, p, in, n_lanes);
    else {
        call->run = in->op == FG_OP_gather ? run_gather : run_scatter_add;
        call->shape.n = in->shape[0];
    }
    return 1;
}

fg_status fg_plan_create(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error) {
    const fg_kernels *kernels = fg_active_kernels();
    *plan = (fg_plan){.calls = fg_alloc((size_t)program->n_instructions, sizeof *plan->calls)};
    if (!plan->calls)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory to bind %lld instructions",
                       (long long)program->n_instructions);
    const int64_t n_instructions = program->n_instructions - program->n_across;
    for (int64_t i = 0; i < n_instructions; i++) {
        const fg_instruction *in = &program->instructions[i];
        const int64_t lanes = i < program->n_uniform ? 1 : n_lanes;
        fg_call *call = &plan->calls[plan->n_calls];
        plan->n_uniform = i == program->n_uniform ? plan->n_calls : plan->n_uniform;
        if (in->loop) {
            fg_status status = fg_loop_create(program, in, lanes, &call->loop, error);
            if (status) {
                fg_plan_destroy(plan);
                return status;
            }
            plan->n_calls++;
        } else
            plan->n_calls += bind(call, kernels, program, in, lanes);
        call->instruction = i;
    }
    if (program->n_uniform == n_instructions)
        plan->n_uniform = plan->n_calls;
    plan->uniform_bytes = program->uniform_bytes;
    plan->lane_bytes = program->lane_bytes;
    fg_status status = fg_across_bind(program, n_lanes, plan, error);
    if (!status)
        status = fg_tiles_find(program, n_lanes, plan, error);
    if (status)
        fg_plan_destroy(plan);
    return status;
}

void fg_plan_destroy(fg_plan *plan) {
    for (int64_t i = 0; i < plan->n_calls; i++)
        fg_loop_destroy(plan->calls[i].loop);
    fg_free(plan->calls);
    fg_free(plan->across);
    fg_free(plan->groups);
    fg_free(plan->parts);
    *plan = (fg_plan){0};
}
