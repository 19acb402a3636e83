"""Losses against formulas worked by hand, their derivatives against the compiler's, and what may be a target."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgrad as fg
from fastgrad._dense.losses import LOSSES, loss_of, rows_of_targets

RNG = np.random.default_rng(11)
OUTPUTS = RNG.normal(scale=2, size=(12, 3))


def logistic(o):
    return 1 / (1 + math.exp(-o))


# of lists of numbers, as torch's manual has them with reduction="none", then the mean over outputs
FORMULAS = {
    "mse": lambda o, t: sum((a - b) ** 2 for a, b in zip(o, t, strict=True)) / len(o),
    "mae": lambda o, t: sum(abs(a - b) for a, b in zip(o, t, strict=True)) / len(o),
    "huber": lambda o, t: (
        sum(0.5 * (a - b) ** 2 if abs(a - b) <= 1 else abs(a - b) - 0.5 for a, b in zip(o, t, strict=True)) / len(o)
    ),
    "binary_cross_entropy": lambda o, t: (
        -sum(b * math.log(logistic(a)) + (1 - b) * math.log(1 - logistic(a)) for a, b in zip(o, t, strict=True))
        / len(o)
    ),
    "cross_entropy": lambda o, t: (
        -sum(b * math.log(math.exp(a) / sum(map(math.exp, o))) for a, b in zip(o, t, strict=True))
    ),
    "poisson": lambda o, t: sum(math.exp(a) - b * a for a, b in zip(o, t, strict=True)) / len(o),
    "hinge": lambda o, t: sum(max(0, 1 - a * b) for a, b in zip(o, t, strict=True)) / len(o),
}
PROBABILITIES = np.exp(OUTPUTS[::-1]) / np.exp(OUTPUTS[::-1]).sum(axis=1, keepdims=True)
TARGETS = {
    "mse": RNG.normal(size=(12, 3)),
    "mae": RNG.normal(size=(12, 3)),
    "huber": RNG.normal(size=(12, 3)),
    "binary_cross_entropy": RNG.integers(0, 2, size=(12, 3)),
    "cross_entropy": PROBABILITIES,
    "poisson": RNG.integers(0, 6, size=(12, 3)),
    "hinge": RNG.choice([-1, 1], size=(12, 3)),
}


def test_every_loss_has_a_formula():
    assert set(LOSSES) | {"huber"} == set(FORMULAS)


@pytest.mark.parametrize("name", FORMULAS)
def test_values_of_rows_and_of_one(name):
    loss, targets = loss_of(name), TARGETS[name]
    exact = [FORMULAS[name](o, t) for o, t in zip(OUTPUTS.tolist(), targets.tolist(), strict=True)]
    assert_allclose(loss.function(OUTPUTS, targets), exact, rtol=1e-12)
    assert_allclose([loss.function(o, t) for o, t in zip(OUTPUTS, targets, strict=True)], exact, rtol=1e-12)
    assert_allclose(fg.vmap(loss.function)(OUTPUTS, targets.astype(float)), exact, rtol=1e-12)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_against_the_compiler_and_differences(name):
    loss, targets = loss_of(name), TARGETS[name].astype(float)
    slopes = loss.slope(OUTPUTS, targets)
    assert_allclose(fg.vmap(fg.grad(loss.function))(OUTPUTS, targets), slopes, rtol=1e-12, atol=1e-15)
    h = 1e-6
    for j in range(3):
        step = h * np.eye(3)[j]
        difference = (loss.function(OUTPUTS + step, targets) - loss.function(OUTPUTS - step, targets)) / (2 * h)
        assert_allclose(slopes[:, j], difference, rtol=1e-6, atol=1e-8)


def test_labels_are_one_hot_rows():
    loss, labels = LOSSES["cross_entropy"], RNG.integers(0, 3, size=12)
    one_hot = np.eye(3)[labels]
    exact = [FORMULAS["cross_entropy"](o, t) for o, t in zip(OUTPUTS.tolist(), one_hot.tolist(), strict=True)]
    assert_allclose(loss.function(OUTPUTS, labels), exact, rtol=1e-12)
    assert_allclose(loss.slope(OUTPUTS, labels), loss.slope(OUTPUTS, one_hot), rtol=1e-14)
    numbers = labels.astype(float)
    assert_allclose(fg.vmap(loss.function)(OUTPUTS, numbers), exact, rtol=1e-12)
    assert_allclose(fg.vmap(fg.grad(loss.function))(OUTPUTS, numbers), loss.slope(OUTPUTS, one_hot), rtol=1e-11)
    for function in (loss.score, fg.vmap(loss.score)):
        assert_allclose(function(OUTPUTS, numbers), OUTPUTS.argmax(axis=1) == labels)
        assert_allclose(function(OUTPUTS, one_hot), OUTPUTS.argmax(axis=1) == labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropies_are_exact_for_outputs_of_any_size(dtype):
    o = np.array([[2000.0, -2000.0], [-2000.0, 2000.0]], dtype)
    labels, t = np.zeros(2, dtype), np.array([[1, 0], [1, 0]], dtype)
    for loss, target in ((LOSSES["cross_entropy"], labels), (LOSSES["cross_entropy"], t)):
        for function in (loss.function, fg.vmap(loss.function)):
            assert function(o, target).tolist() == [0.0, 4000.0]
        assert fg.vmap(fg.grad(loss.function))(o, target).tolist() == [[0, 0], [-1, 1]]
    loss = LOSSES["binary_cross_entropy"]
    for function in (loss.function, fg.vmap(loss.function)):
        assert function(o, t).tolist() == [0.0, 2000.0]
    assert fg.vmap(fg.grad(loss.function))(o, t).tolist() == [[0, 0], [-0.5, 0.5]]


@pytest.mark.parametrize("name", ["binary_cross_entropy", "hinge"])
def test_scores_count_the_outputs_on_the_right_side(name):
    loss, o = LOSSES[name], np.array([[1.0, -1.0, 2.0, -3.0]])
    t = np.array([[1, 1, 1, 0]]) if name == "binary_cross_entropy" else np.array([[1, 1, 1, -1]])
    assert loss.score(o, t) == fg.vmap(loss.score)(o, t.astype(float)) == 0.75


def test_regressions_have_no_score():
    assert [name for name, loss in LOSSES.items() if loss.score is None] == ["mse", "mae", "poisson"]


def test_huber_of_any_width():
    o, t = np.array([0.0, 3.0, -5.0]), np.zeros(3)
    assert_allclose(fg.Huber(2.0)(o, t), (0 + 2 * (3 - 1) + 2 * (5 - 1)) / 3)
    assert_allclose(fg.grad(fg.Huber(2.0))(o, t), [0, 2 / 3, -2 / 3])
    assert_allclose(loss_of(fg.Huber(2.0)).slope(o, t), [0, 2 / 3, -2 / 3])
    assert fg.Huber() == fg.Huber(1)
    for delta in (0, -1, math.nan, math.inf, "1", None):
        with pytest.raises(ValueError, match="delta="):
            fg.Huber(delta)


def test_a_function_of_ones_own():
    def fourth(output, target):
        total = 0.0
        for i in range(len(output)):
            total += (output[i] - target) ** 4
        return total

    loss, t = loss_of(fourth), RNG.normal(size=12)
    assert_allclose(loss.function(OUTPUTS, t), np.sum((OUTPUTS - t[:, None]) ** 4, axis=1), rtol=1e-12)
    assert_allclose(loss.slope(OUTPUTS, t), 4 * (OUTPUTS - t[:, None]) ** 3, rtol=1e-12)
    assert loss.name == "fourth"
    assert loss.function == loss_of(fourth).function
    assert loss_of(loss) is loss


@pytest.mark.parametrize(("value", "error"), [("rmse", ValueError), (3, TypeError), (None, TypeError)])
def test_what_is_no_loss(value, error):
    with pytest.raises(error, match=r"one of mse, mae|must be a name or a NumPy function"):
        loss_of(value)


# ---- targets


def checked(name, y, n_rows=2, n_outputs=3):
    return rows_of_targets(loss_of(name), y, n_rows, n_outputs)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, np.bool_])
def test_good_targets_are_never_copied(name, dtype):
    y = np.asfortranarray(np.array([[0, 1, 0], [1, 0, 0]], dtype))
    if name == "hinge":
        if dtype in (np.uint8, np.bool_):
            return
        y = (2 * y - 1).astype(dtype)
    y.flags.writeable = False
    assert checked(name, y) is y
    if name != "cross_entropy":
        column = y[:, 0]
        result = checked(name, column, 2, 1)
        assert result.shape == (2, 1)
        assert np.shares_memory(result, y)
    else:
        assert checked(name, np.array([1, 0], dtype)).shape == (2,)


@pytest.mark.parametrize(
    ("name", "y", "error", "says"),
    [
        ("mse", [1.0, 2.0], ValueError, "y has shape (2,), but loss 'mse' needs (2, 3)"),
        ("mse", [[1.0, 2.0], [3.0, 4.0]], ValueError, "as many outputs"),
        ("mse", [[1.0, 2.0, 3.0]], ValueError, "X has 2 rows"),
        ("mse", 1.0, ValueError, "y has shape ()"),
        ("mse", [[1.0, math.nan, 3.0]] * 2, ValueError, "y holds NaN or infinity"),
        ("mse", [[1.0, -math.inf, 3.0]] * 2, ValueError, "y holds NaN or infinity"),
        ("mse", [[1.0], [2.0, 3.0]], TypeError, "y does not make an array"),
        ("mse", [[1j, 2, 3]] * 2, TypeError, "y has dtype complex128"),
        ("mse", np.array([[1, 2, 3]] * 2, object), TypeError, "y has dtype object"),
        ("mse", np.ma.masked_array([[1.0, 2, 3]] * 2), TypeError, "y is a masked array"),
        ("cross_entropy", ["a", "b"], TypeError, "np.unique(y, return_inverse=True)"),
        ("cross_entropy", [0, 3], ValueError, "the label 3, but the network has outputs for 0 to 2"),
        ("cross_entropy", [-1, 2], ValueError, "the label -1"),
        ("cross_entropy", [0.5, 2], ValueError, "y holds 0.5, but labels are whole numbers 0 to 2"),
        ("cross_entropy", [math.nan, 2], ValueError, "y holds NaN"),
        ("cross_entropy", [[0], [1]], ValueError, "needs labels of shape (2,) or probabilities of shape (2, 3)"),
        ("cross_entropy", [[0.5, 0.5, 0.0], [0.5, 0.5, 0.5]], ValueError, "row 1 does not"),
        ("cross_entropy", [[0.5, 0.6, -0.1], [0.5, 0.5, 0.0]], ValueError, "y holds -0.1, which is no probability"),
        ("binary_cross_entropy", [[0, 1, 2]] * 2, ValueError, "y holds 2, but loss 'binary_cross_entropy' wants 0, 1"),
        ("binary_cross_entropy", [[-1, 1, 1]] * 2, ValueError, "(y + 1) / 2"),
        ("poisson", [[1, 2, -3]] * 2, ValueError, "y holds -3, but loss 'poisson' wants counts"),
        ("hinge", [[0, 1, 1]] * 2, ValueError, "2 * y - 1"),
    ],
)
def test_bad_targets_say_what_is_wrong(name, y, error, says):
    with pytest.raises(error) as caught:
        checked(name, y)
    assert says in str(caught.value)


def test_one_output_cannot_be_chosen_among():
    with pytest.raises(ValueError, match="cure: as many outputs as classes, or loss='binary_cross_entropy'"):
        checked("cross_entropy", [0, 0], 2, 1)
