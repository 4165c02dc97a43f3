"""Semaphores of the server: shared by its jobs, in one order; who holds and who waits is shown."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import grpc

from service import (BIN, PATIENCE, ServiceTest, details_of, exec_node, group, introspection, job,
                     job_service, resources, wait_until)

sys.path.append(str(pathlib.Path(__file__).parents[1] / "ops"))
from observed import Metrics  # noqa: E402

CONFIG = """semaphores:
  - {name: license, size: 5}
  - {name: gpu, units: [a, b]}
"""


def acquire(name, weight=0, scope=job.SCOPE_SERVER):
    return job.AcquireSpec(semaphore=name, weight=weight, scope=scope)


class SemaphoresTest(ServiceTest):
    config = CONFIG

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.signal = pathlib.Path(directory.name, "go-on")

    def waiting(self, *acquires, name="holder"):
        """A job that holds its permits until the signal is there."""
        script = f'printf "$NURSERY_SEM_GPU"; until [ -e {self.signal} ]; do sleep 0.01; done'
        node = exec_node("sh", "-c", script, name="n", acquire=acquires)
        return self.submit(job.JobSpec(name=name, root=group(node))).name

    def semaphores(self, parent=""):
        request = introspection.ListSemaphoresRequest(parent=parent)
        answer = self.introspection.ListSemaphores(request, timeout=PATIENCE)
        return {each.name.rpartition("/")[2]: each for each in answer.semaphores}

    def refused(self, root, *own):
        spec = job.JobSpec(name="x", root=root, semaphores=own)
        error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                                  job_service.SubmitJobRequest(job_spec=spec))
        return [each.description for each in details_of(error)["BadRequest"].field_violations]

    def test_jobs_share_it_and_everybody_sees_who_holds_and_who_waits(self):
        holder = self.waiting(acquire("gpu", 2))
        wait_until(lambda: self.semaphores()["gpu"].held == 2)
        waiter = self.waiting(acquire("gpu"), name="waiter")
        wait_until(lambda: self.semaphores()["gpu"].waiter_count == 1)
        gpu = self.semaphores()["gpu"]
        self.assertEqual((gpu.name, gpu.size, gpu.holder_count), ("semaphores/gpu", 2, 1))
        self.assertEqual([(each.job, each.path, each.weight, list(each.units))
                          for each in gpu.holders], [(holder, "n", 2, ["a", "b"])])
        self.assertEqual([(each.job, each.weight) for each in gpu.waiters], [(waiter, 1)])
        self.assertLessEqual(gpu.holders[0].since.ToNanoseconds(),
                             gpu.waiters[0].since.ToNanoseconds())
        why = self.introspection.ExplainNode(
            introspection.ExplainNodeRequest(name=waiter + "/nodes/n"), timeout=PATIENCE)
        self.assertEqual((why.wanted, why.free, why.size), (1, 0, 2))
        self.assertEqual((why.wait.reason, why.wait.position, why.wait.queue_length),
                         (resources.WAIT_REASON_SEMAPHORE, 1, 1))
        self.assertEqual([each.job for each in why.holders], [holder])
        self.assertIn(f"waits for semaphore gpu (0 of 2 free, 1 wanted), held by {holder}/nodes/n",
                      why.text)
        metrics = Metrics(self.server.http)
        for series, value in (("permits", 2), ("held", 2), ("waiters", 1)):
            self.assertEqual(metrics[f'nursery_semaphore_{series}{{semaphore="gpu"}}'], value)
        self.signal.touch()
        self.assertEqual(self.wait(holder).output, b"a,b")
        self.assertEqual(self.wait(waiter).output, b"a")
        gpu = self.semaphores()["gpu"]
        self.assertEqual((gpu.held, gpu.holder_count, gpu.waiter_count), (0, 0, 0))
        metrics = Metrics(self.server.http)
        self.assertEqual(metrics['nursery_semaphore_wait_seconds_count{semaphore="gpu"}'], 2)
        self.assertGreater(metrics['nursery_semaphore_wait_seconds_sum{semaphore="gpu"}'], 0)

    def test_who_is_cancelled_waits_no_more(self):
        holder = self.waiting(acquire("gpu", 2))
        wait_until(lambda: self.semaphores()["gpu"].held == 2)
        waiter = self.waiting(acquire("license"), acquire("gpu"), name="waiter")
        wait_until(lambda: self.semaphores()["gpu"].waiter_count == 1)
        self.assertEqual(self.semaphores()["license"].held, 1)
        self.jobs.CancelJob(job_service.CancelJobRequest(name=waiter, wait=True), timeout=PATIENCE)
        found = self.semaphores()
        self.assertEqual((found["gpu"].waiter_count, found["license"].held), (0, 0))
        self.jobs.CancelJob(job_service.CancelJobRequest(name=holder, wait=True), timeout=PATIENCE)
        self.assertEqual(self.semaphores()["gpu"].held, 0)

    def test_those_of_a_job_are_listed_with_it(self):
        spec = job.JobSpec(name="own", semaphores=[job.SemaphoreSpec(name="db", size=3)])
        spec.root.CopyFrom(group(exec_node("sleep", "60", name="n", acquire=[
            acquire("db", 2, job.SCOPE_UNSPECIFIED), acquire("license")])))
        name = self.submit(spec).name
        wait_until(lambda: self.semaphores(name)["db"].held == 2)
        own = self.semaphores(name)
        self.assertEqual(list(own), ["db"])
        self.assertEqual(own["db"].name, name + "/semaphores/db")
        self.assertEqual(own["db"].holders[0].job, name)
        valid = self.jobs.ValidateJob(job_service.ValidateJobRequest(job_spec=spec))
        self.assertEqual(list(valid.semaphores), ["license", "db"])
        for parent, code in (("jobs/NONE", grpc.StatusCode.NOT_FOUND),
                             ("NONE", grpc.StatusCode.INVALID_ARGUMENT)):
            self.assert_fails(code, self.introspection.ListSemaphores,
                              introspection.ListSemaphoresRequest(parent=parent))

    def test_they_are_listed_in_pages_by_rank(self):
        request = introspection.ListSemaphoresRequest(page_size=1)
        first = self.introspection.ListSemaphores(request)
        self.assertEqual([each.name for each in first.semaphores], ["semaphores/license"])
        request.page_token = first.next_page_token
        second = self.introspection.ListSemaphores(request)
        self.assertEqual([each.name for each in second.semaphores], ["semaphores/gpu"])
        self.assertEqual(second.next_page_token, "")
        request.page_token += "x"
        self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.introspection.ListSemaphores,
                          request)

    def test_what_could_wait_for_ever_is_refused(self):
        true = exec_node("true", name="n", acquire=[acquire("gpu", 3)])
        self.assertIn("3 must be between 1 and the size of 'gpu', 2", self.refused(true))
        true = exec_node("true", name="n", acquire=[acquire("nope")])
        self.assertIn("the server has no semaphore 'nope'", self.refused(true))
        true = exec_node("true", name="n", acquire=[acquire("gpu", 1, job.SCOPE_JOB)])
        self.assertIn("'gpu' is a semaphore of the server; say `scope: server`",
                      self.refused(true))
        own = job.SemaphoreSpec(name="gpu", size=1)
        self.assertIn("'gpu' is the name of a semaphore of the server; choose another",
                      self.refused(exec_node("true", name="n"), own))
        # Against the order of the configuration; and the job's own come after the server's.
        own = job.SemaphoreSpec(name="db", size=1)
        for outer, inner, scope in (("gpu", "license", job.SCOPE_SERVER),
                                    ("db", "license", job.SCOPE_JOB)):
            root = group(exec_node("true", name="n", acquire=[acquire("license")]))
            root.acquire.append(acquire(outer, 1, scope))
            self.assertIn(f"'{inner}' is declared before '{outer}', which the root above it holds",
                          self.refused(root, own)[0])

    def test_mistakes_of_the_configuration_are_named(self):
        with tempfile.TemporaryDirectory() as directory:
            config = pathlib.Path(directory, "config.yaml")
            config.write_text("semaphores:\n  - {name: a, size: 2, units: [x]}\n"
                              "  - {name: a, size: 1}\n  - {name: 'b c', size: 1}\n"
                              "  - {name: d}\n  - {name: e, units: [u, u]}\n")
            done = subprocess.run([BIN / "nurseryd", "--check-config", "--config", config],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=PATIENCE, check=False)
        self.assertNotEqual(done.returncode, 0)
        for problem in ("semaphores[0].units: are 1, but size is 2",
                        "semaphores[1].name: 'a' is there twice", "semaphores[2].name: 'b c' must",
                        "semaphores[3].size: must be between 1 and",
                        "semaphores[4].units: one is there twice"):
            self.assertIn(problem, done.stdout)


if __name__ == "__main__":
    unittest.main()
