"""The files of rosbags, read and written by the library rosbags, at any path; what is no whole file is explained."""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Generator
from functools import partial
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import apsw
import lz4.frame
from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin, Writer
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import DECOMPRESSORS, McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader, Sqlite3Writer

from mtl_split_core.errors import InputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

SUFFIXES = (".mcap", ".db3")
METADATA = "metadata.yaml"

MOST_BYTES = 1 << 29
"""Bytes of a message, and of the chunks of an MCAP file that have to be in memory at the same time."""

MOST_OF_FREE = 0.5
"""The part of the free space for temporary files that compressed files may take when they are decompressed there."""

_BLOCK = 1 << 20
_ROS_1 = b"#ROSBAG"
_MCAP = b"\x89MCAP0\r\n"
_SQLITE = b"SQLite format 3\x00"


def storage_files(folder: Path) -> list[Path]:
    """Return a folder's files with messages, by name; none for what is no folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)


def is_bag(path: Path) -> bool:
    """Whether a path is a bag, complete or not: a folder with metadata, or one of its files alone."""
    return (path / METADATA).exists() or path.suffix in SUFFIXES or is_ros_1(path)


def is_ros_1(path: Path) -> bool:
    """Whether a path is a file with a bag of ROS 1."""
    return os.path.isfile(path) and _begins_with(path, _ROS_1)


def _decompress(opened: Callable[[BytesIO], Any], data: bytes, size: int) -> bytes:
    """Decompress, but at most one byte more than the `size` that is expected: whoever asked then refuses it."""
    if size > MOST_BYTES:
        raise InputError(_too_large(size))
    with opened(BytesIO(data)) as file:
        data = file.read(size + 1)
    return data


# rosbags' own decompress without a limit.
DECOMPRESSORS.update({"zstd": partial(_decompress, zstd.open), "lz4": partial(_decompress, lz4.frame.open)})


class _McapReader(McapReader):
    """A file that ends as MCAP has to. Raises InputError for another one."""

    def __init__(self, path: Path) -> None:
        _check(path, _MCAP, "MCAP")
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - len(_MCAP)))
            if file.read() != _MCAP:
                raise InputError(
                    f"{path} is no complete bag: it does not end as MCAP does, as after its recorder was killed; "
                    f"`mcap recover {shlex.quote(str(path))} -o WHOLE.mcap` saves what is in it"
                )
        super().__init__(path)

    def open(self) -> None:
        """Open the file. Raises InputError where it could take too much memory, too."""
        super().open()
        # rosbags reads all chunks that have messages of the same time before it goes on.
        sizes = [
            (time, size)
            for one in self.chunks
            for time, size in (
                ((one.message_start_time, 0), one.uncompressed_size),
                ((max(one.message_start_time, one.message_end_time), 1), -one.uncompressed_size),
            )
        ]
        most = max(accumulate(size for _, size in sorted(sizes)), default=0)
        if most > MOST_BYTES:
            self.close()
            raise InputError(_too_large(most))


class _Sqlite3Reader(Sqlite3Reader):
    """A file into which everything was written. Raises InputError for another one."""

    def __init__(self, path: Path) -> None:
        _check(path, _SQLITE, "SQLite 3")
        for rest in (path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-journal")):
            # An old one that is done with begins with a zero.
            if os.path.isfile(rest) and not _begins_with(rest, b"\0") and rest.stat().st_size:
                raise InputError(
                    f"{path} is no complete bag: {rest.name} has changes that are not in it yet, as after its recorder "
                    f"was killed; `sqlite3 {shlex.quote(str(path))} 'PRAGMA integrity_check'` completes it"
                )
        super().__init__(_within_uri(path))

    def open(self) -> None:
        """Open the file; values that are calculated in it are limited, too."""
        super().open()
        assert self.dbconn is not None
        self.dbconn.limit(apsw.SQLITE_LIMIT_LENGTH, MOST_BYTES)


class _FolderReader(DirectoryReader):
    STORAGE_PLUGINS = MappingProxyType({"mcap": _McapReader, "sqlite3": _Sqlite3Reader})

    def __init__(self, path: Path) -> None:
        if not os.path.isfile(path / METADATA):
            files = storage_files(path)
            cure = f", as after its recorder was killed; give {_either(files)} alone" if files else ""
            raise InputError(f"{path} is no complete bag: it has no {METADATA}{cure}")
        # To open a named pipe is to wait for its other end.
        if odd := [one.name for one in path.iterdir() if one.exists() and not (one.is_file() or one.is_dir())]:
            raise InputError(f"{path} is no complete bag: {odd[0]} is no file")
        super().__init__(path)
        self._folder = path
        self._messages_compressed = False

    def open(self) -> None:
        """Open the files. Raises InputError where decompressed they take too much room."""
        self._check_room()
        super().open()
        # rosbags' own way to decompress messages has no limit.
        self._messages_compressed = self.metadata.compression_mode == "message"
        if self._messages_compressed:
            self.metadata = self.metadata._replace(compression_mode=None)

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Read messages, decompressed."""
        for connection, recorded, data in super().messages(connections, start, stop):
            if self._messages_compressed:
                data = _decompress(zstd.open, data, MOST_BYTES)
                if len(data) > MOST_BYTES:
                    raise InputError(f"a message on {connection.topic!r} has more than {MOST_BYTES} bytes")
            yield connection, recorded, data

    def _check_room(self) -> None:
        """Raise InputError where compressed files, which rosbags decompresses into temporary ones, take too much."""
        room = shutil.disk_usage(tempfile.gettempdir()).free * MOST_OF_FREE
        for path in self._folder.glob("*.zstd"):
            with zstd.open(path) as file:
                while block := file.read(_BLOCK):
                    room -= len(block)
                    if room < 0:
                        raise InputError(
                            f"{path} takes more than half of what is free in {tempfile.gettempdir()} when it is"
                            " decompressed: name a folder with more room in TMPDIR"
                        )


class BagReader(Reader):
    """A bag of ROS 2, a folder or a file alone. Raises InputError, or whatever rosbags raises for a damaged one."""

    STORAGE_PLUGINS = MappingProxyType({"dir": _FolderReader, ".mcap": _McapReader, ".db3": _Sqlite3Reader})

    def __init__(self, path: Path) -> None:
        if not os.path.exists(path):
            raise InputError(f"there is no bag {path}")
        if is_ros_1(path):
            raise InputError(
                f"{path} is a bag of ROS 1, expected one of ROS 2: "
                f"`rosbags-convert --src {shlex.quote(str(path))} --dst FOLDER` converts it"
            )
        super().__init__(path)


class _Sqlite3Writer(Sqlite3Writer):
    def __init__(self, path: Path, compression: CompressionMode) -> None:
        super().__init__(_within_uri(path), compression)
        self.path = path / f"{path.name}.db3"


class BagWriter(Writer):
    """A new bag of ROS 2. Raises InputError for a path that cannot be in its metadata."""

    STORAGE_PLUGINS = MappingProxyType({**Writer.STORAGE_PLUGINS, StoragePlugin.SQLITE3: _Sqlite3Writer})

    def __init__(self, path: Path, storage: str) -> None:
        """Take the folder to make and one of STORAGES."""
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"cannot write the bag {str(path)!r}: its name is not UTF-8") from error
        super().__init__(path, version=9, storage_plugin=STORAGES[storage])


def _too_large(size: int) -> str:
    return (
        f"chunks of {size} bytes have to be in memory at the same time, expected at most {MOST_BYTES}: "
        "`mcap sort IN -o OUT` writes small ones"
    )


def without_metadata(path: Path) -> str:
    """Say how a folder may be read whose metadata are damaged; empty for what is no folder with messages."""
    files = storage_files(path)
    return f"; if only its {METADATA} is wrong, give {_either(files)} alone" if files else ""


def _within_uri(path: Path) -> Path:
    """Return a path that rosbags can put into the URI from which SQLite takes it; the first of two slashes too."""
    return Path("%2F" + quote(os.fsencode(path.absolute())[1:]))


def _check(path: Path, magic: bytes, what: str) -> None:
    if not os.path.isfile(path):
        raise InputError(f"{path} is no complete bag: it is no file")
    if not path.stat().st_size:
        raise InputError(f"{path} is no complete bag: it is empty, as after its recorder was killed")
    if not _begins_with(path, magic):
        raise InputError(f"{path} is no complete bag: it does not begin as {what} does")


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _either(files: list[Path]) -> str:
    return " or ".join(str(file) for file in files[:3])
