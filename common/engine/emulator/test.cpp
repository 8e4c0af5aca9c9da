// Every kernel of one storage against plain sums in f64, over shapes that do not fit its tiles, in every order of threads
// and both timings of copies. Prints a line per kernel: the worst relative rms and what was allowed.
//
//   test [NAME] [--quick] [--first] [--driver PTX [--driver PTX]]
//
// Kernels whose names contain NAME; fewer shapes; to the first error; not on the emulator but through libcuda.so.1, of a
// GPU or the emulated one, from a module that make-ptx made for this storage, and the one of sm_90a where the chip has
// compute capability 9.0. Exit 1 where one is wrong.
#include "test/attack.h"
#include "test/direct.h"
#include "test/each.h"
#include "test/layout.h"
#include "test/norm.h"

int main(int count, char** arguments) {
    for (int i = 1; i < count; i++)
        if (std::string(arguments[i]) == "--quick") quick = true;
        else if (std::string(arguments[i]) == "--first") first_only = true;
        else if (std::string(arguments[i]) == "--driver" && i + 1 < count) driver.load(arguments[++i]);
        else only = arguments[i];
    test_conv();
    test_direct();
    test_each();
    test_norms();
    test_layout();
    test_attack();
    // A kernel that no test ran is not right.
    for (const host::Kernel* k = host::kernels; k; k = k->next) {
        const std::string suffixed = k->name, kernel = suffixed.substr(0, suffixed.size() - name_of("").size());
        const bool split = kernel.find("split") != std::string::npos;
        if (only.empty() && !verdicts.count(kernel) && (!split || driver.has_warpgroups())) broken(kernel, "not tested");
    }
    bool right = true;
    for (const auto& [kernel, verdict] : verdicts) {
        printf("%-24s %.1e of %.1e  %s\n", kernel.c_str(), verdict.worst, verdict.bound, verdict.broken.empty() ? "right" : verdict.broken.c_str());
        right &= verdict.broken.empty();
    }
    return right ? 0 : 1;
}
