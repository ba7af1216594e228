/* The report of a plan, in one of four house styles. One clause a finding, and that clause holds side, place
 * and density together; words of negation stand only in normal clauses; oedema is told without a place. So the
 * parser of findings.c reads back exactly the plan. */
#include "data/phantom_parts.h"
#include <stdio.h>
#include <string.h>

typedef struct HouseStyle {
    const char *both, *see;
    const char *symmetric, *asymmetric; /* "" where the house does not say it */
    const char *ventricles_normal, *ventricles_wide;
    const char *midline_normal, *midline_before, *midline_after; /* before, 左 or 右, after */
    const char *sulci_normal, *sulci_wide;
    const char *below; /* cerebellum and brainstem without lesion */
    const char *clear; /* no lesion at all */
    const char *bone;
    const char *oedema, *compressed;
    const char *separator;
    bool low_first;
} HouseStyle;

static const HouseStyle styles[PHANTOM_STYLES] = {
    {"双侧", "见", "双侧大脑半球对称", "双侧大脑半球欠对称", "各脑室、脑池大小形态正常", "各脑室扩大",
     "中线结构居中", "中线结构", "移", "脑沟、脑裂大小、形态未见明显异常", "脑沟、脑裂增宽，脑回变小",
     "幕下小脑、脑干未见异常", "脑实质内未见明显异常密度影", "", "周围见低密度水肿带", "侧脑室受压变窄", "，",
     false},
    {"两侧", "可见", "", "", "脑室系统未见扩张", "脑室系统扩大", "中线无移位", "中线向", "侧移位",
     "脑沟、脑池未见增宽", "脑沟、脑池增宽加深", "脑干及小脑未见明显异常", "脑实质密度未见明显异常",
     "颅骨骨质未见异常", "周围可见低密度水肿", "侧脑室受压变形", "。", false},
    {"双侧", "示", "大脑半球形态对称", "大脑半球形态不对称", "脑室、脑池形态正常", "脑室扩大、积水", "中线居中",
     "中线结构向", "移位", "脑沟裂未见异常", "脑沟裂增宽", "", "脑内未见明显局灶性密度异常",
     "骨窗示颅骨未见明显骨折征象", "周围见低密度水肿带", "侧脑室受压变窄", "，", false},
    {"双侧", "见", "", "", "脑室大小正常", "双侧侧脑室及第三脑室等脑室扩张", "中线结构无明显移位", "中线结构",
     "移", "脑沟无增宽", "双侧脑沟增宽", "小脑、脑干密度未见异常", "颅内未见明显异常密度影", "颅板下未见异常",
     "周围可见低密度水肿", "侧脑室受压变形", "；", true},
};

typedef struct Pen {
    const HouseStyle *style;
    Plan *plan;
    Phantom *p;
    size_t used;
} Pen;

static void write_clause(Pen *pen, const char *text)
{
    if (!*text) return;
    int n = snprintf(pen->p->report + pen->used, sizeof pen->p->report - pen->used, "%s%s",
                     pen->used ? pen->style->separator : "", text);
    if (n < 0 || pen->used + (size_t)n >= sizeof pen->p->report) die("phantom: the report outgrew its buffer");
    pen->used += (size_t)n;
}

/* A clause that claims a finding: writes it, records the truth row and hands out its two mask bits. */
static void write_truth(Pen *pen, int finding, const char *text)
{
    Phantom *p = pen->p;
    if (p->n_truth == PHANTOM_MAX_TRUTH) die("phantom: more than %d findings", PHANTOM_MAX_TRUTH);
    write_clause(pen, text);
    PhantomTruth *t = &p->truth[p->n_truth];
    *t = (PhantomTruth){.finding = finding, .side = (Side)pen->plan->found.side[finding]};
    if (snprintf(t->clause, sizeof t->clause, "%s", text) >= (int)sizeof t->clause)
        die("phantom: clause too long");
    int bit = 2 * p->n_truth++;
    pen->plan->bit[finding] = bit;
    for (int i = 0; i < pen->plan->n_lesions; i++) {
        Lesion *l = &pen->plan->lesion[i];
        if (l->finding != finding) continue;
        l->bit = bit + (l->side == SIDE_RIGHT);
        if (l->radius > t->radius_mm) t->radius_mm = l->radius;
    }
}

static const char *side_word(const Pen *pen, Side s)
{
    return s == SIDE_LEFT ? "左侧" : s == SIDE_RIGHT ? "右侧" : s == SIDE_BOTH ? pen->style->both : "";
}

static const char *size_word(double radius)
{
    double across = 2 * radius;
    return across < 11 ? "斑点状" : across < 17 ? "小片状" : across < 28 ? "片状" : "大片状";
}

/* Largest radius and the number of lesions on the side that has most. */
static float largest(const Plan *plan, int finding, int *most)
{
    float radius = 0;
    int n[2] = {0, 0};
    for (int i = 0; i < plan->n_lesions; i++) {
        const Lesion *l = &plan->lesion[i];
        if (l->finding != finding) continue;
        if (l->radius > radius) radius = l->radius;
        n[l->side == SIDE_RIGHT]++;
    }
    *most = n[0] > n[1] ? n[0] : n[1];
    return radius;
}

static void write_low_places(Pen *pen)
{
    char text[160];
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        Side side = (Side)pen->plan->found.side[f];
        if (!k->parenchymal || k->density != DENSITY_LOW || side == SIDE_ABSENT) continue;
        int most;
        float radius = largest(pen->plan, f, &most);
        snprintf(text, sizeof text, "%s%s%s%s%s低密度影", side_word(pen, side), entity_name(k->entity),
                 pen->style->see, most > 1 ? "多发" : "", size_word(radius));
        write_truth(pen, f, text);
    }
}

static void write_bleed(Pen *pen, int f)
{
    char text[160];
    int most;
    const FindingKind *k = finding_kind(f);
    snprintf(text, sizeof text, "%s%s%s%s高密度影，%s", side_word(pen, (Side)pen->plan->found.side[f]),
             entity_name(k->entity), pen->style->see, largest(pen->plan, f, &most) > 9 ? "团块状" : "片状",
             pen->style->oedema);
    write_truth(pen, f, text);
}

static void write_blood_and_calcium(Pen *pen)
{
    char text[160];
    const Plan *plan = pen->plan;
    const char *see = pen->style->see;
    for (int f = 0; f < FINDING_COUNT; f++) {
        const FindingKind *k = finding_kind(f);
        if (k->parenchymal && k->density == DENSITY_HIGH && plan->found.side[f]) write_bleed(pen, f);
    }
    static const int collections[] = {FIND_SUBDURAL_HIGH, FIND_SUBDURAL_LOW, FIND_EPIDURAL_HIGH};
    for (int i = 0; i < 3; i++) {
        int f = collections[i];
        if (!plan->found.side[f]) continue;
        snprintf(text, sizeof text, "%s颅板下%s%s%s密度影", side_word(pen, (Side)plan->found.side[f]), see,
                 f == FIND_EPIDURAL_HIGH ? "梭形" : "新月形", density_name(finding_kind(f)->density));
        write_truth(pen, f, text);
    }
    Side side = (Side)plan->found.side[FIND_LATERAL_VENTRICLE_COMPRESSED];
    if (side) {
        snprintf(text, sizeof text, "%s%s", side_word(pen, side), pen->style->compressed);
        write_truth(pen, FIND_LATERAL_VENTRICLE_COMPRESSED, text);
    }
    side = (Side)plan->found.side[FIND_SUBARACHNOID_HIGH];
    if (side) {
        snprintf(text, sizeof text, "%s外侧裂池及脑沟内%s高密度影", side_word(pen, side), see);
        write_truth(pen, FIND_SUBARACHNOID_HIGH, text);
    }
    if (plan->found.side[FIND_FALX_CALCIFICATION]) {
        snprintf(text, sizeof text, "大脑镰%s条状钙化影", see);
        write_truth(pen, FIND_FALX_CALCIFICATION, text);
    }
    if (plan->found.side[FIND_BASAL_GANGLIA_CALCIFICATION]) {
        snprintf(text, sizeof text, "%s基底节区%s斑点状钙化影", pen->style->both, see);
        write_truth(pen, FIND_BASAL_GANGLIA_CALCIFICATION, text);
    }
}

static bool lesion_below(const Plan *plan)
{
    static const int below[] = {FIND_CEREBELLUM_LOW, FIND_CEREBELLUM_HIGH, FIND_BRAINSTEM_LOW,
                                FIND_BRAINSTEM_HIGH};
    for (int i = 0; i < 4; i++)
        if (plan->found.side[below[i]]) return true;
    return false;
}

static void write_lesions(Pen *pen)
{
    if (pen->style->low_first) write_low_places(pen);
    write_blood_and_calcium(pen);
    if (!pen->style->low_first) write_low_places(pen);
    if (!pen->p->n_truth) write_clause(pen, pen->style->clear);
}

static void write_rest(Pen *pen)
{
    const HouseStyle *y = pen->style;
    const FindingSet *found = &pen->plan->found;
    Side shift = (Side)found->side[FIND_MIDLINE_SHIFT];
    char text[160];
    if (found->side[FIND_VENTRICLES_DILATED])
        write_truth(pen, FIND_VENTRICLES_DILATED, y->ventricles_wide);
    else
        write_clause(pen, shift ? "余脑室未见异常" : y->ventricles_normal);
    if (shift) {
        snprintf(text, sizeof text, "%s%s%s", y->midline_before, side_name(shift), y->midline_after);
        write_truth(pen, FIND_MIDLINE_SHIFT, text);
    } else {
        write_clause(pen, y->midline_normal);
    }
    if (found->side[FIND_SULCI_WIDENED])
        write_truth(pen, FIND_SULCI_WIDENED, y->sulci_wide);
    else
        write_clause(pen, y->sulci_normal);
    if (!lesion_below(pen->plan)) write_clause(pen, y->below);
    bool collection =
        found->side[FIND_SUBDURAL_HIGH] || found->side[FIND_SUBDURAL_LOW] || found->side[FIND_EPIDURAL_HIGH];
    if (!(y->low_first && collection)) write_clause(pen, y->bone);
}

/* The short list that CTRG calls impression. */
static void write_impression(Phantom *p)
{
    size_t used = 0;
    for (int i = 0; i < p->n_truth; i++) {
        const FindingKind *k = finding_kind(p->truth[i].finding);
        int n = snprintf(p->impression + used, sizeof p->impression - used, "%s%s%s%s", i ? "；" : "",
                         side_name(p->truth[i].side), entity_name(k->entity), density_name(k->density));
        if (n < 0 || used + (size_t)n >= sizeof p->impression)
            die("phantom: the impression outgrew its buffer");
        used += (size_t)n;
    }
    if (!p->n_truth) snprintf(p->impression, sizeof p->impression, "颅脑CT平扫未见明显异常");
}

void phantom_write_report(Plan *plan, Phantom *p)
{
    Rng r = rng_open(p->seed, "phantom.style");
    int drawn = (int)rng_below(&r, PHANTOM_STYLES);
    p->style = p->options.style < 0 ? drawn : p->options.style;
    p->n_truth = 0;
    Pen pen = {&styles[p->style], plan, p, 0};
    bool crooked = plan->found.side[FIND_MIDLINE_SHIFT];
    write_clause(&pen, crooked ? pen.style->asymmetric : pen.style->symmetric);
    write_lesions(&pen);
    write_rest(&pen);
    strcat(p->report, "。");
    write_impression(p);
}
