"""rng.json: known answers for every use of the random numbers; views.json: pixels of cut views."""
import struct

import numpy as np
import torch

import initial
import networks
import philox
from store import write_json

SEEDS = (0, 3, 0x0123456789ABCDEF, 2**64 - 1)
PURPOSES = {"init": philox.INIT, "order": philox.ORDER, "view": philox.VIEW, "pick": philox.PICK,
            "start": philox.START, "holdout": philox.HOLDOUT, "eval": philox.EVAL}
INIT_CASES = (("tiny-cnn", 1, 28), ("small-cnn", 1, 28), ("wrn-16-2", 3, 32), ("resnet8", 3, 32), ("mobilenet-v2", 3, 32))


def ints(values):
    return [int(v) for v in values]


def bits(values):
    """16 hexadecimal digits of each f64, most significant first."""
    return [struct.pack(">d", v).hex() for v in values]


def philox_rows():
    for counter, key, found in philox.PUBLISHED:
        yield {"published": True, "counter": ints(counter), "key": ints(key), "words": ints(found)}
    for seed in SEEDS:
        counter, key = (philox.START, 299, 49999, 1535), philox.key_of(seed)
        yield {"published": False, "counter": ints(counter), "key": ints(key), "words": ints(philox.words(counter, key))}


def draw_rows():
    for seed in SEEDS:
        for purpose, number in PURPOSES.items():
            place = {"epoch": 5, "image": 12345 + number, "block": 2}
            lo, hi = philox.blocks(seed, number, *place.values())
            yield {"seed": seed, "purpose": purpose, **place, "lo": int(lo), "hi": int(hi)}


def vector_rows(draw):
    for seed in SEEDS:
        for purpose, epoch, image in (("start", 0, 0), ("start", 7, 49999), ("init", 0, 12)):
            values = draw(seed, PURPOSES[purpose], epoch, image, 7)
            yield {"seed": seed, "purpose": purpose, "epoch": epoch, "image": image,
                   "values": values.tolist(), "bits": bits(values)}


def start_rows():
    eps = 8 / 255
    for seed, epoch, image in ((0, 0, 0), (3, 1, 9), (3, 2, 9)):
        yield {"seed": seed, "epoch": epoch, "image": image, "eps": eps,
               "gaussian": philox.gaussian_start(seed, epoch, image, 7).tolist(),
               "uniform": philox.uniform_start(seed, epoch, image, 7, eps).tolist()}


def initial_rows():
    for name, channels, size in INIT_CASES:
        net = initial.fill(networks.build(name, channels, size, 10), name, 3)
        for number, (key, value) in enumerate(net.named_parameters()):
            if number < 6 or key.startswith(("fc.", "linear.", "classifier.fc3")):
                values = value.detach().reshape(-1)
                at = [0, 1, 2, len(values) - 1]
                yield {"architecture": name, "input": [channels, size, size], "classes": 10, "seed": 3,
                       "tensor": number, "name": key, "shape": list(value.shape), "at": at,
                       "values": [float(values[i]) for i in at]}


def write_rng():
    epochs = ((0, 0, 10), (3, 0, 24), (3, 1, 24), (2**64 - 1, 299, 33))
    visits = ((0, 0, 162), (3, 1, 162), (3, 1, 25), (3, 1, 81), (3, 1, 1))
    choices = ((0, 0, 162, 4), (3, 9, 162, 10), (3, 10, 25, 1), (3, 11, 25, 25))
    write_json("rng.json", {
        "purposes": PURPOSES,
        "philox": list(philox_rows()),
        "draws": list(draw_rows()),
        "uniforms": list(vector_rows(philox.uniforms)),
        "normals": list(vector_rows(philox.normals)),
        "starts": list(start_rows()),
        "orders": [{"seed": s, "epoch": e, "images": n, "order": ints(philox.order(s, e, n))} for s, e, n in epochs],
        "views": [{"seed": s, "epoch": e, "views": v, "of_image": [philox.view(s, e, i, v) for i in range(16)]}
                  for s, e, v in visits],
        "picks": [{"seed": s, "image": i, "views": v, "count": k, "picked": ints(philox.picks(s, i, v, k))}
                  for s, i, v, k in choices],
        "initial": list(initial_rows()),
    })


def cut(pixels, pad, flips, view):
    """(C, H, W) f32 of a u8 (H, W, C) image: u8 / 255 in f32, zero padding, crop at (dy, dx), then mirror."""
    flip = view % 2 if flips else 0
    dy, dx = divmod(view // 2 if flips else view, 2 * pad + 1)
    image = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float().div(255)
    high, across = image.shape[1:]
    padded = torch.nn.functional.pad(image, (pad,) * 4)[:, dy : dy + high, dx : dx + across]
    return padded.flip(2) if flip else padded


def write_views():
    cases = (("crop4+flip", 4, True, (5, 6, 3), (0, 1, 80, 81, 98, 161)), ("crop2", 2, False, (4, 3, 1), (0, 7, 12, 24)),
             ("none", 0, False, (2, 3, 3), (0,)))
    images, rows = [], []
    for number, (name, pad, flips, shape, views) in enumerate(cases):
        pixels = philox.top_bytes(3, philox.EVAL, initial.PIXELS, 1000 + number, int(np.prod(shape))).reshape(shape)
        images.append({"augmentation": name, "hwc": list(shape), "pixels": ints(pixels.reshape(-1))})
        for view in views:
            rows.append({"augmentation": name, "view": view,
                         "chw": [float(p) for p in cut(pixels, pad, flips, view).reshape(-1)]})
    write_json("views.json", {"images": images, "cuts": rows})


def write():
    write_rng()
    write_views()
