"""Fixtures of all tests. Standing here, it also makes `helpers` importable everywhere below."""

import signal

import pytest
from helpers import kernels

import fastgrad as fg
from fastgrad import _core

# what runs in the background of a shell ignores Ctrl-C, and so would the processes that tests start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=_core.supported_isas())
def isa(request):
    """Each instruction set of this processor in turn; programs made in the test use its kernels."""
    with kernels(request.param):
        yield request.param


@pytest.fixture
def threads():
    """`fg.set_num_threads`, undone afterwards."""
    before = fg.get_num_threads()
    yield fg.set_num_threads
    fg.set_num_threads(before)
