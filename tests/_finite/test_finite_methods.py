import numpy as np
import pytest
from finite_cases import INF, METHODS, TOLERANCE, curve, random, recorded, rosen, slopes

import fastgrad as fg
from fastgrad import finite

# ---- extrapolation


def covered(found, exact):
    """Whether errors are within their estimates, and those small."""
    error = np.abs(found.value - exact)
    return np.all(error <= 3 * found.error + 1e-14) and np.all(found.error <= 1e-5 * np.maximum(1, np.abs(exact).max()))


@pytest.mark.parametrize("trace", [False, True])
@pytest.mark.parametrize("accuracy", [None, 2, 4, 6, 8])
def test_adaptive_derivatives_know_their_errors(trace, accuracy):
    x = random(4)
    options = {"method": "adaptive", "accuracy": accuracy, "full_output": True, "trace": trace}
    found = finite.gradient(rosen, x, **options)
    assert covered(found, fg.grad(rosen)(x))
    assert found.value.shape == found.error.shape == found.step.shape == found.status.shape == (4,)
    found = finite.jacobian(curve, x[:3], **options)
    assert covered(found, slopes(x))
    assert found.error.shape == (3, 3)
    found = finite.derivative(np.sin, x, order=3, **options)
    np.testing.assert_allclose(found.value, -np.cos(x), atol=1e-3 if accuracy == 2 else 1e-6)
    assert found.error.shape == (4,)
    found = finite.directional(rosen, x, [1.0, 2.0, 0.0, -1.0], **options)
    exact = fg.grad(rosen)(x) @ [1.0, 2.0, 0.0, -1.0]
    np.testing.assert_allclose(found.value, exact, rtol=1e-7)
    assert found.error.shape == found.status.shape == ()


def test_adaptive_hessians():
    def fun(x):
        return np.exp(x[0] * x[1]) + np.sin(x[2]) * x[0] ** 2 + x[2]

    x = np.array([0.3, -1.2, 40.0])
    exact = fg.hessian(fun)(x)
    found = finite.hessian(fun, x, method="adaptive", full_output=True, trace=False)
    np.testing.assert_array_equal(found.value, found.value.T)
    np.testing.assert_allclose(found.value, exact, atol=1e-5 * np.abs(exact).max())
    assert found.error.shape == (3, 3)
    assert found.status.shape == (3,)
    for bounds in [([0.3, -2, 40], INF), ([0.3, -2, 0], [1.0, -1.2, 40.0]), ([0.2999, -2, 0], [0.3001, 0, 50.0])]:
        seen = []
        matrix = finite.hessian(recorded(fun, seen), x, method="adaptive", bounds=bounds, trace=False)
        assert all(np.all((bounds[0] <= point) & (point <= bounds[1])) for point in seen)
        np.testing.assert_allclose(matrix, exact, atol=2e-3 * np.abs(exact).max())


def test_adaptive_derivatives_stay_on_a_side():
    assert finite.derivative(abs, 0.0, method="adaptive", kind="forward") == pytest.approx(1, abs=1e-12)
    assert finite.derivative(abs, 0.0, method="adaptive", kind="backward") == pytest.approx(-1, abs=1e-12)
    seen = []
    found = finite.gradient(
        recorded(lambda x: np.sum(np.sqrt(x)), seen), [1e-4, 1.0], method="adaptive", bounds=(0, 1), trace=False
    )
    np.testing.assert_allclose(found, [50.0, 0.5], rtol=1e-6)
    assert np.min(seen) >= 0
    assert np.max(seen) <= 1
    with pytest.raises(ValueError, match="accuracy is 3"):
        finite.gradient(rosen, [1.0, 2.0], method="adaptive", accuracy=3)


def test_adaptive_vectorized_functions_are_called_seldom():
    calls = []

    def fun(x):
        calls.append(len(x))
        return np.sum(np.exp(x), axis=1)

    x = np.array([0.1, 0.5, -0.3])
    found = finite.gradient(fun, x, method="adaptive", vectorized=True, full_output=True)
    np.testing.assert_allclose(found.value, np.exp(x), rtol=1e-10)
    assert found.nfev == sum(calls) == 1 + 3 * 4
    assert len(calls) == 1
    curve = finite.derivative(lambda t: np.stack([np.cos(t), t**2], 1), x, method="adaptive", vectorized=True, order=2)
    np.testing.assert_allclose(curve, np.stack([-np.cos(x), 2 + 0 * x], 1), atol=1e-6)


def test_adaptive_with_noise():
    rng = np.random.default_rng(2)

    def noisy(x):
        return np.sum(np.sin(x)) + 1e-6 * rng.uniform(-1, 1)

    x = np.array([0.3, 1.0])
    found = finite.gradient(noisy, x, method="adaptive", noise=1e-6, trace=False, full_output=True)
    assert (np.abs(found.value - np.cos(x)) <= found.error).all()
    assert (found.error < 1e-4).all()


# ---- sparse ones


def banded(x):
    middle = x**3
    middle[1:] += np.sin(x[:-1])
    middle[:-1] += x[1:] * x[:-1]
    return middle


def chain(x):
    return np.sum(np.sin(x[1:]) * x[:-1] ** 2) + np.sum(x**3)


@pytest.mark.parametrize("method", ["2-point", "3-point", "cs", "adaptive"])
@pytest.mark.parametrize("sparsity", ["auto", "dense", "sparse", "grouped"])
def test_sparse_jacobians(method, sparsity):
    sparse = pytest.importorskip("scipy.sparse")
    n = 30
    x = random(n)
    exact = fg.jacobian(banded)(x)
    band = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n)).tocsr()
    pattern = {"auto": "auto", "dense": band.toarray(), "sparse": band, "grouped": (band, np.arange(n) % 3)}[sparsity]
    found = finite.jacobian(banded, x, method=method, sparsity=pattern, trace=False, full_output=True)
    assert found.value.shape == (n, n)
    np.testing.assert_allclose(found.value.toarray(), exact, atol=100 * TOLERANCE[method])
    assert found.step.shape == found.status.shape == (n,)
    if sparsity != "auto":
        assert found.nfev == {"2-point": 4, "3-point": 7, "cs": 6, "adaptive": found.nfev}[method]
        assert found.nfev < 40
    if method == "adaptive":
        np.testing.assert_array_less(np.abs(found.value.toarray() - exact), 3 * found.error.toarray() + 1e-13)
    plain = finite.jacobian(banded, x, method=method, sparsity=pattern, trace=False)
    np.testing.assert_array_equal(plain.toarray(), found.value.toarray())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("options", [{}, {"rel_step": 1e-5}, {"abs_step": 1e-4}], ids=str)
@pytest.mark.parametrize("pattern", ["dense", "sparse", "grouped"])
def test_sparse_jacobians_are_scipys(method, options, pattern):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    sparse = pytest.importorskip("scipy.sparse")
    x = random(12)
    if method == "cs":
        x /= np.abs(x).max()  # SciPy's imaginary step grows beyond 1, and its error
    band = np.eye(12) + np.eye(12, k=1) + np.eye(12, k=-1)
    pattern = {"dense": band, "sparse": sparse.csr_array(band), "grouped": (band, np.arange(12) % 3)}[pattern]
    options = {"args": (2.0,), "kwargs": {"power": 3}, "sparsity": pattern, **options}

    def fun(x, scale, power=1):
        return scale * banded(x) + x**power

    for bounds in [(-INF, INF), (x - 1e-9, x + 1.0), (x - 2e-5, x + 1e-9)]:
        expected = numdiff.approx_derivative(fun, x, method, bounds=bounds, **options)
        found = finite.jacobian(fun, x, method=method, bounds=bounds, trace=False, **options)
        np.testing.assert_array_equal(found.toarray(), expected.toarray())


def test_a_million_elements_take_four_calls():
    sparse = pytest.importorskip("scipy.sparse")
    n = 100_000
    pattern = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))
    x = random(n)
    found = finite.jacobian(banded, x, method="2-point", sparsity=pattern, trace=False, full_output=True)
    assert found.nfev == 4
    np.testing.assert_allclose(found.value.diagonal()[:-1], 3 * x[:-1] ** 2 + x[1:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["2-point", "3-point", "adaptive"])
@pytest.mark.parametrize("trace", [False, True])
def test_no_room_for_one_component_spoils_no_other_of_its_group(method, trace):
    pytest.importorskip("scipy.sparse")
    x, options = np.arange(1.0, 5), {"method": method, "trace": trace, "full_output": True}
    for sparsity in (np.eye(4), (np.eye(4), np.zeros(4, int)), "auto"):
        found = finite.jacobian(np.square, x, bounds=([1.0, 0, 0, 0], [1.0, 9, 9, 9]), sparsity=sparsity, **options)
        assert found.status.tolist() == [3, 0, 0, 0]
        slopes = found.value.toarray()
        assert np.isnan(slopes[0, 0])
        np.testing.assert_allclose(slopes[1:, 1:], np.diag(2 * x[1:]), atol=TOLERANCE[method])
        assert found.step[0] == 0
        found = finite.jacobian(np.square, x, bounds=(x, x), sparsity=sparsity, **options)
        assert found.status.tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("kind", [None, "forward", "backward"])
def test_adaptive_groups_keep_apart_what_bounds_keep_apart(kind):
    pytest.importorskip("scipy.sparse")
    n = 40
    x, band = random(n), np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)
    lower, upper = x - 1, x + 1
    lower[::4], upper[1::4] = x[::4], x[1::4]  # some can only go up, some only down
    lower[[5, 20]], upper[[5, 20]] = x[[5, 20]], x[[5, 20]] + 1e-13
    options = {"method": "adaptive", "kind": kind, "bounds": (lower, upper), "full_output": True}
    dense, sparse = finite.jacobian(banded, x, **options), finite.jacobian(banded, x, sparsity=band, **options)
    np.testing.assert_array_equal(sparse.status == 3, dense.status == 3)
    np.testing.assert_array_equal(np.sign(sparse.step), np.sign(dense.step))
    assert sparse.nfev < 40 < dense.nfev
    fine = np.setdiff1d(np.flatnonzero(sparse.status == 0), [5, 20])
    assert fine.size > 15
    error = np.abs(sparse.value.toarray() - fg.jacobian(banded)(x))[:, fine]
    assert (error <= 3 * sparse.error.toarray()[:, fine] + 1e-13).all()
    assert error.max() < 1e-9


@pytest.mark.parametrize("method", ["2-point", "3-point", "cs", "adaptive"])
def test_what_cannot_be_seen_to_depend_is_not_taken_for_zero(method):
    pytest.importorskip("scipy.sparse")
    x, options = np.array([1.0, 2.0]), {"method": method, "bounds": ([1.0, 0], [1.0, 5]), "full_output": True}
    dense = finite.jacobian(lambda x: np.array([x[0] * x[1], x[1] ** 2]), x, **options)
    found = finite.jacobian(lambda x: np.array([x[0] * x[1], x[1] ** 2]), x, sparsity="auto", **options)
    np.testing.assert_allclose(found.value.toarray(), dense.value, rtol=1e-9)
    np.testing.assert_array_equal(found.status, dense.status)
    if method == "adaptive":
        return
    found = finite.hessian(None, x, jac=lambda x: np.array([x[0] * x[1], x[0] ** 2 / 2]), sparsity="auto", **options)
    assert found.status[0] == (0 if method == "cs" else 3)
    assert np.isnan(found.value[0, 0]) == (method != "cs")


@pytest.mark.parametrize("trace", [False, True])
def test_a_structure_is_found_whatever_evaluates_the_function(trace):
    pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    W = rng.normal(size=(24, 24)) * (rng.random((24, 24)) < 0.3)
    found = finite.jacobian(lambda x: (W * np.sin(x)).sum(1), random(24), sparsity="auto", trace=trace)
    np.testing.assert_array_equal(found.toarray() != 0, W != 0)
    assert found.nnz == np.count_nonzero(W)


def test_values_that_a_group_cannot_change_do_not_judge_it():
    pytest.importorskip("scipy.sparse")
    x, pattern = np.array([0.5, 1.0, 2.0]), np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    options = {"method": "adaptive", "sparsity": pattern, "trace": False, "full_output": True}

    def fun(x):  # the last value jumps where the structure says that it does not
        return np.array([np.sin(x[0]), x[0] * x[1], x[1] + x[2] if x[0] <= 0.5 else 9.0])

    exact = np.array([[np.cos(0.5), 0, 0], [1.0, 0.5, 0], [0, 1, 1]])
    found = finite.jacobian(fun, x, **options | {"sparsity": (pattern, [0, 1, 2])})
    assert found.status.tolist() == [0, 0, 0]
    assert found.nfev == 13
    np.testing.assert_allclose(found.value.toarray(), exact, atol=1e-9)

    found = finite.jacobian(lambda x: np.array([np.sin(x[0]), x[0] * x[1], np.nan]), x, **options)
    assert found.status.tolist() == [0, 2, 2]
    np.testing.assert_allclose(found.value.toarray()[:2], exact[:2], atol=1e-9)
    assert np.isnan(found.value.toarray()[2, 1:]).all()
    assert found.nfev == 9


def test_sparse_complex_steps_are_checked():
    pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="not analytic"):
        finite.jacobian(lambda x: np.abs(x) + x**2, random(6), method="cs", sparsity=np.eye(6))


@pytest.mark.parametrize("method", ["2-point", "3-point", "cs"])
def test_sparse_hessians(method):
    sparse = pytest.importorskip("scipy.sparse")
    n = 20
    x = random(n)
    exact = fg.hessian(chain)(x)
    band = sparse.diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))
    atol = {"2-point": 1e-3, "3-point": 1e-5, "cs": 1e-10}[method]
    for pattern in (band, "auto"):
        found = finite.hessian(
            None, x, jac=chain_slopes, method=method, sparsity=pattern, trace=False, full_output=True
        )
        np.testing.assert_allclose(found.value.toarray(), exact, atol=atol)
        assert (found.value != found.value.T).nnz == 0
        assert pattern is not band or found.nfev <= 8
    np.testing.assert_allclose(finite.hessian(None, x, jac=chain_slopes, method=method), exact, atol=atol)
    if method == "cs":
        with pytest.raises(ValueError, match="method is 'cs', but sparsity"):
            finite.hessian(chain, x, method=method, sparsity=band)
        return
    found = finite.hessian(chain, x, method=method, sparsity=band, full_output=True)
    np.testing.assert_allclose(found.value.toarray(), exact, atol=atol)
    assert found.nfev <= 1 + 4 * n
    near = (x - 1e-9, np.inf)
    found = finite.hessian(chain, x, method=method, sparsity=band, bounds=near)
    np.testing.assert_allclose(found.toarray(), exact, atol=atol)
    with pytest.raises(ValueError, match="or the gradient as jac"):
        finite.hessian(chain, x, sparsity="auto")


def chain_slopes(x):
    slopes = 3 * x**2
    slopes[:-1] += 2 * np.sin(x[1:]) * x[:-1]
    slopes[1:] += np.cos(x[1:]) * x[:-1] ** 2
    return slopes


def test_hessians_of_a_gradient_check_it():
    with pytest.raises(fg.ShapeError, match="jac returns shape"):
        finite.hessian(None, [1.0, 2.0], jac=np.sum)
    with pytest.raises(ValueError, match="f0 is given"):
        finite.hessian(None, [1.0, 2.0], jac=np.cos, f0=1.0)
    assert finite.hessian(None, random(2, 2), jac=np.cos, method="adaptive").shape == (2, 2, 2, 2)


@pytest.mark.parametrize("method", METHODS)
def test_linear_operators_are_scipys(method):
    numdiff = pytest.importorskip("scipy.optimize._numdiff")
    x, v = random(3), random(3, 2)
    found = finite.jacobian(curve, x, method=method, as_linear_operator=True)
    expected = numdiff.approx_derivative(curve, x, method, as_linear_operator=True)
    np.testing.assert_allclose(found @ v[:, 0], expected @ v[:, 0], rtol=1e-8)
    np.testing.assert_allclose(found @ v, slopes(x) @ v, rtol=1e-5)
    with pytest.raises(ValueError, match="bounds"):
        finite.jacobian(curve, x, as_linear_operator=True, bounds=(-9, 9))


def test_sparse_matrices_of_float32_stay_float32():
    pytest.importorskip("scipy.sparse")
    x = np.float32([1.0, 2.0, 3.0])
    for full in (False, True):
        options = {"sparsity": np.eye(3), "full_output": full}
        found = [finite.jacobian(np.sin, x, method=method, **options) for method in (*METHODS, "adaptive")]
        found.append(finite.hessian(lambda x: np.sum(x**3), x, **options))
        found.append(finite.hessian(None, x, jac=lambda x: 3 * x**2, **options))
        assert {(one.value if full else one).dtype for one in found} == {np.dtype(np.float32)}


@pytest.mark.parametrize("method", METHODS)
def test_products_with_vectors_of_any_length(method):
    pytest.importorskip("scipy.sparse.linalg")
    matrix = finite.jacobian(lambda x: x**2, [1.0, 2.0], method=method, as_linear_operator=True)
    lengths = np.array([1e-310, 1e-300, 0.0, 1.0, 1e300])
    found = matrix @ (np.array([[1.0], [2.0]]) * lengths)
    np.testing.assert_allclose(found, np.array([[2.0], [8.0]]) * lengths, rtol=1e-6)
    np.testing.assert_array_equal(matrix @ np.array([1, 2]), matrix @ np.array([1.0, 2.0]))
