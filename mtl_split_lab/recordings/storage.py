"""The files of rosbags, read and written by the library rosbags, at any path; what is no whole file is explained."""

import os
import shlex
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from rosbags.rosbag2 import CompressionMode, Reader, StoragePlugin, Writer
from rosbags.rosbag2.reader import DirectoryReader
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader, Sqlite3Writer

from mtl_split_core.errors import InputError

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}

SUFFIXES = (".mcap", ".db3")
METADATA = "metadata.yaml"

_ROS_1 = b"#ROSBAG"
_MCAP = b"\x89MCAP0\r\n"
_SQLITE = b"SQLite format 3\x00"


def storage_files(folder: Path) -> list[Path]:
    """Return a folder's files with messages, by name; none for what is no folder."""
    if not os.path.isdir(folder):
        return []
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)


def is_ros_1(path: Path) -> bool:
    """Whether a path is a file with a bag of ROS 1."""
    return os.path.isfile(path) and _begins_with(path, _ROS_1)


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
