/* 4-bit weights as the kernels of matmul_q read them (kernels/quant.cuh), and back: on the host, on the way to
 * the device and from it.
 *
 * q4_0's blocks of 18 bytes make every load of codes unaligned: they become a plane of codes, 16 bytes for 32
 * weights, and a plane of scales; and codes, of which a block has weight j low and weight j + 16 high in byte
 * j, are put in nf4's order, two neighbours a byte. Both ways every bit is kept; bytes stay as many.
 *
 * nf4 and fp4 stay as they are. Their rows are what the kernels want: a lane's 16 bytes are 32 neighbours,
 * eight lanes read 128 bytes in a row, and a tile's half a row of a block goes to one thread. Scales in a plane
 * are read in whole sectors too; beside their codes they would make blocks of 36 bytes, unaligned again. In the
 * order of the tensor cores' fragments, loads of 16 bytes instead of 8 could serve matmul_q_many.cu, but the
 * other kernels would then have to gather. */
#include "kernels/quant.cuh"

enum { CODES = Q4_0_BLOCK / 2, SCALE = Q4_0_BYTES - CODES };

extern "C" void quant_pack(DType dtype, int64_t n, const void *from, void *to)
{
    if (dtype != DTYPE_q4_0) host.die("cuda: no repacking of type %d", (int)dtype);
    int64_t blocks = ceil_div(n, (int64_t)Q4_0_BLOCK);
    const uint8_t *block = (const uint8_t *)from;
    uint8_t *codes = (uint8_t *)to, *scales = codes + blocks * CODES;
    for (int64_t b = 0; b < blocks; b++, block += Q4_0_BYTES, codes += CODES, scales += SCALE) {
        memcpy(scales, block, SCALE);
        for (int i = 0; i < CODES / 2; i++) {
            int even = block[SCALE + 2 * i], odd = block[SCALE + 2 * i + 1];
            codes[i] = (uint8_t)((even & 15) << 4 | (odd & 15));
            codes[i + CODES / 2] = (uint8_t)((even & 0xf0) | odd >> 4);
        }
    }
}

extern "C" void quant_unpack(DType dtype, int64_t n, const void *from, void *to)
{
    if (dtype != DTYPE_q4_0) host.die("cuda: no repacking of type %d", (int)dtype);
    int64_t blocks = ceil_div(n, (int64_t)Q4_0_BLOCK);
    uint8_t *block = (uint8_t *)to;
    const uint8_t *codes = (const uint8_t *)from, *scales = codes + blocks * CODES;
    for (int64_t b = 0; b < blocks; b++, block += Q4_0_BYTES, codes += CODES, scales += SCALE) {
        memcpy(block, scales, SCALE);
        for (int i = 0; i < CODES / 2; i++) {
            int low = codes[i], high = codes[i + CODES / 2];
            block[SCALE + 2 * i] = (uint8_t)(low >> 4 | (high & 0xf0));
            block[SCALE + 2 * i + 1] = (uint8_t)((low & 15) | (high & 15) << 4);
        }
    }
}
