"""Functions that trace, run for many points at once: their programs, remembered by the code of the function.

Differences are asked for again and again for one function, or for lambdas made anew from one piece of code. Both share
a program as long as all that the code refers to is the same: closures, defaults and globals are compared by identity.
What changes inside of these objects is not seen here; whoever uses a program compares one value with a plain call.
"""

from __future__ import annotations

import contextlib
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from .. import _core
from ..transform import Transform, unchanged

MOST_FUNCTIONS = 128  # remembered
_MOST_CHANGES = 3  # of what a function refers to, before it is left alone
_ABSENT = object()
_BY_VALUE = (bool, int, float, complex, str, bytes, type(None))

_known: dict[int, _Code] = {}
_lock = threading.Lock()


class Lanes(Transform):
    """`vmap` of a function that it does not keep alive."""

    def __init__(self, fun: Callable[..., Any], n_args: int) -> None:
        super().__init__(fun, "finite", unchanged, (), (0, *[None] * n_args))
        self.__dict__.pop("__wrapped__", None)

    @property
    def fun(self) -> Any:
        return self._fun()

    @fun.setter
    def fun(self, fun: Any) -> None:
        self._fun = weakref.WeakMethod(fun) if isinstance(fun, types.MethodType) else weakref.ref(fun)


class _Code:
    """What is known of the functions that are made of one piece of code."""

    def __init__(self, code: types.CodeType) -> None:
        self.code = weakref.ref(code)
        self.names = sorted(set(_names(code)))
        self.held: list[Callable[[], Any]] | None = None
        self.changes = -1
        self.lanes: dict[int, Lanes] = {}  # by the number of further arguments
        self.is_refused = False

    def serves(self, fun: Any) -> bool:
        """Whether its programs mean `fun`; if not, what is remembered from now on is about `fun`."""
        referred = _referred(fun, self.names)
        if self.held is not None and _core.same_objects(self.held, referred):
            return True
        if self.changes >= _MOST_CHANGES:
            self.is_refused = True
            return False
        self.changes += 1
        self.held = [_holder(value) for value in referred]
        self.lanes = {}
        self.is_refused = False
        return True


def lanes_of(fun: Any, n_args: int) -> Lanes | None:
    """`fun(x, *args)` for points in rows and `n_args` shared arguments, or None where it is not to be traced."""
    function = fun
    if type(fun) is not types.FunctionType:
        function = fun.__func__ if type(fun) is types.MethodType else type(fun).__call__
        if type(function) is not types.FunctionType:
            return None
    code = function.__code__
    with _lock:  # another thread may ask for a function of the same code that refers to other objects
        known = _known.get(id(code))
        if known is None or known.code() is not code:
            if len(_known) >= MOST_FUNCTIONS:
                _known.pop(next(iter(_known)))
            known = _known[id(code)] = _Code(code)
        if not known.serves(fun) or known.is_refused:
            return None
        lanes = known.lanes.get(n_args)
        try:
            if lanes is None:
                lanes = known.lanes[n_args] = Lanes(fun, n_args)
            elif lanes.fun is not fun:
                lanes.fun = fun
        except TypeError:  # an object without weak references
            known.is_refused = True
            return None
        return lanes


def refuse(fun: Any) -> None:
    """Do not trace this function again, as long as it refers to the same objects."""
    function = fun if type(fun) is types.FunctionType else getattr(fun, "__func__", type(fun).__call__)
    known = _known.get(id(function.__code__))
    if known is not None:
        known.is_refused = True
        known.lanes = {}


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _referred(fun: Any, names: list[str]) -> list[Any]:
    """The objects that the code of a function reaches by name."""
    referred = []
    function = fun
    if type(fun) is not types.FunctionType:
        function = fun.__func__ if type(fun) is types.MethodType else type(fun).__call__
        referred.append(fun.__self__ if type(fun) is types.MethodType else fun)
    if function.__closure__:
        for cell in function.__closure__:
            try:
                referred.append(cell.cell_contents)
            except ValueError:  # not assigned yet
                referred.append(_ABSENT)
    if function.__defaults__:
        referred.extend(function.__defaults__)
    if function.__kwdefaults__:
        referred.extend(function.__kwdefaults__.values())
    of = function.__globals__.get
    for name in names:
        referred.append(of(name, _ABSENT))
    return referred


def _holder(value: Any) -> Callable[[], Any]:
    """A function that gives the object back as long as it lives."""
    if not isinstance(value, _BY_VALUE):
        with contextlib.suppress(TypeError):  # lists and tuples have no weak references
            return weakref.ref(value)
    return lambda: value
