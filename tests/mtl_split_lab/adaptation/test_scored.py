"""What is scored by counts is what is scored picture by picture."""

from pathlib import Path

import numpy as np
import pytest

from mtl_split_core.bundle import load_bundle
from mtl_split_core.control.policy import Own
from mtl_split_core.scene import Detections, Truth
from mtl_split_core.share import bundle_folder
from mtl_split_lab.adaptation.scored import Scorer, answer_every_way, count_sources
from mtl_split_lab.adaptation.simulator import Outcome
from mtl_split_lab.data.drives import find_drives
from mtl_split_lab.kinds import KINDS
from mtl_split_lab.kinds.average_precision import CountedPrecision, score_detections
from mtl_split_lab.scoring.measurement import Measurement

LABELS = ("car", "bus", "light")


def pictures(count: int) -> list[tuple[Truth, Detections]]:
    """Objects, some to be ignored, and detections of which some are near one."""
    chance = np.random.default_rng(0)
    found = []
    for _ in range(count):
        objects, others = chance.integers(0, 4), chance.integers(0, 3)
        boxes = np.concatenate([chance.uniform(0, 200, (objects, 2)), chance.uniform(210, 400, (objects, 2))], axis=1)
        near = boxes + chance.normal(0, 15, boxes.shape)
        far = np.concatenate([chance.uniform(0, 200, (others, 2)), chance.uniform(210, 400, (others, 2))], axis=1)
        labels = tuple(chance.choice(LABELS, objects).tolist())
        truth = Truth(boxes.astype(np.float32), labels, np.ones(objects, np.float32), chance.random(objects) < 0.2)
        scores = chance.permutation(objects + others) / 10 + chance.random() / 100
        detections = Detections(
            np.concatenate([near, far]).astype(np.float32),
            (*labels, *chance.choice(LABELS, others).tolist()),
            scores.astype(np.float32),
        )
        found.append((truth, detections.take(np.argsort(-scores))))
    return found


def test_counted_precision_is_cocos() -> None:
    pairs = pictures(60)
    counted = CountedPrecision(pairs)
    for seed in range(5):
        counts = np.random.default_rng(seed).integers(0, 3, len(pairs))
        chosen = [pair for pair, times in zip(pairs, counts.tolist(), strict=True) for _ in range(times)]
        assert counted(counts) == pytest.approx(score_detections(chosen).map50, abs=2e-3)
    once = (np.arange(len(pairs)) % 2).astype(np.int64)
    assert counted(once) == pytest.approx(score_detections(pairs[1::2]).map50, abs=1e-9)
    assert 0.1 < counted(np.ones(len(pairs), np.int64)) < 0.95
    assert counted(np.zeros(len(pairs), np.int64)) == 0.0


def test_a_drive_is_scored_on_the_answers_that_it_had() -> None:
    bundle = load_bundle(bundle_folder("street"))
    frames = [frame for drive in find_drives("sim:5:3:4", Path()) for frame in drive.frames()][::4]
    answered = answer_every_way(bundle, frames, 2)
    scorer = Scorer(bundle, answered)
    assert scorer.sources[:3] == [0, 1, Own.WHOLE]
    sources: list[int | Own] = [0, 1, Own.WHOLE, 1, 0, Own.WHOLE, 1]
    outcomes = [Outcome(source=source, age=0.05) for source in sources]
    measurement = Measurement(bundle.tasks)
    for number, source in enumerate(sources):
        frame = answered[number % len(answered)]
        measurement.add(frame.truth, 0, frame.results[source])
    scores = measurement.scores()
    accuracies = [KINDS[task.kind].accuracy(scores[task.kind], task.name) for task in bundle.tasks]
    assert min(accuracies) < max(accuracies)
    counts = count_sources(outcomes, 0.1, len(answered), scorer.sources)
    found = scorer.accuracies(counts, len(outcomes))
    assert found == pytest.approx(dict(zip([task.name for task in bundle.tasks], accuracies, strict=True)), abs=1e-6)
    # What is late, or not there, is wrong.
    late = [*outcomes, Outcome(source=0, age=0.11), *[Outcome()] * 6]
    counts = count_sources(late, 0.1, len(answered), scorer.sources)
    assert scorer.accuracies(counts, len(late)) == pytest.approx({n: value / 2 for n, value in found.items()}, abs=1e-6)
    nothing = scorer.accuracies(np.zeros_like(counts), len(late))
    assert nothing == dict.fromkeys(found, 0.0)
