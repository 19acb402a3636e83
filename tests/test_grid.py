"""Derivatives of sampled fields: exact for polynomials, of the stated order, like NumPy, SciPy and findiff."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.polynomial import Polynomial

import fastgrad as fg
from fastgrad import grid

EPS = np.finfo(np.float64).eps
RNG = np.random.default_rng(0)
DERIVATIVES, ACCURACIES = range(1, 7), [2, 4, 6, 8]


def uneven(n, rng=RNG):
    return np.linspace(-1, 1, n) + rng.uniform(-0.3, 0.3, n) / n


# ---- accuracy


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("kind", ["uniform", "falling", "uneven", "uneven, falling"])
def test_polynomials_are_exact_to_rounding_up_to_the_ends(derivative, accuracy, kind):
    pytest.importorskip("scipy")
    degree = derivative + accuracy - 1
    for n in (derivative + accuracy, derivative + accuracy + 1, 40):
        coords = uneven(n, np.random.default_rng(n)) if "uneven" in kind else np.linspace(-1, 1, n)
        coords = coords[::-1] if "falling" in kind else coords
        options = {"coords": coords} if "uneven" in kind else {"spacing": coords[1] - coords[0]}
        poly = Polynomial(np.random.default_rng(degree).normal(size=degree + 1))
        f = poly(coords)
        error = np.abs(grid.diff(f, derivative, accuracy=accuracy, **options) - poly.deriv(derivative)(coords))
        matrix = grid.operator(n, derivative, accuracy=accuracy, **options)
        assert (error <= 20 * EPS * (abs(matrix) @ np.abs(f))).all()  # what rounding the samples would do


def order(compute, positions, ratio=1.2):
    """The power of the spacing that the error of a derivative of exp falls with, at the least above rounding.

    `compute(f, x, step)` is the derivative. That of exp is itself, so that the relative error is alike at all points.
    """
    errors, step, is_clear, rng = [], 0.6, True, np.random.default_rng(0)
    while is_clear and step > 1e-3:
        x = step * positions
        f = np.exp(x)
        errors.append(np.abs(compute(f, x, step) / f - 1).max())
        noise = np.exp(x + 2e-15 * rng.uniform(-1, 1, len(x)))
        is_clear = np.abs(compute(noise, x, step) / f - compute(f, x, step) / f).max() < 0.1 * errors[-1]
        step /= ratio
    return np.log(errors[-3] / errors[-2]) / np.log(ratio)


POSITIONS = {"uniform": np.arange(24.0), "uneven": np.cumsum(1 + 0.3 * np.sin(7.0 * np.arange(24)))}


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("kind", POSITIONS)
def test_the_error_falls_with_the_stated_power_of_the_spacing(derivative, accuracy, kind):
    def compute(f, x, step):
        options = {"coords": x} if kind == "uneven" else {"spacing": step}
        return grid.diff(f, derivative, accuracy=accuracy, **options)

    found = order(compute, POSITIONS[kind])
    # where there is no symmetry, an odd number of samples makes an even derivative one order better
    best = accuracy + (kind == "uneven" and derivative % 2 == 0)
    assert best - 0.15 < found < best + 0.1 + 0.35 * derivative  # from above: rounding hides still smaller steps


@pytest.mark.parametrize("derivative", [1, 2])
@pytest.mark.parametrize("accuracy", [4, 6, 8])
def test_the_order_of_compact_schemes(derivative, accuracy):
    found = order(lambda f, _, step: grid.compact(f, derivative, accuracy=accuracy, spacing=step), POSITIONS["uniform"])
    assert accuracy - 0.1 < found < accuracy + 0.1 + 0.35 * derivative


def wave_error(n, derivative, kind, difference):
    """The error of a derivative of the sine on a circle of n points."""
    x = np.arange(n + 1) * 2 * np.pi / n
    x = x + 0.3 * np.sin(x) if kind == "uneven" else x
    options = {"coords": x} if kind == "uneven" else {"spacing": 2 * np.pi / n}
    found = difference(np.sin(x[:-1]), derivative, boundary="periodic", **options)
    return np.abs(found - np.sin(x[:-1] + derivative * np.pi / 2)).max()


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("kind", ["uniform", "uneven", "compact"])
def test_the_order_on_a_circle(derivative, accuracy, kind):
    if kind == "compact" and (derivative > 2 or accuracy < 4):
        return
    difference = grid.compact if kind == "compact" else grid.diff
    n = 40 if derivative + accuracy < 10 else 26 if derivative + accuracy < 14 else 16  # before rounding shows

    def compute(*args, **options):
        return difference(*args, accuracy=accuracy, **options)

    errors = [wave_error(m, derivative, kind, compute) for m in (n, 3 * n // 2)]
    found = np.log(errors[0] / errors[1]) / np.log(1.5)
    assert found > accuracy - (0.6 if kind == "uneven" else 0.1)  # here the first steps are too long to show it all


@pytest.mark.parametrize("boundary", ["one-sided", "periodic"])
def test_compact_schemes_are_exact_for_polynomials_and_better_than_stencils(boundary):
    x = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    f, slope = np.exp(np.sin(x)), np.cos(x) * np.exp(np.sin(x))
    for accuracy in (4, 6, 8):
        options = {"spacing": x[1], "accuracy": accuracy, "boundary": boundary}
        errors = [np.abs(d(f, **options) - slope)[12:-12].max() for d in (grid.compact, grid.diff)]
        assert errors[0] < errors[1] / 3
        if boundary == "one-sided":
            for derivative in (1, 2):
                poly = Polynomial(RNG.normal(size=derivative + accuracy))
                found = grid.compact(poly(x / 6), derivative, coords=x / 6, accuracy=accuracy)
                wanted = poly.deriv(derivative)(x / 6)
                assert np.abs(found - wanted).max() < 1e-13 * (6 / x[1]) ** derivative * np.abs(poly(x / 6)).max()


# ---- like NumPy, SciPy and findiff

F1, F2, F3 = RNG.normal(size=9), RNG.normal(size=(6, 7)), RNG.normal(size=(4, 5, 6))
X6, X7 = np.cumsum(RNG.uniform(0.5, 1.5, 6)), np.cumsum(RNG.uniform(0.5, 1.5, 7))


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((F1,), {}),
        ((F1, 2), {}),
        ((F1, -0.5), {"edge_order": 2}),
        ((F1, np.float32(0.5)), {}),
        ((F1, np.array(2)), {}),
        ((F1, np.arange(9)), {}),
        ((F1, np.arange(9) ** 2), {}),
        ((F1, (np.arange(9) ** 2).tolist()), {"edge_order": 2}),
        ((F1, np.arange(9, 0, -1) ** 2), {"edge_order": 2}),
        ((F1, np.cos(np.arange(9.0))), {}),  # turns back, as along a curve
        ((F1[:2],), {}),
        ((F1[:3],), {"edge_order": 2}),
        ((F1[:2], [0.0, 3.0]), {}),
        ((F1.astype(np.float32),), {}),
        ((F1.astype(np.float32), np.arange(9.0) ** 2), {}),
        ((F1 + 1j * F1[::-1], 0.5), {"edge_order": 2}),
        (((F1 * 10).astype(np.int8),), {}),
        (((F1 * 10).astype(np.uint8),), {}),
        (([1, 4, 9, 16],), {}),
        (([1j, 4, 9, 16],), {}),
        ((np.float16([1, 2, 4, 7]),), {}),
        ((np.longdouble([1, 2, 4, 7]),), {}),
        ((F2,), {}),
        ((F2.tolist(), 3.0), {}),
        ((F2, 2.0, X7), {}),
        ((F2, X6, X7), {"edge_order": 2}),
        ((F2, X7, X6), {"axis": (1, 0)}),
        ((F2, 2.0), {"axis": (1, 0)}),
        ((F2, X7), {"axis": 1}),
        ((F2, X7), {"axis": (-1,)}),
        ((F2,), {"axis": 0, "edge_order": 2}),
        ((F2,), {"axis": ()}),
        ((F3,), {}),
        ((F3[::-1, ::2].T, 1.0, 2.0, 3.0), {}),
        ((F3, 0.5, 0.25), {"axis": (0, 2), "edge_order": 2}),
        ((np.array(["2020-01-01", "2020-01-03", "2020-01-07"], "M8[D]"),), {}),
        ((np.array([1, 5, 8], "m8[s]"),), {}),
        ((np.ma.masked_array([1.0, 2, 4, 7], [0, 0, 0, 1]),), {}),
        ((np.array([1, 2, 4], object),), {}),
    ],
)
def test_a_call_of_numpys_gradient_works_and_agrees(args, options):
    found, wanted = grid.gradient(*args, **options), np.gradient(*args, **options)
    assert type(found) is type(wanted)
    for one, other in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, wanted)), strict=True):
        assert one.shape == other.shape
        if other.dtype in (np.float32, np.float64, np.complex128):
            assert one.dtype == other.dtype
            eps = np.finfo(other.dtype).eps
            np.testing.assert_allclose(one, other, rtol=0, atol=50 * eps * np.abs(np.asarray(args[0])).max())
        else:
            np.testing.assert_allclose(one.astype(float), other.astype(float))


def test_nan_stays_where_numpy_leaves_it():
    f = np.arange(50.0).reshape(5, 10)
    f[2, 3], f[0, 9] = np.nan, np.inf
    for options in ({}, {"edge_order": 2}):
        with np.errstate(invalid="ignore"):
            wanted = np.gradient(f, **options)
        for one, other in zip(grid.gradient(f, **options), wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_gradient_of_more_accuracy_has_it_at_the_ends_too():
    x = np.linspace(0, 1, 12)
    f = x**6
    for edge_order, is_exact in ((None, True), (6, True), (2, False)):
        slope = grid.gradient(f, x, accuracy=6, edge_order=edge_order)
        np.testing.assert_allclose(slope[3:-3], 6 * x[3:-3] ** 5, atol=1e-12)
        assert (np.abs(slope - 6 * x**5).max() < 1e-12) == is_exact
    for even in (True, False):
        x = x if even else x**1.1
        exact_ends = grid.gradient(x**4, x, accuracy=2, edge_order=4)
        np.testing.assert_allclose(exact_ends[[0, -1]], 4 * x[[0, -1]] ** 3, atol=1e-12)
    np.testing.assert_array_equal(grid.gradient(f, 0.5, accuracy=2), grid.diff(f, spacing=0.5))
    np.testing.assert_array_equal(grid.gradient(f, boundary="periodic"), grid.diff(f, boundary="periodic"))


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("accuracy", ACCURACIES)
def test_findiff_agrees_where_its_stencils_are_the_same(derivative, accuracy):
    findiff = pytest.importorskip("findiff")
    f = RNG.normal(size=(40, 3))
    reach = (derivative + 1) // 2 + accuracy // 2 - 1
    wanted = (findiff.Diff(0, 0.5) ** derivative)(f, acc=accuracy)
    found = grid.diff(f, derivative, axis=0, spacing=0.5, accuracy=accuracy)
    inner = slice(reach, -reach)  # near the ends it does not take the nearest samples, but at the ends
    np.testing.assert_allclose(found[inner], wanted[inner], rtol=0, atol=1e-9 * np.abs(wanted[inner]).max())
    if derivative + accuracy <= 10:  # its own weights lose more digits with every sample
        np.testing.assert_allclose(found[[0, -1]], wanted[[0, -1]], rtol=1e-6)


@pytest.mark.parametrize(("window_length", "polyorder"), [(3, 1), (5, 2), (11, 3), (21, 6), (31, 4)])
@pytest.mark.parametrize("derivative", range(5))
def test_savgol_is_scipys_filter(window_length, polyorder, derivative):
    signal = pytest.importorskip("scipy.signal")
    if derivative > polyorder:
        return
    f = RNG.normal(size=(4, 33, 3))
    for axis, mode, boundary in ((1, "interp", "one-sided"), (-2, "wrap", "periodic")):
        wanted = signal.savgol_filter(f, window_length, polyorder, derivative, delta=0.1, axis=axis, mode=mode)
        options = {"axis": axis, "spacing": 0.1, "boundary": boundary}
        found = grid.savgol(f, window_length, polyorder, derivative, **options)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
        single = grid.savgol(f.astype(np.float32), window_length, polyorder, derivative, **options)
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


# ---- fields of several axes

X, Y, Z = np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 2, 8), np.linspace(-1, 1, 9), indexing="ij")
STEPS = (1 / 6, 2 / 7, 0.25)
CURVED = tuple(axis**1.3 for axis in (np.linspace(0, 1, 7), np.linspace(0, 2, 8), np.linspace(1, 3, 9)))


def grids():
    yield X, Y, Z, {"spacing": STEPS}
    yield X, Y, Z, {"spacing": STEPS, "accuracy": 4}
    yield *np.meshgrid(*CURVED, indexing="ij"), {"coords": CURVED}
    mixed = (CURVED[0], None, CURVED[2])
    yield *np.meshgrid(CURVED[0], Y[0, :, 0], CURVED[2], indexing="ij"), {"coords": mixed, "spacing": (1, STEPS[1], 1)}


@pytest.mark.parametrize("case", range(4))
def test_fields_of_polynomials(case):
    x, y, z, options = list(grids())[case]
    zero = np.zeros_like(x)

    def agree(found, wanted):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-11 * max(1, np.abs(wanted).max()))

    f = x**2 * y + 3 * z**2 - x * y * z
    agree(grid.laplacian(f, **options), 2 * y + 6)
    hessian = grid.hessian(f, **options)
    rows = [[2 * y, 2 * x - z, -y], [2 * x - z, zero, -x], [-y, -x, 6 + zero]]
    agree(hessian, np.array(rows))
    v = [x * y, y * z**2, x * x + z]
    agree(grid.divergence(v, **options), y + z**2 + 1)
    agree(grid.curl(v, **options), np.array([-2 * y * z, -2 * x, -x]))
    agree(grid.diff(f, (1, 1, 1), axis=(0, 1, 2), **options), zero - 1)
    agree(grid.diff(f, (1, 2), axis=(1, 0), **_of(options, (1, 0))), zero + 2)
    agree(grid.curl([v[0][:, :, 0], v[1][:, :, 0]], **_of(options, (0, 1))), -x[:, :, 0])


def _of(options, axes):
    return {k: tuple(v[i] for i in axes) if isinstance(v, tuple) else v for k, v in options.items()}


def test_derivatives_commute():
    f, v = RNG.normal(size=(9, 10, 11)), RNG.normal(size=(3, 9, 10, 11))
    for options in ({}, {"accuracy": 6}, {"boundary": "periodic"}, {"boundary": ("periodic", "one-sided", "periodic")}):
        gradient = np.array(
            [grid.diff(f, axis=i, **_of(options | {"boundary": _part(options, i)}, ())) for i in range(3)]
        )
        assert np.abs(grid.curl(gradient, **options)).max() < 1e-12
        assert np.abs(grid.divergence(grid.curl(v, **options), **options)).max() < 1e-12
        trace = np.einsum("ii...->...", grid.hessian(f, **options))
        np.testing.assert_allclose(grid.laplacian(f, **options), trace, atol=1e-12)


def _part(options, i):
    boundary = options.get("boundary", "one-sided")
    return boundary if isinstance(boundary, str) else boundary[i]


def test_further_axes_are_batches():
    f, v = RNG.normal(size=(5, 6, 4, 7)), RNG.normal(size=(2, 5, 6, 7))
    np.testing.assert_allclose(
        grid.laplacian(f, axis=(1, -1))[2, :, 3], grid.laplacian(f[2, :, 3]), atol=1e-14
    )  # fmt: skip
    assert grid.hessian(f, axis=(1, 3)).shape == (2, 2, 5, 6, 4, 7)
    np.testing.assert_array_equal(grid.divergence(v, axis=(1, 2))[3], grid.divergence(v[:, 3]))
    np.testing.assert_array_equal(grid.curl(v, axis=(1, 2))[3], grid.curl(v[:, 3]))


# ---- boundaries


@pytest.mark.parametrize("derivative", [1, 2, 3])
def test_given_stencils_count_near_the_ends(derivative):
    f = RNG.normal(size=(3, 20))
    reach, n = (derivative + 1) // 2 + 1, derivative + 4
    head = [grid.weights(range(-i, n - i), derivative) for i in range(reach)]
    tail = [grid.weights(range(i + 1 - n, i + 1), derivative) for i in reversed(range(reach))]
    head, tail = ([[float(w) for w in row] for row in rows] for rows in (head, tail))
    wanted = grid.diff(f, derivative, spacing=0.5, accuracy=4)
    for boundary in ((head, tail), [np.array(head), None]):
        found = grid.diff(f, derivative, spacing=0.5, accuracy=4, boundary=boundary)
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    # rows may be of different lengths, and more than are needed
    more = grid.diff(f, derivative, accuracy=4, boundary=([*head, [0.0] * 6 + [1.0]], None))
    np.testing.assert_allclose(more[:, reach], f[:, 6], rtol=1e-14)
    np.testing.assert_allclose(more[:, -1 - reach], (-1) ** derivative * f[:, -7], rtol=1e-14)


def test_a_circle_has_no_ends():
    f = RNG.normal(size=(30, 4))
    for derivative in DERIVATIVES:
        found = grid.diff(f, derivative, axis=0, boundary="periodic", accuracy=4)
        shifted = grid.diff(np.roll(f, 7, axis=0), derivative, axis=0, boundary="periodic", accuracy=4)
        np.testing.assert_array_equal(np.roll(found, 7, axis=0), shifted)
        x = np.linspace(0, 3, 31)
        for coords in (x[:-1], x):
            again = grid.diff(f, derivative, axis=0, boundary="periodic", accuracy=4, coords=coords)
            np.testing.assert_allclose(again, found / 0.1**derivative, rtol=1e-6)


# ---- arrays of all kinds

CALLS = {
    "diff": lambda f, **k: grid.diff(f, 2, **k),
    "diff, mixed": lambda f, **k: grid.diff(f, (1, 1), axis=(0, 1), **k),
    "diff, uneven": lambda f, **k: grid.diff(f, coords=np.arange(12.0) ** 1.5, **k),
    "laplacian": grid.laplacian,
    "compact": grid.compact,
    "savgol": lambda f, **k: grid.savgol(f, 5, 2, **k),
    "gradient": lambda f, **k: grid.gradient(f, axis=0, **k),
    "hessian": grid.hessian,
    "divergence": lambda f, **k: grid.divergence(np.array([f, f]) if isinstance(f, list) else [f, f], **k),
    "curl": lambda f, **k: grid.curl([f, f], **k),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_layout_gives_the_numbers_of_its_clean_copy(name):
    call, f = CALLS[name], RNG.normal(size=(10, 12))
    wanted = call(f)
    bytes_ = np.zeros(f.nbytes + 1, np.uint8)
    misaligned = bytes_[1:].view(np.float64).reshape(f.shape)
    misaligned[...] = f
    read_only = f.copy()
    read_only.flags.writeable = False
    wide = np.zeros((10, 24))
    wide[:, ::2] = f
    record = np.zeros(f.shape, [("a", "f4"), ("b", "f8")])
    record["b"] = f
    for other in (np.asfortranarray(f), f[::-1, ::-1].copy()[::-1, ::-1], misaligned, read_only, wide[:, ::2],
                  f.astype(">f8"), record["b"]):  # fmt: skip
        found = call(other)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13)
        assert found.dtype == np.float64
        assert found.dtype.isnative
    np.testing.assert_allclose(call(f.tolist()), wanted, atol=1e-13)
    integers = RNG.integers(-9, 9, f.shape)
    np.testing.assert_array_equal(call(integers), call(integers.astype(float)))
    assert np.abs(call(np.broadcast_to(3.0, f.shape))).max() < 2e-14
    single = call(f.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    turned = call(f + 2j * f)
    np.testing.assert_allclose(turned, wanted + 2j * wanted, atol=1e-12)
    assert call(f.astype(np.complex64)).dtype == np.complex64


@pytest.mark.parametrize("name", CALLS)
def test_results_go_where_out_says(name):
    call, f = CALLS[name], RNG.normal(size=(12, 12))
    wanted = call(f)
    out = np.full((*wanted.shape[:-1], 24), 7.0)[..., ::2]
    assert call(f, out=out) is out
    np.testing.assert_array_equal(out, wanted)
    assert (out.base[..., 1::2] == 7).all()
    if wanted.shape == f.shape:
        assert call(f, out=f) is f
        np.testing.assert_array_equal(f, wanted)
    for wrong in (np.empty(wanted.shape, np.float32), np.empty(5), np.empty(wanted.shape, ">f8")):
        with pytest.raises(ValueError, match="out has shape"):
            call(f, out=wrong)
    with pytest.raises(TypeError, match="out is list"):
        call(f, out=[[0.0]])
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        call(f, out=out)


def test_a_gradient_along_several_axes_goes_to_several_arrays():
    f = RNG.normal(size=(5, 6))
    wanted = np.gradient(f)
    one, two = np.empty((2, 5, 6)), [np.empty((5, 6)), np.empty((6, 5)).T]
    for out in (one, two):
        found = grid.gradient(f, out=out)
        assert all(np.shares_memory(a, b) for a, b in zip(found, out, strict=True))
        np.testing.assert_allclose(found, wanted)
    grid.gradient(f, out=[two[0], f])  # over what it reads
    np.testing.assert_allclose([two[0], f], wanted)
    with pytest.raises(ValueError, match="out has 1 arrays"):
        grid.gradient(f, out=[one])


def test_nothing_along_the_other_axes():
    for name, call in CALLS.items():
        if name not in ("laplacian", "hessian", "divergence", "curl", "diff, mixed", "gradient"):
            assert call(np.empty((0, 12))).shape == (0, 12)
    assert grid.diff(np.empty((5, 0, 3)), axis=0).shape == (5, 0, 3)


def test_a_traced_gradient_is_numpys():
    slope = fg.grad(lambda x: np.sum(grid.gradient(x) ** 2))(np.array([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_allclose(slope, fg.grad(lambda x: np.sum(np.gradient(x) ** 2))(np.array([1.0, 2.0, 4.0, 8.0])))


def test_scipy_is_imported_by_the_operator_alone():
    code = """
import sys, fastgrad as fg, numpy as np
assert "fastgrad.grid" not in sys.modules
fg.grid.diff(np.arange(5.0)), fg.grid.compact(np.arange(9.0)), fg.grid.savgol(np.arange(9.0), 5, 2)
assert "scipy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- refusals

F = np.arange(8.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: grid.diff(F[:2]), ValueError, "axis 0 of f has 2 samples, but derivative 1 of .* 2 needs at least 3"),
        (lambda: grid.diff(np.ones((3, 9)), 2, axis=0), ValueError, "axis 0 of f has 3 samples.*at least 4"),
        (lambda: grid.diff(F, 6, accuracy=8), ValueError, "at least 14"),
        (lambda: grid.diff(F, accuracy=8, boundary="periodic"), ValueError, "on a circle needs at least 9"),
        (lambda: grid.diff(F[:4], accuracy=4, coords=F[:4] ** 2), ValueError, "at least 5"),
        (lambda: grid.compact(F[:4]), ValueError, "at least 5"),
        (lambda: grid.savgol(F, 9, 2), ValueError, "a window of 9 needs at least 9"),
        (lambda: grid.gradient(F[:1]), ValueError, "at least 2"),
        (lambda: grid.diff(F[:0]), ValueError, "has 0 samples"),
        (lambda: grid.diff(F, 0), ValueError, "derivative is 0.*\n.*from 1 to 6"),
        (lambda: grid.diff(F, 7), ValueError, "derivative is 7"),
        (lambda: grid.diff(F, 1.0), ValueError, "derivative is 1.0"),
        (lambda: grid.diff(F, (1, 1)), ValueError, "derivative is .1, 1."),
        (lambda: grid.diff(np.ones((5, 5)), 1, axis=(0, 1)), ValueError, "one derivative for each axis"),
        (lambda: grid.diff(F, (), axis=()), ValueError, "one derivative for each axis"),
        (lambda: grid.diff(F, accuracy=3), ValueError, "accuracy is 3.*\n.*even integer from 2 to 8"),
        (lambda: grid.diff(F, accuracy=10), ValueError, "accuracy is 10"),
        (lambda: grid.gradient(F, accuracy=3), ValueError, "accuracy is 3"),
        (lambda: grid.gradient(F, edge_order=0), ValueError, "edge_order is 0"),
        (lambda: grid.gradient(F, 1.0, 2.0), TypeError, "2 spacings are given"),
        (lambda: grid.gradient(F, [0, 1, 2, 3, 3, 5, 6, 7]), ValueError, "spacing.0. has the same coordinate twice"),
        (lambda: grid.gradient(F, F[:4]), ValueError, "spacing.0. has shape .4,., but the axis has 8 samples"),
        (lambda: grid.diff(F, axis=1), ValueError, "axis is 1, but f has 1 axes"),
        (lambda: grid.diff(F, axis=0.0), TypeError, "axis has 0.0"),
        (lambda: grid.laplacian(np.ones((4, 4)), axis=(0, 0)), ValueError, "names an axis twice"),
        (lambda: grid.diff(F, spacing=0), ValueError, "spacing is 0"),
        (lambda: grid.diff(F, spacing=np.nan), ValueError, "spacing is nan"),
        (lambda: grid.diff(F, spacing=[1, 2]), TypeError, "coords for samples"),
        (lambda: grid.diff(F, spacing=2.0, coords=F), ValueError, "both spacing and coords"),
        (lambda: grid.laplacian(np.ones((4, 4)), spacing=(1, 2, 3)), ValueError, "spacing is for 2 axes"),
        (lambda: grid.laplacian(np.ones((4, 4)), coords=np.arange(4)), ValueError, "coords is for 2 axes"),
        (lambda: grid.diff(F, coords=F[::-1] % 4), ValueError, "coords must increase or decrease .* 0.0 to 3.0"),
        (lambda: grid.diff(F, coords=F // 2), ValueError, "coords must increase or decrease .* 0.0 to 0.0"),
        (lambda: grid.diff(F, coords=F[:7]), ValueError, "coords has shape .7,., but the axis has 8"),
        (lambda: grid.diff(F, coords=np.where(F == 3, np.nan, F)), ValueError, "coords has NaN"),
        (lambda: grid.diff(F, coords=F**2, boundary="periodic"), ValueError, "append the coordinate"),
        (lambda: grid.diff(F, boundary="reflect"), ValueError, "boundary is 'reflect'"),
        (lambda: grid.diff(F, boundary=3), TypeError, "boundary is int"),
        (lambda: grid.diff(F, boundary=([1, 2], None)), ValueError, "boundary.0. is not a list of rows"),
        (lambda: grid.diff(F, boundary=(3, None)), TypeError, "boundary.0. is not a list of rows"),
        (lambda: grid.diff(F, boundary=([[np.inf]], None)), ValueError, "boundary.0. is not a list of rows"),
        (lambda: grid.diff(F, boundary=([[1.0]], None), accuracy=4), ValueError, "boundary.0. has 1 rows, but 2"),
        (lambda: grid.diff(F, boundary=([[1.0] * 9], None)), ValueError, "at least 9"),
        (lambda: grid.diff(F, boundary=([[1.0]], None), coords=F**2), ValueError, "given stencils count in steps"),
        (lambda: grid.laplacian(np.ones((4, 4)), boundary=("periodic",)), ValueError, "boundary is for 2 axes"),
        (lambda: grid.compact(F, coords=F**2), ValueError, "fg.grid.compact needs a regular grid.*\n.*fg.grid.diff"),
        (lambda: grid.savgol(F, 5, 2, coords=F**1.1), ValueError, "fg.grid.savgol needs a regular grid"),
        (lambda: grid.compact(F, 3), ValueError, "derivative is 3.*\n.*from 1 to 2"),
        (lambda: grid.compact(F, accuracy=2), ValueError, "accuracy is 2"),
        (lambda: grid.compact(F, boundary=([[1.0]], None)), ValueError, "boundary is a pair"),
        (lambda: grid.compact(F, axis=(0,)), TypeError, "axis is"),
        (lambda: grid.savgol(F, 4, 2), ValueError, "window_length is 4"),
        (lambda: grid.savgol(F, 5, 5), ValueError, "polyorder is 5"),
        (lambda: grid.savgol(F, 5, 2, 3), ValueError, "derivative is 3.*\n.*polyorder, which is 2"),
        (lambda: grid.divergence([F, F]), ValueError, "v has 2 components, but 1 axes"),
        (lambda: grid.divergence([F, F[1:]]), ValueError, "v has components of shapes"),
        (lambda: grid.divergence(3.0), TypeError, "v is float"),
        (lambda: grid.curl([F]), ValueError, "v has 1 components, but a curl needs 2 or 3"),
        (lambda: grid.diff(3.0), ValueError, "f is a single number"),
        (lambda: grid.diff("text"), TypeError, "f has dtype"),
        (lambda: grid.diff([[1.0], [2.0, 3.0]]), TypeError, "f does not make an array"),
        (lambda: grid.diff(np.ma.masked_array(F)), TypeError, "f is a masked array"),
        (lambda: grid.diff(F, coords=F * 1j), TypeError, "coords has dtype"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named_with_the_cure(call, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        call()


def test_coordinates_that_are_even_to_rounding_are_a_spacing():
    f = RNG.normal(size=100)
    for coords in (np.linspace(0, 3, 100), 0.1 * np.arange(100), np.linspace(2, -1, 100)):
        step = (coords[-1] - coords[0]) / 99
        for derivative in DERIVATIVES:
            wanted = grid.diff(f, derivative, spacing=step)
            np.testing.assert_array_equal(grid.diff(f, derivative, coords=coords), wanted)
    # far from zero their rounding moves the samples more than that
    coords = np.linspace(1e6, 1e6 + 1, 100)
    slope = grid.diff((coords - 1e6) ** 2, coords=coords)
    np.testing.assert_allclose(slope, 2 * (coords - 1e6), atol=1e-12)


def test_coordinates_are_regular_to_their_own_rounding():
    f = RNG.normal(size=1000)
    for coords in (np.linspace(0, 1, 1000), 0.1 * np.arange(1000), np.linspace(5, 6, 1000, dtype=np.float32)):
        step = (float(coords[-1]) - float(coords[0])) / 999
        np.testing.assert_allclose(grid.compact(f, coords=coords), grid.compact(f, spacing=step), rtol=1e-12)
    with pytest.raises(ValueError, match="needs a regular grid"):
        grid.compact(f, coords=np.linspace(0, 1, 1000, dtype=np.float32).astype(np.float64))


# ---- what is remembered


@pytest.mark.parametrize("n", [50, 5000])
@pytest.mark.parametrize("boundary", ["one-sided", "periodic"])
def test_coordinates_may_change_in_place(n, boundary):
    is_circle = boundary == "periodic"
    coords, f = np.sort(RNG.uniform(0, 1, n + is_circle)), RNG.normal(size=n)
    for _ in range(3):
        again = [grid.diff(f, coords=coords, boundary=boundary) for _ in range(2)]
        np.testing.assert_array_equal(again[0], again[1])
        np.testing.assert_array_equal(again[0], grid.diff(f, coords=coords.tolist(), boundary=boundary))
        coords *= 2
        np.testing.assert_allclose(grid.diff(f, coords=coords, boundary=boundary), again[0] / 2, rtol=1e-14)
        coords[n // 2] += (coords[n // 2 + 1] - coords[n // 2]) / 2
    coords[1] = coords[0]
    with pytest.raises(ValueError, match="coords must increase or decrease"):
        grid.diff(f, coords=coords, boundary=boundary)


def test_given_stencils_may_change_in_place():
    f, head = RNG.normal(size=20), np.array([[-1.0, 1.0]])
    first = grid.diff(f, boundary=(head, None))
    head *= 3
    second = grid.diff(f, boundary=(head, None))
    np.testing.assert_allclose(second[[0, -1]], 3 * first[[0, -1]])
    np.testing.assert_array_equal(second[1:-1], first[1:-1])


def test_dtypes_are_remembered_apart():
    coords = np.arange(30, dtype=np.float32) ** 1.5
    f = RNG.normal(size=30)
    for places in (coords, coords.astype(float), coords.astype(">f4")):
        np.testing.assert_array_equal(grid.diff(f, coords=places), grid.diff(f, coords=coords))
        np.testing.assert_allclose(
            grid.diff(f.astype(np.float32), coords=places), grid.diff(f, coords=coords), atol=1e-5
        )


def test_objects_that_make_arrays_may_change():
    class Places:
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    places, f = Places(np.arange(5.0)), np.arange(5.0)
    for wanted in (1.0, 0.5, 0.25):
        np.testing.assert_array_equal(grid.diff(f, coords=places), wanted)
        np.testing.assert_array_equal(grid.gradient(f, places), wanted)
        places.array *= 2


@pytest.mark.parametrize(("call", "message"), [
    (lambda f, x: grid.diff(f, coords=x * 1e-320), "steps of about 1e-320 along axis 0: the weights of derivative 1"),
    (lambda f, x: grid.diff(f, coords=(x + x**2) * 1e-320), "the weights of derivative 1 are out of the range"),
    (lambda f, x: grid.diff(f, 2, coords=(x + x**2) * 1e-200), "the weights of derivative 2 are out of the range"),
    (lambda f, x: grid.diff(f, 6, spacing=1e-60), "steps of about 1e-60 along axis 0: the weights of derivative 6"),
    (lambda f, x: grid.diff(f[:3], spacing=-1e-320), "steps of about -1e-320"),
    (lambda f, x: grid.compact(f, 2, spacing=1e-200), "the weights of derivative 2"),
    (lambda f, x: grid.savgol(f, 5, 2, derivative=2, spacing=1e-200), "the weights of derivative 2"),
])  # fmt: skip
def test_steps_too_short_for_floats_are_refused(call, message):
    x = np.arange(12.0)
    with pytest.raises(ValueError, match=message):
        call(x**2, x)
    np.testing.assert_allclose(grid.diff(x**2, coords=x * 1e-300), 2 * x * 1e300, rtol=1e-12, atol=1e286)
