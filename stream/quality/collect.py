"""Fetches the quality sums of running workers by HTTP (`/api/quality`) and adds them up.

Reads web addresses only; what the sums mean is in stream.quality.sums.
"""

from __future__ import annotations

import urllib.error
from collections.abc import Sequence
from functools import reduce

from model.errors import NextclickError
from stream.access.grants import OPERATE
from stream.access.own_requests import open_worker
from stream.quality.sums import QualitySums
from stream.web_settings import WebSettings

TIMEOUT_S = 10.0


def collect(workers: Sequence[str], settings: WebSettings | None = None) -> QualitySums:
    """The summed quality of the workers at these web addresses, each named once.

    Every window of event time ends where that of the worker farthest ahead ends. Raises NextclickError
    when a worker does not answer, answers something else, or runs with other windows.
    """
    asks = settings or WebSettings()
    fetched = {address: _fetch(address, asks) for address in workers}
    until_ms = max(sums.until_ms for sums in fetched.values())
    for address, sums in fetched.items():
        if sums.until_ms != until_ms:
            fetched[address] = _fetch(address, asks, until_ms)
    try:
        return reduce(QualitySums.merged, fetched.values())
    except ValueError as error:
        raise NextclickError(
            f"the workers' sums do not fit each other: {error}",
            "They run with different settings, and their rolling quality is of different things.",
            "Give all workers the same NEXTCLICK_QUALITY_WINDOW and NEXTCLICK_QUALITY_FADING.",
        ) from None


def _fetch(address: str, settings: WebSettings, until_ms: int | None = None) -> QualitySums:
    url = f"{address}/api/quality" + ("" if until_ms is None else f"?until_ms={until_ms}")
    try:
        with open_worker(settings, url, OPERATE, TIMEOUT_S) as answer:
            return QualitySums.from_json(answer.read())
    except (urllib.error.URLError, OSError) as error:
        raise NextclickError(
            f"the worker at {address} does not answer: {getattr(error, 'reason', error)}",
            "Its events are missing, so nothing is shown: the rest alone would pass for the whole.",
            "Look whether it runs and what its --web-port is, or leave it out.",
        ) from None
    except ValueError as error:
        raise NextclickError(
            f"{url} is not a worker's quality: {error}",
            "Its events are missing, so nothing is shown: the rest alone would pass for the whole.",
            "Name the web address of a worker of this version, such as http://127.0.0.1:6066.",
        ) from None
