"""A share of the torture in every run of the tests, and that it can fail."""

import os
import pathlib
import re
import subprocess
import unittest

SCRIPT = pathlib.Path(__file__).parents[1] / "torture.sh"
BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])
TRIALS = 200
ROUNDS = 10


class TortureTest(unittest.TestCase):
    def test_nothing_survives_kills_and_deaths(self):
        ran = subprocess.run(
            [SCRIPT, "processes", f"--trials={TRIALS}", f"--rounds={ROUNDS}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        print(ran.stdout)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        totals = re.findall(r"^all +(\w+) +(\d+) +\d+ +(\d+)", ran.stdout, re.M)
        self.assertGreaterEqual(len(totals), 2)
        for _, trials, survivors in totals:
            self.assertEqual((int(trials), int(survivors)), (TRIALS, 0))
        deaths = re.findall(r"^([\w+]*(?:server|warden)[\w+]*) +\w+ +(\d+)", ran.stdout, re.M)
        self.assertGreaterEqual(len(deaths), 8)
        fifty = re.findall(r"^fifty +\w+ +(\d+) +(\d+) +0 ", ran.stdout, re.M)
        self.assertEqual(len(fifty), len(totals))
        for trials, processes in fifty:
            self.assertEqual(int(processes), 50 * int(trials))
        self.assertEqual(len(re.findall(r"^50 processes: .* goal 20 ms: (ok|short)$", ran.stdout,
                                        re.M)), len(totals))
        self.assertEqual({int(rounds) for _, rounds in deaths}, {ROUNDS})

    def test_a_wrong_use_is_told(self):
        for arguments in ([], ["memory"], ["processes", "--level=none"]):
            ran = subprocess.run([SCRIPT, *arguments], stderr=subprocess.PIPE, check=False)
            self.assertEqual(ran.returncode, 2)
            self.assertIn(b"usage:", ran.stderr)
        ran = subprocess.run([BUILD / "tests" / "kill_trials"], stderr=subprocess.PIPE, check=False)
        self.assertEqual(ran.returncode, 2)


if __name__ == "__main__":
    unittest.main()
