"""The zoo as PyTorch modules, under the state-dict names that published checkpoints use.

`build(name, channels, size, classes)` returns a module. Input is (N, channels, size, size) in [0, 1], output (N, classes)
logits. ReLU everywhere; pooling before the classifier is the mean over all positions. Sources:
kuangliu/pytorch-cifar (resnet*, preact-resnet18, mobilenet-v2), yaodongyu/TRADES (wrn-*, small-cnn),
VNN-COMP 2021 (resnet4b). `tiny-cnn` is this project's own.
"""
from torch import flatten, nn, tensor
from torch.nn.functional import max_pool2d, relu


def conv(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)


def projection(inputs, outputs, stride):
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


def pooled(x):
    return x.mean((2, 3))


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
        around = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(relu(self.bn2(self.conv1(active)))) + around


def stage(block, inputs, outputs, count, stride):
    rest = [block(outputs, outputs, 1) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, outputs, stride), *rest)


class Residual(nn.Module):
    """conv1, layer1 .. layerN, linear; `bn1` only where the blocks are not pre-activated."""

    def __init__(self, block, widths, count, channels, classes):
        super().__init__()
        self.conv1 = conv(channels, widths[0], 3)
        if block is Basic:
            self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = len(widths)
        for number, outputs in enumerate(widths):
            inputs = widths[max(number - 1, 0)]
            layer = stage(block, inputs, outputs, count, 2 if number else 1)
            setattr(self, f"layer{number + 1}", layer)
        self.linear = nn.Linear(widths[-1], classes)

    def forward(self, x):
        x = self.conv1(x)
        if hasattr(self, "bn1"):
            x = relu(self.bn1(x))
        for number in range(self.stages):
            x = getattr(self, f"layer{number + 1}")(x)
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


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        self.convShortcut = None if inputs == outputs else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        active = relu(self.bn1(x))
        around = x if self.convShortcut is None else self.convShortcut(active)
        return self.conv2(relu(self.bn2(self.conv1(active)))) + around


class WideStage(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.layer = stage(WideBlock, *shape)

    def forward(self, x):
        return self.layer(x)


class WideResidual(nn.Module):
    def __init__(self, depth, factor, channels, classes):
        super().__init__()
        count = (depth - 4) // 6
        self.conv1 = conv(channels, 16, 3)
        self.block1 = WideStage(16, 16 * factor, count, 1)
        self.block2 = WideStage(16 * factor, 32 * factor, count, 2)
        self.block3 = WideStage(32 * factor, 64 * factor, count, 2)
        self.bn1 = nn.BatchNorm2d(64 * factor)
        self.fc = nn.Linear(64 * factor, classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(pooled(relu(self.bn1(x))))


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
        for name, values in (("mean", (0.4914, 0.4822, 0.4465)), ("std", (0.2471, 0.2435, 0.2616))):
            self.register_buffer(name, tensor(values).double().view(1, 3, 1, 1), persistent=False)

    def forward(self, x):
        x = self.layer1(relu(self.conv1((x - self.mean) / self.std)))
        return self.linear2(relu(self.linear1(flatten(self.layer2(x), 1))))


class TinyCnn(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        for number, (inputs, outputs, stride) in enumerate(((channels, 8, 2), (8, 16, 2), (16, 32, 1), (32, 32, 2)), 1):
            setattr(self, f"conv{number}", conv(inputs, outputs, 3, stride))
            setattr(self, f"bn{number}", nn.BatchNorm2d(outputs))
        self.linear = nn.Linear(32, classes)

    def forward(self, x):
        for number in range(1, 5):
            x = relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        return self.linear(pooled(x))


def build(name, channels, size, classes):
    """The named network in f32 with arbitrary values; `initial.fill` gives it its values."""
    if name.startswith("wrn-"):
        depth, factor = (int(part) for part in name.split("-")[1:])
        return WideResidual(depth, factor, channels, classes)
    makers = {
        "resnet8": lambda: Residual(Basic, (16, 32, 64), 1, channels, classes),
        "resnet20": lambda: Residual(Basic, (16, 32, 64), 3, channels, classes),
        "resnet18": lambda: Residual(Basic, (64, 128, 256, 512), 2, channels, classes),
        "preact-resnet18": lambda: Residual(PreActivation, (64, 128, 256, 512), 2, channels, classes),
        "mobilenet-v2": lambda: MobileNetV2(1, channels, classes),
        "mobilenet-v2-x0.25": lambda: MobileNetV2(0.25, channels, classes),
        "small-cnn": lambda: SmallCnn(channels, size, classes),
        "resnet4b": lambda: ResNet4b(size, classes),
        "tiny-cnn": lambda: TinyCnn(channels, classes),
    }
    return makers[name]()
