import pytest

try:
    import matplotlib
except ImportError:
    collect_ignore_glob = ["test_*.py"]
else:
    matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _leaves_matplotlib_alone(monkeypatch):
    import matplotlib.pyplot as plt

    settings = dict(matplotlib.rcParams)
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("show was called"))
    yield
    plt.close("all")
    assert dict(matplotlib.rcParams) == settings
