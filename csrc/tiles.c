/* Running groups of calls tile by tile; see tiles.h, and groups.c for how they are found.
 *
 * A reduction keeps its order (kernels.h, fg_fold): tiles are a power of two of chunks and begin at multiples of their
 * size, so the sum of a tile is a node of the balanced tree, and so is that of a unit, a power of two of tiles. */
#include "tiles.h"

#include <string.h>

#include "alloc.h"

enum { N_OPERANDS = 1 + FG_MAX_INPUTS };

/* Partial results of a reduction, those of the left first, where each stands for a larger power of two of pieces than
 * the next: the way to a balanced tree while pieces come one by one. */
typedef struct {
    char value[48 * 8];
    int64_t count; /* pieces so far */
    int depth;     /* values */
} stack;

static void join(stack *s, const fg_call *call) {
    const int item = call->item_size[0];
    char *left = s->value + (s->depth - 2) * item;
    const fg_fold two = {.n = 2, .width = 1, .stride = {1, 1}};
    call->join(&two, (void *[]){left, left, left});
    s->depth--;
}

/* Takes in the piece that was put at the end of the values. */
static void push(stack *s, const fg_call *call) {
    s->depth++;
    s->count++;
    for (int64_t n = s->count; n % 2 == 0; n /= 2)
        join(s, call);
}

static const char *joined(stack *s, const fg_call *call) {
    while (s->depth > 1)
        join(s, call);
    return s->value;
}

typedef struct {
    const fg_group *group;
    void *const *base;
    fg_watch *watch;                     /* NULL for none */
    int looks;                           /* whether worker 0 is the thread that made the call */
    fg_away_kernel away[FG_MOST_STAGED]; /* NULL for plain copies */
    _Atomic int64_t next;
    char sums[FG_MOST_SUMS][FG_MOST_UNITS * 8];
} group_run;

/* Elements first to last - 1 of a staged output, between memory and scratch. */
static void fetch(const group_run *run, const fg_staged *s, char *at, int64_t first, int64_t last) {
    if (first < last)
        memcpy(at + first * s->item, (const char *)run->base[s->buffer] + first * s->item,
               (size_t)((last - first) * s->item));
}

static void move_staged(const group_run *run, char *scratch, int64_t start, int out) {
    const fg_group *g = run->group;
    for (int i = 0; i < g->n_staged; i++) {
        const fg_staged *s = &g->staged[i];
        char *at = scratch + s->offset - (start + s->shift) * s->item; /* of element 0 */
        const int64_t low = start + s->shift, high = low + g->tile;
        const int64_t first = low > 0 ? low : 0, last = high < s->size ? high : s->size;
        if (!out) {
            fetch(run, s, at, first, last < s->from ? last : s->from);
            fetch(run, s, at, first > s->to ? first : s->to, last);
        } else if (first < last) {
            char *to = (char *)run->base[s->buffer] + first * s->item;
            if (run->away[i])
                run->away[i](last - first, at + first * s->item, to);
            else
                memcpy(to, at + first * s->item, (size_t)((last - first) * s->item));
        }
    }
}

static void run_tile(const group_run *run, char *scratch, int64_t start, stack *sums) {
    const fg_group *g = run->group;
    move_staged(run, scratch, start, 0);
    for (const fg_part *part = g->parts + g->n_before, *end = part + g->n_tiled; part < end; part++) {
        const fg_call *call = part->call;
        const int64_t low = start + part->low, high = start + g->tile + part->high;
        const int64_t first = low > 0 ? low : 0, last = high < call->flat ? high : call->flat;
        if (first >= last)
            continue;
        void *operand[N_OPERANDS];
        for (int i = 0; i < N_OPERANDS; i++) {
            char *from = part->in_scratch[i] ? scratch - start * part->step[i] : run->base[call->buffer[i]];
            operand[i] = from + part->offset[i] + first * part->step[i];
        }
        if (part->sum >= 0) {
            stack *s = &sums[part->sum];
            operand[0] = s->value + s->depth * call->item_size[0];
        }
        call->piece(call, last - first, operand);
        if (part->sum >= 0)
            push(&sums[part->sum], call);
    }
    move_staged(run, scratch, start, 1);
}

static void work_on_units(void *context, int worker) {
    group_run *run = context;
    const fg_group *g = run->group;
    char scratch[FG_SCRATCH_BYTES] __attribute__((aligned(64)));
    stack sums[FG_MOST_SUMS];
    for (;;) {
        const int64_t unit = atomic_fetch_add(&run->next, 1);
        if (unit >= g->n_units) {
            atomic_thread_fence(memory_order_seq_cst); /* stores past the caches have arrived */
            return;
        }
        for (int i = 0; i < g->n_sums; i++)
            sums[i].count = sums[i].depth = 0;
        for (int64_t t = 0; t < g->unit; t++) {
            run_tile(run, scratch, (g->first_tile + unit * g->unit + t) * g->tile, sums);
            if (run->watch) {
                if (run->looks && worker == 0)
                    fg_watch_look(run->watch);
                if (atomic_load(&run->watch->cancelled))
                    return;
            }
        }
        for (const fg_part *part = g->parts + g->n_before, *end = part + g->n_tiled; part < end; part++)
            if (part->sum >= 0 && sums[part->sum].depth) {
                const int item = part->call->item_size[0];
                memcpy(run->sums[part->sum] + unit * item, joined(&sums[part->sum], part->call), (size_t)item);
            }
    }
}

void fg_tiles_run(const fg_group *g, void *const *base, fg_watch *watch, int worker) {
    group_run run = {.group = g, .base = base, .watch = watch, .looks = worker == 0};
    for (int i = 0; i < g->n_before; i++)
        fg_call_run(g->parts[i].call, base);
    for (int i = 0; i < g->n_staged; i++) { /* what the system has to clear first stands in the caches already */
        const fg_staged *s = &g->staged[i];
        if (!fg_is_new((char *)base[s->buffer] + s->size / 2 * s->item))
            run.away[i] = fg_active_kernels()->away[s->dtype];
    }
    fg_parallel(fg_workers_for(g->cost, g->n_units), work_on_units, &run, worker == 0 ? watch : NULL);
    if (watch && atomic_load(&watch->cancelled))
        return;
    const fg_part *part = g->parts + g->n_before;
    for (int i = 0; i < g->n_tiled; i++, part++) {
        if (part->sum < 0)
            continue;
        const fg_call *call = part->call;
        const int item = call->item_size[0];
        stack sum = {.depth = 0};
        const int64_t zero = -g->first_tile / g->unit, per_unit = g->unit * g->tile; /* the unit of element 0 */
        for (int64_t unit = 0; unit * per_unit < call->flat; unit++) {
            memcpy(sum.value + sum.depth * item, run.sums[part->sum] + (zero + unit) * item, (size_t)item);
            push(&sum, call);
        }
        memcpy((char *)base[call->buffer[0]] + call->offset[0], joined(&sum, call), (size_t)item);
    }
    for (int i = 0; i < g->n_after; i++, part++)
        fg_call_run(part->call, base);
}
