/* Runs loops. A step is a run of the body's calls between which some base pointers move: those of the rows, and those
 * of the carry, which is written where it is to stay (its place in the result, or one of two places that take turns),
 * so that nothing is copied from step to step. */
#include "loop.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

/* A body's input after the carry: where its first row stands, and the bytes from one to the next. */
typedef struct {
    int64_t inner, outer, offset, step;
} row;

struct fg_bound_loop {
    const fg_program *body;
    fg_plan plan;
    int64_t length, every, n_lanes, n_rows, n_moving; /* rows that move from step to step come first */
    row *rows;
    int64_t carry_in, carry_out, row_out; /* buffers of the body */
    int64_t result, result_offset, first, first_offset, memory;
    int64_t carry_elements, carry_bytes, row_bytes; /* of all lanes */
    int item_size, is_spread;                       /* a uniform first carry that lanes read */
    int64_t steps_a_look;
};

fg_status fg_loop_create(const fg_program *program, const fg_instruction *in, int64_t n_lanes, fg_bound_loop **out,
                         fg_error *error) {
    enum { LOOK = 20000, A_STEP = 10 }; /* nanoseconds between looks at the watch, and what a step takes at least */
    const fg_loop *from = in->loop;
    const fg_program *body = from->body;
    const fg_buffer *result = &program->buffers[in->operand[0].buffer];
    const fg_buffer *first = &program->buffers[in->operand[1].buffer];
    const int64_t item = fg_item_size(in->dtype), lanes = result->is_lane ? n_lanes : 1;
    const double step_cost = (body->cost + A_STEP) * (double)lanes;
    fg_bound_loop *loop = fg_alloc(1, sizeof *loop);
    row *rows = fg_alloc((size_t)from->n_rows, sizeof *rows);
    fg_status status = FG_OK;
    *out = NULL;
    if (!loop || !rows)
        status = fg_fail(error, FG_OUT_OF_MEMORY, "no memory to bind a loop");
    else {
        *loop = (fg_bound_loop){.body = body,
                                .length = in->shape[0],
                                .every = from->every,
                                .n_lanes = lanes,
                                .n_rows = from->n_rows,
                                .rows = rows,
                                .carry_in = body->input[0],
                                .carry_out = body->output[0],
                                .row_out = body->output[1],
                                .result = in->operand[0].buffer,
                                .result_offset = in->operand[0].offset * item * lanes,
                                .first = in->operand[1].buffer,
                                .first_offset = in->operand[1].offset * item * (first->is_lane ? n_lanes : 1),
                                .memory = program->n_buffers,
                                .carry_elements = body->buffers[body->input[0]].size,
                                .row_bytes = body->buffers[body->output[1]].size * item * lanes,
                                .item_size = (int)item,
                                .is_spread = result->is_lane && !first->is_lane,
                                .steps_a_look = step_cost < LOOK ? (int64_t)(LOOK / step_cost) : 1};
        loop->carry_bytes = loop->carry_elements * item * lanes;
        status = fg_plan_create(body, lanes, &loop->plan, error);
    }
    if (status) {
        fg_free(rows);
        fg_free(loop);
        return status;
    }
    for (int moving = 1; moving >= 0; moving--)
        for (int64_t i = 0, n = moving ? 0 : loop->n_moving; i < from->n_rows; i++) {
            const fg_operand *o = &from->row[i];
            const fg_buffer *b = &program->buffers[o->buffer];
            const int64_t unit = fg_item_size(b->dtype) * (b->is_lane ? n_lanes : 1);
            if ((o->stride[0] != 0) != moving)
                continue;
            rows[n++] = (row){body->input[1 + i], o->buffer, o->offset * unit, o->stride[0] * unit};
            loop->n_moving += moving;
        }
    *out = loop;
    return FG_OK;
}

void fg_loop_destroy(fg_bound_loop *loop) {
    if (loop) {
        fg_plan_destroy(&loop->plan);
        fg_free(loop->rows);
    }
    fg_free(loop);
}

/* The first carry for all lanes. */
static void spread(const fg_bound_loop *loop, const char *from, char *to) {
    for (int64_t i = 0; i < loop->carry_elements; i++)
        for (int64_t l = 0; l < loop->n_lanes; l++, to += loop->item_size)
            memcpy(to, from + i * loop->item_size, (size_t)loop->item_size);
}

void fg_loop_run(const fg_bound_loop *loop, void *const *outer, fg_watch *watch, int worker) {
    const fg_program *p = loop->body;
    /* the loop's memory: base pointers, uniform arena, lane arena, two carries, memory of inner loops */
    void **base = outer[loop->memory];
    char *uniform = (char *)base + fg_round_up((p->n_buffers + 1) * (int64_t)sizeof *base);
    char *lanes = uniform + fg_round_up(p->uniform_bytes);
    char *turn[2] = {lanes + (p->lane_bytes + 7) / 8 * 8 * loop->n_lanes};
    turn[1] = turn[0] + (loop->carry_elements * loop->item_size + 7) / 8 * 8 * loop->n_lanes;
    for (int64_t i = 0; i < p->n_buffers; i++) {
        const fg_buffer *b = &p->buffers[i];
        union {
            const void *read;
            void *write;
        } pointer = {NULL}; /* constants are only read: the verifier saw to it */
        if (b->role == FG_CONSTANT)
            pointer.read = p->constants + b->position;
        else if (b->role == FG_ARENA)
            pointer.write = b->is_lane ? lanes + b->position * loop->n_lanes : uniform + b->position;
        base[i] = pointer.write;
    }
    base[p->n_buffers] = turn[1] + (turn[1] - turn[0]);
    for (int64_t i = 0; i < loop->n_rows; i++)
        base[loop->rows[i].inner] = (char *)outer[loop->rows[i].outer] + loop->rows[i].offset;

    char *last = (char *)outer[loop->result] + loop->result_offset;
    char *row_out = last + loop->carry_bytes, *stored = row_out + loop->length * loop->row_bytes;
    char *carry = (char *)outer[loop->first] + loop->first_offset;
    if (loop->is_spread || loop->every || !loop->length) {
        char *start = !loop->length ? last : loop->every ? stored : turn[0];
        if (loop->is_spread)
            spread(loop, carry, start);
        else
            memcpy(start, carry, (size_t)loop->carry_bytes);
        carry = start;
    }
    fg_watch *inner = watch ? fg_watch_for(p->cost * (double)loop->n_lanes, watch) : NULL;
    int64_t until_stored = loop->every, until_look = loop->steps_a_look;
    for (int64_t t = 1; t <= loop->length; t++) { /* step t - 1, whose carry goes where step t looks for it */
        char *next = turn[t & 1];
        if (--until_stored == 0) {
            until_stored = loop->every;
            next = stored += loop->carry_bytes;
        }
        if (t == loop->length)
            next = last;
        base[loop->carry_in] = carry;
        base[loop->carry_out] = carry = next;
        base[loop->row_out] = row_out;
        fg_plan_run(&loop->plan, 0, loop->plan.n_calls, base, inner, worker);
        row_out += loop->row_bytes;
        for (int64_t i = 0; i < loop->n_moving; i++)
            base[loop->rows[i].inner] = (char *)base[loop->rows[i].inner] + loop->rows[i].step;
        if (watch && --until_look == 0) {
            until_look = loop->steps_a_look;
            if (worker == 0)
                fg_watch_look(watch);
            if (atomic_load(&watch->cancelled))
                return;
        }
    }
}
