/* Template of elementary.h, per dtype: the inverse circular functions, the hyperbolic ones and their inverses, and
 * hypot. Accuracy and special cases are as said there. */
#ifndef FG_INVERSE_H
#define FG_INVERSE_H

/* (atan(t) / t - 1) / z as a polynomial in z - 1/2, z = t^2 <= 1: within 2^-57.747 / z, 2^-28.695 / z */
static const double ATAN_f64[] = {
    -0x1.09615e90afcd2p-2,  0x1.c5e5c41d92f46p-4,  -0x1.c10b0d776d13dp-5,  0x1.dd5caa4ce682ap-6,
    -0x1.08fa5f9211328p-6,  0x1.2ee0b60423b4ep-7,  -0x1.618d9a07cc85dp-8,  0x1.a3527ef169d7bp-9,
    -0x1.f79026aa36c5dp-10, 0x1.316a9c1957db6p-10, -0x1.758f094ef76b8p-11, 0x1.cc018452a11cp-12,
    -0x1.1cc1027cc4a69p-12, 0x1.636e43680b47cp-13, -0x1.c1605c158576bp-14, 0x1.130d69b29c81dp-14,
    -0x1.34e0d0cae4fd5p-15, 0x1.c49c22fa95cdfp-16, -0x1.bf187bd086a15p-16, 0x1.c4a229ddd68bdp-17};
static const float ATAN_f32[] = {-0x1.09615ep-2f, 0x1.c5e5b8p-4f,  -0x1.c10ca4p-5f, 0x1.dd6c1ap-6f,  -0x1.08abbcp-6f,
                                 0x1.2c53dap-7f,  -0x1.69ccf8p-8f, 0x1.ec408p-9f,   -0x1.defe9cp-10f};

/* (asin(s) / s - 1) / z as a polynomial in z = s^2 <= 1/4: within 2^-55.8 / z, 2^-27.5 / z */
static const double ASIN_f64[] = {0x1.5555555555387p-3, 0x1.333333336f8acp-4, 0x1.6db6db41d2c42p-5,
                                  0x1.f1c72c6d9582cp-6, 0x1.6e89ef749376bp-6, 0x1.1c6c27fce61e7p-6,
                                  0x1.c6f87a12bd4f2p-7, 0x1.8ee4b7bb4d50dp-7, 0x1.aab34d7c65decp-8,
                                  0x1.40b200b9aa4fep-6, -0x1.0af4d68bf171p-6, 0x1.05ce4b84af871p-5};
static const float ASIN_f32[] = {0x1.5555cap-3f, 0x1.33015p-4f, 0x1.748c3ap-5f, 0x1.8ba412p-6f, 0x1.59d95p-5f};

/* (sinh(r) / r - 1) / z and (cosh(r) - 1 - z / 2) / z^2 as polynomials in z = r^2, |r| <= log(2): within 2^-60.51 / z,
 * 2^-29.46 / z and 2^-67.08 / z^2, 2^-35.05 / z^2 */
static const double SINH_f64[] = {0x1.5555555555552p-3,  0x1.111111111183bp-7,  0x1.a01a019e98477p-13,
                                  0x1.71de3caa3fcc8p-19, 0x1.ae60b102b5dedp-26, 0x1.63f2243c9992dp-33};
static const float SINH_f32[] = {0x1.55555cp-3f, 0x1.110b12p-7f, 0x1.a57862p-13f};
static const double COSH_f64[] = {0x1.5555555555553p-5,  0x1.6c16c16c173d5p-10, 0x1.a01a019ed456fp-16,
                                  0x1.27e4fd1bbc571p-22, 0x1.1eeb539712baep-29, 0x1.96a95bedf356cp-37};
static const float COSH_f32[] = {0x1.55555ap-5f, 0x1.6c1074p-10f, 0x1.a4e8acp-16f};

/* pi/2 as a sum */
#define HALF_PI_HIGH_f64 0x1.921fb54442d18p0
#define HALF_PI_LOW_f64 0x1.1a62633145c07p-54
#define HALF_PI_HIGH_f32 0x1.921fb6p0f
#define HALF_PI_LOW_f32 -0x1.777a5cp-25f

/* where atan is pi/2 and asinh the logarithm of the double, with some to spare; where sinh and cosh overflow, and the
 * greatest power of 2 in them, with which r grows to log(2) instead of half of it */
#define ARC_PLENTY_f64 0x1p60
#define ARC_PLENTY_f32 0x1p30f
#define SINH_MOST_f64 710.6
#define SINH_MOST_f32 89.5f
#define SINH_POWER_MOST_f64 1024
#define SINH_POWER_MOST_f32 128
#define LN2_f64 0x1.62e42fefa39efp-1
#define LN2_f32 0x1.62e43p-1f

#endif

/* k pi/2 + t + low, for k = 0 or |t| < pi/2 */
FG_INLINE V N(from_axis)(V k, V t, V low) {
    V high_low, high = N(fast_two_sum)(k * N(HALF_PI_HIGH), t, &high_low);
    return high + (high_low + (low + k * N(HALF_PI_LOW)));
}

/* The angle atan(n / d) of a vector of coordinates n <= d, from the ratio as a sum t + low, in the latter of which atan
 * has the slope 1 / (1 + z), nearly 1 - z / 2. `swapped` has pi/2 less the angle instead, `turned` then pi less it. */
FG_INLINE V N(angle)(V n, V d, I swapped, I turned) {
    V inverse = N(rough_reciprocal)(d), t = n * inverse;
    t += inverse * N(residual)(n, t, d);
    V z = t * t, low = inverse * N(residual)(n, t, d) * (1 - (S)0.5 * z);
    low += t * (z * POLYNOMIAL(z - (S)0.5, ATAN));
    V k = N(pick)(swapped, N(splat)(1), (V){0});
    k = N(pick)(turned, 2 - k, k);
    I flip = (swapped ^ turned) & SIGN;
    return N(from_axis)(k, (V)((I)t ^ flip), (V)((I)low ^ flip));
}

FG_INLINE V FG(atan)(V x) {
    V size = N(at_most)(FG(abs)(x), N(ARC_PLENTY)), one = N(splat)(1);
    I swapped = size > 1;
    return FG(copysign)(N(angle)(N(pick)(swapped, one, size), N(pick)(swapped, size, one), swapped, (I){0}), x);
}

/* 2^(1-e) for an x with exponent e, at least the least normal one: to bring x next to 1 exactly */
FG_INLINE V N(towards_1)(V x) {
    const I infinite = (I)N(splat)((S)INFINITY);
    return (V)(infinite - ((I)x & infinite));
}

/* atan2, the coordinates scaled so that their ratio neither over- nor underflows on the way */
FG_INLINE V FG(atan2)(V y, V x) {
    const V zero = {0}, one = N(splat)(1);
    V height = FG(abs)(y), width = FG(abs)(x);
    I swapped = height > width;
    V n = N(pick)(swapped, width, height), d = N(pick)(swapped, height, width);
    I infinite = d == (S)INFINITY;
    n = N(pick)(infinite, N(pick)(n == d, one, zero), n);
    d = N(at_least)(N(pick)(infinite, one, d), N(LEAST));
    V power = N(towards_1)(N(at_least)(d, N(LEAST_NORMAL)));
    V result = FG(copysign)(N(angle)(n * power, d * power, swapped, (I)x < 0), y);
    return N(pick)((x != x) | (y != y), x + y, result);
}

FG_INLINE V FG(hypot)(V x, V y) {
    V a = FG(abs)(x), b = FG(abs)(y);
    I ordered = a >= b;
    V n = N(pick)(ordered, b, a), d = N(pick)(ordered, a, b), bounded = N(at_least)(d, N(LEAST_NORMAL));
    V power = N(towards_1)(bounded), back = (V)((I)bounded & (I)N(splat)((S)INFINITY));
    n *= power, d *= power;
    V unused, result = (S)0.5 * N(root_parts)(n * n + d * d, &unused) * back;
    result = N(pick)((x != x) | (y != y), x + y, result);
    return N(pick)((a == (S)INFINITY) | (b == (S)INFINITY), N(splat)((S)INFINITY), result);
}

/* asin |x| = s + low up to 1/2; beyond it is pi/2 less twice that of s = sqrt((1 - |x|) / 2) */
FG_INLINE V N(asin_parts)(V size, I large, V *low) {
    V z = N(pick)(large, (S)0.5 - (S)0.5 * size, size * size);
    V root_low, root = N(root_parts)(z, &root_low), s = N(pick)(large, root, size);
    *low = N(pick)(large, root_low, (V){0}) + s * z * POLYNOMIAL(z, ASIN);
    return s;
}

FG_INLINE V FG(asin)(V x) {
    V size = FG(abs)(x), one = N(splat)(1);
    I large = size > (S)0.5;
    V low, s = N(asin_parts)(size, large, &low), times = N(pick)(large, -2 * one, one);
    V result = N(from_axis)(N(pick)(large, one, (V){0}), times * s, times * low);
    return N(pick)(size <= 1, FG(copysign)(result, x), N(splat)((S)NAN));
}

FG_INLINE V FG(acos)(V x) {
    V size = FG(abs)(x), one = N(splat)(1);
    I large = size > (S)0.5, negative = x < 0;
    V low, s = N(asin_parts)(size, large, &low), times = N(pick)(large, 2 * one, -one);
    times = N(pick)(negative, -times, times);
    V k = N(pick)(large, N(pick)(negative, 2 * one, (V){0}), one);
    return N(pick)(size <= 1, N(from_axis)(k, times * s, times * low), N(splat)((S)NAN));
}

/* sinh or cosh of |x| = r + low + n log 2: half of sum sinh(r) + difference cosh(r), or the other way round, where sum
 * and difference are those of 2^n and 2^-n */
FG_INLINE V N(hyperbolic)(V size, int is_cosh) {
    V x = N(at_most)(size, N(SINH_MOST)), n = N(at_most)(N(nearest)(x * N(LOG2_E)), N(SINH_POWER_MOST));
    V high = x - n * N(LN2_HIGH), less = n * N(LN2_LOW), r = high - less, low = (high - r) - less, z = r * r;
    V power = N(exp2i)(n - 1), inverse = (S)0.5 * N(exp2i)(-N(at_most)(n, N(EXPONENT_PLENTY)));
    V of_cosh_low, of_cosh = N(fast_two_sum)(power, is_cosh ? inverse : -inverse, &of_cosh_low);
    V of_sinh = is_cosh ? power - inverse : power + inverse;
    V cosh_rest = z * ((S)0.5 + z * POLYNOMIAL(z, COSH)), sinh_rest = r * z * POLYNOMIAL(z, SINH) + low;
    V sum = N(fused)(of_sinh, r, of_cosh), sum_low = N(fused)(of_sinh, r, of_cosh - sum);
    return sum + ((sum_low + of_cosh_low) + (of_cosh * cosh_rest + of_sinh * sinh_rest));
}

FG_INLINE V FG(sinh)(V x) { return FG(copysign)(N(hyperbolic)(FG(abs)(x), 0), x); }
FG_INLINE V FG(cosh)(V x) { return N(hyperbolic)(FG(abs)(x), 1); }

/* asinh |x| = log(|x| + sqrt(x^2 + 1)), both sums kept exact */
FG_INLINE V FG(asinh)(V x) {
    V size = FG(abs)(x), bounded = N(at_most)(size, N(ARC_PLENTY)), one = N(splat)(1);
    V square_low, square = N(two_product)(bounded, bounded, &square_low);
    I less = square < 1;
    V low, sum = N(fast_two_sum)(N(pick)(less, one, square), N(pick)(less, square, one), &low);
    V root_low, root = N(root_parts)(sum, &root_low);
    root_low += (S)0.5 * (low + square_low) * N(rough_reciprocal)(root);
    sum = N(fast_two_sum)(root, bounded, &low);
    I large = size > N(ARC_PLENTY);
    sum = N(pick)(large, size, sum), low = N(pick)(large, (V){0}, low + root_low);
    V result = N(log_of_sum)(sum, low) + N(pick)(large, N(splat)(N(LN2)), (V){0});
    return FG(copysign)(N(log_special)(result, sum), x);
}

/* acosh x = log(x + sqrt(x^2 - 1)) likewise */
FG_INLINE V FG(acosh)(V x) {
    V bounded = N(at_most)(x, N(ARC_PLENTY));
    V square_low, square = N(two_product)(bounded, bounded, &square_low);
    V low, sum = N(fast_two_sum)(square, N(splat)(-1), &low);
    sum = N(fast_two_sum)(sum, low + square_low, &low);
    V root_low, root = N(root_parts)(sum, &root_low);
    root_low += (S)0.5 * low * N(rough_reciprocal)(N(at_least)(root, N(LEAST_NORMAL)));
    sum = N(fast_two_sum)(bounded, root, &low);
    I large = x > N(ARC_PLENTY);
    sum = N(pick)(large, x, sum), low = N(pick)(large, (V){0}, low + root_low);
    V result = N(log_of_sum)(sum, low) + N(pick)(large, N(splat)(N(LN2)), (V){0});
    return N(log_special)(result, N(pick)(x < 1, N(splat)(-1), sum));
}

/* atanh |x| = log((1 + |x|) / (1 - |x|)) / 2 = k log(2) / 2 + atanh(s), where k brings |s| down to 1/5: s = x for
 * k = 0, else (u - w) / (u + w) with u = 1 + |x|, w = 2^k (1 - |x|) */
FG_INLINE V FG(atanh)(V x) {
    V size = FG(abs)(x), one = N(splat)(1), k;
    V u_low, u = N(fast_two_sum)(one, size, &u_low), w_low, w = N(fast_two_sum)(one, -size, &w_low);
    V m = N(split)(w, &k);
    k = N(pick)(u > (S)1.5 * m, 1 - k, -k);
    V power = N(exp2i)(k);
    w *= power, w_low *= power;
    I direct = k == 0;
    V over = u - w, under_low, under = N(fast_two_sum)(u, w, &under_low);
    V inverse = N(rough_reciprocal)(under), s = over * inverse;
    s += inverse * N(residual)(over, s, under);
    V low = inverse * (N(residual)(over, s, under) + ((u_low - w_low) - s * (under_low + (u_low + w_low))));
    s = N(pick)(direct, size, s), low = N(pick)(direct, (V){0}, low);
    V z = s * s, sum_low, sum = N(fast_two_sum)((S)0.5 * k * N(LN2_HIGH), s, &sum_low);
    sum += sum_low + (low + (S)0.5 * (s * z * POLYNOMIAL(z, LOG) + k * N(LN2_LOW)));
    sum = N(pick)(size < 1, sum, N(pick)(size == 1, N(splat)((S)INFINITY), N(splat)((S)NAN)));
    return FG(copysign)(sum, x);
}
