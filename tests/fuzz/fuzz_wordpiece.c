/* A WordPiece vocabulary up to the first NUL, then a text: what the vocabulary makes of it must be ids of its
 * own, in the same order however many are asked for. */
#include "tensor/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "tokenizer/wordpiece.h"

static void check_words(const char *text, size_t n)
{
    Error e = {0};
    char *words;
    int count;
    if (!wordpiece_words(text, n, &words, &count, &e)) {
        fuzz_refused(&e);
        if (utf8_valid_prefix(text, n) == n) die("refused although it is UTF-8: %s", e.msg);
        return;
    }
    const char *at = words;
    for (int i = 0; i < count; i++, at += strlen(at) + 1)
        if (!*at || utf8_valid_prefix(at, strlen(at)) != strlen(at)) die("word %d is empty or no UTF-8", i);
    free(words);
}

static void check_ids(const Wordpiece *w, const char *text, size_t n)
{
    static const int most[] = {1 << 20, 77, 3, 2};
    Error e = {0};
    int32_t *all, *ids;
    int n_all, count;
    if (!wordpiece_encode(w, text, n, most[0], &all, &n_all, &e)) {
        fuzz_refused(&e);
        return;
    }
    for (int i = 0; i < n_all; i++)
        if (all[i] < 0 || all[i] >= w->n) die("id %d of %d is %d", i, n_all, all[i]);
    if (n_all < 2 || all[0] != w->cls || all[n_all - 1] != w->sep) die("%d ids without [CLS] or [SEP]", n_all);
    for (int k = 1; k < 4; k++) {
        if (!wordpiece_encode(w, text, n, most[k], &ids, &count, &e)) die("refused at %d: %s", most[k], e.msg);
        int want = n_all < most[k] ? n_all : most[k];
        if (count != want || memcmp(ids, all, (size_t)(want - 1) * sizeof *ids) || ids[want - 1] != w->sep)
            die("cut to %d: %d ids, or others", most[k], count);
        free(ids);
    }
    free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *nul = n ? memchr(bytes, 0, n) : NULL;
    size_t length = nul ? (size_t)(nul - bytes) : n;
    const char *text = (const char *)(nul ? nul + 1 : bytes);
    size_t n_text = nul ? n - length - 1 : n;
    Error e = {0};
    Wordpiece w;
    FuzzFile f = fuzz_file(bytes, length);
    if (wordpiece_open(&w, f.path, &e)) {
        for (int i = 0; i < w.n; i++)
            if (wordpiece_id(&w, w.token[i], strlen(w.token[i])) != i) die("token %d is not itself", i);
        check_ids(&w, text, n_text);
        wordpiece_close(&w);
    } else {
        fuzz_refused(&e);
    }
    check_words(text, n_text);
    fuzz_close(&f);
    return 0;
}
