"""A larger detector that others trained finds in training pictures what their source does not label."""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mtl_split_core.engine import OnnxRuntime
from mtl_split_core.errors import InputError
from mtl_split_core.geometry import Letterbox
from mtl_split_core.kinds.detection import suppress
from mtl_split_core.scene import Detections, Floats, Image, Size, Truth
from mtl_split_lab.data.pictures import LabelledPicture, PictureFile
from mtl_split_lab.recipe import ImportedDetector
from mtl_split_net.detectors import KIND, ImportedDetection, RawOutputs, find_detector
from mtl_split_net.imported import import_network
from mtl_split_net.kinds.detection import Candidates
from mtl_split_net.network import MultiTaskNetwork, Prefix
from mtl_split_net.onnx_graph import OnnxGraph

FOUND = 0.45
"""Objects with this score are taken for true."""
DOUBTFUL = 0.2
"""Those with less than FOUND, but with this, are to be ignored."""
OVERLAP = 0.6
"""Of two that overlap more, the better is kept."""


@dataclass(frozen=True)
class TaughtPicture:
    """A picture with what a teacher found in it added to its truth."""

    picture: PictureFile
    truth: Truth

    @property
    def imitated(self) -> bool:
        """Whether the teacher's answers are to be learned as well."""
        return self.picture.imitated

    def read(self) -> Image:
        """Read the picture."""
        return self.picture.read()


class Teacher:
    """A detector that finds objects of those labels that it knows.

    fingerprint: 8 hexadecimal digits that tell its answers from those of others.
    """

    def __init__(self, detector: ImportedDetector, file: Path, labels: Sequence[str], input_size: Size) -> None:
        """Load the detector's ONNX file; `labels` are those that are wanted.

        Raises InputError for a file that is missing or no ONNX model.
        """
        self.labels = tuple(label for label in labels if label in detector.renamed_labels)
        if not self.labels:
            raise InputError(f"the teacher has none of the labels {', '.join(labels)}: rename its own")
        self._size = input_size
        graph = OnnxGraph(file)
        asked = repr((detector.detector, self.labels, sorted(detector.rename.items()))).encode()
        self.fingerprint = hashlib.sha256(file.read_bytes() + asked).hexdigest()[:8]
        expected = (1, 3, input_size[1], input_size[0])
        if [graph.shape(name) for name in graph.inputs] != [expected]:
            raise InputError(f"the teacher {file} has the inputs {graph.inputs}, expected one of shape {expected}")
        self._engine = OnnxRuntime(graph.model.SerializeToString(), threads=1, at_once=1)
        self._planes = Prefix(nn.Identity(), nn.Identity(), detector.expected_pixels)
        self._head = ImportedDetection(
            find_detector(detector.detector), detector.labels, self.labels, detector.rename
        ).eval()

        blank = np.zeros(expected, np.float32)
        self._head.check(self._outputs(blank))

    def _outputs(self, planes: Floats) -> RawOutputs:
        outputs = tuple(torch.from_numpy(output) for output in self._engine(planes).values())
        return RawOutputs(outputs, (self._size[1], self._size[0]))

    def find(self, image: Image) -> Detections:
        """Find objects in a picture, uint8 (height, width, 3) blue-green-red; boxes are in its pixels."""
        letterbox = Letterbox((image.shape[1], image.shape[0]), self._size)
        planes = self._planes(torch.from_numpy(letterbox.apply(image))[None])
        with torch.no_grad():
            candidates = self._head(self._outputs(planes.numpy()))
        boxes, scores = candidates.boxes[0].numpy(), candidates.logits[0].sigmoid().numpy()
        found = suppress(self.labels, boxes, scores, DOUBTFUL, OVERLAP)
        return replace(found, boxes=letterbox.to_picture(found.boxes))


class TeacherNetwork(nn.Module):
    """The same detector in torch: its answers point by point, for a network with the same points to imitate.

    known: bool (labels,), which of the task's labels it has.
    """

    known: Tensor

    def __init__(
        self, detector: ImportedDetector, file: Path, labels: Sequence[str], input_size: Size, window: Size | None
    ) -> None:
        """Load the detector's ONNX file, for pictures of `input_size` and windows of them.

        Raises InputError for a file that is missing, no ONNX model or cannot be calculated by torch.
        """
        super().__init__()
        graph = OnnxGraph(file)
        network = import_network(graph, graph.cuts[0], input_size, window)
        self.prefix = Prefix(network.before, nn.Identity(), detector.expected_pixels)
        self.after = network.after
        self.head = ImportedDetection(find_detector(detector.detector), detector.labels, labels, detector.rename)
        self.register_buffer("known", self.head.known > 0, persistent=False)
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def forward(self, images: Tensor) -> Candidates:
        """Pictures, uint8 (N, height, width, 3) blue-green-red, in; its answers out."""
        found = self.after(self.prefix(images))
        outputs = tuple(found) if isinstance(found, list | tuple) else (found,)
        answer: Candidates = self.head(RawOutputs(outputs, (images.shape[1], images.shape[2])))
        return answer


def check_points(network: MultiTaskNetwork, teacher: TeacherNetwork, input_size: Size) -> None:
    """Raise InputError where a network answers for other points than its teacher, so that it cannot imitate it."""
    blank = torch.zeros(1, input_size[1], input_size[0], 3, dtype=torch.uint8)
    (task,) = (task for task in network.tasks if task.kind == KIND)
    with torch.no_grad():
        ours, right = copy.deepcopy(network).eval()(blank)[task.name].points, teacher(blank).points
    if ours.shape != right.shape or not ours.allclose(right):
        raise InputError(
            f"the teacher answers for {right.shape[1]} points, the network for {ours.shape[1]}, or for others: "
            "leave out imitate, or use a detector of the same kind"
        )


def teach(pictures: Sequence[LabelledPicture], teacher: Teacher, cache: Path) -> list[LabelledPicture]:
    """Add to pictures' truths the objects whose labels their source does not label, but the teacher knows.

    What was found is kept in the file `cache`. Pictures that cannot be read, or whose labels are all known, stay as
    they are.
    """
    found = json.loads(cache.read_text()) if cache.is_file() else {}
    taught: list[LabelledPicture] = []
    for picture in tqdm(pictures, "asking the teacher"):
        labelled = picture.truth.labelled
        wanted = set() if labelled is None else set(teacher.labels) - labelled
        if not wanted or not isinstance(picture, PictureFile):
            taught.append(picture)
            continue
        if (key := str(picture.path)) not in found:
            try:
                answer = teacher.find(picture.read())
            except InputError:
                taught.append(picture)  # the training names and counts it
                continue
            found[key] = [answer.boxes.tolist(), answer.labels, answer.scores.tolist()]
        boxes, labels, scores = found[key]
        taught.append(TaughtPicture(picture, add_objects(picture.truth, boxes, labels, scores, wanted)))
    unfinished = cache.with_suffix(".part")
    unfinished.write_text(json.dumps(found))
    unfinished.replace(cache)
    return taught


def add_objects(
    truth: Truth, boxes: Sequence[Sequence[float]], labels: Sequence[str], scores: Sequence[float], wanted: set[str]
) -> Truth:
    """Add the found objects of the labels `wanted` to a truth, doubtful ones as to be ignored."""
    kept = [at for at, label in enumerate(labels) if label in wanted]
    added = np.array([boxes[at] for at in kept], np.float32).reshape(-1, 4)
    doubtful = np.array([scores[at] < FOUND for at in kept], np.bool_)
    return replace(
        truth,
        boxes=np.concatenate([truth.boxes, added]),
        labels=(*truth.labels, *(labels[at] for at in kept)),
        visible=np.concatenate([truth.visible, np.ones(len(kept), np.float32)]),
        ignore=np.concatenate([truth.ignore, doubtful]),
        labelled=(truth.labelled or frozenset()) | wanted,
    )
