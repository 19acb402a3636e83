/* Sums over lanes: right for every layout, dtype and instruction set, whatever stands in lanes that do not count, and
 * with bits that neither the rows computed at a time nor, for products, the cut into blocks changes. */
#include "across.h"

#include "build.h"
#include "check.h"
#include "machine.h"

enum { F64 = FG_FLOAT64, F32 = FG_FLOAT32, MOST_LANES = 144 };
static int64_t n_sums;

/* A view of a new lane input whose axes of `mask` lie in some order, some of them backwards, some repeated. */
static view some_view(builder *b, rng *r, int dtype, int n_dims, const int64_t *shape, unsigned mask) {
    view v = {0, 0, {0}};
    int64_t size = 1;
    const int64_t turn = rng_below(r, n_dims);
    for (int i = 0; i < n_dims; i++) {
        const int d = (int)((turn + i) % n_dims);
        const int64_t kind = rng_below(r, 4), reach = size * (shape[d] ? shape[d] - 1 : 0);
        if (!(mask >> d & 1u) || kind == 0)
            continue;
        v.stride[d] = kind == 1 ? -size : size;
        v.offset += kind == 1 ? reach : 0;
        size += reach;
    }
    v.buffer = add_input(b, dtype, 1, size);
    return v;
}

/* Blocks of lanes with the values of a batch; lanes past the end hold NaN. */
static void load(const fg_program *p, const fg_workspace *w, const arrays *a, int64_t n_lanes, int64_t start) {
    for (int i = 0; i < a->n_inputs; i++) {
        const int dtype = (int)fg_program_input_dtype(p, i);
        const int64_t size = fg_program_input_size(p, i);
        for (int64_t k = 0; k < size && fg_program_input_is_lane(p, i); k++)
            for (int64_t l = 0; l < n_lanes; l++)
                set(w->base[p->input[i]], dtype, k * n_lanes + l,
                    start + l < a->batch ? get(a->in[i], dtype, (start + l) * size + k) : (double)NAN);
    }
}

/* All sums of a program over a batch into a->out, in blocks of n_lanes, `rows` rows at a time. */
static void run(const fg_program *p, arrays *a, int64_t n_lanes, int64_t rows) {
    fg_team team;
    fg_watch watch = {.poll = NULL};
    if (!CHECK(fg_team_create(p, n_lanes, 1, inputs_of(a), a->out, &watch, &team, NULL) == FG_OK))
        return;
    for (int64_t start = 0; start < a->batch; start += n_lanes) {
        const int64_t n = a->batch - start < n_lanes ? a->batch - start : n_lanes;
        load(p, team.workspaces, a, n_lanes, start);
        fg_plan_run(&team.plan, team.plan.n_uniform, team.plan.n_calls, team.workspaces->base, NULL, 0);
        for (int64_t i = 0; i < team.plan.n_across; i++) {
            const fg_across *sum = &team.plan.across[i];
            const int64_t bytes = sum->row_size * (int64_t)item_size(sum->dtype);
            char *panels = exactly(fg_across_room(&team.plan, i) / 8, FG_FLOAT64);
            void *const *const base = team.workspaces->base;
            fg_across_turn(&team.plan, i, n, base, panels);
            CHECK(sum->rows * sum->row_size == fg_program_output_size(p, (int)sum->output));
            for (int64_t first = 0; first < sum->rows; first += rows) {
                const int64_t last = first + rows < sum->rows ? first + rows : sum->rows;
                fg_across_run(&team.plan, i, first, last, n, start > 0, &base, &panels,
                              (char *)a->out[sum->output] + first * bytes);
            }
            free(panels);
        }
    }
    fg_team_destroy(&team);
}

/* The element of a lane's value at a position of an instruction's axes. */
static double element(const fg_program *p, const arrays *a, const view *v, int n_dims, const int64_t *position,
                      int64_t lane) {
    int64_t i = v->offset;
    for (int d = 0; d < n_dims; d++)
        i += v->stride[d] * position[d];
    const int input = (int)p->buffers[v->buffer].position;
    return get(a->in[input], (int)fg_program_input_dtype(p, input), lane * fg_program_input_size(p, input) + i);
}

/* One sum of lane inputs, by views of them: whole numbers, so that the sum is exact in any order. */
static void a_sum_is_right(uint64_t seed, int op, int dtype) {
    static const int64_t lanes[] = {1, 16, 48, MOST_LANES};
    rng r = {seed};
    builder b = {0};
    int64_t shape[FG_MAX_DIMS], position[FG_MAX_DIMS] = {0};
    const int is_matmul = op == FG_OP_lane_matmul, n_dims = is_matmul ? 3 : (int)rng_below(&r, 4);
    for (int d = 0; d < n_dims; d++)
        shape[d] = rng_below(&r, 20) == 0 ? 0 : 1 + rng_below(&r, is_matmul && d < 2 ? 40 : 4);
    view operands[3] = {{0}}; /* axes of a product: m, n, k */
    for (int i = 1; i <= fg_op_arity(op) && n_dims; i++)
        operands[i] = some_view(&b, &r, dtype, n_dims, shape, !is_matmul ? 15 : i == 1 ? 5 : 6);
    if (!n_dims)
        operands[1].buffer = add_input(&b, dtype, 1, 1);
    int64_t size = 1;
    for (int d = 0; d < n_dims - is_matmul; d++)
        size *= shape[d];
    operands[0] = packed(add_output(&b, dtype, 0, size), n_dims - is_matmul, shape);
    add_instruction(&b, op, dtype, n_dims, shape, operands);
    b.n_across = 1;
    fg_program *p = NULL;
    fg_error error = {""};
    if (!CHECK(create(&b, &p, &error) == FG_OK)) {
        fprintf(stderr, "    %s\n", error.message);
        return;
    }
    arrays a = make_arrays(p, 1 + rng_below(&r, 200), &r, -4, 5, 1);
    run(p, &a, lanes[rng_below(&r, 4)], 1 + rng_below(&r, 30));
    int right = 1;
    for (int64_t i = 0; i < size; i++) {
        double expected = 0;
        int64_t rest = i;
        for (int d = n_dims - is_matmul - 1; d >= 0; d--) {
            position[d] = rest % shape[d];
            rest /= shape[d];
        }
        for (int64_t l = 0; l < a.batch; l++)
            for (int64_t k = 0; k < (is_matmul ? shape[2] : 1); k++) {
                if (is_matmul)
                    position[2] = k;
                const double x = element(p, &a, &operands[1], n_dims, position, l);
                expected += is_matmul ? x * element(p, &a, &operands[2], n_dims, position, l) : x;
            }
        right &= get(a.out[0], dtype, i) == expected;
        n_sums++;
    }
    if (!CHECK(right))
        fprintf(stderr, "    %s, seed %d, dtype %d, %s\n", fg_op_name(op), (int)seed, dtype, fg_current_isa());
    free_arrays(&a);
    fg_program_destroy(p);
}

static int same_outputs(const fg_program *p, const arrays *a, const arrays *b) {
    int same = 1;
    for (int i = 0; i < a->n_outputs; i++)
        same &= same_numbers(a->out[i], b->out[i], (int)fg_program_output_dtype(p, i), output_length(p, i, 1));
    return same;
}

/* A layer with its sums: right, the same bits for any rows at a time, and where a lane has one row (no k) the product
 * has the same bits for any blocks. */
static void a_layer_is_right(int dtype, int64_t rows) {
    enum { K = 37, N = 35, BATCH = 131 };
    const builder b = layer_sums(dtype, rows, K, N);
    fg_program *p = NULL;
    rng r = {7}, same = {7};
    if (!CHECK(create(&b, &p, NULL) == FG_OK))
        return;
    arrays first = make_arrays(p, BATCH, &r, -1, 1, 0), other = make_arrays(p, BATCH, &same, -1, 1, 0);
    run(p, &first, 48, K);
    static double sum[2 * N], product[K * N];
    memset(sum, 0, sizeof sum), memset(product, 0, sizeof product);
    for (int64_t l = 0; l < BATCH * rows; l++)
        for (int64_t j = 0; j < N; j++) {
            double z = get(first.in[2], dtype, j);
            for (int64_t i = 0; i < K; i++)
                z += get(first.in[0], dtype, l * K + i) * get(first.in[1], dtype, i * N + j);
            sum[l % rows * N + j] += z > 0 ? z : 0;
            for (int64_t i = 0; i < K && z > 0; i++)
                product[i * N + j] += get(first.in[0], dtype, l * K + i) * z;
        }
    for (int64_t i = 0; i < rows * N; i++)
        CHECK_CLOSE(get(first.out[0], dtype, i), sum[i], 2000 * epsilon(dtype));
    for (int64_t i = 0; i < K * N; i++)
        CHECK_CLOSE(get(first.out[1], dtype, i), product[i], 2000 * epsilon(dtype));
    run(p, &other, 48, 5);
    CHECK(same_outputs(p, &first, &other));
    run(p, &other, 16, K);
    CHECK(same_numbers(first.out[1], other.out[1], dtype, K * N) || rows > 1);
    free_arrays(&first);
    free_arrays(&other);
    fg_program_destroy(p);
}

/* Where an axis is empty nothing is read, wherever the operands are said to stand. */
static void empty_sums_read_nothing(int empty) {
    enum { FAR = 1 << 30 };
    int64_t shape[] = {2, 3, 2};
    shape[empty] = 0;
    builder b = {0};
    rng r = {3};
    fg_program *p = NULL;
    view operands[] = {{0}, {add_input(&b, F64, 1, 6), FAR, {FAR, 0, 1}}, {add_input(&b, F64, 1, 6), FAR, {0, FAR, 1}}};
    operands[0] = packed(add_output(&b, F64, 0, shape[0] * shape[1]), 2, shape);
    add_instruction(&b, FG_OP_lane_matmul, F64, 3, shape, operands);
    b.n_across = 1;
    if (!CHECK(create(&b, &p, NULL) == FG_OK))
        return;
    arrays a = make_arrays(p, 50, &r, -1, 1, 0);
    run(p, &a, 16, 2);
    for (int64_t i = 0; i < shape[0] * shape[1]; i++)
        CHECK(get(a.out[0], F64, i) == 0);
    free_arrays(&a);
    fg_program_destroy(p);
}

static int refused(fg_status status, const fg_error *error) {
    return status == FG_INVALID_VALUE && strstr(error->message, "training") != NULL;
}

static void other_calls_refuse_sums(void) {
    const builder b = layer_sums(F64, 1, 3, 4);
    fg_program *p = NULL;
    fg_machine *machine = NULL;
    fg_error error = {""};
    rng r = {1};
    if (!CHECK(create(&b, &p, NULL) == FG_OK))
        return;
    arrays a = make_arrays(p, 2, &r, -1, 1, 0);
    CHECK(fg_machine_create(p, &machine, &error) == FG_OK);
    CHECK(refused(fg_evaluate(machine, inputs_of(&a), a.out, NULL, NULL, &error), &error));
    error.message[0] = 0;
    CHECK(refused(fg_evaluate_batch(p, 2, inputs_of(&a), a.out, NULL, NULL, &error), &error));
    error.message[0] = 0;
    CHECK(refused(fg_evaluate_directions(p, 2, inputs_of(&a), a.out, 0, NULL, NULL, &error), &error));
    error.message[0] = 0;
    CHECK(refused(fg_descend(&(fg_descent){.program = p}, NULL, NULL, &error), &error));
    error.message[0] = 0;
    CHECK(refused(fg_iterate(&(fg_iteration){.program = p}, NULL, NULL, &error), &error));
    fg_machine_destroy(machine);
    free_arrays(&a);
    fg_program_destroy(p);
}

int main(void) {
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        for (int dtype = F64; dtype <= F32; dtype++) {
            for (uint64_t seed = 0; seed < 300; seed++)
                for (int op = FG_OP_lane_sum; op <= FG_OP_lane_matmul; op++)
                    a_sum_is_right(seed, op, dtype);
            a_layer_is_right(dtype, 1);
            a_layer_is_right(dtype, 2);
        }
    }
    for (int empty = 0; empty < 3; empty++)
        empty_sums_read_nothing(empty);
    other_calls_refuse_sums();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("%lld elements of sums\n", (long long)n_sums);
    return check_result();
}
