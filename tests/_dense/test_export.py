"""Networks elsewhere: the same numbers in NumPy alone and in onnxruntime."""

import ast
import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import fastgrad as fg
from fastgrad._dense import export
from fastgrad._dense.activations import ACTIVATIONS, OUTPUTS

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


def inputs(n_in, dtype, n=64, spread=3.0):
    return (spread * np.random.default_rng(3).normal(size=(n, n_in))).astype(dtype)


def net_of(name, dtype, members=None, n_out=4):
    """A network whose last layer, and the hidden one where that can be, has the activation `name`."""
    hidden = name if name in ACTIVATIONS else "tanh"
    return fg.MLP([3, 6, n_out], activation=hidden, output=name, dtype=dtype, members=members, rng=5)


def assert_same(found, expected, dtype):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.dtype(dtype)
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(found - expected).max() <= TOLERANCE[dtype] * scale


# ---- NumPy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", OUTPUTS)
def test_predictions_are_those_of_the_network(name, members, dtype):
    net = net_of(name, dtype, members)
    predict, X = net.to_numpy(), inputs(3, dtype)
    assert_same(predict(X), net(X), dtype)
    assert_same(predict(X[0]), net(X[0]), dtype)
    assert predict(X[:0]).shape == net(X[:0]).shape
    assert predict(X[:2].astype(int).tolist()).dtype == dtype


def one_unit(name, z, dtype="float64"):
    """The activation itself, as exported."""
    net = fg.MLP([1, 1], output=name, dtype=dtype, rng=0)
    net.parameters[...] = [1, 0]
    return net.to_numpy()(np.asarray(z, dtype)[:, None])[:, 0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_large_arguments_neither_overflow_nor_warn(name):
    z = np.array([-1e30, -1e4, -800.0, 0.0, 800.0, 1e4, 1e30])
    for dtype in ["float32", "float64"]:
        found = one_unit(name, z, dtype)
        assert np.all(np.isfinite(found))
        assert not np.isnan(one_unit(name, [np.inf], dtype)[0])


def test_gelu_is_exact_also_where_it_nearly_vanishes():
    z = np.linspace(-12, 6, 1001)
    expected = np.array([0.5 * x * math.erfc(-x / math.sqrt(2)) for x in z])
    assert np.abs(one_unit("gelu", z) - expected).max() <= 1e-15 * np.abs(expected).max()
    assert np.allclose(one_unit("gelu", z), expected, rtol=1e-13, atol=0)


def test_softmax_takes_scores_of_any_size():
    net = fg.MLP([2, 2], output="softmax", dtype="float64", rng=0)
    net.parameters[...] = [1, 0, 0, 1, 0, 0]
    assert np.array_equal(net.to_numpy()([1e5, -1e5]), [1, 0])


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_file_runs_without_fastgrad_and_gives_the_same_bits(tmp_path, dtype, members):
    names = list(ACTIVATIONS)
    net = fg.MLP([3] * (len(names) + 2), activation=names, output="softmax", dtype=dtype, members=members, rng=0)
    path, X = tmp_path / "model.py", inputs(3, dtype)
    predict = net.to_numpy(path)
    assert path.read_text() == predict.source
    assert os.listdir(tmp_path) == ["model.py"]
    np.save(tmp_path / "X.npy", X)
    code = (
        "import sys; sys.modules['fastgrad'] = sys.modules['scipy'] = None; import numpy as np, model;"
        " np.save('Y.npy', model.predict(np.load('X.npy')))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert np.array_equal(np.load(tmp_path / "Y.npy"), predict(X))
    assert_same(predict(X), net(X), dtype)


def test_the_source_imports_numpy_and_the_standard_library_only():
    tree = ast.parse(net_of("gelu", "float32").to_numpy().source)
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert sorted(imported) == ["base64", "math", "numpy"]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert ast.get_docstring(tree)


def test_the_parameters_are_those_of_the_moment():
    net, X = net_of("tanh", "float64"), inputs(3, "float64")
    predict = net.to_numpy()
    before = predict(X)
    net.parameters[...] = 0
    assert np.array_equal(predict(X), before)


def test_predictions_pickle():
    net, X = net_of("silu", "float32", 2), inputs(3, "float32")
    predict = net.to_numpy()
    again = pickle.loads(pickle.dumps(predict))
    assert np.array_equal(again(X), predict(X))
    assert again.source == predict.source


@pytest.mark.parametrize("shape", [(), (2,), (4, 2), (1, 1, 3)])
def test_rows_of_another_length_are_refused(shape):
    with pytest.raises(ValueError, match="rows of 3 numbers"):
        net_of("relu", "float32").to_numpy()(np.ones(shape))


def test_a_failed_write_leaves_the_old_source(tmp_path, monkeypatch):
    path, net = tmp_path / "model.py", net_of("relu", "float32")
    net.to_numpy(path)
    before = path.read_text()
    net.parameters[...] = 0

    def fail(*args):
        raise OSError("no space")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        net.to_numpy(path)
    assert path.read_text() == before
    assert os.listdir(tmp_path) == ["model.py"]


def test_functions_of_the_user_are_refused(tmp_path):
    net = fg.MLP([2, 3, 1], activation=lambda z: z * z)
    with pytest.raises(TypeError, match="a function of yours, which Python source cannot hold"):
        net.to_numpy()
    pytest.importorskip("onnx")
    with pytest.raises(TypeError, match="a function of yours, which an ONNX model cannot hold"):
        net.to_onnx(tmp_path / "model.onnx")


def test_every_activation_can_be_exported():
    assert set(export._SOURCES) == set(export._NODES) == set(OUTPUTS)


# ---- ONNX


def run(path, X):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["Y"], {"X": X})
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("members", [None, 3])
@pytest.mark.parametrize("name", OUTPUTS)
def test_onnxruntime_agrees(tmp_path, name, members, dtype):
    onnx = pytest.importorskip("onnx")
    net, path = net_of(name, dtype, members), tmp_path / "model.onnx"
    net.to_onnx(path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node].count("Gemm") == (2 if members is None else 0)
    X = inputs(3, dtype)
    for n in [1, 7, 64]:
        assert_same(run(path, X[:n]), net(X[:n]), dtype)


@pytest.mark.parametrize("name", ["gelu", "elu", "selu", "softplus"])
def test_what_is_composed_in_float64_is_exact(tmp_path, name):
    pytest.importorskip("onnx")
    net = fg.MLP([1, 1], output=name, dtype="float64", rng=0)
    net.parameters[...] = [1, 0]
    net.to_onnx(tmp_path / "model.onnx")
    z = np.concatenate([np.linspace(-8, 8, 4001), np.geomspace(1e-12, 1e12, 97), -np.geomspace(1e-12, 1e12, 97)])
    found, expected = run(tmp_path / "model.onnx", z[:, None])[:, 0], one_unit(name, z)
    assert np.all(np.abs(found - expected) <= 1e-15 * np.maximum(1, np.abs(expected)))


def test_the_same_network_gives_the_same_model(tmp_path):
    pytest.importorskip("onnx")
    for name in "ab":
        net_of("gelu", "float64").to_onnx(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install fastgrad\[onnx\]"):
        net_of("relu", "float32").to_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []


def test_what_onnx_cannot_hold_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(export, "_MOST_BYTES", 100)
    with pytest.raises(ValueError, match="less than 2 GB"):
        net_of("relu", "float32").to_onnx(tmp_path / "model.onnx")
