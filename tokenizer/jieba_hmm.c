/* The hidden Markov model for what the dictionary leaves in single characters: finalseg's tables and the
 * Viterbi path. What a table does not have counts as MISSING, so that equal sums are common; of equals the
 * state whose letter is later in the alphabet wins, as the greater of two pairs (probability, letter) does. */
#include "tokenizer/jieba_parts.h"
#include "tensor/utf8.h"
#include "tokenizer/python_literal.h"
#include <stdio.h>

static const double MISSING = -3.14e100;
static const char LETTERS[] = "BEMS";

/* The states that may stand before each state, the earlier letter first. */
static const uint8_t before[STATES][2] = {
    [STATE_B] = {STATE_E, STATE_S},
    [STATE_E] = {STATE_B, STATE_M},
    [STATE_M] = {STATE_B, STATE_M},
    [STATE_S] = {STATE_E, STATE_S},
};

/* While one table is read. */
typedef struct Table {
    JiebaModel *m;
    bool start[STATES], state[STATES]; /* given */
} Table;

static int state_of(const char *key)
{
    const char *letter = *key && !key[1] ? strchr(LETTERS, *key) : NULL;
    return letter ? (int)(letter - LETTERS) : -1;
}

static bool no_state(const PythonItem *item, const char *key, Error *e)
{
    return error_set(e, ERROR_INPUT, "%s: expected a state, B E M or S, found '%s'", item->where, key);
}

static bool twice(const PythonItem *item, Error *e)
{
    return error_set(e, ERROR_INPUT, "%s: '%s' is given twice", item->where, item->key);
}

static bool take_start(void *user, const PythonItem *item, Error *e)
{
    Table *t = user;
    int state = state_of(item->key);
    if (item->outer)
        return error_set(e, ERROR_INPUT, "%s: expected a number for each state, found a dict", item->where);
    if (state < 0) return no_state(item, item->key, e);
    if (t->start[state]) return twice(item, e);
    t->start[state] = true;
    t->m->start[state] = item->value;
    return true;
}

/* The outer key of a two-deep table, or -1. */
static int outer_state(Table *t, const PythonItem *item, Error *e)
{
    if (!item->outer) {
        error_set(e, ERROR_INPUT, "%s: expected a dict for each state, found a number", item->where);
        return -1;
    }
    int state = state_of(item->outer);
    if (state < 0)
        no_state(item, item->outer, e);
    else
        t->state[state] = true;
    return state;
}

static bool take_step(void *user, const PythonItem *item, Error *e)
{
    Table *t = user;
    int from = outer_state(t, item, e), to = state_of(item->key);
    if (from < 0) return false;
    if (to < 0) return no_state(item, item->key, e);
    if (t->m->step[from][to] != MISSING) return twice(item, e);
    t->m->step[from][to] = item->value;
    return true;
}

static bool take_emit(void *user, const PythonItem *item, Error *e)
{
    Table *t = user;
    size_t n = strlen(item->key);
    int32_t c = -1;
    int state = outer_state(t, item, e);
    if (state < 0) return false;
    if (!n || (size_t)utf8_next(item->key, n, &c) != n)
        return error_set(e, ERROR_INPUT, "%s: expected one character, found '%s'", item->where, item->key);
    if (!jieba_is_han(c)) return true; /* never asked for */
    double *emit = &t->m->emit[c - HAN_FIRST][state];
    if (*emit != MISSING) return twice(item, e);
    *emit = item->value;
    return true;
}

static bool read_table(Table *t, const char *folder, const char *name, PythonVisit *visit, Error *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/finalseg/%s", folder, name);
    memset(t->state, 0, sizeof t->state);
    if (!python_literal_read(path, visit, t, e)) return false;
    const bool *given = visit == take_start ? t->start : t->state;
    for (int s = 0; s < STATES; s++)
        if (!given[s]) return error_set(e, ERROR_INPUT, "%s: nothing for state %c", path, LETTERS[s]);
    return true;
}

bool jieba_model_open(JiebaModel *m, const char *folder, Error *e)
{
    Table t = {.m = m};
    size_t n = HAN_LAST - HAN_FIRST + 1;
    m->emit = malloc(n * sizeof *m->emit);
    if (!m->emit) return error_set(e, ERROR_MEMORY, "%s: no memory for the model's tables", folder);
    for (size_t i = 0; i < n * STATES; i++) m->emit[i / STATES][i % STATES] = MISSING;
    for (int i = 0; i < STATES * STATES; i++) m->step[i / STATES][i % STATES] = MISSING;
    return read_table(&t, folder, "prob_start.py", take_start, e) &&
           read_table(&t, folder, "prob_trans.py", take_step, e) &&
           read_table(&t, folder, "prob_emit.py", take_emit, e);
}

void jieba_model_close(JiebaModel *m) { free(m->emit); }

/* The Viterbi path: back[i][s] is the state before s at character i. Returns the last state. */
static int find_path(JiebaCutter *x, size_t from, size_t to)
{
    const JiebaModel *m = &x->j->model;
    double best[STATES], next[STATES];
    const double *emit = m->emit[x->text.c[from] - HAN_FIRST];
    for (int s = 0; s < STATES; s++) best[s] = m->start[s] + emit[s];
    for (size_t i = from + 1; i < to; i++) {
        emit = m->emit[x->text.c[i] - HAN_FIRST];
        for (int s = 0; s < STATES; s++) {
            int a = before[s][0], b = before[s][1];
            double p = best[a] + m->step[a][s] + emit[s], q = best[b] + m->step[b][s] + emit[s];
            next[s] = q >= p ? q : p;
            x->back[i][s] = (uint8_t)(q >= p ? b : a);
        }
        memcpy(best, next, sizeof best);
    }
    return best[STATE_S] >= best[STATE_E] ? STATE_S : STATE_E;
}

/* Characters from..to-1 are one of the model's words, unless a dictionary forbids that. */
static void put_word(JiebaCutter *x, size_t from, size_t to)
{
    if (x->j->any_forbidden) {
        int32_t node = jieba_find(x->j, x->text.c + from, to - from);
        if (node > 0 && x->j->node[node].forbidden)
            while (from + 1 < to) jieba_put(x, ++from);
    }
    jieba_put(x, to);
}

void jieba_model_cut(JiebaCutter *x, size_t from, size_t to)
{
    int state = find_path(x, from, to);
    for (size_t i = to; i-- > from;) { /* from here on back[i][0] is character i's state */
        int previous = i > from ? x->back[i][state] : 0;
        x->back[i][0] = (uint8_t)state;
        state = previous;
    }
    size_t begin = from, next = from;
    for (size_t i = from; i < to; i++) {
        int s = x->back[i][0];
        if (s == STATE_B) begin = i;
        if (s == STATE_E || s == STATE_S) {
            put_word(x, s == STATE_E ? begin : i, i + 1);
            next = i + 1;
        }
    }
    if (next < to) put_word(x, next, to);
}
