"""ReadOutput: what a node writes, while it writes and afterwards."""

import pathlib
import tempfile
import unittest

import grpc

from service import (PATIENCE, ServiceTest, event, exec_node, group, job, job_service)


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
        for wrong in ({"offset": 1}, {"streams": out, "offset": -1}, {"tail_bytes": -1}):
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
        for path, fields in (("w2", {}), ("w2", {"follow": True})):
            with self.assertRaises(grpc.RpcError) as raised:
                list(self.read(name, path, **fields))
            self.assertEqual(raised.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)


if __name__ == "__main__":
    unittest.main()
