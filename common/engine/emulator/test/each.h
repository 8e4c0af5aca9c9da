// Elementwise kernels, sums over places, and pooling.
#pragma once
#include "finish.h"

// One kernel of `Each` on random maps: `function(a, b, coefficients of its channel, b of its image)` says what becomes of a.
struct Elements {
    Map a, b, per_image;
    Floats coefficients;
    Elements(int n, int h, int w, int c, float scale) : a(n, h, w, c), b(n, h, w, c), per_image(n, 1, 1, c), coefficients(4 * a.pixel) {
        a.random(scale);
        b.random();
        per_image.random();
        coefficients.fill([&](size_t i) { return (int)(i % a.pixel) < c ? uniform() : 0; });
    }
    double coefficient(int row, int c) const { return coefficients.p[row * a.pixel + c]; }
    template <class F> std::vector<double> of_each(F f) const {
        std::vector<double> v;
        for (int n = 0; n < a.n; n++)
            for (int y = 0; y < a.h; y++)
                for (int x = 0; x < a.w; x++)
                    for (int c = 0; c < a.channels; c++) v.push_back(f(a.at(n, y, x, c), b.at(n, y, x, c), per_image.at(n, 0, 0, c), c));
        return v;
    }
};
template <class F> static std::string test_element(const std::string& kernel, const Elements& e, int kind, bool in_place, F function) {
    Map to(e.a.n, e.a.h, e.a.w, e.a.channels);
    if (in_place) kind &= ~2;
    Finishing finishing(to, kind);
    Each a = {e.a.data, e.b.data, e.coefficients, to.data, nullptr, finishing.of(to), to.data.size / CHUNK, to.pixel, to.h * to.w};
    if (in_place) memcpy(to.data.p, e.a.data.p, to.data.size * sizeof(Value));
    if (kernel == "multiply_channels") a.b = e.per_image.data;
    run_each(kernel, a.chunks, a);
    finishing.judge(kernel, to, e.of_each(function), STORED, "finish " + std::to_string(kind));
    return bits_of_memory(to.data) + bits_of_memory(finishing.bits).substr(0, kind & 4 ? finishing.bits.size : 0);
}
// A function with a slope, value by value: an error relative to the largest would hide the small ones.
template <class F, class G> static std::string test_smooth(const std::string& kernel, const Elements& e, F value, G slope) {
    Map to(e.a.n, e.a.h, e.a.w, e.a.channels), kept(e.a.n, e.a.h, e.a.w, e.a.channels), alone(e.a.n, e.a.h, e.a.w, e.a.channels);
    Each a = {e.a.data, nullptr, e.coefficients, to.data, kept.data, {}, to.data.size / CHUNK, to.pixel, to.h * to.w};
    run_each(kernel, a.chunks, a);
    a.to = alone.data, a.kept = nullptr;
    run_each(kernel, a.chunks, a);
    check(to.data == alone.data, kernel, "a kept slope changes the value");
    const std::vector<double> wanted = e.of_each(value), slopes = e.of_each(slope), found = to.values(), found_slopes = kept.values();
    const double relative = sizeof(Value) == 4 ? 5e-7 : STORED;
    for (size_t i = 0; i < wanted.size(); i++) {
        check(fabs(found[i] - wanted[i]) <= relative * fabs(wanted[i]) + (sizeof(Value) == 4 ? 1e-35 : 1e-7), kernel, "a value is wrong");
        check(fabs(found_slopes[i] - slopes[i]) <= relative * max(fabs(slopes[i]), fabs(wanted[i])) + (sizeof(Value) == 4 ? 1e-35 : 1e-7), kernel, "a slope is wrong");
    }
    agree(kernel, found, wanted, STORED, "values");
    return bits_of_memory(to.data) + bits_of_memory(kept.data);
}
static double logistic(double x) { return 1 / (1 + exp(-x)); }

static std::string test_position_sums(const Elements& e, bool product, int kind) {
    Map to(e.a.n, 1, 1, e.a.channels);
    Finishing finishing(to, kind);
    const int places = e.a.h * e.a.w;
    std::vector<double> wanted(e.a.n * e.a.channels);
    const std::vector<double> terms = e.of_each([&](double a, double b, double, int) { return product ? a * b : a; });
    for (size_t i = 0; i < terms.size(); i++) wanted[i / (places * e.a.channels) * e.a.channels + i % e.a.channels] += terms[i] / places;
    const PositionSums a = {e.a.data, product ? e.b.data.p : nullptr, to.data, finishing.of(to), 1.0f / places, e.a.n, places, to.pixel};
    run("position_sums", {(u32)e.a.n, tiles(to.pixel, 64), 1}, {256, 1, 1}, 8192, a);
    // Sums of random signs are small beside their terms.
    finishing.judge("position_sums", to, wanted, max(STORED, 3e-6), "finish " + std::to_string(kind));
    return bits_of_memory(to.data);
}

struct Window { int h, w, kernel_h, kernel_w, step_y, step_x; };
static std::string test_pool(const Window& s, int kind) {
    const int n = 2, c = 20, oh = (s.h - s.kernel_h) / s.step_y + 1, ow = (s.w - s.kernel_w) / s.step_x + 1;
    Map x(n, s.h, s.w, c), gradient(n, oh, ow, c), most(n, oh, ow, c), mean(n, oh, ow, c), most_back(n, s.h, s.w, c), mean_back(n, s.h, s.w, c);
    // Few different values, so that the largest is not alone.
    x.data.fill([&](size_t i) { return narrow((int)(i % x.pixel) < c ? (float)below(5) - 1 : 0); });
    gradient.random();
    Device<u16> taps(most.data.size);
    Finishing finishing(most, kind), back_finishing(most_back, kind);
    std::vector<double> wanted_most(gradient.places() * c), wanted_mean(wanted_most.size()), wanted_back(x.places() * c), wanted_mean_back(wanted_back.size());
    for (int i = 0; i < n; i++)
        for (int y = 0; y < oh; y++)
            for (int xx = 0; xx < ow; xx++)
                for (int k = 0; k < c; k++) {
                    const size_t at = ((i * oh + y) * ow + xx) * c + k;
                    double largest = -1e30;
                    size_t chosen = 0;
                    for (int t = 0; t < s.kernel_h * s.kernel_w; t++) {
                        const int from_y = y * s.step_y + t / s.kernel_w, from_x = xx * s.step_x + t % s.kernel_w;
                        const double v = x.at(i, from_y, from_x, k), share = 1.0 / (s.kernel_h * s.kernel_w);
                        const size_t from = ((i * s.h + from_y) * s.w + from_x) * c + k;
                        if (v > largest) largest = v, chosen = from;
                        wanted_mean[at] += v * share;
                        wanted_mean_back[from] += gradient.at(i, y, xx, k) * share;
                    }
                    wanted_most[at] = largest;
                    wanted_back[chosen] += gradient.at(i, y, xx, k);
                }
    Pool a = {x.data, most.data, taps, finishing.of(most), n, s.h, s.w, oh, ow, x.pixel, s.kernel_h, s.kernel_w, s.step_y, s.step_x};
    const std::string where = "window " + std::to_string(s.kernel_h) + "x" + std::to_string(s.kernel_w);
    run_each("max_pool", most.data.size / CHUNK, a);
    finishing.judge("max_pool", most, wanted_most, STORED, where);
    a.to = mean.data, a.finish = finishing.of(mean), a.taps = nullptr;
    run_each("avg_pool", mean.data.size / CHUNK, a);
    finishing.judge("avg_pool", mean, wanted_mean, STORED, where);
    a.from = gradient.data, a.to = most_back.data, a.taps = taps, a.finish = back_finishing.of(most_back);
    run_each("max_pool_gradient", most_back.data.size / CHUNK, a);
    back_finishing.judge("max_pool_gradient", most_back, wanted_back, STORED, where);
    a.to = mean_back.data, a.finish = back_finishing.of(mean_back);
    run_each("avg_pool_gradient", mean_back.data.size / CHUNK, a);
    back_finishing.judge("avg_pool_gradient", mean_back, wanted_mean_back, STORED, where);
    return bits_of_memory(most.data) + bits_of_memory(most_back.data) + bits_of_memory(mean_back.data) + bits_of_memory(taps);
}
// Of numbers and what is none the latter wins, as in PyTorch: its gradient goes to the last of them.
static void test_pool_of_no_numbers() {
    Map x(1, 1, 4, 8), to(1, 1, 1, 8);
    x.data.fill([](size_t i) { return narrow(i / 8 == 1 || i / 8 == 2 ? float_of(0x7fc00000) : 1.0f); });
    Device<u16> taps(8);
    run_each("max_pool", 1, Pool{x.data, to.data, taps, {}, 1, 1, 4, 1, 1, 8, 1, 4, 1, 1});
    check(to.at(0, 0, 0, 3) != to.at(0, 0, 0, 3) && taps.p[3] == 2, "max_pool", "what is not a number is lost");
}

static void test_each() {
    const int kinds[] = {0, 1, 2, 3, 4, 8, 12, 15, 31};
    for (const int kind : kinds) {
        // Far enough out to meet ReLU6's upper end.
        const Elements e(3, 5, 7, 20, kind == 31 ? 9 : 1);
        auto element = [&](const char* kernel, bool in_place, auto function) {
            if (wanted(kernel)) in_every_mode(kernel, "", [&] { return test_element(kernel, e, kind, in_place, function); });
        };
        element("store", false, [](double a, double, double, int) { return a; });
        element("rework", true, [](double a, double, double, int) { return a; });
        element("multiply", false, [](double a, double b, double, int) { return a * b; });
        element("multiply_channels", false, [](double a, double, double p, int) { return a * p; });
        element("affine", false, [&](double a, double, double, int c) { return (a - e.coefficient(0, c)) * e.coefficient(1, c) + e.coefficient(2, c); });
        element("affine_gradient", false, [&](double a, double b, double, int c) { return a * e.coefficient(1, c) - (b - e.coefficient(0, c)) * e.coefficient(2, c) - e.coefficient(3, c); });
        for (bool product : {false, true})
            if (wanted("position_sums")) in_every_mode("position_sums", "", [&] { return test_position_sums(e, product, kind); });
        for (const Window& window : {Window{8, 6, 2, 2, 2, 2}, Window{7, 9, 3, 2, 2, 1}, Window{5, 4, 5, 4, 1, 1}})
            if (wanted("pool")) in_every_mode("max_pool", "", [&] { return test_pool(window, kind); });
    }
    if (wanted("pool")) test_pool_of_no_numbers();
    for (const float scale : {4.0f, 80.0f}) {
        const Elements e(3, 16, 16, 40, sizeof(Value) == 2 && scale > 4 ? 8 : scale);
        if (wanted("sigmoid"))
            in_every_mode("sigmoid", "", [&] { return test_smooth("sigmoid", e, [](double a, double, double, int) { return logistic(a); }, [](double a, double, double, int) { return logistic(a) / (1 + exp(a)); }); });
        if (wanted("silu"))
            in_every_mode("silu", "", [&] { return test_smooth("silu", e, [](double a, double, double, int) { return a * logistic(a); }, [](double a, double, double, int) { return logistic(a) + a * logistic(a) / (1 + exp(a)); }); });
        auto inside = [&](double a, int c) { return fabs(a - e.coefficient(0, c)) < e.coefficient(1, c); };
        if (wanted("mean_sparse"))
            in_every_mode("mean_sparse", "", [&] {
                return test_smooth("mean_sparse", e, [&](double a, double, double, int c) { return inside(a, c) ? e.coefficient(0, c) : a; }, [&](double a, double, double, int c) { return inside(a, c) ? 0 : 1; });
            });
    }
}
