"""Nonlinear least squares: from the graph of residuals to their cost, its gradient, and Gauss and Newton's matrix.

The cost is half the sum of rho(residual**2). With few parameters every column of the Jacobian is a graph of its own,
made by a tangent pass along a constant unit direction, of which simplification leaves the partial derivatives, sharing
their subexpressions with the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import not_one_value
from . import graph as g
from .forward import forward
from .graph import Graph, Node
from .jacobian import directions, jacobian_graph
from .tree import LEAF, structure_of

MOST_COLUMNS = 16  # parameters up to which each has a tangent pass of its own


class Loss(NamedTuple):
    """What is summed, as a function of z, the square of a residual in units of f_scale."""

    value: Node
    slope: Node  # its derivative
    curvature: (
        Node  # slope + 2 z (derivative of the slope): second derivative by the residual, in units of the linear one
    )


def _soft_l1(z: Node) -> Loss:
    root = g.sqrt(1 + z)
    slope = 1 / root
    return Loss(2 * z / (root + 1), slope, slope * slope * slope)


def _huber(z: Node) -> Loss:
    is_small = 1 - g.greater(z, 1.0)
    root = g.sqrt(g.maximum(z, 1.0))
    return Loss(g.where(is_small, z, 2 * root - 1), 1 / root, is_small)


def _cauchy(z: Node) -> Loss:
    slope = 1 / (1 + z)
    return Loss(g.elementwise("log1p", z), slope, slope * (2 * slope - 1))


def _arctan(z: Node) -> Loss:
    slope = 1 / (1 + z * z)
    return Loss(g.elementwise("arctan", z), slope, slope * (4 * slope - 3))


LOSSES: dict[str, Callable[[Node], Loss] | None] = {
    "linear": None,
    "soft_l1": _soft_l1,
    "huber": _huber,
    "cauchy": _cauchy,
    "arctan": _arctan,
}


def gauss_newton(graph: Graph, number: int, loss: str = "linear", f_scale: float = 1.0) -> Graph:
    """The graph of (cost, gradient, matrix) from that of residuals of any shape.

    Parameters
    ----------
    graph : Graph
        Its one output are the residuals.
    number : int
        Of the input that is differentiated by, with n elements. The gradient has its shape, the matrix (n, n), all of
        them its dtype.
    loss : str
        Name of rho, one of `LOSSES`.
    f_scale : float
        Residuals beyond this one are outliers to it.
    """
    if graph.structure != LEAF:
        raise not_one_value(graph.name)
    (r,) = graph.outputs
    x = graph.inputs[number]
    of = LOSSES[loss]
    if of is None:
        cost, pull, weight = _total(r * r) * 0.5, r, None
    else:
        scaled = r * (1 / f_scale)
        terms = of(scaled * scaled)
        eps = float(np.finfo(r.dtype).eps)
        cost = _total(terms.value) * (0.5 * f_scale**2)
        pull, weight = terms.slope * r, g.maximum(terms.curvature, eps)
    make = _by_columns if x.size <= MOST_COLUMNS else _by_matrix
    gradient, matrix = _products(make(graph, number), pull, weight)
    outputs = (cost, g.reshape(gradient, x.shape), matrix)
    structure = structure_of(tuple, [LEAF] * 3)
    return Graph(graph.inputs, tuple([g.cast(y, x.dtype) for y in outputs]), structure, graph.name)


def _total(a: Node) -> Node:
    return g.reduction("sum", a)


def _by_columns(graph: Graph, number: int) -> Node:
    (r,), x = graph.outputs, graph.inputs[number]
    units = np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    columns = [forward([r], [x], [x.builder.constant(units[k, ...])])[0] for k in range(x.size)]
    return g.concatenate([g.reshape(column, (1, r.size)) for column in columns], 0)


def _by_matrix(graph: Graph, number: int) -> Node:
    (r,), x = graph.outputs, graph.inputs[number]
    one = jacobian_graph(directions(graph, [number], LEAF))
    return g.matrix_transpose(g.reshape(g.inline(one, graph.inputs)[0], (r.size, x.size)))


def _products(rows: Node, pull: Node, weight: Node | None) -> tuple[Node, Node]:
    """Gradient and matrix, from the transpose of the Jacobian: one product, of which both are parts."""
    n, m = rows.shape
    weighted = rows if weight is None else rows * g.reshape(weight, (1, m))
    both = g.matmul(g.concatenate([weighted, g.reshape(pull, (1, m))], 0), g.matrix_transpose(rows))
    return g.slice_axis(both, 0, n, 1), g.slice_axis(both, 0, 0, n)
