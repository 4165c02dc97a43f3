"""Streams that go on, and cancels that are waited for: their ends, and whose end it is."""

import pathlib
import tempfile
import unittest

import grpc

from service import (PATIENCE, Server, ServiceTest, details_of, exec_node, group, job, job_service,
                     marked, resources, wait_until)


def noops(count):
    return group(*(job.NodeSpec(name=f"n{i}", call=job.CallAction(function="noop"))
                   for i in range(count)))


class WatchEndTest(ServiceTest):
    def watch(self, name, **fields):
        """All messages of a watch."""
        request = job_service.WatchJobRequest(name=name, **fields)
        return list(self.jobs.WatchJob(request, timeout=PATIENCE))

    def test_a_watch_from_the_last_event_on_ends(self):
        done = self.wait(self.submit(job.JobSpec(name="short", root=exec_node("true"))).name)
        last = self.watch(done.name)[-1].events[-1]
        self.assertTrue(last.HasField("job_ended"))
        for after in (last.seq, last.seq + 1000):
            for message in self.watch(done.name, after_seq=after):
                self.assertEqual(len(message.events), 0)

    def test_what_nobody_wants_holds_nothing_up(self):
        done = self.wait(self.submit(job.JobSpec(name="long", root=noops(2500))).name)
        messages = self.watch(done.name, detail=job_service.EVENT_DETAIL_JOB)
        self.assertTrue(messages[-1].events[-1].HasField("job_ended"))
        # An empty one would be sent after five seconds in which nothing was to be told.
        self.assertNotIn(0, [len(message.events) for message in messages])

    def test_a_watcher_that_wants_little_hears_that_the_server_is_alive(self):
        # Its attempts are events of a node, which this watch does not want.
        ticking = exec_node("sh", "-c", "exit 1", name="tick")
        ticking.retry.max_attempts = 1000
        ticking.retry.backoff.initial.FromMilliseconds(100)
        ticking.retry.backoff.max.FromMilliseconds(100)
        name = self.submit(job.JobSpec(name="ticking", root=group(ticking))).name
        call = self.jobs.WatchJob(job_service.WatchJobRequest(
            name=name, detail=job_service.EVENT_DETAIL_JOB), timeout=PATIENCE)
        for message in call:
            if not message.events:
                break
            self.assertFalse(message.events[-1].HasField("job_ended"))
        call.cancel()


class CancelWaitTest(ServiceTest):
    def test_each_cancel_has_its_own_receipt(self):
        with tempfile.TemporaryDirectory() as directory:
            ready = pathlib.Path(directory, "ready")
            deaf = exec_node("sh", "-c", f"trap : TERM; touch {ready}; while :; do sleep 1; done",
                             self.mark, name="deaf")
            deaf.grace.seconds = 3600
            root = group(deaf, exec_node("sleep", "60", name="quick"))
            root.group.join.mode = job.JOIN_MODE_COLLECT
            name = self.submit(job.JobSpec(name="two", root=root)).name
            wait_until(ready.exists)
        slow = self.jobs.CancelJob.future(
            job_service.CancelJobRequest(name=name, path="deaf", wait=True), timeout=PATIENCE)
        wait_until(lambda: self.get(name).last_cancel.path == "deaf")
        quick = self.jobs.CancelJob(
            job_service.CancelJobRequest(name=name, path="quick", wait=True), timeout=PATIENCE)
        self.assertEqual((quick.path, quick.complete), ("quick", True))
        self.assertFalse(slow.done())
        self.jobs.CancelJob(job_service.CancelJobRequest(
            name=name, path="deaf", mode=job_service.CANCEL_MODE_KILL, wait=True),
            timeout=PATIENCE)
        receipt = slow.result()
        self.assertEqual((receipt.path, receipt.complete), ("deaf", True))
        self.assertEqual(marked(self.mark), [])


class RunDeadlineTest(ServiceTest):
    def test_a_timeout_of_the_root_is_a_result_under_a_calls_deadline(self):
        root = exec_node("sleep", "60")
        root.timeout.duration.FromMilliseconds(200)
        call = self.jobs.RunJob(job_service.RunJobRequest(job_spec=job.JobSpec(
            name="own", root=root)), timeout=PATIENCE)
        result = list(call)[-1].result
        self.assertEqual(result.state, resources.NODE_STATE_DEADLINE_EXCEEDED)
        self.assertEqual(call.code(), grpc.StatusCode.OK)


class UrgentTest(ServiceTest):
    def test_a_cut_tree_shows_what_matters(self):
        root = group(*(exec_node("true", name=f"good{i}") for i in range(50)),
                     exec_node("false", name="bad"), exec_node("sleep", "60", name="runs"))
        root.group.join.mode = job.JOIN_MODE_COLLECT
        name = self.submit(job.JobSpec(name="cut", root=root)).name
        wait_until(lambda: self.get(name).counts.succeeded == 50
                   and self.get(name).counts.failed == 1)
        request = job_service.ListNodesRequest(parent=name, page_size=4, order_by="urgent")
        page = self.jobs.ListNodes(request, timeout=PATIENCE)
        self.assertEqual([each.path for each in page.nodes], ["", "bad", "runs", "good0"])
        self.assertEqual(page.next_page_token, "")
        request.page_size = 100
        page = self.jobs.ListNodes(request, timeout=PATIENCE)
        self.assertEqual([each.path for each in page.nodes][:3], ["", "good0", "good1"])

    def test_what_is_asked_for_is_cut_and_not_the_tree(self):
        root = group(exec_node("sleep", "60", name="runs"),
                     *(exec_node("true", name=f"good{i}") for i in range(50)))
        name = self.submit(job.JobSpec(name="cut", root=root)).name
        wait_until(lambda: self.get(name).counts.succeeded == 50)
        request = job_service.ListNodesRequest(parent=name, page_size=2, order_by="urgent")

        def listed(**asked):
            request.MergeFrom(job_service.ListNodesRequest(**asked))
            page = self.jobs.ListNodes(request, timeout=PATIENCE)
            self.assertEqual(page.next_page_token, "")
            return [each.path for each in page.nodes]

        self.assertEqual(listed(filter="state = SUCCEEDED"), ["good0", "good1"])
        self.assertEqual(listed(depth=2**31 - 1), ["good0", "good1"])
        self.assertEqual(listed(path="good49"), ["good49"])

    def test_all_levels_below_a_node_are_as_many_as_one_may_ask_for(self):
        root = group(group(exec_node("true", name="b")))
        root.group.nodes[0].name = "a"
        name = self.submit(job.JobSpec(name="deep", root=root)).name
        wait_until(lambda: self.get(name).done)
        request = job_service.ListNodesRequest(parent=name, path="a", depth=2**31 - 1)
        page = self.jobs.ListNodes(request, timeout=PATIENCE)
        self.assertEqual([each.path for each in page.nodes], ["a", "a/b"])


class PagesTest(ServiceTest):
    def test_a_page_goes_on_where_the_last_one_ended(self):
        gate = pathlib.Path(self.server.directory, "gate")
        first = group(exec_node("true", name="x"))
        first.name = "first"
        first.needs.append("wait")
        root = group(exec_node("sh", "-c", f"until test -e {gate}; do sleep 0.01; done",
                               name="wait"), first,
                     *(exec_node("sleep", "60", name=f"n{i}") for i in range(5)))
        name = self.submit(job.JobSpec(name="grows", root=root)).name
        wait_until(lambda: self.get(name).counts.running == 7)  # the root, wait, and five more
        request = job_service.ListNodesRequest(parent=name, page_size=4)
        page = self.jobs.ListNodes(request, timeout=PATIENCE)
        self.assertEqual([each.path for each in page.nodes], ["", "wait", "first", "n0"])
        gate.touch()
        wait_until(lambda: self.get(name).counts.succeeded == 3)  # wait, x, first
        request.page_token = page.next_page_token
        page = self.jobs.ListNodes(request, timeout=PATIENCE)
        self.assertEqual([each.path for each in page.nodes], ["n1", "n2", "n3", "n4"])


class OpenStreamsTest(ServiceTest):
    def test_health_watchers_without_a_name_are_few(self):
        watch = self.channel.unary_stream("/grpc.health.v1.Health/Watch")
        calls = [watch(b"", timeout=PATIENCE) for _ in range(64)]
        for call in calls:
            next(call)
        with self.assertRaises(grpc.RpcError) as raised:
            next(watch(b"", timeout=PATIENCE))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertGreater(details_of(raised.exception)["RetryInfo"].retry_delay.seconds, 0)
        for call in calls:
            call.cancel()
        wait_until(lambda: self.answers(watch))

    def test_those_at_a_port_leave_places_for_the_owners_socket(self):
        with tempfile.TemporaryDirectory() as directory:
            socket = f"unix:{directory}/own.sock"
            server = Server(directory, listen=[socket, "127.0.0.1:0"])
            self.addCleanup(server.stop)
            port = server.tcp_address()
            with grpc.insecure_channel(port) as far, grpc.insecure_channel(socket) as near:
                watch = far.unary_stream("/grpc.health.v1.Health/Watch")
                calls = [watch(b"", timeout=PATIENCE) for _ in range(64)]
                for call in calls:
                    next(call)
                self.assertFalse(self.answers(watch))
                self.assertTrue(self.answers(near.unary_stream("/grpc.health.v1.Health/Watch")))

    def answers(self, watch):
        call = watch(b"", timeout=PATIENCE)
        try:
            return next(call) == b"\x08\x01"
        except grpc.RpcError:
            return False
        finally:
            call.cancel()


if __name__ == "__main__":
    unittest.main()
