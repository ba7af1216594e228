/* A Linear layer chooses its product by the type of its weight. */
#include "kernels/ops.h"

Tensor *op_linear(Tape *t, Tensor *x, Tensor *w, Tensor *bias, const Lora *lora)
{
    if (dtype_is_quant(w->dtype)) return op_matmul_q(t, x, w, bias, lora);
    return op_matmul(t, x, w, bias, lora, false, true);
}
