/* The report path: splice, loss and gradient against the reference, empty findings, generation. */
#include "losses/report.h"
#include "models/pcrl.h"
#include "tests/golden/golden.h"
#include "tests/models/main.h"

enum { B = 3, MOST = 9, SLOTS = 24 };
static const LlamaConfig small = {512, 64, 2, 4, 2, 16, 160, 1e-5f, 500000, false};
static const int32_t before[] = {1, 5, 7}, after[] = {9, 11, 12, 13};
static const PcrlPrompt prompt = {before, after, 3, 4, 2};

static void open_llama(Rig *r, Weights *w, Llama *m, bool trainable)
{
    Error e = {0};
    rig_open(r, test_device());
    weights_init(w, &r->weights, &r->state, &r->params, 1);
    w->generator = golden_weight;
    w->trainable = trainable;
    ck_assert_msg(llama_create(m, w, small, &e), "%s", e.msg);
    params_alloc(&r->params);
    ck_assert_msg(weights_fill(w, &e), "%s", e.msg);
}

static void golden_findings(int32_t findings[B][MOST])
{
    float u[B * MOST];
    rng_fill(u, B * MOST, GOLDEN_INPUTS, "findings", 1);
    for (int i = 0; i < B * MOST; i++) findings[i / MOST][i % MOST] = (int32_t)((u[i] + 1.0f) * 256.0f);
}

static Tensor *visual_slots(Rig *r)
{
    return golden_fill(tensor_f32(&r->state, B, SLOTS, small.dim, 0), "hv", GOLDEN_INPUTS, 0.5f, false);
}

START_TEST(golden)
{
    Rig r;
    Weights w;
    Llama m;
    int32_t findings[B][MOST];
    const int n[B] = {6, 9, 0};
    open_llama(&r, &w, &m, true);
    golden_findings(findings);
    TensorFile *g = golden_open("tests/golden/llama.safetensors");
    Tensor *hv = visual_slots(&r);
    hv->needs_grad = true;
    hv->grad = tensor_zeros(&r.state, DTYPE_f32, 3, hv->dim);
    r.tape.recording = true;
    const int32_t *const ids[B] = {findings[0], findings[1], findings[2]};
    PcrlRows rows = pcrl_rows(&r.tape, &m, hv, &prompt, B, ids, n);
    ck_assert_int_eq(rows.h->dim[0], 6 + 9 + 0 + B);
    int32_t label[6 + 9 + B];
    tensor_download(rows.label, label);
    ck_assert_int_eq(label[0], findings[0][0]);
    ck_assert_int_eq(label[6], prompt.eos);
    ck_assert_int_eq(label[7], findings[1][0]);
    ck_assert_int_eq(label[16], prompt.eos);
    ck_assert_int_eq(label[17], prompt.eos);
    Tensor *loss = report_loss(&r.tape, rows.h, m.head, rows.label, true);
    golden_compare(g, "pcrl.loss", loss, false, GOLDEN_MAX, test_tolerance(TOL_LLAMA));
    tape_backward(&r.tape, loss);
    golden_compare(g, "pcrl.dhv", hv->grad, false, GOLDEN_L2, test_tolerance(TOL_LLAMA));
    golden_compare(g, "pcrl.d.embed", m.embed->grad, false, GOLDEN_L2, test_tolerance(TOL_LLAMA));
    tensor_file_close(g);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* What generation chooses greedily is what pcrl_rows scores highest at each position. */
START_TEST(generation_agrees_with_training_rows)
{
    enum { TOKENS = 7 };
    Rig r;
    Weights w;
    Llama m;
    int32_t out[B * TOKENS];
    int n[B];
    open_llama(&r, &w, &m, false);
    Tensor *hv = visual_slots(&r);
    LlamaCache cache = llama_cache(&r.state, &m, B, pcrl_prefix_length(&prompt, SLOTS) + TOKENS, DTYPE_f32);
    SamplerOptions o = {0, 1, 1, TOKENS, NULL, 0, NULL};
    pcrl_generate(&r.tape, &m, &cache, hv, &prompt, B, &o, out, n);
    ck_assert_uint_eq(r.step.used, 0);
    const int32_t *const ids[B] = {out, out + TOKENS, out + 2 * TOKENS};
    PcrlRows rows = pcrl_rows(&r.tape, &m, hv, &prompt, B, ids, n);
    int32_t best[B * (TOKENS + 1)];
    tensor_download(op_argmax(&r.tape, llama_logits(&r.tape, &m, rows.h)), best);
    for (int b = 0; b < B; b++) {
        ck_assert_int_eq(n[b], TOKENS);
        ck_assert_mem_eq(best + b * (TOKENS + 1), ids[b], TOKENS * sizeof *best);
    }
    weights_close(&w);
    rig_close(&r);
}
END_TEST

/* Text alone: no visual slots, a prompt of one id. */
START_TEST(text_alone)
{
    Rig r;
    Weights w;
    Llama m;
    const int32_t bos = 1, text[] = {4, 5, 6};
    const int n[] = {3};
    const PcrlPrompt plain = {&bos, NULL, 1, 0, 2};
    open_llama(&r, &w, &m, false);
    PcrlRows rows = pcrl_rows(&r.tape, &m, NULL, &plain, 1, (const int32_t *const[]){text}, n);
    int32_t label[4];
    tensor_download(rows.label, label);
    ck_assert_int_eq(rows.h->dim[0], 4);
    ck_assert_mem_eq(label, ((int32_t[]){4, 5, 6, 2}), sizeof label);
    weights_close(&w);
    rig_close(&r);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {golden, generation_agrees_with_training_rows, text_alone};
    return run_tests("pcrl", tests, sizeof tests / sizeof *tests);
}
