#include "tools/tokenize.h"
#include "tensor/utf8.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whether a file begins as one that bpe_open reads: JSON, GGUF, or a line "BASE64 RANK". */
static bool is_bpe(const char *head)
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    size_t blank = strspn(head, " \t\r\n"), word = strspn(head, base64);
    if (head[blank] == '{' || !strncmp(head, "GGUF", 4)) return true;
    if (!word || head[word] != ' ') return false;
    size_t digits = strspn(head + word + 1, "0123456789");
    return digits && (head[word + 1 + digits] == '\n' || !head[word + 1 + digits]);
}

static bool open_jieba(Tokenize *t, const char *folder, const TokenizeOptions *o, Error *e)
{
    t->kind = TOKENIZE_JIEBA;
    t->jieba = jieba_open(folder, e);
    if (!t->jieba || (o->user && !jieba_add_words(t->jieba, o->user, e))) return false;
    t->cutter = jieba_cutter_open(t->jieba, !o->no_hmm, e);
    return t->cutter != NULL;
}

/* What may begin a vocabulary: UTF-8, but for a character that is cut. */
static bool is_text(const char *head, size_t n)
{
    return utf8_valid_prefix(head, n) + 3 >= n && !memchr(head, 0, n);
}

static bool no_tokenizer(const char *path, const char *head, size_t n, Error *e)
{
    const uint8_t *b = (const uint8_t *)head;
    if (!n) return error_set(e, ERROR_INPUT, "%s: is empty", path);
    return error_set(e, ERROR_INPUT,
                     "%s: begins with %02x %02x %02x %02x: expected tokenizer.json, tokenizer.model, GGUF or "
                     "vocab.txt",
                     path, b[0], b[1], b[2], b[3]);
}

static bool open_folder(Tokenize *t, const TokenizeOptions *o, Error *e)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/dict.txt", o->tokenizer);
    if (!access(path, F_OK)) return open_jieba(t, o->tokenizer, o, e);
    return error_set(
        e, ERROR_INPUT,
        "%s: no dict.txt of jieba's in this folder; of a model's folder, name the tokenizer's file",
        o->tokenizer);
}

static bool open_any(Tokenize *t, const TokenizeOptions *o, Error *e)
{
    char head[256] = "";
    struct stat s;
    if (!strcmp(o->tokenizer, "jieba")) return open_jieba(t, JIEBA_FOLDER, o, e);
    if (!stat(o->tokenizer, &s) && S_ISDIR(s.st_mode)) return open_folder(t, o, e);
    int fd = open(o->tokenizer, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof head - 1, 0);
    if (fd >= 0) close(fd);
    if (n >= 0 && !is_bpe(head)) {
        if (!n || !is_text(head, (size_t)n)) return no_tokenizer(o->tokenizer, head, (size_t)n, e);
        t->kind = TOKENIZE_WORDPIECE;
        return wordpiece_open(&t->wordpiece, o->tokenizer, e);
    }
    t->kind = TOKENIZE_BPE;
    t->bpe = bpe_open(o->tokenizer, e);
    t->encoder = t->bpe ? bpe_encoder_open(t->bpe, e) : NULL;
    return t->encoder != NULL;
}

bool tokenize_open(Tokenize *t, const TokenizeOptions *o, Error *e)
{
    *t = (Tokenize){.specials = o->specials, .most = o->most};
    if (open_any(t, o, e)) return true;
    tokenize_close(t);
    return false;
}

void tokenize_close(Tokenize *t)
{
    bpe_encoder_close(t->encoder);
    bpe_close(t->bpe);
    wordpiece_close(&t->wordpiece);
    jieba_cutter_close(t->cutter);
    jieba_close(t->jieba);
    free(t->ids);
    *t = (Tokenize){0};
}

bool tokenize_ids(Tokenize *t, const char *text, size_t n, const int32_t **ids, int *count, Error *e)
{
    if (t->kind == TOKENIZE_BPE) return bpe_encoder_run(t->encoder, text, n, t->specials, ids, count, e);
    free(t->ids);
    t->ids = NULL;
    if (!wordpiece_encode(&t->wordpiece, text, n, t->most, &t->ids, count, e)) return false;
    *ids = t->ids;
    return true;
}

bool tokenize_text(const Tokenize *t, const int32_t *ids, int count, char **text, size_t *n, Error *e)
{
    if (t->kind == TOKENIZE_BPE) return bpe_decode(t->bpe, ids, count, t->specials, text, n, e);
    if (!wordpiece_decode(&t->wordpiece, ids, count, t->specials, text, e)) return false;
    *n = strlen(*text);
    return true;
}
