/* Template, per dtype: weighted sums of neighbours in sampled fields; see fg_stencil. */

/* A sum takes in one tap: weights of the points themselves leave out what they are 0 for, be it not finite. */
FG_INLINE V TYPED(tap)(V weight, V x, V sum, int by_point) {
    const V more = FUSED(weight, x, sum);
    return by_point ? PICK(weight != 0, more, sum) : more;
}

/* `vectors` vectors of points, from number i of a row on; with `some` only so many points of one vector. */
FG_INLINE void TYPED(stencil_points)(const fg_points *s, const char *in, int64_t i, T *out, int vectors, int64_t some) {
    enum { MOST = 4 };
    V total[MOST];
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++)
#define AT(p, v) ((const T *)(const void *)(p) + i + (v) * N)
#define READ(p, v) (some ? TYPED(load_some)(AT(p, v), some) : TYPED(load)(AT(p, v)))
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
    if (some)
        TYPED(store_some)(out + i, total[v], some);
    else if (s->away && vectors == MOST)
        TYPED(stream)(out + i + v * N, total[v]);
    else
        TYPED(store)(out + i + v * N, total[v]);
#undef READ
#undef AT
#undef EACH_VECTOR
}

/* The first points of a row are those up to a whole cache line of the result. */
static void TYPED(stencil)(const fg_points *s, const void *in_, void *out_) {
    enum { LINE = 64 / sizeof(T) };
    const char *in = in_;
    char *to = out_;
    for (int64_t r = 0; r < s->n_rows; r++, in += s->in_row, to += s->out_row) {
        T *out = (T *)(void *)to;
        const int64_t lead = (int64_t)(-(uintptr_t)out % 64 / sizeof(T));
        int64_t i = 0;
        for (int64_t end = lead < s->width ? lead : s->width; i < end;) {
            const int64_t n = end - i < N ? end - i : N;
            TYPED(stencil_points)(s, in, i, out, 1, n < N ? n : 0);
            i += n;
        }
        for (; i + 4 * N <= s->width; i += 4 * N)
            TYPED(stencil_points)(s, in, i, out, 4, 0);
        for (; i + N <= s->width; i += N)
            TYPED(stencil_points)(s, in, i, out, 1, 0);
        if (i < s->width)
            TYPED(stencil_points)(s, in, i, out, 1, s->width - i);
    }
}
