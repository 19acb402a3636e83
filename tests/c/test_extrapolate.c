/* Derivatives by extrapolation: as exact as their estimates say, each element by itself, any rows. */
#include <float.h>
#include <math.h>

#include "check.h"
#include "fastgrad.h"
#include "five_points.h"

enum { ROWS = 3, COLUMNS = 2 };

typedef struct {
    double slope[ROWS * COLUMNS], scale[ROWS], noise[NODES + 1], found[ROWS * COLUMNS], error[ROWS * COLUMNS];
    double balance[ROWS * COLUMNS], around[NODES * ROWS * COLUMNS], value[ROWS * COLUMNS];
    uint8_t is_fine[ROWS * COLUMNS];
    fg_column column[COLUMNS];
    fg_extrapolation x;
    fg_level level;
} setting;

static const double far[ROWS] = {0.3, 1.2, 0.7}, step[ROWS] = {1. / 1024, 1. / 512, 1. / 1024};

static void set(setting *s, int is_shared) {
    *s = (setting){0};
    noise_of(central, s->noise);
    const fg_extrapolant symmetric = {NODES, central, s->noise, within, beyond};
    s->x = (fg_extrapolation){.central = symmetric,
                              .sided = symmetric,
                              .derivative = 1,
                              .order = 4,
                              .n = ROWS,
                              .n_columns = COLUMNS,
                              .is_shared = is_shared,
                              .far = far,
                              .value = s->value,
                              .slope = s->slope,
                              .scale = s->scale,
                              .column = s->column};
    s->level = (fg_level){.n_rows = ROWS,
                          .step = step,
                          .around = s->around,
                          .eps = DBL_EPSILON,
                          .rtol = 1e-9,
                          .found = s->found,
                          .error = s->error,
                          .balance = s->balance,
                          .is_fine = s->is_fine};
}

/* Column 0 is a sum of sines of multiples, column 1 the product of all. */
static double function(int column, const double *x) {
    return column ? x[0] * x[1] * x[2] : sin(x[0]) + sin(2 * x[1]) + sin(3 * x[2]);
}
static double derivative(int column, int row) {
    return column ? far[0] * far[1] * far[2] / far[row] : (row + 1) * cos((row + 1) * far[row]);
}

static void fill(setting *s, int is_single) {
    const int64_t n_rows = s->level.n_rows;
    for (int c = 0; c < COLUMNS; c++) {
        s->value[c] = is_single ? (double)(float)function(c, far) : function(c, far);
        for (int p = 0; p < NODES; p++)
            for (int64_t i = 0; i < n_rows; i++) {
                const int64_t row = s->level.rows ? s->level.rows[i] : i;
                double x[ROWS] = {far[0], far[1], far[2]};
                x[row] += central_nodes[p] * s->level.step[i];
                s->around[(p * n_rows + i) * COLUMNS + c] = is_single ? (double)(float)function(c, x) : function(c, x);
            }
    }
}

static void errors_are_as_estimated(void) {
    setting s;
    fg_error error;
    double eps = 0;
    set(&s, 1);
    fill(&s, 0);
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_OK && eps == DBL_EPSILON);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const double miss = fabs(s.found[i] - derivative(i % COLUMNS, i / COLUMNS));
        CHECK(miss <= s.error[i] && s.error[i] < 1e-10 && s.is_fine[i] && s.balance[i] > 0);
    }
}

static void what_is_not_finite_stays_where_it_is(void) {
    setting s, clean;
    fg_error error;
    double eps = 0;
    set(&clean, 1);
    fill(&clean, 0);
    CHECK(fg_extrapolate(&clean.x, &clean.level, &eps, &error) == FG_OK);
    set(&s, 1);
    fill(&s, 0);
    s.around[1 * ROWS * COLUMNS + 1 * COLUMNS + 0] = NAN; /* of row 1, column 0 */
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_OK);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const int is_hit = i == 1 * COLUMNS + 0;
        CHECK(isnan(s.found[i]) == is_hit && isnan(s.error[i]) == is_hit && (s.is_fine[i] == 0) == is_hit);
        CHECK(is_hit || s.found[i] == clean.found[i]);
    }
}

static void single_precision_is_seen(void) {
    setting s;
    fg_error error;
    double eps = 0;
    set(&s, 1);
    fill(&s, 1);
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_OK && eps == (double)FLT_EPSILON);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        const double miss = fabs(s.found[i] - derivative(i % COLUMNS, i / COLUMNS));
        CHECK(miss <= s.error[i] && s.error[i] > 1e-6 && s.is_fine[i] == 0);
    }
    /* x² at 1 is short without an error */
    const double one[ROWS] = {1, 1, 1};
    set(&s, 0);
    s.x.far = one;
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        s.value[i] = 1;
        for (int p = 0; p < NODES; p++)
            s.around[p * ROWS * COLUMNS + i] = pow(1 + central_nodes[p] * step[i / COLUMNS], 2);
    }
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_OK && eps == DBL_EPSILON);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        CHECK(fabs(s.found[i] - 2) <= s.error[i] && s.error[i] < 1e-11 && s.is_fine[i]);
}

static void some_rows_give_what_all_give(void) {
    static const int64_t rows[] = {2, 0};
    static const double their_steps[] = {1. / 1024, 1. / 1024};
    setting all, some;
    fg_error error;
    double eps = 0;
    set(&all, 1);
    fill(&all, 0);
    CHECK(fg_extrapolate(&all.x, &all.level, &eps, &error) == FG_OK);
    some = all; /* goes on after that level */
    some.x.slope = some.slope, some.x.scale = some.scale, some.x.column = some.column, some.x.value = some.value;
    some.x.central.noise = some.x.sided.noise = some.noise;
    some.level = (fg_level){.n_rows = 2,
                            .rows = rows,
                            .step = their_steps,
                            .around = some.around,
                            .eps = DBL_EPSILON,
                            .rtol = 1e-9,
                            .found = some.found,
                            .error = some.error,
                            .balance = some.balance,
                            .is_fine = some.is_fine};
    fill(&some, 0);
    CHECK(fg_extrapolate(&some.x, &some.level, &eps, &error) == FG_OK);
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < COLUMNS; c++) {
            const int64_t there = rows[i] * COLUMNS + c;
            CHECK(some.found[i * COLUMNS + c] == all.found[there] && some.error[i * COLUMNS + c] == all.error[there]);
        }
}

static void what_cannot_be_is_refused(void) {
    static const int64_t beyond_the_last[] = {3};
    setting s;
    fg_error error;
    double eps = 0;
    set(&s, 1);
    s.x.central.n_nodes = 17;
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_INVALID_VALUE);
    set(&s, 1);
    s.x.derivative = 5;
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_INVALID_VALUE);
    set(&s, 1);
    s.level.n_rows = 1;
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_INVALID_VALUE);
    s.level.rows = beyond_the_last;
    CHECK(fg_extrapolate(&s.x, &s.level, &eps, &error) == FG_INVALID_VALUE);
}

int main(void) {
    errors_are_as_estimated();
    what_is_not_finite_stays_where_it_is();
    single_precision_is_seen();
    some_rows_give_what_all_give();
    what_cannot_be_is_refused();
    return check_result();
}
