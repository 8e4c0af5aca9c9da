"""Wide ResNets of every family, and DeepMind's networks; see networks.py beside it."""
from torch import nn, tensor, where, zeros
from torch.nn.functional import pad, relu, silu

from .layers import conv, pooled, stage


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


# Depths and widths of stages that have a name of their own.
SHAPES = {"wrn-34-r": "wrn-r-5x320-5x640-5x512", "wrn-a4": "wrn-a-27x160-28x448-13x384",
          "ra-wrn-70-16": "ra-wrn-96-30x216-31x432-10x864"}


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
