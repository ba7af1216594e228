/* The table of CUDA kernels, made from ops.def: what tensor/backend_cuda.cu hands to the program. */
#include "kernels/cuda.cuh"

extern "C" {

extern const Kernel kernels_cuda[];
const Kernel kernels_cuda[] = {
#define OP(name)            {name##_forward_cuda, name##_backward_cuda},
#define OP_NODIFF(name)     {name##_forward_cuda, NULL},
#define OP_CPU(name)        {NULL, NULL},
#define OP_CPU_NODIFF(name) {NULL, NULL},
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
#undef OP_CPU
#undef OP_CPU_NODIFF
};

#define OP_CPU(name)        OP(name)
#define OP_CPU_NODIFF(name) OP(name)
#define OP_NODIFF(name)     OP(name)
const char *const kernel_names[] = {
#define OP(name) #name,
#include "kernels/ops.def"
#undef OP
};
#undef OP_CPU
#undef OP_CPU_NODIFF
#undef OP_NODIFF

const int kernel_count = sizeof kernel_names / sizeof *kernel_names;
}
