"""The HTTP port of a server: what it answers, to whom, and where it listens."""

import json
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

from observed import fetch
from service import BIN, PATIENCE, Server, ServiceTest, admin, exec_node, job, wait_until


class PagesTest(ServiceTest):
    def setUp(self):
        super().setUp()
        wait_until(lambda: self.fetch("/readyz")[0] == 200)

    def fetch(self, path, method="GET", **headers):
        return fetch(self.server.http, path, method, **headers)

    def token(self):
        return (self.server.directory / "data" / "token").read_text().split()[-1]

    def test_health_and_metrics_are_for_everybody(self):
        self.assertEqual(self.fetch("/healthz")[::2], (200, "ok\n"))
        self.assertEqual(self.fetch("/readyz")[::2], (200, "ok\n"))
        status, headers, body = self.fetch("/metrics")
        self.assertEqual(status, 200)
        self.assertIn("version=0.0.4", headers["Content-Type"])
        self.assertIn("\nnursery_jobs_submitted_total 0\n", body)

    def test_head_has_the_headers_alone(self):
        status, headers, body = self.fetch("/healthz", method="HEAD")
        self.assertEqual((status, headers["Content-Length"], body), (200, "3", ""))

    def test_nothing_can_be_changed(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = self.fetch("/metrics", method=method)
            self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"), method)

    def test_other_names_are_refused(self):
        port = self.server.http.rpartition(":")[2]
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"[::1]:{port}", "[::1]"):
            self.assertEqual(self.fetch("/healthz", Host=host)[0], 200, host)
        for host in ("example.org", f"example.org:{port}", "127.0.0.1.example.org", "localhost:x:1",
                     "::1", ""):
            self.assertEqual(self.fetch("/healthz", Host=host)[0], 403, host)

    def test_unknown_pages_name_those_there_are(self):
        status, _, body = self.fetch("/nonsense")
        self.assertEqual(status, 404)
        self.assertIn("/metrics", body)

    def test_the_dump_needs_the_token(self):
        status, headers, _ = self.fetch("/debug/tasks")
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, "Bearer"))
        self.assertEqual(self.fetch("/debug/tasks", Authorization="Bearer nonsense")[0], 401)
        bearer = "Bearer " + self.token()
        status, _, body = self.fetch("/debug/tasks", Authorization=bearer)
        self.assertEqual(status, 200)
        self.assertRegex(body, r"task \d+ \[.*\] jobs")
        self.assertEqual(self.fetch("/debug/tasks?debug=2", Authorization=bearer)[0], 200)
        status, _, body = self.fetch("/debug/tasks?format=pprof", Authorization=bearer)
        self.assertEqual(status, 400)
        self.assertIn("not in this version", body)
        self.assertIn("debug=1", body)

    def test_the_dump_has_its_forms(self):
        bearer = "Bearer " + self.token()
        # Its task may not have come to its wait yet.
        waiting = re.compile(r"\n1 task \[channel receive, longest .*\] jobs\n")
        status, headers, body = wait_until(lambda: next(
            (answer for answer in [self.fetch("/debug/tasks?debug=1", Authorization=bearer)]
             if waiting.search(answer[2])), None))
        self.assertEqual((status, headers["Content-Type"]), (200, "text/plain; charset=utf-8"))
        self.assertRegex(body, r"^\d+ tasks in \d+ groups\n")
        status, headers, body = self.fetch("/debug/tasks?format=json", Authorization=bearer)
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        (executor,) = json.loads(body)["executors"]
        self.assertIn("nurseryd", [each["name"] for each in executor["tasks"]])
        for query, expected in (("stuck=1", "0 tasks\n"),
                                ("stuck=1&debug=1", "0 tasks in 0 groups\n")):
            status, _, body = self.fetch("/debug/tasks?" + query, Authorization=bearer)
            self.assertEqual((status, body), (200, expected))
        for query in ("debug=3", "stuck", "debug=1&x=1", "&"):
            self.assertEqual(self.fetch("/debug/tasks?" + query, Authorization=bearer)[0], 400)

    def test_a_silent_client_keeps_nobody_out(self):
        host, _, port = self.server.http.rpartition(":")
        with socket.create_connection((host, int(port))):
            self.assertEqual(self.fetch("/healthz")[0], 200)

    def test_a_stopping_server_is_alive_and_not_ready(self):
        deaf = self.server.directory / "deaf"
        self.submit(job.JobSpec(name="stubborn", root=exec_node(
            "sh", "-c", f"trap '' TERM; touch {deaf}; while :; do sleep 60; done", self.mark)))
        wait_until(deaf.exists)
        request = admin.DrainServerRequest()
        request.timeout.FromSeconds(PATIENCE)
        self.admin.DrainServer(request)
        status, _, body = wait_until(
            lambda: (answer := self.fetch("/readyz"))[0] == 503 and answer)
        self.assertEqual((status, body), (503, "the server is stopping\n"))
        self.assertEqual(self.fetch("/healthz")[0], 200)
        # A second request kills what ignores SIGTERM.
        self.admin.DrainServer(request)
        self.assertEqual(self.server.process.wait(PATIENCE), 0)


class ReaderTest(unittest.TestCase):
    def test_the_dump_needs_the_right_to_read(self):
        with tempfile.TemporaryDirectory() as directory:
            tokens = pathlib.Path(directory, "tokens")
            tokens.write_text("writer aaaaaaaaaaaaaaaa submit\nreader bbbbbbbbbbbbbbbb read\n")
            tokens.chmod(0o600)
            server = Server(directory, config=f"auth: {{token_file: {tokens}}}\n")
            self.addCleanup(server.stop)
            for token, expected in (("a" * 16, 403), ("b" * 16, 200)):
                status, _, _ = fetch(server.http, "/debug/tasks", Authorization="Bearer " + token)
                self.assertEqual(status, expected)


class StartTest(ServiceTest):
    def start(self, address):
        """(exit code, stderr) of a server that cannot serve HTTP there."""
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                [str(BIN / "nurseryd"), "--data", directory, "--listen", f"unix:{directory}/s",
                 "--http", address], stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                check=False)
        return done.returncode, done.stderr

    def test_a_taken_port_is_told_in_one_line(self):
        code, text = self.start(self.server.http)
        self.assertEqual((code, text.count("\n")), (1, 1), text)
        self.assertIn(self.server.http, text)
        self.assertIn("already in use", text)

    def test_only_loopback_is_served(self):
        for address in ("0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.org:80"):
            code, text = self.start(address)
            self.assertEqual((code, text.count("\n")), (1, 1), text)
            self.assertIn(f"--http {address}: not in this version", text)
        for address in ("nonsense", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000", ":80"):
            self.assertIn("must be HOST:PORT, or none", self.start(address)[1])

    def test_none_serves_nothing(self):
        with tempfile.TemporaryDirectory() as directory:
            server = Server(directory, "--http", "none")
            self.addCleanup(server.stop)
            self.assertEqual(server.http, "")


if __name__ == "__main__":
    unittest.main()
