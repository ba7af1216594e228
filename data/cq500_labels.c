#include "data/cq500_labels.h"
#include <stdio.h>
#include <string.h>

bool cq500_votes(const json_t *block, const char *what, uint8_t vote[CQ500_LABELS], Error *e)
{
    json_t *votes;
    if (!json_is_object(block)) return error_set(e, ERROR_INPUT, "%s: labels is not an object", what);
    if (!json_get_object(block, "votes", what, &votes, e)) return false;
    for (int l = 0; l < CQ500_LABELS; l++) {
        int64_t n;
        if (!json_get_int(votes, cq500_label[l], what, &n, e)) return false;
        if (n < 0 || n > CQ500_READERS)
            return error_set(e, ERROR_INPUT, "%s: labels.votes.%s is %lld, expected 0..%d", what,
                             cq500_label[l], (long long)n, CQ500_READERS);
        vote[l] = (uint8_t)n;
    }
    return true;
}

json_t *cq500_block(const Cq500Read *read, const char *series)
{
    json_t *votes = json_object();
    char study[32], batch[8];
    snprintf(study, sizeof study, "CQ500-CT-%d", read->number);
    snprintf(batch, sizeof batch, "B%d", read->batch);
    for (int l = 0; l < CQ500_LABELS; l++)
        json_object_set_new(votes, cq500_label[l], json_integer(read->vote[l]));
    if (json_object_size(votes) != CQ500_LABELS) {
        json_decref(votes);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "source", "CQ500", "study", study, "batch", batch, "series",
                     series, "votes", votes);
}

bool cq500_block_is(const json_t *block, const Cq500Read *read)
{
    uint8_t vote[CQ500_LABELS];
    char study[32];
    const char *said = json_string_value(json_object_get(block, "study"));
    snprintf(study, sizeof study, "CQ500-CT-%d", read->number);
    return said && !strcmp(said, study) && cq500_votes(block, "", vote, NULL) &&
           !memcmp(vote, read->vote, sizeof vote);
}
