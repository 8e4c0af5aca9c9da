// What the host gives to each kernel: one structure by value. `src/cuda/arguments.rs` mirrors this file, field by field.
//
// Maps lie channels last, [image][row][column][channel], `pixel` values from one place to the next, a multiple of 8.
// Values are `Value` (see storage.h); what is per channel, and every sum, is float or double. Pointers may be null where
// a comment says so. A `chunk` is 8 channels of one place: what one thread handles at a time.
#pragma once
#include "storage.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// The finish of a kernel that writes a map, in this order: residual, what the destination held, activation and its bits
// out, a gate's bits in. Bits are a byte per chunk, the lowest for the first channel; 1 where the slope is 1.
struct Finish {
    const Value* residual;  // or null
    u8* bits_out;           // or null
    const u8* gate;         // or null
    int accumulate;
    int activation;         // 0 none, 1 ReLU, 2 ReLU6
};

// A place of a convolution's kernel: rows and columns from an output's first input place, and which place of the weight.
struct Tap { short dy, dx; int weight; };
const int MOST_TAPS = 49;

// One launch of a convolution (conv_*, split_*), forwards or one parity class of its image gradient: the caller lists the taps.
// gridDim = (tiles of places, tiles of a group's output channels, groups).
struct Conv {
    const Value* in;
    const Value* weight;  // [group][out_c][weight_taps][in_c], zeros in the padding; split_*: as pack_split writes them
    const float* unscale; // split_*: [group][out_c], what sums are multiplied by in the end; or null
    Value* out;           // or null, where only `wide` is wanted
    float* wide;          // [image * place][out_pixel], before any rounding; or null
    const float* bias;    // [group][out_c]; or null
    float* moments;       // [64 places][2][out_pixel]: of what was stored the sums, and of the squares about their mean; or null
    Finish finish;
    int images, in_h, in_w, in_pixel, in_c;  // in_c: channels of one group, a multiple of 8
    int rows, cols, step_y, step_x;          // output places of this launch; input places per output place
    int out_h, out_w, out_pixel, out_c;      // out_c: channels of one group, a multiple of 8
    int out_step_y, out_step_x, out_y, out_x;  // where this launch's places lie in the output
    int taps, weight_taps;
    Tap tap[MOST_TAPS];
};

// weight_gradient: gridDim = (taps * input tiles of 64, output tiles of 64, groups * parts).
// Parts are [part][group][out_c][taps][in_c]; part p is of places [p, p + 1) * places_per_part.
struct WeightGradient {
    const Value* in;
    const Value* gradient;
    float* parts;
    int images, in_h, in_w, in_pixel, in_c, out_h, out_w, out_pixel, out_c, step_y, step_x, taps, groups, places_per_part;
    Tap tap[MOST_TAPS];
};
// weight_gradient_sum: adds the parts in their order to PyTorch's [group][real_out][real_in][taps]. One thread a value.
struct WeightGradientSum {
    const float* parts;
    float* gradient;
    int parts_count, groups, out_c, in_c, real_out, real_in, taps;
};

// Any convolution, plainly: groups of any size, kernels of any size, and depthwise ones (direct_forward, direct_image,
// direct_weight). Weights are PyTorch's [out][in / groups][kh][kw] in float. Slow, right, and without tensor cores.
struct Direct {
    const Value* in;       // forward, weight: the input
    const Value* gradient; // image, weight: the gradient of the output
    const float* weight;   // forward, image
    const float* bias;     // forward; [out]; or null
    Value* out;            // forward: the output; image: the input's gradient
    float* wide;           // forward; as in Conv; or null
    float* parts;          // weight: [part][out][in / groups][kh][kw]
    Finish finish;
    int images, in_h, in_w, in_pixel, in_c, out_h, out_w, out_pixel, out_c;  // all channels, not padded
    int kernel_h, kernel_w, step_y, step_x, top, left, groups, parts_count;  // part p is of images p * images / parts_count ..
};
// The depthwise form of the same structure (depthwise_forward, depthwise_image, depthwise_weight), for one output channel
// per input channel: weights [kh * kw][pixel] in float, parts [part][kh * kw][pixel]. A thread handles a chunk.

// pack: float PyTorch weights [out][in / groups][taps] times `scale` [out] (or null) as [group][out_c][taps][in_c], and
// pack_transposed as [group][in_c][taps][out_c]; out_c and in_c padded per group. pack_depthwise: as [taps][pixel] floats.
// scale_weight: only the product, in PyTorch's layout, for `Direct`. pack_split: for split_* (warpgroup.cu).
struct Pack {
    const float* weight;
    const float* scale;   // or null
    Value* packed;        // pack, pack_transposed, pack_split
    float* plain;         // pack_depthwise, scale_weight; pack_split: `unscale`
    int groups, real_out, real_in, out_c, in_c, taps;  // real_*: of one group. Depthwise: groups channels, out_c = pixel
    int transposed;       // pack_split: for the image gradient
    int tile;             // pack_split: 8 output channels of the kernel's tile
};
// fold: BatchNorm's running statistics as scale and bias of the convolution before it; in double, rounded once.
struct Fold {
    const float *gamma, *beta, *mean, *variance;
    const float* bias;    // the convolution's own; or null
    float *scale, *folded_bias;   // [pixel], zeros in the padding
    double eps;
    int channels, pixel;
};

// import_images: float [image][channel][place] to a map, (x - mean) / deviation where given; zeros in the padding.
// export_images: back, the gradient's way: x / deviation where given.
struct Images {
    float* images;        // read by import, written by export
    Value* map;
    const float *mean, *deviation;  // [channel]; or null
    int count, channels, places, pixel;
};
// export_wide: the first `channels` of each row of `pixel` floats, densely.
struct Wide {
    const float* from;
    float* to;
    int rows, channels, pixel;
};

// Elementwise kernels, one chunk a thread; `chunks` in all.
//   store: a.   rework: `to` itself.   multiply: a * b.   multiply_channels: a * b, b one value per image and channel.
//   affine: (a - centre) * scale + shift, coefficients [3][pixel].
//   affine_gradient: a * scale - (b - centre) * slope - shift, coefficients [4][pixel] centre, scale, slope, shift.
//   silu, sigmoid: the function of a; its slope to `kept` where that is not null.
//   mean_sparse: a, or centre where |a - centre| < width; coefficients [2][pixel] centre, width; slope 0 or 1 to `kept`.
// All but silu, sigmoid and mean_sparse finish.
struct Each {
    const Value* a;
    const Value* b;       // or null
    const float* coefficients;
    Value* to;
    Value* kept;          // or null
    Finish finish;
    u64 chunks;
    int pixel, places;
};

// Sums over places, one chunk of an image a thread: a * b * scale, or a * scale where b is null (position_sums).
struct PositionSums {
    const Value* a;
    const Value* b;       // or null
    Value* to;            // [image][pixel]
    Finish finish;
    float scale;
    int images, places, pixel;
};

// channel_sums: per block of 64 places, [block][2][pixel]: sums of a, and of the squares about the block's mean.
// channel_gradient_sums: sums of the gradient b and of b * (a - centre), centre [pixel].
struct ChannelSums {
    const Value* a;
    const Value* b;
    const float* centre;
    float* parts;
    int places, pixel;    // places of the whole batch
};
// norm_finish: from such parts, of `count` values a channel, the coefficients of `affine` [3][pixel] and the double
// moments [2][pixel] mean and 1 / deviation; mean and unbiased variance of the batch to `statistics` (or null).
// norm_running: the same from running statistics.
struct Norm {
    const float* parts;
    const float *gamma, *beta;
    const float *running_mean, *running_variance;    // norm_running
    float* coefficients;
    double* moments;
    float *batch_mean, *batch_variance;              // norm_finish; unbiased; or null
    double eps;
    int blocks, count, channels, pixel;
};
// norm_gradient: from channel_gradient_sums the coefficients of `affine_gradient` [4][pixel], and adds to the gradients of
// gamma and beta (or null). `batch`: whether the moments are the batch's; else slope and shift are 0. Without parts
// (null) only the coefficients of running statistics are made.
struct NormGradient {
    const float* parts;
    const float* gamma;
    const double* moments;
    float* coefficients;
    float *gamma_gradient, *beta_gradient;
    int blocks, count, channels, pixel, batch;
};
// bias_gradient: adds the first of each block's sums to the gradient, in their order.
struct BiasGradient {
    const float* parts;
    float* gradient;
    int blocks, channels, pixel;
};

// channels: channels from_start.. of `from` as channels to_start.. of `to`. Others of `to`: kept, or zero where `zeros`;
// what lies behind `to_channels` is zero always. Finishes (where `zeros` is 0 and the whole of `to` is covered).
struct Channels {
    const Value* from;
    Value* to;
    Finish finish;
    int places, from_pixel, from_start, to_pixel, to_start, channels, to_channels, zeros;  // places of the whole batch
};

// standardize and standardize_gradient: each image less its mean over its deviation, all real channels together; sums in
// double. A block an image. Gradient: (g - mean(g) - y sum(g y) / (n - 1)) / s, without the last term where s is the least.
struct Standardize {
    const Value* from;
    const Value* gradient;  // or null
    Value* to;
    Finish finish;
    int images, channels, places, pixel;
};

// max_pool, max_pool_gradient, avg_pool, avg_pool_gradient: windows without padding. Taps: u16 per output value, the
// place in the window (row * kernel_w + column) of the largest value, the first of equals. One chunk a thread; gradients gather.
struct Pool {
    const Value* from;     // the input; gradients: the gradient of the output
    Value* to;
    u16* taps;             // written by max_pool where not null, read by its gradient
    Finish finish;
    int images, in_h, in_w, out_h, out_w, pixel, kernel_h, kernel_w, step_y, step_x;
};

// flatten: a map as a vector in (channel, place) order, zeros in the vector's padding; flatten_gradient: back, finished.
struct Flatten {
    const Value* from;
    Value* to;
    Finish finish;         // flatten_gradient
    int images, channels, places, pixel, vector;  // vector: values from one vector to the next
};

// slope_target: softmax(z) - t, t [image][classes] a distribution, times `weight`.
// slope_margin: of Carlini and Wagner's margin, max over others of z - z of the label. slope_dlr: of the difference of
// logits ratio (arXiv:2003.01690, section 4): -(z_y - max others) / (z_1st - z_3rd + 1e-12), up to 4 classes or more.
// Each writes the seed as a map [image][pixel], zeros in the padding. A warp an image; z wide [image][pixel].
struct Slope {
    const float* logits;
    const float* target;   // slope_target
    const int* labels;     // slope_margin, slope_dlr
    Value* seed;
    float weight;
    int images, classes, pixel;
};
// climb: a step that the host chose, of `size` values an image, from one copy of the state to another. `way`: 1 the point is
// the best so far, 2 the step goes on from the best, 4 the ball is l2's. `steepest` is the gradient's largest finite value.
struct Stride {
    double eps;
    float length, share;
    float unscale;  // what undoes the scale of the image's gradient
    int way;
};
struct Climb {
    const float *clean, *point, *before, *best, *best_gradient, *gradient;
    const Stride* strides;
    float *to_point, *to_before, *to_best, *to_best_gradient, *steepest;
    int size;
};
// gather: `count` rows of `size` values, wherever each lies.
struct Gather {
    const float* const* rows;
    float* to;
    int count, size;
};
// pgd_step: x += step * sign(gradient), then into clean +- eps, then into [0, 1]. x and clean are float [image][channel]
// [place], the gradient a map. sign(0) = 0. Where `map` is not null it becomes what import_images makes of the new x.
struct PgdStep {
    float* x;
    const float* clean;
    const Value* gradient;
    float step, eps;
    int count, channels, places, pixel;
    Value* map;                     // or null; `pixel` as the gradient's
    const float *mean, *deviation;  // [channel]; or null
};
// sgd: pull = g + decay * p; v = momentum * v + pull; p -= rate * v, or rate * (pull + momentum * v) where `nesterov`; each
// operation rounded by itself, as the host does it.
struct Sgd {
    float *parameters, *velocity;
    const float* gradients;
    float momentum, decay, rate;
    int count, nesterov;
};
// average: towards `student`: decay > 0.5 ? a + pull * (s - a) : s - decay * (s - a), each operation rounded by itself.
struct Average {
    float* average;
    const float* student;
    float decay, pull;
    int count;
};
// scale_add: to += factor * from. Brings gradients back that a scaled seed made larger.
struct ScaleAdd {
    const float* from;
    float* to;
    float factor;
    int count;
};
// statistics: running = (1 - m) * running + m * batch in double, rounded once; m per value, 0 leaves it alone.
struct Statistics {
    float* running;
    const float* batch;
    const double* momentum;
    int count;
};
// cut: views of resident images: u8 [image][row][column][channel] to float [image][channel][row][column] over 255, each
// image from `source`, moved by (dy, dx) with zeros from outside, and mirrored.
struct View { int source; short dy, dx; int mirrored; };
struct Cut {
    const u8* images;
    const View* views;
    float* to;
    int count, channels, height, width;
};
