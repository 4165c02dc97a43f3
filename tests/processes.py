"""Processes as tests see them, through /proc."""

import os
import pathlib
import shutil
import signal
import tempfile
import time

# Far longer than anything takes; only a hang comes near it.
PATIENCE = 60


def processes():
    """The directories of all processes; any of them may be gone when it is looked into."""
    return [pathlib.Path("/proc", name) for name in os.listdir("/proc") if name.isdigit()]


def marked(mark):
    """Pids of the processes with `mark` among their arguments, zombies and the CLI apart."""
    found = []
    for process in processes():
        try:
            arguments = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in arguments and not arguments[0].endswith(b"/nursery"):
            found.append(int(process.name))
    return found


def children(pid):
    """How many processes have `pid` as their parent."""
    count = 0
    for process in processes():
        try:
            count += int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid
        except OSError:
            pass
    return count


def programs_for_all(build, *programs):
    """A directory with `programs` of the build directory, and laid out as that: for a user who may
    not look into the checkout."""
    directory = tempfile.TemporaryDirectory()
    os.chmod(directory.name, 0o755)
    for program in programs:
        target = pathlib.Path(directory.name, program)
        target.parent.mkdir(mode=0o755, exist_ok=True)
        try:
            os.link(build / program, target)
        except OSError:  # another file system
            shutil.copy(build / program, target)
    return directory


def default_signals():
    """For a child: signals as a terminal has them, whatever started the tests."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def wait_until(condition, patience=PATIENCE):
    """Polls `condition` until it gives something true, which is returned."""
    end = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError("waited in vain")
        os.sched_yield()
