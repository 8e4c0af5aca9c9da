// The scheduler behind host_cuda.h: fibers, their order, and a warp's operations.
#include "host_cuda.h"
#include <sys/mman.h>

dim threadIdx, blockIdx, blockDim, gridDim;

namespace host {
Kernel* kernels;
Counts counts;
Block block;
static const Kernel* running;
static const void* argument;
static void* home;

Kernel::Kernel(const char* name, size_t bytes, u32 threads, bool waits, void (*run)(const void*), Product product)
    : name(name), bytes(bytes), threads(threads), waits(waits), run(run), product(product), next(kernels) {
    kernels = this;
}

void fail(const char* why) {
    fprintf(stderr, "emulated GPU: %s: block (%u, %u, %u) thread (%u, %u): %s\n", running ? running->name : "no kernel",
            blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, why);
    abort();
}

// Saves this fiber's registers and stack, and goes on with another's. x86-64.
extern "C" void host_switch(void** save, void* to);
asm(R"(
.globl host_switch
.hidden host_switch
host_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

void pause(const u64* counter) {
    if (!running->waits) fail("a thread waits in a kernel that was declared without waiting");
    Fiber& f = block.fibers[block.now];
    f.waits = counter;
    f.seen = *counter;
    host_switch(&f.sp, home);
}

// Register m of lane l: of matrix m row l / 4, columns 2 (l % 4) and the next; transposed, column l / 4.
static void run_matrices(const Fiber* lanes, size_t index, bool transposed) {
    u16 matrix[4][8][8];
    for (int i = 0; i < 32; i++) memcpy(matrix[i / 8][i % 8], lanes[i].operations[index].left, 16);
    for (int i = 0; i < 32; i++) {
        u32* r = (u32*)lanes[i].operations[index].to;
        const int g = i / 4, t = i % 4 * 2;
        for (int m = 0; m < 4; m++)
            r[m] = transposed ? matrix[m][t][g] | (u32)matrix[m][t + 1][g] << 16 : matrix[m][g][t] | (u32)matrix[m][g][t + 1] << 16;
    }
}
static void run_operations(Fiber* lanes) {
    const size_t many = lanes[0].operations.size();
    const void* left = nullptr;
    for (int i = 1; i < 32; i++)
        if (lanes[i].operations.size() != many) fail("lanes of a warp have different operations");
    for (size_t o = 0; o < many; o++) {
        const Kind kind = lanes[0].operations[o].kind;
        for (int i = 1; i < 32; i++)
            if (lanes[i].operations[o].kind != kind) fail("lanes of a warp have different operations");
        if (kind == PRODUCT) {
            running->product(lanes, o, left != lanes[0].operations[o].left);
            left = lanes[0].operations[o].left;
            counts.products++;
        } else {
            run_matrices(lanes, o, kind == TRANSPOSED);
            left = nullptr;
        }
    }
    for (int i = 0; i < 32; i++) lanes[i].operations.clear();
}
void settle() { meet(nullptr, run_operations); }
void operate(const Operation& operation) {
    if (operation.kind != PRODUCT) check_aligned(operation.left);
    block.fibers[block.now].operations.push_back(operation);
    if (block.early) settle();
}

// A barrier waits for no products: these run late, when their warp waits for them, or at once.
void settle_behind(void (*run)(Fiber* lanes)) {
    meet(nullptr, [run](Fiber* lanes) {
        for (int i = 1; i < 32; i++)
            if (lanes[i].behind.size() != lanes[0].behind.size()) fail("lanes of a warp have different products");
        counts.products += lanes[0].behind.size();
        run(lanes);
        for (int i = 0; i < 32; i++) lanes[i].behind.erase(lanes[i].behind.begin(), lanes[i].behind.begin() + lanes[i].closed);
        for (int i = 0; i < 32; i++) lanes[i].closed = 0;
    });
}

static void open_barrier() {
    for (size_t first = 0; first + 32 <= block.fibers.size(); first += 32)
        if (!block.fibers[first].operations.empty()) run_operations(&block.fibers[first]);
    block.arrived = 0;
    block.generation++;
}
void barrier() {
    if (++block.arrived == block.alive) open_barrier();
    else pause(&block.generation);
}

// A barrier of so many threads, of which those that only arrive do not wait.
void barrier_of(u32 which, u32 threads, bool waits) {
    Named& named = block.named[which];
    if (++named.arrived == threads) named.arrived = 0, named.generation++;
    else if (waits) pause(&named.generation);
}
// Opens a gate for its round where nothing is awaited any more.
void pass(Gate* gate) {
    if (gate->awaited || gate->bytes) return;
    gate->awaited = gate->arrivals;
    gate->round ^= 1;
    block.opened++;
}
void arrive(Gate* gate) {
    gate->awaited--;
    pass(gate);
}
void land(const Copy& copy) {
    if (copy.from && copy.valid) memcpy(copy.to, copy.from, copy.bytes);
    else if (copy.from) memset(copy.to, 0, copy.bytes);
    if (!copy.gate) return;
    if (!copy.from) return arrive(copy.gate);
    copy.gate->bytes -= copy.bytes;
    pass(copy.gate);
}
// The next copy of a thread, or arrival behind its copies.
void land(Fiber& f) {
    land(f.copies[f.landed++]);
    if (f.landed == f.copies.size()) f.copies.clear(), f.landed = 0;
}
// Everybody waits: the copies up to some thread's next gate land, or else the oldest block. Whether there were any.
static bool land_some() {
    for (Fiber& f : block.fibers) {
        const u64 opened = block.opened;
        bool gated = false;
        for (size_t i = f.landed; i < f.copies.size(); i++) gated |= f.copies[i].gate != nullptr;
        if (!gated) continue;
        for (bool arrived = false; !arrived;) {
            arrived = f.copies[f.landed].gate;
            land(f);
        }
        if (block.opened != opened) return true;
    }
    for (Fiber& f : block.fibers) {
        if (f.blocks.empty()) continue;
        const Copy first = f.blocks.front();
        f.blocks.erase(f.blocks.begin());
        land(first);
        return true;
    }
    return false;
}

// A fiber's whole life.
static void live() {
    running->run(argument);
    Fiber& f = block.fibers[block.now];
    if (!f.behind.empty()) fail("a thread ends before its products");
    f.done = true;
    block.alive--;
    if (block.alive && block.arrived == block.alive) open_barrier();
    void* nobody;
    host_switch(&nobody, home);
}

static u64 draw() {
    static u64 state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}
// Numbers below `count` in the order of the mode.
static void order_of(std::vector<u32>& turn, u32 count, Order order) {
    turn.resize(count);
    for (u32 i = 0; i < count; i++) turn[i] = order == DESCENDING ? count - 1 - i : i;
    for (u32 i = count; order == RANDOM && i > 1; i--) std::swap(turn[i - 1], turn[draw() % i]);
}
static void become(u32 thread) {
    block.now = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

static void run_block(Order order, u32 count, u32 shared_bytes) {
    const size_t STACK = 64 << 10;
    static char* stacks = (char*)mmap(nullptr, STACK * 1024, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    static std::vector<u32> turn;
    memset(block.memory, 0xff, shared_bytes);
    block.warps.assign((count + 31) / 32, Warp{0, 0});
    block.alive = count;
    block.arrived = 0;
    block.generation = block.opened = 0;
    std::fill(std::begin(block.named), std::end(block.named), Named{0, 0});
    block.fibers.resize(count);
    for (u32 i = 0; i < count; i++) {
        Fiber& f = block.fibers[i];
        void** top = (void**)(stacks + STACK * (i + 1)) - 2;
        *top = (void*)live;
        f.sp = top - 6;
        memset(top - 6, 0, 48);
        f.waits = nullptr;
        f.done = false;
        f.group = 0;
        f.landed = 0;
        f.copies.clear();
        f.operations.clear();
        f.behind.clear();
        f.blocks.clear();
        f.closed = 0;
        f.started = false;
    }
    order_of(turn, count, order);
    while (block.alive) {
        bool moved = false;
        for (u32 i : turn) {
            Fiber& f = block.fibers[i];
            if (f.done || (f.waits && *f.waits == f.seen)) continue;
            f.waits = nullptr;
            moved = true;
            become(i);
            host_switch(&home, f.sp);
        }
        if (!moved && !land_some()) fail("deadlock: threads wait at a barrier, a gate or a warp's operation that others never reach");
        if (order == RANDOM) order_of(turn, count, order);
    }
}

void launch(const Kernel& kernel, dim grid, dim threads, u32 shared_bytes, const void* given, Mode mode) {
    static std::vector<u32> blocks, turn;
    static char* memory = (char*)aligned_alloc(128, 256 << 10);
    const u32 count = threads.x * threads.y * threads.z;
    running = &kernel;
    argument = given;
    blockDim = threads;
    gridDim = grid;
    if (count > kernel.threads || shared_bytes > 256 << 10) fail("more threads or shared memory than there are");
    block.early = mode.early;
    // Once with copies before products, once behind them.
    block.early_behind = mode.early != (mode.order == RANDOM);
    block.memory = kernel.waits ? memory : nullptr;
    counts.launches++;
    order_of(blocks, grid.x * grid.y * grid.z, mode.order);
    if (!kernel.waits) order_of(turn, count, mode.order);
    for (u32 b : blocks) {
        blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        counts.blocks++;
        if (kernel.waits) run_block(mode.order, count, shared_bytes);
        else
            for (u32 i : turn) {
                become(i);
                kernel.run(given);
            }
    }
    running = nullptr;
}
}
