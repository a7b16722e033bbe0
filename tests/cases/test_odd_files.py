"""Files as people have them, through `data guess` and `train`: read rightly, or refused with the way out."""

import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from stream.log_mapping import read_mapping
from tests.harness.commands import run_main

START_S = 1_700_467_770


class Row(NamedTuple):
    """One event; its ids begin with noughts."""

    session: str
    item: str
    at_s: int
    kind: str
    price: float

    def at(self, pattern: str) -> str:
        return datetime.fromtimestamp(self.at_s, UTC).strftime(pattern)


KINDS = ("view", "view", "cart", "purchase")
ROWS = [
    Row(f"{n // 6:05d}", f"{n * 7 % 23:06d}", START_S + n * 931, KINDS[n % 4], 3 + n * 7 % 23 * 1.37)
    for n in range(240)
]
GERMAN = {"view": "Ansicht", "cart": "Warenkorb", "purchase": "Kauf"}
CHINESE = {"view": "点击", "cart": "加购", "purchase": "购买"}
Line = Callable[[Row], str]

READ: dict[str, tuple[str, Line, str]] = {
    "a price with its currency, decimal commas, dates of days first, latin-1": (
        "Sitzung;Artikelnummer;Zeitpunkt;Aktion;Preis (EUR);Größe\n",
        lambda row: (
            f"{row.session};{row.item};{row.at('%d.%m.%Y %H:%M:%S')};{GERMAN[row.kind]};"
            + f"{row.price:.2f};XL".replace(".", ",")
        ),
        "latin-1",
    ),
    "a Chinese header and Chinese kinds": (
        "会话,商品编号,时间,行为,价格\n",
        lambda row: (
            f"{row.session},{row.item},{row.at('%Y-%m-%d %H:%M:%S')},{CHINESE[row.kind]},{row.price:.2f}"
        ),
        "utf-8",
    ),
    "records within records, the id of a product by its place": (
        "",
        lambda row: json.dumps(
            {
                "meta": {"sessionId": row.session, "ts": row.at("%Y-%m-%dT%H:%M:%S.000Z")},
                "event": {"name": row.kind, "product": {"id": row.item, "price": {"amount": row.price}}},
            }
        ),
        "utf-8",
    ),
    "blanks before and after each value, and Windows line ends": (
        "session_id , item_id , time , kind \r\n",
        lambda row: f"{row.session} , {row.item} , {row.at_s} , {row.kind} \r",
        "utf-8",
    ),
    "quotes within quotes and tabs, in UTF-16": (
        "Session ID\tItem ID\tTitle\tEvent Time\tAction\n",
        lambda row: (
            f'"{row.session}"\t"{row.item}"\t"A ""nice"" mug"\t"{row.at("%Y-%m-%d %H:%M:%S")}"\t{row.kind}'
        ),
        "utf-16",
    ),
    "dates with slashes, days first by those above 12, and a mark of UTF-8": (
        "session_id,product_id,date,event\n",
        lambda row: f"{row.session},{row.item},{row.at('%d/%m/%Y %H:%M:%S')},{row.kind}",
        "utf-8-sig",
    ),
}


def guessed(log: Path, *said: str) -> tuple[int, str, str, Path]:
    mapping = log.with_name("mylog.toml")
    ended = run_main("data", "guess", log, "--output", mapping, "--json", *said)
    return ended.code, ended.out, " ".join(ended.errors.split()), mapping


@pytest.mark.parametrize("name", READ)
def test_it_is_read_as_what_it_is_with_nothing_said(tmp_path: Path, name: str) -> None:
    header, line, encoding = READ[name]
    log = tmp_path / "log.txt"
    log.write_bytes((header + "".join(f"{line(row)}\n" for row in ROWS)).encode(encoding))
    code, told, errors, mapping = guessed(log)
    assert code == 0, errors
    events = json.loads(told)["events"]
    assert [(e["session_id"], e["item_id"], e["event_time_ms"], e["kind"]) for e in events] == [
        (row.session, row.item, row.at_s * 1000, row.kind) for row in ROWS[: len(events)]
    ]
    assert not json.loads(told)["left_out"]
    if "price" in name or "Chinese" in name:
        assert [e["price"] for e in events] == [round(row.price, 2) for row in ROWS[: len(events)]]
    trained = run_main(
        "train", log, "--log", mapping, "--network", "pop", "--registry", tmp_path / "registry", "--json"
    )
    assert trained.code == 0, trained.errors
    assert f"{len(ROWS)} events" in trained.errors


def test_ids_and_times_as_floats_with_exponents_are_whole_numbers(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    lines = [f"{int(row.session):.1f},{int(row.item):.6e},{row.at_s * 1000:.12e}" for row in ROWS]
    log.write_text("\n".join(["session_id,item_id,timestamp", *lines]) + "\n")
    code, told, errors, _ = guessed(log)
    assert code == 0, errors
    events = json.loads(told)["events"]
    assert [(e["item_id"], e["event_time_ms"]) for e in events] == [
        (str(int(row.item)), row.at_s * 1000) for row in ROWS[: len(events)]
    ]
    # Digits that are not there are not made up.
    lines = [f"{row.session},{1_234_567 + n:.3e},{row.at_s}" for n, row in enumerate(ROWS)]
    log.write_text("\n".join(["session_id,item_id,timestamp", *lines]) + "\n")
    trained = run_main("train", log, "--network", "pop", "--registry", tmp_path / "registry")
    assert trained.code == 2
    assert "lost digits" in trained.errors


def test_tables_in_a_zip_are_one_log_beside_a_readme(tmp_path: Path) -> None:
    log, lines = tmp_path / "export.zip", [f"{row.session},{row.item},{row.at_s}\n" for row in ROWS]
    with zipfile.ZipFile(log, "w") as archive:
        archive.writestr("README.txt", "Exported by hand.\nAll times are UTC.\n")
        for part in range(3):
            archive.writestr(f"data/{part}.csv", "visit_id,article_id,visited_at\n" + "".join(lines[part::3]))
    code, told, errors, mapping = guessed(log)
    assert code == 0, errors
    assert json.loads(told)["mapping"]["columns"]["session"] == "visit_id"
    trained = run_main(
        "train", log, "--log", mapping, "--network", "pop", "--registry", tmp_path / "registry"
    )
    assert trained.code == 0, trained.errors
    told = " ".join(trained.errors.split())
    assert f"{len(ROWS)} events" in told
    assert "left out 1: file without the columns of the mapping" in told
    # One of them by its name, too.
    assert guessed(log / "0.csv", "--overwrite", "--output", str(mapping))[0] == 0
    other = tmp_path / "other.toml"
    other.write_text(mapping.read_text().replace("visit_id", "nowhere"))
    refused = run_main("train", log, "--log", other, "--network", "pop", "--registry", tmp_path / "registry")
    assert refused.code == 2
    assert "has no column" in " ".join(refused.errors.split())


def test_kinds_that_are_numbers_are_asked_for_also_under_the_names_of_a_known_layout(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    lines = [f"{row.session},{row.item},{row.at_s},{KINDS.index(row.kind)}" for row in ROWS]
    log.write_text("\n".join(["session_id,item_id,timestamp,event_type", *lines]) + "\n")
    trained = run_main("train", log, "--network", "pop", "--registry", tmp_path / "registry")
    assert trained.code == 2
    assert "nextclick data guess" in trained.errors
    code, _, errors, mapping = guessed(log)
    assert code == 2
    assert "what 0, 2, 3 of event_type mean is not known" in errors
    assert guessed(log, "--columns", "kind=event_type:0=view,2=cart,3=purchase")[0] == 0
    assert read_mapping(mapping).kinds == {"0": "view", "2": "cart", "3": "purchase"}


@pytest.mark.parametrize(
    ("encoding", "header"),
    [
        ("gb18030", "会话,商品编号,时间"),
        ("shift_jis", "セッションID,商品コード,日時"),
        ("cp1251", "сессия,товар,время"),
    ],
)
def test_a_header_in_another_encoding_is_refused_with_the_command_that_converts_it(
    tmp_path: Path, encoding: str, header: str
) -> None:
    log = tmp_path / "log.csv"
    lines = [f"{row.session},{row.item},{row.at_s}" for row in ROWS]
    log.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
    code, _, errors, _ = guessed(log)
    assert code == 2
    assert f"in {encoding} its first line is {header}" in errors
    assert f"iconv -f {encoding} -t utf-8 {log}" in errors
    log.write_text(log.read_bytes().decode(encoding), "utf-8")
    code, told, errors, _ = guessed(log)
    assert code == 0, errors
    assert json.loads(told)["events"][0]["item_id"] == ROWS[0].item


@pytest.mark.parametrize("before", [["sep=,"], ["# exported by hand", "# all times are UTC"]])
def test_what_stands_before_the_header_is_named_with_the_command_that_leaves_it_out(
    tmp_path: Path, before: list[str]
) -> None:
    log = tmp_path / "log.csv"
    lines = [f"{row.session},{row.item},{row.at_s}" for row in ROWS]
    log.write_text("\n".join([*before, "session_id,item_id,timestamp", *lines]) + "\n")
    code, _, errors, _ = guessed(log)
    assert code == 2
    assert before[0] in errors
    assert f"tail -n +{len(before) + 1} {log}" in errors


@pytest.mark.parametrize("names", ["session_id,item_id,date,time", "visit,article,day_of_visit,clock"])
def test_a_day_and_a_time_of_day_in_two_columns_are_not_taken_for_days(tmp_path: Path, names: str) -> None:
    log = tmp_path / "log.csv"
    lines = [f"{row.session},{row.item},{row.at('%Y-%m-%d')},{row.at('%H:%M:%S')}" for row in ROWS]
    log.write_text("\n".join([names, *lines]) + "\n")
    code, _, errors, mapping = guessed(log)
    assert code == 2
    assert "time of day" in errors or "times of day" in errors
    assert "join" in errors
    assert not mapping.exists()
