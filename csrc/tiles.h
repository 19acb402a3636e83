/* Tiles: consecutive calls over large one-dimensional arrays, executed piece by piece.
 *
 * Call by call, every instruction streams whole arrays through memory. A group of calls instead runs on one tile of the
 * arrays after the other, so that what its calls hand to each other stays in the nearest cache, and threads share the
 * tiles. The bits are those of call by call. */
#ifndef FG_TILES_H
#define FG_TILES_H

#include "plan.h"

enum {
    FG_CHUNK = 1024,     /* of a reduction (kernels.h, fg_fold): tiles are powers of two of it */
    FG_MOST_SUMS = 8,    /* reductions of a group */
    FG_MOST_UNITS = 256, /* that workers draw */
    FG_MOST_HALO = 64,   /* elements that a tile may need past either end */
    FG_MOST_SLOTS = 16,  /* buffers in scratch */
    FG_SCRATCH_BYTES = FG_MOST_SLOTS * (FG_CHUNK + 2 * FG_MOST_HALO) * 8
};

/* One call of a group. In a tile [s, e) it runs for its elements max(0, s + low) to min(n, e + high) - 1. */
struct fg_part {
    const fg_call *call;
    int64_t low, high;
    int in_scratch[1 + FG_MAX_INPUTS];
    int64_t offset[1 + FG_MAX_INPUTS]; /* of element 0, in bytes: from the buffer's base, or from scratch when s is 0 */
    int64_t step[1 + FG_MAX_INPUTS];   /* bytes */
    int sum;                           /* number of the reduction, or -1 */
};

extern int64_t fg_least_staged; /* bytes of an output that is staged; tests lower it */

/* Finds the groups of a plan for `n_lanes`; a plan of small calls has none and needs no memory. */
FG_CHECKED fg_status fg_tiles_find(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error);

/* Runs one group, as fg_plan_run runs calls. */
void fg_tiles_run(const fg_group *group, void *const *base, fg_watch *watch, int worker);

#endif
