"""Runs the built programs, and looks for processes by a mark in their arguments."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest
import uuid

BIN = pathlib.Path(os.environ["NURSERY_BIN"])
BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])
NURSERY = str(BIN / "nursery")
ESCAPEE = str(BUILD / "tests" / "escapee")
# Far longer than anything takes; only a hang comes near it.
PATIENCE = 60


def marked(mark):
    """Pids of the processes with `mark` among their arguments, zombies and the CLI apart."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            arguments = pathlib.Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in arguments and not arguments[0].endswith(b"/nursery"):
            found.append(int(entry))
    return found


def children(pid):
    """How many processes have `pid` as their parent."""
    count = 0
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            count += int(entry.read_text().rpartition(")")[2].split()[1]) == pid
        except OSError:
            pass
    return count


def default_signals():
    """For a child: signals as a terminal has them, whatever started the tests."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def wait_until(condition, patience=PATIENCE):
    """Polls `condition` until it gives something true, which is returned."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        os.sched_yield()


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
