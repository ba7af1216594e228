/* Texts and numbers as they stand in an SVG or HTML file. */
#ifndef TOOLS_MARKUP_H
#define TOOLS_MARKUP_H
#include "data/image.h"
#include <stddef.h>
#include <stdio.h>

enum { MARKUP_ROOM = 32 };

/* UTF-8 text with < > & " ' escaped, for content and for quoted attributes. Characters that XML does not allow
 * become U+FFFD; after `most` characters an ellipsis ends it. */
void markup_text(FILE *f, const char *text, size_t most);

/* At most `digits` significant digits, at the shortest: 0.0706, 1200, 2e-5, 3.1e12. Returns out. */
const char *markup_number(double value, int digits, char out[MARKUP_ROOM]);

/* 8.2 s, 11 min 26 s, 2 h 05 min, over 1000000 h. Returns out. */
const char *markup_duration(double seconds, char out[MARKUP_ROOM]);

/* "data:image/png;base64,...", malloc'ed, the caller's; NULL on error. */
char *markup_png(const Image *image, Error *e);
#endif
