"""Many jobs, many refusals, many stops: small by default, and as large as the environment says.

NURSERY_SCALE_JOBS, NURSERY_SCALE_REFUSALS and NURSERY_SCALE_STOPS are the numbers of each; 1000,
100000 and 300 are what the server is held to.
"""

import os
import queue
import random
import signal
import tempfile
import threading
import time
import unittest

import grpc

from service import (PATIENCE, Server, ServiceTest, details_of, exec_node, group, job, job_service,
                     job_stub, marked, resources, wait_until)

JOBS = int(os.environ.get("NURSERY_SCALE_JOBS", "60"))
REFUSALS = int(os.environ.get("NURSERY_SCALE_REFUSALS", "1000"))
STOPS = int(os.environ.get("NURSERY_SCALE_STOPS", "10"))
CLIENTS = 50
MIB = 1 << 20


def noop(name):
    return job.NodeSpec(name=name, call=job.CallAction(function="noop"))


def in_threads(count, function):
    """Calls function(number) in so many threads; raises what one of them raised."""
    problems = queue.Queue()

    def guarded(number):
        try:
            function(number)
        except BaseException as problem:  # pylint: disable=broad-except
            problems.put(problem)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not problems.empty():
        raise problems.get()


class JobsTest(ServiceTest):
    @staticmethod
    def spec_of(number):
        """Twenty nodes, the last of which computes number * number + 7."""
        names = [f"n{i}" for i in range(18)]
        square = exec_node("sh", "-c", "echo $(($1 * $1))", "x", str(number), name="square",
                           needs=names)
        total = exec_node("sh", "-c", "read square; echo $((square + 7))", name="sum",
                          needs=["square"])
        total.exec.stdin.output_of = "square"
        return job.JobSpec(name="arithmetic",
                           root=group(*(noop(name) for name in names), square, total))

    def watch(self, stub, name, dice):
        """The sequence numbers of a job's events, with the watch broken off now and then."""
        seqs, ended = [], False
        while not ended:
            call = stub.WatchJob(job_service.WatchJobRequest(
                name=name, after_seq=seqs[-1] if seqs else 0), timeout=PATIENCE * 10)
            for message in call:
                seqs += [event.seq for event in message.events]
                ended = any(event.HasField("job_ended") for event in message.events)
                if ended or dice.random() < 0.3:
                    call.cancel()
                    break
        return seqs

    def test_every_job_computes_its_number_and_every_event_is_seen_once(self):
        events = queue.Queue()
        start = time.monotonic()

        def client(number):
            dice = random.Random(number)
            with self.server.channel() as channel:
                stub = job_stub.JobServiceStub(channel)
                for i in range(number, JOBS, CLIENTS):
                    submitted = stub.SubmitJob(
                        job_service.SubmitJobRequest(job_spec=self.spec_of(i)), timeout=PATIENCE)
                    seqs = self.watch(stub, submitted.name, dice)
                    done = stub.WaitJob(job_service.WaitJobRequest(name=submitted.name),
                                        timeout=PATIENCE)
                    self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED)
                    self.assertEqual(int(done.output), i * i + 7)
                    self.assertEqual(done.node_count, 21)  # and the root
                    self.assertEqual(seqs, list(range(1, done.last_seq + 1)))
                    events.put(len(seqs))

        in_threads(CLIENTS, client)
        self.assertEqual(events.qsize(), JOBS)
        took = time.monotonic() - start
        print(f"  {JOBS} jobs of 20 nodes by {CLIENTS} clients in {took:.1f} s; "
              f"{sum(events.queue)} events, each seen once; RSS "
              f"{self.server.memory() / MIB:.1f} MiB")


class RefusalTest(ServiceTest):
    config = "limits: {live_jobs: 1}\n"

    def largest_memory(self, function):
        """The most memory the server has while `function` runs."""
        samples, done = [self.server.memory()], threading.Event()

        def sample():
            while not done.wait(0.1):
                samples.append(self.server.memory())

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            function()
        finally:
            done.set()
            sampler.join()
        return max(samples + [self.server.memory()])

    def test_refusals_keep_nothing(self):
        holder = job.NodeSpec(call=job.CallAction(function="block"))
        self.submit(job.JobSpec(name="holder", root=holder))
        large = noop("large")
        large.call.argument = "x" * MIB
        request = job_service.SubmitJobRequest(
            job_spec=job.JobSpec(name="large", root=large)).SerializeToString()

        def refused(count):
            def client(_):
                with self.server.channel() as channel:
                    submit = channel.unary_unary("/nursery.v1.JobService/SubmitJob")
                    for _ in range(count // 4):
                        with self.assertRaises(grpc.RpcError) as raised:
                            submit(request, timeout=PATIENCE)
                        self.assertEqual(raised.exception.code(),
                                         grpc.StatusCode.RESOURCE_EXHAUSTED)
                        found = details_of(raised.exception)
                        self.assertGreater(found["RetryInfo"].retry_delay.seconds, 0)
                        self.assertEqual(found["ErrorInfo"].reason, "TOO_MANY_JOBS")

            in_threads(4, client)

        few = max(REFUSALS // 100, 100)
        first = self.largest_memory(lambda: refused(few))
        start = time.monotonic()
        then = self.largest_memory(lambda: refused(REFUSALS - few))
        print(f"  {REFUSALS} submits of 1 MiB refused, {REFUSALS / (time.monotonic() - start):.0f} "
              f"per second: RSS at most {first / MIB:.1f} MiB in the first {few}, "
              f"{then / MIB:.1f} in the others")
        self.assert_memory_grew_less(first, then, 64 * MIB)


class StopTest(unittest.TestCase):
    DRAIN_SECONDS = 1

    def load(self, server, mark, number, answers):
        """Jobs of all kinds until the server has gone."""
        dice = random.Random(number)
        root = group(noop("a"), exec_node("true", name="b"), noop("c"))
        kinds = [root, exec_node("sh", "-c", "sleep 60; :", mark),
                 job.NodeSpec(call=job.CallAction(function="block"))]
        with server.channel() as channel:
            stub = job_stub.JobServiceStub(channel)
            while True:
                spec = job.JobSpec(name="load", root=dice.choices(kinds, (8, 1, 1))[0])
                try:
                    if dice.random() < 0.5 or spec.root != root:
                        stub.SubmitJob(job_service.SubmitJobRequest(job_spec=spec),
                                       timeout=PATIENCE)
                    else:
                        list(stub.RunJob(job_service.RunJobRequest(job_spec=spec),
                                         timeout=PATIENCE))
                except grpc.RpcError:
                    return
                answers.release()

    def stop_once(self, directory, dice, mark):
        """The seconds from SIGTERM to the end."""
        server = Server(directory, "--drain-timeout", f"{self.DRAIN_SECONDS}s")
        answers = threading.Semaphore(0)
        clients = [threading.Thread(target=self.load, args=(server, mark, dice.random(), answers))
                   for _ in range(4)]
        try:
            if dice.random() < 0.25:  # a process that does not listen
                with server.channel() as channel:
                    deaf = exec_node("sh", "-c", "trap '' TERM; sleep 60; :", mark)
                    job_stub.JobServiceStub(channel).SubmitJob(job_service.SubmitJobRequest(
                        job_spec=job.JobSpec(name="deaf", root=deaf)), timeout=PATIENCE)
                wait_until(lambda: marked(mark))
            for client in clients:
                client.start()
            for _ in range(dice.randrange(100)):
                answers.acquire()  # pylint: disable=consider-using-with
            start = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(PATIENCE)
            took = time.monotonic() - start
        finally:
            server.process.kill()
            for client in clients:
                client.join()
        self.assertEqual(code, 0, server.log_text()[-2000:])
        self.assertLess(took, self.DRAIN_SECONDS + 5)
        self.assertEqual(marked(mark), [])
        server.stop()
        return took

    def test_a_server_under_load_stops_in_time(self):
        dice = random.Random(11)
        times = []
        for i in range(STOPS):
            with tempfile.TemporaryDirectory() as directory:
                times.append(self.stop_once(directory, dice, f"stop-{os.getpid()}-{i}"))
        times.sort()
        print(f"  {STOPS} stops under load, drain bound {self.DRAIN_SECONDS} s: median "
              f"{times[len(times) // 2]:.2f} s, at most {times[-1]:.2f} s; exit 0 each time")


if __name__ == "__main__":
    unittest.main()
