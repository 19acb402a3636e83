/* A stencil of two points on each side: what the tests of extrapolation give to the C core. */
#ifndef FIVE_POINTS_H
#define FIVE_POINTS_H

#include <math.h>

enum { NODES = 4 };

static const double central_nodes[NODES] = {-2, -1, 1, 2};
/* of order 4, then the terms 1 to 4 of the polynomial through the nodes */
static const double central[(NODES + 1) * NODES] = {
    1 / 12., -2 / 3.,  2 / 3.,   -1 / 12., 1 / 12., -2 / 3., 2 / 3.,  -1 / 12., -1 / 24., 2 / 3.,
    2 / 3.,  -1 / 24., -1 / 12., 1 / 6.,   -1 / 6., 1 / 12., 1 / 24., -1 / 6.,  -1 / 6.,  1 / 24.,
};
static const double within[NODES] = {0}, beyond[2] = {8, 0};

/* How much these weights magnify independent errors of the values. */
static inline void noise_of(const double *weights, double *noise) {
    for (int k = 0; k <= NODES; k++) {
        noise[k] = 0;
        for (int p = 0; p < NODES; p++)
            noise[k] += weights[k * NODES + p] * weights[k * NODES + p];
        noise[k] = sqrt(noise[k]);
    }
}

#endif
