/* Builders of programs as words, buffers to run them on, and the oracle: an interpreter of the words as plain as it
 * can be, one instance and one element at a time, that checks every access against its buffer. */
#ifndef BUILD_H
#define BUILD_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fastgrad.h"

#include "special.h"

/* ---- random numbers ------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t state;
} rng;

static inline uint64_t rng_next(rng *r) { /* splitmix64 */
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline int64_t rng_below(rng *r, int64_t n) { return (int64_t)(rng_next(r) % (uint64_t)n); }
static inline double rng_between(rng *r, double low, double high) {
    return low + (high - low) * (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* ---- arrays --------------------------------------------------------------------------------------------- */

static inline size_t item_size(int dtype) { return dtype == FG_FLOAT32 ? 4 : 8; }
static inline double epsilon(int dtype) { return dtype == FG_FLOAT32 ? 0x1p-23 : 0x1p-52; }

static inline double get(const void *array, int dtype, int64_t i) {
    return dtype == FG_FLOAT32 ? (double)((const float *)array)[i] : ((const double *)array)[i];
}
static inline void set(void *array, int dtype, int64_t i, double value) {
    if (dtype == FG_FLOAT32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}
/* Bit for bit, except that a NaN is a NaN. */
static inline int same_numbers(const void *a, const void *b, int dtype, int64_t n) {
    if (memcmp(a, b, (size_t)n * item_size(dtype)) == 0)
        return 1;
    for (int64_t i = 0; i < n; i++) {
        double u = get(a, dtype, i), v = get(b, dtype, i);
        if (!(isnan(u) && isnan(v)) && memcmp(&u, &v, sizeof u) != 0)
            return 0;
    }
    return 1;
}

/* Exactly as large as they must be, so that a sanitizer sees the first byte past the end. */
static inline void *exactly(int64_t n, int dtype) {
    void *p = calloc(1, n ? (size_t)n * item_size(dtype) : 1);
    if (!p)
        abort();
    return p;
}

/* ---- building ------------------------------------------------------------------------------------------- */

enum { MAX_BUFFERS = 16, MAX_CODE = 512, MAX_CONSTANTS = 512, MAX_WORDS = 1200 };

typedef struct {
    int64_t buffers[MAX_BUFFERS][FG_BUFFER_WORDS], code[MAX_CODE], constants[MAX_CONSTANTS];
    int64_t n_buffers, n_code, n_instructions, n_uniform, n_across, n_inputs, n_outputs, n_constants;
    int64_t arena[2]; /* bytes used: uniform, of one lane */
} builder;

/* An operand: as the words have it. */
typedef struct {
    int64_t buffer, offset, stride[FG_MAX_DIMS];
} view;

static inline int64_t add_buffer(builder *b, int role, int dtype, int is_lane, int64_t size, int64_t position) {
    int64_t words[] = {role, dtype, is_lane, size, position};
    memcpy(b->buffers[b->n_buffers], words, sizeof words);
    return b->n_buffers++;
}
static inline int64_t add_input(builder *b, int dtype, int is_lane, int64_t size) {
    return add_buffer(b, FG_INPUT, dtype, is_lane, size, b->n_inputs++);
}
static inline int64_t add_output(builder *b, int dtype, int is_lane, int64_t size) {
    return add_buffer(b, FG_OUTPUT, dtype, is_lane, size, b->n_outputs++);
}
static inline int64_t add_arena(builder *b, int dtype, int is_lane, int64_t size) {
    int64_t position = b->arena[is_lane];
    b->arena[is_lane] += (size * (int64_t)item_size(dtype) + 7) / 8 * 8;
    return add_buffer(b, FG_ARENA, dtype, is_lane, size, position);
}
static inline int64_t add_constant(builder *b, int dtype, int64_t n, const double *values) {
    int64_t first = b->n_constants;
    for (int64_t i = 0; i < n; i++)
        set(b->constants + first, dtype, i, values[i]);
    b->n_constants += (n * (int64_t)item_size(dtype) + 7) / 8;
    return add_buffer(b, FG_CONSTANT, dtype, 0, n, first);
}
static inline int64_t add_table(builder *b, int64_t n, const int64_t *numbers) {
    memcpy(b->constants + b->n_constants, numbers, (size_t)n * 8);
    b->n_constants += n;
    return add_buffer(b, FG_CONSTANT, FG_INT64, 0, n, b->n_constants - n);
}

/* `operands`: the result, then what the operation reads. */
static inline void add_instruction(builder *b, int op, int dtype, int n_dims, const int64_t *shape,
                                   const view *operands) {
    int64_t *w = b->code + b->n_code;
    *w++ = op, *w++ = dtype, *w++ = n_dims;
    for (int d = 0; d < n_dims; d++)
        *w++ = shape[d];
    for (int i = 0; i <= fg_op_arity(op); i++) {
        *w++ = operands[i].buffer, *w++ = operands[i].offset;
        for (int d = 0; d < n_dims; d++)
            *w++ = operands[i].stride[d];
    }
    b->n_code = w - b->code;
    b->n_instructions++;
}
/* The same for whole buffers of n elements next to each other. */
static inline void add_simple(builder *b, int op, int dtype, int64_t n, int64_t out, int64_t x, int64_t y) {
    add_instruction(b, op, dtype, 1, &n, (view[]){{out, 0, {1}}, {x, 0, {1}}, {y, 0, {1}}});
}

/* A loop; `operands`: the result, the first carry, then n_rows more. */
static inline void add_scan(builder *b, int dtype, int64_t length, int64_t every, int64_t body, int64_t n_rows,
                            const view *operands) {
    int64_t *w = b->code + b->n_code;
    *w++ = FG_OP_scan, *w++ = dtype, *w++ = 1, *w++ = length, *w++ = body, *w++ = every, *w++ = n_rows;
    for (int64_t i = 0; i < 2 + n_rows; i++)
        *w++ = operands[i].buffer, *w++ = operands[i].offset, *w++ = operands[i].stride[0];
    b->n_code = w - b->code;
    b->n_instructions++;
}
/* Words of an instruction. */
static inline int64_t instruction_words(const int64_t *w) {
    const int64_t n_operands = 1 + fg_op_arity((int)w[0]) + (w[0] == FG_OP_scan ? w[5 + w[2]] : 0);
    return 3 + w[2] + (w[0] == FG_OP_scan ? 3 : 0) + n_operands * (2 + w[2]);
}

static inline size_t assemble(const builder *b, int64_t words[MAX_WORDS]) {
    const int64_t header[] = {FG_MAGIC,    b->n_buffers, b->n_instructions, b->n_uniform,
                              b->n_across, b->n_inputs,  b->n_outputs,      b->n_constants};
    size_t n = 0;
#define APPEND(from, count) memcpy(words + n, from, (size_t)(count) * 8), n += (size_t)(count)
    APPEND(header, FG_HEADER_WORDS);
    APPEND(b->buffers, b->n_buffers * FG_BUFFER_WORDS);
    APPEND(b->code, b->n_code);
    APPEND(b->constants, b->n_constants);
#undef APPEND
    return n;
}
/* A constant that holds the words of a body. */
static inline int64_t add_body(builder *b, const builder *body) {
    int64_t words[MAX_WORDS];
    size_t n = assemble(body, words);
    return add_table(b, (int64_t)n, words);
}
static inline fg_status create(const builder *b, fg_program **out, fg_error *error) {
    int64_t words[MAX_WORDS];
    size_t n = assemble(b, words);
    return fg_program_create(words, n, out, error);
}

/* Strides of an array with the last axis innermost. */
static inline view packed(int64_t buffer, int n_dims, const int64_t *shape) {
    view v = {buffer, 0, {0}};
    int64_t step = 1;
    for (int d = n_dims - 1; d >= 0; d--) {
        v.stride[d] = step;
        step *= shape[d];
    }
    return v;
}

/* ---- programs that several tests use -------------------------------------------------------------------- */

/* f(x) = sum of h (x - t)^2 / 2 for lanes x and t, uniform h: the value and the gradient. */
static inline builder quadratic(int dtype, int64_t size) {
    builder b = {0};
    const double half = 0.5;
    int64_t x = add_input(&b, dtype, 1, size), t = add_input(&b, dtype, 1, size), h = add_input(&b, dtype, 0, size);
    int64_t value = add_output(&b, dtype, 1, 1), gradient = add_output(&b, dtype, 1, size);
    int64_t e = add_arena(&b, dtype, 1, size), s = add_arena(&b, dtype, 1, 1), c = add_constant(&b, dtype, 1, &half);
    add_simple(&b, FG_OP_subtract, dtype, size, e, x, t);
    add_simple(&b, FG_OP_multiply, dtype, size, gradient, h, e);
    add_instruction(&b, FG_OP_dot, dtype, 1, &size, (view[]){{s, 0, {0}}, {gradient, 0, {1}}, {e, 0, {1}}});
    add_simple(&b, FG_OP_multiply, dtype, 1, value, c, s);
    return b;
}

/* A state of 3 numbers and a counter, to be repeated: x <- w x, n <- n + 1, until |x|^2 < limit; w differs by lane. */
static inline builder shrinking(int dtype) {
    builder b = {0};
    const double one = 1;
    const int64_t size = 3;
    int64_t x = add_input(&b, dtype, 1, size), n = add_input(&b, dtype, 1, 1);
    int64_t w = add_input(&b, dtype, 1, 1), limit = add_input(&b, dtype, 0, 1);
    int64_t x_after = add_output(&b, dtype, 1, size), n_after = add_output(&b, dtype, 1, 1);
    int64_t flag = add_output(&b, dtype, 1, 1), s = add_arena(&b, dtype, 1, 1), c = add_constant(&b, dtype, 1, &one);
    add_instruction(&b, FG_OP_multiply, dtype, 1, &size, (view[]){{x_after, 0, {1}}, {x, 0, {1}}, {w, 0, {0}}});
    add_simple(&b, FG_OP_add, dtype, 1, n_after, n, c);
    add_instruction(&b, FG_OP_dot, dtype, 1, &size, (view[]){{s, 0, {0}}, {x_after, 0, {1}}, {x_after, 0, {1}}});
    add_simple(&b, FG_OP_less, dtype, 1, flag, s, limit);
    return b;
}

/* A dense layer and its gradient: y = W x + b for lanes x, uniform W and b; out = (max(y, 0), W^T y, |W|^2). */
static inline builder layer(int dtype, int64_t m, int64_t k) {
    builder b = {0};
    const double zero = 0;
    int64_t x = add_input(&b, dtype, 1, k), w = add_input(&b, dtype, 0, m * k), bias = add_input(&b, dtype, 0, m);
    int64_t out = add_output(&b, dtype, 1, m), back = add_output(&b, dtype, 1, k), norm = add_output(&b, dtype, 0, 1);
    int64_t y = add_arena(&b, dtype, 1, m), c = add_constant(&b, dtype, 1, &zero), wk = m * k;
    add_instruction(&b, FG_OP_dot, dtype, 1, &wk, (view[]){{norm, 0, {0}}, {w, 0, {1}}, {w, 0, {1}}});
    b.n_uniform = 1;
    add_instruction(&b, FG_OP_matmul, dtype, 4, (int64_t[]){1, m, 1, k},
                    (view[]){{y, 0, {0, 1, 1, 0}}, {w, 0, {0, k, 0, 1}}, {x, 0, {0, 0, 1, 1}}});
    add_simple(&b, FG_OP_add, dtype, m, y, y, bias);
    add_instruction(&b, FG_OP_maximum, dtype, 1, &m, (view[]){{out, 0, {1}}, {y, 0, {1}}, {c, 0, {0}}});
    add_instruction(&b, FG_OP_matmul, dtype, 4, (int64_t[]){1, k, 1, m},
                    (view[]){{back, 0, {0, 1, 1, 0}}, {w, 0, {0, 1, 0, k}}, {y, 0, {0, 0, 1, 1}}});
    return b;
}

/* A loop in a loop: of `length` steps, each of which takes a row r of 3 and doubles the number of its carry's 2
 * elements by a loop of 2 steps u <- u w + (r0, r1), and then makes the row u0 - r2 + (the carry that the inner loop
 * stored last). The result stands between an element that is left alone and another. */
static inline builder recurrence(int dtype, int64_t length, int64_t every, int is_lane, int first_is_lane) {
    builder inner = {0}, outer = {0}, b = {0};
    const int64_t stored = every ? (length + every - 1) / every : 0, size = 2 + length + 2 * stored;
    int64_t u = add_input(&inner, dtype, is_lane, 2), r = add_input(&inner, dtype, is_lane, 2);
    int64_t w = add_input(&inner, dtype, 0, 2), next = add_output(&inner, dtype, is_lane, 2), t;
    add_output(&inner, dtype, is_lane, 0);
    t = add_arena(&inner, dtype, is_lane, 2);
    add_simple(&inner, FG_OP_multiply, dtype, 2, t, u, w);
    add_simple(&inner, FG_OP_add, dtype, 2, next, t, r);
    inner.n_uniform = is_lane ? 0 : inner.n_instructions;

    u = add_input(&outer, dtype, is_lane, 2), r = add_input(&outer, dtype, is_lane, 3);
    w = add_input(&outer, dtype, 0, 2), next = add_output(&outer, dtype, is_lane, 2);
    int64_t row = add_output(&outer, dtype, is_lane, 1), one = 1, made = add_arena(&outer, dtype, is_lane, 6);
    add_scan(&outer, dtype, 2, 1, add_body(&outer, &inner), 2,
             (view[]){{made, 0, {0}}, {u, 0, {0}}, {r, 0, {0}}, {w, 0, {0}}});
    add_simple(&outer, FG_OP_copy, dtype, 2, next, made, made);
    add_instruction(&outer, FG_OP_subtract, dtype, 1, &one, (view[]){{row, 0, {1}}, {made, 0, {1}}, {r, 2, {1}}});
    add_instruction(&outer, FG_OP_add, dtype, 1, &one, (view[]){{row, 0, {1}}, {row, 0, {1}}, {made, 4, {1}}});
    outer.n_uniform = is_lane ? 0 : outer.n_instructions;

    u = add_input(&b, dtype, first_is_lane, 2), r = add_input(&b, dtype, is_lane, 3 * length + 1);
    w = add_input(&b, dtype, 0, 2), next = add_output(&b, dtype, is_lane, size + 2);
    add_scan(&b, dtype, length, every, add_body(&b, &outer), 2,
             (view[]){{next, 1, {0}}, {u, 0, {0}}, {r, length ? 3 * (length - 1) + 1 : 0, {-3}}, {w, 0, {0}}});
    b.n_uniform = is_lane ? 0 : b.n_instructions;
    return b;
}

/* Tables, casts, views and reductions of a (3, 4) lane value: all that the two above do not have. */
static inline builder mixture(int dtype) {
    builder b = {0};
    const int64_t table[] = {11, 0, 5, 5, 7, 2}, n_table = 6, shape[] = {3, 4}, transposed[] = {4, 3}, twelve = 12;
    const int other = FG_FLOAT32 - dtype;
    int64_t x = add_input(&b, dtype, 1, 12), out = add_output(&b, dtype, 1, 12), few = add_output(&b, dtype, 1, 4);
    int64_t t = add_table(&b, n_table, table), picked = add_arena(&b, dtype, 1, 6),
            other_x = add_arena(&b, other, 1, 12);
    int64_t turned = add_arena(&b, dtype, 1, 12);
    const int64_t rows[] = {4, 3};
    add_instruction(&b, FG_OP_cast, other, 1, &twelve, (view[]){{other_x, 0, {1}}, {x, 0, {1}}});
    add_instruction(&b, FG_OP_cast, dtype, 2, shape, (view[]){{out, 0, {4, 1}}, {other_x, 11, {-4, -1}}});
    add_instruction(&b, FG_OP_copy, dtype, 2, transposed, (view[]){{turned, 0, {3, 1}}, {x, 0, {1, 4}}});
    add_simple(&b, FG_OP_gather, dtype, n_table, picked, x, t);
    add_simple(&b, FG_OP_scatter_add, dtype, n_table, out, picked, t);
    add_simple(&b, FG_OP_multiply, dtype, 12, turned, turned, x);
    add_instruction(&b, FG_OP_sum, dtype, 2, rows, (view[]){{few, 0, {1, 0}}, {turned, 2, {3, -1}}});
    return b;
}

/* Running sums, sorting and elements by number of a (2, 5) lane value; numbers that are out of range among them. */
static inline builder along(int dtype) {
    builder b = {0};
    const int64_t rows[] = {2, 5}, pairs[] = {2, 2, 5}, taken[] = {2, 5, 5}, put[] = {2, 3, 5};
    int64_t x = add_input(&b, dtype, 1, 10), few = add_output(&b, dtype, 1, 6), many = add_output(&b, dtype, 1, 10);
    int64_t found = add_output(&b, dtype, 1, 10), wild = add_output(&b, dtype, 1, 10);
    int64_t sums = add_arena(&b, dtype, 1, 10), chain = add_arena(&b, dtype, 1, 10),
            order = add_arena(&b, dtype, 1, 40);
    add_instruction(&b, FG_OP_cumsum, dtype, 2, rows, (view[]){{sums, 0, {5, 1}}, {x, 4, {5, -1}}});
    add_instruction(&b, FG_OP_recurrence, dtype, 2, rows,
                    (view[]){{chain, 0, {1, 2}}, {sums, 0, {5, 1}}, {x, 0, {5, 1}}});
    add_instruction(&b, FG_OP_sort_pairs, dtype, 3, pairs, (view[]){{order, 0, {20, 5, 1}}, {chain, 0, {1, 0, 2}}});
    add_instruction(&b, FG_OP_take_along, dtype, 3, taken,
                    (view[]){{many, 0, {5, 1, 0}}, {sums, 0, {5, 0, 1}}, {order, 5, {20, 1, 0}}});
    add_instruction(&b, FG_OP_take_along, dtype, 3, taken,
                    (view[]){{wild, 0, {5, 1, 0}}, {sums, 0, {5, 0, 1}}, {x, 0, {5, 1, 0}}});
    add_instruction(&b, FG_OP_put_along, dtype, 3, put,
                    (view[]){{few, 0, {3, 1, 0}}, {sums, 0, {5, 0, 1}}, {order, 5, {20, 0, 1}}});
    add_instruction(&b, FG_OP_search_right, dtype, 3, taken,
                    (view[]){{found, 0, {5, 1, 0}}, {order, 0, {20, 0, 1}}, {x, 0, {5, 1, 0}}});
    return b;
}

/* Factors, systems, determinants and eigenvalues of 3 by 3 lane matrices; and what was never a factor as one. */
static inline builder matrices(int dtype) {
    builder b = {0};
    const int64_t square[] = {3, 3}, system[] = {3, 2, 3}, pair[] = {2, 3, 3}, all = 12, eigen = 12;
    int64_t a = add_input(&b, dtype, 1, 9), right = add_input(&b, dtype, 0, 6), wild = add_input(&b, dtype, 1, 12);
    int64_t x = add_output(&b, dtype, 1, 6), y = add_output(&b, dtype, 1, 6), z = add_output(&b, dtype, 1, 6);
    int64_t det = add_output(&b, dtype, 1, 3), vectors = add_output(&b, dtype, 1, eigen);
    int64_t factors = add_arena(&b, dtype, 1, all), low = add_arena(&b, dtype, 1, 9), e = add_arena(&b, dtype, 1, 21);
    const view by_right = {right, 0, {2, 1, 0}};
    add_instruction(&b, FG_OP_lu, dtype, 2, square, (view[]){{factors, 0, {3, 1}}, {a, 0, {1, 3}}});
    add_instruction(&b, FG_OP_lu_solve, dtype, 3, system,
                    (view[]){{x, 0, {2, 1, 0}}, {factors, 0, {3, 0, 1}}, by_right});
    add_instruction(&b, FG_OP_lu_solve_transposed, dtype, 3, system,
                    (view[]){{y, 0, {2, 1, 0}}, {wild, 0, {3, 0, 1}}, by_right});
    add_instruction(&b, FG_OP_lu_det, dtype, 2, square, (view[]){{det, 0, {0}}, {factors, 0, {3, 1}}});
    add_instruction(&b, FG_OP_lu_slogdet, dtype, 3, pair, (view[]){{det, 1, {1, 0, 0}}, {wild, 0, {0, 3, 1}}});
    add_instruction(&b, FG_OP_cholesky, dtype, 2, square, (view[]){{low, 8, {-3, -1}}, {a, 0, {3, 1}}});
    add_instruction(&b, FG_OP_solve_lower, dtype, 3, system,
                    (view[]){{z, 0, {1, 3, 0}}, {low, 8, {-3, 0, -1}}, by_right});
    add_instruction(&b, FG_OP_eigh, dtype, 2, square, (view[]){{e, 0, {3, 1}}, {a, 0, {3, 1}}});
    add_simple(&b, FG_OP_copy, dtype, eigen, vectors, e, 0);
    return b;
}

/* A dense layer, bias in its product, and what training adds up over lanes: y = relu(x W + b) for lanes x of shape
 * (rows, k), uniform W and b; sums over lanes of y and, by lane_matmul, of x^T d with the adjoint d = y gated by y. */
static inline builder layer_sums(int dtype, int64_t rows, int64_t k, int64_t n) {
    builder b = {0};
    int64_t x = add_input(&b, dtype, 1, rows * k), w = add_input(&b, dtype, 0, k * n),
            bias = add_input(&b, dtype, 0, n);
    int64_t sum = add_output(&b, dtype, 0, rows * n), product = add_output(&b, dtype, 0, k * n);
    int64_t z = add_arena(&b, dtype, 1, rows * n), y = add_arena(&b, dtype, 1, rows * n), size = rows * n;
    add_instruction(
        &b, FG_OP_matmul_add, dtype, 4, (int64_t[]){1, rows, n, k},
        (view[]){{z, 0, {0, n, 1, 0}}, {x, 0, {0, k, 0, 1}}, {w, 0, {0, 0, 1, n}}, {bias, 0, {0, 0, 1, 0}}});
    add_simple(&b, FG_OP_relu, dtype, size, y, z, z);
    add_simple(&b, FG_OP_gate, dtype, size, z, z, y);
    add_simple(&b, FG_OP_lane_sum, dtype, size, sum, y, y);
    add_instruction(&b, FG_OP_lane_matmul, dtype, 3, (int64_t[]){k, n, rows},
                    (view[]){{product, 0, {n, 1, 0}}, {x, 0, {1, 0, k}}, {z, 0, {0, 1, n}}});
    b.n_across = 2;
    return b;
}

/* To be trained: share |x W + b - y|^2 / 2 for lanes x, y of d elements, and its gradient, summed over lanes. */
static inline builder regression(int dtype, int64_t d) {
    builder b = {0};
    const double half = 0.5;
    int64_t w = add_input(&b, dtype, 0, d * d), bias = add_input(&b, dtype, 0, d);
    int64_t share = add_input(&b, dtype, 1, 1), x = add_input(&b, dtype, 1, d), y = add_input(&b, dtype, 1, d);
    int64_t loss = add_output(&b, dtype, 0, 1), gw = add_output(&b, dtype, 0, d * d), gb = add_output(&b, dtype, 0, d);
    int64_t e = add_arena(&b, dtype, 1, d), delta = add_arena(&b, dtype, 1, d), s = add_arena(&b, dtype, 1, 1);
    int64_t c = add_constant(&b, dtype, 1, &half);
    add_instruction(
        &b, FG_OP_matmul_add, dtype, 4, (int64_t[]){1, 1, d, d},
        (view[]){{e, 0, {0, d, 1, 0}}, {x, 0, {0, d, 0, 1}}, {w, 0, {0, 0, 1, d}}, {bias, 0, {0, 0, 1, 0}}});
    add_simple(&b, FG_OP_subtract, dtype, d, e, e, y);
    add_instruction(&b, FG_OP_multiply, dtype, 1, (int64_t[]){d},
                    (view[]){{delta, 0, {1}}, {e, 0, {1}}, {share, 0, {0}}});
    add_instruction(&b, FG_OP_dot, dtype, 1, (int64_t[]){d}, (view[]){{s, 0, {0}}, {delta, 0, {1}}, {e, 0, {1}}});
    add_simple(&b, FG_OP_multiply, dtype, 1, s, s, c);
    add_simple(&b, FG_OP_lane_sum, dtype, 1, loss, s, s);
    add_instruction(&b, FG_OP_lane_matmul, dtype, 3, (int64_t[]){d, d, 1},
                    (view[]){{gw, 0, {d, 1, 0}}, {x, 0, {1, 0, 0}}, {delta, 0, {0, 1, 0}}});
    add_simple(&b, FG_OP_lane_sum, dtype, d, gb, delta, delta);
    b.n_across = 3;
    return b;
}

/* ---- the oracle ----------------------------------------------------------------------------------------- */

static inline double oracle_softplus(double a) { return fmax(a, 0) + log1p(exp(-fabs(a))); }
static inline double oracle_sigmoid(double a) { return 1 / (1 + exp(-a)); }
static inline double oracle_logaddexp(double a, double b) {
    return a == b ? a + log(2.0) : fmax(a, b) + log1p(exp(-fabs(a - b)));
}
static inline double oracle_remainder(double a, double b) {
    double rest = fmod(a, b);
    return rest == 0 ? copysign(rest, b) : (rest < 0) != (b < 0) ? rest + b : rest;
}
static inline double oracle_floor_divide(double a, double b) {
    const double rest = fmod(a, b), whole = (a - rest) / b - (rest != 0 && (rest < 0) != (b < 0));
    return b == 0 ? a / b : whole == 0 ? copysign(0, a / b) : round(whole);
}
#define oracle_pow pow
#define oracle_exp exp
#define oracle_expm1 expm1
#define oracle_log log
#define oracle_log1p log1p
#define oracle_sin sin
#define oracle_cos cos
#define oracle_tan tan
#define oracle_tanh tanh
#define oracle_exp2 exp2
#define oracle_log2 log2
#define oracle_log10 log10
#define oracle_cbrt cbrt
#define oracle_hypot hypot
#define oracle_asin asin
#define oracle_acos acos
#define oracle_atan atan
#define oracle_atan2 atan2
#define oracle_sinh sinh
#define oracle_cosh cosh
#define oracle_asinh asinh
#define oracle_acosh acosh
#define oracle_atanh atanh
#define oracle_fmod fmod
#define oracle_floor floor
#define oracle_ceil ceil
#define oracle_trunc trunc
#define oracle_rint rint
#define oracle_copysign copysign

#define K(x) ((double)(x))
#define TRUTH(m) ((m) ? 1.0 : 0.0)
#define PICK(m, u, v) ((m) ? (u) : (v))
#define FUSED(a, b, c) ((a) * (b) + (c))
#define FN(name) oracle_##name
#define ABS(x) fabs(x)
#define FUSED(a, b, c) ((a) * (b) + (c))
#define SQRT(x) sqrt(x)

/* One element of an elementwise operation, or a reduction's combination of a and b. */
static inline double oracle_element(int op, double a, double b, double c) {
    (void)b, (void)c;
    switch (op) {
#define ELEMENTWISE(name, arity, expression) \
    case FG_OP_##name:                       \
        return expression;
#define REDUCTION(name, identity, expression) \
    case FG_OP_##name:                        \
        return expression;
#include "ops.def"
    default:
        return a;
    }
}
static inline double oracle_identity(int op) {
    switch (op) {
#define REDUCTION(name, identity, expression) \
    case FG_OP_##name:                        \
        return identity;
#include "ops.def"
    case FG_OP_dot:
        return -0.0; /* as a sum of products */
    default:
        return 0;
    }
}
#undef K
#undef TRUTH
#undef PICK
#undef FN
#undef ABS
#undef FUSED
#undef SQRT

typedef struct {
    char *base;
    int64_t dtype, size;
} oracle_buffer;

/* The first element of an operand at the axes' position; NULL outside its buffer. */
static inline void *oracle_at(const oracle_buffer *buffers, int n_dims, const int64_t *operand,
                              const int64_t *position) {
    const oracle_buffer *b = &buffers[operand[0]];
    int64_t i = operand[1];
    for (int d = 0; d < n_dims; d++)
        i += operand[2 + d] * position[d];
    return i < 0 || i >= b->size ? NULL : b->base + (size_t)i * item_size((int)b->dtype);
}

static inline int oracle_run(const int64_t *words, size_t n_words, const void *const *inputs, void *const *outputs);

/* Elements of a body's input or output. */
static inline int64_t size_of(const int64_t *words, int64_t role, int64_t position) {
    for (const int64_t *w = words + FG_HEADER_WORDS;; w += FG_BUFFER_WORDS)
        if (w[0] == role && w[4] == position)
            return w[3];
}

/* Step by step, each carry copied to where it is stored. */
static inline int oracle_scan(const oracle_buffer *buffers, const int64_t *w) {
    const int64_t length = w[3], every = w[5], n_rows = w[6], *operand = w + 7;
    const oracle_buffer *code = &buffers[w[4]], *result = &buffers[operand[0]], *first = &buffers[operand[3]];
    const int64_t *body = (const int64_t *)(const void *)code->base;
    const int64_t n_carry = size_of(body, FG_INPUT, 0), n_row = size_of(body, FG_OUTPUT, 1);
    const size_t item = item_size((int)w[1]), bytes = (size_t)n_carry * item;
    const int64_t stored = every ? length / every + (length % every != 0) : 0;
    char *carry = exactly(n_carry, FG_FLOAT64), *next = exactly(n_carry, FG_FLOAT64);
    char *out = result->base + (size_t)operand[1] * item;
    int inside = operand[1] >= 0 && operand[1] + n_carry + length * n_row + stored * n_carry <= result->size &&
                 operand[4] >= 0 && operand[4] + n_carry <= first->size;
    const void **in = exactly(1 + n_rows, FG_FLOAT64);
    if (inside)
        memcpy(carry, first->base + (size_t)operand[4] * item, bytes);
    for (int64_t t = 0; inside && t < length; t++) {
        if (every && t % every == 0)
            memcpy(out + (size_t)(n_carry + length * n_row + t / every * n_carry) * item, carry, bytes);
        in[0] = carry;
        for (int64_t i = 0; inside && i < n_rows; i++) {
            const int64_t *o = operand + 3 * (2 + i), start = o[1] + t * o[2];
            const oracle_buffer *b = &buffers[o[0]];
            inside = start >= 0 && start + size_of(body, FG_INPUT, 1 + i) <= b->size;
            in[1 + i] = b->base + (size_t)start * item_size((int)b->dtype);
        }
        void *made[] = {next, out + (size_t)(n_carry + t * n_row) * item};
        inside = inside && oracle_run(body, (size_t)code->size, in, made);
        memcpy(carry, next, bytes);
    }
    if (inside)
        memcpy(out, carry, bytes);
    free(carry);
    free(next);
    free(in);
    return inside;
}

static inline int oracle_instruction(const oracle_buffer *buffers, const int64_t *w) {
    if (w[0] == FG_OP_scan)
        return oracle_scan(buffers, w);
    const int op = (int)w[0], dtype = (int)w[1], n_dims = (int)w[2], arity = fg_op_arity(op);
    const int starts = op == FG_OP_matmul_add; /* from the last operand */
    const int reduces = fg_op_kind_of(op) == FG_REDUCTION || op == FG_OP_dot || op == FG_OP_matmul || starts;
    const int64_t *shape = w + 3, *operand[1 + FG_MAX_INPUTS] = {0};
    int64_t position[FG_MAX_DIMS] = {0};
    for (int i = 0; i <= arity; i++)
        operand[i] = shape + n_dims + i * (2 + n_dims);
    for (int d = 0; d < n_dims - reduces; d++)
        if (shape[d] == 0)
            return 1;
    for (;;) {
        void *out = oracle_at(buffers, n_dims, operand[0], position);
        double value[1 + FG_MAX_INPUTS] = {0};
        const int64_t n = reduces ? shape[n_dims - 1] : 1;
        double sum = oracle_identity(op);
        if (op == FG_OP_gather || op == FG_OP_scatter_add) { /* strides do not count: one axis, packed */
            const int64_t i = position[0], is_gather = op == FG_OP_gather;
            const oracle_buffer *t = &buffers[operand[2][0]];
            if (operand[2][1] + i >= t->size)
                return 0;
            const int64_t there[] = {operand[is_gather][0], operand[is_gather][1], 1};
            const int64_t here[] = {operand[!is_gather][0], operand[!is_gather][1], 1};
            void *many = oracle_at(buffers, 1, there, (const int64_t *)(const void *)t->base + i);
            void *few = oracle_at(buffers, 1, here, position);
            if (!many || !few)
                return 0;
            set(is_gather ? few : many, dtype, 0,
                is_gather ? get(many, dtype, 0) : get(many, dtype, 0) + get(few, dtype, 0));
        } else if (fg_op_kind_of(op) == FG_GENERALISED) { /* what it reads and writes, not what it computes */
            for (int i = 0; i <= arity; i++)
                if (!oracle_at(buffers, n_dims, operand[i], position))
                    return 0;
        } else {
            if (!out)
                return 0;
            if (starts) {
                const void *from = oracle_at(buffers, n_dims, operand[3], position);
                if (!from)
                    return 0;
                sum = get(from, dtype, 0);
            }
            for (int64_t r = 0; r < n; r++) {
                if (reduces)
                    position[n_dims - 1] = r;
                for (int i = 1; i <= arity - starts; i++) {
                    const void *from = oracle_at(buffers, n_dims, operand[i], position);
                    if (!from)
                        return 0;
                    value[i] = get(from, (int)buffers[operand[i][0]].dtype, 0);
                }
                if (fg_op_kind_of(op) == FG_REDUCTION)
                    sum = oracle_element(op, sum, value[1], 0);
                else
                    sum += reduces ? value[1] * value[2] : 0;
            }
            if (reduces)
                position[n_dims - 1] = 0;
            set(out, dtype, 0, reduces ? sum : oracle_element(op, value[1], value[2], value[3]));
        }
        int d = n_dims - reduces - 1;
        while (d >= 0 && ++position[d] == shape[d])
            position[d--] = 0;
        if (d < 0)
            return 1;
    }
}

/* Runs a program for one instance, sums over lanes aside; 0 when it left a buffer. The arenas start as zeros. */
static inline int oracle_run(const int64_t *words, size_t n_words, const void *const *inputs, void *const *outputs) {
    const int64_t n_buffers = words[1], *w = words + FG_HEADER_WORDS, *constants = words + n_words - words[7];
    oracle_buffer *buffers = calloc((size_t)n_buffers + 1, sizeof *buffers);
    int64_t bytes[2] = {0, 0};
    for (int64_t i = 0; i < n_buffers; i++) {
        const int64_t *b = w + i * FG_BUFFER_WORDS, end = b[4] + b[3] * (int64_t)item_size((int)b[1]);
        if (b[0] == FG_ARENA && end > bytes[b[2]])
            bytes[b[2]] = end;
    }
    char *arena[2] = {calloc(1, (size_t)bytes[0] + 1), calloc(1, (size_t)bytes[1] + 1)};
    if (!buffers || !arena[0] || !arena[1])
        abort();
    for (int64_t i = 0; i < n_buffers; i++, w += FG_BUFFER_WORDS) {
        union {
            const void *read;
            void *write;
        } p = {NULL};
        switch (w[0]) {
        case FG_INPUT:
            p.read = inputs[w[4]];
            break;
        case FG_OUTPUT:
            p.write = outputs[w[4]];
            break;
        case FG_CONSTANT:
            p.read = constants + w[4];
            break;
        default:
            p.write = arena[w[2]] + w[4];
        }
        buffers[i] = (oracle_buffer){p.write, w[1], w[3]};
    }
    int inside = 1;
    for (int64_t i = 0; inside && i < words[2] - words[4]; i++) {
        inside = oracle_instruction(buffers, w);
        w += instruction_words(w);
    }
    free(arena[0]);
    free(arena[1]);
    free(buffers);
    return inside;
}

/* ---- arrays to run a program on ------------------------------------------------------------------------- */

typedef struct {
    int n_inputs, n_outputs;
    int64_t batch;
    void **in, **out; /* the lane ones of `batch` instances */
} arrays;

static inline int64_t input_length(const fg_program *p, int i, int64_t batch) {
    return fg_program_input_size(p, i) * (fg_program_input_is_lane(p, i) ? batch : 1);
}
static inline int64_t output_length(const fg_program *p, int i, int64_t batch) {
    return fg_program_output_size(p, i) * (fg_program_output_is_lane(p, i) ? batch : 1);
}
/* Inputs uniform in [low, high), whole numbers when `whole`; outputs zero. */
static inline arrays make_arrays(const fg_program *p, int64_t batch, rng *r, double low, double high, int whole) {
    arrays a = {fg_program_n_inputs(p), fg_program_n_outputs(p), batch, NULL, NULL};
    a.in = exactly(a.n_inputs, FG_FLOAT64);
    a.out = exactly(a.n_outputs, FG_FLOAT64);
    for (int i = 0; i < a.n_inputs; i++) {
        const int64_t n = input_length(p, i, batch);
        a.in[i] = exactly(n, (int)fg_program_input_dtype(p, i));
        for (int64_t k = 0; k < n; k++) {
            double x = rng_between(r, low, high);
            set(a.in[i], (int)fg_program_input_dtype(p, i), k, whole ? floor(x) : x);
        }
    }
    for (int i = 0; i < a.n_outputs; i++)
        a.out[i] = exactly(output_length(p, i, batch), (int)fg_program_output_dtype(p, i));
    return a;
}
static inline void clear_outputs(const fg_program *p, arrays *a) {
    for (int i = 0; i < a->n_outputs; i++)
        memset(a->out[i], 0, (size_t)output_length(p, i, a->batch) * item_size((int)fg_program_output_dtype(p, i)));
}
static inline void free_arrays(arrays *a) {
    for (int i = 0; i < a->n_inputs; i++)
        free(a->in[i]);
    for (int i = 0; i < a->n_outputs; i++)
        free(a->out[i]);
    free(a->in);
    free(a->out);
}
static inline const void *const *inputs_of(const arrays *a) { return (const void *const *)a->in; }

/* The places of instance l among arrays of a batch. */
static inline void instance_of(const fg_program *p, const arrays *a, int64_t l, const void **in, void **out) {
    for (int i = 0; i < a->n_inputs; i++)
        in[i] = (char *)a->in[i] + (fg_program_input_is_lane(p, i) ? l * fg_program_input_size(p, i) : 0) *
                                       (int64_t)item_size((int)fg_program_input_dtype(p, i));
    for (int i = 0; i < a->n_outputs; i++)
        out[i] = (char *)a->out[i] + (fg_program_output_is_lane(p, i) ? l * fg_program_output_size(p, i) : 0) *
                                         (int64_t)item_size((int)fg_program_output_dtype(p, i));
}

#endif
