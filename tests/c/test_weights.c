/* Weights of differences: exact for polynomials, at any scale; which samples a point takes; refusals; cancellation. */
#include "build.h"
#include "check.h"

enum { MOST_WIDTH = 15, MOST_DERIVATIVE = 6 };

/* Sums of powers of the offsets are those of the derivative at 0, up to the rounding of their terms. */
static void check_powers(int64_t width, const double *offsets, int derivative, const double *weights) {
    for (int64_t power = 0; power < width; power++) {
        long double sum = 0, magnitude = 0, wanted = power == derivative;
        for (int k = 2; k <= power && power == derivative; k++)
            wanted *= k;
        for (int64_t j = 0; j < width; j++) {
            const long double term = weights[j] * powl(offsets[j], power);
            sum += term;
            magnitude += fabsl(term);
        }
        CHECK_CLOSE((double)(sum / magnitude), (double)(wanted / magnitude), 1e-12);
    }
}

static void sums_of_powers_are_right(rng *r) {
    for (int round = 0; round < 2000; round++) {
        enum { N = 3 };
        const int64_t width = 1 + rng_below(r, MOST_WIDTH);
        const int derivative = (int)rng_below(r, width <= MOST_DERIVATIVE ? width : MOST_DERIVATIVE + 1);
        const double scale = ldexp(1, (int)rng_below(r, 60) - 30);
        double *offsets = exactly(N * width, FG_FLOAT64), *weights = exactly(N * width, FG_FLOAT64);
        for (int64_t i = 0; i < N; i++) {
            const double middle = rng_between(r, 0, (double)width);
            for (int64_t j = 0; j < width; j++)
                offsets[i * width + j] = ((double)j + rng_between(r, -0.4, 0.4) - middle) * scale;
        }
        CHECK(fg_weights(N, width, offsets, derivative, weights, NULL, NULL, NULL) == FG_OK);
        for (int64_t i = 0; i < N; i++)
            check_powers(width, offsets + i * width, derivative, weights + i * width);
        free(offsets);
        free(weights);
    }
}

static void scales_by_powers_of_two_change_no_bit(void) {
    const double offsets[] = {-1.5, -0.25, 0, 1, 2.125};
    double weights[5], scaled[5], again[5];
    for (int derivative = 0; derivative < 5; derivative++) {
        CHECK(fg_weights(1, 5, offsets, derivative, weights, NULL, NULL, NULL) == FG_OK);
        for (int power = -240; power <= 240; power += 40) {
            for (int j = 0; j < 5; j++)
                scaled[j] = ldexp(offsets[j], power);
            CHECK(fg_weights(1, 5, scaled, derivative, again, NULL, NULL, NULL) == FG_OK);
            for (int j = 0; j < 5; j++)
                CHECK(again[j] == ldexp(weights[j], -derivative * power));
        }
    }
    const double far[] = {-0x1p1023, 0, 0x1p1023}, near[] = {-0x1p-1074, 0, 0x1p-1074};
    CHECK(fg_weights(1, 3, far, 2, weights, NULL, NULL, NULL) == FG_OK && weights[0] == 0 && weights[1] == 0);
    CHECK(fg_weights(1, 3, near, 0, weights, NULL, NULL, NULL) == FG_OK && weights[0] == 0 && weights[1] == 1);
    CHECK(fg_weights(1, 3, near, 2, weights, NULL, NULL, NULL) == FG_OK && isinf(weights[0]));
}

static void windows_are_around_their_points(void) {
    enum { N = 9 };
    const double coords[N] = {0, 1, 3, 4, 8, 9, 11, 12.5, 20};
    for (int64_t width = 1; width <= N; width++) {
        int64_t first[N];
        double *weights = exactly(N * width, FG_FLOAT64), *own = exactly(width, FG_FLOAT64);
        CHECK(fg_windows(N, width, coords, 0, first, weights, NULL, NULL, NULL) == FG_OK);
        for (int64_t i = 0; i < N; i++) {
            CHECK(first[i] >= 0 && first[i] + width <= N);
            const int64_t before = i - first[i], after = first[i] + width - 1 - i, excess = before - after;
            if (first[i] > 0 && first[i] + width < N)
                CHECK(excess == (width % 2 ? 0 : 2 * i < N ? 1 : -1));
            for (int64_t j = 0; j < width; j++)
                own[j] = coords[first[i] + j] - coords[i];
            double alone[N];
            CHECK(fg_weights(1, width, own, 0, alone, NULL, NULL, NULL) == FG_OK);
            CHECK(memcmp(alone, weights + i * width, (size_t)width * 8) == 0);
        }
        free(weights);
        free(own);
    }
}

static int n_polls;
static int cancel(void *context, int64_t done) {
    (void)context, (void)done;
    return ++n_polls > 0;
}

static void what_does_not_fit_is_refused(void) {
    const double coords[] = {0, 1, 2};
    double weights[9];
    int64_t first[3];
    fg_error error;
    CHECK(fg_weights(1, 3, coords, 3, weights, NULL, NULL, &error) == FG_INVALID_VALUE && error.message[0]);
    CHECK(fg_weights(1, 3, coords, -1, weights, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_weights(1, 0, coords, 0, weights, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_weights(-1, 3, coords, 0, weights, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_weights(INT64_MAX, 3, coords, 0, weights, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_windows(3, 4, coords, 1, first, weights, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_windows(3, 3, coords, 3, first, weights, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_weights(0, 3, coords, 0, weights, NULL, NULL, &error) == FG_OK);
    CHECK(fg_windows(3, 3, coords, 1, first, weights, cancel, NULL, &error) == FG_CANCELLED && n_polls == 1);
}

int main(void) {
    rng r = {31};
    sums_of_powers_are_right(&r);
    scales_by_powers_of_two_change_no_bit();
    windows_are_around_their_points();
    what_does_not_fit_is_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    return check_result();
}
