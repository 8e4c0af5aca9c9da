// The slopes of attacks' losses, the steps of PGD and Auto-PGD, views, and the optimiser.
#pragma once
#include "finish.h"

// PyTorch 2.15 in f64, by autograd: of -sum t log_softmax(z), of max z_other - z_y, and of the difference of logits ratio.
static const float LOGITS[3][5] = {{2, -1, 0.5, 3.25, 4}, {0.25, 1.5, -2, 1.25, 0.75}, {-0.5, -3, 2.5, 2.25, 1}};
static const int LABELS[3] = {4, 2, 2};
static const float TARGETS[3][5] = {{0.1f, 0.2f, 0.3f, 0.25f, 0.15f}, {0.5f, 0.125f, 0.125f, 0.125f, 0.125f}, {0, 0, 1, 0, 0}};
static const double SLOPES[3][3][5] = {
    {{-0.0177111608556602, -0.19590307993960862, -0.2816388781432951, 0.03721627018515672, 0.4580368487534072},
     {-0.3884270423148718, 0.2644278870994753, -0.1132402967779138, 0.178286743422914, 0.05895270857039622},
     {0.024217799656335533, 0.001987918051464158, -0.5135724908043111, 0.3788301250690755, 0.1085366480274359}},
    {{0, 0, 0, 1, -1}, {0, 1, -1, 0, 0}, {0, 0, -1, 1, 0}},
    {{-0.1875, 0, 0, 0.5, -0.3125}, {0, -4.888888888888889, -1.3333333333333333, 0, 6.222222222222222}, {0, 0, -0.5555555555555556, 0.6666666666666666, -0.1111111111111111}},
};
// Those three images, again and again, among classes of which none is reached: more than a warp has lanes.
static std::string test_slope(int which, int classes) {
    const char* names[] = {"slope_target", "slope_margin", "slope_dlr"};
    const int n = 11, pixel = padded(classes);
    Floats z((size_t)n * pixel), target((size_t)n * classes);
    Device<int> labels(n);
    Map seed(n, 1, 1, classes);
    z.fill([&](size_t i) { return (int)(i % pixel) < 5 ? LOGITS[i / pixel % 3][i % pixel] : -200; });
    target.fill([&](size_t i) { return (int)(i % classes) < 5 ? TARGETS[i / classes % 3][i % classes] : 0; });
    labels.fill([](size_t i) { return LABELS[i % 3]; });
    run(names[which], {tiles(n, 8), 1, 1}, {256, 1, 1}, 0, Slope{z, target, labels, seed.data, 0.5f, n, classes, pixel});
    std::vector<double> wanted;
    for (int i = 0; i < n * classes; i++) wanted.push_back(i % classes < 5 ? SLOPES[which][i / classes % 3][i % classes] / 2 : 0);
    agree(names[which], seed.values(), wanted, STORED, std::to_string(classes) + " classes");
    check(seed.padding_is_zero(), names[which], "padding is not zero");
    return bits_of_memory(seed.data);
}
// Of equals the first counts; of two classes the plain difference stands in; of one there is nothing.
static void test_slopes_of_few() {
    const float equal[8] = {1, 1, 1, 0};
    auto slope = [&](const char* kernel, int classes, const std::vector<double>& wanted) {
        Floats z(8);
        z.fill([&](size_t i) { return equal[i]; });
        Device<int> label(1);
        label.fill([](size_t) { return 0; });
        Map seed(1, 1, 1, classes);
        run(kernel, {1, 1, 1}, {256, 1, 1}, 0, Slope{z, nullptr, label, seed.data, 1, 1, classes, 8});
        agree(kernel, seed.values(), wanted, STORED, std::to_string(classes) + " classes");
    };
    slope("slope_margin", 4, {-1, 1, 0, 0});
    slope("slope_margin", 1, {0});
    slope("slope_dlr", 2, {-1, 1});
    slope("slope_dlr", 1, {0});
}

// v as a float, whatever the compiler would rather compute with.
static float single(float v) { volatile float kept = v; return kept; }
// Exactly what the host computes, pixel by pixel; a gradient that is zero or no number leaves the pixel.
static std::string test_pgd_step(int c, bool mapped, bool normal) {
    const int n = 2, h = 4, w = 5;
    Floats x(n * c * h * w), clean(x.size), mean(c), deviation(c);
    Map g(n, h, w, c), map(n, h, w, c), imported(n, h, w, c);
    g.random(), randomise(mean);
    deviation.fill([](size_t) { return 1 + uniform() / 2; });
    g.data.p[0] = narrow(0), g.data.p[g.pixel] = narrow(float_of(0x7fc00000));
    clean.fill([](size_t) { return (uniform() + 1) / 2; });
    x.fill([&](size_t i) { return clean.p[i] + uniform() * 0.04f; });
    const std::vector<double> before = values(x);
    const float step = 2 / 255.0f, eps = 8 / 255.0f, *means = normal ? mean.p : nullptr;
    run_each("pgd_step", g.places(), PgdStep{x, clean, g.data, step, eps, n, c, h * w, g.pixel, mapped ? map.data.p : nullptr, means, deviation});
    for (size_t i = 0; i < x.size; i++) {
        const double slope = g.at(i / (c * h * w), i % (h * w) / w, i % w, i / (h * w) % c);
        float wanted = single((float)before[i] + (slope > 0 ? step : slope < 0 ? -step : 0));
        wanted = min(max(wanted, single(clean.p[i] - eps)), single(clean.p[i] + eps));
        check(x.p[i] == min(max(wanted, 0.0f), 1.0f), "pgd_step", "a pixel is wrong");
    }
    run_each("import_images", imported.data.size / CHUNK, Images{x, imported.data, means, deviation, n, c, h * w, imported.pixel});
    check(!mapped || map.data == imported.data, "pgd_step", "the map is not what is imported");
    return bits_of_memory(x) + bits_of_memory(map.data);
}
// An image's step as its authors wrote it down (arXiv:2003.01690, section 4.1), in double: into `point` and `before`.
static void plain_step(bool l2, double eps, double step, double share, const std::vector<double>& clean, const std::vector<double>& along, std::vector<double>& point, std::vector<double>& before) {
    auto project = [&](std::vector<double>& x) {
        double squares = 0;
        for (size_t i = 0; i < x.size(); i++) squares += (x[i] - clean[i]) * (x[i] - clean[i]);
        const double shrink = min(1.0, eps / sqrt(squares));
        for (size_t i = 0; i < x.size(); i++) {
            x[i] = l2 ? clean[i] + shrink * (x[i] - clean[i]) : min(max(x[i], clean[i] - eps), clean[i] + eps);
            x[i] = min(max(x[i], 0.0), 1.0);
        }
    };
    double steepness = 0;
    for (double slope : along) steepness += slope * slope;
    std::vector<double> z = point;
    for (size_t i = 0; i < z.size(); i++) {
        const double sign = along[i] > 0 ? 1 : along[i] < 0 ? -1 : 0;
        z[i] += step * (!l2 ? sign : steepness > 0 ? along[i] / sqrt(steepness) : 0);
    }
    project(z);
    for (size_t i = 0; i < z.size(); i++) z[i] = point[i] + share * (z[i] - point[i]) + (1 - share) * (point[i] - before[i]);
    project(z);
    before = point;
    point = z;
}
// Images with every way of a step; the last but one has no slope, the last one that is no number and one that is infinite.
static std::string test_climb(bool l2, int size) {
    const int n = 10;
    const float unscale = 0.25f;
    const double eps = l2 ? 0.05 * sqrt(size) : 0.06;
    Floats clean(n * size), point(clean.size), before(clean.size), best(clean.size), slope(clean.size), gradient(clean.size), steepest(n);
    Floats to_point(clean.size), to_before(clean.size), to_best(clean.size), to_slope(clean.size);
    Device<Stride> strides(n);
    clean.fill([](size_t) { return (uniform() + 1) / 2; });
    for (Floats* f : {&point, &before, &best}) f->fill([&](size_t i) { return min(max(clean.p[i] + uniform() * 0.05f, 0.0f), 1.0f); });
    randomise(slope), randomise(gradient, 1e-3f);
    for (int i = 0; i < size; i++) gradient.p[(n - 2) * size + i] = 0;
    gradient.p[(n - 1) * size] = float_of(0x7fc00000);
    if (size > 1) gradient.p[(n - 1) * size + 1] = float_of(0x7f800000);
    strides.fill([&](size_t i) { return Stride{eps, (float)(i % 3 ? eps * 2 : eps / 2), (i + i / 4) % 2 ? 0.75f : 1.0f, unscale, (int)(i % 4) | (l2 ? 4 : 0)}; });
    run("climb", {(u32)n, 1, 1}, {256, 1, 1}, 2048, Climb{clean, point, before, best, slope, gradient, strides, to_point, to_before, to_best, to_slope, steepest, size});
    std::vector<double> found, wanted;
    for (int image = 0; image < n; image++) {
        auto row = [&](const Floats& f, double factor = 1) {
            std::vector<double> values(size);
            for (int i = 0; i < size; i++) values[i] = f.p[image * size + i] * factor;
            return values;
        };
        const Stride by = strides.p[image];
        const std::vector<double> here = row(gradient, unscale);
        const std::vector<double> at_best = by.way & 1 ? row(point) : row(best), up = by.way & 1 ? here : row(slope);
        double largest = 0;
        bool numbers = true;
        for (double v : here) std::isfinite(v) ? largest = max(largest, fabs(v)) : numbers = false;
        check(steepest.p[image] == (float)largest, "climb", "the steepest slope is wrong");
        check(row(to_best) == at_best, "climb", "the best point is not kept");
        check(!numbers || row(to_slope) == up, "climb", "the best point's gradient is not kept");
        std::vector<double> along = by.way & 2 ? up : here, from = by.way & 2 ? at_best : row(point), behind = row(before);
        // In l2 a length that is no number leads nowhere; in linf such a slope alone.
        if (!numbers) for (double& v : along) v = l2 || v != v ? 0 : v;
        plain_step(l2, eps, by.length, by.share, row(clean), along, from, behind);
        check(row(to_before) == behind, "climb", "the point before is wrong");
        for (double v : row(to_point)) found.push_back(v);
        for (double v : from) wanted.push_back(v);
    }
    agree("climb", found, wanted, FLOAT, (l2 ? "l2 of " : "linf of ") + std::to_string(size));
    return bits_of_memory(to_point) + bits_of_memory(to_best) + bits_of_memory(to_slope) + bits_of_memory(steepest);
}
static std::string test_gather() {
    const int n = 7, size = 75;
    Floats one(3 * size), other(5 * size), to(n * size);
    randomise(one), randomise(other);
    Device<const float*> rows(n);
    rows.fill([&](size_t i) { return (const float*)(i % 2 ? one.p + i / 2 * size : other.p + (4 - i / 2) * size); });
    run_each("gather", to.size, Gather{rows, to, n, size});
    for (int i = 0; i < n; i++) check(!memcmp(to.p + i * size, rows.p[i], size * sizeof(float)), "gather", "a row is another's");
    return bits_of_memory(to);
}
static std::string test_cut() {
    const int n = 9, held = 4, c = 3, h = 5, w = 6;
    Device<u8> images(held * c * h * w);
    Device<View> views(n);
    Floats to(n * c * h * w);
    images.fill([](size_t) { return (u8)below(256); });
    views.fill([](size_t i) { return View{below(held), (short)(below(5) - 2), (short)(below(5) - 2), (int)i % 2}; });
    run_each("cut", to.size, Cut{images, views, to, n, c, h, w});
    for (size_t i = 0; i < to.size; i++) {
        const View v = views.p[i / (c * h * w)];
        const int column = i % w, y = i / w % h + v.dy, x = (v.mirrored ? w - 1 - column : column) + v.dx, channel = i / (h * w) % c;
        const bool inside = y >= 0 && y < h && x >= 0 && x < w;
        check(to.p[i] == (inside ? single(images.p[((v.source * h + y) * w + x) * c + channel] / 255.0f) : 0), "cut", "a pixel is wrong");
    }
    return bits_of_memory(to);
}

// Bit for bit, each operation rounded by itself.
static std::string test_optimiser() {
    const int n = 1000;
    Floats p(n), v(n), g(n), average(n), running(n), batch(n);
    Device<double> momentum(n);
    for (Floats* f : {&p, &v, &g, &average, &running, &batch}) randomise(*f);
    momentum.fill([](size_t i) { return i % 3 ? 0.1 * (i % 3) : 0; });
    const std::vector<double> a0 = values(average), r0 = values(running);
    for (const int nesterov : {0, 1}) {
        const std::vector<double> p0 = values(p), v0 = values(v);
        run_each("sgd", n, Sgd{p, v, g, 0.9f, 5e-4f, 0.1f, n, nesterov});
        for (int i = 0; i < n; i++) {
            const float decay = single(5e-4f * (float)p0[i]), pull = single(g.p[i] + decay), kept = single(0.9f * (float)v0[i]);
            const float velocity = single(kept + pull), ahead = single(0.9f * velocity);
            const float step = single(0.1f * (nesterov ? single(pull + ahead) : velocity));
            check(v.p[i] == velocity && p.p[i] == single((float)p0[i] - step), "sgd", nesterov ? "a bit of Nesterov's is wrong" : "a bit is wrong");
        }
    }
    const std::vector<double> larger = values(g);
    run_each("scale_add", n, ScaleAdd{p, g, 0.125f, n});
    for (int i = 0; i < n; i++) check(g.p[i] == single((float)larger[i] + single(0.125f * p.p[i])), "scale_add", "a bit is wrong");
    for (const float decay : {0.999f, 0.3f}) {
        const float pull = single(1 - decay);
        const std::vector<double> before = values(average);
        run_each("average", n, Average{average, p, decay, pull, n});
        for (int i = 0; i < n; i++) {
            const float apart = single(p.p[i] - (float)before[i]), near = single(pull * apart), far = single(decay * apart);
            check(average.p[i] == (decay > 0.5f ? single((float)before[i] + near) : single(p.p[i] - far)), "average", "a bit is wrong");
        }
    }
    run_each("statistics", n, Statistics{running, batch, momentum, n});
    for (int i = 0; i < n; i++) {
        const double m = momentum.p[i];
        check(running.p[i] == (float)(m == 0 ? r0[i] : (1 - m) * r0[i] + m * batch.p[i]), "statistics", "a value is wrong");
    }
    return bits_of_memory(p) + bits_of_memory(v) + bits_of_memory(average) + bits_of_memory(running);
}

static void test_attack() {
    const char* names[] = {"slope_target", "slope_margin", "slope_dlr"};
    for (int which = 0; which < 3; which++)
        for (int classes : {5, 10, 100})
            if (wanted(names[which])) in_every_mode(names[which], "", [&] { return test_slope(which, classes); });
    if (wanted("slope")) test_slopes_of_few();
    for (int c : {1, 3, 20})
        for (bool mapped : {false, true})
            if (wanted("pgd_step")) in_every_mode("pgd_step", "", [&] { return test_pgd_step(c, mapped, mapped && c > 1); });
    for (int size : {1, 6, 3 * 32 * 32, 777})
        for (bool l2 : {false, true})
            if (wanted("climb")) in_every_mode("climb", "", [&] { return test_climb(l2, size); });
    if (wanted("gather")) in_every_mode("gather", "", test_gather);
    if (wanted("cut")) in_every_mode("cut", "", test_cut);
    if (wanted("sgd") || wanted("average") || wanted("statistics")) in_every_mode("sgd", "", test_optimiser);
}
