// Chunks of a map in and out of registers, and what happens to a value on its way to memory (`Finish`).
#pragma once
#include "device.h"

// A chunk as it is stored: one line of 16 bits, two of floats.
struct alignas(16) Stored { Value value[CHUNK]; };

DEVICE Stored stored_at(const Value* p) {
    Stored chunk;
#pragma unroll
    for (int i = 0; i < CHUNK / PIECE; i++) ((uint4*)&chunk)[i] = ((const uint4*)p)[i];
    return chunk;
}
DEVICE void store_at(Value* p, const Stored& chunk) {
#pragma unroll
    for (int i = 0; i < CHUNK / PIECE; i++) ((uint4*)p)[i] = ((const uint4*)&chunk)[i];
}
DEVICE void read_chunk(float (&v)[CHUNK], const Value* p) {
    const Stored chunk = stored_at(p);
#pragma unroll
    for (int e = 0; e < CHUNK; e++) v[e] = widen(chunk.value[e]);
}
DEVICE void write_chunk(Value* p, const float (&v)[CHUNK]) {
    Stored chunk;
#pragma unroll
    for (int e = 0; e < CHUNK; e++) chunk.value[e] = narrow(v[e]);
    store_at(p, chunk);
}
// Eight floats, as coefficients and wide outputs are.
DEVICE void read_floats(float (&v)[CHUNK], const float* p) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float4 four = ((const float4*)p)[i];
        v[4 * i] = four.x, v[4 * i + 1] = four.y, v[4 * i + 2] = four.z, v[4 * i + 3] = four.w;
    }
}
DEVICE void write_floats(float* p, const float (&v)[CHUNK]) {
#pragma unroll
    for (int i = 0; i < 2; i++) ((float4*)p)[i] = make_float4(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]);
}

// What `finish` makes of a chunk whose place in the destination is `offset`; `to` is read where it accumulates.
DEVICE void finish(const Finish& f, float (&v)[CHUNK], const Value* to, u32 offset) {
    u32 bits = 0;
    const u32 gate = f.gate ? f.gate[offset / CHUNK] : 255;
    if (f.residual) {
        const Stored other = stored_at(f.residual + offset);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) v[e] += widen(other.value[e]);
    }
    if (f.accumulate) {
        const Stored old = stored_at(to + offset);
#pragma unroll
        for (int e = 0; e < CHUNK; e++) v[e] += widen(old.value[e]);
    }
#pragma unroll
    for (int e = 0; e < CHUNK; e++) {
        float r = v[e];
        if (f.activation) {
            bits |= (u32)(r > 0 && (f.activation == 1 || r < 6)) << e;
            // What is not a number stays so.
            r = r < 0 ? 0 : r;
            if (f.activation == 2) r = r > 6 ? 6 : r;
        }
        v[e] = gate >> e & 1 ? r : 0;
    }
    if (f.bits_out) f.bits_out[offset / CHUNK] = (u8)bits;
}
// The same, stored.
DEVICE void finish_and_store(const Finish& f, float (&v)[CHUNK], Value* to, u32 offset) {
    finish(f, v, to, offset);
    write_chunk(to + offset, v);
}
// The number of this thread in a grid of one dimension. Maps have fewer than 2^31 values: divisions of 64 bits would take
// longer than what most kernels do besides.
DEVICE u32 thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }

const int PART_PLACES = 64;                  // of a part of BatchNorm's moments
const int SUM_CHANNELS = 64, SUM_ROWS = 32;  // of a block of 256 threads that sums chunks: eight columns of 32 rows

// The sum of `terms` over the rows of a block in a fixed order, to each of its first 64 threads its channel's; 0 to the
// others. Shared memory 8192 bytes.
DEVICE float sum_of_rows(const float (&terms)[CHUNK]) {
    float* lines = (float*)shared_memory();
    barrier();
#pragma unroll
    for (int e = 0; e < CHUNK; e++) lines[threadIdx.x * CHUNK + e] = terms[e];
    barrier();
    float total = 0;
    for (int r = 0; threadIdx.x < SUM_CHANNELS && r < SUM_ROWS; r++) total += lines[r * SUM_CHANNELS + threadIdx.x];
    return total;
}

// Division by a number that is the same all along, without dividing: a guess by a product, put right by one. For numbers
// below 2^31.
struct Divisor { u32 by, inverse; };
DEVICE Divisor divisor(int by) { return {(u32)by, (u32)(0xffffffffu / (u32)by)}; }
DEVICE int divide(int n, Divisor d, int& rest) {
    int q = (int)high_product((u32)n, d.inverse);
    rest = n - q * (int)d.by;
    while (rest >= (int)d.by) rest -= d.by, q++;
    return q;
}

// The value of a weight, times the scale of its output channel, rounded to float.
DEVICE float weight_value(const Pack& a, int group, int out, int in, int tap) {
    const u32 row = (u32)group * a.real_out + out;
    const float v = a.weight[(row * a.real_in + in) * a.taps + tap];
    return a.scale ? v * a.scale[row] : v;
}
