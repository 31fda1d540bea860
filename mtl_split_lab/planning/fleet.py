"""A fleet, read from one YAML file: vehicles, machines, the links between them, and the profiles of what runs there."""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Len
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mtl_split_core.bundle import Bundle, load_bundle
from mtl_split_core.contract import text
from mtl_split_core.errors import InputError
from mtl_split_core.profile import Profile, load_profile
from mtl_split_core.share import bundle_folder
from mtl_split_lab.portion import NO_OTHER_KEYS
from mtl_split_lab.untrusted import name_faults, read_yaml

Way = Literal["server", "middle", "whole", "exit"]
WAYS: tuple[Way, Way, Way, Way] = ("server", "middle", "whole", "exit")
"""Ways to answer a frame: the suffix on a server; divided, with its middle on a roadside unit; the whole network on the
vehicle; the bundle's exit there.
"""
AT_SERVER, THROUGH, WHOLE, EXIT = WAYS

_MOST_NAMED = 5
_Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]
_Text = Annotated[str, AfterValidator(text)]
_Few = Annotated[int, Field(ge=1, le=1000, strict=True)]


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Machine:
    """A server, a roadside unit, or a kind of vehicle's computer, of which every vehicle has its own.

    profiles: files of `mtl-split profile`, one for each bundle that may run there, beside the fleet's file; cores;
    memory: megabytes; speed: how many times as fast as where the profiles were measured.
    """

    profiles: Annotated[tuple[_Text, ...], Len(1, 100)]
    cores: _Few = 1
    memory: PositiveFloat = 4000.0
    speed: PositiveFloat = 1.0


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Link:
    """A link between two machines, alike both ways.

    rate: Mbit/s; delay: milliseconds one way; shared: whether all vehicles of a kind share it, as a radio cell, or each
    has its own.
    """

    between: tuple[_Name, _Name]
    rate: PositiveFloat
    delay: NonNegativeFloat = 0.0
    shared: bool = False


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Vehicles:
    """Some vehicles that are alike.

    count: how many; computer: the machine that each has; rate: frames per second; deadline: seconds from the image to
    its results; bundles: those that may be used, shipped ones by name; operating_points: those that may be used (none:
    all, where the bundle knows what each is worth, else its default); ways: those of WAYS that may be used.
    """

    computer: _Name
    count: _Few = 1
    rate: Annotated[float, Field(gt=0, le=1000)] = 10.0
    deadline: Annotated[float, Field(gt=0, le=60)] = 0.1
    bundles: Annotated[tuple[_Text, ...], Len(1, 20)] = ("street",)
    operating_points: tuple[_Text, ...] = ()
    ways: Annotated[tuple[Way, ...], Len(1, 4)] = WAYS


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Nodes:
    """What the nodes add to the halves, see docs/results/nodes.md.

    edge: milliseconds per frame, the camera's image on its way to the edge included; middle, server: milliseconds per
    frame; memory: megabytes of each node without its network; message_bytes: of a bottleneck beside its payload,
    headers of the network included; result_bytes: of a frame's results.
    """

    edge: NonNegativeFloat = 3.5
    middle: NonNegativeFloat = 3.0
    server: NonNegativeFloat = 2.0
    memory: NonNegativeFloat = 130.0
    message_bytes: NonNegativeFloat = 300.0
    result_bytes: NonNegativeFloat = 4000.0


@dataclass(frozen=True, config=NO_OTHER_KEYS)
class Fleet:
    """All that is to be planned.

    vehicles, machines: by name; links: between machines; busiest: the part of a machine's cores and of a shared link
    that may be in use, so that nothing waits for long; point_worth: milliseconds that a percentage point of accuracy is
    worth; nodes: what these add.
    """

    vehicles: Annotated[dict[_Name, Vehicles], Len(1, 100)]
    machines: Annotated[dict[_Name, Machine], Len(1, 100)]
    links: Annotated[tuple[Link, ...], Len(0, 1000)] = ()
    busiest: Annotated[float, Field(gt=0, le=0.95)] = 0.8
    point_worth: NonNegativeFloat = 2.0
    nodes: Nodes = field(default_factory=Nodes)

    def __post_init__(self) -> None:
        for name, vehicles in self.vehicles.items():
            if vehicles.computer not in self.machines:
                raise ValueError(f"vehicles.{name}.computer is {vehicles.computer!r}, expected one of {self._names()}")
        for number, link in enumerate(self.links):
            for end in link.between:
                if end not in self.machines:
                    raise ValueError(f"links.{number}.between has {end!r}, expected one of {self._names()}")
            if link.between[0] == link.between[1]:
                raise ValueError(f"links.{number}.between has {link.between[0]!r} twice, expected two machines")
            if set(link.between) <= self.computers:
                raise ValueError(f"links.{number}.between joins two vehicles' computers, expected a server at one end")

        pairs = [frozenset(link.between) for link in self.links]
        if doubled := next((pair for pair in pairs if pairs.count(pair) > 1), None):
            raise ValueError(f"links joins {' and '.join(sorted(doubled))} twice, expected each pair once")

    @property
    def computers(self) -> set[str]:
        """The machines that vehicles carry."""
        return {vehicles.computer for vehicles in self.vehicles.values()}

    @property
    def servers(self) -> list[str]:
        """The machines that all share."""
        return [name for name in self.machines if name not in self.computers]

    def _names(self) -> str:
        return ", ".join(self.machines)


@dataclass(frozen=True, config={"arbitrary_types_allowed": True})
class Loaded:
    """A fleet with what its file names.

    bundles: by name; profiles: by machine and bundle's name.
    """

    fleet: Fleet
    bundles: dict[str, Bundle]
    profiles: dict[str, dict[str, Profile]]


def load_fleet(path: Path) -> Loaded:
    """Read a fleet, its bundles and its profiles. Raises InputError for what is missing or cannot be."""
    if not path.is_file():
        raise InputError(f"no fleet at {path}")
    content = read_yaml(path)
    try:
        fleet: Fleet = TypeAdapter(Fleet).validate_python(content)
    except ValidationError as error:
        raise InputError(f"{path}: {name_faults(error, _MOST_NAMED)}") from error
    names = {name for vehicles in fleet.vehicles.values() for name in vehicles.bundles}
    bundles = {name: load_bundle(bundle_folder(name)) for name in sorted(names)}
    profiles = {name: _load_profiles(machine, path.parent, bundles) for name, machine in fleet.machines.items()}
    for name, vehicles in fleet.vehicles.items():
        _check_vehicles(f"{path}: vehicles.{name}", vehicles, bundles, profiles[vehicles.computer])
    return Loaded(fleet, bundles, profiles)


def _load_profiles(machine: Machine, folder: Path, bundles: dict[str, Bundle]) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    for file in machine.profiles:
        profile = load_profile(folder / file)
        for name, bundle in bundles.items():
            if profile.bundle == bundle.name:
                profile.check_fits(bundle.contract.fingerprint, folder / file)
                found[name] = profile
    return found


def _check_vehicles(where: str, vehicles: Vehicles, bundles: dict[str, Bundle], profiles: dict[str, Profile]) -> None:
    for name in vehicles.bundles:
        if name not in profiles:
            raise InputError(
                f"{where}: the machine {vehicles.computer} has no profile of the bundle {name}: "
                f"run `mtl-split profile --bundle {name}` there, and add its file to profiles"
            )
        known = [point.name for point in bundles[name].payload_format.operating_points]
        for point in vehicles.operating_points:
            if point not in known:
                raise InputError(
                    f"{where}: operating_points has {point!r}, expected points of {name}: {', '.join(known)}"
                )
