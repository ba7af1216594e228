/* The byte alphabet of GPT-2, in which tokenizer.json writes tokens: each byte has one printable character.
 * Bytes '!'..'~', 0xA1..0xAC and 0xAE..0xFF stand for themselves (as code points); the other 68, in ascending
 * order, are U+0100, U+0101, ... */
#ifndef TOKENIZER_ALPHABET_H
#define TOKENIZER_ALPHABET_H
#include "tensor/utf8.h"
#include <string.h>

typedef struct Alphabet {
    int32_t point[256]; /* byte -> code point */
    int16_t byte[324];  /* code point -> byte, or -1 */
} Alphabet;

static inline void alphabet_fill(Alphabet *a)
{
    int32_t next = 256;
    memset(a->byte, -1, sizeof a->byte);
    for (int b = 0; b < 256; b++) {
        bool itself = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        a->point[b] = itself ? b : next++;
        a->byte[a->point[b]] = (int16_t)b;
    }
}

/* Writes n bytes in the alphabet to out (room for 2n). Returns the length. */
static inline size_t alphabet_write(const Alphabet *a, const char *bytes, size_t n, char *out)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t c = a->point[(unsigned char)bytes[i]];
        if (c >= 0x80) out[length++] = (char)(0xC0 | c >> 6);
        out[length++] = (char)(c < 0x80 ? c : 0x80 | (c & 0x3F));
    }
    return length;
}

/* The inverse; out has room for n. False when a character is not in the alphabet. */
static inline bool alphabet_read(const Alphabet *a, const char *text, size_t n, char *out, size_t *length)
{
    *length = 0;
    for (size_t at = 0; at < n;) {
        int32_t c;
        at += (size_t)utf8_next(text + at, n - at, &c);
        if (c < 0 || c >= 324 || a->byte[c] < 0) return false;
        out[(*length)++] = (char)a->byte[c];
    }
    return true;
}
#endif
