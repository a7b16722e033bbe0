"""Small event files for the tests, packed by their suffix."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles


def write(path: Path, text: str | bytes) -> Path:
    """The file, packed as its suffix says."""
    content = text if isinstance(text, bytes) else text.encode()
    packs: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".xz": lzma.compress,
        ".bz2": bz2.compress,
    }
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner.csv", content)
    elif path.suffix in packs:
        path.write_bytes(packs[path.suffix](content))
    else:
        path.write_bytes(content)
    return path


def taken_before_the_cut(path: Path, lines: int) -> pd.DataFrame:
    """The events of a packed file of `lines` events without header, cut off in its middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(NextclickError, match="the file is cut off") as caught:
        list(EventFiles([path]).read())
    rejects: Counter[str] = Counter()
    frame = EventFiles([path], on_error="skip").load(rejects)
    assert rejects == {"file is cut off": 1}
    assert 1_000 < len(frame) < lines
    assert f"line {len(frame) + 1}:" in caught.value.what
    return frame
