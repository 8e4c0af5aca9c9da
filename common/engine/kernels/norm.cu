// Batch normalisation: sums over places in parts of 64, and what follows from them, in double.
//
//   channel_sums channel_gradient_sums
//       grid (places / 64, pixel / 64) rounded up; 256 threads, shared memory 16384 bytes
//   norm_finish norm_gradient bias_gradient
//       grid (pixel / 32 rounded up); blocks of (32, 32) threads, shared memory 16384 bytes
//   norm_running
//       256 threads, a channel of the padded ones each: pixel
//
// A part of channel_sums, as of a convolution's moments, is a sum and the squares' sum about the part's own mean: about
// zero, a large mean would cost the variance its digits. Coefficients subtract the mean first for the same reason, and
// what rounding the mean loses is in the constant added last.
#pragma once
#include "finish.h"

// Values of a thread's two places and eight channels, zero where there are none.
struct Held { float value[PART_PLACES / SUM_ROWS][CHUNK]; int channel; int places; };
DEVICE int first_place() { return blockIdx.x * PART_PLACES; }
template <class Read> DEVICE Held hold(const ChannelSums& a, Read read) {
    Held held = {{}, (int)(blockIdx.y * SUM_CHANNELS + threadIdx.x % (SUM_CHANNELS / CHUNK) * CHUNK), min(PART_PLACES, a.places - first_place())};
#pragma unroll
    for (int i = 0; i < PART_PLACES / SUM_ROWS; i++) {
        const int row = threadIdx.x / (SUM_CHANNELS / CHUNK) + i * SUM_ROWS;
        if (row < held.places && held.channel < a.pixel) read(held.value[i], (u64)(first_place() + row) * a.pixel + held.channel, held.channel);
    }
    return held;
}
DEVICE void write_part(const ChannelSums& a, float one, float other) {
    const int c = blockIdx.y * SUM_CHANNELS + threadIdx.x;
    if (threadIdx.x >= SUM_CHANNELS || c >= a.pixel) return;
    float* to = a.parts + (u64)blockIdx.x * 2 * a.pixel + c;
    to[0] = one;
    to[a.pixel] = other;
}
BLOCK_KERNEL(channel_sums, ChannelSums, 256, 1) {
    const Held x = hold(a, [&](float (&v)[CHUNK], u64 offset, int) { read_chunk(v, a.a + offset); });
    float terms[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) terms[e] = x.value[0][e] + x.value[1][e];
    const float sum = sum_of_rows(terms);
    float* means = (float*)shared_memory() + SUM_ROWS * SUM_CHANNELS;
    if (threadIdx.x < SUM_CHANNELS) means[threadIdx.x] = sum / x.places;
    barrier();
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        terms[e] = 0;
#pragma unroll
        for (int i = 0; i < PART_PLACES / SUM_ROWS; i++) {
            const int row = threadIdx.x / (SUM_CHANNELS / CHUNK) + i * SUM_ROWS;
            const float apart = x.value[i][e] - means[threadIdx.x % (SUM_CHANNELS / CHUNK) * CHUNK + e];
            if (row < x.places) terms[e] = fused(apart, apart, terms[e]);
        }
    }
    write_part(a, sum, sum_of_rows(terms));
}
BLOCK_KERNEL(channel_gradient_sums, ChannelSums, 256, 1) {
    const Held g = hold(a, [&](float (&v)[CHUNK], u64 offset, int) { read_chunk(v, a.b + offset); });
    const Held x = hold(a, [&](float (&v)[CHUNK], u64 offset, int channel) {
        float centre[CHUNK];
        read_chunk(v, a.a + offset);
        read_floats(centre, a.centre + channel);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) v[e] -= centre[e];
    });
    float terms[CHUNK], products[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        terms[e] = g.value[0][e] + g.value[1][e];
        products[e] = fused(g.value[0][e], x.value[0][e], g.value[1][e] * x.value[1][e]);
    }
    const float sum = sum_of_rows(terms);
    write_part(a, sum, sum_of_rows(products));
}

// The two sums of this thread's channel over all parts: row r of threads takes every 32nd part, then row 0 adds the
// rows. Only there, and only for a channel, is it true. Where `count` values a channel are given, the second are squares
// about each part's mean, and become squares about zero.
DEVICE bool total_of_parts(double& one, double& other, const float* parts, int blocks, int channels, int pixel, int count = 0) {
    double* lines = (double*)shared_memory();
    const int column = threadIdx.x, row = threadIdx.y, c = blockIdx.x * 32 + column;
    double a = 0, b = 0;
#pragma unroll 4
    for (int p = row; parts && p < blocks && c < channels; p += 32) {
        const double sum = parts[(u64)p * 2 * pixel + c];
        a += sum;
        b += parts[((u64)p * 2 + 1) * pixel + c];
        // All parts but the last are full: no division, which takes long in double.
        const int places = count - p * PART_PLACES;
        if (count) b += places >= PART_PLACES ? sum * sum * (1.0 / PART_PLACES) : sum * sum / places;
    }
    lines[row * 32 + column] = a;
    lines[1024 + row * 32 + column] = b;
    barrier();
    if (row) return false;
    one = other = 0;
    for (int r = 0; r < 32; r++) {
        one += lines[r * 32 + column];
        other += lines[1024 + r * 32 + column];
    }
    return c < channels;
}

// Moments and the coefficients of `affine` of a channel.
DEVICE void normalise(const Norm& a, int c, double mean, double variance) {
    const double inverse = 1 / sqrt(variance + a.eps), scale = a.gamma[c] * inverse;
    const float centre = (float)mean;
    a.coefficients[c] = centre;
    a.coefficients[a.pixel + c] = (float)scale;
    a.coefficients[2 * a.pixel + c] = (float)(a.beta[c] - (mean - centre) * scale);
    a.moments[c] = mean;
    a.moments[a.pixel + c] = inverse;
}
// The same of a channel in the padding: zeros come out.
DEVICE void normalise_padding(const Norm& a, int c) {
    for (int row = 0; row < 3; row++) a.coefficients[row * a.pixel + c] = 0;
    a.moments[c] = a.moments[a.pixel + c] = 0;
}
BLOCK_KERNEL(norm_finish, Norm, 1024, 1) {
    double sum, squares;
    const int c = blockIdx.x * 32 + threadIdx.x;
    if (!total_of_parts(sum, squares, a.parts, a.blocks, a.channels, a.pixel, a.count)) {
        if (threadIdx.y == 0 && c < a.pixel) normalise_padding(a, c);
        return;
    }
    const double mean = sum / a.count, spread = squares / a.count - mean * mean;
    // What is not a number stays so.
    const double variance = spread < 0 ? 0 : spread;
    normalise(a, c, mean, variance);
    if (a.batch_mean) a.batch_mean[c] = (float)mean;
    if (a.batch_variance) a.batch_variance[c] = (float)(variance * a.count / (max(a.count, 2) - 1));
}
KERNEL(norm_running, Norm, 256) {
    const int c = (int)thread_number();
    if (c >= a.pixel) return;
    if (c < a.channels) normalise(a, c, a.running_mean[c], a.running_variance[c]);
    else normalise_padding(a, c);
}

BLOCK_KERNEL(norm_gradient, NormGradient, 1024, 1) {
    double sum, products;
    const int c = blockIdx.x * 32 + threadIdx.x;
    const bool mine = total_of_parts(sum, products, a.parts, a.blocks, a.channels, a.pixel);
    if (threadIdx.y || c >= a.pixel) return;
    float* to = a.coefficients + c;
    to[0] = to[a.pixel] = to[2 * a.pixel] = to[3 * a.pixel] = 0;
    if (!mine) return;
    const double mean = a.moments[c], inverse = a.moments[a.pixel + c], scale = a.gamma[c] * inverse;
    const float centre = (float)mean;
    const double rest = mean - centre, product = products - rest * sum;
    to[0] = centre;
    to[a.pixel] = (float)scale;
    if (!a.parts) return;
    if (a.gamma_gradient) a.gamma_gradient[c] += (float)(product * inverse);
    if (a.beta_gradient) a.beta_gradient[c] += (float)sum;
    if (!a.batch) return;
    const double slope = scale * inverse * inverse * product / a.count;
    to[2 * a.pixel] = (float)slope;
    to[3 * a.pixel] = (float)(scale * sum / a.count - slope * rest);
}
BLOCK_KERNEL(bias_gradient, BiasGradient, 1024, 1) {
    double sum, other;
    if (total_of_parts(sum, other, a.parts, a.blocks, a.channels, a.pixel)) a.gradient[blockIdx.x * 32 + threadIdx.x] += (float)sum;
}
