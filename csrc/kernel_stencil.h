/* Template, per dtype: weighted sums of neighbours in sampled fields; see fg_stencil. */

/* A sum takes in one tap: weights of the points themselves leave out what they are 0 for, be it not finite. */
FG_INLINE V TYPED(tap)(V weight, V x, V sum, int by_point) {
    const V more = FUSED(weight, x, sum);
    return by_point ? PICK(weight != 0, more, sum) : more;
}

/* `vectors` vectors of points, from number i of a row on; with `some` only so many points of the last one. */
FG_INLINE void TYPED(stencil_points)(const fg_stencil_points *s, const char *in, int64_t i, T *out, int vectors,
                                     int64_t some) {
    enum { MOST = 4 };
    V total[MOST];
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++)
#define AT(p, v) ((const T *)(const void *)(p) + i + (v) * N)
#define READ(p, v) (some && v == vectors - 1 ? TYPED(load_some)(AT(p, v), some) : TYPED(load)(AT(p, v)))
    EACH_VECTOR total[v] = s->accumulate ? READ(out, v) : (V){0};
    for (int g = 0; g < s->n_groups; g++) {
        const fg_taps *taps = &s->groups[g];
        const T *weight = taps->weights;
        const int64_t *at = taps->at;
        V sum[MOST];
        EACH_VECTOR sum[v] = (V){0};
        if (taps->by_point) {
            for (int64_t t = 0; t < taps->n_alone; t++, weight += taps->weight_row) {
                const char *x = in + at[t];
                if (taps->fixed) {
                    const V same = SPLAT(*(const T *)(const void *)x);
                    EACH_VECTOR sum[v] = TYPED(tap)(READ(weight, v), same, sum[v], 1);
                } else {
                    EACH_VECTOR sum[v] = TYPED(tap)(READ(weight, v), READ(x, v), sum[v], 1);
                }
            }
        } else {
            for (int64_t t = 0; t < taps->n_differences; t++, at += 2) {
                const V w = SPLAT(*weight++);
                EACH_VECTOR sum[v] = FUSED(w, READ(in + at[0], v) - READ(in + at[1], v), sum[v]);
            }
            for (int64_t t = 0; t < taps->n_sums; t++, at += 2) {
                const V w = SPLAT(*weight++);
                EACH_VECTOR sum[v] = FUSED(w, READ(in + at[0], v) + READ(in + at[1], v), sum[v]);
            }
            for (int64_t t = 0; t < taps->n_alone; t++, at++) {
                const V w = SPLAT(*weight++);
                EACH_VECTOR sum[v] = FUSED(w, READ(in + at[0], v), sum[v]);
            }
        }
        const V scale = SPLAT((T)taps->scale);
        EACH_VECTOR total[v] = FUSED(scale, sum[v], total[v]);
    }
    EACH_VECTOR
    if (some && v == vectors - 1)
        TYPED(store_some)(out + i + v * N, total[v], some);
    else if (s->away && !some)
        TYPED(stream)(out + i + v * N, total[v]);
    else
        TYPED(store)(out + i + v * N, total[v]);
#undef READ
#undef AT
#undef EACH_VECTOR
}

/* The last points of a row, fewer than four vectors. */
static void TYPED(stencil_rest)(const fg_stencil_points *s, const char *in, int64_t i, T *out, int64_t n) {
    if (n > 3 * N)
        TYPED(stencil_points)(s, in, i, out, 4, n - 3 * N);
    else if (n > 2 * N)
        TYPED(stencil_points)(s, in, i, out, 3, n - 2 * N);
    else if (n > N)
        TYPED(stencil_points)(s, in, i, out, 2, n - N);
    else if (n > 0)
        TYPED(stencil_points)(s, in, i, out, 1, n);
}

/* Four vectors at a time; in long rows, and for stores past the caches, from a whole cache line of the result on. */
static void TYPED(stencil)(const fg_stencil_points *s, const void *in_, void *out_) {
    enum { LONG = 32 * N };
    const char *in = in_;
    char *to = out_;
    for (int64_t r = 0; r < s->n_rows; r++, in += s->in_row, to += s->out_row) {
        T *out = (T *)(void *)to;
        int64_t i = 0;
        if (s->away || s->width >= LONG) {
            const int64_t lead = (int64_t)(-(uintptr_t)out % 64 / sizeof(T));
            i = lead < s->width ? lead : s->width;
            TYPED(stencil_rest)(s, in, 0, out, i);
        }
        for (; i + 4 * N <= s->width; i += 4 * N)
            TYPED(stencil_points)(s, in, i, out, 4, 0);
        TYPED(stencil_rest)(s, in, i, out, s->width - i);
    }
}
