/* The first byte says which of jieba's files the bytes up to the first NUL are, in a folder that is sound
 * otherwise: the dictionary, one of the three tables, a user dictionary; then a text: words must follow each
 * other to its end. */
#include "tensor/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "tokenizer/jieba.h"
#include <sys/stat.h>

enum { FILES = 5 };
static const char *const names[FILES] = {"dict.txt", "finalseg/prob_start.py", "finalseg/prob_trans.py",
                                         "finalseg/prob_emit.py", "user.txt"};
static const char *const sound[FILES] = {
    "甲 4 n\n乙 4\n甲乙 1 nz\n丙 7 x\n", "P={'B': -0.25, 'E': -3.14e+100, 'M': -3.14e+100, 'S': -1.5}\n",
    "P={'B': {'E': -0.5, 'M': -1.0}, 'E': {'B': -0.5}, 'M': {'E': -0.25}, 'S': {'S': -0.75}}\n",
    "P={'B': {'\\u4e01': -1.0}, 'E': {'\\u4e02': -1.0}, 'M': {'\\u4e02': -8.0}, 'S': {'\\u4e03': -2.0}}\n", ""};
static char folder[64];

static void put(int file, const void *bytes, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, names[file]);
    FILE *f = fopen(path, "w");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f)) die("%s: not written", path);
}

static void make_folder(void)
{
    char path[128];
    snprintf(folder, sizeof folder, "/dev/shm/fuzz-jieba-%ld", (long)getpid());
    snprintf(path, sizeof path, "%s/finalseg", folder);
    if (mkdir(folder, 0700) || mkdir(path, 0700)) die("%s: no folder", path);
    for (int i = 0; i < FILES; i++) put(i, sound[i], strlen(sound[i]));
}

static void remove_folder(void)
{
    char path[128];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/finalseg", folder);
    rmdir(path);
    rmdir(folder);
}

static void check_words(const Jieba *j, bool hmm, const char *text, size_t n)
{
    Error e = {0};
    const uint32_t *ends;
    int count;
    JiebaCutter *x = jieba_cutter_open(j, hmm, &e);
    if (!x) die("no cutter: %s", e.msg);
    if (jieba_cut(x, text, n, &ends, &count, &e)) {
        for (int i = 0; i < count; i++) {
            uint32_t from = i ? ends[i - 1] : 0;
            if (ends[i] <= from || ends[i] > n) die("word %d ends at %u, begins at %u", i, ends[i], from);
            if (utf8_valid_prefix(text + from, ends[i] - from) != ends[i] - from) die("word %d is no UTF-8", i);
        }
        if ((count ? ends[count - 1] : 0) != n) die("words do not reach the end");
    } else {
        fuzz_refused(&e);
        if (utf8_valid_prefix(text, n) == n) die("refused although it is UTF-8: %s", e.msg);
    }
    jieba_cutter_close(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (!n) return 0;
    if (!*folder) {
        make_folder();
        atexit(remove_folder);
    }
    int file = *bytes++ % FILES;
    n--;
    const uint8_t *nul = n ? memchr(bytes, 0, n) : NULL;
    size_t length = nul ? (size_t)(nul - bytes) : n;
    const char *text = (const char *)(nul ? nul + 1 : bytes);
    char user[128];
    Error e = {0};
    put(file, bytes, length);
    Jieba *j = jieba_open(folder, &e);
    snprintf(user, sizeof user, "%s/user.txt", folder);
    if (!j || !jieba_add_words(j, user, &e)) fuzz_refused(&e);
    for (int hmm = 0; j && hmm < 2; hmm++) check_words(j, hmm, text, nul ? n - length - 1 : n);
    jieba_close(j);
    put(file, sound[file], strlen(sound[file]));
    return 0;
}
