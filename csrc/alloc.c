/* The allocator seam, with live counters; see alloc.h. Each block carries its size and true start just below
 * the aligned pointer that the caller sees. */
#define _DEFAULT_SOURCE /* madvise, mincore */
#include "alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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
    if (!start && fg_release_memory() > 0)
        start = calloc(1, bytes + 2 * ALIGNMENT);
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

/* ---- results ------------------------------------------------------------------------------------------- */

/* Blocks are whole huge pages of the system's. One that comes back is kept in a slot, marked as free to take: the
 * system drops its pages when memory is short, and otherwise the next result of that size need not be cleared again. A
 * slot is one word, the address and in its low bits the number of pages, exchanged in one go: no lock that a fork could
 * break. */
enum { PAGE = 2 << 20, N_SLOTS = 4, KEPT_PAGES = 128 };

static _Atomic uintptr_t slots[N_SLOTS];
static _Atomic unsigned oldest;
static _Atomic int64_t kept_pages;

int64_t fg_kept_bytes(void) { return atomic_load(&kept_pages) * PAGE; }

static char *start_of(uintptr_t block) { return (char *)(block - block % PAGE); }
static size_t bytes_of(uintptr_t block) { return block % PAGE * PAGE; }

/* Empties a slot; 0 when it was empty. */
static uintptr_t emptied(unsigned slot) {
    const uintptr_t block = atomic_exchange(&slots[slot % N_SLOTS], 0);
    atomic_fetch_sub(&kept_pages, (int64_t)(block % PAGE));
    return block;
}

static void unmap(uintptr_t block) {
    if (block)
        munmap(start_of(block), bytes_of(block));
}

int64_t fg_release_memory(void) {
    int64_t released = 0;
    for (unsigned i = 0; i < N_SLOTS; i++) {
        const uintptr_t block = emptied(i);
        released += (int64_t)bytes_of(block);
        unmap(block);
    }
    return released;
}

/* Fills a slot; whatever was in it, and the oldest others while there is too much, go back to the system. */
static void fill(unsigned slot, uintptr_t block) {
    atomic_fetch_add(&kept_pages, (int64_t)(block % PAGE));
    const uintptr_t before = atomic_exchange(&slots[slot % N_SLOTS], block);
    atomic_fetch_sub(&kept_pages, (int64_t)(before % PAGE));
    unmap(before);
    for (unsigned i = 1; i < N_SLOTS && atomic_load(&kept_pages) > KEPT_PAGES; i++)
        unmap(emptied(slot + i));
}

static uintptr_t kept(size_t pages) {
    for (unsigned i = 0; i < N_SLOTS; i++) {
        if (atomic_load(&slots[i]) % PAGE != pages)
            continue;
        const uintptr_t block = emptied(i);
        if (block % PAGE == pages)
            return block;
        if (block)
            fill(i, block); /* another thread's, just put there */
    }
    return 0;
}

/* Twice as far apart as asked for holds an aligned block somewhere; the rest goes back at once. */
static uintptr_t mapped(size_t pages) {
    const size_t bytes = pages * PAGE;
    char *map = mmap(NULL, bytes + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return 0;
    const size_t before = (PAGE - (uintptr_t)map % PAGE) % PAGE;
    if (before)
        munmap(map, before);
    munmap(map + before + bytes, PAGE - before);
#if defined(MADV_HUGEPAGE)
    madvise(map + before, bytes, MADV_HUGEPAGE);
#endif
    return (uintptr_t)(map + before) + pages;
}

void *fg_result_alloc(size_t bytes) {
    if (bytes > (size_t)PTRDIFF_MAX || bytes / PAGE + 2 >= PAGE)
        return NULL;
    const size_t pages = (bytes + ALIGNMENT + PAGE - 1) / PAGE;
    uintptr_t block = kept(pages);
    if (!block)
        block = mapped(pages);
    if (!block && fg_release_memory() > 0)
        block = mapped(pages);
    if (!block)
        return NULL;
    char *result = start_of(block) + ALIGNMENT;
    ((prefix *)(void *)result)[-1] = (prefix){start_of(block), pages * PAGE};
    return result;
}

size_t fg_result_bytes(const void *result) { return ((const prefix *)result)[-1].bytes - ALIGNMENT; }

void fg_result_free(void *result) {
    if (!result)
        return;
    const prefix p = ((prefix *)result)[-1];
    const uintptr_t block = (uintptr_t)p.start + p.bytes / PAGE;
#if defined(MADV_FREE)
    if (block % PAGE <= KEPT_PAGES && madvise(p.start, p.bytes, MADV_FREE) == 0) {
        fill(atomic_fetch_add(&oldest, 1), block);
        return;
    }
#endif
    unmap(block);
}

int fg_is_new(const void *memory) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char here = 1;
#if defined(__linux__)
    (void)mincore((void *)((uintptr_t)memory / page * page), 1, &here);
#endif
    return !(here & 1);
}
