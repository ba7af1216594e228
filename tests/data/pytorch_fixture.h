/* PyTorch files made by hand: zip archives of stored members, and the form before. */
#ifndef TESTS_DATA_PYTORCH_FIXTURE_H
#define TESTS_DATA_PYTORCH_FIXTURE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Buffer {
    uint8_t bytes[1 << 16];
    size_t n;
} Buffer;

static inline void put(Buffer *b, const void *bytes, size_t n)
{
    if (n > sizeof b->bytes - b->n) abort();
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}
static inline void put_number(Buffer *b, uint64_t x, int bytes) { put(b, &x, (size_t)bytes); }

typedef struct Member {
    const char *name;
    const char *bytes;
    size_t n;
    /* What the directory says instead: 0 what is true. */
    int method, flags;
    uint32_t size;  /* both sizes */
    uint32_t local; /* offset of the local header */
} Member;

static inline uint32_t zip_crc(const char *bytes, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < n; i++) {
        crc ^= (uint8_t)bytes[i];
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* What a local header and a directory entry have in common. */
static inline void zip_fields(Buffer *b, const Member *m, bool directory)
{
    uint32_t size = directory && m->size ? m->size : (uint32_t)m->n;
    put_number(b, 20, 2);
    put_number(b, (uint64_t)m->flags, 2);
    put_number(b, (uint64_t)m->method, 2);
    put_number(b, 0, 4); /* time */
    put_number(b, zip_crc(m->bytes, m->n), 4);
    put_number(b, size, 4);
    put_number(b, size, 4);
    put_number(b, strlen(m->name), 2);
    put_number(b, 0, 2);
}

/* entries: what the end says about their number; 0: the truth. */
static inline void make_zip(Buffer *b, const Member *member, size_t n, unsigned entries)
{
    uint32_t local[16];
    b->n = 0;
    for (size_t i = 0; i < n; i++) {
        local[i] = (uint32_t)b->n;
        put(b, "PK\3\4", 4);
        zip_fields(b, &member[i], false);
        put(b, member[i].name, strlen(member[i].name));
        put(b, member[i].bytes, member[i].n);
    }
    size_t begin = b->n;
    for (size_t i = 0; i < n; i++) {
        put(b, "PK\1\2\24\0", 6);
        zip_fields(b, &member[i], true);
        put(b, "\0\0\0\0\0\0\0\0\0", 10); /* comment, disk, attributes */
        put_number(b, member[i].local ? member[i].local : local[i], 4);
        put(b, member[i].name, strlen(member[i].name));
    }
    size_t size = b->n - begin;
    put(b, "PK\5\6\0\0\0\0", 8);
    put_number(b, entries ? entries : n, 2);
    put_number(b, entries ? entries : n, 2);
    put_number(b, size, 4);
    put_number(b, begin, 4);
    put_number(b, 0, 2);
}
#endif
