#include "tools/medclip_data.h"
#include <stdlib.h>
#include <string.h>

static char *copy_text(const char *text, bool mirror)
{
    char *s = strdup(text);
    if (!s) die("out of host memory for a text");
    if (mirror) findings_mirror_text(s);
    return s;
}

int truth_queries(const CtrgStudy *s, int truth, bool mirror, int most, char **query, int *entity)
{
    char *clause = copy_text(s->truth[truth].clause, mirror), *report = copy_text(s->findings, mirror);
    int n = 0;
    for (int i = 0; i < clue_entity_count() && n < most; i++) {
        char *named = clue_description(clause, i), *said = named ? clue_description(report, i) : NULL;
        if (said) {
            query[n] = clue_query(i, said, CLUE_QUERY_ENGLISH);
            entity[n++] = i;
        }
        free(named);
        free(said);
    }
    free(clause);
    free(report);
    return n;
}

char *region_query(void)
{
    return clue_query(clue_entity_from_name("脑实质"), "脑实质未见异常", CLUE_QUERY_ENGLISH);
}

void masked_slice(const uint8_t *grey, const uint8_t *mask, int width, int height, bool mirror, uint8_t *to)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int at = y * width + (mirror ? width - 1 - x : x);
            to[y * width + x] = mask[at] ? grey[at] : 0;
        }
}

/* Moves the mask by dx, dy; what comes in is 0. */
static void move(const uint8_t *mask, uint8_t *to, int width, int height, int dx, int dy)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int i = y - dy, j = x - dx;
            bool inside = i >= 0 && j >= 0 && i < height && j < width;
            to[y * width + x] = inside && mask[i * width + j];
        }
}

/* A pixel becomes `value` if one of its four neighbours has it. */
static void spread(const uint8_t *mask, uint8_t *to, int width, int height, uint8_t value)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int at = y * width + x;
            bool near = mask[at] == value || (x && mask[at - 1] == value) ||
                        (x + 1 < width && mask[at + 1] == value) || (y && mask[at - width] == value) ||
                        (y + 1 < height && mask[at + width] == value);
            to[at] = near ? value : !value;
        }
}

void mask_disturb(uint8_t *mask, uint8_t *spare, int width, int height, Rng *rng)
{
    size_t n = (size_t)width * (size_t)height;
    int64_t way = rng_below(rng, 4);
    if (way < 2) {
        spread(mask, spare, width, height, (uint8_t)way);
        if (memchr(spare, 1, n)) memcpy(mask, spare, n);
    }
    int dx = (int)rng_below(rng, 3) - 1, dy = (int)rng_below(rng, 3) - 1;
    move(mask, spare, width, height, dx, dy);
    if (memchr(spare, 1, n)) memcpy(mask, spare, n);
}

bool region_is_truth(const SamSlice *s, const uint8_t *mask, int64_t area, double least)
{
    int64_t n = (int64_t)s->width * s->height;
    for (int i = 0; i < s->n; i++) {
        const uint8_t *truth = s->mask + i * n;
        int64_t both = 0;
        for (int64_t k = 0; k < n; k++) both += truth[k] & mask[k];
        if ((double)both >= least * (double)(area + s->area[i] - both)) return true;
    }
    return false;
}
