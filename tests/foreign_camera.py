"""Somebody else's camera: rclpy and nothing of this package, with the middleware's default settings.

`python -m tests.foreign_camera --ros-args -p reliability:=BEST_EFFORT -p compressed:=true`
"""

import os
from array import array

import cv2
import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

RATE = 10.0
WIDTH, HEIGHT = 1280, 720


class ForeignCamera(Node):
    """Publishes one picture again and again, stamped with its number."""

    _number = 0

    def __init__(self) -> None:
        super().__init__("foreign")
        profile = QoSProfile(depth=10, reliability=ReliabilityPolicy[self.declare_parameter("reliability", "").value])
        picture = np.tile(np.arange(WIDTH, dtype=np.uint16)[:, None].astype(np.uint8), (HEIGHT, 1, 3))
        self._raw = Image(
            width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding="bgr8", data=array("B", picture.tobytes())
        )
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        self._jpeg = CompressedImage(format="jpeg", data=array("B", jpeg))
        self._publishers_ = [(self.create_publisher(Image, "image_raw", profile), self._raw)]
        if self.declare_parameter("compressed", False).value:
            publisher = self.create_publisher(CompressedImage, "image_raw/compressed", profile)
            self._publishers_.append((publisher, self._jpeg))
        self.create_timer(1 / RATE, self._publish)

    def _publish(self) -> None:
        self._number += 1
        for publisher, message in self._publishers_:
            message.header.stamp.sec = self._number
            publisher.publish(message)


if __name__ == "__main__":
    for name in ("FASTDDS", "FASTRTPS"):
        os.environ.pop(f"{name}_DEFAULT_PROFILES_FILE", None)
    rclpy.init()
    rclpy.spin(ForeignCamera())
