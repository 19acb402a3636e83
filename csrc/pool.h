/* Threads: a pool that is started on first need, parked between calls, and forgotten in a forked child. */
#ifndef FG_POOL_H
#define FG_POOL_H

#include <stdatomic.h>

#include "fastgrad.h"

typedef void (*fg_task)(void *context, int worker);

/* What a long call shares with its caller: how much is done, whether to stop, and when to ask next. */
typedef struct {
    fg_poll poll; /* NULL for none */
    void *context;
    double next;   /* fg_clock of the next look; the calling thread's own */
    int n_workers; /* that run the task: fg_parallel says it before they start */
    _Atomic int64_t done;
    _Atomic int cancelled;
} fg_watch;

/* On the calling thread: polls when 10 ms have passed since the last time, unless it was told to stop. */
void fg_watch_look(fg_watch *watch);

/* Runs task(context, w) for worker numbers 0 to n - 1 at the same time, 0 on the calling thread, and returns when
 * all have ended. While others still run, the caller looks at `watch` (NULL for none) every 10 ms. When the pool is
 * in use by another thread, or a thread cannot be started, fewer workers run, watch->n_workers of them: a task draws
 * its work from a shared queue, or asks how many they are. */
void fg_parallel(int n, fg_task task, void *context, fg_watch *watch);

/* Workers that go through phases together. Who does what is fixed, so that data stays in a worker's cache. */
typedef struct {
    const int *n_workers;
    int polls;                 /* whether its worker 0 is the thread that made the call */
    unsigned n_asked, between; /* it looks at the watch once in so many times */
    _Atomic int n_waiting;
    _Atomic unsigned n_meetings;
} fg_crew;

/* Looks at the watch, if that is this worker's to do; whether the call is cancelled. */
int fg_crew_look(fg_crew *crew, int worker, fg_watch *watch);
/* Waits for all workers; the last one to come runs `alone` (NULL for nothing) before any goes on. */
void fg_crew_meet(fg_crew *crew, void (*alone)(void *), void *context);

/* Workers that so much work in so many pieces is worth. */
int fg_workers_for(double nanoseconds, int64_t n_pieces);

/* Seconds of a steady clock. */
double fg_clock(void);

#endif
