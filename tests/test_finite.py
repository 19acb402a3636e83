import functools
import math
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastgrad as fg
from fastgrad import finite

INF = np.inf


def rosen(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def curve(x):
    return np.array([x[0] * x[1], np.sin(x[1]), np.exp(x[2]) * x[0]])


def slopes(x):
    return np.array([[x[1], x[0], 0], [0, np.cos(x[1]), 0], [np.exp(x[2]), 0, np.exp(x[2]) * x[0]]])


def shifted(x, shift, *, scale=1.0):
    return scale * np.sum((x - shift) ** 3)


def random(*shape):
    return np.random.default_rng(3).normal(size=shape)


METHODS = ["2-point", "3-point", "cs"]
TOLERANCE = {"2-point": 1e-6, "3-point": 1e-8, "cs": 1e-13, "adaptive": 1e-9}


# ---- the same as SciPy's


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options", [{}, {"rel_step": 1e-5}, {"abs_step": 1e-4}, {"rel_step": [1e-5, 0, 1e-7]}], ids=str
)
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


def test_float32_takes_scipys_steps():
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    x = np.array([1.5, -2.0, 0.25], np.float32)
    for method in ("2-point", "3-point"):
        found = finite.gradient(rosen, x, method=method, trace=False)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, numdiff.approx_derivative(rosen, x, method), rtol=3e-3)
        np.testing.assert_allclose(found, fg.grad(rosen)(x.astype(np.float64)), rtol=5e-3)


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


@pytest.mark.parametrize("order", range(1, 11))
@pytest.mark.parametrize("kind", [None, "forward", "backward"])
def test_derivatives_of_every_order(order, kind):
    x = np.array([-0.5, 0.0, 0.8])
    found = finite.derivative(np.sin, x, order=order, accuracy=6, kind=kind)
    error = np.abs(found - np.sin(x + order * np.pi / 2))
    assert error.max() < 1e-12 ** (6 / (6 + order)) * (1 if kind is None else 1000)


@pytest.mark.parametrize("order", range(1, 11))
def test_polynomials_up_to_the_degree_of_the_scheme_are_exact(order):
    accuracy = 2
    coefficients = random(order + accuracy)  # degree one below
    poly = np.polynomial.Polynomial(coefficients)
    found = finite.derivative(poly, 0.3, order=order, accuracy=accuracy, abs_step=0.25)
    np.testing.assert_allclose(found, poly.deriv(order)(0.3), rtol=1e-16 * 40**order)


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


def recorded(fun, seen):
    def recording(x, *args):
        seen.append(np.array(x))
        return fun(x, *args)

    return recording


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


@pytest.mark.parametrize("fun", [lambda x: np.sum(np.abs(x)), lambda x: np.sum((x * np.conj(x)).real), lambda x: np.sum(x.real**2),
                                 lambda x: np.sum(x**2) + np.abs(x[0])])  # fmt: skip
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
    with pytest.raises(TypeError, match="cannot take complex"):
        finite.gradient(lambda x: np.hypot(x[0], 1), [1.0], method="cs")
    with pytest.raises(ValueError, match="order is 2, but method is 'cs'"):
        finite.derivative(np.exp, 1.0, method="cs", order=2)


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
    (lambda: finite.gradient(rosen, [1.0, 2.0], noise=-1.0), ValueError, "noise is -1.0"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], workers=0), ValueError, "workers is 0"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], workers=map, vectorized=True), ValueError, "choose one"),
    (lambda: finite.gradient(rosen, [1.0, 2.0], vectorized=True), fg.ShapeError, "for 5 points"),
    (lambda: finite.gradient(lambda x: None, [1.0, 2.0]), TypeError, "value of fun has dtype object"),
    (lambda: finite.gradient(lambda x: 1j, [1.0, 2.0]), TypeError, "value of fun has dtype complex"),
    (lambda: finite.gradient(lambda x: None if x[0] > 1 else 1.0, [1.0, 2.0], trace=False), TypeError, "fun returned None"),
    (lambda: finite.jacobian(lambda x: np.ones(2 + (x[0] > 1)), [1.0, 2.0], trace=False), fg.ShapeError, r"shape \(3,\)"),
    (lambda: finite.gradient(lambda x: x if x[0] > 1 else 1.0, [1.0, 2.0], trace=False), fg.ShapeError, r"shape \(2,\)"),
    (lambda: finite.derivative(np.sin, 1.0, order=11), ValueError, "order is 11"),
    (lambda: finite.derivative(np.sin, []), ValueError, "x0 is empty"),
    (lambda: finite.derivative(np.sin, [1.0, 2.0], f0=1.0), ValueError, "f0 is the value at one number"),
    (lambda: finite.directional(rosen, [1.0, 2.0], [1.0]), fg.ShapeError, "direction has shape"),
    (lambda: finite.directional(rosen, [1.0, 2.0], [1.0, INF]), ValueError, "direction is not finite"),
])  # fmt: skip
def test_errors_name_the_argument_and_the_cure(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_errors_of_the_function_come_through():
    def fun(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        finite.gradient(fun, [1.0])


# ---- noise


@pytest.mark.parametrize("method", ["2-point", "3-point"])
@pytest.mark.parametrize("level", [1e-9, 1e-6, 1e-3])
def test_steps_from_noise_are_long_enough(method, level):
    rng = np.random.default_rng(5)

    def noisy(x):
        return np.sum(np.cos(x) + 0.3 * x**2) + level * rng.uniform(-1, 1)

    x = np.array([0.4, 0.1, -2.0, 30.0])
    exact = -np.sin(x) + 0.6 * x
    error = np.abs(finite.gradient(noisy, x, method=method, noise=level, trace=False) - exact)
    assert (error < 10 * (level**0.5 if method == "2-point" else level ** (2 / 3) * np.maximum(1, np.abs(x)))).all()
    plain = np.abs(finite.gradient(noisy, x, method=method, trace=False) - exact)
    assert plain.max() > 5 * error.max()
    second = finite.hessian(noisy, x, noise=level, trace=False)
    np.testing.assert_allclose(second, np.diag(-np.cos(x) + 0.6), atol=60 * level**0.5)


def test_noise_where_there_is_no_curvature():
    found = finite.gradient(lambda x: 3 * x[0] + 2 * x[1], [1.0, 5.0], noise=1e-8, full_output=True)
    np.testing.assert_allclose(found.value, [3.0, 2.0], rtol=1e-6)
    assert (np.abs(found.step) >= 1e-2).all()
    assert abs(finite.derivative(np.sin, 0.3, noise=1e-6, order=2) + np.sin(0.3)) < 1e-2


# ---- ways to call


def test_arguments_reach_the_function():
    x = random(3)
    expected = 3 * 2 * (x - 0.5) ** 2
    for options in ({}, {"trace": False}, {"workers": map}):
        found = finite.gradient(shifted, x, args=(0.5,), kwargs={"scale": 2.0}, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        finite.gradient(functools.partial(shifted, shift=0.5), x), expected / 2, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("method", METHODS)
def test_vectorized_functions_get_all_points_in_one_call(method):
    calls = []

    def fun(x):
        calls.append(x.shape)
        return np.sum(x**3, axis=(-2, -1))

    x = random(2, 3)
    found = finite.gradient(fun, x, method=method, vectorized=True, full_output=True)
    np.testing.assert_allclose(found.value, 3 * x**2, atol=1e-6)
    n_points = {"2-point": 7, "3-point": 13, "cs": 7}[method]
    assert calls == [(n_points, 2, 3)] + [(2, 2, 3)] * (method == "cs")
    assert found.nfev == n_points + 2 * (method == "cs")
    calls.clear()
    finite.gradient(fun, x, method=method, vectorized=True, f0=np.sum(x**3))
    assert calls[0] == (n_points - 1, 2, 3)
    matrix = finite.jacobian(lambda x: x[:, ::-1] ** 2, x[0], vectorized=True, method=method)
    np.testing.assert_allclose(matrix, np.diag(2 * x[0])[::-1], atol=1e-6)


def test_a_vectorized_derivative_and_hessian():
    x = random(4)
    np.testing.assert_allclose(finite.derivative(np.exp, x, vectorized=True, order=2), np.exp(x), rtol=1e-6)
    found = finite.hessian(lambda x: np.sum(x[:, 1:] ** 2 * x[:, :-1], axis=1), x, vectorized=True, full_output=True)
    assert found.nfev == 4**2 + 4 + 1
    np.testing.assert_allclose(found.value, fg.hessian(lambda x: np.sum(x[1:] ** 2 * x[:-1]))(x), atol=1e-5)


def test_workers():
    x = random(5)
    expected = finite.gradient(rosen, x, trace=False)
    np.testing.assert_array_equal(finite.gradient(rosen, x, workers=2), expected)
    np.testing.assert_array_equal(finite.gradient(rosen, x, workers=1), expected)
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(finite.gradient(rosen, x, workers=pool.map), expected)
        np.testing.assert_array_equal(
            finite.jacobian(curve, x[:3], workers=pool.map), finite.jacobian(curve, x[:3], trace=False)
        )
    with pytest.raises(TypeError, match="cannot travel"):
        finite.gradient(lambda x: x[0], x, workers=2)
    with pytest.raises(ValueError, match="workers gave 3 values"):
        finite.gradient(rosen, x, workers=lambda one, points: [one(x) for x in points[:3]])


def test_calls_are_counted():
    x = random(6)
    for call, expected in [
        (lambda f, **o: finite.gradient(f, x, method="2-point", **o), 7), (lambda f, **o: finite.gradient(f, x, **o), 13),
        (lambda f, **o: finite.gradient(f, x, f0=1.0, **o), 12), (lambda f, **o: finite.hessian(f, x, **o), 43),
        (lambda f, **o: finite.hessian(f, x, method="2-point", **o), 28), (lambda f, **o: finite.directional(f, x, x, **o), 3),
        (lambda f, **o: finite.hessian(f, x, method="cs", **o), 43),
    ]:  # fmt: skip
        seen = []
        assert call(recorded(rosen, seen), trace=False, full_output=True).nfev == len(seen) == expected
        assert call(rosen, full_output=True).nfev == expected


def test_points_belong_to_the_function():
    kept = []

    def keeping(x):
        kept.append(x)
        return np.sum(x**2)

    finite.gradient(keeping, [1.0, 2.0], method="2-point", trace=False)
    assert len({tuple(x) for x in kept}) == 3

    def writing(x):
        x *= x
        return np.sum(x)

    start = np.array([1.0, 2.0])
    np.testing.assert_allclose(finite.gradient(writing, start, trace=False), [2.0, 4.0], rtol=1e-9)
    np.testing.assert_array_equal(start, [1.0, 2.0])


def test_a_function_may_reuse_its_result():
    buffer, number = np.empty(3), np.empty(())

    def reusing(x):
        buffer[:] = curve(x)
        return buffer

    x = random(3)
    np.testing.assert_array_equal(finite.jacobian(reusing, x, trace=False), finite.jacobian(curve, x, trace=False))
    found = finite.gradient(lambda x: np.sum(x**2, out=number), x, trace=False)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-8)


def test_large_gradients_go_in_blocks():
    x = random(700)
    found = finite.gradient(rosen, x, trace=False)
    np.testing.assert_allclose(found, fg.grad(rosen)(x), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(finite.gradient(rosen, x), found, rtol=1e-5, atol=1e-3)


# ---- traced functions


def test_traced_functions_run_as_lanes():
    n_calls = [0]

    def counted(x):
        n_calls[0] += 1
        return np.sum(np.sin(x) * x)

    x = random(20)
    first = finite.gradient(counted, x, full_output=True)
    n_calls[0] = 0
    again = finite.gradient(counted, x, full_output=True)
    assert n_calls[0] == 1  # at x0, to compare
    assert again.nfev == first.nfev == 41
    np.testing.assert_array_equal(first.value, again.value)
    np.testing.assert_allclose(again.value, np.sin(x) + x * np.cos(x), atol=1e-8)


def test_what_a_function_refers_to_may_change():
    data = np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    def closure(scale):
        return lambda x: scale * np.sum(data * x)

    x = random(5)
    for scale in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        for _ in range(2):
            np.testing.assert_allclose(finite.gradient(closure(scale), x), scale * data, rtol=1e-7)
    fun = closure(1.0)
    for _ in range(3):
        data *= 2
        np.testing.assert_allclose(finite.gradient(fun, x), data, rtol=1e-7)

    class Model:
        def __init__(self):
            self.weight = 1.0

        def __call__(self, x):
            return self.weight * np.sum(x * x)

        def method(self, x):
            return self.weight * np.sum(x * x)

    model = Model()
    for weight in (1.0, 5.0, 5.0, -2.0):
        model.weight = weight
        for f in (model, model.method):
            np.testing.assert_allclose(finite.gradient(f, x), 2 * weight * x, rtol=1e-7)


def test_functions_are_not_kept_alive():
    import gc
    import weakref

    def made():
        big = np.ones(1000)

        def fun(x):
            return np.sum(x) * big[0]

        return fun, weakref.ref(big)

    fun, big = made()
    finite.gradient(fun, random(9))
    alive = weakref.ref(fun)
    del fun
    gc.collect()
    assert alive() is None
    assert big() is None


def test_what_does_not_trace_is_called():
    rng = np.random.default_rng(0)

    def opaque(x):
        return float(str(float(np.sum(x * x))))

    def random_value(x):
        return np.sum(x) + 0 * rng.normal()

    x = random(12)
    for _ in range(2):
        np.testing.assert_allclose(finite.gradient(opaque, x), 2 * x, atol=1e-8)
        np.testing.assert_allclose(finite.gradient(random_value, x), np.ones(12), atol=1e-8)
        np.testing.assert_allclose(finite.gradient(fg.vmap(rosen).fun, x), fg.grad(rosen)(x), atol=1e-4)
    np.testing.assert_allclose(finite.gradient(fg.grad(lambda t: t * t * t), 2.0), 12.0, rtol=1e-8)
    np.testing.assert_allclose(finite.jacobian(fg.grad(rosen), x), fg.hessian(rosen)(x), atol=1e-5)


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


# ---- extrapolation


def covered(found, exact):
    """Whether errors are within their estimates, and those small."""
    error = np.abs(found.value - exact)
    return np.all(error <= 3 * found.error + 1e-14) and np.all(found.error <= 1e-5 * np.maximum(1, np.abs(exact).max()))


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("accuracy", [None, 2, 4, 6, 8])
def test_adaptive_derivatives_know_their_errors(trace, accuracy):
    x = random(4)
    options = {"method": "adaptive", "accuracy": accuracy, "full_output": True, "trace": trace}
    found = finite.gradient(rosen, x, **options)
    assert covered(found, fg.grad(rosen)(x))
    assert found.value.shape == found.error.shape == found.step.shape == found.status.shape == (4,)
    found = finite.jacobian(curve, x[:3], **options)
    assert covered(found, slopes(x))
    assert found.error.shape == (3, 3)
    found = finite.derivative(np.sin, x, order=3, **options)
    np.testing.assert_allclose(found.value, -np.cos(x), atol=1e-3 if accuracy == 2 else 1e-6)
    assert found.error.shape == (4,)
    found = finite.directional(rosen, x, [1.0, 2.0, 0.0, -1.0], **options)
    exact = fg.grad(rosen)(x) @ [1.0, 2.0, 0.0, -1.0]
    np.testing.assert_allclose(found.value, exact, rtol=1e-7)
    assert found.error.shape == found.status.shape == ()


def test_adaptive_hessians():
    def fun(x):
        return np.exp(x[0] * x[1]) + np.sin(x[2]) * x[0] ** 2 + x[2]

    x = np.array([0.3, -1.2, 40.0])
    exact = fg.hessian(fun)(x)
    found = finite.hessian(fun, x, method="adaptive", full_output=True, trace=False)
    np.testing.assert_array_equal(found.value, found.value.T)
    np.testing.assert_allclose(found.value, exact, atol=1e-5 * np.abs(exact).max())
    assert found.error.shape == (3, 3)
    assert found.status.shape == (3,)
    for bounds in [([0.3, -2, 40], INF), ([0.3, -2, 0], [1.0, -1.2, 40.0]), ([0.2999, -2, 0], [0.3001, 0, 50.0])]:
        seen = []
        matrix = finite.hessian(recorded(fun, seen), x, method="adaptive", bounds=bounds, trace=False)
        assert all(np.all((bounds[0] <= point) & (point <= bounds[1])) for point in seen)
        np.testing.assert_allclose(matrix, exact, atol=2e-3 * np.abs(exact).max())


def test_adaptive_derivatives_stay_on_a_side():
    assert finite.derivative(abs, 0.0, method="adaptive", kind="forward") == pytest.approx(1, abs=1e-12)
    assert finite.derivative(abs, 0.0, method="adaptive", kind="backward") == pytest.approx(-1, abs=1e-12)
    seen = []
    found = finite.gradient(
        recorded(lambda x: np.sum(np.sqrt(x)), seen), [1e-4, 1.0], method="adaptive", bounds=(0, 1), trace=False
    )
    np.testing.assert_allclose(found, [50.0, 0.5], rtol=1e-6)
    assert np.min(seen) >= 0
    assert np.max(seen) <= 1
    with pytest.raises(ValueError, match="accuracy is 3"):
        finite.gradient(rosen, [1.0, 2.0], method="adaptive", accuracy=3)


def test_adaptive_vectorized_functions_are_called_seldom():
    calls = []

    def fun(x):
        calls.append(len(x))
        return np.sum(np.exp(x), axis=1)

    x = np.array([0.1, 0.5, -0.3])
    found = finite.gradient(fun, x, method="adaptive", vectorized=True, full_output=True)
    np.testing.assert_allclose(found.value, np.exp(x), rtol=1e-10)
    assert found.nfev == sum(calls) == 1 + 3 * 4
    assert len(calls) == 1
    curve = finite.derivative(lambda t: np.stack([np.cos(t), t**2], 1), x, method="adaptive", vectorized=True, order=2)
    np.testing.assert_allclose(curve, np.stack([-np.cos(x), 2 + 0 * x], 1), atol=1e-6)


def test_adaptive_with_noise():
    rng = np.random.default_rng(2)

    def noisy(x):
        return np.sum(np.sin(x)) + 1e-6 * rng.uniform(-1, 1)

    x = np.array([0.3, 1.0])
    found = finite.gradient(noisy, x, method="adaptive", noise=1e-6, trace=False, full_output=True)
    assert (np.abs(found.value - np.cos(x)) < 1e-4).all()
    assert (np.abs(found.value - np.cos(x)) < 10 * found.error).all()


# ---- sparse ones


def banded(x):
    middle = x**3
    middle[1:] += np.sin(x[:-1])
    middle[:-1] += x[1:] * x[:-1]
    return middle


def chain(x):
    return np.sum(np.sin(x[1:]) * x[:-1] ** 2) + np.sum(x**3)


@pytest.mark.parametrize("method", ["2-point", "3-point", "cs", "adaptive"])
@pytest.mark.parametrize("sparsity", ["auto", "dense", "sparse", "grouped"])
def test_sparse_jacobians(method, sparsity):
    sparse = pytest.importorskip("scipy.sparse")
    n = 30
    x = random(n)
    exact = fg.jacobian(banded)(x)
    band = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)).tocsr()
    pattern = {"auto": "auto", "dense": band.toarray(), "sparse": band, "grouped": (band, np.arange(n) % 3)}[sparsity]
    found = finite.jacobian(banded, x, method=method, sparsity=pattern, trace=False, full_output=True)
    assert found.value.shape == (n, n)
    np.testing.assert_allclose(found.value.toarray(), exact, atol=100 * TOLERANCE[method])
    assert found.step.shape == found.status.shape == (n,)
    if sparsity != "auto":
        assert found.nfev == {"2-point": 4, "3-point": 7, "cs": 6, "adaptive": found.nfev}[method]
        assert found.nfev < 40
    if method == "adaptive":
        np.testing.assert_array_less(np.abs(found.value.toarray() - exact), 3 * found.error.toarray() + 1e-13)
    plain = finite.jacobian(banded, x, method=method, sparsity=pattern, trace=False)
    np.testing.assert_array_equal(plain.toarray(), found.value.toarray())


def test_sparse_jacobians_are_scipys():
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    x = random(12)
    pattern = np.eye(12) + np.eye(12, k=1) + np.eye(12, k=-1)
    for bounds in [(-INF, INF), (x - 1e-9, x + 1.0)]:
        for method in METHODS:
            expected = numdiff.approx_derivative(banded, x, method, sparsity=pattern, bounds=bounds)
            found = finite.jacobian(banded, x, method=method, sparsity=pattern, bounds=bounds, trace=False)
            np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_a_million_elements_take_four_calls():
    sparse = pytest.importorskip("scipy.sparse")
    n = 100_000
    pattern = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))
    x = random(n)
    found = finite.jacobian(banded, x, method="2-point", sparsity=pattern, trace=False, full_output=True)
    assert found.nfev == 4
    np.testing.assert_allclose(found.value.diagonal()[:-1], 3 * x[:-1] ** 2 + x[1:], rtol=1e-4, atol=1e-5)


def test_sparse_complex_steps_are_checked():
    pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="not analytic"):
        finite.jacobian(lambda x: np.abs(x) + x**2, random(6), method="cs", sparsity=np.eye(6))


@pytest.mark.parametrize("method", ["2-point", "3-point", "cs"])
def test_sparse_hessians(method):
    sparse = pytest.importorskip("scipy.sparse")
    n = 20
    x = random(n)
    exact = fg.hessian(chain)(x)
    band = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))
    atol = {"2-point": 1e-3, "3-point": 1e-5, "cs": 1e-10}[method]
    for pattern in (band, "auto"):
        found = finite.hessian(
            None, x, jac=chain_slopes, method=method, sparsity=pattern, trace=False, full_output=True
        )
        np.testing.assert_allclose(found.value.toarray(), exact, atol=atol)
        assert (found.value != found.value.T).nnz == 0
        assert pattern is not band or found.nfev <= 8
    np.testing.assert_allclose(finite.hessian(None, x, jac=chain_slopes, method=method), exact, atol=atol)
    if method == "cs":
        with pytest.raises(ValueError, match="method is 'cs', but sparsity"):
            finite.hessian(chain, x, method=method, sparsity=band)
        return
    found = finite.hessian(chain, x, method=method, sparsity=band, full_output=True)
    np.testing.assert_allclose(found.value.toarray(), exact, atol=atol)
    assert found.nfev <= 1 + 4 * n
    near = (x - 1e-9, np.inf)
    found = finite.hessian(chain, x, method=method, sparsity=band, bounds=near)
    np.testing.assert_allclose(found.toarray(), exact, atol=atol)
    with pytest.raises(ValueError, match="or the gradient as jac"):
        finite.hessian(chain, x, sparsity="auto")


def chain_slopes(x):
    slopes = 3 * x**2
    slopes[:-1] += 2 * np.sin(x[1:]) * x[:-1]
    slopes[1:] += np.cos(x[1:]) * x[:-1] ** 2
    return slopes


def test_hessians_of_a_gradient_check_it():
    with pytest.raises(fg.ShapeError, match="jac returns shape"):
        finite.hessian(None, [1.0, 2.0], jac=np.sum)
    with pytest.raises(ValueError, match="f0 is given"):
        finite.hessian(None, [1.0, 2.0], jac=np.cos, f0=1.0)
    assert finite.hessian(None, random(2, 2), jac=np.cos, method="adaptive").shape == (2, 2, 2, 2)


@pytest.mark.parametrize("method", METHODS)
def test_linear_operators_are_scipys(method):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    x, v = random(3), random(3, 2)
    found = finite.jacobian(curve, x, method=method, as_linear_operator=True)
    expected = numdiff.approx_derivative(curve, x, method, as_linear_operator=True)
    np.testing.assert_allclose(found @ v[:, 0], expected @ v[:, 0], rtol=1e-8)
    np.testing.assert_allclose(found @ v, slopes(x) @ v, rtol=1e-5)
    with pytest.raises(ValueError, match="bounds"):
        finite.jacobian(curve, x, as_linear_operator=True, bounds=(-9, 9))


# ---- C functions


def c_function():
    import ctypes

    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    return kind(lambda n, x, data: sum(x[i] ** 2 for i in range(n)))


def test_c_functions():
    fun, x = c_function(), random(9)
    for options in ({}, {"workers": 2}, {"method": "2-point"}, {"method": "adaptive"}):
        np.testing.assert_allclose(finite.gradient(fun, x, **options), 2 * x, atol=1e-6)
    np.testing.assert_allclose(finite.hessian(fun, x), 2 * np.eye(9), atol=1e-5)
    np.testing.assert_allclose(finite.derivative(fun, x), 2 * x, atol=1e-6)
    np.testing.assert_allclose(finite.gradient(fun, np.float32(x)), 2 * x, atol=1e-2)
    assert finite.gradient(fun, x, full_output=True).nfev == 19
    scipy = pytest.importorskip("scipy")
    np.testing.assert_allclose(finite.gradient(scipy.LowLevelCallable(fun), x), 2 * x, atol=1e-6)
    with pytest.raises(TypeError, match='"cs" cannot be used'):
        finite.gradient(fun, x, method="cs")
    with pytest.raises(TypeError, match="leave vectorized"):
        finite.gradient(fun, x, vectorized=True)
    with pytest.raises(TypeError, match="a number of threads"):
        finite.gradient(fun, x, workers=map)
