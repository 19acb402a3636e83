/* A verified program as the machine reads it. Immutable after fg_program_create. */
#ifndef FG_PROGRAM_H
#define FG_PROGRAM_H

#include "fastgrad.h"

typedef struct {
    int role, dtype, is_lane;
    int64_t size, position;
} fg_buffer;

typedef struct {
    int64_t buffer, offset, stride[FG_MAX_DIMS];
} fg_operand;

typedef struct {
    int op, dtype, n_dims;
    int64_t shape[FG_MAX_DIMS];
    fg_operand operand[1 + FG_MAX_INPUTS]; /* 0 is the result */
} fg_instruction;

struct fg_program {
    int64_t *words;
    int64_t n_buffers, n_instructions, n_uniform, n_inputs, n_outputs;
    fg_buffer *buffers;
    fg_instruction *instructions;
    int64_t *input, *output;  /* buffer of each input and output */
    const int64_t *constants; /* within words */
    int64_t uniform_bytes;    /* arena of the uniform values */
    int64_t lane_bytes;       /* arena of one lane */
    double cost;
};

static inline int64_t fg_item_size(int dtype) { return dtype == FG_FLOAT32 ? 4 : 8; }

/* Rough nanoseconds of an instruction for one instance. */
double fg_instruction_cost(const fg_instruction *instruction);

#endif
