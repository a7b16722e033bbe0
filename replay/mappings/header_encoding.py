"""In which encoding a header names columns, where it is not UTF-8.

Tested by tests/cases/test_unknown_logs.py.
"""

from __future__ import annotations

from replay.mappings.named_columns import DELIMITERS, fields_of
from replay.mappings.role_names import LEAST_NAMES, names_in

# Beside latin-1, in the order in which they are tried.
ENCODINGS = ("gb18030", "shift_jis", "euc_jp", "big5", "euc_kr", "cp1251", "koi8-r", "cp1250")


def encoding_by_names(line: bytes) -> tuple[str, str] | None:
    """The encoding in which a first line has most names of columns, and the line; None where latin-1 does.

    >>> encoding_by_names("会话,商品,时间".encode("gb18030"))
    ('gb18030', '会话,商品,时间')
    """

    def names(encoding: str) -> tuple[int, str]:
        try:
            text = line.decode(encoding).rstrip()
        except UnicodeDecodeError:
            return 0, ""
        return max((names_in(fields_of(text, delimiter)), text) for delimiter in DELIMITERS)

    found = {encoding: names(encoding) for encoding in ("latin-1", *ENCODINGS)}
    best = max(found, key=lambda encoding: found[encoding][0])
    if best == "latin-1" or found[best][0] < LEAST_NAMES:
        return None
    return best, found[best][1]
