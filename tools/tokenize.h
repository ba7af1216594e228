/* Any of the project's tokenizers behind one face, told by the file: byte-level BPE (tokenizer.json,
 * tokenizer.model, GGUF), WordPiece (vocab.txt), jieba (a folder, or the word jieba). */
#ifndef TOOLS_TOKENIZE_H
#define TOOLS_TOKENIZE_H
#include "tokenizer/bpe.h"
#include "tokenizer/jieba.h"
#include "tokenizer/wordpiece.h"

typedef enum TokenizeKind { TOKENIZE_BPE, TOKENIZE_WORDPIECE, TOKENIZE_JIEBA } TokenizeKind;

typedef struct TokenizeOptions {
    const char *tokenizer; /* file or folder */
    const char *user;      /* jieba's user dictionary, or NULL */
    bool no_hmm, specials;
    int most; /* WordPiece: ids at most, [CLS] and [SEP] among them */
} TokenizeOptions;

typedef struct Tokenize {
    TokenizeKind kind;
    bool specials;
    int most;
    Bpe *bpe;
    BpeEncoder *encoder;
    Wordpiece wordpiece;
    int32_t *ids; /* of the last text; the wordpiece's */
    Jieba *jieba;
    JiebaCutter *cutter;
} Tokenize;

bool tokenize_open(Tokenize *t, const TokenizeOptions *o, Error *e);
void tokenize_close(Tokenize *t);
/* Ids of n bytes, until the next text; not for jieba, whose words jieba_cut gives. */
bool tokenize_ids(Tokenize *t, const char *text, size_t n, const int32_t **ids, int *count, Error *e);
/* Their text, malloc'ed and the caller's. */
bool tokenize_text(const Tokenize *t, const int32_t *ids, int count, char **text, size_t *n, Error *e);
#endif
