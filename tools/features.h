/* Frozen grid features of a data set, made once and kept on disk: bf16 (n*24,14,14,C) and f32 pooled (n*24,C)
 * in one safetensors file, whose metadata ties it to the ResNet file and the data set it came from. */
#ifndef TOOLS_FEATURES_H
#define TOOLS_FEATURES_H
#include "data/safetensors.h"
#include "models/resnet.h"
#include "tools/train_data.h"

typedef struct Features {
    TensorFile *file;
    const TensorEntry *grid, *pooled;
    int64_t n, channels; /* studies */
} Features;

/* Opens <folder>/<name>.safetensors if it belongs to `resnet` (a file) and `data`; else computes and writes it
 * first, on `backend`, with a progress line. */
bool features_open(Features *f, const char *folder, const char *name, const char *resnet, const TrainData *data,
                   const Backend *backend, Error *e);
void features_close(Features *f);

/* Study k: grid [24*196*C] in bf16 and pooled [24*C]; either may be NULL. */
bool features_read(const Features *f, int64_t k, uint16_t *grid, float *pooled, Error *e);

/* n pixels to x [n][channels] as a ResNet wants them: of 3 channels, torchvision's public ones, grey three
 * times, less ImageNet's mean, over its standard deviation; of 1 channel, ours, slice_normal. */
void slices_normalise(const uint8_t *pixel, size_t n, int64_t channels, float *x);

/* Grid and pooled features of one study's slices u8[24][height][width], on the step stack. */
void study_features(Tape *t, const Resnet *net, const uint8_t *pixel, int width, int height, Tensor **grid,
                    Tensor **pooled);
#endif
