/* Template, per dtype: which lanes of a descent stop, and one step of those that go on, by the rules of updates.def. */

enum { TYPED(STRIPS) = 4 };

/* As integers, magnitudes compare like numbers, and infinities and NaN stand above them all. */
FG_INLINE M TYPED(magnitude)(V x) { return (M)ABS(x); }

static int TYPED(stop_of)(const fg_check *check, T largest) {
    return !isfinite(largest) ? 1 + FG_NON_FINITE : largest <= (T)check->gtol ? 1 + FG_CONVERGED : 0;
}

/* The components of one lane side by side. */
static int TYPED(check_alone)(const fg_check *check) {
    const T *g = check->gradient;
    const int64_t size = check->size;
    M largest = {0};
    for (int64_t i = 0; i < size; i += N)
        largest = TYPED(larger)(
            largest, TYPED(magnitude)(size - i < N ? TYPED(load_some)(g + i, size - i) : TYPED(load)(g + i)));
    for (int j = 1; j < N; j++)
        largest[0] = largest[j] > largest[0] ? largest[j] : largest[0];
    const int stop = TYPED(stop_of)(check, ((V)largest)[0]);
    *(T *)check->stop = (T)stop;
    return stop;
}

/* The shifted magnitude's maximum over `n` vectors of lanes from l, side by side as rows may share cache sets. */
FG_INLINE M TYPED(check_strips)(const fg_check *check, int64_t l, int n, M low, U shift) {
    const T *g = (const T *)check->gradient + l, *frozen = check->frozen;
    const int64_t L = check->n_lanes, size = check->size;
    M largest[TYPED(STRIPS)] = {{0}};
    for (int64_t i = 0; i < size; i++, g += L)
#pragma GCC unroll 4
        for (int k = 0; k < n; k++)
            largest[k] = TYPED(larger)(largest[k], TYPED(magnitude)(TYPED(load)(g + k * N)));
    M most = (M)K(-0.0);
#pragma GCC unroll 4
    for (int k = 0; k < n; k++) {
        if (frozen)
            largest[k] = (M)PICK(TYPED(load)(frozen + l + k * N) != K(0), (V)low, (V)largest[k]);
        most = TYPED(larger)(most, (M)((U)largest[k] - shift));
    }
    return most;
}

/* Mostly no lane stops, and this is to see it with few instructions: a lane goes on when the bits of its largest
 * component lie from `low` (just above gtol) up to those of infinity. Shifted so that `low` becomes the least integer,
 * all others stand at or above `span`, and the maximum over all lanes tells. Only when one stops does it matter which.
 */
static int TYPED(check)(const fg_check *check) {
    const int64_t L = check->n_lanes, size = check->size;
    const T *g = check->gradient, *frozen = check->frozen;
    T *stop = check->stop;
    if (L == 1)
        return TYPED(check_alone)(check);
    const M infinite = (M)K(INFINITY), above = (M)K(check->gtol) + 1, least = {0};
    const M low = check->gtol < 0 ? least : TYPED(smaller)(above, infinite);
    const U shift = (U)low + (U)(M)K(-0.0); /* -0.0 is the sign bit alone */
    const M span = (M)((U)infinite - shift);
    M most = (M)K(-0.0);
    int64_t l = 0;
    for (; l + TYPED(STRIPS) * N <= L; l += TYPED(STRIPS) * N)
        most = TYPED(larger)(most, TYPED(check_strips)(check, l, TYPED(STRIPS), low, shift));
    for (; l < L; l += N)
        most = TYPED(larger)(most, TYPED(check_strips)(check, l, 1, low, shift));
    if (!TYPED(any)(most >= span))
        return 0;
    for (l = 0; l < L; l++) {
        M largest = {0};
        for (int64_t i = 0; i < size; i++)
            largest = TYPED(larger)(largest, TYPED(magnitude)(SPLAT(g[i * L + l])));
        stop[l] = frozen && frozen[l] != 0 ? 0 : (T)TYPED(stop_of)(check, ((V)largest)[0]);
    }
    return 1;
}

typedef struct {
    V x, u, w;
} TYPED(point);

typedef TYPED(point) (*TYPED(update))(TYPED(point) at, V g, V c0, V c1, const V *setting, const V *rest);

/* N neighbouring components, or the first `some` of them when that is not 0. */
FG_INLINE void TYPED(step_at)(T *x, T *u, T *w, const T *g, const T *c0, const T *c1, const V *c_of_all,
                              const T *frozen, int n_states, int64_t some, const V *setting, const V *rest,
                              TYPED(update) update) {
#define LOAD(p) (some ? TYPED(load_some)(p, some) : TYPED(load)(p))
#define STORE(p, v) (some ? TYPED(store_some)(p, v, some) : TYPED(store)(p, v))
    TYPED(point) at = {LOAD(x), n_states > 0 ? LOAD(u) : (V){0}, n_states > 1 ? LOAD(w) : (V){0}};
    TYPED(point) next = update(at, LOAD(g), c0 ? LOAD(c0) : c_of_all[0], c0 ? LOAD(c1) : c_of_all[1], setting, rest);
    STORE(x, frozen ? PICK(LOAD(frozen) != K(0), at.x, next.x) : next.x);
    if (n_states > 0)
        STORE(u, next.u);
    if (n_states > 1)
        STORE(w, next.w);
#undef LOAD
#undef STORE
}

/* When no lane differs from another the block is one run of memory, else a row at a time. */
FG_INLINE void TYPED(step)(const fg_step *step, int n_states, int n_settings, TYPED(update) update) {
    V setting[3] = {{0}}, rest[3] = {{0}};
    for (int i = 0; i < n_settings; i++) {
        setting[i] = K(step->settings[i]);
        rest[i] = K(1.0 - step->settings[i]);
    }
    const int by_lane = step->c_is_lane || step->frozen;
    const int64_t n_rows = by_lane ? step->size : 1;
    const int64_t width = by_lane ? step->n_lanes : step->size * step->n_lanes;
    T *x = step->x, *u = step->state[0], *w = step->state[1];
    const T *g = step->gradient, *c[2] = {step->c[0], step->c[1]}, *frozen = step->frozen;
    const V all[2] = {SPLAT(*c[0]), SPLAT(*c[1])};
    for (int64_t r = 0; r < n_rows; r++) {
#define STEP_AT(some)                                                                            \
    TYPED(step_at)(x + i, u + i, w + i, g + i, step->c_is_lane ? c[0] + i : NULL, c[1] + i, all, \
                   frozen ? frozen + i : NULL, n_states, some, setting, rest, update)
        int64_t i = 0;
        for (; i + N <= width; i += N)
            STEP_AT(0);
        if (i < width)
            STEP_AT(width - i);
#undef STEP_AT
        x += width, g += width;
        u += n_states > 0 ? width : 0, w += n_states > 1 ? width : 0;
    }
}

#define s(i) setting[i]
#define rest(i) rest[i]
#define UPDATE(name, states, settings, powers, c0_, c1_, statement)                                                  \
    FG_INLINE TYPED(point) TYPED(update_##name)(TYPED(point) at, V g, V c0, V c1, const V *setting, const V *rest) { \
        V x = at.x, u = at.u, w = at.w;                                                                              \
        (void)c1, (void)setting, (void)rest;                                                                         \
        statement;                                                                                                   \
        return (TYPED(point)){x, u, w};                                                                              \
    }                                                                                                                \
    static void TYPED(step_##name)(const fg_step *step) { TYPED(step)(step, states, settings, TYPED(update_##name)); }
#include "updates.def"
#undef s
#undef rest

#define UPDATE(name, states, settings_, powers, c0_, c1_, statement)                             \
    static void TYPED(prepare_##name)(const fg_prepare *p) {                                     \
        const double s0 = powers > 0 ? p->settings[0] : 0, s1 = powers > 1 ? p->settings[1] : 0; \
        double *power0 = p->power[0], *power1 = p->power[1];                                     \
        T *out0 = p->c[0], *out1 = p->c[1];                                                      \
        for (int64_t l = 0; l < p->n; l++) {                                                     \
            const double rate = p->learning_rate[l], p0 = power0[l] * s0, p1 = power1[l] * s1;   \
            power0[l] = p0;                                                                      \
            power1[l] = p1;                                                                      \
            out0[l] = (T)(c0_);                                                                  \
            out1[l] = (T)(c1_);                                                                  \
            (void)rate;                                                                          \
        }                                                                                        \
    }
#include "updates.def"
