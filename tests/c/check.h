/* A test harness in one header: checks count their failures and go on, main returns check_result().
 *
 *     int main(void) {
 *         CHECK(1 + 1 == 2);
 *         CHECK_CLOSE(sqrt(2.0), 1.41421356, 1e-8);
 *         return check_result();
 *     }
 */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdio.h>

static int check_count, check_failures;

/* From one thread only. Returns the outcome, so that a test may stop where going on makes no sense. */
#define CHECK(cond) check_that((cond) ? 1 : 0, #cond, __FILE__, __LINE__)

/* |a - b| <= tolerance, or a and b equal (infinities), or both NaN */
#define CHECK_CLOSE(a, b, tolerance) \
    check_close((double)(a), (double)(b), (double)(tolerance), #a " ~ " #b, __FILE__, __LINE__)

static inline int check_that(int holds, const char *what, const char *file, int line) {
    check_count++;
    if (!holds) {
        check_failures++;
        fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    }
    return holds;
}

static inline int check_close(double a, double b, double tolerance, const char *what, const char *file, int line) {
    int holds = check_that(a == b || fabs(a - b) <= tolerance || (isnan(a) && isnan(b)), what, file, line);
    if (!holds) {
        fprintf(stderr, "    %.17g against %.17g, tolerance %g\n", a, b, tolerance);
    }
    return holds;
}

/* The exit status of main. A test that checked nothing has failed. */
static inline int check_result(void) {
    fprintf(stderr, "%d checks, %d failed\n", check_count, check_failures);
    return check_failures > 0 || check_count == 0;
}

#endif
