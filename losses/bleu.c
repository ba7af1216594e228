/* Corpus BLEU. With correct_k the clipped k-gram matches and guess_k the k-grams said, both summed over the
 * corpus, and c, r the summed lengths:
 *   p_k = (correct_k + 1e-15) / (guess_k + 1e-9)
 *   BLEU-k = (p_1 ... p_k)^(1/k) * min(1, exp(1 - 1/ratio)),  ratio = (c + 1e-15) / (r + 1e-9)
 * The two small numbers are the reference code's; they keep empty corpora finite. k-grams are counted by
 * sorting their positions, so no hashing and no limit on vocabulary. */
#include "losses/bleu.h"
#include <math.h>
#include <stdlib.h>

typedef struct Order {
    const int32_t *id;
    int k;
} Order;

static int compare_grams(const int32_t *a, const int32_t *b, int k)
{
    for (int i = 0; i < k; i++)
        if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int compare_places(const void *a, const void *b, void *order)
{
    const Order *o = order;
    return compare_grams(o->id + *(const int *)a, o->id + *(const int *)b, o->k);
}

/* Start positions of all k-grams, sorted by what stands there. Returns how many. */
static int sorted_grams(const Tokens *t, int k, int *place)
{
    int n = t->n - k + 1;
    for (int i = 0; i < n; i++) place[i] = i;
    if (n > 1) qsort_r(place, (size_t)n, sizeof *place, compare_places, &(Order){t->id, k});
    return n > 0 ? n : 0;
}

/* Sum over distinct k-grams of min(count in a, count in b). */
static int64_t common_grams(const Tokens *a, const Tokens *b, int k, int *place_a, int *place_b)
{
    int n_a = sorted_grams(a, k, place_a), n_b = sorted_grams(b, k, place_b), i = 0, j = 0;
    int64_t common = 0;
    while (i < n_a && j < n_b) {
        int order = compare_grams(a->id + place_a[i], b->id + place_b[j], k);
        common += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return common;
}

bool bleu_count(const Tokens *said, const Tokens *truth, BleuCounts *out, Error *e)
{
    int longest = said->n > truth->n ? said->n : truth->n;
    int *place = malloc(2 * ((size_t)longest + 1) * sizeof *place);
    if (!place) return error_set(e, ERROR_MEMORY, "no memory to score texts of %d tokens", longest);
    *out = (BleuCounts){.said = said->n, .truth = truth->n};
    for (int k = 1; k <= BLEU_ORDERS; k++) {
        out->correct[k - 1] = common_grams(said, truth, k, place, place + longest + 1);
        out->guess[k - 1] = said->n >= k ? said->n - k + 1 : 0;
    }
    free(place);
    return true;
}

void bleu_from_counts(const BleuCounts *c, double bleu[BLEU_ORDERS])
{
    double ratio = ((double)c->said + 1e-15) / ((double)c->truth + 1e-9);
    double brevity = ratio < 1 ? exp(1 - 1 / ratio) : 1, product = 1;
    for (int k = 1; k <= BLEU_ORDERS; k++) {
        product *= ((double)c->correct[k - 1] + 1e-15) / ((double)c->guess[k - 1] + 1e-9);
        bleu[k - 1] = pow(product, 1.0 / k) * brevity;
    }
}

bool bleu_score(const Tokens *said, const Tokens *truth, int n, double bleu[BLEU_ORDERS], Error *e)
{
    BleuCounts sum = {0}, one;
    for (int i = 0; i < n; i++) {
        if (!bleu_count(&said[i], &truth[i], &one, e)) return false;
        sum.said += one.said;
        sum.truth += one.truth;
        for (int k = 0; k < BLEU_ORDERS; k++) {
            sum.correct[k] += one.correct[k];
            sum.guess[k] += one.guess[k];
        }
    }
    bleu_from_counts(&sum, bleu);
    return true;
}
