/* A study's retrieved evidence as pictures: FOLDER/ID.png, a row for each clue (the slice, and beside it the
 * slice with the mask), and FOLDER/ID.html, the same rows with entity, clause, query and cosine. The page needs
 * no other file. */
#ifndef TOOLS_RETRIEVE_PAGE_H
#define TOOLS_RETRIEVE_PAGE_H
#include "data/clue_query.h"
#include "data/image.h"

/* pixel u8[24][s->height][s->width]. Without clues only the page is written, which says so. */
bool retrieve_page_write(const char *folder, const StudyClues *s, const char *findings, const uint8_t *pixel,
                         ClueQueryMode mode, Error *e);

/* One row: RGB, two slices side by side. clue->counts NULL: no mask. The picture is the caller's. */
bool retrieve_row(const StudyClues *s, const Clue *clue, const uint8_t *slice, Image *row, Error *e);
#endif
