"""Part of _core: memory of large results.

The system clears every page that it hands out, so what is freed of large results serves the next ones (alloc.c). NumPy
takes memory from elsewhere by a handler, and such an array is like any other.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memcpy, memset

cdef extern from "numpy/arrayobject.h":
    object PyDataMem_SetHandler(object handler)
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *ctx, size_t bytes) noexcept
        void *(*calloc)(void *ctx, size_t count, size_t size) noexcept
        void *(*realloc)(void *ctx, void *block, size_t bytes) noexcept
        void (*free)(void *ctx, void *block, size_t bytes) noexcept
    ctypedef struct PyDataMem_Handler:
        char name[127]
        unsigned char version
        PyDataMemAllocator allocator


def kept_memory():
    """Bytes of freed results that are kept for the next ones."""
    return fg_kept_bytes()


def release_memory():
    """Give the memory of freed results back to the system; how many bytes that was."""
    return fg_release_memory()


cdef enum:
    LARGE = 4 << 20  # bytes; below, the C library keeps what is freed, and a few page faults do not show


cdef void *_take(void *context, size_t bytes) noexcept:
    return fg_result_alloc(bytes)


cdef void *_take_zeroed(void *context, size_t count, size_t size) noexcept:
    cdef void *block = NULL
    if size == 0 or count <= <size_t>-1 // size:
        block = fg_result_alloc(count * size)
    if block != NULL:
        memset(block, 0, count * size)
    return block


cdef void *_take_again(void *context, void *block, size_t bytes) noexcept:
    cdef void *other = fg_result_alloc(bytes)
    if other != NULL and block != NULL:
        memcpy(other, block, min(bytes, fg_result_bytes(block)))
        fg_result_free(block)
    return other


cdef void _give(void *context, void *block, size_t bytes) noexcept:
    fg_result_free(block)


cdef PyDataMem_Handler _handler
memcpy(_handler.name, b"fastgrad", 9)
_handler.version = 1
_handler.allocator = PyDataMemAllocator(NULL, _take, _take_zeroed, _take_again, _give)
cdef object _RESULTS = PyCapsule_New(&_handler, "mem_handler", NULL)


cdef object _empty(int ndim, np.npy_intp *dims, int type_num):
    """An array for a result, not filled."""
    cdef double bytes = 4 if type_num == np.NPY_FLOAT else 8
    cdef int i
    for i in range(ndim):
        bytes *= dims[i]
    if bytes < LARGE:
        return np.PyArray_SimpleNew(ndim, dims, type_num)
    before = PyDataMem_SetHandler(_RESULTS)
    try:
        return np.PyArray_SimpleNew(ndim, dims, type_num)
    finally:
        PyDataMem_SetHandler(before)


def empty(tuple shape, np.dtype dtype):
    """`numpy.empty` of float64 or float32, in memory for results."""
    cdef np.npy_intp dims[64]
    cdef int i
    for i in range(len(shape)):
        dims[i] = shape[i]
    return _empty(len(shape), dims, dtype.type_num)
