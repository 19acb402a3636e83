/* The machine: instructions bound to kernels for a number of lanes, and running them. */
#ifndef FG_MACHINE_H
#define FG_MACHINE_H

#include "kernels.h"
#include "pool.h"
#include "program.h"

/* An instruction whose loops are laid out: which kernel, over which axes, at which byte offsets. */
typedef struct fg_call fg_call;
struct fg_call {
    void (*run)(const fg_call *call, void *const *operand);
    union {
        fg_rows_kernel rows;
        fg_fold_kernel fold;
        fg_gemm_kernel gemm;
        fg_chain_kernel chain;
    } kernel;
    union {
        fg_rows rows;
        fg_fold fold;
        fg_gemm gemm;
        int64_t n; /* of a table */
    } shape;
    int64_t inner[1 + FG_MAX_INPUTS]; /* element strides within a row, where a kernel cannot take them */
    int n_outer, arity;
    int64_t outer_shape[FG_MAX_DIMS + 1];
    int64_t outer_step[FG_MAX_DIMS + 1][1 + FG_MAX_INPUTS];       /* bytes */
    int64_t buffer[1 + FG_MAX_INPUTS], offset[1 + FG_MAX_INPUTS]; /* bytes from the buffer's base */
    int dtype, item_size[1 + FG_MAX_INPUTS];
    int64_t n_lanes; /* of a table's elements */
};

typedef struct {
    fg_call *calls; /* the uniform instructions, then those of the lanes */
    int64_t n_uniform, n_calls;
} fg_plan;

/* Binds every instruction for blocks of `n_lanes` with the kernels in use. */
FG_CHECKED fg_status fg_plan_create(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error);
void fg_plan_destroy(fg_plan *plan);

/* Runs calls first to last - 1 on the buffers that start at base[i]. With a watch (NULL for none: what takes less than
 * a millisecond) it stops between two calls once that is cancelled, and worker 0 looks at it after each. */
void fg_plan_run(const fg_plan *plan, int64_t first, int64_t last, void *const *base, fg_watch *watch, int worker);

/* The watch for runs of a plan that take so many nanoseconds, or NULL. */
fg_watch *fg_watch_for(double nanoseconds, fg_watch *watch);

/* What one worker owns: the arena of its lanes and where each buffer starts. */
typedef struct {
    void **base;
    char *arena;
} fg_workspace;

/* Bytes of lanes that fg_workspace_create lays out: the arena, lane inputs and lane outputs of a block. The uniform
 * buffers (arena, inputs, outputs, constants) are shared: `uniform` and the callers' arrays. */
FG_CHECKED fg_status fg_workspace_create(const fg_program *program, int64_t n_lanes, void *uniform,
                                         const void *const *inputs, void *const *outputs, fg_workspace *workspace,
                                         fg_error *error);
void fg_workspace_destroy(fg_workspace *workspace);

/* The arena of the uniform values, computed: what all workers share. The caller frees it with fg_free. */
FG_CHECKED fg_status fg_shared_create(const fg_program *program, const fg_plan *plan, const void *const *inputs,
                                      void *const *outputs, fg_watch *watch, void **uniform, fg_error *error);

/* Lanes of a block for a batch: 1, or an odd multiple of 16, by the bytes that a lane keeps live (those of the
 * program and `more_bytes`). Never by the number of threads. */
int64_t fg_lanes_for(const fg_program *program, int64_t batch, int64_t more_bytes);
/* Workers that a call of so much work in so many blocks is worth. */
int fg_workers_for(double nanoseconds, int64_t n_blocks);

#endif
