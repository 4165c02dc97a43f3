"""Runs the built programs, and looks for processes by a mark in their arguments."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import uuid

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from processes import PATIENCE, children, default_signals, marked, wait_until  # noqa: E402, F401

BIN = pathlib.Path(os.environ["NURSERY_BIN"])
BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])
NURSERY = str(BIN / "nursery")
ESCAPEE = str(BUILD / "tests" / "escapee")


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.cwd = pathlib.Path(self.directory.name)
        self.mark = "mark-" + uuid.uuid4().hex
        self.environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        self.environment["TMPDIR"] = str(self.cwd / "tmp")
        (self.cwd / "tmp").mkdir()

    def write(self, name, text):
        (self.cwd / name).write_text(text)
        return name

    def start(self, *arguments, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("preexec_fn", default_signals)
        return subprocess.Popen(
            [NURSERY, *arguments], cwd=self.cwd, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def run_program(self, *arguments, code=None, **options):
        """stdout and stderr; the exit code must be `code` if that is given."""
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=PATIENCE)
        if code is not None:
            self.assertEqual(process.returncode, code, out + err)
        self.assertEqual(os.listdir(self.cwd / "tmp"), [], "files were left behind")
        return out, err

    def run_json(self, *arguments, code):
        out, err = self.run_program(*arguments, "-o", "json", code=code)
        self.assertNotIn("error:", out)
        return json.loads(out)
