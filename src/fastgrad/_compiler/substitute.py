"""Traces a copy of the user's function that finds stand-ins where the original finds NumPy.

NumPy's protocols let a traced array through most functions, but not through `np.zeros(n)` that is filled later,
`np.array([x[0], 1.0])`, `math.sin(x[0])` or `float(x[0])`. So the function that runs is a copy: the same code, with
other globals, closure cells and defaults. In these, what belongs to NumPy and math is replaced (standins.py), and the
user's own functions, modules and objects by copies that are made the same way, when first reached. The originals stay
as they are, no module is changed, and several threads can trace at once: each trace has copies of its own.
"""

from __future__ import annotations

import builtins
import contextlib
import dis
import functools
import operator
import sys
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import tree
from .filled import FilledArray, filled, has_traced, lowered, raw_of
from .graph import Builder, Graph
from .standins import BUILTINS, CALLED, NAMES_CALLED, NUMPY_CALLED, PASSED, stand_in
from .trace import Traced
from .trace import trace as trace_as_it_is

NOT_SUBSTITUTED = frozenset(sys.stdlib_module_names - {"__main__"}) | {"numpy", "scipy", "fastgrad"}
# of SciPy's Python what can be copied like the user's; elsewhere it is C soon
SCIPYS = (
    "scipy._external",
    "scipy._lib",
    "scipy.constants",
    "scipy.integrate._quadrature",
    "scipy.spatial.distance",
    "scipy.special",
    "scipy.stats",
)
SCIPYS_ALONE = frozenset(["scipy.optimize._optimize.rosen"])  # functions
MARK = "<fastgrad>"  # a name no program can have, in the globals of a copy
SHADOW = "<shadow of>"
MOST_SCANNED = 1000  # longer lists are taken to hold data, not functions


def trace(
    fun: Callable[..., Any], arguments: Sequence[Any], name: str | None = None, builder: Builder | None = None
) -> Graph:
    """The graph of `fun(*arguments)`, as `trace.trace` gives it, of a copy of `fun` that finds stand-ins for NumPy."""
    first: list[Copies] = []

    def run(*values: Any) -> Any:
        copies = Copies()  # for each way through the function: none sees what another did
        if not first:
            first.append(copies)

        def setting(leaf: Any) -> Any:
            return leaf if isinstance(leaf, Traced) else copies.of(leaf)

        return copies.of(fun)(*[tree.map_leaves(setting, x) for x in values])

    run.__wrapped__ = fun  # type: ignore[attr-defined]
    try:
        return trace_as_it_is(run, arguments, name or str(getattr(fun, "__name__", type(fun).__name__)), builder)
    finally:
        for copies in first:
            copies.write_back()


# ---- what a code object refers to


class Names(NamedTuple):
    """A code object with its calls of types renamed, and the names that it and the code in it use and bind."""

    code: types.CodeType
    used: frozenset[str]
    bound: frozenset[str]  # globals assigned or deleted


def names_of(code: types.CodeType) -> Names:
    """What a code object refers to."""
    return _names_of(code, code.co_filename)


@functools.lru_cache(maxsize=4096)
def _names_of(code: types.CodeType, filename: str) -> Names:  # code objects of two files may be equal
    used, bound = set(code.co_names), set()
    inner = [names_of(x) if isinstance(x, types.CodeType) else x for x in code.co_consts]
    if any(isinstance(x, Names) for x in inner):
        code = code.replace(co_consts=tuple([x.code if isinstance(x, Names) else x for x in inner]))
    if not _BINDS.isdisjoint(code.co_code[::2]):
        bound |= {i.argval for i in dis.get_instructions(code) if i.opcode in _BINDS}
    for x in inner:
        if isinstance(x, Names):
            used |= x.used
            bound |= x.bound
    return Names(_with_called_names(code), frozenset(used), frozenset(bound))


def _with_called_names(code: types.CodeType) -> types.CodeType:
    """``float`` in ``float(x)``, and ``np`` in ``np.float64(x)``, become ``float()`` and ``np()``.

    A type may be called or serve as a type, ``dtype=float``. Since Python 3.11 the instruction that loads a global or
    an attribute tells, in its lowest bit, whether a call follows.
    """
    if _TYPE_NAMES.isdisjoint(code.co_names):
        return code
    names, bytecode = list(code.co_names), bytearray(code.co_code)
    instructions = list(dis.get_instructions(code))
    for load, after, last in zip(instructions, instructions[1:], instructions[2:], strict=False):
        if load.opname != "LOAD_GLOBAL" or load.arg is None:
            continue
        is_called = bool(load.arg & 1) and load.argval in _TYPE_NAMES
        if not is_called and after.argval in _TYPE_NAMES and last.opname not in _ATTRIBUTES:
            is_flagged = sys.version_info >= (3, 12) and bool((after.arg or 0) & 1)
            is_method = after.opname == "LOAD_METHOD" or is_flagged
            is_called = after.opname in _ATTRIBUTES and (is_method or bool(load.arg & 1) or last.opname == "PUSH_NULL")
        if is_called:
            name = called_name(load.argval)
            if name not in names:
                names.append(name)
            arg = names.index(name) << 1 | load.arg & 1
            if max(arg, load.arg) < 256:  # else the instruction would grow: the name stays, and so does the type
                bytecode[load.offset + 1] = arg
    return code.replace(co_names=tuple(names), co_code=bytes(bytecode))


def called_name(name: str) -> str:
    """The name under which a copy finds a type that it calls."""
    return name + "()"


_TYPE_NAMES = frozenset(["float", "int", "type", *NAMES_CALLED])
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_BINDS = frozenset([dis.opmap["STORE_GLOBAL"], dis.opmap["DELETE_GLOBAL"]])


# ---- the copies of one trace


class Copies:
    """Copies of the user's functions, modules, classes and objects, as one trace meets them."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Any]] = {}  # by identity; the original is kept, so that its id is not reused
        self._globals: dict[int, _Globals] = {}
        self._pending: list[Callable[[], None]] = []
        self._is_working = False
        self._containers: list[tuple[Any, Any, Any]] = []  # the original, the copy, and what was in the copy
        self._objects: list[tuple[Any, Any]] = []
        self.instances: list[Any] = []  # that the function made of copies of classes
        self._cells: list[tuple[types.CellType, types.CellType, Any]] = []
        self._builtins: dict[str, Any] | None = None

    def of(self, value: Any) -> Any:
        """What a copy finds in place of `value`: a stand-in, a copy, or the value itself."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        known = self._known.get(id(value))
        if known is not None:
            return known[1]
        made = self._made(kind, value)
        if made is not value:
            self._known[id(value)] = (value, made)
        if not self._is_working:
            self._work()
        return made

    def _work(self) -> None:
        """Fill in what the copies refer to; one after another, as functions refer to each other in circles."""
        self._is_working = True
        try:
            while self._pending:
                self._pending.pop()()
        finally:
            self._is_working = False

    def _made(self, kind: type, value: Any) -> Any:
        if kind is np.ndarray:
            return filled(value, is_foreign=True)
        if kind is types.FunctionType:
            replaced = stand_in(value)
            home = value.__globals__.get("__name__")
            is_users = _is_users(home) or f"{home}.{value.__qualname__}" in SCIPYS_ALONE
            return self._function(value) if is_users and replaced is value else replaced
        if kind is types.MethodType:
            function, owner = self.of(value.__func__), self.of(value.__self__)
            is_same = function is value.__func__ and owner is value.__self__
            return value if is_same else types.MethodType(function, owner)
        if kind in _CONTAINERS:
            return self._container(kind, value)
        if kind is functools.partial:
            function, args = self.of(value.func), [self.of(x) for x in value.args]
            return functools.partial(function, *args, **{key: self.of(x) for key, x in value.keywords.items()})
        if kind is types.ModuleType:
            replaced = stand_in(value)
            is_users = _is_users(value.__name__) or value.__name__.partition(".")[0] == "scipy"
            return _UserModule(value, self) if replaced is value and is_users else replaced
        if kind is _CACHED and hasattr(value, "__wrapped__"):  # traced values are no keys
            return self.of(value.__wrapped__)
        if kind is np.vectorize:
            return stand_in(np.vectorize)(self.of(value.pyfunc))
        if isinstance(value, type):
            return self._class(value) if _is_users(value.__module__) else PASSED.get(value, value)
        if callable(value) or isinstance(value, types.ModuleType):
            replaced = stand_in(value)
            if replaced is not value:
                return replaced
        return self._object(kind, value) if _is_users(getattr(kind, "__module__", None)) else value

    def _container(self, kind: type, value: Any) -> Any:
        """A list, tuple or dict as it is, unless it holds what has a copy or a stand-in."""
        if len(value) > MOST_SCANNED or all(type(x) in _PLAIN for x in _items(value)):
            return value
        if kind is tuple:
            items = [self.of(x) for x in value]
            return value if _are_same(items, value) else tuple(items)
        made: Any = [] if kind is list else {}
        self._known[id(value)] = (value, made)  # it may contain itself
        items = [self.of(x) for x in _items(value)]
        if _are_same(items, _items(value)):
            self._known[id(value)] = (value, value)
            return value
        made.extend(items) if kind is list else made.update(zip(value, items, strict=True))
        self._containers.append((value, made, made.copy()))
        return made

    # -- functions

    def _function(self, fun: types.FunctionType) -> types.FunctionType:
        if MARK in fun.__globals__:  # a copy, or made by one
            return fun
        names = names_of(fun.__code__)
        module = self._globals_of(fun.__globals__)
        cells = tuple(map(_own_cell, fun.__closure__)) if fun.__closure__ else None
        copy = types.FunctionType(names.code, module.copy, fun.__name__, fun.__defaults__, cells)
        copy.__kwdefaults__ = fun.__kwdefaults__
        copy.__qualname__, copy.__module__, copy.__doc__ = fun.__qualname__, fun.__module__, fun.__doc__
        copy.__dict__.update(fun.__dict__)
        self._pending.append(lambda: self._fill_in(copy, fun, module, names))
        return copy

    def _fill_in(self, copy: types.FunctionType, fun: types.FunctionType, module: _Globals, names: Names) -> None:
        module.replace(names, self)
        for name, own, cell in zip(
            fun.__code__.co_freevars, copy.__closure__ or (), fun.__closure__ or (), strict=True
        ):
            if own is not cell:
                content = self.of(cell.cell_contents)
                if name == "__class__" and _is_root(content):  # what `super()` goes on from: the original comes last
                    content = cell.cell_contents
                own.cell_contents = content
                self._cells.append((cell, own, content))
        if fun.__defaults__:
            copy.__defaults__ = tuple([self.of(x) for x in fun.__defaults__])
        if fun.__kwdefaults__:
            copy.__kwdefaults__ = {key: self.of(x) for key, x in fun.__kwdefaults__.items()}

    def _globals_of(self, original: dict[str, Any]) -> _Globals:
        found = self._globals.get(id(original))
        if found is None:
            found = self._globals[id(original)] = _Globals(original, self._own_builtins(original))
        return found

    def _own_builtins(self, original: dict[str, Any]) -> dict[str, Any]:
        theirs = original.get("__builtins__", builtins)
        theirs = vars(theirs) if isinstance(theirs, types.ModuleType) else theirs
        if self._builtins is None or theirs is not vars(builtins):
            own = {**theirs, "__import__": self._import}
            own.update({name: function for name, function in BUILTINS.items() if own.get(name) is vars(builtins)[name]})
            own.update({called_name(kind.__name__): CALLED[kind] for kind in (float, int, type)})
            if theirs is not vars(builtins):
                return own
            self._builtins = own
        return self._builtins

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        return self.of(__import__(name, globals, locals, fromlist, level))

    def module_value(self, module: types.ModuleType, name: str) -> Any:
        """An attribute of a user's module, as copies of its functions left it."""
        own = self._globals.get(id(vars(module)))
        if own is not None and name in own.bound:
            return self.of(own.copy[name])
        return self.of(getattr(module, name))

    def set_module_value(self, module: types.ModuleType, name: str, value: Any) -> None:
        """Assign to an attribute of a user's module, for copies of its functions too."""
        setattr(module, name, value)
        own = self._globals.get(id(vars(module)))
        if own is not None:
            own.copy[name] = value

    def write_back(self) -> None:
        """What the copies assigned to globals and enclosing variables, in lists and dicts, reaches the user's."""
        originals = {id(made): value for value, made in self._known.values()}

        def restored(value: Any) -> Any:
            """What the user's own code would have kept."""
            value = originals.get(id(value), value)
            if type(value) is FilledArray and not has_traced(lowered(value)):
                return raw_of(value)
            return value

        for made in self.instances:
            with contextlib.suppress(TypeError):  # of another layout
                made.__class__ = vars(type(made))[SHADOW]
        for module in self._globals.values():
            module.write_back(restored)
        for cell, own, content in self._cells:
            if own.cell_contents is not content:
                cell.cell_contents = restored(own.cell_contents)
        for value, made, before in self._containers:
            if len(made) == len(before) and _are_same(_items(made), _items(before)):
                continue
            items = [restored(x) for x in _items(made)]
            if type(value) is list:
                value[:] = items
            else:
                value.clear()
                value.update(zip(made, items, strict=True))
        for value, made in self._objects:
            for name, x in list(getattr(value, "__dict__", {}).items()):
                if (own := restored(x)) is not x:
                    value.__dict__[name] = own
            for name, slot in _slots(type(value)):
                if hasattr(made, name):
                    slot.__set__(value, restored(slot.__get__(made)))

    # -- classes and objects

    def _object(self, kind: type, value: Any) -> Any:
        """An object with the same attributes, of a class whose methods are copies."""
        shadow = self.of(kind)
        if shadow is kind:
            return value
        if id(value) in self._known:  # made meanwhile: a function of the class refers to it
            return self._known[id(value)][1]
        try:
            made = object.__new__(shadow)
        except TypeError:  # built on a class in C, whose state cannot be shared
            return value
        if hasattr(value, "__dict__"):
            object.__setattr__(made, "__dict__", value.__dict__)
        for name, slot in _slots(kind):
            if hasattr(value, name):
                slot.__set__(made, slot.__get__(value))
        self._objects.append((value, made))
        return made

    def _class(self, kind: type) -> type:
        """A subclass whose methods are copies; its bases first, so that `super()` finds copies too."""
        mro = kind.__mro__
        if SHADOW in vars(kind) or not all(base is object or base.__flags__ & _IN_PYTHON for base in mro):
            return kind
        if any(not _is_simple(type(base)) for base in mro):
            return kind
        functions = {name: x for name, x in vars(kind).items() if isinstance(x, _OF_CLASSES)}
        bases = [self.of(base) for base in kind.__bases__ if base is not object]
        bases = [base for base in bases if SHADOW in vars(base)]
        if id(kind) in self._known:  # made meanwhile: a function of a base refers to it
            return self._known[id(kind)][1]
        body: dict[str, Any] = {
            SHADOW: kind, MARK: self, "__slots__": (), "__doc__": kind.__doc__,
            "__module__": kind.__module__, "__qualname__": kind.__qualname__,
        }  # fmt: skip
        is_quiet = bases or getattr(kind.__init_subclass__, "__func__", None) is None
        parents = (*bases, kind) if is_quiet else (_Quiet, kind)  # registers of subclasses do not hear of copies
        try:
            made: Any = type.__new__(_meta(type(kind)), kind.__name__, parents, body)
        except TypeError:
            return kind
        if not bases:

            def find(value: Any, name: str) -> Any:
                found = super(made, value).__getattribute__(name)
                return found if name.startswith("__") else self.of(found)

            type.__setattr__(made, "__getattribute__", find)
            type.__setattr__(made, "__init_subclass__", vars(_Quiet)["__init_subclass__"])
        self._known[id(kind)] = (kind, made)
        for name, x in functions.items():
            if name not in ("__new__", "__init_subclass__", "__class_getitem__"):
                type.__setattr__(made, name, self._of_class(x))
        return made

    def _of_class(self, x: Any) -> Any:
        if isinstance(x, (staticmethod, classmethod)):
            return type(x)(self.of(x.__func__))
        if isinstance(x, property):
            get, set_, delete = [f and self.of(f) for f in (x.fget, x.fset, x.fdel)]
            return property(get, set_, delete, x.__doc__)
        if isinstance(x, functools.cached_property):
            return property(self.of(x.func))
        return self.of(x)


class _Globals:
    """The globals of a user's module as copies of its functions see them."""

    def __init__(self, original: dict[str, Any], own_builtins: dict[str, Any]) -> None:
        self.original = original
        self.copy = {**original, "__builtins__": own_builtins, MARK: True}
        self.bound: set[str] = set()
        self._seen: set[str] = set()
        self._before: dict[str, Any] = {}

    def replace(self, names: Names, copies: Copies) -> None:
        """Put what the copies are to find under some names."""
        for name in names.used - self._seen:
            self._seen.add(name)
            value = self.copy.get(name, _MISSING)
            if value is _MISSING:
                continue
            if isinstance(value, type) and value in CALLED:
                self.copy[called_name(name)] = CALLED[value]
            self.copy[name] = made = copies.of(value)
            if value is np:
                self.copy[called_name(name)] = NUMPY_CALLED
            elif called_name(name) in names.code.co_names or name in _TYPE_NAMES:
                self.copy.setdefault(called_name(name), made)
        for name in names.bound - self.bound:
            self.bound.add(name)
            self._before[name] = self.copy.get(name, _MISSING)

    def write_back(self, restored: Callable[[Any], Any]) -> None:
        """Assign what the copies assigned."""
        for name, before in self._before.items():
            value = self.copy.get(name, _MISSING)
            if value is before:
                continue
            if value is _MISSING:
                self.original.pop(name, None)
            else:
                self.original[name] = restored(value)


class _UserModule(types.ModuleType):
    """A module of the user's, whose functions are copied as they are asked for."""

    def __init__(self, module: types.ModuleType, copies: Copies) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self).update({MARK: (module, copies)})

    def __getattr__(self, name: str) -> Any:
        module, copies = vars(self)[MARK]
        return copies.module_value(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        module, copies = vars(self)[MARK]
        copies.set_module_value(module, name, value)

    def __dir__(self) -> list[str]:
        return dir(vars(self)[MARK][0])


def _is_root(kind: type) -> bool:
    """Whether none of the bases of a copied class is a copy."""
    return SHADOW in vars(kind) and not any(SHADOW in vars(base) for base in kind.__bases__)


def _own_cell(cell: types.CellType) -> types.CellType:
    """A closure cell for a copy: the original where its content stays as it is."""
    try:
        content = cell.cell_contents
    except ValueError:  # empty as yet
        return cell
    return cell if type(content) in _PLAIN else types.CellType(content)


_MISSING = object()
_CACHED = type(functools.lru_cache(lambda: None))
_PLAIN = frozenset([int, float, str, bool, bytes, type(None), complex, Traced, set])
_CONTAINERS = frozenset([list, tuple, dict])
_OF_CLASSES = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
_IN_PYTHON = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def _is_users(module: Any) -> bool:
    """Whether a module, by its name, belongs to the user: not to Python, NumPy, SciPy's C or fastgrad."""
    if not isinstance(module, str) or module.startswith(SCIPYS):
        return True
    return module.partition(".")[0] not in NOT_SUBSTITUTED


def _slots(kind: type) -> list[tuple[str, Any]]:
    return [
        (name, slot)
        for base in kind.__mro__
        for name, slot in vars(base).items()
        if isinstance(slot, types.MemberDescriptorType)
    ]


def _items(value: Any) -> Any:
    return value.values() if type(value) is dict else value


def _are_same(a: Any, b: Any) -> bool:
    return all(map(operator.is_, a, b))


def _is_simple(meta: type) -> bool:
    return meta is type or meta.__module__ == "abc" or hasattr(meta, MARK)


class _Quiet:
    __slots__ = ()

    def __init_subclass__(cls) -> None:
        pass


@functools.lru_cache(maxsize=64)
def _meta(meta: type) -> Any:
    """The metaclass of copies: objects of the original count as theirs."""

    def made_instance(cls: Any, *args: Any, **options: Any) -> Any:
        made = meta.__call__(cls, *args, **options)
        if SHADOW in vars(type(made)):
            vars(cls)[MARK].instances.append(made)
        return made

    def is_subclass(cls: Any, kind: Any) -> bool:
        question = (threading.get_ident(), cls)
        if question in asked:  # an abstract base asks its subclasses, the copy among them
            return False
        asked.add(question)
        try:
            return issubclass(kind, vars(cls)[SHADOW])
        finally:
            asked.discard(question)

    asked: set[Any] = set()
    return type(meta)(
        meta.__name__, (meta,), {
            MARK: True,
            "__call__": made_instance,
            "__instancecheck__": lambda cls, value: isinstance(value, vars(cls)[SHADOW]),
            "__subclasscheck__": is_subclass,
            "__eq__": lambda cls, other: other is cls or other is vars(cls)[SHADOW],
            "__hash__": lambda cls: hash(vars(cls)[SHADOW]),
        },
    )  # fmt: skip
