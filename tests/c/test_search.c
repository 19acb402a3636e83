/* The search for a step: it ends with an estimate that holds, within bounds, and says why where it cannot. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "check.h"
#include "fastgrad.h"
#include "five_points.h"

enum { LEVELS = 20 };

static const double sided_nodes[NODES] = {1, 2, 3, 4};
static const double sided[(NODES + 1) * NODES] = {
    4,       -3,       4 / 3., -1 / 4., 4,      -3,      4 / 3.,  -1 / 4., -13 / 3., 19 / 4.,
    -7 / 3., 11 / 24., 3 / 2., -2,      7 / 6., -1 / 4., -1 / 6., 1 / 4.,  -1 / 6.,  1 / 24.,
};
static const double beyond_sided[2] = {48, 480};

typedef struct {
    double found, error, step;
    int64_t status, n_levels;
    double lowest, highest; /* of the points */
} outcome;

/* What a caller does: levels, until no row goes on. */
static outcome searched(double (*function)(double), double at, double first, double below, double above) {
    double noise[2][NODES + 1], room[2] = {below, above}, far = fabs(at), value = function(at), slope = 0, scale = 0;
    double found, error, balance, around[NODES], best, best_error, reach, small, large, best_step;
    int64_t rows = 0, next_rows, status, n;
    int32_t n_broken, n_idle;
    uint8_t is_fine, is_settled, is_sided = 0;
    fg_column column;
    memset(&column, 0, sizeof column);
    noise_of(central, noise[0]);
    noise_of(sided, noise[1]);
    const fg_extrapolation x = {.central = {NODES, central, noise[0], within, beyond},
                                .sided = {NODES, sided, noise[1], within, beyond_sided},
                                .derivative = 1,
                                .order = 4,
                                .is_shared = 1,
                                .n = 1,
                                .n_columns = 1,
                                .far = &far,
                                .value = &value,
                                .slope = &slope,
                                .scale = &scale,
                                .column = &column};
    fg_search search = {&best,   &best_error, &reach, &is_settled, &best_step,
                        &status, &small,      &large, &n_broken,   &n_idle};
    double step = first;
    fg_level level = {.n_rows = 1,
                      .step = &step,
                      .is_sided = &is_sided,
                      .around = around,
                      .eps = DBL_EPSILON,
                      .rtol = 1e-8,
                      .found = &found,
                      .error = &error,
                      .balance = &balance,
                      .is_fine = &is_fine};
    outcome o = {.lowest = at, .highest = at};
    fg_place(&x, room, NULL, 1, &step, &is_sided);
    for (n = 1; n && o.n_levels < LEVELS; o.n_levels++) {
        for (int p = 0; p < NODES; p++) {
            const double point = at + (is_sided ? sided_nodes : central_nodes)[p] * step;
            around[p] = function(point);
            o.lowest = fmin(o.lowest, point);
            o.highest = fmax(o.highest, point);
        }
        double eps;
        fg_error failure;
        CHECK(fg_extrapolate(&x, &level, &eps, &failure) == FG_OK);
        if (!o.n_levels)
            fg_search_begin(&x, &level, &search);
        double next_step;
        n = fg_search_next(&x, &level, &search, &first, room, &next_rows, &next_step, &is_sided);
        if (n) {
            rows = next_rows;
            step = next_step;
            level.rows = &rows;
        }
    }
    fg_search_end(&x, &level, &search);
    o.found = best, o.error = best_error, o.step = best_step, o.status = status;
    return o;
}

static double fast(double x) { return sin(1e5 * x); }
static double slow(double x) { return sin(x / 1e4); }
static double edge(double x) { return x < 1 ? (double)NAN : x * x * x; }
static double nowhere(double x) { return x == 1 ? 1 : (double)NAN; }
static double noisy(double x) {
    static int calls;
    return sin(x) + 1e-6 * (++calls * 7919 % 101) / 101.;
}

static void a_step_is_found(double (*function)(double), double at, double exact) {
    const outcome o = searched(function, at, 1. / 1024, INFINITY, INFINITY);
    CHECK(o.status == FG_FINE && o.n_levels < 10);
    CHECK(fabs(o.found - exact) <= o.error && o.error < 1e-6 * fabs(exact));
}

static void bounds_are_kept(void) {
    outcome o = searched(exp, 1, 1. / 1024, 1. / 2048, INFINITY); /* shorter, on both sides */
    CHECK(o.lowest >= 1 - 1. / 2048 && o.step > 0);
    CHECK(fabs(o.found - exp(1)) <= o.error);
    o = searched(exp, 1, 1. / 1024, 0, INFINITY); /* above */
    CHECK(o.lowest == 1 && o.step > 0 && fabs(o.found - exp(1)) <= o.error && o.error < 1e-6);
    o = searched(exp, 1, 1. / 1024, INFINITY, 0); /* below */
    CHECK(o.highest == 1 && o.step < 0 && fabs(o.found - exp(1)) <= o.error && o.error < 1e-6);
    o = searched(exp, 1, 1. / 1024, 0, 0);
    CHECK(o.status == FG_NO_ROOM && o.step == 0 && o.n_levels == 1);
}

static void what_cannot_be_found_is_told(void) {
    outcome o = searched(edge, 1, 1. / 1024, INFINITY, INFINITY); /* goes to the side with values */
    CHECK(o.status == FG_FINE && fabs(o.found - 3) <= o.error && o.error < 1e-6);
    o = searched(nowhere, 1, 1. / 1024, INFINITY, INFINITY);
    CHECK(o.status == FG_NOT_FINITE && isnan(o.found));
    o = searched(noisy, 1, 1. / 1024, INFINITY, INFINITY);
    CHECK(o.status != FG_FINE && o.n_levels < LEVELS && fabs(o.found - cos(1)) <= 10 * o.error);
}

int main(void) {
    a_step_is_found(fast, 0.3, 1e5 * cos(3e4));
    a_step_is_found(slow, 0.3, cos(0.3e-4) / 1e4);
    bounds_are_kept();
    what_cannot_be_found_is_told();
    return check_result();
}
