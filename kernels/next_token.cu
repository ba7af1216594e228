/* What lies between two decode steps: the chosen ids are kept, rows end, positions and the step go on. A step
 * past the end of out is a fault and changes nothing.
 *
 * Mapping: one block, a thread a row: batches are small, and the step may go up only when all have read it.
 * Bytes: 40 a row. Floor: a launch. Log: never timed on a GPU. */
#include "kernels/cuda.cuh"

template <int threads>
__global__ void __launch_bounds__(threads)
    next_token_kernel(int *__restrict__ out, int *__restrict__ token, int *__restrict__ place,
                      int *__restrict__ draw, const int *__restrict__ id, const int *__restrict__ stop, int M,
                      int B, int n_stop, CudaFault *fault, int op)
{
    const int step = draw[0];
    if (step < 0 || step >= M) {
        if (threadIdx.x == 0) in_range(fault, op, step, M);
        return;
    }
    int *now = out + (int64_t)step * B;
    for (int b = (int)threadIdx.x; b < B; b += threads) {
        const int chosen = id[b];
        bool ended = step > 0 && now[b - B] < 0;
        for (int i = 0; i < n_stop; i++) ended |= chosen == stop[i];
        now[b] = ended ? -1 : chosen;
        token[b] = chosen;
        place[b]++;
        place[B + b]++;
    }
    __syncthreads();
    if (threadIdx.x == 0) draw[0] = step + 1;
}

extern "C" void next_token_forward_cuda(Tape *, Node *n)
{
    int *at[4];
    for (int i = 0; i < 4; i++) at[i] = (int *)n->in[i]->data;
    const int *id = (const int *)n->in[4]->data, *stop = n->in[5] ? (const int *)n->in[5]->data : NULL;
    KERNEL_LAUNCH((next_token_kernel<256>), 1, 256, 0, at[0], at[1], at[2], at[3], id, stop,
                  (int)n->in[0]->dim[0], (int)n->in[0]->dim[1], stop ? (int)tensor_len(n->in[5]) : 0,
                  cuda_fault, n->op->id);
}
