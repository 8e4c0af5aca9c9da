// The emulated device's memory: allocations that start as NaN and end at a page nobody may touch.
#pragma once
#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <sys/mman.h>

namespace fake {
const size_t PAGE = 4096;

struct Region { size_t bytes, mapped; char* base; };

class Memory {
public:
    // Device memory, or null where fewer than `bytes` of `most` are left.
    void* take(size_t bytes, size_t most) {
        if (!bytes || bytes > most || used_ > most - bytes) return nullptr;
        const size_t body = (bytes + PAGE - 1) / PAGE * PAGE;
        char* base = (char*)mmap(nullptr, body + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED) return nullptr;
        mprotect(base + body, PAGE, PROT_NONE);
        memset(base, 0xff, body);
        // As near to the guard as the alignment of a chunk of floats allows.
        char* start = base + body - (bytes + 31) / 32 * 32;
        regions_[start] = {bytes, body + PAGE, base};
        used_ += bytes;
        most_used_ = std::max(most_used_, used_);
        return start;
    }
    bool give(void* p) {
        const auto it = regions_.find((char*)p);
        if (it == regions_.end()) return false;
        used_ -= it->second.bytes;
        munmap(it->second.base, it->second.mapped);
        regions_.erase(it);
        return true;
    }
    // Why `bytes` from `p` are not the device's, or nothing.
    const char* refuse(const void* p, size_t bytes) const {
        auto it = regions_.upper_bound((char*)p);
        if (it == regions_.begin()) return "not a device pointer";
        --it;
        return (char*)p + bytes > it->first + it->second.bytes ? "beyond the end of an allocation" : nullptr;
    }
    size_t used() const { return used_; }
    size_t most_used() const { return most_used_; }
    size_t count() const { return regions_.size(); }

private:
    std::map<char*, Region> regions_;
    size_t used_ = 0, most_used_ = 0;
};
}
