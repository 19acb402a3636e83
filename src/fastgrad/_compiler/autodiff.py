"""Reverse mode: from a graph to the graph of its derivatives.

Adjoints are nodes made of the same operations, so the result can be differentiated again. The rules stand in
rules.py; here is the order in which they are applied and how contributions to one adjoint are summed.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence

import numpy as np

from ..errors import not_one_value, not_scalar
from .graph import (
    ELEMENTWISE,
    Frozen,
    Graph,
    Node,
    ancestors,
    broadcast,
    concatenate,
    filled,
    index_add,
    multiply_guarded,
    reshape,
    scatter_add,
)
from .rules import COSTLY, PARTIALS, PULLBACKS, Contribution, Picked, Sliced, Times
from .tree import LEAF, structure_of


def value_and_gradient(graph: Graph, wrt: Sequence[int]) -> Graph:
    """The graph whose outputs are the scalar value and its gradients by the inputs numbered in `wrt`.

    Raises ShapeError when the value is not a scalar. An input that the value does not depend on has gradient
    zero.
    """
    if graph.structure != LEAF:
        raise not_one_value(graph.name)
    (value,) = graph.outputs
    if value.shape != ():
        raise not_scalar(value.shape, graph.name)
    variables = [graph.inputs[number] for number in wrt]
    gradients = backward([value], [filled(value, 1.0)], variables)
    structure = structure_of(tuple, [LEAF] * (1 + len(variables)))
    return Graph(graph.inputs, (value, *gradients), structure, graph.name)


def backward(
    outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node], is_guarded: bool = False
) -> list[Node]:
    """Adjoints of the nodes `wrt`, given adjoints `seeds` (of the same shapes and dtypes) of the outputs.

    The nodes `wrt` count as independent variables: nothing passes through one of them to another. With `is_guarded`
    all of it is in a branch that may not be taken.
    """
    found = adjoints(outputs, seeds, wrt, is_guarded)
    return [found[node] for node in wrt]


def adjoints(
    outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node], is_guarded: bool = False
) -> dict[Node, Node]:
    """As `backward`, with the adjoint of every node between `outputs` and `wrt`."""
    order = ancestors(outputs)
    variables = set(wrt)
    active = _depending_on(order, variables)
    guarded = set(order) if is_guarded else _branches(order, SELECTIONS)
    if not is_guarded and any([node.op == "matmul" for node in guarded]):
        guarded -= _plain_products(order, outputs)
    sums = {node: _Adjoint(node) for node in variables}
    totals: dict[Node, Node] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        if output in active:
            sums.setdefault(output, _Adjoint(output)).add(seed)
    for node in reversed(order):
        if node in variables or node not in active or node not in sums:
            continue
        totals[node] = adjoint = sums.pop(node).total()
        times = multiply_guarded if node in guarded else operator.mul
        contributions = _pull_back(node, adjoint, times, active)
        if len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]:  # x * x: 2 * (g * x) is one term
            contributions = _joined(*contributions)
        for x, contribution in zip(node.inputs, contributions, strict=True):
            if contribution is not None and x in active:
                if x not in sums:
                    sums[x] = _Adjoint(x)
                sums[x].add(contribution)
    return totals | {node: sums[node].total() for node in variables}


def _depending_on(order: Sequence[Node], variables: Collection[Node]) -> set[Node]:
    active = set(variables)
    for node in order:
        for x in node.inputs:
            if x in active:
                active.add(node)
                break
    return active


# what takes one branch or another, and the first of the operands that are branches; products that guard so for a first
# derivative ask for the same in the second
BRANCHES = {"where": 1, "multiply_guarded": 1}
SELECTIONS = BRANCHES | {"relu": 0, "gate": 0}


def _branches(order: Sequence[Node], selections: dict[str, int], needed: Collection[Node] = ()) -> set[Node]:
    """Nodes that a branch is computed from, and no node of `needed`.

    Where the branch is not taken their adjoint is zero but their local derivative may be infinite or NaN,
    and the product must stay zero.
    """
    guarded: set[Node] = set()
    for node in reversed(order):
        if node in guarded:
            guarded.update(node.inputs)
        else:
            first = selections.get(node.op)
            if first is not None:
                guarded.update(node.inputs[first:])
        if needed:
            guarded.difference_update([x for x in node.inputs if x in needed])
    return guarded


def _plain_products(order: Sequence[Node], outputs: Collection[Node]) -> set[Node]:
    """Matrix products whose adjoints need no guard: their derivative is infinite or NaN only where an operand is, and
    then so is the product itself, which the outputs show when they need it whatever branches are taken. That `relu`
    hides it is no reason to guard either: a network would have its products term by term."""
    needed = set(outputs)
    for node in reversed(order):
        if node in needed:
            first = BRANCHES.get(node.op, len(node.inputs))
            needed.update(node.inputs[:first])
            if node.op == "where":
                needed.update(_reach(node.inputs[1]) & _reach(node.inputs[2]))
    in_branches = _branches(order, BRANCHES, needed)
    return {node for node in order if node.op == "matmul" and node not in in_branches}


def _reach(branch: Node) -> set[Node]:
    """A branch and what it is computed from element by element, a little way back."""
    found, stack = {branch}, [branch]
    while stack and len(found) < MOST_LOOKED_AT:
        node = stack.pop()
        if node.op in ELEMENTWISE:
            stack += [x for x in node.inputs if x not in found]
            found.update(node.inputs)
    return found


MOST_LOOKED_AT = 64


def _joined(a: Contribution, b: Contribution) -> Sequence[Contribution]:
    return (a + b, None) if isinstance(a, Node) and isinstance(b, Node) else (a, b)


def _pull_back(node: Node, adjoint: Node, times: Times, active: Collection[Node]) -> Sequence[Contribution]:
    """One contribution for each operand of `node`, or None where it is not asked for."""
    pull_back = PULLBACKS.get(node.op)
    if pull_back is not None and node.op in COSTLY:
        wanted = [x in active and not x.is_bool for x in node.inputs]
        return pull_back(adjoint, times, node, *node.inputs, wanted=wanted)
    if pull_back is not None:
        return pull_back(adjoint, times, node, *node.inputs)
    contributions: list[Contribution] = []
    for x, partial in zip(node.inputs, PARTIALS[node.op](*node.inputs, node), strict=True):
        if partial is None or x not in active:
            contributions.append(None)
        elif type(partial) is Node:
            is_number = times is operator.mul and partial.number is not None  # to the left, where it would go
            contributions.append(partial * adjoint if is_number else times(adjoint, partial))
        else:
            contributions.append(adjoint if partial == 1 else -adjoint if partial == -1 else partial * adjoint)
    return contributions


class _Adjoint:
    """The contributions to one node's adjoint, summed when all are there.

    Contributions to slices are added one after another onto the sum of the full ones, and those to numbered
    elements are scattered together, so that n reads of single elements cost n small operations and not n
    arrays.
    """

    __slots__ = ("full", "node", "picked", "sliced")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.full: Node | None = None
        self.picked: list[Picked] = []
        self.sliced: list[Sliced] = []

    def add(self, contribution: Node | Sliced | Picked) -> None:
        if isinstance(contribution, Node):
            self.full = contribution if self.full is None else self.full + contribution
        elif isinstance(contribution, Sliced):
            self.sliced.append(contribution)
        else:
            self.picked.append(contribution)

    def total(self) -> Node:
        if self.picked:
            picked, self.picked = self.picked, []
            self.add(_scattered(picked, self.node.shape))
        total = self.full
        if total is None:
            total = broadcast(self.node.builder.scalar(0.0, self.node.dtype), self.node.shape)
        for spec, value in self.sliced:
            total = index_add(total, spec, value)
        self.full, self.sliced = total, []
        return total


def _scattered(picked: Sequence[Picked], shape: tuple[int, ...]) -> Node:
    if len(picked) == 1:
        return scatter_add(picked[0].value, picked[0].table, shape)
    table = Frozen(np.concatenate([table.array for table, _ in picked]))
    return scatter_add(concatenate([reshape(value, (value.size,)) for _, value in picked], 0), table, shape)
