#!/usr/bin/env python3
"""Answers the rows of `label plan` with any PyTorch network; `label import` makes the label set.

    pip install torch numpy pyarrow pillow robustbench
    label plan --data cifar10:FOLDER --views plan:300@0 --out rows.parquet
    echo 'from robustbench.utils import load_model
    def teacher(): return load_model("Chen2021LTD_WRN34_20", dataset="cifar10", threat_model="Linf")' > mine.py
    python label_with_pytorch.py --rows rows.parquet --data FOLDER --network mine:teacher --device cuda --out logits.npy
    label import --rows rows.parquet --logits logits.npy --data cifar10:FOLDER --teacher-name Chen2021LTD_WRN34_20 --out labels

--data is a folder of Parquet as on the Hugging Face hub (`img` or `image`), or a .npy file, (N, H, W[, C]) uint8.
--network is MODULE:FUNCTION; the function returns an nn.Module that takes (N, C, H, W) f32 in [0, 1] and normalises inside.
"""
import argparse, hashlib, importlib, io, json, os, sys, time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image


def load_images(place, split):
    """(N, H, W, C) uint8, in file order."""
    if place.suffix == ".npy":
        images = np.load(place)
    else:
        files = sorted(f for f in place.rglob("*.parquet") if f.name.startswith(split) or f.parent.name == split)
        tables = [pq.read_table(f) for f in files]
        rows = [row for t in tables for row in t["img" if "img" in t.column_names else "image"].to_pylist()]
        images = np.stack([np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in rows])
    return np.ascontiguousarray(images if images.ndim == 4 else images[..., None])


def cut(images, crop_y, crop_x, flip, pad):
    """Views (N, C, H, W) f32: u8 / 255, zero padding, crop, then mirror."""
    n, h, w, _ = images.shape
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    y, x = crop_y[:, None] + np.arange(h), crop_x[:, None] + np.arange(w)
    x = np.where(flip[:, None], x[:, ::-1], x)
    crops = padded[np.arange(n)[:, None, None], y[:, :, None], x[:, None, :]]
    return torch.from_numpy(crops.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--rows", "--data", "--network", "--out"):
        parser.add_argument(name, required=True, type=str if name == "--network" else Path)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    table = pq.read_table(args.rows)
    plan = json.loads(pq.read_metadata(args.rows).metadata[b"rslad-rows"])
    images = load_images(args.data, plan["split"])[: plan["images"]]
    if hashlib.sha256(images.tobytes()).hexdigest() != plan["pixels_sha256"]:
        sys.exit(f"{args.data}: these are not the images of {args.rows}, or in another order")
    image, crop_y, crop_x, flip = (table[c].to_numpy() for c in ("image", "crop_y", "crop_x", "flip"))

    sys.path.insert(0, os.getcwd())
    module, function = args.network.split(":")
    network = getattr(importlib.import_module(module), function)().to(args.device).eval()
    partial, logits, began = args.out.with_name(f".{args.out.name}.partial"), None, time.time()
    with torch.inference_mode():
        for start in range(0, len(image), args.batch):
            s = slice(start, start + args.batch)
            views = cut(images[image[s]], crop_y[s], crop_x[s], flip[s], plan["pad"])
            answers = network(views.to(args.device)).float().cpu().numpy()
            if logits is None:
                logits = np.lib.format.open_memmap(partial, "w+", np.float32, (len(image), answers.shape[1]))
            logits[s] = answers
            if start // args.batch % 100 == 99:
                print(f"{start}/{len(image)} rows, {start / (time.time() - began):.0f} rows/s", file=sys.stderr)
    logits.flush()
    os.replace(partial, args.out)


if __name__ == "__main__":
    main()
