/* Template, per dtype: matrix product of anything by a panel of contiguous rows; contract in kernels.h (fg_gemm).
 * A tile of TILE_ROWS x 2 vectors of the result stays in registers while p runs over a chunk of k; each step loads
 * two vectors of the panel and broadcasts one element of `a` a row. Terms are added one by one with p rising, so the
 * result of an element does not depend on its tile. */

#if defined(__AVX512F__)
enum { TYPED(TILE_ROWS) = 12 };
#elif defined(__AVX2__)
enum { TYPED(TILE_ROWS) = 6 };
#elif defined(__aarch64__)
enum { TYPED(TILE_ROWS) = 12 };
#else
enum { TYPED(TILE_ROWS) = 4 };
#endif

/* A chunk of the panel, two vectors wide, fills half of L1. */
enum { TYPED(CHUNK_OF_K) = 16384 / (2 * FG_VEC_BYTES) };

/* `rows` <= TILE_ROWS and `vectors` <= 2 are constants where this is inlined; `some` > 0: columns of the last vector.
 */
FG_INLINE void TYPED(gemm_tile)(const fg_gemm *g, int rows, int vectors, int64_t some, int64_t k, int accumulate,
                                const T *a, const T *b, T *c) {
    V sum[TYPED(TILE_ROWS)][2];
#define PART(v) (some && (v) == vectors - 1)
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            const T *from = c + i * g->c_row + v * N;
            sum[i][v] = !accumulate ? (V){0} : PART(v) ? TYPED(load_some)(from, some) : TYPED(load)(from);
        }
    for (int64_t p = 0; p < k; p++) {
        V panel[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++)
            panel[v] = PART(v) ? TYPED(load_some)(b + v * N, some) : TYPED(load)(b + v * N);
#pragma GCC unroll 12
        for (int i = 0; i < rows; i++) {
            V factor = SPLAT(a[i * g->a_row]);
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[i][v] = FUSED(factor, panel[v], sum[i][v]);
        }
        a += g->a_column;
        b += g->b_row;
    }
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            T *to = c + i * g->c_row + v * N;
            if (PART(v))
                TYPED(store_some)(to, sum[i][v], some);
            else
                TYPED(store)(to, sum[i][v]);
        }
#undef PART
}

/* All rows of one column of tiles. */
FG_INLINE void TYPED(gemm_column)(const fg_gemm *g, int vectors, int64_t some, int64_t k, int accumulate, const T *a,
                                  const T *b, T *c) {
    int64_t i = 0;
#define TILES(rows)                         \
    for (; i + (rows) <= g->m; i += (rows)) \
        TYPED(gemm_tile)(g, rows, vectors, some, k, accumulate, a + i * g->a_row, b, c + i * g->c_row);
    TILES(TYPED(TILE_ROWS))
    TILES(4)
    TILES(2)
    TILES(1)
#undef TILES
}

static void TYPED(gemm)(const fg_gemm *g, const void *left, const void *right, void *result) {
    const T *b = right;
    T *c = result;
    int64_t p = 0;
    do { /* once even when k is 0: then the result is zero */
        const int64_t k = g->k - p < TYPED(CHUNK_OF_K) ? g->k - p : TYPED(CHUNK_OF_K);
        const int accumulate = g->accumulate || p > 0;
        const T *a = (const T *)left + p * g->a_column, *rows = b + p * g->b_row;
        int64_t j = 0;
        for (; j + 2 * N <= g->n; j += 2 * N)
            TYPED(gemm_column)(g, 2, 0, k, accumulate, a, rows + j, c + j);
        if (j + N <= g->n) {
            TYPED(gemm_column)(g, 1, 0, k, accumulate, a, rows + j, c + j);
            j += N;
        }
        if (j < g->n)
            TYPED(gemm_column)(g, 1, g->n - j, k, accumulate, a, rows + j, c + j);
        p += k;
    } while (p < g->k);
}

/* Several vectors of lanes at a time, so that one sum need not wait for its last term. */
static void TYPED(chain)(const fg_fold *f, void *const *operand) {
    enum { STRIPS = 4 };
    T *out = operand[0];
    const T *a = operand[1], *b = operand[2];
    for (int64_t i = 0; i < f->width; i += STRIPS * N) {
        const int n_strips = f->width - i < STRIPS * N ? (int)((f->width - i + N - 1) / N) : STRIPS;
        V sum[STRIPS] = {{0}};
        for (int64_t r = 0; r < f->n; r++)
#pragma GCC unroll 4
            for (int k = 0; k < STRIPS; k++)
                if (k < n_strips) /* blocks of lanes are whole vectors */
                    sum[k] = FUSED(TYPED(load)(a + r * f->stride[0] + i + k * N),
                                   TYPED(load)(b + r * f->stride[1] + i + k * N), sum[k]);
        for (int k = 0; k < n_strips; k++)
            TYPED(store)(out + i + k * N, sum[k]);
    }
}
