"""Checks of this machine, its stores and its models. They change nothing.

Tested by tests/integration/test_doctor.py.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
from collections.abc import Iterator
from importlib import metadata

import torch
from confluent_kafka import libversion
from packaging.requirements import Requirement

from model.errors import NextclickError
from model.registry.registry import Registry
from stream.doctor.check_result import CheckResult, Verdict, failed
from stream.doctor.web_checks import web_checks
from stream.kafka.topic_id import UNKNOWN, is_other_topic
from stream.sessions.store_snapshot import open_snapshot, store_bytes, store_path
from stream.settings import Settings

DISK_WARN_SHARE, DISK_WARN_BYTES, DISK_FAIL_BYTES = 0.1, 2 << 30, 256 << 20
# A store opens at most 512 files; the clients and the web server open a few more.
FILES_PER_PARTITION, OTHER_FILES = 512, 256
OTHER_TOPIC_REMEDY = "start the worker again: it moves them aside and reads the topic from its beginning"
MODEL_AGE_WARN_S = 86_400.0
LIBRARIES = ("confluent-kafka", "faust-streaming", "aiokafka", "rocksdict", "torch", "msgspec", "pydantic")


def local_checks(
    settings: Settings, newest_event_ms: int | None, topic_id: str = UNKNOWN
) -> Iterator[CheckResult]:
    """The results, one by one.

    The model's age is measured against the newest event, and the stores against the topic's id, if known.
    """
    yield from _model(settings, newest_event_ms)
    yield _device(settings)
    yield from _stores(settings, topic_id)
    yield _disk(settings)
    yield _open_files(settings)
    yield from web_checks(settings)
    yield from _versions()


def _model(settings: Settings, newest_event_ms: int | None) -> Iterator[CheckResult]:
    """The champion, loaded and verified as by a worker."""
    registry = Registry(settings.registry_dir)
    champion = registry.champion()
    if champion is None:
        remedy = "nextclick train FILES, or name the folder: NEXTCLICK_REGISTRY_DIR"
        yield CheckResult("model", "FAIL", f"{settings.registry_dir} has no champion", remedy)
        return
    try:
        model = registry.load()
    except NextclickError as error:
        yield failed("model", error)
        return
    yield CheckResult("model", "PASS", f"{model.version} loads and verifies, {len(model.vocabulary):,} items")
    until_ms = model.manifest.get("data", {}).get("last_event_time_ms")
    if until_ms is None or newest_event_ms is None:
        yield CheckResult("model age", "SKIP", "unknown: its manifest or the topic has no newest event")
        return
    age_s = (newest_event_ms - until_ms) / 1000
    text = f"{age_s / 3600:,.1f} hours of events behind the newest one"
    if age_s > MODEL_AGE_WARN_S:
        yield CheckResult("model age", "WARN", text, "nextclick retrain, or look why its schedule does not")
    else:
        yield CheckResult(
            "model age", "PASS", text if age_s > 0 else "no newer events than it was trained on"
        )


def _device(settings: Settings) -> CheckResult:
    available = torch.cuda.is_available()
    if settings.device.startswith("cuda") and not available:
        return CheckResult(
            "device", "FAIL", f"{settings.device} is not there", "NEXTCLICK_DEVICE=cpu, or the driver"
        )
    named = torch.cuda.get_device_name() if available and settings.device != "cpu" else "CPU"
    return CheckResult("device", "PASS", f"{settings.device}: {named}, {os.cpu_count()} cores")


def _stores(settings: Settings, topic_id: str) -> Iterator[CheckResult]:
    """Every store on this machine; a worker may have it open."""
    places = [
        (number, store_path(settings.state_dir, settings.events_topic, number))
        for number in range(settings.partitions)
    ]
    present = [(number, path) for number, path in places if (path / "CURRENT").exists()]
    if not present:
        text = f"{settings.state_dir} has none yet"
        remedy = "none, where no worker ran here: the first start makes them, and recovers from the log"
        yield CheckResult("stores", "SKIP", text, remedy)
    total = sessions = 0
    broken = False
    of_other: list[int] = []
    for number, path in present:
        try:
            with open_snapshot(path) as snapshot:
                applied = snapshot.applied
            total += store_bytes(path)
            sessions += applied.sessions if applied else 0
            if applied and is_other_topic(applied.topic_id, topic_id):
                of_other.append(number)
        except NextclickError as error:
            broken = True
            yield failed("stores", error)
    if present and not broken:
        text = f"{len(present)} of {settings.partitions} open, {sessions:,} sessions, {total / 1e6:,.1f} MB"
        yield CheckResult("stores", "PASS", text)
    if of_other:
        text = f"those of partitions {of_other} are of another topic: {settings.events_topic} was made anew"
        yield CheckResult("stores", "FAIL", text, OTHER_TOPIC_REMEDY)
    kept = sorted(settings.state_dir.glob("*.other-topic-*"))
    if kept:
        text = f"{len(kept)} of another topic were moved aside: {kept[-1].name}"
        yield CheckResult("stores", "WARN", text, "remove them, where the topic was made anew on purpose")
    aside = sorted(settings.state_dir.glob("*.corrupt-*"))
    if aside:
        text = f"{len(aside)} damaged ones were moved aside: {aside[-1].name}"
        yield CheckResult("stores", "WARN", text, "look at the disk's health, then remove them")


def _disk(settings: Settings) -> CheckResult:
    folder = settings.state_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        remedy = "give the worker's user the folder, or name another: NEXTCLICK_STATE_DIR"
        return CheckResult("disk", "FAIL", f"{folder} cannot be written to", remedy)
    usage = shutil.disk_usage(folder)
    text = f"{usage.free / 1e9:,.1f} GB of {usage.total / 1e9:,.1f} GB free at {folder}"
    if usage.free < DISK_FAIL_BYTES:
        return CheckResult("disk", "FAIL", text, "make room: a worker that cannot write ends")
    if usage.free < max(DISK_WARN_BYTES, int(DISK_WARN_SHARE * usage.total)) and usage.free < 20 << 30:
        return CheckResult("disk", "WARN", text, "make room, or name another folder: NEXTCLICK_STATE_DIR")
    return CheckResult("disk", "PASS", text)


def _open_files(settings: Settings) -> CheckResult:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.partitions * FILES_PER_PARTITION + OTHER_FILES
    text = f"{soft:,} allowed, up to {needed:,} needed for {settings.partitions} partitions"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return CheckResult("open files", "PASS", text)
    verdict: Verdict = "FAIL" if soft < OTHER_FILES else "WARN"
    remedy = f"ulimit -n {needed} (hard limit {hard:,}), or LimitNOFILE= of the service"
    return CheckResult("open files", verdict, text, remedy)


def _versions() -> Iterator[CheckResult]:
    """The installed libraries, against the versions that nextclick goes with."""
    installed = {name: metadata.version(name) for name in LIBRARIES}
    text = f"Python {platform.python_version()}, librdkafka {libversion()[0]}, " + ", ".join(
        f"{name} {version}" for name, version in installed.items()
    )
    try:
        needed = [Requirement(line) for line in metadata.requires("nextclick") or []]
    except metadata.PackageNotFoundError:
        yield CheckResult("versions", "PASS", text)
        return
    other = [
        f"{one.name} {installed[one.name]}, not {one.specifier}"
        for one in needed
        if one.marker is None
        and one.name in installed
        and not one.specifier.contains(installed[one.name], prereleases=True)
    ]
    if other:
        yield CheckResult("versions", "WARN", "; ".join(other), "install the versions of pyproject.toml")
    else:
        yield CheckResult("versions", "PASS", text)
