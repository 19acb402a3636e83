/* Template, per dtype: one step of descent for a block of lanes, by the update rules of updates.def. */

typedef struct {
    V x, u, w;
} TYPED(point);

typedef TYPED(point) (*TYPED(update))(TYPED(point) at, V g, V c0, V c1, const V *setting, const V *rest);

/* One component of N lanes, or N components of one lane (the first `some` of them when that is not 0). */
FG_INLINE void TYPED(update_at)(T *x, T *u, T *w, V g, V c0, V c1, M frozen, int some_frozen, int n_states,
                                int64_t some, const V *setting, const V *rest, TYPED(update) update) {
#define LOAD(p) (some ? TYPED(load_some)(p, some) : TYPED(load)(p))
#define STORE(p, v) (some ? TYPED(store_some)(p, v, some) : TYPED(store)(p, v))
    TYPED(point) at = {LOAD(x), {0}, {0}};
    if (n_states > 0)
        at.u = LOAD(u);
    if (n_states > 1)
        at.w = LOAD(w);
    TYPED(point) next = update(at, g, c0, c1, setting, rest);
    STORE(x, some_frozen ? PICK(frozen, at.x, next.x) : next.x);
    if (n_states > 0)
        STORE(u, next.u);
    if (n_states > 1)
        STORE(w, next.w);
#undef LOAD
#undef STORE
}

/* A block of one lane: its components fill the vectors. */
FG_INLINE int TYPED(step_alone)(const fg_step *s, int n_states, const V *setting, const V *rest,
                                TYPED(update) update) {
    const T *g = s->gradient;
    T *x = s->x, *u = s->state[0], *w = s->state[1];
    V largest = {0}, finite = {0};
    for (int64_t i = 0; i < s->size; i += N) {
        V gi = s->size - i < N ? TYPED(load_some)(g + i, s->size - i) : TYPED(load)(g + i);
        largest = TYPED(larger)(ABS(gi), largest);
        finite += gi * K(0);
    }
    T most = 0;
    int broken = s->value && !isfinite(*(const T *)s->value);
    for (int j = 0; j < N; j++) {
        most = largest[j] > most ? largest[j] : most;
        broken |= finite[j] != finite[j];
    }
    const int stops = broken || most <= (T)s->gtol, held = s->hold && *(const T *)s->hold != 0;
    *(T *)s->stop = stops ? (T)(1 + (broken ? FG_NON_FINITE : FG_CONVERGED)) : 0;
    if (stops || held)
        return stops;
    const V c0 = SPLAT(*(const T *)s->c[0]), c1 = SPLAT(*(const T *)s->c[1]);
    int64_t i = 0;
    for (; i + N <= s->size; i += N)
        TYPED(update_at)(x + i, u + i, w + i, TYPED(load)(g + i), c0, c1, (M){0}, 0, n_states, 0, setting, rest, update);
    if (i < s->size)
        TYPED(update_at)(x + i, u + i, w + i, TYPED(load_some)(g + i, s->size - i), c0, c1, (M){0}, 0, n_states,
                         s->size - i, setting, rest, update);
    return 0;
}

FG_INLINE int TYPED(step)(const fg_step *s, int n_states, int n_settings, TYPED(update) update) {
    const int64_t L = s->n_lanes;
    V setting[3] = {{0}}, rest[3] = {{0}};
    for (int i = 0; i < n_settings; i++) {
        setting[i] = K(s->settings[i]);
        rest[i] = K(1.0 - s->settings[i]);
    }
    if (L == 1)
        return TYPED(step_alone)(s, n_states, setting, rest, update);
    const V gtol = K(s->gtol);
    int any = 0;
    for (int64_t l = 0; l < L; l += N) {
        const T *g = (const T *)s->gradient + l;
        /* infinities and NaN leave a NaN in `finite`, else it stays zero */
        V largest = {0}, finite = s->value ? TYPED(load)((const T *)s->value + l) * K(0) : (V){0};
        for (int64_t i = 0; i < s->size; i++) {
            V gi = TYPED(load)(g + i * L);
            largest = TYPED(larger)(ABS(gi), largest);
            finite += gi * K(0);
        }
        const M broken = finite != finite, converged = ~broken & (largest <= gtol);
        M frozen = broken | converged;
        if (s->hold || TYPED(any)(frozen)) {
            V hold = s->hold ? TYPED(load)((const T *)s->hold + l) : (V){0};
            V stop = PICK(broken, K(1 + FG_NON_FINITE), PICK(converged, K(1 + FG_CONVERGED), K(0)));
            stop = PICK(hold == K(2), K(0), stop);
            TYPED(store)((T *)s->stop + l, stop);
            any |= TYPED(any)(stop != K(0));
            frozen |= hold != K(0);
        }
        const V c0 = TYPED(load)((const T *)s->c[0] + l), c1 = TYPED(load)((const T *)s->c[1] + l);
        const int some_frozen = TYPED(any)(frozen);
        T *x = (T *)s->x + l, *u = (T *)s->state[0] + l, *w = (T *)s->state[1] + l;
        for (int64_t i = 0; i < s->size; i++)
            TYPED(update_at)(x + i * L, u + i * L, w + i * L, TYPED(load)(g + i * L), c0, c1, frozen, some_frozen,
                             n_states, 0, setting, rest, update);
    }
    return any;
}

#define s(i) setting[i]
#define rest(i) rest[i]
#define UPDATE(name, states, settings, powers, c0_, c1_, statement)                                            \
    FG_INLINE TYPED(point)                                                                                     \
        TYPED(update_##name)(TYPED(point) at, V g, V c0, V c1, const V *setting, const V *rest) {              \
        V x = at.x, u = at.u, w = at.w;                                                                        \
        (void)c1, (void)setting, (void)rest;                                                                   \
        statement;                                                                                             \
        return (TYPED(point)){x, u, w};                                                                        \
    }                                                                                                          \
    static int TYPED(step_##name)(const fg_step *step) {                                                       \
        return TYPED(step)(step, states, settings, TYPED(update_##name));                                      \
    }
#include "updates.def"
#undef s
#undef rest

#define UPDATE(name, states, settings_, powers, c0_, c1_, statement)                                           \
    static void TYPED(prepare_##name)(const fg_prepare *p) {                                                   \
        const double s0 = powers > 0 ? p->settings[0] : 0, s1 = powers > 1 ? p->settings[1] : 0;               \
        double *power0 = p->power[0], *power1 = p->power[1];                                                   \
        T *out0 = p->c[0], *out1 = p->c[1];                                                                    \
        for (int64_t l = 0; l < p->n; l++) {                                                                   \
            const double rate = p->learning_rate[l], p0 = power0[l] * s0, p1 = power1[l] * s1;                 \
            power0[l] = p0;                                                                                    \
            power1[l] = p1;                                                                                    \
            out0[l] = (T)(c0_);                                                                                \
            out1[l] = (T)(c1_);                                                                                \
            (void)rate;                                                                                        \
        }                                                                                                      \
        if (p->n == 1)                                                                                         \
            for (int64_t l = 1; l < p->n_lanes; l++) {                                                         \
                out0[l] = out0[0];                                                                             \
                out1[l] = out1[0];                                                                             \
            }                                                                                                  \
    }
#include "updates.def"
