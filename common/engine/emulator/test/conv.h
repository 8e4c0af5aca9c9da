// Convolutions on tensor cores, in all three directions: every tile, against plain sums in f64 over the stored operands.
#pragma once
#include "finish.h"

// Channels are those of all groups; padding is what the output's size leaves below and to the right.
struct Shape {
    int n, h, w, c, k, r, s, step_y, step_x, top, left, oh, ow, groups;
    std::string text() const {
        char t[160];
        snprintf(t, sizeof t, "%dx%dx%dx%d to %d, kernel %dx%d, stride %dx%d, padding %d %d, output %dx%d, groups %d", n, h, w, c, k, r, s, step_y, step_x, top, left, oh, ow, groups);
        return t;
    }
    int ins() const { return c / groups; }
    int outs() const { return k / groups; }
    int taps() const { return r * s; }
};

// A convolution with its operands and, in f64, its results: [image][row][column][channel] and PyTorch's weights.
struct Problem {
    const Shape shape;
    Map x, gradient;
    Floats weight, scale;             // of each output channel, a power of two that its weights are packed with
    std::vector<double> in_scale;     // of each input channel, in the weights already
    std::vector<double> y, dx, dw;
    // `narrowed`: the kernel sees the weights as they are stored in maps. Maps are of size `forward`, gradients `back`.
    // `spread`: channels are of sizes of their own, 2^-15 to 2^15 and 2^-7 to 2^7.
    Problem(const Shape& s, bool narrowed, float forward = 1, float back = 1, bool spread = false)
        : shape(s), x(s.n, s.h, s.w, s.c), gradient(s.n, s.oh, s.ow, s.k), weight((size_t)s.k * s.ins() * s.taps()), scale(s.k),
          in_scale(s.c), y((size_t)s.n * s.oh * s.ow * s.k), dx((size_t)s.n * s.h * s.w * s.c), dw(weight.size) {
        x.random(forward);
        gradient.random(back);
        randomise(weight);
        scale.fill([&](size_t k) { return spread ? ldexpf(1, (int)(k * 7 % 31) - 15) : 1; });
        for (int c = 0; c < s.c; c++) in_scale[c] = spread ? ldexp(1, c * 4 % 15 - 7) : 1;
        for (size_t i = 0; i < weight.size; i++) {
            const size_t row = i / s.taps();
            weight.p[i] *= (float)in_scale[row / s.ins() / s.outs() * s.ins() + row % s.ins()];
        }
        for (int n = 0; n < s.n; n++)
            for (int oy = 0; oy < s.oh; oy++)
                for (int ox = 0; ox < s.ow; ox++)
                    for (int t = 0; t < s.taps(); t++) {
                        const int iy = oy * s.step_y - s.top + t / s.s, ix = ox * s.step_x - s.left + t % s.s;
                        if (iy < 0 || ix < 0 || iy >= s.h || ix >= s.w) continue;
                        for (int k = 0; k < s.k; k++)
                            for (int i = 0; i < s.ins(); i++) {
                                const int c = k / s.outs() * s.ins() + i;
                                const size_t at_w = ((size_t)k * s.ins() + i) * s.taps() + t, at_y = (((size_t)n * s.oh + oy) * s.ow + ox) * s.k + k, at_x = (((size_t)n * s.h + iy) * s.w + ix) * s.c + c;
                                const double w = (narrowed ? widen(narrow(weight.p[at_w])) : weight.p[at_w]) * (double)scale.p[k];
                                y[at_y] += x.at(n, iy, ix, c) * w;
                                dx[at_x] += gradient.at(n, oy, ox, k) * w;
                                dw[at_w] += gradient.at(n, oy, ox, k) * x.at(n, iy, ix, c);
                            }
                    }
    }
};

struct Tile { const char* name; u32 places, channels, threads; bool split; };
static const Tile TILES[] = {{"conv_128x128", 128, 128, 256}, {"conv_128x64", 128, 64, 256}, {"conv_64x64", 64, 64, 128}, {"conv_128x32", 128, 32, 128}};
static const Tile SPLIT_TILES[] = {{"split_128x160", 128, 160, 384, true}, {"split_128x128", 128, 128, 384, true}, {"split_128x64", 128, 64, 384, true}};

static u32 shared_bytes(const Tile& tile) {
#ifdef STORE_FLOATS
    if (tile.split) return SPLIT_HEAD + SPLIT_STAGES * (SPLIT_MAP + tile.channels / CHUNK * SPLIT_BLOCK);
#endif
    return STAGES * (tile.places + tile.channels) * ROW;
}
static void run_conv(const Tile& tile, const Conv& a, int groups) {
    run(tile.name, {tiles((size_t)a.images * a.rows * a.cols, tile.places), tiles(a.out_c, tile.channels), (u32)groups}, {tile.threads, 1, 1}, shared_bytes(tile), a);
}
static Pack packing(const Problem& p, const Device<Value>& to) {
    const Shape& s = p.shape;
    return {p.weight, p.scale, to, nullptr, s.groups, s.outs(), s.ins(), padded(s.outs()), padded(s.ins()), s.taps(), 0, 0};
}
// Weights as a tile's kernel reads them, and what its sums are multiplied by, of one direction.
struct Packed {
    Device<Value> weight;
    Floats unscale;
    Packed(const Problem& p, const Tile& tile, bool transposed)
        : weight(room(p.shape, tile, transposed)), unscale((size_t)p.shape.groups * padded(transposed ? p.shape.ins() : p.shape.outs())) {
        Pack a = packing(p, weight);
        const std::string name = tile.split ? "pack_split" : transposed ? "pack_transposed" : "pack";
        if (tile.split) {
            a.plain = unscale, a.transposed = transposed, a.tile = (int)tile.channels / CHUNK;
            run(name, {(u32)unscale.size, 1, 1}, {256, 1, 1}, 32, a);
        } else run_each(name, weight.size, a);
        covered(name);
    }
    // Values; terms come in whole stages to the one, in 8s to the other.
    static size_t room(const Shape& s, const Tile& tile, bool transposed) {
        const int outs = padded(s.outs()), ins = padded(s.ins()), rows = transposed ? ins : outs, terms = transposed ? outs : ins;
        const size_t each = (size_t)s.groups * s.taps() * rows;
#ifdef STORE_FLOATS
        if (tile.split) return each * tiles(terms, SPLIT_TERMS) * (SPLIT_BLOCK / CHUNK) / sizeof(Value);
#endif
        return each * terms;
    }
};

static std::string test_forward(const Problem& p, const Tile& tile, int kind) {
    const Shape& s = p.shape;
    const int ins = padded(s.ins()), outs = padded(s.outs());
    const Packed packed(p, tile, false);
    // The output's places may be wider than its channels: what lies behind them is not the kernel's.
    Map out(s.n, s.oh, s.ow, s.k, s.groups * outs + (kind & 32 ? CHUNK : 0));
    Finishing finishing(out, kind);
    Floats bias(s.groups * outs), wide(out.data.size), moments((size_t)tiles(out.places(), 64) * 2 * out.pixel);
    bias.fill([&](size_t c) { return (int)(c % outs) < s.outs() && s.groups * outs == padded(s.k) && (int)c < s.k ? uniform() * p.scale.p[c] : 0; });
    Conv a = {p.x.data, packed.weight, packed.unscale, out.data, wide, bias, moments, finishing.of(out), s.n, s.h, s.w, p.x.pixel, ins, s.oh, s.ow, s.step_y, s.step_x, s.oh, s.ow, out.pixel, outs, 1, 1, 0, 0, s.taps(), s.taps()};
    for (int t = 0; t < s.taps(); t++) a.tap[t] = {(short)(t / s.s - s.top), (short)(t % s.s - s.left), t};
    run_conv(tile, a, s.groups);
    std::vector<double> y = p.y, found_wide, wanted_sums(2 * s.k);
    for (size_t i = 0; i < y.size(); i++) y[i] += bias.p[i % s.k];
    const std::string where = s.text() + ", finish " + std::to_string(kind);
    Map seen(s.n, s.oh, s.ow, s.k, out.pixel);
    memcpy(seen.data.p, out.data.p, out.data.size * sizeof(Value));
    bool behind_untouched = true;
    for (size_t i = 0; i < out.data.size; i++)
        if ((int)(i % out.pixel) >= s.groups * outs) {
            const Value nan = finishing.accumulates ? finishing.old.data.p[i] : out.data.p[i];
            behind_untouched &= finishing.accumulates ? !memcmp(&nan, &out.data.p[i], sizeof nan) : widen(nan) != widen(nan);
            seen.data.p[i] = narrow(0);
        }
    check(behind_untouched, tile.name, where + ": wrote behind its channels");
    finishing.judge(tile.name, seen, y, PRODUCT, where);
    std::vector<double> finished = finishing.wanted(y, out);
    for (size_t i = 0; i < y.size(); i++) {
        const size_t at = i / s.k * out.pixel + i % s.k;
        const double stored = widen(out.data.p[at]);
        found_wide.push_back(wide.p[at] / p.scale.p[i % s.k]);
        wanted_sums[i % s.k] += stored;
        wanted_sums[s.k + i % s.k] += stored * stored;
    }
    // Each channel by its own size: a sum that another's scale brought back would be lost among larger ones.
    for (size_t i = 0; i < y.size(); i++) finished[i] /= p.scale.p[i % s.k];
    agree(tile.name, found_wide, finished, SUMMED, where + ", wide");
    // What the moments say of mean and variance, in f64; sums of random signs cancel, so the mean is in deviations.
    std::vector<double> found_moments, wanted_moments;
    for (int c = 0; c < s.k; c++) {
        const double n = (double)out.places(), mean = wanted_sums[c] / n, variance = wanted_sums[s.k + c] / n - mean * mean;
        double sum = 0, squares = 0;
        for (size_t b = 0; b < moments.size / 2 / out.pixel; b++) {
            const double part = moments.p[b * 2 * out.pixel + c], places = min<double>(64, n - 64.0 * b);
            sum += part;
            squares += moments.p[(b * 2 + 1) * out.pixel + c] + part * part / places;
        }
        const double deviation = sqrt(max(variance, 1e-12));
        found_moments.insert(found_moments.end(), {sum / n / deviation, (squares / n - sum / n * sum / n) / deviation});
        wanted_moments.insert(wanted_moments.end(), {mean / deviation, variance / deviation});
    }
    agree(tile.name, found_moments, wanted_moments, FLOAT, where + ", moments");
    return bits_of_memory(out.data) + bits_of_memory(wide) + bits_of_memory(moments);
}

// One launch per parity class of the input's places: those whose row and column leave the same rest under the stride.
static std::string test_image_gradient(const Problem& p, const Tile& tile, int kind) {
    const Shape& s = p.shape;
    const int ins = padded(s.ins()), outs = padded(s.outs());
    const Packed packed(p, tile, true);
    Map to(s.n, s.h, s.w, s.c);
    Finishing finishing(to, kind);
    for (int cy = 0; cy < s.step_y; cy++)
        for (int cx = 0; cx < s.step_x; cx++) {
            if (cy >= s.h || cx >= s.w) continue;
            Conv a = {p.gradient.data, packed.weight, packed.unscale, to.data, nullptr, nullptr, nullptr, {}, s.n, s.oh, s.ow, p.gradient.pixel, outs, (s.h - cy + s.step_y - 1) / s.step_y, (s.w - cx + s.step_x - 1) / s.step_x, 1, 1, s.h, s.w, to.pixel, ins, s.step_y, s.step_x, cy, cx, 0, s.taps()};
            if (cy == 0 && cx == 0) a.finish = finishing.of(to);
            else a.finish = {finishing.adds ? finishing.residual.data.p : nullptr, finishing.keeps ? finishing.bits.p : nullptr, finishing.gated ? finishing.gate.p : nullptr, finishing.accumulates, finishing.activation};
            for (int t = 0; t < s.taps(); t++) {
                const int y = cy + s.top - t / s.s, x = cx + s.left - t % s.s;
                const int rest_y = (y % s.step_y + s.step_y) % s.step_y, rest_x = (x % s.step_x + s.step_x) % s.step_x;
                if (rest_y == 0 && rest_x == 0) a.tap[a.taps++] = {(short)((y - rest_y) / s.step_y), (short)((x - rest_x) / s.step_x), t};
            }
            run_conv(tile, a, s.groups);
        }
    const std::string where = s.text() + ", image gradient, finish " + std::to_string(kind);
    finishing.judge(tile.name, to, p.dx, PRODUCT, where);
    if (kind == 0) {
        std::vector<double> found = to.values(), wanted = p.dx;
        for (size_t i = 0; i < wanted.size(); i++) found[i] /= p.in_scale[i % s.c], wanted[i] /= p.in_scale[i % s.c];
        agree(tile.name, found, wanted, PRODUCT, where + ", by channel");
    }
    return bits_of_memory(to.data);
}

static std::string test_weight_gradient(const Problem& p, int parts_wanted) {
    const Shape& s = p.shape;
    const int ins = padded(s.ins()), outs = padded(s.outs()), places = s.n * s.oh * s.ow;
    const int per_part = tiles(places, parts_wanted), parts = tiles(places, per_part);
    Floats scratch((size_t)parts * s.groups * outs * s.taps() * ins), found(p.dw.size());
    randomise(found);
    std::vector<double> wanted = values(found);
    for (size_t i = 0; i < wanted.size(); i++) wanted[i] += p.dw[i];
    WeightGradient a = {p.x.data, p.gradient.data, scratch, s.n, s.h, s.w, p.x.pixel, ins, s.oh, s.ow, p.gradient.pixel, outs, s.step_y, s.step_x, s.taps(), s.groups, per_part};
    for (int t = 0; t < s.taps(); t++) a.tap[t] = {(short)(t / s.s - s.top), (short)(t % s.s - s.left), t};
    run("weight_gradient", {(u32)s.taps() * tiles(ins, 64), tiles(outs, 64), (u32)(s.groups * parts)}, {128, 1, 1}, 32768, a);
    run_each("weight_gradient_sum", found.size, WeightGradientSum{scratch, found, parts, s.groups, outs, ins, s.outs(), s.ins(), s.taps()});
    agree("weight_gradient", values(found), wanted, SUMMED, s.text() + ", parts " + std::to_string(parts));
    covered("weight_gradient_sum");
    return bits_of_memory(found);
}

// Both directions by each tile of a family, which agree in their bits.
template <size_t N> static void test_tiles(const Problem& problem, const Tile (&tiles)[N], int kind) {
    const u64 seed = random_state;
    std::string first[2];
    for (const Tile& tile : tiles) {
        if (tile.split && !driver.has_warpgroups()) continue;
        in_every_mode(tile.name, problem.shape.text(), [&] {
            random_state = seed;
            const std::string results[] = {test_forward(problem, tile, kind), test_image_gradient(problem, tile, kind)};
            for (int i = 0; i < 2; i++) {
                if (first[i].empty()) first[i] = results[i];
                check(first[i] == results[i], tile.name, problem.shape.text() + ": tiles differ in bits");
            }
            return results[0] + results[1];
        });
    }
}

static void test_conv() {
    std::vector<Shape> shapes = {
        {3, 7, 9, 24, 40, 3, 3, 1, 1, 1, 1, 7, 9, 1},      // odd sizes
        {2, 9, 7, 16, 72, 3, 3, 2, 2, 1, 1, 5, 4, 1},      // stride 2, odd
        {2, 8, 9, 40, 24, 3, 3, 2, 1, 0, 1, 4, 9, 1},      // stride (2, 1), padding below and on both sides
        {2, 8, 8, 32, 136, 1, 1, 2, 2, 0, 0, 4, 4, 1},     // 1x1, stride 2: places without a tap
        {5, 1, 1, 136, 10, 1, 1, 1, 1, 0, 0, 1, 1, 1},     // a fully connected layer
        {2, 9, 6, 3, 20, 5, 5, 1, 1, 2, 2, 9, 6, 1},       // few channels, 5x5
        {2, 6, 5, 48, 32, 3, 3, 1, 1, 1, 1, 6, 5, 2},      // groups
        {1, 7, 8, 8, 16, 2, 3, 2, 2, 1, 0, 4, 3, 1},       // an even kernel, unequal padding
        {3, 11, 5, 64, 8, 7, 7, 1, 1, 3, 3, 11, 5, 1},     // as many taps as there are
    };
    if (quick) shapes.resize(3);
    const bool plain = wanted("conv") || wanted("pack"), split = wanted("split") || wanted("pack");
#ifdef STORE_FLOATS
    // Numbers far beyond what a half holds, on either side.
    const Problem far({2, 5, 6, 72, 168, 3, 3, 1, 1, 1, 1, 5, 6, 1}, true, 1e9f, 1e-12f);
    if (split) test_tiles(far, SPLIT_TILES, 0);
    if (plain) test_tiles(far, TILES, 0);
    const Problem spread({2, 6, 5, 80, 96, 3, 3, 1, 2, 1, 1, 6, 3, 2}, true, 1, 1, true);
    if (split) test_tiles(spread, SPLIT_TILES, 0);
    if (plain) test_tiles(spread, TILES, 0);
#endif
    int kind = 0;
    for (const Shape& shape : shapes) {
        if (!plain && !split && !wanted("weight_gradient")) return;
        const Problem problem(shape, true);
        // Finishes in turn; 15 is all of them.
        const int kinds[] = {kind % 64, 15 + kind % 3 * 16};
        kind += 13;
        for (const int k : kinds) {
            if (plain) test_tiles(problem, TILES, k);
#ifdef STORE_FLOATS
            if (split) test_tiles(problem, SPLIT_TILES, k);
#endif
        }
        for (int parts : {1, 3})
            if (wanted("weight_gradient")) in_every_mode("weight_gradient", shape.text(), [&] { return test_weight_gradient(problem, parts); });
    }
}
