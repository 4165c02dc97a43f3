"""Jobs over gRPC: submit, run, watch, wait, cancel, list."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

import grpc

from service import (PATIENCE, PROTO, ServiceTest, details_of, exec_node, group, introspection,
                     job, job_service, marked, resources, wait_until)


class TaskLimitTest(ServiceTest):
    config = "limits: {tasks: 100}\n"

    def test_a_job_that_is_too_wide_fails_by_name_and_the_server_goes_on(self):
        spec = job.JobSpec(name="wide", root=group(
            *(exec_node("sleep", "60", name=f"n{i}") for i in range(100))))
        done = self.wait(self.submit(spec).name)
        self.assertEqual(done.state, resources.NODE_STATE_FAILED)
        self.assertRegex(done.cause.reason, "at its limit of 100 live tasks; limits.tasks of the "
                         "server's configuration raises it")
        small = self.submit(job.JobSpec(name="small", root=exec_node("true")))
        self.assertEqual(self.wait(small.name).state, resources.NODE_STATE_SUCCEEDED)

    def test_who_fills_it_is_cancelled_like_anybody(self):
        sleep = ("sh", "-c", "sleep 60; :", self.mark)
        many = group(*(exec_node(*sleep, name=f"n{i}") for i in range(150)))
        many.group.join.mode = job.JOIN_MODE_COLLECT
        workers = job.NodeSpec(map=job.MapSpec(
            items=job.Items(range=job.RangeItems(to=300)), workers=200,
            node=exec_node(*sleep)))
        for root in (many, workers):
            name = self.submit(job.JobSpec(name="full", root=root)).name
            # With two tasks for the streams of each.
            wait_until(lambda: len(marked(self.mark)) >= 20)
            self.assertEqual(self.wait(self.submit(job.JobSpec(
                name="small", root=exec_node("true"))).name).state,
                             resources.NODE_STATE_SUCCEEDED)
            cancelled = self.jobs.CancelJob(job_service.CancelJobRequest(name=name, wait=True),
                                            timeout=PATIENCE)
            self.assertTrue(cancelled.complete)
            self.assertEqual(marked(self.mark), [])
            self.assertEqual(self.wait(name).state, resources.NODE_STATE_CANCELLED)


class SubmitTest(ServiceTest):
    def test_a_job_runs_and_gives_its_output(self):
        submitted = self.submit(job.JobSpec(name="hello", root=exec_node("echo", "hello")))
        self.assertTrue(submitted.name.startswith("jobs/"))
        self.assertEqual(submitted.name, "jobs/" + submitted.id)
        done = self.wait(submitted.name)
        self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED)
        self.assertEqual(done.output, b"hello\n")
        self.assertEqual(done.submitter, "local")

    def test_the_call_does_not_bound_the_job(self):
        spec = job.JobSpec(name="late", root=job.NodeSpec(sleep=job.SleepAction()))
        spec.root.sleep.duration.FromMilliseconds(2500)
        submitted = self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=spec), timeout=2)
        self.assertEqual(self.wait(submitted.name).state, resources.NODE_STATE_SUCCEEDED)

    def test_a_request_id_admits_once(self):
        spec = job.JobSpec(name="once", root=exec_node("true"))
        first = self.submit(spec, request_id="r1")
        self.assertEqual(self.submit(spec, request_id="r1").name, first.name)
        other = job.JobSpec(name="other", root=exec_node("true"))
        error = self.assert_fails(grpc.StatusCode.ALREADY_EXISTS, self.jobs.SubmitJob,
                                  job_service.SubmitJobRequest(job_spec=other, request_id="r1"))
        self.assertEqual(details_of(error)["ErrorInfo"].reason, "REQUEST_ID_REUSED")

    def test_an_invalid_spec_names_its_fields(self):
        spec = job.JobSpec(name="bad name!", root=group(exec_node(name="a")))
        error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                                  job_service.SubmitJobRequest(job_spec=spec))
        found = details_of(error)
        self.assertEqual(found["ErrorInfo"].domain, "nursery")
        fields = [each.field for each in found["BadRequest"].field_violations]
        self.assertIn("job_spec.name", fields)
        self.assertIn("job_spec.root.group.nodes[0].exec.argv", fields)

    def test_many_violations_fit_into_the_trailers(self):
        spec = job.JobSpec(name="many", root=group(*(exec_node(name=f"n{i}") for i in range(500))))
        error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                                  job_service.SubmitJobRequest(job_spec=spec))
        info = details_of(error)["ErrorInfo"]
        self.assertEqual(info.metadata["total_violations"], "500")
        answer = self.jobs.ValidateJob(job_service.ValidateJobRequest(job_spec=spec))
        self.assertEqual(len(answer.violations), 500)

    def test_a_long_message_is_cut_between_characters(self):
        for before in ("", "x"):
            name = "jobs/" + before + "\u00e9" * 1500
            error = self.assert_fails(grpc.StatusCode.NOT_FOUND, self.jobs.GetJob,
                                      job_service.GetJobRequest(name=name))
            # That it can be parsed: strings of a message are UTF-8.
            self.assertEqual(details_of(error)["ErrorInfo"].reason, "JOB_NOT_FOUND")
            self.assertRegex(error.details(), f"^no job '{before}\u00e9+$")

    def test_what_this_version_cannot_do_is_refused_by_name(self):
        spec = job.JobSpec(name="x", root=exec_node("true"))
        self.assert_fails(grpc.StatusCode.FAILED_PRECONDITION, self.jobs.SubmitJob,
                          job_service.SubmitJobRequest(job_spec=spec,
                                                       durability=resources.DURABILITY_DURABLE))
        error = self.assert_fails(grpc.StatusCode.UNIMPLEMENTED, self.jobs.PauseJob,
                                  job_service.PauseJobRequest(name="jobs/x"))
        self.assertIn("not in this version", error.details())
        items = job_service.EVENT_DETAIL_ITEMS
        for call, request, field in (
                (self.jobs.CancelJob, job_service.CancelJobRequest(request_id="r"), "request_id"),
                (self.jobs.CancelJobs, job_service.CancelJobsRequest(request_id="r"),
                 "request_id"),
                (self.jobs.WatchJob, job_service.WatchJobRequest(detail=items), "detail"),
                (self.jobs.RunJob, job_service.RunJobRequest(job_spec=spec, detail=items),
                 "detail")):
            error = self.assert_fails(grpc.StatusCode.UNIMPLEMENTED, call, request)
            self.assertRegex(error.details(), f"^{field}.*: not in this version$")
            self.assertEqual(details_of(error)["ErrorInfo"].reason, "NOT_IN_THIS_VERSION")
        self.assertEqual(len(self.jobs.ListJobs(job_service.ListJobsRequest()).jobs), 0)

    def test_validate_only_starts_nothing(self):
        preview = self.submit(job.JobSpec(name="x", root=exec_node("touch", self.mark)),
                              validate_only=True)
        self.assertEqual(preview.name, "")
        self.assertEqual(preview.node_count, 1)
        self.assertEqual(len(self.jobs.ListJobs(job_service.ListJobsRequest()).jobs), 0)

    def test_unknown_jobs_and_names_are_errors(self):
        for name, code in (("jobs/NONE", grpc.StatusCode.NOT_FOUND),
                           ("NONE", grpc.StatusCode.INVALID_ARGUMENT),
                           ("jobs/a/b", grpc.StatusCode.INVALID_ARGUMENT)):
            self.assert_fails(code, self.jobs.GetJob, job_service.GetJobRequest(name=name))

    def test_jobs_are_listed_newest_first_in_pages(self):
        names = [self.submit(job.JobSpec(name="n", root=exec_node("true"))).name for _ in range(7)]
        seen, token = [], ""
        while True:
            page = self.jobs.ListJobs(
                job_service.ListJobsRequest(page_size=3, page_token=token), timeout=PATIENCE)
            seen += [each.name for each in page.jobs]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(sorted(seen), sorted(names))
        self.assertEqual(seen, sorted(seen, reverse=True))

    def test_filters_choose_jobs(self):
        for team, code in (("red", "0"), ("red", "1"), ("blue", "1")):
            self.wait(self.submit(job.JobSpec(name=f"job-{team}-{code}", labels={"team": team},
                                              root=exec_node("sh", "-c", "exit " + code))).name)
        for text, expected in (
                ("state = FAILED", ["job-blue-1", "job-red-1"]),
                ('labels.team = "red" AND state != FAILED', ["job-red-0"]),
                ("display_name = job-red*", ["job-red-1", "job-red-0"]),
                ('create_time > "2020-01-01T00:00:00Z" AND labels.team = blue', ["job-blue-1"]),
                ('create_time > "2120-01-01T00:00:00Z"', [])):
            page = self.jobs.ListJobs(job_service.ListJobsRequest(filter=text), timeout=PATIENCE)
            self.assertEqual([each.display_name for each in page.jobs], expected, text)
        for text, problem in (("stat = FAILED", "column 1: 'stat' is no field"),
                              ("state = BROKEN", "column 9: 'BROKEN' is not a state"),
                              ("state = FAILED OR state = SUCCEEDED", "column 16: AND is expected"),
                              ("create_time > yesterday", "column 15: 'yesterday' is not a time"),
                              ("display_name < x", "knows = and != only"), ("state =", "a value")):
            error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.ListJobs,
                                      job_service.ListJobsRequest(filter=text))
            self.assertIn(problem, error.details())

    def pages(self, call, request, field):
        """All entries, page after page."""
        seen = []
        while True:
            page = call(request, timeout=PATIENCE)
            seen += getattr(page, field)
            request.page_token = page.next_page_token
            if not request.page_token:
                return seen

    def test_jobs_are_listed_in_either_order(self):
        names = [self.submit(job.JobSpec(name="n", root=exec_node("true"))).name for _ in range(5)]
        for order, expected in (("create_time", sorted(names)),
                                ("create_time desc", sorted(names, reverse=True))):
            request = job_service.ListJobsRequest(page_size=2, order_by=order)
            seen = self.pages(self.jobs.ListJobs, request, "jobs")
            self.assertEqual([each.name for each in seen], expected)
        error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.ListJobs,
                                  job_service.ListJobsRequest(order_by="priority"))
        self.assertEqual(details_of(error)["ErrorInfo"].reason, "INVALID_FILTER")

    def test_a_page_token_goes_with_its_question_only(self):
        for _ in range(3):
            self.submit(job.JobSpec(name="n", root=exec_node("true")))
        token = self.jobs.ListJobs(job_service.ListJobsRequest(page_size=1)).next_page_token
        for wrong in ({"filter": "priority = 5"}, {"order_by": "create_time"},
                      {"page_token": "nonsense"}, {"page_token": token + "1"}):
            request = job_service.ListJobsRequest(**{"page_token": token, **wrong})
            error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.ListJobs, request)
            self.assertEqual(details_of(error)["ErrorInfo"].reason, "INVALID_PAGE_TOKEN")

    def test_a_list_has_the_first_errors_only(self):
        root = group(*(exec_node("false", name=f"n{i}") for i in range(7)))
        root.group.join.mode = job.JOIN_MODE_COLLECT
        name = self.wait(self.submit(job.JobSpec(name="bad", root=root)).name).name
        view = job_service.JOB_VIEW_FULL
        for listed, count in ((self.get(name), 4),
                              (self.jobs.ListJobs(job_service.ListJobsRequest()).jobs[0], 4),
                              (self.jobs.ListJobs(job_service.ListJobsRequest(view=view)).jobs[0],
                               7)):
            self.assertEqual((len(listed.errors), listed.error_count), (count, 7))

    def test_jobs_are_cancelled_by_a_filter(self):
        names = [self.submit(self.sleepers(1)).name for _ in range(3)]
        request = job_service.CancelJobsRequest(filter="display_name = sleepers", reason="all")
        self.assertEqual(self.jobs.CancelJobs(request).count, 3)
        self.assertEqual(self.get(names[0]).state, resources.NODE_STATE_RUNNING)
        request.force = True
        self.assertEqual(self.jobs.CancelJobs(request).count, 3)
        for name in names:
            self.assertEqual(self.wait(name).state, resources.NODE_STATE_CANCELLED)

    def test_nodes_are_listed_and_explained(self):
        spec = job.JobSpec(name="tree", root=group(
            exec_node("true", name="a"),
            exec_node("sh", "-c", "exit 3", name="b", needs=["a"])))
        done = self.wait(self.submit(spec).name)
        nodes = self.jobs.ListNodes(job_service.ListNodesRequest(parent=done.name)).nodes
        self.assertEqual([each.path for each in nodes], ["", "a", "b"])
        node = self.jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/b"))
        self.assertEqual(node.attempts[0].exit_code, 3)
        text = self.introspection.ExplainNode(
            introspection.ExplainNodeRequest(name=done.name + "/nodes/b")).text
        self.assertIn("b is FAILED: exit code 3", text)

    def test_nodes_are_chosen_by_filter_path_and_depth(self):
        inner = group(exec_node("true", name="x"), exec_node("false", name="y"))
        inner.name, inner.group.join.mode = "in", job.JOIN_MODE_COLLECT
        root = group(exec_node("true", name="a"), inner, exec_node("false", name="z"))
        root.group.join.mode = job.JOIN_MODE_COLLECT
        done = self.wait(self.submit(job.JobSpec(name="tree", root=root)).name)

        def paths(**fields):
            request = job_service.ListNodesRequest(parent=done.name, page_size=2, **fields)
            seen = self.pages(self.jobs.ListNodes, request, "nodes")
            return [each.path for each in seen]

        self.assertEqual(paths(), ["", "a", "in", "in/x", "in/y", "z"])
        self.assertEqual(paths(depth=1), ["", "a", "in", "z"])
        self.assertEqual(paths(path="in", depth=1), ["in", "in/x", "in/y"])
        self.assertEqual(paths(order_by="failed_first"), ["", "in", "in/y", "z", "a", "in/x"])
        self.assertEqual(paths(filter="state = FAILED AND kind = EXEC"), ["in/y", "z"])
        self.assertEqual(paths(filter="outcome = SUCCEEDED"), ["a", "in/x"])
        self.assertEqual(paths(filter="path = in/*"), ["in/x", "in/y"])
        self.assertEqual(paths(filter="attempt_count > 0 AND kind != GROUP"),
                         ["a", "in/x", "in/y", "z"])
        self.assertEqual(paths(filter='end_time < "2020-01-01T00:00:00Z"'), [])
        for fields, reason in (({"filter": "labels.x = y"}, "INVALID_FILTER"),
                               ({"filter": "kind = SHELL"}, "INVALID_FILTER"),
                               ({"order_by": "name"}, "INVALID_FILTER"),
                               ({"page_token": "17"}, "INVALID_PAGE_TOKEN"),
                               ({"depth": -1}, "INVALID_REQUEST")):
            error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.ListNodes,
                                      job_service.ListNodesRequest(parent=done.name, **fields))
            self.assertEqual(details_of(error)["ErrorInfo"].reason, reason)
        error = self.assert_fails(grpc.StatusCode.NOT_FOUND, self.jobs.ListNodes,
                                  job_service.ListNodesRequest(parent=done.name, path="nope"))
        self.assertEqual(details_of(error)["ErrorInfo"].reason, "NODE_NOT_FOUND")


class LimitTest(ServiceTest):
    config = "limits: {live_jobs: 1, total_nodes: 5}\nretention: {ephemeral_jobs: 2}\n"

    def refused(self, spec):
        error = self.assert_fails(grpc.StatusCode.RESOURCE_EXHAUSTED, self.jobs.SubmitJob,
                                  job_service.SubmitJobRequest(job_spec=spec))
        found = details_of(error)
        self.assertGreater(found["RetryInfo"].retry_delay.seconds, 0)
        return found["ErrorInfo"].reason

    def test_at_a_limit_nothing_starts_and_the_client_is_told_when_to_try_again(self):
        first = self.submit(self.sleepers(2))
        mark = "o" + self.mark
        other = job.JobSpec(name="other", root=exec_node("sh", "-c", "sleep 60; :", mark))
        self.assertEqual(self.refused(other), "TOO_MANY_JOBS")
        self.jobs.CancelJob(job_service.CancelJobRequest(name=first.name, wait=True))
        self.wait(first.name)
        self.assertEqual(self.refused(self.sleepers(9)), "TOO_MANY_NODES")
        self.assertEqual(marked(mark), [])

    def test_a_submit_may_wait_for_room(self):
        first = self.submit(self.sleepers(2))
        request = job_service.SubmitJobRequest(
            job_spec=job.JobSpec(name="next", root=exec_node("true")))
        request.admission_wait.FromMilliseconds(20)
        with self.assertRaises(grpc.RpcError) as raised:
            self.jobs.SubmitJob(request, timeout=PATIENCE)
        self.assertEqual(details_of(raised.exception)["ErrorInfo"].reason, "TOO_MANY_JOBS")
        # Longer than any clock can count.
        request.admission_wait.seconds = 315_576_000_000
        waiting = self.jobs.SubmitJob.future(request, timeout=PATIENCE)
        run = self.jobs.RunJob(job_service.RunJobRequest(
            job_spec=request.job_spec, admission_wait=request.admission_wait), timeout=PATIENCE)
        self.jobs.CancelJob(job_service.CancelJobRequest(name=first.name, wait=True))
        self.assertEqual(self.wait(waiting.result().name).state, resources.NODE_STATE_SUCCEEDED)
        self.assertEqual(list(run)[-1].result.state, resources.NODE_STATE_SUCCEEDED)

    def test_the_oldest_ended_job_is_forgotten(self):
        spec = job.JobSpec(name="n", root=exec_node("true"))
        names = []
        for _ in range(3):
            submit = lambda: self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=spec))
            names.append(wait_until(lambda: self.unless_full(submit)).name)
            self.wait(names[-1])
        wait_until(lambda: len(self.jobs.ListJobs(job_service.ListJobsRequest()).jobs) == 2)
        self.assert_fails(grpc.StatusCode.NOT_FOUND, self.jobs.GetJob,
                          job_service.GetJobRequest(name=names[0]))

    @staticmethod
    def unless_full(submit):
        try:
            return submit()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return None


class BoundsTest(ServiceTest):
    config = ("default_job_timeout: 1h\nmax_job_timeout: 2h\nmin_admission_slack: 2s\n"
              "max_finally_timeout: 3s\nlimits: {watchers: 2}\n")

    def timed(self, **fields):
        return job.JobSpec(name="x", root=exec_node("true"), timeout=job.TimeLimit(**fields))

    def test_a_job_that_says_no_timeout_has_the_default(self):
        spec = job.JobSpec(name="x", root=exec_node("true"))
        valid = self.jobs.ValidateJob(job_service.ValidateJobRequest(job_spec=spec))
        self.assertEqual(valid.timeout.seconds, 3600)
        done = self.wait(self.submit(spec).name)
        self.assertEqual(done.deadline.seconds - done.create_time.seconds, 3600)
        self.assertEqual(done.deadline_source, "job timeout 1h, the default")

    def test_a_timeout_over_the_limit_is_refused(self):
        for spec, problem in ((self.timed(duration={"seconds": 7201}), "2h1s is over"),
                              (self.timed(none=True), "none is over")):
            error = self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                                      job_service.SubmitJobRequest(job_spec=spec))
            self.assertIn(problem, error.details())

    def test_a_job_with_too_little_time_is_not_begun(self):
        spec = self.timed(duration={"seconds": 1})
        for call, request in ((self.jobs.SubmitJob, job_service.SubmitJobRequest(job_spec=spec)),
                              (self.jobs.RunJob, job_service.RunJobRequest(job_spec=spec))):
            error = self.assert_fails(grpc.StatusCode.DEADLINE_EXCEEDED, call, request)
            self.assertEqual(details_of(error)["ErrorInfo"].reason, "DEADLINE_UNREACHABLE")
        spec = self.timed(duration={"seconds": 60})
        for call, request in (
                (self.jobs.SubmitJob, job_service.SubmitJobRequest(
                    job_spec=spec, attach=job_service.ATTACH_DEADLINE)),
                (self.jobs.RunJob, job_service.RunJobRequest(job_spec=spec))):
            with self.assertRaises(grpc.RpcError) as raised:
                result = call(request, timeout=1.5)
                list(result)
            self.assertEqual(details_of(raised.exception)["ErrorInfo"].reason,
                             "DEADLINE_UNREACHABLE")
        self.assertEqual(len(self.jobs.ListJobs(job_service.ListJobsRequest()).jobs), 0)

    def test_clean_up_is_bounded(self):
        spec = job.JobSpec(name="x", root=exec_node("true"))
        spec.root.finally_.exec.argv.append("true") if hasattr(spec.root, "finally_") else \
            getattr(spec.root, "finally").exec.argv.append("true")
        request = job_service.ValidateJobRequest(job_spec=spec)
        self.assertEqual(self.jobs.ValidateJob(request).max_teardown.seconds, 5 + 3 + 5)
        getattr(request.job_spec.root, "finally").timeout.seconds = 4
        self.assertEqual(self.jobs.ValidateJob(request).violations[0].path,
                         "job_spec.root.finally.timeout")

    def test_watchers_have_a_bound(self):
        name = self.submit(self.sleepers(1)).name
        watches = [self.jobs.WatchJobs(job_service.WatchJobsRequest()),
                   self.jobs.WatchJob(job_service.WatchJobRequest(name=name))]
        for watch in watches:
            next(watch)
        stats = introspection.GetServerStatsRequest()
        self.assertEqual(self.introspection.GetServerStats(stats).watchers, 2)
        error = self.assert_fails(grpc.StatusCode.RESOURCE_EXHAUSTED, self.jobs.WatchJob,
                                  job_service.WatchJobRequest(name=name))
        self.assertEqual(details_of(error)["ErrorInfo"].reason, "TOO_MANY_CALLS")
        for watch in watches:
            watch.cancel()
        wait_until(lambda: self.introspection.GetServerStats(stats).watchers == 0)
        next(self.jobs.WatchJob(job_service.WatchJobRequest(name=name)))

    def test_the_server_says_who_it_is_and_what_it_does(self):
        info = self.introspection.GetServerInfo(introspection.GetServerInfoRequest())
        self.assertRegex(info.instance_id, r"^[0-9a-f]{32}$")
        self.assertEqual(info.limits["nodes_per_job"], 100_000)
        self.submit(self.sleepers(2))
        running = lambda: self.introspection.GetServerStats(introspection.GetServerStatsRequest())
        # The group and its children.
        wait_until(lambda: running().nodes.running == 3)


class RunTest(ServiceTest):
    def run_job(self, spec, **options):
        options.setdefault("timeout", PATIENCE)
        return self.jobs.RunJob(job_service.RunJobRequest(job_spec=spec), **options)

    def metrics(self):
        with urllib.request.urlopen(f"http://{self.server.http}/metrics", timeout=PATIENCE) as page:
            return page.read().decode()

    def test_the_result_comes_with_the_stream(self):
        messages = list(self.run_job(job.JobSpec(name="hello", root=exec_node("echo", "hi"))))
        self.assertTrue(messages[0].job.startswith("jobs/"))
        self.assertEqual(messages[-1].result.output, b"hi\n")
        seqs = [event.seq for message in messages for event in message.events]
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))

    def test_a_noop_is_answered_by_one_message(self):
        spec = job.JobSpec(name="noop", root=job.NodeSpec(call=job.CallAction(function="noop")))
        for _ in range(20):
            messages = list(self.run_job(spec))
            self.assertEqual(messages[-1].result.state, resources.NODE_STATE_SUCCEEDED)
            self.assertEqual(messages[0].job, messages[-1].result.name)

    def test_a_deadline_takes_the_trees_down(self):
        calls, start = [], time.monotonic()
        for _ in range(20):
            calls.append(self.run_job(self.sleepers(10), timeout=1))
        names = [next(call).job for call in calls]
        alive = 0
        while time.monotonic() < start + 0.9:
            alive = max(alive, len(marked(self.mark)))
        self.assertGreater(alive, 0)
        wait_until(lambda: not marked(self.mark))
        print(f"  20 trees of 10: {alive} seen, all gone after {time.monotonic() - start:.3f} s")
        for call in calls:
            with self.assertRaises(grpc.RpcError) as raised:
                list(call)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        for name in names:
            done = self.wait(name)
            self.assertEqual(done.state, resources.NODE_STATE_DEADLINE_EXCEEDED, done)
            self.assertIn("call deadline", done.cause.reason)

    # Its clock is ahead of the server's by as long as the call took to come.
    def test_a_client_that_goes_just_before_its_deadline_ran_out_of_time(self):
        start = time.monotonic()
        call = self.run_job(self.sleepers(2), timeout=1)
        name = next(call).job
        wait_until(lambda: time.monotonic() > start + 0.85)
        call.cancel()
        done = self.wait(name)
        self.assertEqual(done.state, resources.NODE_STATE_DEADLINE_EXCEEDED, done)
        self.assertIn("call deadline", done.cause.reason)
        handled = 'grpc_method="RunJob",grpc_type="server_stream",grpc_code="DeadlineExceeded"} 1\n'
        wait_until(lambda: handled in self.metrics())

    def test_a_deadline_of_its_own_is_a_result(self):
        spec = self.sleepers(2)
        spec.timeout.duration.FromMilliseconds(200)
        messages = list(self.run_job(spec))
        self.assertEqual(messages[-1].result.state, resources.NODE_STATE_DEADLINE_EXCEEDED)

    def test_a_cancelled_call_cancels_the_tree(self):
        call = self.run_job(self.sleepers(3))
        name = next(call).job
        wait_until(lambda: len(marked(self.mark)) >= 3)
        call.cancel()
        wait_until(lambda: not marked(self.mark))
        done = self.wait(name)
        self.assertEqual(done.state, resources.NODE_STATE_CANCELLED)
        self.assertIn("the client has gone", done.cause.reason)
        self.assertEqual(done.cause.kind, resources.CAUSE_KIND_CALL_LOST)
        watched = self.jobs.WatchJob(job_service.WatchJobRequest(name=name), timeout=PATIENCE)
        ended = [each.node_ended for message in watched for each in message.events
                 if each.HasField("node_ended")]
        self.assertEqual({each.cause.kind for each in ended}, {resources.CAUSE_KIND_CALL_LOST})

    def test_a_killed_client_cancels_the_tree(self):
        code = ("import sys; sys.path.insert(0, sys.argv[1]); from service import *; "
                "stub = job_stub.JobServiceStub(grpc.insecure_channel(sys.argv[2])); "
                "root = exec_node('sh', '-c', 'sleep 60; :', sys.argv[3]); "
                "request = job_service.RunJobRequest(job_spec=job.JobSpec(name='x', root=root)); "
                "list(stub.RunJob(request))")
        client = subprocess.Popen([sys.executable, "-B", "-c", code,
                                   str(PROTO.parent / "tests" / "service"), self.server.address,
                                   "x" + self.mark],
                                  # It is killed, and removes nothing.
                                  env=dict(os.environ, TMPDIR=str(self.server.directory)))
        wait_until(lambda: marked("x" + self.mark)[1:])  # the client's own arguments, and the task
        start = time.monotonic()
        client.kill()
        client.wait()
        wait_until(lambda: not marked("x" + self.mark))
        print(f"  a killed client's tree was gone after {time.monotonic() - start:.3f} s")


class WatchTest(ServiceTest):
    def test_a_watch_resumed_anywhere_sees_every_event_once(self):
        spec = job.JobSpec(name="watched", root=group(
            *(exec_node("true", name=f"n{i}") for i in range(20))))
        name = self.submit(spec).name
        dice = random.Random(7)
        seqs = []
        ended = False
        while not ended:
            call = self.jobs.WatchJob(job_service.WatchJobRequest(
                name=name, after_seq=seqs[-1] if seqs else 0), timeout=PATIENCE)
            for message in call:
                seqs += [event.seq for event in message.events]
                ended = any(event.HasField("job_ended") for event in message.events)
                if ended or dice.random() < 0.5:
                    call.cancel()
                    break
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        self.assertGreater(len(seqs), 60)

    def test_a_job_may_end_with_its_watcher(self):
        name = self.submit(self.sleepers(1)).name
        call = self.jobs.WatchJob(job_service.WatchJobRequest(name=name,
                                                              cancel_on_disconnect=True))
        next(call)
        wait_until(lambda: marked(self.mark))
        call.cancel()
        done = self.wait(name)
        self.assertEqual(done.state, resources.NODE_STATE_CANCELLED)
        self.assertEqual(done.cause.kind, resources.CAUSE_KIND_CALL_LOST)
        self.assertEqual(marked(self.mark), [])

    def test_wait_gives_the_job_as_it_stands_when_its_time_is_over(self):
        submitted = self.submit(self.sleepers(1))
        request = job_service.WaitJobRequest(name=submitted.name)
        request.timeout.FromMilliseconds(50)
        waited = self.jobs.WaitJob(request, timeout=PATIENCE)
        self.assertEqual(waited.state, resources.NODE_STATE_RUNNING)


class CancelTest(ServiceTest):
    def test_the_receipt_is_true(self):
        submitted = self.submit(self.sleepers(3))
        wait_until(lambda: len(marked(self.mark)) >= 3)
        receipt = self.jobs.CancelJob(
            job_service.CancelJobRequest(name=submitted.name, reason="enough", wait=True),
            timeout=PATIENCE)
        self.assertEqual(marked(self.mark), [])
        self.assertTrue(receipt.complete)
        self.assertEqual(receipt.survivor_count, 0)
        self.assertEqual(receipt.cause.reason, "enough")
        self.assertEqual(receipt.cause.actor, "local")
        self.assertRegex(self.server.log_text(), r'"identity":"local","method":"CancelJob",'
                         rf'"job":"{submitted.id}","detail":"enough"')
        again = self.jobs.CancelJob(job_service.CancelJobRequest(name=submitted.name),
                                    timeout=PATIENCE)
        self.assertTrue(again.already_ended)

    def test_a_cancel_may_bring_its_own_grace(self):
        with tempfile.TemporaryDirectory() as directory:
            ready = pathlib.Path(directory, "ready")
            script = f"trap : TERM; touch {ready}; while :; do sleep 1; done"
            node = exec_node("sh", "-c", script, self.mark)
            node.grace.seconds = 3600
            name = self.submit(job.JobSpec(name="deaf", root=node)).name
            wait_until(ready.exists)
        request = job_service.CancelJobRequest(name=name, wait=True)
        request.grace.seconds = -1
        self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.CancelJob, request)
        request.grace.FromMilliseconds(10)
        receipt = self.jobs.CancelJob(request, timeout=PATIENCE)
        self.assertTrue(receipt.complete)
        self.assertGreaterEqual(receipt.killed, 1)
        self.assertEqual(marked(self.mark), [])

    def test_what_is_killed_is_not_told_as_ended_by_sigterm(self):
        for _ in range(10):
            name = self.submit(self.sleepers(3)).name
            wait_until(lambda: len(marked(self.mark)) >= 3)
            receipt = self.jobs.CancelJob(job_service.CancelJobRequest(
                name=name, mode=job_service.CANCEL_MODE_KILL, wait=True), timeout=PATIENCE)
            self.assertTrue(receipt.complete)
            self.assertEqual((receipt.terminated, receipt.interrupted), (0, 3))
            self.assertGreaterEqual(receipt.killed, 3)

    def test_a_reason_has_a_bound(self):
        self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.CancelJob,
                          job_service.CancelJobRequest(name="jobs/x", reason="x" * 1025))

    def test_a_subtree_is_cancelled_alone(self):
        spec = job.JobSpec(name="two", root=group(
            exec_node("sh", "-c", "sleep 60; :", self.mark, name="a"),
            exec_node("sh", "-c", "sleep 0.3; echo kept", name="b")))
        submitted = self.submit(spec)
        wait_until(lambda: marked(self.mark))
        request = job_service.CancelJobRequest(name=submitted.name, path="a",
                                               counts_as=job_service.COUNTS_AS_SKIPPED)
        self.jobs.CancelJob(request, timeout=PATIENCE)
        done = self.wait(submitted.name)
        self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED)
        self.assertEqual(marked(self.mark), [])

    def test_an_unknown_path_is_an_error(self):
        submitted = self.submit(self.sleepers(1))
        self.assert_fails(grpc.StatusCode.NOT_FOUND, self.jobs.CancelJob,
                          job_service.CancelJobRequest(name=submitted.name, path="nope"))


class LoadTest(ServiceTest):
    def test_many_clients_get_what_they_asked_for(self):
        wrong = []

        def client(number):
            for i in range(4):
                text = f"{number}-{i}"
                spec = job.JobSpec(name="load", root=group(
                    *(job.NodeSpec(name=f"n{k}", call=job.CallAction(function="noop"))
                      for k in range(19)), exec_node("echo", text, name="last",
                                                     needs=[f"n{k}" for k in range(19)])))
                done = self.wait(self.submit(spec).name)
                if done.output.decode() != text + "\n" or done.counts.succeeded != 21:
                    wrong.append(done)

        threads = [threading.Thread(target=client, args=(i,)) for i in range(25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])


class StopTest(ServiceTest):
    def test_sigterm_ends_everything(self):
        self.submit(self.sleepers(3))
        call = self.jobs.RunJob(job_service.RunJobRequest(job_spec=self.sleepers(2)))
        next(call)
        wait_until(lambda: len(marked(self.mark)) >= 5)
        self.server.process.send_signal(signal.SIGTERM)
        with self.assertRaises(grpc.RpcError) as raised:
            list(call)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.server.stop(), 0, self.server.log_text())
        self.assertEqual(marked(self.mark), [])

    def test_kill_9_of_the_server_ends_everything(self):
        self.submit(self.sleepers(3))
        wait_until(lambda: len(marked(self.mark)) >= 3)
        os.kill(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()
        wait_until(lambda: not marked(self.mark), patience=10)


class WatchJobsTest(ServiceTest):
    def watch(self, filter_=""):
        stream = self.jobs.WatchJobs(job_service.WatchJobsRequest(filter=filter_),
                                     timeout=PATIENCE)
        self.addCleanup(stream.cancel)
        return stream

    @staticmethod
    def until_done(stream, names):
        """Every state that is told of each of the jobs, until all have ended."""
        told = {name: [] for name in names}
        for message in stream:
            for each in message.jobs:
                told.setdefault(each.name, []).append(each)
            if all(told[name] and told[name][-1].done for name in names):
                return told
        raise AssertionError("the stream ended")

    def test_live_jobs_are_told_first_and_then_what_changes(self):
        old = self.submit(self.sleepers(1)).name
        stream = self.watch()
        first = next(stream)
        self.assertEqual([each.name for each in first.jobs], [old])
        new = self.submit(job.JobSpec(name="short", root=exec_node("true"))).name
        told = self.until_done(stream, [new])
        self.assertEqual(told[new][-1].state, resources.NODE_STATE_SUCCEEDED)
        self.assertEqual([each.done for each in told[new]].count(True), 1)
        self.jobs.CancelJob(job_service.CancelJobRequest(name=old))
        told = self.until_done(stream, [old])
        self.assertEqual(told[old][-1].state, resources.NODE_STATE_CANCELLED)

    def test_many_short_jobs_are_all_told_of(self):
        stream = self.watch('display_name = "wanted"')
        self.assertEqual(len(next(stream).jobs), 0)
        root = job.NodeSpec(call=job.CallAction(function="noop"))
        names = [self.submit(job.JobSpec(name=name, root=root)).name
                 for name in ["wanted", "other"] * 50]
        told = self.until_done(stream, names[::2])
        self.assertEqual(sorted(told), sorted(names[::2]))

    def test_a_job_that_ceases_to_fit_is_told_once_more(self):
        name = self.submit(self.sleepers(1)).name
        stream = self.watch("state = RUNNING")
        self.assertEqual([each.name for each in next(stream).jobs], [name])
        self.jobs.CancelJob(job_service.CancelJobRequest(name=name, wait=True), timeout=PATIENCE)
        # It does so when it is ending, or has ended, whichever is seen first.
        told = next(each for message in stream for each in message.jobs
                    if each.state != resources.NODE_STATE_RUNNING)
        self.assertEqual(told.name, name)
        again = self.submit(self.sleepers(1)).name
        told = next(message for message in stream if message.jobs)
        self.assertEqual([each.name for each in told.jobs], [again])

    def test_a_wrong_filter_is_refused(self):
        self.assert_fails(grpc.StatusCode.INVALID_ARGUMENT, self.jobs.WatchJobs,
                          job_service.WatchJobsRequest(filter="nonsense"))


if __name__ == "__main__":
    unittest.main()
