"""Further forms of results, before anything is known of the kind of task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from std_msgs.msg import Header


@dataclass(frozen=True)
class Form:
    """A message that has a result in another form.

    message: its type; write: makes it of a result and its image's header.
    """

    message: type[Any]
    write: Callable[[Any, Header], Any]
