"""The functions of scipy.special on nodes, found by name: SciPy is never imported here.

Its ufuncs reach a traced array by NumPy's protocol, and are looked up in `UFUNCS_OF_SCIPY`. Its plain
Python functions turn their arguments into arrays before anything could be asked: `FUNCTIONS_OF_SCIPY` has those
under their full names, for whoever hands functions to a traced function. `gamma` and `beta` are exponentials of
logarithms, good to about as many eps as those are large; `ndtr` loses x^2 eps far in its tail, as in SciPy.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import trace_error
from . import graph
from .graph import Node
from .operands import as_node, elementwise, operands
from .products import horner
from .reductions import max_, sum_
from .surface import UFUNCS, power


def log_expit(x: Any) -> Node:
    return -elementwise("softplus", elementwise("negative", x))


def logit(p: Any) -> Node:
    return elementwise("log", p) - elementwise("log1p", elementwise("negative", p))


def gamma(x: Any) -> Node:
    x = as_node(x)
    log_gamma = elementwise("gammaln", x)
    reflected = math.pi / (graph.sin(math.pi * x) * graph.exp(elementwise("gammaln", 1.0 - x)))
    negative = graph.where(graph.isfinite(log_gamma), reflected, math.nan)  # NaN at the poles
    return graph.where(graph.less(x, 0.0), negative, graph.exp(log_gamma))


def betaln(a: Any, b: Any) -> Node:
    a, b = operands(a, b)
    return elementwise("gammaln", a) + elementwise("gammaln", b) - elementwise("gammaln", a + b)


def beta(a: Any, b: Any) -> Node:
    a, b = operands(a, b)
    positive = elementwise("logical_and", graph.greater(a, 0.0), graph.greater(b, 0.0))
    return graph.where(positive, graph.exp(betaln(a, b)), gamma(a) * gamma(b) / gamma(a + b))


def poch(z: Any, m: Any) -> Node:
    z, m = operands(z, m)
    end = z + m
    positive = elementwise("logical_and", graph.greater(z, 0.0), graph.greater(end, 0.0))
    ratio = graph.exp(elementwise("gammaln", end) - elementwise("gammaln", z))
    return graph.where(positive, ratio, gamma(end) / gamma(z))


def cosm1(x: Any) -> Node:
    sine = graph.sin(0.5 * as_node(x))
    return -2.0 * sine * sine


def exprel(x: Any) -> Node:
    """(exp(x) - 1) / x; near 0 its series, whose derivatives of every order are right there."""
    x = graph.truth_as_number(as_node(x))
    is_near = graph.less(graph.absolute(x), 1.0)
    series = horner([graph.filled(x, 1.0 / math.factorial(k + 1)) for k in range(18)][::-1], x)
    ratio = elementwise("expm1", x) / graph.where(is_near, 1.0, x)
    return graph.where(is_near, series, graph.where(graph.equal(x, math.inf), x, ratio))


def _x_log(x: Any, y: Any, log: str, zero: float) -> Node:
    """x log(y), or x log1p(y): 0 for x = 0 whatever y is, with the derivative log(y) there where that is finite."""
    x, y = operands(x, y)
    ordinary = elementwise("logical_and", graph.greater(y, zero), graph.less(y, math.inf))
    nothing = elementwise("logical_and", graph.equal(x, 0.0), elementwise("logical_not", ordinary))
    nothing = elementwise("logical_and", nothing, graph.equal(y, y))
    return x * elementwise(log, graph.where(nothing, zero + 1.0, y))


def xlogy(x: Any, y: Any) -> Node:
    return _x_log(x, y, "log", 0.0)


def xlog1py(x: Any, y: Any) -> Node:
    return _x_log(x, y, "log1p", -1.0)


def beta_density(x: Any, a: Any, b: Any) -> Node:
    x, a, b = operands(x, a, b)
    return graph.exp(xlogy(a - 1.0, x) + xlog1py(b - 1.0, -x) - betaln(a, b))


def binomial(k: Any, n: Any, p: Any) -> Node:
    """The probability of `k` successes among `n` trials."""
    k, n, p = operands(k, n, p)
    return graph.exp(xlogy(k, p) + xlog1py(n - k, -p) - betaln(k + 1.0, n - k + 1.0) - elementwise("log1p", n))


def negative_binomial(k: Any, n: Any, p: Any) -> Node:
    """The probability of `k` failures before the success number `n`."""
    k, n, p = operands(k, n, p)
    ways = elementwise("gammaln", n + k) - elementwise("gammaln", k + 1.0) - elementwise("gammaln", n)
    return graph.exp(xlogy(n, p) + xlog1py(k, -p) + ways)


def entr(x: Any) -> Node:
    x = as_node(x)
    return graph.where(graph.less(x, 0.0), -math.inf, -xlogy(x, x))


def rel_entr(x: Any, y: Any) -> Node:
    x, y = operands(x, y)
    both = elementwise("logical_and", graph.greater(x, 0.0), graph.greater(y, 0.0))
    nothing = elementwise("logical_and", graph.equal(x, 0.0), elementwise("greater_equal", y, 0.0))
    unknown = elementwise("logical_or", elementwise("isnan", x), elementwise("isnan", y))
    rest = graph.where(nothing, x * 0.0, graph.where(unknown, x + y, math.inf))
    return graph.where(both, x * elementwise("log", x / y), rest)


def kl_div(x: Any, y: Any) -> Node:
    x, y = operands(x, y)
    return rel_entr(x, y) - x + y


def ndtr(x: Any) -> Node:
    return 0.5 * elementwise("erfc", elementwise("multiply", x, -math.sqrt(0.5)))


def log_ndtr(x: Any) -> Node:
    x = as_node(x)
    u = x * -math.sqrt(0.5)
    tail = elementwise("log", 0.5 * elementwise("erfcx", u)) - 0.5 * x * x
    return graph.where(graph.less(x, -1.0), tail, elementwise("log1p", -0.5 * elementwise("erfc", -u)))


def huber(delta: Any, r: Any) -> Node:
    delta, r = operands(delta, r)
    size = graph.absolute(r)
    loss = graph.where(elementwise("less_equal", size, delta), 0.5 * r * r, delta * (size - 0.5 * delta))
    return graph.where(graph.less(delta, 0.0), math.inf, loss)


def pseudo_huber(delta: Any, r: Any) -> Node:
    delta, r = operands(delta, r)
    ratio = r / delta
    square = ratio * ratio  # sqrt(1 + s) - 1, without its cancellation
    return delta * delta * (square / (1.0 + graph.sqrt(1.0 + square)))


def zeta(x: Any, q: Any) -> Node:
    if isinstance(x, Node):
        raise trace_error("zeta(x, q) has no derivative by x here", "let x be a constant")
    return elementwise("zeta", x, q)


def polygamma(n: Any, x: Any) -> Node:
    if isinstance(n, Node) or np.ndim(n) or n != int(n) or n < 0:
        raise trace_error(f"polygamma(n, x) needs a whole number n >= 0, got {n!r}", "let n be a constant")
    n = int(n)
    if n < 2:
        return elementwise(("digamma", "trigamma")[n], x)
    return (-1.0) ** (n + 1) * math.factorial(n) * zeta(n + 1.0, x)


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: Any = False, return_sign: Any = False) -> Node:
    if b is not None or return_sign:
        raise trace_error("logsumexp with b= or return_sign= cannot be traced", "scale before the logarithm")
    a = as_node(a)
    a = graph.truth_as_number(a) if a.is_bool else a
    most = max_(a, axis, keepdims=True)
    shift = graph.where(graph.isfinite(most), most, 0.0)
    total = sum_(graph.exp(elementwise("subtract", a, shift)), axis, keepdims=True)
    result = graph.log(total) + shift
    return result if keepdims else graph.reshape(result, sum_(a, axis).shape)


def log_softmax(x: Any, axis: Any = None) -> Node:
    return elementwise("subtract", x, logsumexp(x, axis, keepdims=True))


def softmax(x: Any, axis: Any = None) -> Node:
    return graph.exp(log_softmax(x, axis))


_OPERATIONS = {
    "erf": "erf", "erfc": "erfc", "erfcx": "erfcx", "gammaln": "gammaln", "loggamma": "gammaln", "psi": "digamma",
    "digamma": "digamma", "expit": "sigmoid", "softplus": "softplus",
}  # fmt: skip
_SAME_IN_NUMPY = ("expm1", "log1p", "cbrt", "exp2")

UFUNCS_OF_SCIPY: dict[str, Callable[..., Node]] = {
    **{name: functools.partial(elementwise, op) for name, op in _OPERATIONS.items()},
    **{name: UFUNCS[getattr(np, name)] for name in _SAME_IN_NUMPY if getattr(np, name) in UFUNCS},
    **{
        f.__name__: f
        for f in (log_expit, logit, gamma, betaln, beta, poch, cosm1, exprel, xlogy, xlog1py, entr, rel_entr, kl_div)
    },
    **{f.__name__: f for f in (ndtr, log_ndtr, huber, pseudo_huber)},
    "_zeta": zeta,
    "_beta_pdf": beta_density,
    "_binom_pmf": binomial,
    "_nbinom_pmf": negative_binomial,
    "exp10": lambda x: power(10.0, x),
}
FUNCTIONS_OF_SCIPY: dict[str, Callable[..., Node]] = {
    f"scipy.special.{f.__name__}": f for f in (zeta, polygamma, logsumexp, softmax, log_softmax)
}


def is_scipys(ufunc: np.ufunc) -> bool:
    """Whether a ufunc is one of scipy.special."""
    modules = map(sys.modules.get, ("scipy.special", "scipy.special._ufuncs"))
    return any(getattr(module, ufunc.__name__, None) is ufunc for module in modules)
