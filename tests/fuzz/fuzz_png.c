#include "data/image.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Image image = {0};
    FuzzFile f = fuzz_file(bytes, n);
    if (image_read_png(f.path, &image, &e)) {
        if (image.width < 1 || image.height < 1 || (image.channels != 1 && image.channels != 3))
            die("read, but %d x %d x %d", image.width, image.height, image.channels);
    } else {
        fuzz_refused(&e);
    }
    free(image.pixel);
    fuzz_close(&f);
    return 0;
}
