/* add, sub, mul (binary.def): y = f(a, b); the gradients in one pass where they are apart, else one after the
 * other, so a and b may be one tensor or views of one.
 *
 * Mapping: a thread takes four neighbours (elements.cuh). What a formula does not use is not loaded. Bytes an
 * element in f32: forward 12; backward 8 a gradient (read and written) and dy once, mul a and b too: add 20,
 * mul
 * 28. Floor: bytes over bandwidth. Log: never timed on a GPU. */
#include "kernels/elements.cuh"

#define FORMULA(name, parameters, used, formula)                                                               \
    struct name {                                                                                              \
        __device__ float operator() parameters const                                                           \
        {                                                                                                      \
            used;                                                                                              \
            return formula;                                                                                    \
        }                                                                                                      \
    };

#define BINARY(name, y_formula, da_formula, db_formula)                                                        \
    FORMULA(name##_y, (float a, float b), (void)0, y_formula)                                                  \
    FORMULA(name##_da, (float a, float b, float dy), ((void)a, (void)b), da_formula)                           \
    FORMULA(name##_db, (float a, float b, float dy), ((void)a, (void)b), db_formula)                           \
    struct name##_both {                                                                                       \
        __device__ float2 operator()(float a, float b, float dy) const                                         \
        {                                                                                                      \
            (void)a, (void)b;                                                                                  \
            return float2{da_formula, db_formula};                                                             \
        }                                                                                                      \
    };                                                                                                         \
    extern "C" void name##_forward_cuda(Tape *, Node *n) { map_pairs(n, name##_y{}); }                         \
    extern "C" void name##_backward_cuda(Tape *, Node *n)                                                      \
    {                                                                                                          \
        add_gradients(n, name##_both{}, name##_da{}, name##_db{});                                             \
    }
#include "kernels/binary.def"
