"""What `minimize` takes: nested starts and data, axes of instances, bounds, fixed components, prepared functions."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from helpers import assert_same_bits, disguises
from scipy import optimize

import fastgrad as fg
from fastgrad.descent import METHODS

RNG = np.random.default_rng(0)
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


def bowl(x, a=1.0, b=0.0):
    return a * np.sum((x - b) ** 2)


def model(p, target):
    return np.sum((p["w"] - target["w"]) ** 2) + (p["b"] - target["b"]) ** 2


class Pair(NamedTuple):
    slope: object
    offsets: object


def leaves(value):
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in leaves(value[key])]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, (list, tuple)) else [value]


# ---- nesting


@pytest.mark.parametrize(
    "x0",
    [
        {"w": np.full((2, 3), 2.0), "b": 0.5},
        (np.ones(2), 3.0, np.ones((1, 2))),
        [np.ones(2), [np.zeros((2, 2)), {"c": np.ones(())}]],
        Pair(2.0, np.ones(3)),
        {"full": np.ones(2), "empty": np.ones((0, 3))},
        np.full((2, 1, 2), 3.0),
        5.0,
        {"z": np.ones(2, np.float32), "a": 1.0, "whole": np.arange(3)},
    ],
    ids=lambda x0: type(x0).__name__,
)
@pytest.mark.parametrize("method", ["gd", "lbfgs"])
def test_a_start_may_be_nested_in_any_way(x0, method):
    def fun(p):
        return sum(np.sum((leaf - 1.5) ** 2) for leaf in leaves(p)) + 0.0

    settings = {"learning_rate": 0.3} if method == "gd" else {}
    res = fg.minimize(fun, x0, method=method, record="path", **settings)
    assert res.success
    for found in (res.x, res.jac, res.history.x[0] if isinstance(x0, np.ndarray) else res.x):
        assert type(found) is type(x0) or np.ndim(x0) == 0
    for start, end, slope, path in zip(*map(leaves, (x0, res.x, res.jac, res.history.x)), strict=True):
        assert np.shape(start) == np.shape(end) == np.shape(slope) == path.shape[1:]
        np.testing.assert_allclose(end, 1.5, atol=1e-6)
        np.testing.assert_array_equal(path[0], start)
    assert {np.asarray(leaf).dtype for leaf in leaves(res.x)} == {np.dtype(float)}


def test_a_batch_of_nested_starts_and_data_is_its_instances_one_by_one():
    x0 = {"w": RNG.normal(size=(5, 2, 3)), "b": RNG.normal(size=5)}
    target = {"w": RNG.normal(size=(5, 2, 3)), "b": RNG.normal(size=5)}
    res = fg.minimize(model, x0, (target,), method="lbfgs", in_axes=(0, 0), record="path")
    for i in range(5):
        one = fg.minimize(
            model, {k: v[i] for k, v in x0.items()}, ({k: v[i] for k, v in target.items()},), "lbfgs", record="path"
        )
        for key in x0:
            assert_same_bits(one.x[key], res.x[key][i])
            assert_same_bits(one.x[key], res[i].x[key])
            assert_same_bits(one.history.x[key], res[i].history.x[key][: one.nit + 1])
        assert (one.fun, one.nit, one.nfev, one.status) == tuple(a[i] for a in (res.fun, res.nit, res.nfev, res.status))
    np.testing.assert_allclose(res.x["w"], target["w"], atol=1e-6)


def test_x_is_float32_only_where_all_of_it_is():
    single = {"a": np.ones(2, np.float32), "b": np.float32(2)}
    assert fg.minimize(lambda p: np.sum(p["a"] ** 2) + p["b"] ** 2, single, method="lbfgs").x["a"].dtype == np.float32
    # one number would be rounded in each call otherwise, and the search would see steps
    mixed = {"a": np.ones(2, np.float32), "b": 2.0}
    res = fg.minimize(lambda p: np.sum((p["a"] - 0.1) ** 2) + p["b"] ** 2, mixed, method="lbfgs", gtol=1e-12)
    assert res.x["a"].dtype == np.float64
    np.testing.assert_allclose(res.x["a"], 0.1, rtol=1e-12)


def test_what_is_nested_without_an_array_is_refused():
    with pytest.raises(TypeError, match="holds no array"):
        fg.minimize(lambda p: 1.0, {})


def test_no_components_have_converged_where_they_start():
    for method in ("gd", "adam"):
        res = fg.minimize(lambda x: np.sum(x) + 3.0, np.ones(0), method=method)
        assert (res.status, res.fun, res.x.shape) == (0, 3.0, (0,))


# ---- axes of instances


@pytest.mark.parametrize("method", ["gd", "lbfgs"])
def test_start_and_data_differ_by_instance_in_all_combinations(method):
    a, b, x0 = RNG.uniform(0.5, 2, 4), RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
    settings = {"method": method} | ({"learning_rate": 0.2} if method == "gd" else {})
    for own in np.ndindex(2, 2, 2):
        if not any(own):
            continue
        axes = tuple([0 if is_own else None for is_own in own])
        start, args = x0 if own[0] else x0[0], (a if own[1] else a[0], b if own[2] else b[0])
        res = fg.minimize(bowl, start, args, in_axes=axes, **settings)
        assert res.x.shape == (4, 3)
        for i in range(4):
            one_start, *one_args = (x[i] if is_own else x for x, is_own in zip((start, *args), own, strict=True))
            assert_same_bits(fg.minimize(bowl, one_start, tuple(one_args), **settings).x, res.x[i])


@pytest.mark.parametrize("in_axes", [(None,), ("first",), ({"w": 0},), 1.5])
def test_axes_that_are_none_or_no_integers_are_refused(in_axes):
    with pytest.raises(ValueError, match="in_axes="):
        fg.minimize(bowl, np.ones((2, 2)), in_axes=in_axes)


def test_odd_layouts_of_everything_change_nothing():
    x0, data = RNG.uniform(0.1, 0.9, (6, 3)), RNG.normal(size=(6, 3))
    lower, upper = np.zeros((6, 3)), np.ones((6, 3))
    fixed = RNG.random((6, 3)) < 0.3
    settings = {"method": "lbfgs", "in_axes": (0, None, 0)}
    right = fg.minimize(bowl, x0, (2.0, data), bounds=fg.Bounds(lower, upper), fixed=fixed, **settings)
    masks = disguises(fixed)
    for name in disguises(x0):
        its_x0, its_data, its_lower, its_upper = (disguises(a)[name] for a in (x0, data, lower, upper))
        box = fg.Bounds(its_lower, its_upper)
        res = fg.minimize(
            bowl, its_x0, (2.0, data if name == "nested list" else its_data), bounds=box, fixed=masks[name], **settings
        )
        assert_same_bits(res.x, right.x)
        assert (res.nfev == right.nfev).all()


# ---- bounds


LOWER, UPPER = np.array([0.0, -1.0, 0.5]), np.array([1.0, 0.25, 0.5])  # exact in float32; the last one is fixed


def inside_only(x):
    """A curved function that is NaN outside the bounds."""
    centre = np.array([1.7, -3.0, 0.0], x.dtype)
    away = x - centre
    value = np.sum(away**2) + away[0] * away[1] + 0.1 * np.sum(away**4) + np.sin(3 * x[0])
    return np.where(np.all((x >= LOWER) & (x <= UPPER)), value, np.nan)


@EVERY_METHOD
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_no_method_evaluates_outside_the_bounds(method, dtype):
    x0 = np.random.default_rng(1).uniform(LOWER, UPPER, (150, 3)).astype(dtype)
    x0[:3] = LOWER, UPPER, (LOWER + UPPER) / 2
    settings = {"method": method, "in_axes": 0, "maxiter": 200, "gtol": -1, "ftol": -1}
    for record in (None, "path"):
        res = fg.minimize(inside_only, x0, bounds=fg.Bounds(LOWER, UPPER), record=record, **settings)
        assert not np.any(res.status == 2)
        assert np.isfinite(res.fun).all()
    path = res.history.x[~np.isnan(res.history.fun)]
    assert ((path >= LOWER) & (path <= UPPER)).all()
    assert (path[:, 2] == 0.5).all()
    assert ((path == LOWER) | (path == UPPER))[:, :2].any()
    assert np.isnan(res.history.fun[res.history.nit[:, None] > res.nit]).all()
    assert not np.isnan(res.history.fun[res.history.nit[:, None] <= res.nit]).any()


def test_bounds_come_as_pairs_or_objects_shared_or_own():
    x0 = np.full((3, 2), 2.0)
    right = [1.0, 0.0]
    for bounds in (
        [(1, None), (None, 3)],
        ((1, 3), (-np.inf, np.inf)),
        np.array([[1.0, 9.0], [-9.0, 9.0]]),
        fg.Bounds([1, -np.inf]),
        fg.Bounds([1.0, -9.0], 5),
        fg.Bounds(lb=np.array([[1, -5]] * 3)),
        optimize.Bounds([1, -np.inf], [3, 3]),
    ):
        res = fg.minimize(bowl, x0, method="lbfgs", in_axes=0, bounds=bounds)
        np.testing.assert_allclose(res.x, [right] * 3, atol=1e-9)
        assert res.success.all()
    own = fg.Bounds(np.arange(6.0).reshape(3, 2) / 6, 2)
    np.testing.assert_allclose(fg.minimize(bowl, x0, method="lbfgs", in_axes=0, bounds=own).x, own.lb, rtol=1e-14)
    mixed = fg.Bounds([-1.0, 0.5], np.array([[2.0], [2.5], [3.0]]))  # shared below, own above
    up = fg.minimize(bowl, x0, (-1.0,), "lbfgs", in_axes=0, bounds=mixed)
    np.testing.assert_array_equal(up.x, [[2.0, 2.0], [2.5, 2.5], [3.0, 3.0]])
    single = fg.minimize(lambda x: (x - 3) ** 2, 0.0, method="lbfgs", bounds=[(0, 2)])
    assert (single.x, single.status) == (2.0, 0)


def test_bounds_nest_like_the_start():
    x0, target = {"w": np.ones((2, 3)), "b": 0.5}, {"w": np.zeros((2, 3)), "b": 9.0}
    box = fg.Bounds({"w": 0.25, "b": -5}, {"w": np.inf, "b": 0.75})
    res = fg.minimize(model, x0, (target,), "lbfgs", bounds=box)
    np.testing.assert_array_equal(res.x["w"], np.full((2, 3), 0.25))
    assert res.x["b"] == 0.75
    batch = {"w": np.ones((4, 2, 3)), "b": np.full(4, 0.5)}
    own = fg.Bounds({"w": 0.25, "b": np.arange(4) / 8})
    res = fg.minimize(model, batch, ({"w": np.zeros((2, 3)), "b": -1.0},), "lbfgs", in_axes=0, bounds=own)
    np.testing.assert_array_equal(res.x["b"], np.arange(4) / 8)
    np.testing.assert_array_equal(res.x["w"], np.full((4, 2, 3), 0.25))
    assert (fg.minimize(model, x0, (target,), "lbfgs", bounds=fg.Bounds(0.125)).x["w"] == 0.125).all()
    two = fg.minimize(lambda p: bowl(p[0]) + bowl(p[1]), [np.ones(2), 4.0], method="lbfgs", bounds=fg.Bounds([0.5, 3]))
    np.testing.assert_array_equal(two.x[0], [0.5, 0.5])
    assert two.x[1] == 3


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ([(2, 3), (2, 3)], ValueError, "x0 lies outside the bounds\n  cure: np.clip"),
        ([(0, 1, 2)] * 2, TypeError, "bounds must be fg.Bounds"),
        (3, TypeError, "bounds must be fg.Bounds"),
        ([(0, 1)] * 3, fg.ShapeError, "bounds has 3 pairs, but x has 2 components"),
        ([(0, "a")] * 2, TypeError, "bounds has dtype"),
        (fg.Bounds([0, 0, 0]), fg.ShapeError, r"bounds.lb has shape \(3,\): give one number, or .* \(2,\)"),
        (fg.Bounds(0, [1j, 2]), TypeError, "bounds.ub has dtype complex"),
        (fg.Bounds(0, np.ma.masked_array([1.0, 2.0])), TypeError, "bounds.ub is a masked array"),
        (fg.Bounds(0, [[1.0], [2.0, 3.0]]), TypeError, "bounds.ub"),
        (fg.Bounds(2, 1), ValueError, "lower bound above"),
        (fg.Bounds(np.nan, 1), ValueError, "NaN"),
        (fg.Bounds({"w": 0}), TypeError, "bounds.lb must be one array, or nested like x0"),
    ],
)
def test_bad_bounds_are_refused_by_name(bounds, error, message):
    with pytest.raises(error, match=message):
        fg.minimize(bowl, np.ones(2), method="lbfgs", bounds=bounds)


def test_starts_outside_are_counted_and_named():
    x0 = np.tile([0.5, 0.5], (9, 1))
    x0[4:6] = 2.0
    with pytest.raises(ValueError, match="x0 of 2 instances, the first of them number 4, lies outside"):
        fg.minimize(bowl, x0, in_axes=0, bounds=fg.Bounds(0, 1))
    with pytest.raises(fg.ShapeError, match="for each instance its own"):
        fg.minimize(lambda x: x**2, np.zeros(4), in_axes=0, bounds=[(0, 1)] * 4)
    with pytest.raises(TypeError, match=r"nested x0 must be fg\.Bounds"):
        fg.minimize(model, {"w": np.ones(2), "b": 1.0}, ({"w": 0.0, "b": 0.0},), bounds=[(0, 2)] * 3)


@EVERY_METHOD
def test_a_start_that_is_nan_has_a_status_within_bounds_too(method):
    x0 = np.array([[0.5, 0.5], [np.nan, 0.5], [0.25, 0.75]])
    res = fg.minimize(bowl, x0, method=method, in_axes=0, bounds=fg.Bounds(0, 1), maxiter=5)
    clean = fg.minimize(bowl, x0[[0, 2]], method=method, in_axes=0, bounds=fg.Bounds(0, 1), maxiter=5)
    assert res.status[1] == 2
    assert_same_bits(res.x[1], x0[1])
    assert_same_bits(res.x[[0, 2]], clean.x)


# ---- fixed components


@EVERY_METHOD
def test_fixed_components_never_move(method):
    x0 = RNG.uniform(0.5, 2, (20, 3))
    settings = {"method": method, "in_axes": 0, "maxiter": 300} | ({} if method == "lbfgs" else {"learning_rate": 0.02})
    shared = np.array([False, True, False])
    own = np.arange(60).reshape(20, 3) % 3 == np.arange(20)[:, None] % 3
    for fixed in (shared, own):
        for bounds in (None, fg.Bounds(-1, 3)):
            res = fg.minimize(bowl, x0, fixed=fixed, bounds=bounds, record="path", **settings)
            where = np.broadcast_to(fixed, x0.shape)
            assert_same_bits(res.x[where], x0[where])
            assert (np.abs(res.x[~where]) < np.abs(x0[~where])).all()
            path = res.history.x[:, where]
            assert ((path == x0[where]) | np.isnan(path)).all()
    all_fixed = fg.minimize(bowl, x0, fixed=True, **settings)
    assert (all_fixed.status == 0).all()
    assert_same_bits(all_fixed.x, x0)


def test_fixed_nests_like_the_start_and_is_checked():
    x0, target = {"w": np.ones((2, 3)), "b": 0.5}, {"w": np.zeros((2, 3)), "b": 9.0}
    res = fg.minimize(model, x0, (target,), "lbfgs", fixed={"w": True, "b": False})
    np.testing.assert_array_equal(res.x["w"], x0["w"])
    np.testing.assert_allclose(res.x["b"], 9)
    with pytest.raises(TypeError, match=r"fixed must hold booleans, got dtype int64"):
        fg.minimize(bowl, np.ones(3), fixed=[0, 2, 1])
    res = fg.minimize(model, x0, (target,), "lbfgs", fixed={"w": [[True, False, True]] * 2, "b": False})
    np.testing.assert_allclose(res.x["w"], [[1, 0, 1]] * 2, atol=1e-9)
    with pytest.raises(TypeError, match=r"nested like x0: x0\['b'\], x0\['w'\]"):
        fg.minimize(model, x0, (target,), fixed={"w": True})
    with pytest.raises(fg.ShapeError, match=r"fixed\['w'\] has shape \(2,\)"):
        fg.minimize(model, x0, (target,), fixed={"w": [True, False], "b": False})
    with pytest.raises(ValueError, match="outside the bounds"):
        fg.minimize(bowl, [2.0, 0.5], fixed=[True, False], bounds=fg.Bounds(0, 1))


# ---- maximising


@EVERY_METHOD
def test_maximising_is_minimising_the_negative(method):
    x0 = RNG.uniform(-1, 1, (5, 2))
    settings = {"method": method, "in_axes": 0, "maxiter": 30, "record": "path"}

    def hill(x):
        return 3.0 - np.sum((x - 0.5) ** 4) - np.sum(x**2)

    up = fg.minimize(hill, x0, maximize=True, **settings)
    down = fg.minimize(lambda x: -hill(x), x0, **settings)
    for name in ("x", "nit", "nfev", "status"):
        assert_same_bits(getattr(up, name), getattr(down, name))
    np.testing.assert_array_equal(up.fun, -down.fun)
    np.testing.assert_array_equal(up.jac, -down.jac)
    np.testing.assert_array_equal(up.history.fun, -down.history.fun)
    np.testing.assert_array_equal(up.history.gradient_norm, down.history.gradient_norm)
    assert (up.fun >= up.history.fun[0]).all()
    assert up.best.fun == up.fun.max()
    assert up[2:].best.fun == up.fun[2:].max()
    assert f"fun={up.fun.max()}" in repr(up)


# ---- prepared functions


def test_a_prepared_function_is_traced_once_for_each_kind_of_call():
    calls = []

    def fun(x, b):
        calls.append(1)
        return np.sum((x - b) ** 2)

    prepared = fg.value_and_grad(fun)
    box = fg.Bounds(-5, 5)
    for settings in [
        {},
        {"method": "gd", "known": True},
        {"method": fg.Adam(0.5), "maxiter": 7, "gtol": 1e-3, "known": True},
        {"record": "fun", "known": True},
        {"record": "path", "ftol": 1e-3, "known": True},
        {"callback": lambda x: None, "maxiter": 5, "known": True},
        {"maximize": True, "maxiter": 3},
        {"maximize": True, "maxiter": 5, "bounds": box, "known": True},
        {"method": "lbfgs"},
        {"method": fg.LBFGS(memory=10), "maxiter": 3, "gtol": 1e-2, "record": "path", "known": True},
        {"method": fg.LBFGS(memory=3)},
        {"method": "lbfgs", "bounds": box},
        {"method": "lbfgs", "bounds": [(-1, 2)] * 2, "known": True},
        {"method": "lbfgs", "fixed": [True, False], "known": True},
        {"method": "backtracking"},
    ]:
        is_known = settings.pop("known", False)
        before = len(calls)
        right = fg.minimize(fun, np.ones(2), (0.5,), **settings)
        assert len(calls) == before + 1  # a plain function is traced each time, once
        for data in (0.5, 0.75):
            res = fg.minimize(prepared, np.ones(2), (data,), **settings)
            if data == 0.5:
                assert_same_bits(res.x, right.x)
        assert len(calls) == before + 1 + (not is_known)
    calls.clear()
    fg.minimize(prepared, np.ones((3, 2)), (np.ones(3),), in_axes=(0, 0))
    assert len(calls) == 1  # data of the instances' own: another program
    fg.minimize(prepared, np.ones((7, 2)), (np.zeros(7),), in_axes=(0, 0))
    assert len(calls) == 1
    assert math.isclose(prepared(np.ones(2), 0.5)[0], 0.5)
