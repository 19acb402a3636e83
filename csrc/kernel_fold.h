/* Template, per dtype: reductions. Their order is a law (kernels.h, fg_fold): the same whether the elements stand
 * along memory or the lanes do, on every ISA's width, for every number of threads. */

enum { TYPED(CHUNK) = 1024, TYPED(ACCUMULATORS) = 16 };

typedef V (*TYPED(lift))(V accumulator, V x, V y); /* takes in an element (of a product: x and y) */
typedef V (*TYPED(join))(V left, V right);         /* combines two accumulators */

/* the left part of more than one chunk: a power of two of chunks */
FG_INLINE int64_t TYPED(left_part)(int64_t n) {
    int64_t left = TYPED(CHUNK);
    while (2 * left < n)
        left *= 2;
    return left;
}

/* Lanes: N neighbouring results at once (the first `some` when that is not 0). Few elements leave all but the first
 * `used` accumulators at the identity, which changes no bit of what it is joined with: they are left out. */
FG_INLINE V TYPED(chunk_of_lanes)(const fg_fold *f, int64_t n, const T *a, const T *b, int64_t some, V identity,
                                  int used, unsigned splat, TYPED(lift) lift, TYPED(join) join) {
    V accumulator[TYPED(ACCUMULATORS)];
    const int64_t sa = f->stride[0], sb = f->stride[1];
#define ELEMENT(p, bit) (splat & (bit) ? SPLAT(*(p)) : some ? TYPED(load_some)(p, some) : TYPED(load)(p))
#pragma GCC unroll 16
    for (int j = 0; j < used; j++)
        accumulator[j] = identity;
    int64_t r = 0;
    for (; r + used <= n; r += used)
#pragma GCC unroll 16
        for (int j = 0; j < used; j++)
            accumulator[j] = lift(accumulator[j], ELEMENT(a + (r + j) * sa, 1u), ELEMENT(b + (r + j) * sb, 2u));
#pragma GCC unroll 16
    for (int j = 0; j < used; j++)
        if (r + j < n)
            accumulator[j] = lift(accumulator[j], ELEMENT(a + (r + j) * sa, 1u), ELEMENT(b + (r + j) * sb, 2u));
#undef ELEMENT
#pragma GCC unroll 4
    for (int half = used / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int j = 0; j < half; j++)
            accumulator[j] = join(accumulator[j], accumulator[j + half]);
    return accumulator[0];
}

/* Along: one result, the elements of the sum next to each other. */
FG_INLINE T TYPED(chunk_along)(const fg_fold *f, int64_t n, const T *a, const T *b, V identity, TYPED(lift) lift,
                               TYPED(join) join) {
    enum { GROUP = TYPED(ACCUMULATORS) / N };
    T gathered[2][TYPED(CHUNK)];
    if (f->stride[0] != 1) {
        for (int64_t r = 0; r < n; r++)
            gathered[0][r] = a[r * f->stride[0]];
        a = gathered[0];
    }
    if (f->stride[1] != 1) {
        for (int64_t r = 0; r < n; r++)
            gathered[1][r] = b[r * f->stride[1]];
        b = gathered[1];
    }
    V accumulator[GROUP];
    for (int g = 0; g < GROUP; g++)
        accumulator[g] = identity;
    int64_t r = 0;
    for (; r + TYPED(ACCUMULATORS) <= n; r += TYPED(ACCUMULATORS))
        for (int g = 0; g < GROUP; g++)
            accumulator[g] = lift(accumulator[g], TYPED(load)(a + r + g * N), TYPED(load)(b + r + g * N));
    for (int g = 0; g < GROUP; g++) {
        int64_t some = n - r - g * N;
        if (some >= N)
            accumulator[g] = lift(accumulator[g], TYPED(load)(a + r + g * N), TYPED(load)(b + r + g * N));
        else if (some > 0)
            accumulator[g] =
                PICK(TYPED(first)(some),
                     lift(accumulator[g], TYPED(load_some)(a + r + g * N, some), TYPED(load_some)(b + r + g * N, some)),
                     accumulator[g]);
    }
    T buffer[2 * TYPED(ACCUMULATORS) + N] = {0};
    for (int g = 0; g < GROUP; g++)
        TYPED(store)(buffer + g * N, accumulator[g]);
    for (int half = TYPED(ACCUMULATORS) / 2; half > 0; half /= 2)
        for (int j = 0; j < half; j += N)
            TYPED(store)(buffer + j, join(TYPED(load)(buffer + j), TYPED(load)(buffer + j + half)));
    return buffer[0];
}

#define CHUNK(name, identity, some, used, splat) \
    TYPED(chunk_of_lanes)(f, n, a, b, some, identity, used, splat, TYPED(lift_##name), TYPED(join_##name))

#define FOLD(name, identity, lift_expression, join_expression)                                                     \
    FG_INLINE V TYPED(lift_##name)(V a, V b, V c) {                                                                \
        (void)c;                                                                                                   \
        return lift_expression;                                                                                    \
    }                                                                                                              \
    FG_INLINE V TYPED(join_##name)(V a, V b) { return join_expression; }                                           \
    static V TYPED(lanes_##name)(const fg_fold *f, int64_t n, const T *a, const T *b, int64_t some) {              \
        if (n > TYPED(CHUNK)) {                                                                                    \
            int64_t left = TYPED(left_part)(n);                                                                    \
            return TYPED(join_##name)(                                                                             \
                TYPED(lanes_##name)(f, left, a, b, some),                                                          \
                TYPED(lanes_##name)(f, n - left, a + left * f->stride[0], b + left * f->stride[1], some));         \
        }                                                                                                          \
        if (some)                                                                                                  \
            return CHUNK(name, identity, some, 16, f->splat);                                                      \
        if (f->splat)                                                                                              \
            return CHUNK(name, identity, 0, 16, f->splat);                                                         \
        if (n <= 2)                                                                                                \
            return CHUNK(name, identity, 0, 2, 0);                                                                 \
        if (n <= 4)                                                                                                \
            return CHUNK(name, identity, 0, 4, 0);                                                                 \
        return n <= 8 ? CHUNK(name, identity, 0, 8, 0) : CHUNK(name, identity, 0, 16, 0);                          \
    }                                                                                                              \
    static T TYPED(along_##name)(const fg_fold *f, int64_t n, const T *a, const T *b) {                            \
        if (n > TYPED(CHUNK)) {                                                                                    \
            int64_t left = TYPED(left_part)(n);                                                                    \
            T first = TYPED(along_##name)(f, left, a, b);                                                          \
            T second = TYPED(along_##name)(f, n - left, a + left * f->stride[0], b + left * f->stride[1]);         \
            return TYPED(join_##name)(SPLAT(first), SPLAT(second))[0];                                             \
        }                                                                                                          \
        return TYPED(chunk_along)(f, n, a, b, identity, TYPED(lift_##name), TYPED(join_##name));                   \
    }                                                                                                              \
    static void TYPED(fold_##name)(const fg_fold *f, void *const *operand) {                                       \
        T *out = operand[0];                                                                                       \
        const T *a = operand[1], *b = operand[2];                                                                  \
        if (f->width == 1) {                                                                                       \
            *out = TYPED(along_##name)(f, f->n, a, b);                                                             \
            return;                                                                                                \
        }                                                                                                          \
        const int64_t step_a = f->splat & 1u ? 0 : 1, step_b = f->splat & 2u ? 0 : 1;                              \
        int64_t i = 0;                                                                                             \
        for (; i + N <= f->width; i += N)                                                                          \
            TYPED(store)(out + i, TYPED(lanes_##name)(f, f->n, a + i * step_a, b + i * step_b, 0));                \
        if (i < f->width)                                                                                          \
            TYPED(store_some)(out + i, TYPED(lanes_##name)(f, f->n, a + i * step_a, b + i * step_b, f->width - i), \
                              f->width - i);                                                                       \
    }

#define REDUCTION(name, identity, expression) FOLD(name, identity, expression, expression)
#include "ops.def"
FOLD(dot, K(-0.0), FUSED(b, c, a), a + b)
#undef FOLD
#undef CHUNK

/* out[r] = (accumulate ? out[r] : 0) + the sum of a[r, l] b[l], or of a[r, l] without b, over l < n for r < n_rows: N
 * neighbours of l at a time, and these folded in halves, for N rows at once. In the round of h, halves of 2h numbers
 * are added: two rows make one. */
static void TYPED(lane_sums)(int64_t n_rows, int64_t n, int64_t stride, int accumulate, const void *left,
                             const void *right, void *to) {
    const T *a = left, *b = right;
    T *out = to;
    for (int64_t r = 0; r < n_rows; r += N, a += N * stride) {
        const int64_t some = n_rows - r;
        V sum[N];
#pragma GCC unroll 16
        for (int j = 0; j < N; j++)
            sum[j] = (V){0};
        for (int64_t l = 0; l < n; l += N) {
            const int64_t left_over = n - l;
#define LOAD(p) (left_over < N ? TYPED(load_some)((p) + l, left_over) : TYPED(load)((p) + l))
            const V factor = b ? LOAD(b) : K(1);
#pragma GCC unroll 16
            for (int j = 0; j < N; j++)
                if (j < some)
                    sum[j] = b ? FUSED(LOAD(a + j * stride), factor, sum[j]) : sum[j] + LOAD(a + j * stride);
#undef LOAD
        }
#define UPPER(i, h) ((i) & (h) ? N + (i) - (h) : (i))
#define LOWER(i, h) ((i) & (h) ? N + (i) : (i) + (h))
#define ROUND(h)                \
    for (int j = 0; j < h; j++) \
        sum[j] =                \
            FG_SHUFFLE(M, sum[j], sum[j + (h)], EACH(UPPER, h)) + FG_SHUFFLE(M, sum[j], sum[j + (h)], EACH(LOWER, h));
#if N > 8
#pragma GCC unroll 16
        ROUND(8)
#endif
#if N > 4
#pragma GCC unroll 16
        ROUND(4)
#endif
#if N > 2
#pragma GCC unroll 16
        ROUND(2)
#endif
#pragma GCC unroll 16
        ROUND(1)
#undef ROUND
#undef LOWER
#undef UPPER
        if (some < N) {
            if (accumulate)
                sum[0] += TYPED(load_some)(out + r, some);
            TYPED(store_some)(out + r, sum[0], some);
        } else {
            if (accumulate)
                sum[0] += TYPED(load)(out + r);
            TYPED(store)(out + r, sum[0]);
        }
    }
}
