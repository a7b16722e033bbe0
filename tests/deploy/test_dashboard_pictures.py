"""The renderer of the dashboards, from made-up answers; test_prometheus.py has those of a real Prometheus."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deploy.grafana.generate import FOLDER
from deploy.grafana.render.__main__ import PHONE, WALL, main
from deploy.grafana.render.answers import Answers, Line, Prometheus, filled, gather, seconds
from deploy.grafana.render.board import Board, Panel, read_board
from deploy.grafana.render.canvas import COLOURS, Canvas
from deploy.grafana.render.draw import Drawn
from deploy.grafana.render.picture import picture
from deploy.grafana.render.units import shown
from model.errors import NextclickError

BOARDS = {path.stem: read_board(path) for path in sorted(FOLDER.glob("*.json"))}
END_S, SPAN_S, SCRAPE_S = 1_800_000_000.0, 900.0, 15.0
WORKERS = ["worker-1:6066", "worker-2:6066"]


class MadeUp:
    """Answers every query alike: `value` of a query at a time, for each of `series`."""

    def __init__(
        self, value: Callable[[str, float], float | None], series: tuple[dict[str, str], ...] = ({},)
    ) -> None:
        self.value, self.series = value, series
        self.asked: list[dict[str, str]] = []

    def ask(self, path: str, **parameters: str) -> Any:
        self.asked.append({"path": path, **parameters})
        if path.startswith("label/"):
            return WORKERS
        query = parameters["query"]
        if path == "query":
            at = float(parameters["time"])
            found = [(labels, self.value(query, at)) for labels in self.series]
            return {"result": [{"metric": m, "value": [at, str(v)]} for m, v in found if v is not None]}
        step = float(parameters["step"])
        times = [float(parameters["start"]) + n * step for n in range(int(SPAN_S / step) + 1)]
        values = [[at, str(v)] for at in times if (v := self.value(query, at)) is not None]
        return {"result": [{"metric": labels, "values": values} for labels in self.series if values]}


def answers_of(board: Board, source: MadeUp) -> Answers:
    return gather(board, source, end_s=END_S, span_s=SPAN_S, scrape_s=SCRAPE_S)


def drawn(board: Board, source: MadeUp, width: int = WALL) -> tuple[dict[str, Drawn], Canvas]:
    canvas, seen = picture(board, answers_of(board, source), width)
    return {panel.panel: panel for panel in seen}, canvas


def pixels(canvas: Canvas, colour: str) -> int:
    image = Image.open(io.BytesIO(canvas.png())).convert("RGB")
    wanted = tuple(int(COLOURS[colour][n : n + 2], 16) for n in (1, 3, 5))
    found = image.getcolors(1 << 24)
    assert found is not None
    near = [
        count
        for count, rgb in found
        if isinstance(rgb, tuple) and max(abs(a - b) for a, b in zip(rgb, wanted, strict=True)) < 12
    ]
    return sum(near)


@pytest.mark.parametrize("width", [WALL, PHONE])
@pytest.mark.parametrize("name", BOARDS)
def test_a_panel_without_data_says_why_and_all_of_it_can_be_read(name: str, width: int) -> None:
    board = BOARDS[name]
    seen, canvas = drawn(board, MadeUp(lambda query, at: None), width)
    assert list(seen) == [panel.title for panel in board.panels]
    for panel in board.panels:
        assert seen[panel.title].empty
        assert seen[panel.title].texts == (panel.no_value,)
        assert panel.no_value not in ("", "No data"), panel.title
    assert canvas.cuts == []


@pytest.mark.parametrize(("name", "width"), [*((name, WALL) for name in BOARDS), ("overview", PHONE)])
def test_titles_and_numbers_have_room_where_numbers_are_long(name: str, width: int) -> None:
    """A number that is no integer, of millions: as long as one becomes."""
    board = BOARDS[name]
    labels = {"partition": "12", "version": "20270115-080000-1a2b", "system": "champion", "value": "trained"}
    seen, _ = drawn(board, MadeUp(lambda query, at: 1_234_567.89, (labels,)), width)
    for panel in board.panels:
        of = seen[panel.title]
        assert not of.empty and of.texts, panel.title
        if panel.kind == "stat":
            assert of.cut == (), panel.title
        assert panel.title not in of.cut


def test_a_bad_value_is_red_and_a_good_one_is_not() -> None:
    first = BOARDS["overview"].rows[0]
    board = replace(BOARDS["overview"], rows=(first,))
    bad, red = drawn(board, MadeUp(lambda query, at: 1e6))
    stats = [panel for panel in first[1] if panel.kind == "stat"]
    assert {bad[panel.title].colours for panel in stats} == {("red",)}
    versions = "Versions, should be 1"
    good, green = drawn(board, MadeUp(lambda query, at: 1.0 if "by (version)" in query else 0.0))
    assert {good[panel.title].colours for panel in stats} == {("green",)}
    none, _ = drawn(board, MadeUp(lambda query, at: 0.0))
    assert none[versions].colours == ("red",)
    assert pixels(red, "red") > 10 * pixels(green, "red")
    assert pixels(green, "green") > pixels(red, "green")


def test_the_first_row_shows_what_is_now_never_what_was_said_last() -> None:
    """A range's newest value outlives the worker that told it."""
    title, panels = BOARDS["overview"].rows[0]
    assert title == "Now"
    assert [panel.title for panel in panels][:4] == [
        "Workers away",
        "Partitions not served",
        "Versions, should be 1",
        "Longest wait for a list",
    ]
    assert all(asked.instant for panel in panels for asked in panel.targets)
    assert len({panel.place[1] for panel in panels if panel.kind == "stat"}) == 1


@pytest.mark.parametrize("there", [None, float("inf"), float("nan")])
def test_a_line_breaks_off_where_values_are_missing_or_infinite(there: float | None) -> None:
    whole = read_board(FOLDER / "store.json")
    (row, panels), *_ = (row for row in whole.rows if row[0] == "Store")
    board = replace(whole, rows=((row, panels[:1]),))
    _, full = drawn(board, MadeUp(lambda query, at: 5.0))
    _, broken = drawn(board, MadeUp(lambda query, at: there if END_S - 600 < at < END_S - 300 else 5.0))
    assert 0 < pixels(broken, "green") < 0.9 * pixels(full, "green")


def test_rows_of_a_table_are_the_series_with_the_labels_that_are_named() -> None:
    labels = (
        {"alertname": "NextclickWorkerDown", "severity": "critical", "instance": WORKERS[0], "job": "x"},
    )
    seen, _ = drawn(BOARDS["overview"], MadeUp(lambda query, at: 1.0, labels))
    assert seen["Alerts that fire, by name"].texts == (f"NextclickWorkerDown critical {WORKERS[0]}  ",)


def answers_with(title: str, lines: list[Line]) -> tuple[Board, Answers]:
    """A board of one panel, and what it is to show."""
    whole = BOARDS["overview"]
    panel = next(panel for panel in whole.panels if panel.title == title)
    answers = Answers(END_S - SPAN_S, END_S, SCRAPE_S, {title: lines}, [], {})
    return replace(whole, rows=(("", (panel,)),)), answers


def test_a_legend_begins_with_the_largest_and_a_table_with_what_is_critical() -> None:
    times = [END_S - 30, END_S - 15, END_S]
    lines = [Line("early", {}, times, [0, 0, 0]), Line("large", {}, times, [1, 9, 0])]
    _, (seen,) = picture(*answers_with("Dead letters by reason", lines), WALL)
    assert seen.texts == ("large", "early")
    alerts = [
        Line("", {"alertname": name, "severity": severity}, [END_S], [1.0])
        for name, severity in (("A", "warning"), ("B", "critical"))
    ]
    _, (table,) = picture(*answers_with("Alerts that fire, by name", alerts), WALL)
    assert [text.split()[0] for text in table.texts] == ["B", "A"]


def test_what_is_bad_by_its_name_is_red_and_what_is_good_is_green() -> None:
    outcomes = ("dead_lettered", "stepped", "duplicate")
    lines = [Line(name, {}, [END_S - 15, END_S], [1.0, 1.0]) for name in outcomes]
    _, (seen,) = picture(*answers_with("Outcomes", lines), WALL)
    found = dict(zip(seen.texts, seen.colours, strict=True))
    assert (found["dead_lettered"], found["stepped"]) == (COLOURS["red"], COLOURS["green"])
    assert found["duplicate"] not in (COLOURS["red"], COLOURS["green"])


def test_a_level_number_has_a_level_spark_however_large_it_is() -> None:
    """Matplotlib warns of an axis without a height, and warnings fail the tests."""
    level = Line("", {}, [END_S - 15, END_S], [1.8e12, 1.8e12])
    _, (seen,) = picture(*answers_with("Open sessions", [level]), WALL)
    assert seen.texts == ("1,800,000,000,000",)


def test_queries_are_asked_as_grafana_asks_them() -> None:
    source = MadeUp(lambda query, at: 1.0)
    answers = answers_of(BOARDS["overview"], source)
    assert answers.chosen == {"instance": r"(worker-1:6066|worker-2:6066)"}
    asked = [one["query"] for one in source.asked if "query" in one]
    assert not [query for query in asked if "$" in query]
    assert [query for query in asked if r'instance=~"(worker-1:6066|worker-2:6066)"' in query]
    assert [query for query in asked if "[60s]" in query]
    with pytest.raises(NextclickError, match=r"\$other"):
        filled("x[$other]", {})


def test_an_address_is_escaped_as_a_part_of_an_expression_in_a_string() -> None:
    class Dotted(MadeUp):
        def ask(self, path: str, **parameters: str) -> Any:
            return ["127.0.0.1:6066"] if path.startswith("label/") else super().ask(path, **parameters)

    answers = answers_of(BOARDS["overview"], Dotted(lambda query, at: 1.0))
    assert answers.chosen["instance"] == r"(127\\.0\\.0\\.1:6066)"


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.0, "s", None, "0 s"),
        (0.0123, "s", None, "12.3 ms"),
        (90, "s", None, "1.50 mins"),
        (172_800, "s", None, "2 days"),
        (1536, "bytes", None, "1.50 KiB"),
        (0.305, "percentunit", 1, "30.5%"),
        (12_345, "short", None, "12.3 K"),
        (274_227.4, "locale", 0, "274,227"),
        (0.25, "cps", None, "0.250 c/s"),
        (1_700_000_000_000, "dateTimeAsIso", None, "2023-11-14 22:13:20"),
        (float("nan"), "s", None, "NaN"),
        (float("inf"), "s", None, "∞"),
    ],
)
def test_numbers_are_written_with_their_unit(
    value: float, unit: str, decimals: int | None, text: str
) -> None:
    assert shown(value, unit, decimals) == text


def test_what_the_renderer_does_not_know_it_refuses(tmp_path: Path) -> None:
    board = json.loads((FOLDER / "overview.json").read_text())
    file = tmp_path / "board.json"
    for change, said in (
        ({"type": "gauge"}, "is a gauge"),
        ({"transformations": [{"id": "merge"}]}, "merge"),
    ):
        changed = json.loads(json.dumps(board))
        changed["panels"][1].update(change)
        file.write_text(json.dumps(changed))
        with pytest.raises(NextclickError, match=said):
            read_board(file)
    changed = json.loads(json.dumps(board))
    changed["panels"][1]["fieldConfig"]["defaults"]["unit"] = "lux"
    file.write_text(json.dumps(changed))
    with pytest.raises(NextclickError, match="lux"):
        read_board(file)
    with pytest.raises(NextclickError, match="no span"):
        seconds("1 hour")


def test_no_prometheus_is_said_in_three_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Port 0 is nobody's.
    assert main(["overview", "--prometheus", "http://127.0.0.1:0", "--folder", str(tmp_path)]) == 2
    what, meaning, remedy = capsys.readouterr().err.strip().split("\n")
    assert "does not answer" in what and meaning.startswith("No picture") and remedy
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    assert main(["overview", "--folder", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--width", "20"])
    with pytest.raises(NextclickError, match="does not answer"):
        Prometheus("http://127.0.0.1:0").ask("query", query="up")


def test_panels_stand_one_below_the_other_on_a_phone() -> None:
    boxes, height = BOARDS["overview"].boxes(PHONE)
    panels = [box for panel, box in boxes if isinstance(panel, Panel)]
    assert {box.left for box in panels} == {8}
    assert all(box.left + box.width <= PHONE for box in panels)
    tops = [box.top for _, box in boxes]
    assert tops == sorted(tops) and height > tops[-1]


def test_the_pictures_of_the_documentation_are_of_these_dashboards() -> None:
    folder = FOLDER.parents[1] / "docs" / "dashboards"
    found = {path.name for path in folder.glob("*.png")}
    assert found == {f"overview-{WALL}.png", f"overview-{PHONE}.png", f"quality-{WALL}.png"}
    assert sum((folder / name).stat().st_size for name in found) < 300_000
    for name in found:
        with Image.open(folder / name) as image:
            board_name, _, width = name.removesuffix(".png").partition("-")
            board = BOARDS[board_name]
            assert image.size == (int(width), board.boxes(int(width))[1]), f"{name} has another layout"
