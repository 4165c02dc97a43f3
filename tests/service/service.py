"""Starts a server, and talks to it with a stock client whose stubs are made from proto/."""

import fcntl
import importlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

import grpc

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from processes import (PATIENCE, default_signals, marked, programs_for_all,  # noqa: E402, F401
                       wait_until)

BIN = pathlib.Path(os.environ["NURSERY_BIN"])
PROTO = pathlib.Path(__file__).parents[2] / "proto"
# The address sanitizer keeps what has been freed.
KEEPS_FREED_MEMORY = b"__asan_init" in (BIN / "nurseryd").read_bytes()
_STUBS = tempfile.TemporaryDirectory()


def _make_stubs():
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    subprocess.run(
        ["protoc", f"-I{PROTO}", f"--python_out={_STUBS.name}", f"--grpc_out={_STUBS.name}",
         "--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin", *files], check=True)
    sys.path.insert(0, _STUBS.name)


_make_stubs()
job = importlib.import_module("nursery.v1.job_pb2")
job_service = importlib.import_module("nursery.v1.job_service_pb2")
job_stub = importlib.import_module("nursery.v1.job_service_pb2_grpc")
event = importlib.import_module("nursery.v1.event_pb2")
resources = importlib.import_module("nursery.v1.resources_pb2")
introspection = importlib.import_module("nursery.v1.introspection_service_pb2")
introspection_stub = importlib.import_module("nursery.v1.introspection_service_pb2_grpc")
admin = importlib.import_module("nursery.v1.admin_service_pb2")
admin_stub = importlib.import_module("nursery.v1.admin_service_pb2_grpc")
config = importlib.import_module("nursery.v1.config_pb2")
options = importlib.import_module("nursery.v1.options_pb2")
error_details = importlib.import_module("google.rpc.error_details_pb2")
rpc_status = importlib.import_module("google.rpc.status_pb2")


def exec_node(*argv, name="", **fields):
    return job.NodeSpec(name=name, exec=job.ExecAction(argv=argv), **fields)


def group(*nodes, **fields):
    return job.NodeSpec(group=job.GroupSpec(nodes=nodes, **fields))


def details_of(error):
    """The messages in the details of a gRPC error, by their names."""
    trailers = dict(error.trailing_metadata())
    status = rpc_status.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    found = {}
    for each in status.details:
        name = each.type_url.rpartition(".")[2]
        found[name] = getattr(error_details, name).FromString(each.value)
    return found


class Server:
    # `prefix` is a command that runs the server in its place, as `prlimit` does.
    def __init__(self, directory, *arguments, listen=None, config="", prefix=(), slots=500,
                 data=None, programs=BIN):
        self.directory = pathlib.Path(directory)
        self.address_file = self.directory / ("address-" + uuid.uuid4().hex)
        self.data = pathlib.Path(data or self.directory / "data")
        self.socket = self.directory / "nursery.sock"
        listen = listen or [f"unix:{self.socket}"]
        config_file = self.directory / "config.yaml"
        config_file.write_text(f"pools: [{{name: default, slots: {slots}}}]\n" + config)
        command = [*prefix, str(programs / "nurseryd"),
                   "--data", str(self.data),
                   "--address-file", str(self.address_file), "--config", str(config_file),
                   "--http", "127.0.0.1:0"]
        for address in listen:
            command += ["--listen", address]
        self.log = open(self.directory / "log", "a+", encoding="utf-8")
        self.process = subprocess.Popen([*command, *arguments], stderr=self.log,
                                        preexec_fn=default_signals)
        wait_until(lambda: self.address_file.exists() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise AssertionError("the server ended: " + self.log_text())
        addresses = json.loads(self.address_file.read_text())
        self.address, self.http = addresses["grpc"], addresses["http"]

    def log_text(self):
        return (self.directory / "log").read_text()

    def tcp_address(self):
        """The last that it listens at; the log may come a moment after the address file."""
        said = re.compile(r"listening on (127\.0\.0\.1:\d+)")
        return wait_until(lambda: said.findall(self.log_text()))[-1]

    def memory(self):
        """Resident bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    def channel(self, address=None):
        # Not the connection of an earlier server at the same address.
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.insecure_channel(address or self.address, options)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.log.close()
        if code == -signal.SIGKILL:  # its warden and reapers tidy up until they end
            wait_until(self.nobody_holds_data)
        return code

    def nobody_holds_data(self):
        try:
            with open(self.data / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass
        except BlockingIOError:
            return False
        return True


class ServiceTest(unittest.TestCase):
    listen = None
    config = ""
    slots = 500

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.server = Server(directory.name, listen=self.listen, config=self.config,
                             slots=self.slots)
        self.addCleanup(self.stop_well)
        self.channel = self.server.channel()
        self.addCleanup(self.channel.close)
        self.jobs = job_stub.JobServiceStub(self.channel)
        self.introspection = introspection_stub.IntrospectionServiceStub(self.channel)
        self.admin = admin_stub.AdminServiceStub(self.channel)
        self.mark = "mark-" + uuid.uuid4().hex

    def stop_well(self):
        """A server that died is a failure of its own, with the last it said."""
        code = self.server.stop()
        if code not in (0, -signal.SIGKILL):
            self.fail(f"the server ended with {code}:\n" + self.server.log_text()[-8000:])

    def submit(self, spec, **fields):
        return self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=spec, **fields),
                                   timeout=PATIENCE)

    def wait(self, name):
        return self.jobs.WaitJob(job_service.WaitJobRequest(name=name), timeout=PATIENCE)

    def get(self, name):
        return self.jobs.GetJob(job_service.GetJobRequest(name=name), timeout=PATIENCE)

    def sleepers(self, count):
        """A spec of `count` processes that sleep and carry the mark."""
        return job.JobSpec(name="sleepers", root=group(
            *(exec_node("sh", "-c", "sleep 60; :", self.mark, name=f"n{i}")
              for i in range(count))))

    def assert_memory_grew_less(self, before, after, limit):
        if not KEEPS_FREED_MEMORY:
            self.assertLess(after - before, limit)

    def assert_fails(self, code, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as raised:
            result = call(*arguments, timeout=PATIENCE, **options)
            list(result)  # a stream tells only when it is read
        self.assertEqual(raised.exception.code(), code, raised.exception.details())
        return raised.exception
