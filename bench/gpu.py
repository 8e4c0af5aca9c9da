"""Times the GPU engine beside PyTorch on this machine's NVIDIA card and writes GPU.md.

    cargo build --bin distill
    python bench/gpu.py [--only resnet18] [--distill PATH]

PyTorch runs as the authors' code does (`official`: f32 tensors in NCHW, TF32 convolutions, eager, the teacher online) and at
its best (bf16 autocast, channels last, compiled, cuDNN's benchmark on, labels given). Ours runs before and after each of
them; the ratio takes the mean of the two, the spread both.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TEACHER = "wrn-34-10"

# What is timed, student, mode, flags of ours, PyTorch's two settings; aims for the ratios to each.
OFFICIAL = ["--precision", "tf32"]
BEST = ["--precision", "bf16", "--channels-last", "--compile"]
ROWS = [
    ("ResNet-18: RSLAD step with cached labels", "resnet18", "step", [], [*OFFICIAL, "--teacher", TEACHER], BEST, (0.33, 0.6)),
    ("MobileNetV2: RSLAD step with cached labels", "mobilenet-v2", "step", [], [*OFFICIAL, "--teacher", TEACHER], BEST, (0.25, 0.4)),
    ("WRN-34-10: labels in f32, beside TF32", "wrn-34-10", "forward", [], OFFICIAL, None, (1.0, None)),
    ("WRN-34-10: labels in TF32, beside TF32", "wrn-34-10", "forward", ["--precision", "tf32"], OFFICIAL, None, (1.0, None)),
]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return json.loads(done.stdout)


def ratio_text(ours, theirs, aim):
    if theirs is None:
        return "-", "-"
    ratio = sum(ours) / len(ours) / theirs["median_seconds"]
    low, high = min(ours) / theirs["most_seconds"], max(ours) / theirs["least_seconds"]
    wanted = "" if aim is None else f", aim {aim}"
    return f"{theirs['median_seconds'] * 1e3:.1f}", f"{ratio:.2f} ({low:.2f} to {high:.2f}{wanted})"


def compare(row, args):
    name, student, mode, flags, official, best, aims = row
    common = ["--student", student, "--batch", str(args.batch), "--mode", mode]
    mine = [str(args.distill), "bench", *common, "--repetitions", "15", "--device", "cuda", "--json", *flags]
    peer = [sys.executable, str(ROOT / "bench/torch_side.py"), *common, "--threads", "8", "--device", "cuda", "--repetitions", "9"]
    ours, cells, version = [], [], "-"
    first = run(mine)
    if first is None:
        sys.exit(f"{' '.join(mine)} failed")
    ours.append(first["median_seconds"])
    for setting, aim in zip((official, best), aims):
        theirs = run([*peer, *setting]) if setting else None
        if setting:
            again = run(mine)
            if again is None:
                sys.exit(f"{' '.join(mine)} failed")
            ours.append(again["median_seconds"])
            version = theirs["version"] if theirs else version
        cells += ratio_text(ours, theirs, aim)
    print(f"{name}: {[round(one * 1e3, 2) for one in ours]} ms, {cells}", file=sys.stderr, flush=True)
    line = f"| {name} | {sum(ours) / len(ours) * 1e3:.2f} | {' | '.join(cells)} |"
    return line, first["engine"], version


def card():
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return subprocess.run(query, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose network's name contains this; prints, writes nothing")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--distill", type=Path, default=ROOT / "target/debug/distill")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/GPU.md")
    args = parser.parse_args()
    wanted = [row for row in ROWS if args.only in row[1]]
    if not wanted:
        parser.error(f"no row's network has `{args.only}` in its name")
    if not args.distill.exists():
        parser.error(f"no {args.distill}: cargo build --bin distill")
    try:
        import torch

        if not torch.cuda.is_available():
            parser.error("PyTorch sees no GPU")
        machine = card()
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        parser.error(f"PyTorch and an NVIDIA card are wanted: {error}")
    rows = [compare(row, args) for row in wanted]
    lines = [
        "# On a GPU, beside PyTorch",
        "",
        f"{machine}; `{' '.join(['python', 'bench/gpu.py', *sys.argv[1:]])}`; PyTorch {rows[0][2]}, batch {args.batch}, 3x32x32, 10",
        "attack steps. Times are those of this card on that day; the ratio is what to compare, with the spread of the slowest and",
        "fastest repetitions.",
        "",
        "| work | ours, ms | PyTorch as the authors' code, ms | ratio | PyTorch at its best, ms | ratio |",
        "|---|---|---|---|---|---|",
        *(line for line, _, _ in rows),
        "",
    ]
    text = "\n".join(lines)
    print(text)
    if not args.only:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
