"""Who gave the final answers of a run, how old the images were then, and what had been sent, over time."""

from collections.abc import Mapping, Sized

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mtl_split_ros.messages import NOT_SENT, SOURCES, Origin

PALETTE = ("#4f8fe8", "#f2c14e", "#ef8a3c", "#b48cf2", "#3aa675", "#8fd16a", "#2f7f9e", "#c9d94f")
LATE = "#d62738"
NOTHING = "#9aa0a6"


def plot_answers(origins: Mapping[float, Origin]) -> Figure:
    """Plot where answers come from, by the seconds of their images, in order: their ages, and a coloured strip each."""
    figure = Figure((9.0, 4.0), layout="constrained")
    ages, sources, points = figure.subplots(3, sharex=True, height_ratios=(6, 1, 1))
    colours = dict(zip(SOURCES.values(), PALETTE, strict=False))
    for source in dict.fromkeys(origin.source for origin in origins.values()):
        own = {time: 1e3 * origin.age for time, origin in origins.items() if origin.source == source}
        ages.plot(own.keys(), own.values(), ".", markersize=3, color=colours.setdefault(source, PALETTE[-1]))
    late = {time: 1e3 * origin.age for time, origin in origins.items() if origin.late}
    if late:
        ages.plot(late.keys(), late.values(), "x", markersize=5, color=LATE, label=f"late {_share(late, origins)}")
        ages.legend(loc="upper right", fontsize=8)
    ages.set_ylabel("age of the image, ms")
    ages.set_ylim(bottom=0)
    ages.grid(alpha=0.3)
    _strip(sources, "answered by", {time: origin.source for time, origin in origins.items()}, colours)
    chosen = {time: origin.operating_point for time, origin in origins.items()}
    names = sorted(set(chosen.values()) - {NOT_SENT})
    by_point = {name: PALETTE[(4 + number) % len(PALETTE)] for number, name in enumerate(names)}
    _strip(points, "sent at", chosen, {**by_point, NOT_SENT: NOTHING})
    points.set_xlabel("seconds")
    return figure


def _strip(panel: Axes, title: str, names: Mapping[float, str], colours: Mapping[str, str]) -> None:
    times = [*names]
    ends = [*times[1:], times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1)]
    for name in sorted(set(names.values())):
        # No colour over a pause.
        parts = [(start, min(end - start, 1.0)) for start, end in zip(times, ends, strict=True) if names[start] == name]
        panel.broken_barh(parts, (0, 1), color=colours[name], label=f"{name} {_share(parts, names)}")
    panel.set(yticks=[], ylim=(0, 1))
    panel.set_title(title, loc="left", fontsize=8)
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 0.9), ncols=6, fontsize=8, frameon=False)


def _share(some: Sized, all_: Sized) -> str:
    return f"{100 * len(some) / len(all_):.1f} %"
