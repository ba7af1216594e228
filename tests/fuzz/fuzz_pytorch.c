#include "data/pytorch.h"
#include "tests/fuzz/fuzz.h"

/* Every tensor whole, and its middle: a part that a view's first and last bytes are not in. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    FuzzFile f = fuzz_file(bytes, n);
    TensorFile *s = pytorch_open(f.path, &e);
    if (!s) fuzz_refused(&e);
    for (int i = 0; s && i < s->n; i++) {
        const TensorEntry *t = &s->entry[i];
        if (t->size > n)
            die("tensor %s of %llu bytes in a file of %zu", t->name, (unsigned long long)t->size, n);
        if (tensor_file_find(s, t->name) != t) die("tensor %s is not found", t->name);
        uint8_t *whole = malloc(t->size + 1), *part = malloc(t->size + 1);
        uint64_t from = t->size / 3, count = t->size / 3;
        if (!tensor_file_read(s, t, whole, &e) || !tensor_file_read_part(s, t, from, count, part, &e))
            fuzz_refused(&e);
        else if (memcmp(whole + from, part, count))
            die("tensor %s: a part is not that of the whole", t->name);
        free(whole);
        free(part);
    }
    tensor_file_close(s);
    fuzz_close(&f);
    return 0;
}
