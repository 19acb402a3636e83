"""Functions of scipy.special in traced functions: values as SciPy's, derivatives as mpmath's."""

import sys

import mpmath
import numpy as np
import pytest
import scipy.special as sp
from helpers import in_fresh_process

import fastgrad as fg
from fastgrad._compiler.special import FUNCTIONS_OF_SCIPY, UFUNCS_OF_SCIPY
from fastgrad._compiler.trace import Input, call, trace
from fastgrad.errors import TraceError

ANY = np.array([-2.7, -1.3, -0.4, 0.2, 0.9, 1.6, 3.4])
POSITIVE = np.array([0.07, 0.4, 0.9, 1.3, 2.6, 7.2, 31.0])
INSIDE = np.array([0.02, 0.2, 0.45, 0.5, 0.7, 0.97])
mp = mpmath.mp


def log_phi(x):
    return mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


# name: (points, meaning in mpmath)
ONE = {
    "erf": (ANY, mp.erf),
    "erfc": (ANY, mp.erfc),
    "erfcx": (ANY, lambda x: mp.exp(x * x) * mp.erfc(x)),
    "gammaln": (POSITIVE, mp.loggamma),
    "loggamma": (POSITIVE, mp.loggamma),
    "psi": (POSITIVE, lambda x: mp.psi(0, x)),
    "gamma": (np.concatenate([ANY, POSITIVE]), mp.gamma),
    "expit": (ANY, lambda x: 1 / (1 + mp.exp(-x))),
    "log_expit": (ANY, lambda x: -mp.log1p(mp.exp(-x))),
    "logit": (INSIDE, lambda x: mp.log(x / (1 - x))),
    "entr": (POSITIVE, lambda x: -x * mp.log(x)),
    "ndtr": (ANY, mp.ncdf),
    "log_ndtr": (np.concatenate([ANY, [-40.0, -8.0, 8.0]]), log_phi),
    "expm1": (ANY, mp.expm1),
    "log1p": (POSITIVE, mp.log1p),
    "cosm1": (ANY, lambda x: mp.cos(x) - 1),
    "exprel": (ANY, lambda x: mp.expm1(x) / x),
    "exp10": (ANY, lambda x: mpmath.mpf(10) ** x),
}
TWO = {
    "beta": (POSITIVE, POSITIVE[::-1] / 3, mp.beta),
    "betaln": (POSITIVE, POSITIVE[::-1] / 3, lambda a, b: mp.loggamma(a) + mp.loggamma(b) - mp.loggamma(a + b)),
    "poch": (POSITIVE, POSITIVE[::-1] / 3, mp.rf),
    "xlogy": (ANY, POSITIVE, lambda x, y: x * mp.log(y)),
    "xlog1py": (ANY, POSITIVE, lambda x, y: x * mp.log1p(y)),
    "rel_entr": (POSITIVE, POSITIVE[::-1], lambda x, y: x * mp.log(x / y)),
    "kl_div": (POSITIVE, POSITIVE[::-1], lambda x, y: x * mp.log(x / y) - x + y),
    "huber": (POSITIVE, ANY, lambda d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2)),
    "pseudo_huber": (POSITIVE, ANY, lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1)),
}


def exactly(function, columns, orders):
    with mpmath.workdps(40):
        return np.array([float(mp.diff(function, row, orders)) for row in zip(*columns, strict=True)])


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one_argument(name):
    x, exact = ONE[name]
    function = getattr(sp, name)
    first = fg.grad(lambda v: np.sum(function(v)))
    value, gradient = fg.value_and_grad(function)(x[0])
    np.testing.assert_allclose(value, function(x[0]), rtol=1e-13)
    np.testing.assert_allclose(gradient, exactly(exact, [x[:1]], (1,))[0], rtol=1e-11)
    np.testing.assert_allclose(first(x), exactly(exact, [x], (1,)), rtol=1e-11, atol=1e-13)
    second = fg.grad(lambda v: np.sum(first(v)))
    np.testing.assert_allclose(second(x), exactly(exact, [x], (2,)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_arguments(name):
    x, y, exact = TWO[name]
    function = getattr(sp, name)
    value = fg.value_and_grad(lambda u, v: np.sum(function(u, v)))(x, y)[0]
    np.testing.assert_allclose(value, np.sum(function(x, y)), rtol=1e-12)
    for by, orders in ((0, ((1, 0), (2, 0))), (1, ((0, 1), (0, 2)))):
        first = fg.grad(lambda u, v: np.sum(function(u, v)), argnums=by)
        np.testing.assert_allclose(first(x, y), exactly(exact, [x, y], orders[0]), rtol=1e-11, atol=1e-12)
        second = fg.grad(lambda u, v, first=first: np.sum(first(u, v)), argnums=by)
        np.testing.assert_allclose(second(x, y), exactly(exact, [x, y], orders[1]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "rel_entr", "kl_div", "entr", "gamma"])
def test_special_points_are_scipys(name):
    function = getattr(sp, name)
    points = np.array([0.0, 1.0, -1.0, 2.5, np.inf, np.nan])
    points = points[~np.isinf(points)] if name in ("kl_div", "rel_entr", "gamma") else points
    x, y = (column.ravel() for column in np.meshgrid(points, points))
    columns = [x, y] if function.nin == 2 else [points]
    with np.errstate(all="ignore"):
        right = function(*columns)
    found = fg.vmap(lambda *args: function(*args))(*columns)
    np.testing.assert_allclose(found, right, rtol=1e-13)


def test_products_with_a_logarithm_are_differentiable_at_zero():
    assert fg.grad(sp.xlogy)(0.0, 2.0) == np.log(2.0)
    assert fg.grad(sp.xlogy)(0.0, 0.0) == 0
    assert fg.grad(sp.xlog1py)(0.0, 1.0) == np.log1p(1.0)


def test_zeta_by_its_second_argument_only():
    q = np.array([0.3, 1.0, 4.5])
    np.testing.assert_allclose(fg.vmap(lambda v: sp.zeta(2.5, v))(q), sp.zeta(2.5, q), rtol=1e-14)
    np.testing.assert_allclose(fg.vmap(fg.grad(lambda v: sp.zeta(2.5, v)))(q), -2.5 * sp.zeta(3.5, q), rtol=1e-13)
    with pytest.raises(TraceError, match="let x be a constant"):
        fg.grad(lambda s: sp.zeta(s, 2.0))(3.0)


def test_third_derivative_of_gammaln():
    third = fg.grad(fg.grad(fg.grad(sp.gammaln)))
    np.testing.assert_allclose(third(2.3), sp.polygamma(2, 2.3), rtol=1e-13)


# as a traced function finds them, and called on nodes
PLAIN = {
    "polygamma": (lambda f, v: f(3, v), POSITIVE),
    "logsumexp": (lambda f, v: f(v), ANY * 300),
    "softmax": (lambda f, v: f(v), ANY),
    "log_softmax": (lambda f, v: f(v), ANY * 300),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_functions_of_scipy_on_nodes(name):
    apply, x = PLAIN[name]
    both = np.stack([x, x[::-1]])
    right = np.stack([apply(getattr(sp, name), row) for row in both])
    nodes = FUNCTIONS_OF_SCIPY[f"scipy.special.{name}"]
    for function in (getattr(sp, name), lambda *args: call(nodes, args)):
        found = fg.vmap(lambda v, f=function: apply(f, v))(both)
        np.testing.assert_allclose(found, right, rtol=1e-12, atol=1e-300)


def test_logsumexp_along_axes_and_at_infinities():
    nodes = FUNCTIONS_OF_SCIPY["scipy.special.logsumexp"]
    x = np.array([[1.0, -np.inf, 3.0], [-np.inf] * 3])
    for axis, keep in ((None, False), (0, False), (1, True), ((0, 1), True)):
        graph = trace(lambda v, a=axis, k=keep: call(nodes, (v,), {"axis": a, "keepdims": k}), [Input(x.shape)])
        assert graph.outputs[0].shape == sp.logsumexp(x, axis=axis, keepdims=keep).shape
    found = fg.vmap(lambda v: call(nodes, (v,)))(x)
    np.testing.assert_allclose(found, sp.logsumexp(x, axis=1), rtol=1e-15)
    np.testing.assert_allclose(fg.grad(lambda v: call(nodes, (v,)))(x[0]), sp.softmax(x[0]), rtol=1e-14)


def test_a_function_that_is_not_covered_is_named():
    with pytest.raises(TraceError, match=r"scipy\.special\.betainc cannot be traced"):
        fg.grad(lambda v: sp.betainc(1.0, 2.0, v))(0.5)


def test_every_name_in_the_tables_is_scipys():
    names = [*UFUNCS_OF_SCIPY, *(name.rpartition(".")[2] for name in FUNCTIONS_OF_SCIPY)]
    missing = [name for name in names if not hasattr(sp, name) and not hasattr(sp._ufuncs, name)]
    assert set(missing) <= {"softplus"}  # in newer versions


def test_scipy_is_not_imported():
    assert "scipy" in sys.modules
    done = in_fresh_process("import fastgrad, sys; assert not [m for m in sys.modules if m.startswith('scipy')]")
    assert done.returncode == 0, done.stderr
