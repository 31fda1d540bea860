"""The page of a comparison: single-task against multi-task networks in tables and a plot."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import TypeAdapter, ValidationError

from mtl_split_core.errors import InputError
from mtl_split_core.scene import Size
from mtl_split_lab.markdown import table
from mtl_split_lab.untrusted import name_faults

PAGE = "mtl_vs_stl.md"
PLOT = "mtl_vs_stl.png"


@dataclass(frozen=True)
class Result:
    """What came out of one training.

    data, noise: what it was trained on; tasks: one, or all; scores: on the test pictures, 0 to 1, by task; parameters:
    of the whole network, backbone_parameters: of its backbone alone; pictures: how many to train, validate and test;
    minutes: from the beginning to the scores; machine: where.
    """

    data: str
    noise: str
    backbone: str
    tasks: tuple[str, ...]
    seed: int
    scores: dict[str, float]
    backbone_parameters: int
    parameters: int
    pictures: tuple[int, int, int]
    input_size: Size
    epochs: int
    batch: int
    learning_rate: float
    minutes: float
    machine: str


_results = TypeAdapter(Result)


def read_result(path: Path) -> Result:
    """Read the result of a training. Raises InputError for a damaged file."""
    try:
        result: Result = _results.validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(f"{path} is no result of a training: {name_faults(error)}") from error
    return result


def write_result(path: Path, result: Result) -> None:
    """Write the result of a training as JSON; the file is there as a whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_bytes(_results.dump_json(result, indent=2))
    unfinished.rename(path)


@dataclass(frozen=True)
class Scores:
    """The scores of the same trainings with several seeds, 0 to 1."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the scores."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation, estimated from the scores; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        percent = f"{100 * self.mean:.1f}"
        return percent if self.deviation is None else f"{percent} ± {100 * self.deviation:.1f}"


@dataclass(frozen=True)
class Contrast:
    """One task learned by a network of its own and by the network for all tasks, with the same seeds."""

    task: str
    single: Scores
    multi: Scores

    @property
    def difference(self) -> float:
        """How much higher the network for all tasks scores in the mean."""
        return self.multi.mean - self.single.mean

    @property
    def keeps_up(self) -> bool | None:
        """Whether the difference is not below minus one standard deviation; None where there is none.

        It is the root of the mean of both sides' variances.
        """
        if self.single.deviation is None or self.multi.deviation is None:
            return None
        return self.difference >= -math.hypot(self.single.deviation, self.multi.deviation) / math.sqrt(2)


@dataclass(frozen=True)
class Group:
    """All results of one backbone on the same pictures."""

    results: tuple[Result, ...]

    @property
    def whole(self) -> Result:
        """One of the results of the network for all tasks."""
        return max(self.results, key=lambda result: len(result.tasks))

    @property
    def title(self) -> str:
        """What the group's panel is called."""
        whole = self.whole
        return f"{whole.data}, {whole.backbone}" + (f"\n{whole.noise}" if whole.noise != "none" else "")

    def single(self, task: str) -> list[Result]:
        """Results of the networks for one task alone."""
        return [result for result in self.results if result.tasks == (task,)]

    def contrasts(self) -> list[Contrast]:
        """Compare every task by the seeds that both sides have, and leave it out where they have none in common."""
        multi = {result.seed: result for result in self.results if result.tasks == self.whole.tasks}
        contrasts = []
        for task in self.whole.tasks:
            single = {result.seed: result for result in self.single(task)}
            if seeds := sorted(single.keys() & multi.keys()):
                sides = [Scores(tuple(side[seed].scores[task] for seed in seeds)) for side in (single, multi)]
                contrasts.append(Contrast(task, *sides))
        return contrasts


def group(results: Sequence[Result]) -> list[Group]:
    """Put results of the same backbone, pictures and noise together."""
    groups: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: (result.backbone, result.data, result.noise)):
        groups[result.backbone, result.data, result.noise].append(result)
    return [Group(tuple(members)) for members in groups.values()]


def write_page(results: Sequence[Result], out: Path) -> None:
    """Write the page and the plot of a comparison's results into the folder `out`."""
    groups = [members for members in group(results) if members.contrasts()]
    out.mkdir(parents=True, exist_ok=True)
    _plot(groups).savefig(out / PLOT, dpi=100)
    (out / PAGE).write_text(_render(groups))


def _render(groups: Sequence[Group]) -> str:
    verdict = {True: "yes", False: "no", None: "one seed"}
    scores, parameters, trainings = [], [], []
    for members in groups:
        whole = members.whole
        about = (whole.backbone, whole.data, whole.noise)
        for contrast in members.contrasts():
            scores.append(
                (
                    *about,
                    contrast.task,
                    str(len(contrast.single.values)),
                    str(contrast.single),
                    str(contrast.multi),
                    f"{100 * contrast.difference:+.1f}",
                    verdict[contrast.keeps_up],
                )
            )
        alone = [members.single(task)[0] for task in whole.tasks if members.single(task)]
        apart = sum(result.parameters for result in alone)
        parameters.append(
            (
                whole.backbone,
                whole.data,
                f"{len(alone)} x {_millions(whole.backbone_parameters)}",
                _millions(whole.backbone_parameters),
                _millions(apart),
                _millions(whole.parameters),
                f"{1 - whole.parameters / apart:.0%}",
            )
        )
        trainings.append(
            (
                *about,
                " x ".join(map(str, whole.input_size)),
                " / ".join(f"{count:,}" for count in whole.pictures),
                str(whole.epochs),
                str(whole.batch),
                f"{whole.learning_rate:g}",
                str(len(members.results)),
                f"{sum(result.minutes for result in members.results):.0f}",
            )
        )
    return _PAGE.format(
        plot=PLOT,
        scores=table(
            "backbone|data|noise|task|seeds|single-task|multi-task|difference|within one standard deviation or better",
            scores,
        ),
        parameters=table(
            "backbone|data|single-task backbones|multi-task backbone|single-task, all|multi-task, all|saved",
            list(dict.fromkeys(parameters)),
        ),
        trainings=table(
            "backbone|data|noise|input|training / validation / test|epochs|batch|learning rate|trainings|minutes",
            trainings,
        ),
        machines="; ".join(sorted({result.machine for members in groups for result in members.results})),
    )


_PAGE = """# Single-task against multi-task training

The claim of [MTL-Split](https://arxiv.org/abs/2407.05982): one backbone shared by several tasks answers as well as
a backbone for each of them. Here both sides have the same backbone, heads, pictures, noise, number of steps,
learning rate and seeds; they differ only in the tasks. `mtl-split compare-mtl` makes this page.

![Scores on the test pictures]({plot})

## Scores

On test pictures, in percent: mAP50 for `detection`, accuracy for all other tasks; mean ± standard deviation over
the seeds. The last column says whether the multi-task mean is at most one standard deviation, the root of the mean
of both sides' variances, below the single-task mean. Whoever guesses scores 12.5 in `size` and 25 in `type`: so do
networks that have learned nothing yet, and no difference to them says anything.

{scores}

## Parameters

{parameters}

## How it was measured

{trainings}

- All weights are random at first, there is no bottleneck, and the loss is the plain sum. On 3D Shapes the heads are
  MTL-Split's: flatten, linear to 256, dropout 0.1, ReLU, linear. On the street, which MTL-Split does not have, the
  classification heads pool the features, and the detection head takes those at strides of 8, 16 and 32 pixels.
- AdamW, with a one-cycle schedule up to the learning rate of the table. MTL-Split's recipe, 30 epochs of 360,000
  pictures, is out of reach for a processor: these trainings are short, so the scores are lower than they could be,
  on both sides.
- The checkpoint with the lowest loss on the validation pictures is scored on the test pictures. No picture is in
  two of the three sets.
- 3D Shapes: the combinations with floor hue and wall hue both from index 5 on are the test pictures, as in the
  paper's code. The noise overwrites single values, and is the same for a picture whenever it is seen. *8 %*: half
  of them bright, half dark. *71 %*: what the released code really does; it compares normally distributed draws with
  0.08 and 0.92, so that 53 % of the values turn bright and 18 % dark.
- Simulated street: training, validation and test are different streets; objects less than 4.8 pixels high at the
  networks' input count neither as found nor as missed.
- Minutes are summed over the trainings, several of which ran at once, on: {machines}.
"""


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _plot(groups: Sequence[Group]) -> Figure:
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure((4.5 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, members in zip(panels, groups, strict=False):
        _plot_group(panel, members)
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    panels[0].legend()
    return figure


def _plot_group(panel: Axes, members: Group) -> None:
    contrasts = members.contrasts()
    for label, shift, marker in (("single-task", -0.12, "o"), ("multi-task", 0.12, "s")):
        sides = [contrast.single if label == "single-task" else contrast.multi for contrast in contrasts]
        panel.errorbar(
            [place + shift for place in range(len(sides))],
            [100 * side.mean for side in sides],
            [100 * (side.deviation or 0) for side in sides],
            fmt=marker,
            capsize=4,
            label=label,
        )
    names = [f"{contrast.task}\n(mAP50)" if contrast.task == "detection" else contrast.task for contrast in contrasts]
    panel.set_xticks(range(len(names)), names)
    panel.set(title=members.title, ylabel="score on test pictures, %", xlim=(-0.6, len(names) - 0.4))
    panel.grid(axis="y", alpha=0.3)
