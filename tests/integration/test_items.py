"""What the shop says of its items is obeyed: by commands, by a worker that runs, by one that is killed."""

import json
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

import nextclick
from model.registry.registry import Registry
from replay.end_to_end.worker_process import WorkerProcess
from replay.sending.encoding import events_of
from replay.sending.replay import replay_frames
from stream.catalogue.catalogue import Catalogue
from stream.catalogue.item_word import ItemWord
from stream.catalogue.items_reader import ItemsReader
from stream.catalogue.items_topic import WordsProducer, send_words
from stream.catalogue.rules import read_rules
from stream.events import encode_event
from stream.kafka.lists_reader import Received
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import ensure_topics
from stream.settings import Settings
from tests.conftest import train_small
from tests.harness.markov_shoppers import SyntheticLog, markov_shoppers
from tests.harness.serving import MakeSettings, all_committed, all_lists, stop, worker

pytestmark = pytest.mark.kafka
SOLD_OUT = ItemWord(available=False)


@pytest.fixture
def settings(make_settings: MakeSettings) -> Iterator[Settings]:
    settings = make_settings(partitions=2, wave_size=8)
    ensure_topics(settings, optional=True)
    yield settings
    admin = AdminClient(settings.kafka_config())
    for future in admin.delete_topics([settings.items_topic, settings.placements_topic]).values():
        future.result(timeout=120)


def command(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(nextclick.app, ["items", *arguments], env=settings.environment())


def test_what_is_said_by_command_is_shown_and_read_and_taken_back(settings: Settings, tmp_path: Path) -> None:
    table = tmp_path / "catalogue.csv"
    table.write_text("sku,title,price,url\n1,White mug,12.5,https://shop.example/1\n2,Bowl,,\n3,Cup,-2,\n")
    refused = command(settings, "load", str(table))
    assert refused.exit_code != 0 and "1 rows that say nothing of an item" in str(refused.exception)
    assert command(settings, "show", "1").exit_code == 1
    loaded = command(settings, "load", str(table), "--on-error", "skip", "--json")
    assert json.loads(loaded.stdout) == {"sent": 2, "left_out": {"price": 1}}
    assert command(settings, "set", "1", "--unavailable", "--brand", "Acme").exit_code == 0
    shown = json.loads(command(settings, "show", "1", "--json").stdout)
    assert shown["word"] == {
        "title": "White mug", "price": 12.5, "url": "https://shop.example/1", "available": False,
        "brand": "Acme",
    }  # fmt: skip
    assert "may not be listed now" in command(settings, "show", "1").stdout
    assert command(settings, "set", "2", "--price", "nan").exit_code == 2
    assert command(settings, "set", "2").exit_code == 2

    send_words(settings, [("4", SOLD_OUT)])
    producer = Producer(settings.producer_config())
    producer.produce(settings.items_topic, b"nonsense", b"4")
    assert producer.flush(120) == 0
    catalogue = Catalogue()
    reader = ItemsReader(settings, catalogue)
    reader.load()
    reader.stop()
    assert sorted(item for item in catalogue.table.ids() if catalogue.is_unlisted(item)) == ["1", "4"]
    assert dict(catalogue.reading.rejected) == {"json": 1}
    word = catalogue.table.word("1")
    assert word is not None and (word.title, word.brand, word.url) == ("White mug", "Acme", None)

    assert command(settings, "set", "1", "--forget").exit_code == 0
    assert command(settings, "show", "1").exit_code == 1
    missing = command(settings.model_copy(update={"items_topic": "no-such-topic"}), "set", "1", "--available")
    assert "there is no topic no-such-topic" in str(missing.exception)
    rules = tmp_path / "rules.toml"
    rules.write_text('[never]\nbrands = ["Acme"]\n')
    assert "can be followed" in command(settings, "rules", str(rules)).stdout
    rules.write_text('[never]\nbrand = "Acme"\n')
    refused = command(settings, "rules", str(rules))
    assert refused.exit_code != 0 and "never.brand: no such rule" in str(refused.exception)


def send_events(settings: Settings, log: SyntheticLog, stopping: threading.Event) -> None:
    """Produce the log's events a few at a time, so that the items change while they come."""
    producer = Producer(settings.producer_config())
    for number, event in enumerate(events_of(log.frame)):
        producer.produce(
            settings.events_topic,
            encode_event(event),
            event.session_id.encode(),
            timestamp=event.event_time_ms,
        )
        if number % 20 == 19:
            producer.flush(30)
            if stopping.wait(0.02):
                break
    producer.flush(30)


BASKET = "[never]\nbrands = {brands}\n[placement.basket]\npublished = true\nlength = 6\n"


def write_rules(path: Path, number: int) -> tuple[str, frozenset[str]]:
    """The rules of this number, in one step; → their version, and the brands that no list has under them."""
    brands = [f"b{n}" for n in range(number + 1)]
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(BASKET.format(brands=brands))
    unfinished.replace(path)
    return read_rules(path).version, frozenset(brands)


class Acknowledged(NamedTuple):
    """What was said before a worker started: so many words and rules, and where the lists of it begin."""

    words: int
    rules: int
    lists: list[int]
    placed: list[int]


def acknowledged(settings: Settings, words: int, rules: int) -> Acknowledged:
    """To be called when a worker is ready. Of its first lists some may count as of the worker before."""
    ends = []
    for topic in (settings.recommendations_topic, settings.placements_topic):
        with TopicReader(settings, topic) as reader:
            ends.append([end for _, end in reader.bounds()])
    return Acknowledged(words, rules, *ends)


def test_no_list_breaks_what_was_acknowledged_before_it_though_workers_are_killed(
    settings: Settings, tmp_path: Path
) -> None:
    items = 80
    rules = tmp_path / "rules.toml"
    settings = settings.model_copy(update={"rules": rules})
    before: list[Acknowledged] = []
    versions: dict[str, frozenset[str]] = {}
    brands = {f"i{n}": f"b{n // 2}" for n in range(10)}
    log = markov_shoppers(sessions=400, items=items, seed=3)
    train_small(log, Registry(settings.registry_dir))
    # Word n, of offset n: the topic has one partition. What is sold out stays so: a list that obeys later
    # words than its header says must still be without it.
    moments, stopping = random.Random(2), threading.Event()
    to_sell = moments.sample(range(len(brands), items), 50)
    said = [(f"i{to_sell.pop()}", SOLD_OUT) for _ in range(10)]
    said += [(item, ItemWord(brand=brand)) for item, brand in brands.items()]
    send_words(settings, said)
    words = WordsProducer(settings)
    sending = threading.Thread(target=send_events, args=(settings, log, stopping))
    sending.start()
    try:
        for kill in range(3):
            versions.update([write_rules(rules, kill)])
            words_before = len(said)
            with worker(settings, tmp_path) as process:
                before.append(acknowledged(settings, words_before, kill))
                lists = moments.randrange(100, 500)
                while True:
                    status = process.status() or {"lists": 0}
                    process.check()
                    if status["lists"] >= lists or (not sending.is_alive() and all_committed(settings)({})):
                        break
                    if len(to_sell) > 30 - 10 * kill:
                        said.append((f"i{to_sell.pop()}", SOLD_OUT))
                    else:
                        said.append((f"of another shop {len(said)}", ItemWord(price=1.0)))
                    words.send(*said[-1])
                    words.flush()
                # The next rules come while it serves, or are read by the next worker.
                versions.update([write_rules(rules, kill + 1)])
                process.kill()
    finally:
        sending.join()
    with worker(settings, tmp_path) as process:
        before.append(acknowledged(settings, len(said), len(versions) - 1))
        process.wait_until(all_committed(settings), "the rest")
        status = stop(process)
    assert status["items"]["known"] == len(said)
    assert (status["items"]["rejected"], status["items"]["lag"]) == ({}, 0)
    listed = all_lists(settings)
    hold_against(listed, said, len(log.frame))
    placed = all_lists(settings.model_copy(update={"recommendations_topic": settings.placements_topic}))
    hold_against(placed, said, len(log.frame), length=6)
    assert {shown.headers["placement"] for shown in placed} == {"basket"}
    assert {shown.headers["rules"] for shown in placed} <= set(versions)
    assert len({shown.headers["rules"] for shown in placed}) >= 2
    for shown in placed:
        out = versions[shown.headers["rules"]]
        assert not any(brands.get(item) in out for item in shown.recommendation.items)
    # Whatever a worker says that it obeys: not less than what was acknowledged before it started.
    numbers = {version: number for number, version in enumerate(versions)}
    for start in before:
        later = [shown for shown in listed if shown.offset >= start.lists[shown.partition]]
        later_placed = [shown for shown in placed if shown.offset >= start.placed[shown.partition]]
        sold = {item for item, word in said[: start.words] if word is SOLD_OUT}
        out = frozenset(f"b{n}" for n in range(start.rules + 1))
        for shown in [*later, *later_placed]:
            assert int(shown.headers["items"].partition("-")[2]) >= start.words - 1
            assert not sold & set(shown.recommendation.items)
            assert not any(brands.get(item) in out for item in shown.recommendation.items)
        assert all(numbers[shown.headers["rules"]] >= start.rules for shown in later_placed)
    # Of the first workers' lists some came after they were ready, or all of this held of nothing.
    assert [shown for shown in listed if shown.offset >= before[0].lists[shown.partition]]


def hold_against(
    lists: list[Received], said: list[tuple[str, ItemWord]], events: int, length: int = 20
) -> None:
    """Every list obeys the words up to the offset in its header; the lists obey words of many moments."""
    unlisted_at, unlisted = [], frozenset[str]()
    for item, word in said:
        unlisted |= {item} if word is SOLD_OUT else frozenset()
        unlisted_at.append(unlisted)
    moments = set()
    for shown in lists:
        partition, _, offset = shown.headers["items"].partition("-")
        assert partition == "0" and int(offset) < len(said)
        moments.add(int(offset))
        assert not unlisted_at[int(offset)] & set(shown.recommendation.items)
        assert len(shown.recommendation.items) == length
    assert len({shown.recommendation.event_id for shown in lists}) == events
    assert len(moments) > 5 and min(moments) >= 9


def rules_version(process: WorkerProcess) -> str:
    status = process.status()
    assert status is not None
    return str(status["rules"]["version"])


def check_titles(settings: Settings, process: WorkerProcess) -> None:
    """Say what items are called, and find that in the worker's answers."""
    words = {
        "i1": ItemWord(title="White mug", brand="Acme", category="home/kitchen", price=4.5),
        "only the shop's": ItemWord(title="Mug of tomorrow"),
    }
    status = process.status()
    assert status is not None
    known = status["items"]["words"]
    send_words(settings, words.items())
    process.wait_until(lambda status: status["items"]["words"] == known + len(words), "the titles")

    def get(path: str) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{process.address}/api/{path}", timeout=60) as answer:
            items: list[dict[str, Any]] = json.load(answer)["items"]
        return items

    for text in ("mug", "kitchen", "acme%20white"):
        row = next(item for item in get(f"items?q={text}") if item["item_id"] == "i1")
        assert row["title"] == "White mug" and row["events"] > 0
        assert (row["word"]["brand"], row["word"]["category"]) == ("Acme", "home/kitchen")
    assert [item["item_id"] for item in get("items?q=tomorrow")] == ["only the shop's"]
    listed = get("recommendations/nobody-yet?k=100") + get("similar/i2?k=100")
    assert {item["title"] for item in listed if item["item_id"] == "i1"} == {"White mug"}


def test_a_worker_that_runs_hears_of_changes_and_new_rules_and_one_without_the_topic_serves(
    make_settings: MakeSettings, shoppers: SyntheticLog, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    settings = make_settings(partitions=2, rules=rules)
    train_small(shoppers, Registry(settings.registry_dir))
    rules.write_text('[[pin]]\nitem = "of today"\nplace = 3\n')
    replay_frames(settings, [shoppers.frame.head(200)])
    with worker(settings, tmp_path) as process:
        process.wait_until(all_committed(settings), "the log")
        first = rules_version(process)
        rules.write_text("[[pin]]\nplace = 3\n")
        process.wait_until(lambda status: status["rules"]["refused"] == 1, "the refusal")
        assert rules_version(process) == first
        rules.write_text("[never]\nwithout_word = false\n")
        process.wait_until(lambda status: status["rules"]["version"] != first, "the new rules")
        assert stop(process)["items"] is None
        assert process.log().count(f"there is no topic {settings.items_topic}") == 1
    lists = all_lists(settings)
    assert all("items" not in shown.headers for shown in lists)
    assert lists and all(shown.recommendation.items[2] == "of today" for shown in lists)

    ensure_topics(settings, optional=True)
    with worker(settings, tmp_path) as process:
        send_words(settings, [("i1", SOLD_OUT)])
        process.wait_until(lambda status: status["items"]["unlisted"] == 1, "the word")
        time_ms = int(time.time() * 1000)
        said = send_words(settings, [("i1", ItemWord(available_until_ms=time_ms + 500)), ("i2", SOLD_OUT)])
        assert said == 2
        # "i1" is sold until a moment that passes while nothing is said.
        process.wait_until(lambda status: status["items"]["unlisted"] == 2, "the end of a sale")
        send_words(settings, [("i1", ItemWord()), ("i2", None)])
        process.wait_until(lambda status: status["items"]["unlisted"] == 0, "both back")
        check_titles(settings, process)
        stop(process)
    admin = AdminClient(settings.kafka_config())
    for future in admin.delete_topics([settings.items_topic]).values():
        future.result(timeout=120)
