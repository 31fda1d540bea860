"""YAML that others wrote, read with limits; and what is wrong in such data, said in one line."""

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mtl_split_core.errors import InputError, brief, in_one_line
from mtl_split_core.text_file import read_text

MOST_BYTES = 1 << 18
"""Files of more bytes are refused: YAML is slow to read."""
MOST_VALUES = 10_000


def read_yaml(path: Path) -> Any:
    """Read a YAML file without tags. Raises InputError for one that is missing, too large, or no YAML."""
    written = read_text(path, MOST_BYTES)
    try:
        return yaml.load(written, _Loader)
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:  # a date or a number that is none
        raise InputError(f"{path} is no YAML: {in_one_line(error)}") from error


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


class _Loader(yaml.SafeLoader):
    """YAML without tags and doubled keys, and with aliases only as long as all that they stand for stays small."""

    def __init__(self, written: str) -> None:
        super().__init__(written)
        self._values: dict[yaml.Node, int] = {}  # in each finished node, aliases written out

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _refusal(event, f"expected a value without the tag {event.tag}")
        node: Any = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
            self._values[node] = 1 if isinstance(parts, str) else 1 + sum(self._values[part] for part in parts)
        if self._values.get(node, MOST_VALUES) >= MOST_VALUES:
            raise _refusal(event, f"expected less than {MOST_VALUES} values, with what the aliases stand for")
        return node

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        mapping = super().compose_mapping_node(anchor)
        keys = Counter(key.value for key, _ in mapping.value if isinstance(key, yaml.ScalarNode))
        if keys and keys.most_common(1)[0][1] > 1:
            raise _refusal(mapping, f"the key {brief(keys.most_common(1)[0][0])} is there twice")
        return mapping


def _refusal(place: Any, complaint: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=complaint, problem_mark=place.start_mark)
