/* Minibatch descent: rows are lanes, the parameters uniform values, and their gradient a sum over lanes.
 *
 * A step has two phases. First each worker runs the program's instructions on lanes for its blocks of the minibatch's
 * rows, which gives every layer's values and deltas. Then each sums its pieces of the gradient over all rows, and
 * updates the parameters of a piece while its gradient is in cache. What no worker can do alone is done by the last one
 * that comes to a meeting. Small networks train many at a time, each by one worker. */
#include <math.h>
#include <string.h>

#include "alloc.h"
#include "pass.h"
#include "random.h"
#include "status.h"

enum { WHOLE = 4096 }; /* so few parameters are updated at once */

typedef union {
    double wide;
    float narrow;
} number; /* in the dtype of the parameters */

typedef struct {
    const fg_training *t;
    const fg_kernels *kernels;
    fg_watch *watch;
    fg_crew crew;
    _Atomic int64_t *queue; /* of members: the next one */
    fg_pass pass, evaluation;
    int dtype;
    int64_t item, size; /* of all parameters */
    int64_t *leaf;      /* where each starts, and the end */
    int64_t *order;
    char *gradient;
    double *sum; /* of a piece: its penalty, then the squares of its gradient */
    number loss, validation[2];
    /* the member at work */
    int64_t member, epoch, n_rows, batch, start, n;
    fg_portion portion, evaluated;
    char *parameters, *state[FG_MAX_STATES];
    number c[FG_MAX_COEFFICIENTS], shrink, clipped;
    double total_weight, loss_sum, weight_sum, penalty;
    double started;
    int has_member, goes_on, is_under_way, is_last_round;
} training_run;

static double value_of(const training_run *r, const number *x) {
    return r->dtype == FG_FLOAT64 ? x->wide : (double)x->narrow;
}

static number number_of(const training_run *r, double value) {
    return r->dtype == FG_FLOAT64 ? (number){.wide = value} : (number){.narrow = (float)value};
}

/* ---- a piece of the parameters ---------------------------------------------------------------------------- */

/* x op b for n elements and one number. */
static void apply(const training_run *r, fg_op op, int64_t n, char *x, number *b) {
    const fg_rows rows = {.n_rows = 1, .width = n, .splat = 2};
    r->kernels->rows[op][r->dtype](&rows, (void *const[]){x, x, b});
}

static void cut(const training_run *r, char *gradient, int64_t n) {
    number low = number_of(r, -r->t->clip_value), high = number_of(r, r->t->clip_value);
    if (r->t->clip_value <= 0)
        return;
    apply(r, FG_OP_maximum, n, gradient, &low);
    apply(r, FG_OP_minimum, n, gradient, &high);
}

static double add_penalty(const training_run *r, int64_t leaf, int64_t start, int64_t n) {
    const double *l = r->t->penalties ? r->t->penalties + 2 * leaf : NULL;
    if (!l || (l[0] == 0 && l[1] == 0))
        return 0;
    const int64_t skip = (r->leaf[leaf] + start) * r->item;
    const double weight = r->t->share_penalties ? r->portion.total_weight : 1, unit = weight != 0 ? 1 / weight : 0;
    return r->kernels->penalise[r->dtype](n, unit * l[0], unit * l[1], r->parameters + skip, r->gradient + skip);
}

/* Elements start to start + n - 1 of all parameters. */
static void update(const training_run *r, int64_t start, int64_t n) {
    const int64_t skip = start * r->item;
    char *x = r->parameters + skip, *g = r->gradient + skip;
    if (r->t->clip_norm > 0) /* then it was cut before */
        apply(r, FG_OP_multiply, n, g, (number[]){r->clipped});
    else
        cut(r, g, n);
    if (r->t->weight_decay != 0)
        apply(r, FG_OP_multiply, n, x, (number[]){r->shrink});
    fg_step step = {.size = n, .n_lanes = 1, .x = x, .gradient = g, .settings = r->t->settings};
    for (int i = 0; i < FG_MAX_STATES; i++)
        step.state[i] = r->state[i] ? r->state[i] + skip : NULL;
    for (int i = 0; i < FG_MAX_COEFFICIENTS; i++)
        step.c[i] = &r->c[i];
    r->kernels->step[r->t->update][r->dtype](&step);
}

/* The squares of what is left of a gradient when its components are cut. */
static double squares(const training_run *r, int64_t start, int64_t n) {
    char *g = r->gradient + start * r->item;
    cut(r, g, n);
    number sum;
    const fg_fold fold = {.n = n, .width = 1, .stride = {1, 1}};
    r->kernels->fold[FG_OP_dot][r->dtype](&fold, (void *const[]){&sum, g, g});
    return value_of(r, &sum);
}

static void sum_piece(training_run *r, int64_t i) {
    const fg_piece *piece = &r->pass.pieces[i];
    fg_pass_piece(&r->pass, &r->portion, piece, r->portion.place > 0);
    if (piece->output == 0 || !r->is_last_round)
        return;
    const int64_t leaf = piece->output - 1, start = r->leaf[leaf] + piece->start;
    r->sum[2 * i] = add_penalty(r, leaf, piece->start, piece->n);
    if (r->t->clip_norm > 0)
        r->sum[2 * i + 1] = squares(r, start, piece->n);
    else if (r->size > WHOLE)
        update(r, start, piece->n);
}

static void update_piece(training_run *r, int64_t i) {
    const fg_piece *piece = &r->pass.pieces[i];
    if (piece->output > 0)
        update(r, r->leaf[piece->output - 1] + piece->start, piece->n);
}

/* ---- what one worker does between phases -------------------------------------------------------------------- */

/* The order of an epoch depends on the member's seed and the epoch alone. */
static void shuffle(training_run *r) {
    const fg_training *t = r->t;
    const int64_t *rows = t->rows ? t->rows + r->member * r->n_rows : NULL, n = r->n_rows;
    if (!r->order)
        return;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = rows ? rows[i] : i;
        r->order[i] = row >= 0 && row < t->data.n_rows ? row : 0; /* the caller may have changed them meanwhile */
    }
    const uint64_t key = fg_stream(t->seeds[r->member], (uint64_t)t->epochs[r->member]);
    for (int64_t i = n - 1; t->shuffle && i > 0; i--) {
        const int64_t j = (int64_t)fg_random_below(key, (uint64_t)i, (uint64_t)i + 1), other = r->order[j];
        r->order[j] = r->order[i];
        r->order[i] = other;
    }
}

static void set_coefficients(training_run *r) {
    const fg_training *t = r->t;
    const int64_t step = t->steps[r->member];
    const double factor = t->schedule ? t->schedule[step < t->n_schedule ? step : t->n_schedule - 1] : 1;
    const double rate = t->learning_rate[r->member] * factor;
    fg_prepare prepare = {.n = 1, .settings = t->settings, .learning_rate = &rate};
    for (int i = 0; i < FG_MAX_RUNNING; i++)
        prepare.running[i] = t->running[i] + r->member;
    for (int i = 0; i < FG_MAX_COEFFICIENTS; i++)
        prepare.c[i] = &r->c[i];
    r->kernels->prepare[t->update][r->dtype](&prepare);
    r->shrink = number_of(r, 1 - rate * t->weight_decay);
}

/* The rows of the minibatch from `place` on; parameters are updated in the last round. */
static void set_round(training_run *r, int64_t place) {
    const int64_t most = fg_pass_rows(&r->pass), left = r->n - place;
    r->portion.rows = r->order ? r->order + r->start + place : NULL;
    r->portion.start = r->start + place;
    r->portion.place = place;
    r->portion.n = left < most ? left : most;
    r->is_last_round = left <= most;
}

static void begin_step(training_run *r) {
    const fg_training *t = r->t;
    const int64_t left = r->n_rows - r->start;
    r->n = left < r->batch ? left : r->batch;
    set_round(r, 0);
    r->portion.total_weight = fg_pass_weight(&t->data, r->portion.rows, r->start, r->n);
    r->portion.key = fg_stream(~t->seeds[r->member], (uint64_t)t->steps[r->member]);
    fg_pass_uniform(&r->pass);
    r->is_under_way = 1;
}

static void begin_epoch(training_run *r) {
    shuffle(r);
    r->start = 0;
    r->loss_sum = r->weight_sum = 0;
    begin_step(r);
}

static int is_cancelled(const training_run *r) {
    return atomic_load_explicit(&r->watch->cancelled, memory_order_relaxed);
}

static int goes_on(const training_run *r) {
    return r->t->outcome[r->member] == FG_RUNNING && r->epoch < r->t->n_epochs && !is_cancelled(r);
}

static void begin_member(void *context) {
    training_run *r = context;
    const fg_training *t = r->t;
    r->member = atomic_fetch_add(r->queue, 1);
    r->has_member = r->member < t->members;
    r->goes_on = 0;
    if (!r->has_member)
        return;
    const int64_t skip = r->member * r->size * r->item;
    r->epoch = 0;
    r->parameters = (char *)t->parameters + skip;
    for (int i = 0; i < FG_MAX_STATES; i++)
        r->state[i] = t->state[i] ? (char *)t->state[i] + skip : NULL;
    fg_pass_read(&r->pass, r->parameters);
    if (t->evaluation)
        fg_pass_read(&r->evaluation, r->parameters);
    if (t->epochs[r->member] == 0) {
        memcpy((char *)t->best + skip, r->parameters, (size_t)(r->size * r->item));
        t->best_value[r->member] = INFINITY;
    }
    r->goes_on = goes_on(r);
    if (r->goes_on)
        begin_epoch(r);
}

static void go_back(const training_run *r) {
    r->t->outcome[r->member] = FG_NON_FINITE;
    memcpy(r->parameters, (char *)r->t->best + r->member * r->size * r->item, (size_t)(r->size * r->item));
}

/* The factor that shortens a gradient, as torch: min(1, clip_norm / (length + 1e-6)). */
static void find_factor(void *context) {
    training_run *r = context;
    double sum = 0;
    for (int64_t i = 0; i < r->pass.n_pieces; i++)
        sum += r->pass.pieces[i].output > 0 ? r->sum[2 * i + 1] : 0;
    const double factor = r->t->clip_norm / (sqrt(sum) + 1e-6);
    r->clipped = number_of(r, factor < 1 ? factor : 1);
}

/* A step that is cancelled before its pieces are updated has not begun. */
static void end_blocks(void *context) {
    training_run *r = context;
    if (is_cancelled(r))
        r->is_under_way = 0;
    else if (r->is_last_round)
        set_coefficients(r);
}

/* After the pieces of a round: the next round, the next step, or the end of the epoch. */
static void end_round(void *context) {
    training_run *r = context;
    const fg_training *t = r->t;
    if (!r->is_last_round) {
        set_round(r, r->portion.place + r->portion.n);
        return;
    }
    if (r->size <= WHOLE && t->clip_norm <= 0)
        update(r, 0, r->size);
    double loss = value_of(r, &r->loss);
    for (int64_t i = 0; i < r->pass.n_pieces; i++)
        loss += r->pass.pieces[i].output > 0 ? r->sum[2 * i] : 0;
    const int64_t step = r->epoch * ((r->n_rows + r->batch - 1) / r->batch) + r->start / r->batch;
    if (t->step_loss)
        t->step_loss[step * t->members + r->member] = loss;
    t->steps[r->member]++;
    r->loss_sum += loss * r->portion.total_weight;
    r->weight_sum += r->portion.total_weight;
    r->start += r->n;
    r->is_under_way = 0;
    if (!isfinite(loss))
        go_back(r);
    else if (r->start < r->n_rows && !is_cancelled(r))
        begin_step(r);
}

static void end_epoch(void *context) {
    training_run *r = context;
    const fg_training *t = r->t;
    const int64_t m = r->member, place = r->epoch * t->members + m;
    r->goes_on = 0;
    if (is_cancelled(r))
        return;
    number largest; /* a finite loss may have a gradient that is not */
    r->kernels->largest[r->dtype](r->size, 1, r->parameters, &largest);
    const int is_evaluated = t->evaluation && t->outcome[m] == FG_RUNNING;
    const double loss = r->weight_sum > 0 ? r->loss_sum / r->weight_sum : r->loss_sum;
    const double value = is_evaluated ? value_of(r, &r->validation[0]) : (double)NAN;
    const double score = is_evaluated && t->evaluation->n_outputs > 1 ? value_of(r, &r->validation[1]) : (double)NAN;
    const double watched = t->monitor == FG_MONITOR_LOSS ? loss : t->monitor == FG_MONITOR_VALIDATION ? value : -score;
    if (t->outcome[m] == FG_RUNNING && (!isfinite(value_of(r, &largest)) || !isfinite(watched)))
        go_back(r);
    if (t->loss)
        t->loss[place] = loss;
    if (t->validation_loss)
        t->validation_loss[place] = value;
    if (t->score)
        t->score[place] = score;
    if (t->seconds)
        t->seconds[place] = fg_clock() - r->started;
    t->epochs[m]++;
    r->epoch++;
    t->stale[m] = watched < t->best_value[m] - t->min_delta ? 0 : t->stale[m] + 1;
    if (watched < t->best_value[m] && t->outcome[m] == FG_RUNNING) {
        t->best_value[m] = watched;
        t->best_epoch[m] = t->epochs[m];
        memcpy((char *)t->best + m * r->size * r->item, r->parameters, (size_t)(r->size * r->item));
    }
    if (t->patience >= 0 && t->stale[m] >= t->patience && t->outcome[m] == FG_RUNNING)
        t->outcome[m] = FG_NO_PROGRESS;
    atomic_fetch_add(&r->watch->done, 1);
    r->goes_on = goes_on(r);
    if (r->goes_on)
        begin_epoch(r);
}

/* ---- the workers ------------------------------------------------------------------------------------------- */

/* Member after member, by every worker of a crew. */
static void train_members(training_run *r, int worker) {
    fg_crew *crew = &r->crew;
    const int n_workers = *crew->n_workers;
    for (;;) {
        fg_crew_meet(crew, begin_member, r);
        if (!r->has_member)
            return;
        while (r->goes_on) {
            while (r->is_under_way) {
                fg_pass_own_blocks(&r->pass, &r->portion, crew, worker, r->watch);
                fg_crew_meet(crew, end_blocks, r);
                if (!r->is_under_way)
                    break;
                for (int64_t i = 0; i < r->pass.n_pieces; i++)
                    if (fg_pass_owns_piece(&r->pass.pieces[i], worker, n_workers))
                        sum_piece(r, i);
                if (r->t->clip_norm > 0 && r->is_last_round) {
                    fg_crew_meet(crew, find_factor, r);
                    for (int64_t i = 0; i < r->pass.n_pieces; i++)
                        if (fg_pass_owns_piece(&r->pass.pieces[i], worker, n_workers))
                            update_piece(r, i);
                }
                fg_crew_meet(crew, end_round, r);
            }
            if (r->t->evaluation && r->t->outcome[r->member] == FG_RUNNING)
                fg_pass_all(&r->evaluation, crew, &r->evaluated, r->watch, worker);
            fg_crew_meet(crew, end_epoch, r);
        }
    }
}

/* ---- the call ---------------------------------------------------------------------------------------------- */

typedef struct {
    training_run *runs;
    int n_runs; /* one for all workers together, or one each */
    _Atomic int64_t queue;
    fg_watch watch;
} training_call;

static void work_on_training(void *context, int worker) {
    training_call *call = context;
    if (call->n_runs > 1)
        train_members(&call->runs[worker], 0);
    else
        train_members(&call->runs[0], worker);
}

FG_CHECKED static fg_status check(const fg_training *t, fg_error *error) {
    const fg_program *p = t->program;
    if (t->members < 1 || t->batch_size < 1 || t->n_epochs < 0 || t->data.n_rows < 1 || t->n_leaves < 1 ||
        (t->rows && t->n_member_rows < 1) || t->update >= FG_N_UPDATES || (t->schedule && t->n_schedule < 1))
        return fg_fail(error, FG_INVALID_VALUE, "members, rows, batch_size and leaves must be positive");
    if (p->n_outputs != t->n_leaves + 1 || t->n_leaves >= p->n_inputs || p->buffers[p->output[0]].size != 1)
        return fg_fail(error, FG_INVALID_VALUE, "the program's outputs are not a loss and the gradient of each leaf");
    const int dtype = p->buffers[p->input[0]].dtype;
    for (int64_t i = 0; i <= t->n_leaves; i++) {
        const fg_buffer *out = &p->buffers[p->output[i]];
        const fg_buffer *in = &p->buffers[p->input[i ? i - 1 : 0]];
        if (out->dtype != dtype || in->dtype != dtype || (i && out->size != in->size))
            return fg_fail(error, FG_INVALID_VALUE, "output %d is not like its leaf", (int)i);
    }
    for (int64_t m = 0; m < t->members; m++)
        if (t->steps[m] < 0 || t->epochs[m] < 0)
            return fg_fail(error, FG_INVALID_VALUE, "steps and epochs must not be negative");
    for (int64_t i = 0; t->rows && i < t->members * t->n_member_rows; i++)
        if (t->rows[i] < 0 || t->rows[i] >= t->data.n_rows)
            return fg_fail(error, FG_INVALID_VALUE, "there is no row %lld", (long long)t->rows[i]);
    const fg_program *e = t->evaluation;
    if (e && (e->n_outputs < 1 || e->n_outputs > 2 || e->n_inputs <= t->n_leaves ||
              e->buffers[e->output[0]].dtype != dtype || e->buffers[e->output[e->n_outputs - 1]].dtype != dtype))
        return fg_fail(error, FG_INVALID_VALUE, "the evaluation gives other things than a loss and a score");
    for (int64_t i = 0; e && i < e->n_inputs && i < t->n_leaves; i++)
        if (e->buffers[e->input[i]].size != p->buffers[p->input[i]].size || e->buffers[e->input[i]].dtype != dtype)
            return fg_fail(error, FG_INVALID_VALUE, "the evaluation has other leaves");
    for (int64_t i = 0; e && i < e->n_outputs; i++)
        if (e->buffers[e->output[i]].size != 1)
            return fg_fail(error, FG_INVALID_VALUE, "the evaluation gives other things than a loss and a score");
    if (t->monitor != FG_MONITOR_LOSS && (!e || (t->monitor == FG_MONITOR_SCORE && e->n_outputs < 2)))
        return fg_fail(error, FG_INVALID_VALUE, "what is monitored is not evaluated");
    return FG_OK;
}

static void destroy_run(training_run *r) {
    fg_pass_destroy(&r->pass);
    fg_pass_destroy(&r->evaluation);
    fg_free(r->leaf);
    fg_free(r->order);
    fg_free(r->gradient);
    fg_free(r->sum);
}

FG_CHECKED static fg_status create_run(const fg_training *t, training_run *r, fg_error *error) {
    const fg_program *p = t->program;
    r->t = t;
    r->kernels = fg_active_kernels();
    r->dtype = p->buffers[p->input[0]].dtype;
    r->item = fg_item_size(r->dtype);
    r->n_rows = t->rows ? t->n_member_rows : t->data.n_rows;
    r->batch = t->batch_size < r->n_rows ? t->batch_size : r->n_rows;
    r->started = fg_clock();
    r->leaf = fg_alloc((size_t)t->n_leaves + 1, sizeof *r->leaf);
    if (!r->leaf)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld leaves", (long long)t->n_leaves);
    for (int64_t i = 0; i < t->n_leaves; i++)
        r->leaf[i + 1] = r->leaf[i] + p->buffers[p->input[i]].size;
    r->size = r->leaf[t->n_leaves];
    r->gradient = fg_alloc((size_t)r->size, (size_t)r->item);
    if (t->shuffle || t->rows)
        r->order = fg_alloc((size_t)r->n_rows, sizeof *r->order);
    const void **leaves = fg_alloc((size_t)t->n_leaves, sizeof *leaves);
    void **results = fg_alloc((size_t)t->n_leaves + 1, sizeof *results);
    fg_status status = FG_OK;
    if (!r->gradient || !leaves || !results || ((t->shuffle || t->rows) && !r->order))
        status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld parameters", (long long)r->size);
    for (int64_t i = 0; !status && i < t->n_leaves; i++) {
        leaves[i] = (char *)t->parameters + r->leaf[i] * r->item;
        results[i + 1] = r->gradient + r->leaf[i] * r->item;
    }
    if (!status) {
        results[0] = &r->loss;
        status = fg_pass_create(p, &t->data, t->n_leaves, r->batch, leaves, results, r->watch, &r->pass, error);
    }
    if (!status && t->evaluation)
        status = fg_pass_create(t->evaluation, &t->evaluation_data, t->n_leaves, t->evaluation_data.n_rows, leaves,
                                (void *[]){&r->validation[0], &r->validation[1]}, r->watch, &r->evaluation, error);
    if (!status) {
        r->sum = fg_alloc(2 * (size_t)r->pass.n_pieces, sizeof *r->sum);
        if (!r->sum)
            status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld pieces", (long long)r->pass.n_pieces);
    }
    if (!status && t->evaluation)
        status = fg_pass_sums(&r->evaluation, error);
    if (!status && r->pass.row_cost * (double)r->batch < 10000)
        r->crew.between = 16; /* looking at the clock costs as much as some steps do */
    fg_free(leaves);
    fg_free(results);
    return status;
}

fg_status fg_train(const fg_training *t, fg_poll poll, void *poll_context, fg_error *error) {
    static const int alone = 1;
    const double worth_a_worker = 30000,
                 a_parameter = 0.4; /* nanoseconds of a step: two meetings, and data that moves */
    fg_status status = check(t, error);
    if (status)
        return status;
    training_call call = {.n_runs = 1, .watch = {.poll = poll, .context = poll_context}};
    int n_workers = fg_get_num_threads();
    if (t->members >= n_workers)
        call.n_runs = n_workers;
    call.runs = fg_alloc((size_t)call.n_runs, sizeof *call.runs);
    if (!call.runs)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d runs", call.n_runs);
    for (int i = 0; !status && i < call.n_runs; i++) {
        call.runs[i].watch = &call.watch;
        call.runs[i].queue = &call.queue;
        call.runs[i].crew.n_workers = call.n_runs > 1 ? &alone : &call.watch.n_workers;
        call.runs[i].crew.polls = i == 0;
        call.runs[i].crew.between = 1;
        status = create_run(t, &call.runs[i], error);
    }
    if (!status && call.n_runs == 1) {
        const training_run *r = &call.runs[0];
        const double step = r->pass.row_cost * (double)r->batch + a_parameter * (double)r->size;
        const double worth = step / worth_a_worker;
        n_workers = worth < n_workers ? worth < 1 ? 1 : (int)worth : n_workers;
    }
    if (!status) {
        fg_parallel(n_workers, work_on_training, &call, &call.watch);
        if (atomic_load(&call.watch.cancelled))
            status = fg_fail(error, FG_CANCELLED, "cancelled");
    }
    for (int i = 0; i < call.n_runs; i++)
        destroy_run(&call.runs[i]);
    fg_free(call.runs);
    return status;
}
