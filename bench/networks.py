"""The students and teachers of the comparison as PyTorch modules, in the layers of the project's zoo."""

from torch import nn


class ConvNorm(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=3, stride=1, groups=1):
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs))


class Basic(nn.Module):
    """Two 3x3 convolutions beside an identity or a 1x1 projection."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first, self.second = ConvNorm(inputs, outputs, stride=stride), ConvNorm(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x):
        return (self.second(self.first(x).relu()) + self.shortcut(x)).relu()


class Inverted(nn.Module):
    """Expand, depthwise, project; a projection shortcut where channels change at stride 1 (kuangliu's CIFAR form)."""

    def __init__(self, inputs, outputs, factor, stride):
        super().__init__()
        wide = inputs * factor
        self.expand, self.depth = ConvNorm(inputs, wide, 1), ConvNorm(wide, wide, 3, stride, wide)
        self.project = ConvNorm(wide, outputs, 1)
        self.shortcut = None
        if stride == 1:
            self.shortcut = nn.Identity() if inputs == outputs else ConvNorm(inputs, outputs, 1)

    def forward(self, x):
        y = self.project(self.depth(self.expand(x).relu()).relu())
        return y if self.shortcut is None else y + self.shortcut(x)


class PreActivation(nn.Module):
    """The block of wide residual networks."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        y = self.norm1(x).relu()
        z = self.conv2(self.norm2(self.conv1(y)).relu())
        return z + (x if self.shortcut is None else self.shortcut(y))


class Classifier(nn.Module):
    """A stem, a body, the mean of each channel, a linear layer."""

    def __init__(self, body, features, classes=10):
        super().__init__()
        self.body, self.linear = nn.Sequential(*body), nn.Linear(features, classes)

    def forward(self, x):
        return self.linear(self.body(x).mean((2, 3)))


def stages(block, inputs, widths, blocks):
    for stage, width in enumerate(widths):
        for i in range(blocks):
            yield block(inputs, width, 2 if stage and i == 0 else 1)
            inputs = width


def resnet(widths, blocks):
    stem = [ConvNorm(3, widths[0]), nn.ReLU()]
    return Classifier([*stem, *stages(Basic, widths[0], widths, blocks)], widths[-1])


def mobilenet_v2():
    layers, inputs = [ConvNorm(3, 32), nn.ReLU()], 32
    groups = [(1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for factor, outputs, blocks, stride in groups:
        for i in range(blocks):
            layers.append(Inverted(inputs, outputs, factor, stride if i == 0 else 1))
            inputs = outputs
    return Classifier([*layers, ConvNorm(320, 1280, 1), nn.ReLU()], 1280)


def wide_resnet(depth, width):
    widths = (16 * width, 32 * width, 64 * width)
    body = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), *stages(PreActivation, 16, widths, (depth - 4) // 6)]
    return Classifier([*body, nn.BatchNorm2d(widths[-1]), nn.ReLU()], widths[-1])


def network(name):
    if name.startswith("wrn-"):
        depth, width = map(int, name.split("-")[1:])
        return wide_resnet(depth, width)
    return {
        "resnet8": lambda: resnet((16, 32, 64), 1),
        "resnet20": lambda: resnet((16, 32, 64), 3),
        "resnet18": lambda: resnet((64, 128, 256, 512), 2),
        "mobilenet-v2": mobilenet_v2,
    }[name]()
