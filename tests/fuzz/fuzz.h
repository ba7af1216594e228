/* What the fuzz targets share. A target must return 0 for every input; the sanitizers and the checks in it end
 * the program otherwise. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The input as a regular file in memory; its path is valid until fuzz_close. */
typedef struct FuzzFile {
    int fd;
    char path[64];
} FuzzFile;

static inline FuzzFile fuzz_file(const uint8_t *bytes, size_t n)
{
    FuzzFile f = {.fd = memfd_create("fuzz", 0)};
    if (f.fd < 0 || write(f.fd, bytes, n) != (ssize_t)n) die("memfd_create: no file of %zu bytes", n);
    snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
    return f;
}
static inline void fuzz_close(FuzzFile *f) { close(f->fd); }

/* A refusal must say why, in one line, with a code of its own. */
static inline void fuzz_refused(const Error *e)
{
    if (e->code == ERROR_NONE || e->msg[0] == 0 || strchr(e->msg, '\n'))
        die("refused with code %d and \"%s\"", e->code, e->msg);
}
#endif
