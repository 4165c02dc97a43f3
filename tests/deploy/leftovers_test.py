"""That the checks of leftovers find what is planted, and blame nothing else."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

TESTS = pathlib.Path(__file__).parents[1]
sys.path.append(str(TESTS))
import leftovers  # noqa: E402
from processes import PATIENCE, marked, wait_until  # noqa: E402


class LeftoversTest(unittest.TestCase):
    def setUp(self):
        self.mark = "mark-" + uuid.uuid4().hex
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def check(self, *command):
        """The exit code and what is said to be left; nothing of it may be there after that."""
        done = subprocess.run(
            ["/usr/bin/python3", "-B", TESTS / "leftovers.py", "--patience", "0", *command],
            env=dict(os.environ, TMPDIR=str(self.directory)), stderr=subprocess.PIPE, text=True,
            check=False, timeout=PATIENCE)
        self.assertEqual(marked(self.mark), [])
        self.assertEqual([path.name for path in self.directory.glob("nt-*")], [])
        prefix = "left behind: "
        lines = done.stderr.splitlines()
        self.assertEqual([line for line in lines if not line.startswith(prefix)], [])
        return done.returncode, [line[len(prefix):] for line in lines]

    def script(self, text):
        return self.check("sh", "-c", text, "sh", self.mark)

    def test_of_what_cleans_up_nothing_is_left(self):
        self.assertEqual(self.script("echo x > $TMPDIR/file; sleep 0 & rm $TMPDIR/file; wait"),
                         (0, []))

    def test_the_exit_code_is_the_command_s(self):
        self.assertEqual(self.script("exit 7"), (7, []))
        self.assertEqual(self.script("kill -9 $$"), (137, []))
        self.assertEqual(self.script("touch $TMPDIR/file; exit 7"), (7, ["file file in TMPDIR"]))

    def test_a_temporary_file_is_found(self):
        self.assertEqual(self.script("mkdir -p $TMPDIR/a/b; touch $TMPDIR/c"),
                         (1, ["file a in TMPDIR", "file c in TMPDIR"]))
        self.assertEqual(self.script("touch $TEST_TMPDIR/d"), (1, ["file d in TMPDIR"]))

    def test_a_process_is_found_however_it_has_left(self):
        sleeper = "sh -c 'exec >&- 2>&- <&-; while :; do sleep 60; done' $1"
        for start in (f"{sleeper} &", f"setsid {sleeper} &", f"(setsid {sleeper} &) &",
                      f"env -i /usr/bin/setsid /bin/{sleeper} &"):
            with self.subTest(start):
                code, left = self.script(f"{start}\nexit 0")
                self.assertEqual(code, 1)
                self.assertGreaterEqual(len(left), 1)
                self.assertRegex(left[0], r"^process \d+: ")

    def test_one_that_is_about_to_end_is_not(self):
        done = subprocess.run(
            ["/usr/bin/python3", "-B", TESTS / "leftovers.py", "--patience", str(PATIENCE), "sh",
             "-c", "read line & exit 0"], stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0)

    def test_many_are_found(self):
        code, left = self.script("for i in $(seq 1200); do sleep 60 & done")
        self.assertEqual(code, 1)
        self.assertEqual(len(left), 1200)

    def test_one_whose_first_thread_has_ended_is_found(self):
        lives_on = "import ctypes, threading, time; " \
                   "threading.Thread(target=time.sleep, args=[60]).start(); " \
                   "ctypes.CDLL(None).pthread_exit(None)"
        code, left = self.script(f"/usr/bin/python3 -c '{lives_on}' $1 & exit 0")
        self.assertEqual((code, len(left)), (1, 1))

    def test_who_ends_the_check_ends_the_command_and_leaves_nothing(self):
        # What is left executes nothing, so that it has one name whenever it is looked at.
        script = "mkfifo $TMPDIR/f; exec 3<>$TMPDIR/f; rm $TMPDIR/f; read line <&3 & " \
                 "trap 'exit 3' TERM; echo ready; while :; do wait; done"
        process = subprocess.Popen(
            ["/usr/bin/python3", "-B", TESTS / "leftovers.py", "--patience", "0", "sh", "-c",
             script, "sh", self.mark], env=dict(os.environ, TMPDIR=str(self.directory)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with process:
            process.stdout.readline()
            process.send_signal(signal.SIGINT)  # a terminal sends it to all
            process.terminate()
            self.assertRegex(process.stderr.read(), r"^left behind: process \d+: sh -c [^\n]*\n$")
        self.assertEqual(process.returncode, 3)
        self.assertEqual(marked(self.mark), [])
        self.assertEqual(list(self.directory.glob("nt-*")), [])

    def test_a_command_that_is_none(self):
        done = subprocess.run(
            ["/usr/bin/python3", "-B", TESTS / "leftovers.py", "/nonsense"],
            env=dict(os.environ, TMPDIR=str(self.directory)), stderr=subprocess.PIPE, text=True,
            check=False)
        self.assertEqual(done.returncode, 127)
        self.assertIn("/nonsense", done.stderr)
        self.assertEqual(list(self.directory.glob("nt-*")), [])

    def test_a_cgroup_is_found(self):
        cgroup = leftovers.make_cgroup()
        if cgroup is None:
            self.skipTest("no cgroups here")
        cgroup.rmdir()
        plant = f"import sys; sys.path.append({str(TESTS)!r}); import leftovers; " \
                "path = leftovers.own_cgroup() / 'planted' / 'below'; path.mkdir(parents=True)"
        code, left = self.check("/usr/bin/python3", "-B", "-c", plant)
        self.assertEqual(code, 1)
        self.assertEqual([line.rpartition("/planted")[2] for line in left], ["/below", ""])
        self.assertFalse(pathlib.Path(left[1].partition(" ")[2]).parent.exists())

    def test_what_others_made_meanwhile_is_not_blamed(self):
        other = subprocess.Popen(["sleep", "60"])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        with tempfile.NamedTemporaryFile(dir=self.directory):
            self.assertEqual(self.script(f"test -d /proc/{other.pid}"), (0, []))
        self.assertIsNone(other.poll())


class CheckedTest(unittest.TestCase):
    """The check of one test."""

    def setUp(self):
        self.mark = "mark-" + uuid.uuid4().hex
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.command = ["/usr/bin/python3", "-ISB", TESTS / "checked.py"]
        self.options = {"env": dict(os.environ, TMPDIR=str(self.directory)),
                        "stderr": subprocess.PIPE, "text": True}

    def script(self, text, patience=0):
        """The exit code and what is said; nothing of it may be there after that."""
        done = subprocess.run(
            [*self.command, "--patience", str(patience), "sh", "-c", text, "sh", self.mark],
            check=False, timeout=PATIENCE, **self.options)
        self.assertEqual(marked(self.mark), [])
        self.assertEqual(list(self.directory.iterdir()), [])
        return done.returncode, done.stderr

    def test_of_what_cleans_up_nothing_is_said(self):
        self.assertEqual(self.script("touch $TMPDIR/a; rm $TEST_TMPDIR/a; sleep 0 & wait"), (0, ""))

    def test_the_exit_code_is_the_test_s(self):
        self.assertEqual(self.script("exit 7"), (7, ""))
        self.assertEqual(self.script("kill -9 $$"), (137, ""))
        self.assertEqual(self.script("touch $TMPDIR/a; exit 7"),
                         (7, "left behind: file a in TMPDIR\n"))

    def test_no_signal_is_ignored(self):
        # Python itself ignores some, and who is started by it would, too.
        self.assertEqual(self.script("grep -q 'SigIgn:.*0000000000000000' /proc/$$/status"),
                         (0, ""))

    def test_a_file_that_is_left_is_a_failure(self):
        self.assertEqual(self.script("mkdir -p $TMPDIR/a/b"),
                         (1, "left behind: file a in TMPDIR\n"))

    def test_a_process_that_is_left_is_a_failure(self):
        for start in ("sleep 60 &", "(setsid sleep 60 &)", "env -i setsid sleep 60 & exit 0"):
            with self.subTest(start):
                code, said = self.script(start)
                self.assertEqual(code, 1)
                self.assertRegex(said, r"^left behind: process \d+: ")

    def test_one_that_ends_in_time_is_not(self):
        done = subprocess.run([*self.command, "--patience", str(PATIENCE), "sh", "-c",
                               "read line & exit 0"], stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0)

    def test_another_test_is_not_blamed(self):
        other = subprocess.Popen([*self.command, "sh", "-c", "touch $TMPDIR/a; echo; read line",
                                  "sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 **self.options)
        with other:
            other.stdout.readline()
            done = subprocess.run([*self.command, "--patience", "0", "true"], check=False,
                                  **self.options)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIsNone(other.poll())
            other.stdin.close()
            self.assertEqual(other.stderr.read(), "left behind: file a in TMPDIR\n")
        self.assertEqual(other.returncode, 1)

    def test_whoever_ends_the_check_ends_the_test(self):
        with subprocess.Popen([*self.command, "sh", "-c", "echo; read line", "sh", self.mark],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              **self.options) as process:
            process.stdout.readline()
            process.kill()
            wait_until(lambda: not marked(self.mark))

    def test_a_command_that_is_none(self):
        done = subprocess.run([*self.command, "/nonsense"], check=False, **self.options)
        self.assertEqual(done.returncode, 127)
        self.assertEqual(done.stderr, "/nonsense: No such file or directory\n")

    def test_every_test_is_run_by_it(self):
        told = subprocess.run(["ctest", "--show-only=json-v1"], cwd=os.environ["NURSERY_BUILD"],
                              stdout=subprocess.PIPE, check=True).stdout
        tests = json.loads(told)["tests"]
        self.assertGreater(len(tests), 50)
        for test in tests:
            self.assertIn("/tests/checked.py", " ".join(test["command"]), test["name"])


if __name__ == "__main__":
    unittest.main()
