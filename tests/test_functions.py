"""The public transforms against formulas and against each other, alone, in batches and inside traced functions."""

import pickle

import numpy as np
import pytest
from helpers import assert_same_bits
from numpy.testing import assert_allclose, assert_array_equal

import fastgrad as fg

RNG = np.random.default_rng(7)
X = RNG.normal(size=6)
W = RNG.normal(size=(5, 6))


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_hessian(x):
    n = len(x)
    h = np.zeros((n, n))
    for i in range(n - 1):
        h[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
        h[i + 1, i + 1] += 200
        h[i, i + 1] = h[i + 1, i] = -400 * x[i]
    return h


def layer(x, w):
    return np.tanh(w @ x)


def layer_jacobian(x, w):
    return (1 - np.tanh(w @ x) ** 2)[:, None] * w


# ---- jacobian and hessian


@pytest.mark.parametrize("shape", [(5, 6), (6, 5), (1, 6), (6, 1), (130, 150), (150, 130)])
def test_jacobian_of_a_layer(shape):
    w, x = RNG.normal(size=shape), RNG.normal(size=shape[1])
    matrix = fg.jacobian(layer)(x, w)
    assert matrix.flags.c_contiguous
    assert_allclose(matrix, layer_jacobian(x, w), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("fun", "value_shape"),
    [
        (lambda x: np.sum(x**2), ()),
        (lambda x: x**2, (2, 3)),
        (lambda x: x[:, 0] * 2, (2,)),
        (lambda x: np.ones(3), (3,)),
        (lambda x: x[:0], (0, 3)),
    ],
)
def test_shapes_are_value_then_argument_never_squeezed(fun, value_shape):
    x = RNG.normal(size=(2, 3))
    assert fg.jacobian(fun)(x).shape == (*value_shape, 2, 3)
    assert fg.jacobian(fun)(x.astype(np.float32)).dtype == np.float32


def test_jacobian_of_nested_values_by_nested_arguments():
    def fun(p, s):
        return {"a": p[0] * s, "b": [np.sum(p[1]), p[1] * p[0][0]]}

    p, s = (np.array([2.0, 3.0]), np.array([[1.0], [4.0]])), 5.0
    found = fg.jacobian(fun, (0, 1))(p, s)
    (by_p0, by_p1), by_s = found["a"]
    assert_array_equal(by_p0, 5 * np.eye(2))
    assert_array_equal(by_p1, np.zeros((2, 2, 1)))
    assert_array_equal(by_s, [2.0, 3.0])
    (by_p0, by_p1), by_s = found["b"][1]
    assert by_p0.shape == (2, 1, 2)
    assert_array_equal(by_p0[:, 0, 0], [1.0, 4.0])
    assert_array_equal(by_p1.reshape(2, 2), 2 * np.eye(2))


def test_hessian():
    assert_allclose(fg.hessian(rosenbrock)(X), rosenbrock_hessian(X), rtol=1e-13)
    blocks = fg.hessian(lambda a, b: np.sum(a**2) * b, (0, 1))(np.array([1.0, 2.0]), 3.0)
    assert_array_equal(blocks[0][0], 6 * np.eye(2))
    assert_array_equal(blocks[0][1], [2.0, 4.0])
    assert_array_equal(blocks[1][0], [2.0, 4.0])
    assert blocks[1][1] == 0
    with pytest.raises(fg.ShapeError, match="scalar"):
        fg.hessian(np.sin)(X)


def test_third_derivatives():
    third = fg.jacobian(fg.hessian(lambda x: np.prod(x) + x[0] ** 3))(np.array([2.0, 3.0, 5.0]))
    assert third[0, 0, 0] == 6
    assert third[0, 1, 2] == third[2, 0, 1] == 1
    assert third[1, 1, 0] == 0


# ---- one direction


def test_hvp_is_the_hessian_times_the_vector():
    v = RNG.normal(size=6)
    assert_allclose(fg.hvp(rosenbrock)(X, v), rosenbrock_hessian(X) @ v, rtol=1e-11)
    weighted = fg.hvp(lambda x, scale=1.0, power=2: np.sum(x**power) * scale)(X, v, scale=3.0, power=3)
    assert_allclose(weighted, 18 * X * v, rtol=1e-14)
    pair = fg.hvp(lambda a, b: np.sum(a**2) * b**3, (0, -1))(np.array([1.0, 2.0]), 2.0, (np.array([1.0, 0.0]), 1.0))
    assert_allclose(pair[0], [2 * 8 * 1 + 2 * 3 * 4 * 1, 2 * 3 * 4 * 2])
    assert_allclose(pair[1], 2 * 1 * 12 + 5 * 6 * 2)


def test_jvp_and_vjp_are_adjoint():
    v, u = RNG.normal(size=6), RNG.normal(size=5)
    dw = RNG.normal(size=W.shape)
    value, tangent = fg.jvp(layer, (X, W), (v, dw))
    same, pullback = fg.vjp(layer, X, W)
    assert_same_bits(value, same)
    to_x, to_w = pullback(u)
    assert_allclose(u @ tangent, to_x @ v + np.sum(to_w * dw), rtol=1e-13)
    assert_allclose(tangent, layer_jacobian(X, W) @ v + (1 - value**2) * (dw @ X), rtol=1e-12)


def test_jvp_and_vjp_of_nested_values():
    def fun(p):
        return {"s": np.sum(p["a"]), "q": (p["a"] * p["b"],)}

    p, t = {"a": X, "b": 2.0}, {"a": np.ones(6), "b": 1.0}
    value, tangent = fg.jvp(fun, (p,), (t,))
    assert_allclose(tangent["q"][0], 2 + X)
    assert tangent["s"] == 6
    value, pullback = fg.vjp(fun, p)
    (pulled,) = pullback({"s": 1.0, "q": (np.ones(6),)})
    assert_allclose(pulled["a"], np.full(6, 3.0))
    assert_allclose(pulled["b"], np.sum(X))
    assert_array_equal(value["q"][0], 2 * X)


def test_directions_of_another_shape_are_refused():
    with pytest.raises(fg.ShapeError, match=r"tangents\[0\] has shape \(5,\)"):
        fg.jvp(np.sin, (X,), (np.ones(5),))
    with pytest.raises(fg.ShapeError, match="nested like primals"):
        fg.jvp(np.sin, (X,), ([X, X],))
    with pytest.raises(fg.ShapeError, match="cotangent has shape"):
        fg.vjp(np.sin, X)[1](1.0)
    with pytest.raises(TypeError, match="primals must be a tuple"):
        fg.jvp(np.sin, X, X)


def test_forward_and_reverse_mode_agree_on_what_is_not_smooth():
    fun = lambda x: np.sum(np.where(x > 0, np.sqrt(np.abs(x)), -x) * np.maximum(x, 0.1)) + np.max(x) * np.prod(x)  # noqa: E731
    x = np.array([0.5, -1.0, 0.1, 2.0, 0.0, 2.0])
    _, tangent = fg.jvp(fun, (x,), (np.ones(6),))
    assert_allclose(tangent, np.sum(fg.grad(fun)(x)), rtol=1e-13)


# ---- functions of numbers


@pytest.mark.parametrize("order", range(7))
def test_derivatives_of_any_order(order):
    x = np.array([[0.3, 1.0], [2.0, -0.7]])
    right = [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x)][order % 4]
    assert_allclose(fg.derivative(np.sin, order)(x), right, rtol=1e-13)
    assert_allclose(fg.derivative(np.exp, order=order)(1.0), np.e, rtol=1e-14)
    polynomial = np.polynomial.Polynomial([1.0, -2, 3, 0.5, -1, 2, 7])
    assert_allclose(
        fg.derivative(lambda t: 1 - 2 * t + 3 * t**2 + 0.5 * t**3 - t**4 + 2 * t**5 + 7 * t**6, order)(x),
        polynomial.deriv(order)(x),
        rtol=1e-12,
    )


def test_partial_derivatives_broadcast():
    f = lambda x, y, z: x**2 * y + np.sin(z) * y**3  # noqa: E731
    x, y = np.array([[1.0], [2.0]]), np.array([3.0, 4.0, 5.0])
    assert_allclose(fg.partial(f, 0)(x, y, 1.0), 2 * x * y)
    assert_allclose(fg.partial(f, 1, order=2)(x, y, 1.0), 6 * np.sin(1.0) * np.broadcast_to(y, (2, 3)))
    assert_allclose(fg.partial(fg.partial(f, 0), 1)(x, y, 1.0), np.broadcast_to(2 * x, (2, 3)))
    assert fg.partial(f, -1)(1.0, 2.0, 0.0) == 8
    assert fg.derivative(np.sin)(np.zeros((0, 3))).shape == (0, 3)
    assert fg.derivative(np.sin)(X.astype(np.float32)).dtype == np.float32
    assert fg.derivative(np.square)(3) == 6


def test_functions_that_mix_elements_are_refused():
    for fun in [lambda x: np.sum(x) ** 2, lambda x: x @ x, lambda x: x[0] * x, lambda x: x[::-1] * x]:
        with pytest.raises(fg.ShapeError, match="grad or jacobian"):
            fg.derivative(fun)(X)
    with pytest.raises(fg.ShapeError):
        fg.derivative(lambda x: np.stack([x, x]))(1.0)
    for bad in (1.5, -1, "2"):
        with pytest.raises((TypeError, ValueError), match="order"):
            fg.derivative(np.sin, bad)


def test_derivatives_of_derivatives_inside_functions():
    slope = fg.derivative(lambda x: x**3)
    assert_allclose(fg.grad(lambda x: np.sum(slope(x) * x))(X), 9 * X**2, rtol=1e-14)
    assert_allclose(fg.vmap(fg.derivative(np.sin))(X), np.cos(X), rtol=1e-15)


# ---- batches


def test_nested_batches():
    a, b = RNG.normal(size=(3, 6)), RNG.normal(size=(4, 6))
    kernel = lambda u, v: np.exp(-np.sum((u - v) ** 2))  # noqa: E731
    found = fg.vmap(fg.vmap(kernel, (None, 0)), (0, None))(a, b)
    assert_allclose(found, np.exp(-np.sum((a[:, None] - b) ** 2, -1)), rtol=1e-14)
    deep = fg.vmap(fg.vmap(fg.vmap(np.sin)))(RNG.normal(size=(2, 3, 4)))
    assert deep.shape == (2, 3, 4)
    columns = fg.vmap(fg.vmap(np.sum, 1), -1)(np.arange(24.0).reshape(2, 3, 4))
    assert_array_equal(columns, np.arange(24.0).reshape(2, 3, 4).sum(0).T)


@pytest.mark.parametrize(
    ("make", "shape"), [(fg.grad, (6,)), (fg.hessian, (6, 6)), (fg.jacobian, (6,)), (fg.value_and_grad, None)]
)
def test_transforms_of_a_batch_are_those_of_its_instances(make, shape):
    points = RNG.normal(size=(5, 6))
    many = fg.vmap(make(rosenbrock))(points)
    for i in range(5):
        one = make(rosenbrock)(points[i])
        if shape is None:
            assert_same_bits(many[0][i], one[0])
            assert_same_bits(many[1][i], one[1])
        else:
            assert many[i].shape == shape
            assert_same_bits(many[i], one)


def test_a_batch_inside_a_function_is_differentiated():
    points = RNG.normal(size=(5, 6))

    def total(x, scale):
        gradients = fg.vmap(fg.grad(lambda t, s: np.sum(t**3) * s + np.max(t)), (0, None))(x, scale)
        return np.sum(gradients[:, ::2] ** 2)

    plain = lambda x, scale: sum(  # noqa: E731
        np.sum((3 * row[::2] ** 2 * scale + (row == row.max())[::2]) ** 2) for row in x
    )
    assert_allclose(fg.value_and_grad(total)(points, 2.0)[0], plain(points, 2.0), rtol=1e-13)
    assert fg.check_grad(lambda x: total(x, 2.0) if type(x) is not np.ndarray else plain(x, 2.0), points)
    assert fg.check_grad(lambda s: total(points, s) if type(s) is not np.float64 else plain(points, s), 2.0)


def test_a_batch_inside_a_function_sees_what_the_function_sees():
    def fun(x):
        scale = np.sum(x)
        return np.sum(fg.vmap(lambda row: row * scale)(x.reshape(3, 2)))

    assert_allclose(fg.grad(fun)(X), 2 * np.sum(X) * np.ones(6), rtol=1e-13)


def test_out_takes_the_result():
    points = RNG.normal(size=(5, 6))
    transform = fg.vmap(fg.value_and_grad(rosenbrock))
    value, gradient = transform(points)
    for out in [
        (np.empty(5), np.empty((5, 6))),
        (np.empty(10)[::2], np.empty((6, 5)).T),
        (np.empty(5, ">f8"), np.empty((5, 6))),
    ][:2]:
        for _ in range(2):  # the second call goes the quick way
            assert transform(points, out=out) is out
            assert_same_bits(np.ascontiguousarray(out[0]), value)
            assert_same_bits(np.ascontiguousarray(out[1]), gradient)
            out[1][...] = 0
    own = points.copy()
    result = (np.empty(5), own)
    assert transform(own, out=result) is result  # over its own input
    assert_same_bits(own, gradient)
    single = np.empty(6)
    assert fg.grad(rosenbrock)(X, out=single) is single
    assert_same_bits(single, fg.grad(rosenbrock)(X))


def test_a_wrong_out_is_refused_and_left_alone():
    points = RNG.normal(size=(5, 6))
    transform = fg.vmap(fg.value_and_grad(rosenbrock))
    transform(points)
    good = np.zeros((5, 6))
    shared = np.zeros(30)
    read_only = np.zeros(5)
    read_only.flags.writeable = False
    cases = [
        ((np.zeros(5), np.zeros((5, 5))), TypeError, r"out\[1\] must be an array of shape \(5, 6\)"),
        ((np.zeros(5, np.float32), good), TypeError, r"out\[0\] must be .* dtype float64"),
        (good, TypeError, "out must be nested like the result"),
        ((shared[:5], shared.reshape(5, 6)), ValueError, r"out\[1\] shares memory"),
        ((read_only, good), ValueError, r"out\[0\] is read-only"),
        ((None, good), TypeError, r"out\[0\] must be an array"),
    ]
    for out, kind, message in cases:
        for _ in range(2):
            with pytest.raises(kind, match=message):
                transform(points, out=out)
    assert not good.any()
    with pytest.raises(TypeError, match="out= belongs to a call with arrays"):
        fg.grad(lambda x: np.sum(fg.grad(rosenbrock)(x, out=x)))(X)


# ---- constants to derivatives, pickling


def test_stop_gradient():
    assert_allclose(fg.grad(lambda x: np.sum(x * fg.stop_gradient(x)))(X), X)
    assert_allclose(fg.hessian(lambda x: np.sum(x**2 * fg.stop_gradient({"a": x})["a"]))(X), np.diag(2 * X))
    assert_allclose(fg.jvp(lambda x: fg.stop_gradient(x) * 2, (X,), (X,))[1], np.zeros(6))
    assert fg.stop_gradient(X) is X
    assert fg.vmap(fg.grad(lambda t: t * fg.stop_gradient(t)))(X).tolist() == X.tolist()


def test_programs_travel_without_their_function():
    captured = np.arange(6.0)
    transform = fg.value_and_grad(lambda x: np.sum(captured * x**2))
    with pytest.raises(pickle.PicklingError, match="call the transform once"):
        pickle.dumps(transform)
    value, gradient = transform(X)
    copy = pickle.loads(pickle.dumps(transform))
    for _ in range(2):
        assert copy(X)[0] == value
        assert_same_bits(copy(X)[1], gradient)
    with pytest.raises(TypeError, match="did not travel"):
        copy(X[:3])
    again = pickle.loads(pickle.dumps(copy))
    assert_same_bits(again(X)[1], gradient)
    slope = fg.derivative(lambda t: t**3)
    slope(X)
    assert_same_bits(pickle.loads(pickle.dumps(slope))(X), slope(X))
