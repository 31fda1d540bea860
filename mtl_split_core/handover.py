"""Whether a vehicle's frames come through its roadside unit, or the server has to take them itself."""

from collections import OrderedDict

PATIENCE = 0.5
"""Seconds within which a roadside unit has to pass a bottleneck on; what takes longer had better come straight."""

Place = tuple[int, int]
"""Session and sequence of a bottleneck."""


class Handover:
    """One vehicle's bottlenecks, as they come to both, and what its roadside unit makes of them.

    Times are of one monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        """Begin with a unit that does its work."""
        self._waiting: OrderedDict[Place, float] = OrderedDict()
        self._is_out = False

    def leave(self, place: Place, now: float) -> bool:
        """Note a bottleneck that came straight from the vehicle, and return whether it is the unit's."""
        self._look(now)
        self._waiting.setdefault(place, now)
        return not self._is_out

    def passed_on(self, place: Place, now: float) -> None:
        """Note what came from the unit of a bottleneck: in time, the unit has its vehicle back."""
        self._look(now)
        if place not in self._waiting:
            return
        self._is_out = False
        while self._waiting.popitem(last=False)[0] != place:
            pass

    def _look(self, now: float) -> None:
        while self._waiting and next(iter(self._waiting.values())) < now - PATIENCE:
            self._waiting.popitem(last=False)
            self._is_out = True
