"""A bag's frames are its images with the truth of the same stamp; what cannot be used is named or counted."""

from array import array
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mtl_split.msg import Bottleneck
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Classification, Detection2DArray

from mtl_split_core.bundle import Bundle
from mtl_split_core.errors import ImageError, InputError
from mtl_split_core.label_map import Segmentation, pack
from mtl_split_core.scene import Task, Truth
from mtl_split_lab.recordings.bags import BagFrames, find_image_topic, find_topics
from mtl_split_lab.recordings.definitions import message_types
from mtl_split_lab.recordings.storage import STORAGES, BagWriter
from mtl_split_ros.kinds import segmentation
from mtl_split_ros.messages import truth_messages

from ...bags import PERIOD, START, header, write_bag

TRUTH = Truth(
    boxes=np.array([[1, 2, 30, 20], [5, 5, 20, 25]], np.float32),
    labels=("thing", "unheard of"),
    visible=np.ones(2, np.float32),
    ignore=np.array([False, True]),
    classes={"colour": "red"},
)


def picture(number: int) -> np.ndarray:
    """A picture that differs from every other one."""
    return np.random.default_rng(number).integers(0, 256, (32, 64, 3), np.uint8)


def image(number: int, encoding: str = "bgr8") -> Image:
    data = array("B", picture(number).tobytes())
    return Image(header=header(number), height=32, width=64, step=192, encoding=encoding, data=data)


def truth(number: int, what: Truth = TRUTH) -> list[tuple[str, Any]]:
    return [(f"/{topic}", message) for topic, message in truth_messages(what, header(number)).items()]


def frames(path: Path, bundle: Bundle, **options: Any) -> tuple[list[Any], dict[str, int]]:
    source = BagFrames(path, bundle.tasks, **options)
    found = list(source)
    return found, dict(+source.skipped)


@pytest.mark.parametrize("storage", STORAGES)
def test_frames_have_their_pictures_and_their_truth(tmp_path: Path, bundle: Bundle, storage: str) -> None:
    # The truth may come before its image or after it; one image has none.
    messages = [*truth(0), ("/image_raw", image(0)), ("/image_raw", image(1)), ("/image_raw", image(2)), *truth(2)]
    found, skipped = frames(write_bag(tmp_path / "bag", messages, storage), bundle)
    assert [frame.name for frame in found] == [str(START + number * PERIOD) for number in range(3)]
    assert all((frame.read() == picture(number)).all() for number, frame in enumerate(found))
    assert [frame.known for frame in found] == [["objects", "colour"], [], ["objects", "colour"]]
    assert found[0].truth.labelled == {"thing"} and found[0].truth.classes == {"colour": "red"}
    assert (found[2].truth.boxes == TRUTH.boxes).all() and found[2].truth.ignore.tolist() == [False, True]
    assert skipped == {"objects of classes that the bundle does not know": 2}


def test_a_compressed_image_is_the_same_picture(tmp_path: Path, bundle: Bundle) -> None:
    _, png = cv2.imencode(".png", picture(0))
    message = CompressedImage(header=header(0), format="png", data=array("B", png.tobytes()))
    path = write_bag(tmp_path / "bag", [("/car/image_raw/compressed", message)])
    [frame], _ = frames(path, bundle)
    assert (frame.read() == picture(0)).all()


def test_masks_are_no_camera_s_images(tmp_path: Path) -> None:
    """Neither the results' nor the truth's, whether the camera's are compressed or not; masks are the frames' truth."""
    task = Task("areas", "segmentation", ("a", "b"))
    mask = Segmentation(task.labels, pack(np.array([[0, 1]], np.uint8)))
    result = ("/segmentation/areas/compressed", segmentation.to_message(mask, header(0)))
    _, png = cv2.imencode(".png", picture(0))
    compressed = CompressedImage(header=header(0), format="png", data=array("B", png.tobytes()))
    for name, message in (("/image_raw", image(0)), ("/image_raw/compressed", compressed)):
        path = write_bag(tmp_path / name[1:], [(name, message), result, *truth(0, Truth(masks={"areas": mask}))])
        assert find_image_topic(path) == name
        [frame] = BagFrames(path, [task])
        assert frame.truth.masks == {"areas": mask} and frame.known == ["areas"]
        assert find_topics(path, name) == [
            name, "/ground_truth/detections", "/ground_truth/segmentation/areas/compressed"
        ]  # fmt: skip
    assert find_image_topic(write_bag(tmp_path / "alone", [result])) == "/segmentation/areas/compressed"


def test_the_truth_may_be_anywhere(tmp_path: Path, bundle: Bundle) -> None:
    elsewhere = [(topic.replace("ground_truth", "labels"), message) for topic, message in truth(0)]
    path = write_bag(tmp_path / "bag", [("/image_raw", image(0)), *elsewhere])
    [unknown], _ = frames(path, bundle)
    topics = {"detection": "/labels/detections", "colour": "/labels/classification/colour"}
    [known], _ = frames(path, bundle, truth_topics=topics)
    assert not unknown.known and known.truth.classes == {"colour": "red"} and len(known.truth.boxes) == 2
    for wrong, words in (
        ({"detection": "/nowhere"}, "has nothing on '/nowhere'"),
        ({"detection": topics["colour"]}, "has vision_msgs/msg/Classification on"),
        ({"speed": "/image_raw"}, r"given for \['speed'\], expected tasks"),
    ):
        with pytest.raises(InputError, match=words):
            frames(path, bundle, truth_topics=wrong)


def test_the_only_truth_is_found_wherever_the_camera_is(tmp_path: Path, bundle: Bundle) -> None:
    car1, car2 = ([(f"/{car}{topic}", message) for topic, message in truth(0)] for car in ("car1", "car2"))
    [frame], _ = frames(write_bag(tmp_path / "one", [("/camera/image_raw", image(0)), *car1]), bundle)
    assert frame.known == ["objects", "colour"]
    [frame], _ = frames(write_bag(tmp_path / "two", [("/camera/image_raw", image(0)), *car1, *car2]), bundle)
    assert frame.known == []
    [frame], _ = frames(write_bag(tmp_path / "own", [("/car2/image_raw", image(0)), *car1, *car2]), bundle)
    assert frame.known == ["objects", "colour"]


def test_what_belongs_to_two_images_belongs_to_none(tmp_path: Path, bundle: Bundle) -> None:
    other = Truth(classes={"colour": "blue"})
    messages = [
        ("/image_raw", image(0)),
        *truth(0),
        ("/image_raw", image(0)),
        *truth(0, other),
        ("/image_raw", image(1)),
        *truth(1),
    ]
    found, skipped = frames(write_bag(tmp_path / "bag", messages), bundle)
    assert [frame.known for frame in found] == [[], [], ["objects", "colour"]]
    assert skipped["stamps not after the one before"] == 1 and skipped["stamps with several truths"] == 2


def test_invalid_boxes_are_counted(tmp_path: Path, bundle: Bundle) -> None:
    boxes = np.array([[1, 2, 30, 20], [9, 9, 3, 20], [0, 0, np.nan, 4], [0, 0, 1e9, 4]], np.float32)
    wrong = Truth(boxes, ("thing",) * 4, np.ones(4, np.float32), np.zeros(4, np.bool_))
    [frame], skipped = frames(write_bag(tmp_path / "bag", [("/image_raw", image(0)), *truth(0, wrong)]), bundle)
    assert frame.truth.boxes.tolist() == [[1, 2, 30, 20]] and skipped == {"objects whose box is invalid": 3}


def test_what_cannot_be_used_is_counted(tmp_path: Path, bundle: Bundle) -> None:
    messages = [
        ("/image_raw", image(2)),
        ("/image_raw", image(1)),
        ("/image_raw", image(1, "16UC7")),
        *truth(7),
        *truth(1, Truth(classes={"colour": "puce"})),
        ("/ground_truth/classification/colour", Classification(header=header(2))),
    ]
    found, skipped = frames(write_bag(tmp_path / "bag", messages), bundle)
    assert skipped == {
        "stamps not after the one before": 2,
        "truths without an image": 1,
        "truths without a class": 1,
        "classes that the bundle does not know": 1,
    }
    assert found[2].known == []  # a second image of this stamp
    with pytest.raises(ImageError, match="'16UC7', expected one of bgr8"):
        found[2].read()


def test_which_topic_has_the_images(tmp_path: Path) -> None:
    several = write_bag(tmp_path / "several", [("/left/image_raw", image(0)), ("/right/image_raw", image(0))])
    with pytest.raises(InputError, match=r"several topics of images.*/left/image_raw.*/right/image_raw"):
        find_image_topic(several)
    assert find_image_topic(several, "/right/image_raw") == "/right/image_raw"
    with pytest.raises(InputError, match=r"no images on '/up', expected one of \['/left/image_raw"):
        find_image_topic(several, "/up")
    jpeg = CompressedImage(header=header(0), format="jpeg")
    both = write_bag(tmp_path / "both", [("/image_raw/compressed", jpeg), ("/image_raw", image(0))])
    assert find_image_topic(both) == "/image_raw"
    without = write_bag(tmp_path / "without", [("/bottleneck", Bottleneck()), ("/objects", Detection2DArray())])
    with pytest.raises(InputError, match="has no images, expected a topic of sensor_msgs/msg/Image"):
        find_image_topic(without)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_bag_is_one_clear_error(tmp_path: Path, bundle: Bundle, storage: str, share: float) -> None:
    path = write_bag(tmp_path / "bag", [("/image_raw", image(number)) for number in range(20)], storage)
    [file] = (file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(InputError, match="is no complete bag: "):
        frames(path, bundle)


@pytest.mark.parametrize("compression", CompressionMode)
def test_a_compressed_bag(tmp_path: Path, bundle: Bundle, compression: CompressionMode) -> None:
    path = tmp_path / "bag"
    bag = BagWriter(path, "mcap")
    if compression is not CompressionMode.NONE:
        bag.set_compression(compression, CompressionFormat.ZSTD)
    with bag:
        connection = bag.add_connection("/image_raw", "sensor_msgs/msg/Image", typestore=message_types())
        for number in range(5):
            bag.write(connection, START + number, serialize_message(image(number)))
    found, _ = frames(path, bundle)
    assert [(frame.read() == picture(number)).all() for number, frame in enumerate(found)] == [True] * 5
    [file] = (file for file in path.iterdir() if file.name != "metadata.yaml")
    whole = file.read_bytes()
    for size in (0, 8, 100, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:size])
        with pytest.raises(InputError, match="is no complete bag: "):
            frames(path, bundle)


def test_a_missing_bag_is_one_clear_error(tmp_path: Path, bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"there is no bag .*none\.mcap"):
        frames(tmp_path / "none.mcap", bundle)
    with BagWriter(tmp_path / "empty", "mcap"):
        pass
    with pytest.raises(InputError, match="has no images"):
        frames(tmp_path / "empty", bundle)
