/* Multiply-adds that never leave the registers: what a matrix product could reach at most. Compiled for the machine at
   hand when a benchmark runs, see peak.py; no part of the package. */
#include <stdint.h>

#if defined __AVX512F__
enum { BYTES = 64, CHAINS = 24 };
#elif defined __AVX__
enum { BYTES = 32, CHAINS = 12 };
#else
enum { BYTES = 16, CHAINS = 12 };
#endif

typedef float vec __attribute__((vector_size(BYTES)));

int64_t flops_of_a_round(void) { return 2 * CHAINS * (int64_t)(BYTES / sizeof(float)); }

/* Each chain waits for itself alone; there are more than the units times their latency. No compiler that keeps the
   meaning of floats can join two rounds. */
float run(int64_t rounds, float factor, float term) {
    vec chain[CHAINS], a = {0}, b = {0};
    a += factor;
    b += term;
    for (int i = 0; i < CHAINS; i++) chain[i] = a + (float)i;
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
        for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * a + b;
    }
    vec sum = {0};
    for (int i = 0; i < CHAINS; i++) sum += chain[i];
    float total = 0;
    for (unsigned i = 0; i < BYTES / sizeof(float); i++) total += sum[i];
    return total;
}
