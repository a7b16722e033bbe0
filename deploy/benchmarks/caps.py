"""What caps cost: Recall@20 and MRR@20 of a version's lists with at most N items of a brand, and without.

The brand is the first word of an item's title. Steps the events of a log that the version has not learned
from, takes its 100 best candidates after each, as a worker does where rules order lists, and holds the next
event against the best 20 of them and against the 20 that the caps leave. A brand stands in a list more than
N times in the share of lists that is called `changed`.

    python deploy/benchmarks/caps.py retail.csv --registry registry --most 5 3 2 1
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import numpy.typing as npt

from model.config import LIST_LENGTH
from model.data.learned_events import LearnedEvents
from model.data.session_rule import SessionRule
from model.data.sessions import Sessions
from model.networks.model_version import ModelVersion
from model.registry.registry import Registry
from model.stepping.stepper import Stepper
from replay.commands.log_files import LogFiles
from stream.wave.arrangement import by_rules
from stream.wave.listable_items import CANDIDATES

Ints = npt.NDArray[np.int64]
BATCH = 64


def candidates(model: ModelVersion, sessions: Sessions) -> tuple[Ints, Ints]:
    """The candidates before each event that has one before it, E×N, best first, and its item."""
    stepper = Stepper(model, device="cpu", k=CANDIDATES, wave_size=BATCH, scoring="exact")
    excludes = model.config.exclude_session_items
    ids_EN, targets_E = [], []
    bounds = list(zip(sessions.offsets[:-1].tolist(), sessions.offsets[1:].tolist(), strict=True))
    bounds = [(first, end) for first, end in bounds if end - first > 1]
    for begin in range(0, len(bounds), BATCH):
        part = bounds[begin : begin + BATCH]
        rows = stepper.initial_rows(len(part))
        for step in range(max(end - first for first, end in part) - 1):
            now = np.array([i for i, (first, end) in enumerate(part) if first + step + 1 < end])
            places = np.array([part[i][0] + step for i in now])
            exclude = None
            if excludes:
                exclude = np.stack([sessions.items[part[i][0] : part[i][0] + step + 1] for i in now])
            ids, _, rows[now] = stepper.step({"item": sessions.items[places]}, rows[now], exclude)
            ids_EN.append(ids)
            targets_E.append(sessions.items[places + 1])
    return np.concatenate(ids_EN), np.concatenate(targets_E)


def quality(ids_Ek: Ints, targets_E: Ints) -> dict[str, float]:
    """Recall@20 and MRR@20."""
    hits_Ek = ids_Ek[:, :LIST_LENGTH] == targets_E[:, None]
    ranks_k = 1 / np.arange(1, hits_Ek.shape[1] + 1)
    return {"recall_at_20": float(hits_Ek.any(1).mean()), "mrr_at_20": float((hits_Ek @ ranks_k).mean())}


def capped(ids_EN: Ints, brand_V: npt.NDArray[np.int32], most: int) -> Ints:
    """The lists that a cap makes of candidates."""
    places_Ek = by_rules((ids_EN >= 0).sum(1), None, brand_V[ids_EN][None], np.array([most]))
    ids_Ek = np.take_along_axis(ids_EN, places_Ek, 1)
    ids_Ek[places_Ek < 0] = -1
    return ids_Ek


def main() -> None:
    """Print a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--registry", type=Path, default=Path("registry"))
    parser.add_argument("--model", help="version; default: the champion")
    parser.add_argument("--most", type=int, nargs="+", default=[5])
    arguments = parser.parse_args()
    model = Registry(arguments.registry).load(arguments.model)
    learned = LearnedEvents.of(model.manifest["data"])
    frame = LogFiles(tuple(arguments.files)).load()
    frame = frame[frame["event_time_ms"] > (learned.until_ms or 0)]
    frame = frame[frame["item_id"].isin(model.vocabulary.index)]
    sessions = Sessions.from_frame(frame, model.vocabulary, SessionRule(model.config.session_gap_s))
    words = [(model.vocabulary.titles.get(str(i)) or "").split()[:1] for i in model.vocabulary.item_ids]
    brands: dict[str, int] = {}
    brand_V = np.array([brands.setdefault(w[0], len(brands)) if w else -1 for w in words], np.int32)
    ids_EN, targets_E = candidates(model, sessions)
    free = quality(ids_EN, targets_E)
    found: dict[str, Any] = {
        "version": model.version, "network": model.config.network, "events": len(targets_E),
        "items": len(brand_V), "brands": len(brands), "without": free, "at_most": {},
    }  # fmt: skip
    for most in arguments.most:
        ids_Ek = capped(ids_EN, brand_V, most)
        after = quality(ids_Ek, targets_E)
        found["at_most"][most] = {
            **after,
            "recall_lost": 1 - after["recall_at_20"] / free["recall_at_20"],
            "mrr_lost": 1 - after["mrr_at_20"] / free["mrr_at_20"],
            "changed": float((ids_Ek != ids_EN[:, :LIST_LENGTH]).any(1).mean()),
        }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
