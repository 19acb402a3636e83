from fractions import Fraction

import mpmath as mp
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


class Exactly:
    """Lines on which the numbers and the values of a function have as many digits as mpmath works with."""

    is_one_point = False

    def __init__(self, fun, t):
        self.fun, self.t = fun, np.array([t])

    def values(self, places, which):
        return np.array([[[self.fun(t)] for t in row] for row in places])


@pytest.mark.parametrize("order", range(1, 11))
@pytest.mark.parametrize("kind", ["central", "forward", "backward"])
def test_the_order_of_convergence_is_the_stated_one(order, kind):
    start, is_central = mp.mpf("0.3"), kind == "central"
    for accuracy in (2, 4, 6, 8) if is_central else range(1, 9):
        with mp.workdps(100):
            errors = []
            for h in (mp.mpf(2) ** -12, mp.mpf(2) ** -13):
                h = np.array([-h if kind == "backward" else h])
                (value,), _ = schemes.differences(Exactly(mp.exp, start), h, order, accuracy, is_central, None)
                errors.append(value[0] - mp.exp(start))
            measured = float(mp.log(errors[0] / errors[1], 2))
        assert measured == pytest.approx(accuracy, abs=0.01), accuracy


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
