"""The shapes of a manifest and of a scores file, as far as this program reads them.

Whatever else they contain stays as it is. Numbers are bounded, so that each can be a metric.

Tested by tests/unit/model/registry/test_manifest.py.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

FORMAT = 1
# Beyond this, a number is not the same number in JSON of a browser, nor in a metric.
MOST = 1 << 53
Count = Annotated[int, Field(strict=True, ge=0, le=MOST)]
# The years 1 to 9999, which can be shown.
Moment = Annotated[int, Field(strict=True, ge=-62_135_596_800_000, le=253_402_300_799_999)]
Name = Annotated[str, Field(strict=True, max_length=1000)]
Digest = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]


class _Shape(BaseModel):
    """A part of a file that may have further fields."""

    model_config = ConfigDict(extra="allow")


class _Data(_Shape):
    """What a manifest says of the events that its version learned from."""

    events: Count | None = None
    first_event_time_ms: Moment | None = None
    last_event_time_ms: Moment | None = None
    learned_until_ms: Moment | None = None
    newest_event_time_ms: Moment | None = None
    source: Name | None = None
    topic_id: Name | None = None
    offsets: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], tuple[Count, Count]] | None = None
    filter: dict[str, Any] | None = None


class _Manifest(_Shape):
    format: Literal[1]
    version: Name
    created: Name
    network: Name
    items: Count
    data: _Data
    sha256: dict[str, Digest]


class _Measured(_Shape):
    """The quality of one system."""

    recall: Annotated[float, Field(strict=True)] = 0
    mrr: Annotated[float, Field(strict=True)] = 0


class _Scores(_Shape):
    evaluation: _Measured = _Measured()
    pop: _Measured = _Measured()


def read_manifest(content: bytes) -> dict[str, Any]:
    """Returns the manifest in a file's content. Raises ValueError with what is wrong.

    >>> read_manifest(b'{"format": 2}')
    Traceback (most recent call last):
        ...
    ValueError: format: Input should be 1
    """
    return _read(content, TypeAdapter(_Manifest))


def read_scores(content: bytes) -> dict[str, Any]:
    """Returns the scores in a file's content. Raises ValueError with what is wrong.

    >>> read_scores(b'{"evaluation": {"recall": 0.5}}')
    {'evaluation': {'recall': 0.5}}
    """
    return _read(content, TypeAdapter(_Scores))


def _read(content: bytes, shape: TypeAdapter[Any]) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    try:
        shape.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:100] for part in first["loc"]) or "the file"
        raise ValueError(f"{place}: {first['msg'][:200]}") from None
    assert isinstance(data, dict)
    return data
