"""Certifies lists: a log and a version give the same lists in every run, killed or not.

A real, `deterministic` worker serves the log on the run's own topics, group and folders; it may be killed
at random moments. The certificate covers every event's list as stored in the topic, byte for byte; lists
published twice must be equal and count once.
Tested by tests/faults/test_certify.py.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from confluent_kafka.admin import AdminClient

from model.errors import NextclickError
from model.registry.registry import Registry
from model.registry.version_files import MANIFEST, WEIGHTS
from replay.certificates.certificate import (
    EVENTS,
    LISTS,
    Certificate,
    CertifiedPartition,
    digests_path,
    read_certificate,
)
from replay.certificates.digests import (
    DIGEST_BYTES,
    DigestFile,
    ExpectedDigests,
    RecordSums,
    record_digest,
    rows_of,
)
from replay.end_to_end.worker_process import WorkerProcess, free_port
from replay.sending.producer import LagLimit
from replay.sending.replay import replay_frames
from stream.events import decode_recommendation
from stream.kafka.topic_reader import TopicReader
from stream.kafka.topics import plans
from stream.settings import Settings

SERVING_TIMEOUT_S = 24 * 3600.0
# Facts of a run on which its lists do not depend, and the hash that follows from the lists.
UNCOMPARED = {"kills", "kills_in_mid_stream", "lists_twice", "lists_sha256"}
# With one of these settings, lists depend on the wall clock or on the load.
MOVING = ("newest_only_lag", "popular_lag", "idle_expiry_s")


@dataclass(frozen=True)
class Difference:
    """The differences of two certificates; `event_id` is the first event whose lists differ, if known."""

    what: list[str]
    event_id: str | None


def isolated_settings(settings: Settings, folder: Path) -> Settings:
    """The settings with new topics, group, names and folders, and with lists that are equal byte for byte.

    Raises NextclickError when the settings let lists depend on the wall clock or on the load.
    """
    moving = [name for name in MOVING if getattr(settings, name) is not None]
    if moving:
        raise NextclickError(
            f"{', '.join(moving)} {'are' if len(moving) > 1 else 'is'} set",
            "Lists depend on the wall clock or on the load then, and no two runs are equal.",
            "Unset it for this command.",
        )
    name = f"certify-{uuid.uuid4().hex[:12]}"
    given = {field: getattr(settings, field) for field in settings.model_fields_set}
    return Settings(
        **{
            **given,
            "events_topic": f"{name}-events",
            "events_mapping": "",
            "ingest_from": "",
            "schema_registry_url": "",
            "recommendations_topic": f"{name}-recommendations",
            "models_topic": f"{name}-models",
            "dlq_topic": f"{name}-dlq",
            "group_id": name,
            "worker_id": name,
            "state_dir": folder / "state",
            "registry_dir": folder / "registry",
            "web_host": "127.0.0.1",
            "web_port": free_port(),
            "deterministic": True,
            "follow": "none",
        }
    )


def certify_lists(
    settings: Settings,
    frames: Iterable[pd.DataFrame],
    version: str,
    *,
    path: Path,
    folder: Path,
    kills: int = 0,
    moments: random.Random | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
) -> Certificate:
    """Serve `frames`, in event-time order, by `version` of the registry; write the certificate to `path`.

    `folder` is an empty folder for the run. The worker is killed `kills` times, each after a random number
    of lists. The topics are removed in the end. Raises NextclickError when the worker fails, or when
    an event has two lists that differ.
    """
    own = isolated_settings(settings, folder)
    registry = Registry(own.registry_dir)
    Registry(settings.registry_dir).load(version)
    shutil.copytree(settings.registry_dir / version, own.registry_dir / version)
    registry.promote(version)
    manifest = json.loads((own.registry_dir / version / MANIFEST).read_bytes())
    with _topics_removed(own):
        on_progress("sending the log")
        sent = folder / "sent.json"
        replay_frames(own, frames, certificate=sent)
        events = read_certificate(sent, EVENTS)
        killed = _serve(own, folder, kills, moments or random.Random(), on_progress)
        on_progress("reading the lists")
        about = {
            "model_version": version,
            "weights_sha256": manifest["sha256"][WEIGHTS],
            "events": events.records,
            "events_multiset_sha256": events.multiset_sha256,
            "events_sha256": [part.sha256 for part in events.partitions],
            "wave_size": own.wave_size,
            "scoring": own.scoring,
            "device": own.device,
            "torch": str(torch.__version__),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }
        return _certify(own, events, path, about, {"kills": kills, "kills_in_mid_stream": killed})


def first_rows(frames: Iterable[pd.DataFrame], limit: int | None) -> Iterator[pd.DataFrame]:
    """The first `limit` rows (None: all) of the frames.

    >>> [len(frame) for frame in first_rows([pd.DataFrame({"n": [1, 2]})] * 3, 3)]
    [2, 1]
    """
    left = limit
    for frame in frames:
        yield frame if left is None else frame.iloc[:left]
        if left is not None and (left := left - len(frame)) <= 0:
            return


def difference(
    certificate: Certificate, path: Path, other: Certificate, other_path: Path
) -> Difference | None:
    """How a certificate differs from another; None when all lists are equal."""
    if certificate.multiset_sha256 == other.multiset_sha256 and certificate.partitions == other.partitions:
        return None
    names = certificate.about.keys() & other.about.keys() - UNCOMPARED
    what = [
        f"{name}: {other.about[name]} there, {certificate.about[name]} here"
        for name in sorted(names)
        if certificate.about[name] != other.about[name]
    ]
    for mine, theirs in zip(certificate.partitions, other.partitions, strict=False):
        if mine == theirs:
            continue
        row = _first_row(digests_path(path), digests_path(other_path), mine.partition)
        return Difference(what, None if row is None else f"{mine.partition}-{row}")
    return Difference(what or ["the number of partitions"], None)


def _first_row(path: Path, other: Path, partition: int) -> int | None:
    if not (path.is_file() and other.is_file()):
        return None
    theirs, row = ExpectedDigests(other, partition), 0
    for mine in rows_of(path, partition):
        expected = theirs.next(len(mine))
        different = np.flatnonzero(mine[: len(expected)] != expected)
        if len(different):
            return row + int(different[0])
        row += len(expected)
        if len(expected) < len(mine):
            return row
    return row


@contextmanager
def _topics_removed(settings: Settings) -> Iterator[None]:
    try:
        yield
    finally:
        names = [plan.name for plan in plans(settings)]
        admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        there = set(names) & admin.list_topics(timeout=15).topics.keys()
        for future in admin.delete_topics(list(there)).values() if there else ():
            future.result(timeout=30)


def _serve(
    settings: Settings, folder: Path, kills: int, moments: random.Random, on_progress: Callable[[str], None]
) -> int:
    """Let a worker serve the whole log, killed `kills` times. Returns how often a kill interrupted a wave."""
    group = LagLimit(settings, 0)
    log = folder / "worker.log"
    in_mid_stream = 0
    try:
        for left in range(kills, 0, -1):
            process = WorkerProcess(settings, log)
            try:
                process.wait_ready()
                lists = moments.randint(1, max(1, 2 * group.lag() // (left + 1)))

                def reached(status: dict[str, Any], lists: int = lists) -> bool:
                    return status["lists"] >= lists or not group.lag()

                status = process.wait_until(reached, f"{lists} lists", SERVING_TIMEOUT_S)
                in_mid_stream += bool(status["accounting"]["in_flight"])
            finally:
                process.kill()
            on_progress(f"killed after {status['lists']:,} lists")
        process = WorkerProcess(settings, log)
        try:
            process.wait_ready()
            on_progress("serving the rest")
            status = process.wait_until(lambda status: not group.lag(), "the whole log", SERVING_TIMEOUT_S)
            code = process.stop()
        finally:
            if process.process.poll() is None:
                process.kill()
    finally:
        group.close()
    if code or not status["accounting"]["holds"]:
        raise NextclickError(
            f"the worker ended with code {code}, its accounting: {status['accounting']}",
            "What it served is not certified.",
            "This is a fault of the program: keep the log and report it.",
        )
    return in_mid_stream


def _certify(
    settings: Settings, events: Certificate, path: Path, about: dict[str, Any], run: dict[str, Any]
) -> Certificate:
    sums = RecordSums(len(events.partitions))
    lists, twice = 0, 0
    partitions = []
    with (
        TopicReader(settings, settings.recommendations_topic) as reader,
        DigestFile(digests_path(path)) as digests,
    ):
        for part, bounds in zip(events.partitions, reader.bounds(), strict=True):
            found = np.zeros((part.records, DIGEST_BYTES), np.uint8)
            seen = np.zeros(part.records, bool)
            for batch in reader.read(part.partition, *bounds):
                for message in batch:
                    value = message.value() or b""
                    shown = decode_recommendation(value)
                    offset = int(shown.event_id.split("-")[1])
                    digest = record_digest(shown.event_id.encode(), shown.event_time_ms, value)
                    row = np.frombuffer(digest, np.uint8)
                    if seen[offset] and not np.array_equal(found[offset], row):
                        raise NextclickError(
                            f"the event {shown.event_id} has two lists that differ",
                            "The worker's promise of equal lists is broken.",
                            "This is a fault of the program: keep the log and report it.",
                        )
                    twice += bool(seen[offset])
                    found[offset], seen[offset] = row, True
            # An event without a list (a rejected one, the end of a session) is a row of zeros.
            sums.add(part.partition, found.tobytes())
            digests.write(np.full(part.records, part.partition, np.int64), found.tobytes())
            lists += int(seen.sum())
            partitions.append(
                CertifiedPartition(part.partition, 0, part.records, sums.ordered(part.partition))
            )
        digests.finish()
    whole = hashlib.sha256("".join(part.sha256 for part in partitions).encode()).hexdigest()
    certificate = Certificate(
        LISTS,
        "recommendations",
        lists,
        events.first_event_time_ms,
        events.last_event_time_ms,
        sums.multiset,
        partitions,
        {**about, "lists_sha256": whole, **run, "lists_twice": twice},
    )
    certificate.write(path)
    return certificate
