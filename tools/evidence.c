#include "tools/evidence.h"
#include "data/file.h"
#include "data/montage.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const float OPACITY = 0.7f; /* of the tint at probability 1 */
static const float TINT[3][3] = {{60, 90, 220}, {205, 60, 200}, {255, 60, 40}}; /* at 0, 0.5, 1 */
static const uint8_t CONTOUR[3] = {110, 225, 255};

/* Between cells *low and *low + 1 (or the last), *share of the latter. */
static void place(int i, int size, int *low, float *share)
{
    float at = fmaxf(((float)i + 0.5f) * GRID / (float)size - 0.5f, 0);
    *low = (int)at < GRID - 1 ? (int)at : GRID - 1;
    *share = at - (float)*low;
}

void evidence_resize(const float prob[GRID_CELLS], int size, float *out)
{
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            int r, c;
            float v, u;
            place(y, size, &r, &v);
            place(x, size, &c, &u);
            int down = r + 1 < GRID ? GRID : 0, right = c + 1 < GRID;
            const float *p = prob + r * GRID + c;
            out[y * size + x] =
                (1 - v) * ((1 - u) * p[0] + u * p[right]) + v * ((1 - u) * p[down] + u * p[down + right]);
        }
}

static void tint(float p, uint8_t grey, uint8_t rgb[3])
{
    int half = p >= 0.5f;
    float t = 2 * p - (float)half, a = OPACITY * p;
    for (int c = 0; c < 3; c++) {
        float colour = TINT[half][c] + t * (TINT[half + 1][c] - TINT[half][c]);
        rgb[c] = (uint8_t)lrintf((1 - a) * (float)grey + a * colour);
    }
}

/* Pixel i is in, and a neighbour is not. */
static bool on_contour(const float *p, int size, int x, int y)
{
    const float *at = p + y * size + x;
    if (*at < 0.5f) return false;
    return (x > 0 && at[-1] < 0.5f) || (x + 1 < size && at[1] < 0.5f) || (y > 0 && at[-size] < 0.5f) ||
           (y + 1 < size && at[size] < 0.5f);
}

void evidence_draw(const uint8_t *grey, int size, const float prob[GRID_CELLS], uint8_t *rgb)
{
    float *p = malloc((size_t)size * (size_t)size * sizeof *p);
    if (!p) die("out of host memory for a slice");
    evidence_resize(prob, size, p);
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            int i = y * size + x;
            if (on_contour(p, size, x, y))
                memcpy(rgb + 3 * i, CONTOUR, 3);
            else
                tint(fminf(fmaxf(p[i], 0), 1), grey[i], rgb + 3 * i);
        }
    free(p);
}

bool evidence_write(const char *folder, int64_t id, const uint8_t *pixel, int size, const float *prob, Error *e)
{
    char path[4096];
    int used = snprintf(path, sizeof path - 32, "%s/%lld", folder, (long long)id);
    if (used >= (int)sizeof path - 32) return error_set(e, ERROR_INPUT, "%.100s...: path too long", folder);
    if (!file_make_folder(path, e)) return false;
    size_t plane = (size_t)size * (size_t)size;
    Image all = {0}, one = {size, size, 3, NULL};
    uint8_t *rgb = malloc(3 * CTRG_SLICES * plane);
    bool ok = rgb || error_set(e, ERROR_MEMORY, "%s: no memory for its pictures", path);
    for (size_t i = 0; ok && i < CTRG_SLICES; i++) {
        one.pixel = rgb + 3 * plane * i;
        evidence_draw(pixel + plane * i, size, prob + GRID_CELLS * i, one.pixel);
        snprintf(path + used, 32, "/%02zu.png", i);
        ok = image_write_png(path, &one, e);
    }
    snprintf(path + used, 32, ".png");
    ok = ok && montage_slices(rgb, size, 3, &all, e) && image_write_png(path, &all, e);
    free(all.pixel);
    free(rgb);
    return ok;
}
