// Any convolution, plainly: groups of any size, kernels of any size. What the tensor cores' kernels do not take.
//
//   direct_forward  256 threads, a chunk of the output each: images * out_h * out_w * out_pixel / 8
//   direct_image    256 threads, a chunk of the input each:  images * in_h * in_w * in_pixel / 8
//   direct_weight   256 threads, a value of `parts` each:    parts_count * out_c * in_c / groups * kernel_h * kernel_w
//
// Sums are fused and of at most a row of the kernel, or of the map, before they are added: a long sum in float loses
// digits. Padding channels become zero.
#pragma once
#include "finish.h"

// A place in a map: which image, row and column.
struct Place { int image, y, x; };
DEVICE Place place_of(u32 number, int rows, int columns) {
    const u32 line = number / columns;
    return {(int)(line / rows), (int)(line % rows), (int)(number % columns)};
}

KERNEL(direct_forward, Direct, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.out_pixel;
    if (place >= (u32)a.images * a.out_h * a.out_w) return;
    const Place at = place_of(place, a.out_h, a.out_w);
    const int ins = a.in_c / a.groups, outs = a.out_c / a.groups, first = offset % a.out_pixel;
    float v[CHUNK];
#pragma unroll 1
    for (int e = 0; e < CHUNK; e++) {
        const int k = first + e;
        v[e] = 0;
        if (k >= a.out_c) continue;
        if (a.bias) v[e] = a.bias[k];
        const Value* group = a.in + k / outs * ins;
        for (int i = 0; i < a.kernel_h; i++) {
            const int y = at.y * a.step_y - a.top + i;
            if (y < 0 || y >= a.in_h) continue;
            float row = 0;
#pragma unroll 1
            for (int j = 0; j < a.kernel_w; j++) {
                const int x = at.x * a.step_x - a.left + j;
                if (x < 0 || x >= a.in_w) continue;
                const Value* in = group + (((u32)at.image * a.in_h + y) * a.in_w + x) * a.in_pixel;
                const float* weight = a.weight + (((u32)k * ins) * a.kernel_h + i) * a.kernel_w + j;
#pragma unroll 1
                for (int c = 0; c < ins; c++) row = fused(widen(in[c]), weight[(u32)c * a.kernel_h * a.kernel_w], row);
            }
            v[e] += row;
        }
    }
    finish(a.finish, v, a.out, offset);
    if (a.wide) write_floats(a.wide + offset, v);
    if (a.out) write_chunk(a.out + offset, v);
}

KERNEL(direct_image, Direct, 256) {
    const u32 offset = thread_number() * CHUNK, place = offset / a.in_pixel;
    if (place >= (u32)a.images * a.in_h * a.in_w) return;
    const Place at = place_of(place, a.in_h, a.in_w);
    const int ins = a.in_c / a.groups, outs = a.out_c / a.groups, first = offset % a.in_pixel;
    float v[CHUNK];
#pragma unroll 1
    for (int e = 0; e < CHUNK; e++) {
        const int channel = first + e, group = channel / ins, c = channel % ins;
        v[e] = 0;
        if (channel >= a.in_c) continue;
        for (int i = 0; i < a.kernel_h; i++) {
            const int down = at.y + a.top - i, y = down / a.step_y;
            if (down < 0 || down % a.step_y || y >= a.out_h) continue;
            float row = 0;
#pragma unroll 1
            for (int j = 0; j < a.kernel_w; j++) {
                const int across = at.x + a.left - j, x = across / a.step_x;
                if (across < 0 || across % a.step_x || x >= a.out_w) continue;
                const Value* gradient = a.gradient + (((u32)at.image * a.out_h + y) * a.out_w + x) * a.out_pixel;
#pragma unroll 1
                for (int k = group * outs; k < (group + 1) * outs; k++) {
                    const float weight = a.weight[(((u32)k * ins + c) * a.kernel_h + i) * a.kernel_w + j];
                    row = fused(widen(gradient[k]), weight, row);
                }
            }
            v[e] += row;
        }
    }
    finish_and_store(a.finish, v, a.out, offset);
}

KERNEL(direct_weight, Direct, 256) {
    const int ins = a.in_c / a.groups, outs = a.out_c / a.groups;
    const u32 number = thread_number(), values = (u32)a.out_c * ins * a.kernel_h * a.kernel_w;
    if (number >= a.parts_count * values) return;
    const int part = number / values, j = number % a.kernel_w, i = number / a.kernel_w % a.kernel_h;
    const int c = number / a.kernel_w / a.kernel_h % ins, k = number / a.kernel_w / a.kernel_h / ins % a.out_c;
    const int channel = k / outs * ins + c, last = (u32)(part + 1) * a.images / a.parts_count;
    float total = 0;
    for (int n = (u32)part * a.images / a.parts_count; n < last; n++) {
        for (int y = 0; y < a.out_h; y++) {
            const int from_y = y * a.step_y - a.top + i;
            if (from_y < 0 || from_y >= a.in_h) continue;
            float row = 0;
#pragma unroll 1
            for (int x = 0; x < a.out_w; x++) {
                const int from_x = x * a.step_x - a.left + j;
                if (from_x < 0 || from_x >= a.in_w) continue;
                const float in = widen(a.in[(((u32)n * a.in_h + from_y) * a.in_w + from_x) * a.in_pixel + channel]);
                row = fused(widen(a.gradient[(((u32)n * a.out_h + y) * a.out_w + x) * a.out_pixel + k]), in, row);
            }
            total += row;
        }
    }
    a.parts[number] = total;
}
