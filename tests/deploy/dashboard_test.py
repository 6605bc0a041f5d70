"""The dashboard can be imported anywhere, and asks only for metrics that the documentation has. (A live scrape: tests/e2e.)"""

import json
import pathlib
import re

import pytest
from metric_names import read_by

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DASHBOARD = json.loads((ROOT / "deploy/grafana/tenon.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]


def test_panels_have_ids_titles_and_words_that_explain_them():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    assert all(panel["description"].endswith(".") for panel in PANELS)


def test_panels_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken
        taken |= cells


def test_nothing_is_bound_to_one_installation():
    assert {target["datasource"]["uid"] for _, target in TARGETS} == {"${datasource}"}
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([target["expr"] for _, target in TARGETS])))
    assert used - {"__rate_interval"} <= names
    assert "id" not in DASHBOARD or DASHBOARD["id"] is None


@pytest.mark.parametrize("expression,names", [
    ('sum by (a) (rate(x_total{b="c_d"}[5m])) / y', {"x_total", "y"}),
    ("histogram_quantile(0.95, sum by (le) (rate(z_bucket[$__rate_interval])))", {"z_bucket"}),
    ("a:b:rate5m > 2 and on (instance) up == 0", {"a:b:rate5m", "up"}),
])
def test_names_are_read_out_of_expressions(expression, names):
    assert read_by(expression) == names


def test_every_metric_is_documented():
    documented = (ROOT / "docs/metrics.md").read_text()
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for _, target in TARGETS for name in read_by(target["expr"])}
    assert {name for name in base if f"`{name}`" not in documented and not name.startswith("process_")} == set()
