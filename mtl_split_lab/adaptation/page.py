"""The page about adaptation: what every policy is worth over every trace, and what shows that none of them cheats."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from mtl_split_core.bundle import Bundle
from mtl_split_core.control.policy import FIXED, LADDER, PREDICTIVE, Own
from mtl_split_core.profile import Profile
from mtl_split_lab.adaptation.cars import (
    ANSWER_BY,
    IMITATION,
    LEARNED,
    RATE,
    Car,
    Prices,
    TrainingDrives,
    both_cars,
    payload_sizes,
    whole_drive,
)
from mtl_split_lab.adaptation.drawing import DRAWN
from mtl_split_lab.adaptation.plots import plot_drives
from mtl_split_lab.adaptation.scored import Scorer, answer_every_way
from mtl_split_lab.adaptation.study import (
    ALONE,
    CLAIRVOYANT,
    FLEET,
    LOSSY_RATE,
    MEASURED_OUTAGE,
    SERVED,
    SHIFT,
    Lesson,
    Result,
    Row,
    Study,
    delay,
    groups_of,
    learn,
    mean_of,
    rows_of,
    run,
)
from mtl_split_lab.adaptation.traces import Trace, carrier, read_traces
from mtl_split_lab.data.drives import find_drives
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table

PAGE, PLOT, FIGURES = "adaptation.md", "adaptation.png", "adaptation.json"

LABELLED, UNLABELLED = "sim:300000:100:4", "sim:290000:25:4"
"""Simulated drives whose frames are answered and scored, and others whose payloads' bytes are learned with."""

ALLOWED = 0.3
"""Points that a policy may be below the best fixed action on one trace."""

GAIN = 0.3
"""The part of the gap between the best fixed action and the clairvoyant that is wanted of a learned policy."""

NO_WORSE = 0.005
"""Points within which two figures are the same."""

Results = Mapping[tuple[str, str], Result]
"""By the row's name and the trace's."""


@dataclass(frozen=True)
class Chosen:
    """What the study is about: traces by name, how many folds, seeds, and frames of training."""

    traces: Mapping[str, Trace]
    folds: int
    seeds: int
    steps: int


@dataclass(frozen=True)
class Studied:
    """What came out for one car.

    rows: without those that are learned; results: of all; doubled: results with twice the prices, of some; delays:
    frames after which a policy answers by itself in an outage, by row, as it is and with the trace shifted; shuffled:
    the mean of what is left of the learned policies if they observe everything in another place.
    """

    car: Car
    rows: Sequence[Row]
    results: Results
    doubled: Mapping[str, Result]
    delays: Mapping[str, tuple[float | None, float | None]]
    shuffled: Result
    lossy: Sequence[tuple[float, Row, Result]]
    fleet: Sequence[tuple[Row, Result]]

    def mean(self, name: str) -> Result:
        """Return the mean of a row over all traces."""
        return mean_of([result for (row, _), result in self.results.items() if row == name])

    def best_fixed(self, trace: str) -> tuple[str, Result]:
        """Return the fixed action that was best on a trace, as one knows afterwards, and how it went."""
        fixed = [(row.name, self.results[row.name, trace]) for row in self.rows if row.is_fixed]
        return max(fixed, key=lambda one: one[1].net)

    def gains(self, name: str) -> dict[str, float]:
        """Return by trace how many points more a row has than the best fixed action."""
        traces = [trace for row, trace in self.results if row == name]
        return {t: 100 * (self.results[name, t].net - self.best_fixed(t)[1].net) for t in traces}


def adapt_study(
    bundle: Bundle, profile: Profile, folder: Path, work: Path, out: Path, chosen: Chosen, prices: Prices, processes: int
) -> None:
    """Study everything, and write page, plot and figures into the folder `out`; `work` keeps what was learned."""
    labelled = [frame for drive in find_drives(LABELLED, Path()) for frame in drive.frames()]
    answered = answer_every_way(bundle, labelled, len(bundle.payload_format.operating_points))
    other = [frame for drive in find_drives(UNLABELLED, Path()) for frame in drive.frames()]
    sizes = [frame.sizes for frame in answered]
    study = Study(Scorer(bundle, answered), sizes, processes)
    own = work / f"{bundle.fingerprint}-{chosen.steps}-{chosen.folds}"
    cars = both_cars(bundle, profile, prices)
    lessons = plan_lessons(cars, chosen, payload_sizes(bundle, other), own)
    learn(list(lessons.values()), processes)
    studied = [study_car(study, car, chosen, lessons, sizes) for car in cars]
    out.mkdir(parents=True, exist_ok=True)
    plot_drives(studied[-1].car, Row(PREDICTIVE, PREDICTIVE), sizes, chosen.traces).savefig(out / PLOT, dpi=80)
    (out / FIGURES).write_text(json.dumps(to_json(studied, chosen), indent=1) + "\n")
    (out / PAGE).write_text(write_page(bundle, profile, studied, chosen, prices))


def all_traces(folder: Path) -> dict[str, Trace]:
    """Return the traces of a folder, and those that come with the project."""
    return read_traces(folder) | read_traces(DRAWN)


def plan_lessons(
    cars: Sequence[Car], chosen: Chosen, sizes: Sequence[tuple[int, ...]], work: Path
) -> dict[tuple[str, str, str, int], Lesson]:
    """Return what is to be learned, by car, held-out carrier, method and seed."""
    lessons = {}
    for group in groups_of(chosen.traces, chosen.folds):
        seen = {name: trace for name, trace in chosen.traces.items() if carrier(name) not in group}
        for car in cars:
            for method in (LEARNED, IMITATION):
                for seed in range(chosen.seeds):
                    path = work / f"{car.name}-without-{'-'.join(sorted(group))}-{method}-{seed}.onnx"
                    lesson = Lesson(method, car, TrainingDrives(seen, sizes), seed, chosen.steps, path)
                    lessons |= {(car.name, name, method, seed): lesson for name in group}
    return lessons


def study_car(
    study: Study,
    car: Car,
    chosen: Chosen,
    lessons: Mapping[tuple[str, str, str, int], Lesson],
    sizes: Sequence[tuple[int, ...]],
) -> Studied:
    """Study one car."""
    rows = rows_of(car)
    jobs = [(car, row, name) for row in rows for name in chosen.traces]
    for method in (LEARNED, IMITATION):
        for seed in range(chosen.seeds):
            for name in chosen.traces:
                path = lessons[car.name, carrier(name), method, seed].path
                jobs.append((car, Row(seeded(method, seed), LEARNED, path=path), name))
    done = study.drive_all([(car, row, chosen.traces[name]) for car, row, name in jobs], car.name)
    results = {(row.name, name): result for (_, row, name), result in zip(jobs, done, strict=True)}
    dear = replace(
        car, menu=replace(car.menu, second_price=2 * car.menu.second_price, byte_price=2 * car.menu.byte_price)
    )
    learned = [(row, name) for _, row, name in jobs if row.name == seeded(LEARNED, 0)]
    policies = [row for row in rows if row.kind in (LADDER, PREDICTIVE)]
    again = [(dear, row, name) for row in policies for name in chosen.traces]
    again += [(dear, row, name) for row, name in learned]
    shuffled = [(car, replace(row, shuffled=0), name) for row, name in learned]
    checked = study.drive_all(
        [(car, row, chosen.traces[name]) for car, row, name in again + shuffled], f"{car.name}, checks"
    )
    doubled: dict[str, list[Result]] = {}
    for (_, row, _), result in zip(again, checked, strict=False):
        doubled.setdefault(row.name, []).append(result)
    simple = [row for row in rows if row.kind == FIXED and row.point == car.menu.finest] + policies
    return Studied(
        car=car,
        rows=rows,
        results=results,
        doubled={name: mean_of(found) for name, found in doubled.items()},
        delays=measure_delays(car, [(row, list(chosen.traces)) for row in policies] + by_row(learned), chosen, sizes),
        shuffled=mean_of(checked[len(again) :]),
        lossy=study.lossy(car, simple),
        fleet=study.fleet(car, [rows[car.menu.finest], *simple]),
    )


def by_row(learned: Sequence[tuple[Row, str]]) -> list[tuple[Row, list[str]]]:
    """Return the rows that were learned, each with the traces that it never saw."""
    found: dict[Row, list[str]] = {}
    for row, name in learned:
        found.setdefault(row, []).append(name)
    return list(found.items())


def measure_delays(
    car: Car, rows: Sequence[tuple[Row, Sequence[str]]], chosen: Chosen, sizes: Sequence[tuple[int, ...]]
) -> dict[str, tuple[float | None, float | None]]:
    """Return after how many frames of outages policies answer by themselves, as it is and with the traces shifted."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row, names in rows:
        for name in names:
            if not chosen.traces[name].outages(MEASURED_OUTAGE):
                continue
            for values, shift in zip(found.setdefault(row.name, ([], [])), (0.0, SHIFT), strict=True):
                one = delay(car, row, sizes, chosen.traces[name], shift)
                values += [] if one is None else [one]
    return {
        name: (median(plain) if plain else None, median(moved) if moved else None)
        for name, (plain, moved) in found.items()
    }


def seeded(method: str, seed: int) -> str:
    """Return the name of a row that was learned."""
    return f"{method}, seed {seed}"


def by_worth(studied: Studied, method: str, chosen: Chosen) -> list[str]:
    """Return the rows of all seeds of a method, the worst first, by the mean over all traces."""
    names = [seeded(method, seed) for seed in range(chosen.seeds)]
    return sorted(names, key=lambda name: studied.mean(name).net)


def to_json(studied: Sequence[Studied], chosen: Chosen) -> dict[str, Any]:
    """Return all figures, ready for JSON."""
    return {
        "folds": [sorted(group) for group in groups_of(chosen.traces, chosen.folds)],
        "steps": chosen.steps,
        "cars": {
            one.car.name: {
                "menu": asdict(replace(one.car.menu, own={})) | {"own": _by_name(one.car.menu.own)},
                "milliseconds": {
                    "prefix": one.car.times.prefix * 1e3,
                    "service": one.car.times.service * 1e3,
                    **{name: seconds * 1e3 for name, seconds in _by_name(one.car.times.own).items()},
                },
                "traces": {
                    name: {row: asdict(result) for (row, other), result in one.results.items() if other == name}
                    for name in chosen.traces
                },
                "twice the prices": {name: asdict(result) for name, result in one.doubled.items()},
                "permuted observations": asdict(one.shuffled),
                "delays": one.delays,
                "lossy": [[loss, row.name, asdict(result)] for loss, row, result in one.lossy],
                "fleet": {row.name: asdict(result) for row, result in one.fleet},
            }
            for one in studied
        },
    }


def _by_name(own: Mapping[Own, float]) -> dict[str, float]:
    return {network.value: value for network, value in own.items()}
