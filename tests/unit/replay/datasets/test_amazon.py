import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from model.errors import NextclickError
from replay.datasets import event_files as files
from replay.datasets.amazon_metadata import category_path, plain_text, price_of
from replay.datasets.detection import detect
from replay.datasets.event_files import EventFiles
from tests.harness.packed import taken_before_the_cut, write


def line_of(**fields: Any) -> str:
    return json.dumps(fields) + "\n"


REVIEWS_2014 = line_of(
    reviewerID="A2SUAM1J3GNN3B",
    asin="0000013714",
    reviewerName="J. McDonald",
    helpful=[2, 3],
    reviewText="I bought this for my husband who plays the piano.",
    overall=5.0,
    summary="Heavenly Highway Hymns",
    unixReviewTime=1252800000,
    reviewTime="09 13, 2009",
)
# Python dictionaries, one per line.
METADATA_2014 = (
    "{'asin': '0000013714', 'title': \"Heavenly &amp; Highway 'Hymns'\", 'price': 3.17, "
    "'imUrl': 'http://ecx.images-amazon.com/images/I/51fAmVkTbyL._SY300_.jpg', "
    "'related': {'also_bought': ['B00JHONN1S'], 'bought_together': ['B002BZX8Z6']}, "
    "'salesRank': {'Toys & Games': 211836}, 'brand': 'Coxlures', "
    "'categories': [['Sports & Outdoors', 'Other Sports', 'Dance'], ['Toys & Games', 'Music']]}\n"
    "{'asin': '0000031852', 'description': 'no title here'}\n"
)
REVIEW_2018 = line_of(
    overall=5.0,
    verified=True,
    vote="2",
    reviewTime="01 1, 2018",
    reviewerID="AUI6WTTT0QZYS",
    asin="5120053084",
    style={"Size:": "Large"},
    reviewerName="Abbey",
    reviewText="Great.",
    summary="Comfy",
    unixReviewTime=1514764800,
)
METADATA_2018 = line_of(
    category=["Clothing", "Women", "<span>Accessories</span>"],
    description=["x"],
    title="<b>Cat&#39;s</b>   Pyjamas\n &lt;3",
    also_buy=["B1"],
    brand="by\n    \n    Acme   Wear",
    price="$1,299.00 - $1,400.50",
    main_cat="<img src='x' alt='Amazon Fashion'/>",
    asin="5120053084",
) + line_of(category=[], title="var aPageStart = (new Date()).getTime();", price=".a-box{x}", asin="B2")
REVIEW_2023 = line_of(
    rating=5.0,
    title="Such a lovely scent, but no title of a product",
    text="...",
    images=[],
    asin="B00YQ6X8EO",
    parent_asin="B00PARENT0",
    user_id="AGKHLEW2SOWHNMFQIJGBECAF7INQ",
    timestamp=1588687728923,
    helpful_vote=0,
    verified_purchase=True,
)
METADATA_2023 = line_of(
    main_category="All Beauty",
    title="Howard LC0008 Leather Conditioner",
    average_rating=4.8,
    price=None,
    store="Howard Products",
    categories=[],
    details={"Brand": "Howard"},
    parent_asin="B00PARENT0",
    bought_together=None,
)
CSV = "UserId,ProductId,Rating,Timestamp\nA39HTATAQ9V7YF,0205616461,5.0,1369699200\n"
CSV_METADATA = (
    ',price,asin,title,category\n0,"$1,299.00",0205616461,"Cream, the ""best""","[\'Beauty\', \'Skin\']"\n'
)


def load(tmp_path: Path, *texts: str | bytes, **options: Any) -> Any:
    paths = [write(tmp_path / f"file{n}", text) for n, text in enumerate(texts)]
    rejects = options.pop("rejects", None)
    return EventFiles(paths, **options).load(rejects)


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".jsonl.xz", ".zip"])
def test_a_review_of_2014_is_a_purchase_described_by_its_python_line(tmp_path: Path, suffix: str) -> None:
    reviews = write(tmp_path / f"reviews{suffix}", REVIEWS_2014)
    metadata = write(tmp_path / f"meta{suffix}", METADATA_2014)
    assert detect(reviews) == "amazon"
    assert detect(metadata) == "amazon-metadata"
    (row,) = EventFiles([metadata, reviews]).load().to_dict("records")
    assert row == {
        "session_id": "A2SUAM1J3GNN3B",
        "item_id": "0000013714",
        "event_time_ms": 1252800000000,
        "kind": "purchase",
        "user_id": "A2SUAM1J3GNN3B",
        "price": 3.17,
        "brand": "Coxlures",
        "category": "Sports & Outdoors.Other Sports.Dance|Toys & Games.Music",
        "title": "Heavenly & Highway 'Hymns'",
    }


def test_metadata_of_2018_are_cleaned_of_what_was_scraped_with_them(tmp_path: Path) -> None:
    other = REVIEW_2018.replace("5120053084", "B2")
    first, second = load(tmp_path, REVIEW_2018 + other, METADATA_2018).to_dict("records")
    assert first["title"] == "Cat's Pyjamas <3"
    assert (first["brand"], first["price"]) == ("Acme Wear", 1299.0)
    assert first["category"] == "Clothing.Women.Accessories"
    names = ("title", "brand", "price", "category")
    frame = load(tmp_path, other, METADATA_2018)
    assert frame[list(names)].isna().all(axis=None)
    assert second["event_time_ms"] == 1514764800000


def test_a_review_of_2023_is_of_the_product_at_its_millisecond(tmp_path: Path) -> None:
    (row,) = load(tmp_path, REVIEW_2023, METADATA_2023).to_dict("records")
    assert (row["item_id"], row["event_time_ms"]) == ("B00PARENT0", 1588687728923)
    assert row["title"] == "Howard LC0008 Leather Conditioner"
    assert (row["brand"], row["category"]) == ("Howard Products", "All Beauty")
    assert row["price"] != row["price"], "no price is NaN"


def test_csv_files_are_joined_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    (row,) = load(tmp_path, CSV, CSV_METADATA).to_dict("records")
    assert (row["session_id"], row["event_time_ms"]) == ("A39HTATAQ9V7YF", 1369699200000)
    assert (row["title"], row["price"], row["category"]) == ('Cream, the "best"', 1299.0, "Beauty.Skin")
    exported = 'asin,reviewText,unixReviewTime,reviewerID\nB1,"two\nlines",1369699200,A1\nB2,,1369699201,A1\n'
    assert load(tmp_path, exported)["item_id"].tolist() == ["B1", "B2"]
    variant = "rating,asin,parent_asin,user_id,timestamp\n5.0,B1,B0,A1,1588687728923\n"
    assert load(tmp_path, variant)["item_id"].tolist() == ["B0"]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("A39HTATAQ9V7YF,0205616461,5.0,1369699200", "amazon-ratings"),
        ("0205616461,A39HTATAQ9V7YF,5.0,1369699200", "amazon-ratings-2018"),
        ("user_id,parent_asin,rating,timestamp\nA39HTATAQ9V7YF,0205616461,5.0,1369699200000", "amazon-csv"),
    ],
)
def test_files_of_ratings_alone_are_read(tmp_path: Path, line: str, name: str) -> None:
    path = write(tmp_path / "ratings.csv", line + "\n")
    assert detect(path) == name
    (row,) = EventFiles([path]).load().to_dict("records")
    assert (row["user_id"], row["item_id"]) == ("A39HTATAQ9V7YF", "0205616461")
    assert row["event_time_ms"] == 1369699200000


@pytest.mark.parametrize("block", [300, 1 << 20])
@pytest.mark.parametrize("grouped_by", ["user", "item"])
def test_reviews_that_stand_twice_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grouped_by: str, block: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    # All of a group, then all of it again: the two do not follow one another.
    pairs = [(user, item) for user in "ABC" for _ in "12" for item in "XYZ"]
    if grouped_by == "item":
        pairs = [(user, item) for item in "XYZ" for _ in "12" for user in "ABC"]
    text = "".join(line_of(reviewerID=u, asin=i, unixReviewTime=1514764800) for u, i in pairs)
    again = line_of(reviewerID="A", asin="X", unixReviewTime=1514851200)
    rejects: Counter[str] = Counter()
    frame = load(tmp_path, text + again, rejects=rejects)
    assert rejects == {"duplicate": 9}
    assert len(frame) == 10, "a later review of the same product stays"


def test_a_product_that_is_not_described_is_kept_without_description(tmp_path: Path) -> None:
    frame = load(tmp_path, REVIEW_2018.replace("5120053084", "B9"), METADATA_2018)
    assert frame["item_id"].tolist() == ["B9"]
    assert frame[["title", "brand", "price", "category"]].isna().all(axis=None)


def test_of_a_product_described_twice_the_first_counts(tmp_path: Path) -> None:
    rejects: Counter[str] = Counter()
    again = line_of(asin="5120053084", title="Another")
    frame = load(tmp_path, REVIEW_2018, METADATA_2018, again, rejects=rejects)
    assert frame["title"].tolist() == ["Cat's Pyjamas <3"]
    assert rejects == {"metadata: repeated item": 1}


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("$1,299.00", 1299.0),
        ("3.17", 3.17),
        ("$5.99 - $12.49", 5.99),
        ("from 14.99", 14.99),
        (" $ 7 ", 7.0),
        ("", None),
        (".a-box-inner{background-color:#fff 12.00}", None),
        ("None", None),
        ("—", None),
        ("$", None),
        ("1e5", None),
    ],
)
def test_a_price_is_a_number_or_missing(text: str, price: float | None) -> None:
    found = price_of(text)
    assert found == price if price is not None else found != found


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (["A", "B"], "A.B"),
        ([["A", "B"], ["C"], ["A", "B"]], "A.B|C"),
        ([], ""),
        ([[]], ""),
        (None, ""),
        ("A &amp; B", "A & B"),
        (["x|y", "</span>"], "x/y"),
        (7, ""),
    ],
)
def test_categories_are_paths(value: Any, path: str) -> None:
    assert category_path(value) == path


def test_only_tags_are_taken_out_of_a_text() -> None:
    assert plain_text("4 < 5 &amp; 6 > 5 <br/>\n<a href='x'>y</a>") == "4 < 5 & 6 > 5 y"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (REVIEW_2018[:60], "no JSON"),
        ("{'reviewerID': 'A1', 'asin': open('x')}", "neither JSON nor a Python dictionary"),
        ("{'reviewerID': ", "neither JSON nor a Python dictionary"),
        ('{"asin": "B1", "unixReviewTime": 5}', "no user"),
        ('{"reviewerID": "A1", "unixReviewTime": 5}', "no asin"),
        ('{"reviewerID": "A1", "asin": "B1", "unixReviewTime": "soon"}', "the time is no number"),
        ('{"reviewerID": "A1", "asin": "B1"}', "the time is no number"),
        ('{"reviewerID": "A1", "asin": "B1", "unixReviewTime": 20000000000}', "event time is outside"),
        ('{"reviewerID": 5, "asin": "B1"}', "a field is of another type: Expected `str | null`"),
        ("[1, 2]", "a field is of another type: Expected `object`"),
        ('{"a": ' + "[" * 100_000, "no JSON"),
        ("{'a': " + "[" * 5_000, "neither JSON nor a Python dictionary"),
    ],
)
def test_a_broken_line_is_named_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 500)
    path = write(tmp_path / "reviews.json", REVIEW_2018 + "\n \n" + REVIEWS_2014 + line + "\n" + REVIEW_2023)
    with pytest.raises(NextclickError) as caught:
        list(EventFiles([path]).read())
    assert f"{path}, line 5: {reason}" in caught.value.what
    assert len(caught.value.what) < 1000
    rejects: Counter[str] = Counter()
    assert len(EventFiles([path], on_error="skip").load(rejects)) == 3
    assert rejects.total() == 1


def test_bytes_that_are_no_text_cost_only_their_line(tmp_path: Path) -> None:
    bad = b'{"reviewerID": "A\xff1", "asin": "B1", "unixReviewTime": 5}\n'
    with pytest.raises(NextclickError, match="line 2: not UTF-8"):
        load(tmp_path, REVIEW_2018.encode() + bad)
    assert len(load(tmp_path, REVIEW_2018.encode() + bad, on_error="skip")) == 1


def test_a_broken_line_of_metadata_is_named_or_counted(tmp_path: Path) -> None:
    broken = METADATA_2018 + '{"asin": "B3", "title": '
    with pytest.raises(NextclickError, match="file1, line 3: no JSON"):
        load(tmp_path, REVIEW_2018, broken)
    rejects: Counter[str] = Counter()
    assert len(load(tmp_path, REVIEW_2018, broken, on_error="skip", rejects=rejects)) == 1
    assert rejects == {"metadata: no JSON": 1}


@pytest.mark.parametrize("change", ["\r\n", "bom", "no end"])
def test_line_ends_and_marks_do_not_matter(tmp_path: Path, change: str) -> None:
    text = REVIEW_2018 + REVIEWS_2014
    changed = {"\r\n": text.replace("\n", "\r\n"), "bom": "\ufeff" + text, "no end": text.rstrip("\n")}[
        change
    ]
    assert load(tmp_path, changed).equals(load(tmp_path, text))


def test_of_a_cut_off_file_the_reviews_before_the_cut_can_be_taken(tmp_path: Path) -> None:
    text = "".join(line_of(reviewerID=f"A{n * 7919}", asin=f"B{n}", unixReviewTime=n) for n in range(20_000))
    path = write(tmp_path / "r.json.gz", text)
    taken_before_the_cut(path, 20_000)


def test_a_line_longer_than_a_block_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    long = line_of(reviewerID="A1", asin="B1", unixReviewTime=5, reviewText="x" * 5_000)
    assert load(tmp_path, REVIEW_2018 + long + REVIEW_2023)["item_id"].tolist() == [
        "B1",
        "5120053084",
        "B00PARENT0",
    ]


def test_names_beyond_the_schema_are_missing_not_fatal(tmp_path: Path) -> None:
    long = line_of(asin="5120053084", title="x" * 9_000, brand="Acme")
    (row,) = load(tmp_path, REVIEW_2018, long).to_dict("records")
    assert row["title"] != row["title"]
    assert row["brand"] == "Acme"
