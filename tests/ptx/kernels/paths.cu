/* Divergence, collectives, barriers, atomics. */

/* Nested loops of different lengths, leaving early; what every thread did, counted. */
__global__ void paths_kernel(const int *x, int *y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = x[i], turns = 0, sum = 0;
    while (v != 1) {
        if (++turns > 200) {
            y[i] = -turns;
            return;
        }
        for (int k = 0; k < v % 5; k++) {
            if ((k + i) % 4 == 3) continue;
            sum += k * v % 7;
            if (sum > 900) break;
        }
        switch (v % 9) {
        case 0: sum += 3; break;
        case 1: sum ^= v; break;
        case 2: sum -= turns; /* falls */
        case 3: sum += v; break;
        case 4: v += 2; continue;
        case 5: sum *= 3; break;
        case 6: sum = -sum; break;
        case 7: sum >>= 1; break;
        }
        v = v % 2 ? 3 * v + 1 : v / 2;
        if (sum < -5000) break;
    }
    y[i] = sum * 256 + turns;
}

/* A warp's collectives among parts of it, in loops of different lengths; y (block) */
__global__ void warp_kernel(const int *x, int *y)
{
    const unsigned all = ~0u, i = threadIdx.x, lane = i % 32;
    int v = x[i], sum = 0;
    const unsigned mine = lane % 2 ? 0xAAAAAAAA : 0x55555555;
    if (lane % 2)
        for (int k = 2; k < 32; k *= 2) v += __shfl_xor_sync(mine, v, k);
    else
        v = __shfl_sync(mine, v, 6) - __shfl_up_sync(mine, v, 2, 16);
    __syncwarp();
    sum += v * 3 + __shfl_down_sync(all, v, 3, 8) + __shfl_up_sync(all, v, lane % 4);
    int left = x[i] & 7;
    while (__any_sync(all, left > 0)) {
        const unsigned busy = __ballot_sync(all, left > 0);
        if (left > 0) {
            left--;
            sum += __popc(busy) + (int)__reduce_add_sync(busy, lane);
        }
        if (__all_sync(all, left < 3)) sum++;
    }
    int same;
    sum += (int)__match_any_sync(all, x[i] & 3) % 1009;
    __match_all_sync(all, x[i] & 8, &same);
    sum += same * 5 + (int)__reduce_max_sync(all, (unsigned)v & 1023) + __reduce_min_sync(all, v) % 13;
    sum += (int)__reduce_xor_sync(all, (unsigned)v) % 17 + (int)(__activemask() == all);
    const long long wide = __shfl_xor_sync(all, (long long)sum << 20 | lane, 5);
    unsigned below;
    asm("mov.u32 %0, %%lanemask_lt;" : "=r"(below));
    y[i] = sum + (int)(wide >> 20) + __popc(below & 0x0F0F0F0F);
}

/* Barriers that count, named ones between two halves, atomics on shared and global memory; three warps or more.
 */
__global__ void block_kernel(const int *x, int *y, unsigned *total, unsigned long long *wide, unsigned *turn)
{
    __shared__ int bins[8], relay[64], top;
    const int i = threadIdx.x, warp = i / 32;
    if (i < 8) bins[i] = 0;
    if (i == 8) top = 0;
    int v = x[blockIdx.x * blockDim.x + i];
    int sum =
        __syncthreads_count(v & 1) + 1000 * __syncthreads_or(v == 77) + 2000 * __syncthreads_and(v < 1000);
    atomicAdd(&bins[v & 7], v);
    atomicMax(&top, v);
    /* warp 0 hands over to warp 1 and goes on */
    if (warp == 0) {
        relay[i] = v * 2;
        asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else if (warp == 1) {
        asm volatile("bar.sync 1, 64;" ::: "memory");
        sum += relay[63 - i];
    }
    __syncthreads();
    atomicAdd(total, (unsigned)v);
    atomicAdd(wide, (unsigned long long)v << 30);
    atomicMin(total + 1, (unsigned)v);
    atomicOr(total + 2, 1u << (v & 31));
    atomicAnd(total + 3, ~(1u << (v & 31)));
    atomicXor(total + 4, (unsigned)v);
    atomicInc(total + 5, 6);
    atomicDec(total + 6, 9);
    unsigned old = total[7], seen;
    do {
        seen = old;
        old = atomicCAS(total + 7, seen, seen * 3 + 1);
    } while (old != seen);
    y[blockIdx.x * blockDim.x + i] = sum + bins[i & 7] + top;
    /* the last block to come says so */
    __threadfence();
    __syncthreads();
    if (i == 0 && atomicAdd(turn, 1) == gridDim.x - 1) atomicExch(turn + 1, blockIdx.x + 100);
}

/* Where everybody is. */
__global__ void place_kernel(int *y)
{
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    y[block * blockDim.x * blockDim.y * blockDim.z + thread] = blockIdx.z * 100000 + blockIdx.y * 10000 +
                                                               blockIdx.x * 1000 + threadIdx.z * 100 +
                                                               threadIdx.y * 10 + threadIdx.x;
}
