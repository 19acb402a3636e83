"""What a descent works on: a function, its starts as one vector an instance, its data, bounds, and its programs.

The start may be nested and of any shape; from here on it is a vector. The function is traced once, and what a method
needs of it (value and gradient, or the residuals' Gauss-Newton matrix) is derived from that graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import as_floats, is_integer
from ._compiler import tree
from ._compiler.compile import Compiled, compile_graph
from ._compiler.graph import Builder, Graph, inline, reshape, slice_axis
from ._compiler.simplify import Simplifier
from ._compiler.substitute import trace
from .errors import ShapeError
from .transform import Arguments, Transform, collector_at_rest

Objective = Callable[[Graph], Graph]
"""From the graph of a function of a vector and data to what a method reads: the value first, then the gradient."""


class Problem:
    """A function with the starts of a batch of instances (of one, where there is no batch) and their data.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` for one instance; or a transform of `kind`, which remembers what is compiled.
    x0 : array_like or nested
        Starts, one vector an instance after `vectors`.
    args : sequence
        Further arguments.
    in_axes : None, int or sequence
        As `fastgrad.minimize` takes it.
    objective : callable
        What to derive from the graph of `fun`.
    bounds, fixed : optional
        As `fastgrad.minimize` takes them.
    memory : Transform, optional
        What remembers the programs, where `fun` does not.
    start : str, optional
        What the caller names `x0`.

    Attributes
    ----------
    bounds : list of ndarray
        Lower and upper bounds, both ``(n,)`` or both ``(B, n)``; empty where there are none.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        x0: Any,
        args: Sequence[Any],
        in_axes: Any,
        objective: Objective,
        bounds: Any = None,
        fixed: Any = None,
        memory: Transform | None = None,
        start: str = "x0",
    ) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be a function, got {type(fun).__name__}")
        if not isinstance(args, (tuple, list)):
            raise TypeError("args must be a tuple of the further arguments of fun, such as args=(data,)")
        self.is_batch = in_axes is not None
        leaves, self.structure = flatten(x0)
        names = tree.paths(self.structure, start)
        if not leaves:
            raise TypeError(f"{start}={x0!r} holds no array\n  cure: put at least one into it")
        starts = [as_floats(leaf, name) for leaf, name in zip(leaves, names, strict=True)]
        self.dtype = np.result_type(*starts)
        starts = [x.astype(self.dtype, copy=False) for x in starts]
        if in_axes is None:  # a batch of one
            starts, in_axes = [x[None] for x in starts], 0
        in_axes = _axes(in_axes, len(args))
        call = Arguments((tree.unflatten(self.structure, starts), *args), {}, (0,), in_axes)
        self._call, self._objective = call, objective
        self.batch = call.batch_shape[0]
        n_leaves = self.structure.n_leaves
        starts, self.data = call.inputs[:n_leaves], call.inputs[n_leaves:]
        self._lanes = call.is_lane[n_leaves:]
        if in_axes[0] is None:  # one start for all
            starts = [np.broadcast_to(x, (self.batch, *x.shape)) for x in starts]
        self._shapes = [x.shape[1:] for x in starts]
        vectors = [x.reshape(self.batch, math.prod(x.shape[1:])) for x in starts]
        self.x0 = np.ascontiguousarray(vectors[0] if len(vectors) == 1 else np.concatenate(vectors, axis=1))
        is_prepared = isinstance(fun, Transform) and fun.kind == "value_and_grad" and fun.argnums == (0,)
        self._fun: Any = fun.fun if is_prepared else fun  # type: ignore[attr-defined]
        self._known: Any = fun if is_prepared else memory
        self.start = start
        self.bounds = [] if bounds is None and fixed is None else _box(self, bounds, fixed)

    @property
    def has_own_bounds(self) -> bool:
        """Whether each instance has bounds of its own."""
        return bool(self.bounds) and self.bounds[0].ndim == 2

    @property
    def size(self) -> int:
        """Components of the vector."""
        return self.x0.shape[1]

    def nested(self, vectors: np.ndarray) -> Any:
        """Vectors, which the last axis runs through, as the caller nests them."""
        lead, parts, start = vectors.shape[:-1], [], 0
        for shape in self._shapes:
            end = start + math.prod(shape)
            parts.append(vectors[..., start:end].reshape(lead + shape))
            start = end
        return tree.unflatten(self.structure, parts)

    def vectors(self, value: Any, name: str, is_mask: bool = False) -> np.ndarray:
        """A number or boolean for all components, or one each: ``(n,)``, or ``(B, n)`` for each instance its own."""
        leaves, names = leaves_like(self.structure, value, name, self.start)
        arrays = list(map(_as_mask if is_mask else as_floats, leaves, names))
        is_own = any(x.ndim > len(shape) for x, shape in zip(arrays, self._shapes, strict=True))
        lead = (self.batch,) if is_own and self.is_batch else ()
        parts = []
        for x, shape, its_name in zip(arrays, self._shapes, names, strict=True):
            try:
                parts.append(np.broadcast_to(x, lead + shape).reshape(*lead, math.prod(shape)))
            except ValueError:
                wanted = f"{shape} or {(self.batch, *shape)}" if self.is_batch else f"{shape}"
                raise ShapeError(
                    f"{its_name} has shape {x.shape}: give one number, or an array of shape {wanted}"
                ) from None
        return np.concatenate(parts, axis=-1, dtype=bool if is_mask else self.dtype)

    def compiled(self, builds: Mapping[Any, Callable[[Graph], Graph]], lanes: Sequence[bool] = ()) -> list[Compiled]:
        """The programs of graphs that are built from the objective's; each is known by its key and the kinds of the
        arguments. The function is traced when one of them is not known yet, once for all.

        The inputs of the objective are the vector and the data. Inputs that a builder puts before the data differ by
        instance as `lanes` says, or are the vector's.
        """
        kind = ("descent", self._objective, self._call.signature)
        keys = [(*kind, key) for key in builds]
        known: dict[Any, Compiled] = self._known.known if self._known else {}
        if all(key in known for key in keys):
            return [known[key] for key in keys]
        with collector_at_rest():
            builder = Simplifier()
            objective = self._objective(self._of_vector(builder))
            is_lane = [*(lanes or [True]), *self._lanes]
            found = [compile_graph(build(objective), is_lane) for build in builds.values()]
            builder.close()
            del objective
        if self._known:
            for key, compiled in zip(keys, found, strict=True):
                self._known.keep(key, compiled)
        return found

    def _of_vector(self, builder: Builder) -> Graph:
        name = getattr(self._fun, "__name__", "fun")
        graph = trace(self._fun, self._call.leaves_to_trace(), name, builder)
        data = graph.inputs[len(self._shapes) :]
        if self._shapes == [(self.size,)]:
            return graph
        x = builder.input((self.size,), self.dtype)
        parts, start = [], 0
        for shape in self._shapes:
            size = math.prod(shape)
            parts.append(reshape(slice_axis(x, 0, start, size), shape))
            start += size
        return Graph((x, *data), tuple(inline(graph, [*parts, *data])), graph.structure, graph.name)

    def subset(self, instances: np.ndarray) -> Problem:
        """The same problem for some of the instances."""
        part = object.__new__(Problem)
        part.__dict__.update(self.__dict__)
        part.batch = len(instances)
        part.x0 = self.x0[instances]
        part.bounds = [x[instances] for x in self.bounds] if self.has_own_bounds else self.bounds
        part.data = [x[instances] if lane else x for x, lane in zip(self.data, self._lanes, strict=True)]
        return part

    def evaluate(self, compiled: Compiled, x: np.ndarray) -> list[np.ndarray]:
        """Results of a program of the vector and the data, for all instances."""
        outputs = [np.empty((self.batch, *shape), dtype) for shape, dtype in compiled.outputs]
        if self.batch == 1:
            compiled.program.run([x, *self.data], outputs)
        else:
            compiled.program.run_batch(self.batch, [x, *self.data], outputs)
        return outputs


def flatten(value: Any) -> tuple[list[Any], tree.Structure]:
    """As `tree.flatten`, but lists of numbers are arrays."""
    leaves, structure = tree.flatten(value)
    is_list = isinstance(value, (list, tuple)) and not any(isinstance(x, dict) for x in value)
    return ([value], tree.LEAF) if is_list and all(np.ndim(leaf) == 0 for leaf in leaves) else (leaves, structure)


def leaves_like(structure: tree.Structure, value: Any, name: str, start: str = "x0") -> tuple[list[Any], list[str]]:
    """What `value` has in the places of the leaves, be they lists, and their names; one array serves all of them."""
    leaves = _leaves_in(structure, value)
    if leaves is not None:
        return leaves, tree.paths(structure, name)
    if flatten(value)[1] == tree.LEAF and not isinstance(value, dict):
        return [value] * structure.n_leaves, [name] * structure.n_leaves
    raise TypeError(f"{name} must be one array, or nested like {start}: {', '.join(tree.paths(structure, start))}")


def _leaves_in(structure: tree.Structure, value: Any) -> list[Any] | None:
    if structure.kind is None:
        return None if isinstance(value, dict) else [value]
    if structure.kind is dict:
        if not isinstance(value, dict) or value.keys() != set(structure.keys):
            return None
        items = [value[key] for key in structure.keys]
    elif isinstance(value, (list, tuple)) and len(value) == len(structure.children):
        items = list(value)
    else:
        return None
    leaves: list[Any] = []
    for child, item in zip(structure.children, items, strict=True):
        part = _leaves_in(child, item)
        if part is None:
            return None
        leaves += part
    return leaves


def _axes(in_axes: Any, n_args: int) -> tuple[int | None, ...]:
    """The axis of x0 and of each argument."""
    axes = (in_axes,) + (None,) * n_args if is_integer(in_axes) else in_axes
    if (
        not isinstance(axes, (tuple, list))
        or len(axes) != 1 + n_args
        or not all(axis is None or is_integer(axis) for axis in axes)
    ):
        raise ValueError(
            f"in_axes={in_axes!r} must name, for x0 and each of the {n_args} args, the axis that counts instances,"
            " or None; what is nested has one for all its arrays"
        )
    if all(axis is None for axis in axes):
        raise ValueError(f"in_axes={in_axes!r} names no batch axis\n  cure: in_axes=None for one problem")
    return tuple(axes)


def _as_mask(value: Any, name: str) -> np.ndarray:
    as_floats(value, name)  # which refuses what makes no plain array
    mask = np.asarray(value)
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} must hold booleans, got dtype {mask.dtype}: True where a component stays as in x0")
    return mask


# ---- bounds


@dataclass(frozen=True)
class Bounds:
    """Least and greatest values of the variables, for `fastgrad.minimize` and its kin.

    Parameters
    ----------
    lb, ub : float, array_like, or nested like x0
        One number for all components, one each, or ``(B, ...)`` for each instance its own; -inf and inf where there is
        no bound.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> box = fg.Bounds(lb=[0.5, -np.inf])
    >>> fg.minimize(lambda x: np.sum(x**2), [2.0, 2.0], method="lbfgs", bounds=box).x
    array([0.5, 0. ])
    """

    lb: Any = -math.inf
    ub: Any = math.inf


def _box(problem: Problem, bounds: Any, fixed: Any) -> list[np.ndarray]:
    """Lower and upper bounds as vectors, with fixed components between equal ones."""
    if bounds is None:
        lower, upper = problem.vectors(-math.inf, "bounds.lb"), problem.vectors(math.inf, "bounds.ub")
    elif hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        lower, upper = problem.vectors(bounds.lb, "bounds.lb"), problem.vectors(bounds.ub, "bounds.ub")
    else:
        lower, upper = _from_pairs(problem, bounds)
    if not np.all(lower <= upper):
        raise ValueError("bounds have a lower bound above the upper one, or NaN: give lower <= upper")
    outside = np.flatnonzero(np.any((problem.x0 < lower) | (problem.x0 > upper), axis=1))
    if len(outside):
        which = f" of {len(outside):,} instances, the first of them number {outside[0]}," if problem.is_batch else ""
        raise ValueError(
            f"{problem.start}{which} lies outside the bounds\n  cure: np.clip({problem.start}, lower, upper)"
        )
    if fixed is not None:
        mask = problem.vectors(fixed, "fixed", is_mask=True)
        start = problem.x0 if problem.is_batch else problem.x0[0]
        lower, upper = np.where(mask, start, lower), np.where(mask, start, upper)
    shape = np.broadcast_shapes(lower.shape, upper.shape)
    return [np.ascontiguousarray(np.broadcast_to(x, shape)) for x in (lower, upper)]


def _from_pairs(problem: Problem, bounds: Any) -> tuple[np.ndarray, np.ndarray]:
    """As SciPy: a pair (least, greatest) for each component, None where there is no bound."""
    if problem.structure != tree.LEAF:
        raise TypeError("bounds for a nested x0 must be fg.Bounds(lb, ub), each one number or nested like x0")
    try:
        pairs = [(-math.inf if low is None else low, math.inf if high is None else high) for low, high in bounds]
    except (TypeError, ValueError):
        raise TypeError(
            "bounds must be fg.Bounds(lb, ub), or a pair (least, greatest) for each component of x"
        ) from None
    if len(pairs) != problem.size:
        cure = "\n  cure: fg.Bounds(lb, ub) with arrays (B, ...) for each instance its own" if problem.is_batch else ""
        raise ShapeError(f"bounds has {len(pairs)} pairs, but x has {problem.size} components{cure}")
    both = as_floats(pairs, "bounds").astype(problem.dtype, copy=False).reshape(-1, 2)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])
