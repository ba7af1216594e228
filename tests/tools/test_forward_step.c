/* pcrl-forward's training step against the goldens of both presets: every term of the loss, every gradient, and
 * what leads to them. */
#include "data/file.h"
#include "models/visual.h"
#include "tests/models/main.h"
#include "tests/tools/forward_fixture.h"
#include "tools/adapter.h"

enum { C = 32, E = 16, SIDE = 4, B = 3, M = 24, CLUES = 9, MOST = 11, MOST_CLUE = 8, V = 512 };
static const LlamaConfig small = {V, 64, 2, 4, 2, 16, 160, 1e-5f, 500000, false};

/* A model folder; its parameters' names. head 0: as it is, else the width that pcrl_heads.safetensors has. */
static void write_model(int64_t head, char (**names)[PARAMS_NAME], int *n)
{
    Maker base, adapter, heads;
    Llama net;
    Visual visual;
    Error e = {0};
    maker_open(&base);
    maker_open(&adapter);
    maker_open(&heads);
    ck_assert(llama_create(&net, &base.w, small, NULL) && llama_add_lora(&net, &adapter.w, 8, 32, 0.5f, NULL) &&
              visual_create(&visual, &heads.w, C, head ? head : small.dim, E, HV_LOCAL24, NULL));
    write_weights(in_folder("llama.safetensors"), &base.w, NULL);
    write_weights(in_folder("pcrl_heads.safetensors"), &heads.w, NULL);
    ck_assert_msg(adapter_save(folder, &adapter.w, 8, 32, 0.5, &e), "%s", e.msg);
    write_weights(in_folder("adapter_model.safetensors"), &adapter.w, NULL);
    *names = calloc((size_t)(heads.w.n + adapter.w.n), sizeof **names);
    *n = 0;
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < (k ? adapter.w.n : heads.w.n); i++) {
            const WeightsItem *item = k ? &adapter.w.item[i] : &heads.w.item[i];
            if (item->spec.kind != WEIGHT_BUFFER) memcpy((*names)[(*n)++], item->name, PARAMS_NAME);
        }
    maker_close(&base);
    maker_close(&adapter);
    maker_close(&heads);
}

/* make_pcrl.py's batch, under either preset's texts. odd: written as it is in the place of the tensor of its
 * name, or left out where it has no dims; or NULL. */
static void write_batch(bool release, const Input *odd)
{
    static const int32_t n_findings[B] = {7, 11, 5}, n_text[CLUES] = {4, 6, 3, 8, 5, 6, 2, 5, 7},
                         study[CLUES] = {0, 0, 1, 1, 1, 1, 2, 2, 2},
                         slice[CLUES] = {3, 10, 0, 7, 12, 23, 5, 17, 20},
                         masked[CLUES] = {1, 1, 1, 1, 0, 1, 1, 1, 1}, before[] = {1, 5, 7},
                         after[] = {9, 11, 12, 13};
    static const int32_t paper_before[] = {1, 21, 22, 23, 24}, paper_after[] = {25},
                         release_before[] = {1, 31, 32}, release_after[] = {33, 34, 35};
    int32_t id[B * MOST], clue[CLUES * MOST_CLUE];
    float mask[CLUES * SIDE * SIDE];
    golden_ids(id, B * MOST, "findings", V);
    golden_ids(clue, CLUES * MOST_CLUE, "clues", V);
    memcpy(clue + 5 * MOST_CLUE, clue + MOST_CLUE, MOST_CLUE * sizeof *clue); /* says the same */
    rng_fill(mask, CLUES * SIDE * SIDE, GOLDEN_INPUTS, "masks", 1);
    for (int i = 0; i < CLUES * SIDE * SIDE; i++) mask[i] = mask[i] > 0;
    Input in[] = {
        {"features", ST_F32, 5, {B, 24, C, SIDE, SIDE}, NULL, 2, "grid17"},
        {"pooled", ST_F32, 3, {B, 24, C}, NULL, 2, NULL},
        {"findings", ST_I32, 2, {B, MOST}, id, 0, NULL},
        {"findings_lengths", ST_I32, 1, {B}, n_findings, 0, NULL},
        {"prompt_before", ST_I32, 1, {3}, before, 0, NULL},
        {"prompt_after", ST_I32, 1, {4}, after, 0, NULL},
        {"eos", ST_I64, 1, {1}, (int64_t[]){2}, 0, NULL},
        {"text_before", ST_I32, 1, {release ? 3 : 5}, release ? release_before : paper_before, 0, NULL},
        {"text_after", ST_I32, 1, {release ? 3 : 1}, release ? release_after : paper_after, 0, NULL},
        {"clues", ST_I32, 2, {CLUES, MOST_CLUE}, clue, 0, NULL},
        {"clue_lengths", ST_I32, 1, {CLUES}, n_text, 0, NULL},
        {"clue_study", ST_I32, 1, {CLUES}, study, 0, NULL},
        {"clue_slice", ST_I32, 1, {CLUES}, slice, 0, NULL},
        {"masks", ST_F32, 3, {CLUES, SIDE, SIDE}, mask, 0, NULL},
        {"masked", ST_I32, 1, {CLUES}, masked, 0, NULL},
    };
    int n = sizeof in / sizeof *in;
    for (int i = n - 1; odd && i >= 0; i--)
        if (!strcmp(in[i].name, odd->name)) in[i] = odd->ndim ? *odd : in[--n];
    write_inputs(in, n);
}

static void check_preset(const char *preset)
{
    static const char *const taps[] = {"loss",       "loss.report", "loss.segment", "loss.entity",
                                       "loss.theme", "local_res.0", "local_res.1",  "hv",
                                       "segment",    "entity.text", "entity.R_v",   "entity.R_w",
                                       "theme.text", "theme.R_v",   "theme.R_w"};
    enum { TAPS = sizeof taps / sizeof *taps };
    char(*names)[PARAMS_NAME], prefix[16];
    int n;
    TensorFile *g = golden_open("tests/golden/pcrl.safetensors");
    snprintf(prefix, sizeof prefix, "%s.", preset);
    write_model(0, &names, &n);
    write_batch(*preset == 'r', NULL);
    run_forward("pcrl-step", "--weights", folder, "--preset", preset, "--taps", NULL);
    ck_assert_ptr_null(strstr(r.err, "does not read"));
    TensorFile *out = output();
    for (int i = 0; i < TAPS; i++) compare(out, g, prefix, taps[i], test_tolerance(TOL_STEP));
    for (int i = 0; i < n; i++) {
        char tap[PARAMS_NAME + 2], name[PARAMS_NAME + 5];
        snprintf(tap, sizeof tap, "d.%s", names[i]);
        snprintf(name, sizeof name, "grad.%s", names[i]);
        compare_as(out, g, prefix, tap, name, OUT_SAME, GOLDEN_L2, test_tolerance(TOL_STEP));
    }
    /* Of each of the three passes: two layers of two taps, and the norm. */
    ck_assert_int_eq(out->n, TAPS + n + 3 * 5);
    for (int k = 0; k < 3; k++) {
        static const char *const branch[] = {"report.layers.1.attn", "entity.layers.1.attn",
                                             "theme.layers.1.attn"};
        ck_assert_ptr_nonnull(tensor_file_find(out, branch[k]));
    }
    tensor_file_close(out);
    tensor_file_close(g);
    free(names);
}

START_TEST(paper) { check_preset("paper"); }
END_TEST
START_TEST(release) { check_preset("release"); }
END_TEST

static float number(const TensorFile *out, const char *name)
{
    Tensor shape;
    float *x = read_output(out, name, &shape), value = *x;
    free(x);
    return value;
}

/* No clues: their terms are 0, the others as before; the language model's taps have their branches' names. */
START_TEST(no_clues)
{
    static const char *const names[] = {"clues", "clue_lengths", "clue_study", "clue_slice", "masks", "masked"};
    char(*parameters)[PARAMS_NAME];
    int n;
    TensorFile *g = golden_open("tests/golden/pcrl.safetensors"), *out;
    Error e = {0};
    write_model(0, &parameters, &n);
    free(parameters);
    write_batch(false, NULL);
    TensorFile *whole = safetensors_open(in_folder("in"), &e);
    StWriter *s = st_writer_new();
    void *data[16];
    for (int i = 0; i < whole->n; i++) {
        const TensorEntry *t = &whole->entry[i];
        data[i] = malloc(t->size);
        bool clue = false;
        for (int k = 0; k < 6; k++) clue |= !strcmp(t->name, names[k]);
        ck_assert(tensor_file_read(whole, t, data[i], &e));
        if (!clue) st_writer_add(s, t->name, t->dtype, t->ndim, t->dim, data[i]);
    }
    ck_assert_msg(st_writer_save(s, in_folder("in"), &e), "%s", e.msg);
    for (int i = 0; i < whole->n; i++) free(data[i]);
    st_writer_free(s);
    tensor_file_close(whole);
    run_forward("pcrl-step", "--weights", folder, "--taps", NULL);
    out = output();
    ck_assert(number(out, "loss.segment") == 0 && number(out, "loss.entity") == 0);
    compare(out, g, "paper.", "loss.report", test_tolerance(TOL_STEP));
    compare(out, g, "paper.", "loss.theme", test_tolerance(TOL_STEP));
    compare(out, g, "paper.", "theme.text", test_tolerance(TOL_STEP));
    ck_assert_ptr_nonnull(tensor_file_find(out, "theme.layers.1"));
    ck_assert_ptr_null(tensor_file_find(out, "entity.layers.1"));
    tensor_file_close(out);
    tensor_file_close(g);
}
END_TEST

/* A base in 4 bits gives other gradients, of about the size. */
START_TEST(quant)
{
    char(*names)[PARAMS_NAME];
    int n;
    float loss[2];
    write_model(0, &names, &n);
    free(names);
    write_batch(false, NULL);
    for (int k = 0; k < 2; k++) {
        run_forward("pcrl-step", "--weights", folder, "--quant", k ? "nf4-dq" : "none", "--base",
                    in_folder("llama.safetensors"), NULL);
        TensorFile *out = output();
        loss[k] = number(out, "loss.report");
        tensor_file_close(out);
    }
    ck_assert_float_ne(loss[0], loss[1]);
    ck_assert_float_le(fabsf(loss[0] - loss[1]), 0.2f * loss[0]);
}
END_TEST

/* A base that says nothing of its heads, beside the folder, and a config.json that does. */
START_TEST(config)
{
    static const char text[] =
        "{\"model_type\": \"llama\", \"hidden_act\": \"silu\", \"vocab_size\": 512, \"hidden_size\": 64, "
        "\"intermediate_size\": 160, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
        "\"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-5, \"rope_theta\": 500000, \"tie_word_embeddings\": "
        "false}";
    char(*names)[PARAMS_NAME];
    int n;
    Error e = {0};
    Maker base;
    Llama net;
    TensorFile *g = golden_open("tests/golden/pcrl.safetensors");
    write_model(0, &names, &n);
    free(names);
    maker_open(&base);
    ck_assert(llama_create(&net, &base.w, small, NULL));
    base.w.n_meta = 0;
    write_weights(in_folder("base"), &base.w, NULL);
    maker_close(&base);
    write_batch(false, NULL);
    run_forward("pcrl-step", "--weights", folder, "--base", in_folder("base"), NULL);
    ck_assert_msg(r.code == 2 && strstr(r.err, "expected config.json beside the weights"), "%s", r.err);
    ck_assert_msg(file_write(in_folder("of-base.json"), text, strlen(text), &e), "%s", e.msg);
    run_forward("pcrl-step", "--weights", folder, "--base", in_folder("base"), "--config",
                in_folder("of-base.json"), NULL);
    TensorFile *out = output();
    compare(out, g, "paper.", "loss", test_tolerance(TOL_STEP));
    tensor_file_close(out);
    tensor_file_close(g);
}
END_TEST

static void expect(const Input *odd, const char *message)
{
    char full[512];
    write_batch(false, odd);
    run_forward("pcrl-step", "--weights", folder, NULL);
    snprintf(full, sizeof full, "pcrl-forward: %s: %s\n", in_folder("in"), message);
    ck_assert_str_eq(r.err, full);
    ck_assert_int_eq(r.code, 2);
}

START_TEST(faults)
{
    static const int32_t ids[CLUES] = {0, 1, 2, 0, 1, 2, 3, 1, 2};
    char(*names)[PARAMS_NAME], full[512];
    int n;
    write_model(0, &names, &n);
    free(names);
    expect(&(Input){"features", ST_F32, 5, {B, 24, C, 3, 4}, NULL, 1, NULL},
           "tensor \"features\": expected maps of even sides, found 3x4");
    expect(&(Input){"features", ST_F32, 5, {B, 23, C, 4, 4}, NULL, 1, NULL},
           "tensor \"features\": expected shape (b,24,32,h,w), found (3,23,32,4,4)");
    expect(&(Input){"pooled", ST_F32, 3, {2, 24, C}, NULL, 1, NULL},
           "tensor \"pooled\": expected shape (3,24,32), found (2,24,32)");
    expect(&(Input){"findings_lengths", ST_I32, 1, {B}, (int32_t[]){1, 12, 1}, 0, NULL},
           "tensor \"findings_lengths\": expected 0 to 11, found 12 at 1");
    expect(&(Input){"clue_lengths", ST_I32, 1, {CLUES}, ids, 0, NULL},
           "tensor \"clue_lengths\": expected 1 to 8, found 0 at 0");
    expect(&(Input){"clue_study", ST_I32, 1, {CLUES}, ids, 0, NULL},
           "tensor \"clue_study\": expected 0 to 2, found 3 at 6");
    expect(&(Input){.name = "clues"}, "tensor \"clue_lengths\": expected \"clues\" too, found none");
    expect(&(Input){.name = "masks"}, "tensor \"masked\": expected \"masks\" too, found none");
    expect(&(Input){.name = "clue_slice"}, "tensor \"clue_slice\" (9) is missing");
    expect(
        &(Input){.name = "eos"},
        "pcrl-step takes features pooled findings ?findings_lengths prompt_before prompt_after eos text_before "
        "text_after ?clues ?clue_lengths ?clue_study ?clue_slice ?masks ?masked; missing: eos; extra: none");
    expect(&(Input){"eos", ST_I32, 1, {2}, ids, 0, NULL}, "tensor \"eos\": expected one id, found 2");
    expect(&(Input){"masks", ST_F32, 3, {CLUES, 14, 14}, NULL, 1, NULL},
           "tensor \"masks\": expected shape (9,4,4), found (9,14,14)");
    write_model(48, &names, &n);
    free(names);
    run_forward("pcrl-step", "--weights", folder, NULL);
    snprintf(full, sizeof full,
             "pcrl-forward: %s: the head joins 32 channels to width 48, the language model has 64\n",
             in_folder("pcrl_heads.safetensors"));
    ck_assert_str_eq(r.err, full);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {paper, release, no_clues, quant, config, faults};
    if (!mkdtemp(folder)) return 1;
    int failed = run_tests("forward_step", tests, sizeof tests / sizeof *tests);
    remove_folder();
    return failed;
}
