"""Special functions in mpmath with the special cases that the machine has, for the tests of operations."""

import mpmath


def exact_erfcx(x):
    if x < 1000:
        return mpmath.exp(x * x) * mpmath.erfc(x) if x > -30 else mpmath.inf
    return (1 - 1 / (2 * x * x) + 3 / (4 * x**4) - 15 / (8 * x**6)) / (x * mpmath.sqrt(mpmath.pi))


def exact_gammaln(x):
    return mpmath.inf if x <= 0 and x == mpmath.floor(x) else mpmath.re(mpmath.loggamma(x))


def exact_digamma(x):
    if x <= 0 and x == mpmath.floor(x):
        return mpmath.nan if x else mpmath.mpf("-inf")
    return (
        mpmath.psi(0, x) if x > 0 else mpmath.psi(0, 1 - x) - mpmath.pi / mpmath.tan(mpmath.pi * (x - mpmath.nint(x)))
    )


def exact_trigamma(x):
    if not mpmath.isfinite(x):
        return 0 if x > 0 else mpmath.inf if x < 0 else mpmath.nan
    if x > 0:
        return mpmath.psi(1, x)
    return (
        mpmath.inf
        if x == mpmath.floor(x)
        else (mpmath.pi / mpmath.sin(mpmath.pi * (x - mpmath.nint(x)))) ** 2 - mpmath.psi(1, 1 - x)
    )


def exact_zeta(s, q):
    if s < 1 or (q < 0 and q != mpmath.floor(q)):
        return mpmath.inf if s == 1 else mpmath.nan
    if s == 1 or q <= 0:
        return mpmath.inf
    if not mpmath.isfinite(s + q):
        return mpmath.mpf(0 if q > 1 else 1 if q == 1 else "inf")
    end = q + 40  # forty terms, the rest by Euler and Maclaurin
    total, term = mpmath.fsum((q + k) ** -s for k in range(40)), s * end ** (-s - 1)
    if s < 4 * end:
        total += end ** (1 - s) / (s - 1) + end**-s / 2
        for j in range(1, 15):
            total += mpmath.bernoulli(2 * j) / mpmath.factorial(2 * j) * term
            term *= (s + 2 * j - 1) * (s + 2 * j) / end**2
    return total
