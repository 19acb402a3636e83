"""Batched descent: so many steps from many starts of Rosenbrock's function, and many logistic regressions.

JAX runs the whole descent in one jitted loop, in whichever of these forms is the fastest on this machine.
"rows" maps fastgrad's own function over the rows, jit(vmap(fori_loop)), and is what one writes first.
"columns" is batched by hand on an (n, starts) array. "scalars" writes the function out over a tuple of n
arrays, one for each component. From 10,000 starts scalars won wherever it was measured, by a factor of 3 at
d=10 under gradient descent, but for d=2 by so little that columns may win. "jax vmap" is always the rows:
the same function as fastgrad's, and what the targets are about; "jax" shows what a rewrite by hand gains.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import fastgrad as fg

from . import loops, problems
from .peers import cores, import_jax, import_torch, jax_side, with_numpy
from .timing import Case, Side, fastest

# At larger rates Adam amplifies the rounding from a few starts until no two libraries agree on them.
RATES = {"gd": 5e-4, "adam": 1e-4}
LOGISTIC_RATE = 0.1
Build = Callable[[], Side]


def cases(quick: bool) -> list[Case]:
    few = 10 if quick else 1
    batch, steps = 10_000 // few, 1_000 // few
    python_batch = {"python": 30_000.0, "python differences": 30_000.0}
    python_one = {"python": 1_000.0, "python differences": 1_000.0}
    found = [
        _rosenbrock("gd", 2, batch, steps, {"jax vmap": 2.0} | python_batch),
        _rosenbrock("gd", 10, batch, steps, {"jax vmap": 2.5} | python_batch),
        _rosenbrock("adam", 2, batch, steps, {"jax vmap": 3.5}),
        _rosenbrock("adam", 10, batch, steps, {"jax vmap": 4.0}, torch=True),
        _rosenbrock("adam", 10, 100_000 // few, steps, {"jax vmap": 6.0}),
        _rosenbrock("adam", 10, 1, steps, {"jax": 1.0}),
        _rosenbrock("gd", 2, 1, steps, python_one),
        _rosenbrock("gd", 10, 1, steps, python_one),
        _stopping(batch, 10_000 // few),
        _logistic("gd", 64 // few, 16, 200 // few),
        _logistic("adam", 64 // few, 16, 200 // few),
        _flat(10_000_000 // few, 100 // few),
    ]
    return found + ([_threads(batch, steps)] if cores() > 1 else [])


def _rosenbrock(method: str, size: int, rows: int, steps: int, targets: dict[str, float], torch: bool = False) -> Case:
    X = problems.starts(rows, size) if rows > 1 else problems.starts(1, size)[0]
    work = (X, method, steps)
    names = ("rows", "columns", "scalars") if rows > 1 else ("rows", "scalars")
    forms = {form: partial(_jax, *work, form) for form in names}
    sides: dict[str, Build] = {"fastgrad": partial(_fastgrad, *work), "jax": fastest(**forms)}
    if rows > 1:
        sides["jax vmap"] = forms["rows"]
    if torch:
        sides["torch"] = partial(_torch, *work)
    if rows <= 10_000:
        sides["numpy"] = partial(_numpy, *work)
    if method == "gd":
        sides["python"] = partial(_python, X, problems.rosenbrock_gradient_python, steps)
        differences = partial(loops.python_differences, problems.rosenbrock_scalars)
        sides["python differences"] = partial(_python, X, differences, steps)
    name = f"{method} d={size}, {_starts(rows)}, {steps:,} steps"
    # of 100,000 starts a few end 5e-7 apart: Adam amplifies rounding where a gradient changes its sign
    return Case(name, "ns a start and step", sides, targets, rtol=1e-6, atol=1e-6)


def _stopping(rows: int, most: int) -> Case:
    """Stopped by gtol after numbers of steps that differ by a factor of 100; JAX waits for the last start."""
    rate, gtol, fewest = 1e-3, 1e-6, most // 100
    X = problems.starts_by_steps(rows, rate, gtol, fewest, most)
    forms = {form: partial(_jax_until, X, rate, gtol, 2 * most, form) for form in ("rows", "scalars")}
    settings: dict[str, Any] = {
        "method": "gd",
        "in_axes": 0,
        "learning_rate": rate,
        "gtol": gtol,
        "maxiter": 2 * most,
    }
    sides: dict[str, Build] = {
        "fastgrad": lambda: _minimize(rows, problems.rosenbrock_plane, X, **settings),
        "jax": fastest(**forms),
        "jax vmap": forms["rows"],
    }
    name = f"gd d=2, {_starts(rows)} stopped by gtol after {fewest:,} to {most:,} steps"
    return Case(name, "us a start", sides, {"jax vmap": 5.0}, rtol=1e-6, atol=1e-7)


def _logistic(method: str, strengths: int, starts: int, steps: int) -> Case:
    """Every strength of the regularisation from every start, on the same data."""
    X, sign = problems.patient_data()
    strength = np.repeat(np.geomspace(1e-4, 1.0, strengths), starts)
    W = np.random.default_rng(0).normal(size=(strength.size, X.shape[1]))
    work = ((W, strength, X, sign), method, steps)
    sides: dict[str, Build] = {
        "fastgrad": partial(_fastgrad_logistic, *work),
        "jax": fastest(rows=partial(_jax_logistic, *work, 0), columns=partial(_jax_logistic, *work, 1)),
    }
    name = f"{method}, {len(W):,} logistic regressions of {len(X)} x {X.shape[1]}, {steps:,} steps"
    return Case(name, "ns a regression and step", sides, {"jax": 2.0}, rtol=1e-6, atol=1e-7)


def _flat(rows: int, steps: int) -> Case:
    """What a start costs in a very large batch, against the same in a small one."""
    X = problems.starts(rows, 2)
    sides: dict[str, Build] = {
        "fastgrad": partial(_fastgrad, X, "gd", steps),
        "fastgrad 1,000 starts": partial(_fastgrad, X[:1_000], "gd", steps),
    }
    return Case(f"gd d=2, {_starts(rows)}, {steps:,} steps", "ns a start and step", sides)


def _threads(rows: int, steps: int) -> Case:
    """Two threads against one, whose results must be the same to the last bit."""
    X = problems.starts(rows, 10)
    sides: dict[str, Build] = {
        "fastgrad": partial(_fastgrad, X, "adam", steps, threads=2),
        "fastgrad 1 thread": partial(_fastgrad, X, "adam", steps, threads=1),
    }
    name = f"adam d=10, {_starts(rows)}, {steps:,} steps, 2 threads"
    return Case(name, "ns a start and step", sides, {"fastgrad 1 thread": 1.9}, rtol=0.0, atol=5e-324)


def _starts(rows: int) -> str:
    return f"{rows:,} starts" if rows > 1 else "one start"


def _function(X: np.ndarray) -> Callable[[Any], Any]:
    """For two components x[0] and x[1], which JAX runs faster than slices; fastgrad gets the same."""
    return problems.rosenbrock_plane if X.shape[-1] == 2 else problems.rosenbrock


def _units(X: np.ndarray, steps: int) -> int:
    return steps * (len(X) if X.ndim > 1 else 1)


def _minimize(units: int, *arguments: Any, threads: int | None = None, **settings: Any) -> Side:
    def run() -> Any:
        if threads is not None:
            fg.set_num_threads(threads)
        result = fg.minimize(*arguments, **settings)
        if threads is not None:
            fg.set_num_threads(cores())
        return result.x, result.fun

    return Side(run, units)


def _steps(method: str, rate: float, steps: int) -> dict[str, Any]:
    """fastgrad's settings for exactly so many steps."""
    return {
        "method": fg.Adam(learning_rate=rate) if method == "adam" else method,
        "learning_rate": None if method == "adam" else rate,
        "maxiter": steps,
        "gtol": 0,
    }


def _fastgrad(X: np.ndarray, method: str, steps: int, threads: int | None = None) -> Side:
    settings = _steps(method, RATES[method], steps)
    in_axes = 0 if X.ndim > 1 else None
    return _minimize(_units(X, steps), fg.value_and_grad(_function(X)), X, in_axes=in_axes, threads=threads, **settings)


def _fastgrad_logistic(inputs: tuple[np.ndarray, ...], method: str, steps: int) -> Side:
    W, *args = inputs
    settings = _steps(method, LOGISTIC_RATE, steps)
    axes = (0, 0, None, None)
    return _minimize(_units(W, steps), fg.value_and_grad(problems.logistic), W, tuple(args), in_axes=axes, **settings)


def _jax(X: np.ndarray, method: str, steps: int, form: str) -> Side:
    """The scalars gain by folding Adam's bias corrections; the other forms do not."""
    jax = import_jax()
    function = problems.rosenbrock_scalars if form == "scalars" else with_numpy(_function(X), jax.numpy)
    gradient = jax.grad(lambda x: jax.numpy.sum(function(x)))
    descend = loops.jax_descent(gradient, method, RATES[method], steps, folded=form == "scalars")
    return jax_side(_jax_batch(function, descend, form, X.ndim > 1), X, units=_units(X, steps))


def _jax_until(X: np.ndarray, rate: float, gtol: float, steps: int, form: str) -> Side:
    jax = import_jax()
    function = problems.rosenbrock_scalars if form == "scalars" else problems.rosenbrock_plane
    descend = loops.jax_descent_until(jax.grad(function), rate, gtol, steps)
    return jax_side(jax.vmap(_jax_batch(function, descend, form, batch=False)), X, units=len(X))


def _jax_batch(function: Callable[[Any], Any], descend: Callable[[Any], Any], form: str, batch: bool) -> Any:
    """A function from the first x, stored by rows, to the last x, stored likewise, and its value."""
    jax = import_jax()

    def rows(x: Any) -> Any:
        x = descend(x)
        return x, function(x)

    def others(x: Any) -> Any:
        x = descend(tuple(x.T) if form == "scalars" else x.T)
        return jax.numpy.stack(tuple(x), axis=-1), problems.rosenbrock_scalars(x)

    if form == "rows":
        return jax.vmap(rows) if batch else rows
    return others


def _jax_logistic(inputs: tuple[np.ndarray, ...], method: str, steps: int, axis: int) -> Side:
    jax = import_jax()
    function = with_numpy(problems.logistic, jax.numpy)

    def solve(w: Any, *args: Any) -> Any:
        w = loops.jax_descent(lambda w: jax.grad(function)(w, *args), method, LOGISTIC_RATE, steps)(w)
        return w, function(w, *args)

    def rows(W: Any, *args: Any) -> Any:
        return jax.vmap(solve, in_axes=(0, 0, None, None))(W, *args)

    def columns(W: Any, *args: Any) -> Any:
        return jax.vmap(solve, in_axes=(1, 0, None, None))(W.T, *args)

    return jax_side((rows, columns)[axis], *inputs, units=_units(inputs[0], steps))


def _numpy(X: np.ndarray, method: str, steps: int) -> Side:
    def run() -> Any:
        x = loops.numpy_descent(problems.rosenbrock_gradient, X, method, RATES[method], steps)
        return x, problems.rosenbrock_value(x)

    return Side(run, _units(X, steps))


def _torch(X: np.ndarray, method: str, steps: int) -> Side:
    torch = import_torch()
    function = with_numpy(problems.rosenbrock, torch)
    columns = torch.from_numpy(X.T.copy())
    return Side(lambda: (loops.torch_descent(function, columns, method, RATES[method], steps).T,), _units(X, steps))


def _python(X: np.ndarray, gradient: Callable[[list[float]], list[float]], steps: int) -> Side:
    """Only the first few starts of a batch, each for all its steps."""
    few = np.atleast_2d(X)[:4].tolist()
    note = f"{len(few)} starts" if X.ndim > 1 else ""

    def run() -> Any:
        return ([loops.python_descent(gradient, x, RATES["gd"], steps) for x in few],)

    return Side(run, len(few) * steps, note=note)
