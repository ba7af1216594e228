/* Byte-level byte-pair encoding of the LLaMA-3 form, for LLaMA-3's 128,256 ids and for our own small
 * vocabularies alike; read from the tokenizers library's tokenizer.json, LLaMA-3's tokenizer.model or a GGUF
 * file.
 *
 * Ids are int32. Text is UTF-8 and need not be NUL-terminated. A Bpe is read-only after bpe_open: any number of
 * threads may encode and decode with it at once. */
#ifndef TOKENIZER_BPE_H
#define TOKENIZER_BPE_H
#include "tensor/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Bpe Bpe;

/* Reads, told by its content, a tokenizer.json (model BPE, byte-level alphabet, one Split pattern; the ids of
 * vocabulary and added tokens together must be 0..n-1 without holes) or a tokenizer.model (tiktoken's text,
 * "BASE64 RANK" a line; LLaMA-3's split and its 256 special tokens are added), or the tokenizer of a GGUF file
 * (tokenizer.ggml.model gpt2, a tokenizer.ggml.pre that tokenizer/bpe_gguf.c knows; tokens of any type but
 * normal are its special tokens). NULL and one line in *e when the file is anything else. The caller closes it.
 */
Bpe *bpe_open(const char *path, Error *e);
/* NULL is allowed. */
void bpe_close(Bpe *b);

/* Number of ids, special tokens included: one more than the largest id. */
int bpe_vocab_size(const Bpe *b);
/* The id of an added token such as "<|end_of_text|>", or -1 when the vocabulary has none of that name. */
int32_t bpe_special(const Bpe *b, const char *name);
bool bpe_is_special(const Bpe *b, int32_t id);

/* Encodes n bytes. With `specials` the names of added tokens inside the text become their ids; without, as for
 * every report, they are plain text. No begin or end token is added. *ids is malloc'ed and the caller's (never
 * NULL on success, even when *count is 0). Invalid UTF-8 is an error naming the byte offset; so is a
 * byte that has no token, where the vocabulary of a GGUF file lacks some. */
bool bpe_encode(const Bpe *b, const char *text, size_t n, bool specials, int32_t **ids, int *count, Error *e);

/* An encoder keeps its buffers from text to text, and what pre-tokens became: for many texts. Of one thread at
 * a time; up to 10 MB. NULL: no memory. */
typedef struct BpeEncoder BpeEncoder;
BpeEncoder *bpe_encoder_open(const Bpe *b, Error *e);
void bpe_encoder_close(BpeEncoder *x);
/* As bpe_encode; *ids stay the encoder's, until its next text. */
bool bpe_encoder_run(BpeEncoder *x, const char *text, size_t n, bool specials, const int32_t **ids, int *count,
                     Error *e);

/* The bytes of one id, not NUL-terminated, owned by b: possibly a fragment of a character. A special token
 * gives its name. NULL and *n = 0 when the id is out of range. */
const char *bpe_token(const Bpe *b, int32_t id, size_t *n);

/* Decodes `count` ids into a malloc'ed, NUL-terminated string of *n bytes (n may be NULL), the caller's.
 * Special tokens are left out unless `specials`. Bytes that are no UTF-8 (a model may end inside a character)
 * become U+FFFD, one for each maximal fragment, so the result is always valid. An id out of range is an
 * error. */
bool bpe_decode(const Bpe *b, const int32_t *ids, int count, bool specials, char **text, size_t *n, Error *e);

/* Streaming decode: holds back the bytes of a character until the token that completes it. */
typedef struct BpeStream {
    char held[4]; /* a prefix of one UTF-8 character */
    int n_held;
} BpeStream;

/* Adds one id and writes what became complete to `out` (NUL-terminated, at most `size` bytes with the NUL; size
 * at least bpe_stream_room). Returns the number of bytes written. Specials and ids out of range write nothing.
 * Start with a zeroed BpeStream. */
size_t bpe_stream(const Bpe *b, BpeStream *s, int32_t id, char *out, size_t size);
/* Ends the stream: a held fragment becomes U+FFFD. */
size_t bpe_stream_end(BpeStream *s, char *out, size_t size);
/* Bytes that bpe_stream may need for any one id of this vocabulary. */
size_t bpe_stream_room(const Bpe *b);
#endif
