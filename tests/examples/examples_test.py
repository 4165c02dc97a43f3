"""Runs the job files of deploy/examples as a user would and computes their results again."""

import collections
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

NURSERY = str(pathlib.Path(os.environ["NURSERY_BIN"]) / "nursery")
EXAMPLES = pathlib.Path(__file__).parents[2] / "deploy" / "examples"
# What this version refuses, with all that is said of it.
REFUSED = {
    "api-fanout.yaml": ["api-fanout.yaml:14:15: nodes[0].map.node.http: not in this version"],
    "service-with-tests.yaml": [
        "service-with-tests.yaml:7:14: nodes[0].service: not in this version"
    ],
}


def texts():
    """The licence texts that there are, each once."""
    directory = pathlib.Path("/usr/share/common-licenses")
    return sorted({path.resolve() for path in directory.iterdir()})


def words(data):
    """What wc -w counts in the C locale: runs without white space that hold something printable."""
    return sum(bool(re.search(rb"[!-~]", word)) for word in data.split())


class ExampleTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.cwd = pathlib.Path(directory.name)

    def nursery(self, *arguments):
        return subprocess.run([NURSERY, *arguments], cwd=self.cwd, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)

    def run_json(self, name, *arguments, exit_code=0):
        done = self.nursery("run", str(EXAMPLES / name), "-o", "json", *arguments)
        self.assertEqual(done.returncode, exit_code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def run_lines(self, name, exit_code=0):
        """The state and the note of every node that the lines of a pipe tell."""
        done = self.nursery("run", str(EXAMPLES / name))
        self.assertEqual(done.returncode, exit_code, done.stdout + done.stderr)
        ends = {}
        for line in done.stdout.splitlines()[:-1]:
            node, state, _, *note = re.split(r"  +", line, maxsplit=3)
            ends[node] = (state, *note)
        return ends, done

    def assert_succeeded(self, job, nodes, items):
        self.assertEqual(job["state"], "SUCCEEDED", job)
        self.assertEqual(job["counts"]["succeeded"], nodes + 1, "the root counts too")
        self.assertEqual(job["item_counts"]["succeeded"], items)
        self.assertEqual(job["error_count"], 0)


class ResultsTest(ExampleTest):
    def test_count_words(self):
        job = self.run_json("count-words/count-words.yaml")
        total = sum(words(path.read_bytes()) for path in texts())
        self.assert_succeeded(job, nodes=3, items=len(texts()))
        self.assertEqual(job["output"], f"{total:,} words in {len(texts())} texts\n")

    def test_count_words_tells_its_nodes(self):
        ends, done = self.run_lines("count-words/count-words.yaml")
        self.assertEqual(ends["count"], ("SUCCEEDED", f"{len(texts())} items"))
        self.assertRegex(done.stdout.splitlines()[-1],
                         rf"^job \w{{26}}  SUCCEEDED  .*  3 nodes, {len(texts())} items, 0 failed$")
        self.assertEqual(done.stderr, "")

    def test_ci_matrix(self):
        job = self.run_json("ci-matrix.yaml")
        self.assert_succeeded(job, nodes=3, items=5)
        self.assertEqual(job["output"], "5 combinations, 15 tests passed\n")

    def test_log_processing(self):
        seed, errors = 0, collections.Counter()
        for _ in range(6 * 500):
            seed = (seed * 75 + 74) % 65537
            if seed % 10 == 0:
                errors[["/", "/login", "/search", "/cart"][seed % 4]] += 1
        lines = [f"{n} {path}" for path, n in sorted(errors.items(), key=lambda e: (-e[1], e[0]))]
        job = self.run_json("log-processing.yaml")
        self.assert_succeeded(job, nodes=3, items=6)
        self.assertEqual(job["output"].splitlines(), lines)

    def test_parameter_sweep(self):
        results = []
        for rate in ("0.05", "0.2", "0.45", "1.05"):
            for steps in (5, 20):
                x = 10.0
                for _ in range(steps):
                    x -= float(rate) * 2 * (x - 3)
                results.append(((x - 3) * (x - 3), rate, steps))
        best = min(results, key=lambda result: result[0])
        job = self.run_json("parameter-sweep.yaml")
        self.assert_succeeded(job, nodes=2, items=8)
        error, rate, steps = best
        self.assertEqual(job["output"], f"best of 8: {error:.6e} rate {rate} steps {steps}\n")

    def test_nightly_etl(self):
        rows = [i * 10 for i in range(1, 31) if i % 7]
        job = self.run_json("nightly-etl.yaml")
        self.assertEqual(job["state"], "SUCCEEDED")
        self.assertEqual(job["output"], f"loaded {len(rows)} rows, sum {sum(rows)}\n")
        self.assertEqual(os.listdir(self.cwd), [], "the lock is given back")

    def test_nightly_etl_gives_the_lock_back_when_it_fails(self):
        job = self.run_json("nightly-etl.yaml", "--param", "broken=yes", exit_code=1)
        self.assertEqual(job["state"], "FAILED")
        self.assertEqual(job["errors"][0]["path"], "etl/load")
        self.assertEqual(job["errors"][0]["stderr_tail"], "table is read-only")
        self.assertEqual(os.listdir(self.cwd), [], "the lock is given back")

    def test_nightly_etl_does_not_run_under_another_ones_lock(self):
        (self.cwd / "etl.lock").mkdir()
        job = self.run_json("nightly-etl.yaml", exit_code=1)
        self.assertEqual(job["errors"][0]["path"], "lock")
        self.assertEqual(job["counts"]["succeeded"], 0)
        self.assertEqual(os.listdir(self.cwd), ["etl.lock"])


class FailuresTest(ExampleTest):
    def test_deadline(self):
        ends, done = self.run_lines("deadline.yaml", exit_code=4)
        self.assertEqual(ends["quick"], ("SUCCEEDED", "in time"))
        self.assertEqual(ends["slow"][0], "DEADLINE_EXCEEDED")
        self.assertRegex(
            done.stderr,
            r"error: deadline: deadline exceeded \(job timeout 2s, set in .*deadline\.yaml:4\)\n"
            r"  of 2\.00s: .*ran .*s\n"
            r"  still running when it passed: slow \(pid \d+\)\n")

    def test_deadline_ends_both_processes_of_a_node(self):
        job = self.run_json("deadline.yaml", exit_code=4)
        self.assertEqual(job["state"], "DEADLINE_EXCEEDED")
        self.assertEqual(job["counts"]["skipped"], 1)
        pid = job["errors"][0]["still_running"][0]["pid"]
        self.assertFalse(pathlib.Path("/proc", str(pid)).exists())

    def test_failing_branch(self):
        ends, done = self.run_lines("failing-branch.yaml", exit_code=1)
        self.assertEqual(ends["lint"], ("FAILED", "exit code 1 (allowed)"))
        self.assertEqual(ends["build"], ("FAILED", "exit code 2"))
        self.assertEqual(ends["server"], ("CANCELLED", "sibling failed: build"))
        self.assertRegex(done.stdout.splitlines()[-1],
                         "4 nodes, 1 failed, 1 allowed to fail, 1 cancelled, 1 skipped$")
        self.assertEqual(done.stderr,
                         "error: build: exit code 2\n    | undefined reference to main\n")
        self.assertEqual(os.listdir(self.cwd), [], "nothing is packaged, the server is cleaned up")


class ValidationTest(ExampleTest):
    def test_every_other_example_is_valid(self):
        files = sorted(EXAMPLES.rglob("*.yaml"))
        self.assertGreaterEqual(len(files), 9)
        for path in files:
            if path.name in REFUSED:
                continue
            with self.subTest(path.name):
                done = self.nursery("validate", str(path))
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_what_this_version_lacks_is_refused_by_name(self):
        for name, violations in REFUSED.items():
            with self.subTest(name):
                done = self.nursery("validate", str(EXAMPLES / name))
                said = (done.stdout + done.stderr).replace(f"{EXAMPLES}/", "").splitlines()
                self.assertEqual(done.returncode, 2)
                self.assertEqual(said, violations + [f"{len(violations)} error"])
                self.assertEqual(self.nursery("run", str(EXAMPLES / name)).returncode, 2)


if __name__ == "__main__":
    unittest.main()
