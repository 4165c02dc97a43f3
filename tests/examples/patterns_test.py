"""Runs the five patterns as C++ programs and as job files: both give the text beside them."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
PROGRAMS = pathlib.Path(os.environ["NURSERY_BUILD"]) / "tests" / "examples"
NURSERY = pathlib.Path(os.environ["NURSERY_BIN"]) / "nursery"
# What both end with; the others succeed.
EXIT_CODES = {"errgroup": 1}


def text_of_job(job):
    """What the program prints: the errors, then what came out or else how the nodes have ended."""
    errors = [f"{error['path']}: {error['stderr_tail']}\n" for error in job["errors"]]
    counts = job["counts"]
    ends = (f"{counts['succeeded']} succeeded, {counts['failed'] - 1} failed, "  # not the root
            f"{counts['cancelled']} cancelled\n")
    return "".join(errors) + (job["output"] or ends)


class PatternsTest(unittest.TestCase):
    def run_and_compare(self, command, pattern, text_of=str):
        with tempfile.TemporaryDirectory() as cwd:
            done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=120)
            self.assertEqual(os.listdir(cwd), [])
        self.assertEqual(done.returncode, EXIT_CODES.get(pattern, 0), done.stdout + done.stderr)
        expected = (HERE / f"{pattern}.txt").read_text(encoding="utf-8")
        self.assertEqual(text_of(done.stdout), expected, done.stderr)

    def assert_both_give_the_text(self, pattern):
        self.run_and_compare([PROGRAMS / pattern], pattern)
        self.run_and_compare([NURSERY, "run", HERE / f"{pattern}.yaml", "-o", "json"], pattern,
                             lambda stdout: text_of_job(json.loads(stdout)))

    def test_errgroup(self):
        self.assert_both_give_the_text("errgroup")

    def test_semaphore(self):
        self.assert_both_give_the_text("semaphore")

    def test_fan_out_fan_in(self):
        self.assert_both_give_the_text("fan_out_fan_in")

    def test_worker_pool(self):
        self.assert_both_give_the_text("worker_pool")

    def test_pipeline(self):
        self.run_and_compare([PROGRAMS / "pipeline"], "pipeline")

    def test_the_job_file_of_a_pipeline_is_refused_by_name(self):
        for verb in ("validate", "run"):
            with self.subTest(verb):
                done = subprocess.run([NURSERY, verb, "pipeline.yaml"], cwd=HERE,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=120)
                self.assertEqual(done.returncode, 2)
                self.assertEqual(
                    (done.stdout + done.stderr).splitlines(),
                    ["pipeline.yaml:8:7: nodes[0].pipeline: not in this version", "1 error"])

    def test_every_job_file_is_beside_its_program_and_its_text(self):
        job_files = list(HERE.glob("*.yaml"))
        self.assertEqual(len(job_files), 5)
        for job_file in job_files:
            for suffix in (".cc", ".txt"):
                self.assertTrue(job_file.with_suffix(suffix).is_file(), job_file.name)


if __name__ == "__main__":
    unittest.main()
