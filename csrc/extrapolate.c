/* What values around a point say of derivatives there, and of the error: see fg_extrapolate. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "status.h"

enum { MOST_NODES = 2 * FG_MOST_PAIRS };

/* These keep NaN, unlike fmax and fmin. */
static double larger(double a, double b) { return a > b || a != a ? a : b; }
static double smaller(double a, double b) { return a < b || a != a ? a : b; }

/* The values around x by one row, and the Taylor terms of the polynomial through them. */
typedef struct {
    double change[MOST_NODES];
    double term[MOST_NODES + 1]; /* absolute, but for the first: the derivative's, extrapolated */
    double moved;                /* the largest change */
    int digits;                  /* binary ones, of the longest value */
} expansion;

static int n_digits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t mantissa = bits << 12;
    return mantissa ? DBL_MANT_DIG + 12 - __builtin_ctzll(mantissa) : 1;
}

static expansion expand(const fg_extrapolant *s, const double *around, int64_t stride, double value) {
    expansion e = {.digits = n_digits(value)};
    for (int p = 0; p < s->n_nodes; p++) {
        const double at = around[p * stride];
        const int digits = n_digits(at);
        e.change[p] = at - value;
        e.moved = larger(e.moved, fabs(e.change[p]));
        e.digits = digits > e.digits ? digits : e.digits;
    }
    for (int k = 0; k <= s->n_nodes; k++) {
        double sum = 0;
        for (int p = 0; p < s->n_nodes; p++)
            sum += s->weights[k * s->n_nodes + p] * e.change[p];
        e.term[k] = k ? fabs(sum) : sum;
    }
    return e;
}

static double spread(const fg_extrapolation *x, const fg_extrapolant *s, const expansion *e) {
    double sum = 0;
    for (int k = x->derivative; k <= s->n_nodes; k++)
        sum += e->term[k];
    return sum;
}

typedef struct {
    double truncated, rounded;
    bool is_seen; /* that the last terms are more than rounding */
} verdict;

static verdict judge(const fg_extrapolation *x, const fg_extrapolant *s, const expansion *e, double uncertain) {
    const int last = s->n_nodes;
    /* the terms go on at the rate of the last four, as far as these are above rounding */
    double term[4], seen[2];
    for (int k = 0; k < 4; k++) {
        const double floor = s->noise[last - 3 + k] * uncertain;
        term[k] = larger(e->term[last - 3 + k], floor);
        if (k >= 2)
            seen[k - 2] = term[k] - floor;
    }
    double square[2];
    for (int k = 0; k < 2; k++) {
        const double rate = seen[k] / term[k + 1];
        square[k] = smaller(seen[k] / term[k], rate * rate);
    }
    const double rate = sqrt(larger(square[0], square[1]));
    const double following = rate * larger(rate * seen[0], seen[1]);
    double truncated = s->beyond[0] * following;
    if (x->derivative % 2 == 0) /* where symmetric nodes leave only the term after that */
        truncated += s->beyond[1] * (rate * following);
    if (x->order == 2) /* the first term left over is among the known ones */
        for (int k = 1; k <= last; k++)
            truncated += s->within[k - 1] * e->term[k];
    return (verdict){truncated, s->noise[0] * uncertain, seen[0] > 0 && seen[1] > 0};
}

/* The greatest number of which all changes are multiples but for `tolerance`, or 0: what values are rounded to.
 * Multiples of the least change, as a linear function has them, say nothing. */
static double grain(const double *moved, int n, double tolerance) {
    double most = 0, least = INFINITY, common = 0;
    for (int p = 0; p < n; p++) {
        const double size = fabs(moved[p]);
        most = fmax(most, size);
        least = size > tolerance ? fmin(least, size) : least;
    }
    const double close = 30 * sqrt(most * tolerance); /* so that multiples of the tolerance are far below it */
    for (int p = 0; p < n; p++) {
        double a = fabs(moved[p]);
        for (double b = common; b > close;) { /* Euclid's algorithm */
            const double rest = fabs(remainder(a, b));
            a = b;
            b = rest;
        }
        common = a > close ? a : common;
    }
    if (!(common > close && common < 0.75 * least))
        return 0;
    for (int p = 0; p < n; p++)
        if (fabs(remainder(moved[p], common)) > tolerance * (1 + fabs(moved[p] / common)))
            return 0;
    return common;
}

static double power(double h, int n) {
    double product = h;
    for (int k = 2; k <= n; k++)
        product *= h / k;
    return product;
}

typedef struct {
    const fg_extrapolant *s;
    const double *around;
    int64_t row; /* of x */
    double h, scale;
} line;

static line line_of(const fg_extrapolation *x, const fg_level *level, int64_t i) {
    return (line){
        .s = level->is_sided && level->is_sided[i] ? &x->sided : &x->central,
        .around = level->around + i * x->n_columns,
        .row = level->rows ? level->rows[i] : i,
        .h = level->step[i],
        .scale = power(level->step[i], x->derivative),
    };
}

static bool is_constant(const fg_extrapolation *x, const line *l, const expansion *e) {
    return spread(x, l->s, e) == 0 && l->scale != 0;
}

/* Whether polynomials of the points have few digits. */
static bool is_short(const fg_extrapolation *x, const line *l) {
    return n_digits(x->far[l->row] + fabs(l->h)) <= FLT_MANT_DIG;
}

/* Whether values that are short have been rounded to that. At points that are short as well, a polynomial has short
 * values without an error, but then its last terms are none. */
static bool is_rounded(const fg_extrapolation *x, const line *l, const expansion *e, double uncertain) {
    if (is_constant(x, l, e))
        return false;
    return !is_short(x, l) || judge(x, l->s, e, uncertain).is_seen;
}

/* What all rows know together. */
static void sum_up(const fg_extrapolation *x, const fg_level *level) {
    const int64_t m = x->n_columns, stride = level->n_rows * m;
    for (int64_t c = 0; c < m; c++) {
        x->column[c].digits = 0;
        x->column[c].condition = 0;
        if (!level->rows)
            x->column[c].asked = 0;
    }
    for (int64_t i = 0; i < level->n_rows; i++) {
        const line l = line_of(x, level, i);
        for (int64_t c = 0; c < m; c++) {
            fg_column *column = &x->column[c];
            const expansion e = expand(l.s, l.around + c, stride, x->value[c]);
            x->slope[l.row * m + c] = e.term[1] / fabs(l.h);
            column->digits = e.digits > column->digits ? e.digits : column->digits;
            const double asked = level->rtol * spread(x, l.s, &e);
            if (!level->rows && isfinite(asked))
                column->asked += asked;
        }
        if (!level->rows)
            x->scale[l.row] = fabs(l.scale);
    }
    for (int64_t i = 0; i < x->n; i++)
        for (int64_t c = 0; c < m; c++)
            if (isfinite(x->slope[i * m + c]))
                x->column[c].condition += x->far[i] * x->slope[i * m + c];
    for (int64_t c = 0; c < m; c++)
        for (int64_t i = 0; i < level->n_rows && x->column[c].digits <= FLT_MANT_DIG && !x->column[c].is_single; i++) {
            const line l = line_of(x, level, i);
            const expansion e = expand(l.s, l.around + c, stride, x->value[c]);
            const double size = fabs(x->value[c]) + x->column[c].condition + e.moved;
            x->column[c].is_single = is_rounded(x, &l, &e, level->eps * size);
        }
}

fg_status fg_extrapolate(const fg_extrapolation *x, const fg_level *level, double *eps, fg_error *error) {
    const fg_extrapolant *const both[] = {&x->central, &x->sided};
    for (int k = 0; k < 2; k++)
        if (both[k]->n_nodes != x->central.n_nodes || both[k]->n_nodes < 4 || both[k]->n_nodes > MOST_NODES)
            return fg_fail(error, FG_INVALID_VALUE, "an extrapolation takes 4 to %d nodes, got %d", MOST_NODES,
                           (int)both[k]->n_nodes);
    if (x->derivative < 1 || x->derivative > x->central.n_nodes)
        return fg_fail(error, FG_INVALID_VALUE, "%d nodes give no derivative of order %d", (int)x->central.n_nodes,
                       (int)x->derivative);
    for (int64_t i = 0; level->rows && i < level->n_rows; i++)
        if (level->rows[i] < 0 || level->rows[i] >= x->n)
            return fg_fail(error, FG_INVALID_VALUE, "there is no row %lld", (long long)level->rows[i]);
    if (!level->rows && level->n_rows != x->n)
        return fg_fail(error, FG_INVALID_VALUE, "%lld rows are not all", (long long)level->n_rows);

    const int64_t m = x->n_columns, stride = level->n_rows * m;
    const double single = larger(level->eps, (double)FLT_EPSILON);
    double finest = INFINITY;
    if (x->is_shared)
        sum_up(x, level);
    for (int64_t i = 0; i < level->n_rows; i++) {
        const line l = line_of(x, level, i);
        const double scale = fabs(l.scale);
        for (int64_t c = 0; c < m; c++) {
            const fg_column *column = x->is_shared ? &x->column[c] : NULL;
            const double value = x->value[column ? c : l.row * m + c];
            const expansion e = expand(l.s, l.around + c, stride, value);
            const double condition = column ? column->condition : x->far[l.row] * (e.term[1] / fabs(l.h));
            const double size = fabs(value) + condition + e.moved;
            const bool is_single =
                column ? column->is_single : e.digits <= FLT_MANT_DIG && is_rounded(x, &l, &e, level->eps * size);
            const double its_eps = is_single ? single : level->eps;
            const double uncertain = x->noise ? larger(its_eps * size, 2 * x->noise[c]) : its_eps * size;
            verdict v = judge(x, l.s, &e, uncertain);
            if (!v.is_seen && !is_short(x, &l) && isfinite(e.moved)) {
                const double coarse = grain(e.change, l.s->n_nodes, 4 * its_eps * size);
                if (coarse > uncertain)
                    v = judge(x, l.s, &e, coarse);
            }

            const double asked = level->rtol * spread(x, l.s, &e);
            double allowed = asked;
            if (column) /* what rounding leaves is small also if it is small against all rows together */
                allowed = larger(asked, level->rows ? column->asked * (scale / x->scale[l.row]) : column->asked);
            const bool none = is_constant(x, &l, &e);
            if (!none && its_eps < finest)
                finest = its_eps;
            const int64_t at = i * m + c;
            level->found[at] = e.term[0] / l.scale;
            level->error[at] = (none ? v.rounded : v.truncated + v.rounded) / scale;
            level->balance[at] = v.rounded / v.truncated;
            const bool will_do = v.truncated <= larger(asked, v.rounded) && v.rounded <= allowed;
            level->is_fine[at] = scale == 0 || !(none || will_do) ? 0 : none ? FG_FLAT : v.is_seen ? 1 : FG_UNSEEN;
        }
    }
    *eps = isinf(finest) ? level->eps : finest;
    return FG_OK;
}
