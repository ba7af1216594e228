/* A reads.csv. What is understood is in order, each study once, at most three votes a finding, and its labels
 * come back from a data set's block. */
#include "data/cq500_labels.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    Error e = {0};
    Cq500Reads r;
    char *exact = malloc(n ? n : 1); /* so that a byte too far is seen */
    memcpy(exact, bytes, n);
    bool ok = cq500_reads_parse(exact, n, "input", &r, &e);
    free(exact);
    if (!ok) {
        fuzz_refused(&e);
        return 0;
    }
    for (int i = 0; i < r.n; i++) {
        const Cq500Read *x = &r.read[i];
        uint8_t vote[CQ500_LABELS];
        if (x->number < 0 || x->number > CQ500_MAX_NUMBER || x->batch < 1 || x->batch > 2 || x->line < 2 ||
            (i && x->number <= x[-1].number))
            die("study %d: line %d, batch %d", x->number, x->line, x->batch);
        json_t *block = cq500_block(x, "CT Plain");
        if (!block || !cq500_votes(block, "block", vote, &e) || memcmp(vote, x->vote, sizeof vote) ||
            !cq500_block_is(block, x))
            die("study %d: its labels do not come back: %s", x->number, e.msg);
        json_decref(block);
    }
    cq500_reads_free(&r);
    return 0;
}
