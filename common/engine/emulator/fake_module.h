// Modules of the emulated driver: PTX is read for what it says of itself, and each entry must be a kernel of the host
// build with an argument of the same size. What runs is the host build.
#pragma once
#include "host_cuda.h"
#include <map>
#include <string>

namespace fake {
struct Function {
    const host::Kernel* kernel;
    u32 most_threads = 1024;
    int most_shared = 48 << 10;
};
struct Module { std::map<std::string, Function> functions; };

inline const host::Kernel* kernel_named(const std::string& name) {
    for (const host::Kernel* k = host::kernels; k; k = k->next)
        if (name == k->name) return k;
    return nullptr;
}
// The number behind `key` in `text` from `at`, its dot left out: 8.0 is 80.
inline int number_behind(const std::string& text, const char* key, size_t at = 0) {
    at = text.find(key, at);
    int number = -1;
    for (size_t i = at == std::string::npos ? text.size() : at + strlen(key); i < text.size() && (isdigit(text[i]) || text[i] == '.'); i++)
        if (text[i] != '.') number = max(number, 0) * 10 + text[i] - '0';
    return number;
}
// Reads a module; `why` says what is wrong with it. 0, or the driver's error.
inline int read_module(Module& module, const std::string& ptx, int capability, int driver, std::string& why) {
    enum { INVALID_IMAGE = 200, NO_BINARY_FOR_GPU = 209, UNSUPPORTED_PTX_VERSION = 222 };
    const int version = number_behind(ptx, ".version "), target = number_behind(ptx, ".target sm_");
    if (version < 0 || target < 0) return why = "not PTX", INVALID_IMAGE;
    // PTX 8.0 came with CUDA 12.0, PTX 7.8 with 11.8.
    if (version > driver / 1000 * 10 - 40 + driver % 1000 / 10 && driver >= 12000) return why = "PTX newer than the driver", UNSUPPORTED_PTX_VERSION;
    if (driver < 12000 && version >= 80) return why = "PTX newer than the driver", UNSUPPORTED_PTX_VERSION;
    const bool own = ptx.find(".target sm_90a") != std::string::npos;  // of one generation alone
    if (target > capability || (own && capability != 90)) return why = "PTX for a later chip", NO_BINARY_FOR_GPU;
    for (size_t at = 0; (at = ptx.find(".entry ", at)) != std::string::npos;) {
        at += 7;
        const size_t open = ptx.find('(', at), close = ptx.find(')', open), body = ptx.find('{', close);
        const std::string name = ptx.substr(at, open - at), parameters = ptx.substr(open, close - open);
        const host::Kernel* kernel = kernel_named(name);
        if (!kernel) return why = "no kernel " + name + " in the host build", INVALID_IMAGE;
        const size_t bracket = parameters.find('[');
        if (bracket == std::string::npos || parameters.find(".param", parameters.find(".param") + 1) != std::string::npos)
            return why = name + " does not take one structure", INVALID_IMAGE;
        if (std::stoul(parameters.substr(bracket + 1)) != kernel->bytes)
            return why = name + ": its argument is of another size in the host build; the PTX is stale", INVALID_IMAGE;
        Function function{kernel};
        const std::string head = ptx.substr(close, body - close);
        if (const int limit = number_behind(head, ".maxntid "); limit > 0) function.most_threads = limit;
        module.functions[name] = function;
    }
    return 0;
}
}
