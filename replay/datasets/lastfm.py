"""Last.fm 1K: which user listened to which track when; tab-separated, no header, no quotes.

userid, ISO time, artid, artname, traid, traname. The user is the session, the track the item, the
artist the brand. A track without a MusicBrainz id is identified by artist and name, as sessions
would have gaps without these listens. The newest listen of a user comes first.
"""

from __future__ import annotations

import hashlib
import re

import pandas as pd

from replay.reading.format import LONGEST, NO_TIME, Converted, Format, reasons, text_or_none, times_of

COLUMNS = ("userid", "timestamp", "artid", "artname", "traid", "traname")
LINE = re.compile(r"^user_\d+\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ(\t[^\t]*){4}$")


def convert(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to events."""
    times = times_of(chunk["timestamp"], "%Y-%m-%dT%H:%M:%SZ")
    title = chunk["artname"].str.cat(chunk["traname"], sep=" – ")
    track = chunk["traid"].copy()
    nameless = (track == "").to_numpy()
    if nameless.any():
        track[nameless] = [_named(text) for text in title[nameless]]
    events = pd.DataFrame(
        {
            "session_id": chunk["userid"],
            "item_id": track,
            "event_time_ms": times,
            "kind": "view",
            "user_id": chunk["userid"],
            "brand": text_or_none(chunk["artname"]),
            "title": title,
        }
    )
    broken = reasons(
        chunk.index,
        (times == NO_TIME, "timestamp is no ISO time"),
        (chunk["userid"] == "", "userid is empty"),
    )
    left_out = reasons(chunk.index, ((chunk["traid"] == "") & (chunk["traname"] == ""), "no track"))
    return Converted(events, broken, left_out)


def _named(text: str) -> str:
    """An id made of a name; the cut end of a long name is replaced by its hash."""
    longest = LONGEST["item_id"]
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: longest - len(digest) - 1]} {digest}"


FORMAT = Format(
    "lastfm-1k", "\t", COLUMNS, False, lambda line: bool(LINE.match(line)), lambda: convert, quoted=False
)
