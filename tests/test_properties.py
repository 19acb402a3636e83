"""Random functions: values against NumPy, derivatives against complex steps through NumPy, lanes against single calls.

A function is a list of steps, each on two or three earlier values of shapes (), (4,), (3, 1) or (3, 4). Steps keep
numbers of order 1, so that what is left over is rounding, and they are analytic, so that an imaginary step of 1e-30
gives the exact derivative of NumPy's own evaluation.
"""

import numpy as np
import scipy.special
from helpers import assert_same_bits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastgrad as fg
from fastgrad._compiler.trace import Input, trace
from fastgrad.errors import TraceError


def full(a):
    return np.broadcast_to(a, (3, 4))


ONE = [
    np.sin, np.cos, np.tanh, np.negative,
    lambda a: np.exp(np.tanh(a)), lambda a: np.expm1(np.sin(a)), lambda a: np.log(2.5 + np.sin(a)),
    lambda a: np.log1p(0.5 * np.cos(a)), lambda a: np.sqrt(1.5 + np.sin(a)), lambda a: np.square(np.tanh(a)),
    lambda a: np.tan(0.5 * np.tanh(a)), lambda a: 1 / (2 + np.cos(a)), lambda a: 1 / (1 + np.exp(-a)),
    lambda a: np.log1p(np.exp(np.tanh(a))), lambda a: np.reciprocal(3 - np.sin(a)), lambda a: np.tanh(a) ** 3,
    lambda a: (2 + np.sin(a)) ** -1.5, lambda a: scipy.special.erf(np.tanh(a)),
    lambda a: np.sinh(np.sin(a)), lambda a: np.cosh(np.sin(a)) - 1, lambda a: np.arctan(a), lambda a: np.arcsinh(a),
    lambda a: np.arcsin(0.7 * np.sin(a)), lambda a: np.arccos(0.7 * np.sin(a)), lambda a: np.arctanh(0.7 * np.sin(a)),
    lambda a: np.exp2(np.sin(a)), lambda a: np.log2(2 + np.cos(a)), lambda a: np.log10(2 + np.sin(a)),
]  # fmt: skip
TWO = [
    lambda a, b: 0.6 * (a + b), lambda a, b: 0.6 * (a - b), lambda a, b: np.tanh(a) * b,
    lambda a, b: a / (2 + np.cos(b)),
    lambda a, b: (1.5 + np.tanh(a)) ** np.tanh(b), lambda a, b: np.sin(a * b), lambda a, b: 2.0 - a + 0.1 * b,
]  # fmt: skip
MOVES = [
    lambda a, b: full(a).sum(axis=0) / 3, lambda a, b: full(a).mean(axis=1, keepdims=True), lambda a, b: np.mean(a * b),
    lambda a, b: np.prod(1 + 0.3 * np.tanh(full(a)), axis=0), lambda a, b: full(a)[1], lambda a, b: full(a)[:, 2:3],
    lambda a, b: np.prod(np.tanh(full(a)), axis=1, keepdims=True), lambda a, b: full(a)[::-1, ::-1] * 0.8,
    lambda a, b: np.concatenate([full(a)[1:], full(b)[:1]]),
    lambda a, b: np.stack([full(a)[0], full(b)[2], full(b)[0]]),
    lambda a, b: full(a) @ full(b).T @ full(a) / 12, lambda a, b: (full(a) @ full(b)[0] / 4)[:, None],
    lambda a, b: full(a).reshape(4, 3).T - full(b)[[0, 2, 0]], lambda a, b: np.roll(full(a), 1, axis=1) * 0.9,
    lambda a, b: np.tanh(np.mean((full(a) - full(b)[0]) ** 2, axis=0)),
    lambda a, b: np.sum(np.tanh(full(a)) * full(b), axis=(0, 1)) / 12,
]  # fmt: skip
BENDS = [  # not analytic, but where no border is crossed
    lambda a, b: np.where(np.real(a) > 0.123, a, b),
    lambda a, b: np.where(np.real(full(a)) < np.real(b), np.sin(a), 0.5),
    lambda a, b: np.where(np.real(a) > 0.05, np.sqrt(np.where(np.real(a) > 0.05, a, 1.0)), b),
    lambda a, b: np.max(full(a), axis=0), lambda a, b: np.min(full(b), axis=1, keepdims=True),
    lambda a, b: np.maximum(a, b), lambda a, b: np.minimum(0.4, b),
]  # fmt: skip


def is_traced(step):
    """Whether fastgrad has what the step uses: the tables above are ahead of it in places."""
    try:
        trace(lambda *args: step(*args), [Input((3, 4))] * step.__code__.co_argcount if hasattr(step, "__code__") else
              [Input((3, 4))])  # fmt: skip
    except TraceError:
        return False
    return True


SMOOTH = [step for step in [*ONE, *ONE, *TWO, *TWO, *MOVES] if is_traced(step)]
ALL = SMOOTH + BENDS


def plans(steps, most):
    picks = st.tuples(st.sampled_from(range(len(steps))), st.integers(0, 30), st.integers(0, 30))
    return st.lists(picks, min_size=1, max_size=most)


def function_of(steps, plan):
    def fun(x):
        values = [x, x[0], x[:, :1] * 0.7]
        for number, i, j in plan:
            step = steps[number]
            a, b = values[-1 - i % len(values)], values[-1 - j % len(values)]
            two = hasattr(step, "__code__") and step.__code__.co_argcount == 2
            values.append(step(a, b) if two else step(a))
        return np.sum(values[-1] * 0.7) + 0.2 * np.sum(np.sin(values[-2]))

    return fun


def complex_gradient(fun, x):
    found = np.empty(x.shape)
    for at in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[at] += 1e-30j
        found[at] = np.imag(fun(moved)) * 1e30
    return found


def assert_close(found, right, near):
    assert np.isfinite(right).all()
    np.testing.assert_allclose(found, right, rtol=near, atol=near * max(1, abs(right).max()))


def point(seed, *lead):
    return np.random.default_rng(seed).normal(size=(*lead, 3, 4))


SEEDS = st.integers(0, 2**32 - 1)


def test_most_steps_can_be_traced():
    assert len(SMOOTH) >= 50


@settings(max_examples=200, deadline=None, derandomize=True)
@given(plans(ALL, 25), SEEDS)
def test_value_is_numpys_and_gradient_is_the_complex_step(plan, seed):
    fun, x = function_of(ALL, plan), point(seed)
    value, gradient = fg.value_and_grad(fun)(x)
    assert_close(value, fun(x), 1e-13)
    assert_close(gradient, complex_gradient(fun, x), 1e-12)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(plans(SMOOTH, 12), SEEDS)
def test_second_derivative_along_a_direction(plan, seed):
    fun, (x, direction) = function_of(SMOOTH, plan), point(seed, 2)
    first = fg.grad(fun)
    found = fg.grad(lambda v: np.sum(first(v) * direction))(x)

    def central(h):
        return (complex_gradient(fun, x + h * direction) - complex_gradient(fun, x - h * direction)) / (2 * h)

    coarse, middle, fine = (central(h) for h in (4e-3, 2e-3, 1e-3))
    right = (64 * fine - 20 * middle + coarse) / 45
    assume(abs(right).max() < 1e3)
    assert_close(found, right, 1e-7)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(plans(ALL, 25), SEEDS)
def test_lanes_have_the_bits_of_single_calls(plan, seed):
    both, x = fg.value_and_grad(function_of(ALL, plan)), point(seed, 11)
    values, gradients = fg.vmap(both)(x)
    for i in (0, 4, 10):
        value, gradient = both(x[i])
        assert_same_bits(values[i], value)
        assert_same_bits(gradients[i], gradient)
