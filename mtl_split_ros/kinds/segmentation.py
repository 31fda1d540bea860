"""Segmentations as images of numbers: PNG in sensor_msgs/CompressedImage, and where asked for, sensor_msgs/Image."""

import array
from collections import Counter

from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage
from std_msgs.msg import Header

from mtl_split_core.errors import InputError
from mtl_split_core.label_map import Segmentation, pack, renumber
from mtl_split_core.scene import Task, Truth
from mtl_split_ros.kinds.form import Form

MESSAGE = CompressedImage

FORMAT = "mono8; png compressed mono8"
"""As compressed_image_transport writes it, so that it can republish the images as they were."""

MOST_BYTES = 1 << 22
"""Messages of more bytes are refused: of 3840x2160 places, masks of streets take some ten thousand."""


def topic(task: Task) -> str:
    """One topic for each task, named as image_transport names those of compressed images."""
    return f"{_base(task.name)}/compressed"


def truth_topic(task: Task) -> str:
    """One topic for each task."""
    return _truth_topic(task.name)


def to_message(result: Segmentation, header: Header) -> CompressedImage:
    """Write the numbers as they are."""
    return CompressedImage(header=header, format=FORMAT, data=array.array("B", result.whole()))


def further_forms(task: Task) -> dict[str, Form]:
    """The same numbers as an image that is not compressed."""
    return {_base(task.name): Form(RawImage, _to_raw)}


def _to_raw(result: Segmentation, header: Header) -> RawImage:
    numbers = result.indices()
    rows, columns = numbers.shape
    image = RawImage(header=header, height=rows, width=columns, encoding="mono8", step=columns)
    image.data = array.array("B", numbers.tobytes())
    return image


def to_result(message: CompressedImage, task: Task) -> Segmentation:
    """Read the numbers.

    Raises InputError where they are no PNG of 8-bit grey, more than results may have, or one of them has no label.
    """
    found = _read(task, message)
    # Whoever finds a task by its topics need not know its labels.
    if (most := int(found.indices().max())) >= len(task.labels) > 0:
        raise InputError(f"a segmentation has the number {most}, expected 0 to {len(task.labels) - 1}")
    return found


def truth_messages(truth: Truth, header: Header) -> dict[str, CompressedImage]:
    """Write each task's mask; the numbers stand for its labels in the order in which they first come."""
    messages = {}
    for task, mask in truth.masks.items():
        labels = tuple(dict.fromkeys(mask.labels))
        if not isinstance(mask, Segmentation) or mask.labels != labels:
            mask = Segmentation(labels, pack(renumber(mask, labels)))
        messages[_truth_topic(task)] = to_message(mask, header)
    return messages


def to_truth(task: Task, message: CompressedImage, skipped: Counter[str]) -> Truth | None:
    """Read a mask whose numbers stand for the task's labels in their order; others are not known. None if damaged."""
    try:
        found = _read(task, message)
        found.indices()
    except InputError:
        skipped["truths that are damaged"] += 1
        return None
    return Truth(labelled=frozenset(), masks={task.name: found})


def _read(task: Task, message: CompressedImage) -> Segmentation:
    if len(message.data) > MOST_BYTES:
        raise InputError(f"a segmentation has {len(message.data)} bytes, expected at most {MOST_BYTES}")
    return Segmentation(task.labels, message.data.tobytes())


def _base(task: str) -> str:
    return f"segmentation/{task}"


def _truth_topic(task: str) -> str:
    return f"ground_truth/{_base(task)}/compressed"
