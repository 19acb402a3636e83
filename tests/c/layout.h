/* Arrays in any layout of memory, for tests of fields. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "build.h"

enum { MOST_DIMS = 4 };

/* An array that ends where its allocation does, with axes in some order of memory and directions. */
typedef struct {
    void *memory;
    char *start;
    int64_t strides[MOST_DIMS];
} array;

static inline array random_layout(rng *r, int dtype, int n_dims, const int64_t *shape) {
    const int64_t item = (int64_t)item_size(dtype);
    int order[MOST_DIMS];
    for (int d = 0; d < n_dims; d++)
        order[d] = d;
    for (int d = n_dims - 1; d > 0 && rng_below(r, 2); d--) {
        const int other = (int)rng_below(r, d + 1), own = order[d];
        order[d] = order[other];
        order[other] = own;
    }
    array a = {0};
    int64_t step = rng_below(r, 3) ? 1 : 2, first = 0, last = 0;
    for (int k = n_dims - 1; k >= 0; k--) {
        const int d = order[k];
        const int64_t way = (shape[d] - 1) * step;
        const int is_backwards = rng_below(r, 5) == 0;
        a.strides[d] = (is_backwards ? -step : step) * item;
        first += is_backwards ? way : 0;
        last += way;
        step *= shape[d] + (rng_below(r, 3) ? 0 : 1);
    }
    a.memory = exactly(last + 1, dtype);
    a.start = (char *)a.memory + first * item;
    for (int64_t i = 0; i <= last; i++)
        set(a.memory, dtype, i, rng_between(r, -1, 1));
    return a;
}

/* The element with these indices. */
static inline char *place(const array *a, const int64_t *i, int n_dims) {
    char *p = a->start;
    for (int d = 0; d < n_dims; d++)
        p += i[d] * a->strides[d];
    return p;
}

#endif
