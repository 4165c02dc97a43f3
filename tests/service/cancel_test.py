"""What a cancel says of processes, against what /proc says: of many, and of one that cannot die."""

import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

from deaths import BUILD, ESCAPEE, Held, children_of, kill_at_once, leaders_of, name_of, stat
from service import (BIN, KEEPS_FREED_MEMORY, PATIENCE, Server, ServiceTest, exec_node, group, job,
                     job_service, marked, resources, wait_until)


# How many of its leaves are started; asking for that is asking for the figure of the answer, too,
# which wants a machine for itself.
FULL_SIZE = os.environ.get("NURSERY_TEARDOWN_LEAVES")
STARTED = int(FULL_SIZE or 400)


class CancelTest(ServiceTest):
    def cancel(self, name, **fields):
        return self.jobs.CancelJob(job_service.CancelJobRequest(name=name, wait=True, **fields),
                                   timeout=PATIENCE)

    def metric(self, name):
        page = urllib.request.urlopen(f"http://{self.server.http}/metrics").read().decode()
        return next(float(line.split()[1]) for line in page.splitlines()
                    if line.startswith(name + " "))


class ManyTest(CancelTest):
    slots = max(500, STARTED)
    # A fifth of the processes has left its session or its parents.
    SHAPES = {"background": (150, 4), "setsid": (100, 2), "double_fork": (100, 2)}

    def crowd(self, shapes):
        """Nodes with so many of each shape, and how many processes they will be."""
        fifo = os.path.join(self.server.directory, "fifo")
        os.mkfifo(fifo)
        writer = os.open(fifo, os.O_RDWR)
        self.addCleanup(os.close, writer)
        nodes = [job.NodeSpec(name=f"{shape}-{i}", exec=job.ExecAction(
                     argv=[ESCAPEE, shape, self.mark], stdin=job.StdinSpec(file=fifo)))
                 for shape, (count, _) in shapes.items() for i in range(count)]
        return nodes, sum(count * each for count, each in shapes.values())

    def test_a_receipt_counts_as_proc_does(self):
        nodes, live = self.crowd(self.SHAPES)
        name = self.submit(job.JobSpec(name="many", root=group(*nodes))).name
        wait_until(lambda: len(marked(self.mark)) == live)
        held = Held(marked(self.mark))
        self.addCleanup(held.close)
        receipt = self.cancel(name)
        self.assertEqual(held.alive(), [])
        self.assertEqual(marked(self.mark), [])
        self.assertTrue(receipt.complete)
        self.assertEqual(receipt.interrupted, len(nodes))
        self.assertEqual(receipt.terminated + receipt.killed, live)
        self.assertEqual((receipt.killed, receipt.survivor_count), (0, 0))

    # More than a third of a thousand processes has left its session or its parents, and an eighth
    # ignores SIGTERM; with the sanitizer a quarter of them.
    CROWD = {"wide": (20, 25), "background": (50, 4), "setsid": (75, 2), "double_fork": (75, 2)}

    def test_what_the_command_prints_is_what_proc_shows(self):
        share = 4 if KEEPS_FREED_MEMORY else 1
        nodes, live = self.crowd({shape: (count // share, each)
                                  for shape, (count, each) in self.CROWD.items()})
        spec = job.JobSpec(name="crowd", root=group(*nodes))
        spec.root.grace.FromSeconds(8)  # enough for all that heed SIGTERM, on a busy machine too
        name = self.submit(spec).name
        wait_until(lambda: len(marked(self.mark)) == live)
        held = Held(marked(self.mark))
        self.addCleanup(held.close)
        stubborn = sum(ignores_term(pid) for pid in held.pidfds)
        self.assertGreaterEqual(count_escaped(held.pidfds), live // 3)
        self.assertGreater(stubborn, live // 10)
        done = subprocess.run(
            [BIN / "nursery", "cancel", "--server", self.server.address, "--wait",
             name.rpartition("/")[2]],
            stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
        self.assertEqual(held.alive(), [])
        self.assertEqual(marked(self.mark), [])
        self.assertIn("cancelled ", done.stdout)
        self.assertRegex(
            done.stdout, f" {live - stubborn:,} ended by SIGTERM, {stubborn:,} by SIGKILL, 0 left")
        receipt = self.get(name).last_cancel
        self.assertEqual((receipt.terminated, receipt.killed, receipt.survivor_count),
                         (live - stubborn, stubborn, 0))
        self.assertTrue(receipt.complete)

    def test_of_a_hundred_thousand_nodes_all_is_gone_in_the_time_that_was_shown(self):
        nodes = [exec_node("sh", "-c", "sleep 600; :", self.mark, name=f"n{i}")
                 for i in range(99_998)]
        spec = job.JobSpec(name="large", root=group(*nodes, limit=STARTED))
        spec.root.grace.FromSeconds(1)
        name = self.submit(spec).name
        wait_until(lambda: len(marked(self.mark)) >= STARTED)
        shown = self.get(name).max_teardown.ToTimedelta().total_seconds()
        began = time.monotonic()
        acknowledged = self.jobs.CancelJob(job_service.CancelJobRequest(name=name),
                                           timeout=PATIENCE)
        acknowledgement = time.monotonic() - began
        self.assertFalse(acknowledged.already_ended)
        done = self.wait(name)
        self.assertTrue(done.last_cancel.complete)
        self.assertEqual(marked(self.mark), [])
        took = done.last_cancel.duration.ToTimedelta().total_seconds()
        print(f"  acknowledged after {acknowledgement * 1000:.1f} ms, complete after {took:.3f} s, "
              f"shown were {shown} s and 250 ms")
        self.assertLessEqual(took, shown + 0.25)
        if FULL_SIZE:
            self.assertLess(acknowledgement, 0.05)
        self.assertEqual(done.last_cancel.skipped + done.last_cancel.interrupted, 99_998)


class SpawningTest(CancelTest):
    """What ends attempts comes while they are being started."""

    def nodes(self, count):
        return [exec_node("sh", "-c", "setsid sh -c 'sleep 60; :' $0 & sleep 60; :", self.mark,
                          name=f"n{i}") for i in range(count)]

    def test_a_deadline_while_spawning_leaves_nothing(self):
        nodes = self.nodes(200)
        for i, node in enumerate(nodes):
            node.timeout.duration.FromMicroseconds(200 * (i + 1))
            node.grace.FromMilliseconds(1)
        done = self.wait(self.submit(job.JobSpec(name="late", root=group(
            *nodes, join=job.Join(mode=job.JOIN_MODE_COLLECT)))).name)
        self.assertEqual(done.counts.deadline_exceeded, 200)
        self.assertEqual(marked(self.mark), [])

    def test_a_cancel_while_spawning_leaves_nothing(self):
        for _ in range(20):
            name = self.submit(job.JobSpec(name="cancelled", root=group(*self.nodes(20)))).name
            receipt = self.cancel(name, mode=job_service.CANCEL_MODE_KILL)
            self.assertTrue(receipt.complete)
            self.assertEqual(receipt.survivor_count, 0)
            self.assertEqual(marked(self.mark), [])


class PipeTest(CancelTest):
    def test_who_holds_and_pumps_a_pipe_after_the_kill_delays_nothing(self):
        spec = job.JobSpec(name="pumped", root=exec_node("sh", "-c", "sleep 60; :", self.mark))
        name = self.submit(spec).name
        pid = min(wait_until(lambda: marked(self.mark)))  # the shell, not what it starts
        # A process that is none of the attempt's: this one.
        held = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
        self.addCleanup(os.close, held)
        quiet = os.open(f"/proc/{pid}/fd/2", os.O_WRONLY)
        self.addCleanup(os.close, quiet)
        refused = []
        started = threading.Event()

        def pump():
            try:
                while True:
                    os.write(held, bytes(1 << 16))
                    started.set()
            except BrokenPipeError:
                refused.append(True)

        pumping = threading.Thread(target=pump)
        pumping.start()
        started.wait(PATIENCE)
        receipt = self.cancel(name, mode=job_service.CANCEL_MODE_KILL)
        self.assertTrue(receipt.complete)
        # Nobody reads any more.
        pumping.join(PATIENCE)
        self.assertEqual(refused, [True])
        self.assertLess(receipt.duration.ToTimedelta().total_seconds(), 2)

    def test_of_a_gibibyte_the_ends_are_kept_and_memory_stays(self):
        size = 1 << 30
        before = self.server.memory()
        spec = job.JobSpec(name="loud", root=group(
            exec_node("head", "-c", str(size), "/dev/zero", name="x")))
        done = self.wait(self.submit(spec).name)
        self.assertEqual(done.state, resources.NODE_STATE_SUCCEEDED)
        node = self.jobs.GetNode(job_service.GetNodeRequest(name=done.name + "/nodes/x"))
        self.assertEqual(node.attempts[0].stdout.total_bytes, size)
        self.assertTrue(node.attempts[0].stdout.truncated)
        self.assert_memory_grew_less(before, self.server.memory(), 64 << 20)

    def test_one_that_never_stops_writing_is_ended(self):
        spec = job.JobSpec(name="endless", root=group(
            exec_node("sh", "-c", "cat /dev/zero; :", self.mark, name="x")))
        name = self.submit(spec).name
        path = name + "/nodes/x"
        request = job_service.ReadOutputRequest(name=path, follow=True)
        next(message for message in self.jobs.ReadOutput(request, timeout=PATIENCE)
             if message.chunks)
        receipt = self.cancel(name, mode=job_service.CANCEL_MODE_KILL)
        self.assertTrue(receipt.complete)
        self.assertEqual(marked(self.mark), [])


class Disk:
    """A file system; once frozen, whoever opens a file to write it hangs in the kernel."""

    def __init__(self, test):
        directory = tempfile.TemporaryDirectory()
        test.addCleanup(directory.cleanup)
        self.mount = pathlib.Path(directory.name, "mount")
        self.mount.mkdir()
        image = pathlib.Path(directory.name, "image")
        with image.open("wb") as file:
            file.truncate(8 << 20)
        subprocess.run(["/usr/sbin/mkfs.ext4", "-q", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, self.mount], check=False).returncode != 0:
            test.skipTest("no loop mounts here")
        test.addCleanup(subprocess.run, ["umount", self.mount], check=True)
        self.frozen = False
        test.addCleanup(self.thaw)

    def freeze(self):
        subprocess.run(["/usr/sbin/fsfreeze", "--freeze", self.mount], check=True)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            subprocess.run(["/usr/sbin/fsfreeze", "--unfreeze", self.mount], check=True)
        self.frozen = False


class DiskTest(CancelTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("only root can mount and freeze")
        self.disk = Disk(self)
        self.mount = self.disk.mount


class FrozenTest(DiskTest):
    def setUp(self):
        super().setUp()
        self.disk.freeze()

    def check_what_cannot_die(self):
        script = f"exec 3> {self.mount}/file; sleep 60"
        spec = job.JobSpec(name="stuck", root=group(
            exec_node("sh", "-c", script, self.mark, name="writer")))
        name = self.submit(spec).name
        (writer,) = wait_until(lambda: hanging(self.mark, 1))
        receipt = self.cancel(name, mode=job_service.CANCEL_MODE_KILL, grace={"nanos": 1})
        self.assertFalse(receipt.complete)
        self.assertEqual(receipt.survivor_count, 1)
        (survivor,) = receipt.survivors
        self.assertEqual((survivor.pid, survivor.path), (writer, "writer"))
        self.assertEqual(survivor.state, "D (disk sleep)")
        self.assertIn("sh -c exec 3>", survivor.command)
        self.assertEqual(self.metric("nursery_unkillable"), 1)
        self.assertEqual(self.metric('nursery_pool_slots_in_use{pool="default"}'), 1)
        node = self.jobs.GetNode(job_service.GetNodeRequest(name=name + "/nodes/writer"))
        self.assertEqual(node.state, resources.NODE_STATE_ENDING)
        self.assertEqual(node.wait.reason, resources.WAIT_REASON_UNKILLABLE)
        self.disk.thaw()
        done = self.wait(name)
        self.assertTrue(done.last_cancel.complete)
        self.assertEqual(len(done.last_cancel.survivors), 0)
        self.assertEqual(self.metric("nursery_unkillable"), 0)
        self.assertEqual(self.metric("nursery_cancel_survivors"), 0)
        self.assertEqual(marked(self.mark), [])


class EscapedTest(CancelTest):
    config = "exec: {containment: group}\n"

    def test_a_cancel_after_the_end_still_names_what_has_escaped(self):
        fifo = os.path.join(self.server.directory, "fifo")
        os.mkfifo(fifo)
        writer = os.open(fifo, os.O_RDWR)
        name = self.submit(job.JobSpec(name="left", root=group(
            job.NodeSpec(name="escapes", exec=job.ExecAction(
                argv=[ESCAPEE, "setsid", self.mark], stdin=job.StdinSpec(file=fifo))),
            exec_node("true", name="stays")))).name
        wait_until(lambda: len(marked(self.mark)) == 2)
        os.close(writer)  # the leader exits
        self.assertTrue(self.wait(name).done)
        (escaped,) = marked(self.mark)
        self.addCleanup(os.kill, escaped, signal.SIGKILL)
        for path, left in (("", [escaped]), ("escapes", [escaped]), ("stays", [])):
            with self.subTest(path):
                receipt = self.cancel(name, path=path)
                self.assertTrue(receipt.already_ended)
                self.assertEqual([survivor.pid for survivor in receipt.survivors], left)
                self.assertEqual(receipt.complete, not left)
                for survivor in receipt.survivors:
                    self.assertEqual(survivor.command, f"{ESCAPEE} setsid {self.mark}")


class UnkillableInGroupTest(FrozenTest):
    config = "exec: {containment: group}\n"

    def test_what_cannot_die_is_named_until_it_is_gone(self):
        self.check_what_cannot_die()


class UnkillableTest(FrozenTest):
    def test_what_cannot_die_is_named_and_keeps_its_slot_until_it_can(self):
        self.check_what_cannot_die()

    def test_all_are_counted_and_those_that_have_died_are_named_no_more(self):
        other = Disk(self)
        other.freeze()
        script = f"for i in $(seq 19); do sh -c 'exec 3> {self.mount}/'$i'; sleep 60' $0 & done; " \
                 f"exec 3> {other.mount}/file; sleep 60"
        name = self.submit(job.JobSpec(name="stuck", root=exec_node(
            "sh", "-c", script, self.mark))).name
        wait_until(lambda: hanging(self.mark, 20))
        self.jobs.CancelJob(job_service.CancelJobRequest(
            name=name, mode=job_service.CANCEL_MODE_KILL), timeout=PATIENCE)
        receipt = wait_until(lambda: self.receipt(name, 20))
        self.assertEqual(len(receipt.survivors), 16)
        self.assertEqual(self.metric("nursery_unkillable"), 20)
        self.disk.thaw()
        receipt = wait_until(lambda: self.receipt(name, 1))
        self.assertEqual([survivor.pid for survivor in receipt.survivors], hanging(self.mark, 1))
        self.assertEqual(self.metric("nursery_unkillable"), 1)
        other.thaw()
        self.assertTrue(self.wait(name).last_cancel.complete)
        self.assertEqual(self.metric("nursery_unkillable"), 0)

    def test_whoever_dies_each_attempt_waits_for_its_own_alone(self):
        for victims in (("reaper",), ("warden",), ("warden", "reaper")):
            with self.subTest(victims):
                self.check_that_others_are_let_go(victims)

    def check_that_others_are_let_go(self, victims):
        disk = Disk(self)
        disk.freeze()
        scripts = {"stuck": f"exec 3> {disk.mount}/file; sleep 60", "other": "sleep 60; :"}
        spec = job.JobSpec(name="two", root=group(
            *(exec_node("sh", "-c", script, self.mark + name, name=name, max_interruptions=0)
              for name, script in scripts.items()),
            join=job.Join(mode=job.JOIN_MODE_COLLECT)))
        name = self.submit(spec).name
        (stuck,) = wait_until(lambda: hanging(self.mark + "stuck", 1))
        other = min(wait_until(lambda: marked(self.mark + "other")))  # not what it starts
        (warden,) = children_of(self.server.process.pid)
        reapers = [int(stat(pid)[1]) for pid in (stuck, other)]
        kill_at_once([warden] * ("warden" in victims) + reapers * ("reaper" in victims))
        node = job_service.GetNodeRequest(name=name + "/nodes/other")
        wait_until(lambda: self.jobs.GetNode(node).done)
        self.assertEqual(marked(self.mark + "other"), [])
        node.name = name + "/nodes/stuck"
        wait_until(lambda: self.jobs.GetNode(node).wait.reason == resources.WAIT_REASON_UNKILLABLE)
        self.assertEqual(self.metric("nursery_unkillable"), 1)
        self.assertEqual(self.metric('nursery_pool_slots_in_use{pool="default"}'), 1)
        receipt = self.jobs.CancelJob(job_service.CancelJobRequest(name=name), timeout=PATIENCE)
        self.assertEqual([survivor.pid for survivor in receipt.survivors], [stuck])
        disk.thaw()
        self.assertTrue(self.wait(name).last_cancel.complete)
        self.assertEqual(self.metric("nursery_unkillable"), 0)

    def receipt(self, name, count):
        """Of its cancel, once it counts so many survivors."""
        receipt = self.get(name).last_cancel
        return receipt if receipt.survivor_count == count else None

    def test_a_new_server_names_what_does_not_die_and_does_not_start(self):
        script = f"exec 3> {self.mount}/file; sleep 60"
        self.submit(job.JobSpec(name="stuck", root=exec_node("sh", "-c", script, self.mark)))
        wait_until(lambda: hanging(self.mark, 1))
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait(PATIENCE)
        second = subprocess.run(self.server.process.args, stderr=subprocess.PIPE, text=True,
                                check=False, timeout=PATIENCE)
        self.assertEqual(second.returncode, 1)
        self.assertIn("still alive", second.stderr)
        self.assertIn(" sh -c exec 3>", second.stderr)
        self.disk.thaw()
        wait_until(lambda: not marked(self.mark))


class LockedMemoryTest(DiskTest):
    """What hangs with its memory locked: nobody can read its command line or environment."""

    def lock(self, spec, others=0):
        """Submits the job; gives its name, the process, once it hangs, and those of the others."""
        file = self.mount / "file"
        file.write_bytes(bytes(4096))
        fifo = os.path.join(self.server.directory, "fifo")
        os.mkfifo(fifo)
        writer = os.open(fifo, os.O_RDWR)
        name = self.submit(spec).name

        def mapped(pid):
            return str(file) in pathlib.Path(f"/proc/{pid}/maps").read_text()

        def all_run():
            pids = marked(self.mark)
            return len(pids) == others + 1 and pids

        (pid,) = wait_until(lambda: list(filter(mapped, marked(self.mark))))
        pids = wait_until(all_run)
        os.sync()
        self.disk.freeze()
        os.close(writer)
        wait_until(lambda: states_of_threads(pid) == ["D", "D"])
        return name, pid, [each for each in pids if each != pid]

    def locked_memory(self, **fields):
        fifo = job.StdinSpec(file=os.path.join(self.server.directory, "fifo"))
        return job.NodeSpec(exec=job.ExecAction(stdin=fifo, argv=[
            str(BUILD / "tests/locked_memory"), str(self.mount / "file"), self.mark]), **fields)

    def check_that_nobody_waits(self):
        older = os.path.join(self.server.directory, "older")
        os.mkfifo(older)
        writer = os.open(older, os.O_RDWR)
        ends = self.submit(job.JobSpec(name="older", root=job.NodeSpec(exec=job.ExecAction(
            argv=["cat"], stdin=job.StdinSpec(file=older))))).name
        wait_until(lambda: self.get(ends).start_time.seconds)
        name, pid, _ = self.lock(job.JobSpec(name="stuck", root=self.locked_memory()))
        # Where processes are looked at: when an attempt ends at `group`, those that are not older;
        # when a server starts, all.
        os.close(writer)
        self.assertEqual(self.wait(ends).state, resources.NODE_STATE_SUCCEEDED)
        with tempfile.TemporaryDirectory() as directory:
            Server(directory, config=self.config).stop()
        receipt = self.cancel(name, mode=job_service.CANCEL_MODE_KILL, grace={"nanos": 1})
        self.assertEqual(receipt.survivor_count, 1)
        (survivor,) = receipt.survivors
        self.assertEqual((survivor.pid, survivor.state), (pid, "D (disk sleep)"))
        self.assertEqual(survivor.command, "[locked_memory]")
        self.disk.thaw()
        self.assertTrue(self.wait(name).last_cancel.complete)

    def test_nobody_waits_for_it(self):
        self.check_that_nobody_waits()

    def test_it_holds_its_own_attempt_alone_when_warden_and_reaper_have_died(self):
        name, pid, (other_pid,) = self.lock(job.JobSpec(name="two", root=group(
            self.locked_memory(name="stuck", max_interruptions=0),
            exec_node("sh", "-c", "sleep 60; :", self.mark, name="other", max_interruptions=0),
            join=job.Join(mode=job.JOIN_MODE_COLLECT))), others=1)
        other = job_service.GetNodeRequest(name=name + "/nodes/other")
        (warden,) = children_of(self.server.process.pid)
        kill_at_once([warden] + [int(stat(each)[1]) for each in (pid, other_pid)])
        wait_until(lambda: self.jobs.GetNode(other).done)
        stuck = job_service.GetNodeRequest(name=name + "/nodes/stuck")
        wait_until(lambda: self.jobs.GetNode(stuck).wait.reason == resources.WAIT_REASON_UNKILLABLE)
        self.disk.thaw()
        self.wait(name)
        self.assertEqual(self.metric("nursery_unkillable"), 0)


class LockedMemoryInGroupTest(LockedMemoryTest):
    config = "exec: {containment: group}\n"


def states_of_threads(pid):
    return [pathlib.Path(task, "stat").read_text().rpartition(")")[2].split()[0]
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def ignores_term(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


def count_escaped(pids):
    """Those that have left the session or the parents that they were started with."""
    leaders = set(leaders_of(pids))
    return sum(pid not in leaders and (
        int(stat(pid)[3]) not in leaders or name_of(int(stat(pid)[1])) == "nursery-reaper")
        for pid in pids)


def hanging(mark, count):
    """The processes that hang in the kernel, once there are so many."""
    states = {pid: stat(pid) for pid in marked(mark)}
    found = [pid for pid, fields in states.items() if fields and fields[0] == "D"]
    return found if len(found) == count else None


if __name__ == "__main__":
    unittest.main()
