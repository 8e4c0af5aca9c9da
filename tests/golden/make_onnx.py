"""ONNX models as PyTorch's two exporters and ONNX's own package write them, and what PyTorch answers.

    python tests/golden/make_onnx.py          torch, onnx and onnxscript; versions in onnx.json

Writes tests/golden/onnx/*.onnx (small networks that between them have every operator that is read),
tests/golden/onnx.safetensors (images and logits of each) and common/weights/tests/files/every_kind.onnx.
"""

import json
import os
import sys
import warnings

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from store import write_tensors

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = (3, 8, 8)
CLASSES = 5


class Residual(nn.Module):
    """Convolution, BatchNorm, ReLU, a sum, the mean of the map."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(8, eps=1e-3, momentum=0.03)
        self.linear = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)) + x)
        return self.linear(x.mean((2, 3)))


class Padded(nn.Module):
    """Normalises its images, pads on two sides, SiLU, BatchNorm before the convolution."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2471, 0.2435, 0.2616]).view(3, 1, 1))
        self.conv1 = nn.Conv2d(3, 6, 3, 2, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, 1, 1)
        self.logits = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.conv1(F.pad((x - self.mean) / self.std, (0, 1, 0, 1)))
        x = self.conv2(F.silu(self.bn(x)))
        return self.logits(F.adaptive_avg_pool2d(F.silu(x), 1).flatten(1))


class Mobile(nn.Module):
    """Depthwise and grouped convolutions, ReLU6, average pooling, a view by the number of images."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, (3, 1), (2, 1), (1, 0), groups=8, bias=False)
        self.grouped = nn.Conv2d(8, 4, 1, groups=2)
        self.classifier = nn.Linear(4 * 2 * 4, CLASSES)

    def forward(self, x):
        x = F.relu6(self.expand(x))
        x = F.avg_pool2d(F.relu6(self.grouped(self.depthwise(x))), 2)
        return self.classifier(x.view(x.size(0), -1))


class Gated(nn.Module):
    """A gate for each channel, maps side by side, max pooling, a product with a sum behind it, dropout."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3, padding=1)
        self.right = nn.Conv2d(3, 4, 3, padding=1)
        self.squeeze = nn.Conv2d(8, 3, 1)
        self.excite = nn.Conv2d(3, 8, 1)
        self.matrix = nn.Parameter(torch.zeros(8 * 4 * 4, 7))
        self.bias = nn.Parameter(torch.zeros(7))
        self.last = nn.Linear(7, CLASSES, bias=False)

    def forward(self, x):
        x = torch.cat([torch.sigmoid(self.left(x)), F.relu(self.right(x))], 1)
        gate = self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1))))
        x = F.max_pool2d(x * torch.sigmoid(gate), 2)
        x = F.dropout(x, 0.5, self.training)
        return self.last(F.relu(x.flatten(1) @ self.matrix + self.bias))


def filled(network, seed):
    """The network with values that no part of it could ignore, in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=draw)
            elif tensor.is_floating_point() and name not in ("mean", "std"):
                fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
                tensor.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=draw)
    return network.eval()


def forget_the_machine(path):
    """Takes out where each node's Python stood: paths of the machine that exported it."""
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def export(network, path, **how):
    images = torch.rand(2, *SIZE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how.pop("dynamo", False):
            torch.onnx.export(network, (images,), path, dynamo=True, verbose=False, **how)
            forget_the_machine(path)
        else:
            torch.onnx.export(network, images, path, dynamo=False, **how)


def every_kind(path):
    """One node that is of no use, with a setting of every kind and a tensor in every place that numbers may have."""
    tensors = [
        helper.make_tensor("half", TensorProto.FLOAT16, [2], [1.5, -2.0]),
        helper.make_tensor("dbl", TensorProto.DOUBLE, [1], [0.1]),
        helper.make_tensor("flt", TensorProto.FLOAT, [2, 2], [1.0, 2.0, 3.0, -4.5]),
        numpy_helper.from_array(np.array([-1, 1 << 40], dtype=np.int64), "raw"),
        helper.make_tensor("i64", TensorProto.INT64, [3], [0, -1, 7]),
        helper.make_tensor("i8", TensorProto.INT8, [2], [-128, 127]),
    ]
    number = helper.make_tensor("", TensorProto.INT32, [], [9])
    settings = {"f": 0.25, "i": -3, "s": "same", "fs": [0.5, -1.0], "ints": [1, -2, 3], "t": number}
    node = helper.make_node("Mixed", ["x", "", "flt"], ["y"], name="n", domain="own", **settings)
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])
    logits = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph([node], "g", [images], [logits], tensors)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 2)]
    model = helper.make_model(graph, opset_imports=sets, producer_name="maker", ir_version=8)
    helper.set_model_props(model, {"key": "text"})
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def main():
    every_kind(os.path.join(HERE, "../../common/weights/tests/files/every_kind.onnx"))
    folder = os.path.join(HERE, "onnx")
    os.makedirs(folder, exist_ok=True)
    free = {"input_names": ["image"], "dynamic_axes": {"image": {0: "N"}}}
    kept = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    cases = {
        "folded": (Residual(), {"opset_version": 13}),
        "kept": (Residual(), {**kept, "opset_version": 17}),
        "padded": (Padded(), {"opset_version": 17}),
        "mobile": (Mobile(), {**free, "opset_version": 11}),
        "gated": (Gated(), {"opset_version": 17}),
        "exported-program": (Padded(), {"dynamo": True, "external_data": True}),
        "one-file": (Mobile(), {"dynamo": True, "external_data": False}),
    }
    tensors, report = {}, {"torch": torch.__version__, "onnx": onnx.__version__, "cases": {}}
    for seed, (name, (network, how)) in enumerate(cases.items()):
        filled(network, seed)
        path = os.path.join(folder, f"{name}.onnx")
        export(network, path, **how)
        images = torch.rand(4, *SIZE, generator=torch.Generator().manual_seed(100 + seed))
        with torch.no_grad():
            logits = network.double()(images.double())
        tensors[f"{name}/images"], tensors[f"{name}/logits"] = images.double(), logits
        operators = sorted({node.op_type for node in onnx.load(path).graph.node})
        report["cases"][name] = {"operators": operators, "opset": onnx.load(path).opset_import[0].version}
    write_tensors("onnx.safetensors", {name: tensor.numpy() for name, tensor in tensors.items()})
    with open(os.path.join(HERE, "onnx.json"), "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    sys.exit(main())
