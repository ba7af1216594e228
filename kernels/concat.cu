/* Joins a and b along one axis: seen as (outer,A) and (outer,B), y is (outer,A+B). da and db are its two parts.
 *
 * Mapping: columns.cuh over the rows of y, in fours where A and B are multiples of four; one launch writes both
 * parts, and so does backward unless the gradients overlap. Bytes an element: forward 8 (bf16 4), backward 12.
 * Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/columns.cuh"

template <int V, class T>
__global__ void __launch_bounds__(256)
    concat_forward_kernel(T *__restrict__ y, const T *__restrict__ a, const T *__restrict__ b, int64_t outer,
                          int64_t A, int64_t B)
{
    int64_t c = first_column<V>();
    if (c >= A + B) return;
    for (int64_t r = first_row(); r < outer; r += row_step())
        store(y + r * (A + B) + c, c < A ? load<V>(a + r * A + c) : load<V>(b + r * B + c - A));
}

/* da or db may be NULL. */
template <int V>
__global__ void __launch_bounds__(256)
    concat_backward_kernel(float *da, float *db, const float *__restrict__ dy, int64_t outer, int64_t A,
                           int64_t B)
{
    int64_t c = first_column<V>();
    if (c >= A + B) return;
    float *dx = c < A ? da : db;
    if (!dx) return;
    int64_t len = c < A ? A : B, at = c < A ? c : c - A;
    for (int64_t r = first_row(); r < outer; r += row_step())
        add_to(dx + r * len + at, load<V>(dy + r * (A + B) + c));
}

/* Length of one of the outer rows of x. */
static int64_t row_length(const Node *n, const Tensor *x)
{
    int64_t len = 1;
    for (int i = NODE_AS(ConcatParams, n)->axis; i < x->ndim; i++) len *= x->dim[i];
    return len;
}

extern "C" void concat_forward_cuda(Tape *, Node *n)
{
    int64_t A = row_length(n, n->in[0]), B = row_length(n, n->in[1]), outer = tensor_len(n->out) / (A + B);
    with_type(n->out, [&](auto type) {
        typedef decltype(type) T;
        const T *a = elements<T>(n->in[0]), *b = elements<T>(n->in[1]);
        T *y = elements<T>(n->out);
        LAUNCH_COLUMNS_OF((concat_forward_kernel<V, T>), wide_rows(A | B, a, b, y), 1, outer, A + B, y, a, b,
                          outer, A, B);
    });
}

static void backward(float *da, float *db, const float *dy, int64_t outer, int64_t A, int64_t B)
{
    LAUNCH_COLUMNS(concat_backward_kernel, wide_rows(A | B, da, db, dy), 1, outer, A + B, da, db, dy, outer, A,
                   B);
}

extern "C" void concat_backward_cuda(Tape *, Node *n)
{
    float *da = n->in[0]->grad ? f32(n->in[0]->grad) : NULL, *db = n->in[1]->grad ? f32(n->in[1]->grad) : NULL;
    const float *dy = f32(n->out->grad);
    int64_t A = row_length(n, n->in[0]), B = row_length(n, n->in[1]), outer = tensor_len(n->out) / (A + B);
    if (da && db && !apart(da, db, outer * (A > B ? A : B))) {
        backward(da, NULL, dy, outer, A, B);
        da = NULL;
    }
    if (da || db) backward(da, db, dy, outer, A, B);
}
