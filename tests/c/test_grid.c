/* Stencils along axes against a loop over points: random shapes, layouts and spans on every instruction set, nothing
 * read or written outside of the arrays; refusals; cancellation. */
#include "build.h"
#include "check.h"
#include "layout.h"

enum { MOST_SPANS = 8, MOST_TAPS = 9, MOST_POINTS = 40 };

/* ---- random fields -------------------------------------------------------------------------------------- */

typedef struct {
    int dtype, n_dims, n_axes;
    int64_t shape[MOST_DIMS];
    fg_axis axes[MOST_DIMS];
    fg_span spans[MOST_DIMS][MOST_SPANS];
    int64_t at[MOST_DIMS][MOST_SPANS][MOST_TAPS];
    void *weights[MOST_DIMS][MOST_SPANS];
} stencils;

static void random_span(rng *r, stencils *s, int a, int64_t first, int64_t n_points) {
    const int64_t n = s->shape[s->axes[a].axis], k = s->axes[a].n_spans;
    fg_span *span = &s->spans[a][k];
    *span = (fg_span){.n_points = n_points, .n_taps = rng_below(r, MOST_TAPS + 1), .at = s->at[a][k]};
    span->by_point = rng_below(r, 3) == 0;
    span->fixed = span->by_point && rng_below(r, 2);
    span->weight_row = n_points + rng_below(r, 3);
    for (int64_t t = 0; t < span->n_taps; t++)
        s->at[a][k][t] = span->fixed ? rng_below(r, n) : rng_below(r, n - n_points + 1) - first;
    const int64_t n_weights =
        span->by_point && span->n_taps ? (span->n_taps - 1) * span->weight_row + n_points : span->n_taps;
    span->weights = s->weights[a][k] = exactly(n_weights, s->dtype);
    for (int64_t t = 0; t < n_weights; t++) /* some leave a tap out, some are pairs */
        set(s->weights[a][k], s->dtype, t, rng_below(r, 6) ? rng_between(r, -1, 1) : 0);
    for (int64_t t = 0; !span->by_point && t < span->n_taps / 2; t++)
        if (rng_below(r, 2))
            set(s->weights[a][k], s->dtype, span->n_taps - 1 - t,
                get(span->weights, s->dtype, t) * (rng_below(r, 2) ? 1 : -1));
    s->axes[a].n_spans++;
}

static void random_stencils(rng *r, stencils *s) {
    s->dtype = (int)rng_below(r, 2);
    s->n_dims = 1 + (int)rng_below(r, MOST_DIMS);
    for (int d = 0; d < s->n_dims; d++)
        s->shape[d] = 1 + rng_below(r, s->n_dims == 1 ? 300 : s->n_dims == 2 ? MOST_POINTS : MOST_POINTS / 3);
    s->n_axes = 1 + (int)rng_below(r, s->n_dims);
    const int first_axis = (int)rng_below(r, s->n_dims);
    for (int a = 0; a < s->n_axes; a++) {
        s->axes[a] =
            (fg_axis){.axis = (first_axis + a) % s->n_dims, .spans = s->spans[a], .scale = rng_between(r, -2, 2)};
        const int64_t n = s->shape[s->axes[a].axis];
        for (int64_t first = 0, end; first < n; first = end) {
            end = s->axes[a].n_spans == MOST_SPANS - 1 ? n : first + 1 + rng_below(r, n - first);
            random_span(r, s, a, first, end - first);
        }
    }
}

static void free_stencils(stencils *s) {
    for (int a = 0; a < s->n_axes; a++)
        for (int64_t k = 0; k < s->axes[a].n_spans; k++)
            free(s->weights[a][k]);
}

/* ---- what is right -------------------------------------------------------------------------------------- */

static double expected(const stencils *s, const array *in, const int64_t *i) {
    double total = 0;
    for (int a = 0; a < s->n_axes; a++) {
        const fg_axis *axis = &s->axes[a];
        const int64_t point = i[axis->axis];
        int64_t first = 0;
        const fg_span *span = axis->spans;
        for (; point >= first + span->n_points; span++)
            first += span->n_points;
        double sum = 0;
        for (int64_t t = 0; t < span->n_taps; t++) {
            int64_t at[MOST_DIMS];
            memcpy(at, i, sizeof at);
            at[axis->axis] = span->at[t] + (span->fixed ? 0 : point);
            const int64_t w = span->by_point ? t * span->weight_row + point - first : t;
            sum += get(span->weights, s->dtype, w) * get(place(in, at, s->n_dims), s->dtype, 0);
        }
        total += axis->scale * sum;
    }
    return total;
}

static fg_field field_of(const stencils *s, const array *in, const array *out) {
    return (fg_field){.dtype = (fg_dtype)s->dtype,
                      .n_dims = s->n_dims,
                      .shape = s->shape,
                      .in = in->start,
                      .in_strides = in->strides,
                      .out = out->start,
                      .out_strides = out->strides,
                      .n_axes = s->n_axes,
                      .axes = s->axes};
}

static void random_fields_are_right(rng *r, int n_rounds) {
    for (int round = 0; round < n_rounds; round++) {
        stencils s = {0};
        random_stencils(r, &s);
        array in = random_layout(r, s.dtype, s.n_dims, s.shape), out = random_layout(r, s.dtype, s.n_dims, s.shape),
              before = out;
        const size_t bytes = (size_t)(s.shape[0] * (s.n_dims > 1 ? s.shape[1] : 1) * (s.n_dims > 2 ? s.shape[2] : 1) *
                                      (s.n_dims > 3 ? s.shape[3] : 1));
        double *start = exactly((int64_t)bytes, FG_FLOAT64);
        fg_field field = field_of(&s, &in, &out);
        field.accumulate = rng_below(r, 3) == 0;
        int64_t i[MOST_DIMS] = {0}, k = 0;
        for (int turn = 0; turn < 2; turn++) {
            int d = s.n_dims - 1;
            do {
                const double now = get(place(&out, i, s.n_dims), s.dtype, 0);
                if (turn == 0)
                    start[k++] = now;
                else
                    CHECK_CLOSE(now, (field.accumulate ? start[k] : 0) + expected(&s, &in, i), 100 * epsilon(s.dtype)),
                        k++;
                for (d = s.n_dims - 1; d >= 0 && ++i[d] == s.shape[d]; d--)
                    i[d] = 0;
            } while (d >= 0);
            if (turn == 0)
                CHECK(fg_stencil(&field, NULL, NULL, NULL) == FG_OK);
            k = 0;
        }
        free(start);
        free(in.memory);
        free(before.memory);
        free_stencils(&s);
    }
}

/* Large enough for pieces that cut every axis. */
static void threads_do_not_change_bits(void) {
    enum { A = 30, B = 150, C = 600, SIZE = A * B * C };
    const int64_t shape[] = {A, B, C}, strides[] = {B * C * 8, C * 8, 8}, near[] = {-1, 0, 1}, start[] = {0, 1, 2},
                  end[] = {-2, -1, 0};
    const double weights[] = {1, -2.1, 1.2};
    fg_span spans[3][3];
    fg_axis axes[3];
    for (int a = 0; a < 3; a++) {
        spans[a][0] = (fg_span){.n_points = 1, .n_taps = 3, .at = start, .weights = weights};
        spans[a][1] = (fg_span){.n_points = shape[a] - 2, .n_taps = 3, .at = near, .weights = weights};
        spans[a][2] = (fg_span){.n_points = 1, .n_taps = 3, .at = end, .weights = weights};
        axes[a] = (fg_axis){.axis = a, .n_spans = 3, .spans = spans[a], .scale = 1 + a};
    }
    rng r = {5};
    double *in = exactly(SIZE, FG_FLOAT64), *out = exactly(SIZE, FG_FLOAT64), *first = exactly(SIZE, FG_FLOAT64);
    for (int64_t i = 0; i < SIZE; i++)
        in[i] = rng_between(&r, -1, 1);
    fg_field f = {.dtype = FG_FLOAT64,
                  .n_dims = 3,
                  .shape = shape,
                  .in = in,
                  .in_strides = strides,
                  .out = first,
                  .out_strides = strides,
                  .n_axes = 3,
                  .axes = axes};
    for (int threads = 1; threads <= 4; threads++) {
        CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
        memset(out, 0xff, SIZE * 8);
        CHECK(fg_stencil(&f, NULL, NULL, NULL) == FG_OK);
        f.out = out;
        CHECK(threads == 1 || memcmp(out, first, SIZE * 8) == 0);
    }
    for (int64_t i = 0; i < SIZE; i += 7) {
        double expected = 0;
        for (int a = 0; a < 3; a++) {
            const int64_t step = strides[a] / 8, k = i / step % shape[a];
            const double *x = in + i + (k == 0 ? step : k == shape[a] - 1 ? -step : 0);
            expected += axes[a].scale * (x[-step] - 2.1 * x[0] + 1.2 * x[step]);
        }
        if (fabs(first[i] - expected) > 1e-13)
            CHECK_CLOSE(first[i], expected, 1e-13);
    }
    free(in);
    free(out);
    free(first);
}

/* ---- refusals ------------------------------------------------------------------------------------------- */

static int64_t n_polls;
static int cancel(void *context, int64_t done) {
    (void)context, (void)done;
    return ++n_polls > 0;
}

static void what_does_not_fit_is_refused(void) {
    const double weights[] = {-1, 1};
    double in[6] = {0, 1, 4, 9, 16, 25}, out[6];
    const int64_t near[] = {0, 1}, back[] = {-1, 0}, far[] = {0, INT64_MAX}, low[] = {INT64_MIN, 0}, n[] = {2, 3};
    const int64_t strides[] = {24, 8};
    fg_span good[] = {{.n_points = 2, .n_taps = 2, .at = near, .weights = weights},
                      {.n_points = 1, .n_taps = 2, .at = back, .weights = weights}};
    fg_axis axes[] = {{.axis = 1, .n_spans = 2, .spans = good, .scale = 1},
                      {.axis = 1, .n_spans = 2, .spans = good, .scale = 1}};
    fg_field f = {.dtype = FG_FLOAT64,
                  .n_dims = 2,
                  .shape = n,
                  .in = in,
                  .in_strides = strides,
                  .out = out,
                  .out_strides = strides,
                  .n_axes = 1,
                  .axes = axes};
    fg_error error;
    CHECK(fg_stencil(&f, NULL, NULL, &error) == FG_OK);
    CHECK(out[0] == 1 && out[1] == 3 && out[2] == 3 && out[3] == 7 && out[4] == 9 && out[5] == 9);
#define REFUSED(change, back)                                      \
    change;                                                        \
    CHECK(fg_stencil(&f, NULL, NULL, &error) == FG_INVALID_VALUE); \
    CHECK(error.message[0] && fg_live_bytes() == 0);               \
    back
    REFUSED(f.dtype = FG_INT64, f.dtype = FG_FLOAT64);
    REFUSED(f.n_dims = 0, f.n_dims = 2);
    REFUSED(f.n_dims = FG_MAX_FIELD_DIMS + 1, f.n_dims = 2);
    REFUSED(f.n_axes = 0, f.n_axes = 1);
    REFUSED(f.n_axes = 2, f.n_axes = 1); /* twice the same */
    REFUSED(axes[0].axis = 2, axes[0].axis = 1);
    REFUSED(axes[0].axis = -1, axes[0].axis = 1);
    REFUSED(axes[0].n_spans = 1, axes[0].n_spans = 2);
    REFUSED(axes[0].n_spans = 0, axes[0].n_spans = 2);
    REFUSED(good[0].n_points = 0, good[0].n_points = 2);
    REFUSED(good[0].n_points = 1, good[0].n_points = 2);
    REFUSED(good[1].n_points = INT64_MAX, good[1].n_points = 1);
    REFUSED(good[0].at = back, good[0].at = near);
    REFUSED(good[1].at = near, good[1].at = back);
    REFUSED(good[0].at = far, good[0].at = near);
    REFUSED(good[0].at = low, good[0].at = near);
    REFUSED(good[0].at = NULL, good[0].at = near);
    REFUSED(good[0].weights = NULL, good[0].weights = weights);
    REFUSED(good[0].n_taps = -1, good[0].n_taps = 2);
    REFUSED(good[0].fixed = 1, good[0].fixed = 0);
    REFUSED(good[0].by_point = 1, good[0].by_point = 0);
    const int64_t huge[] = {INT64_MAX / 4, 3}, negative[] = {-1, 3}, none[] = {0, 3};
    REFUSED(f.shape = huge, f.shape = n);
    REFUSED(f.shape = negative, f.shape = n);
    f.shape = none;
    CHECK(fg_stencil(&f, NULL, NULL, &error) == FG_OK);
    f.shape = n;
    CHECK(fg_stencil(&f, cancel, NULL, &error) == FG_CANCELLED && n_polls == 1 && fg_live_bytes() == 0);
}

int main(void) {
    rng r = {17};
    fg_error error;
    for (int i = 0; fg_isa_name(i); i++) {
        CHECK(fg_select_isa(fg_isa_name(i), &error) == FG_OK);
        random_fields_are_right(&r, 600);
    }
    CHECK(fg_select_isa(NULL, &error) == FG_OK);
    threads_do_not_change_bits();
    what_does_not_fit_is_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    return check_result();
}
