/* Small sound GGUF files for make_seeds: every type of value and tensor; a tokenizer; a LLaMA of one layer. */
#ifndef TESTS_FUZZ_SEEDS_GGUF_H
#define TESTS_FUZZ_SEEDS_GGUF_H
#include "data/file.h"
#include "tokenizer/alphabet.h"
#include <stdio.h>

typedef struct GgufSeed {
    uint8_t b[16384];
    size_t n;
    uint64_t offset; /* of the next tensor's data */
} GgufSeed;

static void seed_number(GgufSeed *s, size_t size, uint64_t x)
{
    memcpy(s->b + s->n, &x, size);
    s->n += size;
}
static void seed_text(GgufSeed *s, const char *text)
{
    seed_number(s, 8, strlen(text));
    memcpy(s->b + s->n, text, strlen(text));
    s->n += strlen(text);
}
static void seed_begin(GgufSeed *s, uint64_t tensors, uint64_t keys)
{
    *s = (GgufSeed){0};
    seed_number(s, 4, 0x46554747);
    seed_number(s, 4, 3);
    seed_number(s, 8, tensors);
    seed_number(s, 8, keys);
}
/* A key of a number of so many bytes. */
static void seed_key(GgufSeed *s, const char *key, uint32_t type, size_t size, uint64_t x)
{
    seed_text(s, key);
    seed_number(s, 4, type);
    seed_number(s, size, x);
}
static void seed_string(GgufSeed *s, const char *key, const char *value)
{
    seed_text(s, key);
    seed_number(s, 4, 8);
    seed_text(s, value);
}
static void seed_list(GgufSeed *s, const char *key, uint32_t type, uint64_t n)
{
    seed_key(s, key, 9, 4, type);
    seed_number(s, 8, n);
}
/* b 0: one dim. bytes: of its data. */
static void seed_tensor(GgufSeed *s, const char *name, uint64_t a, uint64_t b, uint32_t type, uint64_t bytes)
{
    seed_text(s, name);
    seed_number(s, 4, b ? 2 : 1);
    seed_number(s, 8, a);
    if (b) seed_number(s, 8, b);
    seed_number(s, 4, type);
    seed_number(s, 8, s->offset);
    s->offset = (s->offset + bytes + 31) / 32 * 32;
}
/* With zeros as data. */
static bool seed_write(GgufSeed *s, const char *path, Error *e)
{
    size_t n = s->offset ? (s->n + 31) / 32 * 32 + s->offset : s->n;
    return file_write(path, s->b, n, e);
}

static bool seed_types(GgufSeed *s, const char *path, Error *e)
{
    static const struct {
        const char *name;
        uint32_t type, values, bytes;
    } type[] = {{"F32", 0, 2, 8},    {"F16", 1, 2, 4},       {"Q4_0", 2, 32, 18},    {"Q4_1", 3, 32, 20},
                {"Q8_0", 8, 32, 34}, {"Q4_K", 12, 256, 144}, {"Q6_K", 14, 256, 210}, {"I8", 24, 2, 2},
                {"I16", 25, 2, 4},   {"I32", 26, 2, 8},      {"I64", 27, 2, 16},     {"F64", 28, 2, 16},
                {"BF16", 30, 2, 4}};
    static const uint8_t size[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    char key[8] = "k.a";
    seed_begin(s, 13, 14);
    for (uint32_t t = 0; t < 13; t++, key[2]++)
        if (size[t]) seed_key(s, key, t, size[t], 1);
    seed_string(s, "k.text", "字");
    seed_list(s, "k.list", 4, 2);
    seed_number(s, 8, 7);
    seed_key(s, "general.alignment", 4, 4, 32);
    for (int i = 0; i < 13; i++) seed_tensor(s, type[i].name, type[i].values, 0, type[i].type, type[i].bytes);
    return seed_write(s, path, e);
}

static bool seed_tokenizer(GgufSeed *s, const char *path, Error *e)
{
    Alphabet a;
    alphabet_fill(&a);
    seed_begin(s, 0, 5);
    seed_string(s, "tokenizer.ggml.model", "gpt2");
    seed_string(s, "tokenizer.ggml.pre", "smollm");
    seed_list(s, "tokenizer.ggml.tokens", 8, 258);
    seed_text(s, "<|end|>");
    for (int i = 0; i < 256; i++) {
        char byte = (char)i, text[3] = "";
        text[alphabet_write(&a, &byte, 1, text)] = 0;
        seed_text(s, text);
    }
    seed_text(s, "th");
    seed_list(s, "tokenizer.ggml.token_type", 5, 258);
    for (int i = 0; i < 258; i++) seed_number(s, 4, i ? 1 : 3);
    seed_list(s, "tokenizer.ggml.merges", 8, 1);
    seed_text(s, "t h");
    return seed_write(s, path, e);
}

/* Width 2, one head of 2. */
static bool seed_llama(GgufSeed *s, const char *path, Error *e)
{
    static const char *const square[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                         "ffn_gate", "ffn_up", "ffn_down"};
    static const char *const norm[] = {"attn_norm", "ffn_norm"};
    char name[64];
    seed_begin(s, 11, 7);
    seed_string(s, "general.architecture", "llama");
    seed_key(s, "llama.embedding_length", 4, 4, 2);
    seed_key(s, "llama.block_count", 4, 4, 1);
    seed_key(s, "llama.feed_forward_length", 4, 4, 2);
    seed_key(s, "llama.attention.head_count", 4, 4, 1);
    seed_key(s, "llama.attention.layer_norm_rms_epsilon", 6, 4, 0x3727c5ac);
    seed_key(s, "llama.rope.freq_base", 6, 4, 0x461c4000);
    seed_tensor(s, "token_embd.weight", 2, 2, 0, 16);
    seed_tensor(s, "output_norm.weight", 2, 0, 0, 8);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "blk.0.%s.weight", square[i]);
        seed_tensor(s, name, 2, 2, 1, 8);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "blk.0.%s.weight", norm[i]);
        seed_tensor(s, name, 2, 0, 0, 8);
    }
    return seed_write(s, path, e);
}
#endif
