/* Tiles against call by call: the same bits, whatever a verified program does with its memory. */
#include "tiles.h"

#include "build.h"
#include "check.h"
#include "machine.h"

static int64_t n_programs, n_groups, n_tiled, n_staged;
static const int threads[] = {1, 2, 3, 8};

/* ---- running both ways ----------------------------------------------------------------------------------- */

static size_t bytes_of(const fg_program *p, int i) {
    const fg_buffer *b = &p->buffers[p->output[i]];
    return (size_t)(b->size * fg_item_size(b->dtype));
}
static void *copy_of(const fg_program *p, int i, const void *out) {
    void *copy = exactly((int64_t)bytes_of(p, i), FG_FLOAT64);
    return memcpy(copy, out, bytes_of(p, i));
}

/* Call by call, one thread: the plan with its groups forgotten. */
static void run_plainly(const fg_program *p, arrays *a) {
    fg_team team;
    fg_watch watch = {.poll = NULL};
    void *out[MAX_BUFFERS];
    for (int i = 0; i < p->n_outputs; i++)
        out[i] = copy_of(p, i, a->out[i]);
    if (!CHECK(fg_team_create(p, 1, 1, inputs_of(a), a->out, &watch, &team, NULL) == FG_OK))
        return;
    memset(team.uniform, 0, (size_t)p->uniform_bytes); /* what was computed there is computed again */
    for (int i = 0; i < p->n_outputs; i++) {
        memcpy(a->out[i], out[i], bytes_of(p, i));
        free(out[i]);
    }
    fg_plan *plan = &team.plan;
    void **base = team.workspaces[0].base;
    for (int64_t i = 0; i < plan->n_groups; i++)
        n_tiled += plan->groups[i].n_tiled, n_staged += plan->groups[i].n_staged;
    n_groups += plan->n_groups;
    plan->n_groups = 0;
    for (int64_t i = 0; i < p->n_inputs; i++)
        if (p->buffers[p->input[i]].is_lane)
            memcpy(base[p->input[i]], a->in[i],
                   (size_t)(p->buffers[p->input[i]].size * fg_item_size(p->buffers[p->input[i]].dtype)));
    fg_plan_run(plan, 0, plan->n_calls, base, NULL, 0);
    for (int64_t i = 0; i < p->n_outputs; i++)
        if (p->buffers[p->output[i]].is_lane)
            memcpy(a->out[i], base[p->output[i]],
                   (size_t)(p->buffers[p->output[i]].size * fg_item_size(p->buffers[p->output[i]].dtype)));
    fg_team_destroy(&team);
}

static int tiles_give_the_same_bits(const fg_program *p, uint64_t seed) {
    rng r = {seed}, same = {seed};
    arrays plain = make_arrays(p, 1, &r, -1, 1, 0), tiled = make_arrays(p, 1, &same, -1, 1, 0);
    fg_machine *machine = NULL;
    int agree = 1;
    if (!CHECK(fg_machine_create(p, &machine, NULL) == FG_OK))
        return 0;
    run_plainly(p, &plain);
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        CHECK(fg_set_num_threads(threads[t], NULL) == FG_OK);
        clear_outputs(p, &tiled);
        CHECK(fg_evaluate(machine, inputs_of(&tiled), tiled.out, NULL, NULL, NULL) == FG_OK);
        for (int i = 0; i < tiled.n_outputs; i++)
            agree &= CHECK(same_numbers(tiled.out[i], plain.out[i], (int)fg_program_output_dtype(p, i),
                                        fg_program_output_size(p, i)));
    }
    fg_machine_destroy(machine);
    free_arrays(&plain);
    free_arrays(&tiled);
    n_programs++;
    return agree;
}

/* ---- any program at all ---------------------------------------------------------------------------------- */

static const int64_t lengths[] = {4096, 4097, 5119, 8191, 8192, 8193, 12289, 16400, 20011};
static const int operations[] = {FG_OP_copy,     FG_OP_negative,     FG_OP_add,     FG_OP_subtract, FG_OP_multiply,
                                 FG_OP_multiply, FG_OP_multiply_add, FG_OP_maximum, FG_OP_where,    FG_OP_sum,
                                 FG_OP_dot,      FG_OP_max,          FG_OP_cast,    FG_OP_prod};
enum { N_OPERATIONS = sizeof operations / sizeof *operations, N_LENGTHS = sizeof lengths / sizeof *lengths };

/* An operand of a program that uses its memory in any way. */
static view random_view(rng *r, const builder *b, int64_t reach, int is_result) {
    const int64_t buffer = rng_below(r, b->n_buffers), size = b->buffers[buffer][3];
    view v = {buffer, 0, {1}};
    if (size < reach && !is_result)
        v.stride[0] = 0;
    if (rng_below(r, 2))
        v.offset = rng_below(r, 4) ? rng_below(r, 3) : size - reach > 0 ? size - reach : 0;
    return v;
}

/* One of a program whose calls mostly read what those just before wrote, as compiled functions do. */
static view recent_view(rng *r, const builder *b, int is_result) {
    enum { FIRST = 6, N_ARENA = 5 }; /* arena buffers */
    const int64_t now = b->n_instructions, back = 1 + rng_below(r, now < 3 ? now + 1 : 3);
    if (is_result)
        return (view){rng_below(r, 12) ? FIRST + now % N_ARENA : 3 + rng_below(r, 2), 0, {1}};
    return (view){rng_below(r, 5) ? FIRST + (now + N_ARENA - back) % N_ARENA : rng_below(r, 2), rng_below(r, 3), {1}};
}

/* `manner`: buffers on memory of their own, buffers that share memory, or recent values as operands. */
static void random_programs(rng *r, int manner) {
    const int64_t n = lengths[rng_below(r, N_LENGTHS)], dtype = rng_below(r, 4) == 0;
    const double numbers[] = {0.5, -1.25};
    builder b = {0};
    fg_program *p = NULL;
    for (int i = 0; i < 2; i++)
        add_input(&b, (int)dtype, 0, n + 2 - i);
    add_constant(&b, (int)dtype, 2, numbers);
    add_output(&b, (int)dtype, 0, n);
    add_output(&b, (int)dtype, 0, n + 3);
    add_output(&b, (int)dtype, 0, 3);
    for (int i = 0; i < 6; i++) {
        add_arena(&b, i == 5 ? 1 - (int)dtype : (int)dtype, 0, i == 4 && manner < 2 ? 3 : n + rng_below(r, 3));
        if (manner == 1 && i < 5 && rng_below(r, 2)) /* not the last: a NaN read as another dtype is a number */
            b.buffers[b.n_buffers - 1][4] = rng_below(r, 3) ? b.buffers[6][4] : 8 * rng_below(r, 3);
    }
    for (int tries = 0; tries < 200 && b.n_instructions < 24; tries++) {
        const builder before = b;
        const int op = operations[rng_below(r, manner == 2 && rng_below(r, 8) ? 9 : N_OPERATIONS)];
        const int is_sum = fg_op_kind_of(op) == FG_REDUCTION || op == FG_OP_dot;
        int64_t length = rng_below(r, 6) ? n - rng_below(r, 3) : rng_below(r, 3) ? 1 : n / 2;
        if (manner == 2) /* what is read was written, at any small offset */
            length = n - 2 * b.n_instructions;
        view operands[1 + FG_MAX_INPUTS];
        for (int i = 0; i <= fg_op_arity(op); i++)
            operands[i] =
                manner == 2 && !(is_sum && i == 0) ? recent_view(r, &b, i == 0) : random_view(r, &b, length, i == 0);
        if (is_sum)
            operands[0].stride[0] = 0;
        add_instruction(&b, op, (int)b.buffers[operands[0].buffer][1], 1, &length, operands);
        b.n_uniform = b.n_instructions;
        if (b.n_code > MAX_CODE - 20 || create(&b, &p, &(fg_error){""}) != FG_OK)
            b = before;
        fg_program_destroy(p);
    }
    if (!CHECK(create(&b, &p, NULL) == FG_OK))
        return;
    const uint64_t seed = rng_next(r);
    if (!tiles_give_the_same_bits(p, seed))
        fprintf(stderr, "    program %lld of length %lld\n", (long long)n_programs, (long long)n);
    fg_program_destroy(p);
}

/* ---- what such programs are mostly ----------------------------------------------------------------------- */

/* Differences of differences, `depth` times, each of the one before at offsets `by` and 0; the squares of the last
 * summed, and their gradient's first step added up in two parts; a small call amid the large ones. */
static builder stencil(int dtype, int64_t n, int depth, int64_t by) {
    const double numbers[] = {2.0, 0.5};
    builder b = {0};
    int64_t x = add_input(&b, dtype, 0, n), before = x, length = n, c = add_constant(&b, dtype, 2, numbers);
    int64_t value = add_output(&b, dtype, 0, 1), gradient = add_output(&b, dtype, 0, n);
    for (int i = 0; i < depth; i++) {
        int64_t t = add_arena(&b, dtype, 0, length -= by);
        add_instruction(&b, FG_OP_subtract, dtype, 1, &length,
                        (view[]){{t, 0, {1}}, {before, by, {1}}, {before, 0, {1}}});
        before = t;
    }
    int64_t s = add_arena(&b, dtype, 0, 1), t = add_arena(&b, dtype, 0, length), one = 1, rest = n - length;
    add_instruction(&b, FG_OP_dot, dtype, 1, &length, (view[]){{s, 0, {0}}, {before, 0, {1}}, {before, 0, {1}}});
    add_instruction(&b, FG_OP_multiply, dtype, 0, &one, (view[]){{value, 0, {0}}, {c, 1, {0}}, {s, 0, {0}}});
    add_instruction(&b, FG_OP_multiply, dtype, 1, &length, (view[]){{t, 0, {1}}, {c, 0, {0}}, {before, 0, {1}}});
    add_instruction(&b, FG_OP_negative, dtype, 1, &length, (view[]){{gradient, 0, {1}}, {t, 0, {1}}});
    add_instruction(&b, FG_OP_copy, dtype, 1, &rest, (view[]){{gradient, length, {1}}, {c, 0, {0}}});
    add_instruction(&b, FG_OP_add, dtype, 1, &length,
                    (view[]){{gradient, rest, {1}}, {gradient, rest, {1}}, {t, 0, {1}}});
    b.n_uniform = b.n_instructions;
    return b;
}

/* One group, nothing of the arena touched but the sum, the oracle's numbers, and the bits of call by call. */
static void stencils_are_one_group(void) {
    static const int64_t around[] = {2100,      4095,          4096,           4097,  8192 + 1023,
                                     20 * 1024, 20 * 1024 + 1, 300 * 1024 - 1, 500009};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++)
        for (int depth = 1; depth <= 6; depth += 1 + (around[i] > 50000) * 2)
            for (int64_t by = 1; by <= 9 && by * depth <= 40; by += 4) {
                const int dtype = (depth + (int)by) % 2 ? FG_FLOAT32 : FG_FLOAT64;
                builder b = stencil(dtype, around[i], depth, by);
                fg_program *p = NULL;
                fg_plan plan;
                if (!CHECK(create(&b, &p, NULL) == FG_OK) || !CHECK(fg_plan_create(p, 1, &plan, NULL) == FG_OK))
                    return;
                CHECK(plan.n_groups == 1 && plan.groups[0].first == 0 && plan.groups[0].last == plan.n_calls &&
                      plan.groups[0].n_after == 1);
                CHECK(plan.uniform_bytes <= b.arena[0] - (around[i] - depth * by) * (int64_t)item_size(dtype));
                fg_plan_destroy(&plan);
                tiles_give_the_same_bits(p, (uint64_t)(i + 1));
                fg_program_destroy(p);
            }
}

static void tiles_are_right(void) {
    builder b = stencil(FG_FLOAT64, 9001, 3, 1);
    int64_t words[MAX_WORDS];
    const size_t n_words = assemble(&b, words);
    rng r = {5}, same = {5};
    fg_program *p = NULL;
    fg_machine *machine = NULL;
    CHECK(fg_program_create(words, n_words, &p, NULL) == FG_OK && fg_machine_create(p, &machine, NULL) == FG_OK);
    arrays a = make_arrays(p, 1, &r, -1, 1, 0), expected = make_arrays(p, 1, &same, -1, 1, 0);
    CHECK(fg_evaluate(machine, inputs_of(&a), a.out, NULL, NULL, NULL) == FG_OK);
    CHECK(oracle_run(words, n_words, inputs_of(&expected), expected.out));
    CHECK_CLOSE(get(a.out[0], FG_FLOAT64, 0), get(expected.out[0], FG_FLOAT64, 0), 1e-10 * 9001);
    for (int64_t k = 0; k < 9001; k++)
        CHECK_CLOSE(get(a.out[1], FG_FLOAT64, k), get(expected.out[1], FG_FLOAT64, k), 1e-13);
    fg_machine_destroy(machine);
    free_arrays(&a);
    free_arrays(&expected);
    fg_program_destroy(p);
}

/* The poll is asked between tiles, and what a group keeps in scratch is never allocated. */
static int64_t n_polls, bytes_before;
static int stop(void *context, int64_t done) {
    (void)context, (void)done;
    CHECK(fg_live_bytes() == bytes_before);
    return ++n_polls >= 1;
}
static void a_poll_stops_between_tiles(void) {
    enum { LONG = 1 << 22 };
    builder b = {0};
    int64_t x = add_input(&b, FG_FLOAT64, 0, LONG), y = add_output(&b, FG_FLOAT64, 0, LONG);
    int64_t t = add_arena(&b, FG_FLOAT64, 0, LONG);
    add_simple(&b, FG_OP_exp, FG_FLOAT64, LONG, t, x, x);
    add_simple(&b, FG_OP_exp, FG_FLOAT64, LONG, y, t, t);
    b.n_uniform = 2;
    fg_program *p = NULL;
    fg_machine *machine = NULL;
    rng r = {1};
    CHECK(create(&b, &p, NULL) == FG_OK && fg_machine_create(p, &machine, NULL) == FG_OK);
    arrays a = make_arrays(p, 1, &r, -1, 1, 0);
    for (int n = 1; n <= 2; n++) {
        CHECK(fg_set_num_threads(n, NULL) == FG_OK);
        clear_outputs(p, &a);
        n_polls = 0;
        bytes_before = fg_live_bytes();
        CHECK(fg_evaluate(machine, inputs_of(&a), a.out, stop, NULL, NULL) == FG_CANCELLED && n_polls == 1);
        int64_t written = 0;
        for (int64_t k = 0; k < LONG; k++)
            written += get(a.out[0], FG_FLOAT64, k) != 0;
        CHECK(n == 2 || (written > 0 && written < LONG / 2));
    }
    CHECK(fg_evaluate(machine, inputs_of(&a), a.out, NULL, NULL, NULL) == FG_OK);
    CHECK(get(a.out[0], FG_FLOAT64, LONG - 1) > 1);
    fg_machine_destroy(machine);
    free_arrays(&a);
    fg_program_destroy(p);
}

/* With numbers: how many random programs, from which seed. */
int main(int argc, char **argv) {
    const int n = argc > 1 ? atoi(argv[1]) : 400;
    const int64_t large = fg_least_staged;
    rng r = {argc > 2 ? (uint64_t)atoll(argv[2]) : 11};
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        stencils_are_one_group();
        tiles_are_right();
        for (int i = 0; i < n; i++) {
            fg_least_staged = i % 2 ? large : 0;
            random_programs(&r, i % 3);
        }
        fg_least_staged = 0;
        stencils_are_one_group();
        tiles_are_right();
        fg_least_staged = large;
    }
    a_poll_stops_between_tiles();
    CHECK(n_groups > n_programs / 4 && n_tiled > n_groups && n_staged > n_groups / 8);
    fprintf(stderr, "%lld programs, %lld groups, %lld calls on tiles, %lld staged outputs\n", (long long)n_programs,
            (long long)n_groups, (long long)n_tiled, (long long)n_staged);
    CHECK(fg_live_blocks() == 0);
    return check_result();
}
