/* Failing with a reason; see status.h. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

fg_status fg_fail(fg_error *error, fg_status status, const char *format, ...) {
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}
