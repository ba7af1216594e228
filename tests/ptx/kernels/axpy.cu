/* The smallest kernel, and a template: the host's name of an instance must be nvcc's. */
__global__ void axpy_kernel(int n, float a, const float *x, float *y)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}

template <typename T, int N> __global__ void scale_kernel(T *x, int n)
{
    const int i = blockIdx.x * N + threadIdx.x;
    if (i < n) x[i] *= N;
}

template __global__ void scale_kernel<float, 64>(float *, int);
template __global__ void scale_kernel<int, 32>(int *, int);
