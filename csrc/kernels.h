/* The kernels' table: one source (kernels.c), compiled once per ISA, gives one table each. A kernel works on plain
 * arrays of one dtype; it never allocates, never fails and knows nothing of programs. Strides are in elements. */
#ifndef FG_KERNELS_H
#define FG_KERNELS_H

#include "fastgrad.h"

enum { FG_N_FLOATS = 2 }; /* dtypes with kernels: fg_dtype is the index */

/* out[r, i] = op(in[r, i], ...) for r < n_rows, i < width; operand[0] is the result, which may be an operand. */
typedef struct {
    int64_t n_rows, width;
    int64_t stride[1 + FG_MAX_INPUTS]; /* from row to row */
    unsigned splat;                    /* bit i: operand 1 + i has one element a row, for the whole width */
} fg_rows;
typedef void (*fg_rows_kernel)(const fg_rows *rows, void *const *operand);

/* out[i] = combination over r < n of in[r, i] (of in0[r, i] * in1[r, i] for dot), i < width.
 * The order is a function of n alone: whole chunks of 1024 are combined in a balanced tree; within a chunk element
 * r goes to accumulator r mod 16, and the 16 are folded in halves. */
typedef struct {
    int64_t n, width;
    int64_t stride[2]; /* of each operand, from element to element of the sum */
    unsigned splat;    /* bit i: operand 1 + i is the same for the whole width */
} fg_fold;
typedef void (*fg_fold_kernel)(const fg_fold *fold, void *const *operand);

/* c[i, j] = (accumulate ? c[i, j] : start ? start[i, j] : 0) + sum over p of a[i, p] b[p, j], the terms added one by
 * one with p rising. Rows of c are contiguous; those of start are too (start_column 1), or one number (0), and start
 * does not overlap c; a and b have any strides. Uses up to 256 KiB of the stack. */
typedef struct {
    int64_t m, n, k;
    int64_t a_row, a_column, b_row, b_column, c_row, start_row, start_column;
    int accumulate;
} fg_gemm;
typedef void (*fg_gemm_kernel)(const fg_gemm *gemm, const void *a, const void *b, const void *start, void *c);

/* out[i] = (accumulate ? out[i] : 0) + sum over r < n of a[r, i] * b[r, i], r rising, i < width: the matrix product's
 * element for matrices that both differ by lane. */
typedef struct {
    int64_t n, width;
    int64_t stride[2]; /* of each operand, from element to element of the sum */
    int accumulate;
} fg_chain;
typedef void (*fg_chain_kernel)(const fg_chain *chain, void *const *operand);

/* out[r] = (accumulate ? out[r] : 0) + sum over l < n of a[r, l] b[l] (of a[r, l] when b is NULL) for r < n_rows; the
 * order is a function of n alone. */
typedef void (*fg_lane_sums_kernel)(int64_t n_rows, int64_t n, int64_t stride, int accumulate, const void *a,
                                    const void *b, void *out);

/* A generalised operation for `width` neighbours at once: lanes, or a leading axis along which the result and every
 * operand that differs are contiguous. Each neighbour's result is the same whatever the width. */
typedef struct {
    int64_t width;
    int64_t size[3], stride[1 + FG_MAX_INPUTS][3]; /* core axes */
    unsigned splat;                                /* bit i: operand 1 + i is the same for the whole width */
} fg_core;
typedef void (*fg_core_kernel)(const fg_core *core, void *const *operand);

/* Between n rows of an array (n, size) and the lanes of a block (size, n_lanes); lanes past n are left alone. */
typedef void (*fg_lanes_kernel)(int64_t n, int64_t size, int64_t n_lanes, const void *from, void *to);

/* A copy of n elements past the caches, for far more than these hold. */
typedef void (*fg_away_kernel)(int64_t n, const void *from, void *to);

/* Whether any lane of a block (1, or a multiple of 16) stops; only then `stop` gets 0, or 1 + fg_outcome, for each. */
typedef struct {
    int64_t size, n_lanes;
    const void *gradient; /* (size, n_lanes) */
    double gtol;
    const void *frozen; /* (n_lanes,) or NULL: not 0 for a lane that does not count */
    void *stop;         /* (n_lanes,) */
} fg_check;
typedef int (*fg_check_kernel)(const fg_check *check);

/* Which lanes the last step changed too little, to stop them as fg_check does. `stops`: what fg_check found stands in
 * `stop`, and goes first. Whether any lane stops in the end. */
typedef struct {
    int64_t n_lanes;
    double ftol, xtol; /* negative: not asked for, and then what it compares is not read */
    const void *value, *value_before, *step,
        *size;          /* (n_lanes,); squares of the lengths of the step and of the point */
    const void *frozen; /* as in fg_check */
    int stops;
    void *stop;
} fg_change;
typedef int (*fg_change_kernel)(const fg_change *change);

/* out[l] = the largest magnitude of a component of lane l, NaN when one is; blocks as for fg_check. */
typedef void (*fg_largest_kernel)(int64_t size, int64_t n_lanes, const void *gradient, void *out);

/* out = the gradient, cut where a step of length 1 against it would leave the bounds, and there the way to them; n
 * elements of each array. */
typedef void (*fg_project_kernel)(int64_t n, const void *lower, const void *upper, const void *x, const void *gradient,
                                  void *out);

/* One step of descent for a block of lanes. */
typedef struct {
    int64_t size, n_lanes;
    void *x, *state[FG_MAX_STATES];     /* (size, n_lanes) */
    const void *gradient;               /* (size, n_lanes) */
    const void *c[FG_MAX_COEFFICIENTS]; /* the rule's coefficients of this step: (n_lanes,), or one for all lanes */
    int c_is_lane;
    const double *settings;
    const void *frozen; /* (n_lanes,) or NULL: not 0 keeps a lane's point */
} fg_step;
typedef void (*fg_step_kernel)(const fg_step *step);

/* The coefficients of lanes 0 to n - 1, whose running numbers are advanced. */
typedef struct {
    int64_t n;
    const double *settings;
    const double *learning_rate;     /* (n,) */
    double *running[FG_MAX_RUNNING]; /* (n,) */
    void *c[FG_MAX_COEFFICIENTS];    /* (n,), in the dtype of the step */
} fg_prepare;
typedef void (*fg_prepare_kernel)(const fg_prepare *prepare);

/* Elements first to first + size - 1 of n rows of data, side by side; see kernel_data.h. */
typedef void (*fg_gather_kernel)(const fg_source *source, int64_t n, const int64_t *rows, int64_t first, int64_t size,
                                 void *to);
/* Random numbers of [0, 1) for n lanes of a block (size, n_lanes), the first of which is row `first` of a minibatch. */
typedef void (*fg_noise_kernel)(uint64_t key, int64_t first, int64_t n, int64_t size, int64_t n_lanes, void *to);
/* Adds the derivative of l1 |x| + l2 x^2 / 2 to n elements of a gradient; returns their sum. */
typedef double (*fg_penalise_kernel)(int64_t n, double l1, double l2, const void *x, void *gradient);

/* Taps of a point: bytes from it to the samples, and weights. First differences a - b and sums a + b that have a weight
 * together, then samples alone. */
typedef struct {
    int64_t n_differences, n_sums, n_alone;
    const int64_t *at;
    const void
        *weights; /* of all points; with `by_point` tap t of the call's point i has weights[t * weight_row + i] */
    int by_point; /* then all taps are alone, and a weight of 0 leaves one out */
    int fixed;    /* with `by_point`: all points have the samples of the call's first one */
    int64_t weight_row;
    double scale; /* of the sum over these taps */
} fg_taps;

/* out[r, i] = (accumulate ? out[r, i] : 0) + sum over groups of scale * sum over taps, for r < n_rows, i < width; both
 * contiguous along i. Groups and taps are added one by one. Nothing is read but taps. */
typedef struct {
    int64_t n_rows, width;
    int64_t in_row, out_row; /* bytes from row to row */
    int n_groups;
    const fg_taps *groups;
    int accumulate;
    int away; /* past the caches */
} fg_stencil_points;
typedef void (*fg_stencil_kernel)(const fg_stencil_points *points, const void *in, void *out);

/* Down: row[i] += ratio[i] row[i - 1]; up: row[i] = inverse[i] row[i] + ratio[i + 1] row[i + 1], for rows of `width`
 * neighbouring lines, i counted from `first` and at most `last`. `carry` is the row before the first one that is come
 * to, and becomes the last one; without `keep` only that is written. */
typedef struct {
    int64_t n_rows, width, row;
    int64_t first, last;
    const void *ratio, *inverse;
    int up, keep;
} fg_sweep;
typedef void (*fg_sweep_kernel)(const fg_sweep *sweep, void *rows, void *carry);

/* to[c, r] = from[r, c] for r < rows, c < columns. */
typedef void (*fg_turn_kernel)(int64_t rows, int64_t columns, const void *from, int64_t from_row, void *to,
                               int64_t to_row);

typedef struct {
    const char *name;
    fg_rows_kernel rows[FG_N_OPS][FG_N_FLOATS]; /* NULL where the operation is not elementwise */
    fg_fold_kernel fold[FG_N_OPS][FG_N_FLOATS]; /* reductions and dot */
    fg_core_kernel core[FG_N_OPS][FG_N_FLOATS]; /* generalised operations */
    fg_gemm_kernel gemm[FG_N_FLOATS];
    fg_chain_kernel chain[FG_N_FLOATS];
    fg_lane_sums_kernel lane_sums[FG_N_FLOATS];
    fg_lanes_kernel lanes_in[FG_N_FLOATS], lanes_out[FG_N_FLOATS];
    fg_lanes_kernel lanes_away[FG_N_FLOATS]; /* as lanes_out, past the caches */
    fg_away_kernel away[FG_N_FLOATS];
    fg_gather_kernel gather[FG_N_FLOATS];
    fg_noise_kernel noise[FG_N_FLOATS];
    fg_penalise_kernel penalise[FG_N_FLOATS];
    fg_check_kernel check[FG_N_FLOATS];
    fg_change_kernel change[FG_N_FLOATS];
    fg_largest_kernel largest[FG_N_FLOATS];
    fg_project_kernel project[FG_N_FLOATS];
    fg_stencil_kernel stencil[FG_N_FLOATS];
    fg_sweep_kernel sweep[FG_N_FLOATS];
    fg_turn_kernel turn[FG_N_FLOATS];
    fg_step_kernel step[FG_N_UPDATES][FG_N_FLOATS];
    fg_prepare_kernel prepare[FG_N_UPDATES][FG_N_FLOATS];
} fg_kernels;

/* The table of the ISA in use. */
const fg_kernels *fg_active_kernels(void);

#endif
