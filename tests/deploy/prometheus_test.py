"""The scrape configuration is valid, and every alert fires on what it is for and on nothing else."""

import pathlib
import shutil
import subprocess

import pytest
import yaml

FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy/prometheus"
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]


@pytest.fixture(scope="module")
def promtool():
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    return lambda *args, cwd=FOLDER: subprocess.run([program, *args], cwd=cwd, capture_output=True, text=True)


def test_the_configuration_and_its_rules_are_valid(promtool):
    done = promtool("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(promtool):
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_test_of_the_rules_can_fail(promtool, tmp_path):
    """A rule with another threshold does not pass."""
    for name in ("rules.yml", "rules_test.yml"):
        text = (FOLDER / name).read_text().replace("error_ratio_5m > 0.05", "error_ratio_5m > 0.5")
        (tmp_path / name).write_text(text)
    assert promtool("test", "rules", "rules_test.yml", cwd=tmp_path).returncode != 0


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_is_tested_and_says_what_to_do(alert):
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    fired = [case for test in tests for case in test.get("alert_rule_test", []) if case["alertname"] == alert["alert"] and case["exp_alerts"]]
    assert fired
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"] and alert["annotations"]["action"]
