/* Values along an axis that are tied to their neighbours, fg_solve_ties: tie u[i-1] + u[i] + tie u[i+1] = a[i].
 *
 * All lines have one matrix, so it is factorised once: into recurrences down and up the line, whose coefficients soon
 * become constant. On a circle they are constant throughout, and only the value before the first one must be found: by
 * going round from zero, for as many points as the recurrence remembers.
 *
 * A worker has so many lines at a time, side by side, that they wait in its second cache for the way back. Lines that
 * do not fit come and go in parts. A line's values do not depend on its neighbours, so pieces may be of any size. */
#include <string.h>

#include "alloc.h"
#include "kernels.h"
#include "pool.h"
#include "status.h"

enum {
    WINDOW_BYTES = 256 << 10, /* of lines that are near at a time */
    FEWEST = 16,
    MOST = 64, /* lines at a time */
};

/* An axis across the lines. */
typedef struct {
    int64_t n, stride;
} across;

typedef struct {
    const fg_ties *ties;
    const fg_kernels *kernels;
    int64_t item, n, stride; /* of a line */
    int n_outer;
    across lines, outer[FG_MAX_FIELD_DIMS]; /* lines that are worked on side by side; the axes around them */
    void *ratio, *inverse; /* (n_factors + 1,), (n_factors,); those of later points are the last ones */
    int64_t n_factors;
    int64_t memory;                    /* points after which a value has no influence any more */
    double round;                      /* of a value that has gone round its circle, to that of all rounds to come */
    int64_t at_once, n_blocks, window; /* lines of a piece, pieces side by side, points of a window */
    char *scratch;
    int64_t scratch_bytes; /* of a worker */
    int64_t n_pieces;
    _Atomic int64_t next;
    fg_watch watch;
} ties_run;

/* Some lines, a window of which stands in scratch: (points, width). */
typedef struct {
    ties_run *run;
    int is_calling; /* whether this is the calling thread, which polls */
    char *start;    /* of the first line */
    int64_t width, first, end;
    int is_changed;
    char *near, *carry;
} lines;

/* ---- factors -------------------------------------------------------------------------------------------- */

/* With pivots p[i] = 1 - tie^2 / p[i-1] the way down is y[i] = a[i] - tie / p[i-1] y[i-1], and the way up
 * u[i] = y[i] / p[i] - tie / p[i] u[i+1]. On a circle all pivots are p = 1 - tie^2 / p. */
static double next_pivot(const fg_ties *t, double pivot) { return 1 - t->tie * t->tie / pivot; }

static double first_pivot(const fg_ties *t) {
    return t->periodic ? (1 + __builtin_sqrt(1 - 4 * t->tie * t->tie)) / 2 : 1;
}

static void put(const ties_run *run, void *array, int64_t i, double x) {
    if (run->item == 8)
        ((double *)array)[i] = x;
    else
        ((float *)array)[i] = (float)x;
}

static fg_status make_factors(ties_run *run, fg_error *error) {
    const fg_ties *t = run->ties;
    double pivot = first_pivot(t);
    run->n_factors = 1;
    for (double next; !t->periodic && run->n_factors < run->n && (next = next_pivot(t, pivot)) != pivot; pivot = next)
        run->n_factors++;
    run->ratio = fg_alloc((size_t)run->n_factors + 1, (size_t)run->item);
    run->inverse = fg_alloc((size_t)run->n_factors, (size_t)run->item);
    if (!run->ratio || !run->inverse)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for the factors of %lld points", (long long)run->n_factors);
    pivot = first_pivot(t);
    put(run, run->ratio, 0, t->periodic ? -t->tie / pivot : 0);
    for (int64_t i = 0; i < run->n_factors; i++, pivot = next_pivot(t, pivot)) {
        put(run, run->ratio, i + 1, -t->tie / pivot);
        put(run, run->inverse, i, 1 / pivot);
    }
    if (t->periodic) {
        const double ratio = -t->tie / pivot, least = run->item == 8 ? 0x1p-56 : 0x1p-28;
        double power = 1;
        for (; run->memory < run->n && (power > least || power < -least); power *= ratio)
            run->memory++;
        run->round = run->memory < run->n ? 1 : 1 / (1 - power);
    }
    return FG_OK;
}

/* ---- windows -------------------------------------------------------------------------------------------- */

/* Between the window and the lines, whichever of them are contiguous. */
static void carry_over(lines *l, int is_back) {
    const ties_run *run = l->run;
    const int64_t item = run->item, n = l->end - l->first, row = l->width * item;
    char *far = l->start + l->first * run->stride;
    const int is_whole = (uintptr_t)far % (uintptr_t)item == 0 && run->lines.stride % item == 0;
    if (run->lines.stride == item) {
        for (int64_t i = 0; i < n; i++)
            memcpy(is_back ? far + i * run->stride : l->near + i * row,
                   is_back ? l->near + i * row : far + i * run->stride, (size_t)row);
    } else if (run->stride == item && is_whole) {
        const fg_turn_kernel turn = run->kernels->turn[run->ties->dtype];
        if (is_back)
            turn(n, l->width, l->near, l->width, far, run->lines.stride / item);
        else
            turn(l->width, n, far, run->lines.stride / item, l->near, l->width);
    } else {
        for (int64_t i = 0; i < n; i++)
            for (int64_t k = 0; k < l->width; k++) {
                char *one = far + i * run->stride + k * run->lines.stride, *near = l->near + i * row + k * item;
                memcpy(is_back ? one : near, is_back ? near : one, (size_t)item);
            }
    }
}

static void put_back(lines *l) {
    if (l->is_changed)
        carry_over(l, 1);
    l->is_changed = 0;
}

/* A recurrence along points first to end - 1, down or up, window by window, unless the call is cancelled. */
static void go(lines *l, int64_t first, int64_t end, int up, int keep) {
    ties_run *run = l->run;
    const int64_t low = first / run->window, high = (end + run->window - 1) / run->window;
    for (int64_t k = low; k < high && !atomic_load_explicit(&run->watch.cancelled, memory_order_relaxed); k++) {
        const int64_t start = (up ? low + high - 1 - k : k) * run->window,
                      stop = start + run->window < run->n ? start + run->window : run->n,
                      from = start > first ? start : first, to = stop < end ? stop : end;
        if (l->first != start || l->end != stop) {
            put_back(l);
            l->first = start;
            l->end = stop;
            carry_over(l, 0);
        }
        const fg_sweep sweep = {.n_rows = to - from,
                                .width = l->width,
                                .row = l->width,
                                .first = from,
                                .last = up ? run->n_factors - 1 : run->n_factors,
                                .ratio = run->ratio,
                                .inverse = run->inverse,
                                .up = up,
                                .keep = keep};
        run->kernels->sweep[run->ties->dtype](&sweep, l->near + (from - start) * l->width * run->item, l->carry);
        l->is_changed |= keep;
        if (l->is_calling)
            fg_watch_look(&run->watch);
    }
}

/* What comes before the first point of a circle, seen in the direction of going: the same as its last one. */
static void go_round(lines *l, int up) {
    const ties_run *run = l->run;
    go(l, up ? 0 : run->n - run->memory, up ? run->memory : run->n, up, 0);
    for (int64_t i = 0; run->round != 1 && i < l->width; i++)
        put(run, l->carry, i,
            run->round * (run->item == 8 ? ((double *)(void *)l->carry)[i] : (double)((float *)(void *)l->carry)[i]));
}

static void solve(lines *l) {
    for (int up = 0; up <= 1; up++) {
        memset(l->carry, 0, (size_t)(l->width * l->run->item));
        if (l->run->ties->periodic)
            go_round(l, up);
        go(l, 0, l->run->n, up, 1);
    }
    put_back(l);
}

static void work_on_lines(void *context, int worker) {
    ties_run *run = context;
    char *scratch = run->scratch + worker * run->scratch_bytes;
    for (int64_t piece; (piece = atomic_fetch_add(&run->next, 1)) < run->n_pieces;) {
        const int64_t block = piece % run->n_blocks, left = run->lines.n - block * run->at_once;
        lines l = {.run = run,
                   .is_calling = worker == 0,
                   .start = (char *)run->ties->data + block * run->at_once * run->lines.stride,
                   .width = left < run->at_once ? left : run->at_once,
                   .carry = scratch,
                   .near = scratch + run->at_once * run->item};
        int64_t i = piece / run->n_blocks;
        for (int x = 0; x < run->n_outer; i /= run->outer[x++].n)
            l.start += i % run->outer[x].n * run->outer[x].stride;
        solve(&l);
        if (atomic_load_explicit(&run->watch.cancelled, memory_order_relaxed))
            break;
    }
}

/* ---- the call ------------------------------------------------------------------------------------------- */

static fg_status check(const fg_ties *t, fg_error *error) {
    if ((t->dtype != FG_FLOAT64 && t->dtype != FG_FLOAT32) || t->n_dims < 1 || t->n_dims > FG_MAX_FIELD_DIMS)
        return fg_fail(error, FG_INVALID_VALUE, "a field has 1 to %d axes and is float64 or float32",
                       FG_MAX_FIELD_DIMS);
    int64_t size = t->dtype == FG_FLOAT64 ? 8 : 4;
    for (int d = 0; d < t->n_dims; d++)
        if (t->shape[d] < 0 || __builtin_mul_overflow(size, t->shape[d], &size))
            return fg_fail(error, FG_INVALID_VALUE, "the lengths of the axes are negative or too large");
    if (t->axis < 0 || t->axis >= t->n_dims)
        return fg_fail(error, FG_INVALID_VALUE, "axis %d is not one of %d", t->axis, t->n_dims);
    if (!(t->tie > -0.5 && t->tie < 0.5))
        return fg_fail(error, FG_INVALID_VALUE, "a tie must be less than 1/2 in magnitude, got %g", t->tie);
    return FG_OK;
}

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

/* The axes across the lines in the order of memory, those that are one in memory as one; lines side by side are those
 * along the contiguous axis, or else along the longest one. */
static void order_axes(ties_run *run) {
    const fg_ties *t = run->ties;
    across *axes = run->outer;
    int n = 0;
    for (int d = t->n_dims - 1; d >= 0; d--) {
        if (d == t->axis || t->shape[d] == 1)
            continue;
        int x = n++;
        for (; x > 0 && magnitude(axes[x - 1].stride) > magnitude(t->strides[d]); x--)
            axes[x] = axes[x - 1];
        axes[x] = (across){t->shape[d], t->strides[d]};
    }
    int last = 0;
    for (int x = 1; x < n; x++)
        if (axes[x].stride == axes[last].n * axes[last].stride)
            axes[last].n *= axes[x].n;
        else
            axes[++last] = axes[x];
    n = n ? last + 1 : 0;
    int side = 0;
    for (int x = 1; x < n; x++)
        if (axes[side].stride != run->item && axes[x].n > axes[side].n)
            side = x;
    run->lines = n ? axes[side] : (across){1, 0};
    for (int x = side; x + 1 < n; x++)
        axes[x] = axes[x + 1];
    run->n_outer = n ? n - 1 : 0;
}

static void cut_pieces(ties_run *run) {
    const int64_t fit = WINDOW_BYTES / run->item / run->n / FEWEST * FEWEST;
    run->at_once = fit < FEWEST ? FEWEST : fit > MOST ? MOST : fit;
    run->at_once = run->at_once < run->lines.n ? run->at_once : run->lines.n;
    run->n_blocks = (run->lines.n + run->at_once - 1) / run->at_once;
    run->window = WINDOW_BYTES / run->item / run->at_once;
    run->window = run->window < run->n ? run->window : run->n;
    run->n_pieces = run->n_blocks;
    for (int x = 0; x < run->n_outer; x++)
        run->n_pieces *= run->outer[x].n;
    run->scratch_bytes = ((run->window + 1) * run->at_once * run->item + 63) / 64 * 64;
}

fg_status fg_solve_ties(const fg_ties *t, fg_poll poll, void *poll_context, fg_error *error) {
    fg_status status = check(t, error);
    if (status)
        return status;
    int64_t size = 1;
    for (int d = 0; d < t->n_dims; d++)
        size *= t->shape[d];
    if (size == 0)
        return FG_OK;
    ties_run run = {.ties = t,
                    .kernels = fg_active_kernels(),
                    .item = t->dtype == FG_FLOAT64 ? 8 : 4,
                    .n = t->shape[t->axis],
                    .stride = t->strides[t->axis],
                    .watch = {.poll = poll, .context = poll_context}};
    order_axes(&run);
    cut_pieces(&run);
    status = make_factors(&run, error);
    if (!status) {
        const int n_workers = fg_workers_for(0.5 * (double)size, run.n_pieces); /* nanoseconds of a point */
        run.scratch = fg_alloc((size_t)n_workers, (size_t)run.scratch_bytes);
        if (!run.scratch)
            status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d workers", n_workers);
        else
            fg_parallel(n_workers, work_on_lines, &run, &run.watch);
        if (!status && atomic_load(&run.watch.cancelled))
            status = fg_fail(error, FG_CANCELLED, "cancelled");
    }
    fg_free(run.ratio);
    fg_free(run.inverse);
    fg_free(run.scratch);
    return status;
}
