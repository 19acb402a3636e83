/* Building and verifying programs. Words come from anywhere (a pickle, a file), so nothing in them is believed: after
 * fg_program_create succeeds, running the program reads and writes only its own buffers. */
#include "program.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

/* ---- the table of operations ---------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int arity;
    fg_op_kind kind;
    double cost; /* nanoseconds an element, roughly */
    int core;    /* axes of a generalised operation, and which of them result and operands have */
    unsigned has[1 + FG_MAX_INPUTS];
} operations[FG_N_OPS] = {
#define ELEMENTWISE(name, arity, expression) {#name, arity, FG_ELEMENTWISE, 0.1, 0, {0}},
#define ELEMENTARY(name, arity, expression) {#name, arity, FG_ELEMENTWISE, 1.0, 0, {0}},
#define REDUCTION(name, identity, expression) {#name, 1, FG_REDUCTION, 0.1, 0, {0}},
#define STRUCTURAL(name, arity) {#name, arity, FG_STRUCTURAL, 0.1, 0, {0}},
#define GENERALISED(name, arity, axes, out, a, b) {#name, arity, FG_GENERALISED, 1.0, axes, {out, a, b}},
#include "ops.def"
};

static int known_op(int64_t op) { return op >= 0 && op < FG_N_OPS; }

const char *fg_op_name(int op) { return known_op(op) ? operations[op].name : NULL; }
int fg_op_arity(int op) { return known_op(op) ? operations[op].arity : 0; }
fg_op_kind fg_op_kind_of(int op) { return known_op(op) ? operations[op].kind : FG_STRUCTURAL; }
int fg_op_core_axes(int op) { return known_op(op) ? operations[op].core : 0; }

/* ---- reading the words ---------------------------------------------------------------------------------- */

enum {
    MAX_ARENA = 1 << 30,
    LEAST_INSTRUCTION_WORDS = 7
}; /* in words of 8 bytes: far beyond memory, far below overflow */

typedef struct {
    const int64_t *next, *end;
} reader;

static int take(reader *r, int64_t *value) {
    if (r->next == r->end)
        return 0;
    *value = *r->next++;
    return 1;
}

#define REFUSE(...) return fg_fail(error, FG_INVALID_PROGRAM, __VA_ARGS__)

static fg_status read_buffer(const fg_program *p, reader *r, int64_t n_constant_words, fg_buffer *b, fg_error *error) {
    const int64_t *w = r->next;
    int64_t number = (w - p->words - FG_HEADER_WORDS) / FG_BUFFER_WORDS;
    r->next += FG_BUFFER_WORDS;
    if (w[0] < FG_INPUT || w[0] > FG_ARENA || w[1] < FG_FLOAT64 || w[1] > FG_INT64 || w[2] < 0 || w[2] > 1)
        REFUSE("buffer %lld has an unknown role, dtype or kind", (long long)number);
    *b = (fg_buffer){.role = (int)w[0], .dtype = (int)w[1], .is_lane = (int)w[2], .size = w[3], .position = w[4]};
    if (b->size < 0 || b->size > MAX_ARENA || b->position < 0 || b->position > (int64_t)MAX_ARENA * 8)
        REFUSE("buffer %lld has an impossible size or position", (long long)number);
    int64_t item = fg_item_size(b->dtype);
    if (b->dtype == FG_INT64 && b->role != FG_CONSTANT)
        REFUSE("buffer %lld: only constants hold tables and bodies", (long long)number);
    switch (b->role) {
    case FG_INPUT:
        if (b->position >= p->n_inputs || p->input[b->position] >= 0)
            REFUSE("buffer %lld names input %lld, which is out of range or taken", (long long)number,
                   (long long)b->position);
        p->input[b->position] = number;
        break;
    case FG_OUTPUT:
        if (b->position >= p->n_outputs || p->output[b->position] >= 0)
            REFUSE("buffer %lld names output %lld, which is out of range or taken", (long long)number,
                   (long long)b->position);
        p->output[b->position] = number;
        break;
    case FG_CONSTANT:
        if (b->is_lane || b->position > n_constant_words || (b->size * item + 7) / 8 > n_constant_words - b->position)
            REFUSE("constant buffer %lld reaches past the constants", (long long)number);
        break;
    default:
        if (b->position % item)
            REFUSE("buffer %lld is misaligned", (long long)number);
    }
    return FG_OK;
}

/* What bodies of loops may still cost the verifier: no two share words, so all work is linear in the outermost's. */
typedef struct {
    int depth;
    int64_t words_left;
} nesting;

static fg_status create_nested(const int64_t *words, size_t n_words, int depth, fg_program **out, fg_error *error);

static fg_status read_body(const fg_program *p, fg_loop *loop, int64_t number, int64_t body, nesting *state,
                           fg_error *error) {
    if (body < 0 || body >= p->n_buffers || p->buffers[body].role != FG_CONSTANT || p->buffers[body].dtype != FG_INT64)
        REFUSE("instruction %lld has no constant that could hold its body", (long long)number);
    state->words_left -= p->buffers[body].size;
    if (state->words_left < 0 || state->depth == FG_MAX_DEPTH)
        REFUSE("instruction %lld shares its body's words, or is nested too deep", (long long)number);
    return create_nested(p->constants + p->buffers[body].position, (size_t)p->buffers[body].size, state->depth + 1,
                         &loop->body, error);
}

static fg_status read_instruction(const fg_program *p, reader *r, int64_t number, nesting *state, fg_instruction *in,
                                  fg_error *error) {
    int64_t op, dtype, n_dims;
    if (!take(r, &op) || !take(r, &dtype) || !take(r, &n_dims))
        REFUSE("instruction %lld is cut off", (long long)number);
    if (!known_op(op) || (dtype != FG_FLOAT64 && dtype != FG_FLOAT32) || n_dims < 0 || n_dims > FG_MAX_DIMS)
        REFUSE("instruction %lld has an unknown operation, dtype or number of axes", (long long)number);
    in->op = (int)op;
    in->dtype = (int)dtype;
    in->n_dims = (int)n_dims;
    for (int d = 0; d < in->n_dims; d++)
        if (!take(r, &in->shape[d]) || in->shape[d] < 0 || in->shape[d] > MAX_ARENA)
            REFUSE("instruction %lld is cut off or has an impossible shape", (long long)number);
    int64_t body = 0, every = 0, n_rows = 0;
    if (op == FG_OP_scan) {
        if (!take(r, &body) || !take(r, &every) || !take(r, &n_rows) || n_rows < 0 || n_rows > r->end - r->next)
            REFUSE("instruction %lld is cut off or has an impossible number of operands", (long long)number);
        in->loop = fg_alloc(1, sizeof *in->loop);
        if (in->loop)
            *in->loop =
                (fg_loop){.every = every, .n_rows = n_rows, .row = fg_alloc((size_t)n_rows, sizeof(fg_operand))};
        if (!in->loop || !in->loop->row)
            return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a loop of %lld operands", (long long)n_rows);
    }
    for (int64_t i = 0; i <= operations[op].arity + n_rows; i++) {
        fg_operand *o = i <= operations[op].arity ? &in->operand[i] : &in->loop->row[i - operations[op].arity - 1];
        if (!take(r, &o->buffer) || !take(r, &o->offset) || o->buffer < 0 || o->buffer >= p->n_buffers)
            REFUSE("instruction %lld is cut off or names an unknown buffer", (long long)number);
        for (int d = 0; d < in->n_dims; d++)
            if (!take(r, &o->stride[d]) || o->stride[d] > MAX_ARENA || o->stride[d] < -(int64_t)MAX_ARENA)
                REFUSE("instruction %lld is cut off or has an impossible stride", (long long)number);
    }
    return op == FG_OP_scan ? read_body(p, in->loop, number, body, state, error) : FG_OK;
}

/* ---- verifying an instruction --------------------------------------------------------------------------- */

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
    if (fixed > (int64_t)MAX_ARENA * 8 || lanes > (int64_t)MAX_ARENA * 8)
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
    const int core = operations[in->op].core, arity = operations[in->op].arity, lead = in->n_dims - core;
    const int64_t *size = in->shape + lead;
    int empty = 0, empty_result = 0, n_axes_of_n = 0;
    if (lead < 0)
        REFUSE("instruction %lld has the wrong number of axes", n);
    for (int d = 0; d < in->n_dims; d++) {
        const int of_result = d < lead || operations[in->op].has[0] >> (in->n_dims - 1 - d) & 1u;
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
        REFUSE("instruction %lld: the core axes have lengths that '%s' cannot have", n, operations[in->op].name);
    if (empty_result)
        return FG_OK;
    if (empty)
        REFUSE("instruction %lld reads along an axis without elements", n);
    int64_t low[1 + FG_MAX_INPUTS] = {0}, high[1 + FG_MAX_INPUTS] = {0};
    for (int i = 0; i <= arity; i++) {
        fg_instruction own = *in; /* with the axes that the operand has */
        for (int d = lead; d < in->n_dims; d++)
            if (!(operations[in->op].has[i] >> (in->n_dims - 1 - d) & 1u)) {
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

static fg_status verify(const fg_program *p, fg_instruction *in, int64_t number, fg_error *error) {
    const fg_op_kind kind = operations[in->op].kind;
    const int arity = operations[in->op].arity;
    const long long n = (long long)number;
    const int is_table = in->op == FG_OP_gather || in->op == FG_OP_scatter_add;
    const int n_reduced = kind == FG_REDUCTION || in->op == FG_OP_dot || in->op == FG_OP_matmul;
    const fg_buffer *out = &p->buffers[in->operand[0].buffer];
    int empty = 0, n_read = arity;
    for (int d = 0; d < in->n_dims - n_reduced; d++)
        empty |= in->shape[d] == 0;

    if ((is_table && in->n_dims != 1) || (in->op == FG_OP_matmul && in->n_dims != 4) || in->n_dims < n_reduced)
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
        if (number < p->n_uniform ? b->is_lane : i == 0 && !b->is_lane)
            REFUSE("instruction %lld: operand %d is of the wrong kind (lane or uniform)", n, i);
    }
    if (kind == FG_GENERALISED)
        return verify_generalised(p, in, number, error);
    if (in->op == FG_OP_matmul) {
        const fg_operand *o = in->operand;
        if (number >= p->n_uniform && !p->buffers[o[1].buffer].is_lane && !p->buffers[o[2].buffer].is_lane)
            REFUSE("instruction %lld is a product of uniform matrices among the lanes'", n);
        if (o[1].stride[2] || o[2].stride[1] || o[0].stride[3])
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
    if (empty)
        return FG_OK;
    if (n_reduced && in->shape[in->n_dims - 1] == 0) /* nothing is read: the operands stay where their buffers start */
        for (; n_read > 0; n_read--)
            in->operand[n_read] = (fg_operand){.buffer = in->operand[n_read].buffer};
    int64_t low[1 + FG_MAX_INPUTS] = {0}, high[1 + FG_MAX_INPUTS] = {0};
    for (int i = 0; i <= n_read; i++)
        if (!operand_range(p, in, &in->operand[i], &low[i], &high[i]))
            REFUSE("instruction %lld: operand %d reaches outside its buffer", n, i);
    if (n_reduced && in->operand[0].stride[in->n_dims - 1] != 0)
        REFUSE("instruction %lld: the result has a stride along the reduced axis", n);
    if (!writes_once(in, in->n_dims - n_reduced))
        REFUSE("instruction %lld writes an element twice", n);
    for (int i = 1; i <= n_read; i++) {
        const fg_buffer *b = &p->buffers[in->operand[i].buffer];
        if (overlap(out, low[0], high[0], b, low[i], high[i]) &&
            !(kind == FG_ELEMENTWISE && same_place(in, out, &in->operand[0], b, &in->operand[i])))
            REFUSE("instruction %lld: the result overlaps operand %d", n, i);
    }
    return FG_OK;
}

/* ---- building ------------------------------------------------------------------------------------------- */

double fg_instruction_cost(const fg_instruction *in) {
    enum { A_CALL = 2 }; /* nanoseconds: bodies are often small */
    double elements = 1;
    for (int d = 0; d < in->n_dims; d++)
        elements *= (double)in->shape[d];
    if (in->loop)
        return elements * (in->loop->body->cost + A_CALL * (double)in->loop->body->n_instructions);
    if (in->op == FG_OP_lu || in->op == FG_OP_cholesky || in->op == FG_OP_eigh)
        elements *= (double)in->shape[in->n_dims - 1];
    return elements * operations[in->op].cost;
}

static fg_status build(fg_program *p, int64_t n_words, int depth, fg_error *error) {
    reader r = {p->words, p->words + n_words};
    int64_t magic, n_constant_words, lane_total = 0;
    if (n_words < FG_HEADER_WORDS)
        REFUSE("a program of %lld words has no header", (long long)n_words);
    magic = r.next[0];
    p->n_buffers = r.next[1];
    p->n_instructions = r.next[2];
    p->n_uniform = r.next[3];
    p->n_inputs = r.next[4];
    p->n_outputs = r.next[5];
    n_constant_words = r.next[6];
    r.next += FG_HEADER_WORDS;
    if (magic != FG_MAGIC)
        REFUSE("these words are not a program of this version");
    if (p->n_buffers < 0 || p->n_buffers > (n_words - FG_HEADER_WORDS) / FG_BUFFER_WORDS || p->n_instructions < 0 ||
        p->n_instructions > n_words / LEAST_INSTRUCTION_WORDS || p->n_uniform < 0 || p->n_uniform > p->n_instructions ||
        p->n_inputs < 0 || p->n_inputs > p->n_buffers || p->n_outputs < 0 || p->n_outputs > p->n_buffers ||
        n_constant_words < 0 || n_constant_words > n_words - FG_HEADER_WORDS - p->n_buffers * FG_BUFFER_WORDS)
        REFUSE("the header's counts do not fit the length");
    r.end -= n_constant_words;
    p->constants = r.end;
    p->buffers = fg_alloc((size_t)p->n_buffers, sizeof *p->buffers);
    p->instructions = fg_alloc((size_t)p->n_instructions, sizeof *p->instructions);
    p->input = fg_alloc((size_t)p->n_inputs, sizeof *p->input);
    p->output = fg_alloc((size_t)p->n_outputs, sizeof *p->output);
    if (!p->buffers || !p->instructions || !p->input || !p->output)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a program of %lld words", (long long)n_words);
    for (int64_t i = 0; i < p->n_inputs; i++)
        p->input[i] = -1;
    for (int64_t i = 0; i < p->n_outputs; i++)
        p->output[i] = -1;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        fg_buffer *b = &p->buffers[i];
        fg_status status = read_buffer(p, &r, n_constant_words, b, error);
        if (status)
            return status;
        lane_total += b->is_lane ? b->size : 0;
        if (lane_total > MAX_ARENA)
            REFUSE("the lane buffers hold more than %d elements together", (int)MAX_ARENA);
        if (b->role == FG_ARENA) {
            int64_t end = b->position + b->size * fg_item_size(b->dtype),
                    *bytes = b->is_lane ? &p->lane_bytes : &p->uniform_bytes;
            *bytes = end > *bytes ? end : *bytes;
        }
    }
    for (int64_t i = 0; i < p->n_inputs; i++)
        if (p->input[i] < 0)
            REFUSE("input %lld has no buffer", (long long)i);
    for (int64_t i = 0; i < p->n_outputs; i++)
        if (p->output[i] < 0)
            REFUSE("output %lld has no buffer", (long long)i);
    nesting state = {depth, n_constant_words};
    for (int64_t i = 0; i < p->n_instructions; i++) {
        fg_instruction *in = &p->instructions[i];
        fg_status status = read_instruction(p, &r, i, &state, in, error);
        if (!status)
            status = in->loop ? verify_loop(p, in, i, error) : verify(p, in, i, error);
        if (status)
            return status;
        p->cost += fg_instruction_cost(in);
    }
    if (r.next != r.end)
        REFUSE("%lld words follow the last instruction", (long long)(r.end - r.next));
    return FG_OK;
}

static fg_status create_nested(const int64_t *words, size_t n_words, int depth, fg_program **out, fg_error *error) {
    *out = NULL;
    if (n_words > PTRDIFF_MAX / sizeof *words)
        return fg_fail(error, FG_INVALID_PROGRAM, "the program is too long");
    fg_program *p = fg_alloc(1, sizeof *p);
    if (p)
        p->words = fg_alloc(n_words, sizeof *words);
    if (!p || !p->words) {
        fg_program_destroy(p);
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a program of %lld words", (long long)n_words);
    }
    if (n_words)
        memcpy(p->words, words, n_words * sizeof *words);
    fg_status status = build(p, (int64_t)n_words, depth, error);
    if (status)
        fg_program_destroy(p);
    else
        *out = p;
    return status;
}

fg_status fg_program_create(const int64_t *words, size_t n_words, fg_program **out, fg_error *error) {
    return create_nested(words, n_words, 0, out, error);
}

void fg_program_destroy(fg_program *p) {
    if (!p)
        return;
    for (int64_t i = 0; p->instructions && i < p->n_instructions; i++) {
        fg_loop *loop = p->instructions[i].loop;
        if (loop) {
            fg_program_destroy(loop->body);
            fg_free(loop->row);
        }
        fg_free(loop);
    }
    fg_free(p->words);
    fg_free(p->buffers);
    fg_free(p->instructions);
    fg_free(p->input);
    fg_free(p->output);
    fg_free(p);
}

/* ---- questions ------------------------------------------------------------------------------------------ */

int fg_program_n_inputs(const fg_program *p) { return (int)p->n_inputs; }
int fg_program_n_outputs(const fg_program *p) { return (int)p->n_outputs; }
int64_t fg_program_input_size(const fg_program *p, int i) { return p->buffers[p->input[i]].size; }
int64_t fg_program_output_size(const fg_program *p, int i) { return p->buffers[p->output[i]].size; }
fg_dtype fg_program_input_dtype(const fg_program *p, int i) { return (fg_dtype)p->buffers[p->input[i]].dtype; }
fg_dtype fg_program_output_dtype(const fg_program *p, int i) { return (fg_dtype)p->buffers[p->output[i]].dtype; }
int fg_program_input_is_lane(const fg_program *p, int i) { return p->buffers[p->input[i]].is_lane; }
int fg_program_output_is_lane(const fg_program *p, int i) { return p->buffers[p->output[i]].is_lane; }
double fg_program_cost(const fg_program *p) { return p->cost; }
