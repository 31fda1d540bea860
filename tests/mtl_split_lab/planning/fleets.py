"""A fleet for tests: a tiny bundle, and profiles with times that are easy to reckon with."""

from pathlib import Path
from typing import Any

import yaml

from mtl_split_core.bundle import Bundle
from mtl_split_core.profile import DivisionCost, Layer, PointCost, Profile, Spread, write_profile

ALIKE = Spread(1.0, 1.0)


def write_fleet(folder: Path, bundle: Bundle, changes: dict[str, Any] | None = None) -> Path:
    """Write a fleet of the bundle: the edge takes 3 ms, the server 11 ms, at speed 1, and the nodes add nothing.

    Each division of the bundle leaves 2 ms of the server's, the first one after 6 ms of a roadside unit, the next after
    8, and so on; an exit takes 1 ms.
    """
    folder.mkdir(parents=True, exist_ok=True)
    profile = Profile(
        bundle=bundle.name,
        fingerprint=bundle.fingerprint,
        contract=bundle.contract.fingerprint,
        engine="onnxruntime, CPUExecutionProvider",
        threads=1,
        machine={"processor": "any", "cores": 2},
        picture=(160, 90),
        calls=1,
        parts={"prepare": ALIKE, "prefix": ALIKE, "suffix": Spread(9.0, 9.0), "post": ALIKE}
        | ({"exit": ALIKE} if "exit" in bundle.files else {}),
        points={
            "coarse": PointCost(ALIKE, ALIKE, Spread(1000.0, 1000.0)),
            "fine": PointCost(ALIKE, ALIKE, Spread(2000.0, 2000.0)),
        },
        memory={"prefix": 10**6, "suffix": 10**7, "middle": 5 * 10**6, "rest": 0},
        divisions={
            division.cut: DivisionCost(Spread(*[6.0 + 2 * number] * 2), Spread(2.0, 2.0), Spread(50e3, 50e3), 100_000)
            for number, division in enumerate(bundle.divisions)
        },
        layers={
            "prefix": (Layer("latents", 1.0),),
            "suffix": (Layer("colour", 4.0), Layer("detection.scores", 5.0)),
        },
    )
    write_profile(profile, folder / "profile.json")
    machine = {"profiles": ["profile.json"], "cores": 2, "memory": 1000}
    fleet: dict[str, Any] = {
        "machines": {"car": machine | {"speed": 0.25}, "near": machine, "far": machine | {"speed": 2}},
        "links": [{"between": ["car", "near"], "rate": 10, "delay": 1}, {"between": ["near", "far"], "rate": 1000}],
        "vehicles": {"car": {"computer": "car", "count": 3, "bundles": [f"{bundle.folder}"]}},
        "nodes": {"edge": 0, "server": 0, "memory": 1, "message_bytes": 0, "result_bytes": 0},
    }
    for key, value in (changes or {}).items():
        *way, last = key.split(".")
        inner = fleet
        for step in way:
            inner = inner.setdefault(step, {})
        inner[last] = value
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(fleet, sort_keys=False))
    return path
