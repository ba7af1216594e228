#include "data/clue_query.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum PhraseClass { NOTHING, SIDE, WORD, NOUN, STATE, NORMAL, PLACE } PhraseClass;
typedef struct Phrase {
    const char *chinese, *english;
    PhraseClass class;
    const char *entity; /* of a PLACE */
} Phrase;
static const Phrase phrases[] = {
#define CLUE_PHRASE(chinese, class, english) {chinese, english, class, NULL},
#define CLUE_PLACE(chinese, entity, english) {chinese, english, PLACE, entity},
#include "data/clue_phrases.def"
#define CLUE_ENTITY(name, in24, english) {name, english, PLACE, name},
#include "data/clue_entities.def"
};
enum { PHRASES = sizeof phrases / sizeof *phrases, CLAUSE_PHRASES = 32 };
static const char opening[] = "ct image of";
static const char *const glue[] = {opening, "normal", "with", "and"};

static const Phrase *longest(const char *s, size_t left)
{
    const Phrase *best = NULL;
    size_t most = 0;
    for (int i = 0; i < PHRASES; i++) {
        size_t n = strlen(phrases[i].chinese);
        if (n <= most || n > left || memcmp(s, phrases[i].chinese, n) != 0) continue;
        best = &phrases[i];
        most = n;
    }
    return best;
}

static size_t clause_end(const char *s)
{
    size_t n = 0;
    while (s[n] && strncmp(s + n, "。", 3) && strncmp(s + n, "；", 3) && strncmp(s + n, "，", 3)) n++;
    return n;
}

typedef struct Clause {
    const char *side, *place; /* NULL: not named */
    const Phrase *seen[CLAUSE_PHRASES];
    int n;
    bool noun, normal;
} Clause;

/* What a clause of n bytes says of the entity (Chinese name). */
static Clause read_clause(const char *s, size_t n, const char *entity)
{
    Clause c = {0};
    const char *before = NULL;
    for (size_t at = 0; at < n;) {
        const Phrase *p = longest(s + at, n - at);
        at += p ? strlen(p->chinese) : 1;
        if (!p) continue;
        if (p->class == SIDE) {
            if (!c.side) c.side = p->english; /* the first, until the place is met */
            before = p->english;
        } else if (p->class == PLACE) {
            if (c.place || strcmp(p->entity, entity) != 0) continue;
            c.place = p->english;
            if (before) c.side = before;
        } else if (p->class == NORMAL) {
            c.normal = true;
        } else if (c.n < CLAUSE_PHRASES) {
            c.seen[c.n++] = p;
            c.noun |= p->class == NOUN;
        }
    }
    return c;
}

static void say(FILE *f, const char *words)
{
    if (ftell(f) > 0) fputc(' ', f);
    fputs(words, f);
}

static char *clause_words(const Clause *c, const char *entity)
{
    char *text;
    size_t n;
    bool with = false;
    FILE *f = open_memstream(&text, &n);
    if (!f) die("out of host memory for a query");
    if (c->normal) say(f, "normal");
    if (c->side) say(f, c->side);
    say(f, c->place ? c->place : entity);
    for (int i = 0; !c->normal && i < c->n; i++) {
        if (i && !strcmp(c->seen[i]->english, c->seen[i - 1]->english)) continue;
        if (c->noun && !with && c->seen[i]->class != STATE) {
            say(f, "with");
            with = true;
        }
        say(f, c->seen[i]->english);
    }
    if (fclose(f)) die("out of host memory for a query");
    return text;
}

/* One of the n texts is this one. */
static bool said(char *const *texts, int n, const char *text)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(texts[i], text)) return true;
    return false;
}

bool clue_is_normal(const char *description)
{
    for (const char *s = description; *s;) {
        size_t length = clause_end(s);
        if (length && !read_clause(s, length, "").normal) return false;
        s += length + (s[length] ? 3 : 0);
    }
    return true;
}

char *clue_query(int entity, const char *description, ClueQueryMode mode)
{
    char *text, *part[CLAUSE_PHRASES];
    size_t size;
    int n = 0;
    if (mode == CLUE_QUERY_RAW) {
        if (!(text = strdup(description))) die("out of host memory for a query");
        return text;
    }
    FILE *f = open_memstream(&text, &size);
    if (!f) die("out of host memory for a query");
    bool normal = clue_is_normal(description);
    fputs(opening, f);
    for (const char *s = description; *s && n < CLAUSE_PHRASES;) {
        size_t length = clause_end(s);
        Clause c = read_clause(s, length, clue_entity_name(entity));
        s += length + (s[length] ? 3 : 0);
        if (!length || (c.normal && !normal)) continue;
        part[n] = clause_words(&c, clue_entity_english(entity));
        if (said(part, n, part[n])) {
            free(part[n]);
            continue;
        }
        if (n) say(f, "and");
        say(f, part[n++]);
    }
    if (!n) say(f, clue_entity_english(entity));
    while (n) free(part[--n]);
    if (fclose(f)) die("out of host memory for a query");
    return text;
}

/* ---- words ---- */

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

const char **clue_query_words(int *n)
{
    enum { GLUE = sizeof glue / sizeof *glue };
    size_t bytes = 0, room = 0;
    for (int i = 0; i < PHRASES + GLUE; i++) {
        const char *s = i < PHRASES ? phrases[i].english : glue[i - PHRASES];
        bytes += strlen(s) + 1;
        for (room += 1; *s; s++) room += *s == ' ';
    }
    const char **words = malloc(room * sizeof *words + bytes);
    if (!words) die("out of host memory for the words of queries");
    char *to = (char *)(words + room);
    int count = 0;
    for (int i = 0; i < PHRASES + GLUE; i++) {
        strcpy(to, i < PHRASES ? phrases[i].english : glue[i - PHRASES]);
        for (char *rest = to, *word; (word = strsep(&rest, " "));) {
            if (!*word) continue;
            words[count++] = word;
            to = word + strlen(word) + 1;
        }
    }
    qsort(words, (size_t)count, sizeof *words, by_text);
    *n = 0;
    for (int i = 0; i < count; i++)
        if (!*n || strcmp(words[i], words[*n - 1]) != 0) words[(*n)++] = words[i];
    return words;
}
