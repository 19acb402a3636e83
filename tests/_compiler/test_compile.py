"""Programs: what the compiler writes into their words, what becomes of damaged ones, and random functions."""

import pickle
from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import pytest
from helpers import assert_same_bits, in_fresh_process, run
from hypothesis import given, settings
from interpret import evaluate

from fastgrad import _core
from fastgrad._compiler.autodiff import value_and_gradient
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.simplify import simplify
from fastgrad._compiler.trace import Input, trace

HEADER, ARENA = 8, 3  # words of a header, the role of intermediate values
NAMES = [name for name, _, _ in _core.operations()]
ARITY = {name: arity for name, arity, _ in _core.operations()}


class Buffer(NamedTuple):
    role: int
    dtype: int
    is_lane: int
    size: int
    position: int

    @property
    def end(self):
        return self.position + self.size * (4 if self.dtype == 1 else 8)


class Words(NamedTuple):
    """A program read back: see csrc/fastgrad.h."""

    buffers: list[Buffer]
    ops: list[str]
    n_uniform: int

    @property
    def arena(self):
        """Bytes of intermediate values, uniform ones and those of one lane."""
        ends = [[b.end for b in self.buffers if b.role == ARENA and b.is_lane == kind] for kind in (0, 1)]
        return tuple(max(each, default=0) for each in ends)


def read(program):
    words = program.words.tolist()
    _, n_buffers, n_instructions, n_uniform, *_ = words[:HEADER]
    at = HEADER + 5 * n_buffers
    buffers = [Buffer(*words[i : i + 5]) for i in range(HEADER, at, 5)]
    ops = []
    for _ in range(n_instructions):
        op, n_dims = NAMES[words[at]], words[at + 2]
        ops.append(op)
        at += 3 + n_dims + (1 + ARITY[op]) * (2 + n_dims)
    return Words(buffers, ops, n_uniform)


def compiled(fun, *shapes, lanes=None, gradient=False, dtype=np.float64):
    graph = trace(fun, [Input(shape, dtype) for shape in shapes])
    if gradient:
        graph = value_and_gradient(simplify(graph), range(len(shapes)))
    return compile_graph(simplify(graph), lanes)


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def network(w, v, x):
    return np.mean(np.log1p(np.exp(v * np.tanh(w @ x[::-1] + x[:3]))))


# ---- memory


def chain(x):
    for i in range(100):
        x = np.sin(x) * 1.5 + i
    return x


@pytest.mark.parametrize("lane", [False, True])
def test_a_long_chain_needs_the_memory_of_a_value_or_two(lane):
    n = 1000
    words = read(compiled(chain, (n,), lanes=(lane,)).program)
    assert len(words.ops) >= 200
    assert words.arena[lane] <= 2 * 8 * n + 64
    assert words.arena[not lane] == 0


def test_the_gradient_of_a_chain_keeps_what_it_needs_and_no_more():
    n = 1000
    words = read(compiled(lambda x: np.sum(chain(x)), (n,), lanes=(True,), gradient=True).program)
    values = words.arena[1] / (8 * n)
    assert 100 <= values <= 205  # two numbers for each of 100 steps: the argument and the value, or less


def test_values_that_live_at_the_same_time_do_not_share_memory():
    def fun(x):
        parts = [np.sin(x + i) for i in range(20)]
        return sum(p * q for p, q in zip(parts, parts[::-1], strict=True))

    x = np.linspace(-1, 1, 7)
    np.testing.assert_allclose(run(compiled(fun, (7,)), x)[0], fun(x), rtol=1e-14)
    lanes = compiled(fun, (7,), lanes=(True,))
    np.testing.assert_allclose(run(lanes, np.stack([x, 2 * x]))[0], [fun(x), fun(2 * x)], rtol=1e-13)


# ---- instructions

ONE = {
    "reshape": lambda x: np.sin(x.reshape(4, 3)),
    "transpose": lambda x: np.sin(x.T),
    "slice": lambda x: np.sin(x[1:, ::-2]),
    "broadcast": lambda x: x[0] + x[:, :1],
    "new axes": lambda x: np.sin(x[:, None, :, None]),
    "several views": lambda x: x[::-1].T[1:3] * x[:, 2:].T,
    "sum of a view": lambda x: np.sum(x[:, 1]),
    "product of views": lambda x: x[:, :2].T @ x[::-1, 1:3],
}


@pytest.mark.parametrize("lanes", [(False,), (True,)])
@pytest.mark.parametrize("name", ONE)
def test_views_cost_no_instruction(name, lanes):
    program = compiled(ONE[name], (3, 4), lanes=lanes)
    assert len(read(program.program).ops) == 1
    x = np.random.default_rng(0).normal(size=(3, 4))
    result = run(program, x[None] if lanes[0] else x)[0]
    np.testing.assert_allclose(result[0] if lanes[0] else result, ONE[name](x), rtol=1e-14)


def test_parts_are_computed_where_they_belong():
    def fun(x):
        return np.concatenate([np.sin(x[:2]), np.cos(x[2:]), x[:1] * 2])

    assert sorted(read(compiled(fun, (4,)).program).ops) == ["cos", "multiply", "sin"]
    ops = read(compiled(lambda x: np.sum(np.sin(x[0]) * x[1]), (2, 5), gradient=True).program).ops
    assert "copy" not in ops  # each row of the gradient is written once, in place


def test_the_gradient_of_rosenbrock_is_a_handful_of_instructions():
    both = compiled(rosenbrock, (2,), lanes=(True,), gradient=True)
    assert len(read(both.program).ops) <= 9
    x = np.random.default_rng(0).normal(size=(20, 2))
    value, gradient = run(both, x)
    np.testing.assert_allclose(value, [rosenbrock(row) for row in x], rtol=1e-13)
    slope = 200 * (x[:, 1] - x[:, 0] ** 2)
    np.testing.assert_allclose(gradient, np.stack([-2 * x[:, 0] * slope - 2 * (1 - x[:, 0]), slope], 1), rtol=1e-12)


def test_work_that_all_lanes_share_is_done_once():
    def fun(x, a):
        return np.sum(np.exp(a) @ np.tanh(a) * x) + np.log(a[0, 0])

    words = read(compiled(fun, (3,), (3, 3), lanes=(True, False)).program)
    shared, each = words.ops[: words.n_uniform], words.ops[words.n_uniform :]
    assert {"exp", "tanh", "matmul", "log"} <= set(shared)
    assert not {"exp", "tanh", "matmul", "log"} & set(each)
    assert len(each) <= 3
    assert read(compiled(fun, (3,), (3, 3), lanes=(False, False)).program).n_uniform == len(words.ops)


def test_the_same_graph_gives_the_same_words():
    first, second = (compiled(network, (3, 4), (3,), (4,), gradient=True).program.words for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2)])
def test_empty_arrays_pass_through(shape):
    def fun(x):
        return np.sum(np.sin(x) * 2), np.concatenate([x, x]) + 1, x.T * 3, np.prod(x[:0])

    for lanes in [(False,), (True,)]:
        x = np.ones((2, *shape) if lanes[0] else shape)
        total, joined, turned, one = run(compiled(fun, shape, lanes=lanes), x)
        assert not total.any()
        assert joined.size == turned.size == 0
        assert (one == 1).all()


def test_an_output_may_be_an_input_a_constant_or_another_output():
    def fun(x, a):
        y = np.sin(x)
        return x, y, y, a, 3.0, x[::-1], np.ones(2), y[1:]

    x, a = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])
    results = run(compiled(fun, (3,), (2,), lanes=(True, False)), x, a)
    expected = [x, np.sin(x), np.sin(x), [a, a], [3, 3], x[:, ::-1], np.ones((2, 2)), np.sin(x)[:, 1:]]
    for result, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-15)


@pytest.mark.parametrize("lanes", [(False,), (True,)])
@pytest.mark.parametrize("n", [4, 8, 12, 16])
def test_picking_from_a_value_that_was_just_computed(lanes, n):
    def fun(x):
        y = np.sin(x)
        return np.cos(y[np.arange(n)[::-1] // 2])

    x = np.linspace(-1, 1, n)
    result = run(compiled(fun, (n,), lanes=lanes), x[None] if lanes[0] else x)[0]
    np.testing.assert_allclose(result[0] if lanes[0] else result, fun(x), rtol=1e-15)


def test_more_axes_than_the_machine_has_are_merged_or_taken_apart():
    deep = (2,) * 12
    x = np.random.default_rng(0).normal(size=deep)
    np.testing.assert_allclose(run(compiled(lambda x: np.sin(x) + x, deep), x)[0], np.sin(x) + x, rtol=1e-14)
    np.testing.assert_array_equal(run(compiled(lambda x: x + x.T, deep), x)[0], x + x.T)
    order = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    deep, x = (2,) * 10, x.reshape(-1)[:1024].reshape((2,) * 10)

    def fun(x):
        y = x.transpose(order)
        return np.sum(np.sin(y) * x, axis=(1, 3, 5)), np.concatenate([x.T, y], 4)

    for lanes in ((False,), (True,)):
        program = compiled(fun, deep, lanes=lanes)
        for value, right in zip(run(program, x[None] if lanes[0] else x), fun(x), strict=True):
            np.testing.assert_allclose(value[0] if lanes[0] else value, right, rtol=1e-13, atol=1e-15)


# ---- programs as data

FRESH = """
import pickle, sys
import numpy as np
program, inputs, outputs = pickle.load(open(sys.argv[1], "rb"))
results = [np.empty_like(x) for x in outputs]
program.run_batch(len(inputs[0]), inputs, results)
assert all(np.array_equal(a, b) for a, b in zip(results, outputs))
print(program.n_inputs, program.n_outputs)
"""


def test_a_pickled_program_runs_in_another_process_without_its_function(tmp_path):
    rng = np.random.default_rng(0)
    made = compiled(network, (3, 4), (3,), (4,), lanes=(True, False, True), gradient=True)
    inputs = [rng.normal(size=shape) for shape in [(9, 3, 4), (3,), (9, 4)]]
    outputs = run(made, *inputs)
    path = tmp_path / "program.pickle"
    path.write_bytes(pickle.dumps((made.program, inputs, outputs)))
    process = in_fresh_process(FRESH, path)
    assert process.stdout == "3 4\n", process.stderr


def test_words_cannot_be_changed_behind_a_programs_back():
    program = compiled(rosenbrock, (2,)).program
    with pytest.raises(ValueError, match="read-only"):
        program.words[0] = 0
    words = program.words.copy()
    copy = _core.Program(words)
    words[:] = 0
    x, value = np.ones(2), np.ones(())
    copy.run([x], [value])
    assert value == 0


def test_a_damaged_pickle_is_refused_or_harmless():
    made = compiled(network, (3, 4), (3,), (4,), lanes=(True, False, True), gradient=True)
    rebuild, (raw,) = made.program.__reduce__()
    words = np.frombuffer(raw, np.int64)
    for length in range(HEADER):
        with pytest.raises(ValueError, match=r"header|length"):
            rebuild(words[:length].tobytes())
    for damaged in (words[:-1], words[: len(words) // 2], np.append(words, 0)):
        with pytest.raises(ValueError, match=r"length|cut off|words|constant"):
            rebuild(damaged.tobytes())
    with pytest.raises(ValueError, match="multiple of element size"):
        rebuild(raw[:-3])
    inputs = [np.ones(shape) for shape in [(9, 3, 4), (3,), (9, 4)]]
    n_constants = words[7]
    refused = tried = 0
    for at in range(len(words) - n_constants):
        for value in {-1, 0, 1, 2, 3, 7, 1000, 2**31, 2**62, -(2**63)} - {int(words[at])}:
            damaged = words.copy()
            damaged[at] = value
            tried += 1
            try:
                program = rebuild(damaged.tobytes())
                outputs = [np.zeros((9, *shape)) for shape, _ in made.outputs]
                program.run_batch(9, inputs, outputs)
            except (ValueError, MemoryError):
                refused += 1
    assert refused > 0.8 * tried
    program = rebuild(raw)
    outputs = [np.zeros((9, *shape)) for shape, _ in made.outputs]
    program.run_batch(9, inputs, outputs)
    for a, b in zip(outputs, run(made, *inputs), strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([], [np.ones(())]),
        ([np.ones(2)], []),
        ([np.ones(3)], [np.ones(())]),
        ([np.ones(2, np.float32)], [np.ones(())]),
        ([np.ones(4)[::2]], [np.ones(())]),
        ([np.ones(2, ">f8")], [np.ones(())]),
        ([np.ones(2)], [np.ones(2)]),
        ([np.ones(2)], [np.broadcast_to(1.0, ())]),
    ],
)
def test_a_program_refuses_arrays_that_do_not_fit(inputs, outputs):
    with pytest.raises(ValueError, match=r"expected|number of"):
        compiled(rosenbrock, (2,)).program.run(inputs, outputs)


# ---- random functions


def softmax(a):
    e = np.exp(a - np.max(a, axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# continuous, of bounded slope, from (3, 4) and (3, 4) to (3, 4)
STEPS = [
    lambda a, b: a + b,
    lambda a, b: np.tanh(a) * b,
    lambda a, b: a - 0.5 * b[::-1],
    lambda a, b: a / (1 + b * b),
    lambda a, b: np.where(a < b, a, b),
    lambda a, b: np.maximum(a, b) - np.minimum(a, 2 * b),
    lambda a, b: np.sin(a) + np.cos(b),
    lambda a, b: np.exp(-(a**2)) * b,
    lambda a, b: np.log1p(b**2) - abs(a),
    lambda a, b: np.sqrt(1 + a**2) + np.logaddexp(a, b),
    lambda a, b: 1 / (1 + np.exp(-a)) - b,
    lambda a, b: np.tanh(a) @ np.tanh(b).T @ np.tanh(a) / 3,
    lambda a, b: (np.tanh(a) @ np.arange(4.0))[:, None] - b,
    lambda a, b: np.concatenate([a[1:], b[:1]]),
    lambda a, b: np.stack([a[0], b[1], a[2] + b[2]]),
    lambda a, b: a.reshape(4, 3).T + b.T.reshape(3, 4),
    lambda a, b: a[[2, 0, 2]] - b[:, [3, 3, 0, 1]],
    lambda a, b: np.broadcast_to(a.mean(axis=0), (3, 4)) + b.sum(axis=1, keepdims=True) / 4,
    lambda a, b: a.max(axis=0) + b.min(axis=1, keepdims=True),
    lambda a, b: np.prod(np.tanh(a), axis=0) + b,
    lambda a, b: softmax(a) * b,
    lambda a, b: np.linalg.norm(a) * np.tanh(b) / 4,
    lambda a, b: np.diff(np.concatenate([a, b]), axis=0)[::2],
    lambda a, b: np.tanh(a) ** 3 + np.einsum("ij,kj->ik", np.tanh(a), np.tanh(b)) @ b / 9,
    lambda a, b: np.flip(np.roll(a, 1, axis=1), 0) * 0.5 + np.clip(b, -1, 1),
    lambda a, b: 2.0 - a,
    lambda a, b: b * np.float64(0.25) + 1,
]


def surely_traced(step):
    """Whether the surface has all functions of a step: some are optional."""
    try:
        trace(step, [Input((3, 4)), Input((3, 4))])
    except TypeError:
        return False
    return True


STEPS = [step for step in STEPS if surely_traced(step)]
PLANS = st.lists(
    st.tuples(st.integers(0, len(STEPS) - 1), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9
)


def test_most_steps_of_random_functions_can_be_traced():
    assert len(STEPS) >= 22


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PLANS, st.integers(0, 2**32 - 1), st.sampled_from([(True, True), (True, False), (False, True)]))
def test_random_functions_give_what_numpy_and_the_oracle_give(plan, seed, lanes):
    def fun(x, y):
        values = [x, y + np.zeros((3, 4))]
        for number, i, j in plan:
            values.append(STEPS[number](values[i % len(values)], values[j % len(values)]))
        return values[-1]

    def loss(x, y):
        return np.sum(fun(x, y) * np.linspace(-1, 1, 4))

    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(18, 3, 4)), rng.normal(size=(18, 4))
    single = compiled(fun, (3, 4), (4,))
    batched = compiled(fun, (3, 4), (4,), lanes=lanes)
    columns = [a if lane else np.repeat(a[:1], 18, axis=0) for a, lane in zip((x, y), lanes, strict=True)]
    right = np.stack([fun(*row) for row in zip(*columns, strict=True)])
    near = {"rtol": 1e-9, "atol": 1e-9 * max(1, abs(right).max())}
    result = run(batched, *[a if lane else a[0] for a, lane in zip((x, y), lanes, strict=True)])[0]
    np.testing.assert_allclose(result, right, **near)
    for i in (0, 17):
        np.testing.assert_allclose(run(single, columns[0][i], columns[1][i])[0], right[i], **near)
        one = [a[i : i + 1] if lane else a[0] for a, lane in zip((x, y), lanes, strict=True)]
        assert_same_bits(run(batched, *one)[0][0], result[i])
    # the gradient: the machine against the oracle, on the graph that it runs and on the one as first derived
    graph = value_and_gradient(trace(loss, [Input((3, 4)), Input((4,))]), (0, 1))
    machine = run(
        compile_graph(simplify(graph), lanes), *[a if lane else a[0] for a, lane in zip((x, y), lanes, strict=True)]
    )
    for i in (0, 9):
        same = evaluate(simplify(graph), columns[0][i], columns[1][i])
        for a, b in zip(machine, same, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-8, atol=1e-8 * max(1, abs(b).max()))
