/* What keeps an instruction inside its buffers: ranges, overflow, aliasing, kinds. */
#include "program.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

#define REFUSE(...) return fg_fail(error, FG_INVALID_PROGRAM, __VA_ARGS__)

/* First and last element of the buffer that an operand touches; 0 when outside it. */
static int operand_range(const fg_program *p, const fg_instruction *in, const fg_operand *o, int64_t *low,
                         int64_t *high) {
    *low = *high = o->offset;
    for (int d = 0; d < in->n_dims; d++) {
        int64_t reach; /* |stride| and extent are at most 2^30 */
        if (__builtin_mul_overflow(o->stride[d], in->shape[d] - 1, &reach) ||
            __builtin_add_overflow(reach < 0 ? *low : *high, reach, reach < 0 ? low : high))
            return 0;
    }
    return *low >= 0 && *high < p->buffers[o->buffer].size;
}

/* Whether no two positions of the instruction's axes (a reduced one, of stride 0, aside) write one element. */
static int writes_once(const fg_instruction *in, int n_axes) {
    int64_t reach = 0; /* of the axes seen, smallest stride first */
    uint32_t seen = 0;
    for (int i = 0; i < n_axes; i++) {
        int best = -1;
        for (int d = 0; d < n_axes; d++) {
            int64_t s = in->operand[0].stride[d] < 0 ? -in->operand[0].stride[d] : in->operand[0].stride[d];
            int64_t t = best < 0                          ? 0
                        : in->operand[0].stride[best] < 0 ? -in->operand[0].stride[best]
                                                          : in->operand[0].stride[best];
            if (!(seen >> d & 1u) && (best < 0 || s < t))
                best = d;
        }
        seen |= 1u << best;
        int64_t s = in->operand[0].stride[best] < 0 ? -in->operand[0].stride[best] : in->operand[0].stride[best];
        if (in->shape[best] == 1)
            continue;
        if (s <= reach)
            return 0;
        reach += s * (in->shape[best] - 1);
    }
    return 1;
}

static int same_place(const fg_instruction *in, const fg_buffer *ba, const fg_operand *a, const fg_buffer *bb,
                      const fg_operand *b) {
    if (ba->position != bb->position || ba->dtype != bb->dtype || a->offset != b->offset)
        return 0;
    for (int d = 0; d < in->n_dims; d++)
        if (in->shape[d] > 1 && a->stride[d] != b->stride[d])
            return 0;
    return 1;
}

static int overlap(const fg_buffer *a, int64_t a_low, int64_t a_high, const fg_buffer *b, int64_t b_low,
                   int64_t b_high) {
    if (a->role != b->role || a->is_lane != b->is_lane)
        return 0;
    if (a->role != FG_ARENA && a->position != b->position)
        return 0;
    int64_t a_start = a->role == FG_ARENA ? a->position : 0, b_start = b->role == FG_ARENA ? b->position : 0;
    int64_t a_item = fg_item_size(a->dtype), b_item = fg_item_size(b->dtype);
    return a_start + a_low * a_item < b_start + (b_high + 1) * b_item &&
           b_start + b_low * b_item < a_start + (a_high + 1) * a_item;
}

/* Elements that the rows of a loop's operand lie within; 0 when they reach outside its buffer. */
static int rows_range(const fg_program *p, const fg_operand *o, int64_t length, int64_t size, int64_t *low,
                      int64_t *high) {
    const int64_t reach = length ? o->stride[0] * (length - 1) : 0; /* both at most 2^30 */
    if (o->offset < 0 || o->offset > p->buffers[o->buffer].size)
        return 0;
    *low = o->offset + (reach < 0 ? reach : 0);
    *high = o->offset + (reach < 0 ? 0 : reach) + size - 1;
    return *low >= 0 && *high < p->buffers[o->buffer].size;
}

static int same_kind(const fg_program *body, int64_t number, const fg_buffer *outer) {
    return body->buffers[number].dtype == outer->dtype && body->buffers[number].is_lane == outer->is_lane;
}

/* A body may write its outputs alone, and they lie in the loop's result or its own memory: so it is enough that these
 * and what it reads fit where they are and do not overlap. */
static fg_status verify_loop(fg_program *p, const fg_instruction *in, int64_t number, fg_error *error) {
    const long long n = (long long)number;
    const fg_loop *loop = in->loop;
    const fg_program *body = loop->body;
    const fg_operand *result = &in->operand[0], *first = &in->operand[1];
    const fg_buffer *out = &p->buffers[result->buffer], *start = &p->buffers[first->buffer];
    if (in->n_dims != 1 || loop->every < 0)
        REFUSE("instruction %lld has the wrong number of axes or stores impossible carries", n);
    if (body->n_across)
        REFUSE("instruction %lld: the body sums over lanes", n);
    if (body->n_inputs != 1 + loop->n_rows || body->n_outputs != 2)
        REFUSE("instruction %lld: the body has %lld inputs and %lld outputs", n, (long long)body->n_inputs,
               (long long)body->n_outputs);
    if (out->role != FG_OUTPUT && out->role != FG_ARENA)
        REFUSE("instruction %lld writes an input or a constant", n);
    if (out->is_lane != (number >= p->n_uniform) || start->is_lane > out->is_lane)
        REFUSE("instruction %lld: an operand is of the wrong kind (lane or uniform)", n);
    const int64_t length = in->shape[0], size = body->buffers[body->input[0]].size;
    const int64_t row = body->buffers[body->output[1]].size; /* all at most 2^30: sums of products stay below 2^62 */
    const int64_t total = size + length * row + fg_n_stored(length, loop->every) * size;
    if (out->dtype != in->dtype || start->dtype != in->dtype || !same_kind(body, body->input[0], out) ||
        !same_kind(body, body->output[0], out) || !same_kind(body, body->output[1], out) ||
        body->buffers[body->output[0]].size != size)
        REFUSE("instruction %lld: the carry or the row has the wrong size, dtype or kind", n);
    if (result->offset < 0 || result->offset > out->size || total > out->size - result->offset)
        REFUSE("instruction %lld: the result reaches outside its buffer", n);
    for (int64_t i = -1; i < loop->n_rows; i++) {
        const fg_operand *o = i < 0 ? first : &loop->row[i];
        const fg_buffer *b = &p->buffers[o->buffer], *inner = &body->buffers[body->input[1 + i]];
        int64_t low, high;
        if (i >= 0 && !same_kind(body, body->input[1 + i], b))
            REFUSE("instruction %lld: operand %lld has another dtype or kind than the body's input", n,
                   (long long)i + 2);
        if (number < p->n_uniform && b->is_lane)
            REFUSE("instruction %lld: operand %lld differs by lane", n, (long long)i + 2);
        const int64_t read = i < 0 || length ? inner->size : 0;
        if (!rows_range(p, o, i < 0 ? 0 : length, read, &low, &high))
            REFUSE("instruction %lld: operand %lld reaches outside its buffer", n, (long long)i + 2);
        if (read && total && overlap(out, result->offset, result->offset + total - 1, b, low, high))
            REFUSE("instruction %lld: the result overlaps operand %lld", n, (long long)i + 2);
    }

    const int64_t carry = (size * fg_item_size(in->dtype) + 7) / 8 * 8; /* two of them take turns */
    int64_t fixed = fg_round_up((body->n_buffers + 1) * (int64_t)sizeof(void *)) + fg_round_up(body->uniform_bytes) +
                    body->loop_bytes;
    int64_t lanes = (body->lane_bytes + 7) / 8 * 8 + 2 * carry + body->lane_loop_bytes;
    int64_t step = body->lane_step_bytes ? body->lane_step_bytes : lanes;
    if (!out->is_lane)
        fixed += lanes, lanes = step = 0;
    if (fixed > (int64_t)FG_MAX_ARENA * 8 || lanes > (int64_t)FG_MAX_ARENA * 8)
        REFUSE("instruction %lld needs too much memory for its loop", n);
    p->loop_bytes = fixed > p->loop_bytes ? fixed : p->loop_bytes;
    p->lane_loop_bytes = lanes > p->lane_loop_bytes ? lanes : p->lane_loop_bytes;
    p->lane_step_bytes = step > p->lane_step_bytes ? step : p->lane_step_bytes;
    return FG_OK;
}

/* Rows that an operand has beyond the instruction's axes. */
static int64_t more_rows(const fg_instruction *in, int operand) {
    const int64_t n = in->shape[in->n_dims - 1];
    switch (in->op) {
    case FG_OP_sort_pairs:
        return operand == 0 ? 2 : 0;
    case FG_OP_lu:
        return operand == 0;
    case FG_OP_eigh:
        return operand == 0 ? n + 1 : 0;
    case FG_OP_lu_solve:
    case FG_OP_lu_solve_transposed:
    case FG_OP_lu_det:
    case FG_OP_lu_slogdet:
        return operand == 1;
    default:
        return 0;
    }
}

static fg_status verify_generalised(const fg_program *p, const fg_instruction *in, int64_t number, fg_error *error) {
    enum { EXACT_FLOATS = 1 << 24 }; /* beyond it float32 cannot number elements */
    const long long n = (long long)number;
    const int core = fg_op_core_axes(in->op), arity = fg_op_arity(in->op), lead = in->n_dims - core;
    const int64_t *size = in->shape + lead;
    int empty = 0, empty_result = 0, n_axes_of_n = 0;
    if (lead < 0)
        REFUSE("instruction %lld has the wrong number of axes", n);
    for (int d = 0; d < in->n_dims; d++) {
        const int of_result = d < lead || fg_op_core_of(in->op, 0) >> (in->n_dims - 1 - d) & 1u;
        empty |= in->shape[d] == 0;
        empty_result |= of_result && in->shape[d] == 0;
        if (d >= lead && in->dtype == FG_FLOAT32 && in->shape[d] > EXACT_FLOATS)
            REFUSE("instruction %lld numbers more elements than float32 can", n);
    }
    switch (in->op) {
    case FG_OP_sort_pairs:
        n_axes_of_n = size[0] == 2;
        break;
    case FG_OP_lu:
    case FG_OP_lu_det:
    case FG_OP_cholesky:
    case FG_OP_eigh:
        n_axes_of_n = size[0] == size[1];
        break;
    case FG_OP_lu_slogdet:
        n_axes_of_n = size[0] == 2 && size[1] == size[2];
        break;
    case FG_OP_lu_solve:
    case FG_OP_lu_solve_transposed:
    case FG_OP_solve_lower:
        n_axes_of_n = size[0] == size[2];
        break;
    default:
        n_axes_of_n = 1;
    }
    if (!n_axes_of_n)
        REFUSE("instruction %lld: the core axes have lengths that '%s' cannot have", n, fg_op_name(in->op));
    if (empty_result)
        return FG_OK;
    if (empty)
        REFUSE("instruction %lld reads along an axis without elements", n);
    int64_t low[1 + FG_MAX_INPUTS] = {0}, high[1 + FG_MAX_INPUTS] = {0};
    for (int i = 0; i <= arity; i++) {
        fg_instruction own = *in; /* with the axes that the operand has */
        for (int d = lead; d < in->n_dims; d++)
            if (!(fg_op_core_of(in->op, i) >> (in->n_dims - 1 - d) & 1u)) {
                if (in->operand[i].stride[d] != 0)
                    REFUSE("instruction %lld: operand %d has a stride along an axis it lacks", n, i);
                own.shape[d] = 1;
            }
        const int64_t rows = more_rows(in, i);
        if (rows) /* the axis of the rows: core (n, n), or the first of core (n, k, n) */
            own.shape[core == 3 && in->op != FG_OP_lu_slogdet ? lead : in->n_dims - 2] += rows;
        if (!operand_range(p, &own, &in->operand[i], &low[i], &high[i]))
            REFUSE("instruction %lld: operand %d reaches outside its buffer", n, i);
        if (i == 0 && !writes_once(&own, in->n_dims))
            REFUSE("instruction %lld writes an element twice", n);
        if (i > 0 && overlap(&p->buffers[in->operand[0].buffer], low[0], high[0], &p->buffers[in->operand[i].buffer],
                             low[i], high[i]))
            REFUSE("instruction %lld: the result overlaps operand %d", n, i);
    }
    return FG_OK;
}

/* Whether the result's positions (a reduced axis aside) are all the elements of its buffer, in order. */
static int is_whole(const fg_instruction *in, const fg_buffer *out) {
    const fg_operand *o = &in->operand[0];
    int64_t step = 1;
    int in_order = o->offset == 0;
    for (int d = in->n_dims - fg_op_reduces(in->op) - 1; d >= 0; d--) {
        in_order &= in->shape[d] <= 1 || o->stride[d] == step;
        if (__builtin_mul_overflow(step, in->shape[d], &step))
            return 0;
    }
    return step == out->size && (in_order || step == 0);
}

static fg_status verify_plain(const fg_program *p, fg_instruction *in, int64_t number, fg_error *error) {
    const fg_op_kind kind = fg_op_kind_of(in->op);
    const int arity = fg_op_arity(in->op);
    const long long n = (long long)number;
    const int is_table = in->op == FG_OP_gather || in->op == FG_OP_scatter_add;
    const int n_reduced = fg_op_reduces(in->op), is_matmul = in->op == FG_OP_matmul || in->op == FG_OP_matmul_add;
    const int is_across = fg_op_is_across(in->op);
    const fg_buffer *out = &p->buffers[in->operand[0].buffer];
    int empty = 0, first_read = 1;
    for (int d = 0; d < in->n_dims - n_reduced; d++)
        empty |= in->shape[d] == 0;

    if ((is_table && in->n_dims != 1) || (is_matmul && in->n_dims != 4) ||
        (in->op == FG_OP_lane_matmul && in->n_dims != 3) || in->n_dims < n_reduced)
        REFUSE("instruction %lld has the wrong number of axes", n);
    if (out->role != FG_OUTPUT && out->role != FG_ARENA)
        REFUSE("instruction %lld writes an input or a constant", n);
    for (int i = 0; i <= arity; i++) {
        const fg_buffer *b = &p->buffers[in->operand[i].buffer];
        int wanted = is_table && i == 2               ? FG_INT64
                     : in->op == FG_OP_cast && i == 1 ? FG_FLOAT32 - in->dtype /* the other float */
                                                      : in->dtype;
        if (b->dtype != wanted)
            REFUSE("instruction %lld: operand %d has the wrong dtype", n, i);
        if (is_across ? b->is_lane != (i > 0) : number < p->n_uniform ? b->is_lane : i == 0 && !b->is_lane)
            REFUSE("instruction %lld: operand %d is of the wrong kind (lane or uniform)", n, i);
    }
    if (kind == FG_GENERALISED)
        return verify_generalised(p, in, number, error);
    if (is_across && (out->role != FG_OUTPUT || !is_whole(in, out)))
        REFUSE("instruction %lld does not make the whole of an output", n);
    if (in->op == FG_OP_lane_matmul && (in->operand[1].stride[1] || in->operand[2].stride[0]))
        REFUSE("instruction %lld: a matrix has a stride along an axis it lacks", n);
    if (is_matmul) {
        const fg_operand *o = in->operand;
        if (number >= p->n_uniform && !p->buffers[o[1].buffer].is_lane && !p->buffers[o[2].buffer].is_lane)
            REFUSE("instruction %lld is a product of uniform matrices among the lanes'", n);
        if (o[1].stride[2] || o[2].stride[1] || o[0].stride[3] || (arity == 3 && o[3].stride[3]))
            REFUSE("instruction %lld: a matrix has a stride along an axis it lacks", n);
    }
    if (is_table) {
        const fg_operand *t = &in->operand[2], *o = &in->operand[in->op == FG_OP_gather ? 1 : 0];
        const fg_operand *other = &in->operand[in->op == FG_OP_gather ? 0 : 1];
        const fg_buffer *table = &p->buffers[t->buffer], *b = &p->buffers[o->buffer], *c = &p->buffers[other->buffer];
        if (table->size < in->shape[0] || t->offset != 0 || o->offset < 0 || o->offset > b->size || other->offset < 0 ||
            other->offset > c->size || in->shape[0] > c->size - other->offset)
            REFUSE("instruction %lld reaches outside a buffer", n);
        for (int64_t i = 0; i < in->shape[0]; i++)
            if (p->constants[table->position + i] < 0 || p->constants[table->position + i] >= b->size - o->offset)
                REFUSE("instruction %lld: an index is out of range", n);
        if (b->is_lane != c->is_lane || overlap(b, 0, b->size - 1, c, 0, c->size - 1))
            REFUSE("instruction %lld: the operands differ in kind or overlap", n);
        return FG_OK;
    }
    if (empty) { /* nothing is read; sums over lanes are bound all the same */
        for (int i = 1; is_across && i <= arity; i++)
            in->operand[i] = (fg_operand){.buffer = in->operand[i].buffer};
        return FG_OK;
    }
    if (n_reduced && in->shape[in->n_dims - 1] == 0) /* no term is read: the operands stay where their buffers start */
        for (; first_read <= arity && first_read < 3; first_read++)
            in->operand[first_read] = (fg_operand){.buffer = in->operand[first_read].buffer};
    int64_t low[1 + FG_MAX_INPUTS] = {0}, high[1 + FG_MAX_INPUTS] = {0};
    for (int i = 0; i <= arity; i = i ? i + 1 : first_read)
        if (!operand_range(p, in, &in->operand[i], &low[i], &high[i]))
            REFUSE("instruction %lld: operand %d reaches outside its buffer", n, i);
    if (n_reduced && in->operand[0].stride[in->n_dims - 1] != 0)
        REFUSE("instruction %lld: the result has a stride along the reduced axis", n);
    if (!writes_once(in, in->n_dims - n_reduced))
        REFUSE("instruction %lld writes an element twice", n);
    for (int i = first_read; i <= arity; i++) {
        const fg_buffer *b = &p->buffers[in->operand[i].buffer];
        if (overlap(out, low[0], high[0], b, low[i], high[i]) &&
            !(kind == FG_ELEMENTWISE && same_place(in, out, &in->operand[0], b, &in->operand[i])))
            REFUSE("instruction %lld: the result overlaps operand %d", n, i);
    }
    return FG_OK;
}

fg_status fg_verify(fg_program *p, fg_instruction *in, int64_t number, fg_error *error) {
    const int is_across = fg_op_is_across(in->op);
    if (is_across != (number >= p->n_instructions - p->n_across))
        REFUSE("instruction %lld: '%s' cannot stand %s the last, the sums over lanes", (long long)number,
               fg_op_name(in->op), is_across ? "before" : "among");
    return in->loop ? verify_loop(p, in, number, error) : verify_plain(p, in, number, error);
}

/* A sum over lanes is complete only when the last block is done: nothing may read or write its output. */
fg_status fg_verify_sums(const fg_program *p, fg_error *error) {
    const int64_t first = p->n_instructions - p->n_across;
    fg_status status = FG_OK;
    char *is_sum = p->n_across ? fg_alloc((size_t)p->n_buffers, 1) : NULL;
    if (!p->n_across)
        return FG_OK;
    if (!is_sum)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory to verify %lld sums", (long long)p->n_across);
    for (int64_t i = p->n_instructions - 1; !status && i >= 0; i--) {
        const fg_instruction *in = &p->instructions[i];
        int clashes = 0;
        for (int k = 0; k <= fg_op_arity(in->op); k++)
            clashes |= is_sum[in->operand[k].buffer];
        for (int64_t k = 0; in->loop && k < in->loop->n_rows; k++)
            clashes |= is_sum[in->loop->row[k].buffer];
        if (clashes)
            status = fg_fail(error, FG_INVALID_PROGRAM,
                             "instruction %lld reads or writes the output of a sum over lanes", (long long)i);
        if (i >= first)
            is_sum[in->operand[0].buffer] = 1;
    }
    fg_free(is_sum);
    return status;
}
