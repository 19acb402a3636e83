"""Every operation of the machine's table, on every instruction set: values, accuracy, derivatives.

Elementwise operations are walked generically: one that is added to the table is covered here once NumPy or a line
of REFERENCE or EXACT says what it means.
"""

import functools
import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.special
from exact import exact_digamma, exact_erfcx, exact_gammaln, exact_trigamma, exact_zeta
from helpers import assert_same_bits, evaluate_op, graph_of, operation, run

from fastgrad import _core
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import ELEMENTWISE, TRUTHS, Frozen, Graph, reduction, transpose
from fastgrad._compiler.rules import PARTIALS
from fastgrad._compiler.selection import CORES

FLOATS = [np.float64, np.float32]
BOTH = pytest.mark.parametrize("dtype", FLOATS)
SIZES = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 127, 128, 129]


def softplus(x):
    return np.log1p(np.exp(x)) if np.iscomplexobj(x) else np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


SPECIAL = ("erf", "erfc", "erfcx", "gammaln", "digamma", "trigamma", "zeta")


def by_mpmath(op, *columns):
    if any(map(np.iscomplexobj, columns)):
        return getattr(scipy.special, op)(*columns)

    def at(*row):  # mpmath has no -0
        if any(v != v for v in row):
            return math.nan
        if op == "digamma" and row == (0,):
            return -math.copysign(math.inf, row[0])
        return float(EXACT[op](*map(mpmath.mpf, row))) or math.copysign(0, row[0])

    with mpmath.workprec(160):
        return np.array([at(*row) for row in zip(*[x.tolist() for x in columns], strict=True)])


# operations without a counterpart in NumPy
REFERENCE = {
    "copy": lambda a: a,
    "where": lambda c, a, b: np.where(c != 0, a, b),
    "multiply_add": lambda a, b, c: a * b + c,
    "multiply_subtract": lambda a, b, c: a * b - c,
    "negative_multiply_add": lambda a, b, c: c - a * b,
    "negative_multiply": lambda a, b: -(a * b),
    "multiply_guarded": lambda a, b: np.where(a == 0, 0, a * b),
    "relu": lambda a: np.where(a <= 0, 0, a),
    "gate": lambda a, b: np.where(b <= 0, 0, a),
    "sigmoid": sigmoid,
    "softplus": softplus,
} | {name: functools.partial(by_mpmath, name) for name in SPECIAL}
FUSED = {"multiply_add", "multiply_subtract", "negative_multiply_add"}  # rounded once or twice
ANY_ZERO = {"maximum", "minimum", "fmax", "fmin", "sign"}  # the sign of a zero is not NumPy's


def reference(op):
    return REFERENCE.get(op) or getattr(np, op)


# ---- exact values, for accuracy


def exact_logaddexp(a, b):
    high, low = max(a, b), min(a, b)
    return high + (mpmath.log1p(mpmath.exp(low - high)) if low - high > -2000 else 0)


def exact_power(a, b):
    if a == 0 or a == 1 or b == 0:
        return mpmath.mpf(float(np.power(float(a), float(b))))
    if a < 0 and b != int(b):
        return mpmath.nan
    size = b * mpmath.log(abs(a))
    sign = -1 if a < 0 and int(b) % 2 else 1
    return sign * (mpmath.inf if size > 2000 else 0 if size < -2000 else mpmath.exp(size))


def limited(fun, least, below, most, above):
    """`fun`, without computing what is out of the range of numbers anyway."""
    return lambda x: below(x) if x < least else above(x) if x > most else fun(x)


def always(value):
    return lambda x: mpmath.mpf(value)


def within(least, fun, most):
    """`fun` where it is defined, else NaN."""
    return lambda x: fun(x) if least <= x <= most else mpmath.nan


def logarithm(base):
    return within(0, lambda x: mpmath.log(x, base) if x else mpmath.mpf("-inf"), mpmath.inf)


EXACT = {
    "exp": limited(mpmath.exp, -2000, always(0), 2000, always("inf")),
    "expm1": limited(mpmath.expm1, -2000, always(-1), 2000, always("inf")),
    "exp2": limited(lambda x: mpmath.power(2, x), -2000, always(0), 2000, always("inf")),
    "log": logarithm(mpmath.e),
    "log2": logarithm(2),
    "log10": logarithm(10),
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)),
    "log1p": lambda x: mpmath.nan if x < -1 else mpmath.log1p(x) if x > -1 else mpmath.mpf("-inf"),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "tanh": limited(mpmath.tanh, -200, always(-1), 200, always(1)),
    "sinh": limited(mpmath.sinh, -2000, always("-inf"), 2000, always("inf")),
    "cosh": limited(mpmath.cosh, -2000, always("inf"), 2000, always("inf")),
    "arcsin": within(-1, mpmath.asin, 1),
    "arccos": within(-1, mpmath.acos, 1),
    "arctan": mpmath.atan,
    "arcsinh": mpmath.asinh,
    "arccosh": within(1, mpmath.acosh, mpmath.inf),
    "arctanh": within(-1, lambda x: mpmath.atanh(x) if abs(x) < 1 else x * mpmath.inf, 1),
    "arctan2": mpmath.atan2,
    "hypot": mpmath.hypot,
    "softplus": limited(lambda x: mpmath.log1p(mpmath.exp(x)), -2000, always(0), 2000, lambda x: x),
    "sigmoid": limited(lambda x: 1 / (1 + mpmath.exp(-x)), -2000, always(0), 2000, always(1)),
    "logaddexp": exact_logaddexp,
    "power": exact_power,
    "erf": mpmath.erf,
    "erfc": limited(mpmath.erfc, -100, always(2), 100, always(0)),
    "erfcx": exact_erfcx,
    "gammaln": exact_gammaln,
    "digamma": exact_digamma,
    "trigamma": exact_trigamma,
    "zeta": exact_zeta,
}


def granted(op, right, *at):
    """What an operation is allowed beyond 2 ulp, in units of eps."""
    if op == "zeta" and mpmath.isfinite(right):
        return float((2 + at[0]) * right)
    if op in ("gammaln", "digamma", "trigamma") and -np.inf < at[0] < 0:  # by reflection
        return 8 * max(
            1, abs(float(right)), *(abs(float(f(-mpmath.mpf(float(at[0]))))) for f in (exact_gammaln, exact_digamma))
        )
    return 0


# ---- operands


def special(dtype):
    info = np.finfo(dtype)
    tiny, small, huge = info.smallest_normal, info.smallest_subnormal, info.max
    positive = [0, 1, 0.5, 2, 3, np.pi, info.eps, 1 + info.eps, small, 5 * small, tiny, tiny / 3, huge, huge / 3]
    positive += [1e4, 88.7, 709.7, 745.1, 1 / tiny, np.inf]
    values = np.array(positive, dtype)
    return np.concatenate([values, -values, [np.nan]]).astype(dtype)


@functools.cache
def operands(arity, dtype):
    """All pairs of special values in the first two operands, then random ones of many magnitudes."""
    rng = np.random.default_rng(arity)
    with np.errstate(over="ignore", under="ignore"):
        values = special(dtype)
        if arity == 1:
            columns = [values]
        else:
            columns = list(np.array(list(itertools.product(values, values)), dtype).T)
            columns += [rng.permutation(columns[0]) for _ in range(arity - 2)]
        scale = np.where(rng.random((arity, 300)) < 0.5, 1, 10.0 ** rng.integers(-40, 38, (arity, 300)))
        return [
            np.concatenate([a, b])
            for a, b in zip(columns, (rng.normal(0, 3, scale.shape) * scale).astype(dtype), strict=True)
        ]


def expected(op, columns):
    with np.errstate(all="ignore"):
        return np.asarray(reference(op)(*columns)).astype(columns[0].dtype)


def allowed(op, columns, right):
    """How far from NumPy's value a result may be."""
    dtype = columns[0].dtype
    with np.errstate(all="ignore"):
        if op in EXACT:  # NumPy's own are good to 4 ulp; the sharp bound is in the next test
            bound = 6 * np.spacing(abs(right))
            if op == "logaddexp":
                bound = np.maximum(bound, np.finfo(dtype).eps)
            elif op in SPECIAL:
                rows = zip(right.tolist(), *[x.tolist() for x in columns], strict=True)
                bound += 2 * np.finfo(dtype).eps * np.array([granted(op, *row) for row in rows])
        elif op in FUSED:
            bound = np.spacing(abs(columns[0] * columns[1])) + np.spacing(abs(right))
        else:
            bound = np.zeros_like(right)
    return np.where(np.isfinite(bound), bound, 0)


# ---- the table


def test_the_compiler_knows_the_elementwise_operations_of_the_machine():
    kinds = {}
    for name, arity, kind in _core.operations():
        kinds.setdefault(kind, {})[name] = arity
    assert kinds["elementwise"] == ELEMENTWISE
    assert set(kinds["reduction"]) == set(FOLDS)
    assert set(kinds["structural"]) == {"dot", "matmul", "cast", "gather", "scatter_add", "scan"} | {
        "matmul_add",
        "lane_sum",
        "lane_matmul",
    }
    assert set(kinds["generalised"]) == set(CORES)


@BOTH
@pytest.mark.parametrize("op", ELEMENTWISE)
def test_elementwise_operation_means_what_numpy_means(op, dtype, isa):
    columns = operands(ELEMENTWISE[op], dtype)
    right = expected(op, columns)
    result = evaluate_op(op, *columns)
    with np.errstate(invalid="ignore"):
        wrong = ~(abs(result - right) <= allowed(op, columns, right))
    wrong &= ~((result == right) | (np.isnan(result) & np.isnan(right)))
    if op not in ANY_ZERO:
        wrong |= (result == 0) & (right == 0) & (np.signbit(result) != np.signbit(right))
    if op in FUSED:  # where the product over- or underflows, rounding once gives another result than rounding twice
        with np.errstate(all="ignore"):
            a, b = columns[:2]
            wrong &= np.isfinite(a * b) & ((a * b != 0) | (a == 0) | (b == 0))
    assert not wrong.any(), [x[wrong][:5] for x in (*columns, result, right)]


@BOTH
@pytest.mark.parametrize("op", ELEMENTWISE)
def test_elementwise_operation_gives_the_same_bits_for_any_size_and_layout(op, dtype, isa):
    columns = operands(ELEMENTWISE[op], dtype)
    whole = evaluate_op(op, *columns)
    every = (True,) * len(columns)
    for n in SIZES:
        start = 7 * n % 40
        part = [x[start : start + n] for x in columns]
        assert_same_bits(evaluate_op(op, *part), whole[start : start + n])
        if n:
            assert_same_bits(evaluate_op(op, *part, lanes=every), whole[start : start + n])
            pairs = [np.stack([x, x[::-1]], axis=1) for x in part]
            result = evaluate_op(op, *pairs, lanes=every)
            assert_same_bits(result[:, 0], whole[start : start + n])
            assert_same_bits(result[::-1, 1], whole[start : start + n])
    if len(columns) > 1:  # some operands the same for all lanes
        n, at = 33, 5
        for lanes in itertools.product([False, True], repeat=len(columns)):
            if any(lanes):
                full = [x[:n] if lane else np.repeat(x[at], n) for x, lane in zip(columns, lanes, strict=True)]
                mixed = [x[:n] if lane else x[at] for x, lane in zip(columns, lanes, strict=True)]
                assert_same_bits(evaluate_op(op, *mixed, lanes=lanes), evaluate_op(op, *full))


@BOTH
@pytest.mark.parametrize("op", ["subtract", "sin", "multiply_add"])
def test_elementwise_operation_reads_operands_of_any_stride(op, dtype, isa):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 37, 5)).astype(dtype) for _ in range(ELEMENTWISE[op])]
    right = evaluate_op(op, *arrays)
    for lead in [(), (17,)]:
        orders = list(itertools.permutations(range(3)))

        def build(*nodes, orders=orders):
            back = [transpose(x, np.argsort(orders[i]).tolist()) for i, x in enumerate(nodes)]
            return transpose(operation(op)(*back), orders[-1])

        moved = [
            np.broadcast_to(x.transpose(orders[i]), lead + x.transpose(orders[i]).shape) for i, x in enumerate(arrays)
        ]
        specs = [(x.shape[len(lead) :], dtype) for x in moved]
        compiled = compile_graph(graph_of(build, *specs), (bool(lead),) * len(arrays))
        result = run(compiled, *moved)[0]
        assert_same_bits(result, np.broadcast_to(right.transpose(orders[-1]), result.shape))


# ---- accuracy


def points(op, dtype):
    """A few hundred points where the function is hard or merely ordinary."""
    rng = np.random.default_rng(3)
    info = np.finfo(dtype)
    top, low = np.log10(float(info.max)), np.log10(float(info.smallest_normal))
    if ELEMENTWISE[op] == 1:
        turns = np.concatenate([np.arange(1, 9), rng.integers(10, 10**6, 12)]) * np.pi / 2
        parts = [
            rng.normal(0, 1, 60),
            rng.uniform(-2.4 * top, 2.4 * top, 80),  # through under- and overflow of exp
            rng.uniform(-1, 1, 30) * 1e-3,
            1 + rng.normal(0, 1e-3, 20),
            turns,
            10.0 ** rng.uniform(low - 6, top, 60),
            -(10.0 ** rng.uniform(low - 6, top, 30)),
            special(np.float32).astype(float),
        ]
        with np.errstate(over="ignore", under="ignore"):
            return [np.concatenate([*(x.astype(dtype) for x in parts), special(dtype)])]
    if op == "power":
        a = np.concatenate([abs(rng.normal(1, 0.5, 150)), 10.0 ** rng.uniform(low, top, 100), -np.arange(1.0, 30)])
        size = np.where(abs(np.log(abs(a))) > 1e-3, np.log(abs(a)), 1)
        b = np.concatenate([(rng.uniform(-2.4, 2.4, 250) * top / size[:250]), rng.integers(-30, 30, 29)])
    elif op == "zeta":
        a, b = 1 + 10.0 ** rng.uniform(-8, 1.5, 200), 10.0 ** rng.uniform(-4, 4, 200)
    elif op == "logaddexp":
        a = np.concatenate([rng.normal(0, 3, 150), rng.uniform(-1000, 1000, 100)])
        b = a + rng.normal(0, 1, 250) * 10.0 ** rng.uniform(-8, 2, 250)
    else:  # of two coordinates: in all directions, near and far
        far = 10.0 ** rng.uniform(low + 3, top - 3, 100) * rng.choice([-1, 1], 100)
        a = np.concatenate([rng.normal(0, 3, 300), far, far])
        b = np.concatenate([rng.normal(0, 3, 300), far[::-1], far * rng.normal(0, 3, 100)])
    return [a.astype(dtype), b.astype(dtype)]


@functools.cache
def exact_values(op, dtype):
    """Points, and for each the exact value and its size as a float."""
    columns = points(op, dtype)
    finite = np.isfinite(columns).all(axis=0) & ((columns[0] != 0) | (op != "digamma"))  # mpmath has no -0
    columns = [x[finite] for x in columns]
    with mpmath.workprec(160):
        return columns, [EXACT[op](*map(mpmath.mpf, map(float, row))) for row in zip(*columns, strict=True)]


def error_in_ulp(value, exact, dtype):
    with np.errstate(over="ignore", under="ignore"):
        rounded = dtype(float(exact))
    if not np.isfinite(rounded):
        return 0.0 if np.array_equal(rounded, value, equal_nan=True) else math.inf
    if not np.isfinite(value):
        return math.inf
    below = abs(rounded) - np.nextafter(abs(rounded), dtype(0)) if rounded else np.finfo(dtype).smallest_subnormal
    return abs(float((mpmath.mpf(float(value)) - exact) / mpmath.mpf(float(below))))


@BOTH
@pytest.mark.parametrize("op", EXACT)
def test_elementary_function_is_within_2_ulp(op, dtype, isa):
    columns, exact = exact_values(op, dtype)
    result = evaluate_op(op, *columns)
    worst, where = 0.0, None
    with mpmath.workprec(160):
        for *at, value, right in zip(*columns, result, exact, strict=True):
            error = error_in_ulp(value, right, dtype)
            if op == "logaddexp" and error > 2 and abs(float(value) - right) <= 2**-57:
                continue  # its two parts cancelled
            if error > 2 and abs(value - right) <= np.finfo(dtype).eps * granted(op, right, *at):
                continue
            if error > worst:
                worst, where = error, (at, value, right)
    assert worst <= 2, f"{op} is {worst:.2f} ulp off at {where}"


# ---- derivatives

DIFFERENTIABLE = [op for op in ELEMENTWISE if op not in TRUTHS and op in PARTIALS] + [
    "where",
    "multiply_guarded",
    "relu",
    "gate",
]
POSITIVE = {"power", "log", "log2", "log10", "sqrt", "arccosh", "trigamma", "zeta"}
NO_COMPLEX = {"maximum", "minimum", "absolute", "sign", "logaddexp", "where", "cbrt", "hypot", "arctan2", "copysign"}
NO_COMPLEX |= {"fmax", "fmin", "floor", "ceil", "trunc", "rint", "fmod", "remainder", "floor_divide"}
NO_COMPLEX |= {"gammaln", "trigamma", "zeta", "relu", "gate"}
CONSTANT_FIRST = {"where", "zeta"}  # not differentiated by the first operand


@BOTH
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_gradient_of_an_operation_is_its_derivative(op, dtype, isa):
    rng = np.random.default_rng(4)
    n, arity = 17, ELEMENTWISE[op]
    columns = [rng.uniform(0.2, 0.9, n) * (1 if op in POSITIVE else rng.choice([-1, 1], n)) for _ in range(arity)]
    if op == "where":
        columns[0] = (columns[0] > 0).astype(float)
    if op == "arccosh":
        columns[0] += 1
    if op == "zeta":
        columns[0] += 2
    weights = rng.normal(size=n)

    def loss(*nodes):
        y = operation(op)(*nodes[:-1])
        return reduction("sum", y * nodes[-1])

    wrong = 1e-13 if dtype == np.float64 else 2e-5
    derivatives = [slope(op, columns, i) * weights for i in range(arity)]
    for lanes in (False, True):
        graph = graph_of(loss, *[(() if lanes else (n,), dtype)] * (arity + 1))
        both = value_and_gradient(graph, range(arity))
        compiled = compile_graph(Graph(both.inputs, both.outputs), (lanes,) * (arity + 1))
        arrays = [x.astype(dtype) for x in (*columns, weights)]
        for i, result in enumerate(run(compiled, *arrays)[1:]):
            if not (i == 0 and op in CONSTANT_FIRST):
                tolerance = max(wrong, 1e-9 if op in NO_COMPLEX else 0)
                np.testing.assert_allclose(result, derivatives[i], rtol=tolerance, atol=tolerance)


def slope(op, columns, i):
    """The derivative by operand i: complex step, else central differences by Richardson's scheme."""
    if op not in NO_COMPLEX:
        moved = [x.astype(complex) for x in columns]
        moved[i] = moved[i] + 1e-30j
        return reference(op)(*moved).imag / 1e-30

    def central(h):
        return np.subtract(*[reference(op)(*columns[:i], columns[i] + s * h, *columns[i + 1 :]) for s in (1, -1)]) / (
            2 * h
        )

    return (64 * central(2.5e-4) - 20 * central(5e-4) + central(1e-3)) / 45


# ---- reductions

FOLDS = {"sum": math.fsum, "prod": math.prod, "max": max, "min": min}
LENGTHS = [0, 1, 2, 3, 15, 16, 17, 31, 33, 100, 1023, 1024, 1025, 2047, 2049, 3073, 5000]
EMPTY = {"sum": 0, "prod": 1, "max": -np.inf, "min": np.inf}


def fold_values(op, n, dtype):
    x = np.random.default_rng(n).normal(0, 1, n)
    return (1 + x / 100 if op == "prod" else x).astype(dtype)


@BOTH
@pytest.mark.parametrize("op", FOLDS)
def test_reduction_of_any_length(op, dtype, isa):
    eps = np.finfo(dtype).eps
    for n in LENGTHS:
        x = fold_values(op, n, dtype)
        right = FOLDS[op](x.tolist()) if n else EMPTY[op]
        # 64 additions in a row, 4 + 3 levels of halving
        bound = {"sum": 40 * eps * abs(x.astype(float)).sum(), "prod": n * eps * abs(right)}.get(op, 0) if n else 0
        along = evaluate_op(op, x, attributes=(0,))
        assert abs(float(along) - right) <= bound if n else along == right, n
        across = np.stack([x, x[::-1], x], axis=1)
        assert_same_bits(evaluate_op(op, across, attributes=(0,))[[0, 2]], np.repeat(along, 2))
        every_other = np.repeat(x, 2)
        strided = graph_of(
            lambda a: reduction(op, a.builder.make("slice", (a,), ((0, a.size // 2, 2),))), ((2 * n,), dtype)
        )
        assert_same_bits(run(compile_graph(strided), every_other)[0], along)
        if n < 2000:
            lanes = evaluate_op(op, np.tile(x, (17, 1)), attributes=(0,), lanes=(True,))
            assert_same_bits(lanes, np.repeat(along, 17))


@BOTH
@pytest.mark.parametrize("op", ["sum", "prod", "max", "min"])
def test_reduction_meets_special_values_like_numpy(op, dtype, isa):
    for n in [1, 5, 16, 40]:
        for value in special(dtype):
            for at in {0, n // 2, n - 1}:
                x = np.ones(n, dtype)
                x[at] = value
                with np.errstate(all="ignore"):
                    right = getattr(np, op)(x)
                np.testing.assert_allclose(evaluate_op(op, x, attributes=(0,)), right, rtol=20 * np.finfo(dtype).eps)
    zeros = np.full(20, -0.0, dtype)
    assert_same_bits(evaluate_op("sum", zeros, attributes=(0,)), dtype(-0.0))


@BOTH
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_reduction_over_any_axes(axes, dtype, isa):
    x = np.random.default_rng(5).normal(size=(3, 34, 5)).astype(dtype)
    for op in FOLDS:
        right = getattr(np, op)(x.astype(float), axis=axes)
        result = evaluate_op(op, x, attributes=axes)
        np.testing.assert_allclose(result, right, rtol=100 * np.finfo(dtype).eps, atol=40 * np.finfo(dtype).eps)
        batch = np.stack([x + i for i in range(19)]).astype(dtype)
        lanes = evaluate_op(op, batch, attributes=axes, lanes=(True,))
        for i in range(19):
            assert_same_bits(lanes[i], evaluate_op(op, batch[i], attributes=axes))


@BOTH
def test_dot_of_any_length_and_kind(dtype, isa):
    eps = np.finfo(dtype).eps
    for n in LENGTHS:
        a, b = fold_values("dot", n, dtype), fold_values("dot", n + 1, dtype)[1:]
        products = [u * v for u, v in zip(a.tolist(), b.tolist(), strict=True)]
        one = evaluate_op("dot", a, b, attributes=(0,))
        assert abs(float(one) - math.fsum(products)) <= 40 * eps * math.fsum(map(abs, products))
        if n < 2000:
            for lanes in [(True, True), (True, False), (False, True)]:
                arrays = [np.tile(x, (17, 1)) if lane else x for x, lane in zip((a, b), lanes, strict=True)]
                assert_same_bits(evaluate_op("dot", *arrays, attributes=(0,), lanes=lanes), np.repeat(one, 17))


# ---- matrix products


def turned(x, turn):
    """A node or an array with its last two axes exchanged, if told to."""
    axes = list(range(len(x.shape)))
    order = [*axes[:-2], axes[-1], axes[-2]]
    return x if not turn else x.transpose(order) if isinstance(x, np.ndarray) else transpose(x, order)


MATRICES = [
    (1, 1, 1),
    (3, 5, 7),
    (1, 33, 1),
    (17, 1, 33),
    (1, 7, 40),
    (40, 7, 1),
    (2, 0, 3),
    (13, 130, 35),
    (33, 65, 17),
]


@BOTH
@pytest.mark.parametrize("lanes", list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("shape", MATRICES)
def test_matrix_product_in_all_kinds_and_layouts(shape, lanes, dtype, isa):
    m, k, n = shape
    rng = np.random.default_rng(6)
    batch = 18 if any(lanes) else None
    if batch and m * k * n > 20000:
        m, k, n = m // 2, k // 4, n // 2
    for groups, turn_a, turn_b, turn_out in [
        ((), 0, 0, 0),
        ((), 1, 0, 0),
        ((), 0, 1, 0),
        ((), 1, 1, 0),
        ((), 0, 0, 1),
        ((2,), 1, 0, 1),
    ]:

        def build(a, b, turns=(turn_a, turn_b, turn_out)):
            return turned(operation("matmul")(turned(a, turns[0]), turned(b, turns[1])), turns[2])

        a_shape, b_shape = [(*groups, *(x[::-1] if t else x)) for x, t in (((m, k), turn_a), ((k, n), turn_b))]
        compiled = compile_graph(graph_of(build, (a_shape, dtype), (b_shape, dtype)), lanes)
        a, b = [
            rng.normal(size=(batch, *s) if lane else s).astype(dtype)
            for s, lane in zip((a_shape, b_shape), lanes, strict=True)
        ]
        result = run(compiled, a, b)[0]
        left, right = turned(a, turn_a), turned(b, turn_b)
        if batch and groups:
            left, right = [x if lane else x[None] for x, lane in zip((left, right), lanes, strict=True)]
        left, right = left.astype(float), right.astype(float)
        exact, size = left @ right, abs(left) @ abs(right)
        result = turned(result, turn_out)
        assert result.shape == exact.shape
        assert (abs(result - exact) <= (k + 1) * np.finfo(dtype).eps * size).all()


# ---- moving elements

PICKED = np.array([3, 0, 3, 7, 7, 7, 1])


@BOTH
@pytest.mark.parametrize("batch", [None, 1, 17, 130])
def test_gather_and_scatter_add_repeat_and_skip_elements(batch, dtype, isa):
    lead = () if batch is None else (batch,)
    lanes = (batch is not None,)
    x = np.random.default_rng(7).normal(size=(*lead, 2, 4)).astype(dtype)
    flat = x.reshape(*lead, 8)
    table = Frozen(PICKED.copy())
    result = evaluate_op("gather", x, attributes=(table, (7, 1)), lanes=lanes)
    assert_same_bits(result, flat[..., PICKED, None])
    values = np.random.default_rng(8).normal(size=(*lead, 7)).astype(dtype)
    right = np.zeros((*lead, 8), dtype)
    for i, target in enumerate(PICKED):
        right[..., target] += values[..., i]
    result = evaluate_op("scatter_add", values, attributes=(table, (2, 4)), lanes=lanes)
    assert_same_bits(result, right.reshape(*lead, 2, 4))


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("lanes", [False, True])
def test_cast_rounds_like_numpy(source, lanes, isa):
    target = np.dtype(np.float32 if source == np.float64 else np.float64)
    x = np.concatenate([special(np.float64), 1 + np.arange(20) * 2.0**-24, operands(1, np.float64)[0]])
    with np.errstate(all="ignore"):
        x = x.astype(source)
        right = x.astype(target)
    assert_same_bits(evaluate_op("cast", x, attributes=target, lanes=(lanes,)), right)
