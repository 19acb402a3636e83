"""Tables of weights: what they sum, written out for each point."""

import numpy as np
import pytest

from fastgrad import stencils
from fastgrad._grid.tables import central, neighbours, uneven, uneven_circle


@pytest.mark.parametrize("derivative", range(1, 7))
@pytest.mark.parametrize("accuracy", [2, 4, 6, 8])
def test_weights_of_a_uniform_axis_are_whole_numbers(derivative, accuracy):
    table = central(derivative, accuracy, accuracy)
    for block in (table.weights, table.head, table.tail):
        assert (block == np.rint(block)).all()
        assert np.abs(block).max() < 2**53
    assert table.weights.sum() == 0
    assert not table.head.sum(axis=1).any()


@pytest.mark.parametrize("derivative", range(1, 7))
@pytest.mark.parametrize("edge", [1, 2, 3, 4, 8])
def test_uneven_stencils_on_even_coordinates_are_the_even_ones_near_the_ends(derivative, edge):
    n = derivative + 20
    rows, wanted = uneven(np.arange(n), derivative, 6, edge), central(derivative, 6, edge).rows(n)
    dense, wanted_dense = np.zeros((n, n)), np.zeros((n, n))
    for table, matrix in ((rows, dense), (wanted, wanted_dense)):
        for i, first in enumerate(table.first):
            for k, weight in enumerate(table.weights[i]):
                if weight:
                    matrix[i, first + k] = weight
    n_near = stencils.central_reach(derivative, 6)
    np.testing.assert_allclose(dense[:n_near], wanted_dense[:n_near], atol=1e-10)
    np.testing.assert_allclose(dense[-n_near:], wanted_dense[-n_near:], atol=1e-10)


def test_so_few_points_that_all_are_near_an_end():
    rows = neighbours(3, 1, 1)
    assert rows.first.tolist() == [0, 0, 1]
    assert rows.weights.tolist() == [[-1, 1], [-1, 1], [-1, 1]]


def test_an_uneven_circle_goes_on_beyond_its_end():
    coords = np.array([0.0, 1, 2.5, 3, 4.5, 5, 7])
    rows = uneven_circle(coords, 1, 2)
    assert rows.first.tolist() == [-1, 0, 1, 2, 3, 4]
    np.testing.assert_allclose(rows.weights[0], stencils.weights([-2.0, 0, 1]))
    np.testing.assert_allclose(rows.weights[5], stencils.weights([-0.5, 0, 2]))
