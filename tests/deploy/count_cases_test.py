"""What deploy/count_cases.py counts, and that nothing which went wrong is counted as passed."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "deploy"))
import count_cases

PASS = '<testcase classname="{0}" name="{1}" status="run" result="completed"/>'
FAIL = '<testcase classname="{0}" name="{1}" status="run"><failure message="no"/></testcase>'
SKIP = '<testcase classname="{0}" name="{1}" status="run"><skipped message="no"/></testcase>'


class CountCasesTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        (self.root / "logs").mkdir()

    def ctest_ran(self, step, **status_of_test):
        entries = (f'<testcase name="{n}" status="{s}"/>' for n, s in status_of_test.items())
        (self.root / "logs" / f"{step}.xml").write_text(
            f"<testsuite>{''.join(entries)}</testsuite>"
        )

    def results(self, preset, test, *cases):
        directory = self.root / "build" / preset / "test-results"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{test}.xml").write_text(f"<testsuites>{''.join(cases)}</testsuites>")

    def count(self, *steps, failed=""):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = count_cases.main(
                ["--logs", str(self.root / "logs"), "--build", str(self.root / "build")]
                + ["--failed-steps", failed, *steps]
            )
        return code, out.getvalue().splitlines()[-1]

    def test_a_case_in_two_presets_counts_once(self):
        for preset in ("release", "asan"):
            self.ctest_ran(preset, core_test="run")
            self.results(preset, "core_test", PASS.format("A", "x"), PASS.format("A", "y"))
        self.assertEqual(
            self.count("release:release", "asan:asan"), (0, "2 passed, 0 failed")
        )

    def test_a_case_that_fails_in_one_preset_failed(self):
        self.ctest_ran("release", core_test="run")
        self.results("release", "core_test", PASS.format("A", "x"))
        self.ctest_ran("asan", core_test="fail")
        self.results("asan", "core_test", FAIL.format("A", "x"))
        self.assertEqual(
            self.count("release:release", "asan:asan", failed="asan"), (1, "0 passed, 1 failed")
        )

    def test_seeds_of_a_case_count_once(self):
        self.ctest_ran("release", core_test="run")
        self.results(
            "release", "core_test", *(PASS.format("Seeds/A", f"x/{i}") for i in range(100))
        )
        self.assertEqual(self.count("release:release"), (0, "1 passed, 0 failed"))

    def test_a_crash_without_a_results_file_failed(self):
        self.ctest_ran("release", core_test="fail", other_test="run")
        self.assertEqual(
            self.count("release:release", failed="release"), (1, "1 passed, 1 failed")
        )

    def test_a_failure_at_exit_counts_beside_the_passed_cases(self):
        self.ctest_ran("release", core_test="fail")
        self.results("release", "core_test", PASS.format("A", "x"))
        self.assertEqual(
            self.count("release:release", failed="release"), (1, "1 passed, 1 failed")
        )

    def test_a_binary_without_cases_failed(self):
        self.ctest_ran("release", core_test="run")
        self.results("release", "core_test")
        self.assertEqual(self.count("release:release"), (1, "0 passed, 1 failed"))

    def test_a_step_that_failed_to_build_failed(self):
        self.ctest_ran("release", core_test="run")
        self.assertEqual(
            self.count("release:release", "gcc:gcc", failed="gcc"), (1, "1 passed, 1 failed")
        )

    def test_nothing_ran_failed(self):
        self.assertEqual(self.count(), (1, "0 passed, 1 failed"))

    def test_skipped_cases_are_shown(self):
        self.ctest_ran("release", core_test="run")
        self.results("release", "core_test", PASS.format("A", "x"), SKIP.format("A", "y"))
        self.assertEqual(self.count("release:release"), (0, "1 passed, 0 failed, 1 skipped"))


if __name__ == "__main__":
    unittest.main()
