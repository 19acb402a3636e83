"""`fg.fit`: any loss of one row, nested parameters, every form of data."""

import doctest
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import assert_same_bits

import fastgrad as fg
from fastgrad._dense import fit as module

pytestmark = pytest.mark.usefixtures("engine")
RNG = np.random.default_rng(8)
X = RNG.normal(size=(60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 > 0
PARAMS = {"w": np.zeros(3), "b": 0.0}


def logistic(params, x, y):
    z = x @ params["w"] + params["b"]
    return np.logaddexp(0.0, z) - y * z


def accuracy(params, x, y):
    return (x @ params["w"] + params["b"] > 0) == (y > 0.5)


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0


def test_parameters_come_back_as_they_were_nested():
    params = {"w": np.zeros(3), "b": 0.0, "more": [np.ones((2, 2)), (np.ones(()), [1.0, 2.0])]}
    kept = params["w"].copy()

    def loss(p, x, y):
        extra = np.sum((p["more"][0] - 3) ** 2) + p["more"][1][0] ** 2 + np.sum(p["more"][1][1][0] ** 2)
        return logistic(p, x, y) + extra

    res = fg.fit(loss, params, (X, Y), learning_rate=0.1, epochs=30, rng=0)
    assert set(res.params) == {"w", "b", "more"}
    assert res.params["w"].shape == (3,)
    assert res.params["b"].shape == ()
    assert res.params["more"][0].shape == (2, 2)
    assert isinstance(res.params["more"][1], tuple)
    np.testing.assert_allclose(res.params["more"][0], 3.0, atol=0.1)
    assert_same_bits(params["w"], kept)
    assert res.success
    assert res.message == "ran all epochs"
    assert isinstance(res, fg.Fit)
    assert isinstance(res.history, fg.TrainingHistory)


@pytest.mark.parametrize("params", [np.zeros(3), [0.0, 0.0, 0.0], (np.zeros(2), 0.0)])
def test_parameters_of_any_kind(params):
    def loss(p, x):
        p = np.append(p[0], p[1]) if isinstance(p, tuple) else p
        return np.sum((x - p) ** 2)

    res = fg.fit(loss, params, X, optimizer="lbfgs", epochs=20)
    found = np.append(*res.params) if isinstance(params, tuple) else res.params
    np.testing.assert_allclose(found, X.mean(axis=0), atol=1e-8)


def test_data_by_place_and_by_name():
    options = {"epochs": 3, "batch_size": 16, "rng": 1, "score": accuracy}
    a = fg.fit(logistic, PARAMS, (X, Y), validation=(X[:9], Y[:9]), **options)
    b = fg.fit(logistic, PARAMS, {"y": Y, "x": X}, validation={"x": X[:9], "y": Y[:9]}, **options)
    np.testing.assert_allclose(a.params["w"], b.params["w"], rtol=1e-12)
    np.testing.assert_allclose(a.history.validation_loss, b.history.validation_loss, rtol=1e-12)
    weighted = fg.fit(logistic, PARAMS, (X, Y), validation=(X[:9], Y[:9], np.eye(9)[4]), **options)
    assert weighted.history.score[-1] in (0.0, 1.0)
    assert_same_bits(weighted.params["w"], a.params["w"])


def test_the_dtype_is_that_of_the_parameters():
    single = {"w": np.zeros(3, np.float32), "b": np.float32(0)}
    a = fg.fit(logistic, single, (X, Y), rng=0)
    b = fg.fit(logistic, PARAMS, (X.astype(np.float32), Y), rng=0)
    assert a.params["w"].dtype == np.float32
    assert b.params["w"].dtype == np.float64
    np.testing.assert_allclose(a.params["w"], b.params["w"], atol=1e-5)


def test_a_share_is_held_out():
    res = fg.fit(logistic, PARAMS, (X, Y), validation=0.25, score=accuracy, patience=3, epochs=9, rng=0)
    same = fg.fit(logistic, PARAMS, (X, Y), validation=0.25, score=accuracy, patience=3, epochs=9, rng=0)
    assert_same_bits(res.params["w"], same.params["w"])
    assert res.history.score[0] * 15 == pytest.approx(np.rint(res.history.score[0] * 15))


def test_members():
    start = {"w": np.random.default_rng(0).normal(size=(4, 3)), "b": np.zeros(4)}
    seen = []
    res = fg.fit(logistic, start, (X, Y), members=4, learning_rate=[1e-9, 0.01, 0.02, 0.1], callback=seen.append, rng=0)
    assert res.params["w"].shape == (4, 3)
    assert res.params["b"].shape == (4,)
    assert res.history.loss.shape == (10, 4)
    assert seen[-1].parameters["w"].shape == (4, 3)
    np.testing.assert_array_equal(res.success, True)
    np.testing.assert_allclose(res.params["w"][0], start["w"][0], atol=1e-6)
    assert np.argmin(res.history.loss[-1]) == 3


def test_fits_in_several_threads_at_once():
    def one(seed):
        return fg.fit(logistic, PARAMS, (X, Y), rng=seed, epochs=20, batch_size=8).params["w"]

    alone = [one(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, range(4)))
    for a, b in zip(alone, together, strict=True):
        assert_same_bits(a, b)


def test_a_callback_sees_nested_parameters():
    def look(epoch):
        assert set(epoch.parameters) == {"w", "b"}
        assert not epoch.parameters["w"].flags.writeable
        if epoch.loss < 0.6:
            raise StopIteration

    res = fg.fit(logistic, PARAMS, (X, Y), learning_rate=0.1, epochs=100, callback=look, rng=0)
    assert res.history.status == 7
    assert res.history.loss[-1] < 0.6 <= res.history.loss[-2]


def test_a_robust_line_and_an_autoencoder():
    """Losses that no library has ready."""
    t = np.linspace(0, 1, 200)
    y = 2 * t - 1
    y[::10] += 50

    def robust(p, t, y):
        return np.sqrt(1 + (p["slope"] * t + p["start"] - y) ** 2)

    line = fg.fit(robust, {"slope": 0.0, "start": 0.0}, (t, y), optimizer="lbfgs", epochs=200).params
    assert line["slope"] == pytest.approx(2, abs=0.5)
    assert line["start"] == pytest.approx(-1, abs=0.5)

    def code(p, x):
        return np.sum((p["back"] @ np.tanh(p["in"] @ x) - x) ** 2)

    start = {"in": RNG.normal(size=(2, 3)) / 2, "back": RNG.normal(size=(3, 2)) / 2}
    flat = X @ np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0.01]])
    res = fg.fit(code, start, flat / 4, optimizer=fg.Adam(0.02), epochs=200, rng=0)
    assert res.history.loss[-1] < 0.1 * res.history.loss[0]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss_fun": 3}, TypeError, "loss_fun must be a function, got int"),
        ({"score": 3}, TypeError, "score must be a function, got int"),
        ({"params": {}}, TypeError, "params={} holds no array"),
        ({"params": {"w": "x", "b": 0.0}}, TypeError, r"params\['w'\] has dtype"),
        ({"data": (X, Y[:5])}, fg.ShapeError, r"data\[0\] has 60, data\[1\] has 5"),
        ({"data": {"x": X, "y": Y[:5]}}, fg.ShapeError, r"data\['x'\] has 60, data\['y'\] has 5"),
        ({"data": ()}, ValueError, "data holds no array"),
        ({"validation": (X,)}, fg.ShapeError, "validation has 1 arrays, but data has 2"),
        ({"validation": {"x": X, "y": Y}}, TypeError, "validation must be a number between 0 and 1, or nested like"),
        ({"validation": (X[:, :2], Y)}, fg.ShapeError, r"validation\[0\] has rows of shape \(2,\), but data\[0\]"),
        ({"validation": (X, Y, Y * 0)}, ValueError, "validation's sample_weight is zero for every row"),
        ({"validation": 1.5}, ValueError, "validation must be data like that"),
        ({"validation": 1}, (TypeError, ValueError, fg.ShapeError), "validation"),
        ({"members": 2}, fg.ShapeError, r"params\['b'\] has shape \(\): with members=2 it needs a leading axis"),
        ({"members": 0}, ValueError, "members must be an integer from 1"),
        ({"sample_weight": -Y.astype(float)}, ValueError, "sample_weight must be finite and not negative"),
        ({"optimizer": "sgd"}, ValueError, "optimizer 'sgd' is not known"),
    ],
)
def test_arguments_that_are_refused(arguments, error, message):
    arguments = {"loss_fun": logistic, "params": PARAMS, "data": (X, Y), **arguments}
    with pytest.raises(error, match=message):
        fg.fit(**arguments)


def test_errors_in_the_loss_name_the_line():
    def loss(p, x, y):
        return np.linalg.svd(np.outer(x, x))[1][0] * p["b"]

    with pytest.raises(fg.TraceError, match=r"test_fit.py:\d+, in loss"):
        fg.fit(loss, PARAMS, (X, Y))
    with pytest.raises(fg.ShapeError, match="logistic returns an array of shape"):
        fg.fit(logistic, PARAMS | {"b": np.zeros(2)}, (X, Y))
