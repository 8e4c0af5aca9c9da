// libcuda.so.1 for machines without a GPU: the part of the driver API that cudarc uses, over host_cuda.h.
//
// Work is queued and runs only when somebody waits for it, so that a forgotten synchronisation shows; device memory
// starts as NaN and may only be reached through the API; a capture takes no allocation, no wait and no pageable memory.
// What a test may ask for, by environment: RSLAD_FAKE_CUDA_DEVICES (1), _DRIVER (12040), _MEMORY (bytes, 8 GiB),
// _CAPABILITY (90), _ORDER (0 ascending, 1 descending, 2 random), _EARLY (copies land at once), _REPORT (counts at the end).
#include "fake_memory.h"
#include "fake_module.h"
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>

namespace fake {
enum Error { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_FOUND = 500, NOT_READY = 600, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
typedef std::function<void()> Work;
struct Stream { std::vector<Work> queue, captured; bool capturing = false; };
struct Graph { std::vector<Work> work; };
struct Event { double seconds = 0; };

static std::recursive_mutex one_at_a_time;
static Memory memory;
static std::map<char*, size_t> pinned;
static Stream null_stream;
static std::vector<Stream*> streams;
static u64 graph_launches;

static size_t asked(const char* name, size_t otherwise) {
    const char* text = getenv((std::string("RSLAD_FAKE_CUDA_") + name).c_str());
    return text && *text ? strtoull(text, nullptr, 10) : otherwise;
}
static int say(const char* function, const std::string& why, int error) {
    fprintf(stderr, "emulated driver: %s: %s\n", function, why.c_str());
    return error;
}
static Stream* of(void* s) { return (u64)s <= 2 ? &null_stream : (Stream*)s; }
static void drain(Stream* s) {
    const std::vector<Work> queue = std::move(s->queue);
    s->queue.clear();
    for (const Work& work : queue) work();
}
static void drain_all() {
    drain(&null_stream);
    for (Stream* s : streams) drain(s);
}
static int put(void* stream, Work work) {
    Stream* s = of(stream);
    (s->capturing ? s->captured : s->queue).push_back(std::move(work));
    return OK;
}
static bool capturing() { return std::any_of(streams.begin(), streams.end(), [](Stream* s) { return s->capturing; }); }
static bool is_pinned(const void* p, size_t bytes) {
    auto it = pinned.upper_bound((char*)p);
    return it != pinned.begin() && (char*)p + bytes <= std::prev(it)->first + std::prev(it)->second;
}
static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
static host::Mode mode() { return {(host::Order)asked("ORDER", 0), asked("EARLY", 0) != 0}; }
static int attribute(int which) {
    const int capability = (int)asked("CAPABILITY", 90), shared = capability == 75 ? 64 << 10 : capability == 80 ? 163 << 10 : 227 << 10;
    switch (which) {
        case 1: return 1024;                       // threads of a block
        case 8: return 48 << 10;                   // shared memory of a block
        case 10: return 32;                        // threads of a warp
        case 12: case 82: return 64 << 10;         // registers of a block, of a multiprocessor
        case 16: return 2;                         // multiprocessors
        case 38: return 4 << 20;                   // L2 cache
        case 39: return 2048;                      // threads of a multiprocessor
        case 75: return capability / 10;
        case 76: return capability % 10;
        case 81: case 97: return shared;           // shared memory of a multiprocessor, of a block that asks for it
        case 115: return 1;                        // memory pools
        default: return 0;
    }
}
}
using namespace fake;
#define LOCK std::lock_guard<std::recursive_mutex> locked(one_at_a_time)
#define NOT_WHILE_CAPTURING if (capturing()) return say(__func__, "not allowed while a stream is capturing", CAPTURE_UNSUPPORTED)
#define ON_DEVICE(p, bytes) if (const char* why = memory.refuse((void*)(p), bytes)) return say(__func__, why, INVALID_VALUE)

extern "C" {
// The device.
int cuInit(u32) { return asked("DEVICES", 1) ? OK : NO_DEVICE; }
int cuDriverGetVersion(int* v) { return *v = (int)asked("DRIVER", 12040), OK; }
int cuDeviceGetCount(int* n) { return *n = (int)asked("DEVICES", 1), OK; }
int cuDeviceGet(int* d, int i) { return i < 0 || i >= (int)asked("DEVICES", 1) ? INVALID_DEVICE : (*d = i, OK); }
int cuDeviceGetName(char* name, int len, int d) { return snprintf(name, len, "emulated GPU %d", d), OK; }
int cuDeviceTotalMem_v2(size_t* b, int) { return *b = asked("MEMORY", 8ull << 30), OK; }
int cuDeviceGetAttribute(int* v, int which, int) { return *v = attribute(which), OK; }
int cuDeviceGetUuid_v2(char* uuid, int d) { return memset(uuid, 0, 16), uuid[15] = (char)d, OK; }
int cuDeviceGetUuid(char* uuid, int d) { return cuDeviceGetUuid_v2(uuid, d); }
int cuDevicePrimaryCtxRetain(void** c, int d) { return *c = (void*)(u64)(d + 1), OK; }
int cuDevicePrimaryCtxRelease_v2(int) {
    LOCK;
    drain_all();
    if (asked("REPORT", 0))
        fprintf(stderr, "emulated driver: %llu launches, %llu of graphs, %llu products, %zu allocations left, at most %zu bytes\n",
                host::counts.launches, graph_launches, host::counts.products, memory.count(), memory.most_used());
    return OK;
}
static thread_local void* current = nullptr;
int cuCtxSetCurrent(void* c) { return current = c, OK; }
int cuCtxGetCurrent(void** c) { return *c = current, OK; }
int cuCtxSetFlags(u32) { return OK; }
int cuCtxSynchronize() { LOCK; NOT_WHILE_CAPTURING; return drain_all(), OK; }
int cuGetErrorName(int e, const char** s) {
    static thread_local char text[32];
    snprintf(text, sizeof text, "ERROR_%d", e);
    return *s = e == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : e == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : text, OK;
}
int cuGetErrorString(int e, const char** s) { return cuGetErrorName(e, s); }

// Memory.
int cuMemGetInfo_v2(size_t* left, size_t* total) { LOCK; return *total = asked("MEMORY", 8ull << 30), *left = *total - memory.used(), OK; }
int cuMemAlloc_v2(u64* p, size_t bytes) {
    LOCK;
    NOT_WHILE_CAPTURING;
    if (!bytes) return INVALID_VALUE;
    return (*p = (u64)memory.take(bytes, asked("MEMORY", 8ull << 30))) ? OK : OUT_OF_MEMORY;
}
int cuMemAllocManaged(u64* p, size_t bytes, u32) { return cuMemAlloc_v2(p, bytes); }
int cuMemFree_v2(u64 p) { LOCK; NOT_WHILE_CAPTURING; drain_all(); return memory.give((void*)p) ? OK : say(__func__, "not an allocation", INVALID_VALUE); }
int cuMemAllocAsync(u64* p, size_t bytes, void*) { return cuMemAlloc_v2(p, bytes); }
int cuMemFreeAsync(u64 p, void* stream) { LOCK; NOT_WHILE_CAPTURING; ON_DEVICE(p, 1); return put(stream, [=] { memory.give((void*)p); }); }
int cuMemHostAlloc(void** p, size_t bytes, u32) {
    LOCK;
    NOT_WHILE_CAPTURING;
    if (!(*p = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE))) return OUT_OF_MEMORY;
    return pinned[(char*)*p] = bytes, OK;
}
int cuMemAllocHost_v2(void** p, size_t bytes) { return cuMemHostAlloc(p, bytes, 0); }
int cuMemFreeHost(void* p) { LOCK; drain_all(); return pinned.erase((char*)p) ? (free(p), OK) : INVALID_VALUE; }
int cuMemcpyHtoDAsync_v2(u64 d, const void* s, size_t n, void* stream) {
    LOCK;
    ON_DEVICE(d, n);
    // From pinned memory the copy reads when it runs; from any other the driver keeps what it held at the call.
    if (is_pinned(s, n)) return put(stream, [=] { memcpy((void*)d, s, n); });
    if (of(stream)->capturing) return say(__func__, "a capture would read pageable memory later", CAPTURE_UNSUPPORTED);
    const auto kept = std::make_shared<std::string>((const char*)s, n);
    return put(stream, [=] { memcpy((void*)d, kept->data(), n); });
}
int cuMemcpyDtoHAsync_v2(void* d, u64 s, size_t n, void* stream) {
    LOCK;
    ON_DEVICE(s, n);
    if (of(stream)->capturing && !is_pinned(d, n)) return say(__func__, "a capture would write pageable memory later", CAPTURE_UNSUPPORTED);
    return put(stream, [=] { memcpy(d, (void*)s, n); });
}
int cuMemcpyDtoDAsync_v2(u64 d, u64 s, size_t n, void* stream) { LOCK; ON_DEVICE(s, n); ON_DEVICE(d, n); return put(stream, [=] { memmove((void*)d, (void*)s, n); }); }
int cuMemsetD8Async(u64 d, u8 v, size_t n, void* stream) { LOCK; ON_DEVICE(d, n); return put(stream, [=] { memset((void*)d, v, n); }); }
int cuMemcpyHtoD_v2(u64 d, const void* s, size_t n) { LOCK; NOT_WHILE_CAPTURING; ON_DEVICE(d, n); return drain_all(), memcpy((void*)d, s, n), OK; }
int cuMemcpyDtoH_v2(void* d, u64 s, size_t n) { LOCK; NOT_WHILE_CAPTURING; ON_DEVICE(s, n); return drain_all(), memcpy(d, (void*)s, n), OK; }
int cuMemcpyDtoD_v2(u64 d, u64 s, size_t n) { LOCK; NOT_WHILE_CAPTURING; ON_DEVICE(s, n); ON_DEVICE(d, n); return drain_all(), memmove((void*)d, (void*)s, n), OK; }
int cuMemsetD8_v2(u64 d, u8 v, size_t n) { LOCK; NOT_WHILE_CAPTURING; ON_DEVICE(d, n); return drain_all(), memset((void*)d, v, n), OK; }

// Streams and events.
int cuStreamCreate(void** s, u32) { LOCK; return streams.push_back(new Stream), *s = streams.back(), OK; }
int cuStreamCreateWithPriority(void** s, u32 flags, int) { return cuStreamCreate(s, flags); }
int cuStreamDestroy_v2(void* s) {
    LOCK;
    drain(of(s));
    streams.erase(std::remove(streams.begin(), streams.end(), (Stream*)s), streams.end());
    return delete (Stream*)s, OK;
}
int cuStreamSynchronize(void* s) { LOCK; return of(s)->capturing ? say(__func__, "the stream is capturing", CAPTURE_UNSUPPORTED) : (drain(of(s)), OK); }
int cuStreamWaitEvent(void* s, void*, u32) { LOCK; if (!of(s)->capturing) drain_all(); return OK; }
int cuStreamIsCapturing(void* s, int* v) { LOCK; return *v = of(s)->capturing, OK; }
int cuLaunchHostFunc(void* s, void (*f)(void*), void* data) { LOCK; return put(s, [=] { f(data); }); }
int cuEventCreate(void** e, u32) { return *e = new Event, OK; }
int cuEventDestroy_v2(void* e) { LOCK; drain_all(); return delete (Event*)e, OK; }
int cuEventRecord(void* e, void* s) { LOCK; return put(s, [=] { ((Event*)e)->seconds = now(); }); }
int cuEventSynchronize(void*) { LOCK; NOT_WHILE_CAPTURING; return drain_all(), OK; }
int cuEventQuery(void*) { LOCK; return null_stream.queue.empty() && std::all_of(streams.begin(), streams.end(), [](Stream* s) { return s->queue.empty(); }) ? OK : NOT_READY; }
int cuEventElapsedTime(float* ms, void* a, void* b) { LOCK; drain_all(); return *ms = (float)((((Event*)b)->seconds - ((Event*)a)->seconds) * 1e3), OK; }
int cuEventElapsedTime_v2(float* ms, void* a, void* b) { return cuEventElapsedTime(ms, a, b); }

// Graphs.
int cuStreamBeginCapture_v2(void* s, int) {
    LOCK;
    if (of(s) == &null_stream) return say(__func__, "the default stream cannot be captured", CAPTURE_UNSUPPORTED);
    return of(s)->capturing = true, of(s)->captured.clear(), OK;
}
int cuStreamEndCapture(void* s, void** g) {
    LOCK;
    if (!of(s)->capturing) return say(__func__, "the stream does not capture", CAPTURE_INVALIDATED);
    of(s)->capturing = false;
    return *g = new Graph{std::move(of(s)->captured)}, OK;
}
int cuGraphGetNodes(void* g, void**, size_t* n) { return *n = ((Graph*)g)->work.size(), OK; }
int cuGraphInstantiateWithFlags(void** e, void* g, u64) { return *e = new Graph(*(Graph*)g), OK; }
int cuGraphLaunch(void* e, void* s) {
    LOCK;
    graph_launches++;
    // A handle of its own: the graph may be destroyed while it waits in the queue.
    for (const Work& work : ((Graph*)e)->work) put(s, work);
    return OK;
}
int cuGraphUpload(void*, void*) { return OK; }
int cuGraphExecDestroy(void* e) { LOCK; return delete (Graph*)e, OK; }
int cuGraphDestroy(void* g) { return delete (Graph*)g, OK; }

// Modules and kernels.
int cuModuleLoadData(void** m, const void* image) {
    LOCK;
    auto module = std::make_unique<Module>();
    std::string why;
    const int error = read_module(*module, (const char*)image, (int)asked("CAPABILITY", 90), (int)asked("DRIVER", 12040), why);
    if (error) return say(__func__, why, error);
    return *m = module.release(), OK;
}
int cuModuleUnload(void* m) { LOCK; drain_all(); return delete (Module*)m, OK; }
int cuModuleGetFunction(void** f, void* m, const char* name) {
    auto& all = ((Module*)m)->functions;
    const auto it = all.find(name);
    return it == all.end() ? say(__func__, std::string("no kernel ") + name, NOT_FOUND) : (*f = &it->second, OK);
}
int cuFuncSetAttribute(void* f, int which, int v) {
    if (which != 8) return OK;
    if (v > attribute(97)) return say(__func__, "more shared memory than the chip has", INVALID_VALUE);
    return ((Function*)f)->most_shared = v, OK;
}
int cuFuncGetAttribute(int* v, int which, void* f) { return *v = which == 0 ? (int)((Function*)f)->most_threads : 0, OK; }
int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, void*, int, size_t, u32) { return *n = 2, OK; }
int cuLaunchKernel(void* fn, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, void* stream, void** parameters, void**) {
    LOCK;
    const Function& f = *(Function*)fn;
    const std::string name = f.kernel->name;
    if ((int)shared > f.most_shared) return say(__func__, name + ": more dynamic shared memory than was asked for", INVALID_VALUE);
    if (!bx || !by || !bz || (u64)bx * by * bz > f.most_threads) return say(__func__, name + ": not a block within its launch bounds", INVALID_VALUE);
    if (!gx || !gy || !gz || gx > 2147483647u || gy > 65535 || gz > 65535) return say(__func__, name + ": not a grid", INVALID_VALUE);
    const auto argument = std::make_shared<std::vector<u64>>((f.kernel->bytes + 7) / 8);
    memcpy(argument->data(), parameters[0], f.kernel->bytes);
    return put(stream, [=, kernel = f.kernel] { host::launch(*kernel, {gx, gy, gz}, {bx, by, bz}, shared, argument->data(), mode()); });
}
}
