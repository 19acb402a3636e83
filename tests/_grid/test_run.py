"""Weighted sums by the C core against slices in NumPy."""

import numpy as np
import pytest
import reference_grid

from fastgrad._grid.run import apply
from fastgrad._grid.tables import Rows, Term, central, uneven, uneven_circle

RNG = np.random.default_rng(0)


def table_of(kind, n, derivative=1, accuracy=4):
    coords = np.cumsum(RNG.uniform(0.5, 1.5, n + 1))
    return {
        "one-sided": lambda: central(derivative, accuracy, accuracy),
        "worse ends": lambda: central(derivative, accuracy, 1),
        "circle": lambda: central(derivative, accuracy, None),
        "uneven": lambda: uneven(coords[:n], derivative, accuracy, accuracy),
        "uneven, worse ends": lambda: uneven(coords[:n], derivative, accuracy, 1),
        "uneven circle": lambda: uneven_circle(coords, derivative, accuracy),
    }[kind]()


KINDS = ["one-sided", "worse ends", "circle", "uneven", "uneven, worse ends", "uneven circle"]


def agree(f, terms, accumulate=False):
    start = np.ones_like(f)
    found, wanted = start.copy(), start.copy()
    apply(f, found, terms, accumulate)
    reference_grid.apply(f, wanted, terms, accumulate)
    scale = np.abs(wanted).max(initial=1.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=40 * np.finfo(f.real.dtype).eps * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_dtype_and_table(isa, kind, dtype, axis):
    f = RNG.normal(size=(11, 13, 17)).astype(dtype)
    if np.iscomplexobj(f):
        f += 1j * RNG.normal(size=f.shape).astype(dtype)
    for derivative in (1, 2, 5):
        agree(f, [Term(axis, table_of(kind, f.shape[axis], derivative), 0.7)])


@pytest.mark.parametrize("kind", KINDS)
def test_several_terms_are_added_up(kind):
    f = RNG.normal(size=(16, 12, 14))
    terms = [Term(axis, table_of(kind, f.shape[axis], 2), axis - 0.5) for axis in range(3)]
    for accumulate in (False, True):
        agree(f, terms, accumulate)


@pytest.mark.parametrize("view", [np.s_[::-1, ::2], np.s_[::3, ::-1], np.s_[:, 5:20]])
def test_views_are_read_and_written_where_they_are(view):
    f, out = RNG.normal(size=(40, 40)), np.full((40, 40), 7.0)
    part = f[view].T
    term = Term(0, central(1, 2, 2))
    apply(part, out[view].T, [term])
    wanted = np.empty_like(part)
    reference_grid.apply(part, wanted, [term])
    np.testing.assert_allclose(out[view].T, wanted, atol=1e-13)
    out[view] = 7
    assert (out == 7).all()


def test_bits_do_not_depend_on_the_number_of_threads(threads):
    f = RNG.normal(size=(300, 700))
    terms = [Term(0, central(2, 4, 4)), Term(1, table_of("uneven", 700, 2))]
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(np.empty_like(f))
        apply(f, results[-1], terms)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_derivative_of_a_constant_is_zero(kind):
    f = np.full((14, 15), 0.1)
    out = np.empty_like(f)
    apply(f, out, [Term(1, table_of(kind, 15, 1, 2))])
    scale = 1e-15 if "uneven" in kind or "ends" in kind or kind == "one-sided" else 0
    assert np.abs(out).max() <= scale
    assert kind != "one-sided" or not out[:, 1:-1].any()


def test_a_sample_of_weight_zero_is_not_looked_at():
    f = np.zeros(9)
    f[4] = np.nan
    out = np.empty_like(f)
    for table in (central(1, 2, 1), central(1, 2, None)):
        apply(f, out, [Term(0, table)])
        assert np.flatnonzero(np.isnan(out)).tolist() == [3, 5]


@pytest.mark.parametrize("width", [1, 3, 6])
def test_rows_around_a_circle(width):
    f = RNG.normal(size=6)
    for first in (np.arange(6) - 1, np.arange(6) - 4, np.arange(6) + 3, np.array([5, 0, -7, 2, 2, 13])):
        rows, out = Rows(first, RNG.normal(size=(6, width))), np.empty(6)
        apply(f, out, [Term(0, rows)])
        wanted = [rows.weights[i] @ f[np.arange(first[i], first[i] + width) % 6] for i in range(6)]
        np.testing.assert_allclose(out, wanted, atol=1e-14)
