// Where the tests' memory lies and their kernels run: on the emulator, or behind a driver.
#pragma once
#include "../fake_memory.h"
#include <dlfcn.h>
#include <fstream>
#include <iterator>

// The few calls of the driver that a test needs. Memory is managed, so that the tests read and write it as their own.
class Driver {
public:
    bool open() const { return !modules_.empty(); }
    // Whether it has what sm_90a alone has, a module of its own.
    bool has_warpgroups() const { return modules_.size() != 1; }
    void load(const char* ptx) {
        std::ifstream file(ptx);
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        if (!open()) begin();
        modules_.push_back({nullptr, text});
        call<void**, const void*>("cuModuleLoadData", &modules_.back().first, text.c_str());
    }
    void begin() {
        library_ = dlopen("libcuda.so.1", RTLD_NOW);
        if (!library_) stop("dlopen", 0);
        int device = 0;
        void* context = nullptr;
        call<u32>("cuInit", 0);
        call<int*, int>("cuDeviceGet", &device, 0);
        call<void**, int>("cuDevicePrimaryCtxRetain", &context, device);
        call<void*>("cuCtxSetCurrent", context);
        char name[128] = "";
        call<char*, int, int>("cuDeviceGetName", name, 127, device);
        printf("%s\n", name);
    }
    void* take(size_t bytes) {
        u64 p = 0;
        call<u64*, size_t, u32>("cuMemAllocManaged", &p, bytes, 1);
        memset((void*)p, 0xff, bytes);
        return (void*)p;
    }
    void give(void* p) { call<u64>("cuMemFree_v2", (u64)p); }
    void launch(const char* kernel, dim grid, dim threads, u32 shared, const void* argument) {
        void *function = nullptr, *parameters[] = {const_cast<void*>(argument)};
        for (const auto& [module, text] : modules_)
            if (text.find(std::string(".entry ") + kernel + "(") != std::string::npos) call<void**, void*, const char*>("cuModuleGetFunction", &function, module, kernel);
        if (!function) stop(kernel, 500);
        if (shared > 48 << 10) call<void*, int, int>("cuFuncSetAttribute", function, 8, (int)shared);
        call<void*, u32, u32, u32, u32, u32, u32, u32, void*, void**, void**>("cuLaunchKernel", function, grid.x, grid.y, grid.z, threads.x, threads.y, threads.z, shared, nullptr, parameters, nullptr);
        if (waits) call<>("cuCtxSynchronize");
    }
    bool waits = true;  // for each launch

    template <class... A> void call(const char* name, A... a) {
        void*& found = calls_[name];
        if (!found && !(found = dlsym(library_, name))) stop(name, 0);
        if (const int error = ((int (*)(A...))found)(a...)) stop(name, error);
    }

private:
    [[noreturn]] static void stop(const char* name, int error) {
        fprintf(stderr, "error: %s failed (%d)\nhint: a driver is needed, or the emulated one: LD_LIBRARY_PATH=OUTDIR of ./build\n", name, error);
        exit(2);
    }
    void* library_ = nullptr;
    std::vector<std::pair<void*, std::string>> modules_;  // and their text
    std::map<std::string, void*> calls_;
};
static Driver driver;
static fake::Memory memory;
static void* take_memory(size_t bytes) { return driver.open() ? driver.take(bytes) : memory.take(bytes, 1ull << 34); }
static void give_memory(void* p) {
    if (driver.open()) driver.give(p);
    else memory.give(p);
}
