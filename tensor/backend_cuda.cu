/* The CUDA device as a backend, and the one symbol of its plug-in.
 *
 * Memory: an allocation reserves addresses; physical memory is mapped a granule at a time when an arena grows
 * (cuMemMap), so that capacities are bounds here as on the CPU. The driver's functions are asked for at run
 * time (cudaGetDriverEntryPoint): the plug-in links no libcuda and loads where there is no driver.
 *
 * Everything runs on one stream. Kernels that meet a bad index write it to cuda_fault and go on; the next
 * download or sync reports it. While the stream is captured, whatever is not kept in the graph dies. */
#include "kernels/cuda.cuh"
#include "tensor/arena.h"
#include "tensor/probe.h"
#include <cuda.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PCRL_DEVICE
#define PCRL_DEVICE "cuda"
#endif

HostApi host;
cudaStream_t cuda_stream;
CudaFault *cuda_fault;

extern "C" const Kernel kernels_cuda[];
extern "C" const Probe device_probe;
extern "C" void quant_pack(DType dtype, int64_t n, const void *from, void *to);
extern "C" void quant_unpack(DType dtype, int64_t n, const void *from, void *to);

namespace
{

enum { MAX_SPANS = 64 };
const size_t granule = (size_t)32 << 20, bounce_bytes = (size_t)16 << 20;

/* One allocation: reserved addresses, and the granules of it that are mapped. */
struct Span {
    char *base;
    size_t bytes, granules;
    CUmemGenericAllocationHandle *handle;
    unsigned char *mapped;
};
Span spans[MAX_SPANS];
void *bounce;
bool capturing;

decltype(&cuMemAddressReserve) mem_reserve;
decltype(&cuMemAddressFree) mem_free;
decltype(&cuMemCreate) mem_create;
decltype(&cuMemRelease) mem_release;
decltype(&cuMemMap) mem_map;
decltype(&cuMemUnmap) mem_unmap;
decltype(&cuMemSetAccess) mem_access;

const struct {
    const char *name;
    void **at;
} driver[] = {
    {"cuMemAddressReserve", (void **)&mem_reserve},
    {"cuMemAddressFree", (void **)&mem_free},
    {"cuMemCreate", (void **)&mem_create},
    {"cuMemRelease", (void **)&mem_release},
    {"cuMemMap", (void **)&mem_map},
    {"cuMemUnmap", (void **)&mem_unmap},
    {"cuMemSetAccess", (void **)&mem_access},
};

bool refuse(Error *e, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    e->code = code;
    vsnprintf(e->msg, sizeof e->msg, format, args);
    va_end(args);
    return false;
}

void check(cudaError_t r, const char *what)
{
    if (r != cudaSuccess) host.die("%s: %s: %s", PCRL_DEVICE, what, cudaGetErrorString(r));
}

void not_in_graph(const char *what)
{
    if (capturing) host.die("%s: %s while a graph is captured", PCRL_DEVICE, what);
}

void *device_alloc(size_t bytes, Error *e)
{
    int i = 0;
    not_in_graph("an arena is opened");
    while (i < MAX_SPANS && spans[i].base) i++;
    if (i == MAX_SPANS) {
        refuse(e, ERROR_MEMORY, "device %s: more than %d arenas", PCRL_DEVICE, MAX_SPANS);
        return NULL;
    }
    size_t granules = (bytes + granule - 1) / granule;
    CUdeviceptr p = 0;
    CUresult r = mem_reserve(&p, granules * granule, granule, 0, 0);
    if (r != CUDA_SUCCESS) {
        refuse(e, ERROR_MEMORY, "device %s: cannot reserve %zu bytes of addresses (error %d)", PCRL_DEVICE,
               granules * granule, (int)r);
        return NULL;
    }
    spans[i].handle = (CUmemGenericAllocationHandle *)calloc(granules, sizeof *spans[i].handle);
    spans[i].mapped = (unsigned char *)calloc(granules, 1);
    if (!spans[i].handle || !spans[i].mapped) host.die("out of host memory for %zu granules", granules);
    spans[i].base = (char *)p;
    spans[i].bytes = granules * granule;
    spans[i].granules = granules;
    return spans[i].base;
}

Span *span_of(const void *p)
{
    for (int i = 0; i < MAX_SPANS; i++)
        if (spans[i].base && (const char *)p >= spans[i].base &&
            (const char *)p < spans[i].base + spans[i].bytes)
            return &spans[i];
    host.die("%s: %p is in no arena of this device", PCRL_DEVICE, p);
    return NULL;
}

bool map_granule(Span *s, size_t g)
{
    CUmemAllocationProp prop = {};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    prop.location.id = 0;
    CUmemAccessDesc access = {};
    access.location = prop.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    CUdeviceptr at = (CUdeviceptr)(s->base + g * granule);
    if (mem_create(&s->handle[g], granule, &prop, 0) != CUDA_SUCCESS) return false;
    if (mem_map(at, granule, 0, s->handle[g], 0) != CUDA_SUCCESS) {
        mem_release(s->handle[g]);
        return false;
    }
    if (mem_access(at, granule, &access, 1) != CUDA_SUCCESS) {
        mem_unmap(at, granule);
        mem_release(s->handle[g]);
        return false;
    }
    return true;
}

bool device_commit(void *p, size_t bytes)
{
    Span *s = span_of(p);
    not_in_graph("an arena grows");
    size_t from = (size_t)((char *)p - s->base) / granule,
           to = ((size_t)((char *)p - s->base) + bytes - 1) / granule;
    for (size_t g = from; g <= to; g++) {
        if (!s->mapped[g] && !map_granule(s, g)) return false;
        s->mapped[g] = 1;
    }
    return true;
}

void device_release(void *p, size_t)
{
    Span *s = span_of(p);
    not_in_graph("an arena is closed");
    check(cudaStreamSynchronize(cuda_stream), "before memory is given back");
    for (size_t g = 0; g < s->granules; g++) {
        if (!s->mapped[g]) continue;
        mem_unmap((CUdeviceptr)(s->base + g * granule), granule);
        mem_release(s->handle[g]);
    }
    mem_free((CUdeviceptr)s->base, s->bytes);
    free(s->handle);
    free(s->mapped);
    memset(s, 0, sizeof *s);
}

void report_fault()
{
    CudaFault f;
    check(cudaMemcpyAsync(&f, cuda_fault, sizeof f, cudaMemcpyDeviceToHost, cuda_stream),
          "reading the fault word");
    check(cudaStreamSynchronize(cuda_stream), "a kernel");
    if (f.op) host.die("%s: %d is not in 0..%d", kernel_names[f.op - 1], f.value, f.limit - 1);
}

void device_zero(void *p, size_t bytes) { check(cudaMemsetAsync(p, 0, bytes, cuda_stream), "zeroing"); }

void device_upload(void *dst, const void *src, size_t bytes)
{
    not_in_graph("an upload");
    /* From pageable memory it returns once the source is staged: that may then be gone, and nothing waits. */
    check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, cuda_stream), "upload");
}

void device_download(void *dst, const void *src, size_t bytes)
{
    not_in_graph("a download");
    check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, cuda_stream), "download");
    report_fault();
}

void copy(char *dst, const char *src, size_t bytes)
{
    check(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, cuda_stream), "move");
}

/* Where source and target overlap, piece by piece through a buffer, from the end that the other is not. */
void device_move(void *to, const void *from, size_t bytes)
{
    char *dst = (char *)to;
    const char *src = (const char *)from;
    if (dst == src) return;
    if (dst + bytes <= src || src + bytes <= dst) {
        copy(dst, src, bytes);
        return;
    }
    for (size_t done = 0; done < bytes;) {
        size_t piece = bytes - done < bounce_bytes ? bytes - done : bounce_bytes,
               at = dst < src ? done : bytes - done - piece;
        copy((char *)bounce, src + at, piece);
        copy(dst + at, (const char *)bounce, piece);
        done += piece;
    }
}

void device_sync(void)
{
    not_in_graph("a wait");
    report_fault();
}

/* Thread-local: a forbidden call of this thread fails, other threads may do as they like. */
void capture_begin(void)
{
    not_in_graph("another capture");
    check(cudaStreamBeginCapture(cuda_stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
    capturing = true;
}

void *capture_end(void)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    check(cudaStreamEndCapture(cuda_stream, &graph), "ending a capture");
    capturing = false;
    check(cudaGraphInstantiate(&exec, graph, 0), "making a graph");
    check(cudaGraphDestroy(graph), "making a graph");
    return exec;
}

void graph_launch(void *graph)
{
    not_in_graph("a graph is launched");
    check(cudaGraphLaunch((cudaGraphExec_t)graph, cuda_stream), "launching a graph");
}

void graph_free(void *graph) { check(cudaGraphExecDestroy((cudaGraphExec_t)graph), "freeing a graph"); }

Backend backend = {PCRL_DEVICE,   0,           device_alloc,  device_release,
                   device_commit, device_zero, device_upload, device_download,
                   device_move,   device_sync, capture_begin, capture_end,
                   graph_launch,  graph_free,  kernels_cuda,  &device_probe,
                   quant_pack,    quant_unpack};

/* Why the device cannot serve, or false. No driver leaves the count unwritten: only the code counts. */
bool open_device(Error *e)
{
    int count = 0;
    cudaError_t r = cudaGetDeviceCount(&count);
    if (r != cudaSuccess) return refuse(e, ERROR_INPUT, "device %s: %s", PCRL_DEVICE, cudaGetErrorString(r));
    if (count < 1) return refuse(e, ERROR_INPUT, "device %s: no GPU in this machine", PCRL_DEVICE);
    int major = 0, minor = 0;
    r = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
    if (r == cudaSuccess) r = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
    if (r == cudaSuccess && major < 8)
        return refuse(e, ERROR_INPUT, "device %s: GPU 0 has compute capability %d.%d, expected 8.0 or higher",
                      PCRL_DEVICE, major, minor);
    if (r == cudaSuccess) r = cudaStreamCreateWithFlags(&cuda_stream, cudaStreamNonBlocking);
    if (r == cudaSuccess) r = cudaMalloc((void **)&cuda_fault, sizeof *cuda_fault);
    if (r == cudaSuccess) r = cudaMemsetAsync(cuda_fault, 0, sizeof *cuda_fault, cuda_stream);
    if (r == cudaSuccess) r = cudaMalloc(&bounce, bounce_bytes);
    if (r != cudaSuccess) return refuse(e, ERROR_MEMORY, "device %s: %s", PCRL_DEVICE, cudaGetErrorString(r));
    for (size_t i = 0; i < sizeof driver / sizeof *driver; i++) {
        cudaDriverEntryPointQueryResult found;
        r = cudaGetDriverEntryPointByVersion(driver[i].name, driver[i].at, 12000, cudaEnableDefault, &found);
        if (r != cudaSuccess || found != cudaDriverEntryPointSuccess)
            return refuse(e, ERROR_INPUT, "device %s: the driver has no %s: it is too old", PCRL_DEVICE,
                          driver[i].name);
    }
    return true;
}

} // namespace

extern "C" __attribute__((visibility("default"))) const Backend *pcrl_backend(const HostApi *api, Error *e)
{
    host = *api;
    backend.abi = backend_abi();
    /* Of another build: the program says so, with both numbers. */
    if (backend.abi != api->abi) return &backend;
    static bool open;
    if (!open && !open_device(e)) return NULL;
    open = true;
    return &backend;
}
