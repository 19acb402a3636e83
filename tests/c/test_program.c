/* The verifier: good programs are accepted, every kind of damage is refused, and whatever is accepted runs inside its
 * buffers. */
#include "across.h"
#include "build.h"
#include "check.h"
#include "machine.h"

enum { F64 = FG_FLOAT64, F32 = FG_FLOAT32, HUGE_COUNT = 1 << 30, N_GOOD = 8 };

/* ---- single damages ------------------------------------------------------------------------------------- */

static int64_t refused, accepted;

static int refuses_words(const int64_t *words, size_t n) {
    fg_error error = {""};
    fg_program *p = NULL;
    /* a copy of exactly this length: a sanitizer sees a read past its end */
    int64_t *copy = exactly((int64_t)n, F64);
    if (n)
        memcpy(copy, words, n * 8);
    fg_status status = fg_program_create(copy, n, &p, &error);
    free(copy);
    fg_program_destroy(p);
    refused += status == FG_INVALID_PROGRAM;
    accepted += status == FG_OK;
    return status == FG_INVALID_PROGRAM && p == NULL && error.message[0] != 0;
}
static int refuses(const builder *b) {
    int64_t words[MAX_WORDS];
    return refuses_words(words, assemble(b, words));
}
static int accepts(const builder *b) {
    fg_program *p = NULL;
    fg_error error = {""};
    if (create(b, &p, &error)) {
        fprintf(stderr, "    refused: %s\n", error.message);
        return 0;
    }
    fg_program_destroy(p);
    accepted++;
    return 1;
}
/* A program of one operation with a lane input of 12 elements, an output of 12 and an arena buffer of 12. */
enum { IN, OUT, ARENA };
static builder one(int op, int dtype, int n_dims, const int64_t *shape, const view *operands) {
    builder b = {0};
    add_input(&b, dtype, 1, 12);
    add_output(&b, dtype, 1, 12);
    add_arena(&b, dtype, 1, 12);
    add_instruction(&b, op, dtype, n_dims, shape, operands);
    return b;
}
static builder copies(int64_t n, view out, view in) { return one(FG_OP_copy, F64, 1, &n, (view[]){out, in}); }
static builder copies_table(int64_t m, int64_t n, view out, view in) {
    return one(FG_OP_copy, F64, 2, (int64_t[]){m, n}, (view[]){out, in});
}

static void good_programs_are_accepted(const builder good[N_GOOD]) {
    for (int i = 0; i < N_GOOD; i++)
        CHECK(accepts(&good[i]));
    builder b = copies(12, (view){OUT, 0, {1}}, (view){IN, 11, {-1}});
    CHECK(accepts(&b));
    b = copies_table(3, 4, (view){OUT, 0, {1, 3}}, (view){IN, 0, {0, 2}});
    CHECK(accepts(&b));
    b = copies(12, (view){OUT, 0, {1}}, (view){OUT, 0, {1}}); /* in the same order: in place */
    CHECK(accepts(&b));
    b = copies(6, (view){OUT, 0, {1}}, (view){OUT, 6, {1}});
    CHECK(accepts(&b));
    b = copies(0, (view){OUT, 0, {1}}, (view){IN, 0, {1}});
    CHECK(accepts(&b));
    b = one(FG_OP_sum, F64, 2, (int64_t[]){12, 0}, (view[]){{OUT, 0, {1, 0}}, {IN, 0, {0, 1}}});
    CHECK(accepts(&b));
    b = (builder){0};
    CHECK(accepts(&b)); /* nothing at all */
}

static void every_truncation_and_extension_is_refused(const builder good[N_GOOD]) {
    for (int i = 0; i < N_GOOD - 1; i++) { /* a loop's body would be among the words */
        int64_t words[MAX_WORDS + 2] = {0};
        size_t n = assemble(&good[i], words);
        for (size_t k = 0; k < n; k++)
            if (!CHECK(refuses_words(words, k)))
                fprintf(stderr, "    program %d cut to %zu words of %zu\n", i, k, n);
        CHECK(refuses_words(words, n + 1));
    }
    CHECK(refuses_words(NULL, 0));
}

static void impossible_words_are_refused(const builder good[N_GOOD]) {
    static const int64_t wrong[] = {-1, INT64_MIN, INT64_MAX, INT64_C(1) << 34, INT64_C(1) << 40, INT64_C(1) << 62};
    for (int i = 0; i < N_GOOD - 1; i++) { /* not the loop, of which more words may have other values */
        int64_t words[MAX_WORDS];
        size_t n = assemble(&good[i], words), n_fixed = n - (size_t)words[7];
        size_t code = FG_HEADER_WORDS + (size_t)words[1] * FG_BUFFER_WORDS;
        for (size_t k = 0; k < n_fixed; k++)
            for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
                int64_t kept = words[k];
                int is_role_of_code = k >= code; /* strides: negative or of axes of length 1 may be fine */
                words[k] = wrong[j];
                int outcome = refuses_words(words, n);
                if (!CHECK(outcome || (is_role_of_code && (wrong[j] == -1))))
                    fprintf(stderr, "    program %d word %zu (code %zu) as %lld\n", i, k, k - code,
                            (long long)wrong[j]);
                words[k] = kept;
            }
    }
}

static void the_header_is_checked(const builder *good) {
    for (int word = 0; word < FG_HEADER_WORDS; word++)
        for (int64_t change = -1; change <= 1; change += 2) {
            int64_t words[MAX_WORDS];
            size_t n = assemble(good, words);
            words[word] += change;
            if (word != 3) /* one uniform instruction more or less may be another good program */
                CHECK(refuses_words(words, n));
        }
}

static void ranges_outside_a_buffer_are_refused(void) {
    const builder bad[] = {
        copies(13, (view){OUT, 0, {1}}, (view){IN, 0, {0}}),
        copies(12, (view){OUT, 1, {1}}, (view){IN, 0, {0}}),
        copies(12, (view){OUT, -1, {1}}, (view){IN, 0, {0}}),
        copies(12, (view){OUT, 0, {-1}}, (view){IN, 0, {0}}),
        copies(12, (view){OUT, 0, {1}}, (view){IN, 1, {1}}),
        copies(12, (view){OUT, 0, {1}}, (view){IN, 0, {2}}),
        copies(12, (view){OUT, 0, {1}}, (view){IN, 10, {-1}}),
        copies(1, (view){OUT, 12, {1}}, (view){IN, 0, {1}}),
        copies(1, (view){OUT, 0, {1}}, (view){IN, INT64_MAX, {1}}),
        copies(2, (view){OUT, 0, {1}}, (view){IN, INT64_MAX, {HUGE_COUNT}}),
        copies(2, (view){OUT, 0, {1}}, (view){IN, INT64_MIN, {-HUGE_COUNT}}),
        copies_table(3, 5, (view){OUT, 0, {4, 1}}, (view){IN, 0, {0, 0}}),
        copies_table(HUGE_COUNT, HUGE_COUNT, (view){OUT, 0, {HUGE_COUNT, 1}}, (view){IN, 0, {0, 0}}),
        copies_table(HUGE_COUNT, HUGE_COUNT, (view){OUT, 0, {HUGE_COUNT, HUGE_COUNT}}, (view){IN, 0, {0, 0}}),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!CHECK(refuses(&bad[i])))
            fprintf(stderr, "    range %zu\n", i);
}

/* The result of an empty sum is written although no operand is read. */
static void results_of_empty_reductions_stay_inside_their_buffer(void) {
    for (int op = 0; op < FG_N_OPS; op++) {
        if (fg_op_kind_of(op) != FG_REDUCTION && op != FG_OP_dot)
            continue;
        const int64_t offsets[] = {12, -1, 1 << 20, INT64_MAX, INT64_MIN};
        for (int i = 0; i < 5; i++) {
            builder b = one(op, F64, 1, (int64_t[]){0}, (view[]){{OUT, offsets[i], {0}}, {IN, 0, {1}}, {IN, 0, {1}}});
            CHECK(refuses(&b));
            b = one(op, F64, 2, (int64_t[]){2, 0}, (view[]){{OUT, 0, {offsets[i], 0}}, {IN, 0, {1}}, {IN, 0, {1}}});
            CHECK(refuses(&b));
        }
    }
    builder b = {0};
    int64_t x = add_input(&b, F64, 1, 4), w = add_input(&b, F64, 0, 4), out = add_output(&b, F64, 1, 4);
    add_instruction(&b, FG_OP_matmul, F64, 4, (int64_t[]){1, 2, 3, 0},
                    (view[]){{out, 0, {0, 3, 1, 0}}, {w, 0, {0, 0, 0, 1}}, {x, 0, {0, 0, 1, 3}}});
    CHECK(refuses(&b));
}

static void elements_written_twice_are_refused(void) {
    const builder bad[] = {
        copies(12, (view){OUT, 0, {0}}, (view){IN, 0, {1}}),
        copies_table(3, 4, (view){OUT, 0, {1, 1}}, (view){IN, 0, {4, 1}}),
        copies_table(3, 4, (view){OUT, 0, {3, 1}}, (view){IN, 0, {4, 1}}),
        copies_table(3, 4, (view){OUT, 8, {-3, 1}}, (view){IN, 0, {4, 1}}),
        copies_table(3, 4, (view){OUT, 0, {4, 0}}, (view){IN, 0, {4, 1}}),
        one(FG_OP_sum, F64, 2, (int64_t[]){3, 4}, (view[]){{OUT, 0, {0, 0}}, {IN, 0, {4, 1}}}),
        one(FG_OP_sum, F64, 2, (int64_t[]){3, 4}, (view[]){{OUT, 0, {1, 1}}, {IN, 0, {4, 1}}}),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(refuses(&bad[i]));
}

static void results_over_their_operands_are_refused(void) {
    const builder bad[] = {
        copies(11, (view){OUT, 1, {1}}, (view){OUT, 0, {1}}),
        copies(12, (view){OUT, 0, {1}}, (view){OUT, 11, {-1}}),
        copies(12, (view){OUT, 0, {1}}, (view){OUT, 0, {0}}),
        copies_table(3, 3, (view){ARENA, 0, {3, 1}}, (view){ARENA, 0, {1, 3}}),
        one(FG_OP_sum, F64, 1, (int64_t[]){12}, (view[]){{ARENA, 0, {0}}, {ARENA, 0, {1}}}),
        one(FG_OP_dot, F64, 1, (int64_t[]){12}, (view[]){{ARENA, 5, {0}}, {IN, 0, {1}}, {ARENA, 0, {1}}}),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(refuses(&bad[i]));
    for (int shift = 0; shift <= 96; shift += 8) { /* two arena buffers of 12 float64 */
        builder b = copies(12, (view){3, 0, {1}}, (view){ARENA, 0, {1}});
        add_buffer(&b, FG_ARENA, F64, 1, 12, shift);
        CHECK(shift == 0 || shift == 96 ? accepts(&b) : refuses(&b));
        b.buffers[3][1] = F32; /* the same memory as floats */
        b.code[0] = FG_OP_cast, b.code[1] = F32;
        CHECK(shift == 96 ? accepts(&b) : refuses(&b));
    }
}

static void inputs_constants_and_other_kinds_are_not_written(void) {
    builder b = copies(12, (view){IN, 0, {1}}, (view){ARENA, 0, {1}});
    CHECK(refuses(&b));
    b = copies(1, (view){3, 0, {1}}, (view){ARENA, 0, {1}});
    add_constant(&b, F64, 1, (double[]){1});
    CHECK(refuses(&b));
    b = copies(12, (view){3, 0, {1}}, (view){IN, 0, {1}}); /* the lanes' part writes a uniform value */
    add_arena(&b, F64, 0, 12);
    CHECK(refuses(&b));
    b = copies(12, (view){OUT, 0, {1}}, (view){IN, 0, {1}}); /* the uniform part reads and writes lane values */
    b.n_uniform = 1;
    CHECK(refuses(&b));
    b.buffers[OUT][2] = 0;
    CHECK(refuses(&b)); /* reads one still */
    b.buffers[IN][2] = 0;
    CHECK(accepts(&b));
}

static void operations_are_checked(void) {
    const int64_t n = 4;
    builder b = one(FG_OP_copy, F32, 1, &n, (view[]){{OUT, 0, {1}}, {IN, 0, {1}}});
    CHECK(accepts(&b));
    b.code[1] = F64; /* dtype of the instruction */
    CHECK(refuses(&b));
    b.code[1] = FG_INT64;
    CHECK(refuses(&b));
    b = one(FG_OP_cast, F64, 1, &n, (view[]){{OUT, 0, {1}}, {IN, 0, {1}}}); /* from float64 to itself */
    CHECK(refuses(&b));
    b = one(FG_OP_sum, F64, 0, &n, (view[]){{OUT, 0, {0}}, {IN, 0, {0}}});
    CHECK(refuses(&b));
    b = one(FG_OP_matmul, F64, 3, (int64_t[]){2, 2, 2},
            (view[]){{OUT, 0, {2, 1}}, {IN, 0, {2, 0, 1}}, {IN, 0, {0, 1, 2}}});
    CHECK(refuses(&b));
    b = one(FG_OP_matmul, F64, 4, (int64_t[]){1, 2, 2, 2},
            (view[]){{OUT, 0, {0, 2, 1}}, {IN, 0, {0, 2, 0, 1}}, {IN, 0, {0, 0, 1, 2}}});
    b.n_buffers = 3, b.buffers[ARENA][0] = FG_INPUT, b.buffers[ARENA][2] = 0, b.buffers[ARENA][4] = b.n_inputs++;
    int64_t *left = b.code + 3 + 4 + 6;
    left[0] = ARENA;
    CHECK(accepts(&b));
    left[2 + 2] = 1; /* a stride along an axis that the matrix lacks */
    CHECK(refuses(&b));
    b.code[0] = FG_N_OPS;
    CHECK(refuses(&b));
    b = copies(1, (view){OUT, 0, {1}}, (view){3, 0, {1}});
    CHECK(refuses(&b)); /* there is no buffer 3 */
    builder eight = {0}, nine = {0};
    const int64_t ones[FG_MAX_DIMS] = {1, 1, 1, 1, 1, 1, 1, 1};
    eight = one(FG_OP_copy, F64, FG_MAX_DIMS, ones, (view[]){{OUT, 0, {0}}, {IN, 0, {0}}});
    CHECK(accepts(&eight));
    nine = eight;
    nine.n_code = 3 + 9 + 2 * (2 + 9);
    memset(nine.code, 0, sizeof nine.code);
    memcpy(nine.code, (int64_t[]){FG_OP_copy, F64, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, OUT}, 13 * 8);
    CHECK(refuses(&nine));
}

static void buffers_are_checked(void) {
    const builder good = copies(12, (view){OUT, 0, {1}}, (view){IN, 0, {1}});
    const int64_t bad[][3] = {
        /* buffer, word, value */
        {IN, 0, FG_ARENA},
        {IN, 0, FG_OUTPUT},
        {IN, 0, 4},
        {IN, 1, FG_INT64},
        {IN, 1, 3},
        {IN, 2, 2},
        {IN, 3, -1},
        {IN, 3, 11},
        {IN, 4, 1},
        {OUT, 0, FG_INPUT},
        {OUT, 0, FG_CONSTANT},
        {OUT, 4, 1},
        {ARENA, 4, 4},
        {ARENA, 4, -8},
        {ARENA, 1, FG_INT64},
        {ARENA, 0, FG_INPUT},
        {ARENA, 0, FG_OUTPUT},
        {ARENA, 0, FG_CONSTANT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        builder b = good;
        b.buffers[bad[i][0]][bad[i][1]] = bad[i][2];
        if (!CHECK(refuses(&b)))
            fprintf(stderr, "    buffer %d word %d as %d\n", (int)bad[i][0], (int)bad[i][1], (int)bad[i][2]);
    }
    builder b = good;
    b.n_inputs = 2; /* one of them has no buffer */
    CHECK(refuses(&b));
    b = good, b.n_outputs = 2;
    CHECK(refuses(&b));
    b = good, add_buffer(&b, FG_INPUT, F64, 1, 12, 0); /* two buffers for one */
    CHECK(refuses(&b));
    for (int64_t size = 0; size <= 3; size++) { /* constants of 3 float32 are 2 words, 1.5 of them used */
        b = good;
        int64_t c = add_constant(&b, F32, 3, (double[]){1, 2, 3});
        b.buffers[c][3] += 2 * size;
        CHECK(size == 0 ? accepts(&b) : refuses(&b));
        b.buffers[c][3] = size, b.buffers[c][4] = 2;
        CHECK(size == 0 ? accepts(&b) : refuses(&b));
    }
}

static builder table_program(int op, int64_t n, const int64_t *table) {
    builder b = {0};
    int64_t many = op == FG_OP_gather ? add_input(&b, F64, 1, 5) : add_output(&b, F64, 1, 5);
    int64_t few = op == FG_OP_gather ? add_output(&b, F64, 1, n) : add_input(&b, F64, 1, n);
    int64_t t = add_table(&b, n, table);
    add_instruction(
        &b, op, F64, 1, &n,
        (view[]){{op == FG_OP_gather ? few : many, 0, {1}}, {op == FG_OP_gather ? many : few, 0, {1}}, {t, 0, {1}}});
    return b;
}
static void tables_are_checked(void) {
    const int ops[] = {FG_OP_gather, FG_OP_scatter_add};
    for (int i = 0; i < 2; i++) {
        builder b = table_program(ops[i], 3, (int64_t[]){0, 4, 4});
        CHECK(accepts(&b));
        int64_t *first = b.code + 4, *second = first + 3, *table = second + 3, *many = i ? first : second;
        const int64_t kept[] = {b.constants[1], many[1], table[1], b.code[3]};
        b.constants[1] = 5;
        CHECK(refuses(&b));
        b.constants[1] = -1;
        CHECK(refuses(&b));
        b.constants[1] = INT64_MIN;
        CHECK(refuses(&b));
        b.constants[1] = kept[0], many[1] = 1; /* the numbers count from the offset */
        CHECK(refuses(&b));
        many[1] = INT64_MIN;
        CHECK(refuses(&b));
        many[1] = kept[1], table[1] = 1;
        CHECK(refuses(&b));
        table[1] = kept[2], b.code[3] = 4;
        CHECK(refuses(&b));
        b.code[3] = kept[3], table[0] = many[0]; /* floats as a table */
        CHECK(refuses(&b));
    }
}

/* A lane input, output and arena buffer of 12 elements each, as in one(). */
static void generalised_operations_are_checked(void) {
    const struct {
        int good, op, n_dims;
        int64_t shape[3];
        view operands[3];
    } cases[] = {
        {1, FG_OP_cumsum, 1, {12}, {{OUT, 0, {1}}, {IN, 0, {1}}}},
        {1, FG_OP_cumsum, 2, {3, 4}, {{OUT, 0, {1, 3}}, {IN, 11, {-4, -1}}}},
        {1, FG_OP_cumsum, 2, {0, 4}, {{OUT, 0, {4, 1}}, {IN, 0, {4, 1}}}},
        {0, FG_OP_cumsum, 0, {0}, {{OUT, 0, {0}}, {IN, 0, {0}}}},
        {0, FG_OP_cumsum, 1, {13}, {{OUT, 0, {1}}, {IN, 0, {0}}}},
        {0, FG_OP_cumsum, 1, {12}, {{OUT, 0, {0}}, {IN, 0, {1}}}},
        {0, FG_OP_cumsum, 1, {12}, {{ARENA, 0, {1}}, {ARENA, 0, {1}}}}, /* not even in the same order */
        {0, FG_OP_cumsum, 1, {4}, {{IN, 0, {1}}, {ARENA, 0, {1}}}},
        {1, FG_OP_sort_pairs, 2, {2, 3}, {{OUT, 0, {3, 1}}, {IN, 0, {0, 4}}}},
        {0, FG_OP_sort_pairs, 2, {2, 3}, {{OUT, 1, {3, 1}}, {IN, 0, {0, 4}}}}, /* four rows */
        {0, FG_OP_sort_pairs, 2, {3, 2}, {{OUT, 0, {2, 1}}, {IN, 0, {0, 1}}}},
        {0, FG_OP_sort_pairs, 2, {1, 3}, {{OUT, 0, {3, 1}}, {IN, 0, {0, 1}}}},
        {0, FG_OP_sort_pairs, 2, {2, 3}, {{OUT, 0, {3, 1}}, {IN, 0, {3, 1}}}},
        {0, FG_OP_sort_pairs, 2, {2, 3}, {{OUT, 0, {0, 1}}, {IN, 0, {0, 1}}}},
        {0, FG_OP_sort_pairs, 1, {12}, {{OUT, 0, {1}}, {IN, 0, {1}}}},
        {1, FG_OP_take_along, 2, {3, 5}, {{OUT, 0, {1, 0}}, {IN, 0, {0, 1}}, {IN, 0, {4, 0}}}},
        {0, FG_OP_take_along, 2, {3, 13}, {{OUT, 0, {1, 0}}, {IN, 0, {0, 1}}, {IN, 0, {4, 0}}}},
        {0, FG_OP_take_along, 2, {3, 0}, {{OUT, 0, {1, 0}}, {IN, 0, {0, 1}}, {IN, 0, {4, 0}}}},
        {0, FG_OP_take_along, 2, {3, 5}, {{OUT, 0, {1, 1}}, {IN, 0, {0, 1}}, {IN, 0, {4, 0}}}},
        {0, FG_OP_take_along, 2, {3, 5}, {{OUT, 0, {1, 0}}, {IN, 0, {1, 1}}, {IN, 0, {4, 0}}}},
        {0, FG_OP_take_along, 2, {3, 2}, {{OUT, 0, {1, 0}}, {OUT, 2, {0, 1}}, {IN, 0, {4, 0}}}},
        {1, FG_OP_put_along, 2, {5, 3}, {{OUT, 0, {1, 0}}, {IN, 0, {0, 1}}, {IN, 0, {0, 4}}}},
        {1, FG_OP_lu, 2, {3, 3}, {{OUT, 0, {3, 1}}, {IN, 0, {3, 1}}}},
        {0, FG_OP_lu, 2, {3, 3}, {{OUT, 1, {3, 1}}, {IN, 0, {3, 1}}}}, /* the row of pivots */
        {0, FG_OP_lu, 2, {3, 2}, {{OUT, 0, {3, 1}}, {IN, 0, {3, 1}}}},
        {0, FG_OP_lu, 2, {3, 3}, {{OUT, 0, {1, 1}}, {IN, 0, {3, 1}}}},
        {0, FG_OP_lu, 2, {2, 2}, {{OUT, 0, {2, 1}}, {OUT, 4, {2, 1}}}}, /* ... over the operand */
        {1, FG_OP_lu_solve, 3, {3, 2, 3}, {{OUT, 0, {2, 1, 0}}, {IN, 0, {3, 0, 1}}, {IN, 0, {2, 1, 0}}}},
        {0, FG_OP_lu_solve, 3, {3, 2, 3}, {{OUT, 0, {2, 1, 0}}, {IN, 1, {3, 0, 1}}, {IN, 0, {2, 1, 0}}}},
        {0, FG_OP_lu_solve, 3, {3, 2, 2}, {{OUT, 0, {2, 1, 0}}, {IN, 0, {3, 0, 1}}, {IN, 0, {2, 1, 0}}}},
        {1, FG_OP_solve_lower, 3, {3, 2, 3}, {{OUT, 0, {2, 1, 0}}, {IN, 3, {3, 0, 1}}, {IN, 0, {2, 1, 0}}}},
        {1, FG_OP_lu_det, 2, {3, 3}, {{OUT, 0, {0, 0}}, {IN, 0, {3, 1}}}},
        {0, FG_OP_lu_det, 2, {3, 3}, {{OUT, 12, {0, 0}}, {IN, 0, {3, 1}}}},
        {0, FG_OP_lu_det, 2, {3, 3}, {{OUT, 0, {0, 0}}, {IN, 1, {3, 1}}}},
        {0, FG_OP_lu_det, 2, {0, 0}, {{OUT, 0, {0, 0}}, {IN, 0, {3, 1}}}},
        {1, FG_OP_lu_slogdet, 3, {2, 3, 3}, {{OUT, 0, {1, 0, 0}}, {IN, 0, {0, 3, 1}}}},
        {0, FG_OP_lu_slogdet, 3, {1, 3, 3}, {{OUT, 0, {1, 0, 0}}, {IN, 0, {0, 3, 1}}}},
        {1, FG_OP_eigh, 2, {2, 2}, {{OUT, 0, {2, 1}}, {IN, 0, {2, 1}}}},
        {0, FG_OP_eigh, 2, {2, 2}, {{OUT, 3, {2, 1}}, {IN, 0, {2, 1}}}}, /* five rows */
        {1, FG_OP_cholesky, 2, {3, 3}, {{OUT, 3, {3, 1}}, {IN, 3, {3, 1}}}},
        {0, FG_OP_cholesky, 2, {3, 3}, {{OUT, 4, {3, 1}}, {IN, 3, {3, 1}}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        builder b = one(cases[i].op, F64, cases[i].n_dims, cases[i].shape, cases[i].operands);
        if (!CHECK(cases[i].good ? accepts(&b) : refuses(&b)))
            fprintf(stderr, "    generalised %d: %s\n", (int)i, fg_op_name(cases[i].op));
    }
    const int64_t many[] = {2, (1 << 24) + 1}; /* numbers that float32 does not have */
    builder b = {0};
    add_input(&b, F32, 1, 1);
    add_output(&b, F32, 1, 4 * many[1]);
    add_instruction(&b, FG_OP_sort_pairs, F32, 2, many, (view[]){{1, 0, {many[1], 1}}, {0, 0, {0, 0}}});
    CHECK(refuses(&b));
    b.buffers[0][1] = b.buffers[1][1] = b.code[1] = F64;
    CHECK(accepts(&b));
}

/* ---- seeded mutations ----------------------------------------------------------------------------------- */

static int64_t mutated_word(rng *r, const int64_t *words, size_t n, size_t at) {
    static const int64_t edges[] = {0,
                                    1,
                                    2,
                                    3,
                                    7,
                                    8,
                                    15,
                                    16,
                                    63,
                                    64,
                                    -1,
                                    -2,
                                    -4,
                                    INT64_MAX,
                                    INT64_MIN,
                                    1 << 30,
                                    -(1 << 30),
                                    INT64_C(1) << 31,
                                    INT64_C(1) << 61,
                                    INT64_C(1) << 33};
    switch (rng_below(r, 4)) {
    case 0:
        return edges[rng_below(r, sizeof edges / sizeof *edges)];
    case 1:
        return words[rng_below(r, (int64_t)n)];
    case 2:
        return (int64_t)((uint64_t)words[at] + (uint64_t)rng_below(r, 9) - 4);
    default:
        return words[at] ^ (int64_t)(UINT64_C(1) << rng_below(r, 64));
    }
}

/* Whether all values stay whole numbers, so that any order of sums gives the same bits (not so the sign of a zero that
 * is the least or the greatest). */
static int is_exact(const int64_t *words) {
    const int64_t *w = words + FG_HEADER_WORDS + words[1] * FG_BUFFER_WORDS;
    for (int64_t i = 0; i < words[2]; i++) {
        const int64_t op = w[0];
        if (op == FG_OP_divide || (op >= FG_OP_sqrt && op <= FG_OP_zeta) || op == FG_OP_power || op == FG_OP_prod ||
            op == FG_OP_max || op == FG_OP_min || op == FG_OP_scan || fg_op_kind_of((int)op) == FG_GENERALISED)
            return 0;
        w += instruction_words(w);
    }
    return 1;
}

/* The words of a constant, and whether they are a body's. */
static const int64_t *constant_of(const int64_t *words, const int64_t *buffer) {
    const int64_t *w = words + FG_HEADER_WORDS + words[1] * FG_BUFFER_WORDS;
    for (int64_t i = 0; i < words[2]; i++)
        w += instruction_words(w);
    return w + buffer[4];
}
static int is_body(const int64_t *words, const int64_t *buffer) {
    return buffer[1] == FG_INT64 && buffer[3] >= FG_HEADER_WORDS && *constant_of(words, buffer) == FG_MAGIC;
}

/* Whether float32 and float64 share memory: how two floats make up a double depends on the number of lanes. */
static int mixes_dtypes(const int64_t *words) {
    const int64_t *first = words + FG_HEADER_WORDS, *last = first + words[1] * FG_BUFFER_WORDS;
    for (const int64_t *a = first; a < last; a += FG_BUFFER_WORDS)
        for (const int64_t *b = first; b < last; b += FG_BUFFER_WORDS)
            if (a[1] == FG_INT64 && is_body(words, a) && mixes_dtypes(constant_of(words, a)))
                return 1;
            else if (a[0] == FG_ARENA && b[0] == FG_ARENA && a[1] == FG_FLOAT32 && b[1] == FG_FLOAT64 && a[2] == b[2] &&
                     a[4] < b[4] + 8 * b[3] && b[4] < a[4] + 4 * a[3])
                return 1;
    return 0;
}

static int has_small_buffers(const int64_t *words) {
    for (int64_t i = 0; i < words[1]; i++) {
        const int64_t *b = words + FG_HEADER_WORDS + i * FG_BUFFER_WORDS;
        if (b[3] > 4096 || (b[0] == FG_ARENA && b[4] > 4096))
            return 0;
        if (is_body(words, b) && !has_small_buffers(constant_of(words, b)))
            return 0;
    }
    return 1;
}

static void outputs_agree(const fg_program *p, const arrays *a, const arrays *b) {
    for (int i = 0; i < a->n_outputs; i++)
        CHECK(same_numbers(a->out[i], b->out[i], (int)fg_program_output_dtype(p, i),
                           output_length(p, i, a->batch < b->batch ? a->batch : b->batch)));
}

/* The sums over lanes of a block of 16, of which 5 count: the sanitizer sees what they read and write. */
static int run_sums(const fg_program *p, uint64_t seed) {
    rng r = {seed};
    fg_team team;
    fg_watch watch = {.poll = NULL};
    arrays a = make_arrays(p, 16, &r, -3, 4, 1);
    const int ran = CHECK(fg_team_create(p, 16, 1, inputs_of(&a), a.out, &watch, &team, NULL) == FG_OK);
    for (int64_t l = 0; ran && l < 16; l++)
        fg_fill_lane(p, team.workspaces, 16, l, inputs_of(&a), l);
    if (ran)
        fg_plan_run(&team.plan, team.plan.n_uniform, team.plan.n_calls, team.workspaces->base, NULL, 0);
    for (int64_t i = 0; ran && i < team.plan.n_across; i++) {
        const fg_across *sum = &team.plan.across[i];
        CHECK(sum->rows * sum->row_size == fg_program_output_size(p, (int)sum->output));
        const int64_t room = fg_across_room(&team.plan, i);
        if (room < 0 || room > 1 << 24)
            continue;
        char *panels = exactly(room / 8, FG_FLOAT64);
        void *const *const base = team.workspaces->base;
        fg_across_turn(&team.plan, i, 5, base, panels);
        fg_across_run(&team.plan, i, 0, sum->rows, 5, 0, &base, &panels, a.out[sum->output]);
        free(panels);
    }
    fg_team_destroy(&team);
    free_arrays(&a);
    return ran;
}

/* Runs an accepted program alone, as a batch and by the oracle, which knows when an access leaves its buffer. */
static int run_it(const fg_program *p, const int64_t *words, size_t n, uint64_t seed) {
    if (!has_small_buffers(words) || fg_program_cost(p) >= 500)
        return 0;
    if (words[4])
        return run_sums(p, seed);
    rng same = {seed}, too = {seed};
    arrays one_by_one = make_arrays(p, 3, &same, -3, 4, 1), batch = make_arrays(p, 3, &too, -3, 4, 1);
    arrays plain = make_arrays(p, 3, &(rng){seed}, -3, 4, 1);
    fg_machine *machine = NULL;
    const void *in[MAX_BUFFERS];
    void *out[MAX_BUFFERS];
    int ran = CHECK(fg_machine_create(p, &machine, NULL) == FG_OK);
    for (int64_t l = 0; ran && l < 3; l++) {
        instance_of(p, &one_by_one, l, in, out);
        ran = CHECK(fg_evaluate(machine, in, out, NULL, NULL, NULL) == FG_OK);
        instance_of(p, &plain, l, in, out);
        ran = ran && CHECK(oracle_run(words, n, in, out));
    }
    fg_machine_destroy(machine);
    CHECK(fg_evaluate_batch(p, 3, inputs_of(&batch), batch.out, NULL, NULL, NULL) == FG_OK);
    int once =
        !mixes_dtypes(words); /* a uniform output is computed once a call: then nothing may build on what it was */
    for (int i = 0; i < batch.n_outputs; i++)
        once &= fg_program_output_is_lane(p, i);
    if (once)
        outputs_agree(p, &batch, &one_by_one);
    if (is_exact(words))
        outputs_agree(p, &plain, &one_by_one);
    free_arrays(&one_by_one);
    free_arrays(&batch);
    free_arrays(&plain);
    return 1;
}

static void sums_over_lanes_are_checked(void) {
    enum { X, W, BIAS, SUM, PRODUCT, Z, Y };
    const int64_t size = 8, whole[] = {3, 4, 2};
    const view out = {PRODUCT, 0, {4, 1, 0}}, left = {X, 0, {1, 0, 3}}, right = {Z, 0, {0, 1, 4}};
    const view bad[][3] = {
        {{PRODUCT, 0, {1, 3, 0}}, left, right},                                  /* in another order */
        {{PRODUCT, 0, {4, 1, 1}}, left, right},                                  /* along the sum */
        {{PRODUCT, 1, {4, 1, 0}}, left, right},                                  /* not from the start */
        {{Z, 0, {4, 1, 0}}, left, right},                                        /* no output */
        {out, {W, 0, {1, 0, 3}}, right},                                         /* not of the lanes */
        {out, {PRODUCT, 0, {1, 0, 3}}, right},                                   /* what is not complete */
        {out, {X, 0, {1, 1, 3}}, right},                                         /* an axis that the matrix lacks */
        {out, left, {Z, 0, {1, 1, 4}}},         {out, {X, 1, {1, 0, 3}}, right}, /* outside */
        {out, left, {Z, 0, {0, 1, 5}}},         {out, {X, 5, {-1, 0, -3}}, {Z, 0, {0, 1, 0}}}, /* fine */
    };
    enum { N_BAD = sizeof bad / sizeof *bad - 1 };
    for (size_t i = 0; i <= N_BAD; i++) {
        builder b = layer_sums(F64, 2, 3, 4);
        b.n_code -= 3 + 3 + 3 * (2 + 3);
        b.n_instructions--;
        add_instruction(&b, FG_OP_lane_matmul, F64, 3, whole, bad[i]);
        if (!CHECK(i < N_BAD ? refuses(&b) : accepts(&b)))
            fprintf(stderr, "    sum %zu\n", i);
    }
    builder b = layer_sums(F64, 2, 3, 4);
    b.n_across = 1; /* one stands before the end */
    CHECK(refuses(&b));
    b.n_across = 3; /* a gate among the sums */
    CHECK(refuses(&b));
    b.n_across = 6;
    CHECK(refuses(&b));
    b = layer_sums(F64, 2, 3, 4); /* twice the same output */
    add_simple(&b, FG_OP_lane_sum, F64, size, SUM, Y, Y);
    b.n_across = 3;
    CHECK(refuses(&b));
    b = layer_sums(F64, 2, 3, 4); /* of the wrong size */
    add_simple(&b, FG_OP_lane_sum, F64, size - 1, add_output(&b, F64, 0, size), Y, Y);
    b.n_across = 3;
    CHECK(refuses(&b));
    b = layer_sums(F64, 2, 3, 4); /* no axis that is summed over */
    add_instruction(&b, FG_OP_lane_matmul, F64, 2, whole,
                    (view[]){{add_output(&b, F64, 0, 12), 0, {4, 1}}, left, right});
    b.n_across = 3;
    CHECK(refuses(&b));
    b = (builder){0}; /* a lane value made of a sum that is not complete */
    add_input(&b, F64, 1, 1), add_output(&b, F64, 0, 1), add_output(&b, F64, 1, 1);
    add_simple(&b, FG_OP_add, F64, 1, 2, 0, 1);
    add_simple(&b, FG_OP_lane_sum, F64, 1, 1, 0, 0);
    b.n_across = 1;
    CHECK(refuses(&b));
    b = (builder){0}; /* or written besides */
    add_input(&b, F64, 1, 1), add_input(&b, F64, 0, 1), add_output(&b, F64, 0, 1);
    add_simple(&b, FG_OP_copy, F64, 1, 2, 1, 1);
    add_simple(&b, FG_OP_lane_sum, F64, 1, 2, 0, 0);
    b.n_uniform = b.n_across = 1;
    CHECK(refuses(&b));

    builder body = {0}, loop = {0}; /* a loop's body has no lanes to sum over */
    add_input(&body, F64, 1, 1), add_output(&body, F64, 1, 1), add_output(&body, F64, 0, 1);
    add_simple(&body, FG_OP_copy, F64, 1, 1, 0, 0);
    add_simple(&body, FG_OP_lane_sum, F64, 1, 2, 0, 0);
    body.n_across = 1;
    add_input(&loop, F64, 1, 1), add_output(&loop, F64, 1, 4);
    add_scan(&loop, F64, 3, 0, add_body(&loop, &body), 0, (view[]){{1, 0, {0}}, {0, 0, {0}}});
    CHECK(refuses(&loop));
}

static int64_t mutated_programs_are_refused_or_stay_inside(const builder good[N_GOOD], int64_t n_mutants) {
    rng r = {20240};
    int64_t n_run = 0;
    for (int64_t k = 0; k < n_mutants; k++) {
        int64_t words[MAX_WORDS];
        size_t n = assemble(&good[k % N_GOOD], words);
        for (int64_t changes = 1 + rng_below(&r, 3); changes > 0; changes--) {
            size_t at = (size_t)rng_below(&r, (int64_t)n);
            words[at] = mutated_word(&r, words, n, at);
        }
        if (rng_below(&r, 50) == 0)
            n -= (size_t)rng_below(&r, 5);
        int64_t *copy = exactly((int64_t)n, F64);
        memcpy(copy, words, n * 8);
        fg_program *p = NULL;
        fg_error error;
        fg_status status = fg_program_create(copy, n, &p, &error);
        int before = check_failures;
        CHECK(status == FG_INVALID_PROGRAM || (status == FG_OK && p));
        refused += status == FG_INVALID_PROGRAM;
        accepted += status == FG_OK;
        if (p)
            n_run += run_it(p, copy, n, (uint64_t)k);
        if (check_failures > before)
            fprintf(stderr, "    mutant %lld of program %lld\n", (long long)k, (long long)k % N_GOOD);
        fg_program_destroy(p);
        free(copy);
        if (check_failures > 20)
            break;
    }
    return n_run;
}

int main(int argc, char **argv) {
    const builder good[N_GOOD] = {
        quadratic(F64, 5),        layer(F32, 5, 7),           mixture(F64), along(F32), matrices(F64), matrices(F32),
        layer_sums(F64, 2, 3, 4), recurrence(F64, 5, 2, 1, 0)};
    good_programs_are_accepted(good);
    every_truncation_and_extension_is_refused(good);
    impossible_words_are_refused(good);
    the_header_is_checked(&good[1]);
    the_header_is_checked(&good[6]);
    sums_over_lanes_are_checked();
    ranges_outside_a_buffer_are_refused();
    results_of_empty_reductions_stay_inside_their_buffer();
    elements_written_twice_are_refused();
    results_over_their_operands_are_refused();
    inputs_constants_and_other_kinds_are_not_written();
    operations_are_checked();
    buffers_are_checked();
    tables_are_checked();
    generalised_operations_are_checked();
    int64_t n_run = mutated_programs_are_refused_or_stay_inside(good, argc > 1 ? atoll(argv[1]) : 200000);
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    printf("programs: %lld refused, %lld accepted, %lld mutants run\n", (long long)refused, (long long)accepted,
           (long long)n_run);
    return check_result();
}
