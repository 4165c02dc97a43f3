"""What tries to outlive its task: nothing of it is alive when the task has ended, nor two seconds
after the command line was killed. A trial counts only if all its processes were seen alive first.
"""

import os
import signal
import subprocess
import time
import unittest

from program import BIN, ESCAPEE, PATIENCE, ProgramTest, marked, wait_until

# Each with how many processes it announces before it stays.
SHAPES = {
    "background": 4, "ignores_term": 2, "setsid": 2, "double_fork": 2, "daemon": 2,
    "holds_stdout": 2, "stops_itself": 2, "wide": 25, "clean_environment": 2,
}


class EscapeTest(ProgramTest):
    def start_escapee(self, shape, *options):
        """The CLI with the shape's processes alive below it; they live until its stdin ends."""
        process = self.start("run", *options, "--", ESCAPEE, shape, self.mark,
                             stdin=subprocess.PIPE)
        pids = {int(process.stdout.readline()) for _ in range(SHAPES[shape])}
        self.assertLessEqual(pids, set(marked(self.mark)))
        return process

    def test_a_normal_exit_leaves_nothing(self):
        for shape in SHAPES:
            with self.subTest(shape):
                process = self.start_escapee(shape)
                process.stdin.close()
                process.wait(timeout=PATIENCE)
                self.assertEqual(marked(self.mark), [])
                process.stdout.close()
                process.stderr.close()

    def test_what_the_level_group_does_not_reach_is_told(self):
        warden = self.cwd / "warden"
        warden.write_text(f"#!/bin/sh\nexec {BIN}/nursery-warden \"$@\" --level=group\n")
        warden.chmod(0o755)
        self.environment["NURSERY_WARDEN"] = str(warden)
        process = self.start_escapee("setsid")
        process.stdin.close()
        process.wait(timeout=PATIENCE)
        (escaped,) = marked(self.mark)
        os.kill(escaped, signal.SIGKILL)  # it has our pipes
        self.assertIn("1 process is left alive, out of reach of containment group:\n"
                      f"  pid {escaped}  ", process.stderr.read())
        process.stdout.close()
        process.stderr.close()

    def test_a_cancel_leaves_nothing(self):
        for shape in SHAPES:
            with self.subTest(shape):
                process = self.start_escapee(shape)
                process.send_signal(signal.SIGINT)
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=PATIENCE)
                self.assertEqual(marked(self.mark), [])

    def test_a_deadline_leaves_nothing(self):
        for shape in SHAPES:
            with self.subTest(shape):
                process = self.start_escapee(shape, "--timeout", "1s", "--grace", "200ms")
                process.wait(timeout=PATIENCE)
                self.assertEqual(process.returncode, 124)
                self.assertEqual(marked(self.mark), [])
                process.communicate(timeout=PATIENCE)

    def test_a_kill_of_the_command_line_leaves_nothing(self):
        slowest = 0
        for shape in SHAPES:
            with self.subTest(shape):
                process = self.start_escapee(shape)
                process.kill()
                killed = time.monotonic()
                wait_until(lambda: not marked(self.mark))
                slowest = max(slowest, time.monotonic() - killed)
                process.communicate(timeout=PATIENCE)
        print(f"  all gone {slowest:.3f} s after kill -9, at the slowest of {len(SHAPES)} shapes")


if __name__ == "__main__":
    unittest.main()
