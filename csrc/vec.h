/* Vectors of the ISA being compiled, in GNU vector extensions: one width in bytes, four element types.
 * Included by kernels.c only, once per ISA. Nothing here knows what is computed. */
#ifndef FG_VEC_H
#define FG_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE4_1__)
#include <smmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define FG_VEC_BYTES 64
#elif defined(__AVX2__)
#define FG_VEC_BYTES 32
#else
#define FG_VEC_BYTES 16
#endif

typedef double vf64 __attribute__((vector_size(FG_VEC_BYTES)));
typedef float vf32 __attribute__((vector_size(FG_VEC_BYTES)));
typedef int64_t vi64 __attribute__((vector_size(FG_VEC_BYTES)));  /* masks and bits of vf64 */
typedef int32_t vi32 __attribute__((vector_size(FG_VEC_BYTES)));  /* masks and bits of vf32 */
typedef uint64_t vu64 __attribute__((vector_size(FG_VEC_BYTES))); /* bits to shift without their sign */
typedef uint32_t vu32 __attribute__((vector_size(FG_VEC_BYTES)));
typedef float vf32h __attribute__((vector_size(FG_VEC_BYTES / 2))); /* as many floats as vf64 has doubles */

#define FG_N_F64 (FG_VEC_BYTES / 8)
#define FG_N_F32 (FG_VEC_BYTES / 4)

#define FG_INLINE static inline __attribute__((always_inline))

FG_INLINE vf64 splat_f64(double x) { return x - (vf64){0}; }
FG_INLINE vf32 splat_f32(float x) { return x - (vf32){0}; }

/* the bits of u where the mask is set, else those of v */
FG_INLINE vf64 pick_f64(vi64 m, vf64 u, vf64 v) { return (vf64)((m & (vi64)u) | (~m & (vi64)v)); }
FG_INLINE vf32 pick_f32(vi32 m, vf32 u, vf32 v) { return (vf32)((m & (vi32)u) | (~m & (vi32)v)); }

/* the elements of a and b that `index` (of type `indices`) names, those of b counted on from those of a */
#if defined(__clang__)
#define FG_SHUFFLE(indices, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FG_SHUFFLE(indices, a, b, ...) __builtin_shuffle(a, b, (indices){__VA_ARGS__})
#endif

/* index(i, h) for each place i of a vector */
#define FG_EACH_2(index, h) index(0, h), index(1, h)
#define FG_EACH_4(index, h) FG_EACH_2(index, h), index(2, h), index(3, h)
#define FG_EACH_8(index, h) FG_EACH_4(index, h), index(4, h), index(5, h), index(6, h), index(7, h)
#define FG_EACH_16(index, h)                                                                               \
    FG_EACH_8(index, h), index(8, h), index(9, h), index(10, h), index(11, h), index(12, h), index(13, h), \
        index(14, h), index(15, h)
#if FG_VEC_BYTES == 64
#define FG_EACH_F64 FG_EACH_8
#define FG_EACH_F32 FG_EACH_16
#elif FG_VEC_BYTES == 32
#define FG_EACH_F64 FG_EACH_4
#define FG_EACH_F32 FG_EACH_8
#else
#define FG_EACH_F64 FG_EACH_2
#define FG_EACH_F32 FG_EACH_4
#endif

/* What the vector extensions have no operator for. The intrinsics of x86 are named alike at every width. */
#if defined(__AVX512F__)
#define FG_X86(name) _mm512_##name
#elif defined(__AVX2__)
#define FG_X86(name) _mm256_##name
#elif defined(__SSE4_1__)
#define FG_X86(name) _mm_##name
#endif

/* the body of a function: an expression of x86, one of NEON, one for a lane i elsewhere */
#if defined(FG_X86)
#define FG_BODY(vector, x86, neon, lane) return (vector)(x86)
#elif defined(__aarch64__)
#define FG_BODY(vector, x86, neon, lane) return (vector)(neon)
#else
#define FG_BODY(vector, x86, neon, lane)                          \
    vector result;                                                \
    for (size_t i = 0; i < sizeof result / sizeof result[0]; i++) \
        result[i] = lane;                                         \
    return result
#endif

FG_INLINE vf64 fg_sqrt_f64(vf64 x) { FG_BODY(vf64, FG_X86(sqrt_pd)(x), vsqrtq_f64(x), __builtin_sqrt(x[i])); }
FG_INLINE vf32 fg_sqrt_f32(vf32 x) { FG_BODY(vf32, FG_X86(sqrt_ps)(x), vsqrtq_f32(x), __builtin_sqrtf(x[i])); }

/* to integers: down, up, towards zero, to the nearest (halves to the even one) */
#if defined(__AVX512F__)
#define FG_ROUND(type, x, how) _mm512_roundscale_##type(x, (how) | _MM_FROUND_NO_EXC)
#elif defined(FG_X86)
#define FG_ROUND(type, x, how) FG_X86(round_##type)(x, (how) | _MM_FROUND_NO_EXC)
#endif
#define FG_ROUNDING(name, how, neon)                                                   \
    FG_INLINE vf64 fg_##name##_f64(vf64 x) {                                           \
        FG_BODY(vf64, FG_ROUND(pd, x, how), neon##_f64(x), __builtin_##name(x[i]));    \
    }                                                                                  \
    FG_INLINE vf32 fg_##name##_f32(vf32 x) {                                           \
        FG_BODY(vf32, FG_ROUND(ps, x, how), neon##_f32(x), __builtin_##name##f(x[i])); \
    }
FG_ROUNDING(floor, _MM_FROUND_TO_NEG_INF, vrndmq)
FG_ROUNDING(ceil, _MM_FROUND_TO_POS_INF, vrndpq)
FG_ROUNDING(trunc, _MM_FROUND_TO_ZERO, vrndq)
FG_ROUNDING(rint, _MM_FROUND_TO_NEAREST_INT, vrndnq)

/* the lesser and the greater of a limit and x; a NaN in x stays */
FG_INLINE vf64 at_most_f64(vf64 x, double limit) {
    FG_BODY(vf64, FG_X86(min_pd)(splat_f64(limit), x), vminq_f64(splat_f64(limit), x), x[i] > limit ? limit : x[i]);
}
FG_INLINE vf32 at_most_f32(vf32 x, float limit) {
    FG_BODY(vf32, FG_X86(min_ps)(splat_f32(limit), x), vminq_f32(splat_f32(limit), x), x[i] > limit ? limit : x[i]);
}
FG_INLINE vf64 at_least_f64(vf64 x, double limit) {
    FG_BODY(vf64, FG_X86(max_pd)(splat_f64(limit), x), vmaxq_f64(splat_f64(limit), x), x[i] < limit ? limit : x[i]);
}
FG_INLINE vf32 at_least_f32(vf32 x, float limit) {
    FG_BODY(vf32, FG_X86(max_ps)(splat_f32(limit), x), vmaxq_f32(splat_f32(limit), x), x[i] < limit ? limit : x[i]);
}

/* A vector to a place aligned to its size, past the caches: a line that is written whole is not read before. Others see
 * such stores in order only after a fence, which is the caller's. */
#if defined(FG_X86)
FG_INLINE void stream_f64(double *p, vf64 v) { FG_X86(stream_pd)(p, v); }
FG_INLINE void stream_f32(float *p, vf32 v) { FG_X86(stream_ps)(p, v); }
#else
FG_INLINE void stream_f64(double *p, vf64 v) { memcpy(p, &v, sizeof v); }
FG_INLINE void stream_f32(float *p, vf32 v) { memcpy(p, &v, sizeof v); }
#endif

/* whether the mask, of doubles or of floats, is set in any lane */
FG_INLINE int any_f64(vi64 m) {
#if defined(__AVX512F__)
    return _mm512_test_epi64_mask((__m512i)m, (__m512i)m) != 0;
#elif defined(__AVX2__)
    return !_mm256_testz_si256((__m256i)m, (__m256i)m);
#elif defined(__SSE4_1__)
    return !_mm_testz_si128((__m128i)m, (__m128i)m);
#else
    int64_t any = 0;
    for (int i = 0; i < FG_N_F64; i++)
        any |= m[i];
    return any != 0;
#endif
}
FG_INLINE int any_f32(vi32 m) { return any_f64((vi64)m); }

/* a b + c, rounded once where the ISA can. Written out wherever the bits matter: whether the compiler fuses a product
 * and a sum of its own accord depends on what stands around them. */
#if defined(__FMA__) || defined(__aarch64__)
FG_INLINE vf64 fused_f64(vf64 a, vf64 b, vf64 c) { FG_BODY(vf64, FG_X86(fmadd_pd)(a, b, c), vfmaq_f64(c, a, b), 0); }
FG_INLINE vf32 fused_f32(vf32 a, vf32 b, vf32 c) { FG_BODY(vf32, FG_X86(fmadd_ps)(a, b, c), vfmaq_f32(c, a, b), 0); }
#else
FG_INLINE vf64 fused_f64(vf64 a, vf64 b, vf64 c) { return a * b + c; }
FG_INLINE vf32 fused_f32(vf32 a, vf32 b, vf32 c) { return a * b + c; }
#endif

/* c - a b for a c within a few roundings of a b: what rounding the product lost. Without a fused
 * multiply-add, by Dekker's splitting of the factors into halves; their products are exact, so contraction
 * cannot hurt. */
#if defined(__FMA__) || defined(__aarch64__)
FG_INLINE vf64 residual_f64(vf64 c, vf64 a, vf64 b) {
    FG_BODY(vf64, FG_X86(fnmadd_pd)(a, b, c), vfmsq_f64(c, a, b), 0);
}
FG_INLINE vf32 residual_f32(vf32 c, vf32 a, vf32 b) {
    FG_BODY(vf32, FG_X86(fnmadd_ps)(a, b, c), vfmsq_f32(c, a, b), 0);
}
#else
FG_INLINE vf64 residual_f64(vf64 c, vf64 a, vf64 b) {
    vf64 ah = (vf64)((vi64)a & -0x8000000), al = a - ah;
    vf64 bh = (vf64)((vi64)b & -0x8000000), bl = b - bh;
    return (((c - ah * bh) - ah * bl) - al * bh) - al * bl;
}
FG_INLINE vf32 residual_f32(vf32 c, vf32 a, vf32 b) {
    vf32 ah = (vf32)((vi32)a & -0x1000), al = a - ah;
    vf32 bh = (vf32)((vi32)b & -0x1000), bl = b - bh;
    return (((c - ah * bh) - ah * bl) - al * bh) - al * bl;
}
#endif

/* x as a value of its own: not contracted into what uses it, not moved out of a loop */
#if defined(__AVX512F__)
#define FG_OWN_VALUE(x) __asm__ volatile("" : "+v"(x))
#elif defined(FG_X86)
#define FG_OWN_VALUE(x) __asm__ volatile("" : "+x"(x))
#elif defined(__aarch64__)
#define FG_OWN_VALUE(x) __asm__ volatile("" : "+w"(x))
#else
#define FG_OWN_VALUE(x) __asm__ volatile("" : "+m"(x))
#endif

/* a b = product + *rest, exactly up to underflow */
FG_INLINE vf64 two_product_f64(vf64 a, vf64 b, vf64 *rest) {
    vf64 product = a * b;
    FG_OWN_VALUE(product);
    *rest = -residual_f64(product, a, b);
    return product;
}
FG_INLINE vf32 two_product_f32(vf32 a, vf32 b, vf32 *rest) {
    vf32 product = a * b;
    FG_OWN_VALUE(product);
    *rest = -residual_f32(product, a, b);
    return product;
}

/* a + b = sum + *rest exactly, for |a| >= |b| or a = 0 */
FG_INLINE vf64 fast_two_sum_f64(vf64 a, vf64 b, vf64 *rest) {
    vf64 sum = a + b;
    *rest = (a - sum) + b;
    return sum;
}
FG_INLINE vf32 fast_two_sum_f32(vf32 a, vf32 b, vf32 *rest) {
    vf32 sum = a + b;
    *rest = (a - sum) + b;
    return sum;
}

/* 1 / x to 28 bits at least, for an x well inside the range; a division takes four times as long on AVX-512
 */
FG_INLINE vf64 rough_reciprocal_f64(vf64 x) {
#if defined(__AVX512F__)
    vf64 y = _mm512_rcp14_pd(x);
    return y + y * residual_f64(splat_f64(1), x, y);
#else
    return 1 / x;
#endif
}
FG_INLINE vf32 rough_reciprocal_f32(vf32 x) {
#if defined(__AVX512F__)
    vf32 y = _mm512_rcp14_ps(x);
    return y + y * residual_f32(splat_f32(1), x, y);
#else
    return 1 / x;
#endif
}

/* a / b within 1 ulp, for a b well inside the range */
FG_INLINE vf64 ratio_f64(vf64 a, vf64 b) {
#if defined(__AVX512F__)
    vf64 y = rough_reciprocal_f64(b), q = a * y;
    return q + y * residual_f64(a, q, b);
#else
    return a / b;
#endif
}
FG_INLINE vf32 ratio_f32(vf32 a, vf32 b) {
#if defined(__AVX512F__)
    vf32 y = _mm512_rcp14_ps(b), q = a * y;
    return q + y * residual_f32(a, q, b);
#else
    return a / b;
#endif
}

/* the root of an x well inside the range, within 1 ulp; of 0, a root of next to nothing: for denominators */
FG_INLINE vf64 root_f64(vf64 x) {
#if defined(__AVX512F__)
    x = at_least_f64(at_most_f64(x, 0x1p1000), 0x1p-1000);
    vf64 y = _mm512_rsqrt14_pd(x), s = x * y, e = residual_f64(splat_f64(1), s, y);
    return s + s * e * (0.5 + e * (0.375 + e * 0.3125)); /* s / sqrt(1 - e), e < 2^-13 */
#else
    return fg_sqrt_f64(x);
#endif
}
FG_INLINE vf32 root_f32(vf32 x) {
#if defined(__AVX512F__)
    x = at_least_f32(at_most_f32(x, 0x1p120f), 0x1p-120f);
    vf32 y = _mm512_rsqrt14_ps(x), s = x * y, e = residual_f32(splat_f32(1), s, y);
    return s + s * e * 0.5f;
#else
    return fg_sqrt_f32(x);
#endif
}

/* x, or 0 where it is subnormal */
FG_INLINE vf64 faded_f64(vf64 x) {
#if defined(__AVX512DQ__)
    return _mm512_mask_xor_pd(x, _mm512_fpclass_pd_mask(x, 0x20), x, x);
#else
    return (vf64)(((x >= 0x1p-1022) | (x <= -0x1p-1022) | (x != x)) & (vi64)x);
#endif
}
FG_INLINE vf32 faded_f32(vf32 x) {
#if defined(__AVX512DQ__)
    return _mm512_mask_xor_ps(x, _mm512_fpclass_ps_mask(x, 0x20), x, x);
#else
    return (vf32)(((x >= 0x1p-126f) | (x <= -0x1p-126f) | (x != x)) & (vi32)x);
#endif
}

/* sqrt(x) = root + *low, the root rounded as well as can be, for an x well inside the range or 0 */
FG_INLINE vf64 root_parts_f64(vf64 x, vf64 *low) {
#if defined(__AVX512F__)
    vf64 y = _mm512_rsqrt14_pd(at_least_f64(x, 0x1p-1000)), s = x * y, e = residual_f64(splat_f64(1), s, y);
    vf64 half_inverse = y * (0.5 + e * 0.25);
    s += s * e * (0.5 + e * 0.375);
    s += residual_f64(x, s, s) * half_inverse;
    *low = residual_f64(x, s, s) * half_inverse;
#else
    vf64 s = fg_sqrt_f64(x);
    *low = residual_f64(x, s, s) * (0.5 / at_least_f64(s, 0x1p-500));
#endif
    return s;
}
FG_INLINE vf32 root_parts_f32(vf32 x, vf32 *low) {
#if defined(__AVX512F__)
    vf32 y = _mm512_rsqrt14_ps(at_least_f32(x, 0x1p-120f)), s = x * y, e = residual_f32(splat_f32(1), s, y);
    s += s * e * 0.5f;
    s += residual_f32(x, s, s) * (0.5f * y);
    *low = residual_f32(x, s, s) * (0.5f * y);
#else
    vf32 s = fg_sqrt_f32(x);
    *low = residual_f32(x, s, s) * (0.5f / at_least_f32(s, 0x1p-60f));
#endif
    return s;
}

/* the larger and the smaller of two vectors of integers */
#if defined(__AVX512F__)
FG_INLINE vi64 larger_f64(vi64 a, vi64 b) { return (vi64)_mm512_max_epi64((__m512i)a, (__m512i)b); }
FG_INLINE vi64 smaller_f64(vi64 a, vi64 b) { return (vi64)_mm512_min_epi64((__m512i)a, (__m512i)b); }
FG_INLINE vi32 larger_f32(vi32 a, vi32 b) { return (vi32)_mm512_max_epi32((__m512i)a, (__m512i)b); }
FG_INLINE vi32 smaller_f32(vi32 a, vi32 b) { return (vi32)_mm512_min_epi32((__m512i)a, (__m512i)b); }
#else
FG_INLINE vi64 larger_f64(vi64 a, vi64 b) { return (vi64)pick_f64(a > b, (vf64)a, (vf64)b); }
FG_INLINE vi64 smaller_f64(vi64 a, vi64 b) { return (vi64)pick_f64(a < b, (vf64)a, (vf64)b); }
FG_INLINE vi32 larger_f32(vi32 a, vi32 b) { return (vi32)pick_f32(a > b, (vf32)a, (vf32)b); }
FG_INLINE vi32 smaller_f32(vi32 a, vi32 b) { return (vi32)pick_f32(a < b, (vf32)a, (vf32)b); }
#endif

/* Adding and subtracting this number rounds to the nearest integer; the sum's low bits are that integer. */
#define TO_INTEGER_f64 0x1.8p52
#define TO_INTEGER_f32 0x1.8p23f
FG_INLINE vf64 nearest_f64(vf64 x) { return (x + TO_INTEGER_f64) - TO_INTEGER_f64; }
FG_INLINE vf32 nearest_f32(vf32 x) { return (x + TO_INTEGER_f32) - TO_INTEGER_f32; }

/* an integer n in the low bits, as unsigned numbers, which may overflow; those above its sign are not its own */
FG_INLINE vu64 integer_f64(vf64 n) { return (vu64)(n + TO_INTEGER_f64); }
FG_INLINE vu32 integer_f32(vf32 n) { return (vu32)(n + TO_INTEGER_f32); }

/* 2^n for an integer n that is the exponent of a normal number */
FG_INLINE vf64 exp2i_f64(vf64 n) { return (vf64)((integer_f64(n) + 1023) << 52); }
FG_INLINE vf32 exp2i_f32(vf32 n) { return (vf32)((integer_f32(n) + 127) << 23); }

/* x 2^n with one rounding, for an integer n of up to twice that range; elsewhere than on AVX-512 in two
 * steps, the first of them exact for an x near 1 */
FG_INLINE vf64 scale_f64(vf64 x, vf64 n) {
#if defined(__AVX512F__)
    return _mm512_scalef_pd(x, n);
#else
    vu64 k = integer_f64(n), half = k >> 1;
    return x * (vf64)((half + 1023) << 52) * (vf64)((k - half + 1023) << 52);
#endif
}
FG_INLINE vf32 scale_f32(vf32 x, vf32 n) {
#if defined(__AVX512F__)
    return _mm512_scalef_ps(x, n);
#else
    vu32 k = integer_f32(n), half = k >> 1;
    return x * (vf32)((half + 127) << 23) * (vf32)((k - half + 127) << 23);
#endif
}

/* x = m 2^k with m in [3/4, 3/2), for a positive finite x, subnormal or not */
FG_INLINE vf64 split_f64(vf64 x, vf64 *k) {
#if defined(__AVX512F__)
    vf64 m = _mm512_getmant_pd(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src), e = _mm512_getexp_pd(x);
    *k = _mm512_mask_add_pd(e, _mm512_cmp_pd_mask(m, splat_f64(1), _CMP_LT_OQ), e, splat_f64(1));
    return m;
#else
    vi64 small = x < 0x1p-1022;
    vu64 bits = (vu64)pick_f64(small, x * 0x1p54, x) + 0x0008000000000000; /* carries into the exponent at 3/2 */
    vf64 biased = (vf64)((bits >> 52) | 0x4330000000000000) - 0x1p52;
    *k = biased - pick_f64(small, splat_f64(1023 + 54), splat_f64(1023));
    return (vf64)((bits & 0x000fffffffffffff) + 0x3fe8000000000000);
#endif
}
FG_INLINE vf32 split_f32(vf32 x, vf32 *k) {
#if defined(__AVX512F__)
    vf32 m = _mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_src), e = _mm512_getexp_ps(x);
    *k = _mm512_mask_add_ps(e, _mm512_cmp_ps_mask(m, splat_f32(1), _CMP_LT_OQ), e, splat_f32(1));
    return m;
#else
    vi32 small = x < 0x1p-126f;
    vu32 bits = (vu32)pick_f32(small, x * 0x1p25f, x) + 0x00400000;
    vf32 biased = (vf32)((bits >> 23) | 0x4b000000) - 0x1p23f;
    *k = biased - pick_f32(small, splat_f32(127 + 25), splat_f32(127));
    return (vf32)((bits & 0x007fffff) + 0x3f400000);
#endif
}

/* the special cases of a logarithm of x: -inf of 0, NaN of a negative x, x itself of inf and NaN; a table of
 * four bits a class of numbers does it in one instruction on AVX-512 */
FG_INLINE vf64 log_special_f64(vf64 result, vf64 x) {
#if defined(__AVX512F__)
    return _mm512_fixupimm_pd(result, x, _mm512_set1_epi64(0x03530422), 0);
#else
    result = pick_f64(x < __builtin_inf(), result, x);
    result = pick_f64(x < 0, splat_f64(__builtin_nan("")), result);
    return pick_f64(x == 0, splat_f64(-__builtin_inf()), result);
#endif
}
FG_INLINE vf32 log_special_f32(vf32 result, vf32 x) {
#if defined(__AVX512F__)
    return _mm512_fixupimm_ps(result, x, _mm512_set1_epi32(0x03530422), 0);
#else
    result = pick_f32(x < __builtin_inff(), result, x);
    result = pick_f32(x < 0, splat_f32(__builtin_nanf("")), result);
    return pick_f32(x == 0, splat_f32(-__builtin_inff()), result);
#endif
}

/* the lower and the upper half of a vector of floats as doubles, and back */
FG_INLINE vf64 lower_half(vf32 x) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
#else
    FG_BODY(vf64, _mm_cvtps_pd(x), vcvt_f64_f32(vget_low_f32(x)), x[i]);
#endif
}
FG_INLINE vf64 upper_half(vf32 x) {
#if defined(__AVX512F__)
    return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
#elif defined(__AVX2__)
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#else
    FG_BODY(vf64, _mm_cvtps_pd(_mm_movehl_ps(x, x)), vcvt_high_f64_f32(x), x[FG_N_F64 + i]);
#endif
}
FG_INLINE vf32 join_halves(vf64 lower, vf64 upper) {
#if defined(__AVX512F__)
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(lower)), _mm512_cvtpd_ps(upper), 1);
#elif defined(__AVX2__)
    return _mm256_set_m128(_mm256_cvtpd_ps(upper), _mm256_cvtpd_ps(lower));
#else
    FG_BODY(vf32, _mm_movelh_ps(_mm_cvtpd_ps(lower), _mm_cvtpd_ps(upper)),
            vcvt_high_f32_f64(vcvt_f32_f64(lower), upper), i < FG_N_F64 ? (float)lower[i] : (float)upper[i - FG_N_F64]);
#endif
}

#endif
