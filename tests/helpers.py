"""What several test files need: programs of one operation, arrays in odd layouts, other processes."""

import contextlib
import os
import subprocess
import sys

import numpy as np

from fastgrad import _core
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.graph import Builder, Graph


@contextlib.contextmanager
def kernels(isa):
    """Use the kernels of an instruction set; a program keeps those it was made with."""
    before = _core.current_isa()
    _core.select_isa(isa)
    try:
        yield
    finally:
        _core.select_isa(before)


def graph_of(build, *specs):
    """The graph of `build(*nodes)` for inputs of given (shape, dtype)."""
    builder = Builder()
    inputs = [builder.input(shape, np.dtype(dtype)) for shape, dtype in specs]
    outputs = build(*inputs)
    return Graph(tuple(inputs), tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,))


def operation(op, attributes=()):
    """A function of nodes that is one operation, for `graph_of`."""
    return lambda *nodes: nodes[0].builder.make(op, nodes, attributes)


def run(compiled, *arrays):
    """The outputs of a compiled graph for one instance, or for the rows of its lane inputs."""
    arrays = [np.require(x, None, "CA") for x in arrays]
    lengths = [len(x) for x, is_lane in zip(arrays, compiled.is_lane, strict=True) if is_lane]
    lead = tuple(lengths[:1])
    outputs = [np.full(lead + shape, 77, dtype) for shape, dtype in compiled.outputs]
    if lead:
        compiled.program.run_batch(lengths[0], arrays, outputs)
    else:
        compiled.program.run(arrays, outputs)
    return outputs


def evaluate_op(op, *arrays, attributes=(), lanes=None):
    """One operation on arrays, in the machine; `lanes` says which have a leading axis of instances."""
    lanes = lanes or (False,) * len(arrays)
    specs = [(x.shape[1:] if lane else x.shape, x.dtype) for x, lane in zip(arrays, lanes, strict=True)]
    compiled = compile_graph(graph_of(operation(op, attributes), *specs), lanes)
    return run(compiled, *arrays)[0]


def assert_same_bits(a, b):
    """Equal in every bit, but one NaN is as good as another."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


class Subclass(np.ndarray):
    """As users have them; not masked."""


def disguises(x):
    """The same numbers in every odd layout: name to array."""
    raw = bytearray(x.nbytes + 1)
    misaligned = np.frombuffer(raw, x.dtype, x.size, offset=1).reshape(x.shape)
    misaligned[...] = x
    read_only = x.copy()
    read_only.flags.writeable = False
    everywhere = (slice(None, None, 2),) * x.ndim
    return {
        "strided": np.kron(x, np.ones((2,) * x.ndim, x.dtype))[everywhere],
        "reversed": x[(slice(None, None, -1),) * x.ndim].copy()[(slice(None, None, -1),) * x.ndim],
        "Fortran": np.asfortranarray(x),
        "byte-swapped": x.astype(x.dtype.newbyteorder()),
        "misaligned": misaligned,
        "read-only": read_only,
        "subclass": x.copy().view(Subclass),
        "nested list": x.tolist() if x.dtype == np.float64 else x.copy(),
    }


def in_fresh_process(code, *arguments, **environment):
    """Run Python code in a new interpreter; the finished process, its output as text."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
