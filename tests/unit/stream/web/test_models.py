import json
from pathlib import Path

from model.registry.registry import REPORTS, Registry
from stream.web.models import model_cards
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog


def test_a_corrupt_version_is_named_and_hides_no_other(shoppers: SyntheticLog, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first, second = (train_small(shoppers, registry, network="pop").version for _ in range(2))
    (tmp_path / first / "scores.json").write_text("{}  ")
    cards = model_cards(registry, second, None)
    assert [(one["version"], one["serving"], one["champion"]) for one in cards["versions"]] == [
        (second, True, True)
    ]
    assert cards["refused"][0]["reason"] == "checksum"
    assert first in cards["refused"][0]["error"]


def test_reports_are_shown_newest_first_with_their_decision_and_no_half_written_one(tmp_path: Path) -> None:
    for run, text in (
        (
            "1",
            json.dumps(
                {"run": "1", "outcome": "refused", "decision": {"reasons": ["worse"]}, "folder": "/x"}
            ),
        ),
        ("2", "{"),
        (".unfinished-3", json.dumps({"run": "3", "outcome": "accepted"})),
    ):
        folder = tmp_path / REPORTS / run
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(text)
    runs = model_cards(Registry(tmp_path), None, None)["runs"]
    assert [(run["run"], run["outcome"]) for run in runs] == [("2", "unreadable"), ("1", "refused")]
    assert runs[1]["decision"] == {"reasons": ["worse"]}
    assert "folder" not in runs[1]
