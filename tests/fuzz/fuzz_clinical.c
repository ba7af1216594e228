/* Any bytes as a report and as a file of keywords: findings are claimed with the sides their rows have, as the
 * mirrored report claims them; what a list reads it finds in itself. */
#include "data/clinical.h"
#include "tests/fuzz/fuzz.h"

static void findings(const char *text)
{
    uint8_t side[CLINICAL_FINDINGS];
    clinical_findings(text, side);
    for (int k = 0; k < CLINICAL_FINDINGS; k++) {
        ClinicalSides sides = clinical_finding(k)->sides;
        bool fits = sides == CLINICAL_UNSIDED  ? side[k] == SIDE_NONE
                    : sides == CLINICAL_PAIRED ? side[k] <= SIDE_BOTH
                                               : side[k] <= SIDE_NONE;
        if (side[k] && !fits) die("%s has side %d", clinical_finding(k)->chinese, side[k]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static Keywords k;
    Error e = {0};
    uint8_t named[KEYWORDS_MAX];
    char *text = malloc(n + 1);
    memcpy(text, bytes, n);
    text[n] = 0;
    findings(text);
    keywords_mention(&k);
    keywords_named(&k, text, named);
    FuzzFile f = fuzz_file(bytes, n);
    if (!keywords_read(f.path, &k, &e)) {
        fuzz_refused(&e);
    } else {
        if (k.n < 1 || k.n > KEYWORDS_MAX) die("%d keywords", k.n);
        for (int i = 0; i < k.n; i++) {
            keywords_named(&k, k.word[i], named);
            if (!named[i]) die("'%s' does not mention itself", k.word[i]);
        }
    }
    fuzz_close(&f);
    free(text);
    return 0;
}
