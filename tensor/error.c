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
    /* one line, whatever names and texts came out of a file */
    for (char *p = e->msg; *p; p++)
        if ((unsigned char)*p < 32 || *p == 127) *p = '?';
    return false;
}

static void report(const char *kind, const char *format, va_list args)
{
    fputs(kind, stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("fatal: ", format, args);
    va_end(args);
    abort();
}

void die_memory(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("out of memory: ", format, args);
    va_end(args);
    exit(ERROR_MEMORY);
}
