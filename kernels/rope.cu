/* The pair (x[j], x[j+D/2]) turned by angle = position * theta^(-2j/D); backward by the opposite angle, added.
 *
 * Mapping: a block takes the heads of one token; a thread one pair, whose sine and cosine it computes once, and
 * every so many-th head; threads of a warp have neighbouring pairs. The frequencies come from the host in the
 * kernel's parameters: angles of far positions need the very f32 that the CPU has.
 *
 * Bytes: 8 an element, backward 12. Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include <math.h>

enum { ROPE_THREADS = 256, ROPE_PAIRS = 256 /* a launch */ };

struct RopeFrequencies {
    float of[ROPE_PAIRS];
};

/* Pairs first..first+pairs-1 of each head; block (pairs or fewer, heads at a time). */
template <bool backward>
__global__ void __launch_bounds__(ROPE_THREADS)
    rope_kernel(const float *__restrict__ x, const int *__restrict__ position, float *__restrict__ y,
                const __grid_constant__ RopeFrequencies frequency, int first, int pairs, int H, int D)
{
    const float p = (float)position[blockIdx.x];
    const int64_t token = (int64_t)blockIdx.x * H * D;
    for (int j = (int)threadIdx.x; j < pairs; j += (int)blockDim.x) {
        float s, c;
        sincosf(__fmul_rn(p, frequency.of[j]), &s, &c);
        if (backward) s = -s;
#pragma unroll 4
        for (int h = (int)threadIdx.y; h < H; h += (int)blockDim.y) {
            const int64_t at = token + (int64_t)h * D + first + j;
            const float a = x[at], b = x[at + D / 2];
            y[at] = (backward ? y[at] : 0) + (a * c - b * s);
            y[at + D / 2] = (backward ? y[at + D / 2] : 0) + (b * c + a * s);
        }
    }
}

template <bool backward> static void turn(const Node *n, const float *x, float *y)
{
    const int H = (int)n->in[0]->dim[2], D = (int)n->in[0]->dim[3];
    const float theta = NODE_AS(RopeParams, n)->theta;
    for (int first = 0; first < D / 2; first += ROPE_PAIRS) {
        const int pairs = D / 2 - first < ROPE_PAIRS ? D / 2 - first : ROPE_PAIRS;
        unsigned across = 32;
        while ((int)across < pairs) across *= 2;
        RopeFrequencies f = {};
        for (int j = 0; j < pairs; j++) f.of[j] = 1 / powf(theta, (float)(2 * (first + j)) / (float)D);
        KERNEL_LAUNCH((rope_kernel<backward>), (unsigned)tensor_len(n->in[1]),
                      dim3(across, ROPE_THREADS / across), 0, x, (const int *)n->in[1]->data, y, f, first,
                      pairs, H, D);
    }
}

extern "C" void rope_forward_cuda(Tape *, Node *n) { turn<false>(n, f32(n->in[0]), f32(n->out)); }

extern "C" void rope_backward_cuda(Tape *, Node *n)
{
    if (n->in[0]->grad) turn<true>(n, f32(n->out->grad), f32(n->in[0]->grad));
}
