"""Logs whose lines hold several events: MIND impressions and 30Music sessions."""

from collections import Counter
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.datasets.detection import detect
from replay.datasets.event_files import EventFiles

MOMENT_MS = 1_500_000_000_000
MIND = "1\tU7\t7/14/2017 2:40:00 AM\tN3 N5\tN4-1 N9-0 N8-1\n2\tU7\t7/14/2017 2:41:00 PM\t\tN1-0 N2-0\n"
LINKS = '{"subjects":[{"type":"user","id":5}],"objects":[{"type":"track","id":2},{"id":3,"playstart":40}]}'
THIRTY = 'event.session\t9\t1500000000\t{"numtracks":2,"playtime":90}'


def read(path: Path, on_error: str = "stop") -> tuple[list[tuple[object, ...]], Counter[str]]:
    rejects: Counter[str] = Counter()
    frame = EventFiles([path], on_error=on_error).load(rejects)
    names = ["session_id", "item_id", "event_time_ms", "user_id"]
    return [tuple(row) for row in frame[names].itertuples(index=False)], rejects


def test_a_mind_impression_is_its_clicks(tmp_path: Path) -> None:
    path = tmp_path / "behaviors.tsv"
    path.write_text(MIND)
    assert detect(path) == "mind"
    assert read(path)[0] == [("U7", "N4", MOMENT_MS, "U7"), ("U7", "N8", MOMENT_MS, "U7")]
    # Shown news without a mark, as in the test set, say nothing.
    path.write_text(f"{MIND}3\tU8\t7/14/2017 2:42:00 PM\tN3\tN1 N2\n4\tU9\n")
    with pytest.raises(NextclickError, match="line 4: wrong number of fields, 2 instead of 5"):
        read(path)
    events, rejects = read(path, "skip")
    assert len(events) == 2
    assert rejects == {"wrong number of fields, 2 instead of 5": 1}


@pytest.mark.parametrize("between", ["\t", " "])
def test_a_30music_session_is_its_tracks_at_their_times(tmp_path: Path, between: str) -> None:
    path = tmp_path / "sessions.idomaar"
    path.write_text(f"{THIRTY}{between}{LINKS}\nevent.session\t10\t1500000000\t{{}} {{}}\n")
    assert detect(path) == "30music"
    assert read(path)[0] == [("9", "2", MOMENT_MS, "5"), ("9", "3", MOMENT_MS + 40_000, "5")]
    path.write_text(f"{THIRTY} {LINKS}\n{THIRTY} {LINKS[:-3]}\n")
    assert read(path, "skip")[1] == {"its tracks cannot be read": 1}
