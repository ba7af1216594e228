/* Two figures of a model's reports, each as a page that needs nothing else and as a PNG. Figure 3: lesions,
 * what the segmentation head saw of them, and the sentence that belongs to each. Figure 4: the truth beside the
 * reports of a baseline and of the model, every finding right, on the wrong side, missed or invented. (The
 * numbers are those of the paper's figures of the same purpose; its pictures are of its own patients.) */
#ifndef TOOLS_FIGURE_H
#define TOOLS_FIGURE_H
#include "data/ctrg.h"
#include "data/image.h"
#include "tools/train_data.h"
#include <stdio.h>

typedef struct FigureStudy {
    const CtrgStudy *truth; /* with a truth block, masks as large as the slices */
    int size;
    const uint8_t *pixel;        /* u8[24][size][size] under window 40/80 */
    const float *segment;        /* [24][14][14] probabilities; NULL: figure 4 only */
    const char *ours, *baseline; /* reports; baseline NULL: figure 3 only */
} FigureStudy;

/* `choice` says on the page how the studies were chosen. Writes folder/figure3.html and .png, of the first four
 * studies; folder/figure4.html and .png. Crash-safe. */
bool figure3_write(const char *folder, const FigureStudy *study, int n, const char *choice, Error *e);
bool figure4_write(const char *folder, const FigureStudy *study, int n, const char *choice, Error *e);

/* ---- what both need ---- */

/* How a finding stands: true and said, on the same side or not. */
typedef enum FigureState {
    FIGURE_NOTHING,
    FIGURE_RIGHT,
    FIGURE_SIDE,
    FIGURE_MISSED,
    FIGURE_INVENTED,
    FIGURE_STATES
} FigureState;
FigureState figure_state(Side truth, Side said);
const uint8_t *figure_colour(FigureState s); /* RGB, told apart by colour-blind eyes too */
const char *figure_class(FigureState s);     /* of the pages' style */
/* "left thalamus" and "low density" in English; "右侧丘脑 低密度" in Chinese. */
void figure_place(int finding, Side side, char out[96]);
void figure_name(int finding, Side side, char out[128]);

/* The lesion that a picture is of: a row of the truth, and one slice that shows it. */
enum { FIGURE_TILES = 3 };
typedef struct FigureTile {
    int row, slice;
} FigureTile;
/* Lesions of the brain tissue first, then the other focal findings, each in the slice where it is largest; then
 * further slices of the same. *n is 0 to FIGURE_TILES. */
bool figure_tiles(const FigureStudy *s, FigureTile tile[FIGURE_TILES], int *n, Error *e);
/* u8[size][size]: the truth's row in the tile's slice. */
bool figure_mask(const FigureStudy *s, const FigureTile *t, uint8_t *mask, Error *e);
/* How many pixels a pixel of a slice becomes across. */
int figure_times(int size);

/* A figure: put writes its studies to the page, and draws all of them into a picture that it makes. */
typedef bool FigurePut(FILE *f, const FigureStudy *study, int n, Image *all, Error *e);
typedef struct Figure {
    const char *name, *title, *about; /* of its files; of the page */
    FigurePut *put;
} Figure;
/* folder/NAME.html, with a legend, and folder/NAME.png. */
bool figure_write(const char *folder, const Figure *figure, const FigureStudy *study, int n, const char *choice,
                  Error *e);
#endif
