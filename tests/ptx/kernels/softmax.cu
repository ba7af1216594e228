/* A block a row: maximum and sum by shuffles within warps and shared memory between them. */
template <int THREADS> __global__ void softmax_kernel(const float *x, float *y, int C)
{
    __shared__ float part[THREADS / 32];
    const float *row = x + (size_t)blockIdx.x * C;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float top = -INFINITY, sum = 0;
    for (int c = threadIdx.x; c < C; c += THREADS) top = fmaxf(top, row[c]);
    for (int k = 16; k > 0; k /= 2) top = fmaxf(top, __shfl_xor_sync(~0u, top, k));
    if (lane == 0) part[warp] = top;
    __syncthreads();
    for (int k = 0; k < THREADS / 32; k++) top = fmaxf(top, part[k]);
    __syncthreads();
    for (int c = threadIdx.x; c < C; c += THREADS) sum += __expf(row[c] - top);
    for (int k = 16; k > 0; k /= 2) sum += __shfl_down_sync(~0u, sum, k);
    if (lane == 0) part[warp] = sum;
    __syncthreads();
    sum = 0;
    for (int k = 0; k < THREADS / 32; k++) sum += part[k];
    for (int c = threadIdx.x; c < C; c += THREADS) y[(size_t)blockIdx.x * C + c] = __expf(row[c] - top) / sum;
}

template __global__ void softmax_kernel<128>(const float *, float *, int);
template __global__ void softmax_kernel<32>(const float *, float *, int);
