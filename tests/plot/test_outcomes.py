import numpy as np
import pytest

import fastgrad as fg
from fastgrad import plot


def test_outcomes_are_points_by_status():
    x0 = np.concatenate([np.linspace(-2, 2, 20), [np.nan, 1e200]])[:, None]
    res = fg.minimize(lambda x: np.sum((x**2 - 1) ** 2), x0, in_axes=0, learning_rate=0.03, maxiter=90, gtol=1e-3)
    ax = plot.outcomes(res, markersize=4)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert sum(int(label.split()[0]) for label in labels) == 22
    assert labels[-1] == "2 without a finite value"
    drawn = {line.get_label(): line for line in ax.lines}
    for code, name in [(0, "converged (gtol)"), (1, "out of iterations")]:
        mine = (res.status == code) & np.isfinite(res.fun)
        line = drawn[f"{np.count_nonzero(mine)} {name}"]
        np.testing.assert_array_equal(line.get_xdata(), res.nit[mine])
        np.testing.assert_array_equal(line.get_ydata(), res.fun[mine])
        assert line.get_markersize() == 4
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("iterations", "fun(x)")
    assert plot.outcomes(res, optimum=-1.0).get_ylabel() == "fun(x) − optimum"
    plot.outcomes(res[0])
    plot.outcomes(fg.minimize(lambda x: np.sum(x**2), np.ones(3), callback=lambda x: next(iter(())), maxiter=5))
    with pytest.raises(ValueError, match="no finite value"):
        plot.outcomes(res[-2:-1])
