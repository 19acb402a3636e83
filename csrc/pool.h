/* Threads: a pool that is started on first need, parked between calls, and forgotten in a forked child. */
#ifndef FG_POOL_H
#define FG_POOL_H

#include "fastgrad.h"

typedef void (*fg_task)(void *context, int worker);
typedef void (*fg_wait)(void *context);

/* Runs task(context, w) for worker numbers 0 to n - 1 at the same time, 0 on the calling thread, and returns when
 * all have ended. While others still run, the caller calls `wait` (NULL for none) every 10 ms. When the pool is
 * in use by another thread, or a thread cannot be started, fewer workers run: a task draws its work from a shared
 * queue and never counts on its colleagues. */
void fg_parallel(int n, fg_task task, fg_wait wait, void *context);

/* Seconds of a steady clock. */
double fg_clock(void);

#endif
