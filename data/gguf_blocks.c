#include "data/gguf_blocks.h"
#include "tensor/half.h"
#include <string.h>

static float half_at(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return half_to_float(h);
}

static void q4_0(const uint8_t *b, float *x)
{
    float d = half_at(b);
    for (int j = 0; j < 16; j++) {
        x[j] = d * (float)((b[2 + j] & 15) - 8);
        x[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
    }
}

static void q4_1(const uint8_t *b, float *x)
{
    float d = half_at(b), m = half_at(b + 2);
    for (int j = 0; j < 16; j++) {
        x[j] = d * (float)(b[4 + j] & 15) + m;
        x[j + 16] = d * (float)(b[4 + j] >> 4) + m;
    }
}

static void q8_0(const uint8_t *b, float *x)
{
    float d = half_at(b);
    for (int j = 0; j < 32; j++) x[j] = d * (float)(int8_t)b[2 + j];
}

/* Of 8 sub-blocks j: for j < 4 the low six bits of s[j] and s[j+4]; above, four bits of s[j+4] each, and the
 * two bits that those six left over. */
static void q4_k_scale(const uint8_t *s, int j, int *scale, int *minimum)
{
    *scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
    *minimum = j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | s[j] >> 6 << 4;
}

static void q4_k(const uint8_t *b, float *x)
{
    float d = half_at(b), dmin = half_at(b + 2);
    for (int j = 0; j < 8; j++) {
        const uint8_t *q = b + 16 + j / 2 * 32;
        int scale, minimum, shift = j % 2 * 4;
        q4_k_scale(b + 4, j, &scale, &minimum);
        float ds = d * (float)scale, dm = dmin * (float)minimum;
        for (int i = 0; i < 32; i++) x[32 * j + i] = ds * (float)(q[i] >> shift & 15) - dm;
    }
}

static void q6_k(const uint8_t *b, float *x)
{
    const uint8_t *low = b, *high = b + 128, *scale = b + 192;
    float d = half_at(b + 208);
    for (int i = 0; i < 256; i++) {
        int half = i / 128, k = i % 128; /* two halves of 128 values in 64 low bytes and 32 high ones */
        int four = low[64 * half + k % 64] >> k / 64 * 4 & 15;
        int two = high[32 * half + k % 32] >> k / 32 * 2 & 3;
        float ds = d * (float)(int8_t)scale[i / 16];
        x[i] = ds * (float)((four | two << 4) - 32);
    }
}

void gguf_blocks_decode(StDType type, const uint8_t *raw, size_t blocks, float *x)
{
    static const struct {
        StDType type;
        void (*decode)(const uint8_t *b, float *x);
    } forms[] = {{ST_Q4_0, q4_0}, {ST_Q4_1, q4_1}, {ST_Q8_0, q8_0}, {ST_Q4_K, q4_k}, {ST_Q6_K, q6_k}};
    const size_t bytes = st_dtype_size(type), values = (size_t)st_dtype_block(type);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        if (forms[f].type != type) continue;
        for (size_t i = 0; i < blocks; i++) forms[f].decode(raw + i * bytes, x + i * values);
        return;
    }
    die("gguf_blocks_decode: type %d has no blocks", (int)type);
}
