"""Files that others wrote: read with a limit, and what is wrong in them said in one line."""

from pathlib import Path

from pydantic import ValidationError

from mtl_split_core.errors import InputError, brief, in_one_line


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


def name_faults(error: ValidationError, most: int = 1) -> str:
    """Say where the first faults of some data are, what is there and what was expected."""
    named = []
    for fault in error.errors(include_url=False)[:most]:
        place = ".".join(map(str, fault["loc"]))[:100]
        # What this package refuses itself says what was there.
        own = fault.get("ctx", {}).get("error")
        said = str(own) if own is not None else f"{fault['msg']}, got {brief(fault['input'])}"
        named.append(f"{place}: {said}" if place else said)
    return in_one_line("; ".join(named))
