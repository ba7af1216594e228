/* Resizing images x (N,H,W,C) -> (N,h,w,C) by PyTorch's rules, as in resize.c.
 * Nearest: input min(floor(i * scale), in-1), scale rounded to f32 and the product too.
 * Bilinear: output i lies at s = ((2i+1) in - out) / (2 out), held within 0 .. in-1, and input at has the share
 * max(0, 1 - |s - at|): all in whole numbers of 1/(2 out), so exact up to the one division.
 *
 * Mapping: columns.cuh, forward an output, backward an input and four of its channels a thread. Backward
 * gathers over the outputs that an input has a share in, so no two threads write one place; nearest touches
 * only inputs that are in an output. One channel (masks) goes one by one: neighbouring threads are neighbouring
 * columns. Bytes: 4 (bf16 2) an output and 4 (2) an input, backward 4 and 8. Floor: bytes over bandwidth;
 * bilinear backward with out = 4 in looks at 81 outputs an input, about 50 operations an output, which hide
 * behind memory on an RTX 4090 and exceed it about twice on an H100 where C = 1. Log: never timed on a GPU. */
#include "kernels/columns.cuh"
#include <limits.h>

/* One side of the images and of the outputs: scale for nearest, unit = 1/(2 out) for bilinear. */
typedef struct ResizeSide {
    int in, out;
    float scale, unit;
} ResizeSide;

static inline __device__ int nearest(const ResizeSide &s, int i)
{
    return min((int)floorf((float)i * s.scale), s.in - 1);
}

/* Where output i lies, in units of 1/(2 out). */
static inline __device__ int place(const ResizeSide &s, int i)
{
    return min(max((2 * i + 1) * s.in - s.out, 0), 2 * s.out * (s.in - 1));
}

template <int V, class T>
__global__ void __launch_bounds__(256)
    resize_nearest_kernel(T *__restrict__ y, const T *__restrict__ x, ResizeSide rows, ResizeSide columns,
                          int64_t N, int64_t C)
{
    int64_t c = first_column<V>();
    int outputs = rows.out * columns.out;
    if (c >= C) return;
    for (int64_t n = blockIdx.z; n < N; n += gridDim.z)
        for (int64_t o = first_row(); o < outputs; o += row_step()) {
            int h = nearest(rows, (int)o / columns.out), w = nearest(columns, (int)o % columns.out);
            store(y + (n * outputs + o) * C + c, load<V>(x + ((n * rows.in + h) * columns.in + w) * C + c));
        }
}

template <int V, class T>
__global__ void __launch_bounds__(256)
    resize_bilinear_kernel(T *__restrict__ y, const T *__restrict__ x, ResizeSide rows, ResizeSide columns,
                           int64_t N, int64_t C)
{
    int64_t c = first_column<V>(), line = columns.in * C;
    int outputs = rows.out * columns.out;
    if (c >= C) return;
    for (int64_t n = blockIdx.z; n < N; n += gridDim.z)
        for (int64_t o = first_row(); o < outputs; o += row_step()) {
            int down = place(rows, (int)o / columns.out), across = place(columns, (int)o % columns.out);
            int h = down / (2 * rows.out), w = across / (2 * columns.out);
            float low = (float)(down - h * 2 * rows.out) * rows.unit,
                  right = (float)(across - w * 2 * columns.out) * columns.unit;
            const T *a = x + (n * rows.in + h) * line + w * C + c, *b = h + 1 < rows.in ? a + line : a;
            int64_t next = w + 1 < columns.in ? C : 0;
            Pack<V> a0 = load_f32<V>(a), a1 = load_f32<V>(a + next), b0 = load_f32<V>(b),
                    b1 = load_f32<V>(b + next), out;
#pragma unroll
            for (int j = 0; j < V; j++)
                out.v[j] = (1 - low) * ((1 - right) * a0.v[j] + right * a1.v[j]) +
                           low * ((1 - right) * b0.v[j] + right * b1.v[j]);
            store(y + (n * outputs + o) * C + c, out);
        }
}

typedef struct Range {
    int from, to;
} Range;

/* The outputs that lie at input i; one on either side more, since scale is rounded. */
static inline __device__ Range nearest_around(const ResizeSide &s, int i)
{
    float from = (float)i / s.scale, to = (float)(i + 1) / s.scale;
    return Range{max((int)from - 1, 0), min((int)to + 2, s.out)};
}
/* The outputs that lie less than one from input i, which then are weighed. */
static inline __device__ Range bilinear_around(const ResizeSide &s, int i)
{
    int from = (s.out * (2 * i - 1) - s.in) / (2 * s.in), to = (s.out * (2 * i + 3) - s.in) / (2 * s.in) + 1;
    return Range{max(from, 0), min(max(to, 1), s.out)};
}

template <int V>
__global__ void __launch_bounds__(256)
    resize_nearest_backward_kernel(float *__restrict__ dx, const float *__restrict__ dy, ResizeSide rows,
                                   ResizeSide columns, int64_t N, int64_t C)
{
    int64_t c = first_column<V>();
    int pixels = rows.in * columns.in;
    if (c >= C) return;
    for (int64_t n = blockIdx.z; n < N; n += gridDim.z)
        for (int64_t pixel = first_row(); pixel < pixels; pixel += row_step()) {
            int h = (int)pixel / columns.in, w = (int)pixel % columns.in;
            Range down = nearest_around(rows, h), across = nearest_around(columns, w);
            Pack<V> sum = {};
            bool any = false;
            for (int i = down.from; i < down.to; i++) {
                if (nearest(rows, i) != h) continue;
                for (int j = across.from; j < across.to; j++) {
                    if (nearest(columns, j) != w) continue;
                    Pack<V> d = load<V>(dy + ((n * rows.out + i) * columns.out + j) * C + c);
                    for (int v = 0; v < V; v++) sum.v[v] += d.v[v];
                    any = true;
                }
            }
            if (any) add_to(dx + (n * pixels + pixel) * C + c, sum);
        }
}

/* What input `at` has of output i. */
static inline __device__ float share(const ResizeSide &s, int i, int at)
{
    return (float)max(2 * s.out - abs(place(s, i) - 2 * s.out * at), 0) * s.unit;
}

template <int V>
__global__ void __launch_bounds__(256)
    resize_bilinear_backward_kernel(float *__restrict__ dx, const float *__restrict__ dy, ResizeSide rows,
                                    ResizeSide columns, int64_t N, int64_t C)
{
    int64_t c = first_column<V>();
    int pixels = rows.in * columns.in;
    if (c >= C) return;
    for (int64_t n = blockIdx.z; n < N; n += gridDim.z)
        for (int64_t pixel = first_row(); pixel < pixels; pixel += row_step()) {
            int h = (int)pixel / columns.in, w = (int)pixel % columns.in;
            Range down = bilinear_around(rows, h), across = bilinear_around(columns, w);
            Pack<V> sum = {};
            for (int i = down.from; i < down.to; i++) {
                float k = share(rows, i, h);
                const float *line = dy + (n * rows.out + i) * columns.out * C + c;
#pragma unroll 4
                for (int j = across.from; j < across.to; j++) {
                    float both = k * share(columns, j, w);
                    Pack<V> d = load<V>(line + j * C);
                    for (int v = 0; v < V; v++) sum.v[v] += both * d.v[v];
                }
            }
            add_to(dx + (n * pixels + pixel) * C + c, sum);
        }
}

/* axis 1: rows, 2: columns. Places are whole numbers in 32 bits. */
static ResizeSide side(const Node *n, int axis)
{
    const int64_t *in = n->in[0]->dim, *out = n->out->dim;
    int64_t a = in[axis], b = out[axis];
    if (in[1] * in[2] > INT_MAX || out[1] * out[2] > INT_MAX || (2 * a + 3) * (b + 1) > INT_MAX)
        host.die("resize: %lld x %lld to %lld x %lld is too large", (long long)in[1], (long long)in[2],
                 (long long)out[1], (long long)out[2]);
    return ResizeSide{(int)a, (int)b, (float)a / (float)b, 1 / (float)(2 * b)};
}

extern "C" void resize_forward_cuda(Tape *, Node *n)
{
    ResizeSide rows = side(n, 1), columns = side(n, 2);
    int64_t N = n->out->dim[0], C = n->out->dim[3], outputs = (int64_t)rows.out * columns.out;
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        const T *x = elements<T>(n->in[0]);
        T *y = elements<T>(n->out);
        bool four = wide_rows(C, x, y);
        if (NODE_AS(ResizeParams, n)->mode == RESIZE_NEAREST)
            LAUNCH_COLUMNS_OF((resize_nearest_kernel<V, T>), four, N, outputs, C, y, x, rows, columns, N, C);
        else
            LAUNCH_COLUMNS_OF((resize_bilinear_kernel<V, T>), four, N, outputs, C, y, x, rows, columns, N, C);
    });
}

extern "C" void resize_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    const float *dy = f32(n->out->grad);
    float *dx = f32(n->in[0]->grad);
    ResizeSide rows = side(n, 1), columns = side(n, 2);
    int64_t N = n->out->dim[0], C = n->out->dim[3], pixels = (int64_t)rows.in * columns.in;
    bool four = wide_rows(C, dx, dy);
    if (NODE_AS(ResizeParams, n)->mode == RESIZE_NEAREST)
        LAUNCH_COLUMNS(resize_nearest_backward_kernel, four, N, pixels, C, dx, dy, rows, columns, N, C);
    else
        LAUNCH_COLUMNS(resize_bilinear_backward_kernel, four, N, pixels, C, dx, dy, rows, columns, N, C);
}
