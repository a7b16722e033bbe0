"""Published layouts of the TOML files are known in any container, and read as published."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets.detection import METADATA, NAMED, detect
from replay.datasets.event_files import EventFiles
from replay.mappings.known_mappings import KNOWN_MAPPINGS, mapping_by_names

MOMENT_MS = 1_500_000_000_000  # 2017-07-14 02:40 UTC
DAY_MS = MOMENT_MS // 86_400_000 * 86_400_000
TABLES: dict[str, tuple[str, list[list[Any]], str, list[tuple[Any, ...]]]] = {
    # name: columns, rows, delimiter, events as session, item, time, kind
    "otto-table": (
        "session,aid,ts,type", [[1, 7, 1_500_000_000, 0], [1, 8, 1_500_000_000, 2]], ",",
        [("1", "7", MOMENT_MS, "view"), ("1", "8", MOMENT_MS, "purchase")],
    ),
    "tmall": (
        "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type",
        [[1, 7, 1, 1, 1, 714, 1], [1, 8, 1, 1, 1, 714, 3], [1, 9, 1, 1, 1, 1111, 2]], ",",
        [
            ("1|2014-07-14", "7", 1_405_296_000_000, "cart"),
            ("1|2014-11-11", "9", 1_415_664_000_000, "purchase"),
        ],
    ),
    "xing": (
        "user_id,item_id,interaction_type,created_at",
        [[1, 7, 1, 1_500_000_000], [1, 8, 4, 1_500_000_001]], "\t",
        [("1", "7", MOMENT_MS, "view")],
    ),
    "xing-2017": (
        ",".join(
            f"recsyschallenge_v2017_interactions_final_anonym_training_export.{name}"
            for name in ("user_id", "item_id", "interaction_type", "created_at")
        ),
        [[1, 7, 3, 1_500_000_000], [1, 8, 0, 1_500_000_001]], "\t",
        [("1", "7", MOMENT_MS, "purchase")],
    ),
    "hm": (
        "t_dat,customer_id,article_id,price,sales_channel_id", [["2017-07-14", "a", "0108", .05, 2]] * 2, ",",
        [("a|2017-07-14", "0108", DAY_MS, "purchase")] * 2,
    ),
    "nowplaying": (
        "user_id,track_id,hashtag,created_at", [[1, "7a", "np", "2017-07-14 02:40:00"]] * 2, ",",
        [("1", "7a", MOMENT_MS, "view")] * 2,
    ),
    "nowplaying-sessions": (
        "user_id,session_id,track_id,created_at", [[1, 5, "7a", "2017-07-14 02:40:00"]] * 2, ",",
        [("5", "7a", MOMENT_MS, "view")] * 2,
    ),
    "lastfm-2k-tags": (
        "userID,artistID,tagID,timestamp", [[1, 7, 13, MOMENT_MS]] * 2, "\t",
        [("1", "7", MOMENT_MS, "view")] * 2,
    ),
    "lfm-2b": (
        "user_id,track_id,album_id,timestamp", [[1, 7, 3, "2017-07-14 02:40:00"]] * 2, "\t",
        [("1", "7", MOMENT_MS, "view")] * 2,
    ),
    "recbole": (
        "user_id:token,item_id:token,rating:float,timestamp:float",
        [["u", "7", 5.0, 1_500_000_000.0]] * 2, "\t",
        [("u", "7", MOMENT_MS, "view")] * 2,
    ),
    "recbole-sessions": (
        "session_id:token,item_id:token,timestamp:float", [["s", "7", 1_500_000_000.0]] * 2, "\t",
        [("s", "7", MOMENT_MS, "view")] * 2,
    ),
    "foursquare-table": (
        "userId,venueId,venueCategoryId,venueCategory,latitude,longitude,timezoneOffset,utcTimestamp",
        [[1, "7", "a", "Café", 40.7, -74.0, -240, "Fri Jul 14 02:40:00 +0000 2017"]] * 2, ",",
        [("1", "7", MOMENT_MS, "view")] * 2,
    ),
    "ta-feng": (
        "TRANSACTION_DT,CUSTOMER_ID,AGE_GROUP,PIN_CODE,PRODUCT_SUBCLASS,PRODUCT_ID,AMOUNT,ASSET,SALES_PRICE",
        [["7/14/2017", "1", "45-49", "115", 110411, "7", 2, 24, 30]] * 2, ",",
        [("1|2017-07-14", "7", DAY_MS, "purchase")] * 2,
    ),
    "taobao-table": (
        "user_id,item_id,category_id,behavior_type,timestamp",
        [[1, 7, 9, "pv", 1_500_000_000], [1, 8, 9, "fav", 1_500_000_000]], ",",
        [("1", "7", MOMENT_MS, "view")],
    ),
    "coveo": (
        "session_id_hash,event_type,product_action,product_sku_hash,server_timestamp_epoch_ms,hashed_url",
        [["s", "x", "detail", "7", MOMENT_MS, "u"], ["s", "pageview", "", "", MOMENT_MS, "u"]], ",",
        [("s", "7", MOMENT_MS, "view")],
    ),
}  # fmt: skip
LINES = {
    "taobao": ("1,7,9,pv,1500000000\n1,8,9,fav,1500000001\n", [("1", "7", MOMENT_MS, "view")]),
    "gowalla": (
        "1\t2017-07-14T02:40:00Z\t30.23\t-97.79\t7\n1\t2017-07-14T02:40:00Z\t0.0\t0.0\t88c46bf2\n",
        [("1", "7", MOMENT_MS, "view"), ("1", "88c46bf2", MOMENT_MS, "view")],
    ),
    "movielens-100k": ("1\t7\t3\t1500000000\n" * 2, [("1", "7", MOMENT_MS, "view")] * 2),
    "lfm-1b": ("1\t5\t6\t7\t1500000000\n" * 2, [("1", "7", MOMENT_MS, "view")] * 2),
    "foursquare": (
        '1\ta7\tb8\t"Café\t40.7\t-74.0\t-240\tFri Jul 14 02:40:00 +0000 2017\n' * 2,
        [("1", "a7", MOMENT_MS, "view")] * 2,
    ),
    "otto": (
        json.dumps({"session": 1, "events": [{"aid": 7, "ts": MOMENT_MS, "type": "clicks"}]}),
        [("1", "7", MOMENT_MS, "view")],
    ),
    "yelp": (
        json.dumps({"review_id": "r", "user_id": "1", "business_id": "7", "stars": 4.0, "text": "",
                    "date": "2017-07-14 02:40:00"}),
        [("1", "7", MOMENT_MS, "purchase")],
    ),
    "steam": (
        "{u'username': u'1', u'hours': 0.1, u'product_id': u'7', u'date': u'2017-07-14', u'text': u'\\'s'}\n",
        [("1", "7", DAY_MS, "purchase")],
    ),
    "adressa": (
        '{"eventId": 1, "userId": "1", "time": 1500000000, "url": "http://x/"}\n'
        '{"eventId": 2, "userId": "1", "time": 1500000000, "url": "http://x/7", "id": "7"}\n',
        [("1", "7", MOMENT_MS, "view")],
    ),
}  # fmt: skip


def read(path: Path) -> tuple[list[tuple[Any, ...]], Counter[str]]:
    rejects: Counter[str] = Counter()
    frame = EventFiles([path]).load(rejects)
    names = ["session_id", "item_id", "event_time_ms", "kind"]
    return [tuple(row) for row in frame[names].itertuples(index=False)], rejects


def test_every_file_of_the_folder_is_tried_here() -> None:
    assert set(KNOWN_MAPPINGS) == {*TABLES, *LINES}


@pytest.mark.parametrize("container", ["csv", "gz", "parquet"])
@pytest.mark.parametrize("name", TABLES)
def test_a_published_table_is_known_in_any_container(tmp_path: Path, name: str, container: str) -> None:
    columns, rows, delimiter, events = TABLES[name]
    table = pd.DataFrame(rows, columns=columns.split(","))
    path = tmp_path / f"log.{container}"
    if container == "parquet":
        table.to_parquet(path)
    else:
        encoding = KNOWN_MAPPINGS[name].mapping.files.encoding or "utf-8"
        text = table.to_csv(index=False, sep=delimiter).encode(encoding)
        path.write_bytes(gzip.compress(text) if container == "gz" else text)
    assert detect(path) == name
    assert read(path)[0] == events


@pytest.mark.parametrize("name", LINES)
def test_published_lines_are_known_and_read(tmp_path: Path, name: str) -> None:
    text, events = LINES[name]
    path = tmp_path / "log"
    path.write_text(text, KNOWN_MAPPINGS[name].mapping.files.encoding or "utf-8")
    assert detect(path) == name
    assert read(path)[0] == events


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(LINES["adressa"][0])
    assert read(path)[1] == {"the item is empty": 1}


@pytest.mark.parametrize("line", ["1,7,9,pv", "1,7,9,look,1500000001", "1,7,9,pv,1500000000,x"])
def test_a_log_without_a_header_is_known_by_all_of_its_lines(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log"
    path.write_text("1,7,9,pv,1500000000\n" * 20 + f"{line}\n" * 5)
    with pytest.raises(NextclickError, match="the format is unknown"):
        detect(path)
    # One broken line of many does not hide a layout.
    path.write_text("1,7,9,pv,1500000000\n" * 120 + f"{line}\n")
    assert detect(path) == "taobao"


def test_of_two_layouts_that_fit_the_one_with_more_names_is_taken() -> None:
    found = mapping_by_names(["user_id", "session_id", "track_id", "created_at", "more"])
    assert found is not None
    assert found.name == "nowplaying-sessions"


def test_every_layout_says_what_it_is_and_where_it_was_checked() -> None:
    for known in KNOWN_MAPPINGS.values():
        assert "Layout" in known.about, known.name
        assert known.names or known.fields, known.name
    assert len(set(NAMED)) == len(NAMED)
    assert not set(NAMED) & set(METADATA)
