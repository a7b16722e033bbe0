"""The settings of a study's rows on logs that are not the published ones."""

import pytest

from replay.studies.study import names, read_study
from tests.conftest import ROOT
from tests.harness.pages import Page

RESEARCH = Page(ROOT / "deploy" / "docs" / "research.md")
# The heading on the page of each study whose targets are the last steps alone.
LAST_STEPS = {"next-electronics": "Multi-feature LSTM", "product-sequences": "Embedding models"}


def test_settings_for_a_log_at_hand_leave_what_a_row_says_of_itself() -> None:
    study = read_study("user-gru")
    configs = {
        row.name: row.config({"epochs": 1}, study.at_hand) for table in study.table for row in table.rows
    }
    networks, factors = configs["attentional"], configs["matrix factorisation"]
    assert networks is not None and factors is not None
    assert (networks.hidden_size, networks.learning_rate) == (64, 0.005)
    # As published, whatever the log.
    assert (factors.hidden_size, factors.learning_rate) == (20, 0.01)
    assert networks.epochs == factors.epochs == 1


@pytest.mark.parametrize("name", names())
def test_the_targets_of_a_study_are_what_its_recipe_and_its_page_say(name: str) -> None:
    study = read_study(name)
    rows = [row.config({}) for table in study.table for row in table.rows]
    targets = {row.targets for row in rows if row is not None}
    assert targets == {"last" if name in LAST_STEPS else "all"}
    assert ("only target" in study.recipe) == (name in LAST_STEPS)
    if name in LAST_STEPS:
        section = RESEARCH.text.split(f"## {LAST_STEPS[name]}")[1].split("\n## ")[0]
        assert 'only target (`targets = "last"`)' in section
