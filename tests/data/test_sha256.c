/* The examples of FIPS 180-4 (and those of the NIST's CAVP for bytes), and messages given in pieces. */
#include "data/sha256.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *message;
    int times;
    const char *hex;
} known[] = {
    {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrst"
     "nopqrstu",
     1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    {"a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    {"\xbd", 1, "68325720aabd7c82f30f554b313d0570c95accbb7dc4b5aae11204c08ffe732b"},
    {"\xc9\x8c\x8e\x55", 1, "7abc22c0ae5af26ce93dbb94433a0e0b2e119d014f8e7f65bd56c61ccccd9504"},
};

START_TEST(standard)
{
    Sha256 s;
    char hex[65];
    sha256_open(&s);
    for (int i = 0; i < known[_i].times; i++) sha256_add(&s, known[_i].message, strlen(known[_i].message));
    sha256_close(&s, hex);
    ck_assert_str_eq(hex, known[_i].hex);
}
END_TEST

/* Every length around the block's end, cut everywhere in two, equals the message in one go. */
START_TEST(pieces)
{
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 37);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        Sha256 s;
        char whole[65], parts[65];
        sha256_open(&s);
        sha256_add(&s, bytes, n);
        sha256_close(&s, whole);
        for (size_t cut = 0; cut <= n; cut++) {
            sha256_open(&s);
            sha256_add(&s, bytes, cut);
            sha256_add(&s, bytes + cut, n - cut);
            sha256_close(&s, parts);
            ck_assert_str_eq(parts, whole);
        }
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sha256");
    TCase *t = tcase_create("sha256");
    tcase_add_loop_test(t, standard, 0, sizeof known / sizeof *known);
    tcase_add_test(t, pieces);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
