"""Functions as they are written in scientific code: arrays filled in place, helpers, modules, classes, closures."""

import collections.abc
import contextlib
import dataclasses
import functools
import importlib
import itertools
import json
import math
import numbers
import random
import reprlib
import sys
import textwrap
import threading
from functools import lru_cache, partial
from math import cos, exp, pi
from math import sqrt as root
from typing import ClassVar

import numpy as np
import numpy.linalg as la
import pytest
from numpy import array as arr
from numpy import linspace, ndarray, zeros
from numpy import sin as sine

import fastgrad as fg
from fastgrad.errors import TraceError

X = np.array([0.7, -0.4, 1.3, 0.2])


def check(fun, x=X, rtol=1e-5):
    """The value is NumPy's, and the gradient that of finite differences."""
    right = fun(x.copy())
    value, gradient = fg.value_and_grad(fun)(x)
    np.testing.assert_allclose(value, right, rtol=1e-12)
    h = 1e-6
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    expected = np.array([(fun(x + step) - fun(x - step)) / (2 * h) for step in steps]).reshape(x.shape)
    np.testing.assert_allclose(gradient, expected, rtol=rtol, atol=1e-7)
    np.testing.assert_allclose(fg.vmap(fun)(np.stack([x, x + 0.1])), [right, fun(x + 0.1)], rtol=1e-12)


# ---- arrays that are filled


def filled_in_a_loop(x):
    out = np.zeros(len(x))
    for i in range(len(x)):
        out[i] = x[i] ** 2 * (i + 1)
    return out.sum()


def lorenz(x):
    dxdt = np.empty(3)
    dxdt[0] = 10.0 * (x[1] - x[0])
    dxdt[1] = x[0] * (28.0 - x[2]) - x[1]
    dxdt[2] = x[0] * x[1] - 8 / 3 * x[2]
    return np.sqrt(np.sum(dxdt**2))


def runge_kutta(x):
    def rhs(t, y):
        dy = np.zeros_like(y)
        dy[0] = y[1]
        dy[1] = -x[2] * y[1] - x[3] * math.sin(y[0]) + math.cos(t)
        return dy

    y, t, h = np.array([x[0], x[1]]), 0.0, 0.1
    trajectory = np.zeros((6, 2))
    trajectory[0] = y
    for n in range(5):
        k1 = rhs(t, y)
        k2 = rhs(t + h / 2, y + h / 2 * k1)
        k3 = rhs(t + h / 2, y + h / 2 * k2)
        k4 = rhs(t + h, y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        t += h
        trajectory[n + 1, :] = y
    return np.mean((trajectory[:, 0] - np.linspace(0, 1, 6)) ** 2) + trajectory[-1, 1]


def tridiagonal(x):
    n = len(x)
    a = np.zeros((n, n))
    for i in range(n):
        a[i, i] = 2.0 + x[i] ** 2
        if i > 0:
            a[i, i - 1] = -x[i]
        if i < n - 1:
            a[i, i + 1] = -1.0
    return np.ones(n) @ a @ a @ x + np.trace(a)


def thomas(x):
    """Solves a tridiagonal system by forward elimination and back substitution."""
    n = len(x)
    lower, diagonal, upper = -np.ones(n), 3.0 + x**2, -np.ones(n) * 0.5
    c, d, solution = np.zeros(n), np.zeros(n), np.zeros(n)
    c[0] = upper[0] / diagonal[0]
    d[0] = x[0] / diagonal[0]
    for i in range(1, n):
        m = diagonal[i] - lower[i] * c[i - 1]
        c[i] = upper[i] / m
        d[i] = (x[i] - lower[i] * d[i - 1]) / m
    solution[-1] = d[-1]
    for i in range(n - 2, -1, -1):
        solution[i] = d[i] - c[i] * solution[i + 1]
    return np.sum(solution**3)


def burgers(x):
    """A finite-volume scheme with boundary cells."""
    u = np.zeros(x.size + 2)
    u[1:-1] = x
    for _ in range(4):
        u[0], u[-1] = u[1], 0.0
        flux = 0.25 * (u[:-1] ** 2 + u[1:] ** 2) - 0.5 * (u[1:] - u[:-1])
        u[1:-1] -= 0.1 * (flux[1:] - flux[:-1])
    return np.sum(u**2)


def heat(x):
    u = np.outer(x, x)
    new = np.empty_like(u)
    for _ in range(3):
        new[1:-1, 1:-1] = u[1:-1, 1:-1] + 0.1 * (
            u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]
        )
        new[0, :] = new[-1, :] = 0.0
        new[:, 0] = u[:, 1]
        new[:, -1] = u[:, -2]
        u, new = new, u
    return np.sum(u * u)


def elimination(x):
    a = np.array([[4.0 + x[0], 1, 0], [1, 5 + x[1] ** 2, x[2]], [0, x[2], 6]])
    b = np.array([x[0], 1.0, x[3]])
    for k in range(3):
        for i in range(k + 1, 3):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            b[i] -= factor * b[k]
    y = np.zeros(3)
    for i in (2, 1, 0):
        y[i] = (b[i] - a[i, i + 1 :] @ y[i + 1 :]) / a[i, i]
    return y @ y


def views_of_views(x):
    out = np.zeros((3, 4))
    row, column, flat = out[1], out.T[2], out.reshape(-1)
    row[:] = x
    column += x[:3] * x[1]
    flat[::5] = x[0]
    out[::-1, 1] *= 2
    row[out[0] > 5] = 7.0
    out.ravel()[3] = x[3] ** 2
    return np.sum(out * np.arange(12.0).reshape(3, 4)) + row[2] + column[1]


def fancy_indices(x):
    out = np.ones(6)
    out[[0, 3, 5]] = x[:3]
    out[np.array([True, False, True, False, True, False])] += x[1:]
    out[[1, 1, 4]] *= x[0]
    np.add.at(out, [2, 2], x[:2])
    np.fill_diagonal(matrix := np.zeros((4, 4)), x)
    np.put(out, [3], x[2])
    np.copyto(out[:2], x[2:])
    return np.sum(out**2) + np.sum(matrix @ x)


def copies_are_fresh(x):
    y = x.copy()
    y[0] = x[1] * 3
    y[1:] *= y[0]
    z = y + 1
    tail = z[1:]
    z[2] = 7 * y[1]
    tail[0] += 2 * tail[1]
    w = np.array(z)
    w[0] = 0.0
    w += z
    w[w > 3] = 3.0
    return np.sum(z**2) + np.sum(w) + np.copy(tail)[0]


def out_arguments(x):
    a, b = np.zeros(4), np.zeros(4)
    np.multiply(x, 2.0, out=a)
    np.add(a, x, out=b)
    a += x
    np.subtract(b, 1.0, out=b)
    b[1:3] /= a[1:3]
    return np.sum(a * b)


def appended(x):
    values, out = [], np.array([])
    for i in range(3):
        values.append(math.exp(x[i]) * i)
        out = np.append(out, x[i] * x[i + 1])
    values.append(3)
    return np.sum(np.array(values) ** 2) + np.sum(out) + np.max([x[0], x[1]]) + np.mean([[x[0], 1.0], [x[2], x[3]]])


def constants_stay_constant(x):
    table = np.zeros(5)
    table[2:] = 3.0
    order = np.argsort(np.array([3.0, 1.0, 2.0, 0.0]))
    steps = int(table.sum()) + int(np.arange(4.0)[2])
    table[0] = x[0]
    if table[3] > 2 and float(table[4]) == 3.0 and isinstance(table, np.ndarray):
        steps += 1
    assert steps == 12
    assert type(table[3]) is np.float64
    return np.sum(x[order] * np.arange(4.0)) + steps * table[0] + len(np.linspace(0, 1, 3))


# ---- Python's own


def builtins_on_traced(x):
    a = max(x[0], x[1], 0.1) + min([x[2], x[3]]) + max(x) + abs(x[1])
    b = sum(v * v for v in x) + sum(x[i] for i in range(2)) + float(x[0]) * pow(x[2], 2)
    c = sum(i * v for i, v in enumerate(x)) + sum(p * q for p, q in zip(x, reversed(x), strict=True))
    return a + b + c + max(3, 2) + max([1, 5], key=lambda v: -v) + round(2.6)


def mathematics(x):
    total = math.sin(x[0]) + cos(x[1]) * exp(x[2]) + root(x[0]) + pi + math.inf * 0 if False else 0.0
    total += math.sin(x[0]) + cos(x[1]) * exp(x[2]) + root(x[0]) + pi
    total += math.log(x[0]) + math.log(x[2], 2) + math.pow(x[0], 1.5) + math.fabs(x[1]) + math.atan(1.0)
    total += math.tanh(x[1]) + math.fsum([x[0], x[1], 1.0]) + math.prod(x) + math.dist(x[:2], [0.0, 1.0])
    return total + math.floor(2.5) + math.log1p(x[2]) + math.expm1(x[3])


def types_as_for_arrays(x):
    assert isinstance(x, np.ndarray)
    assert isinstance(x, ndarray)
    assert not isinstance(x, (float, int, list))
    assert isinstance(x[0], float)
    assert isinstance(x[0], np.floating)
    assert isinstance(x[0], numbers.Number)
    assert not isinstance(x[0], np.ndarray)
    assert not isinstance(x[0], int)
    assert np.isscalar(x[0])
    assert type(x) is np.ndarray
    assert type(x[0]) is np.float64
    assert float is float
    assert type(np.zeros(2)) is ndarray
    assert isinstance(2.0, float)
    assert np.zeros(2, dtype=float).dtype == float
    assert type("a", (), {}).__name__ == "a"
    scale = float(2) if isinstance(x, list) else float("3")
    return scale * np.sum(np.asarray(x, dtype=float) * np.float64(2.0)) + np.atleast_1d(x[0])[0]


def names_taken_from_numpy(x):
    out = zeros(4)
    out[:] = sine(x)
    return la.norm(out) + np.sum(arr([x[0], 2.0]) * linspace(0.0, 1.0, 2))


def imports_inside(x):
    import math as m

    import numpy
    import numpy.linalg
    import numpy.linalg as linear
    from numpy import array, zeros_like

    out = zeros_like(x)
    out[1] = m.sin(x[0])
    both = array([out[1], x[2]])
    return linear.norm(both) + numpy.linalg.norm(out) + numpy.array([x[0]])[0]


# ---- helpers, closures, decorators

HALF = np.float64(0.5)


def helper(v, power=2, *, shift=HALF):
    out = np.zeros(3)
    for i in range(3):
        out[i] = v[i] ** power + shift
    return out


def countdown(v, n):
    return v if n == 0 else countdown(np.array([v[1], v[0] * 2.0, v[2]]), n - 1)


def ping(v, n):
    return np.sum(v) if n == 0 else pong(v, n - 1)


def pong(v, n):
    out = np.ones_like(v)
    out[0] = v[0] * 3
    return ping(out, n)


def doubled(function):
    @functools.wraps(function)
    def wrapper(*args, **options):
        result = np.zeros(1)
        result[0] = 2 * function(*args, **options)
        return result[0]

    return wrapper


@doubled
def decorated(x):
    out = np.zeros(2)
    out[1] = x[0] * x[1]
    return out.sum()


@lru_cache
def cached(n):
    return np.arange(float(n))


@lru_cache
def cached_of_traced(v):
    return math.sin(v)


def scaled(v, factor):
    return np.array([factor * v[0], v[1]])


def elements(x):
    for i in range(len(x)):
        yield np.array([x[i], 1.0])


halved = partial(scaled, factor=0.5)
squared = lambda v: np.array([v[0] ** 2, v[1] ** 2])  # noqa: E731
smooth_step = np.vectorize(lambda v: math.sin(v) + max(v, 0.5))


def uses_helpers(x):
    total = np.sum(helper(x)) + np.sum(helper(x, 3, shift=x[3])) + np.sum(countdown(x[:3], 3)) + ping(x, 4)
    total = (
        total + decorated(x) + np.sum(cached(4) * x) + cached_of_traced(x[0]) + np.sum(halved(x)) + np.sum(squared(x))
    )
    total = total + sum(e[0] * e[1] for e in elements(x)) + np.sum(smooth_step(x))
    return total + np.sum(functools.reduce(lambda a, b: np.array([a[0] + b, b]), x, np.zeros(2)))


def make_closure():
    import numpy as hidden

    factor = 3.0

    def inner(v):
        out = hidden.zeros(2)
        out[0] = factor * v[0]
        out[1] = inner(v[1:])[0] if len(v) > 2 else v[1]
        return out

    return lambda x: hidden.sum(inner(x))


def methods(x):
    y = np.zeros((2, 2))
    y[0, 0] = x[0]
    y[1, 1] = x[1]
    z = y.copy()
    z.fill(2.0)
    z.flat[1] = x[2]
    flat = y.flatten()
    flat[1] = 5.0
    return (
        y.sum() + y.mean() + y.dot(x[:2]).sum() + (y @ z).trace() + y.T[1, 1] + z.max() + flat.prod() + y.reshape(4)[3]
    )


PROGRAMS = [
    filled_in_a_loop, lorenz, runge_kutta, tridiagonal, thomas, burgers, heat, elimination, views_of_views,
    fancy_indices, copies_are_fresh, out_arguments, appended, constants_stay_constant, builtins_on_traced, mathematics,
    types_as_for_arrays, names_taken_from_numpy, imports_inside, uses_helpers, make_closure(), decorated, methods,
]  # fmt: skip


@pytest.mark.parametrize("fun", PROGRAMS, ids=lambda fun: fun.__name__)
def test_a_function_as_people_write_it(fun):
    check(fun)


# ---- classes


class Base:
    def __init__(self, weights):
        self.weights = np.asarray(weights, float)
        self.calls = 0
        self.transform = lambda v: np.array([v[0], v[1] * 2.0])

    def residual(self, x):
        out = np.zeros(len(self.weights))
        for i, w in enumerate(self.weights):
            out[i] = w * x[i] - math.sin(x[i])
        return out

    @staticmethod
    def norm(r):
        return math.sqrt(np.sum(np.array([r[0], r[1]]) ** 2))

    @classmethod
    def make(cls):
        return cls([1.0, 2.0, 3.0])

    @property
    def size(self):
        return float(np.sum(np.ones_like(self.weights)))


class Problem(Base):
    def __init__(self, weights, model=None):
        super().__init__(weights)
        self.model = model

    def residual(self, x):
        r = super().residual(x)
        r[0] += x[3]
        return r

    def evaluate(self, x):
        self.calls += 1
        work = self.weights.copy()
        work[0] = x[0]
        inner = self.model.evaluate(x) if self.model else 0.0
        assert isinstance(self, Problem)
        assert isinstance(self, Base)
        assert type(self).__name__ == "Problem"
        return self.norm(self.residual(x)) + self.size * np.sum(work) + np.sum(self.transform(x)) + inner

    __call__ = evaluate


class Slotted:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale

    def evaluate(self, x):
        out = np.zeros(1)
        out[0] = self.scale * x[0]
        return out[0]


@dataclasses.dataclass
class Settings:
    rate: float = 2.0

    def apply(self, x):
        out = np.zeros(2)
        out[:] = x[:2] * self.rate
        return out


settings = Settings(3.0)
problem = Problem([1.0, 2.0, 3.0], Problem([1.0, 1.0, 1.0]))


def makes_objects(x):
    own = Problem([2.0, 1.0, 1.0], model=problem)
    made = Base.make()
    assert isinstance(problem, Problem)
    assert isinstance(own, Problem)
    assert isinstance(made, Base)
    assert dataclasses.replace(settings, rate=1.0) == Settings(1.0)
    return own.evaluate(x) + np.sum(made.residual(x)) + np.sum(settings.apply(x)) + Slotted(2.0).evaluate(x)


def test_methods_and_callable_instances():
    for fun in (problem.evaluate, problem, makes_objects, Slotted(3.0).evaluate, Base.norm):
        check(fun)
    assert type(problem) is Problem
    assert type(problem.model) is Problem
    assert problem.calls > 0
    assert type(problem.weights) is np.ndarray


class Keeper:
    __slots__ = ("__dict__", "slotted")

    def __init__(self):
        self.slotted = 0

    def evaluate(self, x):
        self.slotted += 1
        self.table = np.arange(4.0)
        self.other = Base([1.0, 2.0])
        self.same = settings
        self.items.append(Base([1.0]))
        return np.sum(self.table * x) + np.sum(self.other.residual(x))

    def start(self):
        self.items = [abs]
        return self


class Plugin:
    known: ClassVar = []

    def __init_subclass__(cls):
        Plugin.known.append(cls)


class Sine(Plugin):
    def apply(self, x):
        return np.array([math.sin(x[0])])[0]


def test_registers_of_subclasses_hear_of_no_copy():
    check(lambda x: Sine().apply(x))
    check(Sine().apply)
    assert Plugin.known == [Sine]


def test_what_a_trace_keeps_in_objects_is_of_the_users_classes():
    keeper = Keeper().start()
    fg.grad(keeper.evaluate)(X)
    assert keeper.slotted == 1
    assert type(keeper.table) is np.ndarray
    assert type(keeper.other) is Base
    assert type(keeper.items[1]) is Base
    assert keeper.same is settings
    check(keeper.evaluate)


# ---- modules of the user's

MODULE = """
{imports}

counter = 0
history = []
OFFSET = {ns}array([1.0, 2.0])

def fill(x):
    global counter
    counter += 1
    history.append(counter)
    out = {ns}zeros(2)
    out[0] = {ns}sin(x[0]) * OFFSET[1]
    out[1] = twice(x[1])
    return out

def twice(v):
    return {ns}array([v, v]).sum() + read()

def read():
    return counter

class Model:
    def value(self, x):
        return {ns}sum(fill(x))
"""
IMPORTS = [("import numpy as np", "np."), ("import numpy", "numpy."), ("from numpy import *", ""),
           ("from numpy import array, zeros, sin, sum", "")]  # fmt: skip


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of four modules that import NumPy in four ways."""
    folder = tmp_path / "userpackage"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for i, (imports, ns) in enumerate(IMPORTS):
        (folder / f"m{i}.py").write_text(MODULE.format(imports=imports, ns=ns))
    (folder / "top.py").write_text(
        textwrap.dedent("""
        from . import m0, m1
        from .m2 import fill as filler
        import userpackage.m3 as third

        def everything(x):
            from .m0 import fill as late
            import userpackage.m1
            return (m0.fill(x).sum() + m1.Model().value(x) + filler(x)[0] + third.fill(x)[1]
                    + late(x)[0] + userpackage.m1.fill(x)[1])
    """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("userpackage.top")
    for name in [name for name in sys.modules if name.startswith("userpackage")]:
        del sys.modules[name]


def state_of(module):
    return {name: value for name, value in vars(module).items() if name not in ("counter", "history", "__builtins__")}


def test_modules_of_the_user_stay_as_they_are(package):
    modules = [package, *(importlib.import_module(f"userpackage.m{i}") for i in range(4))]
    before = [state_of(module) for module in modules]
    codes = [module.fill.__code__ for module in modules[1:]]
    fg.grad(package.everything)(X)
    for module, was in zip(modules, before, strict=True):
        now = state_of(module)
        assert now.keys() == was.keys()
        assert all(now[name] is was[name] for name in was)
    assert [module.fill.__code__ for module in modules[1:]] == codes
    assert [module.counter for module in modules[1:]] == [2, 2, 1, 1]  # side effects reach the modules, once
    assert modules[1].history == [1, 2]
    value = package.everything(X)
    for module in modules[1:]:
        module.counter = 2 if module in modules[1:3] else 1
    assert value == package.everything(X)


def test_values_and_gradients_through_modules(package):
    for i in range(4):
        module = importlib.import_module(f"userpackage.m{i}")

        def fun(x, module=module):
            module.counter = 0
            return np.sum(module.fill(x) ** 2)

        check(fun)
        assert type(module.OFFSET) is np.ndarray


counter = 0


def test_globals_and_nonlocals_are_written():
    seen = 0

    def fun(x):
        global counter
        nonlocal seen
        counter += 1
        seen += 1
        before = counter
        out = np.zeros(1)
        out[0] = x[0] * before
        return out[0]

    start = counter
    assert fg.grad(fun)(X)[0] == start + 1
    assert counter == start + 1
    assert seen == 1


def test_threads_trace_at_once():
    results, errors = {}, []

    def work(n):
        try:
            results[n] = fg.grad(lambda x: uses_helpers(x) * n + makes_objects(x))(X)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    one, two = (fg.grad(lambda x, n=n: uses_helpers(x) * n + makes_objects(x))(X) for n in (0, 1))
    for n in range(8):
        np.testing.assert_allclose(results[n], one + n * (two - one), rtol=1e-10)


# ---- transforms inside


gradient_of_helper = fg.grad(lambda v: np.sum(helper(v)))


def test_transforms_inside_a_function():
    def fun(x):
        inner = fg.grad(lambda v: np.sum(helper(v) * x[0]))(x)
        out = np.zeros(4)
        out[:] = inner
        out[0] += fg.value_and_grad(filled_in_a_loop)(x)[0]
        return np.sum(out) + np.sum(gradient_of_helper(x)) + np.sum(fg.vmap(lambda r: np.array([r, r * r]))(x))

    check(fun)


def partly_filled(x):
    out = np.zeros(x.size + 1)
    for i in range(x.size):
        out[i] = math.sin(x[i])
    return out


@pytest.mark.parametrize(("transformed", "plain"), [
    (lambda a: fg.grad(lambda v: np.sum(v**3))(a), lambda a: 3 * a**2),
    (lambda a: fg.hessian(lambda v: np.sum(v**3))(a) @ a, lambda a: 6 * a**2),
    (lambda a: fg.hvp(lambda v: np.sum(v**3))(a, a), lambda a: 6 * a**2),
    (lambda a: fg.jvp(np.square, (a,), (a,))[1], lambda a: 2 * a**2),
    (lambda a: fg.vjp(np.square, a)[1](a)[0], lambda a: 2 * a**2),
    (lambda a: fg.derivative(np.sin)(a), np.cos),
    (lambda a: fg.vmap(np.exp)(a), np.exp),
    (lambda a: fg.stop_gradient(a) * 0 + a, lambda a: a),
    (lambda a: fg.scan(lambda c, t: (c * t + a, None), a, a[:2])[0], lambda a: (a * a[0] + a) * a[1] + a),
    (lambda a: fg.fori_loop(0, 2, lambda i, c: c * i + a, a), lambda a: a + a),
])  # fmt: skip
def test_filled_arrays_go_into_transforms_and_loops(transformed, plain):
    check(lambda x: np.sum(transformed(partly_filled(x)) ** 2))
    found = fg.vjp(lambda x: transformed(partly_filled(x)), X)[0]
    np.testing.assert_allclose(found, plain(partly_filled(X)), rtol=1e-12)


def test_steps_of_loops_that_run_at_once_are_copies_too():
    x = np.array([0.25, 0.5, -0.75])
    carry, _ = fg.scan(lambda c, t: (partly_filled(c)[:-1] * t, None), x, x[:1])
    np.testing.assert_allclose(carry, np.sin(x) * 0.25)
    np.testing.assert_allclose(fg.fori_loop(0, 1, lambda i, c: partly_filled(c)[:-1] + i, x), np.sin(x))


def test_numbers_out_of_arrays():
    def fun(x):
        total = x[0].item() * x.item(1) + np.outer(x, x).item(1, 2) + sum(x.tolist()) + np.outer(x, x).tolist()[2][0]
        return total + np.sum(np.fromiter((t * t for t in x), float) * np.fromiter(x, float, count=1))

    check(fun)
    with pytest.raises(ValueError, match="size 1"):
        fg.grad(lambda x: x.item())(X)


def test_sorting_in_place_is_seen_by_views():
    def fun(x):
        a, b = np.array([x[2], x[0], x[1]]), np.outer(x, [1.0, -2.0, 0.5])
        backwards = a[::-1]
        a.sort()
        b.sort(axis=0)
        b[0].sort()
        return a @ [1.0, 2.0, 3.0] + backwards[0] + np.sum(b * np.arange(b.size).reshape(b.shape))

    check(fun)


def test_functions_among_the_arguments():
    def apply(x, function, options):
        return np.sum(function(x)) + options["f"](x[0])

    found = fg.grad(apply)(X, helper, {"f": math.sin})
    np.testing.assert_allclose(found, [2 * X[0] + np.cos(X[0]), 2 * X[1], 2 * X[2], 0])


def test_minimize_traces_the_copy():
    result = fg.minimize(
        lambda x: filled_in_a_loop(x - 1.0) + problem.model.norm(x[:2] * 0 + 1), X, method="gd", learning_rate=0.05
    )
    np.testing.assert_allclose(result.x, 1.0, atol=1e-5)


# ---- what only a copy of everything reaches

ACTIVATIONS = {"tanh": lambda v: np.array([math.tanh(u) for u in v]), "none": None}
STEPS = [lambda v: np.array([v[0], math.exp(v[1])]), lambda v: np.array([v[1], v[0]])]
log = []


class Layer:
    def __init__(self, n_in, n_out):
        self.weights, self.activation = np.full((n_out, n_in), 0.3), "tanh"

    def __call__(self, x):
        out = np.zeros(len(self.weights))
        for i in range(len(out)):
            out[i] = np.dot(self.weights[i], x)
        return ACTIVATIONS[self.activation](out)


class Network:
    def __init__(self, *sizes):
        self.layers = [Layer(a, b) for a, b in itertools.pairwise(sizes)]
        self._table = None

    @property
    def table(self):
        if self._table is None:
            self._table = np.arange(4.0)
        return self._table

    @functools.cached_property
    def ones(self):
        return np.ones(4)

    def __getattr__(self, name):
        if name == "dynamic":
            return lambda v: math.cos(v)
        raise AttributeError(name)

    def forward(self, x):
        log.append("forward")
        v = self.table * x + self.ones + self.dynamic(x[0])
        for layer in self.layers:
            v = layer(v)
        for step in STEPS:
            v = step(v)
        return np.sum(v)


def test_objects_in_lists_and_functions_in_dicts():
    network = Network(4, 3, 2)
    check(network.forward)
    assert all(type(layer) is Layer for layer in network.layers)
    assert type(network._table) is np.ndarray
    log.clear()
    fg.grad(network.forward)(X)
    assert log == ["forward"]


def test_types_of_numpy_convert_traced_numbers():
    def fun(x):
        assert np.float64(2.0).dtype.type is np.float64
        assert np.float64.__name__ == "float64"
        return np.float64(x[0]) * np.float64(3) + np.sum(np.array([np.double(x[1])], dtype=np.float64))

    check(fun)


def test_what_c_code_makes_of_traced_elements_is_refused():
    def fun(x):
        out = np.zeros(2)
        out[0] = x[0]
        return np.frombuffer(memoryview(out).tobytes())[0] * x[1]

    with pytest.raises(TraceError, match="went through code"):
        fg.grad(fun)(X)

    def legitimate(x):
        out = np.zeros(2)
        out[0] = x[0]
        return np.where(x[1] > 10, np.nan, out[0]) + json.loads("1")

    assert fg.grad(legitimate)(X)[0] == 1.0


def test_random_programs_of_assignments():
    """Slices, masks, lists of indices, views of views, in-place operators: as NumPy, element by element."""
    n_run = 0
    for seed in range(150):
        fun = assignments(seed)
        try:
            right = fun(START)
        except (ValueError, IndexError):
            continue
        try:
            value = fg.vmap(fun)(START[None])[0]
        except TraceError as error:
            assert "layout" in str(error)  # noqa: PT017
            continue
        np.testing.assert_allclose(value, right, rtol=1e-10, err_msg=str(seed))
        n_run += 1
    assert n_run > 100


START = np.random.default_rng(0).normal(size=(3, 4))


def random_key(draw, shape):
    kind = draw.random()
    if kind < 0.1:
        return ...
    if kind < 0.2:
        return [draw.randrange(-shape[0], shape[0]) for _ in range(draw.randrange(1, 4))]
    if kind < 0.3:
        return np.array([draw.random() < 0.5 for _ in range(shape[0])])
    key = []
    for n in shape[: draw.randrange(1, len(shape) + 1)]:
        bounds = draw.choice([None, draw.randrange(-n, n)]), draw.choice([None, draw.randrange(-n, n + 1)])
        key.append(draw.randrange(-n, n) if draw.random() < 0.4 else slice(*bounds, draw.choice([1, 1, 2, -1, -2, 3])))
    return tuple(key)


def assignments(seed):
    """A function that makes some arrays and does 4 to 30 random things with them."""

    def fun(x):
        draw = random.Random(seed)
        arrays = [x * 2, np.zeros((3, 4)), np.ones(5) * x[0, 0], x.copy(), np.arange(12.0).reshape(3, 4)]
        total = 0.0
        for _ in range(draw.randrange(4, 30)):
            a = draw.choice(arrays)
            if not np.shape(a) or not a.size:
                continue
            key, action = random_key(draw, a.shape), draw.randrange(8)
            if action < 3:
                shape = np.shape(np.empty(a.shape)[key])
                source = np.concatenate([np.ravel(draw.choice(arrays)), np.ravel(x), np.ones(2)])
                picks = [draw.randrange(source.size) for _ in range(math.prod(shape))]
                a[key] = draw.choice([x[1, 2], 0.5, np.take(source, picks).reshape(shape)])
            elif action == 3:
                a[key] *= draw.choice([2.0, 1.5 + x[1, 1]])
            elif action == 4:
                arrays.append(a[key])
            elif action == 5:
                arrays.append(draw.choice([a.T, a.reshape(-1), np.copy(a)]))
            elif action == 6:
                a += draw.choice([1.0, x[0, 1]])
            else:
                total = total + np.sum(a) * draw.random()
        return total + sum(np.sum(a * np.arange(a.size).reshape(a.shape)) for a in arrays if np.shape(a))

    return fun


# ---- the program stays small


def count(fun, n):
    from fastgrad._compiler.autodiff import value_and_gradient
    from fastgrad._compiler.compile import compile_graph
    from fastgrad._compiler.simplify import simplify
    from fastgrad._compiler.substitute import trace
    from fastgrad._compiler.trace import Input

    graph = simplify(value_and_gradient(trace(fun, [Input((n,))]), [0]))
    compile_graph(graph, (False,))
    return sum(node.size for node in graph.nodes if node.op not in ("index_add", "broadcast", "const", "reshape"))


@pytest.mark.parametrize(
    "fun", [filled_in_a_loop, thomas, lambda x: np.sum(burgers(x))], ids=["loop", "thomas", "burgers"]
)
def test_work_is_linear_in_the_size(fun):
    small, large = count(fun, 40), count(fun, 160)
    assert large < 4.5 * small


# ---- errors


def outside(x):
    OUTSIDE[0] = x[0]
    return np.sum(OUTSIDE)


OUTSIDE = np.zeros(3)


def into_argument(x):
    x[0] = 1.0
    return x[0]


def integers(x):
    out = np.zeros(3, dtype=int)
    out[0] = x[0]
    return out[0]


class Shape(reprlib.Repr):  # of the standard library, which is not copied
    def __init__(self, size):
        super().__init__()
        self.size = size

    def area(self, x):
        return x * self.size


class Sheared:
    def __init__(self, **options):
        super().__init__(**options)
        self.shear = 2.0


class Square(Sheared, Shape):
    def area(self, x):
        return super().area(x) * self.shear


def test_super_goes_on_to_classes_that_are_not_copied():
    assert fg.grad(lambda x: Shape(3.0).area(x))(1.0) == 3
    assert fg.grad(lambda x: Square(size=3.0).area(x))(1.0) == 6
    assert fg.grad(Square(size=5.0).area)(1.0) == 10


def branch(x):
    out = np.zeros(3)
    out[1] = x[1]
    while out[1] > 0:
        out[1] = out[1] - x[0]
    return out[1]


def swallowed(x):
    try:
        return sum(x[0] for _ in range(int(x[0])))
    except Exception:
        return 0.0 * x[0]


def swallowed_number(x):
    try:
        return complex(x[0]).real * x[1]
    except TypeError:
        return x[1]


@pytest.mark.parametrize(("fun", "message"), [
    (outside, "from outside"), (into_argument, "x.copy()"), (integers, "float"), (branch, "np.where"),
    (swallowed, "integer"), (swallowed_number, "complex"),
], ids=lambda x: getattr(x, "__name__", ""))  # fmt: skip
def test_errors_name_the_users_line(fun, message):
    with pytest.raises(TraceError, match=message) as caught:
        fg.grad(fun)(X)
    line = fun.__code__.co_firstlineno
    assert __file__ in str(caught.value)
    numbers = [int(part.split(",")[0]) for part in str(caught.value).split(f"{__file__}:")[1:]]
    assert any(line < n < line + 8 for n in numbers)
    assert not OUTSIDE.any()


def test_probes_that_numpy_answers_with_an_error_may_be_caught():
    def fun(x):
        with contextlib.suppress(TypeError):
            iter(x[0])
        with contextlib.suppress(TypeError):
            float(x)
        assert not hasattr(x, "columns")
        assert not hasattr(x, "tocsr")
        with contextlib.suppress(TypeError):
            range(x[0])
        return x[0]

    assert fg.grad(fun)(X)[0] == 1


def test_float32_arrays_round_what_is_assigned():
    def fun(x):
        out = np.zeros(2, np.float32)
        out[0] = x[0] / 3
        return out[0] * 1.0

    value = fg.value_and_grad(fun)(X)[0]
    assert value == fun(X)
    assert value.dtype == np.float32


def test_shapes_that_do_not_fit_are_errors():
    def fun(x):
        out = np.zeros(3)
        out[:2] = x
        return out.sum()

    with pytest.raises(ValueError, match="shape"):
        fg.grad(fun)(X)


class Table(collections.abc.Mapping):
    """A class with an abstract base, which asks its subclasses what is an instance of it."""

    def __init__(self, items):
        self.items_ = items

    def __getitem__(self, key):
        return self.items_[key]

    def __iter__(self):
        return iter(self.items_)

    def __len__(self):
        return len(self.items_)


TABLE = Table({"a": 2.0})


def test_copies_of_classes_with_abstract_bases():
    def fun(x):
        assert isinstance(TABLE, collections.abc.Mapping)
        assert not isinstance(x, collections.abc.Mapping)
        assert not isinstance([], Table)
        return TABLE["a"] * x[0]

    np.testing.assert_array_equal(fg.grad(fun)(X)[:1], [2.0])
    assert not isinstance([], collections.abc.Mapping)
    assert not isinstance((), Table)


KIND = np.float64


def test_a_type_that_is_passed_on_and_called():
    def converted(a, dtype=None):
        kind = dtype or KIND
        assert kind in (np.float64, np.float32)
        assert issubclass(kind, np.floating)
        assert isinstance(np.float64(1.0), KIND)
        assert np.zeros(2, kind).dtype == kind
        return kind(a) * np.finfo(kind).eps

    check = fg.grad(lambda x: converted(x[0] ** 2) / np.finfo(KIND).eps + converted(3.0) * 0)(X)
    np.testing.assert_array_equal(check[:1], 2 * X[:1])
