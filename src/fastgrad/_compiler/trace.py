"""Runs a user's function once on stand-ins for arrays and records what it does as a graph.

`Traced` is the stand-in: it has an array's operators and methods and answers to NumPy's functions. What each
of them means stands in surface.py; here are the wrapping and the errors for what a recording cannot hold.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np

from ..errors import TraceError, attribute_error, leak_error, nearest, refusals, shape_error, trace_error
from . import graph, masked, tree
from .filled import WRITERS, FilledArray, has_traced, lowered, written
from .graph import FLOAT32, FLOAT64, Builder, Graph, Node, Shape, ancestors
from .layout import broadcast_to, index, is_basic
from .masked import OF_ARRAYS, Masked, assigned, is_mask, key_of, places
from .memory import Place, new_place, transposed, unclear_layout
from .operands import FUNCTIONS, check_options, name_of, parameters_of, stacked, truth
from .paths import Results, all_ways, answer
from .special import UFUNCS_OF_SCIPY, is_scipys
from .surface import CURES, METHOD_CURES, METHODS, RESHAPED, UFUNC_METHODS, UFUNCS, VIEWS, with_dtype


class Input:
    """An argument to trace: an array of this shape and dtype, whose values are not known yet."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Shape, dtype: Any = FLOAT64) -> None:
        self.shape = shape
        self.dtype = dtype


def trace(
    fun: Callable[..., Any], arguments: Sequence[Any], name: str | None = None, builder: Builder | None = None
) -> Graph:
    """The graph of `fun(*arguments)`.

    Parameters
    ----------
    fun : callable
        A function written with NumPy.
    arguments : sequence
        Nested dicts, lists and tuples. Each `Input` leaf becomes an input of the graph; integers become
        float64. Any other leaf is handed to `fun` as it is.
    name : str, optional
        For messages; the function's own name by default.
    builder : Builder, optional
        What makes the nodes. That of an enclosing trace when `fun` may refer to its traced arrays: outputs may then
        depend on its nodes.

    Returns
    -------
    Graph
        Its inputs are the `Input` leaves in order, its structure that of the value of `fun`.

    Raises
    ------
    TraceError, ShapeError, IndexingError
        Where `fun` does what cannot be recorded, with the line at fault.
    """
    name = name or str(getattr(fun, "__name__", type(fun).__name__))
    builder = builder or Builder()
    inputs: list[Node] = []

    def input_of(leaf: Input) -> Node:
        dtype = FLOAT32 if leaf.dtype == FLOAT32 else FLOAT64
        return builder.input(tuple(leaf.shape), dtype, np.dtype(leaf.dtype) == bool)

    def stand_in(made: Iterator[Node], leaf: Any) -> Any:
        return Traced(next(made), FOREIGN) if isinstance(leaf, Input) else leaf

    def run() -> Results:
        made = iter(inputs)
        refusals.is_watched, refusals.first = True, None
        value = fun(*[tree.map_leaves(functools.partial(stand_in, made), argument) for argument in arguments])
        if refusals.first is not None:  # the function caught the error: what it did instead is not what it does
            raise refusals.first
        leaves, structure = tree.flatten(value)
        outputs = [
            _output(leaf, builder, fun, name + path) for leaf, path in zip(leaves, tree.paths(structure), strict=True)
        ]
        return Results(tuple(outputs), structure, tuple([type(leaf) in (int, float) for leaf in leaves]))

    for argument in arguments:
        inputs += [input_of(leaf) for leaf in tree.flatten(argument)[0] if isinstance(leaf, Input)]
    _open_builders().append(builder)
    builder.is_open = True
    outer = refusals.is_watched, refusals.first
    try:
        outputs, structure, _ = all_ways(run, builder)
        if builder.finished and not builder.finished.isdisjoint(ancestors(outputs)):
            raise leak_error(f"the value of {name}")
    except ValueError as error:
        if isinstance(error.__cause__, TraceError):  # NumPy's "setting an array element with a sequence" hides ours
            raise error.__cause__ from None
        raise
    finally:
        refusals.is_watched, refusals.first = outer
        _open_builders().pop()
        builder.is_open = builder in _open_builders()
    return Graph(tuple(inputs), outputs, structure, name)


SPLITS = frozenset({np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit})  # give several views
WHOLE = ("trunc", "floor", "ceil", "rint")  # what gives Python's integers
_SCALARS: dict[str, type] = {"d": np.float64, "f": np.float32, "?": np.bool_}
_threads = threading.local()


def _open_builders() -> list[Builder]:
    """Those of the traces that are under way in this thread, the innermost last."""
    if not hasattr(_threads, "builders"):
        _threads.builders = []
    builders: list[Builder] = _threads.builders
    return builders


def enclosing_builder() -> Builder | None:
    """That of the trace under way, if any."""
    builders = _open_builders()
    return builders[-1] if builders else None


def _output(value: Any, builder: Builder, fun: Callable[..., Any], path: str) -> Node:
    value = lowered(value)
    if isinstance(value, Masked):
        raise TraceError(f"{_place(fun, path)} is what a traced mask picks, of unknown size\n  cure: {masked.CURE}")
    if isinstance(value, Traced):
        if value._node.builder is not builder:
            raise leak_error(_place(fun, path))
        return value._node
    try:
        array = np.asarray(value)
    except TraceError:  # an object array filled with traced arrays
        array = np.empty((), object)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        met = "None: is a return missing?" if value is None else f"a {type(value).__name__} of dtype {array.dtype}"
        cure = "return arrays, numbers, or dicts, lists and tuples of them"
        raise TraceError(f"{_place(fun, path)} is {met}\n  cure: {cure}")
    dtype = FLOAT32 if array.dtype == FLOAT32 else FLOAT64
    return builder.copied_constant(array, dtype)


def _place(fun: Callable[..., Any], path: str) -> str:
    code = getattr(getattr(fun, "__wrapped__", fun), "__code__", None)
    return f"the value of {path}" + (f" ({code.co_filename}:{code.co_firstlineno})" if code else "")


FOREIGN: Any = object()  # the origin of an argument of the function, and of its views: never written to
UNCLEAR: Any = object()  # of an array and a reshaped one that share memory or not, as the layout of NumPy's result is


class Traced:
    """Stands for an array while a function is traced: it has a shape and a dtype, but no values.

    It holds a node; once it, or an array that it is a view of, has been written to, a place in a memory instead.
    """

    __slots__ = ("_fixed", "_origin", "_place", "_views")
    __hash__ = None  # type: ignore[assignment]  # as for arrays

    def __init__(self, node: Any = None, origin: Any = None, place: Place | None = None) -> None:
        self._fixed: Node = node
        self._place = place
        self._origin = origin  # the array that this one is a view of; None for an array of its own
        self._views: list[tuple[Traced, Callable[[np.ndarray], Any]]] | None = None

    @property
    def _node(self) -> Node:
        place = self._place
        return self._fixed if place is None else place.node()

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # isinstance answers as for the array or number that this stands for
        return np.ndarray if self.ndim else _SCALARS[self.dtype.char]

    shape = property(lambda self: self._fixed.shape if self._place is None else self._place.raw.shape)
    dtype = property(lambda self: np.dtype(bool) if self._node.is_bool else self._node.dtype)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    strides = property(lambda self: self._real().strides)
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)
    T = property(lambda self: self.transpose())
    mT = property(lambda self: self.swapaxes(-1, -2))  # noqa: N815
    real = property(lambda self: self)
    flat = property(lambda self: self.ravel())
    device = property(lambda self: "cpu")

    def __repr__(self) -> str:
        return f"<traced array of shape {self.shape}, dtype {self.dtype}: without values while it is recorded>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a traced scalar")
        return int(self.shape[0])

    def __iter__(self) -> Any:
        if not self.shape:
            raise TypeError("iteration over a traced scalar")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, key: Any) -> Any:
        key = key_of(lowered(key))
        if self._place is not None and not has_traced(key):
            return FilledArray.__getitem__(self._face(), key)
        if is_mask(key):
            index(self._node, np.zeros(key.shape, bool))  # tells what is wrong
            return Masked(Traced(self._node), key)
        node = index(_unwrap(self), _unwrap(key))
        if node.shape == () or not is_basic(key):  # as in NumPy: numbers and picked elements are copies
            return Traced(node)
        return self._seen(node, lambda raw: raw[key])

    def __contains__(self, value: Any) -> NoReturn:
        raise trace_error("`in` asks whether a traced array holds a value", "np.any(x == value), a traced truth value")

    def __setitem__(self, key: Any, value: Any) -> None:
        key, value = key_of(lowered(key)), lowered(value)
        if self._origin is FOREIGN:
            raise trace_error(
                f"assignment into an argument, a traced array of shape {self.shape}, would change the caller's array",
                "assign into a copy: y = x.copy(), or build the result with np.stack, np.concatenate or np.where",
            )
        if self._root()._origin is UNCLEAR:
            raise unclear_layout()
        if self._node.is_bool:
            raise trace_error("assignment into an array of truth values cannot be traced", "use np.where")
        if is_mask(key):
            index(self._node, np.zeros(key.shape, bool))  # tells what is wrong
            key, value = ..., assigned(self, key, value)
        elif has_traced(key):
            index(self._node, _unwrap(key))  # tells what is wrong
        self._real()
        FilledArray.__setitem__(self._face(), key, value)

    def _reshaped(self, node: Node, how: Callable[[np.ndarray], Any]) -> Traced:
        """Like `_seen`, for what NumPy can make a view of only if the layout fits."""
        if self._origin is FOREIGN or not transposed(self._node):
            return self._seen(node, how)
        if self._place is not None:
            self._place.memory.is_unclear = True
        else:
            self._root()._origin = UNCLEAR
        return Traced(node, UNCLEAR)

    def _root(self) -> Traced:
        array = self
        while type(array._origin) is Traced:
            array = array._origin
        return array

    def _seen(self, node: Node, how: Callable[[np.ndarray], Any]) -> Traced:
        """A view of this array: of value `node`, and as NumPy makes it of a real array."""
        if self._origin is FOREIGN or self._origin is UNCLEAR:
            return Traced(node, self._origin)
        if self._place is not None:
            return Traced(node, place=self._place.seen(how))
        view = Traced(node, self)
        if self._views is None:
            self._views = []
        self._views.append((view, how))
        return view

    def _real(self) -> np.ndarray:
        """Move into a memory, with all views, to be written to; the real array that NumPy's views are taken of."""
        if self._place is None:
            if self._origin is not None and self._origin is not FOREIGN:
                self._origin._real()
            if self._place is None:
                self._move(new_place(self._fixed, Traced))
        assert self._place is not None
        return self._place.raw

    def _move(self, place: Place) -> None:
        self._place = place
        for view, how in self._views or ():
            there = place.seen(how)
            if there is not None:
                view._move(there)
        self._views = None

    def _face(self) -> FilledArray:
        """The memory as the array that is filled."""
        assert self._place is not None
        face = self._place.raw.view(FilledArray)
        face._memory = self._place.memory
        return face

    @staticmethod
    def node_of(value: Any) -> Node:
        """A traced array, or nested lists and tuples with some, as a node."""
        return stacked(_unwrap(value))

    def __round__(self, digits: Any = None) -> Traced:
        return call(METHODS["round"], (self, digits or 0))

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(x, Masked) for x in inputs):
            return NotImplemented
        out = options.pop("out", None)
        if out is not None:
            return written(out, getattr(ufunc, method)(*inputs, **options))
        table = UFUNC_METHODS.get(method, {})
        function = table.get(ufunc)
        if function is None and method == "__call__" and is_scipys(ufunc):
            function = UFUNCS_OF_SCIPY.get(ufunc.__name__)
        if function is None:
            name = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
            if is_scipys(ufunc):
                raise trace_error(f"scipy.special.{name} cannot be traced", nearest(name, UFUNCS_OF_SCIPY))
            _unknown(name, CURES.get(ufunc), [known.__name__ for known in table])
        if method == "reduce":
            options.setdefault("axis", 0)
        elif options and method in ("__call__", "outer"):
            dtype = options.pop("dtype", None)
            check_options(ufunc.__name__, options, ())
            options = {}
            if dtype is not None:
                function = with_dtype(function, dtype)
        return call(function, inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        implementation = FUNCTIONS.get(function)
        if function in OF_ARRAYS and (function is not np.where or len(args) + len(options) == 1):
            return OF_ARRAYS[function](*args, **options)
        if any(isinstance(x, Masked) for x in args):
            return NotImplemented
        if function in WRITERS:
            return WRITERS[function](*args, **options)
        if implementation is None:
            module = function.__module__.removeprefix("numpy").lstrip(".")
            _unknown(
                f"{module}.{function.__name__}".lstrip("."),
                CURES.get(function),
                [known.__name__ for known in FUNCTIONS],
            )
        out = options.pop("out", None)
        if out is not None:
            return written(out, function(*args, **options))
        is_copy = function is np.diag and np.ndim(args[0]) == 1
        makes_views = (implementation in VIEWS and not is_copy) or function in SPLITS
        how = (lambda raw: function(raw, *args[1:], **options)) if makes_views else None
        return call(implementation, args, options, how)

    def __array__(self, *args: Any, **options: Any) -> NoReturn:
        raise trace_error(
            f"a traced array of shape {self.shape} would have to become a NumPy array with values",
            "np.stack([...]) in place of np.array([...]); no np.asarray, no filling of NumPy arrays",
        )

    # ---- what needs a value that is not there

    def __bool__(self) -> bool:
        if self.size != 1:
            raise trace_error(
                f"the truth of a traced array of shape {self.shape} is asked for, as by `if`, `while`, `and`, `or` or"
                " `not`",
                "np.any or np.all for one truth value; np.where(condition, a, b) for `if` element by element",
                is_numpys=True,
            )
        return answer(truth(graph.reshape(_unwrap(self), ())))

    def __format__(self, spec: str) -> str:
        return repr(self)  # there is no number to format; prints in a function keep working

    def __float__(self) -> NoReturn:
        self._no_number(
            "float",
            "drop float(); np.sin(x) in place of math.sin(x); np.stack([...]) in place of filling an array",
        )

    def __int__(self) -> NoReturn:
        self._no_number("int", "stay in floating point")

    def __complex__(self) -> NoReturn:
        self._no_number("complex", "stay in real numbers")

    def __index__(self) -> NoReturn:
        self._no_number("integer", "use a constant such as x.shape[0] for a range, an index or a shape")

    def item(self, *key: Any) -> Any:
        """An element, by its index or number in the flattened array, as a traced number."""
        if not key and self.size != 1:
            raise shape_error(f"item() of an array of shape {self.shape}: only one of size 1 is a number")
        if len(key) == 1 and type(key[0]) is tuple:
            key = key[0]
        return self[key] if len(key) > 1 else self.reshape(-1)[key[0] if key else 0]

    def tolist(self) -> Any:
        """Nested lists of traced numbers."""
        return [x.tolist() for x in self] if self.shape else self

    def sort(self, axis: int = -1, **options: Any) -> None:
        """Sort in place."""
        self[...] = np.sort(self, axis, **options)

    def nonzero(self) -> Any:
        """Where the elements are true."""
        return places(self)

    def fill(self, value: Any) -> None:
        """Assign one value to every element."""
        self[...] = value

    def _no_number(self, kind: str, cure: str) -> NoReturn:
        raise trace_error(
            f"a traced array of shape {self.shape} would have to become a Python {kind}",
            cure,
            is_numpys=self.size != 1 or (kind == "integer" and self._node.op not in WHOLE),
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise trace_error("a traced array cannot be pickled", "it lives only while its function is traced")

    def __copy__(self) -> Traced:
        return Traced(self._node)

    def __deepcopy__(self, memo: Any) -> Traced:
        return Traced(self._node)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(f"a traced array has no attribute {name!r}")
        cure = METHOD_CURES.get(name)
        raise attribute_error(
            f"the array attribute {name!r} cannot be traced",
            f"write {cure}" if cure else nearest(name, [*METHODS, "shape", "T", "size"]),
        )


def _unknown(name: str, cure: str | None, known: Sequence[str]) -> NoReturn:
    raise trace_error(
        f"np.{name} cannot be traced",
        f"write {cure}" if cure else nearest(name, known) or "use other functions",
    )


# ---- from traced arrays to nodes and back


def call(
    function: Callable[..., Any],
    args: Sequence[Any],
    options: dict[str, Any] | None = None,
    how: Callable[[np.ndarray], Any] | None = None,
) -> Any:
    """A function of nodes, applied to traced arrays; `how` NumPy makes the result of a real array, for views."""
    if options:
        options = check_options(name_of(function), options, parameters_of(function))
        options = {key: _unwrap(value) for key, value in options.items()}
    result = function(*[_unwrap(value) for value in args], **(options or {}))
    if type(result) is Node:
        if function in VIEWS and how is not None and type(args[0]) is Traced:
            return args[0]._reshaped(result, how) if function in RESHAPED else args[0]._seen(result, how)
        return Traced(result)
    if type(result) is list and how is not None and type(args[0]) is Traced:  # parts are views of the operand
        return [args[0]._seen(x, _item_of(how, i)) for i, x in enumerate(result)]
    return _wrap(result)


def _wrap(value: Any, origin: Any = None) -> Any:
    """Several results, or the arguments of a user's function that works on parts."""
    if type(value) is Node:
        return Traced(value, origin)
    if type(value) is list or type(value) is tuple:
        return type(value)([_wrap(part, origin) for part in value])
    if hasattr(value, "_fields"):  # a namedtuple
        return type(value)(*[_wrap(part, origin) for part in value])
    return value


def _item_of(how: Callable[[np.ndarray], Any], i: int) -> Callable[[np.ndarray], Any]:
    return lambda raw: how(raw)[i]


def _unwrap(value: Any) -> Any:
    kind = type(value)
    if kind is FilledArray:
        value = lowered(value)
        kind = type(value)
    if kind is Traced:
        node = value._node
        if not node.builder.is_open:
            raise leak_error()
        return node
    if kind is list or kind is tuple:
        return kind([_unwrap(item) for item in value])
    if callable(value) and not isinstance(value, type):  # for np.piecewise and its like
        return lambda *args, **options: _unwrap(value(*[_wrap(x, FOREIGN) for x in args], **options))
    return value  # a traced bound of a slice reports itself through __index__


# ---- operators and methods, entered into the class from tables


def _operator(ufunc: np.ufunc, is_reflected: bool) -> Callable[[Traced, Any], Any]:
    op = ufunc.__name__
    function = UFUNCS[ufunc]
    # operands of one shape and dtype need no promotion: most of the operators of a long function
    is_direct = op in ("add", "subtract", "multiply", "divide")

    def method(self: Traced, other: Any) -> Any:
        a = self._node
        kind = type(other)
        b = None
        if kind is Traced:
            b = other._node
        elif (kind is float or kind is int) and is_direct and not a.is_bool:
            b = graph.broadcast(a.builder.scalar(other, a.dtype), a.shape)
        elif other is None or isinstance(other, (str, dict, set, Masked)):
            return NotImplemented
        if (
            (is_direct and b is not None and a.shape == b.shape and a.dtype is b.dtype)
            and (a.builder is b.builder and a.builder.is_open)
            and not (a.is_bool or b.is_bool)
        ):
            return Traced(a.builder.make(op, (b, a) if is_reflected else (a, b)))
        return call(function, (other, self) if is_reflected else (self, other))

    return method


def _in_place(operation: Callable[[Traced, Any], Any]) -> Callable[[Traced, Any], Any]:
    def method(self: Traced, other: Any) -> Any:
        result = operation(self, other)
        if not self.shape or result is NotImplemented:  # NumPy's scalars are immutable: the name is bound anew
            return result
        if self._origin is FOREIGN:
            raise trace_error(
                "an in-place operation on an argument or a view of it would change the caller's array",
                "write y = y + x instead of y += x",
            )
        if self._origin is None and self._place is None and not self._views and not self._fixed.is_bool:
            broadcast_to(result._node, self.shape)
            self._fixed = graph.cast(result._node, self._fixed.dtype)
        else:
            self[...] = result
        return self

    return method


def _method(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **options: Any) -> Any:
        if name == "astype" and np.dtype(args[0] if args else options["dtype"]) == self.dtype:
            return self if options.get("copy") is False else Traced(self._node)
        return call(function, (self, *args), options, lambda raw: getattr(raw, name)(*args, **options))

    method.__name__ = name
    return method


for _symbol, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
    "matmul": np.matmul, "mod": np.remainder, "floordiv": np.floor_divide,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}.items():  # fmt: skip
    setattr(Traced, f"__{_symbol}__", _operator(_ufunc, False))
    setattr(Traced, f"__r{_symbol}__", _operator(_ufunc, True))
    setattr(Traced, f"__i{_symbol}__", _in_place(_operator(_ufunc, False)))
for _symbol, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
    "ne": np.not_equal,
}.items():  # fmt: skip
    setattr(Traced, f"__{_symbol}__", _operator(_ufunc, False))
for _symbol, _ufunc in {
    "neg": np.negative,
    "pos": np.positive,
    "abs": np.absolute,
    "invert": np.invert,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
}.items():
    setattr(Traced, f"__{_symbol}__", _method(UFUNCS[_ufunc], _symbol))
for _symbol, _function in METHODS.items():
    setattr(Traced, _symbol, _method(_function, _symbol))
