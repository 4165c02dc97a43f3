#!/usr/bin/python3
"""Runs the unittest cases of one file and writes their results as JUnit XML, as gtest does.

usage: run_unittest.py FILE RESULTS
"""

import importlib.util
import pathlib
import sys
import unittest
import xml.etree.ElementTree as ElementTree


class CollectingResult(unittest.TextTestResult):
    """Remembers the outcome of each case: None, or the XML tag and text that say why not."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.outcomes = {}

    def startTest(self, test):
        super().startTest(test)
        self.outcomes[test.id()] = None

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.outcomes[test.id()] = ("failure", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self.outcomes[test.id()] = ("error", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcomes[test.id()] = ("skipped", reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.outcomes[test.id()] = ("failure", self._exc_info_to_string(err, test))


def write_results(outcomes, path):
    suite = ElementTree.Element("testsuite", tests=str(len(outcomes)))
    for identity, outcome in outcomes.items():
        classname, _, name = identity.rpartition(".")
        case = ElementTree.SubElement(suite, "testcase", classname=classname, name=name)
        if outcome:
            tag, text = outcome
            ElementTree.SubElement(case, tag, message=text)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.ElementTree(suite).write(path)


def main(script, results):
    script = pathlib.Path(script).resolve()
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(resultclass=CollectingResult, verbosity=2).run(suite)
    write_results(result.outcomes, pathlib.Path(results))
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
