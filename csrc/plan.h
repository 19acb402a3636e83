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
    fg_bound_loop *loop; /* of a scan, else NULL */
};

typedef struct {
    fg_call *calls; /* the uniform instructions, then those of the lanes */
    int64_t n_uniform, n_calls;
} fg_plan;

/* Binds every instruction for blocks of `n_lanes` with the kernels in use. */
FG_CHECKED fg_status fg_plan_create(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error);
void fg_plan_destroy(fg_plan *plan);

/* Runs calls first to last - 1 on the buffers that start at base[i]; the loops' memory follows the last. With a watch
 * (NULL for none: what takes less than a millisecond) it stops between two calls once that is cancelled, and worker 0
 * looks at it after each. */
void fg_plan_run(const fg_plan *plan, int64_t first, int64_t last, void *const *base, fg_watch *watch, int worker);

/* The watch for runs of a plan that take so many nanoseconds, or NULL. */
fg_watch *fg_watch_for(double nanoseconds, fg_watch *watch);

#endif
