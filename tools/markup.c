#include "tools/markup.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a character at p that XML 1.0 does not allow (controls, U+FFFE, U+FFFF); 0 if it does. */
static size_t forbidden(const char *p)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x20) return c != '\t' && c != '\n' && c != '\r';
    return !strncmp(p, "\xef\xbf\xbe", 3) || !strncmp(p, "\xef\xbf\xbf", 3) ? 3 : 0;
}

void markup_text(FILE *f, const char *text, size_t most)
{
    for (const char *p = text; *p;) {
        size_t skip = forbidden(p);
        if (((unsigned char)*p & 0xc0) != 0x80 && !most--) {
            fputs("…", f);
            return;
        }
        switch (skip ? 0 : *p) {
        case 0: fputs("\xef\xbf\xbd", f); break;
        case '<': fputs("&lt;", f); break;
        case '>': fputs("&gt;", f); break;
        case '&': fputs("&amp;", f); break;
        case '"': fputs("&quot;", f); break;
        case '\'': fputs("&#39;", f); break;
        default: putc(*p, f);
        }
        p += skip ? skip : 1;
    }
}

const char *markup_number(double value, int digits, char out[MARKUP_ROOM])
{
    snprintf(out, MARKUP_ROOM, "%.*g", digits, value);
    char *e = strchr(out, 'e');
    if (!e) return out;
    char *from = e + 1, *to = e + 1; /* "e-05" becomes "e-5", "e+12" becomes "e12" */
    if (*from == '-') *to++ = '-';
    from++;
    while (*from == '0') from++;
    memmove(to, from, strlen(from) + 1);
    return out;
}

const char *markup_duration(double seconds, char out[MARKUP_ROOM])
{
    if (seconds < 59.95) {
        snprintf(out, MARKUP_ROOM, "%.1f s", seconds);
    } else if (seconds < 3599.5) {
        int s = (int)(seconds + 0.5);
        snprintf(out, MARKUP_ROOM, "%d min %02d s", s / 60, s % 60);
    } else if (seconds >= 3.6e9) {
        snprintf(out, MARKUP_ROOM, "over 1000000 h");
    } else {
        double minutes = seconds / 60 + 0.5, hours = floor(minutes / 60);
        snprintf(out, MARKUP_ROOM, "%.0f h %02d min", hours, (int)(minutes - hours * 60));
    }
    return out;
}

char *markup_png(const Image *image, Error *e)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char head[] = "data:image/png;base64,";
    uint8_t *png;
    size_t n;
    if (!image_encode_png(image, &png, &n, e)) return NULL;
    size_t length = sizeof head - 1 + (n + 2) / 3 * 4;
    char *text = malloc(length + 1), *p = text + sizeof head - 1;
    if (text) {
        memcpy(text, head, sizeof head - 1);
        for (size_t i = 0; i < n; i += 3, p += 4) {
            uint32_t v = (uint32_t)png[i] << 16 | (i + 1 < n ? (uint32_t)png[i + 1] << 8 : 0) |
                         (i + 2 < n ? png[i + 2] : 0);
            for (int k = 0; k < 4; k++) p[k] = digit[v >> (18 - 6 * k) & 63];
            if (i + 1 >= n) p[2] = '=';
            if (i + 2 >= n) p[3] = '=';
        }
        *p = 0;
    } else {
        error_set(e, ERROR_MEMORY, "page: no memory for a picture of %zu bytes", n);
    }
    free(png);
    return text;
}
