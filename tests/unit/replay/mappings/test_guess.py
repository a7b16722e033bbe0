"""A mapping is guessed where names and values say it, and in doubt where they do not."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from model.errors import NextclickError
from replay.datasets.event_files import EventFiles
from replay.mappings.guess import Guess, guess_mapping
from replay.mappings.kind_guess import kind_guess
from replay.mappings.log_sample import FIRST_LINES, sample_of
from replay.mappings.role_names import EXACT, PART, name_score
from replay.mappings.said_columns import said_mapping
from replay.mappings.time_guess import time_guess

MOMENT = 1_500_000_000  # 2017-07-14 02:40 UTC


def guessed(path: Path, text: str | bytes, said: str = "") -> Guess:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return guess_mapping(sample_of(path), said_mapping(said))


def doubts(guess: Guess) -> dict[str, tuple[str, ...]]:
    return {doubt.role: doubt.answers for doubt in guess.doubts}


@pytest.mark.parametrize(
    "header",
    [
        "visit_id,clicked_sku,clickedAt",
        "Sitzung,Artikel-Nr,Zeitpunkt",
        "id_sesion,id_producto,fecha",
        "userSession,productID,eventTime",
        "会话,商品,时间",
        "SESSION_ID,ITEM_ID,TIME",
    ],
)
def test_names_of_many_languages_say_what_is_what(tmp_path: Path, header: str) -> None:
    rows = "".join(f"s{n // 3},i{n % 4},{MOMENT + n}\n" for n in range(12))
    found = guessed(tmp_path / "log", f"{header}\n{rows}")
    assert found.mapping is not None, found.doubts
    session, item, time = header.split(",")
    assert found.mapping.columns == {"session": session, "item": item, "time": time}
    assert found.mapping.time_unit == "s"


@pytest.mark.parametrize("container", ["csv", "gz", "json", "array", "parquet", "nested"])
def test_the_guess_of_any_container_reads_as_the_log_that_was_written(tmp_path: Path, container: str) -> None:
    rows = [(f"s{n // 3}", f"i{n % 4}", MOMENT * 1000 + n, "pv" if n % 3 else "buy", 2.5) for n in range(60)]
    table = pd.DataFrame(rows, columns=["visitId", "sku", "ts", "action", "price"])
    path = tmp_path / "log"
    records = table.to_dict("records")
    if container == "parquet":
        table.to_parquet(path)
    elif container in ("csv", "gz"):
        text = table.to_csv(index=False, sep=";").encode()
        path.write_bytes(gzip.compress(text) if container == "gz" else text)
    elif container == "nested":
        path.write_text("\n".join(json.dumps({"v": 1, "hits": records[n : n + 3]}) for n in range(0, 60, 3)))
    else:
        path.write_text(
            json.dumps(records, indent=1) if container == "array" else "\n".join(map(json.dumps, records))
        )
    found = guess_mapping(sample_of(path))
    assert found.mapping is not None, found.doubts
    assert found.mapping.kinds == {"pv": "view"}
    events = EventFiles([path], columns=found.mapping).load()
    assert events["session_id"].tolist() == table["visitId"].tolist()
    assert events["item_id"].tolist() == table["sku"].tolist()
    assert events["event_time_ms"].tolist() == table["ts"].tolist()
    assert events["kind"].tolist() == ["view" if n % 3 else "purchase" for n in range(60)]


@pytest.mark.parametrize(
    "words",
    [
        ("angesehen", "In den Warenkorb", "gekauft"),
        ("Aufgerufen", "Warenkorb", "bestellt"),
        ("vista", "carrito", "pedido"),
        ("vue", "panier", "commande"),
        ("просмотр", "корзина", "покупка"),
    ],
)
def test_words_of_many_languages_say_what_a_kind_is(tmp_path: Path, words: tuple[str, str, str]) -> None:
    rows = "".join(f"s{n // 3};i{n % 4};{MOMENT + n};{words[n % 3]}\n" for n in range(60))
    found = guessed(tmp_path / "log", f"Sitzung;Artikelnummer;Zeitpunkt;Aktion\n{rows}")
    assert found.mapping is not None, found.doubts
    assert found.mapping.kinds == dict(zip(words, ("view", "cart", "purchase"), strict=True))


def test_rows_after_the_first_thousands_are_looked_at(tmp_path: Path) -> None:
    rows = [
        f"s{n // 3},i{n % 4},{MOMENT + n},{'click' if n < 2 * FIRST_LINES else 'basket'}" for n in range(9000)
    ]
    text = "\n".join(["session,item,time,action", *rows])
    for packed in (text.encode(), gzip.compress(text.encode())):
        found = guessed(tmp_path / "log", packed)
        assert found.mapping is not None
        if packed[:2] != b"\x1f\x8b":
            assert found.mapping.kinds == {"basket": "cart"}


def test_users_without_sessions_have_a_gap_or_days(tmp_path: Path) -> None:
    moments = "".join(f"u{n // 3},i{n % 4},{MOMENT + n}\n" for n in range(12))
    days = "".join(f"u{n // 3},i{n % 4},2017-07-{n + 1:02}\n" for n in range(12))
    for rows, rule in ((moments, "gap"), (days, "day")):
        found = guessed(tmp_path / "log", f"customer,product,date\n{rows}")
        assert found.mapping is not None
        assert found.mapping.sessions == rule
        assert rule in found.evidence["sessions"]


def test_what_no_name_says_is_in_doubt_and_can_be_said(tmp_path: Path) -> None:
    rows = "".join(f"{n // 5},{n % 7 + 100},{MOMENT + n}\n" for n in range(200))
    found = guessed(tmp_path / "log", rows)
    assert found.mapping is None
    assert set(doubts(found)) == {"item", "session"}
    assert "session=1" in doubts(found)["session"]
    assert doubts(found)["item"][0] == "item=2"
    said = guessed(tmp_path / "log", rows, "item=2,user=1,sessions=gap:10")
    assert said.mapping is not None
    assert said.mapping.columns == {"item": 2, "user": 1, "time": 3}
    assert (said.mapping.sessions, said.mapping.gap_minutes) == ("gap", 10)
    assert said.mapping.files.header is False


@pytest.mark.parametrize(
    ("text", "role"),
    [
        # Day and month in an order that the values do not show.
        ("session,item,date\ns,1,04/05/2017 10:00\ns,2,05/06/2017 11:00\n", "time"),
        # Two columns that may be the item, and are not the same.
        ("session,sku,article,time\ns,1,9,1500000000\ns,2,9,1500000001\ns,1,8,1500000002\n", "item"),
        ("session,item,created,timestamp\ns,1,1500000000,1500000009\ns,2,1500000001,1500000010\n", "time"),
        ("session,item,time,action\ns,1,1500000000,0\ns,2,1500000001,1\n", "kind"),
        ("session,item,colour\ns,1,red\ns,2,blue\n", "time"),
        ("a,b,c\nx,y,z\n", "header"),
    ],
)
def test_what_values_leave_open_is_in_doubt(tmp_path: Path, text: str, role: str) -> None:
    found = guessed(tmp_path / "log", text)
    assert found.mapping is None
    assert role in doubts(found)


def test_dates_with_dots_have_the_day_first(tmp_path: Path) -> None:
    text = "Sitzung\tArtikelnummer\tZeitpunkt\n" + "s1\ta\t05.03.2024 09:00\ns2\tb\t06.03.2024 09:01\n" * 20
    mapping = guessed(tmp_path / "log.tsv", text).mapping
    assert mapping is not None and mapping.time_unit == "%d.%m.%Y %H:%M"


def test_a_column_in_doubt_as_the_time_is_no_candidate_for_the_item(tmp_path: Path) -> None:
    text = "visita;x1;quando;prezzo\n" + "s1;a;05/03/2024;1,5\ns2;b;06/03/2024;2,5\n" * 20
    found = doubts(guessed(tmp_path / "log.csv", text))
    assert len(found["time"]) == 2
    assert found["item"] == ("item=x1",)


def test_an_answer_settles_a_doubt(tmp_path: Path) -> None:
    text = "session,item,date,action\ns,1,04/05/2017 10:00,0\ns,2,05/06/2017 11:00,1\n"
    found = guessed(tmp_path / "log", text, "time=date:%d/%m/%Y %H:%M,kind=action:0=view,1=purchase")
    assert found.mapping is not None
    assert found.mapping.time_unit == "%d/%m/%Y %H:%M"
    assert found.mapping.kinds == {"0": "view", "1": "purchase"}
    without = guessed(tmp_path / "log", text, "time=date:%d/%m/%Y %H:%M,kind=none")
    assert without.mapping is not None
    assert "kind" not in without.mapping.columns


def test_two_columns_that_say_the_same_of_every_row_are_no_doubt(tmp_path: Path) -> None:
    rows = "".join(f"s{n // 3},{n % 4},SKU-{n % 4},{MOMENT + n}\n" for n in range(12))
    found = guessed(tmp_path / "log", f"session,item_id,sku,time\n{rows}")
    assert found.mapping is not None
    assert found.mapping.columns["item"] == "item_id"


def test_a_column_of_devices_is_no_column_of_kinds(tmp_path: Path) -> None:
    rows = "".join(f"s,{n % 4},{MOMENT + n},{'phone' if n % 2 else 'desktop'}\n" for n in range(12))
    found = guessed(tmp_path / "log", f"session,item,time,type\n{rows}")
    assert found.mapping is not None
    assert "kind" not in found.mapping.columns
    assert "type is taken for no kind of event" in found.notes[0]


@pytest.mark.parametrize("content", [b"", "session,item\n1,2\n".encode("utf-16-le"), b"one word\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(NextclickError):
        sample_of(path)


@pytest.mark.parametrize(
    ("value", "units"),
    [
        ("1500000000", ("s",)), ("1500000000123", ("ms",)), ("1500000000123456", ("us",)),
        ("20170714", ("yyyymmdd",)), ("201707140240", ("yyyymmddhhmm",)),
        ("2017-07-14T02:40:00+02:00", ("iso",)), ("14.07.2017 02:40", ("%d.%m.%Y %H:%M",)),
        ("7/14/2017 2:40:00 PM", ("%m/%d/%Y %I:%M:%S %p",)), ("42", ()), ("red", ()),
    ],
)  # fmt: skip
def test_the_unit_of_a_time_is_seen(value: str, units: tuple[str, ...]) -> None:
    found = time_guess([value] * 3)
    assert (found.units if found else ()) == units


def test_scores_of_names_and_words_of_kinds() -> None:
    assert name_score("session", "session_id:token") == EXACT
    assert name_score("item", "events[].aid") == EXACT
    assert name_score("user", "ordering_customer_id") == PART
    assert name_score("time", "colour") == 0
    assert kind_guess(["red", "blue"], PART) is None
    assert kind_guess([str(n) for n in range(99)], EXACT) is None
