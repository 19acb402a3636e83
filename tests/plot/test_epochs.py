from types import SimpleNamespace

import numpy as np
import pytest
from drawing import Case, held, ribbon, texts

import fastgrad as fg
from fastgrad import plot


def training(members=None, epochs=30, seed=0):
    """A training that overfits; the i-th member stops after epochs - i % 4 epochs."""
    rng = np.random.default_rng(seed)
    shape, epoch = (
        ((epochs,), np.arange(epochs)) if members is None else ((epochs, members), np.arange(epochs)[:, None])
    )
    loss = 3 * np.exp(-epoch / 5) * rng.uniform(0.8, 1.2, shape)
    validation = loss + 0.1 + 0.004 * epoch
    if members is not None:
        stopped = epoch >= epochs - np.arange(members) % 4
        loss[stopped] = validation[stopped] = np.nan
    best = np.nanargmin(validation, axis=0)
    return SimpleNamespace(loss=loss, validation_loss=validation, score=1 - validation / 5, epoch=best, time=epoch)


def discs(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines if line.get_marker() == "o"}


def lines(ax):
    return {line.get_label(): line.get_ydata() for line in ax.lines}


def test_a_training_is_two_lines_and_its_best_epoch():
    hist = training()
    ax = plot.history(hist)
    np.testing.assert_array_equal(lines(ax)["training"], hist.loss)
    np.testing.assert_array_equal(lines(ax)["validation"], hist.validation_loss)
    (label, points), *others = discs(ax).items()
    assert label == f"best epoch ({hist.epoch})"
    np.testing.assert_array_equal(points, [(hist.epoch, hist.validation_loss.min())])
    assert not others
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "loss", "log")
    assert texts(ax) == ["training", "validation", label]


def test_without_validation_the_loss_of_the_training_says_what_was_best():
    hist = training()
    hist.validation_loss, hist.epoch = None, int(np.argmin(hist.loss))
    ax = plot.history(SimpleNamespace(history=hist))  # as fg.fit returns it
    np.testing.assert_array_equal(discs(ax)[f"best epoch ({hist.epoch})"], [(hist.epoch, hist.loss.min())])
    assert "validation" not in lines(ax)


def test_the_score_has_a_linear_axis():
    hist = training()
    ax = plot.history(hist, quantity="score")
    np.testing.assert_array_equal(lines(ax)["validation"], hist.score)
    np.testing.assert_array_equal(discs(ax)[f"best epoch ({hist.epoch})"], [(hist.epoch, hist.score[hist.epoch])])
    assert (ax.get_ylabel(), ax.get_yscale()) == ("score", "linear")


@pytest.mark.parametrize(
    "case",
    [Case("two decades", [1.0, 0.01], "log"), Case("near", [1.0, 0.5], "linear"), Case("below 0", [5.0, -1], "linear")],
    ids=lambda case: case.what,
)
def test_the_axis_suits_the_losses(case):
    hist = SimpleNamespace(loss=np.array(case.values), validation_loss=None, score=None, epoch=1)
    assert plot.history(hist).get_yscale() == case.expected


@pytest.mark.parametrize("n_lines", [0, 1, 3, 50])
def test_an_ensemble_is_a_median_a_ribbon_and_some_members(n_lines):
    hist = training(20)
    ax = plot.history(hist, percentiles=(10, 80), n_lines=n_lines)
    drawn = lines(ax)
    for name, values in [("training", hist.loss), ("validation", hist.validation_loss)]:
        np.testing.assert_allclose(drawn[f"{name}, median of 20"], np.median(held(values), axis=1))
    members = [line.get_ydata() for line in ax.lines if line.get_label() == "_member"]
    assert len(members) == min(n_lines, 20)
    assert all(any(np.array_equal(m, v, equal_nan=True) for v in hist.validation_loss.T) for m in members)
    if n_lines >= 3:
        last = [member[np.isfinite(member)][-1] for member in members]
        ends = held(hist.validation_loss)[-1]
        assert (min(last), max(last)) == (ends.min(), ends.max())
        points = discs(ax)["best epoch of a member"]
        assert {tuple(point) for point in points} <= {(e, hist.validation_loss[e, i]) for i, e in enumerate(hist.epoch)}
        assert len(points) == len(members)
    assert "10th to 80th percentile" in texts(ax)
    ax.collections[0].remove()  # that of the training
    np.testing.assert_allclose(ribbon(ax), np.percentile(held(hist.validation_loss), (10, 80), axis=1))


def test_several_trainings_have_a_colour_each():
    ax = plot.history(training(), label="Adam")
    assert plot.history(training(seed=1), ax=ax, label="SGD") is ax
    assert texts(ax) == ["Adam, training", "Adam", "SGD, training", "SGD"]
    colors = {line.get_label(): line.get_color() for line in ax.lines}
    assert colors["Adam"] == colors["Adam, training"] != colors["SGD"] == colors["SGD, training"]
    assert plot.history(training(8), label="ensemble").get_legend_handles_labels()[1] == [
        "ensemble, training, median of 8",
        "ensemble, median of 8",
    ]


def test_settings_of_the_lines():
    ax = plot.history(training(), c="#123456", lw=4)
    assert {line.get_color() for line in ax.lines} == {"#123456"}
    assert {line.get_linewidth() for line in ax.lines if line.get_linestyle() == "-"} == {4}


def test_epochs_after_the_end_are_left_out():
    hist = training()
    for values in (hist.loss, hist.validation_loss, hist.score):
        values[20:] = np.nan
    hist.epoch = -1
    ax = plot.history(hist)
    assert len(lines(ax)["validation"]) == 20
    assert discs(ax) == {}
    one = SimpleNamespace(loss=np.array([0.5]), validation_loss=None, score=None, epoch=0)
    assert plot.history(one).lines[0].get_marker() == "."


def test_a_training_of_no_epochs():
    with pytest.raises(ValueError, match="hist holds no finite loss: there is nothing to draw"):
        plot.history(fg.MLP([2, 1]).fit(np.zeros((3, 2)), np.zeros((3, 1)), epochs=0))


@pytest.mark.parametrize(
    "case",
    [
        Case("quantity", {"quantity": "accuracy"}, "quantity must be 'loss' or 'score'; got 'accuracy'"),
        Case("percentiles", {"percentiles": (95, 5)}, r"percentiles must be .* got \(95, 5\)"),
        Case("n_lines", {"n_lines": -1}, "n_lines must not be negative; got -1"),
    ],
    ids=lambda case: case.what,
)
def test_errors(case):
    with pytest.raises(ValueError, match=case.expected):
        plot.history(training(), **case.values)


def test_errors_of_the_history():
    hist = training()
    hist.score = None
    with pytest.raises(ValueError, match="hist has no score: pass validation data"):
        plot.history(hist, quantity="score")
    hist.loss, hist.validation_loss = np.full(3, np.nan), None
    with pytest.raises(ValueError, match="no finite loss"):
        plot.history(hist)
    with pytest.raises(ValueError, match=r"hist must be the history of a training.* got ndarray"):
        plot.history(np.ones(3))
