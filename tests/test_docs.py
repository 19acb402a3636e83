"""What the documentation shows runs and prints what it says."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

import fastgrad as fg

ROOT = Path(__file__).parents[1]
PUBLIC = [name for name in fg.__all__ if callable(getattr(fg, name))] + [
    f"{module}.{name}" for module in ("finite", "grid", "plot") for name in getattr(fg, module).__all__
]


def documented(name):
    found = fg
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_docstring_holds(name):
    found = documented(name)
    assert found.__doc__, f"{name} has no docstring"
    if name.startswith("plot."):
        pytest.importorskip("matplotlib").use("Agg")
    threads = fg.get_num_threads()
    finder = doctest.DocTestFinder(recurse=False)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for case in finder.find(found, name, globs={"np": np, "fg": fg}):
        runner.run(case)
    fg.set_num_threads(threads)
    assert runner.failures == 0


def test_functions_that_people_call_show_an_example():
    functions = [name for name in PUBLIC if name.rpartition(".")[2][0].islower()]
    assert [name for name in functions if ">>>" not in documented(name).__doc__ and name != "get_num_threads"] == []


def test_the_readme_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "converged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "page", ["functions.md", "descent.md", "fitting.md", "networks.md", "training.md", "finite.md"]
)
def test_the_examples_of_the_pages_print_what_they_say(page, capsys):
    if page in ("descent.md", "finite.md"):
        pytest.importorskip("scipy")
    if page == "finite.md":
        pytest.importorskip("matplotlib").use("Agg")
    if page == "networks.md":
        pytest.importorskip("sklearn")
        pytest.importorskip("matplotlib").use("Agg")
    text = (ROOT / "docs" / page).read_text()
    names = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, page, "exec"), names)
        assert capsys.readouterr().out.splitlines() == re.findall(r"print\(.*\)  # (.*)", code)
