"""What surrounds a run: streams that are closed or full, signals, directories, limits, the end of
its warden."""

import os
import resource
import shutil
import signal
import subprocess
import unittest

from program import NURSERY, PATIENCE, ProgramTest, children, default_signals, marked, wait_until


class StreamTest(ProgramTest):
    def test_a_job_that_ends_at_once_is_no_error(self):
        self.write("none.yaml", "name: none\nnodes: []\n")
        self.write("noop.yaml", "name: noop\ncall: noop\n")
        self.write("empty.txt", "")
        for _ in range(20):
            self.run_program("run", "none.yaml", code=0)
            self.run_program("run", "noop.yaml", code=0)
        self.run_program("run", "--each-line", "empty.txt", "--", "false", code=0)

    def test_who_stops_reading_cancels_the_job_and_it_cleans_up(self):
        self.write("job.yaml", "name: job\nnodes:\n  - {name: first, exec: {argv: ['true']}}\n"
                   f"  - name: long\n    exec: {{argv: [sh, -c, 'sleep 60; :', {self.mark}]}}\n"
                   "    finally: {exec: {argv: [touch, cleaned]}}\n"
                   "  - {name: second, needs: [first], sleep: 300ms}\n")
        process = self.start("run", "job.yaml")
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        self.assertEqual(process.wait(PATIENCE), 3, err)
        self.assertIn("nobody reads stdout", err)
        self.assertTrue((self.cwd / "cleaned").exists())
        self.assertEqual(marked(self.mark), [])

    def test_output_that_cannot_be_written_is_an_error(self):
        self.write("job.yaml", "name: job\ncall: noop\n")
        for arguments in (["run", "job.yaml"], ["run", "job.yaml", "-o", "json"],
                          ["validate", "job.yaml"], ["version"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                done = subprocess.run([NURSERY, *arguments], cwd=self.cwd, env=self.environment,
                                      stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertIn("stdout could not be written", done.stderr)

    def test_closed_streams_are_empty_ones_for_the_command(self):
        script = "ls -l /proc/self/fd; cat"
        done = subprocess.run(
            ["sh", "-c", f'exec "$0" run -- sh -c "{script}" <&- 2>&-', NURSERY], cwd=self.cwd,
            env=self.environment, stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout.count("/dev/null"), 2, done.stdout)

    def test_a_command_line_is_no_template(self):
        out, _ = self.run_program("run", "--", "echo", "${{ github.sha }}", "{}", code=0)
        self.assertEqual(out, "${{ github.sha }} {}\n")
        self.write("lines.txt", "x\n")
        out, _ = self.run_program("run", "--each-line", "lines.txt", "--", "echo", "${{ a }}{}!",
                                  code=0)
        self.assertEqual(out, "${{ a }}x!\n")

    def test_a_job_file_may_come_through_stdin(self):
        read, write = os.pipe()
        os.write(write, b"name: piped\nnodes: [{name: a, tiemout: 1s}]\n")
        os.close(write)
        _, err = self.run_program("run", "-", code=2, stdin=read)
        os.close(read)
        self.assertIn("-:2:", err)


class SignalTest(ProgramTest):
    def start_sleeper(self, *prefix):
        process = subprocess.Popen(
            [*prefix, NURSERY, "run", "--", "sh", "-c", "sleep 60; :", self.mark], cwd=self.cwd,
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=default_signals)
        # The shell, once it has started its sleep.
        wait_until(lambda: any(children(pid) for pid in marked(self.mark)))
        return process

    def test_the_exit_code_is_that_of_the_signal(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start_sleeper()
            process.send_signal(number)
            self.assertEqual(process.wait(PATIENCE), 128 + number)
            self.assertEqual(marked(self.mark), [])

    def test_what_was_ignored_stays_ignored(self):
        process = self.start_sleeper("nohup")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 128 + signal.SIGTERM)

    def test_a_command_is_not_run_twice_when_its_warden_dies(self):
        script = 'echo ran >> runs; kill -9 $PPID; sleep 60'
        self.run_program("run", "--", "sh", "-c", script, self.mark, code=125)
        self.assertEqual((self.cwd / "runs").read_text(), "ran\n")
        self.assertEqual(marked(self.mark), [])


class LimitTest(ProgramTest):
    def test_a_removed_directory_is_refused(self):
        directory = self.cwd / "gone"
        directory.mkdir()
        done = subprocess.run(
            ["sh", "-c", f'rmdir ../gone && exec "{NURSERY}" run -- pwd'], cwd=directory,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            check=False)
        self.assertEqual((done.returncode, done.stdout), (125, ""))
        self.assertIn("working directory", done.stderr)

    def test_too_few_open_files_are_refused(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        _, err = self.run_program("run", "--", "true", code=125, preexec_fn=limit)
        self.assertIn("ulimit -n", err)

    def test_a_deadline_that_passes_before_the_start_starts_nothing(self):
        shutil.copy("/bin/sleep", self.cwd / "sleep")
        for _ in range(10):
            out, err = self.run_program("run", "--timeout", "1ms", "--grace", "1h", "--",
                                        "./sleep", "60", code=124)
            self.assertIn("deadline exceeded", out + err)


if __name__ == "__main__":
    unittest.main()
