"""What publishers and subscriptions cost the executor."""

from vision_msgs.msg import LabelInfo

from mtl_split_ros.qos import LATCHED, advertise

from ..processes import Probe


def test_the_executor_does_not_wait_for_anything_of_a_publisher_that_is_not_watched(probe: Probe) -> None:
    waited_for = len(list(probe.node.waitables))
    advertise(probe.node, LabelInfo, "one", LATCHED, watch=False)
    assert len(list(probe.node.waitables)) == waited_for
    advertise(probe.node, LabelInfo, "other", LATCHED)
    assert len(list(probe.node.waitables)) > waited_for
