"""Plain data as nobody meant to write it, for properties of whatever reads files of others; and a bound on memory."""

import os
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

MOST_GROWTH = 1 << 29
"""Bytes that may be allocated while a damaged file is read."""


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything in some plain data."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def find(content: Any, path: tuple[Any, ...]) -> Any:
    """What is at one of the places."""
    for key in path:
        content = content[key]
    return content


def put(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Plain data with another value at one of its places."""
    if not path:
        return value
    changed = content.copy()
    changed[path[0]] = put(content[path[0]], path[1:], value)
    return changed


def nested(levels: int) -> list[Any]:
    """Lists within each other."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


HUGE = ["x" * 100_000, [0] * 10_000, [["x" * 10_000], *[["y"]] * 1000], nested(100), 10**400, 2**63, 1e308]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "a\0", "../a.png", "/a.png", *HUGE]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["box2d", "id"]), inner),
    max_leaves=5,
)


@st.composite
def damaged(draw: st.DrawFn, contents: Sequence[Any], write: Callable[[Any], str]) -> bytes:
    """A file of one of some contents: with other values, some of it elsewhere once more, a part missing or twice."""
    content = draw(st.sampled_from(contents))
    for _ in range(draw(st.integers(0, 3))):
        elsewhere = find(content, draw(st.sampled_from(places(content))))
        content = put(content, draw(st.sampled_from(places(content))), draw(ANYTHING | st.just(elsewhere)))
    text = write(content).encode(errors="surrogatepass")
    start, end = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
    match draw(st.sampled_from(["whole", "cut", "twice", "overwritten"])):
        case "cut":
            return text[:start] + text[end:]
        case "twice":
            return text[:end] + text[start:]
        case "overwritten":
            return text[:start] + draw(st.binary(max_size=8)) + text[start:]
    return text


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let nothing in here take more than MOST_GROWTH bytes: it would end in MemoryError."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MOST_GROWTH, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
