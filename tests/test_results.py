"""Results and histories: instances, the best of them, words, pickles."""

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits

import fastgrad as fg
from fastgrad._statuses import MESSAGES, SUCCESSES

STARTS = np.random.default_rng(0).uniform(-2, 2, (30, 2))


def two_wells(x):
    return (x[0] ** 2 - 1) ** 2 + 0.2 * x[0] + x[1] ** 2


@pytest.fixture
def batch():
    return fg.minimize(two_wells, STARTS, method="lbfgs", in_axes=0, record="path", gtol=1e-7, ftol=-1)


def test_a_single_result_holds_numbers_and_a_batch_arrays(batch):
    one = fg.minimize(two_wells, STARTS[3], method="lbfgs", record="path", gtol=1e-7, ftol=-1)
    for name in ("fun", "nit", "nfev", "status", "success"):
        assert np.shape(getattr(one, name)) == ()
        assert np.shape(getattr(batch, name)) == (30,)
        assert getattr(batch[3], name) == getattr(one, name)
    assert one.success is True
    assert not one.is_batch
    assert one.x.shape == one.jac.shape == (2,)
    assert one.history.x.shape == (one.nit + 1, 2)
    assert one.history.fun.shape == one.history.step.shape == one.history.gradient_norm.shape == (one.nit + 1,)
    assert isinstance(batch.message, str)
    assert isinstance(one.message, str)


def test_instances_are_picked_as_numpy_picks(batch):
    for which in (slice(3, 9), [4, 1], batch.fun < 0, np.array([True] * 30), -1, np.int64(5)):
        part = batch[which]
        for name in ("x", "fun", "jac", "nit", "nfev", "status"):
            assert_same_bits(getattr(part, name), getattr(batch, name)[which])
        for name in ("fun", "gradient_norm", "step", "x"):
            assert_same_bits(getattr(part.history, name), getattr(batch.history, name)[:, which])
        assert part.history.nit is batch.history.nit
        assert part.lane_occupancy == batch.lane_occupancy
    assert [one.fun for one in batch] == batch.fun.tolist()


def test_the_best_is_the_least_finite_value_the_first_of_equals():
    fun = np.array([np.nan, 3.0, 1.0, -np.inf, 1.0, np.inf])
    x = np.arange(6.0)[:, None]
    zeros = np.zeros(6, int)
    assert fg.Result(x, fun, x, zeros, zeros, zeros).best.x == [2.0]
    assert fg.Result(x, fun, x, zeros, zeros, zeros, maximize=True).best.x == [1.0]
    none = fg.Result(x[:2], fun[[0, 5]], x[:2], *[zeros[:2]] * 3)
    assert np.isnan(none.best.fun)


def test_messages_name_and_count_every_status():
    codes = np.array(sorted(code for code in MESSAGES if code >= 0))
    res = fg.Result(np.zeros((8, 1)), np.zeros(8), np.zeros((8, 1)), codes, codes, codes)
    assert res.message.split("; 1 ")[0] == f"1 {MESSAGES[0]}"
    for code in codes:
        assert f"1 {MESSAGES[code]}" in res.message
        assert res[code].message == MESSAGES[code]
        assert res[code].success == (code in SUCCESSES)
    assert res.success.tolist() == [code in SUCCESSES for code in codes]
    many = fg.Result(np.zeros((2000, 1)), np.zeros(2000), np.zeros((2000, 1)), *[np.zeros(2000, int)] * 3)
    assert many.message == f"2,000 {MESSAGES[0]}"


def test_what_is_printed_is_short_and_plain(batch):
    for res in (batch, batch[2], fg.minimize(two_wells, np.ones((100, 200)), in_axes=0, maxiter=1)):
        text = repr(res)
        assert len(text) < 2500
        assert "np.float64" not in text
    assert "nit=" in repr(batch[2])
    assert "30 converged" in repr(batch)


@pytest.mark.parametrize("record", [None, "fun", "path", 3])
@pytest.mark.parametrize("in_axes", [None, 0])
def test_results_are_pickled_and_copied_whole(record, in_axes):
    x0 = {"a": STARTS[:, 0], "b": STARTS[:, 1]} if in_axes == 0 else {"a": 0.3, "b": 0.4}
    res = fg.minimize(
        lambda p: two_wells([p["a"], p["b"]]), x0, method="lbfgs", in_axes=in_axes, record=record, maximize=False
    )
    for other in (pickle.loads(pickle.dumps(res)), copy.copy(res), copy.deepcopy(res)):
        for name in ("fun", "nit", "nfev", "status", "success", "message", "lane_occupancy", "maximize"):
            assert np.array_equal(getattr(other, name), getattr(res, name))
        assert_same_bits(other.x["a"], res.x["a"])
        assert_same_bits(other.jac["b"], res.jac["b"])
        if record is not None:
            assert_same_bits(other.history.fun, res.history.fun)
        assert (other.history is None) == (record is None)
        assert repr(other) == repr(res)


def test_a_pickle_holds_no_row_that_was_never_reached():
    res = fg.minimize(two_wells, STARTS, method="lbfgs", in_axes=0, record="path", maxiter=100_000)
    assert len(pickle.dumps(res)) < 100_000
