"""The zoo as PyTorch modules, under the state-dict names that published checkpoints use.

`build(name, channels, size, classes)` returns a module. Input is (N, channels, size, size) in [0, 1], output (N, classes)
logits. ReLU, or SiLU in DeepMind's families and wrn-a-*; pooling before the classifier is the mean over all positions. Sources:
kuangliu/pytorch-cifar (resnet*, preact-resnet18, mobilenet-v2), yaodongyu/TRADES (wrn-*, small-cnn),
VNN-COMP 2021 (resnet4b), RobustBench (the forms of preact-resnet18, dm-*, ra-wrn-*, wrn-a-*, wrn-r-*, mma-wrn-*: written
anew from its classes, beside which tools/robustbench_table.py lays the product itself). `tiny-cnn` is this project's own.
"""
import re

from torch import flatten, nn, tensor
from torch.nn.functional import max_pool2d, pad, relu

from .layers import conv, pooled, projection, stage
from .wide import CIFAR10, DeepMindResidual, wide


class Basic(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Sequential() if same else projection(inputs, outputs, stride)

    def forward(self, x):
        inner = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(inner + self.shortcut(x))


class Padded(Basic):
    """Option A: every second pixel of the input between channels of zeros."""

    def __init__(self, inputs, outputs, stride):
        super().__init__(inputs, outputs, stride)
        self.shortcut = nn.Sequential()
        self.more = (outputs - inputs) // 2

    def forward(self, x):
        inner = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        around = pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more)) if self.more else x
        return relu(inner + around)


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        inner = outputs // 4
        self.conv1 = conv(inputs, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Sequential() if same else projection(inputs, outputs, stride)

    def forward(self, x):
        inner = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        return relu(self.bn3(self.conv3(inner)) + self.shortcut(x))


class PreActivation(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride))

    def forward(self, x):
        active = relu(self.bn1(x))
        around = self.shortcut(self.entrance(x, active)) if hasattr(self, "shortcut") else x
        return self.conv2(relu(self.bn2(self.conv1(active)))) + around

    def entrance(self, _x, active):
        return active


class RawPreActivation(PreActivation):
    def entrance(self, x, _active):
        return x


class Residual(nn.Module):
    """conv1, layer1 .. layerN, linear; `bn1` only where the blocks are not pre-activated, `bn` at the end where asked for."""

    def __init__(self, block, widths, counts, channels, classes, stem=None, final_norm=False):
        super().__init__()
        inputs = stem or widths[0]
        self.conv1 = conv(channels, inputs, 3)
        if not issubclass(block, PreActivation):
            self.bn1 = nn.BatchNorm2d(inputs)
        self.stages = len(widths)
        for number, (outputs, count) in enumerate(zip(widths, counts)):
            layer = stage(block, inputs, outputs, count, 2 if number else 1)
            setattr(self, f"layer{number + 1}", layer)
            inputs = outputs
        if final_norm:
            self.bn = nn.BatchNorm2d(inputs)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv1(x)
        if hasattr(self, "bn1"):
            x = relu(self.bn1(x))
        for number in range(self.stages):
            x = getattr(self, f"layer{number + 1}")(x)
        if hasattr(self, "bn"):
            x = relu(self.bn(x))
        return self.linear(pooled(x))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, expansion, stride):
        super().__init__()
        inner = inputs * expansion
        self.conv1 = conv(inputs, inner, 1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = conv(inner, inner, 3, stride, groups=inner)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = conv(inner, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        if stride == 1:
            same = inputs == outputs
            self.shortcut = nn.Sequential() if same else projection(inputs, outputs, 1)

    def forward(self, x):
        inner = relu(self.bn2(self.conv2(relu(self.bn1(self.conv1(x))))))
        inner = self.bn3(self.conv3(inner))
        return inner + self.shortcut(x) if hasattr(self, "shortcut") else inner


# expansion, channels, blocks, stride of the first block
MOBILENET_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2),
                    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Module):
    """Every listed width, times the multiplier, becomes a multiple of 8 (half rounds up, at least 8)."""

    def __init__(self, multiplier, channels, classes):
        super().__init__()

        def width(c):
            return max(8, (int(c * multiplier + 4) // 8) * 8)

        inputs, blocks = width(32), []
        self.conv1 = conv(channels, inputs, 3)
        self.bn1 = nn.BatchNorm2d(inputs)
        for expansion, outputs, count, stride in MOBILENET_STAGES:
            for number in range(count):
                step = 1 if number else stride
                blocks.append(InvertedResidual(inputs, width(outputs), expansion, step))
                inputs = width(outputs)
        self.layers = nn.Sequential(*blocks)
        self.conv2 = conv(inputs, width(1280), 1)
        self.bn2 = nn.BatchNorm2d(width(1280))
        self.linear = nn.Linear(width(1280), classes)

    def forward(self, x):
        x = self.layers(relu(self.bn1(self.conv1(x))))
        return self.linear(pooled(relu(self.bn2(self.conv2(x)))))


class SmallCnn(nn.Module):
    """TRADES' MNIST network without its dropout; 3x3 convolutions without padding."""

    def __init__(self, channels, size, classes):
        super().__init__()
        self.feature_extractor = nn.Module()
        widths = (channels, 32, 32, 64, 64)
        for number in range(4):
            layer = nn.Conv2d(widths[number], widths[number + 1], 3)
            setattr(self.feature_extractor, f"conv{number + 1}", layer)
        side = ((size - 4) // 2 - 4) // 2
        self.classifier = nn.Module()
        self.classifier.fc1 = nn.Linear(64 * side * side, 200)
        self.classifier.fc2 = nn.Linear(200, 200)
        self.classifier.fc3 = nn.Linear(200, classes)

    def forward(self, x):
        features, head = self.feature_extractor, self.classifier
        x = max_pool2d(relu(features.conv2(relu(features.conv1(x)))), 2)
        x = max_pool2d(relu(features.conv4(relu(features.conv3(x)))), 2)
        return head.fc3(relu(head.fc2(relu(head.fc1(flatten(x, 1))))))


class LeNet5(nn.Module):
    """Madry et al.'s MNIST network."""

    def __init__(self, channels, size, classes):
        super().__init__()
        self.conv1 = conv(channels, 32, 5, bias=True)
        self.conv2 = conv(32, 64, 5, bias=True)
        self.linear1 = nn.Linear(64 * (size // 4) ** 2, 1024)
        self.linear2 = nn.Linear(1024, classes)

    def forward(self, x):
        x = max_pool2d(relu(self.conv2(max_pool2d(relu(self.conv1(x)), 2))), 2)
        return self.linear2(relu(self.linear1(flatten(x, 1))))


class Plain(nn.Module):
    """Residual block with biases in place of BatchNorm."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride, bias=True)
        self.conv2 = conv(outputs, outputs, 3, bias=True)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Sequential() if same else nn.Sequential(conv(inputs, outputs, 1, stride, bias=True))

    def forward(self, x):
        return relu(self.conv2(relu(self.conv1(x))) + self.shortcut(x))


class ResNet4b(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.conv1 = conv(3, 16, 3, 2, bias=True)
        self.layer1 = stage(Plain, 16, 32, 2, 2)
        self.layer2 = stage(Plain, 32, 32, 2, 2)
        side = size // 8
        self.linear1 = nn.Linear(32 * side * side, 100)
        self.linear2 = nn.Linear(100, classes)
        for name, values in zip(("mean", "std"), CIFAR10):
            self.register_buffer(name, tensor(values).double().view(1, 3, 1, 1), persistent=False)

    def forward(self, x):
        x = self.layer1(relu(self.conv1((x - self.mean) / self.std)))
        return self.linear2(relu(self.linear1(flatten(self.layer2(x), 1))))


class TinyCnn(nn.Module):
    def __init__(self, factor, channels, classes):
        super().__init__()
        widths = [channels, *(round(width * factor) for width in (8, 16, 32, 32))]
        for number, (inputs, outputs, stride) in enumerate(zip(widths, widths[1:], (2, 2, 1, 2)), 1):
            setattr(self, f"conv{number}", conv(inputs, outputs, 3, stride))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outputs))
        self.linear = nn.Linear(widths[-1], classes)

    def forward(self, x):
        for number in range(1, 5):
            x = relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        return self.linear(pooled(x))


def plain_stack(name, channels, size, classes):
    """`sequential-CkKsSpP-..-F-..`."""
    layers, features = [], None
    for part in name.split("-")[1:]:
        if "k" in part:
            outputs, kernel, stride, padding = map(int, re.fullmatch(r"(\d+)k(\d+)s(\d+)p(\d+)", part).groups())
            layers += [nn.Conv2d(channels, outputs, kernel, stride, padding), nn.ReLU()]
            channels, size = outputs, (size + 2 * padding - kernel) // stride + 1
            continue
        if features is None:
            layers.append(nn.Flatten())
        layers += [nn.Linear(features or channels * size * size, int(part)), nn.ReLU()]
        features = int(part)
    return nn.Sequential(*layers, nn.Linear(features, classes))


PYRAMID = (64, 128, 256, 512)


def build(name, channels, size, classes):
    """The named network with arbitrary values."""
    if "wrn-" in name:
        return wide(name, channels, classes)
    if name.startswith("sequential-"):
        return plain_stack(name, channels, size, classes)
    base, _, factor = name.partition("-x")
    factor = float(factor or 1)
    widths = [round(width * factor) for width in PYRAMID]
    thin = (16, 32, 64)

    def residual(block, counts, widths=widths, **more):
        return Residual(block, widths, counts, channels, classes, **more)

    makers = {
        "resnet8": lambda: residual(Basic, (1, 1, 1), thin),
        "resnet20": lambda: residual(Basic, (3, 3, 3), thin),
        "resnet20-a": lambda: residual(Padded, (3, 3, 3), thin),
        "resnet18": lambda: residual(Basic, (2, 2, 2, 2)),
        "resnet34": lambda: residual(Basic, (3, 4, 6, 3)),
        "resnet50": lambda: residual(Bottleneck, (3, 4, 6, 3), [4 * width for width in widths], stem=widths[0]),
        "preact-resnet18": lambda: residual(PreActivation, (2, 2, 2, 2)),
        "preact-resnet18-raw": lambda: residual(RawPreActivation, (2, 2, 2, 2)),
        "preact-resnet18-bn": lambda: residual(PreActivation, (2, 2, 2, 2), final_norm=True),
        "preact-resnet18-raw-bn": lambda: residual(RawPreActivation, (2, 2, 2, 2), final_norm=True),
        "dm-preact-resnet18": lambda: DeepMindResidual(widths, channels, classes),
        "mobilenet-v2": lambda: MobileNetV2(factor, channels, classes),
        "small-cnn": lambda: SmallCnn(channels, size, classes),
        "lenet5-madry": lambda: LeNet5(channels, size, classes),
        "resnet4b": lambda: ResNet4b(size, classes),
        "tiny-cnn": lambda: TinyCnn(factor, channels, classes),
    }
    return makers[base]()
