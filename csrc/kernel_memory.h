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

/* the first n elements, 0 < n < N; the rest are zero (load) or untouched (store) */
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
    for (int i = 0; i < N - 1; i++)
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
    for (int i = 0; i < N - 1; i++)
        if (i < n)
            p[i] = v[i];
#endif
}

/* Eight rows at a time: as many streams as the hardware follows, and whole cache lines on the lanes' side. */
enum { TYPED(ROWS_AT_ONCE) = 8 };

static void TYPED(lanes_in)(int64_t n, int64_t size, int64_t n_lanes, const void *from, void *to) {
    const T *rows = from;
    T *lanes = to;
    for (int64_t l = 0; l < n; l += TYPED(ROWS_AT_ONCE)) {
        int64_t some = n - l < TYPED(ROWS_AT_ONCE) ? n - l : TYPED(ROWS_AT_ONCE);
        if (some == TYPED(ROWS_AT_ONCE))
            for (int64_t i = 0; i < size; i++)
                for (int64_t j = 0; j < TYPED(ROWS_AT_ONCE); j++)
                    lanes[i * n_lanes + l + j] = rows[(l + j) * size + i];
        else
            for (int64_t i = 0; i < size; i++)
                for (int64_t j = 0; j < some; j++)
                    lanes[i * n_lanes + l + j] = rows[(l + j) * size + i];
    }
}

static void TYPED(lanes_out)(int64_t n, int64_t size, int64_t n_lanes, const void *from, void *to) {
    const T *lanes = from;
    T *rows = to;
    for (int64_t l = 0; l < n; l += TYPED(ROWS_AT_ONCE)) {
        int64_t some = n - l < TYPED(ROWS_AT_ONCE) ? n - l : TYPED(ROWS_AT_ONCE);
        for (int64_t j = 0; j < some; j++)
            for (int64_t i = 0; i < size; i++)
                rows[(l + j) * size + i] = lanes[i * n_lanes + l + j];
    }
}
