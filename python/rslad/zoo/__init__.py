"""The architectures of `label` and `distill` as PyTorch modules, under the same names."""
from .networks import build as _build


def build(name, channels=3, size=32, classes=10):
    """The network called `name` (`resnet18`, `wrn-34-10`, `mobilenet-v2-x0.5` ..) in f32, with arbitrary values.

    It takes (N, channels, size, size) in [0, 1] and gives logits (N, classes). Its state dict has the names that
    students are stored under and published checkpoints use.
    """
    try:
        return _build(name, channels, size, classes).float()
    except KeyError:
        raise ValueError(f"no architecture {name!r} here\nhint: `label --help` lists them") from None
