/* The allocator seam: alignment, zeroing, overflow, counters. */
#include "alloc.h"

#include <string.h>

#include "check.h"

static void blocks_are_aligned_zeroed_and_counted(void) {
    enum { N = 300 };
    unsigned char *block[N];
    int aligned = 1, zeroed = 1;
    int64_t bytes = 0;
    for (size_t n = 0; n < N; n++) {
        block[n] = fg_alloc(n, 1 + n % 9);
        if (!CHECK(block[n] != NULL))
            return;
        bytes += (int64_t)(n * (1 + n % 9));
        aligned &= (uintptr_t)block[n] % 64 == 0;
        for (size_t i = 0; i < n * (1 + n % 9); i++)
            zeroed &= block[n][i] == 0;
        memset(block[n], 0xff, n * (1 + n % 9)); /* the next blocks must not see it */
        if (n % 3 == 0) {
            bytes -= (int64_t)(n * (1 + n % 9));
            fg_free(block[n]);
            block[n] = NULL;
        }
    }
    CHECK(aligned);
    CHECK(zeroed);
    CHECK(fg_live_bytes() == bytes);
    CHECK(fg_live_blocks() == N - N / 3);
    for (size_t n = 0; n < N; n++)
        fg_free(block[n]); /* NULL among them */
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
}

static void impossible_sizes_give_null(void) {
    const size_t sizes[][2] = {{SIZE_MAX, 1},         {SIZE_MAX, 2},         {SIZE_MAX / 2 + 1, 2},
                               {SIZE_MAX, SIZE_MAX},  {2, SIZE_MAX / 2 + 1}, {PTRDIFF_MAX, 1},
                               {PTRDIFF_MAX - 64, 1}, {SIZE_MAX / 8 + 1, 8}, {PTRDIFF_MAX - 127, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        CHECK(fg_alloc(sizes[i][0], sizes[i][1]) == NULL);
    void *nothing = fg_alloc(SIZE_MAX, 0);
    CHECK(nothing != NULL);
    fg_free(nothing);
    CHECK(fg_live_bytes() == 0 && fg_live_blocks() == 0);
}

int main(void) {
    blocks_are_aligned_zeroed_and_counted();
    impossible_sizes_give_null();
    return check_result();
}
