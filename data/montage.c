#include "data/montage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = STUDY_LAYERS, ROWS = STUDY_SLICES / STUDY_LAYERS, GAP = 2, LARGEST_CELL = 192 };
static const uint8_t INK[3] = {120, 190, 230}, LINE[3] = {240, 190, 70};

static void put(Image *m, int x, int y, const uint8_t rgb[3])
{
    if (x < 0 || y < 0 || x >= m->width || y >= m->height) return;
    memcpy(m->pixel + 3 * ((size_t)y * (size_t)m->width + (size_t)x), rgb, 3);
}

/* Digits of 3 x 5 dots, drawn at twice the size. A row is three bits, left to right. */
static void draw_number(Image *m, int x, int y, int number)
{
    static const uint8_t digit[10][5] = {{7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 3, 1, 7},
                                         {5, 5, 7, 1, 1}, {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7}, {7, 1, 2, 2, 2},
                                         {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7}};
    if (number >= 10) draw_number(m, x, y, number / 10);
    int left = number >= 10 ? x + 8 : x;
    for (int r = 0; r < 10; r++)
        for (int c = 0; c < 6; c++)
            if (digit[number % 10][r / 2] >> (2 - c / 2) & 1) put(m, left + c, y + r, INK);
}

/* A slice, each pixel of its cell the mean of step x step of its own. */
static void draw_slice(Image *m, const uint8_t *p, int size, int channels, int step, int left, int top)
{
    int cell = size / step;
    for (int y = 0; y < cell; y++)
        for (int x = 0; x < cell; x++) {
            int sum[3] = {0};
            for (int k = 0; k < step * step; k++) {
                const uint8_t *q =
                    p + (size_t)((y * step + k / step) * size + x * step + k % step) * (size_t)channels;
                for (int c = 0; c < 3; c++) sum[c] += q[c % channels];
            }
            uint8_t rgb[3];
            for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(sum[c] / (step * step));
            put(m, left + x, top + y, rgb);
        }
}

static int step_of(int size, int largest) { return (size + largest - 1) / largest; }
static int height_of(int cell) { return ROWS * (cell + GAP) - GAP; }

/* An empty picture with room for the slices right of `left`. */
static bool start(Image *m, int cell, int left, Error *e)
{
    *m = (Image){left + COLUMNS * (cell + GAP) - GAP, height_of(cell), 3, NULL};
    m->pixel = calloc(3 * (size_t)m->width, (size_t)m->height);
    return m->pixel || error_set(e, ERROR_MEMORY, "montage: no memory for %d x %d pixels", m->width, m->height);
}

static void draw_slices(Image *m, const uint8_t *pixel, int size, int channels, int step, int left)
{
    int cell = size / step;
    for (int i = 0; i < STUDY_SLICES; i++) {
        int x = left + i / ROWS * (cell + GAP), y = i % ROWS * (cell + GAP);
        draw_slice(m, pixel + (size_t)i * (size_t)size * (size_t)size * (size_t)channels, size, channels, step,
                   x, y);
        draw_number(m, x + 3, y + 3, i);
    }
}

bool montage_cells(const uint8_t *pixel, int size, int channels, int largest, Image *image, Error *e)
{
    Image m;
    int step = step_of(size, largest);
    if (!start(&m, size / step, 0, e)) return false;
    draw_slices(&m, pixel, size, channels, step, 0);
    *image = m;
    return true;
}

bool montage_slices(const uint8_t *pixel, int size, int channels, Image *image, Error *e)
{
    return montage_cells(pixel, size, channels, LARGEST_CELL, image, e);
}

/* The midline plane from the patient's right side: front on the left, vertex on top; mm per pixel = scale. */
static void draw_scout(Image *m, const Volume *v, const Study *s, double scale, int width, int height)
{
    int column = (int)(s->centre_x / v->dx);
    column = column < 0 ? 0 : column >= v->nx ? v->nx - 1 : column;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int row = (int)((x + 0.5) * scale / v->dy), z = v->nz - 1 - (int)((y + 0.5) * scale / v->dz);
            if (row >= v->ny || z < 0) continue;
            double hu = (double)v->hu[((int64_t)z * v->ny + row) * v->nx + column];
            uint8_t g = study_window(hu, 200, 1000);
            put(m, x, y, (uint8_t[3]){g, g, g});
        }
    for (int i = 0; i < STUDY_SLICES; i++) {
        int y = (int)((v->nz * v->dz - s->at[i]) / scale);
        int from = i % ROWS == 0 ? 0 : width / 8;
        for (int x = from; x < width; x += i % ROWS == 0 ? 1 : 3) put(m, x, y, LINE);
        if (i % ROWS == 0) draw_number(m, 2, y - 12, i);
    }
}

bool montage_draw(const Study *s, const Volume *v, Image *image, Error *e)
{
    int step = step_of(s->size, LARGEST_CELL), height = height_of(s->size / step), scout = 0;
    double scale = 1;
    if (v && s->from_volume) {
        scale = v->nz * v->dz / height;
        scout = (int)(v->ny * v->dy / scale);
        if (scout > 2 * height) scout = 2 * height, scale = v->ny * v->dy / scout;
    }
    int left = scout ? scout + 2 * GAP : 0;
    Image m;
    if (!start(&m, s->size / step, left, e)) return false;
    if (scout) draw_scout(&m, v, s, scale, scout, height);
    draw_slices(&m, s->pixel, s->size, 1, step, left);
    *image = m;
    return true;
}
