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

bool bleu_score(const Tokens *said, const Tokens *truth, int n, double bleu[BLEU_ORDERS], Error *e)
{
    int longest = 1;
    for (int i = 0; i < n; i++) {
        if (said[i].n > longest) longest = said[i].n;
        if (truth[i].n > longest) longest = truth[i].n;
    }
    int *place = malloc(2 * (size_t)longest * sizeof *place);
    if (!place) return error_set(e, ERROR_MEMORY, "no memory to score texts of %d tokens", longest);
    int64_t correct[BLEU_ORDERS] = {0}, guess[BLEU_ORDERS] = {0}, said_length = 0, truth_length = 0;
    for (int i = 0; i < n; i++) {
        said_length += said[i].n;
        truth_length += truth[i].n;
        for (int k = 1; k <= BLEU_ORDERS; k++) {
            correct[k - 1] += common_grams(&said[i], &truth[i], k, place, place + longest);
            guess[k - 1] += said[i].n >= k ? said[i].n - k + 1 : 0;
        }
    }
    free(place);
    double ratio = ((double)said_length + 1e-15) / ((double)truth_length + 1e-9);
    double brevity = ratio < 1 ? exp(1 - 1 / ratio) : 1, product = 1;
    for (int k = 1; k <= BLEU_ORDERS; k++) {
        product *= ((double)correct[k - 1] + 1e-15) / ((double)guess[k - 1] + 1e-9);
        bleu[k - 1] = pow(product, 1.0 / k) * brevity;
    }
    return true;
}
