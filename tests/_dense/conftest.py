"""What trains in these tests: the loop in C, and the textbook's in its place."""

import pytest
import reference_training

from fastgrad._compiler.compile import compile_graph
from fastgrad._dense import full_batch, minibatches, task, training


def use_reference(patch):
    """Train as a textbook does, until the patch is undone."""

    def over_rows(graph, its_task):
        n = len(its_task.shapes)
        return reference_training.RowProgram(compile_graph(graph, [False] * n + [True] * (len(graph.inputs) - n)))

    patch.setattr(task, "over_rows", over_rows)
    for module in (minibatches, full_batch, training):
        patch.setattr(module, "_core", reference_training)


@pytest.fixture(params=["C", "textbook"])
def engine(request, monkeypatch):
    """Either engine in turn."""
    if request.param == "textbook":
        use_reference(monkeypatch)


@pytest.fixture
def as_textbook():
    """Calls a function with the textbook's engine."""

    def call(fun, *args, **kwargs):
        with pytest.MonkeyPatch.context() as patch:
            use_reference(patch)
            return fun(*args, **kwargs)

    return call
