import csv
import errno
import json
import socket
import tomllib
import zlib

import pyarrow
import pytest

from replay.outside_errors import explained


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "'/x': Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("a library's own words\non two lines"), "a library's own words on two lines"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "invalid start byte"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "a connection failed"),
        (socket.gaierror(-2, "Name or service not known"), "a connection failed"),
        (csv.Error("new-line character"), "csv cannot read"),
        (zlib.error("incorrect header"), "zlib cannot read"),
        (json.JSONDecodeError("Expecting value", "", 0), "JSON cannot read"),
        (tomllib.TOMLDecodeError("Invalid"), "TOML cannot read"),
        (pyarrow.ArrowInvalid("straddling object"), "Arrow cannot read"),
    ],
)
def test_errors_of_files_and_networks_have_three_parts(error: Exception, what: str) -> None:
    found = explained(error)
    assert found is not None
    assert what in found.what
    assert "\n" not in found.what
    assert found.meaning
    assert found.remedy


@pytest.mark.parametrize(
    "error",
    [
        TypeError("x"),
        KeyError("x"),
        ValueError("x"),
        AssertionError(),
        OSError(errno.EBADF, "Bad descriptor"),
    ],
)
def test_programming_errors_keep_their_traceback(error: Exception) -> None:
    assert explained(error) is None
