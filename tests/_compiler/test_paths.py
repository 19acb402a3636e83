"""Branches on traced values: every way through a function, joined where the ways part."""

import math
import random

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastgrad as fg

CALLS = []
GRID = np.array([[a, b] for a in (-2.0, -0.5, 0.0, 1.0, 3.0) for b in (-1.0, 0.0, 2.0)])


def pieces(x):
    if x[0] > 0:
        y = x[0] ** 2
    elif x[1] > 0 and x[0] < -1:
        y = x[1] * x[0]
    else:
        y = -x[1]
    if not y < 2:
        y = np.sqrt(y)
    return y


def corner(x):
    total = 0.0
    for value in x:
        total += value if value >= 0 else -2 * value
    return total


def early(x):
    for k in range(4):
        if x[0] + k > x[1]:
            return k * x[0]
    return x[1]


def ternaries(x):
    p = 1 if x[0] >= 0 else 0
    q = 1.0 if x[1] >= 0 else 0.0
    return p * (1 + q) + abs(x[0] + 50 * p * (1 - 2 * q))


def chained(x):
    return x[0] if -1 < x[0] < 2 else x[1]


def numbers(x):
    return {True: x[0], False: x[1]}[bool(x[0] > x[1])]


@pytest.mark.parametrize("fun", [pieces, corner, early, ternaries, chained, numbers])
def test_values_and_gradients_are_those_of_the_way_that_the_values_take(fun):
    values, gradients = fg.vmap(fg.value_and_grad(fun))(GRID)
    assert_array_equal(values, [fun(x) for x in GRID])
    for x, gradient in zip(GRID, gradients, strict=True):
        for direction in np.eye(2):
            h = 1e-6
            sides = [(fun(x + s * h * direction) - fun(x)) / (s * h) for s in (1, -1)]
            assert any(abs(gradient @ direction - side) < 1e-4 for side in sides), (x, gradient, sides)


def test_the_way_not_taken_contributes_nothing():
    def safe(x):
        if x <= 0:
            return 0.0
        return np.sqrt(x) * np.log(x)

    assert fg.value_and_grad(safe)(-1.0) == (0, 0)
    assert fg.value_and_grad(safe)(0.0) == (0, 0)
    assert fg.grad(fg.grad(safe))(-1.0) == 0
    assert fg.value_and_grad(safe)(1.0) == (0, 1)


def test_where_a_function_raises_it_has_no_value():
    def checked(x):
        if np.any(x < 0):
            raise ValueError("negative")
        if x[0] >= 10:
            raise ArithmeticError("too large")
        return np.sum(np.sqrt(x))

    points = np.array([[1.0, 4.0], [-1.0, 4.0], [11.0, 4.0]])
    values, gradients = fg.vmap(fg.value_and_grad(checked))(points)
    assert_array_equal(values, [3, np.nan, np.nan])
    assert_array_equal(gradients[0], [0.5, 0.25])
    assert np.isnan(gradients[1:]).all()


def test_what_every_way_raises_is_raised():
    def wrong(x):
        if x > 0:
            raise ValueError("first")
        raise ValueError("second")

    with pytest.raises(ValueError, match="first"):
        fg.grad(wrong)(1.0)

    def misspelt(x):
        return x if x > 0 else undefined_name  # noqa: F821

    with pytest.raises(NameError):
        fg.grad(misspelt)(1.0)


def test_the_function_runs_once_for_each_way():
    CALLS.clear()
    state = {"count": 0}

    def counted(x):
        CALLS.append(1)
        state["count"] += 1
        return (x if x > 0 else -x) * state["count"] ** 0

    assert fg.grad(counted)(-3.0) == -1
    assert len(CALLS) == 2


def test_nested_results_and_dtypes_of_the_ways_are_joined():
    def both(x):
        return (x[:2], {"a": 1}) if x[0] > 0 else (x[1:], {"a": x[0] > -5})

    found = fg.vmap(both)(np.array([[1.0, 2, 3], [-1, 2, 3], [-7, 2, 3]]))
    assert_array_equal(found[0], [[1, 2], [2, 3], [2, 3]])
    assert_array_equal(found[1]["a"], [1, 1, 0])
    single = fg.vmap(lambda x: x if x > 0 else 0)(np.array([1, -1], np.float32))
    assert single.dtype == np.float32


@pytest.mark.parametrize(("fun", "message"), [
    (lambda x: x[:2] if x[0] > 0 else x[:1], r"shapes \(2,\) and \(1,\)"),
    (lambda x: x if x[0] > 0 else (x, x), "differently nested"),
])  # fmt: skip
def test_ways_that_do_not_join_are_refused(fun, message):
    with pytest.raises(fg.ShapeError, match=message):
        fg.jacobian(fun)(np.ones(3))


def test_comparisons_of_sorting():
    gradient = fg.grad(lambda x: sorted([x[0], x[1], x[0] * x[1]])[1])
    assert_array_equal(gradient(np.array([3.0, 2.0])), [1, 0])
    assert_array_equal(gradient(np.array([0.5, 4.0])), [4, 0.5])


def test_too_many_ways_are_refused_with_the_line():
    def loop(x):
        while x > 1:
            x = x / 2
        return x

    with pytest.raises(fg.TraceError, match=r"more than 64(.|\n)*while x > 1(.|\n)*np.where"):
        fg.grad(loop)(8.0)
    with pytest.raises(fg.TraceError, match="more than 64"):
        fg.grad(corner)(np.ones(7))
    assert fg.grad(corner)(np.ones(6)).tolist() == [1] * 6


def test_a_function_that_changes_between_runs_is_refused():
    rng = random.Random(1)
    with pytest.raises(fg.TraceError, match="another condition when it was run again"):
        fg.grad(lambda x: x if x > rng.random() else (x if x > rng.random() else 0.0 * x))(1.0)


def test_branches_inside_batches_loops_and_inner_transforms():
    kink = lambda t: t if t > 0 else 3 * t  # noqa: E731
    x = np.array([1.0, -2.0])
    assert fg.grad(lambda x: np.sum(fg.vmap(kink)(x) ** 2))(x).tolist() == [2, -36]
    assert fg.grad(lambda x: fg.grad(kink)(x[0]) * x[1] + x[0])(x).tolist() == [1, 1]
    last = fg.fori_loop(0, 5, lambda i, c: c / 2 if c > 1 else c, 10.0)
    assert last == 0.625
    assert fg.hessian(lambda x: x[0] ** 3 if x[1] > 0 else x[0] * x[1])(x).tolist() == [[0, 1], [1, 0]]
    res = fg.minimize(lambda x: (x - 3) ** 2 if x > 0 else x**2 + 9, np.array([5.0, -4.0]), method="gd",
                      learning_rate=0.1, in_axes=0, maxiter=200)  # fmt: skip
    np.testing.assert_allclose(res.x, [3, 0], atol=1e-5)


def test_truths_of_constants_are_no_branches():
    fun = lambda x: x * 2 if np.sum(np.zeros(3)) == 0 and math.pi > 3 else None  # noqa: E731
    assert fg.grad(fun)(1.0) == 2
    with pytest.raises(fg.TraceError, match=r"np.any or np.all"):
        fg.grad(lambda x: np.sum(x) if x > 0 else 0.0)(np.ones(2))
