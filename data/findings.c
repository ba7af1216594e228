/* Tables of findings and the clause parser; see findings.h. */
#include "data/findings.h"
#include "tensor/error.h"
#include <string.h>

static const char *const entity_names[][2] = {
#define ENTITY(id, chinese, english) {chinese, english},
#include "data/entities.def"
};
static const char *const density_names[][2] = {
#define DENSITY(id, chinese, english) {chinese, english},
#include "data/entities.def"
};

enum { SIDED, MIDLINE, PAIRED };
enum { PLACE, FOCAL, DIFFUSE };

/* Labels are numbered in table order, so a row's first label is the number of labels before it. */
#define LABELS_SIDED   2
#define LABELS_MIDLINE 1
#define LABELS_PAIRED  1
enum {
#define FINDING(entity, density, sided, kind)                                                                  \
    FIRST_##entity##_##density, LAST_##entity##_##density = FIRST_##entity##_##density + LABELS_##sided - 1,
#include "data/entities.def"
    LABELS_IN_TABLE
};
_Static_assert((int)LABELS_IN_TABLE == (int)LABEL_COUNT, "LABEL_COUNT in findings.h counts the table's labels");

static const FindingKind kinds[FINDING_COUNT] = {
#define FINDING(entity, density, sided, kind)                                                                  \
    {ENTITY_##entity,   DENSITY_##density, (sided) == SIDED,                                                   \
     (kind) != DIFFUSE, (kind) == PLACE,   FIRST_##entity##_##density},
#include "data/entities.def"
};
static const uint8_t how_sided[FINDING_COUNT] = {
#define FINDING(entity, density, sided, kind) sided,
#include "data/entities.def"
};

static const FindingLabel labels[LABEL_COUNT] = {
#define ROWS_SIDED(f, first)   [first] = {f, SIDE_LEFT, (first) + 1}, [(first) + 1] = {f, SIDE_RIGHT, first},
#define ROWS_MIDLINE(f, first) [first] = {f, SIDE_NONE, first},
#define ROWS_PAIRED(f, first)  [first] = {f, SIDE_BOTH, first},
#define FINDING(entity, density, sided, kind)                                                                  \
    ROWS_##sided(FIND_##entity##_##density, FIRST_##entity##_##density)
#include "data/entities.def"
};

typedef enum WordClass { NOTHING, SIDE, NEGATION, OEDEMA, LENS, W_PLACE, STATE } WordClass;
typedef struct Word {
    const char *text;
    uint8_t bytes;
    WordClass class;
    int value;
} Word;
static const Word words[] = {
#define CLASS_SIDE               SIDE
#define CLASS_NEGATION           NEGATION
#define CLASS_OEDEMA             OEDEMA
#define CLASS_LENS               LENS
#define CLASS_PLACE              W_PLACE
#define CLASS_STATE              STATE
#define TERM(text, class, value) {text, sizeof text - 1, CLASS_##class, value},
#include "data/entities.def"
};
enum { WORD_COUNT = sizeof words / sizeof *words };

static const struct {
    Entity entity;
    Density density;
    int finding;
} rules[] = {
#define RULE(entity, density, to_entity, to_density)                                                           \
    {ENTITY_##entity, DENSITY_##density, FIND_##to_entity##_##to_density},
#include "data/entities.def"
};

Side side_mirror(Side s) { return s == SIDE_LEFT ? SIDE_RIGHT : s == SIDE_RIGHT ? SIDE_LEFT : s; }

const FindingKind *finding_kind(int finding)
{
    if (finding < 0 || finding >= FINDING_COUNT)
        die("finding_kind: %d is not in 0..%d", finding, FINDING_COUNT - 1);
    return &kinds[finding];
}

const FindingLabel *finding_label(int label)
{
    if (label < 0 || label >= LABEL_COUNT) die("finding_label: %d is not in 0..%d", label, LABEL_COUNT - 1);
    return &labels[label];
}

int finding_index(Entity entity, Density density)
{
    for (int f = 0; f < FINDING_COUNT; f++)
        if (kinds[f].entity == entity && kinds[f].density == density) return f;
    return -1;
}

const char *entity_name(Entity e) { return entity_names[e][0]; }
const char *entity_english(Entity e) { return entity_names[e][1]; }
const char *density_name(Density d) { return density_names[d][0]; }
const char *density_english(Density d) { return density_names[d][1]; }

const char *side_name(Side s)
{
    return s == SIDE_LEFT ? "左" : s == SIDE_RIGHT ? "右" : s == SIDE_BOTH ? "双" : "";
}

int entity_from_name(const char *name)
{
    for (int i = 0; i < ENTITY_COUNT; i++)
        if (!strcmp(entity_names[i][0], name)) return i;
    return -1;
}

int density_from_name(const char *name)
{
    for (int i = 0; i < DENSITY_COUNT; i++)
        if (!strcmp(density_names[i][0], name)) return i;
    return -1;
}

Side side_from_name(const char *name)
{
    static const Side all[] = {SIDE_LEFT, SIDE_RIGHT, SIDE_BOTH, SIDE_NONE};
    for (int i = 0; i < 4; i++)
        if (!strcmp(side_name(all[i]), name)) return all[i];
    return SIDE_ABSENT;
}

void findings_add(FindingSet *set, int finding, Side side)
{
    if (finding < 0 || finding >= FINDING_COUNT)
        die("findings_add: %d is not in 0..%d", finding, FINDING_COUNT - 1);
    if (side == SIDE_ABSENT) return;
    int old = set->side[finding], now = (int)side;
    if (how_sided[finding] == MIDLINE)
        now = SIDE_NONE;
    else if (old != SIDE_ABSENT && old != SIDE_NONE) /* a named side outweighs an unnamed one */
        now = now == SIDE_NONE ? old : old | now;
    set->side[finding] = (uint8_t)now;
}

/* ---- the clause parser ---- */

static const Word *longest_word(const char *s)
{
    const Word *best = NULL;
    for (int i = 0; i < WORD_COUNT; i++) {
        const Word *w = &words[i];
        if (w->text[0] == s[0] && (!best || w->bytes > best->bytes) && !strncmp(s, w->text, w->bytes)) best = w;
    }
    return best;
}

size_t findings_separator(const char *s)
{
    static const char *const wide[] = {"，", "。", "；"};
    if (*s && strchr(",;.\n\r", *s)) return 1;
    for (int i = 0; i < 3; i++)
        if (!strncmp(s, wide[i], 3)) return 3;
    return 0;
}

static int finding_of(Entity entity, Density density)
{
    int f = finding_index(entity, density);
    for (size_t i = 0; f < 0 && i < sizeof rules / sizeof *rules; i++)
        if (rules[i].entity == entity && rules[i].density == density) f = rules[i].finding;
    return f;
}

enum { CLAUSE_WORDS = 16 };
typedef struct Clause {
    struct {
        Entity entity;
        Side side;
    } place[CLAUSE_WORDS];
    int n_places;
    uint32_t states; /* bit d: density d was named */
    Side first_side, last_side;
    bool silent, lens;
} Clause;

static void clause_word(Clause *c, const Word *w)
{
    switch (w->class) {
    case SIDE:
        c->last_side = (Side)w->value;
        if (c->first_side == SIDE_ABSENT) c->first_side = c->last_side;
        break;
    case NEGATION:
    case OEDEMA: c->silent = true; break;
    case LENS: c->lens = true; break;
    case STATE: c->states |= 1u << w->value; break;
    case W_PLACE:
        if (c->n_places < CLAUSE_WORDS) {
            c->place[c->n_places].entity = (Entity)w->value;
            c->place[c->n_places++].side = c->last_side;
        }
        break;
    case NOTHING: break;
    }
}

static void clause_claims(const Clause *c, FindingSet *set)
{
    if (c->silent) return;
    for (int i = 0; i < c->n_places; i++) {
        Entity entity = c->place[i].entity;
        Side side = c->place[i].side != SIDE_ABSENT ? c->place[i].side : c->first_side;
        if (side == SIDE_ABSENT) side = SIDE_NONE;
        if (entity == ENTITY_SUBCALVARIAL) entity = c->lens ? ENTITY_EPIDURAL : ENTITY_SUBDURAL;
        for (int d = 0; d < DENSITY_COUNT; d++) {
            if (!(c->states >> d & 1)) continue;
            int f = finding_of(entity, (Density)d);
            if (f < 0)
                set->other++;
            else
                findings_add(set, f, side);
        }
    }
}

FindingSet findings_parse(const char *report)
{
    FindingSet set = {0};
    for (const char *s = report; *s;) {
        Clause c = {0};
        size_t gap = 0;
        while (*s && !(gap = findings_separator(s))) {
            const Word *w = longest_word(s);
            if (w) clause_word(&c, w);
            s += w ? w->bytes : 1;
        }
        s += gap;
        clause_claims(&c, &set);
    }
    return set;
}

bool findings_equal(const FindingSet *a, const FindingSet *b)
{
    return !memcmp(a->side, b->side, sizeof a->side) && a->other == b->other;
}

uint64_t findings_labels(const FindingSet *set)
{
    uint64_t bits = 0;
    for (int f = 0; f < FINDING_COUNT; f++) {
        uint64_t first = 1ull << kinds[f].first_label;
        int side = set->side[f];
        if (side == SIDE_ABSENT) continue;
        if (how_sided[f] != SIDED)
            bits |= first;
        else if (side != SIDE_NONE)
            bits |= (side & SIDE_LEFT ? first : 0) | (side & SIDE_RIGHT ? first << 1 : 0);
    }
    return bits;
}

uint64_t labels_mirror(uint64_t bits)
{
    uint64_t out = 0;
    for (int l = 0; l < LABEL_COUNT; l++)
        if (bits >> l & 1) out |= 1ull << labels[l].mirror;
    return out;
}

FindingSet findings_from_labels(uint64_t bits)
{
    FindingSet set = {0};
    for (int l = 0; l < LABEL_COUNT; l++)
        if (bits >> l & 1) findings_add(&set, labels[l].finding, labels[l].side);
    return set;
}

void findings_mirror_text(char *report)
{
    for (char *s = report; *s; s++) {
        if (!strncmp(s, "左", 3))
            memcpy(s, "右", 3), s += 2;
        else if (!strncmp(s, "右", 3))
            memcpy(s, "左", 3), s += 2;
    }
}

bool finding_held_out(int finding, Side side)
{
    static const struct {
        int finding;
        Side side;
    } held[] = {
#define HELD_OUT(entity, density, side) {FIND_##entity##_##density, SIDE_##side},
#include "data/held_out.def"
    };
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        if (held[i].finding == finding && held[i].side == side) return true;
    return false;
}
