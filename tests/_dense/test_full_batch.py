"""Searches over all rows: the same path as `minimize` takes on the mean loss."""

import dataclasses

import numpy as np
import pytest
from helpers import assert_same_bits
from test_training import DROPOUT, examples, logistic_task, run

import fastgrad as fg


def mean_loss(data, l2=0.0):
    X, y = (source.array.astype(float) for source in data.sources)
    weights = np.ones(len(y)) if data.weights is None else data.weights

    def loss(x):
        z = X @ x[:3] + x[3]
        mean = np.sum(weights * (np.logaddexp(0.0, z) - y * z)) / np.sum(weights)
        return mean + l2 / 2 * np.sum(x[:3] ** 2)

    return loss


@pytest.mark.parametrize("optimizer", ["lbfgs", fg.LBFGS(memory=3), "backtracking"])
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_path_is_that_of_minimize(optimizer, l2, engine):
    data = examples(weights=np.random.default_rng(0).uniform(0, 1, 50))
    start = 0.1 * np.arange(4)
    x, history = run(logistic_task(), data, optimizer=optimizer, epochs=8, l2=l2, record="step")
    res = fg.minimize(mean_loss(data, l2), start, method=optimizer, maxiter=8, record="fun")
    np.testing.assert_allclose(x, res.x, rtol=1e-8)
    np.testing.assert_allclose(history.loss, res.history.fun[1:], rtol=1e-10)
    assert_same_bits(history.loss, history.step_loss)
    assert (history.n_epochs, history.status) == (res.nit, res.status)


def test_a_search_converges(engine):
    data = examples()
    x, history = run(logistic_task(), data, optimizer="lbfgs", epochs=500, l2=0.1, gtol=1e-8, ftol=0.0)
    assert history.status == 0
    assert history.success
    assert history.n_epochs < 30
    gradient = fg.grad(mean_loss(data, 0.1))(x)
    assert np.max(np.abs(gradient)) <= 1e-8
    y, history = run(logistic_task(), data, x, optimizer="lbfgs", l2=0.1, gtol=1e-7)  # from there it has nothing to do
    assert (history.n_epochs, history.epoch, history.status) == (0, -1, 0)
    assert_same_bits(x, y)
    assert run(logistic_task(), data, optimizer="lbfgs", maxfev=3)[1].status == 5


def test_single_precision_and_validation(engine):
    data = dataclasses.replace(examples(dtype=np.float32), validation=examples(20))
    x, history = run(logistic_task(np.float32), data, optimizer="lbfgs", epochs=20, l2=0.1)
    assert x.dtype == np.float32
    best = fg.minimize(mean_loss(data, 0.1), np.zeros(4), method="lbfgs").x
    np.testing.assert_allclose(x, best, atol=2e-3)
    validation = mean_loss(data.validation)(x)
    assert history.validation_loss[-1] == pytest.approx(validation, rel=1e-4)
    assert history.score.shape == history.loss.shape


def test_members_use_their_rows_as_often_as_they_stand_there(engine):
    rows = np.random.default_rng(3).integers(0, 50, (2, 40))
    weights = np.random.default_rng(4).uniform(0, 1, 50)
    data = dataclasses.replace(examples(weights=weights), rows=rows)
    x, _ = run(logistic_task(), data, members=2, optimizer="lbfgs", epochs=6, l2=0.1)
    for i in range(2):
        parts = [source.array[rows[i]] for source in data.sources]
        part = dataclasses.replace(
            data, sources=tuple([source._replace(array=p) for source, p in zip(data.sources, parts, strict=True)]),
            n_rows=40, weights=weights[rows[i]], rows=None,
        )  # fmt: skip
        alone, _ = run(logistic_task(), part, optimizer="lbfgs", epochs=6, l2=0.1)
        np.testing.assert_allclose(x[i], alone, rtol=1e-6)


def test_what_a_search_cannot_do():
    with pytest.raises(ValueError, match=r"l1=0.1 has kinks, where LBFGS gets stuck"):
        run(logistic_task(), examples(), optimizer="lbfgs", l1=0.1)
    with pytest.raises(ValueError, match="dropout needs minibatches, but Backtracking uses all rows at once"):
        run(DROPOUT, examples(), optimizer="backtracking")
