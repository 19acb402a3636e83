"""Initial weights: their spread, and which rule goes with which activation."""

import math

import numpy as np
import pytest

from fastgrad._dense.initializers import INITIALIZERS, draw_weights, initializer

VARIANCE = {"glorot": 2 / (300 + 500), "he": 2 / 300, "lecun": 1 / 300}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_variance_and_law(name):
    rule, law = name.split("_")
    W = draw_weights(initializer(name, "relu"), (300, 500), np.random.default_rng(1))
    assert W.shape == (300, 500)
    deviation = math.sqrt(VARIANCE[rule])
    # standard errors of the mean, and of the variance by the fourth moments 3 and 9/5
    n = W.size
    assert abs(W.mean()) < 5 * deviation / math.sqrt(n)
    kurtosis = 3 if law == "normal" else 1.8
    assert abs(W.var() / deviation**2 - 1) < 5 * math.sqrt((kurtosis - 1) / n)
    assert abs((W**4).mean() / deviation**4 - kurtosis) < 0.1
    largest = np.abs(W).max() / deviation
    assert largest < math.sqrt(3) if law == "uniform" else 4 < largest < 7


@pytest.mark.parametrize(
    ("activation", "name"),
    [("relu", "he_normal"), ("leaky_relu", "he_normal"), ("elu", "he_normal"), ("gelu", "he_normal"),
     ("silu", "he_normal"), ("selu", "lecun_normal"), ("tanh", "glorot_uniform"), ("identity", "glorot_uniform"),
     ("softmax", "glorot_uniform"), ("a function", "glorot_uniform")],
)  # fmt: skip
def test_the_usual_one_of_an_activation(activation, name):
    assert initializer(None, activation) is INITIALIZERS[name]


def test_a_function_of_ones_own():
    W = draw_weights(initializer(lambda n_in, n_out, rng: np.eye(n_in, n_out), "relu"), (2, 3), None)
    assert W.tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("made", [np.ones((3, 2)), 1.0, np.full((2, 3), "a"), np.full((2, 3), 1j)])
def test_a_function_that_gives_something_else_is_told_so(made):
    with pytest.raises(ValueError, match=r"init gave an array of .* real of shape \(2, 3\)\n  cure"):
        draw_weights(initializer(lambda n_in, n_out, rng: made, "relu"), (2, 3), None)


@pytest.mark.parametrize(("value", "error"), [("he", ValueError), (3, TypeError)])
def test_what_is_no_initializer(value, error):
    with pytest.raises(error, match=r"one of glorot_uniform, glorot_normal, he_uniform|must be a name or a function"):
        initializer(value, "relu")
