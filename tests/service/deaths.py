"""A server with processes that try to escape, and what is alive of them when parts of it die."""

import os
import pathlib
import select
import signal
import tempfile
import time
import uuid

from service import (PATIENCE, Server, group, introspection, introspection_stub, job, job_service,
                     job_stub, wait_until)

BUILD = pathlib.Path(os.environ["NURSERY_BUILD"])
ESCAPEE = str(BUILD / "tests/escapee")
# Each with how many processes it starts.
SHAPES = {
    "background": 4, "ignores_term": 2, "setsid": 2, "double_fork": 2, "daemon": 2,
    "holds_stdout": 2, "stops_itself": 2, "zombies": 2, "subreaper": 3, "wide": 25,
}
CLEAN = {"clean_environment": 2}
LEVELS = ("group", "subreaper", "cgroup")
# What is alive after this must not be, whoever died.
BOUND = 2
STARTED = 19  # in stat(): when, in ticks


def stat(pid):
    """The fields of /proc/PID/stat behind the name; None if it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        fields = stat(name) if name.isdigit() else None
        if fields and int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(name))
    return found


def leaders_of(pids):
    """Of the children of each reaper the first: at some levels orphans are its children, too."""
    first = {}
    for pid in sorted(pids, key=lambda pid: (int(stat(pid)[STARTED]), pid)):
        first.setdefault(int(stat(pid)[1]), pid)
    return [pid for parent, pid in first.items() if name_of(parent) == "nursery-reaper"]


def kill_at_once(pids):
    """None of them does anything while the others die."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


class Held:
    """Processes held by descriptors, so that a pid that is used again is no other's."""

    def __init__(self, pids):
        self.pidfds = {pid: os.pidfd_open(pid) for pid in pids}

    def alive(self):
        return sorted(pid for pid, fd in self.pidfds.items()
                      if not select.select([fd], [], [], 0)[0])

    def kill(self):
        for fd in self.pidfds.values():
            try:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not self.alive())

    def close(self):
        for fd in self.pidfds.values():
            os.close(fd)
        self.pidfds = {}


class Escapees:
    """A server at one level whose job runs processes of every shape, all of them alive."""

    def __init__(self, level, shapes=None, directory=None, build=BUILD, **options):
        self.level = level
        self.shapes = shapes or (SHAPES if level == "group" else SHAPES | CLEAN)
        self.directory = directory or tempfile.TemporaryDirectory()
        self.build = build
        self.options = dict(options, programs=build / "bin")
        self.mark = "mark-" + uuid.uuid4().hex
        # Leaders live until their stdin ends, which this end of it prevents.
        self.fifo = os.path.join(self.directory.name, "fifo-" + uuid.uuid4().hex)
        os.mkfifo(self.fifo, 0o666)
        self.writer = os.open(self.fifo, os.O_RDWR)
        self.server = None
        self.start()

    def start(self):
        """Starts a server, the next one if there was one, and gives it a job."""
        containment = f"exec: {{containment: {self.level}}}\n" if self.level else ""
        self.server = Server(self.directory.name, config=containment, **self.options)
        self.channel = self.server.channel()
        self.jobs = job_stub.JobServiceStub(self.channel)
        self.info = introspection_stub.IntrospectionServiceStub(self.channel)

    def submit(self, **fields):
        """Starts the job, with `fields` of its spec; returns once all its processes are alive."""
        nodes = []
        for shape in self.shapes:
            action = job.ExecAction(argv=[str(self.build / "tests/escapee"), shape, self.mark],
                                    stdin=job.StdinSpec(file=self.fifo))
            nodes.append(job.NodeSpec(name=shape, exec=action, max_interruptions=0))
        # One that ends does not end the others.
        root = group(*nodes, join=job.Join(mode=job.JOIN_MODE_COLLECT))
        spec = job.JobSpec(name="escapees", root=root, **fields)
        self.job = self.jobs.SubmitJob(
            job_service.SubmitJobRequest(job_spec=spec), timeout=PATIENCE)
        count = sum(self.shapes.values())
        pids = wait_until(lambda: self.announced(count) or (self.is_over() and [-1]))
        pids = sorted(pid for pid in pids if stat(pid))
        self.held = Held(pids)
        if len(pids) != count or self.held.alive() != pids:
            raise AssertionError("a process was not alive before the kill")
        self.leaders = leaders_of(pids)
        if len(self.leaders) != len(self.shapes):
            raise AssertionError(f"{len(self.leaders)} leaders of {len(self.shapes)} are alive")
        sessions = set(self.leaders) if self.level == "group" else set()
        # At the level group: those out of reach.
        self.outside = sorted(pid for pid in pids
                              if self.level == "group" and int(stat(pid)[3]) not in sessions)
        self.warden = next(pid for pid in children_of(self.server.process.pid)
                           if name_of(pid) == "nursery-warden")
        self.reapers = children_of(self.warden)
        return self.job.name

    def is_over(self):
        return self.jobs.GetJob(job_service.GetJobRequest(name=self.job.name),
                                timeout=PATIENCE).done

    def announced(self, count):
        """The pids that the job's processes have written, once there are so many: not of those that
        are there only to start another one and end."""
        request = job_service.ReadOutputRequest(name=self.job.name, recursive=True)
        text = b"".join(chunk.data for message in self.jobs.ReadOutput(request, timeout=PATIENCE)
                        for chunk in message.chunks)
        pids = [int(line) for line in text.split()]
        return pids if len(pids) == count else None

    def of_shape(self, shape):
        """The pids of one attempt."""
        request = job_service.ReadOutputRequest(name=f"{self.job.name}/nodes/{shape}")
        return {int(line) for message in self.jobs.ReadOutput(request, timeout=PATIENCE)
                for chunk in message.chunks for line in chunk.data.split()}

    def reaper_of(self, shape):
        (leader,) = self.of_shape(shape) & set(self.leaders)
        return int(stat(leader)[1])

    def parts(self, *names):
        return [pid for name in names for pid in {
            "server": [self.server.process.pid], "warden": [self.warden],
            "reapers": self.reapers}[name]]

    def wait(self):
        """The job as it has ended."""
        return self.jobs.WaitJob(job_service.WaitJobRequest(name=self.job.name), timeout=PATIENCE)

    def time_until_only(self, expected):
        """Seconds until nothing but `expected` is alive; it must be at most BOUND."""
        began = time.monotonic()
        wait_until(lambda: self.held.alive() == expected)
        took = time.monotonic() - began
        if took > BOUND:
            raise AssertionError(f"all gone only after {took:.2f} s")
        return took

    def reap_server(self):
        self.server.process.wait(PATIENCE)
        self.channel.close()
        self.server.log.close()

    def cgroup_record(self):
        return pathlib.Path(self.directory.name, "data", "cgroups")

    def close(self):
        """Whatever a test has left."""
        self.channel.close()
        self.server.stop()
        if hasattr(self, "held"):
            self.held.kill()
            self.held.close()
        os.close(self.writer)
        self.directory.cleanup()


def server_info(escapees):
    return escapees.info.GetServerInfo(introspection.GetServerInfoRequest(), timeout=PATIENCE)


def levels_here():
    """Those that work for this user on this machine, weakest first."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(directory)
        said = first_words(server)
        server.stop()
    return LEVELS if "containment cgroup" in said else LEVELS[:2]


def first_words(server):
    """What a server says at its start; it is ready a little before it has said so."""
    return wait_until(lambda: (lambda text: "metrics and health" in text and text)(
        server.log_text()))
