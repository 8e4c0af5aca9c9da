// The plain convolutions and the depthwise ones, against the same sums in f64.
#pragma once
#include "conv.h"

static Direct geometry(const Problem& p) {
    const Shape& s = p.shape;
    Direct a = {};
    a.images = s.n, a.in_h = s.h, a.in_w = s.w, a.in_pixel = p.x.pixel, a.in_c = s.c;
    a.out_h = s.oh, a.out_w = s.ow, a.out_pixel = p.gradient.pixel, a.out_c = s.k;
    a.kernel_h = s.r, a.kernel_w = s.s, a.step_y = s.step_y, a.step_x = s.step_x, a.top = s.top, a.left = s.left, a.groups = s.groups;
    a.in = p.x.data, a.gradient = p.gradient.data, a.weight = p.weight;
    return a;
}

// `weights` as the family reads them.
static std::string test_plain(const Problem& p, const std::string& family, const Floats& weights, int kind) {
    const Shape& s = p.shape;
    const std::string where = s.text() + ", finish " + std::to_string(kind);
    Map out(s.n, s.oh, s.ow, s.k), image(s.n, s.h, s.w, s.c);
    Finishing finishing(out, kind), image_finishing(image, kind);
    Floats bias(s.k), wide(out.data.size);
    randomise(bias);
    Direct a = geometry(p);
    a.weight = weights, a.bias = bias, a.out = out.data, a.wide = wide, a.finish = finishing.of(out);
    run_each(family + "_forward", out.data.size / CHUNK, a);
    std::vector<double> y = p.y, found_wide;
    for (size_t i = 0; i < y.size(); i++) {
        y[i] += bias.p[i % s.k];
        found_wide.push_back(wide.p[i / s.k * out.pixel + i % s.k]);
    }
    finishing.judge(family + "_forward", out, y, STORED, where);
    agree(family + "_forward", found_wide, finishing.wanted(y, out), FLOAT, where + ", wide");
    a = geometry(p);
    a.weight = weights, a.out = image.data, a.finish = image_finishing.of(image);
    run_each(family + "_image", image.data.size / CHUNK, a);
    image_finishing.judge(family + "_image", image, p.dx, STORED, where);
    return bits_of_memory(out.data) + bits_of_memory(image.data) + bits_of_memory(wide);
}
static std::string test_plain_weight(const Problem& p, int parts) {
    const Shape& s = p.shape;
    Floats scratch(parts * p.dw.size()), found(p.dw.size());
    found.fill([](size_t) { return 0; });
    Direct a = geometry(p);
    a.parts = scratch, a.parts_count = parts;
    run_each("direct_weight", scratch.size, a);
    run_each("weight_gradient_sum", found.size, WeightGradientSum{scratch, found, parts, 1, s.k * s.ins(), 1, s.k * s.ins(), 1, s.taps()});
    agree("direct_weight", values(found), p.dw, FLOAT, s.text());
    return bits_of_memory(found);
}
static std::string test_depthwise_weight(const Problem& p, int parts) {
    const Shape& s = p.shape;
    Floats scratch((size_t)parts * s.taps() * p.x.pixel), found(p.dw.size());
    found.fill([](size_t) { return 0; });
    Direct a = geometry(p);
    a.parts = scratch, a.parts_count = parts;
    run("depthwise_weight", {tiles(p.x.pixel, 64), (u32)parts, (u32)s.taps()}, {256, 1, 1}, 8192, a);
    run_each("weight_gradient_sum", found.size, WeightGradientSum{scratch, found, parts, 1, 1, p.x.pixel, 1, s.c, s.taps()});
    agree("depthwise_weight", values(found), p.dw, FLOAT, s.text());
    return bits_of_memory(found);
}

static void test_direct() {
    if (!wanted("direct") && !wanted("depthwise")) return;
    std::vector<Shape> shapes = {
        {3, 7, 6, 9, 12, 3, 3, 1, 1, 1, 1, 7, 6, 3},      // groups of 3 and 4
        {2, 8, 5, 20, 10, 2, 3, 2, 1, 0, 1, 4, 5, 5},     // an even kernel, stride (2, 1)
        {2, 9, 9, 3, 5, 8, 8, 1, 1, 0, 0, 2, 2, 1},       // more taps than the tensor cores' kernels take
        {3, 7, 9, 24, 24, 3, 3, 1, 1, 1, 1, 7, 9, 24},    // depthwise
        {2, 9, 8, 20, 20, 5, 5, 2, 2, 2, 2, 5, 4, 20},    // depthwise, padding channels, stride 2
        {2, 6, 8, 8, 8, 3, 3, 2, 1, 0, 1, 3, 8, 8},       // depthwise, unequal padding
    };
    int kind = 0;
    for (const Shape& shape : shapes) {
        const Problem p(shape, false);
        for (const int k : {kind % 32, 15 + kind % 2 * 16}) {
            in_every_mode("direct_forward", shape.text(), [&] { return test_plain(p, "direct", p.weight, k); });
            if (shape.groups != shape.c || shape.groups != shape.k) continue;
            Floats weights((size_t)shape.taps() * p.x.pixel);
            const Pack pack = {p.weight, nullptr, nullptr, weights, shape.c, 1, 1, p.x.pixel, 1, shape.taps()};
            run_each("pack_depthwise", weights.size, pack);
            covered("pack_depthwise");
            in_every_mode("depthwise_forward", shape.text(), [&] { return test_plain(p, "depthwise", weights, k); });
        }
        for (int parts : {1, 2}) {
            in_every_mode("direct_weight", shape.text(), [&] { return test_plain_weight(p, parts); });
            if (shape.groups == shape.c && shape.groups == shape.k)
                in_every_mode("depthwise_weight", shape.text(), [&] { return test_depthwise_weight(p, parts); });
        }
        kind += 7;
    }
}
