// Stored values and the tensor cores' products, as a CPU computes them: what depends on the storage.
#pragma once
#include "host_cuda.h"

#ifdef STORE_FLOATS
DEVICE float widen(Value v) { return v; }
DEVICE Value narrow(float v) { return v; }
#ifdef STORE_F32
// A product reads the upper 19 bits: what is left of its high part in them, then the rest, rounded.
DEVICE float high_part(float v) { return float_of(bits_of(v) & ~0x1fffu); }
DEVICE float low_part(float v) { return float_of((bits_of(v - high_part(v)) + 0x1000) & ~0x1fffu); }
#else
// To nearest, ties away from zero: cvt.rna.
DEVICE float high_part(float v) {
    const u32 u = bits_of(v);
    return (u & 0x7f800000) == 0x7f800000 ? v : float_of((u + 0x1000) & ~0x1fffu);
}
DEVICE float low_part(float) { return 0; }
#endif
#elif defined(STORE_F16)
DEVICE float widen(Value v) { _Float16 h; memcpy(&h, &v, 2); return (float)h; }
DEVICE Value narrow(float v) { const _Float16 h = (_Float16)v; Value r; memcpy(&r, &h, 2); return r; }
#else
DEVICE float widen(Value v) { return float_of((u32)v << 16); }
DEVICE Value narrow(float v) {
    const u32 u = bits_of(v);
    return (u & 0x7fffffff) > 0x7f800000 ? 0x7fff : (Value)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
#endif

// C (16 x 8) += A (16 x N) * B (N x 8), as tensor cores do it: exact products, and of their sum with what was there the
// digits beyond a float cut off, not rounded.
template <int N> static void add_product(float (&C)[16][8], const float (&A)[16][N], const float (&B)[N][8]) {
    for (int m = 0; m < 16; m++) {
        double sum[8];
        for (int n = 0; n < 8; n++) sum[n] = C[m][n];
        for (int k = 0; k < N; k++)
            for (int n = 0; n < 8; n++) sum[n] += (double)A[m][k] * B[k][n];
        for (int n = 0; n < 8; n++) {
            const float near = (float)sum[n];
            C[m][n] = fabs((double)near) > fabs(sum[n]) ? float_of(bits_of(near) - 1) : near;
        }
    }
}
// Between the lanes' accumulators and a matrix: registers (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
template <class Move> static void each_sum(const host::Fiber* lanes, size_t index, float (&C)[16][8], Move move) {
    for (int i = 0; i < 32; i++)
        for (int e = 0; e < 4; e++) move(((float*)lanes[i].operations[index].to)[e], C[i / 4 + e / 2 * 8][i % 4 * 2 + e % 2]);
}
#ifdef STORE_FLOATS
// Registers of A: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); of B: (t, g), (t + 4, g); g = lane / 4, t = lane % 4.
static void run_product(const host::Fiber* lanes, size_t index, bool fresh) {
    static float high[16][8];
    [[maybe_unused]] static float low[16][8];
    float right[8][8];
    [[maybe_unused]] float rest[8][8];
    for (int i = 0; i < 32; i++) {
        const host::Operation& o = lanes[i].operations[index];
        const float *a = (const float*)o.left, *b = (const float*)o.right;
        const int g = i / 4, t = i % 4;
        for (int r = 0; fresh && r < 4; r++) {
            high[g + r % 2 * 8][t + r / 2 * 4] = high_part(a[r]);
            low[g + r % 2 * 8][t + r / 2 * 4] = low_part(a[r]);
        }
        for (int r = 0; r < 2; r++) {
            right[t + r * 4][g] = high_part(b[r]);
            rest[t + r * 4][g] = low_part(b[r]);
        }
    }
    float C[16][8] = {};
#ifdef STORE_F32
    add_product<8>(C, low, right);
    add_product<8>(C, high, rest);
    add_product<8>(C, high, right);
    each_sum(lanes, index, C, [](float& c, float& sum) { c += sum; });
#else
    each_sum(lanes, index, C, [](float& c, float& sum) { sum = c; });
    add_product<8>(C, high, right);
    each_sum(lanes, index, C, [](float& c, float& sum) { c = sum; });
#endif
}
#else
// Registers of A: (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); of B: (2t, g), (2t + 8, g); each of two columns of A
// or rows of B, the lower half first.
static void run_product(const host::Fiber* lanes, size_t index, bool fresh) {
    static float left[16][16];
    float right[16][8];
    for (int i = 0; i < 32; i++) {
        const host::Operation& o = lanes[i].operations[index];
        const u32 *a = (const u32*)o.left, *b = (const u32*)o.right;
        const int g = i / 4, t = i % 4 * 2;
        for (int r = 0; fresh && r < 4; r++)
            for (int e = 0; e < 2; e++) left[g + r % 2 * 8][t + r / 2 * 8 + e] = widen((Value)(a[r] >> 16 * e));
        for (int r = 0; r < 2; r++)
            for (int e = 0; e < 2; e++) right[t + r * 8 + e][g] = widen((Value)(b[r] >> 16 * e));
    }
    float C[16][8];
    each_sum(lanes, index, C, [](float& c, float& sum) { sum = c; });
    add_product<16>(C, left, right);
    each_sum(lanes, index, C, [](float& c, float& sum) { c = sum; });
}
#endif

#ifdef STORE_FLOATS
DEVICE u32 halves_of(float first, float second) {
    const _Float16 halves[] = {(_Float16)first, (_Float16)second};
    u32 r;
    memcpy(&r, halves, 4);
    return r;
}
DEVICE float2 floats_of(u32 halves) {
    _Float16 h[2];
    memcpy(h, &halves, 4);
    return {(float)h[0], (float)h[1]};
}
// What a warpgroup has under way, its warps' parts one by one: a warp's 16 rows, and the same right operand for all.
template <int N> static void run_products(host::Fiber* lanes) {
    for (size_t o = 0; o < lanes[0].closed; o++) {
        float left[16][16];
        for (int i = 0; i < 32; i++)
            for (int r = 0; r < 4; r++) {
                const float2 pair = floats_of(((const u32*)lanes[i].behind[o].left)[r]);
                const int row = i / 4 + r % 2 * 8, column = i % 4 * 2 + r / 2 * 8;
                left[row][column] = pair.x, left[row][column + 1] = pair.y;
            }
        const bool keeps = lanes[0].behind[o].kind == host::ADDED;
        for (int j = 0; j < N; j++) {
            float right[16][8], C[16][8] = {};
            for (int n = 0; n < 8; n++)
                for (int k = 0; k < 16; k += 2) {
                    u32 halves;
                    memcpy(&halves, (const char*)lanes[0].behind[o].right + j * lanes[0].behind[o].step + k / 8 * 128 + n * 16 + k % 8 * 2, 4);
                    const float2 pair = floats_of(halves);
                    right[k][n] = pair.x, right[k + 1][n] = pair.y;
                }
            auto each = [&](auto move) {
                for (int i = 0; i < 32; i++)
                    for (int e = 0; e < 4; e++) move(((float*)lanes[i].behind[o].to)[4 * j + e], C[i / 4 + e / 2 * 8][i % 4 * 2 + e % 2]);
            };
            if (keeps) each([](float& c, float& sum) { sum = c; });
            add_product<16>(C, left, right);
            each([](float& c, float& sum) { c = sum; });
        }
    }
}
DEVICE void start_products() { host::block.fibers[host::block.now].started = true; }
// A wait is for groups that were closed, and what comes after it must be started.
DEVICE void close_products() {
    host::Fiber& f = host::block.fibers[host::block.now];
    f.closed = f.behind.size();
}
DEVICE void part(u32) {}
template <int N> static void wait_products(float (&)[N][4]) {
    host::settle_behind(run_products<N>);
    host::block.fibers[host::block.now].started = false;
}
template <int STEP, int N> static void add_products(float (&c)[N][4], const u32 (&a)[4], const void* b, bool keeps) {
    host::check_aligned(b);
    host::Fiber& f = host::block.fibers[host::block.now];
    if (!f.started) host::fail("products that were not started");
    f.behind.push_back({keeps ? host::ADDED : host::FRESH, c, a, b, STEP});
    if (!host::block.early_behind) return;
    f.closed = f.behind.size();
    host::settle_behind(run_products<N>);
}
#endif
