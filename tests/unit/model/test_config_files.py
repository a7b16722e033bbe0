from pathlib import Path

import numpy as np
import pytest

from model.config import ModelConfig
from model.config_files import (
    build_config,
    distinct,
    parse_model,
    parse_settings,
    read_params,
    read_variants,
    write_params,
)
from model.data.vocabulary import Vocabulary
from model.errors import NextclickError
from model.networks.by_name import build
from model.networks.recurrent_stack import RecurrentStack
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
    names = build_config(parse_settings(["network=fused", "without_sources=network,own items"]))
    assert names.without_sources == ("network", "own items")
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


def test_variants_stand_over_the_files_own_settings_and_under_those_that_always_hold(tmp_path: Path) -> None:
    path = tmp_path / "variants.toml"
    path.write_text(
        'epochs = 7\nloss = "bpr"\n[variants.a]\nnetwork = "pop"\n[variants."b c"]\nepochs = 9\nalpha = 0.5\n'
    )
    variants = read_variants(path, {"alpha": 0.25})
    assert list(variants) == ["a", "b c"]
    assert [(v.network, v.epochs, v.loss, v.alpha) for v in variants.values()] == [
        ("pop", 7, "bpr", 0.25),
        ("gru4rec", 9, "bpr", 0.25),
    ]
    assert list(read_variants(path, only=["b c"])) == ["b c"]
    with pytest.raises(NextclickError, match="no variant 'd'"):
        read_variants(path, only=["a", "d"])
    with pytest.raises(NextclickError, match="two models are called 'a'"):
        distinct([("a", variants["a"]), *variants.items()])


@pytest.mark.parametrize("text", ["epochs = 7", "variants = 3", "[variants]\na = 3"])
def test_a_file_without_variants_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plain.toml"
    path.write_text(text)
    with pytest.raises(NextclickError, match=r"plain\.toml has no \[variants"):
        read_variants(path)


def test_the_settings_in_deploy_are_valid() -> None:
    files = sorted((ROOT / "deploy" / "params").glob("*.toml"))
    assert {file.stem for file in files} >= {"rsc15", "globo", "kaggle", "online-retail"}
    for file in files:
        if "variants" in read_params(file):
            assert read_variants(file)
        else:
            build_config(read_params(file))


def test_the_published_table_has_its_14_versions_and_two_models() -> None:
    path = ROOT / "deploy" / "params" / "product-sequences.toml"
    tables = read_params(path)["variants"]
    assert [name[:3] for name in tables][:14] == [f"v{number:02}" for number in range(1, 15)]
    assert len(tables) == 16
    assert tables["v13-text-gru-dense-312-lstm-624"]["stack"] == ["gru-312", "dense-312", "lstm-624"]
    assert [name for name in tables if "patience" in tables[name]] == [
        "v11-text-2-lstm-312-stop",
        "v12-text-gru-312-lstm-312-stop",
    ]
    by_items = [name for name in tables if tables[name]["network"] == "recurrent"]
    assert len(by_items) == 8
    for name, config in read_variants(path).items():
        network = build(config, Vocabulary(["a", "b"], np.array([2, 1])))
        stack = network.get_submodule("stack")
        assert isinstance(stack, RecurrentStack)
        assert [f"{kind}-{units}" for kind, units in zip(stack.kinds, stack.units, strict=True)] == list(
            config.stack
        ), name
        assert config.targets == "last", name
    variants = read_variants(path, only=by_items)
    model_1 = variants["model-1-2-lstm-256"]
    assert (model_1.stack, model_1.dropout_hidden, model_1.embedding_size) == (("lstm-256",) * 2, 0.3, 128)
    assert {(config.loss, config.optimizer, config.learning_rate) for config in variants.values()} == {
        ("full-cross-entropy", "adam", 0.001)
    }
