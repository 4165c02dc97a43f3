"""The matrix once more, as a user who may nothing."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from processes import programs_for_all  # noqa: E402

NOBODY = 65534


@unittest.skipIf(os.geteuid() != 0, "the matrix itself was run as an unprivileged user")
class UnprivilegedTest(unittest.TestCase):
    def test_nothing_is_alive_whoever_runs_the_matrix(self):
        with programs_for_all(pathlib.Path(os.environ["NURSERY_BUILD"]), "bin/nursery-warden",
                              "tests/escapee", "tests/fake_server",
                              "tests/escape_matrix_test") as build:
            ran = subprocess.run(
                ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                 f"{build}/tests/escape_matrix_test"],
                env=dict(os.environ, NURSERY_BIN=f"{build}/bin"), cwd="/",
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout[-8000:])
        for level in ("group", "subreaper"):
            passed = re.findall(rf"^\[ +OK \] .*_{level} ", ran.stdout, re.M)
            self.assertGreaterEqual(len(passed), 100)


if __name__ == "__main__":
    unittest.main()
