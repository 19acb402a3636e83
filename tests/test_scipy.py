"""fastgrad's derivatives and batches in the hands of scipy.optimize."""

import numpy as np
import pytest
from scipy import optimize

import fastgrad as fg

START = np.array([-1.2, 1.0, 0.5])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rastrigin(x):
    return 10 * x.size + np.sum(x**2 - 10 * np.cos(2 * np.pi * x))


def residuals(x):
    return np.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


value_and_grad, hessian, hvp = fg.value_and_grad(rosenbrock), fg.hessian(rosenbrock), fg.hvp(rosenbrock)


@pytest.mark.parametrize("method", ["BFGS", "CG", "L-BFGS-B", "TNC", "SLSQP"])
def test_value_and_gradient_in_one_call(method):
    options = {"maxfun": 1000} if method == "TNC" else {}
    found = optimize.minimize(value_and_grad, START, jac=True, method=method, options=options)
    assert found.success
    np.testing.assert_allclose(found.x, 1, atol=2e-3)


@pytest.mark.parametrize("method", ["Newton-CG", "dogleg", "trust-ncg", "trust-krylov", "trust-exact", "trust-constr"])
def test_exact_hessians(method):
    found = optimize.minimize(value_and_grad, START, jac=True, hess=hessian, method=method)
    assert found.success
    np.testing.assert_allclose(found.x, 1, atol=1e-5)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr"])
def test_products_with_the_hessian(method):
    found = optimize.minimize(value_and_grad, START, jac=True, hessp=hvp, method=method)
    assert found.success
    np.testing.assert_allclose(found.x, 1, atol=1e-4)


def test_bounds_are_understood_both_ways():
    box = optimize.Bounds([-2, -2, -2], [0.5, 2, 2])
    peer = optimize.minimize(value_and_grad, [-1.2, 1.0, 0.5], jac=True, method="L-BFGS-B", bounds=box)
    found = fg.minimize(rosenbrock, [-1.2, 1.0, 0.5], method="lbfgs", bounds=box)
    np.testing.assert_allclose(found.x, peer.x, atol=1e-4)
    assert found.fun == pytest.approx(peer.fun, rel=1e-8)


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_jacobians_of_least_squares(method):
    found = optimize.least_squares(residuals, START, jac=fg.jacobian(residuals), method=method)
    assert found.success
    np.testing.assert_allclose(found.x, 1, atol=1e-6)


@pytest.mark.parametrize("method", ["hybr", "lm"])
def test_jacobians_of_equations(method):
    def equations(x):
        return np.stack([x[0] + 0.5 * (x[0] - x[1]) ** 3 - 1.0, 0.5 * (x[1] - x[0]) ** 3 + x[1]])

    found = optimize.root(equations, [0.0, 0.0], jac=fg.jacobian(equations), method=method)
    assert found.success
    np.testing.assert_allclose(found.x, [0.8411639, 0.1588361], atol=1e-6)


def test_curve_fit_takes_a_jacobian():
    def decay(t, a, k):
        return a * np.exp(-k * t)

    t = np.linspace(0, 4, 50)

    def jacobian(t, a, k):
        return fg.jacobian(lambda p: decay(t, p[0], p[1]))(np.array([a, k]))

    found, _ = optimize.curve_fit(decay, t, decay(t, 2.5, 1.3), [1.0, 1.0], jac=jacobian)
    np.testing.assert_allclose(found, [2.5, 1.3], rtol=1e-6)


def test_a_population_is_a_batch():
    lanes, sizes = fg.vmap(rastrigin), []

    def population(points):  # (n, S)
        sizes.append(points.shape)
        return lanes(points.T)

    box = [(-5.12, 5.12)] * 3
    settings = {"rng": 0, "updating": "deferred", "tol": 1e-8}
    found = optimize.differential_evolution(population, box, vectorized=True, **settings)
    assert found.success
    np.testing.assert_allclose(found.x, 0, atol=1e-6)
    assert (3, 45) in sizes


def test_what_maps_points_to_workers_maps_them_to_lanes():
    lanes, sizes = fg.vmap(rastrigin), []

    def as_lanes(_, points):
        points = np.stack(list(points))
        sizes.append(len(points))
        return lanes(points)

    box = [(-5.12, 5.12)] * 2
    settings = {"rng": 0, "updating": "deferred"}
    found = optimize.differential_evolution(rastrigin, box, workers=as_lanes, **settings)
    plain = optimize.differential_evolution(rastrigin, box, **settings)
    np.testing.assert_allclose(found.x, plain.x, atol=1e-8)
    assert sizes[0] == 30
    sizes.clear()
    grid = optimize.brute(rastrigin, [(-5.0, 5.0)] * 2, Ns=41, workers=as_lanes, finish=None)
    np.testing.assert_array_equal(grid, [0, 0])
    assert sizes == [41**2]
