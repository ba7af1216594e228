/* Malformed vocab.txt files and the exact words each must be answered with, after the path. */
#ifndef TESTS_TOKENIZER_WORDPIECE_BAD_H
#define TESTS_TOKENIZER_WORDPIECE_BAD_H
#include <stddef.h>

typedef struct BadVocabulary {
    const char *text;
    size_t n;
    const char *message;
} BadVocabulary;

#define FIVE "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" /* 31 bytes */
#define BAD(text, why)                                                                                         \
    {                                                                                                          \
        text, sizeof(text) - 1, why                                                                            \
    }

static const BadVocabulary bad_vocabularies[] = {
    /* lines without a token */
    BAD("\n" FIVE, ": line 1: expected a token, found none"),
    BAD("\n", ": line 1: expected a token, found none"),
    BAD(" ", ": line 1: expected a token, found none"),
    BAD("\r\n" FIVE, ": line 1: expected a token, found none"),
    BAD("[PAD]\n\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", ": line 2: expected a token, found none"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\n\t\n[MASK]\n", ": line 5: expected a token, found none"),
    BAD(FIVE "\n", ": line 6: expected a token, found none"),
    BAD(FIVE "a\n\nb\n", ": line 7: expected a token, found none"),
    BAD(FIVE "a\n  \nb\n", ": line 7: expected a token, found none"),
    BAD(FIVE "a\n\r\nb\n", ": line 7: expected a token, found none"),
    BAD(FIVE "a\n \t\r\n", ": line 7: expected a token, found none"),
    BAD(FIVE "  ", ": line 6: expected a token, found none"),
    BAD(FIVE "a\n\r", ": line 7: expected a token, found none"),
    /* tokens twice */
    BAD(FIVE "a\nb\na\n", ": line 8: the token 'a' is that of line 6 too"),
    BAD(FIVE "a\na", ": line 7: the token 'a' is that of line 6 too"),
    BAD(FIVE "a\r\na\n", ": line 7: the token 'a' is that of line 6 too"),
    BAD(FIVE "a\na \t\n", ": line 7: the token 'a' is that of line 6 too"),
    BAD(FIVE "##s\n##s\n", ": line 7: the token '##s' is that of line 6 too"),
    BAD(FIVE "左\n右\n左\n", ": line 8: the token '左' is that of line 6 too"),
    BAD(FIVE "[PAD]\n", ": line 6: the token '[PAD]' is that of line 1 too"),
    BAD(FIVE "[UNK]\n", ": line 6: the token '[UNK]' is that of line 2 too"),
    BAD(FIVE "[CLS]\n", ": line 6: the token '[CLS]' is that of line 3 too"),
    BAD(FIVE "[SEP]\n", ": line 6: the token '[SEP]' is that of line 4 too"),
    BAD(FIVE "[MASK]\n", ": line 6: the token '[MASK]' is that of line 5 too"),
    BAD(FIVE FIVE, ": line 6: the token '[PAD]' is that of line 1 too"),
    BAD(FIVE "0123456789012345678901234567890123456789012345678901234567890123456789\n"
             "0123456789012345678901234567890123456789012345678901234567890123456789\n",
        ": line 7: the token '012345678901234567890123456789012345678901234567890123456789' is that of line 6 "
        "too"),
    BAD(FIVE "a\x1b[2J\na\x1b[2J\n", ": line 7: the token 'a?[2J' is that of line 6 too"),
    /* no UTF-8 */
    BAD("\xff" FIVE, ": byte 0 is not UTF-8"),
    BAD(FIVE "a\n\xff\n", ": byte 33 is not UTF-8"),
    BAD(FIVE "\xfe\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "a\xbf\n", ": byte 32 is not UTF-8"),
    BAD(FIVE "\xc0\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xc1\xbf\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xe0\x80\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xe0\x9f\xbf\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xed\xa0\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xed\xbf\xbf\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xf0\x80\x80\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xf0\x8f\xbf\xbf\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xf4\x90\x80\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xf5\x80\x80\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xf8\x88\x80\x80\x80\n", ": byte 31 is not UTF-8"),
    BAD(FIVE "a\n\xe5\xb7\n", ": byte 33 is not UTF-8"),
    BAD(FIVE "左\xe5\xb7", ": byte 34 is not UTF-8"),
    BAD(FIVE "\xc3", ": byte 31 is not UTF-8"),
    BAD(FIVE "\xf0\x9f\xa7", ": byte 31 is not UTF-8"),
    BAD(FIVE "caf\xe9\n", ": byte 34 is not UTF-8"),
    BAD("\xff\xfe[\0P\0A\0D\0]\0\n\0", ": byte 0 is not UTF-8"),
    BAD("\x1f\x8b\x08\0\0\0\0\0", ": byte 1 is not UTF-8"),
    /* NUL */
    BAD("\0" FIVE, ": byte 0 is NUL"),
    BAD("[PA\0D]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", ": byte 3 is NUL"),
    BAD(FIVE "a\0\n", ": byte 32 is NUL"),
    BAD(FIVE "a\n\0", ": byte 33 is NUL"),
    BAD(FIVE "\0\0\0\0", ": byte 31 is NUL"),
    /* one of the five is missing */
    BAD("", ": no [PAD] among 0 tokens"),
    BAD("[UNK]\n[CLS]\n[SEP]\n[MASK]\n", ": no [PAD] among 4 tokens"),
    BAD("[PAD]\n[CLS]\n[SEP]\n[MASK]\n", ": no [UNK] among 4 tokens"),
    BAD("[PAD]\n[UNK]\n[SEP]\n[MASK]\n", ": no [CLS] among 4 tokens"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[MASK]\n", ": no [SEP] among 4 tokens"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", ": no [MASK] among 4 tokens"),
    BAD("[pad]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", ": no [PAD] among 5 tokens"),
    BAD("PAD\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", ": no [PAD] among 5 tokens"),
    BAD("\xef\xbb\xbf" FIVE, ": no [PAD] among 5 tokens"),
    BAD(" [PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n", ": no [PAD] among 5 tokens"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\u00a0\n[MASK]\n", ": no [SEP] among 5 tokens"),
    BAD("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]x\n", ": no [MASK] among 5 tokens"),
    BAD("[PAD] [UNK] [CLS] [SEP] [MASK]\n", ": no [PAD] among 1 tokens"),
    BAD("[PAD]\r[UNK]\r[CLS]\r[SEP]\r[MASK]\r", ": no [PAD] among 1 tokens"),
    BAD("{\"model\":{\"vocab\":{}}}", ": no [PAD] among 1 tokens"),
    BAD("<s>\n</s>\n<unk>\n", ": no [PAD] among 3 tokens"),
};
#endif
