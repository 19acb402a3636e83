"""The chain rule as a table."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastgrad as fg


def test_every_step_has_its_value_local_derivatives_and_adjoint():
    def fun(x, y):
        return np.sin(x * y) * y

    table = fg.explain(fun, 2.0, 0.5)
    assert [step.name for step in table.steps] == ["x", "y", "v1", "v2", "v3"]
    assert [step.expression for step in table.steps] == ["", "", "x * y", "sin(v1)", "v2 * y"]
    assert table["v1"].locals == {"x": 0.5, "y": 2.0}
    assert_allclose(table["v2"].locals["v1"], np.cos(1.0))
    assert_allclose(table["v1"].adjoint, 0.5 * np.cos(1.0))
    assert_allclose(table["y"].adjoint, np.cos(1.0) + np.sin(1.0))
    assert "dv2/dv1 = 0.540302" in str(table)


def test_the_adjoint_is_the_sum_over_uses():
    def fun(x):
        a = x**2
        return np.sum(a * 3 + a * x[0])

    x = np.array([1.0, 2.0])
    table = fg.explain(fun, x)
    assert_allclose(table["x"].adjoint, fg.grad(fun)(x))
    assert table["v1"].expression == "x * x"
    assert_allclose(table["v1"].locals["x"], 2 * x)  # both operands are x


def test_arguments_are_named_by_how_they_are_reached():
    table = fg.explain(lambda w, *rest: np.sum(w["a"] @ rest[0]), {"a": np.ones((2, 3))}, np.arange(3.0))
    assert table.steps[0].name == "w['a']"
    assert_allclose(table["w['a']"].adjoint, [[0, 1, 2], [0, 1, 2]])
    assert str(table).splitlines()[0].split() == [
        "step",
        "expression",
        "value",
        "local",
        "derivatives",
        "d<lambda>/dstep",
    ]


def test_what_does_not_depend_on_the_arguments_has_no_adjoint():
    table = fg.explain(lambda x: x * np.where(x > 0, 1.0, 2.0), 3.0)
    compared = next(step for step in table.steps if step.expression == "x > 0")
    assert not np.any(compared.adjoint)


def test_only_scalars_are_explained():
    with pytest.raises(fg.ShapeError, match="scalar"):
        fg.explain(np.sin, np.ones(3))
    with pytest.raises(fg.ShapeError, match="several values"):
        fg.explain(lambda x: (x, x), 1.0)
