/* The key/value cache's new rows: cache[b, position[b] + i] = x[b, i], in place. A position past the end is a
 * fault, and nothing of that sequence is written.
 *
 * Mapping: columns.cuh, a sequence an image, rows of heads times head dim. Bytes: 8 an element of x. Floor: a
 * launch (8B, a token of each of 8 sequences: 64 KB). Log: never timed on a GPU. */
#include "kernels/columns.cuh"

template <int V>
__global__ void __launch_bounds__(256)
    kv_append_forward_kernel(float *__restrict__ cache, const float *__restrict__ x,
                             const int *__restrict__ position, int64_t B, int64_t T, int64_t S, int64_t C,
                             CudaFault *fault, int op)
{
    int64_t c = first_column<V>();
    if (c >= C) return;
    for (int64_t b = blockIdx.z; b < B; b += gridDim.z) {
        int at = position[b];
        if (!in_range(fault, op, at, (int)(S - T + 1))) continue;
        for (int64_t i = first_row(); i < T; i += row_step())
            store(cache + (b * S + at + i) * C + c, load<V>(x + (b * T + i) * C + c));
    }
}

extern "C" void kv_append_forward_cuda(Tape *, Node *n)
{
    const Tensor *cache = n->in[0], *in = n->in[1];
    const float *x = f32(in);
    const int *position = (const int *)n->in[2]->data;
    float *to = f32(n->in[0]);
    int64_t B = in->dim[0], T = in->dim[1], S = cache->dim[1], C = in->dim[2] * in->dim[3];
    LAUNCH_COLUMNS(kv_append_forward_kernel, wide_rows(C, to, x), B, T, C, to, x, position, B, T, S, C,
                   cuda_fault, n->op->id);
}
