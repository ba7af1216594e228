/* Stages bert and medclip at toy size: the vocabulary knows every word, both learn and resume bit for bit, the
 * files open; masks as they are disturbed, queries as they are mirrored; bad files. */
#include "models/medclip.h"
#include "tests/tools/stages.h"
#include "tokenizer/wordpiece.h"
#include "tools/medclip_data.h"
#include <math.h>

enum { SIDE = 64 };
#define BERT                                                                                                   \
    "bert", "--device", "cpu", "--threads", "1", "--data", at("set"), "--dim", "16", "--layers", "2",          \
        "--heads", "2", "--ffn", "32", "--batch", "8", "--steps", "40", "--log-every", "4", "--warm", "4"
#define MEDCLIP                                                                                                \
    "medclip", "--device", "cpu", "--threads", "1", "--data", at("set"), "--bert",                             \
        at("bert/bert.safetensors"), "--image", "32", "--patch", "4", "--window", "4", "--stages", "2",        \
        "--dim", "8", "--heads", "1", "--embed", "16", "--batch", "8", "--steps", "80", "--log-every", "20",   \
        "--warm", "10", "--lr", "0.005", "--regions", "0.25"
#define VALIDATED "--validation", at("set"), "--validation-studies", "2", "--validate-every", "40"

START_TEST(bert_learns_and_resumes)
{
    Run r;
    RUN(BERT, "--out", at("bert"), "--model", at("model"));
    double first = logged(at("bert/log.jsonl"), 4, "loss"), last = logged(at("bert/log.jsonl"), 40, "loss");
    ck_assert_msg(last < first - 0.3, "the loss goes from %g to %g", first, last);
    TOOL("pcrl-train", BERT, "--out", at("again"), "--model", at("other"), "--stop-after", "7");
    ck_assert_int_eq(r.code, 130);
    RUN(BERT, "--out", at("again"), "--model", at("other"));
    ck_assert(same_file(at("bert/bert.safetensors"), at("again/bert.safetensors")));
    ck_assert(same_file(at("model/vocab.txt"), at("other/vocab.txt")));
}
END_TEST

/* Nothing in reports and queries is [UNK]; a Latin word that is not there falls to pieces. */
START_TEST(vocabulary)
{
    Error e = {0};
    Wordpiece w = {0};
    Ctrg *c = ctrg_open(at("set"), NULL, NULL, &e);
    ck_assert_msg(c && wordpiece_open(&w, at("model/vocab.txt"), &e), "%s", e.msg);
    int texts = 0;
    for (int k = 0; k < c->n; k++)
        for (int i = -1; i < clue_entity_count(); i++) {
            char *said = i < 0 ? strdup(c->study[k].findings) : clue_description(c->study[k].findings, i);
            char *text = i < 0 ? strdup(said) : said ? clue_query(i, said, CLUE_QUERY_ENGLISH) : NULL;
            int32_t *ids;
            int n;
            free(said);
            if (!text) continue;
            ck_assert_msg(wordpiece_encode(&w, text, strlen(text), 500, &ids, &n, &e), "%s", e.msg);
            for (int j = 0; j < n; j++) ck_assert_msg(ids[j] != w.unknown, "%s", text);
            free(ids);
            free(text);
            texts++;
        }
    ck_assert_int_gt(texts, 20);
    int32_t *ids;
    int n;
    ck_assert(wordpiece_encode(&w, "Xylophone2", 10, 500, &ids, &n, &e));
    for (int j = 0; j < n; j++) ck_assert_int_ne(ids[j], w.unknown);
    free(ids);
    wordpiece_close(&w);
    ctrg_free(c);
}
END_TEST

START_TEST(medclip_learns_and_resumes)
{
    Run r;
    RUN(MEDCLIP, VALIDATED, "--out", at("m"), "--model", at("model"));
    double first = logged(at("m/log.jsonl"), 20, "loss"), last = logged(at("m/log.jsonl"), 80, "loss");
    ck_assert_msg(last < first - 0.05, "the loss goes from %g to %g", first, last);
    double top = last_validation(at("m/log.jsonl"), "top1"),
           asked = last_validation(at("m/log.jsonl"), "queries");
    ck_assert_msg(top >= 0 && top <= 1 && asked > 0, "%g %g", top, asked);
    TOOL("pcrl-train", MEDCLIP, VALIDATED, "--out", at("n"), "--model", at("other"), "--stop-after", "41");
    ck_assert_int_eq(r.code, 130);
    RUN(MEDCLIP, VALIDATED, "--out", at("n"), "--model", at("other"));
    ck_assert(same_file(at("model/medclip.safetensors"), at("other/medclip.safetensors")));
}
END_TEST

/* The text tower began with the BERT; the file opens, and embeds. */
START_TEST(file_opens)
{
    Error e = {0};
    const Backend *cpu = backend_open("cpu", &e);
    Arena weights, step, scratch;
    ck_assert(arena_open(&weights, "weights", cpu, 1 << 26, &e) &&
              arena_open(&step, "step", cpu, 1 << 28, &e) && arena_open(&scratch, "scratch", cpu, 1 << 26, &e));
    Weights w, b, text;
    Medclip m, begun;
    Bert bert;
    Run r;
    copy_file(at("model/vocab.txt"), at("vocab.txt"));
    RUN(MEDCLIP, "--out", at("begun"), "--model", folder, "--steps", "1", "--lr", "1e-9");
    weights_init(&w, &weights, NULL, NULL, 1);
    weights_init(&b, &weights, NULL, NULL, 1);
    weights_init(&text, &weights, NULL, NULL, 1);
    ck_assert_msg(weights_open(&w, at("model/medclip.safetensors"), &e) && medclip_open(&m, &w, &e), "%s",
                  e.msg);
    ck_assert_msg(weights_open(&b, at("medclip.safetensors"), &e) && medclip_open(&begun, &b, &e), "%s", e.msg);
    ck_assert_msg(weights_open(&text, at("bert/bert.safetensors"), &e) && bert_open(&bert, &text, &e), "%s",
                  e.msg);
    ck_assert(m.image == 32 && m.embed == 16 && !m.is_resnet && m.bert.config.heads == 2);
    const float *was = bert.layer[1].q.weight->data, *at_first = begun.bert.layer[1].q.weight->data;
    for (int i = 0; i < 16 * 16; i++) ck_assert_float_eq_tol(was[i], at_first[i], 1e-6f);
    ck_assert_mem_ne(was, m.bert.layer[1].q.weight->data, 16 * 16 * sizeof *was);
    Tape t;
    tape_init(&t, &step, &scratch, 1);
    Tensor *ids = tape_tensor(&t, DTYPE_i32, 2, (const int64_t[]){1, 4});
    tensor_upload(ids, (const int32_t[]){2, 9, 10, 3});
    const float *x = medclip_text(&t, &m, ids)->data;
    double square = 0;
    for (int i = 0; i < 16; i++) square += (double)(x[i] * x[i]);
    ck_assert_double_eq_tol(square, 1, 1e-5);
    weights_close(&w);
    weights_close(&b);
    weights_close(&text);
    arena_close(&scratch);
    arena_close(&step);
    arena_close(&weights);
}
END_TEST

/* Disturbed masks stay near, are never empty, and are not always the same. */
START_TEST(disturbed)
{
    static uint8_t mask[SIDE * SIDE], spare[SIDE * SIDE];
    Rng rng = rng_open(1, "test");
    int changed = 0, one = 0;
    for (int k = 0; k < 200; k++) {
        bool dot = k % 2;
        for (int i = 0; i < SIDE * SIDE; i++) {
            int x = i % SIDE, y = i / SIDE;
            mask[i] = dot ? x == 0 && y == 5 : x >= 20 && x < 30 && y >= 40 && y < 48;
        }
        mask_disturb(mask, spare, SIDE, SIDE, &rng);
        int area = 0, wrong = 0;
        for (int i = 0; i < SIDE * SIDE; i++) {
            int x = i % SIDE, y = i / SIDE;
            bool near = dot ? x <= 2 && y >= 3 && y <= 7 : x >= 18 && x < 32 && y >= 38 && y < 50;
            bool core = !dot && x >= 22 && x < 28 && y >= 42 && y < 46;
            ck_assert(mask[i] <= 1);
            area += mask[i];
            wrong += (mask[i] && !near) || (core && !mask[i]);
        }
        ck_assert_int_eq(wrong, 0);
        ck_assert_int_gt(area, 0);
        one += dot && area == 1;
        changed += !dot && area != 80;
    }
    ck_assert(changed > 20 && changed < 80 && one > 20);
}
END_TEST

/* A row's queries name its place; the mirrored patient's are the same with left for right. */
START_TEST(queries)
{
    Error e = {0};
    Ctrg *c = ctrg_open(at("set"), NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    int asked = 0, sided = 0;
    for (int k = 0; k < c->n; k++)
        for (int i = 0; i < c->study[k].n_truth; i++) {
            char *query[2][8];
            int entity[2][8], n[2];
            for (int m = 0; m < 2; m++) n[m] = truth_queries(&c->study[k], i, m, 8, query[m], entity[m]);
            ck_assert_int_eq(n[0], n[1]);
            for (int q = 0; q < n[0]; q++) {
                ck_assert_int_eq(entity[0][q], entity[1][q]);
                int left[2], right[2];
                for (int m = 0; m < 2; m++) {
                    left[m] = right[m] = 0;
                    for (char *s = query[m][q]; (s = strstr(s, "left")); s++) left[m]++;
                    for (char *s = query[m][q]; (s = strstr(s, "right")); s++) right[m]++;
                }
                ck_assert_msg(left[0] == right[1] && right[0] == left[1], "%s, %s", query[0][q], query[1][q]);
                sided += left[0] != right[0];
                asked++;
            }
            for (int m = 0; m < 2; m++)
                for (int q = 0; q < n[m]; q++) free(query[m][q]);
        }
    ck_assert(asked > 10 && sided > 3);
    ctrg_free(c);
    char *none = region_query();
    ck_assert_ptr_nonnull(strstr(none, "normal"));
    free(none);
}
END_TEST

START_TEST(bad_files)
{
    static const char words[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n";
    Run r;
    TOOL("pcrl-train", MEDCLIP, "--out", at("c"), "--model", at("nothing"));
    ck_assert_int_ne(r.code, 0);
    ck_assert_msg(strstr(r.err, "nothing/vocab.txt"), "%s", r.err);
    ck_assert(file_make_folder(at("short"), NULL));
    ck_assert(file_write(at("short/vocab.txt"), words, strlen(words), NULL));
    TOOL("pcrl-train", MEDCLIP, "--out", at("c"), "--model", at("short"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "bert.safetensors") && strstr(r.err, "expected the 6"), "%s", r.err);
    TOOL("pcrl-train", "medclip", "--data", at("set"), "--out", at("c"), "--model", at("model"));
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "--bert"), "%s", r.err);
    TOOL("pcrl-train", MEDCLIP, "--out", at("c"), "--model", at("model"), "--image", "36");
    ck_assert_int_eq(r.code, 2);
    TOOL("pcrl-train", MEDCLIP, "--out", at("c"), "--model", at("model"), "--dry-run");
    ck_assert_msg(r.code == 0 && strstr(r.out, "logit_scale") && strstr(r.out, "memory all"), "%s", r.err);
}
END_TEST

static void make_set(void)
{
    Run r;
    ck_assert(mkdtemp(folder));
    TOOL("pcrl-synth", "--out", at("set"), "--n", "8", "--size", "64");
    ck_assert_msg(r.code == 0, "%s", r.err);
}

int main(void)
{
    Suite *s = suite_create("train_medclip");
    TCase *c = tcase_create("train_medclip");
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_set, remove_folder);
    tcase_add_test(c, bert_learns_and_resumes);
    tcase_add_test(c, vocabulary);
    tcase_add_test(c, medclip_learns_and_resumes);
    tcase_add_test(c, file_opens);
    tcase_add_test(c, disturbed);
    tcase_add_test(c, queries);
    tcase_add_test(c, bad_files);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
