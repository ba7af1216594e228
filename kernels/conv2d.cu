/* y[n,h,w,o] = sum x[n, h*s-p+i, w*s-p+j, c] w[o,i,j,c] (+ bias[o]), channels-last, as implicit products:
 *   forward   y (pixels,O) = patches (pixels,taps) w (O,taps)^T, a tap being (i,j,c)
 *   data      dx: the pixels of x whose row and column leave the same remainders modulo the stride see the same
 *             rows and columns of w, and of y a grid without gaps: a product for each of the s^2 such phases
 *   weights   dw (O,taps) += dy (pixels,O)^T patches
 * A 1x1 kernel at stride 1 has no patches: plain products. At most 16 outputs make dw a thin product.
 *
 * x and y are f32 or bf16, w f32. Where the activations are bf16 all products on tensor cores are: w and dy are
 * rounded once (gemm_rounded) and dy's copy serves both gradients.
 *
 * Mapping: gemm.cuh's; a thread that copies keeps its pixels' places over the whole depth, and finds a tap's by
 * two multiplications. Bytes: x, w, y once from memory, patches from L2; rounding dy 6 bytes an element. Floor:
 * as gemm.cuh's. Log: never timed on a GPU. */
#include "kernels/conv.cuh"
#include "kernels/elements.cuh"
#include "kernels/gemm_thin.cuh"

/* Division of 0..2^31-1 by a number fixed at the launch: one multiplication (Granlund & Montgomery 1994). */
struct ConvDivisor {
    unsigned factor, shift;

    ConvDivisor(int by) : shift(0)
    {
        while (1ull << shift < (unsigned)by) shift++;
        factor = (unsigned)(((1ull << 32) * ((1ull << shift) - (unsigned)by)) / (unsigned)by + 1);
    }
    __device__ int operator()(int n) const
    {
        return (int)((__umulhi((unsigned)n, factor) + (unsigned)n) >> shift);
    }
};

/* What pixel (n,h,w) of a grid sees through tap (i,j,c): image[n, h*step + top + i*sign, w*step + left +
 * j*sign, c], 0 outside. */
template <class T> struct ConvGather : GemmOperand<T> {
    struct Pixel {
        int at, h, w;
    };
    struct Tap {
        int at, i, j;
    };
    int H, W, C, pixels, taps, area, width, across;
    int step, top, left, sign;
    ConvDivisor by_area, by_width, by_across, by_C;

    /* grid (N,height,width), taps (down,across,C) */
    ConvGather(const T *image, int N, int H, int W, int C, int height, int width, int down, int across)
        : GemmOperand<T>{image, 0, gemm_groups(image, C, 0, C)}, H(H), W(W), C(C),
          pixels(gemm_int((int64_t)N * height * width)), taps(down * across * C), area(height * width),
          width(width), across(across), step(1), top(0), left(0), sign(1), by_area(area), by_width(width),
          by_across(across), by_C(C)
    {
        gemm_int((int64_t)N * H * W * C);
    }
    /* Far outside: no pixel, no tap. */
    __device__ Pixel pixel(int i) const
    {
        if (i >= pixels) return {0, INT32_MIN / 2, 0};
        int n = by_area(i), rest = i - n * area, row = by_width(rest);
        int h = row * step + top, w = (rest - row * width) * step + left;
        return {((n * H + h) * W + w) * C, h, w};
    }
    __device__ Tap tap(int k) const
    {
        if (k >= taps) return {0, INT32_MIN / 4, 0};
        int ij = by_C(k), row = by_across(ij), i = row * sign, j = (ij - row * across) * sign;
        return {(i * W + j - ij) * C + k, i, j};
    }
    __device__ const T *see(const Pixel &x, const Tap &t) const
    {
        bool inside = (unsigned)(x.h + t.i) < (unsigned)H && (unsigned)(x.w + t.j) < (unsigned)W;
        return inside ? this->p + (x.at + t.at) : NULL;
    }
};

/* Patches as rows: lines are pixels. */
template <class T> struct ConvRows : ConvGather<T> {
    static constexpr bool DEPTH = true;
    typedef typename ConvGather<T>::Pixel Line;
    typedef typename ConvGather<T>::Tap Spot;
    ConvRows(const ConvGather<T> &g) : ConvGather<T>(g) {}
    __device__ Line line(int i) const { return this->pixel(i); }
    __device__ Spot spot(int k) const { return this->tap(k); }
    __device__ const T *at(const Line &x, const Spot &t) const { return this->see(x, t); }
};

/* Patches as columns: lines are taps. */
template <class T> struct ConvColumns : ConvGather<T> {
    static constexpr bool DEPTH = false;
    typedef typename ConvGather<T>::Tap Line;
    typedef typename ConvGather<T>::Pixel Spot;
    ConvColumns(const ConvGather<T> &g) : ConvGather<T>(g) {}
    __device__ Line line(int i) const { return this->tap(i); }
    __device__ Spot spot(int k) const { return this->pixel(k); }
    __device__ const T *at(const Line &t, const Spot &x) const { return this->see(x, t); }
};

/* The rows and columns of x (or w) of one remainder modulo the stride. */
struct ConvPhase {
    int size, first, taps, shift; /* pixels; first tap; taps; pixel q sees y at q + shift - tap */

    ConvPhase(int remainder, int length, int kernel, int stride, int pad)
        : size(length > remainder ? ceil_div(length - remainder, stride) : 0),
          first((remainder + pad) % stride), taps(kernel > first ? ceil_div(kernel - first, stride) : 0),
          shift((remainder + pad) / stride)
    {
    }
};

/* w as the data product's right side: line c, at depth (i,j,o) of a phase. */
template <class T> struct ConvWeights : GemmOperand<T> {
    static constexpr bool DEPTH = false;
    typedef int Line, Spot;
    int C, O, kh, kw, stride;
    int down, across, taps, depth; /* first tap; taps of a row */
    ConvDivisor by_O, by_across;

    ConvWeights(const T *w, const Conv &s, const ConvPhase &v, const ConvPhase &h)
        : GemmOperand<T>{w, 0, gemm_groups(w, s.C, 0, s.C)}, C(s.C), O(s.O), kh(s.kh), kw(s.kw),
          stride(s.stride), down(v.first), across(h.first), taps(h.taps), depth(v.taps * h.taps * s.O),
          by_O(s.O), by_across(h.taps ? h.taps : 1)
    {
    }
    __device__ int line(int i) const { return i; }
    __device__ int spot(int k) const
    {
        if (k >= depth) return -1;
        int ij = by_O(k), i = by_across(ij), j = ij - i * taps;
        return (((k - ij * O) * kh + down + i * stride) * kw + across + j * stride) * C;
    }
    __device__ const T *at(int c, int spot) const { return c < C && spot >= 0 ? this->p + (spot + c) : NULL; }
};

/* The pixels of a phase: row m of the product is one of them. */
struct ConvPixels : GemmOutput {
    int H, W, stride, top, left, area, width;
    ConvDivisor by_area, by_width;

    ConvPixels(Tensor *dx, const Conv &s, const float *bias, bool add, int top, int left, int height, int width)
        : GemmOutput(dx, s.C, add, 1, bias), H(s.H), W(s.W), stride(s.stride), top(top), left(left),
          area(height * width), width(width), by_area(area), by_width(width)
    {
    }
    __device__ int64_t row(int m) const
    {
        int n = by_area(m), rest = m - n * area, h = by_width(rest), w = rest - h * width;
        return ((int64_t)(n * H + h * stride + top) * W + w * stride + left) * ld;
    }
};

static bool pointwise(const Conv &s) { return s.kh == 1 && s.kw == 1 && s.stride == 1 && s.pad == 0; }

template <class T> static ConvGather<T> patches(const Conv &s, const T *x)
{
    ConvGather<T> g(x, s.N, s.H, s.W, s.C, s.OH, s.OW, s.kh, s.kw);
    g.step = s.stride;
    g.top = g.left = -s.pad;
    return g;
}

/* f(T{}) with T the type that x and w are multiplied in. */
template <class F> static void with_factors(const GemmRoom &room, const Tensor *x, const Tensor *w, F f)
{
    if (room.rounds || x->dtype == DTYPE_bf16 || w->dtype == DTYPE_bf16)
        f(Bf16{});
    else
        f(float{});
}
/* x's values in that type. */
template <class T> static const T *factor(const GemmRoom &room, const Tensor *x)
{
    if constexpr (sizeof(T) == 2)
        if (x->dtype == DTYPE_f32) return gemm_rounded(room, f32(x), tensor_len(x));
    return elements<T>(x);
}

static const float *values(const Tensor *bias) { return bias ? f32(bias) : NULL; }

void conv_forward(const GemmRoom &room, const Conv &s, const Tensor *x, const Tensor *w, const Tensor *bias,
                  Tensor *y, bool add)
{
    int64_t pixels = (int64_t)s.N * s.OH * s.OW;
    GemmOutput out(y, s.O, add, 1, values(bias));
    if (pointwise(s)) {
        gemm_cuda(room, pixels, s.O, s.C, {x, s.C, false, 0}, {w, s.C, true, 0}, out);
        return;
    }
    with_factors(room, x, w, [&](auto type) {
        typedef decltype(type) T;
        ConvGather<T> g = patches(s, factor<T>(room, x));
        GemmRows<T> weights(factor<T>(room, w), g.taps, 0, s.O, g.taps);
        gemm_tiles(room, ConvRows<T>(g), weights, out, g.pixels, s.O, g.taps);
    });
}

template <class T>
static void data_phase(const GemmRoom &room, const Conv &s, int phase, const T *dy, const T *w,
                       const float *bias, Tensor *dx, bool add)
{
    int top = phase / s.stride, left = phase % s.stride;
    ConvPhase v(top, s.H, s.kh, s.stride, s.pad), h(left, s.W, s.kw, s.stride, s.pad);
    int64_t pixels = (int64_t)s.N * v.size * h.size;
    bool taps = v.taps && h.taps;
    if (!pixels || (!taps && add && !bias)) return;
    ConvGather<T> g(dy, s.N, s.OH, s.OW, s.O, v.size, h.size, v.taps, h.taps ? h.taps : 1);
    g.top = v.shift;
    g.left = h.shift;
    g.sign = -1;
    ConvPixels out(dx, s, bias, add, top, left, v.size, h.size);
    gemm_tiles(room, ConvRows<T>(g), ConvWeights<T>(w, s, v, h), out, g.pixels, s.C, taps ? g.taps : 0);
}

void conv_data(const GemmRoom &room, const Conv &s, const Tensor *dy, const Tensor *w, const Tensor *bias,
               Tensor *dx, bool add)
{
    if (pointwise(s)) {
        gemm_cuda(room, (int64_t)s.N * s.H * s.W, s.C, s.O, {dy, s.O, false, 0}, {w, s.C, false, 0},
                  GemmOutput(dx, s.C, add, 1, values(bias)));
        return;
    }
    with_factors(room, dy, w, [&](auto type) {
        typedef decltype(type) T;
        const T *from = factor<T>(room, dy), *weights = factor<T>(room, w);
        for (int phase = 0; phase < s.stride * s.stride; phase++)
            data_phase(room, s, phase, from, weights, values(bias), dx, add);
    });
}

void conv_weights(const GemmRoom &room, const Conv &s, const Tensor *x, const Tensor *dy, float *dw)
{
    int taps = s.kh * s.kw * s.C, pixels = gemm_int((int64_t)s.N * s.OH * s.OW);
    GemmOutput out(dw, taps, true);
    if (pointwise(s)) {
        gemm_cuda(room, s.O, s.C, pixels, {dy, s.O, true, 0}, {x, s.C, false, 0}, out);
    } else if (s.O <= GEMM_FEW) { /* f32 throughout */
        with_type(dy, [&](auto few) {
            GemmFew f(elements<decltype(few)>(dy), 1, s.O, 0);
            with_type(x, [&](auto type) {
                typedef decltype(type) T;
                ConvColumns<T> many(patches(s, elements<T>(x)));
                gemm_few(room, many, f, out, taps, s.O, pixels, true);
            });
        });
    } else {
        with_factors(room, x, dy, [&](auto type) {
            typedef decltype(type) T;
            GemmColumns<T> from(factor<T>(room, dy), s.O, 0, s.O, pixels);
            gemm_tiles(room, from, ConvColumns<T>(patches(s, factor<T>(room, x))), out, s.O, taps, pixels);
        });
    }
}

extern "C" void conv2d_forward_cuda(Tape *t, Node *n)
{
    Conv s = conv_shape(n->in[0], n->in[1], n->out, NODE_AS(Conv2dParams, n));
    conv_forward(t, s, n->in[0], n->in[1], n->in[2], n->out, false);
}

extern "C" void conv2d_backward_cuda(Tape *t, Node *n)
{
    Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2], *dy = n->out->grad;
    Conv s = conv_shape(x, w, n->out, NODE_AS(Conv2dParams, n));
    GemmRoom room(t, x->dtype == DTYPE_bf16);
    if (x->grad) conv_data(room, s, dy, w, NULL, x->grad, true);
    if (w->grad) conv_weights(room, s, x, dy, f32(w->grad));
    if (bias && bias->grad) gemm_column_sums(room, f32(bias->grad), f32(dy), tensor_rows(n->out), s.O);
}
