"""Who may speak to the server, where it listens, and how it starts and stops."""

import json
import os
import pathlib
import re
import resource
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

import grpc

from service import (BIN, PATIENCE, Server, ServiceTest, admin, admin_stub, config, details_of,
                     exec_node, introspection, introspection_stub, job, job_service, job_stub,
                     marked, options, wait_until)


class SocketTest(ServiceTest):
    def test_the_socket_is_its_owners(self):
        mode = stat.S_IMODE(os.stat(self.server.socket).st_mode)
        self.assertEqual(mode, 0o600)
        token = self.server.directory / "data" / "token"
        self.assertEqual(stat.S_IMODE(os.stat(token).st_mode), 0o600)

    def test_the_server_tells_about_itself(self):
        info = self.introspection.GetServerInfo(introspection.GetServerInfoRequest())
        self.assertIn("noop", info.functions)
        self.assertEqual(info.limits["live_jobs"], 10000)
        stats = self.introspection.GetServerStats(introspection.GetServerStatsRequest())
        self.assertGreater(stats.tasks, 0)
        pools = self.introspection.ListPools(introspection.ListPoolsRequest()).pools
        self.assertEqual([each.name for each in pools], ["pools/default", "pools/io"])

    def test_the_dump_shows_the_call_itself(self):
        chunks = self.introspection.DumpTasks(introspection.DumpTasksRequest())
        text = b"".join(each.chunk for each in chunks).decode()
        self.assertIn("/nursery.v1.IntrospectionService/DumpTasks", text)

    def test_no_task_of_a_healthy_server_waits_for_itself(self):
        self.submit(self.sleepers(3))
        wait_until(lambda: len(marked(self.mark)) >= 3)
        found = self.introspection.FindWaitCycles(introspection.FindWaitCyclesRequest())
        self.assertEqual(found, introspection.FindWaitCyclesResponse())

    def dump(self, **fields):
        chunks = self.introspection.DumpTasks(introspection.DumpTasksRequest(**fields))
        return b"".join(each.chunk for each in chunks).decode()

    def test_the_dump_counts_like_tasks_together(self):
        for _ in range(3):
            self.submit(self.sleepers(1))
        wait_until(lambda: len(marked(self.mark)) >= 3)
        text = self.dump(aggregate=True)
        head = re.match(r"(\d+) tasks in (\d+) groups\n", text)
        groups = re.findall(r"\n\n(\d+) tasks? \[", text)
        self.assertEqual(len(groups), int(head[2]))
        self.assertEqual(sum(map(int, groups)), int(head[1]))
        self.assertEqual(groups, sorted(groups, key=int, reverse=True))
        self.assertGreaterEqual(int(groups[0]), 3)

    def test_the_dump_as_json_names_every_parent(self):
        (executor,) = json.loads(self.dump(format="DUMP_FORMAT_JSON"))["executors"]
        ids = [each["id"] for each in executor["tasks"]]
        self.assertEqual(len(ids), len(set(ids)))
        for each in executor["tasks"]:
            self.assertIn(each["parent_id"], [0, *ids])
            self.assertGreaterEqual(each["age_seconds"], 0)
        names = {each["name"] for each in executor["tasks"]}
        self.assertIn("nurseryd", names)
        self.assertIn("/nursery.v1.IntrospectionService/DumpTasks", names)

    def test_nothing_is_stuck_in_a_server_that_is_well(self):
        self.assertEqual(self.dump(stuck_only=True), "0 tasks\n")
        self.assertEqual(self.dump(stuck_only=True, aggregate=True), "0 tasks in 0 groups\n")
        stats = self.introspection.GetServerStats(introspection.GetServerStatsRequest())
        self.assertEqual(stats.stuck_tasks, 0)

    def test_what_the_dump_does_not_have_is_refused_by_name(self):
        for fields, code, words in (
                ({"format": "DUMP_FORMAT_PPROF"}, grpc.StatusCode.UNIMPLEMENTED, "pprof"),
                ({"scope": "jobs/x"}, grpc.StatusCode.UNIMPLEMENTED, "scope"),
                ({"format": 77}, grpc.StatusCode.INVALID_ARGUMENT, "format"),
                ({"format": "DUMP_FORMAT_JSON", "aggregate": True},
                 grpc.StatusCode.INVALID_ARGUMENT, "aggregate: goes with text only")):
            with self.assertRaises(grpc.RpcError) as raised:
                self.dump(**fields)
            self.assertEqual(raised.exception.code(), code)
            self.assertIn(words, raised.exception.details())

    def test_a_second_server_is_told_in_one_line(self):
        with tempfile.TemporaryDirectory() as other:
            free = {"--listen": f"unix:{other}/s", "--data": other, "--http": "127.0.0.1:0"}
            ours = {"--listen": f"unix:{self.server.socket}",
                    "--data": str(self.server.directory / "data"), "--http": self.server.http}
            for taken, expected in (("--listen", "another server listens on"),
                                    ("--data", f"pid {self.server.process.pid} uses"),
                                    ("--http", self.server.http)):
                arguments = sum(map(list, {**free, taken: ours[taken]}.items()), [])
                done = subprocess.run([str(BIN / "nurseryd"), *arguments], stderr=subprocess.PIPE,
                                      text=True, timeout=PATIENCE, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn(expected, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.introspection.GetServerInfo(introspection.GetServerInfoRequest())

    def test_a_killed_servers_socket_and_data_are_taken_over(self):
        self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=self.sleepers(2)))
        wait_until(lambda: len(marked(self.mark)) >= 2)
        os.kill(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()
        second = Server(self.server.directory)
        self.addCleanup(second.stop)
        self.assertEqual(marked(self.mark), [])
        with second.channel() as channel:
            stub = introspection_stub.IntrospectionServiceStub(channel)
            stub.GetServerInfo(introspection.GetServerInfoRequest(), timeout=PATIENCE)

    def test_drain_stops_the_server(self):
        self.submit(self.sleepers(2))
        answer = self.admin.DrainServer(admin.DrainServerRequest())
        self.assertEqual(answer.cancelled_jobs, 1)
        self.assertEqual(self.server.process.wait(PATIENCE), 0)
        self.assertEqual(marked(self.mark), [])

    def test_a_drain_without_a_timeout_has_that_of_the_server(self):
        with tempfile.TemporaryDirectory() as directory:
            server = Server(directory, "--drain-timeout", "1ms")
            self.addCleanup(server.stop)
            with server.channel() as channel:
                stub = job_stub.JobServiceStub(channel)
                root = exec_node("sh", "-c", "trap '' TERM; touch up; while :; do sleep 60; done",
                                 self.mark)
                root.grace.FromSeconds(3600)
                spec = job.JobSpec(name="x", root=root, workdir=directory)
                stub.SubmitJob(job_service.SubmitJobRequest(job_spec=spec), timeout=PATIENCE)
                wait_until(pathlib.Path(directory, "up").exists)
                admin_stub.AdminServiceStub(channel).DrainServer(admin.DrainServerRequest(),
                                                                 timeout=PATIENCE)
            # Far less than the default of the option.
            self.assertEqual(server.process.wait(20), 0)
        self.assertEqual(marked(self.mark), [])

    def test_health_and_reflection_answer(self):
        # As raw bytes: the messages are two fields each.
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(check(b"", timeout=PATIENCE), b"\x08\x01")
        with self.assertRaises(grpc.RpcError) as raised:
            check(b"\x0a\x04nope", timeout=PATIENCE)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
        reflect = self.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        answer = b"".join(reflect(iter([b"\x3a\x00"]), timeout=PATIENCE))
        self.assertIn(b"nursery.v1.JobService", answer)

    def test_unknown_methods_are_unimplemented(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.channel.unary_unary("/no.such.Service/Method")(b"", timeout=PATIENCE)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_message_that_is_none_is_an_error(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.channel.unary_unary("/nursery.v1.JobService/GetJob")(b"\xff\xff", timeout=PATIENCE)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)


class TcpTest(ServiceTest):
    listen = ["127.0.0.1:0"]

    def token(self):
        return (self.server.directory / "data" / "token").read_text().strip()

    def info(self, *metadata):
        return self.introspection.GetServerInfo(introspection.GetServerInfoRequest(),
                                                metadata=metadata, timeout=PATIENCE)

    def test_the_right_token_may_speak(self):
        self.assertTrue(self.info(("authorization", "Bearer " + self.token())).version)

    def test_without_a_token_nothing_starts(self):
        spec = job.JobSpec(name="x", root=exec_node("sh", "-c", "sleep 60; :", self.mark))
        for metadata in ((), (("authorization", "Bearer wrong-wrong-wrong-wrong"),),
                         (("authorization", self.token()),)):
            with self.assertRaises(grpc.RpcError) as raised:
                self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=spec), metadata=metadata,
                                    timeout=PATIENCE)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
            self.assertEqual(details_of(raised.exception)["ErrorInfo"].reason, "UNAUTHENTICATED")
        jobs = self.jobs.ListJobs(job_service.ListJobsRequest(),
                                  metadata=(("authorization", "Bearer " + self.token()),))
        self.assertEqual(len(jobs.jobs), 0)
        self.assertEqual(marked(self.mark), [])

    def test_directories_are_for_local_clients(self):
        spec = job.JobSpec(name="x", workdir="/", root=exec_node("true"))
        with self.assertRaises(grpc.RpcError) as raised:
            self.jobs.SubmitJob(job_service.SubmitJobRequest(job_spec=spec),
                                metadata=(("authorization", "Bearer " + self.token()),))
        self.assertIn("job_spec.workdir", raised.exception.details())

    def test_a_port_is_never_shared(self):
        with tempfile.TemporaryDirectory() as other:
            done = subprocess.run(
                [str(BIN / "nurseryd"), "--listen", self.server.address, "--data", other,
                 "--http", "127.0.0.1:0"],
                stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another server listens on " + self.server.address, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_silent_connections_are_bounded_for_each_peer(self):
        host, _, port = self.server.address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(300)]
        self.addCleanup(lambda: [each.close() for each in silent])
        closed = wait_until(lambda: [each for each in silent if self.is_closed(each)])
        self.assertGreaterEqual(len(closed), 1)
        self.assert_answers_after(silent)

    def test_a_server_out_of_descriptors_goes_on(self):
        pid = self.server.process.pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 20, used + 20))
        host, _, port = self.server.address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(60)]
        self.addCleanup(lambda: [each.close() for each in silent])
        wait_until(lambda: any(self.is_closed(each) for each in silent))
        self.assert_answers_after(silent)

    def assert_answers_after(self, connections):
        for each in connections:
            each.close()
        # Again and again, until the server has seen them go.
        answer = self.introspection.GetServerInfo(
            introspection.GetServerInfoRequest(), wait_for_ready=True, timeout=PATIENCE,
            metadata=(("authorization", "Bearer " + self.token()),))
        self.assertTrue(answer.version)

    @staticmethod
    def is_closed(connection):
        connection.settimeout(0)
        try:
            return connection.recv(1 << 16) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


class ScopesTest(unittest.TestCase):
    def test_a_token_may_do_what_its_scopes_say(self):
        with tempfile.TemporaryDirectory() as directory:
            tokens = pathlib.Path(directory, "tokens")
            tokens.write_text("# readers\nreader aaaaaaaaaaaaaaaa read\nall bbbbbbbbbbbbbbbb\n")
            tokens.chmod(0o600)
            server = Server(directory, listen=["127.0.0.1:0"],
                            config=f"auth: {{token_file: {tokens}}}\n")
            self.addCleanup(server.stop)
            with server.channel() as channel:
                stub = job_stub.JobServiceStub(channel)
                reader = (("authorization", "Bearer aaaaaaaaaaaaaaaa"),)
                stub.ListJobs(job_service.ListJobsRequest(), metadata=reader)
                spec = job.JobSpec(name="x", root=exec_node("true"))
                request = job_service.SubmitJobRequest(job_spec=spec)
                with self.assertRaises(grpc.RpcError) as raised:
                    stub.SubmitJob(request, metadata=reader)
                self.assertEqual(raised.exception.code(), grpc.StatusCode.PERMISSION_DENIED)
                stub.SubmitJob(request, metadata=(("authorization", "Bearer bbbbbbbbbbbbbbbb"),))


class ConfigTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def mistakes(self, text):
        """What --check-config says about a configuration, line by line."""
        file = self.directory / "c.yaml"
        file.write_text(text)
        done = subprocess.run([str(BIN / "nurseryd"), "--check-config", "--config", "c.yaml"],
                              cwd=self.directory, stderr=subprocess.PIPE, text=True, check=False,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 2 if done.stderr else 0, done.stderr)
        return done.stderr.removeprefix("nurseryd: ").splitlines()

    def test_no_limit_is_negative(self):
        for section, message in (("limits", config.LimitsConfig),
                                 ("retention", config.RetentionConfig)):
            for field in message.DESCRIPTOR.fields:
                if field.message_type is not None:
                    value, what = "-1s", "must not be negative"
                elif field.GetOptions().Extensions[options.byte_size]:
                    value, what = "-1KiB", "is not a size"
                else:
                    value, what = "-1", "-1 must not be negative; 0 is the default"
                found = self.mistakes(f"{section}:\n  {field.name}: {value}\n")
                place = f"c.yaml:2:{len(field.name) + 5}: {section}.{field.name}: "
                self.assertTrue([each for each in found if each.startswith(place)
                                 and what in each], (field.name, found))

    def test_what_tls_needs_is_asked_for(self):
        for named, place in (("tls_certificate_file: a", "needs tls_key_file beside it"),
                             ("tls_key_file: a", "needs tls_certificate_file beside it"),
                             ("tls_client_ca_file: a", "needs tls_certificate_file and "
                              "tls_key_file beside it: without them no TLS")):
            field = named.partition(":")[0]
            expected = f"c.yaml:2:{len(field) + 5}: auth.{field}: {place}"
            self.assertEqual(self.mistakes(f"auth:\n  {named}\n"), [expected])

    def test_calls_per_connection_have_a_bound(self):
        self.assertEqual(self.mistakes("limits: {calls_per_connection: 1000000}\n"), [])
        self.assertEqual(self.mistakes("limits: {calls_per_connection: 1000001}\n"), [
            "c.yaml:1:32: limits.calls_per_connection: must be at most 1000000"])

    def test_tasks_have_a_least_number(self):
        self.assertEqual(self.mistakes("limits: {tasks: 100}\n"), [])
        self.assertEqual(self.mistakes("limits: {tasks: 99}\n"), [
            "c.yaml:1:17: limits.tasks: must be at least 100"])

    def test_files_are_read_and_every_mistake_is_said(self):
        (self.directory / "tokens").write_text("short\n")
        (self.directory / "tokens").chmod(0o600)
        (self.directory / "pem").write_text("nonsense\n")
        auth = "auth:\n  token_file: tokens\n  tls_certificate_file: pem\n  tls_key_file: "
        self.assertEqual(self.mistakes(auth + "pem\nlimits: {calls: -1}\n"), [
            "c.yaml:2:15: auth.token_file: tokens:1: a token has at least 16 characters",
            "c.yaml:3:25: auth.tls_certificate_file: holds no certificate in PEM",
            "c.yaml:5:17: limits.calls: -1 must not be negative; 0 is the default"])
        (self.directory / "tokens").write_text("x" * 16 + "\n")
        self.assertEqual(self.mistakes(auth + "none\n"),
                         ["c.yaml:4:17: auth.tls_key_file: none: No such file or directory"])
        self.assertEqual(self.mistakes("auth: {token_file: tokens}\n"), [])
        (self.directory / "tokens").chmod(0o644)
        self.assertEqual(self.mistakes("auth: {token_file: tokens}\n"), [
            "c.yaml:1:20: auth.token_file: others may read the token file tokens; chmod 600 it"])


class RelativeDirectoryTest(ServiceTest):
    def test_processes_run_below_a_data_directory_that_was_named_relatively(self):
        self.server.stop()
        directory = self.server.directory
        self.server = Server(directory, prefix=("env", "-C", str(directory)), data="here")
        self.addCleanup(self.server.stop)
        with self.server.channel() as channel:
            jobs = job_stub.JobServiceStub(channel)
            call = jobs.RunJob(job_service.RunJobRequest(job_spec=job.JobSpec(
                name="where", root=exec_node("pwd"))), timeout=PATIENCE)
            output = list(call)[-1].result.output.decode()
        self.assertTrue(output.startswith(str(directory / "here" / "scratch")), output)


class FileLimitTest(ServiceTest):
    def test_the_server_may_open_more_files_than_what_it_starts(self):
        self.server.stop()
        self.server = Server(self.server.directory, prefix=("prlimit", "--nofile=300:2000"))
        self.addCleanup(self.server.stop)
        soft, hard = resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE)
        self.assertEqual((soft, hard), (2000, 2000))
        with self.server.channel() as channel:
            jobs = job_stub.JobServiceStub(channel)
            call = jobs.RunJob(job_service.RunJobRequest(job_spec=job.JobSpec(
                name="limit", root=exec_node("sh", "-c", "ulimit -Sn; ulimit -Hn"))),
                timeout=PATIENCE)
            self.assertEqual(list(call)[-1].result.output, b"300\n2000\n")


class StartTest(unittest.TestCase):
    def refused(self, *arguments):
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run([str(BIN / "nurseryd"), "--data", directory, "--http",
                                   "127.0.0.1:0", *arguments],
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_other_machines_need_tls(self):
        self.assertIn("needs TLS", self.refused("--listen", "0.0.0.0:0"))

    def test_addresses_and_files_are_checked(self):
        self.assertIn("must be unix:PATH or HOST:PORT", self.refused("--listen", "nonsense"))
        self.assertIn("no-such.yaml", self.refused("--config", "no-such.yaml"))
        self.assertIn("1 to 107 bytes", self.refused("--listen", "unix:/" + "x" * 200))

    def test_a_configuration_is_checked_with_its_places(self):
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory, "c.yaml")
            for text, expected in (
                    ("pools: [{name: a, slots: 0}]\n", "1:26: pools[0].slots: must be between"),
                    ("polls: []\n", "1:1: polls: unknown field; did you mean 'pools'?"),
                    ("http: {allowed_hosts: [a]}\n", "http: not in this version")):
                file.write_text(text)
                done = subprocess.run([str(BIN / "nurseryd"), "--check-config", "--config",
                                       str(file)], stderr=subprocess.PIPE, text=True, check=False)
                self.assertEqual(done.returncode, 2, text)
                self.assertIn(expected, done.stderr)
            file.write_text("pools: [{name: default, slots: 3}]\n")
            subprocess.run([str(BIN / "nurseryd"), "--check-config", "--config", str(file)],
                           check=True)


if __name__ == "__main__":
    unittest.main()
