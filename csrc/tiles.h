/* Tiles: consecutive calls over large one-dimensional arrays, executed piece by piece.
 *
 * Call by call, every instruction streams whole arrays through memory. A group of calls instead runs on one tile of the
 * arrays after the other, so that what its calls hand to each other stays in the nearest cache, and threads share the
 * tiles. The bits are those of call by call. */
#ifndef FG_TILES_H
#define FG_TILES_H

#include "plan.h"

/* Finds the groups of a plan for `n_lanes`; a plan of small calls has none and needs no memory. */
FG_CHECKED fg_status fg_tiles_find(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error);

/* Runs one group, as fg_plan_run runs calls. */
void fg_tiles_run(const fg_group *group, void *const *base, fg_watch *watch, int worker);

#endif
