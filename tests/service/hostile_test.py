"""Clients that mean harm: the server lives, stays within its limits, and serves the others.

NURSERY_RESET_PHASES, NURSERY_FLOOD_MIB and NURSERY_MUTATIONS make the attacks longer by hand.
"""

import os
import random
import re
import threading
import time
import unittest

import grpc

import http2
from service import (PATIENCE, Server, ServiceTest, admin, exec_node, group, introspection,
                     introspection_stub, job, job_service, job_stub, marked, resources, wait_until)

# The server's limit of calls at once.
CALLS = 10_000
RESET_PHASES = int(os.environ.get("NURSERY_RESET_PHASES", "40"))
RESETS_PER_PHASE = 100
FLOOD_MIB = int(os.environ.get("NURSERY_FLOOD_MIB", "64"))
FLOODS = 8
MUTATIONS = int(os.environ.get("NURSERY_MUTATIONS", "3000"))
MIB = 1 << 20
JOBS = "/nursery.v1.JobService/"
DUMP = "/nursery.v1.IntrospectionService/DumpTasks"
DRAIN = "/nursery.v1.AdminService/DrainServer"
# Every method of the contract, with the class of its request.
METHODS = {
    f"/{service.full_name}/{method.name}": getattr(module, method.input_type.name)
    for module in (admin, introspection, job_service)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}


class Messages:
    """Messages of the contract with fields as the dice say: right in form, if not in sense."""

    # No program has one of these names.
    TEXTS = ("", "a", "a/b[1]", "jobs/x", "noop", "${{ item }}", "${{", "x" * 300, "\0", "*")
    NUMBERS = (0, 1, 2, -1, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63))
    DEPTH = 6

    def __init__(self, dice):
        self.dice = dice

    def fill(self, message, depth=0):
        for field in message.DESCRIPTOR.fields:
            if self.dice.random() < 0.4:
                self.set(message, field, depth)
        return message

    def set(self, message, field, depth):
        repeated = field.label == field.LABEL_REPEATED
        if field.message_type is None:
            value = self.scalar(field)
            if repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth < self.DEPTH and not field.message_type.GetOptions().map_entry:
            inner = getattr(message, field.name)
            if not repeated:
                inner.SetInParent()
            self.fill(inner.add() if repeated else inner, depth + 1)

    def scalar(self, field):
        if field.enum_type is not None:
            return self.dice.choice(field.enum_type.values).number
        if field.cpp_type == field.CPPTYPE_STRING:
            text = self.dice.choice(self.TEXTS)
            return text.encode() if field.type == field.TYPE_BYTES else text
        if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
            return self.dice.choice((0.0, -1.0, 1e30, float("nan")))
        if field.cpp_type == field.CPPTYPE_BOOL:
            return self.dice.random() < 0.5
        unsigned = field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64)
        bits = 32 if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32) else 64
        low, high = (0, (1 << bits) - 1) if unsigned else (-(1 << bits - 1), (1 << bits - 1) - 1)
        return min(max(self.dice.choice(self.NUMBERS), low), high)


def calling(function):
    return job.JobSpec(name=function, root=job.NodeSpec(call=job.CallAction(function=function)))


class HostileTest(ServiceTest):
    def connect(self, address=None):
        connection = http2.Connection(address or self.server.address, PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def stats(self):
        return self.introspection.GetServerStats(introspection.GetServerStatsRequest(),
                                                 timeout=PATIENCE)

    def assert_serves(self, live_jobs=0):
        """A call gets its answer, and nothing is left of the attack's calls and jobs."""
        messages = list(self.jobs.RunJob(job_service.RunJobRequest(job_spec=calling("noop")),
                                         timeout=PATIENCE))
        self.assertEqual(messages[-1].result.state, resources.NODE_STATE_SUCCEEDED)
        self.assertIsNone(self.server.process.poll())
        wait_until(lambda: self.stats().calls <= 2)  # this one, and a watcher's
        wait_until(lambda: self.live_jobs() == live_jobs)

    def live_jobs(self):
        counts = self.stats().jobs
        return counts.pending + counts.running + counts.ending


class UnreadDumpTest(HostileTest):
    def setUp(self):
        super().setUp()
        # So many tasks that their dump fits into no buffer on the way.
        many = self.submit(job.JobSpec(name="many", root=group(
            *(job.NodeSpec(name=f"n{i}", sleep=job.SleepAction(duration={"seconds": 3600}))
              for i in range(5000)))))
        self.addCleanup(self.jobs.CancelJob, job_service.CancelJobRequest(name=many.name),
                        timeout=PATIENCE)
        wait_until(lambda: len(self.dump()) > MIB)

    def dump(self, timeout=PATIENCE):
        chunks = self.introspection.DumpTasks(introspection.DumpTasksRequest(), timeout=timeout)
        return b"".join(each.chunk for each in chunks).decode()

    def test_no_more_than_two_dumps_are_held_for_their_clients(self):
        unread = [self.connect() for _ in range(2)]
        for connection in unread:
            connection.send(http2.hello() + http2.call(1, DUMP, b""))
            while connection.receive()[0] != http2.DATA:
                pass
        with self.assertRaises(grpc.RpcError) as raised:
            self.dump(timeout=1)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        unread[0].close()
        self.assertGreater(len(self.dump()), MIB)

    def dump_with(self, pattern):
        text = self.dump()
        return text if re.search(pattern, text) else None

    def test_a_method_that_does_not_exist_names_no_task(self):
        connection = self.connect()
        connection.send(http2.hello_without_flow_control() + http2.call(1, DUMP, b""))
        # The other dump runs while it is taken; this one waits for its client.
        wait_until(lambda: self.dump_with(rf"\[io, .*\] {DUMP} "))
        # The answer stands behind what is not read, and the call with it.
        connection.send(http2.call(3, "/forged.Service/Method", b""))
        text = wait_until(lambda: self.dump_with(r"\] unknown  age"))
        self.assertNotIn("forged", text)


class Watcher(threading.Thread):
    """Asks for the server's figures until it is stopped; keeps the largest."""

    def __init__(self, case):
        super().__init__()
        self.case, self.ends = case, threading.Event()
        self.before, self.calls, self.memory, self.asked = case.server.memory(), 0, 0, 0
        self.slowest = 0
        self.problem = None

    def run(self):
        while not self.ends.is_set():
            start = time.monotonic()
            try:
                self.calls = max(self.calls, self.case.stats().calls)
            except grpc.RpcError as error:
                self.problem = error
                return
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.memory = max(self.memory, self.case.server.memory())
            self.asked += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.join()
        self.case.assertIsNone(self.problem)

    def figures(self):
        return (f"RSS {self.before / MIB:.1f} MiB before, {self.memory / MIB:.1f} at most, "
                f"{self.case.server.memory() / MIB:.1f} after; calls at once at most {self.calls}; "
                f"the slowest of {self.asked} other calls took {self.slowest * 1000:.0f} ms")


class ResetTest(HostileTest):
    def attack(self, method, message):
        """Calls that are reset as soon as they have been made, in phases on one connection."""
        connection = self.connect()
        connection.send(http2.hello())
        stream = 1
        with Watcher(self) as watcher:
            for _ in range(RESET_PHASES):
                streams = range(stream, stream + 2 * RESETS_PER_PHASE, 2)
                opened = b"".join(http2.call(each, JOBS + method, message) for each in streams)
                reset = b"".join(http2.frame(http2.RST_STREAM, 0, each,
                                             http2.CANCEL.to_bytes(4, "big")) for each in streams)
                self.assertTrue(connection.send(opened) and connection.send(reset))
                connection.drain()
                stream = streams[-1] + 2
        print(f"  {RESET_PHASES} x {RESETS_PER_PHASE} {method} reset: {watcher.figures()}")
        self.assertLessEqual(watcher.calls, CALLS)
        self.assert_memory_grew_less(watcher.before, watcher.memory, 256 * MIB)
        connection.close()

    def test_waits_that_are_reset_do_not_pile_up(self):
        waits = job_service.WaitJobRequest(name=self.submit(calling("block")).name)
        self.attack("WaitJob", waits.SerializeToString())
        self.assert_serves(live_jobs=1)

    def test_runs_that_are_reset_leave_no_job(self):
        run = job_service.RunJobRequest(job_spec=calling("noop"))
        self.attack("RunJob", run.SerializeToString())
        self.assert_serves()


class CallLimitTest(HostileTest):
    config = "limits: {calls: 300}\n"

    def refused(self):
        try:
            self.stats()
            return None
        except grpc.RpcError as error:
            return error

    def test_more_calls_than_the_limit_are_refused(self):
        waits = job_service.WaitJobRequest(name=self.submit(calling("block")).name)
        held = [self.connect() for _ in range(2)]
        for connection in held:
            connection.send(http2.hello() + b"".join(
                http2.call(2 * i + 1, JOBS + "WaitJob", waits.SerializeToString())
                for i in range(150)))
        self.assertEqual(wait_until(self.refused).code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        for connection in held:
            connection.close()
        wait_until(lambda: self.refused() is None)
        self.assert_serves(live_jobs=1)


class ConnectionLimitTest(HostileTest):
    config = "limits: {calls_per_connection: 7}\n"

    def test_a_client_is_told_how_many_calls_a_connection_takes(self):
        with http2.Connection(self.server.address, PATIENCE) as connection:
            connection.send(http2.hello())
            self.assertEqual(connection.settings()[http2.MAX_CONCURRENT_STREAMS], 7)


class FloodTest(HostileTest):
    def flood(self, size):
        """Header blocks without an end, on a connection of their own; the bytes that were taken."""
        with http2.Connection(self.server.address, PATIENCE) as connection:
            connection.send(http2.hello() + http2.frame(
                http2.HEADERS, 0, 1, http2.request_headers(JOBS + "GetJob")))
            junk = b"".join(http2.literal(f"x-{i}", "y" * 100) for i in range(140))
            continued = http2.frame(http2.CONTINUATION, 0, 1, junk)
            sent = 0
            while sent < size and connection.send(continued):
                sent += len(continued)
                connection.drain()
        return sent

    def test_headers_without_an_end_are_gone_with_their_connection(self):
        # gRPC 1.51 keeps twice what it is sent, as long as the connection is there.
        size = FLOOD_MIB * MIB // FLOODS
        with Watcher(self) as watcher:
            sent = []
            for _ in range(FLOODS):
                sent.append(self.flood(size))
                self.assert_serves()
        print(f"  {FLOODS} x {max(sent) / MIB:.1f} MiB of CONTINUATION: {watcher.figures()}")
        self.assert_memory_grew_less(watcher.before, watcher.memory, 4 * size + 16 * MIB)


class MutationTest(HostileTest):
    def valid(self):
        """The frames of a whole request, each by itself."""
        message = job_service.RunJobRequest(job_spec=calling("noop")).SerializeToString()
        return [http2.PREFACE, http2.frame(http2.SETTINGS),
                http2.frame(http2.HEADERS, http2.END_HEADERS, 1,
                            http2.request_headers(JOBS + "RunJob")),
                http2.frame(http2.DATA, http2.END_STREAM, 1, http2.grpc_message(message))]

    @staticmethod
    def flipped(data, dice):
        data = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        return bytes(data)

    def mutated_frames(self, dice):
        frames = self.valid()
        how = dice.randrange(5)
        at = dice.randrange(len(frames))
        if how == 0:
            return self.flipped(b"".join(frames), dice)
        if how == 1:
            whole = b"".join(frames)
            return whole[:dice.randrange(len(whole))]
        if how == 2:
            frames.insert(at, frames[dice.randrange(len(frames))])
        elif how == 3:
            dice.shuffle(frames)
        else:
            junk = dice.randbytes(dice.randrange(200))
            frames.insert(at, http2.frame(dice.randrange(12), dice.randrange(256),
                                          dice.randrange(4), junk))
        return b"".join(frames)

    def mutated_message(self, dice):
        """Frames that are right, around a message that is not."""
        method = dice.choice(sorted(METHODS))
        whole = Messages(dice).fill(METHODS[method]()).SerializeToString()
        message = dice.choice((whole, self.flipped(whole + b"\0", dice),
                               whole[:dice.randrange(len(whole) + 1)],
                               dice.randbytes(dice.randrange(300))))
        if method == DRAIN:  # what can be read would stop the server; a field of 2 GiB cannot
            message = b"\x0a\xff\xff\xff\xff\x07" + message
        framed = http2.grpc_message(message)
        if dice.random() < 0.3 and method != DRAIN:  # the length, or the flag of compression, lies
            framed = dice.randbytes(5) + message
        headers = http2.request_headers(method)
        return (http2.hello() + http2.frame(http2.HEADERS, http2.END_HEADERS, 1, headers) +
                http2.frame(http2.DATA, http2.END_STREAM, 1, framed))

    def attack(self, make, seed):
        dice = random.Random(seed)
        before = self.server.memory()
        start = time.monotonic()
        for i in range(MUTATIONS):
            with http2.Connection(self.server.address, PATIENCE) as connection:
                connection.send(make(dice))
                connection.read_to_the_end()
            if i % 1000 == 0:
                self.cancel_all()
                self.assert_serves()
        print(f"  {MUTATIONS} inputs in {time.monotonic() - start:.1f} s: RSS "
              f"{before / MIB:.1f} MiB before, {self.server.memory() / MIB:.1f} after")
        self.cancel_all()
        self.assert_serves()

    def cancel_all(self):
        """Some of what was made up is a job that can run."""
        self.jobs.CancelJobs(job_service.CancelJobsRequest(
            filter='create_time > "2000-01-01T00:00:00Z"', force=True,
            mode=job_service.CANCEL_MODE_KILL), timeout=PATIENCE)

    def test_bytes_that_are_no_http2_do_no_harm(self):
        self.attack(self.mutated_frames, seed=1)

    def test_messages_that_are_none_do_no_harm(self):
        self.attack(self.mutated_message, seed=2)

    def test_the_unchanged_request_is_a_good_one(self):
        connection = self.connect()
        connection.send(b"".join(self.valid()))
        connection.ended_by(1)
        jobs = self.jobs.ListJobs(job_service.ListJobsRequest(), timeout=PATIENCE).jobs
        self.assertEqual([each.state for each in jobs], [resources.NODE_STATE_SUCCEEDED])


class DeadlineTest(HostileTest):
    def ask(self, method, **headers):
        """Sends a job that marks itself; returns when the server has ended the call."""
        spec = job.JobSpec(name="x", root=exec_node("sh", "-c", "sleep 60; :", self.mark))
        requests = {"SubmitJob": job_service.SubmitJobRequest(job_spec=spec),
                    "RunJob": job_service.RunJobRequest(job_spec=spec)}
        connection = self.connect()
        connection.send(http2.hello() + http2.call(
            1, JOBS + method, requests[method].SerializeToString(), **headers))
        self.assertIsNotNone(connection.ended_by(1))

    def known_jobs(self):
        return len(self.jobs.ListJobs(job_service.ListJobsRequest(), timeout=PATIENCE).jobs)

    def test_a_deadline_that_has_passed_starts_nothing(self):
        for method in ("SubmitJob", "RunJob"):
            for _ in range(20):
                self.ask(method, grpc_timeout="1n")
        self.assert_serves()  # which is the one job there is
        self.assertEqual(self.known_jobs(), 1)
        self.assertEqual(marked(self.mark), [])

    def test_the_same_request_with_time_left_starts_its_job(self):
        self.ask("SubmitJob", grpc_timeout="60S")
        self.assertEqual(self.known_jobs(), 1)
        wait_until(lambda: marked(self.mark))


class CrowdTest(HostileTest):
    """Over TCP, where a peer has an address and connections are counted for it."""

    prefix = ()

    def setUp(self):
        super().setUp()
        self.server.stop()
        self.server = Server(self.server.directory, prefix=self.prefix,
                             listen=[f"unix:{self.server.socket}", "127.0.0.1:0"])
        self.addCleanup(self.server.stop)
        self.tcp = self.server.tcp_address()

    def closed(self, connections):
        count = 0
        for each in connections:
            each.socket.setblocking(False)
            try:
                while (data := each.socket.recv(1 << 16)):
                    pass
                count += data == b""
            except BlockingIOError:
                pass
            except OSError:
                count += 1
        return count


class SilentTest(CrowdTest):
    def test_silent_connections_are_few_and_do_not_stay(self):
        before, start = self.server.memory(), time.monotonic()
        silent = [self.connect(self.tcp) for _ in range(500)]
        wait_until(lambda: self.closed(silent) >= 500 - 256)
        held = 500 - self.closed(silent)
        memory = self.server.memory()
        self.assert_serves()
        wait_until(lambda: self.closed(silent) == 500)
        print(f"  500 silent connections: {held} held, RSS {before / MIB:.1f} MiB before, "
              f"{memory / MIB:.1f} with them; the last was closed after "
              f"{time.monotonic() - start:.1f} s")
        self.assert_serves()


class DescriptorsTest(CrowdTest):
    prefix = ("prlimit", "--nofile=128:128")

    def test_a_server_out_of_descriptors_recovers(self):
        held = [self.connect(self.tcp) for _ in range(300)]
        refused = wait_until(lambda: self.closed(held))
        for each in held:
            each.close()
        start = time.monotonic()
        # A new connection, on both listeners.
        for address in (self.server.address, self.tcp):
            with self.server.channel(address) as channel:
                stub = introspection_stub.IntrospectionServiceStub(channel)
                token = (self.server.directory / "data" / "token").read_text().strip()
                stub.GetServerInfo(introspection.GetServerInfoRequest(), wait_for_ready=True,
                                   timeout=PATIENCE,
                                   metadata=(("authorization", "Bearer " + token),))
        print(f"  300 connections to 128 descriptors: {refused} refused; good calls "
              f"{time.monotonic() - start:.3f} s after they had gone")
        self.assert_serves()


if __name__ == "__main__":
    unittest.main()
