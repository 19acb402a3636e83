/* The allocator seam: alignment, zeroing, overflow, counters. */
#include "alloc.h"

#include <pthread.h>
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

/* What is freed serves the next result of its size; of others, and of too much, the oldest goes. */
static void results_leave_their_memory_behind(void) {
    enum { MB = 1 << 20 };
    char *a = fg_result_alloc(8 * MB), *b = fg_result_alloc(8 * MB);
    if (!CHECK(a != NULL && b != NULL && a != b))
        return;
    CHECK((uintptr_t)a % 64 == 0 && fg_result_bytes(a) >= 8 * MB && fg_kept_bytes() == 0);
    CHECK(fg_is_new(a + 4 * MB));
    memset(a, 1, 8 * MB);
    CHECK(!fg_is_new(a + 4 * MB));
    fg_result_free(a);
    const int64_t one = fg_kept_bytes();
    CHECK(one >= 8 * MB);
    char *other = fg_result_alloc(20 * MB), *again = fg_result_alloc(8 * MB);
    CHECK(again == a && other != a && fg_kept_bytes() == 0);
    memset(again, 2, fg_result_bytes(again));
    CHECK(again[0] == 2 && again[fg_result_bytes(again) - 1] == 2);
    fg_result_free(again);
    fg_result_free(b);
    fg_result_free(other);
    CHECK(fg_kept_bytes() > 2 * one);
    CHECK(fg_release_memory() > 2 * one && fg_kept_bytes() == 0 && fg_release_memory() == 0);

    char *many[9];
    for (int i = 0; i < 9; i++)
        many[i] = fg_result_alloc((size_t)(i < 6 ? 8 : 100) * MB);
    for (int i = 0; i < 9; i++) {
        fg_result_free(many[i]);
        CHECK(fg_kept_bytes() <= (i < 6 ? 4 * one : 256 * MB));
    }
    char *huge = fg_result_alloc((size_t)300 * MB);
    const int64_t before = fg_kept_bytes();
    fg_result_free(huge);
    fg_result_free(NULL);
    CHECK(huge != NULL && fg_kept_bytes() == before);
    fg_release_memory();
    CHECK(fg_result_alloc(SIZE_MAX) == NULL && fg_result_alloc(PTRDIFF_MAX) == NULL);
    void *little = fg_result_alloc(0);
    CHECK(little != NULL);
    fg_result_free(little);
    CHECK(fg_release_memory() > 0);
}

typedef struct {
    size_t seed;
    int wrong;
} thread_run;

static void *take_and_give(void *argument) {
    thread_run *run = argument;
    for (size_t i = 0; i < 300; i++) {
        const size_t bytes = ((run->seed + i) % 5 + 1) << 20;
        char *result = fg_result_alloc(bytes);
        if (!result)
            return NULL;
        for (size_t k = 0; k < bytes; k += 1 << 18)
            result[k] = (char)run->seed;
        for (size_t k = 0; k < bytes; k += 1 << 18)
            run->wrong += result[k] != (char)run->seed;
        fg_result_free(result);
    }
    return NULL;
}

static void threads_share_what_is_kept(void) {
    pthread_t thread[4];
    thread_run run[4] = {{1, 0}, {2, 0}, {3, 0}, {4, 0}};
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&thread[i], NULL, take_and_give, &run[i]) == 0);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(thread[i], NULL) == 0);
        CHECK(run[i].wrong == 0);
    }
    fg_release_memory();
    CHECK(fg_kept_bytes() == 0);
}

int main(void) {
    results_leave_their_memory_behind();
    threads_share_what_is_kept();
    blocks_are_aligned_zeroed_and_counted();
    impossible_sizes_give_null();
    return check_result();
}
