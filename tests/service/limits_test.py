"""Limits of whole attempts, where they hold and where not; and programs of other users."""

import os
import pathlib
import pwd
import subprocess
import tempfile
import unittest

import grpc

from deaths import levels_here
from service import (BIN, PATIENCE, Server, ServiceTest, details_of, exec_node, group,
                     introspection, introspection_stub, job, job_service, job_stub, marked,
                     programs_for_all, resources, wait_until)

NAMES = levels_here()
ALL = ("memory", "pids", "cpu_weight")
NOBODY = pwd.getpwuid(65534).pw_name
AS_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def limited(*argv, **limits):
    action = job.ExecAction(argv=argv, limits=job.ResourceLimits(**limits))
    return job.JobSpec(name="limited", root=group(job.NodeSpec(name="x", exec=action)))


class AllLimitsTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def start(self, config):
        server = Server(self.directory.name, config=config)
        self.addCleanup(server.stop)
        channel = server.channel()
        self.addCleanup(channel.close)
        info = introspection_stub.IntrospectionServiceStub(channel).GetServerInfo(
            introspection.GetServerInfoRequest(), timeout=PATIENCE)
        held = {name.partition(".")[2] for name in info.features if name.startswith("limits.")}
        return server, job_stub.JobServiceStub(channel), [each for each in ALL if each not in held]

    def test_what_does_not_hold_is_said_before_and_after(self):
        spec = limited("true", memory=1 << 30, pids=100, cpu_weight=50)
        for level in NAMES:
            with self.subTest(level):
                server, jobs, missing = self.start(f"exec: {{containment: {level}}}\n")
                if level != "cgroup":
                    self.assertEqual(tuple(missing), ALL)
                log = wait_until(lambda: "containment " in server.log_text()
                                 and server.log_text())
                self.assertEqual("(not enforced: limits of " in log, bool(missing))
                why = "not enforced " + ("here" if level == "cgroup" else "at this level")
                expected = [(f"root.group.nodes[0].exec.limits.{each}", why) for each in missing]
                validated = jobs.ValidateJob(job_service.ValidateJobRequest(job_spec=spec),
                                             timeout=PATIENCE)
                self.assertEqual([(each.path, each.message[:len(why)])
                                  for each in validated.warnings],
                                 [("job_spec." + path, text) for path, text in expected])
                for validate_only in (True, False):
                    submitted = jobs.SubmitJob(job_service.SubmitJobRequest(
                        job_spec=spec, validate_only=validate_only), timeout=PATIENCE)
                    told = list(submitted.limits_not_enforced)
                    self.assertEqual(len(told), len(expected), told)
                    for text, (path, _) in zip(told, expected):
                        self.assertTrue(text.startswith(f"{path}: {why}"), text)
                done = jobs.WaitJob(job_service.WaitJobRequest(name=submitted.name),
                                    timeout=PATIENCE)
                self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED)
                node = jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/x"),
                                    timeout=PATIENCE)
                self.assertEqual(list(node.attempts[0].limits_not_enforced), missing)
                self.assertEqual(server.stop(), 0)
                pathlib.Path(self.directory.name, "log").unlink()

    def test_the_command_line_warns(self):
        best, _, missing = self.start("")
        best.stop()
        server, _, _ = self.start("exec: {containment: subreaper}\n")
        file = pathlib.Path(self.directory.name, "job.yaml")
        file.write_text("name: x\nexec: {argv: [\"true\"], limits: {memory: 64MiB}}\n")
        warning = "warning: root.exec.limits.memory: not enforced at this level: containment is " \
                  "subreaper, and a cgroup is needed\n"
        for command in ("submit", "run"):
            done = subprocess.run([BIN / "nursery", command, "--server", server.address, file],
                                  capture_output=True, text=True, check=True)
            self.assertIn(warning, done.stderr)
        here = subprocess.run([BIN / "nursery", "run", file], capture_output=True, text=True,
                              check=True)
        if "memory" in missing:
            self.assertIn("warning: root.exec.limits.memory: not enforced ", here.stderr)
        file.write_text("name: x\nexec: {argv: [\"true\"], limits: {open_files: 64}}\n")
        plain = subprocess.run([BIN / "nursery", "run", file], capture_output=True, text=True,
                               check=True)
        self.assertNotIn("warning", plain.stderr)


class HeldLimitsTest(ServiceTest):
    def run_limited(self, *argv, **limits):
        (name,) = limits
        info = self.introspection.GetServerInfo(introspection.GetServerInfoRequest())
        if "limits." + name not in info.features:
            self.skipTest(f"limits.{name} does not hold here: " + self.server.log_text())
        done = self.wait(self.submit(limited(*argv, **limits)).name)
        return self.jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/x"))

    def test_what_ran_out_of_memory_is_said_to_have(self):
        node = self.run_limited("sh", "-c", "head -c 200000000 /dev/zero | tail; sleep 60",
                                memory=32 << 20)
        attempt = node.attempts[0]
        self.assertTrue(attempt.oom)
        self.assertEqual(attempt.signal, 9)
        self.assertIn("out of memory, with limits.memory of 33554432", attempt.status.message)
        self.assertLessEqual(attempt.usage.peak_memory_bytes, 32 << 20)
        self.assertGreater(attempt.usage.peak_memory_bytes, 16 << 20)

    def test_more_processes_than_allowed_do_not_start(self):
        node = self.run_limited("sh", "-c", "sleep 60 & sleep 60 & sleep 60 & exit 0", pids=3)
        self.assertEqual(node.attempts[0].exit_code, 2)
        self.assertFalse(node.attempts[0].oom)


def as_user(user, *argv):
    action = job.ExecAction(argv=argv, user=user)
    return job.JobSpec(name="as-user", root=group(job.NodeSpec(name="x", exec=action)))


@unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
class UserTest(ServiceTest):
    config = f"exec: {{users: [{NOBODY}]}}\n"

    def setUp(self):
        super().setUp()
        # As /var/lib: what is above the data directory lets all through.
        os.chmod(self.server.directory, 0o711)

    def output(self, *argv):
        done = self.wait(self.submit(as_user(NOBODY, *argv)).name)
        node = self.jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/x"))
        self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED, node.attempts)
        return node.attempts[0].stdout.inline_data.decode().split("\n")[:-1]

    def test_it_has_the_rights_the_home_and_a_directory_of_the_account(self):
        script = "id -un; id -ru; echo $HOME $USER $LOGNAME; touch file $TMPDIR/other; ls; " \
                 "pwd; echo $TMPDIR; echo again > /dev/stdout; grep NoNewPrivs /proc/self/status"
        said = self.output("sh", "-c", script)
        home = pwd.getpwnam(NOBODY).pw_dir
        self.assertEqual(said[:5], [NOBODY, "65534", f"{home} {NOBODY} {NOBODY}", "file",
                                    "other"])
        self.assertEqual(said[5], said[6])
        self.assertEqual(said[7:], ["again", "NoNewPrivs:\t1"])
        self.assertFalse(pathlib.Path(said[5]).exists())

    def test_it_sees_no_more_of_the_data_directory(self):
        data = pathlib.Path(self.server.directory, "data")
        script = f"ls {data} {data}/scratch; cat {data}/token {data}/instance {data}/lock; exit 0"
        self.assertEqual(self.output("sh", "-c", script + " 2>/dev/null"), [])

    def test_all_that_it_has_started_is_ended(self):
        spec = as_user(NOBODY, "sh", "-c", "setsid sh -c 'sleep 60; :' $0 & sleep 60; :",
                       self.mark)
        name = self.submit(spec).name
        wait_until(lambda: len(marked(self.mark)) == 2)
        receipt = self.jobs.CancelJob(job_service.CancelJobRequest(
            name=name, wait=True, mode=job_service.CANCEL_MODE_KILL), timeout=PATIENCE)
        self.assertTrue(receipt.complete)
        self.assertGreaterEqual(receipt.killed, 2)
        self.assertEqual(marked(self.mark), [])

    def test_others_are_refused(self):
        for user in ("root", "no-such-user"):
            error = self.assert_fails(
                grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
                job_service.SubmitJobRequest(job_spec=as_user(user, "true")))
            (violation,) = details_of(error)["BadRequest"].field_violations
            self.assertEqual(violation.field, "job_spec.root.group.nodes[0].exec.user")
            self.assertEqual(violation.description, f"'{user}' is not among exec.users of the "
                                                    f"server's configuration: {NOBODY}")


class NoUserTest(ServiceTest):
    def test_without_a_configuration_nobody_can_be_named(self):
        error = self.assert_fails(
            grpc.StatusCode.INVALID_ARGUMENT, self.jobs.SubmitJob,
            job_service.SubmitJobRequest(job_spec=as_user(NOBODY, "true")))
        self.assertIn("configuration, which has none", error.details())

    def test_the_command_line_has_none_either(self):
        file = pathlib.Path(self.server.directory, "job.yaml")
        file.write_text(f"name: x\nexec: {{argv: [\"true\"], user: {NOBODY}}}\n")
        done = subprocess.run([BIN / "nursery", "run", file], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"2:30: exec.user: '{NOBODY}' is not among exec.users", done.stderr)


class UserConfigTest(unittest.TestCase):
    def run_with(self, text, *arguments, prefix=(), programs=BIN):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            os.chmod(file.name, 0o644)
            file.write(text)
            file.flush()
            done = subprocess.run([*prefix, programs / "nurseryd", *arguments, "--config",
                                   file.name], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    def not_root(self):
        """How to run a program as somebody who is not."""
        if os.geteuid() != 0:
            return {}
        programs = programs_for_all(pathlib.Path(os.environ["NURSERY_BUILD"]), "bin/nurseryd")
        self.addCleanup(programs.cleanup)
        return {"prefix": AS_NOBODY, "programs": pathlib.Path(programs.name, "bin")}

    def test_an_account_has_to_be_there(self):
        code, said = self.run_with(f"exec: {{users: [{NOBODY}, no-such-user, {NOBODY}]}}\n",
                                   "--check-config")
        self.assertEqual(code, 2)
        self.assertIn("exec.users[1]: there is no account 'no-such-user' here", said)
        self.assertIn("exec.users[2]: is there twice", said)

    def test_only_root_may_have_some(self):
        code, said = self.run_with(f"exec: {{users: [{NOBODY}]}}\n", "--data", "/nonsense",
                                   **self.not_root())
        self.assertEqual(code, 1)
        self.assertIn("1:15: exec.users: only root can run programs as others; this is uid ", said)

    def test_who_is_not_root_may_check(self):
        for user, expected in ((NOBODY, 0), ("no-such-user", 2)):
            code, said = self.run_with(f"exec: {{users: [{user}]}}\n", "--check-config",
                                       **self.not_root())
            self.assertEqual(code, expected, said)
        code, said = self.run_with(f"exec: {{users: [{NOBODY}]}}\n", "--check-config",
                                   **self.not_root())
        self.assertRegex(said, "^nurseryd: not checked: exec.users: only root can run programs as "
                               "others; this is uid ")

    @unittest.skipIf(os.geteuid() != 0, "this is root's side")
    def test_root_leaves_nothing_unchecked(self):
        self.assertEqual(self.run_with(f"exec: {{users: [{NOBODY}]}}\n", "--check-config"),
                         (0, ""))


if __name__ == "__main__":
    unittest.main()
