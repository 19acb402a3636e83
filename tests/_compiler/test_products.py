"""Products, einsum, convolutions and polynomials: values as NumPy's, derivatives as differences say."""

import numpy as np
import pytest
from interpret import agree, check_gradient

import fastgrad as fg

A = np.array([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, -2.5], [3.0, 0.125, -1.0, 1.75]])
V = A[0]
C = np.linspace(-1, 1, 12).reshape(3, 4)
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1
MASK = A > 0


@pytest.mark.parametrize(
    "shapes",
    [
        ((), ()),
        ((), (3,)),
        ((4,), (4,)),
        ((3, 4), (4,)),
        ((3,), (3, 4)),
        ((3, 4), (4, 2)),
        ((2, 3, 4), (4,)),
        ((2, 3, 4), (4, 5)),
        ((4,), (2, 4, 3)),
        ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (5, 4, 2)),
        ((5, 1, 3, 4), (2, 4, 2)),
    ],
    ids=str,
)
def test_products(shapes):
    rng = np.random.default_rng(0)
    a, b = map(rng.standard_normal, shapes)
    agree(np.dot, a, b)
    agree(lambda x: np.dot(x, b), a)
    agree(lambda x: np.dot(a, x), b)
    if a.ndim and b.ndim:
        agree(np.matmul, a, b)
        agree(lambda x: a @ x, b)
    if a.shape[-1:] == b.shape[-1:]:
        agree(np.inner, a, b)
    agree(np.outer, a, b)
    if a.size == b.size:
        agree(np.vdot, a, b)


def test_tensordot():
    agree(lambda x: (np.tensordot(x, CUBE, ((1,), (2,))), np.tensordot(x, C), np.tensordot(x, C, 0)), A)
    agree(lambda x: np.tensordot(x, CUBE, ([0, 2], [0, 2])), CUBE)
    agree(lambda x: np.tensordot(x, V, 1), A)


EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 2)),
    ("ij,jk", (3, 4), (4, 2)),
    ("ba,cb", (3, 4), (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("ij->", (3, 4)),
    ("ij->ji", (3, 4)),
    ("ji", (3, 4)),
    ("i,i", (4,), (4,)),
    ("i,j", (3,), (4,)),
    ("ij,ij->i", (3, 4), (3, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("bij,bij->b", (2, 3, 4), (2, 3, 4)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 2)),
    ("...i->...", (2, 3, 4)),
    ("i...->...i", (2, 3, 4)),
    ("...,...", (3, 4), (4,)),
    ("i...,i...", (3, 4), (3, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("a,ab,b", (3,), (3, 4), (4,)),
    ("abc,a,b,c->", (2, 3, 4), (2,), (3,), (4,)),
    ("iij,j->i", (3, 3, 4), (4,)),
    ("iijj->ij", (2, 2, 3, 3)),
    ("iii", (2, 2, 2)),
    ("ij,kl->", (2, 3), (4, 2)),
    ("i,->i", (3,), ()),
    ("ij,ij->ij", (1, 4), (3, 4)),
    ("ij,jk->ik", (3, 1), (4, 2)),
    ("ab,bc,cd,de,ef,fg->ag", (2, 3), (3, 2), (2, 3), (3, 2), (2, 4), (4, 2)),
    (" i j , j -> i ", (3, 4), (4,)),
    ("ij,ki,jk", (2, 3), (4, 2), (3, 4)),
    ("b...i,bi...->b...", (2, 3, 4), (2, 4, 3)),
    ("ijk,ilm,njm,nlk,abc->", (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 1, 2)),
    ("i,i->", (0,), (0,)),
    ("ij,jk->ik", (2, 0), (0, 3)),
]


@pytest.mark.parametrize(("subscripts", "shapes"), [(text, shapes) for text, *shapes in EINSUMS], ids=str)
def test_einsum(subscripts, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    agree(lambda *values: np.einsum(subscripts, *values), *arrays, rtol=1e-12, atol=1e-13)
    check_gradient(lambda *values: np.einsum(subscripts, *values), *arrays, second=True, rtol=1e-7)


def test_einsum_with_lists_of_labels_and_constants():
    agree(
        lambda x: (np.einsum(x, [0, 1], C, [2, 1], [0, 2]), np.einsum(x, [1, 0]), np.einsum(x, [0, ...], [..., 0])), A
    )
    agree(
        lambda x: (np.einsum("ij,kj", x, C), np.einsum("ij,j->i", C, x[0], optimize=True), np.einsum("i,i", V, x[0])), A
    )


def test_kron_and_cross():
    for shapes in [((3,), (4,)), ((2, 3), (3, 2)), ((2, 2), (3,)), ((), (2, 2)), ((2, 1, 2), (2, 3))]:
        a, b = map(np.random.default_rng(0).standard_normal, shapes)
        agree(np.kron, a, b)
        check_gradient(np.kron, a, b)
    rng = np.random.default_rng(0)
    agree(np.cross, rng.standard_normal(3), rng.standard_normal((4, 3)))
    agree(
        lambda a, b: (np.cross(a, b, axis=0), np.cross(a, b, axisa=0, axisb=0, axisc=0), np.cross(a.T, b.T)),
        rng.standard_normal((3, 2)),
        rng.standard_normal((3, 2)),
    )
    check_gradient(np.cross, rng.standard_normal(3), rng.standard_normal((4, 3)), second=True)


def test_chains_and_powers_of_matrices():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((2, 5)), rng.standard_normal((5, 3)), rng.standard_normal((3, 4))
    agree(
        lambda a, b, c: (
            np.linalg.multi_dot([a, b, c]),
            np.linalg.multi_dot([a[0], b, c]),
            np.linalg.multi_dot([a, b, c[:, 0]]),
            np.linalg.multi_dot([a[0], b, c[:, 0]]),
            np.linalg.multi_dot([a, b]),
        ),
        a,
        b,
        c,
        rtol=1e-13,
    )
    check_gradient(lambda a, b, c: np.linalg.multi_dot([a, b, c]), a, b, c, second=True)
    m = rng.standard_normal((2, 3, 3)) / 2
    for n in (0, 1, 2, 3, 7, 10):
        agree(lambda m: np.linalg.matrix_power(m, n), m, rtol=1e-12, atol=1e-13)  # noqa: B023
        check_gradient(lambda m: np.linalg.matrix_power(m, n), m, rtol=1e-7)  # noqa: B023


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5), (4, 4), (1, 1), (6, 2), (2, 6), (1, 4), (7, 4)], ids=str)
def test_convolutions(sizes, mode):
    a, v = map(np.random.default_rng(0).standard_normal, sizes)
    agree(lambda a, v: (np.convolve(a, v, mode), np.correlate(a, v, mode)), a, v, rtol=1e-12, atol=1e-13)
    agree(lambda a: (np.convolve(a, v, mode), np.correlate(v, a, mode)), a, rtol=1e-12, atol=1e-13)
    check_gradient(lambda a, v: (np.convolve(a, v, mode), np.correlate(a, v, mode)), a, v, second=True)


def test_convolution_takes_memory_by_the_product_of_sizes_and_nodes_by_none():
    graphs = [fg._compiler.trace.trace(np.convolve, [fg._compiler.trace.Input((n,)), np.ones(n)]) for n in (5, 50)]
    assert len(graphs[0].nodes) == len(graphs[1].nodes)
    agree(lambda a: (np.correlate(a, [1.0, 2.0]), np.convolve([1, 2], a)), V)


def test_polynomials():
    agree(
        lambda p: (
            np.polyval(p, C),
            np.polyval(p, 2.0),
            np.polyval([1, 2, 3], p),
            np.polyval(p, p[0]),
            np.polyval([], p),
        ),
        V,
    )
    agree(lambda x: (np.vander(x), np.vander(x, 3), np.vander(x, 3, increasing=True), np.vander(x, 1)), V)
    check_gradient(np.polyval, V, C, second=True)
    check_gradient(lambda x: np.vander(x, 4), V, second=True)
