#include "tools/score_clinical.h"

const char *clinical_list_name(ClinicalList list)
{
    static const char *const names[LIST_COUNT] = {"mention", "finding", "presence", "keywords"};
    return names[list];
}

const char *clinical_list_about(ClinicalList list)
{
    static const char *const about[LIST_COUNT] = {"24 keywords, each in the text or not, negated or not",
                                                  "24 findings that are not negated, each with its side",
                                                  "the 24 findings, sides not looked at",
                                                  "the file's keywords, each in the text or not"};
    return about[list];
}

bool clinical_lists_open(ClinicalLists *l, const char *path, Error *e)
{
    keywords_mention(&l->mention);
    if (path && !keywords_read(path, &l->keywords, e)) return false;
    const int k[LIST_COUNT] = {l->mention.n, CLINICAL_FINDINGS, CLINICAL_FINDINGS, path ? l->keywords.n : 0};
    l->width = 0;
    for (int i = 0; i < LIST_COUNT; i++) {
        l->k[i] = k[i];
        l->first[i] = l->width;
        l->width += k[i];
    }
    return true;
}

const char *clinical_label(const ClinicalLists *l, ClinicalList list, int i, const char **english)
{
    if (list == LIST_FINDING || list == LIST_PRESENCE) {
        *english = clinical_finding(i)->english;
        return clinical_finding(i)->chinese;
    }
    const Keywords *k = list == LIST_MENTION ? &l->mention : &l->keywords;
    *english = k->english[i] ? k->english[i] : "";
    return k->word[i];
}

void clinical_labels(const ClinicalLists *l, const char *report, uint8_t *labels)
{
    uint8_t *side = labels + l->first[LIST_FINDING];
    keywords_named(&l->mention, report, labels + l->first[LIST_MENTION]);
    clinical_findings(report, side);
    for (int k = 0; k < CLINICAL_FINDINGS; k++) labels[l->first[LIST_PRESENCE] + k] = side[k] != SIDE_ABSENT;
    if (l->k[LIST_KEYWORDS]) keywords_named(&l->keywords, report, labels + l->first[LIST_KEYWORDS]);
}
