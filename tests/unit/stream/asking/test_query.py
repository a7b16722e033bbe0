import json

import pytest
from multidict import MultiDict

from stream.asking.query import ListQuery, RankQuery, Refusal, SimilarQuery


def test_what_is_asked_is_read() -> None:
    query = ListQuery.read(
        "s", MultiDict([("k", "5"), ("exclude", "a"), ("exclude", "b"), ("category", "mugs")])
    )
    assert query == ListQuery("s", 5, "mugs", ("a", "b")) and not query.is_plain
    of_placement = ListQuery.read("s", MultiDict([("placement", "basket")]))
    assert of_placement == ListQuery("s", placement="basket") and not of_placement.is_plain
    assert ListQuery.read("s", MultiDict([("await", "1"), ("k", "3")])).is_plain
    assert SimilarQuery.read("i", MultiDict()) == SimilarQuery("i")
    assert RankQuery.read(b'{"candidates":["a"],"session":"s"}') == RankQuery("s", ["a"])


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ([("k", "0")], "k is no number in the bounds"),
        ([("k", "101")], "k is no number in the bounds"),
        ([("k", "-1")], "k is no number in the bounds"),
        ([("k", "٣")], "k is no number in the bounds"),
        ([("k", "1e1")], "k is no number in the bounds"),
        ([("k", "5"), ("k", "6")], "k is given 2 times"),
        ([("kk", "5")], "no such parameter: kk"),
        ([("category", "")], "category has 0 characters"),
        ([("category", "c" * 257)], "category has 257 characters"),
        ([("category", "a"), ("category", "b")], "category is given 2 times"),
        ([("placement", "a"), ("placement", "b")], "placement is given 2 times"),
        ([("exclude", "")], "exclude: no item id at place 1"),
        ([("exclude", "a" * 257)], "exclude: no item id at place 1"),
        ([("exclude", "a")] * 201, "exclude is given 201 times"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_name(
    parameters: list[tuple[str, str]], error: str
) -> None:
    with pytest.raises(Refusal) as refused:
        ListQuery.read("s", MultiDict(parameters))
    assert refused.value.status == 400 and refused.value.body["error"] == error
    assert all(refused.value.body.values()) and refused.value.body.keys() == {"error", "meaning", "do"}


def test_an_item_that_is_excluded_twice_is_excluded() -> None:
    assert ListQuery.read("s", MultiDict([("exclude", "a")] * 2)).exclude == ("a", "a")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "cannot be read"),
        (b"\xff", "cannot be read"),
        (b"[" * 60_000, "cannot be read"),
        (b'{"session":"s"}', "cannot be read"),
        (b'{"session":"s","candidates":["a"],"k":3}', "cannot be read"),
        (b'{"session":"s","candidates":[1]}', "cannot be read"),
        (b'{"session":"","candidates":["a"]}', "session id has 0"),
        (json.dumps({"session": "s" * 257, "candidates": ["a"]}).encode(), "session id has 257"),
        (b'{"session":"s","candidates":[]}', "0 candidates"),
        (
            json.dumps({"session": "s", "candidates": [str(n) for n in range(1001)]}).encode(),
            "1001 candidates",
        ),
        (b'{"session":"s","candidates":["a",""]}', "no item id at place 2"),
        (b'{"session":"s","candidates":["a","a"]}', "twice"),
    ],
)
def test_a_body_that_is_not_understood_is_refused(body: bytes, error: str) -> None:
    with pytest.raises(Refusal, match=error) as refused:
        RankQuery.read(body)
    assert refused.value.status == 400
