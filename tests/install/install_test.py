"""Installs the build into an empty directory and builds a stranger's project against it."""

import os
import pathlib
import subprocess
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])
CONSUMER = pathlib.Path(__file__).parent / "consumer"


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.root = pathlib.Path(directory.name)
        cls.prefix = cls.root / "prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)

    def build_consumer(self, compiler):
        build = self.root / compiler
        run("cmake", "-G", "Ninja", "-S", CONSUMER, "-B", build, "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_PREFIX_PATH={self.prefix}")
        run("cmake", "--build", build)
        run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error")

    def test_consumer_builds_with_clang(self):
        self.build_consumer("clang++-19")

    def test_consumer_builds_with_gcc(self):
        self.build_consumer("g++-12")

    def test_nothing_installed_names_the_source_or_build_directory(self):
        source = CONSUMER.parents[2]
        for path in self.prefix.rglob("*"):
            if path.suffix in (".h", ".cmake", ".proto"):
                text = path.read_text(encoding="utf-8")
                self.assertNotIn(str(source), text, path)
                self.assertNotIn(str(BUILD), text, path)

    def test_the_contract_is_installed(self):
        protos = self.prefix / "share" / "nursery" / "proto"
        files = sorted(protos.rglob("*.proto"))
        self.assertIn(protos / "nursery" / "v1" / "job.proto", files)
        with tempfile.NamedTemporaryFile() as descriptors:
            run("protoc", f"-I{protos}", f"--descriptor_set_out={descriptors.name}", *files)

    def test_every_public_header_of_core_is_installed(self):
        public = CONSUMER.parents[2] / "core" / "include"
        for header in public.rglob("*.h"):
            installed = self.prefix / "include" / header.relative_to(public)
            self.assertTrue(installed.is_file(), f"{installed.relative_to(self.prefix)} is missing")


if __name__ == "__main__":
    unittest.main()
