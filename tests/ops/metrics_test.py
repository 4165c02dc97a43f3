"""Metrics: what they count under load, that gauges come back, and that no series is ever added.

usage: metrics_test.py [--jobs N]: how many jobs may add no series; 300 by default
"""

import argparse
import sys
import unittest

from observed import PATIENCE, fetch, promtool
from load import LoadedTest, spec, wait_until
from service import job_service

# What must be above 0 while the server is busy, and what must have been counted after.
BUSY = ['nursery_tasks{state="running"}', 'nursery_tasks{state="waiting"}',
        'nursery_tasks_waiting{reason="semaphore"}', 'nursery_jobs{state="running"}',
        'nursery_nodes{state="running"}', "nursery_processes", "nursery_admitted_bytes",
        'nursery_pool_slots_in_use{pool="default"}', 'nursery_pool_queue_length{pool="io"}',
        "nursery_connections"]
COUNTED = [
    *(f'nursery_jobs_finished_total{{outcome="{outcome}"}}'
      for outcome in ("succeeded", "failed", "cancelled", "deadline_exceeded")),
    *(f'nursery_job_duration_seconds_count{{outcome="{outcome}"}}'
      for outcome in ("succeeded", "failed", "cancelled", "deadline_exceeded")),
    *(f'nursery_nodes_finished_total{{kind="{kind}",outcome="{outcome}"}}'
      for kind, outcome in (("group", "succeeded"), ("group", "failed"), ("group", "cancelled"),
                            ("map", "succeeded"), ("map", "cancelled"), ("action", "succeeded"),
                            ("action", "failed"), ("action", "cancelled"), ("action", "skipped"),
                            ("action", "deadline_exceeded"))),
    *(f'nursery_attempts_total{{action="{action}",outcome="{outcome}"}}'
      for action, outcome in (("exec", "succeeded"), ("exec", "failed"), ("exec", "timed_out"),
                              ("exec", "cancelled"), ("sleep", "succeeded"), ("sleep", "cancelled"),
                              ("call", "succeeded"), ("call", "cancelled"))),
    *(f'nursery_attempt_duration_seconds_sum{{action="{action}"}}'
      for action in ("exec", "sleep", "call")),
    *(f'nursery_cancels_total{{cause="{cause}"}}'
      for cause in ("cancelled", "deadline", "sibling_failed", "group_decided")),
    "nursery_cancel_duration_seconds_count", "nursery_retries_total",
    'nursery_deadline_exceeded_total{where="run"}',
    'nursery_deadline_exceeded_total{where="queue"}',
    'nursery_processes_killed_total{signal="TERM"}',
    'nursery_processes_killed_total{signal="KILL"}', "nursery_processes_leftover_total",
    'nursery_admission_rejected_total{reason="jobs"}', "nursery_tasks_finished_total",
    'nursery_pool_wait_seconds_count{pool="io"}',
    'nursery_semaphore_wait_seconds_count{semaphore="license"}',
    'grpc_server_handled_total{grpc_service="unknown",grpc_method="unknown",grpc_type="unary",'
    'grpc_code="Unimplemented"}',
    'grpc_server_handled_total{grpc_service="nursery.v1.JobService",grpc_method="SubmitJob",'
    'grpc_type="unary",grpc_code="ResourceExhausted"}',
    'grpc_server_handling_seconds_count{grpc_service="nursery.v1.JobService",'
    'grpc_method="WaitJob",grpc_type="unary"}',
    'grpc_server_msg_sent_total{grpc_service="nursery.v1.JobService",grpc_method="WaitJob",'
    'grpc_type="unary"}',
    "nursery_sched_threads", "nursery_sched_latency_seconds_count",
    "nursery_sched_slice_seconds_count", "nursery_sched_slice_seconds_sum",
    "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
    "process_start_time_seconds",
]
jobs_without_series = 300


class MetricsTest(LoadedTest):
    def test_the_linter_has_nothing_to_say(self):
        self.assertEqual(promtool("check", "metrics", text=self.metrics().text), (0, ""))

    def test_the_linter_would_say_so(self):
        wrong = self.metrics().text + "# TYPE nursery_wrong counter\nnursery_wrong 1\n"
        code, text = promtool("check", "metrics", text=wrong)
        self.assertNotEqual(code, 0)
        self.assertIn("nursery_wrong", text)

    def test_a_load_is_seen_and_leaves_no_trace_in_gauges(self):
        idle = self.metrics_of_an_idle_server()
        busy = self.provoke()
        for series in BUSY:
            self.assertGreater(busy[series], 0, series)
        # Which of the two depends on the machine.
        levels = [busy[f'nursery_containment_info{{level="{level}"}}']
                  for level in ("subreaper", "cgroup")]
        self.assertEqual(sorted(levels), [0, 1])
        after = self.metrics()
        for series in COUNTED:
            self.assertGreater(after[series], 0, series)
        for series in ("nursery_orphans", "nursery_unkillable", "nursery_attempts_lost_total"):
            self.assertEqual(after[series], 0, series)
        self.assertEqual(after["nursery_jobs_submitted_total"],
                         sum(value for series, value in after.series.items()
                             if series.startswith("nursery_jobs_finished_total")))
        self.assert_idle_again(idle)
        self.assertEqual(set(self.metrics().series), set(idle.series))

    def test_jobs_add_no_series(self):
        before = set(self.metrics().series)
        self.assertGreater(len(before), 500)
        waiting = []
        for i in range(jobs_without_series):
            name = self.submit(spec(f"job-{i}", {"call": {"function": "noop"}})).name
            waiting.append(self.jobs.WaitJob.future(job_service.WaitJobRequest(name=name)))
            if len(waiting) == 16:
                waiting.pop(0).result(PATIENCE)
        for each in waiting:
            each.result(PATIENCE)
        after = self.metrics()
        self.assertEqual(after['nursery_jobs_finished_total{outcome="succeeded"}'],
                         jobs_without_series)
        self.assertEqual(set(after.series), before)

    def metrics_of_an_idle_server(self):
        """After the warden's first word and a first call, of which only the connection stays."""
        self.jobs.ListJobs(job_service.ListJobsRequest(), timeout=PATIENCE)
        wait_until(lambda: "JobService/ListJobs" not in self.tasks())
        # What takes the word has done so.
        return wait_until(lambda: (metrics := self.metrics())
                          and metrics['nursery_containment_info{level="none"}'] == 0
                          and metrics['nursery_tasks{state="running"}'] == 0 and metrics)

    def tasks(self):
        token = (self.server.directory / "data" / "token").read_text().split()[-1]
        status, _, text = fetch(self.server.http, "/debug/tasks", Authorization="Bearer " + token)
        self.assertEqual(status, 200)
        return text

    def assert_idle_again(self, idle):
        wanted = idle.gauges()
        self.assertGreater(len(wanted), 30)
        try:
            wait_until(lambda: self.metrics().gauges() == wanted)
        except AssertionError:
            now = self.metrics().gauges()
            self.fail({series: (now.get(series), value) for series, value in wanted.items()
                       if now.get(series) != value})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=jobs_without_series)
    options, rest = parser.parse_known_args()
    jobs_without_series = options.jobs
    unittest.main(argv=[sys.argv[0], *rest])
