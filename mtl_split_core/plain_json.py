"""JSON from an untrusted source: what it leaves open, or what would overrun whoever reads it later, is refused here."""

import json
from collections import Counter
from typing import Any, NoReturn

from mtl_split_core.errors import brief

MOST_LEVELS = 32
"""Lists and objects within each other beyond this number are refused: Python writes them out by recursion."""


def parse_json(data: str | bytes) -> Any:
    """Parse JSON.

    Raises ValueError, in one line, for anything else, for NaN and infinity, for a key that an object has twice, and for
    more than MOST_LEVELS levels.
    """
    try:
        value = json.loads(data, object_pairs_hook=_make_object, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        level = [inner for part in level for inner in _parts(part)]
    if level:
        raise ValueError(f"is nested too deeply, expected at most {MOST_LEVELS} levels")
    return value


def _parts(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        [(doubled, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"an object has the key {brief(doubled)} twice")
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
