"""A server as Prometheus sees it: its metrics, and a real Prometheus that scrapes them."""

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.append(str(pathlib.Path(__file__).parents[1] / "service"))
from service import PATIENCE, default_signals, wait_until  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
TOOLS = pathlib.Path(os.environ.get("NURSERY_TOOLS") or pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "nursery-tools"),
    "usr", "bin")
SAMPLE = re.compile(r"(\w+(?:\{.*\})?) (\S+)")


def fetch(address, path, method="GET", **headers):
    """(status, headers, body) of one request."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def promtool(*arguments, text=None, cwd=None):
    """(exit code, what it wrote)."""
    done = subprocess.run([str(TOOLS / "promtool"), *arguments], input=text, text=True, cwd=cwd,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE,
                          check=False)
    return done.returncode, done.stdout


class Metrics:
    """One scrape."""

    def __init__(self, address):
        status, _, self.text = fetch(address, "/metrics")
        assert status == 200, self.text
        lines = self.text.splitlines()
        self.series = {match[1]: float(match[2]) for match in map(SAMPLE.fullmatch, lines) if match}
        self.families = dict(line.split()[2:] for line in lines if line.startswith("# TYPE "))

    def __getitem__(self, series):
        return self.series[series]

    def gauges(self):
        """Those of nursery_*; not how long somebody waits, which grows by itself."""
        return {series: value for series, value in self.series.items()
                if series.startswith("nursery_") and not series.startswith("nursery_tasks_oldest_")
                and self.families.get(series.partition("{")[0]) == "gauge"}


def _listening_port(pid):
    """Of the only TCP port that a process listens on; None: not yet."""
    sockets = set()
    for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(descriptor))
        except OSError:
            pass
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                return int(words[1].rpartition(":")[2], 16)
    return None


class Prometheus:
    """Scrapes a server five times a second; stop it in the end."""

    def __init__(self, target):
        self.directory = tempfile.TemporaryDirectory()
        text = (ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
        assert "127.0.0.1:7071" in text
        text = text.replace("127.0.0.1:7071", target).replace("15s", "200ms")
        directory = pathlib.Path(self.directory.name)
        (directory / "prometheus.yml").write_text(text)
        rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
        (directory / "alerts.yml").write_text(rules)
        self.log = open(directory / "log", "w", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(TOOLS / "prometheus"), f"--config.file={directory}/prometheus.yml",
             f"--storage.tsdb.path={directory}/data", "--web.listen-address=127.0.0.1:0"],
            stdout=self.log, stderr=self.log, preexec_fn=default_signals)
        port = wait_until(lambda: self.process.poll() is not None
                          or _listening_port(self.process.pid))
        if self.process.poll() is not None:
            raise AssertionError((directory / "log").read_text())
        self.address = f"127.0.0.1:{port}"
        wait_until(lambda: fetch(self.address, "/-/ready")[0] == 200)

    def query(self, expression):
        """The values of an instant query; NaN is none."""
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        answer = json.loads(fetch(self.address, path)[2])
        assert answer["status"] == "success", f"{expression}: {answer}"
        values = [float(each["value"][1]) for each in answer["data"]["result"]]
        return [value for value in values if value == value]

    def wait_for_scrapes(self, count):
        """Until `count` more scrapes have succeeded."""
        expression = 'count_over_time(up{job="nursery"}[1h])'
        before = sum(self.query(expression))
        wait_until(lambda: sum(self.query(expression)) >= before + count)

    def empty(self, expressions):
        """Those that have no answer."""
        return [each for each in expressions if not self.query(each)]

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()
        self.directory.cleanup()
