"""The chain rule as a table: what a function computes step by step, and how its derivative comes back.

`explain` traces a function as it is written, without simplification, and evaluates every step with its local
derivatives and its adjoint.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ._compiler import tree
from ._compiler.autodiff import adjoints
from ._compiler.compile import compile_graph
from ._compiler.graph import Graph, Node, filled, uniform
from ._compiler.rules import PARTIALS
from ._compiler.simplify import simplify
from ._compiler.substitute import trace
from .errors import not_one_value, not_scalar
from .transform import Arguments

SYMBOLS = {
    "add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "power": "{} ** {}",
    "negative": "-{}", "less": "{} < {}", "less_equal": "{} <= {}", "greater": "{} > {}", "greater_equal": "{} >= {}",
    "equal": "{} == {}", "not_equal": "{} != {}", "matmul": "{} @ {}", "copy": "{}",
}  # fmt: skip


class Step(NamedTuple):
    """One step of a function.

    Attributes
    ----------
    name : str
        An argument's name, or v1, v2 ... for what is computed.
    expression : str
        What it is, in terms of earlier steps.
    value : ndarray
        Its value.
    locals : dict
        Derivatives of the step by its operands, element by element: operand's name to array. Empty for steps that
        move or combine elements.
    adjoint : ndarray or None
        Derivative of the function by this step; None where the function does not depend on the arguments through it.
    """

    name: str
    expression: str
    value: np.ndarray
    locals: dict[str, np.ndarray]
    adjoint: np.ndarray | None


@dataclass(frozen=True)
class Explanation:
    """The steps of a function, from its arguments to its value; prints as a table.

    Attributes
    ----------
    name : str
        The function's.
    steps : tuple of Step
        In the order of computation. The adjoints are found in the opposite order: the adjoint of a step is the sum,
        over the steps that use it, of their adjoints times their local derivatives.
    """

    name: str
    steps: tuple[Step, ...]

    def __getitem__(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """The table's text, a row a step: name, expression, value, local derivatives, adjoint."""
        return [
            (
                step.name,
                step.expression,
                _short(step.value),
                ", ".join(f"d{step.name}/d{name} = {_short(value)}" for name, value in step.locals.items()),
                "" if step.adjoint is None else _short(step.adjoint),
            )
            for step in self.steps
        ]

    def __str__(self) -> str:
        rows = [("step", "expression", "value", "local derivatives", f"d{self.name}/dstep"), *self.rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    __repr__ = __str__


def explain(fun: Callable[..., Any], *args: Any) -> Explanation:
    """The chain rule for a function at a point, as a table of its steps.

    Parameters
    ----------
    fun : callable
        ``fun(*args)`` written with NumPy, returning a scalar.
    *args
        The point: arrays, or nested dicts, lists and tuples of arrays.

    Returns
    -------
    Explanation
        Each step with its value, its local derivatives and its adjoint; prints as a table.

    Raises
    ------
    TraceError, ShapeError
        As `grad`.

    Notes
    -----
    The steps are those of the evaluation trace in Griewank & Walther, *Evaluating Derivatives* (2008), chapter 1.
    What fastgrad compiles is simplified further.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> def f(x, y):
    ...     return x * y + np.sin(x)
    >>> fg.explain(f, 0.0, 3.0)
    step  expression  value  local derivatives         df/dstep
    ----  ----------  -----  ------------------------  --------
    x                 0                                4
    y                 3                                0
    v1    x * y       0      dv1/dx = 3, dv1/dy = 0    1
    v2    sin(x)      0      dv2/dx = 1                1
    v3    v1 + v2     0      dv3/dv1 = 1, dv3/dv2 = 1  1
    """
    call = Arguments(args, {}, tuple(range(len(args))))
    graph = trace(fun, call.leaves_to_trace())
    if graph.structure != tree.LEAF:
        raise not_one_value(graph.name)
    (y,) = graph.outputs
    if y.shape != ():
        raise not_scalar(y.shape, graph.name)
    found = adjoints([y], [filled(y, 1.0)], graph.inputs)
    steps = [*graph.inputs, *[x for x in graph.nodes if x.op not in ("input", "const") and x.op not in SILENT]]
    names = _names(fun, call, graph, steps)
    partials = {x: PARTIALS[x.op](*x.inputs, x) if x.op in PARTIALS and x in found else () for x in steps}
    wanted: list[Node] = [*steps, *[found[x] for x in steps if x in found]]
    wanted += [filled(x, p) if not isinstance(p, Node) else p for x in steps for p in partials[x] if p is not None]
    values = iter(_evaluate(graph, wanted, call.inputs))
    of_step = {x: next(values) for x in steps}
    of_adjoint = {x: next(values) for x in steps if x in found}
    of_partial = {x: [None if p is None else next(values) for p in partials[x]] for x in steps}
    rows = []
    for x in steps:
        local: dict[str, np.ndarray] = {}
        for operand, value in zip(map(_heard, x.inputs), of_partial[x], strict=False):
            if value is not None and operand in names:  # an operand used twice counts twice
                local[names[operand]] = local.get(names[operand], 0.0) + value
        rows.append(Step(names[x], _expression(x, names), of_step[x], local, of_adjoint.get(x)))
    return Explanation(graph.name, tuple(rows))


SILENT = ("broadcast", "cast")  # repeats or converts its operand: the table shows that instead


def _heard(node: Node) -> Node:
    while node.op in SILENT:
        node = node.inputs[0]
    return node


def _names(fun: Callable[..., Any], call: Arguments, graph: Graph, steps: Sequence[Node]) -> dict[Node, str]:
    try:
        given = list(inspect.signature(fun).parameters)
    except (TypeError, ValueError):
        given = []
    given += [f"x{n}" for n in range(len(given), len(call.structures))]
    leaves = [
        path for name, structure in zip(given, call.structures, strict=False) for path in tree.paths(structure, name)
    ]
    names = dict(zip(graph.inputs, leaves, strict=True))
    taken = set(leaves)
    fresh = (name for number in itertools.count(1) if (name := f"v{number}") not in taken)
    return names | {x: next(fresh) for x in steps if x not in names}


def _expression(x: Node, names: dict[Node, str]) -> str:
    if x.op == "input":
        return ""
    operands = [_operand(_heard(operand), names) for operand in x.inputs]
    if x.op in SYMBOLS:
        return SYMBOLS[x.op].format(*operands)
    if x.op == "slice":
        return f"{operands[0]}[{', '.join(_range(*s) for s in x.attributes)}]"
    shown = {"reshape": "shape", "sum": "axis", "prod": "axis", "max": "axis", "min": "axis", "concatenate": "axis"}
    if x.op in shown and (x.op == "concatenate" or len(x.attributes) != x.inputs[0].ndim):
        attribute = x.attributes[0] if x.attributes and len(x.attributes) == 1 else x.attributes
        operands.append(f"{shown[x.op]}={attribute}")
    return f"{x.op}({', '.join(operands)})"


def _operand(x: Node, names: dict[Node, str]) -> str:
    if x in names:
        return names[x]
    number = uniform(x)
    return f"array{x.shape}" if number is None else f"{number:.6g}"


def _range(start: int, length: int, step: int) -> str:
    if length == 1:
        return str(start)
    stop = start + length * step
    return f"{start}:{stop if stop >= 0 else ''}" + (f":{step}" if step != 1 else "")


def _evaluate(graph: Graph, wanted: Sequence[Node], inputs: list[np.ndarray]) -> list[np.ndarray]:
    compiled = compile_graph(simplify(Graph(graph.inputs, tuple(wanted))))
    outputs = [np.empty(shape, dtype) for shape, dtype in compiled.outputs]
    compiled.program.run(inputs, outputs)
    return outputs


def _short(value: np.ndarray) -> str:
    value = np.asarray(value)
    if value.size == 1:
        return f"{value.item():.6g}"
    return np.array2string(value, precision=4, threshold=6, edgeitems=2, suppress_small=True).replace("\n", "")
