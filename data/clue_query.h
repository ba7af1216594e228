/* What a clue asks the retrieval model for. Its text tower was taught English, so entity and description are
 * put into a few English words by the table data/clue_phrases.def:
 *
 *   丘脑, "右侧丘脑见小片状低密度影"  ->  ct image of right thalamus with small patchy hypodense lesion
 *   脑沟, "左侧外侧裂池及脑沟内见高密度影；脑沟增宽"  ->  ct image of left sulci with hyperdense lesion and
 * sulci widened
 *
 * A clause gives: "normal" where nothing is wrong, which is said only if no clause says otherwise; the side,
 * the last one named before the place, else the first one after it; the place; what is seen. Clauses that give
 * the same words are said once. */
#ifndef DATA_CLUE_QUERY_H
#define DATA_CLUE_QUERY_H
#include "data/clues.h"

typedef enum ClueQueryMode {
    CLUE_QUERY_ENGLISH,
    CLUE_QUERY_RAW, /* the description as it is */
} ClueQueryMode;

/* description: of clue_description, or any text. malloc'ed, the caller's. */
char *clue_query(int entity, const char *description, ClueQueryMode mode);

/* Every clause says that nothing is wrong (未见, 正常, 居中, ...). */
bool clue_is_normal(const char *description);

/* Every word that an English query can hold, each once, in byte order. One block, the caller's: free(words). */
const char **clue_query_words(int *n);
#endif
