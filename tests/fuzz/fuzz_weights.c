/* A file as the weights of one LLaMA block, plain or in 4 bits: sizes from shapes and quant_states as
 * llama_open takes them, then every tensor. What is read is written and read again as it was. No op is run, so
 * there are no kernels here. */
#include "kernels/quant.h"
#include "models/weights.h"
#include "tests/fuzz/fuzz.h"

enum { LINEARS = 7, SIDE = 1 << 12 };
const Kernel kernels_cpu[1], kernels_plan[1];

static Arena weights, state;

static bool get_all(Weights *w, Tensor *x[LINEARS + 2])
{
    static const char *const name[LINEARS] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                              "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                              "mlp.down_proj"};
    int64_t table[2] = {0};
    weights_shape(w, 2, table, "model.embed_tokens.weight");
    weights_meta_int(w, "llama.heads", 0, 1, 1 << 16);
    weights_meta_float(w, "llama.norm_eps", 1e-5, 0, 1);
    for (int i = 0; i < LINEARS; i++) {
        int64_t dim[2] = {0};
        if (!weights_shape(w, 2, dim, "model.layers.0.%s.weight", name[i]) || dim[0] > SIDE || dim[1] > SIDE)
            return false;
        x[i] = weights_get(w, (WeightSpec){{dim[0], dim[1]}, WEIGHT_LINEAR, INIT_ZEROS, 0},
                           "model.layers.0.%s.weight", name[i]);
    }
    if (table[0] > SIDE || table[1] > SIDE) return false;
    x[LINEARS] = weights_get(w, (WeightSpec){{table[0], table[1]}, WEIGHT_TABLE, INIT_ZEROS, 0},
                             "model.embed_tokens.weight");
    x[LINEARS + 1] = weights_get(w, (WeightSpec){{table[1]}, .init = INIT_ONES}, "model.norm.weight");
    return !w->error.code;
}

/* The same bits: codes, planes. */
static void compare(const Tensor *a, const Tensor *b)
{
    if (a->dtype != b->dtype || memcmp(a->data, b->data, tensor_bytes(a))) die("another tensor after writing");
    if (!a->quant) return;
    for (int64_t i = 0; i < (tensor_len(a) + 63) / 64; i++) {
        float scale[2] = {quant_absmax(a->quant, i), quant_absmax(b->quant, i)};
        if (memcmp(&scale[0], &scale[1], sizeof *scale)) die("another scale after writing");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Weights w, again;
    Tensor *x[LINEARS + 2], *y[LINEARS + 2];
    if (!weights.backend && !(arena_open(&weights, "weights", &backend_cpu, (size_t)1 << 30, &e) &&
                              arena_open(&state, "state", &backend_cpu, 1 << 20, &e)))
        die("%s", e.msg);
    FuzzFile f = fuzz_file(bytes, n);
    ArenaMark mark = arena_mark(&weights);
    weights_init(&w, &weights, &state, NULL, 0);
    weights_init(&again, &weights, &state, NULL, 0);
    if (!weights_open(&w, f.path, &e)) {
        fuzz_refused(&e);
    } else if (!get_all(&w, x)) {
        if (!weights_ok(&w, &e)) fuzz_refused(&e);
    } else {
        char path[64];
        snprintf(path, sizeof path, "/tmp/pcrl-fuzz-%d.safetensors", (int)getpid());
        if (!weights_save((Weights *[]){&w}, 1, true, NULL, path, &e) || !weights_open(&again, path, &e) ||
            !get_all(&again, y))
            die("does not survive writing: %s%s", e.msg, again.error.msg);
        for (int i = 0; i < LINEARS + 2; i++) compare(x[i], y[i]);
        unlink(path);
    }
    weights_close(&again);
    weights_close(&w);
    arena_pop(&weights, mark);
    fuzz_close(&f);
    return 0;
}
