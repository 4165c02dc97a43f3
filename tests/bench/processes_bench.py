#!/usr/bin/python3
"""Measures /bin/true through the warden, at each level of containment and with much memory in the
server, against a bare posix_spawn and waitpid with which it takes turns; compare.sh builds it and
says what the options mean. Rows are rates: the higher, the better."""

import json
import os
import pathlib
import subprocess
import sys

from rows import Row, parse, report

SPAWN_BENCH = pathlib.Path(os.environ["NURSERY_BUILD"]) / "tests/spawn_bench"
# What each has to reach of the bare loop.
GOALS = {"group": 0.7, "subreaper": 0.7, "cgroup": 0.55}
GIGABYTES = 4


def name_of(level, figure, gigabytes):
    return f"{level}_{figure}" + (f"_{GIGABYTES}gib" if gigabytes else "")


def rows():
    return [Row(name_of(level, figure, gigabytes), ">=", goal, has_peer=True)
            for gigabytes in (0, GIGABYTES) for level, goal in GOALS.items()
            for figure in ("p50", "p99", "rate")]


def measure(count, level, gigabytes):
    """By the row's figure, ours and the bare loop's; None if the level does not work here."""
    done = subprocess.run([SPAWN_BENCH, str(count), level, str(gigabytes)], check=False,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return None
    told = json.loads(done.stdout)
    of_one = {f"p{percent}": [1e3 / time for time in told[f"p{percent}_ms"]]
              for percent in (50, 99)}
    return of_one | {"rate": told["rate_of_4"]}


def main():
    arguments, chosen = parse(rows(), rounds=1)
    count, much = (50, 0) if arguments.quick else (10_000, GIGABYTES)
    for _ in range(1 if arguments.quick else arguments.rounds):
        for gigabytes in (0, GIGABYTES):
            for level in GOALS:
                names = {figure: name_of(level, figure, gigabytes)
                         for figure in ("p50", "p99", "rate")}
                if not set(names.values()) & set(chosen):
                    continue
                figures = measure(count, level, min(gigabytes, much))
                for figure, name in names.items():
                    if figures and name in chosen:
                        chosen[name].add(*figures[figure])
    return report(chosen.values())


if __name__ == "__main__":
    sys.exit(main())
