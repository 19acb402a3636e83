/* Template, per dtype: matrices, N neighbours at once as in kernel_along.h. Factors are made in place, column by column
 * to the right, so each element takes its terms one by one in a fixed order and a vector along a row gives the bits
 * that a vector of lanes does. No inverse of a pivot is formed: it may overflow where the quotient does not. */

#define NOT_A_NUMBER K(NAN)

/* row -= factor * other, along memory: the rows of a matrix alone. */
FG_INLINE void TYPED(subtract_row)(int64_t n, T factor, const T *other, T *row) {
    const V f = -SPLAT(factor);
    int64_t j = 0;
    for (; j + N <= n; j += N)
        TYPED(store)(row + j, FUSED(f, TYPED(load)(other + j), TYPED(load)(row + j)));
    if (j < n)
        TYPED(store_some)(row + j, FUSED(f, TYPED(load_some)(other + j, n - j), TYPED(load_some)(row + j, n - j)),
                          n - j);
}

/* row /= divisor, along memory. */
FG_INLINE void TYPED(divide_row)(int64_t n, T divisor, T *row) {
    const V d = SPLAT(divisor);
    int64_t j = 0;
    for (; j + N <= n; j += N)
        TYPED(store)(row + j, TYPED(load)(row + j) / d);
    if (j < n)
        TYPED(store_some)(row + j, TYPED(load_some)(row + j, n - j) / d, n - j);
}

/* ---- factors with partial pivoting ------------------------------------------------------------------------ */

/* Lower factor (its diagonal of ones left out) and upper one in a matrix; row n tells which row became the k-th, from k
 * on. A column of zeros has the factor zero and the pivot zero, so that the determinant is zero. */
static void TYPED(lu_of_rows)(int64_t n, int64_t row, T *out) {
    for (int64_t k = 0; k < n; k++) {
        T *top = out + k * row;
        int64_t which = k;
        T best = top[k] < 0 ? -top[k] : top[k];
        for (int64_t i = k + 1; i < n; i++) {
            const T signed_x = out[i * row + k], x = signed_x < 0 ? -signed_x : signed_x;
            if (x > best)
                best = x, which = i;
        }
        out[n * row + k] = (T)which;
        for (int64_t j = 0; which != k && j < n; j++) {
            const T kept = top[j];
            top[j] = out[which * row + j];
            out[which * row + j] = kept;
        }
        for (int64_t i = k + 1; i < n; i++) {
            T *below = out + i * row;
            below[k] = top[k] == 0 ? 0 : below[k] / top[k];
            TYPED(subtract_row)(n - k - 1, below[k], top + k + 1, below + k + 1);
        }
    }
}

FG_INLINE void TYPED(lu)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    const int64_t n = c->size[0], row = c->stride[0][0], column = c->stride[0][1];
    (void)b;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            PUT(out + i * row + j * column, AT(a + i * c->stride[1][0] + j * c->stride[1][1], 1u));
    if (some == 1 && column == 1) {
        TYPED(lu_of_rows)(n, row, out);
        return;
    }
    for (int64_t k = 0; k < n; k++) {
        T *top = out + k * row, *diagonal = top + k * column;
        V best = ABS(GET(diagonal)), which = K(k);
        for (int64_t i = k + 1; i < n; i++) {
            const V x = ABS(GET(out + i * row + k * column));
            const M more = x > best;
            best = PICK(more, x, best);
            which = PICK(more, K(i), which);
        }
        PUT(out + n * row + k * column, which);
        for (int64_t i = k + 1; i < n; i++) { /* each neighbour exchanges its own row */
            const M here = which == K(i);
            for (int64_t j = 0; TYPED(any)(here) && j < n; j++) {
                T *low = out + i * row + j * column;
                const V above = GET(top + j * column), below = GET(low);
                PUT(top + j * column, PICK(here, below, above));
                PUT(low, PICK(here, above, below));
            }
        }
        const V pivot = GET(diagonal);
        for (int64_t i = k + 1; i < n; i++) {
            T *below = out + i * row;
            const V factor = PICK(pivot == K(0), K(0), GET(below + k * column) / pivot);
            PUT(below + k * column, factor);
            for (int64_t j = k + 1; j < n; j++)
                PUT(below + j * column, FUSED(-factor, GET(top + j * column), GET(below + j * column)));
        }
    }
}
CORE(lu)

/* ---- triangular systems ----------------------------------------------------------------------------------- */

/* One column of unknowns x, rows `step` apart, and a triangular matrix: element (i, r) at a + i * row + r * column.
 * Forwards from the first unknown or backwards from the last, each taken out of those that follow; one neighbour alone
 * reads the matrix along memory, which takes out the same in the same order. */
FG_INLINE M TYPED(substitute)(const fg_core *c, int64_t some, int64_t n, T *x, int64_t step, const T *a, int64_t row,
                              int64_t column, int backwards, int unit) {
    M singular = {0};
    const int by_rows = some == 1 && column <= row;
    for (int64_t k = 0; k < n; k++) {
        const int64_t r = backwards ? n - 1 - k : k;
        V known = GET(x + r * step);
        for (int64_t j = 0; by_rows && j < k; j++) {
            const int64_t before = backwards ? n - 1 - j : j;
            known = FUSED(-AT(a + r * row + before * column, 1u), GET(x + before * step), known);
        }
        if (!unit) {
            const V pivot = AT(a + r * (row + column), 1u);
            singular |= pivot == K(0);
            known = known / pivot;
        }
        if (!unit || by_rows)
            PUT(x + r * step, known);
        for (int64_t i = backwards ? 0 : r + 1; !by_rows && i < (backwards ? r : n); i++)
            PUT(x + i * step, FUSED(-AT(a + i * row + r * column, 1u), known, GET(x + i * step)));
    }
    return singular;
}

/* The exchanges of rows that lu made, or undone from the last to the first. */
FG_INLINE void TYPED(exchange)(const fg_core *c, int64_t some, int64_t n, T *x, int64_t step, const T *pivots,
                               int64_t column, int backwards) {
    const int64_t step_a = !(c->splat & 1u);
    for (int64_t r = 0; r < n; r++) {
        const int64_t k = backwards ? n - 1 - r : r;
        for (int64_t l = 0; l < COUNT; l++) {
            const int64_t other = TYPED(position)(pivots[k * column + l * step_a], n);
            const T kept = x[k * step + l];
            x[k * step + l] = x[other * step + l];
            x[other * step + l] = kept;
        }
    }
}

typedef enum { TYPED(LU), TYPED(LU_TRANSPOSED), TYPED(LOWER) } TYPED(system);

FG_INLINE void TYPED(solve_columns)(const fg_core *c, int64_t some, T *out, const T *a, const T *b,
                                    TYPED(system) system) {
    const int64_t n = c->size[0], step = c->stride[0][0], row = c->stride[1][0], column = c->stride[1][2];
    for (int64_t j = 0; j < c->size[1]; j++) {
        T *x = out + j * c->stride[0][1];
        for (int64_t i = 0; i < n; i++)
            PUT(x + i * step, AT(b + i * c->stride[2][0] + j * c->stride[2][1], 2u));
        M singular = {0};
        if (system == TYPED(LU)) {
            TYPED(exchange)(c, some, n, x, step, a + n * row, column, 0);
            TYPED(substitute)(c, some, n, x, step, a, row, column, 0, 1);
            singular = TYPED(substitute)(c, some, n, x, step, a, row, column, 1, 0);
        } else if (system == TYPED(LU_TRANSPOSED)) {
            singular = TYPED(substitute)(c, some, n, x, step, a, column, row, 0, 0);
            TYPED(substitute)(c, some, n, x, step, a, column, row, 1, 1);
            TYPED(exchange)(c, some, n, x, step, a + n * row, column, 1);
        } else
            TYPED(substitute)(c, some, n, x, step, a, row, column, 0, 0);
        for (int64_t i = 0; TYPED(any)(singular) && i < n; i++)
            PUT(x + i * step, PICK(singular, NOT_A_NUMBER, GET(x + i * step)));
    }
}

#define SOLVE(name, system)                                                                      \
    FG_INLINE void TYPED(name)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) { \
        TYPED(solve_columns)(c, some, out, a, b, system);                                        \
    }                                                                                            \
    CORE_OF(name, TYPED(columns_as_neighbours)(whole))

/* One system of contiguous rows of unknowns: its columns are the neighbours, which share the matrix. */
static fg_core TYPED(columns_as_neighbours)(const fg_core *c) {
    fg_core core = *c;
    if (c->width == 1 && c->size[1] > 1 && c->stride[0][1] == 1 && c->stride[2][1] <= 1 && c->stride[2][1] >= 0) {
        core.width = c->size[1];
        core.size[1] = 1;
        core.splat = c->stride[2][1] ? 1u : 3u;
    }
    return core;
}
SOLVE(lu_solve, TYPED(LU))
SOLVE(lu_solve_transposed, TYPED(LU_TRANSPOSED))
SOLVE(solve_lower, TYPED(LOWER))
#undef SOLVE

/* ---- determinants ----------------------------------------------------------------------------------------- */

/* Minus one for an odd number of exchanges. */
FG_INLINE V TYPED(sign_of_exchanges)(const fg_core *c, int64_t some, int64_t n, const T *pivots, int64_t column) {
    V sign = K(1);
    for (int64_t k = 0; k < n; k++)
        sign = PICK(AT(pivots + k * column, 1u) == K(k), sign, -sign);
    return sign;
}

FG_INLINE void TYPED(lu_det)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    const int64_t n = c->size[0], row = c->stride[1][0], column = c->stride[1][1];
    V product = TYPED(sign_of_exchanges)(c, some, n, a + n * row, column);
    (void)b;
    for (int64_t k = 0; k < n; k++)
        product = product * AT(a + k * (row + column), 1u);
    PUT(out, product);
}
CORE(lu_det)

FG_INLINE void TYPED(lu_slogdet)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    const int64_t n = c->size[1], row = c->stride[1][1], column = c->stride[1][2];
    V sign = TYPED(sign_of_exchanges)(c, some, n, a + n * row, column), sum = K(0);
    (void)b;
    for (int64_t k = 0; k < n; k++) {
        const V pivot = AT(a + k * (row + column), 1u);
        sign = PICK(pivot > K(0), sign, PICK(pivot < K(0), -sign, pivot));
        sum = sum + TYPED(opaque)(FN(log)(ABS(pivot)));
    }
    PUT(out, sign);
    PUT(out + c->stride[0][0], sum);
}
CORE(lu_slogdet)

/* ---- symmetric matrices: the lower triangle is read ------------------------------------------------------- */

/* Every element in the triangle becomes NaN when a pivot is not positive. */
FG_INLINE void TYPED(cholesky)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    const int64_t n = c->size[0], row = c->stride[0][0], column = c->stride[0][1];
    const int by_rows = some == 1 && column == 1; /* then the factor is made above the diagonal, along memory */
    const int64_t down = by_rows ? column : row, right = by_rows ? row : column;
    M failed = {0};
    (void)b;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            PUT(out + i * down + j * right, j <= i ? AT(a + i * c->stride[1][0] + j * c->stride[1][1], 1u) : K(0));
    for (int64_t k = 0; k < n; k++) {
        T *diagonal = out + k * (down + right);
        const V pivot = GET(diagonal), root = SQRT(pivot);
        failed |= ~(pivot > K(0));
        PUT(diagonal, root);
        if (by_rows)
            TYPED(divide_row)(n - k - 1, root[0], diagonal + 1);
        for (int64_t i = k + 1; !by_rows && i < n; i++)
            PUT(out + i * down + k * right, GET(out + i * down + k * right) / root);
        for (int64_t j = k + 1; j < n; j++) {
            const V factor = GET(out + j * down + k * right);
            if (by_rows)
                TYPED(subtract_row)(n - j, factor[0], out + k * row + j, out + j * row + j);
            else
                for (int64_t i = j; i < n; i++) {
                    T *at = out + i * down + j * right;
                    PUT(at, FUSED(-factor, GET(out + i * down + k * right), GET(at)));
                }
        }
    }
    for (int64_t i = 0; by_rows && i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            out[i * row + j] = out[j * row + i];
            out[j * row + i] = 0;
        }
    for (int64_t i = 0; TYPED(any)(failed) && i < n; i++)
        for (int64_t j = 0; j <= i; j++) {
            T *at = out + i * row + j * column;
            PUT(at, PICK(failed, NOT_A_NUMBER, GET(at)));
        }
}
CORE(cholesky)

/* Jacobi's method. The result's rows: the n eigenvalues, ascending; a matrix with the eigenvectors in its columns;
 * n rows to work in. Cyclic sweeps of rotations, each of which makes one pair of elements zero, until all of them are
 * negligible beside their diagonals; a neighbour that is done rotates by nothing. */
FG_INLINE void TYPED(rotate)(int64_t some, V cosine, V sine, T *p, T *q) {
    const V x = GET(p), y = GET(q);
    PUT(p, FUSED(cosine, x, -(sine * y)));
    PUT(q, FUSED(cosine, y, sine * x));
}

FG_INLINE void TYPED(eigh)(const fg_core *c, int64_t some, T *out, const T *a, const T *b) {
    enum { MAX_SWEEPS = 40 };
    const int64_t n = c->size[0], row = c->stride[0][0], column = c->stride[0][1];
    T *vector = out + row, *work = vector + n * row;
    (void)b;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t low = i > j ? i : j, high = i > j ? j : i;
            PUT(work + i * row + j * column, AT(a + low * c->stride[1][0] + high * c->stride[1][1], 1u));
            PUT(vector + i * row + j * column, i == j ? K(1) : K(0));
        }
    int rotated = 1;
    for (int sweep = 0; rotated && sweep < MAX_SWEEPS; sweep++) {
        rotated = 0;
        for (int64_t p = 0; p + 1 < n; p++)
            for (int64_t q = p + 1; q < n; q++) {
                const V off = GET(work + p * row + q * column), size = ABS(off);
                const V first = GET(work + p * (row + column)), second = GET(work + q * (row + column));
                const M turn = ~((ABS(first) + size == ABS(first)) & (ABS(second) + size == ABS(second)));
                if (!TYPED(any)(turn))
                    continue;
                rotated = 1;
                const V slope = (second - first) / (off + off), steep = ABS(slope) + SQRT(FUSED(slope, slope, K(1)));
                const V tangent = PICK(slope < K(0), K(-1), K(1)) / steep;
                const V length = SQRT(FUSED(tangent, tangent, K(1)));
                const V cosine = PICK(turn, K(1) / length, K(1)), sine = PICK(turn, tangent / length, K(0));
                for (int64_t k = 0; k < n; k++)
                    TYPED(rotate)(some, cosine, sine, work + p * row + k * column, work + q * row + k * column);
                for (int64_t k = 0; k < n; k++) {
                    TYPED(rotate)(some, cosine, sine, work + k * row + p * column, work + k * row + q * column);
                    TYPED(rotate)(some, cosine, sine, vector + k * row + p * column, vector + k * row + q * column);
                }
                for (int64_t k = 0; k < 2; k++) { /* what rounding left */
                    T *at = work + (k ? q : p) * row + (k ? p : q) * column;
                    PUT(at, PICK(turn & (size == size), K(0), GET(at)));
                }
            }
    }
    for (int64_t i = 0; i < n; i++)
        PUT(out + i * column, GET(work + i * (row + column)));
    for (int64_t i = 0; i + 1 < n; i++) /* the least of the rest to the front */
        for (int64_t j = i + 1; j < n; j++) {
            const V x = GET(out + i * column), y = GET(out + j * column);
            const M swap = y < x;
            if (!TYPED(any)(swap))
                continue;
            for (int64_t k = -1; k < n; k++) {
                T *here = vector + k * row + i * column, *there = vector + k * row + j * column;
                const V u = GET(here), v = GET(there);
                PUT(here, PICK(swap, v, u));
                PUT(there, PICK(swap, u, v));
            }
        }
}
CORE(eigh)

#undef AT
#undef GET
#undef PUT
#undef COUNT
#undef CORE
#undef CORE_OF
#undef NOT_A_NUMBER
