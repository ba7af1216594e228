/* Pathological clues: for every entity that a report describes, what is said of it, one slice that shows it,
 * and its mask there. They teach the visual encoder (segmentation and entity alignment); generation never sees
 * them.
 *
 * clues.json:
 *   { "version": 1, "studies": [ { "id": "12", "size": [height, width], "clues": [
 *       { "entity": "丘脑", "text": "右侧丘脑见小片状低密度影", "slice": 9, "mask": "COCO run lengths" or null,
 *         "score": 0.31, "mask_index": 4 }, ... ] }, ... ] }
 * Whoever finds the masks writes the file: clues_from_truth from a phantom's exact masks, pcrl-retrieve from a
 * gallery. An entity without a slice has no row; one with a slice but no mask has "mask": null. "score" (the
 * cosine) and "mask_index" (in the gallery's slice) are of retrieved clues and may be left out, as may the
 * file's "settings", an object that says how it was made.
 *
 * A description is made of the clauses (cut at 。；，) that hold the entity's name and no longer entity's name
 * that contains it, joined by ；. */
#ifndef DATA_CLUES_H
#define DATA_CLUES_H
#include "data/ctrg.h"
#include "data/json.h"

int clue_entity_count(void);
const char *clue_entity_name(int entity);    /* Chinese */
const char *clue_entity_english(int entity); /* lower case */
int clue_entity_from_name(const char *name); /* -1 if unknown */
/* What a report says of an entity: malloc'ed, the caller's; NULL if it is not described. */
char *clue_description(const char *report, int entity);

typedef struct Clue {
    int entity;
    char *text;
    int slice;      /* 0..23 */
    char *counts;   /* run lengths, checked; NULL: no mask */
    double score;   /* NAN: none */
    int mask_index; /* -1: none */
} Clue;

typedef struct StudyClues {
    int64_t id;
    int width, height; /* of the masks */
    int n;
    Clue *clue;
} StudyClues;

typedef struct Clues {
    char *path;       /* of the file, for messages; NULL when it was not read from one */
    json_t *settings; /* owned; NULL: none */
    int n;
    StudyClues *study; /* by id, ascending */
} Clues;

Clues *clues_read(const char *path, Error *e);
void clues_free(Clues *c);                                /* NULL allowed */
const StudyClues *clues_find(const Clues *c, int64_t id); /* NULL if absent */

/* Takes what s holds into an empty or ordered list whose ids are all below s->id. False without memory, s is
 * then freed. */
bool clues_add(Clues *c, StudyClues *s, Error *e);
void clues_free_study(StudyClues *s); /* what it holds */
/* Crash-safe; what is written reads back. */
bool clues_write(const Clues *c, const char *path, Error *e);

/* Writes the clues of every study of c that has a truth block: an entity's mask is the union of the masks of
 * the truth rows that its name stands in, in the slice where that is largest (the lowest on ties). Crash-safe.
 */
bool clues_from_truth(const Ctrg *c, const char *path, Error *e);

/* What one pair of equation 4 is about. */
typedef struct ClueUnit {
    int slice, entity; /* entity: of the first where several were merged */
    char *text;        /* descriptions, joined by ; where entities were merged */
    uint8_t *mask;     /* [height][width] of 0 or 1, the union; NULL: no mask */
} ClueUnit;

/* The units of a study: one for each entity, or, with merge, one for each slice (as the authors' code does).
 * paper24: the list of 24 entities (of the two that are read as one, the second joins the first where their
 * slice is the same). *units is malloc'ed (clue_units_free). */
bool clue_units(const StudyClues *s, bool merge, bool paper24, ClueUnit **units, int *n, Error *e);
void clue_units_free(ClueUnit *units, int n);
#endif
