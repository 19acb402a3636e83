/* A verified program as the machine reads it. Immutable after fg_program_create. */
#ifndef FG_PROGRAM_H
#define FG_PROGRAM_H

#include "fastgrad.h"

/* Elements of a buffer, an axis or all lane buffers together: far beyond memory, far below overflow. */
enum { FG_MAX_ARENA = 1 << 30 };

typedef struct {
    int role, dtype, is_lane;
    int64_t size, position;
} fg_buffer;

typedef struct {
    int64_t buffer, offset, stride[FG_MAX_DIMS];
} fg_operand;

/* What a scan has besides: the body, and what it reads after the carry. */
typedef struct {
    fg_program *body;
    int64_t every, n_rows;
    fg_operand *row;
} fg_loop;

typedef struct {
    int op, dtype, n_dims;
    int64_t shape[FG_MAX_DIMS];
    fg_operand operand[1 + FG_MAX_INPUTS]; /* 0 is the result */
    fg_loop *loop;                         /* of a scan, else NULL */
} fg_instruction;

struct fg_program {
    int64_t *words;
    int64_t n_buffers, n_instructions, n_uniform, n_across, n_inputs, n_outputs;
    fg_buffer *buffers;
    fg_instruction *instructions;
    int64_t *input, *output;  /* buffer of each input and output */
    const int64_t *constants; /* within words */
    int64_t uniform_bytes;    /* arena of the uniform values */
    int64_t lane_bytes;       /* arena of one lane */
    int64_t loop_bytes;       /* memory of the loops (one runs at a time): fixed, and for each lane */
    int64_t lane_loop_bytes;
    int64_t lane_step_bytes; /* what a step of the innermost loops works on */
    double cost;
};

/* Core axes of a generalised operation, 0 for any other; those that an operand (0: the result) has, bit 0 the last. */
int fg_op_core_axes(int op);
unsigned fg_op_core_of(int op, int operand);

/* Whether the last axis of an instruction is summed over, so that its result lacks it. */
int fg_op_reduces(int op);

/* Whether an operation sums over lanes. */
static inline int fg_op_is_across(int op) { return op == FG_OP_lane_sum || op == FG_OP_lane_matmul; }

/* verify.c: whether an instruction that was read may run, FG_INVALID_PROGRAM if not; then what the sums over lanes ask
 * of all others. */
FG_CHECKED fg_status fg_verify(fg_program *p, fg_instruction *in, int64_t number, fg_error *error);
FG_CHECKED fg_status fg_verify_sums(const fg_program *p, fg_error *error);

/* FG_INVALID_VALUE for a program with sums over lanes. */
FG_CHECKED fg_status fg_refuse_across(const fg_program *p, fg_error *error);

static inline int64_t fg_item_size(int dtype) { return dtype == FG_FLOAT32 ? 4 : 8; }
static inline int64_t fg_round_up(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/* Memory that the loops of a program need for blocks of so many lanes. */
static inline int64_t fg_loop_memory(const fg_program *p, int64_t n_lanes) {
    return fg_round_up(p->loop_bytes + p->lane_loop_bytes * n_lanes);
}
/* Carries that a loop of `length` steps stores. */
static inline int64_t fg_n_stored(int64_t length, int64_t every) {
    return every ? length / every + (length % every != 0) : 0;
}

/* Rough nanoseconds of an instruction for one instance. */
double fg_instruction_cost(const fg_instruction *instruction);

#endif
