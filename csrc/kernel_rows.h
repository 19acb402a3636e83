/* Template, per dtype: the elementwise operations of ops.def over rows. */

typedef V (*TYPED(op))(V a, V b, V c);

FG_INLINE V TYPED(opaque)(V x) {
    FG_OWN_VALUE(x);
    return x;
}

/* A repeated operand is new in each turn to the compiler: were parts of an operation moved out of the loop, the rest
 * could be rounded in another way than where no operand repeats. */
#define LOADED(p, bit, load) (splat & (bit) ? TYPED(opaque)(p##_splat) : (load))

/* `splat` and `arity` are constants where this is inlined. */
FG_INLINE void TYPED(rows)(const fg_rows *rows, void *const *operand, int arity, unsigned splat, TYPED(op) op) {
    const int64_t width = rows->width;
    T *out = operand[0];
    const T *a = operand[1], *b = arity > 1 ? operand[2] : a, *c = arity > 2 ? operand[3] : a;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const V a_splat = splat & 1u ? SPLAT(*a) : (V){0};
        const V b_splat = arity > 1 && splat & 2u ? SPLAT(*b) : (V){0};
        const V c_splat = arity > 2 && splat & 4u ? SPLAT(*c) : (V){0};
        int64_t i = 0;
#pragma GCC unroll 2
        for (; i + N <= width; i += N) {
            V va = LOADED(a, 1u, TYPED(load)(a + i));
            V vb = arity > 1 ? LOADED(b, 2u, TYPED(load)(b + i)) : va;
            V vc = arity > 2 ? LOADED(c, 4u, TYPED(load)(c + i)) : va;
            TYPED(store)(out + i, op(va, vb, vc));
        }
        if (i < width) {
            int64_t n = width - i;
            V va = LOADED(a, 1u, TYPED(load_some)(a + i, n));
            V vb = arity > 1 ? LOADED(b, 2u, TYPED(load_some)(b + i, n)) : va;
            V vc = arity > 2 ? LOADED(c, 4u, TYPED(load_some)(c + i, n)) : va;
            TYPED(store_some)(out + i, op(va, vb, vc), n);
        }
        out += rows->stride[0];
        a += rows->stride[1];
        if (arity > 1)
            b += rows->stride[2];
        if (arity > 2)
            c += rows->stride[3];
    }
}

/* The same for a costly operation of at most two operands, in one place of the code: whole vectors and the rest go
 * through one loop, in whose registers the operation's constants stay. */
FG_INLINE void TYPED(costly_rows)(const fg_rows *rows, void *const *operand, int arity, TYPED(op) op) {
    const int64_t width = rows->width;
    const unsigned splat = rows->splat;
    T *out = operand[0];
    const T *a = operand[1], *b = arity > 1 ? operand[2] : a;
    for (int64_t r = 0; r < rows->n_rows; r++) {
        const V a_splat = splat & 1u ? SPLAT(*a) : (V){0};
        const V b_splat = arity > 1 && splat & 2u ? SPLAT(*b) : (V){0};
        for (int64_t i = 0; i < width; i += N) {
            const int64_t n = width - i;
#define LOAD(p) (n < N ? TYPED(load_some)(p + i, n) : TYPED(load)(p + i))
            V va = LOADED(a, 1u, LOAD(a)), vb = arity > 1 ? LOADED(b, 2u, LOAD(b)) : va;
            V result = op(va, vb, va);
#undef LOAD
            if (n < N)
                TYPED(store_some)(out + i, result, n);
            else
                TYPED(store)(out + i, result);
        }
        out += rows->stride[0];
        a += rows->stride[1];
        if (arity > 1)
            b += rows->stride[2];
    }
}
#undef LOADED

#define ELEMENTARY(name, arity, expression)                                      \
    _Static_assert((arity) <= 2, "a costly operation has two operands at most"); \
    FG_INLINE V TYPED(op_##name)(V a, V b, V c) {                                \
        (void)b, (void)c;                                                        \
        return expression;                                                       \
    }                                                                            \
    static void TYPED(rows_##name)(const fg_rows *rows, void *const *operand) {  \
        TYPED(costly_rows)(rows, operand, arity, TYPED(op_##name));              \
    }
#define ELEMENTWISE(name, arity, expression)                                        \
    FG_INLINE V TYPED(op_##name)(V a, V b, V c) {                                   \
        (void)b, (void)c;                                                           \
        return expression;                                                          \
    }                                                                               \
    static void TYPED(rows_##name)(const fg_rows *rows, void *const *operand) {     \
        switch (rows->splat) {                                                      \
        case 0:                                                                     \
            TYPED(rows)(rows, operand, arity, 0, TYPED(op_##name));                 \
            return;                                                                 \
        case 1:                                                                     \
            TYPED(rows)(rows, operand, arity, 1, TYPED(op_##name));                 \
            return;                                                                 \
        case 2:                                                                     \
            TYPED(rows)(rows, operand, arity, arity > 1 ? 2 : 0, TYPED(op_##name)); \
            return;                                                                 \
        case 4:                                                                     \
            TYPED(rows)(rows, operand, arity, arity > 2 ? 4 : 0, TYPED(op_##name)); \
            return;                                                                 \
        default:                                                                    \
            TYPED(rows)(rows, operand, arity, rows->splat, TYPED(op_##name));       \
            return;                                                                 \
        }                                                                           \
    }
#include "ops.def"
