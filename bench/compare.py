"""Times the project beside PyTorch on this machine and writes RESULTS.md.

    pip install -r bench/requirements.txt
    cargo build --bin distill
    python bench/compare.py [--rounds 5] [--threads 2] [--only resnet8]

A round runs our program and PyTorch one after the other, PyTorch once in each memory layout; the ratio is formed round by
round against the faster layout, so that what else the machine does weighs on both sides alike. PyTorch runs with glibc told to
keep freed memory, without which it is a tenth to a third slower; our binaries tell glibc so themselves.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
TUNED = "glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456"

# Work, flags of both, what PyTorch does besides, and what the ratio should be at most: (must, aim).
ROWS = [
    ("ResNet-18 b32: attack iteration", ("resnet18", 32, "attack"), None, (0.5, 0.38)),
    ("ResNet-18 b128: attack iteration", ("resnet18", 128, "attack"), None, (0.45, 0.33)),
    ("ResNet-18 b32: train step", ("resnet18", 32, "train"), None, (0.65, 0.5)),
    ("ResNet-18 b128: train step", ("resnet18", 128, "train"), None, (0.55, 0.42)),
    ("ResNet-18 b32: RSLAD step, teacher WRN-34-10 online there, cached here", ("resnet18", 32, "step"), "wrn-34-10", (0.4, 0.32)),
    ("MobileNetV2 b32: RSLAD step, student's part", ("mobilenet-v2", 32, "step"), None, (0.45, 0.33)),
    ("ResNet-8 b128: RSLAD step, student's part", ("resnet8", 128, "step"), None, (0.6, 0.4)),
    ("WRN-34-10 b32: forward", ("wrn-34-10", 32, "forward"), None, (0.85, 0.6)),
]


def run(command, **environment):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment})
    return json.loads(out.stdout)


def spread(values):
    ordered = sorted(values)
    return f"{ordered[0]:.2f} to {ordered[-1]:.2f}"


def compare(row, args):
    name, (student, batch, mode), teacher, (must, aim) = row
    common = ["--student", student, "--batch", str(batch), "--mode", mode, "--threads", str(args.threads)]
    torch = [sys.executable, str(ROOT / "bench/torch_side.py"), *common, "--repetitions", str(args.repetitions)]
    torch += ["--teacher", teacher] if teacher else []
    ours_command = [str(args.distill), "bench", *common, "--repetitions", str(args.repetitions), "--json"]
    ours, theirs, ratios, memory = [], [], [], []
    for _ in range(args.rounds):
        mine = run(ours_command)
        layouts = [run([*torch, *flag], GLIBC_TUNABLES=TUNED) for flag in ([], ["--channels-last"])]
        best = min(layouts, key=lambda timing: timing["median_seconds"])
        ours.append(mine["median_seconds"])
        theirs.append(best["median_seconds"])
        ratios.append(ours[-1] / theirs[-1])
        memory.append(mine["peak_memory_mib"] / best["peak_memory_mib"])
        print(f"{name}: {ours[-1] * 1e3:.1f} ms, PyTorch {theirs[-1] * 1e3:.1f} ms, {ratios[-1]:.2f}", file=sys.stderr)
    return {
        "name": name,
        "ours": median(ours),
        "theirs": median(theirs),
        "ratio": median(ratios),
        "ratios": ratios,
        "memory": median(memory),
        "must": must,
        "aim": aim,
        "version": layouts[0]["version"],
        "engine": mine["engine"],
    }


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def table(results, args):
    head = results[0]
    lines = [
        "# Beside PyTorch",
        "",
        f"`{' '.join(['python', 'bench/compare.py', *sys.argv[1:]])}`",
        "",
        f"{processor()}, {args.threads} threads, engine {head['engine']}, PyTorch {head['version']} at the better of its two memory",
        f"layouts with a tuned allocator; medians of {args.rounds} interleaved rounds of {args.repetitions} repetitions, f32, 3x32x32. Times",
        "are those of this machine on that day; the ratio, formed round by round, is what to compare.",
        "",
        "| work | ours, ms | PyTorch, ms | ratio | its spread | must | aim | memory, ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        lines.append(
            f"| {r['name']} | {r['ours'] * 1e3:.1f} | {r['theirs'] * 1e3:.1f} | {r['ratio']:.2f} | {spread(r['ratios'])} "
            f"| {r['must']} | {r['aim']} | {r['memory']:.2f} |"
        )
    lines += ["", "Memory is the process's high-water mark, libraries included.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose network's name contains this; prints, writes nothing")
    parser.add_argument("--distill", type=Path, default=ROOT / "target/debug/distill")
    args = parser.parse_args()
    results = [compare(row, args) for row in ROWS if args.only in row[1][0]]
    text = table(results, args)
    if args.only:
        print(text)
    else:
        (ROOT / "bench/RESULTS.md").write_text(text)


if __name__ == "__main__":
    main()
