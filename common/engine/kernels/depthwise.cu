// Depthwise convolutions: one output channel per input channel, weights [kernel_h * kernel_w][pixel] in float. They wait
// for memory, not for sums: a thread handles eight channels of a place.
//
//   depthwise_forward  256 threads, a chunk of the output each: images * out_h * out_w * out_pixel / 8
//   depthwise_image    256 threads, a chunk of the input each:  images * in_h * in_w * in_pixel / 8
//   depthwise_weight   grid (pixel / 64 rounded up, parts_count, kernel_h * kernel_w), 256 threads, shared memory 8192 bytes
//
// in_pixel = out_pixel. Padding channels become zero where weights and bias are zero there; weight_gradient_sum adds
// the parts as those of one output channel, its input channels `pixel`.
#pragma once
#include "direct.cu"

KERNEL(depthwise_forward, Direct, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.out_pixel;
    if (place >= (u32)a.images * a.out_h * a.out_w) return;
    const Place at = place_of(place, a.out_h, a.out_w);
    const int channel = offset % a.out_pixel;
    float v[CHUNK];
#pragma unroll
    for (int e = 0; e < CHUNK; e++) v[e] = a.bias && channel + e < a.out_c ? a.bias[channel + e] : 0;
    for (int i = 0; i < a.kernel_h; i++) {
        const int y = at.y * a.step_y - a.top + i;
        if (y < 0 || y >= a.in_h) continue;
#pragma unroll 1
        for (int j = 0; j < a.kernel_w; j++) {
            const int x = at.x * a.step_x - a.left + j;
            if (x < 0 || x >= a.in_w) continue;
            float in[CHUNK], weight[CHUNK];
            read_chunk(in, a.in + (((u32)at.image * a.in_h + y) * a.in_w + x) * a.in_pixel + channel);
            read_floats(weight, a.weight + (u32)(i * a.kernel_w + j) * a.in_pixel + channel);
#pragma unroll
            for (int e = 0; e < CHUNK; e++) v[e] = fused(in[e], weight[e], v[e]);
        }
    }
    finish(a.finish, v, a.out, offset);
    if (a.wide) write_floats(a.wide + offset, v);
    if (a.out) write_chunk(a.out + offset, v);
}

KERNEL(depthwise_image, Direct, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.in_pixel;
    if (place >= (u32)a.images * a.in_h * a.in_w) return;
    const Place at = place_of(place, a.in_h, a.in_w);
    const int channel = offset % a.in_pixel;
    float v[CHUNK] = {};
    for (int i = 0; i < a.kernel_h; i++) {
        const int down = at.y + a.top - i, y = down / a.step_y;
        if (down < 0 || down % a.step_y || y >= a.out_h) continue;
#pragma unroll 1
        for (int j = 0; j < a.kernel_w; j++) {
            const int across = at.x + a.left - j, x = across / a.step_x;
            if (across < 0 || across % a.step_x || x >= a.out_w) continue;
            float gradient[CHUNK], weight[CHUNK];
            read_chunk(gradient, a.gradient + (((u32)at.image * a.out_h + y) * a.out_w + x) * a.out_pixel + channel);
            read_floats(weight, a.weight + (u32)(i * a.kernel_w + j) * a.in_pixel + channel);
#pragma unroll
            for (int e = 0; e < CHUNK; e++) v[e] = fused(gradient[e], weight[e], v[e]);
        }
    }
    finish_and_store(a.finish, v, a.out, offset);
}

BLOCK_KERNEL(depthwise_weight, Direct, 256, 1) {
    const int channel = blockIdx.x * SUM_CHANNELS + threadIdx.x % (SUM_CHANNELS / CHUNK) * CHUNK, part = blockIdx.y;
    const int tap = blockIdx.z, i = tap / a.kernel_w, j = tap % a.kernel_w;
    const int begin = (u64)part * a.images / a.parts_count, end = (u64)(part + 1) * a.images / a.parts_count;
    const u32 places = (u32)(end - begin) * a.out_h * a.out_w;
    float sum[CHUNK] = {};
    for (u32 p = threadIdx.x / (SUM_CHANNELS / CHUNK); p < places && channel < a.out_pixel; p += SUM_ROWS) {
        const Place at = place_of(p, a.out_h, a.out_w);
        const int y = at.y * a.step_y - a.top + i, x = at.x * a.step_x - a.left + j, n = begin + at.image;
        if (y < 0 || y >= a.in_h || x < 0 || x >= a.in_w) continue;
        float in[CHUNK], gradient[CHUNK];
        read_chunk(in, a.in + ((n * a.in_h + y) * a.in_w + x) * a.in_pixel + channel);
        read_chunk(gradient, a.gradient + ((n * a.out_h + at.y) * a.out_w + at.x) * a.out_pixel + channel);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) sum[e] = fused(gradient[e], in[e], sum[e]);
    }
    const float total = sum_of_rows(sum);
    const int c = blockIdx.x * SUM_CHANNELS + threadIdx.x;
    if (threadIdx.x < SUM_CHANNELS && c < a.out_pixel) a.parts[((u64)part * gridDim.z + tap) * a.out_pixel + c] = total;
}
