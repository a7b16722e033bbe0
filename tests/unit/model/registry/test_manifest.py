import json
from typing import Any

import pytest

from model.registry.manifest import read_manifest, read_scores

GOOD: dict[str, Any] = {
    "format": 1,
    "version": "v1",
    "created": "2024-01-01T00:00:00+00:00",
    "network": "pop",
    "items": 3,
    "data": {
        "events": 6,
        "source": None,
        "offsets": {"0": [1, 2]},
        "filter": {"kinds": ["cart"]},
        "more": [1],
    },
    "sha256": {"config.json": "0" * 64},
}


def test_a_manifest_is_returned_as_it_is() -> None:
    assert read_manifest(json.dumps(GOOD).encode()) == GOOD


@pytest.mark.parametrize("name", sorted(GOOD))
@pytest.mark.parametrize("value", [None, [], -1, 10**400, float("inf"), {"events": []}], ids=repr)
def test_a_field_of_the_wrong_type_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name}"):
        read_manifest(json.dumps({**GOOD, name: value}).encode())


@pytest.mark.parametrize(
    "data",
    [
        {"last_event_time_ms": "now"},
        {"last_event_time_ms": True},
        {"last_event_time_ms": 1 << 60},
        {"learned_until_ms": 1.5},
        {"offsets": {"a": [1, 2]}},
        {"offsets": {"0": [1]}},
        {"offsets": [[1, 2]]},
        {"filter": ["cart"]},
    ],
    ids=repr,
)
def test_data_that_no_metric_could_show_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^data\."):
        read_manifest(json.dumps({**GOOD, "data": data}).encode())


@pytest.mark.parametrize(
    "content", [b"", b"[", b"[]", b"null", b"[" * 100_000, b"\xff", b"1" * 5000], ids=len
)
def test_what_is_no_object_of_json_is_refused(content: bytes) -> None:
    for read in (read_manifest, read_scores):
        with pytest.raises(ValueError, match=r"."):
            read(content)


@pytest.mark.parametrize("value", [None, 3, [], {"recall": "high"}, {"mrr": None}], ids=repr)
def test_a_quality_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^evaluation"):
        read_scores(json.dumps({"evaluation": value}).encode())
