#!/usr/bin/python3
"""Checks every file of the project against the rules of this directory, and says file and line.

A finding that is meant stands in exceptions.txt with its reason. An exception that nothing needs
any more is a finding too.
"""

import pathlib
import sys

import calls
import coroutines
import layering
import permits
import shape
import sources

ROOT = pathlib.Path(__file__).parents[2]
EXCEPTIONS = "tests/tidy/exceptions.txt"


def find_violations(all_sources):
    for source in all_sources:
        for rules in (layering, coroutines, permits, calls, shape):
            yield from rules.check(source)
    yield from shape.check_triples(all_sources)


def read_exceptions(text):
    """{(path, rule): line number}; a line is 'PATH RULE REASON...'."""
    exceptions = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split(maxsplit=2)
        if len(fields) < 3:
            raise ValueError(f"{EXCEPTIONS}:{number}: 'PATH RULE REASON' is missing a field")
        exceptions[fields[0], fields[1]] = number
    return exceptions


def apply_exceptions(violations, exceptions):
    """The violations that no exception covers, and those exceptions that cover nothing."""
    used = set()
    for violation in violations:
        key = violation.path, violation.rule
        if key in exceptions:
            used.add(key)
        else:
            yield violation
    for key in exceptions.keys() - used:
        yield sources.Violation(
            EXCEPTIONS, exceptions[key], "exception", f"{key[0]} needs no exception for {key[1]}"
        )


def main():
    all_sources = sources.read_sources(ROOT)
    exceptions = read_exceptions((ROOT / EXCEPTIONS).read_text(encoding="utf-8"))
    violations = list(apply_exceptions(find_violations(all_sources), exceptions))
    for violation in violations:
        print(violation)
    cpp = [source for source in all_sources if source.is_cpp]
    nolint = sum(source.text.count("NOLINT") for source in cpp)
    print(f"{len(cpp)} C++ files, {nolint} NOLINT, {len(exceptions)} exceptions, "
          f"{len(violations)} violations")
    return 1 if violations or not cpp else 0


if __name__ == "__main__":
    sys.exit(main())
