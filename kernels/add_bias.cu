/* y = x + b, where b has the trailing dims of x: rows of C = the length of b. dx += dy; db += sum over the rows
 * of dy, to double's accuracy (two_float.cuh).
 *
 * Mapping: a thread takes four neighbours of a row (columns.cuh). Backward reads dy once for both: a thread
 * strides over rows, adds dy to dx and sums it up, the block's rows are joined, and up to 256 blocks down the
 * rows leave partial sums (blocks,C), which a second launch adds up (column_sums.cuh).
 * One block down the rows writes db itself. Bytes an element: forward 8 (bf16 4), backward 12 (without dx 4).
 * Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/column_sums.cuh"
#include "kernels/two_float.cuh"

enum { SPLITS = 256 };

template <int V, class T>
__global__ void __launch_bounds__(256)
    add_bias_forward_kernel(T *__restrict__ y, const T *__restrict__ x, const float *__restrict__ b,
                            int64_t rows, int64_t C)
{
    int64_t c = first_column<V>();
    if (c >= C) return;
    Pack<V> bias = load<V>(b + c);
#pragma unroll 4
    for (int64_t r = first_row(); r < rows; r += row_step()) {
        Pack<V> v = load_f32<V>(x + r * C + c);
#pragma unroll
        for (int j = 0; j < V; j++) v.v[j] += bias.v[j];
        store(y + r * C + c, v);
    }
}

/* dx may be NULL. part (gridDim.y,C). */
template <int V>
__global__ void __launch_bounds__(256)
    add_bias_backward_kernel(float *__restrict__ dx, float *__restrict__ db, TwoFloat *__restrict__ part,
                             const float *__restrict__ dy, int64_t rows, int64_t C)
{
    SHARED_ARRAY(TwoFloat, shared, [COLUMNS]);
    int64_t c = first_column<V>();
    TwoFloat sum[V] = {};
    if (c < C) {
#pragma unroll 4
        for (int64_t r = first_row(); r < rows; r += row_step()) {
            Pack<V> d = load<V>(dy + r * C + c);
#pragma unroll
            for (int j = 0; j < V; j++) sum[j].add(d.v[j]);
            if (dx) add_to(dx + r * C + c, d);
        }
    }
    for (int j = 0; j < V; j++) {
        TwoFloat all = join_rows(shared, sum[j], joined);
        if (c >= C || threadIdx.y) continue;
        if (gridDim.y == 1)
            db[c + j] += all.value();
        else
            part[blockIdx.y * C + c + j] = all;
    }
}

/* db += the sums of the blocks' parts. */
struct AddBiasSums {
    typedef TwoFloat Sum;
    float *db;

    __device__ void finish(int c, const TwoFloat &sum) const { db[c] += sum.value(); }
};

struct add_bias_dx {
    __device__ float operator()(float dy) const { return dy; }
};

extern "C" void add_bias_forward_cuda(Tape *, Node *n)
{
    const float *b = f32(n->in[1]);
    int64_t C = tensor_len(n->in[1]), rows = tensor_len(n->out) / C;
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        const T *x = elements<T>(n->in[0]);
        T *y = elements<T>(n->out);
        LAUNCH_COLUMNS_OF((add_bias_forward_kernel<V, T>), wide_rows(C, x, b, y), 1, rows, C, y, x, b, rows, C);
    });
}

extern "C" void add_bias_backward_cuda(Tape *t, Node *n)
{
    const float *dy = f32(n->out->grad);
    float *dx = n->in[0]->grad ? f32(n->in[0]->grad) : NULL, *db = n->in[1]->grad ? f32(n->in[1]->grad) : NULL;
    int64_t len = tensor_len(n->out), C = tensor_len(n->in[1]), rows = len / C;
    /* x and b may be views of one tensor, then one after the other. */
    if (dx && (!db || !apart(dx, db, len))) {
        add_elements(dx, add_bias_dx{}, len, dy);
        dx = NULL;
    }
    if (!db) return;
    bool four = wide_rows(C, dx, dy);
    RowGrid at = row_grid(1, rows, four ? C / 4 : C);
    at.grid.y = (unsigned)at_most(ceil_div(rows, (int64_t)at.block.y * 8), SPLITS);
    TwoFloat *part = (TwoFloat *)scratch(t, (size_t)(at.grid.y * C) * sizeof *part);
    if (four)
        KERNEL_LAUNCH((add_bias_backward_kernel<4>), at.grid, at.block, 0, dx, db, part, dy, rows, C);
    else
        KERNEL_LAUNCH((add_bias_backward_kernel<1>), at.grid, at.block, 0, dx, db, part, dy, rows, C);
    if (at.grid.y > 1) finish_columns(AddBiasSums{db}, part, (int)at.grid.y, (int)C);
}
