// Implicit-GEMM convolutions of channels-last maps on tensor cores: forwards, and one parity class of the image gradient.
// The caller lists the taps; sums are finished before they reach memory.
//
//   conv_128x128 conv_128x64 conv_64x64 conv_128x32: places x output channels of a block's tile.
//   grid  (tiles of images * rows * cols, tiles of out_c, groups); threads 256, 256, 128, 128
//   shared memory  (places + channels) * 384 bytes for bf16 (128x128: 98304), * 256 for the others
//
// Every tile sums in the same order, tap by tap and channel by channel, and moments are of 64 places (norm.cu) whatever
// the tile: which tile runs never changes a bit. Channels [0, groups * out_c) of an output place are written.
#pragma once
#include "norm.cu"
#include "pieces.h"

// Where piece `p` of `row` lies in a tile: no two of eight consecutive rows in the same banks.
DEVICE int swizzled(int row, int p) { return row * ROW + ((p ^ (row / (128 / ROW) & (ROW_PIECES - 1))) * 16); }

// Where a sum lies once the tiles are done with: a row a place, four of them in different banks.
template <int BN> DEVICE int sum_at(int row, int n) { return row * BN + (n ^ ((row & 3) * CHUNK)); }

// Finishes the sums, a chunk at a time; what was stored replaces them where moments are wanted.
template <int BM, int BN> DEVICE void finish_sums(const Conv& a, float* sums, int places) {
    const int per_image = a.rows * a.cols, column = threadIdx.x % (BN / CHUNK) * CHUNK, n = blockIdx.y * BN + column;
    const int channel = blockIdx.z * a.out_c + n;
    if (n >= a.out_c) return;
    // Places of this launch lie in the output one after the other: no divisions.
    const bool whole = a.rows == a.out_h && a.cols == a.out_w;
    float bias[CHUNK] = {};
    if (a.bias) read_floats(bias, a.bias + channel);
#pragma unroll 1
    for (int row = threadIdx.x / (BN / CHUNK); row < BM; row += blockDim.x / (BN / CHUNK)) {
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
        for (int e = 0; e < CHUNK; e++) v[e] += bias[e];
        finish(a.finish, v, a.out, offset);
        if (a.wide) write_floats(a.wide + offset, v);
        if (a.out) write_chunk(a.out + offset, v);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) v[e] = widen(narrow(v[e]));
        if (a.moments) write_floats(sums + sum_at<BN>(row, column), v);
    }
}
// Of each channel over 64 places, in their order, the sum and the squares' sum about the mean.
template <int BM, int BN> DEVICE void write_moments(const Conv& a, const float* sums, int places) {
    for (int c = threadIdx.x; c < BM / PART_PLACES * BN; c += blockDim.x) {
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

template <int BM, int BN, int WM, int WN> DEVICE void convolve(const Conv& a) {
    const int THREADS = BM / WM * (BN / WN) * 32, ROWS = THREADS / ROW_PIECES, AR = BM / ROWS, BR = (BN + ROWS - 1) / ROWS;
    const int MI = WM / 16, NI = WN / 8, TILE = (BM + BN) * ROW;
    char* memory = shared_memory();
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5;
    const int wm = (warp % (BM / WM)) * WM, wn = (warp / (BM / WM)) * WN;
    const int places = a.images * a.rows * a.cols;
    const int iterations = (a.taps * (a.in_c / PIECE) + ROW_PIECES - 1) / ROW_PIECES;
    const int column = t % ROW_PIECES, first_row = t / ROW_PIECES;
    Pieces<AR, BR> from(a, first_row, ROWS, BM, BN);
    auto load = [&](int stage) {
        char* to = memory + stage * TILE + swizzled(first_row, column);
#pragma unroll
        for (int i = 0; i < AR; i++) copy16(to + i * ROWS * ROW, from.place(a, i), from.inside >> i & 1);
#pragma unroll
        for (int i = 0; i < BR; i++)
            if (BN % ROWS == 0 || first_row + i * ROWS < BN) copy16(to + BM * ROW + i * ROWS * ROW, from.weight(a, i), from.wanted >> i & 1);
        from.advance(a);
    };
    float sum[MI][NI][4];
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
#pragma unroll 1
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < iterations) load(s);
        commit_copies();
    }
    // Where this lane's rows of fragments lie; another step's pieces are the first's with other bits.
    const int left = swizzled(wm + (lane & 15), lane >> 4), right = BM * ROW + swizzled(wn + ((lane >> 4) << 3) + (lane & 7), (lane >> 3) & 1);
    u32 fa[MI][4], fb[NI / 2][4];
    int stage = 0, next = STAGES - 1;
    for (int it = 0; it < iterations; it++) {
        wait_copies<STAGES - 2>();
        barrier();
        if (it + STAGES - 1 < iterations) load(next);
        commit_copies();
        const char* tile = memory + stage * TILE;
#pragma unroll
        for (int k = 0; k < ROW / 32; k++) {
#pragma unroll
            for (int i = 0; i < MI; i++) load_matrices(fa[i], tile + (left ^ k * 32) + i * 16 * ROW);
#pragma unroll
            for (int j = 0; j < NI / 2; j++) load_matrices(fb[j], tile + (right ^ k * 32) + j * 16 * ROW);
#pragma unroll
            for (int i = 0; i < MI; i++)
                products(sum[i], fa[i], fb);
        }
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
    settle();
    // The sums go where the tiles were: everybody must have read those.
    wait_copies<0>();
    barrier();
    float* sums = (float*)memory;
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int row = wm + i * 16 + h * 8 + (lane >> 2), n = wn + j * 8 + (lane & 3) * 2;
                *(float2*)(sums + sum_at<BN>(row, n)) = make_float2(sum[i][j][2 * h], sum[i][j][2 * h + 1]);
            }
    barrier();
    finish_sums<BM, BN>(a, sums, places);
    if (!a.moments) return;
    barrier();
    write_moments<BM, BN>(a, sums, places);
}

// Blocks of a multiprocessor at least, of the 65,536 registers it has; floats, with the parts of their products, want more.
#define CONV(BM, BN, WM, WN, BLOCKS, FLOAT_BLOCKS) \
    BLOCK_KERNEL(conv_##BM##x##BN, Conv, BM / WM * (BN / WN) * 32, sizeof(Value) == 4 ? FLOAT_BLOCKS : BLOCKS) { convolve<BM, BN, WM, WN>(a); }
CONV(128, 128, 64, 32, 2, 1)
CONV(128, 64, 32, 32, 2, 1)
CONV(64, 64, 32, 32, 4, 3)
CONV(128, 32, 32, 32, 4, 3)
