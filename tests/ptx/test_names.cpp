/* Launches by the host compiler's copy of a kernel: g++ and nvcc must name them alike, templates included. The
 * copies need no body: only their names are used. */
#include "tests/ptx/test_ptx.h"
#include <utility>

void axpy_kernel(int, float, const float *, float *) {}
template <typename T, int N> void scale_kernel(T *, int) {}
template void scale_kernel<float, 64>(float *, int);
template void scale_kernel<int, 32>(int *, int);

/* The arguments, each converted to its parameter's type. */
template <typename... P, typename... A>
static void launch(void (*kernel)(P...), const char *text, dim3 grid, dim3 block, A &&...a)
{
    std::pair<const void *, size_t> all[] = {{nullptr, sizeof(P)}...};
    void *arg[sizeof...(P)];
    size_t bytes[sizeof...(P)];
    int n = 0;
    auto run = [&](P... value) {
        ((arg[n] = &value, bytes[n] = all[n].second, n++), ...);
        ptx_launch(reinterpret_cast<const void *>(kernel), text, grid, block, 0, arg, bytes, n);
    };
    run(static_cast<P>(a)...);
}

bool test_names_run(void)
{
    bool ok = true;
    float x[100], y[100];
    int z[70];
    for (int i = 0; i < 100; i++) x[i] = float(i), y[i] = 1;
    for (int i = 0; i < 70; i++) z[i] = i;
    launch(axpy_kernel, "axpy_kernel", 4, 32, 99, 2.0, x, y);
    for (int i = 0; i < 100; i++) ok = ok && y[i] == (i < 99 ? 1 + 2 * float(i) : 1);
    launch(scale_kernel<float, 64>, "scale_kernel<float, 64>", dim3(2), dim3(64), x, 100u);
    for (int i = 0; i < 100; i++) ok = ok && x[i] == 64 * float(i);
    launch(scale_kernel<int, 32>, "scale_kernel<int, 32>", 2, 32, z, 63);
    for (int i = 0; i < 70; i++) ok = ok && z[i] == (i < 63 ? 32 * i : i);
    return ok;
}
