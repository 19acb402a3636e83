"""Threads, instruction sets, the environment, and what an import brings along."""

import os

import numpy as np
import pytest
from helpers import in_fresh_process

import fastgrad as fg
from fastgrad import _core


def test_the_number_of_threads_is_kept(threads):
    for n in (1, 3, np.int64(2), 1024):
        threads(n)
        assert fg.get_num_threads() == n


@pytest.mark.parametrize(
    ("n", "error"),
    [(0, ValueError), (-1, ValueError), (1025, ValueError), (2**70, ValueError), (1.0, TypeError), ("2", TypeError),
     (None, TypeError), (True, TypeError)],
)  # fmt: skip
def test_a_bad_number_of_threads_is_refused_and_changes_nothing(n, error, threads):
    threads(2)
    with pytest.raises(error, match="number of threads must be"):
        fg.set_num_threads(n)
    assert fg.get_num_threads() == 2


def test_kernels_are_chosen_by_name_best_first():
    before = _core.current_isa()
    names = _core.supported_isas()
    try:
        for name in names:
            _core.select_isa(name)
            assert _core.current_isa() == name
        _core.select_isa()
        assert _core.current_isa() == names[0]
        with pytest.raises(ValueError, match="no kernels named 'mmx'"):
            _core.select_isa("mmx")
        assert _core.current_isa() == names[0]
    finally:
        _core.select_isa(before)


def test_a_program_runs_whatever_kernels_are_chosen_later():
    before = _core.current_isa()
    gradient = fg.grad(lambda x: np.sum(np.sin(x) * x))
    x = np.linspace(-3, 3, 37)
    try:
        for name in [*_core.supported_isas(), *reversed(_core.supported_isas())]:
            _core.select_isa(name)
            np.testing.assert_allclose(gradient(x), np.sin(x) + x * np.cos(x), rtol=1e-13)
            np.testing.assert_allclose(fg.vmap(gradient)(x[:, None])[:, 0], np.sin(x) + x * np.cos(x), rtol=1e-13)
    finally:
        _core.select_isa(before)


def test_show_config_prints_what_a_bug_report_needs(capsys):
    fg.show_config()
    out, err = capsys.readouterr()
    assert err == ""
    for part in (fg.__version__, np.__version__, _core.current_isa(), f"{fg.get_num_threads()} of"):
        assert part in out


REPORT = "import fastgrad as fg; from fastgrad import _core; print(fg.get_num_threads(), _core.current_isa())"


def test_the_environment_sets_threads_and_kernels():
    for isa in _core.supported_isas():
        process = in_fresh_process(REPORT, FASTGRAD_NUM_THREADS="3", FASTGRAD_ISA=isa)
        assert process.stdout == f"3 {isa}\n", process.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes have no affinity here")
def test_threads_are_by_default_as_many_as_the_processors_of_the_process():
    code = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]);" + REPORT
    process = in_fresh_process(code, FASTGRAD_NUM_THREADS="", FASTGRAD_ISA="")
    assert process.stdout == f"1 {_core.supported_isas()[0]}\n", process.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("NUM_THREADS", "0"), ("NUM_THREADS", "many"), ("NUM_THREADS", "-2"), ("NUM_THREADS", "1e9"),
     ("NUM_THREADS", "9" * 30), ("ISA", "mmx"), ("ISA", "AVX2")],
)  # fmt: skip
def test_a_wrong_setting_in_the_environment_fails_the_import_and_says_which(name, value):
    process = in_fresh_process("import fastgrad", **{f"FASTGRAD_{name}": value})
    assert process.returncode == 1
    last = process.stderr.splitlines()[-1]
    assert last.startswith("ImportError")
    assert f"FASTGRAD_{name}='{value}'" in last


def test_importing_brings_nothing_along_that_is_only_sometimes_needed():
    code = """
import sys
import fastgrad
print(sorted({"matplotlib", "scipy", "sklearn", "tqdm", "dask", "pandas", "torch"} & set(sys.modules)))
"""
    process = in_fresh_process(code)
    assert process.stdout == "[]\n", process.stderr


def test_the_floating_environment_is_untouched():
    x = np.array([5e-324, 1.0])
    fg.vmap(fg.grad(lambda x: np.exp(x) * x))(np.linspace(-1, 1, 1000))
    fg.minimize(lambda x: np.sum(x**2), [1.0], maxiter=10)
    assert x[0] * x[1] != 0
    assert float("5e-324") * 1.0 != 0


# ---- memory of large results


def sum_of_squares(x):
    return np.sum(x * x)


def test_large_results_are_arrays_like_any_other():
    x = np.arange(1_200_000.0)
    gradient = fg.grad(sum_of_squares)
    gradient(x)
    first = gradient(x)
    np.testing.assert_array_equal(first, 2 * x)
    assert first.flags.owndata
    assert first.flags.writeable
    assert first.ctypes.data % 64 == 0
    kept = first[5:10]
    del first
    np.testing.assert_array_equal(kept, 2 * x[5:10])
    other = gradient(x)
    np.testing.assert_array_equal(kept, 2 * x[5:10])
    other.resize(10, refcheck=False)
    np.testing.assert_array_equal(other, 2 * x[:10])
    other.resize(1_300_000, refcheck=False)
    np.testing.assert_array_equal(other[:10], 2 * x[:10])
    assert not other[10:].any()


def test_freed_results_leave_their_memory_to_the_next_until_it_is_released():
    X = np.ones((60_000, 10))
    batch = fg.vmap(fg.grad(sum_of_squares))
    fg.release_memory()
    place = batch(X).ctypes.data
    kept = _core.kept_memory()
    assert kept >= X.nbytes
    for _ in range(20):
        again = batch(X)
        assert again.ctypes.data == place
        assert _core.kept_memory() < kept
        np.testing.assert_array_equal(again, 2 * X)
        del again
        assert _core.kept_memory() == kept
    assert fg.release_memory() == kept
    assert _core.kept_memory() == 0


def test_what_is_kept_is_bounded():
    gradient = fg.grad(sum_of_squares)
    for n in (600_000, 700_000, 800_000, 900_000, 1_000_000, 5_000_000, 15_000_000, 600_000):
        gradient(np.ones(n))
        assert _core.kept_memory() <= 256 << 20
    fg.release_memory()


FORKING = """import os
import numpy as np
import fastgrad as fg
x = np.arange(1_000_000.0)
gradient = fg.grad(lambda x: np.sum(x * x))
held = gradient(x)
gradient(x)
child = os.fork()
if child == 0:
    again = gradient(x)
    fine = np.array_equal(again, 2 * x) and np.array_equal(held, 2 * x)
    again[:] = 0
    del again, held
    fg.release_memory()
    os._exit(0 if fine else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(held, 2 * x) and np.array_equal(gradient(x), 2 * x)
"""


def test_a_forked_child_uses_and_frees_what_its_parent_kept():
    result = in_fresh_process(FORKING)
    assert result.returncode == 0, result.stderr


def test_threads_share_what_is_kept():
    from concurrent.futures import ThreadPoolExecutor

    gradient = fg.grad(sum_of_squares)

    def right(k):
        x = np.full(600_000 + 300_000 * (k % 2), float(k))
        return all(np.array_equal(gradient(x), 2 * x) for _ in range(3))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(12)))
    fg.release_memory()
