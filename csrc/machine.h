/* The machine: where the buffers of a run stand, and how a batch is cut into blocks. */
#ifndef FG_MACHINE_H
#define FG_MACHINE_H

#include "plan.h"

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
 * program and `more_bytes`), and the cache of `near_bytes` where they should stay. Never by the number of threads. */
enum { FG_L1_BYTES = 40 << 10 };
int64_t fg_lanes_for(const fg_program *program, int64_t batch, int64_t more_bytes, int64_t near_bytes);

/* Loads an instance of the callers' arrays into a lane of a block; a lane input that is NULL becomes zero. */
void fg_fill_lane(const fg_program *program, const fg_workspace *workspace, int64_t n_lanes, int64_t lane,
                  const void *const *inputs, int64_t instance);

#endif
