"""The commands that talk to a server, as a user meets them."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest
import uuid

from service import BIN, PATIENCE, PROTO, Server, default_signals, marked, wait_until

HELLO = "name: hello\nexec: {argv: [echo, hello]}\n"
TREE = """name: tree
nodes:
  - {name: good, exec: {argv: [echo, fine]}}
  - {name: bad, needs: [good], exec: {argv: [sh, -c, "echo no such luck >&2; exit 3"]}}
"""


class CliTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.cwd = pathlib.Path(directory.name)
        self.server = Server(directory.name, config="semaphores: [{name: license, size: 1}]\n")
        self.addCleanup(self.server.stop)
        self.environment = dict(os.environ, NURSERY_SERVER=self.server.address)
        self.mark = "mark-" + uuid.uuid4().hex

    def start(self, *arguments):
        return subprocess.Popen([str(BIN / "nursery"), *arguments], cwd=self.cwd, text=True,
                                env=self.environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                preexec_fn=default_signals)

    def nursery(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code, out + err)
        return out + err

    def write(self, text, name="job.yaml"):
        (self.cwd / name).write_text(text)
        return name

    def submit(self, text):
        return self.nursery("submit", self.write(text)).strip()

    def sleeper(self):
        return (f"name: sleeper\nnodes:\n  - name: long\n"
                f"    exec: {{argv: [sh, -c, 'sleep 60; :', {self.mark}]}}\n")

    def test_submit_watch_show_and_logs(self):
        job = self.submit(TREE)
        self.assertRegex(job, r"^\w{26}$")
        out = self.nursery("watch", job)
        self.assertIn("bad       FAILED", out)
        self.assertIn(f"job {job}  FAILED", out)
        out = self.nursery("show", "tree")
        self.assertIn("├─ good", out)
        self.assertIn("| no such luck", out)
        self.assertEqual(self.nursery("logs", job, "good"), "fine\n")
        self.assertEqual(self.nursery("logs", job, "good", "-n", "0"), "")
        self.assertEqual(self.nursery("logs", job, "good", "-n", "1", "--attempt", "1"), "fine\n")
        self.assertIn("no attempt 2 of 'good'",
                      self.nursery("logs", job, "good", "--attempt", "2", code=1))
        self.nursery("logs", job, "good", "-n", "-1", code=2)
        self.assertIn("bad is FAILED: exit code 3", self.nursery("explain", job, "bad"))
        shown = json.loads(self.nursery("show", job, "-o", "json"))
        self.assertEqual((shown["id"], shown["state"]), (job, "FAILED"))

    def test_every_mistake_of_a_submitted_file_has_its_line(self):
        out = self.nursery("submit", self.write("name: x\ntiemout: 1s\nnodes: 5\n"), code=2)
        self.assertIn("job.yaml:2:1: tiemout: unknown field", out)
        self.assertIn("\njob.yaml:3:8: nodes", out)
        out = self.nursery("submit", self.write('name: "a\\x1b[31m"\ncall: noop\n'), code=2)
        self.assertNotIn("\x1b", out)

    def test_what_only_the_server_has_is_left_to_it(self):
        for command in (["submit"], ["run"], ["run", "--timeout", "1m"]):
            self.nursery(*command, self.write("name: io\ncall: noop\npool: io\n"))
        node = "acquire: [{semaphore: license, scope: server}]\ncall: noop\n"
        self.nursery("submit", self.write("name: licensed\n" + node))
        for command in ("submit", "run"):
            out = self.nursery(command, self.write("name: x\ncall: noop\npool: nope\n"), code=2)
            self.assertIn("'nope' is no pool of this server", out)

    def test_ls_shows_the_newest_first(self):
        first, second = self.submit(HELLO), self.submit(HELLO)
        lines = self.nursery("ls").splitlines()
        self.assertEqual([line.split()[0] for line in lines], [second, first])
        self.assertEqual(len(self.nursery("ls", "-n", "1").splitlines()), 1)

    def test_run_on_a_server_ends_as_a_run_here(self):
        out = self.nursery("run", self.write(TREE), code=1)
        self.assertIn("good      SUCCEEDED", out)
        self.assertIn("error: bad: exit code 3", out)
        self.nursery("run", self.write(HELLO), code=0)
        self.nursery("run", self.write("name: late\ntimeout: 100ms\nsleep: 60s\n"), code=4)
        self.nursery("run", self.write("name: x\nnodes: 5\n"), code=2)

    def test_a_run_on_a_server_is_shown_as_one_here(self):
        late = self.write("name: late\nnodes:\n  - {name: long, sleep: 60s}\n"
                          "  - {name: after, needs: [long], sleep: 1s}\n")
        pictures = []
        for server in (self.server.address, ""):
            self.environment["NURSERY_SERVER"] = server
            if not server:
                del self.environment["NURSERY_SERVER"]
            out = self.nursery("run", "--timeout", "100ms", late, code=4)
            pictures.append(re.sub(r"\w{26}|[\d.]+m?s", "_", out))
        self.assertEqual(*pictures)
        self.assertIn("after     SKIPPED", pictures[0])

    def test_a_run_on_a_server_of_this_machine_is_where_the_user_is(self):
        here = self.write("name: here\nexec: {argv: [sh, -c, 'pwd > here.txt']}\n")
        self.nursery("run", here)
        self.assertEqual((self.cwd / "here.txt").read_text().strip(), str(self.cwd.resolve()))

    def test_what_belongs_to_a_run_here_is_refused_with_a_server(self):
        out = self.nursery("run", "--slots", "3", self.write(HELLO), code=2)
        self.assertIn("--slots: it belongs to a run here, but NURSERY_SERVER names "
                      f"{self.server.address}; run with NURSERY_SERVER= to run here", out)
        out = self.nursery("run", "--slots", "3", "--server", self.server.address,
                           self.write(HELLO), code=2)
        self.assertIn("--slots: not with --server", out)
        self.assertEqual(self.nursery("run", "--", "echo", "here"), "here\n")

    def test_ctrl_c_cancels_a_remote_run(self):
        process = self.start("run", self.write(self.sleeper()))
        wait_until(lambda: marked(self.mark))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 3, out + err)
        self.assertIn("0 left", err)
        self.assertEqual(marked(self.mark), [])

    def test_a_third_ctrl_c_gives_up_on_a_server_that_does_not_answer(self):
        process = self.start("run", self.write(self.sleeper()))
        wait_until(lambda: marked(self.mark))
        self.server.process.send_signal(signal.SIGSTOP)
        self.addCleanup(self.server.process.send_signal, signal.SIGCONT)
        for said in ("cancelling; once more kills at once\n", "killing\n"):
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.stderr.readline(), said)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 128 + signal.SIGINT, out + err)

    def test_cancel_waits_for_the_last_process(self):
        job = self.submit(self.sleeper())
        wait_until(lambda: marked(self.mark))
        out = self.nursery("cancel", "--wait", "sleeper", "--reason", "wrong input")
        self.assertEqual(marked(self.mark), [])
        self.assertIn(f"cancelled {job} (sleeper)", out)
        self.assertIn("wrong input", out)
        self.assertIn("0 left", out)
        self.assertIn("had ended before", self.nursery("cancel", job))

    def test_what_is_not_there_is_named(self):
        self.assertIn("no job has the id or the name 'nope'", self.nursery("show", "nope", code=1))
        job = self.submit(HELLO)
        self.submit(HELLO)
        self.assertIn("begins the ids of 2 jobs", self.nursery("show", job[:2], code=2))
        self.assertIn("has no node 'nope'", self.nursery("explain", job, "nope", code=1))

    def test_a_name_may_be_as_long_as_an_id(self):
        name = "n" * 26
        self.submit(f"name: {name}\nexec: {{argv: [echo, hello]}}\n")
        self.assertIn(name, self.nursery("show", name))
        self.assertIn("no job has the id or the name", self.nursery("show", "m" * 26, code=1))

    def test_an_empty_variable_is_none(self):
        self.environment["NURSERY_SERVER"] = ""
        self.environment["XDG_RUNTIME_DIR"] = str(self.cwd)
        self.assertIn(f"no server at {self.cwd}/nursery/nursery.sock",
                      self.nursery("ls", code=5))
        self.nursery("run", "--slots", "3", self.write(HELLO))

    def test_the_python_client_runs_a_job(self):
        client = PROTO.parent / "deploy" / "examples" / "python-client" / "client.py"
        done = subprocess.run([sys.executable, "-B", client, self.server.address, PROTO],
                              stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
        self.assertIn("sum NODE_STATE_SUCCEEDED", done.stdout)
        self.assertIn("result: 3\n", done.stdout)

    def test_two_dumps_show_what_has_grown(self):
        before = self.write(self.nursery("dump", "--aggregate"), "before.txt")
        self.submit(self.sleeper())
        wait_until(lambda: marked(self.mark))
        after = self.write(self.nursery("dump", "--aggregate"), "after.txt")
        out = self.nursery("dump", "--diff", before, after)
        self.assertRegex(out, r"^\+\d+ tasks, \d+ spawn lines changed\n")
        self.assertRegex(out, r"\n\+1 spawned at .*:\d+  before 0, after 1\n"
                              r"    \+1 \[.*\] .*long.*, at .*:\d+  before 0, after 1\n")
        self.assertIn("\n0 tasks, 0 spawn lines changed\n",
                      "\n" + self.nursery("dump", "--diff", after, after))
        with open(self.cwd / after, encoding="utf-8") as text:
            done = subprocess.run([str(BIN / "nursery"), "dump", "--diff", before, "-"],
                                  cwd=self.cwd, stdin=text, stdout=subprocess.PIPE, text=True,
                                  timeout=PATIENCE, check=True)
        self.assertEqual(done.stdout, out)

    def test_what_is_no_aggregated_dump_is_refused_with_file_and_line(self):
        good = self.write(self.nursery("dump", "--aggregate"), "good.txt")
        plain = self.write(self.nursery("dump"), "plain.txt")
        out = self.nursery("dump", "--diff", good, plain, code=2)
        self.assertRegex(out, r"plain.txt: line 1: .*, not '\d+ tasks'; take one with: "
                              r"nursery dump --aggregate")
        cut = self.write((self.cwd / good).read_text()[:200], "cut.txt")
        self.assertRegex(self.nursery("dump", "--diff", cut, good, code=2), r"cut.txt: line \d+: ")
        self.assertIn("nowhere.txt", self.nursery("dump", "--diff", "nowhere.txt", good, code=1))
        self.assertIn("stdin: line 1", self.nursery("dump", "--diff", good, "-", code=2))

    def test_a_dump_says_which_options_do_not_go_together(self):
        for options, words in ((("--diff", "-", "-"), "stdin has one dump"),
                               (("--diff", "a", "b", "--aggregate"), "leave out --aggregate"),
                               (("--aggregate", "-o", "json"), "leave out -o json")):
            self.assertIn(words, self.nursery("dump", *options, code=2))
        self.assertIn("--diff before.txt -", self.nursery("dump", "--help"))

    def test_a_dump_is_json_on_demand(self):
        (executor,) = json.loads(self.nursery("dump", "-o", "json"))["executors"]
        self.assertIn("nurseryd", [each["name"] for each in executor["tasks"]])
        self.assertEqual(self.nursery("dump", "--stuck"), "0 tasks\n")

    def test_dump_and_drain(self):
        self.assertIn("task ", self.nursery("dump"))
        self.submit(self.sleeper())
        self.assertIn("draining: 1 job cancelled", self.nursery("drain", "--timeout", "5s"))
        self.assertEqual(self.server.process.wait(PATIENCE), 0)
        out = self.nursery("ls", code=5)
        self.assertIn("no server at", out)
        self.assertIn("start one with 'nurseryd'", out)

    def test_a_server_that_stops_is_not_taken_for_none(self):
        # Held up by a job that ignores SIGTERM, until it is killed.
        self.submit(f"name: holder\ngrace: 1h\nexec: {{argv: [sh, -c, \"trap '' TERM; "
                    f"touch up; while :; do sleep 60; done\", {self.mark}]}}\n"
                    f"workdir: {self.cwd}\n")
        wait_until((self.cwd / "up").exists)
        self.nursery("drain", "--timeout", "10m")
        out = wait_until(lambda: self.submit_while_draining())
        self.assertIn("error: the server is stopping\n", out)
        self.assertNotIn("nurseryd", out)
        self.nursery("cancel", "--kill", "holder")
        self.assertEqual(self.server.process.wait(PATIENCE), 0)

    def submit_while_draining(self):
        process = self.start("submit", self.write(HELLO))
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode == 5 and out + err


if __name__ == "__main__":
    unittest.main()
