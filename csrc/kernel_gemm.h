/* Template, per dtype: matrix product; contract in kernels.h (fg_gemm).
 * A tile of some rows and vectors of the result stays in registers while p runs over a chunk of k; each step loads the
 * vectors of b and broadcasts one element of `a` a row. Terms are added one by one with p rising, so the result of an
 * element depends neither on its tile nor on the chunks: a number that waits in c is the number that was in the
 * register.
 */

#ifndef FG_TALL
#if defined(__AVX512F__) || defined(__aarch64__)
#define FG_TALL 12 /* rows of a tile of two vectors: its sums, a row of b and a factor fill the registers */
#else
#define FG_TALL 6
#endif
#if defined(__AVX2__)
#define FG_HAS_MASKS 1 /* part of a vector loads as fast as all of it */
#else
#define FG_HAS_MASKS 0
#endif
#endif

/* `rows` and `vectors` are constants where this is inlined; `some` > 0: columns of the last vector, where b can be read
 * to that vector's end unless there are masks. */
FG_INLINE void TYPED(gemm_tile)(const fg_gemm *g, int rows, int vectors, int64_t some, const T *a, const T *b,
                                const T *start, T *c) {
    V sum[FG_TALL][8];
    const int64_t a_row = g->a_row, a_row_3 = 3 * a_row, a_column = g->a_column, b_row = g->b_row, c_row = g->c_row;
    const int64_t start_row = g->start_row, k = g->k;
    const T *left[3] = {a, a + 4 * a_row, a + 8 * a_row}; /* few enough addresses to stay in registers too */
#define PART(v) (some && (v) == vectors - 1)
#define EACH_ROW _Pragma("GCC unroll 12") for (int i = 0; i < rows; i++)
#define EACH_VECTOR _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++)
    if (!start)
        EACH_ROW EACH_VECTOR sum[i][v] = (V){0};
    else if (!g->start_column)
        EACH_ROW {
            EACH_VECTOR sum[i][v] = SPLAT(*start);
            start += start_row;
        }
    else
        EACH_ROW {
            EACH_VECTOR sum[i][v] = PART(v) ? TYPED(load_some)(start + v * N, some) : TYPED(load)(start + v * N);
            start += start_row;
        }
    for (int64_t p = 0; p < k; p++) {
        V right[8];
        EACH_VECTOR right[v] = PART(v) && FG_HAS_MASKS ? TYPED(load_some)(b + v * N, some) : TYPED(load)(b + v * N);
        EACH_ROW {
            const V factor = SPLAT(left[i / 4][i % 4 == 3 ? a_row_3 : i % 4 * a_row]);
            EACH_VECTOR sum[i][v] = FUSED(factor, right[v], sum[i][v]);
        }
#pragma GCC unroll 3
        for (int i = 0; i < (rows + 3) / 4; i++)
            left[i] += a_column;
        b += b_row;
    }
    EACH_ROW {
        EACH_VECTOR if (PART(v)) TYPED(store_some)(c + v * N, sum[i][v], some);
        else TYPED(store)(c + v * N, sum[i][v]);
        c += c_row;
    }
#undef PART
#undef EACH_ROW
#undef EACH_VECTOR
}

/* Tiles by rows and vectors: the fewer rows, the more vectors, so that a sum need not wait for its last term. */
#ifndef FG_TILES
#define FG_TWO_TILES(X, rows) X(rows, 1) X(rows, 2)
#define FG_FOUR_TILES(X, rows) FG_TWO_TILES(X, rows) X(rows, 3) X(rows, 4)
#define FG_SIX_ROWS(X)  \
    FG_FOUR_TILES(X, 1) \
    X(1, 5)             \
    X(1, 6)             \
    X(1, 7) X(1, 8) FG_FOUR_TILES(X, 2) FG_FOUR_TILES(X, 3) FG_TWO_TILES(X, 4) FG_TWO_TILES(X, 5) FG_TWO_TILES(X, 6)
#if FG_TALL == 6
#define FG_TILES(X) FG_SIX_ROWS(X)
#else
#define FG_TILES(X) \
    FG_SIX_ROWS(X)  \
    FG_TWO_TILES(X, 7) FG_TWO_TILES(X, 8) FG_TWO_TILES(X, 9) FG_TWO_TILES(X, 10) FG_TWO_TILES(X, 11) FG_TWO_TILES(X, 12)
#endif
#endif

/* Columns of a tile of a product of m rows. */
static int64_t TYPED(gemm_width)(int64_t m) { return N * (m == 1 ? 8 : m <= 3 ? 4 : 2); }

#define TILE(rows, vectors)                                                                                            \
    static void TYPED(gemm_##rows##_##vectors)(const fg_gemm *g, int64_t some, const T *a, const T *b, const T *start, \
                                               T *c) {                                                                 \
        if (some)                                                                                                      \
            TYPED(gemm_tile)(g, rows, vectors, some, a, b, start, c);                                                  \
        else                                                                                                           \
            TYPED(gemm_tile)(g, rows, vectors, 0, a, b, start, c);                                                     \
    }
FG_TILES(TILE)
#undef TILE
#define TILE(rows, vectors) [rows][vectors] = TYPED(gemm_##rows##_##vectors),
static void (*const TYPED(gemm_tiles)[FG_TALL + 1][9])(const fg_gemm *g, int64_t some, const T *a, const T *b,
                                                       const T *start, T *c) = {FG_TILES(TILE)};
#undef TILE

/* A block of the product, in tiles of `width` columns and as many rows as make them alike; b stands as it is, or packed
 * in tiles of its own. */
static void TYPED(gemm_block)(const fg_gemm *g, int64_t width, int is_packed, const T *a, const T *b, const T *start,
                              T *c) {
    for (int64_t i = 0, n_tiles = (g->m + FG_TALL - 1) / FG_TALL; n_tiles > 0; n_tiles--) {
        const int64_t rows = (g->m - i + n_tiles - 1) / n_tiles;
        for (int64_t j = 0; j < g->n; j += width) {
            const int64_t columns = g->n - j < width ? g->n - j : width;
            TYPED(gemm_tiles)
            [rows][(columns + N - 1) / N](g, columns % N, a + i *g->a_row, b + (is_packed ? j *g->k : j),
                                          start ? start + i *g->start_row + j *g->start_column : NULL,
                                          c + i *g->c_row + j);
        }
        i += rows;
    }
}

/* Columns of b copied together, `width` at a time: each of these tiles is a run of memory, filled up to whole vectors.
 */
static void TYPED(pack_columns)(const fg_gemm *g, int64_t width, const T *b, T *panel) {
    for (int64_t j = 0; j < g->n; j += width, panel += g->k * width, b += width * g->b_column) {
        const int64_t columns = g->n - j < width ? g->n - j : width;
        if (g->b_column == 1)
            for (int64_t p = 0; p < g->k; p++)
                for (int64_t i = 0; i < columns; i += N) {
                    const T *from = b + p * g->b_row + i;
                    TYPED(store)(panel + p * width + i,
                                 columns - i < N ? TYPED(load_some)(from, columns - i) : TYPED(load)(from));
                }
        else if (g->b_row == 1)
            for (int64_t i = 0; i < columns; i += N)
                for (int64_t p = 0; p < g->k; p += N) {
                    const T *from = b + i * g->b_column + p;
                    if (columns - i >= N && g->k - p >= N)
                        TYPED(square)(from, g->b_column, panel + p * width + i, width);
                    else
                        TYPED(square_part)(columns - i, g->k - p, from, g->b_column, panel + p * width + i, width);
                }
        else
            for (int64_t p = 0; p < g->k; p++)
                for (int64_t i = 0; i < width; i++)
                    panel[p * width + i] = i < columns ? b[p * g->b_row + i * g->b_column] : 0;
    }
}

/* Rows of `a` that stand side by side in memory, copied together. */
enum { TYPED(LEFT_ROWS) = 48 };
static void TYPED(pack_rows)(int64_t rows, int64_t k, const T *a, int64_t a_column, T *packed) {
    for (int64_t p = 0; p < k; p++, a += a_column, packed += TYPED(LEFT_ROWS))
        if (rows == TYPED(LEFT_ROWS))
            memcpy(packed, a, TYPED(LEFT_ROWS) * sizeof(T)); /* a constant: some vectors, no call */
        else
            memcpy(packed, a, (size_t)rows * sizeof(T));
}

/* In chunks of k and blocks of columns, which the second-level cache holds, with b or `a` packed: where they are not
 * read along memory, or their rows lie so far apart that few of them fit into the caches at a time. */
static __attribute__((noinline)) void TYPED(gemm_blocked)(const fg_gemm *g, int packs_a, int packs_b, const T *a,
                                                          const T *b, const T *start, T *c) {
    enum {
        PANEL = (192 << 10) / sizeof(T), /* numbers of b in a block, */
        NEAR = (16 << 10) / sizeof(T),   /* and where each is used once */
        DEPTH = 256,
        LEFT_DEPTH = 128, /* with `a` packed */
        LEFT_ROWS = TYPED(LEFT_ROWS),
        CACHE = (1 << 20) / sizeof(T), /* a b that is larger, for a few rows, is read once in the order of memory: */
        STREAM_DEPTH = 32
    };
    T panel[PANEL] __attribute__((aligned(64))), rows[LEFT_ROWS * LEFT_DEPTH] __attribute__((aligned(64)));
    const int streams = !packs_b && g->m <= 3 * FG_TALL && g->k * g->n > CACHE;
    const int64_t whole = (g->n + N - 1) / N * N, tile = TYPED(gemm_width)(g->m), width = tile < whole ? tile : whole;
    const int64_t size = packs_b && g->m <= FG_TALL ? NEAR : PANEL;
    int64_t depth = packs_a ? LEFT_DEPTH : streams ? STREAM_DEPTH : DEPTH;
    if (depth > size / width)
        depth = size / width;
    const int64_t n_chunks = (g->k + depth - 1) / depth;
    depth = (g->k + n_chunks - 1) / n_chunks;
    const int64_t columns = streams ? g->n : size / depth / width * width;
    for (int64_t j = 0; j < g->n; j += columns)
        for (int64_t p = 0; p < g->k; p += depth) {
            fg_gemm block = *g;
            block.n = g->n - j < columns ? g->n - j : columns;
            block.k = g->k - p < depth ? g->k - p : depth;
            const T *left = a + p * g->a_column, *right = b + p * g->b_row + j * g->b_column;
            const T *from = start ? start + j * g->start_column : NULL;
            if (p > 0)
                from = c + j, block.start_row = g->c_row, block.start_column = 1;
            if (packs_b) {
                TYPED(pack_columns)(&block, width, right, panel);
                block.b_row = width, right = panel;
            }
            if (!packs_a) {
                TYPED(gemm_block)(&block, width, packs_b, left, right, from, c + j);
                continue;
            }
            block.a_column = LEFT_ROWS;
            for (int64_t i = 0; i < g->m; i += LEFT_ROWS) {
                block.m = g->m - i < LEFT_ROWS ? g->m - i : LEFT_ROWS;
                TYPED(pack_rows)(block.m, block.k, left + i, g->a_column, rows);
                TYPED(gemm_block)(&block, width, packs_b, rows, right, from ? from + i * block.start_row : NULL,
                                  c + i * g->c_row + j);
            }
        }
}

static void TYPED(gemm)(const fg_gemm *g, const void *left, const void *right, const void *begin, void *result) {
    enum { FAR = 2048 / sizeof(T), LARGE = (384 << 10) / sizeof(T) };
    const T *a = left, *b = right, *start = begin;
    T *c = result;
    fg_gemm part;
    if (g->accumulate) {
        part = *g;
        part.start_row = g->c_row, part.start_column = 1;
        start = c, g = &part;
    }
    const int packs_a = g->a_row == 1 && g->a_column >= FAR && g->m > FG_TALL && g->n > TYPED(gemm_width)(g->m);
    const int packs_b = g->n > 1 && (g->b_column != 1 || (g->b_row >= FAR && g->m > 3 * FG_TALL));
    if (!FG_HAS_MASKS && !packs_b && g->n % N && g->k > 0) { /* what is left of a row of b, from a filled-up copy */
        const int64_t j = g->n / N * N;
        fg_gemm rest = *g;
        rest.n -= j;
        TYPED(gemm_blocked)(&rest, 0, 1, a, b + j * g->b_column, start ? start + j * g->start_column : NULL, c + j);
        part = *g;
        part.n = j, g = &part;
    }
    if (g->k > 0 && (packs_a || packs_b || g->k * g->n > LARGE))
        TYPED(gemm_blocked)(g, packs_a, packs_b, a, b, start, c);
    else
        TYPED(gemm_block)(g, TYPED(gemm_width)(g->m), 0, a, b, start, c);
}

/* Several vectors of lanes at a time, so that one sum need not wait for its last term. */
static void TYPED(chain)(const fg_chain *f, void *const *operand) {
    enum { STRIPS = 4 };
    T *out = operand[0];
    const T *a = operand[1], *b = operand[2];
    for (int64_t i = 0; i < f->width; i += STRIPS * N) {
        const int n_strips = f->width - i < STRIPS * N ? (int)((f->width - i + N - 1) / N) : STRIPS;
        V sum[STRIPS] = {{0}};
        for (int k = 0; f->accumulate && k < n_strips; k++)
            sum[k] = TYPED(load)(out + i + k * N);
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
