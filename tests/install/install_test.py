"""Installs the build into an empty directory and builds strangers' projects against it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])
SOURCE = pathlib.Path(__file__).parents[2]
CONSUMER = SOURCE / "tests" / "install" / "consumer"
CLIENT = SOURCE / "deploy" / "examples" / "client"
WITHOUT = "-DCMAKE_DISABLE_FIND_PACKAGE_{}=ON"

sys.path.append(str(SOURCE / "tests"))
sys.path.append(str(SOURCE / "tests" / "docs"))
import markdown  # noqa: E402
from processes import PATIENCE, default_signals, wait_until  # noqa: E402


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

    def build(self, source, compiler, *options):
        build = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        run("cmake", "-G", "Ninja", "-S", source, "-B", build, "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_PREFIX_PATH={self.prefix}", *options)
        run("cmake", "--build", build)
        return build

    def build_consumer(self, compiler):
        # Who uses core needs no gRPC.
        build = self.build(CONSUMER, compiler, *map(WITHOUT.format, ("gRPC", "Protobuf")))
        run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error")

    def start_server(self):
        """An installed nurseryd; gives its address."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        ready = pathlib.Path(directory.name, "address")
        address = f"unix:{directory.name}/socket"
        server = subprocess.Popen(
            [self.prefix / "bin" / "nurseryd", "--data", f"{directory.name}/data",
             "--listen", address, "--http", "127.0.0.1:0", "--address-file", ready],
            stderr=subprocess.DEVNULL, preexec_fn=default_signals)
        self.addCleanup(server.wait, PATIENCE)
        self.addCleanup(server.terminate)
        wait_until(lambda: ready.exists() or server.poll() is not None)
        self.assertIsNone(server.poll())
        return address

    def build_and_run_client(self, compiler):
        build = self.build(CLIENT, compiler, WITHOUT.format("GTest"))
        lines = run(build / "nightly", self.start_server()).splitlines()
        for line in ("squares SUCCEEDED", "count SUCCEEDED", "lines: 5", "one has started",
                     "two has started", "interrupted: 2, nothing is left"):
            self.assertIn(line, lines)

    def test_consumer_builds_with_clang(self):
        self.build_consumer("clang++-19")

    def test_consumer_builds_with_gcc(self):
        self.build_consumer("g++-12")

    def test_who_has_no_google_test_is_told_so(self):
        with self.assertRaisesRegex(AssertionError, "module GTest called with REQUIRED"):
            self.build(CONSUMER, "g++-12", WITHOUT.format("GTest"))

    def test_an_optional_component_is_there_if_what_it_needs_is(self):
        project = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        (project / "CMakeLists.txt").write_text("\n".join([
            "cmake_minimum_required(VERSION 3.25)", "project(optional LANGUAGES CXX)",
            "find_package(nursery REQUIRED OPTIONAL_COMPONENTS testing client)",
            'file(WRITE found "${nursery_core_FOUND} ${nursery_testing_FOUND} '
            '${nursery_client_FOUND}")', ""]))

        def found(*options):
            self.build(project, "g++-12", *options)
            return (project / "found").read_text()
        self.assertEqual(found(), "TRUE TRUE TRUE")
        self.assertEqual(found(WITHOUT.format("GTest")), "TRUE FALSE TRUE")
        self.assertEqual(found(WITHOUT.format("Protobuf")), "TRUE TRUE FALSE")

    def test_client_builds_with_clang_and_runs(self):
        self.build_and_run_client("clang++-19")

    def test_client_builds_with_gcc_and_runs(self):
        self.build_and_run_client("g++-12")

    def build_readme(self, text):
        """A project that consists of what the text says about C++."""
        blocks = {block.language: block.body for block in markdown.blocks_of("README.md", text)}
        package, link = blocks["cmake"].splitlines()
        lines = blocks["cpp"].splitlines()
        includes = [line for line in lines if line.startswith("#include")]
        body = [line for line in lines if line not in includes]
        project = pathlib.Path(tempfile.mkdtemp(dir=self.root))
        (project / "CMakeLists.txt").write_text("\n".join([
            "cmake_minimum_required(VERSION 3.25)", "project(nightly LANGUAGES CXX)", package,
            "add_executable(nightly main.cc)", link, ""]))
        (project / "main.cc").write_text("\n".join(
            [*includes, "int main() {", *body, "return result.ok() ? 0 : 1;", "}", ""]))
        self.build(project, "g++-12")

    def test_what_the_readme_says_of_the_client_builds(self):
        text = (SOURCE / "README.md").read_text(encoding="utf-8").partition("\n### C++\n")[2]
        self.build_readme(text)
        self.assertIn("nc::Items::List(", text)
        with self.assertRaisesRegex(AssertionError, "Lists"):
            self.build_readme(text.replace("nc::Items::List(", "nc::Items::Lists("))

    def test_a_client_without_grpc_is_told_so(self):
        with self.assertRaisesRegex(AssertionError, "module gRPC called with REQUIRED"):
            self.build(CLIENT, "g++-12", WITHOUT.format("gRPC"))

    def test_nothing_installed_names_the_source_or_build_directory(self):
        for path in self.prefix.rglob("*"):
            if path.suffix in (".h", ".cmake", ".proto"):
                text = path.read_text(encoding="utf-8")
                self.assertNotIn(str(SOURCE), text, path)
                self.assertNotIn(str(BUILD), text, path)

    def test_the_contract_is_installed(self):
        protos = self.prefix / "share" / "nursery" / "proto"
        files = sorted(protos.rglob("*.proto"))
        self.assertIn(protos / "nursery" / "v1" / "job.proto", files)
        with tempfile.NamedTemporaryFile() as descriptors:
            run("protoc", f"-I{protos}", f"--descriptor_set_out={descriptors.name}", *files)

    def test_every_public_header_is_installed(self):
        for public in (SOURCE / "core" / "include", SOURCE / "core" / "testing" / "include",
                       SOURCE / "client" / "include"):
            for header in public.rglob("*.h"):
                installed = self.prefix / "include" / header.relative_to(public)
                self.assertTrue(installed.is_file(), f"{header.relative_to(public)} is missing")


if __name__ == "__main__":
    unittest.main()
