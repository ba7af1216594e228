/* The driver's functions for reserved addresses (cuMem...): here memory comes when it is touched anyway, so a
 * reservation is an allocation and mapping does nothing but check its bounds. */
#include "tests/emu/runner.h"
#include <cuda.h>

static CUresult reserve(CUdeviceptr *p, size_t bytes, size_t, CUdeviceptr, unsigned long long)
{
    void *at;
    if (cudaMalloc(&at, bytes) != cudaSuccess) return CUDA_ERROR_OUT_OF_MEMORY;
    *p = (CUdeviceptr)(uintptr_t)at;
    return CUDA_SUCCESS;
}
static CUresult release_addresses(CUdeviceptr p, size_t)
{
    return cudaFree((void *)(uintptr_t)p) == cudaSuccess ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A handle is its number of bytes: there is nothing else to know. */
static CUresult create(CUmemGenericAllocationHandle *h, size_t bytes, const CUmemAllocationProp *,
                       unsigned long long)
{
    emu::note("cuMemCreate");
    emu::not_captured("cuMemCreate");
    *h = bytes;
    return CUDA_SUCCESS;
}
static CUresult release(CUmemGenericAllocationHandle h) { return h ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }
static CUresult map(CUdeviceptr, size_t bytes, size_t offset, CUmemGenericAllocationHandle h,
                    unsigned long long)
{
    return offset + bytes <= h ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
static CUresult unmap(CUdeviceptr, size_t) { return CUDA_SUCCESS; }
static CUresult set_access(CUdeviceptr, size_t, const CUmemAccessDesc *, size_t n)
{
    return n == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

extern "C" cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **at, unsigned,
                                                        unsigned long long,
                                                        cudaDriverEntryPointQueryResult *found)
{
    const struct {
        const char *name;
        void *at;
    } table[] = {
        {"cuMemAddressReserve", (void *)reserve},
        {"cuMemAddressFree", (void *)release_addresses},
        {"cuMemCreate", (void *)create},
        {"cuMemRelease", (void *)release},
        {"cuMemMap", (void *)map},
        {"cuMemUnmap", (void *)unmap},
        {"cuMemSetAccess", (void *)set_access},
    };
    *found = cudaDriverEntryPointSymbolNotFound;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(table[i].name, name)) {
            *at = table[i].at;
            *found = cudaDriverEntryPointSuccess;
        }
    return cudaSuccess;
}
