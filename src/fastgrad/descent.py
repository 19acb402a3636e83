"""Descent on one problem or on many at once: `minimize`.

The function is traced once; the C core then runs the whole optimisation for blocks of instances. An update rule
(methods.py) has kernels of its own (csrc/descent.c); a search (_searches.py, _levenberg.py), written in NumPy, becomes
one program with the function, which is repeated (csrc/iterate.c).
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._arrays import is_integer
from ._compiler.autodiff import value_and_gradient
from ._compiler.graph import Graph, cast
from ._levenberg import LM
from ._progress import Progress
from ._runs import LARGEST, Outcome, RuleRun, SearchRun, Settings
from ._searches import LBFGS, Backtracking
from ._statuses import RUNNING, STOPPED
from .methods import METHODS as RULES
from .methods import Method
from .problem import Problem
from .results import Result, make_history

METHODS: dict[str, Callable[[], Any]] = {**RULES, "lbfgs": LBFGS, "backtracking": Backtracking}
SEARCH_FTOL = 2.220446049250313e-9  # as SciPy's L-BFGS-B


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Sequence[Any] = (),
    method: Any = "adam",
    *,
    in_axes: int | Sequence[int | None] | None = None,
    learning_rate: Any = None,
    bounds: Any = None,
    fixed: Any = None,
    maximize: bool = False,
    maxiter: int = 1000,
    maxfev: int | None = None,
    gtol: float = 1e-6,
    ftol: float | None = None,
    xtol: float | None = None,
    record: str | int | None = None,
    progress: bool = False,
    callback: Callable[..., Any] | None = None,
) -> Result:
    """Minimise a scalar function of NumPy operations by descent, for one problem or many at once.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` written with NumPy for ONE instance, returning a scalar. Or ``fg.value_and_grad(fun)``,
        which remembers what was compiled: for many calls with arguments of the same shapes.
    x0 : array_like, or nested dicts, lists and tuples of them
        Where to start: like x, with a batch axis if `in_axes` says so.
    args : sequence, optional
        Further arguments of `fun`: arrays and floats, also nested, or settings (integers, strings) that it may branch
        on.
    method : str or an object with its settings, optional
        An update rule, such as ``"adam"`` or ``fg.Adam(learning_rate=0.01, beta1=0.8)``: gd, momentum, nesterov,
        adagrad, rmsprop, adam, amsgrad, adamw, nadam, lion, rprop. Or a search, which finds its step lengths itself:
        lbfgs (`fg.LBFGS`), backtracking (`fg.Backtracking`).
    in_axes : None, int or sequence of these, optional
        None for one problem. Else, for each of ``(x0, *args)``, the axis that counts instances, or None for an
        argument that all of them share; 0 alone stands for x0 by its first axis and shared `args`.
    learning_rate : float, (B,) array_like or schedule, optional
        Replaces the method's; one for all instances or one each, or a function of the iteration (`fg.schedules`).
    bounds : fg.Bounds, scipy.optimize.Bounds or sequence of pairs, optional
        Least and greatest values, shared or each instance its own, nested like `x0`; never is the function evaluated
        outside.
    fixed : array_like of bool, optional
        Components that stay as they are in `x0`; nested like it, or one mask for each instance.
    maximize : bool, optional
        Ascend instead; values and gradients in the result are those of `fun`.
    maxiter, maxfev : int, optional
        Most iterations and most evaluations of an instance.
    gtol : float, optional
        An instance stops when no component of its gradient (within bounds, of the projected gradient) exceeds this in
        magnitude; negative never stops it, but for a search whose gradient is zero.
    ftol : float, optional
        It stops when an iteration changes the value by no more than ``ftol * max(|f|, |f_before|, 1)``. By default off
        for update rules, 2.2e-9 for searches.
    xtol : float, optional
        It stops when an iteration's step is no longer than ``xtol * (xtol + |x|)``. By default off.
    record : None, "fun", "path" or int, optional
        What to keep of every iteration: nothing; values, gradient norms and step lengths; these and the points; an
        integer k keeps all of it every k-th iteration. Memory is ``3 * (maxiter // k + 1) * B`` numbers, and n / 3
        times that for points; more than half of the machine's is refused.
    progress : bool, optional
        Show a bar of finished instances (tqdm's when it is installed).
    callback : callable, optional
        ``callback(intermediate_result)`` is called after each iteration with a `Result` whose status is -1 where the
        descent goes on; a function whose parameter has another name gets x, as in SciPy. Raising StopIteration ends
        the descent (status 7). A batch then advances together: a rule by an iteration, a search by an evaluation, and
        the callback is called when one of its instances has finished an iteration.

    Returns
    -------
    Result
        Points, values, gradients, iterations and status of each instance. A descent that fails is a status, never an
        exception, and leaves the other instances alone.

    Raises
    ------
    TraceError
        If `fun` does what cannot be recorded; the message says where and what to write instead.
    ShapeError
        If `fun` is not scalar, or batch axes are empty or differ in length.
    ValueError
        If `x0` lies outside the bounds, or a setting is out of range.
    MemoryError
        If the history would not fit.
    KeyboardInterrupt
        On Ctrl-C, within a tenth of a second or after the operation on arrays that is under way.

    Notes
    -----
    An instance gives the same bits alone, in any batch, and for any number of threads. Computation is in the dtype of
    x0: float32 where all of it is float32, else float64. Bounds are rounded to it.

    Examples
    --------
    A thousand starts of one problem:

    >>> import numpy as np, fastgrad as fg
    >>> def rosenbrock(x):
    ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> starts = np.random.default_rng(0).uniform(-2, 2, (1000, 2))
    >>> res = fg.minimize(rosenbrock, starts, in_axes=0, method="lbfgs")
    >>> bool(res.success.all()), res.best.x.round(3)
    (True, array([1., 1.]))
    """
    method = method_of(method, learning_rate)
    is_search = not isinstance(method, Method)
    every, keeps_path = recording(record)
    settings = Settings(
        at_least("maxiter", maxiter, 0),
        math.inf if maxfev is None else at_least("maxfev", maxfev, 1),
        number("gtol", gtol),
        (SEARCH_FTOL if is_search else -1.0) if ftol is None else number("ftol", ftol),
        -1.0 if xtol is None else number("xtol", xtol),
        every,
        keeps_path,
    )
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be a function, got {type(callback).__name__}")
    problem = Problem(fun, x0, args, in_axes, maximized if maximize else minimized, bounds, fixed)
    return descend(problem, method, settings, maximize, progress, callback)[0]


def minimized(graph: Graph) -> Graph:
    """Value and gradient of a scalar function of a vector."""
    both = value_and_gradient(graph, [0])
    value = cast(both.outputs[0], both.inputs[0].dtype)  # data may be float64 where x is float32
    return dataclasses.replace(both, outputs=(value, both.outputs[1]))


def maximized(graph: Graph) -> Graph:
    """Those of the negative function."""
    return minimized(dataclasses.replace(graph, outputs=(-graph.outputs[0],)))


def descend(
    problem: Problem,
    method: Any,
    settings: Settings,
    maximize: bool = False,
    progress: bool = False,
    callback: Callable[..., Any] | None = None,
) -> tuple[Result, dict[str, np.ndarray]]:
    """Run a method on a problem; the result, and what else the method gives, for all instances."""
    run = (RuleRun if isinstance(method, Method) else SearchRun)(problem, method, settings)
    with Progress(problem.batch, "minimize") if progress else contextlib.nullcontext() as report:
        if callback is None:
            outcome = run(report)
        else:
            looks_on = _observer(callback)
            for outcome in run.by_iterations():
                if report is not None:
                    report(int(np.count_nonzero(outcome.status != RUNNING)))
                if not looks_on(_result(problem, outcome, None, maximize)):
                    stopped = np.where(outcome.status == RUNNING, STOPPED, outcome.status)
                    outcome = outcome._replace(status=stopped)
                    break
        if report is not None:
            report(problem.batch)
    history = make_history(outcome.nit, settings.every, run.recorded, problem.nested) if settings.every else None
    return _result(problem, outcome, history, maximize), outcome.own


def _result(problem: Problem, outcome: Outcome, history: Any, maximize: bool) -> Result:
    sign = -1 if maximize else 1
    if history is not None and maximize:
        history = dataclasses.replace(history, fun=-history.fun)
    arrays: Any = outcome[: Outcome._fields.index("occupancy")]
    if not problem.is_batch:
        arrays = [array[0] for array in arrays]
        history = None if history is None else history[0]
    x, fun, jac, nit, nfev, status = arrays
    x, fun, jac = problem.nested(x), sign * fun, problem.nested(sign * jac)
    return Result(x, fun, jac, nit, nfev, status, history, outcome.occupancy, maximize)


def _observer(callback: Callable[..., Any]) -> Callable[[Result], bool]:
    """Calls the callback as its parameter wants it; whether the descent goes on."""
    try:
        wants_result = "intermediate_result" in inspect.signature(callback).parameters
    except ValueError:  # of some functions in C nobody knows the parameters
        wants_result = False

    def looks_on(result: Result) -> bool:
        try:
            if wants_result:
                callback(intermediate_result=result)
            else:
                callback(result.x)
        except StopIteration:
            return False
        return True

    return looks_on


# ---- arguments


def method_of(method: Any, learning_rate: Any, name: str = "method") -> Any:
    """The method that a name or an object stands for, with a learning rate given apart; `name` is the argument's."""
    if isinstance(method, str):
        if method not in METHODS and method != "lm":
            raise ValueError(f"{name} {method!r} is not known: choose one of {', '.join(map(repr, METHODS))}")
        method = LM() if method == "lm" else METHODS[method]()
    if isinstance(method, LM):
        raise ValueError(
            f"{name} 'lm' needs residuals, not their sum of squares\n  cure: fg.least_squares(residuals, x0)"
        )
    if isinstance(method, type) or not (isinstance(method, Method) or hasattr(method, "advance")):
        got = f"the class {method.__name__}" if isinstance(method, type) else type(method).__name__
        raise TypeError(f"{name} must be a name or an object such as fg.Adam(), got {got}")
    if learning_rate is None:
        return method
    if not hasattr(method, "learning_rate"):
        raise TypeError(f"learning_rate is not for {type(method).__name__}, which finds its step lengths itself")
    if not isinstance(method, Method):
        learning_rate = number("learning_rate", learning_rate)
    return dataclasses.replace(method, learning_rate=learning_rate)


def recording(record: str | int | None) -> tuple[int, bool]:
    """Every how many iterations (0: never), and whether points are kept."""
    if record is None:
        return 0, False
    if isinstance(record, str) and record in ("fun", "path"):
        return 1, record == "path"
    if is_integer(record) and 0 < int(record) < LARGEST:
        return int(record), True
    raise ValueError(f"record must be None, 'fun', 'path' or a positive integer, got {record!r}")


def at_least(name: str, value: Any, least: int) -> int:
    """A count, checked."""
    if not is_integer(value) or not least <= value < LARGEST:
        raise ValueError(f"{name} must be an integer from {least} to 2**53, got {value!r}")
    return int(value)


def number(name: str, value: Any) -> float:
    """A float, checked."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if math.isnan(found):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return found
