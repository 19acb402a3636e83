# Minibatch descent, and sums over all rows of data: the border of csrc/train.c and csrc/pass.c.

cdef dict _DATA = {
    "float64": FG_DATA_FLOAT64, "float32": FG_DATA_FLOAT32, "int64": FG_DATA_INT64, "int32": FG_DATA_INT32,
    "uint8": FG_DATA_UINT8, "bool": FG_DATA_UINT8,
}


cdef class Source:
    """Where rows are read from: any array of float64, float32, int64, int32, uint8 or bool in native byte order, rows
    by its first axis; elements are read as ``value * scale + shift``, nothing is copied. Or noise, for None."""
    cdef fg_source source
    cdef readonly object array
    cdef np.ndarray offsets
    cdef readonly int64_t n_rows, size

    def __cinit__(self, array, double scale=1.0, double shift=0.0):
        self.array = array
        self.source.scale, self.source.shift = scale, shift
        self.source.data = NULL
        self.source.offsets = NULL
        if array is None:
            self.source.kind = FG_DATA_NOISE
            self.n_rows = self.size = -1
            return
        if not isinstance(array, np.ndarray) or array.ndim < 1 or array.dtype.name not in _DATA or (
                not array.dtype.isnative):
            raise ValueError(f"rows cannot be read from {type(array).__name__} of {getattr(array, 'dtype', None)}")
        self.source.kind = _DATA[array.dtype.name]
        self.source.data = np.PyArray_DATA(array)
        self.source.row_stride = array.strides[0]
        self.n_rows, self.size = len(array), int(np.prod(array.shape[1:], dtype=np.int64))
        if self.n_rows and not array[0].flags.c_contiguous:
            places = np.zeros((), np.int64)
            for length, stride in zip(array.shape[1:], array.strides[1:], strict=True):
                places = np.add.outer(places, np.arange(length, dtype=np.int64) * stride)
            self.offsets = np.ascontiguousarray(places.ravel())
            self.source.offsets = <const int64_t *>np.PyArray_DATA(self.offsets)


cdef class _Dataset:
    """Checked sources for a program's inputs after the leaves and the share."""
    cdef fg_dataset data
    cdef fg_source *sources
    cdef list kept

    def __cinit__(self, Program program, int64_t n_leaves, list sources, int64_t n_rows, np.ndarray weights):
        cdef int64_t i
        cdef Source source
        if n_leaves < 0 or n_leaves >= program.n_inputs:
            raise ValueError(f"the program has no {n_leaves} leaves")
        sources = list(sources)  # the caller's may change while the call runs
        self.sources = <fg_source *>malloc((len(sources) + 1) * sizeof(fg_source))
        if self.sources == NULL:
            raise MemoryError
        if n_leaves + 1 + len(sources) != program.n_inputs:
            raise ValueError(f"the program reads {program.n_inputs - n_leaves - 1} sources, got {len(sources)}")
        for i in range(len(sources)):
            if not isinstance(sources[i], Source):
                raise TypeError(f"source {i} is {type(sources[i]).__name__}")
            source = sources[i]
            if source.array is not None and (
                    source.n_rows != n_rows
                    or source.size != fg_program_input_size(program.program, <int>(n_leaves + 1 + i))):
                raise ValueError(f"source {i} has {source.n_rows} rows of {source.size} elements")
            self.sources[i] = source.source
        self.data.sources = self.sources
        self.data.n_rows = n_rows
        self.data.weights = NULL
        if weights is not None:
            _check_array(weights, _FLOAT64, n_rows, False)
            self.data.weights = <const double *>np.PyArray_DATA(weights)
        self.kept = [sources, weights]

    def __dealloc__(self):
        free(self.sources)


def total(Program program not None, list leaves not None, list sources not None, int64_t n_rows, np.ndarray weights=None, report=None):
    """The outputs of a program summed over all rows; the share of a row is its weight as a part of all.

    Parameters
    ----------
    program : Program
        Its inputs are the leaves, a row's share, and one lane value a source.
    leaves : list of ndarray
        Uniform inputs.
    sources : list of Source
        Data of `n_rows` rows.
    weights : (n_rows,) ndarray of float64, optional
        Of the rows.
    report : callable, optional
        Called now and then.

    Returns
    -------
    list of ndarray
        Flat arrays, one an output.
    """
    cdef int i
    cdef int64_t n_leaves = len(leaves)
    cdef _Dataset data = _Dataset(program, n_leaves, sources, n_rows, weights)
    cdef _Watch watch = _Watch()
    cdef fg_error error
    cdef fg_status status
    cdef fg_program *p = program.program
    outputs = [np.zeros(fg_program_output_size(p, i), _dtype(fg_program_output_dtype(p, i)))
               for i in range(program.n_outputs)]
    cdef const void **given = <const void **>malloc((n_leaves + 1) * sizeof(void *))
    cdef void **made = <void **>malloc((program.n_outputs + 1) * sizeof(void *))
    watch.report = report
    try:
        if given == NULL or made == NULL:
            raise MemoryError
        for i in range(n_leaves):
            _check_array(leaves[i], _dtype(fg_program_input_dtype(p, i)), fg_program_input_size(p, i), False)
            given[i] = np.PyArray_DATA(leaves[i])
        for i in range(program.n_outputs):
            made[i] = np.PyArray_DATA(outputs[i])
        with nogil:
            status = fg_total(p, n_leaves, given, &data.data, made, _poll, <void *>watch, &error)
    finally:
        free(given)
        free(made)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)
    return outputs


class TrainingState:
    """Where the training of members stands between two calls of `train`: a new one before the first.

    Attributes
    ----------
    moments : (n_states, members, size) ndarray
        What the update rule keeps of each parameter.
    running : (3, members) ndarray
        The numbers that it carries on.
    steps, epochs : (members,) ndarray of int64
        Made so far.
    outcome : (members,) ndarray of int32
        -1 for a member that goes on; another number stops it.
    best : (members, size) ndarray
        Parameters at the end of the best epoch; at the start those that were given.
    best_value : (members,) ndarray
        What was watched then.
    best_epoch, stale : (members,) ndarray of int64
        Its number, counted from 1, and epochs since an improvement.
    """

    def __init__(self, update, members, size, dtype):
        self.moments = np.zeros((fg_update_n_states(update), members, size), dtype)
        self.running = np.ones((3, members))
        self.steps, self.epochs, self.best_epoch, self.stale = np.zeros((4, members), np.int64)
        self.outcome = np.full(members, FG_RUNNING, np.int32)
        self.best = np.zeros((members, size), dtype)
        self.best_value = np.full(members, np.inf)


cdef void *_writable(np.ndarray array, np.dtype dtype, int64_t size) except? NULL:
    """The address of a checked array; NULL for None."""
    if array is None:
        return NULL
    _check_array(array, dtype, size, True)
    return np.PyArray_DATA(array)


cdef int64_t _MOST_EPOCHS = 2**40


def train(
    Program program not None, np.ndarray parameters not None, list sources not None, int64_t n_rows, *, state, int n_leaves, int update,
    np.ndarray settings, np.ndarray learning_rate, np.ndarray seeds, int64_t batch_size, int64_t n_epochs,
    np.ndarray loss, np.ndarray seconds, np.ndarray rows=None, np.ndarray weights=None, bint shuffle=True,
    np.ndarray schedule=None, double weight_decay=0, double clip_value=0, double clip_norm=0,
    np.ndarray penalties=None, bint share_penalties=False, Program evaluation=None, list evaluation_sources=None,
    int64_t n_evaluation_rows=0,
    np.ndarray evaluation_weights=None, int monitor=0, int64_t patience=-1, double min_delta=0,
    np.ndarray validation_loss=None, np.ndarray score=None, np.ndarray step_loss=None, report=None,
):
    """Train members for some epochs, in place: see fg_training in csrc/fastgrad.h.

    Parameters
    ----------
    program : Program
        Its inputs are the leaves, a row's share and a lane value a source; its outputs the loss and the leaves'
        gradients.
    parameters : (members, size) ndarray
        The leaves one after another.
    sources : list of Source
        Data of `n_rows` rows.
    state : TrainingState
        Changed in place.
    """
    cdef int64_t members, size, n_history
    cdef _Dataset data, checked
    cdef _Watch watch = _Watch()
    cdef np.dtype integers = np.dtype(np.int64)
    cdef fg_training t
    cdef fg_error error
    cdef fg_status status
    cdef int i
    if parameters.ndim != 2 or n_leaves < 1 or n_epochs < 0 or batch_size < 1:
        raise ValueError("parameters must have 2 dimensions; leaves, epochs and rows of a minibatch are counted")
    members, size = parameters.shape[0], parameters.shape[1]
    if n_epochs > _MOST_EPOCHS // max(members, 1):
        raise ValueError(f"{n_epochs} epochs are more than can be")
    n_history = n_epochs * members
    data = _Dataset(program, n_leaves, sources, n_rows, weights)
    dtype = _dtype(fg_program_input_dtype(program.program, 0))
    t.program = program.program
    t.data = data.data
    t.members, t.batch_size, t.n_epochs, t.n_leaves, t.shuffle = members, batch_size, n_epochs, n_leaves, shuffle
    if n_leaves < 1 or n_leaves > program.n_inputs or fg_update_name(update) == NULL:
        raise ValueError("there are no leaves, or no such update rule")
    if sum([fg_program_input_size(program.program, i) for i in range(n_leaves)]) != size:
        raise ValueError(f"the leaves do not have {size} elements")
    t.parameters = _writable(parameters, dtype, members * size)
    t.rows, t.n_member_rows = NULL, 0
    if rows is not None:
        t.n_member_rows = rows.size // members
        _check_array(rows, integers, members * t.n_member_rows, False)
        t.rows = <const int64_t *>np.PyArray_DATA(rows)
    _check_array(seeds, np.dtype(np.uint64), members, False)
    t.seeds = <const uint64_t *>np.PyArray_DATA(seeds)
    t.update = update
    _check_array(settings, _FLOAT64, fg_update_n_settings(update), False)
    t.settings = <const double *>np.PyArray_DATA(settings)
    _check_array(learning_rate, _FLOAT64, members, False)
    t.learning_rate = <const double *>np.PyArray_DATA(learning_rate)
    t.schedule, t.n_schedule = NULL, 0
    if schedule is not None:
        t.n_schedule = schedule.size
        _check_array(schedule, _FLOAT64, t.n_schedule, False)
        t.schedule = <const double *>np.PyArray_DATA(schedule)
    t.weight_decay, t.clip_value, t.clip_norm = weight_decay, clip_value, clip_norm
    t.penalties, t.share_penalties = NULL, share_penalties
    if penalties is not None:
        _check_array(penalties, _FLOAT64, 2 * n_leaves, False)
        t.penalties = <const double *>np.PyArray_DATA(penalties)
    for required in (state.moments, state.running, state.steps, state.epochs, state.outcome, state.best, state.best_value,
                     state.best_epoch, state.stale, seeds, settings, learning_rate):
        if required is None:
            raise ValueError("an array of the state or of the settings is missing")
    _check_array(state.moments, dtype, fg_update_n_states(update) * members * size, True)
    _check_array(state.running, _FLOAT64, 3 * members, True)
    for i in range(3):
        t.state[i] = NULL
        if i < fg_update_n_states(update):
            t.state[i] = np.PyArray_DATA(state.moments[i])
        t.running[i] = <double *>np.PyArray_DATA(state.running[i])
    t.steps = <int64_t *>_writable(state.steps, integers, members)
    t.epochs = <int64_t *>_writable(state.epochs, integers, members)
    t.outcome = <int32_t *>_writable(state.outcome, np.dtype(np.int32), members)
    t.best = _writable(state.best, dtype, members * size)
    t.best_value = <double *>_writable(state.best_value, _FLOAT64, members)
    t.best_epoch = <int64_t *>_writable(state.best_epoch, integers, members)
    t.stale = <int64_t *>_writable(state.stale, integers, members)
    t.evaluation = NULL
    if evaluation is not None:
        if evaluation_sources is None:
            raise ValueError("evaluation_sources are missing")
        checked = _Dataset(evaluation, n_leaves, evaluation_sources, n_evaluation_rows, evaluation_weights)
        t.evaluation = evaluation.program
        t.evaluation_data = checked.data
    t.monitor, t.patience, t.min_delta = monitor, patience, min_delta
    t.loss = <double *>_writable(loss, _FLOAT64, n_history)
    t.seconds = <double *>_writable(seconds, _FLOAT64, n_history)
    t.validation_loss = <double *>_writable(validation_loss, _FLOAT64, n_history)
    t.score = <double *>_writable(score, _FLOAT64, n_history)
    own_rows = n_rows if rows is None else t.n_member_rows
    if step_loss is not None:
        n_steps = int(n_history) * -(-int(own_rows) // int(batch_size))
        if step_loss.size != n_steps:
            raise ValueError(f"step_loss must have {n_steps} elements")
    t.step_loss = <double *>_writable(step_loss, _FLOAT64, 0 if step_loss is None else step_loss.size)
    watch.report = report
    with nogil:
        status = fg_train(&t, _poll, <void *>watch, &error)
    if watch.error is not None:
        raise watch.error
    if status:
        _raise(status, &error)
