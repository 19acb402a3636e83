/* Tiles against call by call: the same bits, whatever a verified program does with its memory. */
#include "tiles.h"

#include "build.h"
#include "check.h"
#include "machine.h"

static int64_t n_programs, n_groups, n_tiled;
static const int threads[] = {1, 2, 3, 8};

/* ---- running both ways ----------------------------------------------------------------------------------- */

/* Call by call, one thread: the plan with its groups forgotten. */
static void run_plainly(const fg_program *p, arrays *a) {
    fg_plan plan;
    fg_workspace w;
    char *uniform = exactly(p->uniform_bytes + 1, FG_FLOAT64);
    if (!CHECK(fg_plan_create(p, 1, &plan, NULL) == FG_OK) ||
        !CHECK(fg_workspace_create(p, 1, uniform, inputs_of(a), a->out, &w, NULL) == FG_OK))
        return;
    for (int64_t i = 0; i < plan.n_groups; i++)
        n_tiled += plan.groups[i].n_tiled;
    n_groups += plan.n_groups;
    plan.n_groups = 0;
    for (int64_t i = 0; i < p->n_inputs; i++)
        if (p->buffers[p->input[i]].is_lane)
            memcpy(w.base[p->input[i]], a->in[i],
                   (size_t)(p->buffers[p->input[i]].size * fg_item_size(p->buffers[p->input[i]].dtype)));
    fg_plan_run(&plan, 0, plan.n_calls, w.base, NULL, 0);
    for (int64_t i = 0; i < p->n_outputs; i++)
        if (p->buffers[p->output[i]].is_lane)
            memcpy(a->out[i], w.base[p->output[i]],
                   (size_t)(p->buffers[p->output[i]].size * fg_item_size(p->buffers[p->output[i]].dtype)));
    fg_workspace_destroy(&w);
    fg_plan_destroy(&plan);
    free(uniform);
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

/* An operand: mostly large, often one that was written before. */
static view random_view(rng *r, const builder *b, int64_t reach, int is_result) {
    const int64_t buffer = rng_below(r, b->n_buffers), size = b->buffers[buffer][3];
    view v = {buffer, 0, {1}};
    if (size < reach && !is_result)
        v.stride[0] = 0;
    if (rng_below(r, 2))
        v.offset = rng_below(r, 4) ? rng_below(r, 3) : size - reach > 0 ? size - reach : 0;
    return v;
}

static void random_programs(rng *r, int share_memory) {
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
        add_arena(&b, i == 5 ? 1 - (int)dtype : (int)dtype, 0, i == 4 ? 3 : n + rng_below(r, 3));
        if (share_memory && i < 5 && rng_below(r, 2))
            b.buffers[b.n_buffers - 1][4] = rng_below(r, 3) ? b.buffers[6][4] : 8 * rng_below(r, 3);
    }
    for (int tries = 0; tries < 200 && b.n_instructions < 24; tries++) {
        const builder before = b;
        const int op = operations[rng_below(r, N_OPERATIONS)];
        const int is_sum = fg_op_kind_of(op) == FG_REDUCTION || op == FG_OP_dot;
        int64_t length = rng_below(r, 6) ? n - rng_below(r, 3) : rng_below(r, 3) ? 1 : n / 2;
        view operands[1 + FG_MAX_INPUTS];
        for (int i = 0; i <= fg_op_arity(op); i++)
            operands[i] = random_view(r, &b, length, i == 0);
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

int main(int argc, char **argv) {
    const int n = argc > 1 ? atoi(argv[1]) : 400;
    rng r = {argc > 2 ? (uint64_t)atoll(argv[2]) : 11};
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        for (int i = 0; i < n; i++)
            random_programs(&r, i % 2);
    }
    CHECK(n_groups > n_programs / 4 && n_tiled > n_groups);
    fprintf(stderr, "%lld programs, %lld groups, %lld calls on tiles\n", (long long)n_programs, (long long)n_groups,
            (long long)n_tiled);
    CHECK(fg_live_blocks() == 0);
    return check_result();
}
