// A GPU for tests: the kernels' own source runs on one CPU thread, with the machine's traps kept.
//
// Threads of a block are fibers that switch where they wait: at a barrier or a warp's operation. They run in ascending,
// descending or random order. Shared memory starts as NaN. Copies into it land at once (`early`) or only when waited for;
// a warp's matrix loads and products happen at once or only when somebody may rely on them: at `settle` or a barrier. A
// warpgroup's products happen at once or when they are waited for, and what a gate awaits lands at once or when everybody
// waits.
// Kernels whose threads never wait for each other run as a plain loop.
//
// The layouts of fragments are those of the PTX manual (mma.m16n8k16, mma.m16n8k8 for tf32, ldmatrix), written down by
// the author of the kernels: what both misread shows on a GPU only.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
using std::max;
using std::min;

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE static inline
#define DEVICE_MEMBER inline
#define HOST_TEXT_(x) #x
#define HOST_TEXT(x) HOST_TEXT_(x)
#define HOST_KERNEL(name, Arguments, threads, waits)                                                           \
    static void name(const Arguments& a);                                                                      \
    static host::Kernel name##_entry(HOST_TEXT(SUFFIXED(name)), sizeof(Arguments), threads, waits,              \
                                     [](const void* a) { name(*(const Arguments*)a); }, run_product);          \
    static void name(const Arguments& a)
#define BLOCK_KERNEL(name, Arguments, threads, blocks) HOST_KERNEL(name, Arguments, threads, true)
#define KERNEL(name, Arguments, threads) HOST_KERNEL(name, Arguments, threads, false)

struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) float2 { float x, y; };
DEVICE float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
DEVICE float2 make_float2(float x, float y) { return {x, y}; }
struct dim { u32 x, y, z; };
// As on the device; one kernel runs at a time.
extern dim threadIdx, blockIdx, blockDim, gridDim;

namespace host {
// A gate of shared memory: open when nobody and nothing is awaited; then it closes for the next round.
struct Gate { u16 arrivals, awaited; u32 bytes : 31, round : 1; };
static_assert(sizeof(Gate) == 8);
// A copy on its way, of so many bytes; or, `from` nothing, an arrival at a gate behind the copies before it.
struct Copy { void* to; const void* from; bool valid; u32 group; u32 bytes; Gate* gate; };
// A warp's operation, one lane's part of it.
enum Kind { MATRICES, TRANSPOSED, PRODUCT, FRESH, ADDED };
struct Operation { Kind kind; void* to; const void* left; const void* right; int step = 0; };
struct Fiber {
    void* sp;
    const u64* waits;  // a counter that must move on before this thread does
    u64 seen;
    bool done;
    void* slot;
    u32 group;
    size_t landed;     // copies that have
    std::vector<Copy> copies;
    std::vector<Copy> blocks;  // those that no thread waits for, but a gate
    std::vector<Operation> operations;
    std::vector<Operation> behind;  // products of its warpgroup that nobody has waited for,
    size_t closed;                  // those of them whose group is closed; and whether more may begin
    bool started;
};
struct Warp { u64 generation; int arrived; };
// The product of a warp's lanes, operation number `index` of each; `fresh`: the left operands are not those of the last.
typedef void (*Product)(const Fiber* lanes, size_t index, bool fresh);
struct Kernel {
    const char* name;
    size_t bytes;      // of the argument
    u32 threads;       // launch bound
    bool waits;
    void (*run)(const void*);
    Product product;
    Kernel* next;
    Kernel(const char* name, size_t bytes, u32 threads, bool waits, void (*run)(const void*), Product product);
};
extern Kernel* kernels;
enum Order { ASCENDING, DESCENDING, RANDOM };
struct Mode { Order order = ASCENDING; bool early = false; };
struct Counts { u64 launches, blocks, products; };
extern Counts counts;
// Runs a kernel to its end. Ends the process, saying why, at a deadlock or a warp that diverges.
void launch(const Kernel& kernel, dim grid, dim threads, u32 shared_bytes, const void* argument, Mode mode);

struct Named { u64 generation; u32 arrived; };  // a barrier of some threads
struct Block {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Named named[2];
    u64 generation, opened;  // barriers of all threads; gates
    u32 arrived, alive, now;
    char* memory;
    bool early;         // copies and a warp's operations; a warpgroup's products:
    bool early_behind;
};
extern Block block;
[[noreturn]] void fail(const char* why);
void pause(const u64* counter);
void barrier();
void barrier_of(u32 which, u32 threads, bool waits);
void pass(Gate* gate);
void arrive(Gate* gate);
void land(const Copy& copy);
void land(Fiber& fiber);
void settle();
void operate(const Operation& operation);
// A warp's part of its warpgroup's products: `run` has its lanes, whose `behind` it empties.
void settle_behind(void (*run)(Fiber* lanes));
// All 32 lanes bring a slot; the last to come does the work for all.
template <class Work> void meet(void* mine, Work work) {
    const u32 lane = block.now % 32;
    Warp& warp = block.warps[block.now / 32];
    Fiber* lanes = &block.fibers[block.now - lane];
    lanes[lane].slot = mine;
    if (++warp.arrived < 32) return pause(&warp.generation);
    work(lanes);
    warp.arrived = 0;
    warp.generation++;
}
template <class T> T exchange(T v, int mask) {
    struct Pair { T in, out; } pair{v, v};
    meet(&pair, [mask](Fiber* lanes) {
        for (int i = 0; i < 32; i++) ((Pair*)lanes[i].slot)->out = ((Pair*)lanes[i ^ mask].slot)->in;
    });
    return pair.out;
}
inline void check_aligned(const void* p) { if ((uintptr_t)p % 16) fail("an address is not a multiple of 16"); }
}

DEVICE char* shared_memory() { return host::block.memory; }
DEVICE void barrier() { host::barrier(); }
DEVICE void settle() { host::settle(); }
DEVICE float exchange(float v, int mask) { return host::exchange(v, mask); }
DEVICE int exchange(int v, int mask) { return host::exchange(v, mask); }
DEVICE void copy16(void* to, const void* from, bool valid) {
    host::check_aligned(to);
    host::check_aligned(from);
    host::Fiber& f = host::block.fibers[host::block.now];
    if (!host::block.early) f.copies.push_back({to, from, valid, f.group, 16, nullptr});
    else if (valid) memcpy(to, from, 16);
    else memset(to, 0, 16);
}
DEVICE void commit_copies() { host::block.fibers[host::block.now].group++; }
template <int PENDING> DEVICE void wait_copies() {
    host::Fiber& f = host::block.fibers[host::block.now];
    while (!f.copies.empty() && f.copies[f.landed].group + PENDING < f.group) host::land(f);
}
DEVICE void open_gate(u64* gate, int arrivals) { *(host::Gate*)gate = {(u16)arrivals, (u16)arrivals, 0, 0}; }
DEVICE void show_gates() {}
DEVICE void arrive_together(u64* gate) {
    host::meet(nullptr, [gate](host::Fiber*) { host::arrive((host::Gate*)gate); });
}
DEVICE void expect_bytes(u64* gate, int bytes) {
    ((host::Gate*)gate)->bytes += bytes;
    host::arrive((host::Gate*)gate);
}
// What a gate awaits lands at once, or when all threads wait.
DEVICE void arrive_when_copied(u64* gate) {
    host::Fiber& f = host::block.fibers[host::block.now];
    f.copies.push_back({nullptr, nullptr, true, f.group, 0, (host::Gate*)gate});
    if (host::block.early) host::land(f);
}
DEVICE void copy_block(void* to, const void* from, int bytes, u64* gate) {
    host::check_aligned(to);
    host::check_aligned(from);
    const host::Copy copy = {to, from, true, 0, (u32)bytes, (host::Gate*)gate};
    if (host::block.early) host::land(copy);
    else host::block.fibers[host::block.now].blocks.push_back(copy);
}
DEVICE void wait_gate(u64* gate, int parity) {
    while (((host::Gate*)gate)->round == (u32)parity) host::pause(&host::block.opened);
}
DEVICE void wait_turn(int whose) { host::barrier_of(whose, 256, true); }
DEVICE void give_turn(int whose) { host::barrier_of(whose, 256, false); }
template <int COUNT> DEVICE void more_registers() {}
template <int COUNT> DEVICE void fewer_registers() {}
DEVICE void load_matrices(u32 (&r)[4], const void* row) { host::operate({host::MATRICES, r, row, nullptr}); }
DEVICE void load_matrices_transposed(u32 (&r)[4], const void* row) { host::operate({host::TRANSPOSED, r, row, nullptr}); }
template <int N> static void products(float (&c)[N][4], const u32 (&a)[4], const u32 (&b)[N / 2][4]) {
    for (int j = 0; j < N; j++) host::operate({host::PRODUCT, c[j], a, b[j / 2] + j % 2 * 2});
}

DEVICE float float_of(u32 u) { float f; memcpy(&f, &u, 4); return f; }
DEVICE u32 bits_of(float f) { u32 u; memcpy(&u, &f, 4); return u; }
DEVICE u32 high_product(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }
DEVICE float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
