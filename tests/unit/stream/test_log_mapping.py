"""A mapping says what is what in a log of one's own; a wrong one is refused with what it may say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import NextclickError
from stream.file_shape import FileShape
from stream.log_mapping import (
    KINDS,
    LEFT_OUT,
    SESSION_RULES,
    UNITS,
    LogMapping,
    mapping_of,
    parse_mapping,
    read_mapping,
)

COLUMNS = {"session": "visitor", "item": "sku", "time": "ts"}
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
MAPPINGS = st.builds(
    LogMapping,
    st.fixed_dictionaries(
        {"session": NAMES, "item": NAMES | st.integers(1, 99), "time": NAMES},
        optional={"kind": NAMES, "user": NAMES, "title": NAMES},
    ),
    st.dictionaries(NAMES, st.sampled_from((*KINDS, LEFT_OUT)), max_size=4),
    time_unit=st.sampled_from(("", *UNITS, "%d.%m.%Y")),
    time_zone=st.sampled_from(("UTC", "Europe/Berlin")),
    gap_minutes=st.floats(0.5, 1e6),
    files=st.builds(
        FileShape, delimiter=st.sampled_from(("", "\t", ";")), header=st.sampled_from((None, False))
    ),
)


@given(MAPPINGS)
def test_a_mapping_is_the_same_after_a_file(
    tmp_path_factory: pytest.TempPathFactory, mapping: LogMapping
) -> None:
    path = tmp_path_factory.mktemp("mapping") / "mylog.toml"
    path.write_text(mapping.as_toml(), "utf-8")

    assert read_mapping(path) == mapping
    assert mapping_of(mapping.as_dict()) == mapping


def test_a_command_line_names_columns_by_name_number_and_path() -> None:
    mapping = parse_mapping("session=1, item=events[].aid, time=ts:ms@Europe/Berlin, user=shop:user")

    assert mapping.columns == {"session": 1, "item": "events[].aid", "time": "ts", "user": "shop:user"}
    assert (mapping.time_unit, mapping.time_zone) == ("ms", "Europe/Berlin")


def test_a_time_may_have_a_pattern_with_colons() -> None:
    mapping = parse_mapping("session=s,item=i,time=t:%d.%m.%Y %H:%M,title=name")

    assert mapping.time_unit == "%d.%m.%Y %H:%M"
    assert mapping.columns["title"] == "name"


def test_kinds_are_mapped_by_value() -> None:
    mapping = parse_mapping("session=s,item=i,time=t,kind=type:pv=view,3=purchase,fav=left out,user=u")

    assert mapping.kinds == {"pv": "view", "3": "purchase", "fav": LEFT_OUT}
    assert mapping.columns["kind"] == "type"
    assert mapping.columns["user"] == "u"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("session=s,item=i", "time"),
        ("session=s,item=,time=t", "does not say"),
        ("session=s,item=i,time=t,colour=c", "colour"),
        ("session=s,session=x,item=i,time=t", "does not say"),
        ("session=s,item=i,time=t@Mars", ""),
        ("session=s,item=i,time=t:ms@Mars/Base", "Mars/Base"),
        ("session=s,item=0,time=t", "item"),
        ("session=s,item=i,time=t,kind=k:pv=look", "look"),
        ("", "does not say"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, said: str) -> None:
    if text.endswith("t@Mars"):
        assert parse_mapping(text).columns["time"] == "t@Mars"
        return
    with pytest.raises(NextclickError, match=said):
        parse_mapping(text)


def test_a_log_of_users_needs_no_column_of_sessions() -> None:
    assert "user" in SESSION_RULES
    mapping = LogMapping({"user": "u", "item": "i", "time": "t"}, sessions="gap", gap_minutes=20)
    assert mapping_of(mapping.as_dict()) == mapping
    with pytest.raises(NextclickError, match="user"):
        LogMapping(COLUMNS, sessions="day")


@pytest.mark.parametrize(
    "text",
    [
        "columns = 3",
        "[columns]\nsession = 1.5\nitem = 'i'\ntime = 't'",
        "[columns]\nsession = true\nitem = 'i'\ntime = 't'",
        "[files]\nheader = false",
        "[columns]\nsession = 's'\nitem = 'i'\ntime = 't'\n[files]\nheader = 'no'",
        "[columns]\nsession = 's'\nitem = 'i'\ntime = 't'\n[filez]\nheader = false",
        "gap_minutes = 0\n[columns]\nsession = 's'\nitem = 'i'\ntime = 't'",
        "[columns",
        "\x00",
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mylog.toml"
    path.write_text(text, "utf-8")

    with pytest.raises(NextclickError, match=r"mylog\.toml"):
        read_mapping(path)
