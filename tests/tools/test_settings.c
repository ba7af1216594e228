/* The table of pcrl-train's settings: who beats whom, every kind of error, presets, and the run file. */
#include "data/file.h"
#include "tests/tools/run.h"
#include "tools/settings.h"
#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stddef.h>

static char folder[] = "/tmp/pcrl-settings-XXXXXX";

static const char *at(const char *name)
{
    static char ring[8][256];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

static const char *file(const char *text)
{
    const char *path = at("given.json");
    ck_assert(file_write(path, text, strlen(text), NULL));
    return path;
}

static int row(const char *name)
{
    for (int i = 0; i < settings_count; i++)
        if (!strcmp(settings_table[i].name, name)) return i;
    ck_abort_msg("no setting %s", name);
}

static bool set(Settings *s, const char *name, const char *text, SettingSource from)
{
    Error e = {0};
    bool ok = settings_set(s, row(name), text, from, name, &e);
    ck_assert_int_eq(e.code, ok ? 0 : ERROR_USAGE);
    return ok;
}

/* With what every stage needs. */
static void open_stage(Settings *s, const char *stage)
{
    settings_open(s);
    s->stage = stage;
    ck_assert(set(s, "data", "d", FROM_COMMAND) && set(s, "out", "o", FROM_COMMAND));
    ck_assert(set(s, "model", "m", FROM_COMMAND) && set(s, "device", "cpu", FROM_COMMAND));
    if (!strcmp(stage, "pcrl")) ck_assert(set(s, "cache", "c", FROM_COMMAND));
}

static void resolve(Settings *s)
{
    Error e = {0};
    ck_assert_msg(settings_resolve(s, &e), "%s", e.msg);
}

/* Every setting's three names are unlike all others', and no two share a field. */
START_TEST(table)
{
    for (int i = 0; i < settings_count; i++) {
        const Setting *a = &settings_table[i];
        ck_assert_msg(strspn(a->name, "abcdefghijklmnopqrstuvwxyz-") == strlen(a->name), "%s", a->name);
        ck_assert_msg(a->help && *a->help && a->stages & STAGE_ALL, "%s", a->name);
        for (int k = 0; k < i; k++) {
            const Setting *b = &settings_table[k];
            ck_assert_msg(strcmp(a->name, b->name), "%s twice", a->name);
            ck_assert_msg(a->offset >= b->offset + b->bytes || b->offset >= a->offset + a->bytes, "%s and %s",
                          a->name, b->name);
        }
    }
}
END_TEST

START_TEST(precedence)
{
    static char *const variables[] = {"HOME=/", "PCRL_TRAIN_LR=0.02", "PCRL_TRAIN_BATCH=5", NULL};
    Error e = {0};
    Settings s;
    open_stage(&s, "llama");
    ck_assert(set(&s, "lr", "0.03", FROM_COMMAND));
    ck_assert_msg(settings_environment(&s, variables, &e), "%s", e.msg);
    ck_assert_msg(
        settings_file(&s, file("{\"lr\": 0.01, \"batch\": 4, \"steps\": 7, \"stage\": \"resnet\"}"), &e), "%s",
        e.msg);
    resolve(&s);
    ck_assert_double_eq(s.train.lr, 0.03);
    ck_assert_int_eq(s.train.batch, 5);
    ck_assert_int_eq(s.train.steps, 7);
    ck_assert_str_eq(s.stage, "llama");
    ck_assert_int_eq(s.train.warm, 50); /* the stage's own */
    ck_assert_double_eq(s.train.clip, 1);
    ck_assert_int_gt(s.train.common.threads, 0);
    settings_close(&s);
    /* a weaker source that speaks later changes nothing, a second word of the same one does */
    open_stage(&s, "resnet");
    ck_assert(set(&s, "steps", "3", FROM_COMMAND) && set(&s, "steps", "9", FROM_ENVIRONMENT));
    ck_assert_int_eq(s.train.steps, 3);
    ck_assert(set(&s, "steps", "4", FROM_COMMAND));
    ck_assert_int_eq(s.train.steps, 4);
    settings_close(&s);
}
END_TEST

static const struct {
    const char *name, *text;
    bool ok;
} values_given[] = {
    {"steps", "1073741824", true},
    {"steps", "1073741825", false},
    {"steps", "-1", false},
    {"steps", "1.5", false},
    {"steps", "", false},
    {"steps", "ten", false},
    {"warm", "-1", true},
    {"lr", "1e-4", true},
    {"lr", "11", false},
    {"lr", "nan", false},
    {"data", "", false},
    {"data", "\xff", false},
    {"data", "脑", true},
    {"device", "cpu", true},
    {"device", "plan", false},
    {"hv", "sum24", true},
    {"hv", "sum", false},
    {"hv", "sum2", false},
    {"hv", "local24|concat48", false},
    {"hv", "", false},
    {"mask-identical", "true", true},
    {"mask-identical", "maybe", false},
    {"mask-identical", NULL, true},
    {"widths", "1,2,3,4", true},
    {"widths", "1,2,3", false},
    {"widths", "1,2,3,4,5", false},
    {"widths", "1,2,3,4.5", false},
    {"widths", "0,2,3,4", false},
    {"memory", "4G", true},
    {"memory", "4GB", false},
    {"threads", "1024", true},
    {"threads", "1025", false},
};

START_TEST(values)
{
    for (size_t i = 0; i < sizeof values_given / sizeof *values_given; i++) {
        Settings s;
        settings_open(&s);
        TrainOptions before = s.train;
        Error e = {0};
        bool ok = settings_set(&s, row(values_given[i].name), values_given[i].text, FROM_COMMAND, "--this", &e);
        const char *text = values_given[i].text ? values_given[i].text : "";
        ck_assert_msg(ok == values_given[i].ok, "%s '%s': %s", values_given[i].name, text, e.msg);
        if (!ok) {
            ck_assert_int_eq(e.code, ERROR_USAGE);
            ck_assert_msg(strstr(e.msg, "--this: expected ") && strstr(e.msg, text), "%s", e.msg);
            ck_assert(!memcmp(&before, &s.train, sizeof before));
        }
        settings_close(&s);
    }
    Settings s;
    settings_open(&s);
    ck_assert(set(&s, "widths", "1,2,3,4", FROM_COMMAND) && set(&s, "hv", "sum24", FROM_COMMAND) &&
              set(&s, "mask-identical", NULL, FROM_COMMAND) && set(&s, "memory", "4G", FROM_COMMAND) &&
              set(&s, "threads", "3", FROM_COMMAND));
    ck_assert(s.train.width[0] == 1 && s.train.width[3] == 4 && s.train.hv == HV_SUM24);
    ck_assert(s.train.mask_identical && s.train.common.memory == 4ull << 30 && s.train.common.threads == 3);
    settings_close(&s);
}
END_TEST

START_TEST(bad_files)
{
    static const struct {
        const char *text, *key, *wanted, *found;
    } cases[] = {
        {"{\"stepz\": 3}", "stepz", "no setting", ""},
        {"{\"slot-steps\": 3}", "slot-steps", "no setting", ""},
        {"{\"steps\": \"3\"}", "\"steps\"", "a whole number from 0", "\"3\""},
        {"{\"steps\": 3.5}", "\"steps\"", "a whole number", "3.5"},
        {"{\"steps\": -3}", "\"steps\"", "a whole number", "-3"},
        {"{\"lr\": 11}", "\"lr\"", "a number from 0 to 10", "11"},
        {"{\"lr\": true}", "\"lr\"", "a number", "true"},
        {"{\"data\": 3}", "\"data\"", "UTF-8", "3"},
        {"{\"dice\": \"rough\"}", "\"dice\"", "printed|smooth", "\"rough\""},
        {"{\"dice\": 1}", "\"dice\"", "printed|smooth", "1"},
        {"{\"mask_identical\": 1}", "\"mask_identical\"", "true or false", "1"},
        {"{\"widths\": [1, 2, 3]}", "\"widths\"", "four whole numbers", "[1,2,3]"},
        {"{\"widths\": [1, 2, 3, 9999]}", "\"widths\"", "four whole numbers", "9999"},
        {"{\"memory\": -1}", "\"memory\"", "a size", "-1"},
        {"{\"device\": \"plan\"}", "\"device\"", "auto|cpu", "plan"},
        {"{\"device\": null}", "\"device\"", "auto|cpu", "null"},
        {"{\"stage\": 1}", "\"stage\"", "bert, medclip or pcrl", ""},
        {"[1]", "", "an object", ""},
        {"{\"steps\": 3, \"steps\": 4}", "steps", "not JSON", ""},
        {"{\"steps\": 3", "", "not JSON", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Settings s;
        Error e = {0};
        settings_open(&s);
        /* overruled or not, what stands in a file is checked */
        ck_assert(set(&s, "steps", "5", FROM_COMMAND));
        ck_assert_msg(!settings_file(&s, file(cases[i].text), &e), "%s", cases[i].text);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        ck_assert_msg(strstr(e.msg, "given.json") && strstr(e.msg, cases[i].key) &&
                          strstr(e.msg, cases[i].wanted) && strstr(e.msg, cases[i].found),
                      "%s: %s", cases[i].text, e.msg);
        settings_close(&s);
    }
    Settings s;
    Error e = {0};
    settings_open(&s);
    ck_assert(!settings_file(&s, at("nowhere.json"), &e));
    ck_assert_int_eq(e.code, ERROR_IO);
    settings_close(&s);
}
END_TEST

START_TEST(bad_variables)
{
    static char *const unknown[] = {"PCRL_TRAIN_STEPZ=3", NULL}, *const lower[] = {"PCRL_TRAIN_steps=3", NULL},
                       *const wrong[] = {"PCRL_TRAIN_SLOT_STEPS=x", NULL};
    Settings s;
    Error e = {0};
    settings_open(&s);
    ck_assert(!settings_environment(&s, unknown, &e) && e.code == ERROR_USAGE);
    ck_assert(strstr(e.msg, "PCRL_TRAIN_STEPZ"));
    ck_assert(!settings_environment(&s, lower, &e) && e.code == ERROR_USAGE);
    ck_assert(!settings_environment(&s, wrong, &e) && e.code == ERROR_USAGE);
    ck_assert_msg(strstr(e.msg, "PCRL_TRAIN_SLOT_STEPS: expected a whole number") && strstr(e.msg, "'x'"), "%s",
                  e.msg);
    settings_close(&s);
}
END_TEST

static void refused(const char *stage, const char *name, const char *text, const char *says)
{
    Settings s;
    Error e = {0};
    open_stage(&s, stage);
    if (name) ck_assert(set(&s, name, text, FROM_COMMAND));
    ck_assert_msg(!settings_resolve(&s, &e), "%s %s", stage, name ? name : "");
    ck_assert_int_eq(e.code, ERROR_USAGE);
    ck_assert_msg(strstr(e.msg, says), "%s", e.msg);
    settings_close(&s);
}

START_TEST(combinations)
{
    refused("clip", NULL, NULL, "clip");
    refused("resnet", "vocab", "400", "stage llama");
    refused("llama", "heads", "5", "--heads 5");
    refused("llama", "validate-every", "5", "stage resnet, sam, medclip, pcrl,");
    refused("resnet", "validation", "x", "--validation: of stage resnet only with --labels bleed or cq500");
    refused("resnet", "backbone", "x", "--backbone: of stage resnet only with --labels bleed or cq500");
    refused("bert", "validation-studies", "5", "stage resnet, sam, medclip, pcrl,");
    refused("resnet", "heads", "4", "stage llama, sam, bert, medclip,");
    refused("sam", "image", "220", "--image 220 --patch 8");
    refused("sam", "patch", "6", "--patch 6");
    refused("sam", "heads", "5", "--heads 5");
    refused("sam", "decoder-heads", "3", "--decoder-heads 3");
    refused("sam", "validate-every", "5", "--validation");
    refused("bert", "heads", "5", "--heads 5");
    refused("medclip", NULL, NULL, "--bert");
    refused("resnet", "bert", "b", "stage medclip, pcrl,");
    refused("pcrl", "bert", "b", "--text-features bert only");
    refused("pcrl", "sizes", "paper", "--dry-run");
    refused("pcrl", "validate-every", "5", "--validation");
    refused("pcrl", "warmup-steps", "5", "--slots");
    Settings s;
    Error e = {0};
    settings_open(&s);
    ck_assert(!settings_resolve(&s, &e) && e.code == ERROR_USAGE && strstr(e.msg, "which stage"));
    s.stage = "resnet";
    ck_assert(!settings_resolve(&s, &e) && e.code == ERROR_USAGE && strstr(e.msg, "--data"));
    settings_close(&s);
    /* settings of other stages in a file that serves them all */
    open_stage(&s, "resnet");
    ck_assert(settings_file(&s, file("{\"vocab\": 400, \"tau\": \"learn\", \"validate_every\": 5}"), &e));
    resolve(&s);
    settings_close(&s);
    settings_open(&s);
    s.stage = "resnet";
    ck_assert(set(&s, "sizes", "paper", FROM_ENVIRONMENT) && set(&s, "dry-run", NULL, FROM_COMMAND));
    ck_assert(!settings_resolve(&s, &e) && e.code == ERROR_USAGE && strstr(e.msg, "--data"));
    settings_close(&s);
}
END_TEST

START_TEST(presets)
{
    Settings s;
    Error e = {0};
    open_stage(&s, "pcrl");
    resolve(&s);
    const TrainOptions *o = &s.train;
    ck_assert(o->hv == HV_LOCAL24 && o->dice == DICE_PRINTED && o->contrast == CONTRAST_PRINTED &&
              o->contrast_reduction == REDUCE_SUM && o->tau == TAU_FIXED && o->text_prompt == PROMPT_PAPER &&
              o->text_pool == POOL_LAST && o->quant == QUANT_NF4);
    settings_close(&s);
    open_stage(&s, "pcrl");
    ck_assert(set(&s, "preset", "release", FROM_COMMAND) && set(&s, "dice", "printed", FROM_ENVIRONMENT));
    ck_assert(settings_file(&s, file("{\"preset\": \"paper\", \"tau\": \"fixed\"}"), &e));
    resolve(&s);
    ck_assert(o->hv == HV_CONCAT48 && o->contrast == CONTRAST_STANDARD &&
              o->contrast_reduction == REDUCE_MEAN && o->text_prompt == PROMPT_RELEASE &&
              o->text_pool == POOL_PADDED && o->quant == QUANT_FP4);
    ck_assert(o->dice == DICE_PRINTED && o->tau == TAU_FIXED); /* said, if only in the file */
    ck_assert(o->eca_unit == ECA_UNIT_SLICE && o->eca_scope == ECA_SCOPE_BATCH && o->entities == ENTITIES_26 &&
              o->lm_reduction == REDUCE_MEAN);
    settings_close(&s);
}
END_TEST

/* Numbers, texts, lists, choices, flags come back bit for bit; one key a line in the table's order. */
START_TEST(round_trip)
{
    Settings s, t;
    Error e = {0};
    char path[256], again[256], changed[512];
    snprintf(path, sizeof path, "%s", at("run.json"));
    snprintf(again, sizeof again, "%s", at("again.json"));
    open_stage(&s, "pcrl");
    ck_assert(set(&s, "preset", "release", FROM_COMMAND) && set(&s, "lr", "0.1", FROM_COMMAND) &&
              set(&s, "alpha-v", "0.30000000000000004", FROM_COMMAND) &&
              set(&s, "clues", "a \"b\"\n\\脑.json", FROM_COMMAND) &&
              set(&s, "mask-identical", NULL, FROM_COMMAND) && set(&s, "memory", "3G", FROM_COMMAND) &&
              set(&s, "seed", "9007199254740992", FROM_COMMAND) && set(&s, "threads", "1", FROM_COMMAND) &&
              set(&s, "restart", NULL, FROM_COMMAND));
    resolve(&s);
    ck_assert_msg(settings_write(&s, path, &e), "%s", e.msg);
    settings_open(&t);
    ck_assert_msg(settings_file(&t, path, &e), "%s", e.msg);
    resolve(&t);
    ck_assert_str_eq(t.stage, "pcrl");
    ck_assert(settings_write(&t, again, &e));
    uint8_t *a, *b;
    size_t n, m;
    ck_assert(file_read(path, 1 << 20, &a, &n, &e) && file_read(again, 1 << 20, &b, &m, &e));
    ck_assert_str_eq((char *)a, (char *)b);
    ck_assert(t.train.alpha_v == s.train.alpha_v && t.train.lr == 0.1 && t.train.mask_identical);
    ck_assert_str_eq(t.train.clues, "a \"b\"\n\\脑.json");
    ck_assert(!t.train.restart && t.train.hv == HV_CONCAT48 && t.train.common.seed == 9007199254740992);
    static const char *const order[] = {"\"stage\": \"pcrl\"", "\"version\": ",        "\"data\": \"d\"",
                                        "\"lr\": 0.1",         "\"hv\": \"concat48\"", "\"slots\": null",
                                        "\"threads\": 1"};
    const char *from = (char *)a;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        from = strstr(from, order[i]);
        ck_assert_msg(from, "%s", order[i]);
    }
    ck_assert(!strstr((char *)a, "restart") && !strstr((char *)a, "vocab"));
    ck_assert(settings_changed(&t, path, changed, sizeof changed, &e));
    ck_assert_str_eq(changed, "");
    ck_assert(set(&t, "lr", "0.2", FROM_COMMAND) && set(&t, "tau", "fixed", FROM_COMMAND));
    ck_assert(settings_changed(&t, path, changed, sizeof changed, &e));
    ck_assert_str_eq(changed, "lr 0.2 (was 0.1), tau \"fixed\" (was \"learn\")");
    ck_assert(settings_changed(&t, file("{\"lr\": 0.3, \"stepz\": 1}"), changed, sizeof changed, &e));
    ck_assert_str_eq(changed, "");
    t.stage = "llama";
    ck_assert(!settings_changed(&t, path, changed, sizeof changed, &e) && e.code == ERROR_INPUT);
    ck_assert_msg(strstr(e.msg, "stage pcrl") && strstr(e.msg, "stage llama"), "%s", e.msg);
    free(a);
    free(b);
    settings_close(&s);
    settings_close(&t);
}
END_TEST

/* Through the program: exit codes, and a run repeated from its run.json. */
#define TOOL(name, ...) run_tool(&r, name, (const char *const[]){__VA_ARGS__, NULL})

static bool same_bytes(const char *a, const char *b)
{
    uint8_t *x, *y;
    size_t n, m;
    ck_assert(file_read(a, 1 << 28, &x, &n, NULL) && file_read(b, 1 << 28, &y, &m, NULL));
    bool same = n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

START_TEST(program)
{
    Run r;
    TOOL("pcrl-synth", "--out", at("set"), "--n", "3", "--size", "112");
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-train", "resnet", "--data", at("set"), "--out", at("a"), "--model", at("a"), "--steps", "x");
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "--steps: expected a whole number") && strstr(r.err, "'x'"), "%s", r.err);
    TOOL("pcrl-train", "--config", file("{\"stage\": \"resnet\", \"steps\": \"x\"}"));
    ck_assert_int_eq(r.code, 2);
    ck_assert_msg(strstr(r.err, "given.json: key \"steps\": expected a whole number"), "%s", r.err);
    setenv("PCRL_TRAIN_STEPS", "x", 1);
    TOOL("pcrl-train", "resnet", "--data", at("set"), "--out", at("a"), "--model", at("a"));
    ck_assert_int_eq(r.code, 1);
    ck_assert_msg(strstr(r.err, "PCRL_TRAIN_STEPS"), "%s", r.err);
    setenv("PCRL_TRAIN_STEPS", "3", 1);
    TOOL("pcrl-train", "resnet", "--device", "cpu", "--threads", "1", "--seed", "5", "--data", at("set"),
         "--out", at("a"), "--model", at("ma"), "--stem", "4", "--widths", "2,2,2,4", "--depths", "1,1,1,1",
         "--batch", "4", "--lr", "0.0017", "--accumulate", "2", "--schedule", "step", "--step-every", "1");
    unsetenv("PCRL_TRAIN_STEPS");
    ck_assert_msg(r.code == 0, "%s", r.err);
    TOOL("pcrl-train", "--config", at("a/run.json"), "--out", at("b"), "--model", at("mb"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert(same_bytes(at("ma/resnet.safetensors"), at("mb/resnet.safetensors")));
    ck_assert(same_bytes(at("a/step_00000003/tensors.safetensors"), at("b/step_00000003/tensors.safetensors")));
    TOOL("pcrl-train", "--config", at("a/run.json"), "--seed", "6", "--out", at("c"), "--model", at("mc"));
    ck_assert_msg(r.code == 0, "%s", r.err);
    ck_assert(!same_bytes(at("ma/resnet.safetensors"), at("mc/resnet.safetensors")));
}
END_TEST

static void make_folder(void) { ck_assert(mkdtemp(folder)); }
static int remove_one(const char *path, const struct stat *s, int type, struct FTW *f)
{
    (void)s, (void)type, (void)f;
    return remove(path);
}
static void remove_folder(void) { nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

int main(void)
{
    Suite *s = suite_create("settings");
    TCase *c = tcase_create("settings");
    tcase_set_timeout(c, 0);
    tcase_add_unchecked_fixture(c, make_folder, remove_folder);
    tcase_add_test(c, table);
    tcase_add_test(c, precedence);
    tcase_add_test(c, values);
    tcase_add_test(c, bad_files);
    tcase_add_test(c, bad_variables);
    tcase_add_test(c, combinations);
    tcase_add_test(c, presets);
    tcase_add_test(c, round_trip);
    tcase_add_test(c, program);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
