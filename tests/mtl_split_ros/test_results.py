"""Results are written into the forms that somebody listens to, and into no other."""

import pytest
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.errors import ImageError
from mtl_split_core.label_map import Segmentation
from mtl_split_core.scene import Task
from mtl_split_ros.qos import RESULT
from mtl_split_ros.results import ResultPublishers

from ..processes import Probe, header

TASK = Task("road", "segmentation", ("background", "road"))
UNWRITABLE = {"road": Segmentation(TASK.labels, b"no PNG", (2, 2))}


@pytest.mark.parametrize(("kind", "topic"), [(CompressedImage, "road/compressed"), (Image, "road")])
def test_where_nobody_listens_nothing_is_encoded(probe: Probe, kind: type, topic: str) -> None:
    publishers = ResultPublishers(probe.node, [TASK], "car")
    publishers.publish(UNWRITABLE, header(1))
    subscription = probe.node.create_subscription(kind, f"car/segmentation/{topic}", lambda _: None, RESULT)
    with pytest.raises(ImageError):
        publishers.publish(UNWRITABLE, header(2))
    probe.node.destroy_subscription(subscription)
    publishers.publish(UNWRITABLE, header(3))


def test_but_for_those_who_come_later_where_the_user_wants_that(probe: Probe) -> None:
    topic = "qos_overrides./segmentation/road/compressed.publisher.durability"
    probe.node.declare_parameter(topic, "transient_local")
    publishers = ResultPublishers(probe.node, [TASK])
    with pytest.raises(ImageError):
        publishers.publish(UNWRITABLE, header(1))
