"""Event files with one record per line, as chunks of text columns; the format parses each line.

Knows lines, not JSON. Memory is bounded by blocks, or by the longest line.

Tested by tests/unit/replay/datasets/test_amazon.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pandas as pd
import pyarrow as pa

from replay.reading.account import FileAccount
from replay.reading.format import Chunk, Format, UnreadableLine, same_text
from replay.reading.packed_files import WholeLines

BOM = b"\xef\xbb\xbf"


def line_chunks(
    form: Format,
    parse: Callable[[bytes], tuple[str, ...]],
    lines: WholeLines,
    account: FileAccount,
    *,
    block_bytes: int,
) -> Generator[Chunk, None, None]:
    """The rows of the file; blank lines are skipped. A line that cannot be parsed is a broken row.

    `account` counts the lines."""
    before = 0
    for block in blocks_of_lines(lines, block_bytes):
        found = block.split(b"\n")
        if found[-1] == b"":
            del found[-1]
        if not before and found:
            found[0] = found[0].removeprefix(BOM)
        chunk = _chunk(form, parse, found, before)
        account.lines += len(found)
        account.blank += len(found) - len(chunk.rows)
        yield chunk
        before += len(found)


def blocks_of_lines(lines: WholeLines, block_bytes: int) -> Iterator[bytes]:
    """Blocks of whole lines; the last line may lack its line end."""
    parts: list[bytes] = []
    while block := lines.read(block_bytes):
        parts.append(block)
        if block.endswith(b"\n"):
            yield b"".join(parts)
            parts.clear()
    if parts:
        yield b"".join(parts)


def _chunk(form: Format, parse: Callable[[bytes], tuple[str, ...]], found: list[bytes], before: int) -> Chunk:
    nothing = ("",) * len(form.columns)
    numbers, texts, rows, broken = [], [], [], []
    for number, line in enumerate(found, before + 1):
        if not line or line.isspace():
            continue
        reason = ""
        try:
            row = parse(line)
        except UnreadableLine as unreadable:
            row, reason = nothing, str(unreadable)
        numbers.append(number)
        texts.append(line)
        rows.append(row)
        broken.append(reason)
    columns = zip(*rows, strict=True) if rows else [()] * len(form.columns)
    frame = pd.DataFrame(
        {name: text_column(column) for name, column in zip(form.columns, columns, strict=True)},
    )
    return Chunk(
        frame,
        pd.Series(broken, index=frame.index, dtype="str"),
        lambda row: (numbers[row], texts[row]),
    )


def text_column(column: tuple[str, ...]) -> pd.Series[str]:
    """A column of texts."""
    # Columns that no line has are quick to know.
    if not any(column):
        return same_text("", pd.RangeIndex(len(column)))
    return pd.Series(pa.array(column, pa.large_string()), dtype="str")
