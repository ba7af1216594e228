/* Windows of images and back, as in window.c: `cut` writes windows, `join` writes images; the one is the
 * other's backward, there adding.
 *
 * Mapping: columns.cuh; a thread four channels of a place of what is written, so writes are whole lines, and
 * reads are runs of C. Bytes: 8 an element (bf16 4), backward 12; padding is only written. Floor: bytes over
 * bandwidth. Log: never timed on a GPU. */
#include "kernels/columns.cuh"
#include <limits.h>

/* height, width: padded to whole windows. */
typedef struct WindowLayout {
    int H, W, size, shift, height, width;
} WindowLayout;

template <int V, class T, bool add>
__global__ void __launch_bounds__(COLUMNS)
    window_cut_kernel(T *__restrict__ window, const T *__restrict__ image, WindowLayout l, int64_t N, int64_t C)
{
    const int64_t c = first_column<V>();
    const int places = l.height * l.width, columns = l.width / l.size;
    if (c >= C) return;
    for (int64_t n = blockIdx.z; n < N; n += gridDim.z)
        for (int64_t p = first_row(); p < places; p += row_step()) {
            int line = (int)p / l.size, w = line / l.size, row = w / columns * l.size + line % l.size + l.shift,
                column = w % columns * l.size + (int)p % l.size + l.shift;
            if (row >= l.height) row -= l.height;
            if (column >= l.width) column -= l.width;
            bool inside = row < l.H && column < l.W;
            Pack<V, T> v = {};
            if (inside) v = load<V>(image + ((n * l.H + row) * l.W + column) * C + c);
            T *to = window + (n * places + p) * C + c;
            if constexpr (!add)
                store(to, v);
            else if (inside)
                add_to(to, v);
        }
}

template <int V, class T, bool add>
__global__ void __launch_bounds__(COLUMNS)
    window_join_kernel(T *__restrict__ image, const T *__restrict__ window, WindowLayout l, int64_t N,
                       int64_t C)
{
    const int64_t c = first_column<V>();
    const int pixels = l.H * l.W, columns = l.width / l.size;
    if (c >= C) return;
    for (int64_t n = blockIdx.z; n < N; n += gridDim.z)
        for (int64_t p = first_row(); p < pixels; p += row_step()) {
            int row = (int)p / l.W - l.shift, column = (int)p % l.W - l.shift;
            if (row < 0) row += l.height;
            if (column < 0) column += l.width;
            int64_t w = (n * (l.height / l.size) + row / l.size) * columns + column / l.size;
            int64_t at = (w * l.size + row % l.size) * l.size + column % l.size;
            Pack<V, T> v = load<V>(window + at * C + c);
            T *to = image + (n * pixels + p) * C + c;
            if constexpr (add)
                add_to(to, v);
            else
                store(to, v);
        }
}

static WindowLayout window_layout(const Tensor *image, const Tensor *windows, int shift)
{
    int64_t H = image->dim[1], W = image->dim[2], size = windows->dim[1];
    int64_t height = ceil_div(H, size) * size, width = ceil_div(W, size) * size;
    if (height > INT_MAX / width)
        host.die("window: images of %lld x %lld are too large", (long long)H, (long long)W);
    return {(int)H, (int)W, (int)size, shift, (int)height, (int)width};
}

template <class T, bool add>
static void window_cut(const Tensor *image, T *window, const T *from, const WindowLayout &l)
{
    int64_t N = image->dim[0], C = image->dim[3];
    LAUNCH_COLUMNS_OF((window_cut_kernel<V, T, add>), wide_rows(C, window, from), N,
                      (int64_t)l.height * l.width, C, window, from, l, N, C);
}
template <class T, bool add>
static void window_join(const Tensor *image, T *to, const T *window, const WindowLayout &l)
{
    int64_t N = image->dim[0], C = image->dim[3];
    LAUNCH_COLUMNS_OF((window_join_kernel<V, T, add>), wide_rows(C, to, window), N, (int64_t)l.H * l.W, C, to,
                      window, l, N, C);
}

extern "C" void window_forward_cuda(Tape *, Node *n)
{
    const WindowLayout l = window_layout(n->in[0], n->out, NODE_AS(WindowParams, n)->shift);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        window_cut<T, false>(n->in[0], elements<T>(n->out), elements<T>(n->in[0]), l);
    });
}

extern "C" void window_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    const WindowLayout l = window_layout(n->in[0], n->out, NODE_AS(WindowParams, n)->shift);
    window_join<float, true>(n->in[0], f32(n->in[0]->grad), f32(n->out->grad), l);
}

extern "C" void unwindow_forward_cuda(Tape *, Node *n)
{
    const WindowLayout l = window_layout(n->out, n->in[0], NODE_AS(UnwindowParams, n)->shift);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        window_join<T, false>(n->out, elements<T>(n->out), elements<T>(n->in[0]), l);
    });
}

extern "C" void unwindow_backward_cuda(Tape *, Node *n)
{
    if (!n->in[0]->grad) return;
    const WindowLayout l = window_layout(n->out, n->in[0], NODE_AS(UnwindowParams, n)->shift);
    window_cut<float, true>(n->out, f32(n->in[0]->grad), f32(n->out->grad), l);
}
