/* Random numbers by counting: the number at a place of a stream is a hash of both (the mixing of SplitMix64, Steele,
 * Lea & Flood 2014), so any part of a stream is made at once, by any thread. */
#ifndef FG_RANDOM_H
#define FG_RANDOM_H

#include <stdint.h>

static inline uint64_t fg_mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 64 random bits: number `place` of the stream `key`. */
static inline uint64_t fg_random(uint64_t key, uint64_t place) {
    return fg_mixed(key + (place + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

/* A stream of its own for each number. */
static inline uint64_t fg_stream(uint64_t key, uint64_t number) { return fg_mixed(fg_random(key, number) ^ ~number); }

/* An integer below n > 0, number `place` of the stream; a bias of n 2^-64 (Lemire 2019, without his rejections). */
static inline uint64_t fg_random_below(uint64_t key, uint64_t place, uint64_t n) {
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)(((wide)fg_random(key, place) * n) >> 64);
}

#endif
