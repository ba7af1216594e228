/* Two kinds of fault, two ways to report them.
 *
 * The world's fault (a file, the disk, memory, a missing device): the function returns false and leaves one
 * line in Error, naming the file, the offender, what was expected and what was found. Nothing half-made is
 * returned. Only tools/ turns an Error into a message and an exit code.
 *
 * The programmer's fault (shapes, dtypes, a misused call): die() prints and aborts. */
#ifndef TENSOR_ERROR_H
#define TENSOR_ERROR_H
#include <stdbool.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Exit codes of every tool. */
enum {
    ERROR_NONE = 0,
    ERROR_USAGE = 1,
    ERROR_INPUT = 2,   /* a file or value that is not what it should be */
    ERROR_IO = 3,      /* cannot open, read or write; disk full */
    ERROR_NUMERIC = 4, /* NaN or Inf where training cannot go on */
    ERROR_PEER = 5,    /* another rank failed */
    ERROR_MEMORY = 6,  /* host or device memory */
    ERROR_INTERNAL = 70,
    ERROR_INTERRUPTED = 130,
};

typedef struct Error {
    int code; /* one of ERROR_*; 0 while nothing went wrong */
    char msg[512];
} Error;

/* Sets code and message (printf format; cut at the buffer's end). Always returns false, so that callers can
 * write `return error_set(e, ...)`. A NULL e is allowed. */
bool error_set(Error *e, int code, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Prints "fatal: ..." on stderr and aborts. */
#ifdef __GNUC__
__attribute__((noreturn, format(printf, 1, 2)))
#endif
void die(const char *format, ...);

/* Prints "out of memory: ..." and ends the process with ERROR_MEMORY. For arenas only: their needs are known
 * before (see backend plan), so there is nothing to return to. */
#ifdef __GNUC__
__attribute__((noreturn, format(printf, 1, 2)))
#endif
void die_memory(const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
