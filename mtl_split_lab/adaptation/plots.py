"""Drives over time: what the link carried, what was chosen, who answered, and how old the answers were."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_split_core.control.policy import Own
from mtl_split_lab.adaptation.cars import ANSWER_BY, RATE, Car, whole_drive
from mtl_split_lab.adaptation.simulator import Outcome
from mtl_split_lab.adaptation.study import ALONE, SKIP, TWICE, Row, name_action, run
from mtl_split_lab.adaptation.traces import Trace

SHOWN_SECONDS = 60.0
"""Of each drive at least, around its longest outage."""
SHOWN = 4
"""Drives, those with the longest outages."""

COLOURS = {"server": "tab:blue", "own": "tab:orange", "none": "tab:red"}


def plot_drives(car: Car, row: Row, sizes: Sequence[tuple[int, ...]], traces: Mapping[str, Trace]) -> Figure:
    """Draw a policy's drives over the traces with the longest outages, real and drawn ones."""
    longest = {name: max((end - begin for begin, end in t.outages(0.0)), default=0.0) for name, t in traces.items()}
    chosen = sorted(traces, key=lambda name: -longest[name])[:SHOWN]
    figure = Figure((4.5 * len(chosen), 9), layout="constrained")
    columns = figure.subplots(4, len(chosen), sharex="col", sharey="row", squeeze=False).T
    for name, panels in zip(chosen, columns, strict=True):
        trace = traces[name]
        outcomes = run(car, row, whole_drive(sizes, trace))
        first, lasting = trace.worst_part(SHOWN_SECONDS)
        _plot(car, trace, outcomes, (first, first + lasting), panels)
        panels[0].set_title(name)
    for panel, label in zip(
        columns[0], ("link, kbit/s", "action", "answered by", "age of the answer, ms"), strict=True
    ):
        panel.set_ylabel(label)
    return figure


def _plot(
    car: Car, trace: Trace, outcomes: Sequence[Outcome], shown: tuple[float, float], panels: Sequence[Axes]
) -> None:
    rate, action, source, age = panels
    names = [SKIP, ALONE, *(point + twice for twice in TWICE.values() for point in car.points[: car.menu.finest + 1])]
    numbers = range(int(shown[0] * RATE), int(shown[1] * RATE))
    at = np.array(numbers) / RATE
    rate.semilogy(at, [max(10.0, trace.rate(moment) / 1e3) for moment in at], color="black", lw=0.7)
    chosen = [names.index(name_action(outcomes[number].action, car.points)) for number in numbers]
    action.plot(at, chosen, ".", ms=3, color="black")
    action.set_yticks(range(len(names)), names)
    sources = [_source(outcomes[number]) for number in numbers]
    for place, (name, colour) in enumerate(COLOURS.items()):
        those = [number for number, found in enumerate(sources) if found == name]
        source.plot(at[those], np.full(len(those), place), "|", color=colour, ms=10)
        ages = [1e3 * min(outcomes[numbers[number]].age, 9.0) for number in those]
        age.plot(at[those], ages, ".", ms=3, color=colour)
    source.set_yticks(range(len(COLOURS)), COLOURS)
    source.set_ylim(-0.5, len(COLOURS) - 0.5)
    age.axhline(1e3 * ANSWER_BY, color="tab:red", lw=0.8)
    age.set(ylim=(0, 1.4e3 * ANSWER_BY), xlabel="seconds")


def _source(outcome: Outcome) -> str:
    source = outcome.in_time(ANSWER_BY)
    return "none" if source is None else "own" if isinstance(source, Own) else "server"
