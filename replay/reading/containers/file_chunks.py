"""A file as chunks of text columns, whatever holds them: columns, records or lines.

Tested by tests/unit/replay/datasets/test_event_files.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from replay.reading.containers.columnar import columnar_chunks
from replay.reading.delimited import BrokenRows, delimited_chunks
from replay.reading.format import Chunk, Format
from replay.reading.lines import line_chunks
from replay.reading.packed_files import WholeLines, cut_off, open_file, size_of


def file_chunks(
    path: Path, form: Format, on_broken: BrokenRows, *, block_bytes: int, may_be_cut: bool | None = None
) -> Generator[Chunk, None, None]:
    """The rows of a file in its order; `on_broken` has the account of its lines and bytes.

    A packed file that is cut off is a reject where `may_be_cut` (default: where broken rows are skipped).
    Raises NextclickError otherwise, and at a row that cannot be read unless such are skipped.
    """
    account = on_broken.account
    if form.parquet:
        yield from columnar_chunks(path, form, account)
        return
    with open_file(path) as file:
        lines, size = WholeLines(file), size_of(file)
        chunks: Iterator[Chunk]
        if form.chunks:
            chunks = form.chunks(lines, account, block_bytes)
        elif form.parse:
            chunks = line_chunks(form, form.parse, lines, account, block_bytes=block_bytes)
        else:
            chunks = delimited_chunks(path, form, lines, block_bytes=block_bytes, on_broken=on_broken)
        with closing(chunks):  # type: ignore[type-var]
            yield from chunks
    if lines.cut_off is not None:
        if not (on_broken.skip if may_be_cut is None else may_be_cut):
            raise cut_off(path, lines.lines + 1, lines.cut_off)
        on_broken.rejects["file is cut off"] += 1
    else:
        account.size = size
    account.bytes = lines.bytes
