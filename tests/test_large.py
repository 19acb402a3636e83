"""One instance over large arrays: tiles and threads give the numbers of NumPy's formulas, and the same bits always."""

import numpy as np
import pytest

import fastgrad as fg

SIZES = [2_047, 2_048, 2_049, 4_097, 100_003, 262_144 + 5]


@pytest.fixture(autouse=True)
def threads():
    before = fg.get_num_threads()
    yield
    fg.set_num_threads(before)


def with_threads(call):
    """The results of a call with 1, 2, 3 and 8 threads: the same bits."""
    results = []
    for n in (1, 2, 3, 8):
        fg.set_num_threads(n)
        results.append([np.asarray(x).copy() for x in call()])
    for other in results[1:]:
        for x, y in zip(results[0], other, strict=True):
            assert x.tobytes() == y.tobytes()
    return results[0]


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    gradient = np.zeros_like(x)
    difference = x[1:] - x[:-1] ** 2
    gradient[1:] += 200 * difference
    gradient[:-1] -= 400 * x[:-1] * difference + 2 * (1 - x[:-1])
    return gradient


def smoothness(x):
    second = x[2:] - 2 * x[1:-1] + x[:-2]
    return np.mean(second**2) + np.sum(np.abs(x)) / x.size


def smoothness_gradient(x):
    second = 2 * (x[2:] - 2 * x[1:-1] + x[:-2]) / (x.size - 2)
    gradient = np.sign(x) / x.size
    gradient[2:] += second
    gradient[1:-1] -= 2 * second
    gradient[:-2] += second
    return gradient


def softmax_entropy(x):
    shifted = x - np.max(x)
    p = np.exp(shifted) / np.sum(np.exp(shifted))
    return np.sum(p * np.log(p))


def softmax_entropy_gradient(x):
    p = np.exp(x - x.max())
    p /= p.sum()
    return p * (np.log(p) - np.sum(p * np.log(p)))


def far_apart(x):
    half = x.size // 2
    return np.sum(x[:half] * x[-half:]) + np.sum(np.concatenate([np.sin(x[:half]), np.cos(x[half:])]))


def far_apart_gradient(x):
    half = x.size // 2
    gradient = np.concatenate([np.cos(x[:half]), -np.sin(x[half:])])
    gradient[:half] += x[-half:]
    gradient[-half:] += x[:half]
    return gradient


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    ("function", "gradient"),
    [
        (rosenbrock, rosenbrock_gradient),
        (smoothness, smoothness_gradient),
        (softmax_entropy, softmax_entropy_gradient),
        (far_apart, far_apart_gradient),
    ],
)
def test_value_and_gradient_are_those_of_numpy(function, gradient, n):
    x = np.random.default_rng(n).normal(size=n)
    g = fg.value_and_grad(function)
    value, actual = with_threads(lambda: g(x))
    np.testing.assert_allclose(value, function(x), rtol=1e-11)
    expected = gradient(x)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("n", SIZES)
def test_float32_and_casts(n):
    x = np.random.default_rng(n).normal(size=n).astype(np.float32)
    g = fg.value_and_grad(lambda x: np.sum(x.astype(np.float64)[1:] * np.tanh(x[:-1])))
    value, gradient = with_threads(lambda: g(x))
    assert gradient.dtype == np.float32
    wide = x.astype(np.float64)
    np.testing.assert_allclose(value, np.sum(wide[1:] * np.tanh(wide[:-1])), rtol=1e-5, atol=1e-4)
    expected = np.zeros(n)
    expected[1:] += np.tanh(wide[:-1])
    expected[:-1] += wide[1:] * (1 - np.tanh(wide[:-1]) ** 2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)


def test_sums_keep_their_order_on_tiles():
    """A sum of a large array is the same bits as that of the same array among the lanes of a batch."""
    x = np.random.default_rng(0).normal(size=(3, 70_001))
    one = fg.value_and_grad(lambda x: np.sum(x * x) * np.max(x))
    values, gradients = fg.vmap(one)(x)
    for i in range(3):
        value, gradient = with_threads(lambda i=i: one(x[i]))
        assert value.tobytes() == values[i].tobytes()
        assert gradient.tobytes() == gradients[i].tobytes()


def test_an_array_output_that_is_also_read_at_an_offset():
    x = np.random.default_rng(1).normal(size=50_001)

    def steps(x):
        y = np.exp(-x * x)
        return np.sum(y[1:] * y[:-1])

    gradient = fg.grad(steps)
    (actual,) = with_threads(lambda: [gradient(x)])
    y = np.exp(-x * x)
    expected = np.zeros_like(x)
    expected[1:] += y[:-1]
    expected[:-1] += y[1:]
    np.testing.assert_allclose(actual, -2 * x * y * expected, rtol=1e-12, atol=1e-14)
