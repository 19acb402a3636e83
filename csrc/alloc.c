/* The allocator seam, with live counters; see alloc.h. Each block carries its size and true start just below
 * the aligned pointer that the caller sees. */
#include "alloc.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { ALIGNMENT = 64 };

typedef struct {
    void *start;
    size_t bytes;
} prefix;

static _Atomic int64_t live_bytes, live_blocks;

int64_t fg_live_bytes(void) { return atomic_load(&live_bytes); }
int64_t fg_live_blocks(void) { return atomic_load(&live_blocks); }

void *fg_alloc(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - 2 * ALIGNMENT)
        return NULL;
    char *start = calloc(1, bytes + 2 * ALIGNMENT);
    if (!start)
        return NULL;
    char *block = start + ALIGNMENT + (ALIGNMENT - (uintptr_t)start % ALIGNMENT) % ALIGNMENT;
    ((prefix *)(void *)block)[-1] = (prefix){start, bytes};
    atomic_fetch_add(&live_bytes, (int64_t)bytes);
    atomic_fetch_add(&live_blocks, 1);
    return block;
}

void fg_free(void *pointer) {
    if (!pointer)
        return;
    prefix p = ((prefix *)pointer)[-1];
    atomic_fetch_sub(&live_bytes, (int64_t)p.bytes);
    atomic_fetch_sub(&live_blocks, 1);
    free(p.start);
}
