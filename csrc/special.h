/* Special functions on whole vectors, in the manner of elementary.h: the error function and its relatives, the
 * logarithm of the gamma function, its derivatives digamma and trigamma, Hurwitz's zeta function.
 *
 * erf, erfc and erfcx are within 2 ulp everywhere, and so are gammaln, digamma and trigamma for x > 0, next to the
 * zeros of the first two as well. For x < 0 these three go by reflection: within 8 eps max(|f(x)|, |f(-x)|, 1), which
 * next to a zero of f is not relative to f. zeta takes s > 1 and q > 0, else it is NaN; it is within (4 + s) eps.
 * Apart from the error functions single precision is computed in double. */
#ifndef FG_SPECIAL_H
#define FG_SPECIAL_H

#include "elementary.h"

/* (erf(x) / x - 1) as a polynomial in x^2 <= 1: within 2^-57.0, 2^-29.7 */
static const double ERF_f64[] = {0x1.06eba8214db68p-3,   -0x1.812746b0379c2p-2,  0x1.ce2f21a041018p-4,
                                 -0x1.b82ce312062bcp-6,  0x1.565bccfa9a825p-8,   -0x1.c02db072f3fe0p-11,
                                 0x1.f9a2bf73f0c68p-14,  -0x1.f4ca94990cb86p-17, 0x1.b9827b1885f9bp-20,
                                 -0x1.5c16e30fb0d45p-23, 0x1.d784936618cc2p-27,  -0x1.acdff90b8ebd8p-31};
static const float ERF_f32[] = {0x1.06eba8p-3f, -0x1.81273ep-2f,  0x1.ce2d20p-4f, -0x1.b7fbb6p-6f,
                                0x1.5419fap-8f, -0x1.a485f8p-11f, 0x1.4ae4c6p-14f};

/* (1 + 2x) exp(x^2) erfc(x), for all x >= 0, as a polynomial in (x - 3) / (x + 3) (after Shepherd & Laframboise):
 * within 2^-57.0, 2^-28.5; the constant term apart */
#define ERFCX_FIRST_f64 0x1.40c522d7e4987p+0
#define ERFCX_FIRST_f32 0x1.40c522p+0f
static const double ERFCX_f64[] = {
    -0x1.15c084bb9e8f3p-3,  -0x1.85a15c58aa4c2p-5,  0x1.098366a5b46a3p-3,  -0x1.e88b803a4ad93p-4,
    0x1.17ca2877f18f9p-4,   -0x1.8574c40b50809p-6,  0x1.4b884e432d8dep-9,  0x1.ef1bdcfe39203p-10,
    -0x1.98db50faf2287p-11, -0x1.b9125d8eb2146p-14, 0x1.065a367fa3e4ep-13, 0x1.4c211e6b2d751p-18,
    -0x1.513b7e1f2b6ffp-16, -0x1.883fd797d0f32p-21, 0x1.d2124e52b1437p-19, 0x1.7da12308344dap-22,
    -0x1.4b1dfb09c121fp-21, -0x1.2ce080a1fa16ep-23, 0x1.b5db2c09f3b0ap-24, 0x1.5e8ea81c155f2p-25,
    -0x1.cafb84d555733p-27, -0x1.16ecdb1147725p-27, 0x1.1150c892dee1dp-30, 0x1.c407eb4470c1cp-31};
static const float ERFCX_f32[] = {-0x1.15c080p-3f,  -0x1.85a15ap-5f,  0x1.0982dep-3f,  -0x1.e88b8cp-4f,
                                  0x1.17d2fap-4f,   -0x1.8573c8p-6f,  0x1.479a52p-9f,  0x1.eeee36p-10f,
                                  -0x1.7d0646p-11f, -0x1.b4605ep-14f, 0x1.44b52ap-14f, 0x1.012858p-18f};

/* below the first, erfc is 1 - erf(x); beyond the second it is 0; beyond the others erfcx(-x) is infinite,
 * erfcx(x) is 1 / (sqrt(pi) x) */
#define ERFC_CENTRE 0.46875f
#define ERFC_END_f64 28.0
#define ERFC_END_f32 11.0f
#define ERFCX_END_f64 27.0
#define ERFCX_END_f32 9.5f
#define ERFCX_FAR_f64 1e9
#define ERFCX_FAR_f32 1e5f
#define INVERSE_ROOT_PI_f64 0x1.20dd750429b6dp-1
#define INVERSE_ROOT_PI_f32 0x1.20dd76p-1f

#define N(name) FG_JOIN(name, FG_T)
#define FG(name) FG_JOIN(fg_##name, FG_T)

#define FG_T f64
#define S double
#define V vf64
#define I vi64
#include "special.h"
#undef FG_T
#undef S
#undef V
#undef I

#define FG_T f32
#define S float
#define V vf32
#define I vi32
#include "special.h"
#undef FG_T
#undef S
#undef V
#undef I
#undef N
#undef FG

/* (log gamma(2 + s) / s - (1 - gamma)) / s for |s| <= 1/2, with Euler's gamma: within 2^-55.8 */
static const double LGAMMA[] = {0x1.4a34cc4a60fa6p-2,   -0x1.13e001a5575e1p-4,  0x1.51322ac7d8219p-6,
                                -0x1.e404fc21ab173p-8,  0x1.7add6eae2b06ep-9,   -0x1.38ac5c13d7c8dp-10,
                                0x1.0b36af4252973p-11,  -0x1.d3fd5f4b2f785p-13, 0x1.a127d8ed20d4dp-14,
                                -0x1.78da791f47042p-15, 0x1.58072b6fdfacep-16,  -0x1.3d307bd03376bp-17,
                                0x1.263d806c55745p-18,  -0x1.0a149690c579ap-19, 0x1.ee04ef29e9e97p-21,
                                -0x1.339e703c55a50p-21, 0x1.2b6b7858953e2p-22};

#define ONE_LESS_GAMMA_HIGH 0x1.b0ee6072093cep-2
#define ONE_LESS_GAMMA_LOW 0x1.6cb90701fbfabp-58

/* Stirling: (log gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2) x as a polynomial in 1 / x^2, x >= 7.5: within
 * 2^-53.6 */
static const double STIRLING[] = {0x1.5555555555550p-4,   -0x1.6c16c16b67c08p-9, 0x1.a019fa852b7a8p-11,
                                  -0x1.380cba24dbc0dp-11, 0x1.b65eec52d575ap-11, -0x1.a91e7364e2572p-10};
#define STIRLING_LEAST 7.5
#define HALF_LOG_2_PI 0x1.d67f1c864beb5p-1

/* digamma(3/2 + u) / (1/2 + u - its zero) for |u| <= 1/2: within 2^-56.0; the constant term apart */
#define DIGAMMA_FIRST 0x1.e6f0cbb873617p-1
static const double DIGAMMA[] = {-0x1.b1cb63005ee9ap-2,  0x1.eca189b8e6d96p-3,   -0x1.2feeeb98a7488p-3,
                                 0x1.8512e5905dd5bp-4,   -0x1.fb44202a81b8ap-5,  0x1.4de9aa05871acp-5,
                                 -0x1.b9f8b0feac694p-6,  0x1.256475f531e2bp-6,   -0x1.863568f150e70p-7,
                                 0x1.03c00630bd49ep-7,   -0x1.5a062339740eep-8,  0x1.cd3e850d56ca2p-9,
                                 -0x1.33761debb3c87p-9,  0x1.980cde997464fp-10,  -0x1.0f5cc911cf226p-10,
                                 0x1.7b4f2605bf099p-11,  -0x1.00ee666a6d7cdp-11, 0x1.dbf4cca350304p-13,
                                 -0x1.205e431978877p-13, 0x1.1088c10b29c85p-12,  -0x1.816b5e233b3a8p-13};
#define DIGAMMA_ZERO_HIGH 0x1.d8b618d5af8fep-2 /* the zero is 1 more */
#define DIGAMMA_ZERO_LOW -0x1.1e563779a1f5bp-56

/* (digamma(x) - log x + 1 / (2x)) x^2 as a polynomial in 1 / x^2, x >= 2: within 2^-56.3 */
static const double DIGAMMA_FAR[] = {-0x1.5555555555555p-4,  0x1.111111110c7fdp-7,   -0x1.041040f30431dp-8,
                                     0x1.111104615a14fp-8,   -0x1.f0771601b8466p-8,  0x1.594662a14cb70p-6,
                                     -0x1.5205fc5245b55p-4,  0x1.ac24033a8707ep-2,   -0x1.39b946abadc1bp+1,
                                     0x1.d56884d1a8f38p+3,   -0x1.42b02ec503ff6p+6,  0x1.7a7bf5c421b66p+8,
                                     -0x1.6777922193ebfp+10, 0x1.08b938c3f91b4p+12,  -0x1.207086abb4a3cp+13,
                                     0x1.b349c2ad9dc99p+13,  -0x1.94c28d84f8124p+13, 0x1.5ca0f413266a7p+12};

/* trigamma(3/2 + u) for |u| <= 1/2: within 2^-56.3 */
static const double TRIGAMMA[] = {
    0x1.de9e64df22ef3p-1,  -0x1.a85808a40aba1p-1,  0x1.68ba30a4209cdp-1,  -0x1.287825428e9bcp-1, 0x1.da2d963cf4c55p-2,
    -0x1.72d7487c10b89p-2, 0x1.1cc1377e71805p-2,   -0x1.aeb6f163c6733p-3, 0x1.41a51b1324673p-3,  -0x1.db4d81eb09680p-4,
    0x1.5c0863179cfa1p-4,  -0x1.f9c767c9445c1p-5,  0x1.6d1299f21c0b9p-5,  -0x1.0602605f470c9p-5, 0x1.7691be46c9047p-6,
    -0x1.0a7b0dcfc9b04p-6, 0x1.7528252ed3833p-7,   -0x1.060c5d541b79ep-7, 0x1.95194e2ef517bp-8,  -0x1.23d498facd3acp-8,
    0x1.af65c2c98353dp-10, -0x1.f9e3382462428p-11, 0x1.7e6bfd9ba01a0p-9,  -0x1.1ad928bd17991p-9};

/* (trigamma(x) - 1 / x - 1 / (2 x^2)) x^3 as a polynomial in 1 / x^2, x >= 2: within 2^-55.2 */
static const double TRIGAMMA_FAR[] = {
    0x1.5555555555554p-3,  -0x1.111111110e016p-5,  0x1.86186177f20cep-6,  -0x1.11110a8ad504dp-5,
    0x1.364bf7fbb789ap-4,  -0x1.0310c00f01d4fp-2,  0x1.290745144079fp+0,  -0x1.b5fb8a5c0cf6fp+2,
    0x1.7c4c869f54729p+5,  -0x1.5d1772ec91c1bp+8,  0x1.329fd2a84f9f3p+11, -0x1.df0633541a164p+13,
    0x1.3cdbc92f81e1fp+16, -0x1.56ed5f8508523p+18, 0x1.26eae69d221efp+20, -0x1.86c391da38938p+21,
    0x1.7ef2edac0a273p+22, -0x1.04aa514396d45p+23, 0x1.b74179aa675f1p+22, -0x1.588f045e410f8p+21};

#define PI 0x1.921fb54442d18p1

/* x less the nearest integer, exactly: in [-1/2, 1/2] */
FG_INLINE vf64 from_integer(vf64 x) { return pick_f64(fg_abs_f64(x) < 0x1p51, x - nearest_f64(x), splat_f64(0)); }

/* log gamma(x) for x > 0 as a sum. From 7.5 on by Stirling's formula; below, gamma(x) = gamma(2 + s) times or divided
 * by up to five factors, with x an integer + s: one logarithm serves both. */
FG_INLINE vf64 long_gammaln(vf64 x, vf64 *low) {
    vi64 far = x >= STIRLING_LEAST;
    vf64 whole = fg_floor_f64(at_most_f64(x, 8) + 0.5), s = x - whole;
    vf64 next = 1 + x, product_low = splat_f64(0), product = pick_f64(whole < 2, x, splat_f64(1));
    vi64 first = whole < 1;
    vf64 both = two_product_f64(x, next, &product_low);
    product_low = pick_f64(first, product_low + x * (x - (next - 1)), splat_f64(0));
    product = pick_f64(first, both, product);
    for (int j = 1; j <= 5; j++)
        product *= pick_f64(whole >= (double)(j + 2), x - (double)j, splat_f64(1));
    product = pick_f64(far, x, product);

    vf64 k, f = split_f64(product, &k) - 1;
    product_low *= exp2i_f64(-at_most_f64(at_least_f64(k, -1000), 1000));
    f = fast_two_sum_f64(f, product_low, &product_low);
    vf64 log_low, log_high = long_log(f, product_low, k, &log_low);

    vi64 divides = whole < 2;
    vf64 near_log = pick_f64(divides, -log_high, log_high);
    vf64 factor_low, factor = fast_two_sum_f64(splat_f64(ONE_LESS_GAMMA_HIGH), s * FIT_f64(s, LGAMMA), &factor_low);
    vf64 two_low, two = two_product_f64(s, factor, &two_low); /* log gamma(2 + s) */
    two_low += s * (factor_low + ONE_LESS_GAMMA_LOW);
    vf64 near_low, near = fast_two_sum_f64(near_log, two, &near_low);
    near_low += two_low;
    near_low += pick_f64(divides, -log_low, log_low);

    vf64 inverse = 1 / x, power_low, power = two_product_f64(x - 0.5, log_high, &power_low);
    vf64 sum_low, sum = fast_two_sum_f64(power, -x, &sum_low);
    sum_low += power_low + (x - 0.5) * log_low;
    sum_low += HALF_LOG_2_PI + inverse * FIT_f64(inverse * inverse, STIRLING);
    sum_low = pick_f64(power < (double)INFINITY, sum_low, splat_f64(0));
    sum = pick_f64(power < (double)INFINITY, sum, power);
    *low = pick_f64(far, sum_low, near_low);
    return pick_f64(far, sum, near);
}

/* log |gamma(x)|; for x < 0 by gamma(x) gamma(-x) = -pi / (x sin(pi x)) */
FG_INLINE vf64 fg_gammaln_f64(vf64 x) {
    vf64 size = fg_abs_f64(x), low, high = long_gammaln(size, &low), result = high + low;
    vi64 reflected = x < -0x1p-60; /* next to 0, gamma(x) is 1 / x */
    if (__builtin_expect(any_f64(reflected), 0)) {
        vf64 r = from_integer(size), k, f = split_f64(size * fg_abs_f64(fg_sin_f64(PI * r)) * (1 / PI), &k) - 1;
        vf64 log_low, log_high = long_log(f, splat_f64(0), k, &log_low);
        vf64 other = -((high + log_high) + (low + log_low));
        result = pick_f64(reflected, pick_f64(r == 0, splat_f64((double)INFINITY), other), result);
    }
    result = pick_f64((size == 0) | (size == (double)INFINITY), splat_f64((double)INFINITY), result);
    return pick_f64(x != x, x, result);
}

/* digamma; for x < 0 by digamma(x) = digamma(1 - x) - pi / tan(pi x) */
FG_INLINE vf64 fg_digamma_f64(vf64 x) {
    vf64 size = fg_abs_f64(x), bounded = at_most_f64(size, 0x1p500);
    vi64 first = size < 1;
    vf64 s = pick_f64(first, size, size - 1);
    vf64 u = s - 0.5, factor_low,
         factor = fast_two_sum_f64(splat_f64(DIGAMMA_FIRST), u * FIT_f64(u, DIGAMMA), &factor_low);
    vf64 distance = (s - DIGAMMA_ZERO_HIGH) - DIGAMMA_ZERO_LOW, near = distance * factor + distance * factor_low;

    vf64 k, f = split_f64(bounded, &k) - 1, log_low, log_high = long_log(f, splat_f64(0), k, &log_low);
    vf64 half = 0.5 / bounded, square = 4 * half * half, far_low, far = fast_two_sum_f64(log_high, -half, &far_low);
    far += square * FIT_f64(square, DIGAMMA_FAR) + (far_low + log_low);
    far = pick_f64(size == bounded, far, fg_log_f64(size));

    vf64 inverse = 1 / size, inverse_low = inverse * residual_f64(splat_f64(1), inverse, size);
    inverse_low = pick_f64(size > 0.125, inverse_low, splat_f64(0));
    vf64 whole = pick_f64(size < 2, near, far); /* digamma(1 + size) for a size < 1 */
    vf64 result = pick_f64(first, (near - inverse) - inverse_low, whole);
    if (__builtin_expect(any_f64(x < 0), 0)) {
        vf64 r = from_integer(size), other = pick_f64(first, near, whole + inverse) + PI / fg_tan_f64(PI * r);
        result = pick_f64(x < 0, pick_f64((r == 0) & ~first, splat_f64((double)NAN), other), result);
    }
    result = pick_f64(size == 0, -1 / x, result);
    return pick_f64(x != x, x, result);
}

/* trigamma, the derivative of digamma; for x < 0 by trigamma(x) = (pi / sin(pi x))^2 - trigamma(1 - x) */
FG_INLINE vf64 fg_trigamma_f64(vf64 x) {
    vf64 size = fg_abs_f64(x), inverse = 1 / size, square = inverse * inverse;
    vi64 first = size < 1;
    vf64 near = FIT_f64(pick_f64(first, size, size - 1) - 0.5, TRIGAMMA);
    vf64 far = inverse + square * (0.5 + inverse * FIT_f64(square, TRIGAMMA_FAR));
    vf64 whole = pick_f64(size < 2, near, far);                                /* trigamma(1 + size) for a size < 1 */
    vf64 square_low, product = two_product_f64(inverse, inverse, &square_low); /* what rounding took from 1 / size^2 */
    square_low += 2 * product * fused_f64(-size, inverse, splat_f64(1));
    square_low = pick_f64(product < (double)INFINITY, square_low, splat_f64(0));
    vf64 result = pick_f64(first, (whole + square_low) + square, whole);
    if (__builtin_expect(any_f64(x < 0), 0)) {
        vf64 ratio = PI / fg_sin_f64(PI * from_integer(size));
        result = pick_f64(x < 0, ratio * ratio - pick_f64(first, whole, whole - square), result);
    }
    return pick_f64(x != x, x, result);
}

/* Hurwitz's zeta function, the sum of (q + k)^-s over k = 0, 1, ...: ten terms, and the rest by Euler and Maclaurin's
 * series, written nested; ZETA has the quotients of neighbours among B(2j) / (2j)!. Where s > 4 (q + 10) the rest is
 * next to nothing, and a smaller s does as well. */
static const double ZETA[] = {-0x1.1111111111111p-6, -0x1.8618618618618p-6, -0x1.999999999999ap-6,
                              -0x1.9dbcc48676f31p-6, -0x1.9eb384d1e6b80p-6, -0x1.9eef541931460p-6,
                              -0x1.9efe1405647a7p-6, -0x1.9f01be4fd46f6p-6, -0x1.9f02a8419f5aep-6,
                              -0x1.9f02e2ac422e9p-6, -0x1.9f02f144f10d4p-6};
FG_INLINE vf64 fg_zeta_f64(vf64 s, vf64 q) {
    vf64 end = q + 10, bounded = at_most_f64(end, 0x1p400), order = pick_f64(s > 4 * bounded, 4 * bounded, s);
    vf64 square = 1 / (bounded * bounded), series = splat_f64(1);
    for (int j = 10; j >= 0; j--)
        series = 1 + series * ZETA[j] * square * ((order + (double)(2 * j + 1)) * (order + (double)(2 * j + 2)));
    vf64 sum = fg_pow_f64(end, 1 - s) * (1 / (s - 1) + (0.5 / bounded + order * square * series * (1.0 / 12)));
    for (int k = 9; k >= 0; k--)
        sum += fg_pow_f64(q + (double)k, -s);
    sum = pick_f64((s < 1) | (q < 0), splat_f64((double)NAN), sum);
    vi64 pole = (s == 1) | ((s > 1) & (q <= 0) & (fg_floor_f64(q) == q));
    sum = pick_f64(pole, splat_f64((double)INFINITY), sum);
    return pick_f64((s != s) | (q != q), s + q, sum);
}

FG_INLINE vf32 fg_gammaln_f32(vf32 x) {
    return join_halves(fg_gammaln_f64(lower_half(x)), fg_gammaln_f64(upper_half(x)));
}
FG_INLINE vf32 fg_digamma_f32(vf32 x) {
    return join_halves(fg_digamma_f64(lower_half(x)), fg_digamma_f64(upper_half(x)));
}
FG_INLINE vf32 fg_trigamma_f32(vf32 x) {
    return join_halves(fg_trigamma_f64(lower_half(x)), fg_trigamma_f64(upper_half(x)));
}
FG_INLINE vf32 fg_zeta_f32(vf32 s, vf32 q) {
    return join_halves(fg_zeta_f64(lower_half(s), lower_half(q)), fg_zeta_f64(upper_half(s), upper_half(q)));
}

#elif defined(FG_T)

/* erf(x) - x for |x| <= 1 */
FG_INLINE V N(erf_rest)(V x) { return x * POLYNOMIAL(x * x, ERF); }

/* twice (1/2 + x) erfcx(x) for x >= 0 as a sum; the polynomial's argument takes up what rounding it lost */
FG_INLINE V N(erfcx_over)(V x, V *low) {
    V over = x - 3, under = x + 3, inverse = 1 / under, t = over * inverse;
    V over_low = x - (over + 3), under_low = x - (under - 3);
    t += inverse * (N(residual)(over, t, under) + (over_low - t * under_low));
    return N(fast_two_sum)(N(splat)(N(ERFCX_FIRST)), t * POLYNOMIAL(t, ERFCX), low);
}

/* erfcx(x), to be multiplied by high + low = 2^-n exp(-x^2) for erfc, for 0 <= x < ERFCX_FAR */
FG_INLINE V N(erfcx_times)(V x, V high, V low) {
    V p_low, p = N(erfcx_over)(x, &p_low), over_low, over = N(two_product)(high, p, &over_low);
    over_low += high * p_low + low * p;
    V under = 1 + 2 * x, one_in_under = under - 2 * x;
    V under_low = (1 - one_in_under) + (2 * x - (under - one_in_under));
    return N(quotient_of_sums)(over, over_low, under, under_low);
}

/* exp(x^2) or, for sign = -1, exp(-x^2), as 2^n (high + *low) */
FG_INLINE V N(exp_of_square)(V x, S sign, V *n, V *low) {
    V square_low, square = N(two_product)(x, x, &square_low), rest;
    V r = N(exp_parts)(sign * square, sign * square_low, n, &rest), one_low;
    V one = N(fast_two_sum)(N(splat)(1), r, &one_low);
    return N(fast_two_sum)(one, one_low + rest, low);
}

/* erfc(x) for x >= 0 */
FG_INLINE V N(erfc_tail)(V x) {
    x = N(at_most)(x, N(ERFC_END));
    V n, low, high = N(exp_of_square)(x, -1, &n, &low);
    return N(scale)(N(erfcx_times)(x, high, low), n);
}

FG_INLINE V FG(erf)(V x) {
    V size = FG(abs)(x), far = FG(copysign)(1 - N(erfc_tail)(size), x);
    return N(pick)(size > 1, far, x + N(erf_rest)(x));
}

FG_INLINE V FG(erfc)(V x) {
    V tail = N(erfc_tail)(FG(abs)(x)), near = (1 - x) - N(erf_rest)(x);
    return N(pick)(FG(abs)(x) < ERFC_CENTRE, near, N(pick)(x < 0, 2 - tail, tail));
}

/* erfcx(x) = exp(x^2) erfc(x); for x < 0 it is 2 exp(x^2) - erfcx(-x) */
FG_INLINE V FG(erfcx)(V x) {
    V size = FG(abs)(x), result = N(erfcx_times)(N(at_most)(size, N(ERFCX_FAR)), N(splat)(1), N(splat)(0));
    result = N(pick)(size > N(ERFCX_FAR), N(INVERSE_ROOT_PI) / x, result);
    V n, low, high = N(exp_of_square)(N(at_most)(size, N(ERFCX_END)), 1, &n, &low);
    V negative = N(scale)(2 * high, n) - (result - N(scale)(2 * low, n));
    V erfc = 1 - x, rest = (((1 - erfc) - x) - N(erf_rest)(x));
    V near_low, near = N(fast_two_sum)(erfc, rest, &near_low);
    near = N(scale)(near * high + (near * low + near_low * high), n);
    return N(pick)(size < ERFC_CENTRE, near, N(pick)(x < 0, negative, result));
}

#endif
