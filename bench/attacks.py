"""Times the standard AutoAttack of `distill eval` beside the authors' code in PyTorch, by turns.

    pip install torch pyautoattack==0.2.0 safetensors pyarrow pillow
    cargo build --bin distill
    python bench/attacks.py --weights small_cnn_mnist.pt --arch small-cnn --data mnist:FOLDER --eps 0.3 --limit 100

A round runs our program, then the peer once with each batch size; the ratio is formed round by round against the peer's
fastest. Wall-clock seconds are of the attacks alone on both sides (starting Python and reading files are left out there);
processor seconds beside them do not depend on what else the machine does. PyTorch runs with glibc told to keep freed
memory, as in compare.py.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from compare import ROOT, TUNED, processor, spread


def run(command, **environment):
    """Processor seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ours(args, file):
    command = [args.distill, "eval", "--student", args.weights, "--arch", args.arch, "--data", args.data, "--eps", args.eps]
    command += ["--limit", str(args.limit), "--attack", "autoattack", "--threads", str(args.threads), "--progress", "none", "-q"]
    used = run([*map(str, command), "--json", file])
    report = json.loads(Path(file).read_text())
    [suite] = [outcome for outcome in report["outcomes"] if outcome["suite"] == "autoattack"]
    seconds = dict(zip(suite["attacks"], (work["seconds"] for work in suite["work"])))
    return {"wall": sum(seconds.values()), "cpu": used, "seconds": seconds, "left": report["right"]["autoattack"]}


def theirs(args, batch, file):
    command = [sys.executable, ROOT / "tools/compare_attacks.py", "run", "--weights", args.weights, "--arch", args.arch]
    command += ["--data", args.data, "--eps", args.eps, "--limit", args.limit, "--threads", args.threads, "--batch", batch]
    run([*map(str, command), "--json", file], GLIBC_TUNABLES=TUNED)
    report = json.loads(Path(file).read_text())
    [done] = report["runs"]
    seconds = {name: time["wall_seconds"] for name, time in done["times"].items()}
    used = sum(time["cpu_seconds"] for time in done["times"].values())
    left = sum(outcome == -2 for outcome in done["outcomes"])
    return {"wall": sum(seconds.values()), "cpu": used, "seconds": seconds, "left": left, "batch": batch, "what": report}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--arch", required=True)
    parser.add_argument("--data", required=True, help="mnist:FOLDER or cifar10:FOLDER")
    parser.add_argument("--eps", required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[50, 100, 250, 500, 1000], help="those above --limit are one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--distill", type=Path, default=ROOT / "target/debug/distill")
    args = parser.parse_args()
    batches = sorted({min(batch, args.limit) for batch in args.batches})
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            mine = ours(args, f"{folder}/ours.json")
            peers = [theirs(args, batch, f"{folder}/peer.json") for batch in batches]
            best = min(peers, key=lambda peer: peer["wall"])
            rounds.append((mine, best, min(peers, key=lambda peer: peer["cpu"])))
            print(f"ours {mine['wall']:.1f} s, {mine['cpu']:.1f} of processors, {mine['left']} left; peer " + ", ".join(
                f"b{peer['batch']} {peer['wall']:.1f} s, {peer['cpu']:.1f}, {peer['left']} left" for peer in peers), file=sys.stderr)
    walls = [mine["wall"] / best["wall"] for mine, best, _ in rounds]
    works = [mine["cpu"] / least["cpu"] for mine, _, least in rounds]
    mine, best, _ = rounds[-1]
    print(f"{processor()}, {args.threads} threads, {best['what']['peer']} on torch {best['what']['torch']}, {args.arch}, {args.limit} images, eps {args.eps}")
    print(f"wall, ours by theirs: {median(walls):.2f} ({spread(walls)}); processor seconds: {median(works):.2f} ({spread(works)})")
    for name, seconds in best["seconds"].items():
        print(f"  {name:<8} {mine['seconds'][name]:7.1f} s, peer {seconds:7.1f} s at batch {best['batch']}")


if __name__ == "__main__":
    main()
