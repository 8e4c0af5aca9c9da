// Pooling: the largest or the mean of each window. Gradients are gathered: each input reads the windows that cover it.
//
//   max_pool avg_pool                    256 threads, a chunk of the output each: images * out_h * out_w * pixel / 8
//   max_pool_gradient avg_pool_gradient  256 threads, a chunk of the input each:  images * in_h * in_w * pixel / 8
#pragma once
#include "direct.cu"

KERNEL(max_pool, Pool, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.pixel;
    if (place >= (u32)a.images * a.out_h * a.out_w) return;
    const Place at = place_of(place, a.out_h, a.out_w);
    const int channel = offset % a.pixel;
    float largest[CHUNK];
    int chosen[CHUNK] = {};
#pragma unroll 1
    for (int tap = 0; tap < a.kernel_h * a.kernel_w; tap++) {
        const int y = at.y * a.step_y + tap / a.kernel_w, x = at.x * a.step_x + tap % a.kernel_w;
        float v[CHUNK];
        read_chunk(v, a.from + (((u32)at.image * a.in_h + y) * a.in_w + x) * a.pixel + channel);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) {
            // The first of equals; what is not a number wins over numbers, the last of them, as in PyTorch.
            const bool take = tap == 0 || v[e] > largest[e] || v[e] != v[e];
            largest[e] = take ? v[e] : largest[e];
            chosen[e] = take ? tap : chosen[e];
        }
    }
    if (a.taps)
#pragma unroll
        for (int e = 0; e < CHUNK; e++) a.taps[offset + e] = (u16)chosen[e];
    finish_and_store(a.finish, largest, a.to, offset);
}

KERNEL(avg_pool, Pool, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.pixel;
    if (place >= (u32)a.images * a.out_h * a.out_w) return;
    const Place at = place_of(place, a.out_h, a.out_w);
    const int channel = offset % a.pixel;
    float sum[CHUNK] = {};
#pragma unroll 1
    for (int tap = 0; tap < a.kernel_h * a.kernel_w; tap++) {
        const int y = at.y * a.step_y + tap / a.kernel_w, x = at.x * a.step_x + tap % a.kernel_w;
        float v[CHUNK];
        read_chunk(v, a.from + (((u32)at.image * a.in_h + y) * a.in_w + x) * a.pixel + channel);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) sum[e] += v[e];
    }
#pragma unroll
    for (int e = 0; e < CHUNK; e++) sum[e] *= 1.0f / (a.kernel_h * a.kernel_w);
    finish_and_store(a.finish, sum, a.to, offset);
}

// The sum over the windows that cover this thread's chunk of the input: of what `add` takes of each.
template <class Add> DEVICE void gather(const Pool& a, float scale, Add add) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.pixel;
    if (place >= (u32)a.images * a.in_h * a.in_w) return;
    const Place at = place_of(place, a.in_h, a.in_w);
    float sum[CHUNK] = {};
    for (int i = 0; i < a.kernel_h; i++) {
        const int down = at.y - i, y = down / a.step_y;
        if (down < 0 || down % a.step_y || y >= a.out_h) continue;
#pragma unroll 1
        for (int j = 0; j < a.kernel_w; j++) {
            const int across = at.x - j, x = across / a.step_x;
            if (across < 0 || across % a.step_x || x >= a.out_w) continue;
            add(sum, (((u32)at.image * a.out_h + y) * a.out_w + x) * a.pixel + offset % a.pixel, i * a.kernel_w + j);
        }
    }
#pragma unroll
    for (int e = 0; e < CHUNK; e++) sum[e] *= scale;
    finish_and_store(a.finish, sum, a.to, offset);
}
KERNEL(max_pool_gradient, Pool, 256) {
    gather(a, 1, [&](float (&sum)[CHUNK], u32 from, int tap) {
        float g[CHUNK];
        read_chunk(g, a.from + from);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) sum[e] += a.taps[from + e] == tap ? g[e] : 0;
    });
}
KERNEL(avg_pool_gradient, Pool, 256) {
    gather(a, 1.0f / (a.kernel_h * a.kernel_w), [&](float (&sum)[CHUNK], u32 from, int) {
        float g[CHUNK];
        read_chunk(g, a.from + from);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) sum[e] += g[e];
    });
}
