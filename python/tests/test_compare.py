"""bench/compare.py refuses at once a machine that RESULTS.md has no column for, and measures nothing there."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

COMPARE = Path(__file__).resolve().parents[2] / "bench" / "compare.py"
# Answers as the program does on a machine without AVX2, and keeps what it was asked.
PROGRAM = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *--plan*) echo '{{"engine": "{engine}"}}' ;; *) exit 9 ;; esac
"""


def compare(folder, engine):
    program, log = Path(folder) / "distill", Path(folder) / "log"
    program.write_text(PROGRAM.format(log=log, engine=engine))
    program.chmod(0o755)
    done = subprocess.run([sys.executable, COMPARE, "--distill", program], capture_output=True, text=True, timeout=60)
    return done, log.read_text().splitlines() if log.exists() else []


class Compare(unittest.TestCase):
    def test_a_machine_without_avx2_is_refused_before_anything_is_measured(self):
        for engine in ["cpu-portable", "cpu-neon"]:
            with tempfile.TemporaryDirectory() as folder:
                done, asked = compare(folder, engine)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(f"runs the engine with {engine[4:]}", done.stderr)
            self.assertIn("hint: ", done.stderr)
            self.assertEqual(len(asked), 1, asked)

    def test_a_machine_that_has_it_is_measured(self):
        with tempfile.TemporaryDirectory() as folder:
            done, asked = compare(folder, "cpu-avx2")
        # The pretended program ends at its first measurement.
        self.assertEqual(len(asked), 2, done.stderr)
        self.assertIn("--mode attack", asked[1])

    def test_a_program_that_is_not_there_is_named(self):
        done = subprocess.run([sys.executable, COMPARE, "--distill", "/nowhere/distill"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.splitlines()[0]), (1, "error: there is no /nowhere/distill"))


if __name__ == "__main__":
    unittest.main()
