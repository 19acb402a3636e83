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
} operations[FG_N_OPS] = {
#define ELEMENTWISE(name, arity, expression) {#name, arity, FG_ELEMENTWISE, 0.1},
#define ELEMENTARY(name, arity, expression) {#name, arity, FG_ELEMENTWISE, 1.0},
#define REDUCTION(name, identity, expression) {#name, 1, FG_REDUCTION, 0.1},
#define STRUCTURAL(name, arity) {#name, arity, FG_STRUCTURAL, 0.1},
#include "ops.def"
};

static int known_op(int64_t op) { return op >= 0 && op < FG_N_OPS; }

const char *fg_op_name(int op) { return known_op(op) ? operations[op].name : NULL; }
int fg_op_arity(int op) { return known_op(op) ? operations[op].arity : 0; }
fg_op_kind fg_op_kind_of(int op) { return known_op(op) ? operations[op].kind : FG_STRUCTURAL; }

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
        REFUSE("buffer %lld: only constants hold index tables", (long long)number);
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

static fg_status read_instruction(const fg_program *p, reader *r, int64_t number, fg_instruction *in, fg_error *error) {
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
    for (int i = 0; i <= operations[op].arity; i++) {
        fg_operand *o = &in->operand[i];
        if (!take(r, &o->buffer) || !take(r, &o->offset) || o->buffer < 0 || o->buffer >= p->n_buffers)
            REFUSE("instruction %lld is cut off or names an unknown buffer", (long long)number);
        for (int d = 0; d < in->n_dims; d++)
            if (!take(r, &o->stride[d]) || o->stride[d] > MAX_ARENA || o->stride[d] < -(int64_t)MAX_ARENA)
                REFUSE("instruction %lld is cut off or has an impossible stride", (long long)number);
    }
    return FG_OK;
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
    double elements = 1;
    for (int d = 0; d < in->n_dims; d++)
        elements *= (double)in->shape[d];
    return elements * operations[in->op].cost;
}

static fg_status build(fg_program *p, int64_t n_words, fg_error *error) {
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
    for (int64_t i = 0; i < p->n_instructions; i++) {
        fg_status status = read_instruction(p, &r, i, &p->instructions[i], error);
        if (!status)
            status = verify(p, &p->instructions[i], i, error);
        if (status)
            return status;
        p->cost += fg_instruction_cost(&p->instructions[i]);
    }
    if (r.next != r.end)
        REFUSE("%lld words follow the last instruction", (long long)(r.end - r.next));
    return FG_OK;
}

fg_status fg_program_create(const int64_t *words, size_t n_words, fg_program **out, fg_error *error) {
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
    fg_status status = build(p, (int64_t)n_words, error);
    if (status)
        fg_program_destroy(p);
    else
        *out = p;
    return status;
}

void fg_program_destroy(fg_program *p) {
    if (!p)
        return;
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
