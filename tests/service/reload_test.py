"""SIGHUP: what a running server takes over from its configuration, and what it leaves."""

import os
import signal
import unittest

import grpc

from service import (PATIENCE, ServiceTest, event, exec_node, group, introspection, job,
                     job_service, marked, wait_until)

RELOADED = "nurseryd: configuration reloaded"
NOT_RELOADED = "nurseryd: configuration not reloaded, all stays as it was: "


class ReloadTest(ServiceTest):
    def reload(self, config):
        """Replaces the configuration; gives the one line that the server says about it."""
        (self.server.directory / "config.yaml").write_text(config)
        before = len(self.said())
        os.kill(self.server.process.pid, signal.SIGHUP)
        wait_until(lambda: len(self.said()) > before)
        self.assertEqual(len(self.said()), before + 1)
        return self.said()[-1]

    def said(self):
        lines = self.server.log_text().splitlines()
        return [line for line in lines if line.startswith("nurseryd: configuration")]

    def pools(self):
        pools = self.introspection.ListPools(introspection.ListPoolsRequest(), timeout=PATIENCE)
        return {each.name: each.slots for each in pools.pools}


class SettingsTest(ReloadTest):
    config = "limits: {live_jobs: 2}\n"

    def run_one(self, **fields):
        spec = job.JobSpec(name="x", root=exec_node("true"), **fields)
        return list(self.jobs.RunJob(job_service.RunJobRequest(job_spec=spec), timeout=PATIENCE))

    def test_a_larger_pool_starts_what_waits(self):
        self.reload("pools: [{name: default, slots: 1}]\nlimits: {live_jobs: 2}\n")
        self.submit(self.sleepers(3))
        wait_until(lambda: len(marked(self.mark)) >= 1)
        self.assertEqual(self.reload("pools: [{name: default, slots: 3}]\n"), RELOADED)
        wait_until(lambda: len(marked(self.mark)) >= 3)
        self.assertEqual(self.pools()["pools/default"], 3)

    def test_a_smaller_pool_takes_nothing_away(self):
        name = self.submit(self.sleepers(3)).name
        wait_until(lambda: len(marked(self.mark)) >= 3)
        self.assertEqual(self.reload("pools: [{name: default, slots: 1}]\n"), RELOADED)
        self.assertEqual(self.pools()["pools/default"], 1)
        self.assertGreaterEqual(len(marked(self.mark)), 3)
        self.jobs.CancelJob(job_service.CancelJobRequest(name=name, wait=True), timeout=PATIENCE)
        # One at a time from now on: each sees the file of no other.
        alone = "mkdir one && rmdir one"
        spec = job.JobSpec(name="x", workdir=str(self.server.directory), root=group(
            *(exec_node("sh", "-c", alone, name=f"n{i}") for i in range(20))))
        self.assertEqual(self.run_to_the_end(spec), "NODE_STATE_SUCCEEDED")

    def run_to_the_end(self, spec):
        done = self.wait(self.submit(spec).name)
        return event.DESCRIPTOR.pool.FindEnumTypeByName("nursery.v1.NodeState").values_by_number[
            done.state].name

    def test_limits_count_from_then_on(self):
        held = [self.submit(self.sleepers(1)) for _ in range(2)]
        self.assert_fails(grpc.StatusCode.RESOURCE_EXHAUSTED, self.jobs.SubmitJob,
                          job_service.SubmitJobRequest(job_spec=self.sleepers(1)))
        self.assertEqual(self.reload("limits: {live_jobs: 3, nodes_per_job: 2}\n"), RELOADED)
        held.append(self.submit(self.sleepers(1)))
        self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                          job_service.SubmitJobRequest(job_spec=self.sleepers(5)))
        info = self.introspection.GetServerInfo(introspection.GetServerInfoRequest())
        self.assertEqual(info.limits["live_jobs"], 3)
        self.assertEqual(self.reload("limits: {live_jobs: 1}\n"), RELOADED)
        self.assertEqual(len(held), len(self.jobs.ListJobs(job_service.ListJobsRequest()).jobs))

    def test_a_lower_bound_of_time_binds_jobs_that_say_none(self):
        self.assertEqual(self.reload("max_job_timeout: 1h\n"), RELOADED)
        done = self.run_one()[-1].result
        self.assertLessEqual(done.deadline.seconds - done.create_time.seconds, 3600)

    def test_who_waits_for_admission_is_let_in(self):
        for _ in range(2):
            self.submit(self.sleepers(1))
        request = job_service.SubmitJobRequest(job_spec=self.sleepers(1))
        request.admission_wait.seconds = int(PATIENCE)
        waiting = self.jobs.SubmitJob.future(request, timeout=PATIENCE)
        wait_until(lambda: self.stats().calls >= 2)  # that one and the question
        self.reload("limits: {live_jobs: 3}\n")
        self.assertTrue(waiting.result().name)

    def stats(self):
        return self.introspection.GetServerStats(introspection.GetServerStatsRequest(),
                                                 timeout=PATIENCE)

    def test_what_only_a_restart_changes_is_named_and_left(self):
        said = self.reload("pools: [{name: default, slots: 7}, {name: more, slots: 1}]\n"
                           "exec: {pass_env: [HOME]}\nlimits: {live_jobs: 2}\n")
        self.assertEqual(said, RELOADED + "; only a restart changes pools, exec.pass_env")
        self.assertEqual(self.pools(), {"pools/default": 7, "pools/io": 256})
        self.run_one()

    def test_a_wrong_file_changes_nothing_and_is_named_in_one_line(self):
        before = self.pools()
        said = self.reload("pools: [{name: default, slots: 1}, {name: x, slots: 0}]\npolls: []\n")
        self.assertTrue(said.startswith(NOT_RELOADED), said)
        self.assertIn("config.yaml:2:1: polls: unknown field", said)
        said = self.reload("pools: [{name: default, slots: 1}, {name: x, slots: 0}]\n")
        self.assertIn("pools[1].slots: must be between", said)
        (self.server.directory / "config.yaml").unlink()
        self.assertEqual(self.pools(), before)
        self.run_one()


class TokensTest(ReloadTest):
    listen = ["127.0.0.1:0"]

    def setUp(self):
        super().setUp()
        self.token_file = self.server.directory / "data" / "token"

    def code(self, token):
        try:
            self.introspection.GetServerInfo(
                introspection.GetServerInfoRequest(), timeout=PATIENCE,
                metadata=(("authorization", "Bearer " + token),))
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            return error.code()

    def test_a_new_token_replaces_the_old_one(self):
        old, new = self.token_file.read_text().strip(), "n" * 32
        self.token_file.write_text(new + "\n")
        self.assertEqual(self.code(new), grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(self.reload("limits: {}\n"), RELOADED)
        self.assertEqual(self.code(new), grpc.StatusCode.OK)
        self.assertEqual(self.code(old), grpc.StatusCode.UNAUTHENTICATED)

    def test_tokens_that_are_wrong_leave_the_old_ones(self):
        old = self.token_file.read_text().strip()
        self.token_file.write_text("short\n")
        said = self.reload("pools: [{name: default, slots: 1}]\n")
        self.assertTrue(said.startswith(NOT_RELOADED), said)
        self.assertIn("a token has at least 16 characters", said)
        self.assertEqual(self.code(old), grpc.StatusCode.OK)


if __name__ == "__main__":
    unittest.main()
