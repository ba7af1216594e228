/* What of a picture SAM sees: crops, and a crop as its input; see sam_masks.h. */
#include "data/resample.h"
#include "models/sam_masks.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of n crops that overlap and together cover `whole`. */
static int crop_length(int whole, int n, int overlap)
{
    return (int)ceil((double)(overlap * (n - 1) + whole) / n);
}

static int least(int a, int b) { return a < b ? a : b; }

int sam_crops(const SamMaskSettings *s, int width, int height, SamCrop *crop)
{
    int n = 1;
    if (crop) crop[0] = (SamCrop){{0, 0, width, height}, 0};
    for (int layer = 1; layer <= s->crop_layers; layer++) {
        int side = 1 << layer, overlap = (int)(s->crop_overlap * least(width, height) * (2.0 / side));
        int w = crop_length(width, side, overlap), h = crop_length(height, side, overlap);
        for (int i = 0; i < side * side; i++, n++) {
            int x = (w - overlap) * (i / side), y = (h - overlap) * (i % side);
            if (crop) crop[n] = (SamCrop){{x, y, least(x + w, width), least(y + h, height)}, layer};
        }
    }
    return n;
}

/* u8 (h,w,1 or 3) to f32 (side,side,3). */
static void normalise(const Image *in, int side, float *x)
{
    static const float mean[3] = {123.675f, 116.28f, 103.53f}, deviation[3] = {58.395f, 57.12f, 57.375f};
    memset(x, 0, 3 * (size_t)side * (size_t)side * sizeof *x);
    for (int i = 0; i < in->height; i++)
        for (int j = 0; j < in->width; j++) {
            const uint8_t *p = in->pixel + ((size_t)i * (size_t)in->width + (size_t)j) * (size_t)in->channels;
            float *out = x + 3 * ((size_t)i * (size_t)side + (size_t)j);
            for (int c = 0; c < 3; c++) out[c] = ((float)p[c % in->channels] - mean[c]) / deviation[c];
        }
}

Tensor *sam_mask_input(Tape *t, const Image *image, int side, int input[2], Error *e)
{
    double scale = (double)side / (image->height > image->width ? image->height : image->width);
    input[0] = (int)(image->height * scale + 0.5);
    input[1] = (int)(image->width * scale + 0.5);
    Image resized;
    if (input[0] < 1 || input[1] < 1) {
        error_set(e, ERROR_INPUT, "image of %d x %d pixels: too narrow for %d x %d", image->width,
                  image->height, side, side);
        return NULL;
    }
    if (!image_resize(image, input[1], input[0], IMAGE_BILINEAR, &resized, e)) return NULL;
    Tensor *x = NULL;
    float *host = malloc(3 * (size_t)side * (size_t)side * sizeof *host);
    if (host) {
        normalise(&resized, side, host);
        x = tape_tensor(t, DTYPE_f32, 4, (int64_t[]){1, side, side, 3});
        tensor_upload(x, host);
    } else {
        error_set(e, ERROR_MEMORY, "no memory for an image of %d x %d pixels", side, side);
    }
    free(host);
    free(resized.pixel);
    return x;
}
