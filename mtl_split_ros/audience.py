"""Whether those who are to see a stream's first frame are there."""

from __future__ import annotations  # rclpy's classes are generic from Kilted on

import math
import time
from collections.abc import Sequence
from typing import Any

from rclpy.publisher import Publisher

DISCOVERY = 1.0
"""Seconds within which a subscriber that is known here comes to know this node."""


class Audience:
    """The subscribers of a stream's topics, counted together."""

    def __init__(self, publishers: Sequence[Publisher[Any]], wanted: int) -> None:
        """Wait for so many subscribers; 0: for nobody."""
        self._publishers = publishers
        self._wanted = wanted
        self._since = math.inf

    def is_there(self) -> bool:
        """Whether as many as are wanted are there, and know this node too; to be asked again and again."""
        if sum(publisher.get_subscription_count() for publisher in self._publishers) < self._wanted:
            self._since = math.inf
        else:
            self._since = min(self._since, time.monotonic())
        return not self._wanted or time.monotonic() - self._since > DISCOVERY
