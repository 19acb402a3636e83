import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawing import Case, descents, held, one, ribbon, texts, with_values
from matplotlib.colors import to_hex

import fastgrad as fg
from fastgrad import plot


def test_convergence_of_one_problem_is_a_line():
    res = one(descents(), 3)
    ax = plot.convergence(res)
    (line,) = ax.lines
    reached = res.nit + 1
    np.testing.assert_array_equal(line.get_xdata(), np.arange(reached))
    np.testing.assert_array_equal(line.get_ydata(), res.history.fun[:reached])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("iteration", "fun(x)", "log")
    assert not ax.collections
    assert ax.get_legend() is None


@pytest.mark.parametrize("percentiles", [(5, 95), (25, 75), (0, 100)])
@pytest.mark.parametrize("block", [2**20, 100, 1])
def test_convergence_of_a_batch(monkeypatch, percentiles, block):
    monkeypatch.setattr("fastgrad.plot._records.BLOCK", block)
    res = descents()
    fun = held(res.history.fun)
    ax = plot.convergence(res, percentiles=percentiles)
    median, best = ax.lines
    np.testing.assert_allclose(median.get_ydata(), np.median(fun, axis=1), rtol=1e-14)
    np.testing.assert_array_equal(best.get_ydata(), fun[:, np.argmin(res.fun)])
    low, high = ribbon(ax)
    np.testing.assert_allclose([low, high], np.percentile(fun, percentiles, axis=1), rtol=1e-14)
    assert texts(ax)[0] == "median of 40"


def test_convergence_names_its_percentiles():
    assert "1st to 92nd percentile" in texts(plot.convergence(descents(), percentiles=(1, 92)))
    assert "2.5th to 13th percentile" in texts(plot.convergence(descents(), percentiles=(2.5, 13)))


@pytest.mark.parametrize("each", [False, True])
def test_convergence_subtracts_the_optimum(each):
    res = descents()
    res.history.fun += 7.0
    optimum = np.full(40, 7.0) if each else 7.0
    ax = plot.convergence(res, optimum=optimum)
    expected = np.median(held(res.history.fun - 7.0), axis=1)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected, rtol=1e-14)
    assert (ax.get_ylabel(), ax.get_yscale()) == ("fun(x) − optimum", "log")


def test_convergence_at_the_optimum_stays_on_the_log_axis():
    fun = np.array([[4.0, 4.0], [1.0, 0.25], [1e-4, 0.0], [1e-4, -1e-16]])
    ax = plot.convergence(with_values(1.0 + fun), optimum=1.0)
    assert ax.get_yscale() == "log"
    assert all(line.get_ydata().min() > 0 for line in ax.lines)


def test_convergence_best_is_the_first_of_those_that_end_lowest():
    fun = [[3.0, 5.0, 9.0], [2.0, 1.0, 9.0], [1.0, np.nan, 9.0]]
    best = plot.convergence(with_values(fun)).lines[1]
    np.testing.assert_array_equal(best.get_ydata(), [5.0, 1.0, 1.0])


def test_convergence_of_the_distance():
    res = descents()
    ax = plot.convergence(res, quantity="distance", optimum=[1.0, 1.0])
    distance = held(np.linalg.norm(res.history.x - 1.0, axis=-1))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(distance, axis=1), rtol=1e-14)
    assert ax.get_ylabel() == "distance of x from the optimum"
    (line,) = plot.convergence(one(res, 2), quantity="distance").lines
    assert line.get_ydata()[-1] == 0 or line.get_ydata()[-1] == line.get_ydata().min()


@pytest.mark.parametrize(
    "case",
    [
        Case("positive over decades", [1e3, 1.0, 1e-3], "log"),
        Case("positive and close together", [0.7, 0.5, 0.4], "linear"),
        Case("down to zero", [1e3, 1.0, 0.0], "log"),
        Case("negative at the end", [3.0, 1.0, -2.0], "linear"),
        Case("a far swing around small values", [1e6, -2.0, -3.0, -3.1, -3.2], "symlog"),
        Case("constant", [2.0, 2.0], "linear"),
        Case("zero throughout", [0.0, 0.0], "linear"),
        Case("diverging", [1.0, 1e100, np.inf], "log"),
    ],
    ids=lambda case: case.what,
)
def test_convergence_scale(case):
    ax = plot.convergence(with_values(case.values))
    assert ax.get_yscale() == case.expected
    ax.figure.canvas.draw()


def test_convergence_leaves_out_instances_without_a_value():
    res = descents()
    fun = res.history.fun
    fun[:, [0, 7, 39]] = np.nan
    ax = plot.convergence(res)
    expected = np.median(held(np.delete(fun, [0, 7, 39], axis=1)), axis=1)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected, rtol=1e-14)
    assert texts(ax)[0] == "median of 37"


def test_convergence_with_diverging_instances():
    fun = np.geomspace(1, 1e-3, 20)[:, None] * np.ones(10)
    fun[5:, :3] = np.inf
    ax = plot.convergence(with_values(fun))
    ax.figure.canvas.draw()
    assert ax.get_yscale() == "log"
    assert np.isnan(ax.lines[0].get_ydata()).sum() == 0


def test_convergence_draws_no_further_than_the_last_step():
    res = descents(steps=30)
    pad = np.full((100, 40), np.nan)
    res.history.fun = np.vstack([res.history.fun, pad])
    res.history.nit = np.arange(131)
    assert plot.convergence(res).lines[0].get_xdata()[-1] == 30


def test_convergence_of_several_on_one_axes():
    ax = plt.subplots(2, 2)[1][0, 1]
    ax.set_xlabel("mine")
    for name in ("Adam", "momentum"):
        assert plot.convergence(descents(), ax=ax, label=name) is ax
    assert texts(ax) == ["Adam", "momentum"]
    assert to_hex(ax.lines[0].get_color()) != to_hex(ax.lines[2].get_color())
    assert ax.get_xlabel() == "mine"


@pytest.mark.parametrize("name", ["color", "c"])
def test_convergence_passes_settings_on(name):
    ax = plot.convergence(descents(), **{name: "#123456"}, linestyle=":", lw=3)
    assert to_hex(ax.lines[0].get_color()) == to_hex(ax.lines[1].get_color()) == "#123456"
    assert (ax.lines[0].get_linestyle(), ax.lines[0].get_linewidth()) == (":", 3)
    assert to_hex(ax.collections[0].get_facecolor()[0]) == "#123456"


@pytest.mark.parametrize(
    "case",
    [
        Case("history", {}, r"res has no history: pass record='fun' to minimize"),
        Case("path", {"quantity": "distance"}, r"no path.*pass record='path'"),
        Case("quantity", {"quantity": "speed"}, r"quantity must be one of 'fun', 'gradient_norm', .*; got 'speed'"),
        Case("percentiles", {"percentiles": (95, 5)}, r"percentiles must be two numbers"),
        Case("percentiles", {"percentiles": 5}, r"percentiles must be two numbers; got 5"),
        Case(
            "optimum",
            {"optimum": [1.0, 2.0]},
            r"optimum has shape \(2,\).*a number or one for each of 40 problems",
        ),
        Case("optimum", {"optimum": [1.0, 2.0, 3.0], "quantity": "distance"}, r"optimum has shape \(3,\)"),
        Case("optimum", {"optimum": 1.0, "quantity": "step"}, r"optimum is for quantity='fun' or 'distance'"),
    ],
    ids=lambda case: case.what,
)
def test_convergence_errors(case):
    res = descents()
    if case.what == "history":
        res.history = None
    if case.what == "path":
        res.history.x = None
    with pytest.raises(ValueError, match=case.expected):
        plot.convergence(res, **case.values)
    assert not plt.get_fignums()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shape", [(5,), (5, 3)])
def test_convergence_without_a_finite_value(value, shape):
    with pytest.raises(ValueError, match="no finite value"):
        plot.convergence(with_values(np.full(shape, value)))


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
@pytest.mark.parametrize("quantity", ["fun", "gradient_norm", "step"])
def test_convergence_draws_every_quantity_of_a_history(method, quantity):
    starts = np.random.default_rng(0).normal(size=(30, 2))
    res = fg.minimize(lambda x: np.sum((x - 1) ** 4), starts, in_axes=0, method=method, maxiter=40, record="fun")
    recorded = getattr(res.history, quantity)
    first = int(quantity == "step")  # none leads to the start
    ax = plot.convergence(res, quantity=quantity)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), res.history.nit[first:])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), np.median(held(recorded[first:]), axis=1))
    (line,) = plot.convergence(res[3], quantity=quantity).lines
    np.testing.assert_array_equal(line.get_ydata(), recorded[first : res.nit[3] + 1, 3])
    assert {"fun": "fun(x)", "gradient_norm": "largest component of the gradient", "step": "length of the step"}[
        quantity
    ] == ax.get_ylabel()


def test_a_descent_without_steps_has_none_to_draw():
    res = fg.minimize(lambda x: np.sum(x**2), np.ones(2), maxiter=0, record="fun")
    with pytest.raises(ValueError, match="no finite value of 'step'"):
        plot.convergence(res, quantity="step")
