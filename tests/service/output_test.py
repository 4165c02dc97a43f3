"""ReadOutput: what a node writes, while it writes and afterwards."""

import itertools
import pathlib
import tempfile
import unittest

import grpc

from service import (PATIENCE, ServiceTest, details_of, event, exec_node, group, job, job_service,
                     resources)


class OutputTest(ServiceTest):
    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.signal = pathlib.Path(directory.name, "go-on")
        self.wait_for_signal = f"until [ -e {self.signal} ]; do sleep 0.01; done; "

    def submit_shell(self, script, **fields):
        spec = job.JobSpec(name="writer", root=group(exec_node("sh", "-c", script, name="w",
                                                               **fields)))
        return self.submit(spec).name

    def read(self, name, path="w", **fields):
        request = job_service.ReadOutputRequest(name=f"{name}/nodes/{path}", **fields)
        return self.jobs.ReadOutput(request, timeout=PATIENCE)

    def chunks(self, name, **fields):
        return [chunk for message in self.read(name, **fields) for chunk in message.chunks]

    @staticmethod
    def text(chunks, stream=None):
        return b"".join(each.data for each in chunks if stream in (None, each.stream))

    def test_what_is_written_comes_while_the_node_runs(self):
        name = self.submit_shell("echo one; " + self.wait_for_signal + "echo two")
        stream = self.read(name, follow=True)
        first = next(each for each in stream if each.chunks)
        self.assertEqual(self.text(first.chunks), b"one\n")
        self.signal.touch()
        rest = [chunk for message in stream for chunk in message.chunks]
        self.assertEqual(self.text(rest), b"two\n")
        self.assertEqual(rest[0].offset, 4)

    def test_a_reader_may_come_before_the_node_starts(self):
        spec = job.JobSpec(name="two", root=group(
            exec_node("sh", "-c", self.wait_for_signal, name="first"),
            exec_node("echo", "late", name="w", needs=["first"])))
        stream = self.read(self.submit(spec).name, follow=True)
        self.signal.touch()
        self.assertEqual(self.text([c for m in stream for c in m.chunks]), b"late\n")

    def test_the_streams_are_told_apart(self):
        name = self.submit_shell("echo out; echo err >&2")
        self.wait(name)
        chunks = self.chunks(name)
        self.assertEqual(self.text(chunks, event.OUTPUT_STREAM_STDOUT), b"out\n")
        self.assertEqual(self.text(chunks, event.OUTPUT_STREAM_STDERR), b"err\n")
        only = self.chunks(name, streams=[event.OUTPUT_STREAM_STDERR])
        self.assertEqual(self.text(only), b"err\n")

    def test_reading_begins_where_it_is_asked_to(self):
        name = self.submit_shell("printf 0123456789")
        self.wait(name)
        out = [event.OUTPUT_STREAM_STDOUT]
        self.assertEqual(self.text(self.chunks(name, streams=out, offset=7)), b"789")
        self.assertEqual(self.text(self.chunks(name, tail_bytes=2)), b"89")
        self.assertEqual(self.text(self.chunks(name, tail_bytes=99)), b"0123456789")
        for wrong in ({"offset": 1}, {"streams": out, "offset": -1}, {"tail_bytes": -1},
                      {"tail_lines": -1}, {"attempt": -1},
                      {"streams": out, "offset": 1, "recursive": True}):
            with self.assertRaises(grpc.RpcError) as raised:
                list(self.read(name, **wrong))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)

    def test_every_attempt_is_followed(self):
        retry = job.RetryPolicy(max_attempts=2)
        retry.backoff.initial.FromMilliseconds(1)
        name = self.submit_shell('echo "try $NURSERY_ATTEMPT"; ' + self.wait_for_signal +
                                 "[ $NURSERY_ATTEMPT = 2 ]", retry=retry)
        stream = self.read(name, follow=True)
        first = next(each for each in stream if each.chunks)
        self.signal.touch()
        chunks = [*first.chunks, *(c for m in stream for c in m.chunks)]
        self.assertEqual([(c.attempt, c.data) for c in chunks], [(1, b"try 1\n"), (2, b"try 2\n")])

    def test_what_is_not_kept_is_a_gap(self):
        size = 4 << 20
        name = self.submit_shell(f"head -c {size} /dev/zero; printf end")
        self.wait(name)
        chunks = self.chunks(name)
        self.assertEqual(sum(len(each.data) + each.gap for each in chunks), size + 3)
        self.assertGreater(max(each.gap for each in chunks), size // 2)
        self.assertTrue(self.text(chunks).endswith(b"end"))

    def test_a_node_that_wrote_nothing_is_told_from_one_that_never_ran(self):
        name = self.submit_shell("exit 0")
        self.wait(name)
        self.assertEqual(self.chunks(name), [])
        for path, fields in (("w2", {}), ("w2", {"follow": True}), ("w/x", {}), ("w[1]", {})):
            with self.assertRaises(grpc.RpcError) as raised:
                list(self.read(name, path, **fields))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
            self.assertEqual(details_of(raised.exception)["ErrorInfo"].reason, "NODE_NOT_FOUND")
        spec = job.JobSpec(name="skipped", root=group(
            exec_node("false", name="first"), exec_node("echo", name="w", needs=["first"])))
        name = self.wait(self.submit(spec).name).name
        with self.assertRaises(grpc.RpcError) as raised:
            list(self.read(name, follow=True))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)

    def test_reading_begins_so_many_lines_before_the_end(self):
        name = self.submit_shell("printf 'one\\ntwo\\n\\nfour\\n'; printf 'err\\nend' >&2")
        self.wait(name)
        for lines, out, err in ((0, b"", b""), (1, b"four\n", b"end"),
                                (2, b"\nfour\n", b"err\nend"),
                                (9, b"one\ntwo\n\nfour\n", b"err\nend")):
            chunks = self.chunks(name, tail_lines=lines)
            self.assertEqual(self.text(chunks, event.OUTPUT_STREAM_STDOUT), out)
            self.assertEqual(self.text(chunks, event.OUTPUT_STREAM_STDERR), err)

    def test_an_earlier_attempt_can_be_read(self):
        retry = job.RetryPolicy(max_attempts=3)
        retry.backoff.initial.FromMilliseconds(1)
        script = ('echo "try $NURSERY_ATTEMPT"; echo err >&2; '
                  '[ $NURSERY_ATTEMPT != 2 ] || head -c 100000 /dev/zero; exit 1')
        name = self.submit_shell(script, retry=retry)
        self.wait(name)
        err = event.OUTPUT_STREAM_STDERR
        for attempt in (1, 3):
            chunks = self.chunks(name, attempt=attempt)
            self.assertEqual({each.attempt for each in chunks}, {attempt})
            self.assertEqual(self.text(chunks), b"try %d\nerr\n" % attempt)
        # Over what its event has of it.
        chunks = self.chunks(name, attempt=2)
        self.assertEqual([(each.gap, len(each.data)) for each in chunks if each.stream != err],
                         [(100006, 0)])
        self.assertEqual(self.text(chunks, err), b"err\n")
        with self.assertRaises(grpc.RpcError) as raised:
            self.chunks(name, attempt=4)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)

    def test_all_below_a_node_can_be_read(self):
        inner = group(exec_node("echo", "x", name="x"),
                      exec_node("sh", "-c", self.wait_for_signal + "echo y", name="y"))
        inner.name = "in"
        spec = job.JobSpec(name="tree", root=group(
            exec_node("echo", "a", name="a"), inner, exec_node("echo", "z", name="z")))
        name = self.submit(spec).name
        stream = self.read(name, "in", recursive=True, follow=True)
        first = next(each for each in stream if each.chunks)
        self.assertEqual([(c.path, c.data) for c in first.chunks], [("in/x", b"x\n")])
        self.signal.touch()
        rest = [chunk for message in stream for chunk in message.chunks]
        self.assertEqual([(c.path, c.data) for c in rest], [("in/y", b"y\n")])
        self.wait(name)
        request = job_service.ReadOutputRequest(name=name, recursive=True)
        found = {c.path: c.data for m in self.jobs.ReadOutput(request) for c in m.chunks}
        self.assertEqual(found, {"a": b"a\n", "in/x": b"x\n", "in/y": b"y\n", "z": b"z\n"})


class OutputLimitTest(ServiceTest):
    config = "limits: {output_bytes: 5B}\n"

    def consumer_of(self, text, **options):
        producer = exec_node("printf", text, name="producer")
        producer.exec.output.CopyFrom(job.OutputSpec(**options))
        consumer = exec_node("cat", name="consumer", needs=["producer"])
        consumer.exec.stdin.output_of = "producer"
        name = self.submit(job.JobSpec(name="pair", root=group(producer, consumer))).name
        self.wait(name)
        return self.jobs.GetNode(job_service.GetNodeRequest(name=f"{name}/nodes/consumer"),
                                 timeout=PATIENCE)

    def test_what_is_longer_cannot_be_read_whole(self):
        self.assertEqual(self.consumer_of("12345").state, resources.NODE_STATE_SUCCEEDED)
        # Nor by a job that asks for more.
        for options in ({}, {"max": 100}):
            failed = self.consumer_of("123456", **options)
            self.assertEqual(failed.state, resources.NODE_STATE_FAILED)
            self.assertIn("6 bytes is over the limit of 5 bytes", str(failed))


class RunOutputTest(ServiceTest):
    """What RunJob sends of the output."""

    def run_job(self, root, mode=job_service.OUTPUT_MODE_UNSPECIFIED, **fields):
        request = job_service.RunJobRequest(job_spec=job.JobSpec(name="run", root=root),
                                            output=mode)
        return self.jobs.RunJob(request, timeout=PATIENCE, **fields)

    @staticmethod
    def shell(script, **fields):
        return exec_node("sh", "-c", script, **fields)

    @staticmethod
    def by_stream(messages):
        found = {}
        for chunk in (chunk for message in messages for chunk in message.output):
            key = (chunk.path, chunk.attempt, chunk.stream)
            found[key] = found.get(key, b"") + chunk.data
        return found

    def test_what_failed_attempts_wrote_comes_unless_it_is_not_wanted(self):
        retry = job.RetryPolicy(max_attempts=2)
        retry.backoff.initial.FromMilliseconds(1)
        root = group(self.shell("echo fine", name="good"),
                     self.shell('echo "out $NURSERY_ATTEMPT"; echo err >&2; exit 3', name="bad",
                                needs=["good"], retry=retry))
        out, err = event.OUTPUT_STREAM_STDOUT, event.OUTPUT_STREAM_STDERR
        failed = {("bad", 1, out): b"out 1\n", ("bad", 1, err): b"err\n",
                  ("bad", 2, out): b"out 2\n", ("bad", 2, err): b"err\n"}
        for mode in (job_service.OUTPUT_MODE_UNSPECIFIED, job_service.OUTPUT_MODE_FAILED):
            self.assertEqual(self.by_stream(self.run_job(root, mode)), failed)
        self.assertEqual(self.by_stream(self.run_job(root, job_service.OUTPUT_MODE_NONE)), {})
        found = self.by_stream(self.run_job(root, job_service.OUTPUT_MODE_ALL))
        self.assertEqual(found, {("good", 1, out): b"fine\n", **failed})

    def test_all_of_it_comes_while_it_is_written(self):
        with tempfile.TemporaryDirectory() as directory:
            go_on = pathlib.Path(directory, "go-on")
            script = f"echo one; until [ -e {go_on} ]; do sleep 0.01; done; echo two"
            stream = self.run_job(self.shell(script), job_service.OUTPUT_MODE_ALL)
            first = next(each for each in stream if each.output)
            self.assertEqual(first.output[0].data, b"one\n")
            go_on.touch()
            rest = list(stream)
        chunk = next(each for message in rest for each in message.output)
        self.assertEqual((chunk.data, chunk.offset, chunk.path), (b"two\n", 4, ""))
        self.assertEqual(rest[-1].result.output, b"one\ntwo\n")

    def test_items_that_succeeded_are_told_too(self):
        root = job.NodeSpec(map=job.MapSpec(node=self.shell("echo $NURSERY_ITEM"), workers=1))
        root.map.items.range.to = 300
        found = self.by_stream(self.run_job(root, job_service.OUTPUT_MODE_ALL))
        self.assertEqual(len(found), 300)
        self.assertEqual(found["[7]", 1, event.OUTPUT_STREAM_STDOUT], b"7\n")

    def test_a_reader_that_is_too_slow_is_told_what_it_has_missed(self):
        # More than connection and server hold: the rest waits for a reader that does not come.
        size, count = 1 << 20, 600
        root = job.NodeSpec(map=job.MapSpec(node=self.shell(f"head -c {size} /dev/zero"),
                                            workers=8))
        root.map.items.range.to = count
        stream = self.run_job(root, job_service.OUTPUT_MODE_ALL)
        first = next(stream)
        self.wait(first.job)
        messages = itertools.chain([first], stream)
        chunks = [chunk for message in messages for chunk in message.output]
        self.assertEqual(sum(len(each.data) + each.gap for each in chunks), size * count)
        left_out = [each for each in chunks if each.attempt == 0]
        self.assertTrue(left_out)
        self.assertTrue(all(not each.data and not each.path for each in left_out))


if __name__ == "__main__":
    unittest.main()
