"""What tracing records, and the errors for what it cannot."""

import copy
import inspect
import math
import operator
import pickle

import numpy as np
import pytest
from interpret import evaluate, evaluate_nested

from fastgrad._compiler.trace import Input, Traced, trace
from fastgrad.errors import IndexingError, ShapeError, TraceError


def traced(fun, *shapes, **options):
    return trace(fun, [Input(shape) for shape in shapes], **options)


# ---- arguments and results


def test_nested_arguments_and_results_keep_their_structure():
    def fun(parameters, x, scale, name):
        assert name == "kept"
        return {"y": [parameters["w"] * x, (scale, x[0])], "c": 3}

    graph = trace(fun, [{"w": Input((3,)), "b": 2.0}, Input((3,)), 2.5, "kept"])
    assert len(graph.inputs) == 2
    result = evaluate_nested(graph, [1, 2, 3], [4, 5, 6])
    np.testing.assert_array_equal(result["y"][0], [4, 10, 18])
    assert result["y"][1] == (2.5, 4)
    assert result["c"] == 3


def test_integers_become_float64_and_float32_stays():
    graph = trace(lambda a, b, c: a, [Input((), int), Input((), np.float32), Input((), "float64")])
    assert [x.dtype for x in graph.inputs] == [np.float64, np.float32, np.float64]


def test_constants_of_every_kind_can_be_returned():
    graph = trace(lambda x: [1, 2.5, True, np.float32(3), np.arange(3), np.ones(2) > 0, np.ones(100)], [Input(())])
    one, half, truth, single, integers, truths, many = evaluate(graph, 0.0)
    assert (one.dtype, half.dtype, truth.dtype, single.dtype) == (np.float64, np.float64, bool, np.float32)
    assert integers.tolist() == [0, 1, 2]
    assert truths.tolist() == [True, True]
    assert many.sum() == 100


def test_the_number_of_nodes_grows_linearly():
    def fun(x, n):
        s = x[0]
        for i in range(n):
            s = s * x[i % 7] + np.sin(s) - 1.5
        return s

    few, many = (len(trace(fun, [Input((7,)), n]).nodes) for n in (100, 200))
    assert many - few == 400


def test_an_array_reads_as_one():
    def fun(x):
        assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.float64, 2)
        assert (x > 0).dtype == bool
        assert x.T.shape == (3, 2)
        assert repr(x).startswith("<traced array of shape (2, 3), dtype float64")
        assert f"{x:.3f}" == repr(x)
        assert x != None  # noqa: E711
        assert not hasattr(x, "no_such_thing")
        assert not hasattr(x, "argpartition")
        assert isinstance(copy.copy(x), Traced)
        assert isinstance(copy.deepcopy([x])[0], Traced)
        with pytest.raises(TypeError, match="unhashable"):
            hash(x)
        with pytest.raises(TypeError, match="scalar"):
            len(x[0, 0])
        with pytest.raises(TypeError, match="scalar"):
            iter(x[0, 0])
        return x

    traced(fun, (2, 3))


def test_numpy_on_the_left_asks_the_traced_array():
    graph = traced(lambda x: np.float64(2) * (np.ones(3) - x) + np.array(1.0), (3,))
    np.testing.assert_array_equal(evaluate(graph, [1, 2, 3])[0], [1, -1, -3])


def test_a_users_array_may_change_between_two_uses():
    table = np.ones(200)

    def fun(x):
        first = np.sum(x * table)
        table[:] = 2
        return first, np.sum(x * table)

    assert evaluate(traced(fun, (200,)), np.ones(200)) == [200, 400]


# ---- in-place operators


def test_in_place_operators_act_as_numpys():
    def fun(x):
        y = x * 1.0
        alias = y
        y += 1
        y *= x
        s = x[0]
        before = s
        s += 10
        picked = y[[0, 1]]
        y -= y[1] + picked[0]
        return alias, s, before

    x = np.array([1.0, 2, 3])
    for value, right in zip(evaluate(traced(fun, (3,)), x), fun(x), strict=True):
        np.testing.assert_array_equal(value, right)


@pytest.mark.parametrize("fun", [
    lambda x: x.__iadd__(1),
    lambda x: x.T.__isub__(3),
])  # fmt: skip
def test_in_place_on_arguments_and_their_views_is_refused(fun):
    with pytest.raises(TraceError, match="in-place"):
        traced(fun, (3,))


def test_writing_to_an_array_reaches_its_views_and_the_array_that_it_views():
    def fun(x):
        y = x * 2
        view = y[1:]
        inner = view[::-1]
        y += 1
        inner[0] = x[0]
        view *= 3
        picked = y[[0, 1]]
        picked[0] = 9.0
        return y, view, inner, picked

    x = np.array([1.0, 2, 3])
    for value, right in zip(evaluate(traced(fun, (3,)), x), fun(x), strict=True):
        np.testing.assert_array_equal(value, right)


def test_writing_where_only_the_layout_tells_whether_memory_is_shared_is_refused():
    def fun(x):
        y = x.T + 1
        flat = y.reshape(-1)
        y[0, 0] = 5.0
        return flat

    with pytest.raises(TraceError, match="copy before the reshape"):
        traced(fun, (2, 3))


# ---- errors: what was met, where, and the cure

leaked = []


def fill(x):
    out = np.zeros(3)
    out[0] = x[0]
    return out


def subtract_in_place(x):
    out = np.zeros(3)
    out -= x
    return out


ERRORS = [
    (lambda x: 1 if x > 0 else 2, TraceError, "np.where"),
    (lambda x: x > 0 and x < 1, TraceError, "np.any"),
    (lambda x: float(x[0]), TraceError, "drop float"),
    (lambda x: operator.index(x[0]), TraceError, "constant"),
    (lambda x: complex(x[0]), TraceError, "real numbers"),
    (lambda x: range(x[0]), TraceError, "x.shape"),
    (lambda x: [1, 2, 3][x[0]], TraceError, "x.shape"),
    (lambda x: x[: x[0]], TraceError, "constant"),
    (lambda x: math.sin(x[0]), TraceError, "np.sin"),
    (lambda x: x.item(), ShapeError, "item"),
    (lambda x: np.array([x[0], x[1]]), TraceError, "np.stack"),
    (lambda x: np.array([x, x]), TraceError, "np.stack"),
    (lambda x: np.asarray(x), TraceError, "np.asarray"),
    (fill, TraceError, "np.stack"),
    (subtract_in_place, TraceError, "instead of y"),
    (lambda x: x.__setitem__(0, 1.0), TraceError, "np.stack"),
    (lambda x: np.spacing(x), TraceError, "np.spacing cannot"),
    (lambda x: np.linalg.svd(x), TraceError, r"linalg.svd(.|\n)*eigh"),
    (lambda x: np.divide.accumulate(x), TraceError, "divide.accumulate"),
    (lambda x: np.subtract.reduce(x), TraceError, "subtract.reduce(.|\n)*np.sum"),
    (lambda x: np.logaddexp.reduce(x, where=x > 0), TraceError, "where="),
    (lambda x: np.logaddexp.reduce(x[:0]), ShapeError, "no elements"),
    (lambda x: x.reshape(x[0]), TraceError, "integer(.|\n)*x.shape"),
    (lambda x: np.sum(x, axis=x[0]), TraceError, "integer"),
    (lambda x: np.add(1, 2, where=x > 0), TraceError, "where="),
    (lambda x: np.ma.masked_array([1.0, 2, 3], [0, 1, 0]) + x, TraceError, "mask"),
    (lambda x: x[x.argmax()], TraceError, "used as an index(.|\n)*np.where"),
    (lambda x: np.argmax(x[:0]), ShapeError, "no elements"),
    (lambda x: np.max(x, where=x > 0), TraceError, "initial="),
    (lambda x: np.sum(x, out=np.zeros(())), TraceError, "out="),
    (lambda x: np.exp(x, out=np.zeros(3)), TraceError, "y = y"),
    (lambda x: np.exp(x, where=np.array([True, False, True])), TraceError, "where="),
    (lambda x: np.add(x, 1, dtype=complex), TraceError, "complex128"),
    (lambda x: np.sum(x, dtype=complex), TraceError, "complex128"),
    (lambda x: x.sum(colour=3), TraceError, "colour="),
    (lambda x: x.reshape(3, order="A"), TraceError, "order="),
    (lambda x: x.astype(complex), TraceError, "complex128"),
    (lambda x: np.where(x > 0), TraceError, "np.where"),
    (lambda x: x + np.ones(2), ShapeError, r"\(3,\) and \(2,\)"),
    (lambda x: x * x[:2], ShapeError, r"\(3,\) and \(2,\)"),
    (lambda x: np.where(x > 0, x, np.ones(4)), ShapeError, r"\(3,\) and \(3,\) and \(4,\)"),
    (lambda x: x @ np.ones((2, 3)), ShapeError, r"\(3,\) and \(2, 3\)"),
    (lambda x: np.dot(np.ones((3, 2)), x), ShapeError, r"\(3, 2\) and \(3,\)"),
    (lambda x: x.reshape(2, 2), ShapeError, r"\(3,\) has 3 elements"),
    (lambda x: np.concatenate([x, np.ones((2, 2))]), ShapeError, "differ"),
    (lambda x: np.stack([x, x[:2]]), ShapeError, "differ"),
    (lambda x: np.sum(x, axis=1), ShapeError, "axis 1"),
    (lambda x: np.max(x[:0]), ShapeError, "no elements"),
    (lambda x: x[3], IndexingError, "index 3 is out of bounds for axis 0 with size 3"),
    (lambda x: x[-4], IndexingError, "index -4 is out of bounds for axis 0 with size 3"),
    (lambda x: x[0, 0], IndexingError, "2 indices"),
    (lambda x: x[[0, 5]], IndexingError, "index 5 is out of bounds for axis 0 with size 3"),
    (lambda x: np.take(x, 7), IndexingError, "index 7 is out of bounds"),
    (lambda x: x[x > 0], TraceError, "np.where"),
    (lambda x: x[x[0]], TraceError, "np.where"),
    (lambda x: x + 1j, TraceError, "complex128"),
    (lambda x: x * np.array([None, 1, 2]), TraceError, "object"),
    (lambda x: np.add(x, "text"), TraceError, "<U4"),
    (lambda x: -(x > 0), TraceError, "logical_not"),
    (lambda x: (x > 0) - (x > 1), TraceError, "logical_xor"),
    (lambda x: x & x, TraceError, "compare first"),
    (lambda x: pickle.dumps(x), TraceError, "pickled"),
    (lambda x: x + leaked[0], TraceError, "another call"),
    (lambda x: leaked[0] + x, TraceError, "another call"),
    (lambda x: np.where(leaked[0] > 0, x, 0), TraceError, "another call"),
    (lambda x: leaked[0] * 2, TraceError, "another call"),
    (lambda x: 1.0 in x, TraceError, "np.any"),
    (lambda x: x.sort(), TraceError, "copy"),
    (lambda x: x.fill(0.0), TraceError, "full_like"),
    (lambda x: x.nonzero(), TraceError, "np.where"),
    (lambda x: x.imag, TraceError, "np.imag"),
    (lambda x: np.fill_diagonal(x, 0.0), TraceError, "np.eye"),
    (lambda x: np.put(x, 0, 1.0), TraceError, "np.where"),
    (lambda x: np.array_equal(x, x), TraceError, "np.all"),
    (lambda x: np.unique(x), TraceError, "depend on values"),
    (lambda x: np.flatnonzero(x), TraceError, "np.where"),
    (lambda x: np.linalg.norm(np.outer(x, x), 2), TraceError, "singular values(.|\n)*Frobenius"),
    (lambda x: np.linalg.norm(np.outer(x, x), "nuc"), TraceError, "Frobenius"),
    (lambda x: np.linalg.norm(np.ones((1, 1, 1)) * x, 1), ShapeError, "3 axes"),
    (lambda x: np.linalg.matrix_power(np.outer(x, x), -1), TraceError, "np.linalg.inv"),
    (lambda x: np.linalg.matrix_power(x, 2), ShapeError, "square"),
    (lambda x: np.linalg.multi_dot([x, x[None, :, None], x]), ShapeError, "vectors at the ends"),
    (lambda x: np.einsum("ij->i", x), ShapeError, r"'ij'(.|\n)*\(3,\)"),
    (lambda x: np.einsum("i,i->j", x, x), ShapeError, "result 'j'"),
    (lambda x: np.einsum("i,i", x, x[:2]), ShapeError, "lengths 3 and 2"),
    (lambda x: np.einsum("i,i", x), ShapeError, "2 subscripts for 1"),
    (lambda x: np.cross(x[:2], x[:2]), ShapeError, "3 components"),
    (lambda x: np.convolve(x[:0], x), ShapeError, "not empty"),
    (lambda x: np.vander(x[None]), ShapeError, "not a vector"),
    (lambda x: np.polyval(x[None], 1.0), ShapeError, "highest power"),
    (lambda x: np.average(x, weights=[1, 2]), ShapeError, "weights"),
    (lambda x: np.cov(x, aweights=[1, 2, 3]), TraceError, "np.average"),
    (lambda x: np.insert(x, x, 1.0), TraceError, "index"),
    (lambda x: np.compress(x > 0, x), TraceError, "np.where"),
    (lambda x: np.extract(x > 0, x), TraceError, "np.where"),
    (lambda x: np.delete(x, 9), IndexingError, "9"),
    (lambda x: np.choose(x, [1.0, 2.0]), TraceError, "np.where"),
    (lambda x: np.pad(x, 1, mode="mean"), TraceError, "np.concatenate"),
    (lambda x: np.searchsorted(np.stack([x, x]), 1.0), ShapeError, "one axis"),
    (lambda x: np.digitize(1.0, x), TraceError, "constant bins"),
    (lambda x: np.interp(1.0, x, [1, 2, 3]), TraceError, "constant xp"),
    (lambda x: np.interp(x, [1, 2], [1, 2, 3]), ShapeError, "pairs"),
    (lambda x: np.bincount([0, 1], x), ShapeError, "bins"),
    (lambda x: np.add.reduceat(x, [0, 3]), IndexingError, "length 3"),
    (lambda x: np.add.reduceat(x, x), TraceError, "index"),
    (lambda x: np.add.at(x, 0, 1.0), TraceError, "add.at"),
    (lambda x: np.bincount(x), TraceError, "index"),
    (lambda x: np.gradient(x[:1]), ShapeError, "too few"),
    (lambda x: np.gradient(x, [1, 2]), ShapeError, "coordinates"),
    (lambda x: np.block([[x, x], x]), ShapeError, "depths"),
    (lambda x: np.rot90(x[None], axes=(0, 0)), ShapeError, "one axis"),
    (lambda x: np.rollaxis(x, 0, 5), ShapeError, "start 5"),
    (lambda x: np.moveaxis(x[None], [0, 1], [0]), ShapeError, "2 axes"),
    (lambda x: np.sum([x[0], x]), TraceError, "np.stack|shapes"),
    (lambda x: x * [x[0], x], ShapeError, "is no array"),
    (lambda x: np.broadcast_to(3.0, (2,)) + np.take(np.ones(3), x), TraceError, "constant|index"),
]


@pytest.mark.parametrize(("fun", "error", "cure"), ERRORS)
def test_an_error_says_what_where_and_what_instead(fun, error, cure):
    with pytest.raises(error, match=cure) as caught:
        traced(fun, (3,))
    source, first = inspect.getsourcelines(fun)
    lines = range(first, first + len(source))
    assert any(f"{__file__}:{line}" in str(caught.value) for line in lines), str(caught.value)


@pytest.fixture(autouse=True)
def leak():
    """A traced array that outlives its trace, for the functions that use one."""
    leaked.clear()
    traced(lambda x: leaked.append(x) or x, (3,))
    yield
    leaked.clear()


def test_a_leaked_array_cannot_be_returned():
    with pytest.raises(TraceError, match="another call"):
        traced(lambda x: leaked[0], (3,))


@pytest.mark.parametrize(
    ("value", "met"), [(None, "return missing"), ("text", "<U4"), (1j, "complex"), ({"a": None}, r"\['a'\]")]
)
def test_a_result_that_is_no_array_is_refused(value, met):
    with pytest.raises(TraceError, match=met):
        traced(lambda x: value, (3,))


def test_an_object_array_of_traced_arrays_is_refused():
    def fun(x):
        out = np.empty(2, object)
        out[0] = x
        return out

    with pytest.raises(TraceError, match="object"):
        traced(fun, (3,))


def test_errors_are_also_of_the_usual_kinds():
    assert issubclass(TraceError, TypeError)
    assert issubclass(ShapeError, ValueError)
    assert issubclass(IndexingError, IndexError)


def test_an_error_of_the_users_own_passes_through():
    with pytest.raises(ZeroDivisionError):
        traced(lambda x: 1 / 0, (3,))
    with pytest.raises(ValueError, match="theirs"):
        traced(lambda x: int("theirs"), (3,))


def test_a_trace_within_a_trace_may_use_its_arrays():
    def fun(x):
        graph = trace(lambda y: y * x, [Input(())], builder=x._node.builder)
        assert x._node.builder.is_open
        assert x._node in graph.nodes
        assert graph.inputs != (x._node,)
        return x

    assert not trace(fun, [Input(())]).inputs[0].builder.is_open
