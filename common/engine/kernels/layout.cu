// Images in and gradients out, channels joined and parted, maps as vectors, and each image less its mean.
//
//   import_images                    256 threads, a chunk of the map each: count * places * pixel / 8
//   export_images                    256 threads, a value of the images each: count * channels * places
//   export_wide                      256 threads, a value of `to` each: rows * channels
//   channels                         256 threads, a chunk of `to` each: places * to_pixel / 8
//   flatten                          256 threads, a chunk of the vectors each: images * vector / 8
//   flatten_gradient                 256 threads, a chunk of the map each: images * places * pixel / 8
//   standardize standardize_gradient grid (images), 256 threads, shared memory 2048 bytes
#pragma once
#include "finish.h"

// A pixel of channel c as a network wants it.
DEVICE float normalised(float v, const float* mean, const float* deviation, int c) {
    return mean ? (v - mean[c]) / deviation[c] : v;
}
KERNEL(import_images, Images, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.pixel;
    if (place >= (u32)a.count * a.places) return;
    const int first = offset % a.pixel;
    const u32 image = place / a.places, position = place % a.places;
    float v[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        const int c = first + e;
        v[e] = c < a.channels ? normalised(a.images[(image * a.channels + c) * a.places + position], a.mean, a.deviation, c) : 0;
    }
    write_chunk(a.map + offset, v);
}
KERNEL(export_images, Images, 256) {
    const u32 i = thread_number();
    if (i >= (u32)a.count * a.channels * a.places) return;
    const int c = i / a.places % a.channels;
    const u32 image = i / a.places / a.channels, position = i % a.places;
    const float v = widen(a.map[(image * a.places + position) * a.pixel + c]);
    a.images[i] = a.deviation ? v / a.deviation[c] : v;
}
KERNEL(export_wide, Wide, 256) {
    const u32 i = thread_number();
    if (i < (u32)a.rows * a.channels) a.to[i] = a.from[i / a.channels * a.pixel + i % a.channels];
}

KERNEL(channels, Channels, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.to_pixel;
    if (place >= (u32)a.places) return;
    const int first = offset % a.to_pixel, end = a.to_start + a.channels;
    const bool others = first < a.to_start || first + CHUNK > end;
    // A chunk of which nothing changes is not touched: what it holds may be anything.
    if (!a.zeros && (first + CHUNK <= a.to_start || first >= end) && first + CHUNK <= a.to_channels) return;
    const Stored old = others && !a.zeros ? stored_at(a.to + offset) : Stored{};
    float v[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        const int c = first + e;
        const bool taken = c >= a.to_start && c < end;
        v[e] = taken ? widen(a.from[place * a.from_pixel + a.from_start + c - a.to_start]) : 0;
    }
    finish(a.finish, v, a.to, offset);
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        const int c = first + e;
        if (c >= a.to_channels) v[e] = 0;
        else if (!a.zeros && (c < a.to_start || c >= end)) v[e] = widen(old.value[e]);
    }
    write_chunk(a.to + offset, v);
}

KERNEL(flatten, Flatten, 256) {
    const u32 offset = thread_number() * CHUNK, image = offset / a.vector;
    if (image >= (u32)a.images) return;
    Stored v;
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        const int i = offset % a.vector + e, c = i / a.places, position = i % a.places;
        v.value[e] = c < a.channels ? a.from[(image * a.places + position) * a.pixel + c] : narrow(0);
    }
    store_at(a.to + offset, v);
}
KERNEL(flatten_gradient, Flatten, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.pixel;
    if (place >= (u32)a.images * a.places) return;
    const u32 image = place / a.places, position = place % a.places;
    float v[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        const int c = offset % a.pixel + e;
        v[e] = c < a.channels ? widen(a.from[image * a.vector + (u32)c * a.places + position]) : 0;
    }
    finish_and_store(a.finish, v, a.to, offset);
}

// The sum of v over a block of 256 threads, in a fixed order.
DEVICE double block_sum(double v) {
    double* lines = (double*)shared_memory();
    const int t = threadIdx.x;
    lines[t] = v;
    barrier();
    for (int half = 128; half; half /= 2) {
        if (t < half) lines[t] += lines[t + half];
        barrier();
    }
    v = lines[0];
    barrier();
    return v;
}
// The sum over this block's image of `term` of each real value's offset.
template <class Term> DEVICE double sum_of_image(const Standardize& a, Term term) {
    double sum = 0;
    for (u32 i = threadIdx.x; i < (u32)a.places * a.channels; i += 256)
        sum += term(((u32)blockIdx.x * a.places + i / a.channels) * a.pixel + i % a.channels);
    return block_sum(sum);
}
// Mean, and the deviation of the image or the least that counts.
DEVICE bool moments_of_image(const Standardize& a, double& mean, double& deviation) {
    const double count = (double)a.places * a.channels;
    mean = sum_of_image(a, [&](u32 at) { return (double)widen(a.from[at]); }) / count;
    const double variance = sum_of_image(a, [&](u32 at) {
        const double apart = widen(a.from[at]) - mean;
        return apart * apart;
    }) / (count - 1);
    deviation = sqrt(variance > 1 / count ? variance : 1 / count);
    return variance > 1 / count;
}
// first * of_first + second * of_second + shift of each chunk of this block's image, zeros in the padding, finished.
DEVICE void mix(const Standardize& a, const Value* first, float of_first, const Value* second, float of_second, float shift) {
    for (u32 i = (u32)threadIdx.x * CHUNK; i < (u32)a.places * a.pixel; i += 256 * CHUNK) {
        const u32 offset = (u32)blockIdx.x * a.places * a.pixel + i;
        float v[CHUNK], w[CHUNK];
        read_chunk(v, first + offset);
        read_chunk(w, second + offset);
#pragma unroll
        for (int e = 0; e < CHUNK; e++)
            v[e] = (int)(i % a.pixel) + e < a.channels ? fused(v[e], of_first, fused(w[e], of_second, shift)) : 0;
        finish_and_store(a.finish, v, a.to, offset);
    }
}
BLOCK_KERNEL(standardize, Standardize, 256, 1) {
    double mean, deviation;
    moments_of_image(a, mean, deviation);
    mix(a, a.from, (float)(1 / deviation), a.from, 0, (float)(-mean / deviation));
}
BLOCK_KERNEL(standardize_gradient, Standardize, 256, 1) {
    double mean, deviation;
    const bool own = moments_of_image(a, mean, deviation);
    const double count = (double)a.places * a.channels;
    const double mean_gradient = sum_of_image(a, [&](u32 at) { return (double)widen(a.gradient[at]); }) / count;
    const double product = sum_of_image(a, [&](u32 at) { return widen(a.gradient[at]) * (widen(a.from[at]) - mean) / deviation; });
    const double along = own ? product / (count - 1) / (deviation * deviation) : 0;
    mix(a, a.gradient, (float)(1 / deviation), a.from, (float)-along, (float)(along * mean - mean_gradient / deviation));
}
