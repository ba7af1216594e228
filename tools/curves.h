/* Loss curves as SVG: a panel for each value of a stage, training as a line, validations as points. Plain SVG
 * 1.1 with a style sheet that knows dark mode; no script, no font, nothing from elsewhere. */
#ifndef TOOLS_CURVES_H
#define TOOLS_CURVES_H
#include "tools/run_log.h"
#include <stdio.h>

/* A panel's size; at most so many points of a curve are drawn (the extremes of every piece stay). */
enum { CURVES_WIDTH = 312, CURVES_HEIGHT = 190, CURVES_POINTS = 500 };

/* The style sheet that panels need, without its <style> element. */
extern const char curves_style[];

/* The panel of `name` (of run_curve_names) as an <svg> element at x, y of the one around it. The axis is
 * logarithmic where a positive value falls to a tenth or less, never for "lr" and "rate". Skipped updates are
 * marks on the step axis. */
void curves_panel(FILE *f, const RunStage *s, const char *name, double x, double y);

/* "step 1200, 11 min 26 s": what a stage's heading says. */
void curves_progress(FILE *f, const RunStage *s);

/* All panels of all stages in one file; crash-safe. */
bool curves_write(const char *path, const RunLog *log, Error *e);
#endif
