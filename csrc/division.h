/* Template of elementary.h, per dtype: remainders and the division that goes with them, with NumPy's signs. */
#ifndef FG_DIVISION_H
#define FG_DIVISION_H

/* below this a quotient's integer is exact; divisors and dividends between this and its inverse keep the products of
 * a remainder from over- and underflow */
#define QUOTIENT_LIMIT_f64 0x1p52
#define QUOTIENT_LIMIT_f32 0x1p23f
#define DIVISOR_LEAST_f64 0x1p-900
#define DIVISOR_LEAST_f32 0x1p-90f

#endif

static __attribute__((noinline, cold, unused)) void N(fmod_by_libm)(V *result, V a, V b, I mask) {
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++)
        if (mask[i])
            (*result)[i] = N(LIBM)(fmod)(a[i], b[i]);
}

/* The rest that a rounded quotient leaves is exact, and one divisor too small when the quotient was rounded up to the
 * next integer. */
FG_INLINE V FG(fmod)(V a, V b) {
    V over = FG(abs)(a), under = FG(abs)(b), times = FG(trunc)(over / under);
    V rest = N(residual)(over, times, under);
    V result = FG(copysign)(N(pick)(rest < 0, rest + under, rest), a);
    I beyond = ~((times < N(QUOTIENT_LIMIT)) & (over < 1 / N(DIVISOR_LEAST)) & (under > N(DIVISOR_LEAST)) &
                 (under < 1 / N(DIVISOR_LEAST)));
    if (__builtin_expect(N(any)(beyond), 0))
        N(fmod_by_libm)(&result, a, b, beyond);
    return result;
}

/* fmod with the sign of the divisor */
FG_INLINE V FG(remainder)(V a, V b) {
    V rest = FG(fmod)(a, b);
    rest = N(pick)((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest);
    return N(pick)(rest == 0, FG(copysign)(rest, b), rest);
}

/* the quotient less its fraction, from the exact remainder: a / b may be rounded up to an integer */
FG_INLINE V FG(floor_divide)(V a, V b) {
    V rest = FG(fmod)(a, b), quotient = a / b, whole = (a - rest) / b;
    whole = N(pick)((rest != 0) & ((rest < 0) != (b < 0)), whole - 1, whole);
    V down = FG(floor)(whole);
    down = N(pick)(whole - down > (S)0.5, down + 1, down);
    down = N(pick)(whole == 0, FG(copysign)(whole, quotient), down);
    return N(pick)(b == 0, quotient, down);
}
