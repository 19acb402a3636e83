from fractions import Fraction

import numpy as np
import pytest

from fastgrad import stencils
from fastgrad._finite import schemes, steps
from fastgrad._finite.calls import Calls
from fastgrad._finite.lines import Coordinates, Direction


@pytest.mark.parametrize("order", range(1, 11))
@pytest.mark.parametrize("is_central", [False, True])
def test_numerators_are_the_weights(order, is_central):
    scheme = schemes.scheme_of(order, 2, is_central)
    offsets, weights = stencils.coefficients(order, 2, "central" if is_central else "forward")
    known = dict(zip(scheme.offsets, scheme.numerators, strict=True))
    assert [Fraction(known.get(o, 0), scheme.denominator) for o in offsets] == list(weights)
    assert scheme.reach == max(map(abs, scheme.offsets))


@pytest.mark.parametrize("is_central", [False, True])
def test_plain_gradients_are_differences_bit_by_bit(is_central):
    x = np.random.default_rng(1).normal(size=9) * 10.0 ** np.arange(-4, 5)
    calls = Calls(lambda x: np.sum(x[1:] * np.sin(x[:-1])), x, trace=False)
    h = steps.absolute(x, calls.eps ** (1 / (3 if is_central else 2)), None, None, 1 if is_central else None)
    value, _ = schemes.differences(Coordinates(calls, x), h, 1, 2 if is_central else 1, is_central, None)
    np.testing.assert_array_equal(schemes.plain_gradient(calls, x, is_central), value[:, 0])


def test_the_room_of_a_direction():
    x, v = np.array([0.5, 0.0, 0.9]), np.array([1.0, 0.0, -2.0])
    line = Direction(Calls(np.sum, x, trace=False), x, v, (np.zeros(3), np.ones(3)))
    lower, upper = line.room
    np.testing.assert_allclose([lower[0], upper[0]], [-0.05, 0.45])
    assert Direction(line.calls, x, v).room is None
