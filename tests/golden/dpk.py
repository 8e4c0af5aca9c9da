"""DPK (arXiv:2206.06067) after its text: a head that sees the student's map where it is visible and the teacher's where it is
masked, and gives the teacher's everywhere. PyTorch's own layers throughout; maps are what forward hooks see.
"""
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import philox

SHARES = (1.0, 0.6)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q, self.v = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        bias = torch.cat([self.q, torch.zeros_like(self.q), self.v])
        parts = functional.linear(self.norm1(x), self.qkv.weight, bias).view(n, tokens, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, width)
        x = x + self.out(seen)
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))

    def ordered(self):
        yield from affine(self.norm1, "norm")
        yield self.qkv.weight, math.sqrt(6 / (4 * self.qkv.in_features))
        yield self.q, 0.0
        yield self.v, 0.0
        yield from affine(self.out)
        yield from affine(self.norm2, "norm")
        yield from affine(self.fc1)
        yield from affine(self.fc2)


def affine(layer, kind="xavier"):
    """(tensor, bound of its uniform initial values, or none where they are 1): a layer's weight and bias."""
    if kind == "norm":
        return [(layer.weight, None), (layer.bias, 0.0)]
    if kind == "default":
        bound = 1 / math.sqrt(layer.in_features)
        return [(layer.weight, bound), (layer.bias, bound)]
    return [(layer.weight, math.sqrt(6 / (layer.in_features + layer.out_features))), (layer.bias, 0.0)]


def places(count, width):
    position, at = torch.arange(count).double()[:, None], torch.arange(width)
    angle = position / 10000 ** (2 * (at // 2).double() / width)
    return torch.where(at % 2 == 0, angle.sin(), angle.cos())


class Stack(nn.Module):
    def __init__(self, depth, width, heads):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def ordered(self):
        for block in self.blocks:
            yield from block.ordered()
        yield from affine(self.norm, "norm")


class Head(nn.Module):
    def __init__(self, student, teacher, heads, width, encoder, decoder):
        super().__init__()
        token = heads * width
        self.embeds = nn.ModuleList([nn.Linear(student, token), nn.Linear(teacher, token)])
        self.encoders = nn.ModuleList([Stack(encoder, token, heads), Stack(encoder, token, heads)])
        self.projection = nn.Linear(token, token, bias=False)
        self.decoder, self.last = Stack(decoder, token, heads), nn.Linear(token, teacher)

    def ordered(self):
        for embed, encoder in zip(self.embeds, self.encoders):
            yield from affine(embed, "default")
            yield from encoder.ordered()
        yield self.projection.weight, 1 / math.sqrt(self.projection.in_features)
        yield from self.decoder.ordered()
        yield from affine(self.last)

    def forward(self, student, teacher, masked):
        """Maps (N, C, H, W), a mask (N, H W): (N, H W, C of the teacher)."""
        n, count = masked.shape
        full = torch.zeros(n, count, self.projection.out_features, dtype=student.dtype)
        where = places(count, full.shape[2])
        for maps, embed, encoder, chosen in zip((student, teacher), self.embeds, self.encoders, (~masked, masked)):
            x = embed(maps.flatten(2).transpose(1, 2)) + where
            x = self.projection(encoder(x[chosen].view(n, -1, x.shape[2])))
            full = full.masked_scatter(chosen[..., None], x)
        return self.last(self.decoder(full + where))


@torch.no_grad()
def fill(heads, seed):
    """Initial values: tensor t, counted through all heads, has element i from (HEAD, 0, t, i / 2)."""
    number = 0
    for head in heads:
        head.double()
        for value, bound in head.ordered():
            if bound is None:
                value.fill_(1.0)
            elif bound == 0.0:
                value.zero_()
            else:
                flat = bound * (2.0 * philox.uniforms(seed, philox.HEAD, 0, number, value.numel()) - 1.0)
                value.copy_(torch.from_numpy(flat).view_as(value))
            number += 1
    return heads


def parameters(heads):
    return [value for head in heads for value, _ in head.ordered()]


def hsic(k, l):
    """Nguyen et al., arXiv:2010.15327, eq. 3, for kernels without their diagonals."""
    n = len(k)
    one = torch.ones(n, 1).double()
    trace = torch.trace(k @ l)
    means = (one.T @ k @ one) * (one.T @ l @ one) / ((n - 1) * (n - 2))
    return float((trace + means - 2 / (n - 2) * (one.T @ k @ l @ one)) / (n * (n - 3)))


@torch.no_grad()
def ratio(student, teacher):
    k, l = (maps.flatten(1) @ maps.flatten(1).T for maps in (student, teacher))
    k.fill_diagonal_(0.0), l.fill_diagonal_(0.0)
    kk, ll = hsic(k, k) + 1e-5, hsic(l, l) + 1e-5
    if min(kk, ll) < 0:
        return 0.9
    alike = (abs(hsic(k, l)) + 1e-5) / (math.sqrt(kk) * math.sqrt(ll))
    return max(1 - alike, 0.15) if 0.1 < alike < 1 else 0.9


def mask(seed, epoch, ids, tap, positions, share):
    count = max(int(positions * share), 2)
    rows = np.zeros((len(ids), positions), bool)
    for row, image in zip(rows, ids):
        draws = philox.blocks(seed, philox.MASK, epoch, image, (tap << 16) + np.arange(positions))[0]
        row[np.argsort(draws, kind="stable")[:count]] = True
    return torch.from_numpy(rows)


def watch(net, names):
    """A list that each forward of `net` fills anew with the maps of these modules."""
    seen = [None] * len(names)
    for place, name in enumerate(names):
        net.get_submodule(name).register_forward_hook(lambda _, __, out, place=place: seen.__setitem__(place, out))
    return seen


def loss(heads, student, teacher, seed, epoch, ids, ratios):
    total = 0
    for tap, (head, ours, theirs) in enumerate(zip(heads, student, teacher)):
        theirs = theirs.detach()
        ours = functional.interpolate(ours, size=theirs.shape[2:], mode="bilinear", align_corners=True)
        share = ratio(ours, theirs)
        ratios.append(share)
        masked = mask(seed, epoch, ids, tap, theirs[0, 0].numel(), share)
        found = head(ours, theirs, masked)
        total = total + SHARES[min(tap, 1)] * functional.mse_loss(found, theirs.flatten(2).transpose(1, 2))
    return total
