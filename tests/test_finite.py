import math
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from finite_cases import INF, METHODS, TOLERANCE, curve, random, recorded, rosen, shifted, slopes

import fastgrad as fg
from fastgrad import finite

EPS = np.finfo(float).eps
RNG = np.random.default_rng(0)

# ---- the same as SciPy's


STEPS = [{}, {"rel_step": 1e-5}, {"abs_step": 1e-4}, {"rel_step": [1e-5, 0, 1e-7]}]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", STEPS, ids=str)
@pytest.mark.parametrize("bounds", [(-INF, INF), (-1e-9, 2.0), ([-3, 0.5, 0.0], [0.0, 0.5001, 1e-9])], ids=str)
def test_jacobians_are_those_of_scipy_bit_by_bit(method, options, bounds):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    for x in ([0.0, 0.5, 1e-9], [-0.0, 0.50005, 0.0]):
        fun = curve
        expected, info = numdiff.approx_derivative(fun, x, method, bounds=bounds, full_output=True, **options)
        found = finite.jacobian(fun, x, method=method, bounds=bounds, trace=False, full_output=True, **options)
        np.testing.assert_array_equal(found.value, expected)
        assert found.nfev == info["nfev"] + 2 * (method == "cs")  # to check that it is analytic


@pytest.mark.parametrize("method", ["2-point", "3-point"])
def test_gradients_far_from_one_are_those_of_scipy(method):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    x = random(12) * 10.0 ** np.arange(-6, 6)
    expected = numdiff.approx_derivative(rosen, x, method)
    np.testing.assert_array_equal(finite.gradient(rosen, x, method=method, trace=False), expected)
    if method == "2-point":
        optimize = pytest.importorskip("scipy.optimize")
        np.testing.assert_array_equal(
            finite.gradient(rosen, x[4:7], method=method, trace=False, kind="forward", abs_step=1e-8),
            optimize.approx_fprime(x[4:7], rosen, 1e-8),
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", STEPS, ids=str)
@pytest.mark.parametrize("bounds", [(-INF, INF), (-1e-9, 2.0), ([-3, 0.5, 0.0], [0.0, 0.5001, 1e-9])], ids=str)
def test_gradients_with_arguments_are_those_of_scipy_bit_by_bit(method, options, bounds):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    options = {"bounds": bounds, "args": (0.25,), "kwargs": {"scale": 3.0}, **options}
    for x in ([0.0, 0.5, 1e-9], [-0.0, 0.50005, 0.0]):
        expected = numdiff.approx_derivative(shifted, x, method, **options)
        np.testing.assert_array_equal(finite.gradient(shifted, x, method=method, trace=False, **options), expected)
        matrix = finite.jacobian(
            shifted, x, method=method, trace=False, f0=shifted(np.array(x), 0.25, scale=3.0), **options
        )
        np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize("options", [{}, {"rel_step": 1e-2}, {"abs_step": 1e-2}, {"bounds": (-2.0, 1.5)}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_float32_takes_scipys_points(dtype, options):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    scipy_version = tuple(map(int, pytest.importorskip("scipy").__version__.split(".")[:2]))
    x = np.array([1.5, -2.0, 0.25], np.float32)

    def fun(x):
        return rosen(x).astype(dtype)

    for method in ("2-point", "3-point"):
        ours, theirs = [], []
        found = finite.gradient(recorded(fun, ours), x, method=method, trace=False, full_output=True, **options)
        expected = numdiff.approx_derivative(recorded(fun, theirs), x, method, **options)
        assert found.value.dtype == np.float32
        assert all(point.dtype == np.float32 for point in ours)
        np.testing.assert_array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))
        if method == "2-point" and scipy_version < (1, 18):  # it divides by the step before rounding to float32
            expected = expected * found.step / (np.array(ours[1:]).diagonal() - x)
        np.testing.assert_allclose(found.value, expected, rtol=2e-7)
        if not options:
            np.testing.assert_allclose(found.value, fg.grad(rosen)(x.astype(np.float64)), rtol=5e-3)


def test_directions_are_those_of_scipys_linear_operator():
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    x, v = np.array([0.3, -0.2, 0.7]), np.array([1.0, 2.0, -0.5])
    for method in METHODS:
        operator = numdiff.approx_derivative(curve, x, method, as_linear_operator=True)
        found = finite.directional(curve, x, v, method=method)
        np.testing.assert_allclose(found, operator @ v, rtol=TOLERANCE[method])
        np.testing.assert_allclose(found, slopes(x) @ v, rtol=10 * TOLERANCE[method])


# ---- values, shapes, dtypes


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("trace", [False, True])
def test_gradients_jacobians_and_hessians_are_right(method, trace):
    x = random(5)
    exact = fg.grad(rosen)(x)
    tolerance = TOLERANCE[method] * np.abs(exact).max()
    np.testing.assert_allclose(finite.gradient(rosen, x, method=method, trace=trace), exact, atol=10 * tolerance)
    np.testing.assert_allclose(
        finite.jacobian(curve, x[:3], method=method, trace=trace), slopes(x), atol=10 * TOLERANCE[method]
    )
    matrix = finite.hessian(rosen, x, method=method, trace=trace)
    np.testing.assert_array_equal(matrix, matrix.T)
    exact = fg.hessian(rosen)(x)
    accuracy = {"2-point": 1e-4, "3-point": 1e-6, "cs": 1e-9}[method]
    np.testing.assert_allclose(matrix, exact, atol=accuracy * np.abs(exact).max())


def test_nothing_is_squeezed():
    x = random(2, 3)
    assert finite.gradient(np.sum, x).shape == (2, 3)
    assert finite.gradient(np.sum, np.float64(2.0)).shape == ()
    assert finite.gradient(np.sum, [1.0]).shape == (1,)
    assert finite.jacobian(lambda x: x[:1], x).shape == (1, 3, 2, 3)
    assert finite.jacobian(np.sum, [1.0]).shape == (1,)
    assert finite.jacobian(lambda x: np.ones((2, 1)) * x, 1.0).shape == (2, 1)
    assert finite.jacobian(lambda x: x, np.ones((0, 2))).shape == (0, 2, 0, 2)
    assert finite.hessian(np.sum, x).shape == (2, 3, 2, 3)
    assert finite.hessian(np.sum, 1.0).shape == ()
    assert finite.derivative(np.sin, x).shape == (2, 3)
    assert isinstance(finite.derivative(math.sin, 1.0), float)
    assert finite.derivative(lambda t: np.array([t, t * t]), x).shape == (2, 3, 2)
    assert finite.directional(curve, x[0], x[1]).shape == (3,)


@pytest.mark.parametrize("method", [*METHODS, "adaptive"])
def test_points_of_every_kind(method):
    even = np.arange(8.0).reshape(4, 2)
    for x in (
        [],
        [1, 2],
        [True, False],
        np.float16([1, 2]),
        even[::2, ::-1],
        even.astype(">f8").T,
        np.broadcast_to(2.0, 3),
    ):
        found = finite.gradient(lambda x: np.sum(x * x), x, method=method)
        assert found.shape == np.shape(x)
        np.testing.assert_allclose(found, 2.0 * np.asarray(x), atol=1e-2 if found.dtype == np.float32 else 1e-6)
        assert finite.hessian(lambda x: np.sum(x * x), x, method=method).shape == np.shape(x) * 2
    fixed = np.ones(3)
    fixed.flags.writeable = False
    finite.gradient(np.sum, fixed, method=method)


def test_a_jacobian_has_the_value_first():
    x = random(2, 3)
    found = finite.jacobian(lambda x: np.stack([np.sin(x), x**2]), x)
    expected = fg.jacobian(lambda x: np.stack([np.sin(x), x**2]))(x)
    assert found.shape == (2, 2, 3, 2, 3)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_integers_become_floats_and_float32_stays():
    assert finite.gradient(np.sum, [1, 2]).dtype == np.float64
    assert finite.gradient(np.sum, np.float32([1, 2])).dtype == np.float32
    assert finite.derivative(np.sin, np.float32(1)).dtype == np.float32
    with pytest.raises(TypeError, match="x0 has dtype complex128"):
        finite.gradient(np.sum, [1j])


@pytest.mark.parametrize("vectorized", [False, True])
def test_the_value_in_float32_sets_the_step(vectorized):
    axis = -1 if vectorized else None

    def single(x):
        return np.sum(np.sin(x), axis=axis, dtype=np.float64).astype(np.float32)

    x = np.array([0.5, 1.5])
    found = finite.gradient(single, x, vectorized=vectorized, trace=False, full_output=True)
    assert found.value.dtype == np.float64
    np.testing.assert_allclose(found.step, np.finfo(np.float32).eps ** (1 / 3) * np.maximum(1, x), rtol=1e-6)
    np.testing.assert_allclose(found.value, np.cos(x), atol=1e-4)


def test_integer_values_are_not_precise_values():
    np.testing.assert_allclose(finite.gradient(lambda x: 3 if x[0] < 0 else 3 * x[0], [1.0], trace=False), [3.0])
    np.testing.assert_allclose(finite.gradient(lambda x: int(x[0]) if x[0] == 1 else x[0], [1.0], trace=False), [1.0])


# ---- derivatives of higher order


def rounding(points, weights, values):
    """How far rounding takes a difference at most, in units of h^order: eps / 2 for each operation.

    Each value, its weight and their product round, the sums of them, and at the end the power of the step (as much as
    two roundings), the denominator, its product with that and the quotient.
    """
    return (len(points) + 7) * EPS / 2 * sum(abs(w * v) for w, v in zip(weights, values, strict=True))


@pytest.mark.parametrize("order", range(1, 11))
@pytest.mark.parametrize("kind", ["central", "forward", "backward"])
def test_polynomials_up_to_the_degree_of_the_scheme_are_exact(order, kind):
    step = 0.5  # all points are numbers without rounding
    for accuracy in (2, 4, 6, 8) if kind == "central" else range(1, 9):
        offsets, weights = fg.grid.coefficients(order, accuracy, kind)
        root = (offsets[0] + offsets[-1]) / 2 - 0.5  # among the points, so that values are small
        for x in (0.0, -1.25, 40.0):
            for degree in range(order + accuracy):
                seen = []
                power = recorded(lambda t, at, degree: float((Fraction(float(t)) - at) ** degree), seen)  # rounded once
                found = finite.derivative(
                    power, x, order=order, accuracy=accuracy, kind=kind, abs_step=step, trace=False,
                    args=(Fraction(x + step * root), degree),
                )  # fmt: skip
                used = {x + step * o for o, w in zip(offsets, weights, strict=True) if w}
                assert set(map(float, seen)) == used | {x}
                exact = math.perm(degree, order) * (-step * root) ** max(degree - order, 0)
                values = [(step * (o - root)) ** degree for o in offsets]
                bound = rounding(offsets, weights, values) / step**order
                assert abs(found - exact) <= bound
                assert bound < 1e-6 * max(abs(exact), math.factorial(order))  # which says something


@pytest.mark.parametrize("order", range(1, 11))
@pytest.mark.parametrize("kind", ["central", "forward", "backward"])
@pytest.mark.parametrize("accuracy", [2, 4, 6, 8])
def test_default_steps_are_about_the_best(order, kind, accuracy):
    offsets, weights = fg.grid.coefficients(order, accuracy, kind)
    moments = [
        float(abs(sum(w * o**power for w, o in zip(weights, offsets, strict=True)))) / math.factorial(power)
        for power in range(order + accuracy, order + accuracy + 60)
    ]

    def bound(h, x):
        """Of the error for a sine: all derivatives are at most 1, and moving by eps x takes values so far at most."""
        with np.errstate(all="ignore"):
            truncated = sum(moment * h ** (accuracy + k) for k, moment in enumerate(moments))
        return truncated + rounding(offsets, weights, [1 + abs(x) + h * abs(o) for o in offsets]) / h**order

    for x in (-0.5, 0.0, 0.8):
        found = finite.derivative(np.sin, x, order=order, accuracy=accuracy, kind=kind, trace=False, full_output=True)
        h = abs(float(found.step))
        assert abs(found.value - np.sin(x + order * np.pi / 2)) <= bound(h, x)
        assert bound(h, x) <= 3 * min(bound(h * 2.0 ** (k / 4), x) for k in range(-24, 25))


@pytest.mark.parametrize(("method", "kind", "accuracy", "expected"), [
    ("2-point", None, None, 1), ("2-point", "backward", None, 1), ("3-point", None, None, 2),
    ("3-point", "forward", None, 2), ("3-point", None, 6, 6), ("3-point", "backward", 3, 3),
])  # fmt: skip
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_order_of_convergence_is_the_stated_one(method, kind, accuracy, expected, order):
    errors = [
        abs(
            finite.derivative(np.exp, 0.1, order=order, method=method, kind=kind, accuracy=accuracy, abs_step=h)
            - np.exp(0.1)
        )
        for h in ((0.1 * order, 0.05 * order) if expected == 6 else (0.04, 0.02))
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(expected, abs=0.35)


def test_hessians_converge_as_stated():
    x = np.array([0.3, 0.8])

    def fun(x):
        return np.exp(x[0]) * np.sin(x[1]) + np.cos(2 * x[0] * x[1])

    exact = fg.hessian(fun)(x)
    for method, bounds, expected in [
        ("2-point", (-INF, INF), 1), ("3-point", (-INF, INF), 2), ("3-point", ([0.3, -INF], INF), 2),
        ("3-point", (-INF, [0.3, 0.8]), 2), ("cs", (-INF, INF), 2), ("cs", ([0.3, -INF], INF), 2),
    ]:  # fmt: skip
        errors = [
            np.abs(finite.hessian(fun, x, method=method, bounds=bounds, abs_step=h) - exact) for h in (0.004, 0.002)
        ]
        np.testing.assert_allclose(np.log2(errors[0] / errors[1]), expected, atol=0.2, err_msg=f"{method} {bounds}")


def test_directional_derivatives_of_higher_order():
    x, v = np.array([1.0, 2.0]), np.array([0.5, -1.0])
    found = finite.directional(lambda x: x[0] ** 2 * x[1], x, v, order=2)
    hessian = np.array([[2 * x[1], 2 * x[0]], [2 * x[0], 0]])
    np.testing.assert_allclose(found, v @ hessian @ v, rtol=1e-6)
    np.testing.assert_allclose(finite.directional(np.sum, x * 1e9, v), -0.5, rtol=1e-6)
    assert finite.directional(np.sum, x, 0 * v) == 0


# ---- sides, bounds


def test_kinds_say_on_which_side_points_lie():
    for method in ("2-point", "3-point"):
        for kind, sign in (("forward", 1), ("backward", -1)):
            seen = []
            found = finite.gradient(recorded(rosen, seen), [-1.0, 2.0], method=method, kind=kind, trace=False)
            assert (sign * (np.array(seen) - [-1.0, 2.0]) >= 0).all()
            np.testing.assert_allclose(found, fg.grad(rosen)(np.array([-1.0, 2.0])), rtol=1e-5)
    assert finite.derivative(abs, 0.0, kind="forward") == 1
    assert finite.derivative(abs, 0.0, kind="backward") == -1


@pytest.mark.parametrize(
    "method", ["2-point", "3-point", "hessian 2-point", "hessian 3-point", "order 3", "direction", "noise"]
)
def test_bounds_are_never_left(method):
    rng = np.random.default_rng(8)
    for _ in range(60):
        lower = rng.normal(size=4)
        upper = lower + rng.choice([1e-9, 1e-6, 1e-3, 10.0], 4)
        x = np.clip(lower + rng.choice([0, 1e-9, 1e-6, 0.5, 1], 4) * (upper - lower), lower, upper)
        seen = []
        fun = recorded(rosen, seen)
        options = {"bounds": (lower, upper), "trace": False}
        if method.startswith("hessian"):
            found = finite.hessian(fun, x, method=method.split()[1], **options)
        elif method == "order 3":
            found = finite.derivative(recorded(np.sin, seen), x, order=3, **options)
        elif method == "direction":
            found = finite.directional(fun, x, [1.0, -1.0, 0.5, 0.0], **options)
        elif method == "noise":
            found = finite.gradient(fun, x, noise=1e-6, **options)
        else:
            found = finite.gradient(fun, x, method=method, **options)
        if method == "order 3":
            for point in seen:
                assert np.any((lower <= point) & (point <= upper) & (np.abs(point - x) <= upper - lower))
        else:
            assert all(np.all((lower <= point) & (point <= upper)) for point in seen)
        if method in ("2-point", "3-point") and (upper - lower).min() > 1e-4:
            np.testing.assert_allclose(found, fg.grad(rosen)(x), rtol=1e-4, atol=1e-3)


def test_equal_bounds_leave_no_room():
    found = finite.gradient(rosen, [1.0, 2.0], bounds=([1.0, 0.0], [1.0, 9.0]), full_output=True)
    np.testing.assert_array_equal(np.isnan(found.value), [True, False])
    np.testing.assert_array_equal(found.status, [3, 0])
    assert "bounds" in found.message
    assert not found.success


def test_bounds_may_be_an_object():
    box = fg.Bounds([0.0, 0.0], INF)
    np.testing.assert_allclose(
        finite.gradient(lambda x: np.sum(np.sqrt(x) ** 3), [0.0, 1.0], bounds=box), [0, 1.5], atol=1e-2
    )


# ---- what goes wrong


def test_a_nan_stays_where_it_is():
    def fun(x):
        return np.log(x).sum() if x[1] <= 1.0 else np.nan

    with np.errstate(all="ignore"):
        found = finite.gradient(fun, [1.0, 1.0, 2.0], method="3-point", trace=False, full_output=True)
        np.testing.assert_allclose(found.value, [1.0, np.nan, 0.5], rtol=1e-8)
        np.testing.assert_array_equal(found.status, [0, 2, 0])
        assert found.message.startswith("the derivative is not finite")
        assert "1 of 3" in found.message
        matrix = finite.hessian(fun, [1.0, 1.0, 2.0], trace=False)
        assert np.isfinite(matrix[[0, 2]][:, [0, 2]]).all()
        assert np.isnan(matrix[1, 1])
        many = finite.derivative(np.log, [1.0, -1.0, 2.0], vectorized=True, full_output=True)
        np.testing.assert_allclose(many.value, [1.0, np.nan, 0.5], rtol=1e-8)
        np.testing.assert_array_equal(many.status, [0, 2, 0])
    at = finite.gradient(rosen, [1.0, np.nan, 2.0, 3.0], full_output=True)
    assert np.isnan(at.value).any()


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: np.sum(np.abs(x)),
        lambda x: np.sum((x * np.conj(x)).real),
        lambda x: np.sum(x.real**2),
        lambda x: np.sum(x**2) + np.abs(x[0]),
    ],
)
def test_complex_steps_refuse_what_is_not_analytic(fun):
    with pytest.raises(ValueError, match="not analytic"):
        finite.gradient(fun, [1.0, -2.0], method="cs")


def test_complex_steps_accept_what_is_analytic():
    for fun in (
        lambda x: np.sum(np.exp(x) / (np.sin(x) ** 3 + np.cos(x) ** 3)),
        lambda x: 1e9 + np.sum(x**4),
        lambda x: x[0] * 0.0,
    ):
        for x in ([1.5, 0.3], [1e-9, 1e5], [0.0, 0.0]):
            with np.errstate(all="ignore"):
                found = finite.gradient(fun, x, method="cs", full_output=True)
            assert found.value.shape == (2,)
    np.testing.assert_allclose(
        finite.derivative(np.exp, [0.0, 1.0, -40.0], method="cs"), np.exp([0.0, 1.0, -40.0]), rtol=1e-13
    )
    for fun, x in [(lambda x: x**3, 0.0), (lambda x: x - np.sin(x), 0.0), (lambda x: (x - 1e4) ** 5, 1e4)]:
        assert abs(finite.derivative(fun, x, method="cs")) < 1e-15  # where real differences see but curvature
    with pytest.raises(TypeError, match="cannot take complex"):
        finite.gradient(lambda x: np.hypot(x[0], 1), [1.0], method="cs")
    with pytest.raises(ValueError, match="order is 2, but method is 'cs'"):
        finite.derivative(np.exp, 1.0, method="cs", order=2)


@pytest.mark.parametrize(("dtype", "far", "atol"), [(np.float64, 1e6, 1e-9), (np.float32, 1e4, 1e-2)])
def test_complex_steps_have_all_digits_far_from_zero(dtype, far, atol):
    for x in (1e4, 1e5, 3e5, 1e6, 1e7, 1e12) if dtype == np.float64 else (1e3, 1e4):
        found = finite.derivative(np.sin, dtype(x), method="cs")
        np.testing.assert_allclose(found, np.cos(dtype(x)), rtol=4 * np.finfo(dtype).eps)
    for _ in range(50):  # phases are rounded
        frequency, weight = RNG.uniform(0.2, 3, 3).astype(dtype), RNG.normal(size=3).astype(dtype)

        def fun(x, frequency=frequency, weight=weight):
            return np.sum(weight * np.sin(frequency * x))

        x = RNG.uniform(-far, far, 3).astype(dtype)
        exact = weight * frequency * np.cos(frequency * x.astype(float))
        np.testing.assert_allclose(finite.gradient(fun, x, method="cs"), exact, atol=atol)
        np.testing.assert_allclose(finite.directional(fun, x, [1, 2, 0], method="cs"), exact @ [1, 2, 0], atol=atol)
        exact = np.sum(weight * frequency * np.cos(frequency * float(x[0])))
        np.testing.assert_allclose(finite.derivative(fun, x[0], method="cs"), exact, atol=atol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x", [-3.0, 70.0, -1e4, 1e5, -1e6])
@pytest.mark.parametrize("fun", [np.abs, np.conj, lambda x: x.real**2, lambda x: (x * np.conj(x)).real])
def test_complex_steps_refuse_what_is_not_analytic_far_from_zero(fun, x, dtype):
    with pytest.raises(ValueError, match="not analytic"):
        finite.derivative(fun, dtype(x), method="cs")
    with pytest.raises(ValueError, match="not analytic"):
        finite.directional(lambda x: fun(x[0]), np.array([x, 1], dtype), [2.0, 0.0], method="cs")


@pytest.mark.parametrize("fun", [
    lambda x: np.abs(np.sin(x)), lambda x: np.sin(x.real), lambda x: np.sin(x) + 0.3 * np.sin(x.real)
])  # fmt: skip
def test_curvature_hides_no_slope_far_from_zero(fun):
    n_refused = 0
    for x in RNG.uniform(-1e6, 1e6, 50):
        try:
            finite.derivative(fun, x, method="cs")
        except ValueError:
            n_refused += 1
    assert n_refused >= 48


def test_imaginary_steps_may_be_shorter_than_rounding():
    assert abs(finite.derivative(lambda x: np.sin(1e6 * x), 1.0, method="cs") / 1e6 - np.cos(1e6)) > 1e-9
    found = finite.derivative(lambda x: np.sin(1e6 * x), 1.0, method="cs", abs_step=1e-20, full_output=True)
    np.testing.assert_allclose(found.value, 1e6 * np.cos(1e6), rtol=1e-12)
    assert found.step == 1e-20


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: finite.gradient(3, [1.0]), TypeError, "fun is 3"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], method="4-point"), ValueError, "method is '4-point'"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], method="2-point", kind="central"), ValueError, "kind is 'central'"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], kind="up"), ValueError, "kind is 'up'"),
    (lambda: finite.hessian(rosen, [1.0, 2.0], method="5-point"), ValueError, "method is '5-point'"),
    (lambda: finite.gradient(curve, [1.0, 2.0, 3.0]), fg.ShapeError, "curve returns an array of shape"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], bounds=(3, 4)), ValueError, "x0 lies outside bounds"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], bounds=(4, 3)), ValueError, "lower <= upper"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], bounds=([0, 0, 0], 3)), ValueError, r"bounds\[0\] has shape"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], bounds=(0, 1, 3)), ValueError, "bounds has 3 entries"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], abs_step=[1.0, 2.0, 3.0]), ValueError, "abs_step has shape"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], abs_step=np.nan), ValueError, "abs_step is nan"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], rel_step=[0.1, INF]), ValueError, "rel_step is .*inf"),
    (lambda: finite.hessian(rosen, [1.0, 2.0], rel_step=np.nan, method="adaptive"), ValueError, "rel_step is nan"),
    (lambda: finite.directional(rosen, [1.0, 2.0], [1.0, 2.0], rel_step=np.nan), ValueError, "rel_step is nan"),
    (lambda: finite.jacobian(np.sin, [1.0], abs_step=np.nan, as_linear_operator=True), ValueError, "abs_step is nan"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], noise=-1.0), ValueError, "noise is -1.0"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], workers=0), ValueError, "workers is 0"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], workers=map, vectorized=True), ValueError, "choose one"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], vectorized=True), fg.ShapeError, "for 5 points"),
    (lambda: finite.gradient(lambda x: None, [1.0, 2.0]), TypeError, "value of fun has dtype object"),
    (lambda: finite.gradient(lambda x: 1j, [1.0, 2.0]), TypeError, "value of fun has dtype complex"),
    (lambda: finite.gradient(lambda x: None if x[0] > 1 else 1.0, [1.0, 2.0], trace=False), TypeError,
     "fun returned None"),
    (lambda: finite.jacobian(lambda x: np.ones(2 + (x[0] > 1)), [1.0, 2.0], trace=False), fg.ShapeError,
     r"shape \(3,\)"),
    (lambda: finite.gradient(lambda x: x if x[0] > 1 else 1.0, [1.0, 2.0], trace=False), fg.ShapeError,
     r"shape \(2,\)"),
    (lambda: finite.derivative(np.sin, 1.0, order=11), ValueError, "order is 11"),
    (lambda: finite.derivative(np.sin, []), ValueError, "x0 is empty"),
    (lambda: finite.derivative(np.sin, [1.0, 2.0], f0=1.0), ValueError, "f0 is the value at one number"),
    (lambda: finite.directional(rosen, [1.0, 2.0], [1.0]), fg.ShapeError, "direction has shape"),
    (lambda: finite.directional(rosen, [1.0, 2.0], [1.0, INF]), ValueError, "direction is not finite"),
])  # fmt: skip
def test_errors_name_the_argument_and_the_cure(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("x", [[1.0, INF], [-INF, 2.0], [np.nan, 1.0]], ids=str)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"abs_step": 1e-3}, {"bounds": (-INF, INF), "kind": None}], ids=str)
def test_points_that_are_not_finite_give_nan_without_warnings(method, x, options):
    bad = ~np.isfinite(x)
    found = finite.gradient(lambda x: x[0] + x[1] + x[1], x, method=method, full_output=True, trace=False, **options)
    assert np.isnan(found.value[bad]).all()
    assert (found.status[bad] == 2).all()
    found = finite.jacobian(lambda x: x + x, x, method=method, full_output=True, trace=False, **options)
    assert np.isnan(found.value[bad, bad]).all()
    np.testing.assert_allclose(found.value[~bad, ~bad], 2, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(finite.derivative(lambda x: x + x, x, method=method, **options)), bad)
    found = finite.directional(np.sum, x, [1.0, 1.0], method=method, **options)
    assert np.isnan(found) or (method == "cs" and found == 2)  # what is linear has one slope everywhere
    options.pop("kind", None)
    assert np.isnan(finite.hessian(np.sum, x, method=method, **options)[bad]).all()


@pytest.mark.parametrize("method", [*METHODS, "adaptive"])
@pytest.mark.parametrize("vectorized", [False, True])
def test_nothing_has_no_derivatives(method, vectorized):
    x = np.empty((2, 0))
    options = {"method": method, "vectorized": vectorized}
    axes = (-2, -1)
    assert finite.gradient(lambda x: x.sum(axes), x, **options).shape == (2, 0)
    assert finite.gradient(lambda x: x.sum(axes), x, bounds=(0, 1), full_output=True, **options).success
    assert finite.hessian(lambda x: x.sum(axes), x, **options).shape == (2, 0, 2, 0)
    found = finite.jacobian(lambda x: np.zeros((*x.shape[:-2], 3)), x, **options)
    assert found.shape == (3, 2, 0)


def test_steps_follow_values_of_half_precision():
    for method, rtol in (("2-point", 0.03), ("3-point", 0.01)):
        for x in ([1.3], np.float32([1.3])):
            found = finite.gradient(lambda x: np.float16(x[0] ** 2), x, method=method)
            np.testing.assert_allclose(found, 2.6, rtol=rtol)
            found = finite.gradient(lambda x: np.float16(x[:, 0] ** 2), x, method=method, vectorized=True)
            np.testing.assert_allclose(found, 2.6, rtol=rtol)
    # points of half precision are given as float32, and so are values then
    np.testing.assert_allclose(finite.gradient(lambda x: x[0] ** 2, np.float16([1.3])), 2 * np.float16(1.3), rtol=1e-4)


def test_directions_of_any_length():
    def square(x):
        return x[0] ** 2 * scale

    for scale, length in ((1e180, 1e-170), (1e-180, 1e200), (1.0, 5e-324)):
        for method in [*METHODS, "adaptive"]:
            found = finite.directional(square, [1.0, 1.0], [length, 0.0], method=method)
            np.testing.assert_allclose(found, 2 * scale * length, rtol=1e-6)
    scale = 1e-180
    found = finite.directional(square, [1.0, 1.0], [1e120, 0.0], order=2, full_output=True)
    np.testing.assert_allclose(found.value, 2e60, rtol=1e-6)
    np.testing.assert_allclose(finite.directional(square, [1.0, 1.0], [1e120, 0.0], abs_step=1e-125), 2e-60, rtol=1e-4)
    assert finite.directional(square, [1.0, 1.0], [1e200, 1e200], method="cs") == pytest.approx(2e20)


def test_float32_points_stay_within_bounds():
    for x, room in ((1.0, 1e-3), (1e4, 1e-2), (0.1, 1e-8)):
        x = np.float32([x, x])
        bounds = float(x[0]) - room, float(x[0]) + room
        for method in ("2-point", "3-point", "adaptive"):
            for call in (finite.gradient, finite.hessian):
                seen = []
                call(recorded(np.sum, seen), x, method=method, bounds=bounds, trace=False)
                assert bounds[0] <= np.min(seen).astype(float)
                assert np.max(seen).astype(float) <= bounds[1]


def test_errors_of_the_function_come_through():
    def fun(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        finite.gradient(fun, [1.0])


# ---- results


def test_full_output():
    found = finite.gradient(rosen, random(2, 2)[0], full_output=True)
    assert isinstance(found, finite.Difference)
    assert found.error is None
    assert found.success
    assert found.message == "as accurate as the method promises"
    assert found.step.shape == found.status.shape == (2,)
    assert "nfev: 5" in repr(found)
    assert pickle.loads(pickle.dumps(found)).nfev == 5
    found = finite.jacobian(lambda x: np.outer(x, x), random(3), full_output=True)
    assert (found.value.shape, found.step.shape, found.status.shape) == ((3, 3, 3), (3,), (3,))
    found = finite.derivative(np.sin, 1.0, full_output=True)
    assert (np.shape(found.value), np.shape(found.step), found.status) == ((), (), 0)
    found = finite.directional(curve, random(3), random(3), full_output=True)
    assert (found.value.shape, found.status, found.nfev) == ((3,), 0, 3)
    assert finite.directional(curve, random(3), np.zeros(3), full_output=True).status == 0


def test_importing_fastgrad_does_not_import_it():
    code = "import sys, fastgrad; assert not any('finite' in name for name in sys.modules); fastgrad.finite.gradient"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_jump_beside_a_smooth_value_does_not_spoil_it():
    found = fg.finite.directional(
        lambda x: np.array([np.sin(x[0]), 1.0 * (x[0] > 2.3)]), [2.3], [1.0], method="adaptive", full_output=True
    )
    assert abs(found.value[0] - np.cos(2.3)) <= found.error[0] < 1e-9
    assert found.status == 1  # of the jump


def test_errors_of_linear_functions_far_from_zero_are_covered():
    x0 = np.array([123456.789, 1e6 / 3])
    found = fg.finite.jacobian(
        lambda x: 1e3 * (x - x0), x0, method="adaptive", sparsity=np.eye(2), trace=False, full_output=True
    )
    assert np.all(abs(found.value.data - 1e3) <= found.error.data)
    found = fg.finite.directional(lambda x: 1e3 * (x[0] - x0[0]), x0, [0.1, 0.0], method="adaptive", full_output=True)
    assert abs(found.value - 100) <= found.error


@pytest.mark.parametrize("method", ["2-point", "3-point", "adaptive", "cs"])
def test_functions_may_write_into_their_numbers(method):
    def cube(x):
        y = x**3
        x *= 0
        return y

    settings = {"method": method, "vectorized": True}
    for x in (2.0, [2.0, 3.0]):
        expected = 3 * np.asarray(x) ** 2
        np.testing.assert_allclose(fg.finite.derivative(cube, x, **settings), expected, rtol=1e-7)
    np.testing.assert_allclose(fg.finite.derivative(cube, 2.0, f0=8.0, **settings), 12, rtol=1e-7)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_slopes_that_cancel_do_not_hide_what_is_not_analytic(n):
    for signs in np.ndindex(*[2] * n):
        with pytest.raises(ValueError, match="not analytic"):
            fg.finite.gradient(lambda x: np.sum(np.abs(x)), 0.5 - np.array(signs), method="cs", trace=False)
