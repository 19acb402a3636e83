/* Plans: the instructions of a program bound to kernels for a number of lanes. */
#ifndef FG_PLAN_H
#define FG_PLAN_H

#include "kernels.h"
#include "pool.h"
#include "program.h"

/* An instruction whose loops are laid out: which kernel, over which axes, at which byte offsets. */
typedef struct fg_call fg_call;
typedef struct fg_bound_loop fg_bound_loop;
struct fg_call {
    void (*run)(const fg_call *call, void *const *operand);
    union {
        fg_rows_kernel rows;
        fg_fold_kernel fold;
        fg_gemm_kernel gemm;
        fg_chain_kernel chain;
        fg_core_kernel core;
    } kernel;
    union {
        fg_rows rows;
        fg_fold fold;
        fg_gemm gemm;
        fg_chain chain;
        fg_core core;
        int64_t n; /* of a table */
    } shape;
    int64_t inner[1 + FG_MAX_INPUTS]; /* element strides within a row, where a kernel cannot take them */
    int n_outer, arity;
    int64_t outer_shape[FG_MAX_DIMS + 1];
    int64_t outer_step[FG_MAX_DIMS + 1][1 + FG_MAX_INPUTS];       /* bytes */
    int64_t buffer[1 + FG_MAX_INPUTS], offset[1 + FG_MAX_INPUTS]; /* bytes from the buffer's base */
    int dtype, item_size[1 + FG_MAX_INPUTS];
    int64_t n_lanes;     /* of a table's elements */
    fg_bound_loop *loop; /* of a scan, else NULL: then nothing but `instruction` counts */
    int64_t instruction;
    /* Of a call over one axis: its length (else 0), a run of the first n elements from the operands on, and for a
     * reduction what combines two partial results (else NULL). `inner` holds the strides. */
    int64_t flat;
    void (*piece)(const fg_call *call, int64_t n, void *const *operand);
    fg_fold_kernel join;
};

/* Calls that run tile by tile: see tiles.h, which defines the parts. First come those before the tiles, then those
 * on them, then those after. A unit is as many tiles as one worker draws at a time. */
typedef struct fg_part fg_part;

/* An output whose tiles are made in scratch and go to memory as a whole, in elements. What no call writes first is
 * fetched before. */
typedef struct {
    int64_t buffer, size, offset, shift; /* offset: bytes from scratch to the element at the tile's start plus shift */
    int64_t from, to;                    /* written by the first call, whatever was there */
    int dtype, item;
} fg_staged;
enum { FG_MOST_STAGED = 4 };

typedef struct {
    int64_t first, last; /* calls first to last - 1 */
    fg_part *parts;
    fg_staged staged[FG_MOST_STAGED];
    int n_before, n_tiled, n_after, n_sums, n_staged;
    int64_t tile, unit; /* elements; tiles */
    int64_t first_tile, n_units;
    double cost; /* nanoseconds */
} fg_group;

typedef struct fg_across fg_across;

typedef struct {
    fg_call *calls; /* the uniform instructions, then those of the lanes */
    int64_t n_uniform, n_calls;
    fg_across *across; /* the sums over lanes: see across.h */
    int64_t n_across;
    fg_group *groups; /* by their calls */
    fg_part *parts;   /* of all groups */
    int64_t n_groups;
    int64_t uniform_bytes, lane_bytes; /* of the arenas that a run of one instance touches */
} fg_plan;

/* Binds every instruction for blocks of `n_lanes` with the kernels in use. */
FG_CHECKED fg_status fg_plan_create(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error);
void fg_plan_destroy(fg_plan *plan);

/* Runs one call that is no loop, whole. */
void fg_call_run(const fg_call *call, void *const *base);

/* Runs calls first to last - 1 on the buffers that start at base[i]; the loops' memory follows the last. With a watch
 * (NULL for none: what takes less than a millisecond) it stops between two calls once that is cancelled, and worker 0
 * looks at it after each. */
void fg_plan_run(const fg_plan *plan, int64_t first, int64_t last, void *const *base, fg_watch *watch, int worker);

/* The watch for runs of a plan that take so many nanoseconds, or NULL. */
fg_watch *fg_watch_for(double nanoseconds, fg_watch *watch);

#endif
