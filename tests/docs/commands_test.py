"""Runs the commands of the documents as a reader would: in order, in one directory per document."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import markdown

ROOT = pathlib.Path(__file__).parents[2]


class CommandsTest(unittest.TestCase):
    def run_document(self, name, directory):
        environment = dict(os.environ)
        environment["PATH"] = f"{os.environ['NURSERY_BIN']}:{environment['PATH']}"
        blocks = markdown.blocks_of(name, (ROOT / name).read_text(encoding="utf-8"))
        ran = 0
        for block in blocks:
            if block.key == "file":
                (pathlib.Path(directory) / block.value).write_text(block.body, encoding="utf-8")
            if not block.is_command or block.key == "not run":
                continue
            ran += 1
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.script], cwd=directory, env=environment,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, timeout=120,
            )
            expected = int(block.value) if block.key == "exit" else 0
            self.assertEqual(expected, done.returncode, f"{name}:{block.line}\n{done.stdout}")
        self.assertGreater(ran, 0, f"{name} has no command that is run")

    def test_readme(self):
        with tempfile.TemporaryDirectory() as directory:
            self.run_document("README.md", directory)

    def test_contributing(self):
        self.run_document("CONTRIBUTING.md", ROOT)


if __name__ == "__main__":
    unittest.main()
