import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana.generate import FOLDER, files

GRAFANA = FOLDER.parent
BOARDS = {name: json.loads(content) for name, content in files().items()}
# Of Grafana's picker: what a panel's axis or number may be called.
UNITS = {"short", "locale", "s", "cps", "bytes", "percentunit", "dateTimeAsIso"}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_generator_makes() -> None:
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == files()
    assert BOARDS.keys() == {"overview.json", "quality.json", "store.json", "retraining.json", "ingest.json"}


def test_the_data_source_of_everything_is_the_one_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text())
    (source,) = provisioned["datasources"]
    expected = {"type": source["type"], "uid": source["uid"]}
    for board in BOARDS.values():
        asked = [
            *board["annotations"]["list"],
            *board["templating"]["list"],
            *panels(board),
            *(target for panel in panels(board) for target in panel["targets"]),
        ]
        assert len(asked) > 20
        assert all(part["datasource"] == expected for part in asked)


def test_the_folder_that_grafana_reads_is_named_once() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "nextclick.yaml").read_text())[
        "providers"
    ]
    assert provider["type"] == "file"
    assert Path(provider["options"]["path"]).name == FOLDER.name


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    board = BOARDS[name]
    assert board["schemaVersion"] >= 36
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids) > 10
    places = [panel["gridPos"] for panel in board["panels"]]
    for place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["w"] and place["h"]
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_in_which_unit_and_whose_line_is_whose(name: str) -> None:
    titles = [panel["title"] for panel in panels(BOARDS[name])]
    assert len(set(titles)) == len(titles)
    for panel in panels(BOARDS[name]):
        assert len(panel["description"]) > 10, panel["title"]
        assert panel["fieldConfig"]["defaults"].get("unit", "short") in UNITS, panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]
        for target in panel["targets"]:
            assert target["legendFormat"], panel["title"]
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"^(?:sum|max|min|count) by \(([\w, ]+)\)", target["expr"])
            if grouped and 'slice="all"' not in target["expr"]:
                assert labels == set(grouped[1].split(", ")), panel["title"]


def test_boards_link_to_one_another_and_mark_the_versions() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    for board in BOARDS.values():
        (mark,) = board["annotations"]["list"]
        assert mark["useValueForTime"] is True
        assert "version" in mark["expr"] and mark["titleFormat"].startswith("{{version}}")
        (link,) = board["links"]
        assert set(link["tags"]) <= set(board["tags"])


def test_the_alerts_that_panels_name_are_alerts() -> None:
    alerts = (GRAFANA.parent / "prometheus" / "alerts.yml").read_text()
    named = {
        name
        for board in BOARDS.values()
        for panel in panels(board)
        for name in re.findall(r"\bNextclick[A-Z]\w+", panel["description"])
    }
    assert len(named) > 8
    for name in named - {"NextclickX"}:
        assert f"alert: {name}\n" in alerts, name
