"""Gradient descent on one problem or on many at once: `minimize`, the update rules' settings, and the result.

The function is traced once; the C core then runs the whole optimisation for blocks of instances (csrc/descent.c).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from . import _core
from ._arrays import as_floats, is_integer
from ._compiler.autodiff import value_and_gradient
from ._compiler.compile import Compiled, compile_graph
from ._compiler.graph import Graph, cast
from ._compiler.simplify import Simplifier
from ._compiler.substitute import trace
from ._progress import Progress
from .errors import ShapeError
from .transform import Arguments, Transform, collector_at_rest

# ---- methods


@dataclass(frozen=True)
class Method:
    """Settings of an update rule: the learning rate, then the rule's own numbers in the order that C reads them."""

    learning_rate: Any = 1e-3
    rule: ClassVar[str] = ""

    def settings(self) -> np.ndarray:
        """The numbers after the learning rate."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)[1:]]
        return np.array(values, np.float64)


@dataclass(frozen=True)
class GD(Method):
    """Gradient descent: ``x -= learning_rate * g``.

    Parameters
    ----------
    learning_rate : float or (B,) array_like
        Step size, one for all instances or one each.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.GD(learning_rate=0.25)).x.round(6)
    array([0.])
    """

    rule = "gd"


@dataclass(frozen=True)
class Momentum(Method):
    """Gradient descent with a heavy ball (Polyak 1964): ``u = momentum * u + g; x -= learning_rate * u``.

    Parameters
    ----------
    learning_rate : float or (B,) array_like
        Step size, one for all instances or one each.
    momentum : float
        Share of the last step that is kept, at least 0 and less than 1.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Momentum(0.1, momentum=0.5)).success
    True
    """

    momentum: float = 0.9
    rule = "momentum"

    def __post_init__(self) -> None:
        _check_share("momentum", self.momentum)


@dataclass(frozen=True)
class Adam(Method):
    """Adam (Kingma & Ba 2015, algorithm 1).

    Parameters
    ----------
    learning_rate : float or (B,) array_like
        Step size, one for all instances or one each.
    beta1, beta2 : float
        Decay of the running means of the gradient and of its square, at least 0 and less than 1.
    epsilon : float
        Added to the root of the mean square, not negative.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.minimize(lambda x: np.sum(x**2), [3.0], method=fg.Adam(0.1)).success
    True
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    rule = "adam"

    def __post_init__(self) -> None:
        _check_share("beta1", self.beta1)
        _check_share("beta2", self.beta2)
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon must not be negative, got {self.epsilon}")


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {value}")


METHODS: dict[str, type[Method]] = {kind.rule: kind for kind in (GD, Momentum, Adam)}


# ---- results

CONVERGED, OUT_OF_ITERATIONS, NON_FINITE = range(3)  # fg_outcome
MESSAGES = {
    CONVERGED: "converged: no component of the gradient exceeds gtol",
    OUT_OF_ITERATIONS: "stopped after maxiter iterations",
    NON_FINITE: "stopped where the value or the gradient is not finite; x is the best finite point seen",
}


@dataclass(frozen=True)
class History:
    """What `minimize` recorded: at iterations ``nit``, the values ``fun`` and, when asked for, the points ``x``.

    Attributes
    ----------
    nit : (K,) ndarray of int
        Iteration numbers.
    fun : (K,) or (K, B) ndarray
        Values; NaN after an instance stopped.
    x : (K, n...) or (K, B, n...) ndarray, or None
        Points; NaN after an instance stopped.
    """

    nit: np.ndarray
    fun: np.ndarray
    x: np.ndarray | None

    def __getitem__(self, i: Any) -> History:
        return History(self.nit, self.fun[:, i], None if self.x is None else self.x[:, i])


@dataclass(frozen=True)
class Result:
    """Outcome of `minimize`; for a batch each array has a leading axis of B instances, and ``res[i]`` is one of them.

    Attributes
    ----------
    x : ndarray, like x0 with the batch axis first
        Final points; where the descent became non-finite, the best finite ones of a second run that watches for them.
    fun, jac : ndarray
        Values and gradients at `x`.
    nit, nfev : int or (B,) ndarray
        Iterations, and evaluations of the gradient that they took.
    status : int or (B,) ndarray
        0 converged, 1 out of iterations, 2 non-finite.
    history : History or None
        What `record` asked for.
    """

    x: np.ndarray
    fun: Any
    jac: np.ndarray
    nit: Any
    nfev: Any
    status: Any
    history: History | None = None

    @property
    def is_batch(self) -> bool:
        """Whether there is an axis of instances."""
        return np.ndim(self.status) == 1

    @property
    def success(self) -> Any:
        """Whether the descent converged, for each instance."""
        converged = self.status == CONVERGED
        return converged if self.is_batch else bool(converged)

    @property
    def message(self) -> str:
        """What happened, in words; counted over a batch."""
        if not self.is_batch:
            return MESSAGES[int(self.status)]
        counts = np.bincount(self.status, minlength=len(MESSAGES))
        return "; ".join(f"{n:,} {MESSAGES[code]}" for code, n in enumerate(counts.tolist()) if n)

    @property
    def best(self) -> Result:
        """The instance of least finite value; of a single problem, itself."""
        if not self.is_batch:
            return self
        if not len(self):
            raise ValueError("there is no best of no instances")
        return self[int(np.argmin(np.where(np.isfinite(self.fun), self.fun, np.inf)))]

    def __len__(self) -> int:
        if not self.is_batch:
            raise TypeError("the result of a single problem has no length")
        return len(self.status)

    def __getitem__(self, i: Any) -> Result:
        if not self.is_batch:
            raise TypeError("the result of a single problem has no instances: pass in_axes=0 to minimize a batch")
        history = None if self.history is None else self.history[i]
        return Result(self.x[i], self.fun[i], self.jac[i], self.nit[i], self.nfev[i], self.status[i], history)

    def __repr__(self) -> str:
        if self.is_batch:
            if not len(self):
                return "Result of no instances"
            best = self.best
            return f"Result of {len(self):,} instances: {self.message}\n  best: fun={best.fun!r} at x={best.x!r}"
        return f"Result: {self.message}\n  fun={self.fun!r}, nit={self.nit}\n  x={self.x!r}\n  jac={self.jac!r}"


# ---- the call

LARGEST = 2**62  # iterations


def minimize(
    fun: Callable[..., Any],
    x0: Any,
    args: Sequence[Any] = (),
    method: str | Method = "adam",
    *,
    in_axes: int | Sequence[int | None] | None = None,
    learning_rate: Any = None,
    maxiter: int = 1000,
    gtol: float = 1e-6,
    record: str | int | None = None,
    progress: bool = False,
) -> Result:
    """Minimise a scalar function of NumPy operations by gradient descent, for one problem or many at once.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` written with NumPy for ONE instance, returning a scalar. Or ``fg.value_and_grad(fun)``,
        which remembers what was compiled: for many calls with arguments of the same shapes.
    x0 : array_like
        Where to start: the shape of x, with a batch axis if `in_axes` says so.
    args : sequence, optional
        Further arguments of `fun`: arrays and floats, or settings (integers, strings) that it may branch on.
    method : {"gd", "momentum", "adam"} or an object with its settings, optional
        The update rule, such as ``fg.Adam(learning_rate=0.01, beta1=0.8)``.
    in_axes : None, int or sequence of these, optional
        None for one problem. Else, for each of ``(x0, *args)``, the axis that counts instances, or None for an
        argument that all of them share; 0 alone stands for x0 by its first axis and shared `args`.
    learning_rate : float or (B,) array_like, optional
        Replaces the method's; one for all instances or one each.
    maxiter : int, optional
        Most iterations of an instance.
    gtol : float, optional
        An instance stops when no component of its gradient exceeds this in magnitude; negative never stops it.
    record : None, "fun", "path" or int, optional
        What to keep of every iteration: nothing, values, or values and points; an integer k keeps values and points
        of every k-th iteration. Memory is ``(maxiter // k + 1) * B`` numbers for values, times n more for points.
    progress : bool, optional
        Show a bar of finished instances (tqdm's when it is installed).

    Returns
    -------
    Result
        Points, values, gradients, iterations and status of each instance. A descent that becomes non-finite is a
        status, never an exception, and leaves the other instances alone.

    Raises
    ------
    TraceError
        If `fun` does what cannot be recorded; the message says where and what to write instead.
    ShapeError
        If `fun` is not scalar, or batch axes are empty or differ in length.
    KeyboardInterrupt
        On Ctrl-C, within a tenth of a second or after the operation on arrays that is under way.

    Notes
    -----
    An instance gives the same bits alone, in any batch, and for any number of threads. Computation is in the dtype of
    x0 (float32 stays float32, integers become float64).

    Examples
    --------
    A thousand starts of one problem:

    >>> import numpy as np, fastgrad as fg
    >>> def rosenbrock(x):
    ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> starts = np.random.default_rng(0).uniform(-2, 2, (1000, 2))
    >>> res = fg.minimize(rosenbrock, starts, in_axes=0, learning_rate=0.02, maxiter=20_000)
    >>> bool(res.success.all()), res.best.x.round(3)
    (True, array([1., 1.]))
    """
    rule = _method(method, learning_rate)
    every, keeps_path = _recording(record)
    maxiter = _at_least_zero("maxiter", maxiter)
    gtol = _number("gtol", gtol)
    is_batch = in_axes is not None
    problem = _Problem(fun, x0, args, in_axes)
    rates = _learning_rates(rule.learning_rate, problem.batch, is_batch)
    with Progress(problem.batch, "minimize") if progress else contextlib.nullcontext() as report:
        run = _Run(problem, rule, rates, maxiter, gtol, every, keeps_path)
        x, nit, status, history = run(report)
        value, gradient = problem.evaluate(x)
        status[~np.isfinite(value)] = NON_FINITE  # where the gradient alone was finite
        bad = np.flatnonzero(status == NON_FINITE)
        if len(bad):  # rare: once more, this time looking at every value
            part = problem.subset(bad)
            x[bad] = _Run(part, rule, rates[bad % len(rates)], maxiter, gtol, 0, False)(None, True)[0]
            value[bad], gradient[bad] = part.evaluate(x[bad])
        if report is not None:
            report(problem.batch)
    result = Result(x, value, gradient, nit, nit + 1, status, history)
    return result if is_batch else result[0]


def _method(method: str | Method, learning_rate: Any) -> Method:
    if isinstance(method, str):
        if method not in METHODS:
            raise ValueError(f"method {method!r} is not known: choose one of {', '.join(map(repr, METHODS))}")
        method = METHODS[method]()
    elif not isinstance(method, Method) or method.rule not in _core.updates():
        raise TypeError(f"method must be a name or an object such as fg.Adam(), got {type(method).__name__}")
    return method if learning_rate is None else dataclasses.replace(method, learning_rate=learning_rate)


def _recording(record: str | int | None) -> tuple[int, bool]:
    """Every how many iterations (0: never), and whether points are kept."""
    if record is None:
        return 0, False
    if isinstance(record, str) and record in ("fun", "path"):
        return 1, record == "path"
    if is_integer(record) and 0 < int(record) < LARGEST:
        return int(record), True
    raise ValueError(f"record must be None, 'fun', 'path' or a positive integer, got {record!r}")


def _at_least_zero(name: str, value: Any) -> int:
    if not is_integer(value) or not 0 <= value < LARGEST:
        raise ValueError(f"{name} must be an integer from 0 to 2**62, got {value!r}")
    return int(value)


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return number


def _learning_rates(value: Any, batch: int, is_batch: bool) -> np.ndarray:
    rates = as_floats(value, "learning_rate").astype(np.float64, copy=False)
    if rates.ndim > 1 or (rates.ndim == 1 and (not is_batch or rates.shape != (batch,))):
        wanted = f"one number, or {batch} of them, one an instance" if is_batch else "one number"
        raise ShapeError(f"learning_rate has shape {rates.shape}: give {wanted}")
    if not np.all(rates > 0) or not np.all(np.isfinite(rates)):
        raise ValueError("learning_rate must be positive and finite")
    return np.atleast_1d(rates)


class _Problem:
    """The compiled function and its arrays."""

    def __init__(self, fun: Callable[..., Any], x0: Any, args: Sequence[Any], in_axes: Any) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be a function, got {type(fun).__name__}")
        if not isinstance(args, (tuple, list)):
            raise TypeError("args must be a tuple of the further arguments of fun, such as args=(data,)")
        if in_axes is None:  # a batch of one
            x0, in_axes = as_floats(x0, "x0")[None], 0
        if isinstance(in_axes, (int, np.integer)):
            in_axes = (in_axes,) + (None,) * len(args)
        if len(in_axes) != 1 + len(args) or in_axes[0] is None:
            raise ValueError(
                f"in_axes={in_axes!r} must name a batch axis for x0 and an axis or None for each of the"
                f" {len(args)} args"
            )
        call = Arguments((as_floats(x0, "x0"), *args), {}, (0,), in_axes)
        self.batch = call.batch_shape[0]
        self.arrays, self.is_lane = call.inputs, call.is_lane
        is_prepared = isinstance(fun, Transform) and fun.kind == "value_and_grad" and fun.argnums == (0,)
        prepared: Any = fun if is_prepared else None
        key = ("descent", call.signature)
        compiled: tuple[Compiled, Compiled] | None = prepared.known.get(key) if prepared else None
        if compiled is None:
            source = prepared.fun if prepared else fun
            with collector_at_rest():
                builder = Simplifier()
                graph = trace(source, call.leaves_to_trace(), getattr(fun, "__name__", "fun"), builder)
                both = value_and_gradient(graph, [0])
                value = cast(both.outputs[0], both.inputs[0].dtype)  # data may be float64 where x is float32
                both = dataclasses.replace(both, outputs=(value, both.outputs[1]))
                compiled = self._compiled(both, slice(None)), self._compiled(both, slice(1, None))
                builder.close()
            if prepared:
                prepared.keep(key, compiled)
        self.value_and_gradient, self.gradient = compiled

    def _compiled(self, graph: Graph, wanted: slice) -> Compiled:
        part = Graph(graph.inputs, graph.outputs[wanted], graph.structure, graph.name)
        return compile_graph(part, self.is_lane)

    def subset(self, instances: np.ndarray) -> _Problem:
        """The same problem for some of the instances."""
        part = object.__new__(_Problem)
        part.__dict__.update(self.__dict__)
        part.batch = len(instances)
        part.arrays = [x[instances] if lane else x for x, lane in zip(self.arrays, self.is_lane, strict=True)]
        return part

    def evaluate(self, x: np.ndarray) -> list[np.ndarray]:
        """Values and gradients of all instances at `x`."""
        compiled = self.value_and_gradient
        outputs = [np.empty((self.batch, *shape), dtype) for shape, dtype in compiled.outputs]
        compiled.program.run_batch(self.batch, [x, *self.arrays[1:]], outputs)
        return outputs


class _Run:
    """One descent over a batch."""

    def __init__(
        self,
        problem: _Problem,
        rule: Method,
        rates: np.ndarray,
        maxiter: int,
        gtol: float,
        every: int,
        path: bool,
    ) -> None:
        self.problem, self.rule, self.rates = problem, rule, np.ascontiguousarray(rates)
        self.maxiter, self.gtol, self.every, self.keeps_path = maxiter, gtol, every, path

    def __call__(
        self, report: Callable[[int], None] | None, keep_best: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, History | None]:
        problem, every = self.problem, self.every
        x0 = problem.arrays[0]
        x = np.empty_like(x0)
        n_records = self.maxiter // every + 1 if every else 0
        fun = np.full((n_records, problem.batch), np.nan, x0.dtype) if every else None
        path = np.full((n_records, *x0.shape), np.nan, x0.dtype) if self.keeps_path else None
        needs_value = keep_best or every
        compiled = problem.value_and_gradient if needs_value else problem.gradient
        number, _ = _core.updates()[self.rule.rule]
        nit, status = compiled.program.descend(
            number, problem.batch, self.maxiter, self.gtol, self.rates, self.rule.settings(), problem.arrays, x, every,
            fun, path, keep_best, report,
        )  # fmt: skip
        if fun is None:
            return x, nit, status, None
        n_used = int(nit.max()) // every + 1
        numbers = np.arange(n_used) * every
        return x, nit, status, History(numbers, fun[:n_used], None if path is None else path[:n_used])
