"""Makes the golden values of this folder: what PyTorch computes in f64.

    pip install -r tests/golden/requirements.txt
    python tests/golden/make_golden.py [rng|networks|ops|losses|trajectories|live|snord|dpk|check|check-live|check-snord|check-dpk]...

`live:NAME` and `trajectories:NAME` make one method's values and leave the others', `check-live:NAME` and `check:NAME` check it.

Without a name, everything but the checks is made. A check reruns the trajectories with weights nudged by 1e-15 relative
before every step: it shows how far rounding alone carries them, and that no sign of an attack's gradient hangs on it.
The schema of every file is in README.md beside this script. CPU, one thread, no use of PyTorch's random numbers.
"""
import sys
import time

import torch

import golden_dpk
import golden_live
import golden_losses
import golden_networks
import golden_ops
import golden_rng
import golden_snord
import golden_trajectories
import philox

PARTS = {
    "rng": golden_rng.write,
    "networks": golden_networks.write,
    "ops": golden_ops.write,
    "losses": golden_losses.write,
    "trajectories": golden_trajectories.write,
    "live": golden_live.write,
    "snord": golden_snord.write,
    "dpk": golden_dpk.write,
    "check": golden_trajectories.check,
    "check-live": golden_live.check,
    "check-snord": golden_snord.check,
    "check-dpk": golden_dpk.check,
}

# Of the parts whose methods can be made one by one.
PLAIN, LIVE = {method for method, _ in golden_trajectories.RATES}, set(golden_live.METHODS)
METHODS = {"trajectories": PLAIN, "check": PLAIN, "live": LIVE, "check-live": LIVE}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    philox.check_published()
    names = sys.argv[1:] or [name for name in PARTS if not name.startswith("check")]
    for name in names:
        part, _, only = name.partition(":")
        if part not in PARTS:
            raise SystemExit(f"make_golden: no part {part}\nhint: one of {', '.join(PARTS)}")
        if only and only not in METHODS.get(part, ()):
            known = ", ".join(sorted(METHODS.get(part, ()))) or "it is made as a whole"
            raise SystemExit(f"make_golden: part {part} has no method {only}\nhint: {known}")
    for name in names:
        part, _, only = name.partition(":")
        began = time.perf_counter()
        PARTS[part](only) if only else PARTS[part]()
        print(f"{name}: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
