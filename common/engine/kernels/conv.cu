// Implicit-GEMM convolutions of channels-last maps on tensor cores: forwards, and one parity class of the image gradient.
// The caller lists the taps; sums are finished before they reach memory.
//
//   conv_128x128 conv_128x64 conv_64x64 conv_128x32: places x output channels of a block's tile.
//   grid  (tiles of images * rows * cols, tiles of out_c, groups); threads 256, 256, 128, 128
//   shared memory  (places + channels) * 384 bytes for bf16 (128x128: 98304), * 256 for the others
//
// Every tile sums in the same order, tap by tap and channel by channel, and moments are of 64 places (sums.h) whatever
// the tile: which tile runs never changes a bit. Channels [0, groups * out_c) of an output place are written.
#pragma once
#include "pieces.h"
#include "sums.h"

// Where piece `p` of `row` lies in a tile: no two of eight consecutive rows in the same banks.
DEVICE int swizzled(int row, int p) { return row * ROW + ((p ^ (row / (128 / ROW) & (ROW_PIECES - 1))) * 16); }

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
    finish_sums<BM, BN, THREADS>(a, sums, places);
    if (!a.moments) return;
    barrier();
    write_moments<BM, BN, THREADS>(a, sums, places);
}

// Blocks of a multiprocessor at least, of the 65,536 registers it has; floats, with the parts of their products, want more.
#define CONV(BM, BN, WM, WN, BLOCKS, FLOAT_BLOCKS) \
    BLOCK_KERNEL(conv_##BM##x##BN, Conv, BM / WM * (BN / WN) * 32, sizeof(Value) == 4 ? FLOAT_BLOCKS : BLOCKS) { convolve<BM, BN, WM, WN>(a); }
CONV(128, 128, 64, 32, 2, 1)
CONV(128, 64, 32, 32, 2, 1)
CONV(64, 64, 32, 32, 4, 3)
CONV(128, 32, 32, 32, 4, 3)
