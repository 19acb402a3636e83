/* fastgrad: the C core's one public header.
 *
 * A program is a flat list of instructions over buffers. It is built from an array of 64-bit words, verified
 * once, and immutable from then on, so threads share it freely. It runs for one instance (fg_evaluate), for a
 * batch of instances (fg_evaluate_batch), or inside a descent (fg_descend). In a batch, instances are lanes:
 * a lane value of `size` elements is stored (size, n_lanes) with the lanes innermost, a uniform value (size,).
 *
 * Conventions: every fallible function returns fg_status, 0 on success, and explains a failure in the caller's
 * fg_error. Pointers are borrowed for the call. Nothing is written but what a contract names. Numerical outcomes
 * (converged, out of iterations, non-finite) are results, never failures. */
#ifndef FASTGRAD_H
#define FASTGRAD_H

#include <stddef.h>
#include <stdint.h>

/* ---- statuses ------------------------------------------------------------------------------------------ */

typedef enum {
    FG_OK = 0,
    FG_OUT_OF_MEMORY,   /* an allocation failed; everything the call took is released */
    FG_INVALID_PROGRAM, /* the words are not a well-formed program */
    FG_INVALID_VALUE,   /* an argument is out of range */
    FG_CANCELLED        /* the poll function asked to stop */
} fg_status;

typedef struct {
    char message[240];
} fg_error;

#define FG_CHECKED __attribute__((warn_unused_result))

/* ---- memory --------------------------------------------------------------------------------------------- */

/* Bytes and blocks now held by the core (all threads): what leak tests read. */
int64_t fg_live_bytes(void);
int64_t fg_live_blocks(void);

/* Memory for large results, for `bytes` or more, aligned to 64 and not zeroed; NULL when there is none. What is freed
 * is kept for the next ones, at most 4 blocks and 256 MiB, in such a way that the system takes it when memory is short.
 */
FG_CHECKED void *fg_result_alloc(size_t bytes);
size_t fg_result_bytes(const void *result); /* that it has room for */
void fg_result_free(void *result);          /* NULL is ignored */
/* Bytes that are kept; gives them all back to the system, and says how many they were. */
int64_t fg_kept_bytes(void);
int64_t fg_release_memory(void);

/* ---- processor and threads ------------------------------------------------------------------------------ */

/* Chooses the kernels: the best that the processor has, or the one that `name` forces ("baseline", "avx2",
 * "avx512", "neon"; NULL or "" for the best). FG_INVALID_VALUE when unknown or not supported here. */
FG_CHECKED fg_status fg_select_isa(const char *name, fg_error *error);
/* Name of the kernels in use; `fg_isa_name(i)` lists those this processor can run, NULL past the last. */
const char *fg_current_isa(void);
const char *fg_isa_name(int i);

/* Threads that a call may use, 1 to 1024. The pool starts them on first need and parks them between calls. */
FG_CHECKED fg_status fg_set_num_threads(int n, fg_error *error);
int fg_get_num_threads(void);

/* ---- programs ------------------------------------------------------------------------------------------- */

enum { FG_MAX_DIMS = 8, FG_MAX_INPUTS = 3, FG_MAX_DEPTH = 24 }; /* axes and operands of one instruction; nested loops */

typedef enum { FG_FLOAT64 = 0, FG_FLOAT32 = 1, FG_INT64 = 2 } fg_dtype; /* FG_INT64: see scan and tables */

/* Where a buffer lives. `position` is the number of the input or output, the first word of a constant, or the
 * byte offset in the arena (for a lane buffer: the byte offset for one lane). */
typedef enum { FG_INPUT = 0, FG_OUTPUT = 1, FG_CONSTANT = 2, FG_ARENA = 3 } fg_role;

/* The operations, from ops.def. */
typedef enum {
#define ELEMENTWISE(name, arity, expression) FG_OP_##name,
#define REDUCTION(name, identity, expression) FG_OP_##name,
#define STRUCTURAL(name, arity) FG_OP_##name,
#include "ops.def"
    FG_N_OPS
} fg_op;

typedef enum { FG_ELEMENTWISE, FG_REDUCTION, FG_STRUCTURAL, FG_GENERALISED } fg_op_kind;

const char *fg_op_name(int op); /* NULL when there is no such operation */
int fg_op_arity(int op);        /* operands read */
fg_op_kind fg_op_kind_of(int op);

/* A program's words:
 *   header       magic, n_buffers, n_instructions, n_uniform, n_across, n_inputs, n_outputs, n_constant_words
 *   buffers      role, dtype, is_lane, size, position                                        (5 words each)
 *   instructions op, dtype, n_dims, shape[n_dims], of scan: body, every, n_rows; then for the result and each operand:
 *                buffer, offset, stride[n_dims]                      (elements of one lane, not bytes)
 *   constants    raw words
 * The first n_uniform instructions touch uniform buffers alone and run once a call; the rest run for each block
 * of lanes. Axes of an instruction: an elementwise one all its own; a reduction's and dot's last axis is reduced;
 * matmul's and matmul_add's are (batch, m, n, k); gather's and scatter_add's single axis runs over
 * the table, whose numbers count from the offset of gather's operand and of scatter_add's result; a generalised
 * operation's last axes are its core (ops.def), where an operand has stride 0 along an axis that it lacks. The results
 * of sort_pairs (2, n), lu (n, n) and eigh (n, n) have 2, 1 and n + 1 rows more than the instruction's axes say.
 *
 * The last n_across instructions, and only they, are lane_sum and lane_matmul: sums over all lanes of a batch, made of
 * lane values after the other instructions of a block. Each makes the whole of a uniform output, in order from its
 * first element, which no other instruction reads or writes. lane_matmul's axes are (m, n, k). Only fg_train and
 * fg_total run such programs.
 *
 * scan repeats a body, a program of its own whose words a constant of FG_INT64 holds (no two loops share them), along
 * its one axis. The body's inputs are the carry and n_rows operands more; its outputs are the next carry and a row. At
 * step t operand i is read from its offset + t * stride[0] on. The result holds one after another: the last carry, the
 * rows, and where `every` is not 0 the carries before the steps 0, every, 2 every, ... When the result is a lane value
 * so is the carry; a uniform first carry is then the same for all lanes. */
#define FG_MAGIC INT64_C(0x3230444152474601)
enum { FG_HEADER_WORDS = 8, FG_BUFFER_WORDS = 5 };

typedef struct fg_program fg_program;

/* Builds and verifies; the words are copied. *out is NULL on failure. Refused: a wrong length, an unknown code,
 * a range outside its buffer, a size that overflows, a result that overlaps an operand in another order, a
 * written input or constant, an index outside its table's range. */
FG_CHECKED fg_status fg_program_create(const int64_t *words, size_t n_words, fg_program **out, fg_error *error);
void fg_program_destroy(fg_program *program); /* NULL is ignored */

int fg_program_n_inputs(const fg_program *program);
int fg_program_n_outputs(const fg_program *program);
int64_t fg_program_n_across(const fg_program *program); /* not 0: for fg_total and fg_train alone */
/* Elements (of one lane), dtype and kind of an input or output; i must be in range. */
int64_t fg_program_input_size(const fg_program *program, int i);
int64_t fg_program_output_size(const fg_program *program, int i);
fg_dtype fg_program_input_dtype(const fg_program *program, int i);
fg_dtype fg_program_output_dtype(const fg_program *program, int i);
int fg_program_input_is_lane(const fg_program *program, int i);
int fg_program_output_is_lane(const fg_program *program, int i);
/* Rough cost of one evaluation of one lane in nanoseconds: decides on threads and on releasing locks. */
double fg_program_cost(const fg_program *program);

/* ---- running -------------------------------------------------------------------------------------------- */

/* Called now and then (10 to 20 ms) by the thread that made the call; `done` instances are finished.
 * Non-zero cancels. */
typedef int (*fg_poll)(void *context, int64_t done);

/* A program made ready for single instances with the kernels in use: immutable, shared by threads. The program
 * must outlive it. */
typedef struct fg_machine fg_machine;
FG_CHECKED fg_status fg_machine_create(const fg_program *program, fg_machine **out, fg_error *error);
void fg_machine_destroy(fg_machine *machine); /* NULL is ignored */

/* One instance: each input and output is a contiguous array of its size, aligned to its dtype; lane buffers count
 * as batches of one. Outputs overlap neither inputs nor each other. */
FG_CHECKED fg_status fg_evaluate(const fg_machine *machine, const void *const *inputs, void *const *outputs,
                                 fg_poll poll, void *poll_context, fg_error *error);

/* `batch` instances: lane inputs and outputs are (batch, size) row-major, uniform inputs and outputs (size,). */
FG_CHECKED fg_status fg_evaluate_batch(const fg_program *program, int64_t batch, const void *const *inputs,
                                       void *const *outputs, fg_poll poll, void *poll_context, fg_error *error);

/* The directions of a Jacobian: a batch whose seeds need no memory. Lane inputs that are NULL are one unit vector:
 * their elements are counted through in order, and instance i has 1 at number i and 0 elsewhere. With `lanes_innermost`
 * the other lane inputs and the lane outputs are (size, n_directions), as forward mode wants them. */
FG_CHECKED fg_status fg_evaluate_directions(const fg_program *program, int64_t n_directions, const void *const *inputs,
                                            void *const *outputs, int lanes_innermost, fg_poll poll, void *poll_context,
                                            fg_error *error);

/* ---- descent -------------------------------------------------------------------------------------------- */

/* The update rules, from updates.def. */
typedef enum {
#define UPDATE(name, states, settings, running, coefficients, statement) FG_UPDATE_##name,
#include "updates.def"
    FG_N_UPDATES
} fg_update;

/* What a rule has at most: arrays like x, numbers that a lane carries on, coefficients of a step, settings. */
enum { FG_MAX_STATES = 3, FG_MAX_RUNNING = 3, FG_MAX_COEFFICIENTS = 3, FG_MAX_SETTINGS = 4 };

const char *fg_update_name(int update); /* NULL when there is no such rule */
int fg_update_n_settings(int update);
int fg_update_n_states(int update);

typedef enum {
    FG_RUNNING = -1,      /* a later call goes on */
    FG_CONVERGED = 0,     /* the largest absolute component of the gradient is at most gtol */
    FG_OUT_OF_ITERATIONS, /* maxiter updates were made */
    FG_NON_FINITE,        /* the gradient is not finite */
    FG_SMALL_CHANGE,      /* the last step changed the value by at most ftol */
    FG_SMALL_STEP,        /* the last step was no longer than xtol says */
    FG_OUT_OF_EVALUATIONS,
    FG_NO_PROGRESS,
    FG_STOPPED
} fg_outcome;

/* Where a descent stands between two calls; rows of an instance are read only if it made updates before. */
typedef struct {
    int64_t n_iterations;            /* most updates of an instance in this call */
    void *state[FG_MAX_STATES];      /* (batch, size) each, those that the rule has */
    double *running[FG_MAX_RUNNING]; /* (batch,) each */
    void *last[3];                   /* (batch,) each: the last step's first value, and squares of its and x's length */
} fg_standing;

/* Minimises output 0 of `program`, whose outputs are the gradient (like input 0) alone, or the value (one element)
 * and the gradient. Input 0 is the lane value that descends. All arrays are the caller's.
 *
 * In this order an iteration looks at the gradient, inside bounds at what they leave of it, and at the last step; clips
 * the gradient; takes rate weight_decay x off x; updates x; moves it into the bounds. Nothing is evaluated outside. */
typedef struct {
    const fg_program *program;
    fg_update update;
    int64_t batch;
    int64_t maxiter;
    int64_t record_every; /* 0: no history; else records iterations 0, k, 2k, ... */
    int64_t n_records;    /* rows of the history: maxiter / record_every + 1 */
    double gtol;          /* stops a lane; 0 stops at an exact zero, negative never */
    double ftol;          /* stops after |change of value| <= ftol max(1, |value|), the larger value; negative never */
    double xtol;          /* stops after a step of length <= xtol (xtol + length of x); negative never */
    const double *learning_rate; /* (batch,) or one element, see learning_rate_is_lane */
    int learning_rate_is_lane;
    const double *schedule; /* (n_schedule,) factors of the rate by an instance's iteration; the last holds. Or NULL */
    int64_t n_schedule;
    const double *settings;    /* of the update rule, e.g. beta1, beta2, epsilon */
    double weight_decay;       /* 0: none */
    double clip_value;         /* largest magnitude of a gradient's component; 0: any */
    double clip_norm;          /* largest length of a gradient; 0: any */
    const void *lower, *upper; /* (batch, size), or (size,) for all, see bounds_are_lane; both or none */
    int bounds_are_lane;
    const void *const *inputs;   /* as for fg_evaluate_batch; inputs[0] is x0 */
    void *x;                     /* (batch, size) final points; may be inputs[0] */
    int64_t *nit;                /* (batch,) updates made; with `standing` also those made before */
    int32_t *outcome;            /* (batch,) fg_outcome; with `standing` only those FG_RUNNING go on */
    void *history_fun;           /* (n_records, batch) or NULL; rows not reached are left as they were */
    void *history_norm;          /* (n_records, batch) or NULL: what gtol is compared with */
    void *history_step;          /* (n_records, batch) or NULL: length of the step that led here, 0 at first */
    void *history_x;             /* (n_records, batch, size) or NULL */
    int keep_best;               /* x is the point of least finite value seen (needs the value output) */
    const fg_standing *standing; /* to go on in a later call, bit by bit as if in one; or NULL. Not with keep_best */
    int64_t *lane_steps;         /* 2 numbers or NULL: steps of lanes that held an instance, and of all lanes */
} fg_descent;

FG_CHECKED fg_status fg_descend(const fg_descent *descent, fg_poll poll, void *poll_context, fg_error *error);

/* ---- repeating a program -------------------------------------------------------------------------------- */

/* Runs `program` for each instance again and again, state in and state out, until it says stop. Its first n_state
 * inputs and outputs are the state: lane values, alike in pairs. One more output, one element of a lane, is 0 to go on,
 * else 1 + the outcome. All arrays are the caller's. */
typedef struct {
    const fg_program *program;
    int64_t batch;
    int64_t n_state;
    const void *const *inputs; /* as for fg_evaluate_batch; a state that is NULL starts at zero */
    void *const *results;      /* n_state arrays (batch, size), NULL for what is not wanted; may be the inputs */
    int32_t *outcome;          /* (batch,); -1 where max_runs came first */
    int64_t max_runs;          /* of an instance in this call */
    int64_t counter;           /* the state of one element that counts iterations */
    int64_t record_every;      /* 0: no history; else states are recorded where the counter becomes 0, k, 2k, ... */
    int64_t n_records;         /* rows of the history; what goes beyond is not recorded */
    void *const *history;      /* n_state arrays (n_records, batch, size), NULL for what is not recorded, or NULL */
    int64_t *runs;             /* [0]: runs of instances; [1]: the same and those of idle lanes */
} fg_iteration;

FG_CHECKED fg_status fg_iterate(const fg_iteration *iteration, fg_poll poll, void *poll_context, fg_error *error);

/* ---- fields on grids ------------------------------------------------------------------------------------ */

enum { FG_MAX_FIELD_DIMS = 64 };

/* Weights of n stencils, (n, width): what samples are multiplied by so that their sum is a derivative, exactly for
 * polynomials of a degree below `width`. The samples are at offsets[i, j] from where the derivative is taken. Refused:
 * a derivative that so few samples do not have. */
FG_CHECKED fg_status fg_weights(int64_t n, int64_t width, const double *offsets, int derivative, double *weights,
                                fg_poll poll, void *poll_context, fg_error *error);

/* The same at each of n coordinates, from the neighbouring ones from number first[i] on, which is a result as well. A
 * point is in the middle of its samples as far as the ends allow, and of an even number there is one more on the side
 * of the nearer end. Refused as well: a width greater than n. */
FG_CHECKED fg_status fg_windows(int64_t n, int64_t width, const double *coords, int derivative, int64_t *first,
                                double *weights, fg_poll poll, void *poll_context, fg_error *error);

/* Points of an axis that follow one another and are made in one way: the sum over n_taps samples with weights. */
typedef struct {
    int64_t n_points, n_taps;
    const int64_t *at;   /* tap t of point i is sample i + at[t], or with `fixed` sample at[t] */
    const void *weights; /* of the field's dtype. With `by_point` point p of the span has weights[t * weight_row + p] */
    int by_point, fixed; /* fixed only with by_point */
    int64_t weight_row;
} fg_span;

/* An axis along which differences are taken; spans follow one another and cover it. A weight of 0 leaves a tap out. */
typedef struct {
    int axis;
    int64_t n_spans;
    const fg_span *spans;
    double scale; /* of the sum over taps */
} fg_axis;

/* out = (accumulate ? out : 0) + sum over axes of scale * sum over taps: several axes in one pass over memory. The
 * sum's order is that of the axes and of the taps; taps of a span in mirrored places t and n_taps - 1 - t whose weights
 * have the same magnitude enter as a sum or a difference, before the others. Strides are in bytes: any for the field,
 * for the result those of separate elements that do not overlap the field. */
typedef struct {
    fg_dtype dtype; /* FG_FLOAT64 or FG_FLOAT32 */
    int n_dims;
    const int64_t *shape;
    const void *in;
    const int64_t *in_strides;
    void *out;
    const int64_t *out_strides;
    int n_axes;
    const fg_axis *axes;
    int accumulate;
} fg_field;

/* Refused: an axis that is not there or given twice, spans that do not cover theirs, a tap outside it. FG_CANCELLED
 * leaves part of the result written. */
FG_CHECKED fg_status fg_stencil(const fg_field *field, fg_poll poll, void *poll_context, fg_error *error);

/* Lines along an axis of an array, each of which is replaced by the u with tie u[i-1] + u[i] + tie u[i+1] = line[i].
 * Beyond its ends u is 0, or with `periodic` goes round. Strides are in bytes, and those of separate elements. */
typedef struct {
    fg_dtype dtype; /* FG_FLOAT64 or FG_FLOAT32 */
    int n_dims;
    const int64_t *shape;
    void *data;
    const int64_t *strides;
    int axis;
    double tie;
    int periodic;
} fg_ties;

/* Refused: an axis that is not there, a tie of 1/2 or more in magnitude. FG_CANCELLED leaves the
 * lines in part solved. */
FG_CHECKED fg_status fg_solve_ties(const fg_ties *ties, fg_poll poll, void *poll_context, fg_error *error);

/* ---- training ------------------------------------------------------------------------------------------- */

/* Kinds of data that rows are read from; noise has no data: random numbers of [0, 1), new ones in every step. */
typedef enum { FG_DATA_FLOAT64, FG_DATA_FLOAT32, FG_DATA_INT64, FG_DATA_INT32, FG_DATA_UINT8, FG_DATA_NOISE } fg_data;

/* Where the rows of a lane input come from: row r starts at data + r row_stride, its elements follow one another, or
 * stand `offsets` bytes behind that. They are read as value * scale + shift. Nothing need be aligned. */
typedef struct {
    fg_data kind;
    const void *data;
    int64_t row_stride; /* bytes */
    const int64_t *offsets;
    double scale, shift;
} fg_source;

/* Rows for a program whose inputs are `n_leaves` uniform values, of one dtype, then one number of a lane, the share of
 * a row, then a lane value for each source; its outputs are uniform, and sums over lanes where they depend on them. */
typedef struct {
    const fg_source *sources;
    int64_t n_rows;
    const double *weights; /* (n_rows,) or NULL: all alike */
} fg_dataset;

/* Runs `program` for all rows; the share of a row is its weight as a part of all. outputs[i] gets the sum over rows. */
FG_CHECKED fg_status fg_total(const fg_program *program, int64_t n_leaves, const void *const *leaves,
                              const fg_dataset *data, void *const *outputs, fg_poll poll, void *poll_context,
                              fg_error *error);

/* What is watched for improvement. */
typedef enum { FG_MONITOR_LOSS, FG_MONITOR_VALIDATION, FG_MONITOR_SCORE } fg_monitor;

/* Minibatch descent of `members` vectors of parameters, each of which holds the leaves of `program` one after another.
 * The program's outputs are the loss (one element) and the gradients of all leaves; the share of a row is its weight as
 * a part of its minibatch. All arrays are the caller's; those of members have these as first axis.
 *
 * The order of rows in an epoch is a function of the member's seed and the epoch's number, noise one of its seed and
 * the step's: so a call goes on where the last one ended as if they were one. In this order a step adds the penalties
 * to the gradient, clips it, takes rate weight_decay x off x, and updates x. A loss that is not finite stops a member
 * and takes it back to its best parameters. */
typedef struct {
    const fg_program *program;
    fg_dataset data;
    int64_t members, batch_size;
    const int64_t *rows; /* (members, n_member_rows) the rows that a member learns from, or NULL: all, n_rows of them */
    int64_t n_member_rows;
    int64_t n_epochs; /* of this call */
    int shuffle;
    const uint64_t *seeds; /* (members,) */
    fg_update update;
    const double *settings;
    const double *learning_rate; /* (members,) */
    const double *schedule;      /* (n_schedule,) factors of the rate by step; the last holds. Or NULL */
    int64_t n_schedule;
    double weight_decay, clip_value, clip_norm; /* 0: none */
    const double *penalties;                    /* (n_leaves, 2): l1 and l2; or NULL */
    int share_penalties;                        /* whether they are divided by the weight of the minibatch */
    int64_t n_leaves;
    /* state: zeros at first, but 1 for running numbers and FG_RUNNING for outcomes */
    void *parameters;                /* (members, size) */
    void *state[FG_MAX_STATES];      /* the same, those that the rule has */
    double *running[FG_MAX_RUNNING]; /* (members,) */
    int64_t *steps, *epochs;         /* (members,) made so far */
    int32_t *outcome;                /* (members,) fg_outcome; only those FG_RUNNING go on */
    void *best;                  /* (members, size) the parameters of the best epoch's end, and what was watched then */
    double *best_value;          /* (members,) */
    int64_t *best_epoch, *stale; /* (members,) epochs since an improvement */
    /* stopping */
    const fg_program *evaluation; /* as `program`, with the loss and perhaps a score as outputs; or NULL */
    fg_dataset evaluation_data;
    fg_monitor monitor;
    int64_t patience; /* epochs without improvement that stop a member; -1: any number */
    double min_delta; /* what counts as one */
    /* history of this call, (n_epochs, members); rows not reached are left as they were; or NULL */
    double *loss, *validation_loss, *score, *seconds;
    double *step_loss; /* (n_epochs * steps of an epoch, members) or NULL */
} fg_training;

/* FG_CANCELLED leaves the parameters as they were after some step, and what belongs to them; the epoch under way then
 * counts as not begun, and a next call takes its rows from the first on. */
FG_CHECKED fg_status fg_train(const fg_training *training, fg_poll poll, void *poll_context, fg_error *error);

/* ---- differences of the caller's functions -------------------------------------------------------------- */

/* A function of the caller's: of n numbers at x, that it may overwrite, and its own data. One of the two is NULL. */
typedef struct {
    double (*with_data)(int n, double *x, void *data);
    double (*without_data)(int n, double *x);
    void *data;
} fg_function;

/* values[i] is the function at the i-th of n_points rows of n numbers. At most `most_workers` threads call it at the
 * same time, those of the pool and the caller's own, as many as the work is worth. */
FG_CHECKED fg_status fg_points(const fg_function *function, int64_t n_points, int64_t n, double *points, double *values,
                               int most_workers, fg_poll poll, void *poll_context, fg_error *error);

/* Where a sparse matrix may differ from zero: row i has column[start[i]] to column[start[i + 1] - 1]. */
typedef struct {
    int64_t n_rows, n_columns, n_entries;
    const int64_t *start;  /* (n_rows + 1,) */
    const int64_t *column; /* (n_entries,) */
} fg_pattern;

/* An order of the columns in which those that share a row are near each other: breadth first from the first of `starts`
 * (each column once), then from the next one not reached. `columns` is the transposed pattern, `scratch` has room for
 * n_rows + n_columns numbers. */
FG_CHECKED fg_status fg_order_by_breadth(const fg_pattern *rows, const fg_pattern *columns, const int64_t *starts,
                                         int64_t *order, int64_t *scratch, fg_error *error);

/* Numbers groups of columns from 0, so that no two of a group share a row. `columns` is the transposed pattern, `order`
 * holds each column once, `scratch` is 2 n_columns numbers. */
FG_CHECKED fg_status fg_group_columns(const fg_pattern *rows, const fg_pattern *columns, const int64_t *order,
                                      int64_t *group, int64_t *scratch, fg_poll poll, void *poll_context,
                                      fg_error *error);

/* The same for a symmetric pattern, fewer groups: of elements (i, j) and (j, i) one is alone in its row among the
 * columns of its group. That is a star colouring: any four vertices of a path have three groups. */
FG_CHECKED fg_status fg_group_symmetric(const fg_pattern *pattern, const int64_t *order, int64_t *group,
                                        int64_t *scratch, fg_poll poll, void *poll_context, fg_error *error);

/* Where values around a point are taken, and what is made of them: a derivative's Taylor term, and how good it is. */
enum { FG_MOST_PAIRS = 8 };
typedef struct {
    int32_t n_nodes;
    const double
        *weights; /* (n_nodes + 1, n_nodes): of the derivative's term, extrapolated, then of terms 1 .. n_nodes */
    const double *noise;  /* (n_nodes + 1,): how much these weights magnify independent errors of the values */
    const double *within; /* (n_nodes,): what the terms 1 .. n_nodes of a function wrongly add to the first */
    const double *beyond; /* (2,): what the next two add, with a margin */
} fg_extrapolant;

/* What is known of a value that all rows share. */
typedef struct {
    double condition;  /* what an error of the point by 1 ulp does to it, in eps */
    double asked;      /* the error that is small against all rows together */
    int32_t digits;    /* binary ones of the longest value */
    int32_t is_single; /* values are of single precision, whatever they are stored in */
} fg_column;

/* Derivatives of n_columns values by n rows. Of a shared function every row moves one component of one point, so that
 * what rounds its value rounds all of them; otherwise every row is a point of its own. */
typedef struct {
    fg_extrapolant central, sided;
    int32_t derivative, order; /* of the error, as a power of the step */
    int is_shared;
    int64_t n, n_columns;
    const double *far;   /* (n,): from zero, each row's number */
    const double *value; /* at the point, (n_columns,), or at each of them, (n, n_columns) */
    const double *noise; /* (n_columns,) or NULL: standard deviation of the values */
    /* of a shared function, kept from level to level, zero at first: */
    double *slope;     /* (n, n_columns) */
    double *scale;     /* (n,): of the errors that are asked for */
    fg_column *column; /* (n_columns,) */
} fg_extrapolation;

enum { FG_FLAT = 2, FG_UNSEEN = 3 };

/* One step for each of some rows, and what comes of it. */
typedef struct {
    int64_t n_rows;
    const int64_t *rows;     /* (n_rows,), or NULL for all, as the first time */
    const uint8_t *is_sided; /* (n_rows,), or NULL */
    const double *step;      /* (n_rows,) */
    const double *around;    /* (n_nodes, n_rows, n_columns): values */
    double eps, rtol;        /* rounding of the values, and the error that will do */
    double *found, *error;   /* (n_rows, n_columns), as what follows */
    double *balance;         /* of rounding to truncation: 1 with the best step */
    uint8_t *
        is_fine; /* the error will do: 1, or FG_FLAT where no value differs, FG_UNSEEN where rounding hides all of it */
} fg_level;

/* The search of every row for the step that suits all its columns. */
typedef struct {
    double *found, *error; /* (n, n_columns): the best so far */
    double *reach;         /* (n, n_columns): its step */
    uint8_t *is_settled;   /* (n, n_columns): 1, or 2 where a further level has to confirm it */
    double *step;          /* (n,): of the last that was better, negative where one-sided nodes are below */
    int64_t *status;       /* (n,): a fg_difference */
    double *small, *large; /* (n,): between which steps the search goes on */
    int32_t *n_broken;     /* (n,): levels with values that are not finite */
    int32_t *n_idle;       /* (n,): levels in a row that made nothing better */
} fg_search;

typedef enum { FG_FINE, FG_INACCURATE, FG_NOT_FINITE, FG_NO_ROOM } fg_difference;

/* How long the steps may be that rows want, and whether nodes go to one side for it: where that makes them 4 times
 * longer. `room` is (2, n), below and above, `rows` is NULL for all. Returns whether any is one-sided. */
int fg_place(const fg_extrapolation *extrapolation, const double *room, const int64_t *rows, int64_t n_rows,
             double *step, uint8_t *is_sided);

void fg_search_begin(const fg_extrapolation *extrapolation, const fg_level *level, fg_search *search);

/* Learns from a level; `rows`, `step` and `is_sided` of the next one, whose number is returned. `first` steps are taken
 * again where all nodes move to one side, as there is nothing on the other; `room` remembers that. */
int64_t fg_search_next(const fg_extrapolation *extrapolation, const fg_level *level, fg_search *search,
                       const double *first, double *room, int64_t *rows, double *step, uint8_t *is_sided);

void fg_search_end(const fg_extrapolation *extrapolation, const fg_level *level, fg_search *search);

/* Derivatives and their errors. `eps` becomes the rounding of the values: coarser than was said, where all of them show
 * it. */
FG_CHECKED fg_status fg_extrapolate(const fg_extrapolation *extrapolation, const fg_level *level, double *eps,
                                    fg_error *error);

#endif
