"""Networks for elsewhere: predictions as Python source that needs NumPy alone, and ONNX models.

Both are written from a table, by the name of each activation. Neither knows the machine: what is exported computes
anywhere, in the dtype of the network.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .activations import GELU_TANH, LEAK, SELU_ALPHA, SELU_SCALE
from .files import names_of, replace

# ---- NumPy

_ERFC = """
def erfc(z):
    return np.fromiter(map(math.erfc, z.ravel().tolist()), z.dtype, z.size).reshape(z.shape)
"""
_LOGISTIC = """
def logistic(z):
    e = np.exp(-np.abs(z))  # which cannot overflow
    return np.where(z >= 0, 1, e) / (1 + e)
"""
_EXPONENTIALS = """
def exponentials(z):
    return np.exp(z - np.max(z, axis=-1, keepdims=True))
"""
_SHARES = """
def shares(e):
    return e / np.sum(e, axis=-1, keepdims=True)
"""
# an activation as an expression of z, after the functions that it calls
_SOURCES: dict[str, tuple[str, ...]] = {
    "identity": ("z",),
    "relu": ("np.where(z <= 0, 0, z)",),
    "leaky_relu": (f"np.where(z > 0, z, {LEAK} * z)",),
    "elu": ("np.where(z > 0, z, np.expm1(np.minimum(z, 0)))",),
    "selu": (f"{SELU_SCALE} * np.where(z > 0, z, {SELU_ALPHA} * np.expm1(np.minimum(z, 0)))",),
    "gelu": (_ERFC, "0.5 * z * erfc(-math.sqrt(0.5) * z)"),
    "gelu_tanh": (f"0.5 * z * (1 + np.tanh({GELU_TANH} * (z + 0.044715 * z * z * z)))",),
    "silu": (_LOGISTIC, "z * logistic(z)"),
    "softplus": ("np.logaddexp(0, z)",),
    "tanh": ("np.tanh(z)",),
    "sigmoid": (_LOGISTIC, "logistic(z)"),
    "softmax": (_EXPONENTIALS, _SHARES, "shares(exponentials(z))"),
}
_HEAD = '''"""A dense network in NumPy: `predict(X)` gives its outputs. Sizes {sizes}; written by fastgrad."""

import base64
import math

import numpy as np

SIZES = {sizes}
DTYPE = np.dtype("{dtype}")
MEMBERS = {members}  # networks of an ensemble; () for one network
'''
_PREDICT = '''

def layers(parameters):
    """Weights and biases of every layer, views of the flat vector."""
    found, start = [], 0
    for n_in, n_out in zip(SIZES[:-1], SIZES[1:]):
        W = parameters[..., start : start + n_in * n_out].reshape(*MEMBERS, n_in, n_out)
        start += n_in * n_out
        found.append((W, parameters[..., None, start : start + n_out]))
        start += n_out
    return found


def predict(X):
    """Outputs for the rows of X, of shape (n, {n_in}), or for one row of shape ({n_in},)."""
    X = np.asarray(X, DTYPE)
    if X.ndim not in (1, 2) or X.shape[-1] != SIZES[0]:
        raise ValueError(f"X has shape {{X.shape}}, but the network takes rows of {{SIZES[0]}} numbers")
    a = X if X.ndim == 2 else X[None]
    with np.errstate(all="ignore"):
        for (W, b), activation in zip(LAYERS, ACTIVATIONS):
            a = activation(a @ W + b)
    return a if X.ndim == 2 else a[..., 0, :]


ACTIVATIONS = [{activations}]
'''
_LAST = "LAYERS = layers(PARAMETERS)\n"
_WEIGHTS = '''PARAMETERS = base64.b64decode(
    """
{text}"""
)
PARAMETERS = np.frombuffer(PARAMETERS, "{descr}").astype(DTYPE).reshape(*MEMBERS, -1)
'''


class NumPyNetwork:
    """The predictions of a network in NumPy alone; made by `MLP.to_numpy`.

    Attributes
    ----------
    source : str
        A Python module with a function ``predict(X)``, the parameters inside. It needs NumPy and no fastgrad.
    parameters : array
        Those of the network when this was made: a copy.
    """

    def __init__(self, code: str, parameters: np.ndarray) -> None:
        self._code, self.parameters = code, parameters
        names: dict[str, Any] = {"PARAMETERS": parameters}
        exec(compile(code + _LAST, "<network in NumPy>", "exec"), names)
        self._predict = names["predict"]

    def __call__(self, X: Any) -> np.ndarray:
        """Outputs for the rows of `X`, or for one row."""
        return self._predict(X)

    @property
    def source(self) -> str:
        descr = self.parameters.dtype.newbyteorder("<")
        text = base64.encodebytes(self.parameters.astype(descr).tobytes()).decode()
        return self._code + _WEIGHTS.format(text=text, descr=descr.str) + _LAST

    def __reduce__(self) -> tuple[Any, ...]:
        return NumPyNetwork, (self._code, self.parameters)


def to_numpy(net: Any, path: str | os.PathLike[str] | None = None) -> NumPyNetwork:
    """
    Predictions in NumPy alone, as a function or a Python file.

    Parameters
    ----------
    path : str or path, optional
        Where to write the source, such as ``"model.py"``: one file, its parameters inside, that runs without fastgrad.
        Written whole or not at all, as by `save`.

    Returns
    -------
    callable
        ``predict(X)`` with the parameters as they are now, and the text of the module as ``predict.source``. It
        pickles.

    Raises
    ------
    TypeError
        For activations that are functions of yours.

    Notes
    -----
    Its numbers are those of ``net(X)`` up to rounding, in the same dtype. The exact gelu takes the error function from
    Python's math module, element by element. Text takes a third more room than the numbers: for networks beyond some
    hundred megabytes prefer `save`.

    Examples
    --------
    >>> import numpy as np, fastgrad as fg
    >>> net = fg.MLP([4, 8, 3], activation="gelu", output="softmax", rng=0)
    >>> predict = net.to_numpy()
    >>> X = np.ones((5, 4), np.float32)
    >>> np.allclose(predict(X), net(X), rtol=1e-5), "fastgrad" in predict.source.split("import", 1)[1]
    (True, False)
    """
    names = names_of(net, "Python source")
    members = () if net.members is None else (net.members,)
    needed = dict.fromkeys(text for name in names for text in _SOURCES[name][:-1])
    functions = [*needed, *(f"\ndef {name}(z):\n    return {_SOURCES[name][-1]}\n" for name in dict.fromkeys(names))]
    code = (
        _HEAD.format(sizes=net.sizes, dtype=net.dtype.name, members=members)
        + "".join(f"\n{function}" for function in functions)
        + _PREDICT.format(n_in=net.sizes[0], activations=", ".join(names))
    )
    found = NumPyNetwork(code, net.parameters.copy())
    if path is not None:
        replace(path, lambda file: file.write(found.source.encode()))
    return found


# ---- ONNX

_OPSET, _IR_VERSION = 20, 9  # the first opset with Gelu, and the format that came with it
_MOST_BYTES = 2**31 - 2**20  # of the messages that ONNX is made of
# log(erfc(a)) + a^2 - log(t) as a polynomial in 2t - 1, where t = 2 / (2 + a): interpolated at Chebyshev points in 50
# digits; with it erfc is within 5e-16
_ERFC_POLYNOMIAL = [
    -0.6717940840566923, 0.672643223977656, 0.04734330684190443, -0.046895610231083025, -0.009872689366389959,
    0.008824938553738764, 0.001758933557799016, -0.002345812444802156, -0.00014624686337800336, 0.0006736782697069831,
    -9.37350311709817e-05, -0.00017429984933155644, 7.14010141275703e-05, 3.17331059937706e-05, -3.0187884551394236e-05,
    1.6992332312277778e-07, 8.562623420121265e-06, -3.007645434410681e-06, -1.2723119048688416e-06,
    1.326781360851901e-06, -1.6849800720656045e-07, -3.168341367694226e-07, 1.533434592090989e-07,
    3.972203547274096e-08, -3.917182051027807e-08, -1.5867042924143049e-09, 4.0608821469707145e-09,
]  # fmt: skip


class _Graph:
    """Nodes of an ONNX graph in the making: a call adds one and returns the name of its result."""

    def __init__(self, onnx: Any, dtype: np.dtype) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        array = np.array(value, self.dtype, order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def __call__(self, operation: str, *inputs: str | float, result: str | None = None, **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        result = result or f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operation, names, [result], **attributes))
        return result


def _elu(g: _Graph, z: str, scale: float = 1.0, alpha: float = 1.0) -> str:
    z_low = g("Min", z, 0.0)
    # exp(z) - 1 without cancellation
    below = g("Mul", g("Tanh", g("Mul", z_low, 0.5)), g("Add", g("Exp", z_low), 1.0))
    return g("Mul", g("Where", g("Greater", z, 0.0), z, g("Mul", below, alpha)), scale)


def _softplus(g: _Graph, z: str) -> str:
    below = g("Log", g("Add", g("Exp", g("Neg", g("Abs", z))), 1.0))
    return g("Add", g("Max", z, 0.0), below)


def _gelu(g: _Graph, z: str) -> str:
    a = g("Mul", g("Abs", z), 0.5**0.5)
    t = g("Div", 2.0, g("Add", a, 2.0))
    y = g("Sub", g("Add", t, t), 1.0)
    p = g("Add", g("Mul", y, _ERFC_POLYNOMIAL[-1]), _ERFC_POLYNOMIAL[-2])
    for coefficient in _ERFC_POLYNOMIAL[-3::-1]:
        p = g("Add", g("Mul", p, y), coefficient)
    erfc = g("Mul", t, g("Exp", g("Sub", p, g("Mul", a, a))))
    lost = g("Mul", g("Mul", z, 0.5), erfc)
    return g("Where", g("Greater", z, 0.0), g("Sub", z, lost), lost)


def _gelu_tanh(g: _Graph, z: str) -> str:
    cube = g("Mul", g("Mul", z, z), g("Mul", z, 0.044715))
    t = g("Tanh", g("Mul", g("Add", z, cube), GELU_TANH))
    return g("Mul", g("Mul", z, 0.5), g("Add", t, 1.0))


_Nodes = Callable[[_Graph, str], str]
_NODES: dict[str, _Nodes] = {
    "identity": lambda g, z: z,
    "relu": lambda g, z: g("Relu", z),
    "leaky_relu": lambda g, z: g("LeakyRelu", z, alpha=LEAK),
    "elu": lambda g, z: g("Elu", z),
    "selu": lambda g, z: g("Selu", z, alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "gelu": lambda g, z: g("Gelu", z),
    "gelu_tanh": lambda g, z: g("Gelu", z, approximate="tanh"),
    "silu": lambda g, z: g("Mul", z, g("Sigmoid", z)),
    "softplus": lambda g, z: g("Softplus", z),
    "tanh": lambda g, z: g("Tanh", z),
    "sigmoid": lambda g, z: g("Sigmoid", z),
    "softmax": lambda g, z: g("Softmax", z, axis=-1),
}
# onnxruntime computes these operators in float32 only, or to its precision: in float64 they are composed of others
_NODES_FLOAT64: dict[str, _Nodes] = _NODES | {
    "leaky_relu": lambda g, z: g("Where", g("Greater", z, 0.0), z, g("Mul", z, LEAK)),
    "elu": _elu,
    "selu": lambda g, z: _elu(g, z, SELU_SCALE, SELU_ALPHA),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "softplus": _softplus,
}


def to_onnx(net: Any, path: str | os.PathLike[str]) -> None:
    """
    Write the network as an ONNX model, which many other programs can run.

    The model has one input ``X`` of shape ``(n, n_in)`` and one output ``Y`` of shape ``(n, n_out)``, for any number of
    rows n; an ensemble's output is ``(members, n, n_out)``. Both have the network's dtype.

    Parameters
    ----------
    path : str or path
        The file, such as ``"model.onnx"``. Written whole or not at all, as by `save`.

    Raises
    ------
    ImportError
        Without the package onnx.
    TypeError
        For activations that are functions of yours.
    ValueError
        For more than 2 GB of parameters, which such a file cannot hold.

    Notes
    -----
    Opset 20. Each layer is a Gemm and the operator of its activation. In float64 some activations are made
    of simpler operators, since onnxruntime has no kernels of that precision for them.

    Examples
    --------
    >>> import os, tempfile, fastgrad as fg
    >>> net = fg.MLP([4, 8, 3], output="softmax", rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.to_onnx(os.path.join(folder, "model.onnx"))
    ...     os.listdir(folder)
    ['model.onnx']
    """
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(
            "to_onnx needs the package onnx, which is not installed\n  cure: pip install fastgrad[onnx]"
        ) from error
    names = names_of(net, "an ONNX model")
    if net.parameters.nbytes > _MOST_BYTES:
        raise ValueError(
            f"the network has {net.parameters.nbytes:,} bytes of parameters, and an ONNX file holds less than 2 GB"
        )
    g = _Graph(onnx, net.dtype)
    table = _NODES if net.dtype == np.float32 else _NODES_FLOAT64
    a = "X"
    for i, (W, b, name) in enumerate(zip(net.weights, net.biases, names, strict=True)):
        weights = g.constant(W, f"W{i}")
        if net.members is None:
            a = g("Gemm", a, weights, g.constant(b, f"b{i}"))
        else:
            a = g("Add", g("MatMul", a, weights), g.constant(b[:, None], f"b{i}"))
        a = table[name](g, a)
    g("Identity", a, result="Y")
    kind = onnx.helper.np_dtype_to_tensor_dtype(net.dtype)
    lead = [] if net.members is None else [net.members]
    graph = onnx.helper.make_graph(
        g.nodes,
        "MLP",
        [onnx.helper.make_tensor_value_info("X", kind, ["n", net.sizes[0]])],
        [onnx.helper.make_tensor_value_info("Y", kind, [*lead, "n", net.sizes[-1]])],
        g.constants,
    )
    opsets = [onnx.helper.make_opsetid("", _OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="fastgrad")
    replace(path, lambda file: file.write(model.SerializeToString(deterministic=True)))
