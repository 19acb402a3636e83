"""Finite differences: of callables, with and without error estimates, by coloured columns, and of sampled fields.

Beside a call of a function stand the bare evaluations that its result needs, beside a field a copy of it: what no
difference can go below. The ratio to a copy is the fraction of its bandwidth.
"""

import ctypes
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import fastgrad as fg

from . import problems
from .peers import c_compiler, compiled, cores, installed
from .timing import Case, Side

Build = Callable[[], Side]
BEST = {"method": "adaptive", "full_output": True}


def cases(quick: bool) -> list[Case]:
    side, cube, unknowns = (200, 48, 2_000) if quick else (1_000, 256, 100_000)
    x = problems.starts(1, 10)[0]
    found = [_gradient(x, "2-point", len(x) + 1), _gradient(x, "3-point", 2 * len(x))]
    found += [_adaptive(x, False), _adaptive(x, True), _hessian(x)]
    if c_compiler():
        found += [_in_c(n) for n in (10, 1_000)]
    if installed("scipy"):  # which holds the sparse matrix
        found.append(_tridiagonal(unknowns))
    found += [_first(side, axis) for axis in (0, 1)] + [_second(side, axis) for axis in (0, 1)]
    return [*found, _first(side, 1, "float32"), _laplacian(cube)]


def rosenbrock(x: Any) -> Any:
    """As users write it; of a batch, the first axis holds the parameters."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2, axis=0)


def _gradient(x: np.ndarray, method: Any, evaluations: int) -> Case:
    def calls() -> Side:
        def run() -> Any:
            for _ in range(evaluations):
                rosenbrock(x)
            return ()

        return Side(run)

    def scipy() -> Side:
        from scipy.optimize import approx_fprime

        return Side(lambda: (approx_fprime(x, rosenbrock),))

    def scipy_numdiff() -> Side:
        from scipy.optimize._numdiff import approx_derivative

        return Side(lambda: (approx_derivative(rosenbrock, x, method=method),))

    bare = f"numpy {evaluations} calls of f"
    sides: dict[str, Build] = {
        "fastgrad": lambda: Side(lambda: (fg.finite.gradient(rosenbrock, x, method=method, trace=False),)),
        bare: calls,
        "scipy approx_derivative": scipy_numdiff,
    }
    targets = {bare: 1 / 1.3}
    if method == "2-point":
        sides["scipy approx_fprime"] = scipy
        targets["scipy approx_fprime"] = 2.0
    name = f"gradient {method}, Rosenbrock n={x.size}, opaque"
    return Case(name, "us a call", sides, targets, rtol=1e-5, atol=1e-4)


def _adaptive(x: np.ndarray, traced: bool) -> Case:
    """With an error estimate for each component. What peers estimate is not compared, only the gradient."""

    def numdifftools() -> Side:
        import numdifftools

        gradient = numdifftools.Gradient(rosenbrock, full_output=True)
        return Side(lambda: (gradient(x)[0],))

    def jacobi() -> Side:
        from jacobi import jacobi

        return Side(lambda: (jacobi(rosenbrock, x)[0],))

    def scipy() -> Side:
        from scipy.differentiate import jacobian

        return Side(lambda: (jacobian(rosenbrock, x).df,), note="vectorized calls")

    sides: dict[str, Build] = {
        "fastgrad": lambda: Side(lambda: (fg.finite.gradient(rosenbrock, x, trace=traced, **BEST).value,)),
        "numdifftools": numdifftools,
        "jacobi": jacobi,
        "scipy differentiate": scipy,
    }
    targets = {"numdifftools": 10.0, "jacobi": 5.0, "scipy differentiate": 3.0}
    how = "traced" if traced else "opaque"
    if traced:
        targets = {"numdifftools": 100.0}
    return Case(f"gradient adaptive, Rosenbrock n={x.size}, {how}", "us a call", sides, targets, rtol=1e-8, atol=1e-6)


def _hessian(x: np.ndarray) -> Case:
    def numdifftools() -> Side:
        import numdifftools

        hessian = numdifftools.Hessian(rosenbrock)
        return Side(lambda: (hessian(x),))

    sides: dict[str, Build] = {
        "fastgrad": lambda: Side(lambda: (fg.finite.hessian(rosenbrock, x, trace=False),)),
        "numdifftools": numdifftools,
    }
    return Case(f"hessian, Rosenbrock n={x.size}, opaque", "us a call", sides, rtol=1e-3, atol=1e-1)


def _in_c(n: int) -> Case:
    """A function compiled from C. SciPy calls it from Python, in the shortest way that there is."""
    x = problems.starts(1, n)[0]
    function = compiled("rosenbrock.c").rosenbrock
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p]

    def from_python(x: np.ndarray) -> float:
        return function(n, x.ctypes.data_as(ctypes.POINTER(ctypes.c_double)), None)

    def scipy() -> Side:
        from scipy.optimize._numdiff import approx_derivative

        return Side(lambda: (approx_derivative(from_python, x, method="3-point"),))

    sides: dict[str, Build] = {
        "fastgrad": lambda: Side(lambda: (fg.finite.gradient(function, x),)),
        "fastgrad exact": lambda: Side(partial(lambda gradient: (gradient(x),), fg.grad(rosenbrock))),
        "scipy approx_derivative": scipy,
    }
    return Case(f"gradient 3-point, Rosenbrock n={n:,}, in C", "us a call", sides, rtol=1e-5, atol=1e-4)


def _tridiagonal(n: int) -> Case:
    """Broyden's system by coloured columns. More than four evaluations disagree with the side that makes four."""
    from scipy.sparse import diags_array

    pattern = diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(n, n), format="csr")
    x = np.random.default_rng(0).normal(size=n)

    def broyden(x: np.ndarray) -> np.ndarray:
        values = (3 - 2 * x) * x + 1
        values[1:] -= x[:-1]
        values[:-1] -= 2 * x[1:]
        return values

    def fastgrad(sparsity: Any) -> Side:
        settings: dict[str, Any] = {"method": "2-point", "trace": False, "full_output": True, "sparsity": sparsity}

        def run() -> Any:
            found = fg.finite.jacobian(broyden, x, **settings)
            return max(found.nfev, 4), found.value.sum(axis=0), found.value.diagonal()

        return Side(run)

    def calls() -> Side:
        def run() -> Any:
            for _ in range(4):
                broyden(x)
            return (4,)

        return Side(run)

    def scipy() -> Side:
        from scipy.optimize._numdiff import approx_derivative

        def run() -> Any:
            found = approx_derivative(broyden, x, method="2-point", sparsity=pattern)
            return 4, found.sum(axis=0), found.diagonal()

        return Side(run)

    sides: dict[str, Build] = {
        "fastgrad": partial(fastgrad, pattern),
        "numpy 4 calls of f": calls,
        "scipy approx_derivative": scipy,
    }
    return Case(f"jacobian, tridiagonal n={n:,}, at most 4 evaluations", "ms a call", sides, rtol=0.0, atol=1e-5)


def _first(side: int, axis: int, dtype: str = "float64") -> Case:
    f = _field(side, side).astype(dtype)

    def findiff() -> Side:
        from findiff import Diff

        operator = Diff(axis, 1.0)
        operator.set_accuracy(2)
        return Side(lambda: (operator(f),))

    sides = {
        **_fastgrad(fg.grid.diff, f, axis=axis),
        "numpy gradient": lambda: Side(lambda: (np.gradient(f, axis=axis, edge_order=2),)),
        "findiff": findiff,
        **_copies(f),
    }
    targets = {"numpy gradient": 4.0, "numpy copy": 1 / 2} if dtype == "float64" else {"numpy copy": 1 / 2}
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    name = f"diff 1st, accuracy 2, {side:,} x {side:,}, axis {axis}{', float32' * (dtype == 'float32')}"
    return Case(name, "us a call", sides, targets, rtol=tolerance, atol=tolerance)


def _second(side: int, axis: int) -> Case:
    f = _field(side, side)

    def findiff() -> Side:
        from findiff import Diff

        operator = Diff(axis, 1.0) ** 2
        operator.set_accuracy(4)
        return Side(lambda: (operator(f),))

    sides = {
        **_fastgrad(partial(fg.grid.diff, derivative=2, accuracy=4), f, axis=axis),
        "findiff": findiff,
        **_copies(f),
    }
    name = f"diff 2nd, accuracy 4, {side:,} x {side:,}, axis {axis}"
    return Case(name, "us a call", sides, {"findiff": 6.0})


def _laplacian(side: int) -> Case:
    f = _field(side, side, side)

    def findiff() -> Side:
        from findiff import Laplacian

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            operator = Laplacian([1.0] * 3)
        return Side(lambda: (operator(f),))

    sides = {**_fastgrad(fg.grid.laplacian, f), "findiff": findiff, **_copies(f)}
    return Case(f"laplacian, {side}^3", "ms a call", sides, {"numpy copy": 1 / 2.5})


def _field(*shape: int) -> np.ndarray:
    """Waves so long that stencils of one accuracy agree where they differ: near the ends."""
    return np.sin(sum(0.01 * (axis + 1) * along for axis, along in enumerate(np.ogrid[tuple(map(slice, shape))])) + 0.3)


def _fastgrad(differentiate: Callable[..., Any], f: np.ndarray, **settings: Any) -> dict[str, Build]:
    """Into an array of the caller's on all cores, the same on one, and into a new array."""

    def into() -> Side:
        out = np.empty_like(f)
        return Side(lambda: (differentiate(f, out=out, **settings),))

    def on_one() -> Side:
        side = into()

        def run() -> Any:
            fg.set_num_threads(1)
            results = side.run()
            fg.set_num_threads(cores())
            return results

        return replace(side, run=run)

    return {
        "fastgrad": into,
        "fastgrad 1 thread": on_one,
        "fastgrad without out": lambda: Side(lambda: (differentiate(f, **settings),)),
    }


def _copies(f: np.ndarray) -> dict[str, Build]:
    """A copy on one core, and in as many parts as there are cores."""
    out = np.empty_like(f)

    def alone() -> Side:
        return Side(lambda: (np.copyto(out, f), ())[1])

    def together() -> Side:
        pool = ThreadPoolExecutor(cores())
        parts = list(zip(np.array_split(out, cores()), np.array_split(f, cores()), strict=True))

        def run() -> Any:
            list(pool.map(lambda part: np.copyto(*part), parts))
            return ()

        return Side(run)

    return {"numpy copy": alone, f"numpy copy, {cores()} threads": together}
