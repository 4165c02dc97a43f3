"""The matrix once more, as a user who may nothing."""

import os
import re
import subprocess
import unittest

NOBODY = 65534
MATRIX = os.path.join(os.environ["NURSERY_BUILD"], "tests", "escape_matrix_test")


@unittest.skipIf(os.geteuid() != 0, "the matrix itself was run as an unprivileged user")
class UnprivilegedTest(unittest.TestCase):
    def test_nothing_is_alive_whoever_runs_the_matrix(self):
        ran = subprocess.run(
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", MATRIX],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout[-8000:])
        for level in ("group", "subreaper"):
            passed = re.findall(rf"^\[ +OK \] .*_{level} ", ran.stdout, re.M)
            self.assertGreaterEqual(len(passed), 100)


if __name__ == "__main__":
    unittest.main()
