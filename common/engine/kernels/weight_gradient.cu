// The weight gradient on tensor cores: one tile of output by input channels of one tap, over one part of the places; then
// the parts added in their order.
//
//   weight_gradient      grid (taps * tiles of in_c by 64, tiles of out_c by 64, groups * parts), the group changing first
//                        128 threads, shared memory 32768 bytes; taps are stored in the order in which they are listed
//   weight_gradient_sum  256 threads, a value of `gradient` each
//
// Operands lie in shared memory as they lie in maps, a row a place, and the sum goes over places: fragments of 16 bits are
// transposed on their way into registers, those of floats are read value by value.
#pragma once
#include "conv.cu"

const int PLACE_STAGES = 4;                               // stages of tiles in flight
const int EDGE = 64;                                      // channels of a tile, on both sides
const int PIECES = EDGE / PIECE;                          // of a tile's row
const int DEPTH = 4096 / (EDGE * (int)sizeof(Value));     // places of a stage: 32, of floats 16
const int EDGE_TILE = DEPTH * EDGE * (int)sizeof(Value);  // bytes

// Where piece `p` of a place lies: no bank conflicts, neither for eight rows of 16 bits nor for four of floats.
DEVICE int place_at(int row, int p) {
#ifdef STORE_FLOATS
    return (row * PIECES + (p ^ ((row & 3) << 1))) * 16;
#else
    return (row * PIECES + (p ^ (row & 7))) * 16;
#endif
}

#ifdef STORE_FLOATS
DEVICE u32 value_at(const char* tile, int row, int channel) {
    return ((const u32*)(tile + place_at(row, channel / PIECE)))[channel % PIECE];
}
#endif
// Rows are output channels from `channel`, columns the places of step k.
DEVICE void load_left(u32 (&r)[4], const char* tile, int k, int channel, int lane) {
#ifdef STORE_FLOATS
#pragma unroll
    for (int i = 0; i < 4; i++) r[i] = value_at(tile, k * 8 + (lane & 3) + i / 2 * 4, channel + (lane >> 2) + i % 2 * 8);
#else
    load_matrices_transposed(r, tile + place_at(k * 16 + (lane & 7) + (lane >> 4) * 8, channel / 8 + ((lane >> 3) & 1)));
#endif
}
// Rows are places, columns sixteen input channels: two halves.
DEVICE void load_right(u32 (&r)[4], const char* tile, int k, int channel, int lane) {
#ifdef STORE_FLOATS
#pragma unroll
    for (int i = 0; i < 4; i++) r[i] = value_at(tile, k * 8 + (lane & 3) + i % 2 * 4, channel + (lane >> 2) + i / 2 * 8);
#else
    load_matrices_transposed(r, tile + place_at(k * 16 + (lane & 7) + ((lane >> 3) & 1) * 8, channel / 8 + (lane >> 4)));
#endif
}

BLOCK_KERNEL(weight_gradient, WeightGradient, 128, sizeof(Value) == 4 ? 3 : 4) {
    char* memory = shared_memory();
    const int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp & 1) * 32, wn = (warp >> 1) * 32;
    const int in_tiles = (a.in_c + EDGE - 1) / EDGE, tap_index = blockIdx.x / in_tiles;
    const int c0 = (blockIdx.x % in_tiles) * EDGE, k0 = blockIdx.y * EDGE;
    const int group = blockIdx.z % a.groups, part = blockIdx.z / a.groups;
    const Tap tap = a.tap[tap_index];
    const int per_image = a.out_h * a.out_w, places = a.images * per_image;
    const int begin = part * a.places_per_part, end = min(begin + a.places_per_part, places);
    const int iterations = (end - begin + DEPTH - 1) / DEPTH;
    const Value *in = a.in + group * a.in_c, *gradient = a.gradient + group * a.out_c;
    const Divisor of_image = divisor(per_image), of_row = divisor(a.out_w);
    const int column = t % PIECES, k = k0 + column * PIECE, c = c0 + column * PIECE, tap_at = (tap.dy * a.in_w + tap.dx) * a.in_pixel + c;
    auto load = [&](int stage, int iteration) {
        char *sa = memory + stage * 2 * EDGE_TILE, *sb = sa + EDGE_TILE;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = (t + i * 128) / PIECES, m = begin + iteration * DEPTH + row;
            int p, x;
            const int n = divide(m, of_image, p), y = divide(p, of_row, x) * a.step_y;
            x *= a.step_x;
            // Addresses that are not wanted are not read.
            const bool real = m < end;
            copy16(sa + place_at(row, column), gradient + (m * a.out_pixel + k), real && k < a.out_c);
            const bool inside = real && c < a.in_c && (u32)(y + tap.dy) < (u32)a.in_h && (u32)(x + tap.dx) < (u32)a.in_w;
            copy16(sb + place_at(row, column), in + (((n * a.in_h + y) * a.in_w + x) * a.in_pixel + tap_at), inside);
        }
    };
    float sum[2][4][4];
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[i][j][e] = 0;
#pragma unroll 1
    for (int s = 0; s < PLACE_STAGES - 1; s++) {
        if (s < iterations) load(s, s);
        commit_copies();
    }
    u32 fa[2][4], fb[2][4];
    int stage = 0, next = PLACE_STAGES - 1;
    for (int it = 0; it < iterations; it++) {
        wait_copies<PLACE_STAGES - 2>();
        barrier();
        if (it + PLACE_STAGES - 1 < iterations) load(next, it + PLACE_STAGES - 1);
        commit_copies();
        const char *sa = memory + stage * 2 * EDGE_TILE, *sb = sa + EDGE_TILE;
        stage = stage + 1 == PLACE_STAGES ? 0 : stage + 1;
        next = next + 1 == PLACE_STAGES ? 0 : next + 1;
#pragma unroll
        for (int k = 0; k < 2; k++) {
#ifdef STORE_FLOATS
            settle();
#endif
#pragma unroll
            for (int i = 0; i < 2; i++) load_left(fa[i], sa, k, wm + i * 16, lane);
#pragma unroll
            for (int j = 0; j < 2; j++) load_right(fb[j], sb, k, wn + j * 16, lane);
#pragma unroll
            for (int i = 0; i < 2; i++)
                products(sum[i], fa[i], fb);
        }
    }
    settle();
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int k = k0 + wm + i * 16 + h * 8 + (lane >> 2), c = c0 + wn + j * 8 + (lane & 3) * 2;
                if (k >= a.out_c || c >= a.in_c) continue;
                const u64 row = ((u64)part * a.groups + group) * a.out_c + k;
                float* to = a.parts + (row * a.taps + tap_index) * a.in_c + c;
                *(float2*)to = make_float2(sum[i][j][2 * h], sum[i][j][2 * h + 1]);
            }
}

KERNEL(weight_gradient_sum, WeightGradientSum, 256) {
    const u64 i = thread_number(), rows = (u64)a.groups * a.real_out;
    if (i >= rows * a.real_in * a.taps) return;
    const int tap = i % a.taps, c = i / a.taps % a.real_in, k = i / a.taps / a.real_in % a.real_out;
    const u64 group = i / a.taps / a.real_in / a.real_out;
    float s = 0;
    for (int p = 0; p < a.parts_count; p++) {
        const u64 row = ((u64)p * a.groups + group) * a.out_c + k;
        s += a.parts[(row * a.taps + tap) * a.in_c + c];
    }
    a.gradient[i] += s;
}
