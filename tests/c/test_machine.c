/* The machine against the oracle, and against itself: the same bits alone, in every batch, at every number of threads,
 * for every instruction set. */
#include "build.h"
#include "check.h"

enum { MOST_LANES = 1000 };

static int64_t n_programs, n_batches, n_compared;
static const char *now_testing;
static char long_name[160];

/* ---- one program ---------------------------------------------------------------------------------------- */

/* Inputs and expected outputs of `n` instances, kept over the ISAs. */
typedef struct {
    fg_program *p;
    int64_t words[MAX_WORDS];
    size_t n_words;
    int64_t n;
    arrays alone, oracle, batch;
} subject;

static int begin(subject *s, const builder *b, const char *name, int64_t n, double low, double high) {
    fg_error error = {""};
    rng r = {7}, same = {7}, too = {7};
    now_testing = name;
    s->n_words = assemble(b, s->words);
    s->n = n;
    if (!CHECK(fg_program_create(s->words, s->n_words, &s->p, &error) == FG_OK)) {
        fprintf(stderr, "    %s: %s\n", name, error.message);
        return 0;
    }
    s->alone = make_arrays(s->p, n, &r, low, high, 0);
    s->oracle = make_arrays(s->p, n, &same, low, high, 0);
    s->batch = make_arrays(s->p, n, &too, low, high, 0);
    n_programs++;
    return 1;
}
static void end(subject *s) {
    free_arrays(&s->alone);
    free_arrays(&s->oracle);
    free_arrays(&s->batch);
    fg_program_destroy(s->p);
}

/* Each instance by fg_evaluate, near the oracle's numbers: errors of `terms` roundings. */
static void instances_are_right(subject *s, int64_t terms) {
    fg_machine *machine = NULL;
    const void *in[MAX_BUFFERS];
    void *out[MAX_BUFFERS];
    if (!CHECK(fg_machine_create(s->p, &machine, NULL) == FG_OK))
        return;
    clear_outputs(s->p, &s->alone);
    clear_outputs(s->p, &s->oracle);
    for (int64_t l = 0; l < s->n; l++) {
        instance_of(s->p, &s->alone, l, in, out);
        CHECK(fg_evaluate(machine, in, out, NULL, NULL, NULL) == FG_OK);
        if (l >= 3)
            continue; /* the oracle is slow */
        void *expected[MAX_BUFFERS];
        instance_of(s->p, &s->oracle, l, in, expected);
        CHECK(oracle_run(s->words, s->n_words, in, expected));
        for (int i = 0; i < s->alone.n_outputs; i++) {
            const int dtype = (int)fg_program_output_dtype(s->p, i);
            for (int64_t k = 0; k < fg_program_output_size(s->p, i); k++) {
                const double x = get(out[i], dtype, k), y = get(expected[i], dtype, k);
                if (!CHECK_CLOSE(x, y, epsilon(dtype) * 8 * (double)(terms + 1) * (1 + fabs(y))))
                    fprintf(stderr, "    %s, %s, output %d[%lld]\n", now_testing, fg_current_isa(), i, (long long)k);
                n_compared++;
            }
        }
    }
    fg_machine_destroy(machine);
}

static void a_batch_gives_the_bits_of_its_instances(subject *s, int64_t batch, int threads) {
    fg_error error = {""};
    CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
    clear_outputs(s->p, &s->batch);
    if (!CHECK(fg_evaluate_batch(s->p, batch, inputs_of(&s->batch), s->batch.out, NULL, NULL, &error) == FG_OK))
        fprintf(stderr, "    %s\n", error.message);
    int same = 1;
    for (int i = 0; i < s->batch.n_outputs; i++)
        same &= same_numbers(s->batch.out[i], s->alone.out[i], (int)fg_program_output_dtype(s->p, i),
                             output_length(s->p, i, batch));
    if (!CHECK(same))
        fprintf(stderr, "    %s, %s, batch of %lld, %d threads\n", now_testing, fg_current_isa(), (long long)batch,
                threads);
    n_batches++;
}

static void check_program(const builder *b, const char *name, int64_t n, int64_t terms) {
    static const int64_t batches[] = {1, 2, 15, 16, 17, 33, 1000};
    static const int threads[] = {1, 2, 3, 16};
    subject s;
    if (!begin(&s, b, name, n, -1.5, 1.5))
        return;
    for (int isa = 0; fg_isa_name(isa); isa++) {
        CHECK(fg_select_isa(fg_isa_name(isa), NULL) == FG_OK);
        instances_are_right(&s, terms);
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++)
            for (size_t t = 0; t < sizeof threads / sizeof *threads && batches[i] <= n; t++)
                if (t == 0 || batches[i] > 16) /* one block is one worker's */
                    a_batch_gives_the_bits_of_its_instances(&s, batches[i], threads[t]);
    }
    end(&s);
}

/* ---- random layouts ------------------------------------------------------------------------------------- */

/* A new buffer and a view of it with the axes of `mask` in random order, some of them backwards or with gaps, and for
 * operands some repeated. */
static view random_view(builder *b, rng *r, int role, int dtype, int is_lane, int n_dims, const int64_t *shape,
                        unsigned mask) {
    view v = {0, 0, {0}};
    int order[FG_MAX_DIMS];
    int64_t size = 1;
    for (int d = 0; d < n_dims; d++) {
        int64_t k = rng_below(r, d + 1);
        order[d] = order[k];
        order[k] = d;
    }
    const int calm = rng_below(r, 3) == 0; /* a plain array */
    for (int k = 0; k < n_dims; k++) {
        const int d = calm ? n_dims - 1 - k : order[k];
        const int64_t kind = calm ? 5 : rng_below(r, 6);
        if (!(mask >> d & 1u) || (role != FG_OUTPUT && kind == 0))
            continue;
        const int64_t step = kind == 1 ? 2 * size : size, reach = step * (shape[d] ? shape[d] - 1 : 0);
        v.stride[d] = kind == 2 ? -step : step;
        v.offset += kind == 2 ? reach : 0;
        size += reach;
    }
    const int64_t before = calm ? 0 : rng_below(r, 3);
    v.offset += before;
    size += before;
    v.buffer = role == FG_OUTPUT ? add_output(b, dtype, is_lane, size) : add_input(b, dtype, is_lane, size);
    return v;
}

static void a_random_layout(uint64_t seed, int op, int dtype) {
    rng r = {seed};
    builder b = {0};
    const int arity = fg_op_arity(op), is_matmul = op == FG_OP_matmul || op == FG_OP_matmul_add;
    const int reduces = fg_op_kind_of(op) == FG_REDUCTION || op == FG_OP_dot;
    const int n_dims = is_matmul ? 4 : (int)rng_below(&r, 5) + 1;
    const unsigned all = (1u << n_dims) - 1, rest = reduces ? all >> 1 : all;
    const unsigned start = rng_below(&r, 2) ? 7 : (unsigned)rng_below(&r, 8); /* all of a bias, or axes that repeat */
    const unsigned masks[2][4] = {{rest, all, all, all}, {7, 11, 13, start}}; /* matmul: (b,m,n) (b,m,k) (b,n,k) */
    int64_t shape[FG_MAX_DIMS];
    for (int d = 0; d < n_dims; d++)
        shape[d] = n_dims == 1 ? 1 + rng_below(&r, 70) : 1 + rng_below(&r, n_dims < 4 ? 9 : 5);
    view operands[1 + FG_MAX_INPUTS] = {{0}};
    const int uniform = rng_below(&r, 6) == 0; /* the whole instruction */
    int64_t lane = is_matmul ? 1 + rng_below(&r, 2) : -1;
    for (int i = 0; i <= arity; i++) {
        int is_lane = !uniform && (i == 0 || (is_matmul && i < 3 ? i == lane : rng_below(&r, 3) > 0));
        operands[i] = random_view(&b, &r, i ? FG_INPUT : FG_OUTPUT, op == FG_OP_cast && i ? FG_FLOAT32 - dtype : dtype,
                                  is_lane, n_dims, shape, masks[is_matmul][i]);
    }
    add_instruction(&b, op, dtype, n_dims, shape, operands);
    b.n_uniform = uniform;
    int length =
        snprintf(long_name, sizeof long_name, "%s, seed %d, dtype %d, shape", fg_op_name(op), (int)seed, dtype);
    for (int d = 0; d < n_dims; d++)
        length += snprintf(long_name + length, sizeof long_name - (size_t)length, " %d", (int)shape[d]);
    check_program(&b, long_name, 33, reduces || is_matmul ? shape[n_dims - 1] : 1);
}

static void random_layouts_are_right(int n) {
    for (int i = 0; i < n; i++)
        for (int op = 0; op < FG_N_OPS; op++)
            for (int dtype = 0; fg_op_kind_of(op) != FG_GENERALISED && dtype < 2 && op != FG_OP_gather &&
                                op != FG_OP_scatter_add && op != FG_OP_scan && op < FG_OP_lane_sum;
                 dtype++)
                a_random_layout((uint64_t)(i * 100 + op), op, dtype);
}

/* ---- sizes ---------------------------------------------------------------------------------------------- */

static void reductions_of_every_size_are_right(void) {
    static const int64_t sizes[] = {0, 1, 2, 3, 15, 16, 17, 1023, 1024, 1025, 5000};
    static const int ops[] = {FG_OP_sum, FG_OP_prod, FG_OP_max, FG_OP_min, FG_OP_dot};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
            for (int dtype = 0; dtype < 2; dtype++)
                for (int64_t stride = -1; stride <= 2; stride += 3) { /* backwards, and with gaps */
                    const int64_t n = sizes[i], reach = n ? n - 1 : 0, twice[] = {2, n};
                    builder b = {0};
                    int64_t x = add_input(&b, dtype, 1, 2 * n), y = add_input(&b, dtype, stride < 0, n);
                    int64_t out = add_output(&b, dtype, 1, 2), also = add_output(&b, dtype, 1, 1);
                    add_instruction(&b, ops[k], dtype, 2, twice, /* two in one, contiguous */
                                    (view[]){{out, 0, {1, 0}}, {x, 0, {n, 1}}, {y, 0, {0, 1}}});
                    add_instruction(&b, ops[k], dtype, 1, &n,
                                    (view[]){{also, 0, {0}}, {x, stride < 0 ? reach : 0, {stride}}, {y, 0, {1}}});
                    snprintf(long_name, sizeof long_name, "%s of %d, dtype %d", fg_op_name(ops[k]), (int)n, dtype);
                    check_program(&b, long_name, 33, n);
                }
}

static void products_of_every_layout_are_right(void) {
    static const int64_t shapes[][4] = {/* batch, m, n, k */
                                        {1, 1, 1, 1},  {1, 3, 4, 0},    {1, 7, 1, 9},   {1, 1, 7, 9},
                                        {2, 5, 3, 1},  {1, 13, 17, 5},  {1, 12, 32, 8}, {3, 4, 5, 6},
                                        {1, 1, 1, 67}, {1, 33, 31, 65}, {1, 6, 3, 300}, {1, 2, 33, 130}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int lanes = 0; lanes <= 3; lanes++)       /* bits: the left, the right matrix */
            for (int layout = 0; layout < 8; layout++) /* which of the three are transposed */
                for (int kind = 0; kind < 8; kind++) { /* bit 0: dtype; what it starts from: nothing, or see below */
                    const int64_t *s = shapes[i], m = s[1], n = s[2], k = s[3];
                    const int dtype = kind & 1, start = kind >> 1, is_lane = start == 3 && lanes > 0;
                    builder b = {0};
                    view out = {0, 0, {m * n, layout & 1 ? 1 : n, layout & 1 ? m : 1, 0}};
                    view left = {0, 0, {m * k, layout & 2 ? 1 : k, 0, layout & 2 ? m : 1}};
                    view right = {0, 0, {k * n, 0, layout & 4 ? k : 1, layout & 4 ? 1 : n}};
                    left.buffer = add_input(&b, dtype, lanes & 1, s[0] * m * k);
                    right.buffer = add_input(&b, dtype, lanes >> 1, s[0] * k * n);
                    out.buffer = add_output(&b, dtype, lanes > 0, s[0] * m * n);
                    view from = {0, 0, {start > 1 ? m * n : 0, start == 3 ? 1 : 0, start == 3 ? m : start, 0}};
                    if (start)
                        from.buffer = add_input(&b, dtype, is_lane, s[0] * m * n + n);
                    add_instruction(&b, start ? FG_OP_matmul_add : FG_OP_matmul, dtype, 4, s,
                                    (view[]){out, left, right, from});
                    b.n_uniform = lanes == 0;
                    snprintf(long_name, sizeof long_name,
                             "product %d x %d x %d x %d, lanes %d, layout %d, dtype %d, start %d", (int)s[0], (int)m,
                             (int)n, (int)k, lanes, layout, dtype, start);
                    check_program(&b, long_name, m * n * k > 2000 ? 2 : 17, k);
                }
}

/* ---- whole programs ------------------------------------------------------------------------------------- */

static builder heavy(int dtype, int64_t n) { /* work for every thread: 16 ns an element */
    builder b = {0};
    const int64_t steps = 16;
    int64_t x = add_input(&b, dtype, 1, n), sum = add_output(&b, dtype, 1, 1), y = add_arena(&b, dtype, 1, n);
    add_simple(&b, FG_OP_sin, dtype, n, y, x, x);
    for (int64_t i = 0; i < steps; i++)
        add_simple(&b, i % 2 ? FG_OP_exp : FG_OP_tanh, dtype, n, y, y, y);
    add_instruction(&b, FG_OP_sum, dtype, 1, &n, (view[]){{sum, 0, {0}}, {y, 0, {1}}});
    return b;
}

static void whole_programs_are_right(void) {
    for (int dtype = 0; dtype < 2; dtype++) {
        const builder programs[] = {quadratic(dtype, 5), layer(dtype, 19, 30), mixture(dtype)};
        check_program(&programs[0], "quadratic", MOST_LANES, 20);
        check_program(&programs[1], "layer", MOST_LANES, 200);
        check_program(&programs[2], "mixture", MOST_LANES, 50 + (dtype == FG_FLOAT64 ? INT64_C(1) << 27 : 0));
        builder b = heavy(dtype, 1500);
        check_program(&b, "heavy", 64, 20000);
    }
    for (int dtype = 0; dtype < 2; dtype++)
        for (int64_t length = 0; length <= 7; length++)
            for (int64_t every = 0; every <= 4; every++)
                for (int kind = 0; kind < 3; kind++) { /* uniform, a lane, a lane from a uniform carry */
                    const builder b = recurrence(dtype, length, every, kind > 0, kind == 1);
                    snprintf(long_name, sizeof long_name, "loop of %d, every %d, kind %d", (int)length, (int)every,
                             kind);
                    check_program(&b, long_name, kind && length == 5 ? MOST_LANES : 17, 200);
                }
    const builder nothing = {0};
    check_program(&nothing, "nothing", 17, 0);
}

/* Instances that were not finished are not promised, those past the batch are never written. */
static int64_t polls, last_done;
static int cancel_at(void *context, int64_t done) {
    last_done = done;
    return ++polls >= *(int64_t *)context;
}
static void a_long_batch_polls_and_can_be_cancelled(void) {
    builder b = heavy(FG_FLOAT64, 20000);
    subject s;
    fg_error error = {""};
    CHECK(fg_select_isa("", NULL) == FG_OK);
    if (!begin(&s, &b, "cancelled", MOST_LANES, -1, 1))
        return;
    for (int threads = 1; threads <= 2; threads++)
        for (int64_t k = 1; k <= 2; k++) {
            CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
            polls = 0;
            CHECK(fg_evaluate_batch(s.p, MOST_LANES, inputs_of(&s.batch), s.batch.out, cancel_at, &k, &error) ==
                  FG_CANCELLED);
            CHECK(polls == k && last_done < MOST_LANES);
        }
    CHECK(fg_evaluate_batch(s.p, 0, inputs_of(&s.batch), s.batch.out, NULL, NULL, &error) == FG_INVALID_VALUE);
    CHECK(fg_evaluate_batch(s.p, -1, inputs_of(&s.batch), s.batch.out, NULL, NULL, &error) == FG_INVALID_VALUE);
    end(&s);
}

/* to[c, r] = from[r, c] */
static void transpose(const void *from, void *to, int dtype, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            set(to, dtype, c * rows + r, get(from, dtype, r * columns + c));
}

/* Seeds of 40 and 30 elements, the ones of the last 9 instances past all of them, and a lane value beside them. */
static void directions_are_a_batch_of_unit_vectors(int dtype, int threads) {
    enum { X = 40, Y = 30, Z = 17, N = X + Y + 9 };
    static const int64_t size[3] = {X, Y, Z};
    builder b = {0};
    for (int i = 0; i < 3; i++) {
        const int64_t factor = add_input(&b, dtype, 0, size[i]), lane = add_input(&b, dtype, 1, size[i]);
        add_simple(&b, FG_OP_multiply, dtype, size[i], add_output(&b, dtype, 1, size[i]), lane, factor);
    }
    subject s;
    if (!begin(&s, &b, "directions", N, 1, 2))
        return;
    const void *in[6], *across[6];
    void *turned[3], *z = exactly(N * Z, dtype);
    for (int i = 0; i < 6; i++)
        in[i] = across[i] = i == 1 || i == 3 ? NULL : s.batch.in[i];
    for (int64_t l = 0; l < N; l++)
        for (int64_t k = 0; k < X + Y; k++)
            set(s.batch.in[k < X ? 1 : 3], dtype, k < X ? l * X + k : l * Y + k - X, k == l);
    for (int i = 0; i < 3; i++)
        turned[i] = exactly(N * size[i], dtype);
    transpose(s.batch.in[5], z, dtype, N, Z);
    across[5] = z;
    CHECK(fg_set_num_threads(threads, NULL) == FG_OK);
    CHECK(fg_evaluate_batch(s.p, N, inputs_of(&s.batch), s.batch.out, NULL, NULL, NULL) == FG_OK);
    clear_outputs(s.p, &s.alone);
    CHECK(fg_evaluate_directions(s.p, N, in, s.alone.out, 0, NULL, NULL, NULL) == FG_OK);
    CHECK(fg_evaluate_directions(s.p, N, across, turned, 1, NULL, NULL, NULL) == FG_OK);
    for (int i = 0; i < 3; i++) {
        CHECK(same_numbers(s.alone.out[i], s.batch.out[i], dtype, N * size[i]));
        transpose(turned[i], s.alone.out[i], dtype, size[i], N);
        CHECK(same_numbers(s.alone.out[i], s.batch.out[i], dtype, N * size[i]));
        free(turned[i]);
    }
    CHECK(get(s.batch.out[0], dtype, 0) >= 1 && get(s.batch.out[1], dtype, X * Y) >= 1);
    CHECK(fg_evaluate_directions(s.p, 0, in, s.alone.out, 0, NULL, NULL, NULL) == FG_INVALID_VALUE);
    free(z);
    end(&s);
}

static void unknown_instruction_sets_are_refused(void) {
    fg_error error = {""};
    CHECK(fg_select_isa("mmx", &error) == FG_INVALID_VALUE && strstr(error.message, "mmx"));
    CHECK(fg_isa_name(-1) == NULL && fg_isa_name(0) != NULL);
}

/* With a number, the rounds of random layouts: more of them find more. */
int main(int argc, char **argv) {
    whole_programs_are_right();
    reductions_of_every_size_are_right();
    products_of_every_layout_are_right();
    random_layouts_are_right(argc > 1 ? atoi(argv[1]) : 20);
    a_long_batch_polls_and_can_be_cancelled();
    for (int threads = 1; threads <= 3; threads++)
        for (int dtype = 0; dtype < 2; dtype++)
            directions_are_a_batch_of_unit_vectors(dtype, threads);
    unknown_instruction_sets_are_refused();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("machine: %lld programs, %lld numbers against the oracle, %lld batches bit by bit\n", (long long)n_programs,
           (long long)n_compared, (long long)n_batches);
    return check_result();
}
