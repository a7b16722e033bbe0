"""The registry as the page shows it: versions with their scores, and the decisions of retrainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model.errors import NextclickError
from model.registry.bounded_files import read_bounded
from model.registry.registry import MOST_REPORT_BYTES, REPORTS, Registry
from model.registry.version_files import RefusedVersion
from stream.quality.source_quality import NEW, BySource

SHOWN_VERSIONS, SHOWN_RUNS = 50, 20
RUN_FIELDS = (
    "run",
    "outcome",
    "champion",
    "version",
    "promoted",
    "events",
    "training_events",
    "first_event_time_ms",
    "last_event_time_ms",
    "decision",
    "error",
)


def model_cards(registry: Registry, serving: str | None, shadow: str | None) -> dict[str, Any]:
    """The newest versions, newest first, and the newest runs of the retraining with their decisions.

    A version that cannot be read is named in `refused` with the reason; the others are still shown.

    >>> model_cards(Registry(Path("no-such-folder")), None, None)["versions"]
    []
    """
    refused: list[RefusedVersion] = []
    rows = registry.versions(refused)
    versions = [
        {
            "version": row["version"],
            "created": row["created"],
            "network": row["network"],
            "items": row["items"],
            "champion": row["champion"],
            "serving": row["version"] == serving,
            "shadow": row["version"] == shadow,
            "data": {
                name: row["data"].get(name)
                for name in ("events", "first_event_time_ms", "last_event_time_ms")
            },
            "scores": {name: row["scores"].get(name) for name in ("evaluation", "pop")},
        }
        for row in reversed(rows[-SHOWN_VERSIONS:])
    ]
    return {
        "champion": _champion(registry),
        "versions": versions,
        "more": max(0, len(rows) - SHOWN_VERSIONS),
        "refused": [{"reason": error.reason, "error": error.what} for error in refused],
        "runs": _runs(registry.root / REPORTS),
    }


def _runs(folder: Path) -> list[dict[str, Any]]:
    """The newest reports, newest first, without those that are still being written."""
    runs = []
    found = sorted(folder.glob("*/report.json")) if folder.is_dir() else []
    for path in reversed([path for path in found if not path.parent.name.startswith(".")]):
        try:
            report = json.loads(read_bounded(path, MOST_REPORT_BYTES))
            runs.append({name: report.get(name) for name in RUN_FIELDS})
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            runs.append({"run": path.parent.name, "outcome": "unreadable", "error": [str(error)]})
        if len(runs) == SHOWN_RUNS:
            break
    return runs


def source_rows(sums: BySource, serving: str | None) -> list[dict[str, Any]]:
    """What each source of the serving fused list would have found alone, the best first; events not learned.

    >>> from stream.quality.source_quality import SourceSums
    >>> source_rows({"new": {"v": {"network": SourceSums(2, 1, 0)}}}, "v")
    [{'source': 'network', 'events': 2, 'recall_at_20': 0.5, 'mrr_at_20': 0.0}]
    """
    found = sums.get(NEW, {}).get(serving or "", {})
    rows = [
        {"source": name, "events": one.events, "recall_at_20": one.recall, "mrr_at_20": one.mrr}
        for name, one in found.items()
    ]
    return sorted(rows, key=lambda row: row["recall_at_20"], reverse=True)


def _champion(registry: Registry) -> str | None:
    """The champion, None where there is none or the pointer cannot be read: its versions are shown."""
    try:
        return registry.champion()
    except NextclickError:
        return None
