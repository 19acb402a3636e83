"""Part of _core: callables over compiled programs, and the fast way through a call.

A `Function` hands arguments that are arrays of the last call's shapes to its program without a Python object more than
the results; all others are its subclass's to sort.
"""

cdef enum:
    MOST = 8  # arguments or results of the fast path
    MOST_DIMS = 8

ctypedef struct _Spec:
    int type_num
    int is_lane
    int ndim                    # without the batch's axis
    np.npy_intp shape[MOST_DIMS]


cdef class Runner:
    """A program with the shapes of its arguments and results: what one signature of a `Function` compiles to.

    `statics` holds, for each positional argument, None when it is an array (an input of the program, in order), else
    a tuple with the value that it must be equal to.
    """
    cdef readonly Program program
    cdef readonly object results    # (shape, dtype) of each, without the batch axis
    cdef readonly object structure  # how the results are nested in what the caller sees, for those who have to know
    cdef readonly object assemble   # list of results -> what the caller sees; None when the one result is it
    cdef tuple statics, made_of
    cdef _Spec inputs[MOST]
    cdef _Spec outputs[MOST]
    cdef int n_arguments
    cdef bint is_batch, is_fast, is_pair

    def __cinit__(self, Program program, inputs, outputs, is_lane, statics, structure, assemble, is_pair):
        cdef int i, k
        self.made_of = (program, inputs, outputs, is_lane, statics, structure, assemble, is_pair)
        self.program = program
        self.structure = structure
        self.assemble = assemble
        self.results = outputs
        self.is_batch = any(is_lane)
        self.is_pair = is_pair
        self.is_fast = (statics is not None and len(inputs) <= MOST and len(outputs) <= MOST
                        and all(len(shape) < MOST_DIMS for shape, _ in [*inputs, *outputs]))
        if not self.is_fast:
            return
        self.statics = statics
        self.n_arguments = len(statics)
        for i, (shape, dtype) in enumerate(inputs):
            self.inputs[i] = _spec(shape, dtype, is_lane[i])
        for i, (shape, dtype) in enumerate(outputs):
            self.outputs[i] = _spec(shape, dtype, self.is_batch)

    def __reduce__(self):
        return Runner, self.made_of

    cdef bint accepts(self, tuple args, np.npy_intp *batch):
        """Whether these are arrays as the program wants them; `batch` is their number of instances."""
        cdef int i, k, j = 0
        cdef _Spec *spec
        cdef np.npy_intp *shape
        cdef object x
        if not self.is_fast or len(args) != self.n_arguments:
            return False
        batch[0] = -1
        for i in range(self.n_arguments):
            x = args[i]
            static = self.statics[i]
            if static is not None:
                if x is not static[0]:
                    return False
                continue
            if not np.PyArray_CheckExact(x):
                return False
            spec = &self.inputs[j]
            j += 1
            if (np.PyArray_TYPE(x) != spec.type_num or not np.PyArray_ISCARRAY_RO(x)
                    or np.PyArray_NDIM(x) != spec.ndim + spec.is_lane):
                return False
            shape = np.PyArray_DIMS(x)
            if spec.is_lane:
                if batch[0] < 0:
                    batch[0] = shape[0]
                if shape[0] != batch[0] or batch[0] == 0:
                    return False
                shape += 1
            for k in range(spec.ndim):
                if shape[k] != spec.shape[k]:
                    return False
        return True

    cdef bint accepts_out(self, tuple args, tuple out, np.npy_intp batch):
        """Whether the program can write its results into these arrays."""
        cdef int i, k
        cdef _Spec *spec
        cdef np.npy_intp *shape
        cdef object x, other
        if len(out) != self.program.n_outputs:
            return False
        for i, x in enumerate(out):
            spec = &self.outputs[i]
            if (not np.PyArray_CheckExact(x) or np.PyArray_TYPE(x) != spec.type_num or not np.PyArray_ISCARRAY(x)
                    or np.PyArray_NDIM(x) != spec.ndim + spec.is_lane):
                return False
            shape = np.PyArray_DIMS(x)
            if spec.is_lane:
                if shape[0] != batch:
                    return False
                shape += 1
            for k in range(spec.ndim):
                if shape[k] != spec.shape[k]:
                    return False
            for other in (*args, *out[:i]):
                if np.PyArray_CheckExact(other) and _overlap(x, other):
                    return False
        return True

    cdef object call(self, tuple args, np.npy_intp batch, tuple out):
        """Run on arguments that are accepted, into `out` when that is not None."""
        cdef const void *inputs[MOST]
        cdef void *outputs[MOST]
        cdef double scalars[MOST]
        cdef np.npy_intp dims[MOST_DIMS]
        cdef fg_error error
        cdef fg_status status
        cdef int i, k, j = 0
        cdef _Spec *spec
        cdef _Watch watch
        cdef list results = [None] * self.program.n_outputs
        for i in range(self.n_arguments):
            if self.statics[i] is None:
                inputs[j] = np.PyArray_DATA(args[i])
                j += 1
        for i in range(self.program.n_outputs):
            spec = &self.outputs[i]
            if out is not None:
                outputs[i] = np.PyArray_DATA(out[i])
                continue
            if spec.ndim == 0 and not self.is_batch:
                outputs[i] = &scalars[i]
                continue
            dims[0] = batch
            for k in range(spec.ndim):
                dims[k + spec.is_lane] = spec.shape[k]
            result = _empty(spec.ndim + spec.is_lane, dims, spec.type_num)
            outputs[i] = np.PyArray_DATA(result)
            results[i] = result
        if self.is_batch:
            watch = _Watch()
            with nogil:
                status = fg_evaluate_batch(self.program.program, batch, inputs, outputs, _poll, <void *>watch, &error)
            if watch.error is not None:
                raise watch.error
            if status:
                _raise(status, &error)
        else:
            self.program.evaluate(inputs, outputs)
        if out is not None:
            return out
        for i in range(self.program.n_outputs):
            if results[i] is None:
                results[i] = PyArray_Scalar(
                    outputs[i], _FLOAT32 if self.outputs[i].type_num == np.NPY_FLOAT else _FLOAT64, None)
        if self.is_pair:
            return results[0], results[1]
        return results[0] if self.assemble is None else self.assemble(results)


cdef bint _overlap(np.ndarray a, np.ndarray b):
    """Whether two contiguous arrays share memory."""
    cdef char *start_a = <char *>np.PyArray_DATA(a)
    cdef char *start_b = <char *>np.PyArray_DATA(b)
    return start_a < start_b + np.PyArray_NBYTES(b) and start_b < start_a + np.PyArray_NBYTES(a)


cdef _Spec _spec(shape, np.dtype dtype, bint is_lane):
    cdef _Spec spec
    cdef int k
    spec.type_num = dtype.type_num
    spec.is_lane = is_lane
    spec.ndim = len(shape)
    for k in range(spec.ndim):
        spec.shape[k] = shape[k]
    return spec


cdef class Function:
    """A callable over compiled programs. A subclass defines `slow(args, kwargs, out)`, which serves any arguments and
    may `remember` a runner for the next ones like them."""
    cdef Runner last

    def remember(self, Runner runner):
        """Serve arguments that `runner` accepts with it from now on."""
        self.last = runner

    def __call__(self, *args, **kwargs):
        cdef np.npy_intp batch
        cdef Runner runner = self.last
        out = None
        if kwargs:
            out = kwargs.pop("out", None)
        if runner is not None and not kwargs and runner.accepts(args, &batch):
            if out is None:
                return runner.call(args, batch, None)
            arrays = out if type(out) is tuple else (out,)
            if ((runner.is_pair if type(out) is tuple else runner.assemble is None)
                    and runner.accepts_out(args, arrays, batch)):
                runner.call(args, batch, arrays)
                return out
        return self.slow(args, kwargs, out)
