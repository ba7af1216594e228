/* Run lengths in text form: the first two bytes are the size. What is understood covers the mask exactly and
 * survives decoding, encoding and writing. */
#include "data/rle.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Rle rle, again;
    if (n < 2) return 0;
    int width = bytes[0], height = bytes[1];
    if (!rle_from_text((const char *)bytes + 2, n - 2, width, height, &rle, &e)) {
        fuzz_refused(&e);
        return 0;
    }
    uint64_t area = 0;
    uint8_t *mask = malloc((size_t)width * (size_t)height), *back = malloc((size_t)width * (size_t)height);
    rle_decode(&rle, mask);
    for (int i = 0; i < width * height; i++) area += mask[i];
    if (area != rle_area(&rle)) die("the area of %d x %d is not that of its mask", width, height);
    char *text = rle_to_text(&rle);
    if (!text || !rle_from_text(text, strlen(text), width, height, &again, &e) || again.n != rle.n ||
        memcmp(again.count, rle.count, rle.n * sizeof *rle.count))
        die("does not survive writing: %s", e.msg);
    rle_free(&again);
    if (!rle_encode(mask, width, height, &again, &e)) die("a decoded mask is refused: %s", e.msg);
    rle_decode(&again, back);
    if (memcmp(mask, back, (size_t)width * (size_t)height)) die("another mask after encoding");
    rle_free(&again);
    rle_free(&rle);
    free(text);
    free(mask);
    free(back);
    return 0;
}
