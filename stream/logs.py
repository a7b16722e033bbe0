"""Logs for operators: one line per event of the program, with a name and values, as text or JSON.

A line's name (`event`) and fields do not change with its wording, so that searches and alerts can rely
on them. Text from outside (an id, a broker's message) cannot begin a new line or
control a terminal: control characters are escaped.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

from model.errors import NextclickError
from stream.settings import Settings

# Below a warning these libraries log their internals.
CHATTY = ("faust", "mode", "aiokafka", "kafka", "asyncio", "matplotlib")
REPEATED_AFTER_S = 30.0
# C0, DEL, C1, line and paragraph separators, and what turns the direction of writing.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u206f]")
# Of a message, a traceback or a value: what others send must not fill the disk.
MOST_CHARACTERS = 8_192
logger = logging.getLogger(__name__)
_process: list[int] = []


def name_process(number: int) -> None:
    """From now on each line says that it is of this one of several processes."""
    _process[:] = [number]


def happening(name: str, **fields: Any) -> dict[str, Any]:
    """The `extra` of a log call: the name of what happened, and its values.

    >>> happening("store_opened", partition=3)
    {'event': 'store_opened', 'fields': {'partition': 3}}
    """
    return {"event": name, "fields": fields}


def utc_text(time_ms: float) -> str:
    """Epoch milliseconds for people.

    >>> utc_text(1_700_000_000_000)
    '2023-11-14 22:13:20Z'
    """
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def escaped(text: str, *, keep: str = "") -> str:
    r"""The text with its control characters as escapes, but for those in `keep`.

    >>> escaped("a\x1b[31m\n")
    'a\\x1b[31m\\n'
    """
    return CONTROLS.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text
    )


def shortened(text: str) -> str:
    """The text, its middle left out where it is long; the ends of a traceback tell most.

    >>> shortened("a" * 20_000).count("a"), shortened("b" * 100) == "b" * 100
    (8192, True)
    """
    left_out = len(text) - MOST_CHARACTERS
    if left_out <= 0:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[:half]}… {left_out:,} characters left out …{text[-half:]}"


class HumanFormatter(logging.Formatter):
    """`TIME LEVEL EVENT MESSAGE`; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the lines of a traceback."""
        name = getattr(record, "event", record.name)
        of = f"process {_process[0]}: " if _process else ""
        line = (
            f"{_record_time(record)} {record.levelname} {name} {of}{escaped(shortened(record.getMessage()))}"
        )
        if not record.exc_info:
            return line
        lines = shortened(self.formatException(record.exc_info)).split("\n")
        return "\n".join([line, *(f"  {escaped(part)}" for part in lines)])


class EventFormatter(JsonFormatter):
    """One JSON object: time, level, event, message, logger, and the fields under their own names."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: Mapping[str, Any]
    ) -> None:
        """Add the fields of a record, in the order of reading."""
        log_data.update(
            time=_record_time(record),
            level=record.levelname,
            event=getattr(record, "event", "log"),
            message=shortened(record.getMessage()),
            logger=record.name,
            **({"worker_process": _process[0]} if _process else {}),
        )
        for name, value in getattr(record, "fields", {}).items():
            log_data.setdefault(name, shortened(value) if isinstance(value, str) else value)
        if record.exc_info:
            log_data["traceback"] = shortened(str(self.formatException(record.exc_info)))


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the `sys.stderr` of the moment, which may be replaced."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        """The current standard error."""
        return sys.stderr


class NoRepeats(logging.Filter):
    """Passes a text once in 30 s: a client tries a missing broker many times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._last_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the text, its numbers aside, was not logged in the last 30 s."""
        text = record.name, re.sub(r"\d+", "", record.getMessage())
        now_s = time.monotonic()
        if now_s - self._last_s.get(text, -REPEATED_AFTER_S) < REPEATED_AFTER_S:
            return False
        if len(self._last_s) > 1000:
            self._last_s.clear()
        self._last_s[text] = now_s
        return True


class LogLines:
    """A text stream whose lines become log lines, for the progress of a command."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._open = ""

    def write(self, text: str) -> int:
        """Log every complete line."""
        *lines, self._open = (self._open + text).split("\n")
        for line in filter(str.strip, lines):
            logger.info("%s", line, extra=happening("progress"))
        return len(text)

    def flush(self) -> None:
        """Do nothing: an incomplete line waits for its end."""

    def isatty(self) -> bool:
        """False, so that no progress bar is drawn."""
        return False


def start_logging(settings: Settings) -> None:
    """Send all logs to stderr in the settings' format; in JSON also uncaught exceptions."""
    handler = StderrHandler()
    handler.setFormatter(EventFormatter() if settings.log_format == "json" else HumanFormatter())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, handler.level))
    clients = logging.getLogger("kafka")
    clients.filters = [NoRepeats()]
    if settings.log_format == "json":
        sys.excepthook = _uncaught
        threading.excepthook = lambda found: _uncaught(
            found.exc_type, found.exc_value or found.exc_type(), found.exc_traceback
        )


def tells_json() -> bool:
    """Whether `start_logging` chose JSON."""
    return any(isinstance(handler.formatter, EventFormatter) for handler in logging.getLogger().handlers)


def log_failure(error: BaseException) -> None:
    """Log the error that ends the process: a NextclickError's three parts, or a traceback."""
    if isinstance(error, NextclickError):
        logger.critical(
            "%s",
            error.what,
            extra=happening("process_failed", meaning=error.meaning, remedy=error.remedy),
        )
    else:
        logger.critical(
            "%s: %s",
            type(error).__name__,
            error,
            exc_info=(type(error), error, error.__traceback__),
            extra=happening("process_failed", error=type(error).__name__),
        )


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log_failure(error)


def _record_time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
