"""Writes the weight fixtures of common/weights/tests/files, and the values PyTorch reads back from them.

    python tests/golden/make_weights.py

Needs torch, numpy and safetensors. Each file is a few kilobytes. `expected.json` maps a file to its tensors: dtype,
shape and values (row-major, as the shortest text that is the float64), read back with `torch.load` or safetensors, never taken
from the objects that were saved. Pickles that only a stranger would write are spelled out byte by byte in the tests.
"""

import argparse
import collections
import json
import pathlib
import pickle

import numpy
import safetensors.torch
import torch

FOLDER = pathlib.Path(__file__).parents[2] / "common" / "weights" / "tests" / "files"
DTYPES = {
    torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.float64: "F64", torch.bool: "Bool",
    torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
}


def every_kind():
    """One tensor of each dtype, and every way a tensor can lie in its storage."""
    torch.manual_seed(1)
    base = torch.randn(4, 6)
    return {
        "f16": torch.randn(3).half(), "bf16": torch.randn(3).bfloat16(), "f64": torch.randn(2, 2, dtype=torch.float64),
        "i64": torch.tensor([-(2**53) + 1, 7]), "i32": torch.tensor([-7, 2**31 - 1], dtype=torch.int32),
        "i16": torch.tensor([-300], dtype=torch.int16), "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "u8": torch.tensor([[0, 255]], dtype=torch.uint8), "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5), "empty": torch.empty(0, 3), "counter": torch.tensor(41),
        "base": base, "transposed": base.t(), "sliced": base[1:3, ::2], "row": base[3], "expanded": base[0, :1].expand(2, 3),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "channels_last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }


def network():
    torch.manual_seed(2)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(8, 3))


def files():
    """Name of the file -> (what to save, keyword arguments of torch.save, path to the state dict inside)."""
    old = {"_use_new_zipfile_serialization": False}
    state = network().state_dict()
    yield "kinds_zip.pt", every_kind(), {}, []
    # The old form refuses storages seen as two types only, so the same tensors fit.
    yield "kinds_legacy.pt", every_kind(), old, []
    yield "network_zip.pth", state, {}, []
    yield "network_legacy.pth", state, old, []
    yield "protocol4_zip.pt", state, {"pickle_protocol": 4}, []
    yield "protocol4_legacy.pt", state, {"pickle_protocol": 4, **old}, []
    for name in ["state_dict", "net", "model", "last", "best"]:
        yield f"nested_{name}.pt", {"epoch": 3, name: state}, {}, [name]
    yield "nested_twice.pt", {"best": {"state_dict": state, "acc": 51.5}, "epoch": 9}, old, ["best", "state_dict"]
    yield "parallel.pt", {"net": {f"module.{key}": value for key, value in state.items()}}, {}, ["net"]
    yield "wrapped.pt", {f"module.model.{key}": value for key, value in state.items()}, {}, []

    # A training checkpoint as people save it: optimizer, arguments, numpy numbers and an unknown class beside the weights.
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(2, 1, 4, 4)).sum().backward()
    optimizer.step()
    beside = {
        "state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("a/b")),
        "acc": numpy.float64(0.5), "history": numpy.arange(3), "counts": collections.Counter("aab"), "device": torch.device("cpu"),
        "size": torch.Size([2, 3]), "big": 1 << 80, "none": None, "text": "teacher", "blob": b"\x00\xff", "set": {1, 2}, "list": [1.5, (True,)],
    }
    yield "training_zip.pt", beside, {}, ["state_dict"]
    yield "training_legacy.pt", beside, old, ["state_dict"]


class Normalize:
    """A transform as torchvision's is: the constants are attributes of an object."""

    def __init__(self, mean, std):
        self.mean, self.std = mean, std


class Settings(dict):
    """A configuration as many packages have it: a mapping of a class of its own."""


def constants():
    """A checkpoint whose constants of a normalisation are no tensors, in each way that people keep them; all differ."""
    return {
        "state_dict": network().state_dict(), "config": {"data": {"mean": (0.1, 0.2, 0.3), "std": [0.25, 0.5, 0.75]}, "lr": 0.1},
        "args": argparse.Namespace(lr=0.1, pixel_mean=[127.5, 51, 102], pixel_std=[63.75, 51, 127.5]),
        "arrays": {"new_mean": numpy.array([0.4, 0.5, 0.6], dtype=numpy.float32).reshape(3, 1, 1), "new_std": numpy.array([0.25, 0.5, 1.0], dtype=">f8")},
        "hyper_parameters": {"MEAN": numpy.float64(0.125), "STD": 0.5}, "transform": Normalize([0.7, 0.8, 0.9], [0.5, 0.5, 0.5]),
        "normalization": [[0.15, 0.25, 0.35], [0.5, 0.25, 0.5]], "typed": {"mean": "0.3, 0.4, 0.5", "std": "(0.25,0.25,0.25)"}, "settings": Settings(cifar10_mean_std=((0.2, 0.3, 0.4), (0.5, 0.5, 0.25))),
        # What is no normalisation of three channels' pixels in [0, 1] or up to 255.
        "accuracy": {"mean": [91.2, 90.8, 91.0], "std": [0.1, 0.2, 0.1]}, "train_loss": {"mean": 0.5, "std": 0.1}, "grey": {"mean": [0.5, 0.5], "std": [0.5, 0.5]},
        "half": {"mean": [0.5, 0.5, 0.5]}, "flags": {"mean": True, "std": True}, "plain": {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
    }


def find(value, path):
    for name in path:
        value = value[name]
    return {key: one.detach() for key, one in value.items() if torch.is_tensor(one)}


def written(tensors, path):
    rows = [
        {"name": key, "dtype": DTYPES[one.dtype], "shape": list(one.shape), "values": " ".join(map(repr, one.double().flatten().tolist()))}
        for key, one in tensors.items()
    ]
    return {"nesting": path, "tensors": rows}


def pickles():
    """Pickles of data (not weights) in every protocol, with the arrays and bytes a dataset batch has."""
    data = numpy.arange(12, dtype=numpy.uint8).reshape(3, 4)
    batch = {b"data": data, b"labels": [6, 9, 300000, -1], b"names": [b"a\xff", b"b"], "text": "caf\u00e9 \u20ac", "columns": numpy.asfortranarray(data.astype(">i2"))}
    for protocol in range(6):
        (FOLDER / f"batch_{protocol}.pickle").write_bytes(pickle.dumps(batch, protocol=protocol))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, value, arguments, path in files():
        torch.save(value, FOLDER / name, **arguments)
        # These files are ours; protocol 4 and the training checkpoints are beyond `weights_only`.
        loaded = torch.load(FOLDER / name, weights_only=False)
        expected[name] = written(find(loaded, path), path)
    tensors = {key: one.detach().clone().contiguous() for key, one in every_kind().items()}
    safetensors.torch.save_file(tensors, FOLDER / "kinds.safetensors", metadata={"rslad": "{\"a\":1}"})
    loaded = safetensors.torch.load_file(FOLDER / "kinds.safetensors")
    expected["kinds.safetensors"] = written(loaded, [])
    pickles()
    torch.save(constants(), FOLDER / "constants.pt")
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=None, separators=(",", ":")) + "\n")


main()
