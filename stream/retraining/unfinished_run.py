"""What a killed retraining had still to do: carried out by the next one, which holds the lock.

Between the gate's acceptance and the announcement a note stands in the registry's folder. The
next run completes the promotion that the note names, and nothing else: a version that was rolled
back in the meantime is not promoted again.

Tested by tests/faults/test_retrain.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient

from model.durable import replace_durably
from model.errors import NextclickError
from model.registry.registry import Registry
from model.registry.version_files import MANIFEST
from stream.kafka.announcements import announce
from stream.kafka.topics import ensure_topics, partition_counts
from stream.settings import Settings

NOTE = ".retrain-accepted.json"


@dataclass(frozen=True)
class AcceptedRun:
    """The gate of `run` accepted its version over `champion`; `promote`: the version is to be promoted."""

    run: str
    champion: str | None
    promote: bool


def write_note(root: Path, accepted: AcceptedRun) -> None:
    """Write the note, whole or not at all."""
    content = json.dumps(asdict(accepted)).encode()
    replace_durably(root / NOTE, content, root / f"{NOTE}.unfinished")


def read_note(root: Path) -> AcceptedRun | None:
    """The note of a run that was killed, else None. Raises NextclickError when it cannot be read."""
    try:
        return AcceptedRun(**json.loads((root / NOTE).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise NextclickError(
            f"{root / NOTE} cannot be read: {error}",
            "It says what an interrupted retraining had still to do.",
            "Look at `nextclick models`, promote what should serve, and remove the file.",
        ) from None


def remove_note(root: Path) -> None:
    """Remove the note: the run has completed."""
    (root / f"{NOTE}.unfinished").unlink(missing_ok=True)
    (root / NOTE).unlink(missing_ok=True)


def complete_unfinished_run(
    settings: Settings, registry: Registry, *, announcing: bool, notify: Callable[[str], None]
) -> None:
    """Remove unfinished versions and complete the promotion of a killed run; `announcing`: on Kafka too.

    Creates the topics if `announcing` and they are missing. Raises NextclickError.
    """
    if announcing:
        admin = AdminClient({**settings.kafka_config(), "log_level": 0})
        if settings.models_topic not in partition_counts(admin, settings):
            ensure_topics(settings)
    for name in registry.remove_unfinished():
        notify(f"removed {name}, which a killed process left")
    accepted = read_note(registry.root)
    if accepted is None:
        return
    version, champion = saved_version(registry, accepted.run), registry.champion()
    if version is None:
        notify(f"run {accepted.run} was interrupted before its version was saved; it is made anew")
    elif champion == version or (accepted.promote and champion == accepted.champion):
        notify(f"run {accepted.run} was interrupted; its accepted version {version} is taken up")
        if champion != version:
            registry.promote(version)
        if announcing:
            announce(settings, version)
    else:
        notify(
            f"run {accepted.run} was interrupted; its version {version} is not promoted, {champion} serves"
        )
    remove_note(registry.root)


def saved_version(registry: Registry, run: str) -> str | None:
    """The version that `run` saved, None when it was killed before it had saved one."""
    for path in sorted(registry.root.glob(f"*/{MANIFEST}")):
        # A damaged version raises when it is loaded; here it is only not the wanted one.
        with suppress(OSError, ValueError, AttributeError):
            if json.loads(path.read_bytes()).get("data", {}).get("run") == run:
                return path.parent.name
    return None
