import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np

import fastgrad as fg
from fastgrad import plot


def test_import_leaves_matplotlib_out():
    code = "import sys, fastgrad.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_large_batches_and_plain_matplotlib():
    starts = np.random.default_rng(0).uniform(-2, 2, (10_000, 2))
    res = fg.minimize(lambda x: np.sum((x**2 - 1) ** 2), starts, in_axes=0, method="lbfgs", record="path")
    for draw in (plot.convergence, plot.paths, plot.outcomes):
        draw(res).figure.canvas.draw()
    some = res.history[:20]
    axes = plt.subplots(1, 3)[1]
    axes[0].semilogy(some.nit, some.fun)
    axes[1].plot(*some.x.T)
    axes[2].plot(res.history.nit, res.history.gradient_norm[:, 0])
    axes[0].figure.canvas.draw()
