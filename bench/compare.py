"""Times the project beside PyTorch on this machine, and writes the table of RESULTS.md.

    pip install -r bench/requirements.txt
    cargo build --bin distill
    python bench/compare.py [--isa avx2] [--rounds 5] [--threads 2] [--only resnet8]

A round runs our program and PyTorch one after the other, PyTorch once in each memory layout; the ratio is formed round by
round against the faster layout, so that what else the machine does weighs on both sides alike. Rounds that disagree by more
than --spread give no ratio. PyTorch runs with glibc told to keep freed memory, without which it is a tenth to a third slower;
our binaries tell glibc so themselves. `--isa avx2` holds both sides to AVX2 on a machine that has more. What was measured is
kept beside RESULTS.md, an instruction set a file, and the table is made of both.
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
# What keeps PyTorch and its libraries from wider instructions.
NARROW = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
END = "\n## The same student"

# Work, flags of both, what PyTorch does besides, and what the ratio should be at most, (must, aim) by instruction set.
ROWS = [
    ("ResNet-18 b32: attack iteration", ("resnet18", 32, "attack"), None, {"avx2": (0.45, 0.38), "avx512": (0.38, 0.33)}),
    ("ResNet-18 b128: attack iteration", ("resnet18", 128, "attack"), None, {"avx2": (0.45, 0.38), "avx512": (0.38, 0.33)}),
    ("ResNet-18 b32: train step", ("resnet18", 32, "train"), None, {"avx2": (0.6, 0.5), "avx512": (0.5, 0.42)}),
    ("ResNet-18 b128: train step", ("resnet18", 128, "train"), None, {"avx2": (0.6, 0.5), "avx512": (0.5, 0.42)}),
    ("ResNet-18 b32: RSLAD step, teacher WRN-34-10 online there, cached here", ("resnet18", 32, "step"), "wrn-34-10", {"avx2": (0.32, 0.28), "avx512": (0.29, 0.26)}),
    ("MobileNetV2 b32: RSLAD step, student's part", ("mobilenet-v2", 32, "step"), None, {"avx2": (0.5, 0.4), "avx512": (0.35, 0.3)}),
    ("ResNet-8 b128: RSLAD step, student's part", ("resnet8", 128, "step"), None, {"avx2": (0.45, 0.37), "avx512": (0.37, 0.33)}),
    ("WRN-34-10 b32: forward", ("wrn-34-10", 32, "forward"), None, {"avx2": (0.65, 0.55), "avx512": (0.54, 0.5)}),
]


def run(command, **environment):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **environment})
    return json.loads(out.stdout)


def spread(values):
    ordered = sorted(values)
    return f"{ordered[0]:.2f} to {ordered[-1]:.2f}"


def apart(values):
    """How far the values lie apart, as a share of their median."""
    return (max(values) - min(values)) / median(values)


def instruction_set(args):
    """What our side will run with, asked before anything is measured; ends the program where RESULTS.md has no column for it."""
    command = [str(args.distill), "bench", "--student", "resnet8", "--batch", "1", "--plan", "--json"]
    try:
        isa = run(command + (["--isa", args.isa] if args.isa else []))["engine"].removeprefix("cpu-")
    except FileNotFoundError:
        sys.exit(f"error: there is no {args.distill}\nhint: cargo build --bin distill, or --distill FILE")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    known = ROWS[0][3]
    if isa not in known:
        sys.exit(f"error: this machine runs the engine with {isa}, and bounds are for {' and '.join(known)}\nhint: run it on a machine that has one of them")
    return isa


def compare(row, args):
    name, (student, batch, mode), teacher, _ = row
    common = ["--student", student, "--batch", str(batch), "--mode", mode, "--threads", str(args.threads)]
    torch = [sys.executable, str(ROOT / "bench/torch_side.py"), *common, "--repetitions", str(args.repetitions)]
    torch += ["--teacher", teacher] if teacher else []
    ours_command = [str(args.distill), "bench", *common, "--repetitions", str(args.repetitions), "--json"]
    ours_command += ["--isa", args.isa] if args.isa else []
    environment = {"GLIBC_TUNABLES": TUNED, **(NARROW if args.isa == "avx2" else {})}
    ours, theirs, ratios, memory = [], [], [], []
    for _ in range(args.rounds):
        mine = run(ours_command)
        layouts = [run([*torch, *flag], **environment) for flag in ([], ["--channels-last"])]
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
        "ratios": ratios,
        "memory": median(memory),
        "version": layouts[0]["version"],
        "isa": mine["engine"].removeprefix("cpu-"),
        "processor": processor(),
        "command": f"python bench/compare.py --isa {mine['engine'].removeprefix('cpu-')} --rounds {args.rounds}",
        "rounds": args.rounds,
        "repetitions": args.repetitions,
        "threads": args.threads,
        "settled": apart(ratios) <= args.spread,
    }


def processor():
    """Its name, and family and model, since virtual machines shorten names."""
    try:
        pairs = (line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines())
        said = {key.strip(): value.strip() for key, value in pairs}
        return f"{said['model name']} (family {said['cpu family']}, model {said['model']})"
    except (OSError, KeyError):
        return platform.processor()


def cells(result, bounds):
    if result is None:
        return "- | - | -"
    ratio = f"{median(result['ratios']):.2f}" if result["settled"] else "rounds disagree"
    return f"{ratio} ({spread(result['ratios'])}) | {bounds[0]}, {bounds[1]} | {result['memory']:.2f}"


def table(measured):
    """The table of all instruction sets; `measured` has a list of results for each."""
    lines = ["# Beside PyTorch", ""]
    for isa, results in measured.items():
        head = results[0]
        lines += [
            f"- **{isa}**: `{head['command']}`: {head['processor']}, {head['threads']} threads, PyTorch {head['version']} at the better of its two",
            f"  memory layouts with a tuned allocator; {head['rounds']} interleaved rounds of {head['repetitions']} repetitions, f32, 3x32x32.",
        ]
    lines += ["", "Ratio of times, ours by PyTorch's, formed round by round: median and range. Times belong to a machine and a day, ratios less so.", ""]
    heads = " | ".join(f"{isa}: ratio | must, aim | memory, ratio" for isa in measured)
    lines += [f"| work | {heads} |", "|---" * (1 + 3 * len(measured)) + "|"]
    for name, _, _, bounds in ROWS:
        found = [(next((r for r in results if r["name"] == name), None), bounds[isa]) for isa, results in measured.items()]
        lines.append(f"| {name} | " + " | ".join(cells(*one) for one in found) + " |")
    lines += ["", "Memory is the process's high-water mark, libraries included.", ""]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", choices=["avx2", "avx512"], help="hold both sides to it [default: what the machine has]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--spread", type=float, default=0.25, help="how far a row's ratios may lie apart, as a share of their median")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="rows whose network's name contains this; prints, writes nothing")
    parser.add_argument("--distill", type=Path, default=ROOT / "target/debug/distill")
    args = parser.parse_args()
    instruction_set(args)
    results = [compare(row, args) for row in ROWS if args.only in row[1][0]]
    isa = results[0]["isa"]
    if args.only:
        print(table({isa: results}))
    else:
        (ROOT / f"bench/results-{isa}.json").write_text(json.dumps(results, indent=1) + "\n")
        kept = {isa: json.loads(path.read_text()) for isa in ("avx2", "avx512") if (path := ROOT / f"bench/results-{isa}.json").exists()}
        page = ROOT / "bench/RESULTS.md"
        page.write_text(table(kept) + END + page.read_text().split(END, 1)[1])
    if not all(result["settled"] for result in results):
        sys.exit(f"rounds of a row lie more than {args.spread:.0%} apart: the machine was busy; run it again")


if __name__ == "__main__":
    main()
