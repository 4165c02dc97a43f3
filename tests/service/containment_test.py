"""The table of the README's promises, cell by cell, with a real server; and what it says of it."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request
import uuid

from deaths import (BUILD, LEVELS, Escapees, children_of, first_words, kill_at_once, levels_here,
                    server_info, stat)
from service import (BIN, PATIENCE, Server, ServiceTest, exec_node, group, introspection, job,
                     job_service, programs_for_all, resources, wait_until)

HERE = levels_here()
NOBODY = 65534


def containment(level):
    return getattr(resources, "CONTAINMENT_" + level.upper())


class Cells(unittest.TestCase):
    level = None

    def setUp(self):
        if self.level not in HERE:
            self.skipTest(f"{self.level} does not work here")
        self.made = Escapees(self.level)
        self.addCleanup(self.made.close)

    def cancel(self, name, **fields):
        return self.made.jobs.CancelJob(
            job_service.CancelJobRequest(name=name, wait=True, **fields), timeout=PATIENCE)

    def assert_left_is_named(self, name):
        """Each attempt, and the job, names what is out of reach, at most 16 and 100 of it."""
        left, named = 0, set()
        for shape in self.made.shapes:
            node = self.made.jobs.GetNode(
                job_service.GetNodeRequest(name=f"{name}/nodes/{shape}"), timeout=PATIENCE)
            (attempt,) = node.attempts
            self.assertEqual(len(attempt.survivors), min(attempt.survivor_count, 16))
            left += attempt.survivor_count
            named |= {survivor.pid for survivor in attempt.survivors}
        self.assertEqual(left, len(self.made.outside))
        self.assertLessEqual(named, set(self.made.outside))
        last = self.made.jobs.GetJob(job_service.GetJobRequest(name=name), timeout=PATIENCE)
        self.assertEqual(last.survivor_count, left)
        self.assertEqual({survivor.pid for survivor in last.survivors}, named)
        # Nothing that is over holds a slot.
        page = urllib.request.urlopen(f"http://{self.made.server.http}/metrics").read().decode()
        for gauge in ("nursery_unkillable", "nursery_cancel_survivors"):
            self.assertIn(f"\n{gauge} 0\n", page)
        shown = subprocess.run(
            [BIN / "nursery", "show", "--server", self.made.server.address, last.id],
            stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE).stdout
        for pid in named:
            self.assertIn(f"  pid {pid}  ", shown)

    def test_the_attempt_ends(self):
        name = self.made.submit()
        began = time.monotonic()
        receipt = self.cancel(name, mode=job_service.CANCEL_MODE_KILL)
        took = time.monotonic() - began
        self.assertEqual(self.made.held.alive(), self.made.outside)
        self.assertEqual(receipt.containment, containment(self.level))
        # At most 16 of an attempt are named, the rest of them is counted.
        named = {survivor.pid for survivor in receipt.survivors}
        self.assertLessEqual(named, set(self.made.outside))
        self.assertEqual(receipt.complete, not self.made.outside)
        if self.level == "group":
            self.assertGreaterEqual(len(named), 16)
        self.assertEqual(receipt.survivor_count, len(self.made.outside))
        last = self.made.jobs.GetJob(job_service.GetJobRequest(name=name), timeout=PATIENCE)
        self.assertEqual(last.last_cancel, receipt)
        self.assertLess(took, last.max_teardown.ToTimedelta().total_seconds(),
                        "waited for what nothing ends any more")
        self.assert_left_is_named(name)

    def test_the_attempt_exits(self):
        name = self.made.submit()
        os.close(self.made.writer)  # leaders read from it, and exit at its end
        done = self.made.wait()
        self.made.writer = os.open(self.made.fifo, os.O_RDWR)
        self.assertEqual(done.state, resources.NODE_STATE_FAILED)  # their exit code is 7
        self.assertEqual(done.counts.failed, len(self.made.shapes) + 1)
        self.assertEqual(self.made.held.alive(), self.made.outside)
        self.assert_left_is_named(name)

    def test_the_deadline_passes(self):
        # As soon as all are seen alive before it.
        for seconds in (2, 4, 8, 16, 32):
            try:
                name = self.made.submit(timeout={"duration": {"seconds": seconds}},
                                        defaults={"grace": {"nanos": 1}})
                break
            except AssertionError:
                self.made.wait()
        done = self.made.wait()
        self.assertEqual(done.state, resources.NODE_STATE_DEADLINE_EXCEEDED)
        self.assertEqual(self.made.held.alive(), self.made.outside)
        self.assert_left_is_named(name)

    def test_the_server_is_killed(self):
        self.made.submit()
        kill_at_once(self.made.parts("server"))
        self.made.time_until_only(self.made.outside)
        self.made.reap_server()
        self.made.start()

    def test_the_warden_is_killed(self):
        self.made.submit()
        kill_at_once(self.made.parts("warden"))
        self.made.time_until_only(self.made.outside)
        done = self.made.wait()
        self.assertTrue(done.done)
        self.assertEqual(sorted(survivor.pid for survivor in done.survivors), self.made.outside)
        # The server goes on, with a warden that is as good.
        self.made.mark = "mark-" + uuid.uuid4().hex
        self.made.shapes = {"background": 4}
        first = self.made.held
        name = self.made.submit()
        self.cancel(name, mode=job_service.CANCEL_MODE_KILL)
        self.assertEqual(self.made.held.alive(), [])
        first.kill()
        first.close()

    def test_a_reaper_is_killed(self):
        name = self.made.submit()
        lost = self.made.of_shape("wide") - set(self.made.outside)
        kill_at_once([self.made.reaper_of("wide")])
        node = job_service.GetNodeRequest(name=name + "/nodes/wide")
        wait_until(lambda: self.made.jobs.GetNode(node, timeout=PATIENCE).done)
        # And nobody else, above all.
        self.assertEqual(self.made.held.alive(), sorted(set(self.made.held.pidfds) - lost))

    def test_what_an_attempt_leaves_whose_reaper_is_killed_is_told(self):
        name = self.made.submit()
        left = self.made.of_shape("setsid") & set(self.made.outside)
        self.assertEqual(bool(left), self.level == "group")
        kill_at_once([self.made.reaper_of("setsid")])
        node = job_service.GetNodeRequest(name=name + "/nodes/setsid")
        wait_until(lambda: self.made.jobs.GetNode(node, timeout=PATIENCE).done)
        attempt = self.made.jobs.GetNode(node, timeout=PATIENCE).attempts[-1]
        self.assertEqual({survivor.pid for survivor in attempt.survivors}, left)
        self.assertEqual(attempt.survivor_count, len(left))

    def test_the_warden_and_a_reaper_are_killed(self):
        self.made.submit()
        kill_at_once([*self.made.parts("warden"), self.made.reaper_of("background")])
        self.made.time_until_only(self.made.outside)
        self.assertTrue(self.made.wait().done)

    def test_server_and_a_reaper_are_killed(self):
        self.made.submit()
        kill_at_once([*self.made.parts("server"), self.made.reaper_of("wide")])
        self.made.time_until_only(self.made.outside)
        self.made.reap_server()
        self.made.start()

    def test_server_and_warden_are_killed(self):
        self.made.submit()
        kill_at_once(self.made.parts("server", "warden"))
        self.made.time_until_only(self.made.outside)
        self.made.reap_server()
        self.made.start()
        self.assertEqual(server_info(self.made).containment, containment(self.level))

    def test_server_warden_and_reapers_are_killed(self):
        self.made.submit()
        # A process that is stopped gets SIGHUP when its session's leader dies.
        stopped = {pid for pid in self.made.held.alive() if stat(pid)[0] == "T"}
        kill_at_once(self.made.parts("server", "warden", "reapers"))
        self.made.reap_server()
        # Direct children die with their reaper, without anybody's help.
        wait_until(lambda: not set(self.made.leaders) & set(self.made.held.alive()))
        others = set(self.made.held.pidfds) - set(self.made.leaders) - stopped
        self.assertLessEqual(others, set(self.made.held.alive()))
        self.made.start()
        alive = self.made.held.alive()
        # What has cleared its environment is found by its cgroup only.
        cleared = [] if self.level == "cgroup" else [
            pid for pid in alive if not pathlib.Path(f"/proc/{pid}/environ").read_bytes()]
        self.assertEqual(alive, cleared)
        self.assertLessEqual(len(cleared), int(self.level == "subreaper"))


class GroupTest(Cells):
    level = "group"


class SubreaperTest(Cells):
    level = "subreaper"


class CgroupTest(Cells):
    level = "cgroup"

    def cgroups(self):
        return [pathlib.Path(line) for line in self.made.cgroup_record().read_text().split()]

    def test_nothing_is_left_of_cgroups(self):
        name = self.made.submit()
        (run,) = self.cgroups()
        self.assertEqual(len(list(run.glob("attempt-*"))), len(self.made.shapes))
        self.cancel(name)
        self.assertEqual(list(run.glob("attempt-*")), [])
        self.assertEqual(self.made.server.stop(), 0)
        self.assertFalse(run.exists())

    def test_every_start_has_its_own(self):
        self.made.submit()
        (first,) = self.cgroups()
        kill_at_once(self.made.parts("server", "warden", "reapers"))
        self.made.reap_server()
        self.made.start()
        (second,) = self.cgroups()
        self.assertNotEqual(first, second)
        self.assertFalse(first.exists())
        self.assertTrue(second.exists())


del Cells


class LevelTest(ServiceTest):
    def test_the_best_that_works_is_told_everywhere(self):
        level = HERE[-1]
        info = self.introspection.GetServerInfo(introspection.GetServerInfoRequest())
        self.assertEqual(info.containment, containment(level))
        self.assertRegex(first_words(self.server), rf"(?m)^nurseryd: containment {level}( \(|$)")
        page = urllib.request.urlopen(f"http://{self.server.http}/metrics").read().decode()
        for each in LEVELS:
            self.assertIn(f'nursery_containment_info{{level="{each}"}} {int(each == level)}', page)
        spec = job.JobSpec(name="x", root=group(exec_node("true", name="x")))
        done = self.wait(self.submit(spec).name)
        node = self.jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/x"))
        self.assertEqual(node.attempts[0].containment, containment(level))


class DemandTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)

    def start(self, level, **options):
        return Server(self.directory.name, config=f"exec: {{containment: {level}}}\n", **options)

    def test_a_level_that_is_asked_for_is_used(self):
        for level in HERE:
            with self.subTest(level):
                server = self.start(level)
                self.assertIn(f"nurseryd: containment {level}", first_words(server))
                self.assertEqual(server.stop(), 0)
                (pathlib.Path(self.directory.name) / "log").unlink()

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_without_the_level_that_is_asked_for_there_is_no_start(self):
        os.chown(self.directory.name, NOBODY, NOBODY)
        nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        with self.assertRaisesRegex(AssertionError, "containment cgroup does not work here"):
            self.start("cgroup", prefix=nobody, programs=self.build_for_all() / "bin")

    @unittest.skipIf(os.geteuid() != 0, "only root can be somebody else")
    def test_as_an_unprivileged_user(self):
        nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        for level in LEVELS[:2]:
            with self.subTest(level):
                made = self.escapees(level, nobody)
                made.submit()
                kill_at_once(made.parts("server"))
                made.time_until_only(made.outside)
                made.reap_server()

    def escapees(self, level, prefix):
        directory = tempfile.TemporaryDirectory()
        os.chown(directory.name, NOBODY, NOBODY)
        made = Escapees(level, directory=directory, build=self.build_for_all(), prefix=prefix)
        self.addCleanup(made.close)
        return made

    def build_for_all(self):
        programs = programs_for_all(
            BUILD, "bin/nurseryd", "bin/nursery-warden", "tests/escapee")
        self.addCleanup(programs.cleanup)
        return pathlib.Path(programs.name)


class PrivilegesTest(ServiceTest):
    config = "exec: {allow_new_privileges: true}\n"
    expected = "NoNewPrivs:\t0\n"

    def test_whether_setuid_programs_gain_privileges(self):
        spec = job.JobSpec(name="x", root=group(
            exec_node("grep", "NoNewPrivs", "/proc/self/status", name="x")))
        done = self.wait(self.submit(spec).name)
        node = self.jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/x"))
        self.assertEqual(node.attempts[0].stdout.inline_data.decode(), self.expected)


class NoPrivilegesTest(PrivilegesTest):
    config = ""
    expected = "NoNewPrivs:\t1\n"


@unittest.skipIf(os.geteuid() != 0 or "cgroup" not in HERE, "only root can delegate a cgroup")
class DelegatedTest(DemandTest):
    """As systemd's Delegate=yes: a cgroup of an unprivileged user, who is alone in it."""

    def setUp(self):
        super().setUp()
        probe = Server(self.directory.name)
        record = pathlib.Path(self.directory.name, "data", "cgroups").read_text().split()[0]
        self.assertEqual(probe.stop(), 0)
        shutil.rmtree(self.directory.name + "/data")
        self.cgroup = pathlib.Path(record).parent / ("nursery-test-" + uuid.uuid4().hex)
        self.cgroup.mkdir()
        self.addCleanup(self.cgroup.rmdir)
        for path in (self.cgroup, self.cgroup / "cgroup.procs",
                     self.cgroup / "cgroup.subtree_control"):
            os.chown(path, NOBODY, NOBODY)
        enter = f"echo $$ > {self.cgroup}/cgroup.procs; exec setpriv --reuid={NOBODY} " \
                f"--regid={NOBODY} --clear-groups \"$@\""
        self.prefix = ("sh", "-c", enter, "sh")

    def test_the_server_moves_aside_and_every_attempt_has_its_leaf(self):
        made = self.escapees("cgroup", self.prefix)
        self.addCleanup(lambda: (self.cgroup / "server").rmdir())
        made.submit()
        of_server = pathlib.Path(f"/proc/{made.server.process.pid}/cgroup").read_text()
        self.assertTrue(of_server.endswith(self.cgroup.name + "/server\n"), of_server)
        (run,) = self.cgroup.glob("nursery-run-*")
        self.assertEqual(len(list(run.glob("attempt-*"))), len(made.shapes))
        kill_at_once(made.parts("server", "warden", "reapers"))
        made.reap_server()
        made.start()
        self.assertEqual(made.held.alive(), [])
        self.assertFalse(run.exists())
        self.assertEqual(made.server.stop(), 0)
        self.assertEqual(list(self.cgroup.glob("nursery-run-*")), [])

    def test_what_a_warden_that_comes_back_lower_does_not_hold_is_told(self):
        made = self.escapees(None, self.prefix)
        self.addCleanup(lambda: (self.cgroup / "server").rmdir())
        self.assertEqual(server_info(made).containment, containment("cgroup"))
        os.chown(self.cgroup, 0, 0)  # the server makes no cgroups there any more
        (warden,) = children_of(made.server.process.pid)
        os.kill(warden, signal.SIGKILL)
        wait_until(lambda: server_info(made).containment == containment("subreaper"))
        os.chown(self.cgroup, NOBODY, NOBODY)
        action = job.ExecAction(argv=["true"], limits=job.ResourceLimits(memory=1 << 30))
        spec = job.JobSpec(name="x", root=job.NodeSpec(exec=action))
        (warning,) = made.jobs.ValidateJob(job_service.ValidateJobRequest(job_spec=spec),
                                           timeout=PATIENCE).warnings
        self.assertRegex(warning.message, "^not enforced at this level: containment is subreaper, ")
        self.assertEqual([each for each in server_info(made).features
                          if each.startswith("limits.")], [])
        self.assertEqual(made.server.stop(), 0)


class LeftoverTest(unittest.TestCase):
    def test_a_new_server_waits_for_the_warden_of_the_old_one(self):
        self.check_that_a_new_server_waits(lambda made: made.reap_server())

    def test_nor_is_an_old_one_alive_whose_end_nobody_has_looked_at(self):
        def await_death(made):
            wait_until(lambda: stat(made.server.process.pid)[0] == "Z")
            self.addCleanup(made.reap_server)
        self.check_that_a_new_server_waits(await_death)

    def check_that_a_new_server_waits(self, old_one_is_dead):
        made = Escapees(HERE[-1], shapes={"wide": 25})
        self.addCleanup(made.close)
        made.submit()
        os.kill(made.warden, signal.SIGSTOP)
        os.kill(made.server.process.pid, signal.SIGKILL)
        old_one_is_dead(made)
        second = subprocess.Popen(
            [*made.server.process.args], stderr=subprocess.PIPE, text=True)
        # It has the lock file open, and does not get the lock.
        lock = made.directory.name + "/data/lock"
        wait_until(lambda: lock in open_files(second.pid))
        self.assertEqual(len(made.held.alive()), 25)
        os.kill(made.warden, signal.SIGCONT)
        line = second.stderr.readline()
        self.assertIn("containment", line)
        self.assertEqual(made.held.alive(), [])
        second.terminate()
        second.communicate(timeout=PATIENCE)


def open_files(pid):
    found = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    except OSError:
        pass
    return found


class NothingIsLeftTest(ServiceTest):
    def test_of_a_thousand_attempts_that_came_and_went(self):
        server = self.server.process.pid
        data = pathlib.Path(self.server.directory, "data")
        self.run_many(50)
        before = len(os.listdir(f"/proc/{server}/fd"))
        self.run_many(1000)
        wait_until(lambda: len(os.listdir(f"/proc/{server}/fd")) <= before)
        (warden,) = children_of(server)
        self.assertEqual([pid for pid in children_of(warden) if stat(pid)[0] == "Z"], [])
        for run in (data / "cgroups").read_text().split() if "cgroup" in HERE else ():
            self.assertEqual(list(pathlib.Path(run).glob("attempt-*")), [])
        # A directory that nobody has touched waits for the next attempt.
        scratch = data / "scratch"
        wait_until(lambda: len(list(scratch.iterdir())) <= 64)
        self.assertEqual(list(scratch.glob("*/*")), [])
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(list(scratch.iterdir()), [])

    def run_many(self, count):
        nodes = [exec_node("sh", "-c", "sleep 60 & exit 0", name=f"n{i}") for i in range(count)]
        done = self.wait(self.submit(job.JobSpec(name="many", root=group(*nodes, limit=20))).name)
        self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED)


if __name__ == "__main__":
    unittest.main()
