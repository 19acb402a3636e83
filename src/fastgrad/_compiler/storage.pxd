# The types with which storage.py is compiled; what each of them means is said there.

cimport cython


cdef class Storage:
    cdef readonly Py_ssize_t role, size
    cdef readonly str dtype
    cdef readonly bint is_lane
    cdef readonly object data
    cdef public object blank
    cdef Py_ssize_t position, number, last


cdef class View:
    cdef readonly Storage storage
    cdef readonly Py_ssize_t offset
    cdef readonly tuple shape, strides


cdef class Code:
    cdef cython.longlong[::1] words
    cdef Py_ssize_t n_words, n_instructions

    cdef reserve(self, Py_ssize_t n)
    cpdef taken(self)
    @cython.locals(words=cython.longlong[::1], at=Py_ssize_t, step=Py_ssize_t)
    cpdef list ops(self)


@cython.locals(first=Py_ssize_t)
cdef Py_ssize_t _operands_at(cython.longlong[::1] words, Py_ssize_t at) except -1

@cython.locals(op=Py_ssize_t, n=Py_ssize_t)
cdef Py_ssize_t _n_operands(cython.longlong[::1] words, Py_ssize_t at) except -1


cdef class Tape:
    cdef readonly Code uniform, lane, across
    cdef readonly list storages

    cdef _add(self, Storage storage)

    @cython.locals(
        code=Code, words=cython.longlong[::1], at=Py_ssize_t, now=Py_ssize_t, end=Py_ssize_t, n=cython.longlong, n_dims=Py_ssize_t,
        is_lane=bint, result=Storage, view=View, storage=Storage, i=Py_ssize_t)
    cpdef append(self, str op, tuple shape, tuple operands, tuple strides, Storage body=*, Py_ssize_t every=*)

    @cython.locals(storage=Storage, buffers=cython.longlong[:, ::1], number=Py_ssize_t)
    cpdef program(self, Py_ssize_t n_inputs, Py_ssize_t n_outputs)


cdef class Arena:
    cdef Py_ssize_t alignment, end
    cdef list free


@cython.locals(
    words=cython.longlong[::1], at=Py_ssize_t, i=Py_ssize_t, op=Py_ssize_t, step=Py_ssize_t, n_operands=Py_ssize_t,
    first=Py_ssize_t, k=Py_ssize_t, dying=list, storage=Storage, result=Storage, heir=Storage)
cpdef allocate(Code code, list storages, Arena arena)

cdef Py_ssize_t _n_bytes(Storage storage) except -1

@cython.locals(storage=Storage, k=Py_ssize_t, n=Py_ssize_t, same=bint)
cdef Storage _heir(Storage result, list dying, cython.longlong[::1] words, Py_ssize_t first, Py_ssize_t end, Py_ssize_t step)
