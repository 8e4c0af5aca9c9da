// How long each kernel of one storage takes on a GPU, at the shapes of ResNet-18, MobileNetV2 and WRN-34-10 on 32x32
// images: microseconds, and what that is in TFLOP/s or, of what must be read and written at least, in GB/s.
//
//   bench PTX[,PTX] [NAME]      NAME chooses rows; the second module is that of sm_90a. Through libcuda.so.1, in less
//                               than half a minute
#include "test/conv.h"
#include <sstream>

static std::string chosen;

// Memory of random small numbers, whatever it is read as: zeros would flatter the clock.
template <class T> static T* filled(size_t size) {
    static std::vector<char> noise;
    const size_t bytes = size * sizeof(T);
    u64 p = 0;
    driver.call<u64*, size_t>("cuMemAlloc_v2", &p, bytes);
    if (noise.size() < bytes) {
        noise.resize(bytes);
        for (size_t i = 0; i + 4 <= bytes; i += sizeof(Value)) {
            const Value v = narrow(uniform());
            memcpy(&noise[i], &v, sizeof v);
        }
    }
    driver.call<u64, const void*, size_t>("cuMemcpyHtoD_v2", p, noise.data(), bytes);
    return (T*)p;
}
static void release(std::initializer_list<const void*> all) { for (const void* p : all) driver.call<u64>("cuMemFree_v2", (u64)p); }

// The least of five times, of ten launches each.
template <class Launch> static double microseconds(Launch launch) {
    void *begin = nullptr, *end = nullptr;
    driver.call<void**, u32>("cuEventCreate", &begin, 0);
    driver.call<void**, u32>("cuEventCreate", &end, 0);
    launch();
    double least = 1e30;
    for (int turn = 0; turn < 5; turn++) {
        float ms = 0;
        driver.call<void*, void*>("cuEventRecord", begin, nullptr);
        for (int i = 0; i < 10; i++) launch();
        driver.call<void*, void*>("cuEventRecord", end, nullptr);
        driver.call<void*>("cuEventSynchronize", end);
        driver.call<float*, void*, void*>("cuEventElapsedTime", &ms, begin, end);
        least = min(least, ms * 100.0);
    }
    driver.call<void*>("cuEventDestroy_v2", begin);
    driver.call<void*>("cuEventDestroy_v2", end);
    return least;
}
static bool row_wanted(const std::string& row) { return row.find(chosen) != std::string::npos; }
static void row(const std::string& what, double us, double flops, double bytes) {
    printf("%-52s %9.1f us %8.1f TFLOP/s %8.0f GB/s\n", what.c_str(), us, flops / us * 1e-6, bytes / us * 1e-3);
    fflush(stdout);
}

static void bench_conv(const char* net, const Shape& s) {
    const size_t ins = (size_t)s.n * s.h * s.w * s.c, outs = (size_t)s.n * s.oh * s.ow * s.k, weights = (size_t)s.k * s.c * s.taps();
    const double flops = 2.0 * outs * s.c * s.taps(), bytes = (ins + outs + weights) * sizeof(Value);
    Value *x = filled<Value>(ins), *y = filled<Value>(outs), *w = filled<Value>(weights);
    u8* bits = filled<u8>(outs / 8);
    float *bias = filled<float>(s.k), *moments = filled<float>(tiles(outs / s.k, 64) * 2 * (size_t)s.k);
    char title[96];
    snprintf(title, sizeof title, "%s %d>%d %dx%d/%d at %d", net, s.c, s.k, s.r, s.s, s.step_y, s.h);
    for (const Tile& tile : TILES)
        for (bool train : {false, true}) {
            const std::string what = std::string(title) + " " + tile.name + (train ? " moments" : " bias, ReLU, bits");
            if (!row_wanted(what)) continue;
            Conv a = {x, w, nullptr, y, nullptr, train ? nullptr : bias, train ? moments : nullptr, {nullptr, train ? nullptr : bits, nullptr, 0, train ? 0 : 1}, s.n, s.h, s.w, s.c, s.c, s.oh, s.ow, s.step_y, s.step_x, s.oh, s.ow, s.k, s.k, 1, 1, 0, 0, s.taps(), s.taps()};
            for (int t = 0; t < s.taps(); t++) a.tap[t] = {(short)(t / s.s - s.top), (short)(t % s.s - s.left), t};
            row(what, microseconds([&] { run_conv(tile, a, 1); }), flops, bytes);
        }
#ifdef STORE_FLOATS
    for (const Tile& tile : SPLIT_TILES) {
        const std::string what = std::string(title) + " " + tile.name + " bias, ReLU, bits";
        if (!driver.has_warpgroups() || s.c % 32 || !row_wanted(what)) continue;
        run("pack_split", {(u32)s.k, 1, 1}, {256, 1, 1}, 32, Pack{(const float*)x, nullptr, w, bias, 1, s.k, s.c, s.k, s.c, s.taps(), 0, (int)tile.channels / CHUNK});
        Conv a = {x, w, bias, y, nullptr, bias, nullptr, {nullptr, bits, nullptr, 0, 1}, s.n, s.h, s.w, s.c, s.c, s.oh, s.ow, s.step_y, s.step_x, s.oh, s.ow, s.k, s.k, 1, 1, 0, 0, s.taps(), s.taps()};
        for (int t = 0; t < s.taps(); t++) a.tap[t] = {(short)(t / s.s - s.top), (short)(t % s.s - s.left), t};
        row(what, microseconds([&] { run_conv(tile, a, 1); }), flops, bytes);
    }
#endif
    for (int parts : {4, 16, 64}) {
        const std::string what = std::string(title) + " weight_gradient, parts " + std::to_string(parts);
        const int places = s.n * s.oh * s.ow;
        if (!row_wanted(what) || (double)parts * weights > 4e8) continue;
        float *scratch = filled<float>(parts * weights), *gradient = filled<float>(weights);
        WeightGradient a = {x, y, scratch, s.n, s.h, s.w, s.c, s.c, s.oh, s.ow, s.k, s.k, s.step_y, s.step_x, s.taps(), 1, (int)tiles(places, parts)};
        for (int t = 0; t < s.taps(); t++) a.tap[t] = {(short)(t / s.s - s.top), (short)(t % s.s - s.left), t};
        row(what, microseconds([&] { run("weight_gradient", {(u32)s.taps() * tiles(s.c, 64), tiles(s.k, 64), (u32)parts}, {128, 1, 1}, 32768, a); }), flops, bytes);
        row(std::string(title) + " weight_gradient_sum", microseconds([&] { run_each("weight_gradient_sum", weights, WeightGradientSum{scratch, gradient, parts, 1, s.k, s.c, s.k, s.c, s.taps()}); }), 0, (parts + 2.0) * weights * 4);
        release({scratch, gradient});
    }
    release({x, y, w, bits, bias, moments});
}

static void bench_maps(int n, int h, int c) {
    const size_t places = (size_t)n * h * h, size = places * c;
    const double map = size * sizeof(Value);
    Value *x = filled<Value>(size), *y = filled<Value>(size), *z = filled<Value>(size);
    u8* bits = filled<u8>(size / 8);
    float *coefficients = filled<float>(4 * c), *parts = filled<float>(tiles(places, 64) * 2 * (size_t)c), *learned = filled<float>(4 * c);
    double* moments = filled<double>(2 * c);
    char title[64];
    snprintf(title, sizeof title, "maps %d of %dx%dx%d ", n, h, h, c);
    const Finish open = {nullptr, bits, nullptr, 0, 1}, gated = {nullptr, nullptr, bits, 0, 0}, sum = {z, bits, nullptr, 0, 1};
    auto timed = [&](const std::string& what, double bytes, auto launch) { if (row_wanted(title + what)) row(title + what, microseconds(launch), 0, bytes); };
    auto each = [&](const char* kernel, const Finish& f) { run_each(kernel, size / 8, Each{x, z, coefficients, y, nullptr, f, size / 8, c, h * h}); };
    timed("affine, ReLU, bits", 2 * map, [&] { each("affine", open); });
    timed("affine, residual, ReLU, bits", 3 * map, [&] { each("affine", sum); });
    timed("affine_gradient, gate", 3 * map, [&] { each("affine_gradient", gated); });
    timed("store, gate", 2 * map, [&] { each("store", gated); });
    timed("channel_sums", map, [&] { run("channel_sums", {tiles(places, 64), tiles(c, 64), 1}, {256, 1, 1}, 16384, ChannelSums{x, nullptr, nullptr, parts, (int)places, c}); });
    timed("channel_gradient_sums", 2 * map, [&] { run("channel_gradient_sums", {tiles(places, 64), tiles(c, 64), 1}, {256, 1, 1}, 16384, ChannelSums{x, z, coefficients, parts, (int)places, c}); });
    timed("norm_finish", places / 64.0 * 8 * c, [&] { run("norm_finish", {tiles(c, 32), 1, 1}, {32, 32, 1}, 16384, Norm{parts, learned, learned, nullptr, nullptr, coefficients, moments, learned, learned, 1e-5, (int)tiles(places, 64), (int)places, c, c}); });
    timed("norm_gradient", places / 64.0 * 8 * c, [&] { run("norm_gradient", {tiles(c, 32), 1, 1}, {32, 32, 1}, 16384, NormGradient{parts, learned, moments, coefficients, learned, learned, (int)tiles(places, 64), (int)places, c, c, 1}); });
    timed("position_sums", map, [&] { run("position_sums", {(u32)n, tiles(c, 64), 1}, {256, 1, 1}, 8192, PositionSums{x, nullptr, y, {}, 1, n, h * h, c}); });
    Direct d = {x, z, learned, nullptr, y, nullptr, nullptr, open, n, h, h, c, c, h, h, c, c, 3, 3, 1, 1, 1, 1, c, n};
    float *taps = filled<float>(9 * c), *scratch = filled<float>((size_t)n * 9 * c);
    d.weight = taps;
    timed("depthwise_forward 3x3", 2 * map, [&] { run_each("depthwise_forward", size / 8, d); });
    d.finish = gated;
    timed("depthwise_image 3x3", 2 * map, [&] { run_each("depthwise_image", size / 8, d); });
    d.parts = scratch;
    timed("depthwise_weight 3x3", 2 * map, [&] { run("depthwise_weight", {tiles(c, 64), (u32)n, 9}, {256, 1, 1}, 8192, d); });
    release({x, y, z, bits, coefficients, parts, learned, moments, taps, scratch});
}

static void bench_images(int n) {
    const size_t size = (size_t)n * 3072;
    float *x = filled<float>(size), *clean = filled<float>(size), *z = filled<float>(n * 16);
    Value *map = filled<Value>((size_t)n * 1024 * 8);
    const double bytes = size * 4.0, mapped = (double)n * 1024 * 8 * sizeof(Value);
    auto timed = [&](const char* what, double moved, auto launch) { if (row_wanted(what)) row(what, microseconds(launch), 0, moved); };
    timed("images import_images", bytes + mapped, [&] { run_each("import_images", (size_t)n * 1024, Images{x, map, nullptr, nullptr, n, 3, 1024, 8}); });
    timed("images pgd_step", 3 * bytes + 2 * mapped, [&] { run_each("pgd_step", size / 3, PgdStep{x, clean, map, 0.01f, 0.03f, n, 3, 1024, 8, map, nullptr, nullptr}); });
    timed("images slope_target", 0, [&] { run("slope_target", {tiles(n, 8), 1, 1}, {256, 1, 1}, 0, Slope{z, z, nullptr, map, 1, n, 10, 16}); });
    const int count = 11173962;
    float *p = filled<float>(count), *v = filled<float>(count), *g = filled<float>(count);
    timed("sgd of ResNet-18", 20.0 * count, [&] { run_each("sgd", count, Sgd{p, v, g, 0.9f, 5e-4f, 0.1f, count}); });
    release({x, clean, z, map, p, v, g});
}

int main(int count, char** arguments) {
    if (count < 2) return fprintf(stderr, "usage: bench PTX [NAME]\n"), 2;
    std::stringstream modules(arguments[1]);
    for (std::string one; std::getline(modules, one, ',');) driver.load(one.c_str());
    driver.waits = false;
    if (count > 2) chosen = arguments[2];
    const int n = 128;
    bench_conv("ResNet-18", {n, 32, 32, 8, 64, 3, 3, 1, 1, 1, 1, 32, 32, 1});
    bench_conv("ResNet-18", {n, 32, 32, 64, 64, 3, 3, 1, 1, 1, 1, 32, 32, 1});
    bench_conv("ResNet-18", {n, 32, 32, 64, 128, 3, 3, 2, 2, 1, 1, 16, 16, 1});
    bench_conv("ResNet-18", {n, 16, 16, 128, 128, 3, 3, 1, 1, 1, 1, 16, 16, 1});
    bench_conv("ResNet-18", {n, 8, 8, 256, 256, 3, 3, 1, 1, 1, 1, 8, 8, 1});
    bench_conv("ResNet-18", {n, 8, 8, 256, 512, 3, 3, 2, 2, 1, 1, 4, 4, 1});
    bench_conv("ResNet-18", {n, 4, 4, 512, 512, 3, 3, 1, 1, 1, 1, 4, 4, 1});
    bench_conv("MobileNetV2", {n, 32, 32, 24, 144, 1, 1, 1, 1, 0, 0, 32, 32, 1});
    bench_conv("MobileNetV2", {n, 8, 8, 64, 384, 1, 1, 1, 1, 0, 0, 8, 8, 1});
    bench_conv("MobileNetV2", {n, 4, 4, 960, 160, 1, 1, 1, 1, 0, 0, 4, 4, 1});
    bench_conv("WRN-34-10", {n, 32, 32, 160, 160, 3, 3, 1, 1, 1, 1, 32, 32, 1});
    bench_conv("WRN-34-10", {n, 16, 16, 320, 320, 3, 3, 1, 1, 1, 1, 16, 16, 1});
    bench_conv("WRN-34-10", {n, 8, 8, 640, 640, 3, 3, 1, 1, 1, 1, 8, 8, 1});
    bench_maps(n, 32, 64);
    bench_maps(n, 32, 144);
    bench_maps(n, 8, 384);
    bench_maps(n, 4, 960);
    bench_maps(n, 4, 512);
    bench_images(n);
    return 0;
}
