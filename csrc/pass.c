/* Rows of data through a program, block by block; see pass.h. */
#include "pass.h"

#include <string.h>

#include "across.h"
#include "alloc.h"
#include "status.h"

enum { MOST_LANES = 256 };
#define MOST_ROWS (INT64_C(1) << 48)

/* ---- how rows are cut into blocks, and results into pieces -------------------------------------------------- */

/* Whether the sums of some blocks are less than what sums over all rows read of them, which goes from core to core. */
static int is_little(const fg_program *p, int64_t n_blocks, int64_t n_rows) {
    double given = 0, taken = 0; /* elements */
    for (int64_t i = p->n_instructions - p->n_across; i < p->n_instructions; i++) {
        const fg_instruction *in = &p->instructions[i];
        given += (double)p->buffers[in->operand[0].buffer].size;
        for (int k = 1; k <= fg_op_arity(in->op); k++)
            taken += (double)p->buffers[in->operand[k].buffer].size;
    }
    return given * (double)n_blocks < taken * (double)n_rows;
}

/* Long blocks read the parameters seldom, the longer the farther these are; short ones leave work for more workers.
 * What they are depends on the program and the minibatch alone. */
static void cut_rows(fg_pass *pass, int64_t batch) {
    enum { UNIT = 32, FEW = 16, SHORT = 64, MOST_BLOCKS = 16, NEAR_BYTES = 1 << 20, BLOCK_BYTES = 8 << 20 };
    const double for_one = 60000; /* nanoseconds of rows that are not worth a second worker */
    const double a_round = 1e8;   /* after so many a call may be cancelled */
    const fg_program *p = pass->program;
    int64_t bytes = p->lane_bytes + 1, leaves = 0;
    for (int64_t i = 0; i < p->n_inputs; i++) {
        const fg_buffer *b = &p->buffers[p->input[i]];
        *(b->is_lane ? &bytes : &leaves) += b->size * fg_item_size(b->dtype);
    }
    int64_t lanes = leaves > NEAR_BYTES ? 2 * SHORT : SHORT;
    const int64_t most = BLOCK_BYTES / bytes / UNIT * UNIT, all = (batch + UNIT - 1) / UNIT * UNIT;
    if (lanes < all / MOST_BLOCKS) /* more than this would not be held at once */
        lanes = all / MOST_BLOCKS / UNIT * UNIT < MOST_LANES ? all / MOST_BLOCKS / UNIT * UNIT : MOST_LANES;
    lanes = lanes < most ? lanes : most < UNIT ? UNIT : most;
    lanes = lanes < all ? lanes : all;
    const int is_for_two = leaves <= NEAR_BYTES && pass->row_cost * (double)batch > for_one;
    if (lanes == all && is_for_two)
        lanes = (all / 2 + UNIT - 1) / UNIT * UNIT;
    pass->n_lanes = batch <= FEW ? FEW : lanes;
    const int64_t n_blocks = (batch + pass->n_lanes - 1) / pass->n_lanes;
    const double a_block = pass->row_cost * (double)pass->n_lanes, in_time = a_round / (a_block + 1);
    pass->n_blocks = n_blocks < MOST_BLOCKS ? n_blocks : MOST_BLOCKS;
    if (in_time < (double)pass->n_blocks)
        pass->n_blocks = in_time < 2 ? n_blocks < 2 ? n_blocks : 2 : (int64_t)in_time;
    pass->sums_apart = pass->n_blocks > 1 && is_little(p, pass->n_blocks, batch);
}

/* So many rows of an across instruction are one piece. */
static int64_t rows_of_piece(const fg_across *a, int64_t n_elements) {
    enum { LEAST = 768, MOST = 32 << 10, PIECES = 12, ROWS = 12 }; /* a tile of the product has so many rows */
    int64_t wanted = n_elements / PIECES;
    wanted = wanted < LEAST ? LEAST : wanted > MOST ? MOST : wanted;
    const int64_t rows = wanted / (a->row_size > 0 ? a->row_size : 1) / ROWS * ROWS;
    return rows < 4 * ROWS ? 4 * ROWS : rows;
}

/* Nanoseconds, roughly: those of a product, in whole vectors, of its terms, and of the update that may follow. */
static double cost_of_piece(const fg_pass *pass, const fg_piece *piece) {
    enum { COLUMNS = 16 };
    const double a_piece = 100, a_term = 0.013, an_update = 0.4, rows = (double)(pass->n_lanes * pass->n_blocks);
    const int64_t n_rows = piece->last - piece->first, columns = n_rows > 0 ? piece->n / n_rows : 0;
    if (pass->sums_apart)
        return a_piece + (an_update + 0.05 * (double)pass->n_blocks) * (double)piece->n;
    const double padded = (double)(n_rows * ((columns + COLUMNS - 1) / COLUMNS * COLUMNS));
    return a_piece + (columns > 1 ? padded : 4 * (double)n_rows) * rows * a_term + an_update * (double)piece->n;
}

FG_CHECKED static fg_status cut_results(fg_pass *pass, fg_error *error) {
    const fg_program *p = pass->program;
    const fg_plan *plan = &pass->team.plan;
    int64_t n_elements = 0, n = p->n_outputs;
    for (int64_t i = 0; i < p->n_outputs; i++)
        n_elements += p->buffers[p->output[i]].size;
    for (int64_t i = 0; i < plan->n_across; i++)
        n += plan->across[i].rows / rows_of_piece(&plan->across[i], n_elements) + 1;
    pass->pieces = fg_alloc((size_t)n, sizeof *pass->pieces);
    if (!pass->pieces)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld pieces", (long long)n);
    int64_t *sum_of = fg_alloc((size_t)p->n_outputs, sizeof *sum_of); /* 1 + its number */
    if (!sum_of)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld outputs", (long long)p->n_outputs);
    for (int64_t i = 0; i < plan->n_across; i++)
        sum_of[plan->across[i].output] = 1 + i;
    int64_t n_before = 0;
    for (int64_t o = 0; o < p->n_outputs; n_before += p->buffers[p->output[o]].size, o++) {
        const int64_t found = sum_of[o] - 1;
        const fg_across *a = found < 0 ? NULL : &plan->across[found];
        const int64_t size = p->buffers[p->output[o]].size, rows = a ? a->rows : 1;
        const int64_t step = a ? rows_of_piece(a, n_elements) : 1, row_size = a ? a->row_size : size;
        for (int64_t first = 0; first < rows; first += step) {
            const int64_t last = first + step < rows ? first + step : rows;
            pass->pieces[pass->n_pieces++] = (fg_piece){
                found, first, last, o, first * row_size, (last - first) * row_size, n_before + first * row_size, 0};
        }
    }
    fg_free(sum_of);
    double sum = 0, all = 0;
    for (int64_t i = 0; i < pass->n_pieces; i++)
        all += cost_of_piece(pass, &pass->pieces[i]);
    for (int64_t i = 0; i < pass->n_pieces; i++) {
        const double cost = cost_of_piece(pass, &pass->pieces[i]);
        pass->pieces[i].before = (sum + cost / 2) / all;
        sum += cost;
    }
    return FG_OK;
}

/* ---- making one ------------------------------------------------------------------------------------------- */

static fg_status check(const fg_program *p, const fg_dataset *data, int64_t n_leaves, fg_error *error) {
    if (n_leaves < 0 || n_leaves >= p->n_inputs || data->n_rows < 1)
        return fg_fail(error, FG_INVALID_VALUE, "there are no rows, or the program has no share of a row");
    if (data->n_rows > MOST_ROWS)
        return fg_fail(error, FG_INVALID_VALUE, "%lld rows are more than can be", (long long)data->n_rows);
    for (int64_t i = 0; i < p->n_inputs; i++) {
        const fg_buffer *b = &p->buffers[p->input[i]];
        if (b->is_lane != (i >= n_leaves) || (i == n_leaves && b->size != 1) ||
            (b->dtype != FG_FLOAT64 && b->dtype != FG_FLOAT32))
            return fg_fail(error, FG_INVALID_VALUE, "input %d of the program is not what a pass over rows gives it",
                           (int)i);
    }
    for (int64_t i = 0; i < p->n_outputs; i++)
        if (p->buffers[p->output[i]].is_lane)
            return fg_fail(error, FG_INVALID_VALUE, "output %d of the program differs by row", (int)i);
    return FG_OK;
}

/* Bytes of sum i of a block by itself. */
static int64_t room_apart(const fg_pass *pass, int64_t i) {
    const fg_across *sum = &pass->team.plan.across[i];
    return pass->sums_apart ? fg_round_up(sum->rows * sum->row_size * sum->item) : 0;
}

/* What the sums need of each block. */
FG_CHECKED static fg_status create_panels(fg_pass *pass, fg_error *error) {
    const fg_plan *plan = &pass->team.plan;
    int64_t bytes = 0;
    for (int64_t i = 0; bytes >= 0 && i < plan->n_across; i++) {
        const int64_t room = fg_across_room(plan, i);
        bytes = room < 0 || bytes > MOST_ROWS ? -1 : bytes + (room + room_apart(pass, i)) * pass->n_blocks;
    }
    if (bytes < 0)
        return fg_fail(error, FG_OUT_OF_MEMORY, "the sums over rows need more memory than there is");
    pass->base = fg_alloc((size_t)pass->n_blocks, sizeof *pass->base);
    pass->panels = fg_alloc((size_t)(plan->n_across * pass->n_blocks), sizeof *pass->panels);
    pass->apart = fg_alloc((size_t)(plan->n_across * pass->n_blocks), sizeof *pass->apart);
    pass->room = fg_alloc((size_t)bytes, 1);
    if (!pass->base || !pass->panels || !pass->apart || !pass->room)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld bytes of panels", (long long)bytes);
    char *next = pass->room;
    for (int64_t block = 0; block < pass->n_blocks; block++) {
        pass->base[block] = pass->team.workspaces[block].base;
        for (int64_t i = 0; i < plan->n_across; i++) {
            pass->panels[i * pass->n_blocks + block] = next;
            next += fg_across_room(plan, i);
            pass->apart[i * pass->n_blocks + block] = next;
            next += room_apart(pass, i);
        }
    }
    return FG_OK;
}

fg_status fg_pass_create(const fg_program *p, const fg_dataset *data, int64_t n_leaves, int64_t batch,
                         const void *const *leaves, void *const *result, fg_watch *watch, fg_pass *pass,
                         fg_error *error) {
    *pass = (fg_pass){
        .program = p, .kernels = fg_active_kernels(), .data = data, .n_leaves = n_leaves, .row_cost = p->cost};

    fg_status status = check(p, data, n_leaves, error);
    if (status)
        return status;
    cut_rows(pass, batch);
    const void **inputs = fg_alloc((size_t)p->n_inputs, sizeof *inputs);
    pass->result = fg_alloc((size_t)p->n_outputs + 1, sizeof *pass->result);
    if (!inputs || !pass->result)
        status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %d pointers", (int)(p->n_inputs + p->n_outputs));
    for (int64_t i = 0; !status && i < n_leaves; i++)
        inputs[i] = leaves[i];
    for (int64_t i = 0; !status && i < p->n_outputs; i++)
        pass->result[i] = result[i];
    if (!status)
        status = fg_team_create(p, pass->n_lanes, (int)pass->n_blocks, inputs, result, watch, &pass->team, error);
    if (!status)
        status = create_panels(pass, error);
    if (!status)
        status = cut_results(pass, error);
    fg_free(inputs);
    if (status)
        fg_pass_destroy(pass);
    return status;
}

void fg_pass_destroy(fg_pass *pass) {
    fg_free(pass->result);
    fg_free(pass->pieces);
    fg_free(pass->base);
    fg_free(pass->panels);
    fg_free(pass->apart);
    fg_free(pass->room);
    fg_free(pass->sums);
    fg_team_destroy(&pass->team);
    *pass = (fg_pass){0};
}

void fg_pass_read(fg_pass *pass, const char *parameters) {
    const fg_program *p = pass->program;
    for (int64_t i = 0; i < pass->n_leaves; i++) {
        const fg_buffer *b = &p->buffers[p->input[i]];
        union {
            const void *read;
            void *write;
        } pointer = {.read = parameters}; /* inputs are only read: the verifier saw to it */
        for (int64_t w = 0; w < pass->n_blocks; w++)
            pass->team.workspaces[w].base[p->input[i]] = pointer.write;
        parameters += b->size * fg_item_size(b->dtype);
    }
}

void fg_pass_uniform(const fg_pass *pass) {
    const fg_plan *plan = &pass->team.plan;
    if (plan->n_uniform)
        fg_plan_run(plan, 0, plan->n_uniform, pass->team.workspaces[0].base, NULL, 0);
}

/* ---- blocks ----------------------------------------------------------------------------------------------- */

/* Rows of a source to the first n lanes of a block, by way of rows side by side in the nearest cache. */
static void fill(const fg_kernels *kernels, const fg_source *s, const fg_buffer *b, int64_t n, const int64_t *rows,
                 int is_run, int64_t n_lanes, char *to) {
    enum { STAGE = 16 << 10, AT_ONCE = 32 };
    char stage[STAGE] __attribute__((aligned(64)));
    const int64_t item = fg_item_size(b->dtype);
    const int is_aligned = (((uintptr_t)s->data | (uintptr_t)s->row_stride) & (uintptr_t)(item - 1)) == 0;
    const int is_own = is_aligned && s->kind == (b->dtype == FG_FLOAT64 ? FG_DATA_FLOAT64 : FG_DATA_FLOAT32) &&
                       !s->offsets && s->scale == 1 && s->shift == 0;
    if (is_own && is_run && s->row_stride == b->size * item) {
        kernels->lanes_in[b->dtype](n, b->size, n_lanes, (const char *)s->data + rows[0] * s->row_stride, to);
        return;
    }
    const int64_t most = STAGE / (AT_ONCE * item);
    for (int64_t first = 0; first < b->size; first += most) {
        const int64_t some = b->size - first < most ? b->size - first : most;
        const int64_t at_once = b->size <= most ? STAGE / (b->size * item) : AT_ONCE;
        for (int64_t l = 0; l < n; l += at_once) {
            const int64_t now = n - l < at_once ? n - l : at_once;
            kernels->gather[b->dtype](s, now, rows + l, first, some, stage);
            kernels->lanes_in[b->dtype](now, some, n_lanes, stage, to + (first * n_lanes + l) * item);
        }
    }
}

static void fill_shares(const fg_pass *pass, const fg_portion *portion, int dtype, int64_t n, const int64_t *rows,
                        void *to) {
    const double *weights = pass->data->weights;
    const double total = portion->total_weight, unit = 1 / total;
    for (int64_t l = 0; l < n; l++) {
        const double share = !weights ? unit : total != 0 ? weights[rows[l]] / total : 0;
        if (dtype == FG_FLOAT64)
            ((double *)to)[l] = share;
        else
            ((float *)to)[l] = (float)share;
    }
}

static void run_block(const fg_pass *pass, const fg_portion *portion, int64_t block) {
    const fg_program *p = pass->program;
    const fg_kernels *kernels = pass->kernels;
    void **base = pass->team.workspaces[block].base;
    const int64_t skip = block * pass->n_lanes, left = portion->n - skip;
    const int64_t n = left < pass->n_lanes ? left : pass->n_lanes;
    int64_t run[MOST_LANES];
    const int64_t *rows = portion->rows ? portion->rows + skip : run;
    for (int64_t l = 0; !portion->rows && l < n; l++)
        run[l] = portion->start + skip + l;
    const fg_buffer *share = &p->buffers[p->input[pass->n_leaves]];
    fill_shares(pass, portion, share->dtype, n, rows, base[p->input[pass->n_leaves]]);
    uint64_t key = portion->key;
    for (int64_t i = pass->n_leaves + 1; i < p->n_inputs; i++) {
        const fg_source *s = &pass->data->sources[i - pass->n_leaves - 1];
        const fg_buffer *b = &p->buffers[p->input[i]];
        if (s->kind == FG_DATA_NOISE)
            kernels->noise[b->dtype](++key, portion->place + skip, n, b->size, pass->n_lanes, base[p->input[i]]);
        else
            fill(kernels, s, b, n, rows, !portion->rows, pass->n_lanes, base[p->input[i]]);
    }
    const fg_plan *plan = &pass->team.plan;
    fg_plan_run(plan, plan->n_uniform, plan->n_calls, base, NULL, 1);
    for (int64_t i = 0; i < plan->n_across; i++) {
        char *const *panel = &pass->panels[i * pass->n_blocks + block];
        fg_across_turn(plan, i, n, base, *panel);
        if (pass->sums_apart)
            fg_across_run(plan, i, 0, plan->across[i].rows, n, 0, (void *const *const *)&pass->base[block], panel,
                          pass->apart[i * pass->n_blocks + block]);
    }
}

void fg_pass_own_blocks(const fg_pass *pass, const fg_portion *portion, fg_crew *crew, int worker, fg_watch *watch) {
    const int64_t n_blocks = (portion->n + pass->n_lanes - 1) / pass->n_lanes;
    const int64_t last = (worker + 1) * n_blocks / *crew->n_workers;
    int64_t block = worker * n_blocks / *crew->n_workers;
    while (!fg_crew_look(crew, worker, watch) && block < last) /* the watcher looks even when it has no block */
        run_block(pass, portion, block++);
}

/* A piece of the sums that each block has made by itself. */
static void add_apart(const fg_pass *pass, const fg_portion *portion, const fg_piece *piece, int accumulate, int dtype,
                      int64_t skip, char *result) {
    const int64_t n_blocks = (portion->n + pass->n_lanes - 1) / pass->n_lanes;
    char *const *apart = pass->apart + piece->across * pass->n_blocks;
    const fg_rows rows = {.n_rows = 1, .width = piece->n};
    char *sum = accumulate ? result : apart[0] + skip;
    if (!accumulate && n_blocks == 1)
        memcpy(result, sum, (size_t)(piece->n * fg_item_size(dtype)));
    for (int64_t block = !accumulate; block < n_blocks; block++, sum = result)
        pass->kernels->rows[FG_OP_add][dtype](&rows, (void *[]){result, sum, apart[block] + skip});
}

void fg_pass_piece(const fg_pass *pass, const fg_portion *portion, const fg_piece *piece, int accumulate) {
    if (piece->across < 0)
        return;
    const int dtype = pass->program->buffers[pass->program->output[piece->output]].dtype;
    const int64_t skip = piece->start * fg_item_size(dtype);
    char *result = pass->result[piece->output] + skip;
    if (pass->sums_apart) {
        add_apart(pass, portion, piece, accumulate, dtype, skip, result);
        return;
    }
    fg_across_run(&pass->team.plan, piece->across, piece->first, piece->last, portion->n, accumulate,
                  (void *const *const *)pass->base, pass->panels + piece->across * pass->n_blocks, result);
}

/* ---- all rows --------------------------------------------------------------------------------------------- */

double fg_pass_weight(const fg_dataset *data, const int64_t *rows, int64_t start, int64_t n) {
    double sum = 0;
    if (!data->weights)
        return (double)n;
    for (int64_t i = 0; i < n; i++)
        sum += data->weights[rows ? rows[i] : start + i];
    return sum;
}

typedef struct {
    const fg_pass *pass;
    fg_portion *portion;
    const fg_watch *watch;
} round_of_all;

fg_status fg_pass_sums(fg_pass *pass, fg_error *error) {
    int64_t n = 0;
    for (int64_t i = 0; i < pass->n_pieces; i++)
        n += pass->pieces[i].n;
    pass->sums = fg_alloc((size_t)n, sizeof *pass->sums);
    return pass->sums ? FG_OK : fg_fail(error, FG_OUT_OF_MEMORY, "no memory for %lld sums", (long long)n);
}

/* The rows of a round count with their weights as they are; the whole is divided in the end. */
static void add_piece(const fg_pass *pass, const fg_portion *portion, const fg_piece *piece) {
    const fg_buffer *out = &pass->program->buffers[pass->program->output[piece->output]];
    char *at = pass->result[piece->output] + piece->start * fg_item_size(out->dtype);
    double *sum = pass->sums + piece->place;
    const int is_last = portion->start + portion->n >= pass->data->n_rows;
    fg_pass_piece(pass, portion, piece, 0);
    for (int64_t i = 0; piece->across >= 0 && i < piece->n; i++, at += fg_item_size(out->dtype)) {
        double *wide = (void *)at;
        float *narrow = (void *)at;
        const double now = out->dtype == FG_FLOAT64 ? *wide : (double)*narrow;
        sum[i] = portion->start > 0 ? sum[i] + now : now;
        if (is_last && out->dtype == FG_FLOAT64)
            *wide = sum[i] * portion->unit;
        else if (is_last)
            *narrow = (float)(sum[i] * portion->unit);
    }
}

static void first_round(void *context) {
    const round_of_all *r = context;
    const int64_t n = r->pass->data->n_rows, most = fg_pass_rows(r->pass);
    const double weight = fg_pass_weight(r->pass->data, NULL, 0, n);
    *r->portion = (fg_portion){.n = n < most ? n : most, .total_weight = 1, .unit = weight != 0 ? 1 / weight : 0};
    fg_pass_uniform(r->pass);
}

static void next_round(void *context) {
    const round_of_all *r = context;
    const int64_t most = fg_pass_rows(r->pass);
    r->portion->start += r->portion->n;
    r->portion->place = r->portion->start;
    const int64_t left = atomic_load(&r->watch->cancelled) ? 0 : r->pass->data->n_rows - r->portion->start;
    r->portion->n = left < most ? left : most;
}

void fg_pass_all(const fg_pass *pass, fg_crew *crew, fg_portion *portion, fg_watch *watch, int worker) {
    round_of_all r = {pass, portion, watch};
    fg_crew_meet(crew, first_round, &r);
    while (portion->n > 0) {
        fg_pass_own_blocks(pass, portion, crew, worker, watch);
        fg_crew_meet(crew, NULL, NULL);
        for (int64_t i = 0; i < pass->n_pieces; i++)
            if (fg_pass_owns_piece(&pass->pieces[i], worker, *crew->n_workers) && !fg_crew_look(crew, worker, watch))
                add_piece(pass, portion, &pass->pieces[i]);
        fg_crew_meet(crew, next_round, &r);
    }
}

typedef struct {
    fg_pass pass;
    fg_crew crew;
    fg_portion portion;
    fg_watch watch;
} total_run;

static void work_on_total(void *context, int worker) {
    total_run *run = context;
    fg_pass_all(&run->pass, &run->crew, &run->portion, &run->watch, worker);
}

fg_status fg_total(const fg_program *program, int64_t n_leaves, const void *const *leaves, const fg_dataset *data,
                   void *const *outputs, fg_poll poll, void *poll_context, fg_error *error) {
    total_run run = {.watch = {.poll = poll, .context = poll_context}, .crew = {.polls = 1, .between = 1}};
    run.crew.n_workers = &run.watch.n_workers;
    fg_status status =
        fg_pass_create(program, data, n_leaves, data->n_rows, leaves, outputs, &run.watch, &run.pass, error);
    if (!status)
        status = fg_pass_sums(&run.pass, error);
    if (status) {
        fg_pass_destroy(&run.pass);
        return status;
    }
    fg_parallel(fg_workers_for(run.pass.row_cost * (double)data->n_rows, run.pass.n_blocks), work_on_total, &run,
                &run.watch);
    fg_pass_destroy(&run.pass);
    return atomic_load(&run.watch.cancelled) ? fg_fail(error, FG_CANCELLED, "cancelled") : FG_OK;
}
