/* Sums over lanes: the instructions lane_sum and lane_matmul, bound apart from the others. They add up what the lane
 * instructions left in the blocks of a batch, block by block: many rows of the result can be computed apart, on several
 * threads, and no lane value is ever stored for a whole batch. */
#ifndef FG_ACROSS_H
#define FG_ACROSS_H

#include "plan.h"

struct fg_across {
    int64_t rows;     /* of the result, that can be computed apart: m of lane_matmul, all elements of lane_sum */
    int64_t row_size; /* elements of a row: n of lane_matmul, 1 of lane_sum */
    int64_t output;   /* number of the output */

    int op, dtype, item;
    union {
        fg_lane_sums_kernel sums;
        fg_gemm_kernel gemm;
    } kernel;
    fg_lanes_kernel turn;
    int64_t n_lanes, buffer[2], offset[2]; /* of the operands; bytes from the buffer's base */
    /* axes and strides of the operands in blocks of the lanes bound for: of lane_sum its own, of lane_matmul m, n, k */
    int is_product;        /* of matrices; else sums, or those of products with one vector */
    int n_dims, is_packed; /* whether rows of sums follow one another */
    int64_t shape[FG_MAX_DIMS], stride[2][FG_MAX_DIMS];
};

/* Binds the sums of a program into the plan for blocks of `n_lanes`. */
FG_CHECKED fg_status fg_across_bind(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error);

/* The right factor of lane_matmul i turned over, in panels of contiguous rows: once for each block, whatever rows of
 * the result are computed then. They take fg_across_room bytes, 0 where nothing is turned; -1: more than there is. */
int64_t fg_across_room(const fg_plan *plan, int64_t i);
void fg_across_turn(const fg_plan *plan, int64_t i, int64_t n, void *const *base, char *panels);

/* Rows first to last - 1 of sum i: result = (accumulate ? result : 0) + the sum over n lanes, those of block after
 * block whose buffers start at base[0], base[1], ... and whose panels stand at panels[0], panels[1], ...; `result`
 * points to row `first`. What stands in further lanes does not count.
 *
 * Order: lane_matmul adds its terms one by one, in a block k rising, and for each k lanes rising: without a k (of 1)
 * the bits do not depend on how lanes are cut into blocks. lane_sum, and lane_matmul of one column and a k of 1, fold
 * the lanes of a block and add that. */
void fg_across_run(const fg_plan *plan, int64_t i, int64_t first, int64_t last, int64_t n, int accumulate,
                   void *const *const *base, char *const *panels, void *result);

#endif
