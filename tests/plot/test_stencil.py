from fractions import Fraction

import numpy as np
import pytest
from drawing import Case
from matplotlib.colors import to_hex

from fastgrad import plot


def drawn(ax):
    """What a reader sees: exact weight by offset, from the texts and where they stand."""
    places = [text.xy if hasattr(text, "xy") else text.get_position() for text in ax.texts]
    found = [Fraction(text.get_text().replace("−", "-")) for text in ax.texts]
    return dict(zip(places, found, strict=True))


@pytest.mark.parametrize(
    "case",
    [
        Case("first", {"accuracy": 6}, (1, range(-3, 4))),
        Case("second", {"derivative": 2, "accuracy": 4}, (2, range(-2, 3))),
        Case("forward", {"accuracy": 3, "kind": "forward"}, (1, range(4))),
        Case("offsets", {"offsets": [-1, 0, 1, 2], "derivative": 3}, (3, range(-1, 3))),
        Case("fractions", {"offsets": [Fraction(-1, 2), Fraction(1, 2)]}, (1, [-0.5, 0.5])),
        Case("value", {"offsets": [-1, 1], "derivative": 0}, (0, [-1, 1])),
    ],
    ids=lambda case: case.what,
)
def test_a_line_shows_weights_that_differentiate_polynomials(case):
    ax = plot.stencil(**case.values)
    order, offsets = case.expected
    weights = {x: weight for (x, _), weight in drawn(ax).items()}
    assert sorted(weights) == list(offsets)
    for power in range(len(weights)):
        exact = 0 if power != order else np.prod(range(1, order + 1), dtype=int)
        assert sum(weight * Fraction(x) ** power for x, weight in weights.items()) == exact
    assert all(y == pytest.approx(float(weight)) for (_, y), weight in drawn(ax).items())
    assert [text.get_text() for text in ax.get_xticklabels()] == [str(Fraction(x)).replace("-", "−") for x in offsets]


@pytest.mark.parametrize("accuracy", [2, 4, 8])
@pytest.mark.parametrize("derivative", ["laplacian", (1, 1), (2, 1), (0, 2)], ids=str)
def test_the_plane_shows_weights_that_differentiate_polynomials(derivative, accuracy):
    weights = drawn(plot.stencil(derivative=derivative, accuracy=accuracy))
    terms = [(2, 0), (0, 2)] if derivative == "laplacian" else [derivative]
    for p in range(3):
        for q in range(3):
            exact = sum((1, 1, 2)[p] * (1, 1, 2)[q] for term in terms if term == (p, q))
            assert sum(w * Fraction(x) ** p * Fraction(y) ** q for (x, y), w in weights.items()) == exact


def test_the_five_points_of_the_laplacian():
    ax = plot.stencil(derivative="laplacian")
    assert drawn(ax) == {(0, 0): -4, (1, 0): 1, (-1, 0): 1, (0, 1): 1, (0, -1): 1}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("offset along x, in steps h", "offset along y, in steps h")
    assert ax.get_aspect() == 1
    assert ax.get_xlim()[0] < -1 < 1 < ax.get_xlim()[1]


def test_signs_have_a_colour_and_a_marker():
    ax = plot.stencil()
    marks = {line.get_xdata()[0]: line for line in ax.lines if line.get_linestyle() == "None"}
    assert [(marks[x].get_marker(), to_hex(marks[x].get_color())) for x in (-1, 1)] == [
        ("s", "#d55e00"),
        ("o", "#0072b2"),
    ]
    assert to_hex(marks[0].get_markerfacecolor()) == "#ffffff"
    assert drawn(ax)[0, 0] == 0


def test_floats_are_rounded_for_the_eye():
    ax = plot.stencil([-1.0, 0.0, 2.5], 2, markersize=4)
    assert [text.get_text() for text in ax.texts] == ["0.5714", "−0.8", "0.2286"]
    assert {line.get_markersize() for line in ax.lines if line.get_linestyle() == "None"} == {4}


def test_given_axes_keep_their_size():
    ax = plot.stencil(derivative="laplacian", accuracy=8)
    larger = ax.figure.get_size_inches()
    figure = plot.stencil().figure
    size = figure.get_size_inches().copy()
    figure.axes[0].clear()
    assert plot.stencil(derivative="laplacian", accuracy=8, ax=figure.axes[0]) is figure.axes[0]
    np.testing.assert_array_equal(figure.get_size_inches(), size)
    assert (larger > size).all()
    figure.canvas.draw()


@pytest.mark.parametrize(
    "case",
    [
        Case("name", {"derivative": "gradient"}, "derivative must be .* got 'gradient'"),
        Case("triple", {"derivative": (1, 1, 1)}, r"derivative must have two orders.* got \(1, 1, 1\)"),
        Case("kind", {"kind": "middle"}, "kind is 'middle'"),
        Case("few", {"offsets": [0, 1], "derivative": 2}, "offsets has 2 samples"),
    ],
    ids=lambda case: case.what,
)
def test_errors(case):
    with pytest.raises(ValueError, match=case.expected):
        plot.stencil(**case.values)
