/* Loads and stores of every width, vectors, local arrays, constants, parameters by value, dynamic shared
 * memory. */
#include <stdint.h>

struct Shape {
    float scale;
    int at[9];
    long long far;
    unsigned char tag[3];
};

__constant__ float table[16] = {1, 2, 3, 4.5f, -1, 0, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
__constant__ short ramp[5][3] = {{1, -2, 3}, {4}, {5, 6}, {}, {7, 8, -9}};
__device__ int steps[8] = {1, -2, 3};

/* y[i] by vectors of four, its sum of bytes in z; n4 vectors */
__global__ void vectors_kernel(const float4 *x, const uchar4 *bytes, const short2 *pairs, float4 *y, int4 *z,
                               double2 *w, int n4)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n4) return;
    const float4 v = x[i];
    const uchar4 b = bytes[i];
    const short2 p = pairs[i];
    y[i] = make_float4(v.w, v.z * 2, v.y - v.x, __ldg(&x[i].x));
    z[i] = make_int4(b.x + b.y, b.z - b.w, p.x * p.y, p.x - p.y);
    w[i] = make_double2((double)v.x * v.y, (double)v.z / 3);
}

/* bytes and halves of signed and unsigned kind, unaligned for wider ones */
__global__ void narrow_kernel(const int8_t *a, const uint8_t *b, const int16_t *c, const uint16_t *d,
                              int64_t *y, int8_t *s, uint16_t *u, int n)
{
    const int i = threadIdx.x;
    if (i >= n) return;
    y[i] = (int64_t)a[i] * 1000000007 + b[i] * 3 + c[i] * 5 - d[i];
    s[i] = (int8_t)(a[i] + b[i]);
    u[i] = (uint16_t)(c[i] * d[i]);
}

/* arrays in registers' stead: indices known only here */
__global__ void local_kernel(Shape shape, const int *order, const float *x, float *y, int n)
{
    extern __shared__ __align__(16) float rows[];
    float kept[12];
    unsigned char seen[20] = {};
    const int i = threadIdx.x;
    for (int k = 0; k < 12; k++) kept[k] = x[i * 12 + k];
    for (int k = 0; k < n; k++) {
        const int from = order[k] % 12, to = (order[k] / 3 + i) % 12;
        const float v = kept[from];
        kept[from] = kept[to];
        kept[to] = v * shape.scale;
        seen[(order[k] + i) % 20]++;
    }
    float sum = 0;
    for (int k = 0; k < 12; k++) sum = sum * 1.5f + kept[k];
    for (int k = 0; k < 20; k++) sum += seen[k] * k;
    sum += shape.at[(i + n) % 9] + (float)(shape.far + i) + shape.tag[i % 3] + table[(i * 7 + n) & 15] +
           ramp[i % 5][n % 3] + steps[i & 7];
    rows[i] = sum;
    __syncthreads();
    /* generic: shared or global, as the index says */
    float *p = i % 2 ? rows + blockDim.x - 1 - i / 2 : y + blockDim.x;
    sum += *p;
    __syncthreads();
    y[i] = sum + (n > 3 ? *(order[0] > 2 ? &kept[order[1] % 12] : &rows[i]) : 0);
}

/* sums in double, and in pairs of floats; a block */
__global__ void sums_kernel(const float *x, int n, double *sum, float *pair)
{
    __shared__ double part[32];
    __shared__ float high[256], low[256];
    double s = 0;
    float h = 0, c = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        s += x[i];
        const float y = x[i], t = h + y, b = t - h;
        c += (h - (t - b)) + (y - b);
        h = t;
    }
    for (int k = 16; k > 0; k /= 2) s += __shfl_xor_sync(~0u, s, k);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = s;
    high[threadIdx.x] = h, low[threadIdx.x] = c;
    __syncthreads();
    for (int k = blockDim.x / 2; k > 0; k /= 2) {
        if (threadIdx.x < k) {
            const float a = high[threadIdx.x], b = high[threadIdx.x + k], t = a + b, z = t - a;
            low[threadIdx.x] += low[threadIdx.x + k] + ((a - (t - z)) + (b - z));
            high[threadIdx.x] = t;
        }
        __syncthreads();
    }
    if (threadIdx.x) return;
    s = 0;
    for (int k = 0; k < blockDim.x / 32; k++) s += part[k];
    *sum = s * sqrt(s * s) / fabs(s);
    pair[0] = high[0], pair[1] = low[0];
}
