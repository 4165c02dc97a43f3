#!/usr/bin/python3
"""Runs one test, and fails it if something of it is left when it has ended.

usage: checked.py [--patience SECONDS] COMMAND [ARGUMENT ...]

As leftovers.py, which looks when a whole step is over: by then what had leaked may have ended. Here
only what descends from this one test can be blamed, and what is in its own TMPDIR; so tests may run
side by side. Cgroups are the step's to look at.

The exit code is the command's; 1 if only something is left. Few imports: it is run for every test.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)


def prctl(option, value):
    if LIBC.prctl(option, value) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def start(command, directory):
    environment = dict(os.environ, TMPDIR=directory, TEST_TMPDIR=directory)
    parent = os.getpid()
    pid = os.fork()
    if pid != 0:
        return pid
    try:
        # Who ends this process, as ctest when the time is over, means the test.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python itself
            signal.signal(ignored, signal.SIG_DFL)
        if os.getppid() == parent:
            os.execvpe(command[0], command, environment)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
    os._exit(127)


def wait_for(process):
    """Its exit code. Orphans are reaped meanwhile, as init would."""
    while True:
        pid, status = os.wait()
        if pid == process:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def has_child():
    """Whether a child is alive: of a subreaper, whether anything below it is. The kernel's word; a
    scan of /proc may miss one whose parent ends meanwhile."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def main(arguments):
    patience = 5.0
    if arguments[:1] == ["--patience"]:
        patience, arguments = float(arguments[1]), arguments[2:]
    if not arguments:
        sys.exit(__doc__.split("\n\n")[1])
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Short: paths of sockets are.
    directory = os.path.join(os.environ.get("TMPDIR", "/tmp"), "t-" + os.urandom(3).hex())
    os.mkdir(directory)
    os.chmod(directory, 0o1777)
    code = wait_for(start(arguments, directory))
    left = []
    if has_child() or os.listdir(directory):
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        import leftovers
        left = leftovers.left_processes(patience) + leftovers.left_files(directory)
    else:
        os.rmdir(directory)
    for each in left:
        print(f"left behind: {each}", file=sys.stderr)
    return code or (1 if left else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
