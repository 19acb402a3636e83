"""Transforms of NumPy functions: gradients and batches, compiled on first use and remembered by signature.

`grad`, `value_and_grad` and `vmap` return a `Transform`. Its arguments become a signature (shapes, dtypes, and the
values of what is not an array); for a new signature the function is traced, differentiated, simplified and compiled;
for a known one the program runs. Called while another function is being traced, a transform adds its nodes there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import _core
from ._arrays import as_floats, is_integer, is_number_array
from ._compiler import tree
from ._compiler.autodiff import value_and_gradient
from ._compiler.compile import Compiled, compile_graph
from ._compiler.graph import Graph, Node, inline
from ._compiler.simplify import simplify
from ._compiler.trace import Input, Traced, enclosing_builder, trace
from .errors import LeakError, ShapeError

MOST_SIGNATURES = 256  # remembered by one transform

Derive = Callable[[Graph, Sequence[Sequence[int]]], Graph]
"""From a graph, and the numbers of the inputs that belong to each differentiated argument, to the wanted graph."""


def grad(fun: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Transform:
    """Gradient of a scalar function, exact to rounding, by reverse-mode differentiation.

    Parameters
    ----------
    fun : callable
        ``fun(*args)`` written with NumPy, returning a scalar.
    argnums : int or sequence of int, optional
        Which positional arguments to differentiate by. Each may be an array or nested dicts, lists and tuples of
        arrays.

    Returns
    -------
    callable
        ``gradient(*args)``, with the structure, shapes and dtypes of ``args[argnums]``; a tuple of such when
        `argnums` is a sequence.

    Raises
    ------
    TraceError
        When called, if `fun` does what cannot be recorded; the message says where and what to write instead.
    ShapeError
        When called, if the value of `fun` is not a scalar.

    Notes
    -----
    Closures and globals are captured as they are when a signature is first met. Reverse accumulation follows
    Griewank & Walther, *Evaluating Derivatives* (2008), chapter 3.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return Transform(fun, "grad", _gradient_graph, argnums)


def value_and_grad(fun: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Transform:
    """Value and gradient of a scalar function in one pass.

    Parameters
    ----------
    fun, argnums
        As for `grad`.

    Returns
    -------
    callable
        ``value_and_gradient(*args)``, a tuple of the value and what `grad` gives.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> value, gradient = fg.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    >>> float(value), gradient
    (5.0, array([2., 4.]))
    """
    return Transform(
        fun,
        "value_and_grad",
        lambda graph, wrt: value_and_gradient(graph, [n for numbers in wrt for n in numbers]),
        argnums,
    )


def vmap(fun: Callable[..., Any], in_axes: int | Sequence[int | None] | None = 0) -> Transform:
    """`fun` for every instance of a batch at once, in compiled code.

    Parameters
    ----------
    fun : callable
        A function of one instance, or another transform: ``vmap(value_and_grad(f))``.
    in_axes : int, None or sequence of these, optional
        For each positional argument the axis that counts instances, or None for an argument that all of them share.
        Keyword arguments are shared.

    Returns
    -------
    callable
        Takes the arguments of `fun` with their batch axes and returns its results with a leading batch axis.

    Raises
    ------
    ShapeError
        When called with batches of unequal length or an empty one.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.vmap(fg.grad(lambda x: np.sum(x**3)))(np.array([[1.0, 2.0], [3.0, 4.0]]))
    array([[ 3., 12.],
           [27., 48.]])
    """
    return Transform(fun, "vmap", lambda graph, wrt: graph, (), in_axes)


def _gradient_graph(graph: Graph, wrt: Sequence[Sequence[int]]) -> Graph:
    both = value_and_gradient(graph, [n for numbers in wrt for n in numbers])
    return Graph(both.inputs, both.outputs[1:], both.structure, both.name)


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """While a graph grows: the collector would look through all of it again and again, and find nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Transform(_core.Function):
    """A callable made of a function and what to do with its graph."""

    def __init__(
        self,
        fun: Callable[..., Any],
        kind: str,
        derive: Derive,
        argnums: int | Sequence[int],
        in_axes: int | Sequence[int | None] | None = None,
    ) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be a function, got {type(fun).__name__}")
        functools.update_wrapper(self, fun, updated=())
        self.fun = fun
        self.kind = kind
        self._derive = derive
        self._is_one = is_integer(argnums)
        numbers = (argnums,) if self._is_one else tuple(argnums)  # type: ignore[arg-type]
        if not all(map(is_integer, numbers)):
            raise TypeError(f"argnums must be an integer or several, got {argnums!r}")
        self.argnums: tuple[int, ...] = tuple(map(int, numbers))  # type: ignore[arg-type]
        self._in_axes = in_axes
        self.known: dict[Any, Any] = {}  # what was compiled, by signature

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)  # decorated methods

    def __repr__(self) -> str:
        return f"<fastgrad.{self.kind} of {getattr(self.fun, '__qualname__', self.fun)}>"

    def __reduce__(self) -> Any:
        return _rebuild, (
            self.kind,
            self.fun,
            self.argnums[0] if self._is_one else self.argnums,
            self._in_axes,
        )

    def keep(self, signature: Any, compiled: Any) -> None:
        """Remember what was compiled for a signature; the oldest goes when there are too many."""
        if len(self.known) >= MOST_SIGNATURES:
            self.known.pop(next(iter(self.known)), None)
        self.known[signature] = compiled

    def slow(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Serve any arguments: compile for a new signature, then run."""
        call = Arguments(args, kwargs, self.argnums, self._in_axes)
        if call.builder is not None:
            return self._inlined(call)
        runner = self.known.get(call.signature)
        if runner is None:
            try:
                runner = self._compile(call)
            except LeakError:  # none of the arguments is traced, but fun refers to arrays of a trace under way
                call.builder = enclosing_builder()
                if call.builder is None:
                    raise
                return self._inlined(call)
            self.keep(call.signature, runner)
        self.remember(runner)
        outputs = [np.empty(call.batch_shape + shape, dtype) for shape, dtype in runner.results]
        if call.batch_shape:
            runner.program.run_batch(call.batch_shape[0], call.inputs, outputs)
        else:
            runner.program.run(call.inputs, outputs)
            outputs = [x[()] for x in outputs]
        return outputs[0] if runner.assemble is None else runner.assemble(outputs)

    def _graph(self, call: Arguments) -> Graph:
        graph = trace(call.applied(self.fun), call.leaves_to_trace(), name=getattr(self.fun, "__name__", "fun"))
        if self.kind != "vmap":  # before the derivative and after it; a batch goes the way of one instance, to the bit
            graph = self._derive(simplify(graph, fuse=False), call.wrt)
        return simplify(graph)

    def _compile(self, call: Arguments) -> _core.Runner:
        with collector_at_rest():
            graph = self._graph(call)
            compiled = compile_graph(graph, call.is_lane)
        return make_runner(compiled, call, self._assembly(call, graph))

    def _assembly(self, call: Arguments, graph: Graph) -> tree.Structure:
        """How the outputs of the graph are nested in the result."""
        if self.kind == "vmap":
            return graph.structure
        gradients = [call.structures[n] for n in self.argnums]
        gradient = gradients[0] if self._is_one else tree.structure_of(tuple, gradients)
        return gradient if self.kind == "grad" else tree.structure_of(tuple, [tree.LEAF, gradient])

    def _inlined(self, call: Arguments) -> Any:
        """The transform as part of an enclosing trace."""
        if self.kind == "vmap":
            return self._unrolled(call)
        graph = trace(
            call.applied(self.fun), call.leaves_to_trace(), getattr(self.fun, "__name__", "fun"), call.builder
        )
        # simplified before it is differentiated, as alone; what fun refers to of the enclosing trace counts as input
        outer = tuple(x for x in graph.nodes if x.op == "input" and x not in graph.inputs)
        graph = simplify(dataclasses.replace(graph, inputs=graph.inputs + outer), fuse=False)
        outputs = inline(self._derive(graph, call.wrt), [*call.nodes(), *outer])
        return tree.unflatten(self._assembly(call, graph), [Traced(x) for x in outputs])

    def _unrolled(self, call: Arguments) -> Any:
        results = [tree.flatten(call.applied(self.fun)(*row)) for row in call.rows()]
        stacked = [np.stack(column) for column in zip(*[leaves for leaves, _ in results], strict=True)]
        return tree.unflatten(results[0][1], stacked)


def _rebuild(kind: str, fun: Callable[..., Any], argnums: Any, in_axes: Any) -> Transform:
    makers = {"grad": grad, "value_and_grad": value_and_grad}
    return makers[kind](fun, argnums) if kind in makers else vmap(fun, in_axes)


def make_runner(compiled: Compiled, call: Arguments, structure: tree.Structure) -> _core.Runner:
    """What runs a compiled program for arguments like those of `call`."""
    is_pair = structure == tree.structure_of(tuple, [tree.LEAF, tree.LEAF])
    assemble = None if structure == tree.LEAF else functools.partial(tree.unflatten, structure)
    statics = call.statics if call.is_flat else None
    return _core.Runner(
        compiled.program, compiled.inputs, compiled.outputs, compiled.is_lane, statics, assemble, is_pair
    )


class Arguments:
    """The arguments of one call, sorted into arrays (inputs of the program) and settings (part of the signature).

    Arrays, floats and whatever has ``__array__`` are inputs; integers, strings and other objects are settings that a
    function may branch on, unless they are differentiated by.
    """

    def __init__(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        argnums: Sequence[int] = (),
        in_axes: int | Sequence[int | None] | None = None,
    ) -> None:
        self.n_args = len(args)
        self.names = sorted(kwargs)
        everything = [*args, *[kwargs[name] for name in self.names]]
        axes = _axes(in_axes, len(args)) + [None] * len(kwargs)
        for n in argnums:
            if not -len(args) <= n < len(args):
                raise ValueError(f"argnums names argument {n}, but the call has {len(args)} positional arguments")
        chosen = {n % len(args) for n in argnums}
        self.structures: list[tree.Structure] = []
        self.leaves: list[Any] = []  # arrays, traced arrays and settings, in order
        self.is_input: list[bool] = []
        self.is_lane: list[bool] = []  # of the inputs
        self.is_truth: list[bool] = []  # booleans, which keep NumPy's rules for them
        self.wrt: list[tuple[int, ...]] = []
        self.builder: Any = None
        numbers: dict[int, tuple[int, ...]] = {}
        lengths: dict[str, int] = {}
        for n, (value, axis) in enumerate(zip(everything, axes, strict=True)):
            leaves, structure = tree.flatten(value)
            self.structures.append(structure)
            base = f"argument {n}" if n < len(args) else f"argument {self.names[n - len(args)]!r}"
            first = len(self.is_lane)
            for leaf, path in zip(leaves, tree.paths(structure), strict=True):
                self._add(leaf, base + path, axis, n in chosen, lengths)
            numbers[n] = tuple(range(first, len(self.is_lane)))
        self.wrt = [numbers[n % len(args)] for n in argnums]
        self.batch_shape = _batch_shape(lengths, in_axes)
        # arguments that the compiled side can check and pass on by itself
        self.is_flat = not kwargs and not any(self.is_truth) and all(s == tree.LEAF for s in self.structures)

    def _add(self, leaf: Any, name: str, axis: int | None, is_chosen: bool, lengths: dict[str, int]) -> None:
        is_truth = not is_chosen and isinstance(leaf, np.ndarray) and leaf.dtype.kind == "b" and leaf.ndim > 0
        if isinstance(leaf, Traced):
            self.builder = leaf._node.builder
        elif is_chosen or axis is not None or is_number_array(leaf):
            leaf = as_floats(leaf, name)
        else:
            self.leaves.append(leaf)
            self.is_input.append(False)
            return
        if axis is not None:
            if leaf.ndim <= (axis if axis >= 0 else -axis - 1):
                raise ShapeError(
                    f"{name} has shape {leaf.shape} and no axis {axis} that in_axes could count instances along\n"
                    "  cure: give None in in_axes for an argument that all instances share"
                )
            leaf = np.moveaxis(leaf, axis, 0)
            leaf = leaf if isinstance(leaf, Traced) else np.ascontiguousarray(leaf)
            lengths[name] = leaf.shape[0]
        self.leaves.append(leaf)
        self.is_input.append(True)
        self.is_lane.append(axis is not None)
        self.is_truth.append(is_truth)

    @property
    def inputs(self) -> list[np.ndarray]:
        """The arrays."""
        return [x for x, is_input in zip(self.leaves, self.is_input, strict=True) if is_input]

    @property
    def signature(self) -> Any:
        """What two calls that one program serves have in common."""
        kinds = [
            (x.shape, np.dtype(x.dtype).char) if is_input else (type(x), _Setting(x))
            for x, is_input in zip(self._without_batch(), self.is_input, strict=True)
        ]
        return tuple(kinds), tuple(self.structures), tuple(self.names), tuple(self.is_lane)

    @property
    def statics(self) -> tuple[tuple[Any] | None, ...]:
        """For each leaf None when it is an array, else the value in a tuple."""
        return tuple([None if i else (x,) for x, i in zip(self.leaves, self.is_input, strict=True)])

    def _without_batch(self) -> list[Any]:
        kinds = iter(zip(self.is_lane, self.is_truth, strict=True))

        def described(x: Any) -> Input:
            is_lane, is_truth = next(kinds)
            return Input(x.shape[1:] if is_lane else x.shape, bool if is_truth else x.dtype)

        return [described(x) if is_input else x for x, is_input in zip(self.leaves, self.is_input, strict=True)]

    def leaves_to_trace(self) -> list[Any]:
        """The arguments for `trace`, nested as the caller's, without batch axes."""
        return self._nested(self._without_batch())

    def _nested(self, leaves: Sequence[Any]) -> list[Any]:
        rest = iter(leaves)
        return [tree.unflatten(s, [next(rest) for _ in range(s.n_leaves)]) for s in self.structures]

    def applied(self, fun: Callable[..., Any]) -> Callable[..., Any]:
        """`fun` taking its keyword arguments as the last positional ones."""
        if not self.names:
            return fun

        def with_keywords(*values: Any) -> Any:
            return fun(*values[: self.n_args], **dict(zip(self.names, values[self.n_args :], strict=True)))

        return with_keywords

    def nodes(self) -> list[Node]:
        """The inputs as nodes of the enclosing trace."""
        return [x._node if isinstance(x, Traced) else self.builder.copied_constant(x, x.dtype) for x in self.inputs]

    def rows(self) -> list[list[Any]]:
        """The arguments of each instance."""
        lanes = iter(self.is_lane)
        is_lane = [is_input and next(lanes) for is_input in self.is_input]
        (n,) = self.batch_shape
        return [
            self._nested([x[i] if lane else x for x, lane in zip(self.leaves, is_lane, strict=True)]) for i in range(n)
        ]


class _Setting:
    """A value that is part of a signature: by value where it can be hashed, else by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return id(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Setting):
            return False
        if self.value is other.value:
            return True
        try:
            hash(self.value)
        except TypeError:
            return False
        return bool(self.value == other.value)


def _axes(in_axes: int | Sequence[int | None] | None, n: int) -> list[int | None]:
    if in_axes is None or is_integer(in_axes):
        return [in_axes] * n  # type: ignore[list-item]
    if not isinstance(in_axes, (tuple, list)) or not all(axis is None or is_integer(axis) for axis in in_axes):
        raise TypeError(f"in_axes must be an integer, None, or a tuple of these, got {in_axes!r}")
    if len(in_axes) != n:
        raise ValueError(f"in_axes has {len(in_axes)} entries, but the call has {n} positional arguments")
    return list(in_axes)


def _batch_shape(lengths: dict[str, int], in_axes: Any) -> tuple[int, ...]:
    if not lengths:
        if in_axes is not None:
            raise ValueError("in_axes names no argument with a batch axis: give 0 for at least one")
        return ()
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise ShapeError(
            f"the batch axes differ in length: {each}\n  cure: give each as many instances, or None in in_axes"
        )
    n = next(iter(lengths.values()))
    if n == 0:
        raise ShapeError(f"{next(iter(lengths))} is an empty batch: give at least one instance")
    return (n,)
