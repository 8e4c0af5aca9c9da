// From a convolution's sums, which lie in shared memory, to what it writes: finished chunks and their moments.
#pragma once
#include "finish.h"

// Where a sum lies once the tiles are done with: a row a place, four of them in different banks.
template <int BN> DEVICE int sum_at(int row, int n) { return row * BN + (n ^ ((row & 3) * CHUNK)); }

// Finishes the sums, a chunk at a time; what was stored replaces them where moments are wanted. SPLIT: sums of split_*.
template <int BM, int BN, int THREADS, bool SPLIT = false> DEVICE void finish_sums(const Conv& a, float* sums, int places) {
    const int per_image = a.rows * a.cols, at_once = THREADS / (BN / CHUNK), first = threadIdx.x / (BN / CHUNK);
    const int column = threadIdx.x % (BN / CHUNK) * CHUNK, n = blockIdx.y * BN + column, channel = blockIdx.z * a.out_c + n;
    if (n >= a.out_c || first >= at_once) return;
    // Places of this launch lie in the output one after the other: no divisions.
    const bool whole = a.rows == a.out_h && a.cols == a.out_w;
    float bias[CHUNK] = {}, unscale[CHUNK];
    if (a.bias) read_floats(bias, a.bias + channel);
    if (SPLIT) read_floats(unscale, a.unscale + channel);
#pragma unroll 1
    for (int row = first; row < BM; row += at_once) {
        const int m = blockIdx.x * BM + row;
        if (m >= places) return;
        u64 place = m;
        if (!whole) {
            const int image = m / per_image, p = m - image * per_image;
            const int y = p / a.cols * a.out_step_y + a.out_y, x = p % a.cols * a.out_step_x + a.out_x;
            place = ((u64)image * a.out_h + y) * a.out_w + x;
        }
        const u64 offset = place * a.out_pixel + channel;
        float v[CHUNK];
        read_floats(v, sums + sum_at<BN>(row, column));
#pragma unroll
        for (int e = 0; e < CHUNK; e++) v[e] = (SPLIT ? v[e] * unscale[e] : v[e]) + bias[e];
        finish(a.finish, v, a.out, offset);
        if (a.wide) write_floats(a.wide + offset, v);
        if (a.out) write_chunk(a.out + offset, v);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) v[e] = widen(narrow(v[e]));
        if (a.moments) write_floats(sums + sum_at<BN>(row, column), v);
    }
}
// Of each channel over 64 places, in their order, the sum and the squares' sum about the mean.
template <int BM, int BN, int THREADS> DEVICE void write_moments(const Conv& a, const float* sums, int places) {
    for (int c = threadIdx.x; c < BM / PART_PLACES * BN; c += THREADS) {
        const int first = c / BN * PART_PLACES, n = blockIdx.y * BN + c % BN;
        const int rows = min(PART_PLACES, places - (int)blockIdx.x * BM - first);
        if (n >= a.out_c || rows <= 0) continue;
        float sum = 0, squares = 0;
#pragma unroll 4
        for (int row = first; row < first + rows; row++) sum += sums[sum_at<BN>(row, c % BN)];
        const float mean = sum / rows;
#pragma unroll 4
        for (int row = first; row < first + rows; row++) {
            const float apart = sums[sum_at<BN>(row, c % BN)] - mean;
            squares = fused(apart, apart, squares);
        }
        float* to = a.moments + ((u64)(blockIdx.x * BM + first) / PART_PLACES * 2) * a.out_pixel + blockIdx.z * a.out_c + n;
        to[0] = sum;
        to[a.out_pixel] = squares;
    }
}
