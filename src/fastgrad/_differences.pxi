# Part of _core: points and derivatives of differences whose values come from Python; extrapolate.c.

cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cython cimport floating
from libc.math cimport copysign, fabs, frexp, ldexp
from libc.string cimport memchr


cdef int _expect_floats(np.ndarray array) except -1:
    if array.ndim != 1 or not np.PyArray_ISCARRAY_RO(array) or not (
            np.PyArray_TYPE(array) == np.NPY_FLOAT64 or np.PyArray_TYPE(array) == np.NPY_FLOAT32):
        raise ValueError(f"expected contiguous numbers (n,), got shape {np.shape(array)} of {array.dtype}")
    return 0


cdef np.ndarray _new(int ndim, int64_t rows, int64_t columns, int type_num):
    cdef np.npy_intp dims[2]
    dims[0], dims[1] = rows, columns
    return np.PyArray_SimpleNew(ndim, dims, type_num)


cdef void _magnitudes(const floating *x, int64_t n, double *to) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        to[i] = fabs(x[i])


def all_floats(list values not None):
    """An array (k,) of these if all are Python floats or float64, else None."""
    cdef Py_ssize_t i
    cdef np.ndarray array = _new(1, len(values), 0, np.NPY_FLOAT64)
    cdef double *to = <double *>np.PyArray_DATA(array)
    for i in range(len(values)):
        value = values[i]
        if not PyFloat_Check(value):
            return None
        to[i] = PyFloat_AS_DOUBLE(value)
    return array


cdef bint _agree(const floating *a, const double *b, int64_t n, double rtol) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if a[i] != b[i] and not fabs(a[i] - b[i]) <= rtol * max(fabs(a[i]), fabs(b[i])) and (a[i] == a[i] or b[i] == b[i]):
            return False
    return True


def agree(np.ndarray a not None, np.ndarray b not None, double rtol):
    """Whether all numbers are the same but for a relative error; those of `a` may be float32."""
    _check_array(b, _FLOAT64, a.size, False)
    cdef const double *to = <const double *>np.PyArray_DATA(b)
    if np.PyArray_TYPE(a) == np.NPY_FLOAT64:
        _check_array(a, _FLOAT64, a.size, False)
        return _agree(<const double *>np.PyArray_DATA(a), to, a.size, rtol)
    _check_array(a, _FLOAT32, a.size, False)
    return _agree(<const float *>np.PyArray_DATA(a), to, a.size, rtol)


def same_objects(list holders not None, list values not None):
    """Whether the callables `holders` give back these very objects."""
    cdef Py_ssize_t i, n = len(values)
    if len(holders) != n:
        return False
    for i in range(n):
        if holders[i]() is not values[i]:
            return False
    return True


def plain_points(np.ndarray x not None, double relative, bint is_central):
    """Points for a first difference by each component, and how far apart the two of each are, (n,).

    Steps are `relative` times max(1, abs(x)): away from zero, (n, n); or to both sides, all below first, (2 n, n).
    """
    cdef int64_t i, n = x.size
    cdef double h, above, below
    _check_array(x, _FLOAT64, n, False)
    cdef np.ndarray points = _new(2, n * (2 if is_central else 1), n, np.NPY_FLOAT64)
    cdef np.ndarray span = _new(1, n, 0, np.NPY_FLOAT64)
    cdef const double *at = <const double *>np.PyArray_DATA(x)
    cdef double *to = <double *>np.PyArray_DATA(points)
    cdef double *apart = <double *>np.PyArray_DATA(span)
    for i in range(points.shape[0]):
        memcpy(to + i * n, at, n * sizeof(double))
    for i in range(n):
        h = max(1.0, fabs(at[i])) * relative
        below = at[i]
        if is_central:
            below -= h
            to[i * (n + 1)] = below
            above = at[i] + h
            to[n * n + i * (n + 1)] = above
        else:
            above = at[i] + copysign(h, at[i] + 0.0)
            to[i * (n + 1)] = above
        apart[i] = above - below
    return points, span


@cython.cdivision(True)
def plain_slopes(np.ndarray values not None, double at_x, np.ndarray span not None):
    """Derivatives (n,) from the values at the points of `plain_points`."""
    cdef int64_t i, n = span.size
    cdef bint is_central = values.size == 2 * n
    _check_array(values, _FLOAT64, 2 * n if is_central else n, False)
    _check_array(span, _FLOAT64, n, False)
    cdef np.ndarray slopes = _new(1, n, 0, np.NPY_FLOAT64)
    cdef const double *at = <const double *>np.PyArray_DATA(values)
    cdef const double *apart = <const double *>np.PyArray_DATA(span)
    cdef double *to = <double *>np.PyArray_DATA(slopes)
    for i in range(n):
        to[i] = (at[n + i] - at[i] if is_central else at[i] - at_x) / apart[i]
    return slopes


def magnitudes(np.ndarray x not None):
    """Absolute values (n,), in float64."""
    _expect_floats(x)
    cdef np.ndarray to = _new(1, x.size, 0, np.NPY_FLOAT64)
    if np.PyArray_TYPE(x) == np.NPY_FLOAT64:
        _magnitudes(<double *>np.PyArray_DATA(x), x.size, <double *>np.PyArray_DATA(to))
    else:
        _magnitudes(<float *>np.PyArray_DATA(x), x.size, <double *>np.PyArray_DATA(to))
    return to


def steps_within_binades(np.ndarray far not None, double relative):
    """The power of two that is at most max(1, far), times `relative`, (n,): so that far + step is seldom rounded."""
    cdef int64_t i, n = far.size
    cdef int exponent
    _check_array(far, _FLOAT64, n, False)
    cdef np.ndarray steps = _new(1, n, 0, np.NPY_FLOAT64)
    cdef const double *at = <const double *>np.PyArray_DATA(far)
    cdef double *to = <double *>np.PyArray_DATA(steps)
    for i in range(n):
        if at[i] > 1:
            frexp(at[i], &exponent)
            to[i] = ldexp(relative, exponent - 1)
        else:
            to[i] = relative
    return steps


cdef void _move(const floating *x, int64_t n, const int64_t *rows, int64_t n_rows, const double *nodes, int64_t n_nodes,
                int64_t stride, const double *step, bint centre, floating *to) noexcept nogil:
    cdef int64_t p, i, row
    if centre:
        memcpy(to, x, n * sizeof(floating))
        to += n
    for p in range(n_nodes):
        for i in range(n_rows):
            memcpy(to, x, n * sizeof(floating))
            row = i if rows == NULL else rows[i]
            to[row] = <floating>(<double>to[row] + nodes[p * stride + (i if stride > 1 else 0)] * step[i])
            to += n


def moved_points(np.ndarray x not None, np.ndarray rows, np.ndarray nodes not None, np.ndarray step not None,
                 bint centre):
    """Points each of which differs from x (n,) in one component.

    Component ``rows[i]``, or i, moves by ``nodes[p, i] * step[i]`` in point ``p * r + i``, or by
    ``nodes[p, 0] * step[i]`` where `nodes` has one column; with `centre` x itself is the first point of all.
    """
    _expect_floats(x)
    cdef int64_t i, n = x.size, n_rows = step.size
    if nodes.ndim != 2 or (nodes.shape[1] != 1 and nodes.shape[1] != n_rows):
        raise ValueError(f"nodes has shape {np.shape(nodes)} for {n_rows} steps")
    cdef int64_t n_nodes = nodes.shape[0]
    cdef const int64_t *which = NULL
    _check_array(nodes, _FLOAT64, nodes.size, False)
    _check_array(step, _FLOAT64, n_rows, False)
    if rows is not None:
        _check_array(rows, _INT64, n_rows, False)
        which = <const int64_t *>np.PyArray_DATA(rows)
        for i in range(n_rows):
            if which[i] < 0 or which[i] >= n:
                raise ValueError(f"there is no component {which[i]} of {n}")
    elif n_rows != n:
        raise ValueError(f"there are {n_rows} steps for {n} components")
    cdef np.ndarray points = _new(2, centre + n_nodes * n_rows, n, np.PyArray_TYPE(x))
    cdef const double *at = <const double *>np.PyArray_DATA(nodes)
    cdef const double *by = <const double *>np.PyArray_DATA(step)
    if np.PyArray_TYPE(x) == np.NPY_FLOAT64:
        _move(<const double *>np.PyArray_DATA(x), n, which, n_rows, at, n_nodes, nodes.shape[1], by, centre,
              <double *>np.PyArray_DATA(points))
    else:
        _move(<const float *>np.PyArray_DATA(x), n, which, n_rows, at, n_nodes, nodes.shape[1], by, centre,
              <float *>np.PyArray_DATA(points))
    return points


cdef int _extrapolant(fg_extrapolant *to, stencil, list kept) except -1:
    cdef np.ndarray weights = stencil.weights, noise = stencil.noise
    cdef np.ndarray within = stencil.within, beyond = stencil.beyond
    cdef int64_t n = within.size
    _check_array(weights, _FLOAT64, (n + 1) * n, False)
    _check_array(noise, _FLOAT64, n + 1, False)
    _check_array(within, _FLOAT64, n, False)
    _check_array(beyond, _FLOAT64, 2, False)
    kept.append(stencil)
    to.n_nodes = n
    to.weights = <const double *>np.PyArray_DATA(weights)
    to.noise = <const double *>np.PyArray_DATA(noise)
    to.within = <const double *>np.PyArray_DATA(within)
    to.beyond = <const double *>np.PyArray_DATA(beyond)
    return 0


cdef class Extrapolation:
    """Derivatives of m values by n rows, from values around, level by level. Not for several threads at once.

    Parameters
    ----------
    central, sided : Stencil
        With symmetric nodes and with nodes on one side, as `richardson.stencil` makes them.
    far : (n,) ndarray
        Absolute value of the number that each row moves, in the unit of its steps.
    derivative, order : int
        Which derivative, and with which power of the step the error falls.
    is_shared : bool
        Whether the rows are derivatives of one function, so that its values at x are (m,) instead of (n, m).
    room : (2, n) ndarray, optional
        How far the numbers may move down and up.
    """
    cdef fg_extrapolation extrapolation
    cdef fg_level last
    cdef fg_search search
    cdef np.ndarray room
    cdef list kept, of_level, of_search

    def __cinit__(self, central, sided, np.ndarray far not None, int derivative, int order, bint is_shared,
                  np.ndarray room=None):
        cdef fg_extrapolation *x = &self.extrapolation
        x.n, x.is_shared, x.derivative, x.order = far.size, is_shared, derivative, order
        self.kept = [far]
        self.room = room
        _extrapolant(&x.central, central, self.kept)
        _extrapolant(&x.sided, sided, self.kept)
        _check_array(far, _FLOAT64, x.n, False)
        x.far = <const double *>np.PyArray_DATA(far)
        if room is not None:
            _check_array(room, _FLOAT64, 2 * x.n, True)

    def start(self, np.ndarray value not None, np.ndarray noise=None):
        """Begin with the values where nothing has moved, and their standard deviation (m,), if it is known."""
        cdef fg_extrapolation *x = &self.extrapolation
        if x.value != NULL or value.ndim != (1 if x.is_shared else 2):
            raise ValueError(f"value has shape {np.shape(value)}, or is set already")
        x.n_columns = value.shape[value.ndim - 1]
        _check_array(value, _FLOAT64, x.n_columns if x.is_shared else x.n * x.n_columns, False)
        self.kept.append(value)
        if noise is not None:
            _check_array(noise, _FLOAT64, x.n_columns, False)
            self.kept.append(noise)
            x.noise = <const double *>np.PyArray_DATA(noise)
        if x.is_shared:
            x.slope = <double *>calloc(x.n + 1, (x.n_columns + 1) * sizeof(double))
            x.scale = <double *>calloc(x.n + 1, sizeof(double))
            x.column = <fg_column *>calloc(x.n_columns + 1, sizeof(fg_column))
            if x.slope == NULL or x.scale == NULL or x.column == NULL:
                raise MemoryError
        x.value = <const double *>np.PyArray_DATA(value)

    def __dealloc__(self):
        free(self.extrapolation.slope)
        free(self.extrapolation.scale)
        free(self.extrapolation.column)

    def place(self, np.ndarray step not None):
        """What the room leaves of the first steps (n,), and which rows have all nodes on one side, if any."""
        if self.room is None:
            return step, None
        cdef np.ndarray placed = step.copy(), is_sided = _new(1, step.size, 0, np.NPY_BOOL)
        _check_array(placed, _FLOAT64, self.extrapolation.n, True)
        cdef bint any_sided = fg_place(&self.extrapolation, <const double *>np.PyArray_DATA(self.room), NULL,
                                       step.size, <double *>np.PyArray_DATA(placed),
                                       <uint8_t *>np.PyArray_DATA(is_sided))
        return placed, is_sided if any_sided else None

    def level(self, np.ndarray rows, np.ndarray step not None, np.ndarray is_sided, np.ndarray around not None,
              double eps, double rtol):
        """One step for each of some rows, or of all (None), as the first time.

        Parameters
        ----------
        rows : (r,) ndarray of int64 or None
            Which.
        step : (r,) ndarray
            Negative where one-sided nodes are below.
        is_sided : (r,) ndarray of bool or None
            Which have one-sided nodes.
        around : ndarray
            Values at the nodes, (n_nodes, r, m).
        eps, rtol : float
            Rounding of the values, and the relative error that is asked for.

        Returns
        -------
        all_fine : bool
            Whether all errors are as asked.
        eps : float
            That of single precision if the values are, whatever they are stored in, or the one given.
        """
        cdef fg_level level
        cdef fg_error error
        cdef fg_status status
        cdef double seen = eps
        cdef int64_t m = self.extrapolation.n_columns, n = step.size, size = n * m
        if self.extrapolation.value == NULL:
            raise ValueError("start comes first")
        _check_array(step, _FLOAT64, n, False)
        _check_array(around, _FLOAT64, self.extrapolation.central.n_nodes * size, False)
        level.n_rows, level.rows, level.is_sided, level.eps, level.rtol = n, NULL, NULL, eps, rtol
        if rows is not None:
            _check_array(rows, _INT64, n, False)
            level.rows = <const int64_t *>np.PyArray_DATA(rows)
        if is_sided is not None:
            _check_array(is_sided, _BOOL, n, False)
            level.is_sided = <const uint8_t *>np.PyArray_DATA(is_sided)
        cdef np.ndarray found = _new(2, n, m, np.NPY_FLOAT64), errors = _new(2, n, m, np.NPY_FLOAT64)
        cdef np.ndarray balance = _new(2, n, m, np.NPY_FLOAT64), is_fine = _new(2, n, m, np.NPY_UINT8)
        level.step, level.around = <const double *>np.PyArray_DATA(step), <const double *>np.PyArray_DATA(around)
        level.found, level.error = <double *>np.PyArray_DATA(found), <double *>np.PyArray_DATA(errors)
        level.balance, level.is_fine = <double *>np.PyArray_DATA(balance), <uint8_t *>np.PyArray_DATA(is_fine)
        if size < 1000:
            status = fg_extrapolate(&self.extrapolation, &level, &seen, &error)
        else:
            with nogil:
                status = fg_extrapolate(&self.extrapolation, &level, &seen, &error)
        if status:
            _raise(status, &error)
        self.last, self.of_level = level, [found, errors, step, rows, is_sided, around, balance, is_fine]
        return memchr(level.is_fine, 0, size) == NULL, seen

    cdef int _begin(self) except -1:
        cdef fg_extrapolation *x = &self.extrapolation
        cdef fg_search *s = &self.search
        cdef np.ndarray found = _new(2, x.n, x.n_columns, np.NPY_FLOAT64)
        cdef np.ndarray error = _new(2, x.n, x.n_columns, np.NPY_FLOAT64)
        cdef np.ndarray reach = _new(2, x.n, x.n_columns, np.NPY_FLOAT64)
        cdef np.ndarray is_settled = _new(2, x.n, x.n_columns, np.NPY_BOOL)
        cdef np.ndarray step = _new(1, x.n, 0, np.NPY_FLOAT64), status = _new(1, x.n, 0, np.NPY_INT64)
        cdef np.ndarray limits = _new(2, 2, x.n, np.NPY_FLOAT64), counts = _new(2, 2, x.n, np.NPY_INT32)
        if self.last.n_rows != x.n or self.of_level is None:
            raise ValueError("the first level is of all rows")
        if self.room is None:
            self.room = np.full((2, x.n), np.inf)
        self.of_search = [found, error, step, status, reach, is_settled, limits, counts]
        s.found, s.error = <double *>np.PyArray_DATA(found), <double *>np.PyArray_DATA(error)
        s.reach, s.is_settled = <double *>np.PyArray_DATA(reach), <uint8_t *>np.PyArray_DATA(is_settled)
        s.step, s.status = <double *>np.PyArray_DATA(step), <int64_t *>np.PyArray_DATA(status)
        s.small = <double *>np.PyArray_DATA(limits)
        s.large = s.small + x.n
        s.n_broken = <int32_t *>np.PyArray_DATA(counts)
        s.n_idle = s.n_broken + x.n
        fg_search_begin(x, &self.last, s)
        return 0

    def next(self, np.ndarray first not None):
        """The rows (r,) that go on after the last level, with which steps, and which of them have one-sided nodes, if
        any. `first` are those that begin anew when all nodes move to one side."""
        cdef fg_extrapolation *x = &self.extrapolation
        cdef int64_t n
        _check_array(first, _FLOAT64, x.n, False)
        if self.of_search is None:
            self._begin()
        cdef np.ndarray rows = _new(1, self.last.n_rows, 0, np.NPY_INT64)
        cdef np.ndarray step = _new(1, self.last.n_rows, 0, np.NPY_FLOAT64)
        cdef np.ndarray is_sided = _new(1, self.last.n_rows, 0, np.NPY_BOOL)
        n = fg_search_next(x, &self.last, &self.search, <const double *>np.PyArray_DATA(first),
                           <double *>np.PyArray_DATA(self.room), <int64_t *>np.PyArray_DATA(rows),
                           <double *>np.PyArray_DATA(step), <uint8_t *>np.PyArray_DATA(is_sided))
        is_sided = is_sided[:n]
        return rows[:n], step[:n], is_sided if memchr(np.PyArray_DATA(is_sided), 1, n) != NULL else None

    def result(self):
        """Derivatives and errors (n, m), the steps that gave them and statuses (n,)."""
        if self.of_search is None:
            return self.of_level[0], self.of_level[1], self.of_level[2], np.zeros(self.extrapolation.n, np.int64)
        fg_search_end(&self.extrapolation, &self.last, &self.search)
        return tuple(self.of_search[:4])
