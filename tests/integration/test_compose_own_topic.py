"""The service `own-topic` of deploy/compose.yaml: a shop's topic is served by what `nextclick up` chose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from model.registry.registry import Registry
from stream.settings import Settings
from tests.harness.composed import Composition
from tests.harness.markov_shoppers import SyntheticLog
from tests.harness.serving import all_lists
from tests.integration.test_first_model import send_as_a_shop

# A broker of the composition's own starts, and a model is trained.
pytestmark = pytest.mark.timeout(900)
TIMEOUT_S = 600.0


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Composition]:
    """The composition's broker is up."""
    with Composition(tmp_path, {"TOPIC": "shop.clicks"}) as stack:
        stack.up("kafka")
        stack.wait_healthy("kafka")
        yield stack


@pytest.fixture
def shop(stack: Composition, shoppers: SyntheticLog) -> Settings:
    """The topic in a shop's own words, and where the lists come."""
    settings = Settings(
        bootstrap_servers=stack.address("kafka", 29092), events_topic="shop.clicks", partitions=3
    )
    admin = AdminClient(settings.kafka_config())
    # The events are years old.
    topic = NewTopic(settings.events_topic, 3, 1, config={"retention.ms": "-1"})
    admin.create_topics([topic])[settings.events_topic].result(60)
    send_as_a_shop(settings, shoppers)
    return settings


def test_a_topic_is_served_and_its_choices_outlive_the_container(stack: Composition, shop: Settings) -> None:
    stack.up("own-topic")
    stack.wait(lambda: stack.healthy("own-topic"), "a ready worker", TIMEOUT_S)
    own = stack.volume("own")
    chosen = (own / "nextclick.toml").read_text()
    assert 'events_topic = "shop.clicks"' in chosen
    assert "partitions = 3" in chosen
    assert (own / "shop.clicks.toml").exists()
    version = Registry(own / "registry").champion()
    assert version is not None
    stack.wait(lambda: len(all_lists(shop)) > 100, "lists", TIMEOUT_S)
    assert stack.stop("own-topic") == 0
    # A new container: it goes on with what is in the volume.
    stack.up("own-topic")
    stack.wait(lambda: stack.healthy("own-topic"), "a ready worker again", TIMEOUT_S)
    assert (own / "nextclick.toml").read_text() == chosen
    assert Registry(own / "registry").champion() == version
    assert stack.running.keys() == {"kafka", "own-topic"}
