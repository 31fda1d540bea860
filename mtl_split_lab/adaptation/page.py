"""The page about adaptation: what every policy is worth over every trace, and what shows that none of them cheats."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np

from mtl_split_core.bundle import Bundle
from mtl_split_core.control import link
from mtl_split_core.control.policy import FIXED, LADDER, PREDICTIVE, Own
from mtl_split_core.errors import InputError
from mtl_split_core.profile import Profile
from mtl_split_lab.adaptation.cars import (
    ANSWER_BY,
    IMITATION,
    LEARNED,
    RATE,
    SEEN,
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
    LOSSY,
    LOSSY_RATE,
    SERVED,
    SERVER_DEADLINE,
    SHIFT,
    Job,
    Lesson,
    Result,
    Row,
    Study,
    groups_of,
    learn,
    mean_of,
    rows_of,
    run,
)
from mtl_split_lab.adaptation.traces import LONG, WHOLE, Trace, carrier, read_traces
from mtl_split_lab.data.drives import find_drives
from mtl_split_lab.machine import machine_in_words
from mtl_split_lab.markdown import table

PAGE, PLOT, FIGURES = "adaptation.md", "adaptation.png", "adaptation.json"

LABELLED = "sim:300000:800:4"
"""Simulated drives whose first frames are answered and scored: those of one drive are too much alike."""

ALLOWED = 0.3
"""Points that a policy may be below the best fixed action on one trace."""

GAIN = 0.3
"""The part of the gap between the best fixed action and the clairvoyant that is wanted of a learned policy."""

NET, S = "net", "accuracy"
"""Figures of a Result."""

NO_GAP = 0.05
"""Points of a gap that is too small to tell parts of it."""

LEARNED_BY = ("cars", "clairvoyant", "direction", "environment", "policy_training", "simulator", "traces")
"""The modules beside this one by which policies are learned; and the edge's control."""

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

    rows: without those that are learned; results: of all; doubled, shifted: means over all traces with twice the
    prices, and with the traces shifted, of some rows; shuffled: the mean of what is left of the learned policies if
    they observe everything in another place; milliseconds: of the processor for one frame, by row, for controller and
    policy with all that is simulated around them.
    """

    car: Car
    rows: Sequence[Row]
    results: Results
    doubled: Mapping[str, Result]
    shifted: Mapping[str, Result]
    shuffled: Result
    milliseconds: Mapping[str, float]
    lossy: Sequence[tuple[float, Row, Result]]
    fleet: Sequence[tuple[Row, Result]]

    def mean(self, name: str) -> Result:
        """Return the mean of a row over all traces."""
        return mean_of([result for (row, _), result in self.results.items() if row == name])

    def best_fixed(self, trace: str, of: str = NET) -> tuple[str, Result]:
        """Return the fixed action that was best on a trace, as one knows afterwards, and how it went.

        of: the figure of Result by which it is best.
        """
        fixed = [(row.name, self.results[row.name, trace]) for row in self.rows if row.is_fixed]
        return max(fixed, key=lambda one: float(getattr(one[1], of)))

    def gains(self, name: str, of: str = NET) -> dict[str, float]:
        """Return by trace how many points more a row has of a figure than the action that is the best fixed one by it.

        The figure: NET or S.
        """
        traces = [trace for row, trace in self.results if row == name]
        best = {t: float(getattr(self.best_fixed(t, of)[1], of)) for t in traces}
        return {t: 100 * (float(getattr(self.results[name, t], of)) - best[t]) for t in traces}


def adapt_study(
    bundle: Bundle,
    profile: Profile,
    work: Path,
    out: Path,
    chosen: Chosen,
    prices: Prices,
    processes: int,
    live: str = "",
) -> None:
    """Study everything, and write page, plot and figures into the folder `out`; `work` keeps what was learned.

    live: the table of drives with the nodes, see mtl_split_lab.bench.drives.
    """
    labelled = (next(drive.frames()) for drive in find_drives(LABELLED, Path()))
    answered = answer_every_way(bundle, labelled, len(bundle.payload_format.operating_points))
    other = [frame for drive in find_drives(SEEN, Path()) for frame in drive.frames()]
    sizes = [frame.sizes for frame in answered]
    study = Study(Scorer(bundle, answered), sizes, processes)
    cars = both_cars(bundle, profile, prices)
    lessons = plan_lessons(cars, chosen, payload_sizes(bundle, other), work)
    learn(list(lessons.values()), processes)
    studied = [study_car(study, car, chosen, lessons, sizes) for car in cars]
    out.mkdir(parents=True, exist_ok=True)
    plot_drives(studied[-1].car, Row(PREDICTIVE, PREDICTIVE), sizes, chosen.traces).savefig(out / PLOT, dpi=80)
    (out / FIGURES).write_text(json.dumps(to_json(studied, chosen), indent=1) + "\n")
    (out / PAGE).write_text(write_page(bundle, profile, studied, chosen, prices, live))


def all_traces(folder: Path) -> dict[str, Trace]:
    """Return the traces of a folder, and those that come with the project."""
    return read_traces(folder) | read_traces(DRAWN)


def plan_lessons(
    cars: Sequence[Car], chosen: Chosen, sizes: Sequence[tuple[int, ...]], work: Path
) -> dict[tuple[str, str, str, int], Lesson]:
    """Return what is to be learned, by car, held-out carrier, method and seed. Raises InputError for a single fold."""
    lessons: dict[tuple[str, str, str, int], Lesson] = {}
    for group in groups_of(chosen.traces, chosen.folds):
        seen = {name: trace for name, trace in chosen.traces.items() if carrier(name) not in group}
        if not seen:
            raise InputError("folds is 1, expected 2 or more: policies are tested on carriers that they have not seen")
        drives = TrainingDrives(seen, sizes)
        for car in cars:
            key = f"{car.name}-without-{'-'.join(sorted(group))}-{_digest(car, drives, chosen.steps)}"
            for method in (LEARNED, IMITATION):
                for seed in range(chosen.seeds):
                    path = work / f"{key}-{method}-{seed}.onnx"
                    lesson = Lesson(method, car, drives, seed, chosen.steps, path)
                    lessons |= {(car.name, name, method, seed): lesson for name in group}
    return lessons


def _digest(car: Car, drives: TrainingDrives, steps: int) -> str:
    """Return a hash of all that a policy is learned by, the code too, so that none of before a change is taken."""
    told = repr((car, steps, drives.sizes, [(name, trace.rows) for name, trace in sorted(drives.traces.items())]))
    code = [*Path(link.__file__).parent.glob("*.py"), *(Path(__file__).with_name(f"{name}.py") for name in LEARNED_BY)]
    return hashlib.sha256(b"".join([told.encode(), *(path.read_bytes() for path in sorted(code))])).hexdigest()[:12]


def study_car(
    study: Study,
    car: Car,
    chosen: Chosen,
    lessons: Mapping[tuple[str, str, str, int], Lesson],
    sizes: Sequence[tuple[int, ...]],
) -> Studied:
    """Study one car."""
    rows = rows_of(car)
    jobs = [(row, name) for row in rows for name in chosen.traces]
    for method in (LEARNED, IMITATION):
        for seed in range(chosen.seeds):
            for name in chosen.traces:
                path = lessons[car.name, carrier(name), method, seed].path
                jobs.append((Row(seeded(method, seed), LEARNED, path=path), name))
    done = study.drive_all([Job(car, row, chosen.traces[name]) for row, name in jobs], car.name)
    results = {(row.name, name): result for (row, name), result in zip(jobs, done, strict=True)}
    dear = replace(
        car, menu=replace(car.menu, second_price=2 * car.menu.second_price, byte_price=2 * car.menu.byte_price)
    )
    learned = [(row, chosen.traces[name]) for row, name in jobs if row.name == seeded(LEARNED, 0)]
    policies = [row for row in rows if row.kind in (LADDER, PREDICTIVE)]
    checked = [(row, trace) for row in policies for trace in chosen.traces.values()] + learned
    count = len(checked)
    doubled = [Job(dear, row, trace) for row, trace in checked]
    shifted = [Job(car, row, trace, SHIFT) for row, trace in checked]
    shuffled = [Job(car, replace(row, shuffled=0), trace) for row, trace in learned]
    checks = study.drive_all(doubled + shifted + shuffled, f"{car.name}, checks")
    simple = [row for row in rows if row.kind == FIXED and row.point == car.menu.finest] + policies
    return Studied(
        car=car,
        rows=rows,
        results=results,
        doubled=_means_by_row(doubled, checks[:count]),
        shifted=_means_by_row(shifted, checks[count : 2 * count]),
        shuffled=mean_of(checks[2 * count :]),
        milliseconds={row.name: measure_cost(car, row, chosen, sizes) for row in [*policies, learned[0][0]]},
        lossy=study.lossy(car, simple),
        fleet=study.fleet(car, [rows[car.menu.finest], *simple]),
    )


def _means_by_row(jobs: Sequence[Job], results: Sequence[Result]) -> dict[str, Result]:
    """Return the mean of each row's results."""
    found: dict[str, list[Result]] = {}
    for job, result in zip(jobs, results, strict=True):
        found.setdefault(job.row.name, []).append(result)
    return {name: mean_of(own) for name, own in found.items()}


def measure_cost(car: Car, row: Row, chosen: Chosen, sizes: Sequence[tuple[int, ...]]) -> float:
    """Return the milliseconds of the processor that a frame takes in the simulator, over the first trace."""
    drive = whole_drive(sizes, next(iter(chosen.traces.values())))
    begin = process_time()
    run(car, row, drive)
    return 1e3 * (process_time() - begin) / len(drive.sizes)


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
                    name: {row: _figures(result) for (row, other), result in one.results.items() if other == name}
                    for name in chosen.traces
                },
                "twice the prices": {name: _figures(result) for name, result in one.doubled.items()},
                "permuted observations": _figures(one.shuffled),
                "traces shifted": {name: _figures(result) for name, result in one.shifted.items()},
                "milliseconds of a frame": one.milliseconds,
                "lossy": [[loss, row.name, _figures(result)] for loss, row, result in one.lossy],
                "fleet": {row.name: _figures(result) for row, result in one.fleet},
            }
            for one in studied
        },
    }


def _figures(result: Result) -> dict[str, Any]:
    """Return all of a result; of its outages the median delay, and the median recovery and the longest."""
    delays, recovered = result.delays, result.recovered
    return asdict(result) | {
        "delays": median(delays) if delays else None,
        "recovered": [median(recovered), max(recovered)] if recovered else None,
    }


def _by_name(own: Mapping[Own, float]) -> dict[str, float]:
    return {network.value: value for network, value in own.items()}


def write_page(
    bundle: Bundle, profile: Profile, studied: Sequence[Studied], chosen: Chosen, prices: Prices, live: str = ""
) -> str:
    """Return the page; live: as for adapt_study."""
    groups = ", ".join("/".join(sorted(group)) for group in groups_of(chosen.traces, chosen.folds))
    parts = [
        _HEAD.format(
            bundle=f"{bundle.name} ({bundle.fingerprint})",
            rate=RATE,
            deadline=1e3 * ANSWER_BY,
            labelled=LABELLED.split(":")[2],
            machine=f"{profile.machine.get('processor', 'a machine')}, {profile.machine.get('cores', 1)} cores",
            second=prices.second,
            megabyte=prices.megabyte,
            traces=len(chosen.traces),
            groups=groups,
            folds=len(groups_of(chosen.traces, chosen.folds)),
            seeds=chosen.seeds,
            steps=f"{chosen.steps:,}",
            plot=PLOT,
            figures=FIGURES,
        ),
        table(
            "vehicle|own answers|to the latents, ms|own answer, ms|server, ms", [_car_row(one.car) for one in studied]
        ),
    ]
    parts += ["## What is wanted", _wanted_table(studied, chosen)]
    parts += ["## Live", _LIVE.format(rate=RATE, whole=WHOLE), live] if live else []
    for one in studied:
        parts += [f"## {one.car.name}: {one.car.words}", _verdict(one, chosen), _rows_table(one, chosen)]
        parts += ["### Every trace", _EVERY, _traces_table(one, chosen)]
    parts += ["## After an outage", _AFTER.format(outage=LONG), _recovered_table(studied, chosen)]
    parts += ["## Is any of it cheated?", *(_checks(one) for one in studied)]
    parts += ["## Lost packets", _LOSSY.format(rate=LOSSY_RATE / 1e6), *(_lossy_table(one) for one in studied)]
    parts += [
        f"## {FLEET} vehicles on a server for {SERVED}",
        _FLEET.format(deadline=SERVER_DEADLINE),
        *(_fleet_table(one) for one in studied),
    ]
    parts.append(f"`mtl-split adapt-study` makes this page. Simulated on: {machine_in_words()}.")
    return "\n\n".join(parts) + "\n"


def _car_row(car: Car) -> list[str]:
    [(own, seconds)] = car.times.own.items()
    return [
        car.name,
        f"{own.value}, worth {car.menu.own[own]:.4f}",
        f"{1e3 * car.times.prefix:.1f}",
        f"{1e3 * seconds:.1f}",
        f"{1e3 * car.times.service:.1f}",
    ]


def _wanted_table(studied: Sequence[Studied], chosen: Chosen) -> str:
    """Return what is wanted, and what each car has of it."""
    columns = [_wanted(one, chosen) for one in studied]
    rows = [[what, wanted, *(column[n][2] for column in columns)] for n, (what, wanted, _) in enumerate(columns[0])]
    return table("|".join(["in simulation", "wanted", *(one.car.name for one in studied)]), rows)


def _wanted(one: Studied, chosen: Chosen) -> list[tuple[str, str, str]]:
    """Return figures of a car: what they are of, what is wanted, and what there is."""
    answered = min(one.results[PREDICTIVE, name].answered for name in chosen.traces)
    served = {loss: result.served for loss, row, result in one.lossy if row.kind == PREDICTIVE}
    [fleet] = [result.answered for row, result in one.fleet if row.kind == PREDICTIVE]
    gains = list(one.gains(PREDICTIVE).values())
    worst, middle = (
        list(one.gains(by_worth(one, LEARNED, chosen)[place]).values()) for place in (0, chosen.seeds // 2)
    )
    return [
        (f"answered by the deadline, `{PREDICTIVE}`, on the worst trace", "100 %", f"{100 * answered:.2f} %"),
        *(
            (f"the same, from the server, at {LOSSY_RATE / 1e6:g} Mbit/s with {loss:.0%} lost", f"≥ {least} %",
             f"{100 * served[loss]:.1f} %")
            for loss, least in zip(LOSSY[1:], (99, 95), strict=True)
        ),
        (f"the same, {FLEET} vehicles on a server for {SERVED}", "≥ 95 %", f"{100 * fleet:.1f} %"),
        (f"`{PREDICTIVE}` against best fixed, on the worst trace", f"≥ {-ALLOWED} points", f"{min(gains):+.2f}"),
        (f"`{PREDICTIVE}` against best fixed, mean of the traces", "> 0", f"{np.mean(gains):+.2f}"),
        ("learned, median seed: part of the gap to the clairvoyant", f"≥ {GAIN:.0%}", _part_of_gap(one, middle)),
        ("learned, worst seed against best fixed, on the worst trace", f"≥ {-ALLOWED} points", f"{min(worst):+.2f}"),
        (
            "processor time of a simulated frame, control and all around it",
            "≤ 0.2 ms",
            ", ".join(f"{name} {value:.2f} ms" for name, value in one.milliseconds.items()),
        ),
    ]  # fmt: skip


def _part_of_gap(one: Studied, net: Sequence[float]) -> str:
    gap = float(np.mean(list(one.gains(CLAIRVOYANT).values())))
    return f"{np.mean(net) / gap:.0%}" if gap > NO_GAP else "-"


def _verdict(one: Studied, chosen: Chosen) -> str:
    """Say how the policies do by the figures that are wanted."""
    worst, middle = (by_worth(one, LEARNED, chosen)[at] for at in (0, chosen.seeds // 2))
    gap = float(np.mean(list(one.gains(CLAIRVOYANT).values())))
    shown = [(f"`{LADDER}`", LADDER), (f"`{PREDICTIVE}`", PREDICTIVE)]
    shown += [(words, row) for words, row in _named(one, chosen) if row.startswith((LEARNED, IMITATION))]
    rows = [[words, *_gain_cells(one, row)] for words, row in [*shown, (CLAIRVOYANT, CLAIRVOYANT)]]
    gained = float(np.mean(list(one.gains(middle).values())))
    better = gained >= GAIN * gap and one.mean(middle).net > one.mean(PREDICTIVE).net
    reached = better and min(one.gains(worst).values()) >= -ALLOWED
    verdict = (
        f"What is wanted of a learned policy, {GAIN:.0%} of the gap between the best fixed action and the clairvoyant "
        f"by the median seed, more than `{PREDICTIVE}` has, and by the worst never more than {ALLOWED} points below "
        f"the best fixed action, is {'' if reached else 'not '}reached"
        f"{'.' if reached else f', so that `{PREDICTIVE}` stays the default.'}"
    )
    return "\n\n".join([_GAINS, table(_GAIN_COLUMNS, rows), verdict])


_GAIN_COLUMNS = "policy|S less prices|on the worst trace|of the gap|S|on the worst trace"


def _gain_cells(one: Studied, row: str) -> list[str]:
    net, accuracy = (list(one.gains(row, of).values()) for of in (NET, S))
    return [
        *(f"{np.mean(net):+.2f}", f"{min(net):+.2f}", _part_of_gap(one, net)),
        *(f"{np.mean(accuracy):+.2f}", f"{min(accuracy):+.2f}"),
    ]


def _named(one: Studied, chosen: Chosen) -> list[tuple[str, str]]:
    """Return what is shown under which name: those that were learned by their median and worst seed."""
    learned = []
    for method in (LEARNED, IMITATION):
        names = by_worth(one, method, chosen)
        learned += [(f"{method}, median of {len(names)} seeds", names[len(names) // 2])]
        learned += [(f"{method}, worst of {len(names)} seeds", names[0])]
    plain = [(row.name, row.name) for row in one.rows]
    return [*plain[:-1], *learned, plain[-1]]


def _rows_table(one: Studied, chosen: Chosen) -> str:
    rows = [[name, *_cells(one.mean(row))] for name, row in _named(one, chosen)]
    tasks = [(name, one.mean(row).tasks) for name, row in _named(one, chosen)]
    scored = [[name, *(f"{100 * accuracy:.2f}" for _, accuracy in sorted(found.items()))] for name, found in tasks]
    return "\n\n".join(
        [table(f"policy|{_COLUMNS}", rows), _TASKS, table("|".join(["policy", *sorted(tasks[0][1])]), scored)]
    )


_COLUMNS = "S, %|S less prices, %|answered, %|by the server, %|own ms per frame|bytes per frame|actions, %"


def _cells(result: Result) -> list[str]:
    actions = ", ".join(
        f"{name} {100 * share:.0f}" for name, share in list(result.actions.items())[:4] if share > 0.005
    )
    return [
        f"{100 * result.accuracy:.2f}",
        f"{100 * result.net:.2f}",
        f"{100 * result.answered:.1f}",
        f"{100 * result.served:.1f}",
        f"{result.milliseconds:.2f}",
        f"{result.bytes:,.0f}",
        actions,
    ]


def _traces_table(one: Studied, chosen: Chosen) -> str:
    worst, middle = (by_worth(one, LEARNED, chosen)[at] for at in (0, chosen.seeds // 2))
    imitation = by_worth(one, IMITATION, chosen)[chosen.seeds // 2]
    shown = [LADDER, PREDICTIVE, middle, worst, imitation, CLAIRVOYANT]
    rows = []
    for name in chosen.traces:
        best, result = one.best_fixed(name)
        gains = [one.gains(row)[name] for row in shown]
        rows.append([name, best, f"{100 * result.net:.2f}", *(f"{gain:+.2f}" for gain in gains)])
    rows.append(["mean", "", "", *(f"{np.mean(list(one.gains(row).values())):+.2f}" for row in shown)])
    names = "ladder|predictive|learned, median|learned, worst|imitation, median|clairvoyant"
    return table(f"trace|best fixed|its S less prices, %|{names}", rows)


def _recovered_table(studied: Sequence[Studied], chosen: Chosen) -> str:
    shown = [(one, row) for one in studied for row in (LADDER, PREDICTIVE, CLAIRVOYANT)]
    outages = {name: len(trace.outages(LONG)) for name, trace in chosen.traces.items()}
    rows = [
        [name, str(count), *(_median_and_longest(one.results[row, name].recovered) for one, row in shown)]
        for name, count in outages.items()
        if count
    ]
    return table("|".join(["trace", "outages", *(f"{one.car.name}: {row}" for one, row in shown)]), rows)


def _median_and_longest(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f}, {max(seconds):.2f}" if seconds else "-"


def _checks(one: Studied) -> str:
    first = seeded(LEARNED, 0)
    moved = [
        [row, *(f"{100 * _share(results[row], ALONE):.1f}" for results in (_means(one), one.doubled)),
         *(f"{results[row].bytes:,.0f}" for results in (_means(one), one.doubled)),
         *(f"{results[row].milliseconds:.2f}" for results in (_means(one), one.doubled))]
        for row in one.doubled
    ]  # fmt: skip
    late = [
        [row, *(f"{median(found.delays):g}" if found.delays else "-" for found in (one.mean(row), shifted))]
        for row, shifted in one.shifted.items()
    ]
    head = (
        "policy|alone, %|at twice the prices|bytes per frame|at twice the prices|own ms per frame|at twice the prices"
    )
    return "\n\n".join(
        [
            f"### {one.car.name}",
            _DELAYS.format(outage=LONG, shift=SHIFT),
            table(f"policy|frames|with the trace {SHIFT:g} s later", late),
            "Twice the prices move what is done:",
            table(head, moved),
            f"The learned policy (seed 0) with all that it observes in another place: S less prices "
            f"{100 * one.shuffled.net:.2f} %, instead of {100 * one.mean(first).net:.2f} %.",
        ]
    )


def _means(one: Studied) -> dict[str, Result]:
    return {row: one.mean(row) for row in one.doubled}


def _share(result: Result, action: str) -> float:
    return result.actions.get(action, 0.0)


def _lossy_table(one: Studied) -> str:
    rows = [[one.car.name, f"{loss:.0%}", row.name, *_cells(result)] for loss, row, result in one.lossy]
    return table(f"vehicle|lost|policy|{_COLUMNS}", rows)


def _fleet_table(one: Studied) -> str:
    rows = [[one.car.name, row.name, *_cells(result)] for row, result in one.fleet]
    return table(f"vehicle|policy|{_COLUMNS}", rows)


_HEAD = """# Adaptation

What each policy of [the edge's control](../adaptation.md) is worth: simulated drives of {bundle} at
{rate:g} frames per second over {traces} traces of links, real ones from cars and those that the project draws from
chains fitted to them. The simulator runs the nodes' own controller, policies, sessions and the relay's link; only
computing is simulated, with the milliseconds of a profile ({machine}). The link has no delay beside its rate.

**S** is the mean over the tasks of the accuracy (mAP50, share of right classes, mIoU) of what was there {deadline:g} ms
after the camera's stamp, scored on the real answers to a labelled frame of each of {labelled} simulated streets, which
the drives see again and again: the server's answer at the operating point that was chosen, the edge's own, or none.
Policies go by the bundle's `values`, which were measured on other streets; the best fixed action is chosen by these.
**S less prices** takes off {second:g} for each second of the vehicle's processor that own answers take, and
{megabyte:g} for each megabyte sent: without prices, to compute everything in the vehicle would always be best.

A *fixed* action sends every frame at one operating point, of those whose payloads fit into one Ethernet frame, once or
twice, and answers by itself what the server does not answer in time; *no own answers* is what a vehicle without a
network of its own has. The best fixed action of each trace is chosen afterwards. The *clairvoyant* knows what the link
will do with each frame, and takes what is best for it.
*Learned* is discrete soft actor-critic (SAC-d), *imitation* a regression of what each action would have brought.
Both learn on {steps} frames, and are tested on carriers that they have not seen: {folds} groups, {groups}, each
tested by policies that were trained on the others; {seeds} seeds of each, of which the median and the worst are shown,
not the best. How they learn was chosen on invented links that are none of these. All figures are in
[{figures}]({figures}).

![Drives over time: the link, what was chosen, who answered, and how old the answers were]({plot})

The plot is of `predictive`, around the longest outages."""

_LIVE = """The nodes over Fast DDS, behind a relay between two network namespaces that follows the traces, at {rate:g}
frames per second: of each trace the part around its longest outage, or around its lowest rate, and all of one that
lasts at most {whole:g} s. Shares are of the frames that the edge received; *back after* is the longest time from the
end of an outage to the server's first answer, of which 0.3 s or less is wanted. How far the simulator is off is told in
[the simulator against the live nodes](simulated.md)."""

_GAINS = """Points more than the best fixed action of each trace, in the mean of the traces and on the worst of them;
the best one by S less prices, and for the last two columns by S."""

_TASKS = """The accuracy of each task at the deadline, in per cent; no answer is a wrong one:"""

_EVERY = """Points of S less prices, against the best fixed action of that trace."""

_AFTER = """Seconds from the end of an outage of {outage:g} s or more to the server's first answer in time, in the
median of a trace's outages, and the longest, but for those after which the drive ends first. Where links come back
slowly, even the *clairvoyant* needs more than the 0.3 s that are wanted."""

_DELAYS = """After so many frames of an outage of {outage:g} s or more a policy answers by itself, in the median of
all outages; and with the trace shifted by {shift:g} s behind its back. Who saw the trace instead of the link would be
as far off."""

_LOSSY = """A link of {rate:g} Mbit/s that loses packets by chance, both ways."""

_FLEET = """The link carries 50 Mbit/s; all vehicles have the same policy, and the server a `deadline` of
{deadline:g} s, so that what it answers is there before the vehicle computes by itself. Figures are means over the
vehicles."""
