"""The engine of the transforms: callables made of a function and what to do with its graph.

A `Transform` sorts its arguments into a signature (shapes, dtypes, and the values of what is not an array). For a new
signature the function is traced, its graph derived, simplified and compiled; for a known one the program runs. Called
while another function is being traced, a transform adds its nodes there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import pickle
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import _core
from ._arrays import as_floats, is_integer, is_number_array
from ._compiler import tree
from ._compiler.batching import batched
from ._compiler.compile import Compiled, compile_graph
from ._compiler.filled import lowered
from ._compiler.graph import Builder, Graph, Node, inline
from ._compiler.simplify import Simplifier
from ._compiler.substitute import trace
from ._compiler.trace import Input, Traced, enclosing_builder
from .errors import LeakError, ShapeError

MOST_SIGNATURES = 256  # remembered by one transform


class Variables(NamedTuple):
    """What is differentiated by: numbers of the graph's inputs, and how they are nested in the arguments."""

    numbers: tuple[int, ...]
    structure: tree.Structure


Derive = Callable[[Graph, Variables], Graph]
"""From the graph of a function to the wanted graph, whose structure is that of the result."""


def unchanged(graph: Graph, variables: Variables) -> Graph:
    """The function itself."""
    return graph


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
    """A callable made of a function and what to do with its graph.

    Parameters
    ----------
    fun : callable
        Of arrays, or nested dicts, lists and tuples of them.
    kind : str
        For messages.
    derive : callable, optional
        What to do with the graph; `unchanged` compiles the function itself.
    argnums : int or sequence of int, optional
        Positional arguments to differentiate by.
    in_axes : int, None or sequence of these, optional
        Axes that count the instances of a batch.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        kind: str,
        derive: Derive = unchanged,
        argnums: int | Sequence[int] = (),
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
        argnums = self.argnums[0] if self._is_one else self.argnums
        settings = (self.kind, self._derive, argnums, self._in_axes)
        known = {signature: compiled for signature, compiled in self.known.items() if _pickled((signature, compiled))}
        fun = Traveller.of(self.fun)
        if fun.pickled is None and not known:
            raise pickle.PicklingError(
                f"{self!r} cannot be pickled: {fun.__name__} cannot, and nothing is compiled yet\n"
                "  cure: call the transform once, so that its program can travel, or define the function in a module"
            )
        return _restored, (type(self), fun, settings, known)

    def keep(self, signature: Any, compiled: Any) -> None:
        """Remember what was compiled for a signature; the oldest goes when there are too many."""
        if len(self.known) >= MOST_SIGNATURES:
            self.known.pop(next(iter(self.known)), None)
        self.known[signature] = compiled

    def slow(self, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any = None) -> Any:
        """Serve any arguments: compile for a new signature, then run."""
        call = Arguments(args, kwargs, self.argnums, self._in_axes)
        if call.builder is not None:
            return self._inlined(call, out)
        runner = self.known.get(call.signature)
        if runner is None:
            try:
                runner = self._compile(call)
            except LeakError:  # none of the arguments is traced, but fun refers to arrays of a trace under way
                call.builder = enclosing_builder()
                if call.builder is None:
                    raise
                return self._inlined(call, out)
            self.keep(call.signature, runner)
        return self._run(runner, call, out)

    def _run(self, runner: Any, call: Arguments, out: Any) -> Any:
        self.remember(runner)
        results = [(call.batch_shape + shape, dtype) for shape, dtype in runner.results]
        target = Target(out, results, runner.structure, call.inputs) if out is not None else None
        outputs = target.arrays if target else [_core.empty(*result) for result in results]
        if call.batch_shape:
            runner.program.run_batch(call.batch_shape[0], call.inputs, outputs)
        else:
            runner.program.run(call.inputs, outputs)
        if target:
            target.fill()
            return out
        outputs = [x[()] for x in outputs]
        return outputs[0] if runner.assemble is None else runner.assemble(outputs)

    def _variables(self, call: Arguments) -> Variables:
        structures = [call.structures[n] for n in self.argnums]
        structure = structures[0] if self._is_one else tree.structure_of(tuple, structures)
        return Variables(tuple([number for numbers in call.wrt for number in numbers]), structure)

    def _source(self, call: Arguments, builder: Builder) -> Graph:
        return trace(call.applied(self.fun), call.leaves_to_trace(), getattr(self.fun, "__name__", "fun"), builder)

    def _compile(self, call: Arguments) -> Any:
        builder = Simplifier()
        with collector_at_rest():
            graph = self._derive(self._source(call, builder), self._variables(call))
            compiled, structure = compile_graph(graph, call.is_lane), graph.structure
            builder.close()
            del graph
        return make_runner(compiled, call, structure)

    def _inlined(self, call: Arguments, out: Any) -> Any:
        """The transform as part of an enclosing trace."""
        if out is not None:
            raise TypeError("out= belongs to a call with arrays; inside a traced function use the value returned")
        graph, outer = inner_graph(self._source(call, call.builder))
        graph = self._derive(graph, self._variables(call))
        arguments = [*call.nodes(), *outer]
        if call.batch_shape:
            graph = batched(graph, [*call.is_lane, *[False] * len(outer)], call.batch_shape[0])
        return tree.unflatten(graph.structure, [Traced(x) for x in inline(graph, arguments)])


def inner_graph(graph: Graph) -> tuple[Graph, tuple[Node, ...]]:
    """The graph of a function traced within another trace; and the inputs of the enclosing trace that it refers to,
    which count as its last inputs."""
    outer = tuple([x for x in graph.nodes if x.op == "input" and x not in graph.inputs])
    return dataclasses.replace(graph, inputs=graph.inputs + outer), outer


# ---- pickling


class Traveller:
    """A function on its way to another process: pickled, loaded when it is needed there, or left at home."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.pickled = _pickled(fun)
        self.__name__ = getattr(fun, "__name__", "the function")
        self.__qualname__ = getattr(fun, "__qualname__", self.__name__)

    @classmethod
    def of(cls, fun: Callable[..., Any]) -> Traveller:
        """`fun` ready to travel."""
        return fun if isinstance(fun, Traveller) else cls(fun)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.pickled is None:
            raise TypeError(
                f"{self.__name__} did not travel with its programs, which serve what they were compiled for\n"
                "  cure: call the transform with arguments like these before it is pickled, or define the function in a"
                " module that both sides import"
            )
        return pickle.loads(self.pickled)(*args, **kwargs)


def _pickled(value: Any) -> bytes | None:
    try:
        return pickle.dumps(value)
    except Exception:  # whatever an object's own method raises
        return None


def _restored(kind: type[Transform], fun: Traveller, settings: tuple[Any, ...], known: dict[Any, Any]) -> Transform:
    transform = kind(fun, *settings)
    transform.known = known
    return transform


# ---- running


def make_runner(compiled: Compiled, call: Arguments, structure: tree.Structure) -> _core.Runner:
    """What runs a compiled program for arguments like those of `call`."""
    is_pair = structure == tree.structure_of(tuple, [tree.LEAF, tree.LEAF])
    assemble = None if structure == tree.LEAF else functools.partial(tree.unflatten, structure)
    statics = call.statics if call.is_flat else None
    return _core.Runner(
        compiled.program, compiled.inputs, compiled.outputs, compiled.is_lane, statics, structure, assemble, is_pair
    )


class Target:
    """The arrays that a caller gave as `out`: where the program can write, and a copy for those where it cannot."""

    def __init__(
        self, out: Any, results: Sequence[tuple[Any, Any]], structure: tree.Structure, inputs: Sequence[np.ndarray]
    ) -> None:
        leaves, its_structure = tree.flatten(out)
        if its_structure != structure:
            raise TypeError(f"out must be nested like the result, whose leaves are {tree.paths(structure, 'result')}")
        self.copies: list[tuple[np.ndarray, np.ndarray]] = []
        self.arrays: list[np.ndarray] = []
        for leaf, path, (shape, dtype) in zip(leaves, tree.paths(structure, "out"), results, strict=True):
            if not isinstance(leaf, np.ndarray) or leaf.shape != shape or leaf.dtype != dtype:
                got = f"an array of shape {leaf.shape} and dtype {leaf.dtype}" if isinstance(leaf, np.ndarray) else leaf
                raise TypeError(f"{path} must be an array of shape {shape} and dtype {dtype}, got {got!s}")
            if not leaf.flags.writeable:
                raise ValueError(f"{path} is read-only\n  cure: give an array that can be written")
            if any(np.may_share_memory(leaf, other) for other in self.arrays):
                raise ValueError(f"{path} shares memory with another array of out\n  cure: give separate arrays")
            array = leaf
            if not (leaf.flags.carray and leaf.dtype.isnative) or any(np.may_share_memory(leaf, x) for x in inputs):
                array = np.empty(shape, dtype)
                self.copies.append((leaf, array))
            self.arrays.append(array)

    def fill(self) -> None:
        """Hand the copies over."""
        for leaf, array in self.copies:
            leaf[...] = array


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
        leaf = lowered(leaf)
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
            leaf = np.moveaxis(leaf, axis, 0) if axis else leaf
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
        return functools.partial(self._with_keywords, fun) if self.names else fun

    def _with_keywords(self, fun: Callable[..., Any], *values: Any) -> Any:
        return fun(*values[: self.n_args], **dict(zip(self.names, values[self.n_args :], strict=True)))

    def nodes(self) -> list[Node]:
        """The inputs as nodes of the enclosing trace."""
        return [x._node if isinstance(x, Traced) else self.builder.copied_constant(x, x.dtype) for x in self.inputs]


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
