/* Template, per dtype: rows of data of any kind become numbers, noise is made, and what a penalty adds to a gradient.
 */

/* Elements first to first + size - 1 of each row, side by side in `to`. A row's elements are contiguous, or stand where
 * `offsets` say; what is read need not be aligned. Numbers of few bits are scaled in the dtype itself. */
#define ELEMENT(type, wide, o)                \
    type value;                               \
    memcpy(&value, from + (o), sizeof value); \
    to[i] = (T)((wide)value * (wide)s->scale + (wide)s->shift)
#define GATHER(name, type, wide)                                                                           \
    FG_INLINE void TYPED(gather_##name)(const fg_source *s, int64_t n, const int64_t *rows, int64_t first, \
                                        int64_t size, T *to) {                                             \
        for (int64_t r = 0; r < n; r++, to += size) {                                                      \
            const char *from = (const char *)s->data + rows[r] * s->row_stride;                            \
            if (s->offsets)                                                                                \
                for (int64_t i = 0; i < size; i++) {                                                       \
                    ELEMENT(type, wide, s->offsets[first + i]);                                            \
                }                                                                                          \
            else                                                                                           \
                for (int64_t i = 0; i < size; i++) {                                                       \
                    ELEMENT(type, wide, (first + i) * (int64_t)sizeof value);                              \
                }                                                                                          \
        }                                                                                                  \
    }
GATHER(float64, double, double)
GATHER(float32, float, T)
GATHER(int64, int64_t, double)
GATHER(int32, int32_t, double)
GATHER(uint8, uint8_t, T)
#undef GATHER
#undef ELEMENT

/* The same for rows that are contiguous in this dtype and read as they are. */
FG_INLINE void TYPED(gather_same)(const fg_source *s, int64_t n, const int64_t *rows, int64_t first, int64_t size,
                                  T *to) {
    enum { SHORT = 2 * N };
    for (int64_t r = 0; r < n; r++, to += size) {
        const T *from = (const T *)((const char *)s->data + rows[r] * s->row_stride) + first;
        if (size > SHORT)
            memcpy(to, from, (size_t)size * sizeof(T));
        else {
            int64_t i = 0;
            for (; i + N <= size; i += N)
                TYPED(store)(to + i, TYPED(load)(from + i));
            if (i < size)
                TYPED(store_some)(to + i, TYPED(load_some)(from + i, size - i), size - i);
        }
    }
}

static void TYPED(gather)(const fg_source *s, int64_t n, const int64_t *rows, int64_t first, int64_t size, void *to) {
    const int own = sizeof(T) == 8 ? FG_DATA_FLOAT64 : FG_DATA_FLOAT32;
    const int is_aligned = (((uintptr_t)s->data | (uintptr_t)s->row_stride) & (sizeof(T) - 1)) == 0;
    if (is_aligned && (int)s->kind == own && !s->offsets && s->scale == 1 && s->shift == 0) {
        TYPED(gather_same)(s, n, rows, first, size, to);
        return;
    }
    switch (s->kind) {
    case FG_DATA_FLOAT64:
        TYPED(gather_float64)(s, n, rows, first, size, to);
        break;
    case FG_DATA_FLOAT32:
        TYPED(gather_float32)(s, n, rows, first, size, to);
        break;
    case FG_DATA_INT64:
        TYPED(gather_int64)(s, n, rows, first, size, to);
        break;
    case FG_DATA_INT32:
        TYPED(gather_int32)(s, n, rows, first, size, to);
        break;
    case FG_DATA_UINT8:
        TYPED(gather_uint8)(s, n, rows, first, size, to);
        break;
    case FG_DATA_NOISE:
        break;
    }
}

/* Numbers of [0, 1) for n lanes of a block: that of element i of lane l depends on the key and on (first + l) size + i
 * alone. */
static void TYPED(noise)(uint64_t key, int64_t first, int64_t n, int64_t size, int64_t n_lanes, void *to) {
    enum { BITS = sizeof(T) == 8 ? 53 : 24 };
    for (int64_t i = 0; i < size; i++) {
        T *row = (T *)to + i * n_lanes;
        for (int64_t l = 0; l < n; l++)
            row[l] = (T)(int64_t)(fg_random(key, (uint64_t)((first + l) * size + i)) >> (64 - BITS)) /
                     (T)((int64_t)1 << BITS);
    }
}

/* gradient += l1 sign(x) + l2 x; returns the sum of l1 |x| + l2 x^2 / 2, in an order that n alone decides. */
static double TYPED(penalise)(int64_t n, double l1, double l2, const void *x_, void *gradient) {
    const T *x = x_;
    T *g = gradient;
    V sizes = {0}, squares = {0};
    for (int64_t i = 0; i < n; i += N) {
        const int64_t some = n - i;
        const V v = some < N ? TYPED(load_some)(x + i, some) : TYPED(load)(x + i);
        const V slope = PICK(v > K(0), K(l1), PICK(v < K(0), K(-l1), v));
        sizes += ABS(v);
        squares = FUSED(v, v, squares);
        if (some < N)
            TYPED(store_some)(g + i, TYPED(load_some)(g + i, some) + FUSED(K(l2), v, slope), some);
        else
            TYPED(store)(g + i, TYPED(load)(g + i) + FUSED(K(l2), v, slope));
    }
    double sum = 0;
    for (int j = 0; j < N; j++)
        sum += l1 * (double)sizes[j] + 0.5 * l2 * (double)squares[j];
    return sum;
}
