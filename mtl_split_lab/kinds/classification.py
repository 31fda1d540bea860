"""Classification of the whole picture, scored and shown: accuracy, confusion, a word in the caption."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mtl_split_core.scene import Classification, Task, Truth
from mtl_split_lab.kinds.calibration import Calibration, fit_temperature
from mtl_split_lab.kinds.sheet import Sheet


@dataclass(frozen=True)
class ClassificationScore:
    """One task's answers.

    accuracy: share of right ones, 0 to 1; confusion: how often which label (first key) was answered as which (second).
    """

    accuracy: float
    confusion: dict[str, dict[str, int]]

    def recall(self, label: str) -> float:
        """The share of the pictures with this true label that got it as the answer, 0 to 1."""
        answers = self.confusion[label]
        return answers.get(label, 0) / sum(answers.values())


def object_labels(task: Task) -> tuple[str, ...]:
    """None: a class has no place in the picture."""
    return ()


def labels_in(task: Task, truth: Truth) -> set[str]:
    """The task's class, if it is known."""
    return {truth.classes[task.name]} if task.name in truth.classes else set()


def keep_known(truth: Truth, tasks: Sequence[Task], skipped: Counter[str]) -> Truth:
    """Keep the classes that are a label of their task."""
    labels = {task.name: task.labels for task in tasks}
    classes = {task: label for task, label in truth.classes.items() if label in labels.get(task, ())}
    skipped["classes that the bundle does not know"] += len(truth.classes.keys() & labels.keys()) - len(classes)
    return replace(truth, classes=classes)


def pair(truth: Truth, results: Mapping[str, Classification]) -> dict[str, tuple[str, str]] | None:
    """True label and answer by task."""
    return {task: (truth.classes[task], found.best) for task, found in results.items() if task in truth.classes} or None


def as_truth(tasks: Sequence[Task], results: Mapping[str, Classification]) -> Truth:
    """The best label of each task as its class."""
    return Truth(classes={task: found.best for task, found in results.items()}, labelled=frozenset())


def score(pairs: Sequence[Mapping[str, tuple[str, str]]]) -> dict[str, ClassificationScore]:
    """Score every task that there is a truth of."""
    tasks = dict.fromkeys(task for picture in pairs for task in picture)
    return {task: _score([picture[task] for picture in pairs if task in picture]) for task in tasks}


def _score(pairs: Sequence[tuple[str, str]]) -> ClassificationScore:
    confusion: dict[str, dict[str, int]] = {}
    for (truth, answer), count in sorted(Counter(pairs).items()):
        confusion.setdefault(truth, {})[answer] = count
    return ClassificationScore(sum(truth == answer for truth, answer in pairs) / len(pairs), confusion)


def accuracy(score: Mapping[str, ClassificationScore], task: str) -> float:
    """The share of right answers."""
    return score[task].accuracy


def count(
    tasks: Sequence[Task], pairs: Sequence[Mapping[str, tuple[str, str]]]
) -> Callable[[npt.NDArray[np.int64]], dict[str, float]]:
    """Score every choice anew, which takes no time."""

    def accuracies(counts: npt.NDArray[np.int64]) -> dict[str, float]:
        found = score([pair for pair, times in zip(pairs, counts.tolist(), strict=True) for _ in range(times)])
        return {task.name: found[task.name].accuracy for task in tasks if task.name in found}

    return accuracies


def figures(score: Mapping[str, ClassificationScore]) -> dict[str, Any]:
    """Accuracy by task, and how often which true label was answered as which."""
    return {
        "classification": {task: answers.accuracy for task, answers in score.items()},
        "confusion": {task: answers.confusion for task, answers in score.items()},
    }


def calibrate(task: Task, answered: Sequence[tuple[Truth, Classification]]) -> Calibration:
    """All labels alike, so that the answer stays the same."""
    known = [(found.scores, task.labels.index(t.classes[task.name])) for t, found in answered if task.name in t.classes]
    scale = fit_temperature(np.stack([s for s, _ in known]), np.array([at for _, at in known])) if known else 1.0
    return Calibration(np.full(len(task.labels), scale, np.float32), np.zeros(len(task.labels), np.float32))


def columns(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """Accuracy by task."""
    return dict(figures["classification"])


def sheets(ways: Mapping[str, Mapping[str, Any]]) -> list[Sheet]:
    """The confusion of each task by the first way."""
    first, figures = next(iter(ways.items()))
    return [
        Sheet(f"{task}: true labels, and the answers by {first}", *_confusion(counts))
        for task, counts in figures["confusion"].items()
    ]


def _confusion(counts: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    answers = list(dict.fromkeys(answer for row in counts.values() for answer in row))
    return ["", *answers], [[label, *(str(row.get(answer, 0)) for answer in answers)] for label, row in counts.items()]


def sheet(task: Task, results: Sequence[Classification], score: Mapping[str, ClassificationScore]) -> Sheet:
    """The share of the answers, and the accuracy on pictures with this true label."""
    answers, own = Counter(found.best for found in results), score.get(task.name)
    rows = [
        (label, answers[label] / max(1, len(results)), own.recall(label) if own and label in own.confusion else None)
        for label in task.labels
    ]
    return Sheet("", (task.name, "share", "accuracy"), [*rows, ("all", "", own.accuracy if own else None)])


def find_mistakes(truth: Truth, results: Mapping[str, Classification]) -> Counter[str]:
    """Name the wrong labels and what would be right."""
    return Counter(
        f"{task} {truth.classes[task]} taken for {found.best}"
        for task, found in results.items()
        if truth.classes.get(task, found.best) != found.best
    )
