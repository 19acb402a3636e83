/* Template, per dtype: operations along an axis. Each works on N neighbours at once (kernels.h, fg_core), which may be
 * one; no neighbour's result depends on the others'. Numbers of elements come from other operations, so they are not
 * believed: position() keeps them in range. */

/* An element of an operand for all neighbours, and a result: `some` as in load_some, 0 for a whole vector. */
#define AT(p, bit) \
    (c->splat & (bit) ? SPLAT(*(p)) : some ? TYPED(load_some)(p, some < N ? some : N - 1) : TYPED(load)(p))
#define GET(p) (some ? TYPED(load_some)(p, some < N ? some : N - 1) : TYPED(load)(p))
#define PUT(p, v) (some ? TYPED(store_some)(p, v, some < N ? some : N - 1) : TYPED(store)(p, v))
#define COUNT (some ? some : N)

/* The kernel of a function of `some` neighbours; one neighbour alone, an instance, is worth code of its own. */
#define CORE(name) CORE_OF(name, *whole)
#define CORE_OF(name, core)                                                      \
    static void TYPED(core_##name)(const fg_core *whole, void *const *operand) { \
        const fg_core own = core, *c = &own;                                     \
        const int64_t step_a = !(c->splat & 1u), step_b = !(c->splat & 2u);      \
        for (int64_t i = 0; i < c->width; i += N) {                              \
            T *out = (T *)operand[0] + i;                                        \
            const T *a = (const T *)operand[1] + i * step_a;                     \
            const T *b = (const T *)operand[2] + i * step_b;                     \
            const int64_t left = c->width - i;                                   \
            if (left >= N)                                                       \
                TYPED(name)(c, 0, out, a, b);                                    \
            else if (left == 1)                                                  \
                TYPED(name)(c, 1, out, a, b);                                    \
            else                                                                 \
                TYPED(name)(c, left, out, a, b);                                 \
        }                                                                        \
    }

/* ---- running combinations --------------------------------------------------------------------------------- */

FG_INLINE void TYPED(accumulate)(const fg_core *c, int64_t some, T *out, const T *a, TYPED(join) join) {
    const int64_t to = c->stride[0][0], from = c->stride[1][0];
    V y = AT(a, 1u);
    PUT(out, y);
    for (int64_t r = 1; r < c->size[0]; r++) {
        y = join(y, AT(a + r * from, 1u));
        PUT(out + r * to, y);
    }
}

#define ACCUMULATION(name, expression)                                                           \
    FG_INLINE V TYPED(join_##name)(V a, V b) { return expression; }                              \
    FG_INLINE void TYPED(name)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) { \
        (void)b;                                                                                 \
        TYPED(accumulate)(c, some, out, a, TYPED(join_##name));                                  \
    }                                                                                            \
    CORE(name)
#include "ops.def"

FG_INLINE void TYPED(recurrence)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    V y = {0};
    for (int64_t r = 0; r < c->size[0]; r++) {
        const V add = AT(b + r * c->stride[2][0], 2u);
        y = r ? PICK(y == K(0), add, FUSED(AT(a + r * c->stride[1][0], 1u), y, add)) : add;
        PUT(out + r * c->stride[0][0], y);
    }
}
CORE(recurrence)

/* ---- sorting ---------------------------------------------------------------------------------------------- */

/* Where value a of number i comes after value b of number j: NaN after all others, equals by their numbers. So the
 * order is total and any way to sort gives the one result. */
FG_INLINE M TYPED(is_after)(V a, V i, V b, V j) {
    const M a_nan = a != a, b_nan = b != b;
    return (a > b) | (a_nan & ~b_nan) | (((a == b) | (a_nan & b_nan)) & (i > j));
}

/* Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2 M): what it compares does not depend on
 * the values, so that all neighbours do it together. */
FG_INLINE void TYPED(sort_network)(const fg_core *c, int64_t some, T *value) {
    const int64_t n = c->size[1], step = c->stride[0][1];
    T *number = value + c->stride[0][0];
    int64_t top = 1;
    while (2 * top < n)
        top *= 2;
    for (int64_t p = n > 1 ? top : 0; p > 0; p /= 2)
        for (int64_t q = top, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (int64_t i = 0; i + d < n; i++) {
                if ((i & p) != r)
                    continue;
                T *at = value + i * step, *other = at + d * step;
                T *at_number = number + i * step, *other_number = at_number + d * step;
                const V a = GET(at), b = GET(other), k = GET(at_number), l = GET(other_number);
                const M swap = TYPED(is_after)(a, k, b, l);
                PUT(at, PICK(swap, b, a));
                PUT(other, PICK(swap, a, b));
                PUT(at_number, PICK(swap, l, k));
                PUT(other_number, PICK(swap, k, l));
            }
            if (q == p)
                break;
        }
}

/* The bits of a value as a number in the same order: negative zero as zero, every NaN as one above all. */
FG_INLINE U TYPED(sort_key)(V x) {
    const U bits = (U)(x + K(0));
    const U sign = (U)K(-0.0);
    const U key = (U)PICK(x < K(0), (V)~bits, (V)(bits | sign));
    return (U)PICK(x != x, (V) ~(U){0}, (V)key);
}

typedef __typeof__(((U){0})[0]) TYPED(bits);

FG_INLINE TYPED(bits) TYPED(key_at)(const T *p) {
    TYPED(bits) key;
    memcpy(&key, p, sizeof key);
    return key;
}

/* Keys and numbers, `step` apart, sorted by insertion: stable. */
static void TYPED(sort_short)(int64_t n, int64_t step, T *key, T *number) {
    for (int64_t i = 1; i < n; i++) {
        const TYPED(bits) x = TYPED(key_at)(key + i * step);
        const T moved = number[i * step];
        int64_t j = i * step;
        for (; j != 0 && TYPED(key_at)(key + j - step) > x; j -= step) { /* strides may be negative */
            memcpy(key + j, key + j - step, sizeof x);
            number[j] = number[j - step];
        }
        memcpy(key + j, &x, sizeof x);
        number[j] = moved;
    }
}

/* By the keys' digits, the least first, to and fro between two places: stable too. Returns where the numbers end. */
static const T *TYPED(sort_long)(int64_t n, int64_t step, T *key, T *number, T *other_key, T *other_number) {
    enum { DIGITS = sizeof(T), RADIX = 256 };
    int64_t count[DIGITS][RADIX] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < DIGITS; d++)
            count[d][TYPED(key_at)(key + i * step) >> 8 * d & (RADIX - 1)]++;
    for (int d = 0; d < DIGITS; d++) {
        int64_t start = 0, most = 0;
        for (int k = 0; k < RADIX; k++) {
            const int64_t here = count[d][k];
            most = here > most ? here : most;
            count[d][k] = start;
            start += here;
        }
        if (most == n) /* the same digit everywhere */
            continue;
        for (int64_t i = 0; i < n; i++) {
            const TYPED(bits) x = TYPED(key_at)(key + i * step);
            const int64_t to = count[d][x >> 8 * d & (RADIX - 1)]++ * step;
            memcpy(other_key + to, &x, sizeof x);
            other_number[to] = number[i * step];
        }
        T *kept = key;
        key = other_key, other_key = kept;
        kept = number, number = other_number, other_number = kept;
    }
    return number;
}

/* Rows 2 and 3 of the result are there to work in. */
static void TYPED(sort_alone)(const fg_core *c, T *out, const T *a) {
    enum { SHORT = 48 };
    const int64_t n = c->size[1], step = c->stride[0][1], row = c->stride[0][0], from = c->stride[1][1];
    for (int64_t i = 0; i < n; i++) {
        const TYPED(bits) key = TYPED(sort_key)(SPLAT(a[i * from]))[0];
        memcpy(out + i * step, &key, sizeof key);
        out[row + i * step] = (T)i;
    }
    const T *number = out + row;
    if (n <= SHORT)
        TYPED(sort_short)(n, step, out, out + row);
    else
        number = TYPED(sort_long)(n, step, out, out + row, out + 2 * row, out + 3 * row);
    for (int64_t i = 0; i < n; i++) {
        const T which = number[i * step];
        out[row + i * step] = which;
        out[i * step] = a[(int64_t)which * from];
    }
}

FG_INLINE void TYPED(sort_pairs)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    (void)b;
    if (some == 1) {
        TYPED(sort_alone)(c, out, a);
        return;
    }
    for (int64_t i = 0; i < c->size[1]; i++) {
        PUT(out + i * c->stride[0][1], AT(a + i * c->stride[1][1], 1u));
        PUT(out + c->stride[0][0] + i * c->stride[0][1], K(i));
    }
    TYPED(sort_network)(c, some, out);
}
CORE(sort_pairs)

/* ---- elements by number ----------------------------------------------------------------------------------- */

/* A number of one of n elements from a float that may be anything, NaN included. */
FG_INLINE int64_t TYPED(position)(T x, int64_t n) { return x > 0 ? x < (T)(n - 1) ? (int64_t)x : n - 1 : 0; }

FG_INLINE void TYPED(take_along)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    const int64_t step_a = !(c->splat & 1u), step_b = !(c->splat & 2u);
    for (int64_t i = 0; i < c->size[0]; i++)
        for (int64_t l = 0; l < COUNT; l++) {
            const int64_t at = TYPED(position)(b[i * c->stride[2][0] + l * step_b], c->size[1]);
            out[i * c->stride[0][0] + l] = a[at * c->stride[1][1] + l * step_a];
        }
}
CORE(take_along)

FG_INLINE void TYPED(put_along)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    const int64_t step_a = !(c->splat & 1u), step_b = !(c->splat & 2u);
    for (int64_t i = 0; i < c->size[0]; i++)
        PUT(out + i * c->stride[0][0], K(0));
    for (int64_t i = 0; i < c->size[1]; i++)
        for (int64_t l = 0; l < COUNT; l++) {
            const int64_t at = TYPED(position)(b[i * c->stride[2][1] + l * step_b], c->size[0]);
            out[at * c->stride[0][0] + l] += a[i * c->stride[1][1] + l * step_a];
        }
}
CORE(put_along)

/* How many elements come before x, or with `right` not after it; NaN comes last. */
FG_INLINE void TYPED(search)(const fg_core *c, int64_t some, T *out, const T *a, const T *b, int right) {
    const int64_t step_a = !(c->splat & 1u), step_b = !(c->splat & 2u);
    for (int64_t i = 0; i < c->size[0]; i++)
        for (int64_t l = 0; l < COUNT; l++) {
            const T x = b[i * c->stride[2][0] + l * step_b];
            int64_t low = 0, n = c->size[1];
            while (n > 0) {
                const int64_t half = n / 2;
                const T y = a[(low + half) * c->stride[1][1] + l * step_a];
                const int before = right ? !(x < y || (y != y && x == x)) : y < x || (x != x && y == y);
                low += before ? half + 1 : 0;
                n = before ? n - half - 1 : half;
            }
            out[i * c->stride[0][0] + l] = (T)low;
        }
}
FG_INLINE void TYPED(search_left)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    TYPED(search)(c, some, out, a, b, 0);
}
FG_INLINE void TYPED(search_right)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    TYPED(search)(c, some, out, a, b, 1);
}
CORE(search_left)
CORE(search_right)
