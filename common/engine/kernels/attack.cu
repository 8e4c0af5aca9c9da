// What an attack does besides the network: the slope of its loss by the logits, its step, and views cut out of images.
// `climb` is the step of an attack that goes by what it has met (Auto-PGD): the host decides, the pixels are here.
//
//   slope_target slope_margin slope_dlr  256 threads, a warp an image: grid (images / 8 rounded up)
//   pgd_step                             256 threads, a place each: count * places
//   climb                                a block of 256 threads an image; shared memory 2048 bytes
//   gather                               256 threads, a value of `to` each: count * size
//   cut                                  256 threads, a value of `to` each: count * channels * height * width
#pragma once
#include "each.cu"
#include "layout.cu"

// A logit and its class; of equals the lower class is the larger.
struct Ranked { float logit; int of; };
DEVICE Ranked larger(Ranked a, Ranked b) { return b.logit > a.logit || (b.logit == a.logit && b.of < a.of) ? b : a; }
// The largest logit of a warp's image among the classes that `admit` admits.
template <class Admit> DEVICE Ranked largest(const float* z, int classes, int lane, Admit admit) {
    Ranked best = {float_of(0xff800000), classes};
#pragma unroll 1
    for (int k = lane; k < classes; k += 32)
        if (admit(k)) best = larger(best, {z[k], k});
#pragma unroll 1
    for (int mask = 16; mask; mask /= 2) best = larger(best, {exchange(best.logit, mask), exchange(best.of, mask)});
    return best;
}
// Writes a warp's seed, zeros in the padding.
template <class Slope_> DEVICE void write_seed(const Slope& a, int image, int lane, Slope_ slope) {
#pragma unroll 1
    for (int k = lane; k < a.pixel; k += 32)
        a.seed[(u32)image * a.pixel + k] = narrow(k < a.classes ? a.weight * slope(k) : 0);
}
// Towards the largest other logit and away from the label's.
DEVICE void margin(const Slope& a, int image, int lane, int label, Ranked other) {
    write_seed(a, image, lane, [&](int k) { return other.of == a.classes ? 0.0f : k == other.of ? 1.0f : k == label ? -1.0f : 0.0f; });
}

BLOCK_KERNEL(slope_target, Slope, 256, 1) {
    const int image = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (image >= a.images) return;
    const float* z = a.logits + (u32)image * a.pixel;
    const float top = largest(z, a.classes, lane, [](int) { return true; }).logit;
    float sum = 0;
#pragma unroll 1
    for (int k = lane; k < a.classes; k += 32) sum += exponential(z[k] - top);
#pragma unroll 1
    for (int mask = 16; mask; mask /= 2) sum += exchange(sum, mask);
    write_seed(a, image, lane, [&](int k) { return exponential(z[k] - top) / sum - a.target[(u32)image * a.classes + k]; });
}
BLOCK_KERNEL(slope_margin, Slope, 256, 1) {
    const int image = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (image >= a.images) return;
    const int label = a.labels[image];
    margin(a, image, lane, label, largest(a.logits + (u32)image * a.pixel, a.classes, lane, [&](int k) { return k != label; }));
}
BLOCK_KERNEL(slope_dlr, Slope, 256, 1) {
    const int image = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (image >= a.images) return;
    const float* z = a.logits + (u32)image * a.pixel;
    const int label = a.labels[image];
    const Ranked other = largest(z, a.classes, lane, [&](int k) { return k != label; });
    // Of two classes there is no third, and the plain difference stands in.
    if (a.classes < 3) return margin(a, image, lane, label, other);
    const Ranked first = largest(z, a.classes, lane, [](int) { return true; });
    const Ranked second = largest(z, a.classes, lane, [&](int k) { return k != first.of; });
    const Ranked third = largest(z, a.classes, lane, [&](int k) { return k != first.of && k != second.of; });
    const float under = first.logit - third.logit + 1e-12f, value = (other.logit - z[label]) / under;
    write_seed(a, image, lane, [&](int k) {
        float slope = 0;
        if (k == other.of) slope += 1 / under;
        if (k == label) slope -= 1 / under;
        if (k == first.of) slope -= value / under;
        if (k == third.of) slope += value / under;
        return slope;
    });
}

// A pixel's step. Neither greater nor less than zero, a gradient that is not a number leaves it.
DEVICE float stepped(const PgdStep& a, float x, float clean, float gradient) {
    x = x + (float)((gradient > 0) - (gradient < 0)) * a.step;
    x = x < clean - a.eps ? clean - a.eps : x;
    x = x > clean + a.eps ? clean + a.eps : x;
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}
KERNEL(pgd_step, PgdStep, 256) {
    const u32 place = thread_number();
    if (place >= (u32)a.count * a.places) return;
    const u32 first = place / a.places * a.channels * a.places + place % a.places;
    for (int start = 0; start < a.pixel; start += CHUNK) {
        float gradient[CHUNK], made[CHUNK];
        read_chunk(gradient, a.gradient + place * a.pixel + start);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) {
            const int c = start + e;
            made[e] = 0;
            if (c >= a.channels) continue;
            const u32 i = first + (u32)c * a.places;
            a.x[i] = stepped(a, a.x[i], a.clean[i], gradient[e]);
            made[e] = normalised(a.x[i], a.mean, a.deviation, c);
        }
        if (a.map) write_chunk(a.map + place * a.pixel + start, made);
    }
}

// What all threads of a block bring, joined in the same order always, and given to each of them.
template <class Join> DEVICE double of_block(double v, Join join) {
    double* lines = (double*)shared_memory();
    barrier();
    lines[threadIdx.x] = v;
#pragma unroll 1
    for (u32 half = 128; half; half /= 2) {
        barrier();
        if (threadIdx.x < half) lines[threadIdx.x] = join(lines[threadIdx.x], lines[threadIdx.x + half]);
    }
    barrier();
    return lines[0];
}
struct Sum { DEVICE_MEMBER double operator()(double a, double b) const { return a + b; } };
struct Largest { DEVICE_MEMBER double operator()(double a, double b) const { return a < b ? b : a; } };
DEVICE float cut_to_range(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }

// Brings a block's image into its ball, then into the range. In l2 the way from the clean image is shortened.
DEVICE void confine(const Climb& a, const Stride& by, u64 first) {
    if (!(by.way & 4)) {
        const float eps = (float)by.eps;
#pragma unroll 1
        for (u32 i = threadIdx.x; i < (u32)a.size; i += 256) {
            const float clean = a.clean[first + i], least = clean - eps, most = clean + eps;
            float x = a.to_point[first + i];
            x = x < least ? least : x;
            a.to_point[first + i] = cut_to_range(x > most ? most : x);
        }
        return;
    }
    double squares = 0;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < (u32)a.size; i += 256) {
        const float apart = a.to_point[first + i] - a.clean[first + i];
        squares += (double)apart * apart;
    }
    const double length = sqrt(of_block(squares, Sum()));
    const float share = length > by.eps ? (float)(by.eps / length) : 1;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < (u32)a.size; i += 256) {
        const float clean = a.clean[first + i];
        a.to_point[first + i] = cut_to_range(clean + share * (a.to_point[first + i] - clean));
    }
}
// A thread reads and writes the same pixels all along: only sums want a barrier.
BLOCK_KERNEL(climb, Climb, 256, 1) {
    const Stride by = a.strides[blockIdx.x];
    const u64 first = (u64)blockIdx.x * a.size;
    double steepest = 0, squares = 0;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < (u32)a.size; i += 256) {
        const u64 at = first + i;
        const float gradient = a.gradient[at] * by.unscale, steep = gradient < 0 ? -gradient : gradient;
        // Neither what is not a number nor what is infinite.
        if (steep <= 3.402823466e38f) steepest = Largest()(steepest, steep);
        const float best = by.way & 1 ? a.point[at] : a.best[at], slope = by.way & 1 ? gradient : a.best_gradient[at];
        const float along = by.way & 2 ? slope : gradient;
        squares += (double)along * along;
        a.to_best[at] = best;
        a.to_best_gradient[at] = slope;
        a.to_before[at] = by.way & 2 ? best : a.point[at];
    }
    steepest = of_block(steepest, Largest());
    if (threadIdx.x == 0) a.steepest[blockIdx.x] = (float)steepest;
    const double steepness = by.way & 4 ? sqrt(of_block(squares, Sum())) : 0;
    // Without a slope, or with one that is no number, l2's scale leads nowhere.
    const double scale = steepness > 0 && steepness <= 1.7976931348623157e308 ? by.length / steepness : 0;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < (u32)a.size; i += 256) {
        const u64 at = first + i;
        const float along = by.way & 2 ? a.to_best_gradient[at] : a.gradient[at] * by.unscale;
        float move = (float)((along > 0) - (along < 0)) * by.length;
        if (by.way & 4) move = scale > 0 ? (float)(scale * along) : 0;
        a.to_point[at] = a.to_before[at] + move;
    }
    confine(a, by, first);
#pragma unroll 1
    for (u32 i = threadIdx.x; i < (u32)a.size; i += 256) {
        const u64 at = first + i;
        const float now = a.to_before[at];
        a.to_point[at] = now + by.share * (a.to_point[at] - now) + (1 - by.share) * (now - a.before[at]);
    }
    confine(a, by, first);
}
KERNEL(gather, Gather, 256) {
    const u32 i = thread_number();
    if (i < (u32)a.count * a.size) a.to[i] = a.rows[i / a.size][i % a.size];
}

KERNEL(cut, Cut, 256) {
    const u32 i = thread_number(), line = i / a.width, plane = line / a.height;
    if (plane >= (u32)a.count * a.channels) return;
    const View view = a.views[plane / a.channels];
    const int column = i % a.width, y = (int)(line % a.height) + view.dy;
    const int x = (view.mirrored ? a.width - 1 - column : column) + view.dx;
    // All images of a data set may be more than 2^32 values.
    const u64 first = (u64)view.source * a.height * a.width * a.channels + plane % a.channels;
    const bool inside = y >= 0 && y < a.height && x >= 0 && x < a.width;
    a.to[i] = inside ? a.images[first + (u32)(y * a.width + x) * a.channels] / 255.0f : 0;
}
