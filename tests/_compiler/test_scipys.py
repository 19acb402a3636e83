"""Functions of SciPy's Python in traced functions: values as SciPy's, gradients as differences."""

import numpy as np
import pytest
import scipy.constants
import scipy.integrate
import scipy.linalg
import scipy.optimize
import scipy.spatial.distance
import scipy.special as sp
import scipy.stats as st
from scipy.stats import norm

import fastgrad as fg
from fastgrad._compiler.scipys import CONTINUOUS, DISCRETE, LINALG, OF_SCIPY
from fastgrad.errors import TraceError

T = np.array([0.3, 1.2, -0.4, 2.0])
P = np.array([0.4, 1.3, 0.7])
A = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, -0.2], [0.1, -0.2, 1.1]])

FUNCTIONS = {
    "normal": lambda p: -np.sum(norm.logpdf(T, p[0], p[1])),
    "frozen": lambda p: -np.sum(st.norm(p[0], scale=p[1]).logpdf(T) * st.norm(p[0]).sf(T)),
    "outside the support": lambda p: np.sum(st.gamma.pdf(T, p[0], scale=p[1]) + st.expon.cdf(T * p[2])),
    "student": lambda p: np.sum(st.t.logpdf(T, 4 * p[0], loc=p[1], scale=p[2])),
    "logs of tails": lambda p: np.sum(norm.logcdf(T * p[0]) + norm.logsf(T, p[1], p[2]) + norm.cdf(T - p[0])),
    "skewed": lambda p: np.sum(st.skewnorm.logpdf(T, p[0]) + st.laplace.logpdf(T, p[1], p[2])),
    "generalised": lambda p: np.sum(st.genextreme.logpdf(T / 9, p[0]) + st.genpareto.logpdf(T**2, p[1])),
    "by cases": lambda p: np.sum(st.triang.pdf(T / 4 + 0.2, p[0]) + st.lognorm.pdf(T**2, p[1])),
    "discrete": lambda p: np.sum(st.poisson.logpmf([1, 2, 5, -1], p[1])[:3]) + st.binom.pmf(3, 10, p[0]),
    "beta": lambda p: np.sum(st.beta.pdf(T / 3 + 0.2, p[0], p[1])) + st.nbinom.pmf(2, 3.5, p[2]),
    "multivariate normal": lambda p: st.multivariate_normal.logpdf(p, np.zeros(3), A),
    "several at once": lambda p: np.sum(st.multivariate_normal(p, A).logpdf(np.eye(3))),
    "logsumexp": lambda p: sp.logsumexp(p) + np.sum(sp.softmax(p) ** 2) - sp.log_softmax([p[0], 1.0])[0],
    "special": lambda p: np.sum(sp.polygamma(2, p) + sp.poch(p, 0.5) + sp.cosm1(p) + sp.exprel(p)),
    "rosen": lambda p: scipy.optimize.rosen(p),
    "quadrature": lambda p: scipy.integrate.simpson(p**2, dx=0.1) + scipy.integrate.trapezoid(np.exp(p), [0, 1, 3]),
    "running quadrature": lambda p: np.sum(scipy.integrate.cumulative_trapezoid(p**2) ** 2),
    "distances": lambda p: scipy.spatial.distance.cosine(p, T[:3]) + scipy.spatial.distance.euclidean(p, T[1:]),
    "constants": lambda p: np.sum(scipy.constants.convert_temperature(p, "C", "F") ** 2),
    "norm": lambda p: scipy.linalg.norm(p) + scipy.linalg.norm(np.outer(p, T), "fro", check_finite=False),
    "systems": lambda p: (
        np.sum(scipy.linalg.solve(A + np.diag(p), p) + scipy.linalg.inv(A * p)) + scipy.linalg.det(A * p)
    ),
    "factors": lambda p: np.sum(
        scipy.linalg.cholesky(A + np.diag(p)) + 2 * scipy.linalg.cholesky(A * p[0], lower=True)
    ),
    "eigenvalues": lambda p: np.sum(scipy.linalg.eigvalsh(A + np.outer(p, p)) ** 3 + scipy.linalg.eigh(A * p[1])[0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scipys_functions(name):
    fun = FUNCTIONS[name]
    assert fg.value_and_grad(fun)(P)[0] == pytest.approx(fun(P), rel=1e-13)
    check = fg.check_grad(fun, P)
    assert check, str(check)


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_distributions_outside_their_domains(name):
    """The values below and above the support, of NaN, and of parameters that are not valid."""
    distribution, scale = (st.poisson, ()) if name in DISCRETE else (st.truncexpon, (2.5,))
    x = np.array([-0.5, 0.0, 0.3, 1.0, 2.0, 7.0, np.nan, -np.inf, np.inf])
    method = getattr(distribution, name)
    with np.errstate(all="ignore"):
        for shape in (1.7, -1.0):
            right = method(x, shape, 0.0, *scale)
            found = fg.vmap(lambda v, q=shape: method(v, q, 0.0, *scale))(x)
            np.testing.assert_allclose(found, right, rtol=1e-12)


def test_constants_go_to_scipy_itself():
    def fun(p):
        root = scipy.optimize.brentq(lambda t: t * t - 2, 0, 2)
        found = scipy.optimize.minimize(lambda t: (t[0] - 1) ** 2, [0.0]).x[0]
        return p * (norm.ppf(0.3) + root + found + st.gamma.logpdf(2.0, 3.0) + sp.logsumexp([1.0, 2.0]))

    assert fg.grad(fun)(2.0) == pytest.approx(fun(1.0), rel=1e-14)


def test_what_scipy_computes_in_c_is_refused():
    with pytest.raises(TraceError, match="scipy"):
        fg.grad(lambda p: st.ncf.pdf(p, 3, 4, 0.5))(1.0)
    with pytest.raises(TraceError, match=r"scipy\.linalg\.solve.*assume_a"):
        fg.grad(lambda p: np.sum(scipy.linalg.solve(A, p, assume_a="pos")))(P)


def test_every_name_in_the_table_is_scipys():
    modules = {"stats": st, "special": sp, "linalg": scipy.linalg}
    for name in OF_SCIPY:
        if name.startswith(("scipy._lib.", "scipy._external.")):  # in some versions
            continue
        _, module, *path = name.split(".")
        found = modules[module]
        for part in path:
            found = getattr(found, part)
        assert callable(found)
    assert set(LINALG) <= set(dir(scipy.linalg))
