"""`nextclick train --unless-champion`: a first model, once."""

from pathlib import Path

from model.registry.registry import Registry
from tests.conftest import train_small
from tests.harness.commands import run
from tests.harness.markov_shoppers import SyntheticLog


def test_where_there_is_a_champion_nothing_is_trained(tmp_path: Path, shoppers: SyntheticLog) -> None:
    registry = Registry(tmp_path / "registry")
    version = train_small(shoppers, registry, epochs=1).version
    # Not even the file is looked for.
    result = run("train", tmp_path / "none.csv", "--registry", registry.root, "--unless-champion")
    assert result.exit_code == 0, result.output
    assert version in result.stderr
    assert [row["version"] for row in registry.versions()] == [version]


def test_where_there_is_none_a_model_is_trained(tmp_path: Path) -> None:
    result = run("train", tmp_path / "none.csv", "--registry", tmp_path / "registry", "--unless-champion")
    assert result.exit_code != 0
    assert "none.csv" in str(result.exception) + result.output
