/* Walking through UTF-8, strictly as Unicode defines it (no overlong forms, no surrogates, at most U+10FFFF).
 */
#ifndef TENSOR_UTF8_H
#define TENSOR_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    UTF8_INVALID = -1, /* these bytes begin no character */
    UTF8_PARTIAL = -2, /* the text ends inside a character that is well-formed so far */
};

/* Looks at the first character of n >= 1 bytes. Returns how many bytes it takes (at least 1) and sets *c to the
 * code point, UTF8_INVALID or UTF8_PARTIAL; an invalid fragment is as long as what a decoder replaces by one
 * U+FFFD. */
static inline int utf8_next(const char *text, size_t n, int32_t *c)
{
    const unsigned char *s = (const unsigned char *)text;
    int length = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    *c = length == 1 ? s[0] : UTF8_INVALID;
    if (length < 2) return 1;
    int32_t point = s[0] & (0x7F >> length);
    for (int i = 1; i < length; i++) {
        if ((size_t)i == n) {
            *c = UTF8_PARTIAL;
            return i;
        }
        unsigned low = 0x80, high = 0xBF; /* the second byte's range depends on the first */
        if (i == 1 && s[0] == 0xE0) low = 0xA0;
        if (i == 1 && s[0] == 0xED) high = 0x9F;
        if (i == 1 && s[0] == 0xF0) low = 0x90;
        if (i == 1 && s[0] == 0xF4) high = 0x8F;
        if (s[i] < low || s[i] > high) return i;
        point = point << 6 | (s[i] & 0x3F);
    }
    *c = point;
    return length;
}

/* Offset of the first byte that is not well-formed (an unfinished end counts), or n. */
static inline size_t utf8_valid_prefix(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        int32_t c;
        int length = utf8_next(text + at, n - at, &c);
        if (c < 0) break;
        at += (size_t)length;
    }
    return at;
}

/* White space as Python's str.split() knows it. */
static inline bool utf8_space(int32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}
#endif
