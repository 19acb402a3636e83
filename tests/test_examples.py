import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def small_run(name, folder):
    """Output of an example."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    run = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", "--quick", "--output", folder],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def regularisation(tmp_path_factory):
    """Output and folder of a small run."""
    folder = tmp_path_factory.mktemp("regularisation")
    return small_run("regularisation", folder), folder


def figure(pattern, text):
    found = re.search(pattern, text)
    assert found, f"{pattern!r} is not in\n{text}"
    return float(found[1].replace(",", ""))


def check_picture(path):
    image = pytest.importorskip("matplotlib.image").imread(path)
    assert min(image.shape[:2]) > 500
    assert image[..., :3].std() > 0.05


def test_regularisation_finds_a_good_classifier(regularisation):
    text, _ = regularisation
    assert "8 strengths × 4 random starts = 32 descents" in text
    assert 1e-4 <= figure(r"best strength +([\d.e-]+),", text) <= 1
    assert figure(r"held-out loss of ([\d.]+)", text) < 0.1
    assert figure(r"held-out accuracy +([\d.]+) %", text) > 95


def test_regularisation_compares_speed(regularisation):
    text, _ = regularisation
    for name in ("NumPy loop", "pure Python"):
        assert figure(name + r" \*.* ([\d,.]+) × faster", text) > 0
    assert "extrapolated from" in text


def test_regularisation_agrees_with_numpy(regularisation):
    assert figure(r"agree to ([\d.e-]+) with", regularisation[0]) < 1e-9


@pytest.mark.parametrize("name", ["convergence.png", "paths.png"])
def test_regularisation_draws(regularisation, name):
    check_picture(regularisation[1] / name)


def test_digits_are_read(tmp_path):
    text = small_run("digits", tmp_path)
    alone, theirs, stopped = (float(x) for x in re.findall(r"held-out accuracy ([\d.]+) %", text))
    assert min(alone, stopped) > 95
    assert abs(alone - theirs) < 3
    assert figure(r"([\d.]+) % together", text) > 95
    assert figure(r"fastgrad is ([\d.]+) × faster", text) > 0
    assert figure(r"best after (\d+) of", text) < figure(r"best after \d+ of (\d+) epochs", text) < 200
    check_picture(tmp_path / "digits.png")
