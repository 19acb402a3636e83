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
        Instead of `offsets`: point i is ``weights[i] @ f[first[i] : first[i] + k]``.

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
