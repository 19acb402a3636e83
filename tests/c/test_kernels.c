/* Every kernel of every instruction set against a scalar loop: all widths around a vector's, all ways to repeat an
 * operand, nothing written past the end, and the documented order of sums to the last bit. */
#include "kernels.h"

#include "build.h"
#include "check.h"

static int64_t n_numbers;
static double worst_ulp;

static int is_elementary(int op) {
    switch (op) {
#define ELEMENTARY(name, arity, expression) \
    case FG_OP_##name:                      \
        return 1;
#define ELEMENTWISE(name, arity, expression)
#include "ops.def"
    default:
        return 0;
    }
}
static int is_fused(int op) { return op >= FG_OP_multiply_add && op <= FG_OP_negative_multiply_add; }

static double special(rng *r, int dtype) {
    static const double numbers[] = {
        0.0, -0.0, 1, -1, 0.5, 2, (double)INFINITY, -(double)INFINITY, (double)NAN, 3, 1e-3, -1e-3, 700, -700, 88, -88};
    const double tiny = dtype == FG_FLOAT32 ? 0x1p-149 : 0x1p-1074,
                 huge = dtype == FG_FLOAT32 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023;
    switch (rng_below(r, 4)) {
    case 0:
        return numbers[rng_below(r, sizeof numbers / sizeof *numbers)];
    case 1:
        return rng_below(r, 2) ? tiny * (double)rng_below(r, 5) : huge * rng_between(r, -1, 1);
    default:
        return rng_between(r, -4, 4);
    }
}

/* An array of n elements that ends where its allocation does. */
static void *random_array(rng *r, int dtype, int64_t n) {
    void *a = exactly(n, dtype);
    for (int64_t i = 0; i < n; i++)
        set(a, dtype, i, special(r, dtype));
    return a;
}

/* ---- elementwise ---------------------------------------------------------------------------------------- */

static void an_element_is_right(int op, int dtype, double x, const double *o) {
    const double tiny = dtype == FG_FLOAT32 ? 0x1p-149 : 0x1p-1074;
    double y = oracle_element(op, o[0], o[1], o[2]), tolerance = 0;
    if (dtype == FG_FLOAT32)
        y = (double)(float)y;
    if (is_elementary(op)) {
        tolerance = 4 * epsilon(dtype) * fabs(y) + 2 * tiny; /* the oracle has errors too */
        if (op == FG_OP_logaddexp)
            tolerance += 2 * epsilon(dtype);
        if (op == FG_OP_zeta && isfinite(y))
            tolerance += epsilon(dtype) * fabs(y * o[0]);
        if ((op == FG_OP_gammaln || op == FG_OP_digamma || op == FG_OP_trigamma) && o[0] < 0 && isfinite(y))
            tolerance += epsilon(dtype) * oracle_reflection(o[0]);
        else if (isfinite(y) && fabs(y) > 1e-30)
            worst_ulp = fmax(worst_ulp,
                             op == FG_OP_logaddexp || op == FG_OP_zeta ? 0 : fabs(x - y) / (epsilon(dtype) * fabs(y)));
    } else if (is_fused(op))
        tolerance = 2 * epsilon(dtype) * (fabs(o[0] * o[1]) + fabs(o[2])) + tiny;
    if (is_fused(op) && (!isfinite(y) || tolerance > 1e300 || (dtype == FG_FLOAT32 && tolerance > 1e30)))
        return; /* rounding decides whether it overflows */
    if (!CHECK_CLOSE(x, y, tolerance))
        fprintf(stderr, "    %s, %s, dtype %d, of %a %a %a\n", fg_current_isa(), fg_op_name(op), dtype, o[0], o[1],
                o[2]);
    n_numbers++;
}

static void rows_are_right(const fg_kernels *kernels, int op, int dtype, int64_t width, unsigned splat, int in_place) {
    enum { ROWS = 3, GUARD = 40 };
    rng r = {(uint64_t)(op * 1000 + width)};
    const int arity = fg_op_arity(op);
    const size_t item = item_size(dtype);
    fg_rows rows = {.n_rows = ROWS, .width = width, .stride = {width + 1}, .splat = splat};
    void *operand[1 + FG_MAX_INPUTS] = {0}, *plain[1 + FG_MAX_INPUTS] = {0};
    void *out = exactly(ROWS * (width + 1) + GUARD, dtype), *again = exactly(ROWS * (width + 1) + GUARD, dtype);
    memset(out, 0x5a, (size_t)(ROWS * (width + 1) + GUARD) * item);
    memset(again, 0x5a, (size_t)(ROWS * (width + 1) + GUARD) * item);
    fg_rows dense = rows;
    dense.splat = 0;
    for (int i = 1; i <= FG_MAX_INPUTS; i++) {
        const int one = splat >> (i - 1) & 1u;
        rows.stride[i] = one ? 1 : width;
        dense.stride[i] = width;
        operand[i] = random_array(&r, dtype, i <= arity ? ROWS * (one ? 1 : width) : 0);
        plain[i] = exactly(i <= arity ? ROWS * width : 0, dtype);
        for (int64_t k = 0; i <= arity && k < ROWS * width; k++)
            set(plain[i], dtype, k, get(operand[i], dtype, one ? k / width : k));
    }
    operand[0] = out, plain[0] = again;
    void *first = operand[1];
    if (in_place) { /* the result is the first operand */
        rows.stride[1] = width + 1;
        for (int64_t k = 0; k < ROWS * width; k++)
            set(out, dtype, k / width * (width + 1) + k % width, get(first, dtype, k));
        operand[1] = out;
    }
    kernels->rows[op][dtype](&rows, operand);
    kernels->rows[op][dtype](&dense, plain);
    int same = 1, kept = 1;
    for (int64_t row = 0; row < ROWS; row++) {
        for (int64_t i = 0; i < width; i++) {
            double o[3] = {0};
            for (int k = 0; k < arity; k++)
                o[k] = get(plain[1 + k], dtype, row * width + i);
            an_element_is_right(op, dtype, get(out, dtype, row * (width + 1) + i), o);
        }
        same &= same_numbers((char *)out + (size_t)(row * (width + 1)) * item,
                             (char *)again + (size_t)(row * (width + 1)) * item, dtype, width);
        for (size_t k = 0; k < item * (row == ROWS - 1 ? GUARD : 1); k++)
            kept &= ((unsigned char *)out)[(size_t)(row * (width + 1) + width) * item + k] == 0x5a;
    }
    if (!CHECK(same)) /* a repeated operand gives the bits of an array of it */
        fprintf(stderr, "    %s, %s, dtype %d, width %d, splat %u\n", fg_current_isa(), fg_op_name(op), dtype,
                (int)width, splat);
    CHECK(kept); /* what is between and behind the rows */
    operand[1] = first;
    for (int i = 0; i <= FG_MAX_INPUTS; i++) {
        free(operand[i]);
        free(plain[i]);
    }
}

static void elementwise_kernels_are_right(const fg_kernels *kernels) {
    for (int op = 0; op < FG_N_OPS; op++)
        for (int dtype = 0; dtype < 2; dtype++) {
            CHECK((kernels->rows[op][dtype] != NULL) == (fg_op_kind_of(op) == FG_ELEMENTWISE));
            for (int64_t width = 1; kernels->rows[op][dtype] && width <= 2 * 16 + 3; width++)
                for (unsigned splat = 0; splat < 1u << fg_op_arity(op); splat++)
                    for (int in_place = 0; in_place <= !(splat & 1u); in_place++)
                        rows_are_right(kernels, op, dtype, width, splat, in_place);
        }
}

/* ---- reductions ----------------------------------------------------------------------------------------- */

static double rounded(double x, int dtype) { return dtype == FG_FLOAT32 ? (double)(float)x : x; }

/* The law of kernels.h: of n elements a (or products a b), the k-th at stride k. */
static double fold_by_law(int op, int dtype, int64_t n, const void *a, int64_t stride) {
    double accumulator[16];
    if (n > 1024) {
        int64_t left = 1024;
        while (2 * left < n)
            left *= 2;
        double u = fold_by_law(op, dtype, left, a, stride);
        double v =
            fold_by_law(op, dtype, n - left, (const char *)a + left * stride * (int64_t)item_size(dtype), stride);
        return rounded(oracle_element(op, u, v, 0), dtype);
    }
    for (int j = 0; j < 16; j++)
        accumulator[j] = oracle_identity(op);
    for (int64_t r = 0; r < n; r++)
        accumulator[r % 16] = rounded(oracle_element(op, accumulator[r % 16], get(a, dtype, r * stride), 0), dtype);
    for (int half = 8; half > 0; half /= 2)
        for (int j = 0; j < half; j++)
            accumulator[j] = rounded(oracle_element(op, accumulator[j], accumulator[j + half], 0), dtype);
    return accumulator[0];
}

static void a_fold_keeps_its_order(const fg_kernels *kernels, int op, int dtype, int64_t n, int64_t width) {
    rng r = {(uint64_t)n};
    void *a = exactly(n * width, dtype), *out = exactly(width + 1, dtype), *ones = exactly(n, dtype);
    for (int64_t i = 0; i < n * width; i++)
        set(a, dtype, i, op == FG_OP_prod ? rng_between(&r, 0.9, 1.1) : rng_between(&r, -1, 1));
    for (int64_t i = 0; i < n; i++)
        set(ones, dtype, i, 1);
    fg_fold fold = {.n = n, .width = width, .stride = {width, width}};
    const int is_dot = op == FG_OP_dot, like = is_dot ? FG_OP_sum : op;
    if (is_dot) /* times one: the order of a sum */
        fold.stride[1] = 1, fold.splat = width > 1 ? 2 : 0;
    set(out, dtype, width, 123);
    kernels->fold[op][dtype](&fold, (void *[]){out, a, is_dot ? ones : a});
    int same = get(out, dtype, width) == 123;
    for (int64_t i = 0; i < width; i++)
        same &= get(out, dtype, i) == fold_by_law(like, dtype, n, (char *)a + (size_t)i * item_size(dtype), width);
    if (!CHECK(same))
        fprintf(stderr, "    %s, %s of %d, dtype %d, width %d\n", fg_current_isa(), fg_op_name(op), (int)n, dtype,
                (int)width);
    n_numbers += width;
    free(a);
    free(ones);
    free(out);
}

static void folds_keep_their_order(const fg_kernels *kernels) {
    static const int64_t sizes[] = {0,   1,    2,    7,    15,   16,   17,   31,   33,
                                    100, 1023, 1024, 1025, 2048, 2049, 3072, 5000, 9000};
    static const int64_t widths[] = {1, 2, 3, 5, 8, 9, 16, 17, 33};
    static const int ops[] = {FG_OP_sum, FG_OP_prod, FG_OP_max, FG_OP_min, FG_OP_dot};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
                for (int dtype = 0; dtype < 2; dtype++)
                    a_fold_keeps_its_order(kernels, ops[k], dtype, sizes[i], widths[w]);
}

/* ---- matrix products ------------------------------------------------------------------------------------ */

static double plus_product(int fused, int dtype, double sum, double a, double b) {
    volatile double product = rounded(a * b, dtype); /* a float32 product is exact in double */
    if (!fused)
        return rounded(sum + product, dtype);
    return dtype == FG_FLOAT32 ? (double)fmaf((float)a, (float)b, (float)sum) : fma(a, b, sum);
}

/* Where element (i, j) of a matrix stands, its rows and columns at any distance. */
typedef struct {
    void *numbers;
    int64_t size, row, column;
} matrix;

enum { BY_ROWS, BY_COLUMNS, APART, SPLIT }; /* the last: rows with gaps between */
static matrix random_matrix(rng *r, int dtype, int64_t rows, int64_t columns, int order) {
    matrix a = {.row = columns, .column = 1};
    if (order == BY_COLUMNS)
        a.row = 1, a.column = rows;
    else if (order == APART)
        a.column = 3, a.row = 3 * columns + 2;
    else if (order == SPLIT)
        a.row = columns + 1 + rows % 3;
    a.size = rows && columns ? (rows - 1) * a.row + (columns - 1) * a.column + 1 : 0;
    a.numbers = exactly(a.size, dtype);
    for (int64_t i = 0; i < a.size; i++)
        set(a.numbers, dtype, i, rng_between(r, -1, 1));
    return a;
}

enum { FROM_ZERO, FROM_COLUMN, FROM_ROW, FROM_MATRIX, FROM_RESULT, N_BEGINNINGS };
static void a_product_adds_in_order(const fg_kernels *kernels, int dtype, int64_t m, int64_t n, int64_t k, int order_a,
                                    int order_b, int beginning) {
    const int fused = strcmp(kernels->name, "baseline") != 0;
    rng r = {(uint64_t)(m * n + k)};
    const matrix a = random_matrix(&r, dtype, m, k, order_a), b = random_matrix(&r, dtype, k, n, order_b);
    const matrix c = random_matrix(&r, dtype, m, n, SPLIT), start = random_matrix(&r, dtype, m, n, SPLIT);
    const fg_gemm g = {.m = m,
                       .n = n,
                       .k = k,
                       .a_row = a.row,
                       .a_column = a.column,
                       .b_row = b.row,
                       .b_column = b.column,
                       .c_row = c.row,
                       .start_row = beginning == FROM_ROW ? 0 : start.row,
                       .start_column = beginning != FROM_COLUMN,
                       .accumulate = beginning == FROM_RESULT};
    void *expected = exactly(c.size, dtype), *sums = exactly(n, dtype);
    memcpy(expected, c.numbers, (size_t)c.size * item_size(dtype)); /* between the rows nothing is written */
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            const double from = get(start.numbers, dtype, i * g.start_row + j * g.start_column);
            const double to = get(c.numbers, dtype, i * c.row + j);
            set(sums, dtype, j, beginning == FROM_ZERO ? 0 : beginning == FROM_RESULT ? to : from);
        }
        for (int64_t p = 0; p < k; p++) {
            const double factor = get(a.numbers, dtype, i * a.row + p * a.column);
            for (int64_t j = 0; j < n; j++)
                set(sums, dtype, j,
                    plus_product(fused, dtype, get(sums, dtype, j), factor,
                                 get(b.numbers, dtype, p * b.row + j * b.column)));
        }
        memcpy((char *)expected + (size_t)(i * c.row) * item_size(dtype), sums, (size_t)n * item_size(dtype));
    }
    kernels->gemm[dtype](&g, a.numbers, b.numbers, beginning == FROM_ZERO ? NULL : start.numbers, c.numbers);
    if (!CHECK(same_numbers(c.numbers, expected, dtype, c.size)))
        fprintf(stderr, "    %s, product %d x %d x %d, dtype %d, orders %d %d, from %d\n", fg_current_isa(), (int)m,
                (int)n, (int)k, dtype, order_a, order_b, beginning);
    n_numbers += m * n;
    free(a.numbers);
    free(b.numbers);
    free(c.numbers);
    free(start.numbers);
    free(expected);
    free(sums);
}

static void products_add_in_order(const fg_kernels *kernels) {
    rng r = {1};
#define ANY (int)rng_below(&r, 4), (int)rng_below(&r, 4), (int)rng_below(&r, N_BEGINNINGS)
    for (int dtype = 0; dtype < 2; dtype++) {
        for (int64_t m = 1; m <= 40; m++)
            for (int64_t n = 1; n <= 40; n++)
                a_product_adds_in_order(kernels, dtype, m, n, rng_below(&r, 40), ANY);
        for (int64_t n = 41; n <= 300; n += 7) /* tiles of few rows are wide */
            for (int64_t m = 1; m <= 3; m++)
                a_product_adds_in_order(kernels, dtype, m, n, 1 + rng_below(&r, 40), ANY);
        static const int64_t large[][3] = {/* across the edges of blocks: in place, either factor packed, both */
                                           {13, 260, 1030}, {3, 1030, 700},  {1, 1500, 300}, {70, 1100, 40},
                                           {45, 700, 257},  {40, 1025, 129}, {600, 40, 130}, {1100, 65, 259}};
        for (size_t i = 0; i < sizeof large / sizeof *large; i++)
            for (int order = 0; order < 4; order++)
                a_product_adds_in_order(kernels, dtype, large[i][0], large[i][1], large[i][2],
                                        order < 2 ? 1 - order : BY_COLUMNS, order,
                                        (int)(i + (size_t)order) % N_BEGINNINGS);
    }
#undef ANY
}

/* ---- lanes and stopping --------------------------------------------------------------------------------- */

static void rows_become_lanes_and_back(const fg_kernels *kernels, int dtype, int64_t n, int64_t size, int64_t n_lanes) {
    const int64_t whole = size * n_lanes;
    void *rows = exactly(n * size, dtype), *lanes = exactly(whole, dtype), *back = exactly(n * size, dtype);
    for (int64_t i = 0; i < n * size; i++)
        set(rows, dtype, i, (double)(1 + i));
    for (int64_t i = 0; i < whole; i++)
        set(lanes, dtype, i, -1);
    kernels->lanes_in[dtype](n, size, n_lanes, rows, lanes);
    kernels->lanes_out[dtype](n, size, n_lanes, lanes, back);
    int right = same_numbers(rows, back, dtype, n * size);
    for (int64_t i = 0; i < whole; i++)
        right &= get(lanes, dtype, i) == (i % n_lanes < n ? (double)(1 + i % n_lanes * size + i / n_lanes) : -1);
    CHECK(right);
    const int64_t by = (n + size) % 17; /* past the caches, to anywhere in a cache line */
    char *away = exactly(n * size + by, dtype), *to = away + (size_t)by * item_size(dtype);
    kernels->lanes_away[dtype](n, size, n_lanes, lanes, to);
    CHECK(same_numbers(rows, to, dtype, n * size));
    memset(away, 0, (size_t)(n * size + by) * item_size(dtype));
    kernels->away[dtype](n * size, rows, to);
    CHECK(same_numbers(rows, to, dtype, n * size));
    for (int64_t i = 0; i < by; i++)
        CHECK(get(away, dtype, i) == 0);
    free(rows);
    free(lanes);
    free(back);
    free(away);
}

/* Each neighbour gets the bits it would get alone, or on a stride of its own, and nothing past the last is touched. */
static void neighbours_do_not_matter(const fg_kernels *kernels, int op, int dtype, int64_t width, unsigned splat) {
    enum { LENGTH = 5, MOST = (2 * LENGTH + 1) * LENGTH };
    rng r = {(uint64_t)(op * 100 + width)};
    const size_t item = item_size(dtype);
    const int64_t one = op == FG_OP_sort_pairs || op == FG_OP_lu_slogdet ? 2 : LENGTH;
    fg_core core = {.width = width, .size = {one, LENGTH, LENGTH}, .splat = splat};
    fg_core alone = {.width = 1, .size = {one, LENGTH, LENGTH}};
    void *operand[1 + FG_MAX_INPUTS] = {0}, *copy[1 + FG_MAX_INPUTS] = {0};
    for (int i = 0; i < 3; i++) { /* all strides alike will do: more than any operation reaches */
        const int64_t step = i > 0 && splat >> (i - 1) & 1u ? 1 : width;
        const int is_square = op >= FG_OP_lu && !(op == FG_OP_lu_slogdet && i == 0);
        const int64_t strides[] = {(is_square || (op == FG_OP_sort_pairs && i == 0)) ? LENGTH : 1, 1, 1};
        for (int d = 0; d < 3; d++) {
            alone.stride[i][d] = strides[d] ? strides[d] : 1;
            if (op == FG_OP_lu_slogdet && i == 1)
                alone.stride[i][d] = d == 1 ? LENGTH : 1;
            core.stride[i][d] = alone.stride[i][d] * step;
        }
        operand[i] = random_array(&r, dtype, MOST * step);
        copy[i] = exactly(MOST, dtype);
        for (int64_t k = 0; i > 0 && k < MOST * step; k++)
            if (rng_below(&r, 8)) /* mostly ordinary numbers */
                set(operand[i], dtype, k, rng_between(&r, -3, 6));
    }
    void *out = exactly(MOST * width, dtype);
    memcpy(out, operand[0], (size_t)(MOST * width) * item);
    operand[3] = NULL;
    kernels->core[op][dtype](&core, operand);
    int same = 1;
    for (int64_t l = 0; l < width; l++) {
        for (int i = 0; i < 3; i++)
            for (int64_t k = 0; k < MOST; k++) {
                const int is_one = i > 0 && splat >> (i - 1) & 1u;
                set(copy[i], dtype, k, get(i ? operand[i] : out, dtype, is_one ? k : k * width + l));
            }
        kernels->core[op][dtype](&alone, copy);
        for (int64_t k = 0; k < MOST; k++) {
            const double u = get(copy[0], dtype, k), v = get(operand[0], dtype, k * width + l);
            same &= memcmp(&u, &v, sizeof u) == 0 || (isnan(u) && isnan(v));
        }
    }
    if (!CHECK(same))
        fprintf(stderr, "    %s, %s, dtype %d, width %d, splat %u\n", fg_current_isa(), fg_op_name(op), dtype,
                (int)width, splat);
    n_numbers += MOST * width;
    free(out);
    for (int i = 0; i < 3; i++) {
        free(operand[i]);
        free(copy[i]);
    }
}

static void generalised_kernels_are_right(const fg_kernels *kernels) {
    for (int op = 0; op < FG_N_OPS; op++)
        for (int dtype = 0; dtype < 2; dtype++) {
            CHECK((kernels->core[op][dtype] != NULL) == (fg_op_kind_of(op) == FG_GENERALISED));
            for (int64_t width = 1; kernels->core[op][dtype] && width <= 2 * 16 + 3; width++)
                for (unsigned splat = 0; splat < 1u << fg_op_arity(op); splat++)
                    neighbours_do_not_matter(kernels, op, dtype, width, width > 1 ? splat : 0);
        }
}

static void lanes_stop_when_they_should(const fg_kernels *kernels, int dtype, int64_t size, int64_t n_lanes,
                                        int with_frozen) {
    rng r = {(uint64_t)(size * 10 + n_lanes)};
    for (int round = 0; round < 40; round++) {
        void *gradient = exactly(size * n_lanes, dtype), *frozen = exactly(n_lanes, dtype),
             *stop = exactly(n_lanes, dtype);
        const double scale = round % 3 ? 1 : 4;
        for (int64_t i = 0; i < size * n_lanes; i++)
            set(gradient, dtype, i, rng_below(&r, 60) == 0 ? special(&r, dtype) : rng_between(&r, -scale, scale));
        for (int64_t l = 0; l < n_lanes; l++)
            set(frozen, dtype, l, rng_below(&r, 3) == 0);
        const fg_check check = {.size = size,
                                .n_lanes = n_lanes,
                                .gradient = gradient,
                                .frozen = with_frozen ? frozen : NULL,
                                .gtol = 1,
                                .stop = stop};
        int any = kernels->check[dtype](&check), expected_any = 0, right = 1;
        for (int64_t l = 0; l < n_lanes; l++) {
            int broken = 0;
            double largest = 0;
            for (int64_t i = 0; i < size; i++) {
                const double g = fabs(get(gradient, dtype, i * n_lanes + l));
                broken |= !isfinite(g);
                largest = g > largest ? g : largest;
            }
            const int is_frozen = with_frozen && n_lanes > 1 && get(frozen, dtype, l) != 0;
            const int outcome = is_frozen ? 0 : broken ? 1 + FG_NON_FINITE : largest <= 1 ? 1 + FG_CONVERGED : 0;
            expected_any |= outcome != 0;
            right &= !any || get(stop, dtype, l) == outcome;
        }
        CHECK((any != 0) == expected_any && right);
        n_numbers += n_lanes;
        free(gradient);
        free(frozen);
        free(stop);
    }
}

int main(void) {
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        const fg_kernels *kernels = fg_active_kernels();
        CHECK(strcmp(kernels->name, fg_current_isa()) == 0);
        elementwise_kernels_are_right(kernels);
        folds_keep_their_order(kernels);
        products_add_in_order(kernels);
        generalised_kernels_are_right(kernels);
        for (int dtype = 0; dtype < 2; dtype++)
            for (int64_t size = 0; size <= 19; size++)
                for (int64_t n_lanes = 1; n_lanes <= 64; n_lanes *= n_lanes == 1 ? 16 : 2) {
                    for (int64_t n = 1; n <= n_lanes; n += n < 20 ? 1 : 11)
                        rows_become_lanes_and_back(kernels, dtype, n, size, n_lanes);
                    lanes_stop_when_they_should(kernels, dtype, size, n_lanes, (int)(size % 2));
                    lanes_stop_when_they_should(kernels, dtype, size, n_lanes, (int)((size + 1) % 2));
                }
    }
    printf("kernels: %lld numbers, elementary functions within %.2g epsilon of libm\n", (long long)n_numbers,
           worst_ulp);
    return check_result();
}
