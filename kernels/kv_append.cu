/* The key/value cache's new rows: cache[b, position[b] + i] = x[b, i], in place, whatever their type. A
 * position past the end is a fault, and nothing of that sequence is written.
 *
 * Mapping: columns.cuh, a sequence an image, rows of heads times head dim; a thread takes a word, the longest
 * of which every row is a multiple. Bytes: 8 an element of x (bf16 4). Floor: a launch (8B, a token of each of
 * 8 sequences: 64 KB). Log: never timed on a GPU. */
#include "kernels/columns.cuh"

/* C: words of a row. */
template <class Word>
__global__ void __launch_bounds__(256)
    kv_append_forward_kernel(Word *__restrict__ cache, const Word *__restrict__ x,
                             const int *__restrict__ position, int64_t B, int64_t T, int64_t S, int64_t C,
                             CudaFault *fault, int op)
{
    int64_t c = first_column<1>();
    if (c >= C) return;
    for (int64_t b = blockIdx.z; b < B; b += gridDim.z) {
        int at = position[b];
        if (!in_range(fault, op, at, (int)(S - T + 1))) continue;
        for (int64_t i = first_row(); i < T; i += row_step())
            cache[(b * S + at + i) * C + c] = x[(b * T + i) * C + c];
    }
}

/* Whether rows of this many bytes, in the cache and in x, are whole words. */
template <class Word> static bool words(const Node *n, size_t row)
{
    return ((uintptr_t)n->in[0]->data | (uintptr_t)n->in[1]->data | row) % sizeof(Word) == 0;
}

template <class Word> static void append(const Node *n, size_t row)
{
    const Tensor *x = n->in[1];
    int64_t B = x->dim[0], T = x->dim[1], S = n->in[0]->dim[1], C = (int64_t)(row / sizeof(Word));
    RowGrid at = row_grid(B, T, C);
    KERNEL_LAUNCH((kv_append_forward_kernel<Word>), at.grid, at.block, 0, (Word *)n->in[0]->data,
                  (const Word *)x->data, (const int *)n->in[2]->data, B, T, S, C, cuda_fault, n->op->id);
}

extern "C" void kv_append_forward_cuda(Tape *, Node *n)
{
    const Tensor *x = n->in[1];
    size_t row = (size_t)(x->dim[2] * x->dim[3]) * (x->dtype == DTYPE_f32 ? sizeof(float) : sizeof(Bf16));
    (words<uint4>(n, row)      ? append<uint4>
     : words<unsigned>(n, row) ? append<unsigned>
                               : append<uint16_t>)(n, row);
}
