"""The events of a run, as TensorBoard reads them: the numbers of metrics.jsonl, each step once, also after kill -9.

Needs tensorboard, and the binaries: RSLAD_BIN names their folder, by default target/release or target/debug.
"""
import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError as error:
    raise unittest.SkipTest(f"not installed: {error.name}")

PLACES = [os.environ.get("RSLAD_BIN"), ROOT / "target" / "release", ROOT / "target" / "debug"]
BIN = next((Path(place) for place in PLACES if place and (Path(place) / "distill").exists()), None)
# 40 batches an epoch: a line in the middle of most epochs, and one at the end of each.
RUN = ["train", "--data", "sample", "--limit", "2000", "--holdout", "0", "--batch", "50", "--epochs", "12"]
RUN += ["--student", "tiny-cnn", "--objective", "natural", "--threads", "1", "-q"]


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def logged(run):
    """What metrics.jsonl says, by TensorBoard's tags."""
    found = {}
    for line in lines(run):
        part = "epoch" if "lr" in line else "step"
        for key, value in line.items():
            if key not in ("step", "epoch"):
                found.setdefault(f"{part}/{key}", []).append((line["step"], float(np.float32(value))))
    return found


def read(run):
    """What TensorBoard finds in the folder."""
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@unittest.skipUnless(BIN, "no binaries: cargo build")
class Events(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.run_folder = Path(self.scratch.name) / "run"
        self.command = [BIN / "distill", *RUN, "--out", self.run_folder]

    def kill_after(self, count):
        """Trains until so many lines are there, and kills the process."""
        process = subprocess.Popen(self.command)
        metrics = self.run_folder / "metrics.jsonl"
        while process.poll() is None and (not metrics.exists() or metrics.read_text().count("\n") < count):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def test_a_run_that_was_killed_twice_has_each_step_once(self):
        for count in (4, 11):
            self.kill_after(count)
            self.assertLess(lines(self.run_folder)[-1]["step"], 480, "killed before its end")
        killed = {path: path.stat().st_size for path in self.run_folder.glob("events.out.tfevents.*")}
        self.assertEqual(len(killed), 2)
        subprocess.run(self.command, check=True)
        wanted = logged(self.run_folder)
        self.assertEqual(sorted(wanted), ["epoch/loss", "epoch/lr", "epoch/seconds", "step/loss"])
        self.assertEqual(len(wanted["epoch/loss"]), 12)
        self.assertEqual(read(self.run_folder), wanted)

    def test_a_reader_that_looks_on_forgets_what_a_killed_process_said_too_much(self):
        self.kill_after(9)
        events = EventAccumulator(str(self.run_folder), size_guidance={"scalars": 0})
        events.Reload()
        subprocess.run(self.command, check=True)
        events.Reload()
        wanted = logged(self.run_folder)
        found = {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in wanted}
        self.assertEqual(found, wanted)


if __name__ == "__main__":
    unittest.main()
