"""The vehicles that are simulated: what each can do, how long it takes, and what it drives through."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mtl_split_core.bundle import EXIT, SUFFIX, Bundle
from mtl_split_core.control.controller import is_measured, menu_of
from mtl_split_core.control.policy import Menu, Own
from mtl_split_core.errors import InputError
from mtl_split_core.halves import EdgeHalf
from mtl_split_core.profile import POST, Profile
from mtl_split_core.scene import Image, Truth
from mtl_split_lab.adaptation.simulator import Drive, Times
from mtl_split_lab.adaptation.traces import Trace
from mtl_split_lab.scoring.measurement import MOST_BYTES

ANSWER_BY = 0.1
"""Seconds from a camera image's stamp by which it is to be answered."""

RATE = 10.0
"""Frames per second, so that a frame's deadline has passed when the next one is decided on."""

PROCESSOR_SHARE = 0.5
"""The edge's parameter processor_share, as it is by default: what never changes in training must not do so later."""

LEARNED, IMITATION = "learned", "imitation"
"""Ways to learn: by soft actor-critic, and by imitating one who knows the link."""

SEEN = "sim:290000:25:4"
"""Simulated drives whose payloads' bytes are learned with."""

LOSSES = (0.0, 0.0, 0.02, 0.1)
"""Of the links that policies are trained on, each as often as the others."""

EPISODE = 600
"""Frames of a drive that policies are trained on."""


@dataclass(frozen=True)
class Car:
    """A vehicle; words: what it is, for the page; points: the operating points' names."""

    name: str
    words: str
    points: tuple[str, ...]
    menu: Menu
    times: Times


@dataclass(frozen=True)
class Prices:
    """The value that a second of the vehicle's processor, and a megabyte on the link, have to bring."""

    second: float = 5.0
    megabyte: float = 6.0


def make_car(
    bundle: Bundle, profile: Profile, own: Sequence[Own], slower: float, prices: Prices, name: str, words: str
) -> Car:
    """Return a vehicle with these own networks, which computes so many times slower than the machine of the profile.

    Raises InputError where bundle or profile do not tell what policies weigh.
    """
    if not is_measured(bundle, own):
        raise InputError(
            f"{bundle.folder} does not tell how good the answers of {[each.value for each in own]} on the edge are, or"
            " how many bytes its operating points take: export it again"
        )
    if Own.EXIT in own and EXIT not in profile.parts:
        raise InputError(f"the profile of {profile.bundle} has no {EXIT}: run `mtl-split profile` again")
    point = bundle.payload_format.operating_points[bundle.default_point].name
    milliseconds = {
        Own.EXIT: profile.parts[EXIT].median if EXIT in profile.parts else 0.0,
        Own.WHOLE: profile.parts[SUFFIX].median + profile.parts[POST].median,
    }
    limits = {"processor_share": PROCESSOR_SHARE, "most_bytes": MOST_BYTES}
    menu = menu_of(bundle, own, ANSWER_BY, second_price=prices.second, byte_price=prices.megabyte * 1e-6, **limits)
    times = Times(
        prefix=profile.edge(point) * slower * 1e-3,
        own={each: milliseconds[each] * slower * 1e-3 for each in own},
        service=profile.server(point) * 1e-3,
    )
    points = tuple(point.name for point in bundle.payload_format.operating_points)
    return Car(name, words, points, menu, times)


def both_cars(bundle: Bundle, profile: Profile, prices: Prices) -> list[Car]:
    """Return the two that are studied: a slow one with the bundle's exit alone, and one that runs the whole network.

    The first only where the bundle has an exit.
    """
    slower = 4.0
    slow = f"computes {slower:g} times slower, and answers by the bundle's exit"
    fast = "answers by the whole network"
    cars = [make_car(bundle, profile, [Own.WHOLE], 1.0, prices, "whole", fast)]
    if EXIT in bundle.files:
        cars.insert(0, make_car(bundle, profile, [Own.EXIT], slower, prices, "exit", slow))
    return cars


def payload_sizes(bundle: Bundle, frames: Iterable[tuple[Image, Truth]]) -> list[tuple[int, ...]]:
    """Return the bytes of the payloads of frames at each operating point."""
    edge = EdgeHalf(bundle)
    points = range(len(bundle.payload_format.operating_points))
    latents = (edge.latents(image) for image, _ in frames)
    return [tuple(len(edge.pack(each, point).payload) for point in points) for each in latents]


@dataclass(frozen=True)
class TrainingDrives:
    """Draws drives to learn on: anywhere in any of the traces, each alike, over links of any of LOSSES."""

    traces: Mapping[str, Trace]
    sizes: Sequence[tuple[int, ...]]

    def __call__(self, chance: np.random.Generator) -> Drive:
        """Return the next one."""
        trace = self.traces[str(chance.choice(sorted(self.traces)))]
        first = int(chance.integers(len(self.sizes)))
        return Drive(
            cycle_from(self.sizes, first, EPISODE),
            RATE,
            trace,
            begin=float(chance.uniform(0, trace.duration)),
            loss=float(chance.choice(LOSSES)),
            seed=int(chance.integers(1 << 30)),
        )


def cycle_from(sizes: Sequence[tuple[int, ...]], first: int, count: int) -> list[tuple[int, ...]]:
    """Return so many of the sizes, again and again in their order, from one of them on."""
    return [sizes[(first + number) % len(sizes)] for number in range(count)]


def whole_drive(sizes: Sequence[tuple[int, ...]], trace: Trace, begin: float = 0.0, loss: float = 0.0) -> Drive:
    """Return the drive that passes through all of a trace once."""
    return Drive(cycle_from(sizes, 0, int(trace.duration * RATE)), RATE, trace, begin=begin, loss=loss)
