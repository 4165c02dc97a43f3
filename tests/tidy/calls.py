"""Calls that only certain files may make."""

import re

# The executor, the pool for blocking calls, and the dump, which must work when both are stuck.
THREAD_OWNERS = ("core/src/executor.cc", "core/include/nursery/core/executor.h",
                 "core/src/scheduler.cc", "core/include/nursery/core/internal/scheduler.h",
                 "tests/core/scheduler_test.cc",
                 "core/src/blocking_pool.cc", "core/include/nursery/core/internal/blocking_pool.h",
                 "core/src/dump.cc", "core/include/nursery/core/dump.h")

# (rule, pattern, prefixes of the files that may, what to do instead)
RULES = [
    ("process", r"(?<![\w.>])(?:fork|vfork|clone3?|posix_spawnp?|popen|system)\s*\(",
     ("server/warden/", "tests/"), "processes are started by the warden only"),
    ("sleep",
     r"\b(?:sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep)\b|(?<![\w.>])sleep\s*\(",
     (), "wait for what is meant: core/sleep.h, a signal, a manual clock"),
    ("thread", r"\bstd::(?:jthread|thread|async)\b|\bpthread_create\b|\bnew\s+std::j?thread\b",
     THREAD_OWNERS + ("tests/",), "threads belong to the executor: spawn a task"),
    ("thread", r"\bstd::this_thread\b", THREAD_OWNERS, "threads belong to the executor"),
    ("detach", r"[.>]detach\s*\(\s*\)", (), "nothing may outlive its scope"),
    ("time", r"\b(?:steady_clock|system_clock|high_resolution_clock)::now\b|\babsl::Now\s*\(|"
     r"\b(?:clock_gettime|gettimeofday)\s*\(",
     ("core/src/clock.cc", "core/include/nursery/core/clock.h", "server/warden/", "tests/"),
     "time comes from core/clock.h"),
    ("background", r"\bContext::Background\s*\(",
     ("core/src/context.cc", "core/src/executor.cc", "core/include/nursery/core/context.h",
      "core/testing/", "tests/", "server/app", "server/main.cc", "client/cli/main.cc"),
     "take the context from the caller"),
]
COMPILED = [(rule, re.compile(pattern), may, advice) for rule, pattern, may, advice in RULES]


def check(source):
    if not source.is_cpp:
        return
    for rule, pattern, may, advice in COMPILED:
        if may and source.below(*may):
            continue
        for match in pattern.finditer(source.code):
            name = match.group().strip("( ")
            yield source.violation(rule, match.start(), f"{name}: {advice}")
