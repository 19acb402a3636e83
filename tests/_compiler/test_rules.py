"""Every rule of the tables against differences, by walking the tables; and the rules' special points."""

import itertools

import numpy as np
import pytest
from interpret import directional, evaluate

from fastgrad._compiler import graph as g
from fastgrad._compiler.autodiff import backward, value_and_gradient
from fastgrad._compiler.batching import batched
from fastgrad._compiler.forward import forward
from fastgrad._compiler.graph import ELEMENTWISE, FLOAT64, INFER, Builder, Frozen, Graph
from fastgrad._compiler.loops import Loop
from fastgrad._compiler.rules import LINEAR, PARTIALS, PULLBACKS, PUSHFORWARDS
from fastgrad._compiler.simplify import simplify
from fastgrad._compiler.trace import Input, trace

RNG = np.random.default_rng(1)


def spaced(*shape):
    """Numbers without near ties, so that differences do not cross a kink."""
    n = int(np.prod(shape))
    return (RNG.permutation(n).reshape(shape) - n / 2 + 0.3) / 3


def positive(*shape):
    return 0.3 + RNG.random(shape)


def recurrence():
    """A loop of 5 steps that stores every other carry."""
    builder = Builder()
    carry, row, whole = (builder.input(shape, FLOAT64) for shape in [(2,), (3,), (2,)])
    after = g.sin(carry * whole) + g.slice_axis(row, 0, 0, 2) * carry
    made = g.concatenate([g.slice_axis(row, 0, 2, 1) * g.slice_axis(after, 0, 0, 1), carry * carry], 0)
    return Loop(Graph((carry, row, whole), (after, made)), 5, 2, 1)


POSITIVE = {"power", "log", "log2", "log10", "log1p", "sqrt", "divide", "gammaln", "digamma", "trigamma", "zeta"}
BELOW_1 = {"arcsin", "arccos", "arctanh"}
PICK = (Frozen(np.array([4, 0, 4, 11, 2, 7])), (2, 3))
# op: (shapes of the operands, attributes)
EXAMPLES = {
    "sum": ([(3, 4)], (1,)),
    "prod": ([(3, 5)], (1,)),
    "max": ([(3, 4)], (0,)),
    "min": ([(3, 4)], (0, 1)),
    "dot": ([(3, 4), (3, 4)], (1,)),
    "matmul": ([(2, 3, 4), (2, 4, 5)], ()),
    "cast": ([(3, 4)], FLOAT64),
    "reshape": ([(3, 4)], (2, 6)),
    "transpose": ([(2, 3, 4)], (2, 0, 1)),
    "broadcast": ([(3, 1)], (2, 3, 4)),
    "slice": ([(4, 5)], ((3, 2, -2), (1, 2, 3))),
    "index_add": ([(4, 5), (2, 2)], ((3, 2, -2), (1, 2, 3))),
    "gather": ([(3, 4)], PICK),
    "scatter_add": ([(2, 3)], (PICK[0], (3, 4))),
    "concatenate": ([(3, 2), (3, 4)], 1),
    "stop_gradient": ([(3, 4)], ()),
    "scan": ([(2,), (5, 3), (2,)], recurrence()),
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin", "sort_pairs"], ([(3, 4)], ())),
    "recurrence": ([(3, 4), (3, 4)], ()),
    "take_along": ([(2, 4), (2, 3)], ()),
    "put_along": ([(2, 3), (2, 3)], 4),
    **dict.fromkeys(["search_left", "search_right"], ([(2, 4), (2, 3)], ())),
    **dict.fromkeys(["solve", "solve_lower"], ([(2, 3, 3), (2, 3, 2)], ())),
    **dict.fromkeys(["det", "slogdet", "cholesky", "eigh"], ([(2, 3, 3)], ())),
}


def dominant(*shape):
    """Matrices far from singular, positive definite, with eigenvalues and pivots well apart."""
    return RNG.random(shape) / 2 + np.diag(1.5 + 2 * np.arange(shape[-1]))


# arguments that an operation needs to be smooth there
ARGUMENTS = {
    "take_along": lambda: [spaced(2, 4), np.array([[3.0, 0, 3], [1, 2, 0]]) + 0.4],
    "put_along": lambda: [spaced(2, 3), np.array([[3.0, 0, 3], [1, 2, 0]]) + 0.4],
    "search_left": lambda: [np.sort(spaced(2, 4)), spaced(2, 3) + 0.1],
    "search_right": lambda: [np.sort(spaced(2, 4)), spaced(2, 3) + 0.1],
    **dict.fromkeys(["solve", "solve_lower"], lambda: [dominant(2, 3, 3), spaced(2, 3, 2)]),
    **dict.fromkeys(["det", "slogdet", "cholesky", "eigh"], lambda: [dominant(2, 3, 3)]),
}
DIFFERENTIABLE = sorted({*PARTIALS, *PULLBACKS} - {"stop_gradient"})


def example(op):
    """A graph of one node and arguments for it."""
    shapes, attributes = EXAMPLES.get(op, ([(3, 4)] * ELEMENTWISE.get(op, 0), ()))
    builder = Builder()
    inputs = tuple(builder.input(shape, FLOAT64) for shape in shapes)
    if op in ARGUMENTS:
        return Graph(inputs, (builder.make(op, inputs, attributes),)), ARGUMENTS[op]()
    # operands a tenth apart: differences must not cross a tie
    arguments = [positive(*s) if op in POSITIVE else spaced(*s) + 0.1 * i for i, s in enumerate(shapes)]
    if op == "zeta":
        arguments[0] += 1.5
    if op == "tan":
        arguments[0] /= 2  # clear of the pole
    if op in BELOW_1:
        arguments[0] /= 3
    if op == "arccosh":
        arguments[0] = 1.3 + abs(arguments[0])
    return Graph(inputs, (builder.make(op, inputs, attributes),)), arguments


def scalar(graph, weights):
    """The sum of weights times the output, squared so that second derivatives exist everywhere."""
    y = graph.outputs[0] * graph.outputs[0].builder.constant(weights)
    return Graph(graph.inputs, (g.reduction("sum", y * y + y),))


def check(graph, arguments, tolerance=1e-7):
    directions = [RNG.standard_normal(np.shape(x)) for x in arguments]
    if any(node.op == "zeta" and node.inputs[0] is graph.inputs[0] for node in graph.nodes):
        directions[0] *= 0  # its order is never differentiated
    value, *gradients = evaluate(value_and_gradient(graph, range(len(arguments))), *arguments)
    measured = directional(lambda *args: evaluate(graph, *args)[0], arguments, directions)
    found = sum(np.sum(d * gradient) for d, gradient in zip(directions, gradients, strict=True))
    assert found == pytest.approx(measured, rel=tolerance, abs=tolerance)
    assert value == evaluate(graph, *arguments)[0]
    for gradient, x in zip(gradients, graph.inputs, strict=True):
        assert gradient.shape == x.shape
        assert gradient.dtype == x.dtype


def test_every_operation_has_a_rule():
    assert set(PARTIALS) | set(PULLBACKS) == set(ELEMENTWISE) | set(INFER) - {"lane_sum"}  # made after differentiation
    assert not set(PARTIALS) & set(PULLBACKS)
    assert set(PULLBACKS) == LINEAR | set(PUSHFORWARDS)
    assert set(INFER) - {"lane_sum"} == set(EXAMPLES)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_first_derivative(op):
    graph, arguments = example(op)
    check(scalar(graph, RNG.standard_normal(graph.outputs[0].shape)), arguments)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_second_derivative(op):
    graph, arguments = example(op)
    first = value_and_gradient(scalar(graph, RNG.standard_normal(graph.outputs[0].shape)), range(len(arguments)))
    total = 0.0
    for gradient in first.outputs[1:]:
        weights = gradient.builder.constant(RNG.standard_normal(gradient.shape))
        total = total + g.reduction("sum", gradient * weights)
    check(Graph(first.inputs, (total,)), arguments, tolerance=1e-5)
    simple = simplify(Graph(first.inputs, (total,)))
    check(simple, arguments, tolerance=1e-5)


@pytest.mark.parametrize("op", [*DIFFERENTIABLE, "stop_gradient"])
def test_forward_and_reverse_mode_are_adjoint(op):
    graph, arguments = example(op)
    (y,) = graph.outputs
    directions = [RNG.standard_normal(x.shape) for x in graph.inputs]
    adjoint = RNG.standard_normal(y.shape)
    constants = [y.builder.constant(d) for d in directions]
    (tangent,) = evaluate(Graph(graph.inputs, tuple(forward([y], graph.inputs, constants))), *arguments)
    pulled = evaluate(
        Graph(graph.inputs, tuple(backward([y], [y.builder.constant(adjoint)], graph.inputs))), *arguments
    )
    left = np.sum(adjoint * tangent)
    right = sum(np.sum(d * p) for d, p in zip(directions, pulled, strict=True))
    assert left == pytest.approx(right, rel=1e-13, abs=1e-13)


@pytest.mark.parametrize("op", [*DIFFERENTIABLE, "stop_gradient"])
def test_a_batch_is_its_instances(op):
    graph, arguments = example(op)
    for flags in itertools.product([True, False], repeat=len(arguments)):
        many = [np.stack([x, 1.25 * x, x + 0.125]) if flag else x for x, flag in zip(arguments, flags, strict=True)]
        (found,) = evaluate(batched(graph, flags, 3), *many)
        for i in range(3):
            one = [x[i] if flag else x for x, flag in zip(many, flags, strict=True)]
            np.testing.assert_array_equal(found[i], evaluate(graph, *one)[0])


@pytest.mark.parametrize("op", sorted(op for op in PARTIALS if op not in g.TRUTHS))
def test_elementwise_rules_hold_in_float32(op):
    builder = Builder()
    inputs = tuple(builder.input((4,), g.FLOAT32) for _ in range(ELEMENTWISE[op]))
    graph = Graph(inputs, (g.reduction("sum", builder.make(op, inputs)),))
    both = value_and_gradient(graph, range(len(inputs)))
    assert all(x.dtype is g.FLOAT32 for x in both.nodes)
    evaluate(both, *[positive(4) for _ in inputs])


def gradient(fun, *arguments):
    """The gradient by the first argument, from the plain and the simplified graph, which must agree."""
    arguments = [np.asarray(x, float) for x in arguments]
    graph = trace(fun, [Input(x.shape) for x in arguments])
    plain = evaluate(value_and_gradient(graph, [0]), *arguments)[1]
    simple = evaluate(simplify(value_and_gradient(simplify(graph), [0])), *arguments)[1]
    np.testing.assert_allclose(simple, plain, rtol=1e-12)
    return plain


def total(fun):
    return lambda *args: np.sum(fun(*args))


def test_absolute_value_is_flat_at_zero():
    assert gradient(np.abs, 0.0) == 0


def test_ties_of_maximum_and_minimum_share_half_each():
    assert gradient(np.maximum, 1.0, 1.0) == 0.5
    assert gradient(np.minimum, 1.0, 1.0) == 0.5
    assert gradient(lambda x: np.maximum(x, 0), 0.0) == 0.5
    assert gradient(lambda x: np.maximum(x, x), 3.0) == 1


def test_ties_of_max_and_min_share_equally():
    np.testing.assert_array_equal(gradient(np.max, [1.0, 3, 3, 0]), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(gradient(total(lambda x: x.min(0)), [[1.0, 3], [1, 0], [1, 0]]),
                                  [[1 / 3, 0], [1 / 3, 0.5], [1 / 3, 0.5]])  # fmt: skip


def test_power_has_no_nan_where_it_is_smooth():
    assert gradient(lambda x: x**0, 0.0) == 0
    assert gradient(lambda x: x**1, 0.0) == 1
    assert gradient(lambda x: x**2.5, 0.0) == 0
    assert gradient(lambda x: x ** np.array(2.0), -3.0) == -6
    np.testing.assert_array_equal(gradient(total(lambda x: x ** np.arange(4)), [0.0, 0, 0, 0]), [0, 1, 0, 0])
    np.testing.assert_array_equal(gradient(total(lambda x, n: x**n), [0.0, 0, 0, -2], [0.0, 1, 2, 3]), [0, 1, 0, 12])
    np.testing.assert_array_equal(gradient(total(lambda n, x: x**n), [2.0, 0.5], [0.0, 0.0]), [0, 0])


def test_square_root_is_vertical_at_zero():
    assert gradient(np.sqrt, 0.0) == np.inf


def test_remainders_count_whole_parts_exactly():
    third, below = 1 / 3, np.nextafter(1.0, 0.0)  # below / third rounds to 3, but third goes into it twice
    assert gradient(lambda b: np.fmod(below, b), third) == -2
    assert gradient(lambda b: np.remainder(below, b), third) == -2
    assert gradient(lambda b: np.fmod(-7.3, b), 2.0) == 3
    graph = value_and_gradient(trace(np.fmod, [Input(()), Input(())]), [1])
    second = value_and_gradient(Graph(graph.inputs, graph.outputs[1:]), [1])
    assert evaluate(second, 7.3, 2.1)[1] == 0


def test_logaddexp_is_stable_at_infinity_and_curved_at_a_tie():
    inf = np.inf
    np.testing.assert_array_equal(
        gradient(total(np.logaddexp), [inf, inf, -inf, -inf, 800, 0], [inf, 0, -inf, 0, 0, -900]),
        [0.5, 1, 0.5, 0, 1, 1],
    )
    graph = value_and_gradient(trace(np.logaddexp, [Input(()), Input(())]), [0])
    second = value_and_gradient(Graph(graph.inputs, graph.outputs[1:]), [0])
    assert evaluate(second, 0.7, 0.7) == [0.5, 0.25]


def test_the_greater_and_the_lesser_number_leave_nan_out():
    nan = np.nan
    for fun, right in ((np.fmax, [0.5, 0, 1, 1, 0]), (np.fmin, [0.5, 1, 0, 1, 0])):
        np.testing.assert_array_equal(gradient(total(fun), [1.0, 1, 2, 3, nan], [1.0, 2, 1, nan, 3]), right)


def test_steps_are_flat_and_remainders_have_their_slope():
    for fun in (np.floor, np.ceil, np.trunc, np.rint, lambda x: x // 0.3, lambda x: 2 // x):
        assert gradient(fun, 1.7) == 0
    assert gradient(np.remainder, -7.0, 3.0) == gradient(np.fmod, -7.0, 3.0) == 1
    assert gradient(lambda b, a: np.remainder(a, b), 3.0, -7.0) == 3
    assert gradient(lambda b, a: np.fmod(a, b), 3.0, -7.0) == 2
    np.testing.assert_array_equal(gradient(total(np.copysign), [2.0, -2, 2, -2], [1.0, 1, -1, -0.0]), [1, -1, -1, 1])
    np.testing.assert_array_equal(gradient(total(lambda x: np.modf(x)[0]), [1.0, -2.5]), [1, 1])


def test_inverse_functions_keep_accuracy_next_to_their_singular_points():
    near = 1 - 2.0**-40
    right = 1 / np.sqrt(2.0**-40 * (2 - 2.0**-40))
    np.testing.assert_allclose(gradient(np.arcsin, near), right, rtol=1e-15)
    np.testing.assert_allclose(gradient(np.arccos, -near), -right, rtol=1e-15)
    np.testing.assert_allclose(gradient(np.arctanh, near), right**2, rtol=1e-15)
    np.testing.assert_allclose(gradient(np.arccosh, 1 + 2.0**-40), 1 / np.sqrt(2.0**-40 * (2 + 2.0**-40)), rtol=1e-15)
    assert gradient(np.arcsin, 1.0) == gradient(np.arctanh, 1.0) == np.inf
    np.testing.assert_allclose(gradient(np.arccosh, 1e200), 1e-200, rtol=1e-15)
    np.testing.assert_allclose(gradient(np.arcsinh, -1e200), 1e-200, rtol=1e-15)
    np.testing.assert_allclose(gradient(np.cbrt, -8e-300), 1 / (3 * 4e-200), rtol=1e-15)


def test_distances_and_angles_neither_over_nor_underflow():
    assert gradient(np.hypot, 0.0, 0.0) == 0
    for size in (1e-200, 1.0, 1e200):
        np.testing.assert_allclose(gradient(np.hypot, 3 * size, 4 * size), 0.6, rtol=1e-15)
        np.testing.assert_allclose(gradient(np.arctan2, 3 * size, -4 * size), -0.16 / size, rtol=1e-15)
        np.testing.assert_allclose(
            gradient(lambda x, y: np.arctan2(y, x), -4 * size, 3 * size), -0.12 / size, rtol=1e-15
        )


def test_products_survive_zeros_at_first_and_second_order():
    np.testing.assert_array_equal(gradient(np.prod, [2.0, 0, 3, 5]), [0, 30, 0, 0])
    np.testing.assert_array_equal(gradient(np.prod, [2.0, 0, 0, 5]), [0, 0, 0, 0])
    np.testing.assert_array_equal(gradient(np.prod, [7.0]), [1])
    assert gradient(np.prod, np.zeros(0)).shape == (0,)
    graph = value_and_gradient(trace(np.prod, [Input((4,))]), [0])
    (row,) = backward([graph.outputs[1]], [graph.outputs[1].builder.constant(np.eye(4)[1])], graph.inputs)
    assert evaluate(Graph(graph.inputs, (row,)), [2.0, 0, 0, 5])[0].tolist() == [0, 0, 10, 0]


def test_the_norm_has_gradient_zero_at_zero():
    np.testing.assert_array_equal(gradient(np.linalg.norm, [0.0, 0]), [0, 0])
    np.testing.assert_allclose(gradient(np.linalg.norm, [3.0, 4]), [0.6, 0.8])


def test_factors_that_a_sum_repeats_are_multiplied_once():
    def peak(p, x, y):
        return np.sum((p[0] * np.exp(-((x - p[1]) ** 2) / (2 * p[2] ** 2)) - y) ** 2)

    inputs = [Input((3,), FLOAT64), Input((25,), FLOAT64), Input((25,), FLOAT64)]
    both = value_and_gradient(simplify(trace(peak, inputs)), [0])
    long = [x for x in simplify(both).nodes if x.shape == (25,) and x.op in ("multiply", "divide")]
    assert len(long) <= 8  # of which the function itself has five, and a gradient needs products for three sums
