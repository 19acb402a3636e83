/* A function of the caller's, at many points on all threads; see fg_points. */
#include "pool.h"
#include "status.h"

typedef struct {
    const fg_function *function;
    int64_t n_points, chunk;
    int n;
    double *points, *values;
    _Atomic int64_t next;
    fg_watch watch;
} job;

static void evaluate(const job *j, int64_t first, int64_t last) {
    const fg_function *f = j->function;
    for (int64_t i = first; i < last; i++) {
        double *x = j->points + i * j->n;
        j->values[i] = f->with_data ? f->with_data(j->n, x, f->data) : f->without_data(j->n, x);
    }
}

static void work(void *context, int worker) {
    job *j = context;
    for (int64_t first; (first = atomic_fetch_add(&j->next, j->chunk)) < j->n_points;) {
        if (worker == 0)
            fg_watch_look(&j->watch);
        if (atomic_load_explicit(&j->watch.cancelled, memory_order_relaxed))
            return;
        const int64_t last = j->n_points - first < j->chunk ? j->n_points : first + j->chunk;
        evaluate(j, first, last);
        atomic_fetch_add(&j->watch.done, last - first);
    }
}

/* What a call costs is not known, so the second is timed (the first loads code and data), and decides about threads. */
fg_status fg_points(const fg_function *function, int64_t n_points, int64_t n, double *points, double *values,
                    int most_workers, fg_poll poll, void *poll_context, fg_error *error) {
    enum { ALONE = 2 };
    const double a_chunk = 20e-6; /* seconds: enough to make drawing it cheap, and little to wait for */
    if (!function->with_data == !function->without_data)
        return fg_fail(error, FG_INVALID_VALUE, "one of the two kinds of function must be given");
    if (n < 0 || n > INT32_MAX || n_points < 0 || n_points > INT64_MAX / 8 / (n + 1))
        return fg_fail(error, FG_INVALID_VALUE, "%lld points of %lld numbers are more than can be", (long long)n_points,
                       (long long)n);
    if (most_workers < 1)
        return fg_fail(error, FG_INVALID_VALUE, "a call needs a worker, got %d", most_workers);
    job j = {.function = function, .n_points = n_points, .n = (int)n, .points = points, .values = values};
    j.watch = (fg_watch){.poll = poll, .context = poll_context};
    double seconds = 0;
    for (; j.next < n_points && j.next < ALONE; j.next++) {
        fg_watch_look(&j.watch);
        if (j.watch.cancelled)
            return fg_fail(error, FG_CANCELLED, "cancelled");
        const double start = fg_clock();
        evaluate(&j, j.next, j.next + 1);
        seconds = fg_clock() - start;
        j.watch.done++;
    }
    const int64_t n_left = n_points - j.next;
    j.chunk = seconds * (double)n_left < a_chunk ? n_left : (int64_t)(a_chunk / seconds);
    j.chunk = j.chunk < 1 ? 1 : j.chunk;
    const int worth = fg_workers_for(1e9 * seconds * (double)n_left, n_left);
    fg_parallel(worth < most_workers ? worth : most_workers, work, &j, &j.watch);
    return j.watch.cancelled ? fg_fail(error, FG_CANCELLED, "cancelled") : FG_OK;
}
