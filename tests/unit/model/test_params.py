from pathlib import Path

import pytest

from model.config import ModelConfig
from model.errors import NextclickError
from model.params import build_config, parse_model, parse_settings, read_params, write_params
from tests.conftest import ROOT


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    config = ModelConfig(
        loss="bpr-max", learning_rate=0.07, session_gap_s=None, prior_half_lives_s=(60.0, 600.0)
    )
    path = tmp_path / "deeper" / "params.toml"
    write_params(path, config, ["Where it comes from.", ""])
    assert path.read_text().startswith("# Where it comes from.\n#\n")
    assert build_config(read_params(path)) == config


def test_settings_are_json_where_they_read_so_and_text_elsewhere() -> None:
    assert parse_settings(
        ["epochs=3", "loss=top1", "exclude_session_items=true", "prior_half_lives_s=[60]"]
    ) == {
        "epochs": 3,
        "loss": "top1",
        "exclude_session_items": True,
        "prior_half_lives_s": [60],
    }
    with pytest.raises(NextclickError, match="is no setting"):
        parse_settings(["epochs"])


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(NextclickError) as caught:
        build_config({"epochs": 0, "loss": "hinge", "layer": 2})
    assert all(name in caught.value.what for name in ("epochs = 0", "loss = 'hinge'", "layer = 2"))


def test_a_model_is_named_by_network_or_file_with_settings_behind(tmp_path: Path) -> None:
    path = tmp_path / "found.toml"
    path.write_text('loss = "bpr-max"\nepochs = 7\n')
    assert parse_model("v-sknn", {})[1].network == "v-sknn"
    assert parse_model("two layers=gru4rec:layers=2", {})[0] == "two layers"
    listed = parse_model("gru4rec:prior_half_lives_s=[60,600],epochs=3", {})[1]
    assert (listed.prior_half_lives_s, listed.epochs) == ((60, 600), 3)
    assert parse_model("gru4rec:session_gap_s=60", {}, {"session_gap_s": 0})[1].session_gap_s is None
    name, config = parse_model(f"{path}:epochs=9,alpha=0.25", {"batch_size": 64, "epochs": 2})
    assert name == f"{path}:epochs=9,alpha=0.25"
    assert (config.loss, config.epochs, config.alpha, config.batch_size) == ("bpr-max", 9, 0.25, 64)


@pytest.mark.parametrize("content", [b"epochs = ", b"\xff\xfe", None])
def test_a_file_that_does_not_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NextclickError, match=r"broken\.toml"):
        read_params(path)


def test_the_settings_in_deploy_are_valid() -> None:
    files = sorted((ROOT / "deploy" / "params").glob("*.toml"))
    assert {file.stem for file in files} >= {"rsc15", "globo", "kaggle", "online-retail"}
    for file in files:
        build_config(read_params(file))
