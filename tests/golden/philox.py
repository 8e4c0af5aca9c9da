"""Counter-based randomness: Philox4x32-10 and everything a run draws from it.

A draw is a pure function of (seed, purpose, epoch, image, block). There is no state, so any draw can be made
alone and in any order. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""
import math

import numpy as np

INIT, ORDER, VIEW, PICK, START, HOLDOUT, EVAL = range(7)
HEAD, MASK = 9, 10

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)

# Counter, key and output as published in Random123's kat_vectors (rows `philox4x32 10`).
PUBLISHED = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((LOW,) * 4, (LOW,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
)


def words(counter, key):
    """Four arrays of 32-bit words (held as u64), one block per entry; the counter's four words broadcast."""
    a, b, c, d = np.broadcast_arrays(*(np.asarray(w, np.uint64) for w in counter))
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(ROUNDS):
        p, q = np.uint64(MULTIPLIERS[0]) * a, np.uint64(MULTIPLIERS[1]) * c
        a, b, c, d = (q >> HALF) ^ b ^ np.uint64(k0), q & LOW, (p >> HALF) ^ d ^ np.uint64(k1), p & LOW
        k0, k1 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return a, b, c, d


def check_published():
    """Stops unless the three published answers come out."""
    for counter, key, wanted in PUBLISHED:
        found = tuple(int(w) for w in words(counter, key))
        if found != tuple(int(w) for w in wanted):
            raise SystemExit(f"philox: counter {counter} gives {found}, Random123 publishes {wanted}")


def key_of(seed):
    """The seed's low and high 32-bit words."""
    return seed & 0xFFFFFFFF, seed >> 32


def blocks(seed, purpose, epoch, image, block):
    """(lo, hi): the two u64 draws of each block."""
    a, b, c, d = words((purpose, epoch, image, block), key_of(seed))
    return a | (b << HALF), c | (d << HALF)


def first_draws(seed, purpose, epoch, images):
    """The `lo` draw of block 0, one per image."""
    return blocks(seed, purpose, epoch, np.asarray(images), 0)[0]


def unit(draw):
    """u64 to a uniform in [0, 1) of 53 bits."""
    return (draw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniforms(seed, purpose, epoch, image, count):
    """`count` uniforms in [0, 1): element i is draw i % 2 of block i / 2."""
    lo, hi = blocks(seed, purpose, epoch, image, np.arange((count + 1) // 2))
    return np.stack([unit(lo), unit(hi)], 1).reshape(-1)[:count]


def normals(seed, purpose, epoch, image, count):
    """`count` standard normals by Box-Muller, two per block: element i is z_(i % 2) of block i / 2."""
    lo, hi = blocks(seed, purpose, epoch, image, np.arange((count + 1) // 2))
    radius = np.sqrt(-2.0 * np.log(1.0 - unit(lo)))
    angle = (2.0 * math.pi) * unit(hi)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)[:count]


def top_bytes(seed, purpose, epoch, image, count):
    """`count` bytes: element i is the top byte of word i % 4 of block i / 4."""
    w = words((purpose, epoch, image, np.arange((count + 3) // 4)), key_of(seed))
    return (np.stack(w, 1).reshape(-1)[:count] >> np.uint64(24)).astype(np.uint8)


def scaled(draw, bound):
    """(draw * bound) >> 64 in 128 bits: a number below `bound`."""
    return (int(draw) * bound) >> 64


def order(seed, epoch, images):
    """The ids 0..images sorted by their draw, ties by id."""
    return np.argsort(first_draws(seed, ORDER, epoch, np.arange(images)), kind="stable")


def view(seed, epoch, image, views):
    """The view that `image` shows in `epoch`."""
    return scaled(first_draws(seed, VIEW, epoch, image), views)


def picks(seed, image, views, count):
    """`random:count`: the views with the smallest draws (ties by view), in ascending order of view."""
    draws = blocks(seed, PICK, 0, image, np.arange(views))[0]
    return np.sort(np.argsort(draws, kind="stable")[:count])


def gaussian_start(seed, epoch, image, count):
    """What is added to an image before the first PGD step, in CHW order: 0.001 * N(0, 1)."""
    return 0.001 * normals(seed, START, epoch, image, count)


def uniform_start(seed, epoch, image, count, eps):
    """What is added to an image before the first PGD step, in CHW order: eps * U(-1, 1)."""
    return eps * (2.0 * uniforms(seed, START, epoch, image, count) - 1.0)
