/* The allocator seam: all memory of the core comes and goes here. */
#ifndef FG_ALLOC_H
#define FG_ALLOC_H

#include "fastgrad.h"

/* Zeroed memory for `count` elements of `size` bytes, aligned to 64; NULL when there is none or the product
 * overflows. A count of 0 gives a valid pointer. */
FG_CHECKED void *fg_alloc(size_t count, size_t size);
void fg_free(void *pointer); /* NULL is ignored */

/* Whether nothing was written yet to the page that holds this byte: the system will clear it at the first store. */
int fg_is_new(const void *memory);

#endif
