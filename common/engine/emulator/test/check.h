// What every test here uses: device memory with guard pages, random maps, launches, and errors by kernel.
#pragma once
#define HOST_CUDA 1
#include "../../kernels/all.cu"
#include "driver.h"
#include <map>
#include <memory>
#include <string>

// Relative rms within which a kernel agrees with sums in f64 over the same stored operands: what a value loses when it
// is stored; what a sum of products loses before that. One rounding to b bits costs 2^-b / sqrt(12) to / sqrt(3). Tensor
// cores cut digits off, half a float's last bit a step on average and always towards zero: 3e-8 for each 16 products.
#if defined(STORE_BF16)
const double STORED = 4e-3, SUMMED = 5e-6;
#elif defined(STORE_F16)
const double STORED = 5e-4, SUMMED = 5e-6;
#elif defined(STORE_F32)
const double STORED = 1e-6, SUMMED = 1.5e-6;
#else
const double STORED = 1e-6, SUMMED = 2e-3;
#endif
const double PRODUCT = STORED > SUMMED ? STORED : SUMMED;
const double FLOAT = 1e-6;  // in float whatever the storage

static host::Mode mode;     // of all launches
static bool quick;          // few shapes
static bool first_only;     // end at the first wrong result
static std::string only;    // kernels whose names contain it

// The worst error of each kernel so far, and what went wrong.
struct Verdict { double worst = 0, bound = 0; std::string broken; };
static std::map<std::string, Verdict> verdicts;
static void broken(const std::string& kernel, const std::string& why) {
    Verdict& v = verdicts[kernel];
    if (v.broken.empty()) v.broken = why;
    if (!first_only) return;
    printf("%s: %s\n", kernel.c_str(), why.c_str());
    exit(1);
}
static void check(bool right, const std::string& kernel, const std::string& why) {
    verdicts[kernel];
    if (!right) broken(kernel, why);
}
// Tested by what reads its result.
static void covered(const std::string& kernel) { verdicts[kernel]; }
// Holds `found` against `wanted` within a relative rms.
static void agree(const std::string& kernel, const std::vector<double>& found, const std::vector<double>& wanted, double bound, const std::string& where) {
    double d = 0, s = 0;
    for (size_t i = 0; i < wanted.size(); i++) {
        d += (found[i] - wanted[i]) * (found[i] - wanted[i]);
        s += wanted[i] * wanted[i];
    }
    const double error = s > 0 ? sqrt(d / s) : sqrt(d);
    Verdict& v = verdicts[kernel];
    v.bound = max(v.bound, bound);
    if (!(error <= v.worst)) v.worst = error;
    if (found.size() != wanted.size() || !(error <= bound)) broken(kernel, where + ": relative rms " + std::to_string(error));
}
static bool wanted(const std::string& kernel) { return only.empty() || kernel.find(only) != std::string::npos; }

static u64 random_state = 0x9e3779b97f4a7c15ull;
// Uniform in [-1, 1).
static float uniform() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (float)(random_state >> 40) / 8388608.0f - 1;
}
static int below(int n) { return (int)((uniform() + 1) / 2 * n) % n; }

// Device memory: NaN until written, a guard page behind on the emulated machine.
template <class T> struct Device {
    T* p;
    size_t size;
    explicit Device(size_t size) : p((T*)take_memory(max<size_t>(size * sizeof(T), 1))), size(size) {}
    Device(const Device&) = delete;
    ~Device() { give_memory(p); }
    operator T*() const { return p; }
    template <class F> Device& fill(F f) {
        for (size_t i = 0; i < size; i++) p[i] = f(i);
        return *this;
    }
    bool operator==(const Device& other) const { return size == other.size && !memcmp(p, other.p, size * sizeof(T)); }
};
typedef Device<float> Floats;
static void randomise(Floats& f, float scale = 1) { f.fill([&](size_t) { return uniform() * scale; }); }
static std::vector<double> values(const Floats& f) { return std::vector<double>(f.p, f.p + f.size); }

static int padded(int channels) { return (channels + CHUNK - 1) / CHUNK * CHUNK; }

// A map: images of h x w places, some real channels of each.
struct Map {
    int n, h, w, channels, pixel;
    Device<Value> data;
    Map(int n, int h, int w, int channels, int pixel = 0) : n(n), h(h), w(w), channels(channels), pixel(pixel ? pixel : padded(channels)), data((size_t)n * h * w * this->pixel) {}
    size_t places() const { return (size_t)n * h * w; }
    // Random values, zeros in the padding.
    Map& random(float scale = 1) {
        data.fill([&](size_t i) { return narrow((int)(i % pixel) < channels ? uniform() * scale : 0); });
        return *this;
    }
    double at(int image, int y, int x, int c) const { return widen(data.p[(((size_t)image * h + y) * w + x) * pixel + c]); }
    std::vector<double> values() const {
        std::vector<double> v;
        for (size_t p = 0; p < places(); p++)
            for (int c = 0; c < channels; c++) v.push_back(widen(data.p[p * pixel + c]));
        return v;
    }
    bool padding_is_zero() const {
        for (size_t p = 0; p < places(); p++)
            for (int c = channels; c < pixel; c++)
                if (widen(data.p[p * pixel + c]) != 0) return false;
        return true;
    }
};

static std::string name_of(const std::string& kernel) {
    static const std::string suffix = std::string(HOST_TEXT(SUFFIXED())).substr(0);
    return kernel + suffix;
}
template <class Arguments> static void run(const std::string& kernel, dim grid, dim threads, u32 shared, const Arguments& a) {
    for (const host::Kernel* k = host::kernels; k; k = k->next)
        if (name_of(kernel) == k->name) {
            if (k->bytes != sizeof(Arguments)) break;
            return driver.open() ? driver.launch(k->name, grid, threads, shared, &a) : host::launch(*k, grid, threads, shared, &a, mode);
        }
    broken(kernel, "no such kernel with this argument");
}
static u32 tiles(size_t n, size_t of) { return (u32)((n + of - 1) / of); }
// A kernel of one thread a thing.
template <class Arguments> static void run_each(const std::string& kernel, size_t things, const Arguments& a) {
    run(kernel, {tiles(things, 256), 1, 1}, {256, 1, 1}, 0, a);
}

// Runs a test in every order of threads and both timings of copies, and sees that bits are the same in all.
template <class Test> static void in_every_mode(const std::string& kernel, const std::string& where, Test test) {
    std::unique_ptr<std::string> first;
    const u64 seed = random_state;
    for (int order = 0; order < 3; order++)
        for (bool early : {false, true}) {
            // A real machine has its own order: twice shows whether bits hang on it.
            if (driver.open() && order == host::RANDOM) continue;
            mode = {(host::Order)order, early};
            random_state = seed;
            const std::string bits = test();
            if (!first) first = std::make_unique<std::string>(bits);
            check(*first == bits, kernel, where + ": bits depend on the order of threads");
        }
}
template <class T> static std::string bits_of_memory(const Device<T>& d) { return std::string((const char*)d.p, d.size * sizeof(T)); }
