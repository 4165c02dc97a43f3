"""The data directory of a server on a disk that is full."""

import os
import pathlib
import resource
import subprocess
import tempfile
import unittest

from service import PATIENCE, Server


class FullDiskTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        # What a server is started with, and where it keeps its files.
        probe = Server(self.directory)
        self.assertEqual(probe.stop(), 0)
        self.command = probe.process.args
        self.data = pathlib.Path(self.directory, "full")
        self.command[self.command.index("--data") + 1] = str(self.data)

    def start_in_vain(self, limit=None):
        # Python ignores SIGXFSZ, and what is started without its default does so, too.
        done = subprocess.run(self.command, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=PATIENCE, restore_signals=False, preexec_fn=limit)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def start_well(self):
        server = Server(self.directory, data=str(self.data))
        self.assertEqual(server.stop(), 0)

    def test_an_instance_that_cannot_be_written_is_told_and_not_left(self):
        said = self.start_in_vain(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16)))
        self.assertIn(f"cannot write {self.data}/instance.", said)
        self.assertEqual([path.name for path in self.data.glob("instance*")], [])
        self.start_well()
        self.assertEqual(len((self.data / "instance").read_text().strip()), 32)

    @unittest.skipIf(os.geteuid() != 0, "only root can mount")
    def test_nor_on_a_file_system_without_room(self):
        self.data.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", self.data],
                                 stderr=subprocess.DEVNULL, check=False)
        if mounted.returncode != 0:
            self.skipTest("no mounts here")
        self.addCleanup(subprocess.run, ["umount", self.data], check=True)
        (self.data / "large").write_bytes(bytes(4096))
        said = self.start_in_vain()
        self.assertIn(f"cannot write {self.data}/instance.", said)
        self.assertIn("No space left on device", said)
        self.assertEqual([path.name for path in self.data.glob("instance*")], [])
        (self.data / "large").unlink()
        subprocess.run(["mount", "-o", "remount,size=1m", self.data], check=True)
        self.start_well()


if __name__ == "__main__":
    unittest.main()
