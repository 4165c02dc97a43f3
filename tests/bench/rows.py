"""What a benchmark prints: a figure of ours, perhaps that of a peer, and whether it is enough."""

import argparse
import dataclasses
import statistics
import sys


@dataclasses.dataclass
class Row:
    """`compare` is "<=" or ">="; the goal is one for the ratio to the peer, if there is one."""

    name: str
    compare: str
    goal: float
    has_peer: bool = False
    ours: list = dataclasses.field(default_factory=list)
    peer: list = dataclasses.field(default_factory=list)

    def add(self, ours, peer=None):
        self.ours.append(ours)
        if peer is not None:
            self.peer.append(peer)

    def ratio(self):
        return statistics.median(self.ours) / statistics.median(self.peer)

    def verdict(self):
        if self.has_peer and not self.peer:
            return "no-peer"
        judged = self.ratio() if self.has_peer else statistics.median(self.ours)
        is_enough = judged <= self.goal if self.compare == "<=" else judged >= self.goal
        return "ok" if is_enough else "short"

    def line(self):
        ratio = f"{self.ratio():.2f}" if self.peer else "-"
        return (f"{self.name} {spread(self.ours)} {spread(self.peer)} {ratio} "
                f"{self.compare}{self.goal:g} {self.verdict()}")


def spread(values):
    """The median and the quartiles."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.1f}[{low:.1f}..{high:.1f}]"


def parse(rows, rounds):
    """The options that every comparison has, and the rows that they ask for, by name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--row", action="append", default=[])
    parser.add_argument("--goal", action="append", default=[])
    arguments = parser.parse_args()
    known = {row.name: row for row in rows}
    for name in [*arguments.row, *(goal.partition("=")[0] for goal in arguments.goal)]:
        if name not in known:
            sys.exit(f"compare: there is no row '{name}'; there are {', '.join(known)}")
    for goal in arguments.goal:
        name, _, value = goal.partition("=")
        known[name].goal = float(value)
    wanted = set(arguments.row or known)
    return arguments, {name: row for name, row in known.items() if name in wanted}


def report(rows):
    """Prints the rows; gives the exit status, which is 1 when one is short."""
    for row in rows:
        print(row.line(), flush=True)
    return 1 if any(row.verdict() == "short" for row in rows) else 0
