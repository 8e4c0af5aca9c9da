// A random finish, and what it must make of values.
#pragma once
#include "check.h"

struct Finishing {
    Map residual, old;
    Device<u8> bits, gate;
    bool adds, accumulates, keeps, gated;
    int activation;
    // For a map like `like`; `kind` chooses which parts there are, 0 for none.
    Finishing(const Map& like, int kind)
        : residual(like.n, like.h, like.w, like.channels, like.pixel), old(like.n, like.h, like.w, like.channels, like.pixel),
          bits(like.data.size / CHUNK), gate(like.data.size / CHUNK), adds(kind & 1), accumulates(kind & 2), keeps(kind & 4), gated(kind & 8), activation(kind & 4 ? 1 + kind / 16 % 2 : 0) {
        residual.random();
        old.random();
        gate.fill([](size_t) { return (u8)below(256); });
    }
    // The argument, with the destination made ready.
    Finish of(Map& to) {
        if (accumulates) memcpy(to.data.p, old.data.p, to.data.size * sizeof(Value));
        return {adds ? residual.data.p : nullptr, keeps ? bits.p : nullptr, gated ? gate.p : nullptr, accumulates, activation};
    }
    // What becomes of a value at `i` of the map.
    double wanted(double v, size_t i) const {
        if (adds) v += widen(residual.data.p[i]);
        if (accumulates) v += widen(old.data.p[i]);
        if (activation) v = v > 0 ? v : 0;
        if (activation == 2) v = v < 6 ? v : 6;
        return !gated || gate.p[i / CHUNK] >> i % CHUNK & 1 ? v : 0;
    }
    // Values in (image, row, column, channel) order, real channels only, finished.
    std::vector<double> wanted(const std::vector<double>& v, const Map& like) const {
        std::vector<double> finished;
        for (size_t i = 0; i < v.size(); i++) finished.push_back(wanted(v[i], i / like.channels * like.pixel + i % like.channels));
        return finished;
    }
    // Whether the bits say where the slope is 1, of values that are not too near an edge to tell.
    bool right_bits(const std::vector<double>& v, const Map& like, double bound) const {
        double squares = 0;
        for (double one : v) squares += one * one;
        // What a sum may be off before it is stored.
        const double edge = 1e-6 + 8 * min(bound, SUMMED) * sqrt(squares / max<size_t>(v.size(), 1));
        for (size_t i = 0; keeps && i < v.size(); i++) {
            const size_t at = i / like.channels * like.pixel + i % like.channels;
            double raw = v[i];
            if (adds) raw += widen(residual.data.p[at]);
            if (accumulates) raw += widen(old.data.p[at]);
            if (fabs(raw) < edge || (activation == 2 && fabs(raw - 6) < edge)) continue;
            const bool open = raw > 0 && (activation == 1 || raw < 6);
            if ((bits.p[at / CHUNK] >> at % CHUNK & 1) != open) return false;
        }
        return true;
    }
    // Holds a result against values before the finish.
    void judge(const std::string& kernel, const Map& found, const std::vector<double>& v, double bound, const std::string& where) const {
        agree(kernel, found.values(), wanted(v, found), bound, where);
        check(right_bits(v, found, bound), kernel, where + ": a bit is wrong");
        check(found.padding_is_zero(), kernel, where + ": padding is not zero");
    }
};
