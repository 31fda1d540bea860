"""Text files that others wrote, read with a limit."""

from pathlib import Path

from mtl_split_core.errors import InputError


def read_text(path: Path, most_bytes: int) -> str:
    """Read a text file in UTF-8.

    Raises InputError for one that is missing, cannot be read, is larger than `most_bytes`, or not in UTF-8.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path} is no file")
        if (size := path.stat().st_size) > most_bytes:
            raise InputError(f"{path} has {size} bytes, expected at most {most_bytes}")
        return path.read_bytes().decode()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text in UTF-8: {error}") from error
