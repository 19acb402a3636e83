"""What training minimises: dropout by formula, one dtype throughout, the rows, their classes and those held out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fastgrad as fg
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.simplify import Simplifier
from fastgrad._compiler.substitute import trace
from fastgrad._compiler.trace import Input
from fastgrad._dense.activations import ACTIVATIONS
from fastgrad._dense.layers import layers_of
from fastgrad._dense.losses import LOSSES, loss_of
from fastgrad._dense.objective import bootstrapped, dropout_rates, labels_of, make_rows, make_task, validated

RNG = np.random.default_rng(2)
LAYERS = layers_of([4, 6, 5, 3], "tanh", "identity")
X, LABELS = RNG.normal(size=(20, 4)), RNG.integers(0, 3, size=20)


def leaves_of(layers):
    return [RNG.normal(size=shape) for shape in layers.shapes]


def test_dropout_multiplies_by_its_mask():
    rates = (0.25, 0.5)
    task = make_task(LAYERS, LOSSES["mse"], rates, np.dtype(np.float64))
    assert task.noise == [(6,), (5,)]
    W0, b0, W1, b1, W2, b2 = leaves = leaves_of(LAYERS)
    noise = [np.array([0.1, 0.25, 0.9, 0.2, 0.3, 0.0]), np.array([0.5, 0.4, 0.6, 0.1, 0.99])]
    x, y = X[0], RNG.normal(size=3)
    h = np.tanh(x @ W0 + b0) * [0, 1, 1, 0, 1, 0] / 0.75
    h = np.tanh(h @ W1 + b1) * [1, 0, 1, 0, 1] / 0.5
    exact = np.mean((h @ W2 + b2 - y) ** 2)
    assert_allclose(task.loss(leaves, [x, y], noise), exact, rtol=1e-13)
    assert_allclose(fg.value_and_grad(task.loss)(leaves, [x, y], noise)[0], exact, rtol=1e-13)
    without = np.mean((np.tanh(np.tanh(x @ W0 + b0) @ W1 + b1) @ W2 + b2 - y) ** 2)
    assert_allclose(task.loss(leaves, [x, y], []), without, rtol=1e-13)


def test_a_layer_that_drops_nothing_needs_no_noise():
    task = make_task(LAYERS, LOSSES["mse"], (0.0, 0.5), np.dtype(np.float64))
    assert task.noise == [(5,)]
    W0, b0, W1, b1, W2, b2 = leaves = leaves_of(LAYERS)
    h = np.tanh(np.tanh(X[0] @ W0 + b0) @ W1 + b1) * [2, 2, 0, 0, 2]
    exact = np.mean((h @ W2 + b2) ** 2)
    assert_allclose(task.loss(leaves, [X[0], np.zeros(3)], [np.array([1, 0.5, 0, 0, 0.7])]), exact, rtol=1e-13)


@pytest.mark.parametrize("loss", [*LOSSES, "huber"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_leaves_the_dtype(activation, loss):
    """One constant of the wrong kind would have half of a network computed in float64."""
    kind = loss_of(loss)
    layers = layers_of([4, 6, 5, 3], activation, kind.link or "identity")
    task = make_task(layers, kind, (0.2, 0.3), np.dtype(np.float32))
    shapes = [task.shapes, [(4,), () if loss == "cross_entropy" else (3,)], task.noise]
    arguments = [[Input(tuple(shape), task.dtype) for shape in each] for each in shapes]
    graph = value_and_gradient(trace(task.loss, arguments, loss, Simplifier()), range(6))
    assert {node.dtype for node in graph.nodes if node.op != "const"} == {np.dtype(np.float32)}


def test_only_weights_are_penalised():
    task = make_task(LAYERS, LOSSES["mse"], (), np.dtype(np.float64))
    assert [len(shape) == 2 for shape in task.shapes] == list(task.penalised)


def test_scores_are_those_of_the_outputs():
    task = make_task(LAYERS, LOSSES["cross_entropy"], (), np.dtype(np.float64))
    leaves = leaves_of(LAYERS)
    outputs = LAYERS.predict(X, np.concatenate([x.ravel() for x in leaves]))
    scores = [task.score(leaves, [x, label]) for x, label in zip(X, LABELS, strict=True)]
    assert_array_equal(scores, outputs.argmax(axis=1) == LABELS)
    assert make_task(LAYERS, LOSSES["mse"], (), np.dtype(np.float64)).score is None


def test_rows_and_targets_are_read_where_they_are():
    wide = RNG.integers(0, 255, size=(20, 8)).astype(np.uint8)
    data = make_rows(LAYERS, LOSSES["cross_entropy"], wide[:, ::2], LABELS, scale=1 / 255)
    assert np.shares_memory(data.sources[0].array, wide)
    assert np.shares_memory(data.sources[1].array, LABELS)
    assert data.sources[0].scale == 1 / 255
    assert data.n_rows == 20


def test_classes_of_rows():
    classes = LOSSES["cross_entropy"]
    assert_array_equal(labels_of(classes, LABELS), LABELS)
    assert_array_equal(labels_of(classes, np.eye(3)[LABELS]), LABELS)
    assert_array_equal(labels_of(LOSSES["hinge"], np.array([[1], [-1]])), [1, -1])
    assert labels_of(LOSSES["binary_cross_entropy"], np.zeros((5, 2))) is None
    assert labels_of(LOSSES["mse"], np.zeros((5, 1))) is None


def test_rows_held_out_keep_the_shares_of_classes():
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    rows = RNG.normal(size=(200, 4))
    data = make_rows(LAYERS, LOSSES["cross_entropy"], rows, labels)
    split = validated(LAYERS, LOSSES["cross_entropy"], data, 0.1, None, np.random.default_rng(0))
    assert np.bincount(split.validation.sources[1].array).tolist() == [10, 6, 4]
    assert split.rows.shape == (1, 180)
    drawn = bootstrapped(split, 3, np.random.default_rng(1)).rows
    assert drawn.shape == (3, 180)
    assert set(drawn.ravel()) <= set(split.rows[0])
    assert len({row.tobytes() for row in drawn}) == 3
    # a row is drawn at least once with probability 1 - 1/e
    assert all(abs(len(set(row)) / 180 - 0.632) < 0.1 for row in drawn)


def test_dropout_is_a_share_for_each_hidden_layer():
    assert dropout_rates(0.5, 2) == (0.5, 0.5)
    assert dropout_rates([0, 0.1], 2) == (0.0, 0.1)
    assert dropout_rates(0.0, 0) == ()
    for wrong in (1, -0.1, np.nan, "a", None):
        with pytest.raises(ValueError, match="dropout must be a share"):
            dropout_rates(wrong, 2)
