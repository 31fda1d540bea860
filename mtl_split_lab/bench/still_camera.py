"""A camera that sends the same few pictures of a simulated street over and over, from memory.

Unlike the camera node it draws nothing meanwhile, as no real camera does: what the processor does is all the network's.
"""

import argparse
from concurrent.futures import Future
from itertools import cycle, islice

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from mtl_split_camera.street import Street
from mtl_split_core.scene import Size
from mtl_split_lab.bench.nodes import CAMERA, PICTURES, image_message
from mtl_split_ros.process import run
from mtl_split_ros.qos import RESULT


class StillCamera(Node):
    """Publishes as soon as somebody listens, at a steady pace."""

    def __init__(self, size: Size, rate: float) -> None:
        """Draw the pictures; size: (width, height); rate: frames per second."""
        super().__init__("camera")
        self.ended: Future[None] = Future()
        self._images = cycle([image_message(picture) for picture, _ in islice(Street(0, size), PICTURES)])
        self._image = self.create_publisher(Image, "image_raw", CAMERA)
        self._info = self.create_publisher(CameraInfo, "camera_info", RESULT)
        self.create_timer(1 / rate, self._publish)

    def _publish(self) -> None:
        if not self._image.get_subscription_count():
            return
        image = next(self._images)
        image.header.stamp = self.get_clock().now().to_msg()
        self._image.publish(image)
        self._info.publish(CameraInfo(header=image.header, width=image.width, height=image.height))


def main() -> int:
    """Run the camera until it is told to stop."""
    parser = argparse.ArgumentParser(prog="still_camera", description=__doc__)
    parser.add_argument("--size", type=int, nargs=2, required=True, help="of the pictures, width and height")
    parser.add_argument("--rate", type=float, required=True, help="frames per second")
    options = parser.parse_args()
    return run(lambda: StillCamera(tuple(options.size), options.rate))


if __name__ == "__main__":
    raise SystemExit(main())
