/* The special functions as plain as can be, in long double: for the oracle in build.h. */
#ifndef SPECIAL_H
#define SPECIAL_H

#include <math.h>

#define SPECIAL_PI 3.14159265358979323846264338327950288L

static inline double oracle_erfcx(double a) {
    const long double x = a, z = 1 / (2 * x * x);
    if (a > 100)
        return (double)((1 - z * (1 - 3 * z * (1 - 5 * z * (1 - 7 * z)))) / (x * sqrtl(SPECIAL_PI)));
    return (double)(expl(x * x) * erfcl(x));
}

/* x less the nearest integer */
static inline long double oracle_from_integer(long double x) { return x - rintl(x); }

static inline double oracle_digamma(double a) {
    long double x = a, sum = 0;
    if (a == 0)
        return -1 / a;
    if (a < 0 && a == floor(a))
        return (double)NAN;
    if (a < 0) {
        sum = -SPECIAL_PI / tanl(SPECIAL_PI * oracle_from_integer(x));
        x = 1 - x;
    }
    for (; x < 30; x++)
        sum -= 1 / x;
    const long double z = 1 / (x * x);
    return (double)(sum + logl(x) - 1 / (2 * x) -
                    z * (1 / 12.0L - z * (1 / 120.0L - z * (1 / 252.0L - z * (1 / 240.0L - z / 132)))));
}

/* the sum of (q + k)^-s over k = 0, 1, ...: thirty terms, the rest by Euler and Maclaurin */
static inline long double oracle_long_zeta(long double s, long double q) {
    long double sum = 0;
    for (int k = 0; k < 30; k++)
        sum += powl(q + k, -s);
    const long double w = q + 30, z = 1 / (w * w), z3 = z * (s + 1) * (s + 2) / 60, z5 = z * (s + 3) * (s + 4) / 42;
    const long double rest = s / (12 * w) * (1 - z3 * (1 - z5 * (1 - z * (s + 5) * (s + 6) / 40)));
    return s > 4 * w ? sum : sum + powl(w, 1 - s) * (1 / (s - 1) + (1 / (2 * w) + rest / w));
}
static inline double oracle_zeta(double s, double q) {
    if (isnan(s) || isnan(q) || s < 1)
        return (double)NAN;
    if (s == 1 || (q <= 0 && floor(q) == q))
        return (double)INFINITY;
    if (isinf(q))
        return 0;
    return q < 0 ? (double)NAN : (double)oracle_long_zeta(s, q); /* as the machine has it */
}
static inline double oracle_trigamma(double a) {
    if (a <= 0 && a == floor(a))
        return (double)INFINITY;
    if (a < 0) {
        const long double sine = sinl(SPECIAL_PI * oracle_from_integer(a));
        return (double)(SPECIAL_PI * SPECIAL_PI / (sine * sine) - oracle_long_zeta(2, 1 - (long double)a));
    }
    return (double)(a < 0x1p-500 ? 1 / (long double)a / a : oracle_long_zeta(2, a));
}

/* what reflection may add to the error of the last three for a < 0, in units of epsilon */
static inline double oracle_reflection(double a) {
    return 8 * fmax(fmax(fabs(lgamma(-a)), fabs(oracle_digamma(-a))), 1);
}

#define oracle_erf erf
#define oracle_erfc erfc
#define oracle_gammaln lgamma

#endif
