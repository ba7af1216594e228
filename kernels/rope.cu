/* The pair (x[j], x[j+D/2]) turned by angle = position * theta^(-2j/D); backward by the opposite angle, added.
 *
 * Mapping: a block takes the heads of one token; a thread two neighbouring pairs (one where D/2 is odd), whose
 * sines and cosines it computes once, and every so many-th head; threads of a warp have neighbouring pairs, so
 * that it moves whole lines of bf16 too. The frequencies come from the host in the kernel's parameters: angles
 * of far positions need the very f32 that the CPU has.
 *
 * Bytes: 8 an element (bf16 4), backward 12. Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/elements.cuh"
#include <math.h>

enum { ROPE_THREADS = 256, ROPE_PAIRS = 256 /* a launch */ };

struct RopeFrequencies {
    float of[ROPE_PAIRS];
};

/* Pairs first..first+pairs-1 of each head, V neighbours a thread; block (pairs/V or fewer, heads at a time). */
template <int V, bool backward, class T>
__global__ void __launch_bounds__(ROPE_THREADS)
    rope_kernel(const T *__restrict__ x, const int *__restrict__ position, T *__restrict__ y,
                const __grid_constant__ RopeFrequencies frequency, int first, int pairs, int H, int D)
{
    const float p = (float)position[blockIdx.x];
    const int64_t token = (int64_t)blockIdx.x * H * D;
    for (int j = (int)threadIdx.x * V; j < pairs; j += (int)blockDim.x * V) {
        float s[V], c[V];
#pragma unroll
        for (int i = 0; i < V; i++) {
            sincosf(__fmul_rn(p, frequency.of[j + i]), s + i, c + i);
            if (backward) s[i] = -s[i];
        }
#pragma unroll 4
        for (int h = (int)threadIdx.y; h < H; h += (int)blockDim.y) {
            const int64_t at = token + (int64_t)h * D + first + j;
            const Pack<V> a = load_f32<V>(x + at), b = load_f32<V>(x + at + D / 2);
            Pack<V> ya = {}, yb = {};
            if (backward) ya = load_f32<V>(y + at), yb = load_f32<V>(y + at + D / 2);
#pragma unroll
            for (int i = 0; i < V; i++) {
                ya.v[i] += a.v[i] * c[i] - b.v[i] * s[i];
                yb.v[i] += b.v[i] * c[i] + a.v[i] * s[i];
            }
            store(y + at, ya);
            store(y + at + D / 2, yb);
        }
    }
}

template <int V, bool backward, class T> static void turn(const Node *n, const T *x, T *y)
{
    const int H = (int)n->in[0]->dim[2], D = (int)n->in[0]->dim[3];
    const float theta = NODE_AS(RopeParams, n)->theta;
    for (int first = 0; first < D / 2; first += ROPE_PAIRS) {
        const int pairs = D / 2 - first < ROPE_PAIRS ? D / 2 - first : ROPE_PAIRS;
        unsigned across = 32 / V;
        while ((int)across * V < pairs) across *= 2;
        RopeFrequencies f = {};
        for (int j = 0; j < pairs; j++) f.of[j] = 1 / powf(theta, (float)(2 * (first + j)) / (float)D);
        KERNEL_LAUNCH((rope_kernel<V, backward, T>), (unsigned)tensor_len(n->in[1]),
                      dim3(across, ROPE_THREADS / across), 0, x, (const int *)n->in[1]->data, y, f, first,
                      pairs, H, D);
    }
}
template <bool backward, class T> static void turn(const Node *n, const T *x, T *y)
{
    (n->in[0]->dim[3] % 4 == 0 ? turn<2, backward, T> : turn<1, backward, T>)(n, x, y);
}

extern "C" void rope_forward_cuda(Tape *, Node *n)
{
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        turn<false>(n, elements<T>((const Tensor *)n->in[0]), elements<T>(n->out));
    });
}

extern "C" void rope_backward_cuda(Tape *, Node *n)
{
    if (n->in[0]->grad) turn<true>(n, (const float *)f32(n->out->grad), f32(n->in[0]->grad));
}
