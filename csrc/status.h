/* Failing with a reason: the one way a core function reports an error. */
#ifndef FG_STATUS_H
#define FG_STATUS_H

#include "fastgrad.h"

/* Writes the formatted message into `error` (NULL is allowed) and returns `status`. */
FG_CHECKED __attribute__((format(printf, 3, 4))) fg_status fg_fail(fg_error *error, fg_status status,
                                                                   const char *format, ...);

#endif
