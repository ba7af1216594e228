/* A jieba folder of a few words, sound. */
#ifndef TESTS_TOKENIZER_JIEBA_SMALL_H
#define TESTS_TOKENIZER_JIEBA_SMALL_H
#include "data/file.h"
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The sum is 16: 甲 and 乙 together are exactly as probable as 甲乙. */
#define SMALL_DICT  "甲 4 n\n乙 4\n甲乙 1 nz\n丙 7 x\n"
#define SMALL_START "P={'B': -0.25,\n 'E': -3.14e+100,\n 'M': -3.14e+100,\n 'S': -1.5}\n"
#define SMALL_TRANS                                                                                            \
    "P={'B': {'E': -0.5, 'M': -1.0},\n 'E': {'B': -0.5, 'S': -1.0},\n 'M': {'E': -0.25, 'M': -1.25},\n 'S': "  \
    "{'B': -0.75, 'S': -0.75}}\n"
#define SMALL_EMIT                                                                                             \
    "from __future__ import unicode_literals\n\nP={'B': {'\\u4e01': -1.0, '\\u4e02': -9.0},\n 'E': "           \
    "{'\\u4e02': -1.0},\n 'M': {'\\u4e02': -8.0},\n 'S': {'\\u4e03': -2.0}}\n"

enum { SMALL_FILES = 4 };
static const char *const small_name[SMALL_FILES] = {"dict.txt", "finalseg/prob_start.py",
                                                    "finalseg/prob_trans.py", "finalseg/prob_emit.py"};
static const char *const small_text[SMALL_FILES] = {SMALL_DICT, SMALL_START, SMALL_TRANS, SMALL_EMIT};

/* Not crash-safe: the tests write thousands. */
static inline void small_put(const char *folder, const char *name, const char *text, size_t n)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_msg(f && fwrite(text, 1, n, f) == n && !fclose(f), "%s", path);
}

static inline void small_make(const char *folder)
{
    char path[512];
    Error e = {0};
    snprintf(path, sizeof path, "%s/finalseg", folder);
    ck_assert_msg(file_make_folder(path, &e), "%s", e.msg);
    for (int i = 0; i < SMALL_FILES; i++)
        small_put(folder, small_name[i], small_text[i], strlen(small_text[i]));
}

static inline void small_remove(const char *folder)
{
    char path[512];
    for (int i = 0; i < SMALL_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, small_name[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/finalseg", folder);
    rmdir(path);
    rmdir(folder);
}
#endif
