from pathlib import Path

import pytest

from model.errors import NextclickError
from stream.settings import load_settings, setting_source


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "nextclick.toml"
    file.write_text('wave_size = 16\npartitions = 8\ngroup_id = "file"\n')
    monkeypatch.setenv("NEXTCLICK_CONFIG", str(file))
    monkeypatch.setenv("NEXTCLICK_PARTITIONS", "9")
    monkeypatch.setenv("NEXTCLICK_GROUP_ID", "environment")
    settings = load_settings(group_id="flag")
    assert (settings.wave_size, settings.partitions, settings.group_id) == (16, 9, "flag")
    assert settings.web_port == 6066
    assert setting_source("wave_size", {}) == "file"
    assert setting_source("partitions", {}) == "environment"
    assert setting_source("group_id", {"group_id": "flag"}) == "flag"
    assert setting_source("web_port", {}) == "default"


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEXTCLICK_WAVE_SIZ", "64")
    monkeypatch.setenv("NEXTCLICK_PARTITIONS", "none")
    with pytest.raises(NextclickError) as caught:
        load_settings(web_port=70_000)
    assert "NEXTCLICK_WAVE_SIZ: no such setting" in caught.value.what
    assert "partitions" in caught.value.what
    assert "web_port" in caught.value.what


def test_http_sends_no_events_into_a_topic_of_ones_own() -> None:
    with pytest.raises(NextclickError, match="events_mapping, web_events: HTTP sends our own JSON"):
        load_settings(events_mapping="shop.toml", web_events=True)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"schema_registry_url": "http://r:8081"}, "of no use without events_mapping"),
        ({"schema_registry_url": "r:8081", "events_mapping": "segment"}, "not an address"),
        ({"schema_registry_username": "me"}, "its password: set both or none"),
    ],
)
def test_a_registry_needs_a_mapping_an_address_and_a_whole_user(given: dict[str, str], problem: str) -> None:
    with pytest.raises(NextclickError, match=problem):
        load_settings(**given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"ingest_from": "shop.views"}, "ingest_from: not TOPIC=MAPPING"),
        ({"ingest_from": "shop views=segment"}, "ingest_from: not TOPIC=MAPPING"),
        ({"ingest_from": "a=segment,a=ga4"}, "ingest_from: each topic once"),
        ({"ingest_from": "a=segment", "events_topic": "a"}, "and not events_topic, which is written"),
        ({"ingest_from": "nextclick-purchases=segment"}, "ingest_from, purchases_topic: nextclick-purchases"),
        ({"ingest_from": "a=ga4,items=segment"}, "ingest_from, items_topic: items is a topic of Nextclick"),
        ({"ingest_from": "b=ga4", "outcomes_topic": "b"}, "ingest_from, outcomes_topic: b is a topic"),
        ({"ingest_from": "recommendations=ga4"}, "ingest_from, recommendations_topic: "),
        ({"ingest_from": "models=ga4"}, "ingest_from, models_topic: "),
        ({"ingest_from": "events-dlq=ga4"}, "ingest_from, dlq_topic: "),
        ({"ingest_from": "a=segment", "events_mapping": "ga4"}, "events_mapping, ingest_from: ingest writes"),
    ],
)
def test_what_is_ingested_is_named_once_with_its_mapping(given: dict[str, str], problem: str) -> None:
    with pytest.raises(NextclickError, match=problem):
        load_settings(**given)


def test_ingested_topics_may_have_a_registry() -> None:
    settings = load_settings(ingest_from="shop.views=views.toml", schema_registry_url="http://r:8081")
    assert settings.ingested() == {"shop.views": "views.toml"}
    assert load_settings().ingested() == {}


def test_the_password_of_a_registry_is_neither_shown_nor_sent_unencrypted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NEXTCLICK_SCHEMA_REGISTRY_PASSWORD", "hidden")
    user = {"events_mapping": "segment", "schema_registry_username": "me"}
    settings = load_settings(**user, schema_registry_url="https://registry.shop:8081")
    assert settings.registry_password() == "hidden"
    assert "hidden" not in repr(settings)
    assert load_settings(**user, schema_registry_url="http://localhost:8081").registry_password() == "hidden"
    with pytest.raises(NextclickError, match="http sends the password unencrypted") as caught:
        load_settings(**user, schema_registry_url="http://registry.shop:8081")
    assert "hidden" not in str(caught.value)
