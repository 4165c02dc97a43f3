"""Every bug that is planted in core and engine is found by a seeded test, and by nothing else."""

import os
import pathlib
import re
import signal
import subprocess
import unittest

TESTS = pathlib.Path(os.environ["NURSERY_BUILD"]) / "tests"
BINARIES = ("core_planted_test", "job_planted_test")
SEEDS = (20, 500, 10_000)  # few suffice for most
# Seconds. So few seeds take less than one: what takes longer hangs, which is a way to be found.
FEW_SEEDS_BOUND, BOUND = 20, 240
NO_SUCH_BUG = 64
HANGS = "hangs"


def bugs_of(binary):
    listed = subprocess.run([TESTS / binary, "--list"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def run(binary, bug, seeds):
    """The exit status, or HANGS, and the output; what hangs is aborted, which names its seed."""
    environment = dict(os.environ, NURSERY_SEEDS=str(seeds))
    environment.pop("NURSERY_PLANT", None)
    if bug:
        environment["NURSERY_PLANT"] = bug
    process = subprocess.Popen(
        [TESTS / binary, "--gtest_fail_fast"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        output, _ = process.communicate(timeout=FEW_SEEDS_BOUND if seeds == SEEDS[0] else BOUND)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        output, _ = process.communicate()
        return HANGS, output
    return process.returncode, output


def finder(output):
    tests = re.findall(r"^\[ RUN      \] (\S+)", output, re.M)
    failed = re.findall(r"^\[  FAILED  \] ([\w./]+)", output, re.M)
    seeds = re.findall(r"NURSERY_SEED=(\d+)", output)
    test = failed[0] if failed else tests[-1] if tests else "?"
    return f"{test}, seed {seeds[0] if seeds else '?'}"


class PlantedBugsTest(unittest.TestCase):
    def test_without_a_bug_all_passes(self):
        for binary in BINARIES:
            status, output = run(binary, None, 1000)
            self.assertEqual(status, 0, output[-4000:])
            counts = re.findall(r"(\d+) distinct schedules in (\d+) seeds", output)
            schedules = sum(int(distinct) for distinct, _ in counts)
            print(f"{binary}: {schedules} distinct schedules in {len(counts)} tests", flush=True)
            self.assertGreater(schedules, 5000)

    def test_a_bug_that_does_not_exist_is_an_error(self):
        for binary in BINARIES:
            status, output = run(binary, "no_such_bug", 1)
            self.assertEqual(status, NO_SUCH_BUG, output)

    def test_there_are_many_in_core_and_in_engine(self):
        core = set(bugs_of("core_planted_test"))
        engine = set(bugs_of("job_planted_test")) - core
        self.assertGreaterEqual(len(core), 12)
        self.assertGreaterEqual(len(engine), 8)

    def find(self, binary, bug):
        for seeds in SEEDS:
            status, output = run(binary, bug, seeds)
            self.assertNotEqual(status, NO_SUCH_BUG, output)
            self.assertFalse(status == HANGS and seeds > SEEDS[0], "slow, or hangs: no proof")
            if status != 0:
                how = {1: "failed", HANGS: HANGS}.get(status, f"died ({status})")
                print(f"{bug}: {how} in {finder(output)}", flush=True)
                return
        self.fail(f"{bug}: {binary} passes under {SEEDS[-1]} seeds")


def add_cases():
    known = set()
    for binary in BINARIES:
        for bug in sorted(set(bugs_of(binary)) - known):
            known.add(bug)

            def case(self, binary=binary, bug=bug):
                self.find(binary, bug)

            setattr(PlantedBugsTest, f"test_finds_{bug}", case)


add_cases()

if __name__ == "__main__":
    unittest.main()
