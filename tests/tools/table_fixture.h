/* Made-up results in the form of RUN/result.json. */
#ifndef TESTS_TOOLS_TABLE_FIXTURE_H
#define TESTS_TOOLS_TABLE_FIXTURE_H
#include "data/json.h"
#include "tools/table.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const fixture_systems[] = {"model", "constant", "shuffled"};
enum { FIXTURE_SYSTEMS = 3 };

/* What a metric is in a run: of the model it moves with row and seed, of "shuffled" with the seed alone. */
static inline double fixture_value(int row, int64_t seed, int system, int metric)
{
    static const double effect[TABLE_ROWS] = {0, 0.05, 0.005, -0.05, 0.06, 0.02, 0.04, 0.03};
    double base = 0.3 + 0.02 * metric + 0.001 * (double)(seed * seed);
    if (system == 1) return 0.1 + 0.01 * metric;
    if (system == 2) return 0.05 + 0.01 * metric + 0.001 * (double)seed;
    return base + effect[row] + (row == 2 ? (seed == 2 ? -0.01 : 0.005) : 0);
}

/* Of a standard deviation sd; undefined where there is no value. */
static inline json_t *fixture_interval(double value, double sd)
{
    return isnan(value) ? json_pack("[n, n]") : json_pack("[f, f]", value - 1.96 * sd, value + 1.96 * sd);
}

static inline json_t *fixture_values(int row, int64_t seed, int system)
{
#define V(m) fixture_value(row, seed, system, METRIC_##m)
    double side = system == 1 ? NAN : V(SIDE);
    return json_pack("{s:{s:{s:o, s:o}}, s:{s:f, s:f, s:o, s:{s:f}}, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
                     "s:{s:{s:{s:f}}, s:{s:{s:f}}}}",
                     "intervals", "lesion", "f1", fixture_interval(V(LESION), 0.01), "side",
                     fixture_interval(side, 0.2), "lesion", "f1", V(LESION), "macro_f1", V(MACRO), "side",
                     isnan(side) ? json_null() : json_real(side), "focal", "f1", V(FOCAL), "BLEU-1", 0.9,
                     "BLEU-2", 0.8, "BLEU-3", 0.7, "BLEU-4", V(BLEU4), "METEOR", V(METEOR), "ROUGE-L", V(ROUGE),
                     "CIDEr", V(CIDER), "clinical", "mention", "micro", "f1", V(MENTION), "finding", "micro",
                     "f1", V(FINDING));
#undef V
}

/* A finding: right, said and true on `side`; on the other four in ten. */
static inline json_t *fixture_finding(const char *entity, const char *density, const char *side, int right,
                                      int said, int truth)
{
    return json_pack("{s:s, s:s, s:{s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i}}}", "entity", entity, "density",
                     density, "sides", side, "right", right, "said", said, "truth", truth,
                     strcmp(side, "左") ? "左" : "右", "right", 400000, "said", 3000000, "truth", 1000000);
}

/* Two findings with the sides that are held out, and one that is not; F1 of the two: the metric's. */
static inline json_t *fixture_findings(int row, int64_t seed, int system)
{
    int right = (int)lrint(1e6 * fixture_value(row, seed, system, METRIC_HELD_OUT));
    return json_pack("[o, o, o]", fixture_finding("丘脑", "高", "左", right - 100, 900000, 950000),
                     fixture_finding("枕叶", "低", "左", 100, 100000, 50000),
                     fixture_finding("丘脑", "低", "左", 1000000, 1000000, 1000000));
}

/* Held-out studies have no shuffled control. */
static inline json_t *fixture_scores(int row, int64_t seed, bool held_out)
{
    json_t *o = fixture_values(row, seed, 0), *systems = json_array(), *controls = json_object();
    for (int s = 0; s < FIXTURE_SYSTEMS - held_out; s++) {
        json_array_append_new(systems, json_pack("{s:s, s:o}", "name", fixture_systems[s], "findings",
                                                 fixture_findings(row, seed, s)));
        if (s) json_object_set_new(controls, fixture_systems[s], fixture_values(row, seed, s));
    }
    if (!held_out && row >= ROW_OURS) {
        json_object_set_new(o, "pairs",
                            json_pack("{s:{s:{s:f, s:{s:o}}}, s:{s:{s:f, s:{s:o}}}}", "counterfactual", "all",
                                      "follow_share", 0.6, "intervals", "follow_share",
                                      fixture_interval(0.6, 0.05), "shuffled", "all", "follow_share", 0.1,
                                      "intervals", "follow_share", fixture_interval(0.1, 0.01)));
        json_object_set_new(o, "masks",
                            json_pack("[{s:s, s:f, s:{s:o}}, {s:s, s:f, s:{s:o}}]", "name", "model", "dice",
                                      0.2, "intervals", "dice", fixture_interval(0.2, 0.01), "name", "shuffled",
                                      "dice", 0.3, "intervals", "dice", fixture_interval(0.3, 0.01)));
    }
    json_object_set_new(o, "settings", json_pack("{s:s}", "split", "jieba"));
    json_object_set_new(o, "studies", json_integer(held_out ? 60 : 300));
    json_object_set_new(o, "systems", systems);
    json_object_set_new(o, "controls", controls);
    return o;
}

static inline json_t *fixture_result(int row, int64_t seed)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:f, s:{}, s:o, s:o}", "row", table_row(row)->row, "preset",
                     table_row(row)->preset, "seed", (json_int_t)seed, "commit", "0123abcd", "seconds",
                     100.0 + (double)seed, "train", "scores", fixture_scores(row, seed, false), "held_out",
                     fixture_scores(row, seed, true));
}

/* Writes folder/KEY-SEED.json; *path gets its name. */
static inline void fixture_write(const char *folder, int row, int64_t seed, char path[256])
{
    json_t *o = fixture_result(row, seed);
    Error e = {0};
    ck_assert(o != NULL);
    snprintf(path, 256, "%s/%s-%lld.json", folder, table_row(row)->key, (long long)seed);
    ck_assert_msg(json_write(path, o, &e), "%s", e.msg);
    json_decref(o);
}
#endif
