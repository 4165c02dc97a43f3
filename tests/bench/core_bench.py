#!/usr/bin/python3
"""Measures core against others in turns; compare.sh builds it and says what the options mean."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from rows import Row, parse, report

HERE = pathlib.Path(__file__).parent
TOOLS = pathlib.Path(os.environ["NURSERY_BUILD"]) / "tests"

# Row, our benchmark, the peer and its figure, and the goal for ours against the peer's. A figure
# in nanoseconds that the design names beside Go's is a ratio to Go here.
PEERS = [
    ("spawn_join_1_to_tbb", "SpawnAndJoin/1/real_time", "tbb", "spawn_1", 1.2),
    ("spawn_join_2_to_tbb", "SpawnAndJoin/2/real_time", "tbb", "spawn_2", 1.5),
    ("spawn_join_2_to_go", "SpawnAndJoin/2/real_time", "go", "spawn_2", 1 / 4),
    ("group_of_ten_to_go", "GroupOfTen/2/real_time", "go", "group_of_ten", 1 / 5),
    ("yield_to_go", "Reschedule/real_time", "go", "yield", 25 / 141),
    ("ping_pong_to_go", "RendezvousPingPong/real_time", "go", "ping_pong", 1 / 3),
    ("buffered_channel_to_go", "BufferedChannel/real_time", "go", "buffered", 30 / 48),
    ("semaphore_to_go", "SemaphoreAcquireRelease/real_time", "go", "semaphore", 20 / 43),
    ("context_cancel_to_go", "ContextCancel/real_time", "go", "cancel", 60 / 241),
    ("context_timeout_to_go", "ContextTimeoutCancel/real_time", "go", "timeout", 100 / 800),
    ("timer_to_go", "TimerStartStop/real_time", "go", "timer", 60 / 426),
    ("cancel_parked_to_go", "CancelParked/manual_time", "go", "cancel_parked", 1 / 6),
    ("dump_counts_to_go", "DumpCounts/manual_time", "go", "dump_counts", 5 / 205),
    ("dump_text_to_go", "DumpText/manual_time", "go", "dump_text", 60 / 1230),
]
BYTES = ("parked_bytes", "ParkedBytes/real_time", 400)
# What the records of tasks take of a task and of a suspension: against the same without them.
RECORDS = [
    ("records_of_a_task_ns", "SpawnAndJoin/1/real_time", 10),
    ("records_of_a_suspension_ns", "Reschedule/real_time", 10),
]
# What a dump of 1,000,000 parked tasks takes from those that run: the rate that is left with one
# worker, and by how much the longest that a task takes to come and go grows with two, which a
# machine of two cores already makes wait when something else runs.
BESIDE_A_DUMP = [
    ("rate_beside_a_dump", "share_1", ">=", 0.9),
    ("longer_beside_a_dump_ms", "longer_2_ms", "<=", 5),
]


def rows():
    with_peers = [Row(name, "<=", round(goal, 3), has_peer=True) for name, *_, goal in PEERS]
    records = [Row(name, "<=", goal) for name, _, goal in RECORDS]
    beside = [Row(name, compare, goal) for name, _, compare, goal in BESIDE_A_DUMP]
    return [*with_peers, *records, *beside, Row(BYTES[0], "<=", BYTES[2])]


def output_of(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def ours(quick, program="core_bench", benchmarks=()):
    """Nanoseconds of one item, or bytes, by benchmark."""
    options = ["--benchmark_format=json"]
    if quick:
        options += ["--benchmark_min_time=0.001", "--benchmark_filter=-Parked|Dump"]
    if benchmarks:
        options += [f"--benchmark_filter=^({'|'.join(benchmarks)})$"]
    done = json.loads(output_of(TOOLS / program, *options, stderr=subprocess.DEVNULL))
    figures = {}
    for run in done["benchmarks"]:
        name = re.sub("/(min_time|iterations):[^/]+", "", run["name"])
        if "bytes" in run:
            figures[name] = run["bytes"]
        elif "items_per_second" in run:
            figures[name] = 1e9 / run["items_per_second"]
        else:
            figures[name] = run["real_time"]
    return figures


def beside_a_dump(quick):
    return json.loads(output_of(TOOLS / "dump_bench", "10000" if quick else "1000000"))


def build_go(directory):
    """The peer in Go; none when there is no Go of a version that knows what it needs."""
    if not shutil.which("go"):
        return None
    program = pathlib.Path(directory) / "go_bench"
    built = subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "peers/go", check=False,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if built.returncode == 0:
        return program
    print(f"compare: the peer in Go cannot be built: {built.stdout.strip()}", file=sys.stderr)
    return None


def peers(directory):
    """Programs by name."""
    found = {"tbb": TOOLS / "tbb_bench", "go": build_go(directory)}
    return {name: program for name, program in found.items() if program and program.exists()}


def main():
    arguments, chosen = parse(rows(), rounds=11)
    versions = {}
    with tempfile.TemporaryDirectory() as directory:
        programs = {} if arguments.quick else peers(directory)
        for _ in range(1 if arguments.quick else arguments.rounds):
            measured = {}
            for name, program in programs.items():
                done = json.loads(output_of(program))
                versions[name], measured[name] = done["version"], done["figures"]
            figures = ours(arguments.quick)
            for name, benchmark, peer, figure, _ in PEERS:
                if name in chosen and benchmark in figures:
                    chosen[name].add(figures[benchmark], measured.get(peer, {}).get(figure))
            bare = ours(arguments.quick, "core_bench_bare", [each for _, each, _ in RECORDS])
            for name, benchmark, _ in RECORDS:
                if name in chosen:
                    chosen[name].add(figures[benchmark] - bare[benchmark])
            beside = beside_a_dump(arguments.quick)
            for name, figure, *_ in BESIDE_A_DUMP:
                if name in chosen:
                    chosen[name].add(beside[figure])
            if BYTES[0] in chosen and BYTES[1] in figures:
                chosen[BYTES[0]].add(figures[BYTES[1]])
    for name, version in versions.items():
        print(f"compare: {name} is {version}", file=sys.stderr)
    return report([row for row in chosen.values() if row.ours])


if __name__ == "__main__":
    sys.exit(main())
