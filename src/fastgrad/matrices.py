"""How a whole Jacobian is run: a small one as one program, a large one as the lanes of the program of one direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from ._compiler import tree
from ._compiler.compile import compile_graph
from ._compiler.graph import Graph
from ._compiler.jacobian import Directions, directions, jacobian_graph
from ._compiler.simplify import Simplifier
from .transform import Arguments, Target, Transform, Variables, collector_at_rest, make_runner

MOST_AT_ONCE = 1 << 17  # elements computed in all directions, up to which one small program is quicker than lanes


class Jacobian(Transform):
    """A Transform that runs the directions of a large Jacobian as lanes."""

    def _compile(self, call: Arguments) -> Any:
        with collector_at_rest():
            one = directions(self._source(call, Simplifier()), *self._variables(call))
            # lanes move each element in and out: more than to compute it from a matrix at hand
            if one.work <= MOST_AT_ONCE or (one.work <= one.size and not one.reads_seeds):
                compiled = compile_graph(jacobian_graph(one), call.is_lane)
                return make_runner(compiled, call, one.graph.structure)
            return Lanes(one)

    def _run(self, runner: Any, call: Arguments, out: Any) -> Any:
        return runner.run(call.inputs, out) if isinstance(runner, Lanes) else super()._run(runner, call, out)


class Lanes:
    """The program of one direction of a Jacobian, run for all of them."""

    def __init__(self, one: Directions) -> None:
        own, self.n_seeds = one.own, len(one.seeds)
        self.compiled = compile_graph(one.graph, [x not in own for x in one.graph.inputs])
        self.number, self.blocks, self.is_forward = one.number, one.blocks(), one.is_forward
        self.structure = one.graph.structure
        # of each matrix where it is: an argument's number, the constant itself, or None for those that are computed
        self.given = [
            own.index(x) if x in own else np.ascontiguousarray(x.value) if x.op == "const" else None
            for x in one.matrices
        ]
        computed = tuple([x for x, given in zip(one.matrices, self.given, strict=True) if given is None])
        self.computed = compile_graph(Graph(own, computed, name=one.graph.name)) if computed else None

    def run(self, inputs: list[np.ndarray], out: Any) -> Any:
        """The Jacobian, in `out` if that is given."""
        n, seeds = self.number, [None] * self.n_seeds
        computed = []
        if self.computed is not None:
            computed = [np.empty(*result) for result in self.computed.outputs]
            self.computed.program.run(inputs, computed)
        rest = iter(computed)
        matrices = [next(rest) if x is None else inputs[x] if isinstance(x, int) else x for x in self.given]
        results = [
            _core.empty((*shape, n) if self.is_forward else (n, *shape), dtype)
            for shape, dtype in self.compiled.outputs
        ]
        self.compiled.program.run_directions(n, [*inputs, *seeds, *matrices], results, self.is_forward)
        outputs = []
        for block in self.blocks:
            part = slice(block.start, block.start + block.number)
            result = results[block.result][..., part] if self.is_forward else results[block.result][part]
            outputs.append(result.reshape(block.shape).astype(block.dtype, copy=False))
        if out is None:
            return tree.unflatten(self.structure, map(np.ascontiguousarray, outputs))
        target = Target(out, [(x.shape, x.dtype) for x in outputs], self.structure, inputs)
        for array, output in zip(target.arrays, outputs, strict=True):
            array[...] = output
        target.fill()
        return out


def whole_jacobian(graph: Graph, variables: Variables) -> Graph:
    """The Jacobian as a graph, for use inside another."""
    return jacobian_graph(directions(graph, *variables))
