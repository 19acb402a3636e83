/* The thread pool; see pool.h. One call owns it at a time, the next one finds it busy and works alone. */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "status.h"

enum { MAX_THREADS = 1024 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    int busy;      /* a call owns the pool */
    int n_started; /* workers 1 to n_started exist */
    int n_wanted;  /* workers 1 to n_wanted - 1 take part in this job */
    int n_running;
    uint64_t job; /* counts jobs, so that a worker sees a new one */
    fg_task task;
    void *context;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static _Atomic int n_threads; /* 0: not chosen yet */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Only the forking thread lives on in the child: the pool starts afresh there. */
static void forget_threads(void) {
    pthread_mutex_init(&pool.mutex, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.busy = pool.n_started = pool.n_wanted = pool.n_running = 0;
}

static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_threads); }

static void *worker_main(void *argument) {
    int number = (int)(intptr_t)argument;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (pool.job == seen || number >= pool.n_wanted) {
            seen = pool.job;
            pthread_cond_wait(&pool.work, &pool.mutex);
        }
        seen = pool.job;
        pthread_mutex_unlock(&pool.mutex);
        pool.task(pool.context, number);
        pthread_mutex_lock(&pool.mutex);
        if (--pool.n_running == 0)
            pthread_cond_signal(&pool.done);
    }
    return NULL;
}

/* Signals are for the threads of the program that uses us. */
static void start_workers(int n) {
    enum { STACK_BYTES = 1 << 20 }; /* some systems' own is too little for what a worker keeps in scratch */
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes))
        return;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.n_started + 1 < n) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, worker_main, (void *)(intptr_t)(pool.n_started + 1)))
            break;
        pthread_detach(thread);
        pool.n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static struct timespec in_10_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 10 * 1000 * 1000;
    if (t.tv_nsec >= 1000 * 1000 * 1000) {
        t.tv_nsec -= 1000 * 1000 * 1000;
        t.tv_sec++;
    }
    return t;
}

void fg_parallel(int n, fg_task task, void *context, fg_watch *watch) {
    int mine = 0;
    if (watch)
        watch->n_workers = 1;
    if (n > 1) {
        pthread_once(&once, watch_forks);
        pthread_mutex_lock(&pool.mutex);
        if (!pool.busy) {
            mine = pool.busy = 1;
            start_workers(n);
            pool.task = task;
            pool.context = context;
            pool.n_wanted = pool.n_started + 1 < n ? pool.n_started + 1 : n;
            pool.n_running = pool.n_wanted - 1;
            if (watch)
                watch->n_workers = pool.n_wanted;
            pool.job++;
            pthread_cond_broadcast(&pool.work);
        }
        pthread_mutex_unlock(&pool.mutex);
    }
    task(context, 0);
    if (!mine)
        return;
    pthread_mutex_lock(&pool.mutex);
    while (pool.n_running > 0) {
        struct timespec deadline = in_10_ms();
        int late = pthread_cond_timedwait(&pool.done, &pool.mutex, &deadline) == ETIMEDOUT;
        if (late && watch) {
            pthread_mutex_unlock(&pool.mutex);
            fg_watch_look(watch);
            pthread_mutex_lock(&pool.mutex);
        }
    }
    pool.n_wanted = 0;
    pool.busy = 0;
    pthread_mutex_unlock(&pool.mutex);
}

int fg_crew_look(fg_crew *crew, int worker, fg_watch *watch) {
    if (worker == 0 && crew->polls && crew->n_asked++ % crew->between == 0)
        fg_watch_look(watch);
    return atomic_load_explicit(&watch->cancelled, memory_order_relaxed);
}

static void rest(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Phases are short, so those who wait stay awake; a while later they give way to whoever wants the processor. */
void fg_crew_meet(fg_crew *crew, void (*alone)(void *), void *context) {
    enum { PATIENCE = 200 };
    if (*crew->n_workers == 1) {
        if (alone)
            alone(context);
        return;
    }
    const unsigned meeting = atomic_load_explicit(&crew->n_meetings, memory_order_relaxed);
    if (atomic_fetch_add(&crew->n_waiting, 1) == *crew->n_workers - 1) {
        atomic_store_explicit(&crew->n_waiting, 0, memory_order_relaxed);
        if (alone)
            alone(context);
        atomic_store_explicit(&crew->n_meetings, meeting + 1, memory_order_release);
        return;
    }
    for (int turn = 0; atomic_load_explicit(&crew->n_meetings, memory_order_acquire) == meeting; turn++)
        if (turn < PATIENCE)
            rest();
        else
            sched_yield();
}

int fg_workers_for(double nanoseconds, int64_t n_pieces) {
    enum { WORTH_A_THREAD = 20000 }; /* nanoseconds of work that pay for waking one */
    const int n = fg_get_num_threads();
    const double worth = nanoseconds / WORTH_A_THREAD;
    int64_t workers = worth < n ? (int64_t)worth : n;
    workers = workers < n_pieces ? workers : n_pieces;
    return workers < 1 ? 1 : (int)workers;
}

double fg_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void fg_watch_look(fg_watch *watch) {
    if (!watch->poll || atomic_load(&watch->cancelled) || fg_clock() < watch->next)
        return;
    if (watch->poll(watch->context, atomic_load(&watch->done)))
        atomic_store(&watch->cancelled, 1);
    watch->next = fg_clock() + 0.01;
}

fg_status fg_set_num_threads(int n, fg_error *error) {
    if (n < 1 || n > MAX_THREADS)
        return fg_fail(error, FG_INVALID_VALUE, "the number of threads must be 1 to %d, got %d", MAX_THREADS, n);
    atomic_store(&n_threads, n);
    return FG_OK;
}

int fg_get_num_threads(void) {
    int n = atomic_load(&n_threads);
    if (n == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        n = online < 1 ? 1 : online > MAX_THREADS ? MAX_THREADS : (int)online;
    }
    return n;
}
