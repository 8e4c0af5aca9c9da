#!/usr/bin/env python3
"""Answers the rows of `label plan` with any PyTorch network; `label import` makes the label set.

    pip install torch numpy pyarrow robustbench
    label plan --data cifar10:FOLDER --views plan:300@0 --out rows.parquet --images images.npy
    echo 'from robustbench.utils import load_model
    def teacher(): return load_model("Chen2021LTD_WRN34_20", dataset="cifar10", threat_model="Linf")' > mine.py
    python label_with_pytorch.py --rows rows.parquet --images images.npy --network mine:teacher --out logits.npy
    label import --rows rows.parquet --logits logits.npy --data cifar10:FOLDER --teacher-name Chen2021LTD_WRN34_20 --out labels

Every dataset that `label` reads goes this way: the pixels come from `label plan --images`, so no second decoder can differ.
--network is MODULE:FUNCTION; the function returns an nn.Module that takes (N, C, H, W) f32 in [0, 1], normalises inside, and
gives logits, not probabilities. Stopped at any moment, the same command goes on where it was: answers lie beside --out,
under a name made of everything that decides them, and are written to the disk every minute.
"""
import argparse, collections, concurrent.futures, contextlib, copy, fcntl, hashlib, importlib, json, os, signal, sys, time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16}
MINUTE = 60


class Mistake(Exception):
    """What a person can put right; said in a line."""


def read_plan(path):
    """The plan's header and its columns image, crop_y, crop_x, flip."""
    try:
        table, notes = pq.read_table(path), pq.read_metadata(path).metadata or {}
    except Exception as error:
        raise Mistake(f"--rows {path}: {first_line(error)}") from error
    if b"rslad-rows" not in notes:
        raise Mistake(f"--rows {path}: not a file of `label plan`")
    return json.loads(notes[b"rslad-rows"]), [table[name].to_numpy() for name in ("image", "crop_y", "crop_x", "flip")]


def read_images(path, plan):
    """(N, H, W, C) uint8, mapped from the disk, and the very images of the plan."""
    try:
        images = np.load(path, mmap_mode="r")
    except Exception as error:
        raise Mistake(f"--images {path}: {first_line(error)}; write it with `label plan ... --images {path}`") from error
    digest = hashlib.sha256()
    for start in range(0, len(images), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]))
    if images.dtype != np.uint8 or len(images) != plan["images"] or digest.hexdigest() != plan["pixels_sha256"]:
        raise Mistake(
            f"--images {path}: not the images of the plan (other pixels, number or order; JPEG decoders differ); "
            "write both files by one `label plan ... --out ROWS --images FILE`"
        )
    return images if images.ndim == 4 else images[..., None]


def cut(images, crop_y, crop_x, flip, pad):
    """Views (N, C, H, W) f32: u8 / 255, zero padding, crop, then mirror."""
    n, h, w, _ = images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    y, x = crop_y[:, None] + np.arange(h), crop_x[:, None] + np.arange(w)
    x = np.where(flip[:, None], x[:, ::-1], x)
    crops = padded[np.arange(n)[:, None, None], y[:, :, None], x[:, None, :]]
    return torch.from_numpy(crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))


def load_network(name):
    """The module that MODULE:FUNCTION gives, in evaluation mode."""
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise Mistake(f"--network {name}: wanted MODULE:FUNCTION, as mine:teacher for `def teacher()` in mine.py")
    sys.path.insert(0, os.getcwd())
    try:
        make = getattr(importlib.import_module(module), function)
        network = make()
    except Exception as error:
        raise Mistake(f"--network {name}: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(network, torch.nn.Module):
        raise Mistake(f"--network {name}: wanted a torch.nn.Module, found {type(network).__name__}")
    return network.eval()


def fingerprint(network):
    """SHA-256 of all names and values: other weights are another teacher."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        if torch.is_tensor(value):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def choose_devices(text):
    """The devices of `cuda:0,cuda:1`, `cuda` for all of them, or `cpu`."""
    names = text.split(",")
    if text in ("cuda", "all"):
        names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    try:
        devices = [torch.device(name) for name in names]
    except RuntimeError as error:
        raise Mistake(f"--device {text}: {first_line(error)}") from error
    for device in devices:
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            raise Mistake(f"--device {text}: PyTorch sees {torch.cuda.device_count()} CUDA devices; pass --device cpu, or another")
    if not devices:
        raise Mistake(f"--device {text}: PyTorch sees no CUDA device; pass --device cpu")
    return devices


class Answerer:
    """The network on one device; batches go through one after the other."""

    def __init__(self, network, device, precision):
        self.network, self.device, self.precision = network.to(device), device, precision
        self.pool = concurrent.futures.ThreadPoolExecutor(1)

    def ask(self, views):
        return self.pool.submit(self.answer, views)

    def answer(self, views):
        dtype = DTYPES.get(self.precision)
        mixed = torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext()
        with torch.inference_mode(), mixed:
            answers = self.network(views().to(self.device))
        if not torch.is_tensor(answers):
            raise Mistake(f"the network gives {type(answers).__name__}, wanted one tensor (N, classes) of logits")
        return answers.float().cpu().numpy()


def check(answers, rows, plan, first):
    """Refuses what cannot be logits of these rows; the first batch is looked at closely."""
    classes = plan.get("classes")
    if answers.ndim != 2 or len(answers) != rows or (classes and answers.shape[1] != classes):
        raise Mistake(f"the network gives {list(answers.shape)} for {rows} rows, wanted [{rows}, {classes or 'classes'}]")
    if not np.isfinite(answers).all():
        raise Mistake("the network gives values that are not finite; check its weights, its input's range, or --precision f32")
    sums = answers.sum(1)
    if first and answers.shape[1] > 1 and (answers >= 0).all() and np.allclose(sums, 1, atol=1e-2):
        raise Mistake("the network gives probabilities (each row sums to 1), wanted logits; leave out its softmax")


class Answers:
    """The answers so far: a .npy whose rows are appended, and which gets its name when all are there."""

    def __init__(self, out, rows, said):
        # Everything that decides the answers is in the name: other answers never go on in this file.
        key = hashlib.sha256(json.dumps([rows, said], sort_keys=True).encode()).hexdigest()[:16]
        self.out, self.rows, self.said, self.width = out, rows, said, None
        self.path = out.with_name(f".{out.name}.{key}.partial")
        self.file = self.take()
        self.synced, self.done = time.monotonic(), 0
        self.file.seek(0)
        with contextlib.suppress(ValueError):
            np.lib.format.read_magic(self.file)
            (_, self.width), _, _ = np.lib.format.read_array_header_1_0(self.file)
        if self.width:
            # A last row that was torn is asked again.
            self.start = self.file.tell()
            self.done = (self.path.stat().st_size - self.start) // (4 * self.width)
            self.file.truncate(self.start + 4 * self.width * self.done)
        else:
            self.file.truncate(0)

    def take(self):
        """The file, which no other process may write at the same time."""
        while True:
            try:
                file = open(self.path, "a+b")
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Mistake(f"--out {self.out}: another process is writing these answers") from error
            except OSError as error:
                raise Mistake(f"--out {self.out}: {error.strerror}") from error
            # One that was done between our opening and our lock has given the file its last name.
            if self.path.exists() and os.path.sameopenfile(file.fileno(), (probe := open(self.path)).fileno()):
                probe.close()
                return file

    def head(self, width):
        """NumPy's own head; what is said of the answers is a comment in it, which readers pass over."""
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self.rows}, {width}), }}  # rslad-answers {json.dumps(self.said)}"
        text += " " * (-(len(text) + 11) % 64) + "\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")

    def append(self, answers):
        if self.width is None:
            self.width = answers.shape[1]
            self.file.write(self.head(self.width))
        if answers.shape[1] != self.width:
            raise Mistake(f"the network gives {answers.shape[1]} classes, and gave {self.width} before")
        self.file.write(np.ascontiguousarray(answers, "<f4"))
        # A killed process loses what is being answered, a machine without power a minute.
        self.file.flush()
        self.done += len(answers)
        if time.monotonic() - self.synced > MINUTE:
            self.sync()

    def sync(self):
        self.file.flush()
        os.fsync(self.file.fileno())
        self.synced = time.monotonic()

    def keep(self):
        """What there is stays for the next time; nothing is no file."""
        self.sync()
        if self.done == 0:
            self.path.unlink()

    def publish(self):
        os.replace(self.path, self.out)


def tf32(wanted):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = wanted


def check_tf32(wanted):
    """What is recorded must be what ran."""
    if not (torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == wanted):
        raise Mistake("the network switches TF32 itself, so its precision cannot be recorded; leave that to --precision")


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def run(args):
    plan, (image, crop_y, crop_x, flip) = read_plan(args.rows)
    images = read_images(args.images, plan)
    devices = choose_devices(args.device)
    network = load_network(args.network)
    # On GPUs PyTorch rounds convolutions to TF32 unless it is told not to; the module may have told it otherwise.
    tf32(args.precision == "tf32")
    kinds = sorted({f"cuda ({torch.cuda.get_device_name(d)})" if d.type == "cuda" else d.type for d in devices})
    said = {
        "precision": args.precision,
        "device": f"{', '.join(kinds)}, PyTorch {torch.__version__}",
        "state_dict_sha256": fingerprint(network),
        "plan": plan,
    }
    total, began = len(image), time.monotonic()
    if args.out.exists():
        if json.dumps(said) in args.out.open("rb").read(1 << 16).decode("latin1"):
            print(f"{args.out}: already there, the same answers", file=sys.stderr)
            return
        raise Mistake(f"--out {args.out}: holds something else; choose another name, or move it away")
    answers = Answers(args.out, total, said)
    resumed, told = answers.done, began
    if resumed:
        print(f"resumed at row {resumed} of {total}", file=sys.stderr)
    answerers = [Answerer(copy.deepcopy(network) if number else network, d, args.precision) for number, d in enumerate(devices)]
    waiting, start = collections.deque(), resumed
    try:
        while waiting or start < total:
            # Two batches a device: one is computed while the next is cut.
            while start < total and len(waiting) < 2 * len(answerers):
                s = slice(start, min(start + args.batch, total))
                views = lambda s=s: cut(images[image[s]], crop_y[s], crop_x[s], flip[s], plan["pad"])
                waiting.append((s, answerers[start // args.batch % len(answerers)].ask(views)))
                start = s.stop
            s, asked = waiting.popleft()
            found = asked.result()
            check(found, s.stop - s.start, plan, s.start == resumed)
            check_tf32(args.precision == "tf32")
            answers.append(found)
            if time.monotonic() - told > 10 or answers.done == total:
                told = time.monotonic()
                rate = (answers.done - resumed) / (told - began)
                left = (total - answers.done) / rate / 60
                print(f"{answers.done} of {total} rows, {rate:.0f} rows/s, {left:.0f} min left", file=sys.stderr)
    except torch.OutOfMemoryError as error:
        raise Mistake(f"{first_line(error)}; pass a smaller --batch than {args.batch}") from error
    finally:
        answers.keep()
        for answerer in answerers:
            answerer.pool.shutdown(wait=False, cancel_futures=True)
    answers.publish()
    print(f"{args.out}: {total} rows; now `label import --rows {args.rows} --logits {args.out} ...`", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, required=True, help="the file of `label plan`")
    parser.add_argument("--images", type=Path, help="the images of `label plan --images`")
    parser.add_argument("--network", required=True, help="MODULE:FUNCTION that returns the network")
    parser.add_argument("--out", type=Path, required=True, help="the .npy to write, (rows, classes) f32")
    parser.add_argument("--batch", type=int, default=512, help="rows run together")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda (all of them), or like cuda:0,cuda:1")
    parser.add_argument("--precision", choices=["f32", "tf32", "bf16", "f16"], default="f32", help="of the forward pass; recorded in the label set")
    parser.add_argument("--trace", action="store_true", help="show where a mistake was found")
    parser.add_argument("--data", help=argparse.SUPPRESS)
    args = parser.parse_args()
    # Stopped by the system as by Ctrl-C, which a script's `&` lets a process ignore: what was answered is kept.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.images is None:
            raise Mistake(
                "--images is missing: pixels come from `label plan ... --out ROWS --images FILE.npy`, for JPEG decoders differ "
                "and other forms are not read here"
            )
        if args.batch < 1:
            raise Mistake(f"--batch {args.batch}: wanted at least 1")
        run(args)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr, flush=True)
        # What is answered is on the disk; a network that is busy is not waited for.
        os._exit(75)
    except Exception as error:
        if args.trace:
            raise
        known = isinstance(error, Mistake)
        print(error if known else f"{type(error).__name__}: {first_line(error)}; --trace shows where", file=sys.stderr)
        sys.exit(2 if known else 1)


if __name__ == "__main__":
    main()
