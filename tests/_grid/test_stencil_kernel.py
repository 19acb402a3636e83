"""The kernel of stencils along axes against a slow loop over points: every kind of table, layout, dtype and ISA."""

import itertools
import signal
import threading

import numpy as np
import pytest

from fastgrad import _core

RNG = np.random.default_rng(20)


# ---- what is right


def taps_of(kind, n):
    """A table's arguments, and for each point its samples and their weights."""
    if kind == "periodic":
        offsets, weights = [-2, -1, 0, 1, 2], np.array([1 / 12, -2 / 3, 0.1, 2 / 3, -1 / 12])
        points = [([(i + o) % n for o in offsets], weights) for i in range(n)]
        return {"weights": weights, "offsets": offsets, "periodic": True}, points
    if kind == "rows":
        first, weights = RNG.integers(0, n - 2, n), RNG.normal(size=(n, 3))
        return {"weights": weights, "first": first}, [(range(a, a + 3), w) for a, w in zip(first, weights, strict=True)]
    if kind == "coordinates":
        first, weights = np.clip(np.arange(n) - 1, 0, n - 3), RNG.normal(size=(n, 3))
        return {"weights": weights, "first": first}, [(range(a, a + 3), w) for a, w in zip(first, weights, strict=True)]
    offsets, weights, lead, tail = {
        "first": ([-1, 1], [-0.5, 0.5], 1, 1),
        "fourth": ([-2, -1, 0, 1, 2], [-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12], 2, 2),
        "lopsided": ([-1, 0, 2], [0.3, -0.8, 0.5], 1, 2),
        "forward": ([0, 1], [-1, 1], 0, 1),
    }[kind]
    start, end = RNG.normal(size=(lead, 4)), RNG.normal(size=(tail, 4))
    inside = [([i + o for o in offsets], weights) for i in range(lead, n - tail)]
    points = [*((range(4), w) for w in start), *inside, *((range(n - 4, n), w) for w in end)]
    return {"weights": weights, "offsets": offsets, "start": start, "end": end}, points


def slow(f, axis, points, scale):
    f = np.moveaxis(np.asarray(f, np.float64), axis, 0)
    rows = [sum(float(w) * f[j] for j, w in zip(at, weights, strict=True)) for at, weights in points]
    return scale * np.moveaxis(np.array(rows).reshape(f.shape), 0, axis)


KINDS = ["first", "fourth", "lopsided", "forward", "periodic", "rows", "coordinates"]


def close(got, want, dtype):
    return np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 if dtype == np.float32 else 1e-13)


# ---- layouts: arrays of a shape, with what lies around them


def contiguous(shape, dtype):
    return np.empty(shape, dtype)


def fortran(shape, dtype):
    return np.empty(shape, dtype, order="F")


def every_other(shape, dtype):
    return np.empty([2 * n for n in shape], dtype)[tuple(slice(1, None, 2) for _ in shape)]


def backwards(shape, dtype):
    return np.empty(shape, dtype)[tuple(slice(None, None, -1) for _ in shape)]


def channel(shape, dtype):
    return np.empty((*shape, 3), dtype)[..., 1]


def crooked(shape, dtype):
    """Not even aligned."""
    return np.empty(shape, [("a", np.int8), ("b", dtype), ("c", np.int16)])["b"]


def inside(shape, dtype):
    return np.empty([n + 5 for n in shape], dtype)[tuple(slice(2, -3) for _ in shape)]


LAYOUTS = [contiguous, fortran, every_other, backwards, channel, crooked, inside]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(11,), (67,), (9, 70), (70, 9), (12, 1, 13), (6, 7, 35)])
def test_every_axis_of_every_shape(kind, dtype, shape):
    f = RNG.normal(size=shape).astype(dtype)
    for axis, n in enumerate(shape):
        if n < 5:
            continue
        table, points = taps_of(kind, n)
        out = np.full(shape, np.nan, dtype)
        _core.stencil(f, out, axis, _core.Stencil(n, dtype, **table), 0.7)
        close(out, slow(f, axis, points, 0.7), dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("result", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_layout_gives_the_same_bits(layout, result, dtype):
    shape = (9, 10, 41)
    values = RNG.normal(size=shape).astype(dtype)
    f = layout(shape, dtype)
    f[...] = values
    for kinds in [("fourth",) * 3, ("periodic", "rows", "coordinates"), ("coordinates", "first", "rows")]:
        given = [taps_of(kind, n) for kind, n in zip(kinds, shape, strict=True)]
        tables = [_core.Stencil(n, dtype, **table) for n, (table, _) in zip(shape, given, strict=True)]
        for axes in [(0,), (1,), (2,), (2, 0), (0, 1, 2)]:
            scales = [0.5 + axis for axis in axes]
            plain = np.empty(shape, dtype)
            _core.stencils(values, plain, axes, [tables[a] for a in axes], scales)
            close(plain, sum(slow(values, a, given[a][1], s) for a, s in zip(axes, scales, strict=True)), dtype)
            out = result(shape, dtype)
            out[...] = values
            _core.stencils(f, out, axes, [tables[a] for a in axes], scales)
            np.testing.assert_array_equal(out, plain)
            out[...] = values
            _core.stencils(f, out, axes, [tables[a] for a in axes], scales, accumulate=True)
            close(out, plain + values, dtype)
        np.testing.assert_array_equal(f, values)


@pytest.mark.parametrize("name", _core.supported_isas())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_width_on_every_isa(name, dtype):
    before = _core.current_isa()
    _core.select_isa(name)
    try:
        for n, kind in itertools.product([*range(5, 40), 64, 127, 130, 263], KINDS):
            table, points = taps_of(kind, n)
            for start in (0, 1, 3):
                f = RNG.normal(size=n + start).astype(dtype)[start:]
                out = np.full(n + 2, 7, dtype)
                _core.stencil(f, out[1:-1], 0, _core.Stencil(n, dtype, **table))
                close(out[1:-1], slow(f, 0, points, 1), dtype)
                assert out[0] == out[-1] == 7
    finally:
        _core.select_isa(before)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(700_001,), (901, 903), (40, 150, 160), (3, 300_000), (300_000, 3), (300, 400, 5)])
def test_the_bits_do_not_depend_on_threads(shape, dtype):
    f = RNG.normal(size=shape).astype(dtype)
    kinds = [("fourth" if n > 3 else None, n, axis) for axis, n in enumerate(shape)]
    axes = [axis for kind, _, axis in kinds if kind]
    tables = [_core.Stencil(n, dtype, **taps_of(kind, n)[0]) for kind, n, _ in kinds if kind]
    results = []
    before = _core.get_num_threads()
    try:
        for n_threads in (1, 2, 3, 8):
            _core.set_num_threads(n_threads)
            results.append(np.full(shape, np.nan, dtype))
            _core.stencils(f, results[-1], axes, tables)
    finally:
        _core.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])
    # inside, against NumPy
    middle = tuple(slice(2, -2) if axis in axes else slice(None) for axis in range(len(shape)))
    want = 0
    for axis in axes:
        near = [
            np.moveaxis(f.astype(np.float64), axis, 0)[2 + o : len(np.moveaxis(f, axis, 0)) - 2 + o]
            for o in range(-2, 3)
        ]
        rest = tuple(slice(2, -2) if a in axes and a != axis else slice(None) for a in range(len(shape)))
        want = (
            want
            + np.moveaxis(
                sum(w * x for w, x in zip([-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12], near, strict=True)), 0, axis
            )[rest]
        )
    close(results[0][middle], want, dtype)


@pytest.mark.parametrize("name", _core.supported_isas())
@pytest.mark.parametrize("axis", [0, 1])
def test_large_results_past_the_caches(name, axis):
    f = RNG.normal(size=(2100, 2000))
    out = np.ones(f.shape)
    table = _core.Stencil(f.shape[axis], f.dtype, [-0.5, 0.5], offsets=[-1, 1], periodic=True)
    before = _core.current_isa()
    _core.select_isa(name)
    try:
        _core.stencil(f, out, axis, table)
    finally:
        _core.select_isa(before)
    np.testing.assert_array_equal(out, (np.roll(f, -1, axis) - np.roll(f, 1, axis)) * 0.5)


def test_a_long_call_can_be_interrupted():
    n = 1 << 18
    table = _core.Stencil(n, np.dtype(float), RNG.normal(size=2001), offsets=range(-1000, 1001), periodic=True)
    field = np.broadcast_to(np.ones(n), (64, n))
    timer = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        _core.stencil(field, np.empty((64, n)), 1, table)
    timer.join()


# ---- meaning


@pytest.mark.parametrize("axis", [0, 1])
def test_a_first_derivative_has_the_bits_of_numpy(axis):
    f = RNG.normal(size=(90, 110))
    n = f.shape[axis]
    one_sided = [[-1.5, 2, -0.5]]
    table = _core.Stencil(n, f.dtype, [-0.5, 0.5], offsets=[-1, 1], start=one_sided, end=[[0.5, -2, 1.5]])
    out = np.empty_like(f)
    _core.stencil(f, out, axis, table)
    want = np.gradient(f, axis=axis, edge_order=2)
    inside = tuple(slice(1, -1) if a == axis else slice(None) for a in (0, 1))
    np.testing.assert_array_equal(out[inside], want[inside])
    np.testing.assert_allclose(out, want, rtol=0, atol=1e-14)


def test_a_constant_has_no_odd_derivative_and_a_mirrored_field_the_mirrored_one():
    weights = [1 / 280, -4 / 105, 1 / 5, -4 / 5, 0, 4 / 5, -1 / 5, 4 / 105, -1 / 280]
    table = _core.Stencil(50, np.dtype(float), weights, offsets=range(-4, 5), periodic=True)
    out, mirrored = np.empty(50), np.empty(50)
    _core.stencil(np.full(50, 0.1), out, 0, table, 1 / 0.3)
    np.testing.assert_array_equal(out, 0)
    f = RNG.normal(size=50)
    _core.stencil(f, out, 0, table)
    _core.stencil(f[::-1], mirrored, 0, table)
    np.testing.assert_array_equal(mirrored[::-1], -out)
    _core.stencil(np.roll(f, 7), mirrored, 0, table)
    np.testing.assert_array_equal(mirrored, np.roll(out, 7))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_with_the_points_that_read_it(bad):
    f = RNG.normal(size=(20, 30))
    f[7, 1] = bad
    for axis, reads in ((0, [(6, 1), (8, 1)]), (1, [(7, 0), (7, 2)])):
        n = f.shape[axis]
        start, end = [[-1, 0, 1, 0.0]], [[0, 0, -1, 1.0]]
        if axis == 1:
            start = [[-1, 1, 0, 0]]
        out = np.empty_like(f)
        table = _core.Stencil(n, f.dtype, [-0.5, 0, 0.5], offsets=[-1, 0, 1], start=start, end=end)
        _core.stencil(f, out, axis, table)
        assert sorted(zip(*np.nonzero(~np.isfinite(out)), strict=True)) == reads
        rows = np.tile([-0.5, 0, 0.5], (n, 1))
        rows[0] = [-1, 1, 0] if axis else [-1, 0, 1]
        rows[-1] = [0, -1, 1]
        again = np.empty_like(f)
        first = np.clip(np.arange(n) - 1, 0, n - 3)
        _core.stencil(f, again, axis, _core.Stencil(n, f.dtype, rows, first=first))
        assert sorted(zip(*np.nonzero(~np.isfinite(again)), strict=True)) == reads


def test_fields_without_points_or_without_memory_of_their_own():
    table = _core.Stencil(0, np.dtype(float), [-1, 1], offsets=[0, 1])
    _core.stencil(np.empty((0, 4)), np.empty((0, 4)), 0, table)
    table = _core.Stencil(4, np.dtype(float), [-1, 1], offsets=[0, 1], periodic=True)
    _core.stencil(np.empty((0, 4)), np.empty((0, 4)), 1, table)
    out = np.empty((5, 4))
    _core.stencil(np.broadcast_to(np.arange(4.0), (5, 4)), out, 1, table)
    np.testing.assert_array_equal(out, np.tile([1, 1, 1, -3], (5, 1)))
    _core.stencil(np.broadcast_to(np.arange(5.0)[:, None], (5, 4)), out, 1, table)
    np.testing.assert_array_equal(out, 0)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_short_period_is_gone_round_more_than_once(n):
    offsets = [-5, -2, 0, 1, 4]
    weights = RNG.normal(size=5)
    f, out = RNG.normal(size=n), np.empty(n)
    _core.stencil(f, out, 0, _core.Stencil(n, f.dtype, weights, offsets=offsets, periodic=True))
    close(out, [sum(w * f[(i + o) % n] for o, w in zip(offsets, weights, strict=True)) for i in range(n)], f.dtype)


# ---- refusals


def table(n=6, dtype=float):
    return _core.Stencil(n, np.dtype(dtype), [-1, 1], offsets=[-1, 1], periodic=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either offsets"),
        ({"offsets": [0, 1], "first": [0, 0, 0, 0, 0, 0]}, "either offsets"),
        ({"first": [0] * 6, "periodic": True, "start": [[1.0]]}, "either offsets"),
        ({"offsets": [0, 1], "periodic": True, "start": [[1.0]]}, "periodic"),
        ({"offsets": [0, 1, 2]}, "shape"),
        ({"offsets": [[0, 1]]}, "shape"),
        ({"offsets": [0, 1], "start": [1.0, 2.0]}, "start"),
        ({"offsets": [0, 1], "start": [[1.0]] * 4, "end": [[1.0]] * 3}, "4 and 3 points of 6"),
        ({"first": [0] * 5}, "rows"),
    ],
)
def test_a_table_that_makes_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        _core.Stencil(6, np.dtype(float), [-1, 1], **arguments)
    with pytest.raises(TypeError, match="float64 or float32"):
        _core.Stencil(6, np.dtype(int), [-1, 1], offsets=[0, 1])
    for places in ({"offsets": [0, 0.5]}, {"first": [0.0] * 6}, {"offsets": ["a", "b"]}):
        with pytest.raises(TypeError, match="integers"):
            _core.Stencil(6, np.dtype(float), [-1, 1], **places)
    with pytest.raises(ValueError, match="negative"):
        _core.Stencil(-1, np.dtype(float), [-1, 1], offsets=[0, 1])


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": [-1, 1], "offsets": [0, 1]},
        {"weights": [-1, 1], "offsets": [-1, 0]},
        {"weights": [-1, 1], "offsets": [0, 2**62], "end": [[1.0]]},
        {"weights": [-1, 1], "offsets": [-(2**63), 2**63 - 1]},
        {"weights": [-1, 1], "offsets": [0, 1], "end": [[1.0] * 7]},
        {"weights": [-1, 1], "offsets": [0, 1], "end": [[1.0]], "start": [[1.0] * 7]},
        {"weights": [[1, 1]] * 6, "first": [0, 1, 2, 3, 4, 5]},
        {"weights": [[1, 1]] * 6, "first": [0, -1, 2, 3, 4, 4]},
        {"weights": [[1, 1]] * 6, "first": [2**63 - 1] * 6},
        {"weights": [[1, 1]] * 6, "first": [-(2**63)] * 6},
    ],
)
def test_samples_that_are_not_there(arguments):
    f = np.ones(6)
    with pytest.raises(ValueError, match="there is no sample"):
        _core.stencil(f, np.empty(6), 0, _core.Stencil(6, f.dtype, **arguments))


def test_arrays_and_axes_that_do_not_fit():
    f = np.ones((6, 6))
    for out, message in [
        (np.empty((6, 5)), "like f"),
        (np.empty((6, 6), np.float32), "like f"),
        (f, "shares memory"),
        (np.broadcast_to(np.empty(6), (6, 6)), "read-only"),
        (np.lib.stride_tricks.as_strided(np.empty(6), (6, 6), (0, 8)), "share memory"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.stencil(f, out, 0, table())
    out = np.empty((6, 6))
    for axes, tables, message in [
        ((2,), (table(),), "axis 2"),
        ((-1,), (table(),), "axis -1"),
        ((0, 0), (table(), table()), "twice"),
        ((), (), "an axis"),
        ((0,), (table(7),), "is for 7"),
        ((0,), (table(6, np.float32),), "float32"),
        ((0, 1), (table(),), "2 axes, 1 tables"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.stencils(f, out, axes, tables)
    for bad in (np.ones((6, 6), int), np.ones((6, 6), ">f8"), np.ones((6, 6), complex)):
        with pytest.raises(TypeError, match="float64 or float32"):
            _core.stencil(bad, out, 0, table())
    with pytest.raises(TypeError, match="Stencil"):
        _core.stencil(f, out, 0, None)
    pair = np.ones((6, 6, 2))
    _core.stencil(pair[..., 0], pair[..., 1], 0, table())  # side by side is not the same memory
    np.testing.assert_array_equal(pair[..., 1], 0)


def test_memory_comes_back():
    f, out = np.ones((50, 60)), np.empty((50, 60))
    live = _core.live_memory()
    for _ in range(20):
        _core.stencils(f[:, ::2], out[:, ::2], (0, 1), (table(50), table(30)))
    assert _core.live_memory() == live
