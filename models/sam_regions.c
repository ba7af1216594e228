/* Small holes and islands of a mask; see sam_masks.h. */
#include "models/sam_masks.h"
#include <stdlib.h>
#include <string.h>

/* A component is a tree of labels; each points to a smaller one or to itself. */
static int32_t root(int32_t *parent, int32_t i)
{
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

static void join(int32_t *parent, int32_t a, int32_t b)
{
    a = root(parent, a);
    b = root(parent, b);
    if (a < b)
        parent[b] = a;
    else
        parent[a] = b;
}

/* label[i]: the first pixel, in raster order, of the component that pixel i is in, or -1 outside. */
static void components(const uint8_t *mask, int width, int height, bool holes, int32_t *label)
{
    for (int32_t i = 0; i < width * height; i++) label[i] = (mask[i] != 0) != holes ? i : -1;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int32_t i = y * width + x;
            if (label[i] < 0) continue;
            if (x > 0 && label[i - 1] >= 0) join(label, i, i - 1);
            for (int dx = -1; y > 0 && dx <= 1; dx++)
                if (x + dx >= 0 && x + dx < width && label[i - width + dx] >= 0) join(label, i, i - width + dx);
        }
    for (int32_t i = 0; i < width * height; i++)
        if (label[i] >= 0) label[i] = root(label, i);
}

/* Of the components with the most pixels the one that a scan in blocks of 2 x 2 meets first: the order in which
 * OpenCV numbers them. */
static int32_t largest(const int32_t *label, const int32_t *count, int width, int height, int32_t most)
{
    for (int y = 0; y < height; y += 2)
        for (int x = 0; x < width; x += 2)
            for (int k = 0; k < 4; k++) {
                int r = y + k / 2, c = x + k % 2;
                if (r >= height || c >= width) continue;
                int32_t l = label[r * width + c];
                if (l >= 0 && count[l] == most) return l;
            }
    return -1;
}

bool sam_remove_small(uint8_t *mask, int width, int height, int area, bool holes, int32_t *label)
{
    int32_t n = width * height, *count = label + n, most = 0;
    int small = 0, large = 0;
    components(mask, width, height, holes, label);
    memset(count, 0, (size_t)n * sizeof *count);
    for (int32_t i = 0; i < n; i++)
        if (label[i] >= 0) count[label[i]]++;
    for (int32_t i = 0; i < n; i++) {
        if (!count[i]) continue;
        *(count[i] < area ? &small : &large) += 1;
        if (count[i] > most) most = count[i];
    }
    if (!small) return false;
    int32_t keep = !holes && !large ? largest(label, count, width, height, most) : -1;
    for (int32_t i = 0; i < n; i++)
        if (label[i] >= 0 && count[label[i]] < area && label[i] != keep) mask[i] = holes;
    return true;
}
