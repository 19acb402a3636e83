/* Loops: a scan whose body is bound for a number of lanes, and its running. */
#ifndef FG_LOOP_H
#define FG_LOOP_H

#include "plan.h"

/* Binds the body of a scan with the kernels in use. */
FG_CHECKED fg_status fg_loop_create(const fg_program *program, const fg_instruction *in, int64_t n_lanes,
                                    fg_bound_loop **out, fg_error *error);
void fg_loop_destroy(fg_bound_loop *loop); /* NULL is ignored */

/* Runs all steps on the buffers of the enclosing program; `watch` and `worker` as for fg_plan_run. */
void fg_loop_run(const fg_bound_loop *loop, void *const *outer, fg_watch *watch, int worker);

#endif
