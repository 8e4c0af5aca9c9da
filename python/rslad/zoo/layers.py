"""What the networks of this folder are built of."""
from torch import nn


def conv(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)


def projection(inputs, outputs, stride):
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def pooled(x):
    return x.mean((2, 3))


def stage(block, inputs, outputs, count, stride):
    rest = [block(outputs, outputs, 1) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, outputs, stride), *rest)
