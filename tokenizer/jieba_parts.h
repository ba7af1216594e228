/* What a Jieba holds; shared by jieba.c (cutting), jieba_words.c (dictionaries) and jieba_hmm.c only. */
#ifndef TOKENIZER_JIEBA_PARTS_H
#define TOKENIZER_JIEBA_PARTS_H
#include "tokenizer/jieba.h"
#include <stdlib.h>
#include <string.h>

/* Words and their beginnings as a trie; node 0 is the root. */
typedef struct JiebaNode {
    int64_t frequency; /* 0: only the beginning of a word */
    double log;        /* of the frequency */
    bool forbidden;    /* as a word of the model */
} JiebaNode;

/* Parent and character -> child; open addressing, at most half full. */
typedef struct JiebaEdge {
    uint64_t key; /* (parent << 32 | character) + 1; 0: empty */
    int32_t child;
} JiebaEdge;

/* The model's states, in the order of their letters B E M S, which decides between equals. */
enum { STATE_B, STATE_E, STATE_M, STATE_S, STATES };
/* The characters that the model knows: jieba's range of Han. */
enum { HAN_FIRST = 0x4E00, HAN_LAST = 0x9FD5 };

typedef struct JiebaModel {
    double start[STATES], step[STATES][STATES]; /* step[from][to] */
    double (*emit)[STATES];                     /* (HAN_LAST - HAN_FIRST + 1) */
} JiebaModel;

struct Jieba {
    JiebaNode *node;
    int32_t n_nodes, room;
    JiebaEdge *edge;
    size_t edge_mask;
    int64_t total; /* of the frequencies; a word given twice counts twice */
    double log_total;
    bool any_forbidden;
    JiebaModel model;
};

static inline int32_t jieba_child(const Jieba *j, int32_t node, int32_t c)
{
    uint64_t key = ((uint64_t)(uint32_t)node << 32 | (uint32_t)c) + 1, hash = key * 0x9E3779B97F4A7C15u;
    for (size_t slot = (hash ^ hash >> 32) & j->edge_mask;; slot = (slot + 1) & j->edge_mask) {
        if (j->edge[slot].key == key) return j->edge[slot].child;
        if (!j->edge[slot].key) return -1;
    }
}

/* The node of n characters, or -1. */
static inline int32_t jieba_find(const Jieba *j, const int32_t *c, size_t n)
{
    int32_t node = 0;
    for (size_t i = 0; i < n && node >= 0; i++) node = jieba_child(j, node, c[i]);
    return node;
}

static inline bool jieba_is_han(int32_t c) { return c >= HAN_FIRST && c <= HAN_LAST; }

/* Characters of a text. */
typedef struct JiebaText {
    int32_t *c;   /* (n) */
    uint32_t *at; /* (n+1) byte offsets */
    size_t n;
} JiebaText;

struct JiebaCutter {
    const Jieba *j;
    bool hmm;
    JiebaText text;
    double *route; /* (n+1) the best path's log-probability from each character on */
    uint32_t *to;  /* (n) where its first word ends */
    uint8_t (*back)[STATES];
    size_t room;
    uint32_t *end; /* (end_room) */
    size_t n_end, end_room;
};

/* Reads FOLDER's three tables. */
bool jieba_model_open(JiebaModel *m, const char *folder, Error *e);
void jieba_model_close(JiebaModel *m);
/* Appends the ends of what the model makes of characters from..to-1, all Han. */
void jieba_model_cut(JiebaCutter *x, size_t from, size_t to);

/* Makes the words' ends. */
static inline void jieba_put(JiebaCutter *x, size_t character) { x->end[x->n_end++] = x->text.at[character]; }

/* The frequency that lets a word win against its parts; the cutter has no model. */
bool jieba_suggest(JiebaCutter *x, const char *word, size_t n, int64_t *frequency, Error *e);
bool jieba_words_open(Jieba *j, const char *folder, Error *e);
#endif
