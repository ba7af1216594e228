/* The findings of a report: which of the known (place, state) pairs it claims, and on which side. One parser
 * serves the truth, generated reports and scores, so that they are read by the same rules. Tables:
 * data/entities.def.
 *
 * A *finding* is an (entity, density) pair, 29 of them. A *label* is a finding with its side told apart, 52 of
 * them: the targets a detector learns. A finding on both sides carries its left and its right label. */
#ifndef DATA_FINDINGS_H
#define DATA_FINDINGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum Entity {
#define ENTITY(id, chinese, english) ENTITY_##id,
#include "data/entities.def"
    ENTITY_COUNT
} Entity;

typedef enum Density {
#define DENSITY(id, chinese, english) DENSITY_##id,
#include "data/entities.def"
    DENSITY_COUNT
} Density;

/* FIND_<entity>_<density>: the row of a finding. */
enum {
#define FINDING(entity, density, sided, kind) FIND_##entity##_##density,
#include "data/entities.def"
    FINDING_COUNT, /* 29 */
    LABEL_COUNT = 52,
};

/* Sides are the patient's. In an image the patient's right is on the left. */
typedef enum Side { SIDE_ABSENT = 0, SIDE_LEFT = 1, SIDE_RIGHT = 2, SIDE_BOTH = 3, SIDE_NONE = 4 } Side;
Side side_mirror(Side s);

typedef struct FindingKind {
    Entity entity;
    Density density;
    bool sided;       /* has a left and a right label */
    bool focal;       /* has a place: grid cells carry it. Otherwise diffuse: slices carry it */
    bool parenchymal; /* focal, low or high density in one of the 11 places of the brain tissue */
    int first_label;  /* its label, or its left label (the right one follows) */
} FindingKind;
const FindingKind *finding_kind(int finding);      /* 0..FINDING_COUNT-1 */
int finding_index(Entity entity, Density density); /* -1 if the pair is not in the table */

typedef struct FindingLabel {
    int finding;
    Side side;  /* LEFT, RIGHT, NONE, or BOTH for the one that is always paired */
    int mirror; /* the label of the same finding on the other side; itself if it has none */
} FindingLabel;
const FindingLabel *finding_label(int label); /* 0..LABEL_COUNT-1 */

/* Chinese names as a report and the annotations write them: "基底节区", "低", "左" ("双" both, "" none). */
const char *entity_name(Entity e);
const char *entity_english(Entity e);
const char *density_name(Density d);
const char *density_english(Density d);
const char *side_name(Side s);
/* The inverse; -1 (SIDE_ABSENT for a side) if unknown. */
int entity_from_name(const char *name);
int density_from_name(const char *name);
Side side_from_name(const char *name);

/* What a report claims. side[f] is SIDE_ABSENT where finding f is not claimed. */
typedef struct FindingSet {
    uint8_t side[FINDING_COUNT];
    int other; /* positive clauses that name a (place, state) pair outside the table: always wrong */
} FindingSet;

/* Reads a report (UTF-8, NUL-terminated; bytes that are not known words are skipped, so any bytes will do).
 * Clauses end at ，。；, ; . and line ends. In a clause words are matched longest first; a clause with a
 * negation or with oedema claims nothing; a place takes the last side named before it, else the first one
 * after. */
FindingSet findings_parse(const char *report);
/* Bytes of the end of a clause at s, 0 if there is none. */
size_t findings_separator(const char *s);

bool findings_equal(const FindingSet *a, const FindingSet *b);
/* Left and right claims of one finding become both; a side that must not or need not be named becomes the
 * table's. */
void findings_add(FindingSet *set, int finding, Side side);
/* Bit l is set where label l is claimed. */
uint64_t findings_labels(const FindingSet *set);
uint64_t labels_mirror(uint64_t labels);
/* The set a given label mask means (the inverse of findings_labels for sets without `other`). */
FindingSet findings_from_labels(uint64_t labels);

/* Whether experiments hold this combination out of their training data (data/held_out.def). */
bool finding_held_out(int finding, Side side);

/* Swaps 左 and 右 in place: the report of the mirrored patient. */
void findings_mirror_text(char *report);
#endif
