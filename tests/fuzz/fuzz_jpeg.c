#include "data/jpeg.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Image image = {0};
    if (jpeg_decode("fuzz", bytes, n, &image, &e)) {
        if (image.width < 1 || image.height < 1 || (image.channels != 1 && image.channels != 3))
            die("read, but %d x %d x %d", image.width, image.height, image.channels);
        image_to_grey(&image);
    } else {
        fuzz_refused(&e);
    }
    free(image.pixel);
    return 0;
}
