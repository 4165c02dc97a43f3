"""The benchmark runs, prints every row, and says when one falls short. No figure is judged."""

import pathlib
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
from rows import Row  # noqa: E402


def bench(*arguments, of="service"):
    return subprocess.run(
        [sys.executable, "-B", HERE / f"{of}_bench.py", "--quick", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


class RowTest(unittest.TestCase):
    def row(self, compare, goal, ours, peer):
        row = Row("name", compare, goal, has_peer=True)
        for value in ours:
            row.add(value, peer)
        return row

    def test_medians_are_compared_with_the_goal(self):
        self.assertEqual(self.row(">=", 0.5, [1, 6, 100], 10).line(),
                         "name 6.0[3.5..53.0] 10.0[10.0..10.0] 0.60 >=0.5 ok")
        self.assertEqual(self.row(">=", 0.5, [1, 4, 100], 10).verdict(), "short")
        self.assertEqual(self.row("<=", 1.5, [16], 10).verdict(), "short")
        self.assertEqual(self.row("<=", 1.5, [14], 10).verdict(), "ok")

    def test_a_row_without_its_peer_is_not_judged(self):
        self.assertEqual(self.row(">=", 0.5, [1], None).line(), "name 1.0 - - >=0.5 no-peer")


class CoreTest(unittest.TestCase):
    def test_what_is_quick_is_measured(self):
        done = bench(of="core")
        self.assertIn(done.returncode, (0, 1), done.stdout)
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertGreaterEqual(len(lines), 11, done.stdout)
        for line in lines:
            self.assertRegex(line[1], r"^-?\d")
            alone = line[0].startswith("records") or "beside_a_dump" in line[0]
            self.assertIn(line[5], ("ok", "short") if alone else ("no-peer",))


class ServiceTest(unittest.TestCase):
    def test_every_row_is_printed(self):
        done = bench()
        self.assertIn(done.returncode, (0, 1), done.stdout)
        lines = [line.split() for line in done.stdout.splitlines()]
        for line in lines:
            self.assertEqual(len(line), 6, done.stdout)
            self.assertRegex(line[5], "^(ok|short|no-peer)$")
            self.assertRegex(line[1], r"^-?\d")
        self.assertEqual(done.returncode == 1, any(line[5] == "short" for line in lines))
        self.assertGreaterEqual(len(lines), 15)

    def test_a_row_that_falls_short_is_an_error(self):
        row = ["--row", "run_job_rate"]
        short = bench(*row, "--goal", "run_job_rate=1000")
        self.assertRegex(short.stdout, r"^run_job_rate .* >=1000 short\n$")
        self.assertEqual(short.returncode, 1)
        enough = bench(*row, "--goal", "run_job_rate=0.000001")
        self.assertRegex(enough.stdout, r"^run_job_rate .* >=1e-06 ok\n$")
        self.assertEqual(enough.returncode, 0)

    def test_an_unknown_row_is_refused(self):
        done = bench("--row", "nonsense")
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no row 'nonsense'; there are run_job_p50_us,", done.stdout)


class ProcessesTest(unittest.TestCase):
    def test_every_level_is_measured(self):
        done = bench(of="processes")
        self.assertIn(done.returncode, (0, 1), done.stdout)
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(
            [line[0] for line in lines],
            [f"{level}_{figure}{memory}" for memory in ("", "_4gib")
             for level in ("group", "subreaper", "cgroup") for figure in ("p50", "p99", "rate")])
        for line in lines:
            # The first two levels work everywhere.
            may = "ok|short" + ("|no-peer" if line[0].startswith("cgroup") else "")
            self.assertRegex(line[5], f"^({may})$")
        self.assertEqual(done.returncode == 1, any(line[5] == "short" for line in lines))

    def test_a_row_can_be_chosen(self):
        done = bench("--row", "group_p50", "--goal", "group_p50=0.000001", of="processes")
        self.assertRegex(done.stdout, r"^group_p50 \d\S* \d\S* \d\S* >=1e-06 ok\n$")
        self.assertEqual(done.returncode, 0)


class ScriptTest(unittest.TestCase):
    def script(self, *arguments):
        return subprocess.run([HERE / "compare.sh", *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)

    def test_help_and_nonsense(self):
        for arguments in (["--help"], ["service", "--help"], ["processes", "--help"]):
            done = self.script(*arguments)
            self.assertEqual((done.returncode, done.stdout.split()[0]), (0, "usage:"))
        self.assertEqual(self.script("nonsense").returncode, 2)


if __name__ == "__main__":
    unittest.main()
