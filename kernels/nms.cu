/* Greedy suppression, as in nms.c.
 *
 * Mapping: first which pairs overlap, a bit a pair, a block 64 x 64 pairs, a thread a box and a word; then one
 * block goes through the boxes 64 at a time: one thread settles those among themselves by the words of the
 * diagonal, and all threads note whom the kept ones strike out of the rest. Bytes: n^2/8 written, of kept boxes
 * read again. Floor: n^2/2 pairs of some 14 operations, 2 us for 4,096 boxes; the second kernel is one block's
 * latency, n/64 rounds of some 2 us each. Log: never timed on a GPU. */
#include "kernels/elements.cuh"

enum { NMS_TILE = 64, NMS_THREADS = 256 };
typedef unsigned long long NmsWord; /* a bit for each box of a tile */

struct NmsBox {
    float x0, y0, x1, y1, area;

    __device__ void read(const float *b)
    {
        x0 = b[0];
        y0 = b[1];
        x1 = b[2];
        y1 = b[3];
        area = __fmul_rn(x1 - x0, y1 - y0);
    }
};

/* Comparisons as in nms.c. */
static inline __device__ float smaller(float a, float b) { return a < b ? a : b; }
static inline __device__ float larger(float a, float b) { return a > b ? a : b; }

static inline __device__ bool overlaps(const NmsBox &a, const NmsBox &b, float bar)
{
    float w = larger(smaller(a.x1, b.x1) - larger(a.x0, b.x0), 0),
          h = larger(smaller(a.y1, b.y1) - larger(a.y0, b.y0), 0);
    float both = __fmul_rn(w, h);
    return both / (a.area + b.area - both) > bar;
}

__global__ void __launch_bounds__(NMS_TILE)
    nms_overlap_kernel(NmsWord *__restrict__ word, const float *__restrict__ box, int n, float bar)
{
    SHARED_ARRAY(NmsBox, later, [NMS_TILE]);
    int tile = (int)blockIdx.x, i = (int)(blockIdx.y * NMS_TILE + threadIdx.x), from = tile * NMS_TILE;
    if (tile < (int)blockIdx.y) return;
    if (from + (int)threadIdx.x < n) later[threadIdx.x].read(box + 4 * (int64_t)(from + (int)threadIdx.x));
    __syncthreads();
    if (i >= n) return;
    NmsBox own;
    own.read(box + 4 * (int64_t)i);
    NmsWord bits = 0;
    for (int k = 0; k < NMS_TILE && from + k < n; k++)
        if (from + k > i && overlaps(own, later[k], bar)) bits |= (NmsWord)1 << k;
    word[(int64_t)i * (int)gridDim.x + tile] = bits;
}

/* One block. */
__global__ void __launch_bounds__(NMS_THREADS)
    nms_keep_kernel(int *__restrict__ keep, const NmsWord *__restrict__ word, int n, int words)
{
    DYN_SHARED(NmsWord, out); /* [words]: struck out */
    SHARED_ARRAY(NmsWord, kept, );
    for (int w = (int)threadIdx.x; w < words; w += NMS_THREADS) out[w] = 0;
    __syncthreads();
    for (int tile = 0; tile < words; tile++) {
        int from = tile * NMS_TILE, count = min((int)NMS_TILE, n - from);
        if (threadIdx.x == 0) {
            NmsWord gone = out[tile], stay = 0;
            for (int k = 0; k < count; k++) {
                if (gone >> k & 1) continue;
                stay |= (NmsWord)1 << k;
                gone |= word[(int64_t)(from + k) * words + tile];
            }
            kept = stay;
        }
        __syncthreads();
        NmsWord stay = kept;
        if ((int)threadIdx.x < count) keep[from + (int)threadIdx.x] = (int)(stay >> threadIdx.x & 1);
        for (int w = tile + 1 + (int)threadIdx.x; w < words; w += NMS_THREADS)
            for (int k = 0; k < count; k++)
                if (stay >> k & 1) out[w] |= word[(int64_t)(from + k) * words + w];
        __syncthreads();
    }
}

extern "C" void nms_forward_cuda(Tape *t, Node *n)
{
    int N = (int)n->in[0]->dim[0], words = ceil_div(N, (int)NMS_TILE);
    size_t bytes = (size_t)words * sizeof(NmsWord);
    NmsWord *word = (NmsWord *)scratch(t, (size_t)N * bytes);
    ALLOW_DYN_SHARED(nms_keep_kernel, bytes);
    KERNEL_LAUNCH(nms_overlap_kernel, dim3(words, words), NMS_TILE, 0, word, f32(n->in[0]), N,
                  nms_bar(NODE_AS(NmsParams, n)->threshold));
    KERNEL_LAUNCH(nms_keep_kernel, 1, NMS_THREADS, bytes, (int *)n->out->data, word, N, words);
}
