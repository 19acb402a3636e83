"""Extrapolated differences: errors are what the estimates say, on published functions, and calls are few."""

import runpy
import warnings
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest

import fastgrad as fg
from fastgrad._finite import richardson
from fastgrad._finite.results import FINE, INACCURATE, MESSAGES, NO_ROOM, NOT_FINITE
from fastgrad._finite.richardson import (
    adaptive,
    adaptive_derivative,
    first_steps,
    stencil,
    tolerance,
)

ORDERS = (2, 4, 6, 8)
PROBLEMS = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "mgh.py"))["PROBLEMS"]
# the functions of one variable on which numdifftools and DERIVEST show what they can
COMMON = ["cos", "sin", "tan", "cosh", "sinh", "tanh", "exp", "expm1", "log", "log1p", "log10", "sqrt"]
FUNCTIONS = {
    **{name: getattr(mp, name) for name in COMMON},
    **{f"arc{name}": getattr(mp, f"a{name}") for name in COMMON[:6]},
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x, 2),
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1 / x,
}
PLACES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.5, 3.0, -0.4, -2.0, 10.0)


class Recorded:
    """Values of a function of one point (n,), and the points of every call."""

    def __init__(self, fun):
        self.fun, self.calls = fun, []

    def __call__(self, points):
        self.calls.append(points.copy())
        with np.errstate(all="ignore"):
            return np.array([np.atleast_1d(self.fun(point)) for point in points])

    @property
    def points(self):
        return np.concatenate(self.calls)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


# ---- the stencils


@pytest.mark.parametrize("sided", [False, True])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("derivative", range(1, 11))
def test_terms_of_polynomials_are_exact(derivative, order, sided):
    scheme = stencil(derivative, order, sided)
    nodes = scheme.nodes[:, 0]
    for degree in range(1, len(nodes) + 1):
        terms = scheme.weights @ nodes**degree
        size = np.abs(scheme.weights) @ np.abs(nodes) ** degree
        expected = np.zeros(len(terms))
        expected[degree] = 1
        expected[0] = degree == derivative
        wrong = scheme.within[degree - 1]
        np.testing.assert_allclose(abs(terms[0] - expected[0]), wrong, rtol=0, atol=1e-14 * size[0])
        assert wrong == 0 or degree >= derivative + order - (sided and derivative % 2 == 0)
        assert np.all(np.abs(terms[1:] - expected[1:]) <= 1e-14 * size[1:])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("derivative", [1, 2, 3, 4])
@pytest.mark.parametrize("lower", [-np.inf, 0.3])
def test_the_error_falls_with_the_stated_power_of_the_step(derivative, order, lower):
    with mp.workdps(60):
        weights = {h: _value_in_many_digits(derivative, order, lower > 0, h) for h in (mp.mpf("0.02"), mp.mpf("0.01"))}
        errors = [abs(weights[h] - mp.exp(mp.mpf("0.3"))) for h in (mp.mpf("0.02"), mp.mpf("0.01"))]
        measured = float(mp.log(errors[0] / errors[1], 2))
    lost = lower > 0 and derivative % 2 == 0  # on one side, as many nodes give even derivatives one order less
    assert measured == pytest.approx(order - lost, abs=0.15)


def _value_in_many_digits(derivative, order, sided, h):
    nodes = [int(node) for node in stencil(derivative, order, sided).nodes[:, 0]]
    kept = [node for node, weight in zip(nodes, stencil(derivative, order, sided).weights[0], strict=True) if weight]
    exact = richardson._polynomials(tuple(kept))[derivative - 1]
    at, centre = mp.mpf("0.3"), mp.exp(mp.mpf("0.3"))
    total = sum(
        mp.mpf(w.numerator) / w.denominator * (mp.exp(at + node * h) - centre)
        for w, node in zip(exact, kept, strict=True)
    )
    return total * mp.factorial(derivative) / h**derivative


# ---- how good the estimates are


def share_and_ratio(errors, estimates):
    """How many errors are within their estimates, and by how much the estimates exceed them in the median."""
    errors, estimates = np.array(errors), np.array(estimates)
    assert np.isfinite(errors).all()
    return np.mean(errors <= estimates), np.median(estimates / np.maximum(errors, 1e-300))


@pytest.mark.parametrize("order", ORDERS)
def test_estimates_cover_the_errors_of_gradients(order):
    rng = np.random.default_rng(0)
    errors, estimates, calls, components = [], [], 0, 0
    for problem in PROBLEMS:
        start = np.asarray(problem.start, np.float64)
        exact = fg.grad(problem.fun)
        for x in (start, 1.1 * start + 0.05 * rng.standard_normal(len(start)), 0.9 * start):
            values = Recorded(problem.fun)
            found, estimate, _, _ = adaptive(values, x, order=order)
            errors.extend(abs(found[:, 0] - exact(x)))
            estimates.extend(estimate[:, 0])
            calls, components = calls + len(values.points), components + len(x)
    share, ratio = share_and_ratio(errors, estimates)
    assert share >= 0.95
    assert 1 < ratio < 100
    assert calls <= 1.25 * max(order, 4) * components


@pytest.fixture(scope="module")
def taylor():
    """Derivatives 0 .. 10 of all functions at all places."""
    with mp.workdps(60):
        return {
            (name, x): [float(mp.re(c * mp.factorial(k))) for k, c in enumerate(mp.taylor(reference, mp.mpf(x), 10))]
            for name, reference in FUNCTIONS.items()
            for x in PLACES
            if np.isfinite(quiet(getattr(np, name))(x))
        }


def quiet(fun):
    def inner(x, rows=None):
        with np.errstate(all="ignore"):
            return fun(x)

    return inner


@pytest.mark.parametrize("accuracy", [4, 8])
@pytest.mark.parametrize("derivative", range(1, 11))
def test_estimates_cover_the_errors_of_higher_derivatives(derivative, accuracy, taylor):
    errors, estimates, statuses = [], [], []
    for (name, x), exact in taylor.items():
        found, estimate, _, status = adaptive_derivative(
            quiet(getattr(np, name)), np.array([x]), order=derivative, accuracy=accuracy
        )
        errors.append(abs(found[0, 0] - exact[derivative]))
        estimates.append(estimate[0, 0])
        statuses.append(status[0])
    share, ratio = share_and_ratio(errors, estimates)
    assert share >= 0.95
    assert 1 < ratio < 100
    assert np.isin(statuses, [FINE, INACCURATE]).all()
    if derivative <= 5:
        assert np.mean(np.array(statuses) == FINE) > 0.95


def test_the_smallest_estimate_is_looked_for_with_no_tolerance():
    for order in (4, 8):
        default = adaptive(Recorded(lambda x: np.exp(x[0])), np.array([1.0]), order=order)
        best = adaptive(Recorded(lambda x: np.exp(x[0])), np.array([1.0]), order=order, rtol=0.0)
        assert best[1] <= default[1]
        assert abs(best[0] - np.e) <= best[1]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_no_worse_than_numdifftools_on_its_functions(order, taylor):
    numdifftools = pytest.importorskip("numdifftools")
    ours, theirs = [], []
    for (name, x), exact in taylor.items():
        if (0 < x < 1 or name == "arccosh") and exact[order]:
            fun, size = quiet(getattr(np, name)), abs(exact[order])
            found = fg.finite.derivative(fun, x, order=order, method="adaptive")
            ours.append(abs(found - exact[order]) / size)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs.append(abs(float(numdifftools.Derivative(fun, n=order)(x)) - exact[order]) / size)
    for share in (0.5, 0.75, 0.9):
        assert np.quantile(ours, share) <= np.quantile(theirs, share)


@pytest.mark.parametrize("derivative", [1, 2, 3, 4])
def test_accuracy_8_errs_a_tenth_as_much_for_twice_the_points(derivative, taylor):
    errors, points = {4: [], 8: []}, {4: 0, 8: 0}
    for (name, x), exact in taylor.items():
        for accuracy in errors:
            found = fg.finite.derivative(
                quiet(getattr(np, name)), x, order=derivative, method="adaptive", accuracy=accuracy, trace=False,
                full_output=True,
            )  # fmt: skip
            errors[accuracy].append(abs(found.value - exact[derivative]))
            points[accuracy] += found.nfev
    for share in (0.5, 0.75, 0.9):
        assert np.quantile(errors[8], share) <= 0.1 * np.quantile(errors[4], share)
    assert points[8] <= 2 * points[4]


# ---- calls


def test_calls_are_few_and_a_level_is_one_of_them():
    x = np.linspace(-1.2, 1.1, 10)
    values = Recorded(rosenbrock)
    found, error, step, status = adaptive(values, x)
    assert [len(points) for points in values.calls] == [41]
    assert np.all(abs(found[:, 0] - fg.grad(rosenbrock)(x)) <= error[:, 0])
    assert (status == FINE).all()
    assert step.shape == (10,)


def test_the_value_at_x_is_not_asked_for_twice():
    x = np.array([1.0, 2.0])
    values = Recorded(lambda x: np.sum(x**3))
    found, *_ = adaptive(values, x, value=np.array([9.0]))
    assert not np.any((values.points == x).all(axis=1))
    np.testing.assert_allclose(found[:, 0], [3, 12], rtol=1e-10)


def test_points_that_would_fill_the_memory_come_in_blocks(monkeypatch):
    x = np.linspace(0.1, 1.0, 37)
    whole = adaptive(Recorded(lambda x: np.sum(np.exp(x))), x)
    monkeypatch.setattr(richardson, "_MOST", 1000)
    values = Recorded(lambda x: np.sum(np.exp(x)))
    parts = adaptive(values, x)
    assert max(points.size for points in values.calls) <= 1000 + len(x)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


# ---- the search


@pytest.mark.parametrize(
    ("fun", "at", "exact"),
    [
        (lambda x: np.sin(1e6 * x[0]), 0.3, 1e6 * np.cos(3e5)),
        (lambda x: np.sin(1e8 * x[0]), 1e-8, 1e8 * np.cos(1)),
        (lambda x: np.sin(x[0] / 1e8), 1e8, np.cos(1) / 1e8),
        (lambda x: 1 / x[0], 1e-3, -1e6),
        (lambda x: np.log(x[0]), 1e-12, 1e12),
        (lambda x: abs(x[0]), 1e-5, 1.0),
        (lambda x: 1e10 + x[0], 1.0, 1.0),
        (lambda x: np.cos(x[0]), 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("order", ORDERS)
def test_the_step_suits_the_function(fun, at, exact, order):
    found, error, _, _ = adaptive(Recorded(fun), np.array([at]), order=order)
    assert abs(found[0, 0] - exact) <= error[0, 0]
    assert error[0, 0] <= max(1e-6 * abs(exact), 1e-8)


def test_first_steps_are_powers_of_two_on_the_scale_of_x():
    steps = first_steps(np.array([0.0, 1e-9, -1.0, 3.0, 1e6]))
    assert (np.frexp(steps)[0] == 0.5).all()
    np.testing.assert_array_equal(steps / steps[0], [1, 1, 1, 2, 2**19])
    assert first_steps(np.zeros(1), eps=2.0**-23) > steps[0]


def test_given_steps_are_the_first():
    values = Recorded(lambda x: np.sum(x**2))
    adaptive(values, np.array([1.0, 2.0]), np.array([0.5, -0.125]))
    np.testing.assert_array_equal(np.unique(abs(values.points[:, 0] - 1)), [0, 0.5, 1])
    np.testing.assert_array_equal(np.unique(abs(values.points[:, 1] - 2)), [0, 0.125, 0.25])


# ---- statuses


def test_a_kink_is_not_accurate():
    _, error, _, status = adaptive(Recorded(lambda x: max(x[0], 0.0)), np.array([0.0]))
    assert status[0] == INACCURATE
    assert error[0, 0] > 0.1


def test_nan_stays_in_its_component():
    found, error, _, status = adaptive(
        Recorded(lambda x: x[0] ** 2 + x[2] + (np.nan if x[1] != 2 else 0)), np.array([1.0, 2.0, 3.0])
    )
    np.testing.assert_array_equal(status, [FINE, NOT_FINITE, FINE])
    np.testing.assert_allclose(found[:, 0], [2, np.nan, 1], rtol=1e-11)
    np.testing.assert_array_equal(np.isinf(error[:, 0]), [False, True, False])


def test_nan_stays_in_its_output():
    values = Recorded(lambda x: np.array([x[0], np.nan, x[1] ** 2]))
    found, _, _, status = adaptive(values, np.array([1.0, 2.0]))
    np.testing.assert_allclose(found, [[1, np.nan, 0], [0, np.nan, 4]], atol=1e-11)
    assert (status == NOT_FINITE).all()
    assert len(values.calls) == 1


def test_a_function_that_is_nowhere_finite():
    found, _, _, status = adaptive(Recorded(lambda x: np.inf), np.array([1.0]))
    assert np.isnan(found[0, 0])
    assert status[0] == NOT_FINITE


def test_at_the_edge_of_its_domain_a_function_has_a_derivative_from_inside():
    found, _, step, _ = adaptive(Recorded(lambda x: x[0] ** 2.5 + x[0]), np.array([0.0]))
    assert found[0, 0] == pytest.approx(1.0, abs=1e-6)
    assert step[0] > 0
    _, _, _, status = adaptive(Recorded(lambda x: np.sqrt(x[0])), np.array([0.0]))
    assert status[0] != FINE


def test_constants_are_zero_at_once():
    values = Recorded(lambda x: 5.0 + x[0])
    found, _, _, status = adaptive(values, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(found[1], [0])
    assert (status == FINE).all()
    assert len(values.calls) == 1


def test_every_status_has_a_message():
    assert sorted(MESSAGES) == [FINE, INACCURATE, NOT_FINITE, NO_ROOM]


def test_no_components_and_no_outputs():
    found, error, step, status = adaptive(lambda points: np.zeros((len(points), 3)), np.zeros(0))
    assert found.shape == error.shape == (0, 3)
    assert step.shape == status.shape == (0,)
    assert adaptive(lambda points: np.zeros((len(points), 0)), np.ones(2))[0].shape == (2, 0)


# ---- bounds


@pytest.mark.parametrize("order", ORDERS)
def test_bounds_are_never_left(order):
    rng = np.random.default_rng(order)
    n = 200
    width = 10.0 ** rng.uniform(-6, 3, n)
    lower = rng.normal(size=n)
    upper = lower + width
    x = np.clip(lower + width * rng.choice([0, 1e-9, 1e-3, 0.5, 0.999, 1], n), lower, upper)
    lower[::7], upper[::5] = -np.inf, np.inf
    values = Recorded(lambda x: np.sin(x).sum())
    found, error, step, status = adaptive(values, x, lower=lower, upper=upper, order=order)
    assert np.all((values.points >= lower) & (values.points <= upper))
    assert np.mean(abs(found[:, 0] - np.cos(x)) <= error[:, 0]) >= 0.95
    assert np.isin(status, [FINE, INACCURATE, NO_ROOM]).all()
    assert (step[(x == upper) & np.isfinite(lower)] < 0).all()


def test_a_scalar_bound_and_no_room():
    found, _, step, status = adaptive(Recorded(lambda x: np.exp(x).sum()), np.array([0.0, 1.0]), lower=0.0, upper=2.0)
    np.testing.assert_allclose(found[:, 0], np.exp([0, 1]), rtol=1e-9)
    assert (status == FINE).all()
    found, _, step, status = adaptive(
        Recorded(lambda x: np.exp(x).sum()), np.array([0.5, 1.0]), lower=np.array([0.5, 0]), upper=np.array([0.5, 2])
    )
    assert np.isnan(found[0, 0])
    np.testing.assert_array_equal(status, [NO_ROOM, FINE])
    assert step[0] == 0


def test_higher_derivatives_within_bounds():
    x = np.linspace(0, 1, 5)

    def values(points, _):
        assert points.min() >= 0
        assert points.max() <= 1
        return np.exp(points)

    for order in (1, 2, 3):
        found, error, _, _ = adaptive_derivative(values, x, order=order, lower=np.zeros(5), upper=np.ones(5))
        assert np.all(abs(found[:, 0] - np.exp(x)) <= error[:, 0])
        assert error.max() < 1e-3


# ---- values that are not exact


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: np.exp(x[0]) * np.sin(x[1]) + x[2] ** 2,
        lambda x: np.sin(300 * x[0]) + x[1] * x[2],  # goes on with other steps
        lambda x: np.float64(np.float32(np.sin(x).sum())),
        lambda x: 3.0 * x[0] + 0.0 * x[2],
        lambda x: np.sqrt(x[0] - 0.3) + np.abs(x[1] - 1.1) + np.log(x[2]),  # at the edge of where it is defined
        lambda x: 1e300 * x[0] ** 99 * x[1] * 1e10,
    ],
)
def test_the_plain_way_gives_the_same_bits(fun):
    x = np.array([0.3, 1.1, 7.0])
    values = Recorded(fun)
    with np.errstate(all="ignore"):
        value = np.array([fun(x)])
        plain = richardson.plain_adaptive(values, x, value, 2.0**-52)
        n_plain = len(values.points)
        general = adaptive(values, x, value=value, eps=2.0**-52)
    for one, other in zip(plain, general, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(values.points) == 2 * n_plain


@pytest.mark.parametrize("seed", range(20))
def test_single_precision_inside_is_noticed(seed):
    x = np.random.default_rng(seed).normal(size=3)

    def inner(x):  # a Python float, of values that are rounded to single precision
        return float(np.float32(np.sum(np.sin(x) * np.exp(x / 3))))

    exact = np.cos(x) * np.exp(x / 3) + np.sin(x) * np.exp(x / 3) / 3
    found, error, step, _status = adaptive(Recorded(inner), x)
    assert np.all(abs(found[:, 0] - exact) <= error[:, 0])
    assert 1e-7 < error.max() < 1e-3
    assert np.all(step > 1e-2)
    found, error, _, _ = adaptive_derivative(lambda t, _: np.float64(np.float32(np.sin(t))), x)
    assert np.all(abs(found[:, 0] - np.cos(x)) <= error[:, 0])


@pytest.mark.parametrize("digits", [None, 6])
def test_rounded_values_are_not_believed(digits):
    """Values that are rounded to fewer digits than they show look like lines, or constant, over short steps."""

    def rounded(x):
        value = np.exp(x[0])
        return round(float(value), digits) if digits else float(np.float32(value)) + 0.1

    misses = 0
    for x in np.random.default_rng(0).uniform(0.2, 3, 200):
        found, error, _, status = adaptive(Recorded(rounded), np.array([x]))
        miss = abs(found[0, 0] - np.exp(x))
        if status[0] == FINE:
            assert miss < 0.01 * np.exp(x)
            misses += miss > 100 * error[0, 0]
    assert misses < 0.1 * 200


@pytest.mark.parametrize("power", range(5))
def test_short_values_of_polynomials_are_exact(power):
    for x in (np.array([1.0, 2.0, 0.5]), np.array([0.3, 1.1, 7.0])):
        found, error, _, status = adaptive_derivative(lambda t, _: t**power, x)
        assert np.all(error[:, 0] <= 1e-11 * (1 + x**power))
        assert np.all(status == FINE)
        np.testing.assert_allclose(found[:, 0], power * x ** (power - 1.0), rtol=1e-11, atol=1e-11)


def test_float32_has_its_own_eps():
    x = np.array([1.0, 2.0])
    for values, point in (
        (Recorded(lambda x: np.sum(np.float32(x) ** 3, dtype=np.float32)), x),
        (Recorded(lambda x: np.sum(x**3)), x.astype(np.float32)),
    ):
        found, error, step, status = adaptive(values, point)
        assert np.all(abs(found[:, 0] - 3 * x**2) <= error[:, 0])
        assert 1e-8 < error.max() < 1e-2
        assert step.min() > 1e-3
        assert (status == FINE).all()


@pytest.mark.parametrize("noise", [1e-10, 1e-6, 1e-3])
def test_known_noise_makes_longer_steps(noise):
    rng = np.random.default_rng(3)
    covered = []
    for x in np.linspace(0.5, 2, 40):
        values = Recorded(lambda x: np.exp(x[0]) + noise * rng.uniform(-1, 1))
        found, error, step, _ = adaptive(values, np.array([x]), noise=noise)
        covered.append(abs(found[0, 0] - np.exp(x)) <= error[0, 0])
        assert error[0, 0] < 100 * noise**0.7
        assert step[0] > 0.3 * noise**0.25
        assert len(values.points) <= 30
    assert np.mean(covered) >= 0.95


# ---- several outputs, several numbers


def test_outputs_share_steps_and_keep_their_own_errors():
    x = np.array([0.5, 1.5])
    values = Recorded(lambda x: np.array([np.sin(1e3 * x[0]), x[0] * x[1], 3.0]))
    found, error, _, status = adaptive(values, x)
    exact = np.array([[1e3 * np.cos(500), x[1], 0], [0, x[0], 0]])
    assert found.shape == error.shape == (2, 3)
    assert np.all(abs(found - exact) <= error)
    assert np.isin(status, [FINE, INACCURATE]).all()
    assert error[0, 0] < 1e-9 * abs(exact[0, 0])
    assert error[0, 1] < 1e-10


def test_derivatives_of_many_numbers_at_once():
    x = np.linspace(0, 6, 100)
    calls = []

    def values(points, rows):
        calls.append((points.shape, rows))
        return np.sin(points)

    found, error, _, status = adaptive_derivative(values, x, order=2)
    assert np.mean(abs(found[:, 0] + np.sin(x)) <= error[:, 0]) > 0.95
    assert np.mean(status == FINE) > 0.95  # near a zero of the derivative, its relative error is what it is
    assert calls[0] == ((5, 100), None)
    assert all(shape == (4, len(rows)) for shape, rows in calls[1:])
    calls.clear()
    given = adaptive_derivative(values, x, order=2, value=np.sin(x))
    np.testing.assert_array_equal(given[0], found)
    assert calls[0] == ((4, 100), None)


def test_a_number_may_have_many_values():
    found, error, _, _ = adaptive_derivative(
        lambda t, _: np.stack([np.sin(t), t**3], axis=2), np.array([2.0]), order=3, accuracy=6
    )
    assert np.all(abs(found - [[-np.cos(2), 6]]) <= error)


def test_tolerances_grow_with_the_derivative():
    for order in ORDERS:
        asked = [tolerance(k, order, 2.0**-52) for k in (1, 2, 3, 4)]
        assert asked == sorted(asked)
