#include "data/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    FuzzFile f = fuzz_file(bytes, n);
    TensorFile *s = safetensors_open(f.path, &e);
    if (!s) fuzz_refused(&e);
    for (int i = 0; s && i < s->n; i++) {
        const TensorEntry *t = &s->entry[i];
        uint64_t elements = t->size / st_dtype_size(t->dtype);
        if (t->size > n)
            die("tensor %s of %llu bytes in a file of %zu", t->name, (unsigned long long)t->size, n);
        if (tensor_file_find(s, t->name) != t) die("tensor %s is not found", t->name);
        float *x = malloc(elements * sizeof *x + 1);
        if (!tensor_file_read_f32(s, t, x, &e)) fuzz_refused(&e);
        free(x);
    }
    tensor_file_close(s);
    fuzz_close(&f);
    return 0;
}
