/* All kernels of one ISA, in float64 and float32: the templates kernel_*.h are included once per dtype, this file is
 * compiled once per ISA with FG_ISA naming it. */
#include "kernels.h"

#include <math.h>

#include "vec.h"

#include "elementary.h"
#include "random.h"
#include "special.h"

#define PASTE(a, b) PASTE_(a, b)
#define PASTE_(a, b) a##b
#define STRINGIFY(a) STRINGIFY_(a)
#define STRINGIFY_(a) #a

/* The words in which ops.def and updates.def are written. */
#define K(x) SPLAT((T)(x))
#define TRUTH(m) ((V)((m) & (M)K(1)))
#define PICK(m, u, v) TYPED(pick)(m, u, v)
#define FN(name) TYPED(fg_##name)
#define FUSED(a, b, c) TYPED(fused)(a, b, c)
#define ABS(x) FN(abs)(x)
#define SQRT(x) FN(sqrt)(x)
#define RATIO(a, b) TYPED(ratio)(a, b)
#define ROOT(x) TYPED(root)(x)
#define FADED(x) TYPED(faded)(x)
#define SPLAT(x) TYPED(splat)(x)

#define T double
#define V vf64
#define M vi64
#define U vu64
#define N FG_N_F64
#define EACH FG_EACH_F64
#define TYPED(name) PASTE(name, _f64)
#include "kernel_memory.h"
#include "kernel_rows.h"
#include "kernel_fold.h"
#include "kernel_gemm.h"
#include "kernel_along.h"
#include "kernel_linalg.h"
#include "kernel_step.h"
#include "kernel_data.h"
#include "kernel_stencil.h"
#include "kernel_ties.h"
#undef T
#undef V
#undef M
#undef U
#undef N
#undef EACH
#undef TYPED

#define T float
#define V vf32
#define M vi32
#define U vu32
#define N FG_N_F32
#define EACH FG_EACH_F32
#define TYPED(name) PASTE(name, _f32)
#include "kernel_memory.h"
#include "kernel_rows.h"
#include "kernel_fold.h"
#include "kernel_gemm.h"
#include "kernel_along.h"
#include "kernel_linalg.h"
#include "kernel_step.h"
#include "kernel_data.h"
#include "kernel_stencil.h"
#include "kernel_ties.h"
#undef TYPED

#define BOTH(name) {name##_f64, name##_f32}

extern const fg_kernels PASTE(fg_kernels_, FG_ISA);
const fg_kernels PASTE(fg_kernels_, FG_ISA) = {
    .name = STRINGIFY(FG_ISA),
    .rows =
        {
#define ELEMENTWISE(name, arity, expression) [FG_OP_##name] = BOTH(rows_##name),
#include "ops.def"
        },
    .fold =
        {
#define REDUCTION(name, identity, expression) [FG_OP_##name] = BOTH(fold_##name),
#include "ops.def"
            [FG_OP_dot] = BOTH(fold_dot),
        },
    .core =
        {
#define GENERALISED(name, arity, axes, out, a, b) [FG_OP_##name] = BOTH(core_##name),
#include "ops.def"
        },
    .gemm = BOTH(gemm),
    .chain = BOTH(chain),
    .lane_sums = BOTH(lane_sums),
    .lanes_in = BOTH(lanes_in),
    .lanes_out = BOTH(lanes_out),
    .lanes_away = BOTH(lanes_away),
    .away = BOTH(away),
    .gather = BOTH(gather),
    .noise = BOTH(noise),
    .penalise = BOTH(penalise),
    .check = BOTH(check),
    .change = BOTH(change),
    .largest = BOTH(largest),
    .project = BOTH(project),
    .stencil = BOTH(stencil),
    .sweep = BOTH(sweep),
    .turn = BOTH(turned),
    .step =
        {
#define UPDATE(name, states, settings, running, coefficients, statement) BOTH(step_##name),
#include "updates.def"
        },
    .prepare =
        {
#define UPDATE(name, states, settings, running, coefficients, statement) BOTH(prepare_##name),
#include "updates.def"
        },
};
