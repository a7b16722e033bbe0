from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from model.data.event_filter import EventFilter
from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from tests.harness.packed import write

EVENTS = pd.DataFrame(
    {
        "kind": ["view", "purchase", "purchase", "purchase", "cart"],
        "category": [
            "electronics.audio.headphone",
            "electronics",
            "electronicsplus",
            None,
            "Sports.Dance|Electronics.Audio",
        ],
    }
)
HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
LINE = "2019-10-01 00:00:0{},{},{},1,{},,5.0,9,s1\n".replace("{},{}", "{} UTC,{}", 1)
LOG = HEADER + "".join(
    LINE.format(n, kind, n, category)
    for n, (kind, category) in enumerate(
        [
            ("view", "electronics.smartphone"),
            ("purchase", "electronics.smartphone"),
            ("purchase", "appliances.kettle"),
            ("purchase", ""),
            ("purchase", "electronics.clocks"),
        ]
    )
)


@pytest.mark.parametrize(
    ("kinds", "categories", "kept"),
    [
        ((), (), [0, 1, 2, 3, 4]),
        (("purchase",), (), [1, 2, 3]),
        (("view", "cart"), (), [0, 4]),
        ((), ("electronics",), [0, 1, 4]),
        ((), ("electronics.audio",), [0, 4]),
        ((), ("ELECTRONICS", "electronicsplus"), [0, 1, 2, 4]),
        ((), ("audio",), []),
        (("purchase",), ("electronics",), [1]),
    ],
)
def test_a_category_is_also_its_subcategories(
    kinds: tuple[str, ...], categories: tuple[str, ...], kept: list[int]
) -> None:
    left_out = EventFilter(kinds, categories).left_out(EVENTS)
    assert left_out.index[left_out == ""].tolist() == kept


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        (("brand=Apple",), [0, 3]),
        (("brand=apple|sony",), [0, 1, 3]),
        (("price=10..50",), [0, 1]),
        (("price=10..",), [0, 1, 3]),
        (("price=..10.5",), [0, 2]),
        (("price=10",), [0]),
        (("brand=apple", "price=11..900"), [3]),
        (("title=red shoe",), []),
        (("user=u1|u2",), [0, 1, 4]),
    ],
)
def test_every_condition_holds_and_what_lacks_the_value_is_left_out(
    conditions: tuple[str, ...], kept: list[int]
) -> None:
    events = pd.DataFrame(
        {
            "kind": ["view", "view", "view", "cart", "session_end"],
            "brand": ["apple", "Sony", None, "APPLE ", None],
            "price": [10.0, 50.0, 9.99, 900.0, None],
            "user_id": ["u1", "u2", None, "u3", None],
        }
    )
    wanted = EventFilter(conditions=conditions)
    left_out = wanted.left_out(events)
    # An end of a session is kept by every filter.
    assert left_out.index[left_out == ""].tolist() == sorted({*kept, 4})
    assert EventFilter.of(wanted.as_dict()) == wanted
    assert str(wanted).startswith(f"of {conditions[0]}")


def test_a_price_may_be_one_of_several_written_as_numbers() -> None:
    events = pd.DataFrame({"price": [10.0, 20.0, 30.0]})
    assert EventFilter(conditions=("price=10|20",)).left_out(events).tolist() == [
        "",
        "",
        "not of price=10|20",
    ]


@pytest.mark.parametrize("text", ["brand", "brand=", "price=..", "price=cheap", "price=5..x", "colour=red"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text.split("=")[0]):
        EventFilter(conditions=(text,))


def test_what_the_filter_leaves_out_is_counted_by_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "k.csv", LOG)
    rejects: Counter[str] = Counter()
    wanted = EventFilter(("purchase",), ("electronics",))
    frame = EventFiles([path], wanted=wanted).load(rejects)
    assert frame["item_id"].tolist() == ["1", "4"]
    assert rejects == {"not of kind purchase": 1, "not of category electronics": 2}


def test_a_filter_that_leaves_nothing_is_an_error_that_names_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "k.csv", LOG)
    for read in (EventFiles.load, lambda files: list(files.read())):
        with pytest.raises(NextclickError, match="no event of category toys") as caught:
            read(EventFiles([path], wanted=EventFilter((), ("toys",))))
        assert "electronics, appliances" in caught.value.meaning
    clicks = write(tmp_path / "c.csv", "timestamp_ms,session_id,user_id,item_id\n1,2,3,4\n")
    with pytest.raises(NextclickError, match="no category"):
        EventFiles([clicks], wanted=EventFilter((), ("toys",))).load()


def test_the_category_may_come_from_the_metadata(tmp_path: Path) -> None:
    paths = [
        write(
            tmp_path / "r.csv", "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,3.5,1112484676\n"
        ),
        write(tmp_path / "m.csv", "movieId,title,genres\n2,A,Comedy|Drama\n29,B,Sci-Fi\n"),
    ]
    assert EventFiles(paths, wanted=EventFilter((), ("drama",))).load()["item_id"].tolist() == ["2"]
