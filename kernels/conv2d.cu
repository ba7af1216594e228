/* y[n,h,w,o] = sum x[n, h*s-p+i, w*s-p+j, c] w[o,i,j,c] (+ bias[o]), channels-last, as implicit products:
 *   forward   y (pixels,O) = patches (pixels,taps) w (O,taps)^T, a tap being (i,j,c)
 *   data      dx: the pixels of x whose row and column leave the same remainders modulo the stride see the same
 *             rows and columns of w, and of y a grid without gaps: a product for each of the s^2 such phases
 *   weights   dw (O,taps) += dy (pixels,O)^T patches
 * A 1x1 kernel at stride 1 has no patches: plain products. At most 16 outputs make dw a thin product.
 *
 * Mapping: gemm.cuh's; a thread that copies keeps its pixels' places over the whole depth, and finds a tap's by
 * two multiplications. Bytes: x, w, y once from memory, patches from L2. Floor: as gemm.cuh's. Log: never timed
 * on a GPU. */
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
struct ConvGather : GemmOperand<float> {
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
    ConvGather(const float *image, int N, int H, int W, int C, int height, int width, int down, int across)
        : GemmOperand<float>{image, 0, gemm_aligned(image, 16) && C % 4 == 0}, H(H), W(W), C(C),
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
    __device__ const float *see(const Pixel &x, const Tap &t) const
    {
        bool inside = (unsigned)(x.h + t.i) < (unsigned)H && (unsigned)(x.w + t.j) < (unsigned)W;
        return inside ? p + (x.at + t.at) : NULL;
    }
};

/* Patches as rows: lines are pixels. */
struct ConvRows : ConvGather {
    static constexpr bool DEPTH = true;
    typedef Pixel Line;
    typedef Tap Spot;
    ConvRows(const ConvGather &g) : ConvGather(g) {}
    __device__ Pixel line(int i) const { return pixel(i); }
    __device__ Tap spot(int k) const { return tap(k); }
    __device__ const float *at(const Pixel &x, const Tap &t) const { return see(x, t); }
};

/* Patches as columns: lines are taps. */
struct ConvColumns : ConvGather {
    static constexpr bool DEPTH = false;
    typedef Tap Line;
    typedef Pixel Spot;
    ConvColumns(const ConvGather &g) : ConvGather(g) {}
    __device__ Tap line(int i) const { return tap(i); }
    __device__ Pixel spot(int k) const { return pixel(k); }
    __device__ const float *at(const Tap &t, const Pixel &x) const { return see(x, t); }
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
struct ConvWeights : GemmOperand<float> {
    static constexpr bool DEPTH = false;
    typedef int Line, Spot;
    int C, O, kh, kw, stride;
    int down, across, taps, depth; /* first tap; taps of a row */
    ConvDivisor by_O, by_across;

    ConvWeights(const float *w, const Conv &s, const ConvPhase &v, const ConvPhase &h)
        : GemmOperand<float>{w, 0, gemm_aligned(w, 16) && s.C % 4 == 0}, C(s.C), O(s.O), kh(s.kh), kw(s.kw),
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
    __device__ const float *at(int c, int spot) const { return c < C && spot >= 0 ? p + (spot + c) : NULL; }
};

/* The pixels of a phase: row m of the product is one of them. */
struct ConvPixels : GemmOutput {
    int H, W, stride, top, left, area, width;
    ConvDivisor by_area, by_width;

    ConvPixels(float *dx, const Conv &s, const float *bias, bool add, int top, int left, int height, int width)
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

static ConvGather patches(const Conv &s, const float *x)
{
    ConvGather g(x, s.N, s.H, s.W, s.C, s.OH, s.OW, s.kh, s.kw);
    g.step = s.stride;
    g.top = g.left = -s.pad;
    return g;
}

void conv_forward(Tape *t, const Conv &s, const float *x, const float *w, const float *bias, float *y, bool add)
{
    ConvGather g = patches(s, x);
    GemmOutput out(y, s.O, add, 1, bias);
    if (pointwise(s))
        gemm_cuda(t, g.pixels, s.O, s.C, {x, s.C, false, 0}, {w, s.C, true, 0}, out);
    else
        gemm_tiles(t, ConvRows(g), GemmRows(w, g.taps, 0, s.O, g.taps), out, g.pixels, s.O, g.taps);
}

void conv_data(Tape *t, const Conv &s, const float *dy, const float *w, const float *bias, float *dx, bool add)
{
    if (pointwise(s)) {
        gemm_cuda(t, (int64_t)s.N * s.H * s.W, s.C, s.O, {dy, s.O, false, 0}, {w, s.C, false, 0},
                  GemmOutput(dx, s.C, add, 1, bias));
        return;
    }
    GemmRoom room(t);
    for (int phase = 0; phase < s.stride * s.stride; phase++) {
        int top = phase / s.stride, left = phase % s.stride;
        ConvPhase v(top, s.H, s.kh, s.stride, s.pad), h(left, s.W, s.kw, s.stride, s.pad);
        int64_t pixels = (int64_t)s.N * v.size * h.size;
        bool taps = v.taps && h.taps;
        if (!pixels || (!taps && add && !bias)) continue;
        ConvGather g(dy, s.N, s.OH, s.OW, s.O, v.size, h.size, v.taps, h.taps ? h.taps : 1);
        g.top = v.shift;
        g.left = h.shift;
        g.sign = -1;
        ConvPixels out(dx, s, bias, add, top, left, v.size, h.size);
        gemm_tiles(room, ConvRows(g), ConvWeights(w, s, v, h), out, g.pixels, s.C, taps ? g.taps : 0);
    }
}

void conv_weights(Tape *t, const Conv &s, const float *x, const float *dy, float *dw)
{
    ConvGather g = patches(s, x);
    GemmOutput out(dw, g.taps, true);
    if (pointwise(s))
        gemm_cuda(t, s.O, s.C, g.pixels, {dy, s.O, true, 0}, {x, s.C, false, 0}, out);
    else if (s.O <= GEMM_FEW)
        gemm_few(t, ConvColumns(g), GemmFew(dy, 1, s.O, 0), out, g.taps, s.O, g.pixels, true);
    else
        gemm_tiles(t, GemmColumns(dy, s.O, 0, s.O, g.pixels), ConvColumns(g), out, s.O, g.taps, g.pixels);
}

extern "C" void conv2d_forward_cuda(Tape *t, Node *n)
{
    Conv s = conv_shape(n->in[0], n->in[1], n->out, NODE_AS(Conv2dParams, n));
    conv_forward(t, s, f32(n->in[0]), f32(n->in[1]), n->in[2] ? f32(n->in[2]) : NULL, f32(n->out), false);
}

extern "C" void conv2d_backward_cuda(Tape *t, Node *n)
{
    Tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2];
    Conv s = conv_shape(x, w, n->out, NODE_AS(Conv2dParams, n));
    const float *dy = f32(n->out->grad);
    if (x->grad) conv_data(t, s, dy, f32(w), NULL, f32(x->grad), true);
    if (w->grad) conv_weights(t, s, f32(x), dy, f32(w->grad));
    if (bias && bias->grad) gemm_column_sums(t, f32(bias->grad), dy, tensor_rows(n->out), s.O);
}
