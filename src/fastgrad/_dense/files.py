"""Networks in files: `.npz` archives that NumPy reads too, without pickle.

An archive has two members: `header`, a JSON text with the format's version, the layers and the dtype; and `parameters`,
the flat vector, one row a member of an ensemble. Both are stored as they are, not compressed, so what a file makes us
allocate is bounded by its size. A file from elsewhere is believed nothing: each number is compared with what the others
imply before the parameters are read.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import reprlib
import secrets
import stat
import zipfile
from collections.abc import Callable
from typing import IO, Any, BinaryIO, NamedTuple, TypeVar

import numpy as np

from .activations import ACTIVATIONS, OUTPUTS
from .layers import MOST_PARAMETERS, n_parameters

Net = TypeVar("Net")

_FORMAT, _VERSION = "fastgrad.MLP", 1
_KEYS = ["activations", "dtype", "format", "members", "sizes", "version"]
_MEMBERS = ["header.npy", "parameters.npy"]
_DTYPES = {"float32": "<f4", "float64": "<f8"}  # always little-endian in a file
_MAX_HEADER = 2**20  # bytes: some ten thousand layers
_MAX_DIRECTORY = 2**10  # bytes: that of two members takes about 120
_MAX_COUNT = 2**31 - 1  # units of a layer, members
_PIECE = 2**20  # bytes read at a time
_ARRAY = re.compile(  # the start of an array file, version 1.0, as NumPy writes it
    rb"\x93NUMPY\x01\x00..\{'descr': '([^']*)', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n", re.DOTALL
)


class Contents(NamedTuple):
    """What a file says of a network."""

    sizes: tuple[int, ...]
    activations: tuple[str, ...]  # by layer, the output's last
    members: int | None
    dtype: np.dtype
    parameters: np.ndarray


# ---- writing


def as_path(path: Any) -> str:
    """`path` as text, without its links; TypeError for what names no file."""
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"path is {path!r} of type {type(path).__name__}: pass a str or a path")
    return os.path.realpath(os.fsdecode(path))


def names_of(net: Any, what: str) -> list[str]:
    """The activation of each layer; TypeError for functions, which `what` cannot hold."""
    for layer, activation in enumerate(net._activations):
        if OUTPUTS.get(activation.name) is not activation:
            raise TypeError(
                f"the activation of layer {layer} is {activation.name}, a function of yours, which {what} cannot hold\n"
                f"  cure: activations by name: {', '.join(OUTPUTS)}"
            )
    return [activation.name for activation in net._activations]


def replace(path: Any, write: Callable[[IO[bytes]], object]) -> None:
    """Have a file written whole or not at all: what stood at `path` stays until the new bytes are on the disk.

    The bytes go to a temporary file beside it, which then takes its name; its permissions are those that writing to
    `path` would have left.
    """
    path = as_path(path)
    mode = None
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode  # asked once: another writer may come in between
    if mode is not None and not stat.S_ISREG(mode):
        raise FileExistsError(f"{path} is there already, and is no regular file\n  cure: write to another path")
    folder = os.path.dirname(path)
    temporary = os.path.join(folder, f".fastgrad-{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            if mode is not None:
                os.chmod(temporary, stat.S_IMODE(mode))
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)  # the name is on the disk too
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can sync a folder
            raise
    finally:
        os.close(handle)


def save(net: Any, path: str | os.PathLike[str]) -> None:
    """
    Write the network to a file, whole or not at all.

    Parameters
    ----------
    path : str or path
        The file, taken as it is: no suffix is added. A file that is there is replaced once the new one is on the disk,
        so a crash at any moment leaves one of the two, whole.

    Raises
    ------
    TypeError
        For activations that are functions of yours: a file holds names only.
    OSError
        When the file cannot be written; what stood there is as before.

    See Also
    --------
    load : The network again.

    Notes
    -----
    The file is an uncompressed `.npz` without pickle: ``np.load(path)`` shows its header, a JSON text, and the
    parameters. The same network gives the same bytes. The state of an optimiser is not in it.

    Examples
    --------
    >>> import os, tempfile, numpy as np, fastgrad as fg
    >>> net = fg.MLP([4, 8, 3], rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     net.save(path)
    ...     again = fg.MLP.load(path)
    >>> again.sizes == net.sizes, np.array_equal(again.parameters, net.parameters)
    (True, True)
    """
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "sizes": list(net.sizes),
        "activations": names_of(net, "a file"),
        "members": net.members,
        "dtype": net.dtype.name,
    }
    text = json.dumps(header)
    arrays = {
        "header.npy": np.array(text, f"<U{len(text)}"),
        "parameters.npy": np.ascontiguousarray(net.parameters, _DTYPES[net.dtype.name]),
    }

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():  # a fresh ZipInfo is dated 1980: no clock, the same bytes
                with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    replace(path, write)


# ---- reading


class _BadFileError(Exception):
    """Why a file is no network."""


class _Guarded:
    """A file from which `zipfile` gets no large piece and nothing outside it, whatever the archive claims."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.limit = file, size, _MAX_DIRECTORY
        self.tell = file.tell

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.file.tell(), os.SEEK_END: self.size}[whence]
        if not 0 <= start + offset <= self.size:
            raise _BadFileError("it is cut off, or points outside itself")
        return self.file.seek(start + offset)

    def read(self, n: int = -1) -> bytes:
        if n > self.limit:
            raise _BadFileError("its list of members is longer than that of a network")
        return self.file.read(self.limit if n < 0 else n)


def load(cls: type[Net], path: str | os.PathLike[str]) -> Net:
    """
    Read a network that `save` wrote.

    Nothing in the file is run, and it is checked before anything large is allocated, so a file from elsewhere does no
    harm.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    MLP
        The network, equal to the saved one bit by bit.

    Raises
    ------
    ValueError
        When the file is damaged, or no network: the message says why.
    OSError
        When it cannot be opened or read.

    See Also
    --------
    save : Writes the file.

    Examples
    --------
    >>> import os, tempfile, fastgrad as fg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     fg.MLP([4, 8, 3], activation="tanh", rng=0).save(path)
    ...     fg.MLP.load(path)
    MLP([4, 8, 3], activation='tanh', output='identity', dtype='float32')
    """
    found = read(path)
    *hidden, output = found.activations
    net: Any = cls.__new__(cls)  # drawing weights would take generators by the member, and a file may claim many
    net.__setstate__(
        {
            "sizes": found.sizes,
            "activation": hidden,
            "output": output,
            "dtype": found.dtype,
            "members": found.members,
            "init": None,
            "_rng": np.random.default_rng(),
            "_parameters": found.parameters.astype(found.dtype, copy=False),
        }
    )
    return net


def read(path: Any) -> Contents:
    """What a file says, checked; ValueError when it is no saved network."""
    path = as_path(path)
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would keep us waiting
        raise ValueError(f"{path} is not a saved network: it is no regular file")
    with open(path, "rb") as file:
        try:
            return _read(_Guarded(file, os.fstat(file.fileno()).st_size))
        except (OSError, MemoryError):
            raise
        except _BadFileError as error:
            why = str(error)
        except zipfile.BadZipFile as error:
            why = f"its archive is damaged ({str(error)[:200]})"
        except Exception as error:  # what zipfile and json raise for broken bytes is no closed list
            why = f"it is damaged ({type(error).__name__}: {str(error)[:200]})"
    raise ValueError(f"{path} is not a saved network: {why}")


def _read(file: _Guarded) -> Contents:
    if file.read(4) != b"PK\3\4":
        raise _BadFileError("it is no .npz archive")
    with zipfile.ZipFile(file) as archive:
        file.limit = _PIECE
        members = sorted(archive.infolist(), key=lambda member: member.filename)
        if [member.filename for member in members] != _MEMBERS:
            raise _BadFileError(f"its members are {reprlib.repr([m.filename for m in members])}, not {_MEMBERS}")
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
                raise _BadFileError(f"{member.filename} is compressed; networks are stored as they are")
            if member.file_size > file.size:
                raise _BadFileError(
                    f"{member.filename} claims {member.file_size} bytes, the whole file has {file.size}"
                )
        text, vector = (_Array(archive, member) for member in members)
        if text.n_bytes > _MAX_HEADER or text.shape != () or text.descr != f"<U{text.n_bytes // 4}":
            raise _BadFileError(f"its header is {text}, not one short text")
        header = np.empty(text.n_bytes, np.uint8)
        text.read_into(header)
        layers = _checked(json.loads(header.tobytes().decode("utf-32-le")))
        lead = () if layers.members is None else (layers.members,)
        shape = (*lead, n_parameters(layers.sizes))
        descr = _DTYPES[layers.dtype.name]
        if vector.shape != shape or vector.descr != descr:
            raise _BadFileError(
                f"its parameters are {vector}; its layers have parameters of dtype {descr!r} and shape {shape}"
            )
        if vector.n_bytes != math.prod(shape) * layers.dtype.itemsize:
            raise _BadFileError(f"its parameters, {vector}, have {vector.n_bytes} bytes")
        parameters = np.empty(shape, descr)
        vector.read_into(parameters)
    return layers._replace(parameters=parameters)


class _Array:
    """An array in an archive, whose numbers have not been read yet."""

    def __init__(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        self.stream = archive.open(member)
        start = self.stream.read(10)
        start += self.stream.read(int.from_bytes(start[8:], "little"))
        found = _ARRAY.fullmatch(start)
        if found is None:
            raise _BadFileError(f"{member.filename} is no plain array in C order")
        self.descr = found[1].decode("latin-1")
        self.shape = tuple(int(n) for n in found[2].split(b",") if n.strip())
        self.n_bytes = member.file_size - len(start)

    def __str__(self) -> str:
        return f"of dtype {reprlib.repr(self.descr)} and shape {reprlib.repr(self.shape)}"

    def read_into(self, array: np.ndarray) -> None:
        """Fill `array`, whose size is that of this one; the archive's checksum is compared at the end."""
        view: Any = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            if self.stream.readinto(piece) != len(piece):  # type: ignore[attr-defined]
                raise _BadFileError("it is cut off")


def _checked(header: Any) -> Contents:
    """What a header describes, without the parameters."""
    if type(header) is not dict or header.get("format") != _FORMAT:
        raise _BadFileError(f"its header does not name the format {_FORMAT!r}")
    if header.get("version") != _VERSION:
        raise _BadFileError(
            f"it has version {reprlib.repr(header.get('version'))} of the format, and this fastgrad reads version"
            f" {_VERSION}\n  cure: load it with the fastgrad that saved it, or a newer one"
        )
    if sorted(header) != _KEYS:
        raise _BadFileError(f"its header has the keys {reprlib.repr(sorted(header))}, not {_KEYS}")
    sizes, activations, members = header["sizes"], header["activations"], header["members"]
    if type(sizes) is not list or len(sizes) < 2 or not all(_is_count(size) for size in sizes):
        raise _BadFileError(f"its layers have the sizes {reprlib.repr(sizes)}")
    if (n := n_parameters(sizes)) > MOST_PARAMETERS:
        raise _BadFileError(f"its layers have {n} parameters, more than {MOST_PARAMETERS}")
    n_layers = len(sizes) - 1
    if type(activations) is not list or len(activations) != n_layers:
        raise _BadFileError(f"it has the activations {reprlib.repr(activations)} for {n_layers} layers")
    for name, known in zip(activations, [ACTIVATIONS] * (n_layers - 1) + [OUTPUTS], strict=True):
        if type(name) is not str or name not in known:
            raise _BadFileError(f"it has the activation {reprlib.repr(name)}, which this fastgrad does not know there")
    if members is not None and not _is_count(members):
        raise _BadFileError(f"it has {reprlib.repr(members)} members")
    if type(header["dtype"]) is not str or header["dtype"] not in _DTYPES:
        raise _BadFileError(f"it has the dtype {reprlib.repr(header['dtype'])}")
    return Contents(tuple(sizes), tuple(activations), members, np.dtype(header["dtype"]), np.empty(0))


def _is_count(n: Any) -> bool:
    return type(n) is int and 1 <= n <= _MAX_COUNT
