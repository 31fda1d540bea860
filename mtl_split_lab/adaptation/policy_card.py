"""A policy of one's own: learned from traces, tested on carriers that were held out, and told of on a card."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtl_split_core.bundle import EXIT, Bundle
from mtl_split_core.control.policy import FIXED, PREDICTIVE, Own, actions
from mtl_split_core.errors import InputError
from mtl_split_core.profile import Profile
from mtl_split_lab.adaptation.cars import (
    EPISODE,
    LEARNED,
    LOSSES,
    RATE,
    SEEN,
    Car,
    Prices,
    TrainingDrives,
    make_car,
    payload_sizes,
    whole_drive,
)
from mtl_split_lab.adaptation.policy_training import PRICES, Settings, learn_policy
from mtl_split_lab.adaptation.simulator import Outcome
from mtl_split_lab.adaptation.study import CLAIRVOYANT, Row, run
from mtl_split_lab.adaptation.traces import Trace, carrier, read_traces
from mtl_split_lab.data.drives import find_drives


@dataclass(frozen=True)
class Wanted:
    """What is to be learned.

    method: LEARNED or IMITATION; own: the edge's own networks; slower: how many times slower the vehicle is than
    the machine of the profile; hold_out: carriers that are only tested on.
    """

    method: str
    own: tuple[Own, ...]
    slower: float
    prices: Prices
    hold_out: tuple[str, ...]
    seed: int
    steps: int


def train_policy(bundle: Bundle, profile: Profile, folder: Path, wanted: Wanted, out: Path) -> Path:
    """Learn a policy from the traces of a folder, write it, and return the path of the card beside it.

    Raises InputError where there is nothing to learn from, and what make_car raises.
    """
    profile.check_fits(bundle.contract.fingerprint, out)
    if EXIT in bundle.files and Own.EXIT not in wanted.own:
        raise InputError(f"own is whole, expected exit and whole: an edge always loads the exit of {bundle.folder}")
    traces = read_traces(folder)
    carriers = set(map(carrier, traces))
    if strange := set(wanted.hold_out) - carriers:
        raise InputError(f"hold-out names {sorted(strange)}, expected carriers of {folder}: {sorted(carriers)}")
    seen = {name: trace for name, trace in traces.items() if carrier(name) not in wanted.hold_out}
    if not seen:
        raise InputError(f"all carriers of {folder} are held out: leave one to learn from")
    car = make_car(bundle, profile, wanted.own, wanted.slower, wanted.prices, "", "")
    sizes = payload_sizes(bundle, [frame for drive in find_drives(SEEN, Path()) for frame in drive.frames()])
    out.parent.mkdir(parents=True, exist_ok=True)
    learn_policy(wanted.method, car, TrainingDrives(seen, sizes), wanted.seed, wanted.steps, out)
    card = out.with_suffix(".json")
    tested = {name: trace for name, trace in traces.items() if name not in seen}
    card.write_text(json.dumps(_card(bundle, profile, car, wanted, out, folder, seen, tested, sizes), indent=1) + "\n")
    return card


def worth(car: Car, outcomes: Sequence[Outcome]) -> float:
    """Return what a frame of a drive brought in the mean: by the menu's values, less its prices."""
    menu, value = car.menu, 0.0
    for outcome in outcomes:
        source = outcome.in_time(menu.answer_by)
        if source is not None:
            value += menu.own[source] if isinstance(source, Own) else menu.points[source].value
        value -= outcome.own_seconds * menu.second_price + outcome.bytes * menu.byte_price
    return value / len(outcomes)


def _card(
    bundle: Bundle,
    profile: Profile,
    car: Car,
    wanted: Wanted,
    out: Path,
    folder: Path,
    seen: Mapping[str, Trace],
    tested: Mapping[str, Trace],
    sizes: Sequence[tuple[int, ...]],
) -> dict[str, Any]:
    rows = [
        Row("this policy", LEARNED, path=out),
        Row(PREDICTIVE, PREDICTIVE),
        *(Row(f"{FIXED} at {car.points[i]}", FIXED, i) for i in range(car.menu.finest + 1)),
        Row(CLAIRVOYANT, CLAIRVOYANT),
    ]

    def scores(traces: Mapping[str, Trace]) -> dict[str, dict[str, float]]:
        return {
            name: {row.name: round(worth(car, run(car, row, whole_drive(sizes, trace))), 4) for row in rows}
            for name, trace in traces.items()
        }

    def hashes(traces: Mapping[str, Trace]) -> dict[str, str]:
        return {name: hashlib.sha256((folder / f"{name}.csv").read_bytes()).hexdigest() for name in traces}

    choices = [asdict(action) for action in actions(car.menu)]
    for choice in choices:
        choice["own"] = choice["own"] and choice["own"].value
    return {
        "policy": {"file": out.name, "sha256": hashlib.sha256(out.read_bytes()).hexdigest()},
        "method": wanted.method,
        "bundle": {"name": bundle.name, "fingerprint": bundle.fingerprint},
        "profile": dict(profile.machine),
        "own": [own.value for own in wanted.own],
        "slower": wanted.slower,
        "answer_by": car.menu.answer_by,
        "prices": asdict(wanted.prices),
        "training": {
            "seed": wanted.seed, "settings": asdict(Settings.of(wanted.steps)), "frames per second": RATE,
            "frames of a drive": EPISODE, "losses": LOSSES, "prices times": PRICES,
        },
        "trained on": hashes(seen),
        "held out": hashes(tested),
        "worth of a frame on what it was trained on": scores(seen),
        "worth of a frame on what was held out": scores(tested),
        "observation": "mtl_split_core.control.policy.observation",
        "actions": choices,
    }  # fmt: skip
