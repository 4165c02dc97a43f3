#!/usr/bin/python3
"""Measures the server; compare.sh builds it and says what the options mean."""

import json
import pathlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "service"))

from rows import Row, parse, report  # noqa: E402
from service import (Server, exec_node, group, job, job_service, job_stub,  # noqa: E402
                     resources, wait_until)

TOOLS = pathlib.Path(os.environ["NURSERY_BUILD"]) / "tests"
MIB = 1 << 20
AT_ONCE = 64  # calls under way when their rate is measured
SLOTS = 2     # processes under way
LONG = 600

FULL = {"calls": 20_000, "group": 1000, "groups": 25, "nodes": 100_000, "items": 1_000_000,
        "processes": 10_000, "idle_seconds": 10, "settle": 8}
QUICK = {"calls": 200, "group": 100, "groups": 1, "nodes": 2000, "items": 2000, "processes": 50,
         "idle_seconds": 1,
         "settle": 0}


def rows():
    return [
        Row("run_job_p50_us", "<=", 1.5, has_peer=True),
        Row("run_job_rate", ">=", 0.5, has_peer=True),
        Row("group_node_us", "<=", 2),
        Row("submit_nodes_per_s", ">=", 100_000),
        Row("map_items_per_s", ">=", 300_000),
        Row("map_growth_mib", "<=", 50),
        Row("cancel_acknowledged_ms", "<=", 50),
        # Of calls that end at once when they are cancelled: the tree's own bound is 0.
        Row("cancel_complete_ms", "<=", 250),
        Row("exec_to_spawn_loop", ">=", 0.7, has_peer=True),
        Row("exec_to_xargs", ">=", 0.9, has_peer=True),
        Row("exec_to_parallel", ">=", 5, has_peer=True),
        Row("live_node_bytes", "<=", 400),
        Row("ended_node_bytes", "<=", 64),
        Row("idle_mib", "<=", 30),
        Row("idle_wakeups_per_s", "<=", 3),
    ]


def called(function, name=""):
    return job.NodeSpec(name=name, call=job.CallAction(function=function))


def mapped(node, count, workers):
    items = job.Items(range=job.RangeItems(to=count))
    return job.NodeSpec(map=job.MapSpec(items=items, node=node, workers=workers))


def output_of(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


class Client:
    """A server of its own, and calls to it."""

    def __init__(self, directory):
        self.server = Server(directory, slots=1000)
        self.channel = self.server.channel()
        self.jobs = job_stub.JobServiceStub(self.channel)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()
        self.server.stop()

    def run(self, root):
        """The Job that it became, once it has ended well. Nobody watches it: a watcher would take
        its share of the cores."""
        done = self.wait(self.submit(root))
        if done.state != resources.NODE_STATE_SUCCEEDED:
            raise AssertionError(f"the job did not succeed: {done.errors}")
        return done

    def submit(self, root):
        spec = job.JobSpec(name="bench", root=root)
        return self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=spec), timeout=LONG).name

    def cancel(self, name):
        self.jobs.CancelJob(job_service.CancelJobRequest(name=name), timeout=LONG)

    def wait(self, name):
        return self.jobs.WaitJob(job_service.WaitJobRequest(name=name), timeout=LONG)

    def running(self, name):
        return self.jobs.GetJob(job_service.GetJobRequest(name=name), timeout=LONG).counts.running

    def grown(self, function):
        """The bytes by which the server grew at most while `function` ran."""
        process = pathlib.Path(f"/proc/{self.server.process.pid}")
        before = self.server.memory()
        (process / "clear_refs").write_text("5")  # the peak counts from now on
        function()
        peak = (process / "status").read_text().partition("VmHWM:")[2].split()[0]
        return int(peak) * 1024 - before


def seconds_of(done):
    """From a job's admission to its end."""
    return (done.end_time.ToNanoseconds() - done.create_time.ToNanoseconds()) / 1e9


def measure_calls(sizes, add, directory):
    echo = f"unix:{directory}/echo.sock"
    with subprocess.Popen([TOOLS / "rpc_bench", "serve", echo], stdout=subprocess.PIPE) as server:
        try:
            server.stdout.readline()
            with Client(directory) as client:
                def load(what, address, at_once):
                    return json.loads(output_of(TOOLS / "rpc_bench", what, address,
                                                str(sizes["calls"]), str(at_once)))

                ours, peer = (load("run-job", client.server.address, 1), load("echo", echo, 1))
                add("run_job_p50_us", ours["p50_us"], peer["p50_us"])
                ours, peer = (load("run-job", client.server.address, AT_ONCE),
                              load("echo", echo, AT_ONCE))
                add("run_job_rate", ours["rate"], peer["rate"])
        finally:
            server.kill()


def measure_trees(sizes, add, directory):
    with Client(directory) as client:
        count = sizes["group"]
        root = group(*(called("noop", f"n{i}") for i in range(count)))
        # The first ones warm the server up.
        took = [seconds_of(client.run(root)) for _ in range(sizes["groups"])]
        add("group_node_us", statistics.median(took) * 1e6 / count)
        done = []
        growth = client.grown(lambda: done.append(client.run(mapped(called("noop"), sizes["items"],
                                                                    workers=16))))
        add("map_items_per_s", sizes["items"] / seconds_of(done[0]))
        add("map_growth_mib", growth / MIB)


def measure_large_tree(sizes, add, directory):
    count = sizes["nodes"]
    # The root is a node, too.
    root = group(*(called("block", f"n{i}") for i in range(count - 1)), limit=min(1000, count // 2))
    with Client(directory) as client:
        client.run(called("noop"))
        before = client.server.memory()
        start = time.monotonic()
        name = client.submit(root)
        add("submit_nodes_per_s", count / (time.monotonic() - start))
        wait_until(lambda: client.running(name) >= root.group.limit)
        # What a large message took is given back a second later.
        time.sleep(sizes["settle"])
        add("live_node_bytes", (client.server.memory() - before) / count)
        start = time.monotonic()
        client.cancel(name)
        add("cancel_acknowledged_ms", (time.monotonic() - start) * 1e3)
        client.wait(name)
        add("cancel_complete_ms", (time.monotonic() - start) * 1e3)
        # Packed five seconds after its end.
        time.sleep(sizes["settle"])
        add("ended_node_bytes", (client.server.memory() - before) / count)


def measure_processes(sizes, add, directory):
    count = sizes["processes"]

    def rate(command, items):
        start = time.monotonic()
        output_of(*command, input="".join(f"{i}\n" for i in range(items)))
        return items / (time.monotonic() - start)

    def if_there(command, items):
        return rate(command, items) if shutil.which(command[0]) else None

    with Client(directory) as client:
        ours = count / seconds_of(client.run(mapped(exec_node("/bin/true"), count, SLOTS)))
    add("exec_to_spawn_loop", ours, float(output_of(TOOLS / "spawn_loop", str(count), str(SLOTS))))
    add("exec_to_xargs", ours, if_there(["xargs", f"-P{SLOTS}", "-n1", "/bin/true"], count))
    # It takes milliseconds for each: fewer do.
    add("exec_to_parallel", ours, if_there(["parallel", f"-j{SLOTS}", "/bin/true"],
                                           max(count // 10, 10)))


def measure_idle(sizes, add, directory):
    def wakeups(pid):
        return sum(int(task.joinpath("status").read_text().partition("voluntary_ctxt_switches:")[2]
                       .split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir())

    server = Server(directory)
    try:
        # Its start is over when the last of its threads sleeps.
        threading.Event().wait(sizes["settle"])
        before = wakeups(server.process.pid)
        threading.Event().wait(sizes["idle_seconds"])
        add("idle_wakeups_per_s", (wakeups(server.process.pid) - before) / sizes["idle_seconds"])
        add("idle_mib", server.memory() / MIB)
    finally:
        server.stop()


MEASURES = {
    measure_calls: {"run_job_p50_us", "run_job_rate"},
    measure_trees: {"group_node_us", "map_items_per_s", "map_growth_mib"},
    measure_large_tree: {"submit_nodes_per_s", "live_node_bytes", "cancel_acknowledged_ms",
                         "cancel_complete_ms", "ended_node_bytes"},
    measure_processes: {"exec_to_spawn_loop", "exec_to_xargs", "exec_to_parallel"},
    measure_idle: {"idle_mib", "idle_wakeups_per_s"},
}


def main():
    arguments, chosen = parse(rows(), rounds=5)

    def add(name, ours, peer=None):
        if name in chosen:
            chosen[name].add(ours, peer)

    for _ in range(1 if arguments.quick else arguments.rounds):
        for measure, names in MEASURES.items():
            if names & set(chosen):
                with tempfile.TemporaryDirectory() as directory:
                    measure(QUICK if arguments.quick else FULL, add, directory)
    return report(chosen.values())


if __name__ == "__main__":
    sys.exit(main())
