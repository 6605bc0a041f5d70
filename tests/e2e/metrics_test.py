"""Every metric that the dashboard, the alerts and the documentation name exists on a live scrape, and moves when something happens."""

import json
import re
import shutil
import subprocess
import urllib.request

import pytest
import tiny
import yaml
from metric_names import exposed, read_by
from tenon_process import ROOT


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return page.read().decode()


def value(page, name, **labels):
    total = 0.0
    for line in page.splitlines():
        head, _, number = line.rpartition(" ")
        if re.split(r"[{ ]", head)[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
            total += float(number)
    return total


@pytest.fixture(scope="module", autouse=True)
def traffic(tenon, tiny_base, tmp_path_factory):
    rows = tiny.write_jsonl(tmp_path_factory.mktemp("rows") / "rows.jsonl", tiny.toy_rows(60))
    tenon.text("bases", "add", "tiny", tiny_base)
    tenon.text("jobs", "finetune", "--base", "tiny", "--adapter", "a", "--task", "sequence_classification", "--method", "lora", "--train", rows,
               "--set", "max_steps=4", "--wait")
    tenon.text("classify", "--adapter", "a", "the parcel", "an invoice", "a password")
    tenon.text("embed", "--base", "tiny", "hello")


@pytest.fixture(scope="module")
def pages(cluster, traffic):
    return {"server": scrape(cluster.ports["metrics"]), "worker": scrape(cluster.ports["worker_metrics"])}


@pytest.fixture(scope="module")
def names(pages):
    return exposed(pages["server"]) | exposed(pages["worker"])


def test_the_dashboard_asks_for_metrics_that_exist(names):
    dashboard = json.loads((ROOT / "deploy/grafana/tenon.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel.get("targets", []) for name in read_by(target["expr"])}
    assert len(asked) > 20
    assert asked - names == set()


def test_the_alerts_ask_for_metrics_that_exist(names):
    groups = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    made = {rule["record"] for rule in rules if "record" in rule} | {"up"}
    asked = {name for rule in rules for name in read_by(rule["expr"])}
    assert asked - made - names == set()


def test_the_pages_are_what_prometheus_reads(pages):
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool (Debian package prometheus) is not installed")
    for name, page in pages.items():
        done = subprocess.run([program, "check", "metrics"], input=page, capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def test_numbers_move(pages):
    server, worker = pages["server"], pages["worker"]
    classify = {"grpc_service": "tenon.v1.InferenceService", "grpc_method": "Classify"}
    assert value(server, "grpc_server_handled_total", grpc_code="OK", **classify) == 1
    assert value(server, "grpc_server_started_total", **classify) == 1
    assert value(server, "tenon_workers", state="ready") == 1
    assert value(server, "tenon_request_rows_total") >= 4
    assert value(worker, "tenon_worker_train_steps_total") == 4
    assert value(worker, "tenon_worker_batch_rows_count") >= 1
    assert value(worker, "tenon_worker_connected") == 1
    assert value(server, "process_resident_memory_bytes") > 1 << 20


def test_methods_that_were_never_called_are_at_zero(pages):
    head = 'grpc_method="DeleteBase"'
    assert any(head in line and line.endswith(" 0") for line in pages["server"].splitlines() if line.startswith("grpc_server_started_total"))


def test_labels_are_bounded(pages):
    """No id of a user's own, no text, becomes a label."""
    for page in pages.values():
        for line in page.splitlines():
            if line.startswith("tenon_"):
                keys = {key for key, _ in re.findall(r'(\w+)="([^"]*)"', line)}
                assert keys <= {"state", "kind", "code", "direction", "result", "tier", "from", "le", "version", "commit", "torch", "device"}, line


def test_errors_are_counted_by_code(tenon, cluster):
    before = value(scrape(cluster.ports["metrics"]), "grpc_server_handled_total", grpc_method="Classify", grpc_code="NotFound")
    tenon.error("classify", "--adapter", "nobody", "text")
    after = value(scrape(cluster.ports["metrics"]), "grpc_server_handled_total", grpc_method="Classify", grpc_code="NotFound")
    assert after == before + 1
