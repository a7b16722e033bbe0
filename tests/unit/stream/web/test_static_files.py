import gzip
import json
import re

from aiohttp.test_utils import make_mocked_request
from openapi_spec_validator import validate

from stream.web.static_files import FOLDER, TYPES, load_static_files

MAX_BYTES = 150_000
OWN = [name for name in TYPES if name.endswith((".html", ".js", ".css", ".svg")) and "uPlot" not in name]


def test_the_table_names_every_file_and_all_that_a_page_loads_is_small() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TYPES)
    loaded = [
        file.content
        for name, file in load_static_files().items()
        if name not in ("openapi.json", "uPlot.LICENSE")
    ]
    assert sum(map(len, loaded)) < MAX_BYTES


def test_nothing_comes_from_outside_and_nothing_is_inline() -> None:
    for name in OWN:
        text = (FOLDER / name).read_text()
        text = text.replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]+/", text), name
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", page)
    for name in re.findall(r'(?:src|href)="(/[^"]*)"', page):
        assert name.removeprefix("/page/") in TYPES, name


def test_no_text_of_the_data_becomes_markup() -> None:
    for name in OWN:
        script = (FOLDER / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script), name


def test_a_file_is_sent_compressed_where_that_is_taken_and_not_again_when_it_is_known() -> None:
    file = load_static_files()["page.css"]
    plain = file.answer(make_mocked_request("GET", "/page/page.css"))
    assert plain.body == file.content
    small = file.answer(make_mocked_request("GET", "/page/page.css", {"Accept-Encoding": "br, gzip"}))
    assert small.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(small.body) == file.content  # type: ignore[arg-type]
    again = file.answer(
        make_mocked_request("GET", "/page/page.css", {"If-None-Match": plain.headers["ETag"]})
    )
    assert (again.status, again.body) == (304, None)


def test_the_library_has_its_licence_beside_it() -> None:
    assert "The MIT License" in (FOLDER / "uPlot.LICENSE").read_text()
    assert "uPlot (v1.6.32)" in (FOLDER / "uPlot.iife.min.js").read_text()[:80]


def test_the_openapi_document_is_valid() -> None:
    validate(json.loads((FOLDER / "openapi.json").read_bytes()))
