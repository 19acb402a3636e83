"""Weights of stencils: exact, exact for polynomials, and checked."""

from fractions import Fraction
from math import factorial

import numpy as np
import pytest

from fastgrad import _core
from fastgrad._core import windows
from fastgrad.stencils import coefficients, weights


def moments(offsets, found, degree):
    return [sum(w * Fraction(o) ** k for o, w in zip(offsets, found, strict=True)) for k in range(degree)]


@pytest.mark.parametrize("derivative", range(11))
@pytest.mark.parametrize(
    "offsets",
    [
        list(range(-7, 8)),
        [*range(11)],
        [Fraction(k * k, 3) for k in range(11)],
        [5, -3, Fraction(1, 7), 0, 2, -9, 11, 4, -1, 8, 7],
    ],
)
def test_rational_weights_are_exact(offsets, derivative):
    found = weights(offsets, derivative)
    assert all(type(weight) is Fraction for weight in found)
    wanted = [factorial(k) if k == derivative else 0 for k in range(len(offsets))]
    assert moments(offsets, found, len(offsets)) == wanted  # determines the weights


@pytest.mark.parametrize(
    ("derivative", "accuracy", "kind", "offsets", "wanted"),
    [  # as in every table of finite differences
        (1, 2, "central", [-1, 0, 1], "-1/2 0 1/2"),
        (1, 4, "central", [-2, -1, 0, 1, 2], "1/12 -2/3 0 2/3 -1/12"),
        (2, 2, "central", [-1, 0, 1], "1 -2 1"),
        (2, 8, "central", [*range(-4, 5)], "-1/560 8/315 -1/5 8/5 -205/72 8/5 -1/5 8/315 -1/560"),
        (3, 2, "central", [-2, -1, 0, 1, 2], "-1/2 1 0 -1 1/2"),
        (6, 2, "central", [*range(-3, 4)], "1 -6 15 -20 15 -6 1"),
        (1, 1, "forward", [0, 1], "-1 1"),
        (1, 2, "backward", [-2, -1, 0], "1/2 -2 3/2"),
        (2, 2, "forward", [0, 1, 2, 3], "2 -5 4 -1"),
    ],
)
def test_coefficients_are_those_of_the_tables(derivative, accuracy, kind, offsets, wanted):
    assert coefficients(derivative, accuracy, kind) == (offsets, [Fraction(text) for text in wanted.split()])


@pytest.mark.parametrize("kind", ["central", "forward", "backward"])
@pytest.mark.parametrize("derivative", range(1, 7))
@pytest.mark.parametrize("accuracy", [1, 2, 3, 4, 6, 8])
def test_coefficients_have_the_accuracy_that_was_asked_for(derivative, accuracy, kind):
    if kind == "central" and accuracy % 2:
        with pytest.raises(ValueError, match=f"accuracy is {accuracy}"):
            coefficients(derivative, accuracy, kind)
        return
    found = moments(*coefficients(derivative, accuracy, kind), derivative + accuracy + 1)
    assert found[derivative] == factorial(derivative)
    assert not any(found[:derivative] + found[derivative + 1 : -1])
    assert found[-1] != 0  # no better either


@pytest.mark.parametrize("scale", [1e-40, 1.0, 1e40])
def test_float_weights_are_the_rational_ones_to_rounding(scale):
    rng = np.random.default_rng(3)
    for derivative in range(7):
        for n in range(derivative + 1, 16):
            nodes = np.sort(rng.uniform(0, scale, n))
            offsets = nodes - nodes[rng.integers(n)]
            wanted = np.array([float(weight) for weight in weights([Fraction(o) for o in offsets], derivative)])
            found = weights(offsets, derivative)
            assert found.dtype == np.float64
            assert np.abs(found - wanted).max() <= 2e-14 * np.abs(wanted).max()


def test_weights_of_many_stencils_are_those_of_each():
    offsets = np.random.default_rng(0).normal(size=(2, 5, 6))
    found = _core.weights(offsets, 2)
    for index in np.ndindex(2, 5):
        assert (found[index] == weights(offsets[index], 2)).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_windows_are_centred_as_far_as_the_ends_allow(sign):
    coords = sign * np.array([0.0, 1, 3, 4, 8, 9])
    first, found = windows(coords, 3, 1)
    assert first.tolist() == [0, 0, 1, 2, 3, 3]
    for i, start in enumerate(first):
        np.testing.assert_array_equal(found[i], weights(coords[start : start + 3] - coords[i]))


def test_windows_of_an_even_width_are_mirror_images():
    coords = np.array([0.0, 1, 3, 4, 8, 9, 11])
    first, found = windows(coords, 4, 2)
    mirrored_first, mirrored = windows(-coords[::-1], 4, 2)
    assert first.tolist() == [0, 0, 0, 1, 3, 3, 3]
    away = [0, 1, 2, 4, 5, 6]  # the middle has two nearest ends
    assert (mirrored_first == 3 - first[::-1])[away].all()
    np.testing.assert_allclose(mirrored[away], found[::-1, ::-1][away])


def test_integers_of_numpy_are_integers_and_the_result_is_the_callers():
    assert weights(np.array([-1, 0, 1])) == weights((-1, 0, 1)) == weights([np.int8(-1), 0, 1])
    weights([-1, 0, 1])[0] = 7
    coefficients(1, 2)[1][0] = 7
    assert weights([-1, 0, 1]) == coefficients(1, 2)[1] == [Fraction(-1, 2), 0, Fraction(1, 2)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: weights([0, 1], 2), ValueError, "offsets has 2 samples, but derivative 2 needs at least 3"),
        (lambda: weights([0, 1, 1]), ValueError, "offsets has 1 more than once"),
        (lambda: weights([0.0, 0.5, 0.5]), ValueError, "offsets has 0.5 more than once"),
        (lambda: weights([0.0, np.nan]), ValueError, "finite"),
        (lambda: weights([[0.0, 1.0]]), ValueError, "shape"),
        (lambda: weights(["a", "b"]), TypeError, "offsets"),
        (lambda: weights([1j, 0]), TypeError, "offsets"),
        (lambda: weights([0, 1], -1), ValueError, "derivative is -1"),
        (lambda: weights([0, 1], 1.0), ValueError, "derivative is 1.0"),
        (lambda: weights([0, 1], True), ValueError, "derivative is True"),
        (lambda: coefficients(0, 2), ValueError, "derivative is 0"),
        (lambda: coefficients(1, 0), ValueError, "accuracy is 0"),
        (lambda: coefficients(1, 2, "sideways"), ValueError, "kind is 'sideways'"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
