#!/usr/bin/python3
"""Counts test cases over the steps of deploy/test.sh and prints 'N passed, N failed[, N skipped]'.

A case is one named test of one binary or script, however many presets ran it: it passed if it
passed in all of them. Instances of a suite whose prefix starts with Seed count as one case, since
a seed is a repetition. A CTest test without a results file of its own is one case. A binary that
fails without a failed case (a crash, a leak at exit, a timeout), a results file without a single
case and a step that fails without a failed case each add one failure.
"""

import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

PASSED, SKIPPED, FAILED = 0, 1, 2  # ordered: the worst result over all presets counts
SEED_SUITE = re.compile(r"^Seed\w*/")


def case_name(test, suite, name):
    if not name:  # gtest's entry for what fails in an environment, around all cases
        return f"{test}: outside its cases"
    if SEED_SUITE.match(suite):
        name = name.rpartition("/")[0] or name
    return f"{test}: {suite}.{name}"


def result_of(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return FAILED
    if case.find("skipped") is not None or case.get("status") in ("notrun", "disabled"):
        return SKIPPED
    return PASSED


def cases_of(test, path):
    """The (name, result) pairs of one results file; a file that says nothing is a failure."""
    try:
        found = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        return [(f"{test}: results file is not readable ({error})", FAILED)]
    if not found:
        return [(f"{test}: no test case ran", FAILED)]
    return [
        (case_name(test, case.get("classname", ""), case.get("name", "")), result_of(case))
        for case in found
    ]


def cases_of_ctest(path, results):
    """All cases below one CTest run; `results` holds the files that its tests wrote."""
    cases = []
    for entry in ElementTree.parse(path).getroot().iter("testcase"):
        test = entry.get("name")
        file = results / f"{test}.xml"
        outcome = {"run": PASSED, "fail": FAILED}.get(entry.get("status"), SKIPPED)
        if not file.exists():
            cases.append((test, outcome))
            continue
        own = cases_of(test, file)
        cases += own
        if outcome == FAILED and all(result != FAILED for _, result in own):
            cases.append((f"{test}: failed outside its cases", FAILED))
    return cases


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--failed-steps", default="")
    parser.add_argument("steps", nargs="*", metavar="STEP:PRESET")
    options = parser.parse_args(arguments)

    worst = {}
    explained = set()
    for step, _, preset in (step.partition(":") for step in options.steps):
        log = options.logs / f"{step}.xml"
        cases = []
        if log.exists():
            cases = cases_of_ctest(log, options.build / preset / "test-results")
        for name, result in cases:
            worst[name] = max(worst.get(name, PASSED), result)
            if result == FAILED:
                explained.add(step)
                print(f"failed ({step}): {name}")
    for step in options.failed_steps.split():
        if step not in explained:
            worst[f"step {step}"] = FAILED
            print(f"failed: step {step}")

    passed, skipped, failed = (list(worst.values()).count(r) for r in (PASSED, SKIPPED, FAILED))
    if not passed and not failed:
        print("failed: no test case ran")
        failed = 1
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
