// What the kernels need of the machine: the only file with inline PTX. Each function has a twin in
// ../emulator/host_cuda.h or host_values.h that a CPU runs.
//
// A kernel is declared by KERNEL where its threads never wait for each other, by BLOCK_KERNEL where they do; both take
// the name without its storage, the type of the one argument, and the launch bounds. Contraction of a * b + c is off for
// all of it (--fmad=false): where one rounding is wanted, `fused` says so, and both machines give the same bits.
#pragma once
#include "arguments.h"
#ifdef HOST_CUDA
#include "../emulator/host_values.h"
#else
#define DEVICE static __device__ __forceinline__
#define DEVICE_MEMBER __device__ __forceinline__
#define BLOCK_KERNEL(name, Arguments, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) SUFFIXED(name)(const __grid_constant__ Arguments a)
#define KERNEL(name, Arguments, threads) BLOCK_KERNEL(name, Arguments, threads, 1)

DEVICE char* shared_memory() { extern __shared__ __align__(128) char memory[]; return memory; }
DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// 16 bytes from global to shared memory, or 16 zeros where not `valid`; complete after wait_copies and a barrier.
DEVICE void copy16(void* to, const void* from, bool valid) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(shared_address(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
#else
    *(uint4*)to = valid ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
#endif
}
// Closes a group of copies.
DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits until all but the last PENDING groups of this thread have arrived.
template <int PENDING> DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" :: "n"(PENDING) : "memory");
#endif
}

DEVICE void barrier() { __syncthreads(); }
// Results of load_matrices and product may be read after it. No instruction is needed here; the emulator runs a warp's
// operations together, and this is where it must have.
DEVICE void settle() {}
DEVICE float exchange(float v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }
DEVICE int exchange(int v, int mask) { return __shfl_xor_sync(0xffffffffu, v, mask); }

// Four 8x8 matrices of 16 bits: lane l gives the address of row l % 8 of matrix l / 8; register m holds, of matrix m, row
// lane / 4 and the 32 bits at column lane % 4. So it loads fragments of 32-bit values as well.
DEVICE void load_matrices(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
DEVICE void load_matrices_transposed(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}

DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }
DEVICE u32 bits_of(float v) { return __float_as_uint(v); }
DEVICE u32 high_product(u32 a, u32 b) { return __umulhi(a, b); }
DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }

#define MMA(shape, type) \
    asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

#ifdef STORE_FLOATS
DEVICE float widen(Value v) { return v; }
DEVICE Value narrow(float v) { return v; }
DEVICE u32 tf32(float v) { u32 r; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(v)); return r; }
DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { MMA("m16n8k8", "tf32"); }
#elif defined(STORE_F16)
DEVICE float widen(Value v) { float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v)); return r; }
DEVICE Value narrow(float v) { Value r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(v)); return r; }
#else
DEVICE float widen(Value v) { return __uint_as_float((u32)v << 16); }
DEVICE Value narrow(float v) { Value r; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(v)); return r; }
#endif

// 16x8 += 16x16 * 16x8 of 16 bits, or 16x8 * 8x8 of 32, sums in float: `a` of one load_matrices, `b` half of another.
DEVICE void product(float (&c)[4], const u32 (&a)[4], const u32 (&b)[4], int half) {
    const u32 b0 = b[2 * half], b1 = b[2 * half + 1];
#if defined(STORE_TF32)
    const u32 near[4] = {tf32(float_of(a[0])), tf32(float_of(a[1])), tf32(float_of(a[2])), tf32(float_of(a[3]))};
    multiply(c, near, tf32(float_of(b0)), tf32(float_of(b1)));
#elif defined(STORE_F32)
    // x = high + low, 21 bits of it; the product of the low parts is below the last bit of a float.
    u32 high[4], low[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        high[i] = tf32(float_of(a[i]));
        low[i] = tf32(float_of(a[i]) - float_of(high[i]));
    }
    const u32 high0 = tf32(float_of(b0)), high1 = tf32(float_of(b1));
    const u32 low0 = tf32(float_of(b0) - float_of(high0)), low1 = tf32(float_of(b1) - float_of(high1));
    // Tensor cores cut a sum's digits off instead of rounding it: only these few products are summed there.
    float few[4] = {0, 0, 0, 0};
    multiply(few, low, high0, high1);
    multiply(few, high, low0, low1);
    multiply(few, high, high0, high1);
#pragma unroll
    for (int e = 0; e < 4; e++) c[e] += few[e];
#elif defined(STORE_F16)
#if __CUDA_ARCH__ >= 800
    MMA("m16n8k16", "f16");
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
#else
    MMA("m16n8k16", "bf16");
#endif
}
#endif
