/* The machine: where the buffers of a run stand, and how a batch is cut into blocks. */
#ifndef FG_MACHINE_H
#define FG_MACHINE_H

#include "plan.h"

/* What one worker owns: the arena of its lanes and where each buffer starts. */
typedef struct {
    void **base;
    char *arena;
} fg_workspace;

/* What the workers of a call over blocks of lanes run with: the plan, the uniform values, computed, that all share, and
 * a workspace each. Uniform buffers are the callers' arrays; lane inputs and outputs of a block are in its workspace,
 * so `outputs` may be NULL where all of them are lane values that stay there. Nothing is held when it fails. */
typedef struct {
    fg_plan plan;
    void *uniform;
    fg_workspace *workspaces;
    int n_workers;
} fg_team;
FG_CHECKED fg_status fg_team_create(const fg_program *program, int64_t n_lanes, int n_workers,
                                    const void *const *inputs, void *const *outputs, fg_watch *watch, fg_team *team,
                                    fg_error *error);
/* The task, by every worker; FG_CANCELLED when the watch was told to stop. */
FG_CHECKED fg_status fg_team_run(const fg_team *team, fg_task task, void *context, fg_watch *watch, fg_error *error);
void fg_team_destroy(fg_team *team);

/* Lanes of a block for a batch: 1, or an odd multiple of 16, by the bytes that a lane keeps live (those of the
 * program and `more_bytes`), and the cache of `near_bytes` where they should stay. Never by the number of threads. */
enum { FG_L1_BYTES = 40 << 10 };
int64_t fg_lanes_for(const fg_program *program, int64_t batch, int64_t more_bytes, int64_t near_bytes);

/* Loads an instance of the callers' arrays into a lane of a block; a lane input that is NULL becomes zero. */
void fg_fill_lane(const fg_program *program, const fg_workspace *workspace, int64_t n_lanes, int64_t lane,
                  const void *const *inputs, int64_t instance);

#endif
