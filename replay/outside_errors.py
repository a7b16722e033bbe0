"""The errors that a file, a folder, a terminal or the network causes, in the three parts for users.

`nextclick.main` asks here about every exception that ends a command. A programming error (TypeError,
KeyError, …) has no such cause and keeps its traceback.
Tested by tests/unit/replay/test_outside_errors.py and tests/cases/test_wrong_inputs.py.
"""

from __future__ import annotations

import errno

from model.errors import NextclickError

# Errors of the process's own doing, though Python derives them from OSError.
OWN_NUMBERS = {errno.EBADF, errno.EFAULT, errno.ECHILD, errno.ESRCH}
# Errors of libraries at content that is not in their format, or at a peer; by name, since a command
# imports only the libraries that it needs.
OF_LIBRARIES = {
    "_csv.Error": "csv",
    "zlib.error": "zlib",
    "_lzma.LZMAError": "lzma",
    "_bz2.BZ2Error": "bz2",
    "zipfile.BadZipFile": "zip",
    "json.decoder.JSONDecodeError": "JSON",
    "tomllib.TOMLDecodeError": "TOML",
    "tomllib._parser.TOMLDecodeError": "TOML",
    "yaml.error.YAMLError": "YAML",
    "msgspec.DecodeError": "msgspec",
    "pandas.errors.ParserError": "pandas",
    "pandas.errors.EmptyDataError": "pandas",
    "pyarrow.lib.ArrowException": "Arrow",
    "safetensors._safetensors_rust.SafetensorError": "safetensors",
    "cimpl.KafkaException": "Kafka's client",
    "kafka.errors.KafkaError": "Kafka's client",
    "aiokafka.errors.KafkaError": "Kafka's client",
    "aiohttp.client_exceptions.ClientError": "HTTP",
    "http.client.HTTPException": "HTTP",
}
# Readers that go down into what they read, by package.
DEEP_READERS = {"json": "JSON", "tomllib": "TOML", "msgspec": "msgspec", "yaml": "YAML"}
REMEDIES = {
    errno.ENOSPC: "Make room on that disk, then run the command again.",
    errno.EDQUOT: "Make room on that disk, then run the command again.",
    errno.EFBIG: "Name a disk that takes files of this size, then run the command again.",
    errno.EACCES: "Look at the rights of the file and of its folder, or name another path.",
    errno.EPERM: "Look at the rights of the file and of its folder, or name another path.",
    errno.EROFS: "Name a path on a disk that may be written to.",
    errno.ENOENT: "Name a path that exists.",
    errno.EISDIR: "Name a file: this is a folder.",
    errno.ENOTDIR: "Name a path below a folder: a part of this one is a file.",
    errno.ENAMETOOLONG: "Name a shorter path.",
    errno.EMFILE: "Allow the process more open files (`ulimit -n`), then run the command again.",
    errno.ENOMEM: "Free memory, then run the command again.",
}
LOOK = "Look at what the line above names, then run the command again."


def explained(error: BaseException) -> NextclickError | None:
    """The error in three parts, None for an error that nothing outside the program caused.

    >>> explained(FileNotFoundError(2, "No such file or directory", "a.csv")).what
    "a file or a folder cannot be used: 'a.csv': No such file or directory"
    >>> explained(KeyError("session_id")) is None
    True
    """
    if isinstance(error, NextclickError):
        return error
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, UnicodeError):
        return NextclickError(
            f"a text cannot be read or written in its encoding: {_said(error)}",
            "The command has ended; what it had written before this line is there.",
            "Save the file as UTF-8, or look at the encoding of the terminal (PYTHONIOENCODING).",
        )
    library = _library_of(error)
    if library is None:
        return None
    return NextclickError(
        f"{library} cannot read what it was given: {_said(error)}",
        "A file, or an answer of the network, is not in the form that the command needs. It has ended.",
        "Look at the file that the command was given; NEXTCLICK_LOG_LEVEL=DEBUG prints where it was read.",
    )


def _of_system(error: OSError) -> NextclickError | None:
    if error.errno in OWN_NUMBERS:
        return None
    if isinstance(error, ConnectionError | TimeoutError) or _is_of_network(error):
        return NextclickError(
            f"a connection failed: {_said(error)}",
            "The other side does not answer, or has ended the connection. The command has ended.",
            "Look whether it runs, and at the address that the settings name (`nextclick settings`).",
        )
    names = [repr(str(name)) for name in (error.filename, error.filename2) if name is not None]
    reason = ": ".join([" and ".join(names), error.strerror] if names and error.strerror else [_said(error)])
    return NextclickError(
        f"a file or a folder cannot be used: {reason}",
        "The command has ended; what it had written before this line is there.",
        REMEDIES.get(error.errno or 0, LOOK),
    )


def _is_of_network(error: OSError) -> bool:
    names = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(names & {"socket.gaierror", "socket.herror", "urllib.error.URLError", "ssl.SSLError"}) or (
        error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRINUSE, errno.EADDRNOTAVAIL)
    )


def _library_of(error: BaseException) -> str | None:
    if isinstance(error, RecursionError):
        return _deep_reader_of(error)
    for kind in type(error).__mro__:
        found = OF_LIBRARIES.get(f"{kind.__module__}.{kind.__name__}")
        if found:
            return found
    return None


def _deep_reader_of(error: RecursionError) -> str | None:
    """The reader in which the recursion was too deep: content that is nested thousands of times."""
    frame = error.__traceback__
    found = None
    while frame is not None:
        package = str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        found = DEEP_READERS.get(package, found)
        frame = frame.tb_next
    return found


def _said(error: BaseException) -> str:
    """The error's own words on one line, or its name without any."""
    return " ".join(str(error).split()) or type(error).__name__
