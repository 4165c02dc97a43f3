#!/usr/bin/python3
"""Runs a command, and fails if something of it is left when it has ended.

usage: leftovers.py [--patience SECONDS] COMMAND [ARGUMENT ...]

Left is, and is named, ended and removed: a process that descends from the command, whatever it has
done to its parents, its session and its environment, with all that it has open; a cgroup; a file or
directory in TMPDIR. All three are its own, so that nobody else's are blamed: its orphans become
children of this process, it is started in a cgroup of its own where one can be made, and with a
TMPDIR of its own. What dies within the patience (5 s) is not left.

The exit code is the command's; 1 if only something is left.
"""

import argparse
import ctypes
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

from checked import has_child

PR_SET_CHILD_SUBREAPER = 36
# To kill what is left, which may fork meanwhile; what is alive after it cannot be killed.
KILL_SECONDS = 10
# More are not waited for at once; whoever of them ends, all are looked at again.
MOST_AWAITED = 500


def own_cgroup():
    """The directory of this process's cgroup of version 2; None if there is none."""
    cgroups = pathlib.Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    paths = [line[3:] for line in cgroups if line.startswith("0::")]
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        place, _, kind = line.partition(" - ")
        root, point = place.split()[3:5]
        if paths and kind.startswith("cgroup2 ") and root == "/":
            return pathlib.Path(point, paths[0].lstrip("/"))
    return None


def make_cgroup():
    base = own_cgroup()
    if base is None:
        return None
    path = base / f"nursery-check-{uuid.uuid4().hex}"
    try:
        path.mkdir()
        # That the command may go there is known only when somebody does.
        subprocess.run(["true"], preexec_fn=lambda: enter(path), check=True)
    except (OSError, subprocess.SubprocessError):
        if path.is_dir():
            path.rmdir()
        return None
    return path


def enter(cgroup):
    if cgroup is not None:
        (cgroup / "cgroup.procs").write_text("0")


def parents():
    """The parent and the state of every process."""
    found = {}
    for name in os.listdir("/proc"):
        try:
            fields = pathlib.Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if name.isdigit():
            found[int(name)] = (int(fields[1]), fields[0])
    return found


def has_threads(pid):
    """Of a process whose first thread has ended: whether it lives on."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def descendants():
    """The pids of all below this process, zombies that it reaps itself apart."""
    every = parents()
    below, found = {os.getpid()}, []
    while below:
        below = {pid for pid, (parent, _) in every.items() if parent in below}
        found += [pid for pid in below
                  if every[pid] != (os.getpid(), b"Z") or has_threads(pid)]
    return found


def command_line(pid):
    try:
        process = pathlib.Path(f"/proc/{pid}")
        arguments = (process / "cmdline").read_bytes().replace(b"\0", b" ")
        return " ".join(arguments.decode(errors="replace").split()) or \
            "[" + (process / "comm").read_text().strip() + "]"
    except OSError:
        return "(gone by now)"


def run(command, environment, cgroup):
    """The exit code of the command. Its orphans are reaped meanwhile, as init would."""
    # Whoever ends this one ends the command, and what is left is told and ended all the same. A
    # terminal tells the command itself.
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, env=environment, preexec_fn=lambda: enter(cgroup))
    except OSError as error:
        print(error, file=sys.stderr)
        return 127
    signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    if asked:
        process.send_signal(signal.SIGTERM)
    while True:
        pid, status = os.wait()
        if pid == process.pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode if process.returncode >= 0 else 128 - process.returncode


def await_ends(pids, end):
    """Until one of them has ended, or the time has come."""
    ends, pidfds = select.poll(), []
    for pid in pids[:MOST_AWAITED]:
        try:
            pidfds.append(os.pidfd_open(pid))
            ends.register(pidfds[-1], select.POLLIN)
        except ProcessLookupError:
            end = 0
    if pidfds:
        ends.poll(1e3 * max(0, end - time.monotonic()))
    for pidfd in pidfds:
        os.close(pidfd)


def left_processes(patience):
    end = time.monotonic() + patience
    left = []
    while has_child() and not (left and time.monotonic() >= end):
        left = descendants()
        await_ends(left, end)
    if not has_child():
        return []
    named = [f"process {pid}: {command_line(pid)}" for pid in left]
    end = time.monotonic() + KILL_SECONDS
    while has_child():
        left = descendants()
        if time.monotonic() >= end:
            return named + [f"process {pid}, which SIGKILL does not end" for pid in left]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        await_ends(left, time.monotonic() + 1)
    return named


def left_cgroups(cgroup):
    if cgroup is None:
        return []
    left = sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True)
    for path in [*left, cgroup]:
        try:
            path.rmdir()
        except OSError as error:
            left.append(f"{path}: {error.strerror}")
    return [f"cgroup {path}" for path in left]


def left_files(directory):
    left = sorted(os.listdir(directory))
    shutil.rmtree(directory, ignore_errors=True)
    return [f"file {name} in TMPDIR" for name in left]


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][len("usage: "):])
    parser.add_argument("--patience", type=float, default=5)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not options.command:
        parser.error("what is to be run?")
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a subreaper")
    # Short: paths of sockets are.
    directory = tempfile.mkdtemp(prefix="nt-")
    os.chmod(directory, 0o1777)
    cgroup = make_cgroup()
    code = run(options.command, dict(os.environ, TMPDIR=directory, TEST_TMPDIR=directory), cgroup)
    left = left_processes(options.patience)
    left += left_cgroups(cgroup) + left_files(directory)
    for each in left:
        print(f"left behind: {each}", file=sys.stderr)
    return code or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main())
