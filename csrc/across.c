/* Binds and runs sums over lanes; see across.h. */
#include "across.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

#define MOST_ROOM (INT64_C(1) << 40) /* bytes */
enum { ROW, COLUMN, DEPTH };         /* axes of lane_matmul */
enum { PANEL = 32 };                 /* columns of a panel: a tile of the product has no more */

fg_status fg_across_bind(const fg_program *p, int64_t n_lanes, fg_plan *plan, fg_error *error) {
    const fg_kernels *kernels = fg_active_kernels();
    if (p->n_across == 0)
        return FG_OK;
    plan->across = fg_alloc((size_t)p->n_across, sizeof *plan->across);
    if (!plan->across)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory to bind %lld sums", (long long)p->n_across);
    plan->n_across = p->n_across;
    for (int64_t i = 0; i < p->n_across; i++) {
        const fg_instruction *in = &p->instructions[p->n_instructions - p->n_across + i];
        const fg_buffer *out = &p->buffers[in->operand[0].buffer];
        const int is_matmul = in->op == FG_OP_lane_matmul;
        fg_across *sum = &plan->across[i];
        *sum = (fg_across){.rows = is_matmul ? in->shape[ROW] : out->size,
                           .row_size = is_matmul ? in->shape[COLUMN] : 1,
                           .output = out->position,
                           .op = in->op,
                           .dtype = in->dtype,
                           .item = (int)fg_item_size(in->dtype),
                           .n_dims = in->n_dims};
        sum->is_product = is_matmul && !(in->shape[COLUMN] == 1 && in->shape[DEPTH] == 1);
        if (sum->is_product)
            sum->kernel.gemm = kernels->gemm[in->dtype], sum->turn = kernels->lanes_out[in->dtype];
        else
            sum->kernel.sums = kernels->lane_sums[in->dtype];
        memcpy(sum->shape, in->shape, sizeof sum->shape);
        for (int k = 0; k < fg_op_arity(in->op); k++) {
            const fg_operand *o = &in->operand[1 + k];
            sum->buffer[k] = o->buffer;
            sum->offset[k] = o->offset * n_lanes * sum->item;
            for (int d = 0; d < in->n_dims; d++)
                sum->stride[k][d] = o->stride[d] * n_lanes;
        }
        int64_t step = n_lanes;
        sum->n_lanes = n_lanes;
        sum->is_packed = 1;
        for (int d = in->n_dims - 1; d >= 0; step *= in->shape[d], d--)
            sum->is_packed &= in->shape[d] == 1 || sum->stride[0][d] == step;
    }
    return FG_OK;
}

/* Elements from an operand's first to that of row `row`. */
static int64_t place_of(const fg_across *sum, int64_t row) {
    int64_t place = 0;
    for (int d = sum->n_dims - 1; d >= 0; d--) {
        place += row % sum->shape[d] * sum->stride[0][d];
        row /= sum->shape[d];
    }
    return place;
}

static void run_sum(const fg_across *sum, int64_t first, int64_t last, int64_t n, int accumulate, const char *a,
                    const char *b, char *result) {
    if (sum->is_packed) {
        const int64_t stride = sum->n_lanes;
        sum->kernel.sums(last - first, n, stride, accumulate, a + first * stride * sum->item, b, result);
        return;
    }
    for (int64_t row = first; row < last; row++, result += sum->item)
        sum->kernel.sums(1, n, 0, accumulate, a + place_of(sum, row) * sum->item, b, result);
}

int64_t fg_across_room(const fg_plan *plan, int64_t i) {
    const fg_across *sum = &plan->across[i];
    int64_t room = sum->item * sum->n_lanes;
    if (!sum->is_product)
        return 0;
    if (__builtin_mul_overflow(room, (sum->shape[COLUMN] + PANEL - 1) / PANEL * PANEL, &room) ||
        __builtin_mul_overflow(room, sum->shape[DEPTH], &room) || room > MOST_ROOM)
        return -1;
    return fg_round_up(room);
}

/* Columns that stand side by side are turned together, others one by one. */
void fg_across_turn(const fg_plan *plan, int64_t i, int64_t n, void *const *base, char *panels) {
    const fg_across *sum = &plan->across[i];
    const int64_t columns = sum->shape[COLUMN], step = sum->stride[1][COLUMN];
    if (!sum->is_product || sum->rows == 0)
        return;
    for (int64_t k = 0; k < sum->shape[DEPTH]; k++) {
        const char *b = (const char *)base[sum->buffer[1]] + sum->offset[1] + k * sum->stride[1][DEPTH] * sum->item;
        for (int64_t j = 0; j < columns; j += PANEL, panels += PANEL * sum->n_lanes * sum->item) {
            const int64_t some = columns - j < PANEL ? columns - j : PANEL;
            if (step == sum->n_lanes || some == 1)
                sum->turn(n, some, sum->n_lanes, b + j * step * sum->item, panels);
            else
                for (int64_t l = 0; l < n; l++)
                    for (int64_t c = 0; c < some; c++)
                        memcpy(panels + (l * some + c) * sum->item, b + ((j + c) * step + l) * sum->item,
                               (size_t)sum->item);
        }
    }
}

/* A panel of columns after the other, so that what they become stays near while all blocks are added to it. */
static void run_matmul(const fg_across *sum, int64_t first, int64_t last, int64_t n, int accumulate,
                       void *const *const *base, char *const *panels, char *result) {
    const int64_t columns = sum->shape[COLUMN], depth = sum->shape[DEPTH], n_panels = (columns + PANEL - 1) / PANEL;
    for (int64_t j = 0; j < n_panels; j++) {
        fg_gemm gemm = {.m = last - first,
                        .n = columns - j * PANEL < PANEL ? columns - j * PANEL : PANEL,
                        .a_row = sum->stride[0][ROW],
                        .a_column = 1,
                        .b_column = 1,
                        .c_row = columns,
                        .accumulate = accumulate};
        gemm.b_row = gemm.n;
        for (int64_t block = 0; block == 0 || block * sum->n_lanes < n; block++)
            for (int64_t k = 0; k == 0 || k < depth; k++) { /* once even without terms: then the result is zero */
                const int64_t left = n - block * sum->n_lanes;
                const char *a = (const char *)base[block][sum->buffer[0]] + sum->offset[0] +
                                (first * sum->stride[0][ROW] + k * sum->stride[0][DEPTH]) * sum->item;
                gemm.k = depth == 0 ? 0 : left < sum->n_lanes ? left : sum->n_lanes;
                sum->kernel.gemm(&gemm, a, panels[block] + (k * n_panels + j) * PANEL * sum->n_lanes * sum->item, NULL,
                                 result + j * PANEL * sum->item);
                gemm.accumulate = 1;
            }
    }
}

void fg_across_run(const fg_plan *plan, int64_t i, int64_t first, int64_t last, int64_t n, int accumulate,
                   void *const *const *base, char *const *panels, void *result) {
    const fg_across *sum = &plan->across[i];
    if (sum->is_product) {
        run_matmul(sum, first, last, n, accumulate, base, panels, result);
        return;
    }
    for (int64_t block = 0; block * sum->n_lanes < n; block++) {
        const int64_t left = n - block * sum->n_lanes;
        const char *a = (const char *)base[block][sum->buffer[0]] + sum->offset[0];
        const char *b = sum->op == FG_OP_lane_sum ? NULL : (const char *)base[block][sum->buffer[1]] + sum->offset[1];
        run_sum(sum, first, last, left < sum->n_lanes ? left : sum->n_lanes, accumulate || block > 0, a, b, result);
    }
}
