/* The search of every row for the step that suits all its columns, between the too small and the too large. */
#include <math.h>
#include <stdbool.h>

#include "fastgrad.h"

enum {
    BROKEN = 3, /* levels with values that are not finite, before all nodes go to one side */
    IDLE = 5,   /* levels in a row that make nothing better */
    SETTLED = 1,
    CLAIMED = 2,
};
static const double CONFIRMING = 11. / 16;                   /* of a step: few units of rounding fit into both */
static const double LEAST_STEP = 1e-30, MOST_STEP = 1 << 20; /* the latter relative to max(1, |x|) */

static double size_of(const fg_extrapolation *x, int64_t row) { return x->far[row] > 1 ? x->far[row] : 1; }
static double least_step(const fg_extrapolation *x, const fg_level *level, int64_t row) {
    return fmax(8 * level->eps * x->far[row], LEAST_STEP);
}

/* ---- bounds */

static bool place(const fg_extrapolation *x, const double *room, int64_t row, double *step) {
    const double below = room[row], above = room[x->n + row];
    const double nearer = fmin(below, above), farther = fmax(below, above);
    const double central = nearer / (0.5 * x->central.n_nodes), one_sided = farther / x->central.n_nodes;
    const bool is_sided = 4 * central < fmin(*step, one_sided);
    const double most = is_sided ? one_sided : central;
    if (*step > most)
        *step = most > 0 ? exp2(floor(log2(most))) : 0;
    if (is_sided && above < below)
        *step = -*step;
    return is_sided;
}

int fg_place(const fg_extrapolation *x, const double *room, const int64_t *rows, int64_t n_rows, double *step,
             uint8_t *is_sided) {
    int any = 0;
    for (int64_t i = 0; i < n_rows; i++)
        any |= is_sided[i] = place(x, room, rows ? rows[i] : i, &step[i]);
    return any;
}

/* Whether values are finite on one side of x alone: from now on, that is where the nodes of the row are. */
static bool leaves_edge(const fg_extrapolation *x, const fg_level *level, int64_t i, int64_t row, double *room) {
    const int half = x->central.n_nodes / 2;
    bool is_finite[2] = {true, true};
    for (int p = 0; p < x->central.n_nodes; p++)
        for (int64_t c = 0; c < x->n_columns; c++)
            is_finite[p >= half] &= isfinite(level->around[(p * level->n_rows + i) * x->n_columns + c]) != 0;
    if (!(room[row] > 0 && room[x->n + row] > 0) || is_finite[0] == is_finite[1])
        return false;
    room[is_finite[0] ? x->n + row : row] = 0;
    return true;
}

/* ---- levels */

static double value_at(const fg_extrapolation *x, int64_t row, int64_t column) {
    return x->value[x->is_shared ? column : row * x->n_columns + column];
}

void fg_search_begin(const fg_extrapolation *x, const fg_level *level, fg_search *s) {
    for (int64_t row = 0; row < x->n; row++) {
        for (int64_t c = 0; c < x->n_columns; c++) {
            const int64_t at = row * x->n_columns + c;
            s->found[at] = NAN;
            s->error[at] = s->reach[at] = INFINITY;
            s->is_settled[at] = (uint8_t)!isfinite(value_at(x, row, c)); /* nothing else can come of these */
        }
        s->step[row] = level->step[row];
        s->status[row] = FG_INACCURATE;
        s->small[row] = least_step(x, level, row);
        s->large[row] = MOST_STEP * size_of(x, row);
        s->n_broken[row] = s->n_idle[row] = 0;
    }
}

/* What a level says of one of its rows. */
typedef struct {
    bool has_helped, is_unsolved, is_broken, is_claim;
    double balance; /* of the column with the largest error, which has its way */
    double coarse;  /* the longest step that a column had before it stopped changing where it should not, or 0 */
} news;

static news learn(const fg_extrapolation *x, const fg_level *level, fg_search *s, int64_t i, int64_t row) {
    const int64_t m = x->n_columns;
    const double h = fabs(level->step[i]);
    double largest = -1;
    news n = {.balance = m ? level->balance[i * m] : 1};
    for (int64_t c = 0; c < m; c++) {
        const int64_t new = i * m + c, at = row * m + c;
        const double error = level->error[new];
        if (s->is_settled[at] == SETTLED)
            continue;
        const bool is_first = isinf(s->reach[at]);
        /* values that are rounded to more than they say do not change any more over so short a step */
        if (level->is_fine[new] == FG_FLAT && fabs(s->found[at]) > s->error[at] && !is_first && s->reach[at] > h) {
            n.coarse = fmax(n.coarse, s->reach[at]);
            n.is_unsolved = true;
            continue;
        }
        const double apart = fabs(level->found[new] - s->found[at]), doubt = error + s->error[at];
        /* a claim that is not confirmed: both were a few units of what the values are rounded to */
        if (s->is_settled[at] == CLAIMED && (apart > doubt || error > 4 * s->error[at])) {
            s->is_settled[at] = 0;
            s->error[at] += apart;
            n.coarse = fmax(n.coarse, s->reach[at]);
            n.is_unsolved = true;
            continue;
        }
        /* of estimates that clearly contradict each other, the one with the shorter step is right: rounding is known,
         * while terms may seem to fall when the nodes lie far apart */
        if (apart > 2 * doubt ? h < s->reach[at] : error < s->error[at]) {
            s->found[at] = level->found[new];
            s->error[at] = error;
            s->reach[at] = h;
            n.has_helped = true;
        }
        if (level->is_fine[new] == FG_UNSEEN && !is_first && s->is_settled[at] != CLAIMED) {
            s->is_settled[at] = CLAIMED;
            n.is_claim = n.is_unsolved = true;
            continue;
        }
        if (s->is_settled[at] == CLAIMED || level->is_fine[new]) {
            s->is_settled[at] = SETTLED;
            continue;
        }
        n.is_unsolved = true;
        if (!isfinite(error))
            n.is_broken = true; /* which comes before all else */
        else if (error > largest) {
            largest = error;
            n.balance = level->balance[new];
        }
    }
    return n;
}

/* How much longer the next step should be. */
static double factor_of(const fg_extrapolation *x, const news *n) {
    if (n->is_broken)
        return 0x1p-8;
    double factor = pow(n->balance * x->derivative / x->order, 1. / (x->derivative + x->order));
    if (isnan(factor))
        return 1;
    factor = exp2(nearbyint(log2(fmin(fmax(factor, 0x1p-10), 8))));
    /* a longer step that has not helped is too long; a shorter one is far from where the power law begins */
    return n->has_helped || factor == 1 ? factor : factor > 1 ? 0.5 : 0x1p-10;
}

int64_t fg_search_next(const fg_extrapolation *x, const fg_level *level, fg_search *s, const double *first,
                       double *room, int64_t *rows, double *step, uint8_t *is_sided) {
    int64_t n_going = 0;
    for (int64_t i = 0; i < level->n_rows; i++) {
        const int64_t row = level->rows ? level->rows[i] : i;
        const double h = fabs(level->step[i]), least = least_step(x, level, row), most = MOST_STEP * size_of(x, row);
        const news n = learn(x, level, s, i, row);
        if (n.has_helped)
            s->step[row] = level->step[i];
        s->n_broken[row] += n.is_broken;
        s->n_idle[row] = n.has_helped || n.is_broken ? 0 : s->n_idle[row] + 1;

        const double factor = n.is_claim ? 1 : n.coarse > 0 ? 8 * n.coarse / h : factor_of(x, &n);
        if (factor > 1)
            s->small[row] = fmax(s->small[row], h);
        else if (factor < 1)
            s->large[row] = fmin(s->large[row], h);
        if (n.coarse > 0) { /* only longer ones */
            s->small[row] = n.coarse;
            s->large[row] = most;
        }
        double wanted = n.is_claim ? CONFIRMING * h : fmin(fmax(factor * h, 2 * s->small[row]), s->large[row] / 2);
        if (n.is_broken && s->n_broken[row] == BROKEN && leaves_edge(x, level, i, row, room)) {
            s->small[row] = least;
            s->large[row] = most;
            wanted = first[row];
        }
        double placed = wanted;
        const bool sided = place(x, room, row, &placed);
        if (!n.is_unsolved || s->n_idle[row] >= IDLE)
            continue;
        if ((2 * s->small[row] > s->large[row] / 2 && !n.is_claim) || fabs(placed) == h) { /* there is no other step */
            if (fabs(placed) < wanted || factor * h > most || factor * h < least)
                s->status[row] = FG_NO_ROOM;
            continue;
        }
        rows[n_going] = row;
        step[n_going] = placed;
        is_sided[n_going++] = sided;
    }
    return n_going;
}

void fg_search_end(const fg_extrapolation *x, const fg_level *level, fg_search *s) {
    for (int64_t row = 0; row < x->n; row++) {
        const double scale = pow(size_of(x, row), x->derivative);
        bool is_fine = true, is_finite = true;
        for (int64_t c = 0; c < x->n_columns; c++) {
            const int64_t at = row * x->n_columns + c;
            /* zero, as far as the values can tell */
            const bool is_zero =
                fabs(s->found[at]) <= s->error[at] && s->error[at] <= level->rtol * fabs(value_at(x, row, c)) / scale;
            is_fine &= s->is_settled[at] == SETTLED || is_zero;
            is_finite &= isfinite(s->found[at]) != 0;
        }
        if (is_fine)
            s->status[row] = FG_FINE;
        if (!is_finite)
            s->status[row] = FG_NOT_FINITE;
        if (s->step[row] == 0)
            s->status[row] = FG_NO_ROOM;
    }
}
