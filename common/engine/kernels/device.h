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
    asm("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};" \
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

// A row of fragments: c[j] (16x8) += a * b[j], sums in float: 16x16 * 16x8 of 16 bits, or 16x8 * 8x8 of 32. `a` is of one
// load_matrices, b[j] half of another: of b[j / 2].
#if defined(STORE_F32)
// x = high + low, 22 bits of it; the product of the low parts is below the last bit of a float. Tensor cores cut a sum's
// digits off instead of rounding it: only these few products are summed there. The passes go over the whole row, so that
// none waits for the one before.
// The high part is cut, the low one rounded: cvt.rna is five instructions on some chips, and the products read no further
// bits. What is not a number stays so in the high part.
DEVICE u32 high_part(u32 x) { return x & 0xffffe000; }
DEVICE u32 low_part(u32 x) { return bits_of(float_of(x) - float_of(high_part(x))) + 0x1000; }
template <int N> DEVICE void products(float (&c)[N][4], const u32 (&a)[4], const u32 (&b)[N / 2][4]) {
    u32 high[4], low[4], far[N][2], near[N][2];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        high[i] = high_part(a[i]);
        low[i] = low_part(a[i]);
    }
    float few[N][4];
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            far[j][i] = high_part(b[j / 2][j % 2 * 2 + i]);
            near[j][i] = low_part(b[j / 2][j % 2 * 2 + i]);
            few[j][2 * i] = few[j][2 * i + 1] = 0;
        }
#pragma unroll
    for (int j = 0; j < N; j++) multiply(few[j], low, far[j][0], far[j][1]);
#pragma unroll
    for (int j = 0; j < N; j++) multiply(few[j], high, near[j][0], near[j][1]);
#pragma unroll
    for (int j = 0; j < N; j++) multiply(few[j], high, far[j][0], far[j][1]);
#pragma unroll
    for (int j = 0; j < N; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) c[j][e] += few[j][e];
}
#else
DEVICE void product(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if defined(STORE_TF32)
    const u32 near[4] = {tf32(float_of(a[0])), tf32(float_of(a[1])), tf32(float_of(a[2])), tf32(float_of(a[3]))};
    multiply(c, near, tf32(float_of(b0)), tf32(float_of(b1)));
#elif defined(STORE_F16)
#if __CUDA_ARCH__ >= 800
    MMA("m16n8k16", "f16");
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
#else
    MMA("m16n8k16", "bf16");
#endif
}
template <int N> DEVICE void products(float (&c)[N][4], const u32 (&a)[4], const u32 (&b)[N / 2][4]) {
#pragma unroll
    for (int j = 0; j < N; j++) product(c[j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
}
#endif

#ifdef STORE_FLOATS
// Two numbers rounded to halves, the first in the lower 16 bits; and back.
DEVICE u32 halves_of(float first, float second) {
    u32 r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(second), "f"(first));
    return r;
}
DEVICE float2 floats_of(u32 halves) {
    float2 v;
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }" : "=f"(v.x), "=f"(v.y) : "r"(halves));
    return v;
}

// Products of a warpgroup, four warps that begin at a multiple of four (compute capability 9.0 alone, sm_90a). They run
// behind the warps' backs: between `start_products` and `wait_products` nobody may touch the sums, the left operands or
// the tile of the right one.
DEVICE void start_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void close_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// A place that the compiler moves nothing across, for the work that is to be done while products run, not behind them:
// where the thread would end were it not for `nothing`, a 0 that the compiler does not know.
DEVICE void part(u32 nothing) { asm volatile("{ .reg .pred p; setp.ne.b32 p, %0, 0; @p exit; }" :: "r"(nothing) : "memory"); }
// Waits for all products under way. To the compiler their sums were there at once: that they are there now is said here.
template <int N> DEVICE void wait_products(float (&c)[N][4]) {
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#pragma unroll
    for (int j = 0; j < N; j++) asm volatile("" : "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3]) :: "memory");
}

// Gates in shared memory: open when so many have arrived and all bytes that are expected are there, again and again. A
// wait is for the opening with this parity, the first being 0.
DEVICE void open_gate(u64* gate, int arrivals) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" :: "r"(shared_address(gate)), "r"(arrivals) : "memory"); }
// Gates that were made may be used once a barrier follows.
DEVICE void show_gates() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
// One arrival for a warp, behind what all of its lanes did.
DEVICE void arrive_together(u64* gate) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) asm volatile("mbarrier.arrive.shared.b64 _, [%0];" :: "r"(shared_address(gate)) : "memory");
}
// Arrives, and holds the gate until so many bytes have come by copy_block.
DEVICE void expect_bytes(u64* gate, int bytes) { asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" :: "r"(shared_address(gate)), "r"(bytes) : "memory"); }
// Arrives once all copies of this thread so far have landed.
DEVICE void arrive_when_copied(u64* gate) { asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" :: "r"(shared_address(gate)) : "memory"); }
DEVICE void copy_block(void* to, const void* from, int bytes, u64* gate) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
                 :: "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(gate)) : "memory");
}
DEVICE void wait_gate(u64* gate, int parity) {
    asm volatile("{ .reg .pred open; again: mbarrier.try_wait.parity.shared.b64 open, [%0], %1; @open bra done; bra again; done: }"
                 :: "r"(shared_address(gate)), "r"(parity) : "memory");
}
// Two warpgroups take turns: each waits for its own, and gives the other's.
DEVICE void wait_turn(int whose) { asm volatile("bar.sync %0, 256;" :: "r"(whose + 1) : "memory"); }
DEVICE void give_turn(int whose) { asm volatile("bar.arrive %0, 256;" :: "r"(whose + 1) : "memory"); }
// Of a warpgroup's registers: what it gives up another may take.
template <int COUNT> DEVICE void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(COUNT)); }
template <int COUNT> DEVICE void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(COUNT)); }

#define SUMS1(j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define SUMS8(j) SUMS1(j), SUMS1(j + 1), SUMS1(j + 2), SUMS1(j + 3), SUMS1(j + 4), SUMS1(j + 5), SUMS1(j + 6), SUMS1(j + 7)
#define NAMES32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define NAMES64 NAMES32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define NAMES80 NAMES64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define WARPGROUP_MMA(shape, names, left, right, old) \
    "{ .reg .pred keeps; setp.ne.b32 keeps, " old ", 0;" \
    " wgmma.mma_async.sync.aligned." shape ".f32.f16.f16 {" names "}, {" left "}, " right ", keeps, 1, 1, 0; }"
#define WARPGROUP_OPERANDS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(from), "r"((int)keeps)
// c (64 x 8 N) = a (64 x 16) * b (16 x 8 N), added to c where `keeps`. A warp's rows of c and a are fragments as in
// `product`. Of b, in shared memory, a matrix of 8 channels by 8 terms is 128 bytes, a row a channel; the next 8 terms
// follow it, the next 8 channels are STEP bytes on.
template <int STEP, int N> DEVICE void add_products(float (&c)[N][4], const u32 (&a)[4], const void* b, bool keeps) {
    const u64 from = (u64)(shared_address(b) >> 4 & 0x3fff) | (u64)(128 >> 4) << 16 | (u64)(STEP >> 4) << 32;
    if constexpr (N == 20)
        asm volatile(WARPGROUP_MMA("m64n160k16", NAMES80, "%80,%81,%82,%83", "%84", "%85") : SUMS8(0), SUMS8(8), SUMS1(16), SUMS1(17), SUMS1(18), SUMS1(19) : WARPGROUP_OPERANDS);
    else if constexpr (N == 16)
        asm volatile(WARPGROUP_MMA("m64n128k16", NAMES64, "%64,%65,%66,%67", "%68", "%69") : SUMS8(0), SUMS8(8) : WARPGROUP_OPERANDS);
    else
        asm volatile(WARPGROUP_MMA("m64n64k16", NAMES32, "%32,%33,%34,%35", "%36", "%37") : SUMS8(0) : WARPGROUP_OPERANDS);
}
#endif
#endif
