"""A permit taken before a spawn that does not hand it on: the task works without one, and who has
taken it holds it for as long as it spawns. It is seen in a block that spawns in a `group`."""

import re

ACQUIRE = re.compile(r"\bco_await\b[^;{}]*(?:\.|->)Acquire\s*\(")
SPAWN = re.compile(r"(?:\bgroup|_group)(?:\.|->)(?P<how>\w*Spawn\w*)\s*\(")


def rest_of_block(code, begin):
    """From `begin` to the end of the block that it stands in."""
    depth = 0
    for bracket in re.finditer(r"[{}]", code[begin:]):
        depth += 1 if bracket.group() == "{" else -1
        if depth < 0:
            return code[begin : begin + bracket.start()]
    return code[begin:]


def check(source):
    if not source.is_cpp:
        return
    for match in ACQUIRE.finditer(source.code):
        spawn = SPAWN.search(rest_of_block(source.code, match.end()))
        if spawn and not spawn["how"].endswith("SpawnWith"):
            yield source.violation("permit", match.start(), "SpawnWith hands a permit to the task")
