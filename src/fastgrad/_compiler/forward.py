"""Forward mode: tangents of a graph's outputs, given tangents of what they depend on.

Like the reverse pass it makes nodes of the same operations: elementwise ones by their partial derivatives, linear
ones by applying the operation to the tangents, the rest by a rule of their own (rules.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Graph, Node, ancestors, filled
from .rules import LINEAR, PARTIALS, PUSHFORWARDS


def forward(outputs: Sequence[Node], wrt: Sequence[Node], tangents: Sequence[Node]) -> list[Node]:
    """Tangents of `outputs` when the nodes `wrt` have these tangents (of the same shapes and dtypes).

    The nodes `wrt` count as independent variables: nothing passes through one of them to another. What a constant
    direction does not reach, such as the other elements along a unit vector, has no tangent: it is not multiplied by 0.
    """
    known: dict[Node, Node | None] = dict(zip(wrt, tangents, strict=True))
    for node in ancestors(outputs):
        if node not in known:
            tangent = _push(node, [known[x] for x in node.inputs])
            known[node] = None if tangent is not None and tangent.number == 0 else tangent
    return [filled(node, 0.0) if (tangent := known[node]) is None else tangent for node in outputs]


def linearized(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The graph with an input more for the tangent of each of the inputs `wrt`; its outputs are the tangents."""
    variables = [graph.inputs[number] for number in wrt]
    tangents = [x.builder.input(x.shape, x.dtype) for x in variables]
    return Graph(
        (*graph.inputs, *tangents), tuple(forward(graph.outputs, variables, tangents)), graph.structure, graph.name
    )


def _push(node: Node, tangents: Sequence[Node | None]) -> Node | None:
    """The tangent of a node, None for zero."""
    if all(t is None for t in tangents):
        return None
    rule = PUSHFORWARDS.get(node.op)
    if rule is not None:
        return rule(node, tangents)
    if node.op in LINEAR:
        full = tuple([filled(x, 0.0) if t is None else t for x, t in zip(node.inputs, tangents, strict=True)])
        return node.builder.make(node.op, full, node.attributes)
    total: Node | None = None
    for partial, t in zip(PARTIALS[node.op](*node.inputs, node), tangents, strict=True):
        if partial is None or t is None:
            continue
        is_unit = not isinstance(partial, Node) and abs(partial) == 1
        term = (t if partial == 1 else -t) if is_unit else partial * t
        total = term if total is None else total + term
    return total
