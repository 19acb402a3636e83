"""Operations on the last axes, in the machine, on every instruction set: values, and the same bits alone, in any lane
and in any layout."""

import itertools

import numpy as np
import pytest
from helpers import assert_same_bits, evaluate_op, graph_of, operation, run

from fastgrad._compiler.along import INFER
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import GENERALISED, transpose

BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32])
RNG = np.random.default_rng(0)
LENGTHS = [1, 2, 3, 7, 8, 15, 16, 17, 33, 100]


def normal(*shape):
    return RNG.normal(size=shape)


def system(n):
    return lambda lead: [normal(*lead, n, n) + np.eye(n) * 2, normal(*lead, n, 3)]


def symmetric(n):
    """The upper triangle is something else: it is not read."""
    return lambda lead: [normal(*lead, n, n) + np.diag(3.0 * n + np.arange(n))]


# op: operands for some leading axes; what it computes in float64; the tolerance in units of rounding
CASES = {
    **{
        (op, n): (lambda lead, n=n: [normal(*lead, n) / 3 + 1], lambda a, f=f: f(a, -1), 2 * n)
        for n in LENGTHS
        for op, f in {
            "cumsum": np.cumsum,
            "cumprod": np.cumprod,
            "cummax": np.maximum.accumulate,
            "cummin": np.minimum.accumulate,
        }.items()
    },
    **{
        ("sort_pairs", n): (
            lambda lead, n=n: [np.round(normal(*lead, n) * 4)],
            lambda a: np.stack([np.sort(a, -1), np.argsort(a, -1, kind="stable").astype(a.dtype)], -2),
            0,
        )
        for n in [*LENGTHS, 3000]
    },
    **{
        ("solve", n): (system(n), np.linalg.solve, 400 * n)
        for n in [1, 2, 3, 5, 9, 20]
    },
    **{
        ("solve_lower", n): (lambda lead, n=n: [symmetric(n)(lead)[0], normal(*lead, n, 2)],
                             lambda a, b: np.linalg.solve(np.tril(a), b), 40 * n)
        for n in [1, 3, 9, 20]
    },
    **{("det", n): (lambda lead, n=n: system(n)(lead)[:1], np.linalg.det, 400 * n) for n in [1, 2, 4, 9]},
    **{
        ("slogdet", n): (lambda lead, n=n: system(n)(lead)[:1],
                         lambda a: np.stack(np.linalg.slogdet(a), -1), 400 * n) for n in [1, 2, 5, 9]
    },
    **{("cholesky", n): (symmetric(n), np.linalg.cholesky, 40 * n) for n in [1, 2, 3, 9, 20]},
    **{
        ("eigh", n): (symmetric(n), lambda a: np.concatenate([(w := np.linalg.eigh(a))[0][..., None, :], w[1]], -2),
                      400 * n) for n in [1, 2, 3, 8]
    },
    ("recurrence", 7): (
        lambda lead: [normal(*lead, 7), np.where(abs(normal(*lead, 7)) < 0.5, 0, normal(*lead, 7))],
        lambda a, b: np.stack(recurrence(a, b), -1),
        60,
    ),
    ("take_along", 4): (
        lambda lead: [normal(*lead, 5), RNG.integers(0, 5, (*lead, 4)).astype(float)],
        lambda a, p: np.take_along_axis(a, p.astype(int), -1),
        0,
    ),
    **{
        (op, 33): (
            lambda lead: [np.sort(np.round(normal(*lead, 33))), np.round(normal(*lead, 6))],
            lambda a, b, side=side: np.vectorize(
                lambda a, b: np.searchsorted(a, b, side), signature="(n),(m)->(m)")(a, b),
            0,
        )
        for op, side in [("search_left", "left"), ("search_right", "right")]
    },
    ("put_along", 4): (
        lambda lead: [normal(*lead, 4), RNG.integers(0, 5, (*lead, 4)).astype(float)],
        lambda a, p: (a[..., None, :] * (p[..., None, :] == np.arange(5.0)[:, None])).sum(-1),
        10,
    ),
}  # fmt: skip
ATTRIBUTES = {"put_along": 5}


def recurrence(a, b):
    y, rows = 0 * b[..., 0], []
    for i in range(a.shape[-1]):
        y = b[..., i] + (a[..., i] * y if i else 0)
        rows.append(y)
    return rows


def test_every_operation_is_here():
    assert {op for op, _ in CASES} == GENERALISED & set(INFER)


@BOTH
@pytest.mark.parametrize(("op", "n"), CASES, ids=lambda x: str(x))
def test_operation_alone_in_lanes_and_in_any_layout(op, n, dtype, isa):
    make, meaning, tolerance = CASES[op, n]
    lead = (19,)
    arrays = [x.astype(dtype) for x in make(lead)]
    attributes = ATTRIBUTES.get(op, ())
    right = meaning(*[x.astype(float) for x in arrays])
    every = (True,) * len(arrays)
    lanes = evaluate_op(op, *arrays, attributes=attributes, lanes=every)
    stacked = evaluate_op(op, *arrays, attributes=attributes)
    values, expected = (abs(lanes), abs(right)) if op == "eigh" else (lanes, right)
    eps = tolerance * np.finfo(dtype).eps
    np.testing.assert_allclose(values, expected, rtol=eps, atol=eps)
    assert_same_bits(stacked, lanes)
    for i in (0, 18):
        assert_same_bits(evaluate_op(op, *[x[i] for x in arrays], attributes=attributes), lanes[i])

    def turned(*nodes):  # the leading axis innermost in memory, and the core backwards
        back = [transpose(x, list(range(len(x.shape)))[::-1]) for x in nodes]
        y = operation(op, attributes)(*back)
        return transpose(y, list(range(len(y.shape)))[::-1])

    moved = [np.ascontiguousarray(x.transpose()) for x in arrays]
    result = run(compile_graph(graph_of(turned, *[(x.shape, dtype) for x in moved])), *moved)[0]
    assert_same_bits(result.transpose(), lanes)
    batch = [np.stack([x, x[::-1]]) for x in moved]
    result = run(compile_graph(graph_of(turned, *[(x.shape, dtype) for x in moved]), every), *batch)[0]
    assert_same_bits(result[0].transpose(), lanes)
    if len(arrays) == 2:  # one of the operands the same for all lanes
        for kinds in [(True, False), (False, True)]:
            some = [x if lane else x[0] for x, lane in zip(arrays, kinds, strict=True)]
            full = [np.broadcast_to(x, (19, *x.shape[-(y.ndim - 1) :])) for x, y in zip(some, arrays, strict=True)]
            mixed = evaluate_op(op, *some, attributes=attributes, lanes=kinds)
            assert_same_bits(mixed, evaluate_op(op, *full, attributes=attributes, lanes=every))


@BOTH
@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 40, 1000])
def test_sorting_is_stable_and_puts_nan_last(n, dtype, isa):
    for kind in range(4):
        x = [
            np.round(normal(20, n)),
            np.where(normal(20, n) > 0.5, np.nan, np.round(normal(20, n) * 2)),
            np.broadcast_to(np.arange(n) % 3, (20, n)),
            np.broadcast_to(np.where(np.arange(n) % 2, np.inf, -np.arange(n)), (20, n)),
        ][kind].astype(dtype)
        order = np.argsort(x, -1, kind="stable")
        for result in (evaluate_op("sort_pairs", x, lanes=(True,)), evaluate_op("sort_pairs", x)):
            np.testing.assert_array_equal(result[:, 1], order)
            assert_same_bits(result[:, 0], np.take_along_axis(x, order, -1))


@pytest.mark.parametrize("n", [500, 5000])
def test_sorting_alone_survives_what_quicksort_fears(n):
    """The heap takes over: a killer of the median of three, made by running the same partition backwards."""
    killer = np.zeros(n)
    half = n // 2
    killer[:half] = np.where(np.arange(half) % 2, half + np.arange(half), np.arange(half))
    killer[half:] = np.arange(half) * 2
    for x in (killer, killer[::-1].copy(), np.arange(n, dtype=float), -np.arange(n, dtype=float), np.arange(n) % 2.0):
        np.testing.assert_array_equal(evaluate_op("sort_pairs", x)[1], np.argsort(x, kind="stable"))


@BOTH
def test_numbers_out_of_range_are_taken_to_the_nearest(dtype, isa):
    a = np.array([1.0, 2, 3], dtype)
    wild = np.array([-1, 3, np.nan, np.inf, -np.inf, 1e30, 2.9, -0.5], dtype)
    nearest = np.array([0, 2, 0, 2, 0, 2, 2, 0])
    assert_same_bits(evaluate_op("take_along", a, wild), a[nearest])
    lanes = evaluate_op("take_along", np.tile(a, (17, 1)), np.tile(wild, (17, 1)), lanes=(True, True))
    assert_same_bits(lanes[16], a[nearest])
    ones = np.ones(8, dtype)
    right = np.bincount(nearest).astype(dtype)
    assert_same_bits(evaluate_op("put_along", ones, wild, attributes=3), right)
    lanes = evaluate_op("put_along", *[np.tile(x, (17, 1)) for x in (ones, wild)], attributes=3, lanes=(True, True))
    assert_same_bits(lanes[16], right)


@BOTH
@pytest.mark.parametrize("n", [2, 5, 12])
def test_each_lane_has_pivots_and_failures_of_its_own(n, dtype, isa):
    a = normal(40, n, n).astype(dtype)
    a[3, :, 0] = 0  # singular
    a[5, 1, 1] = np.nan
    a[7, 0, 0] = 0  # needs an exchange at once
    b = normal(40, n, 2).astype(dtype)
    with np.errstate(all="ignore"):
        solved = evaluate_op("solve", a, b, lanes=(True, True))
        det = evaluate_op("det", a, lanes=(True,))
    good = [i for i in range(40) if i not in (3, 5)]
    assert np.isnan(solved[3]).all()
    assert np.isnan(solved[5]).all()
    assert det[3] == 0
    assert np.isnan(det[5])
    residual = abs(a[good] @ solved[good] - b[good]).max(axis=(1, 2))
    size = abs(a[good]).sum(-1).max(-1) * abs(solved[good]).max(axis=(1, 2))
    assert (residual <= 8 * n * np.finfo(dtype).eps * (size + 1)).all()
    spd = a @ a.swapaxes(-1, -2) + np.eye(n, dtype=dtype)
    spd[9] *= -1
    factor = evaluate_op("cholesky", spd, lanes=(True,))
    low = np.tril_indices(n)
    assert np.isnan(factor[9][low]).all()
    assert np.isfinite(factor[[0, 8, 10, 39]]).all()


@BOTH
def test_eigenvalues_of_special_matrices(dtype, isa):
    for matrix, values in [
        (np.zeros((3, 3)), [0, 0, 0]),
        (np.eye(3) * 2, [2, 2, 2]),
        (np.array([[0.0, 1], [1, 0]]), [-1, 1]),
        (np.ones((4, 4)), [0, 0, 0, 4]),
        (np.diag([1e-3, 1e3, 1.0]), [1e-3, 1, 1e3]),
    ]:
        n = len(matrix)
        result = evaluate_op("eigh", np.tile(matrix.astype(dtype), (16, 1, 1)), lanes=(True,))[7].astype(float)
        tolerance = 20 * np.finfo(dtype).eps * max(1, abs(matrix).max())
        np.testing.assert_allclose(result[0], values, atol=tolerance)
        np.testing.assert_allclose(result[1:].T @ result[1:], np.eye(n), atol=20 * np.finfo(dtype).eps)
        np.testing.assert_allclose(matrix @ result[1:], result[1:] * result[0], atol=tolerance)
    spoilt = np.array([[1.0, 0], [np.nan, 1]], dtype)
    assert np.isnan(evaluate_op("eigh", spoilt)).any()


def test_one_factorisation_serves_a_matrix_and_its_transpose():
    def both(a, b):
        solve = operation("solve")
        return [solve(a, b), solve(transpose(a, (1, 0)), b), operation("det")(a), operation("slogdet")(a)]

    a, b = normal(4, 4), normal(4, 2)
    compiled = compile_graph(graph_of(both, ((4, 4), np.float64), ((4, 2), np.float64)))
    x, y, det, slogdet = run(compiled, a, b)
    np.testing.assert_allclose(a @ x, b, atol=1e-13)
    np.testing.assert_allclose(a.T @ y, b, atol=1e-13)
    assert det == pytest.approx(slogdet[0] * np.exp(slogdet[1]))
    assert compiled.program.words[2] == 5  # instructions: one lu, two solutions, two determinants


def test_empty_axes():
    for lead, n in itertools.product([(), (2,), (0,)], [0, 3]):
        nothing = np.ones((*lead, 0))
        zeros = evaluate_op("put_along", nothing, nothing, attributes=n)
        np.testing.assert_array_equal(zeros, np.zeros((*lead, n)))
    assert evaluate_op("search_left", np.ones(0), np.ones(3)).tolist() == [0, 0, 0]
    assert evaluate_op("solve", np.ones((0, 0)), np.ones((0, 2))).shape == (0, 2)
    assert evaluate_op("sort_pairs", np.ones((3, 0))).shape == (3, 2, 0)
    assert evaluate_op("cumsum", np.ones((0, 3))).shape == (0, 3)
