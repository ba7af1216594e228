/* COCO run lengths; see rle.h. */
#include "data/rle.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 16384 };

static bool size_ok(int width, int height, Error *e)
{
    if (width >= 1 && height >= 1 && width <= MAX_SIDE && height <= MAX_SIDE) return true;
    return error_set(e, ERROR_INPUT, "mask: size %d x %d, expected 1..%d each way", width, height, MAX_SIDE);
}

bool rle_encode(const uint8_t *mask, int width, int height, Rle *rle, Error *e)
{
    if (!size_ok(width, height, e)) return false;
    size_t runs = 1;
    bool value = false;
    for (int x = 0; x < width; x++)
        for (int y = 0; y < height; y++) {
            bool bit = mask[(size_t)y * width + x] != 0;
            runs += bit != value;
            value = bit;
        }
    uint32_t *count = calloc(runs, sizeof *count);
    if (!count) return error_set(e, ERROR_MEMORY, "mask: no memory for %zu run lengths", runs);
    size_t k = 0;
    value = false;
    for (int x = 0; x < width; x++)
        for (int y = 0; y < height; y++) {
            bool bit = mask[(size_t)y * width + x] != 0;
            k += bit != value;
            value = bit;
            count[k]++;
        }
    *rle = (Rle){width, height, runs, count};
    return true;
}

void rle_decode(const Rle *rle, uint8_t *mask)
{
    size_t x = 0, y = 0, height = (size_t)rle->height, width = (size_t)rle->width;
    for (size_t k = 0; k < rle->n; k++)
        for (uint32_t i = 0; i < rle->count[k]; i++) {
            mask[y * width + x] = k & 1;
            if (++y == height) y = 0, x++;
        }
}

uint64_t rle_area(const Rle *rle)
{
    uint64_t area = 0;
    for (size_t k = 1; k < rle->n; k += 2) area += rle->count[k];
    return area;
}

void rle_free(Rle *rle)
{
    free(rle->count);
    *rle = (Rle){0};
}

char *rle_to_text(const Rle *rle)
{
    char *text = malloc(rle->n * 7 + 1), *s = text; /* 33 bits at most: 7 groups of 5 */
    if (!text) return NULL;
    for (size_t k = 0; k < rle->n; k++) {
        int64_t v = rle->count[k];
        if (k > 2) v -= rle->count[k - 2];
        for (bool more = true; more;) {
            int group = (int)(v & 31);
            v >>= 5;
            more = group & 16 ? v != -1 : v != 0;
            *s++ = (char)((more ? group | 32 : group) + 48);
        }
    }
    *s = 0;
    char *fit = realloc(text, (size_t)(s - text) + 1);
    return fit ? fit : text;
}

bool rle_from_counts(const int64_t *count, size_t n, int width, int height, Rle *rle, Error *e)
{
    if (!size_ok(width, height, e)) return false;
    uint64_t total = (uint64_t)width * (uint64_t)height, sum = 0;
    if (n < 1 || n > total + 1)
        return error_set(e, ERROR_INPUT, "mask: %zu run lengths for %d x %d pixels", n, width, height);
    uint32_t *out = malloc(n * sizeof *out);
    if (!out) return error_set(e, ERROR_MEMORY, "mask: no memory for %zu run lengths", n);
    for (size_t k = 0; k < n; k++) {
        if (count[k] < 0 || (uint64_t)count[k] > total - sum) {
            free(out);
            return error_set(e, ERROR_INPUT, "mask: run %zu is %lld, expected 0..%llu (%d x %d pixels)", k,
                             (long long)count[k], (unsigned long long)(total - sum), width, height);
        }
        sum += (uint64_t)count[k];
        out[k] = (uint32_t)count[k];
    }
    if (sum != total) {
        free(out);
        return error_set(e, ERROR_INPUT, "mask: runs cover %llu pixels, expected %llu (%d x %d)",
                         (unsigned long long)sum, (unsigned long long)total, width, height);
    }
    *rle = (Rle){width, height, n, out};
    return true;
}

/* One signed number at s[*at]; false where the text ends within it or it has more than 7 groups. */
static bool read_group(const char *s, size_t n, size_t *at, int64_t *value)
{
    int64_t v = 0;
    for (int shift = 0; shift < 35; shift += 5) {
        if (*at >= n) return false;
        int group = (unsigned char)s[*at] - 48;
        if (group < 0 || group > 63) return false;
        ++*at;
        v |= (int64_t)(group & 31) << shift;
        if (!(group & 32)) {
            if (group & 16) v -= (int64_t)1 << (shift + 5);
            *value = v;
            return true;
        }
    }
    return false;
}

bool rle_from_text(const char *text, size_t n, int width, int height, Rle *rle, Error *e)
{
    if (!size_ok(width, height, e)) return false;
    if (n > 7 * ((uint64_t)width * (uint64_t)height + 1))
        return error_set(e, ERROR_INPUT, "mask: %zu characters of run lengths for %d x %d pixels", n, width,
                         height);
    int64_t *count = malloc((n ? n : 1) * sizeof *count);
    if (!count) return error_set(e, ERROR_MEMORY, "mask: no memory for %zu run lengths", n);
    size_t k = 0, at = 0;
    bool ok = true;
    while (at < n) {
        size_t start = at;
        int64_t v = 0;
        if (!read_group(text, n, &at, &v)) {
            ok = error_set(e, ERROR_INPUT, "mask: run lengths broken at character %zu of %zu", start, n);
            break;
        }
        /* Earlier counts may still be out of range here: |count| <= 2^35 * n never overflows int64. */
        count[k] = k > 2 ? v + count[k - 2] : v;
        k++;
    }
    ok = ok && rle_from_counts(count, k, width, height, rle, e);
    free(count);
    return ok;
}
