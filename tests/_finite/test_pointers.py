"""C functions: run without Python in the loop, on any number of threads; refused where they are of another kind."""

import ctypes
import shutil
import signal
import subprocess
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import LowLevelCallable

import fastgrad as fg
from fastgrad import _core
from fastgrad._finite.pointers import as_pointer

POINTER = ctypes.POINTER(ctypes.c_double)
WITH_DATA = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, POINTER, ctypes.c_void_p)
WITHOUT_DATA = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, POINTER)

SOURCE = """
#include <math.h>
#include <time.h>
double weighted(int n, double *x, void *data) {
    double sum = 0, factor = data ? *(double *)data : 1;
    for (int i = 0; i < n; i++) {
        sum += factor * (i + 1) * x[i] * x[i];
        x[i] = NAN;
    }
    return sum;
}
double plain(int n, double *x) { return n ? x[0] - x[n - 1] : -1; }
double slow(int n, double *x, void *data) {
    struct timespec nap = {0, 1000000};
    nanosleep(&nap, 0);
    return x[0];
}
float single(int n, float *x, void *data) { return x[0]; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library of C functions; ctypes knows their signatures."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("library")
    (folder / "functions.c").write_text(SOURCE)
    path = folder / "functions.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", path, folder / "functions.c"], check=True)
    found = ctypes.CDLL(str(path))
    for name in ("weighted", "slow"):
        getattr(found, name).restype, getattr(found, name).argtypes = (
            ctypes.c_double,
            [ctypes.c_int, POINTER, ctypes.c_void_p],
        )
    found.plain.restype, found.plain.argtypes = ctypes.c_double, [ctypes.c_int, POINTER]
    return found


@pytest.fixture
def threads():
    before = fg.get_num_threads()
    yield fg.set_num_threads
    fg.set_num_threads(before)


POINTS = np.random.default_rng(0).uniform(-1, 1, (1000, 5))
SQUARES = POINTS**2 @ np.arange(1.0, 6)


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


WAYS = {
    "ctypes": lambda f: f,
    "LowLevelCallable": LowLevelCallable,
    "an object like numba's": lambda f: SimpleNamespace(ctypes=f, address=address_of(f)),
    "an address": lambda f: SimpleNamespace(address=address_of(f)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_c_function_is_run_at_all_points(library, way, threads):
    threads(4)
    pointer = as_pointer(way(library.weighted))
    found = pointer.values(POINTS.copy())
    assert found.shape == (1000, 1)
    np.testing.assert_allclose(found[:, 0], SQUARES, rtol=1e-14)
    x = POINTS[0].copy()
    for method in ("2-point", "3-point", "adaptive"):
        assert np.isfinite(fg.finite.gradient(way(library.weighted), x, method=method)).all()
        assert np.array_equal(x, POINTS[0])  # what it overwrites is its own
    for workers in (1, 2, 3):
        assert np.array_equal(pointer.values(POINTS.copy(), workers), found)
    assert np.array_equal(pointer.values(POINTS[::-1][:7]), found[::-1][:7])
    assert np.array_equal(pointer.values(POINTS[:1].copy()), found[:1])
    assert pointer.values(np.empty((0, 5))).shape == (0, 1)


@pytest.mark.parametrize("way", list(WAYS.values())[:3], ids=list(WAYS)[:3])
def test_it_may_take_no_data(library, way):
    found = as_pointer(way(library.plain)).values(POINTS.copy())
    assert np.array_equal(found[:, 0], POINTS[:, 0] - POINTS[:, -1])
    assert as_pointer(way(library.plain)).values(np.empty((3, 0))).tolist() == [[-1], [-1], [-1]]


def test_numbas_functions_are_run():
    numba = pytest.importorskip("numba")

    @numba.cfunc("double(intc, CPointer(double), voidptr)")
    def squares(n, x, data):
        return sum([(i + 1) * x[i] ** 2 for i in range(n)])

    @numba.cfunc("double(intc, CPointer(double))")
    def plain(n, x):
        return x[0]

    for fun in (squares, LowLevelCallable(squares.ctypes)):
        np.testing.assert_allclose(as_pointer(fun).values(POINTS.copy())[:, 0], SQUARES, rtol=1e-14)
    assert np.array_equal(as_pointer(plain).values(POINTS.copy())[:, 0], POINTS[:, 0])


def test_data_is_passed_through(library):
    three = ctypes.c_double(3)
    array = np.array([3.0])
    held = (ctypes.c_double * 1)(3)
    given = [ctypes.pointer(three), ctypes.byref(three), ctypes.addressof(three), array, held]
    given.append(ctypes.c_void_p(ctypes.addressof(three)))
    for data in given:
        found = as_pointer(library.weighted, (data,)).values(POINTS.copy())
        np.testing.assert_allclose(found[:, 0], 3 * SQUARES, rtol=1e-14)
    low_level = LowLevelCallable(library.weighted, ctypes.c_void_p(ctypes.addressof(three)))
    np.testing.assert_allclose(as_pointer(low_level).values(POINTS.copy())[:, 0], 3 * SQUARES, rtol=1e-14)
    pointer = as_pointer(library.weighted, (np.array([3.0]),))  # nobody else holds it
    np.testing.assert_allclose(pointer.values(POINTS.copy())[:, 0], 3 * SQUARES, rtol=1e-14)


def test_other_python_threads_run_meanwhile(library):
    slow = as_pointer(library.slow)
    finished = []
    runner = threading.Thread(target=lambda: finished.append(slow.values(np.ones((400, 1)), 1)))
    runner.start()
    turns = 0
    while runner.is_alive():
        time.sleep(0.001)
        turns += 1
    assert turns > 20  # of some 400
    assert finished[0].sum() == 400


def test_threads_share_the_work(library, threads):
    threads(4)
    slow = as_pointer(library.slow)
    took = {}
    for workers in (1, 4):
        start = time.perf_counter()
        slow.values(np.ones((200, 1)), workers)
        took[workers] = time.perf_counter() - start
    assert took[4] < 0.6 * took[1]


def test_ctrl_c_stops_it(library):
    slow = as_pointer(library.slow)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            slow.values(np.ones((20_000, 1)))
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.perf_counter() - start < 2
    assert slow.values(np.ones((3, 1))).sum() == 3


# ---- callbacks into Python


def test_a_python_function_behind_a_callback_works(threads):
    threads(4)
    callback = WITH_DATA(lambda n, x, data: sum((i + 1) * x[i] ** 2 for i in range(n)))
    for way in (WAYS["ctypes"], WAYS["LowLevelCallable"], WAYS["an object like numba's"]):
        pointer = as_pointer(way(callback))
        assert pointer.is_python
        np.testing.assert_allclose(pointer.values(POINTS.copy())[:, 0], SQUARES, rtol=1e-14)


def test_a_callback_that_nobody_knows_to_be_one_works_on_threads(threads):
    threads(4)
    seen = set()

    def fun(n, x):
        seen.add(threading.get_ident())
        time.sleep(1e-4)
        return x[0]

    callback = WITHOUT_DATA(fun)
    hidden = LowLevelCallable(LowLevelCallable(callback))  # its function is another LowLevelCallable
    pointer = as_pointer(hidden)
    assert not pointer.is_python
    assert np.array_equal(pointer.values(POINTS.copy())[:, 0], POINTS[:, 0])
    assert len(seen) > 1
    assert callback


def test_what_a_callback_raises_is_raised():
    def fun(n, x, data):
        if x[0] > 0.9:
            raise ZeroDivisionError("at a point")
        return 1.0

    pointer = as_pointer(WITH_DATA(fun))
    with pytest.raises(ZeroDivisionError, match="at a point"):
        pointer.values(POINTS.copy())
    assert pointer.values(-np.abs(POINTS)).sum() == 1000


def test_what_a_callback_raises_ends_a_long_call():
    calls = []

    def fun(n, x):
        calls.append(n)
        time.sleep(1e-3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        as_pointer(WITHOUT_DATA(fun)).values(POINTS.copy())
    assert len(calls) < 500


def test_a_callback_may_use_pointers_itself(library, threads):
    threads(4)
    inner = as_pointer(WITHOUT_DATA(lambda n, x: x[0] * 2))
    outer = as_pointer(WITHOUT_DATA(lambda n, x: float(inner.values(np.array([[x[0]], [x[1]]])).sum())))
    np.testing.assert_allclose(outer.values(POINTS.copy())[:, 0], 2 * (POINTS[:, 0] + POINTS[:, 1]))


def test_python_threads_may_do_so_at_the_same_time(library, threads):
    threads(2)
    pointers = [as_pointer(library.weighted), as_pointer(WITHOUT_DATA(lambda n, x: x[0]))]
    expected = [pointer.values(POINTS.copy()) for pointer in pointers]
    wrong = []

    def work(number):
        for _ in range(20):
            if not np.array_equal(pointers[number].values(POINTS.copy()), expected[number]):
                wrong.append(number)

    runners = [threading.Thread(target=work, args=(k % 2,)) for k in range(4)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert not wrong


# ---- what is refused


@pytest.mark.parametrize("other", [np.sin, lambda x: x, len, int, "text", None, 3, np.ones(3)], ids=repr)
def test_what_is_no_c_function_is_none(other):
    assert as_pointer(other) is None


def test_other_signatures_are_refused(library):
    integers = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, POINTER, ctypes.c_void_p)
    scalar = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    one = ctypes.CFUNCTYPE(ctypes.c_double, POINTER)
    for kind, written in ((integers, r"int\(int,double\*,void\*\)"), (scalar, r"double\(double\)"), (one, "double")):
        with pytest.raises(TypeError, match=rf"fun is a C function {written}.*it must be double \(int, double \*"):
            as_pointer(kind(lambda *_: 0))
    with pytest.raises(TypeError, match="without argtypes: set its argtypes"):
        as_pointer(library.single)
    with pytest.raises(TypeError, match=r"double \(double\): it must be double"):
        as_pointer(LowLevelCallable(scalar(abs)))
    with pytest.raises(TypeError, match="null pointer"):
        as_pointer(WITH_DATA())


def test_a_function_that_needs_the_gil_is_refused():
    held = ctypes.PYFUNCTYPE(ctypes.c_double, ctypes.c_int, POINTER, ctypes.c_void_p)(lambda n, x, data: 0.0)
    for fun in (held, LowLevelCallable(held)):
        with pytest.raises(TypeError, match="needs the GIL"):
            as_pointer(fun)


def test_data_that_is_no_address_is_refused(library):
    assert as_pointer(library.weighted, (None,)).data == 0
    for wrong, words in (("text", r"args\[0\] is str"), (1.5, "float"), (np.ones(3, np.float32), "float32")):
        with pytest.raises(TypeError, match=words):
            as_pointer(library.weighted, (wrong,))
    with pytest.raises(TypeError, match="2 entries"):
        as_pointer(library.weighted, (1, 2))
    with pytest.raises(TypeError, match="takes no data"):
        as_pointer(library.plain, (np.ones(1),))
    with pytest.raises(TypeError, match="user_data"):
        as_pointer(LowLevelCallable(library.weighted), (np.ones(1),))


def test_complex_points_are_refused(library):
    with pytest.raises(TypeError, match='"cs" cannot'):
        as_pointer(library.weighted).values(POINTS + 0j)


def test_the_core_checks_what_it_can():
    for points, values, workers in (
        (np.ones((2, 3), np.float32), np.ones(2), 1),
        (np.ones((2, 3)), np.ones(3), 1),
        (np.ones(3), np.ones(3), 1),
        (np.ones((2, 3)), np.ones(2), 0),
        (np.asfortranarray(np.ones((2, 3))), np.ones(2), 1),
    ):
        with pytest.raises(ValueError, match=r"expected|dimensions|worker"):
            _core.run_points(address_of(WITH_DATA(lambda *_: 0.0)), True, 0, points, values, workers)
    with pytest.raises(ValueError, match="address"):
        _core.run_points(0, True, 0, np.ones((2, 3)), np.ones(2), 1)
    with pytest.raises(ValueError, match="PyCapsule"):
        _core.read_capsule(3)
