/* Retrieval: what is embedded and chosen, with a model made up here; the program with a tiny random MedCLIP. */
#include "tests/golden/device.h"
#include "tests/golden/golden.h"
#include "tests/tools/gallery_fixture.h"
#include "tests/tools/run.h"
#include "tools/retrieve_page.h"
#include "tools/retriever.h"
#include <math.h>

static char folder[] = "/tmp/pcrl-retrieve-XXXXXX";

static const char *at(const char *name)
{
    static char ring[8][128];
    static unsigned turn;
    char *s = ring[turn++ & 7];
    snprintf(s, sizeof ring[0], "%s/%s", folder, name);
    return s;
}

/* ---- the choice ---- */

/* A picture is the angle of its pixels' sum, a query the angle of `asked`: the nearest sum wins. */
typedef struct Fake {
    int asked, pictures, texts;
    int64_t sum[64];
    int width[64], height[64];
    char query[128];
} Fake;

static void angle(int64_t sum, float *out)
{
    out[0] = cosf((float)sum * 1e-3f);
    out[1] = sinf((float)sum * 1e-3f);
}

static bool fake_images(void *user, const Image *item, int n, float *out, Error *e)
{
    Fake *f = user;
    (void)e;
    ck_assert_int_le(n, 3);
    for (int i = 0; i < n; i++, f->pictures++) {
        int64_t sum = 0;
        for (int k = 0; k < item[i].width * item[i].height; k++) sum += item[i].pixel[k];
        f->sum[f->pictures] = sum;
        f->width[f->pictures] = item[i].width;
        f->height[f->pictures] = item[i].height;
        angle(sum, out + 2 * i);
    }
    return true;
}

static bool fake_text(void *user, const char *query, float *out, Error *e)
{
    Fake *f = user;
    (void)e;
    f->texts++;
    snprintf(f->query, sizeof f->query, "%s", query);
    angle(f->asked, out);
    return true;
}

enum { SIDE = 40, PIXELS = SIDE * SIDE };
static uint8_t pixel[CTRG_SLICES * PIXELS];

/* Slices are grey 10 but slice 9, which is 10 in its upper half and 20 below. Squares of 6x6 (sums 360, 720)
 * and of 5x5 pixels (sum 250), in the thalamus' layers 2 and 3 and elsewhere. */
static Gallery *scene(void)
{
    Gallery *g = fixture_gallery(7, SIDE, SIDE);
    memset(pixel, 10, sizeof pixel);
    memset(pixel + 9 * PIXELS + PIXELS / 2, 20, PIXELS / 2);
    fixture_rectangle(g, 9, 0, 30, 6, 36);
    fixture_rectangle(g, 9, 20, 2, 26, 8);
    fixture_rectangle(g, 8, 20, 2, 26, 8);
    fixture_rectangle(g, 8, 0, 0, 5, 5);    /* 25 mm2: the filter size drops it */
    fixture_rectangle(g, 6, 0, 0, 30, 30);  /* more than 30 % of the slice, too */
    fixture_rectangle(g, 20, 20, 2, 26, 8); /* in layer 6 */
    return g;
}

static RetrieveOptions size_options(void)
{
    return (RetrieveOptions){.filter = clue_filter_named("size"), .layers = CLUE_LAYERS_CLINICAL};
}

START_TEST(nearest)
{
    Fake f = {.asked = 700};
    RetrieveModel m = {&f, 2, 3, fake_images, fake_text};
    RetrieveOptions o = size_options();
    RetrieveCounts n = {0};
    StudyClues s;
    Error e = {0};
    Gallery *g = scene();
    static const char findings[] = "左侧丘脑见片状低密度影，右侧小脑见高密度影；脑干未见异常。";
    ck_assert_msg(retrieve_study(&m, &o, 7, findings, pixel, SIDE, SIDE, g, &s, &n, &e), "%s", e.msg);
    ck_assert_int_eq(s.n, 1); /* no mask where the cerebellum is; the brainstem is normal */
    ck_assert(s.id == 7 && s.width == SIDE && s.clue[0].slice == 9 && s.clue[0].mask_index == 0);
    ck_assert_str_eq(clue_entity_name(s.clue[0].entity), "丘脑");
    ck_assert_str_eq(s.clue[0].text, "左侧丘脑见片状低密度影");
    ck_assert_str_eq(s.clue[0].counts, g->slice[9].mask[0].counts);
    ck_assert(fabs(s.clue[0].score - cos(0.02)) < 1e-6);
    ck_assert(f.pictures == 3 && f.sum[0] == 360 && f.sum[1] == 720 && f.sum[2] == 360 && f.width[0] == SIDE);
    ck_assert(n.studies == 1 && n.described == 3 && n.normal == 1 && n.no_candidate == 1 && n.clues == 1);
    ck_assert(n.masks == 6 && n.kept == 4 && n.embedded == 3 && !n.no_gallery && !n.empty_gallery &&
              !n.no_entity);
    clues_free_study(&s);
    f.asked = 350; /* two alike, in slices 8 and 9 */
    ck_assert(retrieve_study(&m, &o, 7, findings, pixel, SIDE, SIDE, g, &s, &n, &e));
    ck_assert(s.n == 1 && s.clue[0].slice == 8 && s.clue[0].mask_index == 0);
    clues_free_study(&s);
    /* every entity asks the same embeddings; raw queries are the clauses */
    o.normal = true;
    o.query = CLUE_QUERY_RAW;
    f.pictures = f.texts = 0;
    ck_assert(retrieve_study(&m, &o, 7, "丘脑未见异常，双侧半卵圆中心示低密度影，枕叶软化灶", pixel, SIDE, SIDE,
                             g, &s, &n, &e));
    ck_assert(s.n == 3 && f.pictures == 4 && f.texts == 3);
    ck_assert_str_eq(f.query, "双侧半卵圆中心示低密度影");
    ck_assert_int_eq(s.clue[2].slice, 20);
    clues_free_study(&s);
    gallery_free(g);
}
END_TEST

START_TEST(crops)
{
    Gallery *g = scene();
    Image item;
    Error e = {0};
    const GalleryMask *m = &g->slice[9].mask[0]; /* x 0..5, y 30..35: one more on three sides */
    ck_assert(retrieve_item(g, m, pixel + 9 * PIXELS, true, &item, &e));
    ck_assert(item.width == 7 && item.height == 8 && item.channels == 1);
    for (int i = 0; i < 56; i++) ck_assert_int_eq(item.pixel[i], 20);
    free(item.pixel);
    ck_assert(retrieve_item(g, m, pixel + 9 * PIXELS, false, &item, &e));
    for (int i = 0; i < PIXELS; i++)
        ck_assert_int_eq(item.pixel[i], i % SIDE < 6 && i / SIDE >= 30 && i / SIDE < 36 ? 20 : 0);
    free(item.pixel);
    gallery_free(g);
}
END_TEST

START_TEST(without)
{
    Fake f = {0};
    RetrieveModel m = {&f, 2, 3, fake_images, fake_text};
    RetrieveOptions o = size_options();
    RetrieveCounts n = {0};
    StudyClues s;
    Error e = {0};
    Gallery *g = fixture_gallery(7, SIDE, SIDE), *other = fixture_gallery(7, SIDE, SIDE + 1);
    ck_assert(retrieve_study(&m, &o, 7, "左侧丘脑见低密度影", pixel, SIDE, SIDE, NULL, &s, &n, &e));
    ck_assert(s.n == 0 && n.no_gallery == 1 && n.no_candidate == 1 && n.described == 1);
    clues_free_study(&s);
    ck_assert(retrieve_study(&m, &o, 7, "左侧丘脑见低密度影", pixel, SIDE, SIDE, g, &s, &n, &e));
    ck_assert(s.n == 0 && n.empty_gallery == 1 && n.no_candidate == 2 && n.no_entity == 0);
    clues_free_study(&s);
    ck_assert(retrieve_study(&m, &o, 7, "未见异常。", pixel, SIDE, SIDE, g, &s, &n, &e));
    ck_assert(s.n == 0 && n.no_entity == 1 && n.studies == 3 && f.pictures == 0 && f.texts == 0);
    clues_free_study(&s);
    ck_assert(!retrieve_study(&m, &o, 7, "", pixel, SIDE, SIDE, other, &s, &n, &e));
    ck_assert_msg(e.code == ERROR_INPUT && strstr(e.msg, "masks of 40x41, expected 40x40"), "%s", e.msg);
    gallery_free(other);
    gallery_free(g);
}
END_TEST

/* Random draws reach every candidate about equally, are the same for the same seed, and ask no model. */
START_TEST(random_control)
{
    RetrieveOptions o = size_options();
    RetrieveCounts n = {0};
    StudyClues s, again;
    Error e = {0};
    Gallery *g = scene();
    int drawn[3] = {0};
    o.random = true;
    for (o.seed = 0; o.seed < 300; o.seed++) {
        ck_assert(retrieve_study(NULL, &o, 7, "左侧丘脑见低密度影", pixel, SIDE, SIDE, g, &s, &n, &e));
        ck_assert(retrieve_study(NULL, &o, 7, "左侧丘脑见低密度影", pixel, SIDE, SIDE, g, &again, &n, &e));
        ck_assert(s.n == 1 && s.clue[0].slice == again.clue[0].slice && isnan(s.clue[0].score));
        drawn[s.clue[0].slice == 8 ? 2 : s.clue[0].mask_index]++;
        clues_free_study(&s);
        clues_free_study(&again);
    }
    for (int i = 0; i < 3; i++) ck_assert(drawn[i] > 70 && drawn[i] < 130);
    gallery_free(g);
}
END_TEST

START_TEST(page)
{
    Fake f = {.asked = 700};
    RetrieveModel m = {&f, 2, 3, fake_images, fake_text};
    RetrieveOptions o = size_options();
    RetrieveCounts n = {0};
    StudyClues s;
    Image row, all;
    Error e = {0};
    uint8_t *bytes;
    size_t length;
    Gallery *g = scene();
    ck_assert(retrieve_study(&m, &o, 7, "左侧丘脑<见>低密度影", pixel, SIDE, SIDE, g, &s, &n, &e));
    ck_assert(retrieve_row(&s, &s.clue[0], pixel + 9 * PIXELS, &row, &e));
    ck_assert(row.width == 2 * SIDE + 2 && row.height == SIDE && row.channels == 3);
    const uint8_t *inside = row.pixel + 3 * (32 * row.width + SIDE + 2 + 3), *outside = inside + 3 * 20;
    ck_assert(inside[0] > 2 * inside[1] && outside[0] == 20 && outside[1] == 20);
    ck_assert_msg(retrieve_page_write(at("pictures"), &s, "<script>", pixel, CLUE_QUERY_ENGLISH, &e), "%s",
                  e.msg);
    ck_assert(image_read_png(at("pictures/7.png"), &all, &e));
    ck_assert(all.width == row.width && all.height == SIDE);
    ck_assert_mem_eq(all.pixel, row.pixel, (size_t)(3 * row.width * SIDE));
    ck_assert(file_read(at("pictures/7.html"), 1 << 20, &bytes, &length, &e));
    ck_assert(strstr((char *)bytes, "左侧丘脑&lt;见&gt;低密度影") && !strstr((char *)bytes, "<script>"));
    ck_assert(strstr((char *)bytes, "ct image of left thalamus") &&
              strstr((char *)bytes, "data:image/png;base64,"));
    free(bytes);
    free(all.pixel);
    free(row.pixel);
    clues_free_study(&s);
    ck_assert(retrieve_page_write(at("pictures"), &(StudyClues){.id = 8, .width = SIDE, .height = SIDE}, "",
                                  pixel, CLUE_QUERY_ENGLISH, &e));
    ck_assert(access(at("pictures/8.html"), F_OK) == 0 && access(at("pictures/8.png"), F_OK) != 0);
    gallery_free(g);
}
END_TEST

/* ---- the program ---- */

static void write_model(const char *where, int extra)
{
    int n;
    char path[160], *text = NULL;
    size_t length;
    Error e = {0};
    Rig rig;
    Weights w;
    Medclip m;
    const char **words = clue_query_words(&n);
    FILE *f = open_memstream(&text, &length);
    fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", f);
    for (int i = 0; i < n; i++) fprintf(f, "%s\n", words[i]);
    for (int i = 0; i < extra; i++) fprintf(f, "extra%d\n", i);
    fclose(f);
    free(words);
    ck_assert(file_make_folder(where, &e));
    snprintf(path, sizeof path, "%s/vocab.txt", where);
    ck_assert(file_write(path, text, length, &e));
    free(text);
    rig_open(&rig, test_device());
    weights_init(&w, &rig.weights, &rig.state, &rig.params, 1);
    w.trainable = true;
    ck_assert_msg(
        medclip_create(
            &m, &w, (MedclipConfig){32, 16, {3, 4, 24, 4, 2, 4, {1, 1}, {3, 6}}, {n + 5, 32, 2, 2, 64, 77, 2}},
            &e),
        "%s", e.msg);
    params_alloc(&rig.params);
    ck_assert(weights_fill(&w, &e));
    snprintf(path, sizeof path, "%s/medclip.safetensors", where);
    ck_assert_msg(weights_save((Weights *const[]){&w}, 1, false, NULL, path, &e), "%s", e.msg);
    weights_close(&w);
    rig_close(&rig);
}

static void expect(Run *r, int code, const char *message)
{
    ck_assert_msg(r->code == code && strstr(r->err, message), "code %d, expected %d with '%s': %s", r->code,
                  code, message, r->err);
}

/* Three phantoms; the second has no gallery. */
static void make_studies(void)
{
    Run r;
    Error e = {0};
    run_tool(&r, "pcrl-synth",
             (const char *const[]){"--out", at("set"), "--n", "3", "--seed-base", "60", "--size", "64", NULL});
    ck_assert_msg(r.code == 0, "%s", r.err);
    Ctrg *c = ctrg_open(at("set"), NULL, NULL, &e);
    ck_assert_msg(c != NULL, "%s", e.msg);
    for (int k = 0; k < 3; k += 2) {
        Gallery *g = fixture_truth(&c->study[k]);
        fixture_write(g, at("galleries"));
        gallery_free(g);
    }
    ctrg_free(c);
}

static char *slurp(const char *path)
{
    uint8_t *bytes;
    size_t n;
    Error e = {0};
    ck_assert_msg(file_read(path, 1 << 26, &bytes, &n, &e), "%s", e.msg);
    return (char *)bytes;
}

START_TEST(program)
{
    Run r;
    Error e = {0};
    char set[128], galleries[128], model[128], out[128], partial[128], pictures[128];
    strcpy(set, at("set")), strcpy(galleries, at("galleries")), strcpy(model, at("model"));
    strcpy(out, at("clues.json")), strcpy(partial, at("clues.json.partial")), strcpy(pictures, at("drawn"));
    make_studies();
    write_model(model, 0);
    const char *args[20] = {"--gallery", galleries, "--model", model, "--out", out, "--device", "cpu", set};
    run_tool(&r, "pcrl-retrieve", args);
    ck_assert_msg(r.code == 0, "%s", r.err);
    expect(&r, 0, "galleries: 1 missing, 0 without a mask");
    char *first = slurp(out);
    Clues *c = clues_read(out, &e);
    ck_assert_msg(c && c->n == 3 && c->study[0].n > 0 && c->study[1].n == 0, "%s", e.msg);
    for (int k = 0; k < c->n; k++)
        for (int i = 0; i < c->study[k].n; i++) {
            const Clue *x = &c->study[k].clue[i];
            ck_assert(x->counts && fabs(x->score) <= 1.000001 && x->mask_index >= 0);
            ck_assert(clue_layers(CLUE_LAYERS_CLINICAL, x->entity) >> (x->slice / 3) & 1);
        }
    /* pictures in batches of one; then on from what an interrupted run left */
    args[9] = "--batch", args[10] = "1";
    run_tool(&r, "pcrl-retrieve", args);
    char *again = slurp(out);
    ck_assert_msg(r.code == 0 && !strcmp(first, again), "%s\n%s\n%s", r.err, first, again);
    free(again);
    json_t *counts = json_object_get(c->settings, "counts");
    json_object_set_new(counts, "masks",
                        json_integer(json_integer_value(json_object_get(counts, "masks")) + 1000));
    for (int i = 1; i < c->n; i++) clues_free_study(&c->study[i]);
    c->n = 1;
    ck_assert(clues_write(c, partial, &e));
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, 0, "going on after 1 of 3 studies");
    ck_assert(access(partial, F_OK) != 0);
    Clues *resumed = clues_read(out, &e);
    ck_assert(resumed && resumed->n == 3);
    ck_assert_int_eq(
        json_integer_value(json_object_get(json_object_get(resumed->settings, "counts"), "studies")), 5);
    clues_free(resumed);
    /* other settings do not go on from it */
    ck_assert(clues_write(c, partial, &e));
    args[9] = "--filter", args[10] = "release";
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_INPUT, "begun with other settings");
    unlink(partial);
    clues_free(c);
    free(first);
    /* one study, drawn; the control needs no model */
    args[3] = "nowhere", args[9] = "--id", args[10] = "62", args[11] = "--overlay", args[12] = pictures;
    args[13] = "--control", args[14] = "random";
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, 0, "in 1 studies");
    ck_assert(access(at("drawn/62.html"), F_OK) == 0 && access(at("drawn/62.png"), F_OK) == 0);
}
END_TEST

/* Sentences of generated reports instead of the annotations': only studies that have a report. */
START_TEST(of_reports)
{
    Run r;
    Error e = {0};
    char set[128], galleries[128], model[128], out[128], reports[128];
    strcpy(set, at("set")), strcpy(galleries, at("galleries")), strcpy(model, at("model"));
    strcpy(out, at("evidence.json")), strcpy(reports, at("reports.jsonl"));
    static const char line[] = "{\"id\": \"62\", \"report\": \"右侧小脑见片状高密度影。\"}\n";
    ck_assert(file_write(reports, line, sizeof line - 1, &e));
    const char *args[20] = {"--gallery", galleries, "--model",   model,   "--out", out,
                            "--device",  "cpu",     "--reports", reports, set};
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, 0, "of 1 described entities");
    Clues *c = clues_read(out, &e);
    ck_assert_msg(c && c->n == 1 && c->study[0].id == 62, "%s", e.msg);
    ck_assert(c->study[0].n <= 1);
    if (c->study[0].n) ck_assert_str_eq(c->study[0].clue[0].text, "右侧小脑见片状高密度影");
    clues_free(c);
    ck_assert(file_write(reports, "{}\n", 3, &e));
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_INPUT, "reports.jsonl: line 1");
}
END_TEST

START_TEST(bad_input)
{
    Run r;
    Error e = {0};
    char set[128], galleries[128], model[128], out[128];
    strcpy(set, at("set")), strcpy(galleries, at("galleries")), strcpy(model, at("model"));
    strcpy(out, at("bad.json"));
    const char *args[20] = {"--gallery", galleries, "--model", model, "--out", out, "--device", "cpu", set};
    args[9] = "--id", args[10] = "99";
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_INPUT, "no study 99");
    args[9] = "--filter", args[10] = "none";
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_USAGE, "expected size or release");
    args[9] = NULL;
    /* a gallery cut short, and one of other slices */
    char *text = slurp(at("galleries/60.json"));
    ck_assert(file_write(at("galleries/60.json"), text, strlen(text) / 2, &e));
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_INPUT, "galleries/60.json:1:");
    Gallery *g = fixture_gallery(60, 65, 64);
    fixture_write(g, galleries);
    gallery_free(g);
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_INPUT, "galleries/60.json: masks of 65x64, expected 64x64");
    ck_assert(file_write(at("galleries/60.json"), text, strlen(text), &e));
    free(text);
    /* more words than the tower has, and no model */
    write_model(at("wordy"), 3);
    args[3] = at("wordy");
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_INPUT, "vocab.txt: ");
    args[3] = at("nothing");
    run_tool(&r, "pcrl-retrieve", args);
    expect(&r, ERROR_IO, "nothing/medclip.safetensors");
    ck_assert(access(out, F_OK) != 0);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("retrieve");
    TCase *t = tcase_create("retrieve");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, nearest);
    tcase_add_test(t, crops);
    tcase_add_test(t, without);
    tcase_add_test(t, random_control);
    tcase_add_test(t, page);
    tcase_add_test(t, program);
    tcase_add_test(t, of_reports);
    tcase_add_test(t, bad_input);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    char command[160];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) || failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
