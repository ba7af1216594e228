/* Inside data/study: one plane resampled to the study's grid, and what its two sources share. */
#ifndef DATA_STUDY_PLANE_H
#define DATA_STUDY_PLANE_H
#include "data/study.h"

/* One axis of the plane: n inputs step_in apart; the middle of the output lies at `centre` (from the outer edge
 * of input 0, in the unit of the steps) and its pixels are step_out apart. */
typedef struct PlaneAxis {
    int n;
    double step_in, centre, step_out;
} PlaneAxis;

typedef struct PlaneResampler {
    int size, nx, ny;
    struct Tap *x, *y;
    float *rows; /* [ny][size] */
} PlaneResampler;

/* False when memory is short. Triangle filter of half-width max(1, step_out / step_in) inputs. */
bool plane_resampler_make(PlaneResampler *r, PlaneAxis x, PlaneAxis y, int size);
void plane_resampler_free(PlaneResampler *r);
/* src: [ny][nx]; dst: [size][size]; `air` stands for what lies outside. */
void plane_resample(PlaneResampler *r, const float *src, float air, float *dst);

bool study_check_size(const StudyOptions *o, const char *what, Error *e);
#endif
