/* A tokenizer.json or tokenizer.model up to the first NUL, then a text: it must come back from its ids, whether
 * encoded alone or by an encoder that has seen it. */
#include "tensor/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "tokenizer/bpe.h"

static void check_text(const Bpe *b, BpeEncoder *x, const char *text, size_t n, bool specials)
{
    Error e = {0};
    int32_t *ids;
    const int32_t *again;
    int count, n_again;
    char *back;
    size_t m;
    if (!bpe_encode(b, text, n, specials, &ids, &count, &e)) {
        fuzz_refused(&e);
        if (utf8_valid_prefix(text, n) == n && e.code != ERROR_INPUT)
            die("refused although it is UTF-8: %s", e.msg);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= bpe_vocab_size(b)) die("id %d is %d", i, ids[i]);
        if (!specials && bpe_is_special(b, ids[i])) die("id %d is special", i);
    }
    for (int turn = 0; turn < 2; turn++) {
        if (!bpe_encoder_run(x, text, n, specials, &again, &n_again, &e))
            die("refused by an encoder: %s", e.msg);
        if (n_again != count || memcmp(again, ids, (size_t)count * sizeof *ids))
            die("an encoder's ids are others");
    }
    if (!bpe_decode(b, ids, count, true, &back, &m, &e)) die("not decoded: %s", e.msg);
    /* names of special tokens may hold anything but NUL, and are written as they are */
    if (!specials && (m != n || memcmp(back, text, n))) die("%zu bytes came back as %zu, or others", n, m);
    free(back);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *nul = n ? memchr(bytes, 0, n) : NULL;
    size_t length = nul ? (size_t)(nul - bytes) : n;
    const char *text = (const char *)(nul ? nul + 1 : bytes);
    size_t n_text = nul ? n - length - 1 : n;
    Error e = {0};
    FuzzFile f = fuzz_file(bytes, length);
    Bpe *b = bpe_open(f.path, &e);
    if (b) {
        BpeEncoder *x = bpe_encoder_open(b, &e);
        if (!x) die("no encoder: %s", e.msg);
        check_text(b, x, text, n_text, false);
        check_text(b, x, text, n_text, true);
        bpe_encoder_close(x);
        bpe_close(b);
    } else {
        fuzz_refused(&e);
    }
    fuzz_close(&f);
    return 0;
}
