/* Finding groups of calls that can run tile by tile; see tiles.h.
 *
 * The tiles of a group are ranges [s, e) of an index, the anchor. Each buffer that the group writes has a shift: its
 * element j belongs to anchor j - shift. A tile makes, of each such buffer, the anchors [s + low, e + high) that later
 * calls of the group or the world behind it need of that tile; these halos follow backwards from what is live after the
 * group. Neighbouring tiles compute the few elements of a halo twice, so they depend on nothing of each other and run
 * in any order. What is not live afterwards stands in scratch memory of the worker; what is live is written in place
 * and has no halo, so that each element of it belongs to one tile.
 *
 * Nothing is taken on trust: a program may use its memory in any way that the verifier allows. Where the analysis
 * cannot show that tile by tile is the same as call by call, the group ends before the call in question. */
#include "tiles.h"

#include <string.h>

#include "alloc.h"
#include "status.h"

enum { N_OPERANDS = 1 + FG_MAX_INPUTS };

enum {
    LEAST = 2 * FG_CHUNK,  /* elements of a call that starts a group: two tiles of it */
    FEW = 64,              /* elements of a call that may run before or after the tiles instead of on them */
    MOST_CALLS = 64,       /* of a group */
    NEAR_BYTES = 32 << 10, /* of scratch that the nearest cache holds beside what streams through */
    MOST_TILE = 4 * FG_CHUNK
};

/* ---- what calls do to memory ----------------------------------------------------------------------------- */

typedef struct {
    int64_t start, end; /* bytes, of one role and kind */
} range;

static range bytes_of(const fg_buffer *b) {
    const int64_t start = b->role == FG_ARENA ? b->position : 0;
    return (range){start, start + b->size * fg_item_size(b->dtype)};
}

/* Whether two buffers share memory. Inputs, outputs and constants share none with each other. */
static int overlap(const fg_program *p, int64_t a, int64_t b) {
    const fg_buffer *x = &p->buffers[a], *y = &p->buffers[b];
    if (a == b || x->role != FG_ARENA || y->role != FG_ARENA || x->is_lane != y->is_lane)
        return a == b;
    return bytes_of(x).start < bytes_of(y).end && bytes_of(y).start < bytes_of(x).end;
}

/* Whether the order of two calls matters. */
static int conflict(const fg_program *p, const fg_call *a, const fg_call *b) {
    for (int i = 0; i < N_OPERANDS; i++)
        if (overlap(p, a->buffer[0], b->buffer[i]) || overlap(p, b->buffer[0], a->buffer[i]))
            return 1;
    return 0;
}

/* The bytes of its result's buffer that a call overwrites for certain; empty when it leaves gaps. */
static range written(const fg_program *p, const fg_call *call) {
    const fg_instruction *in = &p->instructions[call->instruction];
    const fg_buffer *b = &p->buffers[in->operand[0].buffer];
    const int is_sum = fg_op_reduces(in->op);
    int64_t low = in->operand[0].offset, high = low, count = 1;
    for (int d = 0; d < in->n_dims - is_sum; d++) {
        const int64_t reach = (in->shape[d] - 1) * (in->op == FG_OP_gather ? 1 : in->operand[0].stride[d]);
        low += reach < 0 ? reach : 0;
        high += reach > 0 ? reach : 0;
        count *= in->shape[d];
    }
    /* no element is written twice, so none is left out */
    if (count != high + 1 - low || in->op == FG_OP_scatter_add || fg_op_kind_of(in->op) == FG_GENERALISED)
        return (range){0, 0};
    const int64_t start = bytes_of(b).start, item = fg_item_size(b->dtype);
    return (range){start + low * item, start + (high + 1) * item};
}

/* Whether what a buffer holds after call `from` may be read, other than under its own name up to call `own`. */
static int is_live(const fg_program *p, const fg_plan *plan, int64_t buffer, int64_t from, int64_t own) {
    enum { FAR = 4096 }; /* calls: the search ends somewhere, or many large calls would take it long */
    const fg_buffer *b = &p->buffers[buffer];
    if (b->role != FG_ARENA)
        return 1;
    range left = bytes_of(b);
    for (int64_t k = from + 1; k < plan->n_calls; k++) {
        const fg_call *call = &plan->calls[k];
        if (k - from > FAR || call->loop) /* a loop may read anything */
            return 1;
        for (int i = 0; i < N_OPERANDS; i++) {
            const fg_buffer *c = &p->buffers[call->buffer[i]];
            const int reads = i > 0 || p->instructions[call->instruction].op == FG_OP_scatter_add;
            if (k <= own && call->buffer[i] == buffer)
                continue;
            if (reads && c->role == FG_ARENA && c->is_lane == b->is_lane && bytes_of(c).start < left.end &&
                left.start < bytes_of(c).end)
                return 1;
        }
        const fg_buffer *out = &p->buffers[call->buffer[0]];
        if (out->role != FG_ARENA || out->is_lane != b->is_lane || (k <= own && out == b))
            continue;
        const range gone = written(p, call);
        if (gone.start <= left.start && gone.end > left.start)
            left.start = gone.end;
        if (gone.end >= left.end && gone.start < left.end)
            left.end = gone.start;
        if (left.start >= left.end)
            return 0;
    }
    return 0;
}

/* ---- finding groups -------------------------------------------------------------------------------------- */

typedef enum { BEFORE, TILED, AFTER } place;

/* What is known of a buffer within the group at hand. Call numbers count from the first of the group. */
typedef struct {
    int is_touched, is_written, is_sum, is_spread; /* spread: read with a stride of 0 */
    int has_shift, in_place, slot;
    int64_t first, last, last_write; /* calls on tiles */
    int64_t shift;
    int64_t covered_from, covered_to; /* elements written so far */
    int64_t low, high;                /* of the anchors that a tile needs; none while low > high */
} note;

typedef struct {
    const fg_program *program;
    const fg_plan *plan;
    note *notes;   /* one a buffer */
    int64_t start; /* the group's first call */
    int n;         /* calls */
    place place[MOST_CALLS];
    int64_t at[MOST_CALLS]; /* anchor of a call's element 0 */
    int64_t low[MOST_CALLS], high[MOST_CALLS];
    int64_t touched[MOST_CALLS * N_OPERANDS];
    int n_touched, n_sums, n_slots;
} draft;

static const fg_call *call_of(const draft *d, int k) { return &d->plan->calls[d->start + k]; }
static note *note_of(const draft *d, int k, int i) { return &d->notes[call_of(d, k)->buffer[i]]; }
static int64_t first_element(const fg_call *call, int i) { return call->offset[i] / call->item_size[i]; }
/* Along the call's axis; a single element is a run like any other. */
static int64_t step_of(const fg_call *call, int i) { return call->flat == 1 ? 1 : call->inner[i]; }

/* Whether a call may join those on tiles, as number k. */
static int can_be_tiled(const draft *d, int k) {
    const fg_call *call = call_of(d, k);
    const note *out = note_of(d, k, 0);
    if (!call->flat || (call->flat < LEAST && !(out->is_written && !call->join)) || out->is_spread)
        return 0;
    if (call->join ? d->n_sums == FG_MOST_SUMS || (out->is_touched && !out->is_sum) : out->is_sum)
        return 0;
    for (int i = 0; i <= call->arity; i++) {
        const note *o = note_of(d, k, i);
        if (i > 0 && (o->is_sum || (o->is_written && step_of(call, i) != 1)))
            return 0;
        for (int j = 0; o->is_touched && j < d->n_touched; j++) { /* one memory under two names, in turns */
            const note *w = &d->notes[d->touched[j]];
            if (w != o && (w->is_written || w->is_sum) && w->last_write >= o->first &&
                overlap(d->program, d->touched[j], call->buffer[i]))
                return 0;
        }
    }
    for (int j = 0; j < k; j++)
        if (d->place[j] == AFTER && conflict(d->program, call_of(d, j), call))
            return 0;
    return 1;
}

/* Whether a small call may run before the tiles. */
static int can_be_before(const draft *d, int k) {
    for (int j = 0; j < k; j++)
        if (d->place[j] != BEFORE && conflict(d->program, call_of(d, j), call_of(d, k)))
            return 0;
    return 1;
}

static void touch(draft *d, int k) {
    const fg_call *call = call_of(d, k);
    for (int i = call->arity; i >= 0; i--) {
        note *o = note_of(d, k, i);
        if (!o->is_touched) {
            o->is_touched = 1;
            o->first = k;
            d->touched[d->n_touched++] = call->buffer[i];
        }
        o->last = k;
        o->is_spread |= i > 0 && step_of(call, i) == 0;
    }
    note *out = note_of(d, k, 0);
    *(call->join ? &out->is_sum : &out->is_written) = 1;
    out->last_write = k;
    d->n_sums += call->join != NULL;
}

/* Gathers the calls from the start on that may form a group, `most` at most. */
static void gather(draft *d, int64_t most) {
    for (int j = 0; j < d->n_touched; j++)
        d->notes[d->touched[j]] = (note){.slot = -1};
    d->n = d->n_touched = d->n_sums = 0;
    for (int k = 0; k < most; k++, d->n++) {
        const int64_t flat = call_of(d, k)->flat;
        if (can_be_tiled(d, k)) {
            d->place[k] = TILED;
            touch(d, k);
        } else if (d->n > 0 && flat && flat <= FEW)
            d->place[k] = can_be_before(d, k) ? BEFORE : AFTER;
        else
            return;
    }
}

/* Anchors for all calls, and which buffers hold what stood there before. */
static void anchor(draft *d) {
    for (int k = 0; k < d->n; k++) {
        const fg_call *call = call_of(d, k);
        if (d->place[k] != TILED)
            continue;
        d->at[k] = 0;
        if (!call->join) /* as the result lies, or else an operand; a reduction begins at 0 */
            for (int i = call->arity; i >= 0; i--) {
                const note *o = note_of(d, k, i);
                if (o->is_written && o->has_shift && step_of(call, i) == 1)
                    d->at[k] = first_element(call, i) - o->shift;
            }
        for (int i = 0; i <= call->arity; i++) { /* the result first: its shift is the call's */
            note *o = note_of(d, k, i);
            if (o->is_written && !o->has_shift) {
                o->has_shift = 1;
                o->shift = first_element(call, i) - d->at[k];
            }
        }
        for (int i = call->arity; i >= 0; i--) {
            note *o = note_of(d, k, i);
            const int64_t from = first_element(call, i), to = from + call->flat;
            if (!o->is_written)
                continue;
            if (i > 0)
                o->in_place |= from < o->covered_from || to > o->covered_to;
            else if (o->covered_from == o->covered_to)
                o->covered_from = from, o->covered_to = to;
            else if (from <= o->covered_to && to >= o->covered_from) {
                o->covered_from = from < o->covered_from ? from : o->covered_from;
                o->covered_to = to > o->covered_to ? to : o->covered_to;
            }
        }
    }
    for (int j = 0; j < d->n_touched; j++) {
        note *o = &d->notes[d->touched[j]];
        if (!o->is_written)
            continue;
        o->in_place =
            o->in_place || is_live(d->program, d->plan, d->touched[j], d->start + o->first, d->start + o->last);
        for (int k = 0; k < d->n; k++)
            for (int i = 1; d->place[k] == AFTER && i < N_OPERANDS; i++)
                o->in_place |= overlap(d->program, d->touched[j], call_of(d, k)->buffer[i]);
        o->low = o->in_place ? 0 : INT64_MAX;
        o->high = o->in_place ? 0 : INT64_MIN;
    }
}

/* What a tile needs of each buffer, from the last call back to the first. Gives d->n, or the number of a call that
 * cannot be part of the group. */
static int find_halos(draft *d) {
    for (int k = d->n - 1; k >= 0; k--) {
        const fg_call *call = call_of(d, k);
        if (d->place[k] != TILED)
            continue;
        note *out = note_of(d, k, 0);
        const int64_t line = 64 / call->item_size[0]; /* elements: stores to scratch had better be aligned */
        if (out->low > -FG_MOST_HALO / 2 && out->low <= out->high)
            out->low -= (out->low % line + line) % line;
        d->low[k] = call->join ? 0 : out->low;
        d->high[k] = call->join ? 0 : out->high;
        if (d->low[k] > d->high[k])
            continue; /* nobody reads it */
        for (int i = 1; i <= call->arity; i++) {
            note *o = note_of(d, k, i);
            const int64_t by = first_element(call, i) - o->shift - d->at[k];
            if (!o->is_written)
                continue;
            const int64_t low = d->low[k] + by, high = d->high[k] + by;
            if (o->in_place ? low < 0 || high > 0 : low < -FG_MOST_HALO || high > FG_MOST_HALO)
                return k;
            o->low = low < o->low ? low : o->low;
            o->high = high > o->high ? high : o->high;
        }
    }
    return d->n;
}

/* Memory that is used under two names: only where both name it at the same anchors, of one tile each. */
static int find_clashes(const draft *d) {
    for (int k = 0; k < d->n; k++) {
        const fg_call *call = call_of(d, k);
        for (int i = 0; d->place[k] == TILED && i <= call->arity; i++) {
            const note *o = note_of(d, k, i);
            if (o->is_written && !o->in_place)
                continue;
            for (int j = 0; j < d->n_touched; j++) {
                const note *w = &d->notes[d->touched[j]];
                if (w == o || !(w->in_place || w->is_sum) || !overlap(d->program, d->touched[j], call->buffer[i]))
                    continue;
                const fg_buffer *there = &d->program->buffers[d->touched[j]];
                const int64_t item = call->item_size[i];
                const int agree = w->in_place && !(call->join && i == 0) && step_of(call, i) == 1 &&
                                  item == fg_item_size(there->dtype) && d->low[k] == 0 && d->high[k] == 0 &&
                                  d->program->buffers[call->buffer[i]].position + call->offset[i] ==
                                      there->position + (w->shift + d->at[k]) * item;
                if (!agree)
                    return k > w->last_write ? k : (int)w->last_write;
            }
        }
    }
    return d->n;
}

/* Whether call k reads a buffer only where it writes its result, element by element. */
static int reads_in_step(const draft *d, int k, const note *o) {
    const fg_call *call = call_of(d, k);
    for (int i = 1; i <= call->arity; i++)
        if (note_of(d, k, i) == o &&
            (first_element(call, i) - o->shift != d->at[k] || call->item_size[i] != call->item_size[0]))
            return 0;
    return 1;
}

/* Places in scratch: a result takes that of an operand which nobody else reads any more, or a free one. */
static int find_slots(draft *d) {
    int busy[FG_MOST_SLOTS] = {0};
    d->n_slots = 0;
    for (int k = 0; k < d->n; k++) {
        const fg_call *call = call_of(d, k);
        note *out = note_of(d, k, 0);
        if (d->place[k] != TILED)
            continue;
        const int wanted = !call->join && !out->in_place && out->slot < 0;
        for (int early = 1; early >= 0; early--) {
            for (int i = 1; i <= call->arity; i++) {
                const note *o = note_of(d, k, i);
                if (o->slot >= 0 && o->last == k && o != out && early == reads_in_step(d, k, o))
                    busy[o->slot] = 0;
            }
            for (int s = 0; early && wanted && out->slot < 0 && s < FG_MOST_SLOTS; s++)
                if (!busy[s]) {
                    busy[s] = 1;
                    out->slot = s;
                    d->n_slots = s < d->n_slots ? d->n_slots : s + 1;
                }
        }
        if (wanted && out->slot < 0)
            return k;
        if (out->slot >= 0 && out->last == k)
            busy[out->slot] = 0;
    }
    return d->n;
}

/* The longest group that starts here; its length in calls, or 0. */
static int find_group(draft *d, int64_t most) {
    for (most = most < MOST_CALLS ? most : MOST_CALLS; most > 0;) {
        gather(d, most);
        anchor(d);
        int end = find_halos(d);
        if (end == d->n)
            end = find_clashes(d);
        if (end == d->n)
            end = find_slots(d);
        if (end == d->n)
            return end;
        most = end;
    }
    return 0;
}

/* While an output stays in the second cache, staging took 1.1 of the time; for a larger one, 0.75 to 0.85. */
int64_t fg_least_staged = 4 << 20;

/* Whether tiles of an output had better be made in scratch: it is large, and all calls run along it. */
static int is_worth_staging(const draft *d, const note *o, const fg_buffer *b) {
    if (b->role != FG_OUTPUT || !o->is_written || !o->in_place || b->size * fg_item_size(b->dtype) < fg_least_staged)
        return 0;
    for (int k = 0; k < d->n; k++)
        for (int i = 0; d->place[k] == TILED && i <= call_of(d, k)->arity; i++)
            if (note_of(d, k, i) == o && step_of(call_of(d, k), i) != 1)
                return 0;
    return 1;
}

/* Gives them places in scratch; `offset` is still to be found. */
static void stage(draft *d, fg_group *g) {
    for (int j = 0; j < d->n_touched && g->n_staged < FG_MOST_STAGED && d->n_slots < FG_MOST_SLOTS; j++) {
        note *o = &d->notes[d->touched[j]];
        const fg_buffer *b = &d->program->buffers[d->touched[j]];
        if (!is_worth_staging(d, o, b))
            continue;
        const fg_call *call = call_of(d, (int)o->first);
        int is_read = note_of(d, (int)o->first, 0) != o;
        for (int i = 1; i <= call->arity; i++)
            is_read |= note_of(d, (int)o->first, i) == o;
        const int64_t from = is_read ? 0 : first_element(call, 0);
        o->slot = d->n_slots++;
        g->staged[g->n_staged++] = (fg_staged){.buffer = d->touched[j],
                                               .size = b->size,
                                               .shift = o->shift,
                                               .from = from,
                                               .to = is_read ? 0 : from + call->flat,
                                               .dtype = b->dtype,
                                               .item = (int)fg_item_size(b->dtype)};
    }
}

/* Extents, tiles and parts of the group that the draft describes. */
static void build(draft *d, fg_group *g, fg_part *parts) {
    int64_t low = INT64_MAX, high = INT64_MIN, halo = 0, item = 4; /* of tiles in place; of scratch */
    *g = (fg_group){.first = d->start, .last = d->start + d->n, .parts = parts, .tile = FG_CHUNK, .unit = 1};
    stage(d, g);
    for (int j = 0; j < d->n_touched; j++) {
        const note *o = &d->notes[d->touched[j]];
        if (o->slot < 0 || o->low > o->high)
            continue;
        halo = -o->low > halo ? -o->low : halo;
        halo = o->high > halo ? o->high : halo;
        item = d->program->buffers[d->touched[j]].dtype == FG_FLOAT64 ? 8 : item;
    }
    halo = (halo + 15) / 16 * 16; /* whole vectors: anchor s stands aligned */
    while (g->tile < MOST_TILE && 2 * g->tile * item * d->n_slots <= NEAR_BYTES)
        g->tile *= 2;
    const int64_t slot_bytes = (g->tile + 2 * halo) * item;
    for (fg_staged *s = g->staged; s < g->staged + g->n_staged; s++)
        s->offset = d->notes[s->buffer].slot * slot_bytes + halo * s->item;

    for (place kind = BEFORE; kind <= AFTER; kind++)
        for (int k = 0; k < d->n; k++) {
            const fg_call *call = call_of(d, k);
            if (d->place[k] != kind || (kind == TILED && d->low[k] > d->high[k]))
                continue;
            *(kind == BEFORE ? &g->n_before : kind == TILED ? &g->n_tiled : &g->n_after) += 1;
            fg_part *part = parts++;
            *part = (fg_part){.call = call, .sum = -1};
            if (kind != TILED)
                continue;
            g->cost += fg_instruction_cost(&d->program->instructions[call->instruction]);
            part->low = d->low[k] - d->at[k];
            part->high = d->high[k] - d->at[k];
            part->sum = call->join ? g->n_sums++ : -1;
            for (int i = 0; i < N_OPERANDS; i++) {
                const note *o = note_of(d, k, i);
                part->step[i] = step_of(call, i) * call->item_size[i];
                part->offset[i] = call->offset[i];
                part->in_scratch[i] = o->slot >= 0;
                if (o->slot >= 0)
                    part->offset[i] =
                        o->slot * slot_bytes + (halo + first_element(call, i) - o->shift) * call->item_size[i];
            }
            if (call->join || note_of(d, k, 0)->in_place) {
                low = d->at[k] < low ? d->at[k] : low;
                high = d->at[k] + call->flat > high ? d->at[k] + call->flat : high;
            }
        }
    if (g->n_tiled == 0)
        return;             /* all for nothing */
    for (;; g->unit *= 2) { /* as few tiles as the units suffice for; a unit begins at a multiple of its size, too */
        const int64_t elements = g->tile * g->unit;
        const int64_t from = low / elements - (low % elements < 0), to = (high + elements - 1) / elements;
        g->first_tile = from * g->unit;
        g->n_units = to - from;
        if (g->n_units <= FG_MOST_UNITS)
            return;
    }
}

/* Bytes of the arenas that a run touches: less than the program's when the tiles of a group have their own memory. */
static void extend(const fg_program *p, fg_plan *plan, int64_t buffer) {
    const fg_buffer *b = &p->buffers[buffer];
    int64_t *bytes = b->is_lane ? &plan->lane_bytes : &plan->uniform_bytes;
    if (b->role == FG_ARENA)
        *bytes = bytes_of(b).end > *bytes ? bytes_of(b).end : *bytes;
}

static void measure(const fg_program *p, fg_plan *plan) {
    int64_t k = 0;
    for (int64_t i = 0; i < plan->n_calls; i++)
        if (plan->calls[i].loop) /* whatever it touches */
            return;
    plan->uniform_bytes = plan->lane_bytes = 0;
    for (const fg_group *g = plan->groups, *end = g + plan->n_groups; g <= end; g++) {
        for (; k < (g < end ? g->first : plan->n_calls); k++)
            for (int i = 0; i < N_OPERANDS; i++)
                extend(p, plan, plan->calls[k].buffer[i]);
        if (g == end)
            return;
        for (int j = 0; j < g->n_before + g->n_tiled + g->n_after; j++)
            for (int i = 0; i < N_OPERANDS; i++)
                if (!g->parts[j].in_scratch[i])
                    extend(p, plan, g->parts[j].call->buffer[i]);
        k = g->last;
    }
}

fg_status fg_tiles_find(const fg_program *program, int64_t n_lanes, fg_plan *plan, fg_error *error) {
    /* lanes are blocks already; and sums over lanes read what they leave behind */
    const int64_t end = n_lanes == 1 && !program->n_across ? plan->n_calls : plan->n_uniform;
    int64_t n_large = 0;
    for (int64_t k = 0; k < end; k++)
        n_large += plan->calls[k].flat >= LEAST;
    if (n_large == 0)
        return FG_OK;
    draft d = {.program = program, .plan = plan, .notes = fg_alloc((size_t)program->n_buffers, sizeof *d.notes)};
    plan->groups = fg_alloc((size_t)n_large, sizeof *plan->groups);
    plan->parts = fg_alloc((size_t)end, sizeof *plan->parts);
    if (!d.notes || !plan->groups || !plan->parts) {
        fg_free(d.notes);
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory to group %lld calls", (long long)end);
    }
    for (int64_t i = 0; i < program->n_buffers; i++)
        d.notes[i].slot = -1;
    fg_part *parts = plan->parts;
    for (d.start = 0; d.start < end; d.start += d.n > 0 ? d.n : 1) {
        d.n = 0;
        if (plan->calls[d.start].flat < LEAST)
            continue;
        d.n = find_group(&d, (d.start < plan->n_uniform ? plan->n_uniform : end) - d.start);
        if (d.n > 0) {
            build(&d, &plan->groups[plan->n_groups++], parts);
            parts += d.n;
        }
    }
    fg_free(d.notes);
    measure(program, plan);
    return FG_OK;
}
