"""The files in a zip or a tar archive: which there are, and each as a stream of bytes.

A file in an archive is named as if the archive were a folder. A tar archive may be packed by gzip, bzip2,
xz or zstd; what stands before a file in it is then decompressed to reach it.

Tested by tests/cases/test_packing.py.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import IO, Literal, cast

from model.errors import NextclickError

# The mark of every tar archive since POSIX, and where it stands.
USTAR, USTAR_AT = b"ustar", 257
ZIP = b"PK\x03\x04"
# What reading a damaged archive raises beside what its codec does.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError)


def begins_as_tar(start: bytes) -> bool:
    """Whether a file that begins so, unpacked, is a tar archive.

    >>> begins_as_tar(bytes(USTAR_AT) + b"ustar  ")
    True
    """
    return start[USTAR_AT : USTAR_AT + len(USTAR)] == USTAR


def zip_members(path: Path) -> list[str]:
    """The names of the files in a zip. Raises zipfile.BadZipFile and OSError."""
    with zipfile.ZipFile(path) as archive:
        return [one.filename for one in _files_in(archive)]


def tar_members(path: Path, file: IO[bytes]) -> list[str]:
    """The names of the files in a tar archive, unpacked as `file`, each another one.

    Of an archive that is cut off those before the cut: reading the last of them says where it is. Raises
    NextclickError when two files have one name.
    """
    names: list[str] = []
    with tarfile.open(fileobj=file, mode=_mode_of(file)) as archive:
        try:
            for one in archive:
                if _is_of_log(one):
                    names.append(one.name)
        except (tarfile.TarError, EOFError):
            if not names:
                raise
    counts = Counter(Path(one).name for one in names)
    for name, count in counts.most_common(1):
        if count > 1:
            raise _not_one(path, name, count)
    if not names:
        raise _not_one(path, None, 0)
    return names


def _mode_of(file: IO[bytes]) -> Literal["r:", "r|"]:
    """How tarfile is to read: a plain file from header to header, passing over what lies between them."""
    is_plain = isinstance(getattr(file, "raw", None), io.FileIO) and file.seekable()
    return "r:" if is_plain else "r|"


def zip_member(path: Path, name: str | None = None) -> IO[bytes]:
    """A file in a zip; without a name the only one. Raises NextclickError when it is not there, or closed."""
    archive = zipfile.ZipFile(path)
    found = [one for one in _files_in(archive) if name is None or Path(one.filename).name == name]
    if len(found) != 1 or found[0].flag_bits & 1:
        archive.close()
        if len(found) != 1:
            raise _not_one(path, name, len(found))
        raise NextclickError(f"{path} is encrypted", "Nothing was read.", "Unpack it and name the files.")
    try:
        return archive.open(found[0])
    except NotImplementedError as error:
        archive.close()
        raise NextclickError(
            f"{path} is packed in a way that is not known here: {error}",
            "Nothing was read.",
            "Unpack it and name the files.",
        ) from None


def tar_member(path: Path, file: IO[bytes], name: str | None = None) -> io.BufferedReader:
    """A file in a tar archive, unpacked as `file`; without a name the first. It is read once, forwards.

    Raises NextclickError when it is not there.
    """
    archive = tarfile.open(fileobj=file, mode=_mode_of(file))  # noqa: SIM115 - the member reads it
    try:
        for one in archive:
            if _is_of_log(one) and (name is None or Path(one.name).name == name):
                return io.BufferedReader(_TarMember(cast("IO[bytes]", archive.extractfile(one)), file))
    except BaseException:
        file.close()
        raise
    file.close()
    raise _not_one(path, name, 0)


class _TarMember(io.RawIOBase):
    """A file in an archive, which closes the archive with it."""

    def __init__(self, member: IO[bytes], archive: IO[bytes]) -> None:
        self._member = member
        self._archive = archive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = cast("io.BufferedReader", self._member).read1(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._archive.close()
        super().close()


def _files_in(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    # macOS adds a shadow of every file.
    found = (one for one in archive.infolist() if not one.is_dir())
    return [one for one in found if not one.filename.startswith("__MACOSX/")]


def _is_of_log(one: tarfile.TarInfo) -> bool:
    """Whether it is a file, and none of those that macOS, Spark and Hadoop write beside the parts."""
    return one.isfile() and Path(one.name).name[0] not in "._"


def _not_one(path: Path, name: str | None, count: int) -> NextclickError:
    named = f" named {name}" if name else ""
    return NextclickError(
        f"{path} holds {count} files{named}",
        "Readable event files, each of a name of its own, are expected in an archive.",
        "Unpack it and name the files.",
    )
