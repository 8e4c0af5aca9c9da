"""Values for a network: PyTorch's default initial distributions drawn from Philox, and inputs for the checks.

Everything is computed in f64. `f32_exact` rounds to f32 and widens again, so that an f32 and an f64 engine can be given
the very same numbers.
"""
import math

import numpy as np
import torch

import philox
from networks import wide

# The `epoch` word of purpose EVAL tells the streams of these checks apart.
PERTURBED, IMAGES, UPSTREAM, TEACHER, PIXELS, LABELS, OPS = 7, 11, 13, 17, 19, 23, 29


def f32_exact(values):
    return np.asarray(values).astype(np.float32).astype(np.float64)


def trainable(net):
    """(name, owning module, last part of the name, tensor) in the order of `named_parameters()`."""
    owners = dict(net.named_modules())
    for name, value in net.named_parameters():
        owner, _, leaf = name.rpartition(".")
        yield name, owners[owner], leaf, value


def initial_value(wide, seed, number, owner, leaf, shape):
    """Tensor `number` of a network, flat: row-major element i comes from (INIT, 0, number, i / 2)."""
    count = math.prod(shape)
    if isinstance(owner, torch.nn.BatchNorm2d):
        return np.full(count, 1.0 if leaf == "weight" else 0.0)
    if wide and isinstance(owner, torch.nn.Conv2d):
        outputs, _, high, across = shape
        return math.sqrt(2.0 / (high * across * outputs)) * philox.normals(seed, philox.INIT, 0, number, count)
    if wide and leaf == "bias":
        return np.zeros(count)
    bound = 1.0 / math.sqrt(math.prod(owner.weight.shape[1:]))
    return bound * (2.0 * philox.uniforms(seed, philox.INIT, 0, number, count) - 1.0)


@torch.no_grad()
def fill(net, name, seed):
    """Initial values for the architecture `name`, in f64; running means 0, running variances 1."""
    net.double()
    for number, (_, owner, leaf, value) in enumerate(trainable(net)):
        flat = initial_value(name.startswith(("wrn-", "mma-wrn-")), seed, number, owner, leaf, value.shape)
        value.copy_(torch.from_numpy(flat).view_as(value))
    return net


@torch.no_grad()
def perturb(net, seed):
    """Moves weights, biases and statistics of BatchNorm and MeanSparse off their initial values, so that a mix-up shows.

    Element i of entry t of `state_dict()` (num_batches_tracked counts) comes from (EVAL, PERTURBED, t, i / 2).
    """
    owners = dict(net.named_modules())
    for number, (name, value) in enumerate(net.state_dict().items()):
        owner, _, leaf = name.rpartition(".")
        kept = ("num_batches_tracked", "flag_update_statistics", "batch_num")
        if not isinstance(owners[owner], (torch.nn.BatchNorm2d, wide.MeanSparse)) or leaf in kept:
            continue
        where = (seed, philox.EVAL, PERTURBED, number, value.numel())
        if leaf == "running_mean":
            flat = 0.1 * philox.normals(*where)
        elif leaf == "running_var":
            flat = 1.0 + 0.5 * philox.uniforms(*where)
        elif leaf == "threshold":
            flat = 0.01 + 0.04 * philox.uniforms(*where)
        elif leaf == "weight":
            flat = 1.0 + 0.2 * (2.0 * philox.uniforms(*where) - 1.0)
        else:
            flat = 0.1 * (2.0 * philox.uniforms(*where) - 1.0)
        value.copy_(torch.from_numpy(flat).view_as(value))
    return net


@torch.no_grad()
def round_to_f32(net):
    """Rounds every parameter and statistic to f32 and widens it again."""
    for value in list(net.parameters()) + list(net.buffers()):
        if value.is_floating_point():
            value.copy_(value.float().double())
    return net


def images(seed, ids, shape):
    """(N, C, H, W) uniform in [0, 1): f32 values in f64; image n in CHW order from (EVAL, IMAGES, n, i / 2)."""
    rows = [philox.uniforms(seed, philox.EVAL, IMAGES, n, math.prod(shape)) for n in ids]
    return torch.from_numpy(f32_exact(rows)).view(len(ids), *shape)


def upstream(seed, ids, classes):
    """(N, K) normals: the gradient at the logits; f32 values in f64; image n from (EVAL, UPSTREAM, n, k / 2)."""
    rows = [philox.normals(seed, philox.EVAL, UPSTREAM, n, classes) for n in ids]
    return torch.from_numpy(f32_exact(rows))
