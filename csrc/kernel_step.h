/* Template, per dtype: which lanes of a descent stop, and one step of those that go on, by the rules of updates.def;
 * what bounds make of a gradient. */

enum { TYPED(STRIPS) = 4 };

/* As integers, magnitudes compare like numbers, and infinities and NaN stand above them all. */
FG_INLINE M TYPED(magnitude)(V x) { return (M)ABS(x); }

static int TYPED(stop_of)(const fg_check *check, T largest) {
    return !isfinite(largest) ? 1 + FG_NON_FINITE : largest <= (T)check->gtol ? 1 + FG_CONVERGED : 0;
}

/* The components of one lane side by side. */
static T TYPED(largest_alone)(int64_t size, const T *g) {
    M largest = {0};
    for (int64_t i = 0; i < size; i += N)
        largest = TYPED(larger)(
            largest, TYPED(magnitude)(size - i < N ? TYPED(load_some)(g + i, size - i) : TYPED(load)(g + i)));
#define TURNED(i, h) ((i) + (h)) % N
#define WITH_NEIGHBOUR(h) \
    if ((h) < N)          \
    largest = TYPED(larger)(largest, FG_SHUFFLE(M, largest, largest, EACH(TURNED, h)))
    WITH_NEIGHBOUR(8);
    WITH_NEIGHBOUR(4);
    WITH_NEIGHBOUR(2);
    WITH_NEIGHBOUR(1);
#undef TURNED
#undef WITH_NEIGHBOUR
    return ((V)largest)[0];
}

static void TYPED(largest)(int64_t size, int64_t n_lanes, const void *gradient, void *out) {
    const T *g = gradient;
    if (n_lanes == 1)
        *(T *)out = TYPED(largest_alone)(size, g);
    for (int64_t l = 0; l + N <= n_lanes; l += N) {
        M largest = {0};
        for (int64_t i = 0; i < size; i++)
            largest = TYPED(larger)(largest, TYPED(magnitude)(TYPED(load)(g + i * n_lanes + l)));
        TYPED(store)((T *)out + l, (V)largest);
    }
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
    if (L == 1) {
        const int alone = TYPED(stop_of)(check, TYPED(largest_alone)(size, g));
        *stop = (T)alone;
        return alone;
    }
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

/* An optimum inside bounds: the gradient, cut where a step against it would leave them; what is not finite stays. */
static void TYPED(project)(int64_t n, const void *lower_, const void *upper_, const void *x_, const void *gradient_,
                           void *out_) {
    const T *lower = lower_, *upper = upper_, *x = x_, *gradient = gradient_;
    T *out = out_;
    for (int64_t i = 0; i < n; i += N) {
        const int64_t some = n - i;
#define LOAD(p) (some < N ? TYPED(load_some)(p + i, some) : TYPED(load)(p + i))
        const V at = LOAD(x), g = LOAD(gradient), least = at - LOAD(upper), most = at - LOAD(lower);
#undef LOAD
        const V inside = PICK(g < least, least, PICK(g > most, most, g));
        const V cut = PICK(ABS(g) < K(INFINITY), inside, g);
        if (some < N)
            TYPED(store_some)(out + i, cut, some);
        else
            TYPED(store)(out + i, cut);
    }
}

/* N lanes, or the first `some` of them when that is not 0: 1 + fg_outcome where the last step changed too little. */
FG_INLINE V TYPED(change_at)(const fg_change *change, int64_t l, int64_t some) {
#define LOAD(p) (some ? TYPED(load_some)((const T *)(p) + l, some) : TYPED(load)((const T *)(p) + l))
    const V zero = K(0);
    V code = zero;
    if (change->xtol >= 0) {
        const V size = LOAD(change->size), xtol = K(change->xtol);
        const M small = SQRT(LOAD(change->step)) <= xtol * (xtol + SQRT(size));
        code = PICK(small & (size < K(INFINITY)), K(1 + FG_SMALL_STEP), code);
    }
    if (change->ftol >= 0) {
        const V now = LOAD(change->value), before = LOAD(change->value_before);
        const V a = ABS(now), b = ABS(before), larger = PICK(a > b, a, b);
        const M small = ABS(before - now) <= K(change->ftol) * PICK(larger > K(1), larger, K(1));
        code = PICK(small & (larger < K(INFINITY)), K(1 + FG_SMALL_CHANGE), code);
    }
    if (change->frozen)
        code = PICK(LOAD(change->frozen) != zero, zero, code);
#undef LOAD
    return some ? PICK(TYPED(first)(some), code, zero) : code;
}

static int TYPED(change)(const fg_change *change) {
    const int64_t L = change->n_lanes, some = L < N ? L : 0;
    T *stop = change->stop;
    M any = {0};
    for (int64_t l = 0; l < L; l += N)
        any |= TYPED(change_at)(change, l, some) != K(0);
    if (!TYPED(any)(any))
        return change->stops;
    for (int64_t l = 0; l < L; l += N) {
        const V code = TYPED(change_at)(change, l, some);
        for (int64_t j = 0; j < N && l + j < L; j++)
            if (!change->stops || stop[l + j] == 0)
                stop[l + j] = code[j];
    }
    return 1;
}

typedef struct {
    V x, u, w, v;
} TYPED(point);

typedef TYPED(point) (*TYPED(update))(TYPED(point) at, V g, const V *c, const V *setting, const V *rest);

/* N neighbouring components from i on, or the first `some` of them when that is not 0; the coefficients are those of
 * the lanes when c_of_all is NULL. */
FG_INLINE void TYPED(step_at)(T *x, T *const *state, const T *g, const T *const *c, const V *c_of_all, const T *frozen,
                              int64_t i, int n_states, int64_t some, const V *setting, const V *rest,
                              TYPED(update) update) {
#define LOAD(p) (some ? TYPED(load_some)(p + i, some) : TYPED(load)(p + i))
#define STORE(p, v) (some ? TYPED(store_some)(p + i, v, some) : TYPED(store)(p + i, v))
#define STATE(k) (n_states > k ? LOAD(state[k]) : (V){0})
#define COEFFICIENT(k) (c_of_all ? c_of_all[k] : LOAD(c[k]))
    const V of_step[FG_MAX_COEFFICIENTS] = {COEFFICIENT(0), COEFFICIENT(1), COEFFICIENT(2)};
    TYPED(point) at = {LOAD(x), STATE(0), STATE(1), STATE(2)};
    TYPED(point) next = update(at, LOAD(g), of_step, setting, rest);
    STORE(x, frozen ? PICK(LOAD(frozen) != K(0), at.x, next.x) : next.x);
    if (n_states > 0)
        STORE(state[0], next.u);
    if (n_states > 1)
        STORE(state[1], next.w);
    if (n_states > 2)
        STORE(state[2], next.v);
#undef COEFFICIENT
#undef STATE
#undef LOAD
#undef STORE
}

/* When no lane differs from another the block is one run of memory, else a row at a time. */
FG_INLINE void TYPED(step)(const fg_step *step, int n_states, int n_settings, TYPED(update) update) {
    V setting[FG_MAX_SETTINGS] = {{0}}, rest[FG_MAX_SETTINGS] = {{0}};
    for (int i = 0; i < n_settings; i++) {
        setting[i] = K(step->settings[i]);
        rest[i] = K(1.0 - step->settings[i]);
    }
    const int c_is_lane = step->c_is_lane, by_lane = c_is_lane || step->frozen;
    const int64_t n_rows = by_lane ? step->size : 1;
    const int64_t width = by_lane ? step->n_lanes : step->size * step->n_lanes;
    T *x = step->x, *state[FG_MAX_STATES] = {step->state[0], step->state[1], step->state[2]};
    const T *g = step->gradient, *c[FG_MAX_COEFFICIENTS] = {step->c[0], step->c[1], step->c[2]};
    const T *frozen = step->frozen;
    const V all[FG_MAX_COEFFICIENTS] = {SPLAT(*c[0]), SPLAT(*c[1]), SPLAT(*c[2])};
    for (int64_t r = 0; r < n_rows; r++) {
#define STEP_AT(some) \
    TYPED(step_at)(x, state, g, c, c_is_lane ? NULL : all, frozen, i, n_states, some, setting, rest, update)
        int64_t i = 0;
        for (; i + N <= width; i += N)
            STEP_AT(0);
        if (i < width)
            STEP_AT(width - i);
#undef STEP_AT
        x += width, g += width;
        for (int k = 0; k < n_states; k++)
            state[k] += width;
    }
}

#define SIGN(a) PICK(a > K(0), K(1), PICK(a < K(0), K(-1), a))
#define VARIANCE(square, share, mean) TYPED(variance)(square, share, mean)
FG_INLINE V TYPED(variance)(V square, V share, V mean) { /* square - share mean; rounding never makes it negative */
    const V variance = FUSED(-share, mean, square);
    return PICK(variance < K(0), K(0), variance);
}

#define s(i) setting[i]
#define rest(i) rest[i]
#define c0 c[0]
#define c1 c[1]
#define c2 c[2]
#define UPDATE(name, states, settings, running, coefficients, statement)                                             \
    FG_INLINE TYPED(point) TYPED(update_##name)(TYPED(point) at, V g, const V *c, const V *setting, const V *rest) { \
        V x = at.x, u = at.u, w = at.w, v = at.v;                                                                    \
        (void)setting, (void)rest;                                                                                   \
        statement;                                                                                                   \
        return (TYPED(point)){x, u, w, v};                                                                           \
    }                                                                                                                \
    static void TYPED(step_##name)(const fg_step *step) { TYPED(step)(step, states, settings, TYPED(update_##name)); }
#include "updates.def"
#undef s
#undef rest
#undef c0
#undef c1
#undef c2
#undef SIGN
#undef VARIANCE

/* A running power ends at zero, not at the least subnormal number, whose products are slow. What a rule does not have
 * costs nothing: `n_running` is a constant. As parameters the pointers are known to be apart, so the loop is
 * vectorised. */
#define s(i) setting[i]
#define UPDATE(name, states, n_settings, n_running, coefficients, statement)                                           \
    FG_INLINE void TYPED(coefficients_##name)(                                                                         \
        int64_t n, const double *restrict setting, const double *restrict learning_rate, double *restrict r0,          \
        double *restrict r1, double *restrict r2, T *restrict out0, T *restrict out1, T *restrict out2) {              \
        (void)setting;                                                                                                 \
        for (int64_t l = 0; l < n; l++) {                                                                              \
            const double rate = learning_rate[l];                                                                      \
            double p0 = n_running > 0 ? r0[l] : 0, p1 = n_running > 1 ? r1[l] : 0, p2 = n_running > 2 ? r2[l] : 0;     \
            double c0 = 0, c1 = 0, c2 = 0;                                                                             \
            coefficients;                                                                                              \
            if (n_running > 0)                                                                                         \
                r0[l] = p0 < 0x1p-900 ? 0 : p0;                                                                        \
            if (n_running > 1)                                                                                         \
                r1[l] = p1 < 0x1p-900 ? 0 : p1;                                                                        \
            if (n_running > 2)                                                                                         \
                r2[l] = p2 < 0x1p-900 ? 0 : p2;                                                                        \
            out0[l] = (T)c0;                                                                                           \
            out1[l] = (T)c1;                                                                                           \
            out2[l] = (T)c2;                                                                                           \
        }                                                                                                              \
    }                                                                                                                  \
    static __attribute__((noinline)) void TYPED(prepare_one_##name)(const fg_prepare *p) {                             \
        TYPED(coefficients_##name)                                                                                     \
        (1, p->settings, p->learning_rate, p->running[0], p->running[1], p->running[2], p->c[0], p->c[1], p->c[2]);    \
    }                                                                                                                  \
    static __attribute__((noinline)) void TYPED(prepare_all_##name)(const fg_prepare *p) {                             \
        TYPED(coefficients_##name)                                                                                     \
        (p->n, p->settings, p->learning_rate, p->running[0], p->running[1], p->running[2], p->c[0], p->c[1], p->c[2]); \
    }                                                                                                                  \
    static void TYPED(prepare_##name)(const fg_prepare *p) {                                                           \
        if (p->n == 1)                                                                                                 \
            TYPED(prepare_one_##name)(p);                                                                              \
        else                                                                                                           \
            TYPED(prepare_all_##name)(p);                                                                              \
    }
#include "updates.def"
#undef s
