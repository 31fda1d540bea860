"""The watch node among the others, over DDS: what it shows, and that it hears nothing while nobody looks."""

import asyncio
import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from mtl_split_core.bundle import Bundle
from mtl_split_ros.qos import NEWEST
from mtl_split_watch.vehicle import ANNOTATED

from ..conftest import Start
from ..processes import Probe, image_message, plain
from ..tiny_bundle import add_areas, write_tiny_bundle
from .pages import News, opened

CAR = ("-r", "__ns:=/car1")
WIDTH = 320


def find(url: str, wanted: Callable[[News], Any]) -> News:
    """Look at the page until `wanted(news)` is true."""

    async def look() -> News:
        async with opened(url) as page:
            return await page.find(wanted)

    return asyncio.run(look())


def watchers(probe: Probe, topic: str) -> list[str]:
    """The watch nodes that listen to a topic."""
    infos = probe.node.get_subscriptions_info_by_topic(topic)
    return [info.node_name for info in infos if info.node_name.startswith("watch")]


@pytest.fixture
def url(start: Start, probe: Probe) -> str:
    """The page of a watch node."""
    watch = start("watch", "-p", "port:=0", "-p", f"width:={WIDTH}")
    [found] = probe.wait_for("the page", lambda: re.findall(r"watch at (http://127\.0\.0\.1:\d+/)", watch.log))
    return str(found)


def test_what_a_vehicle_sees_is_shown_while_somebody_looks(
    url: str, start: Start, probe: Probe, bundle: Bundle
) -> None:
    assert not find(url, lambda news: "domain" in news.text).text["vehicles"]
    start("camera", *CAR, "-p", "width:=320", "-p", "height:=180")
    start("edge", *CAR, "-p", f"bundle:={bundle.folder}", "-p", "answer_by:=1.0", "-p", "local_suffix:=true")
    bare = find(url, lambda news: news.pictures and news.vehicle("/car1")["words"] == "no server answers")
    assert bare.vehicle("/car1")["picture"]["answers"] == {}
    answered = find(url, lambda news: news.vehicle("/car1").get("answered")).vehicle("/car1")["answered"]
    assert answered[0][1] == "whole" and answered[0][2] in {p.name for p in bundle.payload_format.operating_points}

    remote = ("-p", "results_namespace:=remote", "-p", "tracking:=none")
    start("server", "-p", "vehicles:=[car1]", "-p", f"bundle:={bundle.folder}", *remote)
    tasks = {task.name for task in bundle.tasks}
    news = find(url, lambda news: news.vehicle("/car1").get("picture", {}).get("answers", {}).keys() == tasks)
    picture = cv2.imdecode(np.frombuffer(news.pictures["/car1"], np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape[1] == WIDTH and picture.shape[0] > 180
    assert find(url, lambda news: news.vehicle("/car1").get("words") == "")
    assert find(url, lambda news: any(sample[1] and sample[2] for sample in news.vehicle("/car1").get("samples", [])))
    assert find(url, lambda news: news.text.get("well", 0) >= 5)

    topics = ("/car1/image_raw", "/car1/detections", "/diagnostics")
    probe.wait_for("nobody who listens", lambda: not any(watchers(probe, topic) for topic in topics))


def test_annotated_pictures_have_the_images_header_and_are_made_for_subscribers(
    url: str, start: Start, probe: Probe, bundle: Bundle
) -> None:
    start("edge", *CAR, "-p", f"bundle:={bundle.folder}")
    start("server", "-p", "vehicles:=[car1]", "-p", f"bundle:={bundle.folder}")
    start("camera", *CAR, "-p", "width:=320", "-p", "height:=180", "-p", "frame_id:=front")
    images = probe.listen(Image, "/car1/image_raw", NEWEST)
    annotated = probe.listen(CompressedImage, "/car1/annotated/compressed", ANNOTATED)
    stamps = lambda messages: {(one.header.stamp.sec, one.header.stamp.nanosec) for one in messages}  # noqa: E731
    probe.wait_for("an annotated image", lambda: stamps(images) & stamps(annotated))
    assert annotated[0].header.frame_id == "front" and "jpeg" in annotated[0].format
    assert cv2.imdecode(np.frombuffer(annotated[0].data, np.uint8), cv2.IMREAD_COLOR) is not None
    assert watchers(probe, "/diagnostics") == [], "that is for the page alone"


def test_areas_are_coloured_by_their_labels(url: str, start: Start, probe: Probe, tmp_path: Path) -> None:
    """Of a black image, all that is not black is what was found in it."""
    bundle = add_areas(write_tiny_bundle(tmp_path / "tiny"))
    start("edge", *CAR, "-p", f"bundle:={bundle.folder}")
    start("server", "-p", "vehicles:=[car1]", "-p", f"bundle:={bundle.folder}", "-p", "max_age:=0.0")
    annotated = probe.listen(CompressedImage, "/car1/annotated/compressed", ANNOTATED)
    camera = probe.publisher(Image, "/car1/image_raw", QoSProfile(depth=1))
    seconds = itertools.count(1)
    probe.node.create_timer(0.2, lambda: camera.publish(image_message(plain((0, 0, 0)), next(seconds))))

    def has_colour() -> bool:
        pictures = [cv2.imdecode(np.frombuffer(one.data, np.uint8), cv2.IMREAD_COLOR) for one in annotated[-1:]]
        return any(picture is not None and picture[: len(picture) // 3].max() > 40 for picture in pictures)

    probe.wait_for("a coloured picture", has_colour)


def test_an_image_that_cannot_be_shown_is_complained_of(url: str, start: Start, probe: Probe, bundle: Bundle) -> None:
    start("edge", *CAR, "-p", f"bundle:={bundle.folder}")
    publisher = probe.publisher(Image, "/car1/image_raw", NEWEST)

    async def look() -> None:
        async with opened(url) as page:
            while True:
                publisher.publish(Image(encoding="12UC7", width=4, height=4))
                news = await page.ask()
                names = [name for _, name, message in news.text.get("complaints", []) if "12UC7" in message]
                if "/watch: /car1/annotated/compressed" in names:
                    return

    asyncio.run(asyncio.wait_for(look(), 60))


def test_an_address_that_is_taken_ends_the_node_with_one_clear_error(url: str, start: Start) -> None:
    port = url.rsplit(":", 1)[1].strip("/")
    second = start("watch", "-p", f"port:={port}")
    assert second.end() == 1
    assert f"port {port}, which cannot be served on" in second.log and "Traceback" not in second.log
