#!/usr/bin/python3
"""Kills processes that try to escape, and whoever watches over them, and counts what survives.

A trial or round counts only when all its processes were seen alive before the kill. The exit status
is 0 only if nothing survived that the level promises to reach, within its time.
"""

import argparse
import os
import pathlib
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parents[1] / "service"))
from deaths import BOUND, LEVELS, Escapees, kill_at_once, levels_here  # noqa: E402

BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])


def kill_trials(levels, count):
    """True if nothing survived."""
    failed = []
    for level in levels:
        command = [BUILD / "tests" / "kill_trials", level, str(count)]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(level)
        print(flush=True)
    for level in failed:
        print(f"FAILED: {count} kills at level {level}")
    return not failed


def death_rounds(level, victims, rounds, at_once=False):
    """Kills `victims` of a server so many times; the longest that anything lived after it, and
    whether a round found a survivor after the next start. That may come `at_once`, while what the
    one before has started is still being ended."""
    made = Escapees(level)
    longest, survivors, processes = 0, 0, 0
    try:
        for _ in range(rounds):
            made.submit()
            processes += len(made.held.pidfds)
            kill_at_once(made.parts(*victims))
            if "reapers" not in victims and not at_once:
                longest = max(longest, made.time_until_only(made.outside))
            if "server" in victims:
                made.reap_server()
                made.start()
            else:
                # Until the server knows, it would send the next processes to the dead warden.
                made.wait()
            # When the next start is ready; of a warden that was killed, at once.
            expected = made.outside if "reapers" not in victims else []
            survivors += len(set(made.held.alive()) - set(expected))
            made.held.kill()
            made.held.close()
            made.mark = made.mark[:37] + "-" + str(processes)
    finally:
        made.close()
    name = "+".join(victims) + ("+start" if at_once else "")
    print(f"{name:24} {level:10} {rounds:7} {processes:10} {survivors:10} "
          f"{longest:12.3f}", flush=True)
    return survivors == 0


def main():
    parser = argparse.ArgumentParser(prog="tests/torture.sh processes", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="kills at each level")
    parser.add_argument("--rounds", type=int, default=500, help="of each death, at each level")
    parser.add_argument("--level", choices=LEVELS, action="append", help="default: all that work")
    options = parser.parse_args()
    levels = options.level or levels_here()
    good = options.trials == 0 or kill_trials(levels, options.trials)
    if options.rounds > 0:
        print(f"{'killed':24} {'level':10} {'rounds':>7} {'processes':>10} {'survivors':>10} "
              f"{'longest s':>12}   (at most {BOUND})")
        deaths = [("server",), ("warden",), ("server", "warden")]
        for level in levels:
            # What each level promises of the death of all three differs: the tests have it.
            every = deaths + ([("server", "warden", "reapers")] if level == "cgroup" else [])
            for victims in every:
                good &= death_rounds(level, victims, options.rounds)
            good &= death_rounds(level, ("server", "warden"), options.rounds, at_once=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
