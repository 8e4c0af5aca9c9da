// Which pieces of a convolution's operands a thread copies into its tiles, stage by stage.
#pragma once
#include "finish.h"

// Bytes of a tile's row, pieces of 16, steps of the product of 32; and how many stages of tiles are in flight. Longer rows
// are 5 to 20 % faster on an H200, but what they take of shared memory is more than chips before sm_80 have; floats, which
// wait for products, gain nothing.
#ifdef STORE_BF16
const int ROW = 128, STAGES = 3;
#else
const int ROW = 64, STAGES = 4;
#endif
const int ROW_PIECES = ROW / 16;

// The pieces that one thread copies: of AR places and BR output channels, at one column of the tile's row. It walks the
// taps and their channels in the order of the sum; what changes with the tap alone is computed when the tap changes.
// (Without a name outside: each storage has its own.)
namespace {
template <int AR, int BR> struct Pieces {
    int place_at[AR];                       // of each place before a tap: in the input, in values,
    short row[AR], column[AR];              // and its row and column
    int weight_at, weight_step;             // of the first output channel, and from one to the next
    int tap, channel, in_map, in_weight;    // the walk; and where it is beside the places
    u32 inside, exists, wanted;             // bits of places, of output channels

    DEVICE_MEMBER Pieces(const Conv& a, int first_row, int rows, int tile_places, int tile_channels) {
        const int per_image = a.rows * a.cols, places = a.images * per_image, group = blockIdx.z;
        exists = 0;
#pragma unroll
        for (int i = 0; i < AR; i++) {
            const int m = blockIdx.x * tile_places + first_row + i * rows, n = m / per_image, p = m - n * per_image;
            row[i] = (short)(m < places ? p / a.cols * a.step_y : -(1 << 14));  // above every map where there is no place
            column[i] = (short)(p % a.cols * a.step_x);
            place_at[i] = m < places ? ((n * a.in_h + row[i]) * a.in_w + column[i]) * a.in_pixel + group * a.in_c : 0;
        }
#pragma unroll
        for (int i = 0; i < BR; i++) exists |= (u32)((int)blockIdx.y * tile_channels + first_row + i * rows < a.out_c) << i;
        weight_at = (group * a.out_c + (int)blockIdx.y * tile_channels + first_row) * a.weight_taps * a.in_c;
        weight_step = rows * a.weight_taps * a.in_c;
        tap = 0;
        channel = threadIdx.x % ROW_PIECES * PIECE;
        arrive(a);
    }
    DEVICE_MEMBER void arrive(const Conv& a) {
        while (channel >= a.in_c) channel -= a.in_c, tap++;
        const bool real = tap < a.taps;
        const Tap at = a.tap[real ? tap : 0];
        in_map = (at.dy * a.in_w + at.dx) * a.in_pixel + channel;
        in_weight = at.weight * a.in_c + channel;
        inside = 0;
#pragma unroll
        for (int i = 0; i < AR; i++)
            inside |= (u32)(real && (u32)(row[i] + at.dy) < (u32)a.in_h && (u32)(column[i] + at.dx) < (u32)a.in_w) << i;
        wanted = real ? exists : 0;
    }
    // To the next stage: a row on.
    DEVICE_MEMBER void advance(const Conv& a) {
        channel += ROW_PIECES * PIECE;
        in_map += ROW_PIECES * PIECE;
        in_weight += ROW_PIECES * PIECE;
        if (channel >= a.in_c) arrive(a);
    }
    // Addresses that are not inside, or not wanted, are not read.
    DEVICE_MEMBER const Value* place(const Conv& a, int i) const { return a.in + (place_at[i] + in_map); }
    DEVICE_MEMBER const Value* weight(const Conv& a, int i) const { return a.weight + (weight_at + i * weight_step + in_weight); }
};
}
