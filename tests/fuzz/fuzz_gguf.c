/* A GGUF file as a tensor file, as a tokenizer and as a LLaMA: what is read is inside the file and within
 * memory of its size; what the tokenizer makes of text are its ids. */
#include "data/gguf.h"
#include "models/llama_names.h"
#include "tests/fuzz/fuzz.h"
#include "tokenizer/bpe.h"

static void lists(const TensorFile *f, size_t n)
{
    Error e = {0};
    int count;
    const GgufArray *a = gguf_arrays(f, &count);
    for (int i = 0; i < count; i++) {
        char **text, *bytes;
        if (a[i].size > n || a[i].offset > n - a[i].size) die("list %s is not in the file", a[i].key);
        if (a[i].type == GGUF_STRING) {
            if (!gguf_read_strings(f, &a[i], &text, &e)) {
                fuzz_refused(&e);
                continue;
            }
            for (uint64_t k = 0; k < a[i].n; k++)
                if (strlen(text[k]) > a[i].size) die("string %d is longer than its list", (int)k);
            free(text);
        } else {
            bytes = malloc(a[i].size + 1);
            if (!gguf_read_array(f, &a[i], bytes, &e)) die("list %s: %s", a[i].key, e.msg);
            free(bytes);
        }
    }
}

/* Every tensor, whatever its names are by now. */
static void tensors(const TensorFile *f, size_t n)
{
    Error e = {0};
    for (int i = 0; i < f->n; i++) {
        const TensorEntry *t = &f->entry[i];
        if (t->size > n)
            die("tensor %s of %llu bytes in a file of %zu", t->name, (unsigned long long)t->size, n);
        if (tensor_file_find(f, t->name) != t) die("tensor %s is not found", t->name);
        float *x = malloc(t->size / st_dtype_size(t->dtype) * (size_t)st_dtype_block(t->dtype) * sizeof *x + 1);
        if (!tensor_file_read_f32(f, t, x, &e)) die("tensor %s: %s", t->name, e.msg);
        free(x);
    }
}

static void tokenizer(const char *path)
{
    static const char text[] = "don't  12 the\t左侧";
    Error e = {0};
    int32_t *ids;
    int n;
    Bpe *b = bpe_open(path, &e);
    if (!b) fuzz_refused(&e);
    if (b && bpe_encode(b, text, sizeof text - 1, true, &ids, &n, &e)) {
        for (int i = 0; i < n; i++)
            if (ids[i] < 0 || ids[i] >= bpe_vocab_size(b)) die("id %d of %d is %d", i, n, ids[i]);
        free(ids);
    } else if (b) {
        fuzz_refused(&e);
    }
    bpe_close(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    FuzzFile file = fuzz_file(bytes, n);
    TensorFile *f = gguf_open(file.path, &e);
    if (f) {
        lists(f, n);
        tensors(f, n);
        if (!llama_adopt(f, NULL, &e))
            fuzz_refused(&e);
        else
            tensors(f, n);
        tokenizer(file.path);
    } else {
        fuzz_refused(&e);
    }
    tensor_file_close(f);
    fuzz_close(&file);
    return 0;
}
