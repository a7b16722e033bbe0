"""A study as data: what it published, on which data and split, and the models that make its tables.

Each study is a TOML file beside this module. Tested by tests/learning/test_reproduce.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from model.config import ModelConfig
from model.config_files import build_config, read_params
from model.errors import NextclickError
from replay.deploy_files import deploy_folder


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitRecipe(_Strict):
    """How the published test part is made: the split, its share, or the newest days; a share of the users."""

    choice: str = "temporal"
    test_fraction: float = 0.1
    last_days: float | None = None
    user_share: float = Field(1.0, gt=0, le=1)
    session_gap_s: float = 0


class Data(_Strict):
    """The published data: known by format and number of events after the filter."""

    name: str
    formats: list[str]
    least_events: int
    kinds: list[str] = []
    categories: list[str] = []
    split: SplitRecipe | None = None


NOTHING: Mapping[str, Any] = {}


class Row(_Strict):
    """One model: its published figures by data and measure, and its settings.

    `params` names a file of deploy/params, `variant` a table in it; `set` goes over both. `needs` names
    what a log must have, titles or users. A row without settings is published, and not run here: `why`.
    """

    name: str
    published: dict[str, dict[str, float]] = {}
    params: str | None = None
    variant: str | None = None
    set: dict[str, Any] = {}
    needs: str = ""
    why: str = ""

    def config(self, always: Mapping[str, Any], at_hand: Mapping[str, Any] = NOTHING) -> ModelConfig | None:
        """Returns its configuration; None for a row that is not run.

        `at_hand` takes the place of what its file of parameters says, not of its own settings.
        """
        if self.params is None and not self.set:
            return None
        settings = {} if self.params is None else read_params(deploy_folder() / "params" / self.params)
        variants = settings.pop("variants", {})
        if self.variant is not None:
            settings |= variants[self.variant]
        return build_config({**settings, **at_hand, **self.set, **always})


class Table(_Strict):
    """A table: its title and its rows. `boosted_test_s` repeats the test items by dwell, as one paper did."""

    title: str
    rows: list[Row]
    boosted_test_s: float | None = None


class Study(_Strict):
    """A study: `recipe` and `deviations` are sentences; `at_hand` are settings for logs of others."""

    title: str
    reference: str
    recipe: str
    deviations: list[str]
    data: list[Data]
    split: SplitRecipe
    table: list[Table]
    at_hand: dict[str, Any] = {}
    at_hand_says: str = ""

    def data_of(self, formats: set[str], events: int) -> Data | None:
        """Returns the published data that a log of these formats and this many wanted events is."""
        for data in self.data:
            if formats & set(data.formats) and events >= data.least_events:
                return data
        return None

    def likely_data(self, formats: set[str]) -> Data | None:
        """Returns the published data whose format the log has, whatever its length."""
        return self.data_of(formats, max((data.least_events for data in self.data), default=0))


def names() -> list[str]:
    """Returns the names of the studies.

    >>> "user-gru" in names()
    True
    """
    files = resources.files(__package__).iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


def read_study(name: str) -> Study:
    """Returns a study. Raises NextclickError for an unknown name.

    >>> read_study("session-gru").split.last_days
    1.0
    """
    if name not in names():
        raise NextclickError(
            f"there is no study {name!r}",
            f"Known are: {', '.join(names())}.",
            "Choose one of them.",
        )
    text = resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Study(**tomllib.loads(text))
