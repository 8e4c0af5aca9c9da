// Elementwise kernels, and sums over an image's places.
//
//   store rework multiply multiply_channels affine affine_gradient silu sigmoid mean_sparse
//                  256 threads, a chunk each: `chunks`
//   position_sums  grid (images, pixel / 64 rounded up), 256 threads, shared memory 8192 bytes
//
// `to` may be `a` or `b`: a thread has read its chunk before it writes it. What lies in the padding of a, b and the
// coefficients is zero, and so is the result; but the sigmoid of zero is one half, which nothing reads.
#pragma once
#include "finish.h"

// exp(x) for x up to 0, within two units in the last place, the same bits on every machine: Cephes' polynomial on
// [-ln 2 / 2, ln 2 / 2] times a power of two. Nothing below the smallest normal number.
DEVICE float exponential(float x) {
    // Adding it rounds to an integer, which then stands in the low bits.
    const float ROUND = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    const float shifted = x * 1.44269504f + ROUND, n = shifted - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    const float r = (x - n * 0.6933594f) - n * -2.1219444e-4f;
    float p = 1.9875691e-4f;
    p = p * r + 1.3982e-3f;
    p = p * r + 8.333452e-3f;
    p = p * r + 4.1665796e-2f;
    p = p * r + 1.6666665e-1f;
    p = p * r + 0.5f;
    return (p * (r * r) + r + 1.0f) * float_of((bits_of(shifted) + 127) << 23);
}

// A chunk of a map: where, and its channel and image.
struct Here { u32 offset; int channel; u32 image; };

// The chunk of this thread through `function`, (values, slopes, where) in place: nine kernels in one. A SMOOTH function
// has a slope to keep, the others a finish.
template <bool SMOOTH, class Function> DEVICE void each(const Each& a, const Value* from, Function function) {
    const u32 chunk = thread_number();
    if (chunk >= a.chunks) return;
    const u32 place = chunk * CHUNK / a.pixel;
    const Here here = {chunk * CHUNK, (int)(chunk * CHUNK - place * a.pixel), a.places ? place / a.places : 0};
    float v[CHUNK], slope[CHUNK] = {};
    read_chunk(v, from + here.offset);
    function(v, slope, here);
    if (!SMOOTH) finish(a.finish, v, a.to, here.offset);
    else if (a.kept) write_chunk(a.kept + here.offset, slope);
    write_chunk(a.to + here.offset, v);
}
// Coefficient number `row` of each channel.
DEVICE void coefficient(float (&v)[CHUNK], const Each& a, int row, const Here& here) {
    read_floats(v, a.coefficients + (u32)row * a.pixel + here.channel);
}
#define EACH(name, from, smooth, ...)                                                                  \
    KERNEL(name, Each, 256) {                                                                          \
        each<smooth>(a, from, [&](float (&v)[CHUNK], float (&slope)[CHUNK], const Here& here) { __VA_ARGS__ }); \
    }
#define LANES _Pragma("unroll") for (int e = 0; e < CHUNK; e++)

EACH(store, a.a, false, )
EACH(rework, a.to, false, )
EACH(multiply, a.a, false, {
    float b[CHUNK];
    read_chunk(b, a.b + here.offset);
    LANES v[e] *= b[e];
})
EACH(multiply_channels, a.a, false, {
    float b[CHUNK];
    read_chunk(b, a.b + here.image * a.pixel + here.channel);
    LANES v[e] *= b[e];
})
// The centre goes first: a product with a rounded scale would lose the digits of a channel whose mean is large.
EACH(affine, a.a, false, {
    float centre[CHUNK], scale[CHUNK], shift[CHUNK];
    coefficient(centre, a, 0, here);
    coefficient(scale, a, 1, here);
    coefficient(shift, a, 2, here);
    LANES v[e] = fused(v[e] - centre[e], scale[e], shift[e]);
})
EACH(affine_gradient, a.a, false, {
    float centre[CHUNK], scale[CHUNK], along[CHUNK], shift[CHUNK], b[CHUNK] = {};
    coefficient(centre, a, 0, here);
    coefficient(scale, a, 1, here);
    coefficient(along, a, 2, here);
    coefficient(shift, a, 3, here);
    // Under running statistics the input has no part in it.
    if (a.b) read_chunk(b, a.b + here.offset);
    LANES v[e] = fused(-(b[e] - centre[e]), along[e], v[e] * scale[e]) - shift[e];
})
// From the side where the exponential is below 1, so that 1 - sigmoid(x) keeps its digits.
EACH(sigmoid, a.a, true, LANES {
    const float small = exponential(v[e] < 0 ? v[e] : -v[e]), large = 1.0f / (1.0f + small);
    slope[e] = large * (small * large);
    v[e] = v[e] < 0 ? small * large : large;
})
EACH(silu, a.a, true, LANES {
    const float small = exponential(v[e] < 0 ? v[e] : -v[e]), large = 1.0f / (1.0f + small);
    const float s = v[e] < 0 ? small * large : large;
    slope[e] = s + v[e] * (large * (small * large));
    v[e] *= s;
})
EACH(mean_sparse, a.a, true, {
    float centre[CHUNK], width[CHUNK];
    coefficient(centre, a, 0, here);
    coefficient(width, a, 1, here);
    LANES {
        const float apart = v[e] - centre[e];
        const bool inside = (apart < 0 ? -apart : apart) < width[e];
        slope[e] = inside ? 0 : 1;
        v[e] = inside ? centre[e] : v[e];
    }
})

BLOCK_KERNEL(position_sums, PositionSums, 256, 1) {
    const int column = threadIdx.x % (SUM_CHANNELS / CHUNK) * CHUNK, channel = blockIdx.y * SUM_CHANNELS + column;
    const u32 first = blockIdx.x * a.places * a.pixel + channel;
    float sum[CHUNK] = {};
    for (int p = threadIdx.x / (SUM_CHANNELS / CHUNK); p < a.places && channel < a.pixel; p += SUM_ROWS) {
        float x[CHUNK], y[CHUNK];
        read_chunk(x, a.a + first + p * a.pixel);
        if (a.b) {
            read_chunk(y, a.b + first + p * a.pixel);
            LANES sum[e] = fused(x[e], y[e], sum[e]);
        } else {
            LANES sum[e] += x[e];
        }
    }
    const float total = sum_of_rows(sum) * a.scale;
    float* totals = (float*)shared_memory();
    barrier();
    if (threadIdx.x < SUM_CHANNELS) totals[threadIdx.x] = total;
    barrier();
    if (threadIdx.x >= SUM_CHANNELS / CHUNK || channel >= a.pixel) return;
    read_floats(sum, totals + column);
    finish_and_store(a.finish, sum, a.to, blockIdx.x * a.pixel + channel);
}
