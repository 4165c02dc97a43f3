"""deploy/compose.yaml, as far as it can be checked without Docker."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from observed import ROOT
from service import BIN, PATIENCE, default_signals, wait_until

FILE = ROOT / "deploy" / "compose.yaml"
KEYS = {"build", "command", "entrypoint", "environment", "healthcheck", "image", "init",
        "network_mode", "ports", "stop_grace_period", "volumes"}


def problems_of(text):
    """What docker compose would stumble over, a line for each."""
    found = []
    services = yaml.safe_load(text)["services"]
    for name, service in services.items():
        found += [f"{name}: unknown key {key}" for key in set(service) - KEYS]
        if ("image" in service) == ("build" in service):
            found.append(f"{name}: one of image and build")
        if not re.search(r":v?\d+\.\d+\.\d+$", service.get("image", ":1.1.1")):
            found.append(f"{name}: the image has no version")
        if "build" in service and not (FILE.parent / service["build"] / "Dockerfile").is_file():
            found.append(f"{name}: no Dockerfile")
        network = service.get("network_mode", "service:" + name).removeprefix("service:")
        if network not in services:
            found.append(f"{name}: no service {network}")
        for volume in service.get("volumes", []):
            source, _, how = volume.split(":")
            if not (FILE.parent / source).is_dir() or how != "ro":
                found.append(f"{name}: {volume}")
    return found


class ComposeTest(unittest.TestCase):
    text = FILE.read_text(encoding="utf-8")

    def test_nothing_is_in_its_way(self):
        self.assertEqual(problems_of(self.text), [])

    def test_mistakes_are_found(self):
        for right, wrong in (("build: ..", "build: ./grafana"), ("./prometheus:", "./prom:"),
                             ('"service:nursery"', '"service:server"'), ("ports:", "prots:"),
                             ("v2.53.0", "latest"), ("    image: grafana/grafana:11.1.0\n", "")):
            self.assertIn(right, self.text)
            self.assertNotEqual(problems_of(self.text.replace(right, wrong)), [], wrong)

    def test_the_server_takes_its_command_and_is_healthy(self):
        server = yaml.safe_load(self.text)["services"]["nursery"]
        with tempfile.TemporaryDirectory() as directory:
            def here(words):
                return [word.replace("/tmp", directory) for word in words]
            program, = server["entrypoint"]
            command = [str(BIN / program), *here(server["command"]), "--http", "127.0.0.1:0"]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL,
                                       preexec_fn=default_signals)
            self.addCleanup(process.wait, PATIENCE)
            self.addCleanup(process.terminate)
            kind, program, *arguments = here(server["healthcheck"]["test"])
            self.assertEqual(kind, "CMD")
            check = [str(BIN / program), *arguments]
            socket = pathlib.Path(directory, "nursery", "nursery.sock")
            wait_until(lambda: socket.exists() or process.poll() is not None)
            subprocess.run(check, check=True, timeout=PATIENCE, env=dict(os.environ))
            process.terminate()
            self.assertEqual(process.wait(PATIENCE), 0)
            self.assertNotEqual(subprocess.run(check, check=False, timeout=PATIENCE,
                                               stderr=subprocess.DEVNULL).returncode, 0)


if __name__ == "__main__":
    unittest.main()
