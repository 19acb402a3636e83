/* Building programs from words. These come from anywhere (a pickle, a file), so nothing in them is believed: after
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
unsigned fg_op_core_of(int op, int operand) { return operations[op].has[operand]; }
int fg_op_reduces(int op) {
    return fg_op_kind_of(op) == FG_REDUCTION || op == FG_OP_dot || op == FG_OP_matmul || op == FG_OP_matmul_add ||
           op == FG_OP_lane_matmul;
}

/* ---- reading the words ---------------------------------------------------------------------------------- */

enum { LEAST_INSTRUCTION_WORDS = 7 };

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
    if (b->size < 0 || b->size > FG_MAX_ARENA || b->position < 0 || b->position > (int64_t)FG_MAX_ARENA * 8)
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
        if (!take(r, &in->shape[d]) || in->shape[d] < 0 || in->shape[d] > FG_MAX_ARENA)
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
            if (!take(r, &o->stride[d]) || o->stride[d] > FG_MAX_ARENA || o->stride[d] < -(int64_t)FG_MAX_ARENA)
                REFUSE("instruction %lld is cut off or has an impossible stride", (long long)number);
    }
    return op == FG_OP_scan ? read_body(p, in->loop, number, body, state, error) : FG_OK;
}

/* ---- building ------------------------------------------------------------------------------------------- */

double fg_instruction_cost(const fg_instruction *in) {
    enum { A_CALL = 2 };           /* nanoseconds: bodies are often small */
    const double a_product = 0.02; /* of a sum of many */
    double elements = 1;
    for (int d = 0; d < in->n_dims; d++)
        elements *= (double)in->shape[d];
    if (in->loop)
        return elements * (in->loop->body->cost + A_CALL * (double)in->loop->body->n_instructions);
    if (in->op == FG_OP_lu || in->op == FG_OP_cholesky || in->op == FG_OP_eigh)
        elements *= (double)in->shape[in->n_dims - 1];
    const int is_product = in->op == FG_OP_matmul || in->op == FG_OP_matmul_add || in->op == FG_OP_lane_matmul;
    return elements * (is_product ? a_product : operations[in->op].cost);
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
    p->n_across = r.next[4];
    p->n_inputs = r.next[5];
    p->n_outputs = r.next[6];
    n_constant_words = r.next[7];
    r.next += FG_HEADER_WORDS;
    if (magic != FG_MAGIC)
        REFUSE("these words are not a program of this version");
    if (p->n_buffers < 0 || p->n_buffers > (n_words - FG_HEADER_WORDS) / FG_BUFFER_WORDS || p->n_instructions < 0 ||
        p->n_instructions > n_words / LEAST_INSTRUCTION_WORDS || p->n_uniform < 0 || p->n_uniform > p->n_instructions ||
        p->n_across < 0 || p->n_across > p->n_instructions - p->n_uniform || p->n_inputs < 0 ||
        p->n_inputs > p->n_buffers || p->n_outputs < 0 || p->n_outputs > p->n_buffers || n_constant_words < 0 ||
        n_constant_words > n_words - FG_HEADER_WORDS - p->n_buffers * FG_BUFFER_WORDS)
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
        if (lane_total > FG_MAX_ARENA)
            REFUSE("the lane buffers hold more than %d elements together", (int)FG_MAX_ARENA);
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
            status = fg_verify(p, in, i, error);
        if (status)
            return status;
        p->cost += fg_instruction_cost(in);
    }
    if (r.next != r.end)
        REFUSE("%lld words follow the last instruction", (long long)(r.end - r.next));
    return fg_verify_sums(p, error);
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

fg_status fg_refuse_across(const fg_program *p, fg_error *error) {
    if (p->n_across)
        return fg_fail(error, FG_INVALID_VALUE,
                       "this program sums over the rows of a data set: it runs in training alone");
    return FG_OK;
}

/* ---- questions ------------------------------------------------------------------------------------------ */

int fg_program_n_inputs(const fg_program *p) { return (int)p->n_inputs; }
int fg_program_n_outputs(const fg_program *p) { return (int)p->n_outputs; }
int64_t fg_program_n_across(const fg_program *p) { return p->n_across; }
int64_t fg_program_input_size(const fg_program *p, int i) { return p->buffers[p->input[i]].size; }
int64_t fg_program_output_size(const fg_program *p, int i) { return p->buffers[p->output[i]].size; }
fg_dtype fg_program_input_dtype(const fg_program *p, int i) { return (fg_dtype)p->buffers[p->input[i]].dtype; }
fg_dtype fg_program_output_dtype(const fg_program *p, int i) { return (fg_dtype)p->buffers[p->output[i]].dtype; }
int fg_program_input_is_lane(const fg_program *p, int i) { return p->buffers[p->input[i]].is_lane; }
int fg_program_output_is_lane(const fg_program *p, int i) { return p->buffers[p->output[i]].is_lane; }
double fg_program_cost(const fg_program *p) { return p->cost; }
