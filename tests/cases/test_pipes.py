"""A pipe is read whole; what is no file is refused by name."""

import gzip
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.reading import spool

ROOT = Path(__file__).parents[2]
HEADER = "timestamp_ms,session_id,user_id,item_id\n"
# More than a pipe holds at once, and more than a block.
CLICKS = HEADER + "".join(f"{1506826800026 + n},s{n},u,{n}\n" for n in range(40_000))


def pipe_of(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_loses_nothing_however_often_it_is_read(tmp_path: Path, packed: bool) -> None:
    data = CLICKS.encode()
    path = pipe_of(tmp_path, gzip.compress(data, 1) if packed else data)
    files = EventFiles([path])
    for _ in range(2):
        reader = files.open()
        assert reader.times_ascend()
        assert sum(len(frame) for frame in reader.read()) == 40_000
    (account,) = reader.accounts.values()
    assert account["bytes"] == len(data)


def test_a_device_is_refused_by_name() -> None:
    with pytest.raises(NextclickError, match="/dev/null is a terminal, a device or a socket"):
        EventFiles([Path("/dev/null")]).open()


def test_a_pipe_without_room_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "KEPT_FREE_BYTES", shutil.disk_usage(tmp_path).total * 2)
    path = pipe_of(tmp_path, b"a,b\n")
    with pytest.raises(NextclickError, match="the bytes of this pipe cannot be kept in"):
        EventFiles([path]).open()


def test_the_copy_of_a_pipe_is_closed_at_the_end(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from replay.reading.spool import spooled; spooled(Path('-'))"
    )
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", program]
    ended = subprocess.run(command, input=b"some bytes", capture_output=True, check=True, cwd=ROOT)
    assert ended.stderr == b""
