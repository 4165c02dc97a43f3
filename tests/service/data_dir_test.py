"""The data directory of a server: on a disk that is full, and open to others."""

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


class OpenToOthersTest(unittest.TestCase):
    def test_a_directory_that_others_can_read_is_told_and_stays_as_it_is(self):
        warning = "nurseryd: warning: every account can {} what is in the data directory: " \
                  "chmod o-rw {}\n"
        for mode, can in ((0o700, ""), (0o711, ""), (0o750, ""), (0o755, "list"),
                          (0o777, "change")):
            with self.subTest(oct(mode)), tempfile.TemporaryDirectory() as directory:
                data = pathlib.Path(directory, "data")
                data.mkdir()
                data.chmod(mode)
                server = Server(directory)
                self.assertEqual(server.stop(), 0)
                told = [line for line in server.log_text().splitlines(True) if "warning" in line]
                self.assertEqual(told, [warning.format(can, data)] if can else [])
                self.assertEqual(data.stat().st_mode & 0o777, mode)

    def test_one_that_the_server_makes_is_its_own(self):
        with tempfile.TemporaryDirectory() as directory:
            server = Server(directory)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(pathlib.Path(directory, "data").stat().st_mode & 0o777, 0o700)
            self.assertNotIn("warning", server.log_text())


if __name__ == "__main__":
    unittest.main()
