/* The clinical keywords on sentences for every row, its negations and the traps of each word, on files of
 * keywords, and on the phantom's reports against its truth. */
#include "data/clinical.h"
#include "data/file.h"
#include "data/phantom.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/data/fail_alloc.h"

static char folder[] = "/tmp/test_clinical_XXXXXX";

enum { L = SIDE_LEFT, R = SIDE_RIGHT, B = SIDE_BOTH, O = SIDE_NONE };

typedef struct Case {
    const char *report;
    struct {
        int finding, side;
    } claim[6]; /* ends with side 0 */
} Case;

#define C(id, side)                                                                                            \
    {                                                                                                          \
        CLINICAL_##id, side                                                                                    \
    }
static const Case cases[] = {
    {"", {{0}}},
    /* 1 to 3 */
    {"左侧丘脑见小片状低密度影。", {C(LOW, L)}},
    {"左侧丘脑见稍低密度影；右侧丘脑见片状低密度灶", {C(LOW, B)}},
    {"脑实质内未见明显异常低密度影", {{0}}},
    {"左侧丘脑密度减低", {C(LOW, L)}},
    {"双侧丘脑见团块状稍高密度影", {C(HIGH, B)}},
    {"小脑幕密度增高", {C(HIGH, O)}},
    {"脑实质内无高密度影", {{0}}},
    {"左侧丘脑见高密度影，周围见低密度水肿带", {C(HIGH, L), C(OEDEMA, L)}},
    {"右侧丘脑见高密度影周围水肿", {C(HIGH, R), C(OEDEMA, R)}},
    {"左侧丘脑见低密度影，周围未见水肿带", {C(LOW, L)}},
    /* 4 */
    {"右侧侧脑室受压变窄", {C(COMPRESSED, R)}},
    {"左侧脑室变形", {C(COMPRESSED, L)}}, /* 左侧|脑室, not 左|侧脑室 */
    {"第四脑室受压", {C(COMPRESSED, O)}},
    {"左侧丘脑见高密度影，同侧侧脑室变窄", {C(HIGH, L), C(COMPRESSED, L)}},
    {"左侧丘脑见高密度影，对侧侧脑室变窄", {C(HIGH, L), C(COMPRESSED, R)}},
    {"侧脑室未见受压", {{0}}},
    {"颅骨变形", {{0}}},
    /* 5 and 6 */
    {"中线结构左移", {C(SHIFT_LEFT, O)}},
    {"中线结构稍向左侧移位", {C(SHIFT_LEFT, O)}},
    {"中线偏右", {C(SHIFT_RIGHT, O)}},
    {"右侧侧脑室受压、中线结构向左偏移", {C(COMPRESSED, R), C(SHIFT_LEFT, O)}},
    {"右侧侧脑室受压，中线结构右偏", {C(COMPRESSED, R), C(SHIFT_RIGHT, O)}},
    {"中线结构居中，中线无移位，中线结构未见明显左移", {{0}}},
    {"中线结构移位", {{0}}},       /* which way? */
    {"左侧丘脑移位", {{0}}},       /* not the midline */
    {"左侧、中线结构移位", {{0}}}, /* the side is not the way */
    {"左侧丘脑见低密度影，中线结构右移，邻近脑沟变浅", {C(LOW, L), C(SHIFT_RIGHT, O), C(SULCI_SHALLOW, L)}},
    /* 7 to 10: one word, several places */
    {"脑室扩大", {C(DILATED, B)}},
    {"左侧侧脑室增宽", {C(DILATED, L)}},
    {"双侧侧脑室及第三脑室扩张", {C(DILATED, B)}},
    {"脑积水", {C(DILATED, B)}},
    {"枕大池增宽", {{0}}},
    {"脑沟、脑裂增宽", {C(SULCI_WIDE, B)}},
    {"右侧外侧裂池增宽加深", {C(SULCI_WIDE, R)}},
    {"脑室、脑沟增宽", {C(DILATED, B), C(SULCI_WIDE, B)}},
    {"脑沟增宽、脑回变窄", {C(SULCI_WIDE, B), C(ATROPHY, B)}}, /* 变窄 is the gyri's */
    {"脑室系统未见扩张，脑沟无增宽，脑沟增宽不明显", {{0}}},
    {"各脑室形态正常、脑沟增宽", {C(SULCI_WIDE, B)}}, /* 正常 reaches no further than its group */
    {"左侧脑沟变浅", {C(SULCI_SHALLOW, L)}},
    {"右侧脑沟变窄", {C(SULCI_SHALLOW, R)}},
    {"右侧侧脑室变窄", {C(COMPRESSED, R)}},
    {"脑沟模糊消失", {C(SULCI_SHALLOW, O)}},
    {"左侧外侧裂池见高密度影、边缘模糊", {C(HIGH, L), C(SUBARACHNOID, L)}},
    {"脑沟未见变浅", {{0}}},
    {"脑回变小", {C(ATROPHY, B)}},
    {"左侧额叶萎缩", {C(ATROPHY, L)}},
    {"脑萎缩", {C(ATROPHY, B)}},
    {"未见脑萎缩", {{0}}},
    {"左侧额叶见脑回样高密度影", {C(HIGH, L), C(LOBAR_LESION, L)}},
    /* 11 and 12 */
    {"双侧脑白质密度减低", {C(LEUKOARAIOSIS, B)}},
    {"双侧侧脑室周围密度减低", {C(LEUKOARAIOSIS, B)}},
    {"脑白质疏松", {C(LEUKOARAIOSIS, B)}},
    {"脑白质密度未见减低", {{0}}},
    {"左侧颞叶软化灶", {C(SOFTENING, L), C(LOBAR_LESION, L)}},
    {"右侧基底节区见囊状脑脊液样低密度影", {C(LOW, R), C(SOFTENING, R), C(BASAL_LESION, R)}},
    {"未见软化灶", {{0}}},
    /* 13 and 14 */
    {"左侧额颞部颅板下见新月形高密度影", {C(HIGH, L), C(SUBDURAL, L)}},
    {"左侧额颞部见弧形低密度影", {C(LOW, L), C(SUBDURAL, L)}},
    {"左侧额颞部弧形", {{0}}},
    {"右侧颅骨内板下见高密度影", {C(HIGH, R), C(SUBDURAL, R)}},
    {"右侧硬膜下积液", {C(SUBDURAL, R)}},
    {"双侧颅板下见脑脊液样密度影", {C(SUBDURAL, B)}}, /* and no encephalomalacia */
    {"颅板下未见异常密度影", {{0}}},
    {"右侧颞部颅板下见梭形高密度影", {C(HIGH, R), C(EPIDURAL, R)}},
    {"右侧颅板下硬膜外血肿", {C(EPIDURAL, R)}},
    {"右侧顶部梭形高密度影", {C(HIGH, R), C(EPIDURAL, R)}},
    {"左侧额叶见梭形高密度影", {C(HIGH, L), C(LOBAR_LESION, L)}},
    {"未见硬膜外血肿及硬膜下血肿", {{0}}},
    /* 15 and 16 */
    {"左侧外侧裂池及脑沟内见高密度影", {C(HIGH, L), C(SUBARACHNOID, L)}},
    {"鞍上池密度增高", {C(HIGH, O), C(SUBARACHNOID, O)}},
    {"蛛网膜下腔出血", {C(SUBARACHNOID, O)}},
    {"鞍上池、环池见铸形高密度影", {C(HIGH, O), C(SUBARACHNOID, O)}},
    {"蛛网膜下腔未见高密度影", {{0}}},
    {"双侧侧脑室后角见高密度影", {C(HIGH, B), C(INTRAVENTRICULAR, B)}},
    {"第三脑室铸型", {C(INTRAVENTRICULAR, O)}},
    {"左侧侧脑室积血", {C(INTRAVENTRICULAR, L)}},
    {"右侧丘脑见高密度影破入左侧侧脑室", {C(HIGH, B), C(INTRAVENTRICULAR, L)}},
    {"右侧丘脑见高密度影、各脑室大小正常", {C(HIGH, R)}},
    {"脑室内未见积血", {{0}}},
    /* 17 to 20 */
    {"大脑镰见条状钙化影", {C(CALCIFICATION, O)}},
    {"双侧基底节区见高密度钙化影", {C(CALCIFICATION, B)}},
    {"双侧侧脑室脉络丛见高密度影", {C(HIGH, B)}}, /* no blood in the ventricle */
    {"未见钙化", {{0}}},
    {"左侧颞骨骨折", {C(FRACTURE, L)}},
    {"右侧顶骨骨质中断", {C(FRACTURE, R)}},
    {"骨窗示：左侧颞骨见线样透亮影", {C(FRACTURE, L)}},
    {"骨窗示颅骨未见明显骨折征象", {{0}}},
    {"右侧额部头皮软组织肿胀", {C(SCALP_SWELLING, R)}},
    {"左侧顶部皮下血肿", {C(SCALP_SWELLING, L)}},
    {"左侧头皮下见高密度影", {C(SCALP_SWELLING, L)}}, /* no high density of the brain */
    {"软组织未见肿胀", {{0}}},
    {"左侧额叶肿胀", {{0}}},
    {"双侧上颌窦粘膜增厚", {C(SINUSITIS, B)}},
    {"右侧筛窦、蝶窦内见软组织密度影", {C(SINUSITIS, R)}},
    {"左侧上颌窦积液", {C(SINUSITIS, L)}},
    {"鼻窦炎", {C(SINUSITIS, O)}},
    {"乳突积液，上矢状窦密度未见异常", {{0}}},
    {"双侧上颌窦粘膜未见增厚", {{0}}},
    /* 21 to 24 */
    {"双侧基底节区见多发斑点状低密度影", {C(LOW, B), C(BASAL_LESION, B)}},
    {"左侧豆状核见高密度影", {C(HIGH, L), C(BASAL_LESION, L)}},
    {"双侧基底节区见斑点状钙化影", {C(CALCIFICATION, B)}},
    {"双侧侧脑室旁见低密度影", {C(LOW, B), C(DEEP_LESION, B)}},
    {"两侧脑室旁见低密度影", {C(LOW, B), C(DEEP_LESION, B)}}, /* 两侧|脑室旁 */
    {"左侧侧脑室前角、后角旁见低密度影", {C(LOW, L), C(DEEP_LESION, L)}},
    {"右侧放射冠、半卵圆中心见低密度影", {C(LOW, R), C(DEEP_LESION, R)}},
    {"左侧侧脑室见低密度影", {C(LOW, L)}},
    {"左侧额颞叶见混杂密度影", {C(LOBAR_LESION, L)}},
    {"右侧岛叶密度减低", {C(LOW, R), C(LOBAR_LESION, R)}},
    {"左侧小脑半球见低密度影", {C(LOW, L), C(INFRATENTORIAL_LESION, L)}},
    {"桥脑见高密度影", {C(HIGH, O), C(INFRATENTORIAL_LESION, O)}},
    {"幕下小脑、脑干未见异常", {{0}}},
    /* sides */
    {"左侧基底节区、右侧额叶见低密度影", {C(LOW, B), C(BASAL_LESION, L), C(LOBAR_LESION, R)}},
    {"左、右侧基底节区见低密度影", {C(LOW, B), C(BASAL_LESION, B)}},
    {"左侧额叶见高密度影，脑干见高密度影，周围水肿",
     {C(HIGH, L), C(OEDEMA, O), C(LOBAR_LESION, L), C(INFRATENTORIAL_LESION, O)}},
    {"左侧额叶见高密度影，脑沟增宽，同侧侧脑室受压",
     {C(HIGH, L), C(LOBAR_LESION, L), C(SULCI_WIDE, B), C(COMPRESSED, L)}},
    {"基底节区见低密度影", {C(LOW, O), C(BASAL_LESION, O)}},
    {"基底节区右侧见低密度影", {C(LOW, R), C(BASAL_LESION, R)}},
    {"脑干见低密度影，左侧小脑见低密度影", {C(LOW, L), C(INFRATENTORIAL_LESION, L)}},
    /* clauses */
    {"左侧额叶见约1.5cm低密度影", {C(LOW, L), C(LOBAR_LESION, L)}},
    {"左侧额叶见低密度影.右侧额叶未见异常", {C(LOW, L), C(LOBAR_LESION, L)}},
    {"左侧额叶见低密度影无占位效应", {C(LOW, L), C(LOBAR_LESION, L)}}, /* 无 reaches forward only */
    {"见低密度影位于左侧额叶", {C(LOW, L), C(LOBAR_LESION, L)}},
    {"\xff\xe5左侧额叶\xe4见低密度影\xe4", {C(LOW, L), C(LOBAR_LESION, L)}},
};

START_TEST(finding_cases)
{
    const Case *c = &cases[_i];
    uint8_t want[CLINICAL_FINDINGS] = {0}, got[CLINICAL_FINDINGS];
    for (int i = 0; c->claim[i].side; i++) want[c->claim[i].finding] = (uint8_t)c->claim[i].side;
    clinical_findings(c->report, got);
    for (int k = 0; k < CLINICAL_FINDINGS; k++)
        ck_assert_msg(got[k] == want[k], "%s: %s has side %d, expected %d", c->report,
                      clinical_finding(k)->chinese, got[k], want[k]);
}
END_TEST

static bool claims_something(const char *place, const char *sign)
{
    char text[200];
    uint8_t side[CLINICAL_FINDINGS];
    snprintf(text, sizeof text, "左侧%s%s", place, sign);
    clinical_findings(text, side);
    for (int k = 0; k < CLINICAL_FINDINGS; k++)
        if (side[k]) return true;
    return false;
}

/* Every row has a sentence in which it is claimed; every place and every sign makes some claim with another
 * word, but for the places that are there to make none. */
START_TEST(every_row_and_word)
{
    bool claimed[CLINICAL_FINDINGS] = {false};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; cases[i].claim[k].side; k++) claimed[cases[i].claim[k].finding] = true;
    for (int k = 0; k < CLINICAL_FINDINGS; k++) ck_assert_msg(claimed[k], "%s", clinical_finding(k)->chinese);
    static const struct {
        const char *words, *id;
    } place[] = {
#define PLACE(words, place) {words, #place},
#include "data/clinical_finding.def"
    };
    static const char *const sign[] = {
#define SIGN(words, sign) words,
#include "data/clinical_finding.def"
    };
    enum { PLACES = sizeof place / sizeof *place, SIGNS = sizeof sign / sizeof *sign };
    for (int i = 0; i < PLACES; i++) {
        bool any = false;
        for (int j = 0; j < SIGNS; j++)
            any |= !strstr(sign[j], "骨") && claims_something(place[i].words, sign[j]);
        ck_assert_msg(any == (strcmp(place[i].id, "OUTSIDE") != 0), "%s", place[i].words);
    }
    for (int j = 0; j < SIGNS; j++) {
        bool any = false;
        for (int i = 0; i < PLACES; i++) any |= claims_something(place[i].words, sign[j]);
        ck_assert_msg(any, "%s", sign[j]);
    }
}
END_TEST

/* Very long clauses: places and groups beyond what a clause keeps do no harm. */
START_TEST(long_clauses)
{
    static char text[40000];
    uint8_t side[CLINICAL_FINDINGS];
    text[0] = 0;
    for (int i = 0; i < 500; i++) strcat(text, i % 2 ? "左侧额叶低密度" : "脑沟、");
    clinical_findings(text, side);
    ck_assert_int_eq(side[CLINICAL_LOBAR_LESION], SIDE_LEFT);
    text[0] = 0;
    for (int i = 0; i < 500; i++) strcat(text, "、右侧额叶");
    strcat(text, "低密度");
    clinical_findings(text, side);
    ck_assert_int_eq(side[CLINICAL_LOBAR_LESION], SIDE_RIGHT);
}
END_TEST

/* ---- the phantom's truth ---- */

/* What a finding of the phantom means in the list of 24: up to three rows. Not mapped: what its reports say of
 * the gyri (one house style only, so 脑回变小 is not compared). */
static int rows_of(const FindingKind *k, Side side, int row[3])
{
    int n = 0;
    if (k->density == DENSITY_LOW) row[n++] = CLINICAL_LOW;
    if (k->density == DENSITY_HIGH) row[n++] = CLINICAL_HIGH;
    if (k->density == DENSITY_CALCIFICATION) row[n++] = CLINICAL_CALCIFICATION;
    if (k->density == DENSITY_SHIFT) row[n++] = side == SIDE_LEFT ? CLINICAL_SHIFT_LEFT : CLINICAL_SHIFT_RIGHT;
    if (k->density == DENSITY_COMPRESSED) row[n++] = CLINICAL_COMPRESSED;
    if (k->density == DENSITY_DILATED) row[n++] = CLINICAL_DILATED;
    if (k->density == DENSITY_WIDENED) row[n++] = CLINICAL_SULCI_WIDE;
    if (k->parenchymal && k->density == DENSITY_HIGH)
        row[n++] = CLINICAL_OEDEMA; /* its reports always say so */
    bool lesion = k->density == DENSITY_LOW || k->density == DENSITY_HIGH;
    if (lesion && k->entity == ENTITY_BASAL_GANGLIA) row[n++] = CLINICAL_BASAL_LESION;
    if (lesion && (k->entity == ENTITY_PERIVENTRICULAR || k->entity == ENTITY_CORONA_RADIATA ||
                   k->entity == ENTITY_CENTRUM_SEMIOVALE))
        row[n++] = CLINICAL_DEEP_LESION;
    if (lesion && k->entity >= ENTITY_FRONTAL && k->entity <= ENTITY_OCCIPITAL)
        row[n++] = CLINICAL_LOBAR_LESION;
    if (lesion && (k->entity == ENTITY_CEREBELLUM || k->entity == ENTITY_BRAINSTEM))
        row[n++] = CLINICAL_INFRATENTORIAL_LESION;
    if (k->entity == ENTITY_SUBDURAL) row[n++] = CLINICAL_SUBDURAL;
    if (k->entity == ENTITY_EPIDURAL) row[n++] = CLINICAL_EPIDURAL;
    if (k->entity == ENTITY_SUBARACHNOID) row[n++] = CLINICAL_SUBARACHNOID;
    return n;
}

/* Both regimes, every house style: the list of 24 reads from the report what the truth says, sides included.
 * Rows the phantom has no lesion for are never claimed. */
START_TEST(phantom)
{
    PhantomOptions o = phantom_options();
    o.style = _i % PHANTOM_STYLES;
    o.regime = _i / PHANTOM_STYLES ? PHANTOM_CTRG : PHANTOM_BALANCED;
    int seen[CLINICAL_FINDINGS] = {0};
    for (uint64_t seed = 0; seed < 2000; seed++) {
        Phantom p;
        Error e = {0};
        ck_assert(phantom_text_only(seed, &o, &p, &e));
        uint8_t want[CLINICAL_FINDINGS] = {0}, got[CLINICAL_FINDINGS];
        for (int t = 0; t < p.n_truth; t++) {
            int row[4], n = rows_of(finding_kind(p.truth[t].finding), p.truth[t].side, row);
            for (int i = 0; i < n; i++) clinical_add(want, row[i], p.truth[t].side);
        }
        clinical_findings(p.report, got);
        for (int k = 0; k < CLINICAL_FINDINGS; k++) {
            if (k == CLINICAL_ATROPHY) continue;
            ck_assert_msg(got[k] == want[k], "phantom %llu, style %d: %s has side %d, expected %d: %s",
                          (unsigned long long)seed, o.style, clinical_finding(k)->chinese, got[k], want[k],
                          p.report);
            seen[k] += got[k] != 0;
        }
    }
    static const int never[] = {CLINICAL_SULCI_SHALLOW,    CLINICAL_LEUKOARAIOSIS, CLINICAL_SOFTENING,
                                CLINICAL_INTRAVENTRICULAR, CLINICAL_FRACTURE,      CLINICAL_SCALP_SWELLING,
                                CLINICAL_SINUSITIS};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) ck_assert_int_eq(seen[never[i]], 0);
    int rows = 0;
    for (int k = 0; k < CLINICAL_FINDINGS; k++) rows += seen[k] > 100;
    if (o.regime == PHANTOM_BALANCED)
        ck_assert_int_eq(rows, CLINICAL_FINDINGS - 1 - (int)(sizeof never / sizeof *never));
}
END_TEST

/* ---- the mention list ---- */

static const struct {
    const char *report, *mentions; /* in the list's order, each followed by a space */
} mentions[] = {
    {"", ""},
    {"左侧额叶见低密度影，未见高密度影", "额叶 高密度影 低密度影 "}, /* a negated word is mentioned */
    {"见低密度影、高密度影", "高密度影 低密度影 "},
    {"见片状密度影", "密度影 "},
    {"见异常密度影及低密度影", "低密度影 密度影 "},
    {"密度减低，密度增高", "减低 增高 "},
    {"双侧侧脑室受压变窄", "侧脑室 受压 "},
    {"两侧脑室旁见低密度影", "脑室 低密度影 "}, /* 两侧|脑室|旁 */
    {"第三脑室、第四脑室增宽", "增宽 "},
    {"双侧侧脑室及第三脑室扩张", "侧脑室 "},
    {"颞枕叶肿胀，枕叶水肿带", "枕叶 水肿带 肿胀 "},
    {"上颌窦、筛窦、蝶窦粘膜增厚", "上颌窦 筛窦 增厚 "},
    {"中线结构左移，脑沟、脑干、丘脑、顶叶", "脑干 顶叶 中线 脑沟 丘脑 "},
    {"脑实质、半卵圆中心、基底节区", "半卵圆中心 基底节区 脑实质 "},
    {"基底节", ""},
    {"\xe4低密度影\xff", "低密度影 "},
};

static void join_named(const Keywords *k, const char *report, char *out)
{
    uint8_t named[KEYWORDS_MAX];
    keywords_named(k, report, named);
    *out = 0;
    for (int i = 0; i < k->n; i++)
        if (named[i]) strcat(strcat(out, k->word[i]), " ");
}

START_TEST(mention_cases)
{
    static Keywords k;
    char got[2000], all[2000] = "";
    keywords_mention(&k);
    ck_assert_int_eq(k.n, CLINICAL_MENTIONS);
    ck_assert_int_eq(k.n_other, 12);
    for (int i = 0; i < k.n; i++) ck_assert_ptr_nonnull(k.english[i]);
    for (size_t i = 0; i < sizeof mentions / sizeof *mentions; i++) {
        join_named(&k, mentions[i].report, got);
        ck_assert_msg(!strcmp(got, mentions[i].mentions), "%s: found %s, expected %s", mentions[i].report, got,
                      mentions[i].mentions);
        strcat(all, got);
    }
    for (int i = 0; i < k.n; i++) ck_assert_msg(strstr(all, k.word[i]), "%s is in no case", k.word[i]);
}
END_TEST

/* ---- files ---- */

static const char *write_keywords(const char *bytes, size_t n)
{
    static char path[100];
    Error e = {0};
    snprintf(path, sizeof path, "%s/k.txt", folder);
    ck_assert_msg(file_write(path, bytes, n, &e), "%s", e.msg);
    return path;
}

START_TEST(keywords_of_a_file)
{
    static Keywords k;
    char got[200];
    Error e = {0};
    const char *text = "侧脑室\n\n  低密度影 \r\n密度影\nshift\n左侧";
    ck_assert_msg(keywords_read(write_keywords(text, strlen(text)), &k, &e), "%s", e.msg);
    ck_assert_int_eq(k.n, 5);
    ck_assert_int_eq(k.n_other, 3);
    join_named(&k, "两侧脑室 低密度影 shift", got);
    ck_assert_str_eq(got, "低密度影 shift ");
    join_named(&k, "左侧侧脑室密度影", got);
    ck_assert_str_eq(got, "侧脑室 密度影 左侧 ");
}
END_TEST

START_TEST(bad_keywords)
{
    static char many[KEYWORDS_MAX * 8 + 100], full[KEYWORDS_MAX * 8 + 100], longest[200];
    for (int i = 0; i <= KEYWORDS_MAX; i++) {
        sprintf(many + strlen(many), "w%d\n", i);
        if (i < KEYWORDS_MAX) strcpy(full, many);
    }
    memset(longest, 'a', KEYWORD_BYTES + 1);
    const struct {
        const char *text;
        size_t n;
        const char *message;
    } bad[] = {
        {"", 0, ": expected one keyword a line, found none"},
        {" \n\t\r\n", 5, ": expected one keyword a line, found none"},
        {"a\n\xe4\xb8\n", 5, ": line 2: expected a keyword in UTF-8, found other bytes"},
        {"a\nb\0c\n", 6, ": line 2: expected a keyword in UTF-8, found other bytes"},
        {"\0\n", 2, ": line 1: expected a keyword in UTF-8, found other bytes"},
        {"a\nb\n a\n", 7, ": line 3: 'a' stands in an earlier line, too"},
        {longest, KEYWORD_BYTES + 1, ": line 1: expected a keyword of at most 63 bytes, found 64"},
        {many, strlen(many), ": line 257: expected at most 256 keywords"},
    };
    static Keywords k;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error e = {0};
        char want[600];
        const char *path = write_keywords(bad[i].text, bad[i].n);
        ck_assert_msg(!keywords_read(path, &k, &e), "case %zu", i);
        ck_assert_int_eq(e.code, ERROR_INPUT);
        snprintf(want, sizeof want, "%s%s", path, bad[i].message);
        ck_assert_str_eq(e.msg, want);
    }
    Error e = {0};
    ck_assert(keywords_read(write_keywords(full, strlen(full)), &k, &e) && k.n == KEYWORDS_MAX &&
              k.n_other == 4);
    ck_assert(keywords_read(write_keywords(longest, KEYWORD_BYTES), &k, &e) && k.n == 1);
    ck_assert(!keywords_read("/nowhere/k.txt", &k, &e) && e.code == ERROR_IO);
}
END_TEST

static const char sound[] = "侧脑室\n\n 密度影\t\r\nshift";

/* Each is a list as well, unless it ends within a character or has no word yet. */
START_TEST(keywords_cut_short)
{
    static Keywords k;
    for (size_t n = 0; n < sizeof sound; n++) {
        Error e = {0};
        bool ok = keywords_read(write_keywords(sound, n), &k, &e),
             whole = ((uint8_t)sound[n] & 0xC0) != 0x80; /* the next byte begins a character */
        ck_assert_msg(ok == (whole && n > 0), "%zu bytes: %s", n, e.msg);
        ck_assert(ok || e.code == ERROR_INPUT);
    }
}
END_TEST

static bool read_sound(Error *e)
{
    static Keywords k;
    char path[100];
    snprintf(path, sizeof path, "%s/k.txt", folder);
    return keywords_read(path, &k, e);
}

START_TEST(failing_allocations)
{
    write_keywords(sound, sizeof sound - 1);
    ck_assert_int_gt(fail_each(read_sound), 0);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return EXIT_FAILURE;
    Suite *s = suite_create("clinical");
    TCase *t = tcase_create("clinical");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, finding_cases, 0, sizeof cases / sizeof *cases);
    tcase_add_test(t, every_row_and_word);
    tcase_add_test(t, long_clauses);
    tcase_add_loop_test(t, phantom, 0, 2 * PHANTOM_STYLES);
    tcase_add_test(t, mention_cases);
    tcase_add_test(t, keywords_of_a_file);
    tcase_add_test(t, bad_keywords);
    tcase_add_test(t, keywords_cut_short);
    tcase_add_test(t, failing_allocations);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    char path[100];
    snprintf(path, sizeof path, "%s/k.txt", folder);
    unlink(path);
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
