/* Loops: what the verifier refuses of bodies and of what they read and write, and that a long one can be cancelled.
 * What loops compute is compared with the oracle in test_machine.c. */
#include "build.h"
#include "check.h"

enum { F64 = FG_FLOAT64, F32 = FG_FLOAT32, HUGE_COUNT = 1 << 30 };

static fg_status status_of(const int64_t *words, size_t n) {
    fg_error error = {""};
    fg_program *p = NULL;
    int64_t *copy = exactly((int64_t)n, F64); /* of exactly this length: a sanitizer sees a read past its end */
    memcpy(copy, words, n * 8);
    fg_status status = fg_program_create(copy, n, &p, &error);
    free(copy);
    CHECK((status == FG_OK) == (p != NULL) && (status == FG_OK) == !error.message[0]);
    fg_program_destroy(p);
    return status;
}
static int refuses(const builder *b) {
    int64_t words[MAX_WORDS];
    return status_of(words, assemble(b, words)) == FG_INVALID_PROGRAM;
}
static int accepts(const builder *b) {
    int64_t words[MAX_WORDS];
    return status_of(words, assemble(b, words)) == FG_OK;
}

/* A body of 2 elements: the next carry and the row are copies of the carry and of the row read. */
static builder copying_body(int dtype, int is_lane, int64_t n_carry, int64_t n_row) {
    builder b = {0};
    int64_t u = add_input(&b, dtype, is_lane, n_carry), r = add_input(&b, dtype, is_lane, n_row);
    int64_t next = add_output(&b, dtype, is_lane, n_carry), row = add_output(&b, dtype, is_lane, n_row);
    add_simple(&b, FG_OP_copy, dtype, n_carry, next, u, u);
    add_simple(&b, FG_OP_copy, dtype, n_row, row, r, r);
    b.n_uniform = is_lane ? 0 : 2;
    return b;
}
/* A loop of `length` steps with it over inputs of 2 and 12 elements, into an output of 40. */
static builder looping(const builder *body, int64_t length, int64_t every, view out, view first, view row) {
    builder b = {0};
    add_input(&b, F64, 1, 2), add_input(&b, F64, 1, 12), add_output(&b, F64, 1, 40), add_input(&b, F64, 0, 12);
    add_scan(&b, F64, length, every, add_body(&b, body), 1, (view[]){out, first, row});
    return b;
}
/* In `depth` loops, one in the other. */
static int64_t nest(int64_t depth, int64_t words[MAX_WORDS]) {
    builder body = {0};
    add_input(&body, F64, 1, 0), add_output(&body, F64, 1, 0), add_output(&body, F64, 1, 0);
    size_t n = assemble(&body, words);
    for (int64_t i = 0; i < depth; i++) {
        builder b = {0};
        int64_t code[MAX_WORDS];
        memcpy(code, words, n * 8);
        add_input(&b, F64, 1, 0), add_output(&b, F64, 1, 0), add_output(&b, F64, 1, 0);
        b.n_constants = (int64_t)n;
        add_scan(&b, F64, 1, 0, add_buffer(&b, FG_CONSTANT, FG_INT64, 0, (int64_t)n, 0), 0,
                 (view[]){{1, 0, {0}}, {0, 0, {0}}});
        b.n_constants = 0;
        const size_t head = assemble(&b, words);
        words[7] = (int64_t)n;
        memcpy(words + head, code, n * 8);
        n += head;
    }
    return (int64_t)n;
}

static void loops_are_checked(void) {
    enum { FIRST, ROWS, RESULT, SHARED, BODY };
    const view out = {RESULT, 0, {0}}, first = {FIRST, 0, {0}}, row = {ROWS, 0, {3}};
    const builder body = copying_body(F64, 1, 2, 3);
    builder b = looping(&body, 4, 0, out, first, row);
    CHECK(accepts(&b));
    b = looping(&body, 4, 1, out, first, (view){ROWS, 9, {-3}});
    CHECK(accepts(&b));
    b = looping(&body, 4, 3, (view){RESULT, 22, {0}}, first, row); /* 2 + 4 * 3 + 2 * 2 = 18 */
    CHECK(accepts(&b));
    b = looping(&body, 0, 3, (view){RESULT, 38, {0}}, first, (view){ROWS, 12, {1}}); /* no step reads a row */
    CHECK(accepts(&b));
    b = looping(&body, 3, 0, out, (view){SHARED, 10, {0}}, row);
    CHECK(accepts(&b));

    b = looping(&body, 4, 3, (view){RESULT, 23, {0}}, first, row);
    CHECK(refuses(&b));
    b = looping(&body, 4, 3, (view){RESULT, -1, {0}}, first, row);
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, (view){FIRST, 1, {0}}, row);
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, first, (view){ROWS, 1, {3}});
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, first, (view){ROWS, 8, {-3}});
    CHECK(refuses(&b));
    b = looping(&body, 5, 0, out, first, row);
    CHECK(refuses(&b));
    b = looping(&body, HUGE_COUNT, 1, out, first, (view){ROWS, 0, {0}});
    CHECK(refuses(&b));
    b = looping(&body, 4, -1, out, first, row);
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, first, (view){SHARED, 0, {3}}); /* the body takes a lane value */
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, (view){RESULT, 20, {0}}, row); /* the result's own buffer, past it and inside */
    CHECK(accepts(&b));
    b = looping(&body, 4, 0, out, (view){RESULT, 13, {0}}, row);
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, first, (view){RESULT, 0, {3}});
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, (view){FIRST, 0, {0}}, first, row);
    CHECK(refuses(&b));
    for (int64_t buffer = -1; buffer <= BODY + 1; buffer++) {
        b = looping(&body, 4, 0, out, first, row), b.code[4] = buffer;
        CHECK(buffer == BODY ? accepts(&b) : refuses(&b));
    }
    for (int64_t n_rows = -1; n_rows <= 3; n_rows++) {
        b = looping(&body, 4, 0, out, first, row), b.code[6] = n_rows;
        CHECK(n_rows == 1 ? accepts(&b) : refuses(&b));
    }
    b = looping(&body, 4, 0, out, first, row), b.code[6] = INT64_MAX;
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, first, row), b.n_uniform = 1;
    CHECK(refuses(&b));

    const builder others[] = {copying_body(F32, 1, 2, 3), copying_body(F64, 0, 2, 3), copying_body(F64, 1, 3, 3),
                              copying_body(F64, 1, 2, 4), quadratic(F64, 2)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        b = looping(&others[i], 4, 0, out, first, row);
        CHECK(refuses(&b));
    }
    builder wrong = body; /* a body that is no program, whose outputs differ, or that is large */
    wrong.code[0] = -1;
    b = looping(&wrong, 4, 0, out, first, row);
    CHECK(refuses(&b));
    wrong = body, wrong.buffers[2][3] = 1, wrong.code[3] = 1;
    b = looping(&wrong, 4, 0, out, first, row);
    CHECK(refuses(&b));
    wrong = body, add_buffer(&wrong, FG_ARENA, F64, 1, HUGE_COUNT - 20, INT64_C(1) << 32);
    b = looping(&wrong, 4, 0, out, first, row);
    CHECK(refuses(&b));

    b = looping(&body, 4, 0, out, first, row); /* two loops of one body: what is verified would grow without bound */
    add_scan(&b, F64, 4, 0, BODY, 1, (view[]){{RESULT, 20, {0}}, first, row});
    CHECK(refuses(&b));
    b = looping(&body, 4, 0, out, first, row);
    add_scan(&b, F64, 4, 0, add_body(&b, &body), 1, (view[]){{RESULT, 20, {0}}, first, row});
    CHECK(accepts(&b));

    int64_t words[MAX_WORDS];
    size_t n = (size_t)nest(FG_MAX_DEPTH, words);
    CHECK(status_of(words, n) == FG_OK);
    n = (size_t)nest(FG_MAX_DEPTH + 1, words);
    CHECK(status_of(words, n) == FG_INVALID_PROGRAM);
}

static int64_t polls;
static int cancel(void *context, int64_t done) {
    (void)context, (void)done;
    polls++;
    return 1;
}

/* One instruction that would take seconds, for one instance and for several on two threads. */
static void a_long_loop_polls_and_can_be_cancelled(void) {
    enum { BATCH = 40 };
    builder b = {0}, body = {0};
    double x[BATCH] = {0}, y[BATCH];
    const void *in[] = {x};
    void *out[] = {y};
    fg_program *p = NULL;
    fg_machine *machine = NULL;
    add_input(&body, F64, 1, 1), add_output(&body, F64, 1, 1), add_output(&body, F64, 1, 0);
    add_simple(&body, FG_OP_sin, F64, 1, 1, 0, 0);
    add_input(&b, F64, 1, 1), add_output(&b, F64, 1, 1);
    add_scan(&b, F64, HUGE_COUNT, 0, add_body(&b, &body), 0, (view[]){{1, 0, {0}}, {0, 0, {0}}});
    CHECK(fg_set_num_threads(2, NULL) == FG_OK);
    if (!CHECK(create(&b, &p, NULL) == FG_OK) || !CHECK(fg_machine_create(p, &machine, NULL) == FG_OK))
        return;
    CHECK(fg_evaluate(machine, in, out, cancel, NULL, NULL) == FG_CANCELLED && polls == 1);
    CHECK(fg_evaluate_batch(p, BATCH, in, out, cancel, NULL, NULL) == FG_CANCELLED && polls == 2);
    fg_machine_destroy(machine);
    fg_program_destroy(p);
}

int main(void) {
    loops_are_checked();
    a_long_loop_polls_and_can_be_cancelled();
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
    return check_result();
}
