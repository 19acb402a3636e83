/* Elementary functions on whole vectors, in double and single precision: fg_exp_f64, fg_exp_f32 and so on.
 *
 * Every function is within 2 ulp of the exact value, subnormal arguments and results included, and has the
 * special cases of C and NumPy; only logaddexp is less exact, where its result is next to 0. No lane's result
 * depends on another lane. A method that suits both precisions stands once, as a template at the end: this
 * file includes itself for each of the two. pow in single precision is computed in double.
 *
 * Some values are kept as an unevaluated sum high + low, low being what rounding high lost. Whether the
 * compiler contracts a * b + c never matters: where a product must be exact, a function of vec.h sees to it.
 *
 * The polynomials are minimax, by Remez's exchange; each comment says what of and how near. */
#ifndef FG_ELEMENTARY_H
#define FG_ELEMENTARY_H

#include <math.h>

#include "vec.h"

#define LOG2_E_f64 0x1.71547652b82fep0
#define LOG2_E_f32 0x1.715476p0f
#define LOG2_E_LOW_f64 0x1.777d0ffda0d24p-56
#define LOG2_E_LOW_f32 0x1.4ae0cp-26f

/* log 2 and log e to base 10 as sums; the high part of the former times any exponent is exact */
#define LOG10_2_HIGH_f64 0x1.34413509f6p-2
#define LOG10_2_LOW_f64 0x1.9fef311f12b36p-42
#define LOG10_2_HIGH_f32 0x1.344p-2f
#define LOG10_2_LOW_f32 0x1.3509f8p-18f
#define LOG10_E_f64 0x1.bcb7b1526e50ep-2
#define LOG10_E_LOW_f64 0x1.95355baaafad3p-57
#define LOG10_E_f32 0x1.bcb7b2p-2f
#define LOG10_E_LOW_f32 -0x1.5b235ep-27f

/* log 2 as a sum; the high part times any exponent is exact */
#define LN2_HIGH_f64 0x1.62e42feep-1
#define LN2_LOW_f64 0x1.a39ef35793c76p-33
#define LN2_HIGH_f32 0x1.62e4p-1f
#define LN2_LOW_f32 0x1.7f7d1cp-20f

/* beyond these exp is 0 or infinity */
#define EXP_LEAST_f64 -746.0
#define EXP_LEAST_f32 -104.0f
#define EXP_MOST_f64 710.0
#define EXP_MOST_f32 89.0f
#define EXP2_LEAST_f64 -1080.0
#define EXP2_LEAST_f32 -155.0f
#define EXP2_MOST_f64 1025.0
#define EXP2_MOST_f32 129.0f

/* the least number and the least normal one */
#define LEAST_f64 0x1p-1074
#define LEAST_f32 0x1p-149f
#define LEAST_NORMAL_f64 0x1p-1022
#define LEAST_NORMAL_f32 0x1p-126f

/* where 1 + exp(-x) and 1 - exp(-x) are 1, with some to spare; and an exponent n for which 1 + 2^-n is 1 and
 * 2^n is normal */
#define EXP_NOTHING_f64 45.0
#define EXP_NOTHING_f32 20.0f
#define EXPONENT_PLENTY_f64 1000.0
#define EXPONENT_PLENTY_f32 100.0f

/* (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2: within 2^-55.6, 2^-26.1 of |r| */
static const double EXP_f64[] = {
    0x1.0000000000005p-1,  0x1.555555555555cp-3,  0x1.555555555201ep-5, 0x1.111111110e625p-7,  0x1.6c16c17f73a0dp-10,
    0x1.a01a01b618c26p-13, 0x1.a019a5c5fd105p-16, 0x1.71dde964740dp-19, 0x1.28a372992bdbdp-22, 0x1.af77c629d53c6p-26};
static const float EXP_f32[] = {0x1p-1f, 0x1.5554aep-3f, 0x1.555484p-5f, 0x1.122908p-7f, 0x1.6d9b6ap-10f};

/* (2^r - 1) / r for |r| <= 1/2: within 2^-56.1, 2^-27.0 */
static const double EXP2_f64[] = {0x1.62e42fefa39efp-1,  0x1.ebfbdff82c598p-3,  0x1.c6b08d704a0cbp-5,
                                  0x1.3b2ab6fba1dd9p-7,  0x1.5d87fe78a2cbep-10, 0x1.4309130970009p-13,
                                  0x1.ffcbfc744061ep-17, 0x1.62bfd47711c4fp-20, 0x1.b524dcbd59a43p-24,
                                  0x1.e6064020a48e1p-28, 0x1.ea043ca7cf61bp-32};
static const float EXP2_f32[] = {0x1.62e43p-1f,  0x1.ebfbep-3f,   0x1.c6af6cp-5f,
                                 0x1.3b29e4p-7f, 0x1.5f0898p-10f, 0x1.446c52p-13f};

/* 1 / cbrt(m) for m in [3/4, 3/2): within 2^-11.9, 2^-9.1 of it */
static const double CBRT_f64[] = {0x1.b272e3fbf7794p0, -0x1.304a4ac44b7ep0, 0x1.3e566019dbb32p-1,
                                  -0x1.0ad0ef4951058p-3};
static const float CBRT_f32[] = {0x1.87221ep0f, -0x1.6b279cp-1f, 0x1.764636p-3f};
#define CBRT_2_f64 0x1.428a2f98d728bp0
#define CBRT_2_f32 0x1.428a3p0f

/* (2 atanh(s) / s - 2) / s^2 as a polynomial in z = s^2, z <= 0.04: within 2^-55.8 / z, 2^-35.3 / z */
static const double LOG_f64[] = {0x1.555555555577ep-1, 0x1.99999998ee809p-2, 0x1.249249b3be166p-2, 0x1.c71c005930579p-3,
                                 0x1.74750e2150c19p-3, 0x1.384f6739811eap-3, 0x1.3ad92d703b143p-3};
static const float LOG_f32[] = {0x1.555554p-1f, 0x1.999bep-2f, 0x1.23e8dep-2f, 0x1.eda37cp-3f};

/* (log(1 + e) - e) / e^2 as a polynomial in e - 1/2, its first coefficient apart, 0 <= e <= 1: within 2^-56.793 / e,
 * 2^-27.785 / e */
#define LOG1P_AT_HALF_f64 -0x1.833704d019edp-2
#define LOG1P_AT_HALF_f32 -0x1.833704p-2f
static const double LOG1P_f64[] = {
    0x1.6f0d7bd624bedp-3,  -0x1.7ddf1fe86ac5p-4,   0x1.a279c04c78643p-5,  -0x1.da3482487380ap-6,
    0x1.131116fc0b4aap-6,  -0x1.44ba45e182f7fp-7,  0x1.84904ee257edap-8,  -0x1.d5faeef293b6p-9,
    0x1.1ebd3f5b3855fp-9,  -0x1.607643b016bdbp-10, 0x1.b3de41c784ba1p-11, -0x1.0ecbfbb1512dap-11,
    0x1.5319f7a2cc57fp-12, -0x1.adfe500676c4p-13,  0x1.07c5f5902bb1bp-13, -0x1.2893d4c3b94b5p-14,
    0x1.b3e581f253bc1p-15, -0x1.b006992ede06cp-15, 0x1.b5f08f94f0216p-16};
static const float LOG1P_f32[] = {0x1.6f0d72p-3f, -0x1.7de09cp-4f, 0x1.a2884ap-5f, -0x1.d9a0fap-6f,
                                  0x1.10aadcp-6f, -0x1.4c731cp-7f, 0x1.c920fap-8f, -0x1.bf74f8p-9f};

/* (sin(r) / r - 1) / z as a polynomial in z = r^2, |r| <= pi/4: within 2^-58.0 / z, 2^-28.0 / z */
static const double SIN_f64[] = {-0x1.5555555555549p-3, 0x1.111111110f80bp-7,   -0x1.a01a019c02bdcp-13,
                                 0x1.71de356a1b222p-19, -0x1.ae5e5b0f9617fp-26, 0x1.5d8fa182c34edp-33};
static const float SIN_f32[] = {-0x1.555546p-3f, 0x1.11074cp-7f, -0x1.9947cp-13f};

/* (cos(r) - 1 + z / 2) / z^2 likewise: within 2^-62.5 / z^2, 2^-32.2 / z^2 */
static const double COS_f64[] = {0x1.5555555555553p-5,   -0x1.6c16c16c160fbp-10, 0x1.a01a019e1cdf3p-16,
                                 -0x1.27e4f8fc7d8ffp-22, 0x1.1eea832be6442p-29,  -0x1.8ff62be29849bp-37};
static const float COS_f32[] = {0x1.55554ep-5f, -0x1.6c0e68p-10f, 0x1.9a699cp-16f};

/* pi/2 as a sum of three. The first two are so short that they times a number of quarter turns are exact up
 * to the limit; beyond the limit libm takes over. */
#define QUARTER_TURNS_f64 0x1.45f306dc9c883p-1 /* 2 / pi */
#define QUARTER_TURNS_f32 0x1.45f306p-1f
#define HALF_PI_1_f64 0x1.921fb5444p0
#define HALF_PI_2_f64 0x1.68c234c4cp-39
#define HALF_PI_3_f64 0x1.98a2e03707345p-77
#define HALF_PI_1_f32 0x1.921ep0f
#define HALF_PI_2_f32 0x1.b544p-16f
#define HALF_PI_3_f32 0x1.0b4612p-34f
#define TURN_LIMIT_f64 1e5
#define TURN_LIMIT_f32 400.0f

#define N(name) FG_JOIN(name, FG_T)
#define FG(name) FG_JOIN(fg_##name, FG_T)
#define FG_JOIN(name, suffix) FG_JOIN_(name, suffix)
#define FG_JOIN_(name, suffix) name##_##suffix
#define POLYNOMIAL(x, c) N(polynomial)(x, N(c), sizeof N(c) / sizeof N(c)[0])
#define FIT_f64(x, c) polynomial_f64(x, c, sizeof c / sizeof c[0])
#define LIBM_f64(name) name
#define LIBM_f32(name) name##f

#define FG_T f64
#define S double
#define V vf64
#define I vi64
#define U vu64
#define SIGN INT64_MIN
#include "elementary.h"
#undef FG_T
#undef S
#undef V
#undef I
#undef U
#undef SIGN

#define FG_T f32
#define S float
#define V vf32
#define I vi32
#define U vu32
#define SIGN INT32_MIN
#include "elementary.h"
#undef FG_T
#undef S
#undef V
#undef I
#undef U
#undef SIGN
#undef N
#undef FG

/* (2 atanh(s) / s - 2 - 2/3 z) / z^2 for z = s^2 <= 0.04: within 2^-73.9 / z^2 */
static const double LONG_LOG[] = {0x1.999999999999ap-2, 0x1.2492492492434p-2, 0x1.c71c71c72ee03p-3,
                                  0x1.745d17389b721p-3, 0x1.3b13b6635904bp-3, 0x1.110fe12d8ca64p-3,
                                  0x1.e2368dd624a05p-4, 0x1.a82abec69929ap-4, 0x1.d5c79aad6bfc4p-4};
#define TWO_THIRDS_HIGH 0x1.5555555555555p-1
#define TWO_THIRDS_LOW 0x1.5555555555555p-55

/* k log 2 + log(1 + f + f_low) as a sum, within 2^-63: log_of_parts with s and the terms up to s^3 as sums */
FG_INLINE vf64 long_log(vf64 f, vf64 f_low, vf64 k, vf64 *low) {
    vf64 under = 2 + f, under_low = ((2 - under) + f) + f_low;
    vf64 inverse = ratio_f64(splat_f64(1), under);
    vf64 s = f * inverse, s_low = inverse * (residual_f64(f, s, under) + (f_low - s * under_low));
    vf64 z_low, z = two_product_f64(s, s, &z_low);
    z_low += 2 * s * s_low;
    vf64 w_low, w = fast_two_sum_f64(splat_f64(TWO_THIRDS_HIGH), z * FIT_f64(z, LONG_LOG), &w_low);
    vf64 cube_low, cube = two_product_f64(s, z, &cube_low);
    cube_low += s * z_low + s_low * z;
    vf64 t_low, t = two_product_f64(cube, w, &t_low);
    t_low += cube * (w_low + TWO_THIRDS_LOW) + cube_low * w;
    vf64 sum_low, sum = fast_two_sum_f64(2 * s, t, &sum_low);
    vf64 high_low, high = fast_two_sum_f64(k * LN2_HIGH_f64, sum, &high_low);
    *low = high_low + (sum_low + (t_low + 2 * s_low + k * LN2_LOW_f64));
    return high;
}

/* The special cases of pow for a result found from |x| alone. For positive finite x and finite y there are none. */
FG_INLINE vf64 pow_special(vf64 x, vf64 y, vf64 result) {
    if (!any_f64(~((x > 0) & (x < (double)INFINITY) & (fg_abs_f64(y) < (double)INFINITY))))
        return result;
    vf64 size = fg_abs_f64(x), zero = splat_f64(0), infinite = splat_f64((double)INFINITY);
    vi64 whole = fg_floor_f64(y) == y, odd = whole & (fg_floor_f64(0.5 * y) != 0.5 * y);
    result =
        pick_f64((size == 0) | (size == (double)INFINITY), pick_f64((size == 0) == (y < 0), infinite, zero), result);
    result = (vf64)((vi64)result ^ ((vi64)x & odd & INT64_MIN));
    result = pick_f64((x < 0) & (size < (double)INFINITY) & ~whole, splat_f64((double)NAN), result);
    result = pick_f64((x != x) | (y != y), x + y, result);
    return pick_f64((x == 1) | (y == 0), splat_f64(1), result);
}

/* pow: exp(y log |x|), the logarithm and the product as sums; where |y| > 2^65, all but |x| = 1 over- or
 * underflows */
FG_INLINE vf64 fg_pow_f64(vf64 x, vf64 y) {
    vf64 k, f = split_f64(fg_abs_f64(x), &k) - 1;
    vf64 log_low, log_high = long_log(f, splat_f64(0), k, &log_low);
    vf64 times = at_least_f64(at_most_f64(y, 0x1p65), -0x1p65);
    vf64 low, high = two_product_f64(log_high, times, &low);
    vf64 bounded = at_least_f64(at_most_f64(high, EXP_MOST_f64), EXP_LEAST_f64);
    low = pick_f64(bounded == high, low + log_low * times, splat_f64(0));
    vf64 n, rest, one_low, r = exp_parts_f64(bounded, low, &n, &rest);
    vf64 one = fast_two_sum_f64(splat_f64(1), r, &one_low);
    return pow_special(x, y, scale_f64(one + (one_low + rest), n));
}

/* near enough for single precision: log and exp with shorter polynomials, within 2^-35 and 2^-33 */
static const double SHORT_LOG[] = {0x1.5555541faa78ap-1, 0x1.999bdf8f63b68p-2, 0x1.23e8ddfc662b1p-2,
                                   0x1.eda37c592d399p-3};
static const double SHORT_EXP[] = {0x1.000000463e87bp-1, 0x1.555555748f0e6p-3,  0x1.55546ed088a3dp-5,
                                   0x1.1110aaa13747p-7,  0x1.6da8f29dd444ap-10, 0x1.a17f6d871b739p-13};
FG_INLINE vf64 short_pow(vf64 x, vf64 y) {
    vf64 k, f = split_f64(fg_abs_f64(x), &k) - 1, s = ratio_f64(f, 2 + f), z = s * s;
    vf64 log = k * (LN2_HIGH_f64 + LN2_LOW_f64) + (2 * s + s * z * FIT_f64(z, SHORT_LOG));
    vf64 times = at_least_f64(at_most_f64(y, 0x1p65), -0x1p65);
    vf64 high = at_least_f64(at_most_f64(log * times, 2 * (double)EXP_MOST_f32), 2 * (double)EXP_LEAST_f32);
    vf64 n = nearest_f64(high * LOG2_E_f64), r = high - n * (LN2_HIGH_f64 + LN2_LOW_f64);
    return pow_special(x, y, (1 + (r + r * r * FIT_f64(r, SHORT_EXP))) * exp2i_f64(n));
}

FG_INLINE vf32 fg_pow_f32(vf32 x, vf32 y) {
    return join_halves(short_pow(lower_half(x), lower_half(y)), short_pow(upper_half(x), upper_half(y)));
}

/* logaddexp: the greater one + log(1 + e), where e = exp(the lesser - the greater) = p + p_low. The two
 * cancel where exp(x) + exp(y) is next to 1; there the error is 2^-58 absolute: 2 ulp of a result of 1/64. */
FG_INLINE vf64 fg_logaddexp_f64(vf64 x, vf64 y) {
    vi64 ordered = x >= y;
    vf64 greater = pick_f64(ordered, x, y), lesser = pick_f64(ordered, y, x);
    vf64 apart = lesser - greater, back = apart - lesser;
    vf64 apart_low = (lesser - (apart - back)) - (greater + back);
    apart_low = pick_f64(apart > EXP_LEAST_f64, apart_low, splat_f64(0));
    vf64 n, rest, p_low, r = exp_parts_f64(at_least_f64(apart, EXP_LEAST_f64), apart_low, &n, &rest);
    vf64 p = fast_two_sum_f64(splat_f64(1), r, &p_low);
    p = fast_two_sum_f64(p, p_low + rest, &p_low);
    p = scale_f64(p, n), p_low = scale_f64(p_low, n);
    vf64 u_low, u = fast_two_sum_f64(splat_f64(1), p, &u_low);
    vi64 half = u >= 1.5;
    vf64 f = pick_f64(half, 0.5 * u, u) - 1, k = pick_f64(half, splat_f64(1), splat_f64(0));
    u_low += p_low;
    f = fast_two_sum_f64(f, pick_f64(half, 0.5 * u_low, u_low), &u_low);
    vf64 log_low, log_high = long_log(f, u_low, k, &log_low);
    vf64 sum = greater + log_high, log_in_sum = sum - greater;
    vf64 sum_low = (greater - (sum - log_in_sum)) + (log_high - log_in_sum);
    vf64 result = pick_f64(fg_abs_f64(greater) < (double)INFINITY, sum + (sum_low + log_low), greater);
    return pick_f64((x != x) | (y != y), x + y, result);
}

/* near enough for single precision */
FG_INLINE vf64 short_logaddexp(vf64 x, vf64 y) {
    vi64 ordered = x >= y;
    vf64 greater = pick_f64(ordered, x, y), lesser = pick_f64(ordered, y, x);
    vf64 sum = greater + fg_softplus_f64(lesser - greater);
    sum = pick_f64(fg_abs_f64(greater) < (double)INFINITY, sum, greater);
    return pick_f64((x != x) | (y != y), x + y, sum);
}

FG_INLINE vf32 fg_logaddexp_f32(vf32 x, vf32 y) {
    return join_halves(short_logaddexp(lower_half(x), lower_half(y)), short_logaddexp(upper_half(x), upper_half(y)));
}

#elif defined(FG_T)

/* c[0] + c[1] x + ... + c[count-1] x^(count-1), the even and the odd powers apart to halve the latency */
FG_INLINE V N(polynomial)(V x, const S *c, int count) {
    V square = x * x, even = N(splat)(c[(count - 1) & ~1]), odd = N(splat)(c[(count - 2) | 1]);
    for (int i = ((count - 1) & ~1) - 2; i >= 0; i -= 2)
        even = even * square + c[i];
    for (int i = ((count - 2) | 1) - 2; i >= 1; i -= 2)
        odd = odd * square + c[i];
    return even + x * odd;
}

FG_INLINE V FG(abs)(V x) { return (V)((I)x & ~SIGN); }
FG_INLINE V FG(copysign)(V x, V sign) { return (V)(((I)x & ~SIGN) | ((I)sign & SIGN)); }

/* (ah + al) / b within 0.6 ulp: a quotient and one correction from its remainder */
FG_INLINE V N(quotient_of_sum)(V ah, V al, V b) {
    V inverse = N(rough_reciprocal)(b), quotient = ah * inverse;
    return quotient + inverse * (N(residual)(ah, quotient, b) + al);
}

/* (ah + al) / (bh + bl) likewise */
FG_INLINE V N(quotient_of_sums)(V ah, V al, V bh, V bl) {
    V inverse = N(rough_reciprocal)(bh), quotient = ah * inverse;
    return quotient + inverse * (N(residual)(ah, quotient, bh) + (al - quotient * bl));
}

/* exp(x + low) = 2^n (1 + r + rest), n an integer and |r| <= log(2) / 2 (Cody & Waite); |rest| < |r| / 4 */
FG_INLINE V N(exp_parts)(V x, V low, V *n, V *rest) {
    *n = N(nearest)(x * N(LOG2_E));
    V high = x - *n * N(LN2_HIGH); /* exact */
    V less = *n * N(LN2_LOW) - low;
    V r = high - less;
    *rest = r * r * POLYNOMIAL(r, EXP) + ((high - r) - less);
    return r;
}

/* exp: 2^n exp(r), the polynomial in r not needing what r lost to rounding */
FG_INLINE V FG(exp)(V x) {
    x = N(at_least)(N(at_most)(x, N(EXP_MOST)), N(EXP_LEAST));
    V n = N(nearest)(x * N(LOG2_E));
    V r = (x - n * N(LN2_HIGH)) - n * N(LN2_LOW);
    return N(scale)(1 + (r + r * r * POLYNOMIAL(r, EXP)), n);
}

/* exp2: the same with r = x - n, which is exact */
FG_INLINE V FG(exp2)(V x) {
    x = N(at_least)(N(at_most)(x, N(EXP2_MOST)), N(EXP2_LEAST));
    V n = N(nearest)(x), r = x - n;
    return N(scale)(1 + r * POLYNOMIAL(r, EXP2), n);
}

/* expm1: 2^n ((1 - 2^-n) + r + rest), the first sum kept exact */
FG_INLINE V FG(expm1)(V x) {
    V n, rest, low, high = N(at_least)(N(at_most)(x, N(EXP_MOST)), -N(EXP_NOTHING));
    V r = N(exp_parts)(high, N(splat)(0), &n, &rest);
    high = N(fast_two_sum)(1 - N(exp2i)(-N(at_most)(n, N(EXPONENT_PLENTY))), r, &low);
    V result = N(scale)(high + (low + rest), n);
    return (V)((I)result | ((I)x & SIGN)); /* -0 */
}

/* tanh |x| = e / (e + 2) with e = exp(2|x|) - 1, both times 2^-n, e as a sum */
FG_INLINE V FG(tanh)(V x) {
    V n, rest, sum_low, low;
    V r = N(exp_parts)(N(at_most)(2 * FG(abs)(x), N(EXP_NOTHING)), N(splat)(0), &n, &rest), one = N(exp2i)(-n);
    V sum = N(fast_two_sum)(1 - one, r, &sum_low), e = N(fast_two_sum)(sum, sum_low + rest, &low);
    V under_low, under = N(fast_two_sum)(2 * one, e, &under_low); /* exact for e > 2 one too, as that is 2^k */
    return FG(copysign)(N(quotient_of_sums)(e, low, under, under_low + low), x);
}

/* sigmoid: 1 / (1 + e) for x >= 0, else e / (1 + e), with e = exp(-|x|) = 2^n (p + p_low); the 2^n of the
 * numerator is put on last, so that a subnormal result is rounded once */
FG_INLINE V FG(sigmoid)(V x) {
    V n, rest, p_low;
    V r = N(exp_parts)(N(at_least)(-FG(abs)(x), N(EXP_LEAST)), N(splat)(0), &n, &rest);
    V p = N(fast_two_sum)(N(splat)(1), r, &p_low);
    p = N(fast_two_sum)(p, p_low + rest, &p_low);
    V under = 1 + N(exp2i)(N(at_least)(n, -N(EXPONENT_PLENTY))) * p;
    I negative = x < 0;
    V over = N(pick)(negative, p, N(splat)(1)), over_low = N(pick)(negative, p_low, N(splat)(0));
    return N(scale)(N(quotient_of_sum)(over, over_low, under), N(pick)(negative, n, N(splat)(0)));
}

/* k log 2 + log(1 + f + low), for -1/4 <= f < 1/2: with s = f / (2 + f) the latter is 2 atanh(s), written so
 * that the leading f is exact (the form of fdlibm) */
FG_INLINE V N(log_of_parts)(V f, V low, V k) {
    V s = N(ratio)(f, 2 + f), z = s * s, half = (S)0.5 * f * f;
    V rest = s * (half + z * POLYNOMIAL(z, LOG)) + (k * N(LN2_LOW) + low);
    return k * N(LN2_HIGH) - ((half - rest) - f);
}

FG_INLINE V FG(log)(V x) {
    V k, f = N(split)(x, &k) - 1;
    return N(log_special)(N(log_of_parts)(f, N(splat)(0), k), x);
}

/* k times a constant + log(m) times another one, each constant a sum: logarithms to other bases. The greatest terms
 * are added last, so that an exact power of the base has an exact logarithm. */
FG_INLINE V N(log_to_base)(V x, S power, S power_low, S times, S times_low) {
    V k, f = N(split)(x, &k) - 1, s = N(ratio)(f, 2 + f), z = s * s, half = (S)0.5 * f * f;
    V rest = s * (half + z * POLYNOMIAL(z, LOG)) - half;
    V low, product = N(two_product)(f, N(splat)(times), &low);
    low += rest * times + (f * times_low + k * power_low);
    V sum_low, sum = N(fast_two_sum)(k * power, product, &sum_low);
    return N(log_special)(sum + (sum_low + low), x);
}

FG_INLINE V FG(log2)(V x) { return N(log_to_base)(x, 1, 0, N(LOG2_E), N(LOG2_E_LOW)); }
FG_INLINE V FG(log10)(V x) { return N(log_to_base)(x, N(LOG10_2_HIGH), N(LOG10_2_LOW), N(LOG10_E), N(LOG10_E_LOW)); }

/* log(u + low), where u is normal and low what rounding it lost; f takes up as much of low as it can */
FG_INLINE V N(log_of_sum)(V u, V low) {
    V k, f = N(split)(u, &k) - 1;
    low *= N(exp2i)(-N(at_most)(k, N(EXPONENT_PLENTY)));
    V sum = f + low;
    return N(log_of_parts)(sum, (f - sum) + low, k);
}

/* 1 + x = 2^k (1 + f + low); from the 53rd (24th) power on there is no low */
FG_INLINE V FG(log1p)(V x) {
    V u = 1 + x, k, f = N(split)(u, &k) - 1, power = N(exp2i)(-N(at_most)(k, N(EXPONENT_PLENTY)));
    V low = N(pick)(k < 54, x * power + ((power - 1) - f), (V){0}), sum = N(fast_two_sum)(f, low, &low);
    return (V)((I)N(log_special)(N(log_of_parts)(sum, low, k), u) | ((I)x & SIGN)); /* -0 */
}

/* log(1 + exp(x)), the larger of x and 0 above: no cancellation, so unlike logaddexp it needs no longer arithmetic; and
 * exp(-|x|) <= 1, so a polynomial does without the division of a logarithm */
FG_INLINE V FG(softplus)(V x) {
    V power = FG(exp)(-FG(abs)(x)), apart = power - (S)0.5;
    V rest = power * power * (N(LOG1P_AT_HALF) + apart * POLYNOMIAL(apart, LOG1P));
    V low, high = N(fast_two_sum)(power, rest, &low);
    return (N(at_least)(x, 0) + low) + high;
}

/* the lanes of the mask replaced by libm's values */
static __attribute__((noinline, cold, unused)) void N(by_libm)(V *result, V x, I mask, S (*function)(S)) {
    for (size_t i = 0; i < sizeof x / sizeof x[0]; i++)
        if (mask[i])
            (*result)[i] = function(x[i]);
}

/* |x| = r + low + n pi/2, |r| <= pi/4 (Cody & Waite in three steps, the first two products exact); the low bits of
 * *number are n + quarters */
FG_INLINE V N(turn_parts)(V x, int quarters, I *number, V *low) {
    V size = FG(abs)(x), sum = size * N(QUARTER_TURNS) + (N(TO_INTEGER) + (S)quarters);
    V n = sum - (N(TO_INTEGER) + (S)quarters), high = size - n * N(HALF_PI_1), r = high - n * N(HALF_PI_2);
    *number = (I)sum;
    *low = ((high - r) - n * N(HALF_PI_2)) - n * N(HALF_PI_3);
    return r;
}

/* sin(|x| + quarters pi/2): of the sine and the cosine of r the one that the quadrant asks for, the lowest
 * bit of its number choosing the function and the next one the sign */
FG_INLINE V N(turned_sin)(V x, int quarters) {
    I quadrant;
    V low, r = N(turn_parts)(x, quarters, &quadrant, &low), z = r * r;
    V sin = r + (r * z * POLYNOMIAL(z, SIN) + low);
    V cos = 1 - (z * ((S)0.5 - z * POLYNOMIAL(z, COS)) + r * low);
    return (V)((I)N(pick)((quadrant & 1) != 0, cos, sin) ^ ((I)((U)quadrant << (8 * sizeof(S) - 2)) & SIGN));
}

FG_INLINE V FG(sin)(V x) {
    V result = (V)((I)N(turned_sin)(x, 0) ^ ((I)x & SIGN));
    I beyond = ~(FG(abs)(x) <= N(TURN_LIMIT));
    if (__builtin_expect(N(any)(beyond), 0))
        N(by_libm)(&result, x, beyond, N(LIBM)(sin));
    return result;
}

FG_INLINE V FG(cos)(V x) {
    V result = N(turned_sin)(x, 1);
    I beyond = ~(FG(abs)(x) <= N(TURN_LIMIT));
    if (__builtin_expect(N(any)(beyond), 0))
        N(by_libm)(&result, x, beyond, N(LIBM)(cos));
    return result;
}

/* cbrt: of c = |x| / 8^q in [3/8, 3), t near 1 / cbrt(c) by a polynomial and a step of third order; then y = c t^2 and
 * one step for y, from the exact c - y^3 */
FG_INLINE V FG(cbrt)(V x) {
    const V one = N(splat)(1);
    V k, m = N(split)(FG(abs)(x), &k), q = N(nearest)(k * (S)(1.0 / 3)), third = k - 3 * q;
    I above = third > 0, below = third < 0;
    V c = m * N(pick)(above, 2 * one, N(pick)(below, (S)0.5 * one, one));
    V t = N(pick)(above, N(splat)(1 / N(CBRT_2)), N(pick)(below, N(splat)(N(CBRT_2)), one)) * POLYNOMIAL(m, CBRT);
    V error = 1 - c * t * t * t;
    t += t * error * ((S)(1.0 / 3) + error * (S)(2.0 / 9));
    V square = t * t, y = c * square, low, y_square = N(two_product)(y, y, &low);
    y += (N(residual)(c, y_square, y) - low * y) * square * (S)(1.0 / 3);
    y = FG(copysign)(y * N(exp2i)(q), x);
    return N(pick)((x != 0) & (FG(abs)(x) < (S)INFINITY), y, x);
}

/* tan |x| with |x| = r + n pi/2: sin(r) / cos(r) or for odd n -cos(r) / sin(r), both as sums */
FG_INLINE V FG(tan)(V x) {
    I n;
    V low, r = N(turn_parts)(x, 0, &n, &low), z = r * r;
    V sin_low, sin = N(fast_two_sum)(r, r * z * POLYNOMIAL(z, SIN) + low, &sin_low);
    V cos_low, cos = N(fast_two_sum)(N(splat)(1), (S)-0.5 * z, &cos_low);
    cos = N(fast_two_sum)(cos, cos_low + (z * z * POLYNOMIAL(z, COS) - r * low), &cos_low);
    I odd = (n & 1) != 0;
    V over = N(pick)(odd, cos, sin), over_low = N(pick)(odd, cos_low, sin_low);
    V under = N(pick)(odd, sin, cos), under_low = N(pick)(odd, sin_low, cos_low);
    V result = N(quotient_of_sums)(over, over_low, under, under_low);
    result = (V)((I)result ^ ((odd ^ (I)x) & SIGN));
    I beyond = ~(FG(abs)(x) <= N(TURN_LIMIT));
    if (__builtin_expect(N(any)(beyond), 0))
        N(by_libm)(&result, x, beyond, N(LIBM)(tan));
    return result;
}

#include "inverse.h"

#include "division.h"

#endif
