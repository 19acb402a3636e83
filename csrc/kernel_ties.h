/* Template, per dtype: a recurrence along rows for many lines at once, one a lane; see fg_solve_ties. */

/* Vectors of lines from line i on; with `alone` a line each, where there are too few for a whole vector: parts of rows
 * that are shorter than a vector would have each load wait for the store before. */
FG_INLINE void TYPED(sweep_lines)(const fg_sweep *s, T *rows, T *carry, int64_t i, int up, int vectors, int alone) {
    enum { MOST = 4 };
    const T *ratio = (const T *)s->ratio + up, *inverse = s->inverse;
    V before[MOST];
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int v = 0; v < vectors; v++)
#define READ(p) (alone ? SPLAT((p)[i + v]) : TYPED(load)((p) + i + v * N))
#define WRITE(p, x)        \
    if (alone)             \
        (p)[i + v] = x[0]; \
    else                   \
        TYPED(store)((p) + i + v * N, x)
    EACH_VECTOR before[v] = READ(carry);
    for (int64_t k = 0; k < s->n_rows; k++) {
        const int64_t r = up ? s->n_rows - 1 - k : k, at = s->first + r < s->last ? s->first + r : s->last;
        const V by = SPLAT(ratio[at]);
        T *row = rows + r * s->row;
        EACH_VECTOR {
            const V x = up ? SPLAT(inverse[at]) * READ(row) : READ(row);
            before[v] = FUSED(by, before[v], x);
            if (s->keep) {
                WRITE(row, before[v]);
            }
        }
    }
    EACH_VECTOR { WRITE(carry, before[v]); }
#undef WRITE
#undef READ
#undef EACH_VECTOR
}

FG_INLINE void TYPED(sweep_all)(const fg_sweep *s, T *rows, T *carry, int up) {
    int64_t i = 0;
#define GO(vectors, lines, alone)                 \
    for (; i + (lines) <= s->width; i += (lines)) \
    TYPED(sweep_lines)(s, rows, carry, i, up, vectors, alone)
    GO(4, 4 * N, 0);
    GO(2, 2 * N, 0);
    GO(1, N, 0);
    GO(4, 4, 1);
    GO(1, 1, 1);
#undef GO
}

static void TYPED(sweep)(const fg_sweep *s, void *rows, void *carry) {
    if (s->up)
        TYPED(sweep_all)(s, rows, carry, 1);
    else
        TYPED(sweep_all)(s, rows, carry, 0);
}

static void TYPED(turned)(int64_t rows, int64_t columns, const void *from_, int64_t from_row, void *to_,
                          int64_t to_row) {
    const T *from = from_;
    T *to = to_;
    if (N > 2 && rows >= N && columns >= N) {
        TYPED(turn)(rows, columns, from, from_row, to, to_row);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * to_row + r] = from[r * from_row + c];
}
