"""Many starts in a box, and the distinct minima that they reach."""

import builtins
import itertools
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, in_fresh_process

import fastgrad as fg
from fastgrad import _multistart

BOX = [(-5, 5), (-5, 5)]


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def rastrigin(x):
    return 10 * x.size + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


def six_hump_camel(x):
    return (4 - 2.1 * x[0] ** 2 + x[0] ** 4 / 3) * x[0] ** 2 + x[0] * x[1] + 4 * (x[1] ** 2 - 1) * x[1] ** 2


def assert_consistent(found, n_starts):
    """That points, values, sizes and basins say the same."""
    assert len(found) == len(found.x) == len(found.basin_sizes)
    assert found.basin.shape == (n_starts,)
    assert found.basin_sizes.tolist() == [np.count_nonzero(found.basin == k) for k in range(len(found))]
    assert (found.basin_sizes > 0).all()
    assert (np.diff(found.fun) >= 0).all()
    for k, (x, value) in enumerate(zip(found.x, found.fun, strict=True)):
        mine = found.basin == k
        assert value == found.result.fun[mine].min()
        assert np.abs(found.result.x[mine] - x).max() <= 1e-4 * 10.24


@pytest.mark.parametrize("sampling", ["latin hypercube", "sobol"])
def test_all_minima_of_himmelblaus_function(sampling):
    found = fg.multistart(himmelblau, BOX, 200, rng=0, sampling=sampling)
    assert len(found) == 4
    assert_consistent(found, 200)
    expected = [[-3.779310, -3.283186], [-2.805118, 3.131313], [3.0, 2.0], [3.584428, -1.848127]]
    np.testing.assert_allclose(found.x[np.argsort(found.x[:, 0])], expected, atol=1e-6)
    assert found.basin_sizes.sum() == 200
    assert found.best.fun == found.fun[0] == found.result.fun.min()


def test_the_humps_of_the_camel():
    found = fg.multistart(six_hump_camel, [(-3, 3), (-2, 2)], 400, rng=1)
    assert len(found) == 6
    assert_consistent(found, 400)
    np.testing.assert_allclose(found.fun, np.repeat([-1.031628453, -0.215463824, 2.104250310], 2), atol=1e-8)
    np.testing.assert_allclose(np.abs(found.x[:2]), [[0.0898420131, 0.7126564030]] * 2, atol=1e-6)


def test_the_grid_of_rastrigins_minima():
    found = fg.multistart(rastrigin, [(-5.12, 5.12)] * 2, 3000, rng=2)
    assert_consistent(found, 3000)
    inner = found.x[np.abs(found.x).max(axis=1) < 4.6]
    wells = {tuple(well) for well in np.round(inner).astype(int).tolist()}
    assert len(wells) == len(inner)
    assert set(itertools.product(range(-4, 5), repeat=2)) <= wells
    np.testing.assert_allclose(found.x[0], 0, atol=1e-7)


def test_a_seed_fixes_everything_and_another_gives_other_starts():
    for sampling in ("latin hypercube", "sobol"):
        first, again, other = (fg.multistart(himmelblau, BOX, 50, rng=seed, sampling=sampling) for seed in (3, 3, 4))
        generator = fg.multistart(himmelblau, BOX, 50, rng=np.random.default_rng(3), sampling=sampling)
        for same in (again, generator):
            assert_same_bits(first.result.x, same.result.x)
            assert (first.basin == same.basin).all()
        assert (first.result.x != other.result.x).any()


@pytest.mark.parametrize("sampling", ["latin hypercube", "sobol"])
def test_starts_are_spread_evenly_and_stay_in_the_box(sampling):
    lower, upper = np.array([-1.0, 5.0, 2.0]), np.array([1.0, 6.0, 2.0])
    found = fg.multistart(lambda x: np.sum(x), fg.Bounds(lower, upper), 64, rng=0, sampling=sampling, maxiter=0)
    starts = found.result.x
    assert ((starts >= lower) & (starts <= upper)).all()
    for i in (0, 1):  # each of 64 slices holds one point
        slices = np.floor((starts[:, i] - lower[i]) / (upper - lower)[i] * 64)
        assert sorted(slices.tolist()) == list(range(64))
    assert len(found) == 0  # none came to an end
    assert (found.basin == -1).all()


def test_sobol_says_that_it_needs_scipy(monkeypatch):
    real = builtins.__import__

    def without_scipy(name, *args):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError, match="sampling='sobol' needs SciPy\n  cure: pip install scipy"):
        fg.multistart(himmelblau, BOX, 10, sampling="sobol")
    assert len(fg.multistart(himmelblau, BOX, 100, rng=0)) == 4


def test_the_latin_hypercube_imports_no_scipy():
    code = """
import sys, numpy as np, fastgrad as fg
fg.multistart(lambda x: np.sum(x**2), [(-1, 1)], 10)
print([name for name in sys.modules if name.startswith(("scipy", "matplotlib"))])
"""
    assert in_fresh_process(code).stdout == "[]\n"


def test_the_box_may_be_nested():
    def fun(p):
        return np.sum((p["w"] - 1) ** 2) + (p["b"] ** 2 - 1) ** 2 + 0.1 * p["b"]

    shape = np.full((2, 2), -2.0)
    for bounds in (
        fg.Bounds({"w": shape, "b": -2.0}, {"w": -shape, "b": 2.0}),
        fg.Bounds({"w": shape, "b": -2}, 2),
        fg.Bounds({"w": shape.tolist(), "b": -2}, {"w": 2.0, "b": 2.0}),
    ):
        found = fg.multistart(fun, bounds, 40, rng=0)
        assert len(found) == 2
        assert found.x["w"].shape == (2, 2, 2)
        assert found.x["b"].shape == (2,)
        assert found.x["b"][0] < 0 < found.x["b"][1]
        assert "w" in found.best.x
        assert "40 starts" in repr(found)
    scalar = fg.multistart(lambda x: np.cos(x), fg.Bounds(0.0, 12.0), 40, rng=0)
    np.testing.assert_allclose(scalar.x % (2 * np.pi), np.pi, rtol=1e-6)
    assert scalar.x.shape == (2,)
    listed = fg.multistart(lambda x: np.sum(np.cos(x)), fg.Bounds([0.5, 0.5], [5.5, 5.5]), 20, rng=0)
    np.testing.assert_allclose(listed.x, [[np.pi, np.pi]], rtol=1e-6)


def test_other_methods_settings_and_directions_pass_through():
    slow = fg.multistart(himmelblau, BOX, 60, rng=0, method="adam", learning_rate=0.1, maxiter=4000, record="fun")
    assert len(slow) == 4
    assert slow.result.history.fun.shape[1] == 60
    top = fg.multistart(himmelblau, BOX, 60, rng=0, maximize=True)
    assert top.fun[0] == 890
    np.testing.assert_array_equal(top.x[0], [5, 5])
    assert (np.diff(top.fun) <= 0).all()
    assert top.best.fun == 890
    assert "maxima from 60 starts" in repr(top)
    shifted = fg.multistart(lambda x, a: himmelblau(x - a), [(-7, 7)] * 2, 100, args=(0.5,), rng=0)
    assert np.abs(shifted.x - [3.5, 2.5]).sum(axis=1).min() < 1e-5
    copy = pickle.loads(pickle.dumps(shifted))
    assert_same_bits(copy.x, shifted.x)


def test_ties_go_to_the_first_start():
    found = fg.multistart(lambda x: 0.0 * np.sum(x), [(0, 1)], 30, rng=0, tolerance=0.2)
    assert (found.fun == 0).all()
    assert found.basin[0] == 0
    assert_same_bits(found.x[0], found.result.x[0])
    gaps = np.abs(found.x[:, 0, None] - found.x[:, 0]) + 9 * np.eye(len(found))
    assert gaps.min() > 0.2
    all_apart = fg.multistart(himmelblau, BOX, 40, rng=0, tolerance=0)
    assert len(all_apart) == len(np.unique(all_apart.result.x, axis=0))
    together = fg.multistart(himmelblau, BOX, 40, rng=0, tolerance=1)
    assert len(together) == 1


def test_starts_that_all_fail_lead_nowhere():
    found = fg.multistart(lambda x: np.sqrt(-1 - np.sum(x**2)), [(-1, 1)] * 2, 20, rng=0)
    assert len(found) == 0
    assert found.x.shape == (0, 2)
    assert (found.basin == -1).all()
    assert (found.result.status == 2).all()
    assert repr(found) == "0 minima from 20 starts"
    assert np.isnan(found.best.fun)


def test_some_starts_that_fail_belong_to_no_minimum():
    found = fg.multistart(lambda x: np.sum(np.sqrt(x) * (np.log(x) - 1)), [(-1, 4)], 200, rng=0)
    failed = found.result.status == 2
    assert 20 < np.count_nonzero(failed) < 60
    assert (found.basin[failed] == -1).all()
    assert len(found) == 1


def test_the_basins_are_those_of_a_slow_loop():
    rng = np.random.default_rng(5)
    lower, upper = np.array([-1.0, 0.0, 3.0]), np.array([1.0, 5.0, 3.0])
    x = lower + np.round(rng.random((500, 3)) * 7) / 7 * (upper - lower) + rng.normal(size=(500, 3)) * [0.01, 0.02, 0]
    status = rng.choice([0, 3, 1, 2, 6], 500)
    result = fg.Result(x, np.round(rng.random(500), 1), x, status, status, status)
    result.fun[:50] = np.nan
    for tolerance in (0.0, 1e-3, 0.05, 0.3, 2.0):
        basin, stands = _multistart._basins(x, result, lower, upper, tolerance)
        slow, members = np.full(500, -1), []
        for i in sorted(range(500), key=lambda i: (result.fun[i] if result.fun[i] == result.fun[i] else 9, i)):
            if np.isfinite(result.fun[i]) and status[i] in (0, 3, 6):
                near = [k for k, j in enumerate(members) if (abs(x[i] - x[j]) <= (upper - lower) * tolerance).all()]
                if not near:
                    near = [len(members)]
                    members.append(i)
                slow[i] = near[0]
        assert basin.tolist() == slow.tolist()
        assert stands.tolist() == members


def test_a_flat_valley_of_thousands_of_minima_is_told_apart():
    found = fg.multistart(lambda x: x[0] ** 2 + 0.0 * x[1], [(-5, 5)] * 2, 100_000, rng=0)
    assert 5_000 < len(found) <= 10_000
    assert found.basin_sizes.sum() == 100_000
    order = np.sort(found.x[:, 1])
    assert np.diff(order).min() > 1e-3 * (1 - 1e-9)
    apart = fg.multistart(rastrigin, [(-5.12, 5.12)] * 8, 20_000, rng=0, maxiter=30)
    assert len(apart) > 10_000  # each in a well of its own


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"bounds": 3}, TypeError, "bounds must be fg.Bounds"),
        ({"bounds": [(0, 1, 2)]}, TypeError, "bounds must be fg.Bounds"),
        ({"bounds": [(0, None)]}, ValueError, "bounds must be finite"),
        ({"bounds": [(1, 0)]}, ValueError, "bounds must be finite, the lower ones below"),
        ({"bounds": [("a", "b")]}, TypeError, "bounds has dtype"),
        ({"bounds": []}, ValueError, "bounds are empty"),
        ({"bounds": fg.Bounds(0)}, ValueError, "bounds must be finite"),
        ({"bounds": fg.Bounds({"a": 0}, {"b": 1})}, TypeError, "nested like x0"),
        ({"n_starts": 0}, ValueError, "n_starts must be an integer from 1"),
        ({"n_starts": 2.5}, ValueError, "n_starts must be an integer"),
        ({"sampling": "grid"}, ValueError, "sampling must be 'latin hypercube' or 'sobol', got 'grid'"),
        ({"tolerance": "small"}, ValueError, "tolerance must be a number"),
        ({"tolerance": -1}, ValueError, "tolerance must not be negative"),
    ],
)
def test_a_bad_argument_is_refused_by_name(change, error, message):
    with pytest.raises(error, match=message):
        fg.multistart(**{"fun": himmelblau, "bounds": BOX, "n_starts": 10} | change)
