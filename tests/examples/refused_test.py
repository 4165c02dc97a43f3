"""Both compilers refuse the lines of refused.cc that say so, and no others."""

import pathlib
import re
import subprocess
import unittest

SOURCE = pathlib.Path(__file__).with_name("refused.cc")
INCLUDE = pathlib.Path(__file__).parents[2] / "core" / "include"


class RefusedTest(unittest.TestCase):
    def assert_refused(self, compiler, mark):
        done = subprocess.run(
            [compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", f"-I{INCLUDE}", SOURCE],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        found = re.findall(rf"^{re.escape(str(SOURCE))}:(\d+):\d+: (?:fatal )?(?:error|warning): ",
                           done.stderr, re.MULTILINE)
        lines = SOURCE.read_text(encoding="utf-8").splitlines()
        meant = {number for number, line in enumerate(lines, 1) if re.search(mark, line)}
        self.assertGreaterEqual(len(meant), 12)
        self.assertEqual(sorted(set(map(int, found))), sorted(meant), done.stderr)

    def test_clang(self):
        self.assert_refused("clang++-19", r"// refused( by clang)?$")

    def test_gcc(self):
        self.assert_refused("g++-12", r"// refused$")


if __name__ == "__main__":
    unittest.main()
