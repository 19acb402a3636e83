"""The public transforms: derivatives and batches of functions written with NumPy.

Each is a `Transform` (transform.py) with what to do with the graph, or a function of traced arrays that calls other
transforms and is itself traced as a whole: a Hessian-vector product is the tangent of a gradient.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._arrays import as_floats, is_integer
from ._compiler import tree
from ._compiler.autodiff import backward, value_and_gradient
from ._compiler.filled import lowered
from ._compiler.forward import forward
from ._compiler.graph import ELEMENTWISE, Graph, Node, cast, filled, inline
from ._compiler.substitute import trace
from ._compiler.trace import Input, Traced, enclosing_builder
from .errors import ShapeError, not_one_value, not_scalar
from .matrices import Jacobian, whole_jacobian
from .transform import (
    Arguments,
    Transform,
    Traveller,
    Variables,
    inner_graph,
    unchanged,
)

Function = Callable[..., Any]


# ---- gradients


def grad(fun: Function, argnums: int | Sequence[int] = 0) -> Transform:
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
        `argnums` is a sequence. With ``out=``, arrays nested and shaped like the result, it writes there.

    Raises
    ------
    TraceError
        When called, if `fun` does what cannot be recorded; the message says where and what to write instead.
    ShapeError
        When called, if the value of `fun` is not a scalar.

    Notes
    -----
    Closures and globals are captured as they are when a signature is first met. Once called, a transform can be
    pickled even when `fun` cannot: its programs travel. Reverse accumulation follows Griewank & Walther,
    *Evaluating Derivatives* (2008), chapter 3.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return Transform(fun, "grad", _gradient, argnums)


def value_and_grad(fun: Function, argnums: int | Sequence[int] = 0) -> Transform:
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
    return Transform(fun, "value_and_grad", _value_and_gradient, argnums)


def _gradient(graph: Graph, variables: Variables) -> Graph:
    both = value_and_gradient(graph, variables.numbers)
    return Graph(both.inputs, both.outputs[1:], variables.structure, both.name)


def _value_and_gradient(graph: Graph, variables: Variables) -> Graph:
    both = value_and_gradient(graph, variables.numbers)
    structure = tree.structure_of(tuple, [tree.LEAF, variables.structure])
    return Graph(both.inputs, both.outputs, structure, both.name)


# ---- matrices of derivatives


def jacobian(fun: Function, argnums: int | Sequence[int] = 0) -> Transform:
    """Jacobian of a function of arrays: all derivatives of every value by every element.

    Parameters
    ----------
    fun : callable
        ``fun(*args)`` written with NumPy, returning an array, or nested dicts, lists and tuples of arrays.
    argnums : int or sequence of int, optional
        Which positional arguments to differentiate by, as for `grad`.

    Returns
    -------
    callable
        ``matrix(*args)`` of shape ``value.shape + args[argnums].shape``, never squeezed. Where the value is nested, so
        is the result, and within each of its leaves the arguments.

    Notes
    -----
    Forward mode when there are no more elements to differentiate by than values, else reverse mode. Large Jacobians
    run their directions as lanes, in blocks that stay in cache and on all threads.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.jacobian(lambda x: x[0] * x[1:])(np.array([2.0, 5.0, 7.0]))
    array([[5., 2., 0.],
           [7., 0., 2.]])
    """
    return Jacobian(fun, "jacobian", whole_jacobian, argnums)


def hessian(fun: Function, argnums: int | Sequence[int] = 0) -> Transform:
    """Hessian of a scalar function: forward mode over the gradient.

    Parameters
    ----------
    fun, argnums
        As for `grad`.

    Returns
    -------
    callable
        ``matrix(*args)`` of shape ``x.shape + x.shape`` for ``x = args[argnums]``; nested arguments, or several, give
        nested blocks.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([3.0, 5.0]))
    array([[10.,  6.],
           [ 6.,  0.]])
    """
    return Jacobian(grad(fun, argnums), "hessian", whole_jacobian, argnums)


# ---- one direction


def jvp(fun: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Value of a function and its derivative in a direction, by forward-mode differentiation.

    Parameters
    ----------
    fun : callable
        ``fun(*primals)`` written with NumPy; its value may be nested.
    primals : sequence
        The point: arrays, or nested dicts, lists and tuples of arrays.
    tangents : sequence
        The direction, nested and shaped like `primals`.

    Returns
    -------
    value, tangent
        The value of `fun` and the Jacobian times the tangents, both nested alike.

    Raises
    ------
    ShapeError
        If a tangent has another shape than its primal.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> value, tangent = fg.jvp(np.square, (np.array([1.0, 2.0]),), (np.array([1.0, 0.5]),))
    >>> tangent
    array([2., 2.])
    """
    for name, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"{name} must be a tuple of arguments, got {type(value).__name__}\n  cure: write (x,)")
    value, tangent = _remembered(_push, fun, "jvp", (0, 1))(tuple(primals), tuple(tangents))
    return value, tangent


def vjp(fun: Function, *primals: Any) -> tuple[Any, Function]:
    """Value of a function, and the map from an adjoint of the value to adjoints of the arguments.

    Parameters
    ----------
    fun : callable
        ``fun(*primals)`` written with NumPy; its value may be nested.
    *primals
        The point: arrays, or nested dicts, lists and tuples of arrays.

    Returns
    -------
    value
        The value of `fun`.
    pullback : callable
        ``pullback(cotangent)``, with the cotangent nested and shaped like the value, gives a tuple with as many
        entries as there are `primals`: the cotangent times the Jacobian. It computes the value again, in one program
        with the derivative.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> value, pullback = fg.vjp(lambda x: x**2, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    value = _remembered(_value, fun, "value", (0,))(primals)
    return value, functools.partial(_remembered(_pull, fun, "vjp", (0, 1)), primals)


def hvp(fun: Function, argnums: int | Sequence[int] = 0) -> Transform:
    """Product of the Hessian of a scalar function and a vector, without forming the Hessian.

    Parameters
    ----------
    fun, argnums
        As for `grad`.

    Returns
    -------
    callable
        ``product(*args, v)`` with `v` nested and shaped like ``args[argnums]``, which the result is too. It costs a
        small multiple of the gradient.

    Notes
    -----
    The tangent of the gradient: B. Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6
    (1994).

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.5]))
    array([6., 6.])
    """
    own = [n if n >= 0 else n - 1 for n in _numbers(argnums)]  # v is one argument more
    return Transform(functools.partial(_curvature, fun, argnums), "hvp", argnums=(*own, -1))


def _numbers(argnums: Any) -> tuple[int, ...]:
    return (argnums,) if is_integer(argnums) else tuple(argnums)


def _curvature(fun: Function, argnums: Any, *args: Any, **options: Any) -> Any:
    *own, v = args
    is_one = is_integer(argnums)
    chosen = [n % len(own) for n in _numbers(argnums)]

    def gradient(*x: Any) -> Any:
        values = dict(zip(chosen, x, strict=True))
        return grad(fun, argnums)(*[values.get(n, arg) for n, arg in enumerate(own)], **options)

    return _push(gradient, tuple([own[n] for n in chosen]), (v,) if is_one else tuple(v))[1]


@functools.lru_cache(maxsize=256)
def _remembered(body: Function, fun: Function, kind: str, argnums: tuple[int, ...]) -> Transform:
    """The transform that traces `body(fun, ...)`, kept for the next call with this function."""
    return Transform(functools.partial(body, fun), kind, unchanged, argnums)


# what is traced: functions of traced arrays, within the trace that a transform opened


def _value(fun: Function, primals: tuple[Any, ...]) -> Any:
    return fun(*primals)


def _push(fun: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """Value and tangent."""
    call, graph, outer = _inner(fun, primals)
    structure = tree.structure_of(tuple, call.structures)
    variables = graph.inputs[: len(graph.inputs) - len(outer)]
    directions = _like(tangents, call, structure, variables, "tangents", "primals")
    slots = [x.builder.input(x.shape, x.dtype) for x in variables]
    moved = forward(graph.outputs, variables, slots)
    both = Graph((*graph.inputs, *slots), (*graph.outputs, *moved), tree.LEAF, graph.name)
    outputs = [Traced(x) for x in inline(both, [*call.nodes(), *outer, *directions])]
    n = len(graph.outputs)
    return tree.unflatten(graph.structure, outputs[:n]), tree.unflatten(graph.structure, outputs[n:])


def _pull(fun: Function, primals: tuple[Any, ...], cotangent: Any) -> tuple[Any, ...]:
    """Adjoints of the primals."""
    call, graph, outer = _inner(fun, primals)
    seeds = _like(cotangent, call, graph.structure, graph.outputs, "cotangent", "the value")
    slots = [y.builder.input(y.shape, y.dtype) for y in graph.outputs]
    adjoints = backward(graph.outputs, slots, graph.inputs[: len(graph.inputs) - len(outer)])
    pulled = Graph((*graph.inputs, *slots), tuple(adjoints), tree.LEAF, graph.name)
    outputs = inline(pulled, [*call.nodes(), *outer, *seeds])
    return tree.unflatten(tree.structure_of(tuple, call.structures), map(Traced, outputs))


def _inner(fun: Function, primals: tuple[Any, ...]) -> tuple[Arguments, Graph, tuple[Node, ...]]:
    call = Arguments(primals, {}, tuple(range(len(primals))))
    call.builder = call.builder or enclosing_builder()
    source = trace(fun, call.leaves_to_trace(), getattr(fun, "__name__", "fun"), call.builder)
    return call, *inner_graph(source)


def _like(
    value: Any, call: Arguments, structure: tree.Structure, models: Sequence[Node], name: str, model: str
) -> list[Node]:
    """The leaves of a direction as nodes, which must be nested and shaped like what they are a direction of."""
    leaves, its_structure = tree.flatten(value)
    if its_structure != structure:
        raise ShapeError(f"{name} must be nested like {model}: with {structure.n_leaves} arrays, not {len(leaves)}")
    nodes = []
    for leaf, like, path in zip(leaves, models, tree.paths(structure, name), strict=True):
        leaf = lowered(leaf)
        is_traced = isinstance(leaf, Traced)
        node = leaf._node if is_traced else call.builder.copied_constant(as_floats(leaf, path), like.dtype)
        if node.shape != like.shape:
            raise ShapeError(f"{path} has shape {node.shape}, but {model} has {like.shape} there: make them equal")
        nodes.append(cast(node, like.dtype))
    return nodes


# ---- functions of numbers


def derivative(fun: Function, order: int = 1) -> Function:
    """Derivative of a function of a number, applied element by element.

    Parameters
    ----------
    fun : callable
        ``fun(x, *others)``, a number from numbers, written with NumPy.
    order : int, optional
        Which derivative; 0 is the function itself.

    Returns
    -------
    callable
        ``derivative(x, *others)``. Arrays broadcast, and each element is a call of its own.

    Raises
    ------
    ShapeError
        When called with arrays, if `fun` mixes their elements.

    Notes
    -----
    Forward mode, `order` times.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> fg.derivative(lambda x: x**3, order=2)(np.array([1.0, 2.0, 3.0]))
    array([ 6., 12., 18.])
    """
    return partial(fun, 0, order)


def partial(fun: Function, i: int, order: int = 1) -> Function:
    """Partial derivative of a function of numbers, applied element by element.

    Parameters
    ----------
    fun : callable
        ``fun(*args)``, a number from numbers, written with NumPy.
    i : int
        Number of the argument to differentiate by; the others are held constant.
    order : int, optional
        Which derivative. Mixed ones are partials of partials.

    Returns
    -------
    callable
        ``derivative(*args)``. Arrays broadcast, and each element is a call of its own.

    Raises
    ------
    ShapeError
        When called with arrays, if `fun` mixes their elements; `grad` and `jacobian` are for such functions.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> f = lambda x, y: x**2 * y
    >>> fg.partial(f, 0)(3.0, np.array([1.0, 2.0]))
    array([ 6., 12.])
    >>> float(fg.partial(fg.partial(f, 0), 1)(3.0, 1.0))
    6.0
    """
    for name, value in (("i", i), ("order", order)):
        if not is_integer(value):
            raise TypeError(f"{name} must be an integer, got {value!r}")
    if order < 0:
        raise ValueError(f"order must not be negative, got {order}")
    return _Elementwise(fun, int(i), int(order))


class _Elementwise:
    """A derivative of a function of numbers: the elements of arrays are instances of a batch."""

    def __init__(self, fun: Function, i: int, order: int) -> None:
        self.one = Transform(fun, f"partial {i}", functools.partial(_repeated_derivative, order), i)
        self.order = order
        self.many: dict[Any, Transform] = {}  # by which arguments are arrays
        self.checked: set[Any] = set()
        functools.update_wrapper(self, fun, updated=())

    def __repr__(self) -> str:
        return repr(self.one)

    def __reduce__(self) -> Any:
        made_of = (Traveller.of(self.one.fun), self.one.argnums[0], self.order)
        return _restored_elementwise, (made_of, self.one.known, self.many, self.checked)

    def __call__(self, *args: Any) -> Any:
        args = tuple([x if isinstance(x, Traced) else np.asarray(x) for x in map(lowered, args)])
        shapes = [x.shape for x in args]
        shape = np.broadcast_shapes(*shapes)
        if shape == ():
            return self.one(*args)
        key = tuple(shapes)
        if key not in self.checked:
            _refuse_mixing(self.one.fun, shapes, shape)
            self.checked.add(key)
        axes = tuple([None if s == () else 0 for s in shapes])
        if axes not in self.many:
            self.many[axes] = vmap(self.one, axes)
        flat = [x if s == () else np.reshape(np.broadcast_to(x, shape), -1) for x, s in zip(args, shapes, strict=True)]
        if 0 in shape:
            return np.empty(shape, np.result_type(np.float32, *[x.dtype for x in args]))
        return np.reshape(self.many[axes](*flat), shape)


def _restored_elementwise(made_of: Any, known: dict[Any, Any], many: dict[Any, Transform], checked: Any) -> Any:
    restored = _Elementwise(*made_of)
    restored.one.known, restored.many, restored.checked = known, many, checked
    return restored


def _repeated_derivative(order: int, graph: Graph, variables: Variables) -> Graph:
    if graph.structure != tree.LEAF:
        raise not_one_value(graph.name)
    (variable,) = variables.numbers
    for shape in (graph.outputs[0].shape, graph.inputs[variable].shape):
        if shape != ():
            raise not_scalar(shape, graph.name)
    for _ in range(order):
        x = graph.inputs[variable]
        moved = forward(graph.outputs, [x], [filled(x, 1.0)])
        graph = dataclasses.replace(graph, outputs=tuple(moved))
    return graph


_SEPARATE = frozenset([*ELEMENTWISE, "input", "const", "cast", "broadcast", "reshape", "stop_gradient", "scan"])


def _refuse_mixing(fun: Function, shapes: Sequence[Any], shape: Any) -> None:
    """ShapeError if `fun` of arrays is not the same as `fun` of their elements: a sum, say, means something else."""
    try:
        graph = trace(fun, [Input(s) for s in shapes])
    except Exception:  # not defined for arrays, so of numbers without doubt; other faults show when it is compiled
        return
    mixing = next((node.op for node in graph.nodes if node.op not in _SEPARATE), None)
    if mixing is not None or [y.shape for y in graph.outputs] != [shape]:
        name = getattr(fun, "__name__", "the function")
        why = f"has '{mixing}' in it" if mixing else f"gives shape {graph.outputs[0].shape} for arguments of {shape}"
        raise ShapeError(
            f"{name} of arrays is not {name} of their elements: it {why}\n"
            "  cure: grad or jacobian for a function of arrays; arguments that are numbers for a partial derivative"
        )


# ---- batches


def vmap(fun: Function, in_axes: int | Sequence[int | None] | None = 0) -> Transform:
    """`fun` for every instance of a batch at once, in compiled code.

    Parameters
    ----------
    fun : callable
        A function of one instance, or another transform: ``vmap(value_and_grad(f))``, ``vmap(vmap(f))``.
    in_axes : int, None or sequence of these, optional
        For each positional argument the axis that counts instances, or None for an argument that all of them share.
        Keyword arguments are shared.

    Returns
    -------
    callable
        Takes the arguments of `fun` with their batch axes and returns its results with a leading batch axis. With
        ``out=``, arrays nested and shaped like the result, it writes there and returns `out`: for large batches the
        memory of a new result costs as much time as the computation.

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
    return Transform(fun, "vmap", unchanged, (), in_axes)


# ---- what derivatives do not see


def stop_gradient(x: Any) -> Any:
    """`x` itself, as a constant to derivatives.

    Parameters
    ----------
    x : array_like
        An array, or nested dicts, lists and tuples of arrays; traced ones inside a function that is differentiated.

    Returns
    -------
    array_like
        The same values.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> float(fg.grad(lambda x: x * fg.stop_gradient(x))(3.0))
    3.0
    """
    return tree.map_leaves(_stopped, x)


def _stopped(leaf: Any) -> Any:
    value = lowered(leaf)
    if not isinstance(value, Traced):
        return leaf
    node = value._node
    return Traced(node.builder.make("stop_gradient", (node,)))
