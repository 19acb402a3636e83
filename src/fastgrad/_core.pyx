# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The one place that sees both worlds: Python objects here, the C core there.

Programs are built and run, C statuses become exceptions, the GIL is released for long calls, and signals reach them
through a poll. `Function` is the callable that the public transforms return: it runs a compiled program at once when the
arguments are arrays like the last ones, and otherwise asks its Python half what to do.
"""

cimport numpy as np
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

from fastgrad._core cimport *

import numpy as np

np.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, np.dtype descr, object base)

cdef np.dtype _FLOAT64 = np.dtype(np.float64)
cdef np.dtype _FLOAT32 = np.dtype(np.float32)
cdef tuple _KINDS = ("elementwise", "reduction", "structural", "generalised")


cdef int _raise(fg_status status, const fg_error *error) except -1:
    message = (<bytes>error.message).decode()
    if status == FG_OUT_OF_MEMORY:
        raise MemoryError(message)
    raise ValueError(message)


# ---- processor, threads, tables


def select_isa(str name=""):
    """Choose the kernels by name; the best by default. Programs made ready before keep theirs."""
    cdef fg_error error
    encoded = name.encode()
    cdef fg_status status = fg_select_isa(encoded, &error)
    if status:
        _raise(status, &error)


def current_isa():
    """Name of the kernels in use."""
    return fg_current_isa().decode()


def supported_isas():
    """Names of the kernels that this processor can run, best first."""
    names = []
    while fg_isa_name(len(names)) != NULL:
        names.append(fg_isa_name(len(names)).decode())
    return names


def set_num_threads(int n):
    """Threads that a call may use."""
    cdef fg_error error
    cdef fg_status status = fg_set_num_threads(n, &error)
    if status:
        _raise(status, &error)


def get_num_threads():
    """Threads that a call may use."""
    return fg_get_num_threads()


def live_memory():
    """Bytes and blocks that the C core holds now."""
    return fg_live_bytes(), fg_live_blocks()


include "_results.pxi"


def operations():
    """The machine's operations in order: (name, arity, kind)."""
    result = []
    while fg_op_name(len(result)) != NULL:
        i = len(result)
        result.append((fg_op_name(i).decode(), fg_op_arity(i), _KINDS[fg_op_kind_of(i)]))
    return result


def updates():
    """The update rules of descent: name to (number, number of settings)."""
    result = {}
    while fg_update_name(len(result)) != NULL:
        i = len(result)
        result[fg_update_name(i).decode()] = (i, fg_update_n_settings(i))
    return result


# ---- programs


cdef class _Watch:
    """What a long call does every 10 ms: signals, and the caller's progress report."""
    cdef object report
    cdef object error


cdef int _poll(void *context, int64_t done) noexcept with gil:
    cdef _Watch watch = <_Watch>context
    try:
        PyErr_CheckSignals()
        if watch.report is not None:
            watch.report(done)
    except BaseException as error:
        watch.error = error
        return 1
    return 0


cdef double WORTH_A_RELEASE = 5000  # nanoseconds of work for which other Python threads may run


cdef class Program:
    """An immutable, verified program; shared by threads; pickles as its words."""
    cdef fg_program *program
    cdef fg_machine *machine
    cdef readonly object words
    cdef readonly int n_inputs, n_outputs

    def __cinit__(self, words):
        cdef fg_error error
        cdef np.ndarray array = np.array(words, np.int64, ndmin=1, order="C")
        array.flags.writeable = False
        self.words = array
        cdef fg_status status = fg_program_create(
            <const int64_t *>np.PyArray_DATA(array), <size_t>np.PyArray_SIZE(array), &self.program, &error)
        if status:
            _raise(status, &error)
        status = fg_machine_create(self.program, &self.machine, &error)
        if status:
            _raise(status, &error)
        self.n_inputs = fg_program_n_inputs(self.program)
        self.n_outputs = fg_program_n_outputs(self.program)

    def __dealloc__(self):
        fg_machine_destroy(self.machine)
        fg_program_destroy(self.program)

    def __reduce__(self):
        return _unpickle, (self.words.tobytes(),)

    @property
    def cost(self):
        """Rough nanoseconds of one evaluation."""
        return fg_program_cost(self.program)

    cdef int evaluate(self, const void **inputs, void **outputs) except -1:
        cdef fg_error error
        cdef fg_status status
        cdef _Watch watch
        if fg_program_cost(self.program) < WORTH_A_RELEASE:
            status = fg_evaluate(self.machine, inputs, outputs, NULL, NULL, &error)
        else:
            watch = _Watch()
            with nogil:
                status = fg_evaluate(self.machine, inputs, outputs, _poll, <void *>watch, &error)
            if watch.error is not None:
                raise watch.error
        return _raise(status, &error) if status else 0

    def run(self, list inputs, list outputs):
        """Evaluate one instance: contiguous arrays of the program's dtypes and sizes in, others filled."""
        cdef _Pointers p = _Pointers(self, inputs, outputs, 1)
        self.evaluate(p.inputs, p.outputs)

    def run_batch(self, int64_t batch, list inputs, list outputs, report=None):
        """Evaluate `batch` instances: lane inputs and outputs have that many rows."""
        cdef _Pointers p = _Pointers(self, inputs, outputs, batch)
        cdef _Watch watch = _Watch()
        cdef fg_error error
        cdef fg_status status
        watch.report = report
        with nogil:
            status = fg_evaluate_batch(self.program, batch, p.inputs, p.outputs, _poll, <void *>watch, &error)
        if watch.error is not None:
            raise watch.error
        if status:
            _raise(status, &error)

    def run_directions(self, int64_t n, list inputs, list outputs, bint lanes_innermost):
        """Evaluate `n` directions: lane inputs that are None are one unit vector; the other lane arrays have `n` rows
        or, with `lanes_innermost`, columns."""
        cdef _Pointers p = _Pointers(self, inputs, outputs, n, True)
        cdef _Watch watch = _Watch()
        cdef fg_error error
        cdef fg_status status
        with nogil:
            status = fg_evaluate_directions(
                self.program, n, p.inputs, p.outputs, lanes_innermost, _poll, <void *>watch, &error)
        if watch.error is not None:
            raise watch.error
        if status:
            _raise(status, &error)

    def descend(self, int update, int64_t batch, int64_t maxiter, double gtol, np.ndarray learning_rate,
                np.ndarray settings, list inputs, np.ndarray x, int64_t record_every, np.ndarray history_fun,
                np.ndarray history_x, bint keep_best, report=None):
        """Minimise by gradient steps; returns (iterations, outcomes) and fills `x` and the histories."""
        cdef _Pointers p = _Pointers(self, inputs, None, batch)
        cdef np.ndarray nit = np.zeros(batch, np.int64)
        cdef np.ndarray outcome = np.zeros(batch, np.int32)
        cdef _Watch watch = _Watch()
        cdef fg_descent d
        cdef fg_error error
        cdef fg_status status
        cdef int64_t n_rates = np.PyArray_SIZE(learning_rate)
        if self.n_inputs == 0 or not fg_program_input_is_lane(self.program, 0) or (n_rates != 1 and n_rates != batch):
            raise ValueError("the point must be a lane input, and learning rates one or one an instance")
        for array, dtype in ((learning_rate, _FLOAT64), (settings, _FLOAT64)):
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise ValueError("learning rates and settings are contiguous float64")
        if settings.size < fg_update_n_settings(update):
            raise ValueError("the update rule needs more settings")
        dtype = _dtype(fg_program_input_dtype(self.program, 0))
        size = fg_program_input_size(self.program, 0)
        n_records = maxiter // record_every + 1 if record_every else 0
        _check_array(x, dtype, batch * size, True)
        if history_fun is not None:
            _check_array(history_fun, dtype, n_records * batch, True)
        if history_x is not None:
            _check_array(history_x, dtype, n_records * batch * size, True)
        d.program = self.program
        d.update = update
        d.batch = batch
        d.maxiter = maxiter
        d.record_every = record_every
        d.n_records = n_records
        d.gtol = gtol
        d.learning_rate = <const double *>np.PyArray_DATA(learning_rate)
        d.learning_rate_is_lane = n_rates != 1
        d.settings = <const double *>np.PyArray_DATA(settings)
        d.inputs = p.inputs
        d.x = np.PyArray_DATA(x)
        d.nit = <int64_t *>np.PyArray_DATA(nit)
        d.outcome = <int32_t *>np.PyArray_DATA(outcome)
        d.history_fun = NULL if history_fun is None else np.PyArray_DATA(history_fun)
        d.history_x = NULL if history_x is None else np.PyArray_DATA(history_x)
        d.keep_best = keep_best
        watch.report = report
        with nogil:
            status = fg_descend(&d, _poll, <void *>watch, &error)
        if watch.error is not None:
            raise watch.error
        if status:
            _raise(status, &error)
        return nit, outcome


def _unpickle(words):
    return Program(np.frombuffer(words, np.int64))


cdef np.dtype _dtype(int code):
    return _FLOAT32 if code == FG_FLOAT32 else _FLOAT64


cdef int _check_array(np.ndarray array, np.dtype dtype, int64_t size, bint is_written) except -1:
    if (np.PyArray_TYPE(array) != dtype.type_num or not np.PyArray_ISCARRAY_RO(array)
            or np.PyArray_SIZE(array) != size or (is_written and not np.PyArray_ISWRITEABLE(array))):
        raise ValueError(
            f"expected {size} contiguous {dtype} elements{' to write to' if is_written else ''}, "
            f"got shape {np.shape(array)} of {array.dtype}"
        )
    return 0


cdef class _Pointers:
    """Addresses of checked inputs and outputs, for one call."""
    cdef const void **inputs
    cdef void **outputs
    cdef list kept

    def __cinit__(self, Program program, list inputs, list outputs, int64_t batch, bint has_units=False):
        cdef int i
        cdef fg_program *p = program.program
        cdef int64_t rows
        self.inputs = <const void **>malloc((program.n_inputs + 1) * sizeof(void *))
        self.outputs = <void **>malloc((program.n_outputs + 1) * sizeof(void *))
        self.kept = [inputs, outputs]
        if self.inputs == NULL or self.outputs == NULL:
            raise MemoryError
        if batch < 1 or len(inputs) != program.n_inputs or (outputs is not None and len(outputs) != program.n_outputs):
            raise ValueError("the number of instances, inputs or outputs is wrong")
        for i in range(program.n_inputs):
            if inputs[i] is None and has_units and fg_program_input_is_lane(p, i):
                self.inputs[i] = NULL
                continue
            rows = batch if fg_program_input_is_lane(p, i) else 1
            _check_array(inputs[i], _dtype(fg_program_input_dtype(p, i)), rows * fg_program_input_size(p, i), False)
            self.inputs[i] = np.PyArray_DATA(inputs[i])
        if outputs is not None:
            for i in range(program.n_outputs):
                rows = batch if fg_program_output_is_lane(p, i) else 1
                _check_array(outputs[i], _dtype(fg_program_output_dtype(p, i)),
                             rows * fg_program_output_size(p, i), True)
                self.outputs[i] = np.PyArray_DATA(outputs[i])

    def __dealloc__(self):
        free(self.inputs)
        free(self.outputs)


# ---- callables

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
