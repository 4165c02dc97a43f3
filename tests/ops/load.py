"""A server under a load that provokes every outcome of jobs and calls."""

import grpc
from google.protobuf import json_format

from observed import PATIENCE, Metrics, wait_until
from service import ServiceTest, job, job_service

STUBBORN = "trap '' TERM; echo; while :; do sleep 60; done"
# One for each way in which a job or a node can end; each ends by itself.
ENDING = {
    "succeeds": {"group": {"nodes": [
        {"name": "program", "exec": {"argv": ["echo", "hello"]},
         "acquire": [{"semaphore": "license", "scope": "SCOPE_SERVER"}]},
        {"name": "pause", "sleep": {"duration": "0.001s"}},
        {"name": "items", "map": {"items": {"range": {"to": 5}}, "workers": 2,
                                  "node": {"call": {"function": "noop"}}}}]}},
    "fails": {"group": {"nodes": [
        {"name": "sibling", "call": {"function": "block"}},
        {"name": "broken", "exec": {"argv": ["false"]},
         "retry": {"maxAttempts": 2, "backoff": {"initial": "0.001s"}}}]}},
    "races": {"group": {"join": {"mode": "JOIN_MODE_ANY"}, "nodes": [
        {"name": "slow", "sleep": {"duration": "60s"}},
        {"name": "fast", "sleep": {"duration": "0.05s"}}]}},
    "leaves": {"exec": {"argv": ["sh", "-c", "sleep 60 & exit 0"]}},
    "stubborn": {"exec": {"argv": ["sh", "-c", STUBBORN]}, "grace": "0.05s",
                 "timeout": {"duration": "0.2s"}},
    "late": {"exec": {"argv": ["sleep", "60"]}, "timeout": {"duration": "0.1s"}},
    "slow": {"exec": {"argv": ["sleep", "60"]}, "attemptTimeout": {"duration": "0.1s"}},
}
# Every slot of pool `io`, and a queue before it.
BLOCKED = {"map": {"items": {"range": {"to": 270}}, "workers": 270,
                   "node": {"call": {"function": "block"}, "pool": "io"}}}
QUEUED = {"call": {"function": "noop"}, "pool": "io", "queueTimeout": "0.1s"}
SLEEPING = {"group": {"nodes": [{"name": f"n{i}", "exec": {"argv": ["sleep", "60"]}}
                                for i in range(3)]}}
SPINNING = {"map": {"items": {"range": {"to": 1_000_000}}, "workers": 8,
                    "node": {"call": {"function": "noop"}}}}


def spec(name, root):
    return json_format.ParseDict({"name": name, "root": root}, job.JobSpec())


class LoadedTest(ServiceTest):
    """With what puts its server under load, and takes the load away again."""
    config = "limits: {live_jobs: 20}\nsemaphores: [{name: license, size: 1}]\n"

    def metrics(self):
        return Metrics(self.server.http)

    def provoke(self):
        """Every outcome, one after the other; gives the metrics while the server was busiest."""
        for name, root in ENDING.items():
            self.wait(self.submit(spec(name, root)).name)
        held = [self.submit(spec(name, root)).name
                for name, root in (("blocked", BLOCKED), ("sleeping", SLEEPING))]
        wait_until(lambda: self.metrics()['nursery_pool_queue_length{pool="io"}'] == 14)
        self.wait(self.submit(spec("queued", QUEUED)).name)
        wait_until(lambda: self.metrics()["nursery_processes_started_total"] >= 9)
        held.append(self.submit(spec("spinning", SPINNING)).name)
        busy = wait_until(self.seen_running)
        self.refuse()
        for name in held:
            self.jobs.CancelJob(job_service.CancelJobRequest(name=name, wait=True),
                                timeout=PATIENCE)
            self.wait(name)
        return busy

    def seen_running(self):
        metrics = self.metrics()
        return metrics['nursery_tasks{state="running"}'] > 0 and metrics

    def refuse(self):
        """A full table, an unknown method, an unknown job, a wrong spec."""
        filling = []
        with self.assertRaises(grpc.RpcError) as raised:
            while True:
                filling.append(self.submit(spec("filling", SLEEPING)).name)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        for name in filling:
            self.jobs.CancelJob(job_service.CancelJobRequest(name=name, wait=True),
                                timeout=PATIENCE)
        unknown = self.channel.unary_unary("/nursery.v1.JobService/Nonsense")
        for expected, call, request in (
                (grpc.StatusCode.UNIMPLEMENTED, unknown, b""),
                (grpc.StatusCode.NOT_FOUND, self.jobs.GetJob,
                 job_service.GetJobRequest(name="jobs/01JD9K3M5XW0000000000000000")),
                (grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                 job_service.SubmitJobRequest(job_spec=job.JobSpec(name="bad name!")))):
            with self.assertRaises(grpc.RpcError) as raised:
                call(request, timeout=PATIENCE)
            self.assertEqual(raised.exception.code(), expected)
