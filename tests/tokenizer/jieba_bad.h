/* Malformed files of jieba and the exact words each must be answered with, after its path. */
#ifndef TESTS_TOKENIZER_JIEBA_BAD_H
#define TESTS_TOKENIZER_JIEBA_BAD_H
#include <stddef.h>

typedef struct BadJieba {
    const char *text; /* of the whole file */
    size_t n;
    const char *message;
} BadJieba;

#define BAD(text, why)                                                                                         \
    {                                                                                                          \
        text, sizeof(text) - 1, why                                                                            \
    }

/* dict.txt */
static const BadJieba bad_dict[] = {
    BAD("", ": no word with a frequency"),
    BAD("甲 0\n乙 0 n\n", ": no word with a frequency"),
    BAD("甲\n", ": line 1: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲 4\n\n乙 4\n", ": line 2: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲 4\n  \t\n乙 4\n", ": line 2: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲\t4\n", ": line 1: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲\u30004\n", ": line 1: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲 4\n乙4", ": line 2: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲 \n", ": line 1: expected 'WORD FREQUENCY [TAG]', found no space"),
    BAD("甲 x\n", ": line 1: expected a frequency, a number up to 1099511627776, found 'x'"),
    BAD("甲 4x n\n", ": line 1: expected a frequency, a number up to 1099511627776, found '4x'"),
    BAD("甲  4\n", ": line 1: expected a frequency, a number up to 1099511627776, found ''"),
    BAD("甲 n 4\n", ": line 1: expected a frequency, a number up to 1099511627776, found 'n'"),
    BAD("甲 -4\n", ": line 1: expected a frequency, a number up to 1099511627776, found '-4'"),
    BAD("甲 +4\n", ": line 1: expected a frequency, a number up to 1099511627776, found '+4'"),
    BAD("甲 4.0\n", ": line 1: expected a frequency, a number up to 1099511627776, found '4.0'"),
    BAD("甲 1e3\n", ": line 1: expected a frequency, a number up to 1099511627776, found '1e3'"),
    BAD("甲 1_0\n", ": line 1: expected a frequency, a number up to 1099511627776, found '1_0'"),
    BAD("甲 ４\n", ": line 1: expected a frequency, a number up to 1099511627776, found '４'"),
    BAD("甲 1099511627777\n",
        ": line 1: expected a frequency, a number up to 1099511627776, found '1099511627777'"),
    BAD("甲 18446744073709551616\n",
        ": line 1: expected a frequency, a number up to 1099511627776, found '18446744073709551616'"),
    BAD("甲 4\t n\n", ": line 1: expected a frequency, a number up to 1099511627776, found '4?'"),
    BAD("甲 4\n\xff 4\n", ": line 2: byte 6 is not UTF-8"),
    BAD("甲 4\n乙\xe5\xb7 4\n", ": line 2: byte 9 is not UTF-8"),
    BAD("甲 4 \xed\xa0\x80\n", ": line 1: byte 6 is not UTF-8"),
    BAD("\xe7\x94", ": line 1: byte 0 is not UTF-8"),
    BAD("\xbc\xd7 4\n", ": line 1: byte 0 is not UTF-8"),
    BAD("\xff\xfe"
        "2u \0"
        "4\0",
        ": line 1: byte 0 is not UTF-8"),
    BAD("\x1f\x8b\x08\0\0\0\0\0", ": line 1: byte 1 is not UTF-8"),
    BAD("P={'B': 1}\n", ": line 1: expected a frequency, a number up to 1099511627776, found '1}'"),
    BAD("<html>\n", ": line 1: expected 'WORD FREQUENCY [TAG]', found no space"),
};

/* A user dictionary. */
static const BadJieba bad_user[] = {
    BAD("甲乙 1099511627777\n",
        ": line 1: expected a frequency, a number up to 1099511627776, found '1099511627777'"),
    BAD("\n丙乙\n甲 18446744073709551616 n\n",
        ": line 3: expected a frequency, a number up to 1099511627776, found '18446744073709551616'"),
    BAD("\xff\n", ": line 1: byte 0 is not UTF-8"),
    BAD("丙乙\n \xe5\xb7\n", ": line 2: byte 8 is not UTF-8"),
    BAD("甲 3 \xc0\x80\n", ": line 1: byte 6 is not UTF-8"),
    BAD("\xb1\xfb 3\n", ": line 1: byte 0 is not UTF-8"),
};

/* Source that is no table, as finalseg/prob_start.py. */
static const BadJieba bad_source[] = {
    /* before the dict */
    BAD("", ": line 1: expected a name and '=', found the end"),
    BAD("\n\n# a comment", ": line 3: expected a name and '=', found the end"),
    BAD("{'B': 1}", ": line 1: expected a name and '=', found '{'"),
    BAD("=1", ": line 1: expected a name and '=', found '='"),
    BAD("P", ": line 1: expected '=' after the name, found the end"),
    BAD("P {}", ": line 1: expected '=' after the name, found '{'"),
    BAD("P2={}", ": line 1: expected '=' after the name, found '2'"),
    BAD("P+={}", ": line 1: expected '=' after the name, found '+'"),
    BAD("P.x={}", ": line 1: expected '=' after the name, found '.'"),
    BAD("P: dict = {}", ": line 1: expected '=' after the name, found ':'"),
    BAD("P=", ": line 1: expected '{', found the end"),
    BAD("P=[1]", ": line 1: expected '{', found '['"),
    BAD("P=('B', 1)", ": line 1: expected '{', found '('"),
    BAD("P=1.0", ": line 1: expected '{', found '1'"),
    BAD("P='x'", ": line 1: expected '{', found '''"),
    BAD("P=={}", ": line 1: expected '{', found '='"),
    BAD("P=dict(B=1)", ": line 1: expected '{', found 'd'"),
    BAD("P=\\\n{'B': 1}", ": line 1: expected '{', found '\\'"),
    BAD("import os\nP={}", ": line 1: expected '=' after the name, found 'o'"),
    BAD("from os import system\nP={}", ": line 1: expected '=' after the name, found 'o'"),
    BAD("from __future__ import x; import os\nimport os", ": line 2: expected '=' after the name, found 'o'"),
    BAD("\"\"\"doc\"\"\"\nP={}", ": line 1: expected a name and '=', found '\"'"),
    BAD("\xef\xbb\xbfP={}", ": line 1: expected a name and '=', found byte 0xEF"),
    BAD("\0P={}", ": line 1: expected a name and '=', found byte 0x00"),
    BAD("\x80\x02}q\0.", ": line 1: expected a name and '=', found byte 0x80"),
    /* keys */
    BAD("P={", ": line 1: expected a key in quotes, found the end"),
    BAD("P={\n", ": line 2: expected a key in quotes, found the end"),
    BAD("P={,}", ": line 1: expected a key in quotes, found ','"),
    BAD("P={B: 1}", ": line 1: expected a key in quotes, found 'B'"),
    BAD("P={1: 1}", ": line 1: expected a key in quotes, found '1'"),
    BAD("P={u'B': 1}", ": line 1: expected a key in quotes, found 'u'"),
    BAD("P={**x}", ": line 1: expected a key in quotes, found '*'"),
    BAD("P={{'B': 1}: 1}", ": line 1: expected a key in quotes, found '{'"),
    BAD("P={'B': 1,,}", ": line 1: expected a key in quotes, found ','"),
    BAD("P={'B", ": line 1: expected the key's closing quote, found the end"),
    BAD("P={'B\n': 1}", ": line 1: expected the key's closing quote, found the line's end"),
    BAD("P={'B\": 1}", ": line 1: expected the key's closing quote, found the end"),
    BAD("P={'B\0': 1}", ": line 1: expected the key's closing quote, found byte 0x00"),
    BAD("P={'\\", ": line 1: expected one of \\ ' \" n r t x u U after the backslash, found the end"),
    BAD("P={'\\q': 1}", ": line 1: expected one of \\ ' \" n r t x u U after the backslash, found 'q'"),
    BAD("P={'\\N{DIGIT ONE}': 1}",
        ": line 1: expected one of \\ ' \" n r t x u U after the backslash, found 'N'"),
    BAD("P={'\\0': 1}", ": line 1: expected one of \\ ' \" n r t x u U after the backslash, found '0'"),
    BAD("P={'\\\n': 1}",
        ": line 1: expected one of \\ ' \" n r t x u U after the backslash, found the line's end"),
    BAD("P={'\\u4e0': 1}", ": line 1: expected a hexadecimal digit, found '''"),
    BAD("P={'\\u4e0g': 1}", ": line 1: expected a hexadecimal digit, found 'g'"),
    BAD("P={'\\x4", ": line 1: expected a hexadecimal digit, found the end"),
    BAD("P={'\\U0001f60': 1}", ": line 1: expected a hexadecimal digit, found '''"),
    BAD("P={'\\ud800': 1}", ": line 1: U+D800 is no character of a key"),
    BAD("P={'\\udfff': 1}", ": line 1: U+DFFF is no character of a key"),
    BAD("P={'\\U00110000': 1}", ": line 1: U+110000 is no character of a key"),
    BAD("P={'\\Uffffffff': 1}", ": line 1: U+FFFFFFFF is no character of a key"),
    BAD("P={'\\u0000': 1}", ": line 1: U+0000 is no character of a key"),
    BAD("P={'\\x00': 1}", ": line 1: U+0000 is no character of a key"),
    BAD("P={'\xff': 1}", ": line 1: a key is not UTF-8"),
    BAD("P={'\xe4\xb8': 1}", ": line 1: a key is not UTF-8"),
    BAD("P={'\xed\xa0\x80': 1}", ": line 1: a key is not UTF-8"),
    BAD("P={'0123456789012345678901234567890123456789012345678901234567890123': 1}",
        ": line 1: a key is longer than 59 bytes"),
    /* values */
    BAD("P={'B' 1}", ": line 1: expected ':' after the key, found '1'"),
    BAD("P={'B'}", ": line 1: expected ':' after the key, found '}'"),
    BAD("P={'B', 'E'}", ": line 1: expected ':' after the key, found ','"),
    BAD("P={'B' 'E': 1}", ": line 1: expected ':' after the key, found '''"),
    BAD("P={'B': }", ": line 1: expected a number or '{', found '}'"),
    BAD("P={'B':", ": line 1: expected a number or '{', found the end"),
    BAD("P={'B': None}", ": line 1: expected a number or '{', found 'N'"),
    BAD("P={'B': 'x'}", ": line 1: expected a number or '{', found '''"),
    BAD("P={'B': [1]}", ": line 1: expected a number or '{', found '['"),
    BAD("P={'B': nan}", ": line 1: expected a number or '{', found 'n'"),
    BAD("P={'B': -inf}", ": line 1: expected a number or '{', found '-'"),
    BAD("P={'B': --1}", ": line 1: expected a number or '{', found '-'"),
    BAD("P={'B': .5}", ": line 1: expected a number or '{', found '.'"),
    BAD("P={'B': 5.}", ": line 1: expected a digit after the point, found '}'"),
    BAD("P={'B': 5.e1}", ": line 1: expected a digit after the point, found 'e'"),
    BAD("P={'B': 5e}", ": line 1: expected a digit of the exponent, found '}'"),
    BAD("P={'B': 5e+}", ": line 1: expected a digit of the exponent, found '}'"),
    BAD("P={'B': 1e999}", ": line 1: '1e999' is too large"),
    BAD("P={'B': -1e999}", ": line 1: '-1e999' is too large"),
    BAD("P={'B': 0x10}", ": line 1: expected ',' or '}', found 'x'"),
    BAD("P={'B': 1_0}", ": line 1: expected ',' or '}', found '_'"),
    BAD("P={'B': 1+1}", ": line 1: expected ',' or '}', found '+'"),
    BAD("P={'B': 1j}", ": line 1: expected ',' or '}', found 'j'"),
    BAD("P={'B': 1 'E': 2}", ": line 1: expected ',' or '}', found '''"),
    BAD("P={'B': 1", ": line 1: expected ',' or '}', found the end"),
    BAD("P={'B': 1]", ": line 1: expected ',' or '}', found ']'"),
    BAD("P={'B': {'a': {'b': 1}}}", ": line 1: dicts are more than two deep"),
    BAD("P={'B': {{{{{{{{{{{{{{{{{{{{{{{{", ": line 1: expected a key in quotes, found '{'"),
};

/* Each table, where it is otherwise sound. */
static const BadJieba bad_start[] = {
    BAD("P={'B': {'E': 1}}", ": line 1: expected a number for each state, found a dict"),
    BAD("P={'X': 1}", ": line 1: expected a state, B E M or S, found 'X'"),
    BAD("P={'BE': 1}", ": line 1: expected a state, B E M or S, found 'BE'"),
    BAD("P={'': 1}", ": line 1: expected a state, B E M or S, found ''"),
    BAD("P={'B': 1,\n'B': 1}", ": line 2: 'B' is given twice"),
    BAD("P={}", ": nothing for state B"),
    BAD("P={'B': 1, 'E': 1, 'S': 1}", ": nothing for state M"),
    BAD("P={'B': 1, 'E': 1, 'M': 1, 'S': 1}\nQ={}", ": line 2: expected nothing more, found 'Q'"),
    BAD("P={'B': 1, 'E': 1, 'M': 1, 'S': 1};", ": line 1: expected nothing more, found ';'"),
    BAD("P={'B': 1, 'E': 1, 'M': 1, 'S': 1}}", ": line 1: expected nothing more, found '}'"),
    BAD("P={'B': 1, 'E': 1, 'M': 1, 'S': 1}\0", ": line 1: expected nothing more, found byte 0x00"),
};
static const BadJieba bad_trans[] = {
    BAD("P={'B': 1}", ": line 1: expected a dict for each state, found a number"),
    BAD("P={'B': {'X': 1}}", ": line 1: expected a state, B E M or S, found 'X'"),
    BAD("P={'X': {'B': 1}}", ": line 1: expected a state, B E M or S, found 'X'"),
    BAD("P={'B': {'E': 1, 'E': 1}}", ": line 1: 'E' is given twice"),
    BAD("P={'B': {'E': 1}, 'B': {'E': 1}}", ": line 1: 'E' is given twice"),
    BAD("P={'B': {'E': 1}, 'E': {'B': 1}, 'M': {'E': 1}, 'S': {}}", ": nothing for state S"),
};
static const BadJieba bad_emit[] = {
    BAD("P={'\\u4e01': 1}", ": line 1: expected a dict for each state, found a number"),
    BAD("P={'Q': {'\\u4e01': 1}}", ": line 1: expected a state, B E M or S, found 'Q'"),
    BAD("P={'B': {'\\u4e01\\u4e02': 1}}", ": line 1: expected one character, found '丁丂'"),
    BAD("P={'B': {'': 1}}", ": line 1: expected one character, found ''"),
    BAD("P={'B': {'\\u4e01': 1,\n '丁': 1}}", ": line 2: '丁' is given twice"),
    BAD("P={'B': {'\\u4e01': 1}}", ": nothing for state E"),
};
#endif
