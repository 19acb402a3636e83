/* Stencils along the axes of a field, fg_stencil: the loops around the kernel, in pieces that workers share.
 *
 * The kernel makes a rectangle of points whose taps stand at the same distances: `rows` of the last but one axis of the
 * iteration, vectors along the last, in which memory is contiguous, whatever axis the differences are taken along. What
 * is not contiguous there is copied, tap by tap, for some points at a time. A point's value does not depend on the
 * rectangle it is in, so pieces may be of any size. */
#include <string.h>

#include "alloc.h"
#include "kernels.h"
#include "pool.h"
#include "status.h"

enum {
    NEAR_BYTES = 512 << 10,   /* of a cache in which rows wait until the last tap has read them */
    PIECE = 64 << 10,         /* points that a worker takes at a time, at least */
    SHORT_ROW = 512,          /* points below which a row is not cut */
    NEAREST = 4096,           /* points in the nearest cache */
    COPIED_BYTES = 128 << 10, /* of taps that are copied at a time */
    LARGE = 24 << 20,  /* bytes of a result that had better not pass through the caches: 15 MB took 1.06 of the time
                        * of ordinary stores, 30 MB 0.8 */
    LONG_ROW = 4 << 10 /* bytes: where the ends of rows are made apart, rows of 2 kB took 1.1, of 8 kB 0.7 */
};

/* A span, with the taps of constant weights made ready for the kernel. */
typedef struct {
    const fg_span *span;
    int64_t first, end;
    fg_taps taps;
} part;

/* An axis of the iteration. */
typedef struct {
    int64_t n, in_stride, out_stride;
    const fg_axis *stencil; /* NULL for none */
    int group;              /* place in the sum */
    part *parts;
    int64_t most_taps, first_tap; /* where its taps stand in what a worker has for those of points */
    int64_t reach;                /* samples from the first to the last tap, for most points */
    int64_t block, n_blocks;      /* of a piece */
} loop_axis;

enum { MOST_AXES = FG_MAX_FIELD_DIMS + 1 };

typedef struct {
    const fg_field *field;
    fg_stencil_kernel kernel;
    int64_t item;
    int n_axes; /* of the iteration, at least 2; the last one is contiguous */
    loop_axis axes[MOST_AXES];
    int64_t n_taps;   /* of a point at most */
    int in_is_direct; /* contiguous and aligned along the last axis */
    int out_is_direct;
    int64_t at_once, copied_bytes; /* points whose taps are copied at a time, and memory of a worker for that */
    int away;                      /* results go past the caches */
    part *parts;
    int64_t *at;
    char *weights, *scratch;
    int64_t scratch_bytes; /* of a worker */
    int64_t n_pieces;
    _Atomic int64_t next;
    fg_watch watch;
} grid_run;

/* What a worker has of its own. */
typedef struct {
    int64_t *at, *copied_at; /* (n_taps,) */
    char *weights;           /* (n_taps,) */
    char *copied;            /* (n_taps + 1, at_once): taps, and the result */
    fg_taps groups[MOST_AXES];
} workspace;

/* ---- verification --------------------------------------------------------------------------------------- */

static fg_status check_span(const fg_span *s, int64_t first, int64_t n, int axis, fg_error *error) {
    if (s->n_points < 1 || s->n_points > n - first)
        return fg_fail(error, FG_INVALID_VALUE, "the spans of axis %d do not cover its %lld points", axis,
                       (long long)n);
    if (s->n_taps < 0 || (s->n_taps > 0 && (!s->at || !s->weights)) || (s->fixed && !s->by_point) ||
        (s->by_point && s->weight_row < s->n_points))
        return fg_fail(error, FG_INVALID_VALUE, "a span of axis %d is not well-formed", axis);
    for (int64_t t = 0; t < s->n_taps; t++) {
        const int64_t least = s->fixed ? 0 : -first, most = s->fixed ? n - 1 : n - first - s->n_points;
        if (s->at[t] < least || s->at[t] > most)
            return fg_fail(error, FG_INVALID_VALUE,
                           "axis %d has %lld points: from point %lld on there is no sample at %s%lld", axis,
                           (long long)n, (long long)first, s->fixed ? "" : "distance ", (long long)s->at[t]);
    }
    return FG_OK;
}

static fg_status check(const fg_field *f, fg_error *error) {
    if ((f->dtype != FG_FLOAT64 && f->dtype != FG_FLOAT32) || f->n_dims < 1 || f->n_dims > FG_MAX_FIELD_DIMS)
        return fg_fail(error, FG_INVALID_VALUE, "a field has 1 to %d axes and is float64 or float32",
                       FG_MAX_FIELD_DIMS);
    int64_t size = f->dtype == FG_FLOAT64 ? 8 : 4;
    for (int d = 0; d < f->n_dims; d++)
        if (f->shape[d] < 0 || __builtin_mul_overflow(size, f->shape[d], &size))
            return fg_fail(error, FG_INVALID_VALUE, "the lengths of the axes are negative or too large");
    if (f->n_axes < 1)
        return fg_fail(error, FG_INVALID_VALUE, "there must be an axis to take differences along");
    unsigned char is_taken[FG_MAX_FIELD_DIMS] = {0};
    for (int a = 0; a < f->n_axes; a++) {
        const fg_axis *axis = &f->axes[a];
        if (axis->axis < 0 || axis->axis >= f->n_dims || is_taken[axis->axis]++)
            return fg_fail(error, FG_INVALID_VALUE, "axis %d is not there, or given twice", axis->axis);
        int64_t first = 0;
        for (int64_t s = 0; s < axis->n_spans; s++) {
            const fg_status status = check_span(&axis->spans[s], first, f->shape[axis->axis], axis->axis, error);
            if (status)
                return status;
            first += axis->spans[s].n_points;
        }
        if (first != f->shape[axis->axis])
            return fg_fail(error, FG_INVALID_VALUE, "the spans of axis %d cover %lld of its %lld points", axis->axis,
                           (long long)first, (long long)f->shape[axis->axis]);
    }
    return FG_OK;
}

/* ---- the axes of the iteration -------------------------------------------------------------------------- */

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

/* Contiguous in both arrays is best, the longest such axis; then in the result, then in the field. */
static int better(const loop_axis *a, const loop_axis *b, int64_t item) {
    const int rank_a = 2 * (a->out_stride == item) + (a->in_stride == item),
              rank_b = 2 * (b->out_stride == item) + (b->in_stride == item);
    return rank_a != rank_b ? rank_a > rank_b : rank_a == 3 && a->n > b->n;
}

/* Axes in the order of memory, the contiguous one last; those that are one in memory become one. */
static void order_axes(grid_run *run) {
    const fg_field *f = run->field;
    loop_axis all[MOST_AXES];
    int n = 0, last = 0;
    for (int d = f->n_dims - 1; d >= 0; d--) {
        loop_axis x = {.n = f->shape[d], .in_stride = f->in_strides[d], .out_stride = f->out_strides[d]};
        for (int a = 0; a < f->n_axes; a++)
            if (f->axes[a].axis == d) {
                x.stencil = &f->axes[a];
                x.group = a;
            }
        if (x.n != 1 || x.stencil)
            all[n++] = x;
    }
    for (int x = 1; x < n; x++)
        if (better(&all[x], &all[last], run->item))
            last = x;
    loop_axis inner = all[last];
    for (int x = last; x + 1 < n; x++)
        all[x] = all[x + 1];
    n--;
    for (int x = 1; x < n; x++) /* by insertion: short strides first, and of equal ones the later axis */
        for (int y = x; y > 0 && magnitude(all[y].in_stride) < magnitude(all[y - 1].in_stride); y--) {
            const loop_axis other = all[y];
            all[y] = all[y - 1];
            all[y - 1] = other;
        }
    loop_axis *to = &run->axes[n + 1]; /* from the last one down */
    *--to = inner;
    for (int x = 0; x < n; x++) {
        if (!to->stencil && !all[x].stencil && all[x].in_stride == to->n * to->in_stride &&
            all[x].out_stride == to->n * to->out_stride)
            to->n *= all[x].n;
        else
            *--to = all[x];
    }
    run->n_axes = (int)(&run->axes[n + 1] - to);
    memmove(run->axes, to, (size_t)run->n_axes * sizeof *to);
    if (run->n_axes == 1) {
        run->axes[1] = run->axes[0];
        run->axes[0] = (loop_axis){.n = 1};
        run->n_axes = 2;
    }
}

/* ---- taps ----------------------------------------------------------------------------------------------- */

static double weight_at(const grid_run *run, const void *weights, int64_t i) {
    return run->item == 8 ? ((const double *)weights)[i] : (double)((const float *)weights)[i];
}

/* Taps of constant weights, in the kernel's order. */
static fg_taps constant_taps(const grid_run *run, const fg_span *s, int64_t stride, int64_t *at, char *weights) {
    fg_taps taps = {.at = at, .weights = weights};
    enum { DIFFERENCES, SUMS, ALONE };
    for (int kind = DIFFERENCES; kind <= ALONE; kind++)
        for (int64_t t = 0; t < s->n_taps; t++) {
            const int64_t mirror = s->n_taps - 1 - t;
            const double w = weight_at(run, s->weights, t), v = weight_at(run, s->weights, mirror);
            const int is_pair = mirror != t && (v == w || v == -w);
            if (w == 0 || kind != (!is_pair ? ALONE : v == w ? SUMS : DIFFERENCES) || (is_pair && mirror < t))
                continue;
            *at++ = s->at[t] * stride;
            if (is_pair)
                *at++ = s->at[mirror] * stride;
            memcpy(weights, (const char *)s->weights + t * run->item, (size_t)run->item);
            weights += run->item;
            (kind == DIFFERENCES ? &taps.n_differences : kind == SUMS ? &taps.n_sums : &taps.n_alone)[0]++;
        }
    return taps;
}

static void make_parts(grid_run *run) {
    part *p = run->parts;
    int64_t *at = run->at;
    char *weights = run->weights;
    for (loop_axis *x = run->axes; x < run->axes + run->n_axes; x++) {
        if (!x->stencil)
            continue;
        x->parts = p;
        int64_t first = 0, most_points = 0;
        for (int64_t i = 0; i < x->stencil->n_spans; i++, p++) {
            const fg_span *s = &x->stencil->spans[i];
            *p = (part){.span = s, .first = first, .end = first + s->n_points};
            if (!s->by_point) {
                p->taps = constant_taps(run, s, x->in_stride, at, weights);
                at += s->n_taps;
                weights += s->n_taps * run->item;
            }
            p->taps.scale = x->stencil->scale;
            first = p->end;
            if (s->n_points > most_points && s->n_taps > 0) {
                int64_t low = s->at[0], high = s->at[0];
                for (int64_t t = 1; t < s->n_taps; t++) {
                    low = s->at[t] < low ? s->at[t] : low;
                    high = s->at[t] > high ? s->at[t] : high;
                }
                most_points = s->n_points;
                x->reach = high - low + 1;
            }
        }
    }
}

static const part *part_of(const loop_axis *x, int64_t i) {
    int64_t low = 0, high = x->stencil->n_spans - 1;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (i < x->parts[middle].end)
            high = middle;
        else
            low = middle + 1;
    }
    return &x->parts[low];
}

/* The taps of an outer axis at point i, the same for all that the kernel is given. */
static fg_taps taps_at(const grid_run *run, const loop_axis *x, const part *p, int64_t i, const workspace *w) {
    const fg_span *s = p->span;
    fg_taps taps = p->taps;
    if (!s->by_point)
        return taps;
    int64_t *at = w->at + x->first_tap;
    char *weights = w->weights + x->first_tap * run->item;
    for (int64_t t = 0; t < s->n_taps; t++) {
        const int64_t from = t * s->weight_row + i - p->first;
        if (weight_at(run, s->weights, from) == 0)
            continue;
        at[taps.n_alone] = (s->at[t] - (s->fixed ? i : 0)) * x->in_stride;
        memcpy(weights + taps.n_alone++ * run->item, (const char *)s->weights + from * run->item, (size_t)run->item);
    }
    taps.at = at;
    taps.weights = weights;
    return taps;
}

/* The taps of the last axis from point i on, within one part. */
static fg_taps taps_from(const grid_run *run, const loop_axis *x, const part *p, int64_t i, const workspace *w) {
    const fg_span *s = p->span;
    fg_taps taps = p->taps;
    if (!s->by_point)
        return taps;
    int64_t *at = w->at + x->first_tap;
    for (int64_t t = 0; t < s->n_taps; t++)
        at[t] = (s->at[t] - (s->fixed ? i : 0)) * x->in_stride;
    taps.n_alone = s->n_taps;
    taps.at = at;
    taps.weights = (const char *)s->weights + (i - p->first) * run->item;
    taps.by_point = 1;
    taps.fixed = s->fixed;
    taps.weight_row = s->weight_row;
    return taps;
}

/* ---- one rectangle of points ---------------------------------------------------------------------------- */

static void copy_elements(int64_t n, int64_t item, const char *from, int64_t from_stride, char *to, int64_t to_stride) {
    if (item == 8)
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * to_stride, from + i * from_stride, 8);
    else
        for (int64_t i = 0; i < n; i++)
            memcpy(to + i * to_stride, from + i * from_stride, 4);
}

/* Some points of a row, from taps that are copied side by side first. */
static void run_copied(const grid_run *run, const workspace *w, const char *in, char *out, int64_t first, int64_t n) {
    const loop_axis *inner = &run->axes[run->n_axes - 1];
    const int64_t item = run->item, row = run->at_once * item;
    fg_taps groups[MOST_AXES];
    int64_t k = 0;
    for (int g = 0; g < run->field->n_axes; g++) {
        fg_taps *taps = &groups[g];
        *taps = w->groups[g];
        taps->at = w->copied_at + k;
        const int64_t n_samples = 2 * (taps->n_differences + taps->n_sums) + taps->n_alone;
        for (int64_t t = 0; t < n_samples; t++, k++) {
            const char *from = in + w->groups[g].at[t] + (taps->fixed ? 0 : first * inner->in_stride);
            copy_elements(taps->fixed ? 1 : n, item, from, inner->in_stride, w->copied + k * row, item);
            w->copied_at[k] = k * row;
        }
        if (taps->by_point)
            taps->weights = (const char *)taps->weights + first * item;
    }
    char *place = out + first * inner->out_stride, *result = run->out_is_direct ? place : w->copied + k * row;
    if (!run->out_is_direct && run->field->accumulate)
        copy_elements(n, item, place, inner->out_stride, result, item);
    const fg_stencil_points points = {.n_rows = 1,
                                      .width = n,
                                      .n_groups = run->field->n_axes,
                                      .groups = groups,
                                      .accumulate = run->field->accumulate,
                                      .away = run->away};
    run->kernel(&points, w->copied, result);
    if (!run->out_is_direct)
        copy_elements(n, item, result, item, place, inner->out_stride);
}

static void run_rectangle(const grid_run *run, const workspace *w, const char *in, char *out, int64_t n_rows,
                          int64_t width) {
    const loop_axis *rows = &run->axes[run->n_axes - 2], *inner = rows + 1;
    if (!run->in_is_direct || !run->out_is_direct) {
        for (int64_t r = 0; r < n_rows; r++, in += rows->in_stride, out += rows->out_stride)
            for (int64_t first = 0; first < width; first += run->at_once)
                run_copied(run, w, in, out, first, width - first < run->at_once ? width - first : run->at_once);
        return;
    }
    fg_stencil_points points = {.n_rows = n_rows,
                                .width = width,
                                .in_row = rows->in_stride,
                                .out_row = rows->out_stride,
                                .n_groups = run->field->n_axes,
                                .groups = w->groups,
                                .accumulate = run->field->accumulate,
                                .away = run->away};
    if (!inner->stencil && points.in_row == width * run->item && points.out_row == width * run->item) {
        points.n_rows = 1; /* rows that follow one another are one */
        points.width *= n_rows;
    }
    run->kernel(&points, in, out);
}

/* ---- pieces --------------------------------------------------------------------------------------------- */

/* The rows of a piece at one point of the axes before them: rectangles in which all taps are the same. */
static void run_rows(const grid_run *run, workspace *w, const int64_t *low, const int64_t *high, const char *in,
                     char *out) {
    const int n_outer = run->n_axes - 1;
    const loop_axis *rows = &run->axes[n_outer - 1], *inner = rows + 1;
    const int64_t columns = high[n_outer] - low[n_outer];
    for (int64_t r = low[n_outer - 1], r_end; r < high[n_outer - 1]; r = r_end) {
        r_end = high[n_outer - 1];
        if (rows->stencil) {
            const part *p = part_of(rows, r);
            const int64_t end = p->span->by_point ? r + 1 : p->end;
            r_end = end < r_end ? end : r_end;
            w->groups[rows->group] = taps_at(run, rows, p, r, w);
        }
        const int64_t few = 1 + NEAREST / columns; /* rows whose parts are made while all are near */
        if (inner->stencil && r_end - r > few)
            r_end = r + few;
        for (int64_t c = low[n_outer], c_end; c < high[n_outer]; c = c_end) {
            c_end = high[n_outer];
            if (inner->stencil) {
                const part *p = part_of(inner, c);
                c_end = p->end < c_end ? p->end : c_end;
                w->groups[inner->group] = taps_from(run, inner, p, c, w);
            }
            run_rectangle(run, w, in + r * rows->in_stride + c * inner->in_stride,
                          out + r * rows->out_stride + c * inner->out_stride, r_end - r, c_end - c);
        }
    }
}

static void run_piece(const grid_run *run, workspace *w, int64_t piece) {
    int64_t low[MOST_AXES], high[MOST_AXES], i[MOST_AXES];
    const int n_before = run->n_axes - 2;
    for (int x = run->n_axes - 1; x >= 0; x--) {
        const loop_axis *axis = &run->axes[x];
        low[x] = i[x] = piece % axis->n_blocks * axis->block;
        high[x] = axis->n - low[x] < axis->block ? axis->n : low[x] + axis->block;
        piece /= axis->n_blocks;
    }
    for (;;) {
        const char *in = run->field->in;
        char *out = run->field->out;
        for (int x = 0; x < n_before; x++) {
            const loop_axis *axis = &run->axes[x];
            in += i[x] * axis->in_stride;
            out += i[x] * axis->out_stride;
            if (axis->stencil)
                w->groups[axis->group] = taps_at(run, axis, part_of(axis, i[x]), i[x], w);
        }
        run_rows(run, w, low, high, in, out);
        int x = n_before - 1;
        for (; x >= 0 && ++i[x] == high[x]; x--)
            i[x] = low[x];
        if (x < 0)
            return;
    }
}

static void work_on_pieces(void *context, int worker) {
    grid_run *run = context;
    char *scratch = run->scratch + worker * run->scratch_bytes;
    workspace w = {.copied = scratch};
    w.at = (int64_t *)(void *)(w.copied + run->copied_bytes);
    w.copied_at = w.at + run->n_taps;
    w.weights = (char *)(w.copied_at + run->n_taps);
    for (int64_t piece; (piece = atomic_fetch_add(&run->next, 1)) < run->n_pieces;) {
        run_piece(run, &w, piece);
        if (worker == 0)
            fg_watch_look(&run->watch);
        if (atomic_load_explicit(&run->watch.cancelled, memory_order_relaxed))
            break;
    }
    if (run->away)
        atomic_thread_fence(memory_order_seq_cst); /* stores past the caches have arrived */
}

/* `wanted` points of an axis a piece, or a few less, so that its pieces are alike. */
static void cut(loop_axis *x, int64_t wanted) {
    x->n_blocks = wanted < x->n ? (x->n + wanted - 1) / wanted : 1;
    x->block = (x->n + x->n_blocks - 1) / x->n_blocks;
    x->n_blocks = (x->n + x->block - 1) / x->block;
}

/* Inside of the outermost axis with a stencil, a piece is so narrow that rows are still near when the axis's last tap
 * reads them; along it, so long that few rows are read by two pieces. */
static void cut_pieces(grid_run *run) {
    const int inner = run->n_axes - 1;
    int outermost = 0;
    while (outermost < inner && !run->axes[outermost].stencil)
        outermost++;
    for (int x = 0; x <= inner; x++)
        cut(&run->axes[x], run->axes[x].n);
    int64_t size = 1; /* points of a piece inside of the axes that are yet to be cut */
    if (outermost == inner) {
        cut(&run->axes[inner], PIECE / 2);
        size = run->axes[inner].block;
    } else {
        const int64_t room = NEAR_BYTES / run->item / run->axes[outermost].reach;
        for (int x = outermost + 1; x <= inner; x++)
            size *= run->axes[x].n;
        for (int x = outermost + 1; x <= inner && size > room; x++) {
            const int64_t rest = size / run->axes[x].n, least = x == inner ? SHORT_ROW : 8 * run->axes[x].reach;
            cut(&run->axes[x], room / rest > least ? room / rest : least);
            size = rest * run->axes[x].block;
        }
    }
    run->n_pieces = 1;
    for (int x = inner; x >= 0; x--) {
        loop_axis *axis = &run->axes[x];
        if (x <= outermost && x < inner) {
            const int64_t least = x == outermost ? 16 * axis->reach : 1;
            cut(axis, PIECE / size > least ? PIECE / size : least);
            size *= axis->block;
        }
        run->n_pieces *= axis->n_blocks;
    }
}

/* ---- the call ------------------------------------------------------------------------------------------- */

static int is_aligned(const void *start, const loop_axis *axes, int n_axes, int is_out, int64_t item) {
    if ((uintptr_t)start % (uintptr_t)item)
        return 0;
    for (int x = 0; x < n_axes; x++)
        if ((is_out ? axes[x].out_stride : axes[x].in_stride) % item)
            return 0;
    return 1;
}

/* Whether results had better go past the caches: they are large, in rows that are mostly whole cache lines, and the
 * system need not clear their pages first, which brings them into the caches anyway. */
static int goes_away(const grid_run *run, int64_t size) {
    const loop_axis *inner = &run->axes[run->n_axes - 1];
    if (!run->out_is_direct || run->field->accumulate || size * run->item <= LARGE ||
        (inner->stencil && inner->n * run->item < LONG_ROW))
        return 0;
    const char *middle = run->field->out;
    for (int x = 0; x < run->n_axes; x++)
        middle += run->axes[x].n / 2 * run->axes[x].out_stride;
    return !fg_is_new(middle);
}

static void free_run(const grid_run *run) {
    fg_free(run->parts);
    fg_free(run->at);
    fg_free(run->weights);
    fg_free(run->scratch);
}

static fg_status make_run(grid_run *run, int64_t *size, fg_error *error) {
    const fg_field *f = run->field;
    order_axes(run);
    const loop_axis *inner = &run->axes[run->n_axes - 1];
    run->in_is_direct = inner->in_stride == run->item && is_aligned(f->in, run->axes, run->n_axes, 0, run->item);
    run->out_is_direct = inner->out_stride == run->item && is_aligned(f->out, run->axes, run->n_axes, 1, run->item);
    int64_t n_parts = 0, n_constant = 0;
    *size = 1;
    for (loop_axis *x = run->axes; x < run->axes + run->n_axes; x++) {
        *size *= x->n;
        x->reach = 1;
        x->first_tap = run->n_taps;
        for (int64_t i = 0; x->stencil && i < x->stencil->n_spans; i++) {
            const fg_span *s = &x->stencil->spans[i];
            n_constant += s->by_point ? 0 : s->n_taps;
            x->most_taps = s->n_taps > x->most_taps ? s->n_taps : x->most_taps;
        }
        n_parts += x->stencil ? x->stencil->n_spans : 0;
        run->n_taps += x->most_taps;
    }
    run->parts = fg_alloc((size_t)n_parts, sizeof *run->parts);
    run->at = fg_alloc((size_t)n_constant, sizeof *run->at);
    run->weights = fg_alloc((size_t)n_constant, 8);
    if (!run->parts || !run->at || !run->weights)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for the taps of %lld spans", (long long)n_parts);
    make_parts(run);
    cut_pieces(run);
    return FG_OK;
}

/* What a worker needs. */
static void make_room(grid_run *run, int64_t size) {
    if (!run->in_is_direct || !run->out_is_direct) {
        const int64_t fit = COPIED_BYTES / run->item / (run->n_taps + 1) / 16 * 16;
        run->at_once = fit < 16 ? 16 : fit;
        run->copied_bytes = (run->n_taps + 1) * run->at_once * run->item;
    }
    run->away = goes_away(run, size);
    run->scratch_bytes = (run->copied_bytes + run->n_taps * 3 * 8) / 64 * 64 + 64;
}

fg_status fg_stencil(const fg_field *f, fg_poll poll, void *poll_context, fg_error *error) {
    fg_status status = check(f, error);
    if (status)
        return status;
    for (int d = 0; d < f->n_dims; d++)
        if (f->shape[d] == 0)
            return FG_OK;
    grid_run run = {.field = f,
                    .kernel = fg_active_kernels()->stencil[f->dtype],
                    .item = f->dtype == FG_FLOAT64 ? 8 : 4,
                    .watch = {.poll = poll, .context = poll_context}};
    int64_t size;
    status = make_run(&run, &size, error);
    if (!status) {
        const double a_point = 0.15 + 0.05 * (double)run.n_taps; /* nanoseconds, in a near cache */
        const int n_workers = fg_workers_for(a_point * (double)size, run.n_pieces);
        make_room(&run, size);
        run.scratch = fg_alloc((size_t)n_workers, (size_t)run.scratch_bytes);
        if (!run.scratch)
            status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d workers", n_workers);
        else
            fg_parallel(n_workers, work_on_pieces, &run, &run.watch);
        if (!status && atomic_load(&run.watch.cancelled))
            status = fg_fail(error, FG_CANCELLED, "cancelled");
    }
    free_run(&run);
    return status;
}
