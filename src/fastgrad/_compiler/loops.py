"""Loops: a recurrence of any length as one node with a body of its own, and its derivative.

The operation is `scan`, its attributes a `Loop`, its operands (first carry, rows..., wholes...): at step t the body
gets the carry, row t of each of the rows, and each of the wholes. All that it makes is one vector, so that views take
the parts: the last carry, then the rows that it made, then the carries before the steps 0, every, 2 every, ...

The derivative is made of loops again, so it has derivatives of any order. Carries are stored at every step while they
are few, else at every k-th of about k * k steps: then a loop backwards over segments of k steps first runs each segment
anew and stores its carries (Griewank & Walther, *Evaluating Derivatives*, chapter 12, with two levels). A loop whose
stored carries or rows nobody reads is compiled without them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .autodiff import backward
from .batching import RULES, batched
from .forward import forward
from .graph import (
    INFER,
    SMALL,
    VIEWS,
    Builder,
    Graph,
    Node,
    broadcast,
    cast,
    concatenate,
    index_add,
    inline,
    multiply_guarded,
    reshape,
    slice_axis,
    transpose,
    truth_as_number,
    uniform,
)
from .rules import COSTLY, PULLBACKS, PUSHFORWARDS, Contribution, Tangents, Times
from .simplify import Simplifier, rebuild

STORED_AT_ONCE = 1 << 18  # bytes of carries: up to here each step's is stored


@dataclass(frozen=True)
class Loop:
    """The attributes of a `scan`.

    The body's inputs are the carry (a vector), `n_rows` rows and the wholes; its outputs the next carry and the row
    made, both vectors of the carry's dtype. Its products are not fused: so its derivatives are simpler.
    """

    body: Graph
    length: int
    every: int
    n_rows: int
    derived: dict[Any, Graph] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def carry(self) -> int:
        """Elements of the carry."""
        return self.body.outputs[0].size

    @property
    def row(self) -> int:
        """Elements of the row made at a step."""
        return self.body.outputs[1].size

    @property
    def n_stored(self) -> int:
        """How many carries are stored."""
        return -(-self.length // self.every) if self.every else 0


def _infer(inputs: tuple[Node, ...], loop: Loop) -> Any:
    size = loop.carry + loop.length * loop.row + loop.n_stored * loop.carry
    return (size,), loop.body.inputs[0].dtype, False


INFER["scan"] = _infer


# ---- making a loop


def scan(
    body: Graph, first: Node, rows: Sequence[Node], wholes: Sequence[Node], length: int, every: int | None = None
) -> Node:
    """The node of a loop in the builder of `first`; what the body computes from the wholes alone is computed before."""
    inner = body.inputs
    varying = inner[: 1 + len(rows)]
    closed, outside = extract(varying, body.outputs, body.name)
    before = Graph((inner[0], *inner[1 + len(rows) :]), tuple(outside))
    return closed_scan(closed, first, rows, inline(before, [first, *wholes]), length, every)


def closed_scan(
    body: Graph, first: Node, rows: Sequence[Node], wholes: Sequence[Node], length: int, every: int | None = None
) -> Node:
    """The same for a body that has nothing left to compute before; operands that it does not use are left out."""
    used = set(body.nodes)
    pairs = [(x, given) for x, given in zip(body.inputs[1:], (*rows, *wholes), strict=True) if x in used]
    n_rows = sum(x in used for x in body.inputs[1 : 1 + len(rows)])
    if every is None:
        every = spacing(length, first.size * first.dtype.itemsize)
    body = dataclasses.replace(body, inputs=(body.inputs[0], *[x for x, _ in pairs]))
    return first.builder.make("scan", (first, *[given for _, given in pairs]), Loop(body, length, every, n_rows))


def spacing(length: int, n_bytes: int) -> int:
    """After how many steps a carry of so many bytes is stored: 1, or about the root of the length, a divisor if any."""
    if length * n_bytes <= STORED_AT_ONCE:
        return 1
    root = math.sqrt(length)
    near = sorted(range(math.ceil(root / 2), math.ceil(2 * root)), key=lambda k: abs(math.log(k / root)))
    return next((k for k in near if length % k == 0), math.ceil(root))


def extract(varying: Sequence[Node], outputs: Sequence[Node], name: str, oldest: int = 0) -> tuple[Graph, list[Node]]:
    """What `varying` reaches of a graph as a simplified graph of its own, and the nodes outside that it reads.

    Its inputs are `varying` and then those nodes. Small constants are copied into it and views made in it, as they cost
    nothing there. Nodes with a number below `oldest` are known not to depend on `varying`.
    """
    reached: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in reached and node.id >= oldest:
            reached.add(node)
            stack.extend(node.inputs)
    builder = Simplifier()
    made = {x: builder.input(x.shape, x.dtype, x.is_bool) for x in varying}
    depends = set(varying)
    outside: dict[Node, Node] = {}

    def operand(x: Node) -> Node:
        if x not in made:
            if x.op == "const" and x.size <= SMALL:
                made[x] = builder.constant(x.value, x.is_bool)
            elif x.op in VIEWS and x.inputs[0].op != "scan":  # of a loop the part that is read, not all that it stores
                made[x] = builder.make(x.op, (operand(x.inputs[0]),), x.attributes)
            else:
                made[x] = outside[x] = builder.input(x.shape, x.dtype, x.is_bool)
        return made[x]

    for node in sorted(reached, key=lambda node: node.id):
        if node not in depends and not depends.isdisjoint(node.inputs):
            depends.add(node)
            made[node] = builder.make(node.op, tuple([operand(x) for x in node.inputs]), node.attributes)
    results = tuple([operand(x) for x in outputs])
    builder.is_open = False
    inputs = tuple([made[x] for x in varying]) + tuple(outside.values())
    return Graph(inputs, results, name=name), list(outside)


# ---- vectors and their parts


def flat(builder: Builder, nodes: Iterable[Node], dtype: np.dtype) -> Node:
    """The elements of nodes one after another."""
    vectors = [reshape(cast(truth_as_number(x), dtype), (x.size,)) for x in nodes if x.size]
    return concatenate(vectors, 0) if vectors else builder.constant(np.zeros(0, dtype))


def parts(vector: Node, shapes: Iterable[tuple[int, ...]]) -> list[Node]:
    """Consecutive elements along the last axis in these shapes; other axes lead."""
    lead, axis, start, found = vector.shape[:-1], vector.ndim - 1, 0, []
    for shape in shapes:
        size = math.prod(shape)
        found.append(reshape(slice_axis(vector, axis, start if size else 0, size), (*lead, *shape)))
        start += size
    return found


def last_carry(node: Node) -> Node:
    """The carry after the last step."""
    return slice_axis(node, 0, 0, node.attributes.carry)


def rows_made(node: Node) -> Node:
    """The rows that the steps made, (length, size)."""
    loop: Loop = node.attributes
    size = loop.length * loop.row
    return reshape(slice_axis(node, 0, loop.carry if size else 0, size), (loop.length, loop.row))


def stored_carries(node: Node) -> Node:
    """The carries stored, (number, size)."""
    loop: Loop = node.attributes
    size = loop.n_stored * loop.carry
    start = loop.carry + loop.length * loop.row if size else 0
    return reshape(slice_axis(node, 0, start, size), (loop.n_stored, loop.carry))


def flipped(x: Node) -> Node:
    """Rows in reverse order."""
    n = x.shape[0]
    return slice_axis(x, 0, n - 1, n, -1) if n > 1 else x


def _segments(x: Node | None, n: int, k: int) -> Node | None:
    """The first n * k rows as n groups of k."""
    return None if x is None else reshape(slice_axis(x, 0, 0, n * k), (n, k, *x.shape[1:]))


def _adjoint_of(g: Node, start: int, size: int) -> Node | None:
    """A part of the adjoint of a loop's vector, or None when it is zero.

    Adjoints of such vectors are zeros with something added to parts: only what meets this one is taken.
    """
    added = []
    while g.op == "index_add":
        ((low, length, step),) = g.attributes
        high = low + (length - 1) * step
        low, high = min(low, high), max(low, high)
        if length and low < start + size and start <= high:
            if low < start or high >= start + size:
                break
            added.append(g)
        g = g.inputs[0]
    if not size:
        return None
    total = None if uniform(g) == 0 else slice_axis(g, 0, start, size)
    for x in reversed(added):
        ((low, length, step),) = x.attributes
        if total is None and length == size and step == 1:
            total = x.inputs[1]
        else:
            total = _zeros(g.builder, size, g.dtype) if total is None else total
            total = index_add(total, ((low - start, length, step),), x.inputs[1])
    return total


def _zeros(builder: Builder, size: int, dtype: np.dtype) -> Node:
    return broadcast(builder.scalar(0.0, dtype), (size,))


# ---- the derivative


def _pull_back(
    g: Node, times: Times, y: Node, first: Node, *operands: Node, wanted: Sequence[bool]
) -> Sequence[Contribution]:
    """Contributions to the first carry and to those other operands that are `wanted`."""
    loop: Loop = y.attributes
    n, carry = loop.length, loop.carry
    wanted = wanted[1:]
    back = _Backwards(loop, tuple(wanted), times is multiply_guarded)
    rows, wholes = operands[: loop.n_rows], operands[loop.n_rows :]
    at_last = _adjoint_of(g, 0, carry)
    at_rows = _adjoint_of(g, carry, n * loop.row)
    at_stored = _adjoint_of(g, carry + n * loop.row, loop.n_stored * carry)
    at_rows = None if at_rows is None else reshape(at_rows, (n, loop.row))
    stored = stored_carries(y)
    at_stored = None if at_stored is None else reshape(at_stored, stored.shape)
    start = at_last if at_last is not None else _zeros(y.builder, carry, y.dtype)
    totals = flat(y.builder, [start, _zeros(y.builder, back.n_totals, y.dtype)], y.dtype)
    run = back.steps if loop.every == 1 else back.segments
    totals, to_rows = run(totals, stored, at_stored, at_rows, rows, wholes)
    to_first, *to_wholes = parts(totals, [(carry,), *back.shapes(wholes, loop.n_rows)])
    to_operands = iter([*parts(to_rows, [x.shape[1:] for x in back.chosen(rows, 0)]), *to_wholes])
    return to_first, *[
        cast(next(to_operands), x.dtype) if is_wanted else None for x, is_wanted in zip(operands, wanted, strict=True)
    ]


PULLBACKS["scan"] = _pull_back
COSTLY.add("scan")


class _Backwards(NamedTuple):
    """A loop run backwards: its carry is the adjoint of the loop's carry, then the sums for the wanted wholes."""

    loop: Loop
    wanted: tuple[bool, ...]  # of the operands after the carry
    is_guarded: bool

    def chosen(self, operands: Sequence[Node], first: int) -> list[Node]:
        """The wanted ones of some operands, the first of which has number `first`."""
        return [x for x, is_wanted in zip(operands, self.wanted[first:], strict=False) if is_wanted]

    def shapes(self, operands: Sequence[Node], first: int) -> list[tuple[int, ...]]:
        return [x.shape for x in self.chosen(operands, first)]

    @property
    def n_totals(self) -> int:
        """Elements of the wanted wholes."""
        n_rows = self.loop.n_rows
        return sum(map(math.prod, self.shapes(self.loop.body.inputs[1 + n_rows :], n_rows)))

    def steps(
        self,
        totals: Node,
        carries: Node,
        at_carries: Node | None,
        at_rows: Node | None,
        rows: Sequence[Node],
        wholes: Sequence[Node],
    ) -> tuple[Node, Node]:
        """All steps, whose carries are there, last one first; returns the carry and the adjoints of the rows.

        `at_carries` and `at_rows` are what the adjoints of carries and of the rows made get from elsewhere.
        """
        given = [x for x in (at_carries, at_rows) if x is not None]
        body = self._step(at_carries is not None, at_rows is not None)
        backwards = [flipped(x) for x in (carries, *given, *rows)]
        node = scan(body, totals, backwards, wholes, carries.shape[0])
        return last_carry(node), flipped(rows_made(node))

    def segments(
        self,
        totals: Node,
        carries: Node,
        at_carries: Node | None,
        at_rows: Node | None,
        rows: Sequence[Node],
        wholes: Sequence[Node],
    ) -> tuple[Node, Node]:
        """The same when carries are stored at every k-th step only: segment by segment, the short last one first."""
        n, rest = divmod(self.loop.length, self.loop.every)
        k = self.loop.every
        found = []
        if rest:
            tail = [None if x is None else slice_axis(x, 0, n * k, rest) for x in (at_rows, *rows)]
            at = [None if x is None else reshape(slice_axis(x, 0, n, 1), x.shape[1:]) for x in (carries, at_carries)]
            totals, to_rows = self._segment(totals, at, tail, wholes, rest)
            found.append(to_rows)
        grouped = [_segments(x, n, k) for x in (at_rows, *rows)]
        heads = [None if x is None else slice_axis(x, 0, 0, n) for x in (carries, at_carries)]
        outer = [x for x in (*heads, *grouped) if x is not None]

        builder = Builder()
        inner_totals = builder.input(totals.shape, totals.dtype)
        inputs = [builder.input(x.shape[1:], x.dtype, x.is_bool) for x in outer]
        inner_wholes = [builder.input(x.shape, x.dtype, x.is_bool) for x in wholes]
        given = iter(inputs)
        at = [None if x is None else next(given) for x in (carries, at_carries, at_rows)]
        inner_last, inner_rows = self._segment(inner_totals, at[:2], [at[2], *given], inner_wholes, k)
        made = reshape(inner_rows, (inner_rows.size,))
        body = Graph((inner_totals, *inputs, *inner_wholes), (inner_last, made), name=self.loop.body.name)

        node = scan(body, totals, [flipped(x) for x in outer], wholes, n)
        found.append(reshape(flipped(rows_made(node)), (n * k, inner_rows.shape[1])))
        return last_carry(node), concatenate(found[::-1], 0)

    def _segment(
        self,
        totals: Node,
        at_start: Sequence[Node | None],
        along: Sequence[Node | None],
        wholes: Sequence[Node],
        length: int,
    ) -> tuple[Node, Node]:
        """Some steps of which only the first carry is there: forwards for the others, then backwards.

        `at_start` are this carry and what its adjoint gets from elsewhere, `along` that of the rows made, and the rows.
        """
        carry, at_carry = at_start
        at_rows, *others = along
        rows = [x for x in others if x is not None]
        assert carry is not None
        body = self.loop.body
        nothing = flat(body.outputs[0].builder, [], body.outputs[0].dtype)
        forwards = dataclasses.replace(body, outputs=(body.outputs[0], nothing))
        carries = stored_carries(scan(forwards, carry, rows, wholes, length, every=1))
        totals, to_rows = self.steps(totals, carries, None, at_rows, rows, wholes)
        if at_carry is not None:
            totals = index_add(totals, ((0, at_carry.size, 1),), at_carry)
        return totals, to_rows

    def _step(self, has_carry: bool, has_row: bool) -> Graph:
        """One step backwards: from totals, carry, adjoints of carry and row made, rows and wholes."""
        key = ("backwards", self.wanted, self.is_guarded, has_carry, has_row)
        known = self.loop.derived.get(key)
        if known is not None:
            return known
        loop, forwards = self.loop, self.loop.body
        builder = Builder()
        dtype = forwards.inputs[0].dtype
        totals = builder.input((loop.carry + self.n_totals,), dtype)
        inputs = [builder.input(x.shape, x.dtype, x.is_bool) for x in forwards.inputs]
        at_carry = builder.input((loop.carry,), dtype) if has_carry else None
        at_row = builder.input((loop.row,), dtype) if has_row else None
        rows, wholes = inputs[1 : 1 + loop.n_rows], inputs[1 + loop.n_rows :]
        chosen = [inputs[0], *self.chosen(rows, 0), *self.chosen(wholes, loop.n_rows)]
        outputs = inline(forwards, inputs)
        to_carry, *sums = parts(totals, [(loop.carry,), *self.shapes(wholes, loop.n_rows)])
        seeds = [to_carry] if at_row is None else [to_carry, at_row]
        adjoints = backward(outputs[: len(seeds)], seeds, chosen, self.is_guarded)
        n_row_adjoints = len(self.chosen(rows, 0))
        to_carry, to_rows, to_wholes = adjoints[0], adjoints[1 : 1 + n_row_adjoints], adjoints[1 + n_row_adjoints :]
        if at_carry is not None:
            to_carry = to_carry + at_carry
        sums = [a + cast(b, dtype) for a, b in zip(sums, to_wholes, strict=True)]
        given = [x for x in (at_carry, at_row) if x is not None]
        graph = Graph(
            (totals, inputs[0], *given, *rows, *wholes),
            (flat(builder, [to_carry, *sums], dtype), flat(builder, to_rows, dtype)),
            name=forwards.name,
        )
        return loop.derived.setdefault(key, graph)


# ---- forward mode, and batches


def _push(node: Node, tangents: Tangents) -> Node | None:
    """The tangent of all that a loop makes: a loop whose carry is the carry and its tangent."""
    loop: Loop = node.attributes
    first, operands, dtype = node.inputs[0], node.inputs[1:], node.dtype
    changing = tuple([t is not None for t in tangents[1:]])
    moved = [t for t in tangents[1 : 1 + loop.n_rows] if t is not None]
    shifted = [t for t in tangents[1 + loop.n_rows :] if t is not None]
    start = _zeros(first.builder, first.size, dtype) if tangents[0] is None else tangents[0]
    both = scan(
        _pushed(loop, changing),
        concatenate([first, start], 0),
        [*operands[: loop.n_rows], *moved],
        [*operands[loop.n_rows :], *shifted],
        loop.length,
        loop.every,
    )
    carries = slice_axis(stored_carries(both), 1, loop.carry, loop.carry)
    return flat(node.builder, [slice_axis(both, 0, loop.carry, loop.carry), rows_made(both), carries], dtype)


def _pushed(loop: Loop, changing: tuple[bool, ...]) -> Graph:
    """One step for the carry and its tangent, with tangents of those operands that are `changing`."""
    key = ("forwards", changing)
    known = loop.derived.get(key)
    if known is not None:
        return known
    plain, n_rows = loop.body, loop.n_rows
    builder = Builder()
    both = builder.input((2 * loop.carry,), plain.inputs[0].dtype)
    carry, tangent = parts(both, [(loop.carry,)] * 2)
    operands = [builder.input(x.shape, x.dtype, x.is_bool) for x in plain.inputs[1:]]
    moving = [x for x, changes in zip(operands, changing, strict=True) if changes]
    tangents = [builder.input(x.shape, x.dtype) for x in moving]
    n_moved = sum(changing[:n_rows])
    outputs = inline(plain, [carry, *operands])
    to_carry, to_row = forward(outputs, [carry, *moving], [tangent, *tangents])
    inputs = (both, *operands[:n_rows], *tangents[:n_moved], *operands[n_rows:], *tangents[n_moved:])
    graph = Graph(inputs, (concatenate([outputs[0], to_carry], 0), to_row), name=plain.name)
    return loop.derived.setdefault(key, graph)


def _batched(node: Node, operands: tuple[Node, ...], n: int) -> Node:
    """The loops of n instances as one loop, whose carry is theirs one after another."""
    loop: Loop = node.attributes
    first, *rest = operands
    is_shared = [x.op == "broadcast" and x.inputs[0].shape == x.shape[1:] for x in rest]
    rest = [x.inputs[0] if shared else x for x, shared in zip(rest, is_shared, strict=True)]
    plain = batched(loop.body, [True, *[not shared for shared in is_shared]], n)
    builder = Builder()
    carry = builder.input((n * loop.carry,), node.dtype)
    inputs = [builder.input(x.shape, x.dtype, x.is_bool) for x in plain.inputs[1:]]
    outputs = inline(plain, [reshape(carry, (n, loop.carry)), *inputs])
    body = Graph((carry, *inputs), tuple([reshape(x, (x.size,)) for x in outputs]), name=loop.body.name)
    rows = [
        x if shared else transpose(x, (1, 0, *range(2, x.ndim)))  # steps first
        for x, shared in zip(rest[: loop.n_rows], is_shared, strict=False)
    ]
    made = scan(body, reshape(first, (first.size,)), rows, rest[loop.n_rows :], loop.length, loop.every)
    stacks = [rows_made(made), stored_carries(made)]
    sizes = [loop.row, loop.carry]
    by_instance = [
        reshape(transpose(reshape(x, (len_, n, size)), (1, 0, 2)), (n, len_ * size))
        for x, len_, size in zip(stacks, (loop.length, loop.n_stored), sizes, strict=True)
    ]
    return concatenate([reshape(last_carry(made), (n, loop.carry)), *by_instance], 1)


PUSHFORWARDS["scan"] = _push
RULES["scan"] = _batched


# ---- before it is compiled


def without_unread(graph: Graph) -> Graph:
    """Loops neither store carries nor make rows that nobody reads."""
    needs: dict[Node, list[bool]] = {x: [False, False] for x in graph.nodes if x.op == "scan"}
    if not needs:
        return graph
    for node in graph.nodes:
        for x in node.inputs:
            if x in needs:
                _note(needs[x], x, node)
    for x in graph.outputs:
        if x in needs:
            needs[x] = [True, True]
    smaller = {x: _reduced(x.attributes, *flags) for x, flags in needs.items()}

    def make(node: Node, operands: tuple[Node, ...]) -> Node:
        builder = operands[0].builder
        if node in smaller:
            loop, kept = smaller[node]
            return builder.make("scan", tuple([operands[i] for i in kept]), loop)
        if node.op == "slice" and node.inputs[0] in smaller:
            before, (after, _) = node.inputs[0].attributes, smaller[node.inputs[0]]
            ((start, length, step),) = node.attributes
            if start >= before.carry + before.length * before.row:
                start -= before.length * (before.row - after.row)
            return builder.make("slice", operands, ((start, length, step),))
        return builder.make(node.op, operands, node.attributes)

    return rebuild(graph, Builder(), make)


def _note(flags: list[bool], node: Node, reader: Node) -> None:
    """Mark whether `reader` reads rows of a loop, stored carries, or both."""
    loop: Loop = node.attributes
    low, high = 0, node.size - 1
    if reader.op == "slice":
        ((start, length, step),) = reader.attributes
        if not length:
            return
        low, high = sorted((start, start + (length - 1) * step))
    rows = loop.carry + loop.length * loop.row
    flags[0] |= low < rows and high >= loop.carry
    flags[1] |= high >= rows


def _reduced(loop: Loop, has_rows: bool, has_stored: bool) -> tuple[Loop, list[int]]:
    """The loop without what is not read, and which of its operands it still takes."""
    body, n_rows = loop.body, loop.n_rows
    kept = list(range(len(body.inputs)))
    if not has_rows and loop.row:
        nothing = flat(body.outputs[0].builder, [], body.outputs[0].dtype)
        used = {*Graph(body.inputs, (body.outputs[0],)).nodes, body.inputs[0]}
        kept = [i for i, x in enumerate(body.inputs) if x in used]
        body = Graph(tuple([body.inputs[i] for i in kept]), (body.outputs[0], nothing), name=body.name)
        n_rows = sum(1 <= i <= loop.n_rows for i in kept)
    return Loop(body, loop.length, loop.every if has_stored else 0, n_rows), kept
