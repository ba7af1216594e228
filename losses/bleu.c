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

/* Start positions of all k-grams, sorted by what stands there. */
static void sorted_grams(const Tokens *t, int k, int *place)
{
    int n = t->n - k + 1;
    for (int i = 0; i < n; i++) place[i] = i;
    if (n > 1) qsort_r(place, (size_t)n, sizeof *place, compare_places, &(Order){t->id, k});
}

/* Sum over distinct k-grams of min(count in a, count in b), of sorted_grams. */
static int64_t common_grams(const Tokens *a, const int *place_a, const Tokens *b, const int *place_b, int k)
{
    int n_a = a->n - k + 1, n_b = b->n - k + 1, i = 0, j = 0;
    int64_t common = 0;
    while (i < n_a && j < n_b) {
        int order = compare_grams(a->id + place_a[i], b->id + place_b[j], k);
        common += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    return common;
}

static int longest_of(const Tokens *t, int n, int longest)
{
    for (int i = 0; i < n; i++)
        if (t[i].n > longest) longest = t[i].n;
    return longest;
}

static bool no_memory(Error *e, int longest)
{
    return error_set(e, ERROR_MEMORY, "no memory to score texts of %d tokens", longest);
}

static void add_lengths(BleuCounts *sum, const Tokens *said, const Tokens *truth)
{
    sum->said += said->n;
    sum->truth += truth->n;
    for (int k = 1; k <= BLEU_ORDERS; k++) sum->guess[k - 1] += said->n >= k ? said->n - k + 1 : 0;
}

bool bleu_count(const Tokens *said, const Tokens *truth, BleuCounts *out, Error *e)
{
    int longest = longest_of(truth, 1, longest_of(said, 1, 1));
    int *place = malloc(2 * (size_t)longest * sizeof *place);
    if (!place) return no_memory(e, longest);
    *out = (BleuCounts){0};
    add_lengths(out, said, truth);
    for (int k = 1; k <= BLEU_ORDERS; k++) {
        sorted_grams(said, k, place);
        sorted_grams(truth, k, place + longest);
        out->correct[k - 1] = common_grams(said, place, truth, place + longest, k);
    }
    free(place);
    return true;
}

void bleu_from_counts(const BleuCounts *sum, double bleu[BLEU_ORDERS])
{
    double ratio = ((double)sum->said + 1e-15) / ((double)sum->truth + 1e-9);
    double brevity = ratio < 1 ? exp(1 - 1 / ratio) : 1, product = 1;
    for (int k = 1; k <= BLEU_ORDERS; k++) {
        product *= ((double)sum->correct[k - 1] + 1e-15) / ((double)sum->guess[k - 1] + 1e-9);
        bleu[k - 1] = pow(product, 1.0 / k) * brevity;
    }
}

/* Every text's k-grams are sorted once; pairs are only merged. */
bool bleu_constants(const Tokens *said, int m, const Tokens *truth, int n, BleuCounts *sum, Error *e)
{
    size_t longest = (size_t)longest_of(truth, n, longest_of(said, m, 1));
    int *place = malloc((size_t)(m + 1) * BLEU_ORDERS * longest * sizeof *place);
    if (!place) return no_memory(e, (int)longest);
    int *of_truth = place + (size_t)m * BLEU_ORDERS * longest;
    for (int j = 0; j < m; j++) {
        sum[j] = (BleuCounts){0};
        for (size_t k = 0; k < BLEU_ORDERS; k++)
            sorted_grams(&said[j], (int)k + 1, place + ((size_t)j * BLEU_ORDERS + k) * longest);
    }
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < BLEU_ORDERS; k++) sorted_grams(&truth[i], (int)k + 1, of_truth + k * longest);
        for (int j = 0; j < m; j++) {
            add_lengths(&sum[j], &said[j], &truth[i]);
            for (size_t k = 0; k < BLEU_ORDERS; k++)
                sum[j].correct[k] += common_grams(&said[j], place + ((size_t)j * BLEU_ORDERS + k) * longest,
                                                  &truth[i], of_truth + k * longest, (int)k + 1);
        }
    }
    free(place);
    return true;
}
