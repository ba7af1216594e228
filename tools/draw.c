#include "tools/draw.h"
#include <stdlib.h>
#include <string.h>

enum { GLYPHS = 128, ROWS = 7, COLUMNS = 5, ADVANCE = 6 };

/* Rows from the top, five bits each, the highest on the left. */
static const uint8_t glyph[GLYPHS][ROWS] = {
    ['A'] = {14, 17, 17, 31, 17, 17, 17}, ['B'] = {30, 17, 17, 30, 17, 17, 30},
    ['C'] = {14, 17, 16, 16, 16, 17, 14}, ['D'] = {30, 17, 17, 17, 17, 17, 30},
    ['E'] = {31, 16, 16, 30, 16, 16, 31}, ['F'] = {31, 16, 16, 30, 16, 16, 16},
    ['G'] = {14, 17, 16, 23, 17, 17, 15}, ['H'] = {17, 17, 17, 31, 17, 17, 17},
    ['I'] = {14, 4, 4, 4, 4, 4, 14},      ['J'] = {7, 2, 2, 2, 2, 18, 12},
    ['K'] = {17, 18, 20, 24, 20, 18, 17}, ['L'] = {16, 16, 16, 16, 16, 16, 31},
    ['M'] = {17, 27, 21, 21, 17, 17, 17}, ['N'] = {17, 25, 21, 19, 17, 17, 17},
    ['O'] = {14, 17, 17, 17, 17, 17, 14}, ['P'] = {30, 17, 17, 30, 16, 16, 16},
    ['Q'] = {14, 17, 17, 17, 21, 18, 13}, ['R'] = {30, 17, 17, 30, 20, 18, 17},
    ['S'] = {15, 16, 16, 14, 1, 1, 30},   ['T'] = {31, 4, 4, 4, 4, 4, 4},
    ['U'] = {17, 17, 17, 17, 17, 17, 14}, ['V'] = {17, 17, 17, 17, 17, 10, 4},
    ['W'] = {17, 17, 17, 21, 21, 27, 17}, ['X'] = {17, 17, 10, 4, 10, 17, 17},
    ['Y'] = {17, 17, 10, 4, 4, 4, 4},     ['Z'] = {31, 1, 2, 4, 8, 16, 31},
    ['0'] = {14, 17, 19, 21, 25, 17, 14}, ['1'] = {4, 12, 4, 4, 4, 4, 14},
    ['2'] = {14, 17, 1, 6, 8, 16, 31},    ['3'] = {14, 17, 1, 6, 1, 17, 14},
    ['4'] = {2, 6, 10, 18, 31, 2, 2},     ['5'] = {31, 16, 30, 1, 1, 17, 14},
    ['6'] = {6, 8, 16, 30, 17, 17, 14},   ['7'] = {31, 1, 2, 4, 8, 8, 8},
    ['8'] = {14, 17, 17, 14, 17, 17, 14}, ['9'] = {14, 17, 17, 15, 1, 2, 12},
    ['.'] = {0, 0, 0, 0, 0, 12, 12},      [','] = {0, 0, 0, 0, 12, 4, 8},
    [':'] = {0, 12, 12, 0, 12, 12, 0},    ['-'] = {0, 0, 0, 31, 0, 0, 0},
    ['+'] = {0, 4, 4, 31, 4, 4, 0},       ['('] = {2, 4, 8, 8, 8, 4, 2},
    [')'] = {8, 4, 2, 2, 2, 4, 8},        ['/'] = {1, 1, 2, 4, 8, 16, 16},
    ['%'] = {24, 25, 2, 4, 8, 19, 3},
};

bool draw_new(Image *image, int width, int height, Error *e)
{
    size_t n = 3 * (size_t)width * (size_t)height;
    *image = (Image){width, height, 3, malloc(n)};
    if (!image->pixel) return error_set(e, ERROR_MEMORY, "no memory for a picture of %d x %d", width, height);
    memset(image->pixel, 255, n);
    return true;
}

void draw_rectangle(Image *image, int x, int y, int width, int height, const uint8_t rgb[3])
{
    for (int v = y > 0 ? y : 0; v < y + height && v < image->height; v++)
        for (int u = x > 0 ? x : 0; u < x + width && u < image->width; u++)
            memcpy(image->pixel + 3 * ((size_t)v * (size_t)image->width + (size_t)u), rgb, 3);
}

void draw_picture(Image *image, int x, int y, const uint8_t *pixel, int size, int channels, int times)
{
    for (int v = 0; v < size; v++)
        for (int u = 0; u < size; u++) {
            const uint8_t *p = pixel + (size_t)(v * size + u) * (size_t)channels;
            uint8_t rgb[3] = {p[0], p[channels / 3], p[2 * (channels / 3)]};
            draw_rectangle(image, x + u * times, y + v * times, times, times, rgb);
        }
}

void draw_copy(Image *image, int x, int y, const Image *from)
{
    for (int v = 0; v < from->height; v++)
        for (int u = 0; u < from->width; u++)
            draw_rectangle(image, x + u, y + v, 1, 1,
                           from->pixel + 3 * ((size_t)v * (size_t)from->width + (size_t)u));
}

void draw_outline(Image *image, int x, int y, const uint8_t *mask, int size, int times, const uint8_t rgb[3])
{
    int large = size * times;
    for (int v = 0; v < large; v++)
        for (int u = 0; u < large; u++) {
            const uint8_t *at = mask + v / times * size + u / times;
            if (!*at) continue;
            bool edge = (u % times == 0 && (u == 0 || !at[-1])) ||
                        (u % times == times - 1 && (u + 1 == large || !at[1])) ||
                        (v % times == 0 && (v == 0 || !at[-size])) ||
                        (v % times == times - 1 && (v + 1 == large || !at[size]));
            if (edge) draw_rectangle(image, x + u, y + v, 1, 1, rgb);
        }
}

void draw_text(Image *image, int x, int y, int scale, const uint8_t rgb[3], const char *text)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if ((c & 0xc0) == 0x80) continue; /* the rest of a character */
        if (c >= 'a' && c <= 'z') c = (unsigned char)(c - 'a' + 'A');
        for (int v = 0; c < GLYPHS && v < ROWS; v++)
            for (int u = 0; u < COLUMNS; u++)
                if (glyph[c][v] >> (COLUMNS - 1 - u) & 1)
                    draw_rectangle(image, x + u * scale, y + v * scale, scale, scale, rgb);
        x += ADVANCE * scale;
    }
}

int draw_text_width(const char *text, int scale)
{
    int n = 0;
    for (const char *p = text; *p; p++) n += (*p & 0xc0) != 0x80;
    return n ? (ADVANCE * n - 1) * scale : 0;
}
