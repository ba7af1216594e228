#include "tensor/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool error_set(Error *e, int code, const char *format, ...)
{
    if (!e) return false;
    va_list args;
    va_start(args, format);
    e->code = code;
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    return false;
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("fatal: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
