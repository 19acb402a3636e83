"""Contracts of grad, value_and_grad and vmap: arguments, settings, layouts, composition, sharing."""

import multiprocessing
import pickle
import sys
import threading
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from helpers import assert_same_bits, disguises
from numpy.testing import assert_allclose, assert_array_equal

import fastgrad as fg
from fastgrad import _core

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4))
V = RNG.normal(size=4)


class Pair(NamedTuple):
    w: np.ndarray
    b: np.ndarray


def half_square(x):
    return 0.5 * np.sum(x * x)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def affine(p, x):
    return np.sum(np.tanh(x @ p["w"] + p["b"][0]) * p["b"][1])


def counted(fun):
    """`fun`, and the list of its calls."""
    calls = []

    def wrapped(*args, **kwargs):
        calls.append(args)
        return fun(*args, **kwargs)

    return wrapped, calls


# ---- arguments


@pytest.mark.parametrize(("argnums", "which"), [(0, 0), (1, 1), (-1, 2), (-3, 0), (np.int64(1), 1)])
def test_argnums_chooses_the_argument(argnums, which):
    args = [X, V, np.array(2.0)]
    right = [V * 2.0 + 0 * X, X.sum(0) * 2.0, np.sum(X * V)]
    gradient = fg.grad(lambda x, v, s: np.sum(x * v) * s, argnums)(*args)
    np.testing.assert_allclose(gradient, right[which], rtol=1e-14)


def test_a_sequence_of_argnums_gives_a_tuple_in_its_order():
    fun = fg.value_and_grad(lambda x, v: np.sum(x * v), argnums=[1, -2])
    value, gradients = fun(X, V)
    assert type(gradients) is tuple
    assert value == pytest.approx(np.sum(X * V))
    np.testing.assert_allclose(gradients[0], X.sum(0), rtol=1e-14)
    np.testing.assert_array_equal(gradients[1], np.broadcast_to(V, X.shape))
    assert len(fg.grad(half_square, (0,))(V)) == 1


@pytest.mark.parametrize("argnums", [2, -3, (0, 5)])
def test_argnums_out_of_range_says_so(argnums):
    with pytest.raises(ValueError, match=r"argnums .* 2 positional arguments"):
        fg.grad(lambda x, y: x * y, argnums)(1.0, 2.0)


def test_the_gradient_of_nested_arguments_is_nested_alike():
    params = {"w": np.ones((4, 2)), "b": [np.zeros(2), (3.0,)], "pair": Pair(V, np.float32(2))}

    def fun(p, x):
        return np.sum((x @ p["w"] + p["b"][0]) * p["b"][1][0]) + np.sum(p["pair"].w) * p["pair"].b

    gradient = fg.grad(fun)(params, X)
    assert list(gradient) == sorted(params)
    assert type(gradient["b"]) is list
    assert type(gradient["b"][1]) is tuple
    assert type(gradient["pair"]) is Pair
    np.testing.assert_allclose(gradient["w"], 3 * np.repeat(X.sum(0)[:, None], 2, 1), rtol=1e-14)
    assert gradient["b"][1][0] == pytest.approx(np.sum(X @ params["w"]))
    assert gradient["pair"].b.dtype == np.float32
    np.testing.assert_array_equal(gradient["pair"].w, np.full(4, 2.0))


def test_keyword_arguments_are_data_or_settings_and_never_differentiated():
    def fun(x, *, power=1, weight=None):
        y = x**power
        return np.sum(y if weight is None else y * weight)

    gradient = fg.grad(fun)
    np.testing.assert_array_equal(gradient(V), np.ones(4))
    np.testing.assert_array_equal(gradient(V, power=2), 2 * V)
    np.testing.assert_allclose(gradient(V, weight=V, power=3), 3 * V**3, rtol=1e-14)
    np.testing.assert_array_equal(gradient(V), np.ones(4))


def test_settings_steer_control_flow_and_retrace_when_they_change():
    def fun(x, times, kind, scale=None):
        for _ in range(times):
            x = x * x if kind == "square" else x + 1
        return np.sum(x) * (1.0 if scale is None else scale)

    fun, calls = counted(fun)
    gradient = fg.grad(fun)
    for _ in range(2):
        np.testing.assert_allclose(gradient(V, 2, "square"), 4 * V**3, rtol=1e-14)
        np.testing.assert_array_equal(gradient(V, 1, "square", None), 2 * V)
        np.testing.assert_array_equal(gradient(V, 2, "add"), np.ones(4))
        np.testing.assert_array_equal(gradient(V, True, "square"), 2 * V)  # equal to 1 but another type
    assert len(calls) == 4


def test_settings_are_told_apart_when_equal_but_of_another_type_or_unhashable():
    class Unhashable:
        __hash__ = None

        def __init__(self, k):
            self.k = k

        def __eq__(self, other):
            return True

    gradient = fg.grad(lambda x, s: np.sum(x) * s.k)
    a, b = Unhashable(2), Unhashable(3)
    np.testing.assert_array_equal(gradient(V, a), np.full(4, 2.0))
    np.testing.assert_array_equal(gradient(V, b), np.full(4, 3.0))


# ---- dtypes and shapes


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (V, np.float64),
        (V.astype(np.float32), np.float32),
        (V.astype(np.float16), np.float32),
        (np.arange(4), np.float64),
        (np.array([True, False]), np.float64),
        ([1, 2, 3], np.float64),
        (np.longdouble(2), np.float64),
        (3, np.float64),
        (np.float32(3), np.float32),
    ],
)
def test_the_gradient_has_the_dtype_that_the_argument_becomes(x, dtype):
    def fun(x):
        return sum(v**2 for v in x) if isinstance(x, list) else np.sum(x**2)

    value, gradient = fg.value_and_grad(fun)(x)
    values, gradients = (x, gradient) if isinstance(x, list) else ([x], [gradient])
    for one, slope in zip(values, gradients, strict=True):
        assert slope.dtype == dtype
        assert np.shape(slope) == np.shape(one)
        np.testing.assert_allclose(slope, 2 * np.asarray(one, dtype), rtol=1e-6)
    assert value.dtype == dtype


def test_mixed_precision_promotes_and_gives_each_gradient_its_dtype():
    value, (a, b) = fg.value_and_grad(lambda a, b: np.sum(a * b), (0, 1))(V.astype(np.float32), V)
    assert (value.dtype, a.dtype, b.dtype) == (np.float64, np.float32, np.float64)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (2, 0), (1, 4, 1)])
def test_shapes_never_squeeze(shape):
    x = np.ones(shape)
    value, gradient = fg.value_and_grad(lambda x: np.sum(x * 3))(x)
    assert np.shape(value) == ()
    assert isinstance(value, np.float64)
    assert np.shape(gradient) == shape
    np.testing.assert_array_equal(gradient, np.full(shape, 3.0))
    batch = fg.vmap(lambda x: x * 2)(np.ones((5, *shape)))
    assert batch.shape == (5, *shape)


def test_a_function_that_ignores_its_argument_has_a_zero_gradient():
    np.testing.assert_array_equal(fg.grad(lambda x: 3.0)(X), np.zeros_like(X))
    np.testing.assert_array_equal(fg.grad(lambda x, y: np.sum(y))(X, V), np.zeros_like(X))
    np.testing.assert_array_equal(fg.vmap(lambda x: 7)(V), np.full(4, 7.0))
    np.testing.assert_array_equal(fg.vmap(fg.grad(lambda x: 7.0))(X), np.zeros_like(X))
    np.testing.assert_array_equal(fg.vmap(lambda x: (V, x))(V)[0], np.tile(V, (4, 1)))


@pytest.mark.parametrize("fun", [lambda x: x, lambda x: x[None], lambda x: x[:1]])
def test_a_loss_that_is_not_one_number_is_refused(fun):
    for transform, x in [(fg.grad(fun), V), (fg.vmap(fg.value_and_grad(fun)), X)]:
        with pytest.raises(fg.ShapeError, match="a gradient needs a function with a scalar value"):
            transform(x)


@pytest.mark.parametrize(
    "bad", [X.astype(complex), np.array([None, 1]), np.array(["a"]), np.ma.masked_array([1.0, 2], [0, 1])]
)
def test_what_is_not_real_is_refused_by_the_name_of_the_argument(bad):
    def loss(a, b):
        return np.sum(a) + np.sum(b["w"][0])

    for transform, args in [
        (fg.grad(loss, 1), (V, {"w": [bad]})),
        (fg.grad(loss), (V, {"w": [bad]})),
        (fg.vmap(loss), (V, {"w": [bad]})),
    ]:
        with pytest.raises(TypeError, match=r"argument 1\['w'\]\[0\]"):
            transform(*args)
    with pytest.raises(TypeError, match="argument 'c'"):
        fg.grad(lambda a, c: np.sum(a))(V, c=bad)


def test_what_is_not_a_function_is_refused():
    for make in (fg.grad, fg.value_and_grad, fg.vmap):
        with pytest.raises(TypeError, match="fun must be a function"):
            make(3)


# ---- layouts


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_odd_layouts_give_the_bits_of_a_clean_copy_and_are_not_written(dtype):
    def fun(x, y):
        return np.sum(np.sin(x) * y.T) + np.sum((x @ y) ** 2)

    x, y = RNG.normal(size=(3, 5)).astype(dtype), RNG.normal(size=(5, 3)).astype(dtype)
    single, batch = fg.value_and_grad(fun, (0, 1)), fg.vmap(fg.value_and_grad(fun, (0, 1)))
    lanes_x, lanes_y = (RNG.normal(size=(20, *z.shape)).astype(dtype) for z in (x, y))
    for transform, clean in [(single, (x, y)), (batch, (lanes_x, lanes_y))]:
        right = transform(*clean)
        before = [z.copy() for z in clean]
        for (name, a), b in zip(disguises(clean[0]).items(), disguises(clean[1]).values(), strict=True):
            if name == "nested list":
                continue
            for arguments in [(a, clean[1]), (clean[0], b), (a, b)]:
                value, gradients = transform(*arguments)
                assert_same_bits(value, right[0])
                assert_same_bits(gradients[0], right[1][0])
                assert_same_bits(gradients[1], right[1][1])
            np.testing.assert_array_equal(np.asarray(a), before[0])
            np.testing.assert_array_equal(np.asarray(b), before[1])


def test_zero_strides_are_read_as_repeated_values():
    x = np.broadcast_to(V, (3, 4))
    np.testing.assert_array_equal(fg.grad(half_square)(x), x)
    np.testing.assert_array_equal(fg.vmap(fg.grad(half_square))(x), x)


def test_results_are_fresh_arrays_that_later_calls_leave_alone():
    gradient = fg.grad(half_square)
    first = gradient(V)
    second = gradient(2 * V)
    np.testing.assert_array_equal(first, V)
    first[:] = 0
    np.testing.assert_array_equal(second, 2 * V)
    result = fg.vmap(lambda x: x)(X)
    assert not np.shares_memory(result, X)
    a, b = fg.vmap(lambda x: (x, x))(X)
    assert not np.shares_memory(a, b)


# ---- batches


def network(x, w, b):
    h = np.tanh(w[0] @ x + b)
    return np.sum(np.log1p(np.exp(w[1] @ h))) + np.prod(1 + x / 10) + np.linalg.norm(h[::-1] * x[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_instance_gives_the_same_bits_alone_and_in_any_batch(dtype, isa):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 6)).astype(dtype)
    w, b = rng.normal(size=(2, 6, 6)).astype(dtype), rng.normal(size=6).astype(dtype)
    alone = fg.value_and_grad(network, (0, 1, 2))
    batch = fg.vmap(fg.value_and_grad(network, (0, 1, 2)), (0, None, None))
    value, gradients = batch(x, w, b)
    for n in [1, 2, 15, 16, 17, 33, 129]:
        some_value, some = batch(x[:n], w, b)
        assert_same_bits(some_value, value[:n])
        for a, c in zip(some, gradients, strict=True):
            assert_same_bits(a, c[:n])
    for i in [0, 7, 16, 127, 128, 299]:
        one_value, one = alone(x[i], w, b)
        assert_same_bits(one_value, value[i])
        for a, c in zip(one, gradients, strict=True):
            assert_same_bits(a, c[i])


def test_in_axes_counts_instances_along_any_axis():
    a, b = RNG.normal(size=(4, 5)), RNG.normal(size=(3, 4))

    def fun(x, y):
        return x * np.sum(y), y[0]

    for in_axes in [(1, None), (-1, None)]:
        result = fg.vmap(fun, in_axes)(a, b)
        np.testing.assert_allclose(result[0], a.T * b.sum(), rtol=1e-14)
        np.testing.assert_array_equal(result[1], np.tile(b[0], (5, 1)))
    np.testing.assert_allclose(fg.vmap(fun, (0, 1))(a, b)[0], a * b.sum(0)[:, None], rtol=1e-14)
    np.testing.assert_allclose(fg.vmap(fun, (None, -1))(2.0, b)[0], 2 * b.sum(0), rtol=1e-14)


def test_the_batch_axis_of_nested_arguments_is_that_of_each_leaf():
    params = {"w": RNG.normal(size=(7, 4, 2)), "b": [np.zeros((7, 2)), np.ones(7)]}
    gradient = fg.vmap(fg.grad(affine), (0, None))(params, X)
    for i in range(7):
        one = fg.grad(affine)({"w": params["w"][i], "b": [params["b"][0][i], params["b"][1][i]]}, X)
        np.testing.assert_array_equal(gradient["w"][i], one["w"])
        np.testing.assert_array_equal(gradient["b"][0][i], one["b"][0])
        np.testing.assert_array_equal(gradient["b"][1][i], one["b"][1])


@pytest.mark.parametrize(
    ("in_axes", "arguments", "error", "message"),
    [
        (0, (np.ones((0, 3)),), fg.ShapeError, "argument 0 is an empty batch"),
        (0, (np.ones(3), np.ones(4)), fg.ShapeError, "argument 0 has 3, argument 1 has 4"),
        (1, (np.ones(3),), fg.ShapeError, r"argument 0 has shape \(3,\)"),
        (-2, (np.ones(3),), fg.ShapeError, r"argument 0 has shape \(3,\)"),
        (0, (1.0,), fg.ShapeError, "argument 0"),
        ((0, None), (np.ones(3),), ValueError, "in_axes has 2 entries"),
        ((None, None), (np.ones(3), np.ones(3)), ValueError, "in_axes names no argument"),
    ],
)
def test_wrong_batches_are_refused_with_what_is_wrong(in_axes, arguments, error, message):
    with pytest.raises(error, match=message):
        fg.vmap(lambda *args: np.sum(args[0]), in_axes)(*arguments)


def test_batches_of_any_length_share_one_trace():
    fun, calls = counted(half_square)
    batch = fg.vmap(fg.grad(fun))
    for n in [1, 2, 100, 3]:
        assert batch(np.ones((n, 3))).shape == (n, 3)
    assert len(calls) == 1


# ---- composition


def cubic(x):
    return x**3 + 2 * x


def test_transforms_compose_in_any_order():
    x = np.linspace(-1, 1, 5)
    for transform, right in [
        (fg.vmap(fg.grad(fg.grad(cubic))), 6 * x),
        (fg.vmap(fg.grad(fg.grad(fg.grad(cubic)))), np.full(5, 6.0)),
        (fg.grad(lambda x: np.sum(fg.vmap(cubic)(x))), 3 * x**2 + 2),
        (fg.grad(lambda x: np.sum(fg.vmap(fg.grad(cubic))(x))), 6 * x),
        (fg.vmap(lambda x: fg.value_and_grad(cubic)(x)[1]), 3 * x**2 + 2),
        (fg.vmap(lambda x: fg.grad(lambda y: x * y**2)(x)), 2 * x**2),  # x is y's constant
        (fg.vmap(fg.grad(lambda x: fg.grad(lambda y: x * y**2)(x))), 4 * x),
        (fg.grad(lambda x: half_square(fg.grad(half_square)(x))), x),
    ]:
        np.testing.assert_allclose(transform(x), right, rtol=1e-13, atol=1e-14)


def test_a_gradient_is_as_safe_in_a_batch_as_alone():
    x = np.array([-800.0, 0.0, 3.0, 800.0])

    def logistic(x):
        return 1 / (1 + np.exp(-x))

    right = [0, 0.25, logistic(3) * logistic(-3), 0]
    scale = np.array(2.0)
    for transform in [
        fg.grad(lambda x: np.sum(logistic(x))),
        fg.vmap(fg.grad(logistic)),
        fg.vmap(lambda x: fg.value_and_grad(logistic)(x)[1]),
        fg.vmap(lambda x: fg.grad(lambda y: logistic(y) * scale / 2 + x)(x)),
    ]:
        np.testing.assert_allclose(transform(x), right, rtol=1e-14)


def test_vmap_of_vmap_counts_both_axes():
    x = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(fg.vmap(fg.vmap(cubic))(x), cubic(x), rtol=1e-14)
    np.testing.assert_allclose(fg.vmap(fg.vmap(fg.grad(cubic)), in_axes=1)(x), (3 * x**2 + 2).T, rtol=1e-13)


def test_a_gradient_inside_a_traced_function_sees_arrays_and_traced_values():
    def step(x, rate):
        return x - rate * fg.grad(rosenbrock)(x) + fg.grad(half_square)(np.ones(3))

    def unrolled(x, rate):
        for _ in range(3):
            x = step(x, rate)
        return half_square(x)

    x, rate = np.array([0.5, 0.4, 0.3]), np.array(1e-3)
    right = x
    for _ in range(3):
        right = right - rate * fg.grad(rosenbrock)(right) + 1
    value, slope = fg.value_and_grad(unrolled, 1)(x, rate)
    assert value == pytest.approx(half_square(right), rel=1e-13)
    h = 1e-7
    ahead, behind = (float(fg.value_and_grad(unrolled)(x, rate + s * h)[0]) for s in (1, -1))
    assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


def test_the_hessian_by_rows_agrees_with_differences():
    x = np.array([0.3, -0.2, 0.5, 0.1])
    rows = fg.vmap(lambda v, x: fg.grad(lambda z: np.sum(fg.grad(rosenbrock)(z) * v))(x), (0, None))
    hessian = rows(np.eye(4), x)
    h = 1e-5
    columns = [(fg.grad(rosenbrock)(x + h * e) - fg.grad(rosenbrock)(x - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(hessian, np.stack(columns), rtol=1e-7, atol=1e-6)


# ---- remembering


def test_a_known_signature_does_not_call_the_function_again():
    fun, calls = counted(lambda x, y: np.sum(x * y))
    gradient = fg.grad(fun)
    for x in [V, 2 * V, V[::-1], V.astype(">f8"), [1.0, 2, 3, 4]]:
        if not isinstance(x, list):
            gradient(x, V)
    assert len(calls) == 1
    gradient(V.astype(np.float32), V)  # another dtype
    gradient(X, V)  # another shape
    gradient(V, y=V)  # another spelling
    assert len(calls) == 4
    for x in [V, V.astype(np.float32), X]:
        gradient(x, V)
    assert len(calls) == 4


def test_very_many_signatures_do_not_grow_memory_for_ever():
    gradient = fg.grad(lambda x, k: np.sum(x) * k)
    for k in range(300):
        np.testing.assert_array_equal(gradient(V, k), np.full(4, float(k)))
    assert len(gradient.known) <= 256
    np.testing.assert_array_equal(gradient(V, 0), np.zeros(4))


def test_names_and_docs_are_those_of_the_function():
    assert fg.grad(rosenbrock).__name__ == "rosenbrock"
    assert repr(fg.vmap(rosenbrock)) == "<fastgrad.vmap of rosenbrock>"
    assert fg.grad(rosenbrock).__wrapped__ is rosenbrock


@pytest.mark.parametrize("make", [fg.grad, fg.value_and_grad, fg.vmap, lambda f: fg.vmap(fg.grad(f), in_axes=1)])
def test_transforms_pickle_with_what_they_were_made_from(make):
    transform = make(rosenbrock)
    copy = pickle.loads(pickle.dumps(transform))
    for a, b in zip(np.atleast_1d(transform(X)), np.atleast_1d(copy(X)), strict=True) if make is fg.vmap else []:
        assert_same_bits(a, b)
    assert repr(copy) == repr(transform)
    both = pickle.loads(pickle.dumps(fg.grad(affine, argnums=(1,))))
    assert type(both({"w": np.ones((4, 2)), "b": [np.zeros(2), 1.0]}, X)) is tuple


def test_calls_and_errors_leave_no_memory_behind():
    gradient, batch = fg.grad(rosenbrock), fg.vmap(fg.value_and_grad(rosenbrock))
    x = RNG.normal(size=(50, 4))
    gradient(x[0]), batch(x)
    before = _core.live_memory()
    for _ in range(200):
        gradient(x[0]), batch(x)
        with pytest.raises(fg.ShapeError):
            batch(x[:0])
    assert _core.live_memory() == before
    del gradient, batch
    assert _core.live_memory()[1] < before[1]


# ---- threads and processes


def test_many_python_threads_share_one_transform():
    x = RNG.normal(size=(64, 500, 4))
    transforms = [fg.grad(rosenbrock), fg.vmap(fg.grad(rosenbrock))]
    right = [fg.vmap(fg.grad(rosenbrock))(rows) for rows in x]
    barrier, errors = threading.Barrier(8), []

    def work(k):
        try:
            barrier.wait()
            for i in range(k, 64, 8):
                assert_same_bits(transforms[1](x[i]), right[i])
                assert_same_bits(transforms[0](x[i, k]), right[i][k])
                assert_same_bits(transforms[0](x[i, k, :3]), transforms[0](x[i, k, :3].copy()))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors


def heavy(x):
    for _ in range(20):
        x = np.sin(x) + 1e-3 * x
    return np.sum(x)


def test_results_do_not_depend_on_the_number_of_threads(threads):
    x = RNG.normal(size=(4000, 3))
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(fg.vmap(fg.value_and_grad(heavy))(x))
    for value, gradient in results[1:]:
        assert_same_bits(value, results[0][0])
        assert_same_bits(gradient, results[0][1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_computes_after_threads_were_used(threads):
    threads(2)
    transform, x = fg.vmap(fg.grad(heavy)), RNG.normal(size=(4000, 3))
    right = transform(x)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=lambda: sys.exit(not np.array_equal(transform(x), right)))
    child.start()
    child.join(20)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert not alive
    assert child.exitcode == 0


# ---- what a hostile reader found once


NAN_SAFE = {
    "max": lambda x: np.where(x[0] > 0, np.max(np.log(x)), 0.0),
    "dot": lambda x: np.where(x[0] > 0, np.log(x) @ np.log(x), 0.0),
    "matmul": lambda x: np.sum(np.where(x[0] > 0, np.log(np.outer(x, x)) @ np.log(x), 0.0)),
    "logsumexp": lambda x: np.where(x[0] > 0, np.max(x) + np.log(np.sum(np.exp(np.sqrt(x) - np.max(x)))), 0.0),
}


@pytest.mark.parametrize("name", NAN_SAFE)
def test_a_branch_not_taken_leaks_no_nan_through_reductions_and_products(name):
    with np.errstate(all="ignore"):
        assert_array_equal(fg.grad(NAN_SAFE[name])(np.array([-1.0, -2.0])), [0.0, 0.0])
        x = np.array([1.5, 2.5])
        steps = np.eye(2) * 1e-6
        central = [(NAN_SAFE[name](x + h) - NAN_SAFE[name](x - h)) / 2e-6 for h in steps]
    assert_allclose(fg.grad(NAN_SAFE[name])(x), central, rtol=1e-7)


@pytest.mark.parametrize(
    ("fun", "x"),
    [
        (lambda x: np.sum(np.float32(0.25) * x), np.full(4, 3e38, np.float32)),
        (lambda x: np.sum(0 * x), np.full(4, 1e308)),
        (lambda x: 0.5 * x[0] + 0.5 * x[1], np.full(2, 1.5e308)),
        (lambda x: np.sum((x / 2.0**20) ** 2), np.full(2, 1e20, np.float32)),
        (lambda x: np.sum((x * 2.0**40) ** 2), np.full(2, 1e-22, np.float32)),
    ],
)
def test_numbers_that_scale_a_sum_stay_where_they_were_written(fun, x):
    assert_allclose(fg.vmap(fun)(x[None])[0], fun(x), rtol=1e-6)


def test_a_value_used_in_two_interleaved_parts_is_computed_apart():
    weights = np.arange(4.0)
    gradient = fg.grad(lambda x: np.sum(np.prod(np.broadcast_to(x, (2, 4)), axis=0) * weights))(np.ones(4))
    assert_array_equal(gradient, 2 * weights)


def test_a_quotient_has_the_same_bits_alone_and_in_a_batch():
    rng = np.random.default_rng(3)
    weights, X = rng.normal(size=3), rng.normal(size=(64, 6))
    alone = fg.value_and_grad(lambda x: np.sum(weights * (x[:3] / x[3:])))
    values, gradients = fg.vmap(alone)(X)
    for row, value, gradient in zip(X, values, gradients, strict=True):
        assert alone(row)[0] == value
        assert_array_equal(alone(row)[1], gradient)


def test_boolean_arrays_keep_their_rules_as_arguments():
    x, m = np.array([1.0, 2.0, 4.0]), np.array([True, False, True])
    for fun in (lambda x, m: np.sum(x * (m + m)), lambda x, m: np.sum(x[m.shape[0] - 1] * ~m)):
        assert fg.value_and_grad(fun)(x, m)[0] == fun(x, m)
    assert fg.grad(lambda x, k: x[k])(x, np.int64(2))[2] == 1  # numbers of an index are settings


def test_np_matrix_is_refused_where_its_product_would_be_lost():
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        with pytest.raises(TypeError, match="asarray"):
            fg.grad(lambda x: np.sum(matrix * x))(np.ones((2, 1)))
    with pytest.raises(TypeError, match="argument 1 is a np"):
        fg.grad(lambda x, m: np.sum(m * x))(np.ones((2, 1)), matrix)


def test_a_decorated_method_gets_its_object():
    class Model:
        scale = 3.0
        slope = fg.grad(lambda self, x: np.sum(self.scale * x), argnums=1)

    assert_array_equal(Model().slope(np.ones(2)), [3.0, 3.0])


@pytest.mark.parametrize("in_axes", [0.0, "0", {"a": 0}, (True,), (0.5,)])
def test_in_axes_that_are_not_axes_are_named(in_axes):
    with pytest.raises(TypeError, match="in_axes"):
        fg.vmap(np.sum, in_axes=in_axes)(np.ones((2, 2)))


def test_an_inner_transform_of_constants_may_refer_to_the_outer_argument():
    inner = np.array([2.0, 3.0])
    outer = fg.grad(lambda a: np.sum(fg.grad(lambda b: np.sum(a * b * b))(inner)))
    assert_array_equal(outer(np.ones(2)), 2 * inner)
