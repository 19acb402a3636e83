import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from finite_cases import METHODS, curve, random, recorded, rosen, shifted

import fastgrad as fg
from fastgrad import finite

# ---- noise


@pytest.mark.parametrize("method", ["2-point", "3-point"])
@pytest.mark.parametrize("level", [1e-9, 1e-6, 1e-3])
def test_steps_from_noise_are_those_that_balance_it(method, level):
    rng = np.random.default_rng(5)

    def noisy(x):
        return np.sum(np.cos(x) + 0.3 * x**2) + level * rng.uniform(-1, 1)

    x = np.array([0.4, 0.1, -2.0, 30.0])
    exact, bend, scale = -np.sin(x) + 0.6 * x, abs(0.6 - np.cos(x)), np.maximum(1, abs(x))
    found = finite.gradient(noisy, x, method=method, noise=level, trace=False, full_output=True)
    h = abs(found.step)
    if method == "2-point":  # Moré and Wild's step
        balanced = 8**0.25 * np.sqrt(level / bend)
        bound = 2 * level / h + h / 2 * (bend + h)  # third derivatives are at most 1
    else:
        balanced = np.cbrt(3 * level * scale / bend)
        bound = level / h + h**2 / 6
    # much noise asks for a long probe, which sees the mean of the curvature around x
    np.testing.assert_allclose(h, balanced, rtol=0.02 if level < 1e-4 else 0.4)
    assert np.all(abs(found.value - exact) <= bound)
    plain = np.abs(finite.gradient(noisy, x, method=method, trace=False) - exact)
    assert plain.max() > bound.max()


@pytest.mark.parametrize("level", [1e-9, 1e-6, 1e-3])
def test_second_differences_of_noisy_values(level):
    rng = np.random.default_rng(5)

    def noisy(x):
        return np.sum(np.cos(x) + 0.3 * x**2) + level * rng.uniform(-1, 1)

    x = np.array([0.4, 0.1, -2.0, 30.0])
    found = finite.hessian(noisy, x, noise=level, trace=False, full_output=True)
    h, size = found.step, abs(np.sum(np.cos(x) + 0.3 * x**2))
    np.testing.assert_allclose(h, (48 * level / size) ** 0.25 * np.maximum(1, abs(x)), rtol=level)
    # 1 + 2 + 1 values in a second difference, 8 halves in a mixed one, which has nothing to truncate here
    bound = 4 * level / np.outer(h, h) + np.diag(h**2 / 12)
    assert np.all(abs(found.value - np.diag(0.6 - np.cos(x))) <= bound)


def test_noise_where_there_is_no_curvature():
    found = finite.gradient(lambda x: 3 * x[0] + 2 * x[1], [1.0, 5.0], noise=1e-8, full_output=True)
    np.testing.assert_allclose(found.value, [3.0, 2.0], rtol=1e-6)
    assert (np.abs(found.step) >= 1e-2).all()
    found = finite.derivative(np.sin, 0.3, noise=1e-6, order=2, full_output=True)
    assert found.step == pytest.approx((48e-6 / np.sin(0.3)) ** 0.25)
    assert abs(found.value + np.sin(0.3)) <= found.step**2 / 12


# ---- ways to call


def test_arguments_reach_the_function():
    x = random(3)
    expected = 3 * 2 * (x - 0.5) ** 2
    for options in ({}, {"trace": False}, {"workers": map}):
        found = finite.gradient(shifted, x, args=(0.5,), kwargs={"scale": 2.0}, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        finite.gradient(functools.partial(shifted, shift=0.5), x), expected / 2, rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("method", METHODS)
def test_vectorized_functions_get_all_points_in_one_call(method):
    calls = []

    def fun(x):
        calls.append(x.shape)
        return np.sum(x**3, axis=(-2, -1))

    x = random(2, 3)
    found = finite.gradient(fun, x, method=method, vectorized=True, full_output=True)
    np.testing.assert_allclose(found.value, 3 * x**2, atol=1e-6)
    n_points = {"2-point": 7, "3-point": 13, "cs": 7}[method]
    assert calls == [(n_points, 2, 3)] + [(2, 2, 3)] * (method == "cs")
    assert found.nfev == n_points + 2 * (method == "cs")
    calls.clear()
    finite.gradient(fun, x, method=method, vectorized=True, f0=np.sum(x**3))
    assert calls[0] == (n_points - 1, 2, 3)
    matrix = finite.jacobian(lambda x: x[:, ::-1] ** 2, x[0], vectorized=True, method=method)
    np.testing.assert_allclose(matrix, np.diag(2 * x[0])[::-1], atol=1e-6)


def test_a_vectorized_derivative_and_hessian():
    x = random(4)
    np.testing.assert_allclose(finite.derivative(np.exp, x, vectorized=True, order=2), np.exp(x), rtol=1e-6)
    found = finite.hessian(lambda x: np.sum(x[:, 1:] ** 2 * x[:, :-1], axis=1), x, vectorized=True, full_output=True)
    assert found.nfev == 4**2 + 4 + 1
    np.testing.assert_allclose(found.value, fg.hessian(lambda x: np.sum(x[1:] ** 2 * x[:-1]))(x), atol=1e-5)


def test_workers():
    x = random(5)
    expected = finite.gradient(rosen, x, trace=False)
    np.testing.assert_array_equal(finite.gradient(rosen, x, workers=2), expected)
    np.testing.assert_array_equal(finite.gradient(rosen, x, workers=1), expected)
    with ThreadPoolExecutor(2) as pool:
        np.testing.assert_array_equal(finite.gradient(rosen, x, workers=pool.map), expected)
        np.testing.assert_array_equal(
            finite.jacobian(curve, x[:3], workers=pool.map), finite.jacobian(curve, x[:3], trace=False)
        )
    with pytest.raises(TypeError, match="cannot travel"):
        finite.gradient(lambda x: x[0], x, workers=2)
    with pytest.raises(ValueError, match="workers gave 3 values"):
        finite.gradient(rosen, x, workers=lambda one, points: [one(x) for x in points[:3]])


def test_calls_are_counted():
    x = random(6)
    for call, expected in [
        (lambda f, **o: finite.gradient(f, x, method="2-point", **o), 7),
        (lambda f, **o: finite.gradient(f, x, **o), 13),
        (lambda f, **o: finite.gradient(f, x, f0=1.0, **o), 12), (lambda f, **o: finite.hessian(f, x, **o), 43),
        (lambda f, **o: finite.hessian(f, x, method="2-point", **o), 28),
        (lambda f, **o: finite.directional(f, x, x, **o), 3),
        (lambda f, **o: finite.hessian(f, x, method="cs", **o), 43),
    ]:  # fmt: skip
        seen = []
        assert call(recorded(rosen, seen), trace=False, full_output=True).nfev == len(seen) == expected
        assert call(rosen, full_output=True).nfev == expected


def test_points_belong_to_the_function():
    kept = []

    def keeping(x):
        kept.append(x)
        return np.sum(x**2)

    finite.gradient(keeping, [1.0, 2.0], method="2-point", trace=False)
    assert len({tuple(x) for x in kept}) == 3

    def writing(x):
        x *= x
        return np.sum(x)

    start = np.array([1.0, 2.0])
    np.testing.assert_allclose(finite.gradient(writing, start, trace=False), [2.0, 4.0], rtol=1e-9)
    np.testing.assert_array_equal(start, [1.0, 2.0])


def test_a_function_may_reuse_its_result():
    buffer, number = np.empty(3), np.empty(())

    def reusing(x):
        buffer[:] = curve(x)
        return buffer

    x = random(3)
    np.testing.assert_array_equal(finite.jacobian(reusing, x, trace=False), finite.jacobian(curve, x, trace=False))
    found = finite.gradient(lambda x: np.sum(x**2, out=number), x, trace=False)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-8)


def test_large_gradients_go_in_blocks():
    x = random(700)
    found = finite.gradient(rosen, x, trace=False)
    np.testing.assert_allclose(found, fg.grad(rosen)(x), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(finite.gradient(rosen, x), found, rtol=1e-5, atol=1e-3)


# ---- traced functions


def test_traced_functions_run_as_lanes():
    n_calls = [0]

    def counted(x):
        n_calls[0] += 1
        return np.sum(np.sin(x) * x)

    x = random(20)
    first = finite.gradient(counted, x, full_output=True)
    n_calls[0] = 0
    again = finite.gradient(counted, x, full_output=True)
    assert n_calls[0] == 1  # at x0, to compare
    assert again.nfev == first.nfev == 41
    np.testing.assert_array_equal(first.value, again.value)
    np.testing.assert_allclose(again.value, np.sin(x) + x * np.cos(x), atol=1e-8)


def test_what_a_function_refers_to_may_change():
    data = np.array([1.0, 2.0, 3.0, 4.0, 5.0])

    def closure(scale):
        return lambda x: scale * np.sum(data * x)

    x = random(5)
    for scale in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        for _ in range(2):
            np.testing.assert_allclose(finite.gradient(closure(scale), x), scale * data, rtol=1e-7)
    fun = closure(1.0)
    for _ in range(3):
        data *= 2
        np.testing.assert_allclose(finite.gradient(fun, x), data, rtol=1e-7)

    class Model:
        def __init__(self):
            self.weight = 1.0

        def __call__(self, x):
            return self.weight * np.sum(x * x)

        def method(self, x):
            return self.weight * np.sum(x * x)

    model = Model()
    for weight in (1.0, 5.0, 5.0, -2.0):
        model.weight = weight
        for f in (model, model.method):
            np.testing.assert_allclose(finite.gradient(f, x), 2 * weight * x, rtol=1e-7)


def test_threads_share_code_but_not_what_it_refers_to():
    x = random(10)

    def slope(scale):
        return finite.gradient(lambda x: scale * np.sum(x * x), x)

    scales = np.arange(1.0, 41.0)
    with ThreadPoolExecutor(8) as pool:
        for scale, found in zip(scales, pool.map(slope, scales), strict=True):
            np.testing.assert_allclose(found, 2 * scale * x, rtol=1e-6, atol=1e-7)


def test_functions_are_not_kept_alive():
    import gc
    import weakref

    def made():
        big = np.ones(1000)

        def fun(x):
            return np.sum(x) * big[0]

        return fun, weakref.ref(big)

    fun, big = made()
    finite.gradient(fun, random(9))
    alive = weakref.ref(fun)
    del fun
    gc.collect()
    assert alive() is None
    assert big() is None


def test_what_does_not_trace_is_called():
    rng = np.random.default_rng(0)

    def opaque(x):
        return float(str(float(np.sum(x * x))))

    def random_value(x):
        return np.sum(x) + 0 * rng.normal()

    x = random(12)
    for _ in range(2):
        np.testing.assert_allclose(finite.gradient(opaque, x), 2 * x, atol=1e-8)
        np.testing.assert_allclose(finite.gradient(random_value, x), np.ones(12), atol=1e-8)
        np.testing.assert_allclose(finite.gradient(fg.vmap(rosen).fun, x), fg.grad(rosen)(x), atol=1e-4)
    np.testing.assert_allclose(finite.gradient(fg.grad(lambda t: t * t * t), 2.0), 12.0, rtol=1e-8)
    np.testing.assert_allclose(finite.jacobian(fg.grad(rosen), x), fg.hessian(rosen)(x), atol=1e-5)


# ---- C functions


def c_function():
    import ctypes

    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p)
    return kind(lambda n, x, data: sum(x[i] ** 2 for i in range(n)))


def test_c_functions():
    fun, x = c_function(), random(9)
    for options in ({}, {"workers": 2}, {"method": "2-point"}, {"method": "adaptive"}):
        np.testing.assert_allclose(finite.gradient(fun, x, **options), 2 * x, atol=1e-6)
    np.testing.assert_allclose(finite.hessian(fun, x), 2 * np.eye(9), atol=1e-5)
    np.testing.assert_allclose(finite.derivative(fun, x), 2 * x, atol=1e-6)
    np.testing.assert_allclose(finite.gradient(fun, np.float32(x)), 2 * x, atol=1e-2)
    assert finite.gradient(fun, x, full_output=True).nfev == 19
    scipy = pytest.importorskip("scipy")
    np.testing.assert_allclose(finite.gradient(scipy.LowLevelCallable(fun), x), 2 * x, atol=1e-6)
    with pytest.raises(TypeError, match='"cs" cannot be used'):
        finite.gradient(fun, x, method="cs")
    with pytest.raises(TypeError, match="leave vectorized"):
        finite.gradient(fun, x, vectorized=True)
    with pytest.raises(TypeError, match="a number of threads"):
        finite.gradient(fun, x, workers=map)
