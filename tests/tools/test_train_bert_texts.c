/* Stage pcrl with texts read by a BERT, at toy size: it learns and resumes bit for bit, its Linears are saved
 * and begun with, reports need none of it; plans; a BERT that is missing or that the run did not begin with. */
#include "data/safetensors.h"
#include "tests/tools/stages.h"
#include <math.h>

#define CPU "--device", "cpu", "--threads", "1", "--data", at("set")
#define PCRL                                                                                                   \
    "pcrl", CPU, "--cache", at("cache"), "--batch", "2", "--accumulate", "2", "--steps", "6", "--log-every",   \
        "2", "--embed", "16", "--validation", at("set"), "--validate-every", "3", "--validation-studies", "4"
#define BERT "--text-features", "bert"

/* Everything of stage pcrl but BERT: a ResNet and a language model. */
static void make_parts(void)
{
    Run r;
    ck_assert(mkdtemp(folder));
    TOOL("pcrl-synth", "--out", at("set"), "--n", "6", "--size", "112");
    ck_assert_msg(r.code == 0, "%s", r.err);
    RUN("resnet", CPU, "--stem", "4", "--widths", "2,2,2,4", "--depths", "1,1,1,1", "--batch", "4", "--steps",
        "2", "--out", at("resnet"), "--model", at("model"));
    RUN("llama", CPU, "--model", at("model"), "--vocab", "400", "--dim", "32", "--layers", "2", "--heads", "4",
        "--kv-heads", "2", "--ffn", "64", "--batch", "3", "--steps", "2", "--slot-steps", "2", "--out",
        at("llama"));
    TOOL("pcrl-convert", "--nf4", at("llama/llama.safetensors"), at("model/llama.safetensors"));
    ck_assert_msg(r.code == 0, "%s", r.err);
}

static const char *const parts[] = {"resnet.safetensors", "llama.safetensors", "tokenizer.json", "vocab.txt",
                                    "medclip.safetensors"};

/* A model folder of its own; `bert`: with vocab.txt and MedCLIP too. */
static void new_model(const char *name, bool bert)
{
    char to[128], from[128];
    ck_assert(file_make_folder(at(name), NULL));
    for (int i = 0; i < (bert ? 5 : 3); i++) {
        snprintf(from, sizeof from, "model/%s", parts[i]);
        snprintf(to, sizeof to, "%s/%s", name, parts[i]);
        copy_file(at(from), at(to));
    }
}

/* Found before the features are computed. */
START_TEST(no_bert)
{
    Run r;
    TOOL("pcrl-train", PCRL, BERT, "--model", at("model"), "--out", at("none"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "model/medclip.safetensors: missing; --text-features bert reads texts"), "%s",
                  r.err);
    TOOL("pcrl-train", PCRL, BERT, "--bert", at("llama/llama.safetensors"), "--model", at("model"), "--out",
         at("none"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "model/vocab.txt: missing"), "%s", r.err);
    ck_assert_int_ne(access(at("cache"), F_OK), 0);
    TOOL("pcrl-train", PCRL, "--text-features", "gpt", "--model", at("model"), "--out", at("none"));
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "expected llama|bert, found 'gpt'"), "%s", r.err);
    RUN("bert", CPU, "--dim", "16", "--layers", "2", "--heads", "2", "--ffn", "32", "--batch", "8", "--steps",
        "4", "--out", at("bert"), "--model", at("model"));
    TOOL("pcrl-train", PCRL, BERT, "--bert", at("llama/llama.safetensors"), "--model", at("model"), "--out",
         at("none"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "llama/llama.safetensors: no BERT"), "%s", r.err);
    RUN("medclip", CPU, "--bert", at("bert/bert.safetensors"), "--image", "32", "--patch", "4", "--window", "4",
        "--stages", "2", "--dim", "8", "--heads", "1", "--embed", "16", "--batch", "4", "--steps", "2", "--out",
        at("medclip"), "--model", at("model"));
}
END_TEST

static bool has(const char *path, const char *tensor)
{
    TensorFile *s = safetensors_open(path, NULL);
    ck_assert_ptr_nonnull(s);
    bool found = tensor_file_find(s, tensor);
    tensor_file_close(s);
    return found;
}

/* Both presets, stopped and gone on with: the same bytes. The BERT is MedCLIP's, or a file. */
static void resumes(const char *preset, const char *pool)
{
    Run r;
    char name[2][32], path[2][128];
    for (int i = 0; i < 2; i++) {
        snprintf(name[i], sizeof name[i], "%s-%d", preset, i);
        new_model(name[i], true);
    }
#define OWN(i) "--preset", preset, "--bert-pool", pool, "--model", at(name[i]), "--out", at(name[i])
    RUN(PCRL, BERT, OWN(0));
    TOOL("pcrl-train", PCRL, BERT, OWN(1), "--stop-after", "4");
    ck_assert_int_eq(r.code, 130);
    RUN(PCRL, BERT, OWN(1));
    ck_assert_msg(strstr(r.err, "going on from step 4"), "%s", r.err);
    static const char *const file[] = {"pcrl_heads.safetensors", "adapter_model.safetensors",
                                       "pcrl/step_00000006/tensors.safetensors"};
    for (int f = 0; f < 3; f++) {
        for (int i = 0; i < 2; i++) snprintf(path[i], sizeof path[i], "%s/%s", name[i], file[f]);
        ck_assert_msg(same_file(at(path[0]), at(path[1])), "%s", path[1]);
    }
    snprintf(path[0], sizeof path[0], "%s/pcrl_heads.safetensors", name[0]);
    ck_assert(has(at(path[0]), "local_text_embed_bert.weight") &&
              has(at(path[0]), "global_text_embed_bert.bias") && has(at(path[0]), "local_text_embed.weight"));
    snprintf(path[0], sizeof path[0], "%s/run.json", name[0]);
    json_t *run = json_read(at(path[0]), NULL);
    ck_assert_str_eq(json_string_value(json_object_get(run, "text_features")), "bert");
    ck_assert_str_eq(json_string_value(json_object_get(run, "bert_pool")), pool);
    json_decref(run);
}

START_TEST(paper_resumes) { resumes("paper", "cls"); }
END_TEST
START_TEST(release_resumes) { resumes("release", "mean"); }
END_TEST

/* The pools are different features, MedCLIP's BERT is another than the one it began with, and all of them other
 * than the language model's; reports and their head need no BERT. */
START_TEST(different)
{
    Run r;
    double first[4];
    const char *const name[4] = {"paper-0", "mean", "file", "plain"};
    for (int i = 1; i < 4; i++) new_model(name[i], false);
    copy_file(at("model/vocab.txt"), at("file/vocab.txt"));
    copy_file(at("model/vocab.txt"), at("mean/vocab.txt"));
    RUN(PCRL, BERT, "--bert", at("model/medclip.safetensors"), "--bert-pool", "mean", "--model", at("mean"),
        "--out", at("mean"));
    RUN(PCRL, BERT, "--bert", at("bert/bert.safetensors"), "--model", at("file"), "--out", at("file"));
    RUN(PCRL, "--model", at("plain"), "--out", at("plain"));
    ck_assert(!has(at("plain/pcrl_heads.safetensors"), "local_text_embed_bert.weight"));
    for (int i = 0; i < 4; i++) {
        char log[64];
        snprintf(log, sizeof log, "%s/pcrl/log.jsonl", name[i]);
        first[i] = logged(at(log), 2, "entity");
        for (int k = 0; k < i; k++) ck_assert_double_ne(first[k], first[i]);
        snprintf(log, sizeof log, "%s/vocab.txt", name[i]);
        unlink(at(log));
        snprintf(log, sizeof log, "%s/medclip.safetensors", name[i]);
        unlink(at(log));
        TOOL("pcrl-report", "--device", "cpu", "--model", at(name[i]), "--max-tokens", "3", at("set"));
        ck_assert_msg(r.code == 0, "%s", r.err);
    }
}
END_TEST

/* --init: the Linears of a run with BERT go on; of one without, they are new. Without an update nothing moves.
 */
START_TEST(begins)
{
    Run r;
    const char *const from[2] = {"paper-0", "plain"};
    float *w[3];
    const int64_t dim[2] = {16, 16};
    new_model("next", true);
    for (int i = 0; i < 2; i++) {
        RUN(PCRL, BERT, "--init", at(from[i]), "--model", at("next"), "--out", at("next"), "--restart",
            "--steps", "1", "--lr", "1e-12");
        w[i] = malloc(16 * 16 * sizeof **w);
        TensorFile *s = safetensors_open(at("next/pcrl_heads.safetensors"), NULL);
        ck_assert(s && tensor_file_load_f32(s, "local_text_embed_bert.weight", 2, dim, w[i], NULL));
        tensor_file_close(s);
    }
    w[2] = malloc(16 * 16 * sizeof **w);
    TensorFile *s = safetensors_open(at("paper-0/pcrl_heads.safetensors"), NULL);
    ck_assert(s && tensor_file_load_f32(s, "local_text_embed_bert.weight", 2, dim, w[2], NULL));
    tensor_file_close(s);
    for (int i = 0; i < 16 * 16; i++) ck_assert_float_eq_tol(w[0][i], w[2][i], 1e-6f);
    float most = 0;
    for (int i = 0; i < 16 * 16; i++) most = fmaxf(most, fabsf(w[1][i] - w[2][i]));
    ck_assert_float_gt(most, 5e-5f);
    for (int i = 0; i < 3; i++) free(w[i]);
    RUN(PCRL, "--init", at("paper-0"), "--model", at("next"), "--out", at("next"), "--restart", "--steps", "1");
}
END_TEST

/* One of the two alignments alone. */
START_TEST(one_branch)
{
    Run r;
    new_model("alone", true);
    RUN(PCRL, BERT, "--model", at("alone"), "--out", at("no-entity"), "--steps", "1", "--weight-entity", "0");
    RUN(PCRL, BERT, "--model", at("alone"), "--out", at("no-theme"), "--steps", "1", "--weight-theme", "0");
}
END_TEST

/* A run that began without BERT's Linears cannot go on with them. */
START_TEST(changed)
{
    Run r;
    new_model("other", true);
    TOOL("pcrl-train", PCRL, "--model", at("other"), "--out", at("other"), "--stop-after", "2");
    ck_assert_int_eq(r.code, 130);
    TOOL("pcrl-train", PCRL, BERT, "--model", at("other"), "--out", at("other"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "tensors.safetensors: tensor \"block.weight\": expected shape"), "%s", r.err);
    ck_assert_msg(strstr(r.err, "text-features \"bert\" (was \"llama\")"), "%s", r.err);
}
END_TEST

START_TEST(dry)
{
    Run r;
    RUN(PCRL, BERT, "--model", at("model"), "--out", at("dry"), "--dry-run");
    ck_assert_msg(strstr(r.out, "local_text_embed_bert.weight") && strstr(r.out, "memory step"), "%s", r.out);
    ck_assert_int_ne(access(at("dry"), F_OK), 0);
    RUN("pcrl", "--dry-run", "--sizes", "paper", BERT);
    ck_assert_msg(strstr(r.out, "trainable 230726659, of which LoRA 3407872"), "%s",
                  r.out); /* 229939203 + 787456 */
    RUN("pcrl", "--dry-run", "--sizes", "paper", BERT, "--preset", "release", "--compute", "bf16");
    ck_assert_msg(strstr(r.out, "trainable 230726659"), "%s", r.out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("train_bert_texts");
    TCase *c = tcase_create("train_bert_texts");
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_parts, remove_folder);
    tcase_add_test(c, no_bert);
    tcase_add_test(c, paper_resumes);
    tcase_add_test(c, release_resumes);
    tcase_add_test(c, different);
    tcase_add_test(c, begins);
    tcase_add_test(c, one_branch);
    tcase_add_test(c, changed);
    tcase_add_test(c, dry);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
