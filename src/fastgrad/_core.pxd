# Mirrors csrc/fastgrad.h: what the module uses of it.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "fastgrad.h" nogil:
    ctypedef enum fg_status:
        FG_OK
        FG_OUT_OF_MEMORY
        FG_INVALID_PROGRAM
        FG_INVALID_VALUE
        FG_CANCELLED

    ctypedef struct fg_error:
        char message[240]

    int64_t fg_live_bytes()
    int64_t fg_live_blocks()
    void *fg_result_alloc(size_t bytes)
    size_t fg_result_bytes(const void *result)
    void fg_result_free(void *result)
    int64_t fg_kept_bytes()
    int64_t fg_release_memory()

    fg_status fg_select_isa(const char *name, fg_error *error)
    const char *fg_current_isa()
    const char *fg_isa_name(int i)
    fg_status fg_set_num_threads(int n, fg_error *error)
    int fg_get_num_threads()

    ctypedef enum fg_dtype:
        FG_FLOAT64
        FG_FLOAT32
        FG_INT64

    const char *fg_op_name(int op)
    int fg_op_arity(int op)
    int fg_op_kind_of(int op)

    ctypedef struct fg_program:
        pass
    fg_status fg_program_create(const int64_t *words, size_t n_words, fg_program **out, fg_error *error)
    void fg_program_destroy(fg_program *program)
    int fg_program_n_inputs(const fg_program *program)
    int fg_program_n_outputs(const fg_program *program)
    int64_t fg_program_n_across(const fg_program *program)
    int64_t fg_program_input_size(const fg_program *program, int i)
    int64_t fg_program_output_size(const fg_program *program, int i)
    fg_dtype fg_program_input_dtype(const fg_program *program, int i)
    fg_dtype fg_program_output_dtype(const fg_program *program, int i)
    int fg_program_input_is_lane(const fg_program *program, int i)
    int fg_program_output_is_lane(const fg_program *program, int i)
    double fg_program_cost(const fg_program *program)

    ctypedef int (*fg_poll)(void *context, int64_t done) noexcept

    ctypedef struct fg_machine:
        pass
    fg_status fg_machine_create(const fg_program *program, fg_machine **out, fg_error *error)
    void fg_machine_destroy(fg_machine *machine)
    fg_status fg_evaluate(const fg_machine *machine, const void *const *inputs, void *const *outputs,
                          fg_poll poll, void *poll_context, fg_error *error)
    fg_status fg_evaluate_batch(const fg_program *program, int64_t batch, const void *const *inputs,
                                void *const *outputs, fg_poll poll, void *poll_context, fg_error *error)
    fg_status fg_evaluate_directions(const fg_program *program, int64_t n_directions, const void *const *inputs,
                                     void *const *outputs, int lanes_innermost, fg_poll poll, void *poll_context,
                                     fg_error *error)

    ctypedef enum fg_outcome:
        FG_RUNNING

    ctypedef int fg_update
    const char *fg_update_name(int update)
    int fg_update_n_settings(int update)
    int fg_update_n_states(int update)
    ctypedef struct fg_standing:
        int64_t n_iterations
        void *state[3]
        double *running[3]
        void *last[3]
    ctypedef struct fg_descent:
        const fg_program *program
        fg_update update
        int64_t batch, maxiter, record_every, n_records
        double gtol, ftol, xtol
        const double *learning_rate
        int learning_rate_is_lane
        const double *schedule
        int64_t n_schedule
        const double *settings
        double weight_decay, clip_value, clip_norm
        const void *lower
        const void *upper
        int bounds_are_lane
        const void *const *inputs
        void *x
        int64_t *nit
        int32_t *outcome
        void *history_fun
        void *history_norm
        void *history_step
        void *history_x
        int keep_best
        const fg_standing *standing
        int64_t *lane_steps
    fg_status fg_descend(const fg_descent *descent, fg_poll poll, void *poll_context, fg_error *error)

    ctypedef struct fg_iteration:
        const fg_program *program
        int64_t batch, n_state
        const void *const *inputs
        void *const *results
        int32_t *outcome
        int64_t max_runs, counter, record_every, n_records
        void *const *history
        int64_t *runs
    fg_status fg_iterate(const fg_iteration *iteration, fg_poll poll, void *poll_context, fg_error *error)

    ctypedef struct fg_span:
        int64_t n_points, n_taps
        const int64_t *at
        const void *weights
        int by_point, fixed
        int64_t weight_row
    ctypedef struct fg_axis:
        int axis
        int64_t n_spans
        const fg_span *spans
        double scale
    ctypedef struct fg_field:
        fg_dtype dtype
        int n_dims
        const int64_t *shape
        const void *in_ "in"
        const int64_t *in_strides
        void *out
        const int64_t *out_strides
        int n_axes
        const fg_axis *axes
        int accumulate
    fg_status fg_stencil(const fg_field *field, fg_poll poll, void *poll_context, fg_error *error)
    fg_status fg_weights(
        int64_t n, int64_t width, const double *offsets, int derivative, double *weights, fg_poll poll,
        void *poll_context, fg_error *error)
    fg_status fg_windows(
        int64_t n, int64_t width, const double *coords, int derivative, int64_t *first, double *weights, fg_poll poll,
        void *poll_context, fg_error *error)
    ctypedef struct fg_ties:
        fg_dtype dtype
        int n_dims
        const int64_t *shape
        void *data
        const int64_t *strides
        int axis
        double tie
        int periodic
    fg_status fg_solve_ties(const fg_ties *ties, fg_poll poll, void *poll_context, fg_error *error)

    ctypedef enum fg_data:
        FG_DATA_FLOAT64
        FG_DATA_FLOAT32
        FG_DATA_INT64
        FG_DATA_INT32
        FG_DATA_UINT8
        FG_DATA_NOISE
    ctypedef struct fg_source:
        fg_data kind
        const void *data
        int64_t row_stride
        const int64_t *offsets
        double scale, shift
    ctypedef struct fg_dataset:
        const fg_source *sources
        int64_t n_rows
        const double *weights
    fg_status fg_total(const fg_program *program, int64_t n_leaves, const void *const *leaves,
                       const fg_dataset *data, void *const *outputs, fg_poll poll, void *poll_context, fg_error *error)
    ctypedef int fg_monitor
    ctypedef struct fg_training:
        const fg_program *program
        fg_dataset data
        int64_t members, batch_size
        const int64_t *rows
        int64_t n_member_rows, n_epochs
        int shuffle
        const uint64_t *seeds
        fg_update update
        const double *settings
        const double *learning_rate
        const double *schedule
        int64_t n_schedule
        double weight_decay, clip_value, clip_norm
        const double *penalties
        int share_penalties
        int64_t n_leaves
        void *parameters
        void *state[3]
        double *running[3]
        int64_t *steps
        int64_t *epochs
        int32_t *outcome
        void *best
        double *best_value
        int64_t *best_epoch
        int64_t *stale
        const fg_program *evaluation
        fg_dataset evaluation_data
        fg_monitor monitor
        int64_t patience
        double min_delta
        double *loss
        double *validation_loss
        double *score
        double *seconds
        double *step_loss
    fg_status fg_train(const fg_training *training, fg_poll poll, void *poll_context, fg_error *error)

    ctypedef struct fg_function:
        double (*with_data)(int n, double *x, void *data) noexcept
        double (*without_data)(int n, double *x) noexcept
        void *data
    fg_status fg_points(const fg_function *function, int64_t n_points, int64_t n, double *points, double *values,
                        int most_workers, fg_poll poll, void *poll_context, fg_error *error)

    ctypedef struct fg_pattern:
        int64_t n_rows, n_columns, n_entries
        const int64_t *start
        const int64_t *column
    fg_status fg_order_by_breadth(const fg_pattern *rows, const fg_pattern *columns, const int64_t *starts,
                                  int64_t *order, int64_t *scratch, fg_error *error)
    fg_status fg_group_columns(const fg_pattern *rows, const fg_pattern *columns, const int64_t *order, int64_t *group,
                               int64_t *scratch, fg_poll poll, void *poll_context, fg_error *error)
    fg_status fg_group_symmetric(const fg_pattern *pattern, const int64_t *order, int64_t *group, int64_t *scratch,
                                 fg_poll poll, void *poll_context, fg_error *error)

    ctypedef struct fg_extrapolant:
        int32_t n_nodes
        const double *weights
        const double *noise
        const double *within
        const double *beyond
    ctypedef struct fg_column:
        pass
    ctypedef struct fg_extrapolation:
        fg_extrapolant central, sided
        int32_t derivative, order
        int is_shared
        int64_t n, n_columns
        const double *far
        const double *value
        const double *noise
        double *slope
        double *scale
        fg_column *column
    ctypedef struct fg_level:
        int64_t n_rows
        const int64_t *rows
        const uint8_t *is_sided
        const double *step
        const double *around
        double eps, rtol
        double *found
        double *error
        double *balance
        uint8_t *is_fine
    fg_status fg_extrapolate(const fg_extrapolation *extrapolation, const fg_level *level, double *eps, fg_error *error)

    ctypedef struct fg_search:
        double *found
        double *error
        double *reach
        uint8_t *is_settled
        double *step
        int64_t *status
        double *small
        double *large
        int32_t *n_broken
        int32_t *n_idle
    int fg_place(const fg_extrapolation *extrapolation, const double *room, const int64_t *rows, int64_t n_rows,
                 double *step, uint8_t *is_sided)
    void fg_search_begin(const fg_extrapolation *extrapolation, const fg_level *level, fg_search *search)
    int64_t fg_search_next(const fg_extrapolation *extrapolation, const fg_level *level, fg_search *search,
                           const double *first, double *room, int64_t *rows, double *step, uint8_t *is_sided)
    void fg_search_end(const fg_extrapolation *extrapolation, const fg_level *level, fg_search *search)
