"""Writes stage1-label/tests/files/foreign.pt, a checkpoint as other people's training scripts leave them, and what PyTorch answers.

    python tests/golden/make_foreign.py

Needs torch, numpy, pyarrow and pillow. The network is `tiny-cnn` with random values, kept in halves to stay small, behind a
normaliser and saved from inside the wrapper that attacks it: every tensor twice, an optimizer and an average's counter beside.
`foreign.json` has the logits of the first eight test images of the sample, with the normalisation and without, and how many
of the first 200 are answered right, computed in float64.
"""

import io
import json
import pathlib

import numpy
import pyarrow.parquet
import torch
from PIL import Image
from torch import nn

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "stage1-label" / "tests" / "files"


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [1, 8, 16, 32, 32]
        for i, stride in enumerate([2, 2, 1, 2], 1):
            setattr(self, f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], 3, stride, 1, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(widths[i]))
        self.linear = nn.Linear(32, 10)

    def forward(self, x):
        for i in range(1, 5):
            x = torch.relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)))
        return self.linear(x.mean((2, 3)))


class Normalizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("new_mean", torch.tensor([0.25]).view(1, 1, 1))
        self.register_buffer("new_std", torch.tensor([0.5]).view(1, 1, 1))

    def forward(self, x):
        return (x - self.new_mean) / self.new_std


class Attacked(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.normalizer, self.model = Normalizer(), model
        self.attacker = nn.Module()
        self.attacker.model, self.attacker.normalize = model, self.normalizer

    def forward(self, x):
        return self.model(self.normalizer(x))


def images(count):
    rows = pyarrow.parquet.read_table(ROOT / "data" / "samples" / "test.parquet").slice(0, count).to_pylist()
    pixels = [numpy.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows]
    labels = torch.tensor([row["label"] for row in rows])
    return torch.from_numpy(numpy.stack(pixels)[:, None].astype(numpy.float64) / 255), labels


def main():
    torch.manual_seed(8)
    network = Tiny().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1)
            module.weight.data.uniform_(0.75, 1.25)
            module.bias.data.normal_(0, 0.1)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())
    whole = Attacked(network).eval()
    parallel = nn.DataParallel(whole).state_dict()
    halves = {}
    for name, tensor in parallel.items():
        same = next((known for known in halves if parallel[known].data_ptr() == tensor.data_ptr()), None)
        halves[name] = halves[same] if same else tensor.half() if tensor.numel() > 1 and tensor.is_floating_point() else tensor.clone()
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1, momentum=0.9)
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.save({"model": halves, "optimizer": optimizer.state_dict(), "epoch": 150, "best_prec1": torch.tensor(0.5)}, FOLDER / "foreign.pt")
    with torch.no_grad():
        pixels, labels = images(200)
        logits = {"normalised": whole.double()(pixels), "plain": network.double()(pixels)}
        answers = {name: found[:8].tolist() for name, found in logits.items()}
        answers["right_of_200"] = {name: int((found.argmax(1) == labels).sum()) for name, found in logits.items()}
    (FOLDER / "foreign.json").write_text(json.dumps(answers) + "\n")


main()
