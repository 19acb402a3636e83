# Weighted sums along axes of sampled fields: the border of csrc/grid.c.


cdef class Stencil:
    """How a derivative along an axis of `n` points is made of the samples; immutable, for fields of one dtype.

    A weight of 0 leaves its sample out, even one that is not finite.

    Parameters
    ----------
    n : int
        Points along the axis.
    dtype : dtype
        float64 or float32: of the fields, and of the weights.
    weights : (k,) array_like, or (n, k) with `first`
        Point i is the sum of ``weights[j] * f[i + offsets[j]]``.
    offsets : (k,) sequence of int
        Where the samples stand, seen from the point; any order, but in rising order mirrored pairs of weights are used
        as such, so that an odd derivative of a constant is 0 and a mirrored field has the mirrored derivative.
    start, end : (p, width) array_like, optional
        The first (last) p points are ``start @ f[:width]`` (``end @ f[-width:]``) instead.
    periodic : bool
        Whether ``f[n]`` is ``f[0]``; then there is no `start` or `end`.
    first : (n,) sequence of int, optional
        Instead of `offsets`: point i is ``weights[i] @ f[first[i] : first[i] + k]``, on a periodic axis with places
        modulo n.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgrad import _core
    >>> f = np.arange(5.0) ** 2
    >>> out = np.empty(5)
    >>> table = _core.Stencil(5, f.dtype, [-0.5, 0.5], offsets=[-1, 1], start=[[-1, 1]], end=[[-1, 1]])
    >>> _core.stencil(f, out, 0, table)
    >>> out
    array([1., 2., 4., 6., 7.])
    """
    cdef readonly int64_t n
    cdef readonly np.dtype dtype
    cdef fg_span *spans
    cdef int64_t n_spans
    cdef list kept

    def __cinit__(self, int64_t n, dtype, weights, *, offsets=None, start=None, end=None, bint periodic=False,
                  first=None):
        self.n, self.dtype, self.kept = n, np.dtype(dtype), []
        if self.dtype != _FLOAT64 and self.dtype != _FLOAT32:
            raise TypeError(f"dtype must be float64 or float32, got {self.dtype}")
        if (offsets is None) == (first is None) or (first is not None and (start is not None or end is not None)):
            raise ValueError("give either offsets, with start and end or periodic, or first")
        if periodic and (start is not None or end is not None):
            raise ValueError("a periodic axis has no start or end")
        if n < 0:
            raise ValueError(f"n must not be negative, got {n}")
        if first is not None:
            self._by_rows(weights, _integers(first, "first"), periodic)
            return
        weights, offsets = self._kept(weights, self.dtype), self._kept(_integers(offsets, "offsets"), np.int64)
        if weights.ndim != 1 or offsets.shape != weights.shape:
            raise ValueError(f"there are weights of shape {weights.shape} for offsets of shape {offsets.shape}")
        if periodic:
            self._by_turns(weights, offsets)
            return
        start, end = self._edge(start, "start"), self._edge(end, "end")
        if len(start) + len(end) > n:
            raise ValueError(f"start and end are {len(start)} and {len(end)} points of {n}")
        self._reserve(3)
        self._fixed(start, 0)
        if n > len(start) + len(end):
            self._add(n - len(start) - len(end), offsets, weights)
        self._fixed(end, n - end.shape[1])

    def __dealloc__(self):
        free(self.spans)

    cdef np.ndarray _kept(self, array, dtype):
        """A copy of numbers that spans point to."""
        result = np.array(array, dtype, order="C")
        self.kept.append(result)
        return result

    def _edge(self, table, name):
        table = self._kept(np.zeros((0, 0)) if table is None else np.transpose(table), self.dtype)
        if table.ndim != 2:
            raise ValueError(f"{name} must have a row of weights for each of its points, got {table.ndim} axes")
        return table.T

    cdef int _reserve(self, int64_t n) except -1:
        self.spans = <fg_span *>malloc((n + 1) * sizeof(fg_span))
        if self.spans == NULL:
            raise MemoryError
        return 0

    cdef fg_span *_add(self, int64_t n_points, np.ndarray at, np.ndarray weights):
        cdef fg_span *span = &self.spans[self.n_spans]
        self.n_spans += 1
        span.n_points, span.n_taps = n_points, np.PyArray_SIZE(at)
        span.at = <const int64_t *>np.PyArray_DATA(at)
        span.weights = np.PyArray_DATA(weights)
        span.by_point = span.fixed = 0
        span.weight_row = n_points
        return span

    def _fixed(self, table, int64_t first):
        cdef fg_span *span
        if len(table):
            span = self._add(len(table), self._kept(np.arange(first, first + table.shape[1]), np.int64), table)
            span.by_point = span.fixed = 1

    def _by_turns(self, np.ndarray weights, np.ndarray offsets):
        """Points between which no sample goes over the end have the same distances to their samples."""
        cdef int64_t n = self.n
        if n == 0:
            return
        starts = np.union1d(0, -offsets % n)
        turns = self._kept(offsets - (starts[:, None] + offsets) // n * n, np.int64)
        self._reserve(len(starts))
        for point, stop, at in zip(starts, [*starts[1:], n], turns, strict=True):
            self._add(stop - point, at, weights)

    def _by_rows(self, rows, first, periodic):
        """Points whose first samples are equally far away are a span; each with samples over the end is one alone."""
        cdef fg_span *span
        cdef np.ndarray weights
        weights = self._kept(np.transpose(rows), self.dtype)
        if weights.ndim != 2 or weights.shape[1] != self.n or first.shape != (self.n,):
            raise ValueError(f"an axis of {self.n} points wants as many rows of weights and numbers in first, "
                             f"got shapes {np.shape(rows)} and {first.shape}")
        if not self.n:
            return
        distance = first - np.arange(self.n)
        is_start = np.ones(self.n, bool)
        np.not_equal(distance[1:], distance[:-1], out=is_start[1:])
        if periodic:
            is_over = (first < 0) | (first > self.n - weights.shape[0])
            is_start |= is_over
            is_start[1:] |= is_over[:-1]
        starts = is_start.nonzero()[0]
        places = distance[starts, None] + np.arange(weights.shape[0])
        if periodic:
            places = (places + starts[:, None]) % self.n - starts[:, None]
        places = self._kept(places, np.int64)
        self._reserve(len(starts))
        for point, stop, at in zip(starts, [*starts[1:], self.n], places, strict=True):
            span = self._add(stop - point, at, weights)
            span.weights = <const char *>span.weights + <int64_t>point * <int64_t>np.PyArray_ITEMSIZE(weights)
            span.by_point = 1
            span.weight_row = self.n


def _integers(values, name):
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {array.dtype}")
    return array.astype(np.int64)


cdef int64_t *_places(tuple numbers) except NULL:
    cdef int64_t *result = <int64_t *>malloc((len(numbers) + 1) * sizeof(int64_t))
    if result == NULL:
        raise MemoryError
    for i, x in enumerate(numbers):
        result[i] = x
    return result


def stencil(f, out, axis, table, scale=1.0, accumulate=False):
    """`stencils` for one axis."""
    stencils(f, out, (axis,), (table,), (scale,), accumulate)


def stencils(np.ndarray f not None, np.ndarray out not None, axes, tables, scales=None, bint accumulate=False):
    """Write the sum over `axes` of ``scale * stencil`` of a field into `out`, in one pass over memory.

    Parameters
    ----------
    f : ndarray
        float64 or float32 in native byte order, with any strides.
    out : ndarray
        Of the same shape and dtype; shares no memory with `f`.
    axes : sequence of int
        Different axes, 0 to ``f.ndim - 1``.
    tables : sequence of Stencil
        One an axis, for its number of points and the dtype.
    scales : sequence of float, optional
        One an axis; 1 by default.
    accumulate : bool
        Whether to add to what is in `out`.
    """
    cdef fg_field field
    cdef fg_error error
    cdef fg_status status
    cdef Stencil table
    cdef _Watch watch
    cdef int i
    axes, tables = tuple(axes), tuple(tables)
    scales = (1.0,) * len(axes) if scales is None else tuple(scales)
    if not len(axes) == len(tables) == len(scales):
        raise ValueError(f"there are {len(axes)} axes, {len(tables)} tables and {len(scales)} scales")
    _check_floats(f, "f")
    if out.dtype != f.dtype or np.shape(out) != np.shape(f):
        raise ValueError(
            f"out must be like f, {f.dtype} of shape {np.shape(f)}, got {out.dtype} of shape {np.shape(out)}")
    _check_target(out, "out")
    if _shares_memory(f, out):
        raise ValueError("out shares memory with f; give another array")
    for axis, given in zip(axes, tables, strict=True):
        if not isinstance(given, Stencil):
            raise TypeError(f"tables must be of Stencil, got {type(given).__name__}")
        if not 0 <= axis < f.ndim:
            raise ValueError(f"axis {axis} is not one of {f.ndim}")
        if given.n != f.shape[axis] or given.dtype != f.dtype:
            raise ValueError(
                f"axis {axis} has {f.shape[axis]} points of {f.dtype}, its table is for {given.n} of {given.dtype}")
    watch = _Watch()
    field.dtype = FG_FLOAT32 if f.dtype == _FLOAT32 else FG_FLOAT64
    field.n_dims, field.n_axes, field.accumulate = f.ndim, len(axes), accumulate
    cdef int64_t *places = _places((<object>f).shape + (<object>f).strides + (<object>out).strides)
    cdef fg_axis *steps = <fg_axis *>malloc((len(axes) + 1) * sizeof(fg_axis))
    try:
        if steps == NULL:
            raise MemoryError
        for i in range(len(axes)):
            table = tables[i]
            steps[i].axis, steps[i].scale = axes[i], scales[i]
            steps[i].n_spans, steps[i].spans = table.n_spans, table.spans
        field.shape, field.in_strides, field.out_strides = places, places + f.ndim, places + 2 * f.ndim
        field.in_, field.out = np.PyArray_DATA(f), np.PyArray_DATA(out)
        field.axes = steps
        with nogil:
            status = fg_stencil(&field, _poll, <void *>watch, &error)
    finally:
        free(places)
        free(steps)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)


def weights(offsets, int derivative):
    """Float weights of a derivative at 0 for many stencils: the last axis of `offsets` are the samples of one."""
    cdef np.ndarray given = np.ascontiguousarray(offsets, dtype=np.float64), found = np.empty_like(given)
    cdef int64_t width = np.shape(given)[given.ndim - 1], n = np.PyArray_SIZE(given) // max(width, 1)
    cdef fg_error error
    cdef fg_status status
    cdef _Watch watch = _Watch()
    with nogil:
        status = fg_weights(n, width, <const double *>np.PyArray_DATA(given), derivative,
                            <double *>np.PyArray_DATA(found), _poll, <void *>watch, &error)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)
    return found


def windows(coords, int64_t width, int derivative):
    """Stencils of a derivative at each of the coordinates, from `width` neighbouring samples.

    Returns the first sample of each stencil, shape (n,), and the weights, shape (n, width). A point is in the middle of
    its samples as far as the ends allow, and of an even number there is one more on the side of the nearer end.
    """
    cdef np.ndarray given = np.ascontiguousarray(coords, dtype=np.float64)
    cdef int64_t n = np.PyArray_SIZE(given)
    cdef np.ndarray first = np.empty(n, np.int64), found = np.empty((n, max(width, 0)))
    cdef fg_error error
    cdef fg_status status
    cdef _Watch watch = _Watch()
    with nogil:
        status = fg_windows(n, width, <const double *>np.PyArray_DATA(given), derivative,
                            <int64_t *>np.PyArray_DATA(first), <double *>np.PyArray_DATA(found), _poll, <void *>watch,
                            &error)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)
    return first, found


def solve_ties(np.ndarray lines not None, int axis, double tie, bint periodic=False):
    """Solve in place, for each line along an axis, ``tie * u[i - 1] + u[i] + tie * u[i + 1] = line[i]``.

    Parameters
    ----------
    lines : ndarray
        float64 or float32 in native byte order, with any strides; becomes u.
    axis : int
        0 to ``lines.ndim - 1``.
    tie : float
        Less than 1/2 in magnitude.
    periodic : bool
        Whether the axis is a circle; otherwise u is 0 beyond its ends.
    """
    cdef fg_ties ties
    cdef fg_error error
    cdef fg_status status
    cdef _Watch watch = _Watch()
    _check_floats(lines, "lines")
    _check_target(lines, "lines")
    ties.dtype = FG_FLOAT32 if lines.dtype == _FLOAT32 else FG_FLOAT64
    ties.n_dims, ties.axis, ties.tie, ties.periodic = lines.ndim, axis, tie, periodic
    cdef int64_t *places = _places((<object>lines).shape + (<object>lines).strides)
    try:
        ties.shape, ties.strides, ties.data = places, places + lines.ndim, np.PyArray_DATA(lines)
        with nogil:
            status = fg_solve_ties(&ties, _poll, <void *>watch, &error)
    finally:
        free(places)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)


cdef int _check_floats(np.ndarray array, str name) except -1:
    if array.dtype != _FLOAT64 and array.dtype != _FLOAT32 or not array.dtype.isnative:
        raise TypeError(f"{name} must be float64 or float32 in native byte order, got {array.dtype}")
    return 0


cdef int _check_target(np.ndarray array, str name) except -1:
    cdef int i
    if not np.PyArray_ISWRITEABLE(array):
        raise ValueError(f"{name} is read-only")
    for i in range(array.ndim):
        if array.strides[i] == 0 and array.shape[i] > 1 and array.size:
            raise ValueError(f"{name} has elements that share memory")
    return 0


cdef bint _shares_memory(np.ndarray f, np.ndarray out) except -1:
    """Exactly, where that is found out soon; else whether the extents meet."""
    if not np.may_share_memory(f, out):
        return False
    try:
        return np.shares_memory(f, out, max_work=10000)
    except np.exceptions.TooHardError:
        return True
