"""Dashboards and alerts: each of their expressions has an answer from a real Prometheus."""

import json
import pathlib
import re
import shutil
import tempfile
import unittest

from observed import ROOT, Prometheus, promtool
from load import LoadedTest

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
BOARD = ROOT / "deploy" / "grafana" / "dashboards" / "nursery.json"
COMPARISON = re.compile(r"\s+(?:[<>]=?|[!=]=)\s+\S+$")


def board_expressions():
    panels = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    texts = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [text.replace("$__rate_interval", "1m") for text in texts]


def alert_expressions():
    return re.findall(r"^ +expr: (.*)$", ALERTS.read_text(encoding="utf-8"), re.M)


def without_comparison(expression):
    bare, count = COMPARISON.subn("", expression)
    assert count == 1, expression
    return bare


class AnswersTest(LoadedTest):
    def test_every_expression_has_an_answer(self):
        prometheus = Prometheus(self.server.http)
        self.addCleanup(prometheus.stop)
        prometheus.wait_for_scrapes(2)
        self.provoke()
        prometheus.wait_for_scrapes(2)
        expressions = board_expressions()
        self.assertGreater(len(expressions), 40)
        planted = "sum(rate(nursery_no_such_total[1m]))"
        self.assertEqual(prometheus.empty([*expressions, planted]), [planted])
        alerts = alert_expressions()
        self.assertGreater(len(alerts), 10)
        self.assertEqual(prometheus.empty(map(without_comparison, alerts)), [])
        # The rules are loaded there too, and a healthy server under load is not ill.
        self.assertEqual(prometheus.query('ALERTS{severity="critical"}'), [])

    def test_the_board_shows_every_family(self):
        text = "\n".join(board_expressions())
        families = set(self.metrics().families)
        self.assertGreater(len(families), 40)
        missing = {each for each in families if not re.search(rf"\b{each}(?:_bucket)?\b", text)}
        self.assertEqual(missing, set())

    def test_nothing_is_named_that_is_not_there(self):
        families = self.metrics().families
        for expression in (*board_expressions(), *alert_expressions()):
            for name in re.findall(r"\b(?:nursery|grpc_server|process)_\w+\b", expression):
                self.assertIn(name.removesuffix("_bucket"), families, expression)


class RulesTest(unittest.TestCase):
    def test_the_configuration_is_valid(self):
        code, text = promtool("check", "config", "prometheus.yml", cwd=ALERTS.parent)
        self.assertEqual(code, 0, text)

    def test_the_rules_are_valid_and_each_has_a_runbook_line(self):
        code, text = promtool("check", "rules", str(ALERTS))
        self.assertEqual(code, 0, text)
        rules = ALERTS.read_text(encoding="utf-8").split("- alert: ")[1:]
        self.assertGreater(len(rules), 10)
        for rule in rules:
            self.assertRegex(rule, r"\n +runbook: \S", rule.splitlines()[0])

    def test_each_alert_fires_when_it_should(self):
        code, text = promtool("test", "rules", "alerts_test.yml", cwd=ALERTS.parent)
        self.assertEqual(code, 0, text)
        cases = (ALERTS.parent / "alerts_test.yml").read_text(encoding="utf-8")
        names = re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
        for name in names:
            self.assertIn(f'alertname="{name}"', cases)

    def test_a_broken_rule_would_be_found(self):
        with tempfile.TemporaryDirectory() as directory:
            shutil.copytree(ALERTS.parent, directory, dirs_exist_ok=True)
            broken = pathlib.Path(directory, "alerts.yml")
            text = ALERTS.read_text(encoding="utf-8")
            broken.write_text(text.replace("nursery_orphans > 0", "nursery_orphans > 5"))
            self.assertNotEqual(promtool("test", "rules", "alerts_test.yml", cwd=directory)[0], 0)
            broken.write_text(text.replace("nursery_orphans > 0", "nursery_orphans > "))
            self.assertNotEqual(promtool("check", "rules", str(broken))[0], 0)


class FilesTest(unittest.TestCase):
    def test_the_board_is_laid_out_without_overlap(self):
        taken = set()
        panels = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
        for panel in panels:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))


if __name__ == "__main__":
    unittest.main()
