/* LoRA against peft (tests/golden/make_peft.py): the layer with and without dropout, its gradients; an adapter
 * of 32 layers as peft saves it, what it does to the logits, and the same written by us. */
#include "data/json.h"
#include "models/llama.h"
#include "tests/golden/op_case.h"
#include "tests/models/main.h"
#include "tools/adapter.h"
#include <unistd.h>

static const LlamaConfig small = {64, 16, 32, 2, 1, 8, 24, 1e-5f, 500000, false};
static const char peft[] = "tests/golden/peft";

START_TEST(lora)
{
    for (int dropout = 0; dropout < 2; dropout++) {
        Rig r;
        const char *name = dropout ? "lora.dropout" : "lora";
        rig_open(&r, test_device());
        r.tape.recording = true;
        Tensor *x = leaf(&r, "lora.x", 37, 64, 0, 0, GOLDEN_INPUTS, 1);
        Tensor *w = golden_fill(tensor_f32(&r.weights, 48, 64, 0, 0), "lora.w", GOLDEN_WEIGHTS, 0.2f, false);
        Lora l = {leaf(&r, "lora.A", 8, 64, 0, 0, GOLDEN_WEIGHTS, 0.2f),
                  leaf(&r, "lora.B", 48, 8, 0, 0, GOLDEN_WEIGHTS, 0.2f), 4, dropout ? 0.05f : 0};
        backward(&r, name, op_linear(&r.tape, x, w, NULL, &l), GOLDEN_L2, test_tolerance(TOL_LINEAR));
        gradient(name, "x", x, test_tolerance(TOL_LINEAR));
        gradient(name, "A", l.A, test_tolerance(TOL_LINEAR));
        gradient(name, "B", l.B, test_tolerance(TOL_LINEAR));
        rig_close(&r);
    }
}
END_TEST

typedef struct Model {
    Rig rig;
    Weights base, adapter;
    Llama m;
    int rank;
    double alpha, dropout;
} Model;

/* The small LLaMA, of so many layers, with the adapter of that folder, or none. */
static void model_open(Model *o, int64_t layers, const char *folder)
{
    Error e = {0};
    LlamaConfig c = small;
    c.layers = layers;
    rig_open(&o->rig, test_device());
    weights_init(&o->base, &o->rig.weights, &o->rig.state, NULL, 1);
    weights_init(&o->adapter, &o->rig.weights, &o->rig.state, &o->rig.params, 1);
    o->base.generator = golden_weight;
    o->adapter.trainable = true;
    ck_assert_msg(llama_create(&o->m, &o->base, c, &e), "%s", e.msg);
    if (!folder) return;
    ck_assert_msg(adapter_open(folder, &o->adapter, &o->rank, &o->alpha, &o->dropout, &e) &&
                      llama_add_lora(&o->m, &o->adapter, o->rank, (float)o->alpha, (float)o->dropout, &e),
                  "%s", e.msg);
    params_alloc(&o->rig.params);
    ck_assert_msg(weights_fill(&o->adapter, &e), "%s", e.msg);
}

static void model_close(Model *o)
{
    weights_close(&o->base);
    weights_close(&o->adapter);
    rig_close(&o->rig);
}

static void check_logits(Model *o, const char *name)
{
    Error e = {0};
    int32_t id[24];
    const TensorEntry *entry = tensor_file_find(g, "ids");
    ck_assert(entry && entry->size == sizeof id && tensor_file_read(g, entry, id, &e));
    Tensor *ids = tensor_new(&o->rig.state, DTYPE_i32, 2, (int64_t[]){2, 12});
    tensor_upload(ids, id);
    Tensor *h = llama_forward(&o->rig.tape, &o->m, llama_embed(&o->rig.tape, &o->m, ids), NULL, NULL, NULL);
    h = tensor_reshape(&o->rig.step, h, 2, (int64_t[]){24, small.dim});
    golden_compare(g, name, llama_logits(&o->rig.tape, &o->m, h), false, GOLDEN_MAX,
                   10 * test_tolerance(TOL_LLAMA));
}

/* The same tensors: names, types, shapes, bytes. */
static void same_file(const char *a, const char *b)
{
    TensorFile *f[2] = {golden_open(a), golden_open(b)};
    Error e = {0};
    ck_assert_int_eq(f[0]->n, 128);
    ck_assert_int_eq(f[1]->n, 128);
    for (int i = 0; i < 128; i++) {
        const TensorEntry *x = &f[0]->entry[i], *y = &f[1]->entry[i];
        char bytes[2][8 * 16 * sizeof(float)];
        ck_assert_str_eq(x->name, y->name);
        ck_assert(x->dtype == y->dtype && x->ndim == y->ndim && x->size == y->size &&
                  x->size <= sizeof bytes[0]);
        ck_assert_mem_eq(x->dim, y->dim, (size_t)x->ndim * sizeof *x->dim);
        ck_assert_msg(tensor_file_read(f[0], x, bytes[0], &e) && tensor_file_read(f[1], y, bytes[1], &e), "%s",
                      e.msg);
        ck_assert_mem_eq(bytes[0], bytes[1], x->size);
    }
    tensor_file_close(f[0]);
    tensor_file_close(f[1]);
}

/* peft's adapter is read, changes the logits as it does there, and is written again, tensor by tensor the same;
 * every key of the configuration that we write has peft's value. */
START_TEST(adapter)
{
    char folder[] = "/tmp/test_peft_XXXXXX", path[128];
    Model o;
    Error e = {0};
    model_open(&o, 32, NULL);
    check_logits(&o, "plain.logits");
    model_close(&o);
    ck_assert(mkdtemp(folder) != NULL);
    for (int ours = 0; ours < 2; ours++) {
        model_open(&o, 32, ours ? folder : peft);
        ck_assert_int_eq(o.rank, 8);
        ck_assert(o.alpha == 32 && o.dropout == 0.05 && o.m.layer[31].v_lora.scale == 4);
        check_logits(&o, "logits");
        if (!ours) ck_assert_msg(adapter_save(folder, &o.adapter, o.rank, o.alpha, o.dropout, &e), "%s", e.msg);
        model_close(&o);
    }
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    same_file("tests/golden/peft/adapter_model.safetensors", path);
    unlink(path);
    snprintf(path, sizeof path, "%s/adapter_config.json", folder);
    json_t *want = json_read("tests/golden/peft/adapter_config.json", &e), *got = json_read(path, &e), *value;
    ck_assert_msg(want && got, "%s", e.msg);
    const char *key;
    json_object_foreach(got, key, value)
    {
        const json_t *theirs = json_object_get(want, key);
        bool same = json_is_number(value) ? json_number_value(value) == json_number_value(theirs)
                                          : json_equal(value, theirs);
        ck_assert_msg(same || !strcmp(key, "base_model_name_or_path"), "%s: another value than peft's", key);
    }
    json_decref(want);
    json_decref(got);
    unlink(path);
    rmdir(folder);
}
END_TEST

/* As torch.save wrote it for peft before it had safetensors. */
START_TEST(old_adapter)
{
    Model o;
    model_open(&o, 2, "tests/golden/peft/bin");
    ck_assert_int_eq(o.adapter.n, 8);
    for (int i = 0; i < o.adapter.n; i++) {
        const WeightsItem *item = &o.adapter.item[i];
        float want[8 * 16], *got = host_copy(item->tensor);
        rng_fill(want, tensor_len(item->tensor), GOLDEN_WEIGHTS, item->name, 0.1f);
        ck_assert_mem_eq(got, want, tensor_bytes(item->tensor));
        free(got);
    }
    model_close(&o);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {lora, adapter, old_adapter};
    Error e = {0};
    g = safetensors_open("tests/golden/peft.safetensors", &e);
    if (!g) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    int failed = run_tests("peft", tests, sizeof tests / sizeof *tests);
    tensor_file_close(g);
    return failed;
}
