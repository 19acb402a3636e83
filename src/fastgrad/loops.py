"""Loops of any length as one instruction: `scan` and `fori_loop`.

A step is traced once; the loop runs in C and has derivatives of any order. Outside a traced function a loop is compiled
and run at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import FLOAT32, FLOAT64, as_floats, is_integer
from ._compiler import loops, tree
from ._compiler.filled import lowered
from ._compiler.graph import Builder, Node, cast, elementwise
from ._compiler.substitute import trace
from ._compiler.trace import FOREIGN, Traced, enclosing_builder
from .errors import shape_error, trace_error
from .transform import Transform


def scan(
    step: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """A recurrence in compiled code: ``carry, y = step(carry, x)`` for each x in turn.

    Parameters
    ----------
    step : callable
        ``step(carry, x)``, written with NumPy, returns the next carry and what to keep of this step (None for nothing).
        It is traced once, so it must not branch on values; it may refer to other arrays of the traced function.
    init : array or nested dicts, lists and tuples of arrays
        The first carry. Its structure, shapes and dtypes stay the same from step to step.
    xs : array or nested dicts, lists and tuples of arrays, optional
        Step i gets ``xs[i]``, of each of the arrays. None, the default, gives each step None.
    length : int, optional
        The number of steps; needed when there are no `xs`.
    reverse : bool, optional
        Whether to go from the last of `xs` to the first; what the steps return stays in the order of `xs`.

    Returns
    -------
    carry
        That after the last step.
    ys
        What the steps returned, stacked along a new first axis.

    Raises
    ------
    TraceError, ShapeError
        When `step` does not return a pair, or a carry unlike the one it got; the message names the part.

    Notes
    -----
    A gradient runs the loop forwards, storing carries, and then backwards. When carries of all steps would take more
    than 256 KiB, about the root of their number is stored and the rest computed again.

    Examples
    --------
    An exponential filter, and how its last value depends on the rate:

    >>> import numpy as np, fastgrad as fg
    >>> def smooth(rate, x):
    ...     def step(level, x):
    ...         level = level + rate * (x - level)
    ...         return level, level
    ...     return fg.scan(step, x[0], x)
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> smooth(0.5, x)[1]
    array([1.  , 1.5 , 2.75])
    >>> float(fg.grad(lambda rate: smooth(rate, x)[0])(0.5))
    3.0
    """
    leaves, structure = tree.flatten(init)
    rows, row_structure = ([], tree.structure_of(tuple, [])) if xs is None else tree.flatten(xs)
    leaves = [_array(x, f"init{path}") for x, path in zip(leaves, tree.paths(structure), strict=True)]
    rows = [_array(x, f"xs{path}") for x, path in zip(rows, tree.paths(row_structure), strict=True)]
    n = _length([(f"xs{path}", x) for x, path in zip(rows, tree.paths(row_structure), strict=True)], length)
    if not callable(step):
        raise TypeError(f"step must be a function, got {type(step).__name__}")
    builder = enclosing_builder()
    if builder is None:  # a plain call; not remembered, as what step refers to may change
        keeps_none, is_truth = False, [x.dtype.kind == "b" for x in leaves]

        def whole_loop(leaves: list[Any], rows: list[Any]) -> Any:
            nonlocal keeps_none
            leaves = [x != 0 if flag else x for x, flag in zip(leaves, is_truth, strict=True)]  # arguments are numbers
            x = None if xs is None else tree.unflatten(row_structure, rows)
            carry, ys = scan(step, tree.unflatten(structure, leaves), x, n, reverse)
            keeps_none = ys is None
            return carry, () if keeps_none else ys

        carry, ys = Transform(whole_loop, "scan")(leaves, rows)
        return carry, None if keeps_none else ys
    first = [_node(builder, x) for x in leaves]
    row_nodes = [_node(builder, x) for x in rows]
    if reverse:
        row_nodes = [loops.flipped(x) for x in row_nodes]
    dtype = _common(first)
    body = _Body(step, builder, first, structure, row_nodes, None if xs is None else row_structure, dtype)
    if _common(body.made) != dtype and body.made:  # what is kept is wider than the carry
        dtype = _common([*first, *body.made])
        body = _Body(step, builder, first, structure, row_nodes, None if xs is None else row_structure, dtype)
    loop = loops.closed_scan(body.graph, loops.flat(builder, first, dtype), row_nodes, body.outside, n)
    last = loops.parts(loops.last_carry(loop), [x.shape for x in first])
    ys = loops.parts(loops.rows_made(loop), [x.shape for x in body.made])
    if reverse:
        ys = [loops.flipped(x) for x in ys]
    carry = tree.unflatten(structure, [Traced(_like(x, model)) for x, model in zip(last, first, strict=True)])
    if body.made_structure is None:
        return carry, None
    kept = [Traced(_like(x, model)) for x, model in zip(ys, body.made, strict=True)]
    return carry, tree.unflatten(body.made_structure, kept)


def fori_loop(lower: int, upper: int, body: Callable[[Any, Any], Any], init: Any) -> Any:
    """``carry = body(i, carry)`` for i from `lower` to `upper` - 1, in compiled code.

    Parameters
    ----------
    lower, upper : int
        Where to start, and where to stop before.
    body : callable
        ``body(i, carry)``, written with NumPy, returns the next carry. It is traced once; `i` is a traced number.
    init : array or nested dicts, lists and tuples of arrays
        The first carry, as for `scan`.

    Returns
    -------
    carry
        That after the last step; `init` when `upper` is not above `lower`.

    Examples
    --------
    The square root of 2 by Heron's method:

    >>> import fastgrad as fg
    >>> float(fg.fori_loop(0, 6, lambda i, x: (x + 2 / x) / 2, 1.0))
    1.414213562373095
    """
    if not is_integer(lower) or not is_integer(upper):
        raise TypeError(f"lower and upper must be integers, got {lower!r} and {upper!r}")
    leaves, _structure = tree.flatten(init)
    is_single = bool(leaves) and all(getattr(x, "dtype", FLOAT64) == FLOAT32 for x in leaves)
    numbers = np.arange(lower, max(lower, upper), dtype=FLOAT32 if is_single else FLOAT64)
    return scan(functools.partial(_counted, body), init, numbers)[0]


def _counted(body: Callable[[Any, Any], Any], carry: Any, i: Any) -> tuple[Any, None]:
    return body(i, carry), None


class _Body:
    """What `step` computes, as the body of a loop: traced in the enclosing trace, then cut out of it."""

    def __init__(
        self,
        step: Callable[..., Any],
        builder: Builder,
        first: list[Node],
        structure: tree.Structure,
        rows: list[Node],
        row_structure: tree.Structure | None,
        dtype: np.dtype,
    ) -> None:
        carry = builder.input((sum(x.size for x in first),), dtype)
        given = [builder.input(x.shape[1:], x.dtype, x.is_bool) for x in rows]
        pieces = loops.parts(carry, [x.shape for x in first])
        stand_ins = [Traced(_like(x, model), FOREIGN) for x, model in zip(pieces, first, strict=True)]
        row_stand_ins = [Traced(x, FOREIGN) for x in given]
        arguments = [
            tree.unflatten(structure, stand_ins),
            None if row_structure is None else tree.unflatten(row_structure, row_stand_ins),
        ]
        self.made_structure: tree.Structure | None = None
        has_rows = True

        def pair(step: Any, carry: Any, x: Any) -> Any:  # an argument, so that what is called is a copy of it
            nonlocal has_rows
            value = step(carry, x)
            if not isinstance(value, tuple) or len(value) != 2:
                met = f"a tuple of {len(value)}" if isinstance(value, tuple) else f"a {type(value).__name__}"
                raise trace_error(
                    f"step must return a pair (carry, y), got {met}", "return carry, None to keep nothing"
                )
            has_rows = value[1] is not None
            return value if has_rows else (value[0], ())

        name = str(getattr(step, "__name__", "step"))
        traced = trace(pair, [step, *arguments], name, builder)
        after, made = traced.structure.children
        carried = list(traced.outputs[: after.n_leaves])
        self.made = list(traced.outputs[after.n_leaves :])
        if has_rows:
            self.made_structure = made
        if after != structure:
            raise trace_error(
                f"the carry changes its structure between steps: from {_shown(structure)} to {_shown(after)}",
                "return a carry nested like init, with the same keys",
            )
        for x, model, path in zip(carried, first, tree.paths(structure), strict=True):
            _check_leaf(x, model, f"carry{path}")
        outputs = [loops.flat(builder, carried, dtype), loops.flat(builder, self.made, dtype)]
        self.graph, self.outside = loops.extract([carry, *given], outputs, name, oldest=carry.id)
        builder.finished.update([carry, *given])


def _check_leaf(after: Node, before: Node, name: str) -> None:
    if after.shape != before.shape:
        raise shape_error(
            f"{name} changes its shape between steps: from {before.shape} to {after.shape}",
            "make init as large as what step returns, with np.zeros or np.broadcast_to, or reduce what step returns",
        )
    kinds = ["bool" if x.is_bool else str(x.dtype) for x in (before, after)]
    if kinds[0] != kinds[1]:
        raise trace_error(
            f"{name} changes its dtype between steps: from {kinds[0]} to {kinds[1]}",
            f"start with init of {kinds[1]}, or return .astype(np.{kinds[0]})",
        )


def _shown(structure: tree.Structure) -> str:
    return str(tree.unflatten(structure, ["*"] * structure.n_leaves)).replace("'*'", "*")


def _common(nodes: list[Node]) -> np.dtype:
    return FLOAT64 if any(x.dtype == FLOAT64 for x in nodes) else FLOAT32


def _like(x: Node, model: Node) -> Node:
    """Part of a loop's vector with the dtype of what was put there."""
    x = cast(x, model.dtype)
    return elementwise("not_equal", x, 0.0) if model.is_bool else x


def _array(value: Any, name: str) -> Any:
    """A leaf as a traced array or an array."""
    value = lowered(value)
    if isinstance(value, Traced):
        return value
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, np.ndarray) and value.dtype.kind == "b"):
        return np.asarray(value)
    return as_floats(value, name)


def _node(builder: Builder, value: Any) -> Node:
    if isinstance(value, Traced):
        return value._node
    return builder.copied_constant(value, FLOAT32 if value.dtype == FLOAT32 else FLOAT64)


def _length(rows: list[tuple[str, Any]], length: int | None) -> int:
    if length is not None and (not is_integer(length) or length < 0):
        raise TypeError(f"length must be a number of steps, got {length!r}")
    for name, x in rows:
        if not x.shape:
            raise shape_error(
                f"{name} is a single number, without an axis to step along", "pass an array for each of xs"
            )
    lengths = {name: int(x.shape[0]) for name, x in rows}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise shape_error(f"the xs differ in length: {each}", "give each as many rows")
    n = next(iter(lengths.values()), length)
    if n is None:
        raise TypeError("scan needs xs or a length\n  cure: give length=, the number of steps")
    if length is not None and n != length:
        raise shape_error(f"xs have {n} rows, but length is {length}", "leave length out")
    return int(n)
