"""Writes strong.u8: what Pillow makes of two small drawn images, a coloured and a grey one. Needs numpy and pillow.

    python make_strong.py files

For each image the image itself, then each change of `CHANGES`, in this order, which the test repeats. Values are drawn
from a narrow band, so that stretching and equalising have something to do, and one side is odd, so that a centre lies on
a pixel and another between two.
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

OUT = pathlib.Path(sys.argv[1])
HEIGHT, WIDTH = 26, 21


def affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.NEAREST)


def blackened(image, top, bottom, left, right):
    pixels = np.array(image)
    pixels[top:bottom, left:right] = 0
    return Image.fromarray(pixels)


CHANGES = [
    ImageOps.autocontrast,
    ImageOps.equalize,
    *(lambda i, f=f: ImageEnhance.Brightness(i).enhance(f) for f in (0.05, 0.7)),
    *(lambda i, f=f: ImageEnhance.Contrast(i).enhance(f) for f in (0.05, 0.7)),
    *(lambda i, f=f: ImageEnhance.Color(i).enhance(f) for f in (0.05, 0.7)),
    *(lambda i, f=f: ImageEnhance.Sharpness(i).enhance(f) for f in (0.05, 0.7)),
    *(lambda i, bits=bits: ImageOps.posterize(i, bits) for bits in (4, 7, 8)),
    *(lambda i, t=t: ImageOps.solarize(i, t) for t in (0, 100, 255)),
    *(lambda i, a=a: i.rotate(a) for a in (-30.0, -7.25, 0.0, 12.5, 29.9)),
    *(lambda i, v=v: affine(i, (1, v, 0, 0, 1, 0)) for v in (-0.3, 0.11)),
    *(lambda i, v=v: affine(i, (1, 0, 0, v, 1, 0)) for v in (-0.3, 0.11)),
    *(lambda i, p=p: affine(i, (1, 0, p, 0, 1, 0)) for p in (-4, 3)),
    *(lambda i, p=p: affine(i, (1, 0, 0, 0, 1, p)) for p in (-4, 3)),
    lambda i: blackened(i, 2, 7, 5, 11),
    lambda i: blackened(i, 12, HEIGHT, 9, WIDTH),
]

rng = np.random.default_rng(20240918)
# 546 pixels: two of the 255 steps that equalising makes are then one level, and its highest levels pass 255 and are cut.
coloured = rng.integers(40, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
grey = np.minimum(rng.integers(0, 90, (HEIGHT, WIDTH), dtype=np.uint8), 60)
with (OUT / "strong.u8").open("wb") as out:
    for pixels in (coloured, grey):
        image = Image.fromarray(pixels)
        out.write(pixels.tobytes())
        for change in CHANGES:
            out.write(np.asarray(change(image)).tobytes())
