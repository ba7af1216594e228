/* SHA-256 (FIPS 180-4): says whether a file's bytes are the ones that were written. */
#ifndef DATA_SHA256_H
#define DATA_SHA256_H
#include <stddef.h>
#include <stdint.h>

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t length;   /* bytes so far */
    uint8_t block[64]; /* the last length % 64 of them */
} Sha256;

void sha256_open(Sha256 *s);
void sha256_add(Sha256 *s, const void *bytes, size_t n);
/* Ends the message: 64 lower-case digits and a NUL. */
void sha256_close(Sha256 *s, char hex[65]);
#endif
