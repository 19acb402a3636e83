/* Values tied to their neighbours: the equations hold, for random shapes, layouts and ties on every instruction set,
 * and nothing is written outside of the lines; bits do not depend on the threads; refusals; cancellation. */
#include "build.h"
#include "check.h"
#include "layout.h"

enum { MOST_POINTS = 70 };

/* All indices one after another; whether there is one more. */
static int next(int64_t *i, int n_dims, const int64_t *shape) {
    int d = n_dims - 1;
    for (; d >= 0 && ++i[d] == shape[d]; d--)
        i[d] = 0;
    return d >= 0;
}

/* The left side of the equation of a point. */
static double left_side(const fg_ties *t, const array *a, const int64_t *i) {
    int64_t at[MOST_DIMS] = {0};
    memcpy(at, i, sizeof at);
    const int64_t n = t->shape[t->axis], point = i[t->axis];
    double sum = get(place(a, at, t->n_dims), (int)t->dtype, 0);
    for (int64_t near = point - 1; near <= point + 1; near += 2) {
        at[t->axis] = (near + n) % n;
        if (t->periodic || (near >= 0 && near < n))
            sum += t->tie * get(place(a, at, t->n_dims), (int)t->dtype, 0);
    }
    return sum;
}

static void equations_hold(rng *r, int n_rounds) {
    for (int round = 0; round < n_rounds; round++) {
        const int dtype = (int)rng_below(r, 2), n_dims = 1 + (int)rng_below(r, MOST_DIMS);
        int64_t shape[MOST_DIMS] = {0}, size = 1;
        for (int d = 0; d < n_dims; d++)
            size *= shape[d] = 1 + rng_below(r, n_dims == 1 ? 3000 : n_dims == 2 ? MOST_POINTS : MOST_POINTS / 5);
        array a = random_layout(r, dtype, n_dims, shape);
        int64_t extent = 1, i[MOST_DIMS] = {0}, k = 0;
        for (int d = 0; d < n_dims; d++)
            extent += (shape[d] - 1) * llabs(a.strides[d]) / (int64_t)item_size(dtype);
        char *before = exactly(extent, dtype);
        memcpy(before, a.memory, (size_t)extent * item_size(dtype));
        double *given = exactly(size, FG_FLOAT64);
        do
            given[k++] = get(place(&a, i, n_dims), dtype, 0);
        while (next(i, n_dims, shape));
        const fg_ties t = {.dtype = (fg_dtype)dtype,
                           .n_dims = n_dims,
                           .shape = shape,
                           .data = a.start,
                           .strides = a.strides,
                           .axis = (int)rng_below(r, n_dims),
                           .tie = rng_below(r, 8) ? rng_between(r, -0.4, 0.4) : rng_between(r, 0.49, 0.4999),
                           .periodic = (int)rng_below(r, 2)};
        CHECK(fg_solve_ties(&t, NULL, NULL, NULL) == FG_OK);
        double largest = 1;
        for (int64_t e = 0; e < extent; e++)
            largest = fmax(largest, fabs(get(a.memory, dtype, e)));
        k = 0;
        do
            CHECK_CLOSE(left_side(&t, &a, i), given[k], 8 * largest * epsilon(dtype)), k++;
        while (next(i, n_dims, shape));
        do /* what is left is what stands between the lines */
            memcpy(place(&a, i, n_dims), before + (place(&a, i, n_dims) - (char *)a.memory), item_size(dtype));
        while (next(i, n_dims, shape));
        CHECK(memcmp(before, a.memory, (size_t)extent * item_size(dtype)) == 0);
        free(before);
        free(given);
        free(a.memory);
    }
}

/* Along every axis, of lines that are near as a whole and of some that are not; alone and side by side. */
static void neither_threads_nor_neighbours_change_bits(int dtype) {
    enum { SIZE = 1200 * 300 };
    const int64_t shapes[][3] = {{1200, 20, 15}, {12, 20, 1500}, {3, 40000, 3}};
    const size_t item = item_size(dtype);
    rng r = {7};
    char *given = exactly(SIZE, dtype), *first = exactly(SIZE, dtype), *again = exactly(SIZE, dtype);
    for (int64_t i = 0; i < SIZE; i++)
        set(given, dtype, i, rng_between(&r, -1, 1));
    for (int k = 0; k < 6 * 3; k++) {
        const int64_t *shape = shapes[k / 6], size = shape[0] * shape[1] * shape[2];
        const int64_t strides[] = {shape[1] * shape[2] * (int64_t)item, shape[2] * (int64_t)item, (int64_t)item};
        fg_ties t = {.dtype = (fg_dtype)dtype,
                     .n_dims = 3,
                     .shape = shape,
                     .data = first,
                     .strides = strides,
                     .axis = k % 3,
                     .tie = 0.375,
                     .periodic = k / 3 % 2};
        memcpy(first, given, (size_t)size * item);
        CHECK(fg_set_num_threads(1, NULL) == FG_OK && fg_solve_ties(&t, NULL, NULL, NULL) == FG_OK);
        for (int threads = 2; threads <= 4; threads++) {
            memcpy(again, given, (size_t)size * item);
            t.data = again;
            CHECK(fg_set_num_threads(threads, NULL) == FG_OK && fg_solve_ties(&t, NULL, NULL, NULL) == FG_OK);
            CHECK(memcmp(first, again, (size_t)size * item) == 0);
        }
        const int axis = t.axis, across = (axis + 1) % 3;
        for (int64_t line = 0; line < 5; line++) {
            const int64_t n = shape[axis], start = line % shape[across] * strides[across];
            t = (fg_ties){.dtype = t.dtype,
                          .n_dims = 1,
                          .shape = &n,
                          .data = again,
                          .strides = (int64_t[]){(int64_t)item},
                          .tie = t.tie,
                          .periodic = t.periodic};
            for (int64_t i = 0; i < n; i++)
                memcpy(again + (size_t)i * item, given + start + i * strides[axis], item);
            CHECK(fg_solve_ties(&t, NULL, NULL, NULL) == FG_OK);
            for (int64_t i = 0; i < n; i++)
                CHECK(memcmp(again + (size_t)i * item, first + start + i * strides[axis], item) == 0);
        }
    }
    free(given);
    free(first);
    free(again);
}

static int n_polls;
static int cancel(void *context, int64_t done) {
    (void)context, (void)done;
    return ++n_polls > 0;
}

static void what_does_not_fit_is_refused(void) {
    double lines[6] = {1.5, 3, 3.5, 1.5, 3, 3.5};
    const int64_t n[] = {2, 3}, strides[] = {24, 8};
    fg_ties t = {
        .dtype = FG_FLOAT64, .n_dims = 2, .shape = n, .data = lines, .strides = strides, .axis = 1, .tie = 0.25};
    fg_error error;
    CHECK(fg_solve_ties(&t, NULL, NULL, &error) == FG_OK);
    for (int i = 0; i < 6; i++)
        CHECK_CLOSE(lines[i], 1 + i % 3, 1e-15);
#define REFUSED(change, back)                                         \
    change;                                                           \
    CHECK(fg_solve_ties(&t, NULL, NULL, &error) == FG_INVALID_VALUE); \
    CHECK(error.message[0] && fg_live_bytes() == 0);                  \
    back
    REFUSED(t.dtype = FG_INT64, t.dtype = FG_FLOAT64);
    REFUSED(t.n_dims = 0, t.n_dims = 2);
    REFUSED(t.n_dims = FG_MAX_FIELD_DIMS + 1, t.n_dims = 2);
    REFUSED(t.axis = 2, t.axis = 1);
    REFUSED(t.axis = -1, t.axis = 1);
    REFUSED(t.tie = 0.5, t.tie = 0.25);
    REFUSED(t.tie = -0.5, t.tie = 0.25);
    REFUSED(t.tie = NAN, t.tie = 0.25);
    const int64_t huge[] = {INT64_MAX / 4, 3}, negative[] = {-1, 3}, none[] = {0, 3};
    REFUSED(t.shape = huge, t.shape = n);
    REFUSED(t.shape = negative, t.shape = n);
    t.shape = none;
    CHECK(fg_solve_ties(&t, NULL, NULL, &error) == FG_OK);
    t.shape = n;
    CHECK(fg_solve_ties(&t, cancel, NULL, &error) == FG_CANCELLED && n_polls == 1 && fg_live_bytes() == 0);
}

int main(void) {
    rng r = {23};
    fg_error error;
    for (int i = 0; fg_isa_name(i); i++) {
        CHECK(fg_select_isa(fg_isa_name(i), &error) == FG_OK);
        equations_hold(&r, 400);
        neither_threads_nor_neighbours_change_bits(FG_FLOAT64);
        neither_threads_nor_neighbours_change_bits(FG_FLOAT32);
    }
    CHECK(fg_select_isa(NULL, &error) == FG_OK);
    what_does_not_fit_is_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    return check_result();
}
