import numpy as np
import pytest

from fastgrad._finite import steps

EPS = np.finfo(float).eps


def test_epsilon_is_that_of_the_narrower():
    double, single, integer = np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.int64)
    assert steps.epsilon(double, double) == steps.epsilon(double, integer) == EPS
    assert steps.epsilon(double, single) == steps.epsilon(single, double) == np.finfo(np.float32).eps


def test_relative_steps():
    assert steps.relative(EPS, (0, 1), 1) == EPS ** (1 / 2)
    assert steps.relative(EPS, (-1, 1), 1) == EPS ** (1 / 3)
    assert steps.relative(EPS, (-2, -1, 1, 2), 1) == EPS ** (1 / 5)
    # 4 eps / h^2 + h^2 / 12 has its least value where h^4 = 48 eps
    assert steps.relative(EPS, (-1, 0, 1), 2) == pytest.approx((48 * EPS) ** (1 / 4))


def test_absolute_steps_have_signs():
    x = np.array([-2.0, -0.0, 0.0, 3.0])
    np.testing.assert_array_equal(steps.absolute(x, 0.1, None, None), [-0.2, 0.1, 0.1, 0.30000000000000004])
    np.testing.assert_array_equal(steps.absolute(x, 0.1, None, None, 1), [0.2, 0.1, 0.1, 0.30000000000000004])
    np.testing.assert_array_equal(steps.absolute(x, 0.1, None, None, -1), [-0.2, -0.1, -0.1, -0.30000000000000004])
    np.testing.assert_array_equal(steps.absolute(x, 0.1, 0.5, None), [-1.0, 0.1, 0.1, 1.5])
    np.testing.assert_array_equal(steps.absolute(x, 0.1, None, [1e-30, 2.0, -2.0, 1.0]), [-0.2, 2.0, -2.0, 1.0])


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_one_sided_steps_stay_within_limits(reach):
    rng = np.random.default_rng(reach)
    x, h = rng.normal(size=500), rng.normal(size=500) * 10.0 ** rng.integers(-3, 1, 500)
    limits = x - rng.exponential(size=500), x + rng.exponential(size=500)
    found = steps.one_sided(x, h, reach, limits)
    assert np.all(x + reach * found >= limits[0] - 1e-12)
    assert np.all(x + reach * found <= limits[1] + 1e-12)
    fits = (x + reach * h >= limits[0]) & (x + reach * h <= limits[1])
    np.testing.assert_array_equal(found[fits], h[fits])
    assert np.all(np.abs(found) <= np.abs(h) * (1 + 1e-12))


@pytest.mark.parametrize(("reach", "aside"), [(1, 2), (2, 5)])
def test_two_sided_steps_stay_within_limits(reach, aside):
    rng = np.random.default_rng(aside)
    x, h = rng.normal(size=500), 10.0 ** rng.uniform(-3, 1, 500)
    limits = x - rng.exponential(size=500), x + rng.exponential(size=500)
    found, is_aside = steps.two_sided(x, h, reach, aside, limits)
    low = np.where(is_aside, np.minimum(0, aside * found), -reach * np.abs(found))
    high = np.where(is_aside, np.maximum(0, aside * found), reach * np.abs(found))
    assert np.all(x + low >= limits[0] - 1e-12)
    assert np.all(x + high <= limits[1] + 1e-12)
    assert is_aside.any()
    assert not is_aside.all()
