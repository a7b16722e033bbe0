"""MovieLens ratings and movies, 1M and 10M (`::`, no header) and 20M and later (CSV).

A rating is a view, whatever its stars; the user is the session. Movies are metadata: the title, and
the genres, separated by |, as the category. The 1M movies are in Latin-1, all other files in UTF-8.
Ratings are grouped by user, not in order of time.
"""

from __future__ import annotations

import re

import pandas as pd

from replay.reading.format import Converted, Format, number, reasons, text_or_none, whole_ms

RATING_COLUMNS = ("UserID", "MovieID", "Rating", "Timestamp")
RATING_CSV_COLUMNS = ("userId", "movieId", "rating", "timestamp")
MOVIE_COLUMNS = ("MovieID", "Title", "Genres")
MOVIE_CSV_COLUMNS = ("movieId", "title", "genres")
RATING_LINE = re.compile(r"^\d+::\d+::\d(\.\d)?::\d+$")
MOVIE_LINE = re.compile(r"^\d+::(?:(?!::).)+::(?:(?!::).)*$")
NO_GENRES = "(no genres listed)"


def convert_ratings(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to events."""
    user, movie, stars, time = (chunk[name] for name in chunk.columns)
    times = number(time)
    events = pd.DataFrame(
        {
            "session_id": user,
            "item_id": movie,
            "event_time_ms": whole_ms(times * 1000),
            "kind": "view",
            "user_id": user,
        }
    )
    broken = reasons(
        chunk.index,
        (times.isna(), f"{time.name} is no number"),
        (number(stars).isna(), f"{stars.name} is no number"),
        (user == "", f"{user.name} is empty"),
        (movie == "", f"{movie.name} is empty"),
    )
    return Converted(events, broken, reasons(chunk.index))


def convert_movies(chunk: pd.DataFrame) -> Converted:
    """Convert a chunk of text columns to metadata."""
    movie, title, genres = (chunk[name] for name in chunk.columns)
    items = pd.DataFrame(
        {
            "item_id": movie,
            "category": text_or_none(genres.where(genres != NO_GENRES, "")),
            "title": text_or_none(title.str.strip()),
        }
    )
    broken = reasons(chunk.index, (movie == "", f"{movie.name} is empty"))
    return Converted(items, broken, reasons(chunk.index))


RATINGS = Format(
    "movielens",
    "::",
    RATING_COLUMNS,
    False,
    lambda line: bool(RATING_LINE.match(line)),
    lambda: convert_ratings,
    family="movielens",
    quoted=False,
)
RATINGS_CSV = Format(
    "movielens-csv",
    ",",
    RATING_CSV_COLUMNS,
    True,
    lambda line: line == ",".join(RATING_CSV_COLUMNS),
    lambda: convert_ratings,
    family="movielens",
)
MOVIES = Format(
    "movielens-movies",
    "::",
    MOVIE_COLUMNS,
    False,
    lambda line: bool(MOVIE_LINE.match(line)) and not RATING_LINE.match(line),
    lambda: convert_movies,
    family="movielens",
    quoted=False,
    other_encoding="latin-1",
)
MOVIES_CSV = Format(
    "movielens-movies-csv",
    ",",
    MOVIE_CSV_COLUMNS,
    True,
    lambda line: line == ",".join(MOVIE_CSV_COLUMNS),
    lambda: convert_movies,
    family="movielens",
    other_encoding="latin-1",
)
