"""`rslad` takes what the pages say, refuses to make anew what it may not, and ends quietly when it is stopped. No program of
the wheel is run."""
import contextlib
import io
import os
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import rslad
from rslad import __main__ as program


class Demo(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name).resolve()

    def ends(self, out, run=None):
        """With what `rslad demo --out OUT` ends; `run` stands in place of the walk."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "argv", ["rslad", "demo", "--out", str(out)]))
            stack.enter_context(mock.patch.object(program, "programs", lambda: self.folder))
            walk = stack.enter_context(mock.patch.object(program.subprocess, "run", side_effect=run))
            end = stack.enter_context(self.assertRaises(SystemExit))
            program.main()
        return end.exception.code, walk.called

    def test_a_file_is_refused_and_left(self):
        file = self.folder / "thesis.txt"
        file.write_text("mine")
        text, ran = self.ends(file)
        self.assertEqual(text, f"error: {file} is no folder\nhint: --out FOLDER, which is made anew")
        self.assertEqual((ran, file.read_text()), (False, "mine"))

    def test_the_folder_that_it_runs_in_is_refused(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        (self.folder / ".rslad-demo").touch()
        for out in (".", "..", self.folder):
            text, ran = self.ends(out)
            self.assertIn("is the folder that this runs in, or one around it\nhint: ", text)
            self.assertFalse(ran)

    def test_ctrl_c_ends_with_the_code_of_the_signal(self):
        self.assertEqual(self.ends(self.folder / "out", KeyboardInterrupt), (130, True))

    def test_a_reader_that_goes_away_ends_with_the_code_of_the_signal(self):
        gone = mock.Mock(returncode=-13)
        self.assertEqual(self.ends(self.folder / "out", lambda *_: gone), (141, True))

    def test_a_student_without_pytorch_says_what_to_install(self):
        with mock.patch.dict(sys.modules, {"safetensors": None}), self.assertRaises(ImportError) as refused:
            rslad.load("student.safetensors")
        self.assertEqual(str(refused.exception), "safetensors is not installed\nhint: pip install torch safetensors")


class CommandLine(unittest.TestCase):
    def test_every_command_of_the_pages_is_one(self):
        root = Path(__file__).resolve().parents[2]
        text = "\n".join(page.read_text() for page in [root / "README.md", *sorted((root / "docs").glob("*.md"))])
        commands = re.findall(r"(?:`|^(?:\$ )?)rslad ([^`\n]+)", text, re.M)
        self.assertIn("demo", commands)
        for command in commands:
            with self.subTest(command=command):
                self.assertEqual(program.command_line().parse_args(command.split()).verb, "demo")

    def test_the_version_is_the_programs(self):
        with tempfile.TemporaryDirectory() as folder:
            stand_in = Path(folder, "distill")
            stand_in.write_text("#!/bin/sh\necho 'distill 1.2.3 (0123456789ab)'\n")
            stand_in.chmod(0o755)
            with mock.patch.object(program, "programs", lambda: Path(folder)), contextlib.redirect_stdout(io.StringIO()) as said:
                with self.assertRaises(SystemExit) as end:
                    program.command_line().parse_args(["--version"])
        self.assertEqual((end.exception.code or 0, said.getvalue()), (0, "rslad 1.2.3 (0123456789ab)\n"))


if __name__ == "__main__":
    unittest.main()
