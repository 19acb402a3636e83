# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""The one place that sees both worlds: Python objects here, the C core there.

Programs are built and run, C statuses become exceptions, the GIL is released for long calls, and signals reach them
through a poll. `Function` is the callable that the public transforms return: it runs a compiled program at once when the
arguments are arrays like the last ones, and otherwise asks its Python half what to do.
"""

cimport numpy as np
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from fastgrad._core cimport *

import numpy as np

np.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void *data, np.dtype descr, object base)

cdef np.dtype _FLOAT64 = np.dtype(np.float64)
cdef np.dtype _FLOAT32 = np.dtype(np.float32)
cdef np.dtype _INT64 = np.dtype(np.int64)
cdef np.dtype _BOOL = np.dtype(np.bool_)
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


cdef int64_t MOST_ITERATIONS = 2**62
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
        if not fg_program_n_across(self.program):  # else it runs over rows alone: `train`, `total`
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
        if self.machine == NULL:
            raise ValueError("the program has sums over lanes: only training runs it")
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

    def descend(self, int update, int64_t batch, list inputs, np.ndarray x, *, int64_t maxiter, double gtol=-1,
                double ftol=-1, double xtol=-1, np.ndarray learning_rate, np.ndarray schedule=None, np.ndarray settings,
                np.ndarray lower=None, np.ndarray upper=None, double clip_value=0, double clip_norm=0,
                double weight_decay=0, int64_t record_every=0, np.ndarray fun=None, np.ndarray norm=None,
                np.ndarray step=None, np.ndarray path=None, bint keep_best=False, Standing state=None,
                int64_t n_iterations=MOST_ITERATIONS, report=None):
        """Minimise by gradient steps; returns (iterations, outcomes, occupancy) and fills `x` and the histories.

        Tolerances that are negative and clips that are 0 are off. `schedule` holds factors of the learning rate by
        iteration. `fun`, `norm`, `step` and `path` have a row for every `record_every`-th iteration. With `state` a
        call makes at most `n_iterations` more for each instance that is still running.
        """
        cdef _Pointers p = _Pointers(self, inputs, None, batch)
        cdef np.ndarray nit = np.zeros(batch, np.int64) if state is None else state.nit
        cdef np.ndarray outcome = np.zeros(batch, np.int32) if state is None else state.outcome
        cdef _Watch watch = _Watch()
        cdef fg_descent d
        cdef fg_standing standing
        cdef int64_t lane_steps[2]
        cdef fg_error error
        cdef fg_status status
        cdef int64_t n_rates = np.PyArray_SIZE(learning_rate)
        if self.n_inputs == 0 or not fg_program_input_is_lane(self.program, 0) or (n_rates != 1 and n_rates != batch):
            raise ValueError("the point must be a lane input, and learning rates one or one an instance")
        if settings.size < fg_update_n_settings(update):
            raise ValueError("the update rule needs more settings")
        dtype = _dtype(fg_program_input_dtype(self.program, 0))
        size = fg_program_input_size(self.program, 0)
        n_records = maxiter // record_every + 1 if record_every > 0 else 0
        _check_array(learning_rate, _FLOAT64, n_rates, False)
        _check_array(settings, _FLOAT64, settings.size, False)
        _check_array(x, dtype, batch * size, True)
        for history, n in ((fun, 1), (norm, 1), (step, 1), (path, size)):
            if history is not None:
                _check_array(history, dtype, n_records * batch * n, True)
        if schedule is not None:
            _check_array(schedule, _FLOAT64, schedule.size, False)
        if (lower is None) != (upper is None):
            raise ValueError("bounds come in pairs")
        if lower is not None:
            d.bounds_are_lane = lower.size != size
            _check_array(lower, dtype, batch * size if d.bounds_are_lane else size, False)
            _check_array(upper, dtype, batch * size if d.bounds_are_lane else size, False)
        if state is not None and (state.update, state.batch, state.size, state.dtype) != (update, batch, size, dtype):
            raise ValueError("the state is that of another descent")
        d.program = self.program
        d.update = update
        d.batch = batch
        d.maxiter = maxiter
        d.record_every = record_every
        d.n_records = n_records
        d.gtol, d.ftol, d.xtol = gtol, ftol, xtol
        d.learning_rate = <const double *>np.PyArray_DATA(learning_rate)
        d.learning_rate_is_lane = n_rates != 1
        d.schedule = <const double *>_data(schedule)
        d.n_schedule = 0 if schedule is None else schedule.size
        d.settings = <const double *>np.PyArray_DATA(settings)
        d.weight_decay, d.clip_value, d.clip_norm = weight_decay, clip_value, clip_norm
        d.lower, d.upper = _data(lower), _data(upper)
        d.inputs = p.inputs
        d.x = np.PyArray_DATA(x)
        d.nit = <int64_t *>np.PyArray_DATA(nit)
        d.outcome = <int32_t *>np.PyArray_DATA(outcome)
        d.history_fun, d.history_norm, d.history_step, d.history_x = _data(fun), _data(norm), _data(step), _data(path)
        d.keep_best = keep_best
        d.standing = NULL
        d.lane_steps = lane_steps
        if state is not None:
            standing.n_iterations = n_iterations
            state.point_to(&standing)
            d.standing = &standing
        watch.report = report
        with nogil:
            status = fg_descend(&d, _poll, <void *>watch, &error)
        if watch.error is not None:
            raise watch.error
        if status:
            _raise(status, &error)
        return nit, outcome, lane_steps[0] / <double>max(lane_steps[1], 1)

    def iterate(self, int64_t batch, list inputs, list results, int64_t max_runs, int64_t counter,
                int64_t record_every=0, list history=None, report=None):
        """Repeat for each instance until its flag is set; `results` and `history` hold an array or None for each state.
        Returns the outcomes and the share of lanes that were busy."""
        cdef _Pointers p = _Pointers(self, inputs, None, batch, True)
        cdef _States to = _States(self, results, batch)
        cdef _States past
        cdef np.ndarray outcome = np.zeros(batch, np.int32)
        cdef int64_t runs[2]
        cdef _Watch watch = _Watch()
        cdef fg_iteration it
        cdef fg_error error
        cdef fg_status status
        it.n_records = 0
        it.history = NULL
        if record_every:
            it.n_records = next(len(x) for x in history if x is not None)
            past = _States(self, history, it.n_records * batch)
            it.history = past.arrays
            if len(history) != len(results):
                raise ValueError("there must be as many histories as states")
        it.program = self.program
        it.batch = batch
        it.n_state = len(results)
        it.inputs = p.inputs
        it.results = to.arrays
        it.outcome = <int32_t *>np.PyArray_DATA(outcome)
        it.max_runs = max_runs
        it.counter = counter
        it.record_every = record_every
        it.runs = runs
        watch.report = report
        with nogil:
            status = fg_iterate(&it, _poll, <void *>watch, &error)
        if watch.error is not None:
            raise watch.error
        if status:
            _raise(status, &error)
        return outcome, runs[0] / runs[1]


cdef class Standing:
    """Where a descent stands between two calls of `Program.descend`: a new one before the first.

    Attributes
    ----------
    nit : (batch,) ndarray of int64
        Iterations of each instance so far.
    outcome : (batch,) ndarray of int32
        -1 for an instance that is still running; another number stops it.
    step : (batch,) ndarray
        Length of each instance's last step.
    """
    cdef readonly int update
    cdef readonly int64_t batch, size
    cdef readonly np.dtype dtype
    cdef readonly np.ndarray nit, outcome
    cdef np.ndarray states, running, last

    def __cinit__(self, int update, int64_t batch, int64_t size, np.dtype dtype):
        self.update, self.batch, self.size, self.dtype = update, batch, size, dtype
        self.nit = np.zeros(batch, np.int64)
        self.outcome = np.full(batch, FG_RUNNING, np.int32)
        self.states = np.zeros((fg_update_n_states(update), batch, size), dtype)
        self.running = np.ones((3, batch))
        self.last = np.zeros((3, batch), dtype)

    @property
    def step(self):
        return np.sqrt(self.last[1])

    cdef int point_to(self, fg_standing *standing) except -1:
        cdef int64_t i, row = self.batch * self.last.itemsize
        _check_array(self.outcome, np.dtype(np.int32), self.batch, True)
        _check_array(self.nit, np.dtype(np.int64), self.batch, True)
        for i in range(3):
            has = i < fg_update_n_states(self.update)
            standing.state[i] = <char *>np.PyArray_DATA(self.states) + i * row * self.size if has else NULL
            standing.running[i] = <double *>np.PyArray_DATA(self.running) + i * self.batch
            standing.last[i] = <char *>np.PyArray_DATA(self.last) + i * row
        return 0


cdef void *_data(np.ndarray array):
    return NULL if array is None else np.PyArray_DATA(array)


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


cdef class _States:
    """Addresses of checked arrays for a program's first inputs, NULL for None: so many rows each, to be written."""
    cdef void **arrays
    cdef list kept

    def __cinit__(self, Program program, list arrays, int64_t rows):
        cdef int i
        self.arrays = <void **>malloc((len(arrays) + 1) * sizeof(void *))
        self.kept = arrays
        if self.arrays == NULL:
            raise MemoryError
        if len(arrays) > program.n_inputs:
            raise ValueError("there are more states than inputs")
        for i, array in enumerate(arrays):
            self.arrays[i] = NULL
            if array is not None:
                _check_array(array, _dtype(fg_program_input_dtype(program.program, i)),
                             rows * fg_program_input_size(program.program, i), True)
                self.arrays[i] = np.PyArray_DATA(array)

    def __dealloc__(self):
        free(self.arrays)


include "_training.pxi"
include "_grid.pxi"
include "_points.pxi"
include "_differences.pxi"
include "_calls.pxi"
