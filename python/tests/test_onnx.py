"""Networks of `rslad.zoo` through `torch.onnx.export` into rslad, and students of rslad out into other programs.

Needs torch, onnx, onnxscript and onnxruntime, and the binaries: RSLAD_BIN names their folder, by default target/release or
target/debug. RSLAD_ONNX_LARGE=1 takes the two wide networks whole; without it they are of depth 10 and width 1.
"""
import os
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

try:
    import onnx
    import onnxruntime
    import onnxscript  # noqa: F401
    import torch
    from safetensors.torch import save_file

    import rslad
    from rslad import zoo
except ImportError as error:
    raise unittest.SkipTest(f"not installed: {error.name}")

PLACES = [os.environ.get("RSLAD_BIN"), ROOT / "target" / "release", ROOT / "target" / "debug"]
BIN = next((Path(place) for place in PLACES if place and (Path(place) / "distill").exists()), None)
WIDE = "28-10" if os.environ.get("RSLAD_ONNX_LARGE") else "10-1"
NETWORKS = ["resnet18", "mobilenet-v2", "preact-resnet18", f"wrn-{WIDE}", f"dm-wrn-{WIDE}"]
# One of each class: the number of classes is read from the labels.
IMAGES = 10


def filled(network, seed):
    """The network with statistics and scales that no BatchNorm can ignore, in evaluation mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
    return network.eval()


def kept(training=torch.onnx.TrainingMode.PRESERVE):
    return {"dynamo": False, "training": training, "do_constant_folding": False}


@unittest.skipUnless(BIN, "no binaries: cargo build --release")
class Onnx(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def call(self, binary, *words):
        found = subprocess.run([BIN / binary, *map(str, words)], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual(found.returncode, 0, found.stderr)
        return found

    def test_what_pytorch_exports_answers_as_in_pytorch(self):
        pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
        np.savez(self.folder / "images.npz", images=pixels, labels=np.arange(IMAGES))
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        hows = {"folded": {"dynamo": False}, "kept": kept(), "program": {"dynamo": True, "verbose": False}}
        for seed, name in enumerate(NETWORKS):
            network = filled(zoo.build(name), seed)
            with torch.no_grad():
                wanted = network(images).numpy()
            for how, options in hows.items():
                with self.subTest(name=name, how=how), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    file, out = self.folder / f"{how}.onnx", self.folder / f"{name}-{how}"
                    torch.onnx.export(network, (images[:2],), file, **options)
                    where = ("--data", "npz:images.npz", "--augment", "none", "--views", "all", "--dtype", "f32")
                    self.call("label", "run", "--teacher", file, *where, "--out", out)
                    found = rslad.LabelSet(out).logits
                    self.assertLess(np.abs(found - wanted).max(), 1e-4 * max(1, np.abs(wanted).max()))

    def test_a_network_that_pytorch_exports_has_the_zoos_operations_in_the_zoos_order(self):
        """So that one plan runs both. What a graph is made of shows in what `distill export` writes of it, node by node."""
        for name in ("resnet8", "mobilenet-v2-x0.25", "preact-resnet18-x0.25", "wrn-10-1"):
            network = filled(zoo.build(name, 1, 28, 10), 0)
            save_file(network.state_dict(), self.folder / f"{name}.safetensors")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(network, (torch.rand(2, 1, 28, 28),), self.folder / f"{name}.onnx", **kept())
            with self.subTest(name=name):
                found = self.operations(f"{name}.onnx", name)
                self.assertEqual(found, self.operations(f"{name}.safetensors", name, "--arch", name))
                self.assertGreater(sum(len(reads) > 1 for _, reads in found), 0, "branches meet")

    def operations(self, weights, name, *more):
        """Of this student, as it is written: each node's operator, and the places of the nodes that it reads."""
        out = self.folder / f"{weights}-out"
        where = ("--data", "sample", "--limit", 8)
        self.call("distill", "export", weights, *more, *where, "--to", "onnx", "--out", out)
        nodes = onnx.load(out / "student.onnx").graph.node
        places = {node.output[0]: place for place, node in enumerate(nodes)}
        return [(node.op_type, [places[name] for name in node.input if name in places]) for node in nodes]

    def test_a_student_leaves_and_answers_as_before(self):
        student = ROOT / "data" / "samples" / "teacher.safetensors"
        where = ("--data", "sample", "--eps", "0.15", "--limit", "200")
        os.environ["RSLAD_PYTHON"] = sys.executable
        for form, more in {"torch": (), "onnx": ("--int8",), "candle": ()}.items():
            self.call("distill", "export", student, *where, "--to", form, *more, "--out", form)
        card = (self.folder / "torch" / "README.md").read_text()
        self.assertIn("by PyTorch, 64 images", card)
        for said in ("pgd20", "pixels in [0, 1]", "(N, 1, 28, 28)"):
            self.assertIn(said, card)
        sys.path.insert(0, str(self.folder / "torch"))
        from student import tensors

        check = {name: value.numpy() for name, value in tensors(self.folder / "torch" / "check.safetensors").items()}
        largest = np.abs(check["logits"]).max()

        def answers(file):
            session = onnxruntime.InferenceSession(self.folder / "onnx" / file, providers=["CPUExecutionProvider"])
            return session.run(None, {"images": check["images"]})[0]

        self.assertLess(np.abs(answers("student.onnx") - check["logits"]).max(), 1e-5 * largest)
        eight = answers("student.int8.onnx")
        self.assertGreater(np.abs(eight - check["logits"]).max(), 1e-5 * largest, "eight bits round")
        same = (eight.argmax(1) == check["logits"].argmax(1)).mean()
        self.assertGreater(same, 0.9)
        for file in ("Cargo.toml", "src/main.rs", "student.safetensors", "check.safetensors"):
            self.assertTrue((self.folder / "candle" / file).exists(), file)


if __name__ == "__main__":
    unittest.main()
