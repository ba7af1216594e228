/* Malformed tokenizer.json and tokenizer.model files and the exact words each must be answered with, after the
 * path. */
#ifndef TESTS_TOKENIZER_BPE_BAD_H
#define TESTS_TOKENIZER_BPE_BAD_H
#include <stddef.h>

/* One edit of a sound tokenizer.json (bpe_train on "abab abab"): its first `from` becomes `to`. */
typedef struct BadJson {
    const char *from, *to, *message;
} BadJson;

static const BadJson bad_json[] = {
    /* not JSON, or not an object */
    {"{", "", ":2:12: not JSON: end of file expected near ':'"},
    {"{", "[", ":2:12: not JSON: ']' expected near ':'"},
    {"{", "{{", ":1:2: not JSON: string or '}' expected near '{'"},
    {"\"version\": \"1.0\",", "\"version\": \"1.0\"", ":3:14: not JSON: '}' expected near '\"truncation\"'"},
    {"\"version\": \"1.0\"", "\"model\": 1", ":70:9: not JSON: duplicate object key near '\"model\"'"},
    {"\"1.0\"", "\"\xff\"", ":2:14: not JSON: unable to decode byte 0xff near '\"'"},
    {"\"1.0\"", "\"\\u0000\"",
     ":2:21: not JSON: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"\\u0000\"'"},
    {"\"1.0\"", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
     ": byte 78: nested deeper than 64 levels"},
    {"\"1.0\"", "1e999", ":2:18: not JSON: real number overflow near '1e999'"},
    /* the model */
    {"\"model\"", "\"modle\"", ": key \"model\" is missing (expected an object)"},
    {"\"BPE\"", "\"Unigram\"", ": model.type: expected BPE, found Unigram"},
    {"\"BPE\"", "3", ": key \"type\": expected a string, found an integer"},
    {"\"BPE\"", "null", ": key \"type\": expected a string, found null"},
    {"\"dropout\": null", "\"dropout\": 0.1", ": model.dropout is set; expected a plain byte-level BPE"},
    {"\"byte_fallback\": false", "\"byte_fallback\": true",
     ": model.byte_fallback is set; expected a plain byte-level BPE"},
    {"\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"##\"",
     ": model.continuing_subword_prefix is set; expected a plain byte-level BPE"},
    {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"",
     ": model.end_of_word_suffix is set; expected a plain byte-level BPE"},
    {"\"normalizer\": null", "\"normalizer\": {}", ": normalizer is set; expected a plain byte-level BPE"},
    {"\"truncation\": null", "\"truncation\": {\"max_length\": 2}",
     ": truncation is set; expected a plain byte-level BPE"},
    {"\"padding\": null", "\"padding\": {\"strategy\": {\"Fixed\": 9}}",
     ": padding is set; expected a plain byte-level BPE"},
    {"\"vocab\"", "\"vacob\"", ": key \"vocab\" is missing (expected an object)"},
    {"\"merges\"", "\"merge\"", ": key \"merges\" is missing (expected an array)"},
    {"\"added_tokens\"", "\"added\"", ": key \"added_tokens\" is missing (expected an array)"},
    {"\"merges\": [", "\"merges\": 7, \"x\": [", ": key \"merges\": expected an array, found an integer"},
    /* the split */
    {"\"pre_tokenizer\"", "\"pre\"", ": key \"pre_tokenizer\" is missing (expected an object)"},
    {"\"pretokenizers\"", "\"pre\"", ": key \"pretokenizers\" is missing (expected an array)"},
    {"\"Isolated\"", "\"Removed\"", ": pre_tokenizer: Split must be Isolated and not inverted, found Removed"},
    {"\"invert\": false", "\"invert\": true",
     ": pre_tokenizer: Split must be Isolated and not inverted, found Isolated"},
    {"\"behavior\"", "\"behaviour\"", ": key \"behavior\" is missing (expected a string)"},
    {"\"Split\"", "\"Digits\"", ": pre_tokenizer: expected a Split first, found Digits"},
    {"\"type\": \"Split\"", "\"type\": 1", ": key \"type\": expected a string, found an integer"},
    {"\"use_regex\": false", "\"use_regex\": true",
     ": pre_tokenizer: expected ByteLevel without prefix space and pattern second, found ByteLevel"},
    {"\"add_prefix_space\": false", "\"add_prefix_space\": true",
     ": pre_tokenizer: expected ByteLevel without prefix space and pattern second, found ByteLevel"},
    {"\"ByteLevel\"", "\"Whitespace\"",
     ": pre_tokenizer: expected ByteLevel without prefix space and pattern second, found Whitespace"},
    {"\"pretokenizers\": [", "\"pretokenizers\": [{},",
     ": pre_tokenizer: expected a Split and a ByteLevel step, found 3 steps"},
    {"\"pretokenizers\": [", "\"pretokenizers\": [], \"x\": [",
     ": pre_tokenizer: expected a Split and a ByteLevel step, found 0 steps"},
    {"\"pretokenizers\": [", "\"pretokenizers\": [1, 2], \"x\": [",
     ": pre_tokenizer: expected a Split and a ByteLevel step, found 2 steps"},
    {"\"pattern\"", "\"patern\"", ": key \"pattern\" is missing (expected an object)"},
    {"\"Regex\"", "\"String\"", ": key \"Regex\" is missing (expected a string)"},
    {"\\\\p{L}", "\\\\p{Q}", ": split pattern, character *"},
    {"(?i:", "(?i:(", ": split pattern, character *"},
    {"(?!", "(?<!a*", ": split pattern, character *"},
    {"(?i:", "*", ": split pattern, character 0: *"},
    /* the vocabulary */
    {"\"A\": 65", "\"A\": 66", ": tokens 'A' and 'B' have the same id 66"},
    {"\"A\": 65", "\"A\": 9999", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": 262", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": -1", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": 4294967361", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": 18446744073709551681",
     ":145:31: not JSON: too big integer near '18446744073709551681'"},
    {"\"A\": 65", "\"A\": 65.0", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": \"x\"", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": null", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": [65]", ": vocab entry 'A': expected an id in 0..261"},
    {"\"A\": 65", "\"A\": 261", ": tokens '<|pad|>' and 'A' have the same id 261"},
    {"\"A\": 65", "\"AA\": 65", ": no token for the single byte 0x41"},
    {"\"A\": 65", "\"左\": 65", ": token 65 '左' is not written in the byte-level alphabet"},
    {"\"A\": 65", "\" \": 65", ": token 65 ' ' is not written in the byte-level alphabet"},
    {"\"A\": 65", "\"\": 65", ": token 65 is empty"},
    {"\"A\": 65", "\"B\": 65", ":146:9: not JSON: duplicate object key near '\"B\"'"},
    {"\"A\": 65,", "", ": added token '<|pad|>': id 261 is not below 261, the number of tokens"},
    {"\"vocab\": {", "\"vocab\": {}, \"x\": {",
     ": added token '<|begin_of_text|>': id 258 is not below 4, the number of tokens"},
    /* added tokens */
    {"\"added_tokens\": [", "\"added_tokens\": [1,", ": expected an object with key \"id\", found an integer"},
    {"\"id\": 260", "\"id\": \"260\"", ": key \"id\": expected an integer, found a string"},
    {"\"id\": 260", "\"id\": 261", ": added tokens '<|eot_id|>' and '<|pad|>' have the same id 261"},
    {"\"id\": 260", "\"id\": 300", ": added token '<|eot_id|>': id 300 is not below 262, the number of tokens"},
    {"\"id\": 260", "\"id\": -1", ": added token '<|eot_id|>': id -1 is not below 262, the number of tokens"},
    {"\"id\": 260", "\"id\": 65", ": tokens '<|eot_id|>' and 'A' have the same id 65"},
    {"\"content\": \"<|eot_id|>\"", "\"content\": \"\"", ": added token 260 is empty"},
    {"\"content\": \"<|eot_id|>\"", "\"content\": 5", ": key \"content\": expected a string, found an integer"},
    {"\"content\": \"<|eot_id|>\"", "\"name\": \"x\"", ": key \"content\" is missing (expected a string)"},
    {"<|eot_id|>", "<|end_of_text|>", ": added token '<|end_of_text|>' is listed twice"},
    {"\"lstrip\": false", "\"lstrip\": true",
     ": added token '<|begin_of_text|>': single_word, lstrip or rstrip is set; expected none"},
    {"\"single_word\": false", "\"single_word\": true",
     ": added token '<|begin_of_text|>': single_word, lstrip or rstrip is set; expected none"},
    /* merges */
    {"\"a b\"", "\"a bb\"", ": merge 0: expected two tokens of the vocabulary that make a third"},
    {"\"a b\"", "\"a c\"", ": merge 0: expected two tokens of the vocabulary that make a third"},
    {"\"a b\"", "\"a 左\"", ": merge 0: expected two tokens of the vocabulary that make a third"},
    {"\"a b\"", "\" ab\"", ": merge 0: expected two tokens of the vocabulary that make a third"},
    {"\"a b\"", "\"ab \"", ": merge 0: expected two tokens of the vocabulary that make a third"},
    {"\"ab ab\"", "\"ab abab\"", ": merge 1: expected two tokens of the vocabulary that make a third"},
    {"\"a b\"", "\"ab\"", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "\"a b c\"", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "[\"a\"]", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "[\"a\",\"b\",\"c\"]", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "[\"a\",1]", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "7", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "{}", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
    {"\"a b\"", "null", ": merge 0: expected two tokens, \"a b\" or [\"a\",\"b\"]"},
};

/* One edit of a sound tokenizer.model: 258 lines, the 256 bytes in order, then "ab" and "abc"; line `line`,
 * counted from 1, with its end becomes `text`. Line 0: the whole file does. */
typedef struct BadRanks {
    int line;
    const char *text;
    size_t n;
    const char *message;
} BadRanks;

#define RANKS(line, text, why)                                                                                 \
    {                                                                                                          \
        line, text, sizeof(text) - 1, why                                                                      \
    }

static const BadRanks bad_ranks[] = {
    /* no space */
    RANKS(1, "AA==0\n", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(1, "AA==\n", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(1, "AA==\t0\n", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(1, "AA==\u00a00\n", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(2, "\n", ": line 2: expected 'BASE64 RANK', found no space"),
    RANKS(2, "\r\n", ": line 2: expected 'BASE64 RANK', found no space"),
    RANKS(258, "YWJj 257\n\n", ": line 259: expected 'BASE64 RANK', found no space"),
    RANKS(258, "YWJj", ": line 258: expected 'BASE64 RANK', found no space"),
    RANKS(66, "QQ\n== 65\n", ": line 66: expected 'BASE64 RANK', found no space"),
    /* tokens */
    RANKS(258,
          "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
          "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
          "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
          "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
          "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
          "QUE= 257\n",
          ": line 258: a token of 257 bytes, expected at most 256"),
    /* ranks */
    RANKS(1, "AA== \n", ": line 1: expected a rank in 0..257, found ''"),
    RANKS(1, "AA== x\n", ": line 1: expected a rank in 0..257, found 'x'"),
    RANKS(1, "AA== -0\n", ": line 1: expected a rank in 0..257, found '-0'"),
    RANKS(1, "AA== +0\n", ": line 1: expected a rank in 0..257, found '+0'"),
    RANKS(1, "AA== 00\n", ": line 1: expected a rank in 0..257, found '00'"),
    RANKS(1, "AA== 0x0\n", ": line 1: expected a rank in 0..257, found '0x0'"),
    RANKS(1, "AA== 0 \n", ": line 1: expected a rank in 0..257, found '0 '"),
    RANKS(1, "AA==  0\n", ": line 1: expected a rank in 0..257, found ' 0'"),
    RANKS(1, "AA== 0 0\n", ": line 1: expected a rank in 0..257, found '0 0'"),
    RANKS(1, "AA== 0\r\n", ": line 1: expected a rank in 0..257, found '0?'"),
    RANKS(1, "AA== 0.0\n", ": line 1: expected a rank in 0..257, found '0.0'"),
    RANKS(1, "AA== 1e1\n", ": line 1: expected a rank in 0..257, found '1e1'"),
    RANKS(1, "AA== ０\n", ": line 1: expected a rank in 0..257, found '０'"),
    RANKS(1, "AA== 258\n", ": line 1: expected a rank in 0..257, found '258'"),
    RANKS(1, "AA== 2147483648\n", ": line 1: expected a rank in 0..257, found '2147483648'"),
    RANKS(1, "AA== 4294967296\n", ": line 1: expected a rank in 0..257, found '4294967296'"),
    RANKS(1, "AA== 18446744073709551616\n",
          ": line 1: expected a rank in 0..257, found '18446744073709551616'"),
    RANKS(1, "AA== 99999999999999999999999999999999999999999999\n",
          ": line 1: expected a rank in 0..257, found '9999999999999999999999999999999999999999'"),
    RANKS(258, "YWJj 2", ": line 258: rank 2 is taken by a line before it"),
    RANKS(1, "", ": line 257: expected a rank in 0..256, found '257'"),
    RANKS(1, "AA== 1\n", ": line 2: rank 1 is taken by a line before it"),
    RANKS(2, "AA== 0\n", ": line 2: rank 0 is taken by a line before it"),
    RANKS(1, "AA== 0\nAA== 0\n", ": line 2: rank 0 is taken by a line before it"),
    /* base64 */
    RANKS(1, " 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "A 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AA 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AA= 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AA=== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "A=== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "==== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "=AA= 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AA=A 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AA==AA== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AB== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "AP== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(258, "YWB= 257\n", ": line 258: its first word is not base64 of a token"),
    RANKS(1, "A-== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "A_== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "!!!! 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "A\0== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "A\xff== 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "左A 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(1, "<0x00> 0\n", ": line 1: its first word is not base64 of a token"),
    RANKS(2,
          "\xef\xbb\xbf"
          "AQ== 1\n",
          ": line 2: its first word is not base64 of a token"),
    /* tokens */
    RANKS(258, "AA== 257\n", ": tokens 0 and 257 are the same bytes"),
    RANKS(258, "YWI= 257\n", ": tokens 256 and 257 are the same bytes"),
    RANKS(1, "//8= 0\n", ": no token for the single byte 0x00"),
    RANKS(66, "QUFB 65\n", ": no token for the single byte 0x41"),
    RANKS(256, "/////w== 255\n", ": no token for the single byte 0xFF"),
    /* other files */
    RANKS(0, "AA== 0\nAQ== 1\n", ": 2 ranks, expected at least 256"),
    RANKS(0, "AA== 0", ": 1 ranks, expected at least 256"),
    RANKS(0,
          "\xef\xbb\xbf"
          "AA== 0\n",
          ": line 1: its first word is not base64 of a token"),
    RANKS(0,
          "A\0A\0=\0=\0 \0"
          "0\0\n\0",
          ": line 1: expected a rank in 0..1, found ''"),
    RANKS(0, "\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(0, "\x1f\x8b\x08\0\0\0\0\0", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(0, "PK\x03\x04\x14\0\0\0", ": line 1: expected 'BASE64 RANK', found no space"),
    RANKS(0, "<!DOCTYPE html>\n", ": line 1: expected a rank in 0..0, found 'html>'"),
    RANKS(0, "version 1\noid 2\n", ": line 1: its first word is not base64 of a token"),
    RANKS(0, "", ":1:0: not JSON: unexpected token near end of file"),
    RANKS(0, " \n", ":2:0: not JSON: unexpected token near end of file"),
};
#endif
