"""Writes folders of images and what Pillow and torchvision make of them. Needs numpy, torchvision and a
Pillow before 13, which resizes rows first; later ones begin with the axis that is cheaper and round a few values otherwise.

    python make_folders.py files

Pixels are random, so that any swap of axes, channels or images shows.
"""

import pathlib
import shutil
import sys

import numpy as np
from PIL import Image
from torchvision.datasets import GTSRB, ImageFolder

OUT = pathlib.Path(sys.argv[1]) / "folders"
RNG = np.random.default_rng(20261126)
if OUT.exists():
    shutil.rmtree(OUT)


def picture(path, height, width, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)


def squeezed(path, side):
    """As torchvision's loader and Resize((side, side)) give it."""
    image = Image.open(path).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))


def values(name, images):
    (OUT / name).write_bytes(np.stack(images).tobytes())


# Sizes above, at and below the target on either axis; a line and a dot; a grey image; a PPM; two folders deep, where
# Python's order of paths as texts puts `b-c` before `b/`.
SIZES = [("a/x.png", 7, 5), ("a/y.ppm", 8, 8), ("a/deep/z.png", 8, 3), ("b/1.png", 40, 23), ("b/10.png", 1, 9),
         ("b/2.png", 9, 1), ("b/q-r/u.png", 5, 31), ("b/q/v.PNG", 64, 8), ("b/q/deep/w.jpeg.png", 4, 4), ("c/k.png", 1, 1), ("c/l.pgm", 13, 6)]
for name, height, width in SIZES:
    picture(OUT / "mixed/train" / name, height, width, "L" if name.endswith(("l.pgm", "2.png")) else "RGB")
(OUT / "mixed/train/b/notes.txt").write_text("no image\n")
picture(OUT / "mixed/val/c/t.png", 6, 6)
picture(OUT / "mixed/val/a/s.png", 3, 6)

ORDER = [(pathlib.Path(path), label) for path, label in ImageFolder(OUT / "mixed/train").samples]
(OUT / "mixed.txt").write_text("".join(f"{label} {path.relative_to(OUT / 'mixed/train').as_posix()}\n" for path, label in ORDER))
for side in (8, 3, 17):
    values(f"mixed{side}.u8", [squeezed(path, side) for path, _ in ORDER])

# One size, and all grey: no size is needed, and one channel is left.
for name in ("0/a.png", "1/b.png"):
    picture(OUT / "flat" / name, 4, 6, "L")
values("flat.u8", [np.asarray(Image.open(OUT / "flat" / name)) for name in ("0/a.png", "1/b.png")])
values("flat5.u8", [np.asarray(Image.open(OUT / "flat" / name).resize((5, 5), Image.Resampling.BILINEAR)) for name in ("0/a.png", "1/b.png")])

# Tiny-ImageNet, three classes and small images; wnids.txt is not sorted there.
TINY = OUT / "tiny/tiny-imagenet-200"
NAMES = ["n02", "n10", "n01"]
for name in NAMES:
    for i in range(2):
        picture(TINY / f"train/{name}/images/{name}_{i}.png", 4, 4, "L" if name == "n10" and i else "RGB")
    (TINY / f"train/{name}/{name}_boxes.txt").write_text(f"{name}_0.png\t0\t0\t3\t3\n")
(TINY / "wnids.txt").write_text("\n".join(NAMES) + "\n")
LINES = [("val_0.png", "n10"), ("val_1.png", "n01"), ("val_10.png", "n02")]
for name, _ in LINES:
    picture(TINY / "val/images" / name, 4, 4)
(TINY / "val/val_annotations.txt").write_text("".join(f"{name}\t{wnid}\t0\t0\t3\t3\n" for name, wnid in LINES))
values("tiny_train.u8", [np.asarray(Image.open(TINY / f"train/{n}/images/{n}_{i}.png").convert("RGB")) for n in sorted(NAMES) for i in range(2)])
values("tiny_val.u8", [np.asarray(Image.open(TINY / "val/images" / name)) for name, _ in LINES])

# GTSRB as torchvision.datasets.GTSRB lays it out under its root.
SIGNS = OUT / "signs/gtsrb"
HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
for label, name, height, width in [(0, "00000_00000", 9, 7), (0, "00000_00001", 6, 8), (42, "00000_00000", 5, 5)]:
    picture(SIGNS / f"GTSRB/Training/{label:05}/{name}.ppm", height, width)
    (SIGNS / f"GTSRB/Training/{label:05}/GT-{label:05}.csv").write_text(HEAD)
TESTS = [("00001.ppm", 14, 6, 6), ("00000.ppm", 2, 7, 4)]
for name, _, height, width in TESTS:
    picture(SIGNS / "GTSRB/Final_Test/Images" / name, height, width)
(SIGNS / "GT-final_test.csv").write_text(HEAD + "".join(f"{n};{w};{h};0;0;1;1;{c}\n" for n, c, h, w in TESTS))
for split in ("train", "test"):
    samples = GTSRB(OUT / "signs", split=split)._samples
    # torchvision numbers the folders that are there; of all 43, as of the test part's list, the numbers are their own.
    assert split == "train" or [label for _, label in samples] == [14, 2]
    values(f"signs_{split}.u8", [squeezed(path, 4) for path, _ in samples])

# CIFAR-10.1 and CIFAR-10-C, as NumPy saves them.
(OUT / "arrays").mkdir()
for version, count in (("v4", 3), ("v6", 2)):
    images = RNG.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    np.save(OUT / f"arrays/cifar10.1_{version}_data.npy", images)
    np.save(OUT / f"arrays/cifar10.1_{version}_labels.npy", np.arange(count, dtype=np.int32) + 7)
fog = np.repeat(np.arange(10, dtype=np.uint8), 32 * 32 * 3).reshape(10, 32, 32, 3)
np.save(OUT / "arrays/fog.npy", fog)
np.save(OUT / "arrays/labels.npy", np.tile(np.array([3, 8], dtype=np.uint8), 5))
