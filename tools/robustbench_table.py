#!/usr/bin/env python3
"""Lays this program beside every CIFAR-10 Linf class of RobustBench, and writes docs/robustbench.md.

    pip install torch robustbench safetensors
    python tools/robustbench_table.py --label target/debug/label --distill target/debug/distill [--write docs/robustbench.md]

Each class gets random values, BatchNorm's statistics included, and its state dict goes to `label run`, whose logits must
be PyTorch's to 1e-4 of the largest. One step of `distill train` from the same weights gives a student that must load into
the class with `strict=True` and give equal logits there; students see pixels as they are, so a class that normalises gets
images from which its own constants lead back to those pixels. A class that is not known must be refused. Depth and width of
wide classes are cut down to what a desk computes (`--full` leaves them); the name in the table is that of the real one.
Exits non-zero where a class is answered wrongly.
"""
import argparse
import contextlib
import glob
import importlib.metadata
import inspect
import os
import subprocess
import sys
import tempfile

import numpy as np
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from robustbench.model_zoo import cifar10
from robustbench.model_zoo.architectures import (
    Meansparse_ra_wrn_70_16, Meansparse_wrn_94_16, dm_wide_resnet, paf_wide_resnet, resnet, robust_resnet,
    robust_wide_resnet, robustarch_wide_resnet, wide_resnet)

DEEPMIND = (dm_wide_resnet.DMWideResNet, Meansparse_wrn_94_16.MeanSparse_DMWideResNet)
SHAPED = (robustarch_wide_resnet.NormalizedWideResNet, Meansparse_ra_wrn_70_16.NormalizedWideResNet)
SPARSE = (Meansparse_wrn_94_16.MeanSparse, Meansparse_ra_wrn_70_16.MeanSparse)
# Classes whose size is in their arguments, and small ones.
SMALL = {
    wide_resnet.WideResNet: {"depth": 10, "widen_factor": 2},
    **{kind: {"depth": 10, "width": 2} for kind in DEEPMIND},
    paf_wide_resnet.PAF_WideResNet: {"depth": 10, "widen_factor": 2},
    robust_wide_resnet.RobustWideResNet: {"channel_configs": [16, 20, 24, 16], "depth_configs": [1, 2, 1]},
    robust_resnet.PreActResNet: {"channel_configs": [16, 20, 24, 16], "depth_configs": [1, 2, 1]},
    **{kind: {"stem_width": 8, "depth": [1, 2, 1], "stage_width": [16, 20, 24]} for kind in SHAPED},
}
# Why a name cannot be read from one file of known layers.
REFUSED = {
    "Chen2020Adversarial": "three networks in three files, whose probabilities are averaged",
    "Bai2023Improving_edm": "two networks and a third that mixes them, in three files",
    "Bai2024MixedNUTS": "two networks in two files, mixed",
    "Kang2021Stable": "integrates a differential equation behind its features",
    "Dai2021Parameterizing": "learns the shape of its activation",
    "Pang2020Boosting": "brings features and classifier to length 1",
    "Sehwag2021Proxy_ResNest152": "split attention (ResNeSt)",
    "Debenedetti2022Light_XCiT-S12": "a transformer (XCiT)",
    "Debenedetti2022Light_XCiT-M12": "a transformer (XCiT)",
    "Debenedetti2022Light_XCiT-L12": "a transformer (XCiT)",
}
# Small as it is, and known by its size.
AS_IT_IS = ("Ding2020MMA",)
# Of several files, and too large to make for a refusal.
NO_FILE = ("Chen2020Adversarial", "Bai2023Improving_edm", "Bai2024MixedNUTS")
# Tensors of a class that no forward of ours has: its own stay in place when a student comes back.
ITS_OWN = ("sub_block1.", "mu", "sigma")
HALF = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]


@contextlib.contextmanager
def patched(cls, **wanted):
    """Makes every object of a class with these arguments, whatever its maker says."""
    before, signature = cls.__init__, inspect.signature(cls.__init__)

    def __init__(self, *args, **named):
        bound = signature.bind(self, *args, **named)
        bound.arguments.update(wanted)
        before(*bound.args, **bound.kwargs)

    cls.__init__ = __init__
    try:
        yield
    finally:
        cls.__init__ = before


def make(name, full):
    # RobustBench itself asks timm first, under this name.
    of_timm = name.lower().replace("-", "_") + "_cifar10_linf"
    if timm.is_model(of_timm):
        return timm.create_model(of_timm, pretrained=False)
    with contextlib.ExitStack() as stack:
        for cls, wanted in {} if full else SMALL.items():
            stack.enter_context(patched(cls, **wanted))
        return cifar10.linf[name]["model"]()


def sizes(stages, width):
    return "-".join(f"{len(blocks)}x{width(blocks[0])}" for blocks in stages)


def known(prefix, text, others):
    return others.get(text, prefix + text)


def ours(model):
    """The name of a class here, and the flags that it needs."""
    kind = type(model)
    if isinstance(model, wide_resnet.WideResNet):
        size = f"wrn-{6 * len(model.block1.layer) + 4}-{model.nChannels // 64}"
        if kind is cifar10.Ding2020MMANet:
            return f"mma-{size}", []
        return size, HALF if kind is cifar10.Hendrycks2019UsingNet else []
    sparse = "ms-" * hasattr(model, "meansparse_end")
    if isinstance(model, DEEPMIND):
        return f"{sparse}dm-wrn-{6 * len(model.layer[0].block) + 4}-{model.num_channels // 64}", []
    if isinstance(model, dm_wide_resnet.DMPreActResNet):
        return f"dm-preact-resnet{18 if len(model.layer_2) == 2 else 34}", []
    if isinstance(model, resnet.ResNet):
        return f"resnet{50 if isinstance(model.layer1[0], resnet.Bottleneck) else 18}", []
    if isinstance(model, resnet.PreActResNet):
        block = model.layer1[0]
        raw = isinstance(block, resnet.PreActBlock) and not block.out_shortcut
        return "preact-resnet18" + "-raw" * raw + "-bn" * model.bn_before_fc, []
    if isinstance(model, robust_wide_resnet.RobustWideResNet):
        text = sizes([group.layer for group in model.blocks], lambda block: block.conv1.out_channels)
        return known("wrn-r-", text, {"5x320-5x640-5x512": "wrn-34-r"}), []
    if isinstance(model, robust_resnet.PreActResNet):
        text = sizes([group.layer for group in model.blocks], lambda block: block.conv1.out_channels)
        return known("wrn-a-", text, {"27x160-28x448-13x384": "wrn-a4"}), []
    if isinstance(model, SHAPED):
        stages = sizes([group.block for group in model.layer], lambda block: block.conv_0.out_channels)
        text = f"{model.init_conv.out_channels}-{stages}"
        return sparse + known("ra-wrn-", text, {"96-30x216-31x432-10x864": "ra-wrn-70-16"}), []
    raise SystemExit(f"{kind.__name__}: neither known nor in REFUSED")


@torch.no_grad()
def settle(model):
    """Random values everywhere, the size of activations kept."""
    dice = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            shape = module.running_mean.shape
            module.running_mean.copy_(torch.randn(shape, generator=dice) * 0.1)
            module.running_var.copy_(torch.rand(shape, generator=dice) * 0.5 + 0.5)
            module.weight.copy_(torch.rand(shape, generator=dice) * 0.5 + 0.75)
            module.bias.copy_(torch.randn(shape, generator=dice) * 0.1)
        elif isinstance(module, SPARSE):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=dice) * 0.1)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=dice) * 0.5 + 0.5)
            module.threshold.fill_(0.2)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.weight
            weight.copy_(torch.randn(weight.shape, generator=dice) * (1.4 / weight[0].numel() ** 0.5))
            if module.bias is not None:
                module.bias.copy_(torch.randn(module.bias.shape, generator=dice) * 0.1)
    return model.eval()


class Bench:
    """A folder with eight random images, and the two programs."""

    def __init__(self, folder, label, distill):
        self.folder, self.label, self.distill = folder, os.path.abspath(label), os.path.abspath(distill)
        images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
        labels = np.arange(8, dtype=np.int64) % 8
        labels[-1] = 9
        np.savez(self.at("data.npz"), x_train=images, y_train=labels, x_test=images, y_test=labels)
        self.input = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))
        self.count = 0

    def at(self, name):
        return os.path.join(self.folder, name)

    def run(self, *command):
        found = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return found.returncode, found.stderr

    def answer(self, weights, flags):
        """(logits, None), or (None, what was said)."""
        self.count += 1
        out = f"set{self.count}"
        code, said = self.run(self.label, "run", "--teacher", weights, *flags, "--data", "npz:data.npz", "--augment",
                              "none", "--views", "all", "--dtype", "f32", "--out", out)
        if code:
            return None, said
        [shard] = glob.glob(self.at(f"{out}/shards/*.safetensors"))
        return load_file(shard)["logits"].double().numpy(), None

    def pytorchs(self, model, constants=(0.0, 1.0)):
        """Its logits for the images, or for those that become the images under a mean and a deviation of its own."""
        mean, deviation = constants
        with torch.no_grad():
            return model.eval()(self.input * deviation + mean).double().numpy()

    def student(self, weights, name):
        """A file after one step of training from the weights, or what was said."""
        self.count += 1
        out = f"run{self.count}"
        code, said = self.run(self.distill, "train", "--student", name, "--init", weights, "--objective", "natural",
                              "--data", "npz:data.npz", "--augment", "none", "--epochs", "1", "--batch", "8",
                              "--holdout", "0", "--set", "lr=0.001", "--out", out)
        return (self.at(f"{out}/student.safetensors"), None) if code == 0 else (None, said)


def apart(found, wanted):
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def check(bench, model):
    """What the programs make of a class: how it is recognised, how far its logits lie apart, and those of a student."""
    name, flags = ours(model)
    settle(model)
    weights = bench.at("weights.pt")
    torch.save(model.state_dict(), weights)
    wanted = bench.pytorchs(model)
    logits, said = bench.answer(weights, ["--arch", name, *flags])
    if logits is None:
        return None, f"refused: {said}"
    teacher = apart(logits, wanted)
    unnamed, _ = bench.answer(weights, flags)
    recognised = unnamed is not None and apart(unnamed, wanted) <= 1e-4
    wrong = unnamed is not None and not recognised
    torch.save({key: value for key, value in model.state_dict().items() if key not in ("mu", "sigma")}, weights)
    file, said = bench.student(weights, name)
    if file is None:
        return None, f"no student: {said}"
    state = load_file(file)
    own = {key: value for key, value in model.state_dict().items() if key not in state}
    strange = [key for key in own if not key.startswith(ITS_OWN)]
    if strange:
        return None, f"a student lacks {strange[:3]}"
    model.load_state_dict({**own, **state}, strict=True)
    logits, said = bench.answer(file, [])
    if logits is None:
        return None, f"its student is refused: {said}"
    constants = (model.mu, model.sigma) if hasattr(model, "mu") else (0.5, 0.5) if flags else (0.0, 1.0)
    student = apart(logits, bench.pytorchs(model, constants))
    if max(teacher, student) > 1e-4:
        return None, f"wrong: teacher {teacher:.1e}, student {student:.1e}"
    how = "recognised" if recognised else ("needs its name" if wrong else "asks for its name")
    return (how, teacher, student), None


def refuse(bench, name):
    """Whether a file of a class that is not known is refused."""
    if name in NO_FILE:
        return None
    model = make(name, False)
    weights = bench.at("weights.pt")
    torch.save(model.state_dict(), weights)
    logits, said = bench.answer(weights, [])
    return "taken" if logits is not None else (None if "hint:" in said else f"no hint: {said}")


def images_of(model, flags):
    if flags:
        return "`--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5`"
    names = set(dict(model.named_buffers()))
    if {"mu", "sigma"} <= names:
        return "`mu`, `sigma` of the file"
    if isinstance(model, cifar10.Ding2020MMANet):
        return "each image standardised"
    return "normalised inside" if hasattr(model, "mean") else "as they are"


HEAD = """# RobustBench's classes

What this program makes of the {count} names of RobustBench's CIFAR-10 Linf zoo ({version}), by class. Written by
`tools/robustbench_table.py`: it gives each class random values, lays the logits of `label run` beside PyTorch's (worst of
all: {teacher:.0e} of the largest logit), trains a step from the same weights, and loads the student into the class with
`strict=True`, where its logits are equal too (worst: {student:.0e}). Wide classes are tried at a smaller depth and width
under the same code.

{loads} names load, {refused} are refused. `recognised` means that no `--arch` is needed; `asks for its name` that another
architecture has the same tensors, and the program refuses until `--arch` says which it is; `needs its name` that without
`--arch` the file passes for another one. The last column says what happens to the images before the first layer: flags in
it are needed, nothing in such a file asks for them.

| RobustBench | here | | images |
|---|---|---|---|
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--label", default="target/debug/label")
    parser.add_argument("--distill", default="target/debug/distill")
    parser.add_argument("--write", metavar="FILE", help="where the table goes")
    parser.add_argument("--full", action="store_true", help="classes in their own size: hours")
    parser.add_argument("--only", metavar="TEXT", default="", help="names that contain this")
    args = parser.parse_args()
    rows, refusals, bad, done = [], [], [], {}
    worst = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, args.label, args.distill)
        for name in cifar10.linf:
            if args.only not in name:
                continue
            if name in REFUSED:
                trouble = refuse(bench, name)
                refusals.append(f"| {name} | {REFUSED[name]} |")
                print(f"{name}: {trouble or 'refused'}", flush=True)
                if trouble:
                    bad.append(name)
                continue
            with torch.device("meta"):
                real = make(name, True)
            called, flags = ours(real)
            # Names of one class, and of one size as it is tried, are one case.
            tried = make(name, args.full or name in AS_IT_IS)
            case = (ours(tried)[0], tuple(flags), images_of(real, flags), "sub_block1" in dict(real.named_children()))
            if case not in done:
                done[case] = check(bench, tried)
                print(f"{name} as {called}: {done[case]}", flush=True)
            found, trouble = done[case]
            if trouble:
                bad.append(name)
                continue
            how, *gaps = found
            worst = [max(pair) for pair in zip(worst, gaps)]
            rows.append(f"| {name} | `{called}` | {how} | {case[2]} |")
    head = HEAD.format(count=len(rows) + len(refusals), loads=len(rows), refused=len(refusals), teacher=worst[0],
                       student=worst[1], version="robustbench " + importlib.metadata.version("robustbench"))
    tail = ["", "Refused, for the PyTorch route (`label plan`, `tools/label_with_pytorch.py`, `label import`):", "",
            "| RobustBench | why |", "|---|---|", *refusals, ""]
    text = head + "\n".join(rows + tail)
    if args.write:
        with open(args.write, "w", encoding="utf-8") as file:
            file.write(text)
    print(f"{len(rows)} load, {len(refusals)} refused, {len(bad)} wrong: {bad}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
