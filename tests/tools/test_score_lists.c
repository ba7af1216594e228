/* pcrl-score --ref --hyp from end to end: the reference packages' numbers in every form and split, counts of
 * what is empty or not read, --partial, --each, --row, and lists that do not fit. */
#include "losses/bleu.h"
#include "tests/losses/vectors.h"
#include "tests/tokenizer/jieba_small.h"
#include "tests/tools/run.h"
#include <stdarg.h>

static char folder[] = "/tmp/test_score_lists_XXXXXX";

static const char *at(const char *name)
{
    static char path[16][128];
    static int next;
    char *p = path[next++ % 16];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    Error e = {0};
    ck_assert_msg(file_write(at(name), text, strlen(text), &e), "%s", e.msg);
}

/* ' becomes ". */
static void put_quoted(const char *name, const char *text)
{
    char *copy = strdup(text);
    for (char *s = copy; (s = strchr(s, '\'')); s++) *s = '"';
    put(name, copy);
    free(copy);
}

/* Scores ref beside hyp, with the options up to a NULL. */
static const Run *score(const char *ref, const char *hyp, ...)
{
    static Run r;
    const char *args[32] = {"--ref", at(ref), "--hyp", at(hyp), "--bootstrap", "20"};
    va_list list;
    va_start(list, hyp);
    for (int n = 6; n < 31 && (args[n] = va_arg(list, const char *)); n++) {}
    va_end(list);
    run_tool(&r, "pcrl-score", args);
    return &r;
}

static json_t *json_of(const Run *r)
{
    Error e = {0};
    ck_assert_msg(r->code == 0, "%d: %s", r->code, r->err);
    json_t *o = json_parse(r->out, strlen(r->out), "output", &e);
    ck_assert_msg(o != NULL, "%s", e.msg);
    return o;
}

/* The number at "a/b/c". */
static double number(const json_t *o, const char *path)
{
    char key[64];
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        snprintf(key, sizeof key, "%.*s", (int)n, p);
        o = json_object_get(o, key);
        p += n;
        if (!*p) break;
    }
    ck_assert_msg(json_is_number(o), "no number at %s", path);
    return json_number_value(o);
}

static const char *setting(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(json_object_get(o, "settings"), key));
    ck_assert_msg(text != NULL, "no setting %s", key);
    return text;
}

/* ---- the vectors' pairs ---- */

/* In one of four forms; the hypotheses in another order than the references. words: cut by jieba. */
static void put_vectors(const json_t *root, const char *name, const char *side, bool words, int form)
{
    static const char *const id_key[] = {"id", "image_id", "image_id", "id"}, *const text_key[] = {
                                                                                  "findings", "caption",
                                                                                  "caption", "report"};
    json_t *list = json_array();
    for (size_t k = 0; k < VECTORS; k++) {
        size_t i = *side == 'h' ? VECTORS - 1 - k : k;
        json_t *id = form % 2 ? json_integer((json_int_t)i) : json_sprintf("%zu", i);
        json_array_append_new(list, json_pack("{s:o, s:s}", id_key[form], id, text_key[form],
                                              vectors_text(root, i, side, words)));
    }
    Error e = {0};
    if (form < 3) {
        json_t *whole = form < 2 ? json_incref(list) : json_pack("{s:{}, s:O}", "info", "annotations", list);
        ck_assert_msg(json_write(at(name), whole, &e), "%s", e.msg);
        json_decref(whole);
    } else {
        char lines[16384] = "";
        for (size_t i = 0; i < VECTORS; i++) {
            char *line = json_text(json_array_get(list, i), 0);
            strcat(strcat(lines, line), "\n");
            free(line);
        }
        put(name, lines);
    }
    json_decref(list);
}

static void check_values(const json_t *o, const json_t *expect)
{
    for (size_t k = 0; k < BLEU_ORDERS; k++) {
        char key[8];
        snprintf(key, sizeof key, "BLEU-%zu", k + 1);
        CLOSE(number(o, key), vectors_number(json_object_get(expect, "BLEU"), k), 1e-12);
    }
    CLOSE(number(o, "METEOR"), json_number_value(json_object_get(expect, "METEOR")), 1e-12);
    CLOSE(number(o, "ROUGE-L"), json_number_value(json_object_get(expect, "ROUGE_L")), 1e-12);
    CLOSE(number(o, "CIDEr"), json_number_value(json_object_get(expect, "CIDEr")), 1e-12);
    ck_assert(number(o, "ROUGE-L (trailing space)") > number(o, "ROUGE-L"));
}

START_TEST(goldens)
{
    json_t *root = vectors_open();
    for (int form = 0; form < 4; form++) {
        put_vectors(root, "ref", "ref", false, form);
        put_vectors(root, "hyp", "hyp", false, 3 - form);
        json_t *o = json_of(score("ref", "hyp", "--json", "--split", "char", NULL));
        check_values(o, json_object_get(root, "char"));
        /* a score of the texts alone has what a data set's has */
        ck_assert(number(o, "studies") == 6 && number(o, "settings/counts/scored") == 6);
        ck_assert(number(o, "lesion/truth") == 10 && number(o, "lesion/right") == 4 &&
                  number(o, "clinical/mention/micro/f1") > 0);
        ck_assert_str_eq(setting(o, "split"), "char");
        json_decref(o);
    }
    put_vectors(root, "ref", "ref", true, 0);
    put_vectors(root, "hyp", "hyp", true, 0);
    json_t *o = json_of(score("ref", "hyp", "--json", "--split", "space", NULL));
    check_values(o, json_object_get(root, "jieba"));
    json_decref(o);
    json_decref(root);
}
END_TEST

START_TEST(each_study)
{
    json_t *root = vectors_open(), *expect = json_object_get(root, "char");
    put_vectors(root, "ref", "ref", false, 0);
    put_vectors(root, "hyp", "hyp", false, 3);
    const Run *r = score("ref", "hyp", "--row", "--each", at("each"), NULL);
    ck_assert_msg(r->code == 0, "%s", r->err);
    ck_assert_msg(strstr(r->out, "| model | char | 65.7 | 61.7 | 58.2 | 54.9 | 40.7 | 70.1 | 252.5 |"), "%s",
                  r->out);
    char below[128];
    snprintf(below, sizeof below, "\n%d studies, 0 reports of model without a word; times 100;", (int)VECTORS);
    ck_assert_msg(strstr(r->out, below), "%s", r->out);
    ck_assert(!strstr(r->out, "By finding"));
    Error e = {0};
    uint8_t *bytes;
    size_t n;
    ck_assert_msg(file_read(at("each"), 1 << 20, &bytes, &n, &e), "%s", e.msg);
    char *line = strtok((char *)bytes, "\n");
    for (size_t i = 0; i < VECTORS; i++, line = strtok(NULL, "\n")) {
        json_t *o = json_parse(line, strlen(line), "line", &e);
        ck_assert_msg(o != NULL, "%s", e.msg);
        ck_assert_int_eq(atoi(json_string_value(json_object_get(o, "id"))), (int)i);
        for (size_t k = 0; k < BLEU_ORDERS; k++) {
            char key[8];
            snprintf(key, sizeof key, "BLEU-%zu", k + 1);
            CLOSE(number(o, key), vectors_number(json_array_get(json_object_get(expect, "BLEU_each"), k), i),
                  1e-12);
        }
        CLOSE(number(o, "METEOR"), vectors_number(json_object_get(expect, "METEOR_each"), i), 1e-12);
        CLOSE(number(o, "ROUGE-L"), vectors_number(json_object_get(expect, "ROUGE_each"), i), 1e-12);
        CLOSE(number(o, "CIDEr"), vectors_number(json_object_get(expect, "CIDEr_each"), i), 1e-12);
        ck_assert(json_is_true(json_object_get(json_object_get(o, "lesion"), "exact")) == (i == 3 || i == 4));
        json_decref(o);
    }
    ck_assert(!line);
    free(bytes);
    json_decref(root);
}
END_TEST

/* jieba's words, with a folder of a few words: as if they had been cut before. */
START_TEST(jieba_and_tokens)
{
    char jieba[128], user[160];
    strcpy(jieba, at("jieba"));
    small_make(jieba);
    put("jieba/user.txt", "乙丙 50 n\n");
    strcpy(user, at("jieba/user.txt"));
    put("ref", "[{\"id\":1,\"report\":\"甲乙丙，丁丂\"},{\"id\":2,\"report\":\"丙\\n丙\"}]");
    put("hyp", "[{\"id\":1,\"report\":\"甲乙，甲丙丁丂\"},{\"id\":2,\"report\":\"丙\"}]");
    put("ref-words", "[{\"id\":1,\"report\":\"甲乙 丙 ， 丁丂\"},{\"id\":2,\"report\":\"丙 丙\"}]");
    put("hyp-words", "[{\"id\":1,\"report\":\"甲乙 ， 甲 丙 丁丂\"},{\"id\":2,\"report\":\"丙\"}]");
    json_t *o = json_of(score("ref", "hyp", "--json", "--split", "jieba", "--dict", jieba, NULL));
    json_t *words = json_of(score("ref-words", "hyp-words", "--json", "--split", "space", NULL));
    static const char *const keys[] = {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr"};
    for (int i = 0; i < 7; i++) ck_assert_msg(number(o, keys[i]) == number(words, keys[i]), "%s", keys[i]);
    ck_assert(number(o, "BLEU-1") > 0.5 && number(o, "BLEU-1") < 0.9);
    json_t *other =
        json_of(score("ref", "hyp", "--json", "--split", "jieba", "--dict", jieba, "--user-dict", user, NULL));
    ck_assert(number(other, "BLEU-1") != number(o, "BLEU-1"));
    const char *about = setting(other, "tokenizer");
    ck_assert(strstr(about, jieba) && strstr(about, user));
    json_decref(o), json_decref(words), json_decref(other);
    unlink(user);
    small_remove(jieba);
    const Run *r = score("ref", "hyp", "--split", "jieba", "--dict", jieba, NULL);
    ck_assert(r->code == ERROR_IO && strstr(r->err, "dict.txt: cannot read jieba's dictionary") &&
              strstr(r->err, "python3-jieba") && !*r->out);
    /* tokens need their vocabulary, which may be the mini model's */
    r = score("ref", "hyp", "--split", "llama3", NULL);
    ck_assert(r->code == ERROR_USAGE && strstr(r->err, "--split llama3 needs --tokenizer"));
    o = json_of(
        score("ref", "hyp", "--json", "--split", "llama3", "--tokenizer", "data/mini/tokenizer.json", NULL));
    ck_assert(strstr(setting(o, "tokenizer"), "data/mini/tokenizer.json"));
    ck_assert(number(o, "BLEU-1") > 0.5);
    json_decref(o);
}
END_TEST

/* ---- what is counted ---- */

START_TEST(counts)
{
    put_quoted("ref", "[{'id':'a','findings':'脑沟增宽。','impression':'x','images':[]},"
                      "{'id':12,'findings':' \\n','impression':'y'},{'id':'c','findings':'中线结构居中。'}]");
    put_quoted("hyp", "{'image_id':'12','caption':'','score':1}\n{'id':'c','report':'\\u3000'}\n"
                      "{'id':'a','report':'脑沟增宽。'}\n");
    const Run *r = score("ref", "hyp", NULL);
    ck_assert_msg(r->code == 0 && !*r->err, "%s", r->err);
    ck_assert_msg(strstr(r->out, "ref: 3 references, 3 scored, 1 of these without a word\n") &&
                      strstr(r->out, "ref: not read: impression (2), images (1)\n") &&
                      strstr(r->out, "hyp: 3 hypotheses, 3 scored, 2 of these without a word\n") &&
                      strstr(r->out, "hyp: not read: score (1)\n"),
                  "%s", r->out);
    ck_assert(strstr(r->out, "a report without a word is scored as the word None") &&
              strstr(r->out, "(seed 1); of so few studies they are too narrow, and p is too small\n"));
    json_t *o = json_of(score("ref", "hyp", "--json", NULL));
    ck_assert(number(o, "settings/counts/references/reports") == 3 &&
              number(o, "settings/counts/references/scored_without_a_word") == 1 &&
              number(o, "settings/counts/references/ignored_keys/impression") == 2 &&
              number(o, "settings/counts/hypotheses/scored_without_a_word") == 2 &&
              number(o, "settings/counts/hypotheses/ignored_keys/score") == 1);
    /* None beside None is right, None beside seven characters is not */
    CLOSE(number(o, "ROUGE-L"), 2.0 / 3, 1e-12);
    json_decref(o);
}
END_TEST

/* One study has scores but no ranges and no tests. */
START_TEST(one_study)
{
    put_quoted("ref", "[{'id':1,'report':'a b'}]");
    put_quoted("hyp", "[{'id':1,'report':'a'}]");
    char other[160];
    snprintf(other, sizeof other, "--against=x=%s", at("ref"));
    const Run *r = score("ref", "hyp", other, NULL);
    ck_assert_msg(r->code == 0 && strstr(r->out, "findings; no ranges and no tests, which need two studies\n"),
                  "%s%s", r->out, r->err);
    json_t *o = json_of(score("ref", "hyp", other, "--json", NULL)), *test;
    test = json_object_get(json_object_get(json_object_get(o, "paired"), "x"), "BLEU-1");
    ck_assert(json_is_null(json_object_get(test, "p")) && json_is_null(json_object_get(test, "overlap")) &&
              json_is_null(json_array_get(json_object_get(test, "ci95"), 0)) &&
              number(test, "difference") < -0.3);
    json_decref(o);
}
END_TEST

START_TEST(partial)
{
    put_quoted("ref", "[{'id':1,'report':'a b'},{'id':2,'report':''},{'id':3,'report':'c'}]");
    put_quoted("hyp",
               "[{'id':4,'report':'x'},{'id':3,'report':'c'},{'id':1,'report':'a b'},{'id':9,'report':''}]");
    const Run *r = score("ref", "hyp", "--partial", NULL);
    ck_assert_msg(r->code == 0 && strstr(r->out, "ref: 3 references, 2 scored, 0 of these without a word\n") &&
                      strstr(r->out, "hyp: 4 hypotheses, 2 scored, 0 of these without a word\n"),
                  "%s%s", r->out, r->err);
    ck_assert_msg(strstr(r->err, "scoring 2 of 3 studies") &&
                      strstr(r->err, "hyp: 2 of 4 reports are of no study, left out\n"),
                  "%s", r->err);
    json_t *o = json_of(score("ref", "hyp", "--partial", "--json", NULL));
    CLOSE(number(o, "BLEU-1"), 1.0, 1e-8);
    ck_assert(number(o, "settings/counts/scored") == 2 &&
              number(o, "settings/counts/references/reports") == 3 &&
              number(o, "settings/counts/hypotheses/reports") == 4);
    json_decref(o);
    put_quoted("hyp", "[{'id':4,'report':'x'}]");
    r = score("ref", "hyp", "--partial", NULL);
    ck_assert(r->code == ERROR_INPUT && strstr(r->err, "hyp: no report for any study of the truth"));
}
END_TEST

START_TEST(bad_lists)
{
    static const char sound[] = "[{'id':1,'report':'a'},{'id':'x y','report':'b'}]";
    static const struct {
        const char *ref, *hyp, *message;
    } bad[] = {
        {sound, "[{'id':'1','report':'a'}]", "hyp: no report for study x y (1 of 2 studies have none)"},
        {"[{'id':'1','report':'a'}]", sound, "hyp: entry 1: study x y is not in the truth (1 of 2 reports"},
        {sound, "{'id':1,'report':'a'}\n{'id':'01','report':'a'}\n{'id':2,'report':'a'}",
         "hyp: line 2: study 01 is not in the truth (2 of 3 reports are of no study)"},
        {sound, "[{'id':1,'report':'a'},{'id':'1','report':'a'}]",
         "hyp: entry 1: a second report for study 1, after that of entry 0"},
        {"[{'id':1,'report':'a'},{'id':1,'report':'a'}]", sound,
         "ref: entry 1: a second report for study 1, after that of entry 0"},
        {"{'annotations':[{'image_id':1,'caption':'a'},{'image_id':1,'caption':'b'}]}", sound,
         "ref: entry 1: a second report for study 1, after that of entry 0"},
        {sound, "[{'id':1,'report':'\xff'},{'id':'x y','report':'b'}]",
         "hyp: entry 0:1:18: not JSON: unable to decode byte 0xff"},
        {sound, "[{'id':1,'report':5}]", "hyp: entry 0: key \"report\": expected a string, found an integer"},
        {sound, "[]", "hyp: no report in it"},
        {sound, "", "hyp: is empty, expected reports"},
        {"x", sound, "ref: byte 0: expected a list or an object, found byte 0x78"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_quoted("ref", bad[i].ref);
        put_quoted("hyp", bad[i].hyp);
        const Run *r = score("ref", "hyp", NULL);
        ck_assert_msg(r->code == ERROR_INPUT && strstr(r->err, bad[i].message) && !*r->out,
                      "case %zu: %d: %s\nexpected %s", i, r->code, r->err, bad[i].message);
        ck_assert_msg(strchr(r->err, '\n') == r->err + strlen(r->err) - 1, "case %zu: %s", i, r->err);
    }
    const Run *r = score("ref", "absent", NULL);
    ck_assert(r->code != 0 && !*r->out);
}
END_TEST

/* Paths of any bytes, and with more characters than a line about a system has room for: its cut falls on each
 * byte of one. */
START_TEST(odd_paths)
{
    static const char two[] = "{\"id\":1,\"report\":\"a\"}\n{\"id\":2,\"report\":\"b\"}";
    char name[256] = "\xff", control[400];
    for (int i = 0; i < 80; i++) strcat(name, "左");
    put_quoted("ref", "[{'id':1,'report':'a'},{'id':2,'report':'b'}]");
    Error e = {0};
    snprintf(control, sizeof control, "%s/%s", folder, name);
    ck_assert_msg(file_write(control, two, sizeof two - 1, &e), "%s", e.msg);
    for (int k = 1; k < 4; k++) {
        snprintf(control, sizeof control, "x=%s%.*s%s", folder, k, "///", name);
        json_t *o = json_of(score("ref", "ref", "--control", control, "--json", NULL));
        const json_t *system = json_array_get(json_object_get(o, "systems"), 2);
        const char *how = json_string_value(json_object_get(system, "how"));
        ck_assert_str_eq(json_string_value(json_object_get(system, "name")), "x");
        ck_assert(how && strstr(how, "\uFFFD左左"));
        ck_assert(setting(o, "tokenizer") && number(o, "settings/counts/controls/x/reports") == 2);
        json_decref(o);
    }
    unlink(strchr(control, '=') + 1);
    const Run *r = score("ref", "ref", "--control", "\xff=x", NULL);
    ck_assert(r->code == ERROR_USAGE && strstr(r->err, "--control: expected a NAME in UTF-8"));
}
END_TEST

START_TEST(usage)
{
    static const struct {
        const char *args[12], *message;
    } bad[] = {
        {{"--hyp", "x"}, "--ref is missing"},
        {{"--ref", "x"}, "--hyp is missing"},
        {{"--json"}, "--ref or --truth is missing"},
        {{"--ref", "x", "--truth", "y", "--hyp", "z"}, "--ref and --truth: expected one of them"},
        {{"--ref", "x", "--hyp", "y", "--reports", "z"}, "--hyp and --reports mean the same"},
        {{"--ref", "x", "--hyp", "y", "--masks", "z"}, "need --truth"},
        {{"--ref", "x", "--hyp", "y", "--split", "words"}, "--split: expected jieba, char, space or llama3"},
        {{"--ref", "x", "--hyp", "y", "--user-dict", "z"}, "need --split jieba"},
        {{"--ref", "x", "--hyp", "y", "--row", "--json"}, "--row and --json: expected one of them"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        static Run r;
        run_tool(&r, "pcrl-score", bad[i].args);
        ck_assert_msg(r.code == ERROR_USAGE && strstr(r.err, bad[i].message), "case %zu: %d: %s", i, r.code,
                      r.err);
    }
}
END_TEST

/* Time is said on standard error. If the scores of each study cannot be written nothing is printed. */
START_TEST(time_and_no_room)
{
    put_quoted("ref", "[{'id':1,'report':'a'}]");
    put_quoted("hyp", "[{'id':1,'report':'a'}]");
    const Run *r = score("ref", "hyp", "--time", "--row", NULL);
    ck_assert(r->code == 0 && strstr(r->err, "to open the splitter (char); then 1 pairs in ") &&
              strchr(r->err, '\n') == r->err + strlen(r->err) - 1 && !strstr(r->out, "splitter"));
    r = score("ref", "hyp", "--each", at("no/such"), NULL);
    ck_assert(r->code == ERROR_IO && strstr(r->err, "no/such") && !*r->out);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("score_lists");
    TCase *t = tcase_create("score_lists");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, goldens);
    tcase_add_test(t, each_study);
    tcase_add_test(t, jieba_and_tokens);
    tcase_add_test(t, counts);
    tcase_add_test(t, one_study);
    tcase_add_test(t, partial);
    tcase_add_test(t, bad_lists);
    tcase_add_test(t, odd_paths);
    tcase_add_test(t, usage);
    tcase_add_test(t, time_and_no_room);
    suite_add_tcase(s, t);
    int failed = vectors_run(s);
    static const char *const names[] = {"ref", "hyp", "ref-words", "hyp-words", "each"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(at(names[i]));
    rmdir(folder);
    return failed;
}
