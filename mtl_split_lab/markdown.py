"""Tables for the pages in docs/results."""

from collections.abc import Sequence


def table(head: str, rows: Sequence[Sequence[str]]) -> str:
    """Render a Markdown table; `head` is the columns' names, separated by |."""
    names = head.split("|")
    lines = [" | ".join(cells) for cells in (names, ["---"] * len(names), *rows)]
    return "\n".join(f"| {line} |" for line in lines)
