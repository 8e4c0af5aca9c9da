#!/usr/bin/env python3
"""Lays `distill eval`'s attacks beside other people's: same weights, same images, image by image.

    pip install torch pyautoattack==0.2.0 torchattacks safetensors pyarrow pillow
    python tools/compare_attacks.py run --weights small_cnn_mnist.pt --arch small-cnn --data mnist:FOLDER --limit 100 \\
        --eps 0.3 --seeds 0 1 2 3 4 --json peer.json
    distill eval --student small_cnn_mnist.pt --data mnist:FOLDER --limit 100 --eps 0.3 --attack autoattack --seed 0 --json 0.json
    python tools/compare_attacks.py table --ours 0.json 1.json 2.json 3.json 4.json --peer peer.json

`run` attacks the network as a PyTorch module (python/rslad/zoo/networks.py) with the standard suite, or with one attack, of
PyPI's `pyautoattack` (the authors' code, packaged) or `torchattacks`, and writes which attack broke each image: `outcomes`,
one number an image in the order of the file: k broken by the k-th attack (from 0), -1 wrong without any, -2 still right:
the form of `fates` in `distill eval --json`. What a peer hands back counts only if it lies in the ball and in [0, 1]
and is classified wrong in a forward of its own. `table` writes Markdown: the images left after each attack, and how often
one side holds what the other breaks.
"""
import argparse
import gzip
import io
import json
import resource
import sys
import time
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/golden"))

from networks import build

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
ALONE = ("apgd-ce", "apgd-dlr", "apgd-t", "fab-t", "square")
NORMS = {"linf": "Linf", "l2": "L2"}
WRONG, STANDING = -1, -2
CLASSES = 10  # of all three data sets


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="attack with a peer's code, write who broke which image")
    run.add_argument("--peer", choices=sorted(PEERS), default="pyautoattack")
    run.add_argument("--attack", choices=("autoattack", *ALONE), default="autoattack", help="the suite, or one alone")
    run.add_argument("--weights", required=True, help="safetensors, or a checkpoint of PyTorch")
    run.add_argument("--arch", required=True, help="name in python/rslad/zoo/networks.py, which is the project's own")
    run.add_argument("--data", required=True, metavar="FORM:FOLDER", help="mnist:FOLDER, cifar10:FOLDER or sample; the test split")
    run.add_argument("--limit", type=int, default=100)
    run.add_argument("--eps", required=True, help="as in 8/255")
    run.add_argument("--norm", choices=sorted(NORMS), default="linf")
    run.add_argument("--seeds", type=int, nargs="+", default=[0])
    run.add_argument("--batch", type=int, default=500)
    run.add_argument("--threads", type=int, default=2)
    run.add_argument("--device", default="cpu")
    run.add_argument("--json", required=True, metavar="FILE", help="written anew after each seed")
    table = verbs.add_parser("table", help="Markdown from files of `distill eval --json` and of `run`")
    table.add_argument("--ours", required=True, nargs="+", metavar="FILE", help="one a seed")
    table.add_argument("--peer", required=True, nargs="+", metavar="FILE", help="any number of seeds in each")
    args = parser.parse_args()
    if args.verb == "run":
        attack_all(args)
    else:
        print(markdown([read_ours(path) for path in args.ours], read_peers(args.peer)))


def pyautoattack(net, name, args, seed):
    """The attack with the suite's settings. (0.2.0 is fra31/auto-attack after a392200 with logging in place of printing.)"""
    from pyautoattack import AutoAttack

    attack = AutoAttack(net, eps=args.radius, norm=NORMS[args.norm], seed=seed, version="standard", device=args.device)
    attack.attacks_to_run = [name]
    return lambda images, labels: attack.run_standard_evaluation(images, labels, batch_size=args.batch)[0]


def torchattacks(net, name, args, seed):
    """Its attack with the settings of the authors' suite; those of its own `AutoAttack` differ (10 steps, not 100)."""
    import torchattacks as peer

    common = {"eps": args.radius, "norm": NORMS[args.norm], "seed": seed}
    attack = {
        "apgd-ce": lambda: peer.APGD(net, loss="ce", steps=100, **common),
        "apgd-dlr": lambda: peer.APGD(net, loss="dlr", steps=100, **common),
        "apgd-t": lambda: peer.APGDT(net, steps=100, n_classes=CLASSES, **common),
        "fab-t": lambda: peer.FAB(net, steps=100, multi_targeted=True, n_classes=CLASSES, **common),
        "square": lambda: peer.Square(net, n_queries=5000, resc_schedule=False, **common),
    }[name]()
    parts = lambda images, labels: zip(images.split(args.batch), labels.split(args.batch))
    return lambda images, labels: torch.cat([attack(x, y).detach() for x, y in parts(images, labels)])


PEERS = {"pyautoattack": pyautoattack, "torchattacks": torchattacks}


def attack_all(args):
    args.radius = float(Fraction(args.eps))
    torch.set_num_threads(args.threads)
    torch.backends.cudnn.allow_tf32 = False  # the network as it is judged elsewhere, not one with 10 bits of fraction
    images, labels = (part.to(args.device) for part in read_images(args.data, args.limit))
    net = build(args.arch, images.shape[1], images.shape[2], CLASSES).float()
    net.load_state_dict(read_weights(args.weights))
    net = net.eval().requires_grad_(False).to(args.device)
    names = STANDARD if args.attack == "autoattack" else (args.attack,)
    report = {
        "peer": f"{args.peer} {version(args.peer)}",
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
        **{key: getattr(args, key) for key in ("arch", "data", "limit", "eps", "norm", "batch", "threads")},
        "attack": args.attack,
        "attacks": names,
        "runs": [],
    }
    for seed in args.seeds:
        report["runs"].append(attack_once(net, images, labels, names, args, seed))
        Path(args.json).write_text(json.dumps(report))
        left = [left_after(report["runs"][-1]["outcomes"], at) for at in range(-1, len(names))]
        print(f"seed {seed}: {' '.join(map(str, left))} of {len(labels)} left", file=sys.stderr, flush=True)


def attack_once(net, images, labels, names, args, seed):
    """Each attack on the images that are still classified right, as the authors' suite runs them."""
    outcomes = np.where(right(net, images, labels, args.batch), STANDING, WRONG)
    times = {}
    for number, name in enumerate(names):
        standing = torch.from_numpy(np.flatnonzero(outcomes == STANDING)).to(labels.device)
        if not len(standing):
            break
        began, worked = time.perf_counter(), processor_seconds()
        clean, classes_of = images[standing], labels[standing]
        found = PEERS[args.peer](net, name, args, seed)(clean, classes_of)
        times[name] = {"wall_seconds": time.perf_counter() - began, "cpu_seconds": processor_seconds() - worked}
        broken = ~right(net, found, classes_of, args.batch) & allowed(found, clean, args)
        outcomes[standing.cpu().numpy()[broken]] = number
    return {"seed": seed, "outcomes": outcomes.tolist(), "times": times}


def right(net, images, labels, batch):
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in images.split(batch)])
    return (found == labels).cpu().numpy()


def allowed(found, clean, args):
    """In the ball and in [0, 1], but for what f32 rounds."""
    apart = (found - clean).flatten(1).double()
    apart = apart.abs().amax(1) if args.norm == "linf" else apart.norm(dim=1)
    inside = (found.flatten(1).amin(1) >= 0) & (found.flatten(1).amax(1) <= 1)
    return (inside & (apart <= args.radius * (1 + 1e-5) + 1e-7)).cpu().numpy()


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def read_weights(path):
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)


def read_images(data, limit):
    """The first images of the test split, (N, C, H, W) f32 in [0, 1], and their classes."""
    form, _, folder = data.partition(":")
    if form == "mnist":
        read = lambda name, skip: np.frombuffer(gzip.decompress((Path(folder) / name).read_bytes()), np.uint8, offset=skip)
        pixels = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:limit]
        labels = read("t10k-labels-idx1-ubyte.gz", 8)[:limit]
    elif form in ("sample", "cifar10"):
        import pyarrow.parquet
        from PIL import Image

        file = ROOT / "data/samples/test.parquet" if form == "sample" else next(Path(folder).glob("test*.parquet"))
        rows = pyarrow.parquet.read_table(file).slice(0, limit)
        images = rows["img" if "img" in rows.column_names else "image"].to_pylist()
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in images])
        labels = np.array(rows["label"])
    else:
        sys.exit(f"--data {data}: wanted mnist:FOLDER (idx.gz), cifar10:FOLDER (Hugging Face Parquet), or sample")
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.transpose(0, 3, 1, 2)
    pixels = np.ascontiguousarray(pixels, np.float32) / np.float32(255)
    return torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))


def left_after(outcomes, number):
    """Images that attacks 0 to `number` left; all that were right at the start for -1."""
    return sum(outcome == STANDING or outcome > number for outcome in outcomes)


def read_ours(path):
    """A run of `distill eval --json`, in the shape of a peer's."""
    report = json.loads(Path(path).read_text())
    suites = [outcome for outcome in report["outcomes"] if outcome["suite"] != "clean"]
    if len(suites) != 1:
        sys.exit(f"{path}: holds {[suite['suite'] for suite in suites]}, wanted one attack or suite")
    # -3 is an image at which every gradient had vanished: it stands.
    run = {"seed": report["seed"], "outcomes": [max(fate, STANDING) for fate in suites[0]["fates"]]}
    return {"what": f"distill {report['version']}", "attacks": suites[0]["attacks"], "eps": report["eps"], "runs": [run]}


def read_peers(paths):
    reports = [json.loads(Path(path).read_text()) for path in paths]
    first = {**reports[0], "what": reports[0]["peer"]}
    return {**first, "runs": [run for report in reports for run in report["runs"]]}


def markdown(ours, peer):
    """What each side left, and what one holds that the other breaks."""
    mine = {**ours[0], "runs": [run for report in ours for run in report["runs"]]}
    for report in (*ours, peer):
        if Fraction(report["eps"]) != Fraction(peer["eps"]) or list(report["attacks"]) != list(peer["attacks"]):
            sys.exit(f"{report['what']} ran {report['attacks']} at {report['eps']}, {peer['what']} {peer['attacks']} at {peer['eps']}")
    # Where one side went on to more images, the first ones are compared.
    images = min(len(run["outcomes"]) for side in (mine, peer) for run in side["runs"])
    for run in (*mine["runs"], *peer["runs"]):
        run["outcomes"] = run["outcomes"][:images]
    here, there = (np.array([run["outcomes"] for run in side["runs"]]) for side in (mine, peer))
    if not (np.unique(np.concatenate([here == WRONG, there == WRONG]), axis=0).shape[0] == 1):
        sys.exit("the sides disagree without an attack: not the same images, or not the same network")
    lines = [f"| left of {images} after | {mine['what']} | {peer['what']} |", "|---|---|---|"]
    for number, name in enumerate(("clean", *peer["attacks"]), -1):
        left = [" ".join(str(left_after(run["outcomes"], number)) for run in side["runs"]) for side in (mine, peer)]
        lines.append(f"| {name} | {left[0]} | {left[1]} |")
    # Every seed of one side beside every seed of the other: seeds are no pairs.
    held, broken = here == STANDING, there == STANDING
    cases = len(here) * len(there) * images
    for text, holds, breaks in (("here held, there broken", held, ~broken), ("there held, here broken", broken, ~held)):
        pairs = sum(int((mine & other).sum()) for mine in holds for other in breaks)
        always = np.flatnonzero(holds.all(0) & breaks.all(0)).tolist()
        lines.append(f"\n{text}: {pairs} of {cases} cases ({100 * pairs / cases:.2f} %), with all seeds alike: {always or 'none'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
