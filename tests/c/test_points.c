/* Functions of the caller's at many points: the same values for any number of workers, and a call that can be stopped.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "fastgrad.h"

enum { POINTS = 1500, SIZE = 7 };

typedef struct {
    _Atomic int64_t calls;
    double factor;
    long nap; /* nanoseconds */
} settings;

static double weighted(int n, double *x, void *data) {
    settings *s = data;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        sum += s->factor * (i + 1) * x[i] * x[i];
        x[i] = NAN; /* its own to write to */
    }
    atomic_fetch_add(&s->calls, 1);
    if (s->nap)
        nanosleep(&(struct timespec){0, s->nap}, NULL);
    return sum;
}
static double first(int n, double *x) { return n ? x[0] : -1; }

static void fill(double *points) {
    for (int i = 0; i < POINTS * SIZE; i++)
        points[i] = (i * 37 % 101) / 8.0;
}
static double expected(int i, double factor) {
    double sum = 0;
    for (int k = 0; k < SIZE; k++) {
        const double x = ((i * SIZE + k) * 37 % 101) / 8.0;
        sum += factor * (k + 1) * x * x;
    }
    return sum;
}

static double points[POINTS * SIZE], values[POINTS];

static void every_point_is_evaluated_once(int n_points, int most_workers, long nap) {
    settings s = {.factor = 3, .nap = nap};
    const fg_function f = {.with_data = weighted, .data = &s};
    fill(points);
    for (int i = 0; i < POINTS; i++)
        values[i] = -7;
    CHECK(fg_points(&f, n_points, SIZE, points, values, most_workers, NULL, NULL, NULL) == FG_OK);
    CHECK(s.calls == n_points);
    int same = 1;
    for (int i = 0; i < POINTS; i++)
        same &= i < n_points ? values[i] == expected(i, 3) : values[i] == -7;
    CHECK(same);
}

static void a_function_may_take_no_data(void) {
    const fg_function f = {.without_data = first};
    fill(points);
    CHECK(fg_points(&f, POINTS, SIZE, points, values, 4, NULL, NULL, NULL) == FG_OK);
    CHECK(values[0] == points[0] && values[POINTS - 1] == points[(POINTS - 1) * SIZE]);
    CHECK(fg_points(&f, 3, 0, points, values, 4, NULL, NULL, NULL) == FG_OK);
    CHECK(values[0] == -1 && values[2] == -1);
}

static int stop(void *context, int64_t done) {
    (void)done;
    return ++*(int *)context >= 3;
}
static void a_call_can_be_stopped(int most_workers) {
    settings s = {.factor = 1, .nap = 1000 * 1000};
    const fg_function f = {.with_data = weighted, .data = &s};
    fg_error error = {""};
    int asked = 0;
    fill(points);
    CHECK(fg_points(&f, POINTS, SIZE, points, values, most_workers, stop, &asked, &error) == FG_CANCELLED);
    CHECK(asked == 3 && error.message[0]);
    CHECK(s.calls < POINTS / 2); /* 1.5 s of work on one, stopped after some 20 ms */
}

static void nonsense_is_refused(void) {
    const fg_function none = {.data = NULL}, both = {.with_data = weighted, .without_data = first},
                      f = {.without_data = first};
    fg_error error = {""};
    CHECK(fg_points(&none, 1, SIZE, points, values, 1, NULL, NULL, &error) == FG_INVALID_VALUE && error.message[0]);
    CHECK(fg_points(&both, 1, SIZE, points, values, 1, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_points(&f, -1, SIZE, points, values, 1, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_points(&f, 1, -1, points, values, 1, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_points(&f, 1, INT64_C(1) << 31, points, values, 1, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_points(&f, INT64_MAX / 16, 1000, points, values, 1, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_points(&f, 1, SIZE, points, values, 0, NULL, NULL, &error) == FG_INVALID_VALUE);
}

int main(void) {
    CHECK(fg_set_num_threads(4, NULL) == FG_OK);
    const int counts[] = {0, 1, 2, 3, 17, POINTS};
    for (int i = 0; i < 6; i++)
        for (int workers = 1; workers <= 4; workers++) {
            every_point_is_evaluated_once(counts[i], workers, 0);
            every_point_is_evaluated_once(counts[i] < 40 ? counts[i] : 40, workers, 50 * 1000);
        }
    a_function_may_take_no_data();
    a_call_can_be_stopped(1);
    a_call_can_be_stopped(4);
    nonsense_is_refused();
    return check_result();
}
