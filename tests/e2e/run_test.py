"""nursery run, validate and version, as a user meets them."""

import pathlib
import re
import signal
import subprocess
import unittest

from program import BUILD, PATIENCE, ProgramTest, children, marked, wait_until


def sleepers(count, mark, extra=""):
    """`count` nodes that sleep for a minute; the mark is among their arguments."""
    node = "  - {{name: n{0}{2}, exec: {{argv: [sh, -c, 'sleep 60; :', {1}]}}}}\n"
    return "".join(node.format(i, mark, extra) for i in range(count))


class CommandTest(ProgramTest):
    def test_passes_streams_and_exit_code_through(self):
        process = self.start("run", "--", "sh", "-c", "cat; echo oops >&2; exit 7",
                             stdin=subprocess.PIPE)
        out, err = process.communicate("through\n", timeout=PATIENCE)
        self.assertEqual((process.returncode, out, err), (7, "through\n", "oops\n"))

    def test_exit_codes_of_what_is_not_the_command(self):
        self.run_program("run", "--", "no-such-program", code=127)
        self.write("plain.txt", "no program")
        self.run_program("run", "--", "./plain.txt", code=126)
        self.run_program("run", "--timeout", "200ms", "--", "sleep", "60", code=124)
        self.run_program("run", "--", "sh", "-c", "kill -KILL $$", code=128 + signal.SIGKILL)

    def test_dashes_of_the_command_are_its_own(self):
        out, _ = self.run_program("run", "--", "echo", "--help", "--", "-o", code=0)
        self.assertEqual(out, "--help -- -o\n")

    def test_each_line_runs_the_command_for_every_line(self):
        self.write("lines.txt", "one\ntwo words\n\n$HOME 'quoted'\nlast")
        out, _ = self.run_program("run", "--each-line", "lines.txt", "--workers", "3", "--", "echo",
                                  "<{}>", code=0)
        self.assertEqual(sorted(out.splitlines()),
                         sorted(["<one>", "<two words>", "<>", "<$HOME 'quoted'>", "<last>"]))
        out, _ = self.run_program("run", "--each-line", "-", "--", "echo", code=0,
                                  stdin=open(self.cwd / "lines.txt"))
        self.assertIn("two words", out.splitlines())

    def test_each_line_fails_when_one_line_does_and_runs_all(self):
        self.write("lines.txt", "0\n3\n0\n")
        script = 'echo ran; exit "$1"'
        out, _ = self.run_program("run", "--each-line", "lines.txt", "--", "sh", "-c", script, "sh",
                                  code=1)
        self.assertEqual(out, "ran\n" * 3)


class FileTest(ProgramTest):
    def test_usage_errors(self):
        for arguments in (["run"], ["run", "a.yaml", "--", "true"], ["nonsense"], [],
                          ["run", "missing.yaml"], ["run", "--timeout", "5", "--", "true"],
                          ["run", "--each-line", "x", "job.yaml"], ["validate"]):
            self.run_program(*arguments, code=2)

    def test_help_has_an_example_everywhere(self):
        for command in (["run"], ["validate"]):
            out, _ = self.run_program(*command, "--help", code=0)
            self.assertIn("Example", out)

    def test_version(self):
        out, _ = self.run_program("version", code=0)
        self.assertRegex(out, r"^nursery \d+\.\d+\.\d+\n$")

    def test_validate_shows_every_error_with_its_place(self):
        name = self.write("wrong.yaml",
                          "name: wrong\ntiemout: 5s\nnodes:\n  - {name: a, sleep: 10}\n")
        _, err = self.run_program("validate", name, code=2)
        self.assertEqual(err.splitlines(), [
            "wrong.yaml:2:1: tiemout: unknown field; did you mean 'timeout'?",
            "wrong.yaml:4:22: nodes[0].sleep: 10 needs a unit, as in 10s, 5m, 1h30m",
            "2 errors"])
        _, run_err = self.run_program("run", name, code=2)
        self.assertEqual(run_err, err)

    def test_fail_fast_names_path_attempt_code_and_last_lines(self):
        text = "name: many\nnodes:\n" + sleepers(49, self.mark)
        text += "  - {name: bad, exec: {argv: [sh, -c, 'echo first; echo why >&2; exit 3']}}\n"
        name = self.write("many.yaml", text)
        out, err = self.run_program("run", "--slots", "50", name, code=1)
        self.assertRegex(out + err, r"error: bad: exit code 3")
        self.assertIn("| why", out + err)
        self.assertEqual(marked(self.mark), [])
        job = self.run_json("run", "--slots", "50", name, code=1)
        self.assertEqual(job["state"], "FAILED")
        self.assertEqual(job["counts"]["cancelled"] + job["counts"]["skipped"], 49)
        self.assertEqual(job["errors"][0]["path"], "bad")
        self.assertEqual(job["errors"][0]["stderr_tail"], "why")

    def test_deadline_takes_the_tree_down_and_says_who_set_it(self):
        name = self.write("late.yaml",
                          "name: late\ntimeout: 1s\nnodes:\n" + sleepers(10, self.mark))
        out, err = self.run_program("run", "--slots", "10", name, code=4)
        self.assertEqual(marked(self.mark), [])
        self.assertIn("job timeout 1s, set in late.yaml:2", out + err)
        self.assertRegex(out + err, r"of 1\.00s: .*ran ")

    def test_sigterm_is_followed_by_sigkill_after_the_grace(self):
        script = "trap : TERM; while :; do sleep 1; done"
        name = self.write("deaf.yaml", f"""name: deaf
timeout: 300ms
defaults: {{grace: 500ms}}
nodes:
  - {{name: deaf, exec: {{argv: [sh, -c, "{script}", {self.mark}]}}}}
""")
        job = self.run_json("run", name, code=4)
        self.assertEqual(marked(self.mark), [])
        self.assertEqual(job["state"], "DEADLINE_EXCEEDED")

    def peak_of(self, process):
        """The last high-water mark of its memory that was seen before it ended."""
        peak = 0
        while process.poll() is None:
            status = pathlib.Path("/proc", str(process.pid), "status").read_text()
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            peak = int(found[1]) << 10 if found else peak
        return peak

    def test_a_million_items_cost_little_more_than_their_bytes(self):
        items = ",".join(str(i) for i in range(1_000_000))
        text = "name: {}\nnodes:\n  - name: m\n    map:\n      workers: 16\n"
        text += "      items: [{}]\n      node: {{call: noop}}\n"
        peaks = []
        for name, of in (("small", "1"), ("large", items)):
            self.write(name + ".yaml", text.format(name, of))
            process = self.start("run", name + ".yaml", stdin=None)
            peaks.append(self.peak_of(process))
            out, err = process.communicate(timeout=PATIENCE)
            self.assertEqual(process.returncode, 0, out + err)
        growth = peaks[1] - peaks[0]
        print(f"  one million items of {len(items)} bytes: memory grew by {growth >> 20} MiB")
        sanitized = BUILD.name.endswith("san")
        if not sanitized:  # a sanitizer's shadow is not ours
            self.assertLess(growth, len(items) + 50_000_000)


class InterruptTest(ProgramTest):
    def start_sleepers(self, extra="", grace="5s"):
        name = self.write("long.yaml", f"name: long\ndefaults: {{grace: {grace}}}\nnodes:\n" +
                          sleepers(3, self.mark) + extra)
        process = self.start("run", "--slots", "9", name)
        def all_sleep():
            shells = marked(self.mark)
            return len(shells) >= 3 and all(children(shell) for shell in shells)
        wait_until(all_sleep)
        return process

    def test_ctrl_c_cancels_and_shows_the_receipt(self):
        process = self.start_sleepers()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 3, out + err)
        self.assertEqual(marked(self.mark), [])
        self.assertRegex(out + err, r"cancelled .* in .*: Ctrl-C")
        self.assertRegex(out + err, r"6 ended by SIGTERM, 0 by SIGKILL, 0 left")

    def test_a_second_ctrl_c_kills(self):
        deaf = "  - {name: deaf, exec: {argv: [sh, -c, 'trap : TERM; echo ready >&3; " \
               f"while :; do sleep 1; done', {self.mark}]}}}}\n".replace(" >&3", "")
        process = self.start_sleepers(deaf, grace="1h")
        wait_until(lambda: len(marked(self.mark)) >= 4)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: len(marked(self.mark)) <= 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 3, out + err)
        self.assertEqual(marked(self.mark), [])

    def test_hangup_is_as_ctrl_c(self):
        process = self.start_sleepers()
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 3)
        self.assertEqual(marked(self.mark), [])

    def test_sigquit_dumps_the_tasks_and_the_job_goes_on(self):
        process = self.start_sleepers()
        process.send_signal(signal.SIGQUIT)
        lines = []
        while "n0" not in "".join(lines):
            lines.append(process.stderr.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        self.assertIn(" tasks", "".join(lines))
        self.assertEqual(process.returncode, 3)


if __name__ == "__main__":
    unittest.main()
