"""The zoo as PyTorch modules, under the state-dict names that published checkpoints use.

`build(name, channels, size, classes)` returns a module. Input is (N, channels, size, size) in [0, 1], output (N, classes)
logits. ReLU everywhere; pooling before the classifier is the mean over all positions. Sources:
kuangliu/pytorch-cifar (resnet*, preact-resnet18, mobilenet-v2), yaodongyu/TRADES (wrn-*, small-cnn),
VNN-COMP 2021 (resnet4b), RobustBench (the forms of preact-resnet18, dm-*, ra-wrn-*, wrn-a-*, wrn-r-*, mma-wrn-*: written
anew from its classes, beside which tools/robustbench_table.py lays the product itself). `tiny-cnn` is this project's own.
"""
import re

from torch import flatten, nn, tensor, where, zeros
from torch.nn.functional import max_pool2d, pad, relu, silu


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


def stage(block, inputs, outputs, count, stride):
    rest = [block(outputs, outputs, 1) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, outputs, stride), *rest)


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


class Standardized(WideResidual):
    """MMA training's: each image less its mean, over its deviation, which is at least 1 / sqrt(n)."""

    def forward(self, x):
        floor = x[0].numel() ** -0.5
        around = x - x.mean((1, 2, 3), keepdim=True)
        return super().forward(around / x.std((1, 2, 3), keepdim=True).clamp(min=floor))


class ShapedBlock(nn.Module):
    """Huang's: ReLU and `convShortcut`, or SiLU and `shortcut.0`."""

    def __init__(self, smooth):
        super().__init__()
        self.smooth = silu if smooth else relu

    @staticmethod
    def of(smooth, inputs, outputs, stride):
        block = ShapedBlock(smooth)
        block.bn1 = nn.BatchNorm2d(inputs)
        block.conv1 = conv(inputs, outputs, 3, stride)
        block.bn2 = nn.BatchNorm2d(outputs)
        block.conv2 = conv(outputs, outputs, 3)
        block.around = None
        if inputs != outputs or stride != 1:
            block.around = "shortcut" if smooth else "convShortcut"
            project = conv(inputs, outputs, 1, stride)
            setattr(block, block.around, nn.Sequential(project) if smooth else project)
        return block

    def forward(self, x):
        active = self.smooth(self.bn1(x))
        around = x if self.around is None else getattr(self, self.around)(active)
        return self.conv2(self.smooth(self.bn2(self.conv1(active)))) + around


class Shaped(nn.Module):
    """stem_conv, blocks.S.layer.I, the last norm, fc; `stages` lists (blocks, channels)."""

    def __init__(self, smooth, stages, channels, classes):
        super().__init__()
        self.smooth, self.last = smooth, "norm1" if smooth else "bn1"
        self.stem_conv = conv(channels, 16, 3)
        self.blocks, inputs = nn.ModuleList(), 16
        for number, (count, outputs) in enumerate(stages):
            group = nn.Module()
            sizes = [(inputs, 2 if number else 1)] + [(outputs, 1)] * (count - 1)
            group.layer = nn.Sequential(*(ShapedBlock.of(smooth, size, outputs, step) for size, step in sizes))
            self.blocks.append(group)
            inputs = outputs
        setattr(self, self.last, nn.BatchNorm2d(inputs))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.stem_conv(x)
        for group in self.blocks:
            x = group.layer(x)
        return self.fc(pooled((silu if self.smooth else relu)(getattr(self, self.last)(x))))


def tensorflows(x, stride):
    """Padding of a 3x3 convolution: at stride 2 to the right and below alone."""
    return pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class Excitation(nn.Module):
    def __init__(self, width):
        super().__init__()
        inner = round(0.25 * width)
        self.fc1 = nn.Conv2d(width, inner, 1)
        self.fc2 = nn.Conv2d(inner, width, 1)

    def forward(self, x):
        return x * self.fc2(relu(self.fc1(x.mean((2, 3), keepdim=True)))).sigmoid()


class MeanSparse(nn.Module):
    """Values within `threshold` deviations of their channel's mean become it (Amini et al. 2024). The last two buffers are
    for whoever measures the first two."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("running_mean", zeros(channels))
        self.register_buffer("running_var", zeros(channels))
        for name in ("threshold", "flag_update_statistics", "batch_num"):
            self.register_buffer(name, tensor(0.0))

    def forward(self, x):
        mean, width = (v.view(1, -1, 1, 1) for v in (self.running_mean, self.threshold * self.running_var.sqrt()))
        return where((x - mean).abs() < width, mean, x)


def between(sparse, channels):
    """What lies between a norm and its activation."""
    return MeanSparse(channels) if sparse else nn.Identity()


class DeepMindBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, excited=False, sparse=False, momentum=0.1):
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inputs, momentum=momentum)
        self.meansparse_0 = between(sparse, inputs)
        self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.meansparse_1 = between(sparse, outputs)
        self.conv_1 = conv(outputs, outputs, 3)
        self.shortcut = None if inputs == outputs else conv(inputs, outputs, 1, stride)
        self.se = Excitation(outputs) if excited else None
        self.meansparse_2 = between(sparse, outputs)

    def forward(self, x):
        active = silu(self.meansparse_0(self.batchnorm_0(x)))
        around = x if self.shortcut is None else self.shortcut(active)
        x = self.batchnorm_1(self.conv_0(tensorflows(active, self.stride)))
        x = self.conv_1(silu(self.meansparse_1(x)))
        return self.meansparse_2((x if self.se is None else self.se(x)) + around)


class DeepMindPreActivation(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.conv_2d_1 = nn.Conv2d(inputs, outputs, 3, stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.conv_2d_2 = conv(outputs, outputs, 3)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 3, stride, bias=False)

    def forward(self, x):
        around = self.shortcut(tensorflows(x, self.stride)) if hasattr(self, "shortcut") else x
        x = self.conv_2d_1(tensorflows(silu(self.batchnorm_0(x)), self.stride))
        return self.conv_2d_2(silu(self.batchnorm_1(x))) + around


CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))


class Normalised(nn.Module):
    """Constants that belong to the network and not to its state dict."""

    def __init__(self):
        super().__init__()
        for name, values in zip(("mean", "std"), CIFAR10):
            self.register_buffer(name, tensor(values).double().view(1, 3, 1, 1), persistent=False)

    def normal(self, x):
        return (x - self.mean) / self.std


class DeepMindWide(Normalised):
    """init_conv, layer.S.block.I, batchnorm, logits; `stages` lists (blocks, channels)."""

    def __init__(self, stem, stages, channels, classes, excited=False, sparse=False):
        super().__init__()
        momentum = 0.01 if excited else 0.1
        self.init_conv = conv(channels, stem, 3)
        groups, inputs = [], stem
        for number, (count, outputs) in enumerate(stages):
            group = nn.Module()
            sizes = [(inputs, 2 if number else 1)] + [(outputs, 1)] * (count - 1)
            blocks = (DeepMindBlock(size, outputs, step, excited, sparse, momentum) for size, step in sizes)
            group.block = nn.Sequential(*blocks)
            groups.append(group)
            inputs = outputs
        self.layer = nn.Sequential(*groups)
        self.batchnorm = nn.BatchNorm2d(inputs, momentum=momentum)
        self.logits = nn.Linear(inputs, classes)
        self.meansparse_end = between(sparse, inputs)

    def forward(self, x):
        x = self.init_conv(self.normal(x))
        for group in self.layer:
            x = group.block(x)
        return self.logits(pooled(silu(self.meansparse_end(self.batchnorm(x)))))


class DeepMindResidual(Normalised):
    def __init__(self, widths, channels, classes):
        super().__init__()
        self.conv_2d = conv(channels, widths[0], 3)
        inputs = widths[0]
        for number, outputs in enumerate(widths):
            setattr(self, f"layer_{number}", stage(DeepMindPreActivation, inputs, outputs, 2, 2 if number else 1))
            inputs = outputs
        self.batchnorm = nn.BatchNorm2d(inputs)
        self.logits = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.conv_2d(self.normal(x))
        for number in range(4):
            x = getattr(self, f"layer_{number}")(x)
        return self.logits(pooled(silu(self.batchnorm(x))))


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


# Depths and widths of stages that have a name of their own.
SHAPES = {"wrn-34-r": "wrn-r-5x320-5x640-5x512", "wrn-a4": "wrn-a-27x160-28x448-13x384",
          "ra-wrn-70-16": "ra-wrn-96-30x216-31x432-10x864"}
PYRAMID = (64, 128, 256, 512)


def stages(parts):
    return [tuple(int(number) for number in part.split("x")) for part in parts]


def wide(name, channels, classes):
    """Wide ResNets of every family."""
    sparse = name.startswith("ms-")
    name = name.removeprefix("ms-")
    family, _, rest = SHAPES.get(name, name).partition("wrn-")
    parts = rest.split("-")
    if family == "ra-":
        return DeepMindWide(int(parts[0]), stages(parts[1:]), channels, classes, excited=True, sparse=sparse)
    if parts[0] in ("r", "a"):
        return Shaped(parts[0] == "a", stages(parts[1:]), channels, classes)
    depth, factor = (int(part) for part in parts)
    if family == "dm-":
        count = (depth - 4) // 6
        return DeepMindWide(16, [(count, 16 * factor * 2 ** n) for n in range(3)], channels, classes,
                            sparse=sparse)
    return (Standardized if family == "mma-" else WideResidual)(depth, factor, channels, classes)


def build(name, channels, size, classes):
    """The named network in f32 with arbitrary values; `initial.fill` gives it its values."""
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
        "tiny-cnn": lambda: TinyCnn(channels, classes),
    }
    return makers[base]()
