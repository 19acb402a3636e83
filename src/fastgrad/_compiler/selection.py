"""Instruction selection: from the nodes of a graph to instructions on views of storages.

Each value is a view of a storage. A value that only fills a part of another (an operand of a concatenation, a
contribution to the gradient of slices) is computed right there, and additions to parts go on in one memory. A
product that one sum alone uses is computed by the instruction of the sum (`FUSED`).

Where outputs are sums over lanes, so are matrix products: one that is summed is `lane_matmul`, and never there for a
single lane; and one to which something is added starts from that.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .across import Product, emit_product, emit_sum, product_of
from .graph import ELEMENTWISE, GENERALISED, REDUCTIONS, Frozen, Graph, Node, Shape, Slices, uniform, without_unit_axes
from .storage import ARENA, CONSTANT, INPUT, OUTPUT, Storage, Tape, View, fresh, merged, packed

# (operation, which of its operands is a product): the operation on the factors, then the other operand
FUSED = {
    ("add", 0): "multiply_add",
    ("add", 1): "multiply_add",
    ("subtract", 0): "multiply_subtract",
    ("subtract", 1): "negative_multiply_add",
    ("negative", 0): "negative_multiply",
    ("sum", 0): "dot",
}
SUMS = frozenset(op for op, _ in FUSED)
ADDED = {"multiply": "multiply_add", "negative_multiply": "negative_multiply_add"}  # to a part of a value
WHOLES = frozenset(["concatenate", "index_add"])  # made of parts
FOLDS = REDUCTIONS | {"dot"}
# these write their whole result once
COMPUTED = (frozenset(ELEMENTWISE) | FOLDS | GENERALISED | {"matmul", "cast", "gather"}) - {"eigh", "sort_pairs"}

# the core axes of generalised operations (csrc/ops.def), and which of them the result and the operands have
CORES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin"], ("n", "n", "n")),
    "recurrence": ("n", "n", "n", "n"),
    "sort_pairs": ("pn", "pn", "n"),
    "take_along": ("mn", "m", "n", "m"),
    "put_along": ("nm", "n", "m", "m"),
    **dict.fromkeys(["search_left", "search_right"], ("mn", "m", "n", "m")),
    **dict.fromkeys(["lu", "cholesky", "eigh"], ("ij", "ij", "ij")),
    **dict.fromkeys(["lu_solve", "lu_solve_transposed", "solve_lower"], ("ikj", "ik", "ij", "ik")),
    "lu_det": ("ij", "", "ij"),
    "lu_slogdet": ("pij", "p", "ij"),
}
OF_MATRICES = frozenset(["lu", "lu_solve", "lu_solve_transposed", "solve_lower", "cholesky", "eigh"])
MANY, SMALL = 16, 4  # so many matrices of one instance, of so many rows, are worth being laid side by side


@dataclass
class Selection:
    """Instructions for the nodes of a graph."""

    graph: Graph
    lanes: tuple[bool, ...]
    words_of: Callable[[Graph, Sequence[bool]], np.ndarray]  # compiles the body of a loop
    views: dict[Node, View] = field(default_factory=dict)
    places: dict[Node, tuple[Node, Slices]] = field(default_factory=dict)  # a value that is part of another
    whole_of: dict[Node, Node] = field(default_factory=dict)  # the last of a chain of additions to parts
    deferred: set[Node] = field(default_factory=set)  # products that are computed by the sum that uses them
    factors: dict[Node, View] = field(default_factory=dict)  # of matrices, whoever needs them
    fused: dict[Node, tuple[str, tuple[Node, ...]]] = field(default_factory=dict)  # such sums
    started: dict[Node, tuple[Node, Node]] = field(
        default_factory=dict
    )  # sums of a matrix product and what it starts from
    _scalars: dict[tuple[float, str], View] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nodes, inputs, outputs = self.graph.nodes, self.graph.inputs, self.graph.outputs
        self.uses = Counter(itertools.chain.from_iterable([node.inputs for node in nodes]))
        self.uses.update(outputs)
        any_lane = any(self.lanes)
        self.on_lanes = {x for x, is_lane in zip(inputs, self.lanes, strict=True) if is_lane}
        sums = [node for node in outputs if node.op == "lane_sum"]
        if any_lane:
            for node in nodes:
                if not self.on_lanes.isdisjoint(node.inputs) and node.op != "lane_sum":
                    self.on_lanes.add(node)
        if sums and not self.on_lanes.isdisjoint(outputs):
            raise AssertionError(f"{self.graph.name}: no output differs by lane where another is a sum over lanes")
        additions = [node for node in nodes if node.op == "index_add"]
        for node in reversed(additions):  # to parts of one value, one after another, share its memory
            whole = self.whole_of.setdefault(node, node)
            if self._continues(node):
                self.whole_of[node.inputs[0]] = whole
        for node in nodes:
            if node.op in SUMS:
                self._plan_sum(node)
                if sums and node.op == "add" and node not in self.fused:
                    self._plan_start(node)
            elif node.op in WHOLES:
                self._plan_parts(node)
        self.outputs: dict[Node, Storage] = {}
        is_lane = any_lane and not sums
        made = [Storage(OUTPUT, x.dtype.char, is_lane, x.size, i) for i, x in enumerate(outputs)]
        for node, storage in zip(outputs, made, strict=True):
            can_be_direct = node.op in COMPUTED or node.op in WHOLES or node.op == "scatter_add"
            if can_be_direct and (node in self.on_lanes) == is_lane and node not in self.places:
                self.outputs.setdefault(node, storage)
        given = [Storage(INPUT, x.dtype.char, self.lanes[i], x.size, i) for i, x in enumerate(inputs)]
        self.views.update({x: packed(storage, x.shape) for x, storage in zip(inputs, given, strict=True)})
        self.tape = Tape(made + given)
        products = {node: product_of(node, self.uses, self.on_lanes) for node in dict.fromkeys(sums)}
        for product in filter(None, products.values()):
            self.deferred.update(product.names)
        for node in nodes:
            is_elsewhere = node in self.deferred or (node.op == "reshape" and node in self.places)
            if node.op not in ("input", "lane_sum") and not is_elsewhere:
                self._select(node)
        for node, storage in zip(outputs, made, strict=True):
            if node in products:
                self._emit_lane_sum(packed(storage, node.shape), node.inputs[0], products[node])
            elif self.views[node].storage is not storage:
                self.tape.emit("copy", packed(storage, node.shape), self.views[node])

    # -- products that become part of a sum

    def _plan_sum(self, node: Node) -> None:
        for position, x in enumerate(node.inputs):
            if x.op == "multiply" and self.uses[x] == 1:
                if node.op == "sum" and any([factor.op == "broadcast" for factor in x.inputs]):
                    return
                others = node.inputs[:position] + node.inputs[position + 1 :]
                self.fused[node] = FUSED[node.op, position], x.inputs + others
                self.deferred.add(x)
                return

    def _form(self, node: Node) -> tuple[str, tuple[Node, ...]]:
        """The operation that computes a node, and on what."""
        return self.fused.get(node) or (node.op, node.inputs)

    def _plan_start(self, node: Node) -> None:
        for x, other in (node.inputs, node.inputs[::-1]):
            names = [x]
            while x.op == "reshape" and without_unit_axes(x.shape) == without_unit_axes(x.inputs[0].shape):
                x = x.inputs[0]
                names.append(x)
            is_alone = all([self.uses[name] == 1 for name in names])
            if x.op == "matmul" and is_alone and x.size and (x in self.on_lanes) == (node in self.on_lanes):
                self.started[node] = x, other
                self.deferred.update(names)
                return

    def _emit_lane_sum(self, out: View, x: Node, product: Product | None) -> None:
        if product is None:
            emit_sum(self.tape, out, self.views[x])
        else:
            emit_product(self.tape, out, product, self.views[product.left], self.views[product.right])

    # -- parts: values computed right where they belong

    def _plan_parts(self, node: Node) -> None:
        if node.op == "concatenate":
            parts = _joined_parts(node)
            are_runs = all([_is_run(spec, node.shape) for _, spec in parts])
            for x, spec in parts:
                self._place(x, node, spec, is_final=are_runs)
        elif self.whole_of.get(node) is node:
            chain = [node]
            while self._continues(chain[-1]):
                chain.append(chain[-1].inputs[0])
            links = chain[::-1]
            is_blank = uniform(links[0].inputs[0]) == 0
            firsts, lasts = _untouched(links), _untouched(chain)
            are_runs = all([_is_run(link.attributes, node.shape) for link in links])
            for link in links:
                value = link.inputs[1]
                if is_blank and link in firsts:
                    self._place(value, node, link.attributes, is_final=are_runs and link in lasts)
                elif self._form(value)[0] in ADDED and self.uses[value] == 1 and value not in self.places:
                    self.deferred.add(value)

    def _place(self, x: Node, whole: Node, spec: Slices, is_final: bool) -> None:
        """Plan to compute `x`, behind reshapes that move nothing, where it belongs.

        When its place is written once and for all, others may read it there; but only when no part of the whole has
        gaps, since what is written between the elements of what is read looks like an overlap.
        """
        names = [x]
        while (
            x.op == "reshape"
            and self.uses[x] == 1
            and without_unit_axes(x.shape) == without_unit_axes(x.inputs[0].shape)
        ):
            x = x.inputs[0]
            names.append(x)
        is_movable = x.op in COMPUTED and (is_final or self.uses[x] == 1) and x not in self.places and x.size > 0
        is_movable = is_movable and x not in self.graph.outputs
        if is_movable and (x in self.on_lanes) == (whole in self.on_lanes):
            self.places.update(dict.fromkeys(names, (whole, spec)))

    def _continues(self, node: Node) -> bool:
        """Whether an addition to a part goes on with the memory of the one before."""
        base = node.inputs[0]
        is_alone = base.op == "index_add" and self.uses[base] == 1
        return is_alone and (base in self.on_lanes) == (node in self.on_lanes)

    # -- values

    def _new(self, node: Node) -> View:
        """Memory for a node: that of an output, or its own."""
        storage = self.outputs.get(node)
        if storage is not None:
            return packed(storage, node.shape)
        return fresh(node.dtype.char, node in self.on_lanes, node.shape)

    def _result(self, node: Node) -> View:
        """Where a node is to be computed."""
        place = self.places.get(node)
        if place is None:
            return self._new(node)
        whole, spec = place
        view = self._whole(whole)
        if view.storage.blank is not None:
            view.storage.blank[_key(spec)] = False
        part = view.part(spec).reshaped(node.shape)
        assert part is not None  # only axes of length 1 differ
        return part

    def _whole(self, node: Node) -> View:
        """The memory of a node that is filled part by part, made when its first part is."""
        view = self.views.get(node)
        if view is None:
            view = self.views[node] = self._new(node)
            view.storage.blank = np.ones(node.shape, bool)
        return view

    def _clear(self, view: View, blank: np.ndarray) -> None:
        zero = self._scalar(0.0, view.storage.dtype)
        flat = packed(view.storage, (view.storage.size,))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], blank.ravel().view(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2).tolist():
            run = flat.part(((start, stop - start, 1),))
            self.tape.emit("copy", run, zero.repeated(run.shape))

    def _scalar(self, value: float, dtype: str) -> View:
        view = self._scalars.get((value, dtype))
        if view is None:
            storage = Storage(CONSTANT, dtype, False, 1, data=np.array(value, dtype))
            view = self._scalars[value, dtype] = packed(storage, ())
        return view

    def _copied(self, view: View, is_lane: bool) -> View:
        copy = fresh(view.storage.dtype, is_lane, view.shape)
        self.tape.emit("copy", copy, view)
        return copy

    # -- one method a kind of node

    def _select(self, node: Node) -> None:
        op, inputs = self._form(node)
        if node in self.started:
            product, start = self.started[node]
            self.views[node] = view = self._result(node)
            out, from_there = view.reshaped(product.shape), self.views[start].reshaped(product.shape)
            assert out is not None  # only axes of length 1 differ
            assert from_there is not None
            self._emit_matmul("matmul_add", product, out, from_there)
        elif op in ELEMENTWISE:
            operands = [self.views[x] for x in inputs]
            if op == "negative_multiply" and inputs[0].number is not None:  # the sign goes into the constant
                op, operands[0] = "multiply", self._scalar(-inputs[0].number, node.dtype.char).repeated(node.shape)
            self.views[node] = view = self._result(node)
            self.tape.emit(op, view, *operands)
        elif op in FOLDS:
            self._select_fold(node, op, [self.views[x] for x in inputs])
        elif op in CORES and op in COMPUTED:
            self.views[node] = view = self._result(node)
            self._emit_core(op, view, *map(self.views.__getitem__, inputs))
        else:
            getattr(self, f"_select_{op}")(node)

    def _select_const(self, node: Node) -> None:
        storage = Storage(CONSTANT, node.dtype.char, False, node.size, data=node.value)
        self.views[node] = packed(storage, node.shape)

    def _select_stop_gradient(self, node: Node) -> None:
        self.views[node] = self.views[node.inputs[0]]

    def _select_broadcast(self, node: Node) -> None:
        self.views[node] = self.views[node.inputs[0]].repeated(node.shape)

    def _select_transpose(self, node: Node) -> None:
        self.views[node] = self.views[node.inputs[0]].transposed(node.attributes)

    def _select_slice(self, node: Node) -> None:
        self.views[node] = self.views[node.inputs[0]].part(node.attributes)

    def _select_reshape(self, node: Node) -> None:
        view = self.views[node.inputs[0]]
        reshaped = view.reshaped(node.shape)
        if reshaped is None:
            reshaped = self._copied(view, node in self.on_lanes).reshaped(node.shape)
        assert reshaped is not None
        self.views[node] = reshaped

    def _select_cast(self, node: Node) -> None:
        source = self.views[node.inputs[0]]
        self.views[node] = view = self._result(node)
        self.tape.emit("cast", view, source)

    def _select_fold(self, node: Node, op: str, views: list[View]) -> None:
        """A reduction: its axes last and merged; what does not merge is reduced run by run."""
        axes = node.attributes
        kept = [axis for axis in range(len(views[0].shape)) if axis not in axes]
        sizes, runs = merged(
            tuple([views[0].shape[a] for a in axes]), tuple([tuple([v.strides[a] for a in axes]) for v in views])
        )
        if not sizes:  # axes of length 1
            sizes, runs = (1,), ((0,),) * len(views)
        shape = tuple([views[0].shape[a] for a in kept])
        strides = [(*[v.strides[a] for a in kept], *run) for v, run in zip(views, runs, strict=True)]
        self.views[node] = final = self._result(node)
        while True:
            last = len(sizes) == 1
            result = final
            if not last:
                partial_shape = shape + sizes[:-1]
                result = fresh(node.dtype.char, node in self.on_lanes, partial_shape)
            self._fold(op, result, sizes[-1], views, strides)
            if last:
                return
            op, views, sizes = ("sum" if op == "dot" else op), [result], sizes[:-1]
            strides = [result.strides]

    def _fold(self, op: str, result: View, n: int, views: list[View], strides: list[tuple[int, ...]]) -> None:
        if 0 in result.shape:
            return
        if n == 0 and op in ("sum", "dot"):  # the machine's own, -0.0, is not what NumPy gives
            self.tape.emit("copy", result, self._scalar(0.0, result.storage.dtype).repeated(result.shape))
            return
        kept, merged_strides = merged(result.shape, (result.strides, *[s[:-1] for s in strides]))
        along = [0, *[s[-1] for s in strides]]
        both = [(*m, s) for m, s in zip(merged_strides, along, strict=True)]
        self.tape.append(op, (*kept, n), (result, *views), tuple(both))

    def _select_matmul(self, node: Node) -> None:
        self.views[node] = out = self._result(node)
        if 0 not in node.shape:
            self._emit_matmul("matmul", node, out)

    def _emit_matmul(self, op: str, node: Node, out: View, *start: View) -> None:
        views = (out, *[self.views[x] for x in node.inputs], *start)
        batch, (m, n), k = node.shape[:-2], node.shape[-2:], node.inputs[0].shape[-1]
        groups, strides = merged(batch, tuple([x.strides[:-2] for x in views]))
        if len(groups) > 1:
            views = (out, *[self._copied(x, x.storage.is_lane) for x in views[1:]])
            groups, strides = merged(batch, tuple([x.strides[:-2] for x in views]))
        outer = [s[0] if s else 0 for s in strides]
        axes = [(-2, -1, None), (-2, None, -1), (None, -1, -2), (-2, -1, None)]  # of m, n and k
        tails = [[0 if axis is None else x.strides[axis] for axis in own] for x, own in zip(views, axes, strict=False)]
        both = tuple([(step, *tail) for step, tail in zip(outer, tails, strict=True)])
        self.tape.append(op, (groups[0] if groups else 1, m, n, k), views, both)

    def _select_concatenate(self, node: Node) -> None:
        self.views[node] = whole = self._whole(node)
        for x, spec in _joined_parts(node):
            if self.places.get(x) != (node, spec):
                self.tape.emit("copy", whole.part(spec), self.views[x])
        whole.storage.blank = None

    def _select_index_add(self, node: Node) -> None:
        base, value = node.inputs
        spec: Slices = node.attributes
        if self._continues(node):
            self.views[node] = whole = self.views[base]
        elif uniform(base) == 0:
            self.views[node] = whole = self._whole(self.whole_of[node])
        else:
            source = self.views[base]
            self.views[node] = whole = self._new(self.whole_of[node])
            self.tape.emit("copy", whole, source)
        if self.places.get(value) != (self.whole_of[node], spec):
            self._add_part(whole, spec, value)
        if self.whole_of[node] is node and whole.storage.blank is not None:  # what nobody wrote of it becomes zero
            blank, whole.storage.blank = whole.storage.blank, None
            self._clear(whole, blank)

    def _add_part(self, whole: View, spec: Slices, value: Node) -> None:
        target, blank = whole.part(spec), whole.storage.blank
        region = None if blank is None else blank[_key(spec)]
        if region is not None and region.all():
            self._emit_value("copy", target, value)
        else:
            if region is not None and region.any():
                needed = np.zeros_like(blank)
                needed[_key(spec)] = region
                self._clear(whole, needed)
            self._emit_value("add", target, value)
        if region is not None:
            region[...] = False

    def _emit_value(self, op: str, target: View, value: Node) -> None:
        if value not in self.deferred:
            source = self.views[value]
            self.tape.emit(op, target, *([source] if op == "copy" else [target, source]))
            return
        product, inputs = self._form(value)
        factors = [self.views[x] for x in inputs]
        if op == "copy":
            self.tape.emit(product, target, *factors)
        else:
            self.tape.emit(ADDED[product], target, *factors, target)

    # -- the last axes, for each position of the others

    def _emit_core(self, op: str, *views: View) -> None:
        axes, *has = CORES[op]
        final = views[0]
        if 0 in final.shape:
            return
        n_lead = len(final.shape) - len(has[0])
        n_matrices, is_small = math.prod(final.shape[:n_lead]), views[1].shape[-1] <= SMALL
        if op in OF_MATRICES and not final.storage.is_lane and n_matrices >= MANY and is_small:
            views = tuple([self._side_by_side(x, n_lead, is_copied=i > 0) for i, x in enumerate(views)])
        result = views[0]
        lengths: dict[str, int] = {}
        tails: list[list[int]] = []
        for view, names in zip(views, has, strict=True):
            lengths.update(zip(names, view.shape[n_lead:], strict=True))
            steps = dict(zip(names, view.strides[n_lead:], strict=True))
            tails.append([steps.get(name, 0) for name in axes])
        if 0 in lengths.values():  # nothing to add, nothing to count
            self.tape.emit("copy", result, self._scalar(0.0, result.storage.dtype).repeated(result.shape))
            return
        lead, strides = merged(result.shape[:n_lead], tuple([x.strides[:n_lead] for x in views]))
        both = [(*s, *tail) for s, tail in zip(strides, tails, strict=True)]
        self.tape.append(op, (*lead, *[lengths[name] for name in axes]), tuple(views), tuple(both))
        if result is not final:
            order = _lead_last(final, n_lead)
            self.tape.emit("copy", final.transposed(order), result.transposed(order))

    def _side_by_side(self, view: View, n_lead: int, is_copied: bool) -> View:
        """A view, or a new one, whose leading axes are innermost in memory: neighbours for the machine."""
        if merged(view.shape[:n_lead], (view.strides[:n_lead],))[1][0] in ((0,), (1,)):
            return view
        order = _lead_last(view, n_lead)
        turned = view.transposed(order)
        new = fresh(view.storage.dtype, view.storage.is_lane, turned.shape)
        if is_copied:
            self.tape.emit("copy", new, turned)
        return new.transposed(np.argsort(order).tolist())

    def _rows(self, x: Node, n: int, told: int) -> tuple[View, View]:
        """New memory for matrices like those of `x` of n rows, and the view of those that the machine is told of."""
        *lead, _, length = x.shape
        dtype, is_lane = x.dtype.char, x in self.on_lanes
        if not is_lane and math.prod(lead) >= MANY and length <= SMALL:  # side by side
            whole = fresh(dtype, is_lane, (n, length, *lead)).transposed([*range(2, len(x.shape)), 0, 1])
        else:
            whole = fresh(dtype, is_lane, (*lead, n, length))
        return whole, _first_rows(whole, told)

    def _factors(self, a: Node) -> tuple[View, bool]:
        """The factors of matrices or of their transposes, and which; once for all that is done with them."""
        last = a.ndim - 1
        if a.op == "transpose" and a.attributes == (*range(last - 1), last, last - 1):
            view, is_transposed = self._factors(a.inputs[0])
            return view, not is_transposed
        if a.op == "broadcast" and a.inputs[0].shape[-2:] == a.shape[-2:]:
            view, is_transposed = self._factors(a.inputs[0])
            return view.repeated(a.shape), is_transposed
        if a not in self.factors:
            n = a.shape[-1]
            _, self.factors[a] = self._rows(a, n + 1, n)  # the last row tells what was exchanged
            self._emit_core("lu", self.factors[a], self.views[a])
        return self.factors[a], False

    def _select_solve(self, node: Node) -> None:
        factors, is_transposed = self._factors(node.inputs[0])
        right = self.views[node.inputs[1]]
        self.views[node] = view = self._result(node)
        self._emit_core("lu_solve_transposed" if is_transposed else "lu_solve", view, factors, right)

    def _select_det(self, node: Node) -> None:
        factors, _ = self._factors(node.inputs[0])
        self.views[node] = view = self._result(node)
        self._emit_core(f"lu_{node.op}", view, factors)

    _select_slogdet = _select_det

    def _select_eigh(self, node: Node) -> None:
        a = node.inputs[0]
        n = a.shape[-1]
        whole, told = self._rows(a, 2 * n + 1, n)
        self._emit_core("eigh", told, self.views[a])
        self.views[node] = _first_rows(whole, n + 1)

    def _select_sort_pairs(self, node: Node) -> None:
        whole = fresh(node.dtype.char, node in self.on_lanes, (*node.shape[:-2], 4, node.shape[-1]))
        self.views[node] = view = _first_rows(whole, 2)
        self._emit_core("sort_pairs", view, self.views[node.inputs[0]])

    def _select_gather(self, node: Node) -> None:
        source = self._packed(self.views[node.inputs[0]], node in self.on_lanes)
        self.views[node] = view = target = self._result(node)
        if not view.is_packed or source.storage is view.storage:
            target = fresh(node.dtype.char, node in self.on_lanes, node.shape)
        self.tape.append("gather", (node.size,), (target, source, self._table(node)), ((1,), (0,), (1,)))
        if target is not view:
            self.tape.emit("copy", view, target)

    def _select_scatter_add(self, node: Node) -> None:
        source = self._packed(self.views[node.inputs[0]], node in self.on_lanes)
        self.views[node] = view = self._result(node)
        if source.storage is view.storage:
            source = self._copied(source, node in self.on_lanes)
        self.tape.emit("copy", view, self._scalar(0.0, node.dtype.char).repeated(node.shape))
        self.tape.append("scatter_add", (node.inputs[0].size,), (view, source, self._table(node)), ((0,), (1,), (1,)))

    def _select_scan(self, node: Node) -> None:
        loop = node.attributes
        views = [self.views[x] for x in node.inputs]
        for i, view in enumerate(views):
            is_row = 1 <= i <= loop.n_rows
            each = View(view.storage, view.offset, view.shape[is_row:], view.strides[is_row:])
            if not each.is_packed:
                views[i] = self._copied(view, node.inputs[i] in self.on_lanes)
        self.views[node] = result = self._new(node)
        if not node.size:
            return
        steps = [v.strides[0] if 1 <= i <= loop.n_rows and loop.length > 1 else 0 for i, v in enumerate(views)]
        lanes = [result.storage.is_lane, *[v.storage.is_lane for v in views[1:]]]
        words = self.words_of(loop.body, lanes)
        body = Storage(CONSTANT, "q", False, words.size, data=words)
        strides = ((0,), *[(step,) for step in steps])
        self.tape.append("scan", (loop.length,), (result, *views), strides, body, loop.every)

    def _packed(self, view: View, is_lane: bool) -> View:
        return view if view.is_packed else self._copied(view, is_lane)

    def _table(self, node: Node) -> View:
        table: Frozen = node.attributes[0]
        storage = Storage(CONSTANT, "q", False, table.array.size, data=table.array.ravel())
        return packed(storage, (storage.size,))


def _lead_last(view: View, n_lead: int) -> list[int]:
    """The permutation that puts the leading axes last."""
    return [*range(n_lead, len(view.shape)), *range(n_lead)]


def _first_rows(view: View, n: int) -> View:
    """Matrices of which the first n rows are taken."""
    spec = [(0, length, 1) for length in view.shape]
    spec[-2] = (0, n, 1)
    return view.part(tuple(spec))


def _is_run(spec: Slices, shape: Shape) -> bool:
    """Whether a part of an array of this shape is one run of memory."""
    return packed(Storage(ARENA, "d", False, 0), shape).part(spec).is_packed


def _untouched(links: Sequence[Node]) -> set[Node]:
    """Those of several additions to parts whose part none before has touched."""
    found, blank = set(), np.ones(links[0].shape, bool)
    for link in links:
        region = blank[_key(link.attributes)]
        if region.all():
            found.add(link)
        region[...] = False
    return found


def _joined_parts(node: Node) -> list[tuple[Node, Slices]]:
    """The operands of a concatenation and where each goes."""
    parts, start, axis = [], 0, node.attributes
    for x in node.inputs:
        spec = [(0, n, 1) for n in x.shape]
        spec[axis] = (start, x.shape[axis], 1)
        start += x.shape[axis]
        parts.append((x, tuple(spec)))
    return parts


def _key(spec: Slices) -> tuple[slice, ...]:
    """The slices as Python writes them."""
    keys = []
    for start, length, step in spec:
        stop = start + length * step
        keys.append(slice(start, stop if stop >= 0 else None, step))
    return tuple(keys)
