// Images in and out, channels joined and parted, vectors, standardised images, and folded weights.
#pragma once
#include "finish.h"

static std::string test_images(int n, int h, int w, int c, bool normal) {
    Floats images((size_t)n * c * h * w), back(images.size), mean(c), deviation(c);
    images.fill([](size_t) { return (uniform() + 1) / 2; });
    randomise(mean);
    deviation.fill([](size_t) { return 1 + uniform() / 2; });
    Map map(n, h, w, c, padded(c) + CHUNK), gradient(n, h, w, c);
    gradient.random();
    run_each("import_images", map.data.size / CHUNK, Images{images, map.data, normal ? mean.p : nullptr, deviation, n, c, h * w, map.pixel});
    run_each("export_images", back.size, Images{back, gradient.data, nullptr, normal ? deviation.p : nullptr, n, c, h * w, gradient.pixel});
    std::vector<double> in, out;
    for (int i = 0; i < n; i++)
        for (int p = 0; p < h * w; p++)
            for (int k = 0; k < c; k++) in.push_back(normal ? (images.p[(i * c + k) * h * w + p] - (double)mean.p[k]) / deviation.p[k] : images.p[(i * c + k) * h * w + p]);
    for (size_t i = 0; i < back.size; i++) {
        const int k = i / (h * w) % c;
        out.push_back(gradient.at(i / (c * h * w), i % (h * w) / w, i % w, k) / (normal ? deviation.p[k] : 1));
    }
    agree("import_images", map.values(), in, STORED, "");
    check(map.padding_is_zero(), "import_images", "padding is not zero");
    agree("export_images", values(back), out, FLOAT, "");
    return bits_of_memory(map.data) + bits_of_memory(back);
}
static std::string test_export_wide() {
    const int rows = 37, c = 10, pixel = 16;
    Floats from(rows * pixel), to(rows * c);
    randomise(from);
    run_each("export_wide", to.size, Wide{from, to, rows, c, pixel});
    for (int i = 0; i < rows * c; i++) check(to.p[i] == from.p[i / c * pixel + i % c], "export_wide", "a value is misplaced");
    return bits_of_memory(to);
}

// Maps joined one after the other, in descending order of their channels or ascending, each part as it was.
static std::string test_concat(const std::vector<int>& parts) {
    int all = 0, start = 0;
    for (int c : parts) all += c;
    Map to(2, 3, 5, all);
    std::vector<std::unique_ptr<Map>> maps;
    for (int c : parts) {
        maps.push_back(std::make_unique<Map>(2, 3, 5, c));
        maps.back()->random();
        run_each("channels", to.data.size / CHUNK, Channels{maps.back()->data, to.data, {}, (int)to.places(), maps.back()->pixel, 0, to.pixel, start, c, all, 0});
        start += c;
    }
    start = 0;
    for (size_t m = 0; m < maps.size(); m++) {
        for (size_t p = 0; p < to.places(); p++)
            for (int c = 0; c < parts[m]; c++)
                check(!memcmp(&to.data.p[p * to.pixel + start + c], &maps[m]->data.p[p * maps[m]->pixel + c], sizeof(Value)), "channels", "a joined channel is wrong");
        start += parts[m];
    }
    check(to.padding_is_zero(), "channels", "padding is not zero");
    return bits_of_memory(to.data);
}
// One part of a wide map, finished; and a narrow one between zeros.
static std::string test_parts(int c, int first, int all, int kind) {
    Map wide(2, 3, 5, all), part(2, 3, 5, c), between(2, 3, 5, all);
    wide.random();
    Finishing finishing(part, kind);
    run_each("channels", part.data.size / CHUNK, Channels{wide.data, part.data, finishing.of(part), (int)wide.places(), wide.pixel, first, part.pixel, 0, c, c, 0});
    std::vector<double> wanted, zeros;
    for (size_t p = 0; p < wide.places(); p++) {
        for (int k = 0; k < c; k++) wanted.push_back(widen(wide.data.p[p * wide.pixel + first + k]));
    }
    finishing.judge("channels", part, wanted, STORED, "a part");
    Map narrow_(2, 3, 5, c);
    narrow_.random();
    run_each("channels", between.data.size / CHUNK, Channels{narrow_.data, between.data, {}, (int)wide.places(), narrow_.pixel, 0, between.pixel, first, c, all, 1});
    for (size_t p = 0; p < wide.places(); p++)
        for (int k = 0; k < all; k++) zeros.push_back(k >= first && k < first + c ? (double)widen(narrow_.data.p[p * narrow_.pixel + k - first]) : 0);
    agree("channels", between.values(), zeros, 0, "between zeros");
    check(between.padding_is_zero(), "channels", "padding is not zero");
    return bits_of_memory(part.data) + bits_of_memory(between.data);
}

static std::string test_flatten(int c, int h, int w, int kind) {
    const int n = 3, vector = padded(c * h * w);
    Map map(n, h, w, c), to(n, 1, 1, c * h * w, vector), back(n, h, w, c), gradient(n, 1, 1, c * h * w, vector);
    map.random(), gradient.random();
    Finishing finishing(back, kind);
    run_each("flatten", to.data.size / CHUNK, Flatten{map.data, to.data, {}, n, c, h * w, map.pixel, vector});
    run_each("flatten_gradient", back.data.size / CHUNK, Flatten{gradient.data, back.data, finishing.of(back), n, c, h * w, back.pixel, vector});
    std::vector<double> flat, mapped;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c * h * w; j++) flat.push_back(map.at(i, j % (h * w) / w, j % w, j / (h * w)));
    for (int i = 0; i < n; i++)
        for (int p = 0; p < h * w; p++)
            for (int k = 0; k < c; k++) mapped.push_back(gradient.at(i, 0, 0, k * h * w + p));
    agree("flatten", to.values(), flat, 0, "");
    check(to.padding_is_zero(), "flatten", "padding is not zero");
    finishing.judge("flatten_gradient", back, mapped, STORED, "");
    return bits_of_memory(to.data) + bits_of_memory(back.data);
}

// The second image varies by less than the least deviation that counts.
static std::string test_standardize(int c, int h, int w, int kind) {
    const int n = 2, count = c * h * w;
    Map x(n, h, w, c), g(n, h, w, c), to(n, h, w, c), back(n, h, w, c);
    x.data.fill([&](size_t i) { return narrow((int)(i % x.pixel) < c ? 0.3f + uniform() * (i < x.data.size / 2 ? 1 : 0.2f / sqrtf((float)count)) : 0); });
    g.random();
    Finishing finishing(back, kind);
    run("standardize", {(u32)n, 1, 1}, {256, 1, 1}, 2048, Standardize{x.data, nullptr, to.data, {}, n, c, h * w, x.pixel});
    run("standardize_gradient", {(u32)n, 1, 1}, {256, 1, 1}, 2048, Standardize{x.data, g.data, back.data, finishing.of(back), n, c, h * w, x.pixel});
    const std::vector<double> xs = x.values(), gs = g.values();
    std::vector<double> y, dx;
    for (int i = 0; i < n; i++) {
        double mean = 0, variance = 0, mean_g = 0, along = 0;
        for (int j = i * count; j < (i + 1) * count; j++) mean += xs[j] / count, mean_g += gs[j] / count;
        for (int j = i * count; j < (i + 1) * count; j++) variance += (xs[j] - mean) * (xs[j] - mean) / (count - 1);
        const double s = sqrt(max(variance, 1.0 / count));
        for (int j = i * count; j < (i + 1) * count; j++) y.push_back((xs[j] - mean) / s), along += gs[j] * y.back();
        for (int j = i * count; j < (i + 1) * count; j++) dx.push_back((gs[j] - mean_g - (variance > 1.0 / count ? y[j] * along / (count - 1) : 0)) / s);
    }
    agree("standardize", to.values(), y, STORED, "");
    check(to.padding_is_zero(), "standardize", "padding is not zero");
    finishing.judge("standardize_gradient", back, dx, max(STORED, 2e-6), "");
    return bits_of_memory(to.data) + bits_of_memory(back.data);
}

// BatchNorm folded into a convolution's weight and bias: what both make of a number, in f64.
static std::string test_fold(bool has_bias) {
    const int c = 20, pixel = 24, ins = 3;
    Floats gamma(c), beta(c), mean(c), variance(c), bias(c), scale(pixel), folded(pixel), weight(c * ins), plain(c * ins);
    randomise(gamma), randomise(beta), randomise(mean), randomise(bias), randomise(weight);
    variance.fill([](size_t) { return 1.5f + uniform(); });
    run_each("fold", pixel, Fold{gamma, beta, mean, variance, has_bias ? bias.p : nullptr, scale, folded, 1e-5, c, pixel});
    run_each("scale_weight", plain.size, Pack{weight, scale, nullptr, plain, 1, c, ins, pixel, 8, 1});
    std::vector<double> wanted, found, products;
    for (int k = 0; k < pixel; k++) {
        const double s = k < c ? gamma.p[k] / sqrt(variance.p[k] + 1e-5) : 0;
        wanted.insert(wanted.end(), {s, k < c ? beta.p[k] + ((has_bias ? bias.p[k] : 0) - (double)mean.p[k]) * s : 0});
        found.insert(found.end(), {scale.p[k], folded.p[k]});
        for (int i = 0; i < ins && k < c; i++) products.push_back(weight.p[k * ins + i] * s);
    }
    agree("fold", found, wanted, FLOAT, "");
    agree("scale_weight", values(plain), products, FLOAT, "");
    Device<Value> packed((size_t)pixel * 8);
    run_each("pack", packed.size, Pack{weight, scale, packed, nullptr, 1, c, ins, pixel, 8, 1});
    for (int k = 0; k < pixel; k++)
        for (int i = 0; i < 8; i++) {
            const Value value = narrow(k < c && i < ins ? plain.p[k * ins + i] : 0);
            check(!memcmp(&value, &packed.p[k * 8 + i], sizeof value), "pack", "a scaled weight is wrong");
        }
    return bits_of_memory(scale) + bits_of_memory(folded) + bits_of_memory(packed);
}

static void test_layout() {
    for (bool yes : {false, true}) {
        if (wanted("images"))
            for (int c : {1, 3, 20}) in_every_mode("import_images", "", [&] { return test_images(3, 4, 5, c, yes); });
        if (wanted("fold")) in_every_mode("fold", "", [&] { return test_fold(yes); });
    }
    if (wanted("export_wide")) in_every_mode("export_wide", "", test_export_wide);
    if (wanted("channels")) {
        for (const std::vector<int>& parts : {std::vector<int>{16, 32}, {3, 20, 5}, {1, 1, 1}, {17, 15, 16, 2}, {40, 8}}) in_every_mode("channels", "", [&] { return test_concat(parts); });
        for (int kind : {0, 2, 15}) {
            in_every_mode("channels", "", [&] { return test_parts(16, 8, 32, kind); });
            in_every_mode("channels", "", [&] { return test_parts(3, 2, 8, kind); });
            in_every_mode("channels", "", [&] { return test_parts(20, 5, 41, kind); });
        }
    }
    for (int kind : {0, 3, 15}) {
        if (wanted("flatten")) in_every_mode("flatten", "", [&] { return test_flatten(20, 3, 2, kind); });
        if (wanted("flatten")) in_every_mode("flatten", "", [&] { return test_flatten(3, 1, 1, kind); });
        if (wanted("standardize")) in_every_mode("standardize", "", [&] { return test_standardize(3, 9, 11, kind); });
        if (wanted("standardize")) in_every_mode("standardize", "", [&] { return test_standardize(20, 3, 3, kind); });
    }
}
