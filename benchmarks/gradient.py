"""Gradient evaluation: one call, the first call, batches of rows, one large array."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import fastgrad as fg

from . import problems
from .peers import cores, import_jax, import_torch, jax_side, with_numpy
from .timing import Case, Side, fastest

Function = Callable[[Any], Any]


def cases(quick: bool) -> list[Case]:
    few = 10 if quick else 1
    one = problems.starts(1, 10)[0]
    return [
        Case(
            "rosenbrock n=10, one call",
            "us a call",
            {
                "fastgrad": partial(_fastgrad, one),
                "jax": partial(_jax, one),
                "casadi": fastest(SX=partial(_casadi, one, "SX"), MX=partial(_casadi, one, "MX")),
                "casadi buffers": partial(_casadi_buffers, one),
                "torch": partial(_torch, one),
                "autograd": partial(_autograd, one),
                "numpy": partial(_numpy, one),
                "python": partial(_python, one),
            },
            targets={"jax": 10},
            limit=1e-6,
        ),
        Case(
            "rosenbrock n=10, first call",
            "ms a call",
            {
                "fastgrad": partial(_fastgrad_first, one),
                "jax": partial(_jax_first, one),
                "casadi": partial(_casadi_first, one),
            },
            targets={"jax": 50},
            limit=2e-3,
        ),
        Case(
            "tracing: first call, 100,000 operations",
            "us an operation",
            {
                "fastgrad": partial(_fastgrad_chain, 100_000 // few),
                "fastgrad 1,000": partial(_fastgrad_chain, 1_000),
                "jax 1,000": partial(_jax_chain, 1_000 // few),
            },
            limit=20e-6,
        ),
        _rows("rosenbrock", problems.rosenbrock, _rosenbrock_by_hand, 1_000, 3, ("torch", "casadi")),
        _rows("rosenbrock", problems.rosenbrock, _rosenbrock_by_hand, 100_000 // few, 2, ("torch", "casadi")),
        _rows("rosenbrock", problems.rosenbrock, _rosenbrock_by_hand, 1_000_000 // few, 4),
        _rows(
            "transcendental",
            problems.transcendental,
            problems.transcendental_value_and_gradient,
            100_000 // few,
            4,
            ("torch",),
        ),
        _rows("rosenbrock", problems.rosenbrock, _rosenbrock_by_hand, 100_000 // few, 2, dtype="float32"),
        _rows(
            "transcendental",
            problems.transcendental,
            problems.transcendental_value_and_gradient,
            100_000 // few,
            4,
            dtype="float32",
        ),
        _out(1_000_000 // few),
        _large(10_000, {"jax": 3}, "casadi"),
        _large(1_000_000 // few, {"jax": 3, "numpy copy": 1 / 3}),
        _second_order(problems.starts(1, 10_000)[0]),
        *[
            _matrix(kind, size)
            for kind in ("jacobian", "hessian")
            for size in (10, 30, 100, 300, *[1000] * (not quick))
        ],
    ]


def _rows(
    name: str,
    function: Function,
    by_hand: Function,
    rows: int,
    target: float,
    more: tuple[str, ...] = (),
    dtype: str = "float64",
) -> Case:
    X = problems.starts(rows, 10).astype(dtype)
    sides: dict[str, Callable[[], Side]] = {
        "fastgrad": partial(_fastgrad_rows, function, X),
        "jax": fastest(rows=partial(_jax_rows, function, X, 0), columns=partial(_jax_rows, function, X, 1)),
        "numpy": lambda: Side(lambda: by_hand(X), rows),
    }
    optional = {"torch": partial(_torch_rows, function, X), "casadi": partial(_casadi_rows, X)}
    sides |= {peer: optional[peer] for peer in more}
    if dtype == "float64":
        return Case(f"vmap {name} n=10, {rows:,} rows", "ns a row", sides, {"jax": target})
    name = f"vmap {name} n=10, {rows:,} rows, {dtype}"
    return Case(name, "ns a row", sides, {"jax": target}, rtol=1e-4, atol=1e-2)


def _out(rows: int) -> Case:
    X = problems.starts(rows, 10)
    sides: dict[str, Callable[[], Side]] = {
        "fastgrad": partial(_fastgrad_out, X),
        "jax": fastest(
            rows=partial(_jax_rows, problems.rosenbrock, X, 0), columns=partial(_jax_rows, problems.rosenbrock, X, 1)
        ),
    }
    return Case(f"vmap rosenbrock n=10, {rows:,} rows, out=", "ns a row", sides, targets={"jax": 5})


def _second_order(x: np.ndarray) -> Case:
    gradient, product, v = fg.grad(problems.rosenbrock), fg.hvp(problems.rosenbrock), np.ones_like(x)
    sides: dict[str, Callable[[], Side]] = {
        "fastgrad": lambda: Side(lambda: (product(x, v), ())[1]),
        "fastgrad grad": lambda: Side(lambda: (gradient(x), ())[1]),
    }
    return Case(f"hvp of rosenbrock n={x.size:,}", "us a call", sides, targets={"fastgrad grad": 1 / 3})


def _matrix(kind: str, size: int) -> Case:
    """A Hessian of Rosenbrock's function, or a Jacobian of a dense layer."""
    x, W = problems.starts(1, size)[0], problems.starts(size, size) / size
    of_layer: Callable[[Any], Function] = lambda np: lambda x: np.tanh(W @ x)  # noqa: E731

    def jax() -> Side:
        module = import_jax()
        if kind == "hessian":
            return jax_side(module.hessian(with_numpy(problems.rosenbrock, module.numpy)), x)
        return jax_side(module.jacfwd(of_layer(module.numpy)), x)

    mine = fg.hessian(problems.rosenbrock) if kind == "hessian" else fg.jacobian(of_layer(np))
    what = "rosenbrock" if kind == "hessian" else "a dense layer"
    sides: dict[str, Callable[[], Side]] = {"fastgrad": lambda: Side(partial(mine, x)), "jax": jax}
    return Case(f"{kind} of {what}, n={size}", "us a call", sides, targets={"jax": 2})


def _large(size: int, targets: dict[str, float], *more: str) -> Case:
    x = problems.starts(1, size)[0]
    sides = {
        "fastgrad": partial(_fastgrad, x),
        "jax": partial(_jax, x),
        "torch": partial(_torch, x),
        "autograd": partial(_autograd, x),
        "numpy": partial(_numpy, x),
        "numpy copy": partial(_copy, x),
    }
    optional = {"casadi": partial(_casadi, x, "MX")}
    sides |= {peer: optional[peer] for peer in more}
    return Case(f"rosenbrock n={size:,}, one call", "us a call", sides, targets=targets)


def _fastgrad(x: np.ndarray) -> Side:
    return Side(partial(fg.value_and_grad(problems.rosenbrock), x))


def _fastgrad_rows(function: Function, X: np.ndarray) -> Side:
    return Side(partial(fg.vmap(fg.value_and_grad(function)), X), len(X))


def _fastgrad_out(X: np.ndarray) -> Side:
    transform, out = fg.vmap(fg.value_and_grad(problems.rosenbrock)), (np.empty(len(X)), np.empty_like(X))
    return Side(lambda: transform(X, out=out), len(X))


def _fastgrad_first(x: np.ndarray) -> Side:
    return Side(lambda: fg.value_and_grad(problems.fresh_rosenbrock())(x))


def _fastgrad_chain(operations: int) -> Side:
    def run() -> Any:
        fg.value_and_grad(problems.chain(operations))(np.ones(10))
        return ()

    return Side(run, operations)


def _jax(x: np.ndarray) -> Side:
    jax = import_jax()
    return jax_side(jax.value_and_grad(with_numpy(problems.rosenbrock, jax.numpy)), x)


def _jax_rows(function: Function, X: np.ndarray, axis: int) -> Side:
    """Rows of X along either axis inside; X and the gradients are stored by rows, as for every other peer."""
    jax = import_jax()
    both = jax.value_and_grad(with_numpy(function, jax.numpy))
    if axis == 0:
        return jax_side(jax.vmap(both), X, units=len(X))
    return jax_side(lambda rows: jax.vmap(both, in_axes=1, out_axes=(0, 0))(rows.T), X, units=len(X))


def _jax_first(x: np.ndarray) -> Side:
    jax = import_jax()
    held = jax.device_put(x)

    def run() -> Any:
        function = with_numpy(problems.fresh_rosenbrock(), jax.numpy)
        return jax.block_until_ready(jax.jit(jax.value_and_grad(function))(held))

    return Side(run, setup=jax.clear_caches)


def _jax_chain(operations: int) -> Side:
    jax = import_jax()

    def run() -> Any:
        function = with_numpy(problems.chain(operations), jax.numpy)
        jax.block_until_ready(jax.jit(jax.value_and_grad(function))(jax.numpy.ones(10)))
        return ()

    return Side(run, operations, setup=jax.clear_caches)


def _casadi_function(kind: str, size: int) -> Any:
    """Value and gradient of Rosenbrock's function as a CasADi function of SX (scalars) or MX (arrays)."""
    casadi = importlib.import_module("casadi")
    x = getattr(casadi, kind).sym("x", size)
    value = casadi.sum1(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    return casadi.Function("rosenbrock", [x], [value, casadi.gradient(value, x)])


def _casadi_call(function: Any, x: np.ndarray) -> Any:
    value, gradient = function(x)
    return float(value), gradient.full()[:, 0]


def _casadi(x: np.ndarray, kind: str) -> Side:
    return Side(partial(_casadi_call, _casadi_function(kind, x.size), x))


def _casadi_first(x: np.ndarray) -> Side:
    return Side(lambda: _casadi_call(_casadi_function("SX", x.size), x))


def _casadi_buffers(x: np.ndarray) -> Side:
    """CasADi's fastest way from Python: one call on memory that was handed over beforehand."""
    function = _casadi_function("SX", x.size)
    buffer, evaluate = function.buffer()
    value, gradient = np.empty(1), np.empty_like(x)
    buffer.set_arg(0, x.data)
    buffer.set_res(0, value.data)
    buffer.set_res(1, gradient.data)

    def run(_alive: Any = (x, buffer)) -> Any:  # CasADi itself keeps neither
        evaluate()
        return value, gradient

    return Side(run)


def _casadi_rows(X: np.ndarray) -> Side:
    function = _casadi_function("SX", X.shape[1]).map(len(X), "thread", cores())
    columns = np.asfortranarray(X.T)

    def run() -> Any:
        values, gradients = function(columns)
        return values.full()[0], gradients.full().T

    return Side(run, len(X))


def _torch(x: np.ndarray) -> Side:
    torch = import_torch()
    function = with_numpy(problems.rosenbrock, torch)
    leaf = torch.from_numpy(x.copy()).requires_grad_()

    def run() -> Any:
        value = function(leaf)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    return Side(run)


def _torch_rows(function: Function, X: np.ndarray) -> Side:
    torch = import_torch()
    both = torch.func.vmap(torch.func.grad_and_value(with_numpy(function, torch)))
    rows = torch.from_numpy(X.copy())

    def run() -> Any:
        gradients, values = both(rows)
        return values, gradients

    return Side(run, len(X))


def _autograd(x: np.ndarray) -> Side:
    autograd, wrapped = importlib.import_module("autograd"), importlib.import_module("autograd.numpy")
    return Side(partial(autograd.value_and_grad(with_numpy(problems.rosenbrock, wrapped)), x))


def _rosenbrock_by_hand(x: np.ndarray) -> Any:
    return problems.rosenbrock_value(x), problems.rosenbrock_gradient(x)


def _numpy(x: np.ndarray) -> Side:
    return Side(partial(_rosenbrock_by_hand, x))


def _copy(x: np.ndarray) -> Side:
    """Reads the input and writes as much as the gradient: no gradient can take less."""

    def run() -> Any:
        x.copy()
        return ()

    return Side(run)


def _python(x: np.ndarray) -> Side:
    floats = x.tolist()
    return Side(lambda: (problems.rosenbrock_scalars(floats), problems.rosenbrock_gradient_python(floats)))
