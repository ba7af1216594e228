/* Words are found from left to right, longest first, for both lists; the grammar of clauses is in clinical.h,
 * its words and rules in clinical_finding.def. */
#include "data/clinical.h"
#include "data/file.h"
#include "tensor/utf8.h"
#include <stdlib.h>
#include <string.h>

/* ---- the mention list, and lists from files ---- */

void keywords_mention(Keywords *out)
{
    static const struct {
        const char *word, *english;
    } all[] = {
#define MENTION(word, english) {word, english},
#define BESIDE(word)           {word, NULL},
#include "data/clinical_mention.def"
    };
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) { /* those that count come first */
        strcpy(out->word[i], all[i].word);
        out->english[i] = all[i].english;
        out->n += all[i].english != NULL;
        out->n_other += all[i].english == NULL;
    }
}

static bool has_word(const Keywords *k, const char *word)
{
    for (int i = 0; i < k->n; i++)
        if (!strcmp(k->word[i], word)) return true;
    return false;
}

static bool is_white(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* A line of n bytes without the white space round it. */
static bool add_line(Keywords *k, const char *line, size_t n, const char *path, int number, Error *e)
{
    while (n && is_white(line[n - 1])) n--;
    while (n && is_white(*line)) line++, n--;
    if (!n) return true;
    if (memchr(line, 0, n) || utf8_valid_prefix(line, n) != n)
        return error_set(e, ERROR_INPUT, "%s: line %d: expected a keyword in UTF-8, found other bytes", path,
                         number);
    if (n > KEYWORD_BYTES)
        return error_set(e, ERROR_INPUT, "%s: line %d: expected a keyword of at most %d bytes, found %zu", path,
                         number, KEYWORD_BYTES, n);
    if (k->n == KEYWORDS_MAX)
        return error_set(e, ERROR_INPUT, "%s: line %d: expected at most %d keywords", path, number,
                         KEYWORDS_MAX);
    char *word = k->word[k->n];
    memcpy(word, line, n);
    word[n] = 0;
    if (has_word(k, word))
        return error_set(e, ERROR_INPUT, "%s: line %d: '%s' stands in an earlier line, too", path, number,
                         word);
    k->n++;
    return true;
}

bool keywords_read(const char *path, Keywords *out, Error *e)
{
    enum { LIMIT = 1 << 20 };
    static const char *const beside[] = {"左侧", "右侧", "双侧", "两侧"};
    uint8_t *bytes;
    size_t n;
    if (!file_read(path, LIMIT, &bytes, &n, e)) return false;
    memset(out, 0, sizeof *out);
    bool ok = true;
    int number = 0;
    for (const char *line = (char *)bytes, *last = line + n, *end; ok && line < last; line = end + 1) {
        end = memchr(line, '\n', (size_t)(last - line));
        if (!end) end = last;
        ok = add_line(out, line, (size_t)(end - line), path, ++number, e);
    }
    free(bytes);
    if (ok && !out->n) ok = error_set(e, ERROR_INPUT, "%s: expected one keyword a line, found none", path);
    for (int i = 0; ok && i < 4; i++)
        if (!has_word(out, beside[i])) strcpy(out->word[out->n + out->n_other++], beside[i]);
    return ok;
}

void keywords_named(const Keywords *k, const char *report, uint8_t *named)
{
    size_t bytes[KEYWORDS_MAX + KEYWORDS_BESIDE];
    memset(named, 0, (size_t)k->n);
    for (int i = 0; i < k->n + k->n_other; i++) bytes[i] = strlen(k->word[i]);
    for (const char *s = report; *s;) {
        int best = -1;
        for (int i = 0; i < k->n + k->n_other; i++)
            if (k->word[i][0] == *s && !strncmp(s, k->word[i], bytes[i]) &&
                (best < 0 || bytes[i] > bytes[best]))
                best = i;
        if (best >= 0 && best < k->n) named[best] = 1;
        s += best < 0 ? 1 : bytes[best];
    }
}

/* ---- the finding list ---- */

enum { SIDED = CLINICAL_SIDED, PAIRED = CLINICAL_PAIRED, UNSIDED = CLINICAL_UNSIDED };
static const ClinicalFinding findings[CLINICAL_FINDINGS] = {
#define CLINICAL(id, chinese, english, sides) {chinese, english, (ClinicalSides)sides},
#include "data/clinical_finding.def"
};

enum {
    PLACE_NOWHERE,
    PLACE_BASAL,
    PLACE_PERI,
    PLACE_DEEP,
    PLACE_WHITE,
    PLACE_LOBE,
    PLACE_INFRA,
    PLACE_BRAIN,
    PLACE_VENTRICLE,
    PLACE_SULCI,
    PLACE_GYRI,
    PLACE_MIDLINE,
    PLACE_UNDER, /* the skull: becomes one of the next two */
    PLACE_SUBDURAL,
    PLACE_EPIDURAL,
    PLACE_BONE,
    PLACE_SCALP,
    PLACE_SINUS,
    PLACE_OUTSIDE
};
enum {
    SIGN_OEDEMA,
    SIGN_LOW,
    SIGN_FAINT,
    SIGN_HIGH,
    SIGN_CALCIFIED,
    SIGN_SOFT,
    SIGN_CSF,
    SIGN_BLOOD,
    SIGN_CAST,
    SIGN_LEVEL,
    SIGN_FLUID,
    SIGN_LESION,
    SIGN_CRESCENT,
    SIGN_LENS,
    SIGN_PRESSED,
    SIGN_NARROW,
    SIGN_SMALL,
    SIGN_SHALLOW,
    SIGN_GONE,
    SIGN_LEFTWARDS,
    SIGN_RIGHTWARDS,
    SIGN_TURNED_LEFT,
    SIGN_TURNED_RIGHT,
    SIGN_WIDE,
    SIGN_DEEPER,
    SIGN_HYDROCEPHALUS,
    SIGN_ATROPHY,
    SIGN_LEUKOARAIOSIS,
    SIGN_FRACTURE,
    SIGN_LUCENT,
    SIGN_SWOLLEN,
    SIGN_THICK,
    SIGN_OPAQUE,
    SIGN_INFLAMED
};
#define P(place) (1u << PLACE_##place)
#define S(sign)  (1ull << SIGN_##sign)

static const struct {
    int finding;
    uint32_t places;
    uint64_t signs;
} rules[] = {
#define RULE(finding, places, signs) {CLINICAL_##finding, places, signs},
#include "data/clinical_finding.def"
};
enum { RULES = sizeof rules / sizeof *rules };

typedef enum Class {
    CLASS_NOTHING,
    CLASS_PLACE,
    CLASS_SIGN,
    CLASS_SIDE,
    CLASS_NEGATION,
    CLASS_NORMAL,
    CLASS_SAME,
    CLASS_OPPOSITE,
    CLASS_NEXT,
    CLASS_MOVED,
    CLASS_BESIDE,
    CLASS_AROUND,
    CLASS_CHOROID,
    CLASS_PART,
    CLASS_JOIN
} Class;

static const struct Word {
    const char *text;
    uint8_t bytes;
    Class class;
    int value;
} words[] = {
#define PLACE(words, place) {words, sizeof words - 1, CLASS_PLACE, PLACE_##place},
#define SIGN(words, sign)   {words, sizeof words - 1, CLASS_SIGN, SIGN_##sign},
#define SIDE(words, side)   {words, sizeof words - 1, CLASS_SIDE, side},
#define WORD(words, class)  {words, sizeof words - 1, CLASS_##class, 0},
#include "data/clinical_finding.def"
};
enum { WORDS = sizeof words / sizeof *words };

const ClinicalFinding *clinical_finding(int finding)
{
    if (finding < 0 || finding >= CLINICAL_FINDINGS)
        die("clinical_finding: %d is not in 0..%d", finding, CLINICAL_FINDINGS - 1);
    return &findings[finding];
}

void clinical_add(uint8_t side[CLINICAL_FINDINGS], int finding, Side now)
{
    int old = side[finding], named = (int)now;
    ClinicalSides sides = clinical_finding(finding)->sides;
    if (sides == CLINICAL_UNSIDED) named = SIDE_NONE;
    if (named == SIDE_ABSENT) named = SIDE_NONE;
    if (named == SIDE_NONE && sides == CLINICAL_PAIRED) named = SIDE_BOTH;
    if (old == SIDE_ABSENT || old == SIDE_NONE)
        side[finding] = (uint8_t)named;
    else if (named != SIDE_NONE)
        side[finding] = (uint8_t)(old | named);
}

/* A clause as it is read. Places beyond PLACES of one clause are passed over; groups beyond GROUPS are one. */
enum { PLACES = 32, GROUPS = 8 };
typedef struct Clause {
    struct {
        int place, group;
        Side side;
    } place[PLACES];
    uint64_t signs[GROUPS];
    bool judged[GROUPS]; /* a sign was said, taken back or not */
    int n_places, group, n_sides;
    bool negated, midline;
    Side first, before; /* the first and the last side named so far */
    Side since;         /* the last one named behind the last place */
    Side earlier;       /* the last one of the clauses before */
    Side next;          /* of the last clause before that says something of a place; may be absent */
    bool beside_side;   /* nothing but a JOIN stands between here and the last side */
    int beside_place;   /* likewise, or a PART: the index of the place; else -1 */
} Clause;

static void read_side(Clause *c, Side side)
{
    if (side == SIDE_ABSENT) return;
    if (c->beside_side)
        side = (Side)(c->before | side);
    else
        c->n_sides++;
    if (c->n_sides == 1) c->first = side;
    c->before = c->since = side;
}

static void read_place(Clause *c, int place)
{
    if (c->judged[c->group] && c->n_places && c->group + 1 < GROUPS) c->group++;
    c->since = SIDE_ABSENT;
    c->midline |= place == PLACE_MIDLINE;
    if (c->n_places == PLACES) return;
    c->place[c->n_places].place = place;
    c->place[c->n_places].group = c->group;
    c->place[c->n_places].side = c->before;
    c->beside_place = c->n_places++;
}

static void read_sign(Clause *c, uint64_t signs)
{
    c->judged[c->group] = true;
    if (!c->negated) c->signs[c->group] |= signs;
}

/* Turns the ventricle that ends here into another place. False if there is none. */
static bool turn_ventricle(Clause *c, int near, int place)
{
    if (near < 0 || c->place[near].place != PLACE_VENTRICLE) return false;
    c->place[near].place = place;
    return true;
}

static void read_word(Clause *c, const struct Word *w)
{
    bool side = c->beside_side;
    int near = c->beside_place;
    if (w->class == CLASS_JOIN) return;
    c->beside_place = w->class == CLASS_PART ? near : -1;
    switch (w->class) {
    case CLASS_PLACE: read_place(c, w->value); break;
    case CLASS_SIGN: read_sign(c, 1ull << w->value); break;
    case CLASS_SIDE: read_side(c, (Side)w->value); break;
    case CLASS_NEGATION: c->negated = true; break;
    case CLASS_NORMAL:
        c->signs[c->group] = 0;
        c->judged[c->group] = true;
        break;
    case CLASS_MOVED:
        read_sign(c, c->since == SIDE_LEFT ? S(TURNED_LEFT) : c->since == SIDE_RIGHT ? S(TURNED_RIGHT) : 0);
        break;
    case CLASS_BESIDE: turn_ventricle(c, near, PLACE_PERI); break;
    case CLASS_AROUND:
        if (turn_ventricle(c, near, PLACE_PERI)) break; /* fall through */
    case CLASS_NEXT:
        if (c->before == SIDE_ABSENT) read_side(c, c->next);
        break;
    case CLASS_SAME:
        if (c->before == SIDE_ABSENT) read_side(c, c->earlier);
        break;
    case CLASS_OPPOSITE: read_side(c, side_mirror(c->before ? c->before : c->earlier)); break;
    case CLASS_CHOROID:
        if (!turn_ventricle(c, near, PLACE_BRAIN)) read_place(c, PLACE_BRAIN);
        break;
    case CLASS_PART:
    case CLASS_JOIN:
    case CLASS_NOTHING: break;
    }
    c->beside_side = w->class == CLASS_SIDE || (side && w->class == CLASS_JOIN);
}

static void claim(int place, Side side, uint64_t signs, uint8_t out[CLINICAL_FINDINGS])
{
    for (int r = 0; r < RULES; r++)
        if (rules[r].places >> place & 1 && rules[r].signs & signs) clinical_add(out, rules[r].finding, side);
}

static void claim_group(const Clause *c, int group, uint64_t signs, uint8_t out[CLINICAL_FINDINGS])
{
    const uint64_t filled = S(LOW) | S(FAINT) | S(HIGH) | S(CSF) | S(BLOOD) | S(FLUID) | S(LESION);
    bool lens = signs & S(LENS), any = false;
    for (int i = 0; i < c->n_places; i++)
        lens |= c->place[i].group == group && c->place[i].place == PLACE_EPIDURAL;
    int under = lens ? PLACE_EPIDURAL : PLACE_SUBDURAL;
    for (int i = 0; i < c->n_places; i++) {
        if (c->place[i].group != group) continue;
        int place = c->place[i].place;
        claim(place == PLACE_UNDER ? under : place, c->place[i].side ? c->place[i].side : c->first, signs, out);
        any = true;
    }
    if (any) return;
    bool shaped = signs & (S(CRESCENT) | S(LENS)) && signs & filled;
    claim(shaped ? under : PLACE_NOWHERE, c->before, signs, out);
}

static bool any_sign(const Clause *c)
{
    uint64_t signs = 0;
    for (int g = 0; g <= c->group; g++) signs |= c->signs[g];
    return signs != 0;
}

static void claim_clause(const Clause *c, uint8_t out[CLINICAL_FINDINGS])
{
    uint64_t signs = 0;
    for (int g = 0; g <= c->group; g++) {
        if (c->judged[g]) signs = c->signs[g]; /* else it has those of the group before */
        claim_group(c, g, signs, out);
    }
}

static const struct Word *longest_word(const char *s)
{
    const struct Word *best = NULL;
    for (int i = 0; i < WORDS; i++)
        if (words[i].text[0] == *s && (!best || words[i].bytes > best->bytes) &&
            !strncmp(s, words[i].text, words[i].bytes))
            best = &words[i];
    return best;
}

/* Bytes of the clause's end at s, 0 if it goes on; before: the byte in front of s. */
static size_t clause_end(const char *s, char before)
{
    static const char *const wide[] = {"，", "。", "；", "："};
    if (*s == '.' && before >= '0' && before <= '9' && s[1] >= '0' && s[1] <= '9') return 0;
    if (*s && strchr(",;:.\n\r", *s)) return 1;
    for (int i = 0; i < 4; i++)
        if (!strncmp(s, wide[i], 3)) return 3;
    return 0;
}

void clinical_findings(const char *report, uint8_t side[CLINICAL_FINDINGS])
{
    memset(side, 0, CLINICAL_FINDINGS);
    Side earlier = SIDE_ABSENT, next = SIDE_ABSENT;
    for (const char *s = report; *s;) {
        Clause c = {.earlier = earlier, .next = next, .beside_place = -1};
        size_t end = 0;
        while (*s && !(end = clause_end(s, s > report ? s[-1] : 0))) {
            const struct Word *w = longest_word(s);
            if (w)
                read_word(&c, w);
            else
                c.beside_side = false, c.beside_place = -1;
            s += w ? w->bytes : 1;
        }
        s += end;
        claim_clause(&c, side);
        if (c.midline) continue; /* its side is a direction */
        if (c.before) earlier = c.before;
        if (c.n_places && any_sign(&c)) next = c.before;
    }
}
