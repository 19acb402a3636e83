"""scan and fori_loop against Python loops: values, derivatives of any order, nesting, batches, descents, refusals."""

import pickle

import numpy as np
import pytest

import fastgrad as fg
from fastgrad import _core
from fastgrad._compiler import loops
from fastgrad._compiler.compile import compile_graph
from fastgrad._compiler.simplify import simplify
from fastgrad._compiler.trace import Input, trace


def unrolled(step, init, xs=None, length=None, reverse=False):
    """The same with a Python loop, for arrays, tuples of arrays and None."""

    def row(x, i):
        return None if x is None else {k: v[i] for k, v in x.items()} if isinstance(x, dict) else x[i]

    first = next(iter(xs.values())) if isinstance(xs, dict) else xs
    n = length if first is None else first.shape[0]
    carry, ys = init, [None] * n
    for i in reversed(range(n)) if reverse else range(n):
        carry, ys[i] = step(carry, row(xs, i))
    if n == 0 or ys[0] is None:
        return carry, None
    if isinstance(ys[0], tuple):
        return carry, tuple(np.stack(column) for column in zip(*ys, strict=True))
    return carry, np.stack(ys)


@pytest.fixture(params=["stored", "segments"])
def storing(request, monkeypatch):
    """All carries stored, or at every k-th step only."""
    if request.param == "segments":
        monkeypatch.setattr(loops, "STORED_AT_ONCE", 0)
    return request.param


# ---- functions of (loop, parameters) -> a number, for loops of n steps


def rk4(loop, n):
    """Lorenz's equations."""

    def fun(p, s, data):
        def slope(u):
            x, y, z = u
            return np.stack([p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z])

        def step(u, _):
            h = 0.01
            k1 = slope(u)
            k2 = slope(u + h / 2 * k1)
            k3 = slope(u + h / 2 * k2)
            k4 = slope(u + h * k3)
            u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            return u, u

        last, path = loop(step, s, None, n)
        return np.sum(last**2) + np.sum(path[:, 0] * data)

    return fun, (np.array([10.0, 28.0, 8 / 3]), np.array([1.0, 1.1, 0.9]), np.cos(np.arange(n)))


def rnn(loop, n):
    """A recurrent network: matrices as closure, several carries, several rows made, one of them not read."""

    def fun(w, h, x):
        def step(carry, x):
            h, total = carry
            h = np.tanh(w @ h + np.exp(w[0]) * x["a"] + x["b"][0])
            return (h, total + np.sum(h * x["a"])), (h[1:], total * h[0], h)

        (h, total), (a, b, _) = loop(step, (h, 0.0 * h[0]), x)
        return np.sum(h) + total**2 + np.sum(a[:-1] ** 3) + np.sum(b)

    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(n, 3)), "b": rng.normal(size=(n, 2))}
    return fun, (rng.normal(size=(3, 3)) / 2, rng.normal(size=3), x)


def backward_filter(loop, n):
    """Reversed; the rows made are read at every other step; the carry is not read at all."""

    def fun(rate, init, x):
        def step(level, x):
            level = level + rate * np.sin(x - level)
            return level, level * rate

        _, levels = loop(step, init, x, None, True)
        return np.sum(levels[::2] ** 2) + levels[0]

    return fun, (np.array(0.3), np.array(1.0), np.sin(np.arange(n)))


def logistic(loop, n):
    def fun(r, x, scale):
        return loop(lambda x, i: (r * x * (1 - x) / scale, None), x, None, n)[0]

    return fun, (np.array(3.1), np.array(0.2), np.array(1.01))


def nested(loop, n):
    def fun(a, x, b):
        def outer(u, row):
            def inner(v, _):
                v = np.sin(a * v) + 0.1 * u * row
                return v, v * b

            v, ws = loop(inner, u, None, 5)
            return v + np.sum(ws) / 10, np.sum(ws**2)

        last, ys = loop(outer, x, b)
        return last**2 + np.sum(ys)

    return fun, (np.array(1.3), np.array(0.4), np.cos(np.arange(n)) / 3)


FUNCTIONS = [rk4, rnn, backward_filter, logistic, nested]
by_name = pytest.mark.parametrize("make", FUNCTIONS, ids=lambda make: make.__name__)


def assert_close(actual, expected, tolerance=1e-12):
    actual, structure = loops_flatten(actual)
    expected, other = loops_flatten(expected)
    assert structure == other
    for a, b in zip(actual, expected, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.max(np.abs(b), initial=0.0)))


def loops_flatten(value):
    from fastgrad._compiler import tree

    return tree.flatten(value)


@by_name
@pytest.mark.parametrize("n", [1, 2, 13])
def test_values_and_gradients_are_those_of_the_unrolled_loop(make, n, storing):
    fun, args = make(fg.scan, n)
    plain, _ = make(unrolled, n)
    assert_close(fg.value_and_grad(fun, argnums=(0, 1, 2))(*args), fg.value_and_grad(plain, argnums=(0, 1, 2))(*args))
    assert_close(fun(*args), plain(*args))


@by_name
@pytest.mark.parametrize("n", [2, 7])
def test_second_derivatives_are_those_of_the_unrolled_loop(make, n, storing):
    def slope(fun):
        def total(*args):
            gradients, _ = loops_flatten(fg.grad(fun, argnums=(0, 1, 2))(*args))
            return sum(np.sum(np.sin(g)) for g in gradients)

        return fg.grad(total, argnums=(0, 1, 2))

    args = make(fg.scan, n)[1]
    assert_close(slope(make(fg.scan, n)[0])(*args), slope(make(unrolled, n)[0])(*args), 1e-10)


def test_third_derivatives(storing):
    fun, args = logistic(fg.scan, 6)
    plain, _ = logistic(unrolled, 6)

    def third(f):
        return fg.grad(lambda *a: fg.grad(lambda *b: fg.grad(f)(*b))(*a))

    assert_close(third(fun)(*args), third(plain)(*args), 1e-10)


@by_name
def test_a_batch_gives_the_bits_of_its_instances(make, storing):
    fun, (a, b, c) = make(fg.scan, 9)
    rng = np.random.default_rng(1)
    many = [x + rng.normal(size=(33, *np.shape(x))) / 50 for x in (a, b)]
    for in_axes in [(0, 0, None), (None, 0, None), (0, None, None)]:
        transform = fg.value_and_grad(fun, argnums=(0, 1, 2))
        chosen = [x if axis == 0 else y for x, y, axis in zip(many, (a, b), in_axes, strict=False)]
        batch, _ = loops_flatten(fg.vmap(transform, in_axes=in_axes)(*chosen, c))
        for i in (0, 16, 32):
            one, _ = loops_flatten(
                transform(*[x[i] if axis == 0 else x for x, axis in zip(chosen, in_axes, strict=False)], c)
            )
            for x, y in zip(batch, one, strict=True):
                np.testing.assert_array_equal(x[i], y)


def test_threads_change_no_bit():
    fun, (p, _s, data) = rk4(fg.scan, 200)
    many = np.random.default_rng(0).normal(size=(300, 3))
    batch = fg.vmap(fg.value_and_grad(fun, argnums=1), in_axes=(None, 0, None))
    before = fg.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3):
            fg.set_num_threads(n)
            found.append(batch(p, many, data))
    finally:
        fg.set_num_threads(before)
    for value, gradient in found[1:]:
        np.testing.assert_array_equal(value, found[0][0])
        np.testing.assert_array_equal(gradient, found[0][1])


def test_parameters_of_an_equation_are_found():
    """Decay with an unknown rate and start, through a Runge-Kutta integrator."""
    times = np.linspace(0.0, 2.0, 41)
    data = 1.5 * np.exp(-0.7 * times)

    def loss(p):
        def step(u, _):
            h = 0.05
            k1 = -p[0] * u
            k2 = -p[0] * (u + h * k1)
            u = u + h / 2 * (k1 + k2)
            return u, u

        _, path = fg.scan(step, p[1], length=40)
        return (p[1] - data[0]) ** 2 + np.sum((path - data[1:]) ** 2)

    result = fg.minimize(loss, np.array([0.1, 0.5]), method="adam", learning_rate=0.02, maxiter=3000)
    np.testing.assert_allclose(result.x, [0.7, 1.5], rtol=1e-3)
    starts = np.random.default_rng(0).uniform(0.2, 1.0, (20, 2))
    many = fg.minimize(loss, starts, method="adam", learning_rate=0.02, maxiter=3000, in_axes=0)
    np.testing.assert_allclose(many.x, np.tile([0.7, 1.5], (20, 1)), rtol=1e-3)


# ---- forward mode, and batches inside a traced function


@by_name
def test_forward_mode_is_that_of_the_unrolled_loop(make, storing):
    fun, args = make(fg.scan, 7)
    plain, _ = make(unrolled, 7)
    moves = [loops_flatten(args)[0], np.random.default_rng(3)]
    from fastgrad._compiler import tree

    tangents = tree.unflatten(tree.flatten(args)[1], [moves[1].normal(size=np.shape(x)) for x in moves[0]])
    assert_close(fg.jvp(fun, args, tangents), fg.jvp(plain, args, tangents))


@pytest.mark.parametrize("make", [rk4, logistic, nested, backward_filter], ids=lambda make: make.__name__)
def test_hessians_are_those_of_the_unrolled_loop(make, storing):
    fun, args = make(fg.scan, 6)
    plain, _ = make(unrolled, 6)
    for n in (0, 1):
        assert_close(fg.hessian(fun, argnums=n)(*args), fg.hessian(plain, argnums=n)(*args), 1e-10)


def test_jacobians(storing):
    def path(loop):
        return lambda p, x: loop(lambda u, _: (np.sin(p * u), u[::-1]), x, None, 5)[1]

    args = np.array([0.9, 1.1]), np.array([0.3, 0.7])
    for n in (0, 1):
        assert_close(fg.jacobian(path(fg.scan), argnums=n)(*args), fg.jacobian(path(unrolled), argnums=n)(*args))


@by_name
def test_a_batch_inside_a_traced_function(make, storing):
    n = 5
    fun, (a, b, c) = make(fg.scan, n)
    plain, _ = make(unrolled, n)
    rng = np.random.default_rng(1)
    many = [x + rng.normal(size=(4, *np.shape(x))) / 50 for x in (a, b)]
    for in_axes in [(0, 0, None), (None, 0, None), (0, None, None)]:
        chosen = [x if axis == 0 else y for x, y, axis in zip(many, (a, b), in_axes, strict=False)]

        def total(f, in_axes=in_axes):
            return lambda a, b: np.sum(fg.vmap(f, in_axes=in_axes)(a, b, c) ** 2)

        assert_close(
            fg.value_and_grad(total(fun), argnums=(0, 1))(*chosen),
            fg.value_and_grad(total(plain), argnums=(0, 1))(*chosen),
        )


# ---- what carries, rows and results may be


def test_nested_carries_and_rows():
    def step(carry, x):
        count, done = carry["state"]
        done = np.logical_or(done, count > 4)
        return {"state": [np.where(done, count, count + x[0]), done], "sum": carry["sum"] + x[1]}, {"done": done}

    init = {"state": [0.0, False], "sum": np.zeros(2)}
    carry, ys = fg.scan(step, init, (np.arange(6.0), np.ones((6, 2))))
    assert carry["state"][0] == 6.0
    assert carry["state"][1] == 1.0
    np.testing.assert_array_equal(carry["sum"], [6.0, 6.0])
    np.testing.assert_array_equal(ys["done"], [0, 0, 0, 0, 1, 1])


def test_dtypes_stay():
    x = np.arange(4, dtype=np.float32)
    carry, ys = fg.scan(lambda c, x: (c + x, (c * x, np.float64(0.1) * np.ones(2) * c)), np.float32(0), x)
    assert carry.dtype == np.float32
    assert ys[0].dtype == np.float32
    assert ys[1].dtype == np.float64
    np.testing.assert_array_equal(ys[1][:, 0], 0.1 * np.array([0.0, 0.0, 1.0, 3.0]))
    gradient = fg.grad(lambda x: fg.scan(lambda c, x: (c * x, None), np.float32(1), x)[0])(x + 1)
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, [24, 12, 8, 6])
    assert fg.fori_loop(0, 4, lambda i, c: c + i, np.float32(0)).dtype == np.float32


def test_no_steps_and_no_carry():
    carry, ys = fg.scan(lambda c, x: (c + x, np.ones(2) * c), np.ones(3)[0], np.zeros(0))
    assert carry == 1.0
    assert ys.shape == (0, 2)
    assert fg.grad(lambda c: fg.scan(lambda c, x: (2 * c, c), c, length=0)[0] * 3)(2.0) == 3.0
    _, squares = fg.scan(lambda c, x: (c, x**2), (), np.arange(4.0))
    np.testing.assert_array_equal(squares, [0, 1, 4, 9])
    carry, ys = fg.scan(lambda c, x: (c, None), {"a": np.ones((2, 2))}, length=3)
    np.testing.assert_array_equal(carry["a"], np.ones((2, 2)))
    assert ys is None


def test_what_a_step_returns_may_not_depend_on_anything():
    w = np.arange(100.0)
    carry, ys = fg.scan(lambda c, x: (0.0, w), 5.0, length=2)
    assert carry == 0.0
    np.testing.assert_array_equal(ys, [w, w])
    np.testing.assert_array_equal(
        fg.grad(lambda w: np.sum(fg.scan(lambda c, x: (c, w), 0.0, length=4)[1]))(w), 4 + 0 * w
    )


def test_the_counter():
    assert fg.fori_loop(2, 6, lambda i, c: c * i, 1.0) == 120.0
    assert fg.fori_loop(6, 2, lambda i, c: c * i, 1.5) == 1.5
    assert fg.grad(lambda x: fg.fori_loop(1, 5, lambda i, c: c + i * x**2, 0.0))(3.0) == 60.0


def test_a_branch_not_taken_passes_nothing(storing):
    def fun(x):
        last, _ = fg.scan(lambda c, i: (np.sqrt(c - 1) * c, None), x, length=5)
        return np.sum(np.where(x > 2, last, x))

    gradient = fg.grad(fun)(np.array([0.5, 9.0]))
    assert gradient[0] == 1.0
    assert np.isfinite(gradient[1])


def test_a_gradient_inside_a_step(storing):
    def descend(loop):
        def fun(rate, x):
            slope = fg.grad(lambda x: np.sum(np.cos(x) * rate))
            return np.sum(loop(lambda x, _: (x - rate * slope(x), None), x, None, 8)[0])

        return fun

    args = np.array(0.3), np.array([1.0, 2.0])
    assert_close(fg.grad(descend(fg.scan), (0, 1))(*args), fg.grad(descend(unrolled), (0, 1))(*args))


def test_odd_layouts_of_rows():
    x = np.arange(24.0).reshape(4, 3, 2)

    def fun(x):
        a, _ = fg.scan(lambda c, r: (c * 0.5 + np.sum(np.cos(r), axis=0), None), np.zeros(3), x.transpose(2, 0, 1))
        b, _ = fg.scan(lambda c, r: (c + r[0] * r[1], None), 1.0, x[::-2, :, 0])
        c, _ = fg.scan(lambda c, r: (c + r, None), 1.0, np.broadcast_to(x[0, 0, 0] + 1.0, (7,)))
        return np.sum(a) + b + c

    plain = 0.0
    state = np.zeros(3)
    for r in x.transpose(2, 0, 1):
        state = state * 0.5 + np.sum(np.cos(r), axis=0)
    plain = np.sum(state) + 1 + sum(r[0] * r[1] for r in x[::-2, :, 0]) + 8
    np.testing.assert_allclose(fg.value_and_grad(fun)(x)[0], plain, rtol=1e-14)


def test_step_may_be_the_same_function_with_other_constants():
    scale = np.array([1.0, 2.0])
    values = []
    for k in (1.0, 2.0):
        scale[0] = k
        values.append(fg.fori_loop(0, 3, lambda i, c: c * scale[0], 1.0))
    assert values == [1.0, 8.0]


# ---- size, memory, programs


def compiled(fun, *shapes):
    return compile_graph(simplify(trace(fun, [Input(s) for s in shapes])))


def test_a_program_does_not_grow_with_the_length():
    def words(n):
        return compiled(lambda x: fg.scan(lambda c, _: (np.sin(c) * x, None), x, length=n)[0], (3,)).program.words.size

    assert words(10) == words(100_000)


def test_what_is_computed_from_constants_alone_is_computed_once():
    graph = simplify(
        trace(lambda x, w: fg.scan(lambda c, _: (c * np.exp(w), None), x, length=9)[0], [Input(()), Input(())])
    )
    (loop,) = [node for node in graph.nodes if node.op == "scan"]
    assert [node.op for node in graph.nodes if node.op == "exp"] == ["exp"]
    assert "exp" not in {node.op for node in loop.attributes.body.nodes}


def test_rows_and_carries_that_nobody_reads_are_not_stored():
    def size(fun):
        graph = loops.without_unread(simplify(trace(fun, [Input((4,))])))
        return sum(node.size for node in graph.nodes if node.op == "scan")

    def run(x):
        return fg.scan(lambda c, _: (c * 2, np.sum(c)), x, length=50)

    assert size(lambda x: run(x)[0]) == 4
    assert size(lambda x: run(x)[1]) == 4 + 50
    assert size(lambda x: fg.grad(lambda x: np.sum(run(x)[0]))(x)) <= 4 + 4


def test_the_memory_of_a_gradient_grows_with_the_root_of_the_length():
    def peak(n):
        size = 1000

        def fun(x):
            return np.sum(fg.fori_loop(0, n, lambda i, c: np.sin(c) + x, x))

        x = np.ones(size)
        graph = simplify(trace(lambda x: fg.grad(fun)(x), [Input((size,))]))
        out, seen = np.empty(size), []
        batch = compile_graph(graph, (True,)).program
        batch.run_batch(1, [x], [out], lambda done: seen.append(_core.live_memory()[0]))
        return max(seen, default=0)

    small, large = peak(20_000), peak(80_000)
    assert 0 < large < 20e6 < 80_000 * 8000
    assert large < 3 * small


def test_programs_with_bodies_are_pickled():
    fun, (p, s, data) = rk4(fg.scan, 5)
    program = compiled(lambda p, s, d: fg.grad(fun)(p, s, d), (3,), (3,), (5,)).program
    again = pickle.loads(pickle.dumps(program))
    outputs = [np.empty(3), np.empty(3)]
    program.run([p, s, data], outputs[:1])
    again.run([p, s, data], outputs[1:])
    np.testing.assert_array_equal(*outputs)


def test_a_long_loop_can_be_interrupted():
    import signal
    import threading

    def ring():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    timer = threading.Timer(0.3, ring)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fg.scan(lambda c, _: (np.sin(c), None), 1.0, length=10**9)
    timer.join()


def test_the_distance_between_stored_carries():
    assert loops.spacing(1000, 8) == 1
    for n in (10_000, 10_007, 12, 2, 1, 100_000):
        k = loops.spacing(n, 1 << 20)
        assert max(1, n**0.5 / 2) <= k <= max(1, 2 * n**0.5)
    assert loops.spacing(10_000, 1 << 20) == 100


# ---- refusals


def refusal(kind, *args, **options):
    with pytest.raises(kind) as caught:
        fg.scan(*args, **options)
    return str(caught.value)


def test_a_carry_must_stay_like_itself():
    message = refusal(
        fg.ShapeError, lambda c, x: ({"a": np.concatenate([c["a"], c["a"]])}, None), {"a": np.ones(2)}, length=3
    )
    assert "carry['a'] changes its shape between steps: from (2,) to (4,)" in message
    assert "cure: " in message
    message = refusal(fg.TraceError, lambda c, x: (c * np.ones(1), None), np.ones(1, np.float32), length=3)
    assert "carry changes its dtype between steps: from float32 to float64" in message
    assert "cure: " in message
    message = refusal(fg.TraceError, lambda c, x: ((c[0], c), None), [np.ones(1), 1.0], length=3)
    assert "the carry changes its structure between steps: from [*, *] to (*, [*, *])" in message
    message = refusal(fg.TraceError, lambda c, x: (c > 0, None), 1.0, length=3)
    assert "from float64 to bool" in message
    assert "test_loops.py" in message


def test_a_step_must_return_a_pair():
    assert "step must return a pair (carry, y), got a Traced" in refusal(fg.TraceError, lambda c, x: c, 1.0, length=2)
    assert "got a tuple of 3" in refusal(fg.TraceError, lambda c, x: (c, c, c), 1.0, length=2)
    assert "got a NoneType" in refusal(fg.TraceError, lambda c, x: None, 1.0, length=2)
    assert "step must be a function" in refusal(TypeError, 3, 1.0, length=2)


def test_lengths_must_be_known_and_equal():
    def step(c, x):
        return c, None

    assert "length=" in refusal(TypeError, step, 1.0)
    assert "xs[0] has 2, xs[1] has 3" in refusal(fg.ShapeError, step, 1.0, (np.ones(2), np.ones(3)))
    assert "xs have 2 rows, but length is 3" in refusal(fg.ShapeError, step, 1.0, np.ones(2), 3)
    assert "xs is a single number" in refusal(fg.ShapeError, step, 1.0, 3.0)
    assert "got -1" in refusal(TypeError, step, 1.0, length=-1)
    assert "init has dtype <U1" in refusal(TypeError, step, "a", length=1)
    with pytest.raises(TypeError, match="must be integers"):
        fg.fori_loop(0, 2.0, lambda i, c: c, 1.0)


def test_a_step_may_not_make_numbers_of_values():
    message = refusal(fg.TraceError, lambda c, x: (c * range(int(c))[0], None), 1.0, length=2)
    assert "int" in message


def test_a_traced_array_of_a_step_stays_in_it():
    kept = []

    def fun(x):
        fg.scan(lambda c, _: (kept.append(c) or c * x, None), x, length=3)
        return kept[0]

    with pytest.raises(fg.TraceError, match=r"the value of fun: .*another call"):
        fg.grad(fun)(1.0)


def test_a_body_may_read_the_result_of_another_loop():
    def fun(x):
        first = fg.fori_loop(0, 4, lambda i, c: np.cos(c) + i * c, x[0])
        return fg.scan(lambda c, t: (np.sin(c) + t * first, c * t), x[1], np.concatenate([x, x]))

    def plain(x):
        first = x[0]
        for i in range(4):
            first = np.cos(first) + i * first
        return unrolled(lambda c, t: (np.sin(c) + t * first, c * t), x[1], np.concatenate([x, x]))

    x = np.array([0.5, -0.25])
    for found in (fg.vjp(fun, x)[0], [y[0] for y in fg.vmap(fun)(np.stack([x, x]))]):
        for got, wanted in zip(found, plain(x), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-14)
