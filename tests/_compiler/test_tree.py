from collections import OrderedDict, namedtuple

import pytest

from fastgrad._compiler.tree import LEAF, flatten, map_leaves, paths, unflatten

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "value",
    [
        1,
        [1, 2],
        (1, (2, [3])),
        {"b": 1, "a": (2, 3)},
        Point(1, [2, 3]),
        [],
        {},
        (),
        None,
        [{"w": Point(1, 2)}, 3],
    ],
)
def test_unflatten_undoes_flatten(value):
    leaves, structure = flatten(value)
    again = unflatten(structure, leaves)
    assert again == value
    assert type(again) is type(value)
    assert hash(structure) == hash(flatten(value)[1])


def test_leaves_come_in_the_order_of_sorted_keys():
    assert flatten({"b": 1, "a": 2})[0] == [2, 1]
    assert flatten({"b": 1, "a": 2})[1] == flatten(OrderedDict(a=5, b=6))[1]
    assert flatten({2: 1, "a": 2})[0] == flatten({"a": 2, 2: 1})[0]


def test_structures_tell_kinds_apart():
    assert flatten([1])[1] != flatten((1,))[1]
    assert flatten(Point(1, 2))[1] != flatten((1, 2))[1]
    assert flatten(3)[1] == LEAF


def test_a_wrong_number_of_leaves_is_refused():
    with pytest.raises(ValueError, match="expected 2 leaves, got 3"):
        unflatten(flatten([1, 2])[1], [1, 2, 3])


def test_map_leaves_keeps_structure():
    assert map_leaves(lambda a, b: a + b, {"a": [1, 2]}, {"a": [10, 20]}) == {"a": [11, 22]}
    with pytest.raises(ValueError, match="differ in structure"):
        map_leaves(lambda a, b: a, [1], (1,))


def test_paths_name_each_leaf():
    assert paths(flatten({"w": [1, Point(2, 3)]})[1]) == ["['w'][0]", "['w'][1].x", "['w'][1].y"]
