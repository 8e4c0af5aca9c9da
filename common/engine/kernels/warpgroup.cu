// Convolutions of floats on the tensor cores of compute capability 9.0, whose products are a warpgroup's (wgmma): what those
// of conv.cu give in f32 and tf32, from halves at the halves' rate. A module of its own for each.
//
//   split_128x160 split_128x128 split_128x64: places x output channels of a block's tile, as conv_*.
//   grid  as conv_*; threads 384; shared memory  128 + 5 * (places * 128 + channels * 64 * halves of a number) bytes
//
// In f32 a number is two halves, high + low, 22 bits of it, once a power of two has brought it into their range: the
// largest of 32 channels of a place, and the largest weight of an output channel, come to lie in [2^14, 2^15). What is
// smaller than 2^-17 of that largest keeps an error of 2^-40 of it; a sum beyond 2^112 overflows. Three products make one (low * high, high * low, high * high), summed over the 32 on tensor cores, which cut digits off, and
// over more by ordinary additions. In tf32 it is one half, 11 bits, as TF32's significand. Sums go by 32 channels, then taps;
// their order does not depend on the tile, and an image's numbers on no other image.
#pragma once
#include "sums.h"

#ifdef STORE_FLOATS
const int SPLIT_TERMS = 32;                         // of a stage: channels at one tap
const int SPLIT_PLACES = 128, SPLIT_THREADS = 256;  // of a block: two warpgroups of 64 places that multiply,
const int SPLIT_COPIERS = 128;                      // and one that copies what they read
const int SPLIT_STAGES = 5;                         // of tiles in shared memory
const int SPLIT_MORE = 224, SPLIT_FEWER = 56;       // registers of a thread that multiplies, and of one that copies
const int SPLIT_HEAD = 128;                         // bytes before the tiles: two gates a stage
#ifdef STORE_F32
const int SPLIT_PARTS = 2;                          // halves of a number
#else
const int SPLIT_PARTS = 1;
#endif
const int SPLIT_BLOCK = 512 * SPLIT_PARTS;          // bytes of 8 output channels' weights for a stage
const int SPLIT_MAP = SPLIT_PLACES * SPLIT_TERMS * 4;  // bytes of a tile's places; weights follow
template <int BN> DEVICE char* split_tile(int stage) { return shared_memory() + SPLIT_HEAD + stage * (SPLIT_MAP + BN / CHUNK * SPLIT_BLOCK); }
// The tile of a stage is whole; it may be written again.
DEVICE u64* split_full(int stage) { return (u64*)shared_memory() + stage; }
DEVICE u64* split_empty(int stage) { return (u64*)shared_memory() + SPLIT_STAGES + stage; }
// Where a piece of a place lies in a tile: no two of two rows' pieces for one step in the same banks.
DEVICE int split_at(int row, int piece) { return row * SPLIT_TERMS * 4 + (piece ^ (row & 1) << 2) * 16; }

// What brings numbers up to `largest` into the range of halves, and what brings products back.
struct Raise { float up, down; };
DEVICE Raise raise(float largest) {
    const int exponent = min(max((int)(bits_of(largest) >> 23), 15), 254);
    return {float_of((u32)(268 - exponent) << 23), float_of((u32)(exponent - 14) << 23)};
}

// One thread of the warpgroup that copies: at each stage eight pieces of places, at one column of the tile's rows. The
// first one sees to the weights, which lie in memory as in the tile.
template <int BN> DEVICE void copy_stages(const Conv& a, int stages) {
    const int EACH = SPLIT_PLACES * SPLIT_TERMS / PIECE / SPLIT_COPIERS, ROWS = SPLIT_PLACES / EACH;
    const int t = threadIdx.x - SPLIT_THREADS, piece = t % (SPLIT_TERMS / PIECE), first_row = t / (SPLIT_TERMS / PIECE);
    const int per_image = a.rows * a.cols, places = a.images * per_image, group = blockIdx.z;
    int place_at[EACH], corner[EACH];  // of each place before a tap: in the input, in values; its row and column
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        const int m = blockIdx.x * SPLIT_PLACES + first_row + i * ROWS, n = m / per_image, p = m - n * per_image;
        // Above every map where there is no place.
        const int row = m < places ? p / a.cols * a.step_y : -(1 << 14), column = p % a.cols * a.step_x;
        corner[i] = row * (1 << 16) + column;
        place_at[i] = m < places ? ((n * a.in_h + row) * a.in_w + column) * a.in_pixel + group * a.in_c : 0;
    }
    // Blocks of output channels, of the group and of this tile.
    const int blocks = a.out_c / CHUNK, first = (int)blockIdx.y * (BN / CHUNK), mine = min(BN / CHUNK, blocks - first);
    const int weight_at = (group * blocks + first) * ((a.in_c + SPLIT_TERMS - 1) / SPLIT_TERMS) * a.weight_taps;
    int tap = 0, channel = piece * PIECE;
    int stage = 0, round = 0;
#pragma unroll 1
    for (int left = stages; left; left--) {
        const Tap at = a.tap[tap];
        const int in_map = (at.dy * a.in_w + at.dx) * a.in_pixel + channel;
        const bool real = channel < a.in_c;
        char* tile = split_tile<BN>(stage);
        wait_gate(split_empty(stage), round ^ 1);
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const bool inside = real & ((u32)((corner[i] >> 16) + at.dy) < (u32)a.in_h) & ((u32)((corner[i] & 0xffff) + at.dx) < (u32)a.in_w);
            copy16(tile + split_at(first_row + i * ROWS, piece), a.in + (place_at[i] + in_map), inside);
        }
        if (t == 0) {
            const int block = weight_at + (channel / SPLIT_TERMS * a.weight_taps + at.weight) * mine;
            expect_bytes(split_full(stage), mine * SPLIT_BLOCK);
            copy_block(tile + SPLIT_MAP, (const char*)a.weight + (u64)block * SPLIT_BLOCK, mine * SPLIT_BLOCK, split_full(stage));
        }
        arrive_when_copied(split_full(stage));
        if (++tap == a.taps) tap = 0, channel += SPLIT_TERMS;
        if (++stage == SPLIT_STAGES) stage = 0, round ^= 1;
    }
}

// The two halves of what one lane multiplies at a stage: its fragments of 16 terms each, [step][register].
struct Split { u32 high[2][4], low[2][4]; };  // low: in f32

// The next halves in the place of those whose products are done. To the compiler the old ones' registers are free once
// their products began, and it would let the next ones be computed there. So they are read here once more, for `nothing`, a
// 0 that comes of the products' sums.
DEVICE void follow(Split& now, const Split& next, u32 nothing) {
#pragma unroll
    for (int s = 0; s < 2; s++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            now.high[s][i] = next.high[s][i] ^ (now.high[s][i] & nothing);
            if (SPLIT_PARTS == 2) now.low[s][i] = next.low[s][i] ^ (now.low[s][i] & nothing);
        }
}

// A lane's part of two places' numbers: four of each 16, at terms that pack_split gives to the same lane's registers. Gives
// what brings their products back, of the upper and the lower place.
DEVICE float2 split_stage(const char* tile, int upper, int lower, Split& to) {
    float v[2][2][4];
    float most[2] = {0, 0};
#pragma unroll
    for (int s = 0; s < 2; s++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float4 four = *(const float4*)(tile + ((h ? lower : upper) ^ s * 64));
            v[s][h][0] = four.x, v[s][h][1] = four.y, v[s][h][2] = four.z, v[s][h][3] = four.w;
#pragma unroll
            for (int e = 0; e < 4; e++) most[h] = max(most[h], fabsf(v[s][h][e]));
        }
    float down[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        most[h] = max(most[h], exchange(most[h], 1));
        most[h] = max(most[h], exchange(most[h], 2));
        const Raise by = raise(most[h]);
        down[h] = by.down;
#pragma unroll
        for (int s = 0; s < 2; s++)
#pragma unroll
            for (int pair = 0; pair < 2; pair++) {
                const float one = v[s][h][2 * pair] * by.up, other = v[s][h][2 * pair + 1] * by.up;
                const u32 high = halves_of(one, other);
                to.high[s][h + 2 * pair] = high;
                if (SPLIT_PARTS == 1) continue;
                const float2 near = floats_of(high);
                to.low[s][h + 2 * pair] = halves_of(one - near.x, other - near.y);
            }
    }
    return make_float2(down[0], down[1]);
}

// One thread of the two warpgroups that multiply, in turns: while the one's products run, the other gathers its last ones.
template <int BN> DEVICE void multiply_stages(const Conv& a, int stages) {
    const int NI = BN / 8, lane = threadIdx.x & 31, half = threadIdx.x / 128, row = (int)(threadIdx.x >> 5) * 16 + (lane >> 2);
    const int upper = split_at(row, lane & 3), lower = upper + 8 * SPLIT_TERMS * 4;
    float sum[NI][4], few[NI][4];  // of all stages, and of the one under way
#pragma unroll
    for (int j = 0; j < NI; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) sum[j][e] = 0;
    int stage = 0, round = 0;
    float2 down;
    auto split = [&](Split& now) {
        wait_gate(split_full(stage), round);
        const char* tile = split_tile<BN>(stage);
        return split_stage(tile, upper, lower, now);
    };
    auto begin = [&](const Split& now) {
        const char* weights = split_tile<BN>(stage) + SPLIT_MAP;
        wait_turn(half);
        start_products();
#pragma unroll
        for (int s = 0; s < 2 && SPLIT_PARTS == 2; s++) {
            add_products<SPLIT_BLOCK>(few, now.low[s], weights + s * 256, s);
            add_products<SPLIT_BLOCK>(few, now.high[s], weights + 512 + s * 256, true);
        }
#pragma unroll
        for (int s = 0; s < 2; s++) add_products<SPLIT_BLOCK>(few, now.high[s], weights + s * 256, s || SPLIT_PARTS == 2);
        close_products();
        give_turn(half ^ 1);
        if (++stage == SPLIT_STAGES) stage = 0, round ^= 1;
    };
    // Behind the products of the stage before this one: its tile may be written again.
    auto gather = [&] {
        wait_products(few);
        arrive_together(split_empty(stage ? stage - 1 : SPLIT_STAGES - 1));
#pragma unroll
        for (int j = 0; j < NI; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) sum[j][e] = fused(few[j][e], e < 2 ? down.x : down.y, sum[j][e]);
    };
    if (half) give_turn(0);
    if (stages) {
        Split now;
        down = split(now);
        begin(now);
#pragma unroll 1
        for (int left = stages - 1; left; left--) {
            Split next;
            const float2 later = split(next);
            part(a.rows >> 31);
            gather();
            follow(now, next, bits_of(few[0][0]) & a.images >> 31);
            down = later;
            begin(now);
        }
        gather();
    }
    if (!half) wait_turn(0);
    // The sums go where the tiles were: both must have read those.
    barrier();
    float* sums = (float*)shared_memory();
#pragma unroll
    for (int j = 0; j < NI; j++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            *(float2*)(sums + sum_at<BN>(row + h * 8, j * 8 + (lane & 3) * 2)) = make_float2(sum[j][2 * h], sum[j][2 * h + 1]);
    barrier();
    const int places = a.images * a.rows * a.cols;
    finish_sums<SPLIT_PLACES, BN, SPLIT_THREADS, true>(a, sums, places);
    if (!a.moments) return;
    barrier();
    write_moments<SPLIT_PLACES, BN, SPLIT_THREADS>(a, sums, places);
}

template <int BN> DEVICE void convolve_split(const Conv& a) {
    const int stages = (a.in_c + SPLIT_TERMS - 1) / SPLIT_TERMS * a.taps;
    if (threadIdx.x == 0) {
        for (int s = 0; s < SPLIT_STAGES; s++) {
            open_gate(split_full(s), SPLIT_COPIERS + 1);
            open_gate(split_empty(s), SPLIT_THREADS / 32);
        }
        show_gates();
    }
    barrier();
    if (threadIdx.x < SPLIT_THREADS) {
        more_registers<SPLIT_MORE>();
        multiply_stages<BN>(a, stages);
    } else {
        fewer_registers<SPLIT_FEWER>();
        copy_stages<BN>(a, stages);
        // The others' barriers are of all threads.
        barrier();
        barrier();
        if (a.moments) barrier();
    }
}
BLOCK_KERNEL(split_128x160, Conv, SPLIT_THREADS + SPLIT_COPIERS, 1) { convolve_split<160>(a); }
BLOCK_KERNEL(split_128x128, Conv, SPLIT_THREADS + SPLIT_COPIERS, 1) { convolve_split<128>(a); }
BLOCK_KERNEL(split_128x64, Conv, SPLIT_THREADS + SPLIT_COPIERS, 1) { convolve_split<64>(a); }

// Weights as split_* read them, once per change of the parameters: halves, [group][tile][32 terms][tap][8 output channels]
// [high; in f32, low][16 terms][8 terms][channel][term], and `plain`, [group][out_c]. Of the image gradient, output channels
// are the input's. The order of 16 terms is that in which lanes find theirs side by side in a place's piece.
//
//   pack_split   grid (output channels, padded and of all groups); 256 threads, shared memory 32 bytes
BLOCK_KERNEL(pack_split, Pack, 256, 1) {
    const int rows = a.transposed ? a.in_c : a.out_c, terms = a.transposed ? a.out_c : a.in_c;
    const int group = blockIdx.x / rows, row = blockIdx.x % rows;
    const int real_rows = a.transposed ? a.real_in : a.real_out, real_terms = row < real_rows ? (a.transposed ? a.real_out : a.real_in) : 0;
    auto value = [&](int term, int tap) {
        if (term >= real_terms) return 0.0f;
        return a.transposed ? weight_value(a, group, term, row, tap) : weight_value(a, group, row, term, tap);
    };
    float most = 0;
    for (int i = threadIdx.x; i < real_terms * a.taps; i += blockDim.x) most = max(most, fabsf(value(i / a.taps, i % a.taps)));
    for (int mask = 16; mask; mask >>= 1) most = max(most, exchange(most, mask));
    float* of_warps = (float*)shared_memory();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = most;
    barrier();
    for (int w = 0; w < 8; w++) most = max(most, of_warps[w]);
    const Raise by = raise(most);
    if (threadIdx.x == 0) a.plain[blockIdx.x] = by.down;
    const int chunks = (terms + SPLIT_TERMS - 1) / SPLIT_TERMS;
    // Blocks of channels of one tile, of which the last may have fewer, lie side by side.
    const int blocks = rows / CHUNK, first = row / CHUNK / a.tile * a.tile, tile = min(a.tile, blocks - first);
    u16* to = (u16*)a.packed + ((u64)(group * blocks + first) * chunks * a.taps + row / CHUNK - first) * (SPLIT_BLOCK / 2) + row % CHUNK * 8;
    for (int i = threadIdx.x; i < chunks * a.taps * SPLIT_TERMS; i += blockDim.x) {
        const int term = i % SPLIT_TERMS, line = i / SPLIT_TERMS, lanes = term % 16;  // line: [32 terms][tap]
        const float v = value(line / a.taps * SPLIT_TERMS + term, line % a.taps) * by.up;
        const u32 high = halves_of(v, 0);
        u16* at = to + (u64)line * tile * (SPLIT_BLOCK / 2) + term / 16 * 128 + lanes % 4 / 2 * 64 + lanes / 4 * 2 + lanes % 2;
        at[0] = (u16)high;
        if (SPLIT_PARTS == 2) at[256] = (u16)halves_of(v - floats_of(high).x, 0);
    }
}
#endif
