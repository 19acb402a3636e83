"""Functions that others wrote, taken from installed packages as they are, for `coverage`.

The rule of selection: every public function of the modules named here that gives a finite number at a random point of
its domain. Where a package names the domain (bounds, distributions of inputs) the point is drawn there, else near 1. An
array of results is summed.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np


class Program(NamedTuple):
    """A function of one array, and the point to run it at."""

    package: str
    name: str
    fun: Callable[..., Any]
    x0: np.ndarray


def collect(packages: list[str] | None = None) -> list[Program]:
    """The programs of the packages that are installed; each function once."""
    found: list[Program] = []
    for package, programs in PACKAGES.items():
        if packages and package not in packages:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            try:
                found += [p for p in programs() if _runs(p)]
            except ImportError:
                continue
    return found


def _runs(program: Program) -> bool:
    try:
        return bool(np.isfinite(float(program.fun(program.x0.copy()))))
    except Exception:  # whatever code that is not ours raises: it does not run at this point
        return False


def _random(package: str, name: str) -> np.random.Generator:
    """Numbers of its own for each function, so that one more changes no other."""
    return np.random.default_rng(zlib.crc32(f"{package}.{name}".encode()))


def _inside(package: str, name: str, lower: Any, upper: Any) -> np.ndarray:
    """A point of a box, away from its edges."""
    low, high = np.asarray(lower, float), np.asarray(upper, float)
    return low + (high - low) * (0.2 + 0.6 * _random(package, name).random(low.shape))


def _public(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and not name.startswith("_"):
            yield name, function


# ---- functions of one vector


def of_vectors(package: str, module: str, value: Callable[[Any], Any] = lambda result: result) -> list[Program]:
    """Functions of a vector; of the number of elements that they take first."""
    found = []
    for name, function in inspect.getmembers(importlib.import_module(module)):
        if inspect.isclass(function) or not callable(function) or name.startswith("_"):
            continue
        if inspect.isfunction(function) and not function.__module__.startswith(module):
            continue
        for size in (2, 3, 4, 5, 1):
            x0 = 0.3 + _random(package, name).random(size)
            program = Program(package, name, lambda x, f=function: value(f(x)), x0)
            if _runs(program):
                found.append(program)
                break
    return found


def opfunu() -> list[Program]:
    found = []
    for letter in "abcdefghijklmnopqrstuvwxyz":
        module = importlib.import_module(f"opfunu.name_based.{letter}_func")
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                with contextlib.suppress(Exception):
                    problem = kind()
                    found.append(
                        Program("opfunu", name, problem.evaluate, _inside("opfunu", name, problem.lb, problem.ub))
                    )
    return found


def niapy() -> list[Program]:
    problems = importlib.import_module("niapy.problems")
    found = []
    for name, kind in inspect.getmembers(problems, inspect.isclass):
        with contextlib.suppress(Exception):
            problem = kind(dimension=4)
            found.append(
                Program("niapy", name, problem._evaluate, _inside("niapy", name, problem.lower, problem.upper))
            )
    return found


def benchmark_functions() -> list[Program]:
    module = importlib.import_module("benchmark_functions")
    found = []
    for name, kind in inspect.getmembers(module, inspect.isclass):
        for options in ({"n_dimensions": 3}, {}):
            with contextlib.suppress(Exception):
                problem = kind(**options)
                x0 = _inside("benchmark_functions", name, *problem.suggested_bounds())
                found.append(Program("benchmark_functions", name, problem, x0))
                break
    return found


def uqtestfuns() -> list[Program]:
    module = importlib.import_module("uqtestfuns")
    found = []
    for name in sorted(set(dir(module)) - {"Marginal", "Parameters", "ProbInput", "RealVariable", "UQTestFun"}):
        with contextlib.suppress(Exception):
            function = getattr(module, name)()
            x0 = np.asarray(function.prob_input.get_sample(1), float)
            found.append(Program("uqtestfuns", name, lambda x, f=function: np.sum(_unchecked(f, x)), x0))
    return found


def _unchecked(function: Any, x: Any) -> Any:
    """Without the check that the point is of the domain, which ends in an exception or not."""
    return function._evaluate(x, **(function._parameters or {}))


def salib() -> list[Program]:
    names = {"Ishigami": 3, "Sobol_G": 8, "linear_model_1": 5, "linear_model_2": 2}
    found = []
    for name, size in names.items():
        module = importlib.import_module(f"SALib.test_functions.{name}")
        x0 = _random("SALib", name).random((4, size))
        found.append(Program("SALib", name, lambda X, m=module: np.sum(m.evaluate(X)), x0))
    lake = importlib.import_module("SALib.test_functions.lake_problem")
    x0 = np.array([0.4, 2.0, 0.02, 0.001])
    found.append(Program("SALib", "lake_problem", lambda x: np.sum(lake.lake_problem(0.3, 0.1, *x[:2])), x0))
    return found


# ---- functions of several numbers


def of_numbers(package: str, *modules: str, value: Callable[[Any], Any] = lambda result: result) -> list[Program]:
    """Functions whose parameters without a default are numbers."""
    found = []
    for module in modules:
        for name, function in _public(importlib.import_module(module)):
            parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
            if not parameters or any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
                continue
            x0 = 0.5 + _random(package, name).random(len(parameters))
            found.append(Program(package, name, lambda x, f=function: value(f(*x)), x0))
    return found


def lmfit() -> list[Program]:
    """Line shapes as functions of their parameters."""
    found = []
    t = np.linspace(0.5, 3, 9)
    for name, function in _public(importlib.import_module("lmfit.lineshapes")):
        first, *rest = inspect.signature(function).parameters.values()
        if first.name != "x":
            continue
        names = [p.name for p in rest if not isinstance(p.default, str)]
        x0 = 0.6 + 0.8 * _random("lmfit", name).random(len(names))

        def total(p: Any, f: Any = function, names: list[str] = names) -> Any:
            return np.sum(f(t, **{key: p[i] for i, key in enumerate(names)}))

        found.append(Program("lmfit", name, total, x0))
    return found


def astropy() -> list[Program]:
    """Models as functions of their parameters."""
    found = []
    t = np.linspace(0.5, 3, 7)
    for module in ("functional_models", "powerlaws", "physical_models"):
        for name, kind in inspect.getmembers(importlib.import_module(f"astropy.modeling.{module}"), inspect.isclass):
            evaluate = inspect.getattr_static(kind, "evaluate", None)
            if kind.__module__ != f"astropy.modeling.{module}" or not isinstance(evaluate, staticmethod):
                continue
            names = list(inspect.signature(kind.evaluate).parameters)
            n_inputs = sum(n in ("x", "y", "z") for n in names)
            x0 = 0.6 + 0.8 * _random("astropy", name).random(len(names) - n_inputs)

            def total(p: Any, f: Any = kind.evaluate, k: int = n_inputs) -> Any:
                return np.sum(f(*[t] * k, *p))

            if x0.size:
                found.append(Program("astropy", name, total, x0))
    return found


def seawater() -> list[Program]:
    """Properties of sea water, at one place in the ocean."""
    typical = {"s": 34.0, "t": 12.0, "p": 1500.0, "pt": 11.0, "pr": 0.5, "lat": 40.0, "delt": 0.5, "cndr": 1.1}
    found = []
    for module in ("seawater.eos80", "seawater.library"):
        for name, function in _public(importlib.import_module(module)):
            names = list(inspect.signature(function).parameters)
            x0 = np.array([typical.get(n, 1.2) for n in names])

            def total(x: Any, f: Any = function) -> Any:
                return np.sum(f(*[x[i : i + 1] for i in range(len(x))]))

            found.append(Program("seawater", name, total, x0))
    return found


def colour() -> list[Program]:
    """Conversions of a colour."""
    module = importlib.import_module("colour")
    found = []
    for name in sorted(dir(module)):
        function = getattr(module, name)
        if inspect.isfunction(function) and "_to_" in name:
            x0 = 0.2 + 0.5 * _random("colour-science", name).random(3)
            found.append(Program("colour-science", name, lambda x, f=function: np.sum(f(x)), x0))
    return found


def scipy_stats() -> list[Program]:
    """Logarithms of densities, by the quantiles and by the shapes, location and scale."""
    stats = importlib.import_module("scipy.stats")
    shapes_of = {a: b for a, b in importlib.import_module("scipy.stats._distr_params").distcont if type(a) is str}
    found = []
    for name in sorted(shapes_of):
        distribution, shapes = getattr(stats, name), np.array(shapes_of[name], float)
        nearby = shapes * (1 + 0.1 * _random("scipy.stats", name).random(shapes.size)) + 0.01
        for parameters in (nearby, shapes):  # some shapes are whole numbers

            def total(p: Any, f: Any = distribution.logpdf, k: int = shapes.size) -> Any:
                return np.sum(f(p[k + 2 :], *p[:k], loc=p[k], scale=p[k + 1]))

            with contextlib.suppress(Exception):
                t = 0.1 + 1.3 * np.asarray(distribution.ppf([0.2, 0.45, 0.7], *parameters))
                program = Program("scipy.stats", name, total, np.concatenate([parameters, [0.1, 1.3], t]))
                if _runs(program):
                    found.append(program)
                    break
    return found


def scipy() -> list[Program]:
    optimize, linalg = importlib.import_module("scipy.optimize"), importlib.import_module("scipy.linalg")
    special, distance = importlib.import_module("scipy.special"), importlib.import_module("scipy.spatial.distance")
    stats, integrate = importlib.import_module("scipy.stats"), importlib.import_module("scipy.integrate")
    other, x0 = np.array([0.35, 0.9, 0.15, 0.6]), np.array([0.5, 0.2, 0.8, 0.4])
    A = np.diag([2.0, 1.5, 1.0, 3.0]) + 0.1
    names = ("cosine", "euclidean", "sqeuclidean", "cityblock", "chebyshev", "canberra", "braycurtis", "correlation")
    functions: dict[str, Callable[[Any], Any]] = {
        "rosen": optimize.rosen,
        "norm": linalg.norm,
        "logsumexp": special.logsumexp,
        "softmax": lambda x: np.sum(special.softmax(x) ** 2),
        "simpson": integrate.simpson,
        "trapezoid": integrate.trapezoid,
        "multivariate_normal.logpdf": lambda x: stats.multivariate_normal.logpdf(x, other, A),
        "multivariate_t.logpdf": lambda x: stats.multivariate_t.logpdf(x, other, A, 3),
        "zscore": lambda x: np.sum(stats.zscore(x) ** 3),
        "gmean": stats.gmean,
        "hmean": stats.hmean,
        "entropy": stats.entropy,
        "skew": stats.skew,
        "kurtosis": stats.kurtosis,
        **{name: lambda x, name=name: getattr(distance, name)(x, other) for name in names},
    }
    return [Program("scipy", name, fun, x0) for name, fun in functions.items()]


PACKAGES: dict[str, Callable[[], list[Program]]] = {
    "opfunu": opfunu,
    "landscapes": lambda: of_vectors("landscapes", "landscapes.single_objective"),
    "optproblems": lambda: of_vectors("optproblems", "optproblems.continuous"),
    "deap": lambda: of_vectors("deap", "deap.benchmarks", lambda result: result[0]),
    "mystic": lambda: of_vectors("mystic", "mystic.models"),
    "niapy": niapy,
    "benchmark_functions": benchmark_functions,
    "uqtestfuns": uqtestfuns,
    "SALib": salib,
    "lmfit": lmfit,
    "astropy": astropy,
    "seawater": seawater,
    "scipy.stats": scipy_stats,
    "scipy": scipy,
    "colour-science": colour,
    "pvlib": lambda: of_numbers("pvlib", *[f"pvlib.{x}" for x in ("atmosphere", "iam", "irradiance", "temperature")]),
    "chemicals": lambda: of_numbers(
        "chemicals", *[f"chemicals.{x}" for x in ("dippr", "heat_capacity", "interface", "vapor_pressure", "volume")]
    ),
    "fluids": lambda: of_numbers("fluids", *[f"fluids.{x}" for x in ("core", "drag", "friction", "geometry")]),
}
