// Weights from PyTorch's layout into the kernels', once per change of the parameters, and BatchNorm folded into them.
//
//   pack             256 threads, a value of `packed` each: groups * out_c * taps * in_c
//   pack_transposed  256 threads, the same number, as [group][in_c][taps][out_c]
//   pack_depthwise   256 threads, a value of `plain` each: taps * out_c, out_c the pixel
//   scale_weight     256 threads, a value of `plain` each: groups * real_out * real_in * taps
//   fold             256 threads, a channel of the padded ones each: pixel
#pragma once
#include "finish.h"

DEVICE void pack_value(const Pack& a, u32 to, int group, int out, int in, int tap) {
    const bool real = out < a.real_out && in < a.real_in;
    a.packed[to] = narrow(real ? weight_value(a, group, out, in, tap) : 0);
}
KERNEL(pack, Pack, 256) {
    const u32 i = thread_number(), line = i / a.in_c, row = line / a.taps;
    if (row >= (u32)a.groups * a.out_c) return;
    pack_value(a, i, row / a.out_c, row % a.out_c, i % a.in_c, line % a.taps);
}
KERNEL(pack_transposed, Pack, 256) {
    const u32 i = thread_number(), line = i / a.out_c, row = line / a.taps;
    if (row >= (u32)a.groups * a.in_c) return;
    pack_value(a, i, row / a.in_c, i % a.out_c, row % a.in_c, line % a.taps);
}
KERNEL(pack_depthwise, Pack, 256) {
    const u32 i = thread_number();
    const int c = i % a.out_c;
    if (i >= (u32)a.taps * a.out_c) return;
    a.plain[i] = c < a.groups ? weight_value(a, c, 0, 0, i / a.out_c) : 0;
}
KERNEL(scale_weight, Pack, 256) {
    const u32 i = thread_number(), row = i / a.taps / a.real_in;
    if (row >= (u32)a.groups * a.real_out) return;
    a.plain[i] = a.scale ? a.weight[i] * a.scale[row] : a.weight[i];
}

KERNEL(fold, Fold, 256) {
    const u32 c = thread_number();
    if (c >= (u32)a.pixel) return;
    a.scale[c] = a.folded_bias[c] = 0;
    if (c >= (u32)a.channels) return;
    const double scale = a.gamma[c] / sqrt(a.variance[c] + a.eps), bias = a.bias ? a.bias[c] : 0;
    a.scale[c] = (float)scale;
    a.folded_bias[c] = (float)(a.beta[c] + (bias - a.mean[c]) * scale);
}
