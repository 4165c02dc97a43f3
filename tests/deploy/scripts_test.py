"""The scripts below deploy/: they parse, can be run, and refuse what they do not know."""

import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted([*(ROOT / "deploy").glob("*.sh"), ROOT / ".ci" / "run"])


def run(*command):
    return subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=60,
    )


class ScriptsTest(unittest.TestCase):
    def test_every_script_parses_and_can_be_run(self):
        self.assertGreaterEqual(len(SCRIPTS), 4)
        for script in SCRIPTS:
            with self.subTest(script=script.name):
                self.assertEqual(0, run("bash", "-n", script).returncode)
                self.assertTrue(script.stat().st_mode & 0o100)

    def test_setup_leaves_apt_alone_when_all_is_there(self):
        done = run("deploy/setup.sh", "--test")
        self.assertEqual(0, done.returncode, done.stdout)
        self.assertRegex(done.stdout, r"^setup: all \d+ packages are installed\n$")

    def test_unknown_arguments_are_refused(self):
        for script in ("deploy/setup.sh", "deploy/test.sh"):
            done = run(script, "--nonsense")
            self.assertEqual(2, done.returncode, script)
            self.assertIn(f"usage: {script}", done.stdout)

    def test_setup_never_installs_the_prometheus_service(self):
        text = (ROOT / "deploy" / "setup.sh").read_text(encoding="utf-8")
        lists = re.findall(r"^\w+_packages=\((.*?)^\)", text, re.M | re.S)
        self.assertEqual(2, len(lists))
        self.assertNotIn("prometheus", " ".join(lists).split())


if __name__ == "__main__":
    unittest.main()
