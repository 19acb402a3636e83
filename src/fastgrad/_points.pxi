# Part of _core: what differences of the caller's functions need of C: points.c and colour.c.

from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetName, PyCapsule_GetPointer


def read_capsule(capsule):
    """Address, name and context of a capsule that holds a function: (int, str, int)."""
    cdef const char *name = PyCapsule_GetName(capsule)
    cdef void *address = PyCapsule_GetPointer(capsule, name)
    return <size_t>address, name.decode() if name != NULL else "", <size_t>PyCapsule_GetContext(capsule)


def run_points(size_t address, bint takes_data, size_t data, np.ndarray points not None, np.ndarray values not None,
               int most_workers, report=None):
    """Fill `values` with a C function of each row of `points`, which it may overwrite, without the GIL.

    `address` must be that of ``double f(int, double *, void *)``, or without the last when not `takes_data`: nothing
    can check it here.
    """
    cdef fg_function function
    cdef _Watch watch = _Watch()
    cdef fg_error error
    cdef fg_status status
    if points.ndim != 2 or address == 0:
        raise ValueError("points must have 2 dimensions, and the function an address")
    cdef int64_t n_points = points.shape[0], n = points.shape[1]
    _check_array(points, _FLOAT64, n_points * n, True)
    _check_array(values, _FLOAT64, n_points, True)
    function.with_data, function.without_data, function.data = NULL, NULL, <void *>data
    if takes_data:
        function.with_data = <double (*)(int, double *, void *) noexcept nogil>address
    else:
        function.without_data = <double (*)(int, double *) noexcept nogil>address
    cdef double *at = <double *>np.PyArray_DATA(points)
    cdef double *to = <double *>np.PyArray_DATA(values)
    watch.report = report
    with nogil:
        status = fg_points(&function, n_points, n, at, to, most_workers, _poll, <void *>watch, &error)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)


cdef int _pattern(fg_pattern *pattern, np.ndarray start, np.ndarray column, int64_t n_columns) except -1:
    if start is None or column is None or start.size < 1:
        raise ValueError("a pattern is two arrays, where its rows start and their columns")
    pattern.n_rows, pattern.n_columns, pattern.n_entries = start.size - 1, n_columns, column.size
    _check_array(start, _INT64, start.size, False)
    _check_array(column, _INT64, column.size, False)
    pattern.start = <const int64_t *>np.PyArray_DATA(start)
    pattern.column = <const int64_t *>np.PyArray_DATA(column)
    return 0


cdef int _both(fg_pattern *rows, fg_pattern *columns, start, column, transposed, int64_t n) except -1:
    """A pattern of n columns and the transposed one."""
    _pattern(rows, start, column, n)
    _pattern(columns, transposed[0], transposed[1], rows.n_rows)
    if columns.n_rows != n:
        raise ValueError(f"the transposed pattern has {columns.n_rows} rows, not {n}")
    return 0


def order_by_breadth(np.ndarray start not None, np.ndarray column not None, np.ndarray starts not None,
                     tuple transposed not None):
    """The columns of a pattern, breadth first: those that share rows are near each other. See `group_columns`."""
    cdef fg_pattern rows, columns
    cdef int64_t n = starts.size
    cdef np.ndarray order = np.empty(n, np.int64)
    cdef fg_error error
    cdef fg_status status
    _check_array(starts, _INT64, n, False)
    _both(&rows, &columns, start, column, transposed, n)
    cdef np.ndarray scratch = np.empty(n + rows.n_rows, np.int64)
    cdef const int64_t *by = <const int64_t *>np.PyArray_DATA(starts)
    cdef int64_t *to = <int64_t *>np.PyArray_DATA(order)
    cdef int64_t *work = <int64_t *>np.PyArray_DATA(scratch)
    with nogil:
        status = fg_order_by_breadth(&rows, &columns, by, to, work, &error)
    if status:
        _raise(status, &error)
    return order


def group_columns(np.ndarray start not None, np.ndarray column not None, np.ndarray order not None,
                  tuple transposed=None):
    """Groups of the columns of a sparse pattern, by greedy colouring in the given order.

    Parameters
    ----------
    start, column : ndarray of int64
        The pattern by rows, as in a CSR matrix.
    order : (n,) ndarray of int64
        Each column once.
    transposed : tuple of the same two arrays, optional
        The transposed pattern: columns of a group share no row. Without it the pattern is symmetric, and its groups
        those of a star colouring.

    Returns
    -------
    (n,) ndarray of int64
        The number of each column's group.
    """
    cdef fg_pattern rows, columns
    cdef int64_t n = order.size
    cdef np.ndarray group = np.empty(n, np.int64)
    cdef np.ndarray scratch = np.empty(2 * n, np.int64)
    cdef _Watch watch = _Watch()
    cdef fg_error error
    cdef fg_status status
    cdef bint is_symmetric = transposed is None
    _check_array(order, _INT64, n, False)
    if is_symmetric:
        _pattern(&rows, start, column, n)
    else:
        _both(&rows, &columns, start, column, transposed, n)
    cdef const int64_t *by = <const int64_t *>np.PyArray_DATA(order)
    cdef int64_t *to = <int64_t *>np.PyArray_DATA(group)
    cdef int64_t *work = <int64_t *>np.PyArray_DATA(scratch)
    with nogil:
        if is_symmetric:
            status = fg_group_symmetric(&rows, by, to, work, _poll, <void *>watch, &error)
        else:
            status = fg_group_columns(&rows, &columns, by, to, work, _poll, <void *>watch, &error)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)
    return group
