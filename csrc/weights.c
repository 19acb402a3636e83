/* Weights of difference stencils for any nodes, fg_weights and fg_windows, by Fornberg's recurrence. */
#include <math.h>
#include <string.h>

#include "alloc.h"
#include "pool.h"
#include "status.h"

enum { BETWEEN = 1024 }; /* stencils from one look at the watch to the next */

/* What the recurrence needs: nodes (width,), and for each derivative up to the last one a row of weights. */
typedef struct {
    int64_t width;
    int derivative;
    double *nodes, *table;
} stencil;

/* table[k][j] is the weight of node j in the k-th derivative at 0 for the nodes seen so far. A further node changes the
 * Lagrange polynomial of each earlier one by a factor (x - node) / (old - node), and has the polynomial of the one
 * before it, times that one's missing factor, scaled. */
static void fornberg(const stencil *s) {
    const int64_t width = s->width;
    const double *nodes = s->nodes;
    double norm = 1; /* product of (last - earlier node) */
    memset(s->table, 0, (size_t)((s->derivative + 1) * width) * sizeof *s->table);
    s->table[0] = 1;
    for (int64_t new = 1; new < width; new++) {
        const double node = nodes[new], last = nodes[new - 1], old_norm = norm;
        norm = 1;
        for (int64_t old = 0; old < new; old++)
            norm *= node - nodes[old];
        for (int k = new < s->derivative ? (int)new : s->derivative; k >= 0; k--) {
            double *row = s->table + k * width;
            const double *below = k ? row - width : row; /* times 0 for the lowest one */
            row[new] = old_norm * (k * below[new - 1] - last * row[new - 1]) / norm;
            for (int64_t old = 0; old < new; old++)
                row[old] = (node * row[old] - k * below[old]) / (node - nodes[old]);
        }
    }
}

/* Weights for the nodes that stand in s. They are scaled by a power of two first, so that products of tiny or huge
 * distances neither vanish nor overflow. */
static void make_weights(const stencil *s, double *weights) {
    enum { MOST = 1000 };
    double reach = 0;
    for (int64_t j = 0; j < s->width; j++)
        reach = fmax(reach, fabs(s->nodes[j]));
    int exponent = 0;
    frexp(reach, &exponent);
    exponent = exponent < -MOST ? -MOST : exponent > MOST ? MOST : exponent;
    const double down = ldexp(1, -exponent);
    for (int64_t j = 0; j < s->width; j++)
        s->nodes[j] *= down;
    fornberg(s);
    const double *found = s->table + s->derivative * s->width;
    const int up = -s->derivative * exponent;
    const double factor = up > -MOST && up < MOST ? ldexp(1, up) : 0;
    for (int64_t j = 0; j < s->width; j++)
        weights[j] = factor != 0 ? found[j] * factor : ldexp(found[j], up);
}

static fg_status check(int64_t n, int64_t width, int derivative, fg_error *error) {
    int64_t size;
    if (n < 0 || width < 1 || derivative < 0 || derivative >= width || __builtin_mul_overflow(n, width, &size))
        return fg_fail(error, FG_INVALID_VALUE, "%lld stencils of %lld samples do not give derivative %d", (long long)n,
                       (long long)width, derivative);
    return FG_OK;
}

/* Sample j of stencil i is at offsets[i, j], or with `first` at coords[first[i] + j] - coords[i]. */
static fg_status make_all(int64_t n, int64_t width, const double *offsets, const double *coords, const int64_t *first,
                          int derivative, double *weights, fg_watch *watch, fg_error *error) {
    stencil s = {.width = width, .derivative = derivative};
    s.nodes = fg_alloc((size_t)width, (size_t)(derivative + 2) * sizeof *s.nodes);
    if (!s.nodes)
        return fg_fail(error, FG_OUT_OF_MEMORY, "no memory for a stencil of %lld samples", (long long)width);
    s.table = s.nodes + width;
    for (int64_t i = 0; i < n && !atomic_load(&watch->cancelled); i++) {
        for (int64_t j = 0; j < width; j++)
            s.nodes[j] = first ? coords[first[i] + j] - coords[i] : offsets[i * width + j];
        make_weights(&s, weights + i * width);
        if (i % BETWEEN == 0)
            fg_watch_look(watch);
    }
    fg_free(s.nodes);
    return atomic_load(&watch->cancelled) ? fg_fail(error, FG_CANCELLED, "cancelled") : FG_OK;
}

fg_status fg_weights(int64_t n, int64_t width, const double *offsets, int derivative, double *weights, fg_poll poll,
                     void *poll_context, fg_error *error) {
    fg_watch watch = {.poll = poll, .context = poll_context};
    const fg_status status = check(n, width, derivative, error);
    return status ? status : make_all(n, width, offsets, NULL, NULL, derivative, weights, &watch, error);
}

fg_status fg_windows(int64_t n, int64_t width, const double *coords, int derivative, int64_t *first, double *weights,
                     fg_poll poll, void *poll_context, fg_error *error) {
    fg_watch watch = {.poll = poll, .context = poll_context};
    const fg_status status = check(n, width, derivative, error);
    if (status)
        return status;
    if (width > n)
        return fg_fail(error, FG_INVALID_VALUE, "there are %lld samples, and stencils of %lld", (long long)n,
                       (long long)width);
    for (int64_t i = 0; i < n; i++) {
        const int64_t start = i - (i < n - i ? width / 2 : (width - 1) / 2);
        first[i] = start < 0 ? 0 : start > n - width ? n - width : start;
    }
    return make_all(n, width, NULL, coords, first, derivative, weights, &watch, error);
}
