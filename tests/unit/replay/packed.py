"""Small event files for the tests, packed by their suffix."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path


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
