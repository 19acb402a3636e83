/* Template, per dtype: vectors to and from memory, whole or in part, and rows to and from lanes. */

FG_INLINE V TYPED(load)(const T *p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

FG_INLINE void TYPED(store)(T *p, V v) { memcpy(p, &v, sizeof v); }

/* the mask of the first n elements, 0 <= n <= N */
FG_INLINE M TYPED(first)(int64_t n) {
    M index;
    for (int i = 0; i < N; i++)
        index[i] = i;
    return index < (M){0} + (__typeof__(index[0]))n;
}

/* the first n elements, 0 < n <= N; the rest are zero (load) or untouched (store) */
FG_INLINE V TYPED(load_some)(const T *p, int64_t n) {
#if defined(__AVX512F__)
    __mmask16 mask = (__mmask16)((1u << n) - 1);
    return sizeof(T) == 8 ? (V)_mm512_maskz_loadu_pd((__mmask8)mask, p) : (V)_mm512_maskz_loadu_ps(mask, p);
#elif defined(__AVX2__)
    M m = TYPED(first)(n);
    return sizeof(T) == 8 ? (V)_mm256_maskload_pd((const double *)p, (__m256i)m)
                          : (V)_mm256_maskload_ps((const float *)p, (__m256i)m);
#else
    V v = {0};
    for (int i = 0; i < N; i++)
        if (i < n)
            v[i] = p[i];
    return v;
#endif
}

FG_INLINE void TYPED(store_some)(T *p, V v, int64_t n) {
#if defined(__AVX512F__)
    __mmask16 mask = (__mmask16)((1u << n) - 1);
    if (sizeof(T) == 8)
        _mm512_mask_storeu_pd(p, (__mmask8)mask, (__m512d)v);
    else
        _mm512_mask_storeu_ps(p, mask, (__m512)v);
#elif defined(__AVX2__)
    M m = TYPED(first)(n);
    if (sizeof(T) == 8)
        _mm256_maskstore_pd((double *)p, (__m256i)m, (__m256d)v);
    else
        _mm256_maskstore_ps((float *)p, (__m256i)m, (__m256)v);
#else
    for (int i = 0; i < N; i++)
        if (i < n)
            p[i] = v[i];
#endif
}

/* A square of N rows and N elements of each, turned over in registers: in the round of h, 1, 2, 4 and so on, blocks of
 * h by h that lie across from each other in a block of 2h by 2h change places. Where it has fewer `rows` the others
 * count as zero, and of fewer `columns` only these are read and become rows. */
FG_INLINE void TYPED(square_part)(int64_t rows, int64_t columns, const T *from, int64_t from_row, T *to,
                                  int64_t to_row) {
    V row[N];
#define UPPER(i, h) ((i) & (h) ? N + (i) - (h) : (i))
#define LOWER(i, h) ((i) & (h) ? N + (i) : (i) + (h))
#define ROUND(h)                                                        \
    for (int j = 0; j < N; j++)                                         \
        if (!(j & (h))) {                                               \
            const V upper = row[j], lower = row[j + (h)];               \
            row[j] = FG_SHUFFLE(M, upper, lower, EACH(UPPER, h));       \
            row[j + (h)] = FG_SHUFFLE(M, upper, lower, EACH(LOWER, h)); \
        }
#pragma GCC unroll 16
    for (int j = 0; j < N; j++)
        row[j] = j >= rows     ? (V){0}
                 : columns < N ? TYPED(load_some)(from + j * from_row, columns)
                               : TYPED(load)(from + j * from_row);
#pragma GCC unroll 16
    ROUND(1)
#if N > 2
#pragma GCC unroll 16
    ROUND(2)
#endif
#if N > 4
#pragma GCC unroll 16
    ROUND(4)
#endif
#if N > 8
#pragma GCC unroll 16
    ROUND(8)
#endif
#pragma GCC unroll 16
    for (int j = 0; j < N; j++)
        if (j < columns)
            TYPED(store)(to + j * to_row, row[j]);
#undef ROUND
#undef LOWER
#undef UPPER
}

FG_INLINE void TYPED(square)(const T *from, int64_t from_row, T *to, int64_t to_row) {
    TYPED(square_part)(N, N, from, from_row, to, to_row);
}

/* Where the next square stands after one at i, of n elements: the last one may overlap that before it when what is left
 * is not `few`; n when no square is left. */
FG_INLINE int64_t TYPED(next)(int64_t i, int64_t n, int64_t few) {
    i += N;
    return i + N <= n ? i : n - i > few ? n - N : n;
}

/* to[c, r] = from[r, c] for r < rows, c < columns: in squares, and one by one what is left over. */
FG_INLINE void TYPED(turn)(int64_t rows, int64_t columns, const T *from, int64_t from_row, T *to, int64_t to_row) {
    enum { FEW = N / 8 };
    for (int64_t r = 0; r < rows; r = TYPED(next)(r, rows, FEW))
        for (int64_t c = 0; c < columns; c = TYPED(next)(c, columns, FEW))
            TYPED(square)(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
    const int64_t r_left = rows % N <= FEW ? rows % N : 0, c_left = columns % N <= FEW ? columns % N : 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = columns - c_left; c < columns; c++)
            to[c * to_row + r] = from[r * from_row + c];
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = rows - r_left; r < rows; r++)
            to[c * to_row + r] = from[r * from_row + c];
}

/* Short rows: eight at a time, as many streams as the hardware follows. */
enum { TYPED(ROWS_AT_ONCE) = 8 };

static void TYPED(lanes_in)(int64_t n, int64_t size, int64_t n_lanes, const void *from, void *to) {
    const T *rows = from;
    T *lanes = to;
    if (size == 1) {
        memcpy(to, from, (size_t)n * sizeof(T));
        return;
    }
    if (N > 2 && size >= N && n >= N) {
        TYPED(turn)(n, size, rows, size, lanes, n_lanes);
        return;
    }
    int64_t l = 0;
    for (; l + TYPED(ROWS_AT_ONCE) <= n; l += TYPED(ROWS_AT_ONCE))
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < TYPED(ROWS_AT_ONCE); j++)
                lanes[i * n_lanes + l + j] = rows[(l + j) * size + i];
    for (; l < n; l++)
        for (int64_t i = 0; i < size; i++)
            lanes[i * n_lanes + l] = rows[l * size + i];
}

static void TYPED(lanes_out)(int64_t n, int64_t size, int64_t n_lanes, const void *from, void *to) {
    const T *lanes = from;
    T *rows = to;
    if (size == 1) {
        memcpy(to, from, (size_t)n * sizeof(T));
        return;
    }
    if (N > 2 && size >= N && n >= N) {
        TYPED(turn)(size, n, lanes, n_lanes, rows, size);
        return;
    }
    int64_t l = 0;
    for (; l + TYPED(ROWS_AT_ONCE) <= n; l += TYPED(ROWS_AT_ONCE))
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < TYPED(ROWS_AT_ONCE); j++)
                rows[(l + j) * size + i] = lanes[i * n_lanes + l + j];
    for (; l < n; l++)
        for (int64_t i = 0; i < size; i++)
            rows[l * size + i] = lanes[i * n_lanes + l];
}

/* Whole cache lines go past the caches, the ends as always. */
static void TYPED(away)(int64_t n, const void *from_, void *to_) {
    const T *from = from_;
    T *to = to_;
    enum { LINE = 64 / sizeof(T) };
    int64_t i = (int64_t)(-(uintptr_t)to % 64 / sizeof(T));
    i = i < n ? i : n;
    memcpy(to, from, (size_t)i * sizeof(T));
    for (; i + LINE <= n; i += LINE)
#pragma GCC unroll 4
        for (int j = 0; j < LINE; j += N)
            TYPED(stream)(to + i + j, TYPED(load)(from + i + j));
    memcpy(to + i, from + i, (size_t)(n - i) * sizeof(T));
}

/* Rows stand in the nearest cache before they go out as one. */
static void TYPED(lanes_away)(int64_t n, int64_t size, int64_t n_lanes, const void *from, void *to) {
    enum { STAGE = (16 << 10) / sizeof(T) };
    T stage[STAGE] __attribute__((aligned(64)));
    const T *lanes = from;
    T *rows = to;
    const int64_t at_once = size <= 1 ? n : STAGE / size / 16 * 16;
    if (at_once == 0) {
        TYPED(lanes_out)(n, size, n_lanes, from, to);
        return;
    }
    for (int64_t l = 0; l < n; l += at_once) {
        const int64_t some = n - l < at_once ? n - l : at_once;
        if (size > 1)
            TYPED(lanes_out)(some, size, n_lanes, lanes + l, stage);
        TYPED(away)(some * size, size > 1 ? stage : lanes, rows + l * size);
    }
}
