/* Rows and kernel tables, made from ops.def. */
#include "kernels/ops.h"

#define OP_CPU(name)        OP(name)
#define OP_CPU_NODIFF(name) OP_NODIFF(name)

enum {
#define OP(name)        OP_ID_##name,
#define OP_NODIFF(name) OP_ID_##name,
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
    OP_COUNT
};

#define OP(name)        const Op name##_op = {#name, OP_ID_##name, true, name##_shape};
#define OP_NODIFF(name) const Op name##_op = {#name, OP_ID_##name, false, name##_shape};
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF

const Kernel kernels_cpu[OP_COUNT + 1] = {
#define OP(name)        {name##_forward_cpu, name##_backward_cpu},
#define OP_NODIFF(name) {name##_forward_cpu, NULL},
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
};

static inline void nothing(Tape *t, Node *n)
{
    (void)t;
    (void)n;
}

const Kernel kernels_plan[OP_COUNT + 1] = {
#define OP(name)        {nothing, nothing},
#define OP_NODIFF(name) {nothing, NULL},
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
};

const char *const kernel_names[OP_COUNT + 1] = {
#define OP(name)        #name,
#define OP_NODIFF(name) #name,
#include "kernels/ops.def"
#undef OP
#undef OP_NODIFF
};

const int kernel_count = OP_COUNT;
