"""A PyTorch loop on `rslad.torch` beside `distill train`: the same views, order, answers, starts, losses and student.

Needs torch, and the binaries: RSLAD_BIN names their folder, by default target/release or target/debug.
"""
import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

try:
    import torch
    from pyarrow import parquet
    from PIL import Image
    from safetensors.torch import load_file, save_file

    import rslad
    from rslad.torch import Views, rslad_attack, rslad_loss
except ImportError as error:
    raise unittest.SkipTest(f"not installed: {error.name}")

PLACES = [os.environ.get("RSLAD_BIN"), ROOT / "target" / "release", ROOT / "target" / "debug"]
BIN = next((Path(place) for place in PLACES if place and (Path(place) / "distill").exists()), None)
STEPS, BATCH, IMAGES = 20, 32, 640


def digits(count):
    """The first digits of the embedded sample, u8 (N, H, W, C)."""
    table = parquet.read_table(ROOT / "data" / "samples" / "train.parquet").slice(0, count)
    images = [np.asarray(Image.open(io.BytesIO(row["bytes"]))) for row in table["image"].to_pylist()]
    return np.stack(images)[..., None]


@unittest.skipUnless(BIN, "no binaries: cargo build --release")
class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.scratch.name)
        teacher = ROOT / "data" / "samples" / "teacher.safetensors"
        where = ("--data", "sample", "--limit", IMAGES)
        cls.call("label", "run", "--teacher", teacher, *where, "--views", "plan:1@7", "--dtype", "f32", "--out", "labels")
        run = ("--objective", "rslad", "--labels", "labels", *where, "--holdout", 0, "--epochs", 1, "--batch", BATCH)
        run += ("--seed", 7, "--eps", 0.15, "--set", "lr=0.5", "--student", "tiny-cnn", "--exact-conv")
        # A student of no steps does not exist: the run's own beginning is another run's with a rate that moves nothing.
        cls.call("distill", "train", *run, "--set", "lr=1e-30", "--set", "weight-decay=0", "--out", "begin")
        cls.call("distill", "train", *run, "--init", "begin/student.safetensors", "--out", "run")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def call(cls, binary, *words):
        found = subprocess.run([BIN / binary, *map(str, words)], cwd=cls.folder, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr

    def test_twenty_steps_end_where_distill_ends(self):
        views = Views(self.folder / "labels", digits(IMAGES), seed=7, holdout=0)
        student = rslad.load(self.folder / "begin" / "student.safetensors").train()
        optimiser = torch.optim.SGD(student.parameters(), 0.5, momentum=0.9, weight_decay=2e-4)
        total = steps = 0
        for x, teacher, _, place in views.batches(0, BATCH):
            adversarial = rslad_attack(student, x, teacher, views.start(0, place, x), eps=0.15, step=0.15 / 4)
            optimiser.zero_grad()
            loss = rslad_loss(student(adversarial), student(x), teacher)
            loss.backward()
            optimiser.step()
            total, steps = total + loss.item() * len(x), steps + 1
        self.assertEqual(steps, STEPS)
        lines = (self.folder / "run" / "metrics.jsonl").read_text().splitlines()
        wanted = next(line["loss"] for line in map(json.loads, lines) if line.get("step") == STEPS)
        self.assertLess(abs(total / IMAGES - wanted), 1e-5)
        theirs = load_file(self.folder / "run" / "student.safetensors")
        ours = student.state_dict()
        apart = sum(float((theirs[name] - ours[name]).double().square().sum()) for name in theirs)
        moved = load_file(self.folder / "begin" / "student.safetensors")
        way = sum(float((theirs[name] - moved[name]).double().square().sum()) for name in theirs)
        self.assertLess(apart, 1e-6 * way)

    def test_a_data_loader_gives_the_same_batches(self):
        views = Views(self.folder / "labels", digits(IMAGES), seed=7, holdout=0)
        loader = torch.utils.data.DataLoader(views, batch_size=BATCH, sampler=views.sampler)
        for found, wanted in zip(loader, views.batches(0, BATCH), strict=True):
            for part, other in zip(found, wanted):
                self.assertTrue(torch.equal(part, other))

    def test_images_held_out_leave_the_order_of_the_others(self):
        views = Views(self.folder / "labels", digits(IMAGES), seed=7, holdout=100)
        self.assertEqual((len(views.held_out), len(views.sampler)), (100, IMAGES - 100))
        whole = [p for p in Views(self.folder / "labels", digits(IMAGES), 7, holdout=0).sampler if p not in views.held_out]
        self.assertEqual(list(views.sampler), whole)


class Students(unittest.TestCase):
    def test_a_student_of_an_onnx_graph_is_refused_with_what_gives_its_module(self):
        said = {"architecture": "onnx:30eeb702915c", "input": [1, 28, 28], "classes": 10, "graph": {}}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "student.safetensors"
            save_file({"fc.weight": torch.zeros(10, 784)}, file, {"rslad": json.dumps(said)})
            with self.assertRaises(ValueError) as refused:
                rslad.load(file)
        text = str(refused.exception)
        self.assertTrue(text.startswith(f"{file}: a student of an ONNX graph, onnx:30eeb702915c"), text)
        self.assertTrue(text.endswith("hint: `distill export RUN --to torch` writes one"), text)


if __name__ == "__main__":
    unittest.main()
