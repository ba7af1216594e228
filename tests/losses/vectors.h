/* The six pairs of tests/golden/metric_vectors.json, whose values are the reference packages' (its note). */
#ifndef TESTS_LOSSES_VECTORS_H
#define TESTS_LOSSES_VECTORS_H
#include "data/json.h"
#include "losses/words.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VECTORS = 6, VECTORS_ROOM = 4096 };
static const char *const vectors_levels[] = {"jieba", "char"};

#define CLOSE(a, b, tol) ck_assert_msg(fabs((a) - (b)) <= (tol), #a " = %.12g, expected %.12g", (a), (b))

static inline json_t *vectors_open(void)
{
    Error e = {0};
    json_t *root = json_read("tests/golden/metric_vectors.json", &e);
    ck_assert_msg(root != NULL, "%s", e.msg);
    ck_assert_uint_eq(json_array_size(json_object_get(root, "pairs")), VECTORS);
    return root;
}

/* The text of pair i ("hyp" or "ref"): as it is, or its words with a space between them. */
static inline const char *vectors_text(const json_t *root, size_t i, const char *side, bool words)
{
    static char text[VECTORS_ROOM], key[16];
    const json_t *pair = json_array_get(json_object_get(root, "pairs"), i), *word;
    snprintf(key, sizeof key, words ? "%s_jieba" : "%s", side);
    const json_t *value = json_object_get(pair, key);
    ck_assert(value != NULL);
    if (!words) return json_string_value(value);
    size_t k;
    text[0] = 0;
    json_array_foreach(value, k, word)
    {
        ck_assert(strlen(text) + json_string_length(word) + 2 < sizeof text);
        if (k) strcat(text, " ");
        strcat(text, json_string_value(word));
    }
    return text;
}

/* The tokens of all pairs at level 0 (words) or 1 (characters). */
static inline void vectors_tokens(const json_t *root, int level, Words *w, Tokens said[VECTORS],
                                  Tokens truth[VECTORS])
{
    Error e = {0};
    for (size_t i = 0; i < VECTORS; i++)
        for (int side = 0; side < 2; side++) {
            const char *text = vectors_text(root, i, side ? "ref" : "hyp", level == 0);
            Tokens *out = side ? &truth[i] : &said[i];
            ck_assert(level ? words_characters(text, out, &e) : words_cut(w, text, WORDS_SPLIT, out, &e));
        }
}

static inline void vectors_free(Tokens said[VECTORS], Tokens truth[VECTORS])
{
    for (int i = 0; i < VECTORS; i++) {
        tokens_free(&said[i]);
        tokens_free(&truth[i]);
    }
}

static inline double vectors_number(const json_t *list, size_t i)
{
    const json_t *x = json_array_get(list, i);
    ck_assert(json_is_number(x));
    return json_number_value(x);
}

static inline int vectors_run(Suite *s)
{
    SRunner *sr = srunner_create(s);
    srunner_set_fork_status(sr, CK_NOFORK);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif
