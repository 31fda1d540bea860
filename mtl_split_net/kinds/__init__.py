"""The kinds of task in torch, one module each, and the table of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt
from torch import Tensor, nn

from mtl_split_core.payload import Shape
from mtl_split_core.scene import Task, Truth
from mtl_split_net.exit_maps import ExitMaps
from mtl_split_net.kinds import classification, detection, segmentation


class Kind(Protocol):
    """What the network and its training need of one kind of task.

    Output is what its heads return, target what its loss compares that with; both are its own.
    """

    @property
    def HEADS(self) -> Mapping[str, Callable[[int, Shape, int], nn.Module]]:
        """Its heads by name, the default one first.

        Each is made of the number of labels, the shape (channels, height, width) of the backbone's last features, and
        the number of the neck's channels.
        """

    @property
    def USES_NECK(self) -> bool:
        """Whether its heads take the neck's maps, a list, instead of the backbone's last features, a tensor."""

    def target(self, task: Task, truths: Sequence[Truth]) -> Any:
        """Return the target of N pictures: a tensor or a dataclass of tensors.

        Their boxes are in input pixels, and their masks have a place for each of these. Raises InputError for a mask
        that cannot be read.
        """

    def exit_head(self, task: Task, shapes: Mapping[str, Sequence[int]], maps: ExitMaps) -> nn.Module:
        """Return a task's head in an exit, for a suffix whose outputs have these `shapes`, by name.

        It takes the exit's maps, a list of tensors, and returns what the other heads do.
        """

    def lesson(self, task: Task, answers: Mapping[str, npt.NDArray[Any]], maps: ExitMaps) -> Any:
        """Return what an exit learns from a suffix's outputs for one picture, a batch of 1, small enough to keep."""

    def imitated(self, task: Task, lessons: Sequence[Any]) -> Any:
        """Return the target of N pictures that `lesson` returned these of."""

    def imitation(self, output: Any, target: Any) -> Tensor:
        """Return the loss of N pictures against what `imitated` returned: a tensor without dimensions."""

    def loss(self, output: Any, target: Any) -> Tensor:
        """Return the loss of N pictures: a tensor without dimensions."""

    def calibrated(self, output: Any, scale: Tensor, offset: Tensor) -> Any:
        """Return the output with its logits multiplied by the labels' `scale`, and `offset` added: (labels,) each."""

    def answers(self, name: str, output: Any) -> dict[str, Tensor]:
        """Turn a task's output into the suffix's outputs that mtl_split_core.kinds expects, each (N, ...), by name."""


KINDS: dict[str, Kind] = {
    "detection": detection,
    "classification": classification,
    "segmentation": segmentation,
}
"""By Task.kind."""


def all_answers(tasks: Sequence[Task], outputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn every task's output, by the task's name, into the outputs of an exported suffix."""
    return {
        name: answer
        for task in tasks
        for name, answer in KINDS[task.kind].answers(task.name, outputs[task.name]).items()
    }
