"""The dashboard and the alerts ask for nothing that nobody measures, and Prometheus understands what they ask."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from smartdrive_api.observing import Metrics
from smartdrive_edge.metrics import samples
from smartdrive_edge.status_file import SpoolStatus, Status

from smartdrive_dagster.metrics.catalogue import AT_HOME_ONLY, IN_THE_CLOUD
from smartdrive_dagster.metrics.exposition import openmetrics

FOLDER = Path(__file__).parents[2] / "observability"


def dashboard_queries() -> Iterator[str]:
    for panel in json.loads((FOLDER / "grafana-dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def alert_queries() -> Iterator[str]:
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def asked_for(query: str) -> set[str]:
    """The series that a query names."""
    tree = promql_parser.parse(query)
    return set(re.findall(r"\bsmartdrive_\w+", tree.prettify()))


def measured() -> set[str]:
    """The series that lake, edge and API write, from what each of them writes."""
    lake = openmetrics(dict.fromkeys((*IN_THE_CLOUD, *AT_HOME_ONLY), 1.0))
    names = {line.split()[0] for line in lake.splitlines() if not line.startswith("#")}
    status = Status(
        1, 0.0, 0.0, "running", time.monotonic(), voltage_v=12.6, spool=SpoolStatus(drops={"running": 1})
    )
    names |= {name for name, *_ in samples(status)}
    api = Metrics()
    api.count({"method": "GET"}, 200, 0.1)
    return names | {sample.name for family in api.registry.collect() for sample in family.samples}


@pytest.mark.parametrize("queries", [dashboard_queries, alert_queries])
def test_every_query_can_be_read_and_names_only_what_is_measured(queries: Any) -> None:
    named = [asked_for(query) for query in queries()]
    assert len(named) >= 7
    assert all(named)
    assert set().union(*named) - measured() == set()


def test_the_dashboard_shows_everything_that_the_lake_and_the_edge_measure() -> None:
    shown = set().union(*(asked_for(query) for query in dashboard_queries()))
    of_api = {name for name in measured() if name.startswith("smartdrive_api_")}
    assert measured() - of_api - shown == set()


def test_panels_do_not_overlap_and_ask_the_chosen_source() -> None:
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_an_unknown_name_would_be_noticed() -> None:
    assert asked_for("rate(smartdrive_lake_lines_total[5m]) / smartdrive_nothing") - measured() == {
        "smartdrive_nothing"
    }
    with pytest.raises(ValueError, match="unclosed"):
        asked_for("rate(smartdrive_lake_lines_total[5m]")
