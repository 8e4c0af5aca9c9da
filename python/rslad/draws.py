"""Randomness as a pure function: Philox4x32-10 of (seed, purpose, epoch, image, block), as `label` and `distill` draw.

There is no state: any draw can be made alone, in any order, on any machine. Source: Salmon, Moraes, Dror, Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011; docs/label-set.md has what each purpose is for.
"""
import numpy as np

ORDER, VIEW, PICK, START, HOLDOUT = 1, 2, 3, 4, 5

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def draws(seed, purpose, epoch, image, block=0):
    """The two u64 draws of each block; epoch, image and block broadcast."""
    a, b, c, d = np.broadcast_arrays(*(np.asarray(word, np.uint64) for word in (purpose, epoch, image, block)))
    low, high = int(seed) & 0xFFFFFFFF, int(seed) >> 32
    for _ in range(10):
        p, q = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (q >> _HALF) ^ b ^ np.uint64(low), q & _LOW, (p >> _HALF) ^ d ^ np.uint64(high), p & _LOW
        low, high = (low + _KEY_STEPS[0]) & 0xFFFFFFFF, (high + _KEY_STEPS[1]) & 0xFFFFFFFF
    return a | b << _HALF, c | d << _HALF


def below(draw, bound):
    """`draw * bound >> 64` in 128 bits: whole numbers below `bound`, which is below 2**32."""
    bound = np.asarray(bound, np.uint64)
    low = (draw & _LOW) * bound >> _HALF
    return (((draw >> _HALF) * bound + low) >> _HALF).astype(np.int64)


def order(seed, epoch, images):
    """`images` in the order in which an epoch visits them: by ascending draw, then by number."""
    images = np.sort(np.asarray(images))
    return images[np.argsort(draws(seed, ORDER, epoch, images)[0], kind="stable")]


def smallest(count, seed, purpose, image, block):
    """The places, ascending, of the `count` smallest draws over the last axis of `image` and `block`."""
    first = draws(seed, purpose, 0, image, block)[0]
    return np.sort(np.argsort(first, axis=-1, kind="stable")[..., :count], axis=-1)


def normals(seed, purpose, epoch, image, count):
    """`count` standard normals of one image, f64, by Box-Muller: element i is part i % 2 of block i // 2.

    Up to the last bits of the machine's logarithm, sine and cosine: `distill` uses portable ones.
    """
    first, second = draws(seed, purpose, epoch, image, np.arange((count + 1) // 2))
    radius = np.sqrt(-2.0 * np.log(1.0 - _unit(first)))
    angle = 2.0 * np.pi * _unit(second)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:count]


def uniforms(seed, purpose, epoch, image, count):
    """`count` numbers of one image, f64, uniform in [0, 1): element i is draw i % 2 of block i // 2."""
    first, second = draws(seed, purpose, epoch, image, np.arange((count + 1) // 2))
    return np.stack([_unit(first), _unit(second)], 1).reshape(-1)[:count]


def _unit(draw):
    return (draw >> np.uint64(11)).astype(np.float64) * 2.0**-53
