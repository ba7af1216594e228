/* Every expression of approx.def: out[case][input]. */
__global__ void approx_kernel(const float *in, int n, float *out)
{
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= n) return;
    const float x = in[k], y = in[(k + 1) % n];
    int row = 0;
#define CASE(name, device, host, tolerance) out[(size_t)row++ * n + k] = (float)(device);
#include "tests/ptx/kernels/approx.def"
}
