/* JSON itself (what is read must be written and read again as it was) and the readers on top: a data set's
 * annotations and a tokenizer. */
#include "data/ctrg.h"
#include "data/json.h"
#include "tests/fuzz/fuzz.h"
#include "tokenizer/bpe.h"

static void any_json(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    json_t *v = json_parse((const char *)bytes, n, "input", &e);
    if (!v) {
        fuzz_refused(&e);
        return;
    }
    const char *s;
    double x;
    if (!json_get_string(v, "dtype", "input", &s, &e)) fuzz_refused(&e);
    if (!json_get_number(v, "id", "input", &x, &e)) fuzz_refused(&e);
    char *text = json_text(v, JSON_ENCODE_ANY);
    json_t *again = text ? json_parse(text, strlen(text), "again", &e) : NULL;
    if (!again || !json_equal(v, again)) die("does not survive writing: %s", e.msg);
    free(text);
    json_decref(again);
    json_decref(v);
}

static void annotations(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Ctrg *c = ctrg_parse((const char *)bytes, n, "input", NULL, NULL, &e);
    if (!c) fuzz_refused(&e);
    for (int i = 0; c && i < c->n; i++) {
        const CtrgStudy *s = &c->study[i];
        for (int t = 0; t < s->n_truth; t++)
            for (int m = 0; m < s->truth[t].n_masks; m++) {
                if ((int64_t)s->width * s->height > 1 << 20) continue;
                uint8_t *mask = malloc((size_t)s->width * (size_t)s->height);
                if (!ctrg_read_mask(s, &s->truth[t].mask[m], mask, &e)) fuzz_refused(&e);
                free(mask);
            }
        uint64_t labels[CTRG_SLICES];
        if ((int64_t)s->width * s->height <= 1 << 20 && !ctrg_slice_labels(s, 4, labels, &e)) fuzz_refused(&e);
    }
    ctrg_free(c);
}

static void tokenizer(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    FuzzFile f = fuzz_file(bytes, n);
    Bpe *b = bpe_open(f.path, &e);
    if (!b) fuzz_refused(&e);
    static const char text[] = "右侧基底节区见 12 mm low density";
    int32_t *ids;
    int count;
    if (b && bpe_encode(b, text, sizeof text - 1, true, &ids, &count, &e)) free(ids);
    bpe_close(b);
    fuzz_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    any_json(bytes, n);
    annotations(bytes, n);
    tokenizer(bytes, n);
    return 0;
}
