/* 4-bit weights against bitsandbytes (tests/golden/make_bnb.py): codes and scales of what it quantises, the
 * files that it and transformers write, products and input gradients, a LLaMA's logits. */
#include "data/sha256.h"
#include "kernels/quant.h"
#include "models/llama.h"
#include "tensor/half.h"
#include "tests/golden/op_case.h"
#include "tests/models/main.h"
#include <unistd.h>

/* The bytes of g's NAME.PART; *n: how many. The caller's to free. */
static void *stored(const char *name, const char *part, size_t *n)
{
    char full[160];
    Error e = {0};
    snprintf(full, sizeof full, "%s.%s", name, part);
    const TensorEntry *entry = tensor_file_find(g, full);
    ck_assert_msg(entry != NULL, "%s: no %s", g->path, full);
    void *p = malloc(entry->size + 1);
    ck_assert_msg(p && tensor_file_read(g, entry, p, &e), "%s", e.msg);
    *n = entry->size;
    return p;
}

static void same_sum(const char *name, const char *part, const void *p, size_t bytes)
{
    char got[65];
    size_t n;
    char *want = stored(name, part, &n);
    Sha256 s;
    sha256_open(&s);
    sha256_add(&s, p, bytes);
    sha256_close(&s, got);
    ck_assert_msg(n == 64 && !memcmp(got, want, n), "%s: %s.%s is %s, wants %.64s", g->path, name, part, got,
                  want);
    free(want);
}

static int code_at(const uint8_t *codes, int64_t i) { return i & 1 ? codes[i / 2] & 15 : codes[i / 2] >> 4; }

/* ---- codes ---- */

/* fp4's code 8 is a second zero: which of them a small value gets, depends on a sort in bitsandbytes on the CPU
 * (and is its sign's in ours, and on its GPUs). */
static void one_zero(DType dtype, uint8_t *codes, size_t bytes)
{
    if (dtype != DTYPE_fp4) return;
    for (size_t i = 0; i < bytes; i++) {
        if (codes[i] >> 4 == 8) codes[i] &= 0x0f;
        if ((codes[i] & 15) == 8) codes[i] &= 0xf0;
    }
}

/* On the CPU bitsandbytes decides by the middles between its levels, on GPUs, as we do, by numbers that differ
 * from them in the seventh digit. What lies between the two is known to the golden: ours is the code next to it
 * there. Takes over its codes and returns how many there are. */
static int slivers(DType dtype, const char *name, const float *w, const float *absmax, uint8_t *codes)
{
    size_t n, n_want;
    int64_t *at = stored(name, "sliver", &n);
    uint8_t *want = stored(name, "sliver.codes", &n_want);
    const float *level = quant_levels(dtype);
    ck_assert_uint_eq(n, n_want * sizeof *at);
    for (size_t k = 0; k < n_want; k++) {
        int64_t i = at[k];
        float a = level[code_at(codes, i)], b = level[want[k]], x = w[i] / absmax[i / 64];
        ck_assert(a != b && fabsf((a + b) / 2 - x) < 5e-7f);
        codes[i / 2] =
            (uint8_t)(i & 1 ? (codes[i / 2] & 0xf0) | want[k] : (codes[i / 2] & 0x0f) | want[k] << 4);
    }
    free(at);
    free(want);
    return (int)n_want;
}

/* Everything of one case but for the slivers, of which there are as many as said. */
static void check_codes(DType dtype, const char *name, const float *w, int64_t n, int expected)
{
    size_t bytes = dtype_bytes(dtype, n), blocks = ((size_t)n + 63) / 64, stored_bytes;
    uint8_t *codes = malloc(bytes), *want = stored(name, "codes", &stored_bytes);
    float *absmax = malloc(blocks * sizeof *absmax), *dense = malloc((size_t)n * sizeof *dense);
    ck_assert(codes && absmax && dense);
    quant_encode(dtype, w, n, codes, absmax);
    ck_assert_int_eq(slivers(dtype, name, w, absmax, codes), expected);
    one_zero(dtype, codes, bytes);
    ck_assert_uint_le(stored_bytes, bytes);
    for (size_t i = 0; i < stored_bytes; i++)
        ck_assert_msg(codes[i] == want[i], "%s: byte %zu of %s: 0x%02x, wants 0x%02x", g->path, i, name,
                      codes[i], want[i]);
    same_sum(name, "sha256.codes", codes, bytes);
    same_sum(name, "sha256.absmax", absmax, blocks * sizeof *absmax);
    quant_decode(dtype, codes, absmax, n, dense);
    same_sum(name, "sha256.dense", dense, (size_t)n * sizeof *dense);
    free(codes);
    free(want);
    free(absmax);
    free(dense);
}

/* The generator's case NAME, as make_bnb.py changes it. */
static void check_case(DType dtype, const char *name, const char *fill, int64_t n, int expected)
{
    float *w = malloc((size_t)n * sizeof *w);
    ck_assert(w != NULL);
    rng_fill(w, n, GOLDEN_WEIGHTS, fill, 0.05f);
    for (int64_t i = 0; i < n && !strcmp(name, "bf16"); i++) w[i] = bf16_to_float(bf16_from_float(w[i]));
    if (!strcmp(name, "zero")) memset(w + 3 * 64, 0, 64 * sizeof *w);
    if (!strcmp(name, "outlier")) w[5 * 64 + 17] = -1000;
    check_codes(dtype, name, w, n, expected);
    free(w);
}

static void check_format(DType dtype, const char *path, int in_matrix, int in_bf16)
{
    g = golden_open(path);
    check_case(dtype, "matrix", "matrix", 4096 * 4096, in_matrix);
    check_case(dtype, "bf16", "case.bf16", 48 * 160, in_bf16);
    check_case(dtype, "zero", "case.zero", 8 * 64, 0);
    check_case(dtype, "outlier", "case.outlier", 8 * 64, 0);
    check_case(dtype, "ragged1000", "case.ragged", 1000, 0);
    check_case(dtype, "ragged999", "case.ragged", 999, 0);
    check_case(dtype, "ragged63", "case.ragged", 63, 0);
    check_case(dtype, "ragged65", "case.ragged", 65, 0);
    check_case(dtype, "ragged1", "case.ragged", 1, 0);
    tensor_file_close(g);
}

/* The one is at 0.50166345. */
START_TEST(nf4_codes) { check_format(DTYPE_nf4, "tests/golden/bnb_nf4.safetensors", 1, 0); }
END_TEST

/* All seven of the matrix are at 0.583333. */
START_TEST(fp4_codes) { check_format(DTYPE_fp4, "tests/golden/bnb_fp4.safetensors", 7, 7); }
END_TEST

/* Mean errors of a million normal values as bitsandbytes' own test has them, within four of its deviations. */
START_TEST(mean_errors)
{
    enum { N = 1 << 20 };
    static const struct {
        DType dtype;
        double error, deviation, relative;
    } cases[] = {{DTYPE_nf4, 0.072798, 7e-5, 0.203339}, {DTYPE_fp4, 0.096543, 1.1e-4, 0.260125}};
    float *w = malloc(N * sizeof *w), *back = malloc(N * sizeof *back),
          *absmax = malloc(N / 64 * sizeof *absmax);
    uint8_t *codes = malloc(N / 2);
    ck_assert(w && back && absmax && codes);
    Rng rng = rng_open(8, "normal");
    for (int i = 0; i < N; i++) w[i] = (float)rng_normal(&rng);
    for (int k = 0; k < 2; k++) {
        double error = 0, relative = 0;
        quant_encode(cases[k].dtype, w, N, codes, absmax);
        quant_decode(cases[k].dtype, codes, absmax, N, back);
        for (int i = 0; i < N; i++) {
            double d = fabs((double)w[i] - (double)back[i]);
            error += d / N;
            relative += d / (fabs((double)w[i]) + 1e-8) / N;
        }
        ck_assert_double_le(fabs(error - cases[k].error), 4 * cases[k].deviation);
        ck_assert_double_le(fabs(relative - cases[k].relative), 5e-3 * cases[k].relative);
    }
    free(w);
    free(back);
    free(absmax);
    free(codes);
}
END_TEST

/* ---- files ---- */

static const struct Variant {
    const char *name;
    DType dtype;
    bool nested;
} variants[] = {{"nf4", DTYPE_nf4, false},
                {"nf4_nested", DTYPE_nf4, true},
                {"fp4", DTYPE_fp4, false},
                {"fp4_nested", DTYPE_fp4, true}};
enum { VARIANTS = sizeof variants / sizeof *variants };

/* absmax of every block of x in host memory, whatever the form; the caller's to free. */
static float *scales(const Tensor *x)
{
    const Quant *q = x->quant;
    size_t blocks = ((size_t)tensor_len(x) + 63) / 64, outer = (blocks + 255) / 256;
    float *absmax = malloc(blocks * sizeof *absmax), *nested_absmax = malloc(outer * sizeof *nested_absmax);
    uint8_t *nested = malloc(blocks);
    ck_assert(absmax && nested_absmax && nested);
    if (q->absmax) {
        x->backend->download(absmax, q->absmax, blocks * sizeof *absmax);
    } else {
        x->backend->download(nested, q->nested, blocks);
        x->backend->download(nested_absmax, q->nested_absmax, outer * sizeof *nested_absmax);
        quant_unnest(nested, nested_absmax, q->offset, (int64_t)blocks, absmax);
    }
    free(nested);
    free(nested_absmax);
    return absmax;
}

/* x's scales are the golden's NAME.absmax: bit by bit, or nested within 1e-7, since our dynamic map and
 * PyTorch's differ in the last bit of some values (kernels/quant.c). */
static void check_scales(const char *name, const Tensor *x)
{
    size_t bytes;
    float *got = scales(x), *want = stored(name, "absmax", &bytes);
    ck_assert_uint_eq(bytes / sizeof *want, ((size_t)tensor_len(x) + 63) / 64);
    for (size_t b = 0; b < bytes / sizeof *want; b++)
        ck_assert_msg(x->quant->absmax ? got[b] == want[b] : fabsf(got[b] - want[b]) <= 1e-7f * want[b],
                      "%s: %s, scale %zu: %.9g, wants %.9g", g->path, name, b, (double)got[b], (double)want[b]);
    free(got);
    free(want);
}

/* Of nested scales the codes and, unpacked, the values; those of x and those that we make differ in `expected`
 * codes by one step, where bitsandbytes on the CPU does not take the nearest. Elsewhere values differ by 2e-7
 * at most: the mean, which PyTorch takes in f32, is another in the last bit. */
static void compare_nested(const Tensor *x, const Tensor *made, int expected)
{
    size_t blocks = ((size_t)tensor_len(x) + 63) / 64;
    uint8_t *code[2] = {malloc(blocks), malloc(blocks)};
    float *scale[2] = {scales(x), scales(made)};
    int differ = 0;
    ck_assert(code[0] && code[1]);
    x->backend->download(code[0], x->quant->nested, blocks);
    x->backend->download(code[1], made->quant->nested, blocks);
    for (size_t b = 0; b < blocks; b++) {
        int step = code[0][b] - code[1][b];
        ck_assert_int_le(abs(step), 1);
        differ += step != 0;
        if (!step) ck_assert_float_le(fabsf(scale[0][b] - scale[1][b]), 2e-7f * scale[0][b]);
    }
    ck_assert_int_eq(differ, expected);
    for (int i = 0; i < 2; i++) {
        free(code[i]);
        free(scale[i]);
    }
}

/* What the file holds, and what we make of the same values. */
static void compare_made(const Tensor *x, const Tensor *made)
{
    uint8_t *codes[2] = {host_copy(x), host_copy(made)};
    for (int i = 0; i < 2; i++) one_zero(x->dtype, codes[i], tensor_bytes(x));
    ck_assert_mem_eq(codes[0], codes[1], tensor_bytes(x));
    for (int i = 0; i < 2; i++) free(codes[i]);
    if (!x->quant->absmax) {
        compare_nested(x, made, 1);
        return;
    }
    float *scale[2] = {scales(x), scales(made)};
    ck_assert_mem_eq(scale[0], scale[1], (size_t)tensor_len(x) / 64 * sizeof(float));
    for (int i = 0; i < 2; i++) free(scale[i]);
}

/* M rows through x and back, in f32 and on devices in bf16, where rows and gradients are rounded. */
static void check_products(Rig *r, Tensor *x, const char *variant, int M, int64_t in)
{
    for (int bf16 = 0; bf16 < (test_device() == &backend_cpu ? 1 : 2); bf16++) {
        char name[64];
        double tol = bf16 ? 5e-3 : test_tolerance(TOL_LINEAR);
        r->tape.recording = true;
        snprintf(name, sizeof name, "linear4.x%d", M);
        Tensor *rows = leaf(r, name, M, in, 0, 0, GOLDEN_INPUTS, 1);
        snprintf(name, sizeof name, "linear4.%s.%d", variant, M);
        Tensor *y = op_linear(&r->tape, bf16 ? op_cast(&r->tape, rows, DTYPE_bf16) : rows, x, NULL, NULL);
        backward(r, name, bf16 ? op_cast(&r->tape, y, DTYPE_f32) : y, GOLDEN_L2, tol);
        gradient(name, "x", rows, tol);
    }
}

/* Linear4bit's state: the codes and scales are ours, and a product with them is the dense one. */
START_TEST(linears)
{
    enum { OUT = 320, IN = 192 };
    static const int rows[] = {1, 3, 16, 65};
    g = golden_open("tests/golden/bnb.safetensors");
    for (int v = 0; v < VARIANTS; v++) {
        Rig r;
        Weights w;
        Error e = {0};
        char name[64];
        rig_open(&r, test_device());
        weights_init(&w, &r.weights, &r.state, NULL, 0);
        ck_assert_msg(weights_open(&w, "tests/golden/linear4.safetensors", &e), "%s", e.msg);
        WeightSpec spec = {{OUT, IN}, WEIGHT_LINEAR, INIT_ZEROS, 0};
        Tensor *x = weights_get(&w, spec, "%s.weight", variants[v].name);
        ck_assert_msg(weights_ok(&w, &e), "%s", e.msg);
        ck_assert(x->dtype == variants[v].dtype && !x->quant->absmax == variants[v].nested);
        snprintf(name, sizeof name, "linear4.%s", variants[v].name);
        check_scales(name, x);
        float *dense = malloc(OUT * IN * sizeof *dense);
        ck_assert(dense != NULL);
        rng_fill(dense, OUT * IN, GOLDEN_WEIGHTS, "linear4", 0.05f);
        compare_made(x, quant_tensor(&r.weights, x->dtype, OUT, IN, dense, variants[v].nested));
        free(dense);
        for (int i = 0; i < 4; i++) check_products(&r, x, variants[v].name, rows[i], IN);
        weights_close(&w);
        rig_close(&r);
    }
    tensor_file_close(g);
}
END_TEST

/* The scales of every Linear, and where none are nested its values too. */
static void check_llama_weights(const char *variant, const Llama *m)
{
    for (int i = 0; i < m->config.layers; i++) {
        const LlamaLayer *l = &m->layer[i];
        const struct {
            const char *name;
            const Tensor *x;
        } linear[] = {{"self_attn.q_proj", l->q}, {"self_attn.k_proj", l->k}, {"self_attn.v_proj", l->v},
                      {"self_attn.o_proj", l->o}, {"mlp.gate_proj", l->gate}, {"mlp.up_proj", l->up},
                      {"mlp.down_proj", l->down}};
        for (size_t j = 0; j < sizeof linear / sizeof *linear; j++) {
            const Tensor *x = linear[j].x;
            char name[128];
            snprintf(name, sizeof name, "llama.%s.model.layers.%d.%s", variant, i, linear[j].name);
            check_scales(name, x);
            if (!x->quant->absmax) continue;
            uint8_t *codes = host_copy(x);
            float *absmax = scales(x), *dense = malloc((size_t)tensor_len(x) * sizeof *dense);
            ck_assert(dense != NULL);
            quant_decode(x->dtype, codes, absmax, tensor_len(x), dense);
            for (int64_t k = 0; k < tensor_len(x); k++) dense[k] += 0.0f; /* of two zeros one */
            same_sum(name, "sha256", dense, (size_t)tensor_len(x) * sizeof *dense);
            free(codes);
            free(absmax);
            free(dense);
        }
    }
}

static void check_logits(Rig *r, const char *variant, Llama *m)
{
    char name[64];
    size_t bytes;
    int32_t *id = stored("llama", "ids", &bytes);
    Tensor *ids = tensor_new(&r->state, DTYPE_i32, 2, (int64_t[]){2, 20});
    ck_assert_uint_eq(bytes, tensor_bytes(ids));
    tensor_upload(ids, id);
    free(id);
    Tensor *h = llama_forward(&r->tape, m, llama_embed(&r->tape, m, ids), NULL, NULL, NULL);
    h = tensor_reshape(&r->step, h, 2, (int64_t[]){40, m->config.dim});
    snprintf(name, sizeof name, "llama.%s.logits", variant);
    /* A device multiplies a head of bf16 by hidden states of bf16. */
    bool rounded = m->head->dtype == DTYPE_bf16 && test_device() != &backend_cpu;
    golden_compare(g, name, llama_logits(&r->tape, m, h), false, GOLDEN_MAX,
                   rounded ? 2e-2 : test_tolerance(TOL_LLAMA));
}

/* Folders that transformers' save_pretrained wrote; and what we write of them holds the same. */
START_TEST(llama_files)
{
    g = golden_open("tests/golden/bnb.safetensors");
    for (int v = 0; v < VARIANTS; v++)
        for (int ours = 0; ours < 2; ours++) {
            Rig r;
            Weights w;
            Llama m;
            Error e = {0};
            char path[96];
            rig_open(&r, test_device());
            weights_init(&w, &r.weights, &r.state, NULL, 0);
            snprintf(path, sizeof path, "tests/golden/bnb/%s", variants[v].name);
            ck_assert_msg(weights_open(&w, ours ? test_path() : path, &e) && llama_open(&m, &w, &e), "%s",
                          e.msg);
            check_llama_weights(variants[v].name, &m);
            check_logits(&r, variants[v].name, &m);
            if (!ours)
                ck_assert_msg(weights_save((Weights *[]){&w}, 1, true, NULL, test_path(), &e), "%s", e.msg);
            weights_close(&w);
            rig_close(&r);
        }
    unlink(test_path());
    tensor_file_close(g);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nf4_codes, fp4_codes, mean_errors, linears, llama_files};
    return run_tests("bnb", tests, sizeof tests / sizeof *tests);
}
