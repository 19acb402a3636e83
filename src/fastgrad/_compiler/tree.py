"""Nested dicts, lists and tuples as a flat list of leaves plus a structure to put them back.

Arguments, parameters and results may be nested; everything below works on the flat lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class Structure(NamedTuple):
    """How leaves are nested: hashable, and equal for equal nesting."""

    kind: type | None  # dict, list, tuple or a namedtuple's class; None is one leaf
    keys: tuple[Any, ...]  # of a dict, sorted; else empty
    children: tuple[Structure, ...]
    n_leaves: int


LEAF = Structure(None, (), (), 1)


def structure_of(kind: type, children: Iterable[Structure], keys: Iterable[Any] = ()) -> Structure:
    """The structure of a `kind` with these children."""
    children = tuple(children)
    return Structure(kind, tuple(keys), children, sum(child.n_leaves for child in children))


def flatten(value: Any) -> tuple[list[Any], Structure]:
    """Leaves of `value` in order (dict keys sorted), and its structure. None is a leaf."""
    leaves: list[Any] = []
    return leaves, _flatten(value, leaves)


def _flatten(value: Any, leaves: list[Any]) -> Structure:
    if isinstance(value, dict):
        keys = _sorted_keys(value)
        return structure_of(dict, [_flatten(value[key], leaves) for key in keys], keys)
    if isinstance(value, (list, tuple)):
        kind = list if isinstance(value, list) else type(value) if hasattr(value, "_fields") else tuple
        return structure_of(kind, [_flatten(item, leaves) for item in value])
    leaves.append(value)
    return LEAF


def _sorted_keys(value: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:  # keys of several types: any order will do that does not depend on insertion
        return sorted(value, key=lambda key: (type(key).__name__, repr(key)))


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """The nested value with these leaves; raises ValueError when their number is wrong."""
    leaves = list(leaves)
    if len(leaves) != structure.n_leaves:
        raise ValueError(f"expected {structure.n_leaves} leaves, got {len(leaves)}")
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    kind = structure.kind
    if kind is None:
        return next(leaves)
    items = [_unflatten(child, leaves) for child in structure.children]
    if kind is dict:
        return dict(zip(structure.keys, items, strict=True))
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def nested(outer: Structure, inner: Structure) -> Structure:
    """`outer` with `inner` in place of each leaf."""
    if outer.kind is None:
        return inner
    return structure_of(outer.kind, [nested(child, inner) for child in outer.children], outer.keys)


def map_leaves(fun: Callable[..., Any], value: Any, *others: Any) -> Any:
    """`fun` applied leaf by leaf to values of one structure."""
    leaves, structure = flatten(value)
    columns = [leaves]
    for other in others:
        more, its_structure = flatten(other)
        if its_structure != structure:
            raise ValueError("the nested values differ in structure")
        columns.append(more)
    return unflatten(structure, [fun(*row) for row in zip(*columns, strict=True)])


def paths(structure: Structure, prefix: str = "") -> list[str]:
    """How each leaf is reached, such as `['w'][0]`: for messages."""
    if structure.kind is None:
        return [prefix]
    if hasattr(structure.kind, "_fields"):
        steps = [f".{name}" for name in structure.kind._fields]
    else:
        steps = [f"[{key!r}]" for key in structure.keys or range(len(structure.children))]
    return [path for step, child in zip(steps, structure.children, strict=True) for path in paths(child, prefix + step)]
