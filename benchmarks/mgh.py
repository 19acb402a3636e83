"""The test problems of Moré, Garbow & Hillstrom, and how many evaluations L-BFGS needs to solve them.

"Testing unconstrained optimization software", ACM Trans. Math. Softw. 7 (1981) 17-41: 35 sums of squares, among
them the 18 problems for unconstrained minimisation. Residuals are plain NumPy; the numbers are those of the paper.

`python -m benchmarks.mgh` compares with L-BFGS-B of SciPy, from the paper's starts and from 10 and 100 times as far.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastgrad as fg


class Problem(NamedTuple):
    """A sum of squares to minimise: its residuals, where to start, and its known minima, the least one first."""

    name: str
    residuals: Callable[[Any], Any]
    start: np.ndarray
    minima: tuple[float, ...] = (0.0,)

    def fun(self, x: Any) -> Any:
        residuals = self.residuals(x)
        return np.sum(residuals * residuals)

    def solved_by(self, value: float, tolerance: float = 1e-6) -> bool:
        """Whether a value is that of one of the known minima."""
        return any(abs(value - known) <= tolerance * max(1.0, known) for known in self.minima)


def numbers(text: str, scale: float = 1.0) -> np.ndarray:
    return np.array([float(word) for word in text.split()]) / scale


def counted(n: int) -> np.ndarray:
    return np.arange(1.0, n + 1.0)


# ---- data of the problems

BARD = numbers("14 18 22 25 29 32 35 39 37 58 73 96 134 210 439", 100)
GAUSSIAN = numbers("9 44 175 540 1295 2420 3521 3989 3521 2420 1295 540 175 44 9", 1e4)
MEYER = numbers("34780 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872")
KOWALIK = numbers("1957 1947 1735 1600 844 627 456 342 323 235 246", 1e4)
KOWALIK_AT = numbers("4 2 1 0.5 0.25 0.167 0.125 0.1 0.0833 0.0714 0.0625")
OSBORNE_1 = numbers(
    "844 908 932 936 925 908 881 850 818 784 751 718 685 658 628 603 580 558 538 522 506 490 478 467 457 448 438 431 "
    "424 420 414 411 406",
    1000,
)
OSBORNE_2 = numbers(
    "1366 1191 1112 1013 991 885 831 847 786 725 746 679 608 655 616 606 602 626 651 724 649 649 694 644 624 661 612 "
    "558 533 495 500 423 395 375 372 391 396 405 428 429 523 562 607 653 672 708 633 668 645 632 591 559 597 625 739 "
    "710 729 720 636 581 428 292 162 98 54",
    1000,
)


# ---- residuals


def rosenbrock(x: Any) -> Any:
    odd, even = x[::2], x[1::2]
    return np.concatenate([10 * (even - odd**2), 1 - odd])


def freudenstein_roth(x: Any) -> Any:
    return np.stack([-13 + x[0] + ((5 - x[1]) * x[1] - 2) * x[1], -29 + x[0] + ((x[1] + 1) * x[1] - 14) * x[1]])


def powell_badly_scaled(x: Any) -> Any:
    return np.stack([1e4 * x[0] * x[1] - 1, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001])


def brown_badly_scaled(x: Any) -> Any:
    return np.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])


def beale(x: Any) -> Any:
    return numbers("1.5 2.25 2.625") - x[0] * np.stack([1 - x[1], 1 - x[1] ** 2, 1 - x[1] ** 3])


def jennrich_sampson(x: Any) -> Any:
    i = counted(10)
    return 2 + 2 * i - (np.exp(i * x[0]) + np.exp(i * x[1]))


def helical_valley(x: Any) -> Any:
    angle = np.arctan(x[1] / x[0]) / (2 * np.pi) + np.where(x[0] < 0, 0.5, 0.0)
    return np.stack([10 * (x[2] - 10 * angle), 10 * (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


def bard(x: Any) -> Any:
    u = counted(15)
    v = 16 - u
    return BARD - (x[0] + u / (v * x[1] + np.minimum(u, v) * x[2]))


def gaussian(x: Any) -> Any:
    return x[0] * np.exp(-x[1] * ((8 - counted(15)) / 2 - x[2]) ** 2 / 2) - GAUSSIAN


def meyer(x: Any) -> Any:
    return x[0] * np.exp(x[1] / (45 + 5 * counted(16) + x[2])) - MEYER


def gulf(x: Any) -> Any:
    t = counted(99) / 100
    return np.exp(-(np.abs(25 + (-50 * np.log(t)) ** (2 / 3) - x[1]) ** x[2]) / x[0]) - t


def box(x: Any) -> Any:
    t = counted(10) / 10
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def powell_singular(x: Any) -> Any:
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    return np.concatenate([a + 10 * b, np.sqrt(5) * (c - d), (b - 2 * c) ** 2, np.sqrt(10) * (a - d) ** 2])


def wood(x: Any) -> Any:
    valleys = [10 * (x[1] - x[0] ** 2), 1 - x[0], np.sqrt(90) * (x[3] - x[2] ** 2), 1 - x[2]]
    return np.stack([*valleys, np.sqrt(10) * (x[1] + x[3] - 2), (x[1] - x[3]) / np.sqrt(10)])


def kowalik_osborne(x: Any) -> Any:
    u = KOWALIK_AT
    return KOWALIK - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x: Any) -> Any:
    t = counted(20) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def osborne_1(x: Any) -> Any:
    t = 10 * (counted(33) - 1)
    return OSBORNE_1 - (x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4]))


def biggs(x: Any) -> Any:
    t = counted(13) / 10
    data = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - data


def osborne_2(x: Any) -> Any:
    t = (counted(65) - 1) / 10
    bells = [x[i] * np.exp(-((t - x[i + 7]) ** 2) * x[i + 4]) for i in (1, 2, 3)]
    return OSBORNE_2 - (x[0] * np.exp(-t * x[4]) + bells[0] + bells[1] + bells[2])


def watson(x: Any) -> Any:
    powers = (counted(29)[:, None] / 29) ** np.arange(len(x))
    slopes = powers[:, :-1] * counted(len(x) - 1)
    ends = np.stack([x[0], x[1] - x[0] ** 2 - 1])
    return np.concatenate([slopes @ x[1:] - (powers @ x) ** 2 - 1, ends])


def penalty_1(x: Any) -> Any:
    return np.concatenate([np.sqrt(1e-5) * (x - 1), (np.sum(x**2) - 0.25)[None]])


def penalty_2(x: Any) -> Any:
    n = len(x)
    i = counted(n)[1:]
    grown = np.exp(x / 10)
    pairs = grown[1:] + grown[:-1] - (np.exp(i / 10) + np.exp((i - 1) / 10))
    small = np.sqrt(1e-5) * np.concatenate([pairs, grown[1:] - np.exp(-0.1)])
    return np.concatenate([x[:1] - 0.2, small, (np.sum((n + 1 - counted(n)) * x**2) - 1)[None]])


def variably_dimensioned(x: Any) -> Any:
    total = np.sum(counted(len(x)) * (x - 1))
    return np.concatenate([x - 1, np.stack([total, total**2])])


def trigonometric(x: Any) -> Any:
    return len(x) - np.sum(np.cos(x)) + counted(len(x)) * (1 - np.cos(x)) - np.sin(x)


def brown_almost_linear(x: Any) -> Any:
    return np.concatenate([x[:-1] + np.sum(x) - (len(x) + 1), (np.prod(x) - 1)[None]])


def boundary_value(x: Any) -> Any:
    n = len(x)
    around = np.concatenate([np.zeros(1), x, np.zeros(1)])
    return 2 * x - around[:-2] - around[2:] + (x + counted(n) / (n + 1) + 1) ** 3 / (2 * (n + 1) ** 2)


def integral_equation(x: Any) -> Any:
    n = len(x)
    t = counted(n) / (n + 1)
    kernel = np.minimum(t, t[:, None]) * (1 - np.maximum(t, t[:, None]))
    return x + kernel @ (x + t + 1) ** 3 / (2 * (n + 1))


def broyden_tridiagonal(x: Any) -> Any:
    around = np.concatenate([np.zeros(1), x, np.zeros(1)])
    return (3 - 2 * x) * x - around[:-2] - 2 * around[2:] + 1


def broyden_banded(x: Any) -> Any:
    n = len(x)
    band = np.tril(np.ones((n, n)), 1) - np.tril(np.ones((n, n)), -6) - np.eye(n)
    return x * (2 + 5 * x**2) + 1 - band @ (x * (1 + x))


def linear(x: Any) -> Any:
    """Of full rank, with twice as many residuals as variables."""
    n = len(x)
    return np.concatenate([x, np.zeros(n)]) - np.sum(x) / n - 1


def linear_rank_1(x: Any) -> Any:
    return counted(2 * len(x)) * np.sum(counted(len(x)) * x) - 1


def linear_rank_1_zeros(x: Any) -> Any:
    n = len(x)
    factors = np.concatenate([np.arange(2 * n - 1), [0]])
    return factors * np.sum(counted(n)[1:-1] * x[1:-1]) - 1


def chebyquad(x: Any) -> Any:
    n = len(x)
    chebyshev = [2 * x * 0 + 1, 2 * x - 1]
    for _ in range(n - 1):
        chebyshev.append(2 * (2 * x - 1) * chebyshev[-1] - chebyshev[-2])
    means = np.stack([np.sum(values) / n for values in chebyshev[1:]])
    return means - np.array([0.0 if i % 2 else -1 / (i * i - 1) for i in range(1, n + 1)])


# ---- the problems, from the starts of the paper

_M = 20  # residuals of the linear problems
_INNER = counted(10) / 11

PROBLEMS = [
    Problem("1 Rosenbrock", rosenbrock, numbers("-1.2 1")),
    Problem("2 Freudenstein and Roth", freudenstein_roth, numbers("0.5 -2"), (0.0, 48.98425)),
    Problem("3 Powell, badly scaled", powell_badly_scaled, numbers("0 1")),
    Problem("4 Brown, badly scaled", brown_badly_scaled, numbers("1 1")),
    Problem("5 Beale", beale, numbers("1 1")),
    Problem("6 Jennrich and Sampson", jennrich_sampson, numbers("0.3 0.4"), (124.3622,)),
    Problem("7 helical valley", helical_valley, numbers("-1 0 0")),
    Problem("8 Bard", bard, numbers("1 1 1"), (8.21487e-3, 17.4287)),
    Problem("9 Gaussian", gaussian, numbers("0.4 1 0"), (1.12793e-8,)),
    Problem("10 Meyer", meyer, numbers("0.02 4000 250"), (87.94586,)),
    Problem("11 Gulf research", gulf, numbers("5 2.5 0.15")),
    Problem("12 Box", box, numbers("0 10 20")),
    Problem("13 Powell, singular", powell_singular, numbers("3 -1 0 1")),
    Problem("14 Wood", wood, numbers("-3 -1 -3 -1")),
    Problem("15 Kowalik and Osborne", kowalik_osborne, numbers("0.25 0.39 0.415 0.39"), (3.07506e-4, 1.02734e-3)),
    Problem("16 Brown and Dennis", brown_dennis, numbers("25 5 -5 -1"), (85822.20,)),
    Problem("17 Osborne 1", osborne_1, numbers("0.5 1.5 -1 0.01 0.02"), (5.46489e-5,)),
    Problem("18 Biggs", biggs, numbers("1 2 1 1 1 1"), (0.0, 5.65565e-3)),
    Problem("19 Osborne 2", osborne_2, numbers("1.3 0.65 0.65 0.7 0.6 3 5 7 2 4.5 5.5"), (4.01377e-2,)),
    Problem("20 Watson, 6", watson, np.zeros(6), (2.28767e-3,)),
    Problem("20 Watson, 9", watson, np.zeros(9), (1.39976e-6,)),
    Problem("20 Watson, 12", watson, np.zeros(12), (4.72238e-10,)),
    Problem("21 Rosenbrock, extended", rosenbrock, np.tile([-1.2, 1.0], 10)),
    Problem("22 Powell, extended", powell_singular, np.tile([3.0, -1.0, 0.0, 1.0], 5)),
    Problem("23 penalty I", penalty_1, counted(10), (7.08765e-5,)),
    Problem("24 penalty II", penalty_2, np.full(10, 0.5), (2.93661e-4,)),
    Problem("25 variably dimensioned", variably_dimensioned, 1 - counted(10) / 10),
    Problem("26 trigonometric", trigonometric, np.full(10, 0.1), (0.0, 2.79506e-5)),
    Problem("27 Brown, almost linear", brown_almost_linear, np.full(10, 0.5), (0.0, 1.0)),
    Problem("28 boundary value", boundary_value, _INNER * (_INNER - 1)),
    Problem("29 integral equation", integral_equation, _INNER * (_INNER - 1)),
    Problem("30 Broyden, tridiagonal", broyden_tridiagonal, np.full(10, -1.0)),
    Problem("31 Broyden, banded", broyden_banded, np.full(10, -1.0)),
    Problem("32 linear", linear, np.ones(10), (_M - 10.0,)),
    Problem("33 linear, rank 1", linear_rank_1, np.ones(10), (_M * (_M - 1) / (2 * (2 * _M + 1)),)),
    Problem("34 linear, rank 1, zeros", linear_rank_1_zeros, np.ones(10), ((_M**2 + 3 * _M - 6) / (2 * (2 * _M - 3)),)),
    Problem("35 Chebyquad, 8", chebyquad, counted(8) / 9, (3.51687e-3,)),
    Problem("35 Chebyquad, 10", chebyquad, counted(10) / 11, (4.77271e-3, 6.50395e-3)),
]


# ---- the comparison

GTOL, FTOL, MAXITER, MAXFEV = 1e-6, 2.2e-9, 1000, 5000


class Outcome(NamedTuple):
    fun: float
    evaluations: int


def by_fastgrad(function: Callable[[Any], Any], start: np.ndarray) -> Outcome:
    result = fg.minimize(function, start, method="lbfgs", gtol=GTOL, ftol=FTOL, maxiter=MAXITER, maxfev=MAXFEV)
    return Outcome(float(result.fun), result.nfev)


def by_scipy(function: Callable[[Any], Any], start: np.ndarray) -> Outcome:
    from scipy.optimize import minimize

    options = {"gtol": GTOL, "ftol": FTOL, "maxiter": MAXITER, "maxfun": MAXFEV}
    with np.errstate(all="ignore"):
        result = minimize(function, start, jac=True, method="L-BFGS-B", options=options)
    return Outcome(float(result.fun), result.nfev)


def main() -> None:
    for factor in (1.0, 10.0, 100.0):
        ratios, solved, scipy_solved = [], 0, 0
        problems = [problem for problem in PROBLEMS if factor == 1.0 or problem.start.any()]
        print(f"start x {factor:g}".ljust(30) + "  fastgrad evaluations      SciPy evaluations")
        for problem in problems:
            function = fg.value_and_grad(problem.fun)
            here, there = (run(function, factor * problem.start) for run in (by_fastgrad, by_scipy))
            solves, scipy_solves = problem.solved_by(here.fun), problem.solved_by(there.fun)
            solved, scipy_solved = solved + solves, scipy_solved + scipy_solves
            if solves and scipy_solves:
                ratios.append(here.evaluations / there.evaluations)
            marks = [
                f"{o.fun:11.4g}{' ' if s else '*'}{o.evaluations:9}" for o, s in ((here, solves), (there, scipy_solves))
            ]
            print(f"{problem.name:<30}{marks[0]}     {marks[1]}")
        print(f"solved: {solved} of {len(problems)}, SciPy {scipy_solved} (* another value)")
        geometric = statistics.geometric_mean(ratios)
        print(f"ratio of evaluations: median {statistics.median(ratios):.3f}, geometric mean {geometric:.3f}\n")


if __name__ == "__main__":
    main()
