"""Metrics, readiness, status and quality of several processes as those of one worker.

Tested by tests/unit/stream/processes/test_combined.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import orjson

from stream.processes.siblings import Answer, Siblings
from stream.quality.sums import QualitySums

LABEL = "process"
SUMMED = ("lists", "sessions")
OK, NOT_READY = 200, 503
Body = dict[str, Any]


def combined_metrics(texts: Mapping[int, bytes]) -> bytes:
    r"""The expositions of several processes as one: each sample with the label of its process.

    Sums over the label are the worker's; nothing is added here, so that no gauge loses its meaning.

    >>> texts = {0: b"# TYPE a gauge\na 1.0\n", 1: b"# TYPE a gauge\na{b='c'} 2.0\n"}
    >>> combined_metrics(texts).decode().splitlines()[1:]
    ['a{process="0"} 1.0', 'a{process="1",b=\'c\'} 2.0']
    """
    heads: dict[str, dict[str, str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in texts.items():
        family = ""
        for line in text.decode().splitlines():
            if line.startswith("#"):
                _, kind, family, *_ = line.split(" ", 3)
                heads.setdefault(family, {}).setdefault(kind, line)
                samples.setdefault(family, [])
            elif line:
                samples[family].append(_labelled(line, number))
    lines = [line for family, head in heads.items() for line in (*head.values(), *samples[family])]
    return ("\n".join(lines) + "\n").encode()


def _labelled(line: str, number: int) -> str:
    """A sample with the label, unless it has it already."""
    at = next(i for i, letter in enumerate(line) if letter in "{ ")
    if line[at:].startswith(f'{{{LABEL}="'):
        return line
    rest = f",{line[at + 1 :]}" if line[at] == "{" else f"}}{line[at:]}"
    return f'{line[:at]}{{{LABEL}="{number}"{rest}'


def combined_ready(own: Body, answers: Mapping[int, Answer | None]) -> Body:
    """Ready where every process is; else why the first of them is not.

    >>> combined_ready({"ready": True, "why_not": None, "recovering": {}}, {1: None})["why_not"]
    'process 1 does not answer'
    """
    body = {**own, "recovering": dict(own["recovering"])}
    for number, answer in answers.items():
        if answer is None or answer.status not in (OK, NOT_READY):
            why = f"process {number} does not answer"
        else:
            theirs = orjson.loads(answer.body)
            body["recovering"] |= theirs["recovering"]
            why = theirs["why_not"]
        if why and body["ready"]:
            body |= {"ready": False, "why_not": why}
    return body


def combined_status(own: Body, answers: Mapping[int, Answer | None], siblings: Siblings) -> Body:
    """Counts of all processes added up, the partitions of all; the rest is the first process's.

    `processes` says of each what is its own, and whether it answers: where one does not, sums lack it.
    """
    table, statuses = siblings.table, {0: own}
    for number, answer in answers.items():
        if answer is not None and answer.status == OK:
            statuses[number] = orjson.loads(answer.body)
    everyone = list(statuses.values())
    missing = sorted(answers.keys() - statuses.keys())
    why_not = next((one["why_not_ready"] for one in everyone if one["why_not_ready"]), None)
    if missing and why_not is None:
        why_not = f"process {missing[0]} does not answer"
    return {
        **own,
        **{name: sum(one[name] for one in everyone) for name in SUMMED},
        # None while no broker answers one of them.
        "lag": None if any(one["lag"] is None for one in everyone) else sum(one["lag"] for one in everyone),
        "ready": why_not is None,
        "why_not_ready": why_not,
        "level": max(one["level"] for one in everyone),
        "partitions": sorted({number for one in everyone for number in one["partitions"]}),
        "begun_anew": sorted({number for one in everyone for number in one["begun_anew"]}),
        "waiting": {place: why for one in everyone for place, why in one["waiting"].items()},
        "producer_faults": _added([one["producer_faults"] for one in everyone]),
        "refused_versions": [refused for one in everyone for refused in one["refused_versions"]],
        "accounting": _accounting([one["accounting"] for one in everyone]),
        "processes": [
            {
                "process": number,
                "pid": table.pid(number) or None,
                "restarts": table.restarts(number),
                "answers": number in statuses,
                **{
                    name: statuses[number][name] if number in statuses else None
                    for name in ("model", "ready", "lists", "lag", "partitions")
                },
            }
            for number in range(table.processes)
        ],
    }


def combined_quality(sums: list[bytes]) -> bytes:
    """Quality sums that end at the same time, added up. Raises ValueError where they do not fit."""
    return functools.reduce(QualitySums.merged, map(QualitySums.from_json, sums)).to_json()


def _accounting(all_of: list[Body]) -> Body:
    totals = _added([{k: v for k, v in one.items() if k not in ("holds", "partitions")} for one in all_of])
    partitions: dict[str, dict[str, int]] = {}
    for one in all_of:
        for number, counts in one["partitions"].items():
            partitions[number] = _added([partitions.get(number, {}), counts])
    return {
        **totals,
        "holds": all(one["holds"] for one in all_of),
        "partitions": dict(sorted(partitions.items(), key=lambda pair: int(pair[0]))),
    }


def _added(counts: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(one.get(name, 0) for one in counts) for one in counts for name in one}
